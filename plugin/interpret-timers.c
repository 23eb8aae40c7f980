/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's timers: for how long a difference has looked the same. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "interpret-private.h"
#include "msg.h"
#include "names.h"

static uint64_t
place_of (int64_t folder, const uint16_t *name, uint16_t units)
{
  const uint64_t hash = (name_hash_units (name, units) ^ (uint64_t) folder * UINT64_C (0x9e3779b97f4a7c15)) *
                        UINT64_C (0xff51afd7ed558ccd);

  return hash ? hash : 1;
}

static struct timer *
timer_slot (struct timer *timers, size_t room, uint64_t place)
{
  size_t i = place >> 17 & (room - 1);

  while (timers[i].place != 0 && timers[i].place != place)
    i = (i + 1) & (room - 1);
  return &timers[i];
}

/* Only those that the last run used stay. */
int
timers_rebuild (struct interp *interp, size_t room)
{
  struct timer *timers = calloc (room, sizeof *timers);
  size_t n = 0;

  if (timers == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < interp->timers_room; ++i) {
    struct timer *timer = &interp->timers[i];

    if (timer->place == 0)
      continue;
    if (timer->used) {
      *timer_slot (timers, room, timer->place) = *timer;
      n++;
    }
    else
      parsed_runs_free (&timer->runs);
  }
  free (interp->timers);
  interp->timers = timers;
  interp->timers_room = room;
  interp->n_timers = n;
  return 0;
}

/* For how long a difference has looked like that.  runs are copied. */
int
timer_look (struct run *run, int64_t folder, const struct match_entry *entry, uint64_t signature,
            const struct parsed_runs *runs, uint64_t *ret_ms)
{
  struct interp *interp = run->interp;
  const uint64_t place = place_of (folder, entry->name, entry->units);
  struct timer *timer;

  if (interp->n_timers * 2 >= interp->timers_room) {
    /* All of this run are in use; those of the last one that are not will go with the next rebuild. */
    for (size_t i = 0; i < interp->timers_room; ++i)
      interp->timers[i].used = interp->timers[i].place != 0;
    if (timers_rebuild (interp, interp->timers_room ? interp->timers_room * 2 : 64) == -1)
      return -1;
  }
  timer = timer_slot (interp->timers, interp->timers_room, place);
  if (timer->place == 0) {
    timer->place = place;
    interp->n_timers++;
    timer->signature = ~signature;
  }
  timer->used = true;
  if (timer->signature != signature) {
    timer->signature = signature;
    timer->since_ms = run->time->now_ms;
    parsed_runs_free (&timer->runs);
    memset (&timer->runs, 0, sizeof timer->runs);
    if (runs && runs->n > 0) {
      timer->runs.list = malloc (runs->n * sizeof *runs->list);
      if (timer->runs.list == NULL) {
        msg_error ("out of memory");
        return -1;
      }
      memcpy (timer->runs.list, runs->list, runs->n * sizeof *runs->list);
      timer->runs.n = runs->n;
    }
  }
  *ret_ms = run->time->now_ms - timer->since_ms;
  return 0;
}

/* Bytes of a waiting difference that were written since the last run begin its wait anew. */
void
timers_begin (struct interp *interp, uint64_t now_ms)
{
  for (size_t i = 0; i < interp->timers_room; ++i) {
    struct timer *timer = &interp->timers[i];

    if (timer->place == 0)
      continue;
    timer->used = false;
    if (interp->has_watch && runs_hit (interp, &timer->runs))
      timer->since_ms = now_ms;
  }
}
