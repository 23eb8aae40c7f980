/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's matching: entries of now beside those that are known. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "format.h"
#include "interpret-private.h"
#include "msg.h"

void
run_free (struct run *run)
{
  for (size_t i = 0; run->chains && i < run->n_now; ++i)
    parsed_runs_free (&run->chains[i]);
  free (run->chains);
  free (run->found);
  free (run->known);
  free (run->now);
  free (run->known_folder);
  free (run->now_folder);
  free (run->known_entry);
  free (run->leaves);
  free (run->held);
  free (run->now_entry);
  for (size_t i = 0; i < run->n_actions; ++i)
    kin_stage_free (&run->actions[i].over);
  free (run->actions);
}

int
run_chain (struct run *run, size_t now, enum parsed_chain *ret)
{
  const struct parsed_entry *entry = run->now_entry[now];
  const uint64_t bytes = entry->is_folder && run->interp->g->format->has_aliases ? UINT64_MAX : entry->size;
  bool differ;

  if (run->found[now] == 0) {
    if (parse_chain (run->interp->parse, entry->first, bytes, entry->contiguous, ret, &run->chains[now], &differ) == -1)
      return -1;
    run->found[now] = *ret + 1;
  }
  *ret = run->found[now] - 1;
  return 0;
}

/* Whether what seems to be a file's new place is another file in its clusters: all of its bytes were written since. */
static int
is_stranger (struct run *run, size_t now, bool *ret)
{
  const struct parsed_entry *entry = run->now_entry[now];
  const struct known *known;
  enum parsed_chain found;
  bool present;

  *ret = false;
  if (run->now[now].what != WHAT_MOVED || entry->is_folder || entry->size == 0)
    return 0;
  known = run->known_entry[run->now[now].other];
  if (entry->size == known->size && entry->raw_mtime == known->raw_mtime)
    return 0;
  if (run_chain (run, now, &found) == -1)
    return -1;
  if (found == CHAIN_SOUND || found == CHAIN_LONG)
    look_at_bytes (run->interp, &run->chains[now], 0, entry->valid, ret, &present);
  return 0;
}

static int
match_run (struct run *run)
{
  bool any = false;

  if (match_entries (run->known, run->n_known, run->now, run->n_now) == -1)
    return -1;
  for (size_t i = 0; i < run->n_now; ++i) {
    if (is_stranger (run, i, &run->now[i].stranger) == -1)
      return -1;
    if (run->now[i].stranger)
      run->now[i].usurped = run->now[i].other;
    any |= run->now[i].stranger;
  }
  return any ? match_entries (run->known, run->n_known, run->now, run->n_now) : 0;
}

int
collect_entries (struct run *run)
{
  struct interp *interp = run->interp;
  size_t n_known = 0, n_now = 0;

  run->pending = 0;
  for (size_t f = 0; f < interp->n_folders; ++f) {
    n_known += interp->folders[f]->n_known;
    n_now += interp->folders[f]->now.n;
  }
  run->known = calloc (n_known + 1, sizeof *run->known);
  run->known_folder = calloc (n_known + 1, sizeof *run->known_folder);
  run->known_entry = calloc (n_known + 1, sizeof *run->known_entry);
  run->now = calloc (n_now + 1, sizeof *run->now);
  run->now_folder = calloc (n_now + 1, sizeof *run->now_folder);
  run->now_entry = calloc (n_now + 1, sizeof *run->now_entry);
  run->chains = calloc (n_now + 1, sizeof *run->chains);
  run->found = calloc (n_now + 1, sizeof *run->found);
  run->leaves = calloc (n_known + 1, sizeof *run->leaves);
  if (run->known == NULL || run->known_folder == NULL || run->known_entry == NULL || run->now == NULL ||
      run->now_folder == NULL || run->now_entry == NULL || run->chains == NULL || run->found == NULL || run->leaves == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t f = 0; f < interp->n_folders; ++f) {
    struct folder *folder = interp->folders[f];

    if (folder->gone)
      continue;
    for (size_t k = 0; k < folder->n_known; ++k) {
      struct known *known = folder->known[k];

      run->known[run->n_known] = (struct match_entry) {
        .folder = folder->key, .name = known->name, .units = known->units, .is_folder = known->is_folder,
        .first = known->first,
      };
      known->index = run->n_known;
      run->known_folder[run->n_known] = folder;
      run->known_entry[run->n_known++] = known;
    }
    if (!folder->live)
      continue;
    /* None of it is known, so that all of it would seem to be new. */
    if (folder->sealed) {
      run->pending++;
      continue;
    }
    for (size_t e = 0; e < folder->now.n; ++e) {
      struct parsed_entry *entry = &folder->now.entries[e];

      run->now[run->n_now] = (struct match_entry) {
        .folder = folder->key, .name = entry->name, .units = entry->units, .is_folder = entry->is_folder,
        .first = entry->first, .junk = folder->junk || folder->is_junk[e],
      };
      run->now_folder[run->n_now] = folder;
      run->now_entry[run->n_now++] = entry;
    }
  }
  return match_run (run);
}

/* Folders that are gone take all with them that was in them: what that was is known once they are looked at.  1: some were
 * loaded, match again. */
int
load_vanished (struct run *run)
{
  int loaded = 0;

  for (size_t k = 0; k < run->n_known; ++k) {
    struct folder *folder;

    if (!run->known[k].is_folder || (run->known[k].fate != FATE_VANISHED && run->known[k].fate != FATE_TRASHED) ||
        folder_find (run->interp, run->known_entry[k]->item))
      continue;
    folder = folder_load (run->interp, run->known_entry[k]->item);
    if (folder == NULL && errno != ENOENT)
      return -1;
    if (folder) {
      folder->live = false;
      loaded = 1;
    }
  }
  return loaded;
}
