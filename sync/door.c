/* SPDX-License-Identifier: BSD-3-Clause */
/* A door at which clouds knock. */

#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <microhttpd.h>

#include "cleanup.h"
#include "door.h"
#include "door-confirm.h"
#include "door-event.h"
#include "door-token.h"
#include "fsutil.h"
#include "msg.h"

/* SNS sends 256 KiB at most, as a text within a text. */
#define MAX_BODY (512 * 1024)

#define MAX_CONNECTIONS 64
#define BACKLOG 64

/* So many seconds without a byte end a connection.  Who sends one now and then makes room when others want in: of more than
 * MAX_OLD the oldest goes. */
#define TIMEOUT 10
#define MAX_OLD 48

/* Bytes of one request's headers. */
#define MEMORY 16384

struct door {
  char *token, *url;
  int fd;                      /* listens; libmicrohttpd's once it has started */
  void (*hint) (void *opaque, const char *path);
  char *(*object_path) (void *opaque, const char *bucket, const char *key);
  void *opaque;
  struct door_confirm *confirm;
  struct MHD_Daemon *daemon;

  /* Of libmicrohttpd's thread: connections, the oldest first. */
  int open[MAX_CONNECTIONS];
  unsigned n_open;
};

/* One request while its body comes. */
struct knock {
  bool poke, too_large;
  char *body;
  size_t n;
};

/* ---- what was said ---- */

/* The folder that a path is in. */
static void
hint_folder_of (struct door *door, const char *path)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *folder = strndup (path, slash ? (size_t) (slash - path) : 0);

  door->hint (door->opaque, folder);
}

static void
on_object (void *opaque, const char *bucket, const char *key)
{
  struct door *door = opaque;
  CLEANUP_FREE char *path = NULL;

  if (door->object_path == NULL) {
    /* Perhaps somebody's notification of the storage below: worth a look. */
    door->hint (door->opaque, NULL);
    return;
  }
  path = door->object_path (door->opaque, bucket, key);
  if (path)
    hint_folder_of (door, path);
}

static void
on_path (void *opaque, const char *path)
{
  struct door *door = opaque;

  door->hint (door->opaque, path);
  if (path == NULL)
    return;
  /* What is a folder today may have been none yesterday. */
  path += strspn (path, "/");
  if (*path)
    hint_folder_of (door, path);
}

static void
on_confirm (void *opaque, const char *url)
{
  door_confirm_ask (((struct door *) opaque)->confirm, url);
}

static const struct door_event_sink event_sink = { .object = on_object, .path = on_path, .confirm = on_confirm };

/* ---- requests ---- */

static enum MHD_Result
answer (struct MHD_Connection *connection, unsigned status)
{
  struct MHD_Response *response = MHD_create_response_from_buffer (0, (void *) "", MHD_RESPMEM_PERSISTENT);
  enum MHD_Result r;

  if (response == NULL)
    return MHD_NO;
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header (response, "Allow", "POST");
  r = MHD_queue_response (connection, status, response);
  MHD_destroy_response (response);
  return r;
}

/* Whether the request knows the token; *ret_rest: what of its path follows that. */
static bool
knows_token (struct door *door, struct MHD_Connection *connection, const char *url, const char **ret_rest)
{
  const char *bearer = MHD_lookup_connection_value (connection, MHD_HEADER_KIND, "Authorization");
  const char *own = MHD_lookup_connection_value (connection, MHD_HEADER_KIND, "X-Cloudshare-Token");
  size_t n;

  url += *url == '/';
  *ret_rest = url;
  if (bearer && strncasecmp (bearer, "Bearer ", 7) == 0 && door_token_same (door->token, bearer + 7, strlen (bearer + 7)))
    return true;
  if (own && door_token_same (door->token, own, strlen (own)))
    return true;
  n = strcspn (url, "/");
  *ret_rest = url + n + (url[n] == '/');
  return door_token_same (door->token, url, n);
}

static enum MHD_Result
first_look (struct door *door, struct MHD_Connection *connection, const char *url, const char *method, struct knock **ret)
{
  const char *rest;

  *ret = NULL;
  if (!knows_token (door, connection, url, &rest) || (*rest && strcmp (rest, "poke") != 0))
    return answer (connection, MHD_HTTP_NOT_FOUND);
  if (strcmp (method, "POST") != 0)
    return answer (connection, MHD_HTTP_METHOD_NOT_ALLOWED);
  *ret = calloc (1, sizeof **ret);
  if (*ret == NULL)
    return MHD_NO;
  (*ret)->poke = *rest != '\0';
  return MHD_YES;
}

static enum MHD_Result
take (struct knock *knock, const char *data, size_t n)
{
  char *more;

  if (knock->too_large || n > MAX_BODY - knock->n) {
    knock->too_large = true;
    return MHD_YES;
  }
  more = realloc (knock->body, knock->n + n);
  if (more == NULL)
    return MHD_NO;
  memcpy (more + knock->n, data, n);
  knock->body = more;
  knock->n += n;
  return MHD_YES;
}

static enum MHD_Result
on_request (void *opaque, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
            const char *data, size_t *n, void **context)
{
  struct door *door = opaque;
  struct knock *knock = *context;

  if (knock == NULL) {
    const enum MHD_Result r = first_look (door, connection, url, method, &knock);

    *context = knock;
    return r;
  }
  if (*n > 0) {
    const enum MHD_Result r = take (knock, data, *n);

    *n = 0;
    return r;
  }
  if (knock->too_large)
    return answer (connection, MHD_HTTP_CONTENT_TOO_LARGE);
  if (!door_event_read (knock->body, knock->n, &event_sink, door)) {
    msg_debug ("push: a message of %zu bytes that is not understood", knock->n);
    if (!knock->poke)
      return answer (connection, MHD_HTTP_BAD_REQUEST);
    door->hint (door->opaque, NULL);
  }
  return answer (connection, MHD_HTTP_OK);
}

static void
on_completed (void *opaque, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
  struct knock *knock = *context;

  if (knock) {
    free (knock->body);
    free (knock);
  }
  *context = NULL;
}

static void
on_connection (void *opaque, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
  const union MHD_ConnectionInfo *info = MHD_get_connection_info (connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  struct door *door = opaque;
  unsigned i = 0;

  if (info == NULL)
    return;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    if (door->n_open < MAX_CONNECTIONS)
      door->open[door->n_open++] = info->connect_fd;
    if (door->n_open > MAX_OLD)
      shutdown (door->open[0], SHUT_RDWR);
    return;
  }
  while (i < door->n_open && door->open[i] != info->connect_fd)
    i++;
  if (i < door->n_open) {
    memmove (door->open + i, door->open + i + 1, (door->n_open - i - 1) * sizeof door->open[0]);
    door->n_open--;
  }
}

static void
on_log (void *opaque, const char *format, va_list args)
{
  char text[256];

  vsnprintf (text, sizeof text, format, args);
  text[strcspn (text, "\n")] = '\0';
  msg_debug ("push: %s", text);
}

/* ---- the address ---- */

/* "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT"; the parts are malloc'ed. */
static int
split (const char *address, char **ret_host, char **ret_port)
{
  const char *colon = strrchr (address, ':');
  const char *port = colon ? colon + 1 : address;
  size_t n = colon ? (size_t) (colon - address) : 0;
  const bool brackets = n > 2 && address[0] == '[' && address[n - 1] == ']';

  *ret_host = *ret_port = NULL;
  if (*port == '\0' || strlen (port) > 5 || port[strspn (port, "0123456789")] || atoi (port) > 65535 ||
      (colon && n == 0) || (!brackets && memchr (address, ':', n)))
    return -1;
  *ret_host = n == 0 ? strdup ("127.0.0.1") : brackets ? strndup (address + 1, n - 2) : strndup (address, n);
  *ret_port = strdup (port);
  return *ret_host && *ret_port ? 0 : -1;
}

static int
listen_at (const char *host, const char *port, const char *address)
{
  const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
  struct addrinfo *list;
  const int one = 1;
  int fd, err;

  err = getaddrinfo (host, port, &hints, &list);
  if (err) {
    msg_error ("push=%s: %s", address, gai_strerror (err));
    return -1;
  }
  fd = socket (list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == -1 ||
      bind (fd, list->ai_addr, list->ai_addrlen) == -1 || listen (fd, BACKLOG) == -1) {
    msg_error ("push=%s: %m", address);
    if (fd >= 0)
      close (fd);
    fd = -1;
  }
  freeaddrinfo (list);
  return fd;
}

/* What others call the address, with the port that was taken. */
static char *
make_url (int fd, const char *host, const char *token)
{
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  char port[8], name[256];
  char *url;

  if (getsockname (fd, (struct sockaddr *) &address, &length) == -1 ||
      getnameinfo ((struct sockaddr *) &address, length, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
    return NULL;
  if (strcmp (host, "0.0.0.0") == 0 || strcmp (host, "::") == 0) {
    if (gethostname (name, sizeof name) == -1)
      return NULL;
    name[sizeof name - 1] = '\0';
    host = name;
  }
  if (asprintf (&url, strchr (host, ':') ? "http://[%s]:%s/%s" : "http://%s:%s/%s", host, port, token) == -1)
    return NULL;
  return url;
}

/* ---- from open to close ---- */

struct door *
door_open (const struct door_config *config)
{
  CLEANUP_FREE char *host = NULL;
  CLEANUP_FREE char *port = NULL;
  struct door *door;

  if (config->token && !door_token_is_good (config->token)) {
    msg_error ("push-token=: give 16 to 128 letters and digits (also - . _ ~)");
    return NULL;
  }
  if (split (config->address, &host, &port) == -1) {
    msg_error ("push=%s: give ADDRESS:PORT, as in 192.0.2.1:8765 or [::1]:8765, or a port alone for 127.0.0.1", config->address);
    return NULL;
  }
  door = calloc (1, sizeof *door);
  if (door == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  door->hint = config->hint;
  door->object_path = config->object_path;
  door->opaque = config->opaque;
  door->fd = listen_at (host, port, config->address);
  if (door->fd < 0)
    goto failed;
  door->token = config->token ? strdup (config->token) : door_token_kept (config->dir);
  if (door->token == NULL)
    goto failed;
  door->confirm = door_confirm_new (config->cainfo);
  if (door->confirm == NULL)
    goto failed;
  door->url = make_url (door->fd, host, door->token);
  if (door->url == NULL) {
    msg_error ("push=%s: %m", config->address);
    goto failed;
  }
  return door;

failed:
  door_close (door);
  return NULL;
}

int
door_start (struct door *door)
{
  sigset_t all, before;

  /* Signals are the program's, not this thread's. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  door->daemon = MHD_start_daemon (MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, door,
                                   /* First, or what the others say goes elsewhere. */
                                   MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                   MHD_OPTION_LISTEN_SOCKET, door->fd,
                                   MHD_OPTION_CONNECTION_LIMIT, (unsigned) MAX_CONNECTIONS,
                                   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) TIMEOUT,
                                   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MEMORY,
                                   MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                                   MHD_OPTION_NOTIFY_CONNECTION, on_connection, door,
                                   MHD_OPTION_END);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (door->daemon == NULL) {
    msg_error ("push: the HTTP server cannot be started: %m");
    return -1;
  }
  door->fd = -1;
  return 0;
}

void
door_stop (struct door *door)
{
  if (door->daemon)
    MHD_stop_daemon (door->daemon);
  door->daemon = NULL;
}

void
door_close (struct door *door)
{
  if (door == NULL)
    return;
  door_stop (door);
  if (door->fd >= 0)
    close (door->fd);
  door_confirm_free (door->confirm);
  free (door->token);
  free (door->url);
  free (door);
}

const char *
door_url (const struct door *door)
{
  return door->url;
}
