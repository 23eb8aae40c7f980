/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what is on a disk: random changes of a catalog, and after each the selection, which keeps what it knows, against one that
 * looks at everything.  Seeds are fixed; another one is tried with CHECK_SEED=N. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "core.h"
#include "db.h"
#include "journal.h"
#include "rules.h"
#include "selection.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

static struct core core;
static struct rules *rules;
static struct journal journal;
static struct selection *sel;
static int64_t own[1000];
static size_t n_own;
static uint64_t seed;

static unsigned
draw (unsigned n)
{
  seed = seed * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
  return (seed >> 33) % n;
}

static void
open_all (void)
{
  core_open (&core, 0);
  ck_assert_int_eq (journal_init (core.db), 0);
  ck_assert_int_eq (selection_init (core.db), 0);
  rules = rules_new ();
  seed = getenv ("CHECK_SEED") ? strtoull (getenv ("CHECK_SEED"), NULL, 10) : 7;
  n_own = 0;
}

static void
close_all (void)
{
  selection_free (sel);
  rules_free (rules);
  core_close (&core);
}

/* ---- changes, as views make them ---- */

static void
begin (void)
{
  int64_t revision;

  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  journal = (struct journal) { .db = core.db, .blobs = core.blobs, .view = "vm/disk", .now = 1000000, .revision = revision + 1 };
}

static void
end (void)
{
  ck_assert_int_eq (journal_finish (&journal, 0), 0);
  ck_assert_int_eq (catalog_commit_revision (core.db, journal.revision), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
}

static int64_t
add (int64_t parent, const char *name, bool is_folder)
{
  const int64_t version = is_folder ? 0 : journal_stage (&journal, 0, 0, NULL, NULL);
  const int64_t id = journal_create (&journal, parent, name, is_folder, version, &(struct timespec) { 1000, 0 });

  ck_assert_int_gt (id, 0);
  return id;
}

static void
take (const char *rule)
{
  bool anew;
  const char *missing;

  ck_assert_int_eq (rules_add_disk (rules, rule, NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  sel = selection_new (&rules->disks[rules->n_disks - 1]);
  ck_assert_ptr_nonnull (sel);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (selection_resolve (sel, core.db, &missing), 1);
  ck_assert_int_eq (selection_begin (sel, core.db, 1, &anew), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
}

static void
keep (int64_t item)
{
  ck_assert_int_eq (selection_keep (sel, core.db, journal.revision, item), 0);
  ck_assert_uint_lt (n_own, N (own));
  own[n_own++] = item;
}

/* ---- the model ---- */

static bool
is_own (int64_t item)
{
  for (size_t i = 0; i < n_own; ++i)
    if (own[i] == item)
      return true;
  return false;
}

/* A conflicted copy of what is the disk's own, or of what it would show. */
static bool
is_copy_of_shown (const struct catalog_item *item, bool excluded)
{
  const char *begin = strstr (item->name, " (conflicted copy "), *end = begin ? strchr (begin, ')') : NULL;
  char name[256];

  if (end == NULL)
    return false;
  snprintf (name, sizeof name, "%.*s%s", (int) (begin - item->name), item->name, end + 1);
  return (!excluded && disk_rule_wants_file (&rules->disks[rules->n_disks - 1], name, item->mime)) ||
         is_own (catalog_child (core.db, item->parent, name));
}

static bool
wanted (const struct catalog_item *item, bool excluded)
{
  const struct disk_rule *rule = &rules->disks[rules->n_disks - 1];
  struct catalog_list list;
  bool any = false;

  if (is_own (item->id))
    return true;
  if (!item->is_folder && is_copy_of_shown (item, excluded))
    return true;
  if (excluded)
    return false;
  if (!item->is_folder)
    return disk_rule_wants_file (rule, item->name, item->mime);
  if (!disk_rule_wants_folder (rule, item->name))
    return false;
  ck_assert_int_eq (catalog_children (core.db, item->id, &list), 0);
  for (size_t i = 0; i < list.n; ++i)
    any |= wanted (&list.items[i], false);
  catalog_list_free (&list);
  return any;
}

/* Compares below a folder that is shown; counts what is. */
static unsigned
compare (int64_t folder, bool excluded)
{
  const struct disk_rule *rule = &rules->disks[rules->n_disks - 1];
  struct catalog_list all, shown;
  unsigned count = 0;
  size_t at = 0;

  ck_assert_int_eq (catalog_children (core.db, folder, &all), 0);
  ck_assert_int_eq (selection_children (sel, core.db, folder, &shown), 0);
  for (size_t i = 0; i < all.n; ++i) {
    const bool want = wanted (&all.items[i], excluded);
    const bool got = at < shown.n && shown.items[at].id == all.items[i].id;

    ck_assert_msg (want == got, "\"%s\" is %sshown", all.items[i].name, got ? "" : "not ");
    if (!got)
      continue;
    ++at;
    ++count;
    if (all.items[i].is_folder)
      count += compare (all.items[i].id, excluded || !disk_rule_wants_folder (rule, all.items[i].name));
  }
  ck_assert_uint_eq (at, shown.n);
  catalog_list_free (&all);
  catalog_list_free (&shown);
  return count;
}

static const char *const random_rules[] = {
  "a,glob=*.jpg", "a,exclude=x", "a,type=image,exclude=x", "a,glob=*.jpg,glob=b*,exclude=*.jpg",
};

START_TEST (random_changes)
{
  static const char *const files[] = { "a.jpg", "b.txt", "b.jpg", "c.pdf" };
  static const char *const folders[] = { "x", "y", "z" };
  int64_t items[400], folder_ids[200] = { CATALOG_ROOT };
  size_t n_items = 0, n_folders = 1;
  unsigned most = 0;

  seed += _i;
  take (random_rules[_i]);
  for (int step = 0; step < 600; ++step) {
    int64_t *changed = NULL;
    const int64_t folder = folder_ids[draw (n_folders)];
    struct catalog_list list;
    int64_t after;
    size_t n;
    unsigned count;

    ck_assert_int_eq (catalog_revision (core.db, &after), 0);
    begin ();
    if (folder == CATALOG_ROOT || catalog_item (core.db, folder, &list) == 1) {
      int64_t item = 0;

      if (folder != CATALOG_ROOT)
        catalog_list_free (&list);
      switch (draw (8)) {
      case 0: case 1: case 2:
        item = n_items < N (items) ? items[n_items++] = add (folder, files[draw (N (files))], false) : 0;
        break;
      case 3: case 4:
        item = n_folders < N (folder_ids) ? folder_ids[n_folders++] = add (folder, folders[draw (N (folders))], true) : 0;
        break;
      case 5:
        if (n_items > 0)
          ck_assert_int_eq (journal_remove (&journal, items[draw (n_items)], 0), 0);
        break;
      case 6:
        if (n_folders > 1)
          ck_assert_int_eq (journal_remove (&journal, folder_ids[1 + draw (n_folders - 1)], 0), 0);
        break;
      case 7: {
        const int64_t moved = draw (2) || n_items == 0 ? folder_ids[draw (n_folders)] : items[draw (n_items)];

        if (moved != CATALOG_ROOT && catalog_item (core.db, moved, &list) == 1) {
          ck_assert_int_eq (journal_move (&journal, moved, list.items[0].parent, list.items[0].name, folder,
                                          list.items[0].is_folder ? folders[draw (N (folders))] : files[draw (N (files))]), 0);
          catalog_list_free (&list);
        }
      }
      }
      if (item && draw (10) == 0 && n_own < N (own))
        keep (item);
    }
    end ();
    ck_assert_int_eq (db_begin (core.db), 0);
    ck_assert_int_eq (selection_refresh (sel, core.db, after, &changed, &n), 0);
    count = compare (CATALOG_ROOT, false);
    ck_assert_int_eq (db_end (core.db, 0), 0);
    most = count > most ? count : most;
    free (changed);
  }
  ck_assert_uint_gt (most, 0);
}
END_TEST

/* Names of what a folder of the disk shows, one after the other. */
static const char *
names_in (int64_t folder)
{
  static char text[1000];
  struct catalog_list list;

  text[0] = '\0';
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (selection_children (sel, core.db, folder, &list), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  for (size_t i = 0; i < list.n; ++i) {
    strcat (text, i ? "|" : "");
    strcat (text, list.items[i].name);
  }
  catalog_list_free (&list);
  return text;
}

START_TEST (excluded_stays_hidden)
{
  int64_t secret, in, mine;

  begin ();
  secret = add (CATALOG_ROOT, "secret", true);
  add (secret, "theirs.jpg", false);
  in = add (secret, "in", true);
  add (in, "deep.jpg", false);
  add (CATALOG_ROOT, "open.jpg", false);
  end ();
  take ("a,glob=*.jpg,exclude=secret");
  ck_assert_str_eq (names_in (CATALOG_ROOT), "open.jpg");
  /* A guest makes a folder, and gets the one that there is. */
  begin ();
  ck_assert_int_eq (add (CATALOG_ROOT, "secret", true), secret);
  keep (secret);
  mine = add (secret, "mine.txt", false);
  keep (mine);
  ck_assert_int_eq (add (secret, "in", true), in);
  keep (in);
  end ();
  ck_assert_str_eq (names_in (CATALOG_ROOT), "open.jpg|secret");
  ck_assert_str_eq (names_in (secret), "in|mine.txt");
  ck_assert_str_eq (names_in (in), "");
}
END_TEST

START_TEST (copies_go_with_originals)
{
  take ("a,glob=report.doc");
  begin ();
  add (CATALOG_ROOT, "report.doc", false);
  add (CATALOG_ROOT, "report (conflicted copy 2026-01-31 142500 vm1).doc", false);
  keep (add (CATALOG_ROOT, "mine.txt", false));
  add (CATALOG_ROOT, "mine (conflicted copy 2026-01-31 142500 vm1).txt", false);
  add (CATALOG_ROOT, "other.txt", false);
  add (CATALOG_ROOT, "other (conflicted copy 2026-01-31 142500 vm1).txt", false);
  add (CATALOG_ROOT, "report (conflicted copy 2026).txt", false);
  end ();
  ck_assert_str_eq (names_in (CATALOG_ROOT), "mine (conflicted copy 2026-01-31 142500 vm1).txt|mine.txt|"
                    "report (conflicted copy 2026-01-31 142500 vm1).doc|report.doc");
}
END_TEST

START_TEST (several_folders)
{
  int64_t one, two, work;
  const char *missing;

  begin ();
  one = add (CATALOG_ROOT, "one", true);
  work = add (CATALOG_ROOT, "work", true);
  two = add (work, "one", true);
  end ();
  take ("a,folder=one,folder=work/one");
  ck_assert_str_eq (names_in (CATALOG_ROOT), "one|one (2)");
  ck_assert_int_eq (selection_home (sel, CATALOG_ROOT), one);
  ck_assert (selection_is_fixed (sel, two));
  /* Moved: followed.  Gone: the other goes on; what is put beside it brings it back. */
  begin ();
  ck_assert_int_eq (journal_move (&journal, two, work, "one", CATALOG_ROOT, "elsewhere"), 0);
  ck_assert_int_eq (journal_remove (&journal, one, 0), 0);
  end ();
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (selection_resolve (sel, core.db, &missing), 1);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  ck_assert_str_eq (missing, "one");
  ck_assert_str_eq (names_in (CATALOG_ROOT), "one (2)");
  ck_assert_int_eq (selection_home (sel, CATALOG_ROOT), one);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("selection");
  TCase *tcase = tcase_create ("selection");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (tcase, open_all, close_all);
  tcase_set_timeout (tcase, 60);
  tcase_add_loop_test (tcase, random_changes, 0, N (random_rules));
  tcase_add_test (tcase, excluded_stays_hidden);
  tcase_add_test (tcase, copies_go_with_originals);
  tcase_add_test (tcase, several_folders);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
