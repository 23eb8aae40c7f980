/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: the thread that tells the remote, and what pull asks it. */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "cleanup.h"
#include "fsutil.h"
#include "db.h"
#include "health.h"
#include "journal.h"
#include "msg.h"
#include "push-private.h"
#include "said.h"

/* Items that are gone on both sides are forgotten after so long: no view still knows them. */
#define FORGET_AFTER_S (30 * 86400)

/* After the database failed. */
#define REST_S 5

/* ---- echo ---- */

static unsigned
slot_of (int64_t folder, const char *name)
{
  uint64_t hash = UINT64_C (0xcbf29ce484222325) ^ (uint64_t) folder * UINT64_C (0x9e3779b97f4a7c15);

  for (; *name; ++name)
    hash = (hash ^ (unsigned char) *name) * UINT64_C (0x100000001b3);
  return (hash ^ hash >> 32) % ECHO_SLOTS;
}

uint64_t
push_clock (struct push *push)
{
  LOCK_FOR_SCOPE (&push->lock);

  return ++push->clock;
}

bool
push_touched (struct push *push, int64_t folder, const char *name, uint64_t since)
{
  unsigned slot;

  if (push == NULL)
    return false;
  LOCK_FOR_SCOPE (&push->lock);
  if (name == NULL)
    return push->folders_under_way > 0 || push->folder_ended > since;
  slot = slot_of (folder, name);
  return push->under_way[slot] > 0 || push->ended[slot] > since;
}

static bool
moves_folder (const struct task *task)
{
  return task->is_folder && (task->step == PUSH_MOVE || task->step == PUSH_REMOVE);
}

/* Within the transaction that writes its intent, so that pull sees both or none. */
static int
mark_begin (struct push *push, struct task *task)
{
  struct catalog_list base;
  const int r = catalog_remote_item (push->db, task->item, &base);

  if (r == -1)
    return -1;
  task->slots[task->n_slots++] = slot_of (task->parent, task->name);
  if (r == 1) {
    task->slots[task->n_slots++] = slot_of (base.items[0].parent, base.items[0].name);
    catalog_list_free (&base);
  }
  LOCK_FOR_SCOPE (&push->lock);
  for (unsigned i = 0; i < task->n_slots; ++i)
    push->under_way[task->slots[i]]++;
  push->folders_under_way += moves_folder (task);
  return 0;
}

static void
mark_end (struct push *push, struct task *task)
{
  LOCK_FOR_SCOPE (&push->lock);
  const uint64_t now = ++push->clock;

  if (task->n_slots == 0)
    return;
  for (unsigned i = 0; i < task->n_slots; ++i) {
    push->under_way[task->slots[i]]--;
    push->ended[task->slots[i]] = now;
  }
  if (moves_folder (task)) {
    push->folders_under_way--;
    push->folder_ended = now;
  }
}

/* ---- transactions ---- */

int
push_keep (int64_t **array, size_t *n, size_t *room, int64_t value)
{
  if (*n == *room) {
    int64_t *more = realloc (*array, (*room * 2 + 16) * sizeof *more);

    if (more == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    *array = more;
    *room = *room * 2 + 16;
  }
  (*array)[(*n)++] = value;
  return 0;
}

static int
note_superseded (void *opaque, int64_t version)
{
  struct push *push = opaque;

  return push_keep (&push->superseded, &push->n_superseded, &push->superseded_room, version);
}

static int
begin (struct push *push)
{
  int64_t revision;

  if (db_begin (push->db) == -1)
    return -1;
  push->merge = (struct merge) {
    .db = push->db, .blobs = push->blobs, .now = time (NULL), .superseded = note_superseded, .opaque = push,
  };
  if (catalog_revision (push->db, &revision) == -1) {
    db_end (push->db, -1);
    return -1;
  }
  push->merge.revision = revision + 1;
  return 0;
}

/* The cache hears what was committed.  -1: nothing was. */
static int
end (struct push *push, int ok)
{
  if (ok == 0 && push->merge.changed)
    ok = catalog_commit_revision (push->db, push->merge.revision);
  ok = db_end (push->db, ok);
  for (size_t i = 0; ok == 0 && i < push->n_superseded; ++i)
    cache_supersede (push->cache, push->superseded[i]);
  for (size_t i = 0; ok == 0 && i < push->n_settled; ++i)
    cache_settle (push->cache, push->settled[i]);
  push->n_superseded = push->n_settled = 0;
  if (ok == 0 && push->merge.changed && push->config.catalog_changed)
    push->config.catalog_changed (push->config.opaque);
  if (ok == -1)
    push->rest_until = monotonic_ms () + REST_S * 1000;
  return ok;
}

/* ---- the thread ---- */

static void
forget_task (struct push *push, struct task *task)
{
  struct task **link = &push->tasks;

  while (*link != task)
    link = &(*link)->next;
  *link = task->next;
  push->n_tasks--;
  push->n_large -= task->is_large;
  mark_end (push, task);
  task_free (task);
}

/* Requests, looks and comparisons that have ended. */
static void
take_arrived (struct push *push, struct task *list)
{
  int r;

  if (list == NULL)
    return;
  push->suspicious = false;
  for (struct task *task = list; task; task = task->next_arrived)
    task_end (task);
  r = begin (push);
  if (r == 0) {
    for (struct task *task = list; task && r == 0; task = task->next_arrived)
      r = task_judge (push, task);
    r = end (push, r);
  }
  while (list) {
    struct task *task = list;

    list = list->next_arrived;
    /* What could not be recorded is an open intent, and is looked up later. */
    if (r == -1 || task->state == TASK_OVER)
      forget_task (push, task);
    else
      task_start (task);
  }
  if (push->suspicious)
    health_suspect (push->health);
}

static int
mark_all (struct push *push, struct task *list)
{
  for (; list; list = list->next_arrived)
    if (mark_begin (push, list) == -1)
      return -1;
  return 0;
}

/* Begins one batch.  *ret_more: there may be more that can go.  *ret_begun: how many were. */
static int
begin_batch (struct push *push, bool *ret_more, unsigned *ret_begun)
{
  struct task *list = NULL;
  int r = begin (push);

  *ret_begun = 0;
  *ret_more = false;
  if (r == -1)
    return -1;
  r = push_next_tasks (push, &list, ret_more);
  if (r == 0)
    r = mark_all (push, list);
  r = end (push, r);
  while (list) {
    struct task *task = list;

    list = list->next_arrived;
    if (r == -1)
      forget_task (push, task);
    else {
      /* From its first byte on, the version that it replaces can't be fetched any more. */
      if (task->state == TASK_SENT && task->step == PUSH_PUT && task->base_version)
        cache_supersede (push->cache, task->base_version);
      (*ret_begun)++;
      task_start (task);
    }
  }
  return r;
}

/* Begins all that can go now: once around the table, from where the last look ended. */
static void
begin_tasks (struct push *push)
{
  bool wrapped = false, more;
  unsigned begun;

  while (push->n_tasks < push->config.parallel) {
    const bool from_start = push->cursor == 0;

    if (begin_batch (push, &more, &begun) == -1)
      return;
    if (more)
      continue;
    if (from_start || wrapped)
      return;
    wrapped = push->cursor == 0;
  }
}

static bool
may_begin (struct push *push)
{
  return !push->halted && !health_is_away (push->health) && monotonic_ms () >= push->rest_until;
}

/* Until something has ended, or has come, or is due.  *ret: what has ended.  false: the end. */
static bool
wait_for_work (struct push *push, struct task **ret)
{
  LOCK_FOR_SCOPE (&push->lock);
  const int64_t now = time (NULL);
  struct timespec until = { 0 };

  /* The second that it waits for may have come while it looked. */
  const bool is_due = push->wake_at > 0 && push->wake_at <= now && push->n_tasks < push->config.parallel && may_begin (push);
  int64_t rest_s = 0;

  /* On a clock that nobody sets: a wall clock that is put back must not make this longer. */
  if (push->wake_at > now)
    rest_s = push->wake_at < now + 3600 ? push->wake_at - now : 3600;
  else if (!may_begin (push))
    rest_s = 1;
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += rest_s;
  while (!is_due && push->arrived == NULL && !push->rung && !(push->stopping && push->n_tasks == 0)) {
    if (rest_s == 0)
      pthread_cond_wait (&push->cond, &push->lock);
    else if (pthread_cond_clockwait (&push->cond, &push->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
      break;
  }
  *ret = push->arrived;
  push->arrived = NULL;
  push->arrived_tail = &push->arrived;
  push->rung = false;
  return !push->stopping || push->n_tasks > 0;
}

static bool
is_stopping (struct push *push)
{
  LOCK_FOR_SCOPE (&push->lock);

  return push->stopping;
}

static void *
push_thread (void *opaque)
{
  struct push *push = opaque;
  struct task *arrived;

  while (wait_for_work (push, &arrived)) {
    take_arrived (push, arrived);
    if (!is_stopping (push) && may_begin (push))
      begin_tasks (push);
  }
  return NULL;
}

/* ---- start and stop ---- */

struct push *
push_start (struct db *db, struct blobs *blobs, struct cache *cache, struct cloud *cloud, struct health *health,
            const struct push_config *config)
{
  struct push *push = calloc (1, sizeof *push);
  int err;

  if (push == NULL || (push->said = said_new ()) == NULL) {
    msg_error ("out of memory");
    free (push);
    return NULL;
  }
  push->db = db;
  push->blobs = blobs;
  push->cache = cache;
  push->cloud = cloud;
  push->health = health;
  push->config = *config;
  if (push->config.parallel == 0)
    push->config.parallel = 1;
  push->arrived_tail = &push->arrived;
  push->rung = true;
  pthread_mutex_init (&push->lock, NULL);
  pthread_cond_init (&push->cond, NULL);
  if (db_begin (db) == 0)
    db_end (db, catalog_purge (db, time (NULL) - FORGET_AFTER_S, NULL));

  err = pthread_create (&push->thread, NULL, push_thread, push);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    pthread_mutex_destroy (&push->lock);
    pthread_cond_destroy (&push->cond);
    said_free (push->said);
    free (push);
    return NULL;
  }
  return push;
}

void
push_ring (struct push *push)
{
  LOCK_FOR_SCOPE (&push->lock);

  push->rung = true;
  pthread_cond_signal (&push->cond);
}

void
push_stop (struct push *push)
{
  if (push == NULL)
    return;
  pthread_mutex_lock (&push->lock);
  push->stopping = true;
  pthread_cond_signal (&push->cond);
  pthread_mutex_unlock (&push->lock);
  pthread_join (push->thread, NULL);
  pthread_mutex_destroy (&push->lock);
  pthread_cond_destroy (&push->cond);
  said_free (push->said);
  free (push->superseded);
  free (push->settled);
  free (push);
}
