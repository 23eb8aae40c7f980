/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: which changes can go now.
 *
 * A change waits for others only where the remote would refuse it: its folder is not there yet; its name is still
 * held by an item that is to be moved or removed; a folder that is to be removed is not empty yet.  Where such waits
 * form a circle (two names are swapped), what holds the name is moved to a name of its own first. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cache.h"
#include "cleanup.h"
#include "db.h"
#include "kin.h"
#include "msg.h"
#include "push-private.h"
#include "said.h"

/* Files from this size on may not take all requests that may be under way: small ones must get by. */
#define LARGE_BYTES (UINT64_C (4) << 20)

/* Rows that are looked at in one transaction: views and readers of the catalog wait for it. */
#define ROWS_AT_ONCE 128

static char *
join (const char *folder, const char *name)
{
  char *path;

  if (asprintf (&path, "%s%s%s", folder, folder[0] ? "/" : "", name) == -1) {
    msg_error ("out of memory");
    return NULL;
  }
  return path;
}

static bool
is_below_path (const char *path, const char *folder)
{
  const size_t n = strlen (folder);

  return path && strncmp (path, folder, n) == 0 && (path[n] == '/' || n == 0);
}

/* ---- what is under way ---- */

static bool
moves_folder (const struct task *task)
{
  return task->is_folder && (task->step == PUSH_MOVE || task->step == PUSH_REMOVE);
}

/* Whether a task would cross one that is under way: nothing happens in a folder while it is moved or removed. */
static bool
crosses (struct push *push, const struct task *task)
{
  for (const struct task *other = push->tasks; other; other = other->next) {
    if (other->path && moves_folder (other) &&
        (is_below_path (task->path, other->path) || is_below_path (task->to, other->path)))
      return true;
    if (task->path && moves_folder (task) &&
        (is_below_path (other->path, task->path) || is_below_path (other->to, task->path)))
      return true;
    if (task->to && other->to && strcmp (task->to, other->to) == 0)
      return true;
  }
  return false;
}

/* Whether it is unknown where a folder is, or one above it: a request that moves it is open.  1 or 0. */
static int
is_adrift (struct push *push, int64_t folder)
{
  for (int depth = 0; folder != CATALOG_ROOT && folder != 0 && depth < CATALOG_MAX_DEPTH; ++depth) {
    sqlite3_stmt *stmt =
      db_stmt (push->db, "SELECT CASE WHEN c.item IS NULL THEN i.parent ELSE c.base_parent END, ifnull (c.sent, 0)"
                         " FROM item i LEFT JOIN change c ON c.item = i.id WHERE i.id = ?");
    int r, sent;

    if (stmt == NULL)
      return -1;
    sqlite3_bind_int64 (stmt, 1, folder);
    r = db_row (stmt);
    if (r != 1)
      return r;
    folder = sqlite3_column_int64 (stmt, 0);
    sent = sqlite3_column_int (stmt, 1);
    sqlite3_reset (stmt);
    if (sent == PUSH_MOVE || sent == PUSH_REMOVE)
      return 1;
  }
  return 0;
}

/* Whether it moves a file's bytes. */
static bool
has_bytes (const struct task *task)
{
  return task->state == TASK_SENT || task->state == TASK_FILLING;
}

/* ---- one candidate ---- */

static int
set_text (char **to, const char *text)
{
  *to = strdup (text);
  if (*to == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  return 0;
}

/* The place where an item is to be at the remote.  1 if it can be there now, 0 if it must wait. */
static int
find_target (struct push *push, const struct candidate *candidate, struct task *task)
{
  CLEANUP_FREE char *folder = catalog_remote_path (push->db, candidate->item->parent);
  int64_t parent;

  if (folder == NULL) {
    /* Its folder waits to be made.  One that is gone altogether never will be. */
    parent = local_revive_folder (push->db, push->merge.revision, candidate->item->parent);
    if (parent == -1)
      return -1;
    if (parent != candidate->item->parent) {
      CLEANUP_FREE char *name = local_conflict_name (push->db, parent, candidate->item->name,
                                                     candidate->item->is_folder,
                                                     candidate->change.view, push->merge.now);

      push->merge.changed = true;
      return name == NULL ? -1 : local_set_place (push->db, push->merge.revision, candidate->item, parent, name);
    }
    return 0;
  }
  task->parent = candidate->item->parent;
  if (set_text (&task->name, candidate->item->name) == -1 || (task->to = join (folder, task->name)) == NULL)
    return -1;
  if (task->path && task->is_folder && is_below_path (task->to, task->path))
    return 0;
  return 1;
}

/* Instead of the task, what holds the name that it wants is moved out of the way. */
static int
move_aside (struct push *push, const struct candidate *holder, struct task *task)
{
  CLEANUP_FREE char *folder = catalog_remote_path (push->db, holder->change.base_parent);
  uint32_t number;
  char name[48];

  if (folder == NULL || getrandom (&number, sizeof number, 0) != sizeof number)
    return 0;
  snprintf (name, sizeof name, PUSH_MOVING_PREFIX "%08x", number);
  task->step = PUSH_MOVE;
  task->parent = holder->change.base_parent;
  if (set_text (&task->name, name) == -1 || (task->to = join (folder, name)) == NULL)
    return -1;
  return 1;
}

static int
read_base (struct push *push, const struct candidate *candidate, struct task *task)
{
  struct catalog_list list;
  int r = catalog_remote_item (push->db, task->item, &list);

  if (r != 1)
    return r;
  task->base_version = list.items[0].version;
  if (!candidate->item->is_folder && list.items[0].token && set_text (&task->expect, list.items[0].token) == -1)
    r = -1;
  catalog_list_free (&list);
  return r;
}

static int
read_version (struct push *push, int64_t version, struct task *task)
{
  CLEANUP_FREE char *hashes = NULL;
  const char *sha1;
  const int r = version_read (push->db, version, &task->size, &task->position, &hashes);

  if (r != 1)
    return r;
  task->version = version;
  sha1 = hashes ? strstr (hashes, "SHA1:") : NULL;
  if (sha1) {
    task->checksum = strndup (sha1, strcspn (sha1, " "));
    if (task->checksum == NULL) {
      msg_error ("out of memory");
      return -1;
    }
  }
  task->is_large = task->size >= LARGE_BYTES;
  return 1;
}

/* The remote does not have the folder any more that it had the item in. */
static int
lost_base (struct push *push, struct task *task)
{
  if (change_clear_intent (push->db, task->item) == -1)
    return -1;
  push->merge.in_hand = task->item;
  if (merge_gone (&push->merge, task->item) == -1)
    return -1;
  push->merge.in_hand = 0;
  return 0;
}

/* Fills the task with an intent that was left open: what became of it is looked up.  1, or 0 if that can't be asked
 * now. */
static int
take_up (struct push *push, const struct candidate *candidate, struct task *task)
{
  const struct change *change = &candidate->change;
  const bool moves = change->sent == PUSH_MOVE;
  const int64_t parent = change->sent_name ? change->sent_parent : candidate->item->parent;
  const char *name = change->sent_name ? change->sent_name : candidate->item->name;

  task->state = TASK_LOOKING;
  task->step = change->sent;
  if (task->path && !moves) {
    task->parent = change->base_parent;
    name = change->base_name;
  }
  else
    task->parent = parent;
  if (set_text (&task->name, name) == -1)
    return -1;
  if (task->path && set_text (&task->here.path, task->path) == -1)
    return -1;
  /* Gone with its folder, unless it was moved out of it before. */
  if (task->path == NULL && change->base_parent && !moves)
    return lost_base (push, task);
  if (task->path == NULL || moves) {
    CLEANUP_FREE char *folder = catalog_remote_path (push->db, parent);

    /* The folder is gone: then so is what we sent there. */
    if (folder == NULL)
      return change_clear_intent (push->db, task->item) == -1 ? -1 : 0;
    task->to = join (folder, name);
    if (task->to == NULL || set_text (&task->there.path, task->to) == -1)
      return -1;
  }
  task->mtime = change->sent_mtime;
  if (change->sent == PUSH_PUT && change->sent_version)
    return read_version (push, change->sent_version, task);
  if (!task->is_folder && candidate->item->version)
    return read_version (push, candidate->item->version, task);
  return 1;
}

/* A name that is held: 1 if the task can go all the same (it became another one), 0 if it waits. */
static int
wait_for_holder (struct push *push, int64_t id, struct task *task)
{
  struct candidate holder;
  bool circle = false;
  int64_t when;
  int r;

  if (task_is_running (push, id) || push_is_circle (push, id, task->item, &circle) == -1)
    return 0;
  if (!circle)
    return 0;
  r = candidate_read (push, id, &holder);
  if (r != 1)
    return r;
  r = 0;
  if (holder.change.sent == PUSH_NOTHING && holder.change.base_parent &&
      push_is_due (push->merge.now, holder.change.changed, holder.change.quiet, holder.change.tried,
                   holder.change.next_try,
                   &when) && !(holder.change.held && holder.step == PUSH_REMOVE)) {
    free (task->path);
    free (task->to);
    free (task->name);
    free (task->expect);
    free (task->checksum);
    task->to = task->name = task->expect = task->checksum = NULL;
    ranges_free (&task->ranges);
    task->state = TASK_SENT;
    task->item = id;
    task->is_folder = holder.item->is_folder;
    task->is_large = false;
    task->version = task->mtime = 0;
    task->path = catalog_remote_path (push->db, id);
    r = task->path == NULL ? 0 : read_base (push, &holder, task);
    if (r == 1)
      r = move_aside (push, &holder, task);
  }
  candidate_free (&holder);
  return r;
}

/* Zeros must not pass for bytes that somebody took out of the cache folder. */
static int
say_lost (struct push *push, const struct candidate *candidate)
{
  static const char lost[] = "its bytes are missing in the cache folder: files of that were removed or cut";

  if (said_first_time (push->said, candidate->item->name, lost))
    msg_error ("\"%s\" (changed by %s) can't be sent: %s", candidate->item->name,
               candidate->change.view ? candidate->change.view : "a view", lost);
  return change_failed (push->db, candidate->item->id, candidate->change.attempts + 1, push->merge.now,
                        push->merge.now + PUSH_PAUSE_MAX, lost);
}

/* What is sent of a version: changes over what the remote has, or all of it; or first all of it is to be fetched (task->state).
 * 1 or 0. */
static int
choose_bytes (struct push *push, const struct candidate *candidate, struct task *task)
{
  int64_t origin;
  int r = cache_is_whole (push->db, task->version, task->size);

  if (r == -1)
    return -1;
  task->has_whole = r == 1;
  r = kin_read_unsent (push->db, task->version, &origin, &task->own);
  if (r == -1)
    return -1;
  if (!task->has_whole && r == 0)
    return say_lost (push, candidate);
  r = task->path && task->expect ? kin_changes (push->db, task->version, task->base_version, &task->ranges, &task->base_size) : 0;
  if (r == -1)
    return -1;
  if (r == 0 || (task->has_whole && !push_is_worth_ranges (task->size, ranges_bytes (&task->ranges))))
    ranges_free (&task->ranges);
  if (task->ranges.n == 0 && !task->has_whole)
    task->state = TASK_FILLING;
  return 1;
}

/* 1 if the task can go, 0 if it must wait. */
static int
plan (struct push *push, const struct candidate *candidate, struct task *task)
{
  struct catalog_list children;
  int64_t holder;
  bool empty;
  int r;

  task->step = candidate->step;
  if (task->step == PUSH_REMOVE) {
    if (candidate->change.held)
      return 0;
    if (task->is_folder) {
      if (catalog_remote_children (push->db, task->item, &children) == -1)
        return -1;
      empty = children.n == 0;
      catalog_list_free (&children);
      if (!empty)
        return 0;
    }
  }
  if (task->step == PUSH_PUT) {
    /* What the remote alone had is lost with it. */
    r = version_is_ours (push->db, candidate->item->version);
    if (r == 0) {
      msg_error ("/%s is gone at the remote, and was not copied here before: it is gone", candidate->item->name);
      push->merge.changed = true;
      return local_set_gone (push->db, push->merge.revision, candidate->item, push->merge.now) == -1
             ? -1 : change_settle (push->db, task->item, NULL);
    }
    if (r == -1)
      return -1;
    r = read_version (push, candidate->item->version, task);
    if (r == 1)
      r = choose_bytes (push, candidate, task);
    if (r != 1)
      return r;
    /* Wherever it is to be: others may wait for it. */
    if (task->state == TASK_FILLING) {
      task->parent = candidate->item->parent;
      return set_text (&task->name, candidate->item->name) == -1 ? -1 : 1;
    }
  }
  task->mtime = time_to_ns (&candidate->item->mtime);
  if (task->step == PUSH_MKDIR || task->step == PUSH_MOVE || (task->step == PUSH_PUT && task->path == NULL)) {
    r = find_target (push, candidate, task);
    if (r != 1)
      return r;
    /* What somebody else's request of ours has done there is not known yet. */
    holder = change_intent_at (push->db, task->parent, task->name, task->item);
    if (holder != 0)
      return holder == -1 ? -1 : 0;
    holder = catalog_remote_child (push->db, task->parent, task->name);
    if (holder == -1)
      return -1;
    return holder == 0 || holder == task->item ? 1 : wait_for_holder (push, holder, task);
  }
  task->parent = candidate->change.base_parent;
  if (set_text (&task->name, candidate->change.base_name) == -1)
    return -1;
  return task->step == PUSH_PUT && set_text (&task->to, task->path) == -1 ? -1 : 1;
}

/* Whether it would replace or remove what has the missing part of another item's version, e.g. of one that was set apart from it: that
 * is fetched first. */
static int
is_stood_on (struct push *push, const struct task *task)
{
  int64_t *others;
  size_t n;
  int r = 0;

  if (task->base_version == 0 || (task->step != PUSH_PUT && task->step != PUSH_REMOVE))
    return 0;
  if (kin_read_others (push->db, task->base_version, task->item, &others, &n) == -1)
    return -1;
  for (size_t i = 0; i < n && r == 0; ++i) {
    uint64_t size, position;

    r = catalog_version_run (push->db, others[i], &size, &position);
    if (r == 1)
      r = cache_is_whole (push->db, others[i], size);
    r = r == -1 ? -1 : !r;
  }
  free (others);
  return r;
}

/* Makes the task of one change, if it can go now. */
static int
prepare (struct push *push, const struct candidate *candidate, struct task **ret)
{
  struct task *task = task_new (push, candidate->item->id);
  int r;

  *ret = NULL;
  if (task == NULL)
    return -1;
  task->is_folder = candidate->item->is_folder;
  r = 1;
  if (candidate->change.base_parent) {
    task->path = catalog_remote_path (push->db, task->item);
    if (task->path)
      r = read_base (push, candidate, task);
    else if (candidate->change.sent == PUSH_NOTHING)
      r = lost_base (push, task);
  }
  if (r == 1 && candidate->change.view && set_text (&task->view, candidate->change.view) == -1)
    r = -1;
  if (r == 1)
    r = candidate->change.sent != PUSH_NOTHING ? take_up (push, candidate, task) : plan (push, candidate, task);
  if (r == 1 && has_bytes (task) && task->is_large && push->n_large > 0 &&
      push->n_large + 1 > push->config.parallel * 3 / 4)
    r = 0;
  if (r == 1 && (task_is_running (push, task->item) || crosses (push, task)))
    r = 0;
  if (r == 1) {
    int adrift = is_adrift (push, task->parent);

    if (adrift == 0 && candidate->change.base_parent)
      adrift = is_adrift (push, candidate->change.base_parent);
    r = adrift == -1 ? -1 : !adrift;
  }
  if (r == 1 && task->state == TASK_SENT) {
    const int stood_on = is_stood_on (push, task);

    r = stood_on == -1 ? -1 : !stood_on;
  }
  if (r == 1 && task->state == TASK_SENT &&
      change_intend (push->db, task->item, task->step, task->step == PUSH_PUT ? task->version : 0, task->parent,
                     task->name,
                     task->mtime) == -1)
    r = -1;
  if (r == 1)
    *ret = task;
  else
    task_free (task);
  return r == -1 ? -1 : 0;
}

static int
look_at (struct push *push, int64_t id, struct task **ret)
{
  struct candidate candidate;
  int64_t when;
  int r;

  *ret = NULL;
  if (task_is_running (push, id))
    return 0;
  r = candidate_read (push, id, &candidate);
  if (r != 1)
    return r;
  r = 0;
  if (candidate.change.sent == PUSH_NOTHING && (candidate.step == PUSH_NOTHING || candidate.step == PUSH_FORGET))
    r = change_settle (push->db, id, NULL);
  else if (push_is_due (push->merge.now, candidate.change.changed, candidate.change.quiet, candidate.change.tried,
                        candidate.change.next_try, &when))
    r = prepare (push, &candidate, ret);
  candidate_free (&candidate);
  return r;
}

/* ---- the table ---- */

/* The next changes behind the cursor, as far as the clock does not rule them out. */
static int
next_rows (struct push *push, int64_t *ret, size_t *ret_n)
{
  sqlite3_stmt *stmt =
    db_stmt (push->db, "SELECT item FROM change WHERE item > ?1 AND (next_try <= ?2 OR tried > ?2)"
                       " AND (quiet = 0 OR changed + quiet < ?2 OR changed > ?2) ORDER BY item LIMIT 128");
  int r;

  *ret_n = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, push->cursor);
  sqlite3_bind_int64 (stmt, 2, push->merge.now);
  while ((r = db_row (stmt)) == 1)
    ret[(*ret_n)++] = sqlite3_column_int64 (stmt, 0);
  return r;
}

static int
find_wake_time (struct push *push)
{
  sqlite3_stmt *stmt =
    db_stmt (push->db, "SELECT min (due) FROM (SELECT max (next_try, CASE quiet WHEN 0 THEN 0 ELSE changed + quiet"
                       " + 1 END)"
                       " AS due FROM change) WHERE due > ?");
  int r;

  push->wake_at = 0;
  if (stmt == NULL)
    return -1;
  sqlite3_bind_int64 (stmt, 1, push->merge.now);
  r = db_row (stmt);
  if (r == 1) {
    push->wake_at = sqlite3_column_int64 (stmt, 0);
    sqlite3_reset (stmt);
  }
  return r == -1 ? -1 : 0;
}

int
push_next_tasks (struct push *push, struct task **ret, bool *ret_more)
{
  int64_t rows[ROWS_AT_ONCE];
  struct task **tail = ret;
  size_t n;

  *ret = NULL;
  *ret_more = false;
  if (next_rows (push, rows, &n) == -1)
    return -1;
  for (size_t i = 0; i < n && push->n_tasks < push->config.parallel; ++i) {
    struct task *task;

    if (look_at (push, rows[i], &task) == -1)
      return -1;
    push->cursor = rows[i];
    if (task == NULL)
      continue;
    /* At once, so that those after it see it. */
    task->next = push->tasks;
    push->tasks = task;
    push->n_tasks++;
    task->is_large &= has_bytes (task);
    push->n_large += task->is_large;
    task->next_arrived = NULL;
    *tail = task;
    tail = &task->next_arrived;
  }
  *ret_more = n == ROWS_AT_ONCE;
  if (n == ROWS_AT_ONCE || push->n_tasks == push->config.parallel)
    return 0;
  push->cursor = 0;
  return find_wake_time (push);
}
