/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of plugin/interpret*.c by a guest that is made by hand: states of a FAT32 disk that are rare with real ones, and hostile
 * ones.  What real guests wrote is in check-traces. */

#include <config.h>

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cache.h"
#include "catalog.h"
#include "change.h"
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
#include "kin.h"
#include "le.h"
#include "map.h"
#include "overlay.h"
#include "parse.h"
#include "seen.h"

#define SETTLE_MS 2000
#define QUIET_MS  41000
#define ENTRY     32
#define IS_FOLDER 0x10
#define END       0x0fffffffu

static struct disk_store *store;
static struct disk *disk;
static const struct geometry *g;
static struct map *map;
static struct overlay *overlay;
static struct interp *interp;
static struct junk *junk;
static uint64_t ms;
static struct interpret_result result;
static void (*meanwhile) (void);       /* what the guest does once while its bytes are staged, or before that if they are not */
static int calls_before;

static void
do_meanwhile (void)
{
  void (*now) (void) = meanwhile;

  if (now && calls_before-- == 0) {
    meanwhile = NULL;
    now ();
  }
}

/* ---- the view ---- */

static int64_t
add (const char *folder, const char *name, bool is_folder, uint64_t size)
{
  struct cloud_item seen = { .name = name, .is_folder = is_folder, .size = size, .mtime.tv_sec = 1700000000, .settled = true };
  static unsigned serial;
  char token[32];
  int64_t id, revision;

  snprintf (token, sizeof token, "t%u", ++serial);
  seen.token = token;
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  db_end (core.db, 0);
  const int64_t parent = *folder ? core_item (&core, folder) : CATALOG_ROOT;
  ck_assert_int_eq (db_begin (core.db), 0);
  id = catalog_add (core.db, core.blobs, revision + 1, parent, &seen);
  ck_assert_int_gt (id, 0);
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  return id;
}

static void
open_interp (void)
{
  const struct interpret_config config = {
    .engine = (struct engine *) 1, .disk = disk, .overlay = overlay, .map = map, .view = 1, .name = "vm/cloud", .junk = junk,
    .settle_ms = SETTLE_MS, .max_delete = 100,
  };

  interp = interpret_new (&config);
  ck_assert_ptr_nonnull (interp);
}

static void
restart (void)
{
  interpret_free (interp);
  open_interp ();
}

static void
set_up (void)
{
  core_open (&core, 0);
  core_before_blobs = do_meanwhile;
  ck_assert_int_eq (journal_init (core.db), 0);
  ck_assert_int_eq (seen_init (core.db), 0);
  add ("", "DOC.TXT", false, 1000);
  add ("", "BIG.BIN", false, 64 << 10);
  add ("", "D", true, 0);
  add ("D", "EMPTY.TXT", false, 0);
  add ("D", "OLD.TXT", false, 500);
}

static void
begin (void)
{
  const struct disk_config config = { .name = "cloud", .format = "fat32", .partitioning = -1, .size = UINT64_C (4) << 30 };

  store = disk_store_open ((struct engine *) 1);
  ck_assert_ptr_nonnull (store);
  disk = disk_open ((struct engine *) 1, store, &config);
  ck_assert_ptr_nonnull (disk);
  g = disk_geometry (disk);
  map = disk_map (disk);
  junk = junk_new ();
  ck_assert_int_eq (mkdirat (core.dir_fd, "views", 0700), 0);
  {
    CLEANUP_CLOSE int fd = openat (core.dir_fd, "views", O_RDONLY | O_DIRECTORY);

    overlay = overlay_open (fd, core.dir, "1", g->disk_bytes);
  }
  ck_assert_ptr_nonnull (overlay);
  open_interp ();
  ms = 1000;
}

static void
tear_down (void)
{
  interpret_free (interp);
  overlay_close (overlay);
  map_unref (map);
  junk_free (junk);
  disk_close (disk);
  disk_store_close (store);
  core_close (&core);
}

static void
run_at (uint64_t later, bool connected, bool marked)
{
  const struct interpret_now now = { .now_ms = ms += later, .connected = connected, .marked = marked };

  ck_assert_int_eq (interpret_run (interp, &now, &result), 0);
}

/* Some runs, as while a guest is there that does nothing. */
static void
let_pass (uint64_t later)
{
  for (const uint64_t until = ms + later; ms < until; )
    run_at (until - ms < 1000 ? until - ms : 1000, true, false);
}

static int64_t
revision (void)
{
  int64_t ret;

  db_read_begin (core.db);
  ck_assert_int_eq (catalog_revision (core.db, &ret), 0);
  db_read_end (core.db);
  return ret;
}

/* -1: it is not there. */
static int64_t
size_of (const char *path)
{
  const int64_t id = core_item (&core, path);
  struct catalog_list list;
  int64_t size;

  if (id <= 0)
    return -1;
  db_read_begin (core.db);
  ck_assert_int_eq (catalog_item (core.db, id, &list), 1);
  size = list.items[0].is_folder ? 0 : list.items[0].size;
  catalog_list_free (&list);
  db_read_end (core.db);
  return size;
}

/* ---- the guest ---- */

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  return disk_read (disk, map, buf, n, offset);
}

static void
put (const void *buf, size_t n, uint64_t offset)
{
  ck_assert_int_eq (overlay_write (overlay, buf, n, offset, fill, NULL), 0);
}

static void
get (void *buf, size_t n, uint64_t offset)
{
  char *to = buf;

  while (n > 0) {
    bool present;
    const size_t len = overlay_run (overlay, n, offset, &present);

    ck_assert_int_eq (present ? overlay_read (overlay, to, len, offset) : disk_read (disk, map, to, len, offset), 0);
    to += len;
    offset += len;
    n -= len;
  }
}

static void
fat (uint32_t cluster, uint32_t value)
{
  const le32 entry = cpu_to_le32 (value);

  put (&entry, 4, g->fat_start + 4ull * cluster);
}

static uint32_t
next_of (uint32_t cluster)
{
  le32 entry;

  get (&entry, 4, g->fat_start + 4ull * cluster);
  return le32_to_cpu (entry) & END;
}

static void
free_chain (uint32_t cluster)
{
  while (cluster >= 2 && cluster < 0x0ffffff7u) {
    const uint32_t next = next_of (cluster);

    fat (cluster, 0);
    cluster = next;
  }
}

static void
data (uint32_t cluster, uint64_t n, char letter)
{
  const size_t whole = round_up (n, SECTOR_SIZE);
  CLEANUP_FREE char *buf = malloc (whole);

  memset (buf, letter, whole);
  put (buf, whole, cluster_to_byte (g, cluster));
}

/* Where an entry of that alias stands in a folder of one cluster; or "": where the entries end. */
static uint64_t
where (uint32_t folder, const char *alias)
{
  CLEANUP_FREE uint8_t *buf = malloc (g->cluster_bytes);

  get (buf, g->cluster_bytes, cluster_to_byte (g, folder));
  for (uint32_t at = 0; at < g->cluster_bytes; at += ENTRY)
    if (*alias ? memcmp (buf + at, alias, 11) == 0 && buf[at + 11] != 0x0f : buf[at] == 0)
      return cluster_to_byte (g, folder) + at;
  ck_abort_msg ("no \"%s\"", alias);
}

/* The same in a root that the layout gave many clusters, which follow each other. */
static uint64_t
where_in_root (const char *alias)
{
  for (uint32_t i = 0; i < g->root_clusters; ++i) {
    CLEANUP_FREE uint8_t *buf = malloc (g->cluster_bytes);
    const uint64_t start = cluster_to_byte (g, g->root_first + i);

    get (buf, g->cluster_bytes, start);
    for (uint32_t at = 0; at < g->cluster_bytes; at += ENTRY)
      if (memcmp (buf + at, alias, 11) == 0 && buf[at + 11] != 0x0f)
        return start + at;
  }
  ck_abort_msg ("no \"%s\" in the root", alias);
}

static void
make_entry (uint8_t *ret, const char *alias, uint8_t attributes, uint32_t first, uint32_t size, uint16_t time)
{
  memset (ret, 0, ENTRY);
  memcpy (ret, alias, 11);
  ret[11] = attributes;
  ret[22] = time;
  ret[23] = time >> 8;
  ret[24] = 0x21;
  ret[25] = 0x58;              /* 2024-01-01 */
  ret[20] = first >> 16;
  ret[21] = first >> 24;
  ret[26] = first;
  ret[27] = first >> 8;
  for (int i = 0; i < 4; i++)
    ret[28 + i] = size >> 8 * i;
}

static void
write_entry (uint64_t at, const char *alias, uint8_t attributes, uint32_t first, uint32_t size, uint16_t time)
{
  uint8_t entry[ENTRY];

  make_entry (entry, alias, attributes, first, size, time);
  put (entry, sizeof entry, at);
}

static uint32_t
first_of (uint64_t at)
{
  uint8_t entry[ENTRY];

  get (entry, sizeof entry, at);
  return entry[20] << 16 | (uint32_t) entry[21] << 24 | entry[26] | entry[27] << 8;
}

static void
erase (uint64_t at)
{
  put ("\xe5", 1, at);
}

/* A folder's own cluster. */
static void
folder_bytes (uint32_t cluster, uint32_t parent)
{
  CLEANUP_FREE uint8_t *buf = calloc (1, g->cluster_bytes);

  make_entry (buf, ".          ", IS_FOLDER, cluster, 0, 1);
  make_entry (buf + ENTRY, "..         ", IS_FOLDER, parent == g->root_first ? 0 : parent, 0, 1);
  put (buf, g->cluster_bytes, cluster_to_byte (g, cluster));
}

static uint32_t
free_cluster (uint32_t n)
{
  return 100000 + n;
}

static uint32_t
folder_d (void)
{
  return first_of (where (g->root_first, "D          "));
}

/* ---- evidence ---- */

/* A folder's old name is gone, its new one is still to come, and the guest stands still: what has no clusters of its own is
 * no less there than the rest. */
START_TEST (empty_files_of_a_half_seen_rename)
{
  set_up ();
  begin ();
  let_pass (1000);
  erase (where (g->root_first, "D          "));
  let_pass (2 * QUIET_MS);
  ck_assert_int_eq (size_of ("D/EMPTY.TXT"), 0);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), 500);
  tear_down ();
}
END_TEST

static void
mark_dirty (void)
{
  put ("\x01", 1, g->volume_start + 65);
}

/* Clean when the run began, but not when it ends: what was read meanwhile may be half of something. */
START_TEST (marked_dirty_under_a_run)
{
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "DOC     TXT");
  free_chain (first_of (at));
  erase (at);
  meanwhile = mark_dirty;
  calls_before = 0;
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1000);
  ck_assert_uint_gt (result.pending, 0);
  tear_down ();
}
END_TEST

/* Bytes of a file that went before it was ready say nothing of the next one in its clusters. */
START_TEST (bytes_of_a_file_that_went)
{
  const uint32_t c = free_cluster (0);
  uint64_t at;

  set_up ();
  begin ();
  at = where (g->root_first, "");
  data (c, 1000, 'f');
  fat (c, END);
  write_entry (at, "F       TXT", 0, c, 1000, 1);
  run_at (100, true, false);
  erase (at);
  fat (c, 0);
  run_at (100, true, false);
  fat (c, END);
  write_entry (at + ENTRY, "X       TXT", 0, c, 900, 2);
  let_pass (3 * SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), -1);
  data (c, 900, 'x');
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), 900);
  tear_down ();
}
END_TEST

/* The same, of one of which no entry was ever seen. */
START_TEST (bytes_that_were_free_for_long)
{
  const uint32_t c = free_cluster (0);

  set_up ();
  begin ();
  data (c, 1000, 'f');
  run_at (100, true, false);
  ms += 100000;
  fat (c, END);
  write_entry (where (g->root_first, ""), "X       TXT", 0, c, 900, 2);
  let_pass (3 * SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), -1);
  data (c, 900, 'x');
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), 900);
  tear_down ();
}
END_TEST

/* Data that comes as early as any guest writes it. */
START_TEST (bytes_ahead_of_their_entry)
{
  const uint32_t c = free_cluster (0);

  set_up ();
  begin ();
  data (c, 1000, 'f');
  let_pass (60000);
  fat (c, END);
  write_entry (where (g->root_first, ""), "X       TXT", 0, c, 900, 2);
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), 900);
  tear_down ();
}
END_TEST

/* A new file that begins where one began that was removed is not that one under another name. */
START_TEST (a_new_file_in_the_first_cluster_of_another)
{
  uint64_t at;
  uint32_t c;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "BIG     BIN");
  c = first_of (at);
  erase (at);
  free_chain (c);
  fat (c, END);
  data (c, 3000, 'x');
  write_entry (where (g->root_first, ""), "X       TXT", 0, c, 3000, 7);
  for (int i = 0; i < 8; ++i) {
    let_pass (SETTLE_MS / 4);
    ck_assert_int_eq (size_of ("BIG.BIN"), 64 << 10);
    ck_assert (size_of ("X.TXT") == -1 || size_of ("X.TXT") == 3000);
  }
  let_pass (SETTLE_MS);
  ck_assert_int_eq (size_of ("X.TXT"), 3000);
  let_pass (2 * QUIET_MS);
  ck_assert_int_eq (size_of ("BIG.BIN"), -1);
  ck_assert_int_eq (size_of ("X.TXT"), 3000);
  tear_down ();
}
END_TEST

START_TEST (a_renamed_file_that_goes_on_growing)
{
  const uint32_t more = free_cluster (0);
  uint64_t at;
  uint32_t c, last;
  int64_t item;

  set_up ();
  begin ();
  let_pass (1000);
  item = core_item (&core, "BIG.BIN");
  at = where (g->root_first, "BIG     BIN");
  c = first_of (at);
  for (last = c; next_of (last) < 0x0ffffff7u; last = next_of (last))
    ;
  erase (at);
  fat (last, more);
  fat (more, END);
  data (more, 100, 'm');
  write_entry (where (g->root_first, ""), "BIG     OLD", 0, c, round_up (64 << 10, g->cluster_bytes) + 100, 9);
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (core_item (&core, "BIG.OLD"), item);
  tear_down ();
}
END_TEST

/* A guest that stands still between emptying a file and naming its new bytes. */
START_TEST (emptied_and_about_to_be_filled)
{
  const uint32_t c = free_cluster (0);
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "DOC     TXT");
  free_chain (first_of (at));
  write_entry (at, "DOC     TXT", 0, 0, 0, 3);
  fat (c, END);
  data (c, 1700, 'n');
  let_pass (3 * QUIET_MS);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1000);
  write_entry (at, "DOC     TXT", 0, c, 1700, 3);
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1700);
  tear_down ();
}
END_TEST

START_TEST (emptied_and_left_so)
{
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "DOC     TXT");
  free_chain (first_of (at));
  write_entry (at, "DOC     TXT", 0, 0, 0, 3);
  let_pass (2 * QUIET_MS);
  ck_assert_int_eq (size_of ("DOC.TXT"), 0);
  tear_down ();
}
END_TEST

/* A removed file's cluster is in a file that was made longer, and that waits itself, as nobody wrote to its last one: both have
 * waited for the same time. */
START_TEST (a_removal_below_a_file_that_grew)
{
  const uint32_t more = free_cluster (0);
  uint64_t at, big, size;
  uint32_t c, last;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "DOC     TXT");
  big = where (g->root_first, "BIG     BIN");
  c = first_of (at);
  for (last = first_of (big); next_of (last) < 0x0ffffff7u; last = next_of (last))
    ;
  size = round_up (64 << 10, g->cluster_bytes) + g->cluster_bytes + 100;
  data (first_of (big), 64 << 10, 'b');
  data (c, g->cluster_bytes, 'c');
  erase (at);
  fat (last, c);
  fat (c, more);
  fat (more, END);
  write_entry (big, "BIG     BIN", 0, first_of (big), size, 9);
  let_pass (QUIET_MS + SETTLE_MS);
  ck_assert_int_eq (size_of ("BIG.BIN"), size);
  ck_assert_int_eq (size_of ("DOC.TXT"), -1);
  tear_down ();
}
END_TEST

/* A chain that was looked at for another's sake stays what it is: too short for the size. */
START_TEST (a_short_chain_beside_a_removal)
{
  const uint32_t c = free_cluster (0);
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "DOC     TXT");
  erase (at);                  /* its clusters are still taken: who has them is looked for */
  fat (c, END);
  data (c, g->cluster_bytes, 's');
  write_entry (where (g->root_first, ""), "S       TXT", 0, c, g->cluster_bytes * 2, 2);
  let_pass (3 * SETTLE_MS);
  ck_assert_int_eq (size_of ("S.TXT"), -1);
  tear_down ();
}
END_TEST

/* ---- what stands beside it ---- */

static uint64_t busy_entry;

static void
write_beside (void)
{
  put ("\x55", 1, busy_entry + 28);
}

START_TEST (a_busy_entry_in_the_same_sector)
{
  const uint32_t c = free_cluster (0);
  uint64_t at;

  set_up ();
  begin ();
  at = where (g->root_first, "");
  at += at % SECTOR_SIZE == SECTOR_SIZE - ENTRY ? ENTRY : 0;
  busy_entry = at + ENTRY;
  fat (c, END);
  data (c, 1000, 'x');
  write_entry (at, "X       TXT", 0, c, 1000, 1);
  write_entry (busy_entry, "LOG     TXT", 0, c + 1, 10, 1);
  run_at (100, true, false);
  run_at (SETTLE_MS - 10, true, false);
  ck_assert_int_eq (size_of ("X.TXT"), -1);
  meanwhile = write_beside;
  calls_before = 1;
  run_at (20, true, false);
  ck_assert_ptr_null (meanwhile);
  ck_assert_int_eq (size_of ("X.TXT"), 1000);
  tear_down ();
}
END_TEST

static void
write_entry_itself (void)
{
  put ("\x55", 1, busy_entry - ENTRY + 28);
}

START_TEST (its_own_entry_changes)
{
  const uint32_t c = free_cluster (0);
  uint64_t at;

  set_up ();
  begin ();
  at = where (g->root_first, "");
  busy_entry = at + ENTRY;
  fat (c, END);
  data (c, 1000, 'x');
  write_entry (at, "X       TXT", 0, c, 1000, 1);
  run_at (100, true, false);
  meanwhile = write_entry_itself;
  calls_before = 1;
  run_at (SETTLE_MS + 10, true, false);
  ck_assert_ptr_null (meanwhile);
  ck_assert_int_eq (size_of ("X.TXT"), -1);
  tear_down ();
}
END_TEST

/* ---- records ---- */

static void
execute (const char *sql)
{
  ck_assert_int_eq (db_schema (core.db, sql), 0);
}

/* The cloud removed a folder for good, the guest writes into it: it comes back with that, and nothing else does, be it
 * after a start. */
START_TEST (a_folder_that_is_made_again)
{
  const uint32_t c = free_cluster (0);
  int64_t before;

  set_up ();
  begin ();
  let_pass (1000);
  execute ("DELETE FROM item WHERE CAST (name AS TEXT) IN ('D', 'OLD.TXT', 'EMPTY.TXT')");
  fat (c, END);
  data (c, 1000, 'x');
  write_entry (where (folder_d (), ""), "X       TXT", 0, c, 1000, 1);
  let_pass (2 * SETTLE_MS);
  ck_assert_int_eq (size_of ("D/X.TXT"), 1000);
  before = revision ();
  run_at (1000, true, true);
  ck_assert_int_eq (revision (), before);
  restart ();
  run_at (1000, true, true);
  let_pass (QUIET_MS);
  ck_assert_int_eq (revision (), before);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), -1);
  tear_down ();
}
END_TEST

/* rmdir D; mkdir D: the same item, of which the generation has entries.  These stay away. */
START_TEST (a_folder_removed_and_made_anew)
{
  const uint32_t c = free_cluster (0);
  uint32_t old;
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  old = folder_d ();
  free_chain (first_of (where (old, "OLD     TXT")));
  erase (where (old, "OLD     TXT"));
  erase (where (old, "EMPTY   TXT"));
  fat (old, 0);
  fat (c, END);
  folder_bytes (c, g->root_first);
  at = where (g->root_first, "D          ");
  write_entry (at, "D          ", IS_FOLDER, c, 0, 5);
  run_at (100, true, true);
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("D"), 0);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), -1);
  /* One of that name comes, and goes again. */
  fat (c + 1, END);
  data (c + 1, 100, 'o');
  write_entry (where (c, ""), "OLD     TXT", 0, c + 1, 100, 6);
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), 100);
  erase (where (c, "OLD     TXT"));
  fat (c + 1, 0);
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), -1);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM seen, item ON item.id = seen.folder WHERE CAST (item.name AS TEXT) = 'D' AND dead"), 2);
  tear_down ();
}
END_TEST

START_TEST (a_folder_without_a_record)
{
  const uint32_t c = free_cluster (0);

  set_up ();
  begin ();
  execute ("DELETE FROM slots WHERE extent IN (SELECT extent.id FROM extent, item ON item.id = extent.item"
           " WHERE CAST (item.name AS TEXT) = 'D')");
  for (uint32_t i = 0; i < 2; ++i) {
    fat (c + i, END);
    data (c + i, 1000, 'x');
  }
  write_entry (where (folder_d (), ""), "X       TXT", 0, c, 1000, 1);
  write_entry (where (g->root_first, ""), "Y       TXT", 0, c + 1, 1000, 1);
  let_pass (2 * QUIET_MS);
  ck_assert_int_eq (size_of ("Y.TXT"), 1000);
  ck_assert_int_eq (size_of ("D/X.TXT"), -1);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), 500);
  run_at (100, true, true);
  ck_assert (!result.absorbed);
  tear_down ();
}
END_TEST

/* A folder whose clusters cannot be told says nothing, not even on a volume that is whole. */
START_TEST (a_folder_whose_chain_is_broken)
{
  set_up ();
  begin ();
  let_pass (1000);
  fat (folder_d (), 0x0ffffff7u);
  data (folder_d (), 1, 'x');
  run_at (100, true, true);
  restart ();
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("D/EMPTY.TXT"), 0);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), 500);
  tear_down ();
}
END_TEST

/* ---- two files change places ---- */

/* mv X T; mv D/TWO X; mv T D/TWO, as a guest's write-back shows it: three sectors (X's, T's, TWO's), each written with what
 * it is by then, at any time, in any order, and a run after each.  At the end they have changed places, whatever came
 * first. */

#define SWAP_SECTORS 3
#define SWAP_WRITES  8
#define SWAP_EVERY   61                /* of all orders; CHECK_LONG: all */
#define SWAP_PATCHED "5cc18bfef590779635053acc5a1e9bcae89d1e00"

/* How long nothing happens after a write. */
static const uint64_t swap_pauses[] = { 100, 3 * SETTLE_MS, QUIET_MS };

struct swap {
  /* What varies. */
  bool patched;                /* X got other bytes, and its entry another time, which no disk shows before it moves */
  bool late;                   /* these bytes come after the entries */
  bool same_folder;
  bool known_by_another;       /* X has just got this name, and the name before is what was interpreted */
  uint64_t pauses;             /* of each write, in base 3 */

  int bare;                    /* the sector whose entry may be half of one, for all that a reader knows; or none */

  uint64_t at[SWAP_SECTORS];   /* sectors: X's, T's, TWO's */
  uint8_t cached[4][SWAP_SECTORS][SECTOR_SIZE];
  uint32_t a, b;
  /* What was done: the operations that were so far behind, and sectors. */
  unsigned n_writes;
  struct { uint8_t time, sector; } writes[SWAP_WRITES];
};

static uint64_t swaps_done;
static char swap_said[200];

static void
swap_entry (struct swap *s, int from, int sector, const char *alias, uint32_t first, uint32_t size, uint16_t time)
{
  const size_t at = s->bare == sector ? 0 : ENTRY;

  for (int t = from; t < 4; ++t)
    if (alias)
      make_entry (s->cached[t][sector] + at, alias, 0, first, size, time);
    else
      s->cached[t][sector][at] = 0xe5;
}

/* Sectors of a folder that hold nothing but one entry, behind those that are in use. */
static uint64_t
swap_sector (uint32_t folder)
{
  uint64_t at = where (folder, "");

  for (; at % SECTOR_SIZE; at += ENTRY)
    write_entry (at, "\xe5UNUSED    ", 0, 0, 0, 1);
  for (int i = 0; i < SECTOR_SIZE / ENTRY; ++i)
    write_entry (at + i * ENTRY, "\xe5UNUSED    ", 0, 0, 0, 1);
  return at;
}

static void
swap_begin (struct swap *s)
{
  const uint16_t then = s->patched ? 9 : 1;

  set_up ();
  begin ();
  s->a = free_cluster (0);
  s->b = free_cluster (1);
  fat (s->a, END);
  fat (s->b, END);
  data (s->a, 512, 'a');
  data (s->b, 1000, 'b');
  s->at[0] = swap_sector (g->root_first);
  s->at[1] = swap_sector (g->root_first);
  s->at[2] = swap_sector (s->same_folder ? g->root_first : folder_d ());
  write_entry (s->at[0] + (s->bare == 0 ? 0 : ENTRY),
               s->known_by_another ? "BEFORE  TXT" : "X       TXT", 0, s->a, 512, 1);
  write_entry (s->at[2] + (s->bare == 2 ? 0 : ENTRY), "TWO     TXT", 0, s->b, 1000, 1);
  let_pass (s->bare >= 0 ? QUIET_MS + 2000 : 3 * SETTLE_MS);
  ck_assert_int_eq (size_of (s->known_by_another ? "BEFORE.TXT" : "X.TXT"), 512);
  ck_assert_int_eq (size_of (s->same_folder ? "TWO.TXT" : "D/TWO.TXT"), 1000);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1000);
  for (int t = 0; t < 4; ++t)
    for (int i = 0; i < SWAP_SECTORS; ++i)
      get (s->cached[t][i], SECTOR_SIZE, s->at[i]);
  swap_entry (s, 1, 0, NULL, 0, 0, 0);
  swap_entry (s, 1, 1, "T       TMP", s->a, 512, then);
  swap_entry (s, 2, 0, "X       TXT", s->b, 1000, 1);
  swap_entry (s, 2, 2, NULL, 0, 0, 0);
  swap_entry (s, 3, 2, "TWO     TXT", s->a, 512, then);
  swap_entry (s, 3, 1, NULL, 0, 0, 0);
  if (s->patched && !s->late)
    data (s->a, 512, 'p');
}

#define FILES_OF(bytes)                                                                   \
  core_query (&core, "SELECT count (*) FROM item i JOIN version v ON v.id = i.version"   \
                     " WHERE i.gone = 0 AND v.size = " #bytes)

/* Nothing is lost on the way, unless the guest stood still in the middle: then halves count. */
static void
swap_look (bool stood_still)
{
  ck_assert_msg (stood_still || (FILES_OF (512) > 0 && FILES_OF (1000) > 1), "%s: one is lost", swap_said);
  ck_assert_msg (core_query (&core, "SELECT count (*) FROM item WHERE CAST (name AS TEXT) LIKE '%conflict%'") == 0,
                 "%s: a conflict", swap_said);
}

static void
swap_do (struct swap *s)
{
  uint64_t pauses = s->pauses;
  size_t n = snprintf (swap_said, sizeof swap_said, "%s%s%s%sbare %d ", s->patched ? "patched " : "",
                       s->late ? "late " : "",
                       s->same_folder ? "in one folder " : "", s->known_by_another ? "renamed before " : "", s->bare);
  static const char two[] = "TWO.TXT", in_d[] = "D/TWO.TXT";
  /* A renamed file with bytes of its own is another one for a reader, and what may be half a name waits: so long the
   * cloud has neither. */
  bool stood_still = s->patched && s->bare > 0;
  const char *const path = s->same_folder ? two : in_d;

  for (unsigned i = 0; i < s->n_writes; ++i, pauses /= 3)
    n += snprintf (swap_said + n, sizeof swap_said - n, "%d%c%d ", s->writes[i].time, "XT2"[s->writes[i].sector],
                   (int) (pauses % 3));
  swap_begin (s);
  pauses = s->pauses;
  for (unsigned i = 0; i < s->n_writes; ++i, pauses /= 3) {
    put (s->cached[s->writes[i].time][s->writes[i].sector], SECTOR_SIZE, s->at[s->writes[i].sector]);
    run_at (100, true, false);
    swap_look (stood_still);
    stood_still |= pauses % 3 == 2;
    let_pass (swap_pauses[pauses % 3]);
    swap_look (stood_still);
  }
  if (s->patched && s->late)
    data (s->a, 512, 'p');
  let_pass (3 * QUIET_MS);
  swap_look (true);
  ck_assert_msg (size_of ("X.TXT") == 1000 && size_of (path) == 512 && size_of ("T.TMP") == -1 &&
                 size_of ("BEFORE.TXT") == -1, "%s: X %d, TWO %d, T %d, BEFORE %d", swap_said, (int) size_of ("X.TXT"),
                 (int) size_of (path), (int) size_of ("T.TMP"), (int) size_of ("BEFORE.TXT"));
  if (s->patched)
    ck_assert_msg (core_query (&core, "SELECT count (*) FROM item i JOIN version v ON v.id = i.version WHERE i.gone = 0"
                                      " AND v.size = 512 AND v.hashes LIKE 'SHA1:" SWAP_PATCHED "%'") == 1,
                   "%s: it has the bytes of before", swap_said);
  tear_down ();
  swaps_done++;
}

/* All orders: what is on the disk is of these times.  Every how-many-th of those is done. */
static void
swap_orders (struct swap *s, const uint8_t *disk_time, int time, unsigned *number, unsigned every)
{
  static const uint8_t changes[4][SWAP_SECTORS] = { { 0, 0, 0 }, { 1, 1, 0 }, { 1, 1, 1 }, { 1, 1, 1 } };
  bool dirty = false;

  for (int i = 0; i < SWAP_SECTORS; ++i) {
    uint8_t then[SWAP_SECTORS];

    /* Whether it is another one by now. */
    if (!changes[time][i] || disk_time[i] == time || (time == 2 && i == 1 && disk_time[1] == 1) ||
        (time == 3 && i == 0 && disk_time[0] == 2))
      continue;
    dirty = true;
    memcpy (then, disk_time, sizeof then);
    then[i] = time;
    s->writes[s->n_writes].time = time;
    s->writes[s->n_writes++].sector = i;
    swap_orders (s, then, time, number, every);
    s->n_writes--;
  }
  if (time < 3)
    swap_orders (s, disk_time, time + 1, number, every);
  else if (!dirty) {
    const uint64_t sevenfold = *number * UINT64_C (2654435761);

    if ((*number)++ % every == 0)
      for (int p = 0; p < 4; ++p) {
        /* All in a hurry; all in peace; and two that are neither. */
        s->pauses = p == 0 ? 0 : p == 1 ? 3280 : sevenfold >> (p * 5) & 4095;
        swap_do (s);
      }
  }
}

START_TEST (files_change_places)
{
  static const uint8_t none[SWAP_SECTORS];
  struct swap s = { .patched = _i & 1, .late = _i & 2, .same_folder = _i & 4, .known_by_another = _i & 8,
                    .bare = getenv ("CHECK_LONG") ? _i / 16 - 1 : _i / 2 % 4 - 1 };
  unsigned number = 0;

  if ((s.late && !s.patched) || (_i >= 16 && getenv ("CHECK_LONG") == NULL))
    return;
  swaps_done = 0;
  swap_orders (&s, none, 1, &number, getenv ("CHECK_LONG") ? 1 : SWAP_EVERY);
  if (getenv ("CHECK_LONG"))
    printf ("%u orders, %llu runs of them\n", number, (unsigned long long) swaps_done);
}
END_TEST

/* A folder goes into a new one that is not whole yet, and a file gets its place: that one waits for the folder, or the cloud would
 * have two items of one name. */
START_TEST (a_file_in_the_place_of_a_folder_that_waits)
{
  const uint32_t c = free_cluster (0);
  CLEANUP_FREE uint8_t *buf = NULL;
  uint64_t doc_at, d_at, n_at;
  uint32_t d, doc;

  set_up ();
  begin ();
  let_pass (1000);
  buf = calloc (1, g->cluster_bytes);
  n_at = where (g->root_first, "");
  d_at = where (g->root_first, "D          ");
  d = first_of (d_at);
  doc_at = where (g->root_first, "DOC     TXT");
  doc = first_of (doc_at);
  make_entry (buf, ".          ", IS_FOLDER, c, 0, 1);
  make_entry (buf + ENTRY, "..         ", IS_FOLDER, 0, 0, 1);
  make_entry (buf + 2 * ENTRY, "D          ", IS_FOLDER, d, 0, 1);
  fat (c, END);
  put (buf, SECTOR_SIZE, cluster_to_byte (g, c));
  write_entry (n_at, "N          ", IS_FOLDER, c, 0, 1);
  erase (d_at);
  write_entry (doc_at, "D          ", 0, doc, 1000, 1);
  let_pass (3 * SETTLE_MS);
  ck_assert_int_eq (size_of ("D/OLD.TXT"), 500);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1000);
  ck_assert_uint_gt (result.pending, 0);
  put (buf + SECTOR_SIZE, g->cluster_bytes - SECTOR_SIZE, cluster_to_byte (g, c) + SECTOR_SIZE);
  let_pass (3 * SETTLE_MS);
  ck_assert_int_eq (size_of ("N/D/OLD.TXT"), 500);
  ck_assert_int_eq (size_of ("D"), 1000);
  ck_assert_int_eq (size_of ("DOC.TXT"), -1);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE CAST (name AS TEXT) LIKE '%conflict%'"), 0);
  tear_down ();
}
END_TEST

/* A file that was cut goes elsewhere before that counts, be the process stopped in between or not. */
START_TEST (cut_and_moved)
{
  const uint32_t c = free_cluster (0);
  uint64_t at, to;
  uint32_t doc;

  set_up ();
  begin ();
  let_pass (1000);
  mark_dirty ();
  at = where (g->root_first, "DOC     TXT");
  doc = first_of (at);
  data (doc, 1000, 'x');
  write_entry (at, "DOC     TXT", 0, doc, 1000, 5);
  let_pass (3 * SETTLE_MS);
  to = where (g->root_first, "");
  for (int step = 0; step < 4; ++step) {
    switch (step) {
    case 0:
      write_entry (at, "DOC     TXT", 0, doc, 500, 9);
      break;
    case 1:
      fat (c, END);
      folder_bytes (c, 0);
      write_entry (to, "N          ", IS_FOLDER, c, 0, 1);
      break;
    case 2:
      write_entry (cluster_to_byte (g, c) + 2 * ENTRY, "DOC     TXT", 0, doc, 500, 9);
      erase (at);
      break;
    case 3:
      put ("\0", 1, g->volume_start + 65);
      break;
    }
    if (_i >> (2 * step) & 1)
      let_pass (step == 3 ? 1000 : 3 * SETTLE_MS);
    if (_i >> (2 * step) & 2)
      restart ();
  }
  run_at (100, true, true);
  /* Nobody looks again at what is said to be understood. */
  for (int i = 0; i < 5 && result.pending > 0; ++i)
    run_at (100, false, false);
  ck_assert_int_eq (size_of ("DOC.TXT"), -1);
  ck_assert_int_eq (size_of ("N/DOC.TXT"), 500);
  ck_assert_uint_eq (result.pending, 0);
  tear_down ();
}
END_TEST

/* ---- numbers, and guests that mean harm ---- */

static double
processor_s (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

static uint64_t
most_kib (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/* A directory of n files from the first-th on, in one write; its clusters follow each other. */
static void
many_entries (uint32_t cluster, uint32_t parent, uint32_t n)
{
  const size_t bytes = round_up ((size_t) (n + 3) * ENTRY, g->cluster_bytes);
  CLEANUP_FREE uint8_t *buf = calloc (1, bytes);

  make_entry (buf, ".          ", IS_FOLDER, cluster, 0, 1);
  make_entry (buf + ENTRY, "..         ", IS_FOLDER, parent, 0, 1);
  for (uint32_t i = 0; i < n; ++i) {
    char alias[16];

    snprintf (alias, sizeof alias, "F%07uTXT", i);
    make_entry (buf + (size_t) (i + 2) * ENTRY, alias, 0, 0, 0, 1);
  }
  put (buf, bytes, cluster_to_byte (g, cluster));
  for (uint32_t i = 0; i < bytes / g->cluster_bytes; ++i)
    fat (cluster + i, i + 1 < bytes / g->cluster_bytes ? cluster + i + 1 : END);
}

/* Of a file of which nothing is here, and which can't be had now, what was written in place is journalled; the rest is not asked
 * for.  What is written again as it was is no change. */
START_TEST (written_in_place)
{
  uint8_t sector[SECTOR_SIZE];
  int64_t versions;
  size_t i = 0;

  set_up ();
  begin ();
  while (map->extents[i].kind != EXTENT_FILE || map->extents[i].bytes != 64 << 10)
    i++;
  memset (sector, 'x', sizeof sector);
  put (sector, sizeof sector, cluster_to_byte (g, map->extents[i].first) + 3 * SECTOR_SIZE);
  let_pass (60000);
  run_at (1000, false, true);
  ck_assert_int_eq (core_query (&core, "SELECT sum (length) FROM version_range r JOIN version v ON v.id = r.version"
                                       " JOIN item i ON i.version = v.id WHERE kind = 0 AND v.origin IS NOT NULL"
                                       " AND offset = 1536"), SECTOR_SIZE);
  ck_assert_int_eq (size_of ("BIG.BIN"), 64 << 10);
  versions = core_query (&core, "SELECT count(*) FROM version");
  put (sector, sizeof sector, cluster_to_byte (g, map->extents[i].first) + 3 * SECTOR_SIZE);
  let_pass (60000);
  run_at (1000, false, true);
  ck_assert_int_eq (core_query (&core, "SELECT count(*) FROM version"), versions);
  tear_down ();
}
END_TEST

static void
write_big (unsigned sector, uint8_t byte)
{
  uint8_t bytes[SECTOR_SIZE];
  size_t i = 0;

  while (map->extents[i].kind != EXTENT_FILE || map->extents[i].bytes != 64 << 10)
    i++;
  memset (bytes, byte, sizeof bytes);
  put (bytes, sizeof bytes, cluster_to_byte (g, map->extents[i].first) + sector * SECTOR_SIZE);
  let_pass (60000);
  run_at (1000, false, true);
}

/* The remote takes the newest version of BIG.BIN. */
static int64_t
take_big (void)
{
  const int64_t version = core_version (&core, "BIG.BIN");
  const struct cloud_item seen = { .token = "new" };

  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (db_end (core.db, version_sent (core.db, version, &seen)), 0);
  cache_settle (core.cache, version);
  return version;
}

/* Of the newest version of BIG.BIN. */
#define RANGES_OF_BIG "FROM version_range r JOIN item i ON i.version = r.version WHERE i.name = CAST ('BIG.BIN' AS BLOB)"
#define CHANGED_BYTES "SELECT ifnull (sum (length), 0) " RANGES_OF_BIG " AND kind = 1"
#define CHANGED_FIRST "SELECT min (offset) " RANGES_OF_BIG " AND kind = 1"

/* While a guest goes on, its disk shows what the file was at first, and all that it wrote is over that: but what the remote has
 * taken is not sent again.  Of bytes that may have gone from here it can't be told. */
START_TEST (changed_since_it_was_sent)
{
  int64_t version;
  uint64_t size, position;

  set_up ();
  begin ();
  write_big (3, 'x');
  ck_assert_int_eq (core_query (&core, CHANGED_BYTES), SECTOR_SIZE);
  take_big ();
  write_big (9, 'y');
  ck_assert_int_eq (core_query (&core, CHANGED_BYTES), SECTOR_SIZE);
  ck_assert_int_eq (core_query (&core, CHANGED_FIRST), 9 * SECTOR_SIZE);
  ck_assert_int_eq (core_query (&core, "SELECT sum (length) " RANGES_OF_BIG " AND kind = 0"), 2 * SECTOR_SIZE);
  /* Not taken: what changes next goes with it. */
  write_big (20, 'z');
  ck_assert_int_eq (core_query (&core, CHANGED_BYTES), 2 * SECTOR_SIZE);
  take_big ();
  /* Zeros are bytes. */
  write_big (3, 0);
  ck_assert_int_eq (core_query (&core, CHANGED_BYTES), SECTOR_SIZE);
  ck_assert_int_eq (core_query (&core, CHANGED_FIRST), 3 * SECTOR_SIZE);
  version = take_big ();
  db_read_begin (core.db);
  ck_assert_int_eq (catalog_version_run (core.db, version, &size, &position), 1);
  db_read_end (core.db);
  if (_i == 0) {
    ck_assert_int_eq (db_begin (core.db), 0);
    ck_assert_int_eq (db_end (core.db, cache_forget (core.db, version)), 0);
    cache_discard (core.cache, version, position, size);
  }
  else {
    /* Its origin was dropped, and what was that's own is said to be its own; but nobody wrote it to its run. */
    const struct kin_stage none = { .origin = core_query (&core, "SELECT origin FROM version ORDER BY id DESC LIMIT 1") };

    ck_assert_int_eq (db_begin (core.db), 0);
    ck_assert_int_eq (db_end (core.db, kin_record (core.db, version, &none)), 0);
  }
  write_big (9, 0);
  ck_assert_int_eq (core_query (&core, CHANGED_BYTES), 3 * SECTOR_SIZE);
  tear_down ();
}
END_TEST

/* Made, and removed again: no step takes the square of their number. */
START_TEST (many_files)
{
  const uint32_t c = free_cluster (0), n = 20000;
  double began;
  uint64_t at;

  set_up ();
  begin ();
  let_pass (1000);
  at = where (g->root_first, "");
  many_entries (c, 0, n);
  write_entry (at, "MANY       ", IS_FOLDER, c, 0, 1);
  began = processor_s ();
  run_at (100, true, true);
  ck_assert_int_eq (size_of ("MANY/F0019999.TXT"), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE CAST (name AS TEXT) LIKE 'F00%' AND gone = 0"), n);
  restart ();
  erase (at);
  free_chain (c);
  run_at (100, true, true);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE CAST (name AS TEXT) LIKE 'F00%' AND gone = 0"), 0);
  ck_assert_int_eq (size_of ("MANY"), -1);
  if (getenv ("CHECK_LONG"))
    printf ("%u files made and removed: %.2f s\n", n, processor_s () - began);
  tear_down ();
}
END_TEST

/* What a run costs does not grow with the folders beside the one that is written. */
START_TEST (many_folders_beside_it)
{
  const uint32_t c = free_cluster (0);
  double began, spent;
  int64_t revision;

  set_up ();
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  for (int i = 0; i < 2000; ++i) {
    char name[16];
    const struct cloud_item seen = { .name = name, .is_folder = true, .mtime.tv_sec = 1700000000, .settled = true };

    snprintf (name, sizeof name, "N%d", i);
    ck_assert_int_gt (catalog_add (core.db, core.blobs, revision + 1, CATALOG_ROOT, &seen), 0);
  }
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  begin ();
  fat (c, END);
  data (c, 1000, 'x');
  write_entry (where (first_of (where_in_root ("D          ")), ""), "X       TXT", 0, c, 1000, 1);
  write_entry (where_in_root ("DOC     TXT"), "DOC     TXT", 0, first_of (where_in_root ("DOC     TXT")), 1000, 9);
  run_at (100, true, false);
  began = processor_s ();
  for (int i = 0; i < 50; ++i) {
    data (c, 1000, 'a' + i % 26);
    run_at (100, true, false);
  }
  spent = (processor_s () - began) / 50 * 1000;
  if (getenv ("CHECK_LONG"))
    printf ("a run beside 2000 folders: %.2f ms\n", spent);
#ifndef __SANITIZE_ADDRESS__
  ck_assert_msg (spent < 8, "%.2f ms", spent);
#endif
  tear_down ();
}
END_TEST

/* Folders whose chains all lead into one large directory. */
START_TEST (shared_tails)
{
  const uint32_t tail = free_cluster (0), n = 100;
  double began;
  uint64_t at;

  set_up ();
  begin ();
  many_entries (tail, 0, 60000);
  at = where (g->root_first, "");
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t own = free_cluster (5000 + i);
    CLEANUP_FREE uint8_t *buf = calloc (1, g->cluster_bytes);
    char alias[16];

    for (uint32_t e = 0; e < g->cluster_bytes / ENTRY; ++e)
      make_entry (buf + e * ENTRY, "\xe5""1234567   ", 0, 0, 0, 1);
    make_entry (buf, ".          ", IS_FOLDER, own, 0, 1);
    make_entry (buf + ENTRY, "..         ", IS_FOLDER, 0, 0, 1);
    put (buf, g->cluster_bytes, cluster_to_byte (g, own));
    fat (own, tail);
    snprintf (alias, sizeof alias, "T%07u   ", i);
    ck_assert_uint_lt (at + ENTRY, cluster_to_byte (g, g->root_first) + g->cluster_bytes * g->root_clusters);
    write_entry (at, alias, IS_FOLDER, own, 0, 1);
    at += ENTRY;
  }
  began = processor_s ();
  run_at (100, true, false);
  if (getenv ("CHECK_LONG"))
    printf ("%u shared tails: %.2f s, %llu MiB\n", n, processor_s () - began, (unsigned long long) most_kib () >> 10);
#ifndef __SANITIZE_ADDRESS__
  ck_assert_uint_lt (most_kib (), 600 << 10);
#endif
  tear_down ();
}
END_TEST

/* Folders in a circle, in themselves, and deeper than any path. */
START_TEST (circles_and_depths)
{
  const uint32_t c = free_cluster (0), deep = 3000;
  double began;
  uint64_t at;

  set_up ();
  begin ();
  at = where (g->root_first, "");
  for (uint32_t i = 0; i < deep; ++i) {
    fat (c + i, END);
    folder_bytes (c + i, i ? c + i - 1 : 0);
    write_entry (cluster_to_byte (g, c + i) + 2 * ENTRY, "DEEP       ", IS_FOLDER, c + i + 1, 0, 1);
    write_entry (cluster_to_byte (g, c + i) + 3 * ENTRY, "SELF       ", IS_FOLDER, c + i, 0, 1);
    write_entry (cluster_to_byte (g, c + i) + 4 * ENTRY, "ROOT       ", IS_FOLDER, g->root_first, 0, 1);
    write_entry (cluster_to_byte (g, c + i) + 5 * ENTRY, "ABOVE      ", IS_FOLDER, c + i / 2, 0, 1);
  }
  write_entry (at, "DEEP       ", IS_FOLDER, c, 0, 1);
  began = processor_s ();
  run_at (100, true, true);
  run_at (100, true, true);
  if (getenv ("CHECK_LONG"))
    printf ("circles, %u deep: %.2f s\n", deep, processor_s () - began);
  ck_assert_int_eq (size_of ("DOC.TXT"), 1000);
  tear_down ();
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("interpret");
  TCase *tcase = tcase_create ("by hand");
  SRunner *runner;
  int failed;

  setenv ("TZ", "UTC0", 1);
  tzset ();
  tcase_set_timeout (tcase, 120);
  tcase_add_test (tcase, empty_files_of_a_half_seen_rename);
  tcase_add_test (tcase, marked_dirty_under_a_run);
  tcase_add_test (tcase, bytes_of_a_file_that_went);
  tcase_add_test (tcase, bytes_that_were_free_for_long);
  tcase_add_test (tcase, bytes_ahead_of_their_entry);
  tcase_add_test (tcase, a_new_file_in_the_first_cluster_of_another);
  tcase_add_test (tcase, a_renamed_file_that_goes_on_growing);
  tcase_add_test (tcase, emptied_and_about_to_be_filled);
  tcase_add_test (tcase, emptied_and_left_so);
  tcase_add_test (tcase, a_removal_below_a_file_that_grew);
  tcase_add_test (tcase, a_short_chain_beside_a_removal);
  tcase_add_test (tcase, a_busy_entry_in_the_same_sector);
  tcase_add_test (tcase, its_own_entry_changes);
  tcase_add_test (tcase, a_folder_that_is_made_again);
  tcase_add_test (tcase, a_folder_removed_and_made_anew);
  tcase_add_test (tcase, a_folder_without_a_record);
  tcase_add_test (tcase, a_folder_whose_chain_is_broken);
  tcase_add_loop_test (tcase, files_change_places, 0, 64);
  tcase_add_test (tcase, a_file_in_the_place_of_a_folder_that_waits);
  tcase_add_loop_test (tcase, cut_and_moved, 0, 256);
  tcase_add_test (tcase, written_in_place);
  tcase_add_loop_test (tcase, changed_since_it_was_sent, 0, 2);
  tcase_add_test (tcase, many_files);
  tcase_add_test (tcase, many_folders_beside_it);
  tcase_add_test (tcase, shared_tails);
  tcase_add_test (tcase, circles_and_depths);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
