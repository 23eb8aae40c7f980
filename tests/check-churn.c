/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests that what is kept does not grow with what happens: files come, change, move and go at random, in the cloud and in a
 * guest, for as many changes as CHURN_CHANGES says, while one view stays on the generation where it began and another one is
 * renewed now and then.  Nothing is fetched or sent: what is looked at are the tables, the clusters, and the store of rendered
 * folders.
 *
 * The seed is fixed; another one is tried with CHECK_SEED=N. */

#include <config.h>

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "blobs.h"
#include "catalog.h"
#include "change.h"
#include "cloud.h"
#include "coreengine.h"
#include "db.h"
#include "disk-private.h"
#include "disk.h"
#include "extents.h"
#include "journal.h"
#include "map.h"
#include "seen.h"

#define FOLDERS 20
#define MOST_FILES 80          /* in a folder */
#define FEWEST_FILES 20
#define MOST_BYTES 65536
#define CHANGES_A_ROUND 100
#define ROUNDS_OF_A_VIEW 20

#define N(array) (sizeof (array) / sizeof (array)[0])

static struct disk_store *store;
static struct disk *disk;
static uint64_t seed;

/* ---- changes ---- */

static int64_t folders[FOLDERS], guest_view, guest_newest;
static unsigned long long counter;
static struct journal journal;

static struct cloud_item
seen_item (char name[64], char token[32], bool is_folder)
{
  snprintf (name, 64, "%s %llu", is_folder ? "folder" : "a file with a rather long name", ++counter);
  snprintf (token, 32, "\"%llu\"", counter);
  return (struct cloud_item) {
    .name = name, .is_folder = is_folder, .size = is_folder ? 0 : random_below (&seed, MOST_BYTES),
    .mtime.tv_sec = 1700000000 + counter, .token = is_folder ? NULL : token,
  };
}

static bool
guest_wrote (int64_t item)
{
  struct seen_row row;
  const int r = guest_view ? seen_place (core.db, guest_view, item, &row) : 0;

  MUST (r != -1);
  return r == 1;
}

static void
remote_change (int64_t revision, int64_t folder, const struct catalog_list *list, const struct catalog_item *item)
{
  char name[64], token[32];
  struct cloud_item seen = seen_item (name, token, false);

  if (list->n < FEWEST_FILES || (list->n < MOST_FILES && random_below (&seed, 4) == 0))
    MUST (catalog_add (core.db, core.blobs, revision, folder, &seen) > 0);
  else if (item->changed || guest_wrote (item->id))
    return;                    /* a guest would show it for good */
  else
    switch (random_below (&seed, 3)) {
    case 0:
      MUST (catalog_update (core.db, core.blobs, revision, item, &seen) == 0);
      break;
    case 1:
      MUST (catalog_remove (core.db, revision, item->id) == 0);
      break;
    default:
      MUST (catalog_move (core.db, revision, item, folders[random_below (&seed, FOLDERS)], name) == 0);
    }
}

/* What the interpreter does of a file that was made, written or removed. */
static void
guest_has (int64_t item, int64_t folder, int64_t version, uint64_t size)
{
  const uint16_t name[] = { 'F', item & 0xff, (item >> 8) & 0xff, (item >> 16) & 0xff, item >> 24 };
  const struct seen_row row = {
    .folder = folder, .name = name, .units = N (name), .item = item, .version = version, .first = 5, .size = size,
  };

  if (version)
    MUST (seen_put (core.db, guest_view, &row) == 0);
  else
    MUST (seen_set_gone (core.db, guest_view, item) == 0 &&
          seen_end (core.db, guest_view, folder, name, N (name), item, false) == 0);
}

static int64_t
guest_content (uint64_t size)
{
  const uint64_t position = blobs_alloc (core.blobs, size);
  char sha1[41];

  snprintf (sha1, sizeof sha1, "%040llx", ++counter);
  return journal_stage (&journal, size, position, sha1, NULL);
}

static void
guest_change (int64_t folder, const struct catalog_list *list, const struct catalog_item *item)
{
  const uint64_t size = 1 + random_below (&seed, MOST_BYTES);
  const struct timespec mtime = { .tv_sec = 1700000000 };
  char name[64];

  if (list->n < FEWEST_FILES || (list->n < MOST_FILES && random_below (&seed, 3) == 0)) {
    const int64_t version = guest_content (size);
    int64_t id;

    snprintf (name, sizeof name, "a guest's file %llu", ++counter);
    id = journal_create (&journal, folder, name, false, version, &mtime);
    MUST (version > 0 && id > 0);
    guest_has (id, folder, version, size);
  }
  else if (item->id > guest_newest && !guest_wrote (item->id))
    return;                    /* it does not know it */
  else if (random_below (&seed, 2)) {
    const int64_t version = guest_content (size);

    MUST (version > 0 && journal_edit (&journal, item->id, item->version, version, &mtime) > 0);
    guest_has (item->id, folder, version, size);
  }
  else {
    MUST (journal_remove (&journal, item->id, item->version) == 0);
    guest_has (item->id, folder, 0, 0);
  }
}

/* The cloud takes all that waits. */
static void
push_all (void)
{
  int64_t *items;
  size_t n;

  MUST (db_read_ids (db_stmt (core.db, "SELECT item FROM change"), &items, &n) == 0);
  for (size_t i = 0; i < n; ++i) {
    struct catalog_list list;

    MUST (catalog_any_item (core.db, items[i], &list) == 1);
    if (list.items[0].gone)
      MUST (change_clear_base (core.db, items[i]) == 0);
    else {
      const struct catalog_item *item = &list.items[0];
      char name[64], token[32];
      const struct cloud_item seen = seen_item (name, token, false);

      MUST (version_sent (core.db, item->version, &seen) == 0 &&
            change_set_base (core.db, item->id, item->parent, item->name, item->version, time_to_ns (&item->mtime)) == 0);
    }
    MUST (change_settle (core.db, items[i], NULL) == 0);
    catalog_list_free (&list);
  }
  free (items);
}

static void
change_much (void)
{
  int64_t revision;

  MUST (db_begin (core.db) == 0 && catalog_revision (core.db, &revision) == 0);
  journal = (struct journal) {
    .db = core.db, .blobs = core.blobs, .revision = ++revision, .view = "vm1", .now = time (NULL),
  };
  for (unsigned i = 0; i < CHANGES_A_ROUND; ++i) {
    const int64_t folder = folders[random_below (&seed, FOLDERS)];
    struct catalog_list list;
    const struct catalog_item *item;

    MUST (catalog_children (core.db, folder, &list) == 0);
    item = list.n > 0 ? &list.items[random_below (&seed, list.n)] : NULL;
    if (guest_view == 0 || random_below (&seed, 2))
      remote_change (revision, folder, &list, item);
    else
      guest_change (folder, &list, item);
    catalog_list_free (&list);
  }
  MUST (journal_finish (&journal, 0) == 0);
  push_all ();
  MUST (catalog_commit_revision (core.db, revision) == 0);
  /* An hour goes by. */
  MUST (db_run (db_stmt (core.db, "UPDATE item SET gone = gone - 3600 WHERE gone <> 0")) == 0);
  MUST (db_run (db_stmt (core.db, "UPDATE view SET made = made - 3600")) == 0);
  MUST (db_run (db_stmt (core.db, "UPDATE disk SET made = made - 3600")) == 0);
  MUST (db_end (core.db, 0) == 0);
}

/* ---- views ---- */

static int64_t
save_view (const char *name)
{
  struct view_row row = { .name = name, .disk = disk_id (disk), .generation = disk_generation (disk) };

  MUST (db_begin (core.db) == 0 && view_row_save (core.db, &row) == 0 && db_end (core.db, 0) == 0);
  return row.id;
}

static void
collect (int64_t oldest, const struct generations *pinned)
{
  disk->purged = 0;
  ck_assert_int_eq (disk_collect (disk, oldest, pinned), 0);
}

static void
drop_view (int64_t id)
{
  MUST (db_begin (core.db) == 0 && view_row_delete (core.db, id) == 0 && db_end (core.db, 0) == 0);
}

/* ---- what is looked at ---- */

static const struct {
  const char *name, *query;
  int64_t slack;               /* so much more it may be for no reason */
} kept[] = {
  { "items", "SELECT count (*) FROM item", 3000 },
  { "versions", "SELECT count (*) FROM version", 2000 },
  { "extents", "SELECT count (*) FROM extent", 1000 },
  { "slots", "SELECT count (*) FROM slots", 200 },
  { "bytes of slots", "SELECT total (length (list)) FROM slots", 300000 },
  { "changes", "SELECT count (*) FROM change", 100 },
  { "entries that guests made", "SELECT count (*) FROM seen", 1000 },
  { "items that guests removed", "SELECT count (*) FROM seen_gone", 1000 },
  { "left out", "SELECT count (*) FROM left_out", 0 },
  { "cached pieces", "SELECT count (*) FROM cached_chunk", 1000 },
  { "clusters", "SELECT total (count) FROM extent", 20000 },
  { "pages of the database", "SELECT page_count FROM pragma_page_count", 300 },
};

static int64_t
folder_store_blocks (void)
{
  char path[256];
  int64_t blocks = 0;
  struct dirent *entry;
  DIR *stream;

  snprintf (path, sizeof path, "%s/folders", core.dir);
  stream = opendir (path);
  ck_assert_ptr_nonnull (stream);
  while ((entry = readdir (stream))) {
    struct stat st;

    if (fstatat (dirfd (stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG (st.st_mode))
      blocks += st.st_blocks;
  }
  closedir (stream);
  return blocks;
}

static void
measure (int64_t ret[N (kept) + 1])
{
  for (size_t i = 0; i < N (kept); ++i)
    ret[i] = core_query (&core, kept[i].query);
  ret[N (kept)] = folder_store_blocks ();
}

START_TEST (churn)
{
  static const struct disk_config config = {
    .name = "cloud", .format = "fat32", .partitioning = -1, .size = UINT64_C (1) << 30,
  };
  const char *asked = getenv ("CHURN_CHANGES");
  const long rounds = (asked ? atol (asked) : 50000) / CHANGES_A_ROUND;
  struct generations pinned = { .numbers = &(int64_t) { 0 }, .n = 1 };
  int64_t early[N (kept) + 1] = { 0 }, late[N (kept) + 1], follower = 0, followed = 0;
  struct map *map, *again;

  seed = getenv ("CHECK_SEED") ? strtoull (getenv ("CHECK_SEED"), NULL, 0) : 1;
  core_open (&core, 0);
  /* What this test looks at is not what a loss of power leaves. */
  ck_assert_int_eq (db_schema (core.db, "PRAGMA synchronous = OFF"), 0);
  ck_assert_int_eq (db_begin (core.db), 0);
  for (unsigned i = 0; i < FOLDERS; ++i) {
    char name[64], token[32];
    const struct cloud_item seen = seen_item (name, token, true);

    folders[i] = catalog_add (core.db, core.blobs, 1, CATALOG_ROOT, &seen);
  }
  ck_assert_int_eq (catalog_commit_revision (core.db, 1), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  store = disk_store_open (NULL);
  ck_assert_ptr_nonnull (store);
  disk = disk_open (NULL, store, &config);
  ck_assert_ptr_nonnull (disk);
  for (unsigned i = 0; i < 20; ++i)
    change_much ();
  ck_assert_int_eq (disk_update (disk), 1);
  guest_view = save_view ("vm1");
  guest_newest = core_query (&core, "SELECT items FROM view");
  pinned.numbers[0] = disk_generation (disk);
  map = disk_map (disk);

  for (long round = 0; round < rounds; ++round) {
    if (round % ROUNDS_OF_A_VIEW == 0) {
      if (follower)
        drop_view (follower);
      follower = save_view ("vm2");
      followed = disk_generation (disk);
    }
    change_much ();
    ck_assert_int_eq (disk_update (disk), 1);
    collect (followed, &pinned);
    if (round == rounds / 5 / ROUNDS_OF_A_VIEW * ROUNDS_OF_A_VIEW - 1)
      measure (early);
  }
  measure (late);
  for (size_t i = 0; i < N (kept) + 1; ++i)
    printf ("%-26s %9lld after a fifth, %9lld at the end\n", i < N (kept) ? kept[i].name : "blocks of folders",
            (long long) early[i], (long long) late[i]);
  fflush (stdout);
  for (size_t i = 0; i < N (kept); ++i)
    ck_assert_msg (late[i] <= early[i] + early[i] / 4 + kept[i].slack, "%s: %lld, and %lld before", kept[i].name,
                   (long long) late[i], (long long) early[i]);
  ck_assert_int_le (late[N (kept)], early[N (kept)] * 2 + 2000);

  /* What is pinned is what it was. */
  again = disk_map_at (disk, pinned.numbers[0]);
  ck_assert_ptr_nonnull (again);
  ck_assert_uint_eq (again->n, map->n);
  ck_assert_int_eq (memcmp (again->extents, map->extents, map->n * sizeof map->extents[0]), 0);
  map_unref (again);
  map_unref (map);

  /* With nobody there, only what is shown is left. */
  drop_view (follower);
  drop_view (guest_view);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (seen_forget (core.db, guest_view), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  for (int i = 0; i < 2; ++i)
    collect (disk_generation (disk), &(struct generations) { 0 });
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE gone <> 0"), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM version WHERE superseded = 1"), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM extent WHERE died < 9223372036854775807"), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM slots WHERE extent NOT IN (SELECT id FROM extent)"), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM cached_chunk WHERE version NOT IN (SELECT id FROM version)"), 0);
  disk_close (disk);
  disk_store_close (store);
  core_close (&core);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("churn");
  TCase *tcase = tcase_create ("long");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 7200);
  tcase_add_test (tcase, churn);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
