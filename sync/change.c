/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of the table change. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "db.h"
#include "journal.h"
#include "msg.h"

/* base_parent NULL: the remote has nothing.  sent: enum push_step.  Times are seconds since 1970, mtimes
 * nanoseconds. */
static const char schema[] =
  "CREATE TABLE IF NOT EXISTS change ("
  "  item INTEGER PRIMARY KEY,"
  "  base_parent INTEGER, base_name BLOB, base_version INTEGER, base_mtime INTEGER,"
  "  view TEXT, since INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL DEFAULT 0, quiet INTEGER NOT NULL DEFAULT 0,"
  "  held INTEGER NOT NULL DEFAULT 0,"
  "  attempts INTEGER NOT NULL DEFAULT 0, tried INTEGER NOT NULL DEFAULT 0, next_try INTEGER NOT NULL DEFAULT 0,"
  "  error TEXT,"
  "  sent INTEGER NOT NULL DEFAULT 0, sent_version INTEGER, sent_parent INTEGER, sent_name BLOB, sent_mtime INTEGER);"
  "CREATE INDEX IF NOT EXISTS change_base ON change (base_parent, base_name) WHERE base_parent IS NOT NULL;"
  "CREATE INDEX IF NOT EXISTS change_base_version ON change (base_version) WHERE base_version IS NOT NULL;"
  "CREATE INDEX IF NOT EXISTS change_sent ON change (sent_parent, sent_name) WHERE sent <> 0;"
  "CREATE INDEX IF NOT EXISTS change_sent_version ON change (sent_version) WHERE sent_version IS NOT NULL;";

int
change_init (struct db *db)
{
  return db_schema (db, schema);
}

static char *
column_text (sqlite3_stmt *stmt, int column, bool *failed)
{
  char *text;

  if (sqlite3_column_type (stmt, column) == SQLITE_NULL)
    return NULL;
  text = strndup (sqlite3_column_blob (stmt, column) ? sqlite3_column_blob (stmt, column) : "",
                  sqlite3_column_bytes (stmt, column));
  *failed |= text == NULL;
  return text;
}

int
change_read (struct db *db, int64_t item, struct change *ret)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "SELECT base_parent, base_name, base_version, base_mtime, view, since, changed, quiet, held, attempts,"
                 "       tried, next_try, error, sent, sent_version, sent_parent, sent_name, sent_mtime"
                 " FROM change WHERE item = ?");
  bool failed = false;
  int r;

  memset (ret, 0, sizeof *ret);
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, item);
  r = db_row (stmt);
  if (r != 1)
    return r;
  ret->item = item;
  ret->base_parent = sqlite3_column_int64 (stmt, 0);
  ret->base_name = column_text (stmt, 1, &failed);
  ret->base_version = sqlite3_column_int64 (stmt, 2);
  ret->base_mtime = sqlite3_column_int64 (stmt, 3);
  ret->view = column_text (stmt, 4, &failed);
  ret->since = sqlite3_column_int64 (stmt, 5);
  ret->changed = sqlite3_column_int64 (stmt, 6);
  ret->quiet = sqlite3_column_int64 (stmt, 7);
  ret->held = sqlite3_column_int (stmt, 8);
  ret->attempts = sqlite3_column_int64 (stmt, 9);
  ret->tried = sqlite3_column_int64 (stmt, 10);
  ret->next_try = sqlite3_column_int64 (stmt, 11);
  ret->error = column_text (stmt, 12, &failed);
  ret->sent = sqlite3_column_int (stmt, 13);
  ret->sent_version = sqlite3_column_int64 (stmt, 14);
  ret->sent_parent = sqlite3_column_int64 (stmt, 15);
  ret->sent_name = column_text (stmt, 16, &failed);
  ret->sent_mtime = sqlite3_column_int64 (stmt, 17);
  sqlite3_reset (stmt);
  if (failed) {
    msg_error ("out of memory");
    change_free (ret);
    return -1;
  }
  return 1;
}

void
change_free (struct change *change)
{
  free (change->base_name);
  free (change->view);
  free (change->error);
  free (change->sent_name);
  memset (change, 0, sizeof *change);
}

int
change_open (struct db *db, const struct catalog_item *item)
{
  if (item->changed)
    return 0;
  if (item->gone)
    return change_open_new (db, item->id);
  return db_run (db_bind (db_stmt (db, "INSERT OR IGNORE INTO change (item, base_parent, base_name, base_version, base_mtime)"
                               " SELECT id, parent, name, version, mtime FROM item WHERE id = ?"), item->id));
}

int
change_open_new (struct db *db, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "INSERT OR IGNORE INTO change (item) VALUES (?)"), item));
}

int
change_note (struct db *db, int64_t item, const char *view, int64_t now, unsigned quiet_s, bool held)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE change SET view = ?2, since = CASE since WHEN 0 THEN ?3 ELSE since END,"
                                    " changed = ?3, quiet = ?4, held = ?5, attempts = 0, next_try = 0, error = NULL"
                                    " WHERE item = ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_text (stmt, 2, view ? view : "", -1, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, 3, now);
  sqlite3_bind_int64 (stmt, 4, quiet_s);
  sqlite3_bind_int (stmt, 5, held);
  return db_run (db_bind (stmt, item));
}

int
change_set_base (struct db *db, int64_t item, int64_t parent, const char *name, int64_t version, int64_t mtime)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE change SET base_parent = ?2, base_name = ?3, base_version = ?4,"
                                    " base_mtime = ?5"
                                    " WHERE item = ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 2, parent);
  sqlite3_bind_blob (stmt, 3, name, strlen (name), SQLITE_STATIC);
  if (version)
    sqlite3_bind_int64 (stmt, 4, version);
  sqlite3_bind_int64 (stmt, 5, mtime);
  return db_run (db_bind (stmt, item));
}

int
change_clear_base (struct db *db, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "UPDATE change SET base_parent = NULL, base_name = NULL, base_version = NULL,"
                               " base_mtime = NULL WHERE item = ?"), item));
}

int
change_intend (struct db *db, int64_t item, enum push_step step, int64_t version, int64_t parent, const char *name,
               int64_t mtime)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE change SET sent = ?2, sent_version = ?3, sent_parent = ?4, sent_name = ?5,"
                                    " sent_mtime = ?6 WHERE item = ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int (stmt, 2, step);
  if (version)
    sqlite3_bind_int64 (stmt, 3, version);
  sqlite3_bind_int64 (stmt, 4, parent);
  sqlite3_bind_blob (stmt, 5, name, strlen (name), SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, 6, mtime);
  return db_run (db_bind (stmt, item));
}

int
change_clear_intent (struct db *db, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "UPDATE change SET sent = 0, sent_version = NULL, sent_parent = NULL, sent_name = NULL,"
                               " sent_mtime = NULL WHERE item = ?"), item));
}

int
change_look (struct db *db, int64_t item)
{
  /* 7: PUSH_LOOK */
  return db_run (db_bind (db_stmt (db, "UPDATE change SET next_try = 0, sent = CASE sent WHEN 0 THEN 7 ELSE sent END"
                               " WHERE item = ?"), item));
}

int
change_failed (struct db *db, int64_t item, int64_t attempts, int64_t now, int64_t next_try, const char *error)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE change SET attempts = ?2, tried = ?3, next_try = ?4, error = ?5"
                                    " WHERE item = ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 2, attempts);
  sqlite3_bind_int64 (stmt, 3, now);
  sqlite3_bind_int64 (stmt, 4, next_try);
  if (error)
    sqlite3_bind_text (stmt, 5, error, -1, SQLITE_STATIC);
  return db_run (db_bind (stmt, item));
}

static void
sides (const struct catalog_item *item, const struct change *change, struct push_side *local, struct push_side *base)
{
  *local = (struct push_side) {
    .exists = !item->gone, .parent = item->parent, .name = item->name, .version = item->version,
    .mtime = time_to_ns (&item->mtime),
  };
  *base = (struct push_side) {
    .exists = change->base_parent != 0, .parent = change->base_parent, .name = change->base_name,
    .version = change->base_version, .mtime = change->base_mtime,
  };
}

enum push_step
change_step (const struct catalog_item *item, const struct change *change)
{
  struct push_side local, base;

  sides (item, change, &local, &base);
  return push_plan (item->is_folder, &local, &base);
}

const char *
change_what (const struct catalog_item *item, const struct change *change)
{
  struct push_side local, base;

  sides (item, change, &local, &base);
  return push_what (item->is_folder, &local, &base);
}

/* What is shown from now on is as old as the remote says: of what is left, that is the only difference. */
static int
take_base_mtime (struct db *db, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "UPDATE item SET mtime = (SELECT base_mtime FROM change c WHERE c.item = item.id)"
                               " WHERE id = ? AND gone = 0"), item));
}

static int
forget_version (struct db *db, const struct catalog_item *item)
{
  return item->version ? catalog_supersede (db, item->version) : 0;
}

int
change_settle (struct db *db, int64_t id, bool *ret_left)
{
  struct catalog_list list;
  struct change change;
  enum push_step step = PUSH_NOTHING;
  bool left = false;
  int r = change_read (db, id, &change);

  if (ret_left)
    *ret_left = false;
  if (r != 1)
    return r;
  r = catalog_any_item (db, id, &list);
  if (r == 1)
    step = change_step (&list.items[0], &change);
  if (r >= 0) {
    left = change.sent != PUSH_NOTHING || (step != PUSH_NOTHING && step != PUSH_FORGET);
    r = r == 1 && step == PUSH_FORGET && !left ? forget_version (db, &list.items[0]) : 0;
    if (r == 0 && !left && step == PUSH_NOTHING && list.n == 1)
      r = take_base_mtime (db, id);
    if (r == 0 && !left)
      r = db_run (db_bind (db_stmt (db, "DELETE FROM change WHERE item = ?"), id));
    catalog_list_free (&list);
  }
  change_free (&change);
  if (ret_left)
    *ret_left = left;
  return r;
}

int
change_is_open (struct db *db, int64_t item)
{
  bool is_open;

  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM change WHERE item = ? AND sent <> 0"), item), &is_open) == -1
         ? -1 : is_open;
}

int64_t
change_intent_at (struct db *db, int64_t parent, const char *name, int64_t except)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "SELECT item FROM change WHERE sent <> 0 AND sent_parent = ?1 AND sent_name = ?2 AND item <> ?3 "
                 "UNION ALL SELECT item FROM change WHERE base_parent = ?1 AND base_name = ?2 AND sent <> 0"
                 " AND item <> ?3");
  int64_t item = 0;

  db_bind (stmt, parent);
  db_bind_bytes (stmt, 2, name);
  if (stmt)
    sqlite3_bind_int64 (stmt, 3, except);
  return db_query_int (stmt, &item) == -1 ? -1 : item;
}
