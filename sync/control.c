/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: one thread, which polls, takes lines, runs verbs, and sends answers. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "control.h"
#include "fsutil.h"
#include "msg.h"

/* Bounds on what a client can make us keep. */
#define MAX_CLIENTS 16
#define MAX_LINE 65536
#define MAX_DEPTH 8

struct control_client {
  int fd;                        /* -1: this place is free */
  char *in;                      /* MAX_LINE bytes: a line that is not complete yet */
  size_t n_in;
  char *out;                     /* what is yet to be sent */
  size_t n_out, sent;
  const struct control_verb *verb;   /* NULL: no request is under way */
  struct json_object *request;
  uint64_t began_ms, again_ms;   /* monotonic */
  bool closing;                  /* once all is sent */
};

struct control {
  char *dir;
  const struct control_verb *verbs;
  size_t n_verbs;
  void *opaque;
  int listen_fd, stop_fd;
  pthread_t thread;
  struct control_client clients[MAX_CLIENTS];
};

int
control_failed (struct json_object *reply, const char *fmt, ...)
{
  CLEANUP_FREE char *text = NULL;
  va_list args;

  va_start (args, fmt);
  if (vasprintf (&text, fmt, args) == -1)
    text = NULL;
  va_end (args);
  json_object_object_add (reply, "error", json_object_new_string (text ? text : "out of memory"));
  return -1;
}

uint64_t
control_elapsed_ms (const struct control_client *client)
{
  return monotonic_ms () - client->began_ms;
}

int
control_address (const char *dir, struct sockaddr_un *ret, int *ret_dir_fd)
{
  int n;

  memset (ret, 0, sizeof *ret);
  ret->sun_family = AF_UNIX;
  *ret_dir_fd = open (dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*ret_dir_fd < 0)
    return -1;
  n = snprintf (ret->sun_path, sizeof ret->sun_path, "%s/" CONTROL_SOCKET, dir);
  if ((size_t) n < sizeof ret->sun_path)
    return 0;
  /* unix(7): 108 bytes; the folder may be reached by a short name while it is open. */
  snprintf (ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/" CONTROL_SOCKET, *ret_dir_fd);
  return 0;
}

static void
end_request (struct control_client *client)
{
  json_object_put (client->request);
  client->request = NULL;
  client->verb = NULL;
}

static void
end_client (struct control_client *client)
{
  if (client->fd < 0)
    return;
  end_request (client);
  close (client->fd);
  free (client->in);
  free (client->out);
  memset (client, 0, sizeof *client);
  client->fd = -1;
}

/* Appends a line to what is to be sent, and gives the reply back. */
static void
send_reply (struct control_client *client, struct json_object *reply)
{
  const char *text = json_object_to_json_string_ext (reply, JSON_C_TO_STRING_PLAIN);
  const size_t n = text ? strlen (text) : 0;
  char *out = text ? realloc (client->out, client->n_out + n + 1) : NULL;

  if (out == NULL)
    client->closing = true;      /* the client sees an answer without an end */
  else {
    memcpy (out + client->n_out, text, n);
    out[client->n_out + n] = '\n';
    client->out = out;
    client->n_out += n + 1;
  }
  json_object_put (reply);
}

static void
refuse (struct control_client *client, const char *sentence)
{
  struct json_object *reply = json_object_new_object ();

  control_failed (reply, "%s", sentence);
  json_object_object_add (reply, "ok", json_object_new_boolean (false));
  send_reply (client, reply);
}

/* Runs the verb of the request under way. */
static void
run_verb (struct control *control, struct control_client *client)
{
  struct json_object *reply = json_object_new_object ();
  const int r = client->verb->run (control->opaque, client->request, reply, client);

  if (r > 0) {
    json_object_object_add (reply, "progress", json_object_new_boolean (true));
    client->again_ms = monotonic_ms () + (uint64_t) r;
  }
  else {
    json_object_object_add (reply, "ok", json_object_new_boolean (r == 0));
    end_request (client);
  }
  send_reply (client, reply);
}

static void
take_request (struct control *control, struct control_client *client, const char *line, size_t n)
{
  struct json_tokener *tokener = json_tokener_new_ex (MAX_DEPTH);
  struct json_object *request = tokener ? json_tokener_parse_ex (tokener, line, (int) n) : NULL;
  const char *name;

  if (tokener)
    json_tokener_free (tokener);
  if (!json_object_is_type (request, json_type_object)) {
    json_object_put (request);
    refuse (client, "a request is one JSON object in one line");
    return;
  }
  name = json_object_get_string (json_object_object_get (request, "verb"));
  for (size_t i = 0; name != NULL && i < control->n_verbs; ++i)
    if (strcmp (control->verbs[i].name, name) == 0)
      client->verb = &control->verbs[i];
  if (client->verb == NULL) {
    json_object_put (request);
    refuse (client, "this server does not know that verb; are cloudsharectl and the plugin of the same version?");
    return;
  }
  client->request = request;
  client->began_ms = monotonic_ms ();
  run_verb (control, client);
}

static bool
is_sending (const struct control_client *client)
{
  return client->sent < client->n_out;
}

/* Takes the next complete line, if the last answer has gone: so others get their turn, and answers do not pile up. */
static void
take_line (struct control *control, struct control_client *client)
{
  const char *end = memchr (client->in, '\n', client->n_in);

  if (client->verb != NULL || client->closing || is_sending (client))
    return;
  if (end != NULL) {
    const size_t n = (size_t) (end - client->in);

    take_request (control, client, client->in, n);
    client->n_in -= n + 1;
    memmove (client->in, end + 1, client->n_in);
  }
  else if (client->n_in == MAX_LINE) {
    refuse (client, "a request is one line of less than 64 KiB");
    client->closing = true;
  }
}

static void
read_more (struct control *control, struct control_client *client)
{
  const ssize_t n = recv (client->fd, client->in + client->n_in, MAX_LINE - client->n_in, MSG_DONTWAIT);

  if (n > 0) {
    client->n_in += (size_t) n;
    take_line (control, client);
  }
  else if (n == 0 || (errno != EAGAIN && errno != EINTR))
    end_client (client);
}

static void
send_more (struct control *control, struct control_client *client)
{
  const ssize_t n = send (client->fd, client->out + client->sent, client->n_out - client->sent,
                          MSG_DONTWAIT | MSG_NOSIGNAL);

  if (n == -1) {
    if (errno != EAGAIN && errno != EINTR)
      end_client (client);
    return;
  }
  client->sent += (size_t) n;
  if (client->sent < client->n_out)
    return;
  client->sent = client->n_out = 0;
  if (client->closing)
    end_client (client);
  else
    take_line (control, client);
}

static void
accept_client (struct control *control, struct control_client *client)
{
  CLEANUP_CLOSE int fd = accept4 (control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
  struct ucred peer;
  socklen_t n = sizeof peer;

  /* The socket's mode says the same, but not on every file system. */
  if (fd < 0 || getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == -1 || (peer.uid != 0 && peer.uid != geteuid ()))
    return;
  client->in = malloc (MAX_LINE);
  if (client->in == NULL)
    return;
  client->fd = fd;
  fd = -1;
}

/* What to wait for of a client.  Its next request is not read before the last answer has gone. */
static short
events_of (const struct control_client *client)
{
  if (is_sending (client))
    return POLLOUT;
  return client->n_in < MAX_LINE && client->verb == NULL ? POLLIN : 0;
}

/* How long no verb wants to be called again, milliseconds; -1: never. */
static int
time_left (const struct control *control)
{
  const uint64_t now = monotonic_ms ();
  int left = -1;

  for (size_t i = 0; i < MAX_CLIENTS; ++i) {
    const struct control_client *client = &control->clients[i];
    int ms;

    if (client->fd < 0 || client->verb == NULL || is_sending (client))
      continue;
    ms = client->again_ms > now ? (int) (client->again_ms - now) : 0;
    if (left < 0 || ms < left)
      left = ms;
  }
  return left;
}

static void
serve_client (struct control *control, struct control_client *client, short revents)
{
  if (revents & POLLOUT)
    send_more (control, client);
  else if (revents & POLLIN)
    read_more (control, client);
  else if ((revents & (POLLHUP | POLLERR)) || (client->closing && !is_sending (client)))
    end_client (client);
  else if (client->verb != NULL && !is_sending (client) && client->again_ms <= monotonic_ms ())
    run_verb (control, client);
}

static void *
serve (void *opaque)
{
  struct control *control = opaque;

  for (;;) {
    struct pollfd fds[2 + MAX_CLIENTS] = {
      { .fd = control->stop_fd, .events = POLLIN },
      { .fd = -1, .events = POLLIN },
    };
    struct control_client *unused = NULL;

    for (size_t i = 0; i < MAX_CLIENTS; ++i) {
      struct control_client *client = &control->clients[i];

      fds[2 + i].fd = client->fd;
      if (client->fd < 0)
        unused = client;
      else
        fds[2 + i].events = events_of (client);
    }
    if (unused)
      fds[1].fd = control->listen_fd;
    if (poll (fds, 2 + MAX_CLIENTS, time_left (control)) == -1 && errno != EINTR) {
      msg_error ("%s/" CONTROL_SOCKET ": cannot wait for requests, cloudsharectl will get no answers: %m",
                 control->dir);
      return NULL;
    }
    if (fds[0].revents != 0)
      return NULL;
    for (size_t i = 0; i < MAX_CLIENTS; ++i)
      if (fds[2 + i].fd >= 0)
        serve_client (control, &control->clients[i], fds[2 + i].revents);
    if (fds[1].revents & POLLIN)
      accept_client (control, unused);
  }
}

/* Makes the socket, in place of a dead process's. */
static int
open_socket (struct control *control)
{
  CLEANUP_CLOSE int dir_fd = -1;
  CLEANUP_CLOSE int fd = -1;
  struct sockaddr_un address;
  struct stat st;

  if (control_address (control->dir, &address, &dir_fd) == -1)
    return -1;
  if (fstatat (dir_fd, CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    CLEANUP_CLOSE int probe_fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    errno = EEXIST;
    if (!S_ISSOCK (st.st_mode))
      return -1;
    if (probe_fd >= 0
        && (connect (probe_fd, (struct sockaddr *) &address, sizeof address) == 0 || errno != ECONNREFUSED)) {
      errno = EADDRINUSE;
      return -1;
    }
    unlinkat (dir_fd, CONTROL_SOCKET, 0);
  }
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* bind takes the mode from here: there is no moment in which others could connect. */
  if (fd < 0 || fchmod (fd, 0600) == -1 || bind (fd, (struct sockaddr *) &address, sizeof address) == -1
      || listen (fd, MAX_CLIENTS) == -1)
    return -1;
  control->listen_fd = fd;
  fd = -1;
  return 0;
}

static void
free_control (struct control *control)
{
  for (size_t i = 0; i < MAX_CLIENTS; ++i)
    end_client (&control->clients[i]);
  cleanup_close (&control->stop_fd);
  if (control->listen_fd >= 0) {
    CLEANUP_CLOSE int dir_fd = open (control->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    close (control->listen_fd);
    if (dir_fd >= 0)
      unlinkat (dir_fd, CONTROL_SOCKET, 0);
  }
  free (control->dir);
  free (control);
}

struct control *
control_start (const char *dir, const struct control_verb *verbs, size_t n_verbs, void *opaque)
{
  struct control *control = calloc (1, sizeof *control);
  sigset_t all, before;
  int err;

  if (control == NULL || (control->dir = strdup (dir)) == NULL) {
    msg_error ("%s/" CONTROL_SOCKET ": out of memory", dir);
    free (control);
    return NULL;
  }
  control->verbs = verbs;
  control->n_verbs = n_verbs;
  control->opaque = opaque;
  control->listen_fd = -1;
  for (size_t i = 0; i < MAX_CLIENTS; ++i)
    control->clients[i].fd = -1;
  control->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (control->stop_fd < 0 || open_socket (control) == -1) {
    msg_error ("%s/" CONTROL_SOCKET ": cannot make the socket that cloudsharectl uses: %s", dir,
               errno == EADDRINUSE ? "another process answers there"
               : errno == EEXIST ? "there is something else of that name; move it away" : strerror (errno));
    free_control (control);
    return NULL;
  }
  /* Signals are the program's business, on the program's threads. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  err = pthread_create (&control->thread, NULL, serve, control);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (err != 0) {
    msg_error ("%s/" CONTROL_SOCKET ": cannot start a thread: %s", dir, strerror (err));
    free_control (control);
    return NULL;
  }
  return control;
}

void
control_stop (struct control *control)
{
  const uint64_t one = 1;

  if (control == NULL)
    return;
  if (write (control->stop_fd, &one, sizeof one) == -1)
    msg_debug ("%s/" CONTROL_SOCKET ": cannot wake the thread: %m", control->dir);
  pthread_join (control->thread, NULL);
  free_control (control);
}
