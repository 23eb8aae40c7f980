/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: circles of changes that wait for each other. */

#include <config.h>

#include <stdlib.h>

#include "cleanup.h"
#include "msg.h"
#include "push-private.h"

/* Items that are looked at for a circle of waits; where there are more, one is taken for granted: it costs a rename. */
#define CIRCLE_ITEMS 300

int
candidate_read (struct push *push, int64_t id, struct candidate *ret)
{
  int r = change_read (push->db, id, &ret->change);

  if (r != 1)
    return r;
  r = catalog_any_item (push->db, id, &ret->list);
  if (r != 1) {
    change_free (&ret->change);
    return r;
  }
  ret->item = &ret->list.items[0];
  ret->step = change_step (ret->item, &ret->change);
  return 1;
}

void
candidate_free (struct candidate *candidate)
{
  change_free (&candidate->change);
  catalog_list_free (&candidate->list);
}

struct trail {
  int64_t goal;
  int64_t items[CIRCLE_ITEMS];
  size_t n;
  bool found;
};

static int follow (struct push *push, struct trail *trail, int64_t id);

static int
follow_children (struct push *push, struct trail *trail, int64_t folder)
{
  struct catalog_list children;
  int r = catalog_remote_children (push->db, folder, &children);

  if (r == -1)
    return -1;
  for (size_t i = 0; r == 0 && i < children.n && !trail->found; ++i)
    r = follow (push, trail, children.items[i].id);
  catalog_list_free (&children);
  return r;
}

/* The folders between an item and one that is to be moved below itself: some of them must leave first. */
static int
follow_chain (struct push *push, struct trail *trail, int64_t folder, int64_t item)
{
  int r = 0;

  for (int depth = 0; r == 0 && folder != item && folder != CATALOG_ROOT && folder != 0 &&
       depth < CATALOG_MAX_DEPTH; ++depth) {
    struct catalog_list list;

    r = follow (push, trail, folder);
    if (r == 0 && catalog_remote_item (push->db, folder, &list) == 1) {
      folder = list.items[0].parent;
      catalog_list_free (&list);
    }
    else
      folder = 0;
  }
  return r;
}

/* What an item waits for, and what that waits for. */
static int
follow (struct push *push, struct trail *trail, int64_t id)
{
  struct candidate candidate;
  int r;

  if (trail->found || id == 0)
    return 0;
  if (id == trail->goal || trail->n == CIRCLE_ITEMS) {
    trail->found = true;
    return 0;
  }
  for (size_t i = 0; i < trail->n; ++i)
    if (trail->items[i] == id)
      return 0;
  trail->items[trail->n++] = id;

  r = candidate_read (push, id, &candidate);
  if (r != 1)
    return r;
  r = 0;
  /* What is under way waits for nothing, and may be on its way out of the circle. */
  if (candidate.change.sent != PUSH_NOTHING)
    ;
  else if (candidate.step == PUSH_REMOVE && candidate.item->is_folder)
    r = follow_children (push, trail, id);
  else if (candidate.step == PUSH_MKDIR || candidate.step == PUSH_MOVE ||
           (candidate.step == PUSH_PUT && candidate.change.base_parent == 0)) {
    const int64_t holder = catalog_remote_child (push->db, candidate.item->parent, candidate.item->name);

    r = holder == -1 ? -1 : follow (push, trail, candidate.item->parent);
    if (r == 0 && holder != id)
      r = follow (push, trail, holder);
    if (r == 0 && candidate.step == PUSH_MOVE && candidate.item->is_folder)
      r = follow_chain (push, trail, candidate.item->parent, id);
  }
  candidate_free (&candidate);
  return r;
}

int
push_is_circle (struct push *push, int64_t holder, int64_t item, bool *ret)
{
  CLEANUP_FREE struct trail *trail = calloc (1, sizeof *trail);
  int r;

  if (trail == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  trail->goal = item;
  r = follow (push, trail, holder);
  *ret = trail->found;
  return r;
}
