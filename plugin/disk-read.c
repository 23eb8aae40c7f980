/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk's bytes: clip to the region, switch on what it is, go on.
 *
 *   0            volume_start            fat_start       heap_start                    volume end      disk end
 *   | partition  | boot sectors, FSInfo  | FATs | (gap)  | clusters: extents or zeros  | (gap)         | partition |
 */

#include <config.h>

#include <string.h>
#include <sys/types.h>

#include "blobs.h"
#include "cache.h"
#include "disk-private.h"
#include "format.h"
#include "map.h"
#include "msg.h"
#include "partition.h"

/* So many files that stand side by side, on the disk and in the cache, are read at once. */
#define MERGE_FILES 64

/* A reader that goes through small files one after the other is about to want the next ones. */
#define SMALL_FILE (UINT64_C (1) << 20)
#define AHEAD_FILES 32

static uint64_t
heap_end (const struct geometry *g)
{
  return g->heap_start + (uint64_t) g->clusters * g->cluster_bytes;
}

static uint64_t
extent_start (const struct geometry *g, const struct extent *extent)
{
  return cluster_to_byte (g, extent->first);
}

static uint64_t
extent_end (const struct geometry *g, const struct extent *extent)
{
  return extent_start (g, extent) + (uint64_t) extent->count * g->cluster_bytes;
}

/* Reads over several complete files at once, where they stand side by side in the blob store just as on the disk: what lies
 * between them was never written in the store and reads as zeros, as it must.  Returns how many bytes it read, 0 if
 * the files are not like that, -1 on errors. */
static ssize_t
read_merged (struct disk *disk, const struct map *map, size_t i, void *buf, size_t n, uint64_t offset)
{
  const struct geometry *g = map->geometry;
  unsigned evictions[MERGE_FILES];
  const uint64_t base = cache_position (map->extents[i].file) - extent_start (g, &map->extents[i]);
  const size_t first = i;
  uint64_t end = offset;

  for (; i < map->n && i - first < MERGE_FILES && end < offset + n; ++i) {
    const struct extent *extent = &map->extents[i];

    if (extent->kind != EXTENT_FILE || !cache_is_complete (extent->file) ||
        (i > first && extent_start (g, extent) != end) ||
        cache_position (extent->file) - extent_start (g, extent) != base)
      break;
    evictions[i - first] = cache_evictions (disk->cache, extent->file);
    end = extent_end (g, extent);
  }
  if (i - first < 2)
    return 0;
  if (end > offset + n)
    end = offset + n;
  if (blobs_read (disk->data, buf, end - offset, base + offset) == -1) {
    msg_error ("disk %s: the cache's blob file cannot be read: %m", disk->name);
    return -1;
  }
  for (size_t k = first; k < i; ++k)
    if (!cache_is_complete (map->extents[k].file) ||
        cache_evictions (disk->cache, map->extents[k].file) != evictions[k - first])
      return 0;
  return end - offset;
}

/* Reads of files that are not here yet, in the order in which they stand: fetches the next ones as well. */
static void
prefetch_files (struct disk *disk, const struct map *map, size_t i)
{
  for (size_t k = i + 1; k < map->n && k <= i + AHEAD_FILES; ++k) {
    const struct extent *extent = &map->extents[k];

    if (extent->kind == EXTENT_FILE && extent->bytes <= SMALL_FILE && !cache_is_complete (extent->file))
      cache_prefetch (disk->cache, extent->file, 0, extent->bytes);
  }
}

/* A file that was fetched before its neighbours says that somebody goes through them. */
static bool
neighbours_are_here (const struct map *map, size_t i)
{
  for (size_t k = i; k > 0 && i - k < 2; --k)
    if (map->extents[k - 1].kind != EXTENT_FILE || !cache_is_complete (map->extents[k - 1].file))
      return false;
  return i >= 2;
}

/* n bytes at offset, all within one extent; -1 on errors. */
static int
read_extent (struct disk *disk, const struct map *map, size_t i, void *buf, size_t n, uint64_t offset)
{
  const struct geometry *g = map->geometry;
  const struct extent *extent = &map->extents[i];
  const uint64_t within = offset - extent_start (g, extent);
  size_t content = within >= extent->bytes ? 0 : extent->bytes - within < n ? extent->bytes - within : n;
  int r = 0;

  switch (extent->kind) {
  case EXTENT_FILE:
    if (content == 0)
      break;
    if (!cache_is_complete (extent->file) && extent->bytes <= SMALL_FILE && neighbours_are_here (map, i))
      prefetch_files (disk, map, i);
    r = cache_read (disk->cache, extent->file, buf, content, within);
    break;
  case EXTENT_DIR:
    if (content > 0 && blobs_read (disk->store, buf, content, extent->blob_offset + within) == -1) {
      msg_error ("disk %s: a folder cannot be read from the cache: %m", disk->name);
      r = -1;
    }
    break;
  default:
    content = n;
    g->format->read_meta (g, map, extent->kind, buf, n, within);
  }
  memset ((char *) buf + content, 0, n - content);
  return r;
}

static int
read_heap (struct disk *disk, const struct map *map, char *buf, size_t n, uint64_t offset)
{
  const struct geometry *g = map->geometry;
  size_t i = map_find (map, byte_to_cluster (g, offset));

  while (n > 0) {
    const struct extent *extent = i < map->n ? &map->extents[i] : NULL;
    size_t len = n;

    if (extent == NULL || extent_start (g, extent) > offset) {
      if (extent && extent_start (g, extent) - offset < len)
        len = extent_start (g, extent) - offset;
      memset (buf, 0, len);
    }
    else {
      ssize_t merged = 0;

      if (extent->kind == EXTENT_FILE && extent_end (g, extent) - offset < len)
        merged = read_merged (disk, map, i, buf, len, offset);
      if (merged == -1)
        return -1;
      if (merged > 0)
        len = merged;
      else {
        if (extent_end (g, extent) - offset < len)
          len = extent_end (g, extent) - offset;
        if (read_extent (disk, map, i, buf, len, offset) == -1)
          return -1;
      }
      while (i < map->n && extent_end (g, &map->extents[i]) <= offset + len)
        i++;
    }
    buf += len;
    n -= len;
    offset += len;
  }
  return 0;
}

/* Where the region that holds offset ends. */
static uint64_t
region_end (const struct geometry *g, uint64_t offset)
{
  const uint64_t borders[] = {
    g->volume_start, g->fat_start, g->fat_start + g->fats * g->fat_bytes, g->heap_start, heap_end (g),
    g->volume_start + g->volume_bytes,
  };

  for (size_t i = 0; i < sizeof borders / sizeof borders[0]; ++i)
    if (offset < borders[i])
      return borders[i];
  return g->disk_bytes;
}

int
disk_read (struct disk *disk, const struct map *map, void *to, size_t n, uint64_t offset)
{
  const struct geometry *g = map->geometry;
  char *buf = to;

  while (n > 0) {
    const uint64_t end = region_end (g, offset);
    size_t len = end - offset < n ? end - offset : n;

    if (offset >= g->heap_start && offset < heap_end (g)) {
      if (read_heap (disk, map, buf, len, offset) == -1)
        return -1;
    }
    else if (offset < g->volume_start || offset >= g->volume_start + g->volume_bytes)
      partition_read (g, buf, len, offset);
    else if (offset >= g->fat_start && offset < g->fat_start + g->fats * g->fat_bytes) {
      const uint64_t within = (offset - g->fat_start) % g->fat_bytes;

      if (g->fat_bytes - within < len)
        len = g->fat_bytes - within;
      g->format->read_fat (g, map, buf, len, within);
    }
    else if (offset >= heap_end (g))
      memset (buf, 0, len);
    else
      g->format->read_boot (g, map, buf, len, offset - g->volume_start);
    buf += len;
    n -= len;
    offset += len;
  }
  return 0;
}

void
disk_prefetch (struct disk *disk, const struct map *map, size_t n, uint64_t offset)
{
  const struct geometry *g = map->geometry;
  const uint64_t end = offset + n;
  size_t i;

  if (offset < g->heap_start)
    offset = g->heap_start;
  if (offset >= heap_end (g) || offset >= end)
    return;
  for (i = map_find (map, byte_to_cluster (g, offset)); i < map->n && extent_start (g, &map->extents[i]) < end; ++i) {
    const struct extent *extent = &map->extents[i];
    const uint64_t start = extent_start (g, extent);
    const uint64_t from = offset > start ? offset - start : 0;

    if (extent->kind == EXTENT_FILE && from < extent->bytes)
      cache_prefetch (disk->cache, extent->file, from, end - start - from);
  }
}

uint64_t
disk_run (struct disk *disk, const struct map *map, uint64_t n, uint64_t offset, bool *ret_hole)
{
  const struct geometry *g = map->geometry;
  uint64_t end = region_end (g, offset);

  *ret_hole = false;
  if (offset >= g->heap_start && offset < heap_end (g)) {
    const size_t i = map_find (map, byte_to_cluster (g, offset));
    const struct extent *extent = i < map->n ? &map->extents[i] : NULL;

    if (extent && extent_start (g, extent) <= offset)
      end = extent_end (g, extent);
    else {
      *ret_hole = true;
      if (extent)
        end = extent_start (g, extent);
    }
  }
  else if (offset >= g->fat_start && offset < g->fat_start + g->fats * g->fat_bytes) {
    /* The part of a FAT behind the last cluster in use is zeros: most of it, on a disk with much free space. */
    const uint64_t fat = offset - (offset - g->fat_start) % g->fat_bytes;
    const uint64_t used = fat + ((uint64_t) map->next_free * 4 + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;

    *ret_hole = offset >= used;
    end = offset >= used || used > fat + g->fat_bytes ? fat + g->fat_bytes : used;
  }
  else if (offset >= heap_end (g) && offset < g->volume_start + g->volume_bytes)
    *ret_hole = true;
  return end - offset < n ? end - offset : n;
}
