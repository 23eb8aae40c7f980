/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the journal: what views change, where the catalog has become another meanwhile.  The remote hears of none of
 * it, but at the end. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "pushcore.h"

static struct pushcore p;

static void
setup (void)
{
  pushcore_open (&p, 4);
  pushcore_create (&p, "", "d", NULL);
  pushcore_create (&p, "d", "f.txt", "one");
  pushcore_create (&p, "", "g", "two");
  pushcore_drain (&p);
  pushcore_pause (&p);
}

static void
teardown (void)
{
  pushcore_close (&p);
}

/* The local tree, with "(C)" for the mark of conflicted copies. */
static void
must_be (const char *tree)
{
  CLEANUP_FREE char *local = pushcore_local (&p), *text = calloc (1, strlen (local) + 1);
  char *to = text;

  for (const char *from = local; *from;) {
    if (strncmp (from, "(conflicted copy ", 17) == 0) {
      to = stpcpy (to, "(C)");
      from = strchr (from, ')') + 1;
    }
    else
      *to++ = *from++;
  }
  ck_assert_str_eq (text, tree);
}

static unsigned
rows (void)
{
  return core_query (&p.core, "SELECT count (*) FROM change");
}

/* At the end everything is told, and both sides are the same. */
static void
ends_well (void)
{
  CLEANUP_FREE char *local = pushcore_local (&p), *remote = NULL;

  pushcore_drain (&p);
  pushcore_pull (&p);
  ck_assert_uint_eq (rows (), 0);
  remote = pushcore_remote (&p);
  ck_assert_str_eq (remote, local);
}

/* ---- edits ---- */

START_TEST (edit_of_what_was_known)
{
  const int64_t item = core_item (&p.core, "g");

  ck_assert_int_eq (pushcore_edit (&p, "g", "2"), item);
  ck_assert_int_eq (pushcore_edit (&p, "g", "22"), item);
  ck_assert_uint_eq (rows (), 1);
  must_be ("d/ d/f.txt=one g=22");
  ends_well ();
}
END_TEST

START_TEST (edit_of_what_another_view_changed)
{
  const int64_t item = core_item (&p.core, "d/f.txt");
  int64_t was = core_version (&p.core, "d/f.txt"), mine;

  pushcore_edit (&p, "d/f.txt", "of vm1");
  p.view = "vm2/disk";
  mine = pushcore_edit_known (&p, item, was, "of vm2");
  ck_assert_int_ne (mine, item);
  must_be ("d/ d/f (C).txt=of vm2 d/f.txt=of vm1 g=two");
  ck_assert_uint_eq (said (MSG_NOTICE, "vm2"), 1);
  /* From then on that is the file that it knows. */
  was = core_query (&p.core, "SELECT max (id) FROM version");
  ck_assert_int_eq (pushcore_edit_known (&p, mine, was, "more of vm2"), mine);
  must_be ("d/ d/f (C).txt=more of vm2 d/f.txt=of vm1 g=two");
  ends_well ();
}
END_TEST

START_TEST (the_same_edit_twice)
{
  const int64_t item = core_item (&p.core, "g"), was = core_version (&p.core, "g");

  pushcore_edit (&p, "g", "same");
  ck_assert_int_eq (pushcore_edit_known (&p, item, was, "same"), item);
  must_be ("d/ d/f.txt=one g=same");
  ends_well ();
}
END_TEST

START_TEST (edit_with_the_bytes_that_it_had)
{
  pushcore_edit (&p, "g", "two");
  pushcore_go_on (&p);
  fakecloud_forget (p.core.fake);
  pushcore_drain (&p);
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_PUT, NULL, NULL, 0), 0);
  must_be ("d/ d/f.txt=one g=two");
  ends_well ();
}
END_TEST

START_TEST (edit_of_what_is_gone_with_its_folder)
{
  const int64_t item = core_item (&p.core, "d/f.txt"), was = core_version (&p.core, "d/f.txt");

  pushcore_remove (&p, "d/f.txt");
  pushcore_remove (&p, "d");
  must_be ("g=two");
  ck_assert_int_eq (pushcore_edit_known (&p, item, was, "edit"), item);
  must_be ("d/ d/f.txt=edit g=two");
  ends_well ();
}
END_TEST

START_TEST (edit_of_what_the_remote_removed_with_its_folder)
{
  const int64_t item = core_item (&p.core, "d/f.txt"), was = core_version (&p.core, "d/f.txt");

  fakecloud_remove (p.core.fake, "d");
  pushcore_pull (&p);
  must_be ("g=two");
  ck_assert_int_eq (pushcore_edit_known (&p, item, was, "edit"), item);
  must_be ("d/ d/f.txt=edit g=two");
  ends_well ();
}
END_TEST

START_TEST (edit_of_what_nobody_knows)
{
  pushcore_edit_known (&p, 99999, 88888, "lost and found");
  must_be ("d/ d/f.txt=one g=two recovered (C)=lost and found");
  ends_well ();
}
END_TEST

/* ---- creations ---- */

START_TEST (a_folder_that_is_there)
{
  ck_assert_int_eq (pushcore_create (&p, "", "d", NULL), core_item (&p.core, "d"));
  ck_assert_uint_eq (rows (), 0);
}
END_TEST

START_TEST (a_file_that_is_there)
{
  ck_assert_int_eq (pushcore_create (&p, "", "g", "two"), core_item (&p.core, "g"));
  ck_assert_uint_eq (rows (), 0);
  ck_assert_int_ne (pushcore_create (&p, "", "g", "else"), core_item (&p.core, "g"));
  must_be ("d/ d/f.txt=one g (C)=else g=two");
  ends_well ();
}
END_TEST

START_TEST (a_file_where_a_folder_is)
{
  pushcore_create (&p, "", "d", "file");
  pushcore_create (&p, "", "g", NULL);
  must_be ("d (C)=file d/ d/f.txt=one g (C)/ g=two");
  ends_well ();
}
END_TEST

START_TEST (a_file_in_a_folder_that_is_gone)
{
  const int64_t folder = core_item (&p.core, "d");
  const struct timespec mtime = { .tv_sec = 1700000000 };
  struct pushcore_change of;

  if (_i == 0) {
    pushcore_remove (&p, "d/f.txt");
    pushcore_remove (&p, "d");
  }
  else {
    fakecloud_remove (p.core.fake, "d");
    pushcore_pull (&p);
  }
  must_be ("g=two");
  pushcore_begin (&p, &of);
  pushcore_stage (&p, &of, "new");
  ck_assert_int_gt (journal_create (&of.journal, _i < 2 ? folder : 99999, "n", false, of.staged, &mtime), 0);
  pushcore_end (&p, &of);
  must_be (_i < 2 ? "d/ d/n=new g=two" : "g=two n=new");
  ends_well ();
}
END_TEST

/* ---- moves ---- */

START_TEST (move_of_what_another_view_moved)
{
  const int64_t item = core_item (&p.core, "g"), d = core_item (&p.core, "d");
  struct pushcore_change of;

  pushcore_move (&p, "g", "d", "g1");
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, item, CATALOG_ROOT, "g", CATALOG_ROOT, "g2"), 0);
  pushcore_end (&p, &of);
  must_be ("d/ d/f.txt=one d/g1=two");
  pushcore_remove (&p, "d/g1");
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, item, d, "g1", CATALOG_ROOT, "g2"), 0);
  pushcore_end (&p, &of);
  must_be ("d/ d/f.txt=one");
  ends_well ();
}
END_TEST

START_TEST (move_to_a_name_that_is_taken)
{
  pushcore_move (&p, "g", "d", "f.txt");
  must_be ("d/ d/f (C).txt=two d/f.txt=one");
  ends_well ();
}
END_TEST

START_TEST (move_below_itself)
{
  const int64_t d = core_item (&p.core, "d"), e = pushcore_create (&p, "d", "e", NULL);
  struct pushcore_change of;

  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, d, CATALOG_ROOT, "d", e, "d"), 0);
  pushcore_end (&p, &of);
  must_be ("d/ d/e/ d/f.txt=one g=two");
  ends_well ();
}
END_TEST

START_TEST (three_names_go_round)
{
  const int64_t a = pushcore_create (&p, "", "a", "1"), b = pushcore_create (&p, "", "b", "2"),
                c = pushcore_create (&p, "", "c", "3");
  struct pushcore_change of;

  pushcore_drain (&p);
  pushcore_pause (&p);
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, a, CATALOG_ROOT, "a", CATALOG_ROOT, "b"), 0);
  ck_assert_int_eq (journal_move (&of.journal, b, CATALOG_ROOT, "b", CATALOG_ROOT, "c"), 0);
  ck_assert_int_eq (journal_move (&of.journal, c, CATALOG_ROOT, "c", CATALOG_ROOT, "a"), 0);
  pushcore_end (&p, &of);
  must_be ("a=3 b=1 c=2 d/ d/f.txt=one g=two");
  fakecloud_forget (p.core.fake);
  ends_well ();
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_MOVE, NULL, NULL, 0), 4);
}
END_TEST

/* A name that is wished for and then given up again in the same transaction. */
START_TEST (moved_twice_at_once)
{
  const int64_t item = core_item (&p.core, "g"), d = core_item (&p.core, "d");
  struct pushcore_change of;

  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, item, CATALOG_ROOT, "g", d, "f.txt"), 0);
  ck_assert_int_eq (journal_move (&of.journal, item, d, "f.txt", CATALOG_ROOT, "h"), 0);
  pushcore_end (&p, &of);
  must_be ("d/ d/f.txt=one h=two");
  ends_well ();
}
END_TEST

/* ---- removals ---- */

START_TEST (removal_of_what_another_view_changed)
{
  const int64_t item = core_item (&p.core, "g"), was = core_version (&p.core, "g");

  pushcore_edit (&p, "g", "22");
  pushcore_remove_known (&p, item, was);
  must_be ("d/ d/f.txt=one g=22");
  ends_well ();
}
END_TEST

/* Folders that change places: a folder goes into one that is below it as long as that has not gone elsewhere. */
START_TEST (folders_turned_over)
{
  const int64_t d = core_item (&p.core, "d"), e = pushcore_create (&p, "d", "e", NULL);
  const int64_t f = pushcore_create (&p, "d/e", "f", NULL);
  struct pushcore_change of;

  pushcore_go_on (&p);
  pushcore_drain (&p);
  pushcore_pause (&p);
  /* d/e/f becomes f/e/d, in the order in which nothing is possible at first. */
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, d, CATALOG_ROOT, "d", e, "d"), 0);
  ck_assert_int_eq (journal_move (&of.journal, e, d, "e", f, "e"), 0);
  ck_assert_int_eq (journal_move (&of.journal, f, e, "f", CATALOG_ROOT, "d"), 0);
  pushcore_end (&p, &of);
  must_be ("d/ d/e/ d/e/d/ d/e/d/f.txt=one g=two");
  ends_well ();
}
END_TEST

/* Of one transaction: what the view said to be elsewhere is in the folder here. */
START_TEST (removal_of_a_folder_before_what_is_in_it)
{
  const int64_t d = core_item (&p.core, "d"), file = core_item (&p.core, "d/f.txt");
  const int64_t was = core_version (&p.core, "d/f.txt"), below = pushcore_create (&p, "d", "e", NULL);
  struct pushcore_change of;

  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_remove (&of.journal, d, 0), 0);
  ck_assert_int_eq (journal_remove (&of.journal, below, 0), 0);
  ck_assert_int_eq (journal_remove (&of.journal, file, was), 0);
  pushcore_end (&p, &of);
  must_be ("g=two");
  ends_well ();
}
END_TEST

START_TEST (removal_of_a_folder_with_something_in_it)
{
  pushcore_remove (&p, "d");
  must_be ("d/ d/f.txt=one g=two");
  ck_assert_uint_eq (rows (), 0);
}
END_TEST

/* ---- status ---- */

struct told {
  unsigned n;
  char text[1024];
};

static int
tell (void *opaque, const struct journal_row *row)
{
  struct told *told = opaque;
  const size_t n = strlen (told->text);

  told->n++;
  snprintf (told->text + n, sizeof told->text - n, "%s: %s, %llu bytes, %s%s; ", row->path, row->what,
            (unsigned long long) row->bytes, row->view, row->held ? ", held" : "");
  return 0;
}

START_TEST (status)
{
  struct journal_totals totals;
  struct told told = { 0 };
  uint64_t n;

  pushcore_edit (&p, "g", "22");
  pushcore_move (&p, "d", "", "D");
  p.held = true;
  pushcore_remove (&p, "D/f.txt");
  p.held = false;
  p.view = "vm2/disk";
  pushcore_create (&p, "", "n", "12345");
  pushcore_create (&p, "", "e", NULL);

  db_read_begin (p.core.db);
  ck_assert_int_eq (journal_totals (p.core.db, &totals), 0);
  ck_assert_int_eq (journal_each (p.core.db, tell, &told), 0);
  ck_assert_int_eq (journal_waiting (p.core.db, "vm2/disk", &n), 0);
  db_read_end (p.core.db);
  ck_assert_uint_eq (n, 2);
  ck_assert_uint_eq (totals.files, 5);
  ck_assert_uint_eq (totals.bytes, 7);
  ck_assert_uint_eq (totals.held, 1);
  ck_assert_uint_eq (totals.failing, 0);
  ck_assert_int_gt (totals.oldest, 1700000000);
  ck_assert_str_eq (told.text, "D: moved, 0 bytes, vm1/disk; d/f.txt: removed, 0 bytes, vm1/disk, held; "
                               "g: changed, 2 bytes, vm1/disk; n: new file, 5 bytes, vm2/disk; "
                               "e: new folder, 0 bytes, vm2/disk; ");
}
END_TEST

/* What was not sent yet is read from here, also after a restart, and is never evicted. */
START_TEST (unsent_bytes_stay)
{
  pushcore_edit (&p, "g", "22");
  pushcore_create (&p, "", "n", "12345");
  pushcore_restart (&p);
  pushcore_pause (&p);
  fakecloud_forget (p.core.fake);
  must_be ("d/ d/f.txt=one g=22 n=12345");
  ck_assert_uint_eq (fakecloud_log (p.core.fake, FAKE_GET, NULL, NULL, 0), 0);
  ends_well ();
}
END_TEST

#define T(test) tcase_add_test (tcase, test)

int
main (void)
{
  Suite *suite = suite_create ("journal");
  TCase *tcase = tcase_create ("journal");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_set_timeout (tcase, 60);
  T (edit_of_what_was_known);
  T (edit_of_what_another_view_changed);
  T (the_same_edit_twice);
  T (edit_with_the_bytes_that_it_had);
  T (edit_of_what_is_gone_with_its_folder);
  T (edit_of_what_the_remote_removed_with_its_folder);
  T (edit_of_what_nobody_knows);
  T (a_folder_that_is_there);
  T (a_file_that_is_there);
  T (a_file_where_a_folder_is);
  tcase_add_loop_test (tcase, a_file_in_a_folder_that_is_gone, 0, 3);
  T (move_of_what_another_view_moved);
  T (move_to_a_name_that_is_taken);
  T (move_below_itself);
  T (three_names_go_round);
  T (moved_twice_at_once);
  T (removal_of_what_another_view_changed);
  T (folders_turned_over);
  T (removal_of_a_folder_before_what_is_in_it);
  T (removal_of_a_folder_with_something_in_it);
  T (status);
  T (unsent_bytes_stay);
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
