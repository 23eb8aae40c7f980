/* SPDX-License-Identifier: BSD-3-Clause */
/* PutObject of a file's whole content.  An object is there whole or not at all, so it goes directly to its place, under
 * a condition; where the server honours none, after a look.  Large files go by parts (s3-multipart.c), and of those of
 * which little has changed only that does (s3-patch.c). */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davtext.h"
#include "s3-body.h"

/* Bytes that are hashed at once. */
#define STEP (256 * 1024)

/* Bytes that a slow server stores in a second after it has got them. */
#define SERVER_RATE (20 * 1024 * 1024)

/* ---- bodies ---- */

void
s3_md5_text (const unsigned char digest[16], char hex[33])
{
  for (int i = 0; i < 16; i++)
    sprintf (hex + 2 * i, "%02x", digest[i]);
}

void
s3_body_init (struct s3_body *body, struct s3_flow *flow, uint64_t offset, uint64_t length)
{
  memset (body, 0, sizeof *body);
  body->flow = flow;
  body->offset = offset;
  body->length = length;
  body->md5 = EVP_MD_CTX_new ();
}

static int
body_bytes (struct s3_body *body, void *buf, size_t n, uint64_t offset)
{
  struct s3_flow *flow = body->flow;

  if (body->bytes == NULL)
    return flow->read (flow->opaque, buf, n, body->offset + offset);
  memcpy (buf, body->bytes + offset, n);
  return 0;
}

/* On the transfer thread.  A body that is sent again begins at 0 again. */
static int
body_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct s3_body *body = opaque;

  if (body_bytes (body, buf, n, offset) == -1)
    return -1;
  if (body->md5 && offset == 0) {
    EVP_DigestInit_ex (body->md5, EVP_md5 (), NULL);
    body->at = 0;
  }
  if (body->md5 && offset == body->at) {
    EVP_DigestUpdate (body->md5, buf, n);
    body->at += n;
  }
  return 0;
}

/* Reads all of it through a digest. */
static enum cloud_result
read_digest (struct s3_body *body, const EVP_MD *kind, unsigned char *digest)
{
  struct s3_flow *flow = body->flow;
  CLEANUP_FREE char *buf = malloc (STEP);
  EVP_MD_CTX *context = EVP_MD_CTX_new ();
  enum cloud_result result = CLOUD_OK;

  if (buf == NULL || context == NULL || !EVP_DigestInit_ex (context, kind, NULL))
    result = s3_flow_no_memory (flow);
  for (uint64_t at = 0; result == CLOUD_OK && at < body->length;) {
    const size_t n = body->length - at < STEP ? body->length - at : STEP;

    if (body_bytes (body, buf, n, at) == -1)
      result = s3_flow_fail (flow, CLOUD_LOCAL, flow->key, "the content cannot be read");
    else
      EVP_DigestUpdate (context, buf, n);
    at += n;
  }
  if (result == CLOUD_OK)
    EVP_DigestFinal_ex (context, digest, NULL);
  EVP_MD_CTX_free (context);
  return result;
}

enum cloud_result
s3_body_attach (struct s3_body *body, struct s3_request *request)
{
  enum cloud_result result = CLOUD_OK;
  unsigned char digest[32];

  request->read = body_read;
  request->read_opaque = body;
  request->read_len = body->length;
  request->payload = NULL;
  if (!body->flow->s3->url.secure) {
    result = read_digest (body, EVP_sha256 (), digest);
    for (size_t i = 0; result == CLOUD_OK && i < sizeof digest; i++)
      sprintf (body->sha256 + 2 * i, "%02x", digest[i]);
    request->payload = body->sha256;
  }
  return result;
}

bool
s3_body_md5 (struct s3_body *body, unsigned char digest[16])
{
  if (body->md5 == NULL || body->at != body->length)
    return false;
  /* Nothing was read. */
  if (body->length == 0)
    EVP_DigestInit_ex (body->md5, EVP_md5 (), NULL);
  return EVP_DigestFinal_ex (body->md5, digest, NULL) == 1;
}

enum cloud_result
s3_body_read_md5 (struct s3_body *body, unsigned char digest[16])
{
  return read_digest (body, EVP_md5 (), digest);
}

void
s3_body_clear (struct s3_body *body)
{
  EVP_MD_CTX_free (body->md5);
  body->md5 = NULL;
  free (body->bytes);
  body->bytes = NULL;
}

bool
s3_got_other_bytes (struct s3 *s3, const struct s3_answer *answer, const unsigned char digest[16])
{
  const char *etag = s3_answer_header (answer, "etag");
  const char *sse = s3_answer_header (answer, "x-amz-server-side-encryption");
  CLEANUP_FREE char *token = etag ? davtext_normal_etag (etag, NULL) : NULL;
  char theirs[33], ours[33];

  /* Encrypted otherwise than with the service's own key, an object has a tag that is no MD5. */
  if (token == NULL || !atomic_load (&s3->tags_are_md5) || !s3_token_md5 (token, theirs) ||
      (sse && strcmp (sse, "AES256") != 0) ||
      s3_answer_header (answer, "x-amz-server-side-encryption-customer-algorithm"))
    return false;
  s3_md5_text (digest, ours);
  return strcmp (ours, theirs) != 0;
}

/* ---- one request ---- */

enum cloud_result
s3_flow_look_before (struct s3_flow *flow)
{
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result = s3_flow_head (flow, flow->key, &seen, NULL);

  if (result != CLOUD_OK)
    return result;
  if (flow->expect)
    return s3_flow_judge (flow, flow->key, &seen);
  if (seen.what != S3_NOTHING)
    return s3_flow_fail (flow, CLOUD_EXISTS, flow->key, "there is something by that name already");
  return CLOUD_OK;
}

/* Refused by the condition.  libcurl sends again what it sent on a connection that died: where the first had arrived,
 * the second is refused, and what is there is ours. */
static enum cloud_result
explain (struct s3_flow *flow, const char *ours, const char *mtime)
{
  struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result = s3_flow_head (flow, flow->key, &seen, NULL);

  if (result == CLOUD_OK && seen.what == S3_FILE && strcmp (seen.token, ours) == 0 && seen.size == flow->size &&
      (*mtime == '\0' || (seen.mtime_text && strcmp (seen.mtime_text, mtime) == 0))) {
    flow->now = seen;
    return CLOUD_OK;
  }
  if (result == CLOUD_OK && flow->expect == NULL && seen.what == S3_FILE)
    result = s3_flow_fail (flow, CLOUD_EXISTS, flow->key, "there is something by that name already");
  else if (result == CLOUD_OK && flow->expect)
    result = s3_flow_judge (flow, flow->key, &seen);
  if (result == CLOUD_OK)
    result = s3_flow_fail (flow, CLOUD_BUSY, flow->key, "somebody else changes this at the same time");
  s3_seen_clear (&seen);
  return result;
}

/* What the object is now, as its answer and we know it. */
static enum cloud_result
stored (struct s3_flow *flow, const struct s3_answer *answer)
{
  const char *etag = s3_answer_header (answer, "etag");
  struct s3_seen *now = &flow->now;

  if (etag == NULL)
    return CLOUD_OK;
  now->token = davtext_normal_etag (etag, NULL);
  if (now->token == NULL)
    return CLOUD_OK;             /* it is done; who wants to know looks */
  now->what = S3_FILE;
  now->size = flow->size;
  now->mtime = flow->mtime;
  now->arrival = flow->mtime.tv_sec == 0;
  now->checksum = flow->checksum ? strdup (flow->checksum) : NULL;
  return CLOUD_OK;
}

static enum cloud_result
put_at_once (struct s3_flow *flow, struct s3_body *body, const struct s3_meta *meta)
{
  const enum s3_form form = flow->conduct.put;
  CLEANUP_FREE char *condition = flow->expect ? s3_condition (form, flow->expect) : NULL;
  CLEANUP_S3_CALL struct s3_call call;
  char hex[33], ours[40] = "";
  unsigned char digest[16];
  enum cloud_result result;
  int status;

  s3_call_init (&call, "PUT", flow->key);
  if (flow->expect && condition == NULL)
    return s3_flow_no_memory (flow);
  result = s3_body_attach (body, &call.request);
  if (result != CLOUD_OK)
    return result;
  call.request.once = true;
  call.request.patience_s = flow->size / SERVER_RATE;
  s3_meta_add (meta, &call.request);
  if (flow->expect ? form == S3_FORM_NONE : !flow->conduct.put_new) {
    result = s3_flow_look_before (flow);
    if (result != CLOUD_OK)
      return result;
  }
  else if (flow->expect)
    s3_request_header (&call.request, "If-Match", condition);
  else
    s3_request_header (&call.request, "If-None-Match", "*");
  status = s3_call_run (&call, flow->s3);
  if (s3_body_md5 (body, digest)) {
    s3_md5_text (digest, hex);
    snprintf (ours, sizeof ours, "\"%s\"", hex);
  }
  if (status == 412 || status == 404 || status == 409)
    return call.answer.code && strcmp (call.answer.code, "NoSuchBucket") == 0 ? s3_flow_refuse (flow, &call) :
      explain (flow, ours, meta->mtime);
  if (status != 200)
    return s3_flow_refuse (flow, &call);
  if (*ours && s3_got_other_bytes (flow->s3, &call.answer, digest))
    return s3_flow_fail (flow, CLOUD_BAD, flow->key, "the server has stored other bytes than were sent");
  return stored (flow, &call.answer);
}

/* ---- the verb ---- */

static enum cloud_result
put (struct s3_flow *flow)
{
  struct s3_meta meta = { .own = NULL };
  struct s3_body body;
  enum cloud_result result = s3_manners_await (flow), patched = CLOUD_WHOLE;

  if (result == CLOUD_OK)
    result = s3_flow_parent (flow, flow->path);
  if (result == CLOUD_OK && flow->expect == NULL)
    result = s3_flow_no_folder (flow, flow->key);
  if (result != CLOUD_OK)
    return result;
  if (flow->n_ranges > 0)
    patched = s3_patch_put (flow);
  if (patched != CLOUD_WHOLE)
    result = patched;
  else if (flow->n_ranges > 0 && !flow->has_whole) {
    /* What would be fetched to put it whole may be gone. */
    result = s3_flow_look_before (flow);
    if (result == CLOUD_OK)
      return s3_flow_fail (flow, CLOUD_WHOLE, flow->key, "to be put whole");
  }
  else if (flow->size > S3_SINGLE_PUT) {
    result = s3_flow_look_before (flow);
    if (result == CLOUD_OK)
      result = s3_multipart_put (flow);
  }
  else {
    if (s3_meta_make (flow, true, &meta) == -1)
      return s3_flow_no_memory (flow);
    s3_body_init (&body, flow, 0, flow->size);
    result = put_at_once (flow, &body, &meta);
    s3_body_clear (&body);
    free (meta.own);
  }
  /* A folder may have come in its place. */
  if (result == CLOUD_GONE && flow->expect) {
    const enum cloud_result folder = s3_flow_no_folder (flow, flow->key);

    if (folder != CLOUD_OK)
      return folder;
    return s3_flow_fail (flow, CLOUD_GONE, flow->key, "there is no such object any more");
  }
  return result;
}

void
s3_put (struct cloud *cloud, const struct cloud_put *what, const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = s3_flow_new ((struct s3 *) cloud, what->path, sink, opaque);
  enum cloud_result result;

  if (flow == NULL)
    return;
  flow->expect = what->expect ? strdup (what->expect) : NULL;
  flow->checksum = what->checksum ? strdup (what->checksum) : NULL;
  flow->size = what->size;
  flow->mtime = what->mtime;
  flow->ranges = what->ranges;
  flow->n_ranges = what->n_ranges;
  flow->base_size = what->base_size;
  flow->has_whole = what->has_whole;
  flow->read = what->read;
  result = (what->expect && flow->expect == NULL) || (what->checksum && flow->checksum == NULL) ?
    s3_flow_no_memory (flow) : s3_flow_may_name (flow, what->path);
  if (result == CLOUD_OK)
    s3_flow_begin (flow, put);
  else
    s3_flow_end (flow, result);
}
