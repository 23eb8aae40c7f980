/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells AWS's SNS that we want its messages. */

#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>

#include "door-confirm.h"
#include "door-event.h"
#include "fsutil.h"
#include "http.h"
#include "msg.h"

/* Milliseconds between two requests. */
#define PAUSE 10000

struct door_confirm {
  struct http *http;
  bool started;
  uint64_t asked_at;
  atomic_bool busy;
  atomic_int status;
};

struct door_confirm *
door_confirm_new (const char *cainfo)
{
  const struct http_config config = { .cainfo = cainfo, .sslverify = true, .connections = 1, .timeout_s = 20 };
  struct door_confirm *confirm = calloc (1, sizeof *confirm);

  if (confirm == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  confirm->http = http_open (&config);
  if (confirm->http == NULL) {
    free (confirm);
    return NULL;
  }
  return confirm;
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct door_confirm *confirm = opaque;

  atomic_store (&confirm->status, answer->status);
  return HTTP_SKIP;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct door_confirm *confirm = opaque;
  const int status = atomic_load (&confirm->status);

  /* The URL holds a token of AWS's. */
  if (result == CLOUD_STOPPED)
    ;
  else if (result == CLOUD_OK && status / 100 == 2)
    msg_notice ("push: the subscription of an SNS topic is confirmed");
  else
    msg_error ("push: the subscription of an SNS topic could not be confirmed (status %d): ask AWS to send the request again",
               result == CLOUD_OK ? status : 0);
  atomic_store (&confirm->busy, false);
}

void
door_confirm_ask (struct door_confirm *confirm, const char *url)
{
  static const struct http_sink sink = { .answer = on_answer, .done = on_done };
  const struct http_request request = { .method = "GET", .url = url };
  const uint64_t now = monotonic_ms ();

  if (!door_event_may_confirm (url)) {
    msg_error ("push: somebody wants a subscription confirmed at an address that is not AWS's: refused");
    return;
  }
  if (atomic_load (&confirm->busy) || (confirm->asked_at > 0 && now - confirm->asked_at < PAUSE))
    return;
  if (!confirm->started && http_start (confirm->http) == -1)
    return;
  confirm->started = true;
  confirm->asked_at = now;
  atomic_store (&confirm->status, 0);
  atomic_store (&confirm->busy, true);
  http_submit (confirm->http, &request, &sink, confirm);
}

void
door_confirm_free (struct door_confirm *confirm)
{
  if (confirm == NULL)
    return;
  http_close (confirm->http);
  free (confirm);
}
