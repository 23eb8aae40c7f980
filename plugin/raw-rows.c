/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of pieces that views of raw disks have made. */

#include <config.h>

#include <stddef.h>

#include "db.h"
#include "raw-rows.h"

static const char schema[] =
  "CREATE TABLE IF NOT EXISTS raw_piece ("
  "  view INTEGER NOT NULL, first INTEGER NOT NULL, item INTEGER NOT NULL, version INTEGER NOT NULL,"
  "  PRIMARY KEY (view, first)) WITHOUT ROWID;";

int
raw_init (struct db *db)
{
  return db_schema (db, schema);
}

int
raw_piece_get (struct db *db, int64_t view, uint32_t first, int64_t *ret_item, int64_t *ret_version)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT item, version FROM raw_piece WHERE view = ? AND first = ?"), view,
                                (int64_t) first);
  const int r = stmt ? db_row (stmt) : -1;

  if (r == 1) {
    *ret_item = sqlite3_column_int64 (stmt, 0);
    *ret_version = sqlite3_column_int64 (stmt, 1);
    sqlite3_reset (stmt);
  }
  return r;
}

int
raw_piece_put (struct db *db, int64_t view, uint32_t first, int64_t item, int64_t version)
{
  return db_run (db_bind (db_stmt (db, "INSERT OR REPLACE INTO raw_piece (view, first, item, version) VALUES (?, ?, ?, ?)"),
                          view, (int64_t) first, item, version));
}

int
raw_made_here (struct db *db, int64_t item, int64_t version, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM raw_piece WHERE item = ? AND version = ?"), item, version), ret);
}

int
raw_forget (struct db *db, int64_t view)
{
  return db_run (db_bind (db_stmt (db, "DELETE FROM raw_piece WHERE view = ?"), view));
}
