/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is to tell the remote of an item, and when. */

#include <config.h>

#include <string.h>

#include "push-plan.h"

#define NS_PER_S INT64_C (1000000000)

static bool
place_differs (const struct push_side *a, const struct push_side *b)
{
  return a->parent != b->parent || strcmp (a->name, b->name) != 0;
}

/* Whole seconds: remotes keep no more.  What is not known is not told. */
static bool
time_differs (const struct push_side *local, const struct push_side *base)
{
  return local->mtime != 0 && local->mtime / NS_PER_S != base->mtime / NS_PER_S;
}

enum push_step
push_plan (bool is_folder, const struct push_side *local, const struct push_side *base)
{
  if (!local->exists)
    return base->exists ? PUSH_REMOVE : PUSH_FORGET;
  if (!base->exists)
    return is_folder ? PUSH_MKDIR : PUSH_PUT;
  if (place_differs (local, base))
    return PUSH_MOVE;
  if (is_folder)
    return PUSH_NOTHING;
  if (local->version != base->version)
    return PUSH_PUT;
  return time_differs (local, base) ? PUSH_TOUCH : PUSH_NOTHING;
}

const char *
push_what (bool is_folder, const struct push_side *local, const struct push_side *base)
{
  if (!local->exists)
    return "removed";
  if (!base->exists)
    return is_folder ? "new folder" : "new file";
  if (place_differs (local, base))
    return !is_folder && local->version != base->version ? "moved and changed" : "moved";
  return local->version != base->version ? "changed" : "time";
}

bool
push_may_be_done (enum cloud_result result)
{
  return result == CLOUD_OFFLINE || result == CLOUD_BUSY || result == CLOUD_BAD || result == CLOUD_STOPPED;
}

bool
push_shows_change (enum cloud_result result)
{
  return result == CLOUD_GONE || result == CLOUD_CHANGED || result == CLOUD_EXISTS || result == CLOUD_PARENT;
}

/* The first pauses, seconds; then the last one, again and again. */
struct pauses {
  unsigned n;
  unsigned s[8];
};

static const struct pauses *
pauses_for (enum cloud_result result)
{
  /* Others ask the remote whether it is back; this only keeps one request that always fails from being all that
   * happens. */
  static const struct pauses offline = { 5, { 0, 1, 5, 25, 125 } };
  /* Locked (423), too early (425): mostly over soon; server errors: sometimes. */
  static const struct pauses busy = { 6, { 2, 10, 25, 125, 625, 3600 } };
  static const struct pauses denied = { 4, { 25, 125, 625, 3600 } };
  static const struct pauses refused = { 1, { PUSH_PAUSE_MAX } };
  static const struct pauses local = { 5, { 5, 25, 125, 625, 3600 } };
  static const struct pauses changed = { 6, { 1, 3, 10, 30, 120, 600 } };
  static const struct pauses bad = { 6, { 25, 125, 625, 3600, 18000, PUSH_PAUSE_MAX } };

  switch (result) {
  case CLOUD_OFFLINE:
  case CLOUD_STOPPED:
    return &offline;
  case CLOUD_BUSY:
    return &busy;
  case CLOUD_DENIED:
  case CLOUD_AUTH:
  case CLOUD_FULL:
    return &denied;
  case CLOUD_REFUSED:
    return &refused;
  case CLOUD_LOCAL:
    return &local;
  case CLOUD_GONE:
  case CLOUD_CHANGED:
  case CLOUD_EXISTS:
  case CLOUD_PARENT:
    return &changed;
  default:
    return &bad;
  }
}

unsigned
push_pause (enum cloud_result result, unsigned attempts)
{
  const struct pauses *pauses = pauses_for (result);

  if (attempts == 0)
    attempts = 1;
  return pauses->s[attempts <= pauses->n ? attempts - 1 : pauses->n - 1];
}

bool
push_is_worth_ranges (uint64_t size, uint64_t changed)
{
  /* One more request, or an answer that is not the usual one, costs more than some bytes. */
  return size >= 256 * 1024 && changed <= size / 2;
}

bool
push_is_due (int64_t now, int64_t changed, int64_t quiet, int64_t tried, int64_t next_try, int64_t *ret_when)
{
  /* The clock's second may have just begun when the change came. */
  const int64_t rested = quiet > 0 ? changed + quiet + 1 : changed;

  *ret_when = 0;
  if (now < rested && now >= changed)
    *ret_when = rested;
  if (now < next_try && now >= tried && next_try - tried <= PUSH_PAUSE_MAX && next_try > *ret_when)
    *ret_when = next_try;
  return *ret_when == 0;
}
