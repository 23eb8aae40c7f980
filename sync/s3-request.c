/* SPDX-License-Identifier: BSD-3-Clause */
/* One S3 request: signed, sent, its answer gathered, and a refusal explained. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "cleanup.h"
#include "davtext.h"
#include "msg.h"
#include "s3.h"

/* A page of a listing: 1,000 keys of 1,024 bytes, each escaped as three, and what stands around them. */
#define LONGEST_BODY (16 * 1024 * 1024)

/* Servers take 15 minutes (S3 API Reference, RequestTimeTooSkewed); less than this may be the way here. */
#define CLOCK_DIFFERENCE_S 240

void
s3_request_query (struct s3_request *request, const char *name, const char *value)
{
  if (request->nr_query < S3_MAX_QUERY)
    request->query[request->nr_query++] = (struct sigv4_pair) { name, value };
}

void
s3_request_header (struct s3_request *request, const char *name, const char *value)
{
  if (value && request->nr_headers < S3_MAX_HEADERS)
    request->headers[request->nr_headers++] = (struct sigv4_pair) { name, value };
}

/* ---- sending ---- */

/* What belongs to the remote and may change: a snapshot. */
struct sender {
  char *path, *host, *region;
  bool secure;
  struct s3_credentials credentials;
  time_t now;
};

static void
sender_clear (struct sender *sender)
{
  free (sender->path);
  free (sender->host);
  free (sender->region);
  s3_credentials_free (&sender->credentials);
}

static int
sender_take (struct sender *sender, struct s3 *s3, const char *key)
{
  const struct s3_credentials *from = &s3->credentials;

  LOCK_FOR_SCOPE (&s3->lock);
  sender->path = s3_url_path (&s3->url, key);
  sender->host = strdup (s3->url.host);
  sender->region = strdup (s3->region);
  sender->secure = s3->url.secure;
  sender->now = time (NULL) + s3->skew;
  if (from->access) {
    sender->credentials.access = strdup (from->access);
    sender->credentials.secret = strdup (from->secret);
    sender->credentials.session = from->session ? strdup (from->session) : NULL;
    if (sender->credentials.access == NULL || sender->credentials.secret == NULL ||
        (from->session && sender->credentials.session == NULL))
      return -1;
  }
  return sender->path && sender->host && sender->region ? 0 : -1;
}

/* "Name: value" lines, malloc'ed, for http.h. */
struct lines {
  char *line[S3_MAX_HEADERS + 6];
  size_t n;
};

static int
add_line (struct lines *lines, const char *name, const char *value)
{
  if (value == NULL)
    return 0;
  /* libcurl's way to say an empty value; "Name:" alone would take the header away. */
  if (asprintf (&lines->line[lines->n], "%s%s%s", name, *value ? ": " : ";", value) == -1) {
    lines->line[lines->n] = NULL;
    return -1;
  }
  lines->n++;
  return 0;
}

static bool
has_header (const struct s3_request *request, const char *name)
{
  for (size_t i = 0; i < request->nr_headers; i++)
    if (strcasecmp (request->headers[i].name, name) == 0)
      return true;
  return false;
}

/* Everything that may fail for want of memory; then http_submit takes over. */
static int
sign (struct sender *sender, const struct s3_request *request, struct lines *lines, char **ret_url)
{
  const struct sigv4_keys keys = {
    .access = sender->credentials.access ? sender->credentials.access : "",
    .secret = sender->credentials.secret ? sender->credentials.secret : "",
    .session = sender->credentials.session,
  };
  char hash[65];
  struct sigv4_request signing = {
    .method = request->method,
    .host = sender->host,
    .path = sender->path,
    .query = request->query,
    .nr_query = request->nr_query,
    .headers = request->headers,
    .nr_headers = request->nr_headers,
    .payload = SIGV4_EMPTY,
    .sends_payload = true,
    .region = sender->region,
    .service = "s3",
    .now = sender->now,
  };
  CLEANUP_FREE char *path = sigv4_encode (sender->path, false);
  struct sigv4 signature;
  int r = -1;

  if (request->read)
    signing.payload = request->payload ? request->payload : SIGV4_UNSIGNED;
  else if (request->body) {
    sigv4_sha256 (request->body, request->body_len, hash);
    signing.payload = hash;
  }
  if (sigv4_sign (&keys, &signing, &signature) == -1 || path == NULL)
    goto out;
  for (size_t i = 0; i < request->nr_headers; i++)
    if (add_line (lines, request->headers[i].name, request->headers[i].value) == -1)
      goto out;
  /* Otherwise libcurl says that it is a form. */
  if ((request->body || request->read) && !has_header (request, "content-type") &&
      add_line (lines, "Content-Type", "application/octet-stream") == -1)
    goto out;
  if (keys.access[0] &&
      (add_line (lines, "x-amz-date", signature.date) == -1 ||
       add_line (lines, "x-amz-content-sha256", signing.payload) == -1 ||
       add_line (lines, "x-amz-security-token", keys.session) == -1 ||
       add_line (lines, "Authorization", signature.authorization) == -1))
    goto out;
  if (asprintf (ret_url, "%s%s%s%s%s", sender->secure ? "https://" : "http://", sender->host, path,
                *signature.query ? "?" : "", signature.query) == -1)
    *ret_url = NULL;
  else
    r = 0;
 out:
  sigv4_clear (&signature);
  return r;
}

static void
send_with (struct s3 *s3, const struct s3_request *request, const struct http_sink *sink, void *opaque,
           int (*read) (void *, void *, size_t, uint64_t))
{
  struct sender sender = { NULL };
  struct lines lines = { { NULL }, 0 };
  CLEANUP_FREE char *url = NULL;

  if (sender_take (&sender, s3, request->key) == -1 || sign (&sender, request, &lines, &url) == -1)
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
  /* Nobody on the way may exchange what we send. */
  else if (request->read && request->payload == NULL && !sender.secure)
    sink->done (opaque, CLOUD_LOCAL, "a body without a hash is sent only over TLS");
  else {
    const struct http_request http = {
      .method = request->method,
      .url = url,
      .headers = (const char *const *) lines.line,
      .body = request->body,
      .body_len = request->body_len,
      .read = read,
      .read_len = request->read_len,
      .patience_s = request->patience_s,
      .once = request->once,
      .urgent = request->urgent,
      .as_is = true,
    };

    http_submit (s3->http, &http, sink, opaque);
  }
  for (size_t i = 0; i < lines.n; i++)
    free (lines.line[i]);
  sender_clear (&sender);
}

void
s3_send (struct s3 *s3, const struct s3_request *request, const struct http_sink *sink, void *opaque)
{
  send_with (s3, request, sink, opaque, NULL);
}

/* ---- answers ---- */

/* What is kept of the headers: x-amz-* and these.  They are also all of an object's that a copy can keep. */
static const char *const useful[] = {
  "etag", "content-length", "last-modified", "date", "content-type", "cache-control", "content-disposition",
  "content-encoding", "content-language", "expires",
};

static bool
is_useful (const char *name)
{
  if (strncasecmp (name, "x-amz-", 6) == 0)
    return true;
  for (size_t i = 0; i < sizeof useful / sizeof useful[0]; i++)
    if (strcasecmp (name, useful[i]) == 0)
      return true;
  return false;
}

int
s3_answer_take_headers (struct s3_answer *answer, const struct http_answer *from)
{
  struct curl_header *header = NULL;

  answer->status = from->status;
  while ((header = curl_easy_nextheader (from->handle, CURLH_HEADER, -1, header)) != NULL) {
    struct s3_header *longer;

    if (!is_useful (header->name))
      continue;
    longer = realloc (answer->headers, (answer->nr_headers + 1) * sizeof *longer);
    if (longer == NULL)
      return -1;
    answer->headers = longer;
    longer[answer->nr_headers].name = strdup (header->name);
    /* libcurl 7.88 gives the end of the line as the value of an empty header. */
    longer[answer->nr_headers].value = strndup (header->value, strcspn (header->value, "\r\n"));
    answer->nr_headers++;
    if (longer[answer->nr_headers - 1].name == NULL || longer[answer->nr_headers - 1].value == NULL)
      return -1;
  }
  return 0;
}

const char *
s3_answer_header (const struct s3_answer *answer, const char *name)
{
  for (size_t i = 0; i < answer->nr_headers; i++)
    if (strcasecmp (answer->headers[i].name, name) == 0)
      return answer->headers[i].value;
  return NULL;
}

uint64_t
s3_answer_size (const struct s3_answer *answer)
{
  const char *text = s3_answer_header (answer, "content-length");
  uint64_t size;

  return text && davtext_parse_number (text, &size) == 0 ? size : 0;
}

struct timespec
s3_answer_time (const struct s3_answer *answer)
{
  const char *text = s3_answer_header (answer, "last-modified");
  struct timespec t = { 0 };

  if (text == NULL || davtext_parse_time (text, &t) == -1)
    t.tv_sec = 0;
  return t;
}

void
s3_answer_clear (struct s3_answer *answer)
{
  for (size_t i = 0; i < answer->nr_headers; i++) {
    free (answer->headers[i].name);
    free (answer->headers[i].value);
  }
  free (answer->headers);
  free (answer->sentence);
  free (answer->body);
  free (answer->code);
  free (answer->message);
  memset (answer, 0, sizeof *answer);
}

/* ---- asking ---- */

struct asking {
  struct s3_answer answer;
  size_t body_alloc;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
  void *read_opaque;
  void (*done) (void *opaque, struct s3_answer *answer);
  void *opaque;
  enum cloud_result failure;   /* of ours, while the body came */
};

static int
on_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct asking *asking = opaque;

  return asking->read (asking->read_opaque, buf, n, offset);
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct asking *asking = opaque;

  if (s3_answer_take_headers (&asking->answer, answer) == 0)
    return HTTP_TAKE;
  asking->failure = CLOUD_LOCAL;
  return HTTP_ABORT;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct asking *asking = opaque;
  struct s3_answer *answer = &asking->answer;

  if (answer->body_len + n > LONGEST_BODY) {
    asking->failure = CLOUD_BAD;
    return -1;
  }
  if (answer->body_len + n + 1 > asking->body_alloc) {
    const size_t alloc = (answer->body_len + n + 1) * 2;
    char *longer = realloc (answer->body, alloc);

    if (longer == NULL) {
      asking->failure = CLOUD_LOCAL;
      return -1;
    }
    answer->body = longer;
    asking->body_alloc = alloc;
  }
  memcpy (answer->body + answer->body_len, buf, n);
  answer->body_len += n;
  return 0;
}

static void
read_error (struct s3_answer *answer)
{
  struct s3_document document;
  CLEANUP_FREE char *why = NULL;

  if (s3_xml_read (answer->body, answer->body_len, "Error", NULL, NULL, &document, &why) == 0) {
    answer->code = document.code;
    answer->message = document.message;
    document.code = document.message = NULL;
  }
  s3_document_free (&document);
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct asking *asking = opaque;
  struct s3_answer *answer = &asking->answer;

  answer->result = asking->failure != CLOUD_OK ? asking->failure : result;
  if (answer->result == CLOUD_OK && answer->body == NULL && (answer->body = malloc (1)) == NULL)
    answer->result = CLOUD_LOCAL;
  if (answer->result != CLOUD_OK)
    answer->sentence = strdup (asking->failure == CLOUD_BAD ? "the server's answer is too long" :
                               asking->failure != CLOUD_OK || sentence == NULL ? "out of memory" : sentence);
  else {
    answer->body[answer->body_len] = '\0';
    if (answer->status / 100 != 2)
      read_error (answer);
  }
  asking->done (asking->opaque, answer);
  s3_answer_clear (answer);
  free (asking);
}

void
s3_ask (struct s3 *s3, const struct s3_request *request, void (*done) (void *opaque, struct s3_answer *answer),
        void *opaque)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };
  struct asking *asking = calloc (1, sizeof *asking);
  struct s3_answer failed = { .result = CLOUD_LOCAL };

  if (asking == NULL) {
    done (opaque, &failed);
    return;
  }
  asking->read = request->read;
  asking->read_opaque = request->read_opaque;
  asking->done = done;
  asking->opaque = opaque;
  send_with (s3, request, &sink, asking, request->read ? on_read : NULL);
}

/* ---- what a refusal means ---- */

/* S3 API Reference, "Error responses"; and those of Ceph and MinIO that AWS does not have. */
static const struct {
  const char *code;
  enum cloud_result result;
  const char *why;
} codes[] = {
  { "InvalidAccessKeyId", CLOUD_AUTH, "the server does not know the access key" },
  { "SignatureDoesNotMatch", CLOUD_AUTH, "the server does not accept the secret key" },
  { "ExpiredToken", CLOUD_AUTH, "the session token has expired" },
  { "InvalidToken", CLOUD_AUTH, "the server does not accept the session token" },
  { "TokenRefreshRequired", CLOUD_AUTH, "the session token has expired" },
  { "InvalidSecurity", CLOUD_AUTH, "the server does not accept the keys" },
  { "NotSignedUp", CLOUD_AUTH, "the account may not use the service" },
  { "RequestTimeTooSkewed", CLOUD_AUTH, "this host's clock is wrong" },
  { "AuthorizationHeaderMalformed", CLOUD_AUTH, "the bucket is in another region; give region=" },
  { "AccessDenied", CLOUD_DENIED, "the server denies access" },
  { "AllAccessDisabled", CLOUD_DENIED, "the bucket is closed" },
  { "UserSuspended", CLOUD_DENIED, "the account is suspended" },
  { "InvalidObjectState", CLOUD_DENIED, "the object is archived, and has to be restored before it can be read" },
  { "NoSuchBucket", CLOUD_GONE, "there is no such bucket" },
  { "NoSuchKey", CLOUD_GONE, "there is no such object" },
  { "PermanentRedirect", CLOUD_BAD, "the bucket is at another endpoint; give endpoint= or region=" },
  { "TemporaryRedirect", CLOUD_BAD, "the bucket is at another endpoint for now; give endpoint= or region=" },
  { "NoSuchUpload", CLOUD_BUSY, "the upload has been ended by somebody else" },
  { "InvalidPart", CLOUD_BUSY, "the upload has been changed by somebody else" },
  { "OperationAborted", CLOUD_BUSY, "somebody else changes this at the same time" },
  { "ConditionalRequestConflict", CLOUD_BUSY, "somebody else changes this at the same time" },
  { "RequestTimeout", CLOUD_BUSY, "the server did not get the whole request in time" },
  { "BadDigest", CLOUD_BUSY, "the bytes that the server got are not those that were sent" },
  { "XAmzContentSHA256Mismatch", CLOUD_BUSY, "the bytes that the server got are not those that were sent" },
  { "IncompleteBody", CLOUD_BUSY, "the server did not get the whole request" },
  { "QuotaExceeded", CLOUD_FULL, "the quota is used up" },
  { "XMinioStorageFull", CLOUD_FULL, "the server has no room left" },
  { "EntityTooLarge", CLOUD_REFUSED, "the server does not take files of this size" },
  { "KeyTooLong", CLOUD_REFUSED, "the server does not take names of this length" },
  { "KeyTooLongError", CLOUD_REFUSED, "the server does not take names of this length" },
  { "MetadataTooLarge", CLOUD_REFUSED, "the object's metadata are too long" },
};

static bool
is_change (const char *method)
{
  return strcmp (method, "GET") != 0 && strcmp (method, "HEAD") != 0;
}

static enum cloud_result
result_of_status (const char *method, int status, bool signed_, const char **ret_why)
{
  *ret_why = "the server gave an answer that makes no sense here";
  switch (status) {
  case 401:
    *ret_why = signed_ ? "the server does not accept the keys" : "the server asks for keys";
    return CLOUD_AUTH;
  case 403:
    *ret_why = signed_ ? "the server denies access" : "the server denies access to those without keys";
    return signed_ ? CLOUD_DENIED : CLOUD_AUTH;
  case 404:
  case 410:
    *ret_why = "there is no such object";
    return CLOUD_GONE;
  case 412:
  case 416:
    *ret_why = "the object has another version by now";
    return CLOUD_CHANGED;
  case 409:
    *ret_why = "somebody else changes this at the same time";
    return CLOUD_BUSY;
  case 408:
  case 423:
  case 425:
  case 429:
    *ret_why = "the server asks to try again later";
    return CLOUD_BUSY;
  case 507:
    *ret_why = "the server has no room left";
    return CLOUD_FULL;
  case 400:
  case 405:
  case 411:
  case 413:
  case 414:
  case 415:
  case 422:
  case 431:
  case 501:
    if (!is_change (method))
      return CLOUD_BAD;
    *ret_why = "the server does not take this";
    return CLOUD_REFUSED;
  }
  if (status / 100 == 5) {
    *ret_why = "the server has a problem";
    return CLOUD_BUSY;
  }
  if (status / 100 == 3)
    *ret_why = "the server redirects; give the right endpoint= or region=";
  return CLOUD_BAD;
}

/* Whether the refusal may be for the wrong time of our signature, which is mended for the next. */
static bool
learn_clock (struct s3 *s3, const struct s3_answer *answer)
{
  const char *text = answer->status == 403 ? s3_answer_header (answer, "date") : NULL;
  struct timespec date;
  time_t difference;

  if (text == NULL || davtext_parse_time (text, &date) == -1)
    return false;
  LOCK_FOR_SCOPE (&s3->lock);
  difference = date.tv_sec - (time (NULL) + s3->skew);
  if (difference < CLOCK_DIFFERENCE_S && difference > -CLOCK_DIFFERENCE_S)
    return false;
  s3->skew += difference;
  return true;
}

enum cloud_result
s3_refusal (struct s3 *s3, const char *method, const char *key, const struct s3_answer *answer, char **ret_sentence)
{
  const bool has_code = answer->code != NULL;
  enum cloud_result result;
  const char *why;
  bool signed_;

  {
    LOCK_FOR_SCOPE (&s3->lock);
    signed_ = s3->credentials.access != NULL;
  }
  if (answer->result != CLOUD_OK) {
    *ret_sentence = answer->sentence ? strdup (answer->sentence) : NULL;
    return answer->result;
  }
  if (learn_clock (s3, answer)) {
    result = CLOUD_BUSY;
    why = "this host's clock and the server's differ, which is taken into account from now on";
  }
  else
    result = result_of_status (method, answer->status, signed_, &why);
  for (size_t i = 0; has_code && result != CLOUD_BUSY && i < sizeof codes / sizeof codes[0]; i++)
    if (strcmp (codes[i].code, answer->code) == 0 && (signed_ || codes[i].result != CLOUD_DENIED)) {
      result = codes[i].result;
      why = codes[i].why;
      break;
    }
  if (asprintf (ret_sentence, "s3://%s/%s: %s (%s: %d%s%.60s)", s3->url.bucket, key, why, method, answer->status,
                has_code ? " " : "", has_code ? answer->code : "") == -1)
    *ret_sentence = NULL;
  return result;
}

/* ---- waiting for an answer ---- */

void
s3_call_init (struct s3_call *call, const char *method, const char *key)
{
  memset (call, 0, sizeof *call);
  pthread_mutex_init (&call->lock, NULL);
  pthread_cond_init (&call->cond, NULL);
  call->request.method = method;
  call->request.key = key;
}

static void
call_done (void *opaque, struct s3_answer *answer)
{
  struct s3_call *call = opaque;

  LOCK_FOR_SCOPE (&call->lock);
  call->answer = *answer;
  memset (answer, 0, sizeof *answer);
  call->done = true;
  pthread_cond_signal (&call->cond);
}

void
s3_call_start (struct s3_call *call, struct s3 *s3)
{
  call->done = false;
  s3_answer_clear (&call->answer);
  s3_ask (s3, &call->request, call_done, call);
}

void
s3_call_wait (struct s3_call *call)
{
  LOCK_FOR_SCOPE (&call->lock);
  while (!call->done)
    pthread_cond_wait (&call->cond, &call->lock);
}

int
s3_call_run (struct s3_call *call, struct s3 *s3)
{
  for (int i = 0; i < 2; i++) {
    s3_call_start (call, s3);
    s3_call_wait (call);
    if (call->answer.result != CLOUD_OK || !learn_clock (s3, &call->answer))
      break;
  }
  return call->answer.result == CLOUD_OK ? call->answer.status : 0;
}

void
s3_call_again (struct s3_call *call, const char *method, const char *key)
{
  s3_answer_clear (&call->answer);
  memset (&call->request, 0, sizeof call->request);
  call->request.method = method;
  call->request.key = key;
}

void
s3_call_clear (struct s3_call *call)
{
  s3_answer_clear (&call->answer);
  pthread_cond_destroy (&call->cond);
  pthread_mutex_destroy (&call->lock);
}
