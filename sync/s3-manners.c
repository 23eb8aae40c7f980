/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds out what an S3 server makes of conditions, with two scratch objects and an upload by parts. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/evp.h>

#include "cleanup.h"
#include "msg.h"
#include "s3-flow.h"

/* No entity tag that a server has made, but of the form of theirs. */
#define WRONG "\"00000000000000000000000000000000\""

static const char content[] = "cloudshare";

struct s3_manners {
  /* Protects all below.  Held for a few instructions; nothing else is locked under it. */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool known, busy;
  struct s3_conduct conduct;
  unsigned tries;              /* how often it was found out, or was not */
  enum cloud_result result;    /* of the last try */
  char *sentence;
};

/* One change's flow, of which the requests are sent. */
struct trial {
  struct s3_flow *flow;
  char *here, *there;          /* scratch keys */
  char *token;                 /* of here; NULL: not there, or not known */
  struct s3_conduct conduct;
  enum cloud_result result;    /* not CLOUD_OK: it is of no use to go on */
};

/* ---- scratch names ---- */

char *
s3_scratch_name (void)
{
  unsigned long long number;
  char *name;

  if (getrandom (&number, sizeof number, 0) != sizeof number ||
      asprintf (&name, ".cloudshare-scratch-%010llx-%016llx", (unsigned long long) time (NULL), number) == -1)
    return NULL;
  return name;
}

bool
s3_is_scratch_name (const char *name, time_t *ret_made)
{
  unsigned long long made;
  int end = 0;

  /* As long as the one above, and nothing behind. */
  if (sscanf (name, ".cloudshare-scratch-%10llx-%*16[0-9a-f]%n", &made, &end) != 1 || end != 47 || name[end] != '\0')
    return false;
  *ret_made = (time_t) made;
  return true;
}

/* ---- requests ---- */

/* Returns the status; 0 where the trial cannot go on. */
static int
run (struct trial *trial, struct s3_call *call)
{
  int status;

  if (trial->result != CLOUD_OK)
    return 0;
  status = s3_call_run (call, trial->flow->s3);
  switch (status) {
  case 0:
  case 401:
  case 403:
  case 429:
  case 500:
  case 502:
  case 503:
  case 504:
  case 507:
    /* Says nothing about conditions; found out another time. */
    trial->result = s3_flow_refuse (trial->flow, call);
    return 0;
  }
  return status;
}

static int
put (struct trial *trial, const char *header, const char *value)
{
  CLEANUP_S3_CALL struct s3_call call;
  const char *etag;
  int status;

  s3_call_init (&call, "PUT", trial->here);
  call.request.body = content;
  call.request.body_len = sizeof content - 1;
  call.request.once = true;
  s3_request_header (&call.request, header, value);
  status = run (trial, &call);
  etag = status == 200 ? s3_answer_header (&call.answer, "etag") : NULL;
  if (etag) {
    free (trial->token);
    trial->token = strdup (etag);
  }
  return status;
}

/* Whether a request is refused under a condition that is false, and carried out under one that is true. */
static enum s3_form
find_form (struct trial *trial, int (*request) (struct trial *trial, const char *header, const char *value))
{
  static const enum s3_form forms[] = { S3_FORM_QUOTED, S3_FORM_PLAIN };

  for (size_t i = 0; i < sizeof forms / sizeof forms[0] && trial->token && trial->result == CLOUD_OK; i++) {
    CLEANUP_FREE char *wrong = s3_condition (forms[i], WRONG), *right = NULL;
    int status;

    if (wrong == NULL || request (trial, "If-Match", wrong) != 412)
      return S3_FORM_NONE;
    right = s3_condition (forms[i], trial->token);
    status = right ? request (trial, "If-Match", right) : 0;
    if (status / 100 == 2)
      return forms[i];
  }
  return S3_FORM_NONE;
}

static int
copy (struct trial *trial, const char *header, const char *value)
{
  CLEANUP_FREE char *source = s3_copy_source (trial->flow->s3, trial->here);
  CLEANUP_S3_CALL struct s3_call call;

  s3_call_init (&call, "PUT", trial->there);
  if (source == NULL)
    return 0;
  call.request.body = "";
  call.request.once = true;
  s3_request_header (&call.request, "x-amz-copy-source", source);
  if (header && strcmp (header, "If-Match") == 0)
    s3_copy_condition (&call.request, value);
  else
    s3_request_header (&call.request, header, value);
  return run (trial, &call);
}

static int
discard (struct trial *trial, const char *header, const char *value)
{
  CLEANUP_S3_CALL struct s3_call call;

  s3_call_init (&call, "DELETE", trial->here);
  call.request.once = true;
  s3_request_header (&call.request, header, value);
  return run (trial, &call);
}

/* An upload by parts of one part, completed under a condition. */
static int
complete (struct trial *trial, const char *header, const char *value)
{
  CLEANUP_FREE char *upload = NULL, *body = NULL;
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  const char *etag;
  int status = 0;

  s3_call_init (&call, "POST", trial->here);
  call.request.body = "";
  s3_request_query (&call.request, "uploads", NULL);
  if (run (trial, &call) != 200)
    return 0;
  if (s3_flow_document (trial->flow, &call, "InitiateMultipartUploadResult", NULL, NULL, &document) == CLOUD_OK) {
    upload = document.upload;
    document.upload = NULL;
  }
  s3_document_free (&document);
  if (upload == NULL)
    return 0;
  s3_call_again (&call, "PUT", trial->here);
  call.request.body = content;
  call.request.body_len = sizeof content - 1;
  s3_request_query (&call.request, "partNumber", "1");
  s3_request_query (&call.request, "uploadId", upload);
  etag = run (trial, &call) == 200 ? s3_answer_header (&call.answer, "etag") : NULL;
  if (etag && asprintf (&body, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%.100s</ETag></Part>"
                        "</CompleteMultipartUpload>", etag) == -1)
    body = NULL;
  if (body) {
    s3_call_again (&call, "POST", trial->here);
    call.request.body = body;
    call.request.body_len = strlen (body);
    s3_request_query (&call.request, "uploadId", upload);
    s3_request_header (&call.request, header, value);
    status = run (trial, &call);
    if (status == 200 &&
        s3_flow_document (trial->flow, &call, "CompleteMultipartUploadResult", NULL, NULL, &document) == CLOUD_CHANGED)
      status = 412;
    if (status == 200)
      s3_document_free (&document);
  }
  if (status != 200) {
    s3_call_again (&call, "DELETE", trial->here);
    s3_request_query (&call.request, "uploadId", upload);
    s3_call_run (&call, trial->flow->s3);
  }
  return status;
}

/* ---- the questions ---- */

static void
look_at_tag (struct trial *trial)
{
  unsigned char digest[16];
  char md5[40], hex[33];

  EVP_Digest (content, sizeof content - 1, digest, NULL, EVP_md5 (), NULL);
  for (size_t i = 0; i < sizeof digest; i++)
    sprintf (md5 + 2 * i, "%02x", digest[i]);
  if (trial->token && s3_token_md5 (trial->token, hex) && strcmp (hex, md5) == 0)
    atomic_store (&trial->flow->s3->tags_are_md5, true);
}

static void
ask (struct trial *trial)
{
  struct s3_conduct *conduct = &trial->conduct;

  if (put (trial, NULL, NULL) != 200)
    return;
  look_at_tag (trial);
  conduct->put_new = put (trial, "If-None-Match", "*") == 412;
  conduct->put = find_form (trial, put);
  conduct->copy_match = copy (trial, "If-Match", WRONG) == 412 && trial->token &&
    copy (trial, "If-Match", trial->token) == 200;
  if (!conduct->copy_match)
    copy (trial, NULL, NULL);
  conduct->copy_new = copy (trial, "If-None-Match", "*") == 412;
  conduct->complete_new = complete (trial, "If-None-Match", "*") == 412;
  if (!conduct->complete_new)
    put (trial, NULL, NULL);
  /* Said in the form that works with PutObject. */
  if (conduct->put != S3_FORM_NONE && trial->result == CLOUD_OK) {
    CLEANUP_FREE char *wrong = s3_condition (conduct->put, WRONG);

    if (wrong && complete (trial, "If-Match", wrong) == 412)
      conduct->complete = conduct->put;
    else
      put (trial, NULL, NULL);
  }
  conduct->remove = find_form (trial, discard);
  if (conduct->remove != S3_FORM_NONE && trial->result == CLOUD_OK) {
    CLEANUP_FREE char *right = s3_condition (conduct->remove, trial->token);

    /* It is gone by now. */
    conduct->remove_tells_gone = right && discard (trial, "If-Match", right) / 100 == 4;
  }
}

/* Scratch objects go, whatever happened. */
static void
tidy (struct trial *trial)
{
  const char *const keys[] = { trial->here, trial->there };

  for (size_t i = 0; i < 2; i++) {
    CLEANUP_S3_CALL struct s3_call call;

    s3_call_init (&call, "DELETE", keys[i]);
    s3_call_run (&call, trial->flow->s3);
  }
}

static enum cloud_result
find_out (struct s3_flow *flow, struct s3_conduct *ret_conduct)
{
  CLEANUP_FREE char *one = s3_scratch_name (), *two = s3_scratch_name (), *text = NULL;
  struct trial trial = { .flow = flow };

  if (one && two) {
    trial.here = s3_url_key (&flow->s3->url, one, false);
    trial.there = s3_url_key (&flow->s3->url, two, false);
  }
  if (trial.here == NULL || trial.there == NULL)
    trial.result = s3_flow_no_memory (flow);
  else {
    ask (&trial);
    if (trial.result != CLOUD_STOPPED)
      tidy (&trial);
  }
  /* A full server can still move and remove, under no condition. */
  if (trial.result == CLOUD_FULL)
    trial.result = CLOUD_OK;
  if (trial.result == CLOUD_OK) {
    text = s3_conduct_text (&trial.conduct);
    msg_debug ("%s: %s", flow->s3->url.identity, text ? text : "out of memory");
  }
  *ret_conduct = trial.conduct;
  free (trial.here);
  free (trial.there);
  free (trial.token);
  return trial.result;
}

char *
s3_conduct_text (const struct s3_conduct *conduct)
{
  static const char *const forms[] = { "look", "If-Match", "If-Match without quotes" };
  char *text;

  if (asprintf (&text, "put-new=%s put=%s copy-new=%s copy=%s complete-new=%s complete=%s remove=%s%s",
                conduct->put_new ? "If-None-Match" : "look", forms[conduct->put],
                conduct->copy_new ? "If-None-Match" : "look", conduct->copy_match ? "source-if-match" : "look",
                conduct->complete_new ? "If-None-Match" : "look", forms[conduct->complete],
                forms[conduct->remove],
                conduct->remove != S3_FORM_NONE && !conduct->remove_tells_gone ? " after a look" : "") == -1)
    return NULL;
  return text;
}

/* ---- those who wait ---- */

struct s3_manners *
s3_manners_new (void)
{
  struct s3_manners *manners = calloc (1, sizeof *manners);

  if (manners) {
    pthread_mutex_init (&manners->lock, NULL);
    pthread_cond_init (&manners->cond, NULL);
  }
  return manners;
}

void
s3_manners_free (struct s3_manners *manners)
{
  if (manners == NULL)
    return;
  pthread_cond_destroy (&manners->cond);
  pthread_mutex_destroy (&manners->lock);
  free (manners->sentence);
  free (manners);
}

/* 1: known; 0: it is ours to find out; -1: somebody else has tried in vain, and flow has the sentence. */
static int
wait_for_others (struct s3_flow *flow, enum cloud_result *ret_result)
{
  struct s3_manners *manners = flow->s3->manners;
  unsigned tries;

  LOCK_FOR_SCOPE (&manners->lock);
  tries = manners->tries;
  while (manners->busy)
    pthread_cond_wait (&manners->cond, &manners->lock);
  if (manners->known) {
    flow->conduct = manners->conduct;
    return 1;
  }
  if (manners->tries != tries) {
    *ret_result = manners->result;
    free (flow->sentence);
    flow->sentence = manners->sentence ? strdup (manners->sentence) : NULL;
    return -1;
  }
  manners->busy = true;
  return 0;
}

enum cloud_result
s3_manners_await (struct s3_flow *flow)
{
  struct s3_manners *manners = flow->s3->manners;
  enum cloud_result result = CLOUD_OK;
  struct s3_conduct conduct;

  if (wait_for_others (flow, &result) != 0)
    return result;
  result = find_out (flow, &conduct);
  flow->conduct = conduct;
  {
    LOCK_FOR_SCOPE (&manners->lock);
    manners->busy = false;
    manners->tries++;
    manners->result = result;
    free (manners->sentence);
    manners->sentence = flow->sentence ? strdup (flow->sentence) : NULL;
    if (result == CLOUD_OK) {
      manners->known = true;
      manners->conduct = conduct;
    }
    pthread_cond_broadcast (&manners->cond);
  }
  if (result == CLOUD_OK)
    s3_multipart_sweep (flow);
  return result;
}
