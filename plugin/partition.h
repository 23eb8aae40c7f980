/* SPDX-License-Identifier: BSD-3-Clause */
/* The partition table around the volume: none, MBR, or GPT (UEFI specification 2.10, chapter 5), with one partition, or one for
 * each geometry that follows the first by its next.
 *
 *   partition_plan (g, style, disk_bytes)   before format->plan
 *   partition_share (g, i, n)               after it: only the part i of n
 *   partition_read (g, ...)                 every byte of the disk outside the volume
 *   partition_names_volume (g, ...)         whether a table that a guest may have changed still has the volume
 *
 * Pure, but for the bytes that partition_names_volume is given to read.  partition_read uses the geometry's identity and
 * label, which partition_plan leaves alone.
 */

#ifndef CLOUDSHARE_PARTITION_H
#define CLOUDSHARE_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

/* Sets partitioning, disk_bytes (rounded down to a sector), volume_start and volume_bytes.  -1 after one message if the
 * disk is too small, or too large for this kind of table. */
extern int partition_plan (struct geometry *g, enum partitioning style, uint64_t disk_bytes);

/* Of a disk with n partitions of one size, the one at i, from 0.  -1 after one message if there is no room for so many. */
extern int partition_share (struct geometry *g, unsigned i, unsigned n);

/* Fills buf with the n bytes at offset from the disk's start; bytes of the volume among them are zeros. */
extern void partition_read (const struct geometry *g, void *buf, size_t n, uint64_t offset);

/* Whether a partition begins where the volume begins, by the table that a guest would go by: the MBR's entries, or behind
 * a protective MBR either copy of the GPT whose checksums are right.  Boot code, types, names, identities and other
 * partitions are the guest's business.  read: n bytes at offset from the disk's start, -1 after one message; so is the
 * result. */
extern int partition_names_volume (const struct geometry *g, int (*read) (void *opaque, void *buf, size_t n,
                                   uint64_t offset), void *opaque, bool *ret);

#endif /* CLOUDSHARE_PARTITION_H */
