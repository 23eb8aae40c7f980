/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest left on a disk: volumes that are still ours or not; chains, against a slow model, and what they cost. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestdisk.h"

/* --- volumes --- */

enum where { TABLE, BACKUP, BOOT };

static const struct {
  const char *what;
  const char *format;
  enum partitioning style;
  enum where where;            /* at offset from here, n bytes are XORed with these */
  uint32_t offset;
  uint8_t n;
  const char *bytes;
  bool foreign, dirty;
} volumes[] = {
  { "untouched", "fat32", PARTITION_NONE, BOOT, 0, 0, "", false, false },
  { "untouched", "fat32", PARTITION_MBR, BOOT, 0, 0, "", false, false },
  { "untouched", "fat32", PARTITION_GPT, BOOT, 0, 0, "", false, false },
  { "untouched", "exfat", PARTITION_NONE, BOOT, 0, 0, "", false, false },
  { "untouched", "exfat", PARTITION_MBR, BOOT, 0, 0, "", false, false },
  { "untouched", "exfat", PARTITION_GPT, BOOT, 0, 0, "", false, false },

  { "dirty", "fat32", PARTITION_MBR, BOOT, 65, 1, "\1", false, true },
  { "errors on the medium, not dirty", "fat32", PARTITION_MBR, BOOT, 65, 1, "\2", false, false },
  { "OEM name", "fat32", PARTITION_MBR, BOOT, 3, 8, "\1\2\3\4\5\6\7\7", false, false },
  { "serial", "fat32", PARTITION_MBR, BOOT, 67, 4, "\1\2\3\4", false, false },
  { "label", "fat32", PARTITION_MBR, BOOT, 71, 4, "\1\2\3\4", false, false },
  { "boot code", "fat32", PARTITION_MBR, BOOT, 100, 4, "\1\2\3\4", false, false },
  { "FSInfo sector elsewhere", "fat32", PARTITION_MBR, BOOT, 48, 1, "\4", false, false },
  { "active FAT is the first", "fat32", PARTITION_MBR, BOOT, 40, 1, "\x80", false, false },
  { "active FAT is the second", "fat32", PARTITION_MBR, BOOT, 40, 1, "\x81", true, false },
  { "sector size", "fat32", PARTITION_MBR, BOOT, 12, 1, "\6", true, false },
  { "cluster size", "fat32", PARTITION_MBR, BOOT, 13, 1, "\3", true, false },
  { "reserved sectors", "fat32", PARTITION_MBR, BOOT, 14, 1, "\1", true, false },
  { "one FAT", "fat32", PARTITION_MBR, BOOT, 16, 1, "\3", true, false },
  { "no FAT", "fat32", PARTITION_MBR, BOOT, 16, 1, "\2", true, false },
  { "FAT16's root", "fat32", PARTITION_MBR, BOOT, 18, 1, "\2", true, false },
  { "FAT16's size", "fat32", PARTITION_MBR, BOOT, 19, 1, "\1", true, false },
  { "FAT16's FAT", "fat32", PARTITION_MBR, BOOT, 22, 1, "\1", true, false },
  { "grown", "fat32", PARTITION_MBR, BOOT, 34, 1, "\1", true, false },
  { "FAT's size", "fat32", PARTITION_MBR, BOOT, 36, 1, "\1", true, false },
  { "version", "fat32", PARTITION_MBR, BOOT, 43, 1, "\1", true, false },
  { "another root", "fat32", PARTITION_MBR, BOOT, 44, 1, "\1", true, false },
  { "no signature", "fat32", PARTITION_MBR, BOOT, 510, 1, "\1", true, false },

  { "dirty", "exfat", PARTITION_MBR, BOOT, 106, 1, "\2", false, true },
  { "media failure, not dirty", "exfat", PARTITION_MBR, BOOT, 106, 1, "\4", false, false },
  { "second FAT", "exfat", PARTITION_MBR, BOOT, 106, 1, "\1", true, false },
  { "in use", "exfat", PARTITION_MBR, BOOT, 112, 1, "\7", false, false },
  { "serial", "exfat", PARTITION_MBR, BOOT, 100, 4, "\1\2\3\4", false, false },
  { "boot code", "exfat", PARTITION_MBR, BOOT, 120, 4, "\1\2\3\4", false, false },
  { "minor revision", "exfat", PARTITION_MBR, BOOT, 104, 1, "\1", false, false },
  { "major revision", "exfat", PARTITION_MBR, BOOT, 105, 1, "\2", true, false },
  { "name", "exfat", PARTITION_MBR, BOOT, 3, 1, "\1", true, false },
  { "volume's size", "exfat", PARTITION_MBR, BOOT, 79, 1, "\1", true, false },
  { "FAT's offset", "exfat", PARTITION_MBR, BOOT, 80, 1, "\1", true, false },
  { "FAT's size", "exfat", PARTITION_MBR, BOOT, 84, 1, "\1", true, false },
  { "heap's offset", "exfat", PARTITION_MBR, BOOT, 88, 1, "\1", true, false },
  { "clusters", "exfat", PARTITION_MBR, BOOT, 92, 1, "\1", true, false },
  { "another root", "exfat", PARTITION_MBR, BOOT, 96, 1, "\1", true, false },
  { "sector shift", "exfat", PARTITION_MBR, BOOT, 108, 1, "\5", true, false },
  { "sector shift past 32", "exfat", PARTITION_MBR, BOOT, 108, 1, "\x20", true, false },
  { "cluster shift", "exfat", PARTITION_MBR, BOOT, 109, 1, "\1", true, false },
  { "cluster shift past 64", "exfat", PARTITION_MBR, BOOT, 109, 1, "\x40", true, false },
  { "two FATs", "exfat", PARTITION_MBR, BOOT, 110, 1, "\3", true, false },
  { "no signature", "exfat", PARTITION_MBR, BOOT, 511, 1, "\1", true, false },

  { "MBR's code", "fat32", PARTITION_MBR, TABLE, 0, 8, "\1\2\3\4\5\6\7\7", false, false },
  { "disk signature", "fat32", PARTITION_MBR, TABLE, 440, 4, "\1\2\3\4", false, false },
  { "active", "fat32", PARTITION_MBR, TABLE, 446, 1, "\x80", false, false },
  { "type", "fat32", PARTITION_MBR, TABLE, 450, 1, "\7", false, false },
  { "entry is gone", "fat32", PARTITION_MBR, TABLE, 450, 1, "\x0c", true, false },
  { "partition elsewhere", "fat32", PARTITION_MBR, TABLE, 454, 1, "\1", true, false },
  { "a second partition", "fat32", PARTITION_MBR, TABLE, 466, 1, "\x83", false, false },
  { "no table", "fat32", PARTITION_MBR, TABLE, 510, 1, "\1", true, false },
  { "protective, and no GPT", "fat32", PARTITION_MBR, TABLE, 450, 1, "\xe2", true, false },
  { "no table, and none wanted", "fat32", PARTITION_NONE, TABLE, 446, 16, "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", false,
    false },

  { "MBR's code", "exfat", PARTITION_GPT, TABLE, 0, 4, "\1\2\3\4", false, false },
  { "no protective MBR", "exfat", PARTITION_GPT, TABLE, 450, 1, "\xee", false, false },
  { "another table instead", "exfat", PARTITION_GPT, TABLE, 450, 1, "\xed", true, false },
  { "hybrid MBR that names it", "exfat", PARTITION_GPT, TABLE, 462, 16, "\0\0\0\0\7\0\0\0\0\x08\0\0\1\0\0\0", false,
    false },
  { "header torn: the backup", "exfat", PARTITION_GPT, TABLE, 512, 1, "\1", false, false },
  { "header's checksum: the backup", "exfat", PARTITION_GPT, TABLE, 512 + 56, 1, "\1", false, false },
  { "entries torn: the backup", "exfat", PARTITION_GPT, TABLE, 1024 + 200, 1, "\1", false, false },
  { "backup torn", "exfat", PARTITION_GPT, BACKUP, 32 * 512, 1, "\1", false, false },
};

START_TEST (test_volume)
{
  uint64_t at;
  struct parsed_volume volume;

  make_disk (format_by_name (volumes[_i].format), volumes[_i].style, DISK_BYTES, 32);
  at = volumes[_i].where == BOOT ? g.volume_start : volumes[_i].where == BACKUP ? g.disk_bytes - 33 * 512 : 0;
  for (unsigned i = 0; i < volumes[_i].n; i++)
    disk[at + volumes[_i].offset + i] ^= volumes[_i].bytes[i];

  ck_assert_int_eq (parse_volume (parse, &volume), 0);
  ck_assert_msg (volume.foreign == volumes[_i].foreign, "%s: %s", volumes[_i].what, volume.why);
  ck_assert_msg (volume.foreign || volume.dirty == volumes[_i].dirty, "%s", volumes[_i].what);
  ck_assert_int_eq (volume.foreign, volume.why != NULL);
  free_disk ();
}
END_TEST

START_TEST (test_both_gpts_torn)
{
  struct parsed_volume volume;

  make_disk (&format_exfat, PARTITION_GPT, DISK_BYTES, 32);
  disk[512] ^= 1;
  disk[g.disk_bytes - 512] ^= 1;
  ck_assert_int_eq (parse_volume (parse, &volume), 0);
  ck_assert (volume.foreign);

  /* A checksum alone, of the headers, then of the entries. */
  disk[512] ^= 1;
  disk[g.disk_bytes - 512] ^= 1;
  disk[512 + 56] ^= 1;
  disk[g.disk_bytes - 512 + 56] ^= 1;
  ck_assert_int_eq (parse_volume (parse, &volume), 0);
  ck_assert (volume.foreign);
  disk[512 + 56] ^= 1;
  disk[g.disk_bytes - 512 + 56] ^= 1;
  disk[1024 + 200] ^= 1;
  disk[g.disk_bytes - 33 * 512 + 200] ^= 1;
  ck_assert_int_eq (parse_volume (parse, &volume), 0);
  ck_assert (volume.foreign);
  disk[1024 + 200] ^= 1;
  ck_assert_int_eq (parse_volume (parse, &volume), 0);
  ck_assert (!volume.foreign);

  /* All kinds of rubbish in both headers. */
  for (seed = 1; seed < 2000; seed++) {
    disk[512 + draw (92)] = draw (256);
    disk[g.disk_bytes - 512 + draw (92)] = draw (256);
    ASSERT (parse_volume (parse, &volume) == 0 && volume.foreign);
  }
  free_disk ();
}
END_TEST

/* --- chains --- */

static const char *
found_name (enum parsed_chain found)
{
  static const char *const names[] = { "sound", "long", "short", "free", "broken" };

  return found <= CHAIN_BROKEN ? names[found] : "?";
}

/* Clusters are told as differences to the first one behind the root, A; -1 ends, 0 is free, -7 is bad, -9 is behind the
 * heap. */
#define LINKS 8
static const struct {
  const char *what;
  int links[LINKS];            /* what the FAT has for A, A + 1, ... */
  int first;                   /* -2: 0 */
  int64_t clusters;            /* content of so many; -1: as long as it goes */
  const char *expected;
} chains[] = {
  { "empty", { 0 }, -2, 0, "sound" },
  { "no cluster for content", { 0 }, -2, 1, "short" },
  { "no cluster, any length", { 0 }, -2, -1, "short" },
  { "one", { -1 }, 0, 1, "sound 0+1" },
  { "one, any length", { -1 }, 0, -1, "sound 0+1" },
  { "contiguous", { 1, 2, 3, -1 }, 0, 4, "sound 0+4" },
  { "fragmented", { 2, 1, 3, -1, 0, 0, 0, 4 }, 1, 1, "broken 1+1" },
  { "backwards", { -1, -20, 1 }, 0, 1, "sound 0+1" },
  { "in pieces", { 5, -1, 0, 0, 0, 6, 1 }, 0, 4, "sound 0+1 5+2 1+1" },
  { "any length, in pieces", { 5, -1, 0, 0, 0, 6, 1 }, 0, -1, "sound 0+1 5+2 1+1" },
  { "append: the chain is first", { 1, 2, -1 }, 0, 1, "long 0+1" },
  { "created: size 0, but a chain", { 1, -1 }, 0, 0, "long" },
  { "truncated: the FAT is first", { -1 }, 0, 3, "short 0+1" },
  { "replaced: the old chain is free", { 0 }, 0, 2, "free" },
  { "its end is free", { 1, 2, 0 }, 0, 3, "free 0+2" },
  { "size 0 and free", { 0 }, 0, 0, "free" },
  { "bad cluster", { 1, -7 }, 0, 2, "broken 0+1" },
  { "leads out", { 1, -9 }, 0, 3, "broken 0+2" },
  { "leads out behind what is needed", { 1, -9 }, 0, 2, "broken 0+2" },
  { "begins outside", { 0 }, -9, 1, "broken" },
  { "begins at 1", { 0 }, -3, 1, "broken" },
  { "itself", { 20 }, 0, 2, "broken 0+1" },
  { "circle", { 1, 2, 20 }, 0, 100, "broken 0+3" },
  { "circle, any length", { 1, 2, 20 }, 0, -1, "broken 0+3" },
  { "circle to the middle", { 1, 2, 3, 1 }, 0, 50, "broken 0+4" },
  { "circle in pieces", { 4, 3, 5, 2, 6, 1, 1 }, 0, 1000, "broken 0+1 4+1 6+1 1+1 3+1 2+1 5+1" },
  { "circle just behind", { 1, 2, 20 }, 0, 3, "broken 0+3" },
};

static uint32_t
chain_cluster (int n)
{
    switch (n) {
  case -1: return g.format == &format_fat32 ? 0x0fffffff : 0xffffffff;
  case -2: return 0;
  case -3: return 1;
  case -7: return g.format == &format_fat32 ? 0x0ffffff7 : 0xfffffff7;
  case -9: return g.clusters + 2;
  case -20: return 0;
  case 20: return heap_cluster (0);
  default: return heap_cluster (n);
  }
}

static char *
chain_text (enum parsed_chain found, const struct parsed_runs *runs)
{
  static char text[1000];
  char *to = text + sprintf (text, "%s", found_name (found));

  for (size_t i = 0; i < runs->n && i < 30; i++)
    to += sprintf (to, " %u+%u", (unsigned) (runs->list[i].first - g.root_first - g.root_clusters),
                   (unsigned) runs->list[i].count);
  return text;
}

START_TEST (test_chain)
{
  const uint64_t clusters = chains[_i].clusters;

  for (int f = 0; f < 2; f++) {
    enum parsed_chain found;
    struct parsed_runs runs;
    bool differ;

    make_disk (formats[f], PARTITION_MBR, DISK_BYTES, 32);
    for (int i = 0; i < LINKS; i++) {
      const int link = chains[_i].links[i];

      /* 0 is a free one, 20 is A. */
      set_fat (chain_cluster (i), link == 0 ? 0 : chain_cluster (link));
    }
    for (int last = 0; last < 2; last++) {
      /* The last cluster may be full, or have one byte. */
      const uint64_t bytes = chains[_i].clusters < 0 ? UINT64_MAX :
                             clusters * g.cluster_bytes - (last && clusters ? g.cluster_bytes - 1 : 0);
      const uint32_t first = chain_cluster (chains[_i].first);

      ck_assert_int_eq (parse_chain (parse, first, bytes, false, &found, &runs, &differ), 0);
      ck_assert_msg (strcmp (chain_text (found, &runs), chains[_i].expected) == 0, "%s on %s: %s", chains[_i].what,
                     g.format->name, chain_text (found, &runs));
      ck_assert (!differ);
      ck_assert_ptr_null (chain_problem (&g, first, bytes, found, &runs));
      parsed_runs_free (&runs);
    }
    free_disk ();
  }
}
END_TEST

START_TEST (test_fats_differ)
{
  enum parsed_chain found;
  struct parsed_runs runs;
  bool differ, allocated;
  uint32_t a;

  make_disk (&format_fat32, PARTITION_MBR, DISK_BYTES, 32);
  a = heap_cluster (0);
  set_fat (a, a + 1);
  set_fat (a + 1, 0x0fffffff);
  /* The bits that FAT32 does not use are nobody's business. */
  set_fat_copy (1, a, 0xf0000000 | (a + 1));
  ck_assert_int_eq (parse_chain (parse, a, 600, false, &found, &runs, &differ), 0);
  ck_assert_str_eq (chain_text (found, &runs), "sound 0+2");
  ck_assert (!differ);
  parsed_runs_free (&runs);

  /* The second FAT is behind: seen while an append is written. */
  set_fat_copy (1, a, 0x0fffffff);
  parse_forget (parse);
  ck_assert_int_eq (parse_chain (parse, a, 600, false, &found, &runs, &differ), 0);
  ck_assert_str_eq (chain_text (found, &runs), "sound 0+2");
  ck_assert (differ);
  parsed_runs_free (&runs);

  /* Freed in the first only. */
  set_fat_copy (1, a, a + 1);
  set_fat_copy (0, a, 0);
  parse_forget (parse);
  ck_assert_int_eq (parse_chain (parse, a, 600, false, &found, &runs, &differ), 0);
  ck_assert_str_eq (chain_text (found, &runs), "free");
  ck_assert (differ);
  parsed_runs_free (&runs);

  ck_assert_int_eq (parse_is_allocated (parse, a, &allocated), 0);
  ck_assert (!allocated);
  ck_assert_int_eq (parse_is_allocated (parse, a + 1, &allocated), 0);
  ck_assert (allocated);
  ck_assert_int_eq (parse_is_allocated (parse, 0, &allocated), 0);
  ck_assert (!allocated);
  ck_assert_int_eq (parse_is_allocated (parse, g.clusters + 2, &allocated), 0);
  ck_assert (!allocated);
  ck_assert_int_eq (parse_is_allocated (parse, UINT32_MAX, &allocated), 0);
  ck_assert (!allocated);
  free_disk ();
}
END_TEST

START_TEST (test_contiguous)
{
  enum parsed_chain found;
  struct parsed_runs runs;
  bool differ;
  uint32_t a, last;

  make_disk (&format_exfat, PARTITION_MBR, DISK_BYTES, 96);
  a = heap_cluster (0);
  last = g.clusters + 1;
  for (uint32_t i = 0; i < 600; i++)
    set_bit (a + i, true);

  const struct {
    uint32_t first;
    uint64_t clusters;
    const char *expected;
  } cases[] = {
    { a, 1, "sound 0+1" },
    { a + 3, 597, "sound 3+597" },
    { a, 600, "sound 0+600" },
    { a, 601, "free 0+600" },        /* append: the entry is first */
    { a + 3, 605, "free 3+597" },
    { a + 600, 1, "free" },          /* deleted: the bitmap is first */
    { a, 0, "long" },
    { a + 600, 0, "free" },
    { 0, 0, "sound" },
    { 0, 1, "short" },
    { 1, 1, "broken" },
    { last + 1, 1, "broken" },
    { UINT32_MAX, 1, "broken" },
    { last, 1, "free" },
    { a, g.clusters, "free 0+600" },
  };

  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const uint64_t bytes = cases[i].clusters * g.cluster_bytes;

    /* What the FAT says is rubbish. */
    for (uint32_t k = 0; k < 600; k++)
      set_fat_copy (0, a + k, draw (UINT32_MAX));
    ck_assert_int_eq (parse_chain (parse, cases[i].first, bytes, true, &found, &runs, &differ), 0);
    ck_assert_str_eq (chain_text (found, &runs), cases[i].expected);
    ck_assert_ptr_null (chain_problem (&g, cases[i].first, bytes, found, &runs));
    parsed_runs_free (&runs);
  }

  /* Past the heap's end, which is not a whole byte of the bitmap. */
  for (uint32_t i = a; i <= last; i++)
    set_bit (i, true);
  parse_forget (parse);
  ck_assert_int_eq (parse_chain (parse, last - 9, 11 * (uint64_t) g.cluster_bytes, true, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_BROKEN);
  ck_assert_uint_eq (runs.clusters, 10);
  parsed_runs_free (&runs);
  ck_assert_int_eq (parse_chain (parse, last - 9, 10 * (uint64_t) g.cluster_bytes, true, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_SOUND);
  parsed_runs_free (&runs);

  /* A chain of which one bit is missing (exFAT's bitmap has the say). */
  for (uint32_t i = 0; i < 8; i++)
    set_fat (a + i, a + i + 1);
  set_fat (a + 8, 0xffffffff);
  set_bit (a + 5, false);
  parse_forget (parse);
  ck_assert_int_eq (parse_chain (parse, a, 9 * (uint64_t) g.cluster_bytes, false, &found, &runs, &differ), 0);
  ck_assert_str_eq (chain_text (found, &runs), "free 0+5");
  parsed_runs_free (&runs);
  free_disk ();
}
END_TEST

/* The same by the simplest means. */
static enum parsed_chain
slow_chain (const uint32_t *fat, uint32_t first, uint64_t needed, uint32_t *list, uint32_t *ret_n)
{
  const uint32_t mask = g.format == &format_fat32 ? 0x0fffffff : 0xffffffff, bad = 0xfffffff7 & mask;
  bool *seen = calloc ((size_t) g.clusters + 2, 1);
  enum parsed_chain found;
  uint32_t n = 0;

  for (uint32_t c = first; ; c = fat[c]) {
    if (n > 0 && c > bad) {
      found = n < needed ? CHAIN_SHORT : CHAIN_SOUND;
      break;
    }
    if (c < 2 || c > g.clusters + 1 || seen[c] || fat[c] == bad) {
      found = CHAIN_BROKEN;
      break;
    }
    if (fat[c] == 0) {
      found = CHAIN_FREE;
      break;
    }
    if (n == needed) {
      found = CHAIN_LONG;
      break;
    }
    seen[c] = true;
    list[n++] = c;
  }
  free (seen);
  *ret_n = n;
  return found;
}

/* Random graphs of few clusters, so that everything meets everything. */
START_TEST (test_random_chains)
{
  const struct format *const format = formats[_i % 2];
  const uint32_t mask = format == &format_fat32 ? 0x0fffffff : 0xffffffff;
  uint32_t *fat, *list;

  make_disk (format, PARTITION_NONE, 40 * MIB, 32);
  fat = calloc ((size_t) g.clusters + 2, sizeof fat[0]);
  list = calloc ((size_t) g.clusters + 2, sizeof list[0]);
  for (int round = 0; round < 1500; round++) {
    /* Runs with jumps, some ends, few holes. */
    const uint32_t a = heap_cluster (0), n = 1 + draw (draw (2) ? 12 : 600);
    const uint64_t kind = 4 + draw (40);

    seed += _i * 7919;
    for (uint32_t i = 0; i < n; i++) {
      const uint64_t k = draw (kind);

      fat[a + i] = k == 0 ? a + draw (n) : k == 1 && draw (3) == 0 ? mask - draw (8) : k == 2 && draw (20) == 0 ? 0 :
                   k == 3 && draw (20) == 0 ? draw (mask) : a + i + 1;
      set_fat (a + i, fat[a + i]);
    }
    fat[a + n] = draw (2) ? mask : 0;
    set_fat (a + n, fat[a + n]);
    parse_forget (parse);

    for (int k = 0; k < 4; k++) {
      const uint32_t first = a + draw (n);
      const uint64_t needed = draw (2 * n);
      enum parsed_chain found;
      struct parsed_runs runs;
      uint32_t expected, got = 0;
      bool differ;
      const enum parsed_chain slow = slow_chain (fat, first, needed, list, &expected);

      ASSERT (parse_chain (parse, first, needed * g.cluster_bytes, false, &found, &runs, &differ) == 0);
      for (size_t r = 0; r < runs.n; r++)
        for (uint32_t c = 0; c < runs.list[r].count; c++)
          ASSERT (got < expected && list[got++] == runs.list[r].first + c);
      ASSERT (got == expected && found == slow && !differ);
      ASSERT (chain_problem (&g, first, needed * g.cluster_bytes, found, &runs) == NULL);
      parsed_runs_free (&runs);
    }
  }
  free (list);
  free (fat);
  free_disk ();
}
END_TEST

/* What a hostile chain costs: no more than its clusters. */
START_TEST (test_cost)
{
  enum parsed_chain found;
  struct parsed_runs runs;
  bool differ;
  uint32_t a;

  /* Two clusters in a circle, as a file that fills the disk. */
  make_disk (&format_exfat, PARTITION_NONE, 1 << 30, 96);
  a = heap_cluster (0);
  set_fat (a, a + 9);
  set_fat (a + 9, a);
  ck_assert_int_eq (parse_chain (parse, a, (uint64_t) g.clusters * g.cluster_bytes, false, &found, &runs, &differ), 0);
  ck_assert_str_eq (chain_text (found, &runs), "broken 0+1 9+1");
  ck_assert_uint_le (reads, 4);
  parsed_runs_free (&runs);
  free_disk ();

  /* Every second cluster, then the others: reads go by windows. */
  make_disk (&format_fat32, PARTITION_NONE, DISK_BYTES, 32);
  a = heap_cluster (0);
  for (uint32_t i = 0; i < 40000; i += 2) {
    set_fat (a + i, a + i + 2 < 40000 + a ? a + i + 2 : a + 1);
    set_fat (a + i + 1, a + i + 3 < 40000 + a ? a + i + 3 : 0x0fffffff);
  }
  ck_assert_int_eq (parse_chain (parse, a, (uint64_t) 40000 * g.cluster_bytes, false, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_SOUND);
  ck_assert_uint_eq (runs.n, 40000);
  ck_assert_uint_le (reads, 2 * 2 * (40000 * 4 / 4096 + 2));

  /* To and fro between two places. */
  parsed_runs_free (&runs);
  for (uint32_t i = 0; i < 1000; i++) {
    set_fat (a + i, a + 53000 + i);
    set_fat (a + 53000 + i, i < 999 ? a + i + 1 : 0x0fffffff);
  }
  parse_forget (parse);
  reads = 0;
  ck_assert_int_eq (parse_chain (parse, a, (uint64_t) 2000 * g.cluster_bytes, false, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_SOUND);
  ck_assert_uint_le (reads, 12);

  /* A circle of which every cluster is in another window. */
  parsed_runs_free (&runs);
  for (uint32_t i = 0; i < 50; i++)
    set_fat (a + i * 1024, a + (i + 1) % 50 * 1024);
  parse_forget (parse);
  reads = 0;
  ck_assert_int_eq (parse_chain (parse, a, (uint64_t) g.clusters * g.cluster_bytes, false, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_BROKEN);
  ck_assert_uint_eq (runs.clusters, 50);
  ck_assert_uint_le (reads, 2 * 128);
  parsed_runs_free (&runs);
  for (uint32_t i = 0; i < 40000; i += 2)
    set_fat (a + i, a + i + 2);
  parse_forget (parse);

  /* As a directory it ends where a directory must. */
  ck_assert_int_eq (parse_chain (parse, a, UINT64_MAX, false, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_LONG);
  ck_assert_uint_eq (runs.clusters * g.cluster_bytes, PARSE_MAX_DIR_FAT32);
  parsed_runs_free (&runs);
  free_disk ();
}
END_TEST
/* --- errors --- */

START_TEST (test_read_errors)
{
  struct parsed_volume volume;
  enum parsed_chain found;
  struct parsed_runs runs;
  struct parsed_run one;
  struct parsed_dir dir;
  bool differ, allocated;

  make_disk (formats[_i], PARTITION_GPT, DISK_BYTES, 32);
  reads_fail = true;
  messages = 0;
  ck_assert_int_eq (parse_volume (parse, &volume), -1);
  ck_assert_int_eq (messages, 1);
  ck_assert_int_eq (parse_chain (parse, g.root_first, UINT64_MAX, false, &found, &runs, &differ), -1);
  ck_assert_int_eq (messages, 2);
  ck_assert_int_eq (parse_chain (parse, g.root_first, 1, true, &found, &runs, &differ), -1);
  ck_assert_int_eq (messages, 3);
  ck_assert_int_eq (parse_is_allocated (parse, g.root_first, &allocated), -1);
  ck_assert_int_eq (messages, 4);
  one = (struct parsed_run) { g.root_first, 1 };
  runs = (struct parsed_runs) { .list = &one, .n = 1, .clusters = 1 };
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, true, &dir), -1);
  ck_assert_int_eq (messages, 5);

  /* What could not be read is read again, and has spoiled nothing. */
  if (formats[_i] == &format_fat32) {
    reads_fail = false;
    ck_assert_int_eq (parse_is_allocated (parse, g.root_first, &allocated), 0);
    reads_fail = true;
    ck_assert_int_eq (parse_is_allocated (parse, g.root_first + 8 * 1024, &allocated), -1);
  }
  reads_fail = false;
  ck_assert_int_eq (parse_chain (parse, g.root_first, UINT64_MAX, false, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_SOUND);
  ck_assert_uint_eq (runs.clusters, g.root_clusters);
  ck_assert_int_eq (parse_dir (parse, &runs, UINT64_MAX, true, &dir), 0);
  parsed_dir_free (&dir);
  parsed_runs_free (&runs);
  free_disk ();
}
END_TEST
int
main (void)
{
  Suite *suite = suite_create ("parse");
  TCase *tc = tcase_create ("parse");

  tcase_set_timeout (tc, 120);
  LOOP (tc, test_volume, volumes);
  tcase_add_test (tc, test_both_gpts_torn);
  LOOP (tc, test_chain, chains);
  tcase_add_test (tc, test_fats_differ);
  tcase_add_test (tc, test_contiguous);
  tcase_add_loop_test (tc, test_random_chains, 0, 4);
  tcase_add_test (tc, test_cost);
  tcase_add_loop_test (tc, test_read_errors, 0, 2);
  suite_add_tcase (suite, tc);
  return run_suite (suite);
}
