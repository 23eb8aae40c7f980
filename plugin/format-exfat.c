/* SPDX-License-Identifier: BSD-3-Clause */
/* exFAT: where things stand, boot regions, FAT, bitmap, up-case table, directories.  Numbers in comments are sections
 * of the exFAT specification.
 *
 *   volume_start   main boot region, backup boot region
 *   fat_start      the FAT: chains of bitmap, up-case table and root only; all else is contiguous and says so
 *   heap_start     bitmap, up-case table, root directory with spare clusters; then everything else
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "dir.h"
#include "exfat.h"
#include "fat.h"
#include "fattime.h"
#include "format.h"
#include "msg.h"
#include "piece.h"
#include "upcase.h"

#define GIB ((uint64_t) 1 << 30)
#define MIN_VOLUME_BYTES (1u << 20)   /* 3.1.6 */
#define ALIGNMENT 4096u
#define FAT_OFFSET 65536u             /* behind both boot regions, and aligned */
#define EXFAT_DELETED 0x05            /* 6.2.1: a file entry that is not in use */

/* 3.1.9 advises to stay below, so that a FAT has at most 64 MiB. */
#define ADVISED_CLUSTERS ((1u << 24) - 2)

static uint32_t
preferred_cluster_bytes (uint64_t volume_bytes)
{
  uint32_t bytes = volume_bytes <= 256 * GIB ? 32 << 10 : 128 << 10;

  while (volume_bytes / bytes > ADVISED_CLUSTERS && bytes < EXFAT_MAX_CLUSTER_BYTES)
    bytes *= 2;
  return bytes;
}

static uint64_t
bitmap_bytes (const struct geometry *g)
{
  return ((uint64_t) g->clusters + 7) / 8;
}

static int
exfat_plan (struct geometry *g, uint64_t root_bytes)
{
  const uint64_t end = g->volume_start + g->volume_bytes;
  uint64_t clusters;

  if (g->volume_bytes > format_exfat.max_volume) {
    msg_error ("an exFAT volume has at most %" PRIu64 " bytes, this one would have %" PRIu64 ": choose a smaller size",
               format_exfat.max_volume, g->volume_bytes);
    return -1;
  }

  g->cluster_bytes = preferred_cluster_bytes (g->volume_bytes);
  clusters = g->volume_bytes / g->cluster_bytes;
  g->fats = 1;
  g->fat_start = g->volume_start + FAT_OFFSET;
  g->fat_bytes = round_up ((clusters + 2) * sizeof (le32), ALIGNMENT);
  g->heap_start = round_up (g->fat_start + g->fat_bytes, g->cluster_bytes > ALIGNMENT ? g->cluster_bytes : ALIGNMENT);
  if (g->volume_bytes < MIN_VOLUME_BYTES || end <= g->heap_start) {
    msg_error ("an exFAT volume has 1 MiB or more, this one would have %" PRIu64 " bytes: choose a larger size",
               g->volume_bytes);
    return -1;
  }

  clusters = (end - g->heap_start) / g->cluster_bytes;
  g->clusters = clusters < EXFAT_MAX_CLUSTERS ? clusters : EXFAT_MAX_CLUSTERS;
  g->bitmap_first = 2;
  g->bitmap_clusters = bytes_to_clusters (g, bitmap_bytes (g));
  g->upcase_first = g->bitmap_first + g->bitmap_clusters;
  g->upcase_clusters = bytes_to_clusters (g, UPCASE_BYTES);
  return format_plan_root (g, g->upcase_first + g->upcase_clusters, root_bytes);
}

static size_t
exfat_own_extents (const struct geometry *g, struct extent ret[FORMAT_OWN_EXTENTS])
{
  ret[0] = (struct extent) {
    .first = g->bitmap_first, .count = g->bitmap_clusters, .bytes = bitmap_bytes (g),
    .kind = EXTENT_BITMAP, .fat_chain = true,
  };
  ret[1] = (struct extent) {
    .first = g->upcase_first, .count = g->upcase_clusters, .bytes = UPCASE_BYTES,
    .kind = EXTENT_UPCASE, .fat_chain = true,
  };
  return 2;
}

static void
render_boot (const struct geometry *g, const struct map *map, struct exfat_boot *boot)
{
  *boot = (struct exfat_boot) {
    .jump = { 0xeb, 0x76, 0x90 },
    .partition_offset = cpu_to_le64 (g->volume_start / SECTOR_SIZE),
    .volume_sectors = cpu_to_le64 (g->volume_bytes / SECTOR_SIZE),
    .fat_offset = cpu_to_le32 ((g->fat_start - g->volume_start) / SECTOR_SIZE),
    .fat_sectors = cpu_to_le32 (g->fat_bytes / SECTOR_SIZE),
    .heap_offset = cpu_to_le32 ((g->heap_start - g->volume_start) / SECTOR_SIZE),
    .clusters = cpu_to_le32 (g->clusters),
    .root_cluster = cpu_to_le32 (g->root_first),
    .serial = cpu_to_le32 (g->volume_serial),
    .revision = cpu_to_le16 (0x0100),
    .sector_shift = __builtin_ctz (SECTOR_SIZE),
    .cluster_shift = __builtin_ctz (g->cluster_bytes / SECTOR_SIZE),
    .fats = 1,
    .drive = 0x80,
    .percent_in_use = map->used * 100 / g->clusters,
    .signature = cpu_to_le16 (0xaa55),
  };
  memcpy (boot->name, "EXFAT   ", 8);
  memset (boot->code, 0xf4, sizeof boot->code);   /* 3.1.19: halt */
}

/* 3.4: over all sectors of the region before this one, without the two fields that change in use. */
static uint32_t
boot_checksum (const uint8_t *region, size_t n)
{
  uint32_t sum = 0;

  for (size_t i = 0; i < n; i++)
    if (i != 106 && i != 107 && i != 112)
      sum = (sum >> 1 | sum << 31) + region[i];
  return sum;
}

static void
render_boot_region (const struct geometry *g, const struct map *map,
                    uint8_t region[EXFAT_BOOT_REGION_SECTORS * SECTOR_SIZE])
{
  const le32 extended_signature = cpu_to_le32 (0xaa550000);   /* 3.2.2: ends sectors 1 to 8 */
  uint8_t *const checksums = region + (EXFAT_BOOT_REGION_SECTORS - 1) * SECTOR_SIZE;
  struct exfat_boot boot;
  le32 sum;

  memset (region, 0, EXFAT_BOOT_REGION_SECTORS * SECTOR_SIZE);
  render_boot (g, map, &boot);
  memcpy (region, &boot, sizeof boot);
  for (unsigned sector = 1; sector <= 8; sector++)
    memcpy (region + (sector + 1) * SECTOR_SIZE - sizeof extended_signature, &extended_signature,
            sizeof extended_signature);

  sum = cpu_to_le32 (boot_checksum (region, checksums - region));
  for (unsigned i = 0; i < SECTOR_SIZE; i += sizeof sum)
    memcpy (checksums + i, &sum, sizeof sum);
}

static void
exfat_read_boot (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  uint8_t region[EXFAT_BOOT_REGION_SECTORS * SECTOR_SIZE];

  memset (buf, 0, n);
  if (!piece_touches (n, offset, 0, 2 * sizeof region))
    return;
  render_boot_region (g, map, region);
  piece_copy (buf, n, offset, 0, region, sizeof region);
  piece_copy (buf, n, offset, sizeof region, region, sizeof region);
}

static void
exfat_read_fat (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  static const struct fat_style style = {
    .entry_0 = EXFAT_ENTRY_0, .entry_1 = EXFAT_ENTRY_1, .end_of_chain = EXFAT_END_OF_CHAIN, .only_fat_chain = true,
  };

  fat_read (map, &style, buf, n, offset);
}

/* Sets bits [begin, end), bit 0 being the lowest of bits[0]. */
static void
set_bits (uint8_t *bits, uint64_t begin, uint64_t end)
{
  for (; begin < end && begin % 8 != 0; begin++)
    bits[begin / 8] |= 1 << begin % 8;
  memset (bits + begin / 8, 0xff, (end - begin) / 8);
  for (begin += (end - begin) / 8 * 8; begin < end; begin++)
    bits[begin / 8] |= 1 << begin % 8;
}

/* 7.1.5: the lowest bit of the first byte is cluster 2. */
static void
read_bitmap (const struct map *map, void *buf, size_t n, uint64_t offset)
{
  const uint64_t begin = 2 + offset * 8, end = begin + (uint64_t) n * 8;

  memset (buf, 0, n);
  if (begin > UINT32_MAX)
    return;

  for (size_t i = map_find (map, begin); i < map->n && map->extents[i].first < end; i++) {
    const uint64_t first = map->extents[i].first, past = first + map->extents[i].count;

    set_bits (buf, (first > begin ? first : begin) - begin, (past < end ? past : end) - begin);
  }
}

static void
exfat_read_meta (const struct geometry *g, const struct map *map, enum extent_kind kind, void *buf, size_t n,
                 uint64_t offset)
{
  if (kind == EXTENT_BITMAP)
    read_bitmap (map, buf, n, offset);
  else
    upcase_read (buf, n, offset);
}

static unsigned
name_parts (const struct dir_entry *entry)
{
  return (entry->shown_units + EXFAT_NAME_UNITS - 1) / EXFAT_NAME_UNITS;
}

static uint32_t
exfat_entry_bytes (const struct dir_entry *entry)
{
  return (2 + name_parts (entry)) * sizeof (struct exfat_file_entry);
}

/* 7.4.10: times are UTC, and say so. */
static int64_t
exfat_zone (void)
{
  return 0;
}

static uint32_t
exfat_head_bytes (bool is_root)
{
  /* The root has label, bitmap and up-case table. */
  return is_root ? 3 * sizeof (struct exfat_label_entry) : 0;
}

static uint64_t
exfat_dir_bytes (const struct dir *dir)
{
  uint64_t bytes = exfat_head_bytes (dir_is_root (dir));

  if (dir_end (dir))
    return dir_end (dir);
  for (size_t i = 0; i < dir_count (dir); i++)
    if (!dir_get (dir, i)->left_out)
      bytes += exfat_entry_bytes (dir_get (dir, i));

  /* An empty directory is one entry that ends it. */
  return bytes ? bytes : sizeof (struct exfat_file_entry);
}

static uint8_t *
render_root_entries (const struct geometry *g, uint8_t *to)
{
  struct exfat_label_entry label = { .type = EXFAT_TYPE_LABEL, .units = strnlen (g->label, EXFAT_LABEL_UNITS) };
  const struct exfat_bitmap_entry bitmap = {
    .type = EXFAT_TYPE_BITMAP, .first = cpu_to_le32 (g->bitmap_first), .bytes = cpu_to_le64 (bitmap_bytes (g)),
  };
  const struct exfat_upcase_entry upcase = {
    .type = EXFAT_TYPE_UPCASE, .checksum = cpu_to_le32 (UPCASE_CHECKSUM), .first = cpu_to_le32 (g->upcase_first),
    .bytes = cpu_to_le64 (UPCASE_BYTES),
  };

  for (unsigned i = 0; i < label.units; i++)
    label.label[i] = cpu_to_le16 ((uint8_t) g->label[i]);
  memcpy (to, &label, sizeof label);
  memcpy (to + sizeof label, &bitmap, sizeof bitmap);
  memcpy (to + sizeof label + sizeof bitmap, &upcase, sizeof upcase);
  return to + sizeof label + sizeof bitmap + sizeof upcase;
}

static uint16_t
sum16 (uint16_t sum, uint8_t byte)
{
  return (uint16_t) (sum >> 1 | sum << 15) + byte;
}

/* 7.6.4 */
static uint16_t
name_hash (const struct dir_entry *entry)
{
  const uint16_t *const upcase = upcase_table ();
  uint16_t hash = 0;

  for (unsigned i = 0; i < entry->shown_units; i++) {
    const uint16_t unit = upcase[entry->shown[i]];

    hash = sum16 (sum16 (hash, unit & 0xff), unit >> 8);
  }
  return hash;
}

/* 6.3.3: the field itself, bytes 2 and 3, is left out. */
static uint16_t
set_checksum (const uint8_t *set, size_t n)
{
  uint16_t sum = 0;

  for (size_t i = 0; i < n; i++)
    if (i != 2 && i != 3)
      sum = sum16 (sum, set[i]);
  return sum;
}

static uint8_t *
render_set (const struct dir_entry *entry, uint8_t *const set)
{
  const struct fattime t = fattime_utc (&entry->mtime);
  const unsigned parts = name_parts (entry);
  struct exfat_file_entry file = {
    .type = EXFAT_TYPE_FILE,
    .secondary_count = 1 + parts,
    .attributes = cpu_to_le16 (entry->is_folder ? EXFAT_ATTR_DIRECTORY : EXFAT_ATTR_ARCHIVE),
    .create_time = cpu_to_le32 (fattime_stamp (&t)),
    .write_time = cpu_to_le32 (fattime_stamp (&t)),
    .access_time = cpu_to_le32 (fattime_stamp (&t)),
    .create_10ms = t.ten_ms,
    .write_10ms = t.ten_ms,
    .create_offset = EXFAT_OFFSET_UTC,
    .write_offset = EXFAT_OFFSET_UTC,
    .access_offset = EXFAT_OFFSET_UTC,
  };
  const struct exfat_stream_entry stream = {
    .type = EXFAT_TYPE_STREAM,
    .flags = EXFAT_ALLOCATION_POSSIBLE | (entry->first ? EXFAT_NO_FAT_CHAIN : 0),
    .name_units = entry->shown_units,
    .name_hash = cpu_to_le16 (name_hash (entry)),
    .valid_bytes = cpu_to_le64 (entry->bytes),
    .first = cpu_to_le32 (entry->first),
    .bytes = cpu_to_le64 (entry->bytes),
  };
  uint8_t *to = set + sizeof file;

  memcpy (to, &stream, sizeof stream);
  to += sizeof stream;
  for (unsigned part = 0; part < parts; part++) {
    struct exfat_name_entry name = { .type = EXFAT_TYPE_NAME };

    for (unsigned i = 0; i < EXFAT_NAME_UNITS && part * EXFAT_NAME_UNITS + i < entry->shown_units; i++)
      name.name[i] = cpu_to_le16 (entry->shown[part * EXFAT_NAME_UNITS + i]);
    memcpy (to, &name, sizeof name);
    to += sizeof name;
  }

  memcpy (set, &file, sizeof file);
  file.checksum = cpu_to_le16 (set_checksum (set, to - set));
  memcpy (set, &file, sizeof file);
  return to;
}

static void
exfat_dir_render (const struct geometry *g, const struct dir *dir, uint32_t self, uint32_t parent, void *buf)
{
  uint8_t *to = buf;

  memset (buf, 0, exfat_dir_bytes (dir));
  for (uint64_t at = 0; at < dir_end (dir); at += sizeof (struct exfat_file_entry))
    to[at] = EXFAT_DELETED;
  if (dir_is_root (dir))
    to = render_root_entries (g, to);
  for (size_t i = 0; i < dir_count (dir); i++) {
    const struct dir_entry *entry = dir_get (dir, i);

    if (entry->left_out)
      continue;
    if (dir_end (dir))
      to = (uint8_t *) buf + entry->offset;
    to = render_set (entry, to);
  }
}

const struct format format_exfat = {
  .name = "exfat",
  .max_file = INT64_MAX,
  .max_dir = 256 << 20,   /* 10.2: 256 MiB */
  .max_volume = (uint64_t) EXFAT_MAX_CLUSTERS * EXFAT_MAX_CLUSTER_BYTES,
  .mbr_type = 0x07,
  .has_aliases = false,
  .zone = exfat_zone,
  .plan = exfat_plan,
  .read_boot = exfat_read_boot,
  .read_fat = exfat_read_fat,
  .read_meta = exfat_read_meta,
  .own_extents = exfat_own_extents,
  .head_bytes = exfat_head_bytes,
  .entry_bytes = exfat_entry_bytes,
  .dir_bytes = exfat_dir_bytes,
  .dir_render = exfat_dir_render,
};
