/* SPDX-License-Identifier: BSD-3-Clause */
/* What one HTTP request sets in libcurl, hears from it, and becomes when it ends. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "http-job.h"

/* Seconds for name lookup, TCP and TLS together. */
#define CONNECT_TIMEOUT 10L
#define MAX_REDIRECTS 5L
#define BUFFER_SIZE (512L * 1024)
#define UPLOAD_BUFFER_SIZE (128L * 1024)

/* Of a body that nobody wants, so much is read to keep the connection; beyond, a new connection is cheaper. */
#define MAX_SKIPPED (256 * 1024)

struct job *
job_new (struct http_common *common, const struct http_request *request, const struct http_sink *sink, void *opaque)
{
  struct job *job = calloc (1, sizeof *job);
  struct curl_slist *longer;

  if (job == NULL)
    return NULL;
  job->common = common;
  job->method = request->method;
  job->urgent = request->urgent;
  job->follow = request->follow;
  job->read = request->read;
  job->read_len = request->read_len;
  job->patience_s = request->patience_s;
  job->once = request->once;
  job->as_is = request->as_is;
  /* libcurl 7.88 loses answers that come over HTTP/2 before the body was sent, and whether it was done is then
   * unknown. */
  job->http1 = request->once;
  job->sink = sink;
  job->opaque = opaque;
  job->url = strdup (request->url);
  if (job->url == NULL)
    goto failed;
  if (request->body) {
    job->body_len = request->body_len;
    job->body = malloc (request->body_len + 1);
    if (job->body == NULL)
      goto failed;
    memcpy (job->body, request->body, request->body_len);
  }
  /* Waiting for "100 Continue" costs a round trip, or a second with servers that never send it. */
  job->headers = curl_slist_append (NULL, "Expect:");
  if (job->headers == NULL)
    goto failed;
  for (const char *const *header = request->headers; header && *header; header++) {
    longer = curl_slist_append (job->headers, *header);
    if (longer == NULL)
      goto failed;
  }
  return job;

 failed:
  job_free (job);
  return NULL;
}

void
job_free (struct job *job)
{
  curl_slist_free_all (job->headers);
  free (job->url);
  free (job->body);
  free (job);
}

void
job_done (struct job *job, enum cloud_result result, const char *sentence)
{
  job->sink->done (job->opaque, result, sentence);
  job_free (job);
}

/* So many bytes have to move within the time-out. */
#define LOWEST_STEP 4096

/* Bytes a second, by libcurl's own count. */
#define LOWEST_SPEED 1L

/* ---- authentication ---- */

static long
auth_of (const struct job *job)
{
  const struct http_common *common = job->common;

  if (common->token)
    return CURLAUTH_BEARER;
  if (common->user == NULL)
    return CURLAUTH_NONE;
  if (common->auth)
    return common->auth;
  if (strncasecmp (job->url, "https:", 6) == 0)
    return CURLAUTH_BASIC;
  return CURLAUTH_BASIC | CURLAUTH_DIGEST;
}

/* Learns from an answer what the server wants.  True where the same request has to be sent again for it: Basic was sent
 * unasked, and the server takes Digest only. */
static bool
auth_learn (struct job *job, long status)
{
  struct http_common *common = job->common;
  const long sent = job->sent_auth;
  long offered = 0, redirects = 0;

  if (common->user == NULL || common->token)
    return false;
  if (common->auth) {
    /* It was under way when another request's answer told which scheme the server wants. */
    const bool late = status == 401 && sent != common->auth && !job->auth_again;

    job->auth_again = true;
    return late;
  }
  if (sent == CURLAUTH_BASIC && status >= 200 && status < 300) {
    common->auth = CURLAUTH_BASIC;
    return false;
  }
  curl_easy_getinfo (job->easy, CURLINFO_HTTPAUTH_AVAIL, &offered);
  curl_easy_getinfo (job->easy, CURLINFO_REDIRECT_COUNT, &redirects);
  if (offered == 0 || redirects > 0)
    return false;

  if (sent == CURLAUTH_BASIC) {
    if (status != 401 || (offered & CURLAUTH_BASIC) || !(offered & CURLAUTH_DIGEST))
      return false;
    common->auth = CURLAUTH_DIGEST;
    return true;
  }
  common->auth = offered & CURLAUTH_DIGEST ? CURLAUTH_DIGEST : offered & CURLAUTH_BASIC ? CURLAUTH_BASIC : 0;
  return false;
}

/* Digest begins with a 401 for each connection, and libcurl 7.88 mixes answers up where such a 401 comes over HTTP/2
 * before the request's body was read.  So HTTP/2 is for those who log in with the first request, once the server took
 * that. */
static bool
wants_http1 (const struct job *job)
{
  const struct http_common *common = job->common;

  /* A stream that is paused holds up the others of its connection. */
  if (common->up.limit > 0 || common->down.limit > 0)
    return true;
  return job->http1 || (common->user && common->token == NULL && common->auth != CURLAUTH_BASIC);
}

/* ---- what libcurl calls while a job runs ---- */

const char *
http_answer_header (const struct http_answer *answer, const char *name)
{
  struct curl_header *header;

  if (curl_easy_header (answer->handle, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
    return NULL;
  return header->value;
}

static time_t
now_s (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

/* ---- limits ---- */

uint64_t
job_clock_us (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Of a body that comes; none that goes is urgent. */
static enum rate_rank
rank_of (const struct job *job)
{
  return job->urgent ? RATE_URGENT : job->common->nr_urgent > 0 ? RATE_BEHIND : RATE_NORMAL;
}

/* While we make it wait, the server's silence is none. */
static void
pause (struct job *job, bool *paused)
{
  *paused = true;
  curl_easy_setopt (job->easy, CURLOPT_LOW_SPEED_LIMIT, 0L);
}

uint64_t
job_pause_left (const struct job *job, uint64_t now_us)
{
  struct http_common *common = job->common;
  const uint64_t up = job->paused_up ? rate_wait (&common->up, RATE_NORMAL, now_us) : UINT64_MAX;
  const uint64_t down = job->paused_down ? rate_wait (&common->down, rank_of (job), now_us) : UINT64_MAX;

  return up < down ? up : down;
}

CURLcode
job_resume (struct job *job)
{
  job->paused_up = job->paused_down = false;
  job->moved_at = now_s ();
  curl_easy_setopt (job->easy, CURLOPT_LOW_SPEED_LIMIT, LOWEST_SPEED);
  return curl_easy_pause (job->easy, CURLPAUSE_CONT);
}

/* The first byte of the body, or the end of a bodiless answer, is the moment at which an answer is known to be the last
 * one: libcurl keeps the bodies of redirects and of 401s that it acts upon to itself. */
static int
job_answer (struct job *job)
{
  struct http_answer answer = { .handle = job->easy };
  long status = 0;
  char *url = NULL;

  job->answered = true;
  curl_easy_getinfo (job->easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo (job->easy, CURLINFO_EFFECTIVE_URL, &url);
  if (auth_learn (job, status)) {
    job->again = job->skip = true;
    return 0;
  }
  answer.status = status;
  answer.url = url ? url : job->url;
  switch (job->sink->answer (job->opaque, &answer)) {
  case HTTP_TAKE:
    return 0;
  case HTTP_SKIP:
    job->skip = true;
    return 0;
  default:
    job->aborted = true;
    return -1;
  }
}

static size_t
on_body (char *buf, size_t one, size_t n, void *opaque)
{
  struct job *job = opaque;
  const uint64_t now = job_clock_us ();

  if (job->aborted || job->cut)
    return 0;
  /* libcurl keeps these bytes, and brings them again. */
  if (rate_allows (&job->common->down, rank_of (job), n, now) == 0) {
    pause (job, &job->paused_down);
    return CURL_WRITEFUNC_PAUSE;
  }
  rate_take (&job->common->down, n, now);
  if (!job->answered && job_answer (job) == -1)
    return 0;
  if (job->skip) {
    job->skipped += n;
    job->cut = job->skipped > MAX_SKIPPED;
    return job->cut ? 0 : n;
  }
  if (job->sink->data (job->opaque, buf, n) == -1) {
    job->aborted = true;
    return 0;
  }
  return n;
}

/* A relative Location keeps the scheme, so only an absolute one can lead out of TLS.  libcurl's list of schemes for
 * redirects cannot say this, as it holds for the whole chain. */
static size_t
on_header (char *line, size_t one, size_t n, void *opaque)
{
  static const char name[] = "location:";
  struct job *job = opaque;
  const size_t len = sizeof name - 1;
  size_t i = len;
  char *scheme = NULL;

  if (!job->follow || n <= len || strncasecmp (line, name, len) != 0)
    return n;
  while (i < n && (line[i] == ' ' || line[i] == '\t'))
    i++;
  if (n - i < 5 || strncasecmp (line + i, "http:", 5) != 0)
    return n;
  curl_easy_getinfo (job->easy, CURLINFO_SCHEME, &scheme);
  if (scheme == NULL || strcasecmp (scheme, "https") != 0)
    return n;
  job->insecure = true;
  return 0;
}

/* libcurl's own limit (which makes it call this every second) takes the average of the last seconds, and so comes late
 * by as many. */
static int
on_progress (void *opaque, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
  struct job *job = opaque;

  /* A trickle is as good as nothing, once it began: whoever waits for a range must not wait for weeks. */
  if (job->paused_up || job->paused_down)
    job->moved_at = now_s ();
  else if (job->moved == 0 ? down + up > 0 : down + up >= job->moved + LOWEST_STEP) {
    job->moved = down + up;
    job->moved_at = now_s ();
  }
  else if (now_s () - job->moved_at > job->common->timeout_s + job->patience_s)
    return 1;
  return 0;
}

static size_t
on_read (char *buf, size_t one, size_t n, void *opaque)
{
  struct job *job = opaque;
  const uint64_t left = job->read_len - job->read_at, now = job_clock_us ();

  if (n > left)
    n = left;
  if (n == 0)
    return 0;
  n = rate_allows (&job->common->up, RATE_NORMAL, n, now);
  if (n == 0) {
    pause (job, &job->paused_up);
    return CURL_READFUNC_PAUSE;
  }
  rate_take (&job->common->up, n, now);
  if (job->read (job->opaque, buf, n, job->read_at) == -1) {
    job->aborted = true;
    return CURL_READFUNC_ABORT;
  }
  job->read_at += n;
  return n;
}

static int
on_seek (void *opaque, curl_off_t offset, int origin)
{
  struct job *job = opaque;

  if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > job->read_len)
    return CURL_SEEKFUNC_FAIL;
  job->read_at = offset;
  return CURL_SEEKFUNC_OK;
}

/* ---- easy handles ---- */

#define SET(option, value)                                      \
  if (curl_easy_setopt (easy, option, value) != CURLE_OK)       \
    goto failed

CURL *
easy_new (struct http_common *common)
{
  CURL *easy = curl_easy_init ();

  if (easy == NULL)
    return NULL;
  SET (CURLOPT_SHARE, common->share);
  SET (CURLOPT_COOKIEFILE, "");
  SET (CURLOPT_NOSIGNAL, 1L);
  SET (CURLOPT_NOPROGRESS, 0L);
  SET (CURLOPT_XFERINFOFUNCTION, on_progress);
  SET (CURLOPT_TCP_NODELAY, 1L);
  SET (CURLOPT_TCP_KEEPALIVE, 1L);
  SET (CURLOPT_BUFFERSIZE, BUFFER_SIZE);
  SET (CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT);
  SET (CURLOPT_LOW_SPEED_LIMIT, LOWEST_SPEED);
  SET (CURLOPT_USERAGENT, "cloudshare/" PACKAGE_VERSION);
  SET (CURLOPT_PROTOCOLS_STR, "http,https");
  SET (CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  SET (CURLOPT_MAXREDIRS, MAX_REDIRECTS);
  SET (CURLOPT_POSTREDIR, (long) CURL_REDIR_POST_ALL);
  SET (CURLOPT_UNRESTRICTED_AUTH, 0L);
  SET (CURLOPT_SSL_VERIFYPEER, common->sslverify ? 1L : 0L);
  SET (CURLOPT_SSL_VERIFYHOST, common->sslverify ? 2L : 0L);
  if (common->no_proxy) {
    SET (CURLOPT_NOPROXY, "*");
  }
  if (common->cainfo) {
    SET (CURLOPT_CAINFO, common->cainfo);
    /* Only these authorities: Debian's libcurl would look in the system's folder as well. */
    SET (CURLOPT_CAPATH, NULL);
  }
  if (common->token) {
    SET (CURLOPT_XOAUTH2_BEARER, common->token);
  }
  else if (common->user) {
    SET (CURLOPT_USERNAME, common->user);
    SET (CURLOPT_PASSWORD, common->password ? common->password : "");
  }
  SET (CURLOPT_WRITEFUNCTION, on_body);
  SET (CURLOPT_HEADERFUNCTION, on_header);
  SET (CURLOPT_READFUNCTION, on_read);
  SET (CURLOPT_SEEKFUNCTION, on_seek);
  SET (CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_SIZE);
  return easy;

 failed:
  curl_easy_cleanup (easy);
  return NULL;
}

int
job_prepare (struct job *job, CURL *easy)
{
  job->easy = easy;
  job->moved = 0;
  job->moved_at = now_s ();
  job->paused_up = job->paused_down = false;
  SET (CURLOPT_LOW_SPEED_LIMIT, LOWEST_SPEED);
  SET (CURLOPT_PRIVATE, job);
  SET (CURLOPT_WRITEDATA, job);
  SET (CURLOPT_HEADERDATA, job);
  SET (CURLOPT_XFERINFODATA, job);
  SET (CURLOPT_ERRORBUFFER, job->error);
  SET (CURLOPT_PATH_AS_IS, job->as_is ? 1L : 0L);
  SET (CURLOPT_URL, job->url);
  SET (CURLOPT_HTTPHEADER, job->headers);
  job->sent_auth = auth_of (job);
  SET (CURLOPT_HTTPAUTH, job->sent_auth);
  SET (CURLOPT_FOLLOWLOCATION, job->follow ? 1L : 0L);
  /* A stream on a connection that is being set up is worth waiting for, where there can be streams. */
  SET (CURLOPT_PIPEWAIT, strncasecmp (job->url, "https:", 6) == 0 ? 1L : 0L);
  /* A libcurl without HTTP/2 refuses this and goes on with 1.1. */
  curl_easy_setopt (easy, CURLOPT_HTTP_VERSION, (long) (wants_http1 (job) ? CURL_HTTP_VERSION_1_1
                                                                          : CURL_HTTP_VERSION_2TLS));
  SET (CURLOPT_LOW_SPEED_TIME, (long) job->common->timeout_s + job->patience_s);
  SET (CURLOPT_READDATA, job);
  SET (CURLOPT_SEEKDATA, job);
  job->read_at = 0;
  SET (CURLOPT_NOBODY, 0L);
  SET (CURLOPT_UPLOAD, 0L);
  if (job->read) {
    SET (CURLOPT_POSTFIELDS, NULL);
    SET (CURLOPT_UPLOAD, 1L);
    SET (CURLOPT_INFILESIZE_LARGE, (curl_off_t) job->read_len);
    SET (CURLOPT_CUSTOMREQUEST, strcmp (job->method, "PUT") == 0 ? NULL : job->method);
  }
  else if (job->body) {
    rate_take (&job->common->up, job->body_len, job_clock_us ());
    SET (CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) job->body_len);
    SET (CURLOPT_POSTFIELDS, (char *) job->body);
    SET (CURLOPT_CUSTOMREQUEST, job->method);
  }
  else {
    SET (CURLOPT_POSTFIELDS, NULL);
    SET (CURLOPT_HTTPGET, 1L);
    SET (CURLOPT_CUSTOMREQUEST, strcmp (job->method, "GET") == 0 ? NULL : job->method);
    /* Its answer tells a length of which nothing comes. */
    if (strcmp (job->method, "HEAD") == 0)
      SET (CURLOPT_NOBODY, 1L);
  }
  return 0;

 failed:
  return -1;
}

#undef SET

/* ---- how a transfer ended ---- */

/* Returns a malloc'ed sentence, or NULL where there is no memory for it. */
static char *
job_failure (const struct job *job, CURLcode code, enum cloud_result *ret_result)
{
  const char *why = job->error[0] ? job->error : curl_easy_strerror (code);
  const char *hint = "";
  char *sentence;

  *ret_result = CLOUD_BAD;
  if (job->insecure)
    why = "the server redirects from https to http, which is refused";
  else
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
      *ret_result = CLOUD_OFFLINE;
      hint = "; if it is to be trusted, give the certificate of its authority with cainfo=FILE (or sslverify=false, "
        "which trusts anybody)";
      break;
    case CURLE_SSL_CONNECT_ERROR:
      *ret_result = CLOUD_OFFLINE;
      hint = "; TLS failed: does the server speak https at this port?";
      break;
    case CURLE_SSL_CACERT_BADFILE:
      *ret_result = CLOUD_OFFLINE;
      hint = "; cainfo= has to name a readable file of certificates in PEM form";
      break;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PROXY:
      *ret_result = CLOUD_OFFLINE;
      break;
    case CURLE_OPERATION_TIMEDOUT:
      *ret_result = CLOUD_OFFLINE;
      if (strncmp (why, "Operation too slow", 18) == 0)
        why = "the server has gone silent";
      break;
    case CURLE_ABORTED_BY_CALLBACK:
      *ret_result = CLOUD_OFFLINE;
      why = "the server has gone silent";
      break;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
      *ret_result = CLOUD_LOCAL;
      break;
    default:
      break;
    }
  if (asprintf (&sentence, "%s: %s%s", job->url, why, hint) == -1)
    return NULL;
  return sentence;
}

/* Makes the job wait for the server's word before it sends its body. */
static bool
job_expect (struct job *job)
{
  struct curl_slist *headers = curl_slist_append (NULL, "Expect: 100-continue"), *longer;

  /* The first header is "Expect:". */
  for (const struct curl_slist *header = job->headers->next; headers && header; header = header->next) {
    longer = curl_slist_append (headers, header->data);
    if (longer == NULL)
      curl_slist_free_all (headers);
    headers = longer;
  }
  if (headers == NULL)
    return false;
  curl_slist_free_all (job->headers);
  job->headers = headers;
  return true;
}

/* libcurl itself asks again where a kept connection turns out to be dead.  What it does not cover gets one more try
 * here: a TLS connection that dies in other ways before the first byte; and HTTP/2 servers that answer before they have
 * read the request's body and then reset the stream, as RFC 9113, 8.1 allows, upon which libcurl 7.88 loses the answer
 * (seen with Apache's 401).  HTTP/1.1 has no such resets. */
static bool
job_may_retry (struct job *job, CURLcode code)
{
  long connects = 0, header_bytes = 0;

  curl_easy_getinfo (job->easy, CURLINFO_NUM_CONNECTS, &connects);
  curl_easy_getinfo (job->easy, CURLINFO_HEADER_SIZE, &header_bytes);
  if (job->retried || job->answered || header_bytes > 0)
    return false;
  /* libcurl's own count of kept connections that died is the handle's, not the request's, and begins anew only after it has
   * failed one: that one goes on as those before it did. */
  if (code == CURLE_SEND_ERROR && strncmp (job->error, "Connection died", 15) == 0)
    return true;
  /* A server that refuses a body early and closes: the refusal is lost with the connection.  Asked first, it is
   * heard.  A body that was not sent whole cannot have been taken: sending it failed, or there was more to read. */
  if (job->once) {
    if (job->read == NULL || (code != CURLE_SEND_ERROR && (code != CURLE_RECV_ERROR || job->read_at == job->read_len)))
      return false;
    return job_expect (job);
  }
  switch (code) {
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
  case CURLE_GOT_NOTHING:      /* over HTTP/2 also where an early 401 got lost, on new connections, too */
    job->http1 = true;
    return true;
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
    return connects == 0;
  default:
    return false;
  }
}

bool
job_ended (struct job *job, CURLcode code, enum cloud_result *ret_result, char **ret_sentence)
{
  *ret_result = CLOUD_OK;
  *ret_sentence = NULL;
  if (code == CURLE_OK && !job->answered && job_answer (job) == -1)
    code = CURLE_WRITE_ERROR;
  if (job->aborted) {
    *ret_result = CLOUD_LOCAL;
    *ret_sentence = strdup ("the transfer was stopped by its receiver");
    return false;
  }
  if (job->again)
    job->again = false;
  else if (job_may_retry (job, code))
    job->retried = true;
  else {
    if (code != CURLE_OK && !job->cut)
      *ret_sentence = job_failure (job, code, ret_result);
    return false;
  }
  job->answered = job->skip = job->cut = false;
  job->skipped = 0;
  job->error[0] = '\0';
  return true;
}
