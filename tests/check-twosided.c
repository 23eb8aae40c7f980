/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest and somebody at the remote change the same tree at random, with faults and restarts in between.  At the end
 * both sides hold the same, and every content that was written, and that nobody who had seen it overwrote or removed,
 * is in some file.
 *
 * TWOSIDED_SEED=N runs that one only, TWOSIDED_ROUNDS=N so many. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "db.h"
#include "health.h"
#include "pushcore.h"

#define STEPS 70
#define ROUNDS 12
#define MAX_NODES 512
#define MAX_CONTENTS 1024

static struct pushcore p;
static uint64_t seed;
static bool talk;

/* ---- contents ---- */

static struct {
  char text[32];
  bool must_be;                /* nobody who saw it gave it up */
} contents[MAX_CONTENTS];
static size_t n_contents;

static const char *
new_content (const char *who)
{
  /* Of lengths that often are the same. */
  snprintf (contents[n_contents].text, sizeof contents[0].text, "%s%0*zu", who, (int) (3 + n_contents % 3), n_contents);
  contents[n_contents].must_be = true;
  return contents[n_contents++].text;
}

static void
give_up (const char *text)
{
  for (size_t i = 0; text && i < n_contents; ++i)
    if (strcmp (contents[i].text, text) == 0)
      contents[i].must_be = false;
}

/* ---- what the guest sees ---- */

struct node {
  int64_t id, parent, version;
  uint64_t size, position;
  bool is_folder;
  char name[128];
  char path[512];
};

struct view {
  struct node nodes[MAX_NODES];
  size_t n;
};

static struct view view, old_view;

static void
see_folder (int64_t folder, const char *path)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_children (p.core.db, folder, &list), 0);
  for (size_t i = 0; i < list.n && view.n < MAX_NODES; ++i) {
    struct node *node = &view.nodes[view.n++];
    char own[sizeof node->path];

    *node = (struct node) {
      .id = list.items[i].id, .parent = folder, .version = list.items[i].version, .size = list.items[i].size,
      .position = list.items[i].position, .is_folder = list.items[i].is_folder,
    };
    snprintf (node->name, sizeof node->name, "%s", list.items[i].name);
    snprintf (own, sizeof own, "%s%s%s", path, path[0] ? "/" : "", node->name);
    memcpy (node->path, own, sizeof own);
    if (node->is_folder)
      see_folder (node->id, own);
  }
  catalog_list_free (&list);
}

static void
see (void)
{
  view.n = 0;
  db_read_begin (p.core.db);
  see_folder (CATALOG_ROOT, "");
  db_read_end (p.core.db);
}

/* NULL if it can't be read right now. */
static char *
read_node (const struct node *node)
{
  char *bytes = calloc (1, node->size + 1);
  struct cache_file *file;

  if (node->size == 0)
    return bytes;
  file = cache_file (p.core.cache, node->version, node->size, node->position);
  if (file && cache_read (p.core.cache, file, bytes, node->size, 0) == 0)
    return bytes;
  free (bytes);
  return NULL;
}

static const struct node *
any_node (const struct view *of, int folders)
{
  for (unsigned tries = 0; of->n > 0 && tries < 20; ++tries) {
    const struct node *node = &of->nodes[random_below (&seed, of->n)];

    if (folders == -1 || node->is_folder == folders)
      return node;
  }
  return NULL;
}

static int64_t
any_folder (void)
{
  const struct node *node = random_below (&seed, 3) ? any_node (&view, 1) : NULL;

  return node ? node->id : CATALOG_ROOT;
}

static const char *
any_name (void)
{
  static const char *const names[] = { "a", "b", "c.txt", "d", "e.x", ".f", "g" };

  return names[random_below (&seed, sizeof names / sizeof names[0])];
}

static const struct node *
child_of (int64_t folder, const char *name)
{
  for (size_t i = 0; i < view.n; ++i)
    if (view.nodes[i].parent == folder && strcmp (view.nodes[i].name, name) == 0)
      return &view.nodes[i];
  return NULL;
}

static bool
is_inside (int64_t id, int64_t folder)
{
  while (id != CATALOG_ROOT) {
    size_t i = 0;

    if (id == folder)
      return true;
    while (i < view.n && view.nodes[i].id != id)
      i++;
    if (i == view.n)
      return false;
    id = view.nodes[i].parent;
  }
  return false;
}

/* ---- what the guest does ---- */

static void
guest_edit (const struct node *node)
{
  CLEANUP_FREE char *was = read_node (node);
  const char *text;

  if (was == NULL)
    return;
  text = new_content ("G");
  if (talk)
    fprintf (stderr, "guest: %s = %s (was %s)\n", node->path, text, was);
  give_up (was);
  pushcore_edit_known (&p, node->id, node->version, text);
}

static void
guest_create (void)
{
  const int64_t folder = any_folder ();
  const char *name = any_name ();
  const struct node *there = child_of (folder, name);
  struct pushcore_change of;
  const struct timespec mtime = { .tv_sec = p.tick += 2 };
  const bool is_folder = random_below (&seed, 3) == 0;
  const char *text = NULL;

  if (there && there->is_folder)
    return;
  if (there) {
    guest_edit (there);
    return;
  }
  if (!is_folder)
    text = random_below (&seed, 10) ? new_content ("G") : "";
  if (talk)
    fprintf (stderr, "guest: new %s %s in %lld\n", name, text ? text : "(folder)", (long long) folder);
  pushcore_begin (&p, &of);
  if (text)
    pushcore_stage (&p, &of, text);
  ck_assert_int_gt (journal_create (&of.journal, folder, name, is_folder, of.staged, &mtime), 0);
  pushcore_end (&p, &of);
}

static void
guest_move (void)
{
  const struct node *node = any_node (&view, -1);
  const int64_t folder = any_folder ();
  const char *name = any_name ();
  struct pushcore_change of;

  if (node == NULL || child_of (folder, name) || is_inside (folder, node->id))
    return;
  if (talk)
    fprintf (stderr, "guest: move %s to %lld %s\n", node->path, (long long) folder, name);
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, node->id, node->parent, node->name, folder, name), 0);
  pushcore_end (&p, &of);
}

static void
guest_swap (void)
{
  const struct node *a = any_node (&view, -1), *b = any_node (&view, -1);
  struct pushcore_change of;

  if (a == NULL || b == NULL || a == b || is_inside (a->id, b->id) || is_inside (b->id, a->id))
    return;
  if (talk)
    fprintf (stderr, "guest: swap %s and %s\n", a->path, b->path);
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_move (&of.journal, a->id, a->parent, a->name, b->parent, b->name), 0);
  ck_assert_int_eq (journal_move (&of.journal, b->id, b->parent, b->name, a->parent, a->name), 0);
  pushcore_end (&p, &of);
}

static void
remove_tree (struct pushcore_change *of, const struct node *node)
{
  for (size_t i = 0; i < view.n; ++i)
    if (view.nodes[i].parent == node->id)
      remove_tree (of, &view.nodes[i]);
  ck_assert_int_eq (journal_remove (&of->journal, node->id, node->version), 0);
}

/* false if some of it can't be read: then nobody knows what would be given up. */
static bool
give_up_tree (const struct node *node, bool really)
{
  CLEANUP_FREE char *text = node->is_folder ? NULL : read_node (node);

  if (!node->is_folder && text == NULL)
    return false;
  if (really)
    give_up (text);
  for (size_t i = 0; i < view.n; ++i)
    if (view.nodes[i].parent == node->id && !give_up_tree (&view.nodes[i], really))
      return false;
  return true;
}

static void
guest_remove (void)
{
  const struct node *node = any_node (&view, random_below (&seed, 3) ? 0 : -1);
  struct pushcore_change of;

  if (node == NULL || !give_up_tree (node, false) || !give_up_tree (node, true))
    return;
  if (talk)
    fprintf (stderr, "guest: remove %s\n", node->path);
  pushcore_begin (&p, &of);
  remove_tree (&of, node);
  pushcore_end (&p, &of);
}

static void
guest_touch (void)
{
  const struct node *node = any_node (&view, 0);
  const struct timespec mtime = { .tv_sec = p.tick += 2 };
  struct pushcore_change of;

  if (node == NULL)
    return;
  pushcore_begin (&p, &of);
  ck_assert_int_eq (journal_touch (&of.journal, node->id, &mtime), 0);
  pushcore_end (&p, &of);
}

static void
guest_acts (bool alone)
{
  see ();
  switch (random_below (&seed, alone ? 11 : 12)) {
  case 0: case 1: case 2: case 3:
    guest_create ();
    break;
  case 4: case 5: {
    const struct node *node = any_node (&view, 0);

    if (node)
      guest_edit (node);
    break;
  }
  case 6: case 7:
    guest_move ();
    break;
  case 8:
    guest_swap ();
    break;
  case 9:
    guest_remove ();
    break;
  case 10:
    guest_touch ();
    break;
  default:
    /* A view that is a while behind. */
    if (old_view.n > 0 && random_below (&seed, 2)) {
      const struct node *node = any_node (&old_view, 0);

      if (node)
        guest_edit (node);
    }
    else
      old_view = view;
  }
}

/* ---- what somebody does at the remote ---- */

static struct {
  char path[256];
  bool is_folder;
} there[MAX_NODES];
static size_t n_there;

static void
note_there (void *opaque, const char *path, bool is_folder)
{
  if (n_there < MAX_NODES) {
    snprintf (there[n_there].path, sizeof there[0].path, "%s", path);
    there[n_there++].is_folder = is_folder;
  }
}

static bool
is_there (const char *path)
{
  for (size_t i = 0; i < n_there; ++i)
    if (strcmp (there[i].path, path) == 0)
      return true;
  return false;
}

static void
give_up_there (const char *path)
{
  size_t n;
  CLEANUP_FREE char *text = fakecloud_read (p.core.fake, path, &n);

  give_up (text);
}

static void
remote_acts_locked (void)
{
  const size_t length = 256;
  char path[800];
  size_t i;

  n_there = 0;
  fakecloud_each (p.core.fake, note_there, NULL);
  i = n_there ? random_below (&seed, n_there) : 0;
  if (n_there && there[i].is_folder && random_below (&seed, 2))
    snprintf (path, sizeof path, "%.*s/%s", (int) length, there[i].path, any_name ());
  else
    snprintf (path, sizeof path, "%s", any_name ());

  switch (random_below (&seed, 8)) {
  case 0: case 1: case 2:
    if (!is_there (path)) {
      const char *text = random_below (&seed, 4) ? new_content ("R") : NULL;

      if (talk)
        fprintf (stderr, "remote: new %s %s\n", path, text ? text : "(folder)");
      if (text)
        fakecloud_write (p.core.fake, path, text, strlen (text));
      else
        fakecloud_mkdir (p.core.fake, path);
    }
    break;
  case 3: case 4:
    if (n_there && !there[i].is_folder) {
      const char *text = new_content ("R");

      if (talk)
        fprintf (stderr, "remote: %s = %s\n", there[i].path, text);
      give_up_there (there[i].path);
      fakecloud_write (p.core.fake, there[i].path, text, strlen (text));
    }
    break;
  case 5: case 6:
    if (n_there && !is_there (path) && strncmp (path, there[i].path, strlen (there[i].path)) != 0) {
      if (talk)
        fprintf (stderr, "remote: move %s to %s\n", there[i].path, path);
      fakecloud_rename (p.core.fake, there[i].path, path);
    }
    break;
  default:
    if (n_there) {
      const size_t n = strlen (there[i].path);

      if (talk)
        fprintf (stderr, "remote: remove %s\n", there[i].path);
      for (size_t j = 0; j < n_there; ++j)
        if (strncmp (there[j].path, there[i].path, n) == 0 && (there[j].path[n] == '\0' || there[j].path[n] == '/'))
          give_up_there (there[j].path);
      fakecloud_remove (p.core.fake, there[i].path);
    }
  }
}

static void
remote_acts (void)
{
  fakecloud_lock (p.core.fake);
  remote_acts_locked ();
  fakecloud_unlock (p.core.fake);
}

/* ---- what goes wrong ---- */

static void
add_fault (void)
{
  static const enum cloud_result lost[] = { CLOUD_OFFLINE, CLOUD_BUSY, CLOUD_BAD };
  static const enum cloud_result refused[] = { CLOUD_DENIED, CLOUD_FULL, CLOUD_REFUSED, CLOUD_BUSY, CLOUD_OFFLINE,
                                              CLOUD_LOCAL };
  struct fake_rule rule = { .verb = FAKE_PUT + random_below (&seed, 5), .times = 1 };

  switch (random_below (&seed, 5)) {
  case 0: case 1:
    rule.done = true;
    rule.result = lost[random_below (&seed, 3)];
    break;
  case 2:
    rule.result = refused[random_below (&seed, 6)];
    break;
  case 3:
    rule.silent = true;
    break;
  default:
    rule.verb = random_below (&seed, 3);
    rule.result = random_below (&seed, 2) ? CLOUD_BUSY : CLOUD_OFFLINE;
  }
  fakecloud_rule (p.core.fake, &rule);
}

/* ---- the test ---- */

static void
check_end (bool alone)
{
  CLEANUP_FREE char *remote = NULL, *local = NULL;

  fakecloud_no_rules (p.core.fake);
  for (unsigned i = 0; i < 3; ++i) {
    health_report (p.core.health, CLOUD_OK, NULL);
    pushcore_drain (&p);
    pushcore_pull (&p);
  }
  pushcore_drain (&p);
  remote = pushcore_remote (&p);
  local = pushcore_local (&p);
  ck_assert_str_eq (local, remote);
  for (size_t i = 0; i < n_contents; ++i) {
    if (contents[i].must_be && strstr (remote, contents[i].text) == NULL)
      ck_abort_msg ("%s is lost: %s", contents[i].text, remote);
    if (alone)
      ck_assert_msg (fakecloud_stored (p.core.fake, contents[i].text) <= 1, "%s was sent twice", contents[i].text);
  }
  /* Somebody who renames a folder while something in it has a passing name makes that name last. */
  if (alone) {
    ck_assert_msg (strstr (remote, ".cloudshare-") == NULL, "%s", remote);
    ck_assert_msg (strstr (remote, "conflicted") == NULL, "%s", remote);
  }

  /* And it stays so. */
  fakecloud_forget (p.core.fake);
  pushcore_pull (&p);
  ck_assert (!p.result.changed);
  for (enum fake_verb verb = FAKE_PUT; verb <= FAKE_TOUCH; ++verb)
    ck_assert_uint_eq (fakecloud_log (p.core.fake, verb, NULL, NULL, 0), 0);
}

static void
run (uint64_t start, bool alone)
{
  static const char *const kinds[] = { NULL, "SHA1", "MD5" };
  const bool ids = start / 3 % 2, moves = start / 6 % 2;

  seed = start;
  n_contents = 0;
  old_view.n = 0;
  pushcore_open (&p, 1 + start % 5);
  fakecloud_set_manners (p.core.fake, ids, kinds[start % 3], moves);
  for (unsigned step = 0; step < STEPS; ++step) {
    switch (random_below (&seed, 12)) {
    case 0: case 1: case 2: case 3: case 4:
      guest_acts (alone);
      break;
    case 5: case 6: case 7:
      if (!alone)
        remote_acts ();
      else
        guest_acts (alone);
      break;
    case 8:
      pushcore_pull (&p);
      break;
    case 9:
      add_fault ();
      break;
    case 10:
      if (p.paused)
        pushcore_go_on (&p);
      else if (random_below (&seed, 2))
        pushcore_pause (&p);
      else if (random_below (&seed, 2))
        pushcore_restart (&p);
      break;
    default:
      sleep_ms (random_below (&seed, 8));
      health_report (p.core.health, CLOUD_OK, NULL);
    }
  }
  check_end (alone);
  pushcore_close (&p);
}

static void
rounds (bool alone)
{
  const char *one = getenv ("TWOSIDED_SEED"), *many = getenv ("TWOSIDED_ROUNDS");
  const unsigned n = one ? 1 : many ? atoi (many) : ROUNDS;

  talk = getenv ("TWOSIDED_TALKS") != NULL;
  for (unsigned i = 0; i < n; ++i) {
    const uint64_t start = one ? strtoull (one, NULL, 10) : many ? (uint64_t) time (NULL) * 1000 + i : 1000 + i;

    fprintf (stderr, "TWOSIDED_SEED=%llu%s\n", (unsigned long long) start, alone ? " (alone)" : "");
    run (start, alone);
  }
}

START_TEST (two_sides)
{
  rounds (false);
}
END_TEST

START_TEST (one_side)
{
  rounds (true);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("twosided");
  TCase *tcase = tcase_create ("two sides"), *one = tcase_create ("one side");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 300);
  tcase_set_timeout (one, 300);
  tcase_add_test (one, one_side);
  tcase_add_test (tcase, two_sides);
  suite_add_tcase (suite, one);
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
