/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's care for bytes that are nobody's.
 *
 * Fresh bytes are evidence that a file's content has come.  They are that only for the file for which they were written: what
 * is left of one that went before it was ready would make the next file in its clusters look complete, with foreign bytes.
 * So fresh bits are taken back from clusters whose entry is gone, and from those that were free for longer than any guest
 * writes data ahead of its allocation.  A file that loses its own evidence so waits for a commit mark or for quiet.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "interpret-private.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"

/* Data and what names them are up to 66 seconds apart. */
#define STALE_MS 70000

/* How often free clusters with fresh bytes are looked for; and so many pieces of them are kept in mind. */
#define STALE_LOOK_MS 10000
#define MOST_STALE 65536

/* So many vanished entries are remembered. */
#define MOST_LEFT 10000

/* ---- clusters that are in use ---- */

static int
hold (struct run *run, const struct parsed_runs *runs)
{
  if (run->n_held + runs->n > run->held_room) {
    const size_t room = run->held_room * 2 + runs->n + 256;
    struct parsed_run *more = realloc (run->held, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    run->held = more;
    run->held_room = room;
  }
  if (runs->n > 0)
    memcpy (run->held + run->n_held, runs->list, runs->n * sizeof *runs->list);
  run->n_held += runs->n;
  return 0;
}

static int
compare_held (const void *a, const void *b)
{
  const struct parsed_run *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

static int
collect_held (struct run *run)
{
  size_t kept = 0;

  if (run->held_known)
    return 0;
  for (size_t i = 0; i < run->n_now; ++i) {
    const struct known *known = run->now[i].what == WHAT_SAME ? run->known_entry[run->now[i].other] : NULL;
    enum parsed_chain found;

    /* What stands where our layout put it has taken no other's clusters, unless it grew. */
    if (run->now_entry[i]->first == 0 || (known && !known->seen && known->size == run->now_entry[i]->size))
      continue;
    if (run_chain (run, i, &found) == -1 || hold (run, &run->chains[i]) == -1)
      return -1;
  }
  for (size_t f = 0; f < run->interp->n_folders; ++f)
    if (run->interp->folders[f]->live && hold (run, &run->interp->folders[f]->runs) == -1)
      return -1;
  if (run->n_held > 0)
    qsort (run->held, run->n_held, sizeof *run->held, compare_held);
  for (size_t i = 0; i < run->n_held; ++i) {
    struct parsed_run *last = kept ? &run->held[kept - 1] : NULL;
    const struct parsed_run *held = &run->held[i];

    if (last && held->first <= last->first + last->count) {
      if (held->first + held->count > last->first + last->count)
        last->count = held->first + held->count - last->first;
    }
    else
      run->held[kept++] = *held;
  }
  run->n_held = kept;
  run->held_known = true;
  return 0;
}

static bool
is_held (const struct run *run, uint32_t cluster)
{
  size_t low = 0, high = run->n_held;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (run->held[middle].first <= cluster)
      low = middle + 1;
    else
      high = middle;
  }
  return low > 0 && cluster - run->held[low - 1].first < run->held[low - 1].count;
}

int
cluster_is_released (struct run *run, uint32_t cluster, bool *ret)
{
  bool allocated;

  if (parse_is_allocated (run->interp->parse, cluster, &allocated) == -1)
    return -1;
  *ret = !allocated;
  if (!allocated)
    return 0;
  if (collect_held (run) == -1)
    return -1;
  *ret = is_held (run, cluster);
  return 0;
}

/* ---- fresh clusters ---- */

/* Calls each for the parts of fresh ranges that lie in one cluster of the heap, until it does not return 0. */
static int
each_fresh_cluster (struct interp *interp, int (*each) (void *opaque, uint32_t cluster, bool allocated, uint64_t start,
                                                       uint64_t bytes), void *opaque)
{
  const struct geometry *g = interp->g;
  const uint64_t heap_end = g->heap_start + (uint64_t) g->clusters * g->cluster_bytes;
  uint64_t at = g->heap_start, start, bytes;

  while (overlay_next_fresh (interp->overlay, at, &start, &bytes) && start < heap_end) {
    const uint64_t end = start + bytes < heap_end ? start + bytes : heap_end;

    while (start < end) {
      const uint32_t cluster = byte_to_cluster (g, start);
      const uint64_t next = cluster_to_byte (g, cluster + 1);
      const uint64_t n = (next < end ? next : end) - start;
      bool allocated;
      int r;

      if (parse_is_allocated (interp->parse, cluster, &allocated) == -1)
        return -1;
      r = each (opaque, cluster, allocated, start, n);
      if (r != 0)
        return r;
      start += n;
    }
    at = end;
  }
  return 0;
}

static int
settle_if_free (void *opaque, uint32_t cluster, bool allocated, uint64_t start, uint64_t bytes)
{
  struct interp *interp = opaque;

  if (!allocated)
    overlay_settle (interp->overlay, bytes, start);
  return 0;
}

/* Once the volume is whole, bytes that are still nobody's belong to nobody: they were freed again. */
int
settle_free (struct interp *interp)
{
  return each_fresh_cluster (interp, settle_if_free, interp);
}

/* Our own layout's files are somebody, be their folders looked at or not. */
static int
look_for_orphan (void *opaque, uint32_t cluster, bool allocated, uint64_t start, uint64_t bytes)
{
  struct run *run = opaque;
  const struct map *map = run->interp->map;
  size_t i;

  if (!allocated || is_held (run, cluster))
    return 0;
  i = map_find (map, cluster);
  return i < map->n && map->extents[i].first <= cluster ? 0 : 1;
}

/* Whether bytes were written that are allocated, and no entry names them yet. */
int
has_orphans (struct run *run, bool *ret)
{
  int r;

  *ret = run->orphans == 1;
  if (run->orphans != 0)
    return 0;
  r = collect_held (run);
  if (r == 0)
    r = each_fresh_cluster (run->interp, look_for_orphan, run);
  if (r == -1)
    return -1;
  run->orphans = r == 1 ? 1 : 2;
  *ret = r == 1;
  return 0;
}

/* ---- fresh clusters that stay free ---- */

struct collector {
  struct interp *interp;
  struct stale *list;
  size_t n, room;
  size_t old;                  /* the first of the list of before that may reach here */
  uint64_t now_ms;
};

static int
collect_free (void *opaque, uint32_t cluster, bool allocated, uint64_t start, uint64_t bytes)
{
  struct collector *c = opaque;
  struct stale *last = c->n ? &c->list[c->n - 1] : NULL;
  uint64_t since_ms = c->now_ms;

  if (allocated)
    return 0;
  while (c->old < c->interp->n_stale && c->interp->stale[c->old].start + c->interp->stale[c->old].bytes < start + bytes)
    c->old++;
  if (c->old < c->interp->n_stale && c->interp->stale[c->old].start <= start)
    since_ms = c->interp->stale[c->old].since_ms;
  if (last && last->start + last->bytes == start && last->since_ms == since_ms) {
    last->bytes += bytes;
    return 0;
  }
  if (c->n == MOST_STALE)
    return 1;
  if (c->n == c->room) {
    const size_t room = c->room * 2 + 64;
    struct stale *more = realloc (c->list, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    c->list = more;
    c->room = room;
  }
  c->list[c->n++] = (struct stale) { .start = start, .bytes = bytes, .since_ms = since_ms };
  return 0;
}

int
stale_collect (struct interp *interp, uint64_t now_ms)
{
  struct collector c = { .interp = interp, .now_ms = now_ms };

  if (interp->stale_ms != 0 && now_ms - interp->stale_ms < STALE_LOOK_MS)
    return 0;
  interp->stale_ms = now_ms;
  if (each_fresh_cluster (interp, collect_free, &c) == -1) {
    free (c.list);
    return -1;
  }
  free (interp->stale);
  interp->stale = c.list;
  interp->n_stale = c.n;
  return 0;
}

/* While the watch of the run before still stands. */
void
stale_begin (struct interp *interp, uint64_t now_ms)
{
  for (size_t i = 0; i < interp->n_stale; ++i)
    if (overlay_watch_hit (interp->overlay, interp->stale[i].bytes, interp->stale[i].start))
      interp->stale[i].since_ms = now_ms;
}

/* Even if they are allocated by now: then not for what they hold. */
void
stale_settle (struct interp *interp, uint64_t now_ms)
{
  size_t kept = 0;

  for (size_t i = 0; i < interp->n_stale; ++i)
    if (now_ms - interp->stale[i].since_ms >= STALE_MS)
      overlay_settle (interp->overlay, interp->stale[i].bytes, interp->stale[i].start);
    else
      interp->stale[kept++] = interp->stale[i];
  interp->n_stale = kept;
}

/* ---- entries that went before they were ready ---- */

static int
left_add (struct interp *interp, struct parsed_runs *runs)
{
  if (interp->n_left == MOST_LEFT) {
    runs_settle (interp, &interp->left[0], UINT64_MAX);
    parsed_runs_free (&interp->left[0]);
    interp->left[0] = interp->left[--interp->n_left];
  }
  if (interp->n_left == interp->left_room) {
    const size_t room = interp->left_room * 2 + 16;
    struct parsed_runs *more = realloc (interp->left, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    interp->left = more;
    interp->left_room = room;
  }
  interp->left[interp->n_left++] = *runs;
  *runs = (struct parsed_runs) { .n = 0 };
  return 0;
}

/* 1: some of its clusters may still be an entry's that has not come yet, as when one is renamed. */
static int
settle_left (struct run *run, const struct parsed_runs *runs)
{
  struct interp *interp = run->interp;
  int waits = 0;

  for (size_t i = 0; i < runs->n; ++i)
    for (uint32_t n = 0; n < runs->list[i].count; ++n) {
      const uint32_t cluster = runs->list[i].first + n;
      bool released;

      if (cluster_is_released (run, cluster, &released) == -1)
        return -1;
      if (released)
        overlay_settle (interp->overlay, interp->g->cluster_bytes, cluster_to_byte (interp->g, cluster));
      waits |= !released;
    }
  return waits;
}

/* Before anything is judged: whose clusters were to become a file that is no longer there. */
int
left_settle (struct run *run)
{
  struct interp *interp = run->interp;
  struct idmap firsts = { 0 };
  size_t kept = 0;
  int r = 0;

  for (size_t i = 0; i < run->n_now && r == 0; ++i)
    if (run->now_entry[i]->first && idmap_put (&firsts, run->now_entry[i]->first, i) == -1) {
      msg_error ("out of memory");
      r = -1;
    }
  for (size_t i = 0; i < interp->timers_room && r == 0; ++i) {
    struct timer *timer = &interp->timers[i];

    if (timer->place && timer->runs.n > 0 && idmap_get (&firsts, timer->runs.list[0].first) == IDMAP_NONE)
      r = left_add (interp, &timer->runs);
  }
  for (size_t i = 0; i < interp->n_left; ++i) {
    int waits = r == -1;

    if (r == 0 && idmap_get (&firsts, interp->left[i].list[0].first) == IDMAP_NONE)
      waits = settle_left (run, &interp->left[i]);
    if (waits == -1)
      r = -1;
    if (waits)
      interp->left[kept++] = interp->left[i];
    else
      parsed_runs_free (&interp->left[i]);
  }
  interp->n_left = kept;
  idmap_free (&firsts);
  return r;
}
