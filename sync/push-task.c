/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: the requests of one item. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blobs.h"
#include "cache.h"
#include "cleanup.h"
#include "listing.h"
#include "msg.h"
#include "push-private.h"

#define COMPARE_BYTES 65536

struct task *
task_new (struct push *push, int64_t item)
{
  struct task *task = calloc (1, sizeof *task);

  if (task == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  task->push = push;
  task->item = item;
  return task;
}

static void
free_now (struct task *task)
{
  free ((char *) task->now.token);
  free ((char *) task->now.id);
  free ((char *) task->now.checksum);
  free ((char *) task->now.mime);
  memset (&task->now, 0, sizeof task->now);
  task->has_now = false;
}

static void
free_look (struct look *look)
{
  free (look->path);
  listing_free (look->listing);
  memset (look, 0, sizeof *look);
}

void
task_free (struct task *task)
{
  if (task == NULL)
    return;
  free_now (task);
  free_look (&task->here);
  free_look (&task->there);
  free (task->path);
  free (task->to);
  free (task->name);
  free (task->view);
  free (task->expect);
  free (task->checksum);
  ranges_free (&task->own);
  ranges_free (&task->ranges);
  free (task);
}

bool
task_is_running (struct push *push, int64_t item)
{
  for (const struct task *task = push->tasks; task; task = task->next)
    if (task->item == item)
      return true;
  return false;
}

static void
arrive (struct task *task)
{
  struct push *push = task->push;
  LOCK_FOR_SCOPE (&push->lock);

  task->next_arrived = NULL;
  *push->arrived_tail = task;
  push->arrived_tail = &task->next_arrived;
  pthread_cond_signal (&push->cond);
}

/* ---- the request ---- */

static char *
copy_text (const char *text)
{
  return text ? strdup (text) : NULL;
}

static void
request_done (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
  struct task *task = opaque;

  task->result = result;
  snprintf (task->sentence, sizeof task->sentence, "%s", sentence ? sentence : cloud_result_name (result));
  free_now (task);
  if (result == CLOUD_OK && now) {
    task->now = *now;
    task->now.name = "";
    task->now.token = copy_text (now->token);
    task->now.id = copy_text (now->id);
    task->now.checksum = copy_text (now->checksum);
    task->now.mime = copy_text (now->mime);
    /* A file without a version is as good as nothing said. */
    task->has_now = now->is_folder || task->now.token;
  }
  arrive (task);
}

static const struct cloud_change_sink change_sink = { .done = request_done };

static int
read_content (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct task *task = opaque;

  return blobs_read (task->push->blobs, buf, n, task->position + offset);
}

static struct timespec
from_ns (int64_t ns)
{
  return (struct timespec) { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static void
send (struct task *task)
{
  struct cloud *cloud = task->push->cloud;
  const struct timespec mtime = from_ns (task->mtime);
  const struct cloud_put put = {
    .path = task->to, .expect = task->expect, .size = task->size, .mtime = mtime, .checksum = task->checksum,
    .ranges = task->ranges.list, .n_ranges = task->ranges.n, .base_size = task->base_size, .has_whole = task->has_whole,
    .read = read_content,
  };

  switch (task->step) {
  case PUSH_MKDIR:
    cloud->ops->mkdir (cloud, task->to, &change_sink, task);
    break;
  case PUSH_PUT:
    cloud->ops->put (cloud, &put, &change_sink, task);
    break;
  case PUSH_MOVE:
    cloud->ops->move (cloud, task->path, task->is_folder, task->expect, task->to, &change_sink, task);
    break;
  case PUSH_TOUCH:
    cloud->ops->touch (cloud, task->path, task->expect, &mtime, &change_sink, task);
    break;
  default:
    cloud->ops->remove (cloud, task->path, task->is_folder, task->expect, &change_sink, task);
  }
}

/* ---- looking ---- */

static void
look_done (struct task *task, struct look *look, struct listing *listing)
{
  struct push *push = task->push;
  bool last;

  look->result = listing ? listing->result : CLOUD_LOCAL;
  if (look->result == CLOUD_OK && listing->n == 0)
    look->result = CLOUD_GONE;
  look->listing = listing;
  pthread_mutex_lock (&push->lock);
  last = --task->pending == 0;
  pthread_mutex_unlock (&push->lock);
  if (last)
    arrive (task);
}

static void
here_done (struct listing *listing, void *opaque)
{
  struct task *task = opaque;

  look_done (task, &task->here, listing);
}

static void
there_done (struct listing *listing, void *opaque)
{
  struct task *task = opaque;

  look_done (task, &task->there, listing);
}

static void
look (struct task *task)
{
  struct cloud *cloud = task->push->cloud;
  const bool here = task->here.path != NULL, there = task->there.path != NULL;

  /* Either may end before the other has begun. */
  task->pending = here + there;
  if (here && listing_start (cloud, NULL, task->here.path, 0, 0, here_done, task) == -1)
    look_done (task, &task->here, NULL);
  if (there && listing_start (cloud, NULL, task->there.path, 0, 0, there_done, task) == -1)
    look_done (task, &task->there, NULL);
}

/* ---- comparing ---- */

/* How many of n bytes of the version are here, or are not: of these nothing is claimed. */
static uint64_t
run_of_ours (const struct task *task, size_t n, uint64_t offset, bool *ret_here)
{
  const uint64_t in_block = CACHE_BLOCK - offset % CACHE_BLOCK;
  const uint64_t run = in_block < n ? in_block : n;

  *ret_here = task->file == NULL || cache_has (task->file, offset, run);
  return *ret_here ? run : ranges_run (&task->own, run, offset, ret_here);
}

static int
compare_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct task *task = opaque;
  const char *theirs = buf;

  while (n > 0) {
    char ours[COMPARE_BYTES];
    bool here;
    const size_t piece = run_of_ours (task, n < sizeof ours ? n : sizeof ours, offset, &here);

    if (here && blobs_read (task->push->blobs, ours, piece, task->position + offset) == -1)
      return -1;
    if (here && memcmp (ours, theirs, piece) != 0) {
      task->differs = true;
      return -1;
    }
    theirs += piece;
    offset += piece;
    n -= piece;
  }
  return 0;
}

static void
compare_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct task *task = opaque;

  task->result = task->differs ? CLOUD_OK : result;
  task->same = task->differs ? SAME_NO : result == CLOUD_OK ? SAME_YES : SAME_UNKNOWN;
  snprintf (task->sentence, sizeof task->sentence, "%s", sentence ? sentence : cloud_result_name (result));
  arrive (task);
}

static const struct cloud_get_sink compare_sink = { .data = compare_data, .done = compare_done };

static void
compare (struct task *task)
{
  struct cloud *cloud = task->push->cloud;
  const struct look *seen = task->here.result == CLOUD_OK && task->here.listing ? &task->here : &task->there;
  const struct cloud_get get = {
    .path = seen->path, .token = seen->listing->items[0].token, .size = task->size, .length = task->size,
  };

  task->differs = false;
  task->file = cache_pin (task->push->cache, task->version, task->size, task->position);
  cloud->ops->get (cloud, &get, &compare_sink, task);
}

/* ---- filling ---- */

static void *
fill (void *opaque)
{
  struct task *task = opaque;

  task->result = cache_fill (task->push->cache, task->file) == 0 ? CLOUD_OK : CLOUD_LOCAL;
  arrive (task);
  return NULL;
}

/* On a thread of its own: it waits for the remote, piece after piece. */
static void
start_filling (struct task *task)
{
  task->result = CLOUD_LOCAL;
  task->file = cache_pin (task->push->cache, task->version, task->size, task->position);
  if (task->file && pthread_create (&task->filler, NULL, fill, task) == 0)
    return;
  if (task->file)
    cache_unpin (task->push->cache, task->file);
  task->file = NULL;
  arrive (task);
}

void
task_end (struct task *task)
{
  if (task->state == TASK_FILLING && task->file)
    pthread_join (task->filler, NULL);
  if (task->file)
    cache_unpin (task->push->cache, task->file);
  task->file = NULL;
}

void
task_start (struct task *task)
{
  switch (task->state) {
  case TASK_SENT:
    send (task);
    break;
  case TASK_LOOKING:
    listing_free (task->here.listing);
    listing_free (task->there.listing);
    task->here.listing = task->there.listing = NULL;
    look (task);
    break;
  case TASK_COMPARING:
    compare (task);
    break;
  case TASK_FILLING:
    start_filling (task);
    break;
  case TASK_OVER:
    break;
  }
}
