/* SPDX-License-Identifier: BSD-3-Clause */
/* The one SQLite database of a cache folder: opening, locking, transactions, prepared statements.
 *
 * Tables belong to the file that knows their meaning (catalog.c, cache.c, ...), which hands its CREATE statements to
 * db_schema and prepares its statements with db_stmt.
 *
 *   db = db_open (path)
 *   db_schema (db, "CREATE TABLE IF NOT EXISTS ...")
 *   db_begin (db)            takes the lock; BEGIN IMMEDIATE
 *     stmt = db_stmt (db, "INSERT ..."); sqlite3_bind_*; db_run (stmt)
 *   db_end (db, ok)          COMMIT or ROLLBACK; gives the lock back
 *   db_read_begin (db) ... db_read_end (db)      the same for reading
 *   db_suspend / db_resume   around a fork: a SQLite connection must not cross it
 *   db_close (db)
 *
 * WAL, synchronous=FULL: a commit that returned is on disk.  One connection, one lock: db_begin sleeps while another
 * thread has it.  A second, read-only connection (db_open_reader) never waits for a writer.
 *
 * Errors: -1 after one message with the database's path and SQLite's reason.
 */

#ifndef CLOUDSHARE_DB_H
#define CLOUDSHARE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

struct db;

extern struct db *db_open (const char *path);

/* Read only, for a database that exists. */
extern struct db *db_open_reader (const char *path);
extern void db_close (struct db *db);

/* Runs statements that make what is not there yet. */
extern int db_schema (struct db *db, const char *sql);

extern int db_suspend (struct db *db);
extern int db_resume (struct db *db);

extern int db_begin (struct db *db);

/* Commits if ok is 0, else rolls back.  Returns -1 if it did not commit. */
extern int db_end (struct db *db, int ok);

extern void db_read_begin (struct db *db);
extern void db_read_end (struct db *db);

/* The prepared statement for that text, reset and without bindings, kept until db_close.  sql must be a literal: it is
 * looked up by its address.  NULL after one message.  The lock must be held, as for all below. */
extern sqlite3_stmt *db_stmt (struct db *db, const char *sql);

/* Runs a statement that gives no rows. */
extern int db_run (sqlite3_stmt *stmt);

/* 1: there is a row, 0: no more, -1: error. */
extern int db_row (sqlite3_stmt *stmt);

/* Gives a statement's first parameters these numbers: db_run (db_bind (db_stmt (db, "..."), item, version)).  Returns the
 * statement; NULL stays NULL, and is an error that was said to all that take one. */
#define db_bind(stmt, ...)                                                                                     \
  db_bind_ints ((stmt), sizeof ((int64_t []) { __VA_ARGS__ }) / sizeof (int64_t), (int64_t []) { __VA_ARGS__ })
extern sqlite3_stmt *db_bind_ints (sqlite3_stmt *stmt, size_t n, const int64_t *values);

/* Text or a name of bytes; NULL if it is NULL.  Borrowed until the statement has run.  A NULL statement is let pass. */
extern void db_bind_text (sqlite3_stmt *stmt, int column, const char *text);
extern void db_bind_bytes (sqlite3_stmt *stmt, int column, const char *name);

/* The number that a query gives.  1 found, 0 not (then *ret stays), -1. */
extern int db_query_int (sqlite3_stmt *stmt, int64_t *ret);

/* Whether a query gives anything. */
extern int db_exists (sqlite3_stmt *stmt, bool *ret);

/* All numbers that a query gives.  malloc'ed; NULL if there are none. */
extern int db_read_ids (sqlite3_stmt *stmt, int64_t **ret, size_t *ret_n);

extern int64_t db_last_id (struct db *db);

/* Small named values (table meta).  Missing: *ret unchanged, returns 0.  Found: 1. */
extern int db_get_int (struct db *db, const char *key, int64_t *ret);
extern int db_set_int (struct db *db, const char *key, int64_t value);

/* NULL if missing, else malloc'ed; *ret_error set on errors. */
extern char *db_get_text (struct db *db, const char *key, bool *ret_error);
extern int db_set_text (struct db *db, const char *key, const char *value);

#endif /* CLOUDSHARE_DB_H */
