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
  idmap_free (&folder->by_item);
  free (folder->is_junk);
  free (folder->asleep);
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

/* The old key stays in the map, and leads here as well: folders_follow makes use of that. */
int
folder_rekey (struct interp *interp, struct folder *folder, int64_t key)
{
  struct extent_row row;
  int r;

  if (idmap_put (&interp->by_key, key, idmap_get (&interp->by_key, folder->key)) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  folder->key = key;
  /* It may be an item that the generation has in another place, with entries that must not come back. */
  db_read_begin (interp->db);
  r = extent_at_item (interp->db, disk_id (interp->disk), key, interp->map->generation, &row);
  db_read_end (interp->db);
  folder->in_generation = r == 1 && row.kind == EXTENT_DIR;
  return r == -1 ? -1 : 0;
}

void
folders_follow (struct interp *interp)
{
  for (size_t f = 0; f < interp->n_folders; ++f) {
    const struct folder *parent = folder_find (interp, interp->folders[f]->parent);

    if (parent)
      interp->folders[f]->parent = parent->key;
  }
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
  bool read_failed;
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
    folder->sealed = true;
    return 0;
  }
  r = parse_dir (interp->base, &runs, (uint64_t) row->count * interp->g->cluster_bytes, folder->is_root, &dir);
  read_failed = r == -1;
  for (size_t i = 0; r == 0 && i < dir.n; ++i) {
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
  if (!read_failed)
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
  folder->is_root = key == interp->root;
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
  known_sweep (folder);
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
  bool differ, *is_junk, *asleep;

  if (folder->first == 0) {
    folder->torn = folder->broken = true;
    return 0;
  }
  if (parse_chain (interp->parse, folder->first, bytes, folder->contiguous && !fat32, &found, &runs, &differ) == -1)
    return -1;
  if (found != CHAIN_SOUND || runs.clusters == 0) {
    parsed_runs_free (&runs);
    folder->torn = folder->broken = true;
    return 0;
  }
  if (parse_dir (interp->parse, &runs, runs.clusters * interp->g->cluster_bytes, folder->is_root, &now) == -1) {
    parsed_runs_free (&runs);
    return -1;
  }
  is_junk = calloc (now.n + 1, sizeof *is_junk);
  asleep = calloc (now.n + 1, sizeof *asleep);
  if (is_junk == NULL || asleep == NULL) {
    msg_error ("out of memory");
    free (is_junk);
    free (asleep);
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
  free (folder->asleep);
  folder->is_junk = is_junk;
  folder->asleep = asleep;
  interp->owners_stale = true;
  interp->n_entries += now.n;
  folder->runs = runs;
  folder->now = now;
  folder->just_parsed = true;
  folder->torn = now.torn > 0;
  folder->broken = false;
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
