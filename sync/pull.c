/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: the walk over the remote's tree. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "db.h"
#include "health.h"
#include "listing.h"
#include "msg.h"
#include "pull-private.h"
#include "push.h"
#include "said.h"

/* Listings are applied together, so that one fsync serves many, unless the walk would have to wait for their
 * folders. */
#define BATCH_LISTINGS 64
#define BATCH_MS 200

/* A folder that the remote is too busy to list. */
#define BUSY_TRIES 3
#define BUSY_PAUSE_MS 500

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

void
pull_set_push (struct pull *pull, struct push *push)
{
  pull->push = push;
}

uint64_t
pull_clock (struct pull *pull)
{
  return pull->push ? push_clock (pull->push) : 0;
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
  free (pull->kept);
  pull->visits = NULL;
  pull->missing = NULL;
  pull->superseded = NULL;
  pull->kept = NULL;
  pull->n_visits = pull->visits_room = pull->next_visit = 0;
  pull->n_missing = pull->missing_room = 0;
  pull->n_superseded = pull->superseded_room = 0;
  pull->n_kept = pull->kept_room = 0;
}

static void
forget_hints (struct pull *pull)
{
  for (size_t i = 0; i < pull->n_hints; ++i)
    free (pull->hints[i]);
  pull->n_hints = 0;
}

void
pull_free (struct pull *pull)
{
  if (pull == NULL)
    return;
  forget_walk (pull);
  forget_hints (pull);
  free (pull->hints);
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

int
pull_make_room (void **array, size_t n, size_t *room, size_t element)
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

char *
pull_child_path (const char *folder, const char *name)
{
  char *path;

  if (asprintf (&path, "%s%s%s", folder, folder[0] ? "/" : "", name) == -1)
    return NULL;
  return path;
}

/* Whether there is no point in asking for anything else. */
static bool
ends_all (enum cloud_result result)
{
  return result == CLOUD_OFFLINE || result == CLOUD_AUTH || result == CLOUD_STOPPED || result == CLOUD_LOCAL;
}

void
pull_spoil (struct pull *pull, enum cloud_result result, const char *sentence)
{
  if (pull->result->result != CLOUD_OK && (ends_all (pull->result->result) || !ends_all (result)))
    return;
  pull->result->result = result;
  snprintf (pull->result->sentence, sizeof pull->result->sentence, "%s", sentence);
}

bool
pull_ends (const struct pull *pull)
{
  return ends_all (pull->result->result) || atomic_load (&pull->stopping);
}

int
pull_add_visit (struct pull *pull, int64_t id, char *path, size_t above, int depth, const char *old_token,
                const char *new_token, bool known)
{
  struct visit *visit;

  if (path == NULL ||
      pull_make_room ((void **) &pull->visits, pull->n_visits, &pull->visits_room, sizeof *pull->visits) == -1) {
    free (path);
    return -1;
  }
  visit = &pull->visits[pull->n_visits++];
  *visit = (struct visit) { .id = id, .path = path, .above = above, .depth = depth, .known = known };
  visit->old_token = old_token ? strdup (old_token) : NULL;
  visit->new_token = new_token ? strdup (new_token) : NULL;
  return 0;
}

/* ---- requests ---- */

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
  /* Whether CLOUD_AUTH ends the walk depends on whose it is: who looks at the answer knows. */
  if (listing->result != CLOUD_AUTH && ends_all (listing->result))
    pull->cut_short = true;
  pthread_cond_signal (&pull->cond);
}

/* Where a remote answers before the request returns, what counts is not what is in flight but what has arrived: that must
 * be looked at before more is asked for. */
int
pull_send (struct pull *pull, const char *path, int depth, size_t index)
{
  bool may;

  pthread_mutex_lock (&pull->lock);
  may = pull->in_flight < pull->parallel && pull->n_arrived < BATCH_LISTINGS && !pull->cut_short;
  pull->in_flight += may;
  pthread_mutex_unlock (&pull->lock);
  if (!may)
    return 0;
  if (listing_start (pull->cloud, pull->said, path, depth, index, arrived, pull) == -1) {
    pthread_mutex_lock (&pull->lock);
    pull->in_flight--;
    pthread_mutex_unlock (&pull->lock);
    return -1;
  }
  return 1;
}

struct listing *
pull_take_arrived (struct pull *pull, bool more)
{
  LOCK_FOR_SCOPE (&pull->lock);
  struct listing *list;
  struct timespec until;

  while (pull->n_arrived == 0 && pull->in_flight > 0)
    pthread_cond_wait (&pull->cond, &pull->lock);

  /* While other folders wait to be asked for, these can wait for company; but the line must not run dry. */
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += BATCH_MS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  while (more && pull->in_flight >= pull->parallel && pull->n_arrived < BATCH_LISTINGS)
    if (pthread_cond_clockwait (&pull->cond, &pull->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
      break;

  list = pull->arrived;
  pull->arrived = NULL;
  pull->arrived_tail = &pull->arrived;
  pull->n_arrived = 0;
  return list;
}

/* ---- the walk ---- */

/* Keeps as many listings in flight as allowed. */
static int
start_listings (struct pull *pull)
{
  int r = 1;

  while (r == 1 && pull->next_visit < pull->n_visits && !pull_ends (pull)) {
    pull->visits[pull->next_visit].since = pull_clock (pull);
    r = pull_send (pull, pull->visits[pull->next_visit].path, 1, pull->next_visit);
    pull->next_visit += r == 1;
  }
  return r == -1 ? -1 : 0;
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

/* ---- hints ---- */

static int
depth_of (const char *path)
{
  int depth = *path != '\0';

  for (; *path; ++path)
    depth += *path == '/';
  return depth;
}

static int
add_hinted (struct pull *pull, int64_t id)
{
  CLEANUP_FREE char *path = NULL;

  for (size_t i = 0; i < pull->n_visits; ++i)
    if (pull->visits[i].id == id)
      return 0;
  db_read_begin (pull->db);
  path = id == CATALOG_ROOT ? strdup ("") : catalog_remote_path (pull->db, id);
  db_read_end (pull->db);
  return path == NULL ? 0 : pull_add_visit (pull, id, strdup (path), 0, depth_of (path), NULL, NULL, true);
}

/* A folder that is gone is seen to be gone in the one above it. */
static int
add_visit_above (struct pull *pull, size_t visit)
{
  struct catalog_list known;
  int64_t above = 0;

  db_read_begin (pull->db);
  if (catalog_remote_item (pull->db, pull->visits[visit].id, &known) == 1) {
    above = known.items[0].parent;
    catalog_list_free (&known);
  }
  db_read_end (pull->db);
  return above > 0 ? add_hinted (pull, above) : 0;
}

/* The folder at a path, or the lowest known one above it. */
static int64_t
folder_at (struct pull *pull, const char *path)
{
  CLEANUP_FREE char *copy = strdup (path);
  int64_t folder = CATALOG_ROOT;
  char *rest = copy, *name;

  db_read_begin (pull->db);
  while ((name = strsep (&rest, "/"))) {
    const int64_t child = *name ? catalog_remote_child (pull->db, folder, name) : folder;
    struct catalog_list known;
    bool is_folder = child == CATALOG_ROOT;

    if (child > 0 && catalog_remote_item (pull->db, child, &known) == 1) {
      is_folder = known.items[0].is_folder;
      catalog_list_free (&known);
    }
    if (!is_folder)
      break;
    folder = child;
  }
  db_read_end (pull->db);
  return folder;
}

int
pull_hint (struct pull *pull, const char *path)
{
  char *copy;

  if (pull_make_room ((void **) &pull->hints, pull->n_hints, &pull->hints_room, sizeof *pull->hints) == -1)
    return -1;
  copy = strdup (path);
  if (copy == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  pull->hints[pull->n_hints++] = copy;
  return 0;
}

static int
begin_with_hints (struct pull *pull)
{
  int r = 0;

  for (size_t i = 0; i < pull->n_hints && r == 0; ++i)
    r = add_hinted (pull, folder_at (pull, pull->hints[i]));
  forget_hints (pull);
  return r;
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
    pull_spoil (pull, CLOUD_BUSY, listing->sentence);
    break;
  case CLOUD_OFFLINE:
  case CLOUD_LOCAL:
  case CLOUD_STOPPED:
    pull_spoil (pull, listing->result, listing->sentence);
    break;
  case CLOUD_GONE:             /* between its parent's listing and its own: the next walk tells */
    mark_unseen (pull, visit);
    if (pull->kind == PULL_HINTED && !is_root && add_visit_above (pull, listing->folder) == -1)
      pull_spoil (pull, CLOUD_LOCAL, "out of memory");
    if (is_root)
      pull_spoil (pull, CLOUD_GONE, listing->sentence);
    break;
  case CLOUD_AUTH:             /* of one folder, where the root lets us in: as good as denied */
  default:                     /* one folder that can't be seen keeps what is known of it, and holds up nothing else */
    mark_unseen (pull, visit);
    if (is_root)
      pull_spoil (pull, listing->result, listing->sentence);
    else if (said_first_time (pull->said, visit->path, listing->sentence))
      msg_error ("folder /%s cannot be listed, and stays as it was: %s", visit->path, listing->sentence);
  }
  return false;
}

/* Applies listings in one transaction, after the renames among them. */
static int
apply_batch (struct pull *pull, struct listing *list)
{
  int r = 0;

  for (struct listing *listing = list; listing; listing = listing->next) {
    struct visit *visit = &pull->visits[listing->folder];

    if (listing->result != CLOUD_AUTH || listing->folder == 0)
      health_report (pull->health, listing->result, listing->sentence);
    listing->depth = visit->depth;
    if (listing->result != CLOUD_OK)
      continue;
    visit->tries = 0;
    /* Also into a folder that is new; but there is nothing to be moved while everything is. */
    if (!pull->first && pull_apply_moves (pull, listing, listing->folder) == -1)
      return -1;
  }

  if (pull_begin (pull) == -1)
    return -1;
  for (struct listing *listing = list; listing && r == 0; listing = listing->next) {
    if (listing->result != CLOUD_OK)
      continue;
    r = pull_apply_listing (pull, listing, listing->folder);
    atomic_fetch_add (&pull->folders, 1);
    atomic_fetch_add (&pull->items, listing->n);
  }
  return pull_end (pull, r);
}

static int
again (struct pull *pull, size_t visit)
{
  const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000L };

  nanosleep (&pause, NULL);
  pull->visits[visit].since = pull_clock (pull);
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
    struct listing *list = pull_take_arrived (pull, pull->next_visit < pull->n_visits);

    if (list == NULL)
      break;
    if (r == 0 && apply_batch (pull, list) == -1)
      r = -1;
    while (list) {
      struct listing *next = list->next;
      struct visit *visit = &pull->visits[list->folder];

      if (list->result != CLOUD_OK && listing_failed (pull, list, visit) && r == 0 && !pull_ends (pull))
        r = again (pull, list->folder);
      listing_free (list);
      list = next;
    }
    if (r == 0)
      r = start_listings (pull);
  }
  return r;
}

/* ---- fresh items ---- */

/* Begins with the folders that the last walk saw fresh items in. */
static int
begin_with_fresh (struct pull *pull)
{
  for (size_t i = 0; i < pull->n_fresh; ++i) {
    char *path;

    db_read_begin (pull->db);
    path = catalog_remote_path (pull->db, pull->fresh[i]);
    db_read_end (pull->db);
    /* A folder that is gone by now is not looked at. */
    if (path && pull_add_visit (pull, pull->fresh[i], path, 0, depth_of (path), NULL, NULL, true) == -1)
      return -1;
  }
  return 0;
}

static void
drop_visited (struct pull *pull)
{
  size_t n = 0;

  for (size_t f = 0; f < pull->n_fresh; ++f) {
    size_t i = 0;

    while (i < pull->n_visits && (pull->visits[i].id != pull->fresh[f] || pull->visits[i].unseen))
      i++;
    if (i == pull->n_visits)
      pull->fresh[n++] = pull->fresh[f];
  }
  pull->n_fresh = n;
}

/* Remembers which folders to look at again. */
static void
keep_fresh (struct pull *pull)
{
  bool fresh = false;

  /* A walk that looked elsewhere has nothing to say of the others. */
  if (pull->kind == PULL_HINTED)
    drop_visited (pull);
  else
    pull->n_fresh = 0;
  for (size_t i = 0; i < pull->n_visits; ++i) {
    if (!pull->visits[i].fresh && !pull->visits[i].again)
      continue;
    fresh |= pull->visits[i].fresh;
    if (pull_make_room ((void **) &pull->fresh, pull->n_fresh, &pull->fresh_room, sizeof *pull->fresh) == -1)
      break;
    pull->fresh[pull->n_fresh++] = pull->visits[i].id;
  }
  if (pull->kind != PULL_HINTED)
    pull->fresh_looks = fresh ? pull->fresh_looks + 1 : 0;
  pull->result->unsettled = pull->n_fresh > 0;
}

/* ---- the whole ---- */

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
    pull_spoil (pull, CLOUD_BAD, "this is another folder than before, so nothing of it is believed: is its disk"
                " mounted?  If the folder was replaced on purpose, start with a new cache folder (cache=DIR)");
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
  pull->cut_short = false;

  db_read_begin (pull->db);
  r = catalog_revision (pull->db, &pull->revision);
  pull->first = pull->revision == 0;
  pull->tree_tokens = 0;
  if (r == 0 && db_get_int (pull->db, "tree_tokens", &pull->tree_tokens) == -1)
    r = -1;
  db_read_end (pull->db);

  if (r == 0 && kind != PULL_FRESH && kind != PULL_HINTED)
    r = check_root (pull);
  if (r == 0 && ret->result == CLOUD_OK)
    r = kind == PULL_FRESH ? begin_with_fresh (pull)
        : kind == PULL_HINTED ? begin_with_hints (pull)
                              : pull_add_visit (pull, CATALOG_ROOT, strdup (""), 0, 0, NULL, NULL, true);
  if (r == 0)
    r = walk (pull);
  if (r == -1)
    pull_spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
  if (!pull_ends (pull))
    pull_confirm_missing (pull);
  keep_fresh (pull);
  /* An item too fresh to be believed must be looked at again, whatever the folder's token says. */
  if (ret->result == CLOUD_OK && !ret->unsettled && kind != PULL_FRESH && kind != PULL_HINTED &&
      pull_keep_tokens (pull) == -1)
    pull_spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
  if (atomic_load (&pull->stopping))
    pull_spoil (pull, CLOUD_STOPPED, "stopped");

  ret->folders = atomic_load (&pull->folders);
  ret->items = atomic_load (&pull->items);
  forget_walk (pull);
}
