/* SPDX-License-Identifier: BSD-3-Clause */
/* The rclone provider: every cloud that rclone reaches, by its remote control.  Opening, probing, waiting, and what is known
 * of the remote.  rclone.h tells where the rest is. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "fsutil.h"
#include "http-url.h"
#include "msg.h"
#include "rclone.h"

/* ---- what the remote can do ---- */

static enum cloud_result
ask_features (struct rclone *rclone, struct rclone_features *features, char **ret_sentence)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  const char *why;

  rclone_call_init (&call, rclone, "operations/fsinfo", NULL);
  call.urgent = true;
  rclone_call_text (&call, "fs", rclone->remote.fs);
  if (rclone_call_run (&call) != CLOUD_OK) {
    *ret_sentence = call.sentence;
    call.sentence = NULL;
    return call.result;
  }
  if (rclone_features_read (call.out, features, &why) == -1) {
    if (asprintf (ret_sentence, "%s: this does not answer like rclone's remote control (%s)", rclone->cloud.identity,
                  why) == -1)
      *ret_sentence = NULL;
    return CLOUD_BAD;
  }
  LOCK_FOR_SCOPE (&rclone->lock);
  if (!rclone->knows_features)
    msg_debug ("%s: empty-folders=%d move=%d move-folder=%d slow-hash=%d slow-time=%d keeps-time=%d precision=%lld hash=%s",
               rclone->cloud.identity, features->empty_folders, features->move, features->move_folder,
               features->slow_hash, features->slow_mtime, features->keeps_mtime, (long long) features->precision_ns,
               *features->hash ? features->hash : "-");
  rclone->features = *features;
  rclone->knows_features = true;
  return CLOUD_OK;
}

enum cloud_result
rclone_learn (struct rclone *rclone, struct rclone_features *features, char **ret_sentence)
{
  {
    LOCK_FOR_SCOPE (&rclone->lock);
    *features = rclone->features;
    if (rclone->knows_features)
      return CLOUD_OK;
  }
  return ask_features (rclone, features, ret_sentence);
}

/* ---- probe ---- */

static enum cloud_result
take_sentence (struct rclone_call *call, char **ret_sentence)
{
  *ret_sentence = call->sentence;
  call->sentence = NULL;
  return call->result;
}

/* Whether its folder is there.  A prefix that nothing begins with is more likely a mistake than a new one, and looks like
 * a folder that was emptied. */
static enum cloud_result
ask_root (struct rclone *rclone, const struct rclone_features *features, char **ret_sentence)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  struct json_object *list;

  rclone_call_init (&call, rclone, features->empty_folders ? "operations/stat" : "operations/list", NULL);
  call.urgent = true;
  call.longest = 400 * 1024 * 1024;
  rclone_call_item (&call, "");
  rclone_call_flag (&call, "opt", "noModTime");
  rclone_call_flag (&call, "opt", "noMimeType");
  if (rclone_call_run (&call) != CLOUD_OK)
    return take_sentence (&call, ret_sentence);
  if (features->empty_folders || strchr (rclone->remote.path, '/') == NULL)
    return CLOUD_OK;
  if (json_object_object_get_ex (call.out, "list", &list) && json_object_is_type (list, json_type_array) &&
      json_object_array_length (list) > 0)
    return CLOUD_OK;
  if (asprintf (ret_sentence, "%s: there is nothing below this prefix; to begin a new one, put a file named %s there",
                rclone->cloud.identity, RCLONE_MARKER) == -1)
    *ret_sentence = NULL;
  return CLOUD_GONE;
}

struct serving {
  pthread_mutex_t lock;        /* protects what follows */
  pthread_cond_t cond;
  bool done, serves;
};

static enum http_verdict
on_serving (void *opaque, const struct http_answer *answer)
{
  ((struct serving *) opaque)->serves = answer->status == 200;
  return HTTP_SKIP;
}

static int
on_serving_data (void *opaque, const void *buf, size_t n)
{
  return 0;
}

static void
on_serving_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct serving *serving = opaque;

  LOCK_FOR_SCOPE (&serving->lock);
  serving->done = true;
  pthread_cond_signal (&serving->cond);
}

/* One that runs already may have been started without --rc-serve: then nothing can be read from it. */
static enum cloud_result
ask_serving (struct rclone *rclone, char **ret_sentence)
{
  static const struct http_sink sink = { on_serving, on_serving_data, on_serving_done };
  struct serving serving = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
  CLEANUP_FREE char *url = NULL;

  if (asprintf (&url, "%s/*", rclone->base) == -1) {
    url = NULL;
    return CLOUD_LOCAL;
  }
  const struct http_request request = { .method = "GET", .url = url };

  http_submit (rclone->http, &request, &sink, &serving);
  {
    LOCK_FOR_SCOPE (&serving.lock);
    while (!serving.done)
      pthread_cond_wait (&serving.cond, &serving.lock);
  }
  if (serving.serves)
    return CLOUD_OK;
  if (asprintf (ret_sentence, "%s: the rclone at %s does not serve files: it has to be started with --rc-serve",
                rclone->cloud.identity, rclone->base) == -1)
    *ret_sentence = NULL;
  return CLOUD_BAD;
}

static enum cloud_result
rclone_probe (struct cloud *cloud, char **ret_sentence)
{
  struct rclone *rclone = (struct rclone *) cloud;
  CLEANUP_RCLONE_CALL struct rclone_call noop;
  struct rclone_features features;
  enum cloud_result result;

  *ret_sentence = NULL;
  rclone_call_init (&noop, rclone, "rc/noopauth", NULL);
  noop.urgent = true;
  result = rclone_call_run (&noop);
  if (result != CLOUD_OK)
    take_sentence (&noop, ret_sentence);
  if (result == CLOUD_OK)
    result = ask_features (rclone, &features, ret_sentence);
  if (result == CLOUD_OK)
    result = ask_root (rclone, &features, ret_sentence);
  if (result == CLOUD_OK && rclone->daemon == NULL)
    result = ask_serving (rclone, ret_sentence);
  if (result == CLOUD_OK)
    rclone_tell_rate (rclone);
  if (result != CLOUD_OK && *ret_sentence == NULL)
    *ret_sentence = strdup ("out of memory");
  return result;
}

/* ---- rates ---- */

/* Only our own: another may have other users. */
void
rclone_tell_rate (struct rclone *rclone)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  unsigned starts;
  uint64_t rate;
  char text[64];

  rclone_call_init (&call, rclone, "core/bwlimit", NULL);
  if (rclone->daemon == NULL)
    return;
  starts = rclone_daemon_starts (rclone->daemon);
  {
    LOCK_FOR_SCOPE (&rclone->lock);
    if (rclone->rate_told == starts + 1 || (rclone->upload_rate == 0 && rclone->rate_told == 0))
      return;
    rate = rclone->upload_rate;
    rclone->rate_told = starts + 1;
  }
  /* What comes down is counted by http.h. */
  if (rate > 0)
    snprintf (text, sizeof text, "%llub:off", (unsigned long long) rate);
  else
    snprintf (text, sizeof text, "off");
  call.patience_s = 0;
  rclone_call_text (&call, "rate", text);
  if (rclone_call_run (&call) != CLOUD_OK) {
    msg_debug ("%s: %s", rclone->cloud.identity, call.sentence ? call.sentence : "out of memory");
    LOCK_FOR_SCOPE (&rclone->lock);
    rclone->rate_told = UINT32_MAX;
  }
}

static enum cloud_result
tell (struct rclone_flow *flow)
{
  rclone_tell_rate (flow->rclone);
  return CLOUD_OK;
}

static void
finish_tell (struct rclone_flow *flow, enum cloud_result result, const char *sentence)
{
}

static void
rclone_set_rates (struct cloud *cloud, uint64_t upload, uint64_t download)
{
  struct rclone *rclone = (struct rclone *) cloud;
  struct rclone_flow *flow;

  http_set_rates (rclone->http, 0, download);
  {
    LOCK_FOR_SCOPE (&rclone->lock);
    if (rclone->upload_rate == upload)
      return;
    rclone->upload_rate = upload;
    rclone->rate_told = UINT32_MAX;
  }
  flow = rclone_flow_new (rclone, "", NULL);
  if (flow == NULL)
    return;                    /* the next upload tells it */
  flow->finish = finish_tell;
  flow->urgent = true;
  rclone_flow_begin (flow, RCLONE_READS, tell);
}

/* ---- files in passing ---- */

/* What a crash has left; nobody else is here, as the folder is the cache's, or new. */
static void
empty_staging (const char *folder)
{
  DIR *dir = opendir (folder);
  const struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    if (localitem_is_own (entry->d_name) != LOCALITEM_NOT_OWN)
      unlinkat (dirfd (dir), entry->d_name, 0);
  if (dir)
    closedir (dir);
}

const char *
rclone_staging (struct rclone *rclone)
{
  const char *tmpdir = getenv ("TMPDIR"), *made;
  struct stat st;
  char *folder;

  LOCK_FOR_SCOPE (&rclone->lock);
  if (rclone->staging)
    return rclone->staging;
  if (rclone->cloud.scratch) {
    if (asprintf (&folder, "%s/rclone", rclone->cloud.scratch) == -1)
      return NULL;
    made = mkdir (folder, 0700) == 0 || errno == EEXIST ? folder : NULL;
    if (made && (lstat (folder, &st) == -1 || !S_ISDIR (st.st_mode))) {
      errno = ENOTDIR;
      made = NULL;
    }
  }
  else {
    if (asprintf (&folder, "%s/cloudshare-rclone.XXXXXX", tmpdir && *tmpdir == '/' ? tmpdir : "/tmp") == -1)
      return NULL;
    made = mkdtemp (folder);
  }
  if (made == NULL) {
    const int error = errno;

    free (folder);
    errno = error;
    return NULL;
  }
  empty_staging (folder);
  return rclone->staging = folder;
}

/* ---- waiting ---- */

static enum cloud_wait
rclone_wait (struct cloud *cloud, int timeout_ms)
{
  return waker_wait (&((struct rclone *) cloud)->waker, timeout_ms) ? CLOUD_WAIT_WOKEN : CLOUD_WAIT_TIMEOUT;
}

static bool
rclone_has_push (struct cloud *cloud)
{
  return false;
}

static void
rclone_wake (struct cloud *cloud)
{
  waker_wake (&((struct rclone *) cloud)->waker);
}

/* ---- from open to close ---- */

static void
rclone_stop (struct cloud *cloud)
{
  struct rclone *rclone = (struct rclone *) cloud;

  rclone_wake (cloud);
  if (rclone->daemon)
    rclone_daemon_stop_waiting (rclone->daemon);
  http_stop (rclone->http);
  for (size_t i = 0; i < 2; i++)
    rclone_lane_stop (rclone->lanes[i]);
  if (rclone->daemon)
    rclone_daemon_stop (rclone->daemon);
}

static int
rclone_start (struct cloud *cloud)
{
  struct rclone *rclone = (struct rclone *) cloud;

  waker_reset (&rclone->waker);
  if (rclone->daemon && rclone_daemon_start (rclone->daemon) == -1)
    return -1;
  if (http_start (rclone->http) == -1) {
    if (rclone->daemon)
      rclone_daemon_stop (rclone->daemon);
    return -1;
  }
  for (size_t i = 0; i < 2; i++)
    rclone_lane_start (rclone->lanes[i]);
  return 0;
}

static void
rclone_close (struct cloud *cloud)
{
  struct rclone *rclone = (struct rclone *) cloud;

  http_close (rclone->http);
  for (size_t i = 0; i < 2; i++)
    rclone_lane_free (rclone->lanes[i]);
  rclone_daemon_free (rclone->daemon);
  waker_destroy (&rclone->waker);
  pthread_mutex_destroy (&rclone->lock);
  known_folders_destroy (&rclone->folders);
  if (rclone->staging)
    rmdir (rclone->staging);
  free (rclone->staging);
  free (rclone->base);
  free (rclone->cloud.identity);
  rclone_remote_free (&rclone->remote);
  free (rclone);
}

static const struct cloud_ops rclone_ops = {
  .name = "rclone",
  .settle_ms = 2000,           /* of the clouds whose times count in seconds */
  .move_copies = true,
  .probe = rclone_probe,
  .list = rclone_list,
  .get = rclone_get,
  .put = rclone_put,
  .mkdir = rclone_mkdir,
  .move = rclone_move,
  .remove = rclone_remove,
  .touch = rclone_touch,
  .wait = rclone_wait,
  .has_push = rclone_has_push,
  .set_rates = rclone_set_rates,
  .start = rclone_start,
  .stop = rclone_stop,
  .wake = rclone_wake,
  .close = rclone_close,
};

/* What a running one's URL tells.  -1 after one message. */
static int
take_url (struct rclone *rclone, const struct cloud_config *config, struct http_config *http)
{
  struct http_url url;
  size_t len;

  if (http_url_parse (config->rclone_url, &url) == -1)
    return -1;
  rclone->base = url.text;
  url.text = NULL;
  len = strlen (rclone->base);
  while (len > 0 && rclone->base[len - 1] == '/')
    rclone->base[--len] = '\0';
  if (http->user == NULL && url.user) {
    http->user = strdup (url.user);
    http->password = strdup (url.password ? url.password : "");
  }
  http_url_free (&url);
  return 0;
}

static int
take_config (struct rclone *rclone, const struct cloud_config *config)
{
  struct http_config http = {
    .cainfo = config->cainfo,
    .sslverify = config->sslverify,
    /* Calls that last, and reading beside them. */
    .connections = 2 * config->connections + 4,
    .timeout_s = config->timeout_s,
  };
  char *user = config->user ? strdup (config->user) : NULL;
  char *password = config->password ? strdup (config->password) : NULL;
  int r = 0;

  http.user = user;
  http.password = password;
  if (config->rclone_url) {
    r = take_url (rclone, config, &http);
    if (http.user != user) {
      user = (char *) http.user;
      password = (char *) http.password;
    }
  }
  else {
    rclone->daemon = rclone_daemon_new (config->rclone_config, config->timeout_s);
    if (rclone->daemon == NULL) {
      msg_error ("out of memory");
      r = -1;
    }
    /* The way to ourselves leads past no proxy. */
    http.no_proxy = true;
  }
  if (r == 0)
    rclone->http = http_open (&http);
  free (user);
  free (password);
  return rclone->http ? 0 : -1;
}

struct cloud *
cloud_rclone_open (const struct cloud_config *config)
{
  struct rclone *rclone;

  if (config->token || (config->user && config->rclone_url == NULL)) {
    msg_error ("%s not for rclone, whose configuration says how to log in",
               config->token ? "token= is" : "user= and password= are");
    return NULL;
  }
  if (config->rclone_url && config->rclone_config) {
    msg_error ("rclone-config= is for the rclone that is started here: the one at rclone-url= has its own");
    return NULL;
  }
  rclone = calloc (1, sizeof *rclone);
  if (rclone == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  rclone->cloud.ops = &rclone_ops;
  rclone->timeout_s = config->timeout_s;
  pthread_mutex_init (&rclone->lock, NULL);
  known_folders_init (&rclone->folders);
  waker_init (&rclone->waker);
  if (getrandom (&rclone->run, sizeof rclone->run, 0) != sizeof rclone->run)
    rclone->run = (uint32_t) monotonic_ms ();
  if (rclone_remote_parse (config->remote, &rclone->remote) == -1)
    goto fail;
  rclone->cloud.identity = strdup (rclone->remote.identity);
  for (size_t i = 0; i < 2; i++)
    rclone->lanes[i] = rclone_lane_new (config->connections);
  if (rclone->cloud.identity == NULL || rclone->lanes[0] == NULL || rclone->lanes[1] == NULL) {
    msg_error ("out of memory");
    goto fail;
  }
  if (take_config (rclone, config) == -1)
    goto fail;
  return &rclone->cloud;

 fail:
  rclone_close (&rclone->cloud);
  return NULL;
}
