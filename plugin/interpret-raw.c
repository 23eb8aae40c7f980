/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter of raw disks.  In a run:
 *
 *   1. watch       from here on writes are noted
 *   2. find        pieces with fresh sectors
 *   3. stage       base bytes and overlay, into the blob store; synced
 *   4. sync        the overlay: what is journalled may not be newer than what a loss of power leaves of it
 *   5. look        whether anything was written since 1: then 3 saw no one moment of the disk, and is dropped
 *   6. journal     all of it in one transaction, with the rows that say so
 *   7. settle      the sectors are not fresh any more, but for those written since 1
 *
 * When the process ends between 6 and 7, the same bytes are staged again, found to be those of the version that is known, and
 * dropped.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "array.h"
#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "fsutil.h"
#include "interpret-raw.h"
#include "journal.h"
#include "kin.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "raw-rows.h"
#include "stage-over.h"
#include "steps.h"

#define PART (1 << 20)

/* A guest that is never quiet is tried so long after it began to write. */
#define BUSY_MS 60000

/* After a guest wrote while its pieces were copied, or after a copy that went well, copying rests for so many times what it took; in
 * the first case twice as long each time. */
#define REST_TIMES 10
#define REST_MOST_MS 600000

/* So often a run tries for a guest that has left. */
#define MOST_TRIES 3

/* After bytes could not be staged: no room, or their base is in a cloud that is away. */
#define FAILED_MS 5000

struct interp_raw {
  struct engine *engine;
  struct db *db;
  struct disk *disk;
  struct overlay *overlay;
  struct map *map;
  int64_t view;
  char *name;
  uint64_t settle_ms;
  unsigned write_back_s;

  bool has_watch;
  bool complained;             /* that bytes can't be staged was said, and none could since */
  uint64_t dirty_ms;           /* when something fresh was first seen, after there was nothing; 0: there is nothing */
  uint64_t rest_ms;            /* how long the last rest was */
  uint64_t rested_ms;          /* not before this */
};

/* A piece that was written to. */
struct piece {
  const struct extent *extent;
  uint64_t start;              /* on the disk */
  int64_t item, version;       /* as the view knows it */
  bool staged;
  bool same;                   /* the bytes are the known version's */
  uint64_t position;
  struct kin_stage over;       /* origin 0: it was copied whole, and these are its sums */
  char sha1[41], sha256[65];
  int64_t new_version;
};

struct run {
  struct interp_raw *interp;
  struct piece *pieces;
  size_t n, room;
  uint64_t clock;              /* the overlay's, before the first byte was copied */
  bool journalled;
};

enum outcome { FAILED = -1, DONE, DISTURBED };

/* ---- making one ---- */

struct interp_raw *
interpret_raw_new (const struct interpret_config *config)
{
  struct interp_raw *interp = calloc (1, sizeof *interp);

  if (interp == NULL || (interp->name = strdup (config->name)) == NULL) {
    msg_error ("out of memory");
    free (interp);
    return NULL;
  }
  interp->engine = config->engine;
  interp->db = engine_db (config->engine);
  interp->disk = config->disk;
  interp->overlay = config->overlay;
  interp->map = map_ref (config->map);
  interp->view = config->view;
  interp->settle_ms = config->settle_ms;
  interp->write_back_s = config->write_back_s;
  return interp;
}

static void
end_watch (struct interp_raw *interp)
{
  if (interp->has_watch)
    overlay_watch_end (interp->overlay);
  interp->has_watch = false;
}

void
interpret_raw_free (struct interp_raw *interp)
{
  if (interp == NULL)
    return;
  end_watch (interp);
  map_unref (interp->map);
  free (interp->name);
  free (interp);
}

/* ---- which pieces ---- */

static int
find_pieces (struct run *run)
{
  const struct map *map = run->interp->map;
  const struct geometry *g = map->geometry;
  uint64_t at = 0, start, bytes;

  while (at < g->disk_bytes && overlay_next_fresh (run->interp->overlay, at, &start, &bytes)) {
    /* There are no holes between pieces. */
    const struct extent *extent = &map->extents[map_find (map, byte_to_cluster (g, start))];

    if (array_make_room (&run->pieces, run->n, &run->room, sizeof *run->pieces) == -1)
      return -1;
    run->pieces[run->n++] = (struct piece) { .extent = extent, .start = cluster_to_byte (g, extent->first) };
    at = cluster_to_byte (g, extent->first) + (uint64_t) extent->count * g->cluster_bytes;
  }
  return 0;
}

/* What the view knows of a piece.  With the database's lock. */
static int
know_piece (struct interp_raw *interp, struct piece *piece)
{
  const uint32_t first = piece->extent->first;
  struct extent_row row;
  int r = raw_piece_get (interp->db, interp->view, first, &piece->item, &piece->version);

  if (r != 0)
    return r == 1 ? 0 : -1;
  r = extent_at_cluster (interp->db, disk_id (interp->disk), first, interp->map->generation, &row);
  if (r == 0)
    msg_error ("view %s: the database has forgotten what its disk consists of", interp->name);
  piece->item = row.item;
  piece->version = row.version;
  return r == 1 ? 0 : -1;
}

static int
know_pieces (struct run *run)
{
  int r = 0;

  db_read_begin (run->interp->db);
  for (size_t i = 0; i < run->n && r == 0; ++i)
    r = know_piece (run->interp, &run->pieces[i]);
  db_read_end (run->interp->db);
  return r;
}

/* ---- staging ---- */

struct stager {
  struct interp_raw *interp;
  struct run *run;
  struct piece *piece;
  EVP_MD_CTX *sha1, *sha256;
  struct cache_file *former;   /* the known version, if it is all here */
  char *buf, *old;
};

static int
read_now (struct interp_raw *interp, char *buf, size_t n, uint64_t offset)
{
  while (n > 0) {
    bool present;
    const size_t len = overlay_run (interp->overlay, n, offset, &present);

    if (present && overlay_read (interp->overlay, buf, len, offset) == -1) {
      msg_error ("view %s: what its guest wrote cannot be read back: %m", interp->name);
      return -1;
    }
    if (!present && disk_read (interp->disk, interp->map, buf, len, offset) == -1)
      return -1;
    buf += len;
    offset += len;
    n -= len;
  }
  return 0;
}

static void
to_hex (const unsigned char *digest, unsigned n, char *ret)
{
  for (unsigned i = 0; i < n; ++i)
    sprintf (ret + 2 * i, "%02x", digest[i]);
}

static bool
is_zero (const char *buf, size_t n)
{
  return buf[0] == 0 && memcmp (buf, buf + 1, n - 1) == 0;
}

static struct cache_file *
pin_former (struct interp_raw *interp, const struct piece *piece)
{
  struct cache *cache = engine_cache (interp->engine);
  struct cache_file *file = NULL;
  uint64_t size, position;
  int r;

  db_read_begin (interp->db);
  r = catalog_version_run (interp->db, piece->version, &size, &position);
  db_read_end (interp->db);
  if (r == 1 && size == piece->extent->bytes)
    file = cache_pin (cache, piece->version, size, position);
  if (file && !cache_is_complete (file)) {
    cache_unpin (cache, file);
    file = NULL;
  }
  return file;
}

static void
complain (struct interp_raw *interp)
{
  if (!interp->complained)
    msg_error ("view %s: what its guest wrote cannot be kept for the upload: %m; it is tried again", interp->name);
  interp->complained = true;
}

static enum outcome
stage_part (struct stager *stager, size_t n, uint64_t at)
{
  struct interp_raw *interp = stager->interp;
  struct piece *piece = stager->piece;
  size_t skip = 0;

  if (read_now (interp, stager->buf, n, piece->start + at) == -1 ||
      EVP_DigestUpdate (stager->sha1, stager->buf, n) != 1 || EVP_DigestUpdate (stager->sha256, stager->buf, n) != 1)
    return FAILED;
  /* To know it early: what is copied from here on is for nothing. */
  if (overlay_clock (interp->overlay) != stager->run->clock)
    return DISTURBED;
  if (piece->same)
    piece->same = cache_read (engine_cache (interp->engine), stager->former, stager->old, n, at) == 0 &&
                  memcmp (stager->old, stager->buf, n) == 0;
  /* What was never written in the store reads as zeros; but for the last byte, by which a start knows that all of it is there. */
  if (is_zero (stager->buf, n) && at + n == piece->extent->bytes)
    skip = n - 1;
  else if (is_zero (stager->buf, n))
    return DONE;
  if (blobs_write (engine_blobs (interp->engine), stager->buf + skip, n - skip, piece->position + at + skip) == 0)
    return DONE;
  complain (interp);
  return FAILED;
}

static enum outcome
stage_bytes (struct stager *stager)
{
  struct piece *piece = stager->piece;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;

  if (EVP_DigestInit_ex (stager->sha1, EVP_sha1 (), NULL) != 1 ||
      EVP_DigestInit_ex (stager->sha256, EVP_sha256 (), NULL) != 1)
    return FAILED;
  for (uint64_t at = 0; at < piece->extent->bytes; at += PART) {
    const uint64_t rest = piece->extent->bytes - at;
    const enum outcome outcome = stage_part (stager, rest < PART ? rest : PART, at);

    if (outcome != DONE)
      return outcome;
  }
  if (EVP_DigestFinal_ex (stager->sha1, digest, &n) != 1)
    return FAILED;
  to_hex (digest, n, piece->sha1);
  if (EVP_DigestFinal_ex (stager->sha256, digest, &n) != 1)
    return FAILED;
  to_hex (digest, n, piece->sha256);
  return DONE;
}

static void
give_back (struct interp_raw *interp, struct piece *piece)
{
  blobs_punch (engine_blobs (interp->engine), piece->position, piece->extent->bytes);
  piece->staged = false;
}

static enum outcome
stage_whole (struct run *run, struct piece *piece)
{
  struct interp_raw *interp = run->interp;
  struct stager stager = { .interp = interp, .run = run, .piece = piece };
  enum outcome outcome = FAILED;

  stager.former = pin_former (interp, piece);
  piece->same = stager.former != NULL;
  stager.buf = malloc (PART);
  stager.old = malloc (PART);
  stager.sha1 = EVP_MD_CTX_new ();
  stager.sha256 = EVP_MD_CTX_new ();
  if (stager.buf && stager.old && stager.sha1 && stager.sha256)
    outcome = stage_bytes (&stager);
  else
    msg_error ("out of memory");
  if (stager.former)
    cache_unpin (engine_cache (interp->engine), stager.former);
  EVP_MD_CTX_free (stager.sha1);
  EVP_MD_CTX_free (stager.sha256);
  free (stager.buf);
  free (stager.old);
  return outcome;
}

/* What the guest wrote is copied at one moment of its disk; else it is for nothing.  1 is what makes that known. */
static int
read_undisturbed (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct run *run = opaque;

  if (read_now (run->interp, buf, n, offset) == -1)
    return -1;
  return overlay_clock (run->interp->overlay) != run->clock;
}

/* Only what the guest changed, where that can be told from the rest. */
static enum stage_over
stage_changes (struct run *run, struct piece *piece, enum outcome *ret)
{
  struct interp_raw *interp = run->interp;
  const struct stage_run all = { .start = piece->start, .bytes = piece->extent->bytes };
  const struct stage_file file = {
    .engine = interp->engine, .overlay = interp->overlay, .map = interp->map, .read = read_undisturbed, .opaque = run,
    .runs = &all, .n_runs = 1, .size = piece->extent->bytes, .valid = piece->extent->bytes, .known = piece->version,
    .position = piece->position,
  };
  int read;
  const enum stage_over result = stage_over (&file, &piece->over, &read);

  *ret = result != STAGE_FAILED ? DONE : read == 1 ? DISTURBED : FAILED;
  if (result == STAGE_FAILED && read == 0)
    complain (interp);
  if (result != STAGE_OVER)
    kin_stage_free (&piece->over);
  return result;
}

static enum outcome
stage_piece (struct run *run, struct piece *piece)
{
  struct interp_raw *interp = run->interp;
  enum outcome outcome;

  piece->position = blobs_alloc (engine_blobs (interp->engine), piece->extent->bytes);
  if (piece->position == UINT64_MAX) {
    msg_error ("view %s: a file of %llu bytes is more than the cache can hold", interp->name,
               (unsigned long long) piece->extent->bytes);
    return FAILED;
  }
  piece->staged = true;
  switch (stage_changes (run, piece, &outcome)) {
  case STAGE_WHOLE:
    outcome = stage_whole (run, piece);
    break;
  case STAGE_SAME:
    piece->same = true;
    break;
  default:
    break;
  }
  if (outcome == DONE && piece->same)
    give_back (interp, piece);
  return outcome;
}

static enum outcome
stage_all (struct run *run)
{
  struct interp_raw *interp = run->interp;
  bool any = false;

  for (size_t i = 0; i < run->n; ++i) {
    const enum outcome outcome = stage_piece (run, &run->pieces[i]);

    if (outcome != DONE)
      return outcome;
    any |= run->pieces[i].staged;
  }
  interp->complained = false;
  if (!any)
    return DONE;
  /* Without this a row could name bytes that a loss of power takes away: zeros would go to the cloud. */
  if (blobs_sync (engine_blobs (interp->engine)) == -1) {
    msg_error ("view %s: what its guest wrote cannot be made durable: %m", interp->name);
    return FAILED;
  }
  step_passed ("staged");
  /* Without this the loss of power could take back what the guest wrote: its disk would be older than what the cloud has of
   * it, and would replace it. */
  if (overlay_needs_sync (interp->overlay) && overlay_sync (interp->overlay) == -1) {
    msg_error ("view %s: what its guest wrote cannot be made durable: %m", interp->name);
    return FAILED;
  }
  return DONE;
}

/* ---- the transaction ---- */

/* Another version for the item, or, if the catalog has no such item any more, for the one that the view's generation has. */
static int
edit_piece (struct interp_raw *interp, struct journal *journal, struct piece *piece)
{
  struct extent_row row;
  struct catalog_list list;
  struct timespec now;
  int r = catalog_any_item (interp->db, piece->item, &list);

  if (r == 1)
    catalog_list_free (&list);
  else if (r == 0 && extent_at_cluster (interp->db, disk_id (interp->disk), piece->extent->first, interp->map->generation,
                                        &row) == 1) {
    piece->item = row.item;
    piece->version = row.version;
  }
  else {
    msg_error ("view %s: a piece of its disk is nowhere to be found in the database", interp->name);
    return -1;
  }
  clock_gettime (CLOCK_REALTIME, &now);
  if (piece->over.origin)
    piece->new_version = journal_stage_over (journal, piece->extent->bytes, piece->position, &piece->over);
  else
    piece->new_version = journal_stage (journal, piece->extent->bytes, piece->position, piece->sha1, piece->sha256);
  if (piece->new_version == -1)
    return -1;
  piece->item = journal_edit (journal, piece->item, piece->version, piece->new_version, &now);
  if (piece->item == -1 || catalog_item (interp->db, piece->item, &list) != 1)
    return -1;
  /* Not always the new one: the same bytes may have come from elsewhere meanwhile. */
  piece->version = list.items[0].version;
  catalog_list_free (&list);
  return raw_piece_put (interp->db, interp->view, piece->extent->first, piece->item, piece->version);
}

static int
journal_pieces (struct run *run)
{
  struct interp_raw *interp = run->interp;
  struct journal journal = {
    .db = interp->db, .blobs = engine_blobs (interp->engine), .view = interp->name, .now = time (NULL),
    .quiet_s = interp->write_back_s,
  };
  bool rolled_back;
  int r;

  if (db_begin (interp->db) == -1)
    return -1;
  r = catalog_revision (interp->db, &journal.revision);
  journal.revision++;
  for (size_t i = 0; i < run->n && r == 0; ++i)
    if (run->pieces[i].staged)
      r = edit_piece (interp, &journal, &run->pieces[i]);
  r = journal_finish (&journal, r);
  if (r == 0 && journal.changed)
    r = catalog_commit_revision (interp->db, journal.revision);
  rolled_back = r == -1;
  r = db_end (interp->db, r);
  if (r == -1) {
    /* A commit that failed may be found done after a crash: then its bytes are needed. */
    for (size_t i = 0; i < run->n && !rolled_back; ++i)
      run->pieces[i].staged = false;
    return -1;
  }
  step_passed ("journalled");
  run->journalled = journal.changed;
  for (size_t i = 0; i < run->n; ++i) {
    struct piece *piece = &run->pieces[i];

    if (piece->staged && cache_adopted (engine_cache (interp->engine), piece->new_version, piece->extent->bytes,
                                        piece->position, piece->over.bits) == -1)
      r = -1;
    piece->staged = false;
  }
  return r;
}

/* ---- a run ---- */

static void
run_free (struct run *run)
{
  for (size_t i = 0; i < run->n; ++i)
    if (run->pieces[i].staged)
      give_back (run->interp, &run->pieces[i]);
  for (size_t i = 0; i < run->n; ++i)
    kin_stage_free (&run->pieces[i].over);
  free (run->pieces);
}

static enum outcome
take_pieces (struct run *run)
{
  struct interp_raw *interp = run->interp;
  const struct geometry *g = interp->map->geometry;
  enum outcome outcome;
  bool any = false;

  if (know_pieces (run) == -1)
    return FAILED;
  outcome = stage_all (run);
  if (outcome != DONE)
    return outcome;
  if (overlay_watch_hit (interp->overlay, g->disk_bytes, 0))
    return DISTURBED;
  for (size_t i = 0; i < run->n; ++i) {
    any |= run->pieces[i].staged;
    if (run->pieces[i].staged)
      cache_supersede (engine_cache (interp->engine), run->pieces[i].version);
  }
  /* The view goes on to read what its guest did not write from the version below, and once the cloud has the new one that can
   * not be had again: without this a restart would fetch what is not on record yet, in vain. */
  if (any && (cache_record (engine_cache (interp->engine)) == -1 || journal_pieces (run) == -1))
    return FAILED;
  for (size_t i = 0; i < run->n; ++i)
    overlay_settle (interp->overlay, (uint64_t) run->pieces[i].extent->count * g->cluster_bytes, run->pieces[i].start);
  return DONE;
}

/* When what is fresh may be staged. */
static uint64_t
ready_at (const struct interp_raw *interp, const struct interpret_now *now)
{
  const uint64_t quiet_ms = overlay_last_write_ms (interp->overlay) + interp->settle_ms;
  const uint64_t late_ms = interp->dirty_ms + BUSY_MS;
  const uint64_t at = quiet_ms < late_ms ? quiet_ms : late_ms;

  if (now->ending)
    return 0;
  return at > interp->rested_ms ? at : interp->rested_ms;
}

static void
rest (struct interp_raw *interp, bool disturbed, uint64_t began_ms, uint64_t took_ms)
{
  uint64_t rest_ms = took_ms * REST_TIMES;

  if (disturbed && rest_ms < 2 * interp->rest_ms)
    rest_ms = 2 * interp->rest_ms;
  if (disturbed && rest_ms < interp->settle_ms)
    rest_ms = interp->settle_ms;
  interp->rest_ms = rest_ms < REST_MOST_MS ? rest_ms : REST_MOST_MS;
  interp->rested_ms = began_ms + took_ms + interp->rest_ms;
}

/* One look, and, if it is time, one try. */
static int
try_once (struct interp_raw *interp, const struct interpret_now *now, bool *ret_again, struct interpret_result *ret)
{
  struct run run = { .interp = interp };
  const uint64_t began_ms = monotonic_ms ();
  enum outcome outcome = DONE;
  uint64_t start, bytes;

  *ret_again = false;
  end_watch (interp);
  if (overlay_watch_begin (interp->overlay) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  interp->has_watch = true;
  run.clock = overlay_clock (interp->overlay);
  if (find_pieces (&run) == -1) {
    run_free (&run);
    return -1;
  }
  ret->pending = run.n;
  if (run.n > 0 && interp->dirty_ms == 0)
    interp->dirty_ms = now->now_ms;
  if (run.n > 0 && now->now_ms < ready_at (interp, now)) {
    ret->next_ms = ready_at (interp, now);
    run_free (&run);
    return 0;
  }
  if (run.n > 0) {
    outcome = take_pieces (&run);
    rest (interp, outcome == DISTURBED, now->now_ms, monotonic_ms () - began_ms);
  }
  ret->journalled |= run.journalled;
  switch (outcome) {
  case DONE:
    ret->pending = 0;
    ret->next_ms = 0;
    interp->dirty_ms = 0;
    ret->absorbed = !overlay_next_fresh (interp->overlay, 0, &start, &bytes);
    break;
  case DISTURBED:
    *ret_again = true;
    ret->next_ms = interp->rested_ms;
    break;
  case FAILED:
    ret->next_ms = now->now_ms + FAILED_MS;
  }
  run_free (&run);
  return 0;
}

int
interpret_raw_run (struct interp_raw *interp, const struct interpret_now *now, struct interpret_result *ret)
{
  bool again = true;

  memset (ret, 0, sizeof *ret);
  for (unsigned i = 0; again && (i == 0 || (now->ending && i < MOST_TRIES)); ++i)
    if (try_once (interp, now, &again, ret) == -1)
      return -1;
  return 0;
}
