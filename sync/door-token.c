/* SPDX-License-Identifier: BSD-3-Clause */
/* The word that opens the door. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "door-token.h"
#include "msg.h"

#define SHORTEST 16
#define LONGEST 128

bool
door_token_is_good (const char *token)
{
  const size_t n = strspn (token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~");

  return token[n] == '\0' && n >= SHORTEST && n <= LONGEST;
}

bool
door_token_same (const char *token, const char *given, size_t n)
{
  const size_t length = strlen (token);
  volatile unsigned char differs = n != length;

  for (size_t i = 0; i < length; ++i)
    differs |= (unsigned char) token[i] ^ (unsigned char) (i < n ? given[i] : 0);
  return differs == 0;
}

static char *
make (const char *path)
{
  CLEANUP_CLOSE int fd = -1;
  unsigned char bytes[16];
  char text[2 * sizeof bytes + 2];

  if (getrandom (bytes, sizeof bytes, 0) != sizeof bytes) {
    msg_error ("no random numbers: %m");
    return NULL;
  }
  for (size_t i = 0; i < sizeof bytes; ++i)
    sprintf (text + 2 * i, "%02x", bytes[i]);
  strcat (text, "\n");
  /* Whoever was told the token must not be told another after a crash: it is on disk before it is told. */
  fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 || fchmod (fd, 0600) == -1 || write (fd, text, strlen (text)) != (ssize_t) strlen (text) || fsync (fd) == -1) {
    msg_error ("%s: the token of push= cannot be kept: %m", path);
    return NULL;
  }
  text[strlen (text) - 1] = '\0';
  return strdup (text);
}

char *
door_token_kept (const char *dir)
{
  CLEANUP_FREE char *path = NULL;
  CLEANUP_CLOSE int fd = -1;
  char text[LONGEST + 2] = "", *token;
  ssize_t n;

  if (asprintf (&path, "%s/push-token", dir) == -1) {
    path = NULL;
    msg_error ("out of memory");
    return NULL;
  }
  fd = open (path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  n = fd >= 0 ? read (fd, text, sizeof text - 1) : 0;
  if (n > 0)
    text[n] = '\0';
  text[strcspn (text, "\r\n")] = '\0';
  token = door_token_is_good (text) ? strdup (text) : make (path);
  if (token == NULL && door_token_is_good (text))
    msg_error ("out of memory");
  return token;
}
