/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a disk image through parse.h alone and lists its tree, for comparison with what others say that is on it.
 *
 *   parse-image fat32|exfat OFFSET IMAGE
 *
 * OFFSET is where the volume begins, in bytes.  Standard output has one item a line, in the form of cksum(1): "CRC SIZE
 * ./PATH" for files, "- - ./PATH/" for folders.  What is not sound goes to standard error, and makes the exit status 1.
 *
 * The geometry is taken from the boot sector, as for disks that others made.
 */

#include <config.h>

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utf8proc.h>

#include "exfat.h"
#include "fat32.h"
#include "format.h"
#include "parsed.h"

#define MAX_DEPTH 40

static struct geometry geometry;
static struct parse *parse;
static int fd;
static int status;

static int
read_image (void *opaque, void *buf, size_t n, uint64_t offset)
{
  const ssize_t r = pread (fd, buf, n, offset);

  if (r < 0)
    err (EXIT_FAILURE, "pread");
  /* Images may end before the disk does. */
  memset ((char *) buf + r, 0, n - r);
  return 0;
}

static void
complain (const char *path, const char *what)
{
  fprintf (stderr, "%s: %s\n", path, what);
  status = EXIT_FAILURE;
}

static void
use_fat32 (const struct fat32_boot *boot)
{
  struct geometry *const g = &geometry;

  g->cluster_bytes = boot->sectors_per_cluster * SECTOR_SIZE;
  g->fats = boot->fats;
  g->fat_start = g->volume_start + le16_to_cpu (boot->reserved_sectors) * SECTOR_SIZE;
  g->fat_bytes = le32_to_cpu (boot->fat_sectors) * (uint64_t) SECTOR_SIZE;
  g->heap_start = g->fat_start + g->fats * g->fat_bytes;
  g->volume_bytes = le32_to_cpu (boot->total_sectors) * (uint64_t) SECTOR_SIZE;
  if (g->cluster_bytes == 0)
    errx (EXIT_FAILURE, "no FAT32 file system");
  g->clusters = (g->volume_start + g->volume_bytes - g->heap_start) / g->cluster_bytes;
  g->root_first = le32_to_cpu (boot->root_cluster);
}

/* The bitmap's place stands in the root directory, which has to be parsed without it: it is near the beginning. */
static void
find_bitmap (void)
{
  struct exfat_bitmap_entry entry;

  for (unsigned i = 0; i < geometry.cluster_bytes / sizeof entry; i++) {
    read_image (NULL, &entry, sizeof entry, cluster_to_byte (&geometry, geometry.root_first) + i * sizeof entry);
    if (entry.type == EXFAT_TYPE_BITMAP) {
      geometry.bitmap_first = le32_to_cpu (entry.first);
      geometry.bitmap_clusters = bytes_to_clusters (&geometry, le64_to_cpu (entry.bytes));
      return;
    }
  }
  errx (EXIT_FAILURE, "no allocation bitmap");
}

static void
use_exfat (const struct exfat_boot *boot)
{
  struct geometry *const g = &geometry;

  g->cluster_bytes = (uint32_t) SECTOR_SIZE << (boot->cluster_shift & 31);
  g->fats = 1;
  g->fat_start = g->volume_start + le32_to_cpu (boot->fat_offset) * (uint64_t) SECTOR_SIZE;
  g->fat_bytes = le32_to_cpu (boot->fat_sectors) * (uint64_t) SECTOR_SIZE;
  g->heap_start = g->volume_start + le32_to_cpu (boot->heap_offset) * (uint64_t) SECTOR_SIZE;
  g->volume_bytes = le64_to_cpu (boot->volume_sectors) * SECTOR_SIZE;
  g->clusters = le32_to_cpu (boot->clusters);
  g->root_first = le32_to_cpu (boot->root_cluster);
  find_bitmap ();
}

/* POSIX cksum: CRC-32 with polynomial 0x04C11DB7, highest bit first, the length behind the data. */
static uint32_t
cksum_byte (uint32_t crc, uint8_t byte)
{
  crc ^= (uint32_t) byte << 24;
  for (int bit = 0; bit < 8; bit++)
    crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
  return crc;
}

static uint32_t
cksum (const struct parsed_runs *runs, const struct parsed_entry *e)
{
  static uint8_t buf[64 << 10];
  uint64_t at = 0;
  uint32_t crc = 0;

  for (size_t i = 0; i < runs->n; i++) {
    const uint64_t start = cluster_to_byte (&geometry, runs->list[i].first);
    const uint64_t bytes = (uint64_t) runs->list[i].count * geometry.cluster_bytes;

    for (uint64_t done = 0; done < bytes && at < e->size; ) {
      size_t n = bytes - done < sizeof buf ? bytes - done : sizeof buf;

      n = n < e->size - at ? n : e->size - at;
      read_image (NULL, buf, n, start + done);
      for (size_t k = 0; k < n; k++)
        crc = cksum_byte (crc, at + k < e->valid ? buf[k] : 0);
      at += n;
      done += n;
    }
  }
  for (uint64_t length = e->size; length; length >>= 8)
    crc = cksum_byte (crc, length);
  return ~crc;
}

static char *
append_name (const char *path, const struct parsed_entry *e)
{
  char *ret = malloc (strlen (path) + 1 + 3 * e->units + 1), *to;

  if (ret == NULL)
    err (EXIT_FAILURE, "malloc");
  to = ret + sprintf (ret, "%s/", path);
  for (unsigned i = 0; i < e->units; i++) {
    utf8proc_int32_t c = e->name[i];

    if (c >> 10 == 0xd800 >> 10 && i + 1 < e->units)
      c = 0x10000 + ((c - 0xd800) << 10) + (e->name[++i] - 0xdc00);
    to += utf8proc_encode_char (c, (uint8_t *) to);
  }
  *to = '\0';
  return ret;
}

/* The clusters of what has this name. */
static void
get_runs (const char *path, uint32_t first, uint64_t bytes, bool contiguous, struct parsed_runs *runs)
{
  enum parsed_chain found;
  bool differ;
  const char *problem;

  if (parse_chain (parse, first, bytes, contiguous, &found, runs, &differ) == -1)
    exit (EXIT_FAILURE);
  if (found != CHAIN_SOUND)
    complain (path, "its chain is not sound");
  if (differ)
    complain (path, "the FATs differ");
  problem = chain_problem (&geometry, first, bytes, found, runs);
  if (problem)
    complain (path, problem);
}

static void
list (const char *path, const struct parsed_runs *runs, uint64_t bytes, unsigned depth)
{
  struct parsed_dir dir;
  const char *problem;

  if (depth > MAX_DEPTH)
    errx (EXIT_FAILURE, "%s: too deep", path);
  if (parse_dir (parse, runs, bytes, depth == 0, &dir) == -1)
    exit (EXIT_FAILURE);
  problem = dir_problem (&geometry, runs->clusters * geometry.cluster_bytes, &dir);
  if (problem)
    complain (path, problem);
  if (dir.torn)
    complain (path, "has torn entries");

  for (size_t i = 0; i < dir.n; i++) {
    const struct parsed_entry *e = &dir.entries[i];
    const uint64_t size = e->is_folder && geometry.format == &format_fat32 ? UINT64_MAX : e->size;
    char *const child = append_name (path, e);
    struct parsed_runs child_runs;

    get_runs (child, e->first, size, e->contiguous, &child_runs);
    if (e->is_folder) {
      printf ("- - %s/\n", child);
      list (child, &child_runs, size, depth + 1);
    }
    else
      printf ("%" PRIu32 " %" PRIu64 " %s\n", cksum (&child_runs, e), e->size, child);
    parsed_runs_free (&child_runs);
    free (child);
  }
  parsed_dir_free (&dir);
}

int
main (int argc, char *argv[])
{
  struct parsed_volume volume;
  struct parsed_runs root;
  uint8_t sector[SECTOR_SIZE];

  if (argc != 4 || (geometry.format = format_by_name (argv[1])) == NULL)
    errx (EXIT_FAILURE, "usage: parse-image fat32|exfat OFFSET IMAGE");
  geometry.volume_start = strtoull (argv[2], NULL, 10);
  fd = open (argv[3], O_RDONLY | O_CLOEXEC);
  if (fd == -1)
    err (EXIT_FAILURE, "%s", argv[3]);
  geometry.disk_bytes = lseek (fd, 0, SEEK_END);
  read_image (NULL, sector, sizeof sector, geometry.volume_start);
  if (geometry.format == &format_fat32)
    use_fat32 ((const void *) sector);
  else
    use_exfat ((const void *) sector);

  parse = parse_new (&geometry, read_image, NULL);
  if (parse == NULL || parse_volume (parse, &volume) == -1)
    return EXIT_FAILURE;
  if (volume.foreign)
    complain (argv[3], volume.why);
  if (volume.dirty)
    complain (argv[3], "is marked dirty");
  get_runs ("the root", geometry.root_first, UINT64_MAX, false, &root);
  list (".", &root, UINT64_MAX, 0);
  parsed_runs_free (&root);
  parse_free (parse);
  if (close (fd) == -1 || fflush (stdout) == EOF)
    err (EXIT_FAILURE, "%s", argv[3]);
  return status;
}
