/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a range of something computed: zeros first, then the pieces that are not zero, each clipped to the range. */

#ifndef CLOUDSHARE_PIECE_H
#define CLOUDSHARE_PIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Whether [at, at + length) and [offset, offset + n) share a byte. */
static inline bool
piece_touches (size_t n, uint64_t offset, uint64_t at, uint64_t length)
{
  return at < offset + n && offset < at + length;
}

/* Copies into buf, which holds the n bytes at offset, those bytes of the piece at `at' that fall into it. */
static inline void
piece_copy (void *buf, size_t n, uint64_t offset, uint64_t at, const void *piece, size_t length)
{
  if (!piece_touches (n, offset, at, length))
    return;

  const uint64_t begin = at > offset ? at : offset;
  const uint64_t end = at + length < offset + n ? at + length : offset + n;

  memcpy ((uint8_t *) buf + (begin - offset), (const uint8_t *) piece + (begin - at), end - begin);
}

#endif /* CLOUDSHARE_PIECE_H */
