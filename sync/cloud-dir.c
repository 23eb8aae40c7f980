/* SPDX-License-Identifier: BSD-3-Clause */
/* The provider for a local folder: remote=/path or remote=file:///path.
 *
 * All of it blocks on the disk, so a few threads (workers.h, between start and stop) carry it out: reads that somebody
 * waits for first, then listings, then changes, then read-ahead.
 *
 * rootdir.h keeps us below the root, localitem.h says what a version is, treewatch.h notices changes; dir-change.c
 * makes them.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "cloud.h"
#include "dir-private.h"
#include "fileurl.h"
#include "localitem.h"
#include "msg.h"
#include "rootdir.h"
#include "said.h"
#include "treewatch.h"
#include "workers.h"

/* How much is read at once. */
#define PIECE (1024 * 1024)

/* What is still set aside after so many seconds is told of. */
#define LEFT_ASIDE_S 60

/* A list or a get under way.  Its sink and strings are our copies. */
struct request {
  struct job job;
  struct dir *dir;
  void *opaque;
  bool is_list;
  int depth;                    /* list */
  struct cloud_list_sink list;
  struct cloud_get get;         /* list uses get.path too */
  struct cloud_get_sink data;
};

static void
free_request (struct request *request)
{
  if (request == NULL)
    return;
  free ((char *) request->get.path);
  free ((char *) request->get.token);
  free (request);
}

/* Names come from whoever writes below the root: no control characters of theirs in logs. */
static char *
name_for_people (const char *name)
{
  char *text = strdup (name);

  for (char *p = text; p != NULL && *p != '\0'; ++p)
    if ((unsigned char) *p < 0x20 || *p == 0x7f)
      *p = '?';
  return text;
}

enum cloud_result
dir_failed (struct dir *dir, const char *path, char **ret_sentence, enum cloud_result result, const char *fmt, ...)
{
  const int err = errno;
  CLEANUP_FREE char *name = name_for_people (path);
  CLEANUP_FREE char *reason = NULL;
  va_list args;

  va_start (args, fmt);
  errno = err;
  if (vasprintf (&reason, fmt, args) == -1)
    reason = NULL;
  va_end (args);
  if (reason == NULL || name == NULL
      || asprintf (ret_sentence, "%s%s%s: %s", rootdir_path (dir->root), *name ? "/" : "", name, reason) == -1)
    *ret_sentence = NULL;
  return result;
}

enum cloud_result
dir_result_of_errno (int err)
{
  switch (err) {
  case ENOENT:
  case ENOTDIR:
  case ELOOP:          /* a symbolic link is in the way: there is no such item for us */
  case ENAMETOOLONG:
    return CLOUD_GONE;
  case EACCES:
  case EPERM:
    return CLOUD_DENIED;
  case ENODEV:
  case ENXIO:
  case ENOTCONN:       /* a FUSE file system whose program has ended */
  case ESHUTDOWN:
  case EHOSTDOWN:
  case EHOSTUNREACH:
  case ETIMEDOUT:
    return CLOUD_OFFLINE;
  case EAGAIN:         /* somebody holds a lease on the file */
  case EBUSY:
  case EINTR:
  case ESTALE:         /* replaced on an NFS server: the next look finds out */
    return CLOUD_BUSY;
  case EMFILE:
  case ENFILE:
  case ENOMEM:
    return CLOUD_LOCAL;
  default:
    return CLOUD_BAD;
  }
}

static enum cloud_result
failed_errno (struct dir *dir, const char *path, char **ret_sentence)
{
  enum cloud_result result = dir_result_of_errno (errno);

  /* The root cannot be deleted in the remote: without it there is no remote. */
  if (result == CLOUD_GONE && *path == '\0')
    return dir_failed (dir, path, ret_sentence, CLOUD_OFFLINE,
                       "there is no such folder; check remote=, and that its disk is mounted");
  return dir_failed (dir, path, ret_sentence, result, "cannot read it: %m");
}

enum cloud_result
dir_open_root (struct dir *dir, int *ret_fd, char **ret_sentence)
{
  *ret_fd = rootdir_open (dir->root);
  if (*ret_fd >= 0)
    return CLOUD_OK;
  if (errno == ENODEV)
    return dir_failed (dir, "", ret_sentence, CLOUD_OFFLINE,
                       "another folder is there than at the start; is its disk mounted?");
  return failed_errno (dir, "", ret_sentence);
}

bool
dir_make_item (struct dir_item *ret, const char *name, const struct statx *st, const struct statx *root)
{
  const bool is_folder = S_ISDIR (st->stx_mode);

  if (!is_folder && !S_ISREG (st->stx_mode))
    return false;
  ret->item = (struct cloud_item) {
    .name = name,
    .is_folder = is_folder,
    .size = is_folder ? 0 : st->stx_size,
    .mtime = { .tv_sec = st->stx_mtime.tv_sec, .tv_nsec = st->stx_mtime.tv_nsec },
    .settled = is_folder || localitem_is_settled (st),
  };
  if (!is_folder) {
    localitem_token (st, ret->token);
    ret->item.token = ret->token;
  }
  /* Hard links are several items with one inode, so it does not tell them apart. */
  if (is_folder || st->stx_nlink == 1) {
    localitem_id (st, root, ret->id);
    ret->item.id = ret->id;
  }
  return true;
}

/* Gives one file or folder to the sink.  False: it is neither. */
static bool
give_item (struct request *request, const char *name, const struct statx *st, const struct statx *root)
{
  struct dir_item item;

  if (!dir_make_item (&item, name, st, root))
    return false;
  request->list.item (request->opaque, &item.item);
  return true;
}

static void
give_left_out (struct request *request, const char *name, const char *reason)
{
  CLEANUP_FREE char *text = NULL;

  if (!said_first_time (request->dir->said, request->get.path, name))
    return;
  text = name_for_people (name);
  request->list.left_out (request->opaque, text ? text : "?", reason);
}

/* A folder may be full of links: they are told in one sentence. */
static void
give_links (struct request *request, const char *first, size_t count)
{
  CLEANUP_FREE char *reason = NULL;

  if (count == 1
      || asprintf (&reason, "a symbolic link, like %zu more in this folder; links are not followed", count - 1) == -1)
    reason = NULL;
  give_left_out (request, first, reason ? reason : "a symbolic link; links are not followed");
}

/* What our own changes leave in a folder for a moment is no item.  After a crash a file that was set aside may be the only
 * copy of what somebody else wrote. */
static void
look_at_own (struct request *request, int fd, const char *name, enum localitem_own own, const struct statx *st)
{
  struct timespec now;

  if (dir_sweep (request->dir, fd, name))
    return;
  clock_gettime (CLOCK_REALTIME, &now);
  if (own == LOCALITEM_ASIDE && now.tv_sec - st->stx_ctime.tv_sec > LEFT_ASIDE_S)
    give_left_out (request, name,
                   "a file that was being replaced when we were stopped; delete it if you do not need it");
}

static enum cloud_result
list_children (struct request *request, DIR *stream, struct localnames *list, const struct statx *root,
               char **ret_sentence)
{
  struct dir *dir = request->dir;
  const char *path = request->get.path, *first_link = NULL;
  size_t n_links = 0;

  if (localnames_read (stream, list) == -1)
    return failed_errno (dir, path, ret_sentence);
  for (size_t i = 0; i < list->used; ++i) {
    const char *name = list->names[i];
    enum localitem_own own;
    struct statx st;

    if (atomic_load (&dir->stopping))
      return CLOUD_STOPPED;
    if (localitem_look (dirfd (stream), name, &st) == -1) {
      if (errno == ENOENT)
        continue;
      return failed_errno (dir, path, ret_sentence);
    }
    if (S_ISREG (st.stx_mode) && (own = localitem_is_own (name)) != LOCALITEM_NOT_OWN)
      look_at_own (request, dirfd (stream), name, own, &st);
    else if (S_ISLNK (st.stx_mode)) {
      if (n_links++ == 0)
        first_link = name;
    }
    else if (!give_item (request, name, &st, root))
      give_left_out (request, name, "neither a file nor a folder");
  }
  if (n_links > 0)
    give_links (request, first_link, n_links);
  return CLOUD_OK;
}

static enum cloud_result
run_list (struct request *request, char **ret_sentence)
{
  struct dir *dir = request->dir;
  const char *path = request->get.path;
  CLEANUP_CLOSE int root_fd = -1;
  CLEANUP_CLOSE int fd = -1;
  struct statx root, st;
  struct localnames list = { 0 };
  enum cloud_result result = dir_open_root (dir, &root_fd, ret_sentence);
  DIR *stream;

  if (result != CLOUD_OK)
    return result;
  if (localitem_look (root_fd, "", &root) == -1)
    return failed_errno (dir, "", ret_sentence);

  if (request->depth == 0) {
    fd = rootdir_open_below (root_fd, path, O_PATH);
    if (fd < 0 || localitem_look (fd, "", &st) == -1)
      return failed_errno (dir, path, ret_sentence);
    if (!give_item (request, "", &st, &root))
      return dir_failed (dir, path, ret_sentence, CLOUD_GONE, "neither a file nor a folder");
    return CLOUD_OK;
  }

  fd = rootdir_open_below (root_fd, path, O_RDONLY | O_DIRECTORY);
  stream = fd >= 0 ? fdopendir (fd) : NULL;
  if (stream == NULL)
    return failed_errno (dir, path, ret_sentence);
  fd = -1;   /* the stream's now */
  result = list_children (request, stream, &list, &root, ret_sentence);
  localnames_free (&list);
  closedir (stream);
  return result;
}

/* Opens the version asked for. */
static enum cloud_result
open_version (struct request *request, int *ret_fd, char **ret_sentence)
{
  struct dir *dir = request->dir;
  const char *path = request->get.path;
  CLEANUP_CLOSE int root_fd = -1;
  CLEANUP_CLOSE int path_fd = -1;
  struct statx st;
  const enum cloud_result result = dir_open_root (dir, &root_fd, ret_sentence);

  if (result != CLOUD_OK)
    return result;
  /* Looked at before it is opened for reading: opening a pipe could block, and opening a device could do anything. */
  path_fd = rootdir_open_below (root_fd, path, O_PATH);
  if (path_fd < 0 || localitem_look (path_fd, "", &st) == -1)
    return failed_errno (dir, path, ret_sentence);
  if (!S_ISREG (st.stx_mode))
    return dir_failed (dir, path, ret_sentence, CLOUD_GONE, "it is not a file any more");
  if (!localitem_is_version (&st, request->get.token))
    return dir_failed (dir, path, ret_sentence, CLOUD_CHANGED, "it has changed since it was listed");
  *ret_fd = rootdir_open_below (root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (*ret_fd < 0)
    return failed_errno (dir, path, ret_sentence);
  return CLOUD_OK;
}

static enum cloud_result
run_get (struct request *request, char **ret_sentence)
{
  struct dir *dir = request->dir;
  const char *path = request->get.path;
  uint64_t offset = request->get.offset, left = request->get.length;
  CLEANUP_FREE char *buf = malloc (left < PIECE ? left : PIECE);
  CLEANUP_CLOSE int fd = -1;
  enum cloud_result result;

  if (buf == NULL)
    return dir_failed (dir, path, ret_sentence, CLOUD_LOCAL, "out of memory");
  result = open_version (request, &fd, ret_sentence);
  if (result != CLOUD_OK)
    return result;

  while (left > 0) {
    struct statx st;
    ssize_t n;

    if (atomic_load (&dir->stopping))
      return CLOUD_STOPPED;
    n = pread (fd, buf, left < PIECE ? left : PIECE, (off_t) offset);
    if (n == -1 && errno == EINTR)
      continue;
    /* Looked at after each piece was read and before it is given on: so a byte of another version never is. */
    if (n == -1 || localitem_look (fd, "", &st) == -1)
      return failed_errno (dir, path, ret_sentence);
    if (!localitem_is_version (&st, request->get.token))
      return dir_failed (dir, path, ret_sentence, CLOUD_CHANGED, "it was changed while it was read");
    if (n == 0)
      return dir_failed (dir, path, ret_sentence, CLOUD_BAD, "it ends before the size that it says it has");
    if (request->data.data (request->opaque, buf, (size_t) n, offset) == -1)
      return dir_failed (dir, path, ret_sentence, CLOUD_LOCAL, "what was read could not be kept");
    offset += (uint64_t) n;
    left -= (uint64_t) n;
  }
  return CLOUD_OK;
}

static void
run_request (struct job *job, bool stopped)
{
  struct request *request = (struct request *) ((char *) job - offsetof (struct request, job));
  CLEANUP_FREE char *sentence = NULL;
  enum cloud_result result = CLOUD_STOPPED;

  if (!stopped)
    result = request->is_list ? run_list (request, &sentence) : run_get (request, &sentence);
  if (sentence == NULL && result != CLOUD_OK)
    sentence = strdup (result == CLOUD_STOPPED ? "stopped" : "out of memory");
  if (request->is_list)
    request->list.done (request->opaque, result, sentence);
  else
    request->data.done (request->opaque, result, sentence);
  free_request (request);
}

static void
dir_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  struct dir *dir = (struct dir *) cloud;
  struct request *request = calloc (1, sizeof *request);

  if (request == NULL || (request->get.path = strdup (path)) == NULL) {
    free_request (request);
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  request->job.run = run_request;
  request->dir = dir;
  request->opaque = opaque;
  request->is_list = true;
  request->depth = depth;
  request->list = *sink;
  workers_add (dir->workers, WORK_NORMAL, &request->job);
}

static void
dir_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque)
{
  struct dir *dir = (struct dir *) cloud;
  struct request *request = calloc (1, sizeof *request);

  if (request != NULL) {
    request->get = *get;
    request->get.path = strdup (get->path);
    request->get.token = strdup (get->token);
  }
  if (request == NULL || request->get.path == NULL || request->get.token == NULL) {
    free_request (request);
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  request->job.run = run_request;
  request->dir = dir;
  request->opaque = opaque;
  request->data = *sink;
  workers_add (dir->workers, get->urgent ? WORK_URGENT : WORK_IDLE, &request->job);
}

static enum cloud_result
dir_probe (struct cloud *cloud, char **ret_sentence)
{
  struct dir *dir = (struct dir *) cloud;
  CLEANUP_CLOSE int root_fd = -1;
  CLEANUP_CLOSE int fd = -1;
  const enum cloud_result result = dir_open_root (dir, &root_fd, ret_sentence);

  if (result != CLOUD_OK)
    return result;
  fd = rootdir_open_below (root_fd, "", O_RDONLY | O_DIRECTORY);
  return fd >= 0 ? CLOUD_OK : failed_errno (dir, "", ret_sentence);
}

static void
dir_wake (struct cloud *cloud)
{
  const uint64_t one = 1;

  if (write (((struct dir *) cloud)->wake_fd, &one, sizeof one) == -1)
    msg_debug ("%s: cannot wake: %m", cloud->identity);
}

static enum cloud_wait
dir_wait (struct cloud *cloud, int timeout_ms)
{
  struct dir *dir = (struct dir *) cloud;
  enum cloud_wait result;

  {
    LOCK_FOR_SCOPE (&dir->lock);
    if (atomic_load (&dir->stopping))
      return CLOUD_WAIT_WOKEN;
    dir->in_wait = true;
  }
  result = treewatch_wait (dir->watch, dir->wake_fd, timeout_ms, &dir->stopping);
  {
    LOCK_FOR_SCOPE (&dir->lock);
    dir->in_wait = false;
    pthread_cond_broadcast (&dir->wait_ended);
  }
  return result;
}

static bool
dir_has_push (struct cloud *cloud)
{
  return treewatch_complete (((struct dir *) cloud)->watch);
}

static int
dir_start (struct cloud *cloud)
{
  struct dir *dir = (struct dir *) cloud;
  uint64_t count;

  if (!atomic_load (&dir->stopping))
    return 0;
  if (workers_start (dir->workers) == -1) {
    msg_error ("%s: cannot start threads: %m", cloud->identity);
    return -1;
  }
  /* The last stop's wake-up is not to end the first wait. */
  if (read (dir->wake_fd, &count, sizeof count) == -1 && errno != EAGAIN)
    msg_debug ("%s: cannot clear wake-ups: %m", cloud->identity);
  treewatch_start (dir->watch);
  atomic_store (&dir->stopping, false);
  return 0;
}

static void
dir_stop (struct cloud *cloud)
{
  struct dir *dir = (struct dir *) cloud;

  if (atomic_load (&dir->stopping))
    return;
  {
    LOCK_FOR_SCOPE (&dir->lock);
    atomic_store (&dir->stopping, true);
    dir_wake (cloud);
    while (dir->in_wait)
      pthread_cond_wait (&dir->wait_ended, &dir->lock);
  }
  treewatch_stop (dir->watch);
  workers_stop (dir->workers);
}

static void
dir_close (struct cloud *cloud)
{
  struct dir *dir = (struct dir *) cloud;

  dir_stop (cloud);
  workers_free (dir->workers);
  said_free (dir->said);
  treewatch_free (dir->watch);
  rootdir_free (dir->root);
  if (dir->wake_fd >= 0)
    close (dir->wake_fd);
  pthread_cond_destroy (&dir->wait_ended);
  pthread_mutex_destroy (&dir->lock);
  free (cloud->identity);
  free (dir);
}

static const struct cloud_ops dir_ops = {
  .name = "dir",
  .settle_ms = LOCALITEM_SETTLE_MS,
  .probe = dir_probe,
  .list = dir_list,
  .get = dir_get,
  .put = dir_put,
  .mkdir = dir_mkdir,
  .move = dir_move,
  .remove = dir_remove,
  .touch = dir_touch,
  .wait = dir_wait,
  .has_push = dir_has_push,
  .start = dir_start,
  .stop = dir_stop,
  .wake = dir_wake,
  .close = dir_close,
};

struct cloud *
cloud_dir_open (const struct cloud_config *config)
{
  CLEANUP_FREE char *path = fileurl_path (config->remote);
  struct dir *dir;

  if (path == NULL)
    return NULL;
  if (config->user || config->password || config->token || config->cainfo) {
    msg_error ("%s is a local folder: user=, password=, token= and cainfo= are for WebDAV", path);
    return NULL;
  }
  dir = calloc (1, sizeof *dir);
  if (dir == NULL) {
    msg_error ("%s: out of memory", path);
    return NULL;
  }
  dir->cloud.ops = &dir_ops;
  dir->wake_fd = -1;
  if (getrandom (&dir->run, sizeof dir->run, 0) != sizeof dir->run) {
    msg_error ("%s: no random numbers: %m", path);
    free (dir);
    return NULL;
  }
  atomic_init (&dir->stopping, true);
  pthread_mutex_init (&dir->lock, NULL);
  pthread_cond_init (&dir->wait_ended, NULL);

  dir->root = rootdir_new (path);
  if (dir->root == NULL)
    goto err;
  dir->watch = treewatch_new (dir->root);
  if (dir->watch == NULL)
    goto err;
  dir->workers = workers_new ();
  dir->said = said_new ();
  dir->cloud.identity = strdup (rootdir_path (dir->root));
  dir->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (dir->workers == NULL || dir->said == NULL || dir->cloud.identity == NULL || dir->wake_fd < 0) {
    msg_error ("%s: cannot prepare the remote: %m", path);
    goto err;
  }
  return &dir->cloud;

 err:
  dir_close (&dir->cloud);
  return NULL;
}
