/* SPDX-License-Identifier: BSD-3-Clause */
/* GetObject of a range of one version.
 *
 * If-Match goes with it, and the answer's own entity tag, range and length are held against what was asked for before
 * the first byte is passed on, as some servers ignore conditions and some do not know ranges.  Where the whole object
 * comes at once and its entity tag is the MD5 of the content, that is verified.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "cleanup.h"
#include "davtext.h"
#include "s3.h"

/* Bytes behind the range that are read and dropped to keep the connection. */
#define MAX_DRAIN (256 * 1024)

/* Of an error document. */
#define LONGEST_ERROR (64 * 1024)

struct getting {
  struct s3 *s3;
  char *key, *token;
  uint64_t size, next, end;      /* the version's size; the sink gets bytes [next, end) of it */
  bool whole, urgent;
  const struct cloud_get_sink *sink;
  void *opaque;
  struct checksum *md5;          /* of the content as its tag tells it, or NULL */

  /* The current answer. */
  struct s3_answer answer;       /* of a refusal */
  bool refused;
  uint64_t at, body_end;         /* where the next byte of the body belongs, and where the body has to end */
  bool enough;                   /* it was cut off, as the rest is not wanted */
  bool progress;                 /* it gave something */

  /* The verdict; once it is not CLOUD_OK it stays. */
  enum cloud_result result;
  char *sentence;
};

static void
getting_free (struct getting *getting)
{
  s3_answer_clear (&getting->answer);
  checksum_free (getting->md5);
  free (getting->key);
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
  if (why == NULL || asprintf (&getting->sentence, "s3://%s/%s: %s", getting->s3->url.bucket, getting->key, why) == -1)
    getting->sentence = NULL;
  return HTTP_ABORT;
}

/* Encrypted with a key of the user's or of a key service, an object has a tag that is no MD5. */
static void
expect_md5 (struct getting *getting, const struct http_answer *answer)
{
  const char *sse = http_answer_header (answer, "x-amz-server-side-encryption");
  char hex[33], expected[40];

  if (!getting->whole || getting->md5 || !s3_token_md5 (getting->token, hex) || (sse && strcmp (sse, "AES256") != 0) ||
      http_answer_header (answer, "x-amz-server-side-encryption-customer-algorithm"))
    return;
  snprintf (expected, sizeof expected, "MD5:%s", hex);
  getting->md5 = checksum_new (expected);
}

static enum http_verdict
take_part (struct getting *getting, const struct http_answer *answer)
{
  const char *text = http_answer_header (answer, "Content-Range");
  uint64_t first, last, total;

  if (text == NULL || davtext_parse_content_range (text, &first, &last, &total) == -1)
    return fail (getting, CLOUD_BAD, "the server sent a part of the object without saying which");
  if (total != UINT64_MAX && total != getting->size)
    return fail (getting, CLOUD_CHANGED, "the object has another size by now");
  if (first != getting->next || last >= getting->size)
    return fail (getting, CLOUD_BAD, "the server sent another part of the object (%.80s) than was asked for", text);
  getting->at = first;
  getting->body_end = last + 1;
  return HTTP_TAKE;
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct getting *getting = opaque;
  const char *etag = http_answer_header (answer, "ETag"), *length = http_answer_header (answer, "Content-Length");
  CLEANUP_FREE char *token = etag ? davtext_normal_etag (etag, NULL) : NULL;
  uint64_t n;

  if (answer->status != 200 && answer->status != 206) {
    getting->refused = true;
    if (s3_answer_take_headers (&getting->answer, answer) == -1)
      return fail (getting, CLOUD_LOCAL, "out of memory");
    return HTTP_TAKE;
  }
  if (etag && (token == NULL || strcmp (token, getting->token) != 0))
    return fail (getting, CLOUD_CHANGED, "the object has another version by now");
  expect_md5 (getting, answer);
  if (answer->status == 206)
    return take_part (getting, answer);
  if (length && (davtext_parse_number (length, &n) == -1 || n != getting->size))
    return fail (getting, CLOUD_CHANGED, "the object has another size by now");
  getting->at = 0;
  getting->body_end = getting->size;
  return HTTP_TAKE;
}

static int
keep_error (struct getting *getting, const void *buf, size_t n)
{
  struct s3_answer *answer = &getting->answer;
  char *longer;

  if (answer->body_len + n > LONGEST_ERROR)
    return 0;
  longer = realloc (answer->body, answer->body_len + n);
  if (longer == NULL)
    return -1;
  memcpy (longer + answer->body_len, buf, n);
  answer->body = longer;
  answer->body_len += n;
  return 0;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct getting *getting = opaque;
  const char *from = buf;

  if (getting->refused)
    return keep_error (getting, buf, n);
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

    if (getting->md5)
      checksum_add (getting->md5, from, take);
    if (getting->sink->data (getting->opaque, from, take, getting->next) == -1) {
      fail (getting, CLOUD_LOCAL, "the bytes could not be kept");
      return -1;
    }
    getting->next += take;
    getting->progress = true;
  }
  getting->at += n;
  getting->enough = getting->next == getting->end && getting->body_end - getting->at > MAX_DRAIN;
  return getting->enough ? -1 : 0;
}

/* Tags of servers that make them otherwise must not make files unreadable: the first that is right speaks for all. */
static void
verify (struct getting *getting)
{
  if (getting->md5 == NULL || getting->next != getting->end)
    return;
  if (checksum_matches (getting->md5))
    atomic_store (&getting->s3->tags_are_md5, true);
  else if (atomic_load (&getting->s3->tags_are_md5))
    fail (getting, CLOUD_BAD, "the bytes that the server sent do not match its MD5 of them");
}

static void submit (struct getting *getting);

static void
explain (struct getting *getting)
{
  struct s3_answer *answer = &getting->answer;
  struct s3_document document;
  CLEANUP_FREE char *why = NULL;

  if (answer->body_len > 0) {
    if (s3_xml_read (answer->body, answer->body_len, "Error", NULL, NULL, &document, &why) == 0) {
      answer->code = document.code;
      document.code = NULL;
    }
    s3_document_free (&document);
  }
  getting->result = s3_refusal (getting->s3, "GET", getting->key, answer, &getting->sentence);
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct getting *getting = opaque;

  if (getting->result == CLOUD_OK && !getting->enough) {
    if (result != CLOUD_OK) {
      getting->result = result;
      getting->sentence = sentence ? strdup (sentence) : NULL;
    }
    else if (getting->refused)
      explain (getting);
    else if (getting->at < getting->body_end)
      fail (getting, CLOUD_BAD, "the server sent fewer bytes than it had announced");
    else if (getting->next < getting->end) {
      /* A part may be shorter than what was asked for (RFC 9110, 15.3.7). */
      if (getting->progress) {
        submit (getting);
        return;
      }
      fail (getting, CLOUD_BAD, "the server sends nothing of the part that was asked for");
    }
  }
  if (getting->result == CLOUD_OK)
    verify (getting);
  getting->sink->done (getting->opaque, getting->result,
                       getting->result == CLOUD_OK ? NULL : getting->sentence ? getting->sentence : "out of memory");
  getting_free (getting);
}

static void
submit (struct getting *getting)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };
  struct s3_request request = { .method = "GET", .key = getting->key, .urgent = getting->urgent };
  char range[80];

  getting->progress = false;
  snprintf (range, sizeof range, "bytes=%llu-%llu", (unsigned long long) getting->next,
            (unsigned long long) getting->end - 1);
  if (!getting->whole || getting->next > 0)
    s3_request_header (&request, "Range", range);
  s3_request_header (&request, "If-Match", getting->token);
  s3_send (getting->s3, &request, &sink, getting);
}

void
s3_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque)
{
  struct s3 *s3 = (struct s3 *) cloud;
  struct getting *getting = calloc (1, sizeof *getting);

  if (getting) {
    getting->s3 = s3;
    getting->key = s3_url_key (&s3->url, get->path, false);
    getting->token = strdup (get->token);
    getting->size = get->size;
    getting->next = get->offset;
    getting->end = get->offset + get->length;
    getting->whole = get->offset == 0 && get->length == get->size;
    getting->urgent = get->urgent;
    getting->sink = sink;
    getting->opaque = opaque;
  }
  if (getting == NULL || getting->key == NULL || getting->token == NULL) {
    if (getting)
      getting_free (getting);
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  submit (getting);
}
