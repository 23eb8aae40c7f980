/* SPDX-License-Identifier: BSD-3-Clause */
/* One bit for each sector of a disk, which may have 64 TiB: leaves of 32768 sectors (16 MiB of disk), of which only
 * those that are neither all clear nor all set take memory.  A guest's TRIM of a whole empty disk costs pointers, no
 * words. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "overlay-private.h"

bits_word bits_ones[LEAF_WORDS] = { [0 ... LEAF_WORDS - 1] = UINT64_MAX };

int
bits_init (struct bits *bits, uint64_t n_sectors)
{
  bits->n_sectors = n_sectors;
  bits->n_leaves = (n_sectors + LEAF_SECTORS - 1) / LEAF_SECTORS;
  bits->leaves = calloc (bits->n_leaves, sizeof *bits->leaves);
  bits->any = calloc ((bits->n_leaves + 63) / 64, sizeof *bits->any);
  return bits->leaves && bits->any ? 0 : -1;
}

void
bits_free (struct bits *bits)
{
  for (uint64_t i = 0; bits->leaves && i < bits->n_leaves; ++i)
    if (bits->leaves[i] != bits_ones)
      free (bits->leaves[i]);
  free (bits->leaves);
  free (bits->any);
}

void
bits_note_any (struct bits *bits, uint64_t leaf)
{
  const uint64_t bit = UINT64_C (1) << (leaf & 63);

  if ((atomic_load_explicit (&bits->any[leaf / 64], memory_order_relaxed) & bit) == 0)
    atomic_fetch_or (&bits->any[leaf / 64], bit);
}

bits_word *
bits_own (struct bits *bits, uint64_t leaf)
{
  bits_word *words = bits_leaf (bits, leaf);
  bits_word *fresh;

  if (words && words != bits_ones)
    return words;
  fresh = malloc (LEAF_WORDS * sizeof *fresh);
  if (fresh == NULL)
    return NULL;
  for (unsigned w = 0; w < LEAF_WORDS; ++w)
    atomic_init (&fresh[w], words ? UINT64_MAX : 0);
  atomic_store_explicit (&bits->leaves[leaf], fresh, memory_order_release);
  bits_note_any (bits, leaf);
  return fresh;
}

void
bits_fill_leaf (struct bits *bits, uint64_t leaf)
{
  bits_word *const words = bits_leaf (bits, leaf);

  if (words == NULL)
    atomic_store_explicit (&bits->leaves[leaf], bits_ones, memory_order_release);
  else if (words != bits_ones)
    for (unsigned w = 0; w < LEAF_WORDS; ++w)
      atomic_store_explicit (&words[w], UINT64_MAX, memory_order_release);
  bits_note_any (bits, leaf);
}

void
bits_clear_all (struct bits *bits)
{
  for (uint64_t i = 0; i < bits->n_leaves; ++i) {
    bits_word *words;

    if ((i & 63) == 0 && bits->any[i / 64] == 0) {
      i += 63;
      continue;
    }
    words = bits_leaf (bits, i);
    if (words == bits_ones)
      atomic_store (&bits->leaves[i], NULL);
    else if (words)
      for (unsigned w = 0; w < LEAF_WORDS; ++w)
        atomic_store_explicit (&words[w], 0, memory_order_relaxed);
  }
}

void
bits_words_of (uint64_t leaf, uint64_t start, uint64_t n, unsigned *ret_w0, unsigned *ret_w1)
{
  const uint64_t base = leaf * LEAF_SECTORS;

  *ret_w0 = start <= base ? 0 : (start - base) / 64;
  *ret_w1 = start + n >= base + LEAF_SECTORS ? LEAF_WORDS - 1 : (start + n - 1 - base) / 64;
}

uint64_t
bits_mask_of (uint64_t leaf, unsigned w, uint64_t start, uint64_t n)
{
  const uint64_t base = leaf * LEAF_SECTORS + w * UINT64_C (64);
  uint64_t mask = UINT64_MAX;

  if (start > base)
    mask &= UINT64_MAX << (start - base);
  if (start + n < base + 64)
    mask &= UINT64_MAX >> (base + 64 - (start + n));
  return mask;
}

int
bits_set (struct bits *bits, uint64_t start, uint64_t n)
{
  const uint64_t end = start + n;

  for (uint64_t leaf = start / LEAF_SECTORS; n > 0 && leaf <= (end - 1) / LEAF_SECTORS; ++leaf) {
    bits_word *words;
    unsigned w, w1;

    if (start <= leaf * LEAF_SECTORS && end >= (leaf + 1) * LEAF_SECTORS) {
      bits_fill_leaf (bits, leaf);
      continue;
    }
    words = bits_own (bits, leaf);
    if (words == NULL)
      return -1;
    for (bits_words_of (leaf, start, n, &w, &w1); w <= w1; ++w)
      atomic_fetch_or (&words[w], bits_mask_of (leaf, w, start, n));
    bits_note_any (bits, leaf);
  }
  return 0;
}

uint64_t
bits_run (const struct bits *bits, uint64_t start, uint64_t n, bool *ret_set)
{
  const uint64_t end = start + n;
  const bool set = (bits_get_word (bits, start / LEAF_SECTORS, start % LEAF_SECTORS / 64) >> (start & 63)) & 1;
  uint64_t at = start;

  *ret_set = set;
  while (at < end) {
    const uint64_t leaf = at / LEAF_SECTORS;
    bits_word *const words = bits_leaf (bits, leaf);
    uint64_t other;

    if (words == (set ? bits_ones : NULL)) {
      at = (leaf + 1) * LEAF_SECTORS;
      continue;
    }
    if (words == (set ? NULL : bits_ones))
      break;
    other = atomic_load_explicit (&words[at % LEAF_SECTORS / 64], memory_order_acquire);
    if (set)
      other = ~other;
    other >>= at & 63;
    if (other) {
      at += __builtin_ctzll (other);
      break;
    }
    at = (at | 63) + 1;
  }
  return (at < end ? at : end) - start;
}

bool
bits_all (const struct bits *bits, uint64_t start, uint64_t n)
{
  bool set;

  return n == 0 || (bits_run (bits, start, n, &set) == n && set);
}

bool
bits_some (const struct bits *bits, uint64_t start, uint64_t n)
{
  bool set;

  return n > 0 && (bits_run (bits, start, n, &set) < n || set);
}

bool
bits_next (const struct bits *bits, uint64_t from, uint64_t *ret_start, uint64_t *ret_n)
{
  while (from < bits->n_sectors) {
    const uint64_t leaf = from / LEAF_SECTORS;
    const uint64_t any = atomic_load (&bits->any[leaf / 64]) >> (leaf & 63);
    uint64_t end, run;
    bool set;

    if (any == 0) {
      from = ((leaf | 63) + 1) * LEAF_SECTORS;
      continue;
    }
    if ((any & 1) == 0) {
      from = (leaf + __builtin_ctzll (any)) * LEAF_SECTORS;
      continue;
    }
    end = (leaf + 1) * LEAF_SECTORS;
    if (end > bits->n_sectors)
      end = bits->n_sectors;
    run = bits_run (bits, from, end - from, &set);
    if (set) {
      *ret_start = from;
      *ret_n = bits_run (bits, from, bits->n_sectors - from, &set);
      return true;
    }
    from += run;
  }
  return false;
}
