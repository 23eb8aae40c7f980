/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches a whole folder tree with inotify.
 *
 * Nothing is kept about the tree but the sorted list of watch descriptors.  When a folder appears, disappears or moves,
 * the whole tree is walked again: inotify_add_watch on a folder that is watched gives the descriptor that it has, and
 * descriptors that the walk did not meet are given up.  Whoever waits here lists the same tree next, at a higher
 * price, so the walk does not matter, and there is no second model of the tree that could be wrong after a rename.
 *
 * A folder is watched before it is read, so one made below it meanwhile is either read or announced; and the walk
 * comes before "changed" is said, so what was put into a new folder before it was watched is seen by the listing that
 * follows.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "msg.h"
#include "treewatch.h"

#define WATCH_MASK                                                                                            \
  (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB              \
   | IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK | IN_ONLYDIR)

/* Programs write in bursts: "changed" is said once they pause, but not later than this after the first event. */
#define QUIET_MS 20
#define BURST_MS 200

/* How often a root that is gone is looked for: nothing tells us when it comes back. */
#define LOST_MS 1000

struct watch_list {
  int *wds;
  size_t used, room;
};

struct treewatch {
  const struct rootdir *root;
  int fd;                      /* inotify; -1: not started, or given up */
  struct watch_list watched;   /* sorted */
  bool walk_due;               /* folders came, went or moved since the last walk */
  bool lost;                   /* the root is not there */
  bool elsewhere;              /* part of the tree changes without inotify hearing of it */
  bool changed;                /* events came that no wait has reported yet ... */
  int64_t first_ms, last_ms;   /* ... the first and the last of them */
  atomic_bool complete;
  bool said;                   /* why it is not complete, once in a lifetime */
};

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct treewatch *
treewatch_new (const struct rootdir *root)
{
  struct treewatch *watch = calloc (1, sizeof *watch);

  if (watch == NULL) {
    msg_error ("%s: out of memory", rootdir_path (root));
    return NULL;
  }
  watch->root = root;
  watch->fd = -1;
  return watch;
}

void
treewatch_free (struct treewatch *watch)
{
  if (watch == NULL)
    return;
  treewatch_stop (watch);
  free (watch);
}

bool
treewatch_complete (struct treewatch *watch)
{
  return atomic_load (&watch->complete);
}

static void
give_up (struct treewatch *watch, int err)
{
  const char *advice = err == ENOSPC ? "; raise the sysctl fs.inotify.max_user_watches"
    : err == EMFILE ? "; raise the sysctl fs.inotify.max_user_instances"
    : err == ENOENT ? "; is /proc mounted?" : "";

  errno = err;
  if (!watch->said)
    msg_notice ("%s: the folder cannot be watched (%m), so changes are noticed by looking from time to time only%s",
                rootdir_path (watch->root), advice);
  watch->said = true;
  atomic_store (&watch->complete, false);
  watch->lost = false;
  if (watch->fd >= 0)
    close (watch->fd);
  watch->fd = -1;
}

void
treewatch_start (struct treewatch *watch)
{
  watch->lost = false;
  watch->walk_due = true;
  watch->changed = true;
  watch->first_ms = watch->last_ms = now_ms () - BURST_MS;
  watch->fd = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  if (watch->fd < 0)
    give_up (watch, errno);
  else
    atomic_store (&watch->complete, true);
}

void
treewatch_stop (struct treewatch *watch)
{
  if (watch->fd >= 0)
    close (watch->fd);
  watch->fd = -1;
  free (watch->watched.wds);
  memset (&watch->watched, 0, sizeof watch->watched);
  atomic_store (&watch->complete, false);
}

/* File systems that other hosts, or a program on this one, change without inotify hearing of it. */
static bool
changes_elsewhere (int fd)
{
  static const unsigned long types[] = {
    0x6969 /* NFS */, 0xFF534D42 /* CIFS */, 0xFE534D42 /* SMB2 */, 0x517B /* SMB */, 0x65735546 /* FUSE, virtiofs */,
    0x01021997 /* 9p */, 0x00C36400 /* Ceph */, 0x5346414F /* AFS */, 0x73757245 /* Coda */, 0x0BD00BD0 /* Lustre */,
    0x7461636F /* OCFS2 */, 0x01161970 /* GFS2 */, 0x786F4256 /* vboxsf */,
  };
  struct statfs fs;

  if (fstatfs (fd, &fs) == -1)
    return false;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i)
    if ((unsigned long) fs.f_type == types[i])
      return true;
  return false;
}

/* The folders that a walk has yet to visit: paths relative to the root. */
struct to_do {
  char **paths;
  size_t used, room;
};

static void
free_to_do (struct to_do *to_do)
{
  while (to_do->used > 0)
    free (to_do->paths[--to_do->used]);
  free (to_do->paths);
}

static int
to_do_push (struct to_do *to_do, const char *parent, const char *name)
{
  if (to_do->used == to_do->room) {
    const size_t room = to_do->room ? 2 * to_do->room : 64;
    char **paths = realloc (to_do->paths, room * sizeof *paths);

    if (paths == NULL)
      return -1;
    to_do->paths = paths;
    to_do->room = room;
  }
  if (asprintf (&to_do->paths[to_do->used], "%s%s%s", parent, *parent ? "/" : "", name) == -1)
    return -1;
  to_do->used++;
  return 0;
}

static int
watch_list_push (struct watch_list *list, int wd)
{
  if (list->used == list->room) {
    const size_t room = list->room ? 2 * list->room : 64;
    int *wds = realloc (list->wds, room * sizeof *wds);

    if (wds == NULL)
      return -1;
    list->wds = wds;
    list->room = room;
  }
  list->wds[list->used++] = wd;
  return 0;
}

static int
compare_int (const void *a, const void *b)
{
  const int x = *(const int *) a, y = *(const int *) b;

  return (x > y) - (x < y);
}

static bool
is_watched (const struct watch_list *list, int wd)
{
  return list->used > 0 && bsearch (&wd, list->wds, list->used, sizeof wd, compare_int) != NULL;
}

/* Watches one folder, then adds its folders to to_do.  Returns 0, also for a folder that need not be watched (it is
 * gone by now), or an errno where watching as a whole has failed. */
static int
walk_folder (struct treewatch *watch, int root_fd, const char *path, struct watch_list *met, struct to_do *to_do)
{
  CLEANUP_CLOSE int fd = rootdir_open_below (root_fd, path, O_PATH | O_DIRECTORY);
  char by_fd[sizeof "/proc/self/fd/" + 3 * sizeof fd];
  struct dirent *entry;
  DIR *dir;
  int wd, dir_fd, err = 0;

  if (fd < 0)
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? errno : 0;
  if (!watch->elsewhere)
    watch->elsewhere = changes_elsewhere (fd);

  /* inotify_add_watch takes a path only; this one leads to the folder that was opened, whatever its name is by now. */
  snprintf (by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
  wd = inotify_add_watch (watch->fd, by_fd, WATCH_MASK);
  if (wd == -1)   /* who may not watch a folder may not list it either; its parent tells when that changes */
    return errno == EACCES ? 0 : errno;
  if (watch_list_push (met, wd) == -1)
    return ENOMEM;

  dir_fd = openat (fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dir = dir_fd >= 0 ? fdopendir (dir_fd) : NULL;
  if (dir == NULL) {
    err = errno;
    if (dir_fd >= 0)
      close (dir_fd);
    return err == EMFILE || err == ENFILE || err == ENOMEM ? err : 0;
  }
  while ((entry = readdir (dir)) != NULL) {
    bool is_folder = entry->d_type == DT_DIR;
    struct stat st;

    if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
      continue;
    if (entry->d_type == DT_UNKNOWN)
      is_folder = fstatat (dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR (st.st_mode);
    if (is_folder && to_do_push (to_do, path, entry->d_name) == -1) {
      err = ENOMEM;
      break;
    }
  }
  closedir (dir);
  return err;
}

/* Watches every folder of the tree, and none else; none at all while the root is gone.  Leaves walk_due true when it
 * was stopped. */
static void
walk (struct treewatch *watch, const atomic_bool *stopping)
{
  CLEANUP_CLOSE int root_fd = rootdir_open (watch->root);
  struct watch_list met = { 0 };
  struct to_do to_do = { 0 };
  int err = 0;

  watch->lost = root_fd < 0;
  watch->elsewhere = false;
  if (!watch->lost && to_do_push (&to_do, "", "") == -1)
    err = ENOMEM;
  while (err == 0 && to_do.used > 0 && !atomic_load (stopping)) {
    CLEANUP_FREE char *path = to_do.paths[--to_do.used];

    err = walk_folder (watch, root_fd, path, &met, &to_do);
  }
  if (err == 0 && to_do.used == 0) {
    watch->walk_due = false;
    if (met.used > 0)
      qsort (met.wds, met.used, sizeof *met.wds, compare_int);
    for (size_t i = 0; i < watch->watched.used; ++i)
      if (!is_watched (&met, watch->watched.wds[i]))
        inotify_rm_watch (watch->fd, watch->watched.wds[i]);
    free (watch->watched.wds);
    watch->watched = met;
    met.wds = NULL;
  }
  free (met.wds);
  free_to_do (&to_do);
  atomic_store (&watch->complete, !watch->lost && !watch->elsewhere);
  if (err != 0)
    give_up (watch, err);
}

/* Takes all events that have come.  True if any was about the tree. */
static bool
take_events (struct treewatch *watch)
{
  char buf[16384] __attribute__ ((aligned (__alignof__ (struct inotify_event))));
  bool any = false;
  ssize_t n;

  while ((n = read (watch->fd, buf, sizeof buf)) > 0) {
    for (const char *p = buf; p < buf + n;) {
      const struct inotify_event *event = (const struct inotify_event *) p;

      p += sizeof *event + event->len;
      if (event->mask & IN_Q_OVERFLOW)
        any = watch->walk_due = true;
      if (!is_watched (&watch->watched, event->wd) || (event->mask & IN_IGNORED))
        continue;
      any = true;
      /* Changes of a folder's own mode may let us read it now; its end may be the root's end. */
      if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)
          || ((event->mask & IN_ISDIR) && (event->mask & (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB))))
        watch->walk_due = true;
    }
  }
  return any;
}

/* When to stop waiting for more events. */
static int64_t
report_at (const struct treewatch *watch)
{
  const int64_t quiet = watch->last_ms + QUIET_MS, late = watch->first_ms + BURST_MS;

  return quiet < late ? quiet : late;
}

enum cloud_wait
treewatch_wait (struct treewatch *watch, int wake_fd, int timeout_ms, const atomic_bool *stopping)
{
  const int64_t deadline = timeout_ms < 0 ? INT64_MAX : now_ms () + timeout_ms;

  for (;;) {
    int64_t now = now_ms (), until = deadline;
    /* In a burst of events only the clock is watched, not each event. */
    struct pollfd fds[2] = {
      { .fd = wake_fd, .events = POLLIN },
      { .fd = watch->changed ? -1 : watch->fd, .events = POLLIN },
    };

    if (watch->lost && now + LOST_MS < until)
      until = now + LOST_MS;
    if (watch->changed && report_at (watch) < until)
      until = report_at (watch);
    if (poll (fds, 2, until == INT64_MAX ? -1 : until > now ? (int) (until - now) : 0) > 0 && fds[0].revents != 0) {
      uint64_t count;

      if (read (wake_fd, &count, sizeof count) == -1)
        msg_debug ("%s: wake-up without a count: %m", rootdir_path (watch->root));
      return CLOUD_WAIT_WOKEN;
    }
    now = now_ms ();
    if (watch->fd >= 0 && take_events (watch)) {
      watch->last_ms = now;
      if (!watch->changed)
        watch->first_ms = now;
      watch->changed = true;
    }
    if (watch->changed && (now >= report_at (watch) || now >= deadline)) {
      if (watch->walk_due && watch->fd >= 0)
        walk (watch, stopping);
      watch->changed = false;
      return CLOUD_WAIT_CHANGED;
    }
    if (watch->lost) {
      walk (watch, stopping);
      if (!watch->lost)
        return CLOUD_WAIT_CHANGED;
    }
    if (now >= deadline)
      return CLOUD_WAIT_TIMEOUT;
  }
}
