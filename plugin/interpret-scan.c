/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's look at what was written: fresh sectors -> folders to parse again, files with new bytes.
 *
 * Costs what was written, never what the disk has.  A cluster belongs to a folder that was looked at, or to one of the
 * generation, or to a file that is known, or to nobody yet: then its sectors stay fresh until somebody claims them.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "db.h"
#include "disk.h"
#include "extents.h"
#include "fat32.h"
#include "format.h"
#include "interpret-private.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"

static int
note_metadata (struct interp *interp, uint64_t start, uint64_t bytes)
{
  struct range *last = interp->n_metadata ? &interp->metadata[interp->n_metadata - 1] : NULL;

  if (last && last->start + last->bytes == start) {
    last->bytes += bytes;
    return 0;
  }
  if (interp->n_metadata == interp->metadata_room) {
    const size_t room = interp->metadata_room * 2 + 64;
    struct range *more = realloc (interp->metadata, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    interp->metadata = more;
    interp->metadata_room = room;
  }
  interp->metadata[interp->n_metadata++] = (struct range) { .start = start, .bytes = bytes };
  return 0;
}

static int
compare_owners (const void *a, const void *b)
{
  const struct owner *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

static int
add_owner (struct interp *interp, const struct parsed_run *run, struct known *known, struct folder *folder)
{
  if (interp->n_owners == interp->owners_room) {
    const size_t room = interp->owners_room * 2 + 256;
    struct owner *more = realloc (interp->owners, room * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    interp->owners = more;
    interp->owners_room = room;
  }
  interp->owners[interp->n_owners++] = (struct owner) {
    .first = run->first, .count = run->count, .known = known, .folder = folder,
  };
  return 0;
}

static int
collect_folder (struct interp *interp, struct folder *folder)
{
  const struct parsed_run first = { .first = folder->first, .count = 1 };

  if (folder->live && folder->runs.n == 0 && folder->first > 0 && add_owner (interp, &first, NULL, folder) == -1)
    return -1;
  for (size_t i = 0; folder->live && i < folder->runs.n; ++i)
    if (add_owner (interp, &folder->runs.list[i], NULL, folder) == -1)
      return -1;
  for (size_t k = 0; k < folder->n_known; ++k) {
    struct known *known = folder->known[k];

    if (!known->seen || known->is_folder)
      continue;
    if (known_runs (interp, known) == -1)
      return -1;
    for (size_t i = 0; i < known->runs.n; ++i)
      if (add_owner (interp, &known->runs.list[i], known, NULL) == -1)
        return -1;
  }
  return 0;
}

static int
collect_owners (struct interp *interp)
{
  if (!interp->owners_stale)
    return 0;
  interp->n_owners = 0;
  for (size_t f = 0; f < interp->n_folders; ++f)
    if (collect_folder (interp, interp->folders[f]) == -1)
      return -1;
  if (interp->n_owners > 0)
    qsort (interp->owners, interp->n_owners, sizeof *interp->owners, compare_owners);
  interp->owners_stale = false;
  return 0;
}

/* The owner that holds the cluster, or NULL; *ret_next: where the answer changes, at most to. */
static struct owner *
find_owner (struct interp *interp, uint32_t cluster, uint32_t to, uint32_t *ret_next)
{
  size_t low = 0, high = interp->n_owners;
  struct owner *owner;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (interp->owners[middle].first <= cluster)
      low = middle + 1;
    else
      high = middle;
  }
  *ret_next = low < interp->n_owners && interp->owners[low].first < to ? interp->owners[low].first : to;
  owner = low > 0 ? &interp->owners[low - 1] : NULL;
  if (owner == NULL || cluster - owner->first >= owner->count)
    return NULL;
  if (owner->first + owner->count < *ret_next)
    *ret_next = owner->first + owner->count;
  return owner;
}

/* The item whose extent of the generation is that one.  0: none, -1. */
static int64_t
item_of (struct interp *interp, const struct extent *extent, int64_t *ret_parent)
{
  struct extent_row row;
  int r;

  db_read_begin (interp->db);
  r = extent_at_cluster (interp->db, disk_id (interp->disk), extent->first, interp->map->generation, &row);
  db_read_end (interp->db);
  if (r != 1)
    return r;
  *ret_parent = row.parent;
  return row.item;
}

/* Says what the fresh clusters from `from` up to `to` are.  Returns where the answer changes, 0 on errors. */
static uint32_t
scan_cluster (struct interp *interp, uint32_t from, uint32_t to, bool *ret_folder)
{
  struct folder *folder;
  struct owner *owner;
  const struct extent *extent;
  uint32_t end;
  size_t i;

  *ret_folder = false;
  if (collect_owners (interp) == -1)
    return 0;
  owner = find_owner (interp, from, to, &to);
  if (owner) {
    if (owner->folder) {
      owner->folder->dirty = true;
      *ret_folder = true;
    }
    else
      owner->known->data_dirty = true;
    return to;
  }
  i = map_find (interp->map, from);
  extent = i < interp->map->n ? &interp->map->extents[i] : NULL;
  if (extent == NULL || extent->first >= to)
    return to;
  if (extent->first > from)
    return extent->first;
  end = extent->first + extent->count < to ? extent->first + extent->count : to;
  if (extent->kind == EXTENT_BITMAP || extent->kind == EXTENT_UPCASE) {
    *ret_folder = true;        /* metadata, at any rate */
    return end;
  }
  else {
    int64_t parent = 0;
    const int64_t item = item_of (interp, extent, &parent);

    if (item == -1)
      return 0;
    if (item == 0)
      return end;
    if (extent->kind == EXTENT_DIR) {
      folder = folder_find (interp, item);
      if (folder && !folder->live)
        return end;
      folder = folder_load (interp, item);
      if (folder) {
        interp->owners_stale = true;
        folder->dirty = true;
        *ret_folder = true;
      }
      else if (errno != ENOENT)
        return 0;
    }
    else {
      struct known *known;
      const int r = known_locate (interp, item, parent, &folder, &known);

      if (r == -1)
        return 0;
      interp->owners_stale = true;
      if (r == 1 && known->first == extent->first)
        known->data_dirty = true;
    }
    return end;
  }
}

/* A folder grows when the FAT's entry of its last cluster no longer ends the chain. */
static int
scan_fat (struct interp *interp, uint64_t start, uint64_t bytes)
{
  const struct geometry *g = interp->g;
  const uint64_t within = (start - g->fat_start) % g->fat_bytes;
  const uint32_t from = within / 4;
  const uint32_t to = from + bytes / 4;

  for (size_t f = 0; f < interp->n_folders; ++f) {
    const struct parsed_runs *runs = &interp->folders[f]->runs;

    for (size_t i = 0; i < runs->n; ++i)
      if (runs->list[i].first < to && runs->list[i].first + runs->list[i].count > from)
        interp->folders[f]->dirty = true;
    if (interp->folders[f]->torn)
      interp->folders[f]->dirty = true;
  }
  for (size_t i = map_find (interp->map, from < 2 ? 2 : from); i < interp->map->n && interp->map->extents[i].first < to; ++i) {
    const struct extent *extent = &interp->map->extents[i];
    const uint32_t last = extent->first + extent->count - 1;
    enum parsed_chain found;
    struct parsed_runs runs;
    struct folder *folder;
    int64_t parent, item;
    bool differ;

    if (extent->kind != EXTENT_DIR || last < from || last >= to)
      continue;
    if (parse_chain (interp->parse, last, g->cluster_bytes, false, &found, &runs, &differ) == -1)
      return -1;
    parsed_runs_free (&runs);
    if (found != CHAIN_LONG)
      continue;
    item = item_of (interp, extent, &parent);
    if (item == -1)
      return -1;
    folder = item ? folder_load (interp, item) : NULL;
    if (folder)
      folder->dirty = true;
    else if (item && errno != ENOENT)
      return -1;
  }
  return 0;
}

static int
scan_run (struct interp *interp, uint64_t start, uint64_t bytes, bool *ret_metadata)
{
  const struct geometry *g = interp->g;
  const uint64_t end = start + bytes;
  const uint64_t fats_end = g->fat_start + g->fats * g->fat_bytes;
  const uint64_t heap_end = g->heap_start + (uint64_t) g->clusters * g->cluster_bytes;

  while (start < end) {
    uint64_t next;

    if (start < g->heap_start || start >= heap_end) {
      const bool first_fat = start >= g->fat_start && start < g->fat_start + g->fat_bytes;

      next = start < g->fat_start ? g->fat_start : first_fat ? g->fat_start + g->fat_bytes
             : start < fats_end ? fats_end : start < g->heap_start ? g->heap_start : end;
      if (next > end)
        next = end;
      /* The partition table and boot sectors are looked at in every run; they say nothing of files. */
      if (start >= g->fat_start && start < fats_end)
        *ret_metadata = true;
      if (first_fat && scan_fat (interp, start, next - start) == -1)
        return -1;
      if (note_metadata (interp, start, next - start) == -1)
        return -1;
    }
    else {
      const uint32_t from = byte_to_cluster (g, start);
      const uint64_t last = (end < heap_end ? end : heap_end) - 1;
      bool folder;
      const uint32_t to = scan_cluster (interp, from, byte_to_cluster (g, last) + 1, &folder);

      if (to == 0)
        return -1;
      next = cluster_to_byte (g, to);
      if (next > end)
        next = end;
      if (folder) {
        *ret_metadata = true;
        if (note_metadata (interp, start, next - start) == -1)
          return -1;
      }
    }
    start = next;
  }
  return 0;
}

int
scan_fresh (struct interp *interp, bool *ret_metadata)
{
  uint64_t at = 0, start, bytes;

  interp->n_metadata = 0;
  *ret_metadata = false;
  while (overlay_next_fresh (interp->overlay, at, &start, &bytes)) {
    if (scan_run (interp, start, bytes, ret_metadata) == -1)
      return -1;
    at = start + bytes;
  }
  return 0;
}

/* After a start: what a run before had in memory alone.  Every folder of which anything was written is looked at. */
int
scan_present (struct interp *interp)
{
  const struct geometry *g = interp->g;
  int64_t *folders;
  size_t n;
  uint64_t at = g->heap_start, start, bytes;
  int r;

  db_read_begin (interp->db);
  r = seen_folders (interp->db, interp->view, &folders, &n);
  db_read_end (interp->db);
  if (r == -1)
    return -1;
  for (size_t i = 0; i < n && r == 0; ++i)
    if (folder_load (interp, folders[i]) == NULL && errno != ENOENT)
      r = -1;
  free (folders);
  interp->owners_stale = true;

  at = g->fat_start;
  while (r == 0 && overlay_next_present (interp->overlay, at, &start, &bytes) && start < g->fat_start + g->fat_bytes) {
    const uint64_t end = start + bytes < g->fat_start + g->fat_bytes ? start + bytes : g->fat_start + g->fat_bytes;

    r = scan_fat (interp, start, end - start);
    at = end;
  }
  at = g->heap_start;
  while (r == 0 && overlay_next_present (interp->overlay, at, &start, &bytes)) {
    const uint64_t end = start + bytes;

    at = end;
    if (end <= g->heap_start)
      continue;
    for (size_t i = map_find (interp->map, byte_to_cluster (g, start > g->heap_start ? start : g->heap_start));
         i < interp->map->n && cluster_to_byte (g, interp->map->extents[i].first) < end && r == 0; ++i) {
      int64_t parent, item;

      if (interp->map->extents[i].kind != EXTENT_DIR)
        continue;
      item = item_of (interp, &interp->map->extents[i], &parent);
      if (item == -1 || (item > 0 && folder_load (interp, item) == NULL && errno != ENOENT))
        r = -1;
    }
  }
  return r;
}
