/* SPDX-License-Identifier: BSD-3-Clause */
/* The cache: bytes of versions, fetched on demand, one copy however many read them.
 *
 *   cache = cache_open (db, blobs, &config)     loads what is on record
 *   cache_start (cache, db_path, cloud, health) starts its keeper; needs a started cloud
 *     file = cache_file (cache, version, size, position)
 *     cache_read (cache, file, buf, count, offset)
 *   cache_stop (cache)                          after cloud_stop: nothing is in flight
 *   cache_close (cache)
 *
 * Order on disk: bytes -> fdatasync -> row; and for eviction: row gone -> bytes gone.  So what the table says is cached
 * is on disk, whenever the process or the power stops; what is on disk without a row is fetched again.
 *
 * A file's bytes come in blocks (CACHE_BLOCK), recorded as one bit each; 64 blocks make a chunk, the unit of rows and of
 * eviction.  Only whole blocks of the one version that was asked for ever get their bit.
 *
 * Reading is lock-free where the bytes are there.  Thread-safe throughout.
 */

#ifndef CLOUDSHARE_CACHE_H
#define CLOUDSHARE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;
struct cache_file;
struct blobs;
struct cloud;
struct db;
struct health;

#define CACHE_BLOCK UINT64_C (65536)
#define CACHE_CHUNK (64 * CACHE_BLOCK)

struct cache_config {
  uint64_t max_bytes;      /* evict beyond this; 0: never */
  bool (*gives_up) (void); /* asked now and then by a thread that waits in cache_read: true ends the wait with EIO, because
                              the program wants to end, or nobody waits for the bytes any more; or NULL */
};

/* NULL after one message. */
extern struct cache *cache_open (struct db *db, struct blobs *blobs, const struct cache_config *config);

/* cloud and health are borrowed.  -1 after one message. */
extern int cache_start (struct cache *cache, const char *db_path, struct cloud *cloud, struct health *health);
extern void cache_stop (struct cache *cache);
extern void cache_close (struct cache *cache);

/* The object for a version: the same one for each call, valid until cache_discard of that version.  NULL after one
 * message (no memory).  Files of 0 bytes have none. */
extern struct cache_file *cache_file (struct cache *cache, int64_t version, uint64_t size, uint64_t position);

/* The same, and keeps it from being freed until cache_unpin, whatever becomes of the version. */
extern struct cache_file *cache_pin (struct cache *cache, int64_t version, uint64_t size, uint64_t position);
extern void cache_unpin (struct cache *cache, struct cache_file *file);

/* Which version it is. */
extern int64_t cache_version (const struct cache_file *file);

/* Where the file's bytes stand in the blob store; for reading over several files at once. */
extern uint64_t cache_position (const struct cache_file *file);

/* Reads within the file.  Fetches what is missing, reads ahead, waits.  -1 with errno (EIO, ENOMEM) after a message that
 * is said once a file and reason. */
extern int cache_read (struct cache *cache, struct cache_file *file, void *buf, size_t count, uint64_t offset);

/* Whether all of a range is there right now, as the blocks say. */
extern bool cache_has (struct cache_file *file, uint64_t offset, uint64_t count);

/* Whether bytes of a version's own ranges (kin.h), where they were written to its run, were right when they were read from the
 * blob store just before.  Also where their blocks are not there, and after the remote has got them, until they are evicted or
 * the process ends.  Pinned. */
extern bool cache_has_own (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count);

/* Copies those parts of a range that are there to another place of the blob store; calls copied for each, in order.  It can stop
 * early.  -1 with errno. */
extern int cache_copy (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count, uint64_t position,
                       int (*copied) (void *opaque, uint64_t offset, uint64_t count), void *opaque);

/* Makes all of a file present, if it can be had: waits for the cloud.  -1 with errno. */
extern int cache_fill (struct cache *cache, struct cache_file *file);

/* True if the whole file is there right now; it can be evicted meanwhile: cache_evictions tells. */
extern bool cache_is_complete (struct cache_file *file);

/* Marks the file as used, and returns a number that changes when any of its bytes is evicted: bytes read from the blob
 * store between two equal answers are right. */
extern unsigned cache_evictions (struct cache *cache, struct cache_file *file);

/* Starts fetching a range in the background, without waiting and without promise.  Returns how many requests it began. */
extern int cache_prefetch (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count);

/* Waits until fewer than n background requests are in flight, or the cache stops: then false. */
extern bool cache_wait_background (struct cache *cache, unsigned n);

/* Puts on record all that was fetched so far, as is done every few seconds anyway.  -1 after one message. */
extern int cache_record (struct cache *cache);

/* Says that a version is not its item's newest any more: it can't be fetched again, so it is not evicted. */
extern void cache_supersede (struct cache *cache, int64_t version);

/* A version that was made here, and whose bytes are in the blob store, synced: all of them, or, with bits, those blocks (an
 * array of chunks) and its own ranges (kin.h).  cache_adopt writes its rows, inside the transaction that makes it;
 * cache_adopted makes it readable, after the commit and before anybody is told of the version.  It is not evicted before
 * cache_settle says that the remote has it. */
extern int cache_adopt (struct db *db, int64_t version, uint64_t size, const uint64_t *bits);
extern int cache_adopted (struct cache *cache, int64_t version, uint64_t size, uint64_t position, const uint64_t *bits);
extern void cache_settle (struct cache *cache, int64_t version);

/* Whether all bytes of a version are on record; needs the database's lock.  1 or 0. */
extern int cache_is_whole (struct db *db, int64_t version, uint64_t size);

/* Forgets a version: cache_forget deletes its rows, inside the transaction that drops it; cache_discard gives back memory and
 * room, after the commit.  Nobody may use the file any more. */
extern int cache_forget (struct db *db, int64_t version);
extern void cache_discard (struct cache *cache, int64_t version, uint64_t position, uint64_t size);

/* Bytes on record as cached; needs the database's lock. */
extern int cache_recorded_bytes (struct db *db, uint64_t *ret);

struct cache_stats {
  uint64_t cached_bytes;
  uint64_t fetched_bytes;  /* since start */
  uint64_t requests;       /* since start */
};

extern void cache_get_stats (struct cache *cache, struct cache_stats *ret);

#endif /* CLOUDSHARE_CACHE_H */
