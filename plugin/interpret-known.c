/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's known entries: what a folder said when it was last interpreted, and where the bytes of that are. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "catalog.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "extents.h"
#include "interpret-private.h"
#include "map.h"
#include "msg.h"
#include "names.h"

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
  size_t i;

  if (folder->items_stale) {
    idmap_free (&folder->by_item);
    memset (&folder->by_item, 0, sizeof folder->by_item);
    folder->items_stale = false;
    for (i = 0; i < folder->n_known && !folder->items_stale; ++i)
      folder->items_stale = idmap_put (&folder->by_item, folder->known[i]->item, i) == -1;
  }
  if (!folder->items_stale) {
    i = idmap_get (&folder->by_item, item);
    return i == IDMAP_NONE ? NULL : folder->known[i];
  }
  /* No memory for the map. */
  for (i = 0; i < folder->n_known; ++i)
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
  folder->items_stale = true;
  folder->known[folder->n_known++] = known;
  return known;

no_memory:
  msg_error ("out of memory");
  if (known)
    free (known->name);
  free (known);
  return NULL;
}

void
known_free (struct known *known)
{
  parsed_runs_free (&known->runs);
  free (known->name);
  free (known);
}

void
known_drop (struct folder *folder, struct known *known)
{
  known->dead = true;
  folder->n_dead++;
}

void
known_sweep (struct folder *folder)
{
  size_t kept = 0;

  if (folder->n_dead == 0)
    return;
  for (size_t i = 0; i < folder->n_known; ++i)
    if (folder->known[i]->dead)
      known_free (folder->known[i]);
    else
      folder->known[kept++] = folder->known[i];
  folder->n_known = kept;
  folder->n_dead = 0;
  folder->names_stale = folder->items_stale = true;
}

int
known_version_locked (struct interp *interp, struct known *known, int64_t *ret)
{
  struct extent_row row;
  int r;

  if (known->version == -1) {
    r = extent_at_cluster (interp->db, disk_id (interp->disk), known->first, interp->map->generation, &row);
    if (r == -1)
      return -1;
    known->version = r == 1 && row.item == known->item ? row.version : 0;
  }
  *ret = known->version;
  return 0;
}

int
known_version (struct interp *interp, struct known *known, int64_t *ret)
{
  int r = 0;

  *ret = known->version;
  if (known->version == -1) {
    db_read_begin (interp->db);
    r = known_version_locked (interp, known, ret);
    db_read_end (interp->db);
  }
  return r;
}

int
known_pin (struct interp *interp, struct known *known, struct cache_file **ret, uint64_t *ret_size)
{
  uint64_t position;
  int64_t version;
  int r;

  if (known->is_folder || known_version (interp, known, &version) == -1)
    return known->is_folder ? 0 : -1;
  if (version <= 0)
    return 0;
  db_read_begin (interp->db);
  r = catalog_version_run (interp->db, version, ret_size, &position);
  db_read_end (interp->db);
  if (r != 1 || *ret_size == 0)
    return r == -1 ? -1 : 0;
  *ret = cache_pin (engine_cache (interp->engine), version, *ret_size, position);
  return *ret ? 1 : -1;
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
