/* SPDX-License-Identifier: BSD-3-Clause */
/* The extent map: a sorted array, read-only once sealed, shared by reference count. */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "geometry.h"
#include "map.h"
#include "msg.h"

struct map *
map_new (const struct geometry *geometry, uint64_t generation, size_t n)
{
  struct map *map = NULL;

  if (n <= (SIZE_MAX - sizeof *map) / sizeof map->extents[0])
    map = calloc (1, sizeof *map + n * sizeof map->extents[0]);
  if (map == NULL) {
    msg_error ("no memory for an extent map of %zu extents", n);
    return NULL;
  }

  map->geometry = geometry;
  map->generation = generation;
  map->next_free = 2;
  map->refs = 1;
  map->n = n;
  return map;
}

/* A map that breaks its invariants would show one item's bytes in another: stopping is the lesser harm. */
static void
map_check (const struct map *map, size_t i, uint64_t free_from)
{
  const struct extent *e = &map->extents[i];
  const struct geometry *g = map->geometry;

  if (e->count > 0 && e->first >= free_from && (uint64_t) e->first + e->count <= (uint64_t) g->clusters + 2 &&
      e->bytes <= (uint64_t) e->count * g->cluster_bytes)
    return;

  msg_error ("bug: extent %zu of %zu (clusters %" PRIu32 "+%" PRIu32 ", %" PRIu64 " bytes) does not fit: "
             "first allowed cluster %" PRIu64 ", clusters on disk %" PRIu32, i, map->n, e->first, e->count, e->bytes,
             free_from, g->clusters);
  abort ();
}

void
map_seal (struct map *map)
{
  uint64_t free_from = 2;

  map->used = 0;
  for (size_t i = 0; i < map->n; i++) {
    map_check (map, i, free_from);
    free_from = (uint64_t) map->extents[i].first + map->extents[i].count;
    map->used += map->extents[i].count;
  }
  map->next_free = free_from;
}

struct map *
map_ref (struct map *map)
{
  __atomic_add_fetch (&map->refs, 1, __ATOMIC_RELAXED);
  return map;
}

void
map_unref (struct map *map)
{
  if (map && __atomic_sub_fetch (&map->refs, 1, __ATOMIC_ACQ_REL) == 0)
    free (map);
}

size_t
map_find (const struct map *map, uint32_t cluster)
{
  size_t low = 0, high = map->n;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const struct extent *e = &map->extents[middle];

    if ((uint64_t) e->first + e->count <= cluster)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
