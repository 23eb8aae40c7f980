/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: gives versions their clusters, and renders folders.
 *
 * In four passes over the folders that changed:
 *
 *   1. place    each folder: names; clusters for its new files; room for itself.  A folder that is new, or that must be
 *               rendered because another moved, joins the list.
 *   2. retire   extents of items that are no longer shown in the folder where they were
 *   3. render   all clusters are known now: each folder's bytes, into the store of directories
 *   4. record   sync the store, advance the disk's row
 *
 * A folder that is rendered in the clusters that it had keeps the slots of its entries (slots.h).  One that no longer
 * fits, because it grew or because of its holes, moves to other clusters, and begins there with no holes.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "blobs.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "dir.h"
#include "extents.h"
#include "format.h"
#include "idmap.h"
#include "layout.h"
#include "map.h"
#include "msg.h"
#include "selection.h"
#include "slots.h"

/* Of items that are newly left out, so many are said by name; the rest is counted. */
#define SAY_LEFT_OUT 10

/* Names of so many items are kept from pass 1 to pass 3; beyond that they are read again, so that the first layout of a
 * large remote does not need memory for all of its names. */
#define KEEP_ENTRIES 20000

/* Items that wait for room are known by these reasons. */
static const char no_room[] = "the disk has no room for it: a larger one can be asked for with size=";
static const char no_room_for_new[] = "the disk has no room for its new version, and shows the one before it: a larger "
                                      "disk can be asked for with size=";

/* In job->places: the entry is left out. */
#define NO_PLACE UINT32_MAX

/* A folder whose bytes are made anew. */
struct job {
  int64_t item, parent;
  struct dir *dir;             /* NULL between pass 1 and pass 3 if there were too many */
  uint32_t *places;            /* then: first clusters of the entries */
  struct extent_row room;      /* its clusters; id 0 where it had none, or had to move */
  struct extent_row old;       /* what it had; id 0: nothing */
  bool placed;
  struct slots *slots;         /* where its entries will stand; NULL if they begin anew */
  bool cramped;                /* it should have moved, and could not: it shows what fits */
  bool keeps_names;            /* dir stays until pass 3: places cannot tell all of it */
  bool retired;                /* it went away in pass 2 */
};

/* Clusters that no row names. */
struct gap {
  uint32_t first, count;
};

struct layout {
  struct db *db;
  struct blobs *dirs;
  const char *disk_name;
  struct selection *sel;
  int64_t root;                /* the folder that the root directory shows */
  struct disk_row *row;
  const struct geometry *g;
  int64_t generation;
  int64_t zone;                /* of the times that are rendered now */
  bool first;                  /* nothing was laid out before: no look-ups */
  bool anew;                   /* other items are chosen than before */
  uint32_t next;               /* clusters from here on were never used */
  struct gap *gaps;            /* below next; collected when next has reached the disk's end */
  size_t n_gaps;
  bool gaps_known;
  uint64_t no_gap;             /* no gap has so many clusters; 0: not known */
  struct job *jobs;
  size_t n_jobs, room;
  size_t kept_entries;         /* in the dirs of all jobs */
  struct idmap job_of;         /* item -> job */
  struct idmap shown;          /* items that some job shows; value 0 */
  bool changed;
  uint64_t left_out;
};

/* ---- clusters ---- */

struct runs {
  struct gap *runs;
  size_t n, room;
};

static int
add_run (struct runs *all, uint32_t first, uint32_t count)
{
  if (array_make_room (&all->runs, all->n, &all->room, sizeof *all->runs) == -1)
    return -1;
  all->runs[all->n++] = (struct gap) { .first = first, .count = count };
  return 0;
}

static int
collect_run (void *opaque, const struct extent_row *row)
{
  return add_run (opaque, row->first, row->count);
}

static int
compare_runs (const void *a, const void *b)
{
  const struct gap *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

/* Turns runs that are in use into the gaps between them, from at up to end, in the same array.  A run begins at end. */
static void
runs_to_gaps (struct runs *all, uint32_t at, uint32_t end)
{
  size_t n = 0;

  if (all->n > 0)
    qsort (all->runs, all->n, sizeof *all->runs, compare_runs);
  for (size_t i = 0; i < all->n; ++i) {
    const struct gap run = all->runs[i];

    if (run.first > at && at < end)
      all->runs[n++] = (struct gap) { .first = at, .count = (run.first < end ? run.first : end) - at };
    if (run.first + run.count > at)
      at = run.first + run.count;
  }
  all->n = n;
}

/* Rows that died are in use as well, as long as a view may still see them. */
static int
collect_gaps (struct layout *l)
{
  struct runs all = { 0 };
  struct extent own[FORMAT_OWN_EXTENTS];
  const size_t n_own = l->g->format->own_extents (l->g, own);
  const uint32_t begin = n_own ? own[n_own - 1].first + own[n_own - 1].count : 2;
  int r = extents_each (l->db, l->row->id, 0, l->generation, collect_run, &all);

  /* Rooms of folders get their rows in pass 3; the root's is always taken. */
  for (size_t i = 0; i < l->n_jobs && r == 0; ++i)
    if (l->jobs[i].placed)
      r = add_run (&all, l->jobs[i].room.first, l->jobs[i].room.count);
  if (r == 0)
    r = add_run (&all, l->g->root_first, l->g->root_clusters);
  if (r == 0)
    r = add_run (&all, l->next, 0);
  if (r == -1) {
    free (all.runs);
    return -1;
  }
  runs_to_gaps (&all, begin, l->next);
  l->gaps = all.runs;
  l->n_gaps = all.n;
  l->gaps_known = true;
  return 0;
}

/* First fit. */
static int
alloc_in_gap (struct layout *l, uint64_t count, uint32_t *ret)
{
  *ret = 0;
  if (!l->gaps_known && collect_gaps (l) == -1)
    return -1;
  if (l->no_gap && count >= l->no_gap)
    return 0;
  for (size_t i = 0; i < l->n_gaps; ++i) {
    struct gap *gap = &l->gaps[i];

    if (gap->count < count)
      continue;
    *ret = gap->first;
    gap->first += count;
    gap->count -= count;
    return 0;
  }
  l->no_gap = count;
  return 0;
}

/* Clusters are handed out upwards, so that what was freed rests as long as possible; only when the disk's end is reached,
 * gaps are looked for.  *ret is 0 if there is no room. */
static int
alloc_clusters (struct layout *l, uint64_t count, uint32_t *ret)
{
  if (count <= l->g->clusters + 2 - l->next) {
    *ret = l->next;
    l->next += count;
    return 0;
  }
  return alloc_in_gap (l, count, ret);
}

/* ---- pass 1: place ---- */

static int
add_job (struct layout *l, int64_t item, int64_t parent)
{
  struct job *job;

  if (idmap_get (&l->job_of, item) != IDMAP_NONE)
    return 0;
  if (array_make_room (&l->jobs, l->n_jobs, &l->room, sizeof *l->jobs) == -1)
    return -1;
  if (idmap_put (&l->job_of, item, l->n_jobs) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  job = &l->jobs[l->n_jobs++];
  *job = (struct job) { .item = item, .parent = parent };
  return 0;
}

static int retire (struct layout *l, const struct extent_row *row);

/* The living extent of an item; id 0 if it has none.  One of another kind is not its own: it goes, with all below. */
static int
living_extent (struct layout *l, int64_t item, enum extent_kind kind, struct extent_row *ret)
{
  memset (ret, 0, sizeof *ret);
  for (;;) {
    const int r = l->first ? 0 : extent_by_item (l->db, l->row->id, item, ret);

    if (r != 1 || ret->kind == (int) kind)
      return r == -1 ? -1 : 0;
    if (retire (l, ret) == -1)
      return -1;
    memset (ret, 0, sizeof *ret);
  }
}

static int
kill_extent (struct layout *l, const struct extent_row *row)
{
  l->changed = true;
  return extent_kill (l->db, row, l->generation);
}

static int
leave_out (struct layout *l, const char *name, int64_t item, const char *reason)
{
  bool is_new;

  if (left_out_set (l->db, l->row->id, item, reason, &is_new) == -1)
    return -1;
  if (is_new && l->left_out++ < SAY_LEFT_OUT)
    msg_notice ("disk %s: \"%s\" is left out: %s", l->disk_name, name, reason);
  return 0;
}

/* The item is on the disk as it is now. */
static int
take_in (struct layout *l, int64_t item)
{
  return l->first ? 0 : left_out_clear (l->db, l->row->id, item);
}

static int
set_parent (struct layout *l, const struct extent_row *row, int64_t parent)
{
  return row->parent != parent ? extent_set_parent (l->db, row->id, parent) : 0;
}

/* Gives a file its clusters, or keeps those that it has for this version. */
static int
place_file (struct layout *l, struct job *job, size_t i, const struct catalog_item *item)
{
  struct extent_row row;
  uint32_t first;

  if (living_extent (l, item->id, EXTENT_FILE, &row) == -1)
    return -1;
  if (row.id && row.version == item->version) {
    dir_set_place (job->dir, i, row.first, item->size);
    return set_parent (l, &row, job->item) == -1 ? -1 : take_in (l, item->id);
  }
  if (item->size == 0) {
    if (row.id && kill_extent (l, &row) == -1)
      return -1;
    return take_in (l, item->id);
  }
  if (alloc_clusters (l, bytes_to_clusters (l->g, item->size), &first) == -1)
    return -1;
  if (first == 0 && row.id) {
    dir_set_place (job->dir, i, row.first, row.bytes);
    job->keeps_names = true;
    return set_parent (l, &row, job->item) == -1 ? -1 : leave_out (l, item->name, item->id, no_room_for_new);
  }
  if (first == 0) {
    dir_leave_out (job->dir, i, no_room);
    return leave_out (l, item->name, item->id, no_room);
  }
  if (row.id && kill_extent (l, &row) == -1)
    return -1;
  row = (struct extent_row) {
    .item = item->id, .parent = job->item, .kind = EXTENT_FILE, .version = item->version, .first = first,
    .count = bytes_to_clusters (l->g, item->size), .bytes = item->size, .born = l->generation, .died = EXTENT_ALIVE,
  };
  dir_set_place (job->dir, i, first, item->size);
  l->changed = true;
  return extent_insert (l->db, l->row->id, &row) == -1 ? -1 : take_in (l, item->id);
}

/* A folder that is new here, or was moved here ('..' changes), is rendered as well. */
static int
place_folder (struct layout *l, int64_t parent, int64_t item)
{
  struct extent_row row;

  if (living_extent (l, item, EXTENT_DIR, &row) == -1)
    return -1;
  if (row.id && set_parent (l, &row, parent) == -1)
    return -1;
  if (row.id && row.parent == parent)
    return 0;
  if (add_job (l, item, parent) == -1)
    return -1;
  /* It may be on the list already, with the parent that it had. */
  l->jobs[idmap_get (&l->job_of, item)].parent = parent;
  return 0;
}

/* What limits the folder's entries: 0, but for the root and for folders that could not move. */
static uint64_t
room_limit (const struct layout *l, const struct job *job)
{
  if (job->item == l->root)
    return (uint64_t) l->g->root_clusters * l->g->cluster_bytes;
  return job->cramped ? (uint64_t) job->old.count * l->g->cluster_bytes : 0;
}

/* Fills job->dir with the folder's children, named.  Its entries stand in the same order as children. */
static int
name_children (struct layout *l, struct job *job, const struct catalog_list *children)
{
  const uint64_t room = room_limit (l, job);

  dir_free (job->dir);
  job->dir = dir_new (l->g->format, job->item == l->root);
  if (job->dir == NULL)
    return -1;
  if (room)
    dir_set_room (job->dir, room);
  for (size_t i = 0; i < children->n; ++i) {
    const struct catalog_item *item = &children->items[i];

    if (dir_add (job->dir, item->name, item->is_folder, item->size, &item->mtime, item->id) == -1)
      return -1;
  }
  return dir_map_names (job->dir);
}

static int
release_names (struct layout *l, struct job *job)
{
  const size_t n = dir_count (job->dir);

  l->kept_entries += n;
  if (l->kept_entries <= KEEP_ENTRIES || job->keeps_names)
    return 0;
  l->kept_entries -= n;
  job->places = calloc (n + 1, sizeof *job->places);
  if (job->places == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < n; ++i)
    job->places[i] = dir_get (job->dir, i)->left_out ? NO_PLACE : dir_get (job->dir, i)->first;
  dir_free (job->dir);
  job->dir = NULL;
  return 0;
}

static int
restore_names (struct layout *l, struct job *job)
{
  struct catalog_list children;
  int r;

  if (job->dir)
    return 0;
  if (selection_children (l->sel, l->db, job->item, &children) == -1)
    return -1;
  r = name_children (l, job, &children);
  for (size_t i = 0; i < children.n && r == 0; ++i) {
    if (job->places[i] == NO_PLACE)
      dir_leave_out (job->dir, i, "see pass 1");
    else
      dir_set_place (job->dir, i, job->places[i], children.items[i].size);
  }
  catalog_list_free (&children);
  return r;
}

/* Keeps the entries where they stand, in the clusters that the folder has.  1 if that works. */
static int
keep_slots (struct layout *l, struct job *job)
{
  const uint64_t room = (uint64_t) job->old.count * l->g->cluster_bytes;
  const uint64_t limit = room < l->g->format->max_dir ? room : l->g->format->max_dir;
  /* Better an entry where one stood that a view may remember, than none at all. */
  const bool must = job->item == l->root || job->cramped;
  CLEANUP_FREE void *list = NULL;
  struct slots *old;
  size_t n;
  int r = 0;

  if (slots_row_load (l->db, job->old.id, &list, &n) == -1)
    return -1;
  old = list ? slots_load (list, n, dir_head_bytes (job->dir)) : NULL;
  for (int any = 0; old && any <= must && r == 0; ++any) {
    slots_free (job->slots);
    job->slots = slots_keep (old, job->dir, l->generation, l->row->oldest, any);
    r = job->slots == NULL ? -1 : job->slots->end <= limit;
  }
  slots_free (old);
  if (r == 1)
    return 1;
  slots_free (job->slots);
  job->slots = NULL;
  return r;
}

/* Finds room for the folder itself; its old room, if that is large enough. */
static int
place_room (struct layout *l, struct job *job)
{
  const uint64_t bytes = l->g->format->dir_bytes (job->dir);
  /* A quarter to spare, so that a few more files do not move it. */
  const uint64_t wanted = bytes_to_clusters (l->g, bytes + bytes / 4);
  const bool fits = job->old.id && bytes <= (uint64_t) job->old.count * l->g->cluster_bytes;
  uint32_t first;

  job->room = job->old;
  if (fits) {
    const int r = keep_slots (l, job);

    if (r != 0)
      return r;
  }
  if (job->item == l->root) {
    job->room.first = l->g->root_first;
    job->room.count = l->g->root_clusters;
    return 1;
  }
  if (job->cramped && fits)
    return 1;
  if (alloc_clusters (l, wanted, &first) == -1)
    return -1;
  if (first == 0)
    return 0;
  job->room.first = first;
  job->room.count = wanted;
  return 1;
}

/* Places everything in one folder.  The folder's own room comes first: metadata stands below the files that it names. */
static int
place_job (struct layout *l, size_t index)
{
  struct job *job = &l->jobs[index];
  struct catalog_list children;
  int r = -1;

  if (living_extent (l, job->item, EXTENT_DIR, &job->old) == -1)
    return -1;
  if (selection_children (l->sel, l->db, job->item, &children) == -1)
    return -1;
  if (name_children (l, job, &children) == -1)
    goto out;

  r = place_room (l, job);
  if (r == 0 && job->old.id) {
    /* It would have to move and can't: it keeps its room, and shows what fits. */
    job->cramped = true;
    r = name_children (l, job, &children);
    if (r == 0)
      r = place_room (l, job);
  }
  if (r == -1)
    goto out;
  if (r == 0) {
    job->retired = true;       /* no room for it: its parent leaves it out in pass 3 */
    goto out;
  }
  job->placed = true;
  if (job->old.id && job->room.first != job->old.first && add_job (l, job->parent, 0) == -1) {
    r = -1;
    goto out;
  }

  for (size_t i = 0; i < children.n; ++i) {
    const struct catalog_item *item = &children.items[i];
    const struct dir *dir = l->jobs[index].dir;
    const struct dir_entry *entry = dir_get (dir, i);

    if (entry->left_out) {
      const char *reason = l->jobs[index].cramped && entry->left_out == dir_past_room ? no_room : entry->left_out;

      if ((r = leave_out (l, item->name, item->id, reason)) == -1)
        goto out;
      continue;
    }
    if (item->is_folder) {
      r = place_folder (l, l->jobs[index].item, item->id);
      /* It moved: '..' in the folders below it. */
      if (r == 0 && l->jobs[index].old.id && l->jobs[index].room.first != l->jobs[index].old.first)
        r = add_job (l, item->id, l->jobs[index].item);
    }
    else
      r = place_file (l, &l->jobs[index], i, item);
    if (r == -1)
      goto out;
    if (!dir_get (l->jobs[index].dir, i)->left_out && idmap_put (&l->shown, item->id, 0) == -1) {
      msg_error ("out of memory");
      r = -1;
      goto out;
    }
  }
  r = release_names (l, &l->jobs[index]);

out:
  catalog_list_free (&children);
  return r == -1 ? -1 : 0;
}

/* Adds those of the folders that are on the disk. */
static int
add_living (struct layout *l, const int64_t *folders, size_t n)
{
  for (size_t i = 0; i < n; ++i) {
    struct extent_row row;

    if (living_extent (l, folders[i], EXTENT_DIR, &row) == -1)
      return -1;
    if (row.id && add_job (l, folders[i], row.parent) == -1)
      return -1;
  }
  return 0;
}

static int
add_folders_without_room (struct layout *l)
{
  static const char *const reasons[] = { no_room, no_room_for_new };

  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; ++i) {
    CLEANUP_FREE int64_t *folders = NULL;
    size_t n;

    if (left_out_folders (l->db, l->row->id, reasons[i], &folders, &n) == -1 || add_living (l, folders, n) == -1)
      return -1;
  }
  return 0;
}

static int
add_folder (void *opaque, const struct extent_row *row)
{
  return row->kind == EXTENT_DIR ? add_job (opaque, row->item, row->parent) : 0;
}

/* Folders in which another one came to be shown, or hidden, by the disk's rule. */
static int
add_folders_around_chosen (struct layout *l)
{
  CLEANUP_FREE int64_t *folders = NULL;
  size_t n;

  if (selection_refresh (l->sel, l->db, l->row->revision, &folders, &n) == -1)
    return -1;
  return add_living (l, folders, n);
}

/* The root directory showed another folder before: that goes, with all below. */
static int
retire_former_root (struct layout *l)
{
  struct extent_row row;
  const int r = extent_at_cluster (l->db, l->row->id, l->g->root_first, l->row->generation, &row);

  return r == 1 && row.item != l->root ? retire (l, &row) : r == -1 ? -1 : 0;
}

/* The folders to begin with: those that changed and are on the disk.  Folders that are not on it yet are found through
 * their parents, which changed as well. */
static int
add_changed_folders (struct layout *l)
{
  CLEANUP_FREE int64_t *folders = NULL;
  size_t n;

  if (l->first)
    return add_job (l, l->root, 0);
  if (retire_former_root (l) == -1 || add_folders_around_chosen (l) == -1 ||
      catalog_changed_folders (l->db, l->row->revision, &folders, &n) == -1 || add_living (l, folders, n) == -1)
    return -1;
  if (l->row->freed && add_folders_without_room (l) == -1)
    return -1;
  /* What changed of several folders may have changed above them, where nothing is on the disk. */
  if ((l->anew || selection_has_several (l->sel)) && add_job (l, l->root, 0) == -1)
    return -1;
  if (l->anew || l->zone != l->row->zone)
    return extents_each (l->db, l->row->id, l->row->generation, l->row->generation, add_folder, l);
  return 0;
}

/* ---- pass 2: retire ---- */

static int retire_folder (struct layout *l, int64_t folder, bool all);

static int
retire (struct layout *l, const struct extent_row *row)
{
  if (kill_extent (l, row) == -1)
    return -1;
  if (row->kind == EXTENT_DIR) {
    const size_t job = idmap_get (&l->job_of, row->item);

    if (job != IDMAP_NONE)
      l->jobs[job].retired = true;
    return retire_folder (l, row->item, true);
  }
  return 0;
}

/* Ends the extents of a folder's items: all, or those that are not shown any more.  The catalog keeps trees at most
 * CATALOG_MAX_DEPTH deep, so this recursion is bounded. */
static int
retire_folder (struct layout *l, int64_t folder, bool all)
{
  struct extent_row *rows;
  size_t n;
  int r = 0;

  if (extents_in_folder (l->db, l->row->id, folder, &rows, &n) == -1)
    return -1;
  for (size_t i = 0; i < n && r == 0; ++i)
    if (all || idmap_get (&l->shown, rows[i].item) == IDMAP_NONE)
      r = retire (l, &rows[i]);
  free (rows);
  return r;
}

/* ---- pass 3: render ---- */

static int
set_folder_places (struct layout *l, struct job *job)
{
  for (size_t i = 0; i < dir_count (job->dir); ++i) {
    const struct dir_entry *entry = dir_get (job->dir, i);
    struct extent_row row;
    size_t child;

    if (!entry->is_folder || entry->left_out)
      continue;
    child = idmap_get (&l->job_of, entry->cookie);
    if (child != IDMAP_NONE) {
      if (!l->jobs[child].placed) {
        dir_leave_out (job->dir, i, no_room);
        if (leave_out (l, entry->name, entry->cookie, entry->left_out) == -1)
          return -1;
        continue;
      }
      row = l->jobs[child].room;
    }
    else if (extent_by_item (l->db, l->row->id, entry->cookie, &row) != 1)
      return -1;
    if (take_in (l, entry->cookie) == -1)
      return -1;
    dir_set_place (job->dir, i, row.first, (uint64_t) row.count * l->g->cluster_bytes);
  }
  return 0;
}

static uint32_t
parent_cluster (struct layout *l, const struct job *job)
{
  const size_t parent = idmap_get (&l->job_of, job->parent);
  struct extent_row row;

  if (job->item == l->root)
    return 0;
  if (job->parent == l->root)
    return l->g->root_first;
  if (parent != IDMAP_NONE)
    return l->jobs[parent].room.first;
  return extent_by_item (l->db, l->row->id, job->parent, &row) == 1 ? row.first : 0;
}

static bool
same_bytes (struct layout *l, const struct job *job, const void *bytes, size_t n)
{
  CLEANUP_FREE void *old = NULL;

  if (job->old.id == 0 || job->old.first != job->room.first || job->old.bytes != n)
    return false;
  old = malloc (n);
  return old && blobs_read (l->dirs, old, n, job->old.position) == 0 && memcmp (old, bytes, n) == 0;
}

static int
save_slots (struct layout *l, int64_t extent, const struct job *job)
{
  CLEANUP_FREE void *list = NULL;
  size_t n;

  list = slots_save (job->slots, &n);
  return list ? slots_row_save (l->db, extent, list, n) : -1;
}

static int
render_job (struct layout *l, struct job *job)
{
  CLEANUP_FREE void *bytes = NULL;
  struct extent_row row;
  size_t n;

  if (restore_names (l, job) == -1 || set_folder_places (l, job) == -1)
    return -1;
  if (job->slots ? slots_put (job->slots, job->dir, l->generation) == -1
                 : (job->slots = slots_of (job->dir)) == NULL)
    return -1;
  n = l->g->format->dir_bytes (job->dir);
  bytes = malloc (n);
  if (bytes == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  l->g->format->dir_render (l->g, job->dir, job->room.first, parent_cluster (l, job), bytes);
  if (same_bytes (l, job, bytes, n))
    return save_slots (l, job->old.id, job);

  row = job->room;
  row.item = job->item;
  row.parent = job->parent;
  row.kind = EXTENT_DIR;
  row.version = 0;
  row.bytes = n;
  row.born = l->generation;
  row.died = EXTENT_ALIVE;
  row.position = blobs_alloc (l->dirs, n);
  if (row.position == UINT64_MAX || blobs_write (l->dirs, bytes, n, row.position) == -1) {
    msg_error ("disk %s: a folder cannot be written to the cache folder: %m", l->disk_name);
    return -1;
  }
  /* Of a large folder both bytes and slots are large. */
  free (bytes);
  bytes = NULL;
  if (job->old.id && kill_extent (l, &job->old) == -1)
    return -1;
  l->changed = true;
  return extent_insert (l->db, l->row->id, &row) == -1 ? -1 : save_slots (l, row.id, job);
}

/* ---- all of it ---- */

static int
run_passes (struct layout *l)
{
  if (add_changed_folders (l) == -1)
    return -1;
  for (size_t i = 0; i < l->n_jobs; ++i) {
    /* A parent that joined because its child moved does not know its own parent yet. */
    if (l->jobs[i].parent == 0 && l->jobs[i].item != l->root) {
      struct extent_row row;

      if (living_extent (l, l->jobs[i].item, EXTENT_DIR, &row) == -1)
        return -1;
      l->jobs[i].parent = row.parent;
    }
    if (place_job (l, i) == -1)
      return -1;
  }
  if (!l->first)
    for (size_t i = 0; i < l->n_jobs; ++i)
      if (retire_folder (l, l->jobs[i].item, false) == -1)
        return -1;
  for (size_t i = 0; i < l->n_jobs; ++i) {
    if (!l->jobs[i].retired && render_job (l, &l->jobs[i]) == -1)
      return -1;
    dir_free (l->jobs[i].dir);
    slots_free (l->jobs[i].slots);
    l->jobs[i].dir = NULL;
    l->jobs[i].slots = NULL;
  }
  if (blobs_sync (l->dirs) == -1) {
    msg_error ("disk %s: folders cannot be made durable in the cache folder: %m", l->disk_name);
    return -1;
  }
  return 0;
}

int
layout_wants_room (struct db *db, int64_t disk, bool *ret)
{
  const int r = left_out_for (db, disk, no_room, ret);

  return r == 0 && !*ret ? left_out_for (db, disk, no_room_for_new, ret) : r;
}

int
layout_update (struct db *db, struct blobs *dirs, const char *disk_name, struct selection *sel, bool anew,
               struct disk_row *row, struct layout_result *ret)
{
  struct layout l = {
    .db = db, .dirs = dirs, .disk_name = disk_name, .row = row, .g = &row->geometry,
    .sel = sel, .root = selection_root (sel), .anew = anew,
    .generation = row->generation + 1, .first = row->generation == 0, .zone = row->geometry.format->zone (),
  };
  int64_t revision;
  bool waiting;
  int r;

  memset (ret, 0, sizeof *ret);
  if (catalog_revision (db, &revision) == -1)
    return -1;
  if (layout_wants_room (db, row->id, &waiting) == -1)
    return -1;
  if (revision == row->revision && l.zone == row->zone && !(row->freed && waiting) && !l.first && !anew)
    return 0;
  if (extents_end (db, row->id, &l.next) == -1)
    return -1;
  if (l.next < row->geometry.root_first + row->geometry.root_clusters)
    l.next = row->geometry.root_first + row->geometry.root_clusters;

  r = run_passes (&l);
  for (size_t i = 0; i < l.n_jobs; ++i) {
    dir_free (l.jobs[i].dir);
    slots_free (l.jobs[i].slots);
    free (l.jobs[i].places);
  }
  free (l.jobs);
  free (l.gaps);
  idmap_free (&l.job_of);
  idmap_free (&l.shown);
  if (r == -1)
    return -1;

  if (l.left_out > SAY_LEFT_OUT)
    msg_notice ("disk %s: %llu more items are left out", disk_name, (unsigned long long) (l.left_out - SAY_LEFT_OUT));
  ret->changed = l.changed || l.first;
  ret->left_out = l.left_out;
  if (ret->changed)
    row->generation = l.generation;
  row->revision = revision;
  row->zone = l.zone;
  row->freed = false;
  if (left_out_sweep (db, row->id) == -1)
    return -1;
  return disk_row_advance (db, row);
}
