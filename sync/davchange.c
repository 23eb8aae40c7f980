/* SPDX-License-Identifier: BSD-3-Clause */
/* The requests of one write verb, and what a server's refusal means. */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davchange.h"
#include "davtext.h"
#include "http-url.h"
#include "msg.h"

#define MAX_HOPS 5
#define MAX_NAME 255

/* ---- what was seen ---- */

void
davseen_clear (struct davseen *seen)
{
  free (seen->token);
  free (seen->id);
  free (seen->checksum);
  free (seen->mime);
  memset (seen, 0, sizeof *seen);
}

void
davseen_take (struct davseen *to, struct davseen *from)
{
  davseen_clear (to);
  *to = *from;
  memset (from, 0, sizeof *from);
}

/* ---- from beginning to end ---- */

struct davchange *
davchange_new (struct webdav *dav, enum davverb verb, const char *path, const struct cloud_change_sink *sink,
               void *opaque)
{
  struct davchange *change = calloc (1, sizeof *change);

  if (change)
    change->path = strdup (path);
  if (change == NULL || change->path == NULL) {
    free (change);
    sink->done (opaque, CLOUD_LOCAL, "out of memory", NULL);
    return NULL;
  }
  change->dav = dav;
  change->verb = verb;
  change->sink = sink;
  change->opaque = opaque;
  return change;
}

static void
request_clear (struct davchange *change)
{
  for (size_t i = 0; i < DAVCHANGE_HEADERS; i++) {
    free (change->headers[i]);
    change->headers[i] = NULL;
  }
  free (change->url);
  change->url = NULL;
  davxml_free (change->xml);
  change->xml = NULL;
  change->hops = 0;
}

static void
outcome_clear (struct davchange *change)
{
  change->result = CLOUD_OK;
  change->status = 0;
  change->partly = false;
  free (change->sentence);
  change->sentence = NULL;
  free (change->etag);
  change->etag = NULL;
}

static void
change_free (struct davchange *change)
{
  request_clear (change);
  outcome_clear (change);
  davseen_clear (&change->seen);
  davseen_clear (&change->stored);
  free (change->path);
  free (change->to);
  free (change->expect);
  free (change->checksum);
  free (change->temporary);
  free (change->answered);
  free (change->final_sentence);
  free (change->refusal_sentence);
  davchunks_free (change->chunks);
  free (change);
}

void
davchange_end (struct davchange *change, enum cloud_result result, const char *sentence, const struct davseen *now)
{
  struct cloud_item item;

  if (result != CLOUD_OK && sentence == NULL)
    sentence = "out of memory";
  if (result == CLOUD_OK && now)
    item = (struct cloud_item) {
      .name = "",
      .is_folder = now->what == DAVSEEN_FOLDER,
      .size = now->size,
      .mtime = now->mtime,
      .token = now->token,
      .id = now->id,
      .checksum = now->checksum,
      .mime = now->mime,
      .settled = now->settled,
    };
  change->sink->done (change->opaque, result, result == CLOUD_OK ? NULL : sentence,
                      result == CLOUD_OK && now ? &item : NULL);
  change_free (change);
}

void
davchange_end_failed (struct davchange *change)
{
  davchange_end (change, change->result, change->sentence, NULL);
}

void
davchange_end_because (struct davchange *change, enum cloud_result result, const char *why)
{
  CLEANUP_FREE char *url = webdav_url (change->dav, change->path, false), *sentence = NULL;

  if (url == NULL || asprintf (&sentence, "%s: %s", url, why) == -1)
    sentence = NULL;
  davchange_end (change, result, sentence, NULL);
}

bool
davchange_may_name (struct davchange *change, const char *path)
{
  const char *slash = strrchr (path, '/'), *name = slash ? slash + 1 : path;
  time_t made;

  if (*name == '\0' || strlen (name) > MAX_NAME)
    davchange_end_because (change, CLOUD_REFUSED, "servers do not take names of more than 255 bytes");
  else if (webdav_is_temporary (name, &made))
    davchange_end_because (change, CLOUD_REFUSED, "names of this form are for uploads under way");
  else
    return true;
  return false;
}

/* Every request comes by here when it has ended. */
static void
outcome_is_there (struct davchange *change)
{
  if (change->result == CLOUD_STOPPED && !change->to_the_end)
    davchange_end_failed (change);
  else
    change->next (change);
}

/* ---- looking ---- */

static void
copy_field (struct davchange *change, char **to, const char *from)
{
  free (*to);
  *to = from ? strdup (from) : NULL;
  if (from && *to == NULL)
    change->result = CLOUD_LOCAL;
}

static void
look_item (void *opaque, const struct cloud_item *item)
{
  struct davchange *change = opaque;
  struct davseen *seen = &change->seen;
  time_t made;

  if (*item->name) {
    /* What an upload of ours left goes with its folder: none is under way in one that is to go. */
    seen->has_children |= item->is_folder || !webdav_is_temporary (item->name, &made) ||
      webdav_maker (change->dav, item->name) == WEBDAV_ANOTHER;
    return;
  }
  seen->what = item->is_folder ? DAVSEEN_FOLDER : DAVSEEN_FILE;
  seen->size = item->size;
  seen->mtime = item->mtime;
  seen->settled = item->settled;
  copy_field (change, &seen->token, item->token);
  copy_field (change, &seen->id, item->id);
  copy_field (change, &seen->checksum, item->checksum);
  copy_field (change, &seen->mime, item->mime);
}

static void
look_left_out (void *opaque, const char *name, const char *reason)
{
  struct davchange *change = opaque;

  change->seen.has_children = true;
}

static void
look_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct davchange *change = opaque;

  if (result == CLOUD_GONE) {
    davseen_clear (&change->seen);
    change->seen.what = DAVSEEN_NOTHING;
  }
  else if (result != CLOUD_OK) {
    change->result = result;
    change->sentence = sentence ? strdup (sentence) : NULL;
  }
  else if (change->result == CLOUD_OK && change->seen.what == DAVSEEN_UNKNOWN) {
    change->result = CLOUD_BAD;
    change->sentence = strdup ("the server says nothing about an item that is there");
  }
  outcome_is_there (change);
}

void
davchange_look (struct davchange *change, const char *path, int depth, void (*next) (struct davchange *change))
{
  static const struct cloud_list_sink sink = { .item = look_item, .left_out = look_left_out, .done = look_done };

  outcome_clear (change);
  davseen_clear (&change->seen);
  change->next = next;
  webdav_find (change->dav, path, depth, &sink, change);
}

enum cloud_result
davchange_judge (const struct davchange *change, const struct davseen *seen)
{
  if (seen->what == DAVSEEN_NOTHING)
    return CLOUD_GONE;
  if (change->verb == DAVVERB_PUT && seen->what == DAVSEEN_FOLDER)
    return CLOUD_EXISTS;
  if ((seen->what == DAVSEEN_FOLDER) != change->is_folder)
    return CLOUD_CHANGED;
  if (change->expect && (seen->token == NULL || strcmp (seen->token, change->expect) != 0))
    return CLOUD_CHANGED;
  return CLOUD_OK;
}

/* ---- requests ---- */

enum davform
davchange_form (enum davform form, const char *token)
{
  const size_t len = token ? strlen (token) : 0;

  /* Made tokens begin with "~", and a tag without quotes, or with something strange in it, would mean something
   * else. */
  if (len < 2 || token[0] != '"' || token[len - 1] != '"')
    return DAVFORM_NONE;
  for (size_t i = 1; i < len - 1; i++)
    if ((unsigned char) token[i] <= ' ' || token[i] == '"' || token[i] == 0x7f)
      return DAVFORM_NONE;
  return form;
}

/* Sets *ok to false where there is no memory. */
static void __attribute__ ((format (printf, 3, 4)))
add_header (struct davchange *change, bool *ok, const char *fmt, ...)
{
  size_t i = 0;
  va_list args;

  while (i < DAVCHANGE_HEADERS && change->headers[i])
    i++;
  va_start (args, fmt);
  if (i == DAVCHANGE_HEADERS || vasprintf (&change->headers[i], fmt, args) == -1) {
    if (i < DAVCHANGE_HEADERS)
      change->headers[i] = NULL;
    *ok = false;
  }
  va_end (args);
}

static bool
make_headers (struct davchange *change, const struct davrequest *request)
{
  CLEANUP_FREE char *about = NULL, *to = NULL;
  bool ok = true;

  if (request->to) {
    /* A whole URL: Apache takes no path alone.  Overwrite is always said: rclone takes its absence for F. */
    to = webdav_url (change->dav, request->to, request->is_folder);
    if (to == NULL)
      return false;
    add_header (change, &ok, "Destination: %s", to);
    if (strcmp (request->method, "MOVE") == 0 || strcmp (request->method, "COPY") == 0)
      add_header (change, &ok, "Overwrite: %c", request->overwrite ? 'T' : 'F');
  }
  if (request->only_new)
    add_header (change, &ok, "If-None-Match: *");
  switch (request->form) {
  case DAVFORM_NONE:
    break;
  case DAVFORM_IF:
    about = webdav_url (change->dav, request->condition_path, request->is_folder);
    if (about == NULL)
      return false;
    add_header (change, &ok, "If: <%s> ([%s])", about, request->token);
    break;
  case DAVFORM_IF_MATCH:
    add_header (change, &ok, "If-Match: %s", request->token);
    break;
  }
  if (request->mtime > 0)
    add_header (change, &ok, "X-OC-Mtime: %lld", (long long) request->mtime);
  if (request->checksum)
    add_header (change, &ok, "OC-Checksum: %s", request->checksum);
  if (request->xml)
    add_header (change, &ok, "Content-Type: application/xml; charset=utf-8");
  if (request->has_total)
    add_header (change, &ok, "OC-Total-Length: %llu", (unsigned long long) request->total);
  if (request->skip_trash)
    add_header (change, &ok, "X-NC-Skip-Trashbin: true");
  if (request->patch != DAVPATCH_NONE) {
    const unsigned long long first = request->patch_at, last = first + request->size - 1;

    if (request->patch == DAVPATCH_PUT)
      add_header (change, &ok, "Content-Range: bytes %llu-%llu/%llu", first, last,
                  (unsigned long long) request->patch_total);
    else {
      add_header (change, &ok, "X-Update-Range: bytes=%llu-%llu", first, last);
      add_header (change, &ok, "Content-Type: application/x-sabredav-partialupdate");
    }
  }
  return ok;
}

/* An item in a 207: only what failed matters. */
static void
on_item (void *opaque, const struct davxml_item *item)
{
  struct davchange *change = opaque;
  const int status = item->status ? item->status : item->has_props ? 200 : 403;

  /* 424 is only about what could not be done because of another. */
  if (status / 100 == 2 || (change->partly && (change->status != 424 || status == 424)))
    return;
  change->partly = true;
  change->status = status;
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct davchange *change = opaque;
  const char *etag = http_answer_header (answer, "OC-ETag"), *location = http_answer_header (answer, "Location");

  change->status = answer->status;
  if (etag == NULL)
    etag = http_answer_header (answer, "ETag");
  if (etag)
    change->etag = davtext_normal_etag (etag, NULL);
  change->follow = false;
  if ((answer->status == 307 || answer->status == 308) && location && change->hops < MAX_HOPS) {
    char *url = http_url_resolve (answer->url, location);

    if (url && webdav_may_move (change->url, url)) {
      free (change->url);
      change->url = url;
      change->follow = true;
    }
    else
      free (url);
  }
  if (answer->status != 207)
    return HTTP_SKIP;
  davxml_free (change->xml);
  change->xml = davxml_new (on_item, change);
  return change->xml ? HTTP_TAKE : HTTP_ABORT;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct davchange *change = opaque;

  return davxml_feed (change->xml, buf, n);
}

static void submit (struct davchange *change);

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct davchange *change = opaque;

  if (change->xml && result != CLOUD_STOPPED && davxml_finish (change->xml) == -1) {
    result = CLOUD_BAD;
    sentence = davxml_error (change->xml);
  }
  if (result == CLOUD_OK && change->follow) {
    change->hops++;
    outcome_clear (change);
    submit (change);
    return;
  }
  if (result != CLOUD_OK) {
    change->result = result;
    change->status = 0;
    change->sentence = sentence ? strdup (sentence) : NULL;
  }
  outcome_is_there (change);
}

static void
submit (struct davchange *change)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };

  change->request.url = change->url;
  http_submit (change->dav->http, &change->request, &sink, change);
}

void
davchange_send (struct davchange *change, const struct davrequest *request, void (*next) (struct davchange *change))
{
  outcome_clear (change);
  request_clear (change);
  change->next = next;
  change->url = request->url ? strdup (request->url) : webdav_url (change->dav, request->path, request->is_folder);
  if (change->url == NULL || !make_headers (change, request)) {
    change->result = CLOUD_LOCAL;
    outcome_is_there (change);
    return;
  }
  change->request = (struct http_request) {
    .method = request->method,
    .headers = (const char *const *) change->headers,
    .body = request->xml,
    .body_len = request->xml ? strlen (request->xml) : 0,
    .read = request->read,
    .read_len = request->size,
    .patience_s = request->patience_s,
    .once = true,
    /* Bodies leave room for those who wait for reads; the short ones are part of something that is under way. */
    .urgent = request->read == NULL,
  };
  submit (change);
}

bool
davchange_succeeded (const struct davchange *change)
{
  return change->result == CLOUD_OK && !change->partly &&
    (change->status == 200 || change->status == 201 || change->status == 204 ||
     (change->status == 207 && strcmp (change->request.method, "PUT") != 0));
}

/* ---- explaining a refusal ---- */

enum cloud_result
davfacts_verdict (const struct davfacts *facts)
{
  const bool places = facts->verb == DAVVERB_MKDIR || facts->verb == DAVVERB_MOVE ||
    (facts->verb == DAVVERB_PUT && facts->is_new);

  /* A put without a folder cannot be mended by anything else. */
  if (facts->verb == DAVVERB_PUT && facts->parent == DAVSEEN_NOTHING)
    return CLOUD_PARENT;
  if (facts->subject != CLOUD_OK)
    return facts->subject;
  if (places && (facts->place == DAVSEEN_FILE || facts->place == DAVSEEN_FOLDER))
    return CLOUD_EXISTS;
  if ((places || facts->verb == DAVVERB_PUT) && (facts->parent == DAVSEEN_NOTHING || facts->parent == DAVSEEN_FILE))
    return CLOUD_PARENT;
  return CLOUD_OK;
}

static bool
may_have_a_reason (const struct davchange *change)
{
  switch (change->status) {
  case 403:      /* rclone, where the folder to move into is missing */
    return change->verb == DAVVERB_MOVE;
  case 400:      /* Apache, where a file is in a folder's way */
    return change->verb != DAVVERB_PUT;
  case 404:
  case 405:
  case 409:
  case 410:
  case 412:
  case 424:
  case 500:      /* nginx, chezdav and Apache where a folder is missing */
    return true;
  default:
    return change->status / 100 == 3;
  }
}

static void
explain_end (struct davchange *change)
{
  const enum cloud_result verdict = davfacts_verdict (&change->facts);
  const char *why = "the item has another version by now";
  CLEANUP_FREE char *url = NULL;

  outcome_clear (change);
  change->result = change->refusal;
  if (verdict != CLOUD_OK) {
    change->result = verdict;
    url = webdav_url (change->dav, change->path, false);
    switch ((int) verdict) {
    case CLOUD_GONE:
      why = "there is no such item any more";
      break;
    case CLOUD_EXISTS:
      why = "there is something by that name already";
      break;
    case CLOUD_PARENT:
      why = "the folder that it belongs into is not there";
      break;
    }
    if (url == NULL || asprintf (&change->sentence, "%s: %s", url, why) == -1)
      change->sentence = NULL;
    change->explained (change);
    return;
  }
  change->sentence = change->refusal_sentence;
  change->refusal_sentence = NULL;
  change->explained (change);
}

static const char *
new_place (const struct davchange *change)
{
  return change->verb == DAVVERB_MOVE ? change->to : change->path;
}

static void
explain_parent_seen (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->explained (change);
    return;
  }
  change->facts.parent = change->seen.what;
  explain_end (change);
}

static void
explain_parent (struct davchange *change)
{
  CLEANUP_FREE char *parent = strdup (new_place (change));
  char *slash = parent ? strrchr (parent, '/') : NULL;

  if (slash == NULL || change->verb == DAVVERB_REMOVE || change->verb == DAVVERB_TOUCH) {
    explain_end (change);
    return;
  }
  *slash = '\0';
  davchange_look (change, parent, 0, explain_parent_seen);
}

static void
explain_place_seen (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->explained (change);
    return;
  }
  change->facts.place = change->seen.what;
  if (change->facts.place == DAVSEEN_NOTHING)
    explain_parent (change);
  else
    explain_end (change);
}

static void
explain_subject_seen (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->explained (change);
    return;
  }
  change->facts.subject = davchange_judge (change, &change->seen);
  if (change->verb == DAVVERB_PUT)
    explain_place_seen (change);
  else if (change->verb == DAVVERB_MOVE && change->facts.subject == CLOUD_OK)
    davchange_look (change, change->to, 0, explain_place_seen);
  else
    explain_end (change);
}

void
davchange_explain (struct davchange *change, void (*next) (struct davchange *change))
{
  const bool is_new = change->verb == DAVVERB_PUT && change->expect == NULL;

  free (change->refusal_sentence);
  change->refusal_sentence = NULL;
  change->refusal = webdav_refusal (change->dav, change->request.method, change->url, change->status,
                                    &change->refusal_sentence);
  /* Of several items some may have been changed before one could not be. */
  if (change->partly && change->is_folder)
    change->refusal = CLOUD_BUSY;
  change->facts = (struct davfacts) { .verb = change->verb, .status = change->status, .is_new = is_new };
  change->explained = next;
  if (!may_have_a_reason (change))
    explain_end (change);
  else if (is_new || change->verb == DAVVERB_MKDIR)
    davchange_look (change, change->path, 0, explain_place_seen);
  else
    davchange_look (change, change->path, 0, explain_subject_seen);
}
