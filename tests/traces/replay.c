/* SPDX-License-Identifier: BSD-3-Clause */
/* Plays recorded traces: see replay.h. */

#include <config.h>

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "replay.h"

/* Requests that are closer than this belong to one pass of the guest's write-back. */
#define PASS_MS 3000

struct player {
  const struct trace_file *file;
  const struct trace *trace;
  const struct replay_target *target;
  const struct replay_options *options;
  uint64_t now;
  uint64_t changes;
  bool looked;
  bool cut;                    /* the guest is gone */
  struct trace_item *tree;     /* as it was last said; paths are ours */
  size_t n_tree;
  char *wrong;
};

static void
complain (struct player *player, const char *fmt, ...)
{
  char text[1000], *all;
  va_list args;

  if (player->wrong)
    return;
  va_start (args, fmt);
  vsnprintf (text, sizeof text, fmt, args);
  va_end (args);
  if (asprintf (&all, "%s, kernel %s, %s, trace %s, seed %" PRIu64 ", cut %zd, at %" PRIu64 " ms: %s", player->file->fs,
                player->file->kernel, player->file->how, player->trace->name, player->options->seed,
                (ssize_t) player->options->cut, player->now, text) == -1)
    err (EXIT_FAILURE, "asprintf");
  player->wrong = all;
}

/* ---- the tree ---- */

static void
free_tree (struct player *player)
{
  for (size_t i = 0; i < player->n_tree; i++)
    free ((char *) player->tree[i].path);
  free (player->tree);
  player->tree = NULL;
  player->n_tree = 0;
}

static void
take_item (void *to, const char *path, bool is_folder, uint64_t size, const char *sha1)
{
  struct player *player = to;
  struct trace_item *item;

  player->tree = realloc (player->tree, (player->n_tree + 1) * sizeof *player->tree);
  if (player->tree == NULL)
    err (EXIT_FAILURE, "realloc");
  item = &player->tree[player->n_tree++];
  memset (item, 0, sizeof *item);
  item->path = strdup (path);
  if (item->path == NULL)
    err (EXIT_FAILURE, "strdup");
  item->is_folder = is_folder;
  item->size = size;
  if (!is_folder)
    snprintf (item->sha1, sizeof item->sha1, "%s", sha1 ? sha1 : "?");
}

static int
compare_paths (const void *a, const void *b)
{
  return strcmp (((const struct trace_item *) a)->path, ((const struct trace_item *) b)->path);
}

static bool
same_content (const struct trace_item *a, const struct trace_item *b)
{
  return a->is_folder == b->is_folder && (a->is_folder || (a->size == b->size && strcmp (a->sha1, b->sha1) == 0));
}

/* A beginning of what the guest was writing there. */
static bool
is_beginning (const struct trace *trace, const struct trace_item *item)
{
  unsigned char digest[SHA_DIGEST_LENGTH];
  char hex[2 * SHA_DIGEST_LENGTH + 1];
  const char *tag = NULL;
  char *bytes;

  for (size_t i = 0; i < trace->n_growing && tag == NULL; i++)
    if (strcmp (trace->growing[i].path, item->path) == 0)
      tag = trace->growing[i].tag;
  if (tag == NULL || item->is_folder || item->size > 1 << 26)
    return false;
  bytes = malloc (item->size + 1);
  if (bytes == NULL)
    err (EXIT_FAILURE, "malloc");
  trace_gen (tag, bytes, item->size);
  SHA1 ((unsigned char *) bytes, item->size, digest);
  free (bytes);
  for (size_t i = 0; i < sizeof digest; i++)
    sprintf (hex + 2 * i, "%02x", digest[i]);
  return strcmp (hex, item->sha1) == 0;
}

static bool
may_be (const struct player *player, const struct trace_item *item)
{
  const struct trace *trace = player->trace;
  const struct trace_item *before = trace_find (player->file->items, player->file->n_items, item->path);
  const struct trace_item *final = trace_find (trace->final, trace->n_final, item->path);
  bool expected = final != NULL && !final->is_folder;

  if ((before && same_content (before, item)) || (final && same_content (final, item)))
    return true;
  for (size_t i = 0; i < trace->n_states; i++)
    if (strcmp (trace->states[i].path, item->path) == 0) {
      if (same_content (&trace->states[i], item))
        return true;
      expected |= !trace->states[i].is_folder;
    }
  /* A guest that died may have left an empty file where it was about to write one. */
  if (player->cut && before == NULL && expected && !item->is_folder && item->size == 0)
    return true;
  return is_beginning (trace, item);
}

static const struct trace_item *
content_in (const struct trace_item *items, size_t n, const struct trace_item *content)
{
  for (size_t i = 0; i < n; i++)
    if (!items[i].is_folder && same_content (&items[i], content))
      return &items[i];
  return NULL;
}

/* What there was and will be is there. */
static void
check_kept (struct player *player, const struct trace_item *before)
{
  const struct trace *trace = player->trace;
  const struct trace_item *final = trace_find (trace->final, trace->n_final, before->path);

  if (final && final->is_folder == before->is_folder && trace_find (player->tree, player->n_tree, before->path) == NULL)
    complain (player, "%s \"%s\" is gone", before->is_folder ? "folder" : "file", before->path);
  if (!before->is_folder && before->size > 0 && content_in (trace->final, trace->n_final, before) &&
      content_in (player->tree, player->n_tree, before) == NULL)
    complain (player, "what was in \"%s\" is nowhere", before->path);
}

static void
check_tree (struct player *player)
{
  const struct replay_target *target = player->target;

  if (player->wrong)
    return;
  if (target->changes) {
    const uint64_t changes = target->changes (target->opaque);

    if (player->looked && changes == player->changes)
      return;
    player->changes = changes;
  }
  player->looked = true;
  free_tree (player);
  target->tree (target->opaque, take_item, player);
  if (player->n_tree)
    qsort (player->tree, player->n_tree, sizeof *player->tree, compare_paths);
  for (size_t i = 0; i < player->n_tree; i++) {
    const struct trace_item *item = &player->tree[i];

    if (i > 0 && strcmp (item[-1].path, item->path) == 0)
      complain (player, "\"%s\" is there twice", item->path);
    if (!may_be (player, item)) {
      if (item->is_folder)
        complain (player, "a folder \"%s\", which never was", item->path);
      else
        complain (player, "\"%s\" has %" PRIu64 " bytes that it never had (sha1 %s)", item->path, item->size, item->sha1);
    }
  }
  for (size_t i = 0; i < player->file->n_items; i++)
    check_kept (player, &player->file->items[i]);
}

static void
check_final (struct player *player)
{
  const struct trace *trace = player->trace;

  for (size_t i = 0; i < trace->n_final && !player->wrong; i++) {
    const struct trace_item *want = &trace->final[i];
    const struct trace_item *got = trace_find (player->tree, player->n_tree, want->path);

    if (got == NULL)
      complain (player, "in the end there is no \"%s\"", want->path);
    else if (!same_content (want, got))
      complain (player, "in the end \"%s\" has %" PRIu64 " bytes, sha1 %s, instead of %" PRIu64 ", sha1 %s", want->path,
                got->size, got->sha1, want->size, want->sha1);
  }
  for (size_t i = 0; i < player->n_tree && !player->wrong; i++)
    if (trace_find (trace->final, trace->n_final, player->tree[i].path) == NULL)
      complain (player, "in the end \"%s\" is there", player->tree[i].path);
}

/* ---- time ---- */

static void
tick (struct player *player, uint64_t ms)
{
  if (player->wrong)
    return;
  player->now = ms;
  player->target->tick (player->target->opaque, ms);
  check_tree (player);
}

/* Up to a moment at which something happens: half seconds at first, in which files settle, then longer steps. */
static void
pass_time (struct player *player, uint64_t until)
{
  const uint64_t begin = player->now;

  while (player->now < until) {
    const uint64_t step = player->now - begin < 5000 ? 500 : 2500;

    tick (player, until - player->now <= step ? until : player->now + step);
    if (player->wrong)
      return;
  }
}

/* ---- order ---- */

/* The guest waited for everything before it, and for it. */
static bool
is_barrier (const struct trace_file *file, const struct trace_event *event)
{
  uint8_t table[512];
  uint64_t boot;

  if (event->op == TRACE_FLUSH || event->op == TRACE_MARK)
    return true;
  trace_base_read (file, table, sizeof table, 0);
  boot = (table[454] | table[455] << 8 | table[456] << 16 | (uint64_t) table[457] << 24) * TRACE_SECTOR;
  return event->offset <= boot && boot < event->offset + event->length;
}

static bool
overlap (const struct trace_event *a, const struct trace_event *b)
{
  return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static uint64_t
draw (uint64_t *seed, uint64_t below)
{
  *seed += 0x9e3779b97f4a7c15;
  uint64_t x = *seed;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return (x ^ x >> 31) % below;
}

/* Any of those whose elders that overlap with them have gone, until all have; times stay where they are. */
static void
shuffle_pass (struct trace_event *events, size_t n, uint64_t *seed)
{
  struct trace_event *from = malloc (n * sizeof *from);
  uint64_t *times = malloc (n * sizeof *times);

  if (from == NULL || times == NULL)
    err (EXIT_FAILURE, "malloc");
  memcpy (from, events, n * sizeof *from);
  for (size_t i = 0; i < n; i++)
    times[i] = events[i].ms;
  for (size_t left = n; left > 0; left--) {
    size_t pick = draw (seed, left);

    for (size_t i = 0; i < pick; i++)
      if (overlap (&from[i], &from[pick])) {
        pick = i;
        i = SIZE_MAX;          /* from the beginning */
      }
    events[n - left] = from[pick];
    events[n - left].ms = times[n - left];
    memmove (&from[pick], &from[pick + 1], (left - pick - 1) * sizeof *from);
  }
  free (from);
  free (times);
}

static void
shuffle (const struct trace_file *file, struct trace_event *events, size_t n, uint64_t seed)
{
  size_t begin = 0;

  for (size_t i = 0; i <= n; i++) {
    const bool barrier = i == n || is_barrier (file, &events[i]);

    if (!barrier && (i == begin || events[i].ms - events[i - 1].ms < PASS_MS))
      continue;
    if (i - begin > 1)
      shuffle_pass (events + begin, i - begin, &seed);
    begin = barrier ? i + 1 : i;
  }
}

/* ---- all of it ---- */

static void
play_event (struct player *player, const struct trace_event *event)
{
  const struct replay_target *target = player->target;
  void *bytes;

  switch (event->op) {
  case TRACE_WRITE:
    bytes = malloc (event->length);
    if (bytes == NULL)
      err (EXIT_FAILURE, "malloc");
    trace_data (player->file, event, bytes);
    target->write (target->opaque, bytes, event->length, event->offset);
    free (bytes);
    break;
  case TRACE_ZERO:
    target->zero (target->opaque, event->length, event->offset);
    break;
  case TRACE_TRIM:
    target->trim (target->opaque, event->length, event->offset);
    break;
  case TRACE_FLUSH:
    target->flush (target->opaque);
    break;
  case TRACE_MARK:
    break;
  }
}

char *
replay (const struct trace_file *file, const struct trace *trace, const struct replay_target *target,
        const struct replay_options *options)
{
  struct player player = { .file = file, .trace = trace, .target = target, .options = options };
  struct trace_event *events = malloc ((trace->n_events + 1) * sizeof *events);
  const size_t n = options->cut < trace->n_events ? options->cut : trace->n_events;

  if (events == NULL)
    err (EXIT_FAILURE, "malloc");
  memcpy (events, trace->events, trace->n_events * sizeof *events);
  if (options->seed)
    shuffle (file, events, trace->n_events, options->seed);

  target->begin (target->opaque, file, trace);
  tick (&player, 0);
  for (size_t i = 0; i < n && !player.wrong; i++) {
    pass_time (&player, events[i].ms);
    play_event (&player, &events[i]);
    tick (&player, events[i].ms);
  }
  player.cut = n < trace->n_events;
  pass_time (&player, player.now + options->after_ms);
  if (options->want_final)
    check_final (&player);
  target->end (target->opaque);
  free_tree (&player);
  free (events);
  return player.wrong;
}

size_t
replay_before_umount (const struct trace *trace)
{
  for (size_t i = 0; i < trace->n_events; i++)
    if (trace->events[i].op == TRACE_MARK && strcmp (trace->events[i].text, "umount") == 0)
      return i;
  return trace->n_events;
}
