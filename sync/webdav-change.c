/* SPDX-License-Identifier: BSD-3-Clause */
/* MKCOL, MOVE, DELETE and PROPPATCH (RFC 4918, 9), each under a condition that the server is known to honour, or
 * right after a look where it honours none.
 *
 * DELETE of a folder takes all that is in it, so a folder is listed first, and the condition names the folder's own
 * entity tag, where it has one: with servers whose tags change with what is in a folder, nothing can slip in
 * between.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davchange.h"

/* A folder that changes all the time is left to another time. */
#define MAX_TRIES 3

/* Moving what is large takes some servers long. */
#define MOVE_PATIENCE_S 120

static void
ended_by_refusal (struct davchange *change)
{
  davchange_end_failed (change);
}

/* Ends the change unless the last look found the version that is meant.  True: go on. */
static bool
is_as_expected (struct davchange *change)
{
  enum cloud_result verdict;

  if (change->result != CLOUD_OK) {
    davchange_end_failed (change);
    return false;
  }
  verdict = davchange_judge (change, &change->seen);
  if (verdict == CLOUD_OK)
    return true;
  davchange_end_because (change, verdict, verdict == CLOUD_GONE ? "there is no such item any more" :
                         "the item has another version by now");
  return false;
}

/* What was there when the answer came is of no use to somebody who knows better: only its version is. */
static void
end_with_what_is_there (struct davchange *change)
{
  const bool good = change->result == CLOUD_OK && change->seen.what != DAVSEEN_NOTHING &&
    (change->seen.what == DAVSEEN_FOLDER) == change->is_folder;

  davchange_end (change, CLOUD_OK, NULL, good ? &change->seen : NULL);
}

/* ---- mkdir ---- */

static void
made (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (!davchange_succeeded (change))
    davchange_explain (change, ended_by_refusal);
  else
    davchange_look (change, change->path, 0, end_with_what_is_there);
}

static void
make (struct davchange *change)
{
  const struct davrequest request = { .method = "MKCOL", .path = change->path, .is_folder = true };

  davchange_send (change, &request, made);
}

static void
make_looked (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (change->seen.what != DAVSEEN_NOTHING)
    davchange_end_because (change, CLOUD_EXISTS, "there is something by that name already");
  else
    make (change);
}

static void
make_first (struct davchange *change)
{
  if (change->conduct.mkdir_new)
    make (change);
  else
    davchange_look (change, change->path, 0, make_looked);
}

/* ---- move ---- */

static void
moved_seen (struct davchange *change)
{
  /* The server keeps the token, so another one is of a later change by somebody else. */
  if (change->result == CLOUD_OK && change->conduct.move_token && change->expect &&
      (change->seen.token == NULL || strcmp (change->seen.token, change->expect) != 0))
    davchange_end (change, CLOUD_OK, NULL, NULL);
  else
    end_with_what_is_there (change);
}

/* The source is gone and the target is what the source was: the request had been carried out, and was sent again when
 * the connection died. */
static void
move_refused_seen (struct davchange *change)
{
  if (change->result == CLOUD_OK && change->seen.token && strcmp (change->seen.token, change->expect) == 0) {
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
    return;
  }
  davchange_end (change, change->final, change->final_sentence, NULL);
}

static void
move_refused (struct davchange *change)
{
  if (change->result != CLOUD_GONE || change->expect == NULL || !change->conduct.move_token) {
    davchange_end_failed (change);
    return;
  }
  change->final = change->result;
  change->final_sentence = change->sentence;
  change->sentence = NULL;
  davchange_look (change, change->to, 0, move_refused_seen);
}

static void
moved (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (!davchange_succeeded (change))
    davchange_explain (change, move_refused);
  else if (change->is_folder)
    davchange_end (change, CLOUD_OK, NULL, NULL);
  else
    davchange_look (change, change->to, 0, moved_seen);
}

static void
move (struct davchange *change)
{
  const struct davrequest request = {
    .method = "MOVE",
    .path = change->path,
    .is_folder = change->is_folder,
    .to = change->to,
    .form = davchange_form (change->conduct.move, change->expect),
    .condition_path = change->path,
    .token = change->expect,
    .patience_s = MOVE_PATIENCE_S,
  };

  davchange_send (change, &request, moved);
}

static void
move_looked_at_source (struct davchange *change)
{
  if (is_as_expected (change))
    move (change);
}

static void
move_look_at_source (struct davchange *change)
{
  if (change->expect && davchange_form (change->conduct.move, change->expect) == DAVFORM_NONE)
    davchange_look (change, change->path, 0, move_looked_at_source);
  else
    move (change);
}

static void
move_looked_at_target (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (change->seen.what != DAVSEEN_NOTHING)
    davchange_end_because (change, CLOUD_EXISTS, "there is something by the new name already");
  else
    move_look_at_source (change);
}

static void
move_first (struct davchange *change)
{
  if (change->conduct.move_new)
    move_look_at_source (change);
  else
    davchange_look (change, change->to, 0, move_looked_at_target);
}

/* ---- remove ---- */

static void remove_look (struct davchange *change);

static void
removed (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (davchange_succeeded (change))
    davchange_end (change, CLOUD_OK, NULL, NULL);
  /* Something came into the folder, or went. */
  else if (change->is_folder && (change->status == 412 || change->status == 424) && ++change->tries < MAX_TRIES)
    remove_look (change);
  else
    davchange_explain (change, ended_by_refusal);
}

static void
remove_now (struct davchange *change, const char *token)
{
  const struct davrequest request = {
    .method = "DELETE",
    .path = change->path,
    .is_folder = change->is_folder,
    .form = change->is_folder && !change->conduct.remove_folder ? DAVFORM_NONE :
      davchange_form (change->conduct.remove, token),
    .condition_path = change->path,
    .token = token,
    .patience_s = MOVE_PATIENCE_S,
  };

  davchange_send (change, &request, removed);
}

static void
remove_looked_again (struct davchange *change)
{
  if (is_as_expected (change))
    davchange_end_because (change, CLOUD_BAD, "the server does not list this folder");
}

static void
remove_looked (struct davchange *change)
{
  if (!change->is_folder) {
    if (is_as_expected (change))
      remove_now (change, NULL);
    return;
  }
  /* Apache's answer to a file's URL with a slash behind it is 400. */
  if (change->result != CLOUD_OK && change->result != CLOUD_BAD)
    davchange_end_failed (change);
  else if (change->result == CLOUD_BAD || change->seen.what != DAVSEEN_FOLDER)
    davchange_look (change, change->path, 0, remove_looked_again);
  else if (change->seen.has_children)
    davchange_end_because (change, CLOUD_EXISTS, "the folder is not empty");
  else
    remove_now (change, change->seen.token);
}

static void
remove_look (struct davchange *change)
{
  davchange_look (change, change->path, change->is_folder ? 1 : 0, remove_looked);
}

static void
remove_first (struct davchange *change)
{
  if (change->is_folder || davchange_form (change->conduct.remove, change->expect) == DAVFORM_NONE)
    remove_look (change);
  else
    remove_now (change, change->expect);
}

static void
litter_removed (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
}

/* It comes from a listing, perhaps of somebody who only reads: so nothing is tried for it on the server, and no condition is
 * relied upon.  Nobody writes into a folder of that name. */
void
webdav_remove_litter (struct webdav *dav, const char *path)
{
  static const struct cloud_change_sink sink = { .done = litter_removed };
  struct davchange *change = davchange_new (dav, DAVVERB_REMOVE, path, &sink, NULL);

  if (change == NULL)
    return;
  change->is_folder = true;
  remove_look (change);
}

/* ---- touch ---- */

static void
touched_seen (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (change->seen.what == DAVSEEN_FILE && change->seen.mtime.tv_sec == change->mtime.tv_sec &&
           change->seen.size == change->stored.size)
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  else
    davchange_end_because (change, CLOUD_REFUSED, "the server does not take the time of change");
}

static void
touch_refused (struct davchange *change)
{
  if (change->result == CLOUD_BUSY && change->facts.status != 423)
    change->result = CLOUD_REFUSED;
  davchange_end_failed (change);
}

static void
touched (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (!davchange_succeeded (change))
    davchange_explain (change, touch_refused);
  else
    davchange_look (change, change->path, 0, touched_seen);
}

static void
touch_looked (struct davchange *change)
{
  CLEANUP_FREE char *xml = NULL;
  struct davrequest request = {
    .method = "PROPPATCH",
    .path = change->path,
    .form = davchange_form (change->conduct.put, change->expect),
    .condition_path = change->path,
    .token = change->expect,
  };

  if (!is_as_expected (change))
    return;
  davseen_take (&change->stored, &change->seen);
  xml = davconduct_touch (change->conduct.touch, &change->mtime);
  if (xml == NULL) {
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
    return;
  }
  request.xml = xml;
  davchange_send (change, &request, touched);
}

static void
touch_first (struct davchange *change)
{
  if (change->conduct.touch == DAVTOUCH_NONE)
    davchange_end_because (change, CLOUD_REFUSED, "the server has no way to set the time of change");
  else
    davchange_look (change, change->path, 0, touch_looked);
}

/* ---- the verbs ---- */

/* Copies a string into a new change.  False: there was no memory, and the change has ended. */
static bool
set (struct davchange *change, char **to, const char *from)
{
  if (from == NULL || (*to = strdup (from)) != NULL)
    return true;
  davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
  return false;
}

void
webdav_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  struct davchange *change = davchange_new ((struct webdav *) cloud, DAVVERB_MKDIR, path, sink, opaque);

  if (change == NULL)
    return;
  change->is_folder = true;
  if (davchange_may_name (change, path))
    davmanners_await (change, make_first);
}

void
webdav_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
             const struct cloud_change_sink *sink, void *opaque)
{
  struct davchange *change = davchange_new ((struct webdav *) cloud, DAVVERB_MOVE, path, sink, opaque);
  const size_t len = strlen (path);

  if (change == NULL || !set (change, &change->to, to) || !set (change, &change->expect, expect))
    return;
  change->is_folder = is_folder;
  if (!davchange_may_name (change, to))
    return;
  /* nginx says 201, and the tree is gone. */
  if (strncmp (to, path, len) == 0 && to[len] == '/')
    davchange_end_because (change, CLOUD_REFUSED, "a folder cannot be moved into itself");
  else
    davmanners_await (change, move_first);
}

void
webdav_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
               const struct cloud_change_sink *sink, void *opaque)
{
  struct davchange *change = davchange_new ((struct webdav *) cloud, DAVVERB_REMOVE, path, sink, opaque);

  if (change == NULL || !set (change, &change->expect, expect))
    return;
  change->is_folder = is_folder;
  if (*path == '\0')
    davchange_end_because (change, CLOUD_REFUSED, "the remote itself is not removed");
  else
    davmanners_await (change, remove_first);
}

void
webdav_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
              const struct cloud_change_sink *sink, void *opaque)
{
  struct davchange *change = davchange_new ((struct webdav *) cloud, DAVVERB_TOUCH, path, sink, opaque);

  if (change == NULL || !set (change, &change->expect, expect))
    return;
  change->mtime = *mtime;
  davmanners_await (change, touch_first);
}
