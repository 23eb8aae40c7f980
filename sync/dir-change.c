/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of a local folder: the requests, and all verbs but put (dir-put.c).
 *
 * Programs on this host change the same files, and there is no "do it if the file is still that version".  So each
 * verb looks, holds the file where it can (dir_hold), does what it does in a way that can be undone, looks again at
 * what it really got hold of, and puts that back if it was not what was meant.  Nothing is deleted that was not looked
 * at under a name that nobody else knows. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dir-private.h"
#include "msg.h"
#include "rootdir.h"
#include "steps.h"

static void
free_change (struct dir_change *change)
{
  if (change == NULL)
    return;
  if (change->root_fd >= 0)
    close (change->root_fd);
  free (change->path);
  free (change->to);
  free (change->expect);
  free (change->sentence);
  free (change);
}

static enum cloud_result
result_of_errno (int err)
{
  switch (err) {
  case ENOSPC:
  case EDQUOT:
    return CLOUD_FULL;
  case EROFS:
    return CLOUD_DENIED;
  case ENAMETOOLONG:
  case EFBIG:
  case EINVAL:         /* a name that the file system cannot hold, or a folder moved into itself */
  case EILSEQ:
  case EMLINK:
  case EXDEV:
    return CLOUD_REFUSED;
  case EEXIST:
  case ENOTEMPTY:
    return CLOUD_EXISTS;
  case EISDIR:
    return CLOUD_CHANGED;
  case ETXTBSY:
    return CLOUD_BUSY;
  default:
    return dir_result_of_errno (err);
  }
}

enum cloud_result
dir_cannot (struct dir_change *change, const char *path)
{
  const enum cloud_result result = result_of_errno (errno);

  switch (result) {
  case CLOUD_GONE:
    return dir_failed (change->dir, path, &change->sentence, result, "it is not there any more");
  case CLOUD_EXISTS:
    return dir_failed (change->dir, path, &change->sentence, result,
                       errno == ENOTEMPTY ? "the folder is not empty" : "something is there already");
  case CLOUD_FULL:
    return dir_failed (change->dir, path, &change->sentence, result,
                       "no room left on its disk (%m); make room, or raise the quota");
  case CLOUD_DENIED:
    return dir_failed (change->dir, path, &change->sentence, result,
                       "%s", errno == EROFS ? "its file system is read-only"
                       : "this user may not change it; change its permissions, or run nbdkit as its owner");
  case CLOUD_REFUSED:
    return dir_failed (change->dir, path, &change->sentence, result,
                       errno == EXDEV ? "another file system is mounted there, and nothing can be moved across"
                       : "its file system does not take it: %m");
  default:
    return dir_failed (change->dir, path, &change->sentence, result, "cannot change it: %m");
  }
}

static enum cloud_result
no_parent (struct dir_change *change, const char *path)
{
  return dir_failed (change->dir, path, &change->sentence, CLOUD_PARENT, "the folder that it belongs in is gone");
}

enum cloud_result
dir_open_place (struct dir_change *change, const char *path, struct dir_place *ret)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *parent = strndup (path, slash ? (size_t) (slash - path) : 0);

  ret->fd = -1;
  ret->name = slash ? slash + 1 : path;
  if (parent == NULL)
    return dir_failed (change->dir, path, &change->sentence, CLOUD_LOCAL, "out of memory");
  if (*ret->name == '\0' || strcmp (ret->name, ".") == 0 || strcmp (ret->name, "..") == 0
      || localitem_is_own (ret->name) != LOCALITEM_NOT_OWN)
    return dir_failed (change->dir, path, &change->sentence, CLOUD_REFUSED, "not a name that can be used here");
  ret->fd = rootdir_open_below (change->root_fd, parent, O_RDONLY | O_DIRECTORY);
  if (ret->fd >= 0)
    return CLOUD_OK;
  if (dir_result_of_errno (errno) == CLOUD_GONE)
    return no_parent (change, path);
  return dir_cannot (change, path);
}

/* The same for an item that must be there: without its folder it is gone. */
static enum cloud_result
open_source (struct dir_change *change, const char *path, struct dir_place *ret)
{
  const enum cloud_result result = dir_open_place (change, path, ret);

  return result == CLOUD_PARENT ? CLOUD_GONE : result;
}

static enum cloud_result
changed_by_others (struct dir_change *change)
{
  return dir_failed (change->dir, change->path, &change->sentence, CLOUD_CHANGED, "somebody else has changed it");
}

enum cloud_result
dir_look (struct dir_change *change, const struct dir_place *at, const char *expect, struct statx *ret)
{
  const char *path = change->path;

  if (localitem_look (at->fd, at->name, ret) == -1)
    return dir_cannot (change, path);
  if (!S_ISREG (ret->stx_mode) && !S_ISDIR (ret->stx_mode))
    return dir_failed (change->dir, path, &change->sentence, CLOUD_GONE, "it is neither a file nor a folder any more");
  if (expect == NULL)
    return S_ISDIR (ret->stx_mode) ? CLOUD_OK
      : dir_failed (change->dir, path, &change->sentence, CLOUD_CHANGED, "it is not a folder any more");
  if (!S_ISREG (ret->stx_mode) || !localitem_is_version (ret, expect))
    return changed_by_others (change);
  return CLOUD_OK;
}

enum cloud_result
dir_sync_folder (struct dir_change *change, int fd)
{
  if (fsync (fd) == 0 || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EROFS) {
    step_passed ("dir-folder");
    return CLOUD_OK;
  }
  return dir_failed (change->dir, change->path, &change->sentence, CLOUD_BAD,
                     "its folder could not be made durable: %m");
}

void
dir_set_now (struct dir_change *change, const struct statx *st)
{
  change->has_now = dir_make_item (&change->now, "", st, &change->root);
  /* A rename moves ctime alone.  Who writes next sets mtime to the time of day too, so from an mtime that is past the
   * token is sure to change. */
  if (llabs ((int64_t) st->stx_ctime.tv_sec - st->stx_mtime.tv_sec) > 4)
    change->now.item.settled = true;
}

enum cloud_result
dir_hold (struct dir_change *change, const struct dir_place *at, const struct statx *st, struct dir_held *ret)
{
  struct statx now;

  ret->leased = false;
  /* O_NONBLOCK: should it be a pipe by now. */
  ret->fd = openat (at->fd, at->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (ret->fd < 0)
    return CLOUD_OK;   /* not readable: looking has to do, and the rename will say what is wrong */
  if (localitem_look (ret->fd, "", &now) == -1 || !localitem_is_same (st, &now))
    return changed_by_others (change);
  /* Who waits for a lease is announced by a signal.  SIGIO, the default, would end the process; SIGURG is ignored
   * unless somebody asks for it.  A look (dir_is_wanted) is all that we need. */
  if (fcntl (ret->fd, F_SETSIG, SIGURG) == -1)
    return CLOUD_OK;
  if (fcntl (ret->fd, F_SETLEASE, F_RDLCK) == -1)
    return errno != EAGAIN ? CLOUD_OK
      : dir_failed (change->dir, change->path, &change->sentence, CLOUD_BUSY,
                    "a program has it open for writing; it is left alone until that is closed");
  ret->leased = true;
  /* What was written between the look and the lease. */
  if (localitem_look (ret->fd, "", &now) == -1 || !localitem_is_same (st, &now))
    return changed_by_others (change);
  return CLOUD_OK;
}

void
dir_let_go (struct dir_held *held)
{
  cleanup_close (&held->fd);
}

bool
dir_is_wanted (const struct dir_held *held)
{
  return held->leased && fcntl (held->fd, F_GETLEASE) != F_RDLCK;
}

/* ---- the verbs ---- */

static enum cloud_result
run_mkdir (struct dir_change *change)
{
  CLEANUP_CLOSE int fd = -1;
  struct dir_place at;
  struct statx st;
  const enum cloud_result result = dir_open_place (change, change->path, &at);

  if (result != CLOUD_OK)
    return result;
  fd = at.fd;
  if (mkdirat (fd, at.name, 0777) == -1)
    return errno == ENOENT ? no_parent (change, change->path) : dir_cannot (change, change->path);
  if (localitem_look (fd, at.name, &st) == 0)
    dir_set_now (change, &st);
  /* Without it a power loss would take the folder away, and all that is put into it next. */
  return dir_sync_folder (change, fd);
}

static enum cloud_result
run_move (struct dir_change *change)
{
  CLEANUP_CLOSE int from_fd = -1;
  CLEANUP_CLOSE int to_fd = -1;
  struct dir_place from, to;
  struct statx st, now;
  enum cloud_result result = open_source (change, change->path, &from);

  if (result != CLOUD_OK)
    return result;
  from_fd = from.fd;
  result = dir_open_place (change, change->to, &to);
  if (result != CLOUD_OK)
    return result;
  to_fd = to.fd;
  result = dir_look (change, &from, change->expect, &st);
  if (result != CLOUD_OK)
    return result;

  if (localitem_rename_new (from_fd, from.name, to_fd, to.name, change->is_folder) == -1) {
    if (errno == ENOENT && localitem_look (from_fd, from.name, &now) == 0)
      return no_parent (change, change->to);
    return dir_cannot (change, errno == ENOENT ? change->path : change->to);
  }
  if (localitem_look (to_fd, to.name, &now) == 0) {
    /* What was moved may be what somebody put there after the look: it goes back. */
    if (change->is_folder ? now.stx_ino != st.stx_ino : !localitem_is_same (&st, &now)) {
      if (localitem_rename_new (to_fd, to.name, from_fd, from.name, S_ISDIR (now.stx_mode)) == -1)
        msg_notice ("%s/%s was changed by somebody else while it was moved to %s, and stays there",
                    rootdir_path (change->dir->root), change->path, change->to);
      return changed_by_others (change);
    }
    dir_set_now (change, &now);
  }
  /* The new place first: after a power loss in between it is in both, and not in none. */
  result = dir_sync_folder (change, to_fd);
  return result == CLOUD_OK ? dir_sync_folder (change, from_fd) : result;
}

static enum cloud_result
remove_folder (struct dir_change *change, const struct dir_place *at)
{
  struct statx st;
  const enum cloud_result result = dir_look (change, at, NULL, &st);

  if (result != CLOUD_OK)
    return result;
  if (unlinkat (at->fd, at->name, AT_REMOVEDIR) == -1) {
    const int err = errno == EEXIST ? ENOTEMPTY : errno;

    /* What listings do not show must not keep it either. */
    if (err != ENOTEMPTY || !dir_sweep_all (change->dir, at->fd, at->name) ||
        unlinkat (at->fd, at->name, AT_REMOVEDIR) == -1) {
      errno = err;
      return dir_cannot (change, change->path);
    }
  }
  return dir_sync_folder (change, at->fd);
}

static enum cloud_result
run_remove (struct dir_change *change)
{
  const struct localitem_maker maker = dir_maker (change->dir);
  char aside[LOCALITEM_OWN_SIZE];
  CLEANUP_CLOSE int fd = -1;
  __attribute__ ((cleanup (dir_let_go))) struct dir_held held = { .fd = -1 };
  struct dir_place at;
  struct statx st, now;
  enum cloud_result result = open_source (change, change->path, &at);

  if (result != CLOUD_OK)
    return result;
  fd = at.fd;
  if (change->is_folder)
    return remove_folder (change, &at);
  result = dir_look (change, &at, change->expect, &st);
  if (result == CLOUD_OK)
    result = dir_hold (change, &at, &st, &held);
  if (result != CLOUD_OK)
    return result;

  localitem_aside_name (&maker, &st, NULL, aside);
  if (localitem_rename_new (fd, at.name, fd, aside, false) == -1)
    return dir_cannot (change, change->path);
  step_passed ("dir-aside");
  if (localitem_look (fd, aside, &now) == -1 || !localitem_is_same (&st, &now) || dir_is_wanted (&held)) {
    /* If a new file has the name by now, both stay; listings tell of the one that was set aside. */
    if (localitem_rename_new (fd, aside, fd, at.name, false) == -1)
      msg_notice ("%s/%s was changed by somebody else while it was removed; that version is kept as %s beside it: %m",
                  rootdir_path (change->dir->root), change->path, aside);
    return changed_by_others (change);
  }
  if (unlinkat (fd, aside, 0) == -1) {
    const int err = errno;

    localitem_rename_new (fd, aside, fd, at.name, false);
    errno = err;
    return dir_cannot (change, change->path);
  }
  /* Without it the file could be back after a power loss, and be taken for somebody's new one. */
  return dir_sync_folder (change, fd);
}

static enum cloud_result
run_touch (struct dir_change *change)
{
  const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, change->mtime };
  CLEANUP_CLOSE int fd = -1;
  __attribute__ ((cleanup (dir_let_go))) struct dir_held held = { .fd = -1 };
  struct dir_place at;
  struct statx st, now;
  enum cloud_result result = open_source (change, change->path, &at);

  if (result != CLOUD_OK)
    return result;
  fd = at.fd;
  result = dir_look (change, &at, change->expect, &st);
  if (result == CLOUD_OK)
    result = dir_hold (change, &at, &st, &held);
  if (result != CLOUD_OK)
    return result;
  /* By descriptor where there is one: the name may be another file's by now. */
  if ((held.fd >= 0 ? futimens (held.fd, times) : utimensat (fd, at.name, times, AT_SYMLINK_NOFOLLOW)) == -1)
    return dir_cannot (change, change->path);
  if (localitem_look (fd, at.name, &now) == -1)
    return dir_cannot (change, change->path);
  if (now.stx_ino != st.stx_ino || now.stx_size != st.stx_size)
    return changed_by_others (change);
  dir_set_now (change, &now);
  return CLOUD_OK;
}

static void
run_change (struct job *job, bool stopped)
{
  static enum cloud_result (*const verbs[]) (struct dir_change *) = {
    [DIR_PUT] = dir_run_put, [DIR_MKDIR] = run_mkdir, [DIR_MOVE] = run_move, [DIR_REMOVE] = run_remove,
    [DIR_TOUCH] = run_touch,
  };
  struct dir_change *change = (struct dir_change *) ((char *) job - offsetof (struct dir_change, job));
  enum cloud_result result = CLOUD_STOPPED;

  if (!stopped) {
    result = dir_open_root (change->dir, &change->root_fd, &change->sentence);
    if (result == CLOUD_OK && localitem_look (change->root_fd, "", &change->root) == -1)
      result = dir_cannot (change, "");
    if (result == CLOUD_OK)
      result = verbs[change->verb] (change);
  }
  if (change->sentence == NULL && result != CLOUD_OK)
    change->sentence = strdup (result == CLOUD_STOPPED ? "stopped" : "out of memory");
  change->sink.done (change->opaque, result, result == CLOUD_OK ? NULL : change->sentence,
                     result == CLOUD_OK && change->has_now ? &change->now.item : NULL);
  free_change (change);
}

/* expect and to may be NULL.  NULL when out of memory: done was called. */
static struct dir_change *
new_change (struct cloud *cloud, enum dir_verb verb, const char *path, const char *expect, const char *to,
            const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = calloc (1, sizeof *change);

  if (change != NULL) {
    change->job.run = run_change;
    change->dir = (struct dir *) cloud;
    change->verb = verb;
    change->sink = *sink;
    change->opaque = opaque;
    change->root_fd = -1;
    change->path = strdup (path);
    change->expect = expect ? strdup (expect) : NULL;
    change->to = to ? strdup (to) : NULL;
    if (change->path && (change->expect || !expect) && (change->to || !to))
      return change;
  }
  free_change (change);
  sink->done (opaque, CLOUD_LOCAL, "out of memory", NULL);
  return NULL;
}

static void
start_change (struct dir_change *change)
{
  workers_add (change->dir->workers, WORK_CHANGE, &change->job);
}

void
dir_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = new_change (cloud, DIR_PUT, put->path, put->expect, NULL, sink, opaque);

  if (change == NULL)
    return;
  change->put = *put;
  change->mtime = put->mtime;
  start_change (change);
}

void
dir_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = new_change (cloud, DIR_MKDIR, path, NULL, NULL, sink, opaque);

  if (change)
    start_change (change);
}

void
dir_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
          const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = new_change (cloud, DIR_MOVE, path, is_folder ? NULL : expect, to, sink, opaque);

  if (change == NULL)
    return;
  change->is_folder = is_folder;
  start_change (change);
}

void
dir_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
            const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = new_change (cloud, DIR_REMOVE, path, is_folder ? NULL : expect, NULL, sink, opaque);

  if (change == NULL)
    return;
  change->is_folder = is_folder;
  start_change (change);
}

void
dir_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
           const struct cloud_change_sink *sink, void *opaque)
{
  struct dir_change *change = new_change (cloud, DIR_TOUCH, path, expect, NULL, sink, opaque);

  if (change == NULL)
    return;
  change->mtime = *mtime;
  start_change (change);
}
