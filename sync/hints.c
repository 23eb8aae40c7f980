/* SPDX-License-Identifier: BSD-3-Clause */
/* Folders of the remote in which something is said to have changed. */

#include <config.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "cleanup.h"
#include "hints.h"

/* More folders than this at once: everything is looked at. */
#define MAX_PATHS 256

/* Looking takes at most a quarter of the time, and goes on after a pause of at least this many milliseconds. */
#define PAUSE_FACTOR 3
#define PAUSE_SOME 100
#define PAUSE_ALL 1000

/* However long it took, a minute later it may be done again. */
#define PAUSE_MOST 60000

struct hints {
  pthread_mutex_t lock;        /* protects all that follows */
  char *paths[MAX_PATHS];
  size_t n;
  bool all;
  uint64_t some_at, all_at;    /* not before these */
};

struct hints *
hints_new (void)
{
  struct hints *hints = calloc (1, sizeof *hints);

  if (hints)
    pthread_mutex_init (&hints->lock, NULL);
  return hints;
}

static void
forget (struct hints *hints)
{
  for (size_t i = 0; i < hints->n; ++i)
    free (hints->paths[i]);
  hints->n = 0;
}

void
hints_free (struct hints *hints)
{
  if (hints == NULL)
    return;
  forget (hints);
  pthread_mutex_destroy (&hints->lock);
  free (hints);
}

/* Call with the lock held. */
static bool
keep (struct hints *hints, const char *path, size_t n)
{
  if (n > CATALOG_MAX_PATH)
    return false;
  for (size_t i = 0; i < hints->n; ++i)
    if (strncmp (hints->paths[i], path, n) == 0 && hints->paths[i][n] == '\0')
      return true;
  if (hints->n == MAX_PATHS || (hints->paths[hints->n] = strndup (path, n)) == NULL)
    return false;
  hints->n++;
  return true;
}

void
hints_add (struct hints *hints, const char *path)
{
  size_t n;
  LOCK_FOR_SCOPE (&hints->lock);

  if (hints->all)
    return;
  path = path ? path + strspn (path, "/") : NULL;
  n = path ? strlen (path) : 0;
  while (n > 0 && path[n - 1] == '/')
    n--;
  if (path && keep (hints, path, n))
    return;
  forget (hints);
  hints->all = true;
}

uint64_t
hints_wait (struct hints *hints, uint64_t now)
{
  LOCK_FOR_SCOPE (&hints->lock);
  const uint64_t at = hints->all ? hints->all_at : hints->some_at;

  if (!hints->all && hints->n == 0)
    return UINT64_MAX;
  return at <= now ? 0 : at - now;
}

void
hints_take (struct hints *hints, uint64_t now, struct hinted *ret)
{
  LOCK_FOR_SCOPE (&hints->lock);

  *ret = (struct hinted) { .all = hints->all && hints->all_at <= now };
  if (ret->all)
    hints->all = false;
  else if (hints->n > 0 && hints->some_at <= now) {
    ret->paths = malloc (hints->n * sizeof *ret->paths);
    if (ret->paths == NULL) {
      forget (hints);
      ret->all = true;
      return;
    }
    memcpy (ret->paths, hints->paths, hints->n * sizeof *ret->paths);
    ret->n = hints->n;
    hints->n = 0;
  }
}

void
hinted_free (struct hinted *hinted)
{
  for (size_t i = 0; i < hinted->n; ++i)
    free (hinted->paths[i]);
  free (hinted->paths);
  *hinted = (struct hinted) { 0 };
}

void
hints_looked (struct hints *hints, bool all, uint64_t began, uint64_t now)
{
  uint64_t pause = (now - began) * PAUSE_FACTOR;
  LOCK_FOR_SCOPE (&hints->lock);

  if (pause < (all ? PAUSE_ALL : PAUSE_SOME))
    pause = all ? PAUSE_ALL : PAUSE_SOME;
  if (pause > PAUSE_MOST)
    pause = PAUSE_MOST;
  *(all ? &hints->all_at : &hints->some_at) = now + pause;
}
