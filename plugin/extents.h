/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of disks: identity and geometry of each, its extents with the generations in which they live, and the
 * slots of its folders' entries.
 *
 * An extent row lives in the generations born <= g < died.  Rows of directories are replaced in place when a directory
 * is rendered anew: the same clusters, other bytes.
 *
 * All functions need the database's lock (see db.h).  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_EXTENTS_H
#define CLOUDSHARE_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

struct db;

/* died of rows that are alive. */
#define EXTENT_ALIVE INT64_MAX

struct disk_row {
  int64_t id;
  struct geometry geometry;
  int64_t generation;          /* newest */
  int64_t revision;            /* of the catalog, that it shows */
  int64_t zone;                /* format->zone () when its folders were rendered */

  /* Not in the table; for layout.h. */
  int64_t oldest;              /* no view holds one before it, but those that stay on theirs */
  bool freed;                  /* clusters may have become free since the last layout */
};

struct extent_row {
  int64_t id;
  int64_t item, parent;        /* the catalog's ids */
  int kind;                    /* enum extent_kind: EXTENT_FILE or EXTENT_DIR */
  int64_t version;             /* EXTENT_FILE */
  uint32_t first, count;       /* clusters */
  uint64_t bytes;
  uint64_t position;           /* EXTENT_FILE: the version's, from extents_each; EXTENT_DIR: in the store of directories */
  int64_t born, died;
};

extern int extents_init (struct db *db);

/* 1 found, 0 not. */
extern int disk_row_load (struct db *db, const char *name, struct disk_row *ret);
extern int disk_row_insert (struct db *db, const char *name, struct disk_row *row);
extern int disk_row_advance (struct db *db, const struct disk_row *row);

/* A raw disk has another size: what of its geometry follows from that. */
extern int disk_row_resize (struct db *db, const struct disk_row *row);

/* The names of all disks, in their order. */
extern int disk_names_each (struct db *db, int (*row) (void *opaque, const char *name), void *opaque);

/* Forgets a disk with all its extents. */
extern int disk_row_delete (struct db *db, int64_t id);

/* Writes row->id. */
extern int extent_insert (struct db *db, int64_t disk, struct extent_row *row);

/* Ends an extent's life with that generation: deletes it if it was born in it.  A folder's slots stay for as long as the
 * row does: they tell whose entries stand where. */
extern int extent_kill (struct db *db, const struct extent_row *row, int64_t generation);
extern int extent_set_parent (struct db *db, int64_t id, int64_t parent);

/* The living extent of an item.  1 found, 0 not. */
extern int extent_by_item (struct db *db, int64_t disk, int64_t item, struct extent_row *ret);

/* The extent that begins at that cluster, or that an item had, in a generation.  1 found, 0 not. */
extern int extent_at_cluster (struct db *db, int64_t disk, uint32_t first, int64_t generation, struct extent_row *ret);
extern int extent_at_item (struct db *db, int64_t disk, int64_t item, int64_t generation, struct extent_row *ret);

/* The living extents whose items are in a folder.  malloc'ed. */
extern int extents_in_folder (struct db *db, int64_t disk, int64_t folder, struct extent_row **ret, size_t *ret_n);

/* The slots of a folder's extent (slots.h).  Loads malloc'ed bytes; NULL if there are none. */
extern int slots_row_save (struct db *db, int64_t extent, const void *list, size_t n);
extern int slots_row_load (struct db *db, int64_t extent, void **ret, size_t *ret_n);

/* Calls row for each extent that lives in any generation from oldest to newest, in no order, until row returns -1. */
extern int extents_each (struct db *db, int64_t disk, int64_t oldest, int64_t newest,
                         int (*row) (void *opaque, const struct extent_row *row), void *opaque);

/* The same of rows with a higher id, and of rows that died in the generations after that one up to the other.  Both take time
 * for what they find, not for what the disk has. */
extern int extents_after (struct db *db, int64_t disk, int64_t id,
                          int (*row) (void *opaque, const struct extent_row *row), void *opaque);
extern int extents_dead (struct db *db, int64_t disk, int64_t after, int64_t up_to,
                         int (*row) (void *opaque, const struct extent_row *row), void *opaque);

/* The highest id of any disk's rows: those that are inserted from now on have higher ones. */
extern int extents_last_id (struct db *db, int64_t *ret);

/* How many items a generation shows otherwise than the newest one, or not at all, or not yet; not counting files without bytes. */
extern int extents_changed_since (struct db *db, int64_t disk, int64_t generation, uint64_t *ret);

/* One past the highest cluster of any row, or 2. */
extern int extents_end (struct db *db, int64_t disk, uint32_t *ret);

/* End of the highest run of the store of directories, over all disks. */
extern int extents_dirs_end (struct db *db, uint64_t *ret);

/* Deletes rows that died after one generation and in or before the other, unless they live in one that is pinned.  gone is
 * called for each. */
struct generations {
  int64_t *numbers;
  size_t n, room;
};

extern int extents_collect (struct db *db, int64_t disk, int64_t after, int64_t generation, const struct generations *pinned,
                            int (*gone) (void *opaque, const struct extent_row *row), void *opaque);

/* Whether any row of any disk needs the version. */
extern int extents_need_version (struct db *db, int64_t version, bool *ret);

/* Items that the disk does not show (or not as they are now), and why.  *ret_new: they were shown, or there was another
 * reason. */
extern int left_out_set (struct db *db, int64_t disk, int64_t item, const char *reason, bool *ret_new);

/* Forgets those that the catalog does not show any more. */
extern int left_out_sweep (struct db *db, int64_t disk);
extern int left_out_clear (struct db *db, int64_t disk, int64_t item);
extern int left_out_count (struct db *db, int64_t disk, int64_t *ret);
extern int left_out_each (struct db *db, int64_t disk,
                          int (*row) (void *opaque, int64_t item, const char *reason), void *opaque);

/* Whether there are any for that reason. */
extern int left_out_for (struct db *db, int64_t disk, const char *reason, bool *ret);

/* The folders of items that are left out for that reason.  malloc'ed. */
extern int left_out_folders (struct db *db, int64_t disk, const char *reason, int64_t **ret, size_t *ret_n);

/* Views: which generation a name holds.  Ids are never used twice: overlays are named after them.
 *
 * A row tells on its own the highest id that an item had when it was last saved, and when its generation was made: of items
 * that are newer, or that were gone before, the view can only know what its own guest made, and the rows of seen.h say what
 * of that is left. */
struct view_row {
  int64_t id;                  /* 0: not on record yet */
  const char *name;
  int64_t disk;
  int64_t generation;
  const char *detached;        /* why it is not interpreted any more, or NULL */
};

/* Writes row->id. */
extern int view_row_save (struct db *db, struct view_row *row);
extern int view_row_delete (struct db *db, int64_t id);

/* Whether any disk has a view of that id. */
extern int view_row_exists (struct db *db, int64_t id, bool *ret);
extern int view_rows_each (struct db *db, int64_t disk, int (*row) (void *opaque, const struct view_row *row), void *opaque);

#endif /* CLOUDSHARE_EXTENTS_H */
