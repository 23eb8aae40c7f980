/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving.
 *
 * A file by operations/movefile, a folder by sync/move where the remote moves folders at once.  Where it does not, a folder
 * is moved file by file: its new place gets a note first that says whose move this is, and only with this note a move may go
 * on into something that is there, after a stop in the middle.  At any moment each file is there at least once.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "rclone.h"

#define LONGEST_LISTING (400 * 1024 * 1024)

/* Seconds that rclone may be silent over a folder's move that the remote does at once. */
#define FOLDER_PATIENCE_S 600

/* Files of one folder at once. */
#define PARALLEL 8

/* ---- files ---- */

static enum cloud_result
move_file (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_file (flow, flow->path, &seen);

  if (result == CLOUD_OK)
    result = rclone_flow_judge (flow, flow->path, &seen);
  if (result == CLOUD_EXISTS)
    result = CLOUD_CHANGED;
  if (result == CLOUD_OK)
    result = rclone_flow_parent (flow, flow->to);
  if (result == CLOUD_OK)
    result = rclone_flow_keep_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = rclone_flow_nothing (flow, flow->to);
  if (result == CLOUD_OK)
    result = rclone_flow_move_file (flow, flow->path, flow->to, !flow->features.move);
  if (result == CLOUD_OK && rclone_flow_file (flow, flow->to, &flow->now) != CLOUD_OK)
    rclone_flow_no_memory (flow);
  return result;
}

/* ---- folders, at once ---- */

static enum cloud_result
move_at_once (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  CLEANUP_FREE char *from = rclone_remote_fs (&flow->rclone->remote, flow->path);
  CLEANUP_FREE char *to = rclone_remote_fs (&flow->rclone->remote, flow->to);
  enum cloud_result result;

  rclone_call_init (&call, flow->rclone, "sync/move", flow->path);
  if (from == NULL || to == NULL)
    return rclone_flow_no_memory (flow);
  call.patience_s = FOLDER_PATIENCE_S;
  rclone_call_text (&call, "srcFs", from);
  rclone_call_text (&call, "dstFs", to);
  rclone_call_flag (&call, NULL, "createEmptySrcDirs");
  rclone_call_flag (&call, NULL, "deleteEmptySrcDirs");
  result = rclone_flow_nothing (flow, flow->to);
  return result == CLOUD_OK ? rclone_flow_job (flow, &call, true) : result;
}

/* ---- folders, file by file ---- */

struct moved {
  char *from, *to;
  char *token;                 /* of a file; NULL: a folder */
};

struct tree {
  struct moved *items;
  size_t n, room;
};

static void
tree_clear (struct tree *tree)
{
  for (size_t i = 0; i < tree->n; i++) {
    free (tree->items[i].from);
    free (tree->items[i].to);
    free (tree->items[i].token);
  }
  free (tree->items);
}

#define CLEANUP_TREE __attribute__ ((cleanup (tree_clear)))

static int
tree_add (struct tree *tree, const char *path, const char *token, const char *from, const char *to)
{
  struct moved *item;

  if (tree->n == tree->room) {
    const size_t room = tree->room ? tree->room * 2 : 64;
    struct moved *longer = realloc (tree->items, room * sizeof *longer);

    if (longer == NULL)
      return -1;
    tree->items = longer;
    tree->room = room;
  }
  item = &tree->items[tree->n++];
  *item = (struct moved) { .from = strdup (path), .to = rclone_join (to, path + strlen (from) + 1),
                           .token = token ? strdup (token) : NULL };
  return item->from && item->to && (token == NULL || item->token) ? 0 : -1;
}

/* "a/b/c": names of items all the way. */
static bool
is_path_below (const char *path, const char *folder)
{
  const size_t len = strlen (folder);

  if (strncmp (path, folder, len) != 0 || path[len] != '/')
    return false;
  for (const char *at = path + len; *at == '/'; at += strcspn (at, "/")) {
    const size_t n = strcspn (++at, "/");

    if (n == 0 || (n == 1 && *at == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
      return false;
  }
  return true;
}

/* All below a folder, its own folders before what is in them. */
static enum cloud_result
list_tree (struct rclone_flow *flow, const char *folder, struct tree *tree)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  struct json_object *list;
  size_t n;

  rclone_call_init (&call, flow->rclone, "operations/list", folder);
  call.longest = LONGEST_LISTING;
  rclone_call_item (&call, folder);
  rclone_call_listing (&call, &flow->features);
  rclone_call_flag (&call, "opt", "recurse");
  if (rclone_call_run (&call) != CLOUD_OK)
    return rclone_flow_refuse (flow, &call);
  if (!json_object_object_get_ex (call.out, "list", &list) ||
      (list && !json_object_is_type (list, json_type_array)))
    return rclone_flow_fail (flow, CLOUD_BAD, folder, "this does not answer like rclone's remote control");
  n = list ? json_object_array_length (list) : 0;
  for (size_t i = 0; i < n; i++) {
    CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
    struct json_object *entry = json_object_array_get_idx (list, i), *path;
    const char *name, *why;

    if (!json_object_is_type (entry, json_type_object) || !json_object_object_get_ex (entry, "Path", &path) ||
        !json_object_is_type (path, json_type_string) || !is_path_below (json_object_get_string (path), folder))
      return rclone_flow_fail (flow, CLOUD_BAD, folder, "rclone's listing has an item that is not in the folder");
    switch (rclone_entry_read (entry, &flow->features, &seen, &name, &why)) {
    case 0:
      break;
    case 1:
      return rclone_flow_fail (flow, CLOUD_REFUSED, folder, "%s cannot be moved: %s", json_object_get_string (path), why);
    default:
      return why ? rclone_flow_fail (flow, CLOUD_BAD, folder, "rclone's listing has %s", why) :
        rclone_flow_no_memory (flow);
    }
    if (tree_add (tree, json_object_get_string (path), seen.token, folder, flow->to) == -1)
      return rclone_flow_no_memory (flow);
  }
  return CLOUD_OK;
}

static int
compare (const void *a, const void *b)
{
  return strcmp (((const struct moved *) a)->from, ((const struct moved *) b)->from);
}

/* What a stopped move has left at the new place must be a copy of what is to come there. */
static enum cloud_result
check_resumed (struct rclone_flow *flow, const struct tree *tree)
{
  for (size_t i = 0; i < tree->n; i++) {
    CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
    const struct moved *item = &tree->items[i];
    enum cloud_result result;

    if (item->token == NULL || rclone_is_own (strrchr (item->from, '/') + 1))
      continue;
    result = rclone_flow_file (flow, item->to, &seen);
    if (result == CLOUD_OK && seen.what == RCLONE_FILE && strcmp (seen.token, item->token) != 0)
      result = rclone_flow_fail (flow, CLOUD_EXISTS, item->to, "there is something by that name already");
    if (result != CLOUD_OK)
      return result;
  }
  return CLOUD_OK;
}

/* Several at once.  rclone finds a copy that is there, and then removes only the original. */
static enum cloud_result
move_files (struct rclone_flow *flow, const struct tree *tree)
{
  enum cloud_result result = CLOUD_OK;

  for (size_t i = 0; i < tree->n && result == CLOUD_OK;) {
    struct rclone_call calls[PARALLEL];
    size_t n = 0;

    for (; i < tree->n && n < PARALLEL; i++) {
      struct rclone_call *call = &calls[n];

      if (tree->items[i].token == NULL)
        continue;
      rclone_call_init (call, flow->rclone, "operations/movefile", tree->items[i].to);
      call->tells_changes = true;
      call->patience_s = FOLDER_PATIENCE_S;
      rclone_call_item_as (call, "srcFs", "srcRemote", tree->items[i].from);
      rclone_call_item_as (call, "dstFs", "dstRemote", tree->items[i].to);
      rclone_call_start (call);
      n++;
    }
    for (size_t k = 0; k < n; k++) {
      if (rclone_call_wait (&calls[k]) != CLOUD_OK && result == CLOUD_OK)
        result = rclone_flow_refuse (flow, &calls[k]);
      rclone_call_clear (&calls[k]);
    }
  }
  /* Half of it is at each place now: not as it was. */
  if (result != CLOUD_OK && !rclone_is_open_end (result))
    result = CLOUD_BUSY;
  return result;
}

static enum cloud_result
folder_call (struct rclone_flow *flow, const char *verb, const char *path)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;

  rclone_call_init (&call, flow->rclone, verb, path);
  rclone_call_item (&call, path);
  return rclone_flow_job (flow, &call, false);
}

static enum cloud_result
move_one_by_one (struct rclone_flow *flow)
{
  CLEANUP_TREE struct tree tree = { .items = NULL };
  CLEANUP_RCLONE_SEEN struct rclone_seen there = { .what = RCLONE_NOTHING };
  CLEANUP_FREE char *note = NULL;
  char name[64];
  const bool real = flow->features.empty_folders;
  bool resumed;
  enum cloud_result result;

  rclone_moving_name (flow->path, name);
  note = rclone_join (flow->to, name);
  if (note == NULL)
    return rclone_flow_no_memory (flow);
  result = rclone_flow_file (flow, note, &there);
  resumed = there.what == RCLONE_FILE;
  if (result == CLOUD_OK && !resumed)
    result = rclone_flow_nothing (flow, flow->to);
  if (result == CLOUD_OK)
    result = list_tree (flow, flow->path, &tree);
  if (result == CLOUD_OK && resumed)
    result = check_resumed (flow, &tree);
  if (result == CLOUD_OK && !resumed)
    result = rclone_flow_mark (flow, flow->to, name);
  if (result == CLOUD_OK && !real)
    result = rclone_flow_mark (flow, flow->to, RCLONE_MARKER);
  if (result != CLOUD_OK)
    return result;
  qsort (tree.items, tree.n, sizeof *tree.items, compare);
  for (size_t i = 0; i < tree.n && real && result == CLOUD_OK; i++)
    if (tree.items[i].token == NULL)
      result = folder_call (flow, "operations/mkdir", tree.items[i].to);
  if (result == CLOUD_OK)
    result = move_files (flow, &tree);
  /* What somebody has put there meanwhile keeps its folder. */
  for (size_t i = tree.n; i-- > 0 && real && result == CLOUD_OK;)
    if (tree.items[i].token == NULL)
      folder_call (flow, "operations/rmdir", tree.items[i].from);
  if (result == CLOUD_OK && real)
    folder_call (flow, "operations/rmdir", flow->path);
  if (result == CLOUD_OK)
    result = rclone_flow_delete (flow, note);
  return result;
}

static enum cloud_result
move_folder (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_file (flow, flow->path, &seen);

  if (result == CLOUD_OK && seen.what == RCLONE_FILE)
    return rclone_flow_fail (flow, CLOUD_CHANGED, flow->path, "this is a file by now, not a folder");
  if (result == CLOUD_OK)
    result = rclone_flow_folder (flow, flow->path, &seen, NULL, NULL);
  if (result == CLOUD_OK && seen.what == RCLONE_NOTHING)
    result = rclone_flow_fail (flow, CLOUD_GONE, flow->path, "there is no such folder");
  if (result == CLOUD_OK)
    result = rclone_flow_parent (flow, flow->to);
  if (result == CLOUD_OK)
    result = rclone_flow_keep_parent (flow, flow->path);
  if (result != CLOUD_OK)
    return result;
  known_folders_forget (&flow->rclone->folders, flow->path);
  result = flow->features.move_folder ? move_at_once (flow) : move_one_by_one (flow);
  if (result == CLOUD_OK)
    flow->now.what = RCLONE_FOLDER;
  return result;
}

void
rclone_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
             const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_change ((struct rclone *) cloud, path, to, expect, sink, opaque);
  const size_t len = strlen (path);
  enum cloud_result result;

  if (flow == NULL)
    return;
  if (*path == '\0' || (strncmp (path, to, len) == 0 && (to[len] == '/' || to[len] == '\0')))
    result = rclone_flow_fail (flow, CLOUD_REFUSED, path, "nothing can be moved into itself");
  else
    result = rclone_flow_may_name (flow, to);
  if (result == CLOUD_OK)
    rclone_flow_begin (flow, RCLONE_CHANGES, is_folder ? move_folder : move_file);
  else
    rclone_flow_end (flow, result);
}
