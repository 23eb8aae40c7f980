/* SPDX-License-Identifier: BSD-3-Clause */
/* A limit of bytes a second, as a bucket that fills up by time: pure, by whatever clock the caller has.
 *
 * The bucket holds an eighth of a second's worth, so that after a pause not much more than the rate moves.  What has moved
 * already, and cannot be held back, is taken as well: the bucket then holds less than nothing for a while, and the rate is
 * right in the long run.
 *
 * What is urgent (a guest waits) takes as long as there is anything.  While something urgent is on its way, all else takes
 * only from a bucket that is more than half full: from what the urgent leaves.
 *
 * No locks: one thread at a time.
 */

#ifndef CLOUDSHARE_RATE_H
#define CLOUDSHARE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: no limit. */
struct rate {
  uint64_t limit;              /* bytes a second; 0: none */
  int64_t level;               /* bytes, times a million: what is in the bucket; below 0: it is owed */
  uint64_t at;                 /* microseconds: when that was so */
};

/* The lowest limit that is worth having: below it, requests would last longer than servers wait. */
#define RATE_LOWEST 1024

enum rate_rank {
  RATE_URGENT,
  RATE_NORMAL,
  RATE_BEHIND,                 /* normal, while something urgent is on its way */
};

/* Another limit.  The same one again changes nothing. */
extern void rate_set (struct rate *rate, uint64_t limit, uint64_t now_us);

/* How many of wanted bytes (1 or more) may move now; 0: none before rate_wait is over.  They are not taken by that. */
extern uint64_t rate_allows (struct rate *rate, enum rate_rank rank, uint64_t wanted, uint64_t now_us);

/* So many bytes moved, or will right away. */
extern void rate_take (struct rate *rate, uint64_t bytes, uint64_t now_us);

/* Microseconds until rate_allows gives something if nobody else takes it; 0: it does now. */
extern uint64_t rate_wait (struct rate *rate, enum rate_rank rank, uint64_t now_us);

#endif /* CLOUDSHARE_RATE_H */
