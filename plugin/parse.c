/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: the volume, and the windows through which FATs and bitmap are read. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "fat32.h"
#include "format.h"
#include "le.h"
#include "msg.h"
#include "parse-private.h"
#include "partition.h"

struct parse *
parse_new (const struct geometry *geometry, parse_read read, void *opaque)
{
  struct parse *parse = calloc (1, sizeof *parse);

  if (parse == NULL) {
    msg_error ("no memory to look at what a guest wrote");
    return NULL;
  }
  parse->geometry = geometry;
  parse->format = geometry->format == &format_fat32 ? &parse_fat32 : &parse_exfat;
  parse->read = read;
  parse->opaque = opaque;
  return parse;
}

void
parse_free (struct parse *parse)
{
  free (parse);
}

void
parse_forget (struct parse *parse)
{
  for (unsigned area = 0; area < AREAS; area++)
    for (unsigned i = 0; i < WINDOWS; i++)
      parse->windows[area][i].valid = false;
}

static uint64_t
area_bytes (const struct geometry *g, enum area area)
{
  return area == AREA_BITMAP ? ((uint64_t) g->clusters + 7) / 8 : g->fat_bytes;
}

static uint64_t
area_start (const struct geometry *g, enum area area)
{
  switch (area) {
  case AREA_FAT: return g->fat_start;
  case AREA_FAT_COPY: return g->fat_start + g->fat_bytes;
  default: return cluster_to_byte (g, g->bitmap_first);
  }
}

const uint8_t *
parse_window (struct parse *parse, enum area area, uint64_t offset, size_t *ret_n)
{
  const uint64_t begin = offset - offset % WINDOW_BYTES, left = area_bytes (parse->geometry, area) - begin;
  const size_t n = left < WINDOW_BYTES ? left : WINDOW_BYTES;
  struct window *window = &parse->windows[area][begin / WINDOW_BYTES % WINDOWS];

  if (!window->valid || window->offset != begin) {
    window->valid = false;
    if (parse->read (parse->opaque, window->bytes, n, area_start (parse->geometry, area) + begin) == -1)
      return NULL;
    window->offset = begin;
    window->valid = true;
  }
  *ret_n = n - (offset - begin);
  return window->bytes + (offset - begin);
}

bool
parse_has_cluster (const struct parse *parse, uint32_t cluster)
{
  return cluster >= 2 && cluster - 2 < parse->geometry->clusters;
}

int
parse_fat_entry (struct parse *parse, enum area area, uint32_t cluster, uint32_t *ret)
{
  size_t n;
  const uint8_t *bytes = parse_window (parse, area, (uint64_t) cluster * sizeof (le32), &n);
  le32 entry;

  if (bytes == NULL)
    return -1;
  memcpy (&entry, bytes, sizeof entry);
  *ret = le32_to_cpu (entry) & parse->format->fat_mask;
  return 0;
}

int
parse_is_allocated (struct parse *parse, uint32_t cluster, bool *ret)
{
  uint32_t entry;

  *ret = false;
  if (!parse_has_cluster (parse, cluster))
    return 0;
  if (parse_fat_entry (parse, AREA_FAT, cluster, &entry) == -1)
    return -1;
  return parse->format->is_allocated (parse, cluster, entry, ret);
}

int
parse_volume (struct parse *parse, struct parsed_volume *ret)
{
  const struct geometry *const g = parse->geometry;
  uint8_t sector[SECTOR_SIZE];
  bool named;

  *ret = (struct parsed_volume) { .foreign = false };
  if (partition_names_volume (g, parse->read, parse->opaque, &named) == -1 ||
      parse->read (parse->opaque, sector, sizeof sector, g->volume_start) == -1)
    return -1;

  ret->why = named ? parse->format->check_boot (g, sector, &ret->dirty)
                   : "its partition table has no partition where the volume begins";
  ret->foreign = ret->why != NULL;
  /* Windows does not touch byte 65, but clears a bit of the FAT's second entry while it has the volume mounted. */
  if (!ret->foreign && g->format->has_aliases) {
    uint32_t entry;

    if (parse_fat_entry (parse, AREA_FAT, 1, &entry) == -1)
      return -1;
    ret->dirty |= (entry & FAT32_CLEAN) == 0;
  }
  return 0;
}
