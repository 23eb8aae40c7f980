/* SPDX-License-Identifier: BSD-3-Clause */
/* Versions: the contents of the catalog's files, where their bytes are, and whence they can be had (catalog.h; change.h
 * has what is for the journal and for merging). */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "catalog.h"
#include "change.h"
#include "cleanup.h"
#include "cloud.h"
#include "db.h"
#include "kin.h"
#include "msg.h"

bool
catalog_same_version (const struct catalog_item *known, const struct cloud_item *seen)
{
  if (known->is_folder)
    return true;
  /* Some servers give one token to two contents written in the same second; their checksums differ. */
  if (known->checksum && seen->checksum && strcmp (known->checksum, seen->checksum) != 0)
    return false;
  /* Made here, and no token: the remote never had it. */
  if (known->hashes && known->token[0] == '\0')
    return false;
  return known->size == seen->size && strcmp (known->token, seen->token) == 0;
}

int64_t
catalog_add_version (struct db *db, struct blobs *blobs, int64_t item, const struct cloud_item *seen)
{
  const uint64_t position = blobs_alloc (blobs, seen->size);
  sqlite3_stmt *stmt = db_stmt (db, "INSERT INTO version (item, token, size, checksum, mime, position)"
                                    " VALUES (?, ?, ?, ?, ?, ?)");

  if (position == UINT64_MAX) {
    msg_error ("%s: %llu bytes are more than one file of the cache can hold", seen->name,
               (unsigned long long) seen->size);
    return -1;
  }
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, item);
  sqlite3_bind_text (stmt, 2, seen->token, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (stmt, 3, seen->size);
  db_bind_text (stmt, 4, seen->checksum);
  db_bind_text (stmt, 5, seen->mime);
  sqlite3_bind_int64 (stmt, 6, position);
  return db_run (stmt) == -1 ? -1 : db_last_id (db);
}

int
catalog_set_version (struct db *db, int64_t item, int64_t version)
{
  return db_run (db_bind (db_stmt (db, "UPDATE item SET version = ? WHERE id = ?"), version, item));
}

/* ---- reading them ---- */

/* Whether a request is open that replaces a version by one that shares bytes with it.  3: PUSH_PUT */
static int
is_being_replaced (struct db *db, int64_t version)
{
  bool is;

  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM change c JOIN version w ON w.id = c.sent_version"
                                          " WHERE c.base_version = ? AND c.sent = 3 AND w.origin IS NOT NULL"), version), &is) == -1 ? -1 : is;
}

/* Whether a request is open that moves the item or a folder above it, or gives the item another content or time: what is asked for
 * meanwhile may be answered as of before or after it.  1, 0 or -1. */
static int
is_adrift (struct db *db, int64_t item)
{
  for (int depth = 0; item != CATALOG_ROOT && item != 0 && depth < CATALOG_MAX_DEPTH; ++depth) {
    sqlite3_stmt *stmt =
      db_stmt (db, "SELECT CASE WHEN c.item IS NULL THEN i.parent ELSE c.base_parent END, ifnull (c.sent, 0)"
                   " FROM item i LEFT JOIN change c ON c.item = i.id WHERE i.id = ?");
    int r, sent;

    if (stmt == NULL)
      return -1;
    sqlite3_bind_int64 (stmt, 1, item);
    r = db_row (stmt);
    if (r != 1)
      return r;
    item = sqlite3_column_int64 (stmt, 0);
    sent = sqlite3_column_int (stmt, 1);
    sqlite3_reset (stmt);
    if (sent == PUSH_MOVE || sent == PUSH_TOUCH || (sent == PUSH_PUT && depth == 0))
      return 1;
  }
  return 0;
}

int
catalog_source (struct db *db, int64_t version, struct catalog_source *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT item, token, checksum, size, superseded, token = '' AND hashes IS NOT NULL"
                                    " FROM version WHERE id = ?");
  int64_t item;
  bool only_here;
  int r;

  memset (ret, 0, sizeof *ret);
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  if (r != 1)
    return r;
  item = sqlite3_column_int64 (stmt, 0);
  ret->token = strdup ((const char *) sqlite3_column_text (stmt, 1));
  if (sqlite3_column_type (stmt, 2) != SQLITE_NULL)
    ret->checksum = strdup ((const char *) sqlite3_column_text (stmt, 2));
  ret->size = sqlite3_column_int64 (stmt, 3);
  ret->current = !sqlite3_column_int (stmt, 4);
  only_here = sqlite3_column_int (stmt, 5);
  sqlite3_reset (stmt);
  /* What the remote never had can't be had from there. */
  if (!only_here)
    ret->path = catalog_remote_path (db, item);
  r = is_adrift (db, item);
  if (r == 0)
    r = is_being_replaced (db, version);
  ret->adrift = r == 1;
  if (ret->path == NULL || ret->token == NULL || r == -1) {
    catalog_source_free (ret);
    return 0;
  }
  return 1;
}

void
catalog_source_free (struct catalog_source *source)
{
  free (source->path);
  free (source->token);
  free (source->checksum);
  memset (source, 0, sizeof *source);
}

int
catalog_version_run (struct db *db, int64_t version, uint64_t *ret_size, uint64_t *ret_position)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT size, position FROM version WHERE id = ?");
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  if (r == 1) {
    *ret_size = sqlite3_column_int64 (stmt, 0);
    *ret_position = sqlite3_column_int64 (stmt, 1);
    sqlite3_reset (stmt);
  }
  return r;
}

int
catalog_next_version (struct db *db, int64_t after, int64_t *ret_version, uint64_t *ret_size, uint64_t *ret_position)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT id, size, position FROM version WHERE id > ? AND superseded = 0 AND size > 0"
                                    " AND NOT (token = '' AND hashes IS NOT NULL)"
                                    " ORDER BY id LIMIT 1");
  int r;

  *ret_version = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, after);
  r = db_row (stmt);
  if (r == 1) {
    *ret_version = sqlite3_column_int64 (stmt, 0);
    *ret_size = sqlite3_column_int64 (stmt, 1);
    *ret_position = sqlite3_column_int64 (stmt, 2);
    sqlite3_reset (stmt);
  }
  return r == -1 ? -1 : 0;
}

/* ---- forgetting them ---- */

int
catalog_supersede (struct db *db, int64_t version)
{
  return db_run (db_bind (db_stmt (db, "UPDATE version SET superseded = 1 WHERE id = ?"), version));
}

int
catalog_is_superseded (struct db *db, int64_t version, bool *ret)
{
  int64_t value = 1;
  const int r = db_query_int (db_bind (db_stmt (db, "SELECT superseded FROM version WHERE id = ?"), version), &value);

  *ret = value != 0;
  return r == -1 ? -1 : 0;
}

/* The remote may still have it, or it may be on its way there, or what is to be sent stands on it. */
#define NOT_IN_CHANGE "AND NOT EXISTS (SELECT 1 FROM change WHERE base_version = version.id) " \
                      "AND NOT EXISTS (SELECT 1 FROM change WHERE sent_version = version.id) " \
                      "AND NOT EXISTS (SELECT 1 FROM version w WHERE w.origin = version.id AND w.token = '')"

int
catalog_drop_version (struct db *db, int64_t version, uint64_t *ret_position, uint64_t *ret_size)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT position, size FROM version WHERE id = ? AND superseded = 1 " NOT_IN_CHANGE);
  int r;

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  r = db_row (stmt);
  if (r != 1)
    return r;
  *ret_position = sqlite3_column_int64 (stmt, 0);
  *ret_size = sqlite3_column_int64 (stmt, 1);
  sqlite3_reset (stmt);
  if (kin_drop (db, version) == -1)
    return -1;
  return db_run (db_bind (db_stmt (db, "DELETE FROM version WHERE id = ?"), version)) == -1 ? -1 : 1;
}

int
catalog_next_superseded (struct db *db, int64_t after, int64_t *ret_version)
{
  *ret_version = 0;
  return db_query_int (db_bind (db_stmt (db, "SELECT id FROM version WHERE id > ? AND superseded = 1 " NOT_IN_CHANGE
                                             " ORDER BY id LIMIT 1"), after), ret_version) == -1 ? -1 : 0;
}

int
catalog_blobs_end (struct db *db, uint64_t *ret)
{
  int64_t end = 0;

  if (db_query_int (db_stmt (db, "SELECT max (position + size) FROM version"), &end) == -1)
    return -1;
  *ret = end;
  return 0;
}

/* ---- for the journal and for merging ---- */

int
version_give (struct db *db, int64_t version, int64_t item)
{
  return db_run (db_bind (db_stmt (db, "UPDATE version SET item = ?2, superseded = 0 WHERE id = ?1"), version, item));
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
  bool ours;

  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM version WHERE id = ? AND hashes IS NOT NULL"), version),
                    &ours) == -1 ? -1 : ours;
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
