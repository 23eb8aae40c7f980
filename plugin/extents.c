/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of disks, extents and views, and the rows of extents; disk-rows.c has the rows of the others. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "db.h"
#include "extents.h"
#include "map.h"
#include "msg.h"

/* disk: geometry.h says what the columns mean.  kind: enum extent_kind.  left_out: items that are not on the disk.
 * made: when the generation was, seconds since 1970; view.items: see extents.h. */
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
  "  generation INTEGER NOT NULL, revision INTEGER NOT NULL, zone INTEGER NOT NULL, made INTEGER NOT NULL DEFAULT 0);"
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
  "  generation INTEGER NOT NULL, detached TEXT, items INTEGER NOT NULL DEFAULT 9223372036854775807,"
  "  made INTEGER NOT NULL DEFAULT 0);";

#define ALIVE "died = 9223372036854775807"
#define DEAD "died < 9223372036854775807"

/* Tables of version 1 had no ids of views, and those after them no items. */
static int
upgrade_views (struct db *db)
{
  bool nameless, itemless;
  int r;

  db_read_begin (db);
  r = db_exists (db_stmt (db, "SELECT 1 FROM pragma_table_info ('view') WHERE name = 'name'"
                              " AND NOT EXISTS (SELECT 1 FROM pragma_table_info ('view') WHERE name = 'id')"), &nameless);
  if (r == 0)
    r = db_exists (db_stmt (db, "SELECT 1 WHERE NOT EXISTS"
                                " (SELECT 1 FROM pragma_table_info ('view') WHERE name = 'items')"), &itemless);
  db_read_end (db);
  if (r == -1)
    return -1;
  if (nameless)
    return db_schema (db, "BEGIN; ALTER TABLE view RENAME TO view_1;"
                          "CREATE TABLE view (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
                          " disk INTEGER NOT NULL, generation INTEGER NOT NULL, detached TEXT,"
                          " items INTEGER NOT NULL DEFAULT 9223372036854775807, made INTEGER NOT NULL DEFAULT 0);"
                          "INSERT INTO view (name, disk, generation) SELECT name, disk, generation FROM view_1;"
                          "DROP TABLE view_1; COMMIT;");
  return itemless ? db_schema (db, "BEGIN;"
                                   "ALTER TABLE view ADD COLUMN items INTEGER NOT NULL DEFAULT 9223372036854775807;"
                                   "ALTER TABLE view ADD COLUMN made INTEGER NOT NULL DEFAULT 0;"
                                   "ALTER TABLE disk ADD COLUMN made INTEGER NOT NULL DEFAULT 0; COMMIT;") : 0;
}

int
extents_init (struct db *db)
{
  if (db_schema (db, schema) == -1)
    return -1;
  return upgrade_views (db);
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
        db_run (db_bind (db_stmt (db, "DELETE FROM slots WHERE extent = ?"), row->id)) == -1)
      return -1;
    return db_run (db_bind (db_stmt (db, "DELETE FROM extent WHERE id = ?"), row->id));
  }
  return db_run (db_bind (db_stmt (db, "UPDATE extent SET died = ? WHERE id = ?"), generation, row->id));
}

int
extent_set_parent (struct db *db, int64_t id, int64_t parent)
{
  return db_run (db_bind (db_stmt (db, "UPDATE extent SET parent = ? WHERE id = ?"), parent, id));
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

/* In what follows "+disk" keeps SQLite from taking the index by disk, which would walk over all of its extents. */
int
extent_by_item (struct db *db, int64_t disk, int64_t item, struct extent_row *ret)
{
  return one_row (db_bind (db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE item = ? AND +disk = ? AND " ALIVE),
                           item, disk), ret);
}

int
extents_in_folder (struct db *db, int64_t disk, int64_t folder, struct extent_row **ret, size_t *ret_n)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE parent = ? AND +disk = ?"
                                             " AND " ALIVE), folder, disk);
  size_t room = 0;
  int r;

  *ret = NULL;
  *ret_n = 0;
  while ((r = db_row (stmt)) == 1) {
    if (array_make_room (ret, *ret_n, &room, sizeof **ret) == -1) {
      sqlite3_reset (stmt);
      r = -1;
      break;
    }
    read_extent (stmt, &(*ret)[(*ret_n)++]);
  }
  if (r == -1) {
    free (*ret);
    *ret = NULL;
  }
  return r;
}

int
extent_at_cluster (struct db *db, int64_t disk, uint32_t first, int64_t generation, struct extent_row *ret)
{
  return one_row (db_bind (db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE disk = ?1 AND first = ?2"
                                        " AND born <= ?3 AND died > ?3"), disk, first, generation), ret);
}

int
extent_at_item (struct db *db, int64_t disk, int64_t item, int64_t generation, struct extent_row *ret)
{
  return one_row (db_bind (db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE item = ?1 AND " ALIVE
                                        " AND +disk = ?2 AND born <= ?3"
                                        " UNION ALL SELECT " EXTENT_COLUMNS " FROM extent"
                                        " WHERE " DEAD " AND item = ?1 AND +disk = ?2 AND born <= ?3"
                                        " AND died > ?3 LIMIT 1"), item, disk, generation), ret);
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

#define PLACED                                                                                                        \
  "SELECT e.id, e.item, e.parent, e.kind, e.version, e.first, e.count, e.bytes,"                                      \
  " CASE WHEN v.position IS NULL THEN e.position ELSE v.position END, e.born, e.died"                                 \
  " FROM extent e LEFT JOIN version v ON v.id = e.version "

int
extents_each (struct db *db, int64_t disk, int64_t oldest, int64_t newest,
              int (*row) (void *opaque, const struct extent_row *row), void *opaque)
{
  return each_row (db_bind (db_stmt (db, PLACED "WHERE e.disk = ? AND e.died > ? AND e.born <= ?"), disk, oldest, newest),
                   row, opaque);
}

int
extents_last_id (struct db *db, int64_t *ret)
{
  *ret = 0;
  return db_query_int (db_stmt (db, "SELECT ifnull (max (id), 0) FROM extent"), ret) == -1 ? -1 : 0;
}

int
extents_after (struct db *db, int64_t disk, int64_t id, int (*row) (void *opaque, const struct extent_row *row),
               void *opaque)
{
  return each_row (db_bind (db_stmt (db, PLACED "WHERE e.id > ? AND +e.disk = ?"), id, disk), row, opaque);
}

int
extents_dead (struct db *db, int64_t disk, int64_t after, int64_t up_to,
              int (*row) (void *opaque, const struct extent_row *row), void *opaque)
{
  return each_row (db_bind (db_stmt (db, PLACED "WHERE e." DEAD " AND e.died > ? AND e.died <= ? AND +e.disk = ?"), after,
                            up_to, disk), row, opaque);
}

int
extents_changed_since (struct db *db, int64_t disk, int64_t generation, uint64_t *ret)
{
  /* Folders are rendered anew whenever something in them changes: only those that came or went count. */
  int64_t n = 0;
  const int r =
    db_query_int (db_bind (db_stmt (db, "SELECT count (*) FROM (SELECT item FROM extent WHERE disk = ?1"
                                        " AND (born > ?2 OR (born <= ?2 AND died > ?2 AND died < 9223372036854775807))"
                                        " GROUP BY item HAVING min (kind) = ?3 OR sum (born <= ?2) = 0"
                                        " OR sum (died = 9223372036854775807) = 0)"), disk, generation, EXTENT_FILE), &n);

  *ret = n;
  return r == 1 ? 0 : -1;
}

int
extents_end (struct db *db, int64_t disk, uint32_t *ret)
{
  int64_t end = 2;

  /* Rows that share clusters begin at the same one: a folder that was rendered again in its place. */
  if (db_query_int (db_bind (db_stmt (db, "SELECT ifnull (max (first + count), 2) FROM extent WHERE disk = ?1"
                                          " AND first = (SELECT max (first) FROM extent WHERE disk = ?1)"), disk),
                    &end) == -1)
    return -1;
  *ret = end;
  return 0;
}

int
extents_dirs_end (struct db *db, uint64_t *ret)
{
  int64_t end = 0;

  /* 1 is EXTENT_DIR. */
  if (db_query_int (db_stmt (db, "SELECT ifnull (max (position + bytes), 0) FROM extent WHERE kind = 1"), &end) == -1)
    return -1;
  *ret = end;
  return 0;
}

struct collecting {
  const struct generations *pinned;
  int (*gone) (void *opaque, const struct extent_row *row);
  void *opaque;
  int64_t *ids;
  size_t n, room;
};

static int
collect_unless_pinned (void *opaque, const struct extent_row *row)
{
  struct collecting *c = opaque;

  for (size_t i = 0; i < c->pinned->n; ++i)
    if (row->born <= c->pinned->numbers[i] && row->died > c->pinned->numbers[i])
      return 0;
  if (array_make_room (&c->ids, c->n, &c->room, sizeof *c->ids) == -1)
    return -1;
  c->ids[c->n++] = row->id;
  return c->gone (c->opaque, row);
}

int
extents_collect (struct db *db, int64_t disk, int64_t after, int64_t generation, const struct generations *pinned,
                 int (*gone) (void *opaque, const struct extent_row *row), void *opaque)
{
  struct collecting c = { .pinned = pinned, .gone = gone, .opaque = opaque };
  int r = each_row (db_bind (db_stmt (db, "SELECT " EXTENT_COLUMNS " FROM extent WHERE died > ? AND died <= ? AND " DEAD
                                          " AND +disk = ?"), after, generation, disk), collect_unless_pinned, &c);

  for (size_t i = 0; i < c.n && r == 0; ++i) {
    r = db_run (db_bind (db_stmt (db, "DELETE FROM slots WHERE extent = ?"), c.ids[i]));
    if (r == 0)
      r = db_run (db_bind (db_stmt (db, "DELETE FROM extent WHERE id = ?"), c.ids[i]));
  }
  free (c.ids);
  return r;
}

int
extents_need_version (struct db *db, int64_t version, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM extent WHERE version = ? AND version > 0 LIMIT 1"), version), ret);
}
