/* SPDX-License-Identifier: BSD-3-Clause */
/* Talks to a running server over its control socket. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "client.h"
#include "control.h"
#include "msg.h"

/* A server that is silent for so long hangs.  Long verbs send progress more often. */
#define ANSWER_S 60

struct client {
  char *dir;
  FILE *file;
};

struct client *
client_open (const char *dir, bool *ret_none)
{
  const struct timeval patience = { .tv_sec = ANSWER_S };
  CLEANUP_CLOSE int dir_fd = -1;
  CLEANUP_CLOSE int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address;
  struct client *client;

  *ret_none = false;
  if (fd < 0 || control_address (dir, &address, &dir_fd) == -1
      || connect (fd, (struct sockaddr *) &address, sizeof address) == -1) {
    /* Nobody listens: there was never a server, or it ended without cleaning up. */
    *ret_none = dir_fd >= 0 && (errno == ENOENT || errno == ECONNREFUSED);
    if (!*ret_none)
      msg_error ("%s: cannot reach the server: %s", dir, errno == EACCES
                 ? "it belongs to another user: run cloudsharectl as the user who runs nbdkit, or as root"
                 : strerror (errno));
    return NULL;
  }
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  client = calloc (1, sizeof *client);
  if (client == NULL || (client->dir = strdup (dir)) == NULL || (client->file = fdopen (fd, "r")) == NULL) {
    msg_error ("out of memory");
    client_close (client);
    return NULL;
  }
  fd = -1;   /* the stream's now */
  return client;
}

void
client_close (struct client *client)
{
  if (client == NULL)
    return;
  if (client->file)
    fclose (client->file);
  free (client->dir);
  free (client);
}

int
client_ask (struct client *client, struct json_object *request)
{
  const char *text = json_object_to_json_string_ext (request, JSON_C_TO_STRING_PLAIN);
  CLEANUP_FREE char *line = NULL;
  const int n = asprintf (&line, "%s\n", text ? text : "");

  for (int sent = 0; sent < n;) {
    const ssize_t r = send (fileno (client->file), line + sent, (size_t) (n - sent), MSG_NOSIGNAL);

    if (r == -1 && errno != EINTR) {
      msg_error ("%s: cannot ask the server: %m", client->dir);
      return -1;
    }
    sent += r > 0 ? (int) r : 0;
  }
  if (n == -1)
    msg_error ("out of memory");
  return n == -1 ? -1 : 0;
}

struct json_object *
client_next (struct client *client, bool *ret_last)
{
  CLEANUP_FREE char *line = NULL;
  struct json_object *reply;
  size_t room = 0;

  errno = 0;
  if (getline (&line, &room, client->file) == -1) {
    msg_error ("%s: the server %s; its log may say why", client->dir,
               errno == EAGAIN ? "does not answer" : "ended before it answered");
    return NULL;
  }
  reply = json_tokener_parse (line);
  if (!json_object_is_type (reply, json_type_object)) {
    json_object_put (reply);
    msg_error ("%s: the server's answer makes no sense; are cloudsharectl and the plugin of the same version?",
               client->dir);
    return NULL;
  }
  *ret_last = json_object_object_get (reply, "ok") != NULL;
  return reply;
}
