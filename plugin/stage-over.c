/* SPDX-License-Identifier: BSD-3-Clause */
/* Staging a file that a guest changed in places. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "engine.h"
#include "geometry.h"
#include "kin.h"
#include "map.h"
#include "overlay.h"
#include "stage-over.h"

#define PIECE (1 << 20)

/* Files below this are copied whole if they are here: their sums are worth more. */
#define SMALL_FILE (UINT64_C (1) << 20)

/* So many ranges are more trouble than they save. */
#define MOST_RANGES 100000

/* A version of the file, and what of it is here. */
struct former {
  int64_t version;             /* 0: none */
  uint64_t size, position;
  struct cache_file *file;     /* pinned: nothing of it is evicted meanwhile */
  int64_t origin;              /* own: what it has over that, 0: none */
  struct ranges own;
  bool written;                /* own was written to its run */
  bool unsent;
};

struct staging {
  const struct stage_file *what;
  struct cache *cache;
  struct blobs *blobs;
  struct former shown, known;  /* what the disk shows, and what the view knows: often the same */
  struct kin_stage *ret;
  struct ranges there;         /* own, and what was copied */
  char *buf, *old;
  int read;
};

/* ---- versions ---- */

static int
load_former (struct staging *staging, int64_t version, struct former *ret)
{
  struct db *db = engine_db (staging->what->engine);
  int64_t origin;
  int r;

  db_read_begin (db);
  r = catalog_version_run (db, version, &ret->size, &ret->position);
  if (r == 1 && (r = kin_read (db, version, &ret->origin, &ret->own, &ret->written)) != -1) {
    struct ranges own = { 0 };

    r = kin_read_unsent (db, version, &origin, &own);
    ret->unsent = r == 1;
    ranges_free (&own);
    r = r == -1 ? -1 : 1;
  }
  db_read_end (db);
  if (r != 1 || ret->size == 0)
    return r == -1 ? -1 : 0;
  ret->file = cache_pin (staging->cache, version, ret->size, ret->position);
  ret->version = ret->file ? version : 0;
  return ret->file ? 1 : -1;
}

static void
free_former (struct staging *staging, struct former *former)
{
  if (former->file)
    cache_unpin (staging->cache, former->file);
  ranges_free (&former->own);
}

/* ---- what is whose ---- */

/* The version that the disk shows where the file begins; 0: none. */
static int64_t
shown_version (const struct stage_file *file)
{
  const struct geometry *g = file->map->geometry;
  const uint32_t cluster = byte_to_cluster (g, file->runs[0].start);
  const size_t i = map_find (file->map, cluster);
  const struct extent *extent = i < file->map->n ? &file->map->extents[i] : NULL;

  return extent && extent->kind == EXTENT_FILE && extent->first == cluster && extent->bytes > 0
         ? cache_version (extent->file) : 0;
}

/* How many of n bytes at a place of the disk are those of that version at an offset, or are not. */
static uint64_t
mapped_run (const struct staging *staging, uint64_t start, uint64_t offset, uint64_t n, bool *ret_mapped)
{
  const struct map *map = staging->what->map;
  const struct geometry *g = map->geometry;
  const size_t i = map_find (map, byte_to_cluster (g, start));
  const struct extent *extent = i < map->n ? &map->extents[i] : NULL;
  uint64_t first, end;

  *ret_mapped = false;
  if (extent == NULL)
    return n;
  first = cluster_to_byte (g, extent->first);
  if (first > start)
    return first - start < n ? first - start : n;
  end = first + (uint64_t) extent->count * g->cluster_bytes;
  if (extent->kind == EXTENT_FILE && extent->file == staging->shown.file && start - first == offset && offset < extent->bytes) {
    *ret_mapped = true;
    end = first + extent->bytes;
  }
  return end - start < n ? end - start : n;
}

/* What the guest wrote, and all that stands elsewhere. */
static int
add_written (struct staging *staging)
{
  const struct stage_file *file = staging->what;
  struct ranges *own = &staging->ret->own;
  uint64_t at = 0;

  for (size_t i = 0; i < file->n_runs && at < file->size; ++i) {
    const uint64_t end = at + file->runs[i].bytes < file->size ? at + file->runs[i].bytes : file->size;
    uint64_t start = file->runs[i].start;

    while (at < end) {
      bool is_shown, present = true;
      uint64_t n = mapped_run (staging, start, at, end - at, &is_shown);

      if (is_shown)
        n = overlay_run (file->overlay, n, start, &present);
      if (present && (ranges_add (own, at, n) == -1 || own->n > MOST_RANGES))
        return -1;
      at += n;
      start += n;
    }
  }
  return at == file->size ? 0 : -1;
}

static int
add_end (struct ranges *set, uint64_t from, uint64_t size)
{
  return from < size ? ranges_add (set, from, size - from) : 0;
}

/* All bytes that are not known to be the origin's; and whether they can be counted from the known version. */
static int
find_own (struct staging *staging)
{
  const struct former *shown = &staging->shown, *known = &staging->known;
  const struct stage_file *file = staging->what;
  struct kin_stage *ret = staging->ret;
  bool related;

  if (add_written (staging) == -1 || add_end (&ret->own, file->valid, file->size) == -1 ||
      add_end (&ret->own, shown->size, file->size) == -1)
    return -1;
  ret->origin = shown->version;
  if (shown->unsent) {
    ret->origin = shown->origin;
    if (ranges_add_all (&ret->own, &shown->own) == -1)
      return -1;
  }
  related = known->version && (known->version == shown->version || known->origin == ret->origin);
  ret->known = related ? known->version : 0;
  if (related && known->version != shown->version &&
      (ranges_add_all (&ret->own, &known->own) == -1 || add_end (&ret->own, known->size, file->size) == -1))
    return -1;
  /* A shorter file has something of its own: it is not the other one. */
  if ((file->size < shown->size || (related && file->size < known->size)) &&
      add_end (&ret->own, (file->size - 1) / SECTOR_SIZE * SECTOR_SIZE, file->size) == -1)
    return -1;
  /* Without any range nothing would be known of it, and all of it be fetched. */
  if (related && file->size < known->size &&
      add_end (&ret->changed, (file->size - 1) / SECTOR_SIZE * SECTOR_SIZE, file->size) == -1)
    return -1;
  ranges_cut (&ret->own, file->size);
  return 0;
}

/* What is not here is never fetched only to be copied.  Else a sum of the whole is worth more than a few bytes. */
static bool
is_worth_it (const struct staging *staging)
{
  const uint64_t size = staging->what->size, own = ranges_bytes (&staging->ret->own);

  if (own == size)
    return false;
  return !cache_is_complete (staging->shown.file) || (size >= SMALL_FILE && own <= size / 2);
}

/* ---- bytes ---- */

static bool
is_zero (const char *buf, size_t n)
{
  return n > 0 && buf[0] == 0 && memcmp (buf, buf + 1, n - 1) == 0;
}

/* The disk's bytes at an offset of the file, as the guest sees them. */
static int
read_file (struct staging *staging, char *buf, size_t n, uint64_t offset)
{
  const struct stage_file *file = staging->what;
  uint64_t at = 0;

  for (size_t i = 0; i < file->n_runs && n > 0; ++i) {
    const uint64_t end = at + file->runs[i].bytes;

    if (offset < end) {
      const size_t here = end - offset < n ? end - offset : n;
      const size_t valid = offset >= file->valid ? 0 : file->valid - offset < here ? file->valid - offset : here;

      if (valid > 0 && (staging->read = file->read (file->opaque, buf, valid, file->runs[i].start + (offset - at))) != 0)
        return -1;
      memset (buf + valid, 0, here - valid);
      buf += here;
      offset += here;
      n -= here;
    }
    at = end;
  }
  return n == 0 ? 0 : -1;
}

/* Bytes of the known version, if they are here: how many at the offset are, or are not.  Its own are also once the remote has it:
 * else all that a guest wrote while its disk showed the same would be sent with each change. */
static int
read_known (struct staging *staging, size_t n, uint64_t offset, size_t *ret_n, bool *ret_here)
{
  const struct former *known = &staging->known;
  const uint64_t block = CACHE_BLOCK - offset % CACHE_BLOCK;

  *ret_n = n;
  *ret_here = false;
  if (staging->ret->known == 0 || offset >= known->size)
    return 0;
  if (known->size - offset < n)
    n = known->size - offset;
  *ret_n = block < n ? block : n;
  *ret_here = cache_has (known->file, offset, *ret_n);
  if (*ret_here)
    return blobs_read (staging->blobs, staging->old, *ret_n, known->position + offset);
  if (!known->written)
    return 0;
  *ret_n = ranges_run (&known->own, *ret_n, offset, ret_here);
  if (!*ret_here)
    return 0;
  if (blobs_read (staging->blobs, staging->old, *ret_n, known->position + offset) == -1)
    return -1;
  *ret_here = cache_has_own (staging->cache, known->file, offset, *ret_n);
  return 0;
}

/* Which sectors of what was read are not the known version's. */
static int
compare (struct staging *staging, const char *buf, size_t n, uint64_t offset)
{
  while (n > 0) {
    size_t here;
    bool is_here;

    if (read_known (staging, n, offset, &here, &is_here) == -1)
      return -1;
    for (size_t at = 0; at < here;) {
      const size_t in_sector = SECTOR_SIZE - (offset + at) % SECTOR_SIZE;
      const size_t piece = in_sector < here - at ? in_sector : here - at;

      if ((!is_here || memcmp (buf + at, staging->old + at, piece) != 0) &&
          ranges_add (&staging->ret->changed, offset + at, piece) == -1)
        return -1;
      at += piece;
    }
    buf += here;
    offset += here;
    n -= here;
  }
  return 0;
}

static int
copy_own (struct staging *staging)
{
  const struct ranges *own = &staging->ret->own;

  for (size_t i = 0; i < own->n; ++i)
    for (uint64_t at = 0; at < own->list[i].length; at += PIECE) {
      const uint64_t offset = own->list[i].offset + at, rest = own->list[i].length - at;
      const size_t n = rest < PIECE ? rest : PIECE;

      if (read_file (staging, staging->buf, n, offset) == -1 || compare (staging, staging->buf, n, offset) == -1)
        return -1;
      /* What was never written in the store reads as zeros. */
      if (!is_zero (staging->buf, n) &&
          blobs_write (staging->blobs, staging->buf, n, staging->what->position + offset) == -1)
        return -1;
    }
  return ranges_add_all (&staging->there, own);
}

static int
note_copied (void *opaque, uint64_t offset, uint64_t count)
{
  struct staging *staging = opaque;

  return ranges_add (&staging->there, offset, count);
}

/* What is not there yet, and is in the cache as another version's. */
static int
copy_from (struct staging *staging, const struct former *former)
{
  const uint64_t size = staging->what->size < former->size ? staging->what->size : former->size;
  struct ranges before = { 0 };
  int r = ranges_add_all (&before, &staging->there);

  for (uint64_t at = 0; at < size && r == 0;) {
    bool there;
    const uint64_t n = ranges_run (&before, size - at, at, &there);

    if (!there)
      r = cache_copy (staging->cache, former->file, at, n, staging->what->position + at, note_copied, staging);
    at += n;
  }
  ranges_free (&before);
  return r;
}

static int
copy_clean (struct staging *staging)
{
  if (copy_from (staging, &staging->shown) == -1)
    return -1;
  return staging->ret->known && staging->known.version != staging->shown.version ? copy_from (staging, &staging->known) : 0;
}

static int
find_blocks (struct staging *staging)
{
  const uint64_t size = staging->what->size, blocks = (size + CACHE_BLOCK - 1) / CACHE_BLOCK;
  const struct ranges *there = &staging->there;
  uint64_t end;
  char last;

  staging->ret->bits = calloc ((blocks + 63) / 64, sizeof *staging->ret->bits);
  if (staging->ret->bits == NULL)
    return -1;
  for (uint64_t block = 0; block < blocks; ++block) {
    const uint64_t start = block * CACHE_BLOCK, n = size - start < CACHE_BLOCK ? size - start : CACHE_BLOCK;
    bool inside;

    if (ranges_run (there, n, start, &inside) == n && inside)
      staging->ret->bits[block / 64] |= UINT64_C (1) << block % 64;
  }
  /* The last byte is written, be it zero: by it a start knows that all of it is there. */
  end = staging->what->position + there->list[there->n - 1].offset + there->list[there->n - 1].length;
  last = 0;
  if (blobs_reach (staging->blobs, end))
    return 0;
  return blobs_write (staging->blobs, &last, 1, end - 1);
}

enum stage_over
stage_over (const struct stage_file *file, struct kin_stage *ret, int *ret_read)
{
  struct staging staging = {
    .what = file, .ret = ret, .cache = engine_cache (file->engine), .blobs = engine_blobs (file->engine),
  };
  enum stage_over result = STAGE_WHOLE;
  int64_t version;

  memset (ret, 0, sizeof *ret);
  *ret_read = 0;
  version = file->n_runs > 0 ? shown_version (file) : 0;
  if (version == 0 || file->known <= 0 || load_former (&staging, version, &staging.shown) != 1 ||
      load_former (&staging, file->known, &staging.known) == -1 || find_own (&staging) == -1)
    goto out;
  if (ret->own.n == 0) {
    result = ret->known && staging.known.size == file->size ? STAGE_SAME : STAGE_WHOLE;
    goto out;
  }
  if (!is_worth_it (&staging))
    goto out;
  staging.buf = malloc (PIECE);
  staging.old = malloc (PIECE);
  result = STAGE_FAILED;
  if (staging.buf && staging.old && copy_own (&staging) == 0) {
    if (ret->known && ret->changed.n == 0 && staging.known.size == file->size)
      result = STAGE_SAME;
    else if (copy_clean (&staging) == 0 && find_blocks (&staging) == 0)
      result = STAGE_OVER;
  }
out:
  *ret_read = staging.read;
  free_former (&staging, &staging.shown);
  free_former (&staging, &staging.known);
  ranges_free (&staging.there);
  free (staging.buf);
  free (staging.old);
  return result;
}
