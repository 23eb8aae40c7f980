/* SPDX-License-Identifier: BSD-3-Clause */
/* Small changes of the catalog's local tree, for the journal and for merging (change.h). */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "cleanup.h"
#include "cloud.h"
#include "conflict-name.h"
#include "db.h"
#include "msg.h"

int
local_set_place (struct db *db, int64_t revision, const struct catalog_item *item, int64_t parent, const char *name)
{
  return catalog_move (db, revision, item, parent, name);
}

int
local_set_gone (struct db *db, int64_t revision, const struct catalog_item *item, int64_t when)
{
  if (db_run (db_bind (db_stmt (db, "UPDATE item SET gone = ?2 WHERE id = ?1"), item->id, when)) == -1)
    return -1;
  /* A folder that comes back must be drawn, whatever was seen of it before. */
  if (when == 0 && item->is_folder && catalog_touch_folder (db, revision, item->id) == -1)
    return -1;
  return catalog_touch_folder (db, revision, item->parent);
}

int
local_set_mtime (struct db *db, int64_t revision, const struct catalog_item *item, int64_t mtime)
{
  if (db_run (db_bind (db_stmt (db, "UPDATE item SET mtime = ?2 WHERE id = ?1"), item->id, mtime)) == -1)
    return -1;
  return catalog_touch_folder (db, revision, item->parent);
}

int
local_has_children (struct db *db, int64_t folder, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM item WHERE parent = ? AND gone = 0 LIMIT 1"), folder), ret);
}

int64_t
local_add (struct db *db, int64_t revision, int64_t parent, const char *name, bool is_folder, int64_t version,
           int64_t mtime)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO item (parent, name, folder, version, mtime, rev)"
                                    " VALUES (?, ?, ?, ?, ?, ?)");
  int64_t id;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, parent);
  sqlite3_bind_blob (stmt, 2, name, strlen (name), SQLITE_STATIC);
  sqlite3_bind_int (stmt, 3, is_folder);
  if (version)
    sqlite3_bind_int64 (stmt, 4, version);
  sqlite3_bind_int64 (stmt, 5, mtime);
  if (is_folder)
    sqlite3_bind_int64 (stmt, 6, revision);
  if (db_run (stmt) == -1)
    return -1;
  id = db_last_id (db);
  if (version && version_give (db, version, id) == -1)
    return -1;
  return catalog_touch_folder (db, revision, parent) == -1 ? -1 : id;
}

int64_t
local_revive_folder (struct db *db, int64_t revision, int64_t folder)
{
  struct catalog_list list;
  int64_t parent;
  int r;

  if (folder == CATALOG_ROOT)
    return folder;
  r = catalog_any_item (db, folder, &list);
  if (r == -1)
    return -1;
  if (r == 0 || !list.items[0].is_folder) {
    catalog_list_free (&list);
    return CATALOG_ROOT;
  }
  if (!list.items[0].gone) {
    catalog_list_free (&list);
    return folder;
  }

  /* Where its name was taken meanwhile, what took it steps aside: the folder is known under its name at the remote. */
  parent = local_revive_folder (db, revision, list.items[0].parent);
  r = parent == -1 ? -1 : change_open (db, &list.items[0]);
  if (r == 0) {
    const int64_t there = catalog_child (db, parent, list.items[0].name);

    if (there > 0)
      r = local_step_aside (db, revision, there, NULL, time (NULL));
    else if (there == -1)
      r = -1;
  }
  if (r == 0 && parent != list.items[0].parent)
    r = local_set_place (db, revision, &list.items[0], parent, list.items[0].name);
  if (r == 0)
    r = local_set_gone (db, revision, &list.items[0], 0);
  if (r == 0)
    r = change_settle (db, folder, NULL);
  catalog_list_free (&list);
  return r == 0 ? folder : -1;
}

char *
local_conflict_name (struct db *db, int64_t folder, const char *name, bool is_folder, const char *view, int64_t now)
{
  const time_t when = now;
  struct tm tm;

  localtime_r (&when, &tm);
  for (unsigned n = 1;; ++n) {
    char *try = conflict_name (name, is_folder, view, &tm, n);
    int64_t there;

    if (try == NULL)
      return NULL;
    there = catalog_child (db, folder, try);
    if (there == 0)
      there = catalog_remote_child (db, folder, try);
    if (there == 0)
      return try;
    free (try);
    if (there == -1)
      return NULL;
  }
}

int
local_step_aside (struct db *db, int64_t revision, int64_t item, const char *view, int64_t now)
{
  CLEANUP_FREE char *name = NULL, *path = NULL;
  struct change change;
  struct catalog_list list;
  int r = catalog_any_item (db, item, &list);

  if (r != 1)
    return r;
  r = change_open (db, &list.items[0]);
  if (r == 0 && view == NULL && (r = change_read (db, item, &change)) == 1) {
    name = local_conflict_name (db, list.items[0].parent, list.items[0].name, list.items[0].is_folder, change.view,
                                now);
    change_free (&change);
    r = 0;
  }
  else if (r == 0)
    name = local_conflict_name (db, list.items[0].parent, list.items[0].name, list.items[0].is_folder, view, now);
  if (r == 0 && name == NULL)
    r = -1;
  if (r == 0) {
    path = catalog_path (db, item);
    msg_notice ("/%s: the remote has another item of that name; ours is now \"%s\", and both are kept",
                path ? path : list.items[0].name,
                name);
    r = local_set_place (db, revision, &list.items[0], list.items[0].parent, name);
  }
  catalog_list_free (&list);
  return r;
}
