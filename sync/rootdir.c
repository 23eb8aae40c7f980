/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens the root folder of a local remote, and paths below it without following symbolic links. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "msg.h"
#include "rootdir.h"

/* openat2 gives EAGAIN while something is renamed on the way; a busy tree must not make us spin. */
#define MAX_OPENAT2_TRIES 16

struct rootdir {
  char *path;
  bool seen;                   /* it was there when we started */
  struct statx first_seen;
};

static int
look_at (int fd, struct statx *ret)
{
  return statx (fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, ret);
}

static bool
same_dev (const struct statx *a, const struct statx *b)
{
  return a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor;
}

/* The device number of the same disk may differ after it was mounted again; inode and time of birth do not. */
static bool
same_folder (const struct statx *a, const struct statx *b)
{
  if (a->stx_ino != b->stx_ino)
    return false;
  if (!(a->stx_mask & b->stx_mask & STATX_BTIME))
    return true;
  return a->stx_btime.tv_sec == b->stx_btime.tv_sec && a->stx_btime.tv_nsec == b->stx_btime.tv_nsec;
}

/* Without looking at what is there; without the trailing slashes that realpath would drop. */
static char *
absolute (const char *path)
{
  CLEANUP_FREE char *cwd = path[0] == '/' ? NULL : get_current_dir_name ();
  char *ret;
  size_t n;

  if (path[0] != '/' && cwd == NULL)
    return NULL;
  if (asprintf (&ret, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path) == -1)
    return NULL;
  for (n = strlen (ret); n > 1 && ret[n - 1] == '/'; --n)
    ret[n - 1] = '\0';
  return ret;
}

struct rootdir *
rootdir_new (const char *path)
{
  struct rootdir *root = calloc (1, sizeof *root);
  CLEANUP_CLOSE int fd = -1;

  if (root == NULL) {
    msg_error ("%s: out of memory", path);
    return NULL;
  }
  root->path = realpath (path, NULL);
  /* Opened for reading, unlike later: who may not list the root should hear it now. */
  if (root->path != NULL)
    fd = open (root->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && faccessat (fd, ".", F_OK, 0) == 0 && look_at (fd, &root->first_seen) == 0) {
    root->seen = true;
    return root;
  }

  if (errno == ENOENT && root->path == NULL) {
    root->path = absolute (path);
    if (root->path)
      return root;
  }
  if (errno == ENOTDIR)
    msg_error ("%s: not a folder; remote= needs a folder", path);
  else if (errno == EACCES)
    msg_error ("%s: this user may not read the folder; change its permissions, or run nbdkit as its owner", path);
  else
    msg_error ("%s: cannot open the folder: %m", path);
  rootdir_free (root);
  return NULL;
}

void
rootdir_free (struct rootdir *root)
{
  if (root == NULL)
    return;
  free (root->path);
  free (root);
}

const char *
rootdir_path (const struct rootdir *root)
{
  return root->path;
}

int
rootdir_open (const struct rootdir *root)
{
  const int fd = open (root->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct statx now;

  if (fd < 0)
    return -1;
  if (look_at (fd, &now) == -1) {
    const int err = errno;

    close (fd);
    errno = err;
    return -1;
  }
  /* A folder that was deleted and made again is on the same file system; an empty mount point is on another one. */
  if (root->seen && !same_dev (&now, &root->first_seen) && !same_folder (&now, &root->first_seen)) {
    close (fd);
    errno = ENODEV;
    return -1;
  }
  return fd;
}

static bool
is_plain_path (const char *path)
{
  if (*path == '\0')
    return true;
  for (;;) {
    const size_t len = strcspn (path, "/");

    if (len == 0 || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
      return false;
    if (path[len] == '\0')
      return true;
    path += len + 1;
  }
}

/* One name at a time: for kernels and containers without openat2, and for paths longer than it takes. */
static int
open_by_steps (int root_fd, const char *path, int flags)
{
  CLEANUP_CLOSE int held = -1;
  int at = root_fd;

  for (;;) {
    const size_t len = strcspn (path, "/");
    const bool last = path[len] == '\0';
    char name[NAME_MAX + 1];
    int fd;

    if (len > NAME_MAX) {
      errno = ENAMETOOLONG;
      return -1;
    }
    memcpy (name, path, len);
    name[len] = '\0';
    fd = openat (at, name, last ? flags : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || last)
      return fd;
    if (held >= 0)
      close (held);
    held = at = fd;
    path += len + 1;
  }
}

int
rootdir_open_below (int root_fd, const char *path, int flags)
{
  const struct open_how how = {
    .flags = (unsigned) (flags | O_NOFOLLOW | O_CLOEXEC),
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  long fd;

  if (!is_plain_path (path)) {
    errno = ENOENT;
    return -1;
  }
  if (*path == '\0')
    path = ".";

  for (int i = 0; i < MAX_OPENAT2_TRIES; ++i) {
    fd = syscall (SYS_openat2, root_fd, path, &how, sizeof how);
    if (fd >= 0)
      return (int) fd;
    if (errno != EAGAIN && errno != EINTR)
      break;
  }
  /* EPERM is what a container's filter of system calls says where it does not know openat2. */
  if (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG || errno == EAGAIN)
    return open_by_steps (root_fd, path, (int) how.flags);
  return -1;
}
