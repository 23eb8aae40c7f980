/* SPDX-License-Identifier: BSD-3-Clause */
/* A file allocation table of 32-bit entries, computed from the extent map.  Because all that we lay out is contiguous,
 * the entry of a cluster in use is the next cluster, or the end of the chain at its extent's last cluster. */

#ifndef CLOUDSHARE_FAT_H
#define CLOUDSHARE_FAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

/* What FAT32 and exFAT do differently. */
struct fat_style {
  uint32_t entry_0, entry_1;
  uint32_t end_of_chain;
  bool only_fat_chain;     /* exFAT: extents without fat_chain leave their entries 0 */
};

/* Fills buf with the n bytes at offset of the FAT, at any alignment; zeros past its last entry. */
extern void fat_read (const struct map *map, const struct fat_style *style, void *buf, size_t n, uint64_t offset);

#endif /* CLOUDSHARE_FAT_H */
