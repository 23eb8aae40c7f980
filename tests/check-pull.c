/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests pull: what becomes of the catalog when the remote changes, answers badly, or not at all. */

#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache-private.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "core.h"
#include "db.h"
#include "fakecloud.h"
#include "health.h"
#include "pull.h"
#include "pull-match.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

#define PARALLEL 4

static struct core core;
static struct pull *pull;
static struct pull_result result;
static bool with_ids;          /* the remote gives ids */

static void
new_pull (unsigned parallel)
{
  pull_free (pull);
  pull = pull_new (core.db, core.blobs, (struct cloud *) core.fake, core.health, parallel);
  ck_assert_ptr_nonnull (pull);
  pull_set_cache (pull, core.cache);
}

static void
setup (void)
{
  core_open (&core, 0);
  pull = NULL;
  with_ids = true;
  new_pull (PARALLEL);
}

static void
teardown (void)
{
  pull_free (pull);
  core_close (&core);
}

static void
run (enum pull_kind kind)
{
  fakecloud_forget (core.fake);
  pull_run (pull, kind, &result);
}

static void
run_well (enum pull_kind kind)
{
  run (kind);
  ck_assert_msg (result.result == CLOUD_OK, "%s: %s", cloud_result_name (result.result), result.sentence);
}

/* ---- what is what ---- */

#define SEEN_FILE .name = "f", .size = 5, .mtime = { 9, 1 }, .token = "t", .id = "i"

static const struct catalog_item known_file = { .parent = 7, .name = "f", .size = 5, .mtime = { 9, 1 }, .token = "t",
                                                .remote_id = "i" };
static const struct catalog_item known_summed = { .name = "f", .size = 5, .mtime = { 9, 1 }, .token = "t",
                                                  .remote_id = "i", .checksum = "MD5:1" };
static const struct catalog_item known_nameless = { .name = "f", .size = 5, .mtime = { 9, 1 }, .token = "t" };
static const struct catalog_item known_folder = { .parent = 7, .name = "f", .is_folder = true, .remote_id = "i" };

static const struct {
  const struct catalog_item *known;
  struct cloud_item seen;      /* without a name: not seen */
  enum match believed, fresh;
} matches[] = {
  { &known_file, { 0 }, MATCH_MISSING, MATCH_MISSING },
  { NULL, { SEEN_FILE }, MATCH_NEW, MATCH_FRESH },
  { &known_file, { SEEN_FILE }, MATCH_SAME, MATCH_SAME },
  { &known_file, { SEEN_FILE, .checksum = "MD5:1" }, MATCH_SAME, MATCH_SAME },
  { &known_summed, { SEEN_FILE }, MATCH_SAME, MATCH_SAME },
  { &known_summed, { SEEN_FILE, .checksum = "MD5:1" }, MATCH_SAME, MATCH_SAME },
  { &known_summed, { SEEN_FILE, .checksum = "MD5:2" }, MATCH_CHANGED, MATCH_FRESH },
  { &known_file, { "f", false, 6, { 9, 1 }, "t", "i" }, MATCH_CHANGED, MATCH_FRESH },
  { &known_file, { "f", false, 5, { 9, 1 }, "u", "i" }, MATCH_CHANGED, MATCH_FRESH },
  { &known_file, { "f", false, 5, { 8, 1 }, "u", "j" }, MATCH_CHANGED, MATCH_FRESH },
  { &known_file, { "f", false, 5, { 8, 1 }, "t", "i" }, MATCH_TOUCHED, MATCH_TOUCHED },
  { &known_file, { "f", false, 5, { 9, 2 }, "t", "i" }, MATCH_TOUCHED, MATCH_TOUCHED },
  { &known_file, { "f", false, 5, { 9, 1 }, "t", "j" }, MATCH_TOUCHED, MATCH_TOUCHED },
  { &known_file, { "f", false, 5, { 9, 1 }, "t", NULL }, MATCH_TOUCHED, MATCH_TOUCHED },
  { &known_nameless, { SEEN_FILE }, MATCH_TOUCHED, MATCH_TOUCHED },
  { &known_nameless, { "f", false, 5, { 9, 1 }, "t", NULL }, MATCH_SAME, MATCH_SAME },
  { &known_file, { "f", true, .id = "i" }, MATCH_REPLACED, MATCH_FRESH },
  { &known_folder, { SEEN_FILE }, MATCH_REPLACED, MATCH_FRESH },
  { &known_folder, { "f", true, .id = "i" }, MATCH_SAME, MATCH_SAME },
  /* A folder's own token says nothing about the folder. */
  { &known_folder, { "f", true, .id = "i", .token = "t" }, MATCH_SAME, MATCH_SAME },
  { &known_folder, { "f", true, .id = "j" }, MATCH_TOUCHED, MATCH_TOUCHED },
};

START_TEST (what_is_what)
{
  const struct cloud_item *seen = matches[_i].seen.name ? &matches[_i].seen : NULL;

  ck_assert_int_eq (match_items (matches[_i].known, seen, true), matches[_i].believed);
  ck_assert_int_eq (match_items (matches[_i].known, seen, false), matches[_i].fresh);
}
END_TEST

static const struct {
  const struct catalog_item *known;
  int64_t folder;
  struct cloud_item seen;
  bool expected;
} moves[] = {
  { &known_file, 7, { "g", .id = "i" }, true },
  { &known_file, 8, { "f", .id = "i" }, true },
  { &known_file, 8, { "g", .id = "i", .token = "u", .size = 6 }, true },
  { &known_folder, 8, { "g", true, .id = "i" }, true },
  { &known_file, 7, { "f", .id = "i" }, false },
  { &known_file, 8, { "f", .id = "j" }, false },
  { &known_file, 8, { "f" }, false },
  { &known_nameless, 8, { "f" }, false },
  { &known_file, 8, { "f", true, .id = "i" }, false },
  { &known_folder, 8, { "f", .id = "i" }, false },
};

START_TEST (what_may_be_moved)
{
  ck_assert_int_eq (match_may_be_moved (moves[_i].known, moves[_i].folder, &moves[_i].seen), moves[_i].expected);
}
END_TEST

/* Only the word of the remote: what can't be told has not left. */
START_TEST (what_has_left)
{
  const struct cloud_item seen = { "g", .id = "i" }, same = { "", .id = "i" }, other = { "", .id = "j" }, none = { "" };

  for (enum cloud_result answer = CLOUD_OK + 1; answer <= CLOUD_STOPPED; ++answer)
    ck_assert_int_eq (match_has_left (answer, NULL, &seen), answer == CLOUD_GONE);
  ck_assert (!match_has_left (CLOUD_OK, &same, &seen));
  ck_assert (match_has_left (CLOUD_OK, &other, &seen));
  ck_assert (match_has_left (CLOUD_OK, &none, &seen));
}
END_TEST

/* ---- changing the remote ---- */

static void
copy_id (void *opaque, const struct cloud_item *item)
{
  snprintf (opaque, 32, "%s", item->id ? item->id : "");
}

static void
do_put (const char *path, const char *token)
{
  static unsigned n;
  char id[32];

  if (fakecloud_has (core.fake, path))
    fakecloud_look (core.fake, path, copy_id, id);     /* servers keep the id when a file is written anew */
  else
    snprintf (id, sizeof id, "id%u", ++n);
  fakecloud_put (core.fake, path, 1000, token, with_ids ? id : NULL);
}

static void
do_mkdir (const char *path)
{
  static unsigned n;
  char id[32];

  snprintf (id, sizeof id, "folder%u", ++n);
  fakecloud_folder (core.fake, path, NULL, with_ids ? id : NULL);
}

/* "put PATH TOKEN; mkdir PATH; rm PATH; mv FROM TO" */
static void
change (const char *ops)
{
  CLEANUP_FREE char *copy = strdup (ops);
  char *rest = copy, *op;

  while ((op = strsep (&rest, ";"))) {
    char verb[16] = "", a[128] = "", b[128] = "";

    sscanf (op, " %15s %127s %127s", verb, a, b);
    if (strcmp (verb, "put") == 0)
      do_put (a, b);
    else if (strcmp (verb, "mkdir") == 0)
      do_mkdir (a);
    else if (strcmp (verb, "rm") == 0)
      fakecloud_remove (core.fake, a);
    else if (strcmp (verb, "mv") == 0)
      fakecloud_rename (core.fake, a, b);
    else
      ck_abort_msg ("what is \"%s\"?", op);
  }
}

/* ---- what the catalog has ---- */

static char shown[65536];

static void
show_folder (int64_t folder, const char *path)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_children (core.db, folder, &list), 0);
  for (size_t i = 0; i < list.n; ++i) {
    const struct catalog_item *item = &list.items[i];
    const size_t used = strlen (shown);
    char below[8192];

    snprintf (below, sizeof below, "%s%s%s", path, *path ? "/" : "", item->name);
    if (item->is_folder) {
      snprintf (shown + used, sizeof shown - used, "%s%s/", used ? " " : "", below);
      show_folder (item->id, below);
    }
    else
      snprintf (shown + used, sizeof shown - used, "%s%s=%s", used ? " " : "", below, item->token);
  }
  catalog_list_free (&list);
}

/* As "folder/ folder/file=TOKEN file=TOKEN". */
static const char *
catalog (void)
{
  shown[0] = '\0';
  db_read_begin (core.db);
  show_folder (CATALOG_ROOT, "");
  db_read_end (core.db);
  return shown;
}

static int64_t
revision (void)
{
  int64_t value;

  db_read_begin (core.db);
  ck_assert_int_eq (catalog_revision (core.db, &value), 0);
  db_read_end (core.db);
  return value;
}

static size_t
asked (enum fake_verb verb, const char *path)
{
  return fakecloud_log (core.fake, verb, path, NULL, 0);
}

/* ---- changes ---- */

#define FIRST_TREE "mkdir a; put a/f af; put a/g ag; mkdir b; mkdir b/c; put b/c/f bcf; put h h"

START_TEST (first_listing)
{
  fakecloud_set_inline (core.fake, _i);
  change (FIRST_TREE);
  fakecloud_put (core.fake, "\xff\xfe", 0, "", NULL);
  run_well (PULL_ALL);
  ck_assert (result.changed);
  ck_assert (!result.unsettled);
  ck_assert_uint_eq (result.folders, 4);
  ck_assert_uint_eq (result.items, 8);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h \xff\xfe=");
  ck_assert_int_gt (revision (), 0);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 4);

  for (enum pull_kind kind = PULL_ALL; kind <= PULL_FRESH; ++kind) {
    const int64_t before = revision ();

    run_well (kind);
    ck_assert (!result.changed);
    ck_assert_int_eq (revision (), before);
  }
  ck_assert_uint_eq (said (MSG_ERROR, ""), 0);
}
END_TEST

/* kept: "FROM>TO": what was FROM before is TO now, as the same item (where the remote gives ids). */
static const struct {
  const char *ops, *expected, *kept;
} changes[] = {
  { "put n n", "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h n=n", "a/f>a/f h>h" },
  { "put b/c/n n", "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf b/c/n=n h=h", "b/c/f>b/c/f" },
  { "mkdir n; mkdir n/m; put n/m/f nmf", "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h n/ n/m/ n/m/f=nmf", "" },
  { "put a/f 2", "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=bcf h=h", "a/f>a/f" },
  { "rm a/f", "a/ a/g=ag b/ b/c/ b/c/f=bcf h=h", "a/g>a/g" },
  { "rm b", "a/ a/f=af a/g=ag h=h", "" },
  { "rm a; rm b; rm h", "", "" },
  { "rm a/f; put a/f other", "a/ a/f=other a/g=ag b/ b/c/ b/c/f=bcf h=h", "" },
  /* Renames. */
  { "mv a/f a/x", "a/ a/g=ag a/x=af b/ b/c/ b/c/f=bcf h=h", "a/f>a/x" },
  { "mv a z", "b/ b/c/ b/c/f=bcf h=h z/ z/f=af z/g=ag", "a>z a/f>z/f a/g>z/g" },
  { "mv a/f b/c/x", "a/ a/g=ag b/ b/c/ b/c/f=bcf b/c/x=af h=h", "a/f>b/c/x" },
  { "mv b/c a/d", "a/ a/d/ a/d/f=bcf a/f=af a/g=ag b/ h=h", "b/c>a/d b/c/f>a/d/f" },
  { "mv a b/a", "b/ b/a/ b/a/f=af b/a/g=ag b/c/ b/c/f=bcf h=h", "a>b/a a/f>b/a/f" },
  { "mv b/c c; rm b", "a/ a/f=af a/g=ag c/ c/f=bcf h=h", "b/c>c" },
  { "mv a/f x; put x 2", "a/ a/g=ag b/ b/c/ b/c/f=bcf h=h x=2", "a/f>x" },
  { "mv b/c x; mv b x/b", "a/ a/f=af a/g=ag h=h x/ x/b/ x/f=bcf", "b/c>x b>x/b" },
  /* Into a folder that is new itself. */
  { "mkdir n; mv a/f n/f", "a/ a/g=ag b/ b/c/ b/c/f=bcf h=h n/ n/f=af", "a/f>n/f" },
  { "mkdir n; mkdir n/m; mv b n/m/b", "a/ a/f=af a/g=ag h=h n/ n/m/ n/m/b/ n/m/b/c/ n/m/b/c/f=bcf",
    "b>n/m/b b/c/f>n/m/b/c/f" },
  { "mkdir n; mv a n/a; mv n/a/f n/x; mv n/a/g n/a/y", "b/ b/c/ b/c/f=bcf h=h n/ n/a/ n/a/y=ag n/x=af",
    "a>n/a a/f>n/x a/g>n/a/y" },
  /* A folder and what is in it, both at once. */
  { "mv a z; mv z/f z/x", "b/ b/c/ b/c/f=bcf h=h z/ z/g=ag z/x=af", "a>z a/f>z/x a/g>z/g" },
  { "mv b z; mv z/c z/d; mv z/d/f z/d/x", "a/ a/f=af a/g=ag h=h z/ z/d/ z/d/x=bcf", "b>z b/c>z/d b/c/f>z/d/x" },
  { "mv a z; mv z/f y; put y 2", "b/ b/c/ b/c/f=bcf h=h y=2 z/ z/g=ag", "a>z a/f>y a/g>z/g" },
  /* One takes another's place. */
  { "mv a t; mv b a; mv t b", "a/ a/c/ a/c/f=bcf b/ b/f=af b/g=ag h=h", "" },
  { "mv a/f t; mv a/g a/f; mv t a/g", "a/ a/f=ag a/g=af b/ b/c/ b/c/f=bcf h=h", "" },
  { "rm h; mv a/f h", "a/ a/g=ag b/ b/c/ b/c/f=bcf h=af", "" },
  { "mv b/c t; mv b t/c; mv t b", "a/ a/f=af a/g=ag b/ b/c/ b/f=bcf h=h", "" },
  { "rm h; mkdir h; put h/x hx", "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h/ h/x=hx", "" },
  { "rm b; put b b", "a/ a/f=af a/g=ag b=b h=h", "" },
  { "rm h; mv b h", "a/ a/f=af a/g=ag h/ h/c/ h/c/f=bcf", "" },
};

static void
check_kept (const char *kept, int64_t before[], bool look)
{
  CLEANUP_FREE char *copy = strdup (kept);
  char *rest = copy, *pair;
  size_t n = 0;

  while ((pair = strsep (&rest, " "))) {
    char *to = strchr (pair, '>');

    if (to == NULL)
      continue;
    *to++ = '\0';
    if (!look)
      before[n++] = core_item (&core, pair);
    else
      ck_assert_msg (core_item (&core, to) == before[n++], "%s is not what was %s", to, pair);
  }
}

/* In four ways: with and without ids; requests done at once, or by threads. */
START_TEST (changes_arrive)
{
  const int which = _i / 4;
  int64_t before[8], last;

  with_ids = _i & 1;
  fakecloud_set_inline (core.fake, _i & 2);
  change (FIRST_TREE);
  run_well (PULL_ALL);
  check_kept (changes[which].kept, before, false);
  last = revision ();

  change (changes[which].ops);
  run_well (_i & 2 ? PULL_ALL : PULL_CHANGED);
  ck_assert (result.changed);
  ck_assert_int_gt (revision (), last);
  ck_assert_msg (strcmp (catalog (), changes[which].expected) == 0, "%s:\nis  %s\nnot %s", changes[which].ops, shown,
                 changes[which].expected);
  if (with_ids)
    check_kept (changes[which].kept, before, true);

  last = revision ();
  run_well (PULL_ALL);
  ck_assert_str_eq (catalog (), changes[which].expected);
  ck_assert (!result.changed);
  ck_assert_int_eq (revision (), last);
}
END_TEST

START_TEST (many_folders)
{
  uint64_t folders, items;
  char path[32];

  new_pull (8);
  for (unsigned i = 0; i < 200; ++i) {
    snprintf (path, sizeof path, "d%03u", i);
    do_mkdir (path);
    snprintf (path, sizeof path, "d%03u/f", i);
    do_put (path, "1");
  }
  run_well (PULL_ALL);
  ck_assert_uint_eq (result.folders, 201);
  ck_assert_uint_eq (result.items, 400);
  pull_progress (pull, &folders, &items);
  ck_assert_uint_eq (folders, 201);
  ck_assert_uint_eq (items, 400);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE folder = 0 AND gone = 0"), 200);

  for (unsigned i = 0; i < 200; i += 2) {
    snprintf (path, sizeof path, "d%03u", i);
    fakecloud_remove (core.fake, path);
  }
  run_well (PULL_ALL);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE folder = 0 AND gone = 0"), 100);
  ck_assert_uint_eq (said (MSG_ERROR, ""), 0);
}
END_TEST

/* ---- bad answers ---- */

/* While /a/f is gone and /b/c/n is new, the listing of path ends with that result after an item or none. */
static const struct {
  const char *path;
  enum cloud_result listing;
  unsigned items_before;
  enum cloud_result expected;
  bool goes_on;                /* the walk looks at other folders */
} failures[] = {
  { "a", CLOUD_BAD, 0, CLOUD_OK, true },
  { "a", CLOUD_BAD, 1, CLOUD_OK, true },
  { "a", CLOUD_DENIED, 0, CLOUD_OK, true },
  { "a", CLOUD_AUTH, 0, CLOUD_OK, true },
  { "a", CLOUD_GONE, 0, CLOUD_OK, true },
  { "a", CLOUD_OFFLINE, 1, CLOUD_OFFLINE, false },
  { "a", CLOUD_LOCAL, 1, CLOUD_LOCAL, false },
  { "a", CLOUD_BUSY, 1, CLOUD_BUSY, true },
  { "", CLOUD_BAD, 0, CLOUD_BAD, false },
  { "", CLOUD_BAD, 2, CLOUD_BAD, false },
  { "", CLOUD_DENIED, 1, CLOUD_DENIED, false },
  { "", CLOUD_GONE, 0, CLOUD_GONE, false },
  { "", CLOUD_OFFLINE, 1, CLOUD_OFFLINE, false },
  { "", CLOUD_AUTH, 0, CLOUD_AUTH, false },
};

START_TEST (listings_that_end_badly)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  change ("rm a/f; put b/c/n n");
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .path = failures[_i].path,
                                                   .result = failures[_i].listing,
                                                   .items_before = failures[_i].items_before });
  run (PULL_ALL);
  ck_assert_int_eq (result.result, failures[_i].expected);
  if (result.result != CLOUD_OK)
    ck_assert_str_ne (result.sentence, "");
  if (failures[_i].goes_on)
    ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf b/c/n=n h=h");
  else
    ck_assert_msg (strncmp (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf ", 34) == 0, "%s", shown);
  /* Where another folder's answer came later, the remote is there. */
  if (failures[_i].path[0] == '\0' || result.result == CLOUD_OK)
    ck_assert_int_eq (health_is_away (core.health), result.result == CLOUD_OFFLINE || result.result == CLOUD_AUTH);

  fakecloud_no_rules (core.fake);
  health_report (core.health, CLOUD_OK, NULL);
  run_well (PULL_CHANGED);
  ck_assert_str_eq (catalog (), "a/ a/g=ag b/ b/c/ b/c/f=bcf b/c/n=n h=h");
}
END_TEST

START_TEST (busy_is_asked_again)
{
  change (FIRST_TREE);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .path = "b", .result = CLOUD_BUSY, .times = 1 });
  run_well (PULL_ALL);
  ck_assert_uint_eq (asked (FAKE_LIST, "b"), 2);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");
}
END_TEST

/* Listings that look good and are not. */
static const char *const empty_looking[] = { "", "a", "b", "b/c" };

START_TEST (what_is_there_by_name_is_kept)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .path = empty_looking[_i], .empty = true });
  run_well (PULL_ALL);
  ck_assert (!result.changed);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");
  ck_assert_uint_eq (said (MSG_NOTICE, "are kept"), 1);
  run_well (PULL_ALL);
  ck_assert_uint_eq (said (MSG_NOTICE, "are kept"), 1);
}
END_TEST

START_TEST (one_is_gone_among_those_not_shown)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  fakecloud_set_hidden (core.fake, "a/f", true);
  change ("rm a/g");
  run_well (PULL_ALL);
  ck_assert_str_eq (catalog (), "a/ a/f=af b/ b/c/ b/c/f=bcf h=h");
}
END_TEST

/* Asked for by name it can't be told whether it is there. */
static const enum cloud_result unclear[] = {
  CLOUD_BUSY, CLOUD_DENIED, CLOUD_BAD, CLOUD_OFFLINE, CLOUD_AUTH, CLOUD_LOCAL,
};

START_TEST (unclear_is_not_gone)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  change ("rm a/g; rm b");
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_STAT, .path = "a/g", .result = unclear[_i] });
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_STAT, .path = "b", .result = unclear[_i] });
  run (PULL_ALL);
  ck_assert_int_eq (result.result, unclear[_i]);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");
  fakecloud_no_rules (core.fake);
  run_well (PULL_CHANGED);
  ck_assert_str_eq (catalog (), "a/ a/f=af h=h");
}
END_TEST

START_TEST (offline_in_the_middle)
{
  new_pull (1);
  for (char c = '0'; c < '8'; ++c) {
    const char folder[] = { c, '\0' };
    char path[8];

    do_mkdir (folder);
    snprintf (path, sizeof path, "%c/old", c);
    do_put (path, "1");
  }
  run_well (PULL_ALL);
  for (char c = '0'; c < '8'; ++c) {
    char ops[64];

    snprintf (ops, sizeof ops, "rm %c/old; put %c/new 1", c, c);
    change (ops);
  }
  /* The root and some folders come through. */
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .skip = 4, .result = CLOUD_OFFLINE });
  run (PULL_ALL);
  ck_assert_int_eq (result.result, CLOUD_OFFLINE);
  ck_assert (health_is_away (core.health));
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE name = x'6f6c64'"), 8);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE name = x'6e6577'"), 3);
  ck_assert_uint_eq (asked (FAKE_STAT, "0/old"), 0);

  fakecloud_no_rules (core.fake);
  run_well (PULL_CHANGED);
  ck_assert (!health_is_away (core.health));
  ck_assert_str_eq (catalog (), "0/ 0/new=1 1/ 1/new=1 2/ 2/new=1 3/ 3/new=1 4/ 4/new=1 5/ 5/new=1 6/ 6/new=1"
                                " 7/ 7/new=1");
}
END_TEST

/* Also where all fail at once: it must not go on asking, nor collect answers instead of applying them. */
START_TEST (offline_ends_the_asking)
{
  fakecloud_set_inline (core.fake, true);
  for (unsigned i = 0; i < 500; ++i) {
    char path[8];

    snprintf (path, sizeof path, "d%03u", i);
    do_mkdir (path);
  }
  run_well (PULL_ALL);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .skip = 1, .result = CLOUD_OFFLINE });
  run (PULL_ALL);
  ck_assert_int_eq (result.result, CLOUD_OFFLINE);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 2);
}
END_TEST

/* The same where items are asked for that a listing no longer showed; also after another failure, which ends
 * nothing. */
START_TEST (offline_ends_the_asking_for_missing_items)
{
  static const struct {
    unsigned busy;             /* so many answers before */
    size_t asked;
  } cases[] = { { 0, 1 }, { 3, 4 } };

  fakecloud_set_inline (core.fake, true);
  for (unsigned i = 0; i < 500; ++i) {
    char path[8];

    snprintf (path, sizeof path, "f%03u", i);
    do_put (path, "1");
  }
  run_well (PULL_ALL);
  for (unsigned i = 0; i < 500; ++i) {
    char path[8];

    snprintf (path, sizeof path, "f%03u", i);
    fakecloud_remove (core.fake, path);
  }
  /* The first look is at the root. */
  if (cases[_i].busy)
    fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_STAT, .skip = 1, .result = CLOUD_BUSY,
                                                     .times = cases[_i].busy });
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_STAT, .skip = 1, .result = CLOUD_OFFLINE });
  run (PULL_ALL);
  ck_assert_int_eq (result.result, CLOUD_OFFLINE);
  ck_assert_uint_eq (asked (FAKE_STAT, NULL), 1 + cases[_i].asked);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE folder = 0 AND gone = 0"), 500);
  fakecloud_no_rules (core.fake);
  run_well (PULL_ALL);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE folder = 0 AND gone = 0"), 0);
}
END_TEST

static void *
run_in_thread (void *opaque)
{
  pull_run (pull, PULL_ALL, &result);
  return NULL;
}

START_TEST (stop_ends_a_walk)
{
  pthread_t thread;
  uint64_t begin;

  change (FIRST_TREE);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_LIST, .path = _i ? "b" : "", .hold = true });
  ck_assert_int_eq (pthread_create (&thread, NULL, run_in_thread, NULL), 0);
  while (asked (FAKE_LIST, _i ? "b" : "") == 0)
    sleep_ms (5);
  begin = now_ms ();
  pull_stop (pull);
  cloud_stop ((struct cloud *) core.fake);
  pthread_join (thread, NULL);
  ck_assert_int_eq (result.result, CLOUD_STOPPED);
  ck_assert_uint_lt (now_ms () - begin, 20000);
  ck_assert_uint_eq (asked (FAKE_LIST, "b/c"), 0);
}
END_TEST

/* ---- hints ---- */

START_TEST (hints_look_at_what_they_name)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  change ("put b/c/f 2; put a/f 2");
  ck_assert_int_eq (pull_hint (pull, "b/c/f"), 0);
  ck_assert_int_eq (pull_hint (pull, "b/c"), 0);
  run_well (PULL_HINTED);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=2 h=h");
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 1);
  /* Each hint once. */
  run_well (PULL_HINTED);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 0);

  /* What is new is looked at with all below it, from the lowest folder that is known. */
  change ("mkdir b/n; mkdir b/n/d; put b/n/d/x 1");
  ck_assert_int_eq (pull_hint (pull, "/b/n/d/x"), 0);
  run_well (PULL_HINTED);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=2 b/n/ b/n/d/ b/n/d/x=1 h=h");
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 3);

  /* A folder that has gone, and those above it. */
  change ("rm b");
  ck_assert_int_eq (pull_hint (pull, "b/n/d"), 0);
  run_well (PULL_HINTED);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag h=h");
  /* A name that is none, and a hint that is wrong. */
  ck_assert_int_eq (pull_hint (pull, "a//../x"), 0);
  ck_assert_int_eq (pull_hint (pull, "h/x"), 0);
  run_well (PULL_HINTED);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag h=h");
  ck_assert_int_eq (pull_hint (pull, "left over"), 0);
}
END_TEST

START_TEST (hints_leave_fresh_items_alone)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  change ("put b/c/f 2; put a/f 2");
  fakecloud_set_settled (core.fake, "b/c/f", false);
  fakecloud_set_settled (core.fake, "a/f", false);
  run_well (PULL_CHANGED);
  ck_assert (result.unsettled);
  fakecloud_set_settled (core.fake, "b/c/f", true);
  fakecloud_set_settled (core.fake, "a/f", true);
  ck_assert_int_eq (pull_hint (pull, "a"), 0);
  run_well (PULL_HINTED);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=bcf h=h");
  ck_assert (result.unsettled);
  run_well (PULL_FRESH);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=2 h=h");
  ck_assert (!result.unsettled);
}
END_TEST

/* ---- fresh items ---- */

START_TEST (fresh_items_wait)
{
  change (FIRST_TREE);
  fakecloud_set_settled (core.fake, "b/c/f", false);
  run_well (PULL_ALL);
  ck_assert (result.unsettled);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ h=h");
  run_well (PULL_FRESH);
  ck_assert (result.unsettled);
  ck_assert (!result.changed);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 1);
  ck_assert_uint_eq (asked (FAKE_LIST, "b/c"), 1);
  fakecloud_set_settled (core.fake, "b/c/f", true);
  run_well (PULL_FRESH);
  ck_assert (!result.unsettled);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");

  /* The old version stays until the new one can be believed. */
  change ("put b/c/f 2; put a/f 2");
  fakecloud_set_settled (core.fake, "b/c/f", false);
  run_well (PULL_CHANGED);
  ck_assert (result.unsettled);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=bcf h=h");
  change ("put b/c/f 3");
  fakecloud_set_settled (core.fake, "b/c/f", true);
  run_well (_i ? PULL_CHANGED : PULL_FRESH);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=3 h=h");
  ck_assert (!result.unsettled);

  /* A fresh file in a folder's place, and the folder of a fresh file that goes away. */
  change ("put a/g 2; rm b; put b b");
  fakecloud_set_settled (core.fake, "a/g", false);
  fakecloud_set_settled (core.fake, "b", false);
  run_well (PULL_CHANGED);
  ck_assert (result.unsettled);
  ck_assert_str_eq (catalog (), "a/ a/f=2 a/g=ag b/ b/c/ b/c/f=3 h=h");
  change ("rm a");
  fakecloud_set_settled (core.fake, "b", true);
  run_well (PULL_FRESH);
  run_well (PULL_CHANGED);
  ck_assert_str_eq (catalog (), "b=b h=h");
}
END_TEST

START_TEST (what_is_always_fresh_is_taken_in_the_end)
{
  unsigned looks = 0;

  change ("mkdir a; put a/log 1");
  fakecloud_set_settled (core.fake, "a/log", false);
  run_well (PULL_ALL);
  while (core_item (&core, "a/log") == 0) {
    ck_assert_uint_lt (++looks, 100);
    run_well (PULL_FRESH);
  }
  ck_assert_uint_ge (looks, 5);
}
END_TEST

/* ---- folder tokens ---- */

/* The remote is /p/q/r/f and /s/t/f; folders have tokens. */
static void
make_deep_tree (void)
{
  static const char *const folders[] = { "p", "p/q", "p/q/r", "s", "s/t" };

  for (int i = 0; i < N (folders); ++i)
    fakecloud_folder (core.fake, folders[i], "0", folders[i]);
  change ("put p/q/r/f 0; put s/t/f 0; put p/f 0");
  run_well (PULL_ALL);
}

/* Changes a file, and the tokens of the folders above it: all, or only the one that holds it. */
static void
change_deep (const char *path, bool all)
{
  static unsigned n;
  CLEANUP_FREE char *above = strdup (path);
  char token[16], *slash;

  snprintf (token, sizeof token, "%u", ++n);
  do_put (path, token);
  while ((slash = strrchr (above, '/'))) {
    *slash = '\0';
    fakecloud_set_token (core.fake, above, token);
    if (!all)
      break;
  }
}

/* Whether a folder whose token is as it was is skipped. */
static bool
is_believed (void)
{
  run_well (PULL_CHANGED);
  return asked (FAKE_LIST, "p") == 0;
}

static void
make_believe (void)
{
  make_deep_tree ();
  for (unsigned i = 0; i < 10 && !is_believed (); ++i) {
    change_deep ("p/q/r/f", true);
    run_well (PULL_CHANGED);
  }
  ck_assert (is_believed ());
}

START_TEST (tokens_are_learned)
{
  unsigned changes_seen = 0;

  make_deep_tree ();
  while (!is_believed ()) {
    ck_assert_uint_lt (++changes_seen, 10);
    change_deep ("p/q/r/f", true);
    run_well (PULL_CHANGED);
    ck_assert (result.changed);
  }
  ck_assert_uint_ge (changes_seen, 2);         /* once may be chance */

  /* Only what changed is asked for; and by a new process as well. */
  new_pull (PARALLEL);
  change_deep ("s/t/f", true);
  run_well (PULL_CHANGED);
  ck_assert (result.changed);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 3);
  ck_assert_uint_eq (asked (FAKE_LIST, "s/t"), 1);
  run_well (PULL_CHANGED);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 1);
  run_well (PULL_ALL);
  ck_assert_uint_eq (asked (FAKE_LIST, NULL), 6);
}
END_TEST

START_TEST (own_tokens_teach_nothing)
{
  make_deep_tree ();
  for (unsigned i = 0; i < 8; ++i) {
    change_deep ("p/f", true);
    ck_assert (!is_believed ());
  }
}
END_TEST

/* Only after so many changes that agree comes one that does not. */
static const unsigned agreeing[] = { 0, 1, 2, 6 };

START_TEST (one_counter_example_is_enough)
{
  make_deep_tree ();
  for (unsigned i = 0; i < agreeing[_i]; ++i) {
    change_deep ("p/q/r/f", true);
    run_well (PULL_ALL);
  }
  change_deep ("p/q/r/f", false);
  run_well (PULL_ALL);
  ck_assert (result.changed);
  ck_assert (!is_believed ());
  for (unsigned i = 0; i < 8; ++i) {
    change_deep ("p/q/r/f", true);
    run_well (PULL_ALL);
    ck_assert (!is_believed ());
  }
  new_pull (PARALLEL);
  ck_assert (!is_believed ());
  change_deep ("p/q/r/f", false);
  run_well (PULL_CHANGED);
  ck_assert (result.changed);
}
END_TEST

/* A walk that did not see a change must not make the next one skip it. */
static const struct fake_rule unseen[] = {
  { .verb = FAKE_LIST, .path = "p/q/r", .result = CLOUD_DENIED },
  { .verb = FAKE_LIST, .path = "p/q/r", .result = CLOUD_BAD, .items_before = 1 },
  { .verb = FAKE_LIST, .path = "p/q/r", .result = CLOUD_GONE },
  { .verb = FAKE_LIST, .path = "p/q/r", .result = CLOUD_OFFLINE },
  { .verb = FAKE_LIST, .path = "p/q", .result = CLOUD_DENIED },
  { .verb = FAKE_LIST, .path = "p/q", .result = CLOUD_AUTH },
  { .verb = FAKE_LIST, .path = "p", .result = CLOUD_BAD },
  { .verb = FAKE_STAT, .path = "p/q/r/f", .result = CLOUD_DENIED },
  { .verb = FAKE_STAT, .path = "p/q/r/f", .result = CLOUD_BUSY },
};

START_TEST (what_was_not_seen_is_looked_at_again)
{
  make_believe ();
  change_deep ("p/q/r/f", true);
  change ("rm p/q/r/f; put p/q/r/g 1");
  fakecloud_rule (core.fake, &unseen[_i]);
  run (PULL_CHANGED);
  ck_assert_int_ne (core_item (&core, "p/q/r/f"), 0);
  fakecloud_no_rules (core.fake);
  health_report (core.health, CLOUD_OK, NULL);
  run_well (PULL_CHANGED);
  ck_assert_int_eq (core_item (&core, "p/q/r/f"), 0);
  ck_assert_int_ne (core_item (&core, "p/q/r/g"), 0);
}
END_TEST

START_TEST (fresh_items_are_looked_at_again)
{
  make_believe ();
  change_deep ("p/q/r/f", true);
  fakecloud_set_settled (core.fake, "p/q/r/f", false);
  run_well (PULL_CHANGED);
  ck_assert (result.unsettled);
  fakecloud_set_settled (core.fake, "p/q/r/f", true);
  if (_i)
    new_pull (PARALLEL);       /* as after a restart */
  run_well (PULL_CHANGED);
  ck_assert (result.changed);
}
END_TEST

/* ---- the root ---- */

START_TEST (another_root)
{
  change (FIRST_TREE);
  fakecloud_set_id (core.fake, "", "root");
  run_well (PULL_ALL);
  change ("rm a; rm b; rm h; put x x");
  fakecloud_set_id (core.fake, "", "another");
  for (enum pull_kind kind = PULL_ALL; kind <= PULL_CHANGED; ++kind) {
    run (kind);
    ck_assert_int_eq (result.result, CLOUD_BAD);
    ck_assert (!result.changed);
    ck_assert_str_ne (result.sentence, "");
    ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");
  }
  new_pull (PARALLEL);
  run (PULL_ALL);
  ck_assert_int_eq (result.result, CLOUD_BAD);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");

  fakecloud_set_id (core.fake, "", "root");
  run_well (PULL_ALL);
  ck_assert_str_eq (catalog (), "x=x");
}
END_TEST

/* ---- what can't be kept ---- */

START_TEST (too_deep)
{
  char path[2 * CATALOG_MAX_DEPTH + 20] = "";

  for (int i = 0; i < CATALOG_MAX_DEPTH + 5; ++i) {
    strcat (path, i ? "/d" : "d");
    fakecloud_folder (core.fake, path, NULL, NULL);
  }
  run_well (PULL_ALL);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE id > 1"), CATALOG_MAX_DEPTH);
  ck_assert_uint_eq (said (MSG_NOTICE, "left out"), 1);
  run_well (PULL_ALL);
  ck_assert_uint_eq (said (MSG_NOTICE, "left out"), 1);
}
END_TEST

/* Also where a look at fresh items begins deep in the tree. */
START_TEST (too_deep_from_a_fresh_folder)
{
  char path[4 * CATALOG_MAX_DEPTH] = "", fresh[4 * CATALOG_MAX_DEPTH + 8];

  for (int i = 0; i < CATALOG_MAX_DEPTH - 3; ++i) {
    strcat (path, i ? "/d" : "d");
    fakecloud_folder (core.fake, path, NULL, NULL);
  }
  snprintf (fresh, sizeof fresh, "%s/fresh", path);
  fakecloud_put (core.fake, fresh, 1, "1", NULL);
  fakecloud_set_settled (core.fake, fresh, false);
  run_well (PULL_ALL);
  ck_assert (result.unsettled);
  for (int i = 0; i < 20; ++i) {
    strcat (path, "/e");
    fakecloud_folder (core.fake, path, NULL, NULL);
  }
  run_well (PULL_FRESH);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE id > 1"), CATALOG_MAX_DEPTH);
}
END_TEST

static const unsigned too_long_paths[] = { CATALOG_MAX_PATH - 1, CATALOG_MAX_PATH, CATALOG_MAX_PATH + 1 };

START_TEST (too_long)
{
  CLEANUP_FREE char *path = calloc (1, CATALOG_MAX_PATH + 300);
  unsigned n = 0, folders = 0;

  while (n < too_long_paths[_i] - 250) {
    if (n > 0)
      path[n++] = '/';
    memset (path + n, 'x', 200);
    n += 200;
    fakecloud_folder (core.fake, path, NULL, NULL);
    folders++;
  }
  path[n++] = '/';
  memset (path + n, 'f', too_long_paths[_i] - n);
  fakecloud_put (core.fake, path, 1000, "1", NULL);
  run_well (PULL_ALL);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM item WHERE id > 1"),
                    folders + (too_long_paths[_i] <= CATALOG_MAX_PATH));
  /* What is taken can be read. */
  if (core_query (&core, "SELECT count (*) FROM version") == 1)
    ck_assert_int_eq (core_read (&core, core_file (&core, path), fakecloud_content (core.fake, path), 1000, 0), 0);
}
END_TEST

static void
check_left_out (const char *name)
{
  run_well (PULL_ALL);
  ck_assert_str_eq (catalog (), "a/ a/f=af a/g=ag b/ b/c/ b/c/f=bcf h=h");
  ck_assert_uint_eq (said (MSG_NOTICE, name), 1);
  run_well (PULL_ALL);
  ck_assert_uint_eq (said (MSG_NOTICE, name), 1);
}

START_TEST (too_large)
{
  change (FIRST_TREE);
  fakecloud_put (core.fake, "huge", BLOB_MAX_RUN + 1, "1", NULL);
  check_left_out ("huge");
}
END_TEST

START_TEST (grew_too_large)
{
  change (FIRST_TREE);
  run_well (PULL_ALL);
  fakecloud_put (core.fake, "h", UINT64_MAX, "2", NULL);
  check_left_out ("\"h\"");
}
END_TEST

/* ---- the cache ---- */

/* What the change takes away can't be fetched again, so the cache must not evict it. */
static const char *const takes_away[] = {
  "put b/c/f 2", "rm b/c/f", "rm b", "rm b/c", "rm b/c/f; mkdir b/c/f", "rm b/c; put b/c x",
};

START_TEST (the_cache_is_told)
{
  struct cache_file *file, *other;

  change (FIRST_TREE);
  run_well (PULL_ALL);
  file = core_file (&core, "b/c/f");
  other = core_file (&core, "a/f");
  ck_assert_int_eq (core_read (&core, file, fakecloud_content (core.fake, "b/c/f"), 1000, 0), 0);
  change (takes_away[_i]);
  run_well (PULL_ALL);
  ck_assert (file->superseded);
  ck_assert (!other->superseded);
}
END_TEST

START_TEST (renames_do_not_supersede)
{
  struct cache_file *file;

  change (FIRST_TREE);
  run_well (PULL_ALL);
  file = core_file (&core, "b/c/f");
  change ("mv b z; mv z/c/f z/g");
  run_well (PULL_ALL);
  ck_assert (!file->superseded);
  ck_assert_ptr_eq (core_file (&core, "z/g"), file);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("pull");
  TCase *tcase = tcase_create ("pull");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_set_timeout (tcase, 60);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_loop_test (tcase, what_is_what, 0, N (matches));
  tcase_add_loop_test (tcase, what_may_be_moved, 0, N (moves));
  tcase_add_test (tcase, what_has_left);
  tcase_add_loop_test (tcase, first_listing, 0, 2);
  tcase_add_loop_test (tcase, changes_arrive, 0, 4 * N (changes));
  tcase_add_test (tcase, many_folders);
  tcase_add_loop_test (tcase, listings_that_end_badly, 0, N (failures));
  tcase_add_test (tcase, busy_is_asked_again);
  tcase_add_loop_test (tcase, what_is_there_by_name_is_kept, 0, N (empty_looking));
  tcase_add_test (tcase, one_is_gone_among_those_not_shown);
  tcase_add_loop_test (tcase, unclear_is_not_gone, 0, N (unclear));
  tcase_add_test (tcase, offline_in_the_middle);
  tcase_add_test (tcase, offline_ends_the_asking);
  tcase_add_loop_test (tcase, offline_ends_the_asking_for_missing_items, 0, 2);
  tcase_add_loop_test (tcase, stop_ends_a_walk, 0, 2);
  tcase_add_test (tcase, hints_look_at_what_they_name);
  tcase_add_test (tcase, hints_leave_fresh_items_alone);
  tcase_add_loop_test (tcase, fresh_items_wait, 0, 2);
  tcase_add_test (tcase, what_is_always_fresh_is_taken_in_the_end);
  tcase_add_test (tcase, tokens_are_learned);
  tcase_add_test (tcase, own_tokens_teach_nothing);
  tcase_add_loop_test (tcase, one_counter_example_is_enough, 0, N (agreeing));
  tcase_add_loop_test (tcase, what_was_not_seen_is_looked_at_again, 0, N (unseen));
  tcase_add_loop_test (tcase, fresh_items_are_looked_at_again, 0, 2);
  tcase_add_test (tcase, another_root);
  tcase_add_test (tcase, too_deep);
  tcase_add_test (tcase, too_deep_from_a_fresh_folder);
  tcase_add_loop_test (tcase, too_long, 0, N (too_long_paths));
  tcase_add_test (tcase, too_large);
  tcase_add_test (tcase, grew_too_large);
  tcase_add_loop_test (tcase, the_cache_is_told, 0, N (takes_away));
  tcase_add_test (tcase, renames_do_not_supersede);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
