/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine: owns the remote, the database, the catalog and the cache, and the thread that keeps them in step. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "door.h"
#include "engine.h"
#include "fill.h"
#include "fsutil.h"
#include "health.h"
#include "hints.h"
#include "msg.h"
#include "pull.h"
#include "push.h"

/* The layout of the database's tables.  Raised when they change in a way that older programs can't read. */
#define SCHEMA_VERSION 2

/* The oldest one that catalog_init makes into this one. */
#define SCHEMA_UPGRADED 1

/* Where folder tokens let a poll skip folders, everything is listed all the same this often, seconds. */
#define FULL_LISTING_S 7200

/* With push, polling is only for safety. */
#define PUSH_POLL_FACTOR 20

/* A remote that does not accept our password is asked again after these many seconds, and then no more: servers lock
 * accounts. */
static const unsigned auth_pauses_s[] = { 25, 120, 600, 3600, 18000 };

#define PROGRESS_MS 1000

struct engine {
  struct engine_config config;
  char *dir;
  char *db_path;
  int dir_fd, lock_fd;
  struct cloud *cloud;
  struct db *db;
  struct blobs *blobs;
  struct cache *cache;
  struct health *health;
  struct pull *pull;
  struct fill *fill;
  struct push *push;
  struct hints *hints;
  struct door *door;           /* or NULL */
  unsigned auth_tries;         /* failed log-ins since the last whole listing; the thread's own */
  pthread_t thread;
  bool started;

  /* Protects what follows. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int64_t revision;
  uint64_t upload_rate, download_rate;
  bool rung, stopping;
};

/* ---- the cache folder ---- */

static char *
default_dir (const char *identity)
{
  unsigned char digest[EVP_MAX_MD_SIZE];
  const char *xdg = getenv ("XDG_CACHE_HOME"), *home = getenv ("HOME");
  unsigned n = 0;
  char *dir = NULL;
  int r;

  EVP_Digest (identity, strlen (identity), digest, &n, EVP_sha256 (), NULL);
  if (geteuid () == 0)
    r = asprintf (&dir, "/var/cache/cloudshare/%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3],
                  digest[4], digest[5]);
  else if ((xdg && xdg[0] == '/') || (home && home[0] == '/'))
    r = asprintf (&dir, "%s%s/cloudshare/%02x%02x%02x%02x%02x%02x", xdg && xdg[0] == '/' ? xdg : home,
                  xdg && xdg[0] == '/' ? "" : "/.cache", digest[0], digest[1], digest[2], digest[3], digest[4], digest[5]);
  else {
    msg_error ("there is neither $XDG_CACHE_HOME nor $HOME: say where to keep the cache with cache=DIR");
    return NULL;
  }
  if (r == -1) {
    msg_error ("out of memory");
    return NULL;
  }
  return dir;
}

/* A folder that is not ours must not get our files, and the cache of a local folder must not be in that folder: it would
 * show itself, and grow by that. */
static int
check_dir (struct engine *engine)
{
  const size_t n = strlen (engine->cloud->identity);
  CLEANUP_FREE char *real = realpath (engine->dir, NULL);
  struct dirent *entry;
  bool foreign = false;
  DIR *dir;

  if (real && engine->cloud->identity[0] == '/' && strncmp (real, engine->cloud->identity, n) == 0 &&
      (real[n] == '/' || real[n] == '\0' || n == 1)) {
    msg_error ("cache folder %s is inside the folder that it would be a copy of: name another with cache=DIR", engine->dir);
    return -1;
  }
  if (faccessat (engine->dir_fd, "cloudshare.db", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return 0;
  dir = opendir (engine->dir);
  while (dir && (entry = readdir (dir)))
    foreign |= strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0 &&
               strcmp (entry->d_name, "lock") != 0 && strcmp (entry->d_name, "lost+found") != 0;
  if (dir)
    closedir (dir);
  if (foreign)
    msg_error ("cache folder %s holds other things: name a folder of its own with cache=DIR", engine->dir);
  return foreign ? -1 : 0;
}

/* Opens and locks the cache folder.  The lock belongs to the open file: it crosses a fork, and ends with the process. */
static int
open_dir (struct engine *engine)
{
  struct stat st;

  if (make_private_dirs (engine->dir) == -1 ||
      (engine->dir_fd = open (engine->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1 || fstat (engine->dir_fd, &st) == -1) {
    msg_error ("cache folder %s cannot be made or opened: %m; choose another with cache=DIR", engine->dir);
    return -1;
  }
  if (st.st_uid != geteuid () || (st.st_mode & 077) != 0) {
    msg_error ("cache folder %s must belong to the user who runs this and be closed to others (mode 0700): name a folder of"
               " its own with cache=DIR", engine->dir);
    return -1;
  }
  if (check_dir (engine) == -1)
    return -1;
  engine->lock_fd = openat (engine->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (engine->lock_fd == -1) {
    msg_error ("cache folder %s cannot be written: %m", engine->dir);
    return -1;
  }
  if (flock (engine->lock_fd, LOCK_EX | LOCK_NB) == -1) {
    if (errno == EWOULDBLOCK)
      msg_error ("cache folder %s is in use by another process: stop it, or give this one another folder with cache=DIR",
                 engine->dir);
    else
      msg_error ("cache folder %s cannot be locked: %m", engine->dir);
    return -1;
  }
  return 0;
}

/* Inside a transaction.  A new cache gets an id and is bound to its remote; another remote's cache is refused: its items
 * would all look deleted.  Until the first listing was finished nothing is bound: the URL may have been mistyped. */
static int
bind_to_remote (struct engine *engine)
{
  struct db *db = engine->db;
  int64_t schema = SCHEMA_VERSION;
  bool error, complete;
  char *bound;
  int r = -1;

  if (db_get_int (db, "schema", &schema) == -1)
    return -1;
  if (schema < SCHEMA_UPGRADED || schema > SCHEMA_VERSION) {
    msg_error ("cache folder %s was made by another version of this program (its tables are of version %lld, this program's"
               " %d): use another with cache=DIR", engine->dir, (long long) schema, SCHEMA_VERSION);
    return -1;
  }
  if (catalog_is_complete (db, &complete) == -1)
    return -1;
  bound = db_get_text (db, "remote", &error);
  if (error)
    return -1;
  if (bound && !complete && strcmp (bound, engine->cloud->identity) != 0) {
    free (bound);
    bound = NULL;
    if (catalog_reset (db) == -1)
      return -1;
  }
  if (bound == NULL) {
    uint64_t id[2];
    char text[40];

    if (getrandom (id, sizeof id, 0) != sizeof id) {
      msg_error ("no random numbers: %m");
      return -1;
    }
    snprintf (text, sizeof text, "%016llx%016llx", (unsigned long long) id[0], (unsigned long long) id[1]);
    r = db_set_int (db, "schema", SCHEMA_VERSION);
    if (r == 0)
      r = db_set_text (db, "instance", text);
    if (r == 0)
      r = db_set_text (db, "remote", engine->cloud->identity);
  }
  else if (strcmp (bound, engine->cloud->identity) != 0)
    msg_error ("cache folder %s belongs to %s, not to %s: use another with cache=DIR", engine->dir, bound,
               engine->cloud->identity);
  else
    r = schema == SCHEMA_VERSION ? 0 : db_set_int (db, "schema", SCHEMA_VERSION);
  free (bound);
  return r;
}

/* Of the cache, so that the next process knows its uploads. */
static int
mark_uploads (struct engine *engine)
{
  bool error;
  CLEANUP_FREE char *text = db_get_text (engine->db, "instance", &error);

  if (text && sscanf (text, "%8x", &engine->cloud->owner) != 1)
    engine->cloud->owner = 0;
  return error ? -1 : 0;
}

static int
open_db (struct engine *engine)
{
  uint64_t end = 0;
  int r;

  if (asprintf (&engine->db_path, "%s/cloudshare.db", engine->dir) == -1) {
    engine->db_path = NULL;
    msg_error ("out of memory");
    return -1;
  }
  engine->db = db_open (engine->db_path);
  if (engine->db == NULL || catalog_init (engine->db) == -1 || db_begin (engine->db) == -1)
    return -1;
  r = bind_to_remote (engine);
  if (r == 0)
    r = mark_uploads (engine);
  if (r == 0)
    r = catalog_blobs_end (engine->db, &end);
  if (r == 0)
    r = catalog_revision (engine->db, &engine->revision);
  if (db_end (engine->db, r) == -1)
    return -1;

  engine->blobs = blobs_open (engine->dir_fd, engine->dir);
  if (engine->blobs == NULL)
    return -1;
  blobs_leave_room (engine->blobs);
  return blobs_trim (engine->blobs, end);
}

static void
on_hint (void *opaque, const char *path)
{
  engine_hint (opaque, path);
}

static char *
object_path (void *opaque, const char *bucket, const char *key)
{
  struct engine *engine = opaque;

  return engine->cloud->ops->object_path (engine->cloud, bucket, key);
}

static int
open_door (struct engine *engine)
{
  const struct door_config config = {
    .address = engine->config.push, .token = engine->config.push_token, .dir = engine->dir,
    .cainfo = engine->config.cloud.cainfo, .hint = on_hint,
    .object_path = engine->cloud->ops->object_path ? object_path : NULL, .opaque = engine,
  };

  engine->door = door_open (&config);
  return engine->door ? 0 : -1;
}

struct engine *
engine_open (const struct engine_config *config)
{
  struct engine *engine = calloc (1, sizeof *engine);
  const struct cache_config cache_config = { .max_bytes = config->cache_size, .gives_up = config->gives_up };

  if (engine == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  engine->config = *config;
  engine->dir_fd = engine->lock_fd = -1;
  pthread_mutex_init (&engine->lock, NULL);
  pthread_cond_init (&engine->cond, NULL);

  engine->cloud = cloud_open (&config->cloud);
  if (engine->cloud == NULL)
    goto failed;
  if ((config->upload_rate || config->download_rate) &&
      engine_set_rates (engine, config->upload_rate, config->download_rate) == -1) {
    msg_error ("%s: a local folder has no limits: upload-rate= and download-rate= are for clouds", engine->cloud->identity);
    goto failed;
  }
  engine->dir = config->cache_dir ? strdup (config->cache_dir) : default_dir (engine->cloud->identity);
  if (engine->dir == NULL || open_dir (engine) == -1 || open_db (engine) == -1)
    goto failed;
  engine->cloud->scratch = engine->dir;
  engine->cache = cache_open (engine->db, engine->blobs, &cache_config);
  engine->health = health_new (engine->cloud);
  engine->hints = hints_new ();
  if (engine->hints == NULL) {
    msg_error ("out of memory");
    goto failed;
  }
  if (engine->cache == NULL || engine->health == NULL)
    goto failed;
  engine->pull = pull_new (engine->db, engine->blobs, engine->cloud, engine->health, config->cloud.connections);
  if (engine->pull == NULL)
    goto failed;
  pull_set_cache (engine->pull, engine->cache);
  if (config->push && open_door (engine) == -1)
    goto failed;
  return engine;

failed:
  engine_close (engine);
  return NULL;
}

void
engine_close (struct engine *engine)
{
  if (engine == NULL)
    return;
  door_close (engine->door);
  pull_free (engine->pull);
  hints_free (engine->hints);
  health_free (engine->health);
  cache_close (engine->cache);
  blobs_close (engine->blobs);
  db_close (engine->db);
  if (engine->cloud)
    cloud_close (engine->cloud);
  if (engine->lock_fd >= 0)
    close (engine->lock_fd);
  if (engine->dir_fd >= 0)
    close (engine->dir_fd);
  pthread_mutex_destroy (&engine->lock);
  pthread_cond_destroy (&engine->cond);
  free (engine->db_path);
  free (engine->dir);
  free (engine);
}

struct db *
engine_db (struct engine *engine)
{
  return engine->db;
}

struct blobs *
engine_blobs (struct engine *engine)
{
  return engine->blobs;
}

struct cache *
engine_cache (struct engine *engine)
{
  return engine->cache;
}

struct push *
engine_push (struct engine *engine)
{
  return engine->push;
}

const char *
engine_identity (struct engine *engine)
{
  return engine->cloud->identity;
}

const char *
engine_cache_dir (struct engine *engine)
{
  return engine->dir;
}

/* ---- the first listing ---- */

struct progress {
  struct engine *engine;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
};

/* On a terminal one line that changes, elsewhere silence: a log does not need it. */
static void *
show_progress (void *opaque)
{
  struct progress *progress = opaque;
  bool shown = false;

  pthread_mutex_lock (&progress->lock);
  while (!progress->done) {
    struct timespec until;
    uint64_t folders, items;

    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_sec += PROGRESS_MS / 1000;
    pthread_cond_clockwait (&progress->cond, &progress->lock, CLOCK_MONOTONIC, &until);
    if (progress->done)
      break;
    pull_progress (progress->engine->pull, &folders, &items);
    fprintf (stderr, "\rlisting %s: %llu items in %llu folders", progress->engine->cloud->identity,
             (unsigned long long) items, (unsigned long long) folders);
    shown = true;
  }
  pthread_mutex_unlock (&progress->lock);
  if (shown)
    fputc ('\n', stderr);
  return NULL;
}

static int
list_with_progress (struct engine *engine, struct pull_result *ret)
{
  struct progress progress = { .engine = engine, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
  pthread_t thread;
  const bool shows = isatty (STDERR_FILENO) && pthread_create (&thread, NULL, show_progress, &progress) == 0;

  pull_run (engine->pull, PULL_ALL, ret);
  if (ret->result == CLOUD_OK && ret->unsettled) {
    /* Some files were written this very moment: a second look shows them, and the disk is whole from the start. */
    const unsigned ms = engine->cloud->ops->settle_ms;
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    nanosleep (&pause, NULL);
    pull_run (engine->pull, PULL_FRESH, ret);
  }

  if (shows) {
    pthread_mutex_lock (&progress.lock);
    progress.done = true;
    pthread_cond_signal (&progress.cond);
    pthread_mutex_unlock (&progress.lock);
    pthread_join (thread, NULL);
  }
  return ret->result == CLOUD_OK ? 0 : -1;
}

static int
first_listing (struct engine *engine)
{
  CLEANUP_FREE char *sentence = NULL;
  struct pull_result result = { 0 };

  if (engine->cloud->ops->probe (engine->cloud, &sentence) != CLOUD_OK) {
    msg_error ("%s", sentence ? sentence : engine->cloud->identity);
    return -1;
  }
  if (list_with_progress (engine, &result) == -1) {
    msg_error ("the first listing of %s failed: %s", engine->cloud->identity, result.sentence);
    return -1;
  }
  if (db_begin (engine->db) == -1 || db_end (engine->db, catalog_set_complete (engine->db)) == -1)
    return -1;
  return 0;
}

int
engine_prepare (struct engine *engine)
{
  bool complete = false;
  int r;

  db_read_begin (engine->db);
  r = catalog_is_complete (engine->db, &complete);
  db_read_end (engine->db);
  if (r == -1 || complete)
    return r;

  if (cloud_start (engine->cloud) == -1)
    return -1;
  r = first_listing (engine);
  cloud_stop (engine->cloud);
  return r;
}

int
engine_suspend (struct engine *engine)
{
  return db_suspend (engine->db);
}

/* ---- the thread ---- */

static bool
stopping (struct engine *engine)
{
  LOCK_FOR_SCOPE (&engine->lock);

  return engine->stopping;
}

static void
announce (struct engine *engine)
{
  int64_t revision = 0;

  db_read_begin (engine->db);
  catalog_revision (engine->db, &revision);
  db_read_end (engine->db);

  pthread_mutex_lock (&engine->lock);
  engine->revision = revision;
  pthread_cond_broadcast (&engine->cond);
  pthread_mutex_unlock (&engine->lock);
  if (engine->fill)
    fill_look_again (engine->fill);
}

void
engine_push_ring (struct engine *engine)
{
  if (engine->push)
    push_ring (engine->push);
}

void
engine_journalled (struct engine *engine)
{
  engine_push_ring (engine);
  announce (engine);
}

enum cloud_result
engine_remote_state (struct engine *engine)
{
  return engine->health ? health_state (engine->health) : CLOUD_OK;
}

static void
announce_push (void *opaque)
{
  announce (opaque);
}

/* Sleeps in the provider, so that push and wake end it. */
static enum cloud_wait
wait_ms (struct engine *engine, uint64_t ms)
{
  if (stopping (engine))
    return CLOUD_WAIT_WOKEN;
  return engine->cloud->ops->wait (engine->cloud, ms > 86400000 ? 86400000 : (int) ms);
}

/* Asks the remote whether it is there. */
static void
ask (struct engine *engine)
{
  CLEANUP_FREE char *sentence = NULL;
  const enum cloud_result result = engine->cloud->ops->probe (engine->cloud, &sentence);

  health_report (engine->health, result, sentence);
}

/* Until the remote answers again. */
static void
wait_until_back (struct engine *engine)
{
  if (!health_is_away (engine->health))
    return;
  /* Whoever saw it go away has woken us: that must not shorten the first pause. */
  wait_ms (engine, 0);
  if (health_state (engine->health) == CLOUD_OFFLINE)
    ask (engine);              /* it may have been one broken connection */
  while (!stopping (engine) && health_is_away (engine->health)) {
    const size_t n = sizeof auth_pauses_s / sizeof auth_pauses_s[0];

    if (health_state (engine->health) != CLOUD_AUTH)
      wait_ms (engine, engine->config.retry_s * UINT64_C (1000));
    else if (engine->auth_tries < n)
      wait_ms (engine, auth_pauses_s[engine->auth_tries++] * UINT64_C (1000));
    else {
      wait_ms (engine, UINT64_MAX);
      continue;
    }
    if (!stopping (engine))
      ask (engine);
  }
  /* Whatever waited for the remote goes on. */
  push_ring (engine->push);
}

/* Readers that find the catalog behind the remote ask for a look.  Where looking changes nothing, they wait ever longer.
 * Not in the provider's wait, which would take what the remote pushes meanwhile. */
static void
rest_after_suspicion (struct engine *engine, uint64_t *pause_ms, bool changed)
{
  const uint64_t most = engine->config.poll_s * UINT64_C (1000);
  struct timespec until;
  LOCK_FOR_SCOPE (&engine->lock);

  *pause_ms = changed ? 0 : *pause_ms == 0 ? 250 : *pause_ms * 2 < most ? *pause_ms * 2 : most;
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += *pause_ms / 1000;
  until.tv_nsec += *pause_ms % 1000 * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  while (*pause_ms > 0 && !engine->stopping && hints_wait (engine->hints, UINT64_MAX) != 0)
    if (pthread_cond_clockwait (&engine->cond, &engine->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
      break;
}

static uint64_t
poll_ms (struct engine *engine, const struct pull_result *last)
{
  uint64_t ms = engine->config.poll_s * UINT64_C (1000);

  if (engine->cloud->ops->has_push (engine->cloud) && last->result == CLOUD_OK)
    ms *= PUSH_POLL_FACTOR;
  return ms;
}

/* Sleeps until something is to be looked at, at most until that moment.  *ret_hinted: it is what hints name, and nothing
 * else. */
static enum cloud_wait
wait_until (struct engine *engine, uint64_t until, bool *ret_hinted)
{
  *ret_hinted = false;
  while (!health_is_suspected (engine->health) && !health_is_away (engine->health) && !stopping (engine)) {
    const uint64_t now = monotonic_ms (), hint_ms = hints_wait (engine->hints, now);
    const uint64_t left = until > now ? until - now : 0;
    enum cloud_wait woken;

    if (hint_ms == 0) {
      *ret_hinted = true;
      return CLOUD_WAIT_WOKEN;
    }
    if (left == 0)
      return CLOUD_WAIT_TIMEOUT;
    woken = wait_ms (engine, left < hint_ms ? left : hint_ms);
    /* Nobody wakes us but for what the loop looks at; a provider that does so by itself means a look at everything. */
    if (woken == CLOUD_WAIT_CHANGED || (woken == CLOUD_WAIT_WOKEN && hints_wait (engine->hints, 0) == UINT64_MAX))
      return woken;
  }
  return CLOUD_WAIT_WOKEN;
}

/* What is pulled for hints that are due now. */
static enum pull_kind
take_hints (struct engine *engine)
{
  struct hinted hinted;
  enum pull_kind kind;

  hints_take (engine->hints, monotonic_ms (), &hinted);
  kind = hinted.all ? PULL_CHANGED : PULL_HINTED;
  msg_debug ("push: looking at %s%s%s", hinted.all ? "everything" : hinted.n > 0 ? hinted.paths[0] : "nothing",
             hinted.n > 0 ? "/" : "", hinted.n > 1 ? " and others" : "");
  for (size_t i = 0; i < hinted.n; ++i)
    if (pull_hint (engine->pull, hinted.paths[i]) == -1)
      kind = PULL_CHANGED;
  hinted_free (&hinted);
  return kind;
}

static void
forget_hints (struct engine *engine)
{
  struct hinted hinted;

  hints_take (engine->hints, UINT64_MAX, &hinted);
  hinted_free (&hinted);
}

static void *
engine_thread (void *opaque)
{
  struct engine *engine = opaque;
  struct pull_result result = { 0 };
  uint64_t last_full = 0, suspicion_pause_ms = 0, poll_at = 0, fresh_at, ended;
  bool full_done = false, suspected = false, hinted = false;
  enum cloud_wait woken = CLOUD_WAIT_WOKEN;

  /* The catalog is served already; this tells whether the remote is there. */
  ask (engine);
  while (!stopping (engine)) {
    const uint64_t now = monotonic_ms ();
    const bool due = !full_done || now - last_full >= FULL_LISTING_S * UINT64_C (1000);
    const bool was_away = health_is_away (engine->health);
    enum cloud_result before;
    enum pull_kind kind;

    wait_until_back (engine);
    if (stopping (engine))
      break;
    kind = due ? PULL_ALL
           : hinted && !was_away && !health_is_suspected (engine->health) ? take_hints (engine)
           : woken == CLOUD_WAIT_TIMEOUT && now < poll_at && !was_away ? PULL_FRESH : PULL_CHANGED;
    /* Who looks everywhere needs no hints. */
    if (kind == PULL_ALL || kind == PULL_CHANGED)
      forget_hints (engine);
    suspected = health_take_suspicion (engine->health);
    before = result.result;
    pull_run (engine->pull, kind, &result);
    if (result.result == CLOUD_OK && kind != PULL_FRESH)
      engine->auth_tries = 0;
    if (result.result == CLOUD_OK && kind == PULL_ALL) {
      last_full = now;
      full_done = true;
    }
    if (result.result != CLOUD_OK && result.result != before && result.result != CLOUD_STOPPED &&
        !health_is_away (engine->health))
      msg_error ("%s cannot be listed, what was known of it stays: %s", engine->cloud->identity, result.sentence);
    if (result.changed)
      announce (engine);
    if (suspected)
      rest_after_suspicion (engine, &suspicion_pause_ms, result.changed);
    if (hinted)
      hints_looked (engine->hints, kind != PULL_HINTED, now, monotonic_ms ());
    /* What was looked at by itself leaves the rest as old as it was. */
    ended = monotonic_ms ();
    if (kind == PULL_ALL || kind == PULL_CHANGED)
      poll_at = ended + poll_ms (engine, &result);
    fresh_at = result.unsettled ? ended + engine->cloud->ops->settle_ms : UINT64_MAX;
    woken = wait_until (engine, fresh_at < poll_at ? fresh_at : poll_at, &hinted);
  }
  return NULL;
}

int
engine_start (struct engine *engine)
{
  int err;

  if (db_resume (engine->db) == -1 || cloud_start (engine->cloud) == -1)
    return -1;
  if (cache_start (engine->cache, engine->db_path, engine->cloud, engine->health) == -1)
    return -1;
  if (engine->config.fetch_all) {
    engine->fill = fill_start (engine->db, engine->cache, engine->cloud->identity);
    if (engine->fill == NULL)
      return -1;
  }
  engine->push = push_start (engine->db, engine->blobs, engine->cache, engine->cloud, engine->health,
                             &(struct push_config) { .parallel = engine->config.cloud.connections,
                                                     .catalog_changed = announce_push, .opaque = engine });
  if (engine->push == NULL)
    return -1;
  pull_set_push (engine->pull, engine->push);
  err = pthread_create (&engine->thread, NULL, engine_thread, engine);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  engine->started = true;
  return engine->door ? door_start (engine->door) : 0;
}

void
engine_stop (struct engine *engine)
{
  if (!engine->started)
    return;
  if (engine->door)
    door_stop (engine->door);
  pthread_mutex_lock (&engine->lock);
  engine->stopping = true;
  pthread_cond_broadcast (&engine->cond);
  pthread_mutex_unlock (&engine->lock);
  pull_stop (engine->pull);
  cloud_stop (engine->cloud);
  pthread_join (engine->thread, NULL);
  fill_stop (engine->fill);
  engine->fill = NULL;
  pull_set_push (engine->pull, NULL);
  push_stop (engine->push);
  engine->push = NULL;
  cache_stop (engine->cache);
  engine->started = false;
}

bool
engine_wait_revision (struct engine *engine, int64_t after, int timeout_ms)
{
  struct timespec until;
  LOCK_FOR_SCOPE (&engine->lock);

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += timeout_ms % 1000 * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  while (!engine->stopping && !engine->rung && engine->revision <= after)
    if (pthread_cond_clockwait (&engine->cond, &engine->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
      break;
  engine->rung = false;
  return !engine->stopping;
}

void
engine_ring (struct engine *engine)
{
  LOCK_FOR_SCOPE (&engine->lock);

  engine->rung = true;
  pthread_cond_broadcast (&engine->cond);
}

int
engine_set_rates (struct engine *engine, uint64_t upload, uint64_t download)
{
  LOCK_FOR_SCOPE (&engine->lock);

  if (engine->cloud->ops->set_rates == NULL)
    return -1;
  engine->upload_rate = upload;
  engine->download_rate = download;
  /* Under the lock, so that of two at once the same one wins there and here. */
  engine->cloud->ops->set_rates (engine->cloud, upload, download);
  return 0;
}

void
engine_rates (struct engine *engine, uint64_t *ret_upload, uint64_t *ret_download)
{
  LOCK_FOR_SCOPE (&engine->lock);

  *ret_upload = engine->upload_rate;
  *ret_download = engine->download_rate;
}

const char *
engine_door_url (struct engine *engine)
{
  return engine->door ? door_url (engine->door) : NULL;
}

bool
engine_remote_pushes (struct engine *engine)
{
  return engine->cloud->ops->has_push (engine->cloud);
}

void
engine_hint (struct engine *engine, const char *path)
{
  hints_add (engine->hints, path);
  cloud_wake (engine->cloud);
  LOCK_FOR_SCOPE (&engine->lock);
  pthread_cond_broadcast (&engine->cond);
}

void
engine_poke (struct engine *engine)
{
  health_suspect (engine->health);
}
