/* SPDX-License-Identifier: BSD-3-Clause */
/* The cache: contents that were made here.  What is their own is in the blob store, and nowhere else until the remote has
 * it, so it is not evicted before. */

#include <config.h>

#include "cache-private.h"
#include "cleanup.h"
#include "db.h"

int
cache_adopt (struct db *db, int64_t version, uint64_t size, const uint64_t *bits)
{
  const struct cache_file file = { .size = size };

  for (size_t i = 0; i < chunk_count (&file); ++i) {
    const uint64_t there = bits ? bits[i] & chunk_full (&file, i) : chunk_full (&file, i);

    if (there && db_run (db_bind (db_stmt (db, "INSERT OR REPLACE INTO cached_chunk (version, chunk, bits) VALUES (?, ?, ?)"),
                                  version, (int64_t) i, (int64_t) there)) == -1)
      return -1;
  }
  return 0;
}

int
cache_is_whole (struct db *db, int64_t version, uint64_t size)
{
  const struct cache_file file = { .size = size };
  sqlite3_stmt *stmt = db_stmt (db, "SELECT chunk, bits FROM cached_chunk WHERE version = ?");
  size_t whole = 0;
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  while ((r = db_row (stmt)) == 1) {
    const size_t i = sqlite3_column_int64 (stmt, 0);

    whole += i < chunk_count (&file) && (uint64_t) sqlite3_column_int64 (stmt, 1) == chunk_full (&file, i);
  }
  return r == -1 ? -1 : whole == chunk_count (&file);
}

int
cache_adopted (struct cache *cache, int64_t version, uint64_t size, uint64_t position, const uint64_t *bits)
{
  struct cache_file *file;

  if (size == 0)
    return 0;
  file = cache_file (cache, version, size, position);
  if (file == NULL)
    return -1;
  atomic_store (&file->only_here, true);
  pthread_mutex_lock (&cache->lock);
  file->has_own = true;
  pthread_mutex_unlock (&cache->lock);
  if (bits == NULL) {
    mark_present (cache, file, 0, size);
    return 0;
  }
  for (uint64_t block = 0; block < block_count (file); ++block) {
    uint64_t end = block;

    while (end < block_count (file) && (bits[end / 64] >> end % 64 & 1))
      end++;
    if (end > block)
      mark_present (cache, file, block * CACHE_BLOCK, end == block_count (file) ? size : end * CACHE_BLOCK);
    block = end;
  }
  return 0;
}

void
cache_settle (struct cache *cache, int64_t version)
{
  LOCK_FOR_SCOPE (&cache->lock);
  struct cache_file *file = find_file (cache, version);

  if (file)
    atomic_store (&file->only_here, false);
}
