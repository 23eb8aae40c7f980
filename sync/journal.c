/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal: changes that views make. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "change.h"
#include "cleanup.h"
#include "db.h"
#include "journal.h"
#include "kin.h"
#include "msg.h"
#include "verdict.h"

/* An item whose name was still taken when it was to get it.  Until journal_finish it has a name that nothing else can
 * have: with a '/'.  Or a folder that was to go into one that was still below it (blocked): it is where it was. */
struct journal_wish {
  int64_t item, parent;
  char *name;
  bool blocked;
  struct journal_wish *next;
};

int
journal_init (struct db *db)
{
  return change_init (db);
}

/* ---- small things ---- */

/* Reads an item, also one that is gone. */
static int
read_any (struct journal *journal, int64_t id, struct catalog_list *ret)
{
  return catalog_any_item (journal->db, id, ret);
}

/* After the local side of an item has changed. */
static int
note (struct journal *journal, int64_t item, bool held)
{
  journal->changed = true;
  if (change_note (journal->db, item, journal->view, journal->now, journal->quiet_s, held) == -1)
    return -1;
  return change_settle (journal->db, item, NULL);
}

/* Takes an item's wish from the list, if it has one. */
static struct journal_wish *
take_wish (struct journal *journal, int64_t item)
{
  for (struct journal_wish **link = &journal->wishes; *link; link = &(*link)->next) {
    struct journal_wish *wish = *link;

    if (wish->item == item) {
      *link = wish->next;
      return wish;
    }
  }
  return NULL;
}

static struct journal_wish *
take_wish_itself (struct journal *journal, struct journal_wish *wish)
{
  struct journal_wish **link = &journal->wishes;

  while (*link != wish)
    link = &(*link)->next;
  *link = wish->next;
  return wish;
}

static void
free_wish (struct journal_wish *wish)
{
  if (wish)
    free (wish->name);
  free (wish);
}

static int
add_wish (struct journal *journal, int64_t item, int64_t parent, const char *name, bool blocked)
{
  struct journal_wish *wish = calloc (1, sizeof *wish);

  if (wish == NULL || (wish->name = strdup (name)) == NULL) {
    msg_error ("out of memory");
    free (wish);
    return -1;
  }
  wish->blocked = blocked;
  wish->item = item;
  wish->parent = parent;
  wish->next = journal->wishes;
  journal->wishes = wish;
  return 0;
}

static int
grant (struct journal *journal, const struct journal_wish *wish)
{
  CLEANUP_FREE char *conflict = NULL;
  struct catalog_list list;
  const char *name = wish->name;
  int64_t there;
  int r = catalog_item (journal->db, wish->item, &list);

  if (r != 1)
    return r;
  there = catalog_child (journal->db, wish->parent, name);
  if (there > 0 && there != wish->item) {
    name = conflict = local_conflict_name (journal->db, wish->parent, name, list.items[0].is_folder, journal->view,
                                           journal->now);
    if (conflict)
      msg_notice ("\"%s\" of %s meets another item of that name: it is kept as \"%s\"", wish->name, journal->view,
                  conflict);
  }
  r = there == -1 || name == NULL
      ? -1 : local_set_place (journal->db, journal->revision, &list.items[0], wish->parent, name);
  catalog_list_free (&list);
  return r == 0 ? change_settle (journal->db, wish->item, NULL) : -1;
}

static int move_item (struct journal *journal, const struct catalog_item *item, int64_t parent, const char *name);
static int remove_item (struct journal *journal, const struct catalog_item *item, int64_t was);

/* Moves a folder that was blocked, if it is not any more.  1, 0 or -1. */
static int
move_blocked (struct journal *journal, const struct journal_wish *wish)
{
  struct catalog_list list;
  bool below = false;
  int r = catalog_item (journal->db, wish->item, &list);

  if (r != 1)
    return r == 0 ? 1 : -1;
  r = catalog_is_below (journal->db, wish->parent, wish->item, &below);
  if (r == 0 && !below)
    r = move_item (journal, &list.items[0], wish->parent, wish->name);
  catalog_list_free (&list);
  return r == -1 ? -1 : !below;
}

/* Folders change places in any order, and what is a tree before and after is none in between.  From the top of the new tree
 * down nothing blocks anything; so what stays blocked is so by what somebody else moved meanwhile, and stays where it is. */
static int
move_all_blocked (struct journal *journal)
{
  struct journal_wish **link = &journal->wishes;

  while (*link) {
    struct journal_wish *wish = *link;
    const int r = wish->blocked ? move_blocked (journal, wish) : 0;

    if (r == -1)
      return -1;
    if (r == 0) {
      link = &wish->next;
      continue;
    }
    /* It may have made a wish of its own, at the front; and others may be free now. */
    free_wish (take_wish_itself (journal, wish));
    link = &journal->wishes;
  }
  for (link = &journal->wishes; *link;) {
    struct journal_wish *wish = *link;

    if (wish->blocked) {
      *link = wish->next;
      free_wish (wish);
    }
    else
      link = &wish->next;
  }
  return 0;
}

/* Tries removals of folders again in which something was left: what views say first may be what the catalog must do last, as
 * an item may have been in another folder here than there.  1 if one of them went. */
static int
remove_left (struct journal *journal)
{
  int any = 0;

  for (size_t i = 0; i < journal->n_left; ++i) {
    struct catalog_list list;
    bool stays = false;
    int r = catalog_item (journal->db, journal->left[i], &list);

    if (r == 0)
      continue;
    if (r == 1)
      r = local_has_children (journal->db, journal->left[i], &stays);
    if (r == 0 && !stays) {
      r = remove_item (journal, &list.items[0], 0);
      any = 1;
    }
    catalog_list_free (&list);
    if (r == -1)
      return -1;
  }
  return any;
}

int
journal_finish (struct journal *journal, int ok)
{
  int any;

  if (ok == 0)
    ok = move_all_blocked (journal);
  any = ok == 0;
  while (any == 1)
    any = remove_left (journal);
  if (any == -1)
    ok = -1;
  free (journal->left);
  journal->left = NULL;
  journal->n_left = 0;
  while (journal->wishes) {
    struct journal_wish *wish = journal->wishes;

    journal->wishes = wish->next;
    if (ok == 0)
      ok = grant (journal, wish);
    free_wish (wish);
  }
  return ok;
}

/* ---- contents ---- */

static int64_t
add_version (struct journal *journal, uint64_t size, uint64_t position, const char *hashes, const uint64_t *bits)
{
  sqlite3_stmt *stmt = db_stmt (journal->db, "INSERT INTO version (size, position, item, token, hashes)"
                                             " VALUES (?, ?, 0, '', ?)");
  int64_t version;

  if (stmt == NULL)
    return -1;
  db_bind_text (stmt, 3, hashes);
  if (db_run (db_bind (stmt, (int64_t) size, (int64_t) position)) == -1)
    return -1;
  version = db_last_id (journal->db);
  return cache_adopt (journal->db, version, size, bits) == -1 ? -1 : version;
}

int64_t
journal_stage (struct journal *journal, uint64_t size, uint64_t position, const char *sha1, const char *sha256)
{
  char hashes[160];

  snprintf (hashes, sizeof hashes, "%s%.40s%s%s%.64s", sha1 ? "SHA1:" : "", sha1 ? sha1 : "", sha1 && sha256 ? " " : "",
            sha256 ? "SHA256:" : "", sha256 ? sha256 : "");
  return add_version (journal, size, position, hashes, NULL);
}

int64_t
journal_stage_over (struct journal *journal, uint64_t size, uint64_t position, const struct kin_stage *stage)
{
  const int64_t version = add_version (journal, size, position, "", stage->bits);

  return version == -1 || kin_record (journal->db, version, stage) == -1 ? -1 : version;
}

/* Gives an item another content; the one that it had is superseded. */
static int
set_content (struct journal *journal, const struct catalog_item *item, int64_t version, int64_t mtime)
{
  if (version_give (journal->db, version, item->id) == -1 ||
      catalog_set_version (journal->db, item->id, version) == -1)
    return -1;
  if (item->version && item->version != version && catalog_supersede (journal->db, item->version) == -1)
    return -1;
  return local_set_mtime (journal->db, journal->revision, item, mtime ? mtime : time_to_ns (&item->mtime));
}

/* ---- create ---- */

static int64_t
add_item (struct journal *journal, int64_t parent, const char *name, bool is_folder, int64_t version, int64_t mtime)
{
  const int64_t id = local_add (journal->db, journal->revision, parent, name, is_folder, version, mtime);

  if (id == -1 || change_open_new (journal->db, id) == -1 || note (journal, id, false) == -1)
    return -1;
  return id;
}

static int64_t
add_conflict (struct journal *journal, int64_t parent, const char *name, bool is_folder, int64_t version, int64_t mtime)
{
  CLEANUP_FREE char *conflict = local_conflict_name (journal->db, parent, name, is_folder, journal->view, journal->now);

  if (conflict == NULL)
    return -1;
  msg_notice ("\"%s\" was changed by %s and elsewhere at the same time: the version of %s is kept as \"%s\"", name,
              journal->view, journal->view, conflict);
  return add_item (journal, parent, conflict, is_folder, version, mtime);
}

/* An item of that kind that is gone here, and that the remote still has by that name: to be had again, instead of being
 * removed there and made anew.  Its id, 0. */
static int64_t
find_removed (struct journal *journal, int64_t parent, const char *name, bool is_folder)
{
  sqlite3_stmt *stmt = db_stmt (journal->db, "SELECT i.id FROM change c JOIN item i ON i.id = c.item"
                                             " WHERE c.base_parent = ?"
                                             " AND c.base_name = ? AND i.gone <> 0 AND i.folder = ?");
  int64_t id = 0;

  db_bind (stmt, parent);
  db_bind_bytes (stmt, 2, name);
  if (stmt)
    sqlite3_bind_int (stmt, 3, is_folder);
  return db_query_int (stmt, &id) == -1 ? -1 : id;
}

static int64_t
have_again (struct journal *journal, int64_t id, int64_t parent, const char *name, int64_t version, int64_t mtime)
{
  struct catalog_list list;
  int r = read_any (journal, id, &list);

  if (r != 1)
    return -1;
  r = local_set_place (journal->db, journal->revision, &list.items[0], parent, name);
  if (r == 0)
    r = local_set_gone (journal->db, journal->revision, &list.items[0], 0);
  if (r == 0 && version)
    r = set_content (journal, &list.items[0], version, mtime);
  catalog_list_free (&list);
  return r == -1 || note (journal, id, false) == -1 ? -1 : id;
}

int64_t
journal_create (struct journal *journal, int64_t parent, const char *name, bool is_folder, int64_t version,
                const struct timespec *mtime)
{
  struct catalog_list list;
  enum verdict_same same = SAME_YES;
  bool folder_there;
  int64_t there;
  int r = 0;

  parent = local_revive_folder (journal->db, journal->revision, parent);
  if (parent == -1)
    return -1;
  there = catalog_child (journal->db, parent, name);
  if (there == -1)
    return -1;
  if (there == 0) {
    there = find_removed (journal, parent, name, is_folder);
    if (there == -1)
      return -1;
    return there ? have_again (journal, there, parent, name, version, time_to_ns (mtime))
                 : add_item (journal, parent, name, is_folder, version, time_to_ns (mtime));
  }

  if (read_any (journal, there, &list) != 1)
    return -1;
  folder_there = list.items[0].is_folder;
  if (!is_folder && !folder_there)
    r = version_compare (journal->db, list.items[0].version, version, &same);
  catalog_list_free (&list);
  if (r == -1)
    return -1;
  if (is_folder != folder_there || same != SAME_YES)
    return add_conflict (journal, parent, name, is_folder, version, time_to_ns (mtime));
  if (!is_folder && catalog_supersede (journal->db, version) == -1)
    return -1;
  return there;
}

/* ---- edit ---- */

/* Whether the content is still the one that the view knew. */
static int
is_as_known (struct journal *journal, const struct catalog_item *item, int64_t was, bool *ret)
{
  enum verdict_same same = item->size == 0 ? SAME_YES : SAME_NO;
  const int r = was == 0 ? 0 : version_compare (journal->db, item->version, was, &same);

  *ret = same == SAME_YES;
  return r;
}

/* Content for an item that somebody else removed: it comes back, where it was. */
static int64_t
edit_gone (struct journal *journal, const struct catalog_item *item, int64_t version, int64_t mtime)
{
  const int64_t parent = local_revive_folder (journal->db, journal->revision, item->parent);
  CLEANUP_FREE char *conflict = NULL;
  const char *name = strchr (item->name, '/') ? "recovered" : item->name;
  int64_t there;

  if (parent == -1 || change_open (journal->db, item) == -1)
    return -1;
  there = catalog_child (journal->db, parent, name);
  if (there == -1)
    return -1;
  if (there)
    name = conflict = local_conflict_name (journal->db, parent, name, false, journal->view, journal->now);
  if (name == NULL)
    return -1;
  return have_again (journal, item->id, parent, name, version, mtime);
}

static int64_t
edit_item (struct journal *journal, const struct catalog_item *item, int64_t was, int64_t version, int64_t mtime)
{
  struct verdict_case c = { .base = true, .mine = true, .mine_changed = true, .theirs = !item->gone };
  bool as_known = true;

  if (c.theirs && (is_as_known (journal, item, was, &as_known) == -1 ||
                   version_compare (journal->db, version, item->version, &c.same) == -1))
    return -1;
  c.theirs_changed = !as_known;
  switch (verdict_content (&c)) {
  case VERDICT_ANEW:
    return edit_gone (journal, item, version, mtime);
  case VERDICT_SAME:
    return catalog_supersede (journal->db, version) == -1 ? -1 : item->id;
  case VERDICT_KEEP:
    break;
  default:                     /* bytes that can't be told to be the same are taken for different: nothing is lost */
    return add_conflict (journal, item->parent, item->name, false, version, mtime);
  }

  if (change_open (journal->db, item) == -1)
    return -1;
  if (c.same == SAME_YES) {    /* written again with what it had */
    if (catalog_supersede (journal->db, version) == -1 ||
        (mtime && local_set_mtime (journal->db, journal->revision, item, mtime) == -1))
      return -1;
  }
  else if (set_content (journal, item, version, mtime) == -1)
    return -1;
  return note (journal, item->id, false) == -1 ? -1 : item->id;
}

int64_t
journal_edit (struct journal *journal, int64_t item, int64_t was, int64_t version, const struct timespec *mtime)
{
  struct catalog_list list;
  int64_t id;
  const int r = read_any (journal, item, &list);

  if (r == -1)
    return -1;
  if (r == 0 || list.items[0].is_folder)
    id = add_conflict (journal, CATALOG_ROOT, "recovered", false, version, time_to_ns (mtime));
  else
    id = edit_item (journal, &list.items[0], was, version, time_to_ns (mtime));
  catalog_list_free (&list);
  return id;
}

/* ---- move, remove, touch ---- */

static int
move_item (struct journal *journal, const struct catalog_item *item, int64_t parent, const char *name)
{
  char waiting[32];
  bool below = false;
  int64_t there;

  parent = local_revive_folder (journal->db, journal->revision, parent);
  if (parent == -1 || (item->is_folder && catalog_is_below (journal->db, parent, item->id, &below) == -1))
    return -1;
  if (below)
    return add_wish (journal, item->id, parent, name, true);
  there = catalog_child (journal->db, parent, name);
  if (there == -1 || change_open (journal->db, item) == -1)
    return -1;
  if (there && there != item->id) {
    snprintf (waiting, sizeof waiting, "/%lld", (long long) item->id);
    if (add_wish (journal, item->id, parent, name, false) == -1)
      return -1;
    name = waiting;
  }
  if (local_set_place (journal->db, journal->revision, item, parent, name) == -1)
    return -1;
  return note (journal, item->id, false);
}

int
journal_move (struct journal *journal, int64_t id, int64_t was_parent, const char *was_name, int64_t parent,
              const char *name)
{
  struct journal_wish *wish = take_wish (journal, id);
  struct catalog_list list;
  int r = catalog_item (journal->db, id, &list);

  if (r == 1) {
    const struct catalog_item *item = &list.items[0];
    const int64_t now_parent = wish ? wish->parent : item->parent;
    const char *now_name = wish ? wish->name : item->name;
    const bool mine_changed = was_parent != parent || strcmp (was_name, name) != 0;
    const bool theirs_changed = was_parent != now_parent || strcmp (was_name, now_name) != 0;

    /* What is gone or was moved elsewhere by somebody else stays so. */
    if (verdict_place (mine_changed, theirs_changed, false) == VERDICT_KEEP)
      r = move_item (journal, item, parent, name);
    else
      r = wish ? add_wish (journal, id, wish->parent, wish->name, wish->blocked) : 0;
    catalog_list_free (&list);
  }
  free_wish (wish);
  return r;
}

static int
keep_left (struct journal *journal, int64_t folder)
{
  int64_t *more = realloc (journal->left, (journal->n_left + 1) * sizeof *more);

  if (more == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  journal->left = more;
  journal->left[journal->n_left++] = folder;
  return 0;
}

static int
remove_item (struct journal *journal, const struct catalog_item *item, int64_t was)
{
  struct verdict_case c = { .base = true, .theirs = true };
  bool stays = false;
  int r;

  if (item->is_folder)
    r = local_has_children (journal->db, item->id, &stays);
  else {
    r = is_as_known (journal, item, was, &stays);
    c.theirs_changed = !stays;
    stays = verdict_content (&c) == VERDICT_RESTORE;
  }
  if (r == -1 || stays)
    return r == 0 && item->is_folder ? keep_left (journal, item->id) : r;
  free_wish (take_wish (journal, item->id));
  if (change_open (journal->db, item) == -1 ||
      local_set_gone (journal->db, journal->revision, item, journal->now) == -1)
    return -1;
  return note (journal, item->id, journal->held);
}

int
journal_remove (struct journal *journal, int64_t id, int64_t was)
{
  struct catalog_list list;
  int r = catalog_item (journal->db, id, &list);

  if (r == 1) {
    r = remove_item (journal, &list.items[0], was);
    catalog_list_free (&list);
  }
  return r;
}

int
journal_touch (struct journal *journal, int64_t id, const struct timespec *mtime)
{
  struct catalog_list list;
  int r = catalog_item (journal->db, id, &list);

  if (r == 1) {
    r = change_open (journal->db, &list.items[0]);
    if (r == 0)
      r = local_set_mtime (journal->db, journal->revision, &list.items[0], time_to_ns (mtime));
    if (r == 0)
      r = note (journal, id, false);
    catalog_list_free (&list);
  }
  return r;
}
