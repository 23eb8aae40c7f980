/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's staging: the bytes of what is ready are copied and made durable. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "blobs.h"
#include "cache.h"
#include "cleanup.h"
#include "engine.h"
#include "format.h"
#include "interpret-private.h"
#include "msg.h"
#include "overlay.h"
#include "stage-over.h"
#include "steps.h"

#define PIECE (1 << 20)

/* Of directories of both formats; entries are multiples of it. */
#define ENTRY_BYTES 32

static void
to_hex (const unsigned char *digest, unsigned n, char *ret)
{
  for (unsigned i = 0; i < n; ++i)
    sprintf (ret + 2 * i, "%02x", digest[i]);
}

/* What the action's file was before, to see whether anything changed: a pinned file of the same size that is all here. */
static struct cache_file *
pin_former (struct run *run, const struct action *action)
{
  struct interp *interp = run->interp;
  struct cache_file *file;
  uint64_t size;

  if (action->known == MATCH_NONE || known_pin (interp, run->known_entry[action->known], &file, &size) != 1)
    return NULL;
  if (size == action->size && cache_is_complete (file))
    return file;
  cache_unpin (engine_cache (interp->engine), file);
  return NULL;
}

static void
complain (struct interp *interp)
{
  if (!interp->complained)
    msg_error ("view %s: what its guest wrote cannot be kept for the upload: %m; it is tried again", interp->name);
  interp->complained = true;
}

struct stager {
  struct run *run;
  struct action *action;
  EVP_MD_CTX *sha1, *sha256;
  struct cache_file *former;
  bool same;
  char *buf, *old;
  uint64_t done;
};

static bool
is_zero (const char *buf, size_t n)
{
  return n > 0 && buf[0] == 0 && memcmp (buf, buf + 1, n - 1) == 0;
}

static int
stage_piece (struct stager *stager, size_t n)
{
  struct interp *interp = stager->run->interp;
  size_t skip = 0;

  if (EVP_DigestUpdate (stager->sha1, stager->buf, n) != 1 || EVP_DigestUpdate (stager->sha256, stager->buf, n) != 1)
    return -1;
  if (stager->same)
    stager->same = cache_read (engine_cache (interp->engine), stager->former, stager->old, n, stager->done) == 0 &&
                   memcmp (stager->old, stager->buf, n) == 0;
  /* What was never written in the store reads as zeros: a file that a guest made long needs no room for its length; but for the
   * last byte, by which a start knows that all of it is there. */
  if (is_zero (stager->buf, n))
    skip = stager->done + n < stager->action->size ? n : n - 1;
  if (skip < n && blobs_write (engine_blobs (interp->engine), stager->buf + skip, n - skip,
                               stager->action->position + stager->done + skip) == -1) {
    complain (interp);
    return -1;
  }
  stager->done += n;
  return 0;
}

/* Copies the file's bytes; what the guest never wrote of it (exFAT's ValidDataLength) is zeros. */
static int
stage_bytes (struct stager *stager)
{
  struct interp *interp = stager->run->interp;
  struct action *action = stager->action;
  uint64_t at = 0;

  for (size_t i = 0; i < action->runs.n && at < action->size; ++i) {
    const uint64_t start = cluster_to_byte (interp->g, action->runs.list[i].first);
    const uint64_t length = (uint64_t) action->runs.list[i].count * interp->g->cluster_bytes;
    const uint64_t end = at + length < action->size ? at + length : action->size;
    const uint64_t begin = at;

    while (at < end) {
      const size_t n = end - at < PIECE ? end - at : PIECE;
      const size_t valid = at >= action->valid ? 0 : action->valid - at < n ? action->valid - at : n;

      if (valid > 0 && read_now (interp, stager->buf, valid, start + (at - begin)) == -1)
        return -1;
      memset (stager->buf + valid, 0, n - valid);
      if (stage_piece (stager, n) == -1)
        return -1;
      at += n;
    }
  }
  return at == action->size ? 0 : -1;
}

static int
stage_whole (struct run *run, struct action *action)
{
  struct stager stager = { .run = run, .action = action };
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  int r = -1;

  stager.former = pin_former (run, action);
  stager.same = stager.former != NULL;
  stager.buf = malloc (PIECE);
  stager.old = malloc (PIECE);
  stager.sha1 = EVP_MD_CTX_new ();
  stager.sha256 = EVP_MD_CTX_new ();
  if (stager.buf && stager.old && stager.sha1 && stager.sha256 &&
      EVP_DigestInit_ex (stager.sha1, EVP_sha1 (), NULL) == 1 &&
      EVP_DigestInit_ex (stager.sha256, EVP_sha256 (), NULL) == 1 && stage_bytes (&stager) == 0 &&
      EVP_DigestFinal_ex (stager.sha1, digest, &n) == 1) {
    to_hex (digest, n, action->sha1);
    r = EVP_DigestFinal_ex (stager.sha256, digest, &n) == 1 ? 0 : -1;
    to_hex (digest, n, action->sha256);
  }
  action->same = r == 0 && stager.same;
  if (stager.former)
    cache_unpin (engine_cache (run->interp->engine), stager.former);
  EVP_MD_CTX_free (stager.sha1);
  EVP_MD_CTX_free (stager.sha256);
  free (stager.buf);
  free (stager.old);
  return r;
}

/* Only what the guest changed, where that can be told from the rest. */
static enum stage_over
stage_changes (struct run *run, struct action *action)
{
  struct interp *interp = run->interp;
  CLEANUP_FREE struct stage_run *runs = calloc (action->runs.n + 1, sizeof *runs);
  struct stage_file file = {
    .engine = interp->engine, .overlay = interp->overlay, .map = interp->map, .read = read_now, .opaque = interp,
    .runs = runs, .n_runs = action->runs.n, .size = action->size, .valid = action->valid, .position = action->position,
  };
  int read;
  enum stage_over result;

  if (runs == NULL || action->known == MATCH_NONE || run->known_entry[action->known]->is_folder)
    return STAGE_WHOLE;
  if (known_version (interp, run->known_entry[action->known], &file.known) == -1)
    return STAGE_FAILED;
  for (size_t i = 0; i < action->runs.n; ++i)
    runs[i] = (struct stage_run) { .start = cluster_to_byte (interp->g, action->runs.list[i].first),
                                   .bytes = (uint64_t) action->runs.list[i].count * interp->g->cluster_bytes };
  result = stage_over (&file, &action->over, &read);
  if (result == STAGE_FAILED && read == 0)
    complain (interp);
  if (result != STAGE_OVER)
    kin_stage_free (&action->over);
  return result;
}

static int
stage (struct run *run, struct action *action)
{
  struct interp *interp = run->interp;
  int r = 0;

  action->position = blobs_alloc (engine_blobs (interp->engine), action->size);
  if (action->position == UINT64_MAX) {
    msg_error ("view %s: a file of %llu bytes is more than the cache can hold", interp->name,
               (unsigned long long) action->size);
    return -1;
  }
  switch (stage_changes (run, action)) {
  case STAGE_FAILED:
    r = -1;
    break;
  case STAGE_SAME:
    action->same = true;
    break;
  case STAGE_WHOLE:
    r = stage_whole (run, action);
    break;
  case STAGE_OVER:
    break;
  }
  action->staged = r == 0 && !action->same;
  if (!action->staged)
    blobs_punch (engine_blobs (interp->engine), action->position, action->size);
  return r;
}

bool
has_content (const struct action *action)
{
  return action->claim == CLAIM_CONTENT || action->claim == CLAIM_SHORTER || action->claim == CLAIM_IN_PLACE ||
         action->claim == CLAIM_SILENT;
}

/* An entry's own bytes in its folder.  *ret_hit: they, or others in their sectors, were written since the run began. */
static int
entry_bytes (struct run *run, size_t now, bool *ret_hit, uint64_t *ret_hash)
{
  struct interp *interp = run->interp;
  const struct parsed_entry *entry = run->now_entry[now];
  const struct parsed_runs *runs = &run->now_folder[now]->runs;
  uint64_t at = 0;

  *ret_hit = false;
  *ret_hash = 0;
  for (size_t i = 0; i < runs->n; ++i) {
    const uint64_t length = (uint64_t) runs->list[i].count * interp->g->cluster_bytes;

    if (entry->offset < at + length && entry->offset + entry->bytes > at) {
      uint64_t offset, bytes;

      range_of (interp->g, &runs->list[i], entry->offset > at ? entry->offset - at : 0, entry->offset + entry->bytes - at,
                &offset, &bytes);
      while (bytes > 0) {
        uint64_t buf[ENTRY_BYTES / sizeof (uint64_t)];

        if (read_now (interp, buf, sizeof buf, offset) == -1)
          return -1;
        for (size_t w = 0; w < sizeof buf / sizeof buf[0]; ++w)
          *ret_hash = (*ret_hash ^ buf[w]) * UINT64_C (0x9e3779b97f4a7c15) + (*ret_hash >> 29);
        *ret_hit |= overlay_watch_hit (interp->overlay, sizeof buf, offset);
        offset += sizeof buf;
        bytes -= sizeof buf;
      }
    }
    at += length;
  }
  return 0;
}

/* Before its bytes are staged: what its entry says is what was read of it. */
static int
note_entry (struct run *run, struct action *action)
{
  bool hit;

  if (action->now == MATCH_NONE)
    return 0;
  if (entry_bytes (run, action->now, &hit, &action->entry_hash) == -1)
    return -1;
  action->dropped |= hit;
  return 0;
}

/* Whether anything that an action was concluded from was written since the run began.  Other entries in its sectors don't
 * count: a large file beside a busy one would be staged for ever. */
static int
is_hit (struct run *run, const struct action *action, bool *ret)
{
  uint64_t hash;

  if (action->now == MATCH_NONE) {
    *ret = runs_hit (run->interp, &run->known_folder[action->known]->runs);
    return 0;
  }
  if (entry_bytes (run, action->now, ret, &hash) == -1)
    return -1;
  *ret = (*ret && hash != action->entry_hash) || runs_hit (run->interp, &action->runs);
  return 0;
}

/* Whether a volume that was marked clean may be so no longer. */
static bool
mark_hit (struct interp *interp)
{
  const struct geometry *g = interp->g;

  return interp->committed && (overlay_watch_hit (interp->overlay, SECTOR_SIZE, g->volume_start) ||
                               (g->format->has_aliases && overlay_watch_hit (interp->overlay, SECTOR_SIZE, g->fat_start)));
}

/* Whether a folder has an item, or gets one in this run. */
static bool
parent_is_ready (const struct folder *folder)
{
  return folder->key > 0 || folder->will_be;
}

static void
mark_new_folders (struct run *run)
{
  struct interp *interp = run->interp;

  for (size_t f = 0; f < interp->n_folders; ++f)
    interp->folders[f]->will_be = false;
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t at = run->actions[i].claim == CLAIM_FOLDER
                      ? idmap_get (&interp->by_first, run->now_entry[run->actions[i].now]->first) : IDMAP_NONE;

    if (at != IDMAP_NONE)
      interp->folders[at]->will_be = true;
  }
}

/* Stages all that is ready, makes it durable, and drops what the guest changed meanwhile. */
int
stage_all (struct run *run)
{
  struct interp *interp = run->interp;
  bool any = false, marked;

  mark_new_folders (run);
  for (size_t i = 0; i < run->n_actions; ++i)
    if (note_entry (run, &run->actions[i]) == -1)
      return -1;
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (action->dropped || !has_content (action) || action->size == 0)
      continue;
    if (!parent_is_ready (run->now_folder[action->now])) {
      action->dropped = true;
      continue;
    }
    /* One file that cannot be read now (its base is in a cloud that is away) must not hold up the others. */
    if (stage (run, action) == -1) {
      action->dropped = true;
      run->failed = true;
    }
    else
      interp->complained = false;
    any |= action->staged;
  }
  /* Without this a row could name bytes that a loss of power takes away: an empty file would go to the cloud. */
  if (any && blobs_sync (engine_blobs (interp->engine)) == -1) {
    msg_error ("view %s: what its guest wrote cannot be made durable: %m", interp->name);
    return -1;
  }
  /* The view goes on to read what its guest did not write from the version below, and once the cloud has the new one that can not
   * be had again: without this a restart would fetch what is not on record yet, in vain. */
  if (any && cache_record (engine_cache (interp->engine)) == -1)
    return -1;
  if (any)
    step_passed ("staged");
  marked = mark_hit (interp);
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];
    bool hit;

    if (is_hit (run, action, &hit) == -1)
      return -1;
    action->dropped |= hit || marked;
    if (action->dropped)
      run->pending++;
  }
  return 0;
}
