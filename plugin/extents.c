/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of disks, extents and views. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "extents.h"
#include "format.h"
#include "msg.h"

/* disk: geometry.h says what the columns mean.  kind: enum extent_kind.  left_out: items that are not on the disk. */
static const char schema[] =
  "CREATE TABLE IF NOT EXISTS disk ("
  "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, format TEXT NOT NULL, partitioning INTEGER NOT NULL,"
  "  disk_bytes INTEGER NOT NULL, volume_start INTEGER NOT NULL, volume_bytes INTEGER NOT NULL,"
  "  cluster_bytes INTEGER NOT NULL, clusters INTEGER NOT NULL, fat_start INTEGER NOT NULL,"
  "  fat_bytes INTEGER NOT NULL, fats INTEGER NOT NULL, heap_start INTEGER NOT NULL,"
  "  bitmap_first INTEGER NOT NULL, bitmap_clusters INTEGER NOT NULL, upcase_first INTEGER NOT NULL,"
  "  upcase_clusters INTEGER NOT NULL, root_first INTEGER NOT NULL, root_clusters INTEGER NOT NULL,"
  "  mbr_signature INTEGER NOT NULL, gpt_disk_guid BLOB NOT NULL, gpt_partition_guid BLOB NOT NULL,"
  "  volume_serial INTEGER NOT NULL, label TEXT NOT NULL,"
  "  generation INTEGER NOT NULL, revision INTEGER NOT NULL, zone INTEGER NOT NULL);"
  "CREATE TABLE IF NOT EXISTS extent ("
  "  id INTEGER PRIMARY KEY, disk INTEGER NOT NULL, item INTEGER NOT NULL, parent INTEGER NOT NULL,"
  "  kind INTEGER NOT NULL, version INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,"
  "  bytes INTEGER NOT NULL, position INTEGER NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL);"
  "CREATE INDEX IF NOT EXISTS extent_item ON extent (item) WHERE died = 9223372036854775807;"
  "CREATE INDEX IF NOT EXISTS extent_parent ON extent (parent) WHERE died = 9223372036854775807;"
  "CREATE INDEX IF NOT EXISTS extent_version ON extent (version) WHERE version > 0;"
  "CREATE INDEX IF NOT EXISTS extent_dead_item ON extent (item) WHERE died < 9223372036854775807;"
  "CREATE INDEX IF NOT EXISTS extent_place ON extent (disk, first);"
  "CREATE INDEX IF NOT EXISTS extent_died ON extent (died) WHERE died < 9223372036854775807;"
  "CREATE TABLE IF NOT EXISTS slots (extent INTEGER PRIMARY KEY, list BLOB NOT NULL);"
  "CREATE TABLE IF NOT EXISTS left_out ("
  "  disk INTEGER NOT NULL, item INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (disk, item)) WITHOUT ROWID;"
  "CREATE TABLE IF NOT EXISTS view ("
  "  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, disk INTEGER NOT NULL,"
  "  generation INTEGER NOT NULL, detached TEXT);";

#define ALIVE "died = 9223372036854775807"

/* Tables of version 1 had no ids of views. */
static int
upgrade_views (struct db *db)
{
  sqlite3_stmt *stmt;
  int r;

  db_read_begin (db);
  stmt = db_stmt (db, "SELECT 1 FROM pragma_table_info ('view') WHERE name = 'name'"
                      " AND NOT EXISTS (SELECT 1 FROM pragma_table_info ('view') WHERE name = 'id')");
  r = stmt ? db_row (stmt) : -1;
  if (r == 1)
    sqlite3_reset (stmt);
  db_read_end (db);
  if (r != 1)
    return r;
  return db_schema (db, "BEGIN; ALTER TABLE view RENAME TO view_1;"
                        "CREATE TABLE view (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
                        " disk INTEGER NOT NULL, generation INTEGER NOT NULL, detached TEXT);"
                        "INSERT INTO view (name, disk, generation) SELECT name, disk, generation FROM view_1;"
                        "DROP TABLE view_1; COMMIT;");
}

int
extents_init (struct db *db)
{
  if (db_schema (db, schema) == -1)
    return -1;
  return upgrade_views (db);
}

/* ---- disks ---- */

int
disk_row_load (struct db *db, const char *name, struct disk_row *ret)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "SELECT id, format, partitioning, disk_bytes, volume_start, volume_bytes, cluster_bytes, clusters,"
                 " fat_start, fat_bytes, fats, heap_start, bitmap_first, bitmap_clusters, upcase_first, upcase_clusters,"
                 " root_first, root_clusters, mbr_signature, gpt_disk_guid, gpt_partition_guid, volume_serial, label,"
                 " generation, revision, zone FROM disk WHERE name = ?");
  struct geometry *g = &ret->geometry;
  const char *format, *label;
  int c = 0, r;

  memset (ret, 0, sizeof *ret);
  if (stmt == NULL)
    return -1;
  sqlite3_bind_text (stmt, 1, name, -1, SQLITE_STATIC);
  r = db_row (stmt);
  if (r != 1)
    return r;
  ret->id = sqlite3_column_int64 (stmt, c++);
  format = (const char *) sqlite3_column_text (stmt, c++);
  g->format = format_by_name (format);
  g->partitioning = sqlite3_column_int (stmt, c++);
  g->disk_bytes = sqlite3_column_int64 (stmt, c++);
  g->volume_start = sqlite3_column_int64 (stmt, c++);
  g->volume_bytes = sqlite3_column_int64 (stmt, c++);
  g->cluster_bytes = sqlite3_column_int64 (stmt, c++);
  g->clusters = sqlite3_column_int64 (stmt, c++);
  g->fat_start = sqlite3_column_int64 (stmt, c++);
  g->fat_bytes = sqlite3_column_int64 (stmt, c++);
  g->fats = sqlite3_column_int64 (stmt, c++);
  g->heap_start = sqlite3_column_int64 (stmt, c++);
  g->bitmap_first = sqlite3_column_int64 (stmt, c++);
  g->bitmap_clusters = sqlite3_column_int64 (stmt, c++);
  g->upcase_first = sqlite3_column_int64 (stmt, c++);
  g->upcase_clusters = sqlite3_column_int64 (stmt, c++);
  g->root_first = sqlite3_column_int64 (stmt, c++);
  g->root_clusters = sqlite3_column_int64 (stmt, c++);
  g->mbr_signature = sqlite3_column_int64 (stmt, c++);
  if (sqlite3_column_bytes (stmt, c) == 16)
    memcpy (g->gpt_disk_guid, sqlite3_column_blob (stmt, c), 16);
  c++;
  if (sqlite3_column_bytes (stmt, c) == 16)
    memcpy (g->gpt_partition_guid, sqlite3_column_blob (stmt, c), 16);
  c++;
  g->volume_serial = sqlite3_column_int64 (stmt, c++);
  label = (const char *) sqlite3_column_text (stmt, c++);
  strncpy (g->label, label ? label : "", sizeof g->label - 1);
  ret->generation = sqlite3_column_int64 (stmt, c++);
  ret->revision = sqlite3_column_int64 (stmt, c++);
  ret->zone = sqlite3_column_int64 (stmt, c++);
  if (g->format == NULL)
    msg_error ("disk %s has the unknown format %s: it was made by another version of this program", name, format);
  sqlite3_reset (stmt);
  return g->format ? 1 : -1;
}

int
disk_row_insert (struct db *db, const char *name, struct disk_row *row)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "INSERT INTO disk (name, format, partitioning, disk_bytes, volume_start, volume_bytes, cluster_bytes,"
                 " clusters, fat_start, fat_bytes, fats, heap_start, bitmap_first, bitmap_clusters, upcase_first,"
                 " upcase_clusters, root_first, root_clusters, mbr_signature, gpt_disk_guid, gpt_partition_guid,"
                 " volume_serial, label, generation, revision, zone)"
                 " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  const struct geometry *g = &row->geometry;
  int c = 1;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_text (stmt, c++, name, -1, SQLITE_STATIC);
  sqlite3_bind_text (stmt, c++, g->format->name, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, c++, g->partitioning);
  sqlite3_bind_int64 (stmt, c++, g->disk_bytes);
  sqlite3_bind_int64 (stmt, c++, g->volume_start);
  sqlite3_bind_int64 (stmt, c++, g->volume_bytes);
  sqlite3_bind_int64 (stmt, c++, g->cluster_bytes);
  sqlite3_bind_int64 (stmt, c++, g->clusters);
  sqlite3_bind_int64 (stmt, c++, g->fat_start);
  sqlite3_bind_int64 (stmt, c++, g->fat_bytes);
  sqlite3_bind_int64 (stmt, c++, g->fats);
  sqlite3_bind_int64 (stmt, c++, g->heap_start);
  sqlite3_bind_int64 (stmt, c++, g->bitmap_first);
  sqlite3_bind_int64 (stmt, c++, g->bitmap_clusters);
  sqlite3_bind_int64 (stmt, c++, g->upcase_first);
  sqlite3_bind_int64 (stmt, c++, g->upcase_clusters);
  sqlite3_bind_int64 (stmt, c++, g->root_first);
  sqlite3_bind_int64 (stmt, c++, g->root_clusters);
  sqlite3_bind_int64 (stmt, c++, g->mbr_signature);
  sqlite3_bind_blob (stmt, c++, g->gpt_disk_guid, 16, SQLITE_STATIC);
  sqlite3_bind_blob (stmt, c++, g->gpt_partition_guid, 16, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, c++, g->volume_serial);
  sqlite3_bind_text (stmt, c++, g->label, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, c++, row->generation);
  sqlite3_bind_int64 (stmt, c++, row->revision);
  sqlite3_bind_int64 (stmt, c++, row->zone);
  if (db_run (stmt) == -1)
    return -1;
  row->id = db_last_id (db);
  return 0;
}

int
disk_row_advance (struct db *db, const struct disk_row *row)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE disk SET generation = ?, revision = ?, zone = ? WHERE id = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, row->generation);
  sqlite3_bind_int64 (stmt, 2, row->revision);
  sqlite3_bind_int64 (stmt, 3, row->zone);
  sqlite3_bind_int64 (stmt, 4, row->id);
  return db_run (stmt);
}

int
disk_names_each (struct db *db, int (*row) (void *opaque, const char *name), void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT name FROM disk ORDER BY name");
  int r;

  while ((r = db_row (stmt)) == 1) {
    if (row (opaque, (const char *) sqlite3_column_text (stmt, 0)) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

/* Runs a statement with up to three numbers. */
static int
run_with (sqlite3_stmt *stmt, int n, int64_t a, int64_t b, int64_t c)
{
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, a);
  if (n > 1)
    sqlite3_bind_int64 (stmt, 2, b);
  if (n > 2)
    sqlite3_bind_int64 (stmt, 3, c);
  return db_run (stmt);
}

int
disk_row_delete (struct db *db, int64_t id)
{
  if (run_with (db_stmt (db, "DELETE FROM slots WHERE extent IN (SELECT id FROM extent WHERE disk = ?)"), 1, id, 0,
                0) == -1 ||
      run_with (db_stmt (db, "DELETE FROM extent WHERE disk = ?"), 1, id, 0, 0) == -1 ||
      run_with (db_stmt (db, "DELETE FROM left_out WHERE disk = ?"), 1, id, 0, 0) == -1 ||
      run_with (db_stmt (db, "DELETE FROM view WHERE disk = ?"), 1, id, 0, 0) == -1)
    return -1;
  return run_with (db_stmt (db, "DELETE FROM disk WHERE id = ?"), 1, id, 0, 0);
}

/* ---- extents ---- */

int
extent_insert (struct db *db, int64_t disk, struct extent_row *row)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO extent (disk, item, parent, kind, version, first, count, bytes, position,"
                                    " born, died) VALUES (?,?,?,?,?,?,?,?,?,?,?)");
  int c = 1;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, c++, disk);
  sqlite3_bind_int64 (stmt, c++, row->item);
  sqlite3_bind_int64 (stmt, c++, row->parent);
  sqlite3_bind_int (stmt, c++, row->kind);
  sqlite3_bind_int64 (stmt, c++, row->version);
  sqlite3_bind_int64 (stmt, c++, row->first);
  sqlite3_bind_int64 (stmt, c++, row->count);
  sqlite3_bind_int64 (stmt, c++, row->bytes);
  sqlite3_bind_int64 (stmt, c++, row->position);
  sqlite3_bind_int64 (stmt, c++, row->born);
  sqlite3_bind_int64 (stmt, c++, row->died);
  if (db_run (stmt) == -1)
    return -1;
  row->id = db_last_id (db);
  return 0;
}

int
extent_kill (struct db *db, const struct extent_row *row, int64_t generation)
{
  if (row->born == generation) {
    if (row->kind == EXTENT_DIR &&
        run_with (db_stmt (db, "DELETE FROM slots WHERE extent = ?"), 1, row->id, 0, 0) == -1)
      return -1;
    return run_with (db_stmt (db, "DELETE FROM extent WHERE id = ?"), 1, row->id, 0, 0);
  }
  return run_with (db_stmt (db, "UPDATE extent SET died = ? WHERE id = ?"), 2, generation, row->id, 0);
}

int
extent_set_parent (struct db *db, int64_t id, int64_t parent)
{
  return run_with (db_stmt (db, "UPDATE extent SET parent = ? WHERE id = ?"), 2, parent, id, 0);
}

int
slots_row_save (struct db *db, int64_t extent, const void *list, size_t n)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT OR REPLACE INTO slots (extent, list) VALUES (?, ?)");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, extent);
  sqlite3_bind_blob64 (stmt, 2, list, n, SQLITE_STATIC);
  return db_run (stmt);
}

int
slots_row_load (struct db *db, int64_t extent, void **ret, size_t *ret_n)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT list FROM slots WHERE extent = ?");
  int r;

  *ret = NULL;
  *ret_n = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, extent);
  r = db_row (stmt);
  if (r != 1)
    return r;
  *ret_n = sqlite3_column_bytes (stmt, 0);
  *ret = malloc (*ret_n + 1);
  if (*ret == NULL)
    msg_error ("out of memory");
  else if (*ret_n > 0)
    memcpy (*ret, sqlite3_column_blob (stmt, 0), *ret_n);
  sqlite3_reset (stmt);
  return *ret ? 0 : -1;
}

#define EXTENT_COLUMNS "id, item, parent, kind, version, first, count, bytes, position, born, died"

static void
read_extent (sqlite3_stmt *stmt, struct extent_row *ret)
{
  int c = 0;

  ret->id = sqlite3_column_int64 (stmt, c++);
  ret->item = sqlite3_column_int64 (stmt, c++);
  ret->parent = sqlite3_column_int64 (stmt, c++);
  ret->kind = sqlite3_column_int (stmt, c++);
  ret->version = sqlite3_column_int64 (stmt, c++);
  ret->first = sqlite3_column_int64 (stmt, c++);
  ret->count = sqlite3_column_int64 (stmt, c++);
  ret->bytes = sqlite3_column_int64 (stmt, c++);
  ret->position = sqlite3_column_int64 (stmt, c++);
  ret->born = sqlite3_column_int64 (stmt, c++);
  ret->died = sqlite3_column_int64 (stmt, c++);
}

/* In what follows "+disk" keeps SQLite from taking the index by disk, which would walk over all of its extents. */
int
extent_by_item (struct db *db, int64_t disk, int64_t item, struct extent_row *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE item = ? AND +disk = ? AND " ALIVE);
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, item);
  sqlite3_bind_int64 (stmt, 2, disk);
  r = db_row (stmt);
  if (r == 1) {
    read_extent (stmt, ret);
    sqlite3_reset (stmt);
  }
  return r;
}

int
extents_in_folder (struct db *db, int64_t disk, int64_t folder, struct extent_row **ret, size_t *ret_n)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE parent = ? AND +disk = ? AND " ALIVE);
  size_t room = 0;
  int r;

  *ret = NULL;
  *ret_n = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, folder);
  sqlite3_bind_int64 (stmt, 2, disk);
  while ((r = db_row (stmt)) == 1) {
    if (*ret_n == room) {
      struct extent_row *rows;

      room = room * 2 + 64;
      rows = realloc (*ret, room * sizeof *rows);
      if (rows == NULL) {
        msg_error ("out of memory");
        sqlite3_reset (stmt);
        free (*ret);
        *ret = NULL;
        return -1;
      }
      *ret = rows;
    }
    read_extent (stmt, &(*ret)[(*ret_n)++]);
  }
  return r;
}

static int
one_row (sqlite3_stmt *stmt, struct extent_row *ret)
{
  const int r = db_row (stmt);

  if (r == 1) {
    read_extent (stmt, ret);
    sqlite3_reset (stmt);
  }
  return r;
}

int
extent_at_cluster (struct db *db, int64_t disk, uint32_t first, int64_t generation, struct extent_row *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE disk = ?1 AND first = ?2 AND born <= ?3"
                                    " AND died > ?3");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  sqlite3_bind_int64 (stmt, 2, first);
  sqlite3_bind_int64 (stmt, 3, generation);
  return one_row (stmt, ret);
}

int
extent_at_item (struct db *db, int64_t disk, int64_t item, int64_t generation, struct extent_row *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE item = ?1 AND " ALIVE
                                    " AND +disk = ?2 AND born <= ?3"
                                    " UNION ALL SELECT " EXTENT_COLUMNS " FROM extent"
                                    " WHERE died < 9223372036854775807 AND item = ?1 AND +disk = ?2 AND born <= ?3"
                                    " AND died > ?3 LIMIT 1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, item);
  sqlite3_bind_int64 (stmt, 2, disk);
  sqlite3_bind_int64 (stmt, 3, generation);
  return one_row (stmt, ret);
}

static int
each_row (sqlite3_stmt *stmt, int (*row) (void *opaque, const struct extent_row *row), void *opaque)
{
  int r;

  while ((r = db_row (stmt)) == 1) {
    struct extent_row extent;

    read_extent (stmt, &extent);
    if (row (opaque, &extent) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

int
extents_each (struct db *db, int64_t disk, int64_t oldest, int64_t newest,
              int (*row) (void *opaque, const struct extent_row *row), void *opaque)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "SELECT e.id, e.item, e.parent, e.kind, e.version, e.first, e.count, e.bytes,"
                 " CASE WHEN v.position IS NULL THEN e.position ELSE v.position END, e.born, e.died"
                 " FROM extent e LEFT JOIN version v ON v.id = e.version"
                 " WHERE e.disk = ? AND e.died > ? AND e.born <= ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  sqlite3_bind_int64 (stmt, 2, oldest);
  sqlite3_bind_int64 (stmt, 3, newest);
  return each_row (stmt, row, opaque);
}

int
extents_end (struct db *db, int64_t disk, uint32_t *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT ifnull (max (first + count), 2) FROM extent WHERE disk = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  if (db_row (stmt) != 1)
    return -1;
  *ret = sqlite3_column_int64 (stmt, 0);
  sqlite3_reset (stmt);
  return 0;
}

int
extents_dirs_end (struct db *db, uint64_t *ret)
{
  /* 1 is EXTENT_DIR. */
  sqlite3_stmt *stmt = db_stmt (db, "SELECT ifnull (max (position + bytes), 0) FROM extent WHERE kind = 1");

  if (stmt == NULL || db_row (stmt) != 1)
    return -1;
  *ret = sqlite3_column_int64 (stmt, 0);
  sqlite3_reset (stmt);
  return 0;
}

int
extents_collect (struct db *db, int64_t disk, int64_t generation,
                 int (*gone) (void *opaque, const struct extent_row *row), void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE disk = ? AND died <= ?"
                                    " AND died < 9223372036854775807");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  sqlite3_bind_int64 (stmt, 2, generation);
  if (each_row (stmt, gone, opaque) == -1)
    return -1;
  if (run_with (db_stmt (db, "DELETE FROM slots WHERE extent IN (SELECT id FROM extent WHERE disk = ? AND died <= ?"
                             " AND died < 9223372036854775807)"), 2, disk, generation, 0) == -1)
    return -1;
  return run_with (db_stmt (db, "DELETE FROM extent WHERE disk = ? AND died <= ? AND died < 9223372036854775807"), 2, disk,
                   generation, 0);
}

int
extents_need_version (struct db *db, int64_t version, bool *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT 1 FROM extent WHERE version = ? AND version > 0 LIMIT 1");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  *ret = r == 1;
  if (r == 1)
    sqlite3_reset (stmt);
  return r == -1 ? -1 : 0;
}

/* ---- what is left out ---- */

int
left_out_set (struct db *db, int64_t disk, int64_t item, const char *reason, bool *ret_new)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO left_out (disk, item, reason) VALUES (?, ?, ?)"
                                    " ON CONFLICT (disk, item) DO UPDATE SET reason = excluded.reason"
                                    " WHERE reason <> excluded.reason RETURNING 1");
  int r;

  *ret_new = false;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  sqlite3_bind_int64 (stmt, 2, item);
  sqlite3_bind_text (stmt, 3, reason, -1, SQLITE_STATIC);
  while ((r = db_row (stmt)) == 1)
    *ret_new = true;
  return r;
}

int
left_out_sweep (struct db *db)
{
  return db_run (db_stmt (db, "DELETE FROM left_out WHERE item NOT IN (SELECT id FROM item)"));
}

int
left_out_clear (struct db *db, int64_t disk, int64_t item)
{
  return run_with (db_stmt (db, "DELETE FROM left_out WHERE disk = ? AND item = ?"), 2, disk, item, 0);
}

int
left_out_count (struct db *db, int64_t disk, int64_t *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT count (*) FROM left_out WHERE disk = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  if (db_row (stmt) != 1)
    return -1;
  *ret = sqlite3_column_int64 (stmt, 0);
  sqlite3_reset (stmt);
  return 0;
}

int
left_out_each (struct db *db, int64_t disk, int (*row) (void *opaque, int64_t item, const char *reason), void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT item, reason FROM left_out WHERE disk = ?");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  while ((r = db_row (stmt)) == 1) {
    if (row (opaque, sqlite3_column_int64 (stmt, 0), (const char *) sqlite3_column_text (stmt, 1)) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

int
left_out_folders (struct db *db, int64_t disk, const char *reason, int64_t **ret, size_t *ret_n)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT DISTINCT i.parent FROM left_out l JOIN item i ON i.id = l.item"
                                    " WHERE l.disk = ? AND l.reason = ?");
  size_t room = 0;
  int r;

  *ret = NULL;
  *ret_n = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  sqlite3_bind_text (stmt, 2, reason, -1, SQLITE_STATIC);
  while ((r = db_row (stmt)) == 1) {
    if (*ret_n == room) {
      int64_t *more = realloc (*ret, (room = room * 2 + 64) * sizeof **ret);

      if (more == NULL) {
        msg_error ("out of memory");
        sqlite3_reset (stmt);
        free (*ret);
        *ret = NULL;
        return -1;
      }
      *ret = more;
    }
    (*ret)[(*ret_n)++] = sqlite3_column_int64 (stmt, 0);
  }
  return r;
}

/* ---- views ---- */

static void
bind_text_or_null (sqlite3_stmt *stmt, int column, const char *text)
{
  if (text)
    sqlite3_bind_text (stmt, column, text, -1, SQLITE_STATIC);
}

int
view_row_save (struct db *db, struct view_row *row)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO view (id, name, disk, generation, detached) VALUES (?, ?, ?, ?, ?)"
                                    " ON CONFLICT (id) DO UPDATE SET generation = excluded.generation,"
                                    " detached = excluded.detached");

  if (stmt == NULL)
    return -1;
  if (row->id)
    sqlite3_bind_int64 (stmt, 1, row->id);
  sqlite3_bind_text (stmt, 2, row->name, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, 3, row->disk);
  sqlite3_bind_int64 (stmt, 4, row->generation);
  bind_text_or_null (stmt, 5, row->detached);
  if (db_run (stmt) == -1)
    return -1;
  if (row->id == 0)
    row->id = db_last_id (db);
  return 0;
}

int
view_row_delete (struct db *db, int64_t id)
{
  return run_with (db_stmt (db, "DELETE FROM view WHERE id = ?"), 1, id, 0, 0);
}

int
view_rows_each (struct db *db, int64_t disk, int (*row) (void *opaque, const struct view_row *row), void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT id, name, generation, detached FROM view WHERE disk = ?");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, disk);
  while ((r = db_row (stmt)) == 1) {
    const struct view_row loaded = {
      .id = sqlite3_column_int64 (stmt, 0), .name = (const char *) sqlite3_column_text (stmt, 1), .disk = disk,
      .generation = sqlite3_column_int64 (stmt, 2), .detached = (const char *) sqlite3_column_text (stmt, 3),
    };

    if (row (opaque, &loaded) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}
