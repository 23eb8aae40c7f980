/* SPDX-License-Identifier: BSD-3-Clause */
/* What all formats share. */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "format.h"
#include "msg.h"

const struct format *
format_by_name (const char *name)
{
  static const struct format *const formats[] = { &format_fat32, &format_exfat, &format_raw };

  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
    if (strcmp (name, formats[i]->name) == 0)
      return formats[i];
  return NULL;
}

int
format_plan_root (struct geometry *g, uint32_t first, uint64_t root_bytes)
{
  const uint64_t most = g->format->max_dir / g->cluster_bytes;
  uint64_t needed = bytes_to_clusters (g, root_bytes);
  uint64_t room;

  if (needed == 0)
    needed = 1;
  room = needed + (needed / 4 > 1 ? needed / 4 : 1);
  if (room > most)
    room = most > needed ? most : needed;

  if (first - 2 + room > g->clusters) {
    msg_error ("a volume of %" PRIu64 " bytes is too small: its root directory alone needs %" PRIu64 ": choose a "
               "larger size", g->volume_bytes, room * g->cluster_bytes);
    return -1;
  }

  g->root_first = first;
  g->root_clusters = room;
  return 0;
}
