/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests push: what the remote is asked for, and what is on record after it answered well, badly, or not at all. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cloud.h"
#include "db.h"
#include "health.h"
#include "pushcore.h"

static struct pushcore p;

static void
setup (void)
{
  pushcore_open (&p, 4);
}

static void
teardown (void)
{
  pushcore_close (&p);
}

static unsigned
asked (enum fake_verb verb, const char *path)
{
  return fakecloud_log (p.core.fake, verb, path, NULL, 0);
}

static unsigned
changes_asked (void)
{
  return asked (FAKE_PUT, NULL) + asked (FAKE_MKDIR, NULL) + asked (FAKE_MOVE, NULL) + asked (FAKE_REMOVE, NULL) +
         asked (FAKE_TOUCH, NULL);
}

/* Everything was sent, the remote is as it should be, and a pull finds nothing to do. */
static void
must_be_in_step (const char *tree)
{
  pushcore_drain (&p);
  pushcore_must_have (&p, tree);
  fakecloud_forget (p.core.fake);
  pushcore_pull (&p);
  ck_assert (!p.result.changed);
  pushcore_drain (&p);
  ck_assert_uint_eq (changes_asked (), 0);
  ck_assert_uint_eq (asked (FAKE_GET, NULL), 0);
  pushcore_must_have (&p, tree);
}

/* ---- one change ---- */

START_TEST (a_new_file)
{
  pushcore_create (&p, "", "f", "hello");
  must_be_in_step ("f=hello");
}
END_TEST

START_TEST (a_new_folder_with_files)
{
  pushcore_pause (&p);
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "e", NULL);
  pushcore_create (&p, "d/e", "f", "in e");
  pushcore_create (&p, "d", "empty", "");
  pushcore_go_on (&p);
  must_be_in_step ("d/ d/e/ d/e/f=in e d/empty=");
}
END_TEST

START_TEST (an_edit)
{
  pushcore_create (&p, "", "f", "one");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_edit (&p, "f", "two!");
  pushcore_drain (&p);
  ck_assert_uint_eq (changes_asked (), 1);
  must_be_in_step ("f=two!");
}
END_TEST

START_TEST (a_move_costs_one_request)
{
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "bytes");
  pushcore_create (&p, "", "to", NULL);
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_move (&p, "d", "to", "D");
  pushcore_drain (&p);
  ck_assert_uint_eq (changes_asked (), 1);
  ck_assert_uint_eq (asked (FAKE_MOVE, "d"), 1);
  must_be_in_step ("to/ to/D/ to/D/f=bytes");
}
END_TEST

START_TEST (a_removal)
{
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "bytes");
  pushcore_drain (&p);
  pushcore_pause (&p);
  pushcore_remove (&p, "d/f");
  pushcore_remove (&p, "d");
  pushcore_go_on (&p);
  must_be_in_step ("");
}
END_TEST

START_TEST (a_touch)
{
  pushcore_create (&p, "", "f", "bytes");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_touch (&p, "f", 1800000000);
  pushcore_drain (&p);
  ck_assert_uint_eq (changes_asked (), 1);
  ck_assert_uint_eq (asked (FAKE_TOUCH, "f"), 1);
  must_be_in_step ("f=bytes");
}
END_TEST

START_TEST (what_was_undone_needs_nothing)
{
  pushcore_create (&p, "", "f", "bytes");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_pause (&p);
  pushcore_create (&p, "", "g", "other");
  pushcore_remove (&p, "g");
  pushcore_move (&p, "f", "", "h");
  pushcore_move (&p, "h", "", "f");
  pushcore_go_on (&p);
  must_be_in_step ("f=bytes");
  ck_assert_uint_eq (changes_asked (), 0);
}
END_TEST

START_TEST (later_edits_merge)
{
  pushcore_pause (&p);
  pushcore_create (&p, "", "f", "one");
  pushcore_edit (&p, "f", "two");
  pushcore_edit (&p, "f", "three");
  pushcore_go_on (&p);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 1);
  must_be_in_step ("f=three");
}
END_TEST

/* ---- names that others have ---- */

START_TEST (swapped_names)
{
  pushcore_create (&p, "", "a", "was a");
  pushcore_create (&p, "", "b", "was b");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_swap (&p, "a", "b");
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_MOVE, NULL), 3);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 0);
  must_be_in_step ("a=was b b=was a");
}
END_TEST

START_TEST (a_chain_of_names_needs_no_detour)
{
  pushcore_create (&p, "", "a", "was a");
  pushcore_create (&p, "", "b", "was b");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_pause (&p);
  pushcore_move (&p, "b", "", "c");
  pushcore_move (&p, "a", "", "b");
  pushcore_create (&p, "", "a", "new a");
  pushcore_go_on (&p);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_MOVE, NULL), 2);
  must_be_in_step ("a=new a b=was a c=was b");
}
END_TEST

START_TEST (a_folder_made_anew_around_its_content)
{
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "bytes");
  pushcore_drain (&p);
  pushcore_pause (&p);
  pushcore_create (&p, "", "tmp", NULL);
  pushcore_move (&p, "d/f", "tmp", "f");
  pushcore_remove (&p, "d");
  pushcore_move (&p, "tmp", "", "d");
  pushcore_go_on (&p);
  fakecloud_forget (p.core.fake);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 0);
  must_be_in_step ("d/ d/f=bytes");
}
END_TEST

START_TEST (parent_and_child_change_places)
{
  pushcore_create (&p, "", "a", NULL);
  pushcore_create (&p, "a", "b", NULL);
  pushcore_create (&p, "a/b", "f", "bytes");
  pushcore_drain (&p);
  pushcore_pause (&p);
  pushcore_move (&p, "a/b", "", "b");
  pushcore_move (&p, "a", "b", "a");
  pushcore_go_on (&p);
  must_be_in_step ("b/ b/a/ b/f=bytes");
}
END_TEST

START_TEST (removed_and_made_again)
{
  pushcore_create (&p, "", "f", "one");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  pushcore_pause (&p);
  pushcore_remove (&p, "f");
  pushcore_create (&p, "", "f", "two");
  pushcore_go_on (&p);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_REMOVE, NULL), 0);
  ck_assert_uint_eq (changes_asked (), 1);
  must_be_in_step ("f=two");
}
END_TEST

/* ---- answers that are lost, late or bad ---- */

/* Each verb, done or not, with each answer after which nobody knows. */
static const enum cloud_result unknown[] = { CLOUD_OFFLINE, CLOUD_BUSY, CLOUD_BAD };

static void
act (enum fake_verb verb)
{
  switch (verb) {
  case FAKE_PUT:
    pushcore_edit (&p, "f", "two");
    break;
  case FAKE_MKDIR:
    pushcore_create (&p, "", "new", NULL);
    break;
  case FAKE_MOVE:
    pushcore_move (&p, "f", "d", "g");
    break;
  case FAKE_REMOVE:
    pushcore_remove (&p, "f");
    break;
  default:
    pushcore_touch (&p, "f", 1800000000);
  }
}

static const char *const after[] = {
  [FAKE_PUT] = "d/ f=two", [FAKE_MKDIR] = "d/ f=one new/", [FAKE_MOVE] = "d/ d/g=one", [FAKE_REMOVE] = "d/",
  [FAKE_TOUCH] = "d/ f=one",
};

/* Bits of _i: verb, answer, done or not, restart or not, token moves or not. */
START_TEST (lost_answers)
{
  const enum fake_verb verb = FAKE_PUT + _i % 5;
  const bool done = _i / 15 % 2, restart = _i / 30 % 2, moves = _i / 60 % 2;
  const struct fake_rule rule = { .verb = verb, .times = 1, .result = unknown[_i / 5 % 3], .done = done };

  fakecloud_set_manners (p.core.fake, _i % 2, NULL, moves);
  pushcore_create (&p, "", "f", "one");
  pushcore_create (&p, "", "d", NULL);
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  fakecloud_rule (p.core.fake, &rule);
  act (verb);
  while (core_query (&p.core, "SELECT count (*) FROM change WHERE attempts > 0") == 0)
    sleep_ms (1);
  if (restart)
    pushcore_restart (&p);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (verb, NULL), done ? 1 : 2);
  ck_assert_uint_eq (fakecloud_stored (p.core.fake, "two"), verb == FAKE_PUT);
  must_be_in_step (after[verb]);
}
END_TEST

START_TEST (answers_that_do_not_tell)
{
  const enum fake_verb verb = FAKE_PUT + _i;
  const struct fake_rule rule = { .verb = verb, .silent = true };

  fakecloud_rule (p.core.fake, &rule);
  pushcore_create (&p, "", "f", "one");
  pushcore_create (&p, "", "d", NULL);
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  act (verb);
  pushcore_drain (&p);
  ck_assert_uint_eq (changes_asked (), 1);
  must_be_in_step (after[verb]);
}
END_TEST

/* Said once, kept, tried again, and nothing else waits for it. */
START_TEST (refusals)
{
  static const enum cloud_result results[] = { CLOUD_DENIED, CLOUD_FULL, CLOUD_REFUSED, CLOUD_LOCAL, CLOUD_BUSY };
  const struct fake_rule rule = { .verb = FAKE_PUT, .path = "bad", .times = 4, .result = results[_i] };

  fakecloud_rule (p.core.fake, &rule);
  pushcore_create (&p, "", "bad", "one");
  pushcore_create (&p, "", "good", "two");
  while (pushcore_left (&p) > 1)
    sleep_ms (1);
  while (said (MSG_ERROR, "/bad") == 0)
    sleep_ms (1);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, "bad"), 5);
  ck_assert_uint_eq (said (MSG_ERROR, "/bad"), 1);
  ck_assert_uint_eq (said (MSG_ERROR, "vm1"), 1);
  must_be_in_step ("bad=one good=two");
}
END_TEST

START_TEST (a_server_that_keeps_less)
{
  const struct fake_rule rule = { .verb = FAKE_PUT, .times = 2, .keeps = 3 };

  fakecloud_rule (p.core.fake, &rule);
  pushcore_create (&p, "", "f", "nine bytes");
  pushcore_drain (&p);
  ck_assert_uint_eq (said (MSG_ERROR, "kept 3 of its 10 bytes"), 1);
  must_be_in_step ("f=nine bytes");
}
END_TEST

START_TEST (a_remote_that_keeps_no_times)
{
  const struct fake_rule rule = { .verb = FAKE_TOUCH, .result = CLOUD_REFUSED };

  pushcore_create (&p, "", "f", "one");
  pushcore_drain (&p);
  fakecloud_rule (p.core.fake, &rule);
  pushcore_touch (&p, "f", 1800000000);
  must_be_in_step ("f=one");
  ck_assert_uint_eq (said (MSG_ERROR, ""), 0);
}
END_TEST

/* ---- somebody else ---- */

START_TEST (another_version_appears_right_before)
{
  const struct fake_rule rule = { .verb = FAKE_PUT, .path = "f.txt", .times = 1, .first = "theirs" };
  char *remote;

  pushcore_create (&p, "", "f.txt", "one");
  if (_i) {                    /* an edit; else the file is new on both sides */
    pushcore_drain (&p);
    fakecloud_rule (p.core.fake, &rule);
    pushcore_edit (&p, "f.txt", "ours");
  }
  else {
    pushcore_drain (&p);
    pushcore_remove (&p, "f.txt");
    pushcore_drain (&p);
    fakecloud_rule (p.core.fake, &rule);
    pushcore_create (&p, "", "f.txt", "ours");
  }
  pushcore_drain (&p);
  remote = pushcore_remote (&p);
  ck_assert_ptr_nonnull (strstr (remote, "f (conflicted copy "));
  ck_assert_ptr_nonnull (strstr (remote, " vm1).txt=ours"));
  ck_assert_ptr_nonnull (strstr (remote, "f.txt=theirs"));
  must_be_in_step (remote);
  free (remote);
}
END_TEST

START_TEST (the_same_bytes_are_no_conflict)
{
  const struct fake_rule rule = { .verb = FAKE_PUT, .path = "f", .times = 1, .first = "same!" };

  fakecloud_set_manners (p.core.fake, false, _i == 0 ? NULL : _i == 1 ? "SHA1" : "MD5", false);
  fakecloud_rule (p.core.fake, &rule);
  pushcore_create (&p, "", "f", "same!");
  pushcore_drain (&p);
  must_be_in_step ("f=same!");
  ck_assert_uint_eq (fakecloud_stored (p.core.fake, "same!"), 0);
}
END_TEST

START_TEST (a_folder_with_more_in_it_than_was_known)
{
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "known");
  pushcore_drain (&p);
  fakecloud_write (p.core.fake, "d/g", "unknown", 7);
  pushcore_pause (&p);
  pushcore_remove (&p, "d/f");
  pushcore_remove (&p, "d");
  pushcore_go_on (&p);
  pushcore_drain (&p);
  pushcore_pull (&p);
  must_be_in_step ("d/ d/g=unknown");
}
END_TEST

START_TEST (a_folder_that_vanished_is_made_again_for_an_edit)
{
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "one");
  pushcore_create (&p, "d", "g", "goes");
  pushcore_drain (&p);
  fakecloud_remove (p.core.fake, "d");
  pushcore_edit (&p, "d/f", "two");
  pushcore_create (&p, "d", "h", "three");
  pushcore_drain (&p);
  pushcore_pull (&p);
  must_be_in_step ("d/ d/f=two d/h=three");
}
END_TEST

START_TEST (an_edit_wins_over_a_removal)
{
  pushcore_create (&p, "", "f", "one");
  pushcore_create (&p, "", "g", "one");
  pushcore_drain (&p);
  pushcore_pause (&p);
  pushcore_edit (&p, "f", "two");
  pushcore_remove (&p, "g");
  fakecloud_remove (p.core.fake, "f");
  fakecloud_write (p.core.fake, "g", "theirs", 6);
  pushcore_go_on (&p);
  pushcore_drain (&p);
  must_be_in_step ("f=two g=theirs");
}
END_TEST

/* ---- when ---- */

START_TEST (removals_that_are_held)
{
  uint64_t n = 0;

  pushcore_create (&p, "", "f", "one");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  p.held = true;
  pushcore_remove (&p, "f");
  p.held = false;
  pushcore_create (&p, "", "g", "two");
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_REMOVE, NULL), 0);
  ck_assert (fakecloud_has (p.core.fake, "f"));
  ck_assert_int_eq (db_begin (p.core.db), 0);
  ck_assert_int_eq (db_end (p.core.db, journal_approve (p.core.db, &n)), 0);
  ck_assert_uint_eq (n, 1);
  push_ring (p.push);
  must_be_in_step ("g=two");
}
END_TEST

START_TEST (nothing_is_asked_of_a_remote_that_is_away)
{
  health_report (p.core.health, CLOUD_OFFLINE, "away");
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f", "one");
  pushcore_edit (&p, "d/f", "two");
  sleep_ms (50);
  ck_assert_uint_eq (changes_asked (), 0);
  pushcore_restart (&p);
  health_report (p.core.health, CLOUD_OFFLINE, "away");
  health_report (p.core.health, CLOUD_OK, NULL);
  push_ring (p.push);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 1);
  must_be_in_step ("d/ d/f=two");
}
END_TEST

START_TEST (an_edit_while_the_one_before_is_under_way)
{
  const struct fake_rule rule = { .verb = FAKE_PUT, .times = 1, .hold = true };

  fakecloud_rule (p.core.fake, &rule);
  pushcore_create (&p, "", "f", "one");
  while (asked (FAKE_PUT, NULL) == 0)
    sleep_ms (1);
  pushcore_edit (&p, "f", "two");
  pushcore_edit (&p, "f", "three");
  fakecloud_release (p.core.fake);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 2);
  ck_assert_uint_eq (fakecloud_stored (p.core.fake, "one"), 1);
  must_be_in_step ("f=three");
}
END_TEST

/* A listing that was made while a put was under way shows the old file, or the new one: neither is news. */
START_TEST (a_listing_that_crosses_a_put)
{
  const struct fake_rule rule = { .verb = FAKE_LIST, .path = "", .times = 1, .delay_ms = 100 };

  pushcore_create (&p, "", "f", "one");
  pushcore_drain (&p);
  fakecloud_forget (p.core.fake);
  fakecloud_rule (p.core.fake, &rule);
  pushcore_edit (&p, "f", "two");
  pushcore_pull (&p);
  must_be_in_step ("f=two");
}
END_TEST

START_TEST (many_side_by_side)
{
  pushcore_pause (&p);
  for (unsigned i = 0; i < 200; ++i) {
    char name[16];

    snprintf (name, sizeof name, "f%u", i);
    pushcore_create (&p, "", name, name);
  }
  pushcore_go_on (&p);
  pushcore_drain (&p);
  ck_assert_uint_eq (asked (FAKE_PUT, NULL), 200);
  pushcore_pull (&p);
  ck_assert (!p.result.changed);
}
END_TEST

#define T(test) tcase_add_test (tcase, test)

int
main (void)
{
  Suite *suite = suite_create ("push");
  TCase *tcase = tcase_create ("one change");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  T (a_new_file);
  T (a_new_folder_with_files);
  T (an_edit);
  T (a_move_costs_one_request);
  T (a_removal);
  T (a_touch);
  T (what_was_undone_needs_nothing);
  T (later_edits_merge);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("names");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  T (swapped_names);
  T (a_chain_of_names_needs_no_detour);
  T (a_folder_made_anew_around_its_content);
  T (parent_and_child_change_places);
  T (removed_and_made_again);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("answers");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  tcase_add_loop_test (tcase, lost_answers, 0, 120);
  tcase_add_loop_test (tcase, answers_that_do_not_tell, 0, 5);
  tcase_add_loop_test (tcase, refusals, 0, 5);
  T (a_server_that_keeps_less);
  T (a_remote_that_keeps_no_times);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("somebody else");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  tcase_add_loop_test (tcase, another_version_appears_right_before, 0, 2);
  tcase_add_loop_test (tcase, the_same_bytes_are_no_conflict, 0, 3);
  T (a_folder_with_more_in_it_than_was_known);
  T (a_folder_that_vanished_is_made_again_for_an_edit);
  T (an_edit_wins_over_a_removal);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("when");
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  T (removals_that_are_held);
  T (nothing_is_asked_of_a_remote_that_is_away);
  T (an_edit_while_the_one_before_is_under_way);
  T (a_listing_that_crosses_a_put);
  T (many_side_by_side);
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
