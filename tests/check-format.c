/* SPDX-License-Identifier: BSD-3-Clause */
/* FAT32 and exFAT: plans of all sizes; FAT, bitmap and boot sectors against slow models, at any alignment; directories;
 * and the extent map below them. */

#include <config.h>

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dir.h"
#include "exfat.h"
#include "fat32.h"
#include "format.h"
#include "msg.h"
#include "partition.h"
#include "upcase.h"

#define KIB ((uint64_t) 1 << 10)
#define MIB ((uint64_t) 1 << 20)
#define GIB ((uint64_t) 1 << 30)
#define TIB ((uint64_t) 1 << 40)
#define PIB ((uint64_t) 1 << 50)

static const struct format *const formats[] = { &format_fat32, &format_exfat };
static int messages;
static uint64_t seed = 1;

static void
count_message (enum msg_level level, const char *text)
{
  messages++;
}

static uint64_t
draw (uint64_t below)
{
  seed = seed * 6364136223846793005 + 1442695040888963407;
  return (seed >> 20) % below;
}

/* For loops of a million: check's own assertions each write to a file. */
#define ASSERT(condition)                          \
  do {                                             \
    if (!(condition))                              \
      ck_abort_msg ("%s", #condition);             \
  } while (0)

/* --- plans --- */

static const struct {
  const char *format;
  enum partitioning style;
  uint64_t disk_bytes;
  uint64_t root_bytes;
  uint32_t cluster_bytes;      /* 0: refused */
  uint32_t root_clusters;
} plans[] = {
  { "fat32", PARTITION_NONE, 32 * MIB, 32, 0 },
  { "fat32", PARTITION_NONE, 33 * MIB, 32, 512, 2 },
  { "fat32", PARTITION_MBR, 64 * MIB, 32, 512, 2 },
  { "fat32", PARTITION_GPT, 100 * MIB, 32, 1024, 2 },
  { "fat32", PARTITION_MBR, 200 * MIB, 0, 2048, 2 },
  { "fat32", PARTITION_MBR, 512 * MIB, 4096, 4096, 2 },
  { "fat32", PARTITION_MBR, 512 * MIB, 4097, 4096, 3 },
  { "fat32", PARTITION_MBR, 512 * MIB, 400 * KIB, 4096, 125 },
  { "fat32", PARTITION_MBR, 512 * MIB, 1800 * KIB, 4096, 512 },      /* spare room ends at 2 MiB */
  { "fat32", PARTITION_MBR, 512 * MIB, 2048 * KIB, 4096, 512 },
  { "fat32", PARTITION_NONE, 8 * GIB, 32, 4096, 2 },
  { "fat32", PARTITION_NONE, 8 * GIB + 512, 32, 8192, 2 },
  { "fat32", PARTITION_NONE, 16 * GIB, 32, 8192, 2 },
  { "fat32", PARTITION_NONE, 32 * GIB, 32, 16384, 2 },
  { "fat32", PARTITION_MBR, 33 * GIB, 32, 32768, 2 },
  { "fat32", PARTITION_MBR, 2 * TIB, 32, 32768, 2 },
  { "fat32", PARTITION_NONE, 2 * TIB - 512, 32, 32768, 2 },
  { "fat32", PARTITION_NONE, 2 * TIB, 32, 0 },
  { "fat32", PARTITION_GPT, 3 * TIB, 32, 0 },
  { "exfat", PARTITION_NONE, 512 * KIB, 96, 0 },
  { "exfat", PARTITION_NONE, 1 * MIB, 96, 32768, 2 },
  { "exfat", PARTITION_NONE, 1 * MIB, 2 * MIB, 0 },
  { "exfat", PARTITION_MBR, 2 * MIB, 96, 32768, 2 },
  { "exfat", PARTITION_GPT, 100 * MIB, 32 * KIB * 8, 32768, 10 },
  { "exfat", PARTITION_NONE, 256 * GIB, 96, 32768, 2 },
  { "exfat", PARTITION_NONE, 256 * GIB + 512, 96, 131072, 2 },
  { "exfat", PARTITION_MBR, 2 * TIB, 96, 131072, 2 },
  { "exfat", PARTITION_GPT, 3 * TIB, 96, 262144, 2 },
  { "exfat", PARTITION_GPT, 60 * TIB, 96, 4 * MIB, 2 },
  { "exfat", PARTITION_GPT, 500 * TIB, 96, 32 * MIB, 2 },
  { "exfat", PARTITION_GPT, 1 * PIB, 96, 32 * MIB, 2 },               /* more clusters than advised, not than allowed */
  { "exfat", PARTITION_GPT, 100 * PIB, 96, 32 * MIB, 2 },
  { "exfat", PARTITION_GPT, 129 * PIB, 96, 0 },
};

static struct geometry
make_geometry (const struct format *format, enum partitioning style, uint64_t disk_bytes, uint64_t root_bytes)
{
  struct geometry g = { .format = format, .volume_serial = 0xcafe1234, .label = "CLOUD" };

  ck_assert_int_eq (partition_plan (&g, style, disk_bytes), 0);
  ck_assert_int_eq (format->plan (&g, root_bytes), 0);
  return g;
}

START_TEST (test_plan)
{
  const struct format *const format = format_by_name (plans[_i].format);
  struct geometry g = { .format = format };

  ck_assert_int_eq (partition_plan (&g, plans[_i].style, plans[_i].disk_bytes), 0);
  if (plans[_i].cluster_bytes == 0) {
    ck_assert_int_eq (format->plan (&g, plans[_i].root_bytes), -1);
    ck_assert_int_eq (messages, 1);
    return;
  }
  ck_assert_int_eq (format->plan (&g, plans[_i].root_bytes), 0);
  ck_assert_int_eq (messages, 0);

  const bool exfat = format == &format_exfat;
  const uint64_t end = g.volume_start + g.volume_bytes;
  const uint64_t alignment = g.cluster_bytes > 4096 ? g.cluster_bytes : 4096;

  ck_assert_uint_eq (g.cluster_bytes, plans[_i].cluster_bytes);
  ck_assert_uint_eq (g.root_clusters, plans[_i].root_clusters);
  ck_assert_uint_eq (g.fats, exfat ? 1 : 2);
  ck_assert_uint_eq (g.fat_start % 4096, 0);
  ck_assert_uint_eq (g.heap_start % alignment, 0);
  ck_assert_uint_ge (g.fat_start, g.volume_start + (exfat ? 24 : 32) * 512);
  ck_assert_uint_ge (g.fat_bytes / 4, (uint64_t) g.clusters + 2);
  ck_assert_uint_le (g.fat_start + g.fats * g.fat_bytes, g.heap_start);
  ck_assert_uint_le (g.heap_start + (uint64_t) g.clusters * g.cluster_bytes, end);
  /* Nothing worth having is left over at the end. */
  ck_assert_uint_lt (end - g.heap_start - (uint64_t) g.clusters * g.cluster_bytes, g.cluster_bytes);
  ck_assert_uint_le (g.root_first - 2 + g.root_clusters, g.clusters);
  ck_assert_uint_ge ((uint64_t) g.root_clusters * g.cluster_bytes, plans[_i].root_bytes);

  if (exfat) {
    ck_assert_uint_le (g.clusters, 0xfffffff5);
    if (g.cluster_bytes < 32 * MIB)
      ck_assert_uint_le (g.clusters, (1 << 24) - 2);
    ck_assert_uint_eq (g.bitmap_first, 2);
    ck_assert_uint_ge ((uint64_t) g.bitmap_clusters * g.cluster_bytes * 8, g.clusters);
    ck_assert_uint_eq (g.upcase_first, 2 + g.bitmap_clusters);
    ck_assert_uint_eq (g.root_first, g.upcase_first + 1);
    ck_assert_uint_le ((g.heap_start - g.volume_start) / 512, UINT32_MAX);
  }
  else {
    ck_assert_uint_ge (g.clusters, 65525);
    ck_assert_uint_le (g.clusters, 0x0ffffff5);
    ck_assert_uint_eq (g.root_first, 2);
    ck_assert_uint_eq (g.fat_start + 2 * g.fat_bytes, g.heap_start);
    ck_assert_uint_le ((g.fat_start - g.volume_start) / 512, UINT16_MAX);
    ck_assert_uint_le (g.volume_bytes / 512, UINT32_MAX);
  }
}
END_TEST

START_TEST (test_format_by_name)
{
  ck_assert_ptr_eq (format_by_name ("fat32"), &format_fat32);
  ck_assert_ptr_eq (format_by_name ("exfat"), &format_exfat);
  ck_assert_ptr_null (format_by_name ("ntfs"));
}
END_TEST

/* --- the map --- */

/* System objects, then extents with and without gaps between, up to the heap's very last cluster. */
static struct map *
make_map (const struct geometry *g, size_t n)
{
  struct map *map = map_new (g, 1, n + 2 + FORMAT_OWN_EXTENTS);
  size_t i = g->format->own_extents (g, map->extents);
  uint64_t next = g->root_first + g->root_clusters;

  map->extents[i++] = (struct extent) {
    .first = g->root_first, .count = g->root_clusters, .bytes = 64, .kind = EXTENT_DIR, .fat_chain = true,
  };
  for (size_t k = 0; k < n; k++) {
    const uint64_t left = g->clusters + 2 - next;
    const uint64_t gap = draw (3) ? 0 : draw (100), count = 1 + draw (draw (4) ? 5 : 3000);

    if (gap + count + 1 > left)
      break;
    map->extents[i++] = (struct extent) {
      .first = next + gap, .count = count, .bytes = count * g->cluster_bytes - draw (g->cluster_bytes),
      .kind = draw (8) ? EXTENT_FILE : EXTENT_DIR,
    };
    next += gap + count;
  }
  if (next < g->clusters + 2)
    map->extents[i++] = (struct extent) { .first = g->clusters + 1, .count = 1, .bytes = 1, .kind = EXTENT_FILE };
  map->n = i;
  map_seal (map);
  return map;
}

START_TEST (test_map_find)
{
  const struct geometry g = make_geometry (formats[_i], PARTITION_MBR, 300 * MIB, 96);
  struct map *map = make_map (&g, 500);
  uint64_t used = 0;
  size_t i = 0;

  for (uint32_t c = 0; c <= g.clusters + 5; c++) {
    while (i < map->n && c >= map->extents[i].first + map->extents[i].count)
      i++;
    ASSERT (map_find (map, c) == i);
    used += i < map->n && c >= map->extents[i].first;
  }
  ck_assert_uint_eq (map->used, used);
  ck_assert_uint_eq (map->next_free, g.clusters + 2);
  ck_assert_ptr_eq (map_ref (map), map);
  map_unref (map);
  map_unref (map);
  map_unref (NULL);
}
END_TEST

static const struct extent broken[][2] = {
  { { .first = 10, .count = 5 }, { .first = 14, .count = 1 } },          /* overlap */
  { { .first = 20, .count = 1 }, { .first = 10, .count = 1 } },          /* out of order */
  { { .first = 10, .count = 0 }, { .first = 14, .count = 1 } },          /* empty */
  { { .first = 1, .count = 5 }, { .first = 14, .count = 1 } },           /* below the heap */
  { { .first = 10, .count = 1, .bytes = 1 << 20 }, { .first = 14, .count = 1 } },
  { { .first = 10, .count = 1 }, { .first = 14, .count = UINT32_MAX } },
};

START_TEST (test_map_seal_aborts)
{
  const struct geometry g = make_geometry (&format_fat32, PARTITION_NONE, 64 * MIB, 32);
  struct map *map = map_new (&g, 1, 2);

  memcpy (map->extents, broken[_i], sizeof broken[_i]);
  map_seal (map);
}
END_TEST

/* --- FAT and bitmap --- */

/* What the FAT must say, one cluster at a time. */
static uint32_t
slow_fat_entry (const struct geometry *g, const struct map *map, uint64_t c)
{
  const bool exfat = g->format == &format_exfat;

  if (c == 0)
    return exfat ? 0xfffffff8 : 0x0ffffff8;
  if (c == 1)
    return exfat ? 0xffffffff : 0x0fffffff;
  for (size_t i = 0; i < map->n; i++) {
    const struct extent *e = &map->extents[i];

    if (c < e->first || c >= e->first + e->count || (exfat && !e->fat_chain))
      continue;
    return c < e->first + e->count - 1 ? c + 1 : exfat ? 0xffffffff : 0x0fffffff;
  }
  return 0;
}

typedef void reader (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset);

static void
read_bitmap (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  g->format->read_meta (g, map, EXTENT_BITMAP, buf, n, offset);
}

static void
read_upcase (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  g->format->read_meta (g, map, EXTENT_UPCASE, buf, n, offset);
}

/* Pieces of any length at any offset are the same bytes as the whole, and nothing beside them is touched. */
static void
check_alignment (reader *read, const struct geometry *g, const struct map *map, const uint8_t *whole, size_t n)
{
  uint8_t *piece = malloc (n + 2);

  for (int i = 0; i < 4000; i++) {
    const size_t offset = draw (2) ? draw (n) : draw (n < 300 ? n : 300);
    const size_t length = draw (draw (4) ? 40 : n) % (n - offset + 1);

    memset (piece, 0x5a, length + 2);
    read (g, map, piece + 1, length, offset);
    ASSERT (memcmp (piece + 1, whole + offset, length) == 0);
    ASSERT (piece[0] == 0x5a && piece[length + 1] == 0x5a);
  }
  free (piece);
}

START_TEST (test_fat)
{
  const struct geometry g = make_geometry (formats[_i], PARTITION_MBR, _i == 0 ? 64 * MIB : 3 * GIB, 9000);
  struct map *map = make_map (&g, 200);
  uint8_t *whole = malloc (g.fat_bytes);

  g.format->read_fat (&g, map, whole, g.fat_bytes, 0);
  for (uint64_t c = 0; c < g.fat_bytes / 4; c++) {
    le32 entry;

    memcpy (&entry, whole + c * 4, 4);
    ASSERT (le32_to_cpu (entry) == slow_fat_entry (&g, map, c));
  }
  check_alignment (g.format->read_fat, &g, map, whole, g.fat_bytes);
  free (whole);
  map_unref (map);
}
END_TEST

START_TEST (test_bitmap_and_upcase)
{
  const struct geometry g = make_geometry (&format_exfat, PARTITION_NONE, 3 * GIB + 512 * 1001, 96);
  struct map *map = make_map (&g, 200);
  const size_t n = (size_t) g.bitmap_clusters * g.cluster_bytes;
  uint8_t *whole = malloc (n);
  uint64_t set = 0;

  ck_assert_uint_eq (map->extents[0].bytes, (g.clusters + 7) / 8);
  read_bitmap (&g, map, whole, n, 0);
  for (uint64_t c = 2; c < n * 8 + 2; c++) {
    const size_t i = map_find (map, c);
    const bool in_use = i < map->n && c >= map->extents[i].first;

    ASSERT ((whole[(c - 2) / 8] >> (c - 2) % 8 & 1) == in_use);
    set += in_use;
  }
  ck_assert_uint_eq (set, map->used);
  check_alignment (read_bitmap, &g, map, whole, n);

  read_upcase (&g, map, whole, g.cluster_bytes, 0);
  for (size_t i = UPCASE_BYTES; i < g.cluster_bytes; i++)
    ASSERT (whole[i] == 0);
  check_alignment (read_upcase, &g, map, whole, g.cluster_bytes);
  free (whole);
  map_unref (map);
}
END_TEST

/* The highest clusters that there can be: no sum of cluster numbers may wrap. */
START_TEST (test_top_of_the_range)
{
  const struct geometry g = make_geometry (&format_exfat, PARTITION_NONE, format_exfat.max_volume, 96);
  struct map *map = map_new (&g, 1, 4);
  const uint64_t last = (uint64_t) g.clusters + 1, start = last - 600;
  uint8_t buf[4096];
  size_t n = g.format->own_extents (&g, map->extents);

  ck_assert_uint_gt (last, UINT32_MAX - 1000);
  map->extents[n++] = (struct extent) { .first = g.root_first, .count = g.root_clusters, .kind = EXTENT_DIR };
  map->extents[n++] = (struct extent) {
    .first = start, .count = last - start + 1, .kind = EXTENT_FILE, .fat_chain = true,
  };
  map_seal (map);
  ck_assert_uint_eq (map->next_free, last + 1);

  g.format->read_fat (&g, map, buf, sizeof buf, start * 4);
  ck_assert_mem_eq (buf + (last - start) * 4, "\xff\xff\xff\xff\0\0\0", 7);
  g.format->read_fat (&g, map, buf, sizeof buf, (uint64_t) UINT32_MAX * 4 + 400);
  ck_assert_uint_eq (buf[0], 0);
  read_bitmap (&g, map, buf, sizeof buf, (last - 2) / 8);
  ck_assert_uint_eq (buf[0], 0xff >> (7 - (last - 2) % 8));
  ck_assert_uint_eq (buf[1], 0);
  read_bitmap (&g, map, buf, sizeof buf, (uint64_t) 1 << 40);
  ck_assert_uint_eq (buf[0], 0);
  map_unref (map);
}
END_TEST

/* --- boot sectors --- */

START_TEST (test_boot_fat32)
{
  const struct geometry g = make_geometry (&format_fat32, _i, 100 * MIB, 32);
  struct map *map = make_map (&g, 100);
  const size_t n = g.fat_start - g.volume_start;
  uint8_t *whole = malloc (n);
  struct fat32_boot boot;
  struct fat32_fsinfo fsinfo;

  format_fat32.read_boot (&g, map, whole, n, 0);
  memcpy (&boot, whole, sizeof boot);
  memcpy (&fsinfo, whole + 512, sizeof fsinfo);

  ck_assert_uint_eq (boot.jump[0], 0xeb);
  ck_assert_uint_eq (le16_to_cpu (boot.bytes_per_sector), 512);
  ck_assert_uint_eq (boot.sectors_per_cluster * 512, g.cluster_bytes);
  ck_assert_uint_eq (le16_to_cpu (boot.reserved_sectors) * 512, n);
  ck_assert_uint_eq (boot.fats, 2);
  ck_assert_uint_eq (boot.media, 0xf8);
  ck_assert_uint_eq (le16_to_cpu (boot.heads), 255);
  ck_assert_uint_eq (le16_to_cpu (boot.sectors_per_track), 63);
  ck_assert_uint_eq (le32_to_cpu (boot.hidden_sectors), _i == PARTITION_NONE ? 0 : 2048);
  ck_assert_uint_eq (le32_to_cpu (boot.total_sectors) * (uint64_t) 512, g.volume_bytes);
  ck_assert_uint_eq (le32_to_cpu (boot.fat_sectors) * (uint64_t) 512, g.fat_bytes);
  ck_assert_uint_eq (le32_to_cpu (boot.root_cluster), 2);
  ck_assert_uint_eq (boot.dirty, 0);
  ck_assert_uint_eq (le32_to_cpu (boot.serial), 0xcafe1234);
  ck_assert_mem_eq (boot.label, "CLOUD      ", 11);
  ck_assert_mem_eq (boot.type, "FAT32   ", 8);
  ck_assert_mem_eq (whole + 510, "\x55\xaa", 2);

  ck_assert_mem_eq (whole + 512, "RRaA", 4);
  ck_assert_mem_eq (whole + 512 + 484, "rrAa", 4);
  ck_assert_uint_eq (le32_to_cpu (fsinfo.free_count), g.clusters - map->used);
  ck_assert_uint_eq (le32_to_cpu (fsinfo.next_free), g.clusters + 1);
  ck_assert_mem_eq (whole + 512 + 508, "\0\0\x55\xaa", 4);
  ck_assert_mem_eq (whole + 6 * 512, whole, 1024);

  check_alignment (format_fat32.read_boot, &g, map, whole, n);
  free (whole);
  map_unref (map);
}
END_TEST

START_TEST (test_boot_exfat)
{
  const struct geometry g = make_geometry (&format_exfat, _i, 10 * GIB, 96);
  struct map *map = make_map (&g, 100);
  const size_t n = g.fat_start - g.volume_start;
  uint8_t *whole = malloc (n);
  struct exfat_boot boot;
  uint32_t sum = 0;

  format_exfat.read_boot (&g, map, whole, n, 0);
  memcpy (&boot, whole, sizeof boot);

  ck_assert_mem_eq (whole, "\xeb\x76\x90" "EXFAT   ", 11);
  for (int i = 11; i < 64; i++)
    ASSERT (whole[i] == 0);
  ck_assert_uint_eq (le64_to_cpu (boot.partition_offset), _i == PARTITION_NONE ? 0 : 2048);
  ck_assert_uint_eq (le64_to_cpu (boot.volume_sectors) * 512, g.volume_bytes);
  ck_assert_uint_eq (le32_to_cpu (boot.fat_offset) * (uint64_t) 512, n);
  ck_assert_uint_eq (le32_to_cpu (boot.fat_sectors) * (uint64_t) 512, g.fat_bytes);
  ck_assert_uint_eq (le32_to_cpu (boot.heap_offset) * (uint64_t) 512, g.heap_start - g.volume_start);
  ck_assert_uint_eq (le32_to_cpu (boot.clusters), g.clusters);
  ck_assert_uint_eq (le32_to_cpu (boot.root_cluster), g.root_first);
  ck_assert_uint_eq (le32_to_cpu (boot.serial), 0xcafe1234);
  ck_assert_uint_eq (le16_to_cpu (boot.flags), 0);
  ck_assert_uint_eq (1u << boot.sector_shift, 512);
  ck_assert_uint_eq (512u << boot.cluster_shift, g.cluster_bytes);
  ck_assert_uint_eq (boot.percent_in_use, map->used * 100 / g.clusters);
  for (int sector = 0; sector <= 8; sector++)
    ck_assert_mem_eq (whole + sector * 512 + 510, "\x55\xaa", 2);

  for (int i = 0; i < 11 * 512; i++)
    if (i != 106 && i != 107 && i != 112)
      sum = (sum >> 1 | sum << 31) + whole[i];
  for (int i = 0; i < 512; i += 4) {
    le32 stored;

    memcpy (&stored, whole + 11 * 512 + i, 4);
    ck_assert_uint_eq (le32_to_cpu (stored), sum);
  }
  ck_assert_mem_eq (whole + 12 * 512, whole, 12 * 512);
  for (size_t i = 24 * 512; i < n; i++)
    ASSERT (whole[i] == 0);

  check_alignment (format_exfat.read_boot, &g, map, whole, n);
  free (whole);
  map_unref (map);
}
END_TEST

/* --- directories --- */

/* Little is checked here: fsck and other readers judge directories (test-judges.sh). */
START_TEST (test_dir_fat32)
{
  const struct geometry g = make_geometry (&format_fat32, PARTITION_NONE, 64 * MIB, 32);
  const struct timespec ts = { 1709251199, 500000000 };
  struct dir *dir = dir_new (&format_fat32, false);
  uint8_t buf[6 * 32];
  struct fat_entry e[6];

  setenv ("TZ", "UTC0", 1);
  tzset ();
  dir_add (dir, "FILE.TXT", false, 70000, &ts, 0);
  dir_add (dir, "empty folder", true, 0, &ts, 0);
  ck_assert_int_eq (dir_map_names (dir), 0);
  dir_set_place (dir, 0, 0x12345, 70000);
  dir_set_place (dir, 1, 0x23456, 512);
  ck_assert_uint_eq (format_fat32.dir_bytes (dir), 5 * 32);

  memset (buf, 0x5a, sizeof buf);
  format_fat32.dir_render (&g, dir, 0x34567, g.root_first, buf);
  memcpy (e, buf, sizeof e);
  ck_assert_mem_eq (e[0].name, ".          ", 11);
  ck_assert_uint_eq (le16_to_cpu (e[0].first_high) << 16 | le16_to_cpu (e[0].first_low), 0x34567);
  ck_assert_mem_eq (e[1].name, "..         ", 11);
  ck_assert_uint_eq (le16_to_cpu (e[1].first_high) << 16 | le16_to_cpu (e[1].first_low), 0);
  ck_assert_mem_eq (e[2].name, "FILE    TXT", 11);
  ck_assert_uint_eq (e[2].attributes, 0x20);
  ck_assert_uint_eq (le16_to_cpu (e[2].first_high) << 16 | le16_to_cpu (e[2].first_low), 0x12345);
  ck_assert_uint_eq (le32_to_cpu (e[2].size), 70000);
  ck_assert_uint_eq (le16_to_cpu (e[2].write_date), 44 << 9 | 2 << 5 | 29);
  ck_assert_uint_eq (le16_to_cpu (e[2].write_time), 23 << 11 | 59 << 5 | 29);
  ck_assert_uint_eq (e[2].create_tenths, 150);
  ck_assert_uint_eq (buf[3 * 32], 0x41);
  ck_assert_mem_eq (e[4].name, "EMPTYF~1   ", 11);
  ck_assert_uint_eq (e[4].attributes, 0x10);
  ck_assert_uint_eq (le32_to_cpu (e[4].size), 0);
  ck_assert_uint_eq (buf[5 * 32], 0x5a);

  /* A folder's folder names its parent. */
  format_fat32.dir_render (&g, dir, 0x34567, 0x45678, buf);
  memcpy (e, buf, sizeof e);
  ck_assert_uint_eq (le16_to_cpu (e[1].first_high) << 16 | le16_to_cpu (e[1].first_low), 0x45678);
  dir_free (dir);
}
END_TEST

/* The set of one file, with checksum and hash worked out by the specification's own text (6.3.3, 7.6.4). */
START_TEST (test_dir_exfat)
{
  const struct geometry g = make_geometry (&format_exfat, PARTITION_NONE, 64 * MIB, 96);
  const struct timespec ts = { 1709251199, 500000000 };
  static const char upper[] = "A NAME OF MORE THAN 15 UNITS";
  struct dir *dir = dir_new (&format_exfat, true);
  uint8_t all[(3 + 4 + 3) * 32], *const set = all + 3 * 32;
  uint16_t sum = 0, hash = 0;
  struct exfat_file_entry file;
  struct exfat_stream_entry stream;

  dir_add (dir, "A name of more than 15 units", false, 100, &ts, 0);
  dir_add (dir, "Z", false, 0, &ts, 0);
  ck_assert_int_eq (dir_map_names (dir), 0);
  dir_set_place (dir, 0, 77, 100);
  ck_assert_uint_eq (format_exfat.dir_bytes (dir), sizeof all);

  format_exfat.dir_render (&g, dir, g.root_first, 0, all);
  ck_assert_mem_eq (all, "\x83\x05" "C\0L\0O\0U\0D\0", 12);
  ck_assert_uint_eq (all[32], 0x81);
  ck_assert_uint_eq (all[64], 0x82);
  ck_assert_mem_eq (all + 68, "\x0d\xd3\x19\xe6", 4);
  memcpy (&file, set, 32);
  memcpy (&stream, set + 32, 32);

  for (int i = 0; i < 4 * 32; i++)
    if (i != 2 && i != 3)
      sum = ((sum & 1) ? 0x8000 : 0) + (sum >> 1) + set[i];
  for (size_t i = 0; i < strlen (upper) * 2; i++)
    hash = ((hash & 1) ? 0x8000 : 0) + (hash >> 1) + (i % 2 ? 0 : upper[i / 2]);
  ck_assert_uint_eq (file.type, 0x85);
  ck_assert_uint_eq (file.secondary_count, 3);
  ck_assert_uint_eq (le16_to_cpu (file.checksum), sum);
  ck_assert_uint_eq (le32_to_cpu (file.write_time), 44u << 25 | 2 << 21 | 29 << 16 | 23 << 11 | 59 << 5 | 29);
  ck_assert_uint_eq (file.write_10ms, 150);
  ck_assert_uint_eq (file.write_offset, 0x80);
  ck_assert_uint_eq (stream.type, 0xc0);
  ck_assert_uint_eq (stream.flags, 3);
  ck_assert_uint_eq (stream.name_units, strlen (upper));
  ck_assert_uint_eq (le16_to_cpu (stream.name_hash), hash);
  ck_assert_uint_eq (le64_to_cpu (stream.valid_bytes), 100);
  ck_assert_uint_eq (le64_to_cpu (stream.bytes), 100);
  ck_assert_uint_eq (le32_to_cpu (stream.first), 77);

  /* An empty file has no clusters, and says so. */
  memcpy (&stream, all + 8 * 32, 32);
  ck_assert_uint_eq (stream.type, 0xc0);
  ck_assert_uint_eq (stream.flags, 1);
  ck_assert_uint_eq (le32_to_cpu (stream.first), 0);
  dir_free (dir);
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("format");
  TCase *tc = tcase_create ("format");
  SRunner *runner;
  int failed;

  msg_set_sink (count_message);
  tcase_set_timeout (tc, 60);
  LOOP (tc, test_plan, plans);
  tcase_add_test (tc, test_format_by_name);
  LOOP (tc, test_map_find, formats);
  tcase_add_loop_test_raise_signal (tc, test_map_seal_aborts, SIGABRT, 0, sizeof broken / sizeof broken[0]);
  LOOP (tc, test_fat, formats);
  tcase_add_test (tc, test_bitmap_and_upcase);
  tcase_add_test (tc, test_top_of_the_range);
  tcase_add_loop_test (tc, test_boot_fat32, PARTITION_NONE, PARTITION_GPT + 1);
  tcase_add_loop_test (tc, test_boot_exfat, PARTITION_NONE, PARTITION_GPT + 1);
  tcase_add_test (tc, test_dir_fat32);
  tcase_add_test (tc, test_dir_exfat);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
