/* SPDX-License-Identifier: BSD-3-Clause */
/* The names taken in one directory: a hash table from key (name_key) to whose name it is. */

#ifndef CLOUDSHARE_NAMESET_H
#define CLOUDSHARE_NAMESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nameset;

struct nameset_slot {
  uint64_t key;
  uint32_t owner;      /* index of an entry */
  uint32_t next;       /* the number to try next for entries that wanted this name, too */
  bool taken;
};

/* Room for n names; more must not be taken.  NULL after one message (no memory). */
extern struct nameset *nameset_new (size_t n);
extern void nameset_free (struct nameset *set);

/* The slot of the name, or the free one where it would go: to take it, fill in owner and next, and set taken.  A taken
 * slot stays where it is; a free one may be another's after the next name is taken. */
extern struct nameset_slot *nameset_find (struct nameset *set, uint64_t key);

#endif /* CLOUDSHARE_NAMESET_H */
