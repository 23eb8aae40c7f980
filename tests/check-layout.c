/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests layout and disks: random changes of a catalog, and after each a look at the disk as a guest would take it.
 *
 * Generations that are held must stay what they were, byte by byte, until they are let go of.  Seeds are fixed; another
 * one is tried with CHECK_SEED=N. */

#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "coreengine.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "fakecloud.h"
#include "format.h"
#include "map.h"
#include "walk.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

#define MIB (UINT64_C (1) << 20)

static struct disk *disk;
static uint64_t seed;

/* ---- what the catalog has ---- */

struct item {
  char path[256];
  int64_t id, version;
  bool is_folder;
  uint64_t size;
};

struct tree {
  struct item *items;          /* sorted by path */
  size_t n, room;
};

/* What each version's bytes are. */
static struct version {
  int64_t id, item;
  uint64_t size, content;
} *versions;
static size_t n_versions, versions_room;

static void
read_folder (struct tree *tree, int64_t folder, const char *path)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_children (core.db, folder, &list), 0);
  for (size_t i = 0; i < list.n; ++i) {
    const struct catalog_item *from = &list.items[i];
    struct item *to;
    char below[256];

    if (tree->n == tree->room) {
      tree->room = tree->room * 2 + 64;
      tree->items = realloc (tree->items, tree->room * sizeof *tree->items);
    }
    to = &tree->items[tree->n++];
    ck_assert_int_lt (snprintf (below, sizeof below, "%s%s%s", path, *path ? "/" : "", from->name), sizeof below);
    strcpy (to->path, below);
    to->id = from->id;
    to->version = from->version;
    to->is_folder = from->is_folder;
    to->size = from->size;
    if (from->is_folder)
      read_folder (tree, from->id, below);
  }
  catalog_list_free (&list);
}

static int
compare_items (const void *a, const void *b)
{
  return strcmp (((const struct item *) a)->path, ((const struct item *) b)->path);
}

static void
read_tree (struct tree *tree)
{
  memset (tree, 0, sizeof *tree);
  db_read_begin (core.db);
  read_folder (tree, CATALOG_ROOT, "");
  db_read_end (core.db);
  if (tree->n > 0)
    qsort (tree->items, tree->n, sizeof *tree->items, compare_items);
}

static void
free_tree (struct tree *tree)
{
  free (tree->items);
  memset (tree, 0, sizeof *tree);
}

static const struct item *
find_item (const struct tree *tree, const char *path)
{
  struct item key;

  if (tree->n == 0)
    return NULL;
  snprintf (key.path, sizeof key.path, "%s", path);
  return bsearch (&key, tree->items, tree->n, sizeof *tree->items, compare_items);
}

static const struct version *
find_version (int64_t id)
{
  for (size_t i = n_versions; i-- > 0;)
    if (versions[i].id == id)
      return &versions[i];
  ck_abort_msg ("version %lld is not known", (long long) id);
}

/* ---- changing it ---- */

/* Brings the catalog's record of one path up to the remote, and remembers its version. */
static void
learn (const char *path, bool is_folder)
{
  struct version *version;

  core_learn (&core, path);
  if (is_folder)
    return;
  if (n_versions == versions_room) {
    versions_room = versions_room * 2 + 256;
    versions = realloc (versions, versions_room * sizeof *versions);
  }
  version = &versions[n_versions++];
  version->id = core_version (&core, path);
  version->item = core_item (&core, path);
  version->content = fakecloud_content (core.fake, path);
}

static void
put (const char *path, uint64_t size)
{
  static unsigned n;
  char token[16];

  snprintf (token, sizeof token, "%u", ++n);
  fakecloud_put (core.fake, path, size, token, NULL);
  learn (path, false);
  versions[n_versions - 1].size = size;
}

static void
make_folder (const char *path)
{
  fakecloud_folder (core.fake, path, NULL, NULL);
  learn (path, true);
}

static void
take_away (const char *path)
{
  const int64_t id = core_item (&core, path);
  int64_t revision;

  fakecloud_remove (core.fake, path);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  ck_assert_int_eq (catalog_remove (core.db, revision + 1, id), 0);
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
}

static void
move (const char *from, const char *to)
{
  const char *slash = strrchr (to, '/');
  CLEANUP_FREE char *above = slash ? strndup (to, slash - to) : strdup ("");
  const int64_t id = core_item (&core, from), folder = core_item (&core, above);
  struct catalog_list list;
  int64_t revision;

  fakecloud_rename (core.fake, from, to);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  ck_assert_int_eq (catalog_item (core.db, id, &list), 1);
  ck_assert_int_eq (catalog_move (core.db, revision + 1, &list.items[0], folder, slash ? slash + 1 : to), 0);
  catalog_list_free (&list);
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
}

static unsigned
depth_of (const char *path)
{
  unsigned depth = 0;

  for (; *path; ++path)
    depth += *path == '/';
  return depth;
}

/* A folder, or the root; NULL is never returned. */
static const char *
random_folder (const struct tree *tree)
{
  for (unsigned tries = 0; tries < 50 && tree->n > 0; ++tries) {
    const struct item *item = &tree->items[random_below (&seed, tree->n)];

    if (item->is_folder && depth_of (item->path) < 4 && strlen (item->path) < 100)
      return item->path;
  }
  return "";
}

/* Of some length, never used before, in a folder. */
static void
new_path (char ret[256], const char *folder)
{
  static unsigned n;
  char padding[64] = "";

  memset (padding, 'n', random_below (&seed, 3) ? 0 : random_below (&seed, 50));
  ck_assert_int_lt (snprintf (ret, 256, "%s%s%s%u%s", folder, *folder ? "/" : "", padding, ++n,
                              random_below (&seed, 2) ? ".bin" : ""), 256);
}

static uint64_t
random_size (uint64_t most)
{
  switch (random_below (&seed, 5)) {
  case 0:
    return 0;
  case 1:
    return 1 + random_below (&seed, 600);
  case 2:
    return random_below (&seed, most / 8);
  default:
    return random_below (&seed, most);
  }
}

/* Not into itself, and so that all paths below stay within bounds. */
static bool
can_move (const struct tree *tree, const struct item *item, const char *to)
{
  const size_t n = strlen (item->path);

  for (size_t i = 0; i < tree->n; ++i)
    if (strncmp (tree->items[i].path, item->path, n) == 0 && strlen (tree->items[i].path) - n + strlen (to) > 200)
      return false;
  return strncmp (to, item->path, n) != 0 || to[n] != '/';
}

/* Items are counted, so that a tree neither dies out nor grows for ever. */
static void
change_something (uint64_t most_bytes, size_t most_items)
{
  struct tree tree;
  const struct item *item;
  unsigned op = random_below (&seed, 100);
  char path[256];

  read_tree (&tree);
  if (tree.n < most_items / 3)
    op %= 40;
  else if (tree.n > most_items)
    op = 90;
  new_path (path, random_folder (&tree));
  item = tree.n > 0 ? &tree.items[random_below (&seed, tree.n)] : NULL;
  if (op < 30 || item == NULL)
    put (path, random_size (most_bytes));
  else if (op < 40)
    make_folder (path);
  else if (op < 60) {
    if (!item->is_folder)
      put (item->path, random_size (most_bytes));
  }
  else if (op < 78) {
    if (can_move (&tree, item, path))
      move (item->path, path);
  }
  else if (op < 84) {
    take_away (item->path);
    if (item->is_folder)
      put (item->path, random_size (most_bytes));
    else
      make_folder (item->path);
  }
  else if (!item->is_folder || random_below (&seed, 3) == 0 || tree.n > most_items)
    take_away (item->path);
  free_tree (&tree);
}

/* ---- looking at it ---- */

static struct { int64_t item; bool has_reason; } left_out[4096];
static size_t n_left_out;

static int
note_left_out (void *opaque, int64_t item, const char *reason)
{
  ck_assert_uint_lt (n_left_out, N (left_out));
  left_out[n_left_out].item = item;
  left_out[n_left_out++].has_reason = reason && *reason;
  return 0;
}

static bool
is_left_out (int64_t item)
{
  for (size_t i = 0; i < n_left_out; ++i)
    if (left_out[i].item == item)
      return left_out[i].has_reason;
  return false;
}

/* Whether the item, or a folder above it, is on the list. */
static bool
may_be_missing (const struct tree *tree, const struct item *item)
{
  char path[256];
  char *slash;

  if (is_left_out (item->id))
    return true;
  strcpy (path, item->path);
  while ((slash = strrchr (path, '/'))) {
    *slash = '\0';
    if (is_left_out (find_item (tree, path)->id))
      return true;
  }
  return false;
}

static bool
holds_content (const struct map *map, const struct walked *file, uint64_t content)
{
  CLEANUP_FREE char *is = malloc (file->size + 1), *expected = malloc (file->size + 1);

  if (file->size > 0)
    ck_assert_int_eq (disk_read (disk, map, is, file->size, cluster_to_byte (disk_geometry (disk), file->first)), 0);
  fakecloud_fill (content, expected, file->size, 0);
  return memcmp (is, expected, file->size) == 0;
}

/* A file that found no room for its new version may show an older one. */
static bool
holds_older (const struct map *map, const struct walked *file, const struct item *item)
{
  if (!is_left_out (item->id))
    return false;
  for (size_t i = n_versions; i-- > 0;) {
    const struct version *version = &versions[i];

    if (version->item == item->id && version->size == file->size && holds_content (map, file, version->content))
      return true;
  }
  return false;
}

/* The tree on the disk is the catalog's, but for what is left out.  Of the contents, one in so many is read. */
static void
compare (const struct map *map, const struct walk *walk, const struct tree *tree, bool all_of_it, unsigned one_in)
{
  size_t w = 0;

  for (size_t i = 0; i < tree->n; ++i) {
    const struct item *item = &tree->items[i];
    const struct walked *on_disk = w < walk->n ? &walk->items[w] : NULL;

    if (on_disk == NULL || strcmp (on_disk->path, item->path) != 0) {
      if (all_of_it || !may_be_missing (tree, item))
        ck_abort_msg ("%s is not on the disk", item->path);
      continue;
    }
    w++;
    MUST (on_disk->is_folder == item->is_folder);
    if (item->is_folder || random_below (&seed, one_in) != 0)
      continue;
    if (on_disk->size == item->size && holds_content (map, on_disk, find_version (item->version)->content))
      continue;
    if (all_of_it || !holds_older (map, on_disk, item))
      ck_abort_msg ("%s holds other bytes", item->path);
  }
  ck_assert_msg (w == walk->n, "%s is on the disk, and not in the catalog", walk->items[w].path);
}

/* ---- generations that somebody holds ---- */

struct held {
  int64_t generation;
  struct map *map;
  struct tree tree;
  struct walk walk;
};

#define MAX_HELD 3

static struct held held[MAX_HELD];
static size_t n_held;

static void
let_go (void)
{
  map_unref (held[0].map);
  free_tree (&held[0].tree);
  walk_free (&held[0].walk);
  memmove (&held[0], &held[1], --n_held * sizeof held[0]);
}

static int64_t
item_of (const struct tree *tree, const char *path)
{
  return find_item (tree, path)->id;
}

/* Linux finds an open file again by the place of its entry: it must not be another's while somebody may hold it. */
static void
check_slots (const struct held *old, const struct tree *tree, const struct walk *walk)
{
  for (size_t i = 0; i < old->walk.n; ++i) {
    const struct walked *was = &old->walk.items[i];

    for (size_t k = 0; k < walk->n; ++k) {
      const struct walked *is = &walk->items[k];

      if (is->dir_first == was->dir_first && is->slot == was->slot &&
          item_of (tree, is->path) != item_of (&old->tree, was->path))
        ck_abort_msg ("%s has the entry of %s", is->path, was->path);
    }
  }
}

/* Clusters that the held generation shows are still its own, or those of the same file or folder. */
static void
check_clusters (const struct held *old, const struct map *newest, const struct tree *tree, const struct walk *walk)
{
  for (size_t i = 0; i < old->map->n; ++i) {
    const struct extent *was = &old->map->extents[i];

    for (size_t k = map_find (newest, was->first); k < newest->n; ++k) {
      const struct extent *is = &newest->extents[k];

      if (is->first >= was->first + was->count)
        break;
      MUST (is->first == was->first && is->kind == was->kind);
      MUST (is->kind != EXTENT_FILE || is->file == was->file);
    }
  }
  for (size_t i = 0; i < old->walk.n; ++i)
    for (size_t k = 0; k < walk->n; ++k)
      if (old->walk.items[i].first != 0 && old->walk.items[i].first == walk->items[k].first)
        MUST (item_of (tree, walk->items[k].path) == item_of (&old->tree, old->walk.items[i].path));
}

static void
check_held (const struct held *old, const struct map *newest, const struct tree *tree, const struct walk *walk,
            bool slots)
{
  struct map *again = disk_map_at (disk, old->generation), *since = disk_map_since (disk, old->generation);
  struct walk seen;

  /* A pinned view. */
  ck_assert_ptr_nonnull (again);
  ck_assert_uint_eq (again->n, old->map->n);
  ck_assert_int_eq (memcmp (again->extents, old->map->extents, again->n * sizeof again->extents[0]), 0);
  walk_disk (disk, old->map, true, &seen);
  ck_assert_uint_eq (seen.n, old->walk.n);
  ck_assert (seen.n == 0 || memcmp (seen.items, old->walk.items, seen.n * sizeof seen.items[0]) == 0);
  for (size_t i = 0; i < seen.n; ++i) {
    const struct item *item = find_item (&old->tree, seen.items[i].path);

    if (!item->is_folder && item->size == seen.items[i].size && random_below (&seed, 4) == 0)
      ck_assert (holds_content (old->map, &seen.items[i], find_version (item->version)->content));
  }
  walk_free (&seen);

  /* A live view: the newest tree, and the bytes of files that it had before. */
  ck_assert_ptr_nonnull (since);
  walk_disk (disk, since, false, &seen);
  ck_assert_uint_eq (seen.n, walk->n);
  ck_assert (seen.n == 0 || memcmp (seen.items, walk->items, seen.n * sizeof seen.items[0]) == 0);
  walk_free (&seen);
  for (size_t i = 0; i < old->walk.n; ++i) {
    const struct walked *file = &old->walk.items[i];
    const struct item *item = find_item (&old->tree, file->path);

    if (!file->is_folder && file->size > 0 && item->size == file->size && random_below (&seed, 4) == 0 &&
        !holds_content (since, file, find_version (item->version)->content))
      ck_abort_msg ("%s is not what it was", file->path);
  }
  check_clusters (old, newest, tree, walk);
  if (slots)
    check_slots (old, tree, walk);
  map_unref (again);
  map_unref (since);
}

/* ---- rounds ---- */

static void
update (void)
{
  ck_assert_int_ge (disk_update (disk), 0);
}

/* All bytes of the newest generation: once a file changed they can't be had any more. */
static void
fetch_all (const struct map *map)
{
  for (size_t i = 0; i < map->n; ++i) {
    const struct extent *extent = &map->extents[i];

    while (extent->kind == EXTENT_FILE && !cache_is_complete (extent->file)) {
      cache_prefetch (core.cache, extent->file, 0, extent->bytes);
      ck_assert (cache_wait_background (core.cache, 1));
    }
  }
}

/* What is known of the newest generation; with_all: nothing may be left out. */
static void
look (struct held *ret, bool with_all)
{
  ret->generation = disk_generation (disk);
  ret->map = disk_map (disk);
  ck_assert_uint_eq (ret->map->generation, ret->generation);
  read_tree (&ret->tree);
  walk_disk (disk, ret->map, true, &ret->walk);
  n_left_out = 0;
  db_read_begin (core.db);
  ck_assert_int_eq (left_out_each (core.db, disk_id (disk), note_left_out, NULL), 0);
  db_read_end (core.db);
  ck_assert_uint_eq (ret->walk.used, ret->map->used);
  fetch_all (ret->map);
  compare (ret->map, &ret->walk, &ret->tree, with_all, with_all ? 1 : 5);
}

static void
forget_look (struct held *seen)
{
  map_unref (seen->map);
  free_tree (&seen->tree);
  walk_free (&seen->walk);
}

static void
check_newest (bool with_all)
{
  struct held seen;

  look (&seen, with_all);
  forget_look (&seen);
}

static void
collect (void)
{
  const int64_t oldest = n_held > 0 ? held[0].generation : disk_generation (disk);

  ck_assert_int_eq (disk_collect (disk, oldest, &(struct generations) { 0 }), 0);
  ck_assert_int_gt (core_query (&core, "SELECT ifnull (min (died), 9223372036854775807) FROM extent"), oldest);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM version WHERE superseded = 1"
                                       " AND id NOT IN (SELECT version FROM extent)"), 0);
}

static const struct disk_config *opened_with;
static struct disk_store *store;

static void
open_disk (const struct disk_config *config)
{
  opened_with = config;
  store = disk_store_open (NULL);
  ck_assert_ptr_nonnull (store);
  disk = disk_open (NULL, store, config);
  ck_assert_ptr_nonnull (disk);
}

static void
restart (void)
{
  const int64_t generation = disk_generation (disk);
  const struct geometry geometry = *disk_geometry (disk);

  while (n_held > 0)
    let_go ();
  disk_close (disk);
  disk_store_close (store);
  core_reopen (&core, 0);
  open_disk (opened_with);
  ck_assert_int_eq (disk_generation (disk), generation);
  ck_assert_int_eq (memcmp (&geometry, disk_geometry (disk), sizeof geometry), 0);
}

struct round {
  struct disk_config config;
  unsigned steps;
  uint64_t most_bytes;         /* of a file */
  size_t most_items;
  bool roomy;                  /* everything fits, whatever is held */
};

static const struct round rounds[] = {
  { { "cloud", "fat32", PARTITION_MBR, 200 * MIB, NULL }, 120, 120000, 100, true },
  { { "cloud", "exfat", PARTITION_MBR, 200 * MIB, NULL }, 120, 120000, 100, true },
  { { "cloud", "fat32", PARTITION_NONE, 40 * MIB, "SMALL" }, 120, 20000, 60, true },
  /* Hardly half of it has room. */
  { { "cloud", "fat32", PARTITION_NONE, 36 * MIB, NULL }, 60, 3 * MIB, 60, false },
  { { "cloud", "exfat", PARTITION_GPT, 10 * MIB, NULL }, 120, MIB, 60, false },
};

static void
begin_round (const struct round *round, unsigned which)
{
  const char *other = getenv ("CHECK_SEED");

  seed = other ? strtoull (other, NULL, 0) : 1 + which;
  n_versions = n_held = 0;
  core_open (&core, 0);
  for (unsigned i = 0; i < 20; ++i)
    change_something (round->most_bytes, round->most_items);
  open_disk (&round->config);
}

static void
end_round (void)
{
  while (n_held > 0)
    let_go ();
  disk_close (disk);
  disk_store_close (store);
  core_close (&core);
}

START_TEST (random_changes)
{
  const struct round *round = &rounds[_i];
  const unsigned steps = getenv ("CLOUDSHARE_VALGRIND") ? round->steps / 8 : round->steps;

  begin_round (round, _i);
  check_newest (round->roomy);
  for (unsigned step = 0; step < steps; ++step) {
    struct held now;

    for (uint64_t n = 1 + random_below (&seed, 6); n-- > 0;)
      change_something (round->most_bytes, round->most_items);
    update ();
    ck_assert_int_eq (core_query (&core, "SELECT value FROM meta WHERE key = 'revision'"), disk_revision (disk));
    look (&now, round->roomy);
    for (size_t i = 0; i < n_held; ++i)
      check_held (&held[i], now.map, &now.tree, &now.walk, round->roomy);
    if (n_held < MAX_HELD && random_below (&seed, 2) && (n_held == 0 || held[n_held - 1].generation < now.generation))
      held[n_held++] = now;
    else
      forget_look (&now);
    if (n_held > 0 && random_below (&seed, 4) == 0)
      let_go ();
    if (random_below (&seed, 2))
      collect ();
    if (random_below (&seed, 15) == 0)
      restart ();
  }

  /* Nothing is left of what was. */
  while (n_held > 0)
    let_go ();
  collect ();
  update ();
  collect ();
  check_newest (round->roomy);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM extent WHERE died < 9223372036854775807"), 0);
  end_round ();
}
END_TEST

/* ---- ranges ---- */

START_TEST (runs_cover_the_disk)
{
  const struct round *round = &rounds[_i];
  uint64_t offset = 0, holes = 0;
  const struct geometry *g;
  struct map *map;
  CLEANUP_FREE char *buf = malloc (MIB);

  begin_round (round, _i);
  g = disk_geometry (disk);
  map = disk_map (disk);
  while (offset < g->disk_bytes) {
    const uint64_t left = g->disk_bytes - offset;
    const uint64_t most = random_below (&seed, 2) ? left : 1 + random_below (&seed, left);
    const uint64_t run = disk_run (disk, map, most, offset, &(bool) { false });
    bool hole;

    MUST (run >= 1 && run <= most);
    MUST (disk_run (disk, map, run, offset, &hole) == run);
    if (hole) {
      const size_t n = run < MIB ? run : MIB;

      holes += run;
      MUST (disk_read (disk, map, buf, n, offset) == 0);
      MUST (buf[0] == 0 && (n == 1 || memcmp (buf, buf + 1, n - 1) == 0));
    }
    offset += run;
  }
  ck_assert_uint_eq (offset, g->disk_bytes);
  if (round->roomy)
    ck_assert_uint_ge (holes, g->disk_bytes / 2);
  map_unref (map);
  end_round ();
}
END_TEST

static char *whole;
static struct map *whole_map;
static atomic_bool enough;

static void *
read_ranges (void *opaque)
{
  const uint64_t size = disk_geometry (disk)->disk_bytes;
  const uint64_t used = cluster_to_byte (disk_geometry (disk), whole_map->next_free);
  uint64_t mine = (uintptr_t) opaque;
  char *buf = malloc (2 * MIB);

  while (!enough) {
    /* Mostly where there is something. */
    const uint64_t offset = random_below (&mine, random_below (&mine, 8) && used < size ? used : size);
    uint64_t n = 1 + random_below (&mine, random_below (&mine, 4) ? 70000 : 2 * MIB);

    if (n > size - offset)
      n = size - offset;
    MUST (disk_read (disk, whole_map, buf, n, offset) == 0);
    MUST (memcmp (buf, whole + offset, n) == 0);
    if (random_below (&mine, 20) == 0)
      disk_prefetch (disk, whole_map, n, offset);
  }
  free (buf);
  return NULL;
}

/* Also while the cache evicts and fetches again. */
START_TEST (any_range_is_part_of_the_whole)
{
  const struct round *round = &rounds[_i];
  pthread_t threads[3];
  uint64_t size;

  begin_round (round, _i);
  disk_close (disk);
  disk_store_close (store);
  core_reopen (&core, 2 * MIB);
  open_disk (&round->config);
  size = disk_geometry (disk)->disk_bytes;
  whole_map = disk_map (disk);
  whole = malloc (size);
  ck_assert_ptr_nonnull (whole);
  /* In pieces that do not fit any border. */
  for (uint64_t at = 0; at < size; at += 1000003)
    ck_assert_int_eq (disk_read (disk, whole_map, whole + at, size - at < 1000003 ? size - at : 1000003, at), 0);

  enough = false;
  for (int i = 0; i < N (threads); ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, read_ranges, (void *) (uintptr_t) (100 + i)), 0);
  sleep_ms (500);
  enough = true;
  for (int i = 0; i < N (threads); ++i)
    pthread_join (threads[i], NULL);
  free (whole);
  map_unref (whole_map);
  end_round ();
}
END_TEST

/* ---- cases ---- */

static const struct disk_config small_disks[] = {
  { "cloud", "fat32", PARTITION_NONE, 40 * MIB, NULL },
  { "cloud", "exfat", PARTITION_NONE, 10 * MIB, NULL },
};

static void
begin_small (int which)
{
  seed = 1;
  n_versions = n_held = 0;
  core_open (&core, 0);
  open_disk (&small_disks[which]);
}

START_TEST (an_empty_remote)
{
  begin_small (_i);
  check_newest (true);
  ck_assert_int_eq (disk_update (disk), 0);
  put ("a", 5);
  ck_assert_int_eq (disk_update (disk), 1);
  check_newest (true);
  take_away ("a");
  ck_assert_int_eq (disk_update (disk), 1);
  check_newest (true);
  end_round ();
}
END_TEST

/* The last item gives its place, and perhaps its id, to one of another kind. */
START_TEST (file_becomes_folder)
{
  begin_small (_i);
  put ("x", 3000);
  update ();
  take_away ("x");
  make_folder ("x");
  put ("x/y", 2000);
  update ();
  check_newest (true);
  take_away ("x");
  put ("x", 70000);
  update ();
  check_newest (true);
  end_round ();
}
END_TEST

/* A folder that outgrows its room moves; what is below it must know. */
START_TEST (folder_outgrows_its_room)
{
  const struct walked *before;
  struct held first, now;

  begin_small (_i);
  make_folder ("a");
  make_folder ("a/b");
  make_folder ("a/b/c");
  put ("a/b/c/f", 10);
  update ();
  look (&first, true);
  for (unsigned i = 0; i < 300; ++i) {
    char path[128];

    snprintf (path, sizeof path, "a/b/a name that takes several entries %u", i);
    put (path, i % 3);
    if (i % 100 == 99) {
      update ();
      check_newest (true);
    }
  }
  look (&now, true);
  before = walk_find (&first.walk, "a/b");
  ck_assert_uint_ne (before->first, walk_find (&now.walk, "a/b")->first);
  ck_assert_uint_eq (walk_find (&first.walk, "a")->first, walk_find (&now.walk, "a")->first);
  forget_look (&first);
  forget_look (&now);
  end_round ();
}
END_TEST

START_TEST (more_than_the_root_holds)
{
  struct held seen;
  size_t shown;

  begin_small (_i);
  for (unsigned i = 0; i < 600; ++i) {
    char path[64];

    snprintf (path, sizeof path, "a name that takes several entries %u", i);
    put (path, 1);
  }
  update ();
  look (&seen, false);
  shown = seen.walk.n;
  ck_assert_uint_gt (shown, 0);
  ck_assert_uint_lt (shown, 600);
  ck_assert_uint_eq (n_left_out, 600 - shown);
  forget_look (&seen);
  for (unsigned i = 0; i < 600; ++i) {
    char path[64];

    snprintf (path, sizeof path, "a name that takes several entries %u", i);
    if (i % 100 != 0)
      take_away (path);
  }
  update ();
  check_newest (false);
  collect ();
  update ();
  check_newest (true);
  end_round ();
}
END_TEST

/* Whatever found no room comes as soon as there is some, though nothing of its own folder changes. */
START_TEST (room_comes_back)
{
  const uint64_t half = small_disks[_i].size / 2 + MIB;

  begin_small (_i);
  make_folder ("a");
  make_folder ("b");
  make_folder ("b/c");
  put ("a/first", half);
  put ("b/c/other", 100);
  update ();
  check_newest (true);
  put ("b/c/second", half);
  update ();
  check_newest (false);
  ck_assert_uint_eq (n_left_out, 1);
  ck_assert_uint_ge (said (MSG_NOTICE, "second"), 1);

  take_away ("a/first");
  update ();
  check_newest (false);        /* somebody may still hold the first */
  core_rung = false;
  collect ();
  ck_assert (core_rung);
  update ();
  check_newest (true);
  ck_assert_uint_eq (n_left_out, 0);
  end_round ();
}
END_TEST

/* A new version that finds no room leaves the old one where it is. */
START_TEST (no_room_for_a_new_version)
{
  const uint64_t half = small_disks[_i].size / 2 + MIB;

  begin_small (_i);
  put ("f", half);
  update ();
  check_newest (true);
  put ("f", half + 1);
  put ("g", 10);
  update ();
  check_newest (false);
  ck_assert_uint_eq (n_left_out, 1);
  put ("f", 1000);
  update ();
  check_newest (true);
  ck_assert_uint_eq (n_left_out, 0);
  end_round ();
}
END_TEST

static const struct disk_config large_disks[] = {
  { "cloud", "fat32", PARTITION_MBR, 1024 * MIB, NULL },
  { "cloud", "exfat", PARTITION_MBR, 4096 * MIB, NULL },
};

/* So many that their names are not all kept from one pass to the next. */
START_TEST (many_items)
{
  struct walk walk;
  struct map *map;
  int64_t folder;

  n_versions = n_held = 0;
  core_open (&core, 0);
  ck_assert_int_eq (db_begin (core.db), 0);
  for (unsigned d = 0; d < 5; ++d) {
    char name[32];
    struct cloud_item seen = { .name = name, .is_folder = true };

    snprintf (name, sizeof name, "folder %u", d);
    folder = catalog_add (core.db, core.blobs, 1, CATALOG_ROOT, &seen);
    ck_assert_int_gt (folder, 0);
    for (unsigned i = 0; i < 4500; ++i) {
      snprintf (name, sizeof name, "file %u.%u", d, i);
      seen = (struct cloud_item) { .name = name, .size = i % 7 * 1000, .token = "1", .mtime = { 1700000000, 0 } };
      ck_assert_int_gt (catalog_add (core.db, core.blobs, 1, folder, &seen), 0);
    }
  }
  ck_assert_int_eq (catalog_commit_revision (core.db, 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);

  open_disk (&large_disks[_i]);
  map = disk_map (disk);
  walk_disk (disk, map, true, &walk);
  ck_assert_uint_eq (walk.n, 5 * 4501);
  for (unsigned k = 0; k < 5 * 4500; k += 13) {
    const unsigned d = k / 4500, i = k % 4500;
    const struct walked *file;
    char path[64];

    snprintf (path, sizeof path, "folder %u/file %u.%u", d, d, i);
    file = walk_find (&walk, path);
    ck_assert_ptr_nonnull (file);
    ck_assert_uint_eq (file->size, i % 7 * 1000);
  }
  walk_free (&walk);
  map_unref (map);
  end_round ();
}
END_TEST

/* ---- which disk it is ---- */

static const struct {
  struct disk_config config;
  bool same;
} reopened[] = {
  { { "cloud", "fat32", PARTITION_MBR, 40 * MIB, "LABEL" }, true },
  { { "cloud", NULL, -1, 0, NULL }, true },                    /* what is not said does not count */
  { { "cloud", "exfat", PARTITION_MBR, 40 * MIB, "LABEL" }, false },
  { { "cloud", "fat32", PARTITION_NONE, 40 * MIB, "LABEL" }, false },
  { { "cloud", "fat32", PARTITION_MBR, 50 * MIB, "LABEL" }, false },
  { { "cloud", "fat32", PARTITION_MBR, 40 * MIB, "OTHER" }, false },
  { { "second", "fat32", PARTITION_MBR, 40 * MIB, "LABEL" }, false },
};

START_TEST (the_same_disk_or_another)
{
  struct geometry before;
  int64_t generation;

  n_versions = n_held = 0;
  core_open (&core, 0);
  put ("a", 1000);
  open_disk (&reopened[0].config);
  put ("b", 1000);
  update ();
  before = *disk_geometry (disk);
  generation = disk_generation (disk);
  ck_assert_int_eq (generation, 2);
  disk_close (disk);
  disk_store_close (store);
  open_disk (&reopened[_i].config);
  ck_assert_int_eq (disk_geometry (disk)->volume_serial == before.volume_serial, reopened[_i].same);
  ck_assert_int_eq (disk_geometry (disk)->mbr_signature == before.mbr_signature, reopened[_i].same);
  if (reopened[_i].same)
    ck_assert_int_eq (memcmp (&before, disk_geometry (disk), sizeof before), 0);
  ck_assert_int_eq (disk_generation (disk), reopened[_i].same ? 2 : 1);
  ck_assert_str_eq (disk_name (disk), reopened[_i].config.name);
  check_newest (true);
  end_round ();
}
END_TEST

int
main (void)
{
  /* Under valgrind what is slow by its number of items takes minutes, and shows nothing that the rest does not. */
  const bool slow = getenv ("CLOUDSHARE_VALGRIND") != NULL;
  Suite *suite = suite_create ("layout");
  TCase *tcase = tcase_create ("layout");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_set_timeout (tcase, 300);
  tcase_add_loop_test (tcase, random_changes, 0, N (rounds));
  tcase_add_loop_test (tcase, runs_cover_the_disk, 0, N (rounds));
  tcase_add_loop_test (tcase, any_range_is_part_of_the_whole, 1, N (rounds));
  tcase_add_loop_test (tcase, an_empty_remote, 0, N (small_disks));
  tcase_add_loop_test (tcase, file_becomes_folder, 0, N (small_disks));
  tcase_add_loop_test (tcase, folder_outgrows_its_room, 0, N (small_disks));
  tcase_add_loop_test (tcase, room_comes_back, 0, N (small_disks));
  tcase_add_loop_test (tcase, no_room_for_a_new_version, 0, N (small_disks));
  if (!slow) {
    tcase_add_loop_test (tcase, more_than_the_root_holds, 0, N (small_disks));
    tcase_add_loop_test (tcase, many_items, 0, N (large_disks));
  }
  tcase_add_loop_test (tcase, the_same_disk_or_another, 0, N (reopened));
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  free (versions);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
