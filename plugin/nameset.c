/* SPDX-License-Identifier: BSD-3-Clause */
/* The names taken in one directory: open addressing, at most half full. */

#include <config.h>

#include <stdlib.h>

#include "msg.h"
#include "nameset.h"

struct nameset {
  size_t mask;
  struct nameset_slot slots[];
};

struct nameset *
nameset_new (size_t n)
{
  struct nameset *set = NULL;
  size_t slots = 16;

  while (slots < 2 * n && slots <= SIZE_MAX / 4)
    slots *= 2;
  if (slots <= (SIZE_MAX - sizeof *set) / sizeof set->slots[0])
    set = calloc (1, sizeof *set + slots * sizeof set->slots[0]);
  if (set == NULL) {
    msg_error ("no memory for the names of a folder of %zu items", n);
    return NULL;
  }
  set->mask = slots - 1;
  return set;
}

void
nameset_free (struct nameset *set)
{
  free (set);
}

struct nameset_slot *
nameset_find (struct nameset *set, uint64_t key)
{
  size_t i = key & set->mask;

  while (set->slots[i].taken && set->slots[i].key != key)
    i = (i + 1) & set->mask;
  set->slots[i].key = key;
  return &set->slots[i];
}
