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

static int
run_two (sqlite3_stmt *stmt, int64_t id, int64_t value)
{
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, id);
  sqlite3_bind_int64 (stmt, 2, value);
  return db_run (stmt);
}

int
local_set_place (struct db *db, int64_t revision, const struct catalog_item *item, int64_t parent, const char *name)
{
  return catalog_move (db, revision, item, parent, name);
}

int
local_set_gone (struct db *db, int64_t revision, const struct catalog_item *item, int64_t when)
{
  if (run_two (db_stmt (db, "UPDATE item SET gone = ?2 WHERE id = ?1"), item->id, when) == -1)
    return -1;
  /* A folder that comes back must be drawn, whatever was seen of it before. */
  if (when == 0 && item->is_folder && catalog_touch_folder (db, revision, item->id) == -1)
    return -1;
  return catalog_touch_folder (db, revision, item->parent);
}

int
local_set_mtime (struct db *db, int64_t revision, const struct catalog_item *item, int64_t mtime)
{
  if (run_two (db_stmt (db, "UPDATE item SET mtime = ?2 WHERE id = ?1"), item->id, mtime) == -1)
    return -1;
  return catalog_touch_folder (db, revision, item->parent);
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

/* ---- versions ---- */

int
version_give (struct db *db, int64_t version, int64_t item)
{
  return run_two (db_stmt (db, "UPDATE version SET item = ?2, superseded = 0 WHERE id = ?1"), version, item);
}

int
version_sent (struct db *db, int64_t version, const struct cloud_item *seen)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE version SET token = ?2, checksum = ?3, mime = ifnull (?4, mime)"
                                    " WHERE id = ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  sqlite3_bind_text (stmt, 2, seen->token ? seen->token : "", -1, SQLITE_STATIC);
  if (seen->checksum)
    sqlite3_bind_text (stmt, 3, seen->checksum, -1, SQLITE_STATIC);
  if (seen->mime)
    sqlite3_bind_text (stmt, 4, seen->mime, -1, SQLITE_STATIC);
  return db_run (stmt);
}

int
version_read (struct db *db, int64_t version, uint64_t *ret_size, uint64_t *ret_position, char **ret_hashes)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT size, position, CASE WHEN hashes IS NULL THEN checksum"
                                    "  WHEN checksum IS NULL"
                                    " THEN hashes ELSE hashes || ' ' || checksum END FROM version WHERE id = ?");
  int r;

  if (ret_hashes)
    *ret_hashes = NULL;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  if (r != 1)
    return r;
  *ret_size = sqlite3_column_int64 (stmt, 0);
  *ret_position = sqlite3_column_int64 (stmt, 1);
  if (ret_hashes && sqlite3_column_type (stmt, 2) != SQLITE_NULL)
    *ret_hashes = strdup ((const char *) sqlite3_column_text (stmt, 2));
  sqlite3_reset (stmt);
  return 1;
}

int
version_is_ours (struct db *db, int64_t version)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT 1 FROM version WHERE id = ? AND hashes IS NOT NULL");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  sqlite3_reset (stmt);
  return r;
}

int
version_compare (struct db *db, int64_t a, int64_t b, enum verdict_same *ret)
{
  CLEANUP_FREE char *hashes_a = NULL, *hashes_b = NULL;
  uint64_t size_a, size_b, position;
  int r;

  *ret = SAME_YES;
  if (a == b)
    return 0;
  *ret = SAME_NO;
  r = version_read (db, a, &size_a, &position, &hashes_a);
  if (r == 1)
    r = version_read (db, b, &size_b, &position, &hashes_b);
  if (r == 1)
    *ret = verdict_same_bytes (size_a, hashes_a, size_b, hashes_b);
  return r == -1 ? -1 : 0;
}

int
version_compare_seen (struct db *db, int64_t version, const struct cloud_item *seen, enum verdict_same *ret)
{
  CLEANUP_FREE char *hashes = NULL;
  uint64_t size, position;
  int r = version_read (db, version, &size, &position, &hashes);

  *ret = SAME_NO;
  if (r == 1)
    *ret = verdict_same_bytes (size, hashes, seen->size, seen->checksum);
  return r == -1 ? -1 : 0;
}
