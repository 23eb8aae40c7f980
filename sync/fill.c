/* SPDX-License-Identifier: BSD-3-Clause */
/* fetch=all: copies everything down in the background. */

#include <config.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "fill.h"
#include "fsutil.h"
#include "msg.h"

/* Requests in flight for it: enough to fill a line, few enough to leave connections to guests. */
#define FILL_REQUESTS 6
#define PIECE (UINT64_C (8) << 20)

#define PROGRESS_MS 10000

/* After a round that left something out, e.g. because the remote went away. */
#define AGAIN_S 30

struct fill {
  struct db *db;
  struct cache *cache;
  const char *identity;
  pthread_t thread;

  /* Protects what follows. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool stopping, look_again;
};

static bool
must_stop (struct fill *fill)
{
  LOCK_FOR_SCOPE (&fill->lock);

  return fill->stopping;
}

static void
say_progress (struct fill *fill, uint64_t total)
{
  struct cache_stats stats;

  cache_get_stats (fill->cache, &stats);
  msg_notice ("%s: %.1f of %.1f GiB are copied here", fill->identity, stats.cached_bytes / 1073741824.0,
              total / 1073741824.0);
}

/* One pass over the catalog.  Returns true if there was nothing left to ask for. */
static bool
round_of_files (struct fill *fill)
{
  uint64_t total = 0, files, folders, largest, size = 0, position = 0, said = monotonic_ms ();
  int64_t version = 0;
  bool all = true;

  db_read_begin (fill->db);
  catalog_totals (fill->db, &total, &files, &folders, &largest);
  db_read_end (fill->db);

  while (!must_stop (fill)) {
    struct cache_file *file;
    int r;

    db_read_begin (fill->db);
    r = catalog_next_version (fill->db, version, &version, &size, &position);
    db_read_end (fill->db);
    if (r == -1 || version == 0)
      break;
    file = cache_pin (fill->cache, version, size, position);
    if (file == NULL)
      break;
    if (!cache_is_complete (file)) {
      all = false;
      for (uint64_t at = 0; at < size && cache_wait_background (fill->cache, FILL_REQUESTS) && !must_stop (fill); at += PIECE)
        cache_prefetch (fill->cache, file, at, PIECE);
    }
    cache_unpin (fill->cache, file);
    if (monotonic_ms () - said >= PROGRESS_MS) {
      say_progress (fill, total);
      said = monotonic_ms ();
    }
  }
  if (!all)
    cache_wait_background (fill->cache, 1);
  return all;
}

static void *
fill_thread (void *opaque)
{
  struct fill *fill = opaque;
  bool said_done = false;

  while (!must_stop (fill)) {
    const bool all = round_of_files (fill);
    struct timespec until;

    if (all && !said_done)
      msg_notice ("%s: everything is copied here", fill->identity);
    said_done = all;

    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_sec += all ? 3600 : AGAIN_S;
    pthread_mutex_lock (&fill->lock);
    /* A round that fetched something is followed by one that checks that nothing is left. */
    if (!fill->stopping && !fill->look_again)
      pthread_cond_clockwait (&fill->cond, &fill->lock, CLOCK_MONOTONIC, &until);
    fill->look_again = false;
    pthread_mutex_unlock (&fill->lock);
  }
  return NULL;
}

struct fill *
fill_start (struct db *db, struct cache *cache, const char *identity)
{
  struct fill *fill = calloc (1, sizeof *fill);
  int err;

  if (fill == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  fill->db = db;
  fill->cache = cache;
  fill->identity = identity;
  fill->look_again = true;
  pthread_mutex_init (&fill->lock, NULL);
  pthread_cond_init (&fill->cond, NULL);
  err = pthread_create (&fill->thread, NULL, fill_thread, fill);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    free (fill);
    return NULL;
  }
  return fill;
}

void
fill_look_again (struct fill *fill)
{
  LOCK_FOR_SCOPE (&fill->lock);

  fill->look_again = true;
  pthread_cond_signal (&fill->cond);
}

void
fill_stop (struct fill *fill)
{
  if (fill == NULL)
    return;
  pthread_mutex_lock (&fill->lock);
  fill->stopping = true;
  pthread_cond_signal (&fill->cond);
  pthread_mutex_unlock (&fill->lock);
  pthread_join (fill->thread, NULL);
  pthread_mutex_destroy (&fill->lock);
  pthread_cond_destroy (&fill->cond);
  free (fill);
}
