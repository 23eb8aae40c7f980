/* SPDX-License-Identifier: BSD-3-Clause */
/* The transfer thread, on libcurl's multi interface.
 *
 * A job goes  submitted -> queue (urgent or ahead) -> running on an easy handle -> done.  http_submit touches only the
 * queues; the easy handles, the multi handle and all that hangs on them are the transfer thread's alone, so libcurl
 * needs no locks and the sinks are called without any.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "http-job.h"
#include "msg.h"

struct queue {
  struct job *first, *last;
};

struct http {
  struct http_common common;     /* the transfer thread's from start to stop */
  unsigned connections;
  unsigned reserved;             /* of the connections, for urgent jobs */

  /* Protects the members down to multi, which is read under it by http_submit.  Held for a few instructions, never
   * over a sink's function or a call into libcurl other than curl_multi_wakeup. */
  pthread_mutex_t lock;
  struct queue urgent, ahead;
  bool running;                  /* jobs are taken */
  uint64_t upload, download;     /* limits, bytes a second; 0: none */
  bool asleep;                   /* the thread is in, or about to enter, curl_multi_poll */

  CURLM *multi;                  /* from start to stop */
  pthread_t thread;

  /* The transfer thread's own. */
  CURL **idle;                   /* room for connections handles */
  unsigned nr_idle;
  struct queue in_flight;
  unsigned nr_in_flight, nr_ahead;
};

static void
queue_push (struct queue *queue, struct job *job)
{
  job->next = NULL;
  job->prev = queue->last;
  if (queue->last)
    queue->last->next = job;
  else
    queue->first = job;
  queue->last = job;
}

static void
queue_remove (struct queue *queue, struct job *job)
{
  if (job->prev)
    job->prev->next = job->next;
  else
    queue->first = job->next;
  if (job->next)
    job->next->prev = job->prev;
  else
    queue->last = job->prev;
}

/* ---- the transfer thread ---- */

static int
begin (struct http *http, struct job *job)
{
  CURL *easy = http->nr_idle > 0 ? http->idle[--http->nr_idle] : easy_new (&http->common);

  if (easy == NULL)
    return -1;
  if (job_prepare (job, easy) == -1 || curl_multi_add_handle (http->multi, easy) != CURLM_OK) {
    curl_easy_cleanup (easy);
    return -1;
  }
  queue_push (&http->in_flight, job);
  http->nr_in_flight++;
  http->nr_ahead += !job->urgent;
  http->common.nr_urgent += job->urgent;
  return 0;
}

/* Takes a job off its easy handle, which goes back to the pool. */
static void
end (struct http *http, struct job *job)
{
  curl_multi_remove_handle (http->multi, job->easy);
  queue_remove (&http->in_flight, job);
  http->nr_in_flight--;
  http->nr_ahead -= !job->urgent;
  http->common.nr_urgent -= job->urgent;
  http->idle[http->nr_idle++] = job->easy;
}

/* A finished transfer: done, or sent once more. */
static void
finish (struct http *http, struct job *job, CURLcode code)
{
  CLEANUP_FREE char *sentence = NULL;
  enum cloud_result result;
  const bool again = job_ended (job, code, &result, &sentence);

  end (http, job);
  if (!again)
    job_done (job, result, result == CLOUD_OK || sentence ? sentence : "out of memory");
  else if (begin (http, job) == -1)
    job_done (job, CLOUD_LOCAL, "out of memory");
}

/* The next job that may start now, taken off its queue; NULL if none.  Call with the lock held. */
static struct job *
next_job (struct http *http)
{
  struct queue *queue;
  struct job *job;

  if (http->nr_in_flight >= http->connections)
    return NULL;
  if (http->urgent.first)
    queue = &http->urgent;
  else if (http->nr_ahead < http->connections - http->reserved)
    queue = &http->ahead;
  else
    return NULL;
  job = queue->first;
  if (job)
    queue_remove (queue, job);
  return job;
}

/* Call with the lock held. */
static void
set_limits (struct http *http)
{
  const uint64_t now = job_clock_us ();

  rate_set (&http->common.up, http->upload, now);
  rate_set (&http->common.down, http->download, now);
}

/* Starts what may start.  Returns false once http_stop was called; otherwise the thread is marked asleep, and has to
 * look here again after its next sleep. */
static bool
start_jobs (struct http *http)
{
  for (;;) {
    struct job *job;

    {
      LOCK_FOR_SCOPE (&http->lock);
      if (!http->running)
        return false;
      set_limits (http);
      job = next_job (http);
      http->asleep = job == NULL;
    }
    if (job == NULL)
      return true;
    if (begin (http, job) == -1)
      job_done (job, CLOUD_LOCAL, "out of memory");
  }
}

/* Lets transfers go on that the limits have paused, urgent ones first, each in turn.  Returns the milliseconds after which
 * there is something to let go on, at most a minute. */
static int
resume_jobs (struct http *http)
{
  uint64_t least = 60 * 1000 * 1000;

  for (int urgent = 1; urgent >= 0; --urgent) {
    struct job *next, *const last = http->in_flight.last;

    for (struct job *job = http->in_flight.first; job; job = next) {
      uint64_t left;
      CURLcode code;

      next = job == last ? NULL : job->next;
      if (job->urgent != urgent || (!job->paused_up && !job->paused_down))
        continue;
      left = job_pause_left (job, job_clock_us ());
      if (left == 0) {
        /* Behind those that wait. */
        queue_remove (&http->in_flight, job);
        queue_push (&http->in_flight, job);
        code = job_resume (job);
        if (code != CURLE_OK)
          finish (http, job, code);
        left = 1000;
      }
      least = left < least ? left : least;
    }
  }
  return (int) ((least + 999) / 1000);
}

/* Returns true if any transfer ended, that is, if there is room for others. */
static bool
finish_jobs (struct http *http)
{
  CURLMsg *msg;
  int left;
  bool any = false;

  while ((msg = curl_multi_info_read (http->multi, &left)) != NULL) {
    void *job = NULL;
    const CURLcode code = msg->data.result;

    if (msg->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo (msg->easy_handle, CURLINFO_PRIVATE, &job);
    finish (http, job, code);
    any = true;
  }
  return any;
}

static void
stop_queue (struct http *http, struct queue *queue)
{
  struct job *job;

  for (;;) {
    {
      LOCK_FOR_SCOPE (&http->lock);
      job = queue->first;
      if (job)
        queue_remove (queue, job);
    }
    if (job == NULL)
      return;
    job_done (job, CLOUD_STOPPED, "stopped");
  }
}

static void *
transfer_thread (void *opaque)
{
  struct http *http = opaque;
  int running;

  while (start_jobs (http)) {
    CURLMcode code = curl_multi_perform (http->multi, &running);
    int ms;

    if (finish_jobs (http))
      continue;
    ms = resume_jobs (http);
    if (code == CURLM_OK)
      code = curl_multi_poll (http->multi, NULL, 0, ms, NULL);
    /* Out of memory, or an error of libcurl's own: what is in flight runs into its time-out or goes on later. */
    if (code != CURLM_OK) {
      msg_debug ("http: %s", curl_multi_strerror (code));
      nanosleep (&(struct timespec) { .tv_nsec = 100 * 1000 * 1000 }, NULL);
    }
  }

  while (http->in_flight.first) {
    struct job *job = http->in_flight.first;

    end (http, job);
    job_done (job, CLOUD_STOPPED, "stopped");
  }
  stop_queue (http, &http->urgent);
  stop_queue (http, &http->ahead);
  return NULL;
}

/* ---- the calling side ---- */

static CURLcode global_code;

static void
global_init (void)
{
  global_code = curl_global_init (CURL_GLOBAL_DEFAULT);
}

static char *
copy (const char *text, bool *ok)
{
  char *text_copy = text ? strdup (text) : NULL;

  *ok &= text == NULL || text_copy != NULL;
  return text_copy;
}

struct http *
http_open (const struct http_config *config)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct http *http;
  bool ok = true;

  pthread_once (&once, global_init);
  if (global_code != CURLE_OK) {
    msg_error ("libcurl cannot be used: %s", curl_easy_strerror (global_code));
    return NULL;
  }
  if (config->cainfo && access (config->cainfo, R_OK) == -1) {
    msg_error ("cainfo=%s: %m", config->cainfo);
    return NULL;
  }
  http = calloc (1, sizeof *http);
  if (http == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  pthread_mutex_init (&http->lock, NULL);
  http->common.user = copy (config->user, &ok);
  http->common.password = copy (config->password, &ok);
  http->common.token = copy (config->token, &ok);
  http->common.cainfo = copy (config->cainfo, &ok);
  http->common.sslverify = config->sslverify;
  http->common.no_proxy = config->no_proxy;
  http->connections = config->connections > 0 ? config->connections : 1;
  http->reserved = http->connections < 2 ? 0 : http->connections < 8 ? 1 : http->connections / 4;
  http->common.timeout_s = config->timeout_s > 0 ? config->timeout_s : 30;
  http->idle = calloc (http->connections, sizeof *http->idle);
  if (!ok || http->idle == NULL) {
    msg_error ("out of memory");
    http_close (http);
    return NULL;
  }
  return http;
}

static void
free_handles (struct http *http)
{
  while (http->nr_idle > 0)
    curl_easy_cleanup (http->idle[--http->nr_idle]);
  curl_multi_cleanup (http->multi);
  curl_share_cleanup (http->common.share);
  http->multi = NULL;
  http->common.share = NULL;
}

/* Connections must not be shared over a fork, so all handles are made here and not in http_open. */
int
http_start (struct http *http)
{
  sigset_t all, before;
  int err;

  http->multi = curl_multi_init ();
  http->common.share = curl_share_init ();
  if (http->multi == NULL || http->common.share == NULL) {
    msg_error ("out of memory");
    free_handles (http);
    return -1;
  }
  curl_share_setopt (http->common.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
  curl_share_setopt (http->common.share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  curl_multi_setopt (http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  curl_multi_setopt (http->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long) http->connections);
  curl_multi_setopt (http->multi, CURLMOPT_MAXCONNECTS, (long) http->connections);
  http->common.auth = 0;

  /* Signals are the program's, not this thread's nor those that libcurl starts from it. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  {
    LOCK_FOR_SCOPE (&http->lock);
    err = pthread_create (&http->thread, NULL, transfer_thread, http);
    http->running = err == 0;
  }
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (err) {
    errno = err;
    msg_error ("the transfer thread cannot be started: %m");
    free_handles (http);
    return -1;
  }
  return 0;
}

void
http_submit (struct http *http, const struct http_request *request, const struct http_sink *sink, void *opaque)
{
  struct job *job = job_new (&http->common, request, sink, opaque);

  if (job == NULL) {
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  {
    LOCK_FOR_SCOPE (&http->lock);
    if (http->running) {
      queue_push (job->urgent ? &http->urgent : &http->ahead, job);
      /* Under the lock, as http_stop frees the handle; and once per sleep, as it is a system call. */
      if (http->asleep) {
        http->asleep = false;
        curl_multi_wakeup (http->multi);
      }
      return;
    }
  }
  job_done (job, CLOUD_STOPPED, "stopped");
}

void
http_set_rates (struct http *http, uint64_t upload, uint64_t download)
{
  LOCK_FOR_SCOPE (&http->lock);

  http->upload = upload;
  http->download = download;
  if (http->running && http->asleep) {
    http->asleep = false;
    curl_multi_wakeup (http->multi);
  }
}

void
http_stop (struct http *http)
{
  {
    LOCK_FOR_SCOPE (&http->lock);
    if (!http->running)
      return;
    http->running = false;
    curl_multi_wakeup (http->multi);
  }
  pthread_join (http->thread, NULL);
  free_handles (http);
}

void
http_close (struct http *http)
{
  if (http == NULL)
    return;
  http_stop (http);
  pthread_mutex_destroy (&http->lock);
  free (http->idle);
  free (http->common.user);
  free (http->common.password);
  free (http->common.token);
  free (http->common.cainfo);
  free (http);
}
