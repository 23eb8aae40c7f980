/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: the remote's tree -> the catalog.
 *
 * Walks the remote folder by folder, several listings in flight, and applies each to the catalog as it arrives.  What a
 * whole, good listing no longer shows is asked for once more, by name, before it is dropped: listings have been seen to
 * end early and look complete.  Renames are known by the remote's ids where it gives any.
 *
 * One thread at a time.
 */

#ifndef CLOUDSHARE_PULL_H
#define CLOUDSHARE_PULL_H

#include <stdbool.h>
#include <stdint.h>

#include "cloud.h"

struct blobs;
struct cache;
struct db;
struct health;
struct pull;
struct push;

/* All borrowed.  cache may be NULL (before the cache runs).  NULL after one message. */
extern struct pull *pull_new (struct db *db, struct blobs *blobs, struct cloud *cloud, struct health *health,
                              unsigned parallel);
extern void pull_set_cache (struct pull *pull, struct cache *cache);

/* Whose requests listings may cross; NULL: nobody changes the remote.  Not while a pull runs. */
extern void pull_set_push (struct pull *pull, struct push *push);
extern void pull_free (struct pull *pull);

struct pull_result {
  enum cloud_result result;    /* CLOUD_OK: the whole tree was seen.  Else: what ended or spoiled the walk */
  char sentence[512];
  bool changed;                /* the catalog has a new revision */
  bool unsettled;              /* some items are too fresh to be believed: pull again in settle time */
  uint64_t folders, items;     /* seen in this walk */
};

enum pull_kind {
  PULL_ALL,                    /* every folder */
  PULL_CHANGED,                /* every folder, but where folder tokens are known to tell, only those below changed ones */
  PULL_FRESH,                  /* only folders in which the last walk saw items too fresh to be believed */
  PULL_HINTED,                 /* only what pull_hint named since the last such walk */
};

/* Names a path at which something is said to have changed, for a walk of PULL_HINTED: the folder there is looked at, or the
 * lowest one above it that is known, and what is new below.  Of the pulling thread.  -1 after one message. */
extern int pull_hint (struct pull *pull, const char *path);

extern void pull_run (struct pull *pull, enum pull_kind kind, struct pull_result *ret);

/* For progress: folders and items seen in the walk under way.  Any thread. */
extern void pull_progress (struct pull *pull, uint64_t *ret_folders, uint64_t *ret_items);

/* Ends a walk early; pull_run returns CLOUD_STOPPED.  Any thread. */
extern void pull_stop (struct pull *pull);

#endif /* CLOUDSHARE_PULL_H */
