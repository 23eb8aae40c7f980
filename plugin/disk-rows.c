/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of disks, of what they leave out, and of views (extents.h). */

#include <config.h>

#include <string.h>

#include "db.h"
#include "extents.h"
#include "format.h"
#include "msg.h"

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
  return db_run (db_bind (db_stmt (db, "UPDATE disk SET generation = ?, revision = ?, zone = ?,"
                                      " made = CAST (strftime ('%s', 'now') AS INTEGER) WHERE id = ?"),
                          row->generation, row->revision, row->zone, row->id));
}

int
disk_row_resize (struct db *db, const struct disk_row *row)
{
  const struct geometry *g = &row->geometry;

  return db_run (db_bind (db_stmt (db, "UPDATE disk SET disk_bytes = ?, volume_bytes = ?, clusters = ? WHERE id = ?"),
                          (int64_t) g->disk_bytes, (int64_t) g->volume_bytes, (int64_t) g->clusters, row->id));
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

int
disk_row_delete (struct db *db, int64_t id)
{
  if (db_run (db_bind (db_stmt (db, "DELETE FROM slots WHERE extent IN (SELECT id FROM extent WHERE disk = ?)"), id)) == -1 ||
      db_run (db_bind (db_stmt (db, "DELETE FROM extent WHERE disk = ?"), id)) == -1 ||
      db_run (db_bind (db_stmt (db, "DELETE FROM left_out WHERE disk = ?"), id)) == -1 ||
      db_run (db_bind (db_stmt (db, "DELETE FROM view WHERE disk = ?"), id)) == -1)
    return -1;
  return db_run (db_bind (db_stmt (db, "DELETE FROM disk WHERE id = ?"), id));
}

/* ---- what is left out ---- */

int
left_out_set (struct db *db, int64_t disk, int64_t item, const char *reason, bool *ret_new)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "INSERT INTO left_out (disk, item, reason) VALUES (?, ?, ?)"
                                             " ON CONFLICT (disk, item) DO UPDATE SET reason = excluded.reason"
                                             " WHERE reason <> excluded.reason RETURNING 1"), disk, item);
  int r;

  *ret_new = false;
  db_bind_text (stmt, 3, reason);
  while ((r = db_row (stmt)) == 1)
    *ret_new = true;
  return r;
}

int
left_out_sweep (struct db *db, int64_t disk)
{
  return db_run (db_bind (db_stmt (db, "DELETE FROM left_out WHERE disk = ? AND NOT EXISTS"
                                       " (SELECT 1 FROM item WHERE id = left_out.item AND gone = 0)"), disk));
}

int
left_out_clear (struct db *db, int64_t disk, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "DELETE FROM left_out WHERE disk = ? AND item = ?"), disk, item));
}

int
left_out_count (struct db *db, int64_t disk, int64_t *ret)
{
  return db_query_int (db_bind (db_stmt (db, "SELECT count (*) FROM left_out WHERE disk = ?"), disk), ret) == 1 ? 0 : -1;
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
left_out_for (struct db *db, int64_t disk, const char *reason, bool *ret)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT 1 FROM left_out WHERE disk = ? AND reason = ? LIMIT 1"), disk);

  db_bind_text (stmt, 2, reason);
  return db_exists (stmt, ret);
}

int
left_out_folders (struct db *db, int64_t disk, const char *reason, int64_t **ret, size_t *ret_n)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT DISTINCT i.parent FROM left_out l JOIN item i ON i.id = l.item"
                                             " WHERE l.disk = ? AND l.reason = ?"), disk);

  db_bind_text (stmt, 2, reason);
  return db_read_ids (stmt, ret, ret_n);
}

/* ---- views ---- */

int
view_row_save (struct db *db, struct view_row *row)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO view (id, name, disk, generation, detached, items, made)"
                                    " VALUES (?1, ?2, ?3, ?4, ?5, (SELECT ifnull (max (id), 0) FROM item),"
                                    " ifnull ((SELECT made FROM disk WHERE id = ?3 AND generation = ?4), 0))"
                                    " ON CONFLICT (id) DO UPDATE SET generation = excluded.generation,"
                                    " detached = excluded.detached,"
                                    " items = excluded.items,"
                                    " made = CASE generation WHEN excluded.generation THEN made ELSE excluded.made END");

  if (stmt == NULL)
    return -1;
  if (row->id)
    sqlite3_bind_int64 (stmt, 1, row->id);
  db_bind_text (stmt, 2, row->name);
  sqlite3_bind_int64 (stmt, 3, row->disk);
  sqlite3_bind_int64 (stmt, 4, row->generation);
  db_bind_text (stmt, 5, row->detached);
  if (db_run (stmt) == -1)
    return -1;
  if (row->id == 0)
    row->id = db_last_id (db);
  return 0;
}

int
view_row_delete (struct db *db, int64_t id)
{
  return db_run (db_bind (db_stmt (db, "DELETE FROM view WHERE id = ?"), id));
}

int
view_row_exists (struct db *db, int64_t id, bool *ret)
{
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM view WHERE id = ?"), id), ret);
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
