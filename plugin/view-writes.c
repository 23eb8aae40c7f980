/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: the thread that looks after what guests wrote.  It makes it durable in quiet moments, has it interpreted, and lets
 * views move on where that is asked for.
 *
 * It sleeps while nobody writes and nothing waits.
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
#include "disk.h"
#include "engine.h"
#include "format.h"
#include "fsutil.h"
#include "interpret.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "view-private.h"

/* How often views with something to do are looked at. */
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

static void
look_at_host (struct views *views)
{
  uint64_t dirty = 0;
  struct statvfs fs;

  for (const struct view *view = views->list; view; view = view->next)
    if (view->overlay)
      dirty += overlay_bytes (view->overlay);
  atomic_store (&views->dirty, dirty);
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
  look_at_host (views);
  return 0;
}

/* Overlays whose view is gone: the process ended between the row and the files. */
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
    char name[VIEW_OVERLAY_NAME];
    const long long id = strtoll (entry->d_name, &end, 10);
    const struct view *view = views->list;

    if (end == entry->d_name || id <= 0)
      continue;
    while (view && view->id != id)
      view = view->next;
    view_overlay_name (id, name);
    if (view == NULL && overlay_exists (views->dir_fd, name))
      overlay_remove (views->dir_fd, name);
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
    view->interp = interpret_new (&config);
  return view->interp ? 0 : -1;
}

static void
detach (struct view *view, const char *why)
{
  msg_error ("view %s is detached from the cloud: %s; nothing is removed there, and what its guest writes stays on this host"
             " until \"cloudsharectl forget-view\"", view->name, why);
  view->detached = strdup (why);
  view_save (view->views, view);
}

static void
run_view (struct view *view, const struct interpret_now *now, uint64_t clock)
{
  struct interpret_result result;

  view->run_ms = now->now_ms;
  if (make_interp (view) == -1 || interpret_run (view->interp, now, &result) == -1) {
    view->next_ms = now->now_ms + FAILED_PAUSE_MS;
    view->failed = true;
    view->absorbed = false;
    return;
  }
  view->failed = false;
  view->run_clock = clock;
  view->next_ms = result.next_ms;
  view->volume_dirty = result.dirty;
  view->pending = result.pending;
  if (result.detached) {
    detach (view, result.detached);
    return;
  }
  if (result.journalled) {
    view->revision = view_newest_revision (view->views);
    engine_journalled (view->views->engine);
  }
  view->absorbed = result.absorbed;
  if (result.pending == 0 && overlay_clock (view->overlay) == clock)
    view->unread_since = 0;
  else if (view->unread_since == 0)
    view->unread_since = time (NULL);
}

/* Whether a run is due, and with what hints. */
static bool
is_due (struct view *view, bool finishing, uint64_t now_ms, struct interpret_now *ret)
{
  const uint64_t settle = view->views->config.settle_ms;
  const uint64_t last = overlay_last_write_ms (view->overlay);
  const uint64_t clock = overlay_clock (view->overlay);
  const bool connected = view->connections > 0;
  const bool alone = !connected && now_ms - view->idle_since >= settle;
  const bool news = clock != view->run_clock || view->run_ms == 0;

  *ret = (struct interpret_now) { .now_ms = now_ms, .connected = connected, .ending = alone || finishing };
  if (finishing)
    return true;
  if (view->failed && now_ms < view->next_ms)
    return false;
  if (atomic_load (&view->marked))
    return true;
  /* Soon, since what is seen must then stay the same for settle seconds; but not for each of many writes. */
  if (news && (now_ms - last >= TICK_MS || now_ms - view->run_ms >= BUSY_RUN_MS))
    return true;
  if (view->next_ms && now_ms >= view->next_ms)
    return true;
  /* Once more when everybody has left: a volume that is clean then is whole. */
  return alone && !view->absorbed && view->run_ms < view->idle_since + settle;
}

/* Whether the view needs no look before the next write. */
static bool
is_at_rest (const struct view *view)
{
  return !overlay_needs_sync (view->overlay) &&
         (view->detached || (view->run_clock == overlay_clock (view->overlay) && view->next_ms == 0 && view->run_ms &&
                             (view->connections > 0 || view->absorbed || view->run_ms >= view->idle_since)));
}

static void
look_at_view (struct view *view, bool finishing)
{
  struct views *views = view->views;
  const uint64_t now_ms = monotonic_ms ();
  const uint64_t clock = overlay_clock (view->overlay);
  struct interpret_now now;

  if (view->detached == NULL && is_due (view, finishing, now_ms, &now)) {
    now.marked = atomic_exchange (&view->marked, false);
    run_view (view, &now, clock);
    if (view->failed && now.marked)
      atomic_store (&view->marked, true);
    /* exFAT is marked clean at every sync: that says nothing of unmounting. */
    view->unmounted = (now.marked || view->unmounted) && view->absorbed && disk_geometry (views->disk)->format->has_aliases;
  }
  if (overlay_needs_sync (view->overlay) &&
      (finishing || now_ms - overlay_last_write_ms (view->overlay) >= QUIET_SYNC_MS) && overlay_sync (view->overlay) == -1)
    msg_error ("view %s: what its guest wrote cannot be made durable: %m; a loss of power now would lose it", view->name);
}

/* ---- the thread ---- */

/* One look at each view that wants one.  Lock held, but for the look itself.  Returns whether some want another. */
static bool
look_at_all (struct views *views, bool finishing)
{
  bool again = false;

  look_at_host (views);
  for (struct view *view = views->list; view; view = view->next) {
    if (view->overlay == NULL || (!finishing && !atomic_load (&view->active)))
      continue;
    view->busy = true;
    pthread_mutex_unlock (&views->lock);
    look_at_view (view, finishing);
    pthread_mutex_lock (&views->lock);
    view->busy = false;
    if (views->config.unmount && view->unmounted && view->detached == NULL &&
        view->run_clock == overlay_clock (view->overlay)) {
      /* The disk has to show what came from here first. */
      if (view->revision <= disk_revision (views->disk))
        view_renew (views, view);
      else
        again = true;
      continue;
    }
    /* Set back first: a write that comes now sets it again. */
    atomic_store (&view->active, false);
    if (!is_at_rest (view)) {
      atomic_store (&view->active, true);
      again = true;
    }
  }
  return again;
}

static void *
writes_thread (void *opaque)
{
  struct views *views = opaque;

  pthread_mutex_lock (&views->lock);
  while (!views->finishing) {
    if (look_at_all (views, false)) {
      struct timespec until;

      clock_gettime (CLOCK_REALTIME, &until);
      until.tv_nsec += TICK_MS * 1000000L;
      until.tv_sec += until.tv_nsec / 1000000000;
      until.tv_nsec %= 1000000000;
      if (!views->finishing)
        pthread_cond_timedwait (&views->cond, &views->lock, &until);
    }
    else if (!views->finishing)
      pthread_cond_wait (&views->cond, &views->lock);
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
