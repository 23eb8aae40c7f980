/* SPDX-License-Identifier: BSD-3-Clause */
/* What changes of a local folder that were broken off left in it. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "dir-private.h"
#include "msg.h"

/* An upload of whoever: nobody is at it any more after so many seconds without a write. */
#define LEFT_UPLOAD_S (24 * 60 * 60)

/* Where nobody can tell whether a file is open for writing, it counts as closed after so long. */
#define LEFT_ASIDE_S 60

static int64_t
seconds_since_change (const struct statx *st)
{
  struct timespec now;

  clock_gettime (CLOCK_REALTIME, &now);
  return now.tv_sec - st->stx_ctime.tv_sec;
}

/* The version that was to go, or the one that was to come, and it stays so: a lease is granted while nobody has it open
 * for writing.  Anything else may be the only copy of what somebody wrote while we were replacing it. */
static bool
is_spent (int fd, const char *name)
{
  CLEANUP_CLOSE int file = openat (fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct statx st;

  if (file < 0)
    return false;
  if (fcntl (file, F_SETSIG, SIGURG) == -1 || fcntl (file, F_SETLEASE, F_RDLCK) == -1) {
    if (errno == EAGAIN || localitem_look (file, "", &st) == -1 || seconds_since_change (&st) <= LEFT_ASIDE_S)
      return false;
  }
  return localitem_look (file, "", &st) == 0 && localitem_is_spent (name, &st);
}

bool
dir_sweep (struct dir *dir, int fd, const char *name)
{
  const struct localitem_maker maker = dir_maker (dir);
  const bool is_left = localitem_is_left (name, &maker);
  struct statx st;

  if (localitem_look (fd, name, &st) == -1)
    return errno == ENOENT;
  if (!S_ISREG (st.stx_mode))
    return false;
  switch (localitem_is_own (name)) {
  case LOCALITEM_UPLOAD:
    if (!is_left && seconds_since_change (&st) <= LEFT_UPLOAD_S)
      return false;
    break;
  case LOCALITEM_ASIDE:
    if (!is_left || !is_spent (fd, name))
      return false;
    break;
  default:
    return false;
  }
  if (unlinkat (fd, name, 0) == -1)
    return errno == ENOENT;
  msg_debug ("%s: left by a change that did not end, and removed", name);
  return true;
}

bool
dir_sweep_all (struct dir *dir, int folder_fd, const char *name)
{
  CLEANUP_CLOSE int fd = openat (folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct localnames list = { 0 };
  DIR *stream = fd >= 0 ? fdopendir (fd) : NULL;
  bool swept = false;

  if (stream == NULL)
    return false;
  fd = -1;   /* the stream's now */
  if (localnames_read (stream, &list) == 0)
    for (size_t i = 0; i < list.used; ++i)
      if (localitem_is_own (list.names[i]) != LOCALITEM_NOT_OWN)
        swept |= dir_sweep (dir, dirfd (stream), list.names[i]);
  localnames_free (&list);
  closedir (stream);
  return swept;
}
