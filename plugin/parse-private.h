/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the parts of parse: what differs between the formats, windows on FATs and bitmap, directories as a row of
 * entries. */

#ifndef CLOUDSHARE_PARSE_PRIVATE_H
#define CLOUDSHARE_PARSE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parse.h"

struct dir_reader;

struct parse_format {
  uint32_t fat_mask;         /* bits of a FAT entry that count */
  uint32_t fat_bad;          /* a bad cluster; what is higher ends a chain */
  uint64_t max_dir;

  /* The boot sector: NULL if it is that of our volume, else a constant sentence. */
  const char *(*check_boot) (const struct geometry *g, const void *sector, bool *ret_dirty);

  /* entry is the cluster's in the FAT. */
  int (*is_allocated) (struct parse *parse, uint32_t cluster, uint32_t entry, bool *ret);

  /* Adds what the entries say to *ret. */
  int (*read_dir) (struct dir_reader *reader, bool is_root, struct parsed_dir *ret);
};

extern const struct parse_format parse_fat32;
extern const struct parse_format parse_exfat;

/* ---- windows (parse.c) ---- */

/* A chain costs a read for every 4 KiB of FAT that it goes through, not one for every cluster.  Each area has a few
 * windows, its n-th 4 KiB in window n % WINDOWS, so that the two FATs, and mostly a chain that goes to and fro, do
 * not drive each other out. */
#define WINDOW_BYTES 4096u
#define WINDOWS 8u

enum area { AREA_FAT, AREA_FAT_COPY, AREA_BITMAP };
#define AREAS 3

struct window {
  bool valid;
  uint64_t offset;           /* in the area; a multiple of WINDOW_BYTES */
  uint8_t bytes[WINDOW_BYTES];
};

struct parse {
  const struct geometry *geometry;
  const struct parse_format *format;
  parse_read read;
  void *opaque;
  struct window windows[AREAS][WINDOWS];
};

/* The bytes from offset of the area to the end of its window: *ret_n, at least 1, or as many as the caller's unit if
 * that divides WINDOW_BYTES.  offset must lie in the area.  NULL after one message. */
extern const uint8_t *parse_window (struct parse *parse, enum area area, uint64_t offset, size_t *ret_n);

/* Whether the heap has it. */
extern bool parse_has_cluster (const struct parse *parse, uint32_t cluster);

/* The cluster's entry in a FAT, without the bits that don't count. */
extern int parse_fat_entry (struct parse *parse, enum area area, uint32_t cluster, uint32_t *ret);

/* ---- directories (parse-dir.c) ---- */

#define DIR_ENTRY_BYTES 32u

/* The 32 bytes at offset, a multiple of 32, and never less than the offset before.  1; 0: the directory ends before; -1
 * after one message. */
extern int dir_reader_get (struct dir_reader *reader, uint64_t offset, void *ret);

/* What it is the directory of. */
extern struct parse *dir_reader_parse (const struct dir_reader *reader);

/* Whether a cluster and a size, as an entry has them, can be a file's or folder's: 0 for none, and then of 0 bytes. */
extern bool dir_place_is_sound (const struct dir_reader *reader, uint32_t first, uint64_t bytes);

/* Adds an entry, whose name is copied; one whose name is no name counts as torn instead.  -1 after one message. */
extern int parsed_dir_add (struct parsed_dir *dir, const struct parsed_entry *entry, const uint16_t *name,
                           size_t units);

#endif /* CLOUDSHARE_PARSE_PRIVATE_H */
