/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: the thread that looks after what guests wrote.  It makes it durable in quiet moments, has it interpreted, and lets
 * views move on where that is asked for.
 *
 * It sleeps until the next moment when something is due, and while nobody writes and nothing waits it does not wake at all.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "format.h"
#include "fsutil.h"
#include "interpreter.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "view-private.h"

/* A guest that is quiet for so long is between two writes that belong together no more.  And from the end of one run to
 * the next it is at least as long. */
#define TICK_MS 100

/* A guest that is quiet for so long has its writes made durable, flush or not. */
#define QUIET_SYNC_MS 1000

/* While a guest goes on writing, what it wrote is looked at this often. */
#define BUSY_RUN_MS 1000

/* After a run that failed: what was wrong (no room, no cloud) takes a while to go away. */
#define FAILED_PAUSE_MS 5000

/* Guests' writes leave so much of the host's file system free, percent: room for the copies that go to the cloud, and
 * for the database.  With max-dirty= the user knows better, but for the least. */
#define HOST_RESERVE     10
#define HOST_RESERVE_MIN 2

void
writes_look_at_host (struct views *views)
{
  uint64_t dirty = 0;
  struct statvfs fs;

  for (const struct view *view = views->list; view; view = view->next)
    if (view->overlay)
      dirty += overlay_bytes (view->overlay);
  atomic_fetch_add (views->config.all_dirty, dirty - atomic_exchange (&views->dirty, dirty));
  if (fstatvfs (views->dir_fd, &fs) == 0) {
    const uint64_t reserve = fs.f_blocks / 100 * (views->config.max_dirty ? HOST_RESERVE_MIN : HOST_RESERVE);
    const uint64_t room = fs.f_bavail > reserve ? fs.f_bavail - reserve : 0;

    atomic_store (&views->most_dirty, dirty + room * fs.f_frsize);
  }
}

int
writes_open (struct views *views)
{
  if (mkdir (views->dir, 0700) == -1 && errno != EEXIST) {
    msg_error ("%s: cannot be made: %m", views->dir);
    return -1;
  }
  views->dir_fd = open (views->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (views->dir_fd == -1) {
    msg_error ("%s: cannot be opened: %m", views->dir);
    return -1;
  }
  writes_look_at_host (views);
  return 0;
}

static bool
is_left_behind (const struct views *views, int64_t id)
{
  const struct remains *remains = views->remains;

  while (remains && remains->id != id)
    remains = remains->next;
  return remains;
}

/* Whether a view of this disk, or another disk of the same cache, goes by that number. */
static bool
is_known (const struct views *views, int64_t id)
{
  struct db *const db = engine_db (views->engine);
  const struct view *view = views->list;
  bool known;
  int r;

  while (view && view->id != id)
    view = view->next;
  if (view)
    return true;
  db_read_begin (db);
  r = view_row_exists (db, id, &known);
  db_read_end (db);
  return r == -1 || known;
}

/* Overlays whose view is gone, or parts of them: the process ended between the row and the files. */
int
writes_sweep (struct views *views)
{
  DIR *dir = fdopendir (dup (views->dir_fd));
  struct dirent *entry;

  if (dir == NULL) {
    msg_error ("%s: cannot be read: %m", views->dir);
    return -1;
  }
  while ((entry = readdir (dir)) != NULL) {
    char *end;
    struct remains *remains;
    const long long id = strtoll (entry->d_name, &end, 10);

    if (end == entry->d_name || id <= 0 || is_known (views, id) || is_left_behind (views, id) ||
        (remains = calloc (1, sizeof *remains)) == NULL)
      continue;
    remains->id = id;
    views_leave_behind (views, remains);
  }
  closedir (dir);
  return 0;
}

/* ---- one view; without the lock, while it is busy ---- */

static int
make_interp (struct view *view)
{
  const struct views *views = view->views;
  const struct interpret_config config = {
    .engine = views->engine, .disk = views->disk, .overlay = view->overlay, .map = view->map, .view = view->id,
    .name = view->name, .junk = views->config.junk, .settle_ms = views->config.settle_ms,
    .write_back_s = views->config.write_back_s, .max_delete = views->config.max_delete,
  };

  if (view->interp == NULL)
    view->interp = interpreter_new (&config);
  return view->interp ? 0 : -1;
}

/* Lock held. */
static void
detach (struct view *view, const char *why)
{
  msg_error ("view %s is detached from the cloud: %s; nothing is removed there, and what its guest writes stays on this host"
             " until \"cloudsharectl forget-view\"", view->name, why);
  view->detached = strdup (why);
  view_save (view->views, view);
}

/* What is due for a view, and what came of it. */
struct look {
  bool run, sync;
  struct interpret_now now;
  uint64_t clock;              /* the overlay's, before the run */
  int run_result, sync_result, sync_errno;
  struct interpret_result result;
  int64_t revision;
};

/* When nobody is there any more who could be at the volume, ms.  A connection that is lost is often a new one a moment
 * later.  After a start a guest that had the disk may be about to come back, in the middle of what it did: it counts as there
 * for as long as the view is held for it. */
static uint64_t
alone_at (const struct view *view)
{
  const struct views_config *const config = &view->views->config;

  if (view->connections > 0)
    return UINT64_MAX;
  return view->idle_since + (view->awaited ? config->linger_s * UINT64_C (1000) : 0) + config->settle_ms;
}

static uint64_t
earlier (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static bool
has_news (const struct view *view)
{
  return view->run_ms == 0 || overlay_clock (view->overlay) != view->run_clock;
}

/* When to interpret what was written, ms; UINT64_MAX: not before something happens. */
static uint64_t
run_at (const struct view *view)
{
  const uint64_t alone_ms = alone_at (view);
  uint64_t at = UINT64_MAX;

  if (view->detached)
    return UINT64_MAX;
  if (view->hurry)
    return 0;
  if (view->failed)
    return view->next_ms;
  if (atomic_load (&view->marked) || view->run_ms == 0)
    return 0;
  /* Soon, since what is seen must then stay the same for settle seconds; but not for each of many writes. */
  if (has_news (view))
    at = earlier (overlay_last_write_ms (view->overlay) + TICK_MS, view->run_ms + BUSY_RUN_MS);
  if (view->next_ms)
    at = earlier (at, view->next_ms);
  /* Once more when everybody has left: a volume that is clean then is whole. */
  if (!view->absorbed && alone_ms != UINT64_MAX && view->run_ms < alone_ms)
    at = earlier (at, alone_ms);
  return at < view->run_end_ms + TICK_MS ? view->run_end_ms + TICK_MS : at;
}

/* When to make it durable. */
static uint64_t
sync_at (const struct view *view)
{
  if (!overlay_needs_sync (view->overlay))
    return UINT64_MAX;
  return view->sync_failed ? view->next_sync_ms : overlay_last_write_ms (view->overlay) + QUIET_SYNC_MS;
}

/* Lock held. */
static void
begin_look (struct view *view, bool finishing, struct look *look)
{
  const uint64_t now_ms = monotonic_ms ();
  const bool here = now_ms < alone_at (view);

  *look = (struct look) {
    .run = view->detached == NULL && (finishing || now_ms >= run_at (view)),
    .sync = overlay_needs_sync (view->overlay) && (finishing || now_ms >= sync_at (view)),
    .now = { .now_ms = now_ms, .connected = here && !(finishing && view->connections == 0 && !view->awaited),
             .ending = !here || finishing },
  };
  if (!look->run)
    return;
  look->clock = overlay_clock (view->overlay);
  look->now.marked = atomic_exchange (&view->marked, false);
  view->hurry = false;
  view->run_ms = now_ms;
}

/* Without the lock. */
static void
do_look (struct view *view, struct look *look)
{
  struct engine *const engine = view->views->engine;

  if (look->run) {
    look->run_result = make_interp (view) == -1 ? -1 : interpreter_run (view->interp, &look->now, &look->result);
    if (look->run_result == 0 && look->result.journalled) {
      look->revision = view_newest_revision (view->views);
      engine_journalled (engine);
    }
  }
  if (look->sync) {
    look->sync_result = overlay_sync (view->overlay);
    look->sync_errno = errno;
  }
}

static void
take_result (struct view *view, const struct look *look)
{
  const struct interpret_result *const result = &look->result;

  view->run_end_ms = monotonic_ms ();
  view->failed = look->run_result == -1;
  if (view->failed) {
    view->next_ms = look->now.now_ms + FAILED_PAUSE_MS;
    view->absorbed = false;
    /* The next one needs it. */
    if (look->now.marked)
      atomic_store (&view->marked, true);
  }
  else {
    view->run_clock = look->clock;
    view->next_ms = result->next_ms;
    view->volume_dirty = result->dirty;
    view->pending = result->pending;
    if (result->detached) {
      detach (view, result->detached);
      return;
    }
    if (result->journalled)
      view->revision = look->revision;
    view->absorbed = result->absorbed;
    if (result->pending == 0 && overlay_clock (view->overlay) == look->clock)
      view->unread_since = 0;
    else if (view->unread_since == 0)
      view->unread_since = time (NULL);
  }
  /* exFAT is marked clean at every sync: that says nothing of unmounting. */
  view->unmounted = (look->now.marked || view->unmounted) && view->absorbed &&
                    disk_geometry (view->views->disk)->format->has_aliases;
}

/* Lock held, but for the look itself. */
static void
look_at_view (struct view *view, bool finishing)
{
  struct views *views = view->views;
  struct look look;

  begin_look (view, finishing, &look);
  if (!look.run && !look.sync)
    return;
  view->busy = true;
  pthread_mutex_unlock (&views->lock);
  do_look (view, &look);
  pthread_mutex_lock (&views->lock);
  view->busy = false;
  if (look.run)
    take_result (view, &look);
  if (look.sync) {
    if (look.sync_result == -1 && !view->sync_failed) {
      errno = look.sync_errno;
      msg_error ("view %s: what its guest wrote cannot be made durable: %m; a loss of power now would lose it", view->name);
    }
    view->sync_failed = look.sync_result == -1;
    view->next_sync_ms = monotonic_ms () + FAILED_PAUSE_MS;
  }
  /* It may be held by nothing any more. */
  if (view->connections == 0)
    engine_ring (views->engine);
}

/* ---- the thread ---- */

void
writes_wake (struct views *views)
{
  views->rung = true;
  pthread_cond_broadcast (&views->cond);
}

/* Moves on a view whose guest has unmounted.  Returns when to try again. */
static uint64_t
renew_unmounted (struct views *views, struct view *view)
{
  /* The disk has to show what came from here first; who makes it do so wakes this thread. */
  if (!views->config.unmount || !view->unmounted || view->detached ||
      view->run_clock != overlay_clock (view->overlay) || view->revision > disk_revision (views->disk))
    return UINT64_MAX;
  switch (view_renew (views, view)) {
  case 0:
    return UINT64_MAX;
  case 1:
    return monotonic_ms () + TICK_MS;
  default:
    return monotonic_ms () + FAILED_PAUSE_MS;
  }
}

/* One look at each view that wants one.  Lock held, but for the look itself.  Returns when there is something to do again,
 * UINT64_MAX: not before somebody calls writes_wake. */
static uint64_t
look_at_all (struct views *views, bool finishing)
{
  uint64_t next_ms = UINT64_MAX;

  writes_look_at_host (views);
  for (struct view *view = views->list; view; view = view->next) {
    if (view->overlay == NULL)
      continue;
    look_at_view (view, finishing);
    if (finishing)
      continue;
    next_ms = earlier (next_ms, renew_unmounted (views, view));
    if (view->overlay == NULL)
      continue;
    /* Set back first: a write that comes now sets it again, and wakes this thread. */
    atomic_store (&view->active, false);
    if (view->detached ? overlay_needs_sync (view->overlay) : has_news (view))
      atomic_store (&view->active, true);
    next_ms = earlier (next_ms, earlier (run_at (view), sync_at (view)));
  }
  return next_ms;
}

static void
wait_until (struct views *views, uint64_t ms)
{
  const struct timespec until = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

  if (ms == UINT64_MAX)
    pthread_cond_wait (&views->cond, &views->lock);
  else
    pthread_cond_timedwait (&views->cond, &views->lock, &until);
}

static void *
writes_thread (void *opaque)
{
  struct views *views = opaque;

  pthread_mutex_lock (&views->lock);
  while (!views->finishing) {
    uint64_t next_ms;

    views->rung = false;
    next_ms = look_at_all (views, false);
    while (!views->rung && !views->finishing && monotonic_ms () < next_ms)
      wait_until (views, next_ms);
  }
  look_at_all (views, true);
  pthread_mutex_unlock (&views->lock);
  return NULL;
}

int
writes_start (struct views *views)
{
  const int err = pthread_create (&views->writes_thread, NULL, writes_thread, views);

  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  views->writes_started = true;
  return 0;
}

void
writes_finish (struct views *views)
{
  if (!views->writes_started)
    return;
  pthread_mutex_lock (&views->lock);
  views->finishing = true;
  pthread_cond_broadcast (&views->cond);
  pthread_mutex_unlock (&views->lock);
  pthread_join (views->writes_thread, NULL);
  views->writes_started = false;
}
