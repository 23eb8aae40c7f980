/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects by parts: create, parts, complete (S3 User Guide, "Multipart upload").
 *
 * What is not completed is not seen.  An upload that the network, the server or our end has stopped is left, and found
 * again by listing those of the key: a part that is there, and has the MD5 of what would be sent, is not sent again.
 * Entity tags are all that completing believes, so an upload that somebody else joins can end in an error, but never in
 * other bytes. One that cannot be of use any more is aborted; and those that nobody has sent anything of for a day, by
 * the first change that a process makes.
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
#include "s3-body.h"

/* All but the last part have at least 5 MiB, and there are at most 10,000. */
#define SMALLEST_PART (16ULL << 20)
#define MOST_PARTS 9999

/* At once, for one file. */
#define PARALLEL 4

/* Seconds that a server may be silent while it puts together or copies. */
#define PATIENCE_S 300

/* Of a part that UploadPartCopy copies; S3's limit is 5 GiB. */
#define COPY_PART (1ULL << 30)

#define STALE_S (24 * 60 * 60)

struct part {
  char etag[64];               /* without quotes; "" until it is there */
  unsigned char md5[16];       /* where it was sent, or compared, by us */
  uint64_t there;              /* size of what was found */
  char found[64];              /* its tag */
};

struct upload {
  struct s3_flow *flow;
  const char *key;
  char *id;
  uint64_t size, part_size;
  struct part *parts;          /* number 1 is parts[0] */
  unsigned nr_parts;
  bool has_more;               /* it has parts that do not belong to this size */
  bool has_md5s;               /* every part's MD5 is known */
};

static uint64_t
part_length (const struct upload *upload, unsigned i)
{
  const uint64_t offset = i * upload->part_size;

  return upload->size - offset < upload->part_size ? upload->size - offset : upload->part_size;
}

static int
upload_init (struct upload *upload, struct s3_flow *flow, const char *key, uint64_t size, uint64_t part_size)
{
  *upload = (struct upload) { .flow = flow, .key = key, .size = size, .part_size = part_size };
  while (size / upload->part_size >= MOST_PARTS)
    upload->part_size *= 2;
  upload->nr_parts = (size + upload->part_size - 1) / upload->part_size;
  upload->parts = calloc (upload->nr_parts + 1, sizeof *upload->parts);
  return upload->parts ? 0 : -1;
}

static void
upload_clear (struct upload *upload)
{
  free (upload->id);
  free (upload->parts);
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
  struct upload *upload = opaque;

  if (entry->kind != S3_ENTRY_PART || entry->part == 0 || entry->etag == NULL)
    return 0;
  if (entry->part > upload->nr_parts)
    upload->has_more = true;
  else {
    struct part *part = &upload->parts[entry->part - 1];

    part->there = entry->size;
    snprintf (part->found, sizeof part->found, "%s", entry->etag);
  }
  return 0;
}

static enum cloud_result
abort_upload (struct s3_flow *flow, const char *key, const char *id)
{
  CLEANUP_S3_CALL struct s3_call call;
  int status;

  s3_call_init (&call, "DELETE", key);
  s3_request_query (&call.request, "uploadId", id);
  status = s3_call_run (&call, flow->s3);
  return status == 204 || status == 200 || status == 404 ? CLOUD_OK : CLOUD_BUSY;
}

/* Pages of parts. */
static enum cloud_result
list_parts (struct s3_flow *flow, const char *key, const char *id, const struct s3_xml_sink *sink, void *opaque)
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

/* Takes up an upload of this key, if there is one of use.  A server that cannot list them has none. */
static enum cloud_result
find_upload (struct upload *upload)
{
  static const struct s3_xml_sink sink = { .entry = on_upload }, part_sink = { .entry = on_part };
  struct s3_flow *flow = upload->flow;
  struct finding finding = { .key = upload->key };
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;

  s3_call_init (&call, "GET", "");
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
  result = list_parts (flow, upload->key, upload->id, &part_sink, upload);
  if (result == CLOUD_STOPPED || result == CLOUD_OFFLINE || result == CLOUD_AUTH)
    return result;
  /* Ceph completes only with all parts that are there. */
  if (result != CLOUD_OK || upload->has_more) {
    abort_upload (flow, upload->key, upload->id);
    free (upload->id);
    upload->id = NULL;
    memset (upload->parts, 0, upload->nr_parts * sizeof *upload->parts);
  }
  else
    msg_debug ("s3://%s/%s: an upload that was begun before goes on", flow->s3->url.bucket, upload->key);
  return CLOUD_OK;
}

static enum cloud_result
create_upload (struct upload *upload, struct s3_call *call)
{
  struct s3_document document;
  enum cloud_result result;

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
  unsigned i;
  bool busy;
  char number[16];
};

static enum cloud_result
prepare_part (struct upload *upload, struct sending *sending)
{
  s3_body_clear (&sending->body);
  s3_body_init (&sending->body, upload->flow, sending->i * upload->part_size, part_length (upload, sending->i));
  s3_call_again (&sending->call, "PUT", upload->key);
  snprintf (sending->number, sizeof sending->number, "%u", sending->i + 1);
  s3_request_query (&sending->call.request, "partNumber", sending->number);
  s3_request_query (&sending->call.request, "uploadId", upload->id);
  return s3_body_attach (&sending->body, &sending->call.request);
}

/* The part is there already, with the same bytes. */
static enum cloud_result
is_there (struct upload *upload, unsigned i, bool *ret)
{
  struct part *part = &upload->parts[i];
  enum cloud_result result;
  char hex[33];

  *ret = false;
  if (part->there != part_length (upload, i))
    return CLOUD_OK;
  result = s3_body_read_md5 (upload->flow, i * upload->part_size, part->there, part->md5);
  s3_md5_text (part->md5, hex);
  *ret = result == CLOUD_OK && strcmp (hex, part->found) == 0;
  if (*ret)
    snprintf (part->etag, sizeof part->etag, "%s", part->found);
  return result;
}

static enum cloud_result
take_part (struct upload *upload, struct sending *sending)
{
  struct s3_flow *flow = upload->flow;
  struct part *part = &upload->parts[sending->i];
  const struct s3_answer *answer = &sending->call.answer;
  const char *etag;
  size_t len;

  if (answer->result != CLOUD_OK || answer->status != 200)
    return s3_flow_refuse (flow, &sending->call);
  etag = s3_answer_header (answer, "etag");
  if (etag == NULL || (len = strlen (etag)) >= sizeof part->etag)
    return s3_flow_fail (flow, CLOUD_BAD, upload->key, "the server does not say a part's entity tag");
  if (len > 2 && etag[0] == '"')
    snprintf (part->etag, sizeof part->etag, "%.*s", (int) len - 2, etag + 1);
  else
    snprintf (part->etag, sizeof part->etag, "%s", etag);
  if (!s3_body_md5 (&sending->body, part->md5))
    upload->has_md5s = false;
  else if (s3_got_other_bytes (flow->s3, answer, part->md5))
    return s3_flow_fail (flow, CLOUD_BAD, upload->key, "the server has stored other bytes than were sent");
  return CLOUD_OK;
}

/* Waits for a part; one that got lost, or came at a bad moment, is sent once more. */
static enum cloud_result
finish_part (struct upload *upload, struct sending *sending)
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
send_parts (struct upload *upload)
{
  struct sending sendings[PARALLEL];
  enum cloud_result result = CLOUD_OK, one;
  unsigned slot = 0;

  for (unsigned s = 0; s < PARALLEL; s++) {
    memset (&sendings[s], 0, sizeof sendings[s]);
    s3_call_init (&sendings[s].call, "PUT", upload->key);
  }
  for (unsigned i = 0; i < upload->nr_parts && result == CLOUD_OK; i++) {
    struct sending *sending = &sendings[slot];
    bool there = false;

    if (upload->parts[i].there)
      result = is_there (upload, i, &there);
    if (result != CLOUD_OK || there)
      continue;
    result = finish_part (upload, sending);
    if (result != CLOUD_OK)
      break;
    sending->i = i;
    result = prepare_part (upload, sending);
    if (result != CLOUD_OK)
      break;
    s3_call_start (&sending->call, upload->flow->s3);
    sending->busy = true;
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

/* ---- completing ---- */

/* "\"MD5OFMD5S-N\"" (what AWS, Ceph, Swift and MinIO make of it); or "" where it is not known. */
static void
expected_token (const struct upload *upload, char token[64])
{
  EVP_MD_CTX *context = EVP_MD_CTX_new ();
  unsigned char digest[16];
  char hex[33];

  token[0] = '\0';
  if (context && upload->has_md5s && atomic_load (&upload->flow->s3->tags_are_md5) &&
      EVP_DigestInit_ex (context, EVP_md5 (), NULL)) {
    for (unsigned i = 0; i < upload->nr_parts; i++)
      EVP_DigestUpdate (context, upload->parts[i].md5, 16);
    EVP_DigestFinal_ex (context, digest, NULL);
    s3_md5_text (digest, hex);
    snprintf (token, 64, "\"%s-%u\"", hex, upload->nr_parts);
  }
  EVP_MD_CTX_free (context);
}

static char *
complete_body (const struct upload *upload)
{
  char *text = NULL;
  size_t size;
  FILE *file = open_memstream (&text, &size);

  if (file == NULL)
    return NULL;
  fprintf (file, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
  for (unsigned i = 0; i < upload->nr_parts; i++)
    fprintf (file, "<Part><PartNumber>%u</PartNumber><ETag>&quot;%s&quot;</ETag></Part>", i + 1, upload->parts[i].etag);
  fprintf (file, "</CompleteMultipartUpload>");
  if (fclose (file) == EOF) {
    free (text);
    return NULL;
  }
  return text;
}

/* Completes under a condition: of nothing there (expect NULL and only_new), of a version, or none.  On success *seen is
 * what is there then. */
static enum cloud_result
complete_upload (struct upload *upload, bool only_new, const char *expect, struct s3_seen *seen)
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
  call.request.patience_s = PATIENCE_S;
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

/* Whether an upload that ended so may go on another time. */
static bool
is_resumable (enum cloud_result result)
{
  return result == CLOUD_OFFLINE || result == CLOUD_BUSY || result == CLOUD_STOPPED || result == CLOUD_AUTH;
}

enum cloud_result
s3_multipart_put (struct s3_flow *flow)
{
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_meta meta = { .own = NULL };
  struct upload upload;
  enum cloud_result result;

  s3_call_init (&call, "POST", flow->key);
  if (upload_init (&upload, flow, flow->key, flow->size, SMALLEST_PART) == -1)
    return s3_flow_no_memory (flow);
  upload.has_md5s = true;
  result = find_upload (&upload);
  if (result == CLOUD_OK && upload.id == NULL) {
    s3_meta_make (flow, false, &meta);
    s3_meta_add (&meta, &call.request);
    s3_request_header (&call.request, "Content-Type", "application/octet-stream");
    result = create_upload (&upload, &call);
  }
  if (result == CLOUD_OK)
    result = send_parts (&upload);
  if (result == CLOUD_OK)
    result = complete_upload (&upload, true, flow->expect, &flow->now);
  if (result != CLOUD_OK && upload.id && !is_resumable (result))
    abort_upload (flow, flow->key, upload.id);
  upload_clear (&upload);
  return result;
}

/* ---- copying ---- */

static enum cloud_result
copy_part (struct upload *upload, unsigned i, const char *source, const char *token)
{
  const uint64_t first = i * upload->part_size, last = first + part_length (upload, i) - 1;
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;
  char number[16], range[80];

  s3_call_init (&call, "PUT", upload->key);
  snprintf (number, sizeof number, "%u", i + 1);
  snprintf (range, sizeof range, "bytes=%llu-%llu", (unsigned long long) first, (unsigned long long) last);
  s3_request_query (&call.request, "partNumber", number);
  s3_request_query (&call.request, "uploadId", upload->id);
  s3_request_header (&call.request, "x-amz-copy-source", source);
  s3_request_header (&call.request, "x-amz-copy-source-range", range);
  s3_copy_condition (&call.request, token);
  call.request.body = "";
  call.request.patience_s = PATIENCE_S;
  s3_call_run (&call, upload->flow->s3);
  result = s3_flow_document (upload->flow, &call, "CopyPartResult", NULL, NULL, &document);
  if (result == CLOUD_OK && (document.etag == NULL || strlen (document.etag) >= sizeof upload->parts[i].etag))
    result = s3_flow_fail (upload->flow, CLOUD_BAD, upload->key, "the server does not say a part's entity tag");
  if (result == CLOUD_OK)
    snprintf (upload->parts[i].etag, sizeof upload->parts[i].etag, "%s", document.etag);
  s3_document_free (&document);
  return result;
}

enum cloud_result
s3_multipart_copy (struct s3_flow *flow, const char *key, const char *token, uint64_t size, const char *to_key,
                   bool only_new, char **ret_token)
{
  CLEANUP_FREE char *source = s3_copy_source (flow->s3, key);
  CLEANUP_S3_CALL struct s3_call head, call;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  struct upload upload;
  enum cloud_result result;

  s3_call_init (&head, "HEAD", key);
  s3_call_init (&call, "POST", to_key);
  if (source == NULL || upload_init (&upload, flow, to_key, size, COPY_PART) == -1)
    return s3_flow_no_memory (flow);
  result = s3_flow_head (flow, key, &seen, &head);
  if (result == CLOUD_OK && seen.what == S3_NOTHING)
    result = s3_flow_fail (flow, CLOUD_GONE, key, "there is no such object any more");
  else if (result == CLOUD_OK && strcmp (seen.token, token) != 0)
    result = s3_flow_fail (flow, CLOUD_CHANGED, key, "the object has another version by now");
  if (result == CLOUD_OK && s3_meta_copy (&head.answer, true, &call.request) == -1)
    result = s3_flow_fail (flow, CLOUD_REFUSED, key, "the object has metadata that cannot be copied");
  if (result == CLOUD_OK)
    result = create_upload (&upload, &call);
  for (unsigned i = 0; i < upload.nr_parts && result == CLOUD_OK; i++)
    result = copy_part (&upload, i, source, token);
  if (result == CLOUD_OK)
    result = complete_upload (&upload, only_new, NULL, &seen);
  if (result == CLOUD_OK && (seen.token == NULL || (*ret_token = strdup (seen.token)) == NULL))
    result = s3_flow_fail (flow, CLOUD_BUSY, to_key, "what was copied is not seen");
  if (result != CLOUD_OK && upload.id)
    abort_upload (flow, to_key, upload.id);
  upload_clear (&upload);
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
        list_parts (flow, stale.keys[i], stale.ids[i], &part_sink, &newest) == CLOUD_OK && newest <= stale.before) {
      msg_debug ("s3://%s/%s: an upload that nobody goes on with is aborted", flow->s3->url.bucket, stale.keys[i]);
      abort_upload (flow, stale.keys[i], stale.ids[i]);
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
