/* SPDX-License-Identifier: BSD-3-Clause */
/* One HTTP request on its way through libcurl; private to http.c and http-job.c.
 *
 *   job_new -> (queued by http.c) -> easy_new, job_prepare, curl_multi_add_handle -> job_ended -> job_done
 *
 * Easy handles are reused and never reset: libcurl keeps a server's Digest nonce in them, and resetting would cost one
 * 401 per request.  Every option that differs between requests is therefore set for each of them (job_prepare).
 *
 * All but job_new, job_free and job_done belongs to the transfer thread.
 */

#ifndef CLOUDSHARE_HTTP_JOB_H
#define CLOUDSHARE_HTTP_JOB_H

#include <time.h>

#include <curl/curl.h>

#include "http.h"
#include "rate.h"

/* What all requests of one struct http have in common. */
struct http_common {
  char *user, *password, *token, *cainfo;
  bool sslverify, no_proxy;
  unsigned timeout_s;
  CURLSH *share;
  long auth;                     /* the one CURLAUTH_ bit the server wants, or 0 while unknown */
  struct rate up, down;          /* of all bodies together */
  unsigned nr_urgent;            /* in flight */
};

struct job {
  struct http_common *common;
  struct job *next, *prev;       /* http.c's: in a queue, or among those in flight */
  const char *method;
  char *url;
  struct curl_slist *headers;
  void *body;
  size_t body_len;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
  uint64_t read_len, read_at;
  unsigned patience_s;
  bool urgent, follow, once, as_is;
  const struct http_sink *sink;
  void *opaque;

  CURL *easy;                    /* while running */
  bool answered;                 /* sink->answer was called */
  bool skip;                     /* the body goes nowhere */
  bool aborted;                  /* the sink said so */
  bool cut;                      /* we said so: enough skipped */
  bool insecure;                 /* a redirect from https to http was met */
  bool again;                    /* to be sent once more, with the kind of authentication that the server wants */
  bool retried;                  /* after the connection failed, which is done once */
  long sent_auth;                /* CURLAUTH_* that it was sent with */
  bool auth_again;               /* it was sent again for that once */
  bool http1;                    /* not to be sent over HTTP/2 */
  size_t skipped;
  curl_off_t moved;              /* bytes of bodies, both ways */
  time_t moved_at;               /* when that changed, on the monotonic clock */
  bool paused_up, paused_down;   /* the limit of bytes a second is reached; http.c lets it go on */
  char error[CURL_ERROR_SIZE];
};

/* Copies the request.  NULL: out of memory. */
extern struct job *job_new (struct http_common *common, const struct http_request *request,
                            const struct http_sink *sink, void *opaque);
extern void job_free (struct job *job);

/* Tells the sink, and frees the job. */
extern void job_done (struct job *job, enum cloud_result result, const char *sentence);

/* A handle with all options that requests have in common.  NULL: out of memory, or a libcurl that lacks something. */
extern CURL *easy_new (struct http_common *common);

/* Makes easy the job's.  -1: as above. */
extern int job_prepare (struct job *job, CURL *easy);

/* Microseconds until a paused job may go on; 0: now. */
extern uint64_t job_pause_left (const struct job *job, uint64_t now_us);

/* Lets it go on, which may call the sink.  What is not CURLE_OK ended the transfer. */
extern CURLcode job_resume (struct job *job);

/* The clock of limits, microseconds. */
extern uint64_t job_clock_us (void);

/* The transfer ended with code.  True: it is to be sent once more, and the job is ready for job_prepare.  False: it is
 * over, with *ret_result and a malloc'ed sentence (NULL with CLOUD_OK, and where there is no memory). */
extern bool job_ended (struct job *job, CURLcode code, enum cloud_result *ret_result, char **ret_sentence);

#endif /* CLOUDSHARE_HTTP_JOB_H */
