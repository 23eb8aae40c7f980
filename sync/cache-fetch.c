/* SPDX-License-Identifier: BSD-3-Clause */
/* Getting bytes that are missing: which ranges to ask for, and waiting for them.
 *
 * A file that is being fetched has a stream.  Each read goes through plan: it asks for the blocks that the reader lacks
 * (urgent), and, while reads follow each other, for a window ahead of them that grows with the run.  The window goes
 * out in several pieces at once, because one connection does not fill a line with latency.
 *
 * A whole small file is always asked for at once.  If it has a checksum it is checked before any reader sees it; larger
 * files are checked by the keeper when they are complete, since nobody would wait for the last byte to see the first.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blobs.h"
#include "cache-private.h"
#include "checksum.h"
#include "cleanup.h"
#include "db.h"
#include "fsutil.h"
#include "health.h"
#include "kin.h"
#include "msg.h"

/* Files up to this are fetched whole: a second round trip costs more than the bytes. */
#define WHOLE_FILE (UINT64_C (1) << 20)

/* The window ahead of a sequential reader: twice what it has read in a row, within these bounds.  A guest that looks at the
 * head of each photo must not make us fetch all of them. */
#define WINDOW_MIN (UINT64_C (1) << 20)
#define WINDOW_MAX (UINT64_C (64) << 20)

/* One request of the window. */
#define PIECE_MIN (UINT64_C (1) << 20)
#define PIECE_MAX (UINT64_C (8) << 20)

/* Bytes are written to the blob store in pieces of this size, aligned (BLOB_LARGE says why), though the network gives them in
 * much smaller ones; sooner only where a reader waits for them. */
#define WRITE_PIECE ((uint64_t) BLOB_LARGE)

/* Requests in flight for one file, and for nobody in particular. */
#define STREAM_REQUESTS 12
#define BACKGROUND_REQUESTS 64

/* A guest's reads arrive a little out of order: several are in flight. */
#define SEQUENTIAL_SLACK (UINT64_C (4) << 20)

/* A stream that nobody used for so long is forgotten, milliseconds. */
#define STREAM_IDLE_MS 5000

/* A sequential reader that was here so recently will come back for what was fetched ahead, milliseconds. */
#define READER_PAUSE_MS 500

/* How often a reader follows a file that is moved at the remote; and how often, with which pause (milliseconds), it waits for
 * the end of a request that moves it. */
#define MOVES_MAX 20
#define MOVE_WAITS 100
#define MOVE_WAIT_MS 100

/* How often, and with which pauses, a busy remote is asked again while a reader waits, and how often a request that found
 * no room on this host, while the keeper makes some. */
static const unsigned busy_pauses_ms[] = { 300, 1000, 3000 };

struct fetch {
  struct cache *cache;
  struct stream *stream;
  char *path, *token;          /* the stream's may be renewed while this is under way */
  uint64_t start, end;
  uint64_t written;            /* in the blob store up to here */
  uint64_t marked;             /* present up to here */
  char *buf;                   /* of WRITE_PIECE bytes: what came behind written; NULL while nothing did */
  size_t buffered;
  bool urgent;
  bool hold;                   /* nothing counts before all of it is there and its checksum is right */
  bool host_full;
  struct checksum *checksum;
  struct fetch *next;          /* in stream->fetches */
  struct fetch *next_new;      /* planned, not started */
};

/* ---- streams ---- */

/* Makes the file's stream, or uses the one it has; counts the caller as its user.  NULL: errno, and said; or ESTALE: it shares
 * bytes with another version, which is to be read.  Lock held on
 * entry and exit, but not in between: the path comes from the database. */
static struct stream *
stream_enter (struct cache *cache, struct cache_file *file)
{
  struct stream *stream;
  struct catalog_source source;
  bool shared = false;
  int r;

  stream = atomic_load (&file->stream);
  if (stream == NULL) {
    pthread_mutex_unlock (&cache->lock);
    db_read_begin (cache->reader);
    r = catalog_source (cache->reader, file->version, &source);
    db_read_end (cache->reader);
    if (r == 0) {
      struct kin_source kin;
      const int where = find_kin (cache, file->version, &kin);

      shared = is_kin (where, &kin);
      kin_source_free (&kin);
    }
    pthread_mutex_lock (&cache->lock);
    if (shared) {
      errno = ESTALE;
      return NULL;
    }
    if (r != 1) {
      if (r == 0 && !file->complained) {
        file->complained = true;
        msg_error ("a file was removed from %s before it was copied here: reading it fails", cache->cloud->identity);
      }
      errno = EIO;
      return NULL;
    }
    stream = atomic_load (&file->stream);
    if (stream)
      catalog_source_free (&source);
    else {
      stream = calloc (1, sizeof *stream);
      if (stream == NULL) {
        catalog_source_free (&source);
        errno = ENOMEM;
        return NULL;
      }
      stream->file = file;
      stream->source = source;
      stream->next = cache->streams;
      cache->streams = stream;
      atomic_store (&file->stream, stream);
    }
  }
  stream->users++;
  return stream;
}

static void
stream_leave (struct stream *stream)
{
  stream->users--;
  stream->idle_since = monotonic_ms ();
}

void
free_idle_streams (struct cache *cache, bool all)
{
  LOCK_FOR_SCOPE (&cache->lock);
  const uint64_t now = monotonic_ms ();
  struct stream **link = &cache->streams;

  while (*link) {
    struct stream *stream = *link;

    if (stream->users > 0 || stream->in_flight > 0 || (!all && now - stream->idle_since < STREAM_IDLE_MS)) {
      link = &stream->next;
      continue;
    }
    *link = stream->next;
    atomic_store (&stream->file->stream, NULL);
    catalog_source_free (&stream->source);
    free (stream);
  }
}

bool
is_being_fetched (const struct cache_file *file, uint64_t start, uint64_t end)
{
  const struct stream *stream = atomic_load (&file->stream);

  for (const struct fetch *fetch = stream ? stream->fetches : NULL; fetch; fetch = fetch->next)
    if (fetch->start < end && start < fetch->end)
      return true;
  return false;
}

bool
chunk_is_busy (struct cache_file *file, size_t chunk)
{
  const struct stream *stream = atomic_load (&file->stream);
  const uint64_t start = chunk * CACHE_CHUNK, end = start + CACHE_CHUNK;

  if (stream == NULL)
    return false;
  if (start < stream->expected + stream->window && stream->expected < end + SEQUENTIAL_SLACK &&
      (stream->users > 0 || monotonic_ms () - stream->idle_since < READER_PAUSE_MS))
    return true;
  if (is_being_fetched (file, start, end))
    return true;
  for (const struct waiter *waiter = stream->waiters; waiter; waiter = waiter->next)
    if (waiter->start < end && start < waiter->end)
      return true;
  return false;
}

/* ---- one request ---- */

static void
fetch_free (struct fetch *fetch)
{
  free (fetch->path);
  free (fetch->token);
  free (fetch->buf);
  free (fetch);
}

/* Wakes those whose wait is over; and all when nothing is in flight any more, so that nobody waits for nothing.  Lock
 * held. */
static void
wake_waiters (struct stream *stream)
{
  for (struct waiter *waiter = stream->waiters; waiter; waiter = waiter->next)
    if (stream->in_flight == 0 || waiter->failed != CLOUD_OK ||
        range_is_present (stream->file, waiter->start, waiter->end))
      pthread_cond_signal (&waiter->cond);
}

/* Whether a reader could go on if what came up to now_at were written. */
static bool
is_waited_for (struct fetch *fetch, uint64_t now_at)
{
  LOCK_FOR_SCOPE (&fetch->cache->lock);

  for (const struct waiter *waiter = fetch->stream->waiters; waiter; waiter = waiter->next) {
    const uint64_t end = waiter->end < fetch->end ? waiter->end : fetch->end;

    if (waiter->start < now_at && fetch->marked < end && end <= now_at)
      return true;
  }
  return false;
}

/* Writes what was gathered, and says that it is there. */
static int
write_gathered (struct fetch *fetch)
{
  struct cache *cache = fetch->cache;
  struct cache_file *file = fetch->stream->file;

  if (fetch->buffered > 0 &&
      blobs_write (cache->blobs, fetch->buf, fetch->buffered, file->position + fetch->written) == -1) {
    fetch->host_full = errno == ENOSPC || errno == EDQUOT;
    if (!fetch->host_full)
      msg_error ("the cache's blob file cannot be written: %m");
    return -1;
  }
  fetch->written += fetch->buffered;
  fetch->buffered = 0;
  if (fetch->hold)
    return 0;
  mark_present (cache, file, fetch->marked, fetch->written);
  fetch->marked = fetch->written == fetch->end ? fetch->end : fetch->written / CACHE_BLOCK * CACHE_BLOCK;

  LOCK_FOR_SCOPE (&cache->lock);
  wake_waiters (fetch->stream);
  return 0;
}

static int
fetch_data (void *opaque, const void *data, size_t n, uint64_t offset)
{
  struct fetch *fetch = opaque;
  const char *from = data;

  atomic_fetch_add_explicit (&fetch->cache->fetched_bytes, n, memory_order_relaxed);
  if (fetch->checksum)
    checksum_add (fetch->checksum, data, n);
  if (fetch->buf == NULL) {
    fetch->buf = malloc (fetch->end - fetch->start < WRITE_PIECE ? fetch->end - fetch->start : WRITE_PIECE);
    if (fetch->buf == NULL)
      return -1;
  }
  while (n > 0) {
    const uint64_t at = fetch->written + fetch->buffered;
    const uint64_t stop = (at / WRITE_PIECE + 1) * WRITE_PIECE < fetch->end ? (at / WRITE_PIECE + 1) * WRITE_PIECE
                                                                           : fetch->end;
    const size_t take = stop - at < n ? stop - at : n;

    memcpy (fetch->buf + fetch->buffered, from, take);
    fetch->buffered += take;
    from += take;
    n -= take;
    if (at + take == stop || is_waited_for (fetch, (at + take) / CACHE_BLOCK * CACHE_BLOCK)) {
      if (write_gathered (fetch) == -1)
        return -1;
    }
  }
  return 0;
}

/* Tells those who wait for bytes of this request that they will not come. */
static void
fail_waiters (struct fetch *fetch, enum cloud_result result, const char *sentence)
{
  for (struct waiter *waiter = fetch->stream->waiters; waiter; waiter = waiter->next) {
    if (waiter->start < fetch->end && fetch->start < waiter->end) {
      waiter->failed = result;
      snprintf (waiter->sentence, sizeof waiter->sentence, "%s", sentence);
    }
  }
}

/* What came of a request that failed, and makes no whole block, would take room without being on record. */
static bool
punch_rest (struct fetch *fetch)
{
  const uint64_t end = fetch->written + fetch->buffered;

  return end == fetch->marked ||
         blobs_punch (fetch->cache->blobs, fetch->stream->file->position + fetch->marked, end - fetch->marked) == 0 ||
         errno == EOPNOTSUPP;
}

static void
fetch_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct fetch *fetch = opaque, **link;
  struct cache *cache = fetch->cache;
  struct stream *stream = fetch->stream;
  struct cache_file *file = stream->file;
  bool wrong = false, tidy = true;

  /* One broken connection is not an outage: whoever waits for these bytes tries again, and says so if that fails, too. */
  if (result != CLOUD_OFFLINE && result != CLOUD_AUTH)
    health_report (cache->health, result, sentence);
  if (fetch->host_full)
    sentence = "no room left in the cache folder's file system: free some, or set cache-size=";
  if (result == CLOUD_OK && fetch->hold) {
    wrong = !checksum_matches (fetch->checksum);
    if (wrong) {
      result = CLOUD_BAD;
      sentence = "the bytes do not match the checksum that the server gave for them";
    }
    else
      mark_present (cache, file, fetch->start, fetch->end);
  }
  if (result == CLOUD_CHANGED || result == CLOUD_GONE || wrong)
    health_suspect (cache->health);
  /* While the request is still listed, so that nobody else fetches into the hole. */
  if (result != CLOUD_OK)
    tidy = punch_rest (fetch);

  pthread_mutex_lock (&cache->lock);
  cache->untidy |= !tidy;
  /* Something else stands there now, or nothing. */
  if (result != CLOUD_OK && fetch->written + fetch->buffered > fetch->marked)
    file->has_own = false;
  for (link = &stream->fetches; *link != fetch; link = &(*link)->next)
    ;
  *link = fetch->next;
  stream->in_flight--;
  stream->idle_since = monotonic_ms ();
  if (!fetch->urgent) {
    cache->background--;
    pthread_cond_broadcast (&cache->background_cond);
  }
  if (fetch->host_full) {
    cache->want_room = true;
    pthread_cond_signal (&cache->keeper_cond);
  }
  if (result == CLOUD_OK)
    file->complained = false;
  else
    fail_waiters (fetch, result, sentence ? sentence : cloud_result_name (result));
  wake_waiters (stream);
  pthread_mutex_unlock (&cache->lock);

  checksum_free (fetch->checksum);
  fetch_free (fetch);
}

static const struct cloud_get_sink fetch_sink = { .data = fetch_data, .done = fetch_done };

/* ---- planning: lock held ---- */

static bool
in_flight_end (const struct stream *stream, uint64_t offset, uint64_t *ret_end)
{
  for (const struct fetch *fetch = stream->fetches; fetch; fetch = fetch->next) {
    if (fetch->start <= offset && offset < fetch->end) {
      *ret_end = fetch->end;
      return true;
    }
  }
  return false;
}

/* The first request in flight that begins in (offset, end), or end. */
static uint64_t
next_in_flight (const struct stream *stream, uint64_t offset, uint64_t end)
{
  for (const struct fetch *fetch = stream->fetches; fetch; fetch = fetch->next)
    if (fetch->start > offset && fetch->start < end)
      end = fetch->start;
  return end;
}

/* Asks for what is missing in [start, end), in pieces; the new requests are put before *plan.  Returns up to where it
 * is asked for now: end, unless there are too many requests already. */
static uint64_t
plan_range (struct cache *cache, struct stream *stream, uint64_t start, uint64_t end, uint64_t piece, bool urgent,
            struct fetch ***plan)
{
  struct cache_file *file = stream->file;

  start -= start % CACHE_BLOCK;
  end = (end + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK;
  if (end > file->size)
    end = file->size;

  while (start < end) {
    uint64_t stop;
    struct fetch *fetch;

    if (in_flight_end (stream, start, &stop)) {
      start = stop;
      continue;
    }
    if (range_is_present (file, start, start + 1)) {
      start += CACHE_BLOCK;
      continue;
    }
    if (!urgent && (stream->in_flight >= STREAM_REQUESTS || cache->background >= BACKGROUND_REQUESTS))
      break;
    stop = next_in_flight (stream, start, start + piece < end ? start + piece : end);
    for (uint64_t at = start + CACHE_BLOCK; at < stop; at += CACHE_BLOCK)
      if (range_is_present (file, at, at + 1))
        stop = at;

    fetch = calloc (1, sizeof *fetch);
    if (fetch == NULL)
      break;
    fetch->path = strdup (stream->source.path);
    fetch->token = strdup (stream->source.token);
    if (fetch->path == NULL || fetch->token == NULL) {
      fetch_free (fetch);
      break;
    }
    fetch->cache = cache;
    fetch->stream = stream;
    fetch->start = fetch->written = fetch->marked = start;
    fetch->end = stop;
    fetch->urgent = urgent;
    if (start == 0 && stop == file->size && file->size <= CACHE_CHUNK) {
      fetch->checksum = checksum_new (stream->source.checksum);
      fetch->hold = fetch->checksum != NULL;
    }
    fetch->next = stream->fetches;
    stream->fetches = fetch;
    stream->in_flight++;
    if (!urgent)
      cache->background++;
    **plan = fetch;
    *plan = &fetch->next_new;
    start = stop;
  }
  return start < end ? start : end;
}

static void
note_read (struct stream *stream, uint64_t offset, uint64_t end)
{
  const uint64_t distance = offset > stream->expected ? offset - stream->expected : stream->expected - offset;

  if (distance > SEQUENTIAL_SLACK) {
    stream->run = 0;
    stream->window = 0;
    stream->planned = 0;
    stream->expected = end;
    return;
  }
  stream->run += end - offset;
  stream->window = 2 * stream->run < WINDOW_MIN ? WINDOW_MIN : 2 * stream->run > WINDOW_MAX ? WINDOW_MAX : 2 * stream->run;
  if (end > stream->expected)
    stream->expected = end;
}

static uint64_t
piece_size (const struct stream *stream)
{
  /* Whole blocks: one that two requests share would get its bit from neither. */
  const uint64_t piece = stream->window / 8 / CACHE_BLOCK * CACHE_BLOCK;

  return piece < PIECE_MIN ? PIECE_MIN : piece > PIECE_MAX ? PIECE_MAX : piece;
}

/* Asks for the window behind a read that ends there; in whole pieces, so that each step of a reader does not make a
 * request of its own. */
static void
plan_ahead (struct cache *cache, struct stream *stream, uint64_t end, struct fetch ***plan)
{
  const uint64_t size = stream->file->size;
  const uint64_t target = stream->window < size - end ? end + stream->window : size;
  const uint64_t from = stream->planned > end ? stream->planned : end;

  if (from >= target || (target - from < piece_size (stream) && target < size))
    return;
  stream->planned = plan_range (cache, stream, from, target, piece_size (stream), false, plan);
}

/* All that a read of [offset, end) asks for. */
static struct fetch *
plan_read (struct cache *cache, struct stream *stream, uint64_t offset, uint64_t end)
{
  const uint64_t size = stream->file->size;
  struct fetch *plan = NULL, **tail = &plan;

  if (size <= WHOLE_FILE || (size <= CACHE_CHUNK && stream->source.checksum)) {
    plan_range (cache, stream, 0, size, size, true, &tail);
    return plan;
  }
  plan_range (cache, stream, offset, end, PIECE_MAX, true, &tail);
  if (stream->window > 0)
    plan_ahead (cache, stream, end, &tail);
  return plan;
}

/* Sends planned requests; the lock must not be held, since a provider may answer at once. */
static void
start_fetches (struct cache *cache, struct fetch *plan)
{
  while (plan) {
    struct fetch *fetch = plan;
    const struct stream *stream = fetch->stream;
    const struct cloud_get get = {
      .path = fetch->path, .token = fetch->token, .size = stream->file->size,
      .offset = fetch->start, .length = fetch->end - fetch->start, .urgent = fetch->urgent,
    };

    plan = fetch->next_new;
    atomic_fetch_add_explicit (&cache->requests, 1, memory_order_relaxed);
    cache->cloud->ops->get (cache->cloud, &get, &fetch_sink, fetch);
  }
}

/* ---- waiting ---- */

static void
complain (struct stream *stream, struct cache *cache, const char *sentence)
{
  if (stream->file->complained)
    return;
  stream->file->complained = true;
  msg_error ("%s: reading it fails: %s", stream->source.path, sentence);
}

/* Whether, and after which pause, a failed range is worth another try while its reader waits.  Not for results that say
 * that the version is no longer there. */
static bool
worth_retrying (enum cloud_result result, unsigned tries, unsigned *ret_pause_ms)
{
  switch (result) {
  case CLOUD_BUSY:
  case CLOUD_LOCAL:
    if (tries >= sizeof busy_pauses_ms / sizeof busy_pauses_ms[0])
      return false;
    *ret_pause_ms = busy_pauses_ms[tries];
    return true;
  case CLOUD_OFFLINE:          /* one broken connection is not yet an outage */
  case CLOUD_BAD:
    *ret_pause_ms = 200;
    return tries == 0;
  default:
    return false;
  }
}

/* The version may have another path by now.  True if so: then it is worth another try.  *ret_adrift: it may soon have.  *ret_kin:
 * the remote has another version in its place that shares its bytes.  Lock held on entry and exit. */
static bool
renew_source (struct cache *cache, struct stream *stream, bool *ret_adrift, bool *ret_kin)
{
  const int64_t version = stream->file->version;
  struct catalog_source source;
  struct kin_source kin;
  bool renewed;
  int r;

  pthread_mutex_unlock (&cache->lock);
  *ret_kin = find_kin (cache, version, &kin) == KIN_OTHER;
  kin_source_free (&kin);
  db_read_begin (cache->reader);
  r = catalog_source (cache->reader, version, &source);
  db_read_end (cache->reader);
  pthread_mutex_lock (&cache->lock);
  *ret_adrift = r == 1 && source.adrift;
  if (r != 1)
    return false;
  /* A request of ours that moved it, or gave it another time, may have given it another token as well. */
  renewed = strcmp (source.path, stream->source.path) != 0 || strcmp (source.token, stream->source.token) != 0;
  if (renewed) {
    catalog_source_free (&stream->source);
    stream->source = source;
    stream->renewals++;
  }
  else
    catalog_source_free (&source);
  return renewed;
}

/* Sleeps until the waiter is woken, or half a second went by: then it is time to ask whether anybody still waits.  Lock
 * held on entry and exit. */
static void
wait_a_while (struct cache *cache, struct waiter *waiter)
{
  struct timespec until;

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += 500000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_cond_clockwait (&waiter->cond, &cache->lock, CLOCK_MONOTONIC, &until);
}

static void
remove_waiter (struct stream *stream, struct waiter *waiter)
{
  struct waiter **link = &stream->waiters;

  while (*link != waiter)
    link = &(*link)->next;
  *link = waiter->next;
}

void
cache_sleep_ms (unsigned ms)
{
  const struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

  nanosleep (&ts, NULL);
}

/* What a reader knows of the moves of its file. */
struct moves {
  unsigned seen;               /* of the stream's renewals */
  unsigned n, waits;
  bool kin;                    /* its bytes are to be had from another version */
};

/* A version was not where it was asked for: whether it is worth another try, maybe after a pause.  A guest that renames a
 * file, or a folder above it, goes on reading it, while push tells the remote: the place changes between the request and what
 * the catalog says, and several times in a row.  Lock held on entry and exit. */
static bool
is_elsewhere (struct cache *cache, struct stream *stream, struct moves *moves)
{
  bool adrift = false;
  /* Another reader, whose request failed too, may have renewed it. */
  const bool renewed = renew_source (cache, stream, &adrift, &moves->kin) || stream->renewals != moves->seen;

  moves->seen = stream->renewals;
  if (moves->kin)
    return false;
  if (renewed)
    return moves->n++ < MOVES_MAX;
  if (!adrift || moves->waits++ >= MOVE_WAITS)
    return false;
  pthread_mutex_unlock (&cache->lock);
  cache_sleep_ms (MOVE_WAIT_MS);
  pthread_mutex_lock (&cache->lock);
  return true;
}

int
fetch_and_wait (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count)
{
  struct waiter waiter = { .start = offset, .end = offset + count, .cond = PTHREAD_COND_INITIALIZER };
  struct stream *stream;
  struct moves moves = { .n = 0 };
  unsigned tries = 0;
  int r = -1;

  pthread_mutex_lock (&cache->lock);
  stream = stream_enter (cache, file);
  if (stream == NULL) {
    pthread_mutex_unlock (&cache->lock);
    return -1;
  }
  moves.seen = stream->renewals;
  note_read (stream, offset, offset + count);
  waiter.next = stream->waiters;
  stream->waiters = &waiter;

  for (;;) {
    struct fetch *plan;
    unsigned pause;

    while (file->evicting)
      pthread_cond_wait (&cache->evicted_cond, &cache->lock);
    if (waiter.failed == CLOUD_OK && !range_is_present (file, offset, offset + count)) {
      if (file->bad) {
        complain (stream, cache, "its bytes do not match the checksum that the server gave for them");
        break;
      }
      if (health_is_away (cache->health)) {
        complain (stream, cache, "it is not in the cache, and the remote cannot be reached");
        break;
      }
    }
    if (waiter.failed == CLOUD_OK && !health_is_away (cache->health)) {
      plan = plan_read (cache, stream, offset, offset + count);
      if (plan) {
        pthread_mutex_unlock (&cache->lock);
        start_fetches (cache, plan);
        pthread_mutex_lock (&cache->lock);
        continue;              /* it may all be there by now, or have failed */
      }
    }
    if (range_is_present (file, offset, offset + count)) {
      r = 0;
      break;
    }
    if (waiter.failed == CLOUD_OK && stream->in_flight > 0) {
      wait_a_while (cache, &waiter);
      if (cache->config.gives_up == NULL || !cache->config.gives_up ())
        continue;
      break;
    }
    if (waiter.failed == CLOUD_OK) {
      waiter.failed = CLOUD_LOCAL;
      snprintf (waiter.sentence, sizeof waiter.sentence, "out of memory");
    }
    if ((waiter.failed == CLOUD_GONE || waiter.failed == CLOUD_CHANGED) && !cache->stopping &&
        is_elsewhere (cache, stream, &moves)) {
      waiter.failed = CLOUD_OK;
      continue;
    }
    if (moves.kin)
      break;
    if (cache->stopping || !worth_retrying (waiter.failed, tries, &pause)) {
      if (waiter.failed == CLOUD_OFFLINE || waiter.failed == CLOUD_AUTH)
        health_report (cache->health, waiter.failed, waiter.sentence);
      complain (stream, cache, waiter.sentence);
      break;
    }
    tries++;
    waiter.failed = CLOUD_OK;
    pthread_mutex_unlock (&cache->lock);
    cache_sleep_ms (pause);
    pthread_mutex_lock (&cache->lock);
  }

  remove_waiter (stream, &waiter);
  stream_leave (stream);
  pthread_mutex_unlock (&cache->lock);
  pthread_cond_destroy (&waiter.cond);
  if (r == -1)
    errno = moves.kin ? ESTALE : EIO;
  return r;
}

int
prefetch_range (struct cache *cache, struct cache_file *file, uint64_t offset, uint64_t count)
{
  struct fetch *plan = NULL, **tail = &plan;
  struct stream *stream;
  int n = 0;

  if (health_is_away (cache->health))
    return 0;
  pthread_mutex_lock (&cache->lock);
  if (file->bad || cache->stopping || cache->background >= BACKGROUND_REQUESTS ||
      (stream = stream_enter (cache, file)) == NULL) {
    pthread_mutex_unlock (&cache->lock);
    return 0;
  }
  while (file->evicting)
    pthread_cond_wait (&cache->evicted_cond, &cache->lock);
  if (file->size <= WHOLE_FILE || (file->size <= CACHE_CHUNK && stream->source.checksum))
    plan_range (cache, stream, 0, file->size, file->size, false, &tail);
  else
    plan_range (cache, stream, offset, offset + count, PIECE_MAX, false, &tail);
  for (const struct fetch *fetch = plan; fetch; fetch = fetch->next_new)
    n++;
  pthread_mutex_unlock (&cache->lock);
  start_fetches (cache, plan);

  pthread_mutex_lock (&cache->lock);
  stream_leave (stream);
  pthread_mutex_unlock (&cache->lock);
  return n;
}
