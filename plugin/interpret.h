/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter: turns what one view's guest wrote into changes of items.
 *
 *   interp = interpret_new (&config)           loads nothing yet
 *   interpret_run (interp, &now, &result)      looks at what was written since, journals what is ready
 *   interpret_free (interp)
 *
 * A run: which sectors are fresh; which folders those touch; parse them (parse.h); match them with what is known (match.h);
 * judge each difference (ready.h); stage the bytes of what is ready; one transaction with journal rows and the new known
 * state (seen.h).  What is not ready stays pending, and is looked at again at result.next_ms.
 *
 * One thread at a time.  Guests may go on writing meanwhile: what changes under a run is left for the next one.
 */

#ifndef CLOUDSHARE_INTERPRET_H
#define CLOUDSHARE_INTERPRET_H

#include <stdbool.h>
#include <stdint.h>

struct disk;
struct engine;
struct interp;
struct junk;
struct map;
struct overlay;

struct interpret_config {
  struct engine *engine;       /* all borrowed */
  struct disk *disk;
  struct overlay *overlay;
  struct map *map;             /* the view's generation; a reference of its own is taken */
  int64_t view;                /* the view's id */
  const char *name;            /* export name; copied */
  const struct junk *junk;
  unsigned settle_ms;
  unsigned write_back_s;
  unsigned max_delete;         /* percent; removals of more than this, and more than 20 items, are held */
};

/* NULL after one message. */
extern struct interp *interpret_new (const struct interpret_config *config);
extern void interpret_free (struct interp *interp);

struct interpret_now {
  uint64_t now_ms;             /* monotonic; a parameter, so that tests can let time go by */
  bool connected;              /* some client is */
  bool marked;                 /* the volume was marked clean since the last run */
  bool ending;                 /* nobody is there, or the program ends: what is quiet counts as settled */
};

struct interpret_result {
  bool journalled;             /* the journal has something new */
  bool absorbed;               /* everything that was written is journalled or junk, and the volume is clean */
  bool dirty;                  /* the volume is marked dirty */
  uint64_t pending;            /* differences that wait */
  uint64_t next_ms;            /* look again at this time; 0: only after more writes */
  const char *detached;        /* the file system is not ours any more: a constant sentence that says why; NULL: it is */
};

/* -1 after one message: nothing was journalled, try again later. */
extern int interpret_run (struct interp *interp, const struct interpret_now *now, struct interpret_result *ret);

#endif /* CLOUDSHARE_INTERPRET_H */
