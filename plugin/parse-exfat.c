/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: exFAT's boot sector, bitmap and sets of directory entries.  Numbers in comments are sections of the exFAT
 * specification. */

#include <config.h>

#include <string.h>

#include "exfat.h"
#include "fattime.h"
#include "names.h"
#include "parse-private.h"

/* 3.1.13, volume flags. */
#define FLAG_SECOND_FAT 0x01
#define FLAG_DIRTY      0x02

/* 6.2.1, bits of an entry's type. */
#define TYPE_IN_USE    0x80
#define TYPE_SECONDARY 0x40
#define TYPE_BENIGN    0x20

#define NAMES_FIRST 2        /* 7.4: file, stream, then the names */
#define MAX_SET (1 + 255)    /* secondary_count is one byte; vendors' entries make sets longer than 19 */
#define MAX_NAMES ((NAME_UNITS + EXFAT_NAME_UNITS - 1) / EXFAT_NAME_UNITS)

static const char *
exfat_check_boot (const struct geometry *g, const void *sector, bool *ret_dirty)
{
  const struct exfat_boot *const boot = sector;

  *ret_dirty = le16_to_cpu (boot->flags) & FLAG_DIRTY;
  if (le16_to_cpu (boot->signature) != 0xaa55)
    return "its boot sector is no boot sector";
  if (memcmp (boot->name, "EXFAT   ", sizeof boot->name) != 0 || le16_to_cpu (boot->revision) >> 8 != 1)
    return "its boot sector is that of another file system than exFAT";
  if (boot->sector_shift != __builtin_ctz (SECTOR_SIZE) ||
      boot->cluster_shift != __builtin_ctz (g->cluster_bytes / SECTOR_SIZE) || boot->fats != g->fats ||
      le64_to_cpu (boot->volume_sectors) != g->volume_bytes / SECTOR_SIZE ||
      le32_to_cpu (boot->fat_offset) * (uint64_t) SECTOR_SIZE != g->fat_start - g->volume_start ||
      le32_to_cpu (boot->fat_sectors) * (uint64_t) SECTOR_SIZE != g->fat_bytes ||
      le32_to_cpu (boot->heap_offset) * (uint64_t) SECTOR_SIZE != g->heap_start - g->volume_start ||
      le32_to_cpu (boot->clusters) != g->clusters || le32_to_cpu (boot->root_cluster) != g->root_first)
    return "it was made anew: its boot sector tells of another layout";
  if (le16_to_cpu (boot->flags) & FLAG_SECOND_FAT)
    return "its boot sector says that the first FAT is not in use";
  return NULL;
}

static int
exfat_is_allocated (struct parse *parse, uint32_t cluster, uint32_t entry, bool *ret)
{
  size_t n;
  const uint8_t *bits = parse_window (parse, AREA_BITMAP, (cluster - 2) / 8, &n);

  if (bits == NULL)
    return -1;
  *ret = bits[0] >> (cluster - 2) % 8 & 1;
  return 0;
}

/* --- sets --- */

typedef uint8_t raw_entry[DIR_ENTRY_BYTES];

struct entry_set {
  unsigned n;                /* entries, the first included */
  raw_entry entries[MAX_SET];
};

/* 6.3.3: the field itself, bytes 2 and 3, is left out. */
static uint16_t
set_checksum (const struct entry_set *set)
{
  const uint8_t *const bytes = set->entries[0];
  uint16_t sum = 0;

  for (size_t i = 0; i < set->n * sizeof (raw_entry); i++)
    if (i != 2 && i != 3)
      sum = (uint16_t) (sum >> 1 | sum << 15) + bytes[i];
  return sum;
}

static bool
is_secondary (const raw_entry entry)
{
  return (entry[0] & (TYPE_IN_USE | TYPE_SECONDARY)) == (TYPE_IN_USE | TYPE_SECONDARY);
}

/* Reads up to `most' secondary entries behind the one at offset, which is in the set already, as far as there are. */
static int
read_secondaries (struct dir_reader *reader, uint32_t offset, unsigned most, struct entry_set *set)
{
  while (set->n < 1 + most) {
    const int r = dir_reader_get (reader, offset + set->n * DIR_ENTRY_BYTES, set->entries[set->n]);

    if (r == -1)
      return -1;
    if (r == 0 || !is_secondary (set->entries[set->n]))
      break;
    set->n++;
  }
  return 0;
}

/* Whether names, and nothing but names, stand where they must, and behind them only what may be ignored (8.2: benign
 * entries that are not known). */
static bool
has_right_entries (const struct entry_set *set, unsigned names)
{
  for (unsigned i = NAMES_FIRST; i < set->n; i++) {
    const uint8_t type = set->entries[i][0];

    if (i < NAMES_FIRST + names ? type != EXFAT_TYPE_NAME : !(type & TYPE_BENIGN))
      return false;
  }
  return set->n >= NAMES_FIRST + names;
}

static struct timespec
read_time (const struct exfat_file_entry *file)
{
  const uint32_t stamp = le32_to_cpu (file->write_time);
  struct fattime ft = { .date = stamp >> 16, .time = stamp, .ten_ms = file->write_10ms };
  struct timespec ts;

  if (ft.ten_ms > 199)
    ft.ten_ms = 0;
  return fattime_from_exfat (&ft, file->write_offset, &ts) == 0 ? ts : (struct timespec) { .tv_sec = 0 };
}

/* False: half written. */
static bool
read_set (const struct dir_reader *reader, const struct entry_set *set, struct parsed_entry *ret,
          uint16_t name[MAX_NAMES * EXFAT_NAME_UNITS])
{
  struct exfat_file_entry file;
  struct exfat_stream_entry stream;

  memcpy (&file, set->entries[0], sizeof file);
  memcpy (&stream, set->entries[1], sizeof stream);
  if (set->n != 1u + file.secondary_count || set->n <= NAMES_FIRST || stream.type != EXFAT_TYPE_STREAM ||
      set_checksum (set) != le16_to_cpu (file.checksum))
    return false;

  const unsigned names = (stream.name_units + EXFAT_NAME_UNITS - 1) / EXFAT_NAME_UNITS;

  if (!has_right_entries (set, names))
    return false;
  for (unsigned i = 0; i < names; i++) {
    struct exfat_name_entry part;

    memcpy (&part, set->entries[NAMES_FIRST + i], sizeof part);
    for (unsigned j = 0; j < EXFAT_NAME_UNITS; j++)
      name[i * EXFAT_NAME_UNITS + j] = le16_to_cpu (part.name[j]);
  }

  *ret = (struct parsed_entry) {
    .units = stream.name_units,
    .attributes = le16_to_cpu (file.attributes),
    .is_folder = le16_to_cpu (file.attributes) & EXFAT_ATTR_DIRECTORY,
    .first = le32_to_cpu (stream.first),
    .size = le64_to_cpu (stream.bytes),
    .valid = le64_to_cpu (stream.valid_bytes),
    .mtime = read_time (&file),
    .raw_mtime = le32_to_cpu (file.write_time),
  };
  ret->contiguous = stream.flags & EXFAT_NO_FAT_CHAIN && ret->first != 0;

  /* 6.3.4.1: without that flag the entry has no clusters. */
  return dir_place_is_sound (reader, ret->first, ret->size) && ret->valid <= ret->size &&
         (ret->first == 0 || stream.flags & EXFAT_ALLOCATION_POSSIBLE);
}

static int
add_set (struct dir_reader *reader, uint32_t offset, const struct entry_set *set, struct parsed_dir *dir)
{
  uint16_t name[MAX_NAMES * EXFAT_NAME_UNITS];
  struct parsed_entry entry;

  if (!read_set (reader, set, &entry, name)) {
    dir->torn++;
    return 0;
  }
  entry.offset = offset;
  entry.bytes = set->n * DIR_ENTRY_BYTES;
  return parsed_dir_add (dir, &entry, name, entry.units);
}

/* What a primary entry and the secondary ones behind it say. */
static int
read_primary (struct dir_reader *reader, uint32_t offset, bool is_root, struct entry_set *set, struct parsed_dir *dir)
{
  const uint8_t type = set->entries[0][0];

  /* 7.1 to 7.3: these have no secondary_count. */
  if (is_root && (type == EXFAT_TYPE_BITMAP || type == EXFAT_TYPE_UPCASE || type == EXFAT_TYPE_LABEL))
    return 0;

  if (read_secondaries (reader, offset, set->entries[0][1], set) == -1)
    return -1;
  if (type == EXFAT_TYPE_FILE)
    return add_set (reader, offset, set, dir);
  if (!(type & TYPE_BENIGN))
    dir->torn++;   /* 8.2: an unknown critical entry may mean anything */
  return 0;
}

static int
exfat_read_dir (struct dir_reader *reader, bool is_root, struct parsed_dir *ret)
{
  struct entry_set set;
  bool stray = false;        /* secondary entries whose primary one is gone: one torn set, however many */
  int r;

  for (uint32_t offset = 0; (r = dir_reader_get (reader, offset, set.entries[0])) == 1;
       offset += set.n * DIR_ENTRY_BYTES) {
    set.n = 1;
    if (set.entries[0][0] == 0)
      break;
    if (is_secondary (set.entries[0])) {
      ret->torn += !stray;
      stray = true;
      continue;
    }
    stray = false;
    if (set.entries[0][0] & TYPE_IN_USE && read_primary (reader, offset, is_root, &set, ret) == -1)
      return -1;
  }
  return r == -1 ? -1 : 0;
}

const struct parse_format parse_exfat = {
  .fat_mask = 0xffffffff,
  .fat_bad = 0xfffffff7,     /* 4.1.3 */
  .max_dir = PARSE_MAX_DIR_EXFAT,
  .check_boot = exfat_check_boot,
  .is_allocated = exfat_is_allocated,
  .read_dir = exfat_read_dir,
};
