/* SPDX-License-Identifier: BSD-3-Clause */
/* Making folders, removing, and setting the time of change. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "s3-flow.h"

#define COPY_PATIENCE_S 300

/* "KEY/", malloc'ed. */
static char *
folder_key (const struct s3_flow *flow)
{
  return s3_url_key (&flow->s3->url, flow->path, true);
}

/* ---- mkdir ---- */

static enum cloud_result
make (struct s3_flow *flow)
{
  CLEANUP_FREE char *key = folder_key (flow);
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;

  if (key == NULL)
    return s3_flow_no_memory (flow);
  result = s3_manners_await (flow);
  if (result == CLOUD_OK)
    result = s3_flow_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = s3_flow_no_folder (flow, flow->key);
  if (result == CLOUD_OK)
    result = s3_flow_head (flow, flow->key, &seen, NULL);
  if (result == CLOUD_OK && seen.what != S3_NOTHING)
    result = s3_flow_fail (flow, CLOUD_EXISTS, flow->key, "there is a file by that name already");
  if (result == CLOUD_OK)
    result = s3_flow_marker (flow, key, true, NULL);
  if (result == CLOUD_OK) {
    known_folders_saw (&flow->s3->folders, flow->path, true);
    flow->now.what = S3_FOLDER;
  }
  return result;
}

void
s3_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = s3_flow_new ((struct s3 *) cloud, path, sink, opaque);
  enum cloud_result result;

  if (flow == NULL)
    return;
  result = s3_flow_may_name (flow, path);
  if (result == CLOUD_OK)
    s3_flow_begin (flow, make);
  else
    s3_flow_end (flow, result);
}

/* ---- remove ---- */

/* The folder that it is in gets its marker first: with the last key below it a folder would be gone. */
static enum cloud_result
remove_file (struct s3_flow *flow)
{
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result = s3_manners_await (flow);

  if (result == CLOUD_OK && flow->expect == NULL) {
    result = s3_flow_head (flow, flow->key, &seen, NULL);
    if (result == CLOUD_OK)
      result = s3_flow_judge (flow, flow->key, &seen);
  }
  if (result == CLOUD_OK)
    result = s3_flow_keep_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = s3_flow_delete (flow, flow->key, flow->expect ? flow->expect : seen.token);
  return result;
}

/* Nothing but the marker may be below it.  Who puts something there meanwhile has a folder again by that. */
static enum cloud_result
remove_folder (struct s3_flow *flow)
{
  CLEANUP_FREE char *key = folder_key (flow);
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;

  if (key == NULL)
    return s3_flow_no_memory (flow);
  result = s3_manners_await (flow);
  if (result == CLOUD_OK)
    result = s3_flow_folder (flow, key, &seen);
  if (result != CLOUD_OK)
    return result;
  if (seen.what == S3_NOTHING) {
    result = s3_flow_head (flow, flow->key, &seen, NULL);
    if (result == CLOUD_OK && seen.what == S3_FILE)
      return s3_flow_fail (flow, CLOUD_CHANGED, flow->key, "this is a file by now, not a folder");
    return result == CLOUD_OK ? s3_flow_fail (flow, CLOUD_GONE, key, "there is no such folder") : result;
  }
  if (seen.has_children)
    return s3_flow_fail (flow, CLOUD_EXISTS, key, "the folder is not empty");
  result = s3_flow_keep_parent (flow, flow->path);
  known_folders_forget (&flow->s3->folders, flow->path);
  if (result == CLOUD_OK)
    result = s3_flow_discard (flow, key);
  return result;
}

void
s3_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
           const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = s3_flow_new ((struct s3 *) cloud, path, sink, opaque);

  if (flow == NULL)
    return;
  flow->expect = expect ? strdup (expect) : NULL;
  if (expect && flow->expect == NULL)
    s3_flow_end (flow, CLOUD_LOCAL);
  else if (*path == '\0')
    s3_flow_end (flow, s3_flow_fail (flow, CLOUD_REFUSED, flow->key, "the remote itself is not removed"));
  else
    s3_flow_begin (flow, is_folder ? remove_folder : remove_file);
}

/* ---- touch ---- */

/* A copy onto itself, with all of the object's metadata but the time. */
static enum cloud_result
copy_in_place (struct s3_flow *flow, const struct s3_call *head, const struct s3_meta *meta, char **ret_token)
{
  CLEANUP_FREE char *source = s3_copy_source (flow->s3, flow->key);
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;
  int status;

  s3_call_init (&call, "PUT", flow->key);
  if (source == NULL)
    return s3_flow_no_memory (flow);
  call.request.body = "";
  call.request.once = true;
  call.request.patience_s = COPY_PATIENCE_S;
  if (s3_meta_copy (&head->answer, false, &call.request) == -1)
    return s3_flow_fail (flow, CLOUD_REFUSED, flow->key, "the object has metadata that cannot be kept");
  s3_meta_add (meta, &call.request);
  s3_request_header (&call.request, "x-amz-copy-source", source);
  s3_request_header (&call.request, "x-amz-metadata-directive", "REPLACE");
  s3_copy_condition (&call.request, flow->now.token);
  status = s3_call_run (&call, flow->s3);
  if (status == 412)
    return s3_flow_fail (flow, CLOUD_CHANGED, flow->key, "the object has another version by now");
  result = s3_flow_document (flow, &call, "CopyObjectResult", NULL, NULL, &document);
  *ret_token = document.etag ? s3_token (document.etag) : NULL;
  s3_document_free (&document);
  return result;
}

static enum cloud_result
touch (struct s3_flow *flow)
{
  CLEANUP_S3_CALL struct s3_call head;
  struct s3_seen *now = &flow->now;
  struct s3_meta meta;
  enum cloud_result result = s3_manners_await (flow);
  char *token = NULL;

  s3_call_init (&head, "HEAD", flow->key);
  if (result == CLOUD_OK)
    result = s3_flow_head (flow, flow->key, now, &head);
  if (result == CLOUD_OK)
    result = s3_flow_judge (flow, flow->key, now);
  if (result == CLOUD_OK && now->size > S3_SINGLE_COPY)
    result = s3_flow_fail (flow, CLOUD_REFUSED, flow->key,
                           "S3 cannot change the metadata of objects of more than 5 GiB");
  if (result != CLOUD_OK)
    return result;
  flow->size = now->size;
  if (now->checksum && strncmp (now->checksum, "MD5:", 4) != 0)
    flow->checksum = strdup (now->checksum);
  if (s3_meta_make (flow, true, &meta) == -1)
    return s3_flow_no_memory (flow);
  result = copy_in_place (flow, &head, &meta, &token);
  free (meta.own);
  if (result != CLOUD_OK)
    return result;
  if (token == NULL)
    s3_seen_clear (now);
  else {
    free (now->token);
    now->token = token;
    now->mtime = flow->mtime;
    now->arrival = false;
  }
  return CLOUD_OK;
}

void
s3_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
          const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = s3_flow_new ((struct s3 *) cloud, path, sink, opaque);

  if (flow == NULL)
    return;
  flow->expect = expect ? strdup (expect) : NULL;
  flow->mtime = *mtime;
  if (expect && flow->expect == NULL)
    s3_flow_end (flow, CLOUD_LOCAL);
  else
    s3_flow_begin (flow, touch);
}
