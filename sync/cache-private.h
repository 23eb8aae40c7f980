/* SPDX-License-Identifier: BSD-3-Clause */
/* What cache.c (presence, reading), cache-fetch.c (getting what is missing) and cache-keeper.c (rows, eviction,
 * verification) share.  Nobody else includes this. */

#ifndef CLOUDSHARE_CACHE_PRIVATE_H
#define CLOUDSHARE_CACHE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache.h"
#include "catalog.h"
#include "cloud.h"

struct fetch;
struct kin_source;

/* 64 blocks of a file. */
struct chunk {
  _Atomic uint64_t bits;       /* block i of the chunk is in the blob store.  Set by fetches (release), cleared by eviction */
  _Atomic uint32_t stamp;      /* when it was last read or fetched, by the cache's clock */
  _Atomic uint32_t dirty;      /* bits and row differ */
};

/* One version's bytes.
 *
 * Invariants: complete implies that all bits are set.  Eviction clears complete, then bits, then raises evictions, and only
 * then punches: a reader that sees the same number before and after its read has read bytes of the version. */
struct cache_file {
  int64_t version;
  uint64_t size, position;
  struct cache_file *hash_next;         /* under the lock */
  struct stream *_Atomic stream;        /* changed under the lock; NULL while nobody fetches */
  union {
    struct chunk one;                   /* files of one chunk */
    struct chunk *many;
  };
  _Atomic uint64_t missing;             /* blocks without their bit */
  atomic_uint evictions;
  atomic_bool complete;
  atomic_bool superseded;
  atomic_bool only_here;                /* the remote does not have it yet: never evicted */
  bool has_own;                         /* under the lock: of its own ranges (kin.h) nothing was taken away since they were
                                           written; where a request is in flight they are being written over */
  unsigned pins;                        /* under the lock: not to be freed, nor evicted */
  bool queued_dirty;                    /* under the lock: it is in cache->dirty */
  bool complained;                      /* under the lock: a failure was said and none succeeded since */
  bool evicting;                        /* under the lock: holes are being punched; no stream may begin */
  bool bad;                             /* under the lock: its bytes do not match the remote's checksum */
};

/* A reader that sleeps until its range is there. */
struct waiter {
  uint64_t start, end;
  pthread_cond_t cond;
  enum cloud_result failed;             /* CLOUD_OK while nothing failed */
  char sentence[256];
  struct waiter *next;
};

/* A file that is being fetched.  All under the cache's lock. */
struct stream {
  struct cache_file *file;
  struct catalog_source source;
  unsigned renewals;                    /* of source */
  uint64_t expected;                    /* where a sequential reader reads next */
  uint64_t run;                         /* bytes read in a row */
  uint64_t planned;                     /* up to here it was asked for ahead */
  uint64_t window;                      /* how far ahead to fetch; 0 while reads look random */
  struct fetch *fetches;                /* in flight */
  unsigned in_flight;
  unsigned users;                       /* threads inside cache_read; keeps it alive */
  struct waiter *waiters;
  uint64_t idle_since;                  /* ms */
  struct stream *next;
};

#define HASH_SIZE 65536

struct cache {
  struct db *db;
  struct blobs *blobs;
  struct cache_config config;
  struct cloud *cloud;
  struct health *health;
  struct db *reader;                    /* for paths: never waits for a writer */

  /* Protects all below, and what says so above.  Never held over I/O or a call to the provider. */
  pthread_mutex_t lock;
  struct cache_file *hash[HASH_SIZE];
  struct stream *streams;
  struct cache_file **dirty;            /* files with chunks to record */
  size_t n_dirty, dirty_room;
  int64_t *verify;                      /* versions that became complete and have a checksum to check */
  size_t n_verify, verify_room;
  unsigned background;                  /* requests in flight that nobody waits for */
  pthread_cond_t background_cond;
  pthread_cond_t keeper_cond;
  bool stopping;
  pthread_cond_t evicted_cond;          /* some file's evicting went false */
  bool keeper_busy;                     /* the keeper holds pointers to files: none may be freed */
  bool over;                            /* there is more than max_bytes: the keeper should look */
  bool untidy;                          /* the blob store may have bytes that are not on record */
  bool want_room;                       /* the host's disk was full: evict something */

  atomic_uint clock;                    /* orders uses: goes on with each fetch, and with each second */
  _Atomic uint64_t cached_bytes, fetched_bytes, requests;
  pthread_t keeper;
  bool started;
};

static inline size_t
chunk_count (const struct cache_file *file)
{
  return (file->size + CACHE_CHUNK - 1) / CACHE_CHUNK;
}

static inline struct chunk *
file_chunk (struct cache_file *file, size_t i)
{
  return file->size <= CACHE_CHUNK ? &file->one : &file->many[i];
}

/* Bytes of the file in the chunk. */
static inline uint64_t
chunk_bytes (const struct cache_file *file, size_t i)
{
  const uint64_t start = i * CACHE_CHUNK;

  return file->size - start < CACHE_CHUNK ? file->size - start : CACHE_CHUNK;
}

/* The chunk's bits when all of it is there. */
static inline uint64_t
chunk_full (const struct cache_file *file, size_t i)
{
  const uint64_t blocks = (chunk_bytes (file, i) + CACHE_BLOCK - 1) / CACHE_BLOCK;

  return blocks == 64 ? UINT64_MAX : (UINT64_C (1) << blocks) - 1;
}

/* cache.c */
extern bool range_is_present (struct cache_file *file, uint64_t start, uint64_t end);
extern uint64_t block_count (const struct cache_file *file);
extern struct cache_file *find_file (struct cache *cache, int64_t version);
extern uint64_t present_bytes (const struct cache_file *file, size_t chunk, uint64_t bits);

/* Takes a chunk's bits away, in the order that cache_read relies on, and returns them; lock held. */
extern uint64_t clear_chunk (struct cache *cache, struct cache_file *file, size_t chunk);

/* Sets bits of blocks that lie wholly in [start, end) (the file's last block ends with the file); lock not held. */
extern void mark_present (struct cache *cache, struct cache_file *file, uint64_t start, uint64_t end);

/* Remembers that the file has chunks to record; lock held. */
extern void queue_dirty (struct cache *cache, struct cache_file *file);

/* cache-fetch.c */
extern void cache_sleep_ms (unsigned ms);
extern int fetch_and_wait (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count);
extern int prefetch_range (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count);
extern void free_idle_streams (struct cache *cache, bool all);

/* Whether a chunk must not be evicted now, because somebody fetches into it or is about to read it; lock held. */
extern bool chunk_is_busy (struct cache_file *file, size_t chunk);

/* Whether a request for any of these bytes is in flight; lock held. */
extern bool is_being_fetched (const struct cache_file *file, uint64_t start, uint64_t end);

/* cache-kin.c */

/* Reads what the remote has only as a part of another version.  0, -1 with errno, or 1: it has this one, to be fetched. */
extern int read_from_kin (struct cache *cache, struct cache_file *file, void *buf, size_t count, uint64_t offset);

/* Whether the remote has the version; only_here is said late of some, and not at all of others. */
extern bool may_be_fetched (struct cache *cache, struct cache_file *file);

/* kin_find by the reader; and whether its answer says that another version, or own ranges, are to be read. */
extern int find_kin (struct cache *cache, int64_t version, struct kin_source *ret);
extern bool is_kin (int where, const struct kin_source *source);

/* At start: versions that the remote does not have; and what of them is to be kept that no row of a block names. */
extern int load_kin (struct cache *cache);
extern int keep_kin (struct cache *cache, int (*keep) (void *opaque, uint64_t start, uint64_t end), void *opaque);

/* cache-keeper.c */
extern int keeper_schema (struct db *db);
extern int keeper_load (struct cache *cache);

/* After the keeper's thread has ended: says on record that the blob store holds nothing that is not on record. */
extern void keeper_tidied (struct cache *cache);
extern void *keeper_thread (void *cache);
extern void queue_verification (struct cache *cache, int64_t version);   /* lock held */

#endif /* CLOUDSHARE_CACHE_PRIVATE_H */
