/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: which there are, and which generation each shows. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "fsutil.h"
#include "format.h"
#include "interpreter.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "raw-rows.h"
#include "seen.h"
#include "view-private.h"

/* After a generation that could not be made: what was wrong takes a while to go away. */
#define FAILED_PAUSE_MS 5000

/* Without a reason to, the thread looks this often. */
#define LONG_MS 3600000

static void
view_free (struct view *view)
{
  interpreter_free (view->interp);
  if (view->overlay)
    overlay_close (view->overlay);
  if (view->map)
    map_unref (view->map);
  pthread_rwlock_destroy (&view->io);
  pthread_mutex_destroy (&view->making);
  free (view->detached);
  free (view->name);
  free (view);
}

/* map: the view's from here on, also when this fails. */
static struct view *
view_new (struct views *views, const char *name, int64_t generation, struct map *map)
{
  struct view *view = calloc (1, sizeof *view);

  if (view == NULL || (view->name = strdup (name)) == NULL) {
    msg_error ("out of memory");
    free (view);
    map_unref (map);
    return NULL;
  }
  pthread_rwlock_init (&view->io, NULL);
  pthread_mutex_init (&view->making, NULL);
  view->views = views;
  view->generation = generation;
  view->map = map;
  view->idle_since = monotonic_ms ();
  return view;
}

/* The overlay's file is named after the view's id, which is never used twice. */
void
view_overlay_name (int64_t id, char ret[VIEW_OVERLAY_NAME])
{
  snprintf (ret, VIEW_OVERLAY_NAME, "%lld", (long long) id);
}

/* ---- loading ---- */

struct loaded {
  struct { int64_t id; char *name, *detached; int64_t generation; } *rows;
  size_t n;
};

static int
load_row (void *opaque, const struct view_row *row)
{
  struct loaded *loaded = opaque;
  void *rows = realloc (loaded->rows, (loaded->n + 1) * sizeof *loaded->rows);

  if (rows == NULL || (loaded->rows = rows, loaded->rows[loaded->n].name = strdup (row->name)) == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  loaded->rows[loaded->n].id = row->id;
  loaded->rows[loaded->n].detached = row->detached ? strdup (row->detached) : NULL;
  loaded->rows[loaded->n++].generation = row->generation;
  return 0;
}

int64_t
view_newest_revision (struct views *views)
{
  struct db *db = engine_db (views->engine);
  int64_t revision = INT64_MAX;

  db_read_begin (db);
  if (catalog_revision (db, &revision) == -1)
    revision = INT64_MAX;
  db_read_end (db);
  return revision;
}

static struct view *
load_view (struct views *views, int64_t id, const char *name, int64_t generation, char **detached)
{
  char file[VIEW_OVERLAY_NAME];
  struct map *map;
  struct view *view;
  bool written;

  view_overlay_name (id, file);
  written = overlay_exists (views->dir_fd, file);
  map = written || !views->config.live ? disk_map_at (views->disk, generation)
                                       : disk_map_since (views->disk, generation);
  view = map ? view_new (views, name, generation, map) : NULL;
  if (view == NULL)
    return NULL;
  view->id = id;
  view->awaited = true;
  view->detached = *detached;
  *detached = NULL;
  /* What was journalled from here before must be in the generation that it moves to. */
  view->revision = view_newest_revision (views);
  if (written) {
    view->writable = true;
    view->overlay = overlay_open (views->dir_fd, views->dir, file, disk_geometry (views->disk)->disk_bytes);
    if (view->overlay == NULL) {
      view_free (view);
      return NULL;
    }
    atomic_store (&view->counted, overlay_present_bytes (view->overlay));
    view_look_at_mark (view);
    /* Until the first run has looked, nobody knows. */
    if (!overlay_is_empty (view->overlay))
      view->unread_since = time (NULL);
  }
  return view;
}

/* Views that were held when the server stopped are held again, so that clients which reconnect find what they had. */
static int
load_views (struct views *views)
{
  struct db *db = engine_db (views->engine);
  struct loaded loaded = { 0 };
  int r;

  db_read_begin (db);
  r = view_rows_each (db, disk_id (views->disk), load_row, &loaded);
  db_read_end (db);
  for (size_t i = 0; i < loaded.n; ++i) {
    struct view *view = r == 0 ? load_view (views, loaded.rows[i].id, loaded.rows[i].name, loaded.rows[i].generation,
                                            &loaded.rows[i].detached) : NULL;

    if (view) {
      view->next = views->list;
      views->list = view;
    }
    else
      r = -1;
    free (loaded.rows[i].name);
    free (loaded.rows[i].detached);
  }
  free (loaded.rows);
  return r;
}

void
views_leave_behind (struct views *views, struct remains *remains)
{
  remains->next = views->remains;
  views->remains = remains;
  pthread_cond_broadcast (&views->remains_cond);
}

static void
clear_away (struct views *views)
{
  struct remains *remains, *next;

  pthread_mutex_lock (&views->lock);
  remains = views->remains;
  views->remains = NULL;
  pthread_mutex_unlock (&views->lock);
  for (; remains; remains = next) {
    char file[VIEW_OVERLAY_NAME];

    next = remains->next;
    interpreter_free (remains->interp);
    if (remains->overlay)
      overlay_discard (remains->overlay);
    view_overlay_name (remains->id, file);
    overlay_remove (views->dir_fd, file);
    free (remains);
  }
}

struct views *
views_open (struct engine *engine, struct disk *disk, const struct views_config *config)
{
  struct views *views = calloc (1, sizeof *views);
  pthread_condattr_t attr;

  if (views == NULL || asprintf (&views->dir, "%s/views", engine_cache_dir (engine)) == -1) {
    msg_error ("out of memory");
    free (views);
    return NULL;
  }
  views->engine = engine;
  views->disk = disk;
  views->config = *config;
  views->config.live &= !disk_geometry (disk)->format->raw;
  views->dir_fd = -1;
  pthread_mutex_init (&views->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&views->cond, &attr);
  pthread_condattr_destroy (&attr);
  pthread_cond_init (&views->remains_cond, NULL);
  if (seen_init (engine_db (engine)) == -1 || writes_open (views) == -1 || load_views (views) == -1 ||
      writes_sweep (views) == -1) {
    views_close (views);
    return NULL;
  }
  return views;
}

void
views_close (struct views *views)
{
  if (views == NULL)
    return;
  while (views->list) {
    struct view *view = views->list;

    views->list = view->next;
    view_free (view);
  }
  clear_away (views);
  if (views->dir_fd >= 0)
    close (views->dir_fd);
  pthread_cond_destroy (&views->cond);
  pthread_cond_destroy (&views->remains_cond);
  pthread_mutex_destroy (&views->lock);
  free (views->dir);
  free (views);
}

/* ---- attaching ---- */

/* Puts a view on record, so that a restart finds it. */
int
view_save (struct views *views, struct view *view)
{
  struct db *db = engine_db (views->engine);
  struct view_row row = {
    .id = view->id, .name = view->name, .disk = disk_id (views->disk), .generation = view->generation,
    .detached = view->detached,
  };

  if (db_begin (db) == -1 || db_end (db, view_row_save (db, &row)) == -1) {
    /* A host whose disk is full must not keep its machines from what is here: they get their view all the same. */
    msg_error ("disk %s: a view cannot be put on record: after a restart of the server it may show a newer generation",
               disk_name (views->disk));
    return -1;
  }
  view->id = row.id;
  return 0;
}

static bool
lingered (const struct views *views, const struct view *view)
{
  return view->connections == 0 && monotonic_ms () - view->idle_since >= views->config.linger_s * UINT64_C (1000);
}

/* Whether nothing of the view is lost if it moves to the newest generation.  Lock held. */
static bool
is_spent (const struct views *views, const struct view *view)
{
  if (view->busy)
    return false;
  if (view->overlay == NULL || overlay_is_empty (view->overlay))
    return true;
  return view->absorbed && view->run_clock == overlay_clock (view->overlay) && view->detached == NULL &&
         view->revision <= disk_revision (views->disk);
}

static void *
remains_thread (void *opaque)
{
  struct views *views = opaque;

  pthread_mutex_lock (&views->lock);
  for (;;) {
    if (views->remains) {
      pthread_mutex_unlock (&views->lock);
      clear_away (views);
      pthread_mutex_lock (&views->lock);
      writes_look_at_host (views);
    }
    else if (views->stopping)
      break;
    else
      pthread_cond_wait (&views->remains_cond, &views->lock);
  }
  pthread_mutex_unlock (&views->lock);
  return NULL;
}

/* Forgets a view's row, and what was known of it.  The overlay's files go after that, by their thread or at the next
 * start: a row without them would show a guest its disk without what it wrote. */
static int
delete_view (struct views *views, struct view *view)
{
  struct db *db = engine_db (views->engine);
  struct remains *remains = view->overlay ? malloc (sizeof *remains) : NULL;
  int r;

  if (view->overlay && remains == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  if (db_begin (db) == -1) {
    free (remains);
    return -1;
  }
  r = seen_forget (db, view->id);
  if (r == 0)
    r = raw_forget (db, view->id);
  if (r == 0)
    r = view_row_delete (db, view->id);
  if (db_end (db, r) == -1) {
    free (remains);
    return -1;
  }
  if (remains) {
    *remains = (struct remains) { .interp = view->interp, .overlay = view->overlay, .id = view->id };
    views_leave_behind (views, remains);
    view->interp = NULL;
    view->overlay = NULL;
  }
  view->id = 0;
  return 0;
}

static void
set_map (struct view *view, struct map *map)
{
  struct map *old;

  pthread_rwlock_wrlock (&view->io);
  old = view->map;
  view->map = map;
  pthread_rwlock_unlock (&view->io);
  map_unref (old);
}

int
view_renew (struct views *views, struct view *view)
{
  struct map *map, *old;
  int r;

  /* A flush that makes gigabytes durable holds it: who waits for that must not have the lock. */
  if (pthread_rwlock_trywrlock (&view->io) != 0)
    return 1;
  map = disk_map (views->disk);
  old = view->map;
  r = delete_view (views, view);
  if (r == 0) {
    view->map = map;
    view->generation = map->generation;
    view->moves++;
    view->absorbed = view->volume_dirty = view->unmounted = view->hurry = view->failed = view->sync_failed = false;
    view->pending = view->run_clock = view->run_ms = view->run_end_ms = view->next_ms = 0;
    view->unread_since = 0;
    map = old;
  }
  pthread_rwlock_unlock (&view->io);
  map_unref (map);
  if (r == 0)
    view_save (views, view);
  return r;
}

struct view *
view_attach (struct views *views, const char *name, bool writable)
{
  LOCK_FOR_SCOPE (&views->lock);
  struct view *view = views->list;

  while (view && strcmp (view->name, name) != 0)
    view = view->next;
  if (view && lingered (views, view) && is_spent (views, view) && view_renew (views, view) == -1)
    return NULL;
  if (view == NULL) {
    struct map *map = disk_map (views->disk);

    view = view_new (views, name, map->generation, map);
    if (view == NULL)
      return NULL;
    /* Before the first byte is served. */
    view_save (views, view);
    view->next = views->list;
    views->list = view;
  }
  /* A guest may have it mounted from here on: it shows one generation until it is renewed. */
  if (writable && !view->writable) {
    if ((uint64_t) view->generation != view->map->generation) {
      struct map *map = disk_map (views->disk);

      /* Also where others follow live by the same name: what is written goes over one generation, and a restart must find it. */
      view->generation = map->generation;
      set_map (view, map);
      view_save (views, view);     /* and with it, how new the items are that its guest may know */
    }
    view->writable = true;
  }
  view->connections++;
  view->awaited = false;
  return view;
}

void
view_detach (struct views *views, struct view *view)
{
  LOCK_FOR_SCOPE (&views->lock);

  if (--view->connections == 0) {
    view->idle_since = monotonic_ms ();
    writes_wake (views);
    engine_ring (views->engine);
  }
}

/* ---- the thread ---- */

/* Shows the newest generation in views that follow live.  Called by the updating thread, without the lock: maps take a
 * while. */
static void
advance_live_views (struct views *views)
{
  int64_t generation = -1;

  if (!views->config.live)
    return;
  /* Views that hold the same generation show the same map; one after the other, so that building is not under the lock. */
  for (;;) {
    struct map *map;
    int64_t next = INT64_MAX;

    pthread_mutex_lock (&views->lock);
    for (struct view *view = views->list; view; view = view->next)
      if (!view->writable && view->generation > generation && view->generation < next)
        next = view->generation;
    pthread_mutex_unlock (&views->lock);
    if (next == INT64_MAX)
      return;
    generation = next;
    map = disk_map_since (views->disk, generation);
    if (map == NULL)
      return;                  /* they show what they showed; the next change tries again */
    pthread_mutex_lock (&views->lock);
    for (struct view *view = views->list; view; view = view->next)
      if (!view->writable && view->generation == generation && view->map->generation < map->generation)
        set_map (view, map_ref (map));
    pthread_mutex_unlock (&views->lock);
    map_unref (map);
  }
}

static bool
shows_one_generation (const struct views *views, const struct view *view)
{
  return (view->writable || !views->config.live) && view->map->generation == (uint64_t) view->generation;
}

/* Forgets views that nobody holds any more, and what only they could see.  Returns after how many ms others may be due:
 * those that hold something else than time are waited for by others, who ring. */
static int
drop_lingered (struct views *views)
{
  const uint64_t linger_ms = views->config.linger_s * UINT64_C (1000);
  int64_t oldest = disk_generation (views->disk);
  struct generations pinned = { 0 };
  uint64_t wait_ms = LONG_MS;
  struct view **link;

  pthread_mutex_lock (&views->lock);
  link = &views->list;
  while (*link) {
    struct view *view = *link;

    if (lingered (views, view) && is_spent (views, view)) {
      if (delete_view (views, view) == 0) {
        *link = view->next;
        view_free (view);
        continue;
      }
      wait_ms = wait_ms < FAILED_PAUSE_MS ? wait_ms : FAILED_PAUSE_MS;
    }
    else if (view->connections == 0) {
      const uint64_t idle_ms = monotonic_ms () - view->idle_since;

      if (idle_ms < linger_ms && linger_ms - idle_ms < wait_ms)
        wait_ms = linger_ms - idle_ms;
    }
    /* One that shows just its generation needs nothing of those between that and the newest; a guest may have it mounted
     * for months. */
    if (shows_one_generation (views, view) &&
        array_make_room (&pinned.numbers, pinned.n, &pinned.room, sizeof *pinned.numbers) == 0)
      pinned.numbers[pinned.n++] = view->generation;
    else if (view->generation < oldest)
      oldest = view->generation;
    link = &view->next;
  }
  pthread_mutex_unlock (&views->lock);

  disk_collect (views->disk, oldest, &pinned);
  free (pinned.numbers);
  return wait_ms;
}

/* Makes a raw disk anew whose places have to move, where nobody can see it. */
static int
move_disk (struct views *views)
{
  LOCK_FOR_SCOPE (&views->lock);

  return views->list ? 0 : disk_move (views->disk);
}

static void *
views_thread (void *opaque)
{
  struct views *views = opaque;
  bool running = true;

  while (running) {
    int r = disk_update (views->disk), wait_ms;

    if (r == 1)
      advance_live_views (views);
    wait_ms = drop_lingered (views);
    if (r != -1 && disk_is_stuck (views->disk))
      r = move_disk (views);
    /* Views that can be written may have waited for this generation. */
    pthread_mutex_lock (&views->lock);
    writes_wake (views);
    pthread_mutex_unlock (&views->lock);
    if (r == -1)
      running = engine_wait_revision (views->engine, INT64_MAX, FAILED_PAUSE_MS);
    else
      running = engine_wait_revision (views->engine, disk_revision (views->disk), wait_ms);
  }
  return NULL;
}

int
views_start (struct views *views)
{
  int err = pthread_create (&views->remains_thread, NULL, remains_thread, views);

  views->remains_started = err == 0;
  if (err == 0)
    err = pthread_create (&views->thread, NULL, views_thread, views);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  views->started = true;
  return writes_start (views);
}

void
views_finish (struct views *views)
{
  writes_finish (views);
}

void
views_stop (struct views *views)
{
  if (views->started)
    pthread_join (views->thread, NULL);
  views->started = false;
  if (views->remains_started) {
    pthread_mutex_lock (&views->lock);
    views->stopping = true;
    pthread_cond_broadcast (&views->remains_cond);
    pthread_mutex_unlock (&views->lock);
    pthread_join (views->remains_thread, NULL);
  }
  views->remains_started = false;
}

/* ---- for the administrator ---- */

void
views_each (struct views *views, void (*each) (void *opaque, const struct view_status *status), void *opaque)
{
  const int64_t newest = disk_generation (views->disk);
  LOCK_FOR_SCOPE (&views->lock);

  for (struct view *view = views->list; view; view = view->next) {
    const struct view_status status = {
      .name = view->name, .generation = view->writable ? view->generation : (int64_t) view->map->generation,
      .newest = newest, .connections = view->connections, .writable = view->writable,
      .overlay_bytes = view->overlay ? overlay_bytes (view->overlay) : 0, .dirty = view->volume_dirty,
      .pending = view->pending, .detached = view->detached,
      .unread_since = view->unread_since,
    };

    each (opaque, &status);
  }
}

void
views_hurry (struct views *views)
{
  LOCK_FOR_SCOPE (&views->lock);

  for (struct view *view = views->list; view; view = view->next) {
    if (view->overlay == NULL || view->detached)
      continue;
    view->hurry = true;
  }
  writes_wake (views);
}

static enum view_refresh
refresh_view (struct views *views, struct view *view)
{
  int r;

  if (view->detached)
    return VIEW_REFRESH_DETACHED;
  if (view->generation == disk_generation (views->disk) && (view->overlay == NULL || overlay_is_empty (view->overlay)))
    return VIEW_REFRESHED;
  if (view->writable && view->connections > 0 && view->volume_dirty)
    return VIEW_REFRESH_DIRTY;
  if (view->connections > 0 && disk_geometry (views->disk)->format->raw)
    return VIEW_REFRESH_OPEN;
  if (!is_spent (views, view))
    return VIEW_REFRESH_WAITING;
  r = view_renew (views, view);
  return r == 0 ? VIEW_REFRESHED : r == 1 ? VIEW_REFRESH_WAITING : VIEW_REFRESH_FAILED;
}

enum view_refresh
view_refresh (struct views *views, const char *name)
{
  LOCK_FOR_SCOPE (&views->lock);

  for (struct view *view = views->list; view; view = view->next)
    if (strcmp (view->name, name) == 0)
      return refresh_view (views, view);
  return VIEW_REFRESH_UNKNOWN;
}

enum view_forget
view_forget (struct views *views, const char *name, bool force)
{
  LOCK_FOR_SCOPE (&views->lock);
  struct view **link = &views->list;
  struct view *view;

  while (*link && strcmp ((*link)->name, name) != 0)
    link = &(*link)->next;
  view = *link;
  if (view == NULL)
    return VIEW_UNKNOWN;
  if (view->connections > 0 || view->busy)
    return VIEW_CONNECTED;
  if (!force && !is_spent (views, view))
    return VIEW_WAITING;
  if (delete_view (views, view) == -1)
    return VIEW_FAILED;
  *link = view->next;
  view_free (view);
  return VIEW_FORGOTTEN;
}
