/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: what one listing of a folder means for the catalog. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "cleanup.h"
#include "db.h"
#include "listing.h"
#include "msg.h"
#include "pull-match.h"
#include "pull-private.h"
#include "said.h"

/* An item that is written all the time never settles; after so many looks it is taken as it is. */
#define FRESH_LOOKS 30

/* ---- transactions ---- */

int
pull_begin (struct pull *pull)
{
  pull->dirty = false;
  return db_begin (pull->db);
}

int
pull_end (struct pull *pull, int ok)
{
  int r = ok;

  if (r == 0 && pull->dirty)
    r = catalog_commit_revision (pull->db, pull->revision + 1);
  r = db_end (pull->db, r);
  if (r == 0 && pull->dirty) {
    pull->revision++;
    pull->result->changed = true;
  }
  for (size_t i = 0; r == 0 && pull->cache && i < pull->n_superseded; ++i)
    cache_supersede (pull->cache, pull->superseded[i]);
  pull->n_superseded = 0;
  return r;
}

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

/* The cache must know, before anything is evicted, that the bytes can't be fetched again. */
int
pull_remove (struct pull *pull, int64_t id)
{
  if (catalog_versions_below (pull->db, id, note_superseded, pull) == -1)
    return -1;
  pull->dirty = true;
  return catalog_remove (pull->db, pull->revision + 1, id);
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

static int
apply_new (struct pull *pull, const struct listing *listing, size_t visit, const struct cloud_item *seen)
{
  int64_t id;

  if (!can_take (pull, listing, seen))
    return 0;
  id = catalog_add (pull->db, pull->blobs, pull->revision + 1, pull->visits[visit].id, seen);
  if (id == -1)
    return -1;
  pull->dirty = true;
  pull->visits[visit].changed = true;
  if (seen->is_folder)
    return pull_add_visit (pull, id, pull_child_path (listing->path, seen->name), visit, listing->depth + 1, NULL,
                           seen->token, false);
  return 0;
}

static int
apply_update (struct pull *pull, size_t visit, const struct catalog_item *known, const struct cloud_item *seen,
              bool changed)
{
  if (catalog_update (pull->db, pull->blobs, pull->revision + 1, known, seen) == -1)
    return -1;
  pull->dirty = true;
  pull->visits[visit].changed |= changed;
  return changed ? note_superseded (pull, known->version) : 0;
}

/* A folder that was there before: whether to look into it. */
static int
go_below (struct pull *pull, const struct listing *listing, size_t visit, const struct catalog_item *known,
          const struct cloud_item *seen)
{
  if (pull->kind == PULL_FRESH)
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
  const enum match match = match_items (known, seen, seen && is_settled (pull, seen));
  int r = 0;

  switch (match) {
  case MATCH_MISSING:
    return pull_add_missing (pull, known, listing->path);
  case MATCH_FRESH:            /* what can't be taken need not be looked at again */
    pull->visits[visit].fresh |= known || can_take (pull, listing, seen);
    return 0;
  case MATCH_NEW:
    return apply_new (pull, listing, visit, seen);
  case MATCH_REPLACED:
    return pull_remove (pull, known->id) == -1 ? -1 : apply_new (pull, listing, visit, seen);
  case MATCH_CHANGED:
    return can_take (pull, listing, seen) ? apply_update (pull, visit, known, seen, true) : 0;
  case MATCH_TOUCHED:
    r = apply_update (pull, visit, known, seen, false);
    break;
  case MATCH_SAME:
    break;
  }
  return r == 0 && known->is_folder ? go_below (pull, listing, visit, known, seen) : r;
}

/* Both lists are sorted by name: one pass tells new, known and missing. */
int
pull_apply_listing (struct pull *pull, const struct listing *listing, size_t visit)
{
  struct catalog_list known;
  size_t k = 0, s = 0;
  int r = 0;

  if (catalog_children (pull->db, pull->visits[visit].id, &known) == -1)
    return -1;
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
  if (id > 0 && catalog_item (pull->db, id, ret) == 1)
    *ret_path = catalog_path (pull->db, id);
  db_read_end (pull->db);
  return *ret_path != NULL;
}

/* A name that is new in its folder, but whose id is known elsewhere, was moved, if the other place has it no longer. */
static int
apply_move (struct pull *pull, const struct listing *listing, int64_t folder, const struct cloud_item *seen)
{
  CLEANUP_FREE char *old_path = NULL;
  struct catalog_list known = { 0 };
  struct listing *there = NULL;
  enum cloud_result result;
  bool below = true;
  int r = 0;

  if (!find_known (pull, seen->id, &known, &old_path) || !match_may_be_moved (&known.items[0], folder, seen))
    goto out;
  result = listing_stat (pull->cloud, old_path, &there);
  if (!match_has_left (result, there ? &there->items[0] : NULL, seen))
    goto out;

  /* Asked of the catalog, since paths of this walk are as old as its other moves.  A folder moved into itself would be
   * off the tree for ever. */
  db_read_begin (pull->db);
  r = catalog_is_below (pull->db, folder, known.items[0].id, &below);
  db_read_end (pull->db);
  if (r == -1 || below)
    goto out;
  msg_debug ("/%s was renamed to /%s/%s", old_path, listing->path, seen->name);
  r = pull_begin (pull);
  if (r == 0) {
    pull->dirty = true;
    r = pull_end (pull, catalog_move (pull->db, pull->revision + 1, &known.items[0], folder, seen->name));
  }
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
  r = catalog_children (pull->db, folder, &known);
  db_read_end (pull->db);
  for (size_t s = 0; r == 0 && s < listing->n; ++s) {
    while (k < known.n && strcmp (known.items[k].name, listing->items[s].name) < 0)
      k++;
    if (listing->items[s].id == NULL || (k < known.n && strcmp (known.items[k].name, listing->items[s].name) == 0))
      continue;
    if (can_take (pull, listing, &listing->items[s]))
      r = apply_move (pull, listing, folder, &listing->items[s]);
  }
  catalog_list_free (&known);
  return r;
}
