/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: the catalog -> extents of a disk.
 *
 * Gives each new version its clusters and renders each folder that changed, as one new generation.  Touches only folders
 * that changed since the revision which the disk shows (all of them, the first time).
 */

#ifndef CLOUDSHARE_LAYOUT_H
#define CLOUDSHARE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

struct blobs;
struct db;
struct disk_row;

struct layout_result {
  bool changed;                /* there is a new generation */
  uint64_t left_out;           /* items that are newly left out */
};

/* Brings the disk to the catalog's revision.  Inside the caller's transaction; row is advanced when it succeeds.  dirs is
 * the store of rendered directories; it is synced before this returns, so that the commit names only durable bytes. */
extern int layout_update (struct db *db, struct blobs *dirs, const char *disk_name, struct disk_row *row,
                          struct layout_result *ret);

#endif /* CLOUDSHARE_LAYOUT_H */
