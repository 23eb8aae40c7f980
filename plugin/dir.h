/* SPDX-License-Identifier: BSD-3-Clause */
/* One directory on its way from the catalog to its bytes on disk: gives every item the name that guests see.
 *
 *   dir = dir_new (format, is_root)
 *   dir_add (dir, ...)  for every child, in any order
 *   dir_map_names (dir)         sorts; maps what the format can't hold and what clashes; leaves out what can't be shown
 *   format->dir_bytes (dir)     how much room it needs
 *   dir_set_place (dir, i, first, bytes)   for every entry that is shown and not empty
 *   (slots.h)                   where its entries stand in its bytes; without that, one after the other
 *   format->dir_render (...)
 *   dir_free (dir)
 *
 * Names depend on the set of children alone, not on the order of dir_add.
 */

#ifndef CLOUDSHARE_DIR_H
#define CLOUDSHARE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct format;
struct dir;

struct dir_entry {
  /* Given to dir_add. */
  const char *name;          /* the cloud's own name (bytes, maybe not UTF-8); kept in the dir's arena */
  bool is_folder;
  uint64_t size;             /* files: bytes */
  struct timespec mtime;
  int64_t cookie;            /* the caller's: the item's id */

  /* Set by dir_map_names. */
  uint16_t *shown;           /* UTF-16, host byte order */
  uint16_t shown_units;      /* 1 to 255 */
  uint8_t alias[11];         /* FAT32: the 8.3 name, padded with blanks */
  bool needs_lfn;            /* FAT32: false where the alias alone is the name */
  bool mapped;               /* shown differs from name */
  const char *left_out;      /* a constant string: why it is not on the disk; NULL if it is */

  /* Set by dir_set_place. */
  uint32_t first;            /* first cluster; 0 for an empty file */
  uint32_t offset;           /* set by dir_set_offset */
  uint64_t bytes;            /* files: size; folders: bytes of their room (whole clusters) */
};

extern struct dir *dir_new (const struct format *format, bool is_root);
extern void dir_free (struct dir *dir);

/* -1 after one message (no memory).  name is copied. */
extern int dir_add (struct dir *dir, const char *name, bool is_folder, uint64_t size, const struct timespec *mtime,
                    int64_t cookie);

/* The room that the directory has at most, in place of format->max_dir (a root directory never outgrows root_clusters);
 * before dir_map_names. */
extern void dir_set_room (struct dir *dir, uint64_t bytes);

/* -1 after one message (no memory). */
extern int dir_map_names (struct dir *dir);

/* Entries, sorted by the cloud's name (bytes) once names are mapped; those left out are among them. */
extern size_t dir_count (const struct dir *dir);
extern const struct dir_entry *dir_get (const struct dir *dir, size_t i);
extern bool dir_is_root (const struct dir *dir);

/* Leaves an entry out after names were mapped, because there is no room for it.  reason is a constant string. */
extern void dir_leave_out (struct dir *dir, size_t i, const char *reason);

extern void dir_set_place (struct dir *dir, size_t i, uint32_t first, uint64_t bytes);

/* For slots.h: bytes before the first entry (label, "." and ".."), and of one entry; where an entry begins, and the end
 * of all (0: none was set, entries stand one after the other). */
extern uint32_t dir_head_bytes (const struct dir *dir);
extern uint32_t dir_entry_bytes (const struct dir *dir, size_t i);
extern void dir_set_offset (struct dir *dir, size_t i, uint32_t offset);
extern void dir_set_end (struct dir *dir, uint64_t end);
extern uint64_t dir_end (const struct dir *dir);

/* Why dir_map_names leaves out what does not fit into the room. */
extern const char dir_past_room[];

#endif /* CLOUDSHARE_DIR_H */
