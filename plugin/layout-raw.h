/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout of raw disks: the catalog -> extents, without folders and without choice of place.
 *
 * The pieces are the files directly in the disk's folder that its rule chooses, in the order of their names by bytes; with several
 * folders those of each, in the order of the folders.  Each begins where the one before it ends, at a sector.  Files without
 * bytes take no place, and copies that conflicts left are not pieces.
 *
 * A piece with another content of as many sectors is shown in the place of the old one, as a new generation.  Anything else would
 * move what stands behind it: that is done only where no view can see it.
 */

#ifndef CLOUDSHARE_LAYOUT_RAW_H
#define CLOUDSHARE_LAYOUT_RAW_H

#include <stdbool.h>
#include <stdint.h>

struct db;
struct disk_row;
struct geometry;
struct selection;

/* Fills in a new disk, after selection_resolve.  -1 after one message, also if there are no pieces. */
extern int layout_raw_plan (struct db *db, const char *disk_name, struct selection *sel, struct geometry *g);

struct layout_raw_result {
  bool changed;                /* there is a new generation */
  bool moved;                  /* with another geometry: that of row */
  const char *stuck;           /* a constant sentence: why the disk shows what it did, and not what the catalog has; or NULL */
};

/* As layout_update.  may_move: no view has any generation of it. */
extern int layout_raw_update (struct db *db, struct selection *sel, bool may_move, struct disk_row *row,
                              struct layout_raw_result *ret);

#endif /* CLOUDSHARE_LAYOUT_RAW_H */
