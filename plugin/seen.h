/* SPDX-License-Identifier: BSD-3-Clause */
/* What a view's guest had written when it was last interpreted, as far as it differs from the view's generation: a durable
 * table, one row for each directory entry.  With the generation's own folders it makes up the known state, against which
 * the next writes are understood.
 *
 * Folders are named by their item.  All functions need the database's lock.  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_SEEN_H
#define CLOUDSHARE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

struct seen_row {
  int64_t folder;
  const uint16_t *name;        /* UTF-16, host order */
  uint16_t units;
  bool dead;                   /* the generation may have such an entry, the guest no longer does; of the rest only item counts */
  bool is_folder, contiguous;
  int64_t item, version;       /* version 0: no bytes */
  uint32_t first;
  uint64_t size;               /* bytes; folders on FAT32: 0 */
  uint64_t valid;              /* bytes that are not zeros for want of being written: exFAT's ValidDataLength */
  uint32_t raw_mtime;
};

extern int seen_init (struct db *db);

extern int seen_put (struct db *db, int64_t view, const struct seen_row *row);

/* The entry of that item is gone from that place, unless another one's is there by now. */
extern int seen_end (struct db *db, int64_t view, int64_t folder, const uint16_t *name, uint16_t units, int64_t item,
                     bool in_generation);
extern int seen_in_folder (struct db *db, int64_t view, int64_t folder,
                           int (*row) (void *opaque, const struct seen_row *row), void *opaque);

/* Where an item's living entry is.  1 found, 0 not; name is not set. */
extern int seen_place (struct db *db, int64_t view, int64_t item, struct seen_row *ret);

/* Items of the view's generation that the guest has removed; of others it is not kept. */
extern int seen_set_gone (struct db *db, int64_t view, int64_t item);
extern int seen_is_gone (struct db *db, int64_t view, int64_t item, bool *ret);

/* Folders that have rows, and those that are rows: one that was made and is empty is known by its own row alone.
 * malloc'ed. */
extern int seen_folders (struct db *db, int64_t view, int64_t **ret, size_t *ret_n);

/* Forgets items of the catalog that are gone since before that time (seconds since 1970) and that no view can know
 * (extents.h). */
extern int seen_purge (struct db *db, int64_t before);

/* Whether a guest's file has that version: a later edit is compared with it. */
extern int seen_needs_version (struct db *db, int64_t version, bool *ret);

/* Forgets what was in a folder. */
extern int seen_forget_folder (struct db *db, int64_t view, int64_t folder);

/* Forgets a view's rows. */
extern int seen_forget (struct db *db, int64_t view);

#endif /* CLOUDSHARE_SEEN_H */
