/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories that a guest left: byte by byte, with every half-written state that real guests were seen to leave; what
 * our own renderer makes; and random damage, whose seed is printed. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "dir.h"
#include "exfat.h"
#include "fat32.h"
#include "fattime.h"
#include "guestdisk.h"
#include "shortname.h"

/* --- making directories --- */

static uint8_t made[200000];   /* the directory being made */
static size_t made_bytes;

static void
put (const void *bytes, size_t n)
{
  memcpy (made + made_bytes, bytes, n);
  made_bytes += n;
}

static void
put_short (const char *alias, uint8_t attributes, uint32_t first, uint32_t size, uint8_t nt)
{
  struct fat_entry entry = {
    .attributes = attributes, .nt_reserved = nt,
    .first_high = cpu_to_le16 (first >> 16), .first_low = cpu_to_le16 (first),
    .size = cpu_to_le32 (size), .write_date = cpu_to_le16 (44 << 9 | 1 << 5 | 1), .write_time = cpu_to_le16 (12 << 11),
  };

  memcpy (entry.name, alias, sizeof entry.name);
  put (&entry, sizeof entry);
}

/* Parts [from, to) in the order in which they stand. */
static void
put_parts (const char *name, const char *alias, unsigned from, unsigned to)
{
  const unsigned n = strlen (name), parts = (n + FAT_LFN_UNITS - 1) / FAT_LFN_UNITS;

  for (unsigned i = from; i < to && i < parts; i++) {
    const unsigned part = parts - i;
    struct fat_lfn lfn = {
      .order = part | (i == 0 ? FAT_LFN_LAST : 0), .attributes = FAT_ATTR_LFN,
      .checksum = shortname_checksum ((const uint8_t *) alias),
    };

    for (unsigned k = 0; k < FAT_LFN_UNITS; k++) {
      const unsigned at = (part - 1) * FAT_LFN_UNITS + k;
      /* '\1' stands for NUL. */
      const le16 unit = cpu_to_le16 (at < n ? (name[at] == 1 ? 0 : (uint8_t) name[at]) : at == n ? 0 : 0xffff);

      *(k < 5 ? &lfn.name1[k] : k < 11 ? &lfn.name2[k - 5] : &lfn.name3[k - 11]) = unit;
    }
    put (&lfn, sizeof lfn);
  }
}

static void
put_long (const char *name, const char *alias, uint8_t attributes, uint32_t first, uint32_t size)
{
  put_parts (name, alias, 0, 20);
  put_short (alias, attributes, first, size, 0);
}

static void
poke (size_t offset, uint8_t byte)
{
  made[offset] = byte;
}

static uint16_t
checksum_of (const uint8_t *set, size_t n)
{
  uint16_t sum = 0;

  for (size_t i = 0; i < n; i++)
    if (i != 2 && i != 3)
      sum = (uint16_t) (sum >> 1 | sum << 15) + set[i];
  return sum;
}

static void
seal (size_t offset)
{
  uint8_t *const set = made + offset;
  const uint16_t sum = checksum_of (set, (set[1] + 1u) * 32);

  set[2] = sum & 0xff;
  set[3] = sum >> 8;
}

/* A sound set; extra entries of that type behind it. */
static void
put_set (const char *name, uint16_t attributes, uint8_t flags, uint32_t first, uint64_t size, uint64_t valid,
         unsigned extra, uint8_t extra_type)
{
  const unsigned n = strlen (name), names = (n + EXFAT_NAME_UNITS - 1) / EXFAT_NAME_UNITS;
  const size_t offset = made_bytes;
  const struct exfat_file_entry file = {
    .type = EXFAT_TYPE_FILE, .secondary_count = 1 + names + extra, .attributes = cpu_to_le16 (attributes),
    .write_time = cpu_to_le32 ((44u << 9 | 1 << 5 | 1) << 16 | 12 << 11), .write_10ms = 150,
    .write_offset = 0x84,   /* an hour ahead of UTC */
  };
  const struct exfat_stream_entry stream = {
    .type = EXFAT_TYPE_STREAM, .flags = flags, .name_units = n, .valid_bytes = cpu_to_le64 (valid),
    .first = cpu_to_le32 (first), .bytes = cpu_to_le64 (size),
  };

  put (&file, sizeof file);
  put (&stream, sizeof stream);
  for (unsigned i = 0; i < names; i++) {
    struct exfat_name_entry part = { .type = EXFAT_TYPE_NAME };

    for (unsigned k = 0; k < EXFAT_NAME_UNITS && i * EXFAT_NAME_UNITS + k < n; k++)
      part.name[k] = cpu_to_le16 (name[i * EXFAT_NAME_UNITS + k] == 1 ? 0 : (uint8_t) name[i * EXFAT_NAME_UNITS + k]);
    put (&part, sizeof part);
  }
  for (unsigned i = 0; i < extra; i++) {
    uint8_t entry[32] = { extra_type, 0, 42 };

    put (entry, sizeof entry);
  }
  seal (offset);
}

/* The ways to lay a directory of cluster_bytes: in one run, or cluster by cluster from both ends of an area. */
static void
place_dir (struct parsed_runs *runs, bool in_pieces)
{
  const uint32_t a = heap_cluster (0) + 100;
  const uint32_t n = bytes_to_clusters (&g, made_bytes + 32);   /* room for an end mark */

  *runs = (struct parsed_runs) { .list = calloc (n, sizeof runs->list[0]), .clusters = n };
  if (!in_pieces) {
    runs->list[0] = (struct parsed_run) { a, n };
    runs->n = 1;
  }
  else
    for (uint32_t i = 0; i < n; i++)
      runs->list[runs->n++] = (struct parsed_run) { a + 2 * (i % 2 ? n - 1 - i / 2 : i / 2), 1 };

  for (size_t i = 0, at = 0; i < runs->n; i++) {
    const size_t bytes = (size_t) runs->list[i].count * g.cluster_bytes;
    uint8_t *const to = disk + cluster_to_byte (&g, runs->list[i].first);

    memset (to, 0, bytes);
    if (at < made_bytes)
      memcpy (to, made + at, made_bytes - at < bytes ? made_bytes - at : bytes);
    at += bytes;
  }
}

/* "NAME first size offset+bytes" for each entry, in one line. */
static char *
dir_text (const struct parsed_dir *dir)
{
  static char text[100000];
  char *to = text;

  *to = '\0';
  for (size_t i = 0; i < dir->n && to < text + 90000; i++) {
    const struct parsed_entry *e = &dir->entries[i];

    for (unsigned k = 0; k < e->units; k++)
      to += sprintf (to, e->name[k] >= ' ' && e->name[k] < 0x7f ? "%c" : "{%x}", e->name[k]);
    to += sprintf (to, "%s %d %llu %u+%u; ", e->is_folder ? "/" : "",
                   e->first ? (int) (e->first - heap_cluster (0)) : -1, (unsigned long long) e->size,
                   (unsigned) e->offset, (unsigned) e->bytes);
  }
  sprintf (to, "torn %zu", dir->torn);
  return text;
}

#define A (heap_cluster (0))
#define FILE_ FAT_ATTR_ARCHIVE
#define FOLDER FAT_ATTR_DIRECTORY
#define HEAP_END (g.clusters + 2)
#define LONG_NAME "a name of three parts, of which each.txt"   /* 40 units: 4 parts */
#define ALIAS "ANAMEO~1TXT"

static const char name255[] =
  "00000000001111111111222222222233333333334444444444555555555566666666667777777777888888888899999999990000000000"
  "11111111112222222222333333333344444444445555555555666666666677777777778888888888999999999900000000001111111111"
  "22222222223333333333444444444455555";

/* --- FAT32's --- */

static void
make_empty (void)
{
}

static void
make_plain (void)
{
  put_short ("README  TXT", FILE_, A, 1000, 0);
  put_short ("DIR        ", FOLDER, A + 2, 0, 0);
}

static void
make_case (void)
{
  put_short ("LOWER   TXT", FILE_, 0, 0, 0x18);
  put_short ("BASE    TXT", FILE_, 0, 0, 0x08);
  put_short ("EXT     TXT", FILE_, 0, 0, 0x10);
  put_short ("\x05\x9a\xe4     \x80  ", FILE_, 0, 0, 0);
  put_short ("\x05\x9a\xe4     \x80  ", FILE_, 0, 0, 0x18);
  put_short ("A B     C D", FILE_, 0, 0, 0);
  put_short ("NOEXT      ", FILE_, 0, 0, 0x18);
}

static void
make_long (void)
{
  put_long (LONG_NAME, ALIAS, FILE_, A, 5);
  put_long ("short", "SHORT      ", FILE_, 0, 0);
}

static void
make_13 (void)
{
  put_long ("thirteenunits", "THIRTE~1   ", FILE_, 0, 0);
  put_long ("26units26units26units26uni", "26UNIT~1   ", FILE_, 0, 0);
}

static void
make_255 (void)
{
  put_long (name255, "000000~1   ", FILE_, 0, 0);
}

static void
make_256 (void)
{
  char name[257];

  sprintf (name, "%sx", name255);
  put_long (name, "000000~1   ", FILE_, 0, 0);
}

static void
make_deleted (void)
{
  put_long (LONG_NAME, ALIAS, FILE_, A, 5);
  for (int i = 0; i < 5; i++)
    poke (i * 32, 0xe5);
  put_short ("AFTER      ", FILE_, 0, 0, 0);
}

static void
make_end (void)
{
  make_plain ();
  put ("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
  put_short ("BEHIND     ", FILE_, 0, 0, 0);
}

static void
make_label (void)
{
  put_short ("MY LABEL   ", FAT_ATTR_VOLUME_ID, 0, 0, 0);
  put_short ("FILE       ", FILE_, 0, 0, 0);
}

static void
make_dots (void)
{
  put_short (".          ", FOLDER, A + 9, 0, 0);
  put_short ("..         ", FOLDER, A + 7, 0, 0);
  put_short ("FILE       ", FILE_, 0, 0, 0);
}

/* Created: parts in one sector, the entry in the next one, which is not there yet. */
static void
make_orphans (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 20);
}

static void
make_orphans_deleted (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 20);
  put_short ("\xe5" "NAMEO~1TXT", FILE_, A, 5, 0);
  put_short ("OTHER      ", FILE_, 0, 0, 0);
}

static void
make_orphans_other (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 20);
  put_short ("OTHER      ", FILE_, A, 5, 0);
  put_short ("NEXT       ", FILE_, 0, 0, 0);
}

static void
make_orphans_label (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 20);
  put_short ("LABEL      ", FAT_ATTR_VOLUME_ID, 0, 0, 0);
}

static void
make_orphans_long (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 20);
  put_long ("other", "OTHER      ", FILE_, 0, 0);
}

/* The other way round: the second sector is there, the first one is not. */
static void
make_no_beginning (void)
{
  put_parts (LONG_NAME, ALIAS, 2, 20);
  put_short (ALIAS, FILE_, A, 5, 0);
}

static void
make_beginning_deleted (void)
{
  make_long ();
  poke (0, 0xe5);
  poke (32, 0xe5);
}

static void
make_middle_missing (void)
{
  put_parts (LONG_NAME, ALIAS, 0, 1);
  put_parts (LONG_NAME, ALIAS, 2, 20);
  put_short (ALIAS, FILE_, A, 5, 0);
}

static void
make_end_missing (void)
{
  put_long ("before it a name that is as long as it", "BEFORE     ", FILE_, 0, 0);
  put_parts (LONG_NAME, ALIAS, 0, 3);
  put_short (ALIAS, FILE_, A, 5, 0);
}

static void
make_alias_only (void)
{
  put_short (ALIAS, FILE_, A, 5, 0);
}

static void
make_checksum (void)
{
  make_long ();
  poke (32 + 13, made[32 + 13] + 1);
}

static void
make_alias_changed (void)
{
  make_long ();
  poke (4 * 32 + 3, 'X');
}

static void
make_part_0 (void)
{
  put_long ("short", ALIAS, FILE_, 0, 0);
  poke (0, 0x40);
}

static void
make_part_21 (void)
{
  put_long ("short", ALIAS, FILE_, 0, 0);
  poke (0, 0x40 | 21);
}

static void
make_nul_early (void)
{
  put_long ("a name with NU\1 in the middle of it", ALIAS, FILE_, 0, 0);
}

static void
make_nul_first (void)
{
  put_long ("\1hm", ALIAS, FILE_, 0, 0);
}

static void
make_slash (void)
{
  put_long ("../../etc/passwd", ALIAS, FILE_, 0, 0);
  put_short ("A/B        ", FILE_, 0, 0, 0);
}

static void
make_odd (void)
{
  put_long ("tab\t \x02 *?.", ALIAS, FILE_, 0, 0);
  put_long ("..", "DOTDOT     ", FOLDER, A, 0);
  put_short ("\1\2\3     \x7f  ", FILE_, 0, 0, 0);
}

static void
make_no_name (void)
{
  put_short ("        TXT", FILE_, 0, 0, 0);
  put_short ("           ", FILE_, 0, 0, 0);
}

static void
make_nul_alias (void)
{
  put_short ("AB\0CD      ", FILE_, 0, 0, 0);
}

static void
make_ranges (void)
{
  put_short ("NOFIRST    ", FILE_, 0, 1, 0);
  put_short ("FIRST1     ", FILE_, 1, 1, 0);
  put_short ("BEHIND     ", FILE_, HEAP_END, 1, 0);
  put_short ("HIGH       ", FILE_, 0xfffffff0, 1, 0);
  put_short ("LAST       ", FILE_, HEAP_END - 1, 1, 0);
  put_short ("HUGE       ", FILE_, A, UINT32_MAX, 0);
  put_short ("NOFOLDER   ", FOLDER, 0, 0, 0);
  put_short ("SIZED      ", FOLDER, A, 77, 0);
  put_short ("CHAINED    ", FILE_, A, 0, 0);
}

static void
make_doubles (void)
{
  put_long ("Name.txt", "NAME~1  TXT", FILE_, A, 1);
  put_short ("NAME    TXT", FILE_, A + 1, 2, 0);
  put_short ("NAME    TXT", FILE_, A + 2, 3, 0x18);
  put_short ("OTHER      ", FILE_, A + 3, 4, 0);
}

static void
make_many (void)
{
  for (int i = 0; i < 1000; i++) {
    char name[60], alias[20];

    sprintf (name, "file number %d of very many indeed", i);
    sprintf (alias, "F%07dTXT", i);
    put_long (name, alias, FILE_, A + i, 1);
  }
}

static const struct dir_case {
  const char *what;
  void (*make) (void);
  const char *expected;
} fat32_dirs[] = {
  { "empty", make_empty, "torn 0" },
  { "short names", make_plain, "README.TXT 0 1000 0+32; DIR/ 2 0 32+32; torn 0" },
  { "case, code page", make_case,
    "lower.txt -1 0 0+32; base.TXT -1 0 32+32; EXT.txt -1 0 64+32; {3c3}{dc}{3a3}.{c7} -1 0 96+32; "
    "A B.C D -1 0 160+32; noext -1 0 192+32; torn 1" },
  { "long names", make_long, LONG_NAME " 0 5 0+160; short -1 0 160+64; torn 0" },
  { "names of whole parts", make_13, "thirteenunits -1 0 0+64; 26units26units26units26uni -1 0 64+96; torn 0" },
  { "255 units", make_255, NULL },
  { "256 units", make_256, "torn 1" },
  { "deleted", make_deleted, "AFTER -1 0 160+32; torn 0" },
  { "end mark", make_end, "README.TXT 0 1000 0+32; DIR/ 2 0 32+32; torn 0" },
  { "label", make_label, "FILE -1 0 32+32; torn 0" },
  { "dots", make_dots, "FILE -1 0 64+32; torn 0" },
  { "parts without entry", make_orphans, "torn 1" },
  { "parts before a deleted entry", make_orphans_deleted, "OTHER -1 0 160+32; torn 1" },
  { "parts before another's entry", make_orphans_other, "OTHER 0 5 0+160; NEXT -1 0 160+32; torn 1" },
  { "parts before a label", make_orphans_label, "torn 1" },
  { "parts before another's parts", make_orphans_long, "other -1 0 128+64; torn 1" },
  { "parts without beginning", make_no_beginning, "ANAMEO~1.TXT 0 5 0+96; torn 1" },
  { "beginning deleted", make_beginning_deleted, "ANAMEO~1.TXT 0 5 64+96; short -1 0 160+64; torn 1" },
  { "a part is missing", make_middle_missing, "ANAMEO~1.TXT 0 5 0+128; torn 1" },
  { "the last part is missing", make_end_missing, "before it a name that is as long as it -1 0 0+128; ANAMEO~1.TXT 0 5 128+128; torn 1" },
  { "the alias alone", make_alias_only, "ANAMEO~1.TXT 0 5 0+32; torn 0" },
  { "one checksum", make_checksum, "ANAMEO~1.TXT 0 5 0+160; short -1 0 160+64; torn 1" },
  { "alias changed", make_alias_changed, "ANAXEO~1.TXT 0 5 0+160; short -1 0 160+64; torn 1" },
  { "part 0", make_part_0, "ANAMEO~1.TXT -1 0 0+64; torn 1" },
  { "part 21", make_part_21, "ANAMEO~1.TXT -1 0 0+64; torn 1" },
  { "NUL before the last part", make_nul_early, "ANAMEO~1.TXT -1 0 0+128; torn 1" },
  { "NUL at once", make_nul_first, "ANAMEO~1.TXT -1 0 0+64; torn 1" },
  { "slashes", make_slash, "torn 2" },
  { "odd, and given out", make_odd, "tab{9} {2} *?. -1 0 0+64; ../ 0 0 64+64; {1}{2}{3}.{7f} -1 0 128+32; torn 0" },
  { "no name", make_no_name, "torn 2" },
  { "NUL in an alias", make_nul_alias, "torn 1" },
  { "clusters and sizes", make_ranges, NULL },
  { "doubles", make_doubles, "Name.txt 0 1 0+64; OTHER 3 4 128+32; torn 2" },
  { "many", make_many, NULL },
};

/* --- exFAT's --- */

static void
make_set (void)
{
  put_set ("plain.txt", FILE_, 3, A, 1000, 1000, 0, 0);
  put_set ("folder", FOLDER, 3, A + 2, g.cluster_bytes, g.cluster_bytes, 0, 0);
}

static void
make_set_15 (void)
{
  put_set ("fifteen units 15", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("fifteen units15", FILE_, 1, 0, 0, 0, 0, 0);
  put_set (name255, FILE_, 1, 0, 0, 0, 0, 0);
}

static void
make_set_deleted (void)
{
  make_set ();
  poke (0, 5);
  poke (32, 0x40);
  poke (64, 0x41);
}

static void
make_set_end (void)
{
  make_set ();
  memset (made + made_bytes, 0, 32);
  made_bytes += 32;
  make_set ();
}

/* -o sync: one entry at a time. */
static void
make_set_first_only (void)
{
  uint8_t file[32] = { 0x85 };
  put (file, 32);
}

static void
make_set_second (void)
{
  make_set ();
  poke (1, 0);
  poke (64, 0x41);
  poke (96, 0x05);
  poke (128, 0x40);
  poke (160, 0x41);
}

static void
make_set_checksum (void)
{
  make_set ();
  poke (2, made[2] + 1);
}

static void
make_set_stream_old (void)
{
  make_set ();
  poke (32 + 20, made[32 + 20] + 1);
}

static void
make_set_cut (void)
{
  put_set (LONG_NAME, FILE_, 3, A, 1, 1, 0, 0);
  made_bytes -= 32;
}

static void
make_set_head_gone (void)
{
  put_set (LONG_NAME, FILE_, 3, A, 1, 1, 0, 0);
  poke (0, 5);
  make_set ();
}

static void
make_set_tail_gone (void)
{
  put_set (LONG_NAME, FILE_, 3, A, 1, 1, 0, 0);
  poke (96, 0x41);
  poke (128, 0x41);
  make_set ();
}

static void
make_set_tail_new (void)
{
  put_set (LONG_NAME, FILE_, 3, A, 1, 1, 0, 0);
  made_bytes = 64;
  make_set ();
}

static void
make_set_empty (void)
{
  put_set ("new", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("zero folder", FOLDER, 1, 0, 0, 0, 0, 0);
}

static void
make_set_valid (void)
{
  put_set ("sparse", FILE_, 1, A, 200000, 10000, 0, 0);
  put_set ("over", FILE_, 1, A, 10, 11, 0, 0);
}

static void
make_set_vendor (void)
{
  put_set ("v", FILE_, 1, 0, 0, 0, 3, 0xe0);
  put_set ("allocation", FILE_, 1, 0, 0, 0, 1, 0xe1);
  put_set ("most", FILE_, 1, 0, 0, 0, 253, 0xe0);
}

static void
make_set_critical (void)
{
  put_set ("unknown", FILE_, 1, 0, 0, 0, 1, 0xc2);
  put_set ("two streams", FILE_, 1, 0, 0, 0, 1, 0xc0);
  put_set ("a name more", FILE_, 1, 0, 0, 0, 1, 0xc1);
}

static void
make_set_names (void)
{
  put_set (LONG_NAME, FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("too few, and 15", FILE_, 1, 0, 0, 0, 0, 0);
  poke (160 + 32 + 3, 16);
  seal (160);
  put_set ("none", FILE_, 1, 0, 0, 0, 0, 0);
  poke (256 + 32 + 3, 0);
  seal (256);
  put_set ("fifteen units 16", FILE_, 1, 0, 0, 0, 0, 0);
  poke (352 + 32 + 3, 15);
  seal (352);
}

static void
make_set_order (void)
{
  uint8_t entry[32];

  put_set ("order", FILE_, 1, 0, 0, 0, 0, 0);
  memcpy (entry, made + 32, 32);
  memcpy (made + 32, made + 64, 32);
  memcpy (made + 64, entry, 32);
  seal (0);
}

static void
make_set_nul (void)
{
  put_set ("na\1me", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("a/b", FILE_, 1, 0, 0, 0, 0, 0);
}

static void
make_set_odd (void)
{
  put_set ("..", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("tab\t\x1f*", FILE_, 1, 0, 0, 0, 0, 0);
}

static void
make_set_ranges (void)
{
  put_set ("no first", FILE_, 1, 0, 1, 0, 0, 0);
  put_set ("first 1", FILE_, 1, 1, 1, 0, 0, 0);
  put_set ("behind", FILE_, 1, HEAP_END, 1, 1, 0, 0);
  put_set ("last", FILE_, 1, HEAP_END - 1, 1, 1, 0, 0);
  put_set ("huge", FILE_, 1, A, UINT64_MAX, 1, 0, 0);
  put_set ("heap", FILE_, 1, A, (uint64_t) g.clusters * g.cluster_bytes + 1, 1, 0, 0);
  put_set ("no allocation", FILE_, 0, A, 1, 1, 0, 0);
  put_set ("none needed", FILE_, 0, 0, 0, 0, 0, 0);
}

static void
make_set_unknown (void)
{
  uint8_t benign[96] = { 0xa0, 1 }, critical[64] = { 0x86, 1 };

  benign[32] = 0xc0;
  benign[64] = 0x20;
  critical[32] = 0xc1;
  put (benign, sizeof benign);
  put (critical, sizeof critical);
  make_set ();
}

static void
make_set_doubles (void)
{
  put_set ("Name", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("nAME", FILE_, 1, 0, 0, 0, 0, 0);
  put_set ("names", FILE_, 1, 0, 0, 0, 0, 0);
}

static void
make_set_many (void)
{
  for (int i = 0; i < 1000; i++) {
    char name[60];

    sprintf (name, "file number %d of very many indeed", i);
    put_set (name, FILE_, 3, A + i, 1, 1, 0, 0);
  }
}

static const struct dir_case exfat_dirs[] = {
  { "empty", make_empty, "torn 0" },
  { "plain", make_set, "plain.txt 0 1000 0+96; folder/ 2 32768 96+96; torn 0" },
  { "names of whole entries", make_set_15, NULL },
  { "deleted", make_set_deleted, "folder/ 2 32768 96+96; torn 0" },
  { "end mark", make_set_end, "plain.txt 0 1000 0+96; folder/ 2 32768 96+96; torn 0" },
  { "the first entry alone", make_set_first_only, "torn 1" },
  { "with a count of 0", make_set_second, "torn 2" },
  { "checksum", make_set_checksum, "folder/ 2 32768 96+96; torn 1" },
  { "one entry is old", make_set_stream_old, "folder/ 2 32768 96+96; torn 1" },
  { "cut at the directory's end", make_set_cut, "torn 1" },
  { "first sector deleted", make_set_head_gone, "plain.txt 0 1000 160+96; folder/ 2 32768 256+96; torn 1" },
  { "second sector deleted", make_set_tail_gone, "plain.txt 0 1000 160+96; folder/ 2 32768 256+96; torn 1" },
  { "second sector is another's", make_set_tail_new, "plain.txt 0 1000 64+96; folder/ 2 32768 160+96; torn 1" },
  { "without clusters", make_set_empty, "new -1 0 0+96; zero folder/ -1 0 96+96; torn 0" },
  { "valid data", make_set_valid, "sparse 0 200000 0+96; torn 1" },
  { "benign entries", make_set_vendor, "v -1 0 0+192; allocation -1 0 192+128; most -1 0 320+8192; torn 0" },
  { "critical entries", make_set_critical, "torn 3" },
  { "number of names", make_set_names, LONG_NAME " -1 0 0+160; torn 3" },
  { "order", make_set_order, "torn 1" },
  { "NUL and slash", make_set_nul, "torn 2" },
  { "odd, and given out", make_set_odd, ".. -1 0 0+96; tab{9}{1f}* -1 0 96+96; torn 0" },
  { "clusters and sizes", make_set_ranges, NULL },
  { "unknown sets", make_set_unknown, "plain.txt 0 1000 160+96; folder/ 2 32768 256+96; torn 1" },
  { "doubles", make_set_doubles, "Name -1 0 0+96; names -1 0 192+96; torn 1" },
  { "many", make_set_many, NULL },
};

/* What is too long to stand in a table. */
static const char *
long_expectation (const struct dir_case *c)
{
  static char text[100000];
  char *to = text;

  if (c->make == make_255)
    sprintf (text, "%s -1 0 0+672; torn 0", name255);
  else if (c->make == make_set_15)
    sprintf (text, "fifteen units 15 -1 0 0+128; fifteen units15 -1 0 128+96; %s -1 0 224+608; torn 0", name255);
  else if (c->make == make_ranges)
    sprintf (text, "LAST %u 1 128+32; SIZED/ 0 0 224+32; CHAINED 0 0 256+32; torn 6", (unsigned) (HEAP_END - 1 - A));
  else if (c->make == make_set_ranges)
    sprintf (text, "last %u 1 288+96; none needed -1 0 672+96; torn 6", (unsigned) (HEAP_END - 1 - A));
  else {
    const bool exfat = c->make == make_set_many;
    unsigned offset = 0;

    for (int i = 0; i < 1000; i++) {
      char name[60];
      const unsigned n = sprintf (name, "file number %d of very many indeed", i);
      const unsigned bytes = exfat ? (2 + (n + 14) / 15) * 32 : (1 + (n + 12) / 13) * 32;

      to += sprintf (to, "%s %d 1 %u+%u; ", name, i, offset, bytes);
      offset += bytes;
    }
    sprintf (to, "torn 0");
  }
  return text;
}

static void
check_dir (const struct format *format, const struct dir_case *c)
{
  for (int in_pieces = 0; in_pieces < 2; in_pieces++) {
    struct parsed_runs runs;
    struct parsed_dir dir;

    make_disk (format, PARTITION_MBR, 200 * MIB, 32);
    made_bytes = 0;
    c->make ();
    place_dir (&runs, in_pieces);
    ck_assert_int_eq (parse_dir (parse, &runs, c->make == make_set_cut ? made_bytes : UINT64_MAX, false, &dir), 0);
    ck_assert_msg (strcmp (dir_text (&dir), c->expected ? c->expected : long_expectation (c)) == 0, "%s: %.1500s",
                   c->what, dir_text (&dir));
    ck_assert_ptr_null (dir_problem (&g, runs.clusters * g.cluster_bytes, &dir));
    ck_assert_uint_eq (dir.dotdot, c->make == make_dots ? A + 7 : UINT32_MAX);
    parsed_dir_free (&dir);
    parsed_runs_free (&runs);
    free_disk ();
  }
}

START_TEST (test_fat32_dir)
{
  check_dir (&format_fat32, &fat32_dirs[_i]);
}
END_TEST

START_TEST (test_exfat_dir)
{
  check_dir (&format_exfat, &exfat_dirs[_i]);
}
END_TEST

/* The fields that the tables don't show. */
START_TEST (test_fields)
{
  struct parsed_runs runs;
  struct parsed_dir dir;

  setenv ("TZ", "XXX-2", 1);
  tzset ();
  make_disk (&format_fat32, PARTITION_MBR, DISK_BYTES, 32);
  made_bytes = 0;
  put_short ("..         ", FOLDER, 0, 0, 0);
  put_long (LONG_NAME, ALIAS, FILE_ | 1, A, 5);
  put_short ("NOTIME     ", FILE_, 0, 0, 0);
  memset (made + made_bytes - 32 + 22, 0, 4);
  place_dir (&runs, false);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.n, 2);
  ck_assert_uint_eq (dir.dotdot, 0);
  ck_assert_mem_eq (dir.entries[0].alias, ALIAS, 11);
  ck_assert_uint_eq (dir.entries[0].attributes, FILE_ | 1);
  ck_assert_uint_eq (dir.entries[0].valid, 5);
  ck_assert_int_eq (dir.entries[0].mtime.tv_sec, 1704110400 - 2 * 3600);
  ck_assert_int_eq (dir.entries[0].mtime.tv_nsec, 0);
  ck_assert_uint_eq (dir.entries[0].raw_mtime, (44u << 9 | 1 << 5 | 1) << 16 | 12 << 11);
  ck_assert_int_eq (dir.entries[1].mtime.tv_sec, 0);
  ck_assert_uint_eq (dir.entries[1].raw_mtime, 0);
  parsed_dir_free (&dir);

  /* The root has no '..', whatever stands there. */
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, true, &dir), 0);
  ck_assert_uint_eq (dir.n, 2);
  ck_assert_uint_eq (dir.dotdot, UINT32_MAX);
  parsed_dir_free (&dir);
  /* An alias alone at the beginning of a sector may be half of a name; not so within one, nor behind its long name. */
  made_bytes = 0;
  put_short ("FIRST      ", FILE_, 0, 0, 0);
  for (int i = 1; i < 16; i++)
    put_short ("GONE       ", FILE_, 0, 0, 0);
  for (int i = 1; i < 16; i++)
    poke (i * 32, 0xe5);
  put_short ("HALF~1     ", FILE_, 0, 0, 0);
  put_short ("WHOLE      ", FILE_, 0, 0, 0);
  for (int i = 18; i < 31; i++)
    put_short ("..         ", FOLDER, 0, 0, 0);
  put_long ("a name of two sectors", ALIAS, FILE_, A, 5);
  put_short ("LAST       ", FILE_, 0, 0, 0);
  parsed_runs_free (&runs);
  place_dir (&runs, false);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.n, 5);
  ck_assert (!dir.entries[0].bare && dir.entries[1].bare && !dir.entries[2].bare && !dir.entries[3].bare && !dir.entries[4].bare);
  ck_assert_uint_eq (dir.entries[3].offset, 31 * 32);
  parsed_dir_free (&dir);
  parsed_runs_free (&runs);
  free_disk ();

  make_disk (&format_exfat, PARTITION_MBR, DISK_BYTES, 96);
  made_bytes = 0;
  put_set ("contiguous", FILE_ | 2, 3, A, 1000, 10, 0, 0);
  put_set ("chain", FILE_, 1, A, 1000, 1000, 0, 0);
  poke (96 + 21, 200);         /* no 10 ms, but a time */
  seal (96);
  put_set ("neither", FILE_, 3, 0, 0, 0, 0, 0);
  poke (192 + 14, 0);
  poke (192 + 15, 0);
  seal (192);
  place_dir (&runs, false);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.n, 3);
  ck_assert (dir.entries[0].contiguous);
  ck_assert_uint_eq (dir.entries[0].valid, 10);
  ck_assert_uint_eq (dir.entries[0].attributes, FILE_ | 2);
  ck_assert_int_eq (dir.entries[0].mtime.tv_sec, 1704110400 - 3600 + 1);
  ck_assert_int_eq (dir.entries[0].mtime.tv_nsec, 500000000);
  ck_assert (!dir.entries[1].contiguous);
  ck_assert_int_eq (dir.entries[1].mtime.tv_sec, 1704110400 - 3600);
  ck_assert_int_eq (dir.entries[1].mtime.tv_nsec, 0);
  ck_assert (!dir.entries[2].contiguous);
  ck_assert_int_eq (dir.entries[2].mtime.tv_sec, 0);
  parsed_dir_free (&dir);
  parsed_runs_free (&runs);

  /* The system's own entries: in the root only. */
  made_bytes = 0;
  for (uint8_t type = 0x81; type <= 0x83; type++) {
    uint8_t entry[32] = { type, 200 };

    put (entry, sizeof entry);
  }
  place_dir (&runs, false);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, true, &dir), 0);
  ck_assert_uint_eq (dir.torn, 0);
  parsed_dir_free (&dir);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.torn, 3);
  parsed_dir_free (&dir);
  parsed_runs_free (&runs);
  free_disk ();
}
END_TEST

/* Directories without an end: read as far as one may be long, and said to be incomplete. */
START_TEST (test_huge_dir)
{
  const struct format *const format = formats[_i];
  const bool exfat = format == &format_exfat;
  const uint64_t most = exfat ? PARSE_MAX_DIR_EXFAT : PARSE_MAX_DIR_FAT32;
  struct parsed_runs runs = { .list = calloc (1, sizeof (struct parsed_run)), .n = 1 };
  struct parsed_dir dir;
  uint8_t *at;

  make_disk (format, PARTITION_NONE, 200 * MIB, 32);
  runs.clusters = bytes_to_clusters (&g, 2 * most);
  runs.list[0] = (struct parsed_run) { A, runs.clusters };
  at = disk + cluster_to_byte (&g, A);
  for (uint64_t i = 0; i < 2 * most; i += 32)
    at[i] = exfat ? 5 : 0xe5;
  made_bytes = 0;
  if (exfat)
    put_set ("last", FILE_, 1, 0, 0, 0, 0, 0);
  else
    put_short ("LAST       ", FILE_, 0, 0, 0);
  memcpy (at + most - made_bytes, made, made_bytes);
  memcpy (at + most, made, made_bytes);

  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.n, 1);
  ck_assert_uint_eq (dir.torn, 1);
  ck_assert_uint_le (read_bytes, most + 65536);
  parsed_dir_free (&dir);

  /* Not if it says itself that it is no longer, or has an end. */
  ck_assert_int_eq (parse_dir (parse, &runs, most, false, &dir), 0);
  ck_assert_uint_eq (dir.torn, 0);
  parsed_dir_free (&dir);
  at[most - made_bytes] = 0;
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.torn, 0);
  ck_assert_uint_eq (dir.n, 0);
  parsed_dir_free (&dir);

  /* No runs, no bytes. */
  parsed_runs_free (&runs);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, false, &dir), 0);
  ck_assert_uint_eq (dir.n + dir.torn, 0);
  parsed_dir_free (&dir);
  free_disk ();
}
END_TEST

/* --- our own directories --- */

static void
draw_name (char *to)
{
  static const char *const pieces[] = { "a", "B", ".", " ", "\xc3\xa9", "\xe6\x97\xa5", "\xf0\x9f\x98\x80", "\xff", "0",
                                        "long piece of a name ", "~1", "+", "TXT" };

  for (uint64_t n = 1 + draw (draw (5) ? 8 : 60); n > 0; n--)
    to = stpcpy (to, pieces[draw (sizeof pieces / sizeof pieces[0])]);
  strcpy (to, "x");
}

/* Random children at random places, with holes between. */
static struct dir *
draw_dir (const struct format *format, unsigned n)
{
  struct dir *dir = dir_new (format, false);
  uint64_t end;

  for (unsigned i = 0; i < n; i++) {
    const struct timespec ts = { .tv_sec = 400000000 + draw (3000000000), .tv_nsec = draw (1000000000) };
    char name[2000];

    draw_name (name);
    dir_add (dir, name, draw (4) == 0, draw (3) * draw (100000), &ts, i);
  }
  ASSERT (dir_map_names (dir) == 0);

  end = dir_head_bytes (dir);
  for (size_t i = 0; i < dir_count (dir); i++) {
    const struct dir_entry *e = dir_get (dir, i);

    if (e->left_out)
      continue;
    if (draw (3) == 0)
      end += draw (5) * 32;
    if (e->is_folder || e->size > 0)
      dir_set_place (dir, i, A + draw (1000), e->is_folder ? g.cluster_bytes : e->size);
    dir_set_offset (dir, i, end);
    end += dir_entry_bytes (dir, i);
  }
  dir_set_end (dir, end);
  return dir;
}

static void
check_entry (const struct parsed_entry *got, const struct dir_entry *e)
{
  const bool exfat = g.format == &format_exfat;
  const struct fattime ft = exfat ? fattime_utc (&e->mtime) : fattime_local (&e->mtime);

  ASSERT (got->offset == e->offset);
  ASSERT (got->units == e->shown_units && memcmp (got->name, e->shown, 2 * e->shown_units) == 0);
  ASSERT (got->is_folder == e->is_folder && got->first == e->first);
  ASSERT (got->size == (exfat || !e->is_folder ? e->bytes : 0) && got->valid == got->size);
  ASSERT (got->contiguous == (exfat && e->first != 0));
  ASSERT (got->raw_mtime == fattime_stamp (&ft));
  ASSERT (got->mtime.tv_sec == (exfat ? e->mtime.tv_sec : e->mtime.tv_sec / 2 * 2));
  if (!exfat)
    ASSERT (memcmp (got->alias, e->alias, 11) == 0);
}

START_TEST (test_own_renderer)
{
  setenv ("TZ", "XXX-2", 1);
  tzset ();
  for (int round = 0; round < 60; round++) {
    struct parsed_runs runs;
    struct parsed_dir parsed;
    struct dir *dir;
    size_t k = 0;

    seed = round * 1000 + _i;
    make_disk (formats[_i], PARTITION_MBR, 200 * MIB, 32);
    dir = draw_dir (formats[_i], draw (draw (4) ? 40 : 400));
    made_bytes = g.format->dir_bytes (dir);
    ASSERT (made_bytes <= sizeof made);
    g.format->dir_render (&g, dir, A + 5, A + 6, made);
    place_dir (&runs, draw (2));
    ASSERT (parse_dir (parse, &runs, UINT64_MAX, false, &parsed) == 0);
    ASSERT (parsed.torn == 0 && dir_problem (&g, runs.clusters * g.cluster_bytes, &parsed) == NULL);
    for (size_t i = 0; i < dir_count (dir); i++)
      if (!dir_get (dir, i)->left_out) {
        ASSERT (k < parsed.n);
        check_entry (&parsed.entries[k++], dir_get (dir, i));
      }
    ASSERT (k == parsed.n);
    ASSERT (parsed.dotdot == (g.format == &format_fat32 ? A + 6 : UINT32_MAX));
    parsed_dir_free (&parsed);
    parsed_runs_free (&runs);
    dir_free (dir);
    free_disk ();
  }
}
END_TEST

/* Flipped bits, exchanged and lost sectors: anything may come out but nonsense. */
START_TEST (test_damage)
{
  const struct format *const format = formats[_i % 2];
  struct dir *dir;
  size_t bytes;
  uint8_t *sound;

  seed = time (NULL) * 2 + _i;
  printf ("check-parse: damage, seed %llu\n", (unsigned long long) seed);
  make_disk (format, PARTITION_MBR, 100 * MIB, 32);
  dir = draw_dir (format, 60);
  bytes = format->dir_bytes (dir);
  sound = malloc (bytes);
  format->dir_render (&g, dir, A + 5, A + 6, sound);

  for (int round = 0; round < 1500; round++) {
    struct parsed_runs runs;
    struct parsed_dir parsed;

    memcpy (made, sound, bytes);
    made_bytes = bytes;
    for (uint64_t n = draw (20); n > 0; n--) {
      const size_t at = draw (bytes), a = draw (bytes / 512 + 1) * 512, b = draw (bytes / 512 + 1) * 512;

      switch (draw (5)) {
      case 0: made[at] ^= 1 << draw (8); break;
      case 1: made[at / 32 * 32] = draw (256); break;
      case 2: made[at / 32 * 32 + draw (4)] = draw (256); break;
      case 3:
        if (a + 512 <= bytes && b + 512 <= bytes)
          memcpy (made + a, made + b, 512);
        break;
      default:
        if (a + 512 <= bytes)
          for (size_t i = 0; i < 512; i += 32)
            made[a + i] = format == &format_exfat ? made[a + i] & 0x7f : 0xe5;
      }
    }
    place_dir (&runs, draw (2));
    ASSERT (parse_dir (parse, &runs, draw (4) ? UINT64_MAX : draw (bytes), draw (2), &parsed) == 0);
    ASSERT (dir_problem (&g, runs.clusters * g.cluster_bytes, &parsed) == NULL);
    ASSERT (parsed.n <= dir_count (dir) + 600);
    parsed_dir_free (&parsed);
    parsed_runs_free (&runs);
  }
  free (sound);
  dir_free (dir);
  free_disk ();
}
END_TEST
int
main (void)
{
  Suite *suite = suite_create ("parse-dir");
  TCase *tc = tcase_create ("parse-dir");

  tcase_set_timeout (tc, 120);
  LOOP (tc, test_fat32_dir, fat32_dirs);
  LOOP (tc, test_exfat_dir, exfat_dirs);
  tcase_add_test (tc, test_fields);
  tcase_add_loop_test (tc, test_huge_dir, 0, 2);
  tcase_add_loop_test (tc, test_own_renderer, 0, 2);
  tcase_add_loop_test (tc, test_damage, 0, 4);
  suite_add_tcase (suite, tc);
  return run_suite (suite);
}
