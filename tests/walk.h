/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the tree off a disk as a guest would: root directory, entries, chains; FAT32 and exFAT.
 *
 * It knows the specifications, and of the code under test only disk_read and where the heap begins.  Whatever a guest
 * could stumble over fails the test: a chain that ends early, is shared or leaves the disk; a wrong checksum; "." and
 * ".." that point elsewhere; clusters that the FAT or the bitmap counts and nothing owns.
 */

#ifndef CLOUDSHARE_TESTS_WALK_H
#define CLOUDSHARE_TESTS_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct map;

struct walked {
  char path[256];              /* ASCII alone: what tests use */
  bool is_folder;
  uint64_t size;               /* files: bytes */
  uint32_t first, clusters;
  uint32_t dir_first;          /* of the directory that holds the entry */
  uint32_t slot;               /* where in it the entry begins, bytes */
};

struct walk {
  struct walked *items;        /* sorted by path */
  size_t n, room;
  uint64_t used;               /* clusters that something owns */
};

/* alone: the map holds this tree and nothing else, so that what is counted as used must be owned. */
extern void walk_disk (struct disk *disk, const struct map *map, bool alone, struct walk *ret);
extern void walk_free (struct walk *walk);

/* NULL if there is no such path. */
extern const struct walked *walk_find (const struct walk *walk, const char *path);

#endif /* CLOUDSHARE_TESTS_WALK_H */
