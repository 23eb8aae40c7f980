/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: the remote's tree -> the catalog. */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "fsutil.h"
#include "health.h"
#include "listing.h"
#include "msg.h"
#include "pull.h"
#include "said.h"

/* Listings are applied together, so that one fsync serves many, unless the walk would have to wait for their folders. */
#define BATCH_LISTINGS 64
#define BATCH_MS 200

/* An item that is written all the time never settles; after so many looks it is taken as it is. */
#define FRESH_LOOKS 30

/* A folder that the remote is too busy to list. */
#define BUSY_TRIES 3
#define BUSY_PAUSE_MS 500

/* How often a change deep in the tree must have been seen in the tokens of the folders above it, and never missing, before
 * unchanged folder tokens are believed to mean that nothing changed below. */
#define TREE_TOKENS_BELIEVED 3
#define TREE_TOKENS_NEVER (-1)

/* A folder of this walk. */
struct visit {
  int64_t id;
  char *path;
  int depth;
  int tries;
  size_t above;                /* index of the folder above; the root's own is 0 */
  char *old_token, *new_token; /* as known before, and as its parent's listing shows it; or NULL */
  bool known;                  /* it was in the catalog before this walk */
  bool changed;                /* a child was added, removed or changed */
  bool fresh;                  /* a child is too fresh to be believed */
  bool unseen;                 /* its listing, or one below it, failed: its token must not say that it was seen */
};

/* An item that a listing no longer shows. */
struct missing {
  int64_t id, parent;
  char *path;
};

struct pull {
  struct db *db;
  struct blobs *blobs;
  struct cloud *cloud;
  struct health *health;
  struct cache *cache;
  unsigned parallel;
  atomic_bool stopping;
  _Atomic uint64_t folders, items;

  /* Protects arrived and in_flight: listings end on the provider's threads. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  struct listing *arrived, **arrived_tail;
  unsigned n_arrived, in_flight;

  /* Of the walk under way; the pulling thread's own. */
  struct visit *visits;
  size_t n_visits, visits_room, next_visit;
  struct missing *missing;
  size_t n_missing, missing_room;
  int64_t *superseded;         /* versions to tell the cache of, after the commit */
  size_t n_superseded, superseded_room;
  int64_t revision;
  bool dirty;                  /* the transaction under way changed something */
  enum pull_kind kind;
  int64_t tree_tokens;
  struct pull_result *result;

  int64_t *fresh;              /* folders to look at again, from the last walk */
  size_t n_fresh, fresh_room;
  unsigned fresh_looks;        /* walks in a row that saw fresh items */
  struct said *said;           /* what was said already, so that not every poll repeats it */
};

struct pull *
pull_new (struct db *db, struct blobs *blobs, struct cloud *cloud, struct health *health, unsigned parallel)
{
  struct pull *pull = calloc (1, sizeof *pull);

  if (pull == NULL || (pull->said = said_new ()) == NULL) {
    msg_error ("out of memory");
    free (pull);
    return NULL;
  }
  pull->db = db;
  pull->blobs = blobs;
  pull->cloud = cloud;
  pull->health = health;
  pull->parallel = parallel;
  pull->arrived_tail = &pull->arrived;
  pthread_mutex_init (&pull->lock, NULL);
  pthread_cond_init (&pull->cond, NULL);
  return pull;
}

void
pull_set_cache (struct pull *pull, struct cache *cache)
{
  pull->cache = cache;
}

static void
forget_walk (struct pull *pull)
{
  for (size_t i = 0; i < pull->n_visits; ++i) {
    free (pull->visits[i].path);
    free (pull->visits[i].old_token);
    free (pull->visits[i].new_token);
  }
  for (size_t i = 0; i < pull->n_missing; ++i)
    free (pull->missing[i].path);
  free (pull->visits);
  free (pull->missing);
  free (pull->superseded);
  pull->visits = NULL;
  pull->missing = NULL;
  pull->superseded = NULL;
  pull->n_visits = pull->visits_room = pull->next_visit = 0;
  pull->n_missing = pull->missing_room = 0;
  pull->n_superseded = pull->superseded_room = 0;
}

void
pull_free (struct pull *pull)
{
  if (pull == NULL)
    return;
  forget_walk (pull);
  free (pull->fresh);
  said_free (pull->said);
  pthread_mutex_destroy (&pull->lock);
  pthread_cond_destroy (&pull->cond);
  free (pull);
}

void
pull_progress (struct pull *pull, uint64_t *ret_folders, uint64_t *ret_items)
{
  *ret_folders = atomic_load (&pull->folders);
  *ret_items = atomic_load (&pull->items);
}

void
pull_stop (struct pull *pull)
{
  LOCK_FOR_SCOPE (&pull->lock);

  atomic_store (&pull->stopping, true);
  pthread_cond_broadcast (&pull->cond);
}

/* ---- small things ---- */

/* Grows an array of the walk.  -1 after one message. */
static int
make_room (void **array, size_t n, size_t *room, size_t element)
{
  void *more;

  if (n < *room)
    return 0;
  more = realloc (*array, (*room * 2 + 64) * element);
  if (more == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  *array = more;
  *room = *room * 2 + 64;
  return 0;
}

static char *
child_path (const char *folder, const char *name)
{
  char *path;

  if (asprintf (&path, "%s%s%s", folder, folder[0] ? "/" : "", name) == -1)
    return NULL;
  return path;
}

static void
spoil (struct pull *pull, enum cloud_result result, const char *sentence)
{
  if (pull->result->result != CLOUD_OK)
    return;
  pull->result->result = result;
  snprintf (pull->result->sentence, sizeof pull->result->sentence, "%s", sentence);
}

static bool
walk_ends (const struct pull *pull)
{
  switch (pull->result->result) {
  case CLOUD_OFFLINE:
  case CLOUD_AUTH:
  case CLOUD_STOPPED:
  case CLOUD_LOCAL:
    return true;
  default:
    return atomic_load (&pull->stopping);
  }
}

static int
add_visit (struct pull *pull, int64_t id, char *path, size_t above, int depth, const char *old_token,
           const char *new_token, bool known)
{
  struct visit *visit;

  if (path == NULL ||
      make_room ((void **) &pull->visits, pull->n_visits, &pull->visits_room, sizeof *pull->visits) == -1) {
    free (path);
    return -1;
  }
  visit = &pull->visits[pull->n_visits++];
  *visit = (struct visit) { .id = id, .path = path, .above = above, .depth = depth, .known = known };
  visit->old_token = old_token ? strdup (old_token) : NULL;
  visit->new_token = new_token ? strdup (new_token) : NULL;
  return 0;
}

static int
add_missing (struct pull *pull, const struct catalog_item *known, const char *folder_path)
{
  if (make_room ((void **) &pull->missing, pull->n_missing, &pull->missing_room, sizeof *pull->missing) == -1)
    return -1;
  pull->missing[pull->n_missing] = (struct missing) {
    .id = known->id, .parent = known->parent, .path = child_path (folder_path, known->name),
  };
  return pull->missing[pull->n_missing++].path ? 0 : -1;
}

/* Whether a listing's token can be believed. */
static bool
is_settled (const struct pull *pull, const struct cloud_item *seen)
{
  return seen->is_folder || seen->settled || pull->fresh_looks >= FRESH_LOOKS;
}

/* ---- applying one listing: in a transaction ---- */

static bool
can_take (struct pull *pull, const struct listing *listing, const struct cloud_item *seen)
{
  const char *reason = NULL;

  if (listing->depth + 1 > CATALOG_MAX_DEPTH)
    reason = "it is more folders deep than can be kept";
  else if (strlen (listing->path) + 1 + strlen (seen->name) > CATALOG_MAX_PATH)
    reason = "its path is longer than can be kept";
  else if (seen->size > BLOB_MAX_RUN)
    reason = "it is larger than one file of the cache can be";
  else if (!seen->is_folder && seen->token == NULL)
    reason = "the server gives no version for it";
  if (reason && said_first_time (pull->said, listing->path, reason))
    msg_notice ("/%s: \"%s\" is left out: %s", listing->path, seen->name, reason);
  return reason == NULL;
}

static int
note_superseded (void *opaque, int64_t version)
{
  struct pull *pull = opaque;

  if (make_room ((void **) &pull->superseded, pull->n_superseded, &pull->superseded_room,
                 sizeof *pull->superseded) == -1)
    return -1;
  pull->superseded[pull->n_superseded++] = version;
  return 0;
}

/* Forgets an item.  The cache must know, before anything is evicted, that its bytes can't be fetched again. */
static int
remove_item (struct pull *pull, int64_t id)
{
  if (catalog_versions_below (pull->db, id, note_superseded, pull) == -1)
    return -1;
  return catalog_remove (pull->db, pull->revision + 1, id);
}

static int
apply_new (struct pull *pull, const struct listing *listing, size_t visit, const struct cloud_item *seen)
{
  int64_t id;

  if (!can_take (pull, listing, seen))
    return 0;
  if (!is_settled (pull, seen)) {
    pull->visits[visit].fresh = true;
    return 0;
  }
  id = catalog_add (pull->db, pull->blobs, pull->revision + 1, listing->folder, seen);
  if (id == -1)
    return -1;
  pull->dirty = true;
  pull->visits[visit].changed = true;
  if (seen->is_folder)
    return add_visit (pull, id, child_path (listing->path, seen->name), visit, listing->depth + 1, NULL, seen->token,
                      false);
  return 0;
}

static bool
same_text (const char *a, const char *b)
{
  return a == b || (a && b && strcmp (a, b) == 0);
}

static int
apply_known (struct pull *pull, const struct listing *listing, size_t visit, const struct catalog_item *known,
             const struct cloud_item *seen)
{
  const bool same = catalog_same_version (known, seen);

  if (!same && (!is_settled (pull, seen) || !can_take (pull, listing, seen))) {
    pull->visits[visit].fresh |= !is_settled (pull, seen);
    return 0;
  }
  if (!same || known->mtime.tv_sec != seen->mtime.tv_sec || known->mtime.tv_nsec != seen->mtime.tv_nsec ||
      !same_text (known->remote_id, seen->id)) {
    if (catalog_update (pull->db, pull->blobs, pull->revision + 1, known, seen) == -1)
      return -1;
    pull->dirty = true;
    if (!same) {
      pull->visits[visit].changed = true;
      if (note_superseded (pull, known->version) == -1)
        return -1;
    }
  }
  if (!known->is_folder)
    return 0;
  if (pull->kind == PULL_FRESH)
    return 0;
  if (pull->kind == PULL_CHANGED && pull->tree_tokens >= TREE_TOKENS_BELIEVED && seen->token && same_text (known->token, seen->token))
    return 0;
  return add_visit (pull, known->id, child_path (listing->path, seen->name), visit, listing->depth + 1, known->token,
                    seen->token, true);
}

static int
apply_replaced (struct pull *pull, const struct listing *listing, size_t visit, const struct catalog_item *known,
                const struct cloud_item *seen)
{
  if (!is_settled (pull, seen)) {
    pull->visits[visit].fresh = true;
    return 0;
  }
  if (remove_item (pull, known->id) == -1)
    return -1;
  return apply_new (pull, listing, visit, seen);
}

/* Both lists are sorted by name: one pass tells new, known and missing. */
static int
apply_listing (struct pull *pull, const struct listing *listing, size_t visit)
{
  struct catalog_list known;
  size_t k = 0, s = 0;
  int r = 0;

  if (catalog_children (pull->db, listing->folder, &known) == -1)
    return -1;
  while (r == 0 && (k < known.n || s < listing->n)) {
    const struct catalog_item *item = &known.items[k];
    const struct cloud_item *seen = &listing->items[s];
    const int order = k == known.n ? 1 : s == listing->n ? -1 : strcmp (item->name, seen->name);

    if (order > 0)
      r = apply_new (pull, listing, visit, seen);
    else if (order < 0)
      r = add_missing (pull, item, listing->path);
    else if (item->is_folder == seen->is_folder)
      r = apply_known (pull, listing, visit, item, seen);
    else
      r = apply_replaced (pull, listing, visit, item, seen);
    k += order <= 0;
    s += order >= 0;
  }
  catalog_list_free (&known);
  return r;
}

/* ---- renames: known by the remote's ids ---- */

/* A name that is new in its folder, but whose id is known elsewhere, was moved, if the other place has it no longer.
 * Called before the transaction, because it asks the remote.  The item's folder must not be one that it moves into. */
static int
apply_move (struct pull *pull, const struct listing *listing, const struct cloud_item *seen)
{
  CLEANUP_FREE char *old_path = NULL;
  struct catalog_list known = { 0 };
  struct listing *there = NULL;
  enum cloud_result result;
  int64_t id;
  int r = 0;

  db_read_begin (pull->db);
  id = catalog_by_remote_id (pull->db, seen->id);
  if (id > 0 && catalog_item (pull->db, id, &known) == 1)
    old_path = catalog_path (pull->db, id);
  db_read_end (pull->db);
  if (old_path == NULL || known.items[0].is_folder != seen->is_folder)
    goto out;
  if (known.items[0].parent == listing->folder && strcmp (known.items[0].name, seen->name) == 0)
    goto out;

  result = listing_stat (pull->cloud, old_path, &there);
  if (result == CLOUD_GONE || (result == CLOUD_OK && !same_text (there->items[0].id, seen->id))) {
    bool below = true;

    /* Asked of the catalog, since paths of this walk are as old as its other moves.  A folder moved into itself would be
     * off the tree for ever. */
    db_read_begin (pull->db);
    r = catalog_is_below (pull->db, listing->folder, id, &below);
    db_read_end (pull->db);
    if (r == -1 || below)
      goto out;
    msg_debug ("/%s was renamed to /%s/%s", old_path, listing->path, seen->name);
    if (db_begin (pull->db) == -1) {
      r = -1;
      goto out;
    }
    r = catalog_move (pull->db, pull->revision + 1, &known.items[0], listing->folder, seen->name);
    if (r == 0)
      r = catalog_commit_revision (pull->db, pull->revision + 1);
    r = db_end (pull->db, r);
    if (r == 0) {
      pull->revision++;
      pull->result->changed = true;
    }
  }
out:
  listing_free (there);
  catalog_list_free (&known);
  return r;
}

static int
apply_moves (struct pull *pull, const struct listing *listing)
{
  struct catalog_list known;
  size_t k = 0;
  int r;

  db_read_begin (pull->db);
  r = catalog_children (pull->db, listing->folder, &known);
  db_read_end (pull->db);
  for (size_t s = 0; r == 0 && s < listing->n; ++s) {
    while (k < known.n && strcmp (known.items[k].name, listing->items[s].name) < 0)
      k++;
    if (listing->items[s].id == NULL || (k < known.n && strcmp (known.items[k].name, listing->items[s].name) == 0))
      continue;
    if (can_take (pull, listing, &listing->items[s]))
      r = apply_move (pull, listing, &listing->items[s]);
  }
  catalog_list_free (&known);
  return r;
}

/* ---- the walk ---- */

static void
arrived (struct listing *listing, void *opaque)
{
  struct pull *pull = opaque;
  LOCK_FOR_SCOPE (&pull->lock);

  listing->next = NULL;
  *pull->arrived_tail = listing;
  pull->arrived_tail = &listing->next;
  pull->n_arrived++;
  pull->in_flight--;
  pthread_cond_signal (&pull->cond);
}

/* Keeps as many listings in flight as allowed. */
static int
start_listings (struct pull *pull)
{
  while (pull->next_visit < pull->n_visits && !walk_ends (pull)) {
    const size_t i = pull->next_visit;
    const struct visit *visit = &pull->visits[i];
    bool may;

    pthread_mutex_lock (&pull->lock);
    may = pull->in_flight < pull->parallel;
    pull->in_flight += may;
    pthread_mutex_unlock (&pull->lock);
    if (!may)
      break;
    pull->next_visit++;
    /* The listing carries the visit's index; the folder's id is looked up when it arrives. */
    if (listing_start (pull->cloud, pull->said, visit->path, 1, i, arrived, pull) == -1) {
      pthread_mutex_lock (&pull->lock);
      pull->in_flight--;
      pthread_mutex_unlock (&pull->lock);
      return -1;
    }
  }
  return 0;
}

/* Waits for listings that are worth a transaction; NULL when nothing is in flight any more. */
static struct listing *
take_arrived (struct pull *pull)
{
  LOCK_FOR_SCOPE (&pull->lock);
  const bool can_wait = pull->next_visit < pull->n_visits;
  struct listing *list;
  struct timespec until;

  while (pull->n_arrived == 0 && pull->in_flight > 0)
    pthread_cond_wait (&pull->cond, &pull->lock);

  /* While other folders wait to be asked for, these can wait for company; but the line must not run dry. */
  clock_gettime (CLOCK_REALTIME, &until);
  until.tv_nsec += BATCH_MS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  while (can_wait && pull->in_flight >= pull->parallel && pull->n_arrived < BATCH_LISTINGS)
    if (pthread_cond_timedwait (&pull->cond, &pull->lock, &until) == ETIMEDOUT)
      break;

  list = pull->arrived;
  pull->arrived = NULL;
  pull->arrived_tail = &pull->arrived;
  pull->n_arrived = 0;
  return list;
}

/* A folder that was not seen, and so those above it: the next walk must look at them again. */
static void
mark_unseen (struct pull *pull, const struct visit *visit)
{
  size_t i = visit - pull->visits;

  while (!pull->visits[i].unseen) {
    pull->visits[i].unseen = true;
    i = pull->visits[i].above;
  }
}

/* What a failed listing means for the walk.  Returns true if it is to be asked for again. */
static bool
listing_failed (struct pull *pull, struct listing *listing, struct visit *visit)
{
  const bool is_root = visit->id == CATALOG_ROOT;

  switch (listing->result) {
  case CLOUD_BUSY:
    if (visit->tries++ < BUSY_TRIES)
      return true;
    mark_unseen (pull, visit);
    spoil (pull, CLOUD_BUSY, listing->sentence);
    break;
  case CLOUD_OFFLINE:
  case CLOUD_LOCAL:
  case CLOUD_STOPPED:
    spoil (pull, listing->result, listing->sentence);
    break;
  case CLOUD_GONE:             /* between its parent's listing and its own: the next walk tells */
    mark_unseen (pull, visit);
    if (is_root)
      spoil (pull, CLOUD_GONE, listing->sentence);
    break;
  case CLOUD_AUTH:             /* of one folder, where the root lets us in: as good as denied */
  default:                     /* one folder that can't be seen keeps what is known of it, and holds up nothing else */
    mark_unseen (pull, visit);
    if (is_root)
      spoil (pull, listing->result, listing->sentence);
    else if (said_first_time (pull->said, visit->path, listing->sentence))
      msg_error ("folder /%s cannot be listed, and stays as it was: %s", visit->path, listing->sentence);
  }
  return false;
}

static void
tell_cache (struct pull *pull, bool committed)
{
  for (size_t i = 0; committed && pull->cache && i < pull->n_superseded; ++i)
    cache_supersede (pull->cache, pull->superseded[i]);
  pull->n_superseded = 0;
}

/* Applies listings in one transaction, after the renames among them. */
static int
apply_batch (struct pull *pull, struct listing *list)
{
  int r = 0;

  for (struct listing *listing = list; listing; listing = listing->next) {
    const size_t visit = listing->folder;

    if (listing->result != CLOUD_AUTH || visit == 0)
      health_report (pull->health, listing->result, listing->sentence);
    listing->depth = pull->visits[visit].depth;
    if (listing->result == CLOUD_OK) {
      pull->visits[visit].tries = 0;
      listing->folder = pull->visits[visit].id;
      if (pull->visits[visit].known && apply_moves (pull, listing) == -1)
        return -1;
      listing->folder = visit;
    }
  }

  if (db_begin (pull->db) == -1)
    return -1;
  pull->dirty = false;
  for (struct listing *listing = list; listing && r == 0; listing = listing->next) {
    const size_t visit = listing->folder;

    if (listing->result != CLOUD_OK)
      continue;
    listing->folder = pull->visits[visit].id;
    r = apply_listing (pull, listing, visit);
    atomic_fetch_add (&pull->folders, 1);
    atomic_fetch_add (&pull->items, listing->n);
    listing->folder = visit;
  }
  if (r == 0 && pull->dirty)
    r = catalog_commit_revision (pull->db, pull->revision + 1);
  r = db_end (pull->db, r);
  if (r == 0 && pull->dirty) {
    pull->revision++;
    pull->result->changed = true;
  }
  tell_cache (pull, r == 0);
  return r;
}

static int
again (struct pull *pull, size_t visit)
{
  const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000L };

  nanosleep (&pause, NULL);
  pthread_mutex_lock (&pull->lock);
  pull->in_flight++;
  pthread_mutex_unlock (&pull->lock);
  if (listing_start (pull->cloud, pull->said, pull->visits[visit].path, 1, visit, arrived, pull) == -1) {
    pthread_mutex_lock (&pull->lock);
    pull->in_flight--;
    pthread_mutex_unlock (&pull->lock);
    return -1;
  }
  return 0;
}

static int
walk (struct pull *pull)
{
  int r = start_listings (pull);

  for (;;) {
    struct listing *list = take_arrived (pull);

    if (list == NULL)
      break;
    if (r == 0 && apply_batch (pull, list) == -1)
      r = -1;
    while (list) {
      struct listing *next = list->next;
      struct visit *visit = &pull->visits[list->folder];

      if (list->result != CLOUD_OK && listing_failed (pull, list, visit) && r == 0 && !walk_ends (pull))
        r = again (pull, list->folder);
      listing_free (list);
      list = next;
    }
    if (r == 0)
      r = start_listings (pull);
  }
  return r;
}

/* ---- what is gone ---- */

/* In a transaction. */
static int
remove_missing (struct pull *pull, const struct missing *missing)
{
  struct catalog_list known;
  CLEANUP_FREE char *path = NULL;
  int r = catalog_item (pull->db, missing->id, &known);

  if (r != 1)
    return r;
  catalog_list_free (&known);
  path = catalog_path (pull->db, missing->id);
  /* Renamed meanwhile, itself or a folder above it: then it is where it is now. */
  if (path == NULL || strcmp (path, missing->path) != 0)
    return 0;
  pull->dirty = true;
  return remove_item (pull, missing->id);
}

/* Drops the items of these answers that are gone, in one transaction. */
static int
apply_missing (struct pull *pull, const struct listing *list)
{
  int r = 0;

  if (db_begin (pull->db) == -1)
    return -1;
  pull->dirty = false;
  for (; list && r == 0; list = list->next)
    if (list->result == CLOUD_GONE || (list->result == CLOUD_OK && list->n == 0))
      r = remove_missing (pull, &pull->missing[list->folder]);
  if (r == 0 && pull->dirty)
    r = catalog_commit_revision (pull->db, pull->revision + 1);
  r = db_end (pull->db, r);
  if (r == 0 && pull->dirty) {
    pull->revision++;
    pull->result->changed = true;
  }
  tell_cache (pull, r == 0);
  return r;
}

/* Asks for each item that a listing no longer showed, and drops those that are gone. */
static int
confirm_missing (struct pull *pull)
{
  size_t next = 0, n_kept = 0;

  for (;;) {
    struct listing *list;
    bool may = true;

    while (next < pull->n_missing && may && !walk_ends (pull)) {
      pthread_mutex_lock (&pull->lock);
      may = pull->in_flight < pull->parallel;
      pull->in_flight += may;
      pthread_mutex_unlock (&pull->lock);
      if (may && listing_start (pull->cloud, pull->said, pull->missing[next].path, 0, next, arrived, pull) == -1) {
        pthread_mutex_lock (&pull->lock);
        pull->in_flight--;
        pthread_mutex_unlock (&pull->lock);
        spoil (pull, CLOUD_LOCAL, "out of memory");
      }
      next += may;
    }
    list = take_arrived (pull);
    if (list == NULL)
      break;
    if (apply_missing (pull, list) == -1)
      spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
    while (list) {
      struct listing *following = list->next;

      if (list->result == CLOUD_OK && list->n > 0)
        n_kept++;
      else if (list->result != CLOUD_OK && list->result != CLOUD_GONE) {
        health_report (pull->health, list->result, list->sentence);
        spoil (pull, list->result, list->sentence);
      }
      listing_free (list);
      list = following;
    }
  }
  if (n_kept > 0 && said_first_time (pull->said, "", "kept"))
    msg_notice ("%s: %zu items were missing in a listing, but are there when asked for by name: they are kept",
                pull->cloud->identity, n_kept);
  return 0;
}

/* ---- folder tokens ---- */

/* Learns from this walk whether a folder's token changes with what is below it: looks at changes that were found one or
 * more folders below a folder whose token is known from before and from now. */
static void
learn_tree_tokens (struct pull *pull)
{
  bool evidence = false;

  if (pull->tree_tokens == TREE_TOKENS_NEVER)
    return;
  for (size_t i = 1; i < pull->n_visits; ++i) {
    if (!pull->visits[i].changed || !pull->visits[i].known)
      continue;
    for (size_t a = pull->visits[i].above; a != 0; a = pull->visits[a].above) {
      const struct visit *above = &pull->visits[a];
      struct listing *now = NULL;

      if (above->old_token == NULL || above->new_token == NULL)
        continue;
      if (strcmp (above->old_token, above->new_token) != 0) {
        evidence = true;
        continue;
      }
      /* The token may have been read just before the change; asked again it must be another one. */
      if (listing_stat (pull->cloud, above->path, &now) != CLOUD_OK)
        continue;
      if (same_text (now->items[0].token, above->old_token)) {
        listing_free (now);
        pull->tree_tokens = TREE_TOKENS_NEVER;
        return;
      }
      evidence = true;
      listing_free (now);
    }
  }
  if (evidence && pull->tree_tokens < TREE_TOKENS_BELIEVED) {
    pull->tree_tokens++;
    if (pull->tree_tokens == TREE_TOKENS_BELIEVED)
      msg_debug ("%s: folder tokens change with what is below them: unchanged folders are skipped from now on",
                 pull->cloud->identity);
  }
}

/* Keeps the tokens of folders that were listed whole.  Last, so that a walk that was cut short is walked again. */
static int
keep_tokens (struct pull *pull)
{
  const int64_t before = pull->tree_tokens;
  int r = 0;

  learn_tree_tokens (pull);
  if (db_begin (pull->db) == -1)
    return -1;
  if (before != pull->tree_tokens)
    r = db_set_int (pull->db, "tree_tokens", pull->tree_tokens);
  for (size_t i = 1; i < pull->n_visits && r == 0; ++i)
    if (pull->visits[i].new_token && !pull->visits[i].unseen && !same_text (pull->visits[i].old_token, pull->visits[i].new_token))
      r = catalog_set_token (pull->db, pull->visits[i].id, pull->visits[i].new_token);
  return db_end (pull->db, r);
}

static int
depth_of (const char *path)
{
  int depth = *path != '\0';

  for (; *path; ++path)
    depth += *path == '/';
  return depth;
}

/* Begins with the folders that the last walk saw fresh items in. */
static int
begin_with_fresh (struct pull *pull)
{
  for (size_t i = 0; i < pull->n_fresh; ++i) {
    char *path;

    db_read_begin (pull->db);
    path = catalog_path (pull->db, pull->fresh[i]);
    db_read_end (pull->db);
    /* A folder that is gone by now is not looked at. */
    if (path && add_visit (pull, pull->fresh[i], path, 0, depth_of (path), NULL, NULL, true) == -1)
      return -1;
  }
  return 0;
}

/* Remembers which folders to look at again. */
static void
keep_fresh (struct pull *pull)
{
  pull->n_fresh = 0;
  for (size_t i = 0; i < pull->n_visits; ++i) {
    if (!pull->visits[i].fresh)
      continue;
    if (make_room ((void **) &pull->fresh, pull->n_fresh, &pull->fresh_room, sizeof *pull->fresh) == -1)
      break;
    pull->fresh[pull->n_fresh++] = pull->visits[i].id;
  }
  pull->fresh_looks = pull->n_fresh > 0 ? pull->fresh_looks + 1 : 0;
  pull->result->unsettled = pull->n_fresh > 0;
}

/* Where the root has an identity, it must be the one that it had: an empty mount point, or a folder put in the place of
 * another, would make everything look deleted. */
static int
check_root (struct pull *pull)
{
  CLEANUP_FREE char *bound = NULL;
  struct listing *root = NULL;
  const char *id;
  bool error;
  int r = 0;

  /* A root that can't be asked for is told by its listing. */
  if (listing_stat (pull->cloud, "", &root) != CLOUD_OK || (id = root->items[0].id) == NULL) {
    listing_free (root);
    return 0;
  }
  db_read_begin (pull->db);
  bound = db_get_text (pull->db, "root_id", &error);
  db_read_end (pull->db);
  if (error)
    r = -1;
  else if (bound == NULL)
    r = db_begin (pull->db) == -1 ? -1 : db_end (pull->db, db_set_text (pull->db, "root_id", id));
  else if (strcmp (bound, id) != 0)
    spoil (pull, CLOUD_BAD, "this is another folder than before, so nothing of it is believed: is its disk mounted?  If the"
           " folder was replaced on purpose, start with a new cache folder (cache=DIR)");
  listing_free (root);
  return r;
}

void
pull_run (struct pull *pull, enum pull_kind kind, struct pull_result *ret)
{
  int r;

  memset (ret, 0, sizeof *ret);
  pull->result = ret;
  pull->kind = kind;
  atomic_store (&pull->folders, 0);
  atomic_store (&pull->items, 0);

  db_read_begin (pull->db);
  r = catalog_revision (pull->db, &pull->revision);
  pull->tree_tokens = 0;
  if (r == 0 && db_get_int (pull->db, "tree_tokens", &pull->tree_tokens) == -1)
    r = -1;
  db_read_end (pull->db);

  if (r == 0 && kind != PULL_FRESH)
    r = check_root (pull);
  if (r == 0 && ret->result == CLOUD_OK)
    r = kind == PULL_FRESH ? begin_with_fresh (pull)
                           : add_visit (pull, CATALOG_ROOT, strdup (""), 0, 0, NULL, NULL, true);
  if (r == 0)
    r = walk (pull);
  if (r == -1)
    spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
  if (!walk_ends (pull))
    confirm_missing (pull);
  keep_fresh (pull);
  /* An item too fresh to be believed must be looked at again, whatever the folder's token says. */
  if (ret->result == CLOUD_OK && !ret->unsettled && kind != PULL_FRESH && keep_tokens (pull) == -1)
    spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
  if (atomic_load (&pull->stopping))
    spoil (pull, CLOUD_STOPPED, "stopped");

  ret->folders = atomic_load (&pull->folders);
  ret->items = atomic_load (&pull->items);
  forget_walk (pull);
}
