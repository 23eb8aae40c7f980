/* SPDX-License-Identifier: BSD-3-Clause */
/* Push: what follows from how a request ended.
 *
 * Where the answer says that it is done, what the remote has now becomes the base, in the same transaction that ends
 * the intent.  Where the remote has something else than was expected, or where nobody knows, the item is looked at;
 * what is there and is not ours is merged by the same code as a listing (merge.h). */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "cleanup.h"
#include "db.h"
#include "health.h"
#include "kin.h"
#include "listing.h"
#include "msg.h"
#include "push-private.h"
#include "said.h"

/* The task's item as it is by now: views may have changed it meanwhile. */
struct now {
  struct catalog_list list, remote;
  const struct catalog_item *item;     /* local */
  const struct catalog_item *base;     /* what the remote had, or NULL */
  struct change change;
};

/* 1, or 0 if there is nothing to be told of it any more. */
static int
read_now (struct push *push, int64_t id, struct now *ret)
{
  int r;

  memset (ret, 0, sizeof *ret);
  r = change_read (push->db, id, &ret->change);
  if (r == 1)
    r = catalog_any_item (push->db, id, &ret->list);
  if (r == 1)
    r = catalog_remote_item (push->db, id, &ret->remote) == -1 ? -1 : 1;
  ret->item = ret->list.n ? &ret->list.items[0] : NULL;
  ret->base = ret->remote.n ? &ret->remote.items[0] : NULL;
  return r;
}

static void
free_now (struct now *now)
{
  change_free (&now->change);
  catalog_list_free (&now->list);
  catalog_list_free (&now->remote);
}

static const char *
path_for_people (const struct task *task)
{
  return task->to ? task->to : task->path ? task->path : task->name;
}

static void
pause_for_people (unsigned s, char *buf, size_t n)
{
  if (s < 120)
    snprintf (buf, n, "%u seconds", s);
  else if (s < 7200)
    snprintf (buf, n, "%u minutes", s / 60);
  else
    snprintf (buf, n, "%u hours", s / 3600);
}

static void
say_failure (struct push *push, const struct task *task, enum cloud_result result, unsigned pause, const char *sentence)
{
  char again[32];

  /* What is said by who watches the remote, or is mended by looking at it. */
  if (result == CLOUD_OFFLINE || result == CLOUD_STOPPED || result == CLOUD_AUTH || push_shows_change (result))
    return;
  if (!said_first_time (push->said, path_for_people (task), sentence))
    return;
  pause_for_people (pause, again, sizeof again);
  msg_error ("/%s (changed by %s) is not at the remote yet: %s; it is kept here and tried again in %s",
             path_for_people (task), task->view && task->view[0] ? task->view : "a view", sentence, again);
}

/* This try came to nothing. */
static int
fail (struct push *push, struct task *task, const struct now *now, enum cloud_result result, const char *sentence)
{
  const int64_t attempts = now->change.attempts + (result != CLOUD_STOPPED);
  const unsigned pause = push_pause (result, attempts);

  task->state = TASK_OVER;
  if (result == CLOUD_GONE || result == CLOUD_PARENT)
    push->suspicious = true;
  if (result == CLOUD_STOPPED) {
    push->halted = true;
    return 0;
  }
  say_failure (push, task, result, pause, sentence);
  return change_failed (push->db, task->item, attempts, push->merge.now, push->merge.now + pause,
                        push_shows_change (result) ? now->change.error : sentence);
}

/* The same, and it is known that nothing was done. */
static int
fail_undone (struct push *push, struct task *task, const struct now *now, enum cloud_result result,
             const char *sentence)
{
  if (change_clear_intent (push->db, task->item) == -1)
    return -1;
  return fail (push, task, now, result, sentence);
}

static int
look_again (struct task *task, bool here, bool there)
{
  task->state = TASK_LOOKING;
  task->same = SAME_UNKNOWN;
  if (here && task->here.path == NULL && task->path)
    task->here.path = strdup (task->path);
  if (there && task->there.path == NULL && task->to)
    task->there.path = strdup (task->to);
  if (task->here.path || task->there.path)
    return 0;
  msg_error ("out of memory");
  return -1;
}

/* Where to look for what became of a request. */
static int
look_what (struct task *task)
{
  return look_again (task, task->path != NULL, task->path == NULL || task->step == PUSH_MOVE);
}

/* ---- done ---- */

/* What counts as done has ended well: errors of earlier tries are forgotten. */
static int
is_done (struct push *push, struct task *task)
{
  task->state = TASK_OVER;
  return change_failed (push->db, task->item, 0, push->merge.now, 0, NULL);
}

static int
done_removed (struct push *push, struct task *task)
{
  sqlite3_stmt *stmt = db_stmt (push->db, "UPDATE item SET remote_id = NULL, token = NULL WHERE id = ?");

  if (stmt == NULL || is_done (push, task) == -1)
    return -1;
  sqlite3_bind_int64 (stmt, 1, task->item);
  if (db_run (stmt) == -1 || change_clear_base (push->db, task->item) == -1 ||
      change_clear_intent (push->db, task->item) == -1)
    return -1;
  return change_settle (push->db, task->item, NULL);
}

/* The remote took the bytes, but kept others: that is what has to be replaced by the next try. */
static int
kept_other_bytes (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  const int64_t version = catalog_add_version (push->db, push->blobs, task->item, seen);
  char sentence[200];

  if (version == -1 || catalog_supersede (push->db, version) == -1 ||
      change_set_base (push->db, task->item, task->parent, task->name, version, time_to_ns (&seen->mtime)) == -1)
    return -1;
  if (seen->size != task->size)
    snprintf (sentence, sizeof sentence, "the server took it, but kept %llu of its %llu bytes",
              (unsigned long long) seen->size, (unsigned long long) task->size);
  else
    snprintf (sentence, sizeof sentence, "the server took it, but its checksum says that it kept other bytes");
  return fail_undone (push, task, now, CLOUD_BAD, sentence);
}

static int
done_with (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  const bool is_put = task->step == PUSH_PUT;
  const int64_t version = is_put ? task->version : task->is_folder ? 0 : now->change.base_version;
  enum verdict_same same = SAME_UNKNOWN;

  if (version && version_compare_seen (push->db, version, seen, &same) == -1)
    return -1;
  if (is_put && same == SAME_NO)
    return kept_other_bytes (push, task, now, seen);
  /* A remote may give another token after a move or a new time.  But where the size or the checksum is another one,
   * so is the content, and the next listing tells. */
  if (same == SAME_NO) {
    if (change_set_base (push->db, task->item, task->parent, task->name, version, now->change.base_mtime) == -1 ||
        change_clear_intent (push->db, task->item) == -1 || change_settle (push->db, task->item, NULL) == -1)
      return -1;
    push->suspicious = true;
    return is_done (push, task);
  }
  if (is_done (push, task) == -1)
    return -1;
  if (is_put && push_keep (&push->settled, &push->n_settled, &push->settled_room, version) == -1)
    return -1;
  return merge_sent (&push->merge, task->item, version, task->parent, task->name,
                     task->step == PUSH_MOVE ? now->change.base_mtime : task->mtime, seen);
}

/* ---- what a look shows ---- */

/* Two looks at once would be one too many: nothing is certain until all that were asked for have an answer. */
static enum cloud_result
look_failure (const struct task *task)
{
  if (task->here.path && task->here.result != CLOUD_OK && task->here.result != CLOUD_GONE)
    return task->here.result;
  if (task->there.path && task->there.result != CLOUD_OK && task->there.result != CLOUD_GONE)
    return task->there.result;
  return CLOUD_OK;
}

/* Why a look failed, for people. */
static const char *
look_sentence (const struct task *task, enum cloud_result failure)
{
  const struct look *look = task->here.path && task->here.result == failure ? &task->here : &task->there;

  return look->listing ? look->listing->sentence : cloud_result_name (failure);
}

static const struct cloud_item *
seen_in (const struct look *look)
{
  return look->path && look->result == CLOUD_OK ? &look->listing->items[0] : NULL;
}

/* What is there has another name of ours: as a listing of the folder would show it. */
static struct cloud_item
with_name (const struct cloud_item *seen, const char *name)
{
  struct cloud_item item = *seen;

  item.name = name;
  return item;
}

/* Which version's bytes a look is compared with: the one that was sent, else what the item has now. */
static int64_t
compared_version (const struct task *task, const struct now *now)
{
  if (now->change.sent == PUSH_PUT)
    return now->change.sent_version;
  return now->item->version;
}

/* Whether what is there is that version.  1: *ret says so; 0: it is being found out. */
static int
is_ours (struct push *push, struct task *task, const struct now *now, int64_t version, const struct cloud_item *seen,
         enum verdict_same *ret)
{
  int64_t origin;
  int whole;

  *ret = task->same;
  if (*ret == SAME_UNKNOWN && version_compare_seen (push->db, version, seen, ret) == -1)
    return -1;
  if (*ret == SAME_UNKNOWN && version_is_ours (push->db, version) != 1)
    *ret = SAME_NO;
  if (*ret != SAME_UNKNOWN)
    return 1;
  ranges_free (&task->own);
  if (version_read (push->db, version, &task->size, &task->position, NULL) != 1 ||
      kin_read_unsent (push->db, version, &origin, &task->own) == -1 ||
      (whole = cache_is_whole (push->db, version, task->size)) == -1)
    return -1;
  /* A part that is the same says that our request was done, if there was one.  Else it says nothing of what somebody else changed in
   * the rest. */
  if (!whole && now->change.sent != PUSH_PUT) {
    *ret = SAME_NO;
    return 1;
  }
  task->version = version;
  task->state = TASK_COMPARING;
  return 0;
}

static int
end_look (struct push *push, struct task *task)
{
  task->state = TASK_OVER;
  return change_settle (push->db, task->item, NULL);
}

/* The item is not where the remote had it. */
static int
judge_vanished (struct push *push, struct task *task, const struct now *now)
{
  const bool edited = !now->item->gone && !task->is_folder && now->item->version != now->change.base_version;

  if (now->item->gone)
    return done_removed (push, task);
  /* An edit is sent anew at once.  But where the remote tells identities, it may have been moved: a listing knows. */
  if (edited && now->item->remote_id == NULL) {
    if (change_clear_intent (push->db, task->item) == -1 || merge_gone (&push->merge, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  return fail_undone (push, task, now, CLOUD_GONE, "it is not where it was at the remote");
}

/* The item is there, in another version than the remote had. */
static int
judge_changed (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  const int64_t version = compared_version (task, now);
  /* Also what was removed here since it was sent. */
  const bool edited = now->change.sent == PUSH_PUT || (!now->item->gone && version != now->change.base_version);
  enum verdict_same same = SAME_NO;

  /* The time that we asked for: who wrote to it meanwhile changed it. */
  if (now->change.sent == PUSH_TOUCH && seen->size == now->base->size &&
      seen->mtime.tv_sec == now->change.sent_mtime / 1000000000) {
    task->step = PUSH_TOUCH;
    task->mtime = now->change.sent_mtime;
    return done_with (push, task, now, seen);
  }
  if (edited) {
    const int r = is_ours (push, task, now, version, seen, &same);

    if (r != 1)
      return r;
    if (same == SAME_YES && now->change.sent == PUSH_PUT) {
      task->step = PUSH_PUT;
      task->version = version;
      return done_with (push, task, now, seen);
    }
    if (version != now->item->version)
      same = SAME_UNKNOWN;
  }
  if (change_clear_intent (push->db, task->item) == -1 || merge_known (&push->merge, now->base, seen, same) == -1)
    return -1;
  return end_look (push, task);
}

static int
judge_here (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  int64_t id;

  if (seen == NULL)
    return judge_vanished (push, task, now);
  if (seen->is_folder != task->is_folder) {
    const struct cloud_item item = with_name (seen, task->name);

    if (change_clear_intent (push->db, task->item) == -1 || merge_gone (&push->merge, task->item) == -1 ||
        merge_new (&push->merge, task->parent, &item, SAME_NO, &id) == -1)
      return -1;
    return end_look (push, task);
  }
  if (!catalog_same_version (now->base, seen))
    return judge_changed (push, task, now, seen);
  /* Not done.  A folder that was to go is not empty: something is in it that nobody here knew, so both stay. */
  if (task->is_folder && now->item->gone && task->step == PUSH_REMOVE && task->result == CLOUD_EXISTS) {
    msg_notice ("/%s was removed by %s, but the remote has more in it than was known here: it comes back",
                path_for_people (task), task->view && task->view[0] ? task->view : "a view");
    push->suspicious = push->merge.changed = true;
    if (change_clear_intent (push->db, task->item) == -1 ||
        local_revive_folder (push->db, push->merge.revision, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  if (now->change.sent == PUSH_LOOK || task->result == CLOUD_OK) {
    if (change_clear_intent (push->db, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  return fail_undone (push, task, now, task->result, task->sentence);
}

/* The remote had nothing of the item, as far as we knew. */
static int
judge_there (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  const bool same_kind = seen && seen->is_folder == task->is_folder;
  enum verdict_same same = SAME_NO;
  struct cloud_item item;
  int64_t id, holder;

  holder = catalog_remote_child (push->db, task->parent, task->name);
  if (holder == -1)
    return -1;
  if (seen == NULL || holder) {        /* what is there is another item of ours */
    if (task->result != CLOUD_OK && now->change.sent != PUSH_LOOK)
      return fail_undone (push, task, now, task->result, task->sentence);
    if (change_clear_intent (push->db, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  if (same_kind && task->is_folder) {
    task->step = PUSH_MKDIR;
    return done_with (push, task, now, seen);
  }
  if (same_kind) {
    const int64_t version = compared_version (task, now);
    const int r = is_ours (push, task, now, version, seen, &same);

    if (r != 1)
      return r;
    if (same == SAME_YES) {
      task->step = PUSH_PUT;
      task->version = version;
      return done_with (push, task, now, seen);
    }
    if (version != now->item->version)
      same = SAME_UNKNOWN;
  }
  item = with_name (seen, task->name);
  if (change_clear_intent (push->db, task->item) == -1 ||
      merge_new (&push->merge, task->parent, &item, same, &id) == -1)
    return -1;
  return end_look (push, task);
}

/* Something has the name that a move was to give, and the remote's tree does not have it: ours steps aside. */
static int
judge_occupied (struct push *push, struct task *task, const struct now *now, const struct cloud_item *seen)
{
  const struct cloud_item item = with_name (seen, task->name);
  const int64_t holder = catalog_remote_child (push->db, task->parent, task->name);
  int64_t id;

  if (holder == -1)
    return -1;
  if (holder)
    return fail_undone (push, task, now, CLOUD_EXISTS, "its new name is taken at the remote");
  if (change_clear_intent (push->db, task->item) == -1 ||
      merge_new (&push->merge, task->parent, &item, SAME_NO, &id) == -1)
    return -1;
  return end_look (push, task);
}

/* Whether what is at a place is the item as the remote had it: by its identity, where the remote gives any, else by its
 * content.  Some remotes give another token to what was moved; who wrote to it meanwhile changed its time. */
static bool
is_the_item (const struct now *now, const struct cloud_item *seen)
{
  if (seen == NULL || seen->is_folder != now->item->is_folder)
    return false;
  if (seen->id && now->item->remote_id)
    return strcmp (seen->id, now->item->remote_id) == 0;
  if (seen->is_folder || catalog_same_version (now->base, seen))
    return true;
  return now->base->size == seen->size && now->change.base_mtime != 0 &&
         time_to_ns (&seen->mtime) == now->change.base_mtime;
}

static int
judge_move (struct push *push, struct task *task, const struct now *now, const struct cloud_item *here,
            const struct cloud_item *there)
{
  const bool is_here = is_the_item (now, here), is_there = is_the_item (now, there);
  const bool by_id = is_there && there->id && now->item->remote_id;

  if (is_there && (by_id || !is_here)) {
    const bool same = task->is_folder || catalog_same_version (now->base, there) || task->known_done ||
                      (now->base->size == there->size && time_to_ns (&there->mtime) == now->change.base_mtime);

    if (same)
      return done_with (push, task, now, there);
    /* It is where we moved it, but in another version. */
    if (change_set_base (push->db, task->item, task->parent, task->name, now->change.base_version,
                         now->change.base_mtime) == -1 || change_clear_intent (push->db, task->item) == -1)
      return -1;
    push->suspicious = true;
    return end_look (push, task);
  }
  if (here == NULL)
    return fail_undone (push, task, now, CLOUD_GONE, "it is not where it was at the remote");
  /* It may be in between; the remote knows whether it was ours, and goes on then. */
  if (is_here && is_there && push->cloud->ops->move_copies && task->result != CLOUD_EXISTS) {
    if (change_clear_intent (push->db, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  if (there && strncmp (task->name, PUSH_MOVING_PREFIX, strlen (PUSH_MOVING_PREFIX)) != 0)
    return judge_occupied (push, task, now, there);
  if (task->result == CLOUD_OK) {      /* an open intent of the process before this one */
    if (change_clear_intent (push->db, task->item) == -1)
      return -1;
    return end_look (push, task);
  }
  return fail_undone (push, task, now, task->result, task->sentence);
}

static int
judge_look (struct push *push, struct task *task, const struct now *now)
{
  const enum cloud_result failure = look_failure (task);
  const struct cloud_item *here = seen_in (&task->here), *there = seen_in (&task->there);

  health_report (push->health, failure, look_sentence (task, failure));
  if (failure != CLOUD_OK)
    return fail (push, task, now, failure, "the remote can't be asked what became of it");
  if ((here && !here->is_folder && here->token == NULL) || (there && !there->is_folder && there->token == NULL))
    return fail (push, task, now, CLOUD_BAD, "the server gives no version for it");
  if (task->known_done) {
    const struct cloud_item *seen = there ? there : here;

    if (seen && seen->is_folder == task->is_folder)
      return done_with (push, task, now, seen);
  }
  if (now->change.sent == PUSH_MOVE && now->base)
    return judge_move (push, task, now, here, there);
  if (task->here.path)
    return now->base ? judge_here (push, task, now, here) : end_look (push, task);
  return judge_there (push, task, now, there);
}

/* ---- how a request ended ---- */

/* The remote can't put it together from what it has. */
static int
send_whole (struct push *push, struct task *task, const struct now *now)
{
  if (task->has_whole || task->step != PUSH_PUT)
    return fail_undone (push, task, now, CLOUD_BAD, "the remote asks for a whole file that it was given");
  if (change_clear_intent (push->db, task->item) == -1)
    return -1;
  task->state = TASK_FILLING;
  return 0;
}

/* What was missing of a version is here by now, and the next look sends it; or it can't be had. */
static int
judge_filled (struct push *push, struct task *task, const struct now *now)
{
  struct kin_source source;
  int where;

  task->state = TASK_OVER;
  if (task->result == CLOUD_OK || now->item->version != task->version)
    return 0;
  where = kin_find (push->db, task->version, &source);
  kin_source_free (&source);
  if (where == -1)
    return -1;
  if (where == KIN_NOWHERE)
    return fail (push, task, now, CLOUD_REFUSED, "its unchanged part is gone from the remote, where it was replaced before it"
                                                 " was copied here");
  push->suspicious = true;
  return fail (push, task, now, health_is_away (push->health) ? CLOUD_OFFLINE : CLOUD_BUSY, "its unchanged part, which is not here, can't be fetched from the remote now");
}

static int
judge_sent (struct push *push, struct task *task, const struct now *now)
{
  health_report (push->health, task->result, task->sentence);
  if (task->result == CLOUD_OK) {
    if (task->step == PUSH_REMOVE)
      return done_removed (push, task);
    if (task->has_now && task->now.is_folder == task->is_folder)
      return done_with (push, task, now, &task->now);
    task->known_done = true;
    return task->to ? look_again (task, false, true) : look_again (task, true, false);
  }
  if (task->result == CLOUD_PARENT)
    return fail_undone (push, task, now, CLOUD_PARENT, task->sentence);
  if (push_shows_change (task->result))
    return look_what (task);
  if (task->result == CLOUD_WHOLE)
    return send_whole (push, task, now);
  if (push_may_be_done (task->result))
    return fail (push, task, now, task->result, task->sentence);
  if (task->step == PUSH_TOUCH && task->result == CLOUD_REFUSED) {
    /* The remote can't keep times: then its own is what everybody sees. */
    if (local_set_mtime (push->db, push->merge.revision, now->item, now->change.base_mtime) == -1 ||
        change_clear_intent (push->db, task->item) == -1)
      return -1;
    push->merge.changed = true;
    return end_look (push, task);
  }
  return fail_undone (push, task, now, task->result, task->sentence);
}

static int
judge_compared (struct push *push, struct task *task, const struct now *now)
{
  if (task->same != SAME_UNKNOWN)
    return judge_look (push, task, now);
  health_report (push->health, task->result, task->sentence);
  return fail (push, task, now, task->result, task->sentence);
}

int
task_judge (struct push *push, struct task *task)
{
  static const char *const states[] = { "asked", "looked", "compared", "filled", "" };
  struct now now;
  int r = read_now (push, task->item, &now);

  msg_debug ("push: item %lld /%s step %d %s: %s, here %s, there %s", (long long) task->item, path_for_people (task),
             task->step,
             states[task->state], cloud_result_name (task->result),
             task->here.path ? cloud_result_name (task->here.result) : "-",
             task->there.path ? cloud_result_name (task->there.result) : "-");

  push->merge.in_hand = task->item;
  if (r == 1) {
    switch (task->state) {
    case TASK_SENT:
      r = judge_sent (push, task, &now);
      break;
    case TASK_LOOKING:
      task->same = SAME_UNKNOWN;
      r = judge_look (push, task, &now);
      break;
    case TASK_COMPARING:
      r = judge_compared (push, task, &now);
      break;
    case TASK_FILLING:
      r = judge_filled (push, task, &now);
      break;
    default:
      r = 0;
    }
  }
  else
    task->state = TASK_OVER;
  free_now (&now);
  push->merge.in_hand = 0;
  return r == -1 ? -1 : 0;
}
