/* SPDX-License-Identifier: BSD-3-Clause */
/* A hash from ids (positive numbers) to indexes: header-only, open addressing. */

#ifndef CLOUDSHARE_IDMAP_H
#define CLOUDSHARE_IDMAP_H

#include <stdint.h>
#include <stdlib.h>

#define IDMAP_NONE SIZE_MAX

struct idmap {
  struct {
    int64_t id;
    size_t value;
  } *slots;
  size_t n, room;              /* room is a power of two, or 0 */
};

static inline size_t
idmap_slot (const struct idmap *map, int64_t id)
{
  size_t i = ((uint64_t) id * UINT64_C (0x9e3779b97f4a7c15)) >> 20 & (map->room - 1);

  while (map->slots[i].id != 0 && map->slots[i].id != id)
    i = (i + 1) & (map->room - 1);
  return i;
}

static inline size_t
idmap_get (const struct idmap *map, int64_t id)
{
  size_t i;

  if (map->n == 0)
    return IDMAP_NONE;
  i = idmap_slot (map, id);
  return map->slots[i].id == id ? map->slots[i].value : IDMAP_NONE;
}

/* Adds or replaces.  -1 if there is no memory. */
static inline int
idmap_put (struct idmap *map, int64_t id, size_t value)
{
  size_t i;

  if (map->n * 2 >= map->room) {
    const struct idmap old = *map;

    map->room = old.room ? old.room * 2 : 64;
    map->slots = calloc (map->room, sizeof *map->slots);
    if (map->slots == NULL) {
      *map = old;
      return -1;
    }
    for (size_t k = 0; k < old.room; ++k)
      if (old.slots[k].id != 0)
        map->slots[idmap_slot (map, old.slots[k].id)] = old.slots[k];
    free (old.slots);
  }
  i = idmap_slot (map, id);
  map->n += map->slots[i].id == 0;
  map->slots[i].id = id;
  map->slots[i].value = value;
  return 0;
}

static inline void
idmap_free (struct idmap *map)
{
  free (map->slots);
}

#endif /* CLOUDSHARE_IDMAP_H */
