/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: the catalog -> extents of a disk.
 *
 * Gives each new version its clusters and renders each folder that changed, as one new generation.  Touches only folders
 * that changed since the revision which the disk shows (all of them, the first time, and when their times read
 * differently now); and, when clusters were freed, folders with items that found no room.
 */

#ifndef CLOUDSHARE_LAYOUT_H
#define CLOUDSHARE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

struct blobs;
struct db;
struct disk_row;
struct selection;

struct layout_result {
  bool changed;                /* there is a new generation */
  uint64_t left_out;           /* items that are newly left out */
};

/* Whether the disk has items that wait for room. */
extern int layout_wants_room (struct db *db, int64_t disk, bool *ret);

/* Brings the disk to the catalog's revision, by what sel has on it (after selection_resolve); anew: sel chooses otherwise than it
 * did when the disk was laid out last.  Inside the caller's transaction; row is advanced when it succeeds.  row's
 * oldest and freed are given by the caller, 0 and false if it does not know.  dirs is the store of rendered
 * directories; it is synced before this returns, so that the commit names only durable bytes. */
extern int layout_update (struct db *db, struct blobs *dirs, const char *disk_name, struct selection *sel, bool anew,
                          struct disk_row *row, struct layout_result *ret);

#endif /* CLOUDSHARE_LAYOUT_H */
