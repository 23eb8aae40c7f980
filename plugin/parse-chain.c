/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: chains of clusters. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "parse-private.h"

void
parsed_runs_free (struct parsed_runs *runs)
{
  free (runs->list);
  *runs = (struct parsed_runs) { .n = 0 };
}

static int
no_memory (void)
{
  msg_error ("no memory for the clusters of a file that a guest wrote");
  return -1;
}

/* The list has room for the next power of two. */
static int
runs_add (struct parsed_runs *runs, uint32_t first, uint32_t count)
{
  struct parsed_run *last = runs->n ? &runs->list[runs->n - 1] : NULL;

  runs->clusters += count;
  if (last && last->first + last->count == first) {
    last->count += count;
    return 0;
  }

  if ((runs->n & (runs->n - 1)) == 0) {
    struct parsed_run *list = realloc (runs->list, (runs->n ? 2 * runs->n : 1) * sizeof list[0]);

    if (list == NULL)
      return no_memory ();
    runs->list = list;
  }
  runs->list[runs->n++] = (struct parsed_run) { first, count };
  return 0;
}

static int
compare_runs (const void *a, const void *b)
{
  const struct parsed_run *x = a, *y = b;

  return (x->first > y->first) - (x->first < y->first);
}

/* Whether a cluster is in the first n runs twice; room is for n runs. */
static bool
is_circle (const struct parsed_runs *runs, size_t n, struct parsed_run *room)
{
  memcpy (room, runs->list, n * sizeof room[0]);
  qsort (room, n, sizeof room[0], compare_runs);
  for (size_t i = 1; i < n; i++)
    if (room[i].first - room[i - 1].first < room[i - 1].count)
      return true;
  return false;
}

/* Of a circle, keeps what comes before the first cluster that comes again. */
static void
cut_circle (struct parsed_runs *runs, struct parsed_run *room)
{
  size_t good = 1, bad = runs->n;
  struct parsed_run *last;

  /* All of the first `good' runs are distinct, those of the first `bad' are not. */
  while (bad - good > 1) {
    const size_t middle = good + (bad - good) / 2;

    if (is_circle (runs, middle, room))
      bad = middle;
    else
      good = middle;
  }

  /* What the last run shares with others may begin in its middle. */
  last = &runs->list[good];
  for (size_t i = 0; i < good; i++) {
    const struct parsed_run *run = &runs->list[i];

    if (run->first < last->first ? last->first - run->first < run->count : run->first - last->first < last->count)
      last->count = run->first > last->first ? run->first - last->first : 0;
  }
  runs->n = good + (last->count > 0);
  runs->clusters = 0;
  for (size_t i = 0; i < runs->n; i++)
    runs->clusters += runs->list[i].count;
}

/* *ret: whether the runs are a circle; then they are cut. */
static int
find_circle (struct parsed_runs *runs, bool *ret)
{
  struct parsed_run *room;

  *ret = false;
  if (runs->n < 2)
    return 0;
  room = malloc (runs->n * sizeof room[0]);
  if (room == NULL)
    return no_memory ();

  *ret = is_circle (runs, runs->n, room);
  if (*ret)
    cut_circle (runs, room);
  free (room);
  return 0;
}

static bool
runs_have (const struct parsed_runs *runs, uint32_t cluster)
{
  for (size_t i = 0; i < runs->n; i++)
    if (cluster >= runs->list[i].first && cluster - runs->list[i].first < runs->list[i].count)
      return true;
  return false;
}

static int
compare_copies (struct parse *parse, uint32_t cluster, uint32_t entry, bool *ret_differ)
{
  uint32_t copy;

  if (parse->geometry->fats < 2 || *ret_differ)
    return 0;
  if (parse_fat_entry (parse, AREA_FAT_COPY, cluster, &copy) == -1)
    return -1;
  *ret_differ = copy != entry;
  return 0;
}

/* At most `most' clusters.  Whether any comes again is looked at when the chain has become twice as long, so a circle
 * is left when it was gone through less than twice more, and looking costs little beside walking. */
static int
walk_chain (struct parse *parse, uint32_t first, uint64_t most, enum parsed_chain *found, struct parsed_runs *runs,
            bool *differ)
{
  uint64_t look = 2;

  for (uint32_t cluster = first; ; ) {
    uint32_t entry;
    bool allocated;

    if (!parse_has_cluster (parse, cluster)) {
      *found = CHAIN_BROKEN;
      return 0;
    }
    if (parse_fat_entry (parse, AREA_FAT, cluster, &entry) == -1 ||
        parse->format->is_allocated (parse, cluster, entry, &allocated) == -1)
      return -1;
    if (!allocated || entry == parse->format->fat_bad) {
      *found = allocated ? CHAIN_BROKEN : CHAIN_FREE;
      return compare_copies (parse, cluster, entry, differ);
    }
    if (runs->clusters == most) {
      *found = runs_have (runs, cluster) ? CHAIN_BROKEN : CHAIN_LONG;
      return 0;
    }

    if (compare_copies (parse, cluster, entry, differ) == -1 || runs_add (runs, cluster, 1) == -1)
      return -1;
    if (entry > parse->format->fat_bad) {
      *found = CHAIN_SOUND;   /* if it is long enough: the caller's to say */
      return 0;
    }

    if (runs->clusters == look) {
      bool circle;

      if (find_circle (runs, &circle) == -1)
        return -1;
      if (circle) {
        *found = CHAIN_BROKEN;
        return 0;
      }
      look *= 2;
    }
    cluster = entry;
  }
}

static int
read_chain (struct parse *parse, uint32_t first, uint64_t most, enum parsed_chain *found, struct parsed_runs *runs,
            bool *differ)
{
  bool circle;

  if (walk_chain (parse, first, most, found, runs, differ) == -1 || find_circle (runs, &circle) == -1)
    return -1;
  if (circle)
    *found = CHAIN_BROKEN;
  return 0;
}

/* How many of n clusters from the first on are in use, one after the other. */
static int
count_allocated (struct parse *parse, uint32_t first, uint64_t n, uint64_t *ret)
{
  uint64_t bit = first - 2;
  const uint64_t begin = bit, end = bit + n;

  while (bit < end) {
    size_t bytes;
    const uint8_t *bits = parse_window (parse, AREA_BITMAP, bit / 8, &bytes);
    const uint64_t window_end = (bit / 8 + bytes) * 8;

    if (bits == NULL)
      return -1;
    for (const uint64_t base = bit / 8; bit < end && bit < window_end; ) {
      const uint8_t byte = bits[bit / 8 - base];

      if (byte == 0xff)
        bit = (bit / 8 + 1) * 8;
      else if (byte >> bit % 8 & 1)
        bit++;
      else {
        *ret = bit - begin;
        return 0;
      }
    }
  }
  *ret = n;
  return 0;
}

/* exFAT specification 6.3.4.2. */
static int
read_contiguous (struct parse *parse, uint32_t first, uint64_t most, enum parsed_chain *found, struct parsed_runs *runs)
{
  const uint64_t room = parse_has_cluster (parse, first) ? parse->geometry->clusters - (first - 2) : 0;
  const uint64_t want = most > 0 ? most : 1, looked = want < room ? want : room;
  uint64_t allocated = 0;

  if (looked > 0 && count_allocated (parse, first, looked, &allocated) == -1)
    return -1;
  if (allocated < looked)
    *found = CHAIN_FREE;
  else if (looked < want)
    *found = CHAIN_BROKEN;
  else
    *found = most > 0 ? CHAIN_SOUND : CHAIN_LONG;
  if (allocated > most)
    allocated = most;
  return allocated > 0 ? runs_add (runs, first, allocated) : 0;
}

int
parse_chain (struct parse *parse, uint32_t first, uint64_t bytes, bool contiguous, enum parsed_chain *ret_found,
             struct parsed_runs *ret, bool *ret_differ)
{
  const bool known = bytes != UINT64_MAX;
  const uint64_t most = bytes_to_clusters (parse->geometry, known ? bytes : parse->format->max_dir);
  int r;

  *ret = (struct parsed_runs) { .n = 0 };
  *ret_differ = false;
  if (first == 0) {
    *ret_found = known && bytes == 0 ? CHAIN_SOUND : CHAIN_SHORT;
    return 0;
  }

  r = contiguous ? read_contiguous (parse, first, most, ret_found, ret)
                 : read_chain (parse, first, most, ret_found, ret, ret_differ);
  if (r == -1) {
    parsed_runs_free (ret);
    return -1;
  }
  if (*ret_found == CHAIN_SOUND && known && ret->clusters < most)
    *ret_found = CHAIN_SHORT;
  return 0;
}
