/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter after a commit: what was journalled is what is known. */

#include <config.h>

#include <string.h>

#include "cache.h"
#include "engine.h"
#include "interpret-private.h"

static void
forget_known (struct run *run, size_t k, bool gone)
{
  struct known *known = run->known_entry[k];

  if (gone && known->is_folder) {
    struct folder *folder = folder_find (run->interp, known->item);

    if (folder) {
      folder->gone = true;
      run->interp->ends++;
      folder->live = false;
    }
  }
  known_drop (run->known_folder[k], known);
  run->known_entry[k] = NULL;
  run->interp->owners_stale = true;
}

static int
remember (struct run *run, struct action *action)
{
  struct folder *folder = run->now_folder[action->now];
  const struct parsed_entry *entry = run->now_entry[action->now];
  struct known *known = known_find (folder, entry->name, entry->units);
  const bool moved = action->claim == CLAIM_MOVED;

  if (known == NULL && (known = known_add (folder, entry->name, entry->units)) == NULL)
    return -1;
  parsed_runs_free (&known->runs);
  memset (&known->runs, 0, sizeof known->runs);
  known->seen = true;
  known->is_folder = entry->is_folder;
  known->contiguous = entry->contiguous;
  known->first = entry->first;
  known->size = moved && !entry->is_folder ? action->former_size : entry->size;
  known->valid = moved ? action->former_valid : entry->valid;
  known->raw_mtime = moved ? action->former_mtime : entry->raw_mtime;
  known->item = action->item;
  folder->items_stale = true;
  known->version = action->version;
  known->data_dirty = false;
  run->interp->owners_stale = true;
  return 0;
}

/* Whether a file that was moved also has another size or time than it was known to have. */
static bool
is_other_content (const struct parsed_entry *entry, const struct action *moved)
{
  return !entry->is_folder && (entry->size != moved->former_size || entry->valid != moved->former_valid ||
                               entry->raw_mtime != moved->former_mtime);
}

/* The item that the transaction made for a folder. */
static int
take_item (struct interp *interp, struct folder *folder)
{
  const int64_t created = folder->created;
  struct folder *parent = folder_find (interp, folder->parent);
  struct known *known = parent && folder->key > 0 ? known_by_item (parent, folder->key) : NULL;

  folder->created = 0;
  /* It had one, which the cloud has removed. */
  if (known) {
    known->item = created;
    known->seen = true;
    parent->items_stale = true;
  }
  return folder_rekey (interp, folder, created);
}

int
remember_actions (struct run *run)
{
  struct interp *interp = run->interp;
  bool any_created = false;
  int r = 0;

  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (!action->done) {
      run->pending += !action->dropped;
      continue;
    }
    if (action->staged &&
        cache_adopted (engine_cache (interp->engine), action->version, action->size, action->position,
                       action->over.bits) == -1)
      r = -1;
    if (action->claim == CLAIM_MOVED) {
      action->former_size = run->known_entry[action->known]->size;
      action->former_valid = run->known_entry[action->known]->valid;
      action->former_mtime = run->known_entry[action->known]->raw_mtime;
    }
    if (action->claim == CLAIM_GONE || action->claim == CLAIM_MOVED)
      forget_known (run, action->known, action->claim == CLAIM_GONE);
    if (action->from != MATCH_NONE)
      forget_known (run, action->from, true);
  }
  /* Those whose own place has new content get its clusters below. */
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t k = usurped_by (run, &run->actions[i]);
    struct known *known = k == MATCH_NONE ? NULL : run->known_entry[k];

    if (known) {
      parsed_runs_free (&known->runs);
      memset (&known->runs, 0, sizeof known->runs);
      known->first = 0;
      known->seen = true;
      interp->owners_stale = true;
    }
  }
  for (size_t f = 0; f < interp->n_folders; ++f)
    known_sweep (interp->folders[f]);
  /* After what is gone was forgotten: a folder that was made again may have its item. */
  for (size_t f = 0; f < interp->n_folders; ++f)
    if (interp->folders[f]->created) {
      any_created = true;
      r |= take_item (interp, interp->folders[f]);
    }
  if (any_created)
    folders_follow (interp);
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (!action->done || action->claim == CLAIM_GONE)
      continue;
    if (remember (run, action) == -1)
      r = -1;
    /* What it has in its new place is the next run's: until then not all is understood. */
    run->pending += action->claim == CLAIM_MOVED && is_other_content (run->now_entry[action->now], action);
    /* Bytes that are journalled are not fresh any more.  What lies behind those that are valid may become so later. */
    if (has_content (action))
      runs_settle (interp, &action->runs, action->valid);
  }
  return r;
}
