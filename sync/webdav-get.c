/* SPDX-License-Identifier: BSD-3-Clause */
/* GET of a range of one version (RFC 9110, 14).
 *
 * Conditions sent by the client are ignored by some servers and misunderstood by others, so none is sent: the answer's
 * own entity tag, time, range and length are held against the version asked for, before the first byte is passed on.
 *
 * A 206 may be shorter than the range (RFC 9110, 15.3.7), and KaraDAV's lacks the last byte, which leaves nothing of a
 * single one.  The rest is then asked for with an open end, which no server gets wrong, and cut off here.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davtext.h"
#include "webdav.h"

/* Bytes behind the range that are read and dropped to keep the connection. */
#define MAX_DRAIN (256 * 1024)

struct getting {
  struct webdav *dav;
  char *url, *token;
  uint64_t size, offset, end;    /* the version's size; the range, bytes [offset, end) of it */
  bool urgent;
  const struct cloud_get_sink *sink;
  void *opaque;

  uint64_t next;                 /* the byte that the sink gets next */
  uint64_t round_began;          /* next when the current request was sent; at first UINT64_MAX */
  bool open_end;                 /* it asked for all from there on */

  /* The current answer. */
  uint64_t at;                   /* where in the version the next byte of the body belongs */
  uint64_t body_end;             /* where the body has to end */
  bool enough;                   /* it was cut off, as the rest is not wanted */

  /* The verdict; once it is not CLOUD_OK it stays. */
  enum cloud_result result;
  char *sentence;
};

static void
getting_free (struct getting *getting)
{
  free (getting->url);
  free (getting->token);
  free (getting->sentence);
  free (getting);
}

static enum http_verdict __attribute__ ((format (printf, 3, 4)))
fail (struct getting *getting, enum cloud_result result, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  if (getting->result != CLOUD_OK)
    return HTTP_SKIP;
  getting->result = result;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL || asprintf (&getting->sentence, "%s: %s", getting->url, why) == -1)
    getting->sentence = NULL;
  return HTTP_ABORT;
}

/* Whether the answer is of the version asked for, as far as its headers tell. */
static bool
is_version (const struct getting *getting, const struct http_answer *answer)
{
  const char *etag = http_answer_header (answer, "ETag"), *modified = http_answer_header (answer, "Last-Modified");
  CLEANUP_FREE char *token = NULL;
  struct timespec mtime;

  if (getting->token[0] != '~') {
    if (etag == NULL)
      return true;
    token = davtext_normal_etag (etag, NULL);
  }
  else {
    /* Where the listing had no time, there is nothing to compare. */
    const size_t len = strlen (getting->token);

    if (modified == NULL || davtext_parse_time (modified, &mtime) == -1 || strcmp (getting->token + len - 2, "-0") == 0)
      return true;
    token = webdav_made_token (getting->size, &mtime);
  }
  /* Without memory nothing is known, and CLOUD_CHANGED makes the caller look again. */
  return token && strcmp (token, getting->token) == 0;
}

/* A 206: which bytes these are. */
static enum http_verdict
take_part (struct getting *getting, const struct http_answer *answer)
{
  const char *text = http_answer_header (answer, "Content-Range"), *length;
  uint64_t first, last, total, n;

  if (text == NULL)
    return fail (getting, CLOUD_BAD, "the server sent a part of the file without saying which");
  if (davtext_parse_content_range (text, &first, &last, &total) == -1) {
    if (!getting->open_end) {
      getting->at = getting->body_end = getting->next;
      return HTTP_SKIP;
    }
    return fail (getting, CLOUD_BAD, "the server sent a part of the file that makes no sense (%.80s)", text);
  }
  if (total != UINT64_MAX && total != getting->size)
    return fail (getting, CLOUD_CHANGED, "the file has another size by now");
  if (first != getting->next || last >= getting->size)
    return fail (getting, CLOUD_BAD, "the server sent another part of the file (%.80s) than was asked for", text);
  length = http_answer_header (answer, "Content-Length");
  if (length && (davtext_parse_number (length, &n) == -1 || n != last - first + 1))
    return fail (getting, CLOUD_BAD, "the server's length (%.40s) and range (%.80s) contradict each other", length,
                 text);
  getting->at = first;
  getting->body_end = last + 1;
  return HTTP_TAKE;
}

/* A 200: the whole file, also where a part was asked for. */
static enum http_verdict
take_whole (struct getting *getting, const struct http_answer *answer)
{
  const char *length = http_answer_header (answer, "Content-Length");
  uint64_t n;

  if (length && (davtext_parse_number (length, &n) == -1 || n != getting->size))
    return fail (getting, CLOUD_CHANGED, "the file has another size by now");
  getting->at = 0;
  getting->body_end = getting->size;
  return HTTP_TAKE;
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct getting *getting = opaque;

  if (answer->status != 200 && answer->status != 206) {
    getting->result = webdav_refusal (getting->dav, "GET", getting->url, answer->status, &getting->sentence);
    return HTTP_SKIP;
  }
  if (!is_version (getting, answer))
    return fail (getting, CLOUD_CHANGED, "the file has another version by now");
  return answer->status == 206 ? take_part (getting, answer) : take_whole (getting, answer);
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct getting *getting = opaque;
  const char *from = buf;

  if (n > getting->body_end - getting->at) {
    fail (getting, CLOUD_BAD, "the server sent more bytes than it had announced");
    return -1;
  }
  if (getting->at < getting->next) {
    const uint64_t before = getting->next - getting->at, skip = n < before ? n : before;

    getting->at += skip;
    from += skip;
    n -= skip;
  }
  if (n > 0 && getting->next < getting->end) {
    const uint64_t left = getting->end - getting->next, take = n < left ? n : left;

    if (getting->sink->data (getting->opaque, from, take, getting->next) == -1) {
      fail (getting, CLOUD_LOCAL, "the bytes could not be kept");
      return -1;
    }
    getting->next += take;
  }
  getting->at += n;
  getting->enough = getting->next == getting->end && getting->body_end - getting->at > MAX_DRAIN;
  return getting->enough ? -1 : 0;
}

static void submit (struct getting *getting);

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct getting *getting = opaque;

  if (getting->result == CLOUD_OK && !getting->enough) {
    if (result != CLOUD_OK) {
      getting->result = result;
      getting->sentence = sentence ? strdup (sentence) : NULL;
    }
    else if (getting->at < getting->body_end)
      fail (getting, CLOUD_BAD, "the server sent fewer bytes than it had announced");
    else if (getting->next < getting->end) {
      if (getting->next > getting->round_began || !getting->open_end) {
        submit (getting);
        return;
      }
      fail (getting, CLOUD_BAD, "the server sends nothing of the part that was asked for");
    }
  }
  if (getting->result != CLOUD_OK && getting->sentence == NULL)
    getting->sink->done (getting->opaque, getting->result, "out of memory");
  else
    getting->sink->done (getting->opaque, getting->result, getting->sentence);
  getting_free (getting);
}

static const struct http_sink http_sink = {
  .answer = on_answer,
  .data = on_data,
  .done = on_done,
};

static void
submit (struct getting *getting)
{
  char range[80];
  const char *const headers[] = { range, NULL };
  const bool first = getting->round_began == UINT64_MAX;
  const bool whole = first && getting->offset == 0 && getting->end == getting->size;
  const struct http_request request = {
    .method = "GET",
    .url = getting->url,
    .headers = whole ? NULL : headers,
    .urgent = getting->urgent,
    .follow = true,
  };

  getting->open_end = !first || whole;
  if (!getting->open_end)
    snprintf (range, sizeof range, "Range: bytes=%llu-%llu", (unsigned long long) getting->next,
              (unsigned long long) getting->end - 1);
  else
    snprintf (range, sizeof range, "Range: bytes=%llu-", (unsigned long long) getting->next);
  getting->round_began = getting->next;
  http_submit (getting->dav->http, &request, &http_sink, getting);
}

void
webdav_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque)
{
  struct webdav *dav = (struct webdav *) cloud;
  struct getting *getting = calloc (1, sizeof *getting);

  if (getting) {
    getting->dav = dav;
    getting->url = webdav_url (dav, get->path, false);
    getting->token = strdup (get->token);
    getting->size = get->size;
    getting->offset = getting->next = get->offset;
    getting->end = get->offset + get->length;
    getting->round_began = UINT64_MAX;
    getting->urgent = get->urgent;
    getting->sink = sink;
    getting->opaque = opaque;
  }
  if (getting == NULL || getting->url == NULL || getting->token == NULL) {
    if (getting)
      getting_free (getting);
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  submit (getting);
}
