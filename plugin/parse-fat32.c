/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: FAT32's boot sector, and its directories with their long names. */

#include <config.h>

#include <string.h>

#include "fat32.h"
#include "fattime.h"
#include "names.h"
#include "parse-private.h"
#include "shortname.h"

/* fatgen103, "FAT Directory Structure": first byte of a name. */
#define NAME_END     0x00
#define NAME_DELETED 0xe5
#define NAME_E5      0x05

/* Which part of the 8.3 name stands for lower case; Windows NT and Linux do so. */
#define LOWER_BASE      0x08
#define LOWER_EXTENSION 0x10

/* fatgen103: ATTR_LONG_NAME_MASK. */
#define ATTR_LFN_MASK 0x3f

#define MAX_PARTS 20

#define FLAGS_ONE_FAT 0x80   /* only the FAT that bits 0-3 name is kept */

static const char *
fat32_check_boot (const struct geometry *g, const void *sector, bool *ret_dirty)
{
  const struct fat32_boot *const boot = sector;
  const uint64_t fat_offset = g->fat_start - g->volume_start;

  *ret_dirty = boot->dirty & 1;
  if (le16_to_cpu (boot->signature) != 0xaa55 || boot->fats == 0)
    return "its boot sector is no boot sector";
  if (le16_to_cpu (boot->root_entries) != 0 || le16_to_cpu (boot->total_sectors_16) != 0 ||
      le16_to_cpu (boot->fat_sectors_16) != 0 || le16_to_cpu (boot->version) != 0)
    return "its boot sector is that of another file system than FAT32";
  if (le16_to_cpu (boot->bytes_per_sector) != SECTOR_SIZE ||
      boot->sectors_per_cluster * SECTOR_SIZE != g->cluster_bytes || boot->fats != g->fats ||
      le16_to_cpu (boot->reserved_sectors) * (uint64_t) SECTOR_SIZE != fat_offset ||
      le32_to_cpu (boot->fat_sectors) * (uint64_t) SECTOR_SIZE != g->fat_bytes ||
      le32_to_cpu (boot->total_sectors) * (uint64_t) SECTOR_SIZE != g->volume_bytes ||
      le32_to_cpu (boot->root_cluster) != g->root_first)
    return "it was made anew: its boot sector tells of another layout";
  if (le16_to_cpu (boot->flags) & FLAGS_ONE_FAT && le16_to_cpu (boot->flags) & 0x0f)
    return "its boot sector says that the first FAT is not kept";
  return NULL;
}

static int
fat32_is_allocated (struct parse *parse, uint32_t cluster, uint32_t entry, bool *ret)
{
  *ret = entry != 0;
  return 0;
}

/* --- names --- */

/* Code page 437 from 0x80 on. */
static const uint16_t code_page[128] = {
  0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7,
  0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
  0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
  0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
  0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba,
  0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
  0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556,
  0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
  0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
  0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
  0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b,
  0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
  0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4,
  0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
  0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
  0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

/* Both letters of a pair are in the code page: a lower-case letter of it that is not has nothing to become. */
static uint8_t
lower (uint8_t byte)
{
  static const uint8_t upper_letters[] = "\x80\x8e\x8f\x90\x92\x99\x9a\xa5\xe4\xe8";
  static const uint8_t lower_letters[] = "\x87\x84\x86\x82\x91\x94\x81\xa4\xe5\xed";

  if (byte >= 'A' && byte <= 'Z')
    return byte - 'A' + 'a';
  for (size_t i = 0; byte >= 0x80 && i < sizeof upper_letters - 1; i++)
    if (byte == upper_letters[i])
      return lower_letters[i];
  return byte;
}

static size_t
decode_part (const uint8_t *from, size_t n, bool in_lower, uint16_t *to)
{
  while (n > 0 && from[n - 1] == ' ')
    n--;
  for (size_t i = 0; i < n; i++) {
    const uint8_t byte = in_lower ? lower (from[i]) : from[i];

    to[i] = byte < 0x80 ? byte : code_page[byte - 0x80];
  }
  return n;
}

/* The 8.3 name as a guest shows it.  0 units: none. */
static size_t
decode_alias (const struct fat_entry *entry, uint16_t name[SHORTNAME_TEXT_UNITS])
{
  uint8_t alias[SHORTNAME_BYTES];
  size_t n, extension;

  memcpy (alias, entry->name, sizeof alias);
  if (alias[0] == NAME_E5)
    alias[0] = 0xe5;
  n = decode_part (alias, 8, entry->nt_reserved & LOWER_BASE, name);
  if (n == 0)
    return 0;
  extension = decode_part (alias + 8, 3, entry->nt_reserved & LOWER_EXTENSION, name + n + 1);
  if (extension == 0)
    return n;
  name[n] = '.';
  return n + 1 + extension;
}

/* The long-name entries that stand before what is looked at; live ones only. */
struct long_name {
  unsigned parts;            /* of the set; 0: no set, or one without its beginning */
  unsigned missing;          /* still to come, counted down to 0 */
  bool pending;              /* there are some */
  uint32_t offset;           /* of the first */
  uint8_t checksum;
  uint16_t units[MAX_PARTS * FAT_LFN_UNITS];
};

/* Long-name entries without the entry that they belong to. */
static void
drop_long_name (struct long_name *name, struct parsed_dir *dir)
{
  dir->torn += name->pending;
  name->pending = false;
  name->parts = name->missing = 0;
}

static void
add_part (struct long_name *name, const struct fat_lfn *lfn, uint32_t offset, struct parsed_dir *dir)
{
  const unsigned part = lfn->order & ~FAT_LFN_LAST;
  uint16_t *to;

  if (lfn->order & FAT_LFN_LAST) {
    drop_long_name (name, dir);
    if (part >= 1 && part <= MAX_PARTS)
      name->parts = name->missing = part;
    name->checksum = lfn->checksum;
  }
  if (!name->pending)
    name->offset = offset;
  name->pending = true;

  if (name->missing == 0 || part != name->missing || lfn->checksum != name->checksum) {
    name->parts = name->missing = 0;
    return;
  }

  to = name->units + --name->missing * FAT_LFN_UNITS;
  for (unsigned i = 0; i < 5; i++)
    *to++ = le16_to_cpu (lfn->name1[i]);
  for (unsigned i = 0; i < 6; i++)
    *to++ = le16_to_cpu (lfn->name2[i]);
  for (unsigned i = 0; i < 2; i++)
    *to++ = le16_to_cpu (lfn->name3[i]);
}

/* Its units; 0: the parts before the entry are not its long name. */
static size_t
finish_long_name (const struct long_name *name, const uint8_t alias[SHORTNAME_BYTES])
{
  const size_t most = name->parts * FAT_LFN_UNITS;
  size_t units = 0;

  if (name->parts == 0 || name->missing != 0 || name->checksum != shortname_checksum (alias))
    return 0;

  /* fatgen103, "Name Storage": 0 ends a name that does not fill its last part; never in a part before. */
  while (units < most && name->units[units] != 0)
    units++;
  return units >= most - FAT_LFN_UNITS ? units : 0;
}

/* --- entries --- */

static struct parsed_entry
read_entry (const struct fat_entry *entry)
{
  const struct fattime written = { .date = le16_to_cpu (entry->write_date), .time = le16_to_cpu (entry->write_time) };
  struct parsed_entry ret = {
    .attributes = entry->attributes,
    .is_folder = entry->attributes & FAT_ATTR_DIRECTORY,
    .first = (uint32_t) le16_to_cpu (entry->first_high) << 16 | le16_to_cpu (entry->first_low),
    .raw_mtime = fattime_stamp (&written),
  };

  ret.size = ret.valid = ret.is_folder ? 0 : le32_to_cpu (entry->size);
  memcpy (ret.alias, entry->name, sizeof ret.alias);
  if (fattime_from_local (&written, &ret.mtime) == -1)
    ret.mtime = (struct timespec) { .tv_sec = 0 };
  return ret;
}

static int
add_entry (struct dir_reader *reader, const struct fat_entry *on_disk, uint32_t offset, struct long_name *name,
           struct parsed_dir *dir)
{
  struct parsed_entry entry = read_entry (on_disk);
  uint16_t alias[SHORTNAME_TEXT_UNITS];
  const bool is_long = name->pending;
  const size_t long_units = is_long ? finish_long_name (name, on_disk->name) : 0;
  const size_t units = long_units ? long_units : decode_alias (on_disk, alias);

  entry.offset = is_long ? name->offset : offset;
  entry.bytes = offset + sizeof *on_disk - entry.offset;
  /* A sector is whole, two are not: the first of them may be as it is, or as it was, whatever the second is. */
  entry.bare = is_long ? long_units == 0 : offset > 0 && offset % SECTOR_SIZE == 0;
  /* fatgen103, "Name Storage": parts that are not of this entry are orphans; it has its short name. */
  dir->torn += is_long && long_units == 0;
  name->pending = false;
  name->parts = name->missing = 0;

  /* A folder without a cluster is none: it has '.' and '..' in it. */
  if (!dir_place_is_sound (reader, entry.first, entry.size) || (entry.is_folder && entry.first == 0)) {
    dir->torn++;
    return 0;
  }
  return parsed_dir_add (dir, &entry, long_units ? name->units : alias, units);
}

static bool
has_name (const struct fat_entry *entry, const char *name)
{
  return memcmp (entry->name, name, sizeof entry->name) == 0;
}

static int
fat32_read_dir (struct dir_reader *reader, bool is_root, struct parsed_dir *ret)
{
  struct long_name name = { .pending = false };
  struct fat_entry entry;
  int r;

  for (uint32_t offset = 0; (r = dir_reader_get (reader, offset, &entry)) == 1; offset += sizeof entry) {
    if (entry.name[0] == NAME_END)
      break;

    if (entry.name[0] != NAME_DELETED && (entry.attributes & ATTR_LFN_MASK) == FAT_ATTR_LFN) {
      struct fat_lfn lfn;

      memcpy (&lfn, &entry, sizeof lfn);
      add_part (&name, &lfn, offset, ret);
    }
    else if (entry.name[0] == NAME_DELETED || entry.attributes & FAT_ATTR_VOLUME_ID)
      drop_long_name (&name, ret);
    else if (has_name (&entry, ".          ") || has_name (&entry, "..         ")) {
      drop_long_name (&name, ret);
      if (!is_root && entry.name[1] == '.' && ret->dotdot == UINT32_MAX)
        ret->dotdot = read_entry (&entry).first;
    }
    else if (add_entry (reader, &entry, offset, &name, ret) == -1)
      return -1;
  }
  drop_long_name (&name, ret);
  return r == -1 ? -1 : 0;
}

const struct parse_format parse_fat32 = {
  .fat_mask = 0x0fffffff,   /* fatgen103, "FAT Data Structure": the four highest bits are reserved */
  .fat_bad = 0x0ffffff7,
  .max_dir = PARSE_MAX_DIR_FAT32,
  .check_boot = fat32_check_boot,
  .is_allocated = fat32_is_allocated,
  .read_dir = fat32_read_dir,
};
