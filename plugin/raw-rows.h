/* SPDX-License-Identifier: BSD-3-Clause */
/* What views of raw disks have made of the pieces: a durable table, one row for each piece that was journalled from a view.
 *
 * A piece is known by its place, the cluster at which it begins, which never changes for a view.  Pieces without a row are
 * those of the view's generation.
 *
 * All functions need the database's lock.  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_RAW_ROWS_H
#define CLOUDSHARE_RAW_ROWS_H

#include <stdbool.h>
#include <stdint.h>

struct db;

extern int raw_init (struct db *db);

/* The item that has what the view's guest wrote there, and its version.  1 found, 0 not. */
extern int raw_piece_get (struct db *db, int64_t view, uint32_t first, int64_t *ret_item, int64_t *ret_version);
extern int raw_piece_put (struct db *db, int64_t view, uint32_t first, int64_t item, int64_t version);

/* Whether the version was made by a view that is still there. */
extern int raw_made_here (struct db *db, int64_t item, int64_t version, bool *ret);

/* Forgets a view's rows. */
extern int raw_forget (struct db *db, int64_t view);

#endif /* CLOUDSHARE_RAW_ROWS_H */
