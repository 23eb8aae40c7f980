/* SPDX-License-Identifier: BSD-3-Clause */
/* Making folders, removing, and setting the time of change. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "rclone.h"

/* ---- mkdir ---- */

static enum cloud_result
make (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  enum cloud_result result;

  rclone_call_init (&call, flow->rclone, "operations/mkdir", flow->path);
  rclone_call_item (&call, flow->path);
  result = rclone_flow_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = rclone_flow_nothing (flow, flow->path);
  if (result == CLOUD_OK)
    result = flow->features.empty_folders ? rclone_flow_job (flow, &call, false) :
      rclone_flow_mark (flow, flow->path, RCLONE_MARKER);
  if (result == CLOUD_OK) {
    known_folders_saw (&flow->rclone->folders, flow->path, !flow->features.empty_folders);
    flow->now.what = RCLONE_FOLDER;
  }
  return result;
}

void
rclone_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_change ((struct rclone *) cloud, path, NULL, NULL, sink, opaque);
  enum cloud_result result;

  if (flow == NULL)
    return;
  result = rclone_flow_may_name (flow, path);
  if (result == CLOUD_OK)
    rclone_flow_begin (flow, RCLONE_CHANGES, make);
  else
    rclone_flow_end (flow, result);
}

/* ---- remove ---- */

/* Where there are no empty folders, the folder that something goes from gets its marker first. */
enum cloud_result
rclone_flow_keep_parent (struct rclone_flow *flow, const char *path)
{
  CLEANUP_FREE char *parent = rclone_parent (path);
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = CLOUD_OK;
  bool marker = false;

  if (flow->features.empty_folders)
    return CLOUD_OK;
  if (parent == NULL)
    return rclone_flow_no_memory (flow);
  /* A bucket stays by itself. */
  if (*parent == '\0' && strchr (flow->rclone->remote.path, '/') == NULL)
    return CLOUD_OK;
  known_folders_has (&flow->rclone->folders, parent, &marker);
  if (!marker)
    result = rclone_flow_folder (flow, parent, &seen, NULL, &marker);
  if (result == CLOUD_OK && !marker) {
    result = rclone_flow_mark (flow, parent, RCLONE_MARKER);
    if (result == CLOUD_OK)
      known_folders_saw (&flow->rclone->folders, parent, true);
  }
  return result;
}

static enum cloud_result
remove_file (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_keep_parent (flow, flow->path);

  if (result == CLOUD_OK)
    result = rclone_flow_file (flow, flow->path, &seen);
  if (result == CLOUD_OK)
    result = rclone_flow_judge (flow, flow->path, &seen);
  /* What is a folder by now is another version of what was to go. */
  if (result == CLOUD_EXISTS)
    result = CLOUD_CHANGED;
  return result == CLOUD_OK ? rclone_flow_delete (flow, flow->path) : result;
}

/* rclone's local remotes remove also a file by rmdir: that this is a folder is known by the listing right before. */
static enum cloud_result
remove_folder (struct rclone_flow *flow)
{
  CLEANUP_FREE char *marker_path = rclone_join (flow->path, RCLONE_MARKER);
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  CLEANUP_RCLONE_CALL struct rclone_call call;
  bool children = false, marker = false;
  enum cloud_result result;

  rclone_call_init (&call, flow->rclone, "operations/rmdir", flow->path);
  rclone_call_item (&call, flow->path);
  if (marker_path == NULL)
    return rclone_flow_no_memory (flow);
  result = rclone_flow_file (flow, flow->path, &seen);
  if (result == CLOUD_OK && seen.what == RCLONE_FILE)
    return rclone_flow_fail (flow, CLOUD_CHANGED, flow->path, "this is a file by now, not a folder");
  if (result == CLOUD_OK)
    result = rclone_flow_keep_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = rclone_flow_folder (flow, flow->path, &seen, &children, &marker);
  if (result != CLOUD_OK)
    return result;
  if (seen.what == RCLONE_NOTHING)
    return rclone_flow_fail (flow, CLOUD_GONE, flow->path, "there is no such folder");
  if (children)
    return rclone_flow_fail (flow, CLOUD_EXISTS, flow->path, "the folder is not empty");
  known_folders_forget (&flow->rclone->folders, flow->path);
  if (marker)
    result = rclone_flow_delete (flow, marker_path);
  if (result == CLOUD_OK && flow->features.empty_folders)
    result = rclone_flow_job (flow, &call, false);
  return result;
}

void
rclone_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
               const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_change ((struct rclone *) cloud, path, NULL, expect, sink, opaque);

  if (flow == NULL)
    return;
  if (*path == '\0')
    rclone_flow_end (flow, rclone_flow_fail (flow, CLOUD_REFUSED, path, "the remote itself is not removed"));
  else
    rclone_flow_begin (flow, RCLONE_CHANGES, is_folder ? remove_folder : remove_file);
}

/* ---- touch ---- */

/* Remote control has no verb for it, but it can run rclone's commands.  Those find the configuration only where we have
 * started it. */
static enum cloud_result
touch (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  CLEANUP_FREE char *target = rclone_remote_fs (&flow->rclone->remote, flow->path);
  struct json_object *args = json_object_new_array ();
  char text[40], stamp[64];
  enum cloud_result result;
  struct tm tm;

  rclone_call_init (&call, flow->rclone, "core/command", flow->path);
  if (args == NULL || call.in == NULL || target == NULL || gmtime_r (&flow->mtime.tv_sec, &tm) == NULL) {
    json_object_put (args);
    return rclone_flow_no_memory (flow);
  }
  strftime (text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf (stamp, sizeof stamp, "%s.%09ld", text, flow->mtime.tv_nsec);
  json_object_array_add (args, json_object_new_string ("--no-create"));
  json_object_array_add (args, json_object_new_string ("--timestamp"));
  json_object_array_add (args, json_object_new_string (stamp));
  json_object_array_add (args, json_object_new_string (target));
  json_object_object_add (call.in, "arg", args);
  rclone_call_text (&call, "command", "touch");

  if (flow->rclone->daemon == NULL || !flow->features.keeps_mtime)
    return rclone_flow_fail (flow, CLOUD_REFUSED, flow->path, "the remote has no way to set a time");
  result = rclone_flow_file (flow, flow->path, &seen);
  if (result == CLOUD_OK)
    result = rclone_flow_judge (flow, flow->path, &seen);
  if (result == CLOUD_EXISTS)
    result = CLOUD_CHANGED;
  if (result != CLOUD_OK)
    return result;
  result = rclone_flow_job (flow, &call, false);
  if (result == CLOUD_OK)
    result = rclone_flow_file (flow, flow->path, &flow->now);
  if (result == CLOUD_OK && (flow->now.what != RCLONE_FILE || flow->now.mtime.tv_sec != flow->mtime.tv_sec)) {
    rclone_seen_clear (&flow->now);
    result = rclone_flow_fail (flow, CLOUD_REFUSED, flow->path, "the remote did not take the time");
  }
  return result;
}

void
rclone_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
              const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_change ((struct rclone *) cloud, path, NULL, expect, sink, opaque);

  if (flow == NULL)
    return;
  flow->mtime = *mtime;
  rclone_flow_begin (flow, RCLONE_CHANGES, touch);
}
