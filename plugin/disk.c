/* SPDX-License-Identifier: BSD-3-Clause */
/* One logical disk: making and loading it, generations and their maps. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "dir.h"
#include "disk-private.h"
#include "engine.h"
#include "extents.h"
#include "format.h"
#include "layout.h"
#include "map.h"
#include "msg.h"
#include "partition.h"

#define GIB (UINT64_C (1) << 30)
#define SIZE_DEFAULT_MIN (64 * GIB)
#define ROOT_HOLES (512 * 1024)

/* Totals are taken to be no larger, so that they can be reckoned with. */
#define MOST_CONTENT (UINT64_C (1) << 60)

/* ---- making a disk ---- */

static int
draw_identity (struct geometry *g)
{
  uint8_t random[40];

  if (getrandom (random, sizeof random, 0) != sizeof random) {
    msg_error ("no random numbers: %m");
    return -1;
  }
  memcpy (g->gpt_disk_guid, random, 16);
  memcpy (g->gpt_partition_guid, random + 16, 16);
  memcpy (&g->mbr_signature, random + 32, 4);
  memcpy (&g->volume_serial, random + 36, 4);
  /* Random GUIDs say so (RFC 4122, 4.4; the third field is little endian on disk). */
  g->gpt_disk_guid[7] = (g->gpt_disk_guid[7] & 0x0f) | 0x40;
  g->gpt_disk_guid[8] = (g->gpt_disk_guid[8] & 0x3f) | 0x80;
  g->gpt_partition_guid[7] = (g->gpt_partition_guid[7] & 0x0f) | 0x40;
  g->gpt_partition_guid[8] = (g->gpt_partition_guid[8] & 0x3f) | 0x80;
  return 0;
}

/* What the root directory needs today. */
static int
root_dir_bytes (struct db *db, const struct format *format, uint64_t *ret)
{
  struct catalog_list children;
  struct dir *dir = dir_new (format, true);
  int r = dir == NULL ? -1 : 0;

  if (r == -1 || catalog_children (db, CATALOG_ROOT, &children) == -1) {
    dir_free (dir);
    return -1;
  }
  for (size_t i = 0; i < children.n && r == 0; ++i)
    r = dir_add (dir, children.items[i].name, children.items[i].is_folder, children.items[i].size,
                 &children.items[i].mtime, children.items[i].id);
  if (r == 0)
    r = dir_map_names (dir);
  if (r == 0)
    *ret = format->dir_bytes (dir);
  dir_free (dir);
  catalog_list_free (&children);
  return r;
}

/* 0 after one message if no disk can be that large. */
static uint64_t
default_size (uint64_t content, uint64_t items)
{
  /* Each item needs a part of a cluster, and of a folder. */
  const uint64_t slack = items < MOST_CONTENT / 32768 ? items * 32768 : MOST_CONTENT;
  const uint64_t all = (content < MOST_CONTENT ? content : MOST_CONTENT) + slack;
  const uint64_t twice = (2 * all + GIB - 1) / GIB * GIB;

  if (twice > format_exfat.max_volume) {
    msg_error ("the remote says that it has %llu GiB, and no disk is large enough for that: give the disk a size with "
               "size=, for as much of it as has room", (unsigned long long) (content / GIB));
    return 0;
  }
  return twice < SIZE_DEFAULT_MIN ? SIZE_DEFAULT_MIN : twice;
}

/* A root directory never grows while the disk lives, and its clusters cost nothing: room for twice what it needs, and
 * for the holes that items leave which come and go while guests look. */
static uint64_t
root_room (const struct geometry *g, uint64_t bytes)
{
  const uint64_t holes = g->volume_bytes / 4096 < ROOT_HOLES ? g->volume_bytes / 4096 : ROOT_HOLES;
  const uint64_t room = 2 * bytes + holes;

  return room < g->format->max_dir ? room : g->format->max_dir;
}

/* Decides everything about a new disk. */
static int
plan_disk (struct db *db, const struct disk_config *config, struct geometry *g)
{
  uint64_t content, files, folders, largest, size, root = 0;
  enum partitioning style;

  memset (g, 0, sizeof *g);
  if (catalog_totals (db, &content, &files, &folders, &largest) == -1)
    return -1;
  size = config->size ? config->size : default_size (content, files + folders);
  if (size == 0)
    return -1;
  if (config->format)
    g->format = format_by_name (config->format);
  else
    g->format = largest > format_fat32.max_file || size > format_fat32.max_volume ? &format_exfat : &format_fat32;
  style = config->partitioning >= 0 ? (enum partitioning) config->partitioning
          : size > format_fat32.max_volume ? PARTITION_GPT : PARTITION_MBR;
  strncpy (g->label, config->label ? config->label : "CLOUD", sizeof g->label - 1);

  if (draw_identity (g) == -1 || partition_plan (g, style, size) == -1 || root_dir_bytes (db, g->format, &root) == -1)
    return -1;
  return g->format->plan (g, root_room (g, root));
}

/* Whether the parameters ask for another disk than the one that is there.  Only what was said counts. */
static bool
asks_for_another (const struct disk_config *config, const struct geometry *g)
{
  if (config->format && strcmp (config->format, g->format->name) != 0)
    return true;
  if (config->partitioning >= 0 && config->partitioning != (int) g->partitioning)
    return true;
  if (config->size && config->size / SECTOR_SIZE * SECTOR_SIZE != g->disk_bytes)
    return true;
  return config->label && strcmp (config->label, g->label) != 0;
}

/* Inside a transaction: loads the disk's row, or makes it. */
static int
load_or_make (struct disk *disk, const struct disk_config *config)
{
  struct db *db = disk->db;
  int r = disk_row_load (db, disk->name, &disk->row);

  if (r == 1 && asks_for_another (config, &disk->row.geometry)) {
    msg_notice ("disk %s is made anew, because other parameters are asked for: virtual machines see another disk",
                disk->name);
    if (disk_row_delete (db, disk->row.id) == -1)
      return -1;
    r = 0;
  }
  if (r == 0) {
    memset (&disk->row, 0, sizeof disk->row);
    if (plan_disk (db, config, &disk->row.geometry) == -1 || disk_row_insert (db, disk->name, &disk->row) == -1)
      return -1;
  }
  return r == -1 ? -1 : left_out_sweep (db);
}

/* The store of rendered directories, in a folder of its own so that each store can tell what is left over from a crash. */
static int
open_store (struct disk *disk, const char *cache_dir)
{
  uint64_t end;
  int r;

  const int cache_fd = open (cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (cache_fd == -1 || (mkdirat (cache_fd, "folders", 0700) == -1 && errno != EEXIST) ||
      (disk->store_fd = openat (cache_fd, "folders", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1) {
    msg_error ("cache folder %s cannot be written: %m", cache_dir);
    if (cache_fd >= 0)
      close (cache_fd);
    return -1;
  }
  close (cache_fd);
  disk->store = blobs_open (disk->store_fd, cache_dir);
  if (disk->store == NULL)
    return -1;
  db_read_begin (disk->db);
  r = extents_dirs_end (disk->db, &end);
  db_read_end (disk->db);
  return r == -1 ? -1 : blobs_trim (disk->store, end);
}

struct disk *
disk_open (struct engine *engine, const struct disk_config *config)
{
  struct disk *disk = calloc (1, sizeof *disk);
  int r;

  if (disk == NULL || (disk->name = strdup (config->name)) == NULL) {
    msg_error ("out of memory");
    free (disk);
    return NULL;
  }
  disk->store_fd = -1;
  disk->engine = engine;
  disk->db = engine_db (engine);
  disk->cache = engine_cache (engine);
  disk->data = engine_blobs (engine);
  pthread_mutex_init (&disk->lock, NULL);

  if (extents_init (disk->db) == -1 || open_store (disk, engine_cache_dir (engine)) == -1 || db_begin (disk->db) == -1)
    goto failed;
  r = load_or_make (disk, config);
  disk->row.freed = true;      /* or may have been, before the process before this one ended */
  if (db_end (disk->db, r) == -1)
    goto failed;
  if (disk->row.generation == 0) {
    if (disk_update (disk) == -1)
      goto failed;
  }
  else if ((disk->map = disk_map_at (disk, disk->row.generation)) == NULL)
    goto failed;
  return disk;

failed:
  disk_close (disk);
  return NULL;
}

void
disk_close (struct disk *disk)
{
  if (disk == NULL)
    return;
  if (disk->map)
    map_unref (disk->map);
  blobs_close (disk->store);
  if (disk->store_fd >= 0)
    close (disk->store_fd);
  pthread_mutex_destroy (&disk->lock);
  free (disk->name);
  free (disk);
}

const char *
disk_name (const struct disk *disk)
{
  return disk->name;
}

const struct geometry *
disk_geometry (const struct disk *disk)
{
  return &disk->row.geometry;
}

int64_t
disk_id (const struct disk *disk)
{
  return disk->row.id;
}

int64_t
disk_revision (struct disk *disk)
{
  LOCK_FOR_SCOPE (&disk->lock);

  return disk->row.revision;
}

int64_t
disk_generation (struct disk *disk)
{
  LOCK_FOR_SCOPE (&disk->lock);

  return disk->row.generation;
}

/* ---- maps ---- */

struct collected {
  struct disk *disk;
  struct row {
    struct extent extent;
    int64_t died;
  } *rows;
  size_t n, room;
};

static int
collect_row (void *opaque, const struct extent_row *row)
{
  struct collected *all = opaque;
  struct row *to;

  if (all->n == all->room) {
    struct row *rows;

    all->room = all->room * 2 + 1024;
    rows = realloc (all->rows, all->room * sizeof *rows);
    if (rows == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    all->rows = rows;
  }
  to = &all->rows[all->n++];
  memset (to, 0, sizeof *to);
  to->extent.first = row->first;
  to->extent.count = row->count;
  to->extent.bytes = row->bytes;
  to->extent.kind = row->kind;
  to->died = row->died;
  if (row->kind == EXTENT_DIR) {
    to->extent.blob_offset = row->position;
    to->extent.fat_chain = row->item == CATALOG_ROOT;
    return 0;
  }
  to->extent.file = cache_file (all->disk->cache, row->version, row->bytes, row->position);
  return to->extent.file ? 0 : -1;
}

/* By cluster; of those with the same first cluster, the one that lives longest comes first. */
static int
compare_rows (const void *ap, const void *bp)
{
  const struct row *a = ap, *b = bp;

  if (a->extent.first != b->extent.first)
    return a->extent.first < b->extent.first ? -1 : 1;
  return a->died > b->died ? -1 : a->died < b->died;
}

/* Drops rows whose clusters belong to one that lives longer: an older rendering of a directory in the same place. */
static size_t
drop_covered (struct row *rows, size_t n)
{
  size_t kept = 0;

  for (size_t i = 0; i < n; ++i) {
    while (kept > 0 && rows[kept - 1].extent.first + rows[kept - 1].extent.count > rows[i].extent.first &&
           rows[kept - 1].died < rows[i].died)
      kept--;
    if (kept > 0 && rows[kept - 1].extent.first + rows[kept - 1].extent.count > rows[i].extent.first)
      continue;
    rows[kept++] = rows[i];
  }
  return kept;
}

/* All extents that live in any generation from oldest to newest. */
static struct map *
build_map (struct disk *disk, int64_t oldest, int64_t newest)
{
  struct collected all = { .disk = disk };
  struct extent own[FORMAT_OWN_EXTENTS];
  const struct geometry *g = &disk->row.geometry;
  const size_t n_own = g->format->own_extents (g, own);
  struct map *map = NULL;
  int r;

  db_read_begin (disk->db);
  r = extents_each (disk->db, disk->row.id, oldest, newest, collect_row, &all);
  db_read_end (disk->db);
  if (r == 0) {
    if (all.n > 0)
      qsort (all.rows, all.n, sizeof *all.rows, compare_rows);
    all.n = drop_covered (all.rows, all.n);
    map = map_new (g, newest, n_own + all.n);
  }
  if (map) {
    memcpy (map->extents, own, n_own * sizeof *own);
    for (size_t i = 0; i < all.n; ++i)
      map->extents[n_own + i] = all.rows[i].extent;
    map_seal (map);
  }
  free (all.rows);
  return map;
}

struct map *
disk_map (struct disk *disk)
{
  LOCK_FOR_SCOPE (&disk->lock);

  return map_ref (disk->map);
}

struct map *
disk_map_since (struct disk *disk, int64_t oldest)
{
  const int64_t newest = disk_generation (disk);

  return oldest >= newest ? disk_map (disk) : build_map (disk, oldest, newest);
}

struct map *
disk_map_at (struct disk *disk, int64_t generation)
{
  return build_map (disk, generation, generation);
}

/* ---- generations ---- */

int
disk_update (struct disk *disk)
{
  struct disk_row row = disk->row;
  struct layout_result result;
  struct map *map, *old;
  bool current;
  int r;

  if (db_begin (disk->db) == -1)
    return -1;
  r = layout_update (disk->db, disk->store, disk->name, &row, &result);
  if (db_end (disk->db, r) == -1)
    return -1;

  pthread_mutex_lock (&disk->lock);
  disk->row.generation = row.generation;
  disk->row.revision = row.revision;
  disk->row.zone = row.zone;
  disk->row.freed = row.freed;
  current = disk->map && disk->map->generation == (uint64_t) row.generation;
  pthread_mutex_unlock (&disk->lock);
  if (current)
    return 0;

  /* If there is no memory for it now, the next call finds the map behind the row. */
  map = build_map (disk, row.generation, row.generation);
  if (map == NULL)
    return -1;
  pthread_mutex_lock (&disk->lock);
  old = disk->map;
  disk->map = map;
  pthread_mutex_unlock (&disk->lock);
  if (old)
    map_unref (old);
  msg_debug ("disk %s: generation %lld, %zu extents", disk->name, (long long) row.generation, map->n);
  return 1;
}

struct discarded {
  struct { int64_t version; uint64_t position, size; } *runs;
  size_t n, room;
  size_t rows;                 /* extents that are gone */
};

static int
discard_later (struct discarded *list, int64_t version, uint64_t position, uint64_t size)
{
  if (list->n == list->room) {
    void *runs;

    list->room = list->room * 2 + 64;
    runs = realloc (list->runs, list->room * sizeof *list->runs);
    if (runs == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    list->runs = runs;
  }
  list->runs[list->n].version = version;
  list->runs[list->n].position = position;
  list->runs[list->n++].size = size;
  return 0;
}

static int
collect_dir (void *opaque, const struct extent_row *row)
{
  struct discarded *list = opaque;

  list->rows++;
  return row->kind == EXTENT_DIR ? discard_later (list, 0, row->position, row->bytes) : 0;
}

/* Versions that are superseded and that no extent names. */
static int
drop_versions (struct db *db, struct discarded *list)
{
  int64_t version = 0;

  for (;;) {
    uint64_t position, size;
    bool needed;
    int r;

    if (catalog_next_superseded (db, version, &version) == -1)
      return -1;
    if (version == 0)
      return 0;
    if (extents_need_version (db, version, &needed) == -1)
      return -1;
    if (needed)
      continue;
    r = catalog_drop_version (db, version, &position, &size);
    if (r == -1 || (r == 1 && (cache_forget (db, version) == -1 || discard_later (list, version, position, size) == -1)))
      return -1;
  }
}

int
disk_collect (struct disk *disk, int64_t oldest)
{
  struct discarded list = { 0 };
  bool waiting = false;
  int r;

  if (db_begin (disk->db) == -1)
    return -1;
  r = extents_collect (disk->db, disk->row.id, oldest, collect_dir, &list);
  if (r == 0)
    r = drop_versions (disk->db, &list);
  if (r == 0 && list.rows > 0)
    r = layout_wants_room (disk->db, disk->row.id, &waiting);
  r = db_end (disk->db, r);
  if (r == 0) {
    disk->row.oldest = oldest < disk->row.generation ? oldest : disk->row.generation;
    disk->row.freed |= list.rows > 0;
    if (waiting)
      engine_ring (disk->engine);
  }

  /* Records first: room that is given back while a row still names it would be read as zeros. */
  for (size_t i = 0; i < list.n && r == 0; ++i) {
    if (list.runs[i].version)
      cache_discard (disk->cache, list.runs[i].version, list.runs[i].position, list.runs[i].size);
    else
      blobs_punch (disk->store, list.runs[i].position, list.runs[i].size);
  }
  free (list.runs);
  return r;
}
