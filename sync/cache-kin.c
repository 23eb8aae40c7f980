/* SPDX-License-Identifier: BSD-3-Clause */
/* The cache: versions that share bytes with others (kin.h).  What is missing of a version that the remote does not have, or has
 * no more, is read from the one that it has. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache-private.h"
#include "cleanup.h"
#include "db.h"
#include "kin.h"
#include "msg.h"

/* A read leads to another, and that one maybe back, if the remote has taken a version meanwhile: but not for ever. */
#define MOST_LEVELS 8

/* What is nowhere may be so between two records of push: looked for so often, with a pause. */
#define GONE_LOOKS    10
#define GONE_PAUSE_MS 100

static __thread unsigned levels;

struct reader {
  struct cache *cache;
  struct cache_file *file, *other;     /* other: NULL if nobody has the rest */
  struct kin_source source;
};

int
find_kin (struct cache *cache, int64_t version, struct kin_source *ret)
{
  int where;

  db_read_begin (cache->reader);
  where = kin_find (cache->reader, version, ret);
  db_read_end (cache->reader);
  return where;
}

bool
is_kin (int where, const struct kin_source *source)
{
  return where == KIN_OTHER || (where == KIN_NOWHERE && source->own.n > 0);
}

static int
say_gone (struct cache *cache, struct cache_file *file)
{
  LOCK_FOR_SCOPE (&cache->lock);

  if (!file->complained)
    msg_error ("a part of a file that a guest changed is gone from %s before it was copied here: reading it fails",
               cache->cloud->identity);
  file->complained = true;
  errno = EIO;
  return -1;
}

/* Bytes of which none is in a block that is there.  ESTALE: nobody has them. */
static int
read_missing (struct reader *reader, char *buf, size_t n, uint64_t offset)
{
  while (n > 0) {
    bool inside;
    uint64_t run = ranges_run (&reader->source.own, n, offset, &inside);
    int r;

    if (inside)
      r = blobs_read (reader->cache->blobs, buf, run, reader->file->position + offset);
    else {
      run = ranges_run (&reader->source.differ, run, offset, &inside);
      if (inside || reader->other == NULL) {
        errno = ESTALE;
        return -1;
      }
      r = cache_read (reader->cache, reader->other, buf, run, offset);
    }
    if (r == -1)
      return -1;
    buf += run;
    offset += run;
    n -= run;
  }
  return 0;
}

/* Keeps a block that was read; its own ranges are there already, and nowhere else.  That it can't be kept is no failure. */
static void
keep_block (struct reader *reader, const char *buf, size_t n, uint64_t offset)
{
  const uint64_t begin = offset;

  for (size_t at = 0; at < n;) {
    bool inside;
    const uint64_t run = ranges_run (&reader->source.own, n - at, begin + at, &inside);

    if (!inside && blobs_write (reader->cache->blobs, buf + at, run, reader->file->position + begin + at) == -1)
      return;
    at += run;
  }
  mark_present (reader->cache, reader->file, begin, begin + n);
}

/* A part of one block. */
static int
read_block (struct reader *reader, char *buf, size_t n, uint64_t offset, char *room)
{
  const uint64_t start = offset - offset % CACHE_BLOCK;
  const uint64_t rest = reader->file->size - start;
  const size_t bytes = rest < CACHE_BLOCK ? rest : CACHE_BLOCK;
  bool own;

  if (n < bytes && ranges_run (&reader->source.own, n, offset, &own) == n && own)
    return read_missing (reader, buf, n, offset);
  if (range_is_present (reader->file, offset, offset + n))
    return blobs_read (reader->cache->blobs, buf, n, reader->file->position + offset);
  /* What the remote has no more is read through: what it has instead is kept with that. */
  if (!reader->source.unsent || reader->other == NULL)
    return read_missing (reader, buf, n, offset);
  if (read_missing (reader, room, bytes, start) == -1)
    return -1;
  keep_block (reader, room, bytes, start);
  memcpy (buf, room + (offset - start), n);
  return 0;
}

static int
read_blocks (struct reader *reader, char *buf, size_t n, uint64_t offset)
{
  CLEANUP_FREE char *room = malloc (CACHE_BLOCK);

  if (room == NULL) {
    errno = ENOMEM;
    return -1;
  }
  while (n > 0) {
    const uint64_t in_block = CACHE_BLOCK - offset % CACHE_BLOCK;
    const size_t piece = in_block < n ? in_block : n;

    if (read_block (reader, buf, piece, offset, room) == -1)
      return -1;
    buf += piece;
    offset += piece;
    n -= piece;
  }
  return 0;
}

static void
pin (struct cache *cache, struct cache_file *file)
{
  LOCK_FOR_SCOPE (&cache->lock);

  file->pins++;
}

bool
may_be_fetched (struct cache *cache, struct cache_file *file)
{
  struct kin_source source;
  int where;

  if (!atomic_load (&file->only_here))
    return true;
  if (cache_is_complete (file))
    return false;
  where = find_kin (cache, file->version, &source);
  kin_source_free (&source);
  if (where == KIN_ITSELF)
    atomic_store (&file->only_here, false);
  return where == KIN_ITSELF;
}

/* As read_from_kin; ESTALE: nobody has them now. */
static int
read_once (struct cache *cache, struct cache_file *file, void *buf, size_t count, uint64_t offset)
{
  struct reader reader = { .cache = cache, .file = file };
  int where, r = -1;

  /* Before it is known whether its own ranges are there: what is pinned is not evicted. */
  pin (cache, file);
  where = find_kin (cache, file->version, &reader.source);
  if (where == -1 || !is_kin (where, &reader.source) || levels == MOST_LEVELS) {
    r = where == -1 || levels == MOST_LEVELS ? -1 : 1;
    kin_source_free (&reader.source);
    cache_unpin (cache, file);
    errno = EIO;
    return r;
  }
  /* Who made it may not have come so far yet. */
  if (reader.source.unsent)
    atomic_store (&file->only_here, true);
  if (where == KIN_OTHER)
    reader.other = cache_pin (cache, reader.source.version, reader.source.size, reader.source.position);
  if (where == KIN_NOWHERE || reader.other) {
    levels++;
    r = read_blocks (&reader, buf, count, offset);
    levels--;
  }
  if (reader.other)
    cache_unpin (cache, reader.other);
  cache_unpin (cache, file);
  kin_source_free (&reader.source);
  return r;
}

/* Whether it is worth to look again, after a pause. */
static bool
may_come_back (struct cache *cache, const struct cache_file *file, unsigned looks)
{
  {
    LOCK_FOR_SCOPE (&cache->lock);

    if (file->complained || cache->stopping || looks >= GONE_LOOKS)
      return false;
  }
  if (cache->config.gives_up && cache->config.gives_up ())
    return false;
  cache_sleep_ms (GONE_PAUSE_MS);
  return true;
}

int
read_from_kin (struct cache *cache, struct cache_file *file, void *buf, size_t count, uint64_t offset)
{
  for (unsigned looks = 1;; ++looks) {
    const int r = read_once (cache, file, buf, count, offset);

    if (r != -1 || errno != ESTALE)
      return r;
    if (!may_come_back (cache, file, looks))
      return say_gone (cache, file);
  }
}

/* ---- for who makes versions, and sends them ---- */

bool
cache_has (struct cache_file *file, uint64_t offset, uint64_t count)
{
  return range_is_present (file, offset, offset + count);
}

bool
cache_has_own (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count)
{
  LOCK_FOR_SCOPE (&cache->lock);

  return file->has_own && !is_being_fetched (file, offset, offset + count);
}

int
cache_copy (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count, uint64_t position,
            int (*copied) (void *opaque, uint64_t offset, uint64_t count), void *opaque)
{
  const uint64_t end = offset + count;

  for (uint64_t at = offset; at < end;) {
    const unsigned evictions = atomic_load_explicit (&file->evictions, memory_order_acquire);
    const uint64_t chunk_end = (at / CACHE_CHUNK + 1) * CACHE_CHUNK < end ? (at / CACHE_CHUNK + 1) * CACHE_CHUNK : end;
    uint64_t stop = at;

    while (stop < chunk_end && range_is_present (file, stop, stop + 1))
      stop = (stop / CACHE_BLOCK + 1) * CACHE_BLOCK;
    if (stop > chunk_end)
      stop = chunk_end;
    if (stop == at) {
      at = (at / CACHE_BLOCK + 1) * CACHE_BLOCK;
      continue;
    }
    if (blobs_copy (cache->blobs, file->position + at, position + (at - offset), stop - at) == -1)
      return -1;
    atomic_thread_fence (memory_order_acquire);
    if (atomic_load_explicit (&file->evictions, memory_order_acquire) == evictions && copied (opaque, at, stop - at) == -1)
      return -1;
    at = stop;
  }
  return 0;
}

int
cache_fill (struct cache *cache, struct cache_file *file)
{
  CLEANUP_FREE char *buf = malloc (CACHE_BLOCK);

  if (buf == NULL) {
    errno = ENOMEM;
    return -1;
  }
  for (uint64_t at = 0; at < file->size; at += CACHE_BLOCK) {
    const size_t n = file->size - at < CACHE_BLOCK ? file->size - at : CACHE_BLOCK;

    if (range_is_present (file, at, at + n))
      continue;
    if (cache_read (cache, file, buf, n, at) == -1)
      return -1;
    if (!range_is_present (file, at, at + n)) {
      errno = ENOSPC;
      return -1;
    }
  }
  return cache_record (cache);
}

/* ---- loading ---- */

static int
load_unsent (struct cache *cache, int64_t version, bool *ret_lost)
{
  struct ranges own = { 0 };
  struct cache_file *file;
  uint64_t size, position, end;
  int64_t origin;
  bool superseded;
  int r = catalog_version_run (cache->db, version, &size, &position);

  *ret_lost = false;
  if (r != 1 || size == 0)
    return r == -1 ? -1 : 0;
  file = cache_file (cache, version, size, position);
  if (file == NULL || catalog_is_superseded (cache->db, version, &superseded) == -1 ||
      kin_read_unsent (cache->db, version, &origin, &own) == -1) {
    ranges_free (&own);
    return -1;
  }
  file->only_here = true;
  file->superseded = superseded;
  end = own.n ? own.list[own.n - 1].offset + own.list[own.n - 1].length : 0;
  *ret_lost = !blobs_reach (cache->blobs, position + end);
  file->has_own = !*ret_lost;
  ranges_free (&own);
  return 0;
}

/* Zeros must not pass for bytes that somebody took out of the cache folder. */
static int
lose (struct cache *cache, int64_t version)
{
  if (db_begin (cache->db) == -1)
    return -1;
  return db_end (cache->db, kin_lose (cache->db, version));
}

int
load_kin (struct cache *cache)
{
  int64_t version = 0;

  for (;;) {
    bool lost = false;
    int r;

    db_read_begin (cache->db);
    r = kin_next_unsent (cache->db, version, &version);
    if (r == 0 && version != 0)
      r = load_unsent (cache, version, &lost);
    db_read_end (cache->db);
    if (r == -1 || version == 0)
      return r;
    if (lost && lose (cache, version) == -1)
      return -1;
  }
}

int
keep_kin (struct cache *cache, int (*keep) (void *opaque, uint64_t start, uint64_t end), void *opaque)
{
  int64_t version = 0, origin;
  int r;

  db_read_begin (cache->db);
  while ((r = kin_next_unsent (cache->db, version, &version)) == 0 && version != 0) {
    struct ranges own = { 0 };
    uint64_t size, position = 0;

    r = catalog_version_run (cache->db, version, &size, &position);
    if (r == 1)
      r = kin_read_unsent (cache->db, version, &origin, &own);
    for (size_t i = 0; i < own.n && r != -1; ++i)
      r = keep (opaque, position + own.list[i].offset, position + own.list[i].offset + own.list[i].length);
    ranges_free (&own);
    if (r == -1)
      break;
  }
  db_read_end (cache->db);
  return r;
}
