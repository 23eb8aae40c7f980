/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's tree: which folders are named by living ones, and what they say now. */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "catalog.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "format.h"
#include "interpret-private.h"
#include "map.h"
#include "msg.h"
#include "said.h"

/* Folders within folders, as deep as the catalog keeps them; and so many at once of a hostile disk. */
#define MAX_FOLDERS 200000

/* So many entries of folders that were looked at are kept; what lies behind stays on the guest's disk. */
#define MAX_ENTRIES 1000000

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
find_child (struct interp *interp, const struct parsed_entry *entry, bool *asleep, struct folder **ret)
{
  const size_t i = idmap_get (&interp->by_first, entry->first);
  struct extent_row row;
  int r;

  *ret = i == IDMAP_NONE ? NULL : interp->folders[i];
  if (*ret || *asleep)
    return 0;
  r = generation_at (interp, entry->first, &row);
  if (r == -1)
    return -1;
  if (r == 1 && row.kind == EXTENT_DIR) {
    /* exFAT: one that grew says so here alone. */
    if (interp->g->format->has_aliases || entry->size == (uint64_t) row.count * interp->g->cluster_bytes) {
      *asleep = true;
      return 0;
    }
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
  /* Asked once after each parse: a folder may have thousands of others in it that nobody touches. */
  if (folder->asleep && folder->asleep_ends != interp->ends)
    memset (folder->asleep, 0, folder->now.n);
  folder->asleep_ends = interp->ends;
  for (size_t e = 0; e < folder->now.n; ++e) {
    const struct parsed_entry *entry = &folder->now.entries[e];
    struct folder *child;

    if (!entry->is_folder || entry->first == 0)
      continue;
    if (find_child (interp, entry, &folder->asleep[e], &child) == -1)
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
int
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
