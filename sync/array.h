/* SPDX-License-Identifier: BSD-3-Clause */
/* Arrays that grow: a pointer, how many elements are used, and for how many there is room.
 *
 *   if (array_make_room (&items, n, &room, sizeof *items) == -1)
 *     ...                       after one message; the array is what it was
 *   items[n++] = ...
 */

#ifndef CLOUDSHARE_ARRAY_H
#define CLOUDSHARE_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

/* Makes sure that there is room for one more than n elements.  array points to the pointer. */
static inline int
array_make_room (void *array, size_t n, size_t *room, size_t size)
{
  const size_t more = *room * 2 + 64;
  void *old, *grown = NULL;

  if (n < *room)
    return 0;
  memcpy (&old, array, sizeof old);
  if (more <= SIZE_MAX / size)
    grown = realloc (old, more * size);
  if (grown == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  memcpy (array, &grown, sizeof grown);
  *room = more;
  return 0;
}

#endif /* CLOUDSHARE_ARRAY_H */
