/* SPDX-License-Identifier: BSD-3-Clause */
/* Merging: what the remote has -> the catalog, where views may have changed the same items.
 *
 * Called by pull for what a listing shows, and by push for what it finds when it looks at an item.  Everything is seen
 * from the remote's tree (catalog_remote_children); verdict.h says what becomes of the local one.
 *
 * An item of which a request of ours was under way, or whose bytes would have to be compared, is left to push: it is
 * marked to be looked at (change_look), and merge->waits is set.
 *
 * All within the caller's transaction.  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_MERGE_H
#define CLOUDSHARE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"
#include "cloud.h"
#include "verdict.h"

struct blobs;
struct db;

struct merge {
  struct db *db;
  struct blobs *blobs;
  int64_t revision;            /* the one that this transaction makes */
  int64_t now;                 /* seconds since 1970 */
  bool none;                   /* no view has changed anything: no row in the table change */
  int64_t in_hand;             /* an item of which the caller knows what became of its request, or 0 */

  /* Hears of versions that can't be fetched from the remote any more; -1 ends it. */
  int (*superseded) (void *opaque, int64_t version);
  void *opaque;

  /* Set, never cleared: */
  bool changed;                /* what disks show: the revision is to be committed */
  bool waits;                  /* push has something new to do */
};

/* The remote shows an item that the remote's tree has under that name (known, from catalog_remote_children), of the
 * same kind.  same: whether the item's local bytes are what the remote shows, if the caller knows. */
extern int merge_known (struct merge *merge, const struct catalog_item *known, const struct cloud_item *seen,
                        enum verdict_same same);

/* The remote shows an item under a name that the remote's tree does not have in that folder.  *ret: its id, 0 where
 * nothing was made of it yet. */
extern int merge_new (struct merge *merge, int64_t folder, const struct cloud_item *seen, enum verdict_same same,
                      int64_t *ret);

/* The remote has the item no more, nor anything below it.  What views changed of it stays, to be sent anew. */
extern int merge_gone (struct merge *merge, int64_t item);

/* The remote has the item in another place. */
extern int merge_moved (struct merge *merge, int64_t item, int64_t folder, const char *name);

/* The remote has, in that place, the version of the item that we sent. */
extern int merge_sent (struct merge *merge, int64_t item, int64_t version, int64_t folder, const char *name,
                       int64_t sent_mtime, const struct cloud_item *seen);

#endif /* CLOUDSHARE_MERGE_H */
