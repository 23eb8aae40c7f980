/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads that changes run on, and the steps that they have in common. */

#include <config.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "s3-flow.h"

/* S3 User Guide, "Naming Amazon S3 objects". */
#define LONGEST_KEY 1024

/* Seconds that a server may be silent while it copies. */
#define COPY_PATIENCE_S 300

struct s3_flows {
  struct s3 *s3;
  unsigned most;
  pthread_t *threads;          /* room for most */

  /* Protects the members below.  Nothing else is locked under it, and no function of others is called. */
  pthread_mutex_t lock;
  pthread_cond_t cond;         /* first, or running, has changed */
  bool running;
  unsigned nr_threads, nr_idle, nr_waiting;
  struct s3_flow *first, *last;
};

/* ---- threads ---- */

static void *
flow_thread (void *opaque)
{
  struct s3_flows *flows = opaque;

  for (;;) {
    struct s3_flow *flow;
    bool running;

    {
      LOCK_FOR_SCOPE (&flows->lock);
      flows->nr_idle++;
      while (flows->running && flows->first == NULL)
        pthread_cond_wait (&flows->cond, &flows->lock);
      flows->nr_idle--;
      running = flows->running;
      flow = flows->first;
      if (flow == NULL)
        return NULL;
      flows->first = flow->next;
      flows->nr_waiting--;
    }
    s3_flow_end (flow, running ? flow->run (flow) : CLOUD_STOPPED);
  }
}

/* Call with the lock held. */
static void
start_thread (struct s3_flows *flows)
{
  sigset_t all, before;

  /* Signals are the program's. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  if (pthread_create (&flows->threads[flows->nr_threads], NULL, flow_thread, flows) == 0)
    flows->nr_threads++;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
}

void
s3_flow_begin (struct s3_flow *flow, enum cloud_result (*run) (struct s3_flow *flow))
{
  struct s3_flows *flows = flow->s3->flows;
  enum cloud_result result = CLOUD_OK;

  flow->run = run;
  atomic_store (&flow->s3->writing, true);
  {
    LOCK_FOR_SCOPE (&flows->lock);
    if (flows->running && flows->nr_idle <= flows->nr_waiting && flows->nr_threads < flows->most)
      start_thread (flows);
    if (!flows->running)
      result = CLOUD_STOPPED;
    else if (flows->nr_threads == 0)
      result = CLOUD_LOCAL;
    else {
      flow->next = NULL;
      if (flows->first)
        flows->last->next = flow;
      else
        flows->first = flow;
      flows->last = flow;
      flows->nr_waiting++;
      pthread_cond_signal (&flows->cond);
    }
  }
  if (result != CLOUD_OK)
    s3_flow_end (flow, result);
}

struct s3_flows *
s3_flows_new (struct s3 *s3, unsigned most)
{
  struct s3_flows *flows = calloc (1, sizeof *flows);

  if (flows == NULL)
    return NULL;
  flows->s3 = s3;
  flows->most = most > 0 ? most : 1;
  flows->threads = calloc (flows->most, sizeof *flows->threads);
  if (flows->threads == NULL) {
    free (flows);
    return NULL;
  }
  pthread_mutex_init (&flows->lock, NULL);
  pthread_cond_init (&flows->cond, NULL);
  return flows;
}

void
s3_flows_start (struct s3_flows *flows)
{
  LOCK_FOR_SCOPE (&flows->lock);
  flows->running = true;
}

void
s3_flows_stop (struct s3_flows *flows)
{
  {
    LOCK_FOR_SCOPE (&flows->lock);
    flows->running = false;
    pthread_cond_broadcast (&flows->cond);
  }
  for (unsigned i = 0; i < flows->nr_threads; i++)
    pthread_join (flows->threads[i], NULL);
  flows->nr_threads = 0;
}

void
s3_flows_free (struct s3_flows *flows)
{
  if (flows == NULL)
    return;
  pthread_cond_destroy (&flows->cond);
  pthread_mutex_destroy (&flows->lock);
  free (flows->threads);
  free (flows);
}

/* ---- from beginning to end ---- */

static void
flow_free (struct s3_flow *flow)
{
  free (flow->path);
  free (flow->to);
  free (flow->expect);
  free (flow->checksum);
  free (flow->key);
  free (flow->to_key);
  free (flow->sentence);
  s3_seen_clear (&flow->now);
  free (flow);
}

struct s3_flow *
s3_flow_new (struct s3 *s3, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = calloc (1, sizeof *flow);

  if (flow) {
    flow->s3 = s3;
    flow->sink = sink;
    flow->opaque = opaque;
    flow->path = strdup (path);
    flow->key = s3_url_key (&s3->url, path, false);
  }
  if (flow == NULL || flow->path == NULL || flow->key == NULL) {
    if (flow)
      flow_free (flow);
    sink->done (opaque, CLOUD_LOCAL, "out of memory", NULL);
    return NULL;
  }
  return flow;
}

void
s3_flow_end (struct s3_flow *flow, enum cloud_result result)
{
  const struct cloud_item now = s3_seen_item (&flow->now);
  const char *sentence = flow->sentence ? flow->sentence : result == CLOUD_STOPPED ? "stopped" : "out of memory";

  flow->sink->done (flow->opaque, result, result == CLOUD_OK ? NULL : sentence,
                    result == CLOUD_OK && flow->now.what != S3_NOTHING ? &now : NULL);
  flow_free (flow);
}

enum cloud_result
s3_flow_fail (struct s3_flow *flow, enum cloud_result result, const char *key, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  free (flow->sentence);
  flow->sentence = NULL;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL || asprintf (&flow->sentence, "s3://%s/%s: %s", flow->s3->url.bucket, key, why) == -1)
    flow->sentence = NULL;
  return result;
}

enum cloud_result
s3_flow_no_memory (struct s3_flow *flow)
{
  free (flow->sentence);
  flow->sentence = NULL;
  return CLOUD_LOCAL;
}

enum cloud_result
s3_flow_refuse (struct s3_flow *flow, const struct s3_call *call)
{
  free (flow->sentence);
  return s3_refusal (flow->s3, call->request.method, call->request.key, &call->answer, &flow->sentence);
}

enum cloud_result
s3_flow_document (struct s3_flow *flow, const struct s3_call *call, const char *root, const struct s3_xml_sink *sink,
                  void *opaque, struct s3_document *document)
{
  CLEANUP_FREE char *why = NULL;

  memset (document, 0, sizeof *document);
  if (call->answer.result != CLOUD_OK || call->answer.status != 200)
    return s3_flow_refuse (flow, call);
  if (s3_xml_read (call->answer.body, call->answer.body_len, root, sink, opaque, document, &why) == -1)
    return s3_flow_fail (flow, CLOUD_BAD, call->request.key, "%s", why ? why : "out of memory");
  if (s3_document_is_error (document)) {
    const bool refused = document->code && strcmp (document->code, "PreconditionFailed") == 0;

    return s3_flow_fail (flow, refused ? CLOUD_CHANGED : CLOUD_BUSY, call->request.key,
                         "the server has a problem (%s: %.60s)", call->request.method,
                         document->code ? document->code : "no code");
  }
  return CLOUD_OK;
}

enum cloud_result
s3_flow_may_name (struct s3_flow *flow, const char *path)
{
  const char *slash = strrchr (path, '/'), *name = slash ? slash + 1 : path;
  time_t made;

  if (*name == '\0' || strlen (flow->s3->url.prefix) + strlen (path) + 1 > LONGEST_KEY)
    return s3_flow_fail (flow, CLOUD_REFUSED, path, "S3 servers do not take keys of more than %d bytes", LONGEST_KEY);
  if (!s3_is_plain (name))
    return s3_flow_fail (flow, CLOUD_REFUSED, "", "a name with control characters cannot be listed again");
  if (s3_is_scratch_name (name, &made))
    return s3_flow_fail (flow, CLOUD_REFUSED, path, "names of this form are for scratch objects");
  return CLOUD_OK;
}

/* ---- looks ---- */

/* HEAD's refusals have no body to say why; a listing's have. */
static enum cloud_result
explain_head (struct s3_flow *flow, const struct s3_call *head)
{
  CLEANUP_S3_CALL struct s3_call call;

  s3_call_init (&call, "GET", "");
  s3_list_request (&call.request, flow->s3->url.prefix, false, "1", NULL);
  s3_call_run (&call, flow->s3);
  if (call.answer.result != CLOUD_OK || call.answer.status != 200)
    return s3_flow_refuse (flow, &call);
  return s3_flow_refuse (flow, head);
}

enum cloud_result
s3_flow_head (struct s3_flow *flow, const char *key, struct s3_seen *seen, struct s3_call *keep)
{
  struct s3_call own, *call = keep ? keep : &own;
  enum cloud_result result = CLOUD_OK;

  s3_seen_clear (seen);
  if (keep)
    s3_call_again (call, "HEAD", key);
  else
    s3_call_init (call, "HEAD", key);
  switch (s3_call_run (call, flow->s3)) {
  case 200:
    if (s3_answer_header (&call->answer, "etag") == NULL)
      result = s3_flow_fail (flow, CLOUD_BAD, key, "the server does not say its entity tag");
    else if (s3_seen_take (flow->s3, seen, &call->answer) == -1)
      result = s3_flow_no_memory (flow);
    break;
  case 404:
    break;
  case 400:
  case 403:
    result = explain_head (flow, call);
    break;
  default:
    result = s3_flow_refuse (flow, call);
  }
  if (!keep)
    s3_call_clear (call);
  return result;
}

struct folder_look {
  const char *folder_key;
  struct s3_seen *seen;
};

static int
on_key_in_folder (void *opaque, const struct s3_entry *entry)
{
  struct folder_look *look = opaque;
  const size_t len = strlen (look->folder_key);

  if (entry->kind != S3_ENTRY_KEY || strncmp (entry->key, look->folder_key, len) != 0)
    return 0;
  look->seen->what = S3_FOLDER;
  if (entry->key[len] == '\0' && entry->size == 0)
    look->seen->has_marker = true;
  else
    look->seen->has_children = true;
  return 0;
}

enum cloud_result
s3_flow_folder (struct s3_flow *flow, const char *folder_key, struct s3_seen *seen)
{
  static const struct s3_xml_sink sink = { .entry = on_key_in_folder };
  struct folder_look look = { folder_key, seen };
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;

  s3_seen_clear (seen);
  s3_call_init (&call, "GET", "");
  s3_list_request (&call.request, folder_key, false, "2", NULL);
  s3_call_run (&call, flow->s3);
  result = s3_flow_document (flow, &call, "ListBucketResult", &sink, &look, &document);
  s3_document_free (&document);
  return result;
}

static char *
parent_of (const char *path)
{
  const char *slash = strrchr (path, '/');

  return strndup (path, slash ? slash - path : 0);
}

enum cloud_result
s3_flow_parent (struct s3_flow *flow, const char *path)
{
  CLEANUP_FREE char *parent = parent_of (path), *key = NULL;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;
  bool has_marker;

  if (parent)
    key = s3_url_key (&flow->s3->url, parent, true);
  if (key == NULL)
    return s3_flow_no_memory (flow);
  if (*key == '\0' || known_folders_has (&flow->s3->folders, parent, &has_marker))
    return CLOUD_OK;
  result = s3_flow_folder (flow, key, &seen);
  if (result == CLOUD_OK && seen.what == S3_NOTHING)
    return s3_flow_fail (flow, CLOUD_PARENT, key, "the folder is not there");
  if (result == CLOUD_OK)
    known_folders_saw (&flow->s3->folders, parent, seen.has_marker);
  return result;
}

enum cloud_result
s3_flow_keep_parent (struct s3_flow *flow, const char *path)
{
  CLEANUP_FREE char *parent = parent_of (path), *key = NULL;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;
  bool has_marker = false;

  if (parent)
    key = s3_url_key (&flow->s3->url, parent, true);
  if (key == NULL)
    return s3_flow_no_memory (flow);
  known_folders_has (&flow->s3->folders, parent, &has_marker);
  if (*key == '\0' || has_marker)
    return CLOUD_OK;
  result = s3_flow_folder (flow, key, &seen);
  if (result == CLOUD_OK && !seen.has_marker)
    result = s3_flow_marker (flow, key, true, NULL);
  if (result == CLOUD_EXISTS)
    result = CLOUD_OK;
  if (result == CLOUD_OK)
    known_folders_saw (&flow->s3->folders, parent, true);
  return result;
}

enum cloud_result
s3_flow_no_folder (struct s3_flow *flow, const char *key)
{
  CLEANUP_FREE char *folder_key = NULL;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;

  if (asprintf (&folder_key, "%s/", key) == -1) {
    folder_key = NULL;
    return s3_flow_no_memory (flow);
  }
  result = s3_flow_folder (flow, folder_key, &seen);
  if (result == CLOUD_OK && seen.what != S3_NOTHING)
    return s3_flow_fail (flow, CLOUD_EXISTS, key, "there is a folder by that name already");
  return result;
}

enum cloud_result
s3_flow_judge (struct s3_flow *flow, const char *key, const struct s3_seen *seen)
{
  if (seen->what == S3_NOTHING)
    return s3_flow_fail (flow, CLOUD_GONE, key, "there is no such object any more");
  if (flow->expect && strcmp (seen->token, flow->expect) != 0)
    return s3_flow_fail (flow, CLOUD_CHANGED, key, "the object has another version by now");
  return CLOUD_OK;
}

/* ---- changes ---- */

char *
s3_condition (enum s3_form form, const char *token)
{
  const size_t len = strlen (token);

  return form == S3_FORM_PLAIN && len >= 2 ? strndup (token + 1, len - 2) : strdup (token);
}

enum cloud_result
s3_flow_marker (struct s3_flow *flow, const char *folder_key, bool only_new, const char *note)
{
  CLEANUP_S3_CALL struct s3_call call;
  int status;

  s3_call_init (&call, "PUT", folder_key);
  call.request.body = "";
  call.request.once = true;
  s3_request_header (&call.request, "x-amz-meta-cloudshare-move", note);
  if (only_new && flow->conduct.put_new)
    s3_request_header (&call.request, "If-None-Match", "*");
  status = s3_call_run (&call, flow->s3);
  if (status == 200)
    return CLOUD_OK;
  if (status == 412 && only_new)
    return s3_flow_fail (flow, CLOUD_EXISTS, folder_key, "there is a folder by that name already");
  return s3_flow_refuse (flow, &call);
}

enum cloud_result
s3_flow_discard (struct s3_flow *flow, const char *key)
{
  CLEANUP_S3_CALL struct s3_call call;
  int status;

  s3_call_init (&call, "DELETE", key);
  call.request.once = true;
  status = s3_call_run (&call, flow->s3);
  return status == 204 || status == 200 || status == 404 ? CLOUD_OK : s3_flow_refuse (flow, &call);
}

enum cloud_result
s3_flow_delete (struct s3_flow *flow, const char *key, const char *token)
{
  CLEANUP_FREE char *condition = s3_condition (flow->conduct.remove, token);
  CLEANUP_S3_CALL struct s3_call call;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result;
  int status;

  s3_call_init (&call, "DELETE", key);
  if (condition == NULL)
    return s3_flow_no_memory (flow);
  if (flow->conduct.remove == S3_FORM_NONE || !flow->conduct.remove_tells_gone) {
    result = s3_flow_head (flow, key, &seen, NULL);
    if (result != CLOUD_OK)
      return result;
    if (seen.what == S3_NOTHING)
      return s3_flow_fail (flow, CLOUD_GONE, key, "there is no such object any more");
    if (strcmp (seen.token, token) != 0)
      return s3_flow_fail (flow, CLOUD_CHANGED, key, "the object has another version by now");
    if (flow->conduct.remove == S3_FORM_NONE)
      return s3_flow_discard (flow, key);
  }
  call.request.once = true;
  s3_request_header (&call.request, "If-Match", condition);
  status = s3_call_run (&call, flow->s3);
  /* Swift compares the tag of an object of parts with another one, and refuses always: a look has to do. */
  if (status == 412) {
    result = s3_flow_head (flow, key, &seen, NULL);
    if (result == CLOUD_OK && seen.what == S3_FILE && strcmp (seen.token, token) == 0)
      return s3_flow_discard (flow, key);
  }
  return status == 204 || status == 200 ? CLOUD_OK : s3_flow_refuse (flow, &call);
}

/* Ceph 16 knows the header by a name of its own. */
void
s3_copy_condition (struct s3_request *request, const char *token)
{
  s3_request_header (request, "x-amz-copy-source-if-match", token);
  s3_request_header (request, "x-amz-copy-if-match", token);
}

char *
s3_copy_source (struct s3 *s3, const char *key)
{
  CLEANUP_FREE char *encoded = sigv4_encode (key, false);
  char *source;

  return encoded == NULL || asprintf (&source, "/%s/%s", s3->url.bucket, encoded) == -1 ? NULL : source;
}

/* Under the condition that the source has this token; NULL: under none.  Returns the status. */
static int
ask_copy (struct s3_flow *flow, struct s3_call *call, const char *source, const char *token, const char *to_key,
          bool only_new)
{
  s3_call_again (call, "PUT", to_key);
  call->request.body = "";
  call->request.once = true;
  call->request.patience_s = COPY_PATIENCE_S;
  s3_request_header (&call->request, "x-amz-copy-source", source);
  if (token)
    s3_copy_condition (&call->request, token);
  if (only_new && flow->conduct.copy_new)
    s3_request_header (&call->request, "If-None-Match", "*");
  return s3_call_run (call, flow->s3);
}

enum cloud_result
s3_flow_copy (struct s3_flow *flow, const char *key, const char *token, uint64_t size, const char *to_key,
              bool only_new, char **ret_token)
{
  CLEANUP_FREE char *source = s3_copy_source (flow->s3, key);
  CLEANUP_S3_CALL struct s3_call call;
  struct s3_document document;
  enum cloud_result result;
  int status;

  *ret_token = NULL;
  s3_call_init (&call, "PUT", to_key);
  if (source == NULL)
    return s3_flow_no_memory (flow);
  if (size > S3_SINGLE_COPY)
    return s3_multipart_copy (flow, key, token, size, to_key, only_new, ret_token);
  status = ask_copy (flow, &call, source, token, to_key, only_new);
  /* Which of both conditions was it? */
  if (status == 412) {
    CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };

    result = s3_flow_head (flow, key, &seen, NULL);
    if (result == CLOUD_OK && seen.what == S3_FILE && strcmp (seen.token, token) == 0) {
      if (only_new && flow->conduct.copy_new)
        return s3_flow_fail (flow, CLOUD_EXISTS, to_key, "there is something by that name already");
      /* Also here (s3_flow_delete). */
      ask_copy (flow, &call, source, NULL, to_key, only_new);
    }
    else
      return result == CLOUD_OK && seen.what == S3_NOTHING ?
        s3_flow_fail (flow, CLOUD_GONE, key, "there is no such object any more") : s3_flow_refuse (flow, &call);
  }
  result = s3_flow_document (flow, &call, "CopyObjectResult", NULL, NULL, &document);
  if (result == CLOUD_OK) {
    *ret_token = document.etag ? s3_token (document.etag) : NULL;
    if (document.etag == NULL)
      result = s3_flow_fail (flow, CLOUD_BAD, to_key, "the server does not say the copy's entity tag");
    else if (*ret_token == NULL)
      result = s3_flow_no_memory (flow);
  }
  s3_document_free (&document);
  return result;
}

/* ---- what is kept beside a file ---- */

int
s3_meta_make (const struct s3_flow *flow, bool with_checksum, struct s3_meta *meta)
{
  meta->mtime[0] = '\0';
  meta->own = NULL;
  if (flow->mtime.tv_sec == 0)
    return 0;
  snprintf (meta->mtime, sizeof meta->mtime, "%lld.%09ld", (long long) flow->mtime.tv_sec, flow->mtime.tv_nsec);
  if (with_checksum && flow->checksum &&
      asprintf (&meta->own, "%llu %s %s", (unsigned long long) flow->size, meta->mtime, flow->checksum) == -1) {
    meta->own = NULL;
    return -1;
  }
  return 0;
}

void
s3_meta_add (const struct s3_meta *meta, struct s3_request *request)
{
  s3_request_header (request, "x-amz-meta-mtime", meta->mtime[0] ? meta->mtime : NULL);
  s3_request_header (request, "x-amz-meta-cloudshare", meta->own);
}

int
s3_meta_copy (const struct s3_answer *from, bool own, struct s3_request *request)
{
  static const char *const kept[] = {
    "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
    "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
  };

  for (size_t i = 0; i < from->nr_headers; i++) {
    const struct s3_header *header = &from->headers[i];
    bool wanted = strncasecmp (header->name, "x-amz-meta-", 11) == 0 &&
      (own || (strcasecmp (header->name, "x-amz-meta-mtime") != 0 &&
               strcasecmp (header->name, "x-amz-meta-cloudshare") != 0));

    for (size_t k = 0; k < sizeof kept / sizeof kept[0]; k++)
      wanted |= strcasecmp (header->name, kept[k]) == 0;
    /* Room for what else the request needs. */
    if (wanted && request->nr_headers + 6 > S3_MAX_HEADERS)
      return -1;
    if (wanted)
      s3_request_header (request, header->name, header->value);
  }
  return 0;
}
