/* SPDX-License-Identifier: BSD-3-Clause */
/* A version of which little differs from the one that it replaces: the server copies what has not changed from its own
 * object into an upload by parts (UploadPartCopy), and the rest is sent.
 *
 * Parts have at least 5 MiB, so with a small change its surroundings are sent; where they are not known here they are
 * fetched first.  Both are of the version that is replaced: gets name it, copies name it where the server honours that,
 * and the upload is completed only while it still is there.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "msg.h"
#include "s3-body.h"
#include "s3-upload.h"

/* Bytes of one part that are put together in memory. */
#define MOST_PATCHED (64ULL << 20)

/* ---- what is not known here ---- */

struct fetching {
  struct s3_body *body;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  unsigned pending;
  enum cloud_result result;    /* the first that is not CLOUD_OK */
  char *sentence;
};

static int
on_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct fetching *fetching = opaque;
  const struct s3_body *body = fetching->body;

  if (offset < body->offset || offset - body->offset > body->length || n > body->length - (offset - body->offset))
    return -1;
  memcpy (body->bytes + (offset - body->offset), buf, n);
  return 0;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct fetching *fetching = opaque;

  LOCK_FOR_SCOPE (&fetching->lock);
  if (result != CLOUD_OK && fetching->result == CLOUD_OK) {
    fetching->result = result;
    fetching->sentence = sentence ? strdup (sentence) : NULL;
  }
  if (--fetching->pending == 0)
    pthread_cond_signal (&fetching->cond);
}

static bool
fetch (void *opaque, uint64_t offset, uint64_t length)
{
  static const struct cloud_get_sink sink = { .data = on_data, .done = on_done };
  struct fetching *fetching = opaque;
  struct s3_flow *flow = fetching->body->flow;
  const struct cloud_get get = {
    .path = flow->path,
    .token = flow->expect,
    .size = flow->base_size,
    .offset = offset,
    .length = length,
  };

  {
    LOCK_FOR_SCOPE (&fetching->lock);
    fetching->pending++;
  }
  s3_get (&flow->s3->cloud, &get, &sink, fetching);
  return true;
}

static bool
is_any (void *opaque, uint64_t offset, uint64_t length)
{
  return false;
}

/* The changes that lie in it. */
static int
read_changes (struct s3_body *body)
{
  struct s3_flow *flow = body->flow;
  const uint64_t end = body->offset + body->length;

  for (size_t i = 0; i < flow->n_ranges; i++) {
    const uint64_t range_end = flow->ranges[i].offset + flow->ranges[i].length;
    const uint64_t from = flow->ranges[i].offset > body->offset ? flow->ranges[i].offset : body->offset;
    const uint64_t to = range_end < end ? range_end : end;

    if (from < to && flow->read (flow->opaque, body->bytes + (from - body->offset), to - from, from) == -1)
      return -1;
  }
  return 0;
}

enum cloud_result
s3_patch_body (struct s3_body *body)
{
  struct s3_flow *flow = body->flow;
  const struct s3_part part = { .offset = body->offset, .length = body->length };
  struct fetching fetching = {
    .body = body,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .cond = PTHREAD_COND_INITIALIZER,
    .pending = 1,              /* ours */
    .result = CLOUD_OK,
  };

  if (flow->n_ranges == 0 || flow->has_whole ||
      s3_plan_unchanged (&part, flow->ranges, flow->n_ranges, is_any, NULL))
    return CLOUD_OK;
  body->bytes = malloc (body->length);
  if (body->bytes == NULL)
    return s3_flow_no_memory (flow);
  s3_plan_unchanged (&part, flow->ranges, flow->n_ranges, fetch, &fetching);
  if (read_changes (body) == -1)
    on_done (&fetching, CLOUD_LOCAL, "the content cannot be read");
  else
    on_done (&fetching, CLOUD_OK, NULL);
  {
    LOCK_FOR_SCOPE (&fetching.lock);
    while (fetching.pending > 0)
      pthread_cond_wait (&fetching.cond, &fetching.lock);
  }
  pthread_cond_destroy (&fetching.cond);
  pthread_mutex_destroy (&fetching.lock);
  if (fetching.result != CLOUD_OK) {
    free (flow->sentence);
    flow->sentence = fetching.sentence;
  }
  return fetching.result;
}

/* ---- the upload ---- */

/* Whether there is a plan that is worth it. */
static bool
make_plan (struct s3_flow *flow, struct s3_plan *plan)
{
  if (flow->expect == NULL || atomic_load (&flow->s3->no_ranges) ||
      s3_plan_ranges (flow->size, flow->ranges, flow->n_ranges, plan) != S3_PLANNED ||
      !s3_plan_pays (plan, flow->size, flow->base_size, flow->has_whole))
    return false;
  for (size_t i = 0; i < plan->n && !flow->has_whole; i++)
    if (!plan->parts[i].copied && plan->parts[i].length > MOST_PATCHED &&
        !s3_plan_unchanged (&plan->parts[i], flow->ranges, flow->n_ranges, is_any, NULL))
      return false;
  return true;
}

static enum cloud_result
send (struct s3_upload *upload)
{
  struct s3_flow *flow = upload->flow;
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_meta meta = { .own = NULL };
  enum cloud_result result;

  s3_call_init (&call, "POST", flow->key);
  result = s3_flow_look_before (flow);
  if (result == CLOUD_OK)
    result = s3_upload_find (upload);
  if (result == CLOUD_OK && upload->id == NULL) {
    /* A checksum would be of the version before, or of one for which an upload that is found was begun. */
    s3_meta_make (flow, false, &meta);
    s3_meta_add (&meta, &call.request);
    s3_request_header (&call.request, "Content-Type", "application/octet-stream");
    result = s3_upload_create (upload, &call);
  }
  if (result == CLOUD_OK)
    result = s3_upload_send (upload);
  /* Refused, and there all the same: the next one goes without, as completing looks again. */
  if (result == CLOUD_CHANGED) {
    result = s3_flow_look_before (flow);
    if (result == CLOUD_OK) {
      atomic_store (&flow->s3->odd_tags, true);
      result = CLOUD_REFUSED;
    }
  }
  if (upload->cannot_copy) {
    atomic_store (&flow->s3->no_ranges, true);
    result = CLOUD_REFUSED;
  }
  /* A server that takes the range for something else has copied all of it. */
  if (result == CLOUD_OK && !atomic_load (&flow->s3->copies_ranges)) {
    result = s3_upload_verify (upload);
    if (result == CLOUD_OK)
      atomic_store (&flow->s3->copies_ranges, true);
    else if (result == CLOUD_REFUSED)
      atomic_store (&flow->s3->no_ranges, true);
  }
  return result == CLOUD_OK ? s3_upload_complete (upload, true, flow->expect, &flow->now) : result;
}

enum cloud_result
s3_patch_put (struct s3_flow *flow)
{
  CLEANUP_FREE char *source = s3_copy_source (flow->s3, flow->key);
  struct s3_upload upload;
  enum cloud_result result = CLOUD_WHOLE;

  s3_upload_init (&upload, flow, flow->key, flow->size);
  upload.source = source;
  upload.source_token = atomic_load (&flow->s3->odd_tags) ? NULL : flow->expect;
  upload.has_md5s = true;
  if (source == NULL)
    result = s3_flow_no_memory (flow);
  else if (make_plan (flow, &upload.plan)) {
    msg_debug ("s3://%s/%s: %llu of %llu bytes are sent, in %zu parts", flow->s3->url.bucket, flow->key,
               (unsigned long long) upload.plan.sent, (unsigned long long) flow->size, upload.plan.n);
    result = send (&upload);
  }
  if (result == CLOUD_REFUSED) {
    msg_debug ("%s: it goes up whole", flow->sentence ? flow->sentence : flow->key);
    result = CLOUD_WHOLE;
  }
  s3_upload_end (&upload, result);
  return result;
}
