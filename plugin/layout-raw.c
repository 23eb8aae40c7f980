/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout of raw disks. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "catalog.h"
#include "extents.h"
#include "format.h"
#include "layout-raw.h"
#include "map.h"
#include "msg.h"
#include "raw-rows.h"
#include "selection.h"

static const char stuck_empty[] = "it has no files any more";
static const char stuck_large[] = "its files have more than 2 TiB together";
static const char stuck_places[] = "its files are others, or of other sizes, than when it was made";

struct pieces {
  struct extent_row *rows;     /* first and count say the place */
  size_t n, room;
  uint64_t sectors;            /* saturates */
};

/* ---- what the catalog has ---- */

/* What a conflict left behind (journal.h) stands beside the pieces, and is none. */
static bool
is_conflict_copy (const char *name)
{
  return strstr (name, " (conflicted copy ") != NULL;
}

static int
add_piece (struct pieces *pieces, const struct catalog_item *item)
{
  const uint64_t sectors = item->size / SECTOR_SIZE + (item->size % SECTOR_SIZE != 0);

  if (item->is_folder || item->size == 0 || is_conflict_copy (item->name))
    return 0;
  if (array_make_room (&pieces->rows, pieces->n, &pieces->room, sizeof *pieces->rows) == -1)
    return -1;
  pieces->rows[pieces->n++] = (struct extent_row) {
    .item = item->id, .parent = item->parent, .kind = EXTENT_FILE, .version = item->version,
    .first = 2 + (uint32_t) pieces->sectors, .count = (uint32_t) sectors, .bytes = item->size, .died = EXTENT_ALIVE,
  };
  /* A remote may claim any size. */
  if (__builtin_add_overflow (pieces->sectors, sectors, &pieces->sectors))
    pieces->sectors = UINT64_MAX;
  return 0;
}

static int
add_files_of (struct selection *sel, struct db *db, int64_t folder, struct pieces *pieces)
{
  struct catalog_list list;
  int r = 0;

  if (selection_children (sel, db, folder, &list) == -1)
    return -1;
  for (size_t i = 0; i < list.n && r == 0; ++i)
    r = add_piece (pieces, &list.items[i]);
  catalog_list_free (&list);
  return r;
}

/* pieces: to be freed, also after errors. */
static int
find_pieces (struct selection *sel, struct db *db, struct pieces *pieces)
{
  const int64_t root = selection_root (sel);
  struct catalog_list tops;
  int r = 0;

  memset (pieces, 0, sizeof *pieces);
  if (selection_children (sel, db, root, &tops) == -1)
    return -1;
  if (tops.n > 0 && selection_is_fixed (sel, tops.items[0].id))
    for (size_t i = 0; i < tops.n && r == 0; ++i)
      r = add_files_of (sel, db, tops.items[i].id, pieces);
  else
    for (size_t i = 0; i < tops.n && r == 0; ++i)
      r = add_piece (pieces, &tops.items[i]);
  catalog_list_free (&tops);
  return r;
}

static bool
is_too_large (const struct pieces *pieces)
{
  return pieces->sectors > format_raw.max_volume / SECTOR_SIZE;
}

static int
plan (struct geometry *g, const struct pieces *pieces)
{
  memset (g, 0, sizeof *g);
  g->format = &format_raw;
  g->partitioning = PARTITION_NONE;
  g->disk_bytes = g->volume_bytes = pieces->sectors * SECTOR_SIZE;
  return format_raw.plan (g, 0);
}

int
layout_raw_plan (struct db *db, const char *disk_name, struct selection *sel, struct geometry *g)
{
  struct pieces pieces;
  int r = find_pieces (sel, db, &pieces);

  if (r == 0 && (pieces.n == 0 || is_too_large (&pieces))) {
    if (pieces.n == 0)
      msg_error ("disk %s: fs=raw makes a disk of the files in its folder, and there are none with bytes: put them there, or "
                 "correct folder=, glob= and type=", disk_name);
    else
      msg_error ("disk %s: fs=raw makes a disk of at most 2 TiB, and its files have more together: choose fewer with glob=",
                 disk_name);
    r = -1;
  }
  if (r == 0)
    r = plan (g, &pieces);
  free (pieces.rows);
  return r;
}

/* ---- what the disk has ---- */

static int
collect (void *opaque, const struct extent_row *row)
{
  struct pieces *pieces = opaque;

  if (array_make_room (&pieces->rows, pieces->n, &pieces->room, sizeof *pieces->rows) == -1)
    return -1;
  pieces->rows[pieces->n++] = *row;
  return 0;
}

static int
compare_places (const void *a, const void *b)
{
  const struct extent_row *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

static bool
same_places (const struct pieces *old, const struct pieces *new)
{
  if (old->n != new->n)
    return false;
  for (size_t i = 0; i < old->n; ++i)
    if (old->rows[i].first != new->rows[i].first || old->rows[i].count != new->rows[i].count)
      return false;
  return true;
}

/* ---- from the one to the other ---- */

struct update {
  struct db *db;
  struct disk_row *row;
  int64_t generation;          /* the one that it makes */
  bool changed;
};

static int
replace (struct update *update, const struct extent_row *old, const struct extent_row *new)
{
  struct extent_row row = *new;

  if (old->item == new->item && old->version == new->version)
    return 0;
  row.born = update->generation;
  update->changed = true;
  return extent_kill (update->db, old, update->generation) == -1 ||
         extent_insert (update->db, update->row->id, &row) == -1 ? -1 : 0;
}

static int
replace_all (struct update *update, const struct pieces *old, const struct pieces *new)
{
  for (size_t i = 0; i < old->n; ++i)
    if (replace (update, &old->rows[i], &new->rows[i]) == -1)
      return -1;
  return 0;
}

static int
move_all (struct update *update, const struct pieces *old, struct pieces *new)
{
  update->changed = true;
  if (plan (&update->row->geometry, new) == -1)
    return -1;
  for (size_t i = 0; i < old->n; ++i)
    if (extent_kill (update->db, &old->rows[i], update->generation) == -1)
      return -1;
  for (size_t i = 0; i < new->n; ++i) {
    new->rows[i].born = update->generation;
    if (extent_insert (update->db, update->row->id, &new->rows[i]) == -1)
      return -1;
  }
  return disk_row_resize (update->db, update->row);
}

/* Nothing may move, and who looks at the disk sees the pieces of one moment of the cloud; but what views of it have written is
 * theirs, and they must find it again when their overlay is gone. */
static int
take_own (struct update *update, const struct pieces *old)
{
  for (size_t i = 0; i < old->n; ++i) {
    struct extent_row row = old->rows[i];
    struct catalog_list list;
    bool own = false;
    int r = catalog_item (update->db, row.item, &list);

    if (r == 1) {
      row.version = list.items[0].version;
      row.bytes = list.items[0].size;
      catalog_list_free (&list);
      r = raw_made_here (update->db, row.item, row.version, &own);
    }
    if (r == -1)
      return -1;
    if (own && bytes_to_clusters (&update->row->geometry, row.bytes) == row.count &&
        replace (update, &old->rows[i], &row) == -1)
      return -1;
  }
  return 0;
}

static int
update_pieces (struct update *update, bool may_move, const struct pieces *old, struct pieces *new,
               struct layout_raw_result *ret)
{
  if (new->n > 0 && !is_too_large (new)) {
    if (same_places (old, new))
      return replace_all (update, old, new);
    if (may_move) {
      ret->moved = true;
      return move_all (update, old, new);
    }
  }
  ret->stuck = new->n == 0 ? stuck_empty : is_too_large (new) ? stuck_large : stuck_places;
  return take_own (update, old);
}

int
layout_raw_update (struct db *db, struct selection *sel, bool may_move, struct disk_row *row, struct layout_raw_result *ret)
{
  struct update update = { .db = db, .row = row, .generation = row->generation + 1 };
  struct pieces old = { 0 }, new;
  int64_t revision;
  int r;

  memset (ret, 0, sizeof *ret);
  if (catalog_revision (db, &revision) == -1)
    return -1;
  r = find_pieces (sel, db, &new);
  if (r == 0)
    r = extents_each (db, row->id, row->generation, row->generation, collect, &old);
  if (r == 0 && old.n > 0)
    qsort (old.rows, old.n, sizeof *old.rows, compare_places);
  if (r == 0)
    r = update_pieces (&update, may_move, &old, &new, ret);
  free (old.rows);
  free (new.rows);
  if (r == -1)
    return -1;
  ret->changed = update.changed;
  if (!ret->changed && row->revision == revision)
    return 0;
  if (ret->changed)
    row->generation = update.generation;
  row->revision = revision;
  return disk_row_advance (db, row);
}
