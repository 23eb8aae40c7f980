/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests raw disks: which files are pieces and where they stand, what becomes of the disk when these change in the cloud, and
 * what a guest's writes become.
 *
 * Seeds are fixed; another one is tried with CHECK_SEED=N. */

#include <config.h>

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "coreengine.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "fakecloud.h"
#include "format.h"
#include "interpreter.h"
#include "journal.h"
#include "map.h"
#include "overlay.h"
#include "rules.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

#define ENGINE ((struct engine *) 1)
#define SETTLE_MS 2000

static struct rules *rules;
static struct disk_store *store;
static struct disk *disk;
static uint64_t later_ms;

/* ---- disks ---- */

static void
setup (void)
{
  core_open (&core, 0);
  later_ms = 0;
  ck_assert_int_eq (journal_init (core.db), 0);
  fakecloud_folder (core.fake, "img", NULL, NULL);
  core_learn (&core, "img");
}

static void
close_disk (void)
{
  disk_close (disk);
  disk_store_close (store);
  rules_free (rules);
  disk = NULL;
}

static void
teardown (void)
{
  if (disk)
    close_disk ();
  core_close (&core);
}

static bool
try_open (const char *rule)
{
  struct disk_config config;

  rules = rules_new ();
  ck_assert_int_eq (rules_add_disk (rules, rule, NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  config = disk_config_of (&rules->disks[0]);
  store = disk_store_open (ENGINE);
  ck_assert_ptr_nonnull (store);
  disk = disk_open (ENGINE, store, &config);
  return disk != NULL;
}

static void
open_disk (const char *rule)
{
  ck_assert (try_open (rule));
}

static uint64_t
disk_size (void)
{
  return disk_geometry (disk)->disk_bytes;
}

static uint64_t
padded (uint64_t size)
{
  return (size + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;
}

/* A piece as the remote had it. */
struct content {
  uint64_t content, size;
};

static struct content
put (const char *path, uint64_t size)
{
  core_add (&core, path, size);
  return (struct content) { fakecloud_content (core.fake, path), size };
}

/* The bytes that a disk of these pieces has; malloc'ed. */
static uint8_t *
bytes_of (const struct content *pieces, size_t n, uint64_t *ret_bytes)
{
  uint64_t all = 0;
  uint8_t *bytes;

  for (size_t i = 0; i < n; ++i)
    all += padded (pieces[i].size);
  bytes = calloc (1, all + 1);
  ck_assert_ptr_nonnull (bytes);
  *ret_bytes = all;
  all = 0;
  for (size_t i = 0; i < n; ++i) {
    fakecloud_fill (pieces[i].content, bytes + all, pieces[i].size, 0);
    all += padded (pieces[i].size);
  }
  return bytes;
}

static void
check_map (struct map *map, const struct content *pieces, size_t n)
{
  uint64_t bytes;
  CLEANUP_FREE uint8_t *expected = bytes_of (pieces, n, &bytes);
  CLEANUP_FREE uint8_t *is = malloc (bytes + 1);

  ck_assert_uint_eq (bytes, disk_size ());
  ck_assert_int_eq (disk_read (disk, map, is, bytes, 0), 0);
  ck_assert_mem_eq (is, expected, bytes);
  /* And in small odd parts. */
  for (uint64_t at = 0; at < bytes; at += 7001) {
    const size_t part = bytes - at < 1500 ? bytes - at : 1500;
    bool hole;

    ck_assert_int_eq (disk_read (disk, map, is, part, at), 0);
    ck_assert_mem_eq (is, expected + at, part);
    ck_assert_uint_gt (disk_run (disk, map, part, at, &hole), 0);
    ck_assert (!hole);
  }
}

static void
check_disk (const struct content *pieces, size_t n)
{
  struct map *map = disk_map (disk);

  check_map (map, pieces, n);
  map_unref (map);
}

/* ---- layout ---- */

START_TEST (pieces_in_order)
{
  struct content p[5];

  fakecloud_folder (core.fake, "img/sub", NULL, NULL);
  core_learn (&core, "img/sub");
  p[2] = put ("img/b.img", 512);
  p[1] = put ("img/B.img", 1);
  p[3] = put ("img/b.img.2", 70000);
  p[0] = put ("img/10", 100001);
  p[4] = put ("img/c", 513);
  put ("img/empty", 0);
  put ("img/sub/other", 9000);
  put ("img/b (conflicted copy 2026-01-02 030405 vm-raw).img", 9000);
  put ("elsewhere", 9000);
  open_disk ("raw,folder=/img,fs=raw");
  check_disk (p, 5);
  ck_assert_uint_eq (disk_size (), 512 * 196 + 512 + 512 + 512 * 137 + 1024);
}
END_TEST

START_TEST (several_folders_and_globs)
{
  struct content p[3];

  fakecloud_folder (core.fake, "a", NULL, NULL);
  core_learn (&core, "a");
  p[0] = put ("img/2.img", 5000);
  p[1] = put ("img/3.img", 6000);
  p[2] = put ("a/1.img", 7000);
  put ("a/1.txt", 7000);
  open_disk ("raw,folder=/img,folder=/a,glob=*.img,fs=raw");
  check_disk (p, 3);
}
END_TEST

static const struct {
  uint64_t sizes[2];
  const char *says;
} refused[] = {
  { { 0, 0 }, "there are none with bytes" },
  { { UINT64_C (1) << 40, (UINT64_C (1) << 40) + 1 }, "at most 2 TiB" },
  { { UINT64_C (5) << 40, 100 }, "at most 2 TiB" },
};

START_TEST (what_is_refused)
{
  put ("img/1", refused[_i].sizes[0]);
  put ("img/2", refused[_i].sizes[1]);
  ck_assert (!try_open ("raw,folder=/img,fs=raw"));
  ck_assert_uint_eq (said (MSG_ERROR, refused[_i].says), 1);
  ck_assert_uint_eq (said (MSG_ERROR, ""), 1);
  disk_store_close (store);
  rules_free (rules);
}
END_TEST

/* In the same place: a new generation; who holds the old one goes on to see it. */
START_TEST (another_content_of_the_same_size)
{
  struct content old[2], new[2];
  struct map *map;

  old[0] = new[0] = put ("img/1", 60000);
  old[1] = put ("img/2", 60001);
  open_disk ("raw,folder=/img,fs=raw");
  check_disk (old, 2);
  map = disk_map (disk);
  new[1] = put ("img/2", 60100);
  ck_assert_int_eq (disk_update (disk), 1);
  ck_assert_int_eq (disk_update (disk), 0);
  ck_assert (!disk_is_stuck (disk));
  check_disk (new, 2);
  check_map (map, old, 2);
  map_unref (map);
  close_disk ();
  open_disk ("raw,folder=/img,fs=raw");
  check_disk (new, 2);
}
END_TEST

/* A place that would have to move: nothing changes until it may, over restarts as well. */
START_TEST (other_places)
{
  struct content old[3], new[3];

  old[0] = put ("img/1", 60000);
  old[1] = new[1] = put ("img/2", 50000);
  open_disk ("raw,folder=/img,fs=raw");
  check_disk (old, 2);
  if (_i == 0)
    new[0] = put ("img/1", 70000);
  else {
    new[0] = old[0];
    new[2] = put ("img/3", 10);
  }
  for (int i = 0; i < 2; ++i) {
    ck_assert_int_eq (disk_update (disk), 0);
    ck_assert (disk_is_stuck (disk));
    check_disk (old, 2);
    close_disk ();
    open_disk ("raw,folder=/img,fs=raw");
  }
  ck_assert_uint_eq (said (MSG_NOTICE, "it goes on as it is"), 2);
  ck_assert_int_eq (disk_update (disk), 0);
  ck_assert_int_eq (disk_move (disk), 1);
  ck_assert (!disk_is_stuck (disk));
  ck_assert_uint_eq (said (MSG_NOTICE, "is made anew"), 4);
  check_disk (new, _i == 0 ? 2 : 3);
  close_disk ();
  open_disk ("raw,folder=/img,fs=raw");
  check_disk (new, _i == 0 ? 2 : 3);
}
END_TEST

START_TEST (all_pieces_gone)
{
  struct content old[1] = { put ("img/1", 60000) };
  struct catalog_list list;
  int64_t revision;

  open_disk ("raw,folder=/img,fs=raw");
  check_disk (old, 1);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  ck_assert_int_eq (catalog_children (core.db, CATALOG_ROOT, &list), 0);
  ck_assert_int_eq (catalog_remove (core.db, revision + 1, list.items[0].id), 0);
  catalog_list_free (&list);
  ck_assert_int_eq (catalog_commit_revision (core.db, revision + 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  /* The folder itself is gone: as with other disks. */
  ck_assert_int_eq (disk_update (disk), 0);
  check_disk (old, 1);
  fakecloud_folder (core.fake, "img", NULL, NULL);
  core_learn (&core, "img");
  ck_assert_int_eq (disk_update (disk), 0);
  ck_assert (disk_is_stuck (disk));
  ck_assert_int_eq (disk_move (disk), 0);
  ck_assert (disk_is_stuck (disk));
  check_disk (old, 1);
}
END_TEST

/* ---- a guest ---- */

static struct guest {
  struct overlay *overlay;
  struct map *map;
  struct interpreter *interp;
  struct interpret_result result;
  uint8_t *bytes;              /* what it must see */
  uint64_t n;
} guest;

static void
open_guest (void)
{
  const int fd = (mkdirat (core.dir_fd, "views", 0700), openat (core.dir_fd, "views", O_RDONLY | O_DIRECTORY));
  struct interpret_config config = {
    .engine = ENGINE, .disk = disk, .view = 1, .name = "vm/raw", .settle_ms = SETTLE_MS, .max_delete = 50,
  };

  guest.overlay = overlay_open (fd, core.dir, "1", disk_size ());
  close (fd);
  ck_assert_ptr_nonnull (guest.overlay);
  if (guest.map == NULL)
    guest.map = disk_map (disk);
  config.overlay = guest.overlay;
  config.map = guest.map;
  guest.interp = interpreter_new (&config);
  ck_assert_ptr_nonnull (guest.interp);
}

static void
close_guest (void)
{
  interpreter_free (guest.interp);
  overlay_close (guest.overlay);
}

static void
end_guest (void)
{
  close_guest ();
  map_unref (guest.map);
  free (guest.bytes);
  memset (&guest, 0, sizeof guest);
}

static void
begin_guest (const struct content *pieces, size_t n)
{
  open_guest ();
  guest.bytes = bytes_of (pieces, n, &guest.n);
}

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  return disk_read (disk, guest.map, buf, n, offset);
}

static void
guest_write (uint64_t offset, size_t n, uint8_t byte)
{
  memset (guest.bytes + offset, byte, n);
  ck_assert_int_eq (overlay_write (guest.overlay, guest.bytes + offset, n, offset, fill, NULL), 0);
}

/* After the last write.  Times of LATER add up, so that each is after what any look before it has set. */
#define LATER 700000

static void
look (uint64_t after_ms, bool gone)
{
  const uint64_t write_ms = overlay_last_write_ms (guest.overlay) ? overlay_last_write_ms (guest.overlay) : now_ms ();
  struct interpret_now now = { .connected = !gone, .ending = gone };

  if (after_ms == LATER)
    later_ms += LATER;
  now.now_ms = write_ms + later_ms + (after_ms == LATER ? 0 : after_ms);
  ck_assert_int_eq (interpreter_run (guest.interp, &now, &guest.result), 0);
}

/* The item's bytes are those of the guest's disk at that place. */
static void
check_piece (const char *path, uint64_t at)
{
  const int64_t id = core_item (&core, path);
  struct catalog_list list;
  CLEANUP_FREE uint8_t *is = NULL;
  struct cache_file *file;

  db_read_begin (core.db);
  ck_assert_int_eq (catalog_item (core.db, id, &list), 1);
  db_read_end (core.db);
  is = malloc (list.items[0].size);
  file = cache_pin (core.cache, list.items[0].version, list.items[0].size, list.items[0].position);
  ck_assert_int_eq (cache_read (core.cache, file, is, list.items[0].size, 0), 0);
  ck_assert_mem_eq (is, guest.bytes + at, list.items[0].size);
  cache_unpin (core.cache, file);
  catalog_list_free (&list);
}

static int64_t
n_changes (void)
{
  return core_query (&core, "SELECT count(*) FROM change");
}

static int64_t
n_made (void)
{
  return core_query (&core, "SELECT count(*) FROM version WHERE hashes IS NOT NULL");
}

static struct content p[3];

static void
three_pieces (void)
{
  p[0] = put ("img/1", 100000);
  p[1] = put ("img/2", 3000000);
  p[2] = put ("img/3", 100);
  open_disk ("raw,folder=/img,fs=raw");
  begin_guest (p, 3);
}

#define AT_2 (UINT64_C (100352))
#define AT_3 (AT_2 + 3000320)

START_TEST (writes_become_versions)
{
  three_pieces ();
  look (0, false);
  ck_assert (guest.result.absorbed && guest.result.next_ms == 0);
  guest_write (AT_2 + 1000000, 5000, 'a');
  look (SETTLE_MS - 500, false);
  ck_assert (!guest.result.absorbed && !guest.result.journalled && guest.result.pending == 1);
  ck_assert_uint_eq (guest.result.next_ms, overlay_last_write_ms (guest.overlay) + SETTLE_MS);
  ck_assert_int_eq (n_changes (), 0);
  look (SETTLE_MS, false);
  ck_assert (guest.result.absorbed && guest.result.journalled && guest.result.pending == 0);
  ck_assert_int_eq (n_changes (), 1);
  ck_assert_int_eq (n_made (), 1);
  check_piece ("img/1", 0);
  check_piece ("img/2", AT_2);
  check_piece ("img/3", AT_3);

  /* Across the border of two pieces, in one transaction. */
  guest_write (AT_2 - 1024, 4096, 'b');
  look (LATER, false);
  ck_assert (guest.result.absorbed && guest.result.journalled);
  ck_assert_int_eq (n_made (), 3);
  check_piece ("img/1", 0);
  check_piece ("img/2", AT_2);

  /* Behind a piece's end: it stays with the guest. */
  guest_write (AT_3 + 200, 100, 'c');
  look (LATER, false);
  ck_assert (guest.result.absorbed && !guest.result.journalled);
  ck_assert_int_eq (n_made (), 3);

  /* The same bytes again: no new version. */
  guest_write (AT_2 - 1024, 4096, 'b');
  look (LATER, false);
  ck_assert (guest.result.absorbed && !guest.result.journalled);
  ck_assert_int_eq (n_made (), 3);
  ck_assert_int_eq (n_changes (), 2);

  /* The disk shows it, in the same places. */
  ck_assert_int_eq (disk_update (disk), 1);
  ck_assert (!disk_is_stuck (disk));
  {
    struct map *map = disk_map (disk);
    CLEANUP_FREE uint8_t *is = malloc (guest.n);

    /* But for what stands behind the pieces' ends. */
    memset (guest.bytes + 100000, 0, AT_2 - 100000);
    ck_assert_int_eq (disk_read (disk, map, is, guest.n, 0), 0);
    ck_assert_mem_eq (is, guest.bytes, AT_3 + 100);
    map_unref (map);
  }
  end_guest ();
}
END_TEST

/* The process ends after the commit, before the sectors are settled; and at any other time. */
START_TEST (after_a_restart)
{
  three_pieces ();
  guest_write (10, 100, 'x');
  close_guest ();
  open_guest ();
  look (SETTLE_MS, false);
  ck_assert (guest.result.journalled);
  close_guest ();
  open_guest ();
  look (0, true);
  ck_assert (guest.result.absorbed && !guest.result.journalled);
  /* As if it had not come to settling. */
  guest_write (10, 100, 'x');
  close_guest ();
  open_guest ();
  look (0, true);
  ck_assert (guest.result.absorbed && !guest.result.journalled);
  ck_assert_int_eq (n_made (), 1);
  /* What comes now replaces what went before. */
  guest_write (10, 100, 'y');
  close_guest ();
  open_guest ();
  look (0, true);
  ck_assert (guest.result.journalled);
  ck_assert_int_eq (n_changes (), 1);
  ck_assert_int_eq (core_query (&core, "SELECT count(*) FROM item WHERE gone = 0"), 5);
  check_piece ("img/1", 0);
  end_guest ();
}
END_TEST

/* A piece that ends with zeros, which need no room in the store: it is all there after a restart. */
START_TEST (zeros_at_the_end)
{
  CLEANUP_FREE uint8_t *bytes = NULL;

  three_pieces ();
  guest_write (AT_2, 512, 'z');
  memset (guest.bytes + AT_2 + 512, 0, 3000320 - 512);
  ck_assert_int_eq (overlay_zero (guest.overlay, 3000320 - 512, AT_2 + 512, fill, NULL), 0);
  look (SETTLE_MS, false);
  ck_assert (guest.result.journalled);
  bytes = malloc (guest.n);
  memcpy (bytes, guest.bytes, guest.n);
  end_guest ();
  close_disk ();
  core_reopen (&core, 0);
  ck_assert_uint_eq (said (MSG_NOTICE, "missing or cut"), 0);
  guest.bytes = bytes;
  check_piece ("img/2", AT_2);
  guest.bytes = NULL;
}
END_TEST

/* Copying takes a while, and the guest writes meanwhile: when the sector that it wrote first is read, once. */
static struct disturber {
  uint64_t offset;
  bool armed;
} disturber;

ssize_t
pread (int fd, void *buf, size_t n, off_t offset)
{
  if (disturber.armed && n == 512) {
    disturber.armed = false;
    guest_write (disturber.offset, 512, 'd');
  }
  return syscall (SYS_pread64, fd, buf, n, offset);
}

START_TEST (a_guest_that_goes_on_writing)
{
  /* Into the piece that is copied; into one that is not written otherwise. */
  static const uint64_t places[] = { AT_2 + 2000384, 0 };
  uint64_t rested;

  three_pieces ();
  guest_write (AT_2, 512, 'a');
  disturber = (struct disturber) { .offset = places[_i], .armed = true };
  look (SETTLE_MS, false);
  ck_assert (!disturber.armed);
  ck_assert (!guest.result.journalled && !guest.result.absorbed && guest.result.pending == 1);
  ck_assert_int_eq (n_made (), 0);
  rested = guest.result.next_ms;
  ck_assert_uint_ge (rested, overlay_last_write_ms (guest.overlay) + SETTLE_MS);
  look (SETTLE_MS, false);
  ck_assert_int_eq (n_made (), 0);
  ck_assert_uint_eq (guest.result.next_ms, rested);
  look (LATER, false);
  ck_assert (guest.result.journalled && guest.result.absorbed);
  ck_assert_int_eq (n_made (), _i == 0 ? 1 : 2);
  check_piece ("img/1", 0);
  check_piece ("img/2", AT_2);
  end_guest ();
}
END_TEST

/* When it has left, one try follows the other. */
START_TEST (a_last_write)
{
  three_pieces ();
  guest_write (AT_2, 512, 'a');
  disturber = (struct disturber) { .offset = AT_2 + 10240, .armed = true };
  look (0, true);
  ck_assert (!disturber.armed);
  ck_assert (guest.result.journalled && guest.result.absorbed);
  check_piece ("img/2", AT_2);
  end_guest ();
}
END_TEST

/* A guest that is never quiet is copied all the same, but not all the time. */
START_TEST (a_guest_without_rest)
{
  three_pieces ();
  guest_write (0, 512, 'a');
  look (100, false);
  ck_assert (!guest.result.journalled);
  guest_write (0, 512, 'b');
  look (100, false);
  ck_assert (!guest.result.journalled);
  {
    const struct interpret_now now = { .now_ms = now_ms () + 61000, .connected = true };

    ck_assert_int_eq (interpreter_run (guest.interp, &now, &guest.result), 0);
    ck_assert (guest.result.journalled);
  }
  check_piece ("img/1", 0);
  end_guest ();
}
END_TEST

/* A piece of which nothing is here, and that cannot be had from the cloud, is journalled all the same: what the guest did not
 * write is not asked for.  After a restart it still waits for that. */
START_TEST (the_cloud_is_away)
{
  const struct fake_rule broken = { .verb = FAKE_GET, .path = "img/2", .result = CLOUD_GONE };
  uint8_t buf[512];
  int64_t id;

  three_pieces ();
  guest_write (AT_2 + 1536, 512, 'a');
  guest_write (0, 512, 'a');
  fakecloud_forget (core.fake);
  fakecloud_rule (core.fake, &broken);
  look (SETTLE_MS, false);
  ck_assert (guest.result.journalled && guest.result.absorbed);
  ck_assert_int_eq (n_made (), 2);
  ck_assert_uint_eq (fakecloud_log (core.fake, FAKE_GET, "img/2", NULL, 0), 0);
  id = core_version (&core, "img/2");
  ck_assert_int_eq (core_query (&core, "SELECT sum (length) FROM version_range WHERE kind = 0"), 2 * 512);
  for (int i = 0; i < 2; ++i) {
    struct cache_file *file = core_file (&core, "img/2");

    ck_assert_int_eq (cache_read (core.cache, file, buf, 512, 1536), 0);
    ck_assert_mem_eq (buf, guest.bytes + AT_2 + 1536, 512);
    ck_assert_int_eq (cache_read (core.cache, file, buf, 512, 1024), -1);
    if (i == 0) {
      uint8_t *bytes = guest.bytes;

      guest.bytes = NULL;
      end_guest ();
      close_disk ();
      core_reopen (&core, 0);
      guest.bytes = bytes;
      fakecloud_rule (core.fake, &broken);
    }
  }
  ck_assert_int_eq (core_version (&core, "img/2"), id);
  fakecloud_no_rules (core.fake);
  check_piece ("img/2", AT_2);
  ck_assert_uint_eq (fakecloud_log (core.fake, FAKE_PUT, "img/2", NULL, 0), 0);
  free (guest.bytes);
  guest.bytes = NULL;
}
END_TEST

static int64_t
n_copies (void)
{
  return core_query (&core, "SELECT count(*) FROM item WHERE gone = 0 AND CAST (name AS TEXT) LIKE '%(conflicted copy %'");
}

/* Somebody else changed the piece: theirs keeps the name, and the guest's is a copy beside it, which is no piece. */
START_TEST (a_conflict)
{
  three_pieces ();
  /* All of it is here: the old version cannot be had again. */
  check_disk (p, 3);
  guest_write (AT_2, 512, 'a');
  p[1] = put ("img/2", 3000000);
  look (SETTLE_MS, false);
  ck_assert (guest.result.journalled && guest.result.absorbed);
  ck_assert_int_eq (n_copies (), 1);
  ck_assert_int_eq (disk_update (disk), 1);
  ck_assert (!disk_is_stuck (disk));
  check_disk (p, 3);
  /* What it writes from now on goes there, too. */
  guest_write (AT_2, 512, 'b');
  look (LATER, false);
  ck_assert (guest.result.journalled);
  ck_assert_int_eq (n_copies (), 1);
  ck_assert_int_eq (n_changes (), 1);
  end_guest ();
}
END_TEST

/* The disk cannot show what the cloud has; what its own guest wrote is there all the same when the overlay has gone. */
START_TEST (own_writes_while_places_would_move)
{
  struct map *map;
  CLEANUP_FREE uint8_t *is = NULL;

  three_pieces ();
  put ("img/1", 200000);
  guest_write (AT_2, 512, 'a');
  look (SETTLE_MS, false);
  ck_assert (guest.result.journalled);
  ck_assert_int_eq (disk_update (disk), 1);
  ck_assert (disk_is_stuck (disk));
  map = disk_map (disk);
  is = malloc (guest.n);
  ck_assert_int_eq (disk_read (disk, map, is, guest.n - AT_2, AT_2), 0);
  ck_assert_mem_eq (is, guest.bytes + AT_2, guest.n - AT_2);
  map_unref (map);
  end_guest ();
  ck_assert_int_eq (disk_move (disk), 1);
  ck_assert_uint_eq (disk_size (), padded (200000) + padded (3000000) + padded (100));
}
END_TEST

/* ---- anything ---- */

START_TEST (anything)
{
  const char *given = getenv ("CHECK_SEED");
  uint64_t seed = given ? strtoull (given, NULL, 0) : (uint64_t) _i + 1;
  struct content pieces[5];
  uint64_t at[5], bytes = 0;
  const size_t n = 1 + random_below (&seed, 5);
  char path[32];

  for (size_t i = 0; i < n; ++i) {
    sprintf (path, "img/%zu", i);
    pieces[i] = put (path, 1 + random_below (&seed, random_below (&seed, 2) ? 3000 : 2500000));
    at[i] = bytes;
    bytes += padded (pieces[i].size);
  }
  open_disk ("raw,folder=/img,fs=raw");
  begin_guest (pieces, n);
  for (unsigned round = 0; round < 60; ++round) {
    const uint64_t offset = random_below (&seed, bytes);
    uint64_t length = 1 + random_below (&seed, random_below (&seed, 4) ? 5000 : 300000);

    if (length > bytes - offset)
      length = bytes - offset;
    switch (random_below (&seed, 10)) {
    case 0:
      close_guest ();
      open_guest ();
      break;
    case 1:
      look (LATER, false);
      ck_assert (guest.result.absorbed);
      break;
    case 2:
      look (random_below (&seed, 4000), false);
      break;
    case 3:
      memset (guest.bytes + offset, 0, length);
      ck_assert_int_eq (overlay_zero (guest.overlay, length, offset, fill, NULL), 0);
      break;
    case 4:
      ck_assert_int_ge (disk_update (disk), 0);
      ck_assert (!disk_is_stuck (disk));
      break;
    default:
      guest_write (offset, length, random_below (&seed, 256));
    }
  }
  look (0, true);
  ck_assert (guest.result.absorbed && guest.result.pending == 0);
  for (size_t i = 0; i < n; ++i) {
    sprintf (path, "img/%zu", i);
    check_piece (path, at[i]);
  }
  ck_assert_int_eq (n_copies (), 0);
  ck_assert_int_le (n_changes (), n);
  end_guest ();
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("raw disks");
  TCase *layout = tcase_create ("layout"), *writes = tcase_create ("writes");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (layout, setup, teardown);
  tcase_add_test (layout, pieces_in_order);
  tcase_add_test (layout, several_folders_and_globs);
  tcase_add_loop_test (layout, what_is_refused, 0, N (refused));
  tcase_add_test (layout, another_content_of_the_same_size);
  tcase_add_loop_test (layout, other_places, 0, 2);
  tcase_add_test (layout, all_pieces_gone);
  suite_add_tcase (suite, layout);
  tcase_add_checked_fixture (writes, setup, teardown);
  tcase_set_timeout (writes, 30);
  tcase_add_test (writes, writes_become_versions);
  tcase_add_test (writes, after_a_restart);
  tcase_add_test (writes, zeros_at_the_end);
  tcase_add_loop_test (writes, a_guest_that_goes_on_writing, 0, 2);
  tcase_add_test (writes, a_last_write);
  tcase_add_test (writes, a_guest_without_rest);
  tcase_add_test (writes, the_cloud_is_away);
  tcase_add_test (writes, a_conflict);
  tcase_add_test (writes, own_writes_while_places_would_move);
  tcase_add_loop_test (writes, anything, 0, getenv ("CHECK_SEED") ? 1 : 12);
  suite_add_tcase (suite, writes);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
