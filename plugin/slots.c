/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots of a directory's entries: kept, freed, filled again. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "dir.h"
#include "idmap.h"
#include "msg.h"
#include "slots.h"

/* Both formats have entries of 32 bytes, and at most 21 of them for one item (FAT: a long name's 20 and the alias). */
#define UNIT 32
#define MOST_UNITS 32

static struct slots *
slots_new (uint32_t head, size_t room)
{
  struct slots *slots = calloc (1, sizeof *slots);

  if (slots == NULL || (slots->list = malloc ((room + 1) * sizeof *slots->list)) == NULL) {
    msg_error ("no memory for a folder of %zu items", room);
    free (slots);
    return NULL;
  }
  slots->head = head;
  slots->end = head;
  slots->room = room;
  return slots;
}

void
slots_free (struct slots *slots)
{
  if (slots == NULL)
    return;
  free (slots->list);
  free (slots);
}

static void
append (struct slots *slots, int64_t item, uint32_t bytes)
{
  slots->list[slots->n++] = (struct slot) { .item = item, .offset = slots->end, .bytes = bytes };
  slots->end += bytes;
}

struct slots *
slots_of (struct dir *dir)
{
  struct slots *slots = slots_new (dir_head_bytes (dir), dir_count (dir));

  if (slots == NULL)
    return NULL;
  for (size_t i = 0; i < dir_count (dir); ++i) {
    if (dir_get (dir, i)->left_out)
      continue;
    dir_set_offset (dir, i, slots->end);
    append (slots, dir_get (dir, i)->cookie, dir_entry_bytes (dir, i));
  }
  dir_set_end (dir, slots->end);
  return slots;
}

struct slots *
slots_load (const void *data, size_t n, uint32_t head)
{
  const struct slot_record *records = data;
  struct slots *slots;

  if (n % sizeof *records != 0)
    return NULL;
  slots = slots_new (head, n / sizeof *records);
  for (size_t i = 0; slots && i < n / sizeof *records; ++i) {
    const uint32_t bytes = le32_to_cpu (records[i].bytes);

    if (bytes == 0 || bytes % UNIT != 0 || slots->end + bytes > UINT32_MAX) {
      slots_free (slots);
      return NULL;
    }
    append (slots, le64_to_cpu (records[i].item), bytes);
  }
  return slots;
}

void *
slots_save (const struct slots *slots, size_t *ret_n)
{
  struct slot_record *records = malloc ((slots->n + 1) * sizeof *records);

  if (records == NULL) {
    msg_error ("no memory for a folder of %zu items", slots->n);
    return NULL;
  }
  for (size_t i = 0; i < slots->n; ++i)
    records[i] = (struct slot_record) {
      .item = cpu_to_le64 (slots->list[i].item), .bytes = cpu_to_le32 (slots->list[i].bytes),
    };
  *ret_n = slots->n * sizeof *records;
  return records;
}

/* The directory's entries by item. */
static int
index_entries (const struct dir *dir, struct idmap *ret)
{
  for (size_t i = 0; i < dir_count (dir); ++i)
    if (idmap_put (ret, dir_get (dir, i)->cookie, i) == -1) {
      msg_error ("no memory for a folder of %zu items", dir_count (dir));
      idmap_free (ret);
      return -1;
    }
  return 0;
}

/* Copies old, with holes where entries are gone; kept[i] is set for entries that have their slot.  Holes that may be
 * filled become one where they touch, and vanish at the end. */
static void
keep_living (struct slots *slots, const struct slots *old, const struct dir *dir, const struct idmap *entry_of,
             int64_t generation, int64_t oldest, bool any, bool *kept)
{
  for (size_t i = 0; i < old->n; ++i) {
    const struct slot *slot = &old->list[i];
    const size_t entry = slot->item > 0 ? idmap_get (entry_of, slot->item) : IDMAP_NONE;
    int64_t item = slot->item > 0 ? -generation : slot->item;

    if (entry != IDMAP_NONE && !kept[entry] && dir_get (dir, entry)->left_out == NULL &&
        dir_entry_bytes (dir, entry) == slot->bytes) {
      kept[entry] = true;
      item = slot->item;
    }
    else if (any || -item <= oldest)
      item = 0;
    if (item == 0 && slots->n > 0 && slots->list[slots->n - 1].item == 0) {
      slots->list[slots->n - 1].bytes += slot->bytes;
      slots->end += slot->bytes;
    }
    else
      append (slots, item, slot->bytes);
  }
  if (slots->n > 0 && slots->list[slots->n - 1].item == 0)
    slots->end = slots->list[--slots->n].offset;
}

static int
compare_slots (const void *a, const void *b)
{
  const struct slot *x = a, *y = b;

  return (x->offset > y->offset) - (x->offset < y->offset);
}

/* First fit.  from[u]: no hole before that one has u units; holes only shrink, so it only grows. */
static struct slot *
find_hole (struct slots *slots, size_t n, uint32_t bytes, size_t from[MOST_UNITS])
{
  size_t *i = &from[bytes / UNIT % MOST_UNITS];

  while (*i < n && (slots->list[*i].item != 0 || slots->list[*i].bytes < bytes))
    ++*i;
  return *i < n ? &slots->list[*i] : NULL;
}

static void
place_new (struct slots *slots, const struct dir *dir, const bool *kept)
{
  const size_t n = slots->n;
  size_t from[MOST_UNITS] = { 0 }, left = 0;

  for (size_t i = 0; i < dir_count (dir); ++i) {
    struct slot *hole;
    uint32_t bytes;

    if (kept[i] || dir_get (dir, i)->left_out)
      continue;
    bytes = dir_entry_bytes (dir, i);
    hole = find_hole (slots, n, bytes, from);
    if (hole == NULL) {
      append (slots, dir_get (dir, i)->cookie, bytes);
      continue;
    }
    slots->list[slots->n++] = (struct slot) {
      .item = dir_get (dir, i)->cookie, .offset = hole->offset, .bytes = bytes,
    };
    hole->offset += bytes;
    hole->bytes -= bytes;
  }

  for (size_t i = 0; i < slots->n; ++i)
    if (slots->list[i].bytes > 0)
      slots->list[left++] = slots->list[i];
  slots->n = left;
  if (left > 0)
    qsort (slots->list, left, sizeof *slots->list, compare_slots);
}

struct slots *
slots_keep (const struct slots *old, const struct dir *dir, int64_t generation, int64_t oldest, bool any)
{
  struct slots *slots = slots_new (old->head, old->n + dir_count (dir));
  bool *kept = calloc (dir_count (dir) + 1, sizeof *kept);
  struct idmap entry_of = { 0 };

  if (slots && kept && index_entries (dir, &entry_of) == 0) {
    keep_living (slots, old, dir, &entry_of, generation, oldest, any, kept);
    place_new (slots, dir, kept);
    idmap_free (&entry_of);
  }
  else {
    if (slots && kept == NULL)
      msg_error ("no memory for a folder of %zu items", dir_count (dir));
    slots_free (slots);
    slots = NULL;
  }
  free (kept);
  return slots;
}

int
slots_put (struct slots *slots, struct dir *dir, int64_t generation)
{
  struct idmap entry_of = { 0 };

  if (index_entries (dir, &entry_of) == -1)
    return -1;
  for (size_t i = 0; i < slots->n; ++i) {
    struct slot *slot = &slots->list[i];
    const size_t entry = slot->item > 0 ? idmap_get (&entry_of, slot->item) : IDMAP_NONE;

    if (entry != IDMAP_NONE && dir_get (dir, entry)->left_out == NULL)
      dir_set_offset (dir, entry, slot->offset);
    else if (slot->item > 0)
      slot->item = -generation;
  }
  dir_set_end (dir, slots->end);
  idmap_free (&entry_of);
  return 0;
}
