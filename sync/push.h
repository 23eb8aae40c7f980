/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: the journal -> the remote.
 *
 *   push = push_start (db, blobs, cache, cloud, health, &config)     its thread
 *   push_ring (push)               the journal has something new
 *   push_stop (push)               ends requests in flight (after cloud_stop), joins
 *
 * Parents before children, one request per item at a time, different items side by side, nothing below a folder that
 * is being moved.  Before a request is sent, its intent (version, hash) is durable, so that a process which died, or
 * an answer that was lost, is told from somebody else's change afterwards by looking.  A request that failed waits by
 * itself (back-off) and stops nobody else; nothing is ever given up.
 */

#ifndef CLOUDSHARE_PUSH_H
#define CLOUDSHARE_PUSH_H

#include <stdbool.h>
#include <stdint.h>

struct blobs;
struct cache;
struct cloud;
struct db;
struct health;
struct push;

struct push_config {
  unsigned parallel;           /* requests side by side */
  void (*catalog_changed) (void *opaque);   /* the catalog has a new revision: who shows it should look */
  void *opaque;
};

/* All borrowed.  NULL after one message. */
extern struct push *push_start (struct db *db, struct blobs *blobs, struct cache *cache, struct cloud *cloud,
                                struct health *health, const struct push_config *config);
extern void push_ring (struct push *push);
extern void push_stop (struct push *push);

/* ---- echo: for pull ---- */

/* A number that grows; take it before a listing is asked for. */
extern uint64_t push_clock (struct push *push);

/* Whether a request of ours about that name in that folder (the catalog's id) was under way at that clock or ended
 * after it: what a listing says of it is neither old nor new.  push may be NULL: false. */
extern bool push_touched (struct push *push, int64_t folder, const char *name, uint64_t since);

#endif /* CLOUDSHARE_PUSH_H */
