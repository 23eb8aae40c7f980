/* SPDX-License-Identifier: BSD-3-Clause */
/* A file allocation table, computed from the extent map. */

#include <config.h>

#include <string.h>

#include "fat.h"
#include "le.h"
#include "map.h"
#include "piece.h"

struct window {
  uint8_t *buf;
  size_t n;
  uint64_t offset;
};

static void
put_entry (const struct window *w, uint64_t cluster, uint32_t value)
{
  const le32 entry = cpu_to_le32 (value);

  piece_copy (w->buf, w->n, w->offset, cluster * sizeof entry, &entry, sizeof entry);
}

/* Entries of clusters [cluster, end), each naming the one after it. */
static void
put_run (const struct window *w, uint64_t cluster, uint64_t end)
{
  /* At most the first and the last are cut by the window's edges. */
  if (cluster < end && cluster * sizeof (le32) < w->offset) {
    put_entry (w, cluster, cluster + 1);
    cluster++;
  }
  if (cluster < end && end * sizeof (le32) > w->offset + w->n) {
    put_entry (w, end - 1, end);
    end--;
  }

  for (; cluster < end; cluster++) {
    const le32 entry = cpu_to_le32 (cluster + 1);

    memcpy (w->buf + (cluster * sizeof entry - w->offset), &entry, sizeof entry);
  }
}

void
fat_read (const struct map *map, const struct fat_style *style, void *buf, size_t n, uint64_t offset)
{
  const struct window w = { buf, n, offset };
  const uint64_t begin = offset / sizeof (le32), end = (offset + n + 3) / sizeof (le32);

  memset (buf, 0, n);
  put_entry (&w, 0, style->entry_0);
  put_entry (&w, 1, style->entry_1);
  if (begin > UINT32_MAX)
    return;

  for (size_t i = map_find (map, begin); i < map->n && map->extents[i].first < end; i++) {
    const struct extent *e = &map->extents[i];
    const uint64_t last = (uint64_t) e->first + e->count - 1;

    if (style->only_fat_chain && !e->fat_chain)
      continue;
    put_run (&w, e->first > begin ? e->first : begin, last < end ? last : end);
    if (last < end)
      put_entry (&w, last, style->end_of_chain);
  }
}
