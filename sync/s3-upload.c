/* SPDX-License-Identifier: BSD-3-Clause */
/* One upload by parts: what is there of it already, its parts, and its end (S3 User Guide, "Multipart upload").
 *
 * What is not completed is not seen.  An upload that the network, the server or our end has stopped is left, and found
 * again by listing those of the key: a part that is there, and has the MD5 of what would be sent, is not sent again.
 * What is copied is copied again, as nobody can tell of which version it was.  Entity tags are all that completing
 * believes, so an upload that somebody else joins can end in an error, but never in other bytes.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "msg.h"
#include "s3-body.h"
#include "s3-upload.h"

/* At once, for one file. */
#define PARALLEL 4

void
s3_upload_init (struct s3_upload *upload, struct s3_flow *flow, const char *key, uint64_t size)
{
  *upload = (struct s3_upload) { .flow = flow, .key = key, .size = size };
}

static int
make_states (struct s3_upload *upload)
{
  if (upload->parts == NULL)
    upload->parts = calloc (upload->plan.n + 1, sizeof *upload->parts);
  return upload->parts ? 0 : -1;
}

/* ---- uploads that are there ---- */

struct finding {
  const char *key;
  char *id;
  time_t time;
};

static int
on_upload (void *opaque, const struct s3_entry *entry)
{
  struct finding *finding = opaque;

  if (entry->kind != S3_ENTRY_UPLOAD || entry->upload == NULL || strcmp (entry->key, finding->key) != 0 ||
      (finding->id && entry->time.tv_sec < finding->time))
    return 0;
  free (finding->id);
  finding->id = strdup (entry->upload);
  finding->time = entry->time.tv_sec;
  return finding->id ? 0 : -1;
}

static int
on_part (void *opaque, const struct s3_entry *entry)
{
  struct s3_upload *upload = opaque;

  if (entry->kind != S3_ENTRY_PART || entry->part == 0 || entry->etag == NULL)
    return 0;
  if (entry->part > upload->plan.n)
    upload->has_more = true;
  else {
    struct s3_part_state *part = &upload->parts[entry->part - 1];

    part->there = entry->size;
    snprintf (part->found, sizeof part->found, "%s", entry->etag);
  }
  return 0;
}

enum cloud_result
s3_upload_abort (struct s3_flow *flow, const char *key, const char *id)
{
  CLEANUP_S3_CALL struct s3_call call;
  int status;

  s3_call_init (&call, "DELETE", key);
  s3_request_query (&call.request, "uploadId", id);
  status = s3_call_run (&call, flow->s3);
  return status == 204 || status == 200 || status == 404 ? CLOUD_OK : CLOUD_BUSY;
}

enum cloud_result
s3_upload_list_parts (struct s3_flow *flow, const char *key, const char *id, const struct s3_xml_sink *sink,
                      void *opaque)
{
  CLEANUP_FREE char *marker = NULL;
  enum cloud_result result;
  bool more;

  do {
    CLEANUP_S3_CALL struct s3_call call;
    struct s3_document document;

    s3_call_init (&call, "GET", key);
    s3_request_query (&call.request, "uploadId", id);
    s3_request_query (&call.request, "max-parts", "1000");
    if (marker)
      s3_request_query (&call.request, "part-number-marker", marker);
    s3_call_run (&call, flow->s3);
    result = s3_flow_document (flow, &call, "ListPartsResult", sink, opaque, &document);
    more = result == CLOUD_OK && document.truncated && document.next &&
      (marker == NULL || strcmp (marker, document.next) != 0);
    free (marker);
    marker = document.next;
    document.next = NULL;
    s3_document_free (&document);
  } while (more);
  return result;
}

enum cloud_result
s3_upload_find (struct s3_upload *upload)
{
  static const struct s3_xml_sink sink = { .entry = on_upload }, part_sink = { .entry = on_part };
  struct s3_flow *flow = upload->flow;
  struct finding finding = { .key = upload->key };
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;

  s3_call_init (&call, "GET", "");
  if (make_states (upload) == -1)
    return s3_flow_no_memory (flow);
  s3_request_query (&call.request, "uploads", NULL);
  s3_request_query (&call.request, "prefix", upload->key);
  s3_call_run (&call, flow->s3);
  result = s3_flow_document (flow, &call, "ListMultipartUploadsResult", &sink, &finding, &document);
  s3_document_free (&document);
  if (result == CLOUD_STOPPED || result == CLOUD_OFFLINE || result == CLOUD_AUTH) {
    free (finding.id);
    return result;
  }
  upload->id = finding.id;
  if (upload->id == NULL)
    return CLOUD_OK;
  result = s3_upload_list_parts (flow, upload->key, upload->id, &part_sink, upload);
  if (result == CLOUD_STOPPED || result == CLOUD_OFFLINE || result == CLOUD_AUTH)
    return result;
  /* Ceph completes only with all parts that are there. */
  if (result != CLOUD_OK || upload->has_more) {
    s3_upload_abort (flow, upload->key, upload->id);
    free (upload->id);
    upload->id = NULL;
    memset (upload->parts, 0, upload->plan.n * sizeof *upload->parts);
  }
  else
    msg_debug ("s3://%s/%s: an upload that was begun before goes on", flow->s3->url.bucket, upload->key);
  return CLOUD_OK;
}

enum cloud_result
s3_upload_create (struct s3_upload *upload, struct s3_call *call)
{
  struct s3_document document;
  enum cloud_result result;

  if (make_states (upload) == -1)
    return s3_flow_no_memory (upload->flow);
  call->request.body = "";
  s3_request_query (&call->request, "uploads", NULL);
  s3_call_run (call, upload->flow->s3);
  result = s3_flow_document (upload->flow, call, "InitiateMultipartUploadResult", NULL, NULL, &document);
  upload->id = document.upload;
  document.upload = NULL;
  s3_document_free (&document);
  if (result == CLOUD_OK && upload->id == NULL)
    result = s3_flow_fail (upload->flow, CLOUD_BAD, upload->key, "the server gives no upload id");
  return result;
}

/* ---- parts ---- */

struct sending {
  struct s3_call call;
  struct s3_body body;
  size_t i;
  bool busy;
  char number[16], range[80];
};

static void
begin_call (struct s3_upload *upload, struct sending *sending)
{
  s3_call_again (&sending->call, "PUT", upload->key);
  snprintf (sending->number, sizeof sending->number, "%zu", sending->i + 1);
  s3_request_query (&sending->call.request, "partNumber", sending->number);
  s3_request_query (&sending->call.request, "uploadId", upload->id);
}

static enum cloud_result
prepare_part (struct s3_upload *upload, struct sending *sending)
{
  const struct s3_part *part = &upload->plan.parts[sending->i];
  struct s3_request *request = &sending->call.request;

  begin_call (upload, sending);
  if (!part->copied)
    return s3_body_attach (&sending->body, request);
  snprintf (sending->range, sizeof sending->range, "bytes=%llu-%llu", (unsigned long long) part->offset,
            (unsigned long long) (part->offset + part->length - 1));
  s3_request_header (request, "x-amz-copy-source", upload->source);
  s3_request_header (request, "x-amz-copy-source-range", sending->range);
  s3_copy_condition (request, upload->source_token);
  request->body = "";
  request->patience_s = S3_PATIENCE_S;
  return CLOUD_OK;
}

/* The part is there already, with the same bytes. */
static enum cloud_result
is_there (struct s3_upload *upload, struct sending *sending, bool *ret)
{
  struct s3_part_state *state = &upload->parts[sending->i];
  enum cloud_result result;
  char hex[33];

  *ret = false;
  if (state->there != upload->plan.parts[sending->i].length)
    return CLOUD_OK;
  result = s3_body_read_md5 (&sending->body, state->md5);
  s3_md5_text (state->md5, hex);
  *ret = result == CLOUD_OK && strcmp (hex, state->found) == 0;
  if (*ret)
    snprintf (state->etag, sizeof state->etag, "%s", state->found);
  return result;
}

static enum cloud_result
take_tag (struct s3_upload *upload, size_t i, const char *etag)
{
  struct s3_part_state *state = &upload->parts[i];
  size_t len = etag ? strlen (etag) : 0;

  if (len > 2 && etag[0] == '"') {
    etag++;
    len -= 2;
  }
  if (len == 0 || len >= sizeof state->etag)
    return s3_flow_fail (upload->flow, CLOUD_BAD, upload->key, "the server does not say a part's entity tag");
  snprintf (state->etag, sizeof state->etag, "%.*s", (int) len, etag);
  return CLOUD_OK;
}

/* The MD5 of what was copied is in its tag, if anywhere. */
static void
take_md5 (struct s3_upload *upload, struct s3_part_state *state)
{
  char token[70], hex[33];

  snprintf (token, sizeof token, "\"%s\"", state->etag);
  if (!s3_token_md5 (token, hex))
    upload->has_md5s = false;
  else
    for (int i = 0; i < 16; i++)
      sscanf (hex + 2 * i, "%2hhx", &state->md5[i]);
}

static enum cloud_result
take_copy (struct s3_upload *upload, struct sending *sending)
{
  const struct s3_answer *answer = &sending->call.answer;
  struct s3_document document;
  enum cloud_result result = s3_flow_document (upload->flow, &sending->call, "CopyPartResult", NULL, NULL, &document);

  /* 501 and 405: it has no such request.  A 200 that is no answer to it: it has taken it for another. */
  upload->cannot_copy |= answer->result == CLOUD_OK && (answer->status == 501 || answer->status == 405 ||
                                                        (answer->status == 200 && result == CLOUD_BAD));
  if (result == CLOUD_OK)
    result = take_tag (upload, sending->i, document.etag);
  if (result == CLOUD_OK)
    take_md5 (upload, &upload->parts[sending->i]);
  s3_document_free (&document);
  return result;
}

static enum cloud_result
take_part (struct s3_upload *upload, struct sending *sending)
{
  struct s3_flow *flow = upload->flow;
  struct s3_part_state *state = &upload->parts[sending->i];
  const struct s3_answer *answer = &sending->call.answer;
  enum cloud_result result;

  if (upload->plan.parts[sending->i].copied)
    return take_copy (upload, sending);
  if (answer->result != CLOUD_OK || answer->status != 200)
    return s3_flow_refuse (flow, &sending->call);
  result = take_tag (upload, sending->i, s3_answer_header (answer, "etag"));
  if (result != CLOUD_OK)
    return result;
  if (!s3_body_md5 (&sending->body, state->md5))
    upload->has_md5s = false;
  else if (s3_got_other_bytes (flow->s3, answer, state->md5))
    return s3_flow_fail (flow, CLOUD_BAD, upload->key, "the server has stored other bytes than were sent");
  return CLOUD_OK;
}

/* Waits for a part; one that got lost, or came at a bad moment, is sent once more. */
static enum cloud_result
finish_part (struct s3_upload *upload, struct sending *sending)
{
  enum cloud_result result;

  if (!sending->busy)
    return CLOUD_OK;
  sending->busy = false;
  s3_call_wait (&sending->call);
  result = take_part (upload, sending);
  if (result == CLOUD_OFFLINE || result == CLOUD_BUSY) {
    result = prepare_part (upload, sending);
    if (result == CLOUD_OK) {
      s3_call_run (&sending->call, upload->flow->s3);
      result = take_part (upload, sending);
    }
  }
  return result;
}

static enum cloud_result
start_part (struct s3_upload *upload, struct sending *sending)
{
  const struct s3_part *part = &upload->plan.parts[sending->i];
  enum cloud_result result = CLOUD_OK;
  bool there = false;

  s3_body_clear (&sending->body);
  s3_body_init (&sending->body, upload->flow, part->offset, part->length);
  if (!part->copied) {
    result = s3_patch_body (&sending->body);
    if (result == CLOUD_OK && upload->parts[sending->i].there)
      result = is_there (upload, sending, &there);
  }
  if (result != CLOUD_OK || there)
    return result;
  result = prepare_part (upload, sending);
  if (result == CLOUD_OK) {
    s3_call_start (&sending->call, upload->flow->s3);
    sending->busy = true;
  }
  return result;
}

enum cloud_result
s3_upload_send (struct s3_upload *upload)
{
  struct sending sendings[PARALLEL];
  enum cloud_result result = CLOUD_OK, one;
  unsigned slot = 0;

  for (unsigned s = 0; s < PARALLEL; s++) {
    memset (&sendings[s], 0, sizeof sendings[s]);
    s3_call_init (&sendings[s].call, "PUT", upload->key);
  }
  for (size_t i = 0; i < upload->plan.n && result == CLOUD_OK; i++) {
    struct sending *sending = &sendings[slot];

    result = finish_part (upload, sending);
    if (result != CLOUD_OK)
      break;
    sending->i = i;
    result = start_part (upload, sending);
    if (sending->busy)
      slot = (slot + 1) % PARALLEL;
  }
  /* All have to end, also when one has failed: they read the content.  The first failure is the one that counts. */
  for (unsigned s = 0; s < PARALLEL; s++, slot = (slot + 1) % PARALLEL) {
    CLEANUP_FREE char *sentence = NULL;
    struct sending *sending = &sendings[slot];

    if (result == CLOUD_OK)
      result = finish_part (upload, sending);
    else if (sending->busy) {
      sentence = upload->flow->sentence;
      upload->flow->sentence = NULL;
      s3_call_wait (&sending->call);
      one = take_part (upload, sending);
      /* What cannot be read says more than what follows from it. */
      if (one != CLOUD_LOCAL) {
        free (upload->flow->sentence);
        upload->flow->sentence = sentence;
        sentence = NULL;
      }
      else
        result = one;
    }
    s3_call_clear (&sending->call);
    s3_body_clear (&sending->body);
  }
  return result;
}

enum cloud_result
s3_upload_verify (struct s3_upload *upload)
{
  static const struct s3_xml_sink sink = { .entry = on_part };
  enum cloud_result result;

  for (size_t i = 0; i < upload->plan.n; i++)
    upload->parts[i].there = 0;
  result = s3_upload_list_parts (upload->flow, upload->key, upload->id, &sink, upload);
  if (result == CLOUD_BAD)
    result = CLOUD_REFUSED;
  for (size_t i = 0; i < upload->plan.n && result == CLOUD_OK; i++)
    if (upload->parts[i].there != upload->plan.parts[i].length)
      result = s3_flow_fail (upload->flow, CLOUD_REFUSED, upload->key,
                             "the server has not copied the range that it was asked for");
  return result;
}

/* ---- completing ---- */

/* "\"MD5OFMD5S-N\"" (what AWS, Ceph, Swift and MinIO make of it); or "" where it is not known. */
static void
expected_token (const struct s3_upload *upload, char token[64])
{
  EVP_MD_CTX *context = EVP_MD_CTX_new ();
  unsigned char digest[16];
  char hex[33];

  token[0] = '\0';
  if (context && upload->has_md5s && atomic_load (&upload->flow->s3->tags_are_md5) &&
      EVP_DigestInit_ex (context, EVP_md5 (), NULL)) {
    for (size_t i = 0; i < upload->plan.n; i++)
      EVP_DigestUpdate (context, upload->parts[i].md5, 16);
    EVP_DigestFinal_ex (context, digest, NULL);
    s3_md5_text (digest, hex);
    snprintf (token, 64, "\"%s-%zu\"", hex, upload->plan.n);
  }
  EVP_MD_CTX_free (context);
}

static char *
complete_body (const struct s3_upload *upload)
{
  char *text = NULL;
  size_t size;
  FILE *file = open_memstream (&text, &size);

  if (file == NULL)
    return NULL;
  fprintf (file, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
  for (size_t i = 0; i < upload->plan.n; i++)
    fprintf (file, "<Part><PartNumber>%zu</PartNumber><ETag>&quot;%s&quot;</ETag></Part>", i + 1,
             upload->parts[i].etag);
  fprintf (file, "</CompleteMultipartUpload>");
  if (fclose (file) == EOF) {
    free (text);
    return NULL;
  }
  return text;
}

enum cloud_result
s3_upload_complete (struct s3_upload *upload, bool only_new, const char *expect, struct s3_seen *seen)
{
  struct s3_flow *flow = upload->flow;
  const enum s3_form form = flow->conduct.complete;
  CLEANUP_FREE char *body = complete_body (upload), *condition = expect ? s3_condition (form, expect) : NULL;
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  char token[64];
  enum cloud_result result, look;

  s3_call_init (&call, "POST", upload->key);
  if (body == NULL || (expect && condition == NULL))
    return s3_flow_no_memory (flow);
  if ((expect && form == S3_FORM_NONE) || (expect == NULL && only_new && !flow->conduct.complete_new)) {
    result = s3_flow_head (flow, upload->key, seen, NULL);
    if (result != CLOUD_OK)
      return result;
    if (expect ? seen->what != S3_FILE || strcmp (seen->token, expect) != 0 : seen->what != S3_NOTHING)
      return s3_flow_fail (flow, !expect ? CLOUD_EXISTS : seen->what == S3_NOTHING ? CLOUD_GONE : CLOUD_CHANGED,
                           upload->key, "the object has another version by now");
  }
  else if (expect)
    s3_request_header (&call.request, "If-Match", condition);
  else if (only_new)
    s3_request_header (&call.request, "If-None-Match", "*");
  call.request.body = body;
  call.request.body_len = strlen (body);
  call.request.patience_s = S3_PATIENCE_S;
  s3_request_header (&call.request, "Content-Type", "application/xml");
  s3_request_query (&call.request, "uploadId", upload->id);
  s3_call_run (&call, flow->s3);
  result = s3_flow_document (flow, &call, "CompleteMultipartUploadResult", NULL, NULL, &document);
  s3_document_free (&document);
  if (result == CLOUD_STOPPED || result == CLOUD_LOCAL)
    return result;

  /* A look in any case: for the token and the time, which Ceph's answer does not tell, and since what was completed by
   * a request that was sent twice, or whose answer was lost, has been completed. */
  expected_token (upload, token);
  {
    CLEANUP_FREE char *sentence = flow->sentence;

    flow->sentence = NULL;
    look = s3_flow_head (flow, upload->key, seen, NULL);
    if (look == CLOUD_OK && seen->what == S3_FILE && seen->size == upload->size && strcmp (seen->token, token) == 0)
      return CLOUD_OK;
    free (flow->sentence);
    flow->sentence = sentence;
    sentence = NULL;
  }
  if (result == CLOUD_OK) {
    /* Somebody else was here since, or the server makes its tags otherwise. */
    if (look != CLOUD_OK || seen->what != S3_FILE || seen->size != upload->size || *token)
      s3_seen_clear (seen);
    return CLOUD_OK;
  }
  if (result == CLOUD_CHANGED && look == CLOUD_OK)
    return s3_flow_fail (flow, !expect ? CLOUD_EXISTS : seen->what == S3_NOTHING ? CLOUD_GONE : CLOUD_CHANGED,
                         upload->key, "the object has another version by now");
  return result;
}

void
s3_upload_end (struct s3_upload *upload, enum cloud_result result)
{
  const bool may_go_on = result == CLOUD_OFFLINE || result == CLOUD_BUSY || result == CLOUD_STOPPED ||
    result == CLOUD_AUTH;

  if (result != CLOUD_OK && upload->id && !may_go_on)
    s3_upload_abort (upload->flow, upload->key, upload->id);
  free (upload->id);
  free (upload->parts);
  s3_plan_clear (&upload->plan);
}
