/* SPDX-License-Identifier: BSD-3-Clause */
/* The catalog: its tables, and items.  versions.c has the versions. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "db.h"
#include "journal.h"
#include "kin.h"
#include "msg.h"

/* Ids are never used twice (AUTOINCREMENT): extents and cached bytes of an id that is gone must not become another item's.
 * Times are nanoseconds since 1970.  Names and remote ids are bytes, so BLOBs: a server's name need not be UTF-8.
 * rev: see catalog.h; set on folders only.  item.version is NULL for folders.  gone: when disks stopped to show the item,
 * seconds since 1970; 0 while they do.  version.hashes: of a content that was made here, "SHA1:hex
 * SHA256:hex"; NULL for others.  The token of such a one is empty until the remote has it. */
static const char schema[] =
  "CREATE TABLE IF NOT EXISTS item ("
  "  id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL, name BLOB NOT NULL, folder INTEGER NOT NULL,"
  "  version INTEGER, mtime INTEGER NOT NULL, token TEXT, remote_id BLOB, rev INTEGER, gone INTEGER NOT NULL DEFAULT 0);"
  "CREATE UNIQUE INDEX IF NOT EXISTS item_live_name ON item (parent, name) WHERE gone = 0;"
  "CREATE INDEX IF NOT EXISTS item_remote_id ON item (remote_id) WHERE remote_id IS NOT NULL;"
  "CREATE INDEX IF NOT EXISTS item_rev ON item (rev) WHERE rev IS NOT NULL;"
  "CREATE INDEX IF NOT EXISTS item_gone ON item (gone) WHERE gone <> 0;"
  "CREATE TABLE IF NOT EXISTS version ("
  "  id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL, token TEXT NOT NULL, size INTEGER NOT NULL,"
  "  checksum TEXT, mime TEXT, position INTEGER NOT NULL, superseded INTEGER NOT NULL DEFAULT 0, hashes TEXT);"
  "CREATE INDEX IF NOT EXISTS version_superseded ON version (id) WHERE superseded = 1;"
  "INSERT OR IGNORE INTO item (id, parent, name, folder, mtime, rev) VALUES (1, 0, x'', 1, 0, 0);";

#define NS_PER_S INT64_C (1000000000)

static int64_t
to_ns (const struct timespec *ts)
{
  /* A server may claim any year; what does not fit counts as unknown. */
  if (ts->tv_sec < 0 || ts->tv_sec > INT64_MAX / NS_PER_S - 1)
    return 0;
  return ts->tv_sec * NS_PER_S + ts->tv_nsec;
}

static struct timespec
from_ns (int64_t ns)
{
  return (struct timespec) { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
}

/* Tables of programs that could not write to the remote lack some columns. */
static int
add_columns (struct db *db)
{
  static const char upgrade[] =
    "BEGIN;"
    "ALTER TABLE item ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE version ADD COLUMN hashes TEXT;"
    "DROP INDEX IF EXISTS item_name;"
    "COMMIT;";
  sqlite3_stmt *stmt;
  int64_t old = 0;
  int r;

  db_read_begin (db);
  stmt = db_stmt (db, "SELECT count (*) > 0 AND sum (name = 'gone') = 0 FROM pragma_table_info ('item')");
  r = stmt ? db_query_int (stmt, &old) : -1;
  db_read_end (db);
  if (r == -1)
    return -1;
  return old ? db_schema (db, upgrade) : 0;
}

int
catalog_init (struct db *db)
{
  if (add_columns (db) == -1 || db_schema (db, schema) == -1 || kin_init (db) == -1)
    return -1;
  return journal_init (db);
}

int
catalog_revision (struct db *db, int64_t *ret)
{
  *ret = 0;
  return db_get_int (db, "revision", ret) == -1 ? -1 : 0;
}

int
catalog_commit_revision (struct db *db, int64_t revision)
{
  return db_set_int (db, "revision", revision);
}

int
catalog_is_complete (struct db *db, bool *ret)
{
  int64_t value = 0;
  const int r = db_get_int (db, "complete", &value);

  *ret = value != 0;
  return r == -1 ? -1 : 0;
}

int
catalog_set_complete (struct db *db)
{
  return db_set_int (db, "complete", 1);
}

int
catalog_reset (struct db *db)
{
  if (db_run (db_stmt (db, "DELETE FROM version")) == -1 || db_run (db_stmt (db, "DELETE FROM version_range")) == -1 || db_run (db_stmt (db, "DELETE FROM change")) == -1 ||
      db_run (db_stmt (db, "DELETE FROM item WHERE id <> 1")) == -1)
    return -1;
  return db_run (db_stmt (db, "DELETE FROM meta WHERE key IN ('revision', 'root_id', 'tree_tokens')"));
}

/* ---- reading items ---- */

#define ITEM_COLUMNS                                                                                      \
  "SELECT i.id, i.parent, i.name, i.folder, i.version, i.mtime, ifnull (v.token, i.token), i.remote_id, " \
  "       v.size, v.position, v.checksum, v.hashes, i.gone, "                                             \
  "       EXISTS (SELECT 1 FROM change c WHERE c.item = i.id), v.mime FROM item i LEFT JOIN version v ON v.id = i.version "

/* Strings of a list stand one after the other in one growing block; while it grows items hold offsets. */
struct arena {
  char *bytes;
  size_t used, room;
};

static int
arena_put (struct arena *arena, const void *data, size_t n, size_t *ret_offset)
{
  if (arena->used + n + 1 > arena->room) {
    const size_t room = (arena->used + n + 1) * 2 + 4096;
    char *bytes = realloc (arena->bytes, room);

    if (bytes == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    arena->bytes = bytes;
    arena->room = room;
  }
  if (n)
    memcpy (arena->bytes + arena->used, data, n);
  arena->bytes[arena->used + n] = '\0';
  *ret_offset = arena->used;
  arena->used += n + 1;
  return 0;
}

/* Offsets are kept in the pointers themselves, one too high, so that NULL stays NULL. */
static int
arena_put_column (struct arena *arena, sqlite3_stmt *stmt, int column, const char **ret)
{
  size_t offset;

  *ret = NULL;
  if (sqlite3_column_type (stmt, column) == SQLITE_NULL)
    return 0;
  if (arena_put (arena, sqlite3_column_blob (stmt, column), sqlite3_column_bytes (stmt, column), &offset) == -1)
    return -1;
  *ret = (const char *) (offset + 1);
  return 0;
}

static void
relocate (const char **pointer, const struct arena *arena)
{
  if (*pointer)
    *pointer = arena->bytes + ((size_t) *pointer - 1);
}

static int
read_items (sqlite3_stmt *stmt, struct catalog_list *ret)
{
  struct arena arena = { 0 };
  size_t room = 0;
  int r;

  memset (ret, 0, sizeof *ret);
  while ((r = db_row (stmt)) == 1) {
    struct catalog_item *item;

    if (array_make_room (&ret->items, ret->n, &room, sizeof *ret->items) == -1)
      goto failed;
    item = &ret->items[ret->n++];
    item->id = sqlite3_column_int64 (stmt, 0);
    item->parent = sqlite3_column_int64 (stmt, 1);
    item->is_folder = sqlite3_column_int (stmt, 3);
    item->version = sqlite3_column_int64 (stmt, 4);
    item->mtime = from_ns (sqlite3_column_int64 (stmt, 5));
    item->size = sqlite3_column_int64 (stmt, 8);
    item->position = sqlite3_column_int64 (stmt, 9);
    item->gone = sqlite3_column_int64 (stmt, 12) != 0;
    item->changed = sqlite3_column_int64 (stmt, 13) != 0;
    if (arena_put_column (&arena, stmt, 2, &item->name) == -1 ||
        arena_put_column (&arena, stmt, 6, &item->token) == -1 ||
        arena_put_column (&arena, stmt, 7, &item->remote_id) == -1 ||
        arena_put_column (&arena, stmt, 10, &item->checksum) == -1 ||
        arena_put_column (&arena, stmt, 11, &item->hashes) == -1 ||
        arena_put_column (&arena, stmt, 14, &item->mime) == -1)
      goto failed;
  }
  if (r == -1)
    goto failed;

  for (size_t i = 0; i < ret->n; ++i) {
    relocate (&ret->items[i].name, &arena);
    relocate (&ret->items[i].token, &arena);
    relocate (&ret->items[i].remote_id, &arena);
    relocate (&ret->items[i].checksum, &arena);
    relocate (&ret->items[i].hashes, &arena);
    relocate (&ret->items[i].mime, &arena);
  }
  ret->arena = arena.bytes;
  return 0;

failed:
  sqlite3_reset (stmt);
  free (arena.bytes);
  free (ret->items);
  memset (ret, 0, sizeof *ret);
  return -1;
}

void
catalog_list_free (struct catalog_list *list)
{
  free (list->items);
  free (list->arena);
  memset (list, 0, sizeof *list);
}

int
catalog_children (struct db *db, int64_t folder, struct catalog_list *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, ITEM_COLUMNS "WHERE i.parent = ? AND i.gone = 0 ORDER BY i.name");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, folder);
  return read_items (stmt, ret);
}

/* What a statement whose one parameter is an item's id finds of it.  1 or 0. */
static int
read_item (sqlite3_stmt *stmt, int64_t id, struct catalog_list *ret)
{
  memset (ret, 0, sizeof *ret);
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, id);
  if (read_items (stmt, ret) == -1)
    return -1;
  return ret->n;
}

int
catalog_item (struct db *db, int64_t id, struct catalog_list *ret)
{
  return read_item (db_stmt (db, ITEM_COLUMNS "WHERE i.id = ? AND i.gone = 0"), id, ret);
}

int
catalog_any_item (struct db *db, int64_t id, struct catalog_list *ret)
{
  return read_item (db_stmt (db, ITEM_COLUMNS "WHERE i.id = ?"), id, ret);
}

int64_t
catalog_child (struct db *db, int64_t folder, const char *name)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT id FROM item WHERE parent = ? AND name = ? AND gone = 0");
  int64_t id = 0;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, folder);
  db_bind_bytes (stmt, 2, name);
  return db_query_int (stmt, &id) == -1 ? -1 : id;
}

/* ---- the remote's tree: items without a row in change by what they are, items with one by their base ---- */

#define REMOTE_COLUMNS                                                                                        \
  "SELECT i.id, c.base_parent, c.base_name, i.folder, c.base_version, c.base_mtime, ifnull (v.token, i.token)," \
  "       i.remote_id, v.size, v.position, v.checksum, v.hashes, i.gone, 1, v.mime FROM change c JOIN item i ON" \
  "       i.id = c.item LEFT JOIN version v ON v.id = c.base_version "

#define WITHOUT_CHANGE "AND i.gone = 0 AND NOT EXISTS (SELECT 1 FROM change c WHERE c.item = i.id) "

int
catalog_remote_children (struct db *db, int64_t folder, struct catalog_list *ret)
{
  return read_item (db_stmt (db, ITEM_COLUMNS "WHERE i.parent = ?1 " WITHOUT_CHANGE
                                 "UNION ALL " REMOTE_COLUMNS "WHERE c.base_parent = ?1 ORDER BY 3"), folder, ret) == -1
         ? -1 : 0;
}

int
catalog_remote_item (struct db *db, int64_t id, struct catalog_list *ret)
{
  return read_item (db_stmt (db, ITEM_COLUMNS "WHERE i.id = ?1 " WITHOUT_CHANGE
                                 "UNION ALL " REMOTE_COLUMNS "WHERE c.item = ?1 AND c.base_parent IS NOT NULL"), id, ret);
}

int64_t
catalog_remote_child (struct db *db, int64_t folder, const char *name)
{
  sqlite3_stmt *stmt =
    db_stmt (db, "SELECT i.id FROM item i WHERE i.parent = ?1 AND i.name = ?2 " WITHOUT_CHANGE
                 "UNION ALL SELECT item FROM change WHERE base_parent = ?1 AND base_name = ?2");
  int64_t id = 0;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, folder);
  db_bind_bytes (stmt, 2, name);
  return db_query_int (stmt, &id) == -1 ? -1 : id;
}

int64_t
catalog_by_remote_id (struct db *db, const char *remote_id)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT id FROM item WHERE remote_id = ?");
  int64_t id = 0;

  if (stmt == NULL)
    return -1;
  db_bind_bytes (stmt, 1, remote_id);
  return db_query_int (stmt, &id) == -1 ? -1 : id;
}

/* stmt_of gives the statement that tells an item's parent and name. */
static char *
path_of (struct db *db, int64_t item, sqlite3_stmt *(*stmt_of) (struct db *db))
{
  char buf[CATALOG_MAX_PATH + 2];      /* with the slash before it, and NUL */
  size_t begin = sizeof buf - 1;
  char *path;

  buf[begin] = '\0';
  for (int depth = 0; item != CATALOG_ROOT; ++depth) {
    sqlite3_stmt *stmt = stmt_of (db);
    size_t n;

    if (stmt == NULL)
      return NULL;
    sqlite3_bind_int64 (stmt, 1, item);
    if (depth > CATALOG_MAX_DEPTH || db_row (stmt) != 1) {
      sqlite3_reset (stmt);
      errno = ENOENT;
      return NULL;
    }
    item = sqlite3_column_int64 (stmt, 0);
    n = sqlite3_column_bytes (stmt, 1);
    if (item == 0) {
      sqlite3_reset (stmt);
      errno = ENOENT;
      return NULL;
    }
    if (n + 1 > begin) {
      sqlite3_reset (stmt);
      errno = ENAMETOOLONG;
      return NULL;
    }
    begin -= n;
    memcpy (buf + begin, sqlite3_column_blob (stmt, 1), n);
    buf[--begin] = '/';
    sqlite3_reset (stmt);
  }
  path = strdup (buf[begin] == '/' ? buf + begin + 1 : buf + begin);
  if (path == NULL)
    msg_error ("out of memory");
  return path;
}

static sqlite3_stmt *
local_place (struct db *db)
{
  return db_stmt (db, "SELECT parent, name FROM item WHERE id = ? AND gone = 0");
}

static sqlite3_stmt *
remote_place (struct db *db)
{
  return db_stmt (db, "SELECT CASE WHEN c.item IS NULL THEN i.parent ELSE c.base_parent END,"
                      "       CASE WHEN c.item IS NULL THEN i.name ELSE c.base_name END"
                      " FROM item i LEFT JOIN change c ON c.item = i.id WHERE i.id = ? AND (i.gone = 0 OR c.item IS NOT NULL)");
}

char *
catalog_path (struct db *db, int64_t item)
{
  return path_of (db, item, local_place);
}

char *
catalog_remote_path (struct db *db, int64_t item)
{
  return path_of (db, item, remote_place);
}

/* ---- changing items ---- */

int
catalog_touch_folder (struct db *db, int64_t revision, int64_t folder)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE item SET rev = ?1 WHERE id = ?2 AND rev <> ?1");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, revision);
  sqlite3_bind_int64 (stmt, 2, folder);
  return db_run (stmt);
}

int64_t
catalog_add (struct db *db, struct blobs *blobs, int64_t revision, int64_t parent, const struct cloud_item *seen)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO item (parent, name, folder, mtime, remote_id, rev)"
                                    " VALUES (?, ?, ?, ?, ?, ?)");
  int64_t id, version;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, parent);
  db_bind_bytes (stmt, 2, seen->name);
  sqlite3_bind_int (stmt, 3, seen->is_folder);
  sqlite3_bind_int64 (stmt, 4, to_ns (&seen->mtime));
  if (seen->id)
    db_bind_bytes (stmt, 5, seen->id);
  if (seen->is_folder)
    sqlite3_bind_int64 (stmt, 6, revision);
  if (db_run (stmt) == -1)
    return -1;
  id = db_last_id (db);
  if (!seen->is_folder) {
    version = catalog_add_version (db, blobs, id, seen);
    if (version == -1 || catalog_set_version (db, id, version) == -1)
      return -1;
  }
  return catalog_touch_folder (db, revision, parent) == -1 ? -1 : id;
}

int
catalog_update (struct db *db, struct blobs *blobs, int64_t revision, const struct catalog_item *known,
                const struct cloud_item *seen)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE item SET mtime = ?, remote_id = ? WHERE id = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, to_ns (&seen->mtime));
  if (seen->id)
    db_bind_bytes (stmt, 2, seen->id);
  sqlite3_bind_int64 (stmt, 3, known->id);
  if (db_run (stmt) == -1)
    return -1;
  if (!catalog_same_version (known, seen)) {
    const int64_t version = catalog_add_version (db, blobs, known->id, seen);

    if (version == -1 || catalog_set_version (db, known->id, version) == -1 || catalog_supersede (db, known->version) == -1)
      return -1;
  }
  return catalog_touch_folder (db, revision, known->parent);
}

int
catalog_move (struct db *db, int64_t revision, const struct catalog_item *known, int64_t parent, const char *name)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE item SET parent = ?, name = ? WHERE id = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, parent);
  db_bind_bytes (stmt, 2, name);
  sqlite3_bind_int64 (stmt, 3, known->id);
  if (db_run (stmt) == -1 || catalog_touch_folder (db, revision, known->parent) == -1)
    return -1;
  return catalog_touch_folder (db, revision, parent);
}

/* An item and what disks show below it. */
#define SUBTREE "WITH RECURSIVE below (id) AS (SELECT ?1 UNION SELECT i.id FROM item i JOIN below b ON i.parent = b.id AND i.gone = 0)"

int
catalog_remove (struct db *db, int64_t revision, int64_t id)
{
  int64_t parent;

  if (db_query_int (db_bind (db_stmt (db, "SELECT parent FROM item WHERE id = ?"), id), &parent) != 1)
    return -1;
  if (db_run (db_bind (db_stmt (db, SUBTREE " UPDATE version SET superseded = 1"
                                            " WHERE id IN (SELECT version FROM item WHERE id IN below)"), id)) == -1 ||
      db_run (db_bind (db_stmt (db, SUBTREE " UPDATE item SET gone = CAST (strftime ('%s', 'now') AS INTEGER),"
                                            " remote_id = NULL, token = NULL WHERE id IN below AND gone = 0"), id)) == -1)
    return -1;
  return catalog_touch_folder (db, revision, parent);
}

int
catalog_set_token (struct db *db, int64_t folder, const char *token)
{
  sqlite3_stmt *stmt = db_stmt (db, "UPDATE item SET token = ? WHERE id = ?");

  if (stmt == NULL)
    return -1;
  db_bind_text (stmt, 1, token);
  sqlite3_bind_int64 (stmt, 2, folder);
  return db_run (stmt);
}

int
catalog_versions_below (struct db *db, int64_t id, int (*version) (void *opaque, int64_t version), void *opaque)
{
  sqlite3_stmt *stmt = db_stmt (db, SUBTREE " SELECT version FROM item WHERE id IN below AND version IS NOT NULL");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, id);
  while ((r = db_row (stmt)) == 1) {
    if (version (opaque, sqlite3_column_int64 (stmt, 0)) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

int
catalog_is_below (struct db *db, int64_t item, int64_t folder, bool *ret)
{
  *ret = item == folder;
  for (int depth = 0; item != CATALOG_ROOT && !*ret; ++depth) {
    sqlite3_stmt *stmt = db_stmt (db, "SELECT parent FROM item WHERE id = ?");
    int r;

    if (stmt == NULL)
      return -1;
    sqlite3_bind_int64 (stmt, 1, item);
    r = db_query_int (stmt, &item);
    if (r != 1 || depth > CATALOG_MAX_PATH)
      return r;
    *ret = item == folder;
  }
  return 0;
}

/* ---- questions ---- */

int
catalog_changed_folders (struct db *db, int64_t after, int64_t **ret, size_t *ret_n)
{
  /* "+id", or SQLite would walk over all items in their order. */
  return db_read_ids (db_bind (db_stmt (db, "SELECT id FROM item WHERE rev > ? AND rev IS NOT NULL AND gone = 0"
                                            " ORDER BY +id"), after), ret, ret_n);
}

int
catalog_totals (struct db *db, uint64_t *ret_bytes, uint64_t *ret_files, uint64_t *ret_folders, uint64_t *ret_largest)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT total (v.size), count (v.id), count (*) - count (v.id), max (v.size)"
                                    " FROM item i LEFT JOIN version v ON v.id = i.version WHERE i.gone = 0");

  if (stmt == NULL || db_row (stmt) != 1)
    return -1;
  /* A server may claim anything: the sum must fit, and a little more. */
  *ret_bytes = sqlite3_column_double (stmt, 0) < 0x1p62 ? sqlite3_column_double (stmt, 0) : UINT64_C (1) << 62;
  *ret_files = sqlite3_column_int64 (stmt, 1);
  *ret_folders = sqlite3_column_int64 (stmt, 2);
  *ret_largest = sqlite3_column_int64 (stmt, 3);
  sqlite3_reset (stmt);
  return 0;
}

int
catalog_purge (struct db *db, int64_t before, int (*needed) (struct db *db, int64_t item, bool *ret))
{
  CLEANUP_FREE int64_t *items = NULL;
  bool is_needed = false;
  size_t n;

  /* A current version of a gone item without a change would be a mistake elsewhere; it is kept all the same. */
  if (db_read_ids (db_bind (db_stmt (db, "SELECT id FROM item WHERE gone <> 0 AND gone < ?"
                                         " AND id NOT IN (SELECT item FROM change)"
                                         " AND id NOT IN (SELECT item FROM version WHERE superseded = 1)"
                                         " AND NOT EXISTS (SELECT 1 FROM version WHERE version.id = item.version)"),
                            before), &items, &n) == -1)
    return -1;
  for (size_t i = 0; i < n; ++i) {
    if (needed && needed (db, items[i], &is_needed) == -1)
      return -1;
    if (!is_needed && db_run (db_bind (db_stmt (db, "DELETE FROM item WHERE id = ?"), items[i])) == -1)
      return -1;
  }
  return 0;
}

