/* SPDX-License-Identifier: BSD-3-Clause */
/* One logical disk: making and loading it, generations and their maps. */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "array.h"
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
#include "layout-raw.h"
#include "layout.h"
#include "map.h"
#include "msg.h"
#include "partition.h"
#include "rules.h"
#include "seen.h"
#include "selection.h"

/* What is gone is kept for so long, for those that have just asked for it. */
#define PURGE_AFTER_S 600
#define PURGE_EVERY_S 60

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
root_dir_bytes (struct db *db, struct selection *sel, const struct format *format, uint64_t *ret)
{
  struct catalog_list children;
  struct dir *dir = dir_new (format, true);
  int r = dir == NULL ? -1 : 0;

  if (r == -1 || selection_children (sel, db, selection_root (sel), &children) == -1) {
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

static bool
is_raw (const struct disk_config *config)
{
  return config->format && strcmp (config->format, format_raw.name) == 0;
}

/* Decides everything about a new disk. */
static int
plan_disk (struct db *db, struct selection *sel, const struct disk_config *config, struct geometry *g)
{
  uint64_t content, files, folders, largest, size, root = 0;
  enum partitioning style;

  if (is_raw (config))
    return layout_raw_plan (db, config->name, sel, g);
  memset (g, 0, sizeof *g);
  if (selection_totals (sel, db, &content, &files, &folders, &largest) == -1)
    return -1;
  size = config->size ? config->size : default_size (content, files + folders);
  if (size == 0)
    return -1;
  if (config->format)
    g->format = format_by_name (config->format);
  else
    g->format = largest > format_fat32.max_file || size > format_fat32.max_volume ? &format_exfat : &format_fat32;
  style = config->partitioning >= 0 ? (enum partitioning) config->partitioning
          : size > format_fat32.max_volume || config->parts > 4 ? PARTITION_GPT : PARTITION_MBR;
  strncpy (g->label, config->label ? config->label : "CLOUD", sizeof g->label - 1);

  if (draw_identity (g) == -1 || partition_plan (g, style, size) == -1 ||
      (config->parts > 0 && partition_share (g, config->part, config->parts) == -1) || root_dir_bytes (db, sel, g->format, &root) == -1)
    return -1;
  return g->format->plan (g, root_room (g, root));
}

struct written_view {
  const char *cache_dir;
  char *name;
};

/* Views that only looked have a row, and no file (overlay.h). */
static int
has_written (void *opaque, const struct view_row *row)
{
  struct written_view *written = opaque;
  CLEANUP_FREE char *file = NULL;

  if (written->name)
    return 0;
  if (asprintf (&file, "%s/views/%lld.saved", written->cache_dir, (long long) row->id) == -1) {
    file = NULL;
    msg_error ("out of memory");
    return -1;
  }
  if (access (file, F_OK) == 0)
    written->name = strdup (row->name);
  return 0;
}

/* The name of a view of that disk whose guest has written something, malloc'ed; NULL: there is none. */
static int
find_written_view (struct disk *disk, int64_t id, char **ret)
{
  struct written_view written = { .cache_dir = engine_cache_dir (disk->engine) };
  const int r = view_rows_each (disk->db, id, has_written, &written);

  *ret = written.name;
  return r;
}

static void
say_missing (const char *disk, const char *folder)
{
  msg_error ("disk %s: the remote has no folder \"%s\": create it there, or correct folder=", disk, folder);
}

static int
content_size (struct db *db, const struct disk_rule *rule, uint64_t *ret)
{
  struct selection *sel = selection_new (rule);
  uint64_t content, files, folders, largest;
  const char *missing;
  int r = sel ? selection_resolve (sel, db, &missing) : -1;

  if (r != -1 && missing)
    say_missing (rule->name, missing);
  r = r == 1 && missing == NULL ? selection_totals (sel, db, &content, &files, &folders, &largest) : -1;
  selection_free (sel);
  *ret = r == 0 ? default_size (content, files + folders) : 0;
  return *ret > 0 ? 0 : -1;
}

int
disk_split_size (struct engine *engine, const struct disk_rule *parts, unsigned n, uint64_t *ret)
{
  struct db *db = engine_db (engine);
  uint64_t most = 0;
  struct disk_row row;
  int r;

  db_read_begin (db);
  r = disk_row_load (db, parts[0].name, &row);
  *ret = r == 1 ? row.geometry.disk_bytes : 0;
  for (unsigned i = 0; i < n && r == 0; ++i) {
    uint64_t size;

    r = content_size (db, &parts[i], &size);
    if (r == 0 && size > most)
      most = size;
  }
  db_read_end (db);
  if (r == 0)
    *ret = most * n;
  return r == -1 ? -1 : 0;
}

/* Whether the partition does not stand where that part of the disk should be. */
static bool
is_other_part (const struct disk_config *config, const struct geometry *g)
{
  struct geometry plan = *g;

  return partition_plan (&plan, g->partitioning, g->disk_bytes) == -1 ||
         (config->parts > 0 && partition_share (&plan, config->part, config->parts) == -1) ||
         plan.volume_start != g->volume_start || plan.volume_bytes != g->volume_bytes;
}

/* Whether the parameters ask for another disk than the one that is there.  Only what was said counts. */
static bool
asks_for_another (const struct disk_config *config, const struct geometry *g)
{
  if (config->format && strcmp (config->format, g->format->name) != 0)
    return true;
  /* It is never what auto means. */
  if (is_raw (config) || g->format->raw)
    return !is_raw (config);
  if (config->partitioning >= 0 && config->partitioning != (int) g->partitioning)
    return true;
  if (config->size && config->size / SECTOR_SIZE * SECTOR_SIZE != g->disk_bytes)
    return true;
  if (is_other_part (config, g))
    return true;
  return config->label && strcmp (config->label, g->label) != 0;
}

/* Inside a transaction.  Finds the disk's folders, and whether it chooses otherwise than when it was laid out last.  1: there is
 * something to show; 0: there is not.  disk->missing: a folder is not there, and that was said. */
static int
resolve (struct disk *disk)
{
  const char *missing;
  int r = selection_resolve (disk->selection, disk->db, &missing);
  bool anew = false;

  if (r == -1)
    return -1;
  if (missing && !disk->missing && disk->was_there)
    msg_notice ("disk %s: the remote has no folder \"%s\" any more: what was in it stays on the disk as it was until that is there"
                " again", disk->name, missing);
  else if (missing && !disk->missing)
    say_missing (disk->name, missing);
  disk->missing = missing != NULL;
  if (r == 1 && disk->row.id && selection_begin (disk->selection, disk->db, disk->row.id, &anew) == -1)
    return -1;
  disk->anew |= anew;
  return r;
}

int
disk_forget (struct db *db, int64_t id)
{
  return selection_forget (db, id) == -1 ? -1 : disk_row_delete (db, id);
}

/* Inside a transaction: loads the disk's row, or makes it. */
static int
load_or_make (struct disk *disk, const struct disk_config *config)
{
  struct db *db = disk->db;
  bool laid_out = false;
  int r = disk_row_load (db, disk->name, &disk->row);

  if (r == 1 && asks_for_another (config, &disk->row.geometry)) {
    CLEANUP_FREE char *view = NULL;

    if (find_written_view (disk, disk->row.id, &view) == -1)
      return -1;
    if (view) {
      msg_error ("disk %s: fs=, partition=, size= or label= ask for another disk than the one that \"%s\" still holds, and "
                 "what it wrote there may not be in the cloud yet: start it as before until cloudsharectl status shows no "
                 "views, or use forget-view", disk->name, view);
      return -1;
    }
    msg_notice ("disk %s is made anew, because other parameters are asked for: virtual machines see another disk",
                disk->name);
    if (disk_forget (db, disk->row.id) == -1)
      return -1;
    r = 0;
  }
  if (r == -1)
    return -1;
  if (r == 0) {
    memset (&disk->row, 0, sizeof disk->row);
    if (resolve (disk) != 1 || disk->missing)
      return -1;
    if (plan_disk (db, disk->selection, config, &disk->row.geometry) == -1 ||
        disk_row_insert (db, disk->name, &disk->row) == -1)
      return -1;
  }
  else if (selection_is_laid_out (disk->selection, db, disk->row.id, &laid_out) == -1)
    return -1;
  disk->was_there = laid_out;
  /* What the disk has had stays while it is away; but what it is to have now was never there. */
  if (resolve (disk) == -1 || (disk->missing && !laid_out))
    return -1;
  disk->was_there = true;
  return left_out_sweep (db, disk->row.id);
}

struct disk *
disk_open (struct engine *engine, struct disk_store *store, const struct disk_config *config)
{
  struct disk *disk = calloc (1, sizeof *disk);
  int r;

  if (disk == NULL || (disk->name = strdup (config->name)) == NULL) {
    msg_error ("out of memory");
    free (disk);
    return NULL;
  }
  disk->engine = engine;
  disk->db = engine_db (engine);
  disk->cache = engine_cache (engine);
  disk->data = engine_blobs (engine);
  disk->store = store->blobs;
  pthread_mutex_init (&disk->lock, NULL);

  disk->selection = selection_new (config->rule);
  if (disk->selection == NULL || db_begin (disk->db) == -1)
    goto failed;
  r = load_or_make (disk, config);
  disk->row.freed = true;      /* or may have been, before the process before this one ended */
  if (db_end (disk->db, r) == -1)
    goto failed;
  if (disk->row.generation == 0 || disk->anew) {
    if (disk_update (disk) == -1)
      goto failed;
  }
  if (disk->map == NULL && (disk->map = disk_map_at (disk, disk->row.generation)) == NULL)
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
  selection_free (disk->selection);
  pthread_mutex_destroy (&disk->lock);
  free (disk->pinned.numbers);
  free (disk->name);
  free (disk);
}

struct disk_config
disk_config_of (const struct disk_rule *rule)
{
  return (struct disk_config) {
    .name = rule->name, .format = rule->format, .partitioning = rule->partitioning, .size = rule->size, .label = rule->label,
    .rule = rule,
  };
}

void
disk_add_part (struct disk *disk, const struct disk *next)
{
  disk->row.geometry.next = &next->row.geometry;
}

int
disk_check_rule (struct disk *disk, const struct disk_rule *rule)
{
  struct selection *sel = selection_new (rule);
  const char *missing = NULL;
  bool laid_out;
  int r;

  if (sel == NULL)
    return -1;
  db_read_begin (disk->db);
  r = selection_is_laid_out (sel, disk->db, disk->row.id, &laid_out);
  if (r == 0 && !laid_out)
    r = selection_resolve (sel, disk->db, &missing) == -1 ? -1 : 0;
  db_read_end (disk->db);
  selection_free (sel);
  if (r == 0 && missing)
    say_missing (disk->name, missing);
  return r == -1 || missing ? -1 : 0;
}

bool
disk_set_rule (struct disk *disk, const struct disk_rule *rule)
{
  const struct disk_config config = disk_config_of (rule);

  if (asks_for_another (&config, &disk->row.geometry))
    return false;
  pthread_mutex_lock (&disk->lock);
  disk->new_rule = rule;
  pthread_mutex_unlock (&disk->lock);
  return true;
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

struct selection *
disk_selection (struct disk *disk)
{
  return disk->selection;
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

struct row {
  struct extent extent;
  int64_t died;
};

struct collected {
  struct disk *disk;
  struct row *rows;
  size_t n, room;
};

static int
collect_row (void *opaque, const struct extent_row *row)
{
  struct collected *all = opaque;
  struct row *to;

  if (array_make_room (&all->rows, all->n, &all->room, sizeof *all->rows) == -1)
    return -1;
  to = &all->rows[all->n++];
  memset (to, 0, sizeof *to);
  to->extent.first = row->first;
  to->extent.count = row->count;
  to->extent.bytes = row->bytes;
  to->extent.kind = row->kind;
  to->died = row->died;
  if (row->kind == EXTENT_DIR) {
    to->extent.blob_offset = row->position;
    to->extent.fat_chain = row->first == all->disk->row.geometry.root_first;
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

static void
sort_rows (struct collected *all)
{
  if (all->n > 0)
    qsort (all->rows, all->n, sizeof *all->rows, compare_rows);
}

/* All extents that live in a generation, read from their rows. */
static struct map *
build_map (struct disk *disk, int64_t generation)
{
  struct collected all = { .disk = disk };
  struct extent own[FORMAT_OWN_EXTENTS];
  const struct geometry *g = &disk->row.geometry;
  const size_t n_own = g->format->own_extents (g, own);
  struct map *map = NULL;
  int r;

  db_read_begin (disk->db);
  r = extents_each (disk->db, disk->row.id, generation, generation, collect_row, &all);
  db_read_end (disk->db);
  if (r == 0) {
    sort_rows (&all);
    map = map_new (g, generation, n_own + all.n);
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

/* A map made from another one.  Both lists are sorted; an extent of the other map is left out if a row of `without` begins
 * where it does. */
static struct map *
merge_map (const struct map *from, uint64_t generation, const struct collected *without, const struct collected *with)
{
  struct map *map = map_new (from->geometry, generation, from->n + with->n);
  size_t n = 0, added = 0, dropped = 0;

  if (map == NULL)
    return NULL;
  for (size_t i = 0; i < from->n; ++i) {
    const struct extent *extent = &from->extents[i];

    while (dropped < without->n && without->rows[dropped].extent.first < extent->first)
      dropped++;
    if (dropped < without->n && without->rows[dropped].extent.first == extent->first)
      continue;
    while (added < with->n && with->rows[added].extent.first < extent->first)
      map->extents[n++] = with->rows[added++].extent;
    map->extents[n++] = *extent;
  }
  while (added < with->n)
    map->extents[n++] = with->rows[added++].extent;
  map->n = n;
  map_seal (map);
  return map;
}

/* The map of the generation after that of `before`: what that had, without what died in it, with what was born in it.  The
 * rows of what was born have ids above last_id.  A row that was born and died since is in neither. */
static struct map *
next_map (struct disk *disk, const struct map *before, int64_t generation, int64_t last_id)
{
  struct collected died = { .disk = disk }, born = { .disk = disk };
  struct map *map = NULL;
  int r;

  db_read_begin (disk->db);
  r = extents_dead (disk->db, disk->row.id, generation - 1, generation, collect_row, &died);
  if (r == 0)
    r = extents_after (disk->db, disk->row.id, last_id, collect_row, &born);
  db_read_end (disk->db);
  if (r == 0) {
    sort_rows (&died);
    sort_rows (&born);
    map = merge_map (before, generation, &died, &born);
  }
  free (died.rows);
  free (born.rows);
  return map;
}

struct map *
disk_map (struct disk *disk)
{
  LOCK_FOR_SCOPE (&disk->lock);

  return map_ref (disk->map);
}

/* Drops rows whose clusters the map uses. */
static size_t
drop_used (const struct map *map, struct row *rows, size_t n)
{
  size_t kept = 0;

  for (size_t i = 0; i < n; ++i) {
    const size_t at = map_find (map, rows[i].extent.first);

    if (at == map->n || map->extents[at].first >= rows[i].extent.first + rows[i].extent.count)
      rows[kept++] = rows[i];
  }
  return kept;
}

struct map *
disk_map_since (struct disk *disk, int64_t oldest)
{
  static const struct collected none;
  struct collected dead = { .disk = disk };
  struct map *newest = disk_map (disk), *map = NULL;
  int r;

  if (oldest >= (int64_t) newest->generation)
    return newest;
  db_read_begin (disk->db);
  r = extents_dead (disk->db, disk->row.id, oldest, newest->generation, collect_row, &dead);
  db_read_end (disk->db);
  if (r == 0) {
    sort_rows (&dead);
    dead.n = drop_used (newest, dead.rows, dead.n);
    dead.n = drop_covered (dead.rows, dead.n);
    map = merge_map (newest, newest->generation, &none, &dead);
  }
  free (dead.rows);
  map_unref (newest);
  return map;
}

struct map *
disk_map_at (struct disk *disk, int64_t generation)
{
  return build_map (disk, generation);
}

/* ---- generations ---- */

/* Takes a rule over that was set meanwhile.  With the database's lock. */
static int
take_rule (struct disk *disk)
{
  const struct disk_rule *rule;
  struct selection *selection;

  pthread_mutex_lock (&disk->lock);
  rule = disk->new_rule;
  disk->new_rule = NULL;
  pthread_mutex_unlock (&disk->lock);
  if (rule == NULL || selection_set_rule (disk->selection, rule))
    return 0;
  selection = selection_new (rule);
  if (selection == NULL)
    return -1;
  selection_free (disk->selection);
  disk->selection = selection;
  return 0;
}

/* Either layout.  *ret_moved: with another geometry. */
static int
lay_out (struct disk *disk, bool may_move, struct disk_row *row, bool *ret_changed, bool *ret_moved, const char **ret_stuck)
{
  struct layout_result result = { 0 };
  struct layout_raw_result raw;

  *ret_moved = false;
  *ret_stuck = NULL;
  if (row->geometry.format->raw) {
    if (layout_raw_update (disk->db, disk->selection, may_move || row->generation == 0, row, &raw) == -1)
      return -1;
    *ret_changed = raw.changed;
    *ret_moved = raw.moved;
    *ret_stuck = raw.stuck;
    return 0;
  }
  if (layout_update (disk->db, disk->store, disk->name, disk->selection, disk->anew, row, &result) == -1)
    return -1;
  *ret_changed = result.changed;
  return 0;
}

static void
say_stuck (struct disk *disk, const char *stuck, bool moved)
{
  if (stuck && stuck != disk->stuck)
    msg_notice ("disk %s: %s: it goes on as it is until no virtual machine has it, and is made anew then", disk->name, stuck);
  if (moved && disk->stuck)
    msg_notice ("disk %s is made anew, because its files were others, or of other sizes: it has %llu bytes now", disk->name,
                (unsigned long long) disk->row.geometry.disk_bytes);
  disk->stuck = stuck;
}

static int
update (struct disk *disk, bool may_move)
{
  struct disk_row row = disk->row;
  struct map *map, *old;
  const char *stuck = disk->stuck;
  int64_t last_id = 0;
  bool current, changed = false, moved = false;
  int r;

  if (db_begin (disk->db) == -1)
    return -1;
  r = take_rule (disk);
  if (r == 0)
    r = resolve (disk);
  if (r == 0) {
    /* It stays as it is, and is laid out anew once the folder is there. */
    disk->anew = true;
    r = catalog_revision (disk->db, &row.revision);
  }
  else if (r == 1) {
    r = extents_last_id (disk->db, &last_id);
    if (r == 0)
      r = lay_out (disk, may_move, &row, &changed, &moved, &stuck);
    if (r == 0)
      disk->anew = false;
  }
  if (db_end (disk->db, r) == -1) {
    disk->anew = true;
    return -1;
  }

  pthread_mutex_lock (&disk->lock);
  if (moved)
    disk->row.geometry = row.geometry;
  disk->row.generation = row.generation;
  disk->row.revision = row.revision;
  disk->row.zone = row.zone;
  disk->row.freed = row.freed;
  current = disk->map && disk->map->generation == (uint64_t) row.generation;
  pthread_mutex_unlock (&disk->lock);
  say_stuck (disk, stuck, moved);
  if (current)
    return 0;

  /* If there is no memory for it now, the next call finds the map behind the row. */
  old = disk->map;
  if (old && old->generation + 1 == (uint64_t) row.generation && changed && !moved)
    map = next_map (disk, old, row.generation, last_id);
  else
    map = build_map (disk, row.generation);
  if (map == NULL)
    return -1;
  pthread_mutex_lock (&disk->lock);
  disk->map = map;
  pthread_mutex_unlock (&disk->lock);
  if (old)
    map_unref (old);
  msg_debug ("disk %s: generation %lld, %zu extents", disk->name, (long long) row.generation, map->n);
  return 1;
}

int
disk_update (struct disk *disk)
{
  return update (disk, false);
}

int
disk_move (struct disk *disk)
{
  return update (disk, true);
}

bool
disk_is_stuck (const struct disk *disk)
{
  return disk->stuck;
}

struct discarded {
  struct { int64_t version; uint64_t position, size; } *runs;
  size_t n, room;
  size_t rows;                 /* extents that are gone */
};

static int
discard_later (struct discarded *list, int64_t version, uint64_t position, uint64_t size)
{
  if (array_make_room (&list->runs, list->n, &list->room, sizeof *list->runs) == -1)
    return -1;
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

/* Versions that are superseded and that neither an extent nor a guest's file names. */
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
    if (extents_need_version (db, version, &needed) == -1 ||
        (!needed && seen_needs_version (db, version, &needed) == -1))
      return -1;
    if (needed)
      continue;
    r = catalog_drop_version (db, version, &position, &size);
    if (r == -1 || (r == 1 && (cache_forget (db, version) == -1 || discard_later (list, version, position, size) == -1)))
      return -1;
  }
}

/* What is pinned is not looked at again each time: of all that died only what died since then, unless other generations are
 * pinned now. */
static int
collect_from (struct disk *disk, const struct generations *pinned, int64_t *ret)
{
  struct generations *last = &disk->pinned;

  *ret = disk->collected;
  if (last->n == pinned->n && (pinned->n == 0 || memcmp (last->numbers, pinned->numbers, pinned->n * sizeof *pinned->numbers) == 0))
    return 0;
  *ret = disk->collected = 0;
  last->n = 0;
  for (size_t i = 0; i < pinned->n; ++i) {
    if (array_make_room (&last->numbers, last->n, &last->room, sizeof *last->numbers) == -1)
      return -1;
    last->numbers[last->n++] = pinned->numbers[i];
  }
  return 0;
}

int
disk_collect (struct disk *disk, int64_t oldest, const struct generations *pinned)
{
  struct discarded list = { 0 };
  const time_t now = time (NULL);
  bool waiting = false;
  int64_t after;
  int r;

  if (collect_from (disk, pinned, &after) == -1)
    return -1;

  if (db_begin (disk->db) == -1)
    return -1;
  r = extents_collect (disk->db, disk->row.id, after, oldest, pinned, collect_dir, &list);
  if (r == 0)
    r = drop_versions (disk->db, &list);
  if (r == 0 && now / PURGE_EVERY_S != disk->purged / PURGE_EVERY_S) {
    r = seen_purge (disk->db, now - PURGE_AFTER_S);
    disk->purged = now;
  }
  if (r == 0 && list.rows > 0)
    r = layout_wants_room (disk->db, disk->row.id, &waiting);
  r = db_end (disk->db, r);
  if (r == 0) {
    disk->collected = oldest < disk->row.generation ? oldest : disk->row.generation;
    disk->row.oldest = disk->collected;
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
