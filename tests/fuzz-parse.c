/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's bytes for parse.h, from a fuzzer, or from files.
 *
 *   clang -fsanitize=fuzzer,address,undefined -DFUZZER ... tests/fuzz-parse.c tests/parsed.c   (the target)
 *   fuzz-parse FILE...                                     replays files; a folder stands for the files in it
 *
 * Input: a byte (bit 0: exFAT; bits 1-2: partition table; bit 3: exFAT's sets get their right checksums, which no
 * mutation would hit), then patches on a sound disk with an empty root: a byte that says where, two bytes for the offset
 * and one for the length, both in units of 32 bytes, then the bytes.  So everything that is parsed can be reached, and
 * most mutations leave a disk of which something is left.
 *
 * The whole tree is walked as the interpreter might do it; whatever comes out must be as parsed.h says, or it aborts.
 */

#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "format.h"
#include "msg.h"
#include "parsed.h"
#include "partition.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

#define DISK_BYTES (36u << 20)
#define UNIT 32u
#define MAX_DIRS 24
#define MAX_DEPTH 6

struct disk {
  struct geometry g;
  uint8_t *bytes, *sound;    /* what is parsed, and what it was before the patches */
};

static unsigned dirs;

static void
be_silent (enum msg_level level, const char *text)
{
}

static int
read_disk (void *opaque, void *buf, size_t n, uint64_t offset)
{
  const struct disk *disk = opaque;

  if (offset > disk->g.disk_bytes || n > disk->g.disk_bytes - offset)
    abort ();
  memcpy (buf, disk->bytes + offset, n);
  return 0;
}

static uint8_t *
new_bytes (void)
{
  void *p = mmap (NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (p == MAP_FAILED)
    abort ();
  return p;
}

/* An empty disk: the system's own clusters and the root. */
static void
make_disk (struct disk *disk, const struct format *format, enum partitioning style)
{
  struct geometry *const g = &disk->g;
  struct map *map;
  size_t n;

  *g = (struct geometry) { .format = format, .volume_serial = 1, .label = "FUZZ" };
  if (partition_plan (g, style, DISK_BYTES) == -1 || format->plan (g, 4 * UINT32_C (512)) == -1)
    abort ();
  map = map_new (g, 1, 1 + FORMAT_OWN_EXTENTS);
  if (map == NULL)
    abort ();
  n = format->own_extents (g, map->extents);
  map->extents[n++] = (struct extent) {
    .first = g->root_first, .count = g->root_clusters, .bytes = 64, .kind = EXTENT_DIR, .fat_chain = true,
  };
  map->n = n;
  map_seal (map);

  disk->bytes = new_bytes ();
  disk->sound = new_bytes ();
  partition_read (g, disk->sound, g->disk_bytes, 0);
  format->read_boot (g, map, disk->sound + g->volume_start, g->fat_start - g->volume_start, 0);
  for (unsigned i = 0; i < g->fats; i++)
    format->read_fat (g, map, disk->sound + g->fat_start + i * g->fat_bytes, g->fat_bytes, 0);
  if (g->bitmap_clusters)
    format->read_meta (g, map, EXTENT_BITMAP, disk->sound + cluster_to_byte (g, g->bitmap_first), (g->clusters + 7) / 8,
                       0);
  memcpy (disk->bytes, disk->sound, DISK_BYTES);
  map_unref (map);
}

static struct disk *
get_disk (uint8_t kind)
{
  static struct disk disks[2][3];
  struct disk *disk = &disks[kind & 1][(kind >> 1 & 3) % 3];

  if (disk->bytes == NULL)
    make_disk (disk, kind & 1 ? &format_exfat : &format_fat32, (kind >> 1 & 3) % 3);
  return disk;
}

/* Where patches of one kind begin. */
static uint64_t
patch_start (const struct geometry *g, uint8_t where)
{
  switch (where & 7) {
  case 0: return cluster_to_byte (g, g->root_first);
  case 1: return g->fat_start;
  case 2: return g->fats > 1 ? g->fat_start + g->fat_bytes : cluster_to_byte (g, g->bitmap_first);
  case 3: return g->volume_start;
  case 4: return (where & 8) ? g->disk_bytes - 33 * SECTOR_SIZE : 0;
  default: return cluster_to_byte (g, g->root_first + g->root_clusters);
  }
}

struct patch {
  uint64_t at;
  size_t n;
  const uint8_t *bytes;
};

/* The patch at the input's beginning, which is taken from it.  False: no more. */
static bool
next_patch (const struct geometry *g, const uint8_t **data, size_t *n, struct patch *ret)
{
  const uint8_t *const p = *data;

  if (*n < 5)
    return false;
  ret->at = patch_start (g, p[0]) + (p[1] | p[2] << 8) * UINT64_C (32);
  ret->n = ((p[3] & 0x7f) + 1) * UNIT;
  ret->bytes = p + 4;
  if (ret->n > *n - 4)
    ret->n = *n - 4;
  *data += 4 + ret->n;
  *n -= 4 + ret->n;
  if (ret->at >= g->disk_bytes)
    ret->at = 0;
  if (ret->n > g->disk_bytes - ret->at)
    ret->n = g->disk_bytes - ret->at;
  return true;
}

/* exFAT specification 6.3.3, for every set that begins in the patch. */
static void
mend_checksums (struct disk *disk, const struct patch *patch)
{
  for (size_t i = 0; i + UNIT <= patch->n; i += UNIT) {
    uint8_t *const set = disk->bytes + patch->at + i;
    const size_t n = (1u + set[1]) * UNIT;
    uint16_t sum = 0;

    if (set[0] != 0x85 || n > disk->g.disk_bytes - (patch->at + i))
      continue;
    for (size_t k = 0; k < n; k++)
      if (k != 2 && k != 3)
        sum = (uint16_t) (sum >> 1 | sum << 15) + set[k];
    set[2] = sum & 0xff;
    set[3] = sum >> 8;
  }
}

static void
insist (const char *problem)
{
  if (problem) {
    fprintf (stderr, "fuzz-parse: %s\n", problem);
    abort ();
  }
}

static void
get_chain (struct parse *parse, const struct geometry *g, uint32_t first, uint64_t bytes, bool contiguous,
           struct parsed_runs *runs)
{
  enum parsed_chain found;
  bool differ, allocated;

  if (parse_chain (parse, first, bytes, contiguous, &found, runs, &differ) == -1)
    abort ();
  insist (chain_problem (g, first, bytes, found, runs));
  if (parse_is_allocated (parse, first, &allocated) == -1)
    abort ();
  if (found <= CHAIN_SHORT && runs->clusters > 0 && !allocated)
    insist ("a good chain begins with a free cluster");
}

static void
walk (struct parse *parse, const struct geometry *g, const struct parsed_runs *runs, uint64_t bytes, unsigned depth)
{
  struct parsed_dir dir;

  if (dirs++ > MAX_DIRS || depth > MAX_DEPTH)
    return;
  if (parse_dir (parse, runs, bytes, depth == 0, &dir) == -1)
    abort ();
  insist (dir_problem (g, runs->clusters * g->cluster_bytes, &dir));

  for (size_t i = 0; i < dir.n && i < 64; i++) {
    const struct parsed_entry *e = &dir.entries[i];
    const uint64_t size = e->is_folder && g->format == &format_fat32 ? UINT64_MAX : e->size;
    struct parsed_runs children;

    get_chain (parse, g, e->first, size, e->contiguous, &children);
    if (e->is_folder)
      walk (parse, g, &children, size, depth + 1);
    parsed_runs_free (&children);
  }
  parsed_dir_free (&dir);
}

static void
parse_disk (struct disk *disk)
{
  struct parse *parse = parse_new (&disk->g, read_disk, disk);
  struct parsed_volume volume;
  struct parsed_runs root;

  if (parse == NULL || parse_volume (parse, &volume) == -1)
    abort ();
  if (volume.foreign != (volume.why != NULL))
    insist ("foreign, and no reason; or the other way round");
  dirs = 0;
  get_chain (parse, &disk->g, disk->g.root_first, UINT64_MAX, false, &root);
  walk (parse, &disk->g, &root, UINT64_MAX, 0);
  parsed_runs_free (&root);
  parse_free (parse);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  struct disk *disk;
  const uint8_t *p = data + 1;
  size_t left = n - 1;
  struct patch patch;

  if (n < 1)
    return 0;
  msg_set_sink (be_silent);
  setenv ("TZ", "UTC0", 1);
  tzset ();
  disk = get_disk (data[0]);
  while (next_patch (&disk->g, &p, &left, &patch))
    memcpy (disk->bytes + patch.at, patch.bytes, patch.n);

  for (p = data + 1, left = n - 1; data[0] & 8 && next_patch (&disk->g, &p, &left, &patch); )
    mend_checksums (disk, &patch);

  parse_disk (disk);

  for (p = data + 1, left = n - 1; next_patch (&disk->g, &p, &left, &patch); )
    memcpy (disk->bytes + patch.at, disk->sound + patch.at, patch.n);
  return 0;
}

#ifndef FUZZER

static unsigned
replay (const char *path)
{
  static uint8_t data[1 << 20];
  struct dirent *entry;
  DIR *dir = opendir (path);
  unsigned n = 0;
  FILE *f;

  if (dir) {
    while ((entry = readdir (dir)) != NULL) {
      char file[4096];

      if (entry->d_name[0] == '.')
        continue;
      snprintf (file, sizeof file, "%s/%s", path, entry->d_name);
      n += replay (file);
    }
    closedir (dir);
    return n;
  }

  f = fopen (path, "rb");
  if (f == NULL) {
    perror (path);
    exit (EXIT_FAILURE);
  }
  LLVMFuzzerTestOneInput (data, fread (data, 1, sizeof data, f));
  fclose (f);
  return 1;
}

int
main (int argc, char *argv[])
{
  unsigned n = 0;

  for (int i = 1; i < argc; i++)
    n += replay (argv[i]);
  printf ("%u inputs\n", n);
  return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif /* FUZZER */
