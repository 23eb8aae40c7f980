/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: asks for what a listing no longer shows, before it is dropped. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "health.h"
#include "listing.h"
#include "msg.h"
#include "pull-private.h"
#include "push.h"
#include "said.h"

int
pull_add_missing (struct pull *pull, const struct catalog_item *known, size_t visit)
{
  if (pull_make_room ((void **) &pull->missing, pull->n_missing, &pull->missing_room, sizeof *pull->missing) == -1)
    return -1;
  pull->missing[pull->n_missing] = (struct missing) {
    .id = known->id, .parent = known->parent, .visit = visit,
    .path = pull_child_path (pull->visits[visit].path, known->name),
  };
  return pull->missing[pull->n_missing++].path ? 0 : -1;
}

/* In a transaction. */
static int
remove_missing (struct pull *pull, const struct missing *missing)
{
  struct catalog_list known;
  CLEANUP_FREE char *path = NULL;
  bool crossed;
  int r = catalog_remote_item (pull->db, missing->id, &known);

  if (r != 1)
    return r;
  crossed = push_touched (pull->push, known.items[0].parent, known.items[0].name, missing->since) ||
            push_touched (pull->push, known.items[0].parent, NULL, missing->since);
  catalog_list_free (&known);
  path = catalog_remote_path (pull->db, missing->id);
  /* Renamed meanwhile, itself or a folder above it: then it is where it is now. */
  if (path == NULL || strcmp (path, missing->path) != 0)
    return 0;
  if (crossed || pull_is_kept (pull, missing->id)) {
    pull->visits[missing->visit].again = true;
    return 0;
  }
  return merge_gone (&pull->merge, missing->id);
}

/* Drops the items of these answers that are gone, in one transaction. */
static int
apply_missing (struct pull *pull, const struct listing *list)
{
  int r = 0;

  if (pull_begin (pull) == -1)
    return -1;
  for (; list && r == 0; list = list->next)
    if (list->result == CLOUD_GONE || (list->result == CLOUD_OK && list->n == 0))
      r = remove_missing (pull, &pull->missing[list->folder]);
  return pull_end (pull, r);
}

/* Looks at answers and frees them.  Returns how many items are there after all. */
static size_t
note_answers (struct pull *pull, struct listing *list)
{
  size_t n_kept = 0;

  while (list) {
    struct listing *next = list->next;

    if (list->result == CLOUD_OK && list->n > 0)
      n_kept++;
    else if (list->result != CLOUD_OK && list->result != CLOUD_GONE) {
      health_report (pull->health, list->result, list->sentence);
      pull_spoil (pull, list->result, list->sentence);
    }
    listing_free (list);
    list = next;
  }
  return n_kept;
}

void
pull_confirm_missing (struct pull *pull)
{
  size_t next = 0, n_kept = 0;

  for (;;) {
    struct listing *list;
    int r = 1;

    while (r == 1 && next < pull->n_missing && !pull_ends (pull)) {
      pull->missing[next].since = pull_clock (pull);
      r = pull_send (pull, pull->missing[next].path, 0, next);
      if (r == -1)
        pull_spoil (pull, CLOUD_LOCAL, "out of memory");
      next += r == 1;
    }
    list = pull_take_arrived (pull, next < pull->n_missing);
    if (list == NULL)
      break;
    if (apply_missing (pull, list) == -1)
      pull_spoil (pull, CLOUD_LOCAL, "the catalog cannot be written");
    n_kept += note_answers (pull, list);
  }
  if (n_kept > 0 && said_first_time (pull->said, "", "kept"))
    msg_notice ("%s: %zu items were missing in a listing, but are there when asked for by name: they are kept",
                pull->cloud->identity, n_kept);
}
