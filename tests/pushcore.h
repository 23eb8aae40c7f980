/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the write path stand on: a core (core.h) with push and pull, and a view that is played by the test.
 *
 *   pushcore_open (&p, parallel)
 *   pushcore_create (&p, "folder", "name", "bytes") ...   what a guest does; each is one transaction
 *   pushcore_drain (&p)                 until nothing is left to be told
 *   pushcore_must_have (&p, "d/ d/f=bytes")               what the remote has, and the local tree the same
 *   pushcore_close (&p)
 *
 * Anything that goes wrong here fails the test.
 */

#ifndef CLOUDSHARE_TESTS_PUSHCORE_H
#define CLOUDSHARE_TESTS_PUSHCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"
#include "fakecloud.h"
#include "journal.h"
#include "pull.h"
#include "push.h"

struct pushcore {
  struct core core;
  unsigned parallel;
  struct pull *pull;
  struct push *push;
  struct pull_result result;   /* of the last pull */
  bool paused;                 /* push does not run */
  bool held;                   /* removals of the view are */
  const char *view;
  uint64_t tick;               /* a clock of the view's own, for mtimes */
};

extern void pushcore_open (struct pushcore *p, unsigned parallel);
extern void pushcore_close (struct pushcore *p);

/* As if the process had ended and started again. */
extern void pushcore_restart (struct pushcore *p);

/* Stops push, and starts it again: what waits is tried at once. */
extern void pushcore_pause (struct pushcore *p);
extern void pushcore_go_on (struct pushcore *p);

/* ---- what a view does: paths are the local tree's; content NULL: a folder ---- */

extern int64_t pushcore_create (struct pushcore *p, const char *folder, const char *name, const char *content);
extern int64_t pushcore_edit (struct pushcore *p, const char *path, const char *content);

/* The view knew the file by that id, in that version. */
extern int64_t pushcore_edit_known (struct pushcore *p, int64_t item, int64_t was, const char *content);
extern void pushcore_move (struct pushcore *p, const char *path, const char *folder, const char *name);
extern void pushcore_swap (struct pushcore *p, const char *a, const char *b);
extern void pushcore_remove (struct pushcore *p, const char *path);
extern void pushcore_remove_known (struct pushcore *p, int64_t item, int64_t was);
extern void pushcore_touch (struct pushcore *p, const char *path, int64_t seconds);

/* Several changes in one transaction; stage returns a version. */
struct pushcore_change {
  struct journal journal;
  int64_t staged;
  uint64_t size, position;
  const uint64_t *bits;        /* the blocks of it that are here, or NULL for all */
};

extern void pushcore_begin (struct pushcore *p, struct pushcore_change *of);
extern void pushcore_stage (struct pushcore *p, struct pushcore_change *of, const char *content);
extern void pushcore_end (struct pushcore *p, struct pushcore_change *of);

/* ---- the other side ---- */

extern void pushcore_pull (struct pushcore *p);

/* Pulls and pushes until nothing is left to be done. */
extern void pushcore_drain (struct pushcore *p);

/* How many changes are left. */
extern unsigned pushcore_left (struct pushcore *p);

/* The tree, as "d/ d/f=bytes", sorted, of the remote and of the catalog; both malloc'ed. */
extern char *pushcore_remote (struct pushcore *p);
extern char *pushcore_local (struct pushcore *p);
extern void pushcore_must_have (struct pushcore *p, const char *tree);

#endif /* CLOUDSHARE_TESTS_PUSHCORE_H */
