/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that finish what they begin. */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsutil.h"

int
full_pread (int fd, void *buf, size_t n, uint64_t offset)
{
  char *p = buf;

  while (n > 0) {
    const ssize_t r = pread (fd, p, n, offset);

    if (r == -1) {
      if (errno == EINTR)
        continue;
      return -1;
    }
    if (r == 0) {
      memset (p, 0, n);
      return 0;
    }
    p += r;
    n -= r;
    offset += r;
  }
  return 0;
}

int
full_pwrite (int fd, const void *buf, size_t n, uint64_t offset)
{
  const char *p = buf;

  while (n > 0) {
    const ssize_t r = pwrite (fd, p, n, offset);

    if (r == -1) {
      if (errno == EINTR)
        continue;
      return -1;
    }
    p += r;
    n -= r;
    offset += r;
  }
  return 0;
}

int
make_private_dirs (const char *path)
{
  CLEANUP_FREE char *copy = strdup (path);
  char *p;

  if (copy == NULL)
    return -1;
  for (p = copy + 1; *p != '\0'; ++p) {
    if (*p != '/')
      continue;
    *p = '\0';
    if (mkdir (copy, 0700) == -1 && errno != EEXIST)
      return -1;
    *p = '/';
  }
  if (mkdir (copy, 0700) == -1 && errno != EEXIST)
    return -1;
  return 0;
}

uint64_t
monotonic_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
