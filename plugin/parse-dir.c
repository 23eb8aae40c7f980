/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: directories, as far as formats are alike: their bytes as a row of entries, and the list that is made of
 * them. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "names.h"
#include "nameset.h"
#include "parse-private.h"
#include "upcase.h"

#define READ_BYTES (16u << 10)
#define BLOCK_BYTES (32u << 10)

static int
no_memory (void)
{
  msg_error ("no memory for a directory that a guest wrote");
  return -1;
}

/* --- reading --- */

struct dir_reader {
  struct parse *parse;
  const struct parsed_runs *runs;
  uint64_t bytes;            /* of the directory that count */
  bool ran_out;              /* more than these were asked for: no end mark stands before */

  /* Where the last read was: this run, which begins at this byte of the directory. */
  size_t run;
  uint64_t run_start;

  uint64_t begin;            /* what buf holds: n bytes at begin of the directory */
  size_t n;
  uint8_t buf[READ_BYTES];
};

/* Fills buf with bytes from offset on, as many as stand together. */
static int
fill (struct dir_reader *reader, uint64_t offset)
{
  const struct geometry *const g = reader->parse->geometry;
  const struct parsed_run *run;
  uint64_t run_bytes, n;

  for (;;) {
    run = &reader->runs->list[reader->run];
    run_bytes = (uint64_t) run->count * g->cluster_bytes;
    if (offset - reader->run_start < run_bytes)
      break;
    reader->run_start += run_bytes;
    reader->run++;
  }

  n = reader->run_start + run_bytes - offset;
  if (n > reader->bytes - offset)
    n = reader->bytes - offset;
  if (n > READ_BYTES)
    n = READ_BYTES;
  reader->n = 0;
  if (reader->parse->read (reader->parse->opaque, reader->buf, n,
                           cluster_to_byte (g, run->first) + (offset - reader->run_start)) == -1)
    return -1;
  reader->begin = offset;
  reader->n = n;
  return 0;
}

int
dir_reader_get (struct dir_reader *reader, uint64_t offset, void *ret)
{
  if (offset >= reader->bytes) {
    reader->ran_out = true;
    return 0;
  }
  /* Clusters, and with them runs, are multiples of an entry. */
  if ((offset < reader->begin || offset - reader->begin >= reader->n) && fill (reader, offset) == -1)
    return -1;
  memcpy (ret, reader->buf + (offset - reader->begin), DIR_ENTRY_BYTES);
  return 1;
}

struct parse *
dir_reader_parse (const struct dir_reader *reader)
{
  return reader->parse;
}

bool
dir_place_is_sound (const struct dir_reader *reader, uint32_t first, uint64_t bytes)
{
  const struct geometry *const g = reader->parse->geometry;

  if (first == 0)
    return bytes == 0;
  return parse_has_cluster (reader->parse, first) && bytes <= (uint64_t) g->clusters * g->cluster_bytes;
}

/* --- the list --- */

/* Names never move, so they are in blocks; entries do, until the list is complete. */
struct block {
  struct block *next;
  size_t used, units;
  uint16_t names[];
};

struct arena {
  struct block *blocks;
  size_t room;               /* entries */
};

static uint16_t *
copy_name (struct arena *arena, const uint16_t *name, size_t units)
{
  struct block *block = arena->blocks;

  if (block == NULL || block->units - block->used < units) {
    block = malloc (BLOCK_BYTES);
    if (block == NULL)
      return NULL;
    block->next = arena->blocks;
    block->used = 0;
    block->units = (BLOCK_BYTES - sizeof *block) / sizeof name[0];
    arena->blocks = block;
  }
  block->used += units;
  return memcpy (block->names + block->used - units, name, units * sizeof name[0]);
}

static bool
is_name (const uint16_t *name, size_t units)
{
  for (size_t i = 0; i < units; i++)
    if (name[i] == 0 || name[i] == '/')
      return false;
  return units >= 1 && units <= NAME_UNITS;
}

int
parsed_dir_add (struct parsed_dir *dir, const struct parsed_entry *entry, const uint16_t *name, size_t units)
{
  struct arena *const arena = dir->arena;
  struct parsed_entry *to;

  if (!is_name (name, units)) {
    dir->torn++;
    return 0;
  }

  if (dir->n == arena->room) {
    const size_t room = arena->room ? 2 * arena->room : 32;
    struct parsed_entry *entries = realloc (dir->entries, room * sizeof entries[0]);

    if (entries == NULL)
      return no_memory ();
    dir->entries = entries;
    arena->room = room;
  }

  to = &dir->entries[dir->n];
  *to = *entry;
  to->units = units;
  to->name = copy_name (arena, name, units);
  if (to->name == NULL)
    return no_memory ();
  dir->n++;
  return 0;
}

/* What is the same for names that guests take for one another.  Coarser than theirs, name_key would make one of two legal
 * files a double: composed and decomposed letters, for example. */
static uint64_t
guest_key (const struct parsed_entry *entry)
{
  const uint16_t *const table = upcase_table ();
  uint16_t upper[NAME_UNITS];

  for (size_t i = 0; i < entry->units; i++)
    upper[i] = table[entry->name[i]];
  return name_hash_units (upper, entry->units);
}

/* A name belongs to the first entry that has it, as for a guest that looks it up. */
static int
drop_doubles (struct parsed_dir *dir)
{
  struct nameset *names;
  size_t kept = 0;

  if (dir->n < 2)
    return 0;
  names = nameset_new (dir->n);
  if (names == NULL)
    return -1;

  for (size_t i = 0; i < dir->n; i++) {
    struct nameset_slot *slot = nameset_find (names, guest_key (&dir->entries[i]));

    if (slot->taken) {
      dir->torn++;
      continue;
    }
    slot->taken = true;
    dir->entries[kept++] = dir->entries[i];
  }
  dir->n = kept;
  nameset_free (names);
  return 0;
}

void
parsed_dir_free (struct parsed_dir *dir)
{
  struct arena *const arena = dir->arena;

  while (arena && arena->blocks) {
    struct block *block = arena->blocks;

    arena->blocks = block->next;
    free (block);
  }
  free (arena);
  free (dir->entries);
  *dir = (struct parsed_dir) { .dotdot = UINT32_MAX };
}

static int
read_entries (struct dir_reader *reader, uint64_t bytes, bool is_root, struct parsed_dir *ret)
{
  const uint64_t most = reader->parse->format->max_dir;
  const uint64_t room = reader->runs->clusters * reader->parse->geometry->cluster_bytes;
  const uint64_t all = bytes < room ? bytes : room;

  reader->bytes = (all < most ? all : most) / DIR_ENTRY_BYTES * DIR_ENTRY_BYTES;
  if (reader->parse->format->read_dir (reader, is_root, ret) == -1)
    return -1;
  /* What stands behind the largest directory is not looked at, and nothing may be concluded from its absence. */
  ret->torn += all > most && reader->ran_out;
  return drop_doubles (ret);
}

int
parse_dir (struct parse *parse, const struct parsed_runs *runs, uint64_t bytes, bool is_root, struct parsed_dir *ret)
{
  struct dir_reader *reader = calloc (1, sizeof *reader);
  int r;

  *ret = (struct parsed_dir) { .dotdot = UINT32_MAX, .arena = calloc (1, sizeof (struct arena)) };
  if (reader == NULL || ret->arena == NULL)
    r = no_memory ();
  else {
    reader->parse = parse;
    reader->runs = runs;
    r = read_entries (reader, bytes, is_root, ret);
  }
  free (reader);
  if (r == -1)
    parsed_dir_free (ret);
  return r;
}
