/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of what guests' folders said when they were last interpreted. */

#include <config.h>

#include <string.h>

#include "catalog.h"
#include "db.h"
#include "names.h"
#include "seen.h"

/* name: UTF-16 in the host's order. */
static const char schema[] =
  "CREATE TABLE IF NOT EXISTS seen ("
  "  view INTEGER NOT NULL, folder INTEGER NOT NULL, name BLOB NOT NULL, dead INTEGER NOT NULL,"
  "  is_folder INTEGER NOT NULL, contiguous INTEGER NOT NULL, item INTEGER NOT NULL, version INTEGER NOT NULL,"
  "  first INTEGER NOT NULL, size INTEGER NOT NULL, valid INTEGER NOT NULL, raw_mtime INTEGER NOT NULL,"
  "  PRIMARY KEY (view, folder, name)) WITHOUT ROWID;"
  "CREATE INDEX IF NOT EXISTS seen_item ON seen (view, item) WHERE dead = 0;"
  "CREATE INDEX IF NOT EXISTS seen_version ON seen (version) WHERE dead = 0 AND version > 0;"
  "CREATE TABLE IF NOT EXISTS seen_gone ("
  "  view INTEGER NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (view, item)) WITHOUT ROWID;";

int
seen_init (struct db *db)
{
  return db_schema (db, schema);
}

int
seen_put (struct db *db, int64_t view, const struct seen_row *row)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT OR REPLACE INTO seen (view, folder, name, dead, is_folder, contiguous, item,"
                                    " version, first, size, valid, raw_mtime) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)");
  int c = 1;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, c++, view);
  sqlite3_bind_int64 (stmt, c++, row->folder);
  sqlite3_bind_blob (stmt, c++, row->name, row->units * sizeof *row->name, SQLITE_STATIC);
  sqlite3_bind_int (stmt, c++, row->dead);
  sqlite3_bind_int (stmt, c++, row->is_folder);
  sqlite3_bind_int (stmt, c++, row->contiguous);
  sqlite3_bind_int64 (stmt, c++, row->item);
  sqlite3_bind_int64 (stmt, c++, row->version);
  sqlite3_bind_int64 (stmt, c++, row->first);
  sqlite3_bind_int64 (stmt, c++, row->size);
  sqlite3_bind_int64 (stmt, c++, row->valid);
  sqlite3_bind_int64 (stmt, c++, row->raw_mtime);
  return db_run (stmt);
}

int
seen_end (struct db *db, int64_t view, int64_t folder, const uint16_t *name, uint16_t units, int64_t item, bool in_generation)
{
  sqlite3_stmt *stmt =
    in_generation
    ? db_stmt (db, "INSERT INTO seen (view, folder, name, dead, is_folder, contiguous, item, version, first, size, valid,"
                   " raw_mtime) VALUES (?1, ?2, ?3, 1, 0, 0, ?4, 0, 0, 0, 0, 0)"
                   " ON CONFLICT DO UPDATE SET dead = 1 WHERE item = excluded.item")
    : db_stmt (db, "DELETE FROM seen WHERE view = ?1 AND folder = ?2 AND name = ?3 AND item = ?4");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, view);
  sqlite3_bind_int64 (stmt, 2, folder);
  sqlite3_bind_blob (stmt, 3, name, units * sizeof *name, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, 4, item);
  return db_run (stmt);
}

int
seen_in_folder (struct db *db, int64_t view, int64_t folder, int (*row) (void *opaque, const struct seen_row *row),
                void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT name, dead, is_folder, contiguous, item, version, first, size, valid, raw_mtime"
                                    " FROM seen WHERE view = ? AND folder = ?");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, view);
  sqlite3_bind_int64 (stmt, 2, folder);
  while ((r = db_row (stmt)) == 1) {
    uint16_t name[NAME_UNITS];
    const size_t n = sqlite3_column_bytes (stmt, 0);
    const struct seen_row loaded = {
      .folder = folder, .name = name, .units = n / sizeof *name, .dead = sqlite3_column_int (stmt, 1),
      .is_folder = sqlite3_column_int (stmt, 2), .contiguous = sqlite3_column_int (stmt, 3),
      .item = sqlite3_column_int64 (stmt, 4), .version = sqlite3_column_int64 (stmt, 5),
      .first = sqlite3_column_int64 (stmt, 6), .size = sqlite3_column_int64 (stmt, 7),
      .valid = sqlite3_column_int64 (stmt, 8), .raw_mtime = sqlite3_column_int64 (stmt, 9),
    };

    if (n > sizeof name)
      continue;
    memcpy (name, sqlite3_column_blob (stmt, 0), n);
    if (row (opaque, &loaded) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

int
seen_place (struct db *db, int64_t view, int64_t item, struct seen_row *ret)
{
  /* SQLite would walk over all that the view has seen. */
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT folder, is_folder, contiguous, version, first, size, raw_mtime"
                                             " FROM seen INDEXED BY seen_item"
                                             " WHERE view = ? AND item = ? AND dead = 0"), view, item);
  const int r = db_row (stmt);

  if (r == 1) {
    *ret = (struct seen_row) {
      .folder = sqlite3_column_int64 (stmt, 0), .is_folder = sqlite3_column_int (stmt, 1),
      .contiguous = sqlite3_column_int (stmt, 2), .item = item, .version = sqlite3_column_int64 (stmt, 3),
      .first = sqlite3_column_int64 (stmt, 4), .size = sqlite3_column_int64 (stmt, 5),
      .raw_mtime = sqlite3_column_int64 (stmt, 6),
    };
    sqlite3_reset (stmt);
  }
  return r;
}

int
seen_set_gone (struct db *db, int64_t view, int64_t item)
{
  /* What was made since then is not in the view's generation: once its row is gone, nothing tells of it.  A guest may make
   * and remove files for as long as it runs. */
  return db_run (db_bind (db_stmt (db, "INSERT OR IGNORE INTO seen_gone (view, item) SELECT ?1, ?2"
                                       " WHERE NOT EXISTS (SELECT 1 FROM view WHERE id = ?1 AND items < ?2)"),
                          view, item));
}

int
seen_is_gone (struct db *db, int64_t view, int64_t item, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM seen_gone WHERE view = ? AND item = ?"), view, item), ret);
}

int
seen_folders (struct db *db, int64_t view, int64_t **ret, size_t *ret_n)
{
  return db_read_ids (db_bind (db_stmt (db, "SELECT folder FROM seen WHERE view = ?1"
                                            " UNION SELECT item FROM seen WHERE view = ?1 AND is_folder AND NOT dead"),
                               view), ret, ret_n);
}

int
seen_needs_version (struct db *db, int64_t version, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM seen WHERE version = ? AND version > 0 AND dead = 0 LIMIT 1"),
                             version), ret);
}

static int
is_known (struct db *db, int64_t item, bool *ret)
{
  /* CROSS JOIN: first the few views. */
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM item i CROSS JOIN view v WHERE i.id = ?1 AND v.items >= ?1"
                                          " AND v.made <= i.gone"
                                          " UNION ALL SELECT 1 FROM view v CROSS JOIN seen s INDEXED BY seen_item"
                                          " WHERE s.view = v.id AND s.item = ?1 AND s.dead = 0 LIMIT 1"), item), ret);
}

int
seen_purge (struct db *db, int64_t before)
{
  return catalog_purge (db, before, is_known);
}

int
seen_forget_folder (struct db *db, int64_t view, int64_t folder)
{
  sqlite3_stmt *stmt = db_stmt (db, "DELETE FROM seen WHERE view = ? AND folder = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, view);
  sqlite3_bind_int64 (stmt, 2, folder);
  return db_run (stmt);
}

int
seen_forget (struct db *db, int64_t view)
{
  if (db_run (db_bind (db_stmt (db, "DELETE FROM seen WHERE view = ?"), view)) == -1)
    return -1;
  return db_run (db_bind (db_stmt (db, "DELETE FROM seen_gone WHERE view = ?"), view));
}
