/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading: --rc-serve gives the bytes of a file by GET, with ranges, but with no word about the version.
 *
 * So the file is looked at by another call, once the first bytes are here: what was open by then is what that look
 * shows, unless the version that is asked for was there before, gone in between, and came back.  Until the look has
 * ended, bytes are held back; at most STEP of them, as no more is asked for at once.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davtext.h"
#include "rclone.h"

/* Bytes that are asked for at once, and may be held back. */
#define STEP (UINT64_C (32) << 20)

/* Seconds for rclone to open the file, beyond the time-out. */
#define PATIENCE_S 60

struct getting {
  struct rclone_flow *flow;
  uint64_t next, end;          /* the sink gets bytes [next, end) of the file, of this step */

  pthread_mutex_t lock;        /* protects what follows */
  pthread_cond_t cond;
  bool begun, done;            /* the first bytes are here; the request has ended */
  bool verified;               /* what comes goes to the sink at once */
  bool refused;
  int status;
  uint64_t at;                 /* where the next byte of the body belongs */
  char *held;                  /* bytes from next on */
  size_t held_len, held_alloc;
  enum cloud_result result;
  char *sentence;
};

/* Call with the lock held. */
static void __attribute__ ((format (printf, 3, 4)))
fail (struct getting *getting, enum cloud_result result, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  if (getting->result != CLOUD_OK)
    return;
  getting->result = result;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL || asprintf (&getting->sentence, "%s/%s: %s", getting->flow->rclone->cloud.identity,
                               getting->flow->path, why) == -1)
    getting->sentence = NULL;
}

static enum http_verdict
take_part (struct getting *getting, const struct http_answer *answer)
{
  const char *text = http_answer_header (answer, "Content-Range");
  uint64_t first, last, total;

  if (text == NULL || davtext_parse_content_range (text, &first, &last, &total) == -1) {
    fail (getting, CLOUD_CHANGED, "rclone does not have the part of the file that was asked for");
    return HTTP_ABORT;
  }
  if (total != UINT64_MAX && total != getting->flow->size) {
    fail (getting, CLOUD_CHANGED, "the file has another size by now");
    return HTTP_ABORT;
  }
  if (first != getting->next || last + 1 != getting->end) {
    fail (getting, CLOUD_BAD, "rclone sent another part of the file (%.80s) than was asked for", text);
    return HTTP_ABORT;
  }
  getting->at = first;
  return HTTP_TAKE;
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct getting *getting = opaque;
  const char *length = http_answer_header (answer, "Content-Length");
  uint64_t n;

  LOCK_FOR_SCOPE (&getting->lock);
  getting->status = answer->status;
  if (answer->status == 206)
    return take_part (getting, answer);
  if (answer->status != 200) {
    getting->refused = true;
    return HTTP_SKIP;
  }
  if (length && (davtext_parse_number (length, &n) == -1 || n != getting->flow->size)) {
    fail (getting, CLOUD_CHANGED, "the file has another size by now");
    return HTTP_ABORT;
  }
  if (getting->next != 0 || getting->end != getting->flow->size) {
    fail (getting, CLOUD_BAD, "rclone does not know ranges of this file");
    return HTTP_ABORT;
  }
  getting->at = 0;
  return HTTP_TAKE;
}

/* Call with the lock held. */
static int
give (struct getting *getting, const void *buf, size_t n)
{
  struct rclone_flow *flow = getting->flow;

  if (flow->get_sink->data (flow->opaque, buf, n, getting->next) == -1) {
    fail (getting, CLOUD_LOCAL, "the bytes could not be kept");
    return -1;
  }
  getting->next += n;
  return 0;
}

static int
hold (struct getting *getting, const void *buf, size_t n)
{
  if (getting->held_len + n > getting->held_alloc) {
    const size_t alloc = (getting->held_len + n) * 2;
    char *longer = realloc (getting->held, alloc);

    if (longer == NULL) {
      fail (getting, CLOUD_LOCAL, "out of memory");
      return -1;
    }
    getting->held = longer;
    getting->held_alloc = alloc;
  }
  memcpy (getting->held + getting->held_len, buf, n);
  getting->held_len += n;
  return 0;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct getting *getting = opaque;

  LOCK_FOR_SCOPE (&getting->lock);
  if (!getting->begun) {
    getting->begun = true;
    pthread_cond_signal (&getting->cond);
  }
  if (getting->result != CLOUD_OK)
    return -1;
  if (n > getting->end - getting->at) {
    fail (getting, CLOUD_BAD, "rclone sent more bytes than it had announced");
    return -1;
  }
  getting->at += n;
  return getting->verified ? give (getting, buf, n) : hold (getting, buf, n);
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct getting *getting = opaque;

  LOCK_FOR_SCOPE (&getting->lock);
  if (getting->result == CLOUD_OK && result != CLOUD_OK) {
    getting->result = result;
    getting->sentence = sentence ? strdup (sentence) : NULL;
  }
  else if (getting->result == CLOUD_OK && !getting->refused && getting->at < getting->end)
    fail (getting, CLOUD_OFFLINE, "rclone broke off in the middle of the file");
  getting->begun = getting->done = true;
  pthread_cond_signal (&getting->cond);
}

static void
await (struct getting *getting, const bool *what)
{
  LOCK_FOR_SCOPE (&getting->lock);
  while (!*what)
    pthread_cond_wait (&getting->cond, &getting->lock);
}

/* The look, and what was held back until then.  What was refused or broken off is explained by it, too. */
static enum cloud_result
verify (struct rclone_flow *flow, struct getting *getting)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_file (flow, flow->path, &seen);

  if (result == CLOUD_OK) {
    result = rclone_flow_judge (flow, flow->path, &seen);
    /* A folder in its place is another version, too. */
    if (result == CLOUD_EXISTS)
      result = CLOUD_CHANGED;
  }
  LOCK_FOR_SCOPE (&getting->lock);
  if (getting->result == CLOUD_OK && getting->refused && result == CLOUD_OK)
    fail (getting, getting->status == 404 ? CLOUD_BUSY : getting->status == 401 ? CLOUD_AUTH : CLOUD_BUSY,
          "rclone does not give the file (GET: %d); does it serve files (--rc-serve)?", getting->status);
  if (getting->result != CLOUD_OK)
    return result == CLOUD_GONE || result == CLOUD_CHANGED ? result : CLOUD_OK;
  if (result != CLOUD_OK) {
    /* Ends the request, if it is still under way. */
    getting->result = result;
    return result;
  }
  if (getting->held_len > 0)
    give (getting, getting->held, getting->held_len);
  getting->held_len = 0;
  getting->verified = true;
  return CLOUD_OK;
}

static void
submit (struct rclone_flow *flow, struct getting *getting, const struct rclone_access *access, const char *url)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };
  const char *headers[3] = { NULL };
  size_t n = 0;
  char range[80];
  const struct http_request request = {
    .method = "GET",
    .url = url,
    .headers = headers,
    .urgent = flow->urgent,
    .as_is = true,
    .patience_s = PATIENCE_S,
  };

  snprintf (range, sizeof range, "Range: bytes=%llu-%llu", (unsigned long long) getting->next,
            (unsigned long long) getting->end - 1);
  if (getting->next > 0 || getting->end < flow->size)
    headers[n++] = range;
  if (access->header)
    headers[n++] = access->header;
  http_submit (flow->rclone->http, &request, &sink, getting);
}

/* One request. */
static enum cloud_result
get_step (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_ACCESS struct rclone_access access = { NULL };
  CLEANUP_FREE char *path = rclone_remote_url_path (&flow->rclone->remote, flow->path), *why = NULL, *url = NULL;
  struct getting getting = { .flow = flow, .next = flow->offset };
  enum cloud_result result = rclone_reach (flow->rclone, &access, &why);

  if (result != CLOUD_OK)
    return why ? rclone_flow_fail (flow, result, flow->path, "%s", why) : result;
  if (path == NULL || asprintf (&url, "%s%s", access.url, path) == -1) {
    url = NULL;
    return rclone_flow_no_memory (flow);
  }
  getting.end = flow->length > STEP ? flow->offset + STEP : flow->offset + flow->length;
  pthread_mutex_init (&getting.lock, NULL);
  pthread_cond_init (&getting.cond, NULL);
  submit (flow, &getting, &access, url);
  await (&getting, &getting.begun);
  result = verify (flow, &getting);
  await (&getting, &getting.done);
  if (result == CLOUD_OK && getting.result != CLOUD_OK) {
    free (flow->sentence);
    flow->sentence = getting.sentence;
    getting.sentence = NULL;
    result = getting.result;
  }
  free (getting.sentence);
  free (getting.held);
  pthread_cond_destroy (&getting.cond);
  pthread_mutex_destroy (&getting.lock);
  flow->length -= getting.next - flow->offset;
  flow->offset = getting.next;
  return result;
}

static enum cloud_result
get (struct rclone_flow *flow)
{
  struct rclone_daemon *daemon = flow->rclone->daemon;
  enum cloud_result result = CLOUD_OK;
  unsigned again = 0;

  while (result == CLOUD_OK && flow->length > 0) {
    const unsigned starts = daemon ? rclone_daemon_starts (daemon) : 0;

    result = get_step (flow);
    /* Our own rclone has ended: where this is about one file, another can go on. */
    if ((result == CLOUD_OFFLINE || result == CLOUD_BAD) && daemon && again++ < 2 &&
        !rclone_lane_sleep (flow->rclone->lanes[RCLONE_READS], 100) && rclone_daemon_wait (daemon, RCLONE_BACK_MS) &&
        rclone_daemon_starts (daemon) != starts)
      result = CLOUD_OK;
  }
  return result;
}

static void
finish_get (struct rclone_flow *flow, enum cloud_result result, const char *sentence)
{
  flow->get_sink->done (flow->opaque, result, sentence);
}

void
rclone_get (struct cloud *cloud, const struct cloud_get *what, const struct cloud_get_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_new ((struct rclone *) cloud, what->path, opaque);

  if (flow) {
    flow->get_sink = sink;
    flow->finish = finish_get;
    flow->urgent = what->urgent;
    flow->size = what->size;
    flow->offset = what->offset;
    flow->length = what->length;
    flow->expect = strdup (what->token);
    if (flow->expect) {
      rclone_flow_begin (flow, RCLONE_READS, get);
      return;
    }
    rclone_flow_end (flow, CLOUD_LOCAL);
    return;
  }
  sink->done (opaque, CLOUD_LOCAL, "out of memory");
}
