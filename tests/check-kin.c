/* SPDX-License-Identifier: BSD-3-Clause */
/* Versions that stand on others: a guest changes a large file in places, of which little or nothing is here. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "health.h"
#include "kin.h"
#include "pushcore.h"

#define SIZE (20 * 65536 + 777)

static struct pushcore p;

/* The view: its disk shows one version as long as it is mounted; what was written since, and what the file is. */
static int64_t shown;
static unsigned char model[SIZE], below[SIZE];
static struct ranges written;

static void
setup (void)
{
  pushcore_open (&p, 4);
  core_add (&p.core, "f", SIZE);
  core_add (&p.core, "other", 100);
  fakecloud_set_ranges (p.core.fake, true);
  fakecloud_fill (fakecloud_content (p.core.fake, "f"), model, SIZE, 0);
  memcpy (below, model, SIZE);
  shown = core_version (&p.core, "f");
  fakecloud_forget (p.core.fake);
}

static void
teardown (void)
{
  ranges_free (&written);
  pushcore_close (&p);
}

/* The guest writes in places, and the interpreter stages them. */
static void
write_places (const struct cloud_range *places, size_t n, unsigned char byte)
{
  const int64_t item = core_item (&p.core, "f"), known = core_version (&p.core, "f");
  const struct timespec mtime = { .tv_sec = p.tick += 2 };
  struct kin_stage stage = { .origin = shown, .known = known, .bits = calloc (1, sizeof *stage.bits) };
  struct pushcore_change of;

  for (size_t i = 0; i < n; ++i) {
    memset (model + places[i].offset, byte, places[i].length);
    ck_assert_int_eq (ranges_add (&written, places[i].offset, places[i].length), 0);
    ck_assert_int_eq (ranges_add (&stage.changed, places[i].offset, places[i].length), 0);
  }
  ck_assert_int_eq (ranges_add_all (&stage.own, &written), 0);
  pushcore_begin (&p, &of);
  of.size = SIZE;
  of.position = blobs_alloc (p.core.blobs, SIZE);
  of.bits = stage.bits;
  for (size_t i = 0; i < stage.own.n; ++i)
    ck_assert_int_eq (blobs_write (p.core.blobs, model + stage.own.list[i].offset, stage.own.list[i].length,
                                   of.position + stage.own.list[i].offset), 0);
  ck_assert_int_eq (blobs_sync (p.core.blobs), 0);
  of.staged = journal_stage_over (&of.journal, SIZE, of.position, &stage);
  ck_assert_int_gt (of.staged, 0);
  ck_assert_int_gt (journal_edit (&of.journal, item, known, of.staged, &mtime), 0);
  pushcore_end (&p, &of);
  kin_stage_free (&stage);
}

static void
write_at (uint64_t offset, uint64_t length, unsigned char byte)
{
  const struct cloud_range place = { offset, length };

  write_places (&place, 1, byte);
}

static struct cache_file *
file_of (int64_t version)
{
  uint64_t size, position;

  db_read_begin (p.core.db);
  ck_assert_int_eq (catalog_version_run (p.core.db, version, &size, &position), 1);
  db_read_end (p.core.db);
  return cache_file (p.core.cache, version, size, position);
}

static void
must_read (int64_t version, const unsigned char *bytes, uint64_t offset, uint64_t n)
{
  static unsigned char buf[SIZE];
  int r = -1;

  /* Nor is it known what the remote has while an answer is out. */
  if (p.paused && core_query (&p.core, "SELECT count(*) FROM change WHERE sent <> 0"))
    pushcore_drain (&p);
  /* The engine would find out that it is back; a lost answer may make it away just now. */
  for (unsigned tries = 0; tries < 20 && r == -1; ++tries) {
    /* It may be back between the failure and this look. */
    const unsigned failed = said (MSG_ERROR, "cannot be reached") + said (MSG_ERROR, "was told to fail");

    if (health_is_away (p.core.health))
      health_report (p.core.health, CLOUD_OK, NULL);
    r = cache_read (p.core.cache, file_of (version), buf, n, offset);
    if (r == -1 && !health_is_away (p.core.health) &&
        said (MSG_ERROR, "cannot be reached") + said (MSG_ERROR, "was told to fail") == failed)
      break;
  }
  ck_assert_int_eq (r, 0);
  ck_assert_int_eq (memcmp (buf, bytes + offset, n), 0);
}

static void
remote_must_be_model (void)
{
  size_t n;
  CLEANUP_FREE char *is = fakecloud_read (p.core.fake, "f", &n);

  ck_assert_uint_eq (n, SIZE);
  ck_assert_int_eq (memcmp (is, model, SIZE), 0);
}

static unsigned
asked (enum fake_verb verb)
{
  return fakecloud_log (p.core.fake, verb, "f", NULL, 0);
}

/* What the disk shows below what the guest wrote can be read as before. */
static void
below_must_be_there (void)
{
  for (uint64_t at = 0; at < SIZE;) {
    bool inside;
    const uint64_t n = ranges_run (&written, SIZE - at, at, &inside);

    if (!inside)
      must_read (shown, below, at, n);
    at += n;
  }
}

START_TEST (a_change_alone_travels)
{
  struct fake_request put;

  write_at (70000, 4096, 'a');
  must_read (core_version (&p.core, "f"), model, 70000, 4096);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_GET), 0);
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, "f", &put, 1), 1);
  ck_assert_uint_eq (put.sent, 4096);
  remote_must_be_model ();
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  below_must_be_there ();
  /* Sectors beside what was written, in the same block. */
  must_read (shown, below, 65536, 512);
  fakecloud_forget (p.core.fake);
  write_at (70000, 100, 'b');
  pushcore_drain (&p);
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, "f", &put, 1), 1);
  ck_assert_uint_eq (put.sent, 100);
  remote_must_be_model ();
  below_must_be_there ();
}
END_TEST

/* Changes that wait merge. */
START_TEST (several_changes)
{
  struct fake_request put;

  pushcore_pause (&p);
  write_at (10, 10, 'a');
  write_at (SIZE - 10, 10, 'b');
  if (_i == 1)
    pushcore_restart (&p), pushcore_pause (&p);
  write_at (15, 10, 'c');
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  pushcore_go_on (&p);
  pushcore_drain (&p);
  /* A start sends what waits at once. */
  if (_i == 0) {
    ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, "f", &put, 1), 1);
    ck_assert_uint_eq (put.sent, 25);
  }
  remote_must_be_model ();
  below_must_be_there ();
}
END_TEST

START_TEST (a_change_while_another_is_under_way)
{
  const struct fake_rule hold = { .verb = FAKE_PUT, .path = "f", .hold = true, .times = 1 };
  struct fake_request puts[2];

  fakecloud_rule (p.core.fake, &hold);
  write_at (10, 10, 'a');
  while (asked (FAKE_PUT) == 0)
    sleep_ms (1);
  write_at (1000, 20, 'b');
  write_at (2000, 20, 'c');
  fakecloud_release (p.core.fake);
  pushcore_drain (&p);
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, "f", puts, 2), 2);
  ck_assert_uint_eq (puts[0].sent, 10);
  ck_assert_uint_eq (puts[1].sent, 40);
  remote_must_be_model ();
  below_must_be_there ();
}
END_TEST

/* A remote that takes whole files only: the rest is fetched first. */
START_TEST (a_remote_that_wants_all)
{
  struct fake_request put;

  fakecloud_set_ranges (p.core.fake, false);
  write_at (100000, 4096, 'a');
  pushcore_drain (&p);
  remote_must_be_model ();
  ck_assert_uint_gt (asked (FAKE_GET), 0);
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, "f", &put, 1), 2);
  fakecloud_forget (p.core.fake);
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  ck_assert_uint_eq (asked (FAKE_GET), 0);
}
END_TEST

/* Done or not, the answer never came. */
START_TEST (a_lost_answer)
{
  const struct fake_rule lost = { .verb = FAKE_PUT, .path = "f", .result = CLOUD_OFFLINE, .done = _i == 0, .times = 1 };

  fakecloud_rule (p.core.fake, &lost);
  write_at (100000, 4096, 'a');
  if (_i == 2) {
    while (asked (FAKE_PUT) == 0)
      sleep_ms (1);
    pushcore_restart (&p);
  }
  pushcore_drain (&p);
  remote_must_be_model ();
  ck_assert_uint_eq (asked (FAKE_PUT), _i == 0 ? 1 : 2);
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  below_must_be_there ();
}
END_TEST

/* Somebody else replaced the file before the change was sent: the rest of ours is nowhere any more.  It waits, and is said once;
 * nothing wrong is ever sent, and nothing else waits for it. */
START_TEST (the_rest_is_gone)
{
  CLEANUP_FREE char *remote = NULL;
  unsigned char buf[100];
  int64_t ours;

  pushcore_pause (&p);
  write_at (100000, 4096, 'a');
  ours = core_version (&p.core, "f");
  fakecloud_write (p.core.fake, "f", "theirs", 6);
  if (_i == 0)
    pushcore_pull (&p);
  pushcore_go_on (&p);
  while (said (MSG_ERROR, "unchanged part is gone") == 0) {
    sleep_ms (5);
    pushcore_pull (&p);
  }
  pushcore_create (&p, "", "new", "bytes");
  while (fakecloud_has (p.core.fake, "new") == false)
    sleep_ms (5);
  remote = pushcore_remote (&p);
  ck_assert_ptr_null (strstr (remote, "conflict"));
  ck_assert_ptr_nonnull (strstr (remote, "f=theirs"));
  must_read (ours, model, 100000, 4096);
  ck_assert_int_eq (cache_read (p.core.cache, file_of (ours), buf, 100, 0), -1);
  pushcore_restart (&p);
  must_read (ours, model, 100000, 4096);
  ck_assert_int_eq (cache_read (p.core.cache, file_of (ours), buf, 100, 0), -1);
  ck_assert_uint_eq (pushcore_left (&p), 1);
}
END_TEST

/* What a loss of power, or a kill, leaves is swept: but not what is nowhere else. */
START_TEST (a_start_keeps_own_bytes)
{
  pushcore_pause (&p);
  write_at (100, 200, 'a');
  write_at (SIZE / 2, 70000, 'b');
  for (int i = 0; i < 3; ++i) {
    pushcore_restart (&p);
    pushcore_pause (&p);
    must_read (core_version (&p.core, "f"), model, 100, 200);
    must_read (core_version (&p.core, "f"), model, SIZE / 2, 70000);
  }
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  pushcore_go_on (&p);
  pushcore_drain (&p);
  remote_must_be_model ();
}
END_TEST

static bool
has_own (struct cache_file *file)
{
  return cache_has_own (p.core.cache, file, 70000, 4096);
}

static atomic_bool no_requests;

static void *
wait_for_requests (void *opaque)
{
  cache_wait_background (p.core.cache, 1);
  atomic_store (&no_requests, true);
  return opaque;
}

/* What a version has of its own is compared with what is written later, also when the remote has it; but not while and after
 * something else was written there, nor when nobody knows that any more. */
START_TEST (own_bytes_stay)
{
  const struct fake_rule hold = { .verb = FAKE_GET, .path = "f", .hold = true, .times = 1, .bytes_before = 10000,
                                  .result = _i == 0 ? CLOUD_OK : CLOUD_DENIED };
  struct cache_file *file;
  pthread_t waiter;

  pushcore_pause (&p);
  write_at (70000, 4096, 'a');
  ck_assert (has_own (file_of (core_version (&p.core, "f"))));
  if (_i == 2) {
    pushcore_restart (&p);
    ck_assert (has_own (file_of (core_version (&p.core, "f"))));
    pushcore_drain (&p);
    pushcore_restart (&p);
    ck_assert (!has_own (file_of (core_version (&p.core, "f"))));
    return;
  }
  pushcore_go_on (&p);
  pushcore_drain (&p);
  file = file_of (core_version (&p.core, "f"));
  ck_assert (has_own (file) && !cache_has (file, 70000, 4096));
  fakecloud_rule (p.core.fake, &hold);
  ck_assert_int_eq (cache_prefetch (p.core.cache, file, 70000, 10), 1);
  while (asked (FAKE_GET) == 0)
    sleep_ms (1);
  ck_assert (!has_own (file));
  /* It may be that it does not wait yet. */
  ck_assert_int_eq (pthread_create (&waiter, NULL, wait_for_requests, NULL), 0);
  while (!atomic_load (&no_requests)) {
    fakecloud_release (p.core.fake);
    sleep_ms (1);
  }
  ck_assert_int_eq (pthread_join (waiter, NULL), 0);
  ck_assert (has_own (file) == (_i == 0));
}
END_TEST

/* The guest's disk moves on to what is newest. */
static void
mount_anew (void)
{
  shown = core_version (&p.core, "f");
  memcpy (below, model, SIZE);
  ranges_free (&written);
}

START_TEST (anything_in_any_order)
{
  uint64_t seed = _i + 1;

  for (unsigned i = 0; i < 40; ++i) {
    const uint64_t offset = random_below (&seed, SIZE - 70000);
    struct fake_rule lost = { .verb = FAKE_PUT, .path = "f", .result = CLOUD_OFFLINE, .times = 1 };

    switch (random_below (&seed, 12)) {
    case 0:
      pushcore_restart (&p);
      break;
    case 1:
      if (p.paused)
        pushcore_go_on (&p);
      else
        pushcore_pause (&p);
      break;
    case 2:
      fakecloud_set_ranges (p.core.fake, random_below (&seed, 2));
      break;
    case 3:
      pushcore_drain (&p);
      remote_must_be_model ();
      if (random_below (&seed, 2))
        mount_anew ();
      break;
    case 4:
      lost.done = random_below (&seed, 2);
      fakecloud_rule (p.core.fake, &lost);
      break;
    case 5:
      must_read (core_version (&p.core, "f"), model, offset, 70000);
      break;
    case 6:
      must_read (core_version (&p.core, "f"), model, offset, 700);
      break;
    case 7:
      below_must_be_there ();
      break;
    default:
      write_at (offset, 1 + random_below (&seed, random_below (&seed, 2) ? 70000 : 600), 'a' + i % 26);
    }
    ck_assert_ptr_null (fakecloud_broken (p.core.fake));
  }
  pushcore_drain (&p);
  remote_must_be_model ();
  must_read (core_version (&p.core, "f"), model, 0, SIZE);
  below_must_be_there ();
}
END_TEST

/* Two views changed the same file while push rested: the second one's version is kept beside it, and its unchanged part is only where
 * the first one's version is to replace it.  Or the file is to go. */
START_TEST (what_stands_on_it_goes_first)
{
  const int64_t item = core_item (&p.core, "f");
  const struct timespec mtime = { .tv_sec = 77 };
  struct kin_stage stage = { .origin = shown, .known = shown, .bits = calloc (1, sizeof *stage.bits) };
  CLEANUP_FREE char *remote = NULL;
  struct pushcore_change of;
  unsigned char *theirs = malloc (SIZE), *is = malloc (SIZE);
  int64_t other;

  memcpy (theirs, model, SIZE);
  memset (theirs + 5000, 'z', 1000);
  pushcore_pause (&p);
  if (_i == 0)
    write_at (1, SIZE - 200000, 'a');
  ck_assert_int_eq (ranges_add (&stage.own, 5000, 1000), 0);
  ck_assert_int_eq (ranges_add (&stage.changed, 5000, 1000), 0);
  pushcore_begin (&p, &of);
  of.size = SIZE;
  of.position = blobs_alloc (p.core.blobs, SIZE);
  of.bits = stage.bits;
  ck_assert_int_eq (blobs_write (p.core.blobs, theirs + 5000, 1000, of.position + 5000), 0);
  of.staged = journal_stage_over (&of.journal, SIZE, of.position, &stage);
  other = _i == 0 ? journal_edit (&of.journal, item, shown, of.staged, &mtime)
                  : journal_create (&of.journal, CATALOG_ROOT, "g", false, of.staged, &mtime);
  ck_assert_int_gt (other, 0);
  ck_assert_int_ne (other, item);
  if (_i == 1)
    ck_assert_int_eq (journal_remove (&of.journal, item, shown), 0);
  pushcore_end (&p, &of);
  must_read (of.staged, theirs, 5000, 1000);
  pushcore_go_on (&p);
  pushcore_drain (&p);
  if (_i == 0)
    remote_must_be_model ();
  ck_assert (fakecloud_has (p.core.fake, "f") == (_i == 0));
  ck_assert_uint_eq (said (MSG_ERROR, "unchanged part is gone"), 0);
  must_read (of.staged, theirs, 0, SIZE);
  kin_stage_free (&stage);
  free (theirs);
  free (is);
}
END_TEST

/* Somebody else changed the file; what our guest wrote is what was there before, of which nothing was here.  All that can be compared is
 * the same, but theirs is not ours: it must not be taken for the base of what is written next. */
START_TEST (a_part_that_is_the_same)
{
  CLEANUP_FREE unsigned char *theirs = malloc (SIZE);
  CLEANUP_FREE char *is = NULL;
  size_t n;

  pushcore_pause (&p);
  memcpy (theirs, model, SIZE);
  write_at (100000, 4096, 'a');
  memcpy (theirs + 100000, model + 100000, 4096);
  memset (theirs + 700000, 'T', 5000);
  fakecloud_write (p.core.fake, "f", theirs, SIZE);
  pushcore_pull (&p);
  pushcore_go_on (&p);
  while (core_query (&p.core, "SELECT count(*) FROM change WHERE sent <> 0"))
    sleep_ms (5);
  pushcore_pull (&p);
  if (core_query (&p.core, "SELECT count(*) FROM change") == 0) {
    write_at (10, 10, 'b');
    pushcore_drain (&p);
  }
  is = fakecloud_read (p.core.fake, "f", &n);
  ck_assert_uint_eq (n, SIZE);
  /* Either is right; a mixture is not. */
  ck_assert (memcmp (is, theirs, SIZE) == 0 || memcmp (is, model, SIZE) == 0);
}
END_TEST

#define T(name) tcase_add_test (tcase, name)

/* An argument: that one alone of the random runs. */
int
main (int argc, char **argv)
{
  /* Under valgrind each takes seconds. */
  const int runs = getenv ("CLOUDSHARE_VALGRIND") ? 3 : 40;
  const int first = argc > 1 ? atoi (argv[1]) : 0, end = argc > 1 ? first + 1 : runs;
  Suite *suite = suite_create ("kin");
  TCase *tcase = tcase_create ("kin");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 30);
  T (a_change_alone_travels);
  tcase_add_loop_test (tcase, several_changes, 0, 2);
  T (a_change_while_another_is_under_way);
  T (a_remote_that_wants_all);
  tcase_add_loop_test (tcase, a_lost_answer, 0, 3);
  tcase_add_loop_test (tcase, the_rest_is_gone, 0, 2);
  T (a_start_keeps_own_bytes);
  tcase_add_loop_test (tcase, own_bytes_stay, 0, 3);
  tcase_add_loop_test (tcase, what_stands_on_it_goes_first, 0, 2);
  T (a_part_that_is_the_same);
  tcase_add_loop_test (tcase, anything_in_any_order, first, end);
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
