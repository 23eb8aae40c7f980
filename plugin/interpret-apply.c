/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's effects: one transaction changes the catalog, the journal and what is known of the view.
 *
 * Order within the transaction: files that are gone free their names; folders are made, from the top down; entries move;
 * contents; folders that are gone, from the bottom up.  What is blocked by another change of the same run is tried again
 * after it; what stays blocked waits for the next run.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "format.h"
#include "interpret-private.h"
#include "journal.h"
#include "msg.h"
#include "names.h"
#include "overlay.h"
#include "said.h"
#include "selection.h"
#include "steps.h"

/* Fewer removals than this are never held back. */
#define FEW_REMOVALS 20

static int
put_seen (struct run *run, const struct action *action, int64_t item, int64_t version)
{
  struct interp *interp = run->interp;
  const struct parsed_entry *entry = run->now_entry[action->now];
  const struct seen_row row = {
    .folder = folder_item (run->now_folder[action->now]), .name = entry->name, .units = entry->units,
    .is_folder = entry->is_folder, .contiguous = entry->contiguous, .item = item, .version = version,
    .first = entry->first, .size = entry->size, .valid = entry->valid, .raw_mtime = entry->raw_mtime,
  };

  return seen_put (interp->db, interp->view, &row);
}

static int
end_seen (struct run *run, size_t k, bool gone)
{
  struct interp *interp = run->interp;
  const struct known *known = run->known_entry[k];
  const struct folder *folder = run->known_folder[k];

  if (gone && seen_set_gone (interp->db, interp->view, known->item) == -1)
    return -1;
  return seen_end (interp->db, interp->view, folder_item (folder), known->name, known->units, known->item,
                   folder->in_generation);
}

/* The known entry of another item in the place of an entry of now; MATCH_NONE if there is none. */
static size_t
place_of_another (struct run *run, const struct action *action)
{
  const struct match_entry *now = &run->now[action->now];
  const struct known *known = known_find (run->now_folder[action->now], now->name, now->units);

  return known == NULL || known->index == action->known ? MATCH_NONE : known->index;
}

/* Whether an item that was in the place still is: one that is made there now would be taken for it. */
static bool
place_is_taken (struct run *run, const struct action *action)
{
  const size_t k = place_of_another (run, action);

  return k != MATCH_NONE && run->leaves[k] != LEFT;
}

/* 1 done, 0 not yet, -1. */
static int
apply_gone (struct run *run, struct journal *journal, struct action *action)
{
  struct known *known = run->known_entry[action->known];
  int64_t version = 0;

  if (known->is_folder) {
    const struct folder *folder = folder_find (run->interp, known->item);

    /* First all that was in it. */
    if (folder && folder->n_left < folder->n_known)
      return 0;
  }
  else
    version = known->version;
  if (!is_fixed (run->interp, known->item) && journal_remove (journal, known->item, version) == -1)
    return -1;
  return end_seen (run, action->known, true) == -1 ? -1 : 1;
}

static int
apply_folder (struct run *run, struct journal *journal, struct action *action)
{
  const struct parsed_entry *entry = run->now_entry[action->now];
  struct folder *parent = run->now_folder[action->now];
  const size_t at = idmap_get (&run->interp->by_first, entry->first);
  struct folder *folder = at == IDMAP_NONE ? NULL : run->interp->folders[at];
  char name[NAME_UNITS * 3 + 1];
  int64_t above;

  if (place_is_taken (run, action))
    return 0;
  above = ensure_folder (run, journal, parent);
  if (above <= 0 || folder == NULL || folder->key > 0 || cloud_name (run->interp, &run->now[action->now], name) == -1)
    return above == -1 ? -1 : 0;
  folder->created = journal_create (journal, above, name, true, 0, &entry->mtime);
  if (folder->created == -1) {
    folder->created = 0;
    return -1;
  }
  action->item = folder->created;
  if (keep_here (run->interp, journal, action->item) == -1)
    return -1;
  return put_seen (run, action, action->item, 0) == -1 ? -1 : 1;
}

/* Where a folder's entry is known, or, if that is journalled already or never was, where it stands now.  NULL at the root. */
static const struct folder *
known_above (struct run *run, const struct folder *folder)
{
  for (size_t k = 0; k < run->n_known; ++k)
    if (run->known_entry[k]->is_folder && run->known_entry[k]->item == folder->key && run->leaves[k] != LEFT)
      return run->known_folder[k];
  return folder->is_root ? NULL : folder_find (run->interp, folder->parent);
}

/* Whether a folder was below an item's when the view was last understood: then the guest has moved it out since, or one between them,
 * and what is in the way is a difference of its own. */
static bool
is_known_below (struct run *run, const struct folder *folder, int64_t item)
{
  for (int depth = 0; folder && depth < CATALOG_MAX_DEPTH; ++depth, folder = known_above (run, folder))
    if (folder->key == item)
      return true;
  return false;
}

static int
apply_move (struct run *run, struct journal *journal, struct action *action)
{
  struct interp *interp = run->interp;
  struct known *known = run->known_entry[action->known];
  struct folder *from = run->known_folder[action->known];
  char name[NAME_UNITS * 3 + 1], was[NAME_UNITS * 3 + 1];
  int64_t above, version = 0;
  int r;

  /* What leaves it in this run may also come later: the journal gives names that are taken in the end. */
  const size_t holder = place_of_another (run, action);

  if (holder != MATCH_NONE && (run->leaves[holder] == 0 || run->leaves[holder] == STAYS))
    return 0;
  above = ensure_folder (run, journal, run->now_folder[action->now]);
  if (above <= 0 || cloud_name (interp, &run->now[action->now], name) == -1)
    return above == -1 ? -1 : 0;
  /* Into a folder that was in this one: that one's move goes first, be it in a later run. */
  if (known->is_folder) {
    bool below = false;

    if (catalog_is_below (interp->db, above, known->item, &below) == -1)
      return -1;
    if (below && (!run->give_way || is_known_below (run, run->now_folder[action->now], known->item)))
      return 0;
  }
  if (!known->is_folder)
    version = known->version;
  r = item_exists (interp, known->item);
  if (r == -1)
    return -1;
  if (r == 0) {
    /* The cloud has removed it meanwhile: the move says that somebody still wants it, if its bytes are here. */
    if (known->is_folder)
      return 0;
    if (end_seen (run, action->known, true) == -1)
      return -1;
    action->item = known->item;
    action->version = version;
    return put_seen (run, action, known->item, version) == -1 ? -1 : 1;
  }
  shown_as (interp, known, was);
  if (!is_fixed (interp, known->item) &&
      (journal_move (journal, known->item, folder_home (interp, from), was, above, name) == -1 ||
       keep_here (interp, journal, known->item) == -1))
    return -1;
  if (end_seen (run, action->known, false) == -1)
    return -1;
  action->item = known->item;
  action->version = version;
  /* Where it stands now, with what was known of its content: that is looked at next. */
  {
    const struct parsed_entry *entry = run->now_entry[action->now];
    const struct seen_row row = {
      .folder = folder_item (run->now_folder[action->now]), .name = entry->name, .units = entry->units,
      .is_folder = known->is_folder, .contiguous = entry->contiguous, .item = known->item, .version = version,
      .first = known->first, .size = known->is_folder ? entry->size : known->size, .valid = known->valid,
      .raw_mtime = known->raw_mtime,
    };

    return seen_put (interp->db, interp->view, &row) == -1 ? -1 : 1;
  }
}

/* What was put in the place of another is gone from its own. */
static int
end_former (struct run *run, struct journal *journal, const struct action *action)
{
  const struct known *from;

  if (action->from == MATCH_NONE)
    return 0;
  from = run->known_entry[action->from];
  if (journal_remove (journal, from->item, from->version) == -1)
    return -1;
  return end_seen (run, action->from, true);
}

static int
apply_content (struct run *run, struct journal *journal, struct action *action)
{
  struct interp *interp = run->interp;
  const struct parsed_entry *entry = run->now_entry[action->now];
  struct known *known = action->known == MATCH_NONE ? NULL : run->known_entry[action->known];
  char name[NAME_UNITS * 3 + 1];
  int64_t above, was = 0;
  int r = 0;

  if (known && !known->is_folder)
    was = known->version;
  if (action->same || action->claim == CLAIM_TIME) {
    action->item = known->item;
    action->version = was;
    if (entry->raw_mtime != known->raw_mtime && (r = item_exists (interp, known->item)) == 1)
      r = journal_touch (journal, known->item, &entry->mtime);
    if (r == -1 || end_former (run, journal, action) == -1)
      return -1;
    return put_seen (run, action, known->item, was) == -1 ? -1 : 1;
  }
  if (known == NULL && place_is_taken (run, action))
    return 0;
  above = ensure_folder (run, journal, run->now_folder[action->now]);
  if (above <= 0 || cloud_name (interp, &run->now[action->now], name) == -1)
    return above == -1 ? -1 : 0;
  if (action->size == 0)
    action->version = journal_stage (journal, 0, 0, NULL, NULL);
  else if (action->over.origin)
    action->version = journal_stage_over (journal, action->size, action->position, &action->over);
  else
    action->version = journal_stage (journal, action->size, action->position, action->sha1, action->sha256);
  if (action->version == -1)
    return -1;
  if (known) {
    r = item_exists (interp, known->item);
    if (r == -1)
      return -1;
  }
  action->item = r == 1 ? journal_edit (journal, known->item, was, action->version, &entry->mtime)
                        : journal_create (journal, above, name, false, action->version, &entry->mtime);
  if (action->item == -1 || ((r != 1 || action->item != known->item) && keep_here (interp, journal, action->item) == -1))
    return -1;
  if (end_former (run, journal, action) == -1)
    return -1;
  return put_seen (run, action, action->item, action->version) == -1 ? -1 : 1;
}

static void
leave (struct run *run, size_t k)
{
  run->known_folder[k]->n_left += run->leaves[k] != LEFT;
  run->leaves[k] = LEFT;
}

/* 1 if anything was done. */
static int
apply_kind (struct run *run, struct journal *journal, enum ready_claim from, enum ready_claim to, int folders)
{
  int any = 0;

  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];
    int r;

    if (action->done || action->dropped || action->claim < from || action->claim > to)
      continue;
    if (action->claim == CLAIM_GONE && folders != run->known_entry[action->known]->is_folder)
      continue;
    switch (action->claim) {
    case CLAIM_GONE:
      r = apply_gone (run, journal, action);
      break;
    case CLAIM_FOLDER:
      r = apply_folder (run, journal, action);
      break;
    case CLAIM_MOVED:
      r = apply_move (run, journal, action);
      break;
    default:
      r = apply_content (run, journal, action);
    }
    if (r == -1)
      return -1;
    action->done = r == 1;
    if (r == 1 && (action->claim == CLAIM_GONE || action->claim == CLAIM_MOVED))
      leave (run, action->known);
    if (r == 1 && action->from != MATCH_NONE)
      leave (run, action->from);
    any |= r;
  }
  return any;
}

static int
apply_all (struct run *run, struct journal *journal)
{
  int any;

  do {
    int r;

    any = 0;
    if ((r = apply_kind (run, journal, CLAIM_GONE, CLAIM_GONE, false)) == -1)
      return -1;
    any |= r;
    do {
      if ((r = apply_kind (run, journal, CLAIM_FOLDER, CLAIM_FOLDER, true)) == -1)
        return -1;
      any |= r;
    } while (r == 1);
    do {
      if ((r = apply_kind (run, journal, CLAIM_MOVED, CLAIM_MOVED, true)) == -1)
        return -1;
      any |= r;
    } while (r == 1);
    if ((r = apply_kind (run, journal, CLAIM_CONTENT, CLAIM_SILENT, true)) == -1)
      return -1;
    any |= r;
    if ((r = apply_kind (run, journal, CLAIM_TIME, CLAIM_TIME, true)) == -1)
      return -1;
    any |= r;
    do {
      if ((r = apply_kind (run, journal, CLAIM_GONE, CLAIM_GONE, true)) == -1)
        return -1;
      any |= r;
    } while (r == 1);
    /* What still would have to go below itself was crossed by somebody else's move: the journal lets that one stand. */
    if (!any && !run->give_way)
      any = run->give_way = true;
  } while (any);
  return 0;
}

/* Known entries that are about to leave their places, but cannot, since one that stays holds the new place: who was to have
 * the old one waits as well, and so on.  The journal would give it another name.  In a circle all leave, or none does. */
static int
find_stuck (struct run *run)
{
  /* The action that needs a known entry's place. */
  CLEANUP_FREE size_t *wants = malloc ((run->n_known + 1) * sizeof *wants);

  if (wants == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t k = 0; k < run->n_known; ++k)
    wants[k] = MATCH_NONE;
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t k = run->actions[i].dropped || run->actions[i].claim != CLAIM_MOVED
                     ? MATCH_NONE : place_of_another (run, &run->actions[i]);

    if (k != MATCH_NONE)
      wants[k] = i;
  }
  for (size_t k = 0; k < run->n_known; ++k) {
    size_t i = run->leaves[k] == 0 || run->leaves[k] == STAYS ? wants[k] : MATCH_NONE;

    while (i != MATCH_NONE && run->leaves[run->actions[i].known] == LEAVES) {
      run->leaves[run->actions[i].known] = 0;
      i = wants[run->actions[i].known];
    }
  }
  return 0;
}

/* All of it as it was before the transaction. */
static void
forget_attempt (struct run *run)
{
  struct interp *interp = run->interp;

  for (size_t f = 0; f < interp->n_folders; ++f)
    interp->folders[f]->n_left = interp->folders[f]->created = 0;
  for (size_t i = 0; i < run->n_actions; ++i)
    run->actions[i].done = false;
  run->give_way = false;
}

/* Which known entries are about to leave their places. */
static int
mark_leaving (struct run *run)
{
  for (size_t k = 0; k < run->n_known; ++k)
    if (run->leaves[k] != STAYS)
      run->leaves[k] = 0;
  for (size_t i = 0; i < run->n_actions; ++i) {
    const struct action *action = &run->actions[i];

    if (!action->dropped && (action->claim == CLAIM_GONE || action->claim == CLAIM_MOVED) && run->leaves[action->known] == 0)
      run->leaves[action->known] = LEAVES;
  }
  return find_stuck (run);
}

/* Something has moved into a place that was to be left in this transaction, and could not be: there the transaction has two items
 * of one name.  *ret: there was such a one, which is taken to stay from now on. */
static void
find_clashes (struct run *run, bool *ret)
{
  *ret = false;
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t k = run->actions[i].done && run->actions[i].claim == CLAIM_MOVED ? place_of_another (run, &run->actions[i])
                                                                                   : MATCH_NONE;

    if (k != MATCH_NONE && run->leaves[k] != LEFT) {
      run->leaves[k] = STAYS;
      *ret = true;
    }
  }
}

/* The known entry whose clusters an action's file has, without being it; MATCH_NONE. */
size_t
usurped_by (const struct run *run, const struct action *action)
{
  const struct match_entry *now = action->done && has_content (action) ? &run->now[action->now] : NULL;

  return now && now->stranger && now->usurped != action->known ? now->usurped : MATCH_NONE;
}

/* Clusters of a known entry that another file has by now, with bytes of its own, are no sign any more of who is who: what
 * is known of the old one is not what is in them.  Its place is looked at on its own. */
static int
end_usurped (struct run *run)
{
  struct interp *interp = run->interp;
  CLEANUP_FREE bool *rewritten = calloc (run->n_known + 1, sizeof *rewritten);

  if (rewritten == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < run->n_actions; ++i)
    if (run->actions[i].done && run->actions[i].known != MATCH_NONE)
      rewritten[run->actions[i].known] = true;
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t k = usurped_by (run, &run->actions[i]);
    const struct known *known;
    struct seen_row row;

    if (k == MATCH_NONE || rewritten[k] || run->leaves[k] == LEFT)
      continue;
    known = run->known_entry[k];
    row = (struct seen_row) {
      .folder = folder_item (run->known_folder[k]), .name = known->name, .units = known->units,
      .contiguous = known->contiguous, .item = known->item, .version = known->version, .size = known->size,
      .valid = known->valid, .raw_mtime = known->raw_mtime,
    };
    if (seen_put (interp->db, interp->view, &row) == -1)
      return -1;
  }
  return 0;
}

/* Removals are held back where they look like an accident. */
static int
look_for_mass_delete (struct run *run, struct journal *journal)
{
  uint64_t removals = 0, bytes, files, folders, largest;

  for (size_t i = 0; i < run->n_actions; ++i)
    removals += run->actions[i].claim == CLAIM_GONE && !run->actions[i].dropped;
  if (removals <= FEW_REMOVALS)
    return 0;
  if (selection_totals (disk_selection (run->interp->disk), journal->db, &bytes, &files, &folders, &largest) == -1)
    return -1;
  journal->held = removals * 100 > (files + folders) * run->interp->max_delete;
  if (journal->held)
    msg_error ("view %s: its guest removed %llu of %llu files and folders: they stay in the cloud until \"cloudsharectl"
               " approve\" says that this is meant", run->interp->name, (unsigned long long) removals,
               (unsigned long long) (files + folders));
  return 0;
}

/* ---- all of it ---- */

/* Versions that the transaction needs: looked up before it, since it holds the lock. */
static int
load_versions (struct run *run)
{
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t now = run->actions[i].now;
    const size_t entries[] = {
      run->actions[i].known, run->actions[i].from,
      now != MATCH_NONE && run->now[now].stranger ? run->now[now].usurped : MATCH_NONE,
    };

    for (size_t k = 0; k < sizeof entries / sizeof entries[0]; ++k) {
      int64_t version;

      if (entries[k] != MATCH_NONE && !run->known_entry[entries[k]]->is_folder &&
          known_version (run->interp, run->known_entry[entries[k]], &version) == -1)
        return -1;
    }
  }
  return 0;
}

int
apply_actions (struct run *run)
{
  struct interp *interp = run->interp;
  const struct journal fresh = {
    .db = interp->db, .blobs = engine_blobs (interp->engine), .view = interp->name, .now = time (NULL),
    .quiet_s = interp->write_back_s,
  };
  struct journal journal;
  bool rolled_back, clash;
  int r;

  if (run->n_actions == 0)
    return 0;
  if (load_versions (run) == -1 || stage_all (run) == -1)
    return -1;
  /* Without this the loss of power could take back what the guest wrote, and leave what was concluded from it: the older
   * state of its disk would then be taken for changes of its own. */
  if (overlay_needs_sync (interp->overlay) && overlay_sync (interp->overlay) == -1) {
    msg_error ("view %s: what its guest wrote cannot be made durable: %m", interp->name);
    return -1;
  }
  do {
    clash = false;
    journal = fresh;
    if (db_begin (interp->db) == -1)
      return -1;
    forget_attempt (run);
    r = mark_leaving (run);
    if (r == 0)
      r = catalog_revision (interp->db, &journal.revision);
    journal.revision++;
    if (r == 0)
      r = look_for_mass_delete (run, &journal);
    if (r == 0)
      r = apply_all (run, &journal);
    if (r == 0)
      find_clashes (run, &clash);
    if (r == 0 && !clash)
      r = end_usurped (run);
    r = journal_finish (&journal, clash ? -1 : r);
    if (r == 0 && journal.changed)
      r = catalog_commit_revision (interp->db, journal.revision);
    rolled_back = r == -1;
    r = db_end (interp->db, r);
  } while (clash);
  if (r == 0)
    step_passed ("journalled");
  if (r == -1) {
    forget_attempt (run);
    /* A commit that failed may be found done after a crash: then its bytes are needed. */
    for (size_t i = 0; i < run->n_actions && rolled_back; ++i)
      if (run->actions[i].staged)
        blobs_punch (engine_blobs (interp->engine), run->actions[i].position, run->actions[i].size);
    return -1;
  }
  run->journalled = journal.changed;
  for (size_t i = 0; i < run->n_actions; ++i)
    if (run->actions[i].staged && !run->actions[i].done)
      blobs_punch (engine_blobs (interp->engine), run->actions[i].position, run->actions[i].size);
  /* It is journalled, whatever comes now. */
  if (remember_actions (run) == -1) {
    interp->doubtful = true;
    run->failed = true;
    run->pending++;
  }
  return 0;
}
