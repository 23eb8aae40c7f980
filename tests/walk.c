/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the tree off a disk as a guest would.  Microsoft's fatgen103; "exFAT file system specification". */

#include <config.h>

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "core.h"
#include "disk.h"
#include "format.h"
#include "map.h"
#include "walk.h"

#define MAX_DEPTH 64

struct reader {
  struct disk *disk;
  const struct map *map;
  const struct geometry *g;
  struct walk *walk;
  uint32_t *fat;
  bool *owned;                 /* by cluster */
};

static uint32_t
get16 (const uint8_t *p)
{
  return p[0] | p[1] << 8;
}

static uint32_t
get32 (const uint8_t *p)
{
  return get16 (p) | get16 (p + 2) << 16;
}

static uint64_t
get64 (const uint8_t *p)
{
  return get32 (p) | (uint64_t) get32 (p + 4) << 32;
}

static void *
read_bytes (struct reader *reader, uint64_t n, uint64_t offset)
{
  void *buf = malloc (n ? n : 1);

  MUST (buf != NULL);
  MUST (disk_read (reader->disk, reader->map, buf, n, offset) == 0);
  return buf;
}

static void
own (struct reader *reader, uint32_t first, uint64_t count)
{
  for (uint64_t c = first; c < first + count; ++c) {
    if (c < 2 || c >= (uint64_t) reader->g->clusters + 2)
      ck_abort_msg ("cluster %llu is not on the disk", (unsigned long long) c);
    if (reader->owned[c])
      ck_abort_msg ("cluster %llu has two owners", (unsigned long long) c);
    reader->owned[c] = true;
    reader->walk->used++;
  }
}

/* Follows a chain, which must be contiguous, as all of ours are; fatgen103, "FAT Data Structure". */
static uint32_t
chain_clusters (struct reader *reader, uint32_t first, uint32_t mask, uint32_t end)
{
  uint32_t n = 1;

  for (uint32_t c = first;; ++c, ++n) {
    uint32_t next;

    MUST (c >= 2 && c < reader->g->clusters + 2);
    next = reader->fat[c] & mask;
    if (next >= end)
      return n;
    if (next != c + 1)
      ck_abort_msg ("after cluster %u comes %u", c, next);
  }
}

static struct walked *
add_item (struct reader *reader, const char *folder, const char *name, uint32_t dir_first, uint32_t slot)
{
  struct walk *walk = reader->walk;
  struct walked *item;

  if (walk->n == walk->room) {
    walk->room = walk->room * 2 + 64;
    walk->items = realloc (walk->items, walk->room * sizeof *walk->items);
  }
  item = &walk->items[walk->n++];
  memset (item, 0, sizeof *item);
  MUST (snprintf (item->path, sizeof item->path, "%s%s%s", folder, *folder ? "/" : "", name) < (int) sizeof item->path);
  item->dir_first = dir_first;
  item->slot = slot;
  return item;
}

static uint64_t
size_to_clusters (const struct reader *reader, uint64_t size)
{
  return (size + reader->g->cluster_bytes - 1) / reader->g->cluster_bytes;
}

/* ---- FAT32 ---- */

static uint8_t
alias_sum (const uint8_t *alias)
{
  uint8_t sum = 0;

  for (int i = 0; i < 11; ++i)
    sum = (sum >> 1 | sum << 7) + alias[i];
  return sum;
}

/* An 8.3 name with the lower-case bits that Windows NT keeps in byte 12. */
static void
alias_name (const uint8_t *entry, char ret[13])
{
  size_t n = 0;

  for (int i = 0; i < 8 && entry[i] != ' '; ++i)
    ret[n++] = entry[12] & 8 ? tolower (entry[i]) : entry[i];
  for (int i = 8; i < 11 && entry[i] != ' '; ++i) {
    if (i == 8)
      ret[n++] = '.';
    ret[n++] = entry[12] & 16 ? tolower (entry[i]) : entry[i];
  }
  ret[n] = '\0';
}

/* Puts the 13 units of a long name's entry where they belong. */
static void
add_lfn (const uint8_t *entry, char name[261])
{
  static const uint8_t places[] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
  const size_t at = ((entry[0] & 0x3f) - 1) * sizeof places;

  MUST ((entry[0] & 0x3f) >= 1 && (entry[0] & 0x3f) <= 20);
  for (size_t i = 0; i < sizeof places; ++i) {
    const uint32_t unit = get16 (entry + places[i]);

    MUST (unit < 128 || unit == 0xffff);
    name[at + i] = unit == 0xffff ? '\0' : unit;
  }
}

static void
walk_fat_folder (struct reader *reader, const char *path, uint32_t first, uint32_t parent, int depth)
{
  const uint32_t clusters = chain_clusters (reader, first, 0x0fffffff, 0x0ffffff8);
  const uint64_t bytes = (uint64_t) clusters * reader->g->cluster_bytes;
  CLEANUP_FREE uint8_t *data = read_bytes (reader, bytes, cluster_to_byte (reader->g, first));
  const bool is_root = depth == 0;
  char name[261] = "";
  uint32_t begin = 0;
  int sum = -1;

  MUST (depth < MAX_DEPTH);
  own (reader, first, clusters);
  for (uint32_t at = 0; at < bytes && data[at] != 0; at += 32) {
    const uint8_t *entry = data + at;
    const uint32_t cluster = get16 (entry + 20) << 16 | get16 (entry + 26);
    struct walked *item;
    char alias[13];

    if (entry[0] == 0xe5) {
      MUST (sum == -1);
      continue;
    }
    if (entry[11] == 0x0f) {
      if (entry[0] & 0x40) {
        MUST (sum == -1);
        memset (name, 0, sizeof name);
        sum = entry[13];
        begin = at;
      }
      MUST (entry[13] == sum);
      add_lfn (entry, name);
      continue;
    }
    if (entry[11] & 0x08) {
      MUST (is_root);
      continue;
    }
    if (!is_root && at < 64) {
      MUST (memcmp (entry, at == 0 ? ".          " : "..         ", 11) == 0);
      MUST (cluster == (at == 0 ? first : parent));
      continue;
    }
    alias_name (entry, alias);
    if (sum == -1) {
      begin = at;
      strcpy (name, alias);
    }
    else
      MUST (alias_sum (entry) == sum);
    sum = -1;
    item = add_item (reader, path, name, first, begin);
    item->is_folder = entry[11] & 0x10;
    item->size = get32 (entry + 28);
    item->first = cluster;
    if (item->is_folder) {
      char below[256];

      MUST (item->size == 0);
      item->clusters = chain_clusters (reader, cluster, 0x0fffffff, 0x0ffffff8);
      strcpy (below, item->path);
      walk_fat_folder (reader, below, cluster, is_root ? 0 : first, depth + 1);
    }
    else if (item->size > 0) {
      item->clusters = chain_clusters (reader, cluster, 0x0fffffff, 0x0ffffff8);
      MUST (item->clusters == size_to_clusters (reader, item->size));
      own (reader, cluster, item->clusters);
    }
    else
      MUST (cluster == 0);
  }
  MUST (sum == -1);
}

/* ---- exFAT ---- */

/* 6.3.3 */
static uint16_t
set_sum (const uint8_t *set, size_t n)
{
  uint16_t sum = 0;

  for (size_t i = 0; i < n; ++i)
    if (i != 2 && i != 3)
      sum = (sum >> 1 | sum << 15) + set[i];
  return sum;
}

static void walk_exfat_folder (struct reader *reader, const char *path, uint32_t first, uint64_t bytes, int depth);

static void
walk_exfat_set (struct reader *reader, const char *path, const uint8_t *set, size_t n, uint32_t dir_first,
                uint32_t slot, int depth)
{
  const uint8_t *stream = set + 32;
  const unsigned units = stream[3];
  char name[256];
  struct walked *item;

  MUST (set[1] >= 2);
  MUST (get16 (set + 2) == set_sum (set, n));
  MUST (stream[0] == 0xc0);
  MUST (set[1] == 1 + (units + 14) / 15);
  for (unsigned i = 0; i < units; ++i) {
    const uint8_t *entry = set + 64 + i / 15 * 32;

    MUST (entry[0] == 0xc1);
    MUST (get16 (entry + 2 + i % 15 * 2) < 128);
    name[i] = entry[2 + i % 15 * 2];
  }
  name[units] = '\0';
  item = add_item (reader, path, name, dir_first, slot);
  item->is_folder = get16 (set + 4) & 0x10;
  item->size = get64 (stream + 24);
  item->first = get32 (stream + 20);
  MUST (get64 (stream + 8) == item->size);
  if (item->size == 0) {
    MUST (item->first == 0);
    MUST (!item->is_folder);
    return;
  }
  MUST (stream[1] & 1);
  item->clusters = size_to_clusters (reader, item->size);
  if (!(stream[1] & 2))
    MUST (chain_clusters (reader, item->first, 0xffffffff, 0xffffffff) == item->clusters);
  own (reader, item->first, item->clusters);
  if (item->is_folder) {
    char below[256];
    const uint64_t bytes = item->size;

    MUST (bytes % reader->g->cluster_bytes == 0);
    item->size = 0;
    strcpy (below, item->path);
    walk_exfat_folder (reader, below, item->first, bytes, depth + 1);
  }
}

static void
walk_exfat_folder (struct reader *reader, const char *path, uint32_t first, uint64_t bytes, int depth)
{
  CLEANUP_FREE uint8_t *data = read_bytes (reader, bytes, cluster_to_byte (reader->g, first));

  MUST (depth < MAX_DEPTH);
  for (uint64_t at = 0; at < bytes && data[at] != 0; at += 32) {
    const uint8_t *entry = data + at;
    uint64_t n;

    switch (entry[0]) {
    case 0x81:                 /* 7.1 */
    case 0x82:                 /* 7.2 */
      MUST (depth == 0);
      n = chain_clusters (reader, get32 (entry + 20), 0xffffffff, 0xffffffff);
      MUST (n == size_to_clusters (reader, get64 (entry + 24)));
      own (reader, get32 (entry + 20), n);
      break;
    case 0x83:
      MUST (depth == 0);
      break;
    case 0x85:
      n = 32 * (1 + (uint64_t) entry[1]);
      MUST (at + n <= bytes);
      walk_exfat_set (reader, path, entry, n, first, at, depth);
      at += n - 32;
      break;
    default:
      MUST (!(entry[0] & 0x80));    /* a stray entry */
    }
  }
}

/* 7.1.5: what the bitmap says. */
static uint64_t
bitmap_used (struct reader *reader)
{
  const struct geometry *g = reader->g;
  CLEANUP_FREE uint8_t *bits = read_bytes (reader, (g->clusters + 7) / 8, cluster_to_byte (g, g->bitmap_first));
  uint64_t used = 0;

  for (uint32_t c = 2; c < g->clusters + 2; ++c) {
    const bool is_used = bits[(c - 2) / 8] >> (c - 2) % 8 & 1;

    if (!is_used && reader->owned[c])
      ck_abort_msg ("cluster %u has an owner and counts as free", c);
    used += is_used;
  }
  return used;
}

static uint64_t
fat_used (struct reader *reader)
{
  uint64_t used = 0;

  for (uint32_t c = 2; c < reader->g->clusters + 2; ++c)
    used += (reader->fat[c] & 0x0fffffff) != 0;
  return used;
}

/* ---- all of it ---- */

static int
compare_paths (const void *a, const void *b)
{
  return strcmp (((const struct walked *) a)->path, ((const struct walked *) b)->path);
}

void
walk_disk (struct disk *disk, const struct map *map, bool alone, struct walk *ret)
{
  const struct geometry *g = disk_geometry (disk);
  struct reader reader = { .disk = disk, .map = map, .g = g, .walk = ret };
  const bool is_fat = g->format == &format_fat32;
  uint64_t used;

  memset (ret, 0, sizeof *ret);
  reader.fat = read_bytes (&reader, (g->clusters + 2) * UINT64_C (4), g->fat_start);
  for (uint32_t c = 0; c < g->clusters + 2; ++c)
    reader.fat[c] = get32 ((const uint8_t *) &reader.fat[c]);
  reader.owned = calloc (g->clusters + 2, 1);
  if (is_fat)
    walk_fat_folder (&reader, "", g->root_first, 0, 0);
  else {
    const uint32_t clusters = chain_clusters (&reader, g->root_first, 0xffffffff, 0xffffffff);

    own (&reader, g->root_first, clusters);
    walk_exfat_folder (&reader, "", g->root_first, (uint64_t) clusters * g->cluster_bytes, 0);
  }
  used = is_fat ? fat_used (&reader) : bitmap_used (&reader);
  if (alone)
    MUST (used == ret->used);
  else
    MUST (used >= ret->used);
  free (reader.fat);
  free (reader.owned);
  if (ret->n > 0)
    qsort (ret->items, ret->n, sizeof *ret->items, compare_paths);
  for (size_t i = 1; i < ret->n; ++i)
    MUST (strcmp (ret->items[i - 1].path, ret->items[i].path) != 0);
}

void
walk_free (struct walk *walk)
{
  free (walk->items);
  memset (walk, 0, sizeof *walk);
}

const struct walked *
walk_find (const struct walk *walk, const char *path)
{
  struct walked key;

  if (walk->n == 0)
    return NULL;
  snprintf (key.path, sizeof key.path, "%s", path);
  return bsearch (&key, walk->items, walk->n, sizeof *walk->items, compare_paths);
}
