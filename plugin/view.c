/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: what one virtual machine sees of a disk. */

#include <config.h>

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "fsutil.h"
#include "map.h"
#include "msg.h"
#include "view.h"

/* After a generation that could not be made: what was wrong takes a while to go away. */
#define FAILED_PAUSE_MS 5000

/* The thread looks at views this often while there are any that nobody is connected to. */
#define LINGER_CHECK_MS 1000

struct view {
  char *name;
  int64_t generation;          /* pinned: the one it shows; live: the oldest that it may still hold */
  unsigned connections;
  uint64_t idle_since;         /* ms, while connections is 0 */
  struct view *next;

  pthread_mutex_t lock;        /* protects map alone; taken for no longer than to count a reference */
  struct map *map;
};

struct views {
  struct engine *engine;
  struct disk *disk;
  struct views_config config;
  pthread_t thread;
  bool started;

  /* Protects the list, and in its views all but map.  Taken before a view's lock. */
  pthread_mutex_t lock;
  struct view *list;
};

static void
view_free (struct view *view)
{
  if (view->map)
    map_unref (view->map);
  pthread_mutex_destroy (&view->lock);
  free (view->name);
  free (view);
}

/* map: the view's from here on, also when this fails. */
static struct view *
view_new (const char *name, int64_t generation, struct map *map)
{
  struct view *view = calloc (1, sizeof *view);

  if (view == NULL || (view->name = strdup (name)) == NULL) {
    msg_error ("out of memory");
    free (view);
    map_unref (map);
    return NULL;
  }
  pthread_mutex_init (&view->lock, NULL);
  view->generation = generation;
  view->map = map;
  view->idle_since = monotonic_ms ();
  return view;
}

static struct map *
map_for (struct views *views, int64_t generation)
{
  return views->config.live ? disk_map_since (views->disk, generation) : disk_map_at (views->disk, generation);
}

struct loaded {
  struct views *views;
  struct { char *name; int64_t generation; } *rows;
  size_t n;
};

static int
load_row (void *opaque, const char *name, int64_t generation)
{
  struct loaded *loaded = opaque;
  void *rows = realloc (loaded->rows, (loaded->n + 1) * sizeof *loaded->rows);

  if (rows == NULL || (loaded->rows = rows, loaded->rows[loaded->n].name = strdup (name)) == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  loaded->rows[loaded->n++].generation = generation;
  return 0;
}

/* Views that were held when the server stopped are held again, so that clients which reconnect find what they had. */
static int
load_views (struct views *views)
{
  struct db *db = engine_db (views->engine);
  struct loaded loaded = { .views = views };
  int r;

  db_read_begin (db);
  r = view_rows_each (db, disk_id (views->disk), load_row, &loaded);
  db_read_end (db);
  for (size_t i = 0; i < loaded.n; ++i) {
    struct map *map = r == 0 ? map_for (views, loaded.rows[i].generation) : NULL;
    struct view *view = map ? view_new (loaded.rows[i].name, loaded.rows[i].generation, map) : NULL;

    if (view) {
      view->next = views->list;
      views->list = view;
    }
    else
      r = -1;
    free (loaded.rows[i].name);
  }
  free (loaded.rows);
  return r;
}

struct views *
views_open (struct engine *engine, struct disk *disk, const struct views_config *config)
{
  struct views *views = calloc (1, sizeof *views);

  if (views == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  views->engine = engine;
  views->disk = disk;
  views->config = *config;
  pthread_mutex_init (&views->lock, NULL);
  if (load_views (views) == -1) {
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
  pthread_mutex_destroy (&views->lock);
  free (views);
}

/* ---- attaching ---- */

/* Puts a view on record, so that a restart finds it.  A host whose disk is full must not keep its machines from what is
 * here: they get their view all the same. */
static void
save_row (struct views *views, const struct view *view)
{
  struct db *db = engine_db (views->engine);

  if (db_begin (db) == -1 ||
      db_end (db, view_row_save (db, view->name, disk_id (views->disk), view->generation)) == -1)
    msg_error ("disk %s: a view cannot be put on record: after a restart of the server it may show a newer generation",
               disk_name (views->disk));
}

static bool
lingered (const struct views *views, const struct view *view)
{
  return view->connections == 0 && monotonic_ms () - view->idle_since >= views->config.linger_s * UINT64_C (1000);
}

static void
set_map (struct view *view, struct map *map)
{
  struct map *old;

  pthread_mutex_lock (&view->lock);
  old = view->map;
  view->map = map;
  pthread_mutex_unlock (&view->lock);
  map_unref (old);
}

struct view *
view_attach (struct views *views, const char *name)
{
  LOCK_FOR_SCOPE (&views->lock);
  struct view *view = views->list;

  while (view && strcmp (view->name, name) != 0)
    view = view->next;
  if (view && lingered (views, view)) {
    struct map *map = disk_map (views->disk);

    view->generation = map->generation;
    set_map (view, map);
    save_row (views, view);
  }
  if (view == NULL) {
    struct map *map = disk_map (views->disk);

    view = view_new (name, map->generation, map);
    if (view == NULL)
      return NULL;
    /* Before the first byte is served. */
    save_row (views, view);
    view->next = views->list;
    views->list = view;
  }
  view->connections++;
  return view;
}

void
view_detach (struct views *views, struct view *view)
{
  LOCK_FOR_SCOPE (&views->lock);

  if (--view->connections == 0) {
    view->idle_since = monotonic_ms ();
    engine_ring (views->engine);
  }
}

struct map *
view_map (struct view *view)
{
  LOCK_FOR_SCOPE (&view->lock);

  return map_ref (view->map);
}

/* ---- the thread ---- */

/* Shows the newest generation in live views.  Called by the updating thread, without the lock: maps take a while. */
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
      if (view->generation > generation && view->generation < next)
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
      if (view->generation == generation && view->map->generation < map->generation)
        set_map (view, map_ref (map));
    pthread_mutex_unlock (&views->lock);
    map_unref (map);
  }
}

/* Forgets views that nobody holds any more, and what only they could see.  Returns whether some are still waited for. */
static bool
drop_lingered (struct views *views)
{
  struct db *db = engine_db (views->engine);
  int64_t oldest = disk_generation (views->disk);
  bool waiting = false;
  struct view **link;

  pthread_mutex_lock (&views->lock);
  link = &views->list;
  while (*link) {
    struct view *view = *link;

    if (lingered (views, view) && db_begin (db) == 0 && db_end (db, view_row_delete (db, view->name)) == 0) {
      *link = view->next;
      view_free (view);
      continue;
    }
    if (view->generation < oldest)
      oldest = view->generation;
    waiting |= view->connections == 0;
    link = &view->next;
  }
  pthread_mutex_unlock (&views->lock);

  disk_collect (views->disk, oldest);
  return waiting;
}

static void *
views_thread (void *opaque)
{
  struct views *views = opaque;
  bool running = true;

  while (running) {
    const int r = disk_update (views->disk);
    bool waiting;

    if (r == 1)
      advance_live_views (views);
    waiting = drop_lingered (views);
    if (r == -1)
      running = engine_wait_revision (views->engine, INT64_MAX, FAILED_PAUSE_MS);
    else
      running = engine_wait_revision (views->engine, disk_revision (views->disk), waiting ? LINGER_CHECK_MS : 3600000);
  }
  return NULL;
}

int
views_start (struct views *views)
{
  const int err = pthread_create (&views->thread, NULL, views_thread, views);

  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  views->started = true;
  return 0;
}

void
views_stop (struct views *views)
{
  if (views->started)
    pthread_join (views->thread, NULL);
  views->started = false;
}
