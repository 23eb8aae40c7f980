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

/* After bytes could not be staged: no room, or their base is in a cloud that is away. */
#define FAILED_MS 5000

/* What waits for long is looked at this often, but at most for one part in so many of the time. */
#define PENDING_MS 1000
#define PAUSE_PARTS 10

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

bool
runs_hit (struct interp *interp, const struct parsed_runs *runs)
{
  for (size_t i = 0; i < runs->n; ++i)
    if (overlay_watch_hit (interp->overlay, (uint64_t) runs->list[i].count * interp->g->cluster_bytes,
                           cluster_to_byte (interp->g, runs->list[i].first)))
      return true;
  return false;
}

void
runs_settle (struct interp *interp, const struct parsed_runs *runs, uint64_t bytes)
{
  for (size_t i = 0; i < runs->n && bytes > 0; ++i) {
    const uint64_t length = (uint64_t) runs->list[i].count * interp->g->cluster_bytes;
    const uint64_t n = bytes < length ? round_up (bytes, interp->g->cluster_bytes) : length;

    overlay_settle (interp->overlay, n, cluster_to_byte (interp->g, runs->list[i].first));
    bytes -= n < bytes ? n : bytes;
  }
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

/* Forgets what is on record, or can be found out again. */
static void
forget_all (struct interp *interp)
{
  for (size_t i = 0; i < interp->n_folders; ++i)
    folder_free (interp->folders[i]);
  interp->n_folders = interp->n_entries = 0;
  for (size_t i = 0; i < interp->timers_room; ++i)
    parsed_runs_free (&interp->timers[i].runs);
  free (interp->timers);
  interp->timers = NULL;
  interp->n_timers = interp->timers_room = 0;
  idmap_free (&interp->by_key);
  idmap_free (&interp->by_first);
  interp->by_key = interp->by_first = (struct idmap) { 0 };
  interp->n_owners = 0;
  interp->owners_stale = true;
  interp->loaded = interp->doubtful = false;
}

void
interpret_free (struct interp *interp)
{
  if (interp == NULL)
    return;
  if (interp->has_watch)
    overlay_watch_end (interp->overlay);
  forget_all (interp);
  for (size_t i = 0; i < interp->n_left; ++i)
    parsed_runs_free (&interp->left[i]);
  free (interp->left);
  free (interp->stale);
  free (interp->folders);
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

/* ---- a run ---- */

/* The bytes of junk are nobody's business but the guest's. */
static int
settle_junk (struct run *run)
{
  for (size_t i = 0; i < run->n_now; ++i) {
    const struct parsed_entry *entry = run->now_entry[i];
    enum parsed_chain found;

    if (!run->now[i].junk || entry->first == 0 || entry->is_folder)
      continue;
    if (run_chain (run, i, &found) == -1)
      return -1;
    runs_settle (run->interp, &run->chains[i], UINT64_MAX);
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
    runs_settle (interp, &folder->runs, UINT64_MAX);
  }
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

/* Which folder the root directory of the view's generation shows: a rule that came later may have another. */
static int
find_root (struct interp *interp)
{
  struct extent_row row;
  int r;

  db_read_begin (interp->db);
  r = extent_at_cluster (interp->db, disk_id (interp->disk), interp->g->root_first, interp->map->generation, &row);
  db_read_end (interp->db);
  if (r == 0)
    msg_error ("view %s: its root directory is not on record any more", interp->name);
  interp->root = r == 1 ? row.item : 0;
  return r == 1 ? 0 : -1;
}

int
interpret_run (struct interp *interp, const struct interpret_now *time, struct interpret_result *ret)
{
  struct run run = { .interp = interp, .time = time };
  const uint64_t began_ms = monotonic_ms ();
  struct parsed_volume volume;
  uint64_t pause_ms;
  bool metadata;
  int r = -1;

  memset (ret, 0, sizeof *ret);
  if (interp->doubtful)
    forget_all (interp);
  timers_begin (interp, time->now_ms);
  if (interp->has_watch) {
    stale_begin (interp, time->now_ms);
    overlay_watch_end (interp->overlay);
  }
  interp->has_watch = false;
  if (overlay_watch_begin (interp->overlay) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  interp->has_watch = true;
  stale_settle (interp, time->now_ms);
  parse_forget (interp->parse);
  if (parse_volume (interp->parse, &volume) == -1)
    return -1;
  ret->dirty = volume.dirty;
  ret->detached = volume.foreign ? volume.why : NULL;
  if (ret->detached)
    return 0;
  if (!interp->loaded && (find_root (interp) == -1 || folder_load (interp, interp->root) == NULL || scan_present (interp) == -1))
    return -1;
  for (size_t f = 0; f < interp->n_folders; ++f)
    for (size_t k = 0; k < interp->folders[f]->n_known; ++k)
      interp->folders[f]->known[k]->data_dirty = false;
  if (scan_fresh (interp, &metadata) == -1)
    return -1;
  if (metadata || !interp->loaded)
    interp->last_metadata_ms = time->now_ms;
  /* A clean volume is whole when it was marked so after its last change, or when nobody is there who could be at it. */
  if (interp->suspect && time->marked) {
    interp->suspect = false;
    if (overlay_trust (interp->overlay) == -1)
      msg_error ("view %s: cannot write down that its volume is whole again: %m; after a restart that is found out anew",
                 interp->name);
  }
  interp->committed = !volume.dirty && !interp->suspect &&
                      (time->marked || !time->connected || (interp->committed && !metadata));
  interp->loaded = true;

  if (interpret_entries (&run) == -1 || apply_actions (&run) == -1)
    goto out;
  for (size_t i = 0; i < interp->n_metadata; ++i)
    overlay_settle (interp->overlay, interp->metadata[i].bytes, interp->metadata[i].start);
  settle_parsed (interp);
  if (settle_junk (&run) == -1 || (interp->committed && run.pending == 0 && settle_free (interp) == -1) ||
      stale_collect (interp, time->now_ms) == -1 ||
      timers_rebuild (interp, interp->timers_room ? interp->timers_room : 64) == -1)
    goto out;
  ret->journalled = run.journalled;
  ret->pending = run.pending;
  ret->absorbed = run.pending == 0 && !volume.dirty && !has_fresh_file_bytes (interp);
  if (run.failed)
    run.next_ms = time->now_ms + FAILED_MS;
  ret->next_ms = run.pending == 0 ? 0 : run.next_ms ? run.next_ms : time->now_ms + PENDING_MS;
  pause_ms = (monotonic_ms () - began_ms) * PAUSE_PARTS;
  if (ret->next_ms > 0 && ret->next_ms < time->now_ms + pause_ms && pause_ms > PENDING_MS)
    ret->next_ms = time->now_ms + pause_ms;
  r = 0;

out:
  run_free (&run);
  return r;
}
