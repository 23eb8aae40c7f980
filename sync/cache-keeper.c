/* SPDX-License-Identifier: BSD-3-Clause */
/* The cache's keeper: the thread that records what was fetched, evicts, and verifies checksums of large files.  Others record, too;
 * recording and eviction never cross (record_lock). */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blobs.h"
#include "cache-private.h"
#include "catalog.h"
#include "checksum.h"
#include "cleanup.h"
#include "db.h"
#include "fsutil.h"
#include "health.h"
#include "msg.h"
#include "steps.h"

/* How often rows are written, milliseconds.  What a crash takes away is only fetched again. */
#define RECORD_EVERY_MS 3000

/* After a failure, e.g. because the host's disk is full. */
#define RECORD_AGAIN_MS 60000

/* Or sooner, when so many files wait for their row. */
#define RECORD_FILES 20000

/* Eviction goes down to this part of cache-size=, so that it does not run for every file. */
#define EVICT_TO(max) ((max) / 10 * 9)

/* Where everything is in use, looking for something to evict is not done without a pause. */
#define EVICT_PAUSE_NS 200000000

/* A host disk that is full: how much to make free at once. */
#define ROOM_STEP (UINT64_C (256) << 20)

/* In the table meta: blobs_stamp of the moment in which the blob store held nothing but what is on record.  It needs no write
 * at start to become void: whatever is written to the store makes it so. */
#define STAMP_KEY "blobs_stamp"

/* bits: one per block of CACHE_BLOCK bytes, chunks of 64 blocks.  verified: the whole file's checksum was right. */
static const char schema[] =
  "CREATE TABLE IF NOT EXISTS cached_chunk ("
  "  version INTEGER NOT NULL, chunk INTEGER NOT NULL, bits INTEGER NOT NULL, PRIMARY KEY (version, chunk))"
  " WITHOUT ROWID;"
  "CREATE TABLE IF NOT EXISTS verified (version INTEGER PRIMARY KEY);";

int
cache_forget (struct db *db, int64_t version)
{
  static const char *const statements[] = {
    "DELETE FROM cached_chunk WHERE version = ?",
    "DELETE FROM verified WHERE version = ?",
  };

  for (size_t i = 0; i < 2; ++i) {
    sqlite3_stmt *stmt = db_stmt (db, statements[i]);

    if (stmt == NULL)
      return -1;
    sqlite3_bind_int64 (stmt, 1, version);
    if (db_run (stmt) == -1)
      return -1;
  }
  return 0;
}

int
cache_recorded_bytes (struct db *db, uint64_t *ret)
{
  sqlite3_stmt *stmt = db_stmt (db, "SELECT c.chunk, c.bits, v.size FROM cached_chunk c JOIN version v ON v.id = c.version");
  int r;

  *ret = 0;
  while ((r = db_row (stmt)) == 1) {
    const struct cache_file file = { .size = sqlite3_column_int64 (stmt, 2) };
    const uint64_t chunk = sqlite3_column_int64 (stmt, 0);

    if (chunk < chunk_count (&file))
      *ret += present_bytes (&file, chunk, sqlite3_column_int64 (stmt, 1) & chunk_full (&file, chunk));
  }
  return r;
}

void
queue_verification (struct cache *cache, int64_t version)
{
  if (cache->n_verify == cache->verify_room) {
    const size_t room = cache->verify_room * 2 + 16;
    int64_t *verify = realloc (cache->verify, room * sizeof *verify);

    if (verify == NULL)
      return;                  /* the next start finds it unverified */
    cache->verify = verify;
    cache->verify_room = room;
  }
  cache->verify[cache->n_verify++] = version;
  pthread_cond_signal (&cache->keeper_cond);
}

/* ---- rows ---- */

struct snapshot {
  int64_t version;
  uint32_t chunk;
  uint64_t bits;
};

struct snapshots {
  struct snapshot *rows;
  size_t n, room;
};

static int
snapshot_add (struct snapshots *list, int64_t version, uint32_t chunk, uint64_t bits)
{
  if (list->n == list->room) {
    const size_t room = list->room * 2 + 256;
    struct snapshot *rows = realloc (list->rows, room * sizeof *rows);

    if (rows == NULL)
      return -1;
    list->rows = rows;
    list->room = room;
  }
  list->rows[list->n++] = (struct snapshot) { version, chunk, bits };
  return 0;
}

static int
delete_row (struct db *db, int64_t version, uint32_t chunk)
{
  sqlite3_stmt *stmt = db_stmt (db, "DELETE FROM cached_chunk WHERE version = ? AND chunk = ?");

  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, version);
  sqlite3_bind_int64 (stmt, 2, chunk);
  return db_run (stmt);
}

/* ---- loading ---- */

struct kept {
  struct blob_range *rows;
  size_t n, room;
};

/* Puts a piece of a file behind those that are listed already, or makes the last one longer. */
static int
kept_add (struct kept *list, uint64_t start, uint64_t end)
{
  if (list->n > 0 && list->rows[list->n - 1].end == start) {
    list->rows[list->n - 1].end = end;
    return 0;
  }
  if (list->n == list->room) {
    const size_t room = list->room * 2 + 1024;
    struct blob_range *rows = realloc (list->rows, room * sizeof *rows);

    if (rows == NULL)
      return -1;
    list->rows = rows;
    list->room = room;
  }
  list->rows[list->n++] = (struct blob_range) { start, end };
  return 0;
}

static int
kept_of_file (struct kept *list, struct cache_file *file)
{
  for (uint64_t at = 0; at < file->size; at += CACHE_BLOCK) {
    const uint64_t end = file->size - at < CACHE_BLOCK ? file->size : at + CACHE_BLOCK;

    if (range_is_present (file, at, end) && kept_add (list, file->position + at, file->position + end) == -1)
      return -1;
  }
  return 0;
}

static int
compare_ranges (const void *ap, const void *bp)
{
  const struct blob_range *a = ap, *b = bp;

  return a->start < b->start ? -1 : a->start > b->start;
}

static int
keep_range (void *opaque, uint64_t start, uint64_t end)
{
  return kept_add (opaque, start, end);
}

/* Of sorted ranges, those that overlap become one. */
static void
join_ranges (struct kept *list)
{
  size_t n = 0;

  for (size_t i = 0; i < list->n; ++i) {
    const struct blob_range range = list->rows[i];

    if (n > 0 && range.start < list->rows[n - 1].end) {
      if (range.end > list->rows[n - 1].end)
        list->rows[n - 1].end = range.end;
    }
    else
      list->rows[n++] = range;
  }
  list->n = n;
}

/* The process before this one has crashed: what it had fetched and not recorded, and what it was about to punch, takes room
 * that nobody would ever find again.  Nobody uses the cache yet. */
static void
sweep (struct cache *cache)
{
  struct kept list = { 0 };
  uint64_t freed = 0;
  int r = 0;

  for (size_t h = 0; h < HASH_SIZE && r == 0; ++h)
    for (struct cache_file *file = cache->hash[h]; file && r == 0; file = file->hash_next)
      r = kept_of_file (&list, file);
  if (r == 0)
    r = keep_kin (cache, keep_range, &list);
  if (r == 0) {
    if (list.n > 0)
      qsort (list.rows, list.n, sizeof list.rows[0], compare_ranges);
    join_ranges (&list);
    r = blobs_sweep (cache->blobs, list.rows, list.n, &freed);
    if (r == -1 && errno == EOPNOTSUPP)
      r = 0;
  }
  free (list.rows);
  cache->untidy = r == -1;
  if (r == -1)
    msg_notice ("room that a crash has left taken in the cache folder cannot be given back: %m");
  else
    msg_debug ("the process before this one did not end in good order: %llu bytes were given back",
               (unsigned long long) freed);
}

/* lost gets the row if the blob store lacks its bytes. */
static int
load_chunk (struct cache *cache, sqlite3_stmt *stmt, struct snapshots *lost)
{
  struct cache_file *file = cache_file (cache, sqlite3_column_int64 (stmt, 0), sqlite3_column_int64 (stmt, 3),
                                        sqlite3_column_int64 (stmt, 4));
  const uint64_t i = sqlite3_column_int64 (stmt, 1);
  struct chunk *chunk;
  uint64_t bits, end;

  if (file == NULL)
    return -1;
  if (i >= chunk_count (file))
    return 0;
  bits = sqlite3_column_int64 (stmt, 2) & chunk_full (file, i);
  if (bits == 0)
    return 0;
  end = i * CACHE_CHUNK + (64 - __builtin_clzll (bits)) * CACHE_BLOCK;
  if (!blobs_reach (cache->blobs, file->position + (end < file->size ? end : file->size)))
    return snapshot_add (lost, file->version, i, bits);
  chunk = file_chunk (file, i);
  chunk->bits = bits;
  cache->cached_bytes += present_bytes (file, i, chunk->bits);
  file->missing -= __builtin_popcountll (chunk->bits);
  file->superseded = sqlite3_column_int (stmt, 5);
  file->only_here = sqlite3_column_int (stmt, 7);

  if (file->missing == 0) {
    file->complete = true;
    if (file->size > CACHE_CHUNK && sqlite3_column_int (stmt, 6))
      queue_verification (cache, file->version);
  }
  return 0;
}

static int
load_rows (struct cache *cache, struct snapshots *lost)
{
  sqlite3_stmt *stmt = db_stmt (cache->db, "SELECT c.version, c.chunk, c.bits, v.size, v.position, v.superseded,"
                                           "       v.checksum IS NOT NULL AND f.version IS NULL, v.token = '' AND v.hashes IS NOT NULL"
                                           " FROM cached_chunk c JOIN version v ON v.id = c.version"
                                           " LEFT JOIN verified f ON f.version = c.version ORDER BY c.version, c.chunk");
  int r = -1;

  while (stmt && (r = db_row (stmt)) == 1) {
    if (load_chunk (cache, stmt, lost) == -1) {
      sqlite3_reset (stmt);
      return -1;
    }
  }
  return r;
}

/* Once other files have grown the blob store over their place, such rows would let zeros pass for bytes. */
static int
forget_lost (struct cache *cache, const struct snapshots *lost)
{
  int r = 0;

  if (lost->n == 0)
    return 0;
  msg_notice ("files of the cache folder are missing or cut: what they held is fetched again");
  if (db_begin (cache->db) == -1)
    return -1;
  for (size_t i = 0; i < lost->n && r == 0; ++i)
    r = delete_row (cache->db, lost->rows[i].version, lost->rows[i].chunk);
  return db_end (cache->db, r);
}

int
keeper_load (struct cache *cache)
{
  struct snapshots lost = { 0 };
  int64_t stamp = 0;
  int r, known;

  if (db_schema (cache->db, schema) == -1)
    return -1;
  db_read_begin (cache->db);
  r = load_rows (cache, &lost);
  known = db_get_int (cache->db, STAMP_KEY, &stamp);
  db_read_end (cache->db);
  if (r == 0)
    r = forget_lost (cache, &lost);
  if (r == 0)
    r = load_kin (cache);
  free (lost.rows);
  if (r == 0 && (known != 1 || (uint64_t) stamp != blobs_stamp (cache->blobs)))
    sweep (cache);
  return known == -1 ? -1 : r;
}

void
keeper_tidied (struct cache *cache)
{
  const int64_t stamp = blobs_stamp (cache->blobs);
  int64_t before = 0;
  int known;

  if (cache->untidy || cache->n_dirty > 0)
    return;
  db_read_begin (cache->db);
  known = db_get_int (cache->db, STAMP_KEY, &before);
  db_read_end (cache->db);
  if ((known == 1 && before == stamp) || known == -1 || db_begin (cache->db) == -1)
    return;
  db_end (cache->db, db_set_int (cache->db, STAMP_KEY, stamp));
}

/* ---- recording ---- */

static int
write_rows (struct db *db, const struct snapshots *list)
{
  for (size_t i = 0; i < list->n; ++i) {
    sqlite3_stmt *stmt =
      db_stmt (db, "INSERT OR REPLACE INTO cached_chunk (version, chunk, bits)"
                   " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM version WHERE id = ?1)");

    if (stmt == NULL)
      return -1;
    sqlite3_bind_int64 (stmt, 1, list->rows[i].version);
    sqlite3_bind_int64 (stmt, 2, list->rows[i].chunk);
    sqlite3_bind_int64 (stmt, 3, list->rows[i].bits);
    if (db_run (stmt) == -1)
      return -1;
  }
  return 0;
}

/* What could not be made durable is as good as lost, whatever the page cache still says: it is fetched again. */
static void
forget_unsynced (struct cache *cache, const struct snapshots *list)
{
  LOCK_FOR_SCOPE (&cache->lock);

  for (size_t i = 0; i < list->n; ++i) {
    struct cache_file *file = find_file (cache, list->rows[i].version);

    if (file)
      clear_chunk (cache, file, list->rows[i].chunk);
  }
}

/* What could not be recorded is still to be recorded. */
static void
take_back (struct cache *cache, const struct snapshots *list)
{
  LOCK_FOR_SCOPE (&cache->lock);

  for (size_t i = 0; i < list->n; ++i) {
    struct cache_file *file = find_file (cache, list->rows[i].version);

    if (file) {
      atomic_store (&file_chunk (file, list->rows[i].chunk)->dirty, 1);
      queue_dirty (cache, file);
    }
  }
}

/* Records everything that was fetched.  The bits are read before the sync: whatever has its bit by then has its bytes in
 * the blob store by then, so the sync covers it. */
static int
record (struct cache *cache)
{
  struct snapshots list = { 0 };
  bool failed = false;
  int r = 0;

  pthread_mutex_lock (&cache->lock);
  for (size_t i = 0; i < cache->n_dirty; ++i) {
    struct cache_file *file = cache->dirty[i];

    file->queued_dirty = false;
    for (size_t j = 0; j < chunk_count (file); ++j) {
      struct chunk *chunk = file_chunk (file, j);

      if (!atomic_exchange (&chunk->dirty, 0))
        continue;
      if (snapshot_add (&list, file->version, j, chunk->bits) == -1)
        failed = true;
    }
  }
  cache->n_dirty = 0;
  pthread_mutex_unlock (&cache->lock);

  if (list.n > 0 && !failed) {
    r = blobs_sync (cache->blobs);
    if (r == -1) {
      msg_error ("the cache's blob file cannot be made durable: %m");
      forget_unsynced (cache, &list);
    }
    else if ((r = db_begin (cache->db)) == 0)
      r = db_end (cache->db, write_rows (cache->db, &list));
    if (r == -1)
      take_back (cache, &list);
  }
  if (failed) {
    LOCK_FOR_SCOPE (&cache->lock);
    cache->untidy = true;
  }
  free (list.rows);
  return r;
}

/* Held while rows of cached_chunk are written, and while chunks go: what was to be recorded when it went must not be recorded after
 * it.  One record at a time: what another has taken over is on record when it returns. */
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

int
cache_record (struct cache *cache)
{
  LOCK_FOR_SCOPE (&record_lock);

  return record (cache);
}

/* ---- eviction ---- */

struct victim {
  uint32_t stamp;
  uint32_t chunk;
  struct cache_file *file;
};

static int
compare_victims (const void *ap, const void *bp)
{
  const struct victim *a = ap, *b = bp;

  return a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
}

/* Chunks that could be fetched again and are not in use: not those of superseded versions. */
static struct victim *
find_victims (struct cache *cache, size_t *ret_n)
{
  LOCK_FOR_SCOPE (&cache->lock);
  struct victim *victims = NULL;
  size_t n = 0, room = 0;

  for (size_t h = 0; h < HASH_SIZE; ++h) {
    for (struct cache_file *file = cache->hash[h]; file; file = file->hash_next) {
      if (file->superseded || file->only_here || file->missing == block_count (file))
        continue;
      for (size_t i = 0; i < chunk_count (file); ++i) {
        if (file_chunk (file, i)->bits == 0 || chunk_is_busy (file, i))
          continue;
        if (n == room) {
          struct victim *more;

          room = room * 2 + 1024;
          more = realloc (victims, room * sizeof *victims);
          if (more == NULL)
            goto out;
          victims = more;
        }
        victims[n++] = (struct victim) { file_chunk (file, i)->stamp, i, file };
      }
    }
  }
out:
  if (n > 0)
    qsort (victims, n, sizeof *victims, compare_victims);
  *ret_n = n;
  return victims;
}

static void
evict_chunk (struct cache *cache, const struct victim *victim)
{
  struct cache_file *file = victim->file;
  bool punched = true;

  /* Nobody may fetch into the hole between its bits being known as gone and its being punched: no request of this file
   * begins while evicting is set. */
  pthread_mutex_lock (&cache->lock);
  if (file->pins > 0 || file->superseded || file->only_here || chunk_is_busy (file, victim->chunk)) {
    atomic_store (&file_chunk (file, victim->chunk)->dirty, 1);   /* it keeps its bytes, so it must get its row back */
    queue_dirty (cache, file);
    pthread_mutex_unlock (&cache->lock);
    return;
  }
  file->evicting = true;
  clear_chunk (cache, file, victim->chunk);
  pthread_mutex_unlock (&cache->lock);

  if (blobs_punch (cache->blobs, file->position + victim->chunk * CACHE_CHUNK, chunk_bytes (file, victim->chunk)) == -1 &&
      errno != EOPNOTSUPP) {
    msg_error ("the cache's blob file cannot be punched: %m");
    punched = false;
  }

  pthread_mutex_lock (&cache->lock);
  cache->untidy |= !punched;
  file->evicting = false;
  pthread_cond_broadcast (&cache->evicted_cond);
  pthread_mutex_unlock (&cache->lock);
}

/* Evicts the least recently read chunks until no more than target bytes are cached.  Returns how many. */
static size_t
evict_to (struct cache *cache, uint64_t target)
{
  size_t n = 0, evicted = 0;
  CLEANUP_FREE struct victim *victims = find_victims (cache, &n);
  uint64_t bytes = atomic_load (&cache->cached_bytes);
  int r = 0;
  LOCK_FOR_SCOPE (&record_lock);

  if (n == 0 || db_begin (cache->db) == -1)
    return 0;
  while (evicted < n && bytes > target && r == 0) {
    const struct victim *victim = &victims[evicted];

    r = delete_row (cache->db, victim->file->version, victim->chunk);
    bytes -= present_bytes (victim->file, victim->chunk, file_chunk (victim->file, victim->chunk)->bits);
    evicted++;
  }
  if (db_end (cache->db, r) == -1)
    return 0;

  /* Rows first: a row without its bytes would be a lie, bytes without their row are only room. */
  for (size_t i = 0; i < evicted; ++i)
    evict_chunk (cache, &victims[i]);
  msg_debug ("evicted %zu ranges, %llu bytes are cached", evicted, (unsigned long long) cache->cached_bytes);
  return evicted;
}

/* Returns how many chunks went. */
static size_t
evict (struct cache *cache)
{
  const uint64_t cached = atomic_load (&cache->cached_bytes);
  bool want_room;

  pthread_mutex_lock (&cache->lock);
  want_room = cache->want_room;
  cache->want_room = cache->over = false;
  pthread_mutex_unlock (&cache->lock);

  /* While the remote is away nothing can be fetched again. */
  if (health_is_away (cache->health))
    return 0;
  if (want_room) {
    size_t n;

    const uint64_t target = cached > ROOM_STEP ? cached - ROOM_STEP : cached / 2;

    n = evict_to (cache, target);
    if (n == 0) {
      /* The records of what is deleted need room themselves. */
      blobs_release_reserve (cache->blobs);
      n = evict_to (cache, target);
    }
    blobs_keep_reserve (cache->blobs);
    return n;
  }
  if (cache->config.max_bytes && cached > cache->config.max_bytes)
    return evict_to (cache, EVICT_TO (cache->config.max_bytes));
  return 0;
}

/* ---- verification ---- */

static int
record_verified (struct cache *cache, int64_t version)
{
  sqlite3_stmt *stmt;
  int r = -1;

  if (db_begin (cache->db) == -1)
    return -1;
  stmt = db_stmt (cache->db, "INSERT OR IGNORE INTO verified (version) VALUES (?)");
  if (stmt) {
    sqlite3_bind_int64 (stmt, 1, version);
    r = db_run (stmt);
  }
  return db_end (cache->db, r);
}

static bool
keeper_must_stop (struct cache *cache)
{
  LOCK_FOR_SCOPE (&cache->lock);

  return cache->stopping;
}

/* Reads the whole file from the blob store.  Returns false only if its bytes are surely wrong. */
static bool
file_matches (struct cache *cache, struct cache_file *file, const char *expected, bool *ret_checked)
{
  struct checksum *checksum = checksum_new (expected);
  CLEANUP_FREE char *buf = malloc (CACHE_CHUNK);
  const unsigned evictions = atomic_load (&file->evictions);
  bool right = true;

  *ret_checked = false;
  if (checksum && buf) {
    uint64_t at = 0;

    while (at < file->size) {
      const size_t n = file->size - at < CACHE_CHUNK ? file->size - at : CACHE_CHUNK;

      if (keeper_must_stop (cache) || blobs_read (cache->blobs, buf, n, file->position + at) == -1)
        break;
      checksum_add (checksum, buf, n);
      at += n;
    }
    if (at == file->size && atomic_load (&file->evictions) == evictions) {
      right = checksum_matches (checksum);
      *ret_checked = true;
    }
  }
  checksum_free (checksum);
  return right;
}

/* From here on nobody reads the file's bytes, also those who have it open. */
static void
forget_bad (struct cache *cache, struct cache_file *file)
{
  LOCK_FOR_SCOPE (&record_lock);

  pthread_mutex_lock (&cache->lock);
  file->bad = true;
  for (size_t i = 0; i < chunk_count (file); ++i)
    clear_chunk (cache, file, i);
  pthread_mutex_unlock (&cache->lock);

  if (db_begin (cache->db) == 0 && db_end (cache->db, cache_forget (cache->db, file->version)) == 0)
    blobs_punch (cache->blobs, file->position, file->size);
}

static void
verify_next (struct cache *cache)
{
  struct catalog_source source;
  struct cache_file *file;
  int64_t version;
  bool checked;
  int r;

  pthread_mutex_lock (&cache->lock);
  version = cache->verify[--cache->n_verify];
  file = find_file (cache, version);
  pthread_mutex_unlock (&cache->lock);
  if (file == NULL || !cache_is_complete (file))
    return;

  db_read_begin (cache->reader);
  r = catalog_source (cache->reader, version, &source);
  db_read_end (cache->reader);
  if (r != 1)
    return;
  if (file_matches (cache, file, source.checksum, &checked)) {
    if (checked)
      record_verified (cache, version);
  }
  else {
    msg_error ("%s: the bytes that the server sent do not match the checksum that it gave for them: reading it fails until"
               " the server shows another version", source.path);
    forget_bad (cache, file);
    health_suspect (cache->health);
  }
  catalog_source_free (&source);
}

/* ---- the thread ---- */

static void
set_keeper_busy (struct cache *cache, bool busy)
{
  LOCK_FOR_SCOPE (&cache->lock);

  cache->keeper_busy = busy;
}

void *
keeper_thread (void *opaque)
{
  struct cache *cache = opaque;
  uint64_t now = monotonic_ms (), next_record = now + RECORD_EVERY_MS, next_second = now;
  bool stopping = false, failed = false;

  while (!stopping) {
    struct timespec until;
    size_t n_dirty, evicted;
    bool verify;

    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock (&cache->lock);
    if (!cache->stopping && !cache->want_room && !cache->over && cache->n_verify == 0)
      pthread_cond_clockwait (&cache->keeper_cond, &cache->lock, CLOCK_MONOTONIC, &until);
    stopping = cache->stopping;
    n_dirty = cache->n_dirty;
    verify = cache->n_verify > 0;
    pthread_mutex_unlock (&cache->lock);

    now = monotonic_ms ();
    if (now >= next_second) {
      atomic_fetch_add (&cache->clock, 1);
      next_second = now + 1000;
    }
    if (stopping || now >= next_record || (n_dirty > RECORD_FILES && !failed)) {
      failed = cache_record (cache) == -1;
      next_record = now + (failed ? RECORD_AGAIN_MS : RECORD_EVERY_MS);
    }
    if (stopping)
      break;
    set_keeper_busy (cache, true);
    evicted = evict (cache);
    if (verify)
      verify_next (cache);
    set_keeper_busy (cache, false);
    if (evicted == 0 && cache->config.max_bytes && atomic_load (&cache->cached_bytes) > cache->config.max_bytes)
      nanosleep (&(struct timespec) { .tv_nsec = EVICT_PAUSE_NS }, NULL);
    free_idle_streams (cache, false);
  }
  return NULL;
}
