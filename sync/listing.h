/* SPDX-License-Identifier: BSD-3-Clause */
/* One listing of one folder as it arrived: plain data that outlives the provider's callbacks. */

#ifndef CLOUDSHARE_LISTING_H
#define CLOUDSHARE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud.h"

struct said;

struct listing {
  int64_t folder;              /* the catalog's id, or the item's in a stat; the caller's to use */
  char *path;                  /* malloc'ed, the listing's */
  int depth;                   /* of the folder; the caller's to use */
  enum cloud_result result;
  char sentence[512];
  struct cloud_item *items;    /* sorted by name (bytes); without doubles */
  size_t n;
  struct said *said;           /* borrowed, or NULL */
  struct listing *next;        /* for queues of the caller */

  /* private */
  size_t room;
  struct text_block *blocks;
  bool endless;                /* more items than can be */
  bool broken;                 /* out of memory: the listing is worth nothing */
  void (*done) (struct listing *listing, void *opaque);
  void *opaque;
};

/* Asks for a listing (depth 1) or one item (depth 0: n is 0 or 1).  done is called once, on any thread, and owns the
 * listing from then on.  path is copied.  said (or NULL) keeps items that can't be taken from being told of each time.  -1 after one message (no memory); then done is not called. */
extern int listing_start (struct cloud *cloud, struct said *said, const char *path, int depth, int64_t folder,
                          void (*done) (struct listing *listing, void *opaque), void *opaque);
extern void listing_free (struct listing *listing);

/* Waits for one item.  CLOUD_OK and *ret (to be freed), or why not. */
extern enum cloud_result listing_stat (struct cloud *cloud, const char *path, struct listing **ret);

#endif /* CLOUDSHARE_LISTING_H */
