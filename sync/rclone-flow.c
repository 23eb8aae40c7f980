/* SPDX-License-Identifier: BSD-3-Clause */
/* The threads that rclone's verbs run on, and the steps that they have in common. */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "rclone.h"

/* A name longer than this is taken by hardly any cloud, and some cut it. */
#define LONGEST_NAME 255

/* A listing of a folder: 1,000,000 files of 250 bytes each. */
#define LONGEST_LISTING (400 * 1024 * 1024)

/* How often a job is asked after, milliseconds: first, and at most. */
#define FIRST_POLL_MS 5
#define LONGEST_POLL_MS 500

/* ---- threads ---- */

struct rclone_lane_state {
  unsigned most;
  pthread_t *threads;          /* room for most */

  /* Protects the members below.  Nothing else is locked under it, and no function of others is called. */
  pthread_mutex_t lock;
  pthread_cond_t cond;         /* first, or running, has changed */
  pthread_cond_t stopped;      /* running has become false */
  bool running;
  unsigned nr_threads, nr_idle, nr_waiting;
  struct rclone_flow *first, *last;
};

static void *
flow_thread (void *opaque)
{
  struct rclone_lane_state *lane = opaque;

  for (;;) {
    struct rclone_flow *flow;
    enum cloud_result result;
    bool running;

    {
      LOCK_FOR_SCOPE (&lane->lock);
      lane->nr_idle++;
      while (lane->running && lane->first == NULL)
        pthread_cond_wait (&lane->cond, &lane->lock);
      lane->nr_idle--;
      running = lane->running;
      flow = lane->first;
      if (flow == NULL)
        return NULL;
      lane->first = flow->next;
      lane->nr_waiting--;
    }
    /* An rclone that has ended is back in a moment, mostly. */
    if (running && flow->rclone->daemon)
      rclone_daemon_wait (flow->rclone->daemon, RCLONE_BACK_MS);
    result = running ? rclone_learn (flow->rclone, &flow->features, &flow->sentence) : CLOUD_STOPPED;
    if (result == CLOUD_OK)
      result = flow->run (flow);
    rclone_flow_end (flow, result);
  }
}

/* Call with the lock held. */
static void
start_thread (struct rclone_lane_state *lane)
{
  sigset_t all, before;

  /* Signals are the program's. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  if (pthread_create (&lane->threads[lane->nr_threads], NULL, flow_thread, lane) == 0)
    lane->nr_threads++;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
}

void
rclone_flow_begin (struct rclone_flow *flow, enum rclone_lane which, enum cloud_result (*run) (struct rclone_flow *flow))
{
  struct rclone_lane_state *lane = flow->rclone->lanes[which];
  enum cloud_result result = CLOUD_OK;

  flow->run = run;
  if (which == RCLONE_CHANGES)
    atomic_store (&flow->rclone->writing, true);
  {
    LOCK_FOR_SCOPE (&lane->lock);
    if (lane->running && lane->nr_idle <= lane->nr_waiting && lane->nr_threads < lane->most)
      start_thread (lane);
    if (!lane->running)
      result = CLOUD_STOPPED;
    else if (lane->nr_threads == 0)
      result = CLOUD_LOCAL;
    else {
      /* Those that somebody waits for, before all others. */
      flow->next = flow->urgent ? lane->first : NULL;
      if (flow->urgent || lane->first == NULL) {
        if (lane->first == NULL)
          lane->last = flow;
        lane->first = flow;
      }
      else {
        lane->last->next = flow;
        lane->last = flow;
      }
      lane->nr_waiting++;
      pthread_cond_signal (&lane->cond);
    }
  }
  if (result != CLOUD_OK)
    rclone_flow_end (flow, result);
}

struct rclone_lane_state *
rclone_lane_new (unsigned most)
{
  struct rclone_lane_state *lane = calloc (1, sizeof *lane);
  pthread_condattr_t attr;

  if (lane == NULL)
    return NULL;
  lane->most = most > 0 ? most : 1;
  lane->threads = calloc (lane->most, sizeof *lane->threads);
  if (lane->threads == NULL) {
    free (lane);
    return NULL;
  }
  pthread_mutex_init (&lane->lock, NULL);
  pthread_cond_init (&lane->cond, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&lane->stopped, &attr);
  pthread_condattr_destroy (&attr);
  return lane;
}

void
rclone_lane_start (struct rclone_lane_state *lane)
{
  LOCK_FOR_SCOPE (&lane->lock);
  lane->running = true;
}

void
rclone_lane_stop (struct rclone_lane_state *lane)
{
  {
    LOCK_FOR_SCOPE (&lane->lock);
    lane->running = false;
    pthread_cond_broadcast (&lane->cond);
    pthread_cond_broadcast (&lane->stopped);
  }
  for (unsigned i = 0; i < lane->nr_threads; i++)
    pthread_join (lane->threads[i], NULL);
  lane->nr_threads = 0;
}

void
rclone_lane_free (struct rclone_lane_state *lane)
{
  if (lane == NULL)
    return;
  pthread_cond_destroy (&lane->cond);
  pthread_cond_destroy (&lane->stopped);
  pthread_mutex_destroy (&lane->lock);
  free (lane->threads);
  free (lane);
}

bool
rclone_lane_sleep (struct rclone_lane_state *lane, unsigned ms)
{
  struct timespec until;

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long) ms * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  LOCK_FOR_SCOPE (&lane->lock);
  while (lane->running && pthread_cond_timedwait (&lane->stopped, &lane->lock, &until) != ETIMEDOUT)
    ;
  return !lane->running;
}

/* ---- from beginning to end ---- */

static void
flow_free (struct rclone_flow *flow)
{
  free (flow->path);
  free (flow->to);
  free (flow->expect);
  free (flow->checksum);
  free (flow->sentence);
  rclone_seen_clear (&flow->now);
  free (flow);
}

struct rclone_flow *
rclone_flow_new (struct rclone *rclone, const char *path, void *opaque)
{
  struct rclone_flow *flow = calloc (1, sizeof *flow);

  if (flow == NULL)
    return NULL;
  flow->rclone = rclone;
  flow->opaque = opaque;
  flow->path = strdup (path);
  if (flow->path == NULL) {
    free (flow);
    return NULL;
  }
  return flow;
}

void
rclone_flow_end (struct rclone_flow *flow, enum cloud_result result)
{
  const char *sentence = flow->sentence ? flow->sentence : result == CLOUD_STOPPED ? "stopped" : "out of memory";

  flow->finish (flow, result, result == CLOUD_OK ? NULL : sentence);
  flow_free (flow);
}

static void
finish_change (struct rclone_flow *flow, enum cloud_result result, const char *sentence)
{
  struct timespec now;
  struct cloud_item item;

  clock_gettime (CLOCK_REALTIME, &now);
  item = rclone_seen_item (&flow->now, "", &flow->features, &now);
  flow->sink->done (flow->opaque, result, sentence,
                    result == CLOUD_OK && flow->now.what != RCLONE_NOTHING ? &item : NULL);
}

struct rclone_flow *
rclone_flow_change (struct rclone *rclone, const char *path, const char *to, const char *expect,
                    const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_new (rclone, path, opaque);

  if (flow) {
    flow->sink = sink;
    flow->finish = finish_change;
    flow->to = to ? strdup (to) : NULL;
    flow->expect = expect ? strdup (expect) : NULL;
  }
  if (flow && ((to && flow->to == NULL) || (expect && flow->expect == NULL))) {
    flow_free (flow);
    flow = NULL;
  }
  if (flow == NULL)
    sink->done (opaque, CLOUD_LOCAL, "out of memory", NULL);
  return flow;
}

enum cloud_result
rclone_flow_fail (struct rclone_flow *flow, enum cloud_result result, const char *path, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  free (flow->sentence);
  flow->sentence = NULL;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL || asprintf (&flow->sentence, "%s%s%s: %s", flow->rclone->cloud.identity, *path ? "/" : "", path,
                               why) == -1)
    flow->sentence = NULL;
  return result;
}

enum cloud_result
rclone_flow_no_memory (struct rclone_flow *flow)
{
  free (flow->sentence);
  flow->sentence = NULL;
  return CLOUD_LOCAL;
}

enum cloud_result
rclone_flow_refuse (struct rclone_flow *flow, struct rclone_call *call)
{
  free (flow->sentence);
  flow->sentence = call->sentence;
  call->sentence = NULL;
  return call->result;
}

bool
rclone_is_open_end (enum cloud_result result)
{
  return result == CLOUD_OFFLINE || result == CLOUD_BUSY || result == CLOUD_BAD || result == CLOUD_STOPPED;
}

/* ---- names ---- */

char *
rclone_join (const char *folder, const char *name)
{
  char *path;

  return asprintf (&path, "%s%s%s", folder, *folder ? "/" : "", name) == -1 ? NULL : path;
}

char *
rclone_parent (const char *path)
{
  const char *slash = strrchr (path, '/');

  return strndup (path, slash ? slash - path : 0);
}

enum cloud_result
rclone_flow_may_name (struct rclone_flow *flow, const char *path)
{
  const char *slash = strrchr (path, '/'), *name = slash ? slash + 1 : path;

  if (*path == '\0')
    return rclone_flow_fail (flow, CLOUD_REFUSED, path, "this is the remote itself");
  if (strlen (name) > LONGEST_NAME)
    return rclone_flow_fail (flow, CLOUD_REFUSED, path, "the name is longer than %d bytes", LONGEST_NAME);
  if (rclone_is_own (name))
    return rclone_flow_fail (flow, CLOUD_REFUSED, path, "names of this form are for what is under way");
  for (const char *at = name; *at; at++)
    if ((unsigned char) *at < 0x20 || *at == 0x7f)
      return rclone_flow_fail (flow, CLOUD_REFUSED, path, "the name has a control character in it");
  /* JSON has no way to say it. */
  if (!rclone_is_utf8 (name))
    return rclone_flow_fail (flow, CLOUD_REFUSED, path, "the name is not valid UTF-8");
  return CLOUD_OK;
}

/* ---- looks ---- */

enum cloud_result
rclone_flow_file (struct rclone_flow *flow, const char *path, struct rclone_seen *seen)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  struct json_object *item;
  const char *name, *why;
  int r;

  memset (seen, 0, sizeof *seen);
  rclone_call_init (&call, flow->rclone, "operations/stat", path);
  call.urgent = flow->urgent;
  rclone_call_item (&call, path);
  rclone_call_listing (&call, &flow->features);
  rclone_call_flag (&call, "opt", "filesOnly");
  switch (rclone_call_run (&call)) {
  case CLOUD_OK:
    break;
  case CLOUD_GONE:             /* the remote's own folder, too, where that needs something in it */
  case CLOUD_EXISTS:           /* a folder */
    return CLOUD_OK;
  default:
    return rclone_flow_refuse (flow, &call);
  }
  if (!json_object_object_get_ex (call.out, "item", &item))
    return rclone_flow_fail (flow, CLOUD_BAD, path, "this does not answer like rclone's remote control");
  if (item == NULL)
    return CLOUD_OK;
  r = rclone_entry_read (item, &flow->features, seen, &name, &why);
  if (r == 0 && seen->what == RCLONE_FILE)
    return CLOUD_OK;
  rclone_seen_clear (seen);
  if (r == 0)
    return CLOUD_OK;
  if (r == 1)
    return rclone_flow_fail (flow, CLOUD_REFUSED, path, "%s", why);
  return why ? rclone_flow_fail (flow, CLOUD_BAD, path, "rclone answers with %s", why) : rclone_flow_no_memory (flow);
}

enum cloud_result
rclone_flow_folder (struct rclone_flow *flow, const char *path, struct rclone_seen *seen, bool *ret_children,
                    bool *ret_marker)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  struct json_object *list;
  size_t n;
  bool children = false, marker = false;

  memset (seen, 0, sizeof *seen);
  rclone_call_init (&call, flow->rclone, "operations/list", path);
  call.urgent = flow->urgent;
  call.longest = LONGEST_LISTING;
  rclone_call_item (&call, path);
  rclone_call_flag (&call, "opt", "noModTime");
  rclone_call_flag (&call, "opt", "noMimeType");
  switch (rclone_call_run (&call)) {
  case CLOUD_OK:
    break;
  case CLOUD_GONE:
    return CLOUD_OK;
  default:
    return rclone_flow_refuse (flow, &call);
  }
  if (!json_object_object_get_ex (call.out, "list", &list) ||
      (list && !json_object_is_type (list, json_type_array)))
    return rclone_flow_fail (flow, CLOUD_BAD, path, "this does not answer like rclone's remote control");
  n = list ? json_object_array_length (list) : 0;
  for (size_t i = 0; i < n; i++) {
    struct json_object *entry = json_object_array_get_idx (list, i), *name;

    if (!json_object_is_type (entry, json_type_object) || !json_object_object_get_ex (entry, "Name", &name) ||
        !json_object_is_type (name, json_type_string))
      return rclone_flow_fail (flow, CLOUD_BAD, path, "this does not answer like rclone's remote control");
    if (strcmp (json_object_get_string (name), RCLONE_MARKER) == 0)
      marker = true;
    else
      children = true;
  }
  /* Without empty folders, one with nothing in it is none: but the whole bucket. */
  if (!flow->features.empty_folders && n == 0 && !(*path == '\0' && strchr (flow->rclone->remote.path, '/') == NULL))
    return CLOUD_OK;
  seen->what = RCLONE_FOLDER;
  if (ret_children)
    *ret_children = children;
  if (ret_marker)
    *ret_marker = marker;
  known_folders_saw (&flow->rclone->folders, path, marker);
  return CLOUD_OK;
}

enum cloud_result
rclone_flow_look (struct rclone_flow *flow, const char *path, struct rclone_seen *seen)
{
  enum cloud_result result = CLOUD_OK;

  memset (seen, 0, sizeof *seen);
  if (*path != '\0')
    result = rclone_flow_file (flow, path, seen);
  if (result == CLOUD_OK && seen->what == RCLONE_NOTHING)
    result = rclone_flow_folder (flow, path, seen, NULL, NULL);
  return result;
}

enum cloud_result
rclone_flow_nothing (struct rclone_flow *flow, const char *path)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_look (flow, path, &seen);

  if (result == CLOUD_OK && seen.what != RCLONE_NOTHING)
    result = rclone_flow_fail (flow, CLOUD_EXISTS, path, "there is something by that name already");
  return result;
}

enum cloud_result
rclone_flow_parent (struct rclone_flow *flow, const char *path)
{
  CLEANUP_FREE char *parent = rclone_parent (path);
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result;
  bool marker;

  if (parent == NULL)
    return rclone_flow_no_memory (flow);
  /* Without empty folders, the remote's own needs nothing in it. */
  if (known_folders_has (&flow->rclone->folders, parent, &marker) ||
      (*parent == '\0' && !flow->features.empty_folders))
    return CLOUD_OK;
  result = rclone_flow_folder (flow, parent, &seen, NULL, NULL);
  if (result == CLOUD_OK && seen.what == RCLONE_NOTHING)
    result = rclone_flow_fail (flow, CLOUD_PARENT, path, "the folder that it belongs into is not there");
  return result;
}

enum cloud_result
rclone_flow_judge (struct rclone_flow *flow, const char *path, const struct rclone_seen *seen)
{
  if (seen->what == RCLONE_FOLDER)
    return rclone_flow_fail (flow, CLOUD_EXISTS, path, "this is a folder by now, not a file");
  if (seen->what == RCLONE_NOTHING) {
    CLEANUP_RCLONE_SEEN struct rclone_seen folder = { .what = RCLONE_NOTHING };
    const enum cloud_result result = rclone_flow_folder (flow, path, &folder, NULL, NULL);

    if (result != CLOUD_OK)
      return result;
    return folder.what == RCLONE_FOLDER ? rclone_flow_judge (flow, path, &folder) :
      rclone_flow_fail (flow, CLOUD_GONE, path, "there is no such file any more");
  }
  if (flow->expect && strcmp (seen->token, flow->expect) != 0)
    return rclone_flow_fail (flow, CLOUD_CHANGED, path, "the file has another version by now");
  return CLOUD_OK;
}

/* ---- what may last ---- */

/* Asks after a job until it is over. */
static enum cloud_result
await_job (struct rclone_flow *flow, struct rclone_call *call, int64_t id)
{
  unsigned ms = FIRST_POLL_MS;

  for (;;) {
    CLEANUP_RCLONE_CALL struct rclone_call poll;
    struct json_object *finished, *success, *error;
    const char *why;
    enum cloud_result result;

    rclone_call_init (&poll, flow->rclone, "job/status", call->path);
    if (rclone_lane_sleep (flow->rclone->lanes[RCLONE_CHANGES], ms))
      return CLOUD_STOPPED;
    ms = ms * 2 < LONGEST_POLL_MS ? ms * 2 : LONGEST_POLL_MS;
    poll.patience_s = 0;
    if (poll.in)
      json_object_object_add (poll.in, "jobid", json_object_new_int64 (id));
    /* A job that has failed tells so in the very place where a call that has failed does. */
    rclone_call_start (&poll);
    result = rclone_call_wait (&poll);
    if (result != CLOUD_OK && (poll.out == NULL || poll.status != 200))
      return rclone_flow_refuse (flow, &poll);
    if (!json_object_object_get_ex (poll.out, "finished", &finished) ||
        !json_object_is_type (finished, json_type_boolean))
      return rclone_flow_fail (flow, CLOUD_BAD, call->path, "this does not answer like rclone's remote control");
    if (!json_object_get_boolean (finished))
      continue;
    if (json_object_object_get_ex (poll.out, "success", &success) && json_object_get_boolean (success))
      return CLOUD_OK;
    /* Jobs have no status: a failure is one of the cloud. */
    why = json_object_object_get_ex (poll.out, "error", &error) && json_object_is_type (error, json_type_string) ?
      json_object_get_string (error) : "";
    result = rclone_error_judge (500, why, call->path, &why);
    if (poll.sentence == NULL)
      return rclone_flow_fail (flow, result, call->path, "%s", why ? why : "it failed");
    poll.result = result;
    return rclone_flow_refuse (flow, &poll);
  }
}

enum cloud_result
rclone_flow_job (struct rclone_flow *flow, struct rclone_call *call, bool lasts)
{
  struct json_object *id;

  call->tells_changes = true;
  if (lasts)
    rclone_call_flag (call, NULL, "_async");
  if (rclone_call_run (call) != CLOUD_OK)
    return rclone_flow_refuse (flow, call);
  if (!lasts)
    return CLOUD_OK;
  if (!json_object_object_get_ex (call->out, "jobid", &id) || !json_object_is_type (id, json_type_int))
    return rclone_flow_fail (flow, CLOUD_BAD, call->path, "this does not answer like rclone's remote control");
  return await_job (flow, call, json_object_get_int64 (id));
}

/* Without IgnoreTimes rclone takes two files of one size and time for the same, and only removes the source. */
enum cloud_result
rclone_flow_move_file (struct rclone_flow *flow, const char *from, const char *to, bool lasts)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;

  rclone_call_init (&call, flow->rclone, "operations/movefile", to);
  rclone_call_item_as (&call, "srcFs", "srcRemote", from);
  rclone_call_item_as (&call, "dstFs", "dstRemote", to);
  rclone_call_flag (&call, "_config", "IgnoreTimes");
  return rclone_flow_job (flow, &call, lasts);
}

enum cloud_result
rclone_flow_delete (struct rclone_flow *flow, const char *path)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;

  rclone_call_init (&call, flow->rclone, "operations/deletefile", path);
  rclone_call_item (&call, path);
  return rclone_flow_job (flow, &call, false);
}

void
rclone_flow_discard (struct rclone *rclone, const char *path)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;

  rclone_call_init (&call, rclone, "operations/deletefile", path);
  call.tells_changes = true;
  rclone_call_item (&call, path);
  rclone_call_run (&call);
}
