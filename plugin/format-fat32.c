/* SPDX-License-Identifier: BSD-3-Clause */
/* FAT32: where things stand, boot sectors, FSInfo, FAT, directories.
 *
 *   volume_start   boot sector, FSInfo
 *   + 6 sectors    their copies
 *   fat_start      FAT 1, FAT 2          4096-aligned: the reserved sectors grow until they are
 *   heap_start     root directory, with spare clusters; then everything else
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "dir.h"
#include "fat.h"
#include "fat32.h"
#include "fattime.h"
#include "format.h"
#include "msg.h"
#include "piece.h"
#include "shortname.h"

#define GIB ((uint64_t) 1 << 30)
#define ALIGNMENT 4096u

#define FATS 2
#define MIN_RESERVED_SECTORS 32
#define FSINFO_SECTOR 1
#define BACKUP_SECTOR 6

/* fatgen103, "FAT Directory Structure": first byte of an entry that is free. */
#define FAT_DELETED 0xe5

static uint32_t
preferred_cluster_bytes (uint64_t volume_bytes)
{
  /* fatgen103, "FAT32 Volume Initialization", DskTableFAT32. */
  if (volume_bytes <= 8 * GIB)
    return 4096;
  if (volume_bytes <= 16 * GIB)
    return 8192;
  if (volume_bytes <= 32 * GIB)
    return 16384;
  return 32768;
}

/* All that follows from the size of the clusters.  The FATs are sized as if they took no room themselves: a little too
 * large, and always enough. */
static void
place_heap (struct geometry *g)
{
  const uint64_t end = g->volume_start + g->volume_bytes;
  uint64_t clusters = g->volume_bytes / g->cluster_bytes;

  g->fats = FATS;
  g->fat_bytes = round_up ((clusters + 2) * sizeof (le32), ALIGNMENT);
  g->heap_start = round_up (g->volume_start + MIN_RESERVED_SECTORS * SECTOR_SIZE + FATS * g->fat_bytes,
                            g->cluster_bytes > ALIGNMENT ? g->cluster_bytes : ALIGNMENT);
  g->fat_start = g->heap_start - FATS * g->fat_bytes;
  clusters = end > g->heap_start ? (end - g->heap_start) / g->cluster_bytes : 0;
  g->clusters = clusters < FAT32_MAX_CLUSTERS ? clusters : FAT32_MAX_CLUSTERS;
}

static int
fat32_plan (struct geometry *g, uint64_t root_bytes)
{
  if (g->volume_bytes > format_fat32.max_volume) {
    msg_error ("a FAT32 volume has less than 2 TiB, this one would have %" PRIu64 " bytes: choose a smaller size, or "
               "fs=exfat", g->volume_bytes);
    return -1;
  }

  /* With too few clusters a volume would be FAT16 to every driver, so small ones get smaller clusters. */
  g->cluster_bytes = preferred_cluster_bytes (g->volume_bytes);
  place_heap (g);
  while (g->clusters < FAT32_MIN_CLUSTERS && g->cluster_bytes > SECTOR_SIZE) {
    g->cluster_bytes /= 2;
    place_heap (g);
  }
  if (g->clusters < FAT32_MIN_CLUSTERS) {
    msg_error ("a FAT32 volume has 33 MiB or more, this one would have %" PRIu64 " bytes: choose a larger size, or "
               "fs=exfat", g->volume_bytes);
    return -1;
  }

  g->bitmap_first = g->bitmap_clusters = 0;
  g->upcase_first = g->upcase_clusters = 0;
  return format_plan_root (g, 2, root_bytes);
}

/* The label as both the boot sector and the root directory have it. */
static void
put_label (const struct geometry *g, uint8_t label[11])
{
  memset (label, ' ', 11);
  memcpy (label, g->label, strnlen (g->label, 11));
}

static void
render_boot (const struct geometry *g, struct fat32_boot *boot)
{
  /* int 18h, then a loop: a BIOS that starts us goes on with the next boot device. */
  static const uint8_t code[] = { 0xcd, 0x18, 0xeb, 0xfe };

  *boot = (struct fat32_boot) {
    .jump = { 0xeb, 0x58, 0x90 },
    .bytes_per_sector = cpu_to_le16 (SECTOR_SIZE),
    .sectors_per_cluster = g->cluster_bytes / SECTOR_SIZE,
    .reserved_sectors = cpu_to_le16 ((g->fat_start - g->volume_start) / SECTOR_SIZE),
    .fats = FATS,
    .media = 0xf8,
    .sectors_per_track = cpu_to_le16 (63),
    .heads = cpu_to_le16 (255),
    .hidden_sectors = cpu_to_le32 (g->volume_start / SECTOR_SIZE),
    .total_sectors = cpu_to_le32 (g->volume_bytes / SECTOR_SIZE),
    .fat_sectors = cpu_to_le32 (g->fat_bytes / SECTOR_SIZE),
    .root_cluster = cpu_to_le32 (g->root_first),
    .fsinfo_sector = cpu_to_le16 (FSINFO_SECTOR),
    .backup_sector = cpu_to_le16 (BACKUP_SECTOR),
    .drive = 0x80,
    .extended_signature = 0x29,
    .serial = cpu_to_le32 (g->volume_serial),
    .signature = cpu_to_le16 (0xaa55),
  };
  memcpy (boot->oem_name, "MSWIN4.1", 8);   /* fatgen103: what some drivers look for */
  memcpy (boot->label, "NO NAME    ", 11);
  if (g->label[0])
    put_label (g, boot->label);
  memcpy (boot->type, "FAT32   ", 8);
  memcpy (boot->code, code, sizeof code);
}

static void
render_fsinfo (const struct geometry *g, const struct map *map, struct fat32_fsinfo *fsinfo)
{
  /* Linux starts looking one after next_free, so it is the last cluster in use. */
  *fsinfo = (struct fat32_fsinfo) {
    .lead_signature = cpu_to_le32 (0x41615252),
    .signature = cpu_to_le32 (0x61417272),
    .free_count = cpu_to_le32 (g->clusters - map->used),
    .next_free = cpu_to_le32 (map->next_free > 2 ? map->next_free - 1 : 2),
    .trail_signature = cpu_to_le32 (0xaa550000),
  };
}

static void
fat32_read_boot (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  struct fat32_boot boot;
  struct fat32_fsinfo fsinfo;

  memset (buf, 0, n);
  if (offset >= MIN_RESERVED_SECTORS * SECTOR_SIZE)
    return;

  render_boot (g, &boot);
  render_fsinfo (g, map, &fsinfo);
  for (unsigned at = 0; at <= BACKUP_SECTOR; at += BACKUP_SECTOR) {
    piece_copy (buf, n, offset, at * SECTOR_SIZE, &boot, sizeof boot);
    piece_copy (buf, n, offset, (at + FSINFO_SECTOR) * SECTOR_SIZE, &fsinfo, sizeof fsinfo);
  }
}

static void
fat32_read_fat (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset)
{
  static const struct fat_style style = {
    .entry_0 = FAT32_ENTRY_0, .entry_1 = FAT32_ENTRY_1, .end_of_chain = FAT32_END_OF_CHAIN,
  };

  fat_read (map, &style, buf, n, offset);
}

static size_t
fat32_own_extents (const struct geometry *g, struct extent ret[FORMAT_OWN_EXTENTS])
{
  return 0;
}

static unsigned
lfn_parts (const struct dir_entry *entry)
{
  return entry->needs_lfn ? (entry->shown_units + FAT_LFN_UNITS - 1) / FAT_LFN_UNITS : 0;
}

static uint32_t
fat32_entry_bytes (const struct dir_entry *entry)
{
  return (lfn_parts (entry) + 1) * sizeof (struct fat_entry);
}

/* FAT has local times.  Zones are told apart by what they do, not by their names, because the rules behind a name change
 * with the host's time zone database.  FNV-1a over each week's difference to UTC, in the years that FAT can tell. */
static int64_t
fat32_zone (void)
{
  const time_t week = 7 * 86400, begin = 315532800, end = 4354819200;   /* 1980, 2108 */
  uint64_t hash = UINT64_C (0xcbf29ce484222325);

  for (time_t at = begin; at < end; at += week) {
    struct tm tm;

    hash = (hash ^ (localtime_r (&at, &tm) ? (uint64_t) tm.tm_gmtoff : 0)) * UINT64_C (0x100000001b3);
  }
  return hash;
}

static uint32_t
fat32_head_bytes (bool is_root)
{
  /* The root has the label, every other directory "." and "..". */
  return (is_root ? 1 : 2) * sizeof (struct fat_entry);
}

static uint64_t
fat32_dir_bytes (const struct dir *dir)
{
  uint64_t bytes = fat32_head_bytes (dir_is_root (dir));

  if (dir_end (dir))
    return dir_end (dir);
  for (size_t i = 0; i < dir_count (dir); i++)
    if (!dir_get (dir, i)->left_out)
      bytes += fat32_entry_bytes (dir_get (dir, i));
  return bytes;
}

/* The n-th unit of a long name: 0 ends it, 0xffff fills up (fatgen103, "Name Storage"). */
static le16
lfn_unit (const struct dir_entry *entry, unsigned n)
{
  return cpu_to_le16 (n < entry->shown_units ? entry->shown[n] : n == entry->shown_units ? 0 : 0xffff);
}

static struct fat_entry *
render_lfn (const struct dir_entry *entry, struct fat_entry *to)
{
  const unsigned parts = lfn_parts (entry);
  const uint8_t checksum = shortname_checksum (entry->alias);

  /* The last part of the name comes first. */
  for (unsigned part = parts; part > 0; part--) {
    struct fat_lfn lfn = {
      .order = part | (part == parts ? FAT_LFN_LAST : 0),
      .attributes = FAT_ATTR_LFN,
      .checksum = checksum,
    };
    unsigned n = (part - 1) * FAT_LFN_UNITS;

    for (unsigned i = 0; i < 5; i++)
      lfn.name1[i] = lfn_unit (entry, n++);
    for (unsigned i = 0; i < 6; i++)
      lfn.name2[i] = lfn_unit (entry, n++);
    for (unsigned i = 0; i < 2; i++)
      lfn.name3[i] = lfn_unit (entry, n++);
    memcpy (to++, &lfn, sizeof lfn);
  }
  return to;
}

static struct fat_entry
make_entry (const void *name, uint8_t attributes, const struct timespec *ts, uint32_t first, uint32_t size)
{
  const struct fattime t = fattime_local (ts);
  struct fat_entry entry = {
    .attributes = attributes,
    .create_tenths = t.ten_ms,
    .create_time = cpu_to_le16 (t.time),
    .create_date = cpu_to_le16 (t.date),
    .access_date = cpu_to_le16 (t.date),
    .first_high = cpu_to_le16 (first >> 16),
    .write_time = cpu_to_le16 (t.time),
    .write_date = cpu_to_le16 (t.date),
    .first_low = cpu_to_le16 (first),
    .size = cpu_to_le32 (size),
  };

  memcpy (entry.name, name, sizeof entry.name);
  return entry;
}

static void
fat32_dir_render (const struct geometry *g, const struct dir *dir, uint32_t self, uint32_t parent, void *buf)
{
  static const struct timespec unknown;
  struct fat_entry *to = buf;
  uint8_t label[11];

  memset (buf, 0, fat32_dir_bytes (dir));
  for (uint64_t at = 0; at < dir_end (dir); at += sizeof *to)
    ((uint8_t *) buf)[at] = FAT_DELETED;
  if (!dir_is_root (dir)) {
    /* fatgen103, "Directory Structure": ".." of a child of the root names cluster 0. */
    *to++ = make_entry (".          ", FAT_ATTR_DIRECTORY, &unknown, self, 0);
    *to++ = make_entry ("..         ", FAT_ATTR_DIRECTORY, &unknown, parent == g->root_first ? 0 : parent, 0);
  }
  else if (g->label[0]) {
    put_label (g, label);
    *to++ = make_entry (label, FAT_ATTR_VOLUME_ID, &unknown, 0, 0);
  }

  for (size_t i = 0; i < dir_count (dir); i++) {
    const struct dir_entry *entry = dir_get (dir, i);

    if (entry->left_out)
      continue;
    if (dir_end (dir))
      to = (struct fat_entry *) buf + entry->offset / sizeof *to;
    to = render_lfn (entry, to);
    *to++ = make_entry (entry->alias, entry->is_folder ? FAT_ATTR_DIRECTORY : FAT_ATTR_ARCHIVE, &entry->mtime,
                        entry->first, entry->is_folder ? 0 : entry->bytes);
  }
}

const struct format format_fat32 = {
  .name = "fat32",
  .max_file = UINT32_MAX,
  .max_dir = 65536 * sizeof (struct fat_entry),
  .max_volume = (uint64_t) UINT32_MAX * SECTOR_SIZE,
  .mbr_type = 0x0c,   /* FAT32 with LBA */
  .has_aliases = true,
  .zone = fat32_zone,
  .plan = fat32_plan,
  .read_boot = fat32_read_boot,
  .read_fat = fat32_read_fat,
  .own_extents = fat32_own_extents,
  .head_bytes = fat32_head_bytes,
  .entry_bytes = fat32_entry_bytes,
  .dir_bytes = fat32_dir_bytes,
  .dir_render = fat32_dir_render,
};
