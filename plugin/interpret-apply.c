/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's effects: bytes are staged and made durable, then one transaction changes the catalog, the journal and
 * what is known of the view.
 *
 * Order within the transaction: files that are gone free their names; folders are made, from the top down; entries move;
 * contents; folders that are gone, from the bottom up.  What is blocked by another change of the same run is tried again
 * after it; what stays blocked waits for the next run.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "engine.h"
#include "format.h"
#include "interpret-private.h"
#include "journal.h"
#include "msg.h"
#include "names.h"
#include "overlay.h"
#include "said.h"
#include "steps.h"

#define PIECE (1 << 20)

/* So many items whose names a guest would take for one another are told apart when one of them is renamed. */
#define MOST_NUMBERS 100

/* Fewer removals than this are never held back. */
#define FEW_REMOVALS 20

/* ---- staging ---- */

static void
to_hex (const unsigned char *digest, unsigned n, char *ret)
{
  for (unsigned i = 0; i < n; ++i)
    sprintf (ret + 2 * i, "%02x", digest[i]);
}

/* What the action's file was before, to see whether anything changed: a pinned file of the same size that is all here. */
static struct cache_file *
pin_former (struct run *run, struct action *action)
{
  struct interp *interp = run->interp;
  struct cache *cache = engine_cache (interp->engine);
  struct known *known = action->known == MATCH_NONE ? NULL : run->known_entry[action->known];
  uint64_t size, position;
  int64_t version;
  struct cache_file *file;
  int r;

  if (known == NULL || known_version (interp, known, &version) == -1 || version <= 0)
    return NULL;
  db_read_begin (interp->db);
  r = catalog_version_run (interp->db, version, &size, &position);
  db_read_end (interp->db);
  if (r != 1 || size != action->size)
    return NULL;
  file = cache_pin (cache, version, size, position);
  if (file && !cache_is_complete (file)) {
    cache_unpin (cache, file);
    file = NULL;
  }
  return file;
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

  if (EVP_DigestUpdate (stager->sha1, stager->buf, n) != 1 || EVP_DigestUpdate (stager->sha256, stager->buf, n) != 1)
    return -1;
  if (stager->same)
    stager->same = cache_read (engine_cache (interp->engine), stager->former, stager->old, n, stager->done) == 0 &&
                   memcmp (stager->old, stager->buf, n) == 0;
  /* What was never written in the store reads as zeros: a file that a guest made long needs no room for its length. */
  if (!is_zero (stager->buf, n) &&
      blobs_write (engine_blobs (interp->engine), stager->buf, n, stager->action->position + stager->done) == -1) {
    if (!interp->complained)
      msg_error ("view %s: what its guest wrote cannot be kept for the upload: %m; it is tried again", interp->name);
    interp->complained = true;
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
stage (struct run *run, struct action *action)
{
  struct interp *interp = run->interp;
  struct stager stager = { .run = run, .action = action };
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n;
  int r = -1;

  action->position = blobs_alloc (engine_blobs (interp->engine), action->size);
  if (action->position == UINT64_MAX) {
    msg_error ("view %s: a file of %llu bytes is more than the cache can hold", interp->name,
               (unsigned long long) action->size);
    return -1;
  }
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
  action->staged = r == 0 && !action->same;
  if (!action->staged)
    blobs_punch (engine_blobs (interp->engine), action->position, action->size);
  if (stager.former)
    cache_unpin (engine_cache (interp->engine), stager.former);
  EVP_MD_CTX_free (stager.sha1);
  EVP_MD_CTX_free (stager.sha256);
  free (stager.buf);
  free (stager.old);
  return r;
}

static bool
has_content (const struct action *action)
{
  return action->claim == CLAIM_CONTENT || action->claim == CLAIM_SHORTER || action->claim == CLAIM_IN_PLACE ||
         action->claim == CLAIM_SILENT;
}

/* Whether an entry's own bytes in its folder were written since the run began. */
static bool
entry_hit (struct run *run, size_t now)
{
  struct interp *interp = run->interp;
  const struct parsed_entry *entry = run->now_entry[now];
  uint64_t at = 0;

  for (size_t i = 0; i < run->now_folder[now]->runs.n; ++i) {
    const struct parsed_run *part = &run->now_folder[now]->runs.list[i];
    const uint64_t length = (uint64_t) part->count * interp->g->cluster_bytes;

    if (entry->offset < at + length && entry->offset + entry->bytes > at) {
      uint64_t offset, bytes;

      range_of (interp->g, part, entry->offset > at ? entry->offset - at : 0, entry->offset + entry->bytes - at, &offset,
                &bytes);
      if (overlay_watch_hit (interp->overlay, bytes, offset))
        return true;
    }
    at += length;
  }
  return false;
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
static int
stage_all (struct run *run)
{
  struct interp *interp = run->interp;
  bool any = false;

  mark_new_folders (run);
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (!has_content (action) || action->size == 0)
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
  if (any)
    step_passed ("staged");
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (action->now != MATCH_NONE ? entry_hit (run, action->now) || runs_hit (interp, &action->runs)
                                  : runs_hit (interp, &run->known_folder[action->known]->runs))
      action->dropped = true;
    if (action->dropped)
      run->pending++;
  }
  return 0;
}

/* ---- the transaction ---- */

static int64_t
folder_item (const struct folder *folder)
{
  return folder->created ? folder->created : folder->key;
}

/* The name that an entry has in the cloud.  -1: none, it stays on the disk. */
static int
cloud_name (struct interp *interp, const struct match_entry *entry, char *ret)
{
  if (name_to_cloud (entry->name, entry->units, ret) >= 0)
    return 0;
  if (said_first_time (interp->said, interp->name, "name"))
    msg_notice ("view %s: its guest gave a file or folder a name that no cloud can have; it stays on that disk", interp->name);
  return -1;
}

/* The name in the cloud of what a view shows by that name.  Where there is a way back, the name says it; a name that was cut or
 * numbered is taken for the item's own, if that could be shown so. */
static void
shown_as (struct interp *interp, const struct known *known, char *ret)
{
  struct catalog_list list;
  uint16_t *shown;
  const char *own;
  bool mapped;
  size_t n;

  if (name_to_cloud (known->name, known->units, ret) < 0)
    ret[0] = '\0';
  if (catalog_any_item (interp->db, known->item, &list) != 1)
    return;
  own = list.items[0].name;
  shown = malloc ((strlen (own) + NAME_UNITS) * sizeof *shown);
  if (strcmp (own, ret) != 0 && shown) {
    n = name_shorten (shown, name_to_shown (own, strlen (own), shown, &mapped), own, strlen (own));
    for (uint32_t number = 1; number <= MOST_NUMBERS; ++number) {
      uint16_t numbered[NAME_UNITS];
      const uint16_t *candidate = shown;
      size_t units = n;

      if (number > 1) {
        units = name_number (shown, n, list.items[0].is_folder, number, numbered);
        candidate = numbered;
      }
      if (units == known->units && memcmp (candidate, known->name, units * sizeof *candidate) == 0) {
        snprintf (ret, NAME_UNITS * 3 + 1, "%s", own);
        break;
      }
    }
  }
  free (shown);
  catalog_list_free (&list);
}

/* Whether the catalog knows the item, be it gone: then what happens to it is for the journal to decide. */
static int
item_exists (struct interp *interp, int64_t item)
{
  struct catalog_list list;
  const int r = catalog_any_item (interp->db, item, &list);

  if (r != -1)
    catalog_list_free (&list);
  return r;
}

/* A folder that the cloud removed while the guest still has it comes back when something in it was written.  Returns its
 * item, 0 if it has none yet. */
static int64_t
ensure_folder (struct run *run, struct journal *journal, struct folder *folder)
{
  struct interp *interp = run->interp;
  const int64_t item = folder_item (folder);
  struct folder *parent;
  struct known *known;
  char name[NAME_UNITS * 3 + 1];
  int64_t above;
  int r;

  if (item <= 0)
    return 0;
  if (folder->is_root || folder->created)
    return item;
  r = item_exists (interp, item);
  if (r != 0)
    return r == -1 ? -1 : item;
  parent = folder_find (interp, folder->parent);
  known = parent ? known_by_item (parent, item) : NULL;
  if (known == NULL || name_to_cloud (known->name, known->units, name) < 0)
    return 0;
  above = ensure_folder (run, journal, parent);
  if (above <= 0)
    return above;
  folder->created = journal_create (journal, above, name, true, 0, &(struct timespec) { 0 });
  return folder->created;
}

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
    for (size_t k = 0; folder && k < run->n_known; ++k)
      if (run->known_folder[k] == folder && run->leaves[k] != LEFT)
        return 0;
  }
  else
    version = known->version;
  if (journal_remove (journal, known->item, version) == -1 || end_seen (run, action->known, true) == -1)
    return -1;
  return 1;
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
  return put_seen (run, action, action->item, 0) == -1 ? -1 : 1;
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
  if (place_of_another (run, action) != MATCH_NONE && run->leaves[place_of_another (run, action)] == 0)
    return 0;
  above = ensure_folder (run, journal, run->now_folder[action->now]);
  if (above <= 0 || cloud_name (interp, &run->now[action->now], name) == -1)
    return above == -1 ? -1 : 0;
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
  if (journal_move (journal, known->item, folder_item (from), was, above, name) == -1 ||
      end_seen (run, action->known, false) == -1)
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
  action->version = action->size > 0
                    ? journal_stage (journal, action->size, action->position, action->sha1, action->sha256)
                    : journal_stage (journal, 0, 0, NULL, NULL);
  if (action->version == -1)
    return -1;
  if (known) {
    r = item_exists (interp, known->item);
    if (r == -1)
      return -1;
  }
  action->item = r == 1 ? journal_edit (journal, known->item, was, action->version, &entry->mtime)
                        : journal_create (journal, above, name, false, action->version, &entry->mtime);
  if (action->item == -1)
    return -1;
  if (end_former (run, journal, action) == -1)
    return -1;
  return put_seen (run, action, action->item, action->version) == -1 ? -1 : 1;
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
      run->leaves[action->known] = LEFT;
    if (r == 1 && action->from != MATCH_NONE)
      run->leaves[action->from] = LEFT;
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
  } while (any);
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
  if (catalog_totals (journal->db, &bytes, &files, &folders, &largest) == -1)
    return -1;
  journal->held = removals * 100 > (files + folders) * run->interp->max_delete;
  if (journal->held)
    msg_error ("view %s: its guest removed %llu of %llu files and folders: they stay in the cloud until \"cloudsharectl"
               " approve\" says that this is meant", run->interp->name, (unsigned long long) removals,
               (unsigned long long) (files + folders));
  return 0;
}

/* ---- after the commit ---- */

static void
forget_known (struct run *run, size_t k, bool gone)
{
  struct known *known = run->known_entry[k];

  if (gone && known->is_folder) {
    struct folder *folder = folder_find (run->interp, known->item);

    if (folder) {
      folder->gone = true;
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
  known->version = action->version;
  known->data_dirty = false;
  run->interp->owners_stale = true;
  return 0;
}

/* Bytes that are journalled are not fresh any more.  What lies behind those that are valid may become so later. */
static void
settle_bytes (struct run *run, const struct action *action)
{
  const struct geometry *g = run->interp->g;
  uint64_t at = 0;

  for (size_t i = 0; i < action->runs.n; ++i) {
    const uint64_t end = round_up (action->valid, g->cluster_bytes);
    uint64_t offset, bytes;

    if (at >= end)
      break;
    range_of (g, &action->runs.list[i], 0, end - at, &offset, &bytes);
    overlay_settle (run->interp->overlay, bytes, offset);
    at += (uint64_t) action->runs.list[i].count * g->cluster_bytes;
  }
}

static int
finish (struct run *run)
{
  struct interp *interp = run->interp;
  int r = 0;

  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (!action->done) {
      run->pending += !action->dropped;
      continue;
    }
    if (action->staged &&
        cache_adopted (engine_cache (interp->engine), action->version, action->size, action->position) == -1)
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
  /* After what is gone was forgotten: a folder that was made again may have its item. */
  for (size_t f = 0; f < interp->n_folders; ++f) {
    struct folder *folder = interp->folders[f];
    const int64_t created = folder->created;

    folder->created = 0;
    if (created && folder_rekey (interp, folder, created) == -1)
      r = -1;
  }
  for (size_t i = 0; i < run->n_actions; ++i) {
    struct action *action = &run->actions[i];

    if (!action->done || action->claim == CLAIM_GONE)
      continue;
    if (remember (run, action) == -1)
      r = -1;
    if (has_content (action))
      settle_bytes (run, action);
  }
  return r;
}

/* Versions that the transaction needs: looked up before it, since it holds the lock. */
static int
load_versions (struct run *run)
{
  for (size_t i = 0; i < run->n_actions; ++i) {
    const size_t entries[] = { run->actions[i].known, run->actions[i].from };

    for (size_t k = 0; k < 2; ++k) {
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
  struct journal journal = {
    .db = interp->db, .blobs = engine_blobs (interp->engine), .view = interp->name, .now = time (NULL),
    .quiet_s = interp->write_back_s,
  };
  bool rolled_back;
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
  if (db_begin (interp->db) == -1)
    return -1;
  for (size_t i = 0; i < run->n_actions; ++i)
    if (!run->actions[i].dropped && (run->actions[i].claim == CLAIM_GONE || run->actions[i].claim == CLAIM_MOVED))
      run->leaves[run->actions[i].known] = LEAVES;
  r = catalog_revision (interp->db, &journal.revision);
  journal.revision++;
  if (r == 0)
    r = look_for_mass_delete (run, &journal);
  if (r == 0)
    r = apply_all (run, &journal);
  r = journal_finish (&journal, r);
  if (r == 0 && journal.changed)
    r = catalog_commit_revision (interp->db, journal.revision);
  rolled_back = r == -1;
  r = db_end (interp->db, r);
  if (r == 0)
    step_passed ("journalled");
  if (r == -1) {
    for (size_t f = 0; f < interp->n_folders; ++f)
      interp->folders[f]->created = 0;
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
  return finish (run);
}
