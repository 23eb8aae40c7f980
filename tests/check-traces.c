/* SPDX-License-Identifier: BSD-3-Clause */
/* Plays what real guests wrote (tests/traces) into the overlay and the interpreter, which runs after every single request:
 * in recorded order, in other orders within a pass, and cut off at every point.  What the journal would tell the cloud is
 * looked at after each step.
 *
 * CHECK_TRACES=FILE:TRACE limits it to one; CHECK_SEED=N tries another order; CHECK_LONG=1 tries many orders and cuts. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "coreengine.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "format.h"
#include "interpret.h"
#include "journal.h"
#include "junk.h"
#include "le.h"
#include "map.h"
#include "names.h"
#include "overlay.h"
#include "parse.h"
#include "replay.h"
#include "seen.h"
#include "slots.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

static const char *const recordings[] = {
  "6.1-fat32-sync", "6.1-fat32-idle", "6.1-fat32-busy", "6.1-exfat-sync", "6.1-exfat-idle", "6.1-exfat-busy",
  "6.12-fat32-sync", "6.12-fat32-busy", "6.12-exfat-sync", "6.12-exfat-busy",
};

/* What the view's guest is told is its volume; the interpreter's own parameter. */
#define SETTLE_MS 2000

static struct disk *disk;
static char template[80];      /* a cache folder as it is before any trace */

static struct player {
  struct overlay *overlay;
  struct map *map;
  struct interp *interp;
  struct junk *junk;
  uint64_t clock;              /* the overlay's, when the interpreter last ran */
  uint64_t ms, last_write_ms, next_ms;
  bool dirty, marked;
  bool leaves;                 /* after a while without requests the guest counts as gone */
  bool connected;
  bool absorbed;
  unsigned runs;
} player;

/* ---- the disk before a trace ---- */

static int64_t
add_item (const struct trace_file *file, const struct trace_item *item, int64_t parent, const char *name)
{
  char checksum[64], token[32];
  struct cloud_item seen = {
    .name = name, .is_folder = item->is_folder, .size = item->size, .mtime.tv_sec = item->is_folder ? 1700000000 : item->mtime,
    .settled = true,
  };
  static unsigned serial;
  int64_t id, revision;

  snprintf (token, sizeof token, "t%u", ++serial);
  snprintf (checksum, sizeof checksum, "SHA1:%s", item->sha1);
  seen.token = token;
  seen.checksum = item->is_folder ? NULL : checksum;
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  id = catalog_add (core.db, core.blobs, revision + 1, parent, &seen);
  ck_assert_int_gt (id, 0);
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  return id;
}

/* All of its bytes are in the cache, as the trace's disk has them. */
static void
fill_item (const struct trace_file *file, const struct trace_item *item, int64_t id)
{
  const struct geometry *g = disk_geometry (disk);
  CLEANUP_FREE char *bytes = malloc (item->size + 1);
  struct catalog_list list;

  if (item->is_folder || item->size == 0)
    return;
  trace_base_read (file, bytes, item->size, cluster_to_byte (g, item->first));
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_item (core.db, id, &list), 1);
  ck_assert_int_eq (blobs_write (core.blobs, bytes, item->size, list.items[0].position), 0);
  ck_assert_int_eq (cache_adopt (core.db, list.items[0].version, item->size, NULL), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  catalog_list_free (&list);
}

static void
run_command (const char *command)
{
  ck_assert_msg (system (command) == 0, "%s", command);
}

static struct disk_store *store;

static struct disk *
open_disk (const struct trace_file *file)
{
  const struct disk_config config = {
    .name = "cloud", .format = file->fs, .partitioning = -1, .size = file->disk_bytes,
  };

  store = disk_store_open ((struct engine *) 1);
  return store ? disk_open ((struct engine *) 1, store, &config) : NULL;
}

static void
execute (const char *sql)
{
  ck_assert_int_eq (db_schema (core.db, sql), 0);
}

/* ---- the traces' layout in place of ours: they were recorded on disks that had never changed ---- */

static int
read_trace (void *opaque, void *buf, size_t n, uint64_t offset)
{
  trace_base_read (opaque, buf, n, offset);
  return 0;
}

struct relayout {
  const struct trace_file *file;
  const struct geometry *g;
  struct parse *parse;
  struct blobs *store;
};

static void
update_extent (int64_t item, uint32_t first, uint32_t count, uint64_t bytes, uint64_t position)
{
  char sql[256];

  snprintf (sql, sizeof sql, "UPDATE extent SET first = %u, count = %u, bytes = %llu, position = %llu WHERE item = %lld", first,
            count, (unsigned long long) bytes, (unsigned long long) position, (long long) item);
  execute (sql);
}

static void
save_slots (int64_t item, const struct slot_record *slots, size_t n)
{
  struct extent_row row;

  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (extent_by_item (core.db, 1, item, &row), 1);
  ck_assert_int_eq (slots_row_save (core.db, row.id, slots, n * sizeof *slots), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
}

static void
lay_out_folder (struct relayout *r, const char *path, uint32_t first, uint64_t size, bool contiguous)
{
  const struct geometry *g = r->g;
  const int64_t id = core_item (&core, path);
  const bool is_root = path[0] == '\0', fat32 = g->format->has_aliases;
  CLEANUP_FREE struct slot_record *slots = NULL;
  CLEANUP_FREE char *bytes = NULL;
  enum parsed_chain found;
  struct parsed_runs runs;
  struct parsed_dir dir;
  size_t n_slots = 0, n;
  uint32_t at = g->format->head_bytes (is_root);
  uint64_t position;
  bool differ;

  ck_assert_int_eq (parse_chain (r->parse, first, fat32 || is_root ? UINT64_MAX : size, contiguous, &found, &runs, &differ), 0);
  ck_assert_int_eq (found, CHAIN_SOUND);
  ck_assert_uint_eq (runs.n, 1);
  n = runs.clusters * g->cluster_bytes;
  ck_assert_int_eq (parse_dir (r->parse, &runs, n, is_root, &dir), 0);
  bytes = malloc (n);
  trace_base_read (r->file, bytes, n, cluster_to_byte (g, first));
  position = blobs_alloc (r->store, n);
  ck_assert_int_eq (blobs_write (r->store, bytes, n, position), 0);
  update_extent (id, first, runs.clusters, n, position);
  slots = calloc (dir.n * 2 + 1, sizeof *slots);
  for (size_t i = 0; i < dir.n; ++i) {
    const struct parsed_entry *entry = &dir.entries[i];
    char name[NAME_UNITS * 3 + 1], below[1024];
    int64_t child;

    ck_assert_int_ge (name_to_cloud (entry->name, entry->units, name), 0);
    snprintf (below, sizeof below, "%s%s%s", path, *path ? "/" : "", name);
    child = core_item (&core, below);
    ck_assert_msg (child > 0, "%s is not listed", below);
    if (entry->offset > at)
      slots[n_slots++].bytes = cpu_to_le32 (entry->offset - at);
    slots[n_slots].item = cpu_to_le64 (child);
    slots[n_slots++].bytes = cpu_to_le32 (entry->bytes);
    at = entry->offset + entry->bytes;
    if (entry->is_folder)
      lay_out_folder (r, below, entry->first, entry->size, entry->contiguous);
    else if (entry->first)
      update_extent (child, entry->first, bytes_to_clusters (g, entry->size), entry->size, 0);
  }
  save_slots (id, slots, n_slots);
  parsed_dir_free (&dir);
  parsed_runs_free (&runs);
}

/* The disk is closed meanwhile. */
static void
lay_out (const struct trace_file *file)
{
  struct disk_row row;
  struct relayout r = { .file = file, .g = &row.geometry };
  struct parsed_runs runs;
  enum parsed_chain found;
  char command[512];
  int fd = openat (core.dir_fd, "folders", O_RDONLY | O_DIRECTORY);
  uint64_t end;
  bool differ;

  db_read_begin (core.db);
  ck_assert_int_eq (disk_row_load (core.db, "cloud", &row), 1);
  ck_assert_int_eq (extents_dirs_end (core.db, &end), 0);
  db_read_end (core.db);
  r.store = blobs_open (fd, core.dir);
  ck_assert_int_eq (blobs_trim (r.store, end), 0);
  r.parse = parse_new (r.g, read_trace, (void *) file);
  ck_assert_int_eq (parse_chain (r.parse, row.geometry.root_first, UINT64_MAX, false, &found, &runs, &differ), 0);
  lay_out_folder (&r, "", row.geometry.root_first, 0, false);
  snprintf (command, sizeof command, "UPDATE disk SET mbr_signature = %u, volume_serial = %u, root_clusters = %u",
            file->signature, file->serial, (unsigned) runs.clusters);
  execute (command);
  ck_assert_int_eq (blobs_sync (r.store), 0);
  blobs_close (r.store);
  parsed_runs_free (&runs);
  parse_free (r.parse);
  close (fd);
}

/* Makes the cache folder that all traces of a file begin with. */
static void
make_template (const struct trace_file *file)
{
  int64_t *ids = calloc (file->n_items, sizeof *ids);
  char command[512];

  core_open (&core, 0);
  ck_assert_int_eq (journal_init (core.db), 0);
  ck_assert_int_eq (seen_init (core.db), 0);
  /* Sorted by path: a folder comes before what is in it. */
  for (size_t i = 0; i < file->n_items; ++i) {
    const char *path = file->items[i].path, *slash = strrchr (path, '/');
    CLEANUP_FREE char *above = slash ? strndup (path, slash - path) : strdup ("");

    ids[i] = add_item (file, &file->items[i], core_item (&core, above), slash ? slash + 1 : path);
  }
  disk = open_disk (file);
  ck_assert_ptr_nonnull (disk);
  for (size_t i = 0; i < file->n_items; ++i)
    fill_item (file, &file->items[i], ids[i]);
  free (ids);
  disk_close (disk);
  disk_store_close (store);
  lay_out (file);
  core_shut (&core);
  snprintf (template, sizeof template, "%s.template", core.dir);
  snprintf (command, sizeof command, "rm -rf %s && cp -r %s %s", template, core.dir, template);
  run_command (command);
  core_load (&core, 0);
  disk = open_disk (file);
  ck_assert_ptr_nonnull (disk);
}

static void
drop_template (void)
{
  char command[512];

  disk_close (disk);
  disk_store_close (store);
  core_close (&core);
  snprintf (command, sizeof command, "rm -rf %s", template);
  run_command (command);
}

/* ---- the player ---- */

static void
begin (void *opaque, const struct trace_file *file, const struct trace *trace)
{
  const bool leaves = player.leaves;
  char command[512];

  /* A new start from what was there before. */
  disk_close (disk);
  disk_store_close (store);
  core_shut (&core);
  snprintf (command, sizeof command, "rm -rf %s/* && cp -r --reflink=auto --sparse=always %s/. %s", core.dir, template,
            core.dir);
  run_command (command);
  core_load (&core, 0);
  disk = open_disk (file);
  ck_assert_ptr_nonnull (disk);

  memset (&player, 0, sizeof player);
  player.leaves = leaves;
  player.connected = true;
  player.map = disk_map (disk);
  player.junk = junk_new ();
  ck_assert_int_eq (mkdirat (core.dir_fd, "views", 0700), 0);
  {
    CLEANUP_CLOSE int fd = openat (core.dir_fd, "views", O_RDONLY | O_DIRECTORY);

    player.overlay = overlay_open (fd, core.dir, "1", file->disk_bytes);
  }
  ck_assert_ptr_nonnull (player.overlay);
  {
    const struct interpret_config config = {
      .engine = (struct engine *) 1, .disk = disk, .overlay = player.overlay, .map = player.map, .view = 1, .name = "vm/cloud",
      .junk = player.junk, .settle_ms = SETTLE_MS, .max_delete = 100,
    };

    player.interp = interpret_new (&config);
  }
  ck_assert_ptr_nonnull (player.interp);
}

static void
end (void *opaque)
{
  interpret_free (player.interp);
  overlay_close (player.overlay);
  map_unref (player.map);
  junk_free (player.junk);
  player.overlay = NULL;
}

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  return disk_read (disk, player.map, buf, n, offset);
}

/* As view-io.c does it. */
static void
look_at_mark (uint64_t n, uint64_t offset)
{
  const struct geometry *g = disk_geometry (disk);
  const uint64_t place = g->volume_start + (g->format->has_aliases ? 65 : 106);
  uint8_t sector[SECTOR_SIZE];
  bool present, dirty;

  if (offset + n <= g->volume_start || offset >= g->volume_start + SECTOR_SIZE)
    return;
  overlay_run (player.overlay, SECTOR_SIZE, g->volume_start, &present);
  if (!present)
    return;
  ck_assert_int_eq (overlay_read (player.overlay, sector, SECTOR_SIZE, g->volume_start), 0);
  dirty = sector[place - g->volume_start] & (g->format->has_aliases ? 1 : 2);
  if (player.dirty && !dirty)
    player.marked = true;
  player.dirty = dirty;
}

static void
play_write (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  ck_assert_int_eq (overlay_write (player.overlay, buf, n, offset, fill, NULL), 0);
  player.last_write_ms = player.ms;
  look_at_mark (n, offset);
}

static void
play_zero (void *opaque, uint64_t n, uint64_t offset)
{
  ck_assert_int_eq (overlay_zero (player.overlay, n, offset, fill, NULL), 0);
  player.last_write_ms = player.ms;
  look_at_mark (n, offset);
}

static void
play_trim (void *opaque, uint64_t n, uint64_t offset)
{
  ck_assert_int_eq (overlay_trim (player.overlay, n, offset), 0);
  player.last_write_ms = player.ms;
}

static void
play_flush (void *opaque)
{
}

static void
tick (void *opaque, uint64_t ms)
{
  const uint64_t clock = overlay_clock (player.overlay);
  struct interpret_result result;
  struct interpret_now now;

  player.ms = ms;
  if (player.leaves && player.connected && ms > player.last_write_ms + 1000)
    player.connected = false;
  now = (struct interpret_now) {
    .now_ms = ms + 1, .connected = player.connected, .marked = player.marked,
    .ending = !player.connected && ms > player.last_write_ms + 1000 + SETTLE_MS,
  };
  if (clock == player.clock && (player.next_ms == 0 || ms < player.next_ms) && player.connected)
    return;
  player.marked = false;
  player.clock = clock;
  player.runs++;
  ck_assert_int_eq (interpret_run (player.interp, &now, &result), 0);
  player.next_ms = result.next_ms;
  player.absorbed = result.absorbed;
  ck_assert_ptr_null (result.detached);
}

/* Of what was staged over another version nobody made a sum. */
static void
sum_of (const struct catalog_item *item, char *sha1)
{
  CLEANUP_FREE char *bytes = malloc (item->size);
  struct cache_file *file = cache_file (core.cache, item->version, item->size, item->position);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;

  ck_assert (bytes && file);
  ck_assert_int_eq (cache_read (core.cache, file, bytes, item->size, 0), 0);
  ck_assert_int_eq (EVP_Digest (bytes, item->size, digest, &n, EVP_sha1 (), NULL), 1);
  for (unsigned i = 0; i < n; ++i)
    sprintf (sha1 + 2 * i, "%02x", digest[i]);
}

static void
list_folder (int64_t folder, const char *path, replay_item item, void *to)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_children (core.db, folder, &list), 0);
  for (size_t i = 0; i < list.n; ++i) {
    const struct catalog_item *it = &list.items[i];
    char below[1024], sha1[41] = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    const char *hash = it->hashes && strncmp (it->hashes, "SHA1:", 5) == 0 ? it->hashes
                       : it->checksum && strncmp (it->checksum, "SHA1:", 5) == 0 ? it->checksum : NULL;

    snprintf (below, sizeof below, "%s%s%s", path, *path ? "/" : "", it->name);
    if (it->is_folder) {
      item (to, below, true, 0, NULL);
      list_folder (it->id, below, item, to);
      continue;
    }
    if (it->size > 0 && hash)
      memcpy (sha1, hash + 5, 40);
    else if (it->size > 0)
      sum_of (it, sha1);
    item (to, below, false, it->size, sha1);
  }
  catalog_list_free (&list);
}

static void
tree (void *opaque, replay_item item, void *to)
{
  db_read_begin (core.db);
  list_folder (CATALOG_ROOT, "", item, to);
  db_read_end (core.db);
}

static uint64_t
changes (void *opaque)
{
  int64_t revision;

  db_read_begin (core.db);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  db_read_end (core.db);
  return revision;
}

static const struct replay_target target = {
  .begin = begin, .end = end, .write = play_write, .zero = play_zero, .trim = play_trim, .flush = play_flush, .tick = tick,
  .tree = tree, .changes = changes,
};

/* ---- tests ---- */

static bool
is_wanted (const char *recording, const char *trace)
{
  const char *only = getenv ("CHECK_TRACES"), *colon = only ? strchr (only, ':') : NULL;

  if (only == NULL)
    return true;
  if (strncmp (only, recording, colon ? (size_t) (colon - only) : strlen (only)) != 0)
    return false;
  return colon == NULL || trace == NULL || strcmp (colon + 1, trace) == 0;
}

static struct trace_file *
open_recording (int i)
{
  const char *dir = getenv ("srcdir");
  CLEANUP_FREE char *path = NULL;

  if (!is_wanted (recordings[i], NULL))
    return NULL;
  ck_assert_int_ge (asprintf (&path, "%s/tests/traces/%s.xz", dir ? dir : ".", recordings[i]), 0);
  return trace_open (path);
}

static bool
is_long (void)
{
  return getenv ("CHECK_LONG") != NULL;
}

static unsigned n_wrong;

static void
play (int i, const struct trace_file *file, const struct trace *trace, const struct replay_options *options, const char *how)
{
  CLEANUP_FREE char *wrong = replay (file, trace, &target, options);

  if (wrong == NULL)
    return;
  n_wrong++;
  printf ("%s:%s %s%s: %s\n", recordings[i], trace->name, how, player.leaves ? ", the guest gone" : "", wrong);
  fflush (stdout);
}

/* The layout is what the plugin served when the traces were recorded; else all below is about another disk. */
START_TEST (the_same_disk)
{
  struct trace_file *file = open_recording (_i);
  char ours[4096], theirs[4096];
  struct map *map;

  if (file == NULL)
    return;
  make_template (file);
  map = disk_map (disk);
  for (uint64_t at = 0; at + sizeof ours <= file->disk_bytes; at += sizeof ours) {
    ck_assert_int_eq (disk_read (disk, map, ours, sizeof ours, at), 0);
    trace_base_read (file, theirs, sizeof theirs, at);
    for (size_t s = 0; s < sizeof ours; s += 512)
      if (memcmp (ours + s, theirs + s, 512) != 0)
        for (size_t b = s; b < s + 512; ++b)
          ck_assert_msg (ours[b] == theirs[b] , "%s: byte %llu differs", recordings[_i], (unsigned long long) (at + b));
  }
  map_unref (map);
  drop_template ();
  trace_close (file);
}
END_TEST

static void
play_all (int i, void (*each) (int i, const struct trace_file *file, const struct trace *trace))
{
  struct trace_file *file = open_recording (i);

  if (file == NULL)
    return;
  n_wrong = 0;
  make_template (file);
  for (size_t t = 0; t < file->n_traces; ++t)
    if (is_wanted (recordings[i], file->traces[t].name))
      each (i, file, &file->traces[t]);
  drop_template ();
  trace_close (file);
  ck_assert_msg (n_wrong == 0, "%s: %u were wrong", recordings[i], n_wrong);
}

static void
play_in_order (int i, const struct trace_file *file, const struct trace *trace)
{
  const struct replay_options whole = { .cut = SIZE_MAX, .after_ms = 1000, .want_final = true };
  const struct replay_options idle = { .cut = replay_before_umount (trace), .after_ms = 90000, .want_final = true };

  player.leaves = false;
  play (i, file, trace, &whole, "in order");
  if (strcmp (file->how, "idle") == 0)
    play (i, file, trace, &idle, "without umount");
}

START_TEST (in_order)
{
  play_all (_i, play_in_order);
}
END_TEST

static void
play_shuffled (int i, const struct trace_file *file, const struct trace *trace)
{
  const char *seed = getenv ("CHECK_SEED");

  player.leaves = false;
  for (uint64_t n = 1; n <= (is_long () ? 3 : 1); ++n) {
    const struct replay_options options = {
      .seed = seed ? strtoull (seed, NULL, 0) + n - 1 : n, .cut = SIZE_MAX, .after_ms = 1000, .want_final = true,
    };
    char how[64];

    snprintf (how, sizeof how, "in order %llu", (unsigned long long) options.seed);
    play (i, file, trace, &options, how);
  }
}

START_TEST (in_other_orders)
{
  play_all (_i, play_shuffled);
}
END_TEST

static void
play_cut (int i, const struct trace_file *file, const struct trace *trace)
{
  /* Long traces at every so many events: the first ones and the last ones always. */
  const size_t step = trace->n_events / (is_long () ? 40 : 4) + 1, ends = is_long () ? 8 : 1;

  player.leaves = true;
  for (size_t cut = 1; cut < trace->n_events; cut += cut < ends || cut + ends > trace->n_events ? 1 : step) {
    const struct replay_options options = { .cut = cut, .after_ms = 100000 };
    char how[64];

    snprintf (how, sizeof how, "cut after %zu", cut);
    play (i, file, trace, &options, how);
  }
}

START_TEST (cut_off)
{
  play_all (_i, play_cut);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("traces");
  TCase *tcase = tcase_create ("recorded by guests");
  SRunner *runner;
  int failed;

  setenv ("TZ", "UTC0", 1);
  tzset ();
  tcase_set_timeout (tcase, 1200);
  tcase_add_loop_test (tcase, the_same_disk, 0, N (recordings));
  tcase_add_loop_test (tcase, in_order, 0, N (recordings));
  tcase_add_loop_test (tcase, in_other_orders, 0, N (recordings));
  tcase_add_loop_test (tcase, cut_off, 0, N (recordings));
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
