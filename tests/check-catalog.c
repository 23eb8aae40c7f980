/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the catalog: items, versions, revisions, and the questions that it answers. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "core.h"
#include "db.h"

static struct core core;
static struct db *db;
static int64_t rev;            /* of the transaction under way */

static void
setup (void)
{
  core_open (&core, 0);
  db = core.db;
}

static void
teardown (void)
{
  core_close (&core);
}

static void
begin (void)
{
  ck_assert_int_eq (db_begin (db), 0);
  ck_assert_int_eq (catalog_revision (db, &rev), 0);
  rev++;
}

static void
commit (void)
{
  ck_assert_int_eq (catalog_commit_revision (db, rev), 0);
  ck_assert_int_eq (db_end (db, 0), 0);
}

static struct cloud_item
file (const char *name, uint64_t size, const char *token)
{
  return (struct cloud_item) {
    .name = name, .size = size, .token = token, .mtime = { 1700000000, 5 }, .settled = true,
  };
}

static struct cloud_item
folder (const char *name)
{
  return (struct cloud_item) { .name = name, .is_folder = true, .mtime = { 1700000000, 5 }, .settled = true };
}

static int64_t
add (int64_t parent, struct cloud_item seen)
{
  const int64_t id = catalog_add (db, core.blobs, rev, parent, &seen);

  ck_assert_int_gt (id, CATALOG_ROOT);
  return id;
}

/* What is known of one item; valid until the next call. */
static const struct catalog_item *
known (int64_t id)
{
  static struct catalog_list list;

  catalog_list_free (&list);
  return catalog_item (db, id, &list) == 1 ? list.items : NULL;
}

static void
update (int64_t id, struct cloud_item seen)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_item (db, id, &list), 1);
  ck_assert_int_eq (catalog_update (db, core.blobs, rev, &list.items[0], &seen), 0);
  catalog_list_free (&list);
}

static int
move (int64_t id, int64_t parent, const char *name)
{
  struct catalog_list list;
  int r;

  ck_assert_int_eq (catalog_item (db, id, &list), 1);
  r = catalog_move (db, rev, &list.items[0], parent, name);
  catalog_list_free (&list);
  return r;
}

static void
check_path (int64_t id, const char *expected)
{
  CLEANUP_FREE char *path = catalog_path (db, id);

  ck_assert_str_eq (path, expected);
}

/* ---- items ---- */

START_TEST (children_are_sorted_and_whole)
{
  static const char *const names[] = { "b", "a", "B", "\xff\xfe", "a.txt", "\xc3\xa4", "a b", "\x80", "zz", "\x01" };
  static const char *const sorted[] = { "\x01", "B", "a", "a b", "a.txt", "b", "zz", "\x80", "\xc3\xa4", "\xff\xfe" };
  struct catalog_list list;
  struct cloud_item full = file ("full", 12345, "token");

  begin ();
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i)
    add (CATALOG_ROOT, file (names[i], i, "1"));
  ck_assert_int_eq (catalog_children (db, CATALOG_ROOT, &list), 0);
  ck_assert_uint_eq (list.n, sizeof sorted / sizeof sorted[0]);
  for (size_t i = 0; i < list.n; ++i)
    ck_assert_str_eq (list.items[i].name, sorted[i]);
  catalog_list_free (&list);
  commit ();

  begin ();
  full.id = "\xfe" "id";
  full.checksum = "SHA1:00";
  full.mtime = (struct timespec) { 1234567890, 999999999 };
  const int64_t dir = add (CATALOG_ROOT, folder ("dir")), id = add (dir, full);
  const int64_t empty = add (dir, file ("empty", 0, ""));
  commit ();

  db_read_begin (db);
  const struct catalog_item *item = known (id);
  ck_assert_int_eq (item->id, id);
  ck_assert_int_eq (item->parent, dir);
  ck_assert_str_eq (item->name, "full");
  ck_assert (!item->is_folder);
  ck_assert_uint_eq (item->size, 12345);
  ck_assert_int_eq (item->mtime.tv_sec, 1234567890);
  ck_assert_int_eq (item->mtime.tv_nsec, 999999999);
  ck_assert_int_gt (item->version, 0);
  ck_assert_str_eq (item->token, "token");
  ck_assert_str_eq (item->remote_id, "\xfe" "id");
  ck_assert_str_eq (item->checksum, "SHA1:00");
  ck_assert_uint_eq (item->position % BLOB_ALIGN, 0);

  item = known (dir);
  ck_assert (item->is_folder);
  ck_assert_uint_eq (item->size, 0);
  ck_assert_int_eq (item->version, 0);
  ck_assert_ptr_null (item->token);
  ck_assert_ptr_null (item->remote_id);
  ck_assert_ptr_null (item->checksum);

  item = known (empty);
  ck_assert_uint_eq (item->size, 0);
  ck_assert_int_gt (item->version, 0);
  ck_assert_str_eq (item->token, "");

  ck_assert_ptr_null (known (999));
  ck_assert_int_eq (catalog_children (db, 999, &list), 0);
  ck_assert_uint_eq (list.n, 0);
  catalog_list_free (&list);
  ck_assert_int_eq (catalog_by_remote_id (db, "\xfe" "id"), id);
  ck_assert_int_eq (catalog_by_remote_id (db, "id"), 0);
  db_read_end (db);
}
END_TEST

static const struct {
  struct timespec given, kept;
} times[] = {
  { { 0, 0 }, { 0, 0 } },
  { { 1, 1 }, { 1, 1 } },
  { { 4102444800, 123456789 }, { 4102444800, 123456789 } },
  { { -1, 5 }, { 0, 0 } },
  { { INT64_MAX, 0 }, { 0, 0 } },
  { { INT64_MAX / 1000000000, 999999999 }, { 0, 0 } },
};

START_TEST (times_that_fit)
{
  struct cloud_item seen = file ("f", 1, "1");

  seen.mtime = times[_i].given;
  begin ();
  const int64_t id = add (CATALOG_ROOT, seen);
  commit ();
  db_read_begin (db);
  ck_assert_int_eq (known (id)->mtime.tv_sec, times[_i].kept.tv_sec);
  ck_assert_int_eq (known (id)->mtime.tv_nsec, times[_i].kept.tv_nsec);
  db_read_end (db);
}
END_TEST

START_TEST (too_large_a_file)
{
  const struct cloud_item seen = file ("huge", BLOB_MAX_RUN + 1, "1");

  begin ();
  ck_assert_int_eq (catalog_add (db, core.blobs, rev, CATALOG_ROOT, &seen), -1);
  ck_assert_int_eq (db_end (db, -1), -1);
  ck_assert_uint_eq (said (MSG_ERROR, "huge"), 1);
  ck_assert_int_eq (core_item (&core, "huge"), 0);
}
END_TEST

/* ---- paths ---- */

START_TEST (paths)
{
  begin ();
  const int64_t a = add (CATALOG_ROOT, folder ("a")), b = add (a, folder ("\xff b")), c = add (b, file ("c", 1, "1"));
  commit ();
  db_read_begin (db);
  check_path (CATALOG_ROOT, "");
  check_path (a, "a");
  check_path (b, "a/\xff b");
  check_path (c, "a/\xff b/c");
  errno = 0;
  ck_assert_ptr_null (catalog_path (db, 999));
  ck_assert_int_eq (errno, ENOENT);
  ck_assert_uint_eq (said (MSG_ERROR, ""), 0);
  db_read_end (db);
}
END_TEST

/* As deep as pull takes items, and far deeper. */
static const struct {
  unsigned depth;
  bool has_path;
} depths[] = {
  { 1, true }, { CATALOG_MAX_DEPTH - 1, true }, { CATALOG_MAX_DEPTH, true }, { 2 * CATALOG_MAX_DEPTH, false },
};

START_TEST (deep_paths)
{
  int64_t id = CATALOG_ROOT;
  char *path;

  begin ();
  for (unsigned i = 0; i < depths[_i].depth; ++i)
    id = add (id, folder ("x"));
  commit ();
  db_read_begin (db);
  path = catalog_path (db, id);
  db_read_end (db);
  ck_assert_int_eq (path != NULL, depths[_i].has_path);
  if (path)
    ck_assert_uint_eq (strlen (path), 2 * depths[_i].depth - 1);
  free (path);
}
END_TEST

/* Likewise. */
static const struct {
  unsigned bytes;
  bool has_path;
} lengths[] = {
  { CATALOG_MAX_PATH - 2, true }, { CATALOG_MAX_PATH - 1, true }, { CATALOG_MAX_PATH, true },
  { CATALOG_MAX_PATH + 1, false }, { 2 * CATALOG_MAX_PATH, false },
};

START_TEST (long_paths)
{
  unsigned left = lengths[_i].bytes;
  int64_t id = CATALOG_ROOT;
  char name[256], *path;

  begin ();
  while (left > 0) {
    const unsigned n = left <= 200 ? left : left == 201 ? 100 : 200;

    memset (name, 'n', n);
    name[n] = '\0';
    id = add (id, folder (name));
    left -= n == left ? n : n + 1;
  }
  commit ();
  db_read_begin (db);
  path = catalog_path (db, id);
  db_read_end (db);
  ck_assert_int_eq (path != NULL, lengths[_i].has_path);
  if (path)
    ck_assert_uint_eq (strlen (path), lengths[_i].bytes);
  free (path);
}
END_TEST

/* ---- versions ---- */

static const struct {
  const char *token, *checksum;
  uint64_t size;
  const char *seen_token, *seen_checksum;
  uint64_t seen_size;
  bool same;
} contents[] = {
  { "1", NULL, 5, "1", NULL, 5, true },
  { "1", NULL, 5, "2", NULL, 5, false },
  { "1", NULL, 5, "1", NULL, 6, false },
  { "1", "MD5:a", 5, "1", "MD5:a", 5, true },
  { "1", "MD5:a", 5, "1", "MD5:b", 5, false },
  { "1", "MD5:a", 5, "2", "MD5:a", 5, false },
  { "1", "MD5:a", 5, "1", NULL, 5, true },
  { "1", NULL, 5, "1", "MD5:a", 5, true },
};

START_TEST (same_version)
{
  struct cloud_item first = file ("f", contents[_i].size, contents[_i].token);
  struct cloud_item second = file ("f", contents[_i].seen_size, contents[_i].seen_token);
  int64_t id, before, after;

  first.checksum = contents[_i].checksum;
  second.checksum = contents[_i].seen_checksum;
  begin ();
  id = add (CATALOG_ROOT, first);
  commit ();
  begin ();
  ck_assert_int_eq (catalog_same_version (known (id), &second), contents[_i].same);
  before = known (id)->version;
  update (id, second);
  after = known (id)->version;
  commit ();
  ck_assert_int_eq (before == after, contents[_i].same);
}
END_TEST

START_TEST (versions_are_superseded)
{
  struct cloud_item second = file ("f", 70000, "2");
  struct catalog_source source;
  int64_t id, v1, v2, found;
  uint64_t position, size, p1;
  bool superseded;

  begin ();
  id = add (CATALOG_ROOT, file ("f", 100000, "1"));
  v1 = known (id)->version;
  p1 = known (id)->position;
  commit ();
  begin ();
  second.checksum = "MD5:0";
  second.mtime.tv_sec = 99;
  update (id, second);
  v2 = known (id)->version;
  ck_assert_int_ne (v1, v2);
  ck_assert_uint_ge (known (id)->position, p1 + 100000);
  ck_assert_str_eq (known (id)->token, "2");
  ck_assert_uint_eq (known (id)->size, 70000);
  ck_assert_int_eq (known (id)->mtime.tv_sec, 99);
  commit ();

  begin ();
  ck_assert_int_eq (catalog_source (db, v1, &source), 1);
  ck_assert_str_eq (source.path, "f");
  ck_assert_str_eq (source.token, "1");
  ck_assert_ptr_null (source.checksum);
  ck_assert_uint_eq (source.size, 100000);
  ck_assert (!source.current);
  catalog_source_free (&source);
  ck_assert_int_eq (catalog_source (db, v2, &source), 1);
  ck_assert_str_eq (source.token, "2");
  ck_assert_str_eq (source.checksum, "MD5:0");
  ck_assert_uint_eq (source.size, 70000);
  ck_assert (source.current);
  catalog_source_free (&source);
  ck_assert_int_eq (catalog_source (db, 999, &source), 0);

  ck_assert_int_eq (catalog_is_superseded (db, v1, &superseded), 0);
  ck_assert (superseded);
  ck_assert_int_eq (catalog_is_superseded (db, v2, &superseded), 0);
  ck_assert (!superseded);
  ck_assert_int_eq (catalog_next_superseded (db, 0, &found), 0);
  ck_assert_int_eq (found, v1);
  ck_assert_int_eq (catalog_next_superseded (db, v1, &found), 0);
  ck_assert_int_eq (found, 0);

  /* One that is current is not dropped. */
  ck_assert_int_eq (catalog_drop_version (db, v2, &position, &size), 0);
  ck_assert_int_eq (catalog_drop_version (db, v1, &position, &size), 1);
  ck_assert_uint_eq (position, p1);
  ck_assert_uint_eq (size, 100000);
  ck_assert_int_eq (catalog_drop_version (db, v1, &position, &size), 0);
  ck_assert_int_eq (catalog_next_superseded (db, 0, &found), 0);
  ck_assert_int_eq (found, 0);
  ck_assert_int_eq (catalog_source (db, v1, &source), 0);
  ck_assert_int_eq (catalog_is_superseded (db, v1, &superseded), 0);
  ck_assert (superseded);
  commit ();
}
END_TEST

/* ---- revisions ---- */

enum op {
  ADD_FILE, ADD_FOLDER, CONTENT, ATTRIBUTE, FOLDER_ATTRIBUTE, MOVE, RENAME, MOVE_FOLDER, REMOVE, REMOVE_FOLDER, TOKEN,
};

/* The tree is /f, /a, /a/f, /b, /b/c, /b/c/f.  Which folders change: by the letters r, a, b, c, and n for a new one. */
static const struct {
  enum op op;
  const char *changed;
} ops[] = {
  { ADD_FILE, "a" }, { ADD_FOLDER, "an" }, { CONTENT, "c" }, { ATTRIBUTE, "a" }, { FOLDER_ATTRIBUTE, "r" },
  { MOVE, "ac" }, { RENAME, "c" }, { MOVE_FOLDER, "ab" }, { REMOVE, "c" }, { REMOVE_FOLDER, "r" }, { TOKEN, "" },
};

START_TEST (changed_folders)
{
  struct cloud_item seen = file ("f", 1, "1"), dir = folder ("a");
  int64_t *ids, a, b, c, af, cf, revision;
  char letters[8];
  size_t n;

  begin ();
  add (CATALOG_ROOT, seen);
  a = add (CATALOG_ROOT, dir);
  af = add (a, seen);
  b = add (CATALOG_ROOT, folder ("b"));
  c = add (b, folder ("c"));
  cf = add (c, seen);
  commit ();

  begin ();
  seen.name = "new";
  dir.name = "new";
  switch (ops[_i].op) {
  case ADD_FILE:
    add (a, seen);
    break;
  case ADD_FOLDER:
    add (a, dir);
    break;
  case CONTENT:
    seen.name = "f";
    seen.token = "2";
    update (cf, seen);
    break;
  case ATTRIBUTE:
    seen.name = "f";
    seen.mtime.tv_sec++;
    update (af, seen);
    break;
  case FOLDER_ATTRIBUTE:
    dir.name = "b";
    dir.mtime.tv_sec++;
    update (b, dir);
    break;
  case MOVE:
    ck_assert_int_eq (move (cf, a, "moved"), 0);
    break;
  case RENAME:
    ck_assert_int_eq (move (cf, c, "moved"), 0);
    break;
  case MOVE_FOLDER:
    ck_assert_int_eq (move (c, a, "c"), 0);
    break;
  case REMOVE:
    ck_assert_int_eq (catalog_remove (db, rev, cf), 0);
    break;
  case REMOVE_FOLDER:
    ck_assert_int_eq (catalog_remove (db, rev, b), 0);
    break;
  case TOKEN:
    ck_assert_int_eq (catalog_set_token (db, a, "etag"), 0);
    ck_assert_str_eq (known (a)->token, "etag");
    ck_assert_int_eq (catalog_set_token (db, a, NULL), 0);
    ck_assert_ptr_null (known (a)->token);
    break;
  }
  ck_assert_int_eq (catalog_changed_folders (db, rev - 1, &ids, &n), 0);
  ck_assert_uint_eq (n, strlen (ops[_i].changed));
  for (size_t i = 0; i < n; ++i) {
    letters[i] = ids[i] == CATALOG_ROOT ? 'r' : ids[i] == a ? 'a' : ids[i] == b ? 'b' : ids[i] == c ? 'c' : 'n';
    if (i > 0)
      ck_assert_int_lt (ids[i - 1], ids[i]);
  }
  letters[n] = '\0';
  ck_assert_str_eq (letters, ops[_i].changed);
  free (ids);
  commit ();

  db_read_begin (db);
  ck_assert_int_eq (catalog_revision (db, &revision), 0);
  ck_assert_int_eq (revision, 2);
  ck_assert_int_eq (catalog_changed_folders (db, 2, &ids, &n), 0);
  ck_assert_uint_eq (n, 0);
  free (ids);
  ck_assert_int_eq (catalog_changed_folders (db, 0, &ids, &n), 0);
  ck_assert_uint_ge (n, 2);
  free (ids);
  db_read_end (db);
}
END_TEST

START_TEST (rolled_back)
{
  int64_t *ids, revision;
  size_t n;

  begin ();
  add (CATALOG_ROOT, folder ("a"));
  ck_assert_int_eq (catalog_commit_revision (db, rev), 0);
  ck_assert_int_eq (db_end (db, -1), -1);

  db_read_begin (db);
  ck_assert_int_eq (catalog_revision (db, &revision), 0);
  ck_assert_int_eq (revision, 0);
  ck_assert_int_eq (catalog_changed_folders (db, 0, &ids, &n), 0);
  ck_assert_uint_eq (n, 0);
  free (ids);
  db_read_end (db);
  ck_assert_int_eq (core_item (&core, "a"), 0);
}
END_TEST

/* ---- moving and removing ---- */

START_TEST (move_takes_all_below)
{
  int64_t a, b, c, f, version;

  begin ();
  a = add (CATALOG_ROOT, folder ("a"));
  b = add (a, folder ("b"));
  c = add (CATALOG_ROOT, folder ("c"));
  f = add (b, file ("f", 1, "1"));
  version = known (f)->version;
  commit ();
  begin ();
  ck_assert_int_eq (move (b, c, "\xf0 new"), 0);
  check_path (f, "c/\xf0 new/f");
  ck_assert_int_eq (known (f)->version, version);
  ck_assert_int_eq (known (b)->parent, c);
  commit ();

  /* A name that is taken is refused, and nothing is lost. */
  begin ();
  add (c, folder ("taken"));
  commit ();
  begin ();
  ck_assert_int_eq (move (b, c, "taken"), -1);
  ck_assert_int_eq (db_end (db, -1), -1);
  db_read_begin (db);
  check_path (f, "c/\xf0 new/f");
  db_read_end (db);
  ck_assert_int_ne (core_item (&core, "c/taken"), 0);
}
END_TEST

START_TEST (remove_takes_all_below)
{
  struct cloud_item seen = file ("f", 10, "1");
  int64_t a, b, f, g, v1, v2, found;
  struct catalog_source source;

  begin ();
  a = add (CATALOG_ROOT, folder ("a"));
  b = add (a, folder ("b"));
  seen.id = "id-f";
  f = add (b, seen);
  g = add (CATALOG_ROOT, file ("g", 10, "1"));
  v1 = known (f)->version;
  commit ();
  begin ();
  seen.token = "2";
  update (f, seen);
  v2 = known (f)->version;
  commit ();
  begin ();
  ck_assert_int_eq (catalog_remove (db, rev, a), 0);
  ck_assert_ptr_null (known (a));
  ck_assert_ptr_null (known (b));
  ck_assert_ptr_null (known (f));
  ck_assert_ptr_nonnull (known (g));
  ck_assert_int_eq (catalog_by_remote_id (db, "id-f"), 0);
  ck_assert_int_eq (catalog_source (db, v2, &source), 0);
  ck_assert_int_eq (catalog_next_superseded (db, 0, &found), 0);
  ck_assert_int_eq (found, v1);
  ck_assert_int_eq (catalog_next_superseded (db, v1, &found), 0);
  ck_assert_int_eq (found, v2);
  ck_assert_int_eq (catalog_next_superseded (db, v2, &found), 0);
  ck_assert_int_eq (found, 0);
  ck_assert_ptr_null (catalog_path (db, f));
  /* The name is free again. */
  add (CATALOG_ROOT, file ("a", 1, "1"));
  commit ();
}
END_TEST

/* ---- questions ---- */

static void
check_totals (uint64_t bytes, uint64_t files, uint64_t folders, uint64_t largest)
{
  uint64_t got_bytes, got_files, got_folders, got_largest;

  ck_assert_int_eq (catalog_totals (db, &got_bytes, &got_files, &got_folders, &got_largest), 0);
  ck_assert_uint_eq (got_bytes, bytes);
  ck_assert_uint_eq (got_files, files);
  ck_assert_uint_eq (got_folders, folders);
  ck_assert_uint_eq (got_largest, largest);
}

START_TEST (totals)
{
  const uint64_t tib = UINT64_C (1) << 40;
  int64_t f, d;
  uint64_t end;

  begin ();
  check_totals (0, 0, 1, 0);
  ck_assert_int_eq (catalog_blobs_end (db, &end), 0);
  ck_assert_uint_eq (end, 0);
  f = add (CATALOG_ROOT, file ("f", 1000, "1"));
  d = add (CATALOG_ROOT, folder ("d"));
  add (d, file ("empty", 0, "1"));
  add (d, file ("large", 5 * tib, "1"));
  check_totals (5 * tib + 1000, 3, 2, 5 * tib);
  update (f, file ("f", 7, "2"));
  check_totals (5 * tib + 7, 3, 2, 5 * tib);
  ck_assert_int_eq (catalog_blobs_end (db, &end), 0);
  ck_assert_uint_eq (end, known (f)->position + 7);
  ck_assert_int_eq (catalog_remove (db, rev, d), 0);
  check_totals (7, 1, 1, 7);
  commit ();
}
END_TEST

START_TEST (next_version)
{
  static const uint64_t sizes[] = { 5, 0, 7, 9, 0 };
  int64_t ids[5], version = 0;
  uint64_t size, position;

  begin ();
  for (size_t i = 0; i < 5; ++i) {
    char name[2] = { 'a' + i, '\0' };

    ids[i] = add (CATALOG_ROOT, file (name, sizes[i], "1"));
  }
  update (ids[0], file ("a", 6, "2"));      /* its newest version comes last */
  ck_assert_int_eq (catalog_remove (db, rev, ids[3]), 0);

  ck_assert_int_eq (catalog_next_version (db, version, &version, &size, &position), 0);
  ck_assert_int_eq (version, known (ids[2])->version);
  ck_assert_uint_eq (size, 7);
  ck_assert_uint_eq (position, known (ids[2])->position);
  ck_assert_int_eq (catalog_next_version (db, version, &version, &size, &position), 0);
  ck_assert_int_eq (version, known (ids[0])->version);
  ck_assert_uint_eq (size, 6);
  ck_assert_int_eq (catalog_next_version (db, version, &version, &size, &position), 0);
  ck_assert_int_eq (version, 0);
  commit ();
}
END_TEST

START_TEST (reset)
{
  struct catalog_list list;
  int64_t revision, found;
  bool complete;
  uint64_t end;

  for (unsigned i = 0; i < 3; ++i) {
    char name[8];

    snprintf (name, sizeof name, "%u", i);
    begin ();
    add (add (CATALOG_ROOT, folder (name)), file ("f", 1, "1"));
    commit ();
  }
  begin ();
  ck_assert_int_eq (catalog_is_complete (db, &complete), 0);
  ck_assert (!complete);
  ck_assert_int_eq (catalog_reset (db), 0);
  ck_assert_int_eq (db_end (db, 0), 0);

  begin ();
  ck_assert_int_eq (catalog_revision (db, &revision), 0);
  ck_assert_int_eq (revision, 0);
  ck_assert_int_eq (catalog_children (db, CATALOG_ROOT, &list), 0);
  ck_assert_uint_eq (list.n, 0);
  catalog_list_free (&list);
  check_totals (0, 0, 1, 0);
  ck_assert_int_eq (catalog_next_superseded (db, 0, &found), 0);
  ck_assert_int_eq (found, 0);
  ck_assert_int_eq (catalog_blobs_end (db, &end), 0);
  ck_assert_uint_eq (end, 0);
  add (CATALOG_ROOT, folder ("0"));
  ck_assert_int_eq (catalog_set_complete (db), 0);
  ck_assert_int_eq (catalog_is_complete (db, &complete), 0);
  ck_assert (complete);
  commit ();
}
END_TEST

START_TEST (lasts)
{
  int64_t id, revision;
  bool complete;

  begin ();
  id = add (add (CATALOG_ROOT, folder ("\xff")), file ("f", 123456, "1"));
  ck_assert_int_eq (catalog_set_complete (db), 0);
  commit ();
  core_reopen (&core, 0);
  db = core.db;
  ck_assert_int_eq (core_item (&core, "\xff/f"), id);
  db_read_begin (db);
  ck_assert_uint_eq (known (id)->size, 123456);
  ck_assert_int_eq (catalog_revision (db, &revision), 0);
  ck_assert_int_eq (revision, 1);
  ck_assert_int_eq (catalog_is_complete (db, &complete), 0);
  ck_assert (complete);
  db_read_end (db);

  /* New runs begin behind what is on record. */
  begin ();
  ck_assert_uint_ge (known (add (CATALOG_ROOT, file ("g", 5, "1")))->position, known (id)->position + 123456);
  commit ();
}
END_TEST

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

int
main (void)
{
  Suite *suite = suite_create ("catalog");
  TCase *tcase = tcase_create ("catalog");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_set_timeout (tcase, 60);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, children_are_sorted_and_whole);
  tcase_add_loop_test (tcase, times_that_fit, 0, N (times));
  tcase_add_test (tcase, too_large_a_file);
  tcase_add_test (tcase, paths);
  tcase_add_loop_test (tcase, deep_paths, 0, N (depths));
  tcase_add_loop_test (tcase, long_paths, 0, N (lengths));
  tcase_add_loop_test (tcase, same_version, 0, N (contents));
  tcase_add_test (tcase, versions_are_superseded);
  tcase_add_loop_test (tcase, changed_folders, 0, N (ops));
  tcase_add_test (tcase, rolled_back);
  tcase_add_test (tcase, move_takes_all_below);
  tcase_add_test (tcase, remove_takes_all_below);
  tcase_add_test (tcase, totals);
  tcase_add_test (tcase, next_version);
  tcase_add_test (tcase, reset);
  tcase_add_test (tcase, lasts);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
