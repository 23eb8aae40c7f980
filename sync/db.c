/* SPDX-License-Identifier: BSD-3-Clause */
/* The one SQLite database of a cache folder. */

#include <config.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "db.h"
#include "msg.h"
#include "steps.h"

/* Statements are few and fixed, so a table that is searched by address is enough. */
#define MAX_STMTS 256

struct db {
  char *path;
  bool reader;
  sqlite3 *conn;

  /* A failure was said, and nothing was committed since: what fails again and again is said once. */
  bool complained;

  /* Protects the connection and its statements: SQLite's own lock would not keep a transaction together. */
  pthread_mutex_t lock;

  struct {
    const char *sql;
    sqlite3_stmt *stmt;
  } stmts[MAX_STMTS];

  struct db *next;             /* in all */
};

/* Every database that is open: two or three. */
static struct db *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static int
failed (struct db *db, const char *what)
{
  if (db->complained)
    return -1;
  db->complained = true;
  if (sqlite3_errcode (db->conn) == SQLITE_FULL)
    msg_error ("database %s: its file system is full: free some room", db->path);
  else
    msg_error ("database %s: %s: %s", db->path, what, sqlite3_errmsg (db->conn));
  return -1;
}

static int
exec (struct db *db, const char *sql)
{
  if (sqlite3_exec (db->conn, sql, NULL, NULL, NULL) != SQLITE_OK)
    return failed (db, "cannot run a statement");
  return 0;
}

static int
connect_db (struct db *db)
{
  const int flags = db->reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

  if (sqlite3_open_v2 (db->path, &db->conn, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
    failed (db, "cannot be opened");
    sqlite3_close (db->conn);
    db->conn = NULL;
    return -1;
  }
  sqlite3_busy_timeout (db->conn, 60000);
  if (exec (db, "PRAGMA cache_size = -4000") == -1)
    return -1;
  if (db->reader)
    return 0;
  /* The log that a crash left is emptied: on a full disk its room is what the first deletion needs. */
  return exec (db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;"
                   "PRAGMA journal_size_limit = 67108864; PRAGMA wal_checkpoint (TRUNCATE)");
}

static void
disconnect_db (struct db *db)
{
  for (size_t i = 0; i < MAX_STMTS && db->stmts[i].sql; ++i) {
    sqlite3_finalize (db->stmts[i].stmt);
    db->stmts[i].sql = NULL;
  }
  sqlite3_close (db->conn);
  db->conn = NULL;
}

static struct db *
open_db (const char *path, bool reader)
{
  struct db *db = calloc (1, sizeof *db);

  if (db == NULL || (db->path = strdup (path)) == NULL) {
    msg_error ("out of memory");
    free (db);
    return NULL;
  }
  db->reader = reader;
  pthread_mutex_init (&db->lock, NULL);
  pthread_mutex_lock (&all_lock);
  db->next = all;
  all = db;
  pthread_mutex_unlock (&all_lock);
  if (connect_db (db) == -1) {
    db_close (db);
    return NULL;
  }
  return db;
}

struct db *
db_open (const char *path)
{
  struct db *db = open_db (path, false);

  if (db && db_schema (db, "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID") == -1) {
    db_close (db);
    return NULL;
  }
  return db;
}

struct db *
db_open_reader (const char *path)
{
  return open_db (path, true);
}

void
db_close (struct db *db)
{
  struct db **link = &all;

  if (db == NULL)
    return;
  pthread_mutex_lock (&all_lock);
  while (*link != db)
    link = &(*link)->next;
  *link = db->next;
  pthread_mutex_unlock (&all_lock);
  disconnect_db (db);
  pthread_mutex_destroy (&db->lock);
  free (db->path);
  free (db);
}

int
db_schema (struct db *db, const char *sql)
{
  LOCK_FOR_SCOPE (&db->lock);

  return exec (db, sql);
}

int
db_suspend (struct db *db)
{
  LOCK_FOR_SCOPE (&db->lock);

  disconnect_db (db);
  return 0;
}

int
db_resume (struct db *db)
{
  LOCK_FOR_SCOPE (&db->lock);

  return connect_db (db);
}

int
db_begin (struct db *db)
{
  pthread_mutex_lock (&db->lock);
  if (exec (db, "BEGIN IMMEDIATE") == -1) {
    pthread_mutex_unlock (&db->lock);
    return -1;
  }
  return 0;
}

int
db_end (struct db *db, int ok)
{
  int r = -1;

  if (ok == 0)
    r = exec (db, "COMMIT");
  if (r == -1 && !sqlite3_get_autocommit (db->conn))
    exec (db, "ROLLBACK");
  if (r == 0)
    db->complained = false;
  pthread_mutex_unlock (&db->lock);
  if (r == 0)
    step_passed ("commit");
  return r;
}

void
db_read_begin (struct db *db)
{
  pthread_mutex_lock (&db->lock);
}

void
db_read_end (struct db *db)
{
  pthread_mutex_unlock (&db->lock);
}

sqlite3_stmt *
db_stmt (struct db *db, const char *sql)
{
  size_t i;

  for (i = 0; i < MAX_STMTS && db->stmts[i].sql; ++i) {
    if (db->stmts[i].sql == sql) {
      sqlite3_reset (db->stmts[i].stmt);
      sqlite3_clear_bindings (db->stmts[i].stmt);
      return db->stmts[i].stmt;
    }
  }
  if (i == MAX_STMTS) {
    msg_error ("database %s: too many statements", db->path);
    return NULL;
  }
  if (sqlite3_prepare_v3 (db->conn, sql, -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[i].stmt, NULL) != SQLITE_OK) {
    failed (db, "cannot prepare a statement");
    return NULL;
  }
  db->stmts[i].sql = sql;
  return db->stmts[i].stmt;
}

/* Whose connection a statement belongs to. */
static struct db *
db_of (sqlite3_stmt *stmt)
{
  sqlite3 *conn = sqlite3_db_handle (stmt);
  LOCK_FOR_SCOPE (&all_lock);
  struct db *db = all;

  while (db->conn != conn)
    db = db->next;
  return db;
}

int
db_row (sqlite3_stmt *stmt)
{
  const int r = stmt ? sqlite3_step (stmt) : SQLITE_MISUSE;

  if (r == SQLITE_ROW)
    return 1;
  if (r == SQLITE_DONE) {
    sqlite3_reset (stmt);
    return 0;
  }
  if (stmt) {
    failed (db_of (stmt), "cannot run a statement");
    sqlite3_reset (stmt);
  }
  return -1;
}

int
db_run (sqlite3_stmt *stmt)
{
  int r;

  while ((r = db_row (stmt)) == 1)
    ;
  return r;
}

sqlite3_stmt *
db_bind_ints (sqlite3_stmt *stmt, size_t n, const int64_t *values)
{
  for (size_t i = 0; stmt && i < n; ++i)
    sqlite3_bind_int64 (stmt, i + 1, values[i]);
  return stmt;
}

void
db_bind_text (sqlite3_stmt *stmt, int column, const char *text)
{
  if (stmt && text)
    sqlite3_bind_text (stmt, column, text, -1, SQLITE_STATIC);
}

void
db_bind_bytes (sqlite3_stmt *stmt, int column, const char *name)
{
  if (stmt && name)
    sqlite3_bind_blob (stmt, column, name, strlen (name), SQLITE_STATIC);
}

int
db_query_int (sqlite3_stmt *stmt, int64_t *ret)
{
  const int r = db_row (stmt);

  if (r == 1) {
    *ret = sqlite3_column_int64 (stmt, 0);
    sqlite3_reset (stmt);
  }
  return r;
}

int
db_exists (sqlite3_stmt *stmt, bool *ret)
{
  const int r = db_row (stmt);

  *ret = r == 1;
  if (r == 1)
    sqlite3_reset (stmt);
  return r == -1 ? -1 : 0;
}

int
db_read_ids (sqlite3_stmt *stmt, int64_t **ret, size_t *ret_n)
{
  int64_t *ids = NULL;
  size_t n = 0, room = 0;
  int r;

  *ret = NULL;
  *ret_n = 0;
  while ((r = db_row (stmt)) == 1) {
    if (array_make_room (&ids, n, &room, sizeof *ids) == -1) {
      sqlite3_reset (stmt);
      r = -1;
      break;
    }
    ids[n++] = sqlite3_column_int64 (stmt, 0);
  }
  if (r == -1) {
    free (ids);
    return -1;
  }
  *ret = ids;
  *ret_n = n;
  return 0;
}

int64_t
db_last_id (struct db *db)
{
  return sqlite3_last_insert_rowid (db->conn);
}

static sqlite3_stmt *
select_meta (struct db *db, const char *key)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT value FROM meta WHERE key = ?");

  if (stmt)
    sqlite3_bind_text (stmt, 1, key, -1, SQLITE_STATIC);
  return stmt;
}

static sqlite3_stmt *
replace_meta (struct db *db, const char *key)
{
  sqlite3_stmt *stmt = db_stmt (db, "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");

  if (stmt)
    sqlite3_bind_text (stmt, 1, key, -1, SQLITE_STATIC);
  return stmt;
}

int
db_get_int (struct db *db, const char *key, int64_t *ret)
{
  sqlite3_stmt *stmt = select_meta (db, key);
  const int r = db_row (stmt);

  if (r == 1) {
    *ret = sqlite3_column_int64 (stmt, 0);
    sqlite3_reset (stmt);
  }
  return r;
}

int
db_set_int (struct db *db, const char *key, int64_t value)
{
  sqlite3_stmt *stmt = replace_meta (db, key);

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 2, value);
  return db_run (stmt);
}

char *
db_get_text (struct db *db, const char *key, bool *ret_error)
{
  sqlite3_stmt *stmt = select_meta (db, key);
  const int r = db_row (stmt);
  char *text = NULL;

  *ret_error = r == -1;
  if (r == 1) {
    text = strdup ((const char *) sqlite3_column_text (stmt, 0));
    sqlite3_reset (stmt);
    if (text == NULL) {
      msg_error ("out of memory");
      *ret_error = true;
    }
  }
  return text;
}

int
db_set_text (struct db *db, const char *key, const char *value)
{
  sqlite3_stmt *stmt = replace_meta (db, key);

  if (stmt == NULL)
    return -1;
  sqlite3_bind_text (stmt, 2, value, -1, SQLITE_STATIC);
  return db_run (stmt);
}
