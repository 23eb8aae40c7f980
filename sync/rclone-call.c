/* SPDX-License-Identifier: BSD-3-Clause */
/* One call of rclone's remote control: JSON there, JSON back, and what an error means. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "rclone.h"

/* Of an answer that is no listing. */
#define LONGEST_ANSWER (1024 * 1024)

/* rclone answers the features with nothing deeper than 6. */
#define DEEPEST 16

/* rclone may try a request to the cloud several times, each for as long as the time-out, before it says anything. */
#define TRIES 3
#define PATIENCE_S 15

enum cloud_result
rclone_reach (struct rclone *rclone, struct rclone_access *access, char **ret_sentence)
{
  *ret_sentence = NULL;
  *access = (struct rclone_access) { NULL };
  if (rclone->daemon)
    return rclone_daemon_ask (rclone->daemon, access, ret_sentence) == 0 ? CLOUD_OK : CLOUD_OFFLINE;
  access->url = strdup (rclone->base);
  return access->url ? CLOUD_OK : CLOUD_LOCAL;
}

/* ---- parameters ---- */

void
rclone_call_init (struct rclone_call *call, struct rclone *rclone, const char *verb, const char *path)
{
  memset (call, 0, sizeof *call);
  pthread_mutex_init (&call->lock, NULL);
  pthread_cond_init (&call->cond, NULL);
  call->rclone = rclone;
  call->verb = verb;
  call->path = path;
  call->longest = LONGEST_ANSWER;
  call->patience_s = TRIES * rclone->timeout_s + PATIENCE_S;
  call->in = json_object_new_object ();
}

/* Without memory the whole object goes, and the call fails. */
static void
add (struct rclone_call *call, struct json_object *object, const char *key, struct json_object *value)
{
  if (object == NULL || value == NULL || json_object_object_add (object, key, value) != 0) {
    json_object_put (value);
    json_object_put (call->in);
    call->in = NULL;
  }
}

void
rclone_call_text (struct rclone_call *call, const char *key, const char *value)
{
  if (call->in)
    add (call, call->in, key, json_object_new_string (value));
}

void
rclone_call_flag (struct rclone_call *call, const char *group, const char *key)
{
  struct json_object *object = call->in;

  if (call->in == NULL)
    return;
  if (group && !json_object_object_get_ex (call->in, group, &object)) {
    object = json_object_new_object ();
    add (call, call->in, group, object);
    if (call->in == NULL)
      return;
  }
  add (call, object, key, json_object_new_boolean (true));
}

void
rclone_call_item_as (struct rclone_call *call, const char *fs_key, const char *remote_key, const char *path)
{
  rclone_call_text (call, fs_key, call->rclone->remote.fs);
  rclone_call_text (call, remote_key, path);
}

void
rclone_call_item (struct rclone_call *call, const char *path)
{
  rclone_call_item_as (call, "fs", "remote", path);
}

void
rclone_call_listing (struct rclone_call *call, const struct rclone_features *features)
{
  rclone_call_flag (call, "opt", "noMimeType");
  if (*features->hash) {
    struct json_object *opt, *kinds = json_object_new_array ();

    rclone_call_flag (call, "opt", "showHash");
    if (kinds && json_object_array_add (kinds, json_object_new_string (features->hash)) == 0 && call->in &&
        json_object_object_get_ex (call->in, "opt", &opt))
      add (call, opt, "hashTypes", kinds);
    else {
      json_object_put (kinds);
      json_object_put (call->in);
      call->in = NULL;
    }
  }
  if (features->slow_mtime)
    rclone_call_flag (call, "_config", "UseServerModTime");
}

/* ---- the answer ---- */

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct rclone_call *call = opaque;

  call->status = answer->status;
  return HTTP_TAKE;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct rclone_call *call = opaque;

  if (call->body_len + n > call->longest) {
    call->result = CLOUD_BAD;
    return -1;
  }
  if (call->body_len + n > call->body_alloc) {
    const size_t alloc = (call->body_len + n) * 2;
    char *longer = realloc (call->body, alloc);

    if (longer == NULL) {
      call->result = CLOUD_LOCAL;
      return -1;
    }
    call->body = longer;
    call->body_alloc = alloc;
  }
  memcpy (call->body + call->body_len, buf, n);
  call->body_len += n;
  return 0;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct rclone_call *call = opaque;

  LOCK_FOR_SCOPE (&call->lock);
  if (result != CLOUD_OK && call->result == CLOUD_OK) {
    call->result = result;
    call->sentence = sentence ? strdup (sentence) : NULL;
  }
  call->done = true;
  pthread_cond_signal (&call->cond);
}

static enum cloud_result
fail (struct rclone_call *call, enum cloud_result result, const char *why, const char *detail)
{
  const bool has_path = call->path && *call->path;

  free (call->sentence);
  if (asprintf (&call->sentence, "%s%s%s: %s%s%s%s", call->rclone->cloud.identity, has_path ? "/" : "",
                has_path ? call->path : "", why ? why : "", why && detail ? " (" : "", detail ? detail : "",
                why && detail ? ")" : "") == -1)
    call->sentence = NULL;
  return call->result = result;
}

static struct json_object *
parse (const struct rclone_call *call)
{
  struct json_tokener *tokener = json_tokener_new_ex (DEEPEST);
  struct json_object *object = NULL;

  if (tokener == NULL)
    return NULL;
  if (call->body_len > 0 && call->body_len < INT32_MAX)
    object = json_tokener_parse_ex (tokener, call->body, call->body_len);
  if (object && (json_tokener_get_error (tokener) != json_tokener_success ||
                 !json_object_is_type (object, json_type_object))) {
    json_object_put (object);
    object = NULL;
  }
  json_tokener_free (tokener);
  return object;
}

/* core/command says "error": true with a status of 200, and what the command printed. */
static const char *
error_text (struct json_object *out)
{
  struct json_object *error, *text;

  if (!json_object_object_get_ex (out, "error", &error))
    return NULL;
  if (json_object_is_type (error, json_type_string))
    return *json_object_get_string (error) ? json_object_get_string (error) : NULL;
  if (json_object_is_type (error, json_type_boolean) && json_object_get_boolean (error))
    return json_object_object_get_ex (out, "result", &text) && json_object_is_type (text, json_type_string) ?
      json_object_get_string (text) : "it failed";
  return NULL;
}

static void
judge (struct rclone_call *call)
{
  CLEANUP_FREE char *clean = NULL;
  const char *error, *why;
  enum cloud_result result;

  if (call->result == CLOUD_BAD)
    fail (call, CLOUD_BAD, "rclone's answer is too long", NULL);
  if (call->result != CLOUD_OK)
    return;
  call->out = parse (call);
  free (call->body);
  call->body = NULL;
  error = call->out ? error_text (call->out) : NULL;
  if (call->status == 200 && call->out && error == NULL)
    return;
  if (call->status == 200 && error == NULL) {
    fail (call, CLOUD_BAD, "this does not answer like rclone's remote control", NULL);
    return;
  }
  result = rclone_error_judge (call->status, error, call->path, &why);
  /* What is no remote control at all has other pages, also for what it does not have. */
  if (call->out == NULL && call->status != 401 && call->status != 403 && call->status / 100 != 5) {
    result = CLOUD_BAD;
    why = "this does not answer like rclone's remote control";
  }
  clean = error ? rclone_error_clean (error) : NULL;
  if (clean == NULL && asprintf (&clean, "status %d", call->status) == -1)
    clean = NULL;
  fail (call, result, why, clean);
}

/* ---- sending ---- */

void
rclone_call_start (struct rclone_call *call)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };
  const char *text = call->in ? json_object_to_json_string_ext (call->in, JSON_C_TO_STRING_PLAIN) : NULL;
  CLEANUP_FREE char *url = NULL, *why = NULL;
  enum cloud_result result = CLOUD_LOCAL;

  free (call->body);
  call->body = NULL;
  call->body_len = call->body_alloc = 0;
  json_object_put (call->out);
  call->out = NULL;
  free (call->sentence);
  call->sentence = NULL;
  call->result = CLOUD_OK;
  call->status = 0;
  call->done = false;
  rclone_access_clear (&call->access);
  if (text) {
    result = rclone_reach (call->rclone, &call->access, &why);
    if (result == CLOUD_OK && asprintf (&url, "%s/%s", call->access.url, call->verb) == -1) {
      url = NULL;
      result = CLOUD_LOCAL;
    }
  }
  if (result != CLOUD_OK) {
    if (why)
      fail (call, result, why, NULL);
    call->result = result;
    call->done = true;
    return;
  }
  const char *const headers[] = { "Content-Type: application/json", call->access.header, NULL };
  const struct http_request request = {
    .method = "POST",
    .url = url,
    .headers = headers,
    .body = text,
    .body_len = strlen (text),
    .patience_s = call->patience_s,
    .once = call->tells_changes,
    .urgent = call->urgent,
  };

  http_submit (call->rclone->http, &request, &sink, call);
}

enum cloud_result
rclone_call_wait (struct rclone_call *call)
{
  {
    LOCK_FOR_SCOPE (&call->lock);
    while (!call->done)
      pthread_cond_wait (&call->cond, &call->lock);
  }
  judge (call);
  return call->result;
}

enum cloud_result
rclone_call_run (struct rclone_call *call)
{
  rclone_call_start (call);
  return rclone_call_wait (call);
}

void
rclone_call_clear (struct rclone_call *call)
{
  free (call->body);
  free (call->sentence);
  json_object_put (call->in);
  json_object_put (call->out);
  rclone_access_clear (&call->access);
  pthread_cond_destroy (&call->cond);
  pthread_mutex_destroy (&call->lock);
}
