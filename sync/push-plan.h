/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is to tell the remote of an item, and when: pure functions. */

#ifndef CLOUDSHARE_PUSH_PLAN_H
#define CLOUDSHARE_PUSH_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "cloud.h"

/* Numbers are on disk (change.sent). */
enum push_step {
  PUSH_NOTHING = 0,  /* both sides agree */
  PUSH_FORGET = 1,   /* neither side has it */
  PUSH_MKDIR = 2,
  PUSH_PUT = 3,
  PUSH_MOVE = 4,
  PUSH_TOUCH = 5,
  PUSH_REMOVE = 6,
  PUSH_LOOK = 7,     /* nothing was sent, but the item must be looked at, and maybe compared */
};

/* Begins the names that items have at the remote while they are moved out of each other's way. */
#define PUSH_MOVING_PREFIX ".cloudshare-moving-"

/* One item as one side has it. */
struct push_side {
  bool exists;
  int64_t parent;
  const char *name;
  int64_t version;
  int64_t mtime;     /* nanoseconds since 1970 */
};

/* The next step from base (what the remote has) to local.  Several may follow each other. */
extern enum push_step push_plan (bool is_folder, const struct push_side *local, const struct push_side *base);

/* "new file", "changed", ...: all that differs, for people. */
extern const char *push_what (bool is_folder, const struct push_side *local, const struct push_side *base);

/* Whether a request that ended so may have been done all the same. */
extern bool push_may_be_done (enum cloud_result result);

/* Whether a request that ended so shows that the item, or what is in its way, is another one than the catalog says. */
extern bool push_shows_change (enum cloud_result result);

/* How long to wait before the next try, seconds, after so many that failed (1: the first). */
extern unsigned push_pause (enum cloud_result result, unsigned attempts);

#define PUSH_PAUSE_MAX 86400

/* Whether to offer changes of so many bytes, where all of a file of that size could be sent as well. */
extern bool push_is_worth_ranges (uint64_t size, uint64_t changed);

/* Whether a change may be sent now.  All in seconds since 1970; quiet: it rests for so long after the last change.  A
 * clock that was set back makes nothing wait longer. */
extern bool push_is_due (int64_t now, int64_t changed, int64_t quiet, int64_t tried, int64_t next_try,
                         int64_t *ret_when);

#endif /* CLOUDSHARE_PUSH_PLAN_H */
