/* SPDX-License-Identifier: BSD-3-Clause */
/* The S3 provider: opening, probing and waiting.  s3.h tells where the rest is. */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "msg.h"
#include "s3-flow.h"
#include "s3.h"

/* ---- probe ---- */

static int
on_any (void *opaque, const struct s3_entry *entry)
{
  *(bool *) opaque = true;
  return 0;
}

/* AWS tells the region of a bucket that is elsewhere.  True: it was another, and the next request goes there. */
static bool
learn_region (struct s3 *s3, const struct s3_answer *answer)
{
  const char *region = s3_answer_header (answer, "x-amz-bucket-region");
  char *copy;

  LOCK_FOR_SCOPE (&s3->lock);
  if (answer->status / 100 == 2 || region == NULL || strcmp (region, s3->region) == 0 ||
      (copy = strdup (region)) == NULL)
    return false;
  if (s3_url_set_region (&s3->url, region) == -1) {
    free (copy);
    return false;
  }
  free (s3->region);
  s3->region = copy;
  return true;
}

static void
reread_keys (struct s3 *s3)
{
  struct s3_credentials fresh = { NULL };

  if (!s3->keys_from_files || !s3_credentials_reread (&fresh))
    return;
  LOCK_FOR_SCOPE (&s3->lock);
  s3_credentials_free (&s3->credentials);
  s3->credentials = fresh;
}

static char * __attribute__ ((format (printf, 2, 3)))
sentence_of (struct s3 *s3, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  char *sentence;
  va_list args;

  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  return why == NULL || asprintf (&sentence, "%s: %s", s3->cloud.identity, why) == -1 ? NULL : sentence;
}

static enum cloud_result
read_probe (struct s3 *s3, const struct s3_call *call, char **ret_sentence)
{
  static const struct s3_xml_sink sink = { .entry = on_any };
  const struct s3_answer *answer = &call->answer;
  CLEANUP_FREE char *why = NULL;
  struct s3_document document;
  enum cloud_result result = CLOUD_OK;
  bool any = false;

  if (s3_xml_read (answer->body, answer->body_len, "ListBucketResult", &sink, &any, &document, &why) == -1 ||
      s3_document_is_error (&document)) {
    *ret_sentence = sentence_of (s3, "this does not answer like an S3 server (%s)", why ? why : "an error");
    result = CLOUD_BAD;
  }
  /* A prefix that nothing begins with is more likely a mistake than a new one, and looks like a folder that was
   * emptied. */
  else if (!any && *s3->url.prefix) {
    *ret_sentence = sentence_of (s3, "there is nothing below this prefix; to begin a new one, put an empty object "
                                 "named %s", s3->url.prefix);
    result = CLOUD_GONE;
  }
  s3_document_free (&document);
  return result;
}

static enum cloud_result
s3_probe (struct cloud *cloud, char **ret_sentence)
{
  struct s3 *s3 = (struct s3 *) cloud;
  CLEANUP_S3_CALL struct s3_call call;
  enum cloud_result result;

  *ret_sentence = NULL;
  reread_keys (s3);
  s3_call_init (&call, "GET", "");
  call.request.urgent = true;
  s3_list_request (&call.request, s3->url.prefix, false, "1", NULL);
  s3_call_run (&call, s3);
  if (call.answer.result == CLOUD_OK && learn_region (s3, &call.answer))
    s3_call_run (&call, s3);
  if (call.answer.result == CLOUD_OK && call.answer.status == 200)
    result = read_probe (s3, &call, ret_sentence);
  else if (call.answer.result == CLOUD_OK && call.answer.code == NULL && call.answer.status / 100 == 4 &&
           call.answer.status != 403 && call.answer.status != 401) {
    result = CLOUD_BAD;
    *ret_sentence = sentence_of (s3, "this does not answer like an S3 server (status %d)", call.answer.status);
  }
  else
    result = s3_refusal (s3, "GET", s3->url.prefix, &call.answer, ret_sentence);
  if (result != CLOUD_OK && *ret_sentence == NULL)
    *ret_sentence = strdup ("out of memory");
  return result;
}

/* ---- waiting ---- */

static enum cloud_wait
s3_wait (struct cloud *cloud, int timeout_ms)
{
  return waker_wait (&((struct s3 *) cloud)->waker, timeout_ms) ? CLOUD_WAIT_WOKEN : CLOUD_WAIT_TIMEOUT;
}

static bool
s3_has_push (struct cloud *cloud)
{
  return false;
}

static void
s3_set_rates (struct cloud *cloud, uint64_t upload, uint64_t download)
{
  http_set_rates (((struct s3 *) cloud)->http, upload, download);
}

static char *
s3_object_path (struct cloud *cloud, const char *bucket, const char *key)
{
  const struct s3_url *url = &((struct s3 *) cloud)->url;
  const size_t n = strlen (url->prefix);

  return strcmp (bucket, url->bucket) == 0 && strncmp (key, url->prefix, n) == 0 ? strdup (key + n) : NULL;
}

static void
s3_wake (struct cloud *cloud)
{
  waker_wake (&((struct s3 *) cloud)->waker);
}

/* ---- from open to close ---- */

static int
s3_start (struct cloud *cloud)
{
  struct s3 *s3 = (struct s3 *) cloud;

  waker_reset (&s3->waker);
  if (http_start (s3->http) == -1)
    return -1;
  s3_flows_start (s3->flows);
  return 0;
}

static void
s3_stop (struct cloud *cloud)
{
  struct s3 *s3 = (struct s3 *) cloud;

  s3_wake (cloud);
  http_stop (s3->http);
  s3_flows_stop (s3->flows);
}

static void
s3_close (struct cloud *cloud)
{
  struct s3 *s3 = (struct s3 *) cloud;

  http_close (s3->http);
  s3_flows_free (s3->flows);
  s3_manners_free (s3->manners);
  waker_destroy (&s3->waker);
  pthread_mutex_destroy (&s3->lock);
  known_folders_destroy (&s3->folders);
  s3_url_free (&s3->url);
  s3_credentials_free (&s3->credentials);
  free (s3->region);
  free (s3->cloud.identity);
  free (s3);
}

static const struct cloud_ops s3_ops = {
  .name = "s3",
  .settle_ms = 0,              /* entity tags are made of the content */
  .move_copies = true,
  .probe = s3_probe,
  .list = s3_list,
  .get = s3_get,
  .put = s3_put,
  .mkdir = s3_mkdir,
  .move = s3_move,
  .remove = s3_remove,
  .touch = s3_touch,
  .wait = s3_wait,
  .has_push = s3_has_push,
  .set_rates = s3_set_rates,
  .object_path = s3_object_path,
  .start = s3_start,
  .stop = s3_stop,
  .wake = s3_wake,
  .close = s3_close,
};

struct cloud *
cloud_s3_open (const struct cloud_config *config)
{
  const struct http_config http_config = {
    .cainfo = config->cainfo,
    .sslverify = config->sslverify,
    .connections = config->connections,
    .timeout_s = config->timeout_s,
  };
  struct s3_settings settings;
  struct s3_url url;
  struct s3 *s3;

  if (config->user || config->password || config->token) {
    msg_error ("user=, password= and token= are not for S3: give access-key= and secret-key=");
    return NULL;
  }
  if (s3_settings_read (config, &settings) == -1)
    return NULL;
  if (s3_url_parse (config, settings.endpoint, settings.region, &url) == -1) {
    s3_settings_free (&settings);
    return NULL;
  }
  s3 = calloc (1, sizeof *s3);
  if (s3 == NULL) {
    msg_error ("out of memory");
    s3_settings_free (&settings);
    s3_url_free (&url);
    return NULL;
  }
  pthread_mutex_init (&s3->lock, NULL);
  known_folders_init (&s3->folders);
  waker_init (&s3->waker);
  s3->cloud.ops = &s3_ops;
  s3->url = url;
  s3->region = settings.region;
  s3->credentials = settings.credentials;
  s3->keys_from_files = settings.from_file;
  free (settings.endpoint);
  s3->cloud.identity = strdup (s3->url.identity);
  s3->manners = s3_manners_new ();
  s3->flows = s3_flows_new (s3, config->connections);
  if (s3->cloud.identity == NULL || s3->manners == NULL || s3->flows == NULL)
    msg_error ("out of memory");
  else
    s3->http = http_open (&http_config);
  if (s3->http == NULL) {
    s3_close (&s3->cloud);
    return NULL;
  }
  return &s3->cloud;
}
