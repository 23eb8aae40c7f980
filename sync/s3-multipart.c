/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects by parts: put and copied; and uploads that nobody goes on with, which are aborted by the first change that a
 * process makes.
 *
 * No checksum of ours is kept beside such an object, as an upload that is found may have been begun for another
 * version.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davtext.h"
#include "msg.h"
#include "s3-upload.h"

#define STALE_S (24 * 60 * 60)

static enum cloud_result
no_plan (struct s3_flow *flow, const char *key, enum s3_planned planned)
{
  return planned == S3_PLAN_NO_MEMORY ? s3_flow_no_memory (flow) :
    s3_flow_fail (flow, CLOUD_REFUSED, key, "S3 servers do not take objects of this size");
}

enum cloud_result
s3_multipart_put (struct s3_flow *flow)
{
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_meta meta = { .own = NULL };
  struct s3_upload upload;
  enum s3_planned planned;
  enum cloud_result result;

  s3_call_init (&call, "POST", flow->key);
  s3_upload_init (&upload, flow, flow->key, flow->size);
  upload.has_md5s = true;
  planned = s3_plan_whole (flow->size, false, &upload.plan);
  result = planned == S3_PLANNED ? s3_upload_find (&upload) : no_plan (flow, flow->key, planned);
  if (result == CLOUD_OK && upload.id == NULL) {
    s3_meta_make (flow, false, &meta);
    s3_meta_add (&meta, &call.request);
    s3_request_header (&call.request, "Content-Type", "application/octet-stream");
    result = s3_upload_create (&upload, &call);
  }
  if (result == CLOUD_OK)
    result = s3_upload_send (&upload);
  if (result == CLOUD_OK)
    result = s3_upload_complete (&upload, true, flow->expect, &flow->now);
  s3_upload_end (&upload, result);
  return result;
}

/* ---- copying ---- */

enum cloud_result
s3_multipart_copy (struct s3_flow *flow, const char *key, const char *token, uint64_t size, const char *to_key,
                   bool only_new, char **ret_token)
{
  CLEANUP_FREE char *source = s3_copy_source (flow->s3, key);
  CLEANUP_S3_CALL struct s3_call head, call;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  struct s3_upload upload;
  enum s3_planned planned;
  enum cloud_result result;

  s3_call_init (&head, "HEAD", key);
  s3_call_init (&call, "POST", to_key);
  if (source == NULL)
    return s3_flow_no_memory (flow);
  s3_upload_init (&upload, flow, to_key, size);
  upload.source = source;
  upload.source_token = token;
  planned = s3_plan_whole (size, true, &upload.plan);
  result = planned == S3_PLANNED ? s3_flow_head (flow, key, &seen, &head) : no_plan (flow, key, planned);
  if (result == CLOUD_OK && seen.what == S3_NOTHING)
    result = s3_flow_fail (flow, CLOUD_GONE, key, "there is no such object any more");
  else if (result == CLOUD_OK && strcmp (seen.token, token) != 0)
    result = s3_flow_fail (flow, CLOUD_CHANGED, key, "the object has another version by now");
  if (result == CLOUD_OK && s3_meta_copy (&head.answer, true, &call.request) == -1)
    result = s3_flow_fail (flow, CLOUD_REFUSED, key, "the object has metadata that cannot be copied");
  if (result == CLOUD_OK)
    result = s3_upload_create (&upload, &call);
  if (result == CLOUD_OK)
    result = s3_upload_send (&upload);
  if (result == CLOUD_OK)
    result = s3_upload_complete (&upload, only_new, NULL, &seen);
  if (result == CLOUD_OK && (seen.token == NULL || (*ret_token = strdup (seen.token)) == NULL))
    result = s3_flow_fail (flow, CLOUD_BUSY, to_key, "what was copied is not seen");
  /* Nothing of it is of use to a copy that is tried again. */
  s3_upload_end (&upload, result == CLOUD_OK || result == CLOUD_STOPPED ? result : CLOUD_REFUSED);
  return result;
}

/* ---- stale uploads ---- */

struct stale {
  struct s3_flow *flow;
  time_t before;
  char **keys, **ids;
  size_t n;
};

#define MOST_STALE 100

static int
on_stale_upload (void *opaque, const struct s3_entry *entry)
{
  struct stale *stale = opaque;

  if (entry->kind != S3_ENTRY_UPLOAD || entry->upload == NULL || entry->time.tv_sec == 0 ||
      entry->time.tv_sec > stale->before || stale->n == MOST_STALE)
    return 0;
  stale->keys[stale->n] = strdup (entry->key);
  stale->ids[stale->n] = strdup (entry->upload);
  stale->n++;
  return stale->keys[stale->n - 1] && stale->ids[stale->n - 1] ? 0 : -1;
}

/* Keeps the newest. */
static int
on_part_time (void *opaque, const struct s3_entry *entry)
{
  time_t *newest = opaque;

  if (entry->kind == S3_ENTRY_PART && entry->time.tv_sec > *newest)
    *newest = entry->time.tv_sec;
  return 0;
}

void
s3_multipart_sweep (struct s3_flow *flow)
{
  static const struct s3_xml_sink sink = { .entry = on_stale_upload }, part_sink = { .entry = on_part_time };
  struct stale stale = { .flow = flow, .keys = calloc (MOST_STALE, sizeof (char *)),
                         .ids = calloc (MOST_STALE, sizeof (char *)) };
  CLEANUP_S3_CALL struct s3_call call;
  CLEANUP_FREE char *sentence = flow->sentence;
  struct s3_document document = { NULL };
  const char *date;
  struct timespec now;

  flow->sentence = NULL;
  s3_call_init (&call, "GET", "");
  if (stale.keys && stale.ids) {
    s3_request_query (&call.request, "uploads", NULL);
    s3_request_query (&call.request, "prefix", flow->s3->url.prefix);
    s3_call_run (&call, flow->s3);
    date = s3_answer_header (&call.answer, "date");
    if (date && davtext_parse_time (date, &now) == 0) {
      stale.before = now.tv_sec - STALE_S;
      s3_flow_document (flow, &call, "ListMultipartUploadsResult", &sink, &stale, &document);
      s3_document_free (&document);
    }
  }
  for (size_t i = 0; i < stale.n; i++) {
    time_t newest = 0;

    if (stale.keys[i] && stale.ids[i] &&
        s3_upload_list_parts (flow, stale.keys[i], stale.ids[i], &part_sink, &newest) == CLOUD_OK &&
        newest <= stale.before) {
      msg_debug ("s3://%s/%s: an upload that nobody goes on with is aborted", flow->s3->url.bucket, stale.keys[i]);
      s3_upload_abort (flow, stale.keys[i], stale.ids[i]);
    }
    free (stale.keys[i]);
    free (stale.ids[i]);
  }
  free (stale.keys);
  free (stale.ids);
  free (flow->sentence);
  flow->sentence = sentence;
  sentence = NULL;
}
