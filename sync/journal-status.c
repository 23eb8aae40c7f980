/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal: what waits, for people and for the administrator. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "cleanup.h"
#include "db.h"
#include "journal.h"

/* Bytes of contents that are to be sent: of files that are there and whose version is not what the remote has. */
#define BYTES_TO_SEND "CASE WHEN i.gone = 0 AND i.version IS NOT NULL AND i.version IS NOT c.base_version" \
                      " THEN v.size ELSE 0 END"

int
journal_totals (struct db *db, struct journal_totals *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT count (*), total (" BYTES_TO_SEND "),"
                                    "       ifnull (min (nullif (c.since, 0)), 0),"
                                    "       total (c.error IS NOT NULL), total (c.held AND i.gone <> 0)"
                                    " FROM change c JOIN item i ON i.id = c.item LEFT JOIN version v"
                                    "   ON v.id = i.version");

  memset (ret, 0, sizeof *ret);
  if (stmt == NULL || db_row (stmt) != 1)
    return -1;
  ret->files = sqlite3_column_int64 (stmt, 0);
  ret->bytes = sqlite3_column_int64 (stmt, 1);
  ret->oldest = sqlite3_column_int64 (stmt, 2);
  ret->failing = sqlite3_column_int64 (stmt, 3);
  ret->held = sqlite3_column_int64 (stmt, 4);
  sqlite3_reset (stmt);
  return 0;
}

/* Where people find it: on the disk, or, if it is gone there, where the remote still has it. */
static char *
path_for_people (struct db *db, const struct catalog_item *item)
{
  char *path = item->gone ? catalog_remote_path (db, item->id) : catalog_path (db, item->id);

  return path ? path : strdup (item->name);
}

static int
tell_one (struct db *db, int64_t id, int (*row) (void *opaque, const struct journal_row *row), void *opaque)
{
  struct catalog_list list;
  struct change change;
  int r = change_read (db, id, &change);

  if (r != 1)
    return r;
  r = catalog_any_item (db, id, &list);
  if (r == 1) {
    const struct catalog_item *item = &list.items[0];
    CLEANUP_FREE char *path = path_for_people (db, item);
    const bool sends = !item->gone && !item->is_folder && item->version != change.base_version;
    const struct journal_row told = {
      .item = id, .path = path, .what = change_what (item, &change), .bytes = sends ? item->size : 0,
      .since = change.since, .next_try = change.next_try, .attempts = change.attempts, .error = change.error,
      .view = change.view, .held = change.held && item->gone,
    };

    r = path ? row (opaque, &told) : -1;
    catalog_list_free (&list);
  }
  change_free (&change);
  return r;
}

int
journal_each (struct db *db, int (*row) (void *opaque, const struct journal_row *row), void *opaque)
{
  int64_t item = 0;

  for (;;) {
    const int r = db_query_int (db_bind (db_stmt (db, "SELECT item FROM change WHERE item > ? ORDER BY item LIMIT 1"), item),
                                &item);

    if (r != 1)
      return r;
    if (tell_one (db, item, row, opaque) == -1)
      return -1;
  }
}

static int
count (sqlite3_stmt *stmt, uint64_t *ret)
{
  int64_t n = 0;
  const int r = db_query_int (stmt, &n);

  *ret = n;
  return r == -1 ? -1 : 0;
}

int
journal_waiting (struct db *db, const char *view, uint64_t *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT count (*) FROM change WHERE view = ?");

  db_bind_text (stmt, 1, view);
  return count (stmt, ret);
}

int
journal_approve (struct db *db, uint64_t *ret)
{
  if (count (db_stmt (db, "SELECT count (*) FROM change c JOIN item i ON i.id = c.item WHERE c.held = 1"
                          " AND +i.gone <> 0"),
             ret) == -1)
    return -1;
  return db_run (db_stmt (db, "UPDATE change SET held = 0, next_try = 0 WHERE held = 1"));
}

int
journal_retry (struct db *db)
{
  return db_run (db_stmt (db, "UPDATE change SET next_try = 0, quiet = 0 WHERE next_try <> 0 OR quiet <> 0"));
}
