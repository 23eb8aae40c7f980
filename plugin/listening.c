/* SPDX-License-Identifier: BSD-3-Clause */
/* Where this process listens for NBD clients, and how it was told to treat them. */

#include <config.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "control.h"
#include "listening.h"
#include "msg.h"

/* ---- sockets ---- */

/* control_start binds the control socket by a name below /proc where the folder's is too long for an address; then
 * getsockname tells that name, which means nothing any more. */
static bool
is_control (const char *path, const char *cache_dir)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *control = NULL;
  struct stat a, b;

  if (slash == NULL || strcmp (slash + 1, CONTROL_SOCKET) != 0)
    return false;
  if (strncmp (path, "/proc/self/fd/", 14) == 0)
    return true;
  return asprintf (&control, "%s/" CONTROL_SOCKET, cache_dir) >= 0 && stat (path, &a) == 0 && stat (control, &b) == 0
    && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* 1: it is one. */
static int
take_unix (const struct sockaddr_un *address, socklen_t n, const char *cache_dir, struct listening *ret)
{
  const size_t room = n - offsetof (struct sockaddr_un, sun_path);
  CLEANUP_FREE char *path = n > offsetof (struct sockaddr_un, sun_path) ? strndup (address->sun_path, room) : NULL;

  /* Unbound, or an abstract name. */
  if (path == NULL || path[0] == '\0' || is_control (path, cache_dir))
    return 0;
  /* Given as a relative name it is what the folder was when it was bound; nbdkit makes -U absolute. */
  ret->path = path[0] == '/' ? strdup (path) : realpath (path, NULL);
  if (ret->path == NULL && errno == ENOMEM) {
    msg_error ("out of memory");
    return -1;
  }
  return ret->path != NULL;
}

static int
take_tcp (const struct sockaddr *address, struct listening *ret)
{
  const struct sockaddr_in *in = (const struct sockaddr_in *) address;
  const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;
  const bool v4 = address->sa_family == AF_INET;
  char text[INET6_ADDRSTRLEN];

  ret->port = ntohs (v4 ? in->sin_port : in6->sin6_port);
  ret->any = v4 ? in->sin_addr.s_addr == htonl (INADDR_ANY) : IN6_IS_ADDR_UNSPECIFIED (&in6->sin6_addr);
  if (inet_ntop (address->sa_family, v4 ? (const void *) &in->sin_addr : &in6->sin6_addr, text, sizeof text) == NULL)
    return 0;
  ret->host = strdup (ret->any ? "localhost" : text);
  if (ret->host == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  return 1;
}

/* 1: clients can be told this one. */
static int
take (int fd, const char *cache_dir, struct listening *ret)
{
  union {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_storage room;
  } address = { .any.sa_family = AF_UNSPEC };
  socklen_t n = sizeof address;
  socklen_t n_int = sizeof (int);
  int listens = 0;

  /* Other threads open and close files meanwhile: whatever fails is not one. */
  if (getsockopt (fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n_int) == -1 || !listens
      || getsockname (fd, &address.any, &n) == -1)
    return 0;
  switch (address.any.sa_family) {
  case AF_UNIX:
    return take_unix (&address.un, n < sizeof address ? n : sizeof address.un, cache_dir, ret);
  case AF_INET:
  case AF_INET6:
    return take_tcp (&address.any, ret);
  default:
    return 0;
  }
}

void
listening_free (struct listening *socket)
{
  free (socket->path);
  free (socket->host);
  memset (socket, 0, sizeof *socket);
}

int
listening_find (const char *cache_dir, struct listening *ret)
{
  DIR *dir = opendir ("/proc/self/fd");
  const struct dirent *entry;
  int r = 0;

  memset (ret, 0, sizeof *ret);
  if (dir == NULL) {
    msg_error ("/proc/self/fd: %s", strerror (errno));
    return -1;
  }
  while (r != -1 && ret->path == NULL && (entry = readdir (dir)) != NULL) {
    struct listening found = { 0 };

    if (entry->d_name[0] == '.')
      continue;
    r = take (atoi (entry->d_name), cache_dir, &found);
    /* The first TCP one stays, unless a Unix one comes. */
    if (r == 1 && (found.path || ret->host == NULL)) {
      listening_free (ret);
      *ret = found;
    }
    else
      listening_free (&found);
  }
  closedir (dir);
  if (r == -1) {
    listening_free (ret);
    return -1;
  }
  return ret->path || ret->host;
}

/* ---- options ---- */

/* nbdkit(1): options of one letter that take a value. */
static bool
letter_takes_value (char letter)
{
  return strchr ("DegiPptuU", letter) != NULL;
}

/* "--tls=on" and "--tls on". */
static const char *
value_of (const char *word, const char *name, const char *next)
{
  const size_t n = strlen (name);

  if (strncmp (word, name, n) != 0)
    return NULL;
  if (word[n] == '=')
    return word + n + 1;
  return word[n] == '\0' ? next : NULL;
}

/* As nbdkit reads it; with anything else it does not start. */
static enum listening_tls
tls_of (const char *value)
{
  static const char *const require[] = { "require", "required", "force" };
  static const char *const on[] = { "on", "1", "true", "t", "yes", "y" };

  for (size_t i = 0; i < sizeof require / sizeof require[0]; ++i)
    if (strcasecmp (value, require[i]) == 0)
      return LISTENING_TLS_REQUIRE;
  for (size_t i = 0; i < sizeof on / sizeof on[0]; ++i)
    if (strcasecmp (value, on[i]) == 0)
      return LISTENING_TLS_ON;
  return LISTENING_TLS_OFF;
}

/* Returns whether the next word is its value. */
static bool
parse_letters (const char *letters, struct listening_options *ret)
{
  for (; *letters; ++letters) {
    if (*letters == 'r')
      ret->read_only = true;
    if (letter_takes_value (*letters))
      return letters[1] == '\0';
  }
  return false;
}

void
listening_parse (const char *line, size_t n, struct listening_options *ret)
{
  const char *end = line + n, *next;
  bool said = false, certificates = false;

  memset (ret, 0, sizeof *ret);
  for (const char *word = line; word < end; word = next) {
    const char *value;

    next = word + strnlen (word, end - word) + 1;
    if (next > end || strcmp (word, "--") == 0)
      break;
    /* getopt_long takes beginnings of names as well, as far as they are clear. */
    if (strncmp (word, "--re", 4) == 0)
      ret->read_only = true;
    else if ((value = value_of (word, "--tls", next < end ? next : "")) != NULL) {
      ret->tls = tls_of (value);
      said = true;
    }
    else if (value_of (word, "--tls-psk", "") != NULL)
      ret->psk = true;
    else if (value_of (word, "--tls-certificates", "") != NULL)
      certificates = true;
    else if (word[0] == '-' && word[1] != '-' && parse_letters (word + 1, ret) && next < end)
      next += strnlen (next, end - next) + 1;
  }
  /* nbdkit-tls(1): without --tls what is there is offered.  (Also the certificates in its built-in place, of which nothing can be
   * told from here.) */
  if (!said && (ret->psk || certificates))
    ret->tls = LISTENING_TLS_ON;
}

int
listening_options (struct listening_options *ret)
{
  CLEANUP_FREE char *line = NULL;
  CLEANUP_CLOSE int fd = open ("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  size_t room = 0, n = 0;
  ssize_t r;

  if (fd < 0) {
    msg_error ("/proc/self/cmdline: %s", strerror (errno));
    return -1;
  }
  do {
    if (n == room) {
      char *more = realloc (line, room + 4096);

      if (more == NULL) {
        msg_error ("out of memory");
        return -1;
      }
      line = more;
      room += 4096;
    }
    r = read (fd, line + n, room - n);
    if (r == -1) {
      msg_error ("/proc/self/cmdline: %s", strerror (errno));
      return -1;
    }
    n += r;
  } while (r > 0);
  listening_parse (line, n, ret);
  return 0;
}
