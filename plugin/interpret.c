/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter: one run. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "format.h"
#include "fsutil.h"
#include "interpret-private.h"
#include "map.h"
#include "msg.h"
#include "names.h"
#include "overlay.h"
#include "said.h"

/* Folders within folders, as deep as the catalog keeps them; and so many at once of a hostile disk. */
#define MAX_FOLDERS 200000

/* After bytes could not be staged: no room, or their base is in a cloud that is away. */
#define FAILED_MS 5000

/* So many entries of folders that were looked at are kept; what lies behind stays on the guest's disk. */
#define MAX_ENTRIES 4000000

/* What waits for long is looked at this often. */
#define PENDING_MS 1000

/* ---- bytes ---- */

static int
read_base (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct interp *interp = opaque;

  return disk_read (interp->disk, interp->map, buf, n, offset);
}

int
read_now (void *opaque, void *to, size_t n, uint64_t offset)
{
  struct interp *interp = opaque;
  char *buf = to;

  while (n > 0) {
    bool present;
    const size_t len = overlay_run (interp->overlay, n, offset, &present);

    if (present && overlay_read (interp->overlay, buf, len, offset) == -1) {
      msg_error ("view %s: what its guest wrote cannot be read back: %m", interp->name);
      return -1;
    }
    if (!present && disk_read (interp->disk, interp->map, buf, len, offset) == -1)
      return -1;
    buf += len;
    offset += len;
    n -= len;
  }
  return 0;
}

/* Bytes from..to of a run of clusters, as a range of the disk. */
void
range_of (const struct geometry *g, const struct parsed_run *run, uint64_t from, uint64_t to, uint64_t *ret_offset,
          uint64_t *ret_bytes)
{
  const uint64_t start = cluster_to_byte (g, run->first);
  const uint64_t length = (uint64_t) run->count * g->cluster_bytes;

  if (to > length)
    to = length;
  *ret_offset = start + from;
  *ret_bytes = to > from ? to - from : 0;
}

/* ---- making one ---- */

struct interp *
interpret_new (const struct interpret_config *config)
{
  struct interp *interp = calloc (1, sizeof *interp);

  if (interp == NULL || (interp->name = strdup (config->name)) == NULL || (interp->said = said_new ()) == NULL) {
    msg_error ("out of memory");
    if (interp)
      free (interp->name);
    free (interp);
    return NULL;
  }
  interp->engine = config->engine;
  interp->db = engine_db (config->engine);
  interp->disk = config->disk;
  interp->overlay = config->overlay;
  interp->map = map_ref (config->map);
  interp->g = disk_geometry (config->disk);
  interp->view = config->view;
  interp->junk = config->junk;
  interp->settle_ms = config->settle_ms;
  interp->write_back_s = config->write_back_s;
  interp->max_delete = config->max_delete;
  interp->base = parse_new (interp->g, read_base, interp);
  interp->parse = parse_new (interp->g, read_now, interp);
  interp->owners_stale = true;
  interp->suspect = overlay_lost_power (interp->overlay);
  if (interp->base == NULL || interp->parse == NULL) {
    interpret_free (interp);
    return NULL;
  }
  return interp;
}

void
interpret_free (struct interp *interp)
{
  if (interp == NULL)
    return;
  if (interp->has_watch)
    overlay_watch_end (interp->overlay);
  for (size_t i = 0; i < interp->n_folders; ++i)
    folder_free (interp->folders[i]);
  for (size_t i = 0; i < interp->timers_room; ++i)
    parsed_runs_free (&interp->timers[i].runs);
  free (interp->timers);
  free (interp->folders);
  idmap_free (&interp->by_key);
  idmap_free (&interp->by_first);
  free (interp->owners);
  free (interp->metadata);
  if (interp->base)
    parse_free (interp->base);
  if (interp->parse)
    parse_free (interp->parse);
  map_unref (interp->map);
  said_free (interp->said);
  free (interp->name);
  free (interp);
}

/* ---- timers ---- */

static uint64_t
place_of (int64_t folder, const uint16_t *name, uint16_t units)
{
  const uint64_t hash = (name_hash_units (name, units) ^ (uint64_t) folder * UINT64_C (0x9e3779b97f4a7c15)) *
                        UINT64_C (0xff51afd7ed558ccd);

  return hash ? hash : 1;
}

static struct timer *
timer_slot (struct timer *timers, size_t room, uint64_t place)
{
  size_t i = place >> 17 & (room - 1);

  while (timers[i].place != 0 && timers[i].place != place)
    i = (i + 1) & (room - 1);
  return &timers[i];
}

/* Only those that the last run used stay. */
static int
timers_rebuild (struct interp *interp, size_t room)
{
  struct timer *timers = calloc (room, sizeof *timers);
  size_t n = 0;

  if (timers == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < interp->timers_room; ++i) {
    struct timer *timer = &interp->timers[i];

    if (timer->place == 0)
      continue;
    if (timer->used) {
      *timer_slot (timers, room, timer->place) = *timer;
      n++;
    }
    else
      parsed_runs_free (&timer->runs);
  }
  free (interp->timers);
  interp->timers = timers;
  interp->timers_room = room;
  interp->n_timers = n;
  return 0;
}

/* For how long a difference has looked like that.  runs are copied. */
static int
timer_look (struct run *run, int64_t folder, const struct match_entry *entry, uint64_t signature,
            const struct parsed_runs *runs, uint64_t *ret_ms)
{
  struct interp *interp = run->interp;
  const uint64_t place = place_of (folder, entry->name, entry->units);
  struct timer *timer;

  if (interp->n_timers * 2 >= interp->timers_room) {
    /* All of this run are in use; those of the last one that are not will go with the next rebuild. */
    for (size_t i = 0; i < interp->timers_room; ++i)
      interp->timers[i].used = interp->timers[i].place != 0;
    if (timers_rebuild (interp, interp->timers_room ? interp->timers_room * 2 : 64) == -1)
      return -1;
  }
  timer = timer_slot (interp->timers, interp->timers_room, place);
  if (timer->place == 0) {
    timer->place = place;
    interp->n_timers++;
    timer->signature = ~signature;
  }
  timer->used = true;
  if (timer->signature != signature) {
    timer->signature = signature;
    timer->since_ms = run->time->now_ms;
    parsed_runs_free (&timer->runs);
    memset (&timer->runs, 0, sizeof timer->runs);
    if (runs && runs->n > 0) {
      timer->runs.list = malloc (runs->n * sizeof *runs->list);
      if (timer->runs.list == NULL) {
        msg_error ("out of memory");
        return -1;
      }
      memcpy (timer->runs.list, runs->list, runs->n * sizeof *runs->list);
      timer->runs.n = runs->n;
    }
  }
  *ret_ms = run->time->now_ms - timer->since_ms;
  return 0;
}

bool
runs_hit (struct interp *interp, const struct parsed_runs *runs)
{
  for (size_t i = 0; i < runs->n; ++i)
    if (overlay_watch_hit (interp->overlay, (uint64_t) runs->list[i].count * interp->g->cluster_bytes,
                           cluster_to_byte (interp->g, runs->list[i].first)))
      return true;
  return false;
}

/* Bytes of a waiting difference that were written since the last run begin its wait anew. */
static void
timers_begin (struct interp *interp, uint64_t now_ms)
{
  for (size_t i = 0; i < interp->timers_room; ++i) {
    struct timer *timer = &interp->timers[i];

    if (timer->place == 0)
      continue;
    timer->used = false;
    if (interp->has_watch && runs_hit (interp, &timer->runs))
      timer->since_ms = now_ms;
  }
}

/* ---- folders: which are there ---- */

static int
index_folder (struct interp *interp, size_t i)
{
  if (interp->folders[i]->gone || interp->folders[i]->first == 0)
    return 0;
  if (idmap_put (&interp->by_first, interp->folders[i]->first, i) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  return 0;
}

/* The extent of the generation that begins with those clusters, unless the guest removed its item.  1, 0 or -1. */
static int
generation_at (struct interp *interp, uint32_t first, struct extent_row *ret)
{
  bool gone = false;
  int r;

  db_read_begin (interp->db);
  r = extent_at_cluster (interp->db, disk_id (interp->disk), first, interp->map->generation, ret);
  if (r == 1 && seen_is_gone (interp->db, interp->view, ret->item, &gone) == -1)
    r = -1;
  db_read_end (interp->db);
  return r == 1 && gone ? 0 : r;
}

/* Matching needs the place that an entry's clusters had.  Called for folders that were just parsed. */
static int
load_former_places (struct interp *interp, struct folder *folder)
{
  for (size_t e = 0; e < folder->now.n; ++e) {
    const struct parsed_entry *entry = &folder->now.entries[e];
    struct known *known = known_find (folder, entry->name, entry->units);
    struct folder *former;
    struct extent_row row;
    int r;

    if (entry->first == 0 || (known && known->first == entry->first))
      continue;
    r = generation_at (interp, entry->first, &row);
    if (r == 1)
      r = known_locate (interp, row.item, row.parent, &former, &known);
    if (r == -1)
      return -1;
  }
  return 0;
}

/* The folder behind a folder's entry; NULL for one of the generation that nobody looked at: nothing was written into it. */
static int
find_child (struct interp *interp, struct folder *parent, const struct parsed_entry *entry, struct folder **ret)
{
  const size_t i = idmap_get (&interp->by_first, entry->first);
  struct extent_row row;
  int r;

  *ret = i == IDMAP_NONE ? NULL : interp->folders[i];
  if (*ret)
    return 0;
  r = generation_at (interp, entry->first, &row);
  if (r == -1)
    return -1;
  if (r == 1 && row.kind == EXTENT_DIR) {
    /* exFAT: one that grew says so here alone. */
    if (interp->g->format->has_aliases || entry->size == (uint64_t) row.count * interp->g->cluster_bytes)
      return 0;
    if (folder_load (interp, row.item) == NULL)
      return errno == ENOENT ? 0 : -1;
    (*ret) = folder_find (interp, row.item);
    return index_folder (interp, interp->n_folders - 1);
  }
  if (interp->n_folders >= MAX_FOLDERS || interp->n_entries >= MAX_ENTRIES) {
    if (said_first_time (interp->said, interp->name, "too many"))
      msg_error ("view %s: its guest has more folders and files than can be looked after: the rest stays on its disk",
                 interp->name);
    return 0;
  }
  *ret = folder_add (interp, --interp->last_temporary);
  if (*ret == NULL)
    return -1;
  (*ret)->live = false;
  (*ret)->first = entry->first;
  (*ret)->bytes = entry->size;
  (*ret)->contiguous = entry->contiguous;
  interp->owners_stale = true;
  return index_folder (interp, interp->n_folders - 1);
}

static int
visit_folder (struct interp *interp, struct folder *folder, int depth)
{
  folder->visited = true;
  if (folder->dirty || !folder->parsed) {
    if (folder_parse (interp, folder) == -1)
      return -1;
    if (folder->parsed && !folder->junk && load_former_places (interp, folder) == -1)
      return -1;
  }
  for (size_t e = 0; e < folder->now.n; ++e) {
    const struct parsed_entry *entry = &folder->now.entries[e];
    struct folder *child;

    if (!entry->is_folder || entry->first == 0)
      continue;
    if (find_child (interp, folder, entry, &child) == -1)
      return -1;
    /* Of two names of one folder the first counts, until there is only one.  A circle of folders never comes here: it
     * hangs on nothing that lives. */
    if (child == NULL || child->is_root || child->visited)
      continue;
    if (child->live && child->parent != folder->key)
      continue;
    child->live = true;
    child->junk = folder->junk || folder->is_junk[e];
    child->parent = folder->key;
    if (!interp->g->format->has_aliases && (child->bytes != entry->size || child->contiguous != entry->contiguous))
      child->dirty = true;
    child->bytes = entry->size;
    child->contiguous = entry->contiguous;
    if (depth < CATALOG_MAX_DEPTH && visit_folder (interp, child, depth + 1) == -1)
      return -1;
  }
  return 0;
}

/* Finds out which folders are named by a living one, and parses what is dirty or new on the way.  Folders whose parent was not
 * looked at are where they were. */
static int
settle_folders (struct interp *interp)
{
  size_t n;

  do {
    n = interp->n_folders;
    idmap_free (&interp->by_first);
    memset (&interp->by_first, 0, sizeof interp->by_first);
    for (size_t i = 0; i < n; ++i) {
      struct folder *folder = interp->folders[i];

      folder->visited = false;
      folder->live = !folder->gone && folder->key > 0 && (folder->is_root || folder_find (interp, folder->parent) == NULL);
      if (index_folder (interp, i) == -1)
        return -1;
    }
    for (size_t i = 0; i < n; ++i)
      if (interp->folders[i]->live && !interp->folders[i]->visited && visit_folder (interp, interp->folders[i], 0) == -1)
        return -1;
    /* What was loaded on the way may be a parent of one that counted as being in its place. */
  } while (interp->n_folders > n);
  return 0;
}

/* ---- matching ---- */

static void
run_free (struct run *run)
{
  for (size_t i = 0; run->chains && i < run->n_now; ++i)
    parsed_runs_free (&run->chains[i]);
  free (run->chains);
  free (run->known);
  free (run->now);
  free (run->known_folder);
  free (run->now_folder);
  free (run->known_entry);
  free (run->leaves);
  free (run->now_entry);
  free (run->actions);
}

static int
collect_entries (struct run *run)
{
  struct interp *interp = run->interp;
  size_t n_known = 0, n_now = 0;

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
  run->leaves = calloc (n_known + 1, sizeof *run->leaves);
  if (run->known == NULL || run->known_folder == NULL || run->known_entry == NULL || run->now == NULL ||
      run->now_folder == NULL || run->now_entry == NULL || run->chains == NULL || run->leaves == NULL) {
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
  return match_entries (run->known, run->n_known, run->now, run->n_now);
}

/* Folders that are gone take all with them that was in them: what that was is known once they are looked at.  1: some were
 * loaded, match again. */
static int
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

/* ---- judging ---- */

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
static void
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
  uint64_t size, position;
  struct cache_file *file;
  int64_t version;
  int r;

  *ret = true;
  if (known->is_folder || known->size == 0)
    return 0;
  if (known_version (interp, known, &version) == -1)
    return -1;
  db_read_begin (interp->db);
  r = catalog_version_run (interp->db, version, &size, &position);
  db_read_end (interp->db);
  if (r != 1 || size == 0)
    return r == -1 ? -1 : 0;
  file = cache_pin (cache, version, size, position);
  if (file == NULL)
    return -1;
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
  struct interp *interp = run->interp;
  struct known *known = run->known_entry[k];
  bool allocated;

  *ret = true;
  if (known->first == 0)
    return 0;
  if (run->known[k].fate == FATE_TRASHED)
    return is_here (interp, known, ret);
  if (parse_is_allocated (interp->parse, known->first, &allocated) == -1)
    return -1;
  if (!allocated)
    return 0;
  *ret = false;
  for (size_t i = 0; i < run->n_now && !*ret; ++i) {
    const struct parsed_entry *entry = run->now_entry[i];
    struct parsed_runs *runs = &run->chains[i];
    enum parsed_chain found;
    bool differ;

    /* What stands where our layout put it has taken no other's clusters. */
    if (entry->first == 0 || (run->now[i].what == WHAT_SAME && !run->known_entry[run->now[i].other]->seen))
      continue;
    if (runs->n == 0 &&
        parse_chain (interp->parse, entry->first, entry->is_folder && interp->g->format->has_aliases ? UINT64_MAX
                     : entry->size, entry->contiguous, &found, runs, &differ) == -1)
      return -1;
    for (size_t r = 0; r < runs->n && !*ret; ++r)
      *ret = known->first - runs->list[r].first < runs->list[r].count;
  }
  return 0;
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
  struct ready_evidence evidence = {
    .claim = claim, .chain = CHAIN_SOUND, .torn = run->now_folder[now]->torn, .committed = interp->committed,
    .quiet_ms = run->time->connected ? run->time->now_ms - interp->last_metadata_ms : 0,
    .settle_ms = run->time->ending ? 0 : interp->settle_ms,
  };
  uint64_t signature;

  evidence.written = evidence.present = true;
  if (claim != CLAIM_EMPTY && claim != CLAIM_MOVED && (entry->first != 0 || entry->is_folder)) {
    struct parsed_runs *runs = &run->chains[now];
    const bool fat32 = interp->g->format->has_aliases;
    const uint64_t bytes = entry->is_folder && fat32 ? UINT64_MAX : entry->size;
    bool differ;

    if (runs->n == 0 && parse_chain (interp->parse, entry->first, bytes, entry->contiguous, &evidence.chain, runs,
                                     &differ) == -1)
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
  if (ready_judge (&evidence))
    return add_action (run, &action);
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
  struct interp *interp = run->interp;
  struct folder *folder = run->known_folder[k];
  struct action action = { .claim = CLAIM_GONE, .now = MATCH_NONE, .known = k, .from = MATCH_NONE };
  struct ready_evidence evidence = {
    .claim = CLAIM_GONE, .torn = folder->live && (folder->torn || !folder->parsed), .committed = interp->committed,
    .quiet_ms = run->time->connected ? run->time->now_ms - interp->last_metadata_ms : 0,
    .settle_ms = run->time->ending ? 0 : interp->settle_ms,
  };

  if (is_released (run, k, &evidence.released) == -1 ||
      timer_look (run, ~folder->key, &run->known[k], mix (CLAIM_GONE, evidence.released), NULL, &evidence.stable_ms) == -1)
    return -1;
  if (ready_judge (&evidence))
    return add_action (run, &action);
  wait_for (run, evidence.stable_ms);
  return 0;
}

static int
judge_all (struct run *run)
{
  for (size_t i = 0; i < run->n_now; ++i)
    if (judge_now (run, i) == -1)
      return -1;
  for (size_t k = 0; k < run->n_known; ++k)
    if ((run->known[k].fate == FATE_VANISHED || run->known[k].fate == FATE_TRASHED) && judge_gone (run, k) == -1)
      return -1;
  return 0;
}

/* ---- a run ---- */

/* The bytes of junk are nobody's business but the guest's. */
static int
settle_junk (struct run *run)
{
  struct interp *interp = run->interp;

  for (size_t i = 0; i < run->n_now; ++i) {
    const struct parsed_entry *entry = run->now_entry[i];
    struct parsed_runs *runs = &run->chains[i];
    enum parsed_chain found;
    bool differ;

    if (!run->now[i].junk || entry->first == 0 || entry->is_folder)
      continue;
    if (runs->n == 0 && parse_chain (interp->parse, entry->first, entry->size, entry->contiguous, &found, runs, &differ) == -1)
      return -1;
    for (size_t r = 0; r < runs->n; ++r)
      overlay_settle (interp->overlay, (uint64_t) runs->list[r].count * interp->g->cluster_bytes,
                      cluster_to_byte (interp->g, runs->list[r].first));
  }
  return 0;
}

/* Folders that were found in this run were not known when its sectors were looked at. */
static void
settle_parsed (struct interp *interp)
{
  for (size_t f = 0; f < interp->n_folders; ++f) {
    struct folder *folder = interp->folders[f];

    if (!folder->just_parsed)
      continue;
    folder->just_parsed = false;
    for (size_t i = 0; i < folder->runs.n; ++i)
      overlay_settle (interp->overlay, (uint64_t) folder->runs.list[i].count * interp->g->cluster_bytes,
                      cluster_to_byte (interp->g, folder->runs.list[i].first));
  }
}

/* Once the volume is whole, bytes that are still nobody's belong to nobody: they were freed again. */
static int
settle_orphans (struct interp *interp)
{
  const struct geometry *g = interp->g;
  uint64_t at = g->heap_start, start, bytes;

  while (overlay_next_fresh (interp->overlay, at, &start, &bytes)) {
    const uint64_t end = start + bytes;

    for (; start < end && start < g->heap_start + (uint64_t) g->clusters * g->cluster_bytes;) {
      const uint32_t cluster = byte_to_cluster (g, start);
      const uint64_t next = cluster_to_byte (g, cluster + 1);
      const uint64_t n = (next < end ? next : end) - start;
      bool allocated;

      if (parse_is_allocated (interp->parse, cluster, &allocated) == -1)
        return -1;
      if (!allocated)
        overlay_settle (interp->overlay, n, start);
      start += n;
    }
    at = end;
  }
  return 0;
}

static bool
has_fresh_file_bytes (struct interp *interp)
{
  uint64_t start, bytes;

  return overlay_next_fresh (interp->overlay, interp->g->heap_start, &start, &bytes);
}

static int
interpret_entries (struct run *run)
{
  for (;;) {
    int r;

    if (settle_folders (run->interp) == -1 || collect_entries (run) == -1)
      return -1;
    r = load_vanished (run);
    if (r <= 0)
      return r == -1 ? -1 : judge_all (run);
    run_free (run);
    *run = (struct run) { .interp = run->interp, .time = run->time };
  }
}

int
interpret_run (struct interp *interp, const struct interpret_now *time, struct interpret_result *ret)
{
  struct run run = { .interp = interp, .time = time };
  struct parsed_volume volume;
  bool metadata;
  int r = -1;

  memset (ret, 0, sizeof *ret);
  timers_begin (interp, time->now_ms);
  if (interp->has_watch)
    overlay_watch_end (interp->overlay);
  interp->has_watch = false;
  if (overlay_watch_begin (interp->overlay) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  interp->has_watch = true;
  parse_forget (interp->parse);
  if (parse_volume (interp->parse, &volume) == -1)
    return -1;
  ret->dirty = volume.dirty;
  ret->detached = volume.foreign ? volume.why : NULL;
  if (ret->detached)
    return 0;
  if (!interp->loaded && (folder_load (interp, CATALOG_ROOT) == NULL || scan_present (interp) == -1))
    return -1;
  for (size_t f = 0; f < interp->n_folders; ++f)
    for (size_t k = 0; k < interp->folders[f]->n_known; ++k)
      interp->folders[f]->known[k]->data_dirty = false;
  if (scan_fresh (interp, &metadata) == -1)
    return -1;
  if (metadata || !interp->loaded)
    interp->last_metadata_ms = time->now_ms;
  /* A clean volume is whole when it was marked so after its last change, or when nobody is there who could be at it. */
  interp->suspect &= !time->marked;
  interp->committed = !volume.dirty && !interp->suspect &&
                      (time->marked || !time->connected || (interp->committed && !metadata));
  interp->loaded = true;

  if (interpret_entries (&run) == -1 || apply_actions (&run) == -1)
    goto out;
  for (size_t i = 0; i < interp->n_metadata; ++i)
    overlay_settle (interp->overlay, interp->metadata[i].bytes, interp->metadata[i].start);
  settle_parsed (interp);
  if (settle_junk (&run) == -1 || (interp->committed && run.pending == 0 && settle_orphans (interp) == -1) ||
      timers_rebuild (interp, interp->timers_room ? interp->timers_room : 64) == -1)
    goto out;
  ret->journalled = run.journalled;
  ret->pending = run.pending;
  ret->absorbed = run.pending == 0 && !volume.dirty && !has_fresh_file_bytes (interp);
  if (run.failed)
    run.next_ms = time->now_ms + FAILED_MS;
  ret->next_ms = run.pending == 0 ? 0 : run.next_ms ? run.next_ms : time->now_ms + PENDING_MS;
  r = 0;

out:
  run_free (&run);
  return r;
}
