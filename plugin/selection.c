/* SPDX-License-Identifier: BSD-3-Clause */
/* Selection: which items of the catalog are on a disk. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "msg.h"
#include "rules.h"
#include "selection.h"

static const char schema[] =
  /* Of disks that choose files: whether a folder has anything to show. */
  "CREATE TABLE IF NOT EXISTS disk_folder ("
  "  disk INTEGER NOT NULL, folder INTEGER NOT NULL, shown INTEGER NOT NULL, PRIMARY KEY (disk, folder)) WITHOUT ROWID;"
  /* What disks were laid out by. */
  "CREATE TABLE IF NOT EXISTS disk_rule (disk INTEGER PRIMARY KEY, rule TEXT NOT NULL);"
  /* What views have made there. */
  "CREATE TABLE IF NOT EXISTS disk_item ("
  "  disk INTEGER NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (disk, item)) WITHOUT ROWID;";

/* One of several folders. */
struct top {
  int64_t folder;              /* 0: never found; else where it was last */
  bool there;
  char *name;                  /* as the root directory shows it */
};

struct selection {
  const struct disk_rule *rule;
  int64_t disk;
  bool filters;
  int64_t root;                /* 0: not looked up yet */
  struct top *tops;            /* of several folders */
  size_t n_tops;
};

int
selection_init (struct db *db)
{
  return db_schema (db, schema);
}

struct selection *
selection_new (const struct disk_rule *rule)
{
  struct selection *sel = calloc (1, sizeof *sel);
  const size_t n = rule ? rule->folders.n : 0;

  if (sel == NULL || (n > 1 && (sel->tops = calloc (n, sizeof *sel->tops)) == NULL)) {
    msg_error ("out of memory");
    free (sel);
    return NULL;
  }
  sel->rule = rule;
  sel->filters = rule && disk_rule_filters (rule);
  sel->n_tops = n > 1 ? n : 0;
  return sel;
}

void
selection_free (struct selection *sel)
{
  if (sel == NULL)
    return;
  for (size_t i = 0; i < sel->n_tops; ++i)
    free (sel->tops[i].name);
  free (sel->tops);
  free (sel);
}

bool
selection_set_rule (struct selection *sel, const struct disk_rule *rule)
{
  if (sel->rule == NULL || !disk_rule_same_selection (sel->rule, rule) || sel->rule->folders.n != rule->folders.n)
    return false;
  sel->rule = rule;
  return true;
}

/* ---- folders ---- */

/* The folder at a path; 0 if there is none. */
static int64_t
folder_at (struct db *db, const char *path)
{
  CLEANUP_FREE char *copy = strdup (path);
  char *rest = copy, *name;
  int64_t at = CATALOG_ROOT;

  if (copy == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  while (at > 0 && (name = strsep (&rest, "/")) != NULL) {
    struct catalog_list list;
    int r;

    if (name[0] == '\0')
      continue;
    at = catalog_child (db, at, name);
    if (at <= 0)
      return at;
    r = catalog_item (db, at, &list);
    if (r == 1 && !list.items[0].is_folder)
      at = 0;
    if (r == 1)
      catalog_list_free (&list);
    else
      at = r;
  }
  return at;
}

/* The folder at a path, or where the one went that was there before.  0: nowhere. */
static int64_t
find_folder (struct db *db, const char *path, int64_t before)
{
  const int64_t found = folder_at (db, path);
  struct catalog_list list;
  int r;

  if (found != 0 || before == 0)
    return found;
  r = catalog_item (db, before, &list);
  if (r == 1)
    catalog_list_free (&list);
  return r == 1 ? before : r;
}

static bool
name_is_taken (const struct selection *sel, size_t before, const char *name)
{
  for (size_t i = 0; i < before; ++i)
    if (strcasecmp (sel->tops[i].name, name) == 0)
      return true;
  return false;
}

/* The last part of a folder's path; of several with the same, all but the first with a number. */
static int
name_top (struct selection *sel, size_t i)
{
  const char *path = sel->rule->folders.items[i];
  const char *slash = strrchr (path, '/');
  const char *name = slash ? slash + 1 : path;

  if (sel->tops[i].name)
    return 0;
  if (asprintf (&sel->tops[i].name, "%s", name) == -1)
    sel->tops[i].name = NULL;
  for (unsigned n = 2; sel->tops[i].name && name_is_taken (sel, i, sel->tops[i].name); ++n) {
    free (sel->tops[i].name);
    if (asprintf (&sel->tops[i].name, "%s (%u)", name, n) == -1)
      sel->tops[i].name = NULL;
  }
  if (sel->tops[i].name)
    return 0;
  msg_error ("out of memory");
  return -1;
}

static int
resolve_several (struct selection *sel, struct db *db, const char **ret_missing)
{
  CLEANUP_FREE int64_t *found = calloc (sel->n_tops, sizeof *found);
  bool any = false;

  if (found == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < sel->n_tops; ++i) {
    found[i] = find_folder (db, sel->rule->folders.items[i], sel->tops[i].folder);
    if (found[i] == -1 || name_top (sel, i) == -1)
      return -1;
    if (found[i] == 0)
      *ret_missing = sel->rule->folders.items[i];
    any |= found[i] != 0;
  }
  if (!any)
    return 0;
  for (size_t i = 0; i < sel->n_tops; ++i) {
    sel->tops[i].there = found[i] != 0;
    if (found[i])
      sel->tops[i].folder = found[i];
  }
  sel->root = CATALOG_ROOT;
  return 1;
}

int
selection_resolve (struct selection *sel, struct db *db, const char **ret_missing)
{
  int64_t found;

  *ret_missing = NULL;
  if (sel->rule == NULL || sel->rule->folders.n == 0) {
    sel->root = CATALOG_ROOT;
    return 1;
  }
  if (sel->n_tops > 0)
    return resolve_several (sel, db, ret_missing);
  found = find_folder (db, sel->rule->folders.items[0], sel->root);
  if (found == -1)
    return -1;
  if (found == 0) {
    *ret_missing = sel->rule->folders.items[0];
    return 0;
  }
  sel->root = found;
  return 1;
}

int64_t
selection_root (const struct selection *sel)
{
  return sel->root;
}

/* One that is gone for now comes back with what is put into it. */
int64_t
selection_home (const struct selection *sel, int64_t folder)
{
  if (sel->n_tops == 0 || folder != CATALOG_ROOT)
    return folder;
  for (size_t i = 0; i < sel->n_tops; ++i)
    if (sel->tops[i].folder)
      return sel->tops[i].folder;
  return 0;
}

bool
selection_is_fixed (const struct selection *sel, int64_t item)
{
  for (size_t i = 0; i < sel->n_tops; ++i)
    if (sel->tops[i].folder == item)
      return true;
  return false;
}

bool
selection_has_several (const struct selection *sel)
{
  return sel->n_tops > 0;
}

bool
selection_filters (const struct selection *sel)
{
  return sel->filters;
}

/* ---- what is shown ---- */

/* 1 or 0: as kept.  2: it was not asked for yet. */
static int
kept_state (struct selection *sel, struct db *db, int64_t folder)
{
  int64_t shown = 2;

  if (db_query_int (db_bind (db_stmt (db, "SELECT shown FROM disk_folder WHERE disk = ? AND folder = ?"), sel->disk, folder),
                    &shown) == -1)
    return -1;
  return shown;
}

static int
keep_state (struct selection *sel, struct db *db, int64_t folder, bool shown)
{
  return db_run (db_bind (db_stmt (db, "INSERT OR REPLACE INTO disk_folder (disk, folder, shown) VALUES (?, ?, ?)"), sel->disk,
                          folder, shown));
}

static int
is_own (struct selection *sel, struct db *db, int64_t item)
{
  bool own;

  if (db_exists (db_bind (db_stmt (db, "SELECT 1 FROM disk_item WHERE disk = ? AND item = ?"), sel->disk, item), &own) == -1)
    return -1;
  return own;
}

static int reckon (struct selection *sel, struct db *db, int64_t folder, bool *ret);

/* Whether the rule shows this item, in a folder that is not excluded. */
static int
is_chosen (struct selection *sel, struct db *db, const struct catalog_item *item, bool *ret)
{
  int r;

  *ret = false;
  if (!item->is_folder) {
    *ret = disk_rule_wants_file (sel->rule, item->name, item->mime);
    return 0;
  }
  if (!disk_rule_wants_folder (sel->rule, item->name))
    return 0;
  /* A disk that is not made yet has no id to keep it by. */
  if (sel->disk == 0)
    return reckon (sel, db, item->id, ret);
  r = kept_state (sel, db, item->id);
  if (r == -1)
    return -1;
  *ret = r == 1;
  if (r == 2 && (reckon (sel, db, item->id, ret) == -1 || keep_state (sel, db, item->id, *ret) == -1))
    return -1;
  return 0;
}

/* The name of the file that a conflicted copy was made of (conflict-name.h), malloc'ed; NULL: it is none. */
static char *
name_of_original (const char *name)
{
  static const char mark[] = " (conflicted copy ";
  const char *begin = strstr (name, mark);
  const char *end = begin ? strchr (begin, ')') : NULL;
  char *original;

  if (end == NULL || asprintf (&original, "%.*s%s", (int) (begin - name), name, end + 1) == -1)
    return NULL;
  return original;
}

/* Whether a conflicted copy goes with the file that it was made of. */
static int
goes_with_original (struct selection *sel, struct db *db, const struct catalog_item *item, bool excluded, bool *ret)
{
  CLEANUP_FREE char *name = item->is_folder ? NULL : name_of_original (item->name);
  int64_t original;
  int r;

  *ret = false;
  if (name == NULL)
    return 0;
  *ret = !excluded && disk_rule_wants_file (sel->rule, name, item->mime);
  if (*ret)
    return 0;
  original = catalog_child (db, item->parent, name);
  r = original > 0 ? is_own (sel, db, original) : (int) original;
  *ret = r == 1;
  return r == -1 ? -1 : 0;
}

/* Whether a folder shows this child.  excluded: the folder is one that is, or in one. */
static int
is_shown (struct selection *sel, struct db *db, const struct catalog_item *item, bool excluded, bool *ret)
{
  int r;

  *ret = false;
  if (!excluded && is_chosen (sel, db, item, ret) == -1)
    return -1;
  if (*ret)
    return 0;
  r = is_own (sel, db, item->id);
  *ret = r == 1;
  if (r == 0)
    r = goes_with_original (sel, db, item, excluded, ret);
  return r == -1 ? -1 : 0;
}

/* Whether there is anything in a folder to show.  The catalog keeps trees at most CATALOG_MAX_DEPTH deep, so this
 * recursion is bounded. */
static int
reckon (struct selection *sel, struct db *db, int64_t folder, bool *ret)
{
  struct catalog_list list;
  int r = 0;

  *ret = false;
  if (catalog_children (db, folder, &list) == -1)
    return -1;
  /* Files first: they cost nothing. */
  for (int folders = 0; folders <= 1; ++folders)
    for (size_t i = 0; i < list.n && r == 0 && !*ret; ++i)
      if (list.items[i].is_folder == folders)
        r = is_shown (sel, db, &list.items[i], false, ret);
  catalog_list_free (&list);
  return r;
}

static int
add_id (int64_t **ids, size_t *n, size_t *room, int64_t id)
{
  if (array_make_room (ids, *n, room, sizeof **ids) == -1)
    return -1;
  (*ids)[(*n)++] = id;
  return 0;
}

/* Whether a folder of the disk is one that the rule excludes, or in one. */
static int
is_excluded (struct selection *sel, struct db *db, int64_t folder, bool *ret)
{
  *ret = false;
  while (!*ret && sel->rule->excludes.n > 0 && folder != sel->root && folder != CATALOG_ROOT &&
         !selection_is_fixed (sel, folder)) {
    struct catalog_list list;
    const int r = catalog_item (db, folder, &list);

    if (r != 1)
      return r;
    *ret = !disk_rule_wants_folder (sel->rule, list.items[0].name);
    folder = list.items[0].parent;
    catalog_list_free (&list);
  }
  return 0;
}

/* The folder above; 0 if there is none. */
static int64_t
folder_above (struct db *db, int64_t folder)
{
  struct catalog_list list;
  int64_t parent;
  int r;

  if (folder == CATALOG_ROOT)
    return 0;
  r = catalog_item (db, folder, &list);
  if (r != 1)
    return r;
  parent = list.items[0].parent;
  catalog_list_free (&list);
  return parent;
}

int
selection_refresh (struct selection *sel, struct db *db, int64_t after, int64_t **ret, size_t *ret_n)
{
  CLEANUP_FREE int64_t *work = NULL;
  size_t n, room, ret_room = 0;

  *ret = NULL;
  *ret_n = 0;
  if (!sel->filters)
    return 0;
  if (catalog_changed_folders (db, after, &work, &n) == -1)
    return -1;
  room = n;
  /* A folder that is shown now, or no longer, changes the one above it, which comes to the end of the list. */
  for (size_t i = 0; i < n; ++i) {
    const int before = kept_state (sel, db, work[i]);
    int64_t parent;
    bool shown;

    if (before == -1)
      return -1;
    if (before == 2)
      continue;
    if (reckon (sel, db, work[i], &shown) == -1)
      return -1;
    if (shown == (before == 1))
      continue;
    parent = folder_above (db, work[i]);
    if (parent == -1 || keep_state (sel, db, work[i], shown) == -1)
      return -1;
    if (parent > 0 && (add_id (ret, ret_n, &ret_room, parent) == -1 || add_id (&work, &n, &room, parent) == -1))
      return -1;
  }
  return 0;
}

/* ---- children ---- */

/* The several folders, by the names that the root directory gives them. */
static int
list_tops (struct selection *sel, struct db *db, struct catalog_list *ret)
{
  memset (ret, 0, sizeof *ret);
  ret->items = calloc (sel->n_tops, sizeof *ret->items);
  if (ret->items == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < sel->n_tops; ++i) {
    struct catalog_list list;
    const int r = sel->tops[i].there ? catalog_item (db, sel->tops[i].folder, &list) : 0;

    if (r == -1) {
      catalog_list_free (ret);
      return -1;
    }
    if (r == 0)
      continue;
    ret->items[ret->n++] = (struct catalog_item) {
      .id = sel->tops[i].folder, .parent = CATALOG_ROOT, .name = sel->tops[i].name, .is_folder = true,
      .mtime = list.items[0].mtime,
    };
    catalog_list_free (&list);
  }
  return 0;
}

int
selection_children (struct selection *sel, struct db *db, int64_t folder, struct catalog_list *ret)
{
  bool excluded = false;
  size_t n = 0;

  if (sel->n_tops > 0 && folder == CATALOG_ROOT)
    return list_tops (sel, db, ret);
  if ((sel->filters && is_excluded (sel, db, folder, &excluded) == -1) || catalog_children (db, folder, ret) == -1)
    return -1;
  if (!sel->filters)
    return 0;
  for (size_t i = 0; i < ret->n; ++i) {
    bool shown;

    if (is_shown (sel, db, &ret->items[i], excluded, &shown) == -1) {
      catalog_list_free (ret);
      return -1;
    }
    if (shown)
      ret->items[n++] = ret->items[i];
  }
  ret->n = n;
  return 0;
}

struct totals {
  uint64_t bytes, files, folders, largest;
};

static int
add_totals (struct selection *sel, struct db *db, int64_t folder, struct totals *totals)
{
  struct catalog_list list;
  int r = 0;

  if (selection_children (sel, db, folder, &list) == -1)
    return -1;
  for (size_t i = 0; i < list.n && r == 0; ++i) {
    const struct catalog_item *item = &list.items[i];

    if (item->is_folder) {
      totals->folders++;
      r = add_totals (sel, db, item->id, totals);
      continue;
    }
    totals->files++;
    /* A remote may claim any size. */
    if (__builtin_add_overflow (totals->bytes, item->size, &totals->bytes))
      totals->bytes = UINT64_MAX;
    if (item->size > totals->largest)
      totals->largest = item->size;
  }
  catalog_list_free (&list);
  return r;
}

int
selection_totals (struct selection *sel, struct db *db, uint64_t *ret_bytes, uint64_t *ret_files, uint64_t *ret_folders,
                  uint64_t *ret_largest)
{
  struct totals totals = { 0 };

  if (!sel->filters && sel->n_tops == 0 && sel->root == CATALOG_ROOT)
    return catalog_totals (db, ret_bytes, ret_files, ret_folders, ret_largest);
  if (add_totals (sel, db, sel->root, &totals) == -1)
    return -1;
  *ret_bytes = totals.bytes;
  *ret_files = totals.files;
  *ret_folders = totals.folders;
  *ret_largest = totals.largest;
  return 0;
}

/* ---- what is kept ---- */

/* Also what matches: the server may say another type once it has it.  Of an item that was there, and hidden, nothing else tells that
 * its folder shows it now. */
int
selection_keep (struct selection *sel, struct db *db, int64_t revision, int64_t item)
{
  struct catalog_list list;
  int r;

  if (!sel->filters)
    return 0;
  r = is_own (sel, db, item);
  if (r != 0)
    return r == -1 ? -1 : 0;
  if (db_run (db_bind (db_stmt (db, "INSERT INTO disk_item (disk, item) VALUES (?, ?)"), sel->disk, item)) == -1)
    return -1;
  r = catalog_item (db, item, &list);
  if (r != 1)
    return r;
  r = catalog_touch_folder (db, revision, list.items[0].parent);
  catalog_list_free (&list);
  return r;
}

/* The rule as a text: two rules with the same text choose the same items. */
static char *
rule_text (const struct disk_rule *rule)
{
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream (&text, &n);

  if (out == NULL)
    return NULL;
  if (rule) {
    const struct strings *const lists[] = { &rule->folders, &rule->types, &rule->globs, &rule->excludes };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; ++i) {
      for (size_t k = 0; k < lists[i]->n; ++k)
        fprintf (out, "%s\n", lists[i]->items[k]);
      fputc ('\n', out);
    }
  }
  if (fclose (out) == 0)
    return text;
  free (text);
  return NULL;
}

/* 1: *ret, malloc'ed. */
static int
load_text (struct db *db, int64_t disk, char **ret)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT rule FROM disk_rule WHERE disk = ?"), disk);
  const int r = stmt ? db_row (stmt) : -1;

  *ret = r == 1 ? strdup ((const char *) sqlite3_column_text (stmt, 0)) : NULL;
  if (stmt)
    sqlite3_reset (stmt);
  return r == 1 && *ret == NULL ? -1 : r;
}

int
selection_is_laid_out (struct selection *sel, struct db *db, int64_t disk, bool *ret)
{
  CLEANUP_FREE char *text = rule_text (sel->rule), *before = NULL;
  int r;

  *ret = false;
  if (text == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  r = load_text (db, disk, &before);
  *ret = r == 1 && strcmp (text, before) == 0;
  return r == -1 ? -1 : 0;
}

int
selection_begin (struct selection *sel, struct db *db, int64_t disk, bool *ret_anew)
{
  CLEANUP_FREE char *text = rule_text (sel->rule), *before = NULL;
  sqlite3_stmt *stmt;
  int r;

  sel->disk = disk;
  *ret_anew = false;
  if (text == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  r = load_text (db, disk, &before);
  if (r == -1 || (r == 1 && strcmp (text, before) == 0))
    return r == -1 ? -1 : 0;
  /* A disk from before there were rules had all. */
  *ret_anew = r == 1 || sel->root != CATALOG_ROOT || sel->filters || sel->n_tops > 0;
  stmt = db_bind (db_stmt (db, "INSERT OR REPLACE INTO disk_rule (disk, rule) VALUES (?, ?)"), disk);
  db_bind_text (stmt, 2, text);
  return db_run (stmt) == -1 ? -1 : db_run (db_bind (db_stmt (db, "DELETE FROM disk_folder WHERE disk = ?"), disk));
}

int
selection_forget (struct db *db, int64_t disk)
{
  if (db_run (db_bind (db_stmt (db, "DELETE FROM disk_folder WHERE disk = ?"), disk)) == -1 ||
      db_run (db_bind (db_stmt (db, "DELETE FROM disk_item WHERE disk = ?"), disk)) == -1)
    return -1;
  return db_run (db_bind (db_stmt (db, "DELETE FROM disk_rule WHERE disk = ?"), disk));
}

int
selection_sweep (struct db *db)
{
  if (db_run (db_stmt (db, "DELETE FROM disk_folder WHERE folder NOT IN (SELECT id FROM item WHERE gone = 0)")) == -1)
    return -1;
  return db_run (db_stmt (db, "DELETE FROM disk_item WHERE item NOT IN (SELECT id FROM item)"));
}
