/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: what one listing of a folder means for the catalog. */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blobs.h"
#include "cache.h"
#include "change.h"
#include "cleanup.h"
#include "db.h"
#include "listing.h"
#include "msg.h"
#include "pull-match.h"
#include "pull-private.h"
#include "push.h"
#include "said.h"

/* An item that is written all the time never settles; after so many looks it is taken as it is. */
#define FRESH_LOOKS 30

/* ---- transactions ---- */

static int
note_superseded (void *opaque, int64_t version)
{
  struct pull *pull = opaque;

  if (pull_make_room ((void **) &pull->superseded, pull->n_superseded, &pull->superseded_room,
                      sizeof *pull->superseded) == -1)
    return -1;
  pull->superseded[pull->n_superseded++] = version;
  return 0;
}

static int
any_changes (struct pull *pull, bool *ret)
{
  sqlite3_stmt *stmt = db_stmt (pull->db, "SELECT 1 FROM change LIMIT 1");
  const int r = stmt ? db_row (stmt) : -1;

  if (r == 1)
    sqlite3_reset (stmt);
  *ret = r == 1;
  return r == -1 ? -1 : 0;
}

int
pull_begin (struct pull *pull)
{
  bool any;

  if (db_begin (pull->db) == -1)
    return -1;
  pull->merge = (struct merge) {
    .db = pull->db, .blobs = pull->blobs, .now = time (NULL), .superseded = note_superseded, .opaque = pull,
  };
  /* Views make revisions as well. */
  if (any_changes (pull, &any) == -1 || catalog_revision (pull->db, &pull->revision) == -1) {
    db_end (pull->db, -1);
    return -1;
  }
  pull->merge.none = !any;
  pull->merge.revision = pull->revision + 1;
  return 0;
}

int
pull_end (struct pull *pull, int ok)
{
  int r = ok;

  if (r == 0 && pull->merge.changed)
    r = catalog_commit_revision (pull->db, pull->merge.revision);
  r = db_end (pull->db, r);
  if (r == 0 && pull->merge.changed) {
    pull->revision++;
    pull->result->changed = true;
  }
  /* The cache must know, before anything is evicted, what can't be fetched again. */
  for (size_t i = 0; r == 0 && pull->cache && i < pull->n_superseded; ++i)
    cache_supersede (pull->cache, pull->superseded[i]);
  pull->n_superseded = 0;
  if (r == 0 && pull->merge.waits && pull->push)
    push_ring (pull->push);
  return r;
}

/* ---- a listing ---- */

/* Whether a listing's token can be believed. */
static bool
is_settled (const struct pull *pull, const struct cloud_item *seen)
{
  return seen->is_folder || seen->settled || pull->fresh_looks >= FRESH_LOOKS;
}

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

bool
pull_is_kept (const struct pull *pull, int64_t item)
{
  for (size_t i = 0; i < pull->n_kept; ++i)
    if (pull->kept[i] == item)
      return true;
  return false;
}

static int
apply_new (struct pull *pull, const struct listing *listing, size_t visit, const struct cloud_item *seen)
{
  int64_t id = seen->id && pull->n_kept > 0 ? catalog_by_remote_id (pull->db, seen->id) : 0;

  if (id == -1)
    return -1;
  if (id && pull_is_kept (pull, id)) {
    pull->visits[visit].again = true;
    return 0;
  }
  if (!can_take (pull, listing, seen))
    return 0;
  if (merge_new (&pull->merge, pull->visits[visit].id, seen, SAME_UNKNOWN, &id) == -1)
    return -1;
  pull->visits[visit].changed = true;
  if (id == 0)
    pull->visits[visit].again = true;
  if (id == 0 || !seen->is_folder)
    return 0;
  return pull_add_visit (pull, id, pull_child_path (listing->path, seen->name), visit, listing->depth + 1, NULL,
                         seen->token, false);
}

/* A folder that was there before: whether to look into it. */
static int
go_below (struct pull *pull, const struct listing *listing, size_t visit, const struct catalog_item *known,
          const struct cloud_item *seen)
{
  if (pull->kind == PULL_FRESH || pull->kind == PULL_HINTED)
    return 0;
  if (pull->kind == PULL_CHANGED && pull_tokens_believed (pull) && seen->token &&
      match_text (known->token, seen->token))
    return 0;
  return pull_add_visit (pull, known->id, pull_child_path (listing->path, seen->name), visit, listing->depth + 1,
                         known->token, seen->token, true);
}

/* known or seen may be NULL. */
static int
apply_item (struct pull *pull, const struct listing *listing, size_t visit, const struct catalog_item *known,
            const struct cloud_item *seen)
{
  struct cloud_item with_known_time;
  enum match match;
  int r = 0;

  if (known && seen && seen->arrival && catalog_same_version (known, seen)) {
    with_known_time = *seen;
    with_known_time.mtime = known->mtime;
    seen = &with_known_time;
  }
  match = match_items (known, seen, seen && is_settled (pull, seen));

  /* What a listing says of an item that a request of ours was about meanwhile is neither old nor new. */
  if (match != MATCH_SAME && push_touched (pull->push, pull->visits[visit].id, known ? known->name : seen->name,
                                           pull->visits[visit].since)) {
    pull->visits[visit].again = true;
    return 0;
  }

  switch (match) {
  case MATCH_MISSING:
    return pull_add_missing (pull, known, visit);
  case MATCH_FRESH:            /* what can't be taken need not be looked at again */
    pull->visits[visit].fresh |= known || can_take (pull, listing, seen);
    return 0;
  case MATCH_NEW:
    return apply_new (pull, listing, visit, seen);
  case MATCH_REPLACED:
    return merge_gone (&pull->merge, known->id) == -1 ? -1 : apply_new (pull, listing, visit, seen);
  case MATCH_CHANGED:
    if (!can_take (pull, listing, seen))
      return 0;
    pull->visits[visit].changed = true;
    return merge_known (&pull->merge, known, seen, SAME_UNKNOWN);
  case MATCH_TOUCHED:
    r = merge_known (&pull->merge, known, seen, SAME_UNKNOWN);
    break;
  case MATCH_SAME:
    break;
  }
  return r == 0 && known->is_folder ? go_below (pull, listing, visit, known, seen) : r;
}

/* Whether the listing is of the folder that the catalog has at that path, and was while it was made.  1 or 0. */
static int
is_of_folder (struct pull *pull, const struct listing *listing, size_t visit)
{
  CLEANUP_FREE char *path = NULL;
  const struct visit *v = &pull->visits[visit];

  if (pull->push == NULL || v->id == CATALOG_ROOT)
    return 1;
  path = catalog_remote_path (pull->db, v->id);
  if (path && strcmp (path, listing->path) == 0 && !push_touched (pull->push, v->id, NULL, v->since))
    return 1;
  pull->visits[visit].again = path != NULL;
  return 0;
}

/* Both lists are sorted by name: one pass tells new, known and missing. */
int
pull_apply_listing (struct pull *pull, const struct listing *listing, size_t visit)
{
  struct catalog_list known;
  size_t k = 0, s = 0;
  int r;

  r = is_of_folder (pull, listing, visit);
  if (r != 1)
    return r;
  if (catalog_remote_children (pull->db, pull->visits[visit].id, &known) == -1)
    return -1;
  r = 0;
  while (r == 0 && (k < known.n || s < listing->n)) {
    const struct catalog_item *item = &known.items[k];
    const struct cloud_item *seen = &listing->items[s];
    const int order = k == known.n ? 1 : s == listing->n ? -1 : strcmp (item->name, seen->name);

    r = apply_item (pull, listing, visit, order <= 0 ? item : NULL, order >= 0 ? seen : NULL);
    k += order <= 0;
    s += order >= 0;
  }
  catalog_list_free (&known);
  return r;
}

/* ---- renames: known by the remote's ids ---- */

/* Reads the item with that remote id, if there is one, and where it is.  1 if there is. */
static int
find_known (struct pull *pull, const char *remote_id, struct catalog_list *ret, char **ret_path)
{
  int64_t id;

  db_read_begin (pull->db);
  id = catalog_by_remote_id (pull->db, remote_id);
  if (id > 0 && catalog_remote_item (pull->db, id, ret) == 1)
    *ret_path = catalog_remote_path (pull->db, id);
  db_read_end (pull->db);
  return *ret_path != NULL;
}

/* In a transaction. */
static int
move_known (struct pull *pull, const struct catalog_item *known, const char *old_path, const struct listing *listing,
            size_t visit, const struct cloud_item *seen)
{
  const int64_t folder = pull->visits[visit].id;
  CLEANUP_FREE char *now = catalog_remote_path (pull->db, known->id), *path = catalog_remote_path (pull->db, folder);
  const size_t n = strlen (old_path);
  int64_t taken;
  int open;

  /* Asked of the catalog, since paths of this walk are as old as its other moves.  A folder moved into itself would be off
   * the tree for ever. */
  if (now == NULL || path == NULL || strcmp (now, old_path) != 0 ||
      (strncmp (path, old_path, n) == 0 && (path[n] == '/' || path[n] == '\0')))
    return 0;
  taken = catalog_remote_child (pull->db, folder, seen->name);
  if (taken != 0)
    return taken == -1 ? -1 : 0;
  open = change_is_open (pull->db, known->id);
  if (open == -1)
    return -1;
  if (open || push_touched (pull->push, known->parent, known->name, pull->visits[visit].since) ||
      push_touched (pull->push, folder, seen->name, pull->visits[visit].since)) {
    pull->visits[visit].again = true;
    if (pull_make_room ((void **) &pull->kept, pull->n_kept, &pull->kept_room, sizeof *pull->kept) == -1)
      return -1;
    pull->kept[pull->n_kept++] = known->id;
    return 0;
  }
  msg_debug ("/%s was renamed to /%s/%s", old_path, listing->path, seen->name);
  return merge_moved (&pull->merge, known->id, folder, seen->name);
}

/* A name that is new in its folder, but whose id is known elsewhere, was moved, if the other place has it no longer. */
static int
apply_move (struct pull *pull, const struct listing *listing, size_t visit, const struct cloud_item *seen)
{
  CLEANUP_FREE char *old_path = NULL;
  struct catalog_list known = { 0 };
  struct listing *there = NULL;
  enum cloud_result result;
  int r = 0;

  if (!find_known (pull, seen->id, &known, &old_path) ||
      !match_may_be_moved (&known.items[0], pull->visits[visit].id, seen))
    goto out;
  result = listing_stat (pull->cloud, old_path, &there);
  if (!match_has_left (result, there ? &there->items[0] : NULL, seen))
    goto out;
  r = pull_begin (pull);
  if (r == 0)
    r = pull_end (pull, move_known (pull, &known.items[0], old_path, listing, visit, seen));
out:
  listing_free (there);
  catalog_list_free (&known);
  return r;
}

int
pull_apply_moves (struct pull *pull, const struct listing *listing, size_t visit)
{
  const int64_t folder = pull->visits[visit].id;
  struct catalog_list known;
  size_t k = 0;
  int r;

  db_read_begin (pull->db);
  r = catalog_remote_children (pull->db, folder, &known);
  db_read_end (pull->db);
  for (size_t s = 0; r == 0 && s < listing->n; ++s) {
    while (k < known.n && strcmp (known.items[k].name, listing->items[s].name) < 0)
      k++;
    if (listing->items[s].id == NULL || (k < known.n && strcmp (known.items[k].name, listing->items[s].name) == 0))
      continue;
    if (can_take (pull, listing, &listing->items[s]))
      r = apply_move (pull, listing, visit, &listing->items[s]);
  }
  catalog_list_free (&known);
  return r;
}
