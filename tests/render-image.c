/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a random tree from a seed, lays it out, and writes it as a sparse disk image, for independent judges.
 *
 *   render-image [-t] [-w ITEMS] SEED fat32|exfat none|mbr|gpt SIZE[K|M|G|T] OUT
 *
 * -t takes tame names only: every tool can print them, and every Linux file system can hold them.
 * -w adds a folder with that many items.  Standard output is what a reader of the disk must see, one item a line, in
 * the form of cksum(1) so that scripts can compare: "CRC SIZE ./PATH" for files, "- - ./PATH/" for folders, names as a
 * guest shows them.  Items left out go to standard error.
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

#include "dir.h"
#include "format.h"
#include "partition.h"

#define MAX_FOLDERS 40
#define MAX_DEPTH 7
#define MAX_NAME 2000

struct node {
  char *name;                /* as the cloud has it */
  bool is_folder;
  uint64_t size;
  struct timespec mtime;
  struct node *children;
  size_t n;
  uint64_t content;          /* what the file's bytes are made of */

  struct dir *dir;
  uint32_t first;
  uint64_t room;             /* folders: bytes, whole clusters */
  uint32_t parent;           /* folders: the parent's first cluster */
};

static uint64_t seed;
static bool tame;
static unsigned folders;
static struct geometry geometry;
static const struct format *format;
static struct map *map;
static size_t extents;
static uint32_t next_cluster;
static uint64_t clusters_left;
static int fd;

static uint64_t
mix (uint64_t x)
{
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

static uint64_t
draw (uint64_t below)
{
  seed += 0x9e3779b97f4a7c15;
  return mix (seed) % below;
}

static void *
xcalloc (size_t n, size_t size)
{
  void *p = calloc (n ? n : 1, size);

  if (p == NULL)
    err (EXIT_FAILURE, "calloc");
  return p;
}

/* --- the tree --- */

static void
repeat (char *to, const char *what, size_t times)
{
  *to = '\0';
  for (size_t i = 0; i < times; i++)
    to = stpcpy (to, what);
}

/* Names that make trouble somewhere. */
static void
draw_name (char *to, unsigned i)
{
  static const char *const odd[] = {
    "README.TXT", "readme.txt", "ReadMe.txt", "readme (2).txt", "MAKEFILE", ".bashrc", "..dots", "a.b.c.d", "A B.TXT",
    "no extension", "trailing dot.", "trailing blank ", "dots...", ".", "..", "what?.txt", "12:30 \"x\" <y>|z*\\.txt",
    "tab\there", "line\nfeed\x01.txt", "gr\xc3\xbc\xc3\x9f\x65.txt", "GR\xc3\x9cSSE.txt", "e\xcc\x81t\xc3\xa9.txt",
    "\xc3\xa9t\xc3\xa9.txt", "\xc3\x89T\xc3\x89.TXT", "\xf0\x9f\x98\x80.png", "\xf0\x9f\x98\x80 and \xf0\x9f\x92\xa9",
    "bad \xff\xfe utf8", "cut \xe2\x82", "\xed\xa0\x80 surrogate", "\xef\x80\xba literal", "\xee\xbe\x80 literal",
    "\xef\xbf\xbf nonchar", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.txt", "LONGNA~1.TXT", "longname one.txt",
    "longname two.txt", "LONGNAME THREE.TXT", "longna~2.txt", "a+b,c;d=e[f].txt", "percent%41.txt", "aux.txt", "CON",
    "\xe5", "\xc3\xa5", "x.veryveryverylongextension", "\177del.txt", "#!$&'()-@^_`{}~.t~x", "NUL.TXT", "-dash",
  };
  const char *const long_parts[] = { "L", "\xc3\xa9", "\xe6\x97\xa5", "\xf0\x9f\x98\x80", "long " };

  switch (draw (8)) {
  case 0: case 1: case 2:
    strcpy (to, odd[draw (sizeof odd / sizeof odd[0])]);
    if (strcmp (to, ".") == 0 || strcmp (to, "..") == 0)
      strcat (to, "x");
    break;
  case 3:
    /* Around the limit of 255 units, with the same beginning. */
    repeat (to, long_parts[draw (5)], 40 + draw (2) * (80 + draw (140)));
    sprintf (to + strlen (to), "%u%s", (unsigned) draw (3), draw (2) ? ".txt" : "");
    break;
  case 4:
    sprintf (to, "similar name %u.%s", i, draw (2) ? "jpg" : "JPG");
    break;
  case 5:
    sprintf (to, "FILE%u.DAT", (unsigned) draw (1000));
    break;
  case 6:
    for (unsigned n = 1 + draw (30); n > 0; n--)
      *to++ = "abcXYZ .0~"[draw (10)];
    strcpy (to, "_");
    break;
  default:
    /* Any bytes that a cloud can send. */
    for (unsigned n = 1 + draw (20); n > 0; n--)
      do
        *to = 1 + draw (255);
      while (*to++ == '/');
    strcpy (to, "!");
  }
}

static bool
is_tame (const char *name)
{
  const size_t n = strlen (name);
  utf8proc_int32_t c = 0;

  for (const uint8_t *p = (const uint8_t *) name; *p; ) {
    const utf8proc_ssize_t bytes = utf8proc_iterate (p, -1, &c);

    /* Neither mapped by us nor beyond what mtools prints. */
    if (bytes < 1 || c < 0x20 || c >= 0xd800 || strchr ("\"*/:<>?\\|\x7f", (char) *p) != NULL)
      return false;
    p += bytes;
  }
  return n <= 200 && c != '.' && c != ' ';
}

static bool
has_child (const struct node *folder, const char *name)
{
  for (size_t i = 0; i < folder->n; i++)
    if (strcmp (folder->children[i].name, name) == 0)
      return true;
  return false;
}

static struct timespec
draw_time (void)
{
  if (draw (8) == 0)
    return (struct timespec) { .tv_sec = 0 };
  return (struct timespec) { .tv_sec = draw (4000000000), .tv_nsec = draw (1000000000) };
}

static struct node *
add_child (struct node *folder, const char *name, bool is_folder)
{
  struct node *child = &folder->children[folder->n++];

  child->name = strdup (name);
  if (child->name == NULL)
    err (EXIT_FAILURE, "strdup");
  child->is_folder = is_folder;
  child->mtime = draw_time ();
  child->content = draw (UINT64_MAX);
  return child;
}

static void
grow_tree (struct node *folder, unsigned depth)
{
  const size_t most = draw (6) == 0 ? 300 : depth == 0 ? 40 : 1 + draw (25);

  folder->children = xcalloc (most + 2, sizeof *folder->children);
  for (size_t i = 0; i < most; i++) {
    char name[MAX_NAME];
    bool is_folder = depth < MAX_DEPTH && folders < MAX_FOLDERS && draw (4) == 0;

    draw_name (name, i);
    if (tame && !is_tame (name))
      continue;
    if (has_child (folder, name))
      continue;
    folders += is_folder;
    add_child (folder, name, is_folder);
  }
  for (size_t i = 0; i < folder->n; i++)
    if (folder->children[i].is_folder && draw (5) != 0)
      grow_tree (&folder->children[i], depth + 1);
}

static void
grow_wide (struct node *root, unsigned wide)
{
  struct node *folder = add_child (root, "wide", true);

  folder->children = xcalloc (wide, sizeof *folder->children);
  for (unsigned i = 0; i < wide; i++) {
    char name[64];

    sprintf (name, i % 5 ? "W%07u" : i % 2 ? "\xc3\xa9 wide name %u.txt" : "a wide name %u.txt", i);
    add_child (folder, name, i % 1000 == 999);
  }
}

static void
draw_sizes (struct node *folder)
{
  const uint64_t c = geometry.cluster_bytes;
  const uint64_t sizes[] = { 0, 1, c - 1, c, c + 1, 2 * c - 1, 2 * c, draw (8 * c), draw (c), 511, 512, 513 };

  for (size_t i = 0; i < folder->n; i++) {
    struct node *child = &folder->children[i];

    if (child->is_folder)
      draw_sizes (child);
    if (child->is_folder || child->size > format->max_file)
      continue;
    child->size = folder->n > 1000 ? i % 3 : sizes[draw (sizeof sizes / sizeof sizes[0])];
    if (bytes_to_clusters (&geometry, child->size) > clusters_left)
      child->size = 0;
    clusters_left -= bytes_to_clusters (&geometry, child->size);
  }
}

/* --- the layout --- */

static void
map_names (struct node *folder, bool is_root)
{
  folder->dir = dir_new (format, is_root);
  if (folder->dir == NULL)
    exit (EXIT_FAILURE);
  for (size_t i = 0; i < folder->n; i++) {
    const struct node *child = &folder->children[i];

    if (dir_add (folder->dir, child->name, child->is_folder, child->size, &child->mtime, i) == -1)
      exit (EXIT_FAILURE);
  }
  if (dir_map_names (folder->dir) == -1)
    exit (EXIT_FAILURE);
}

static void
map_all_names (struct node *folder)
{
  for (size_t i = 0; i < folder->n; i++)
    if (folder->children[i].is_folder) {
      map_names (&folder->children[i], false);
      map_all_names (&folder->children[i]);
    }
}

static struct extent *
add_extent (uint32_t count, uint64_t bytes, enum extent_kind kind)
{
  struct extent *e = &map->extents[extents++];

  *e = (struct extent) { .first = next_cluster, .count = count, .bytes = bytes, .kind = kind };
  next_cluster += count;
  if (next_cluster > geometry.clusters + 2)
    errx (EXIT_FAILURE, "the tree does not fit: choose a larger size");
  return e;
}

static void
place_children (struct node *folder)
{
  for (size_t i = 0; i < dir_count (folder->dir); i++) {
    const struct dir_entry *e = dir_get (folder->dir, i);
    struct node *child = &folder->children[e->cookie];
    const uint64_t bytes = child->is_folder ? format->dir_bytes (child->dir) : child->size;
    const uint32_t count = bytes_to_clusters (&geometry, bytes);

    if (e->left_out || count == 0)
      continue;
    child->first = add_extent (count, bytes, child->is_folder ? EXTENT_DIR : EXTENT_FILE)->first;
    child->parent = folder->first;
    child->room = (uint64_t) count * geometry.cluster_bytes;
    dir_set_place (folder->dir, i, child->first, child->is_folder ? child->room : child->size);
  }

  for (size_t i = 0; i < dir_count (folder->dir); i++) {
    const struct dir_entry *e = dir_get (folder->dir, i);

    if (!e->left_out && e->is_folder)
      place_children (&folder->children[e->cookie]);
  }
}

static size_t
count_nodes (const struct node *folder)
{
  size_t n = folder->n;

  for (size_t i = 0; i < folder->n; i++)
    n += count_nodes (&folder->children[i]);
  return n;
}

static void
lay_out (struct node *root)
{
  map = map_new (&geometry, 1, count_nodes (root) + 1 + FORMAT_OWN_EXTENTS);
  if (map == NULL)
    exit (EXIT_FAILURE);

  extents = format->own_extents (&geometry, map->extents);
  next_cluster = geometry.root_first;
  root->first = next_cluster;
  root->room = (uint64_t) geometry.root_clusters * geometry.cluster_bytes;
  add_extent (geometry.root_clusters, format->dir_bytes (root->dir), EXTENT_DIR)->fat_chain = true;
  place_children (root);

  map->n = extents;
  map_seal (map);
}

/* --- the image --- */

static void
write_bytes (const void *buf, size_t n, uint64_t offset)
{
  const char *p = buf;

  /* Holes stay holes. */
  if (n == 0 || (p[0] == 0 && memcmp (p, p + 1, n - 1) == 0))
    return;
  if (pwrite (fd, buf, n, offset) != (ssize_t) n)
    err (EXIT_FAILURE, "pwrite");
}

enum area { AREA_TABLE, AREA_BOOT, AREA_FAT, AREA_BITMAP, AREA_UPCASE };

/* Reads an area in pieces of odd sizes, so that a judge also sees whether they fit together. */
static void
write_area (enum area area, uint64_t begin, uint64_t end, uint64_t base)
{
  char buf[100003];

  for (uint64_t at = begin; at < end; ) {
    size_t n = 1 + draw (sizeof buf);

    if (n > end - at)
      n = end - at;
    memset (buf, 0x5a, n);
    switch (area) {
    case AREA_TABLE: partition_read (&geometry, buf, n, at); break;
    case AREA_BOOT: format->read_boot (&geometry, map, buf, n, at); break;
    case AREA_FAT: format->read_fat (&geometry, map, buf, n, at); break;
    case AREA_BITMAP: format->read_meta (&geometry, map, EXTENT_BITMAP, buf, n, at); break;
    case AREA_UPCASE: format->read_meta (&geometry, map, EXTENT_UPCASE, buf, n, at); break;
    }
    write_bytes (buf, n, base + at);
    at += n;
  }
}

static void
write_system (void)
{
  const struct geometry *const g = &geometry;
  const uint64_t volume_end = g->volume_start + g->volume_bytes;

  write_area (AREA_TABLE, 0, g->volume_start, 0);
  write_area (AREA_TABLE, volume_end, g->disk_bytes, 0);
  write_area (AREA_BOOT, 0, g->fat_start - g->volume_start, g->volume_start);
  for (uint32_t i = 0; i < g->fats; i++)
    write_area (AREA_FAT, 0, g->fat_bytes, g->fat_start + i * g->fat_bytes);
  write_area (AREA_BOOT, g->fat_start + g->fats * g->fat_bytes - g->volume_start, g->heap_start - g->volume_start,
              g->volume_start);
  for (size_t i = 0; i < map->n; i++) {
    const struct extent *e = &map->extents[i];

    if (e->kind == EXTENT_BITMAP || e->kind == EXTENT_UPCASE)
      write_area (e->kind == EXTENT_BITMAP ? AREA_BITMAP : AREA_UPCASE, 0, e->bytes, cluster_to_byte (g, e->first));
  }
}

/* POSIX cksum: CRC-32 with polynomial 0x04C11DB7, highest bit first, the length behind the data. */
static uint32_t
cksum_byte (uint32_t crc, uint8_t byte)
{
  static uint32_t table[256];

  if (table[1] == 0)
    for (uint32_t i = 0; i < 256; i++) {
      table[i] = i << 24;
      for (int bit = 0; bit < 8; bit++)
        table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
    }
  return crc << 8 ^ table[crc >> 24 ^ byte];
}

static uint32_t
write_content (const struct node *file)
{
  uint32_t crc = 0;
  uint8_t buf[4096];

  for (uint64_t at = 0; at < file->size; at += sizeof buf) {
    const size_t n = file->size - at < sizeof buf ? file->size - at : sizeof buf;

    for (size_t i = 0; i < n; i++) {
      buf[i] = mix (file->content + at + i);
      crc = cksum_byte (crc, buf[i]);
    }
    write_bytes (buf, n, cluster_to_byte (&geometry, file->first) + at);
  }
  for (uint64_t length = file->size; length; length >>= 8)
    crc = cksum_byte (crc, length);
  return ~crc;
}

static void
append_shown (char *path, const struct dir_entry *e)
{
  char *to = path + strlen (path);

  *to++ = '/';
  for (unsigned i = 0; i < e->shown_units; i++) {
    utf8proc_int32_t c = e->shown[i];

    if (c >> 10 == 0xd800 >> 10 && i + 1 < e->shown_units)
      c = 0x10000 + ((c - 0xd800) << 10) + (e->shown[++i] - 0xdc00);
    to += utf8proc_encode_char (c, (uint8_t *) to);
  }
  *to = '\0';
}

static void
write_tree (const struct node *folder, char *path)
{
  const size_t length = strlen (path), bytes = format->dir_bytes (folder->dir);
  char *buf = xcalloc (1, bytes);

  format->dir_render (&geometry, folder->dir, folder->first, folder->parent, buf);
  write_bytes (buf, bytes, cluster_to_byte (&geometry, folder->first));
  free (buf);

  for (size_t i = 0; i < dir_count (folder->dir); i++) {
    const struct dir_entry *e = dir_get (folder->dir, i);
    const struct node *child = &folder->children[e->cookie];

    append_shown (path, e);
    if (e->left_out)
      fprintf (stderr, "left out: %s: %s\n", path, e->left_out);
    else if (e->is_folder) {
      printf ("- - %s/\n", path);
      write_tree (child, path);
    }
    else
      printf ("%" PRIu32 " %" PRIu64 " %s\n", write_content (child), child->size, path);
    path[length] = '\0';
  }
}

static void
free_tree (struct node *folder)
{
  for (size_t i = 0; i < folder->n; i++) {
    free_tree (&folder->children[i]);
    free (folder->children[i].name);
  }
  dir_free (folder->dir);
  free (folder->children);
}

static void
draw_identity (void)
{
  static const char *const labels[] = { "", "CLOUD", "ELEVENCHARS", "A B" };

  geometry.mbr_signature = draw (UINT32_MAX);
  geometry.volume_serial = draw (UINT32_MAX);
  for (int i = 0; i < 16; i++) {
    geometry.gpt_disk_guid[i] = draw (256);
    geometry.gpt_partition_guid[i] = draw (256);
  }
  strcpy (geometry.label, labels[draw (4)]);
}

static uint64_t
parse_size (const char *s)
{
  char *end;
  const uint64_t n = strtoull (s, &end, 10);
  const char *const unit = strchr ("_KMGT", *end ? *end : '_');

  if (unit == NULL || n == 0)
    errx (EXIT_FAILURE, "%s: no size", s);
  return n << (unit - "_KMGT") * 10;
}

int
main (int argc, char *argv[])
{
  static const char *const styles[] = { "none", "mbr", "gpt" };
  static char path[(MAX_DEPTH + 2) * MAX_NAME] = ".";
  enum partitioning style = PARTITION_NONE;
  struct node root = { .is_folder = true };
  unsigned wide = 0;

  for (int opt; (opt = getopt (argc, argv, "tw:")) != -1; )
    switch (opt) {
    case 't': tame = true; break;
    case 'w': wide = atoi (optarg); break;
    default: exit (EXIT_FAILURE);
    }
  argv += optind - 1;
  if (argc - optind != 5)
    errx (EXIT_FAILURE, "usage: render-image [-t] [-w ITEMS] SEED fat32|exfat none|mbr|gpt SIZE OUT");
  seed = strtoull (argv[1], NULL, 10);
  format = format_by_name (argv[2]);
  while (style <= PARTITION_GPT && strcmp (argv[3], styles[style]) != 0)
    style++;
  if (format == NULL || style > PARTITION_GPT)
    errx (EXIT_FAILURE, "no such format or partition table");

  draw_identity ();
  geometry.format = format;
  grow_tree (&root, 0);
  /* One that the format cannot have. */
  add_child (&root, "huge", false)->size = format->max_file + 1;
  if (wide)
    grow_wide (&root, wide);

  map_names (&root, true);
  if (partition_plan (&geometry, style, parse_size (argv[4])) == -1 ||
      format->plan (&geometry, format->dir_bytes (root.dir)) == -1)
    return EXIT_FAILURE;
  fprintf (stderr, "volume_start %" PRIu64 " volume_bytes %" PRIu64 " cluster_bytes %" PRIu32 " clusters %" PRIu32
           " fat_start %" PRIu64 " heap_start %" PRIu64 "\n", geometry.volume_start, geometry.volume_bytes,
           geometry.cluster_bytes, geometry.clusters, geometry.fat_start, geometry.heap_start);

  /* Names don't depend on sizes, so the plan could be made before them; sizes depend on the clusters. */
  clusters_left = geometry.clusters / 2;
  draw_sizes (&root);
  dir_free (root.dir);
  map_names (&root, true);
  map_all_names (&root);
  lay_out (&root);

  fd = open (argv[5], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd == -1 || ftruncate (fd, geometry.disk_bytes) == -1)
    err (EXIT_FAILURE, "%s", argv[5]);
  write_system ();
  write_tree (&root, path);
  if (close (fd) == -1 || fflush (stdout) == EOF)
    err (EXIT_FAILURE, "%s", argv[5]);

  map_unref (map);
  free_tree (&root);
  return EXIT_SUCCESS;
}
