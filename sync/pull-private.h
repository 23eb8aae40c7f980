/* SPDX-License-Identifier: BSD-3-Clause */
/* What pull.c (the walk), pull-apply.c (a listing -> the catalog), pull-missing.c (what is gone) and pull-tokens.c
 * (what the tokens of folders can tell) share.  Nobody else includes this.
 *
 * All of it runs on the pulling thread; other threads touch only what is under the lock, and the atomics.  Functions
 * return -1 after one message. */

#ifndef CLOUDSHARE_PULL_PRIVATE_H
#define CLOUDSHARE_PULL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.h"
#include "cloud.h"
#include "merge.h"
#include "pull.h"

struct listing;
struct said;

/* A folder of this walk. */
struct visit {
  int64_t id;
  char *path;
  int depth;
  int tries;
  size_t above;                /* index of the folder above; the root's own is 0 */
  char *old_token, *new_token; /* as known before, and as its parent's listing shows it; or NULL */
  bool known;                  /* it was in the catalog before this walk */
  bool changed;                /* a child was added, removed or changed */
  bool fresh;                  /* a child is too fresh to be believed */
  bool again;                  /* requests of ours crossed its listing */
  uint64_t since;              /* push_clock when its listing was asked for */
  bool unseen;                 /* its listing, or one below it, failed: its token must not say that it was seen */
};

/* An item that a listing no longer shows. */
struct missing {
  int64_t id, parent;
  char *path;
  size_t visit;                /* to the folder that it was in */
  uint64_t since;              /* push_clock when it was asked for */
};

struct pull {
  struct db *db;
  struct blobs *blobs;
  struct cloud *cloud;
  struct health *health;
  struct cache *cache;
  struct push *push;           /* or NULL */
  unsigned parallel;
  atomic_bool stopping;
  _Atomic uint64_t folders, items;

  /* Protects what follows: listings end on the provider's threads. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  struct listing *arrived, **arrived_tail;
  unsigned n_arrived, in_flight;
  bool cut_short;              /* an answer arrived that ends the walk, whether or not it was looked at yet */

  /* Of the walk under way; the pulling thread's own. */
  struct visit *visits;
  size_t n_visits, visits_room, next_visit;
  struct missing *missing;
  size_t n_missing, missing_room;
  int64_t *superseded;         /* versions to tell the cache of, after the commit */
  size_t n_superseded, superseded_room;
  int64_t revision;
  bool first;                  /* nothing was known before this walk */
  struct merge merge;          /* of the transaction under way */
  enum pull_kind kind;
  int64_t tree_tokens;
  struct pull_result *result;

  int64_t *kept;               /* items that were moved, but not taken there: requests of ours crossed the listing */
  size_t n_kept, kept_room;

  int64_t *fresh;              /* folders to look at again, from the last walk */
  size_t n_fresh, fresh_room;
  unsigned fresh_looks;        /* walks in a row that saw fresh items */
  char **hints;                /* paths, for the next walk of PULL_HINTED */
  size_t n_hints, hints_room;
  struct said *said;           /* what was said already, so that not every poll repeats it */
};

/* pull.c */

/* Grows an array of the walk. */
extern int pull_make_room (void **array, size_t n, size_t *room, size_t element);

/* NULL (out of memory) without a message. */
extern char *pull_child_path (const char *folder, const char *name);

/* Remembers what went wrong: the first thing, unless another ended the walk. */
extern void pull_spoil (struct pull *pull, enum cloud_result result, const char *sentence);

/* Whether there is no point in asking for anything else. */
extern bool pull_ends (const struct pull *pull);

/* Puts a folder on the walk; path is taken.  above: index of the visit to the folder above it. */
extern int pull_add_visit (struct pull *pull, int64_t id, char *path, size_t above, int depth, const char *old_token,
                           const char *new_token, bool known);

/* Sends one request, if there is room for another; the listing that arrives carries index as its folder.  1 if it was
 * sent, 0 if there is no room. */
extern int pull_send (struct pull *pull, const char *path, int depth, size_t index);

/* Waits for listings that are worth a transaction; NULL when nothing is in flight any more.  more: others wait to be
 * sent. */
extern struct listing *pull_take_arrived (struct pull *pull, bool more);

/* push_clock, or 0. */
extern uint64_t pull_clock (struct pull *pull);

/* pull-apply.c */

/* Around changes of the catalog: one transaction, and one revision if merge.changed was set in between.  ok: as in db_end. */
extern int pull_begin (struct pull *pull);
extern int pull_end (struct pull *pull, int ok);

/* Applies the good listing of a visit's folder; in a transaction. */
extern int pull_apply_listing (struct pull *pull, const struct listing *listing, size_t visit);

/* Moves to a visit's folder what its listing shows, and what was elsewhere.  Asks the remote, so not in a
 * transaction. */
extern int pull_apply_moves (struct pull *pull, const struct listing *listing, size_t visit);

/* Whether an item was moved at the remote, and is left where it was for this walk. */
extern bool pull_is_kept (const struct pull *pull, int64_t item);

/* pull-missing.c */

/* Remembers an item that the listing of its folder no longer shows. */
extern int pull_add_missing (struct pull *pull, const struct catalog_item *known, size_t visit);

/* Asks for each of them, and drops those that are gone. */
extern void pull_confirm_missing (struct pull *pull);

/* pull-tokens.c */

/* Whether a folder whose token is as it was need not be looked at. */
extern bool pull_tokens_believed (const struct pull *pull);

/* After a walk that saw everything: learns from it, and keeps the tokens of folders that were listed whole. */
extern int pull_keep_tokens (struct pull *pull);

#endif /* CLOUDSHARE_PULL_PRIVATE_H */
