/* SPDX-License-Identifier: BSD-3-Clause */
/* One directory on its way from the catalog to its bytes: names are mapped, told apart and given aliases here. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "dir.h"
#include "format.h"
#include "msg.h"
#include "names.h"
#include "nameset.h"
#include "shortname.h"

#define BLOCK_BYTES 65536

const char dir_past_room[] = "its folder has more items than a folder can have on this file system";

/* Names live in blocks that are freed together. */
struct block {
  struct block *next;
  size_t used, size;
  uint16_t bytes[];
};

struct dir {
  const struct format *format;
  bool is_root;
  uint64_t room;
  uint64_t end;
  struct dir_entry *entries;
  size_t n, allocated;
  struct block *blocks;
};

struct dir *
dir_new (const struct format *format, bool is_root)
{
  struct dir *dir = calloc (1, sizeof *dir);

  if (dir == NULL) {
    msg_error ("no memory for a folder");
    return NULL;
  }
  dir->format = format;
  dir->is_root = is_root;
  dir->room = format->max_dir;
  return dir;
}

void
dir_free (struct dir *dir)
{
  if (dir == NULL)
    return;
  for (struct block *next, *block = dir->blocks; block; block = next) {
    next = block->next;
    free (block);
  }
  free (dir->entries);
  free (dir);
}

static void
cleanup_nameset (struct nameset **set)
{
  nameset_free (*set);
}

static int
no_memory (const struct dir *dir)
{
  msg_error ("no memory for a folder of %zu items", dir->n);
  return -1;
}

/* NULL without a message if there is no memory. */
static void *
dir_alloc (struct dir *dir, size_t n)
{
  struct block *block = dir->blocks;

  n = (n + 1) & ~(size_t) 1;   /* what follows may be UTF-16 */
  if (block == NULL || block->size - block->used < n) {
    const size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;

    block = malloc (sizeof *block + size);
    if (block == NULL)
      return NULL;
    block->next = dir->blocks;
    block->used = 0;
    block->size = size;
    dir->blocks = block;
  }
  block->used += n;
  return (uint8_t *) block->bytes + block->used - n;
}

static void *
dir_copy (struct dir *dir, const void *from, size_t n)
{
  void *to = dir_alloc (dir, n);

  if (to)
    memcpy (to, from, n);
  return to;
}

int
dir_add (struct dir *dir, const char *name, bool is_folder, uint64_t size, const struct timespec *mtime, int64_t cookie)
{
  if (dir->n == dir->allocated) {
    const size_t more = dir->allocated ? dir->allocated * 2 : 16;
    struct dir_entry *entries = more < UINT32_MAX ? realloc (dir->entries, more * sizeof *entries) : NULL;

    if (entries == NULL)
      return no_memory (dir);
    dir->entries = entries;
    dir->allocated = more;
  }

  const char *copy = dir_copy (dir, name, strlen (name) + 1);

  if (copy == NULL)
    return no_memory (dir);
  dir->entries[dir->n++] = (struct dir_entry) {
    .name = copy, .is_folder = is_folder, .size = is_folder ? 0 : size, .mtime = *mtime, .cookie = cookie,
  };
  return 0;
}

void
dir_set_room (struct dir *dir, uint64_t bytes)
{
  dir->room = bytes;
}

static int
compare_entries (const void *a, const void *b)
{
  const struct dir_entry *x = a, *y = b;
  const int order = strcmp (x->name, y->name);

  return order ? order : (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

/* Characters and length; what cannot be on the disk whatever its name is left out here. */
static int
map_characters (struct dir *dir)
{
  CLEANUP_FREE uint16_t *units = NULL;
  size_t longest = 0;

  for (size_t i = 0; i < dir->n; i++) {
    const size_t bytes = strlen (dir->entries[i].name);

    longest = bytes > longest ? bytes : longest;
  }
  units = malloc ((longest + 1) * sizeof units[0]);
  if (units == NULL)
    return no_memory (dir);

  for (size_t i = 0; i < dir->n; i++) {
    struct dir_entry *e = &dir->entries[i];
    const size_t bytes = strlen (e->name);
    const size_t n = name_to_shown (e->name, bytes, units, &e->mapped);

    e->mapped |= n > NAME_UNITS;
    e->shown_units = name_shorten (units, n, e->name, bytes);
    e->shown = dir_copy (dir, units, e->shown_units * sizeof units[0]);
    if (e->shown == NULL)
      return no_memory (dir);

    if (n == 0)
      e->left_out = "it has no name";
    else if (!e->is_folder && e->size > dir->format->max_file)
      e->left_out = "it is larger than a file can be on this file system";
  }
  return 0;
}

static void
take_name (struct nameset_slot *slot, size_t owner)
{
  slot->owner = owner;
  slot->next = 2;
  slot->taken = true;
}

/* Gives the entry, whose name is another's, the first numbered name that nobody has. */
static int
number_entry (struct dir *dir, size_t i, struct nameset *names, struct nameset_slot *wanted)
{
  struct dir_entry *e = &dir->entries[i];
  struct nameset_slot *slot;
  uint16_t units[NAME_UNITS];
  size_t n;

  do {
    n = name_number (e->shown, e->shown_units, e->is_folder, wanted->next++, units);
    slot = nameset_find (names, name_key (units, n));
  } while (slot->taken);
  take_name (slot, i);

  e->mapped = true;
  e->shown_units = n;
  e->shown = dir_copy (dir, units, n * sizeof units[0]);
  return e->shown ? 0 : no_memory (dir);
}

/* The first of a name keeps it; the others get numbers only when all names are known, so that a number never takes the
 * name of an item that has it by itself. */
static int
tell_apart (struct dir *dir, struct nameset *names)
{
  CLEANUP_FREE uint64_t *keys = malloc ((dir->n + 1) * sizeof keys[0]);

  if (keys == NULL)
    return no_memory (dir);

  for (size_t i = 0; i < dir->n; i++) {
    if (dir->entries[i].left_out)
      continue;
    keys[i] = name_key (dir->entries[i].shown, dir->entries[i].shown_units);

    struct nameset_slot *slot = nameset_find (names, keys[i]);

    if (!slot->taken)
      take_name (slot, i);
  }

  for (size_t i = 0; i < dir->n; i++) {
    if (dir->entries[i].left_out)
      continue;

    struct nameset_slot *slot = nameset_find (names, keys[i]);

    if (slot->owner != i && number_entry (dir, i, names, slot) == -1)
      return -1;
  }
  return 0;
}

/* From the end, files before folders: a folder stands for everything in it. */
static void
leave_out_past_room (struct dir *dir)
{
  uint64_t bytes = dir->format->dir_bytes (dir);

  for (int folders = 0; folders <= 1; folders++)
    for (size_t i = dir->n; i-- > 0 && bytes > dir->room; ) {
      struct dir_entry *e = &dir->entries[i];

      if (e->left_out || e->is_folder != folders)
        continue;
      e->left_out = dir_past_room;
      bytes -= dir->format->entry_bytes (e);
    }
}

/* An alias is a name, too: it must be nobody else's, long or short, because guests look up both. */
static void
choose_alias (struct dir_entry *e, size_t i, struct nameset *names)
{
  const struct shortname name = shortname_begin (e->shown, e->shown_units);

  for (uint32_t attempt = 0; attempt < SHORTNAME_ATTEMPTS; attempt++) {
    uint16_t text[SHORTNAME_TEXT_UNITS];

    if (!shortname_attempt (&name, attempt, e->alias))
      continue;

    struct nameset_slot *slot = nameset_find (names, name_key (text, shortname_text (e->alias, text)));

    if (slot->taken && slot->owner != i)
      continue;
    if (!slot->taken)
      take_name (slot, i);
    return;
  }
  e->left_out = "no 8.3 name is left for it";
}

int
dir_map_names (struct dir *dir)
{
  __attribute__ ((cleanup (cleanup_nameset))) struct nameset *names = nameset_new (2 * dir->n);

  if (names == NULL)
    return -1;

  if (dir->n > 0)
    qsort (dir->entries, dir->n, sizeof dir->entries[0], compare_entries);
  if (map_characters (dir) == -1 || tell_apart (dir, names) == -1)
    return -1;

  if (dir->format->has_aliases)
    for (size_t i = 0; i < dir->n; i++) {
      struct dir_entry *e = &dir->entries[i];

      e->needs_lfn = !shortname_is_exact (e->shown, e->shown_units, e->alias);
    }
  leave_out_past_room (dir);
  if (dir->format->has_aliases)
    for (size_t i = 0; i < dir->n; i++)
      if (!dir->entries[i].left_out && dir->entries[i].needs_lfn)
        choose_alias (&dir->entries[i], i, names);
  return 0;
}

size_t
dir_count (const struct dir *dir)
{
  return dir->n;
}

const struct dir_entry *
dir_get (const struct dir *dir, size_t i)
{
  return &dir->entries[i];
}

bool
dir_is_root (const struct dir *dir)
{
  return dir->is_root;
}

void
dir_set_place (struct dir *dir, size_t i, uint32_t first, uint64_t bytes)
{
  dir->entries[i].first = first;
  dir->entries[i].bytes = bytes;
}

void
dir_leave_out (struct dir *dir, size_t i, const char *reason)
{
  dir->entries[i].left_out = reason;
}

uint32_t
dir_head_bytes (const struct dir *dir)
{
  return dir->format->head_bytes (dir->is_root);
}

uint32_t
dir_entry_bytes (const struct dir *dir, size_t i)
{
  return dir->format->entry_bytes (&dir->entries[i]);
}

void
dir_set_offset (struct dir *dir, size_t i, uint32_t offset)
{
  dir->entries[i].offset = offset;
}

void
dir_set_end (struct dir *dir, uint64_t end)
{
  dir->end = end;
}

uint64_t
dir_end (const struct dir *dir)
{
  return dir->end;
}
