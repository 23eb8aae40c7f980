/* SPDX-License-Identifier: BSD-3-Clause */
/* The WebDAV provider (RFC 4918): opening, probing, waiting.  Listing is in webdav-list.c, reading in webdav-get.c,
 * putting in webdav-put.c, all other changes in webdav-change.c. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "davchunks.h"
#include "davmanners.h"
#include "davtext.h"
#include "fsutil.h"
#include "http-url.h"
#include "msg.h"
#include "notify-push.h"
#include "webdav.h"

#define MAX_HOPS 5

/* Milliseconds from one look for the server's sake to the next. */
#define PUSH_PAUSE 1000

char *
webdav_url (struct webdav *dav, const char *path, bool folder)
{
  CLEANUP_FREE char *encoded = davtext_encode (path);
  char *url;

  LOCK_FOR_SCOPE (&dav->lock);
  if (encoded == NULL || asprintf (&url, "%s%s%s", dav->base, encoded, folder && *encoded ? "/" : "") == -1)
    return NULL;
  return url;
}

enum cloud_result
webdav_refusal (const struct webdav *dav, const char *method, const char *url, int status, char **ret_sentence)
{
  enum cloud_result result = CLOUD_BAD;
  const char *why = "the server gave an answer that makes no sense here";

  if (strcmp (method, "PROPFIND") != 0 && strcmp (method, "GET") != 0)
    switch (status) {
    case 400:
    case 405:
    case 411:
    case 413:
    case 414:
    case 415:
    case 422:
    case 431:
    case 501:
      result = CLOUD_REFUSED;
      why = "the server does not take this: its name, its size or the method";
      break;
    case 507:
      result = CLOUD_FULL;
      why = "the server has no room left";
      break;
    case 404:
    case 409:
    case 412:
    case 424:
      /* Those who ask have looked already, and found nothing that would explain it. */
      result = CLOUD_BUSY;
      why = "the server says that something else is there or missing, which is not seen by looking";
      break;
    }
  switch (result == CLOUD_BAD ? status : 0) {
  case 0:
    break;
  case 401:
    result = CLOUD_AUTH;
    why = dav->has_token ? "the server does not accept the token" :
      dav->has_user ? "the server does not accept the user and the password" :
      "the server asks for a user and a password; give user= and password=, or token=";
    break;
  case 403:
    result = CLOUD_DENIED;
    why = "the server denies access";
    break;
  case 404:
  case 410:
    result = CLOUD_GONE;
    why = "there is no such item";
    break;
  case 412:
  case 416:
    result = CLOUD_CHANGED;
    why = "the item has another version by now";
    break;
  case 405:
  case 501:
    why = strcmp (method, "PROPFIND") == 0 ? "the server does not offer WebDAV here" WEBDAV_HINT :
      "the server does not know the method";
    break;
  case 408:
  case 423:
  case 425:
  case 429:
    result = CLOUD_BUSY;
    why = "the server asks to try again later";
    break;
  default:
    if (status / 100 == 5) {
      result = CLOUD_BUSY;
      why = "the server has a problem";
    }
    break;
  }
  if (asprintf (ret_sentence, "%s: %s (%s: %d)", url, why, method, status) == -1)
    *ret_sentence = NULL;
  return result;
}

/* ---- probe ---- */

/* Waits for one webdav_look. */
struct look {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
  enum cloud_result result;
  char *sentence;
};

static void
look_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct look *look = opaque;

  LOCK_FOR_SCOPE (&look->lock);
  look->result = result;
  look->sentence = sentence ? strdup (sentence) : NULL;
  look->done = true;
  pthread_cond_signal (&look->cond);
}

static enum cloud_result
look_at (struct webdav *dav, const char *url, struct webdav_root *root, char **ret_sentence)
{
  static const struct cloud_list_sink sink = { .done = look_done };
  struct look look = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

  memset (root, 0, sizeof *root);
  webdav_look (dav, url, root, &sink, &look);
  {
    LOCK_FOR_SCOPE (&look.lock);
    while (!look.done)
      pthread_cond_wait (&look.cond, &look.lock);
  }
  pthread_cond_destroy (&look.cond);
  pthread_mutex_destroy (&look.lock);
  *ret_sentence = look.sentence;
  return look.result;
}

bool
webdav_may_move (const char *from_text, const char *to_text)
{
  CLEANUP_HTTP_URL_FREE struct http_url from = { 0 }, to = { 0 };

  if (!http_url_is_ours (to_text) || http_url_parse (from_text, &from) == -1 || http_url_parse (to_text, &to) == -1)
    return false;
  return strcmp (from.host, to.host) == 0 &&
    (from.secure == to.secure ? strcmp (from.port, to.port) == 0 : to.secure);
}

/* Follows redirects on the way to the root, as they may be a reason to tell the user.  On success *url is where the
 * root is. */
static enum cloud_result
find_root (struct webdav *dav, char **url, struct webdav_root *root, char **ret_sentence)
{
  for (int hop = 0; hop <= MAX_HOPS; hop++) {
    const enum cloud_result result = look_at (dav, *url, root, ret_sentence);

    if (result != CLOUD_OK || root->location == NULL)
      return result;
    /* A page to log in at has a query, which no folder has. */
    root->location[strcspn (root->location, "?#")] = '\0';
    if (!webdav_may_move (*url, root->location)) {
      if (asprintf (ret_sentence, "%s: the server redirects to %s; if that is right, give that URL", *url,
                    root->location) == -1)
        *ret_sentence = NULL;
      return CLOUD_BAD;
    }
    msg_debug ("%s: redirected to %s", *url, root->location);
    free (*url);
    *url = root->location;
    root->location = NULL;
  }
  if (asprintf (ret_sentence, "%s: the server redirects in circles", *url) == -1)
    *ret_sentence = NULL;
  return CLOUD_BAD;
}

/* From here on requests go to url, and hrefs are expected below root->path. */
static int
adopt (struct webdav *dav, const char *url, struct webdav_root *root)
{
  char *base;

  if (asprintf (&base, "%s%s", url, url[strlen (url) - 1] == '/' ? "" : "/") == -1)
    return -1;
  LOCK_FOR_SCOPE (&dav->lock);
  free (dav->base);
  dav->base = base;
  free (dav->root);
  dav->root = root->path;
  root->path = NULL;
  return 0;
}

static enum cloud_result
webdav_probe (struct cloud *cloud, char **ret_sentence)
{
  struct webdav *dav = (struct webdav *) cloud;
  struct webdav_root root = { 0 };
  char *url = webdav_url (dav, "", true), *sentence = NULL;
  enum cloud_result result = CLOUD_LOCAL;

  if (url)
    result = find_root (dav, &url, &root, &sentence);
  if (result == CLOUD_GONE) {
    free (sentence);
    if (asprintf (&sentence, "%s: there is nothing at this URL" WEBDAV_HINT, url) == -1)
      sentence = NULL;
  }
  else if (result == CLOUD_OK && !root.is_folder) {
    result = CLOUD_BAD;
    if (asprintf (&sentence, "%s: this is a file; give the URL of a folder", url) == -1)
      sentence = NULL;
  }
  if (result == CLOUD_OK && adopt (dav, url, &root) == -1)
    result = CLOUD_LOCAL;

  if (result != CLOUD_OK && sentence == NULL)
    sentence = strdup ("out of memory");
  *ret_sentence = sentence;
  free (root.location);
  free (root.path);
  free (url);
  return result;
}

/* ---- waiting ---- */

static void
on_pushed (void *opaque)
{
  struct webdav *dav = opaque;

  atomic_store (&dav->pushed, true);
  waker_wake (&dav->waker);
}

static bool
is_started (struct webdav *dav)
{
  LOCK_FOR_SCOPE (&dav->lock);

  return dav->started;
}

/* Who waits wants to be told; who only lists, before a fork, does not. */
static void
start_notify (struct webdav *dav)
{
  CLEANUP_FREE char *url = webdav_url (dav, "", true);
  LOCK_FOR_SCOPE (&dav->lock);

  if (dav->started && dav->notify && url)
    notify_start (dav->notify, url);
}

static enum cloud_wait
webdav_wait (struct cloud *cloud, int timeout_ms)
{
  struct webdav *dav = (struct webdav *) cloud;

  start_notify (dav);
  if (!waker_wait (&dav->waker, timeout_ms))
    return CLOUD_WAIT_TIMEOUT;
  if (!atomic_load (&dav->pushed))
    return CLOUD_WAIT_WOKEN;
  /* However often the server says it. */
  while (is_started (dav) && monotonic_ms () < dav->push_until)
    waker_wait (&dav->waker, (int) (dav->push_until - monotonic_ms ()) + 1);
  dav->push_until = monotonic_ms () + PUSH_PAUSE;
  atomic_store (&dav->pushed, false);
  return CLOUD_WAIT_CHANGED;
}

static bool
webdav_has_push (struct cloud *cloud)
{
  struct webdav *dav = (struct webdav *) cloud;

  return dav->notify && notify_is_ready (dav->notify);
}

static void
webdav_set_rates (struct cloud *cloud, uint64_t upload, uint64_t download)
{
  http_set_rates (((struct webdav *) cloud)->http, upload, download);
}

static void
webdav_wake (struct cloud *cloud)
{
  waker_wake (&((struct webdav *) cloud)->waker);
}

/* ---- from open to close ---- */

static int
webdav_start (struct cloud *cloud)
{
  struct webdav *dav = (struct webdav *) cloud;

  waker_reset (&dav->waker);
  if (getrandom (&dav->process, sizeof dav->process, 0) != sizeof dav->process) {
    msg_error ("no random numbers: %m");
    return -1;
  }
  if (http_start (dav->http) == -1)
    return -1;
  davmanners_start (dav->manners);
  LOCK_FOR_SCOPE (&dav->lock);
  dav->started = true;
  return 0;
}

static void
webdav_stop (struct cloud *cloud)
{
  struct webdav *dav = (struct webdav *) cloud;

  webdav_wake (cloud);
  {
    LOCK_FOR_SCOPE (&dav->lock);
    dav->started = false;
  }
  if (dav->notify)
    notify_end (dav->notify);
  http_stop (dav->http);
  if (dav->notify)
    notify_join (dav->notify);
  davmanners_stop (dav->manners);
}

static void
webdav_close (struct cloud *cloud)
{
  struct webdav *dav = (struct webdav *) cloud;

  if (dav->notify)
    webdav_stop (cloud);
  notify_free (dav->notify);
  http_close (dav->http);
  davmanners_free (dav->manners);
  waker_destroy (&dav->waker);
  pthread_mutex_destroy (&dav->lock);
  free (dav->cloud.identity);
  for (size_t i = 0; i < sizeof dav->litter / sizeof dav->litter[0]; i++)
    free (dav->litter[i]);
  free (dav->base);
  free (dav->root);
  free (dav);
}

static const struct cloud_ops webdav_ops = {
  .name = "webdav",
  .settle_ms = 2000,           /* HTTP dates count in seconds */
  .probe = webdav_probe,
  .list = webdav_list,
  .get = webdav_get,
  .put = webdav_put,
  .mkdir = webdav_mkdir,
  .move = webdav_move,
  .remove = webdav_remove,
  .touch = webdav_touch,
  .wait = webdav_wait,
  .has_push = webdav_has_push,
  .set_rates = webdav_set_rates,
  .start = webdav_start,
  .stop = webdav_stop,
  .wake = webdav_wake,
  .close = webdav_close,
};

static bool
is_loopback (const char *host)
{
  return strcmp (host, "localhost") == 0 || strncmp (host, "127.", 4) == 0 || strcmp (host, "[::1]") == 0;
}

struct cloud *
cloud_webdav_open (const struct cloud_config *config)
{
  CLEANUP_HTTP_URL_FREE struct http_url url = { 0 };
  struct http_config http_config = {
    .token = config->token,
    .cainfo = config->cainfo,
    .sslverify = config->sslverify,
    .connections = config->connections,
    .timeout_s = config->timeout_s,
  };
  struct webdav *dav;

  if (http_url_parse (config->remote, &url) == -1)
    return NULL;
  http_config.user = config->user ? config->user : url.user;
  http_config.password = config->password ? config->password : url.password;
  if (http_config.token && (http_config.user || http_config.password)) {
    msg_error ("%s: give either token=, or user= and password=", url.text);
    return NULL;
  }
  if (http_config.password && http_config.user == NULL) {
    msg_error ("%s: a password was given without user=", url.text);
    return NULL;
  }
  if (!url.secure && (http_config.token || http_config.user) && !is_loopback (url.host))
    msg_notice ("%s: over http:// others on the way can read what is sent; use https:// where the server has it",
                url.text);

  dav = calloc (1, sizeof *dav);
  if (dav == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  pthread_mutex_init (&dav->lock, NULL);
  waker_init (&dav->waker);
  dav->cloud.ops = &webdav_ops;
  dav->chunk_size = config->chunk_size ? config->chunk_size : DAVCHUNK_DEFAULT;
  dav->has_user = http_config.user != NULL;
  dav->has_token = http_config.token != NULL;
  if (asprintf (&dav->base, "%s%s", url.text, url.text[strlen (url.text) - 1] == '/' ? "" : "/") == -1)
    dav->base = NULL;
  else
    dav->cloud.identity = strdup (dav->base);
  dav->root = davtext_href_path (url.path);
  if (dav->base == NULL || dav->cloud.identity == NULL || dav->root == NULL) {
    msg_error ("out of memory");
    webdav_close (&dav->cloud);
    return NULL;
  }
  dav->manners = davmanners_new (dav);
  if (dav->manners == NULL)
    msg_error ("out of memory");
  else
    dav->http = http_open (&http_config);
  if (dav->http && http_config.user && http_config.password)
    dav->notify = notify_new (&(struct notify_config) {
        .http = dav->http, .user = http_config.user, .password = http_config.password, .cainfo = config->cainfo,
        .sslverify = config->sslverify, .changed = on_pushed, .opaque = dav });
  if (dav->http == NULL || (http_config.user && http_config.password && dav->notify == NULL)) {
    webdav_close (&dav->cloud);
    return NULL;
  }
  return &dav->cloud;
}
