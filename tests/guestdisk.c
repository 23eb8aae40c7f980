/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk in memory with an empty root directory, and a parser of it. */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guestdisk.h"
#include "le.h"

const struct format *const formats[2] = { &format_fat32, &format_exfat };
int messages;
uint64_t seed;

void
count_message (enum msg_level level, const char *text)
{
  messages++;
}

uint64_t
draw (uint64_t below)
{
  seed = seed * 6364136223846793005 + 1442695040888963407;
  return (seed >> 20) % below;
}

struct geometry g;
uint8_t *disk;
struct parse *parse;
uint64_t reads, read_bytes;
bool reads_fail;

static int
read_disk (void *opaque, void *buf, size_t n, uint64_t offset)
{
  if (reads_fail) {
    memset (buf, 0xee, n);
    msg_error ("as told");
    return -1;
  }
  ASSERT (offset <= g.disk_bytes && n <= g.disk_bytes - offset);
  memcpy (buf, disk + offset, n);
  reads++;
  read_bytes += n;
  return 0;
}

void
make_disk (const struct format *format, enum partitioning style, uint64_t bytes, uint64_t root_bytes)
{
  struct map *map;
  size_t n;

  g = (struct geometry) { .format = format, .volume_serial = 0xcafe1234, .label = "CLOUD" };
  ck_assert_int_eq (partition_plan (&g, style, bytes), 0);
  ck_assert_int_eq (format->plan (&g, root_bytes), 0);
  disk = mmap (NULL, g.disk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ck_assert (disk != MAP_FAILED);

  map = map_new (&g, 1, 1 + FORMAT_OWN_EXTENTS);
  n = format->own_extents (&g, map->extents);
  map->extents[n++] = (struct extent) {
    .first = g.root_first, .count = g.root_clusters, .bytes = 64, .kind = EXTENT_DIR, .fat_chain = true,
  };
  map->n = n;
  map_seal (map);
  partition_read (&g, disk, g.volume_start, 0);
  partition_read (&g, disk + g.volume_start + g.volume_bytes, g.disk_bytes - g.volume_start - g.volume_bytes,
                  g.volume_start + g.volume_bytes);
  format->read_boot (&g, map, disk + g.volume_start, g.fat_start - g.volume_start, 0);
  for (unsigned i = 0; i < g.fats; i++)
    format->read_fat (&g, map, disk + g.fat_start + i * g.fat_bytes, g.fat_bytes, 0);
  if (g.bitmap_clusters)
    format->read_meta (&g, map, EXTENT_BITMAP, disk + cluster_to_byte (&g, g.bitmap_first), (g.clusters + 7) / 8, 0);
  map_unref (map);

  parse = parse_new (&g, read_disk, NULL);
  ck_assert_ptr_nonnull (parse);
  reads = read_bytes = 0;
}

void
free_disk (void)
{
  parse_free (parse);
  munmap (disk, g.disk_bytes);
}

void
set_fat_copy (unsigned copy, uint32_t cluster, uint32_t entry)
{
  const le32 value = cpu_to_le32 (entry);

  memcpy (disk + g.fat_start + copy * g.fat_bytes + (uint64_t) cluster * 4, &value, sizeof value);
}

void
set_bit (uint32_t cluster, bool allocated)
{
  uint8_t *const byte = disk + cluster_to_byte (&g, g.bitmap_first) + (cluster - 2) / 8;
  const uint8_t bit = 1 << (cluster - 2) % 8;

  *byte = allocated ? *byte | bit : *byte & ~bit;
}

void
set_fat (uint32_t cluster, uint32_t entry)
{
  for (unsigned i = 0; i < g.fats; i++)
    set_fat_copy (i, cluster, entry);
  if (g.bitmap_clusters)
    set_bit (cluster, entry != 0);
}

uint32_t
heap_cluster (uint32_t n)
{
  return g.root_first + g.root_clusters + n;
}

int
run_suite (Suite *suite)
{
  SRunner *runner = srunner_create (suite);
  int failed;

  msg_set_sink (count_message);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
