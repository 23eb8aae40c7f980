/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks: what all of them share: the store of rendered directories. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "array.h"
#include "blobs.h"
#include "cleanup.h"
#include "db.h"
#include "disk-private.h"
#include "engine.h"
#include "msg.h"
#include "raw-rows.h"
#include "rules.h"
#include "seen.h"
#include "selection.h"
#include "view.h"

/* In a folder of its own, so that each store can tell what is left over from a crash. */
static int
open_blobs (struct disk_store *store, const char *cache_dir)
{
  const int cache_fd = open (cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  uint64_t end;
  int r;

  if (cache_fd == -1 || (mkdirat (cache_fd, "folders", 0700) == -1 && errno != EEXIST) ||
      (store->fd = openat (cache_fd, "folders", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
    msg_error ("cache folder %s cannot be written: %m", cache_dir);
    if (cache_fd >= 0)
      close (cache_fd);
    return -1;
  }
  close (cache_fd);
  store->blobs = blobs_open (store->fd, cache_dir);
  if (store->blobs == NULL)
    return -1;
  db_read_begin (store->db);
  r = extents_dirs_end (store->db, &end);
  db_read_end (store->db);
  return r == -1 ? -1 : blobs_trim (store->blobs, end);
}

struct disk_store *
disk_store_open (struct engine *engine)
{
  struct disk_store *store = calloc (1, sizeof *store);

  if (store == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  store->fd = -1;
  store->engine = engine;
  store->db = engine_db (engine);
  if (extents_init (store->db) == 0 && seen_init (store->db) == 0 && raw_init (store->db) == 0 && selection_init (store->db) == 0 &&
      open_blobs (store, engine_cache_dir (engine)) == 0)
    return store;
  disk_store_close (store);
  return NULL;
}

static void
held_free (struct held_view *held)
{
  free (held->name);
  free (held->disk);
  free (held);
}

void
disk_store_close (struct disk_store *store)
{
  if (store == NULL)
    return;
  while (store->held) {
    struct held_view *held = store->held;

    store->held = held->next;
    held_free (held);
  }
  blobs_close (store->blobs);
  if (store->fd >= 0)
    close (store->fd);
  free (store);
}

/* ---- disks that are not wanted any more ---- */

struct names {
  char **names;
  size_t n, room;
};

static int
add_name (void *opaque, const char *name)
{
  struct names *list = opaque;

  if (array_make_room (&list->names, list->n, &list->room, sizeof *list->names) == -1)
    return -1;
  list->names[list->n] = strdup (name);
  if (list->names[list->n] == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  list->n++;
  return 0;
}

static char *
overlay_path (struct disk_store *store, int64_t id, const char *suffix)
{
  char *path;

  if (asprintf (&path, "%s/views/%lld%s", engine_cache_dir (store->engine), (long long) id, suffix) >= 0)
    return path;
  msg_error ("out of memory");
  return NULL;
}

struct sweep {
  struct disk_store *store;
  const char *disk;
  unsigned n;
};

/* A view that only looked has a row, and no file (overlay.h). */
static int
hold_view (void *opaque, const struct view_row *row)
{
  struct sweep *sweep = opaque;
  CLEANUP_FREE char *path = overlay_path (sweep->store, row->id, ".saved");
  struct held_view *held;

  if (path == NULL)
    return -1;
  if (access (path, F_OK) == -1)
    return 0;
  held = calloc (1, sizeof *held);
  if (held == NULL || (held->name = strdup (row->name)) == NULL || (held->disk = strdup (sweep->disk)) == NULL) {
    msg_error ("out of memory");
    if (held)
      held_free (held);
    return -1;
  }
  held->id = row->id;
  held->generation = row->generation;
  held->next = sweep->store->held;
  sweep->store->held = held;
  sweep->n++;
  return 0;
}

/* What a view's guest wrote is kept until somebody says what is to become of it. */
static int
sweep_disk (struct disk_store *store, const char *name)
{
  struct sweep sweep = { .store = store, .disk = name };
  struct disk_row row;

  if (disk_row_load (store->db, name, &row) != 1 || view_rows_each (store->db, row.id, hold_view, &sweep) == -1)
    return -1;
  if (sweep.n == 0)
    return disk_forget (store->db, row.id);
  msg_notice ("disk %s is not asked for any more, but %u of its views hold what their guests wrote: that is kept, and not looked "
              "at until the server is started with disk=%s again, or cloudsharectl forget-view --discard drops it", name, sweep.n,
              name);
  return 0;
}

void
disk_store_each_held (struct disk_store *store, bool (*is_there) (void *opaque, const char *disk),
                      void (*each) (void *opaque, const struct view_status *status), void *each_opaque, void *opaque)
{
  for (const struct held_view *held = store->held; held; held = held->next) {
    CLEANUP_FREE char *path = overlay_path (store, held->id, ".data");
    struct view_status status = {
      .name = held->name, .generation = held->generation, .newest = held->generation, .writable = true, .pending = 1,
      .unserved = true, .unread_since = time (NULL),
    };
    struct stat st;

    if (is_there (opaque, held->disk))
      continue;
    if (path && stat (path, &st) == 0) {
      status.overlay_bytes = (uint64_t) st.st_blocks * 512;
      status.unread_since = st.st_mtime;
    }
    each (each_opaque, &status);
  }
}

int
disk_store_forget_held (struct disk_store *store, const char *name)
{
  struct held_view **link = &store->held, *held;
  CLEANUP_FREE char *path = NULL;
  int r;

  while (*link && strcmp ((*link)->name, name) != 0)
    link = &(*link)->next;
  held = *link;
  if (held == NULL)
    return 0;
  if (db_begin (store->db) == -1)
    return -1;
  r = seen_forget (store->db, held->id);
  if (r == 0)
    r = view_row_delete (store->db, held->id);
  if (db_end (store->db, r) == -1)
    return -1;
  /* Without it the rest is nothing, and goes at the next start. */
  path = overlay_path (store, held->id, ".saved");
  if (path)
    unlink (path);
  *link = held->next;
  held_free (held);
  return 1;
}

/* Of a disk that is split, partitions after the first have a number behind their names (disks.c). */
static bool
is_wanted (const struct rules *rules, const char *name)
{
  CLEANUP_FREE char *disk = strndup (name, strcspn (name, "#"));
  const char *number = strchr (name, '#');
  const struct disk_rule *rule = disk ? rules_disk (rules, disk) : NULL;

  if (disk == NULL)
    return true;
  return rule && (number == NULL || (rule->split && strtoul (number + 1, NULL, 10) <= rule->folders.n));
}

int
disk_store_sweep (struct disk_store *store, const struct rules *rules)
{
  struct names list = { 0 };
  int r;

  if (db_begin (store->db) == -1)
    return -1;
  r = disk_names_each (store->db, add_name, &list);
  for (size_t i = 0; i < list.n && r == 0; ++i)
    if (!is_wanted (rules, list.names[i]))
      r = sweep_disk (store, list.names[i]);
  if (r == 0)
    r = selection_sweep (store->db);
  for (size_t i = 0; i < list.n; ++i)
    free (list.names[i]);
  free (list.names);
  return db_end (store->db, r);
}
