/* SPDX-License-Identifier: BSD-3-Clause */
/* PROPFIND (RFC 4918, 9.1), streamed: entries go to the sink as they arrive, so a folder may have any number of them.
 *
 * The listing must show the folder that was asked for.  Without that entry nothing says that the hrefs mean what we
 * think they mean, and a listing whose entries are all strangers would look like an empty folder.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "davtext.h"
#include "davxml.h"
#include "http-url.h"
#include "msg.h"
#include "webdav.h"

/* The explicit list is far cheaper than allprop for most servers, and the only way to owncloud.org's properties. */
static const char propfind_body[] =
  "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
  "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop>"
  "<d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getetag/><d:getcontenttype/>"
  "<oc:id/><oc:fileid/><oc:checksums/>"
  "</d:prop></d:propfind>\n";

/* A file written in this many seconds before the answer may be written again without a new token: tags and times are
 * as coarse as a second with many servers. */
#define SETTLE_S 2

struct listing {
  struct webdav *dav;
  char *url;
  char *folder;              /* the canonical path that the entries have to be in, or NULL while looking at the root */
  char *path;                /* the same as in the verb; or NULL likewise */
  int depth;
  bool for_change;           /* webdav_find */
  struct webdav_root *root;  /* for webdav_look; or NULL */
  const struct cloud_list_sink *sink;
  void *opaque;

  struct davxml *xml;
  struct timespec date;      /* the server's clock when it began to answer */
  struct timespec received;  /* ours (monotonic) then */
  bool has_self;
  size_t nr_others;

  /* The verdict; once it is not CLOUD_OK it stays. */
  enum cloud_result result;
  char *sentence;
};

static void
listing_free (struct listing *listing)
{
  davxml_free (listing->xml);
  free (listing->url);
  free (listing->folder);
  free (listing->path);
  free (listing->sentence);
  free (listing);
}

/* Ends the listing with a result, and "URL: why". */
static void __attribute__ ((format (printf, 3, 4)))
fail (struct listing *listing, enum cloud_result result, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  if (listing->result != CLOUD_OK)
    return;
  listing->result = result;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL || asprintf (&listing->sentence, "%s: %s", listing->url, why) == -1)
    listing->sentence = NULL;
}

/* ---- entries ---- */

/* Written so recently that the token may not tell the next write. */
static bool
is_fresh (const struct listing *listing, const struct timespec *mtime)
{
  struct timespec now;

  if (mtime->tv_sec == 0)
    return false;
  clock_gettime (CLOCK_MONOTONIC, &now);
  /* Long listings are written while they are sent, so the end of the window moves.  Times in the future say nothing:
   * clients may set them. */
  return mtime->tv_sec > listing->date.tv_sec - SETTLE_S &&
    mtime->tv_sec < listing->date.tv_sec + (now.tv_sec - listing->received.tv_sec) + SETTLE_S;
}

char *
webdav_made_token (uint64_t size, const struct timespec *mtime)
{
  char *token;

  return asprintf (&token, "~%llu-%lld", (unsigned long long) size, (long long) mtime->tv_sec) == -1 ? NULL : token;
}

/* name is "" for the item asked for itself. */
static void
give_item (struct listing *listing, const char *name, const char *name_for_people, const struct davxml_item *entry)
{
  CLEANUP_FREE char *token = NULL, *checksum = NULL;
  const char *why = NULL;

  if (entry->status == 404 || entry->status == 410)
    why = "it vanished while it was listed";
  else if (entry->status != 0 && entry->status / 100 != 2)
    why = "the server refuses to tell about it";
  else if (!entry->has_props)
    why = "the server says nothing about it";
  else if (!entry->is_collection && !entry->has_size)
    why = "the server does not say its size";
  if (why) {
    listing->sink->left_out (listing->opaque, name_for_people, why);
    return;
  }

  if (entry->etag)
    token = davtext_normal_etag (entry->etag, NULL);
  else if (!entry->is_collection)
    token = webdav_made_token (entry->size, &entry->mtime);
  if (token == NULL && (entry->etag || !entry->is_collection)) {
    fail (listing, CLOUD_LOCAL, "out of memory");
    return;
  }
  if (entry->checksums)
    checksum = davtext_best_checksum (entry->checksums);

  const struct cloud_item item = {
    .name = name,
    .is_folder = entry->is_collection,
    .size = entry->is_collection ? 0 : entry->size,
    .mtime = entry->mtime,
    .token = token,
    .id = entry->id,
    .checksum = checksum,
    .mime = entry->mime,
    .settled = checksum || !is_fresh (listing, &entry->mtime),
  };
  listing->sink->item (listing->opaque, &item);
}

/* What is left of uploads that ended in a crash goes: another host's after a day, our own of an earlier process as soon as it
 * is met.  One that is under way is younger or, where it grows in place, changed lately.  Where we know that it ended, but not
 * that it is gone, it goes when it is met; and where the server may still be at moving it, after an hour. */
#define LITTER_S (24 * 60 * 60)
#define OWN_LITTER_S (60 * 60)

static void
swept (void *opaque, enum cloud_result result, const char *sentence)
{
}

static enum http_verdict
swept_answer (void *opaque, const struct http_answer *answer)
{
  return HTTP_SKIP;
}

static bool
is_litter (struct listing *listing, const char *name, time_t made, const struct davxml_item *entry)
{
  struct webdav *dav = listing->dav;
  const enum webdav_maker maker = webdav_maker (dav, name);
  const time_t newest = listing->date.tv_sec - (maker == WEBDAV_THIS ? OWN_LITTER_S : LITTER_S);
  bool writing;

  if (maker == WEBDAV_EARLIER || webdav_is_litter (dav, name))
    return true;
  {
    LOCK_FOR_SCOPE (&dav->lock);
    writing = dav->writing;
  }
  return writing && made <= newest && entry->mtime.tv_sec <= newest;
}

static void
sweep (struct listing *listing, const char *name, time_t made, const struct davxml_item *entry)
{
  static const struct http_sink sink = { .answer = swept_answer, .done = swept };
  CLEANUP_FREE char *encoded = davtext_encode (name), *url = NULL, *path = NULL;
  const char *const headers[] = { "X-NC-Skip-Trashbin: true", NULL };
  struct http_request request = { .method = "DELETE", .headers = headers, .once = true };

  if (listing->path == NULL || !is_litter (listing, name, made, entry))
    return;
  if (entry->is_collection) {
    if (asprintf (&path, "%s%s%s", listing->path, *listing->path ? "/" : "", name) == -1)
      path = NULL;
    else
      webdav_remove_litter (listing->dav, path);
    return;
  }
  if (encoded == NULL || asprintf (&url, "%s%s", listing->url, encoded) == -1) {
    url = NULL;
    return;
  }
  msg_debug ("%s: left by an upload that did not end, and removed", url);
  request.url = url;
  http_submit (listing->dav->http, &request, &sink, NULL);
}

/* The entry of what was asked for. */
static void
take_self (struct listing *listing, const struct davxml_item *entry)
{
  /* The first one is it; SabreDAV 1.8 has been seen to give this href to a file whose name is not UTF-8. */
  if (listing->has_self) {
    listing->nr_others++;
    return;
  }
  listing->has_self = true;
  if (entry->status != 0 && entry->status / 100 != 2) {
    char *sentence = NULL;

    if (listing->result == CLOUD_OK) {
      listing->result = webdav_refusal (listing->dav, "PROPFIND", listing->url, entry->status, &sentence);
      listing->sentence = sentence;
    }
  }
  else if (!entry->has_props)
    fail (listing, CLOUD_BAD, "the server says nothing about this item");
  else if (listing->root)
    listing->root->is_folder = entry->is_collection;
  else if (listing->depth == 0 || listing->for_change)
    give_item (listing, "", listing->folder, entry);
  else if (!entry->is_collection)
    fail (listing, CLOUD_GONE, "this is a file by now, not a folder");
}

static void
take_child (struct listing *listing, const char *segment, const struct davxml_item *entry)
{
  CLEANUP_FREE char *name = NULL, *for_people = NULL;
  const char *why = NULL;
  time_t made;

  for_people = strndup (segment, strcspn (segment, "/"));
  name = davtext_name (segment, &why);
  if (for_people == NULL || (name == NULL && why == NULL))
    fail (listing, CLOUD_LOCAL, "out of memory");
  else if (name == NULL)
    listing->sink->left_out (listing->opaque, for_people, why);
  else if (!listing->for_change && webdav_is_temporary (name, &made))
    sweep (listing, name, made, entry);
  else
    give_item (listing, name, name, entry);
}

static void
on_entry (void *opaque, const struct davxml_item *entry)
{
  struct listing *listing = opaque;
  CLEANUP_FREE char *path = NULL;
  const char *name;

  if (listing->result != CLOUD_OK)
    return;
  path = davtext_href_path (entry->href);
  if (path == NULL && errno != EINVAL) {
    fail (listing, CLOUD_LOCAL, "out of memory");
    return;
  }
  if (path == NULL) {
    listing->nr_others++;
    return;
  }
  if (listing->root) {
    if (listing->root->path == NULL) {
      listing->root->path = path;
      path = NULL;
    }
    take_self (listing, entry);
    return;
  }
  switch (davtext_relate (listing->folder, path, &name)) {
  case DAVTEXT_SELF:
    take_self (listing, entry);
    break;
  case DAVTEXT_CHILD:
    if (listing->depth == 1) {
      take_child (listing, name, entry);
      break;
    }
    /* fallthrough */
  case DAVTEXT_OTHER:
    listing->nr_others++;
    break;
  }
}

/* ---- the transfer ---- */

static bool
is_web_page (const struct http_answer *answer)
{
  const char *type = http_answer_header (answer, "Content-Type");

  return type && (strncasecmp (type, "text/html", 9) == 0 || strncasecmp (type, "application/xhtml", 17) == 0);
}

static void
fail_as_web_page (struct listing *listing)
{
  fail (listing, CLOUD_BAD, "this is a web page, not WebDAV" WEBDAV_HINT);
}

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct listing *listing = opaque;
  const char *location = http_answer_header (answer, "Location"), *date = http_answer_header (answer, "Date");

  if (listing->root && answer->status / 100 == 3 && location) {
    listing->root->location = http_url_resolve (answer->url, location);
    if (listing->root->location == NULL)
      fail (listing, CLOUD_BAD, "the server redirects to something that is no URL");
    return HTTP_SKIP;
  }
  if (answer->status == 207) {
    clock_gettime (CLOCK_MONOTONIC, &listing->received);
    if (date == NULL || davtext_parse_time (date, &listing->date) == -1)
      clock_gettime (CLOCK_REALTIME, &listing->date);
    return HTTP_TAKE;
  }
  /* Web servers without WebDAV answer any method with a page, or GET only. */
  if (answer->status / 100 == 2 && is_web_page (answer))
    fail_as_web_page (listing);
  else
    listing->result = webdav_refusal (listing->dav, "PROPFIND", listing->url, answer->status, &listing->sentence);
  return HTTP_SKIP;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct listing *listing = opaque;

  if (davxml_feed (listing->xml, buf, n) == -1) {
    if (davxml_is_html (listing->xml))
      fail_as_web_page (listing);
    else
      fail (listing, CLOUD_BAD, "%s", davxml_error (listing->xml));
  }
  return listing->result == CLOUD_OK ? 0 : -1;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct listing *listing = opaque;
  const bool redirected = listing->root && listing->root->location;

  if (listing->result == CLOUD_OK && result != CLOUD_OK) {
    listing->result = result;
    listing->sentence = sentence ? strdup (sentence) : NULL;
  }
  if (listing->result == CLOUD_OK && !redirected) {
    if (davxml_finish (listing->xml) == -1)
      fail (listing, CLOUD_BAD, "%s", davxml_error (listing->xml));
    else if (!listing->has_self)
      fail (listing, CLOUD_BAD, "the server's answer is not about the item that was asked for");
  }
  if (listing->nr_others > 0)
    msg_debug ("%s: %zu entries that are not in this folder were ignored", listing->url, listing->nr_others);
  if (listing->result != CLOUD_OK && listing->sentence == NULL)
    listing->sink->done (listing->opaque, listing->result, "out of memory");
  else
    listing->sink->done (listing->opaque, listing->result, listing->sentence);
  listing_free (listing);
}

static const struct http_sink http_sink = {
  .answer = on_answer,
  .data = on_data,
  .done = on_done,
};

/* Takes url and folder over, NULL where there was no memory for them. */
static void
propfind (struct webdav *dav, char *url, char *folder, const char *path, int depth, bool for_change,
          struct webdav_root *root, const struct cloud_list_sink *sink, void *opaque)
{
  const char *const headers[] = {
    depth == 0 ? "Depth: 0" : "Depth: 1",
    "Content-Type: application/xml; charset=utf-8",
    NULL,
  };
  struct listing *listing = calloc (1, sizeof *listing);

  if (listing) {
    listing->dav = dav;
    listing->url = url;
    listing->folder = folder;
    listing->path = path ? strdup (path) : NULL;
    listing->depth = depth;
    listing->for_change = for_change;
    listing->root = root;
    listing->sink = sink;
    listing->opaque = opaque;
    listing->xml = davxml_new (on_entry, listing);
  }
  if (listing == NULL || url == NULL || (folder == NULL && root == NULL) || listing->xml == NULL) {
    if (listing)
      listing_free (listing);
    else {
      free (url);
      free (folder);
    }
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }

  const struct http_request request = {
    .method = "PROPFIND",
    .url = url,
    .headers = headers,
    .body = propfind_body,
    .body_len = sizeof propfind_body - 1,
    .urgent = true,
    .follow = root == NULL,
  };
  http_submit (dav->http, &request, &http_sink, listing);
}

void
webdav_look (struct webdav *dav, const char *url, struct webdav_root *root, const struct cloud_list_sink *sink,
             void *opaque)
{
  propfind (dav, strdup (url), NULL, NULL, 0, false, root, sink, opaque);
}

static void
list (struct webdav *dav, const char *path, int depth, bool for_change, const struct cloud_list_sink *sink,
      void *opaque)
{
  CLEANUP_FREE char *encoded = davtext_encode (path);
  char *folder = NULL;

  if (encoded) {
    LOCK_FOR_SCOPE (&dav->lock);
    if (asprintf (&folder, "%s%s%s", dav->root, encoded, *encoded ? "/" : "") == -1)
      folder = NULL;
  }
  /* What a stat is about may be a file, so its URL has no '/' at the end; servers that want one redirect. */
  propfind (dav, webdav_url (dav, path, depth == 1), folder, path, depth, for_change, NULL, sink, opaque);
}

void
webdav_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  list ((struct webdav *) cloud, path, depth, false, sink, opaque);
}

void
webdav_find (struct webdav *dav, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  list (dav, path, depth, true, sink, opaque);
}

void
webdav_find_at (struct webdav *dav, const char *url, const char *folder, const struct cloud_list_sink *sink,
                void *opaque)
{
  propfind (dav, strdup (url), strdup (folder), NULL, 1, true, NULL, sink, opaque);
}
