/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects one listing of one folder. */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "listing.h"
#include "msg.h"
#include "said.h"

/* Strings of a listing stand in blocks that never move, so that items can point to them while more arrive. */
struct text_block {
  struct text_block *next;
  size_t used, room;
  char bytes[];
};

#define BLOCK_BYTES 16384

/* More items than any file system of ours shows in a folder: a server that goes on and on must not use up memory. */
#define MAX_ITEMS 5000000

static const char *
keep_text (struct listing *listing, const char *text)
{
  struct text_block *block = listing->blocks;
  size_t n;
  char *copy;

  if (text == NULL)
    return NULL;
  n = strlen (text) + 1;
  if (block == NULL || block->room - block->used < n) {
    const size_t room = n > BLOCK_BYTES ? n : listing->n < 16 ? 1024 + n : BLOCK_BYTES;

    block = malloc (sizeof *block + room);
    if (block == NULL) {
      listing->broken = true;
      return NULL;
    }
    block->used = 0;
    block->room = room;
    block->next = listing->blocks;
    listing->blocks = block;
  }
  copy = memcpy (block->bytes + block->used, text, n);
  block->used += n;
  return copy;
}

static void
on_item (void *opaque, const struct cloud_item *item)
{
  struct listing *listing = opaque;
  struct cloud_item *copy;

  if (listing->broken || listing->endless)
    return;
  if (listing->n == MAX_ITEMS) {
    listing->endless = true;
    return;
  }
  if (listing->n == listing->room) {
    const size_t room = listing->room * 2 + 8;
    struct cloud_item *items = realloc (listing->items, room * sizeof *items);

    if (items == NULL) {
      listing->broken = true;
      return;
    }
    listing->items = items;
    listing->room = room;
  }
  copy = &listing->items[listing->n++];
  *copy = *item;
  copy->name = keep_text (listing, item->name);
  copy->token = keep_text (listing, item->token);
  copy->id = keep_text (listing, item->id);
  copy->checksum = keep_text (listing, item->checksum);
  copy->mime = keep_text (listing, item->mime);
}

static void
on_left_out (void *opaque, const char *name, const char *reason)
{
  struct listing *listing = opaque;

  CLEANUP_FREE char *where = NULL;

  if (listing->said == NULL || asprintf (&where, "%s/%s", listing->path, name) == -1)
    return;
  if (said_first_time (listing->said, where, reason))
    msg_notice ("/%s: \"%s\" is left out: %s", listing->path, name, reason);
}

static int
compare_items (const void *a, const void *b)
{
  return strcmp (((const struct cloud_item *) a)->name, ((const struct cloud_item *) b)->name);
}

static void
sort_and_unify (struct listing *listing)
{
  size_t kept = 0;

  if (listing->n > 0)
    qsort (listing->items, listing->n, sizeof *listing->items, compare_items);
  for (size_t i = 0; i < listing->n; ++i)
    if (kept == 0 || strcmp (listing->items[kept - 1].name, listing->items[i].name) != 0)
      listing->items[kept++] = listing->items[i];
  listing->n = kept;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct listing *listing = opaque;

  listing->result = result;
  snprintf (listing->sentence, sizeof listing->sentence, "%s", sentence ? sentence : cloud_result_name (result));
  if (listing->broken) {
    listing->result = CLOUD_LOCAL;
    snprintf (listing->sentence, sizeof listing->sentence, "out of memory");
  }
  if (listing->endless) {
    listing->result = CLOUD_BAD;
    snprintf (listing->sentence, sizeof listing->sentence, "it has more than %d items", MAX_ITEMS);
  }
  if (listing->result == CLOUD_OK)
    sort_and_unify (listing);
  listing->done (listing, listing->opaque);
}

static const struct cloud_list_sink sink = { .item = on_item, .left_out = on_left_out, .done = on_done };

int
listing_start (struct cloud *cloud, struct said *said, const char *path, int depth, int64_t folder,
               void (*done) (struct listing *listing, void *opaque), void *opaque)
{
  struct listing *listing = calloc (1, sizeof *listing);

  if (listing == NULL || (listing->path = strdup (path)) == NULL) {
    msg_error ("out of memory");
    free (listing);
    return -1;
  }
  listing->said = said;
  listing->folder = folder;
  listing->done = done;
  listing->opaque = opaque;
  cloud->ops->list (cloud, listing->path, depth, &sink, listing);
  return 0;
}

void
listing_free (struct listing *listing)
{
  if (listing == NULL)
    return;
  while (listing->blocks) {
    struct text_block *block = listing->blocks;

    listing->blocks = block->next;
    free (block);
  }
  free (listing->items);
  free (listing->path);
  free (listing);
}

struct stat_wait {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  struct listing *listing;
};

static void
stat_done (struct listing *listing, void *opaque)
{
  struct stat_wait *wait = opaque;
  LOCK_FOR_SCOPE (&wait->lock);

  wait->listing = listing;
  pthread_cond_signal (&wait->cond);
}

enum cloud_result
listing_stat (struct cloud *cloud, const char *path, struct listing **ret)
{
  struct stat_wait wait = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
  enum cloud_result result;

  *ret = NULL;
  if (listing_start (cloud, NULL, path, 0, 0, stat_done, &wait) == -1)
    return CLOUD_LOCAL;
  pthread_mutex_lock (&wait.lock);
  while (wait.listing == NULL)
    pthread_cond_wait (&wait.cond, &wait.lock);
  pthread_mutex_unlock (&wait.lock);

  result = wait.listing->result;
  if (result == CLOUD_OK && wait.listing->n == 0)
    result = CLOUD_GONE;
  if (result == CLOUD_OK)
    *ret = wait.listing;
  else
    listing_free (wait.listing);
  return result;
}
