/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of bytes of a file, as ranges. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "ranges.h"

void
ranges_free (struct ranges *set)
{
  free (set->list);
  memset (set, 0, sizeof *set);
}

static uint64_t
end_of (const struct cloud_range *range)
{
  return range->offset + range->length;
}

/* The first range that ends behind offset, or n. */
static size_t
find (const struct ranges *set, uint64_t offset)
{
  size_t low = 0, high = set->n;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (end_of (&set->list[middle]) <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int
ranges_add (struct ranges *set, uint64_t offset, uint64_t length)
{
  uint64_t end = offset + length;
  size_t first, behind;

  if (length == 0)
    return 0;
  first = find (set, offset);
  if (first > 0 && end_of (&set->list[first - 1]) == offset)
    first--;
  for (behind = first; behind < set->n && set->list[behind].offset <= end; ++behind) {
    if (set->list[behind].offset < offset)
      offset = set->list[behind].offset;
    if (end_of (&set->list[behind]) > end)
      end = end_of (&set->list[behind]);
  }
  if (behind == first && array_make_room (&set->list, set->n, &set->room, sizeof *set->list) == -1)
    return -1;
  memmove (&set->list[first + 1], &set->list[behind], (set->n - behind) * sizeof *set->list);
  set->list[first] = (struct cloud_range) { .offset = offset, .length = end - offset };
  set->n = set->n + 1 - (behind - first);
  return 0;
}

int
ranges_add_all (struct ranges *set, const struct ranges *other)
{
  for (size_t i = 0; i < other->n; ++i)
    if (ranges_add (set, other->list[i].offset, other->list[i].length) == -1)
      return -1;
  return 0;
}

void
ranges_cut (struct ranges *set, uint64_t size)
{
  const size_t i = find (set, size);

  set->n = i < set->n && set->list[i].offset < size ? i + 1 : i;
  if (set->n > 0 && end_of (&set->list[set->n - 1]) > size)
    set->list[set->n - 1].length = size - set->list[set->n - 1].offset;
}

uint64_t
ranges_bytes (const struct ranges *set)
{
  uint64_t bytes = 0;

  for (size_t i = 0; i < set->n; ++i)
    bytes += set->list[i].length;
  return bytes;
}

uint64_t
ranges_bytes_in (const struct ranges *set, uint64_t offset, uint64_t length)
{
  const uint64_t end = offset + length;
  uint64_t bytes = 0;

  for (size_t i = find (set, offset); i < set->n && set->list[i].offset < end; ++i) {
    const uint64_t from = set->list[i].offset > offset ? set->list[i].offset : offset;
    const uint64_t to = end_of (&set->list[i]) < end ? end_of (&set->list[i]) : end;

    bytes += to - from;
  }
  return bytes;
}

uint64_t
ranges_run (const struct ranges *set, uint64_t n, uint64_t offset, bool *ret_inside)
{
  const size_t i = find (set, offset);
  uint64_t run = n;

  *ret_inside = i < set->n && set->list[i].offset <= offset;
  if (*ret_inside)
    run = end_of (&set->list[i]) - offset;
  else if (i < set->n)
    run = set->list[i].offset - offset;
  return run < n ? run : n;
}
