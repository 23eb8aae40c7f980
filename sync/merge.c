/* SPDX-License-Identifier: BSD-3-Clause */
/* Merging: what the remote has -> the catalog. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "cleanup.h"
#include "db.h"
#include "merge.h"
#include "msg.h"

/* An item on both sides. */
struct both {
  struct catalog_list list;    /* holds item */
  const struct catalog_item *item;
  struct change change;
};

/* 1 if there is such an item with a row, 0 if not. */
static int
read_both (struct merge *merge, int64_t id, struct both *ret)
{
  int r = catalog_any_item (merge->db, id, &ret->list);

  if (r != 1)
    return r;
  ret->item = &ret->list.items[0];
  r = change_read (merge->db, id, &ret->change);
  if (r != 1)
    catalog_list_free (&ret->list);
  return r;
}

static void
free_both (struct both *both)
{
  change_free (&both->change);
  catalog_list_free (&both->list);
}

static int
settle (struct merge *merge, int64_t item)
{
  bool left;

  if (change_settle (merge->db, item, &left) == -1)
    return -1;
  merge->waits |= left;
  return 0;
}

static int
leave_to_push (struct merge *merge, int64_t item)
{
  merge->waits = true;
  return change_look (merge->db, item);
}

static int
set_remote_id (struct merge *merge, int64_t item, const char *id)
{
  sqlite3_stmt *stmt;

  if (id == NULL)
    return 0;
  stmt = db_stmt (merge->db, "UPDATE item SET remote_id = ?2 WHERE id = ?1 AND remote_id IS NOT ?2");
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, item);
  sqlite3_bind_blob (stmt, 2, id, strlen (id), SQLITE_STATIC);
  return db_run (stmt);
}

/* Makes sure that no other item stands where one that the remote has is to be shown. */
static int
make_room (struct merge *merge, int64_t folder, const char *name, int64_t for_item)
{
  const int64_t there = catalog_child (merge->db, folder, name);

  if (there == -1)
    return -1;
  if (there == 0 || there == for_item)
    return 0;
  merge->changed = merge->waits = true;
  return local_step_aside (merge->db, merge->revision, there, NULL, merge->now);
}

/* ---- content ---- */

/* The item becomes what the remote shows. */
static int
take_theirs (struct merge *merge, const struct both *both, const struct cloud_item *seen)
{
  const int64_t version = catalog_add_version (merge->db, merge->blobs, both->item->id, seen);
  const int64_t mtime = time_to_ns (&seen->mtime);

  if (version == -1 || catalog_set_version (merge->db, both->item->id, version) == -1)
    return -1;
  if (both->change.base_version &&
      (catalog_supersede (merge->db, both->change.base_version) == -1 ||
       merge->superseded (merge->opaque, both->change.base_version) == -1))
    return -1;
  merge->changed = true;
  if (change_set_base (merge->db, both->item->id, both->change.base_parent, both->change.base_name, version,
                       mtime) == -1)
    return -1;
  return local_set_mtime (merge->db, merge->revision, both->item, mtime);
}

/* Our version of the item gets an item of its own beside it. */
static int
set_apart (struct merge *merge, const struct both *both)
{
  const struct catalog_item *item = both->item;
  CLEANUP_FREE char *name = local_conflict_name (merge->db, item->parent, item->name, false, both->change.view,
                                                 merge->now);
  CLEANUP_FREE char *path = catalog_path (merge->db, item->id);
  int64_t id;

  if (name == NULL)
    return -1;
  msg_notice ("/%s was changed at the remote and by %s at the same time: the version of %s is kept as \"%s\"",
              path ? path : item->name, both->change.view ? both->change.view : "a view",
              both->change.view ? both->change.view : "that view", name);
  id = local_add (merge->db, merge->revision, item->parent, name, false, item->version, time_to_ns (&item->mtime));
  if (id == -1 || change_open_new (merge->db, id) == -1)
    return -1;
  merge->changed = merge->waits = true;
  return change_note (merge->db, id, both->change.view, merge->now, 0, false);
}

/* What was removed here comes back, where the remote has it; but under its own name, if it was just moved out of the
 * way. */
static int
restore (struct merge *merge, const struct both *both)
{
  const struct change *change = &both->change;
  const bool moving = strncmp (change->base_name, PUSH_MOVING_PREFIX, strlen (PUSH_MOVING_PREFIX)) == 0;
  const char *name = moving ? both->item->name : change->base_name;
  const int64_t parent = local_revive_folder (merge->db, merge->revision, moving ? both->item->parent
                                                                                 : change->base_parent);
  CLEANUP_FREE char *path = catalog_remote_path (merge->db, both->item->id);

  if (parent == -1 || make_room (merge, parent, name, both->item->id) == -1)
    return -1;
  msg_notice ("/%s was removed by %s, but changed at the remote: it comes back", path ? path : name,
              change->view ? change->view : "a view");
  merge->changed = true;
  /* An edit that was removed again before it was sent. */
  if (both->item->version && both->item->version != change->base_version &&
      catalog_supersede (merge->db, both->item->version) == -1)
    return -1;
  if (local_set_place (merge->db, merge->revision, both->item, parent, name) == -1)
    return -1;
  return local_set_gone (merge->db, merge->revision, both->item, 0);
}

/* Nothing but the time may differ. */
static int
take_mtime (struct merge *merge, const struct both *both, const struct cloud_item *seen)
{
  const int64_t theirs = time_to_ns (&seen->mtime);
  const struct change *change = &both->change;

  if (theirs == change->base_mtime || both->item->is_folder)
    return 0;
  if (time_to_ns (&both->item->mtime) == change->base_mtime && !both->item->gone) {
    merge->changed = true;
    if (local_set_mtime (merge->db, merge->revision, both->item, theirs) == -1)
      return -1;
  }
  return change_set_base (merge->db, both->item->id, change->base_parent, change->base_name, change->base_version,
                          theirs);
}

/* The local content is what the remote shows. */
static int
take_as_same (struct merge *merge, const struct both *both, const struct cloud_item *seen)
{
  const struct change *change = &both->change;

  if (both->change.base_version && both->change.base_version != both->item->version &&
      merge->superseded (merge->opaque, both->change.base_version) == -1)
    return -1;
  if (version_sent (merge->db, both->item->version, seen) == -1 ||
      set_remote_id (merge, both->item->id, seen->id) == -1)
    return -1;
  return change_set_base (merge->db, both->item->id, change->base_parent, change->base_name, both->item->version,
                          time_to_ns (&seen->mtime));
}

static int
merge_changed_item (struct merge *merge, const struct both *both, const struct catalog_item *known,
                    const struct cloud_item *seen, enum verdict_same same)
{
  const struct catalog_item *item = both->item;
  struct verdict_case c = {
    .base = true, .mine = !item->gone, .theirs = true,
    .mine_changed = !item->is_folder && item->version != both->change.base_version,
    .theirs_changed = !catalog_same_version (known, seen), .same = same,
  };
  int r = 0;

  if (c.theirs_changed && c.mine_changed && same == SAME_UNKNOWN &&
      version_compare_seen (merge->db, item->version, seen, &c.same) == -1)
    return -1;
  switch (verdict_content (&c)) {
  case VERDICT_TAKE:
    r = take_theirs (merge, both, seen);
    break;
  case VERDICT_SAME:
    r = take_as_same (merge, both, seen);
    break;
  case VERDICT_CONFLICT:
    r = set_apart (merge, both);
    if (r == 0)
      r = take_theirs (merge, both, seen);
    break;
  case VERDICT_RESTORE:
    r = restore (merge, both);
    if (r == 0)
      r = take_theirs (merge, both, seen);
    break;
  case VERDICT_COMPARE:
    return leave_to_push (merge, item->id);
  default:
    r = take_mtime (merge, both, seen);
  }
  if (r == 0)
    r = set_remote_id (merge, item->id, seen->id);
  return r == 0 ? settle (merge, item->id) : -1;
}

static int
merge_unchanged_item (struct merge *merge, const struct catalog_item *known, const struct cloud_item *seen)
{
  const bool same = catalog_same_version (known, seen);

  if (same && known->mtime.tv_sec == seen->mtime.tv_sec && known->mtime.tv_nsec == seen->mtime.tv_nsec &&
      (known->remote_id == seen->id || (known->remote_id && seen->id && strcmp (known->remote_id, seen->id) == 0)))
    return 0;
  merge->changed = true;
  if (catalog_update (merge->db, merge->blobs, merge->revision, known, seen) == -1)
    return -1;
  return same ? 0 : merge->superseded (merge->opaque, known->version);
}

int
merge_known (struct merge *merge, const struct catalog_item *known, const struct cloud_item *seen,
             enum verdict_same same)
{
  struct both both;
  int64_t intent;
  int r;

  if (merge->none)
    return merge_unchanged_item (merge, known, seen);
  intent = change_intent_at (merge->db, known->parent, known->name, merge->in_hand);
  if (intent == -1)
    return -1;
  if (intent)
    return catalog_same_version (known, seen) ? 0 : leave_to_push (merge, intent);
  r = read_both (merge, known->id, &both);
  if (r != 1)
    return r == -1 ? -1 : merge_unchanged_item (merge, known, seen);
  r = merge_changed_item (merge, &both, known, seen, same);
  free_both (&both);
  return r;
}

/* ---- new ---- */

/* Something of ours has the name, and the remote has nothing of it yet: 1 if it is the same, 0 if it is not, 2 if
 * that must be found out first. */
static int
same_as_ours (struct merge *merge, const struct both *both, int64_t folder, const struct cloud_item *seen,
              enum verdict_same same)
{
  struct verdict_case c = { .mine = true, .theirs = true, .same = same };

  if (both->item->is_folder != seen->is_folder || both->change.base_parent)
    return 0;
  if (seen->is_folder)
    c.same = SAME_YES;
  else if (same == SAME_UNKNOWN && version_compare_seen (merge->db, both->item->version, seen, &c.same) == -1)
    return -1;
  switch (verdict_content (&c)) {
  case VERDICT_COMPARE:
    return 2;
  case VERDICT_SAME:
    if (!seen->is_folder && version_sent (merge->db, both->item->version, seen) == -1)
      return -1;
    if (set_remote_id (merge, both->item->id, seen->id) == -1 ||
        change_set_base (merge->db, both->item->id, folder, seen->name, both->item->version,
                         time_to_ns (&seen->mtime)) == -1)
      return -1;
    return settle (merge, both->item->id) == -1 ? -1 : 1;
  default:
    return 0;
  }
}

/* 1: *ret is what became of it.  0: it is to be added; what had its name has stepped aside. */
static int
meet_ours (struct merge *merge, int64_t folder, const struct cloud_item *seen, enum verdict_same same, int64_t *ret)
{
  const int64_t there = catalog_child (merge->db, folder, seen->name);
  struct both both;
  int r;

  if (there <= 0)
    return there;
  r = read_both (merge, there, &both);
  if (r != 1)
    return r;                  /* no row: the remote's tree would have had it */
  r = same_as_ours (merge, &both, folder, seen, same);
  free_both (&both);
  switch (r) {
  case 1:
    *ret = there;
    return 1;
  case 2:
    return leave_to_push (merge, there) == -1 ? -1 : 1;
  case 0:
    return make_room (merge, folder, seen->name, 0);
  default:
    return -1;
  }
}

int
merge_new (struct merge *merge, int64_t folder, const struct cloud_item *seen, enum verdict_same same, int64_t *ret)
{
  int64_t live, intent;
  int r;

  *ret = 0;
  if (merge->none) {
    merge->changed = true;
    *ret = catalog_add (merge->db, merge->blobs, merge->revision, folder, seen);
    return *ret == -1 ? -1 : 0;
  }
  intent = change_intent_at (merge->db, folder, seen->name, merge->in_hand);
  if (intent != 0)
    return intent == -1 ? -1 : leave_to_push (merge, intent);
  live = local_revive_folder (merge->db, merge->revision, folder);
  if (live != folder)
    return live == -1 ? -1 : 0;
  r = meet_ours (merge, folder, seen, same, ret);
  if (r != 0)
    return r == -1 ? -1 : 0;
  merge->changed = true;
  *ret = catalog_add (merge->db, merge->blobs, merge->revision, folder, seen);
  return *ret == -1 ? -1 : 0;
}

/* ---- gone ---- */

static int
drop_token (struct merge *merge, int64_t item)
{
  return db_run (db_bind (db_stmt (merge->db, "UPDATE item SET remote_id = NULL, token = NULL WHERE id = ?"), item));
}

/* Of one item, after what is below it. */
static int
gone_item (struct merge *merge, const struct catalog_item *item)
{
  struct verdict_case c = { .base = true, .mine = !item->gone };
  struct change change = { 0 };
  CLEANUP_FREE char *path = catalog_path (merge->db, item->id);
  int r = change_read (merge->db, item->id, &change);

  if (r == -1)
    return -1;
  if (item->is_folder && !item->gone) {
    r = local_has_children (merge->db, item->id, &c.mine_changed);
    if (r == -1)
      goto out;
  }
  else
    c.mine_changed = change.item && item->version != change.base_version;

  if (change_open (merge->db, item) == -1 || drop_token (merge, item->id) == -1 ||
      change_clear_base (merge->db, item->id) == -1 || change_clear_intent (merge->db, item->id) == -1) {
    r = -1;
    goto out;
  }
  r = 0;
  if (change.base_version && change.base_version != item->version)
    r = merge->superseded (merge->opaque, change.base_version);
  if (r == 0 && verdict_content (&c) == VERDICT_DROP) {
    merge->changed = true;
    if (item->version)
      r = merge->superseded (merge->opaque, item->version);
    if (r == 0)
      r = local_set_gone (merge->db, merge->revision, item, merge->now);
  }
  else if (r == 0 && verdict_content (&c) == VERDICT_ANEW && !item->is_folder)
    msg_notice ("/%s was removed at the remote, but changed by %s: it is sent there again", path ? path : item->name,
                change.view && change.view[0] ? change.view : "a view");
  if (r == 0)
    r = settle (merge, item->id);
out:
  change_free (&change);
  return r == -1 ? -1 : 0;
}

static int
gone_below (struct merge *merge, int64_t id, int depth)
{
  struct catalog_list children = { 0 }, self;
  int r = id == merge->in_hand ? 0 : change_is_open (merge->db, id);

  /* It may be where a request of ours has moved it, with all below it: that is looked up. */
  if (r != 0)
    return r == -1 ? -1 : leave_to_push (merge, id);
  r = catalog_remote_item (merge->db, id, &self);
  if (r != 1)
    return r;
  r = self.items[0].is_folder && depth < CATALOG_MAX_DEPTH ? catalog_remote_children (merge->db, id, &children) : 0;
  catalog_list_free (&self);
  for (size_t i = 0; r == 0 && i < children.n; ++i)
    r = gone_below (merge, children.items[i].id, depth + 1);
  catalog_list_free (&children);
  if (r == 0)
    r = catalog_any_item (merge->db, id, &self);
  if (r == 1) {
    r = gone_item (merge, &self.items[0]);
    catalog_list_free (&self);
  }
  return r;
}

int
merge_gone (struct merge *merge, int64_t item)
{
  return gone_below (merge, item, 0);
}

/* ---- moved ---- */

/* The item's base is the new place from now on; its local place as well, unless it would be below itself there. */
static int
move_both (struct merge *merge, const struct both *both, int64_t folder, const char *name)
{
  const struct catalog_item *item = both->item;
  bool below = false;

  if (change_set_base (merge->db, item->id, folder, name, both->change.base_version, both->change.base_mtime) == -1)
    return -1;
  if (item->gone)
    return 0;
  if (item->is_folder && catalog_is_below (merge->db, folder, item->id, &below) == -1)
    return -1;
  if (below)
    return 0;
  if (make_room (merge, folder, name, item->id) == -1)
    return -1;
  merge->changed = true;
  return local_set_place (merge->db, merge->revision, item, folder, name);
}

int
merge_moved (struct merge *merge, int64_t id, int64_t folder, const char *name)
{
  const int64_t live = local_revive_folder (merge->db, merge->revision, folder);
  struct catalog_list list;
  struct both both;
  int r;

  if (live != folder)
    return live == -1 ? -1 : 0;
  r = catalog_any_item (merge->db, id, &list);
  if (r != 1)
    return r;
  r = change_open (merge->db, &list.items[0]);
  catalog_list_free (&list);
  if (r == 0)
    r = read_both (merge, id, &both);
  if (r != 1)
    return r;
  /* What a request of ours does to it is not known yet. */
  if (both.change.sent != PUSH_NOTHING && id != merge->in_hand)
    r = leave_to_push (merge, id);
  else {
    r = move_both (merge, &both, folder, name);
    if (r == 0)
      r = settle (merge, id);
  }
  free_both (&both);
  return r;
}

/* ---- sent ---- */

/* What the remote says of its time is what counts from now on, unless a view gave it another meanwhile. */
static int
sent_mtime_stays (struct merge *merge, const struct both *both, int64_t version, int64_t sent_mtime, int64_t theirs)
{
  const int64_t mine = time_to_ns (&both->item->mtime);

  if (theirs == 0 || both->item->gone || both->item->version != version || mine != sent_mtime || mine == theirs)
    return 0;
  if (mine / 1000000000 == theirs / 1000000000)
    return 0;                  /* taken when the row goes: no disk shows the difference */
  merge->changed = true;
  return local_set_mtime (merge->db, merge->revision, both->item, theirs);
}

int
merge_sent (struct merge *merge, int64_t id, int64_t version, int64_t folder, const char *name, int64_t sent_mtime,
            const struct cloud_item *seen)
{
  const int64_t theirs = time_to_ns (&seen->mtime);
  struct both both;
  int r = read_both (merge, id, &both);

  if (r != 1)
    return r;
  if (version && both.change.base_version && both.change.base_version != version)
    r = merge->superseded (merge->opaque, both.change.base_version);
  else
    r = 0;
  if (r == 0 && version)
    r = version_sent (merge->db, version, seen);
  if (r == 0)
    r = set_remote_id (merge, id, seen->id);
  if (r == 0)
    r = change_set_base (merge->db, id, folder, name, version, theirs ? theirs : sent_mtime);
  if (r == 0 && version)
    r = sent_mtime_stays (merge, &both, version, sent_mtime, theirs);
  if (r == 0)
    r = change_clear_intent (merge->db, id);
  if (r == 0)
    r = settle (merge, id);
  free_both (&both);
  return r;
}
