/* SPDX-License-Identifier: BSD-3-Clause */
/* What differs between FAT32 and exFAT, as one struct of verbs; no other file asks which of them a disk has.  A raw disk has no
 * file system at all: who works with files asks for raw first, and calls none of the verbs but zone, plan and own_extents.
 *
 * Nothing here does I/O or keeps state: geometry and extent map in, bytes out.
 */

#ifndef CLOUDSHARE_FORMAT_H
#define CLOUDSHARE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "geometry.h"
#include "map.h"

struct dir;
struct dir_entry;

/* Most extents that a format itself puts into the heap. */
#define FORMAT_OWN_EXTENTS 2

struct format {
  const char *name;            /* "fat32", "exfat", "raw" */
  bool raw;                    /* files' bytes one after the other */
  uint64_t max_file;           /* largest file it can hold, bytes */
  uint64_t max_dir;            /* largest directory, bytes */
  uint64_t max_volume;         /* bytes */
  uint8_t mbr_type;            /* partition type */
  bool has_aliases;            /* entries carry 8.3 names */

  /* A number for the rules by which rendered times are told now: folders of another one are rendered anew. */
  int64_t (*zone) (void);

  /* Fills in all that follows from volume_start, volume_bytes and root_bytes (bytes that the root directory needs at
   * first; plan adds spare room).  -1 after one message if the volume is too small or too large. */
  int (*plan) (struct geometry *g, uint64_t root_bytes);

  /* The area of the volume before the FATs and between FATs and heap (boot sectors, FSInfo, padding).  Fills
   * buf with the n bytes at offset from the volume's start; any offset and length below the FAT or in a gap. */
  void (*read_boot) (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset);

  /* n bytes at offset from the start of one FAT (all FATs are alike).  Computed from the map; costs what the range
   * costs, not what the disk has. */
  void (*read_fat) (const struct geometry *g, const struct map *map, void *buf, size_t n, uint64_t offset);

  /* n bytes at offset of the allocation bitmap or up-case table (exFAT; FAT32 has none: NULL). */
  void (*read_meta) (const struct geometry *g, const struct map *map, enum extent_kind kind, void *buf, size_t n,
                     uint64_t offset);

  /* The extents that the format itself has in the heap (exFAT: bitmap and up-case table; FAT32: none), ascending, below
   * root_first, ready for the map.  Returns how many. */
  size_t (*own_extents) (const struct geometry *g, struct extent ret[FORMAT_OWN_EXTENTS]);

  /* Bytes of a directory before its first item. */
  uint32_t (*head_bytes) (bool is_root);

  /* Bytes that one item needs in its directory; wants shown_units and needs_lfn. */
  uint32_t (*entry_bytes) (const struct dir_entry *entry);

  /* Bytes that the directory needs on disk, as a whole number of entries, after dir_map_names; never 0, because an
   * empty folder has a cluster, too. */
  uint64_t (*dir_bytes) (const struct dir *dir);

  /* Renders the directory: dir_bytes bytes into buf.  self and parent are first clusters (root: parent 0).  What no
   * entry takes, of a directory whose entries have slots, becomes deleted entries: a zero would end it. */
  void (*dir_render) (const struct geometry *g, const struct dir *dir, uint32_t self, uint32_t parent, void *buf);
};

extern const struct format format_fat32;
extern const struct format format_exfat;
extern const struct format format_raw;

/* For the formats' plan: sets root_first and root_clusters, with at least one spare cluster and a quarter of what is
 * needed, because a mounted vfat does not see its root grow.  -1 after one message if they do not fit into the heap. */
extern int format_plan_root (struct geometry *g, uint32_t first, uint64_t root_bytes);

/* "fat32", "exfat", "raw"; NULL if there is no such format. */
extern const struct format *format_by_name (const char *name);

#endif /* CLOUDSHARE_FORMAT_H */
