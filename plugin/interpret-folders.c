/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's folders: what they said when they were last interpreted (the view's generation, and rows of seen.h on
 * top), and what they say now. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "disk.h"
#include "extents.h"
#include "format.h"
#include "interpret-private.h"
#include "junk.h"
#include "map.h"
#include "msg.h"
#include "names.h"
#include "slots.h"

/* ---- known entries ---- */

static int64_t
name_id (const uint16_t *name, uint16_t units)
{
  return (int64_t) (name_hash_units (name, units) >> 1 | 1);
}

static bool
has_name (const struct known *known, const uint16_t *name, uint16_t units)
{
  return known->units == units && memcmp (known->name, name, units * sizeof *name) == 0;
}

struct known *
known_find (struct folder *folder, const uint16_t *name, uint16_t units)
{
  size_t i;

  if (folder->names_stale) {
    idmap_free (&folder->by_name);
    memset (&folder->by_name, 0, sizeof folder->by_name);
    folder->names_stale = false;
    for (i = 0; i < folder->n_known && !folder->names_stale; ++i)
      folder->names_stale = idmap_put (&folder->by_name, name_id (folder->known[i]->name, folder->known[i]->units), i) == -1;
  }
  if (!folder->names_stale) {
    i = idmap_get (&folder->by_name, name_id (name, units));
    if (i == IDMAP_NONE)
      return NULL;
    if (has_name (folder->known[i], name, units))
      return folder->known[i];
  }
  /* Two names of one hash, or no memory for the map. */
  for (i = 0; i < folder->n_known; ++i)
    if (has_name (folder->known[i], name, units))
      return folder->known[i];
  return NULL;
}

struct known *
known_by_item (struct folder *folder, int64_t item)
{
  for (size_t i = 0; i < folder->n_known; ++i)
    if (folder->known[i]->item == item)
      return folder->known[i];
  return NULL;
}

struct known *
known_add (struct folder *folder, const uint16_t *name, uint16_t units)
{
  struct known *known = calloc (1, sizeof *known);

  if (known == NULL || (known->name = malloc (units * sizeof *name + 1)) == NULL)
    goto no_memory;
  if (folder->n_known == folder->known_room) {
    const size_t room = folder->known_room * 2 + 16;
    struct known **more = realloc (folder->known, room * sizeof *more);

    if (more == NULL)
      goto no_memory;
    folder->known = more;
    folder->known_room = room;
  }
  memcpy (known->name, name, units * sizeof *name);
  known->units = units;
  if (!folder->names_stale && idmap_put (&folder->by_name, name_id (name, units), folder->n_known) == -1)
    folder->names_stale = true;
  folder->known[folder->n_known++] = known;
  return known;

no_memory:
  msg_error ("out of memory");
  if (known)
    free (known->name);
  free (known);
  return NULL;
}

static void
known_free (struct known *known)
{
  parsed_runs_free (&known->runs);
  free (known->name);
  free (known);
}

void
known_drop (struct folder *folder, struct known *known)
{
  for (size_t i = 0; i < folder->n_known; ++i) {
    if (folder->known[i] != known)
      continue;
    folder->known[i] = folder->known[--folder->n_known];
    folder->names_stale = true;
    known_free (known);
    return;
  }
}

int
known_version (struct interp *interp, struct known *known, int64_t *ret)
{
  struct extent_row row;
  int r;

  if (known->version == -1) {
    db_read_begin (interp->db);
    r = extent_at_cluster (interp->db, disk_id (interp->disk), known->first, interp->map->generation, &row);
    db_read_end (interp->db);
    if (r == -1)
      return -1;
    known->version = r == 1 && row.item == known->item ? row.version : 0;
  }
  *ret = known->version;
  return 0;
}

/* What our layout made is contiguous; what a guest made has a chain, which reached as far as the size that was interpreted. */
int
known_runs (struct interp *interp, struct known *known)
{
  enum parsed_chain found;
  bool differ;

  if (known->runs.n > 0 || known->first == 0 || known->is_folder || known->size == 0)
    return 0;
  if (!known->seen || known->contiguous) {
    known->runs.list = malloc (sizeof *known->runs.list);
    if (known->runs.list == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    known->runs.list[0] = (struct parsed_run) {
      .first = known->first, .count = bytes_to_clusters (interp->g, known->size),
    };
    known->runs.n = 1;
    known->runs.clusters = known->runs.list[0].count;
    return 0;
  }
  return parse_chain (interp->parse, known->first, known->size, known->contiguous, &found, &known->runs, &differ);
}

/* ---- folders ---- */

struct folder *
folder_find (struct interp *interp, int64_t key)
{
  const size_t i = idmap_get (&interp->by_key, key);

  return i == IDMAP_NONE ? NULL : interp->folders[i];
}

void
folder_free (struct folder *folder)
{
  for (size_t i = 0; i < folder->n_known; ++i)
    known_free (folder->known[i]);
  free (folder->known);
  idmap_free (&folder->by_name);
  free (folder->is_junk);
  parsed_runs_free (&folder->runs);
  parsed_dir_free (&folder->now);
  free (folder);
}

struct folder *
folder_add (struct interp *interp, int64_t key)
{
  struct folder *folder = calloc (1, sizeof *folder);

  if (folder == NULL)
    goto no_memory;
  if (interp->n_folders == interp->folders_room) {
    const size_t room = interp->folders_room * 2 + 16;
    struct folder **more = realloc (interp->folders, room * sizeof *more);

    if (more == NULL)
      goto no_memory;
    interp->folders = more;
    interp->folders_room = room;
  }
  if (idmap_put (&interp->by_key, key, interp->n_folders) == -1)
    goto no_memory;
  folder->key = key;
  folder->dirty = true;
  folder->live = true;
  interp->folders[interp->n_folders++] = folder;
  return folder;

no_memory:
  msg_error ("out of memory");
  free (folder);
  return NULL;
}

/* A folder that had no item has one now.  The old key stays in the map, and leads here as well. */
int
folder_rekey (struct interp *interp, struct folder *folder, int64_t key)
{
  const size_t i = idmap_get (&interp->by_key, folder->key);

  if (idmap_put (&interp->by_key, key, i) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t k = 0; k < interp->n_folders; ++k)
    if (interp->folders[k]->parent == folder->key)
      interp->folders[k]->parent = key;
  folder->key = key;
  return 0;
}

static int64_t
item_at (const struct slots *slots, uint32_t offset)
{
  size_t low = 0, high = slots->n;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (slots->list[middle].offset <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low > 0 && slots->list[low - 1].offset == offset && slots->list[low - 1].item > 0 ? slots->list[low - 1].item : 0;
}

/* The entries of the generation's own folder.  Called with no lock. */
static int
load_generation (struct interp *interp, struct folder *folder, const struct extent_row *row)
{
  struct parsed_run run = { .first = row->first, .count = row->count };
  const struct parsed_runs runs = { .list = &run, .n = 1, .clusters = row->count };
  struct parsed_dir dir;
  struct slots *slots = NULL;
  CLEANUP_FREE void *list = NULL;
  size_t n;
  int r;

  db_read_begin (interp->db);
  r = slots_row_load (interp->db, row->id, &list, &n);
  db_read_end (interp->db);
  if (r == -1)
    return -1;
  slots = list ? slots_load (list, n, interp->g->format->head_bytes (folder->is_root)) : NULL;
  if (slots == NULL) {
    msg_error ("view %s: a folder's entries are not on record: what the guest changes in it stays on its disk only",
               interp->name);
    return -1;
  }
  r = parse_dir (interp->base, &runs, (uint64_t) row->count * interp->g->cluster_bytes, folder->is_root, &dir);
  for (size_t i = 0; i < dir.n && r == 0; ++i) {
    const struct parsed_entry *entry = &dir.entries[i];
    const int64_t item = item_at (slots, entry->offset);
    struct known *known;

    if (item == 0)
      continue;
    known = known_add (folder, entry->name, entry->units);
    if (known == NULL)
      r = -1;
    else {
      known->is_folder = entry->is_folder;
      known->contiguous = entry->contiguous;
      known->first = entry->first;
      known->size = entry->size;
      known->valid = entry->valid;
      known->raw_mtime = entry->raw_mtime;
      known->item = item;
      known->version = entry->is_folder || entry->first == 0 ? 0 : -1;
    }
  }
  if (r == 0)
    parsed_dir_free (&dir);
  slots_free (slots);
  return r;
}

static int
load_seen (void *opaque, const struct seen_row *row)
{
  struct folder *folder = opaque;
  struct known *known = known_find (folder, row->name, row->units);

  if (row->dead) {
    if (known)
      known_drop (folder, known);
    return 0;
  }
  if (known == NULL && (known = known_add (folder, row->name, row->units)) == NULL)
    return -1;
  known->seen = true;
  known->is_folder = row->is_folder;
  known->contiguous = row->contiguous;
  known->first = row->first;
  known->size = row->size;
  known->valid = row->valid;
  known->raw_mtime = row->raw_mtime;
  known->item = row->item;
  known->version = row->version;
  return 0;
}

struct folder *
folder_load (struct interp *interp, int64_t key)
{
  struct folder *folder = folder_find (interp, key);
  struct extent_row row = { 0 };
  struct seen_row place = { 0 };
  int in_generation, moved;
  bool gone = false;

  if (folder)
    return folder;
  db_read_begin (interp->db);
  in_generation = extent_at_item (interp->db, disk_id (interp->disk), key, interp->map->generation, &row);
  if (in_generation == 1 && row.kind != EXTENT_DIR)
    in_generation = 0;
  moved = seen_place (interp->db, interp->view, key, &place);
  if (seen_is_gone (interp->db, interp->view, key, &gone) == -1)
    moved = -1;
  db_read_end (interp->db);
  if (in_generation == -1 || moved == -1)
    return NULL;
  if (moved == 1 ? !place.is_folder : in_generation == 0 || gone) {
    errno = ENOENT;
    return NULL;
  }
  folder = folder_add (interp, key);
  if (folder == NULL)
    return NULL;
  folder->is_root = key == CATALOG_ROOT;
  folder->in_generation = in_generation == 1;
  if (moved == 1) {
    folder->parent = place.folder;
    folder->first = place.first;
    folder->bytes = place.size;
    folder->contiguous = place.contiguous;
  }
  else {
    folder->parent = folder->is_root ? 0 : row.parent;
    folder->first = row.first;
    folder->bytes = (uint64_t) row.count * interp->g->cluster_bytes;
    folder->contiguous = !folder->is_root;
  }
  if (!interp->g->format->has_aliases && folder->is_root)
    folder->contiguous = false;
  if (in_generation == 1 && load_generation (interp, folder, &row) == -1)
    goto failed;
  db_read_begin (interp->db);
  moved = seen_in_folder (interp->db, interp->view, key, load_seen, folder);
  db_read_end (interp->db);
  if (moved == -1)
    goto failed;
  return folder;

failed:
  /* It is the last one. */
  interp->n_folders--;
  folder_free (folder);
  /* A key without a folder would be found; the map cannot forget, so it is made anew. */
  idmap_free (&interp->by_key);
  memset (&interp->by_key, 0, sizeof interp->by_key);
  for (size_t i = 0; i < interp->n_folders; ++i)
    idmap_put (&interp->by_key, interp->folders[i]->key, i);
  errno = EIO;
  return NULL;
}

/* What the folder says now.  If its clusters cannot be told, it stays as it was, and is torn. */
int
folder_parse (struct interp *interp, struct folder *folder)
{
  const bool fat32 = interp->g->format->has_aliases;
  enum parsed_chain found;
  struct parsed_runs runs = { 0 };
  struct parsed_dir now;
  const uint64_t bytes = fat32 || folder->is_root ? UINT64_MAX : folder->bytes;
  bool differ, *is_junk;

  if (folder->first == 0) {
    folder->torn = true;
    return 0;
  }
  if (parse_chain (interp->parse, folder->first, bytes, folder->contiguous && !fat32, &found, &runs, &differ) == -1)
    return -1;
  if (found != CHAIN_SOUND || runs.clusters == 0) {
    parsed_runs_free (&runs);
    folder->torn = true;
    return 0;
  }
  if (parse_dir (interp->parse, &runs, runs.clusters * interp->g->cluster_bytes, folder->is_root, &now) == -1) {
    parsed_runs_free (&runs);
    return -1;
  }
  is_junk = calloc (now.n + 1, sizeof *is_junk);
  if (is_junk == NULL) {
    msg_error ("out of memory");
    parsed_runs_free (&runs);
    parsed_dir_free (&now);
    return -1;
  }
  for (size_t e = 0; e < now.n; ++e) {
    char name[NAME_UNITS * 3 + 1];

    /* What the cloud itself calls so is no junk. */
    is_junk[e] = name_to_cloud (now.entries[e].name, now.entries[e].units, name) >= 0 &&
                 junk_matches (interp->junk, name) &&
                 known_find (folder, now.entries[e].name, now.entries[e].units) == NULL;
  }
  interp->n_entries -= folder->now.n;
  parsed_runs_free (&folder->runs);
  parsed_dir_free (&folder->now);
  free (folder->is_junk);
  folder->is_junk = is_junk;
  interp->owners_stale = true;
  interp->n_entries += now.n;
  folder->runs = runs;
  folder->now = now;
  folder->just_parsed = true;
  folder->torn = now.torn > 0;
  folder->parsed = true;
  folder->dirty = false;
  return 0;
}

int
known_locate (struct interp *interp, int64_t item, int64_t folder_hint, struct folder **ret_folder, struct known **ret)
{
  struct seen_row place;
  bool gone = false;
  int moved, r = 0;

  *ret_folder = NULL;
  *ret = NULL;
  db_read_begin (interp->db);
  moved = seen_place (interp->db, interp->view, item, &place);
  if (moved == 0 && seen_is_gone (interp->db, interp->view, item, &gone) == -1)
    moved = -1;
  db_read_end (interp->db);
  if (moved == -1)
    return -1;
  if (gone)
    return 0;
  *ret_folder = folder_load (interp, moved == 1 ? place.folder : folder_hint);
  if (*ret_folder)
    *ret = known_by_item (*ret_folder, item);
  else if (errno != ENOENT)
    return -1;
  if (*ret)
    return 1;
  /* The cloud moved it since the view's generation: it is in some other folder of that. */
  for (size_t i = 0; i < interp->map->n && r == 0; ++i) {
    struct extent_row row;

    if (interp->map->extents[i].kind != EXTENT_DIR)
      continue;
    db_read_begin (interp->db);
    r = extent_at_cluster (interp->db, disk_id (interp->disk), interp->map->extents[i].first, interp->map->generation, &row);
    db_read_end (interp->db);
    if (r != 1)
      continue;
    r = 0;
    *ret_folder = folder_load (interp, row.item);
    *ret = *ret_folder ? known_by_item (*ret_folder, item) : NULL;
    if (*ret)
      return 1;
  }
  return r == -1 ? -1 : 0;
}
