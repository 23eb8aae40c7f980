/* SPDX-License-Identifier: BSD-3-Clause */
/* What view.c (which views there are), view-io.c (requests) and view-writes.c (what guests wrote) share.  Nobody else
 * includes this. */

#ifndef CLOUDSHARE_VIEW_PRIVATE_H
#define CLOUDSHARE_VIEW_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "view.h"

struct interpreter;
struct overlay;

#define VIEW_OVERLAY_NAME 24

struct view {
  struct views *views;
  char *name;
  int64_t id;
  int64_t generation;          /* pinned: the one it shows; live: the oldest that it may still hold */
  bool writable;               /* some client could write: it is pinned */
  unsigned connections;
  uint64_t idle_since;         /* ms, while connections is 0 */
  bool awaited;                /* it was held at the start, and nobody has come yet */
  char *detached;              /* why it is not interpreted any more, or NULL */
  bool busy;                   /* the writes thread is at it, without the lock: it must not go */
  bool absorbed;               /* as of run_clock all that was written is journalled, and the volume clean */
  bool volume_dirty;
  bool unmounted;              /* FAT32: the last run saw that it was marked clean, and nothing came since */
  uint64_t pending;
  uint64_t run_clock;          /* the overlay's, when the last run began */
  uint64_t run_ms;             /* when the last run began; 0: none yet */
  uint64_t run_end_ms, next_ms;
  bool hurry;                  /* a run is asked for, whatever there is to see */
  bool failed;                 /* the last run did */
  bool sync_failed;            /* the last overlay_sync from here did; said once */
  uint64_t next_sync_ms;       /* after that: not before this */
  int64_t unread_since;        /* seconds since 1970, while something is written that is not understood; 0: nothing is */
  int64_t revision;            /* of the catalog, after the last change from here */
  struct interpreter *interp;  /* the writes thread's, while busy */
  struct view *next;

  /* Requests hold it for reading.  Whoever changes map or overlay holds it for writing, and views->lock. */
  pthread_rwlock_t io;
  struct map *map;
  struct overlay *overlay;     /* NULL until something is written */
  uint64_t moves;              /* changes when the map is another one and the overlay goes */
  pthread_mutex_t making;      /* held by who makes the overlay; taken before views->lock */

  _Atomic uint64_t counted;    /* overlay_present_bytes, as far as views->dirty knows it */
  atomic_bool active;          /* the writes thread knows that something was written which it has not looked at */
  atomic_bool marked;          /* the volume was marked clean since the last run began */
  atomic_bool was_dirty;       /* the volume's mark as it was last written */
};

/* What a view leaves behind that is gone or has moved on. */
struct remains {
  struct interpreter *interp;
  struct overlay *overlay;
  int64_t id;                  /* names the overlay's files */
  struct remains *next;
};

struct views {
  struct engine *engine;
  struct disk *disk;
  struct views_config config;
  char *dir;                   /* of overlays */
  int dir_fd;
  pthread_t thread, writes_thread, remains_thread;
  bool started, writes_started, remains_started;

  /* Protects the list, and in its views all that has no lock of its own.  Taken before a view's io.  Nobody waits under it
   * for the cloud, or for bytes to get to the host's disk. */
  pthread_mutex_t lock;
  pthread_cond_t cond;         /* for the writes thread; CLOCK_MONOTONIC */
  bool rung;                   /* something changed since the writes thread looked last */
  bool finishing;
  struct view *list;
  struct remains *remains;     /* for their thread: removing gigabytes takes a host up to minutes */
  pthread_cond_t remains_cond;
  bool stopping;               /* no more of them come */

  _Atomic uint64_t dirty;      /* bytes of all overlays */
  _Atomic uint64_t most_dirty; /* as many as the host's file system has room for */
};

/* view.c */
extern void view_overlay_name (int64_t id, char ret[VIEW_OVERLAY_NAME]);
extern int view_save (struct views *views, struct view *view);

/* Moves a view that is spent to the newest generation, as a new one.  The lock is held.  1: not while requests are under
 * way.  -1 after one message. */
extern int view_renew (struct views *views, struct view *view);

/* The view's files, and what belongs to them, are to be removed.  The lock is held; takes remains. */
extern void views_leave_behind (struct views *views, struct remains *remains);
extern int64_t view_newest_revision (struct views *views);   /* of the catalog */

/* view-io.c: notices the volume's mark, after a write of the boot sector, or at the start. */
extern void view_look_at_mark (struct view *view);

/* view-writes.c */
extern int writes_open (struct views *views);
extern int writes_sweep (struct views *views);
extern int writes_start (struct views *views);
extern void writes_finish (struct views *views);
extern void writes_wake (struct views *views);             /* the lock is held */
extern void writes_look_at_host (struct views *views);     /* the lock is held */

#endif /* CLOUDSHARE_VIEW_PRIVATE_H */
