/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of bytes of a file, as ranges: in order, apart from each other, none empty.
 *
 *   struct ranges set = { 0 }
 *   ranges_add (&set, offset, length)        in any order; what overlaps or touches becomes one
 *   ranges_free (&set)
 *
 * Pure arithmetic over offsets and lengths in bytes, below 2^63.  Not thread-safe: a set that nobody changes may be read by
 * any thread.  Errors: -1 after one message (no memory); the set is what it was.
 */

#ifndef CLOUDSHARE_RANGES_H
#define CLOUDSHARE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud.h"

struct ranges {
  struct cloud_range *list;
  size_t n, room;
};

extern void ranges_free (struct ranges *set);
extern int ranges_add (struct ranges *set, uint64_t offset, uint64_t length);
extern int ranges_add_all (struct ranges *set, const struct ranges *other);

/* Leaves out what lies at or behind size. */
extern void ranges_cut (struct ranges *set, uint64_t size);

/* How many bytes there are in it, and how many of them in [offset, offset + length). */
extern uint64_t ranges_bytes (const struct ranges *set);
extern uint64_t ranges_bytes_in (const struct ranges *set, uint64_t offset, uint64_t length);

/* The run that begins at offset: how many bytes, at most n, are all in the set, or all not. */
extern uint64_t ranges_run (const struct ranges *set, uint64_t n, uint64_t offset, bool *ret_inside);

#endif /* CLOUDSHARE_RANGES_H */
