/* SPDX-License-Identifier: BSD-3-Clause */
/* The format that is none: files' bytes one after the other, each from the beginning of a sector.  All of the disk is heap, and
 * a cluster is a sector; there are neither directories nor a FAT, so most verbs are never asked for. */

#include <config.h>

#include <inttypes.h>

#include "format.h"
#include "msg.h"

/* Clusters are numbered by 32 bits from 2 on; the highest numbers are left out, as in other formats. */
#define MOST_CLUSTERS (UINT32_MAX - 16)

/* No times are rendered. */
static int64_t
raw_zone (void)
{
  return 0;
}

static int
raw_plan (struct geometry *g, uint64_t root_bytes)
{
  if (g->volume_bytes / SECTOR_SIZE > MOST_CLUSTERS) {
    msg_error ("a raw disk of %" PRIu64 " bytes is more than it can have, which is a little less than 2 TiB", g->volume_bytes);
    return -1;
  }
  g->fat_start = g->heap_start = g->volume_start;
  g->fat_bytes = 0;
  g->fats = 0;
  g->cluster_bytes = SECTOR_SIZE;
  g->clusters = g->volume_bytes / SECTOR_SIZE;
  return 0;
}

static size_t
raw_own_extents (const struct geometry *g, struct extent ret[FORMAT_OWN_EXTENTS])
{
  return 0;
}

const struct format format_raw = {
  .name = "raw",
  .raw = true,
  .max_file = (uint64_t) MOST_CLUSTERS * SECTOR_SIZE,
  .max_volume = (uint64_t) MOST_CLUSTERS * SECTOR_SIZE,
  .zone = raw_zone,
  .plan = raw_plan,
  .own_extents = raw_own_extents,
};
