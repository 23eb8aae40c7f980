/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's judging: what each difference claims, and the evidence for it. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "engine.h"
#include "interpret-private.h"
#include "msg.h"
#include "overlay.h"

static int
add_action (struct run *run, const struct action *action)
{
  if (run->n_actions == run->actions_room) {
    const size_t room = run->actions_room * 2 + 64;
    struct action *more = realloc (run->actions, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    run->actions = more;
    run->actions_room = room;
  }
  run->actions[run->n_actions++] = *action;
  return 0;
}

/* Whether bytes from..to of a file were written: all since they were last interpreted, or all some time. */
void
look_at_bytes (struct interp *interp, const struct parsed_runs *runs, uint64_t from, uint64_t to, bool *ret_written,
               bool *ret_present)
{
  uint64_t at = 0;

  *ret_written = *ret_present = true;
  for (size_t i = 0; i < runs->n && at < to; ++i) {
    const uint64_t length = (uint64_t) runs->list[i].count * interp->g->cluster_bytes;

    if (at + length > from) {
      uint64_t offset, bytes;

      range_of (interp->g, &runs->list[i], from > at ? from - at : 0, to - at, &offset, &bytes);
      if (bytes > 0 && *ret_written && !overlay_is_fresh (interp->overlay, bytes, offset))
        *ret_written = false;
      if (bytes > 0 && !*ret_written && *ret_present && !overlay_is_present (interp->overlay, bytes, offset))
        *ret_present = false;
    }
    at += length;
  }
}

/* How many bytes at the beginning of a file stand where they stood when it was interpreted, and had been written then. */
static uint64_t
common_bytes (struct interp *interp, const struct known *known, const struct parsed_runs *runs)
{
  const struct parsed_run *a = known->runs.list, *b = runs->list;
  size_t i = 0, k = 0;
  uint32_t done_a = 0, done_b = 0;
  uint64_t clusters = 0, bytes;

  while (i < known->runs.n && k < runs->n && a[i].first + done_a == b[k].first + done_b) {
    const uint32_t left_a = a[i].count - done_a, left_b = b[k].count - done_b;
    const uint32_t n = left_a < left_b ? left_a : left_b;

    clusters += n;
    done_a += n;
    done_b += n;
    if (done_a == a[i].count) {
      i++;
      done_a = 0;
    }
    if (done_b == b[k].count) {
      k++;
      done_b = 0;
    }
  }
  bytes = clusters * interp->g->cluster_bytes;
  return bytes < known->valid ? bytes : known->valid;
}

static uint64_t
mix (uint64_t hash, uint64_t value)
{
  return (hash ^ value) * UINT64_C (0x9e3779b97f4a7c15) + (hash >> 29);
}

/* What waits for long is looked at this often. */
#define PENDING_MS 1000

/* A difference is not ready: when it may be. */
static void
wait_for (struct run *run, uint64_t stable_ms)
{
  const uint64_t settle_ms = run->interp->settle_ms;
  const uint64_t next_ms = run->time->now_ms + (stable_ms < settle_ms ? settle_ms - stable_ms : PENDING_MS);

  run->pending++;
  if (run->next_ms == 0 || next_ms < run->next_ms)
    run->next_ms = next_ms;
}

/* What an entry of now says beside what is known of it (known may be NULL): *ret_claim.  false: nothing. */
static bool
claim_of (const struct parsed_entry *entry, const struct known *known, bool same_first, enum ready_claim *ret_claim)
{
  const uint64_t old = known ? known->size : 0;

  if (entry->is_folder)
    *ret_claim = CLAIM_FOLDER;
  else if (entry->size == 0 && known == NULL)
    *ret_claim = CLAIM_EMPTY;
  else if (entry->size == 0 && old == 0)
    return false;
  else if (entry->size < old)
    *ret_claim = CLAIM_SHORTER;
  else if (!same_first || entry->size > old || entry->valid != known->valid)
    *ret_claim = CLAIM_CONTENT;
  else if (known->data_dirty)
    *ret_claim = entry->raw_mtime != known->raw_mtime ? CLAIM_IN_PLACE : CLAIM_SILENT;
  else if (entry->raw_mtime != known->raw_mtime)
    *ret_claim = CLAIM_TIME;
  else
    return false;
  return true;
}

/* A file in the guest's waste-basket goes from the cloud, but the guest may want it back: all of it must be here first. */
static int
is_here (struct interp *interp, struct known *known, bool *ret)
{
  struct cache *cache = engine_cache (interp->engine);
  struct cache_file *file;
  uint64_t size;
  int r;

  *ret = true;
  r = known->size == 0 ? 0 : known_pin (interp, known, &file, &size);
  if (r <= 0)
    return r;
  *ret = cache_is_complete (file);
  if (!*ret)
    cache_prefetch (cache, file, 0, size);
  cache_unpin (cache, file);
  return 0;
}

/* Whether a known entry's clusters are free, or somebody else's. */
static int
is_released (struct run *run, size_t k, bool *ret)
{
  const struct folder *folder = run->known_folder[k];
  struct known *known = run->known_entry[k];
  uint32_t first = known->first;

  *ret = true;
  /* What has no clusters is gone with its folder: that may have been renamed, and its new name is still to come. */
  if (first == 0)
    first = folder->live ? 0 : folder->first;
  if (first == 0)
    return 0;
  if (run->known[k].fate == FATE_TRASHED)
    return is_here (run->interp, known, ret);
  return cluster_is_released (run, first, ret);
}

/* What is the same for all claims. */
static struct ready_evidence
evidence_for (const struct run *run, enum ready_claim claim, bool torn)
{
  const struct interp *interp = run->interp;

  return (struct ready_evidence) {
    .claim = claim, .chain = CHAIN_SOUND, .written = true, .present = true, .torn = torn, .committed = interp->committed,
    .quiet_ms = run->time->connected ? run->time->now_ms - interp->last_metadata_ms : 0,
    .settle_ms = run->time->ending ? 0 : interp->settle_ms,
  };
}

/* What makes an existing file smaller, once all the rest speaks for it: 1 ready, 0, -1. */
static int
is_ready (struct run *run, struct ready_evidence *evidence)
{
  if (!ready_judge (evidence))
    return 0;
  if (evidence->committed || (evidence->claim != CLAIM_EMPTY && evidence->claim != CLAIM_SHORTER))
    return 1;
  return has_orphans (run, &evidence->orphans) == -1 ? -1 : ready_judge (evidence);
}

static int
judge_claim (struct run *run, size_t now, size_t known_index, size_t from, enum ready_claim claim)
{
  struct interp *interp = run->interp;
  const struct parsed_entry *entry = run->now_entry[now];
  /* Whose bytes these were: of the same entry, or of the one that was put in its place. */
  struct known *was = from != MATCH_NONE ? run->known_entry[from]
                      : known_index != MATCH_NONE ? run->known_entry[known_index] : NULL;
  struct action action = { .claim = claim, .now = now, .known = known_index, .from = from };
  struct ready_evidence evidence = evidence_for (run, claim, run->now_folder[now]->torn);
  uint64_t signature;
  int r;

  evidence.bare = entry->bare && (known_index == MATCH_NONE || claim == CLAIM_MOVED);
  evidence.partial = claim == CLAIM_CONTENT && entry->valid < entry->size;
  if (claim != CLAIM_EMPTY && claim != CLAIM_MOVED && (entry->first != 0 || entry->is_folder)) {
    struct parsed_runs *runs = &run->chains[now];

    if (run_chain (run, now, &evidence.chain) == -1)
      return -1;
    if (was && was->first == entry->first && known_runs (interp, was) == -1)
      return -1;
    /* Cut and made longer again, between two looks: as long as before, with other clusters. */
    if (claim == CLAIM_TIME && was && common_bytes (interp, was, runs) < entry->size)
      evidence.claim = action.claim = claim = CLAIM_CONTENT;
    if (entry->is_folder)
      look_at_bytes (interp, runs, 0, interp->g->cluster_bytes, &evidence.written, &evidence.present);
    else if (claim == CLAIM_CONTENT || claim == CLAIM_SHORTER)
      look_at_bytes (interp, runs, was && was->first == entry->first ? common_bytes (interp, was, runs) : 0,
                     entry->valid < entry->size ? entry->valid : entry->size, &evidence.written, &evidence.present);
    action.runs = *runs;
    action.size = entry->size;
    action.valid = entry->valid < entry->size ? entry->valid : entry->size;
  }
  /* Its old clusters are neither free nor another's: their own entry is still to come, under another name. */
  if (known_index != MATCH_NONE && run->known[known_index].first != entry->first && run->now[now].what != WHAT_MOVED) {
    bool released;

    if (is_released (run, known_index, &released) == -1)
      return -1;
    evidence.written &= released;
  }
  signature = mix (mix (mix (claim, entry->first), entry->size), entry->raw_mtime);
  for (size_t i = 0; i < action.runs.n; ++i)
    signature = mix (mix (signature, action.runs.list[i].first), action.runs.list[i].count);
  signature = mix (signature, evidence.chain * 4 + (claim == CLAIM_CONTENT ? evidence.written * 2 : 0) + evidence.present);
  if (timer_look (run, run->now_folder[now]->key, &run->now[now], signature, &action.runs, &evidence.stable_ms) == -1)
    return -1;
  r = is_ready (run, &evidence);
  if (r != 0)
    return r == -1 ? -1 : add_action (run, &action);
  wait_for (run, evidence.stable_ms);
  return 0;
}

static int
judge_now (struct run *run, size_t i)
{
  const struct match_entry *now = &run->now[i];
  const struct parsed_entry *entry = run->now_entry[i];
  struct known *known = now->other == MATCH_NONE ? NULL : run->known_entry[now->other];
  enum ready_claim claim;

  if (now->junk)
    return 0;
  switch (now->what) {
  case WHAT_CROSSED:
    run->pending++;
    return 0;
  case WHAT_SAME:
    if (entry->is_folder || !claim_of (entry, known, true, &claim))
      return 0;
    return judge_claim (run, i, now->other, MATCH_NONE, claim);
  case WHAT_CHANGED:
  case WHAT_REPLACED:
    if (!claim_of (entry, known, false, &claim))
      return 0;
    return judge_claim (run, i, now->other, now->what == WHAT_REPLACED ? now->from : MATCH_NONE, claim);
  case WHAT_MOVED:
    /* Where it was must be known to hold it no longer; its content is looked at once it is in its new place. */
    if (run->known_folder[now->other]->live && run->known_folder[now->other]->torn) {
      run->pending++;
      return 0;
    }
    return judge_claim (run, i, now->other, MATCH_NONE, CLAIM_MOVED);
  default:
    claim_of (entry, NULL, false, &claim);
    return judge_claim (run, i, MATCH_NONE, MATCH_NONE, claim);
  }
}

static int
judge_gone (struct run *run, size_t k)
{
  const struct folder *folder = run->known_folder[k];
  struct action action = { .claim = CLAIM_GONE, .now = MATCH_NONE, .known = k, .from = MATCH_NONE };
  struct ready_evidence evidence = evidence_for (run, CLAIM_GONE, folder->live && (folder->torn || !folder->parsed));

  if (is_released (run, k, &evidence.released) == -1 ||
      timer_look (run, ~folder->key, &run->known[k], mix (CLAIM_GONE, evidence.released), NULL, &evidence.stable_ms) == -1)
    return -1;
  /* What a folder without clusters says is nothing, not that it is empty. */
  if (ready_judge (&evidence) && !(folder->live && (folder->broken || folder->sealed)))
    return add_action (run, &action);
  wait_for (run, evidence.stable_ms);
  return 0;
}

int
judge_all (struct run *run)
{
  if (left_settle (run) == -1)
    return -1;
  for (size_t i = 0; i < run->n_now; ++i)
    if (judge_now (run, i) == -1)
      return -1;
  for (size_t k = 0; k < run->n_known; ++k)
    if ((run->known[k].fate == FATE_VANISHED || run->known[k].fate == FATE_TRASHED) && judge_gone (run, k) == -1)
      return -1;
  return 0;
}
