/* SPDX-License-Identifier: BSD-3-Clause */
/* The extent map of one disk at one generation: which clusters hold what.
 *
 * A sorted array, immutable once built, shared by reference count: NBD threads read it without a lock, the publisher
 * makes a new one beside it and swaps pointers.  Every extent is a contiguous run of clusters, because everything that
 * we lay out is contiguous; clusters of no extent are free and read as zeros.
 *
 *   map = map_new (&geometry, generation, n)
 *   map->extents[i] = ... for all i, ascending
 *   map_seal (map)            checks the invariants, counts; the map is read-only from here
 *   map_ref / map_unref       from any thread
 */

#ifndef CLOUDSHARE_MAP_H
#define CLOUDSHARE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_file;
struct geometry;

enum extent_kind {
  EXTENT_FILE,    /* bytes of one version, through the cache */
  EXTENT_DIR,     /* a rendered directory, in a blob of ours */
  EXTENT_BITMAP,  /* exFAT's allocation bitmap: computed */
  EXTENT_UPCASE,  /* exFAT's up-case table: constant */
};

struct extent {
  uint32_t first;          /* first cluster, 2 or higher */
  uint32_t count;          /* clusters, at least 1 */
  uint64_t bytes;          /* bytes of content, at most count clusters; the rest reads as zeros */
  union {
    struct cache_file *file;     /* EXTENT_FILE */
    uint64_t blob_offset;        /* EXTENT_DIR: where in the blob store the rendered bytes are */
  };
  uint8_t kind;            /* enum extent_kind */
  bool fat_chain;          /* exFAT: has a chain in the FAT (root directory, bitmap, up-case table) */
};

struct map {
  const struct geometry *geometry;   /* belongs to the disk, outlives all maps */
  uint64_t generation;
  uint64_t used;           /* clusters in extents */
  uint32_t next_free;      /* one past the highest cluster in use, or 2 */
  int refs;                /* atomic */
  size_t n;
  struct extent extents[];
};

/* NULL after one message if there is no memory.  One reference, the caller's. */
extern struct map *map_new (const struct geometry *geometry, uint64_t generation, size_t n);

/* Aborts if extents are out of order, overlap or reach past the disk: such a map is a bug of ours, never input. */
extern void map_seal (struct map *map);

extern struct map *map_ref (struct map *map);
extern void map_unref (struct map *map);

/* Index of the extent that holds the cluster, or of the first one after it, or map->n. */
extern size_t map_find (const struct map *map, uint32_t cluster);

#endif /* CLOUDSHARE_MAP_H */
