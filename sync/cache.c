/* SPDX-License-Identifier: BSD-3-Clause */
/* The cache's front: which bytes are there, and reading them. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache-private.h"
#include "cleanup.h"
#include "db.h"
#include "msg.h"

struct cache *
cache_open (struct db *db, struct blobs *blobs, const struct cache_config *config)
{
  struct cache *cache = calloc (1, sizeof *cache);

  if (cache == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  cache->db = db;
  cache->blobs = blobs;
  cache->config = *config;
  pthread_mutex_init (&cache->lock, NULL);
  pthread_cond_init (&cache->background_cond, NULL);
  pthread_cond_init (&cache->keeper_cond, NULL);
  pthread_cond_init (&cache->evicted_cond, NULL);
  if (keeper_load (cache) == -1) {
    cache_close (cache);
    return NULL;
  }
  return cache;
}

int
cache_start (struct cache *cache, const char *db_path, struct cloud *cloud, struct health *health)
{
  int err;

  cache->cloud = cloud;
  cache->health = health;
  cache->stopping = false;
  cache->reader = db_open_reader (db_path);
  if (cache->reader == NULL)
    return -1;
  err = pthread_create (&cache->keeper, NULL, keeper_thread, cache);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  cache->started = true;
  return 0;
}

void
cache_stop (struct cache *cache)
{
  if (!cache->started)
    return;
  pthread_mutex_lock (&cache->lock);
  cache->stopping = true;
  pthread_cond_broadcast (&cache->keeper_cond);
  pthread_cond_broadcast (&cache->background_cond);
  pthread_mutex_unlock (&cache->lock);
  pthread_join (cache->keeper, NULL);
  free_idle_streams (cache, true);
  keeper_tidied (cache);
  db_close (cache->reader);
  cache->reader = NULL;
  cache->started = false;
}

static void
free_file (struct cache_file *file)
{
  if (file->size > CACHE_CHUNK)
    free (file->many);
  free (file);
}

void
cache_close (struct cache *cache)
{
  if (cache == NULL)
    return;
  for (size_t i = 0; i < HASH_SIZE; ++i) {
    while (cache->hash[i]) {
      struct cache_file *file = cache->hash[i];

      cache->hash[i] = file->hash_next;
      free_file (file);
    }
  }
  free (cache->dirty);
  free (cache->verify);
  pthread_mutex_destroy (&cache->lock);
  pthread_cond_destroy (&cache->background_cond);
  pthread_cond_destroy (&cache->keeper_cond);
  pthread_cond_destroy (&cache->evicted_cond);
  free (cache);
}

uint64_t
block_count (const struct cache_file *file)
{
  return (file->size + CACHE_BLOCK - 1) / CACHE_BLOCK;
}

struct cache_file *
find_file (struct cache *cache, int64_t version)
{
  struct cache_file *file = cache->hash[version % HASH_SIZE];

  while (file && file->version != version)
    file = file->hash_next;
  return file;
}

struct cache_file *
cache_file (struct cache *cache, int64_t version, uint64_t size, uint64_t position)
{
  LOCK_FOR_SCOPE (&cache->lock);
  struct cache_file *file = find_file (cache, version);

  if (file)
    return file;
  file = calloc (1, sizeof *file);
  if (file == NULL)
    goto no_memory;
  file->version = version;
  file->size = size;
  file->position = position;
  atomic_init (&file->missing, block_count (file));
  if (size > CACHE_CHUNK) {
    file->many = calloc (chunk_count (file), sizeof *file->many);
    if (file->many == NULL)
      goto no_memory;
  }
  file->hash_next = cache->hash[version % HASH_SIZE];
  cache->hash[version % HASH_SIZE] = file;
  return file;

no_memory:
  free (file);
  msg_error ("out of memory");
  return NULL;
}

struct cache_file *
cache_pin (struct cache *cache, int64_t version, uint64_t size, uint64_t position)
{
  struct cache_file *file = cache_file (cache, version, size, position);

  /* It may have been discarded between the two. */
  if (file) {
    LOCK_FOR_SCOPE (&cache->lock);
    file = find_file (cache, version);
    if (file)
      file->pins++;
  }
  return file;
}

void
cache_unpin (struct cache *cache, struct cache_file *file)
{
  LOCK_FOR_SCOPE (&cache->lock);

  file->pins--;
}

int64_t
cache_version (const struct cache_file *file)
{
  return file->version;
}

uint64_t
cache_position (const struct cache_file *file)
{
  return file->position;
}

bool
cache_is_complete (struct cache_file *file)
{
  return atomic_load_explicit (&file->complete, memory_order_acquire);
}

bool
range_is_present (struct cache_file *file, uint64_t start, uint64_t end)
{
  if (cache_is_complete (file))
    return true;
  for (uint64_t block = start / CACHE_BLOCK; block * CACHE_BLOCK < end; ++block) {
    const uint64_t bits = atomic_load_explicit (&file_chunk (file, block / 64)->bits, memory_order_acquire);

    if (!(bits >> block % 64 & 1))
      return false;
  }
  return true;
}

uint64_t
present_bytes (const struct cache_file *file, size_t chunk, uint64_t bits)
{
  const uint64_t blocks = __builtin_popcountll (bits);
  const uint64_t last = (chunk_bytes (file, chunk) - 1) / CACHE_BLOCK;
  uint64_t bytes = blocks * CACHE_BLOCK;

  if (bits >> last & 1)
    bytes -= (last + 1) * CACHE_BLOCK - chunk_bytes (file, chunk);
  return bytes;
}

void
queue_dirty (struct cache *cache, struct cache_file *file)
{
  if (file->queued_dirty)
    return;
  if (cache->n_dirty == cache->dirty_room) {
    const size_t room = cache->dirty_room * 2 + 64;
    struct cache_file **dirty = realloc (cache->dirty, room * sizeof *dirty);

    if (dirty == NULL) {
      cache->untidy = true;
      return;                  /* its blocks go without rows: at worst they are fetched again after a restart */
    }
    cache->dirty = dirty;
    cache->dirty_room = room;
  }
  cache->dirty[cache->n_dirty++] = file;
  file->queued_dirty = true;
}

uint64_t
clear_chunk (struct cache *cache, struct cache_file *file, size_t i)
{
  uint64_t bits;

  file->has_own = false;
  atomic_store (&file->complete, false);
  bits = atomic_exchange (&file_chunk (file, i)->bits, 0);
  atomic_fetch_add (&file->missing, __builtin_popcountll (bits));
  atomic_fetch_add (&file->evictions, 1);
  atomic_fetch_sub (&cache->cached_bytes, present_bytes (file, i, bits));
  return bits;
}

void
mark_present (struct cache *cache, struct cache_file *file, uint64_t start, uint64_t end)
{
  uint64_t block = (start + CACHE_BLOCK - 1) / CACHE_BLOCK;
  const uint64_t last = end == file->size ? (end + CACHE_BLOCK - 1) / CACHE_BLOCK : end / CACHE_BLOCK;
  uint64_t added = 0;
  uint32_t now;

  if (block >= last)
    return;
  now = atomic_fetch_add (&cache->clock, 1) + 1;
  while (block < last) {
    struct chunk *chunk = file_chunk (file, block / 64);
    const uint64_t in_chunk = 64 - block % 64 < last - block ? 64 - block % 64 : last - block;
    const uint64_t mask = (in_chunk == 64 ? UINT64_MAX : (UINT64_C (1) << in_chunk) - 1) << block % 64;
    const uint64_t before = atomic_fetch_or_explicit (&chunk->bits, mask, memory_order_release);

    added += present_bytes (file, block / 64, mask & ~before);
    atomic_fetch_sub (&file->missing, __builtin_popcountll (mask & ~before));
    atomic_store (&chunk->stamp, now);
    atomic_store (&chunk->dirty, 1);
    block += in_chunk;
  }
  added += atomic_fetch_add (&cache->cached_bytes, added);

  LOCK_FOR_SCOPE (&cache->lock);
  if (cache->config.max_bytes && added > cache->config.max_bytes && !cache->over) {
    cache->over = true;
    pthread_cond_signal (&cache->keeper_cond);
  }
  queue_dirty (cache, file);
  /* Under the lock, as eviction is: otherwise it could come between the look and the mark. */
  if (!file->complete && atomic_load (&file->missing) == 0) {
    atomic_store_explicit (&file->complete, true, memory_order_release);
    if (file->size > CACHE_CHUNK && file->stream && file->stream->source.checksum)
      queue_verification (cache, file->version);
  }
}

static void
stamp_range (struct cache *cache, struct cache_file *file, uint64_t start, uint64_t end)
{
  const uint32_t now = atomic_load_explicit (&cache->clock, memory_order_relaxed);

  for (size_t i = start / CACHE_CHUNK; i * CACHE_CHUNK < end; ++i) {
    struct chunk *chunk = file_chunk (file, i);

    /* Most reads find this moment's stamp, and leave the cache line to the other processors. */
    if (atomic_load_explicit (&chunk->stamp, memory_order_relaxed) != now)
      atomic_store_explicit (&chunk->stamp, now, memory_order_relaxed);
  }
}

unsigned
cache_evictions (struct cache *cache, struct cache_file *file)
{
  stamp_range (cache, file, 0, file->size < CACHE_CHUNK ? file->size : CACHE_CHUNK);
  return atomic_load_explicit (&file->evictions, memory_order_acquire);
}

#define MOST_TURNS 10

int
cache_read (struct cache *cache, struct cache_file *file, void *buf, size_t count, uint64_t offset)
{
  /* The remote takes a version between two looks, and the next one after it: but not for ever. */
  unsigned turns = 0;

  for (;;) {
    const unsigned evictions = atomic_load_explicit (&file->evictions, memory_order_acquire);

    if ((turns > 0 || atomic_load (&file->only_here) || atomic_load (&file->superseded)) &&
        !range_is_present (file, offset, offset + count)) {
      const int r = read_from_kin (cache, file, buf, count, offset);

      if (r != 1)
        return r;
    }
    /* A file that is being fetched takes the slow way also for bytes that are there, so that read-ahead goes on. */
    if ((!cache_is_complete (file) && atomic_load_explicit (&file->stream, memory_order_relaxed)) ||
        !range_is_present (file, offset, offset + count)) {
      if (fetch_and_wait (cache, file, offset, count) == -1) {
        if (errno != ESTALE)
          return -1;
        if (++turns == MOST_TURNS) {
          errno = EIO;
          return -1;
        }
        continue;
      }
    }
    stamp_range (cache, file, offset, offset + count);
    if (blobs_read (cache->blobs, buf, count, file->position + offset) == -1) {
      const int err = errno;

      msg_error ("the cache's blob file cannot be read: %s", strerror (err));
      errno = EIO;
      return -1;
    }
    atomic_thread_fence (memory_order_acquire);
    if (atomic_load_explicit (&file->evictions, memory_order_acquire) == evictions)
      return 0;
  }
}

int
cache_prefetch (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count)
{
  if (offset >= file->size || !may_be_fetched (cache, file))
    return 0;
  if (count > file->size - offset)
    count = file->size - offset;
  if (range_is_present (file, offset, offset + count))
    return 0;
  return prefetch_range (cache, file, offset, count);
}

bool
cache_wait_background (struct cache *cache, unsigned n)
{
  LOCK_FOR_SCOPE (&cache->lock);

  while (cache->background >= n && !cache->stopping)
    pthread_cond_wait (&cache->background_cond, &cache->lock);
  return !cache->stopping;
}

void
cache_supersede (struct cache *cache, int64_t version)
{
  LOCK_FOR_SCOPE (&cache->lock);
  struct cache_file *file = find_file (cache, version);

  if (file)
    atomic_store (&file->superseded, true);
}

void
cache_discard (struct cache *cache, int64_t version, uint64_t position, uint64_t size)
{
  struct cache_file **link, *file;
  bool busy;

  pthread_mutex_lock (&cache->lock);
  link = &cache->hash[version % HASH_SIZE];
  while (*link && (*link)->version != version)
    link = &(*link)->hash_next;
  file = *link;
  /* The keeper or a late read-ahead may still hold it: then the object stays, empty, until the process ends. */
  busy = file && (file->stream || file->pins || file->queued_dirty || cache->keeper_busy);
  if (file && !busy)
    *link = file->hash_next;
  for (size_t i = 0; file && i < chunk_count (file); ++i)
    clear_chunk (cache, file, i);
  pthread_mutex_unlock (&cache->lock);

  if (file && !busy)
    free_file (file);
  if (size > 0)
    blobs_punch (cache->blobs, position, size);
}

void
cache_get_stats (struct cache *cache, struct cache_stats *ret)
{
  ret->cached_bytes = atomic_load (&cache->cached_bytes);
  ret->fetched_bytes = atomic_load (&cache->fetched_bytes);
  ret->requests = atomic_load (&cache->requests);
}
