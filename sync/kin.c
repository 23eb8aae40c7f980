/* SPDX-License-Identifier: BSD-3-Clause */
/* Kin: versions that share bytes. */

#include <config.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "db.h"
#include "kin.h"
#include "msg.h"

/* How many steps from version to version are worth looking. */
#define MOST_STEPS 8

/* A version that failed to be sent so often does not hold up others. */
#define MOST_ATTEMPTS "5"

enum range_kind { RANGE_OWN, RANGE_CHANGED };

static const char schema[] =
  "CREATE TABLE IF NOT EXISTS version_range ("
  "  version INTEGER NOT NULL, kind INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,"
  "  PRIMARY KEY (version, kind, offset)) WITHOUT ROWID;"
  "CREATE INDEX IF NOT EXISTS version_origin ON version (origin) WHERE origin IS NOT NULL;";

/* Tables of programs that stored each version whole lack the columns. */
static const char upgrade[] =
  "BEGIN; ALTER TABLE version ADD COLUMN origin INTEGER; ALTER TABLE version ADD COLUMN base INTEGER; COMMIT;";

int
kin_init (struct db *db)
{
  bool old = false;
  int r;

  db_read_begin (db);
  r = db_exists (db_stmt (db, "SELECT 1 WHERE NOT EXISTS"
                              " (SELECT 1 FROM pragma_table_info ('version') WHERE name = 'origin')"), &old);
  db_read_end (db);
  if (r == -1 || (old && db_schema (db, upgrade) == -1))
    return -1;
  return db_schema (db, schema);
}

void
kin_stage_free (struct kin_stage *stage)
{
  ranges_free (&stage->own);
  ranges_free (&stage->changed);
  free (stage->bits);
  memset (stage, 0, sizeof *stage);
}

/* ---- rows ---- */

static int
write_ranges (struct db *db, int64_t version, enum range_kind kind, const struct ranges *set)
{
  for (size_t i = 0; i < set->n; ++i) {
    const int64_t offset = set->list[i].offset, length = set->list[i].length;

    if (db_run (db_bind (db_stmt (db, "INSERT INTO version_range (version, kind, offset, length) VALUES (?, ?, ?, ?)"),
                         version, (int64_t) kind, offset, length)) == -1)
      return -1;
  }
  return 0;
}

/* Adds what is on record to the set. */
static int
read_ranges (struct db *db, int64_t version, enum range_kind kind, struct ranges *set)
{
  sqlite3_stmt *stmt = db_bind (db_stmt (db, "SELECT offset, length FROM version_range WHERE version = ? AND kind = ?"
                                             " ORDER BY offset"), version, (int64_t) kind);
  int r;

  while ((r = db_row (stmt)) == 1) {
    if (ranges_add (set, sqlite3_column_int64 (stmt, 0), sqlite3_column_int64 (stmt, 1)) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

static int
forget_ranges (struct db *db, int64_t version)
{
  return db_run (db_bind (db_stmt (db, "DELETE FROM version_range WHERE version = ?"), version));
}

static int
set_origin (struct db *db, int64_t version, int64_t origin, int64_t base)
{
  return db_run (db_bind (db_stmt (db, "UPDATE version SET origin = nullif (?2, 0), base = nullif (?3, 0) WHERE id = ?1"),
                          version, origin, base));
}

struct facts {
  int64_t origin, base;        /* 0: none */
  uint64_t size, position;
  bool unsent;                 /* the remote never had it */
  bool fetchable;              /* the remote has it */
};

static int
read_facts (struct db *db, int64_t version, struct facts *ret)
{
  sqlite3_stmt *stmt =
    db_bind (db_stmt (db, "SELECT ifnull (origin, 0), ifnull (base, 0), size, position, token = '' AND hashes IS NOT NULL,"
                          " superseded = 0 OR EXISTS (SELECT 1 FROM change c WHERE c.base_version = version.id)"
                          " FROM version WHERE id = ?"), version);
  const int r = db_row (stmt);

  memset (ret, 0, sizeof *ret);
  if (r == 1) {
    ret->origin = sqlite3_column_int64 (stmt, 0);
    ret->base = sqlite3_column_int64 (stmt, 1);
    ret->size = sqlite3_column_int64 (stmt, 2);
    ret->position = sqlite3_column_int64 (stmt, 3);
    ret->unsent = sqlite3_column_int (stmt, 4);
    ret->fetchable = !ret->unsent && sqlite3_column_int (stmt, 5);
    sqlite3_reset (stmt);
  }
  return r;
}

/* ---- recording ---- */

/* Whether a version is at the remote, or may be on its way there. */
static int
may_be_sent (struct db *db, int64_t version, const struct facts *facts, bool *ret)
{
  *ret = true;
  if (!facts->unsent)
    return 0;
  return db_exists (db_bind (db_stmt (db, "SELECT 1 FROM change WHERE sent_version = ?"), version), ret);
}

int
kin_record (struct db *db, int64_t version, const struct kin_stage *stage)
{
  struct ranges changed = { 0 };
  struct facts known;
  int64_t base = stage->known;
  bool sent = false;
  int r = base ? read_facts (db, base, &known) : 0;

  if (r == 1 && may_be_sent (db, base, &known, &sent) == -1)
    r = -1;
  /* It never will be: then what changed in it goes with what changed since. */
  if (r == 1 && !sent) {
    base = known.base;
    if (base && read_ranges (db, stage->known, RANGE_CHANGED, &changed) == -1)
      r = -1;
  }
  if (r == 0)
    base = 0;
  if (r != -1)
    r = ranges_add_all (&changed, &stage->changed);
  if (r != -1)
    r = set_origin (db, version, stage->origin, base);
  if (r != -1)
    r = write_ranges (db, version, RANGE_OWN, &stage->own);
  if (r != -1 && base)
    r = write_ranges (db, version, RANGE_CHANGED, &changed);
  ranges_free (&changed);
  return r == -1 ? -1 : 0;
}

/* ---- reading ---- */

static int
read_own (struct db *db, int64_t version, bool unsent, int64_t *ret_origin, struct ranges *ret_own, bool *ret_written)
{
  struct facts facts;
  int r = read_facts (db, version, &facts);

  *ret_origin = 0;
  /* The origin of what is unsent is not dropped; who takes another has no base any more (adopt_child). */
  *ret_written = r == 1 && facts.origin && (facts.unsent || facts.base);
  if (r != 1 || facts.origin == 0 || (unsent && !facts.unsent))
    return r == -1 ? -1 : 0;
  *ret_origin = facts.origin;
  return read_ranges (db, version, RANGE_OWN, ret_own) == -1 ? -1 : 1;
}

int
kin_read (struct db *db, int64_t version, int64_t *ret_origin, struct ranges *ret_own, bool *ret_written)
{
  return read_own (db, version, false, ret_origin, ret_own, ret_written);
}

int
kin_read_unsent (struct db *db, int64_t version, int64_t *ret_origin, struct ranges *ret_own)
{
  bool written;

  return read_own (db, version, true, ret_origin, ret_own, &written);
}

/* Whether all of one set is in the other. */
static bool
is_within (const struct ranges *set, const struct ranges *all)
{
  for (size_t i = 0; i < set->n; ++i)
    if (ranges_bytes_in (all, set->list[i].offset, set->list[i].length) < set->list[i].length)
      return false;
  return true;
}

/* As kin_changes, of two that are known. */
static int
changes_between (struct db *db, int64_t version, const struct facts *facts, int64_t from, const struct facts *other,
                 struct ranges *own, struct ranges *ret)
{
  if (read_ranges (db, version, RANGE_OWN, own) == -1)
    return -1;
  if (from == facts->base) {
    if (read_ranges (db, version, RANGE_CHANGED, ret) == -1)
      return -1;
  }
  else if (from == facts->origin || other->origin == facts->origin) {
    /* Where both stand on the same, what is neither's own is the same in both. */
    if (ranges_add_all (ret, own) == -1 ||
        (from != facts->origin && read_ranges (db, from, RANGE_OWN, ret) == -1))
      return -1;
  }
  else
    return 0;
  ranges_cut (ret, facts->size);
  if (other->size < facts->size && ranges_add (ret, other->size, facts->size - other->size) == -1)
    return -1;
  return is_within (ret, own);
}

int
kin_changes (struct db *db, int64_t version, int64_t from, struct ranges *ret, uint64_t *ret_size)
{
  struct facts facts, other;
  struct ranges own = { 0 };
  int r = from ? read_facts (db, version, &facts) : 0;

  if (r == 1 && facts.origin)
    r = read_facts (db, from, &other);
  if (r != 1 || facts.origin == 0)
    return r == -1 ? -1 : 0;
  *ret_size = other.size;
  r = changes_between (db, version, &facts, from, &other, &own, ret);
  ranges_free (&own);
  if (r != 1)
    ranges_free (ret);
  return r;
}

/* ---- finding ---- */

struct search {
  struct db *db;
  int64_t seen[64];
  unsigned n;
  struct kin_source *ret;
};

static int find_from (struct search *search, int64_t version, const struct ranges *differ, uint64_t size, unsigned steps);

/* The label of an edge: what differs between a version and its origin. */
static int
go_on (struct search *search, int64_t to, int64_t labelled, const struct ranges *differ, uint64_t size, unsigned steps)
{
  struct ranges more = { 0 };
  int r;

  for (unsigned i = 0; i < search->n; ++i)
    if (search->seen[i] == to)
      return 0;
  r = ranges_add_all (&more, differ);
  if (r == 0)
    r = read_ranges (search->db, labelled, RANGE_OWN, &more);
  if (r == 0)
    r = find_from (search, to, &more, size, steps + 1);
  ranges_free (&more);
  return r;
}

/* 1 found, 0 not, -1. */
static int
find_from (struct search *search, int64_t version, const struct ranges *differ, uint64_t size, unsigned steps)
{
  struct facts facts;
  int64_t *children;
  size_t n;
  int r = read_facts (search->db, version, &facts);

  if (r != 1)
    return r;
  if (steps > 0 && facts.fetchable) {
    search->ret->version = version;
    search->ret->size = facts.size;
    search->ret->position = facts.position;
    if (ranges_add_all (&search->ret->differ, differ) == -1)
      return -1;
    if (facts.size < size)
      size = facts.size;
    return ranges_add (&search->ret->differ, size, (UINT64_C (1) << 62) - size) == -1 ? -1 : 1;
  }
  if (steps == MOST_STEPS || search->n == sizeof search->seen / sizeof search->seen[0])
    return 0;
  search->seen[search->n++] = version;
  if (facts.size < size)
    size = facts.size;
  r = facts.origin ? go_on (search, facts.origin, version, differ, size, steps) : 0;
  if (r != 0)
    return r;
  if (db_read_ids (db_bind (db_stmt (search->db, "SELECT id FROM version WHERE origin = ? ORDER BY token = '', id DESC"), version),
                   &children, &n) == -1)
    return -1;
  for (size_t i = 0; i < n && r == 0; ++i)
    r = go_on (search, children[i], children[i], differ, size, steps);
  free (children);
  return r;
}

int
kin_find (struct db *db, int64_t version, struct kin_source *ret)
{
  const struct ranges none = { 0 };
  struct search search = { .db = db, .ret = ret };
  struct facts facts;
  int r;

  memset (ret, 0, sizeof *ret);
  r = read_facts (db, version, &facts);
  if (r != 1)
    return r == -1 ? -1 : KIN_ITSELF;
  if (facts.fetchable)
    return KIN_ITSELF;
  ret->unsent = facts.unsent;
  if (facts.unsent && read_ranges (db, version, RANGE_OWN, &ret->own) == -1)
    return -1;
  r = find_from (&search, version, &none, facts.size, 0);
  return r == -1 ? -1 : r == 1 ? KIN_OTHER : KIN_NOWHERE;
}

void
kin_source_free (struct kin_source *source)
{
  ranges_free (&source->own);
  ranges_free (&source->differ);
}

/* ---- forgetting ---- */

static int
adopt_child (struct db *db, int64_t child, int64_t version, int64_t origin)
{
  struct ranges own = { 0 };
  int r = 0;

  if (origin) {
    r = read_ranges (db, child, RANGE_OWN, &own);
    if (r == 0)
      r = read_ranges (db, version, RANGE_OWN, &own);
  }
  if (r == 0)
    r = forget_ranges (db, child);
  if (r == 0)
    r = set_origin (db, child, origin, 0);
  if (r == 0)
    r = write_ranges (db, child, RANGE_OWN, &own);
  ranges_free (&own);
  return r;
}

int
kin_drop (struct db *db, int64_t version)
{
  struct facts facts;
  int64_t *children;
  size_t n;
  int r = read_facts (db, version, &facts);

  if (r != 1)
    return r;
  if (db_read_ids (db_bind (db_stmt (db, "SELECT id FROM version WHERE origin = ?"), version), &children, &n) == -1)
    return -1;
  r = 0;
  for (size_t i = 0; i < n && r == 0; ++i)
    r = adopt_child (db, children[i], version, facts.origin);
  free (children);
  return r == 0 ? forget_ranges (db, version) : -1;
}

int
kin_lose (struct db *db, int64_t version)
{
  return forget_ranges (db, version) == -1 ? -1 : set_origin (db, version, 0, 0);
}

int
kin_next_unsent (struct db *db, int64_t after, int64_t *ret_version)
{
  *ret_version = 0;
  return db_query_int (db_bind (db_stmt (db, "SELECT id FROM version WHERE id > ? AND origin IS NOT NULL AND token = ''"
                                             " ORDER BY id LIMIT 1"), after), ret_version) == -1 ? -1 : 0;
}

int
kin_read_others (struct db *db, int64_t version, int64_t item, int64_t **ret, size_t *ret_n)
{
  /* What is sent as ranges needs nothing more of it; and two such may stand on each other's bases. */
  return db_read_ids (db_bind (db_stmt (db, "SELECT w.id FROM version w JOIN change c ON c.item = w.item"
                                            " JOIN item i ON i.id = w.item AND i.version = w.id AND i.gone = 0"
                                            " WHERE w.origin = ?1 AND w.token = '' AND w.superseded = 0 AND w.item <> ?2"
                                            " AND c.attempts < " MOST_ATTEMPTS
                                            " AND (c.base_version IS NULL OR (c.base_version IS NOT w.base AND NOT EXISTS"
                                            "  (SELECT 1 FROM version b WHERE b.id = c.base_version AND b.origin = w.origin)))"),
                               version, item), ret, ret_n);
}
