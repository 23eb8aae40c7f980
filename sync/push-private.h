/* SPDX-License-Identifier: BSD-3-Clause */
/* What push.c (thread, echo), push-next.c (which change is next), push-circle.c, push-task.c (requests) and
 * push-judge.c (what became of them) share.  Nobody else includes this. */

#ifndef CLOUDSHARE_PUSH_PRIVATE_H
#define CLOUDSHARE_PUSH_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.h"
#include "change.h"
#include "cloud.h"
#include "merge.h"
#include "push.h"
#include "ranges.h"

struct listing;
struct said;

enum task_state {
  TASK_SENT,         /* its request is under way, or has just ended */
  TASK_LOOKING,      /* the remote is asked what is there */
  TASK_COMPARING,    /* what is there is read, and compared with what we have */
  TASK_FILLING,      /* what is missing of the version is fetched from the remote, so that it can be sent whole */
  TASK_OVER,
};

/* One place that is looked at. */
struct look {
  char *path;        /* NULL: not asked for */
  enum cloud_result result;
  struct listing *listing;     /* holds the item, after CLOUD_OK */
};

/* One item that is being told to the remote.  While a request is under way it is the provider's callbacks' alone,
 * else the thread's. */
struct task {
  struct push *push;
  enum task_state state;
  int64_t item;
  bool is_folder, is_large;
  enum push_step step;
  bool known_done;             /* the remote has said that it is done, but not what it has now */

  char *path;                  /* where the remote has it, NULL: nowhere */
  char *to;                    /* where it is to be: mkdir, put, move; else NULL */
  int64_t parent;              /* the same, for the catalog: the place that the request is about */
  char *name;
  char *view;
  char *expect;
  int64_t version;             /* the one that is sent, or compared */
  uint64_t size, position;
  bool has_whole;              /* all of it is in the blob store; else only its own ranges, and some blocks */
  struct ranges own;           /* a version that the remote does not have: what is its own (kin.h) */
  struct ranges ranges;        /* what differs from the base; n 0: not known, or not worth it */
  uint64_t base_size;
  struct cache_file *file;     /* pinned, while comparing and filling */
  pthread_t filler;
  char *checksum;
  int64_t mtime;
  int64_t base_version;

  enum cloud_result result;    /* of the last request */
  char sentence[512];
  bool has_now;
  struct cloud_item now;       /* its strings are malloc'ed */

  unsigned pending;            /* looks under way; under push->lock */
  struct look here, there;     /* where it was, where it is to be */

  bool differs;
  enum verdict_same same;      /* what comparing found */

  unsigned slots[2], n_slots;  /* of the echo table */
  struct task *next;           /* in push->tasks */
  struct task *next_arrived;   /* in push->arrived, or in the list that is worked on */
};

/* Names that requests of ours are, or were, about: by a hash, so two may share a slot, and are looked at once more. */
#define ECHO_SLOTS 65536

struct push {
  struct db *db;
  struct blobs *blobs;
  struct cache *cache;
  struct cloud *cloud;
  struct health *health;
  struct push_config config;
  struct said *said;
  pthread_t thread;

  /* Protects what follows.  Taken with or without the database's lock held, which never is taken under it. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  struct task *arrived, **arrived_tail;
  bool rung, stopping;
  uint64_t clock;
  uint64_t ended[ECHO_SLOTS];          /* clock of the last end */
  uint16_t under_way[ECHO_SLOTS];
  uint64_t folder_ended;               /* the same, for requests that move or remove a folder */
  unsigned folders_under_way;

  /* The thread's own. */
  struct task *tasks;
  unsigned n_tasks, n_large;
  int64_t cursor;                      /* the item that was looked at last */
  int64_t wake_at;                     /* when the next change is due, seconds since 1970; 0: none */
  struct merge merge;                  /* of the transaction under way */
  int64_t *superseded;                 /* to tell the cache of after the commit */
  size_t n_superseded, superseded_room;
  int64_t *settled;
  size_t n_settled, settled_room;
  bool halted;                         /* the remote was stopped: the end is near, and nothing new begins */
  bool suspicious;                     /* the catalog is behind: pull should look */
  uint64_t rest_until;                 /* the database failed: nothing before that millisecond (monotonic_ms) */
};

/* push.c */

/* Keeps a number for after the commit.  -1 after one message. */
extern int push_keep (int64_t **array, size_t *n, size_t *room, int64_t value);

/* push-circle.c */

/* One change as it is now. */
struct candidate {
  struct catalog_list list;
  const struct catalog_item *item;
  struct change change;
  enum push_step step;
};

/* 1 if there is something to be told of the item, 0 if not. */
extern int candidate_read (struct push *push, int64_t id, struct candidate *ret);
extern void candidate_free (struct candidate *candidate);

/* Whether what holds a name waits for the item that is to have it. */
extern int push_is_circle (struct push *push, int64_t holder, int64_t item, bool *ret);

/* push-next.c */

/* Makes tasks for changes that can go now, with their intents; within a transaction.  List by next_arrived.
 * *ret_more: the table was not looked through to the end. */
extern int push_next_tasks (struct push *push, struct task **ret, bool *ret_more);

/* push-task.c */
extern struct task *task_new (struct push *push, int64_t item);
extern void task_free (struct task *task);
extern bool task_is_running (struct push *push, int64_t item);

/* Starts what its state says: the request, the looks, the comparison, the filling. */
extern void task_start (struct task *task);

/* After it has arrived: ends what it had started. */
extern void task_end (struct task *task);

/* push-judge.c */

/* What follows from how the task's request ended: its next state, and the record; within a transaction. */
extern int task_judge (struct push *push, struct task *task);

#endif /* CLOUDSHARE_PUSH_PRIVATE_H */
