/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold for whatever parse.h gives out. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "names.h"
#include "parsed.h"

static int
compare_runs (const void *a, const void *b)
{
  const struct parsed_run *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

static bool
overlap (const struct parsed_runs *runs)
{
  struct parsed_run *sorted = malloc ((runs->n + 1) * sizeof sorted[0]);
  bool found = false;

  if (sorted == NULL)
    abort ();
  if (runs->n > 0)
    memcpy (sorted, runs->list, runs->n * sizeof sorted[0]);
  qsort (sorted, runs->n, sizeof sorted[0], compare_runs);
  for (size_t i = 1; i < runs->n; i++)
    found |= (uint64_t) sorted[i - 1].first + sorted[i - 1].count > sorted[i].first;
  free (sorted);
  return found;
}

const char *
chain_problem (const struct geometry *g, uint32_t first, uint64_t bytes, enum parsed_chain found,
               const struct parsed_runs *runs)
{
  const uint64_t needed = bytes_to_clusters (g, bytes);
  uint64_t sum = 0;

  for (size_t i = 0; i < runs->n; i++) {
    const struct parsed_run *run = &runs->list[i];

    if (run->count == 0)
      return "a run is empty";
    if (run->first < 2 || (uint64_t) run->first + run->count > (uint64_t) g->clusters + 2)
      return "a run leads out of the heap";
    sum += run->count;
  }
  if (sum != runs->clusters)
    return "runs and their sum differ";
  if (runs->n > 0 && runs->list[0].first != first)
    return "the first run is not the chain's beginning";
  if (overlap (runs))
    return "a cluster comes twice";
  if (runs->clusters > needed)
    return "more clusters than the bytes need";
  if (found > CHAIN_BROKEN)
    return "no such finding";
  if (bytes != UINT64_MAX && (found == CHAIN_SOUND || found == CHAIN_LONG) && runs->clusters != needed)
    return "sound or long, and not as many clusters as the bytes need";
  if (found == CHAIN_SHORT && runs->clusters >= needed)
    return "short, and as many clusters as the bytes need";
  return NULL;
}

static int
compare_keys (const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return (x > y) - (x < y);
}

static bool
same_names (const struct parsed_dir *dir)
{
  uint64_t *keys = malloc ((dir->n + 1) * sizeof keys[0]);
  bool found = false;

  if (keys == NULL)
    abort ();
  for (size_t i = 0; i < dir->n; i++)
    keys[i] = name_hash_units (dir->entries[i].name, dir->entries[i].units);
  qsort (keys, dir->n, sizeof keys[0], compare_keys);
  for (size_t i = 1; i < dir->n; i++)
    found |= keys[i - 1] == keys[i];
  free (keys);
  return found;
}

const char *
dir_problem (const struct geometry *g, uint64_t bytes, const struct parsed_dir *dir)
{
  const bool exfat = g->format == &format_exfat;
  uint64_t end = 0;

  for (size_t i = 0; i < dir->n; i++) {
    const struct parsed_entry *e = &dir->entries[i];

    if (e->offset < end || e->offset % 32 != 0 || e->bytes == 0 || e->bytes % 32 != 0)
      return "an entry stands where none can stand";
    end = (uint64_t) e->offset + e->bytes;
    if (end > bytes)
      return "an entry stands behind its directory";
    if (e->units < 1 || e->units > NAME_UNITS)
      return "a name has no possible length";
    for (unsigned k = 0; k < e->units; k++)
      if (e->name[k] == 0 || e->name[k] == '/')
        return "a name is no name";
    if (e->first == 0 ? e->size > 0 || (!exfat && e->is_folder) : e->first < 2 || e->first - 2 >= g->clusters)
      return "no such first cluster";
    if (e->valid > e->size || e->size > (uint64_t) g->clusters * g->cluster_bytes)
      return "no such size";
    if (e->contiguous && (!exfat || e->first == 0))
      return "contiguous, and nothing that can be";
    if (e->is_folder != !!(e->attributes & 0x10))
      return "attributes and kind differ";
    if (e->mtime.tv_nsec < 0 || e->mtime.tv_nsec > 999999999)
      return "no such time";
  }
  return same_names (dir) ? "two entries have one name" : NULL;
}
