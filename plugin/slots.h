/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots: where the entries of a directory stand in its bytes, from one rendering to the next.
 *
 * Linux knows a file on vfat and exfat by the position of its directory entry: a file that a guest holds open is found
 * again by that position, whatever stands there now.  So an entry keeps its position for as long as it lives; one that
 * goes leaves a hole, rendered as deleted entries; and a hole is filled only when no view holds the generation in which
 * the entry was alive.
 *
 *   slots = slots_of (dir)                packed, in the order of the directory's entries: for a place of its own
 *   slots = slots_load (data, n, head)    those of the last rendering
 *   next = slots_keep (slots, dir, ...)   what lives stays, what is new gets a place
 *   slots_put (next, dir, generation)     tells the directory's entries where they stand, before it is rendered
 *   slots_save (next, &n)                 for the next rendering
 *
 * Kept bytes: one struct slot_record for each slot, in their order; they follow each other without a gap.
 *
 * Errors: -1 or NULL after one message (no memory).
 */

#ifndef CLOUDSHARE_SLOTS_H
#define CLOUDSHARE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "le.h"

struct dir;

struct slot {
  int64_t item;                /* whose entries; 0: a free hole; -G: a hole whose entry died in generation G */
  uint32_t offset, bytes;
};

struct slots {
  uint32_t head;               /* bytes of what stands before the first slot: label, "." and ".." */
  uint64_t end;                /* one past the last slot */
  size_t n, room;
  struct slot *list;           /* ascending */
};

struct slot_record {
  le64 item;                   /*  0: as in struct slot, two's complement */
  le32 bytes;                  /*  8: a multiple of 32 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct slot_record) == 12, "slot_record");

/* Also tells the entries where they stand.  Entries that are left out get none. */
extern struct slots *slots_of (struct dir *dir);

/* NULL without a message if these are not the slots of a directory. */
extern struct slots *slots_load (const void *data, size_t n, uint32_t head);

/* Entries that live, and need as many bytes as before, keep their slot; all others go into holes of which no view holds
 * the entry (it died in or before the generation oldest), or behind.  any: into all holes, for want of other room. */
extern struct slots *slots_keep (const struct slots *old, const struct dir *dir, int64_t generation, int64_t oldest,
                                 bool any);

/* Entries that were left out since leave holes that died in this generation. */
extern int slots_put (struct slots *slots, struct dir *dir, int64_t generation);

/* malloc'ed. */
extern void *slots_save (const struct slots *slots, size_t *ret_n);

extern void slots_free (struct slots *slots);

#endif /* CLOUDSHARE_SLOTS_H */
