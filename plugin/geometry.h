/* SPDX-License-Identifier: BSD-3-Clause */
/* Where things stand on one disk, in bytes from the disk's start unless a name says otherwise.  Decided once when the
 * disk is made, kept in the database, never changed while the disk lives. */

#ifndef CLOUDSHARE_GEOMETRY_H
#define CLOUDSHARE_GEOMETRY_H

#include <stdint.h>

#define SECTOR_SIZE 512

enum partitioning { PARTITION_NONE, PARTITION_MBR, PARTITION_GPT };

struct format;

struct geometry {
  const struct format *format;

  enum partitioning partitioning;
  uint64_t disk_bytes;         /* multiple of SECTOR_SIZE */
  uint64_t volume_start;       /* of the partition; 0 without a table */
  uint64_t volume_bytes;

  uint32_t cluster_bytes;      /* power of two, 512 or more */
  uint32_t clusters;           /* in the heap; numbered 2 .. clusters + 1 */
  uint64_t fat_start;          /* first FAT */
  uint64_t fat_bytes;          /* one FAT, whole sectors */
  uint32_t fats;               /* number of FATs: FAT32 2, exFAT 1 */
  uint64_t heap_start;         /* where cluster 2 begins; a multiple of cluster_bytes from the disk's start */

  /* exFAT only, clusters: fixed by plan, since they are the first objects of the heap. */
  uint32_t bitmap_first, bitmap_clusters;
  uint32_t upcase_first, upcase_clusters;

  uint32_t root_first;         /* first cluster of the root directory */
  uint32_t root_clusters;      /* its room, spare clusters included; it never grows while the disk lives */

  /* Identity; drawn at random once. */
  uint32_t mbr_signature;
  uint8_t gpt_disk_guid[16], gpt_partition_guid[16];   /* as stored on disk */
  uint32_t volume_serial;
  char label[16];              /* ASCII upper case, at most 11 characters, NUL terminated */

  /* Of a disk with several partitions: the next one, borrowed; not kept in the database.  The first one's table has all. */
  const struct geometry *next;
};

static inline uint64_t
cluster_to_byte (const struct geometry *g, uint32_t cluster)
{
  return g->heap_start + (uint64_t) (cluster - 2) * g->cluster_bytes;
}

/* The cluster that holds the byte; offset must lie in the heap. */
static inline uint32_t
byte_to_cluster (const struct geometry *g, uint64_t offset)
{
  return 2 + (uint32_t) ((offset - g->heap_start) / g->cluster_bytes);
}

/* Clusters needed for that many bytes. */
static inline uint64_t
bytes_to_clusters (const struct geometry *g, uint64_t bytes)
{
  return bytes / g->cluster_bytes + (bytes % g->cluster_bytes != 0);
}

/* The next multiple of alignment, a power of two. */
static inline uint64_t
round_up (uint64_t n, uint64_t alignment)
{
  return (n + alignment - 1) & ~(alignment - 1);
}

#endif /* CLOUDSHARE_GEOMETRY_H */
