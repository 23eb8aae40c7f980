/* SPDX-License-Identifier: BSD-3-Clause */
/* One transfer thread for the HTTP requests of one remote: a queue, a pool of connections, and authentication.
 *
 * Calling sequence:
 *
 *   http = http_open (&config)                  no traffic, no thread
 *   http_start (http)                           the thread
 *   http_submit (http, &request, &sink, opaque) any number, from any thread, also from a sink's functions
 *   http_stop (http)                            ends everything with CLOUD_STOPPED, joins the thread
 *   http_close (http)
 *
 * start and stop may come several times, from one thread at a time and never from a sink's functions.  http_stop
 * waits for a name lookup under way, as the C library cannot be interrupted in it.
 *
 * Every request ends in exactly one done: on the transfer thread, or on the submitting one and before http_submit
 * returns when nothing was started (stopped, out of memory).  A sink must not submit again upon CLOUD_STOPPED.
 *
 * An answer of any status is an answer: the sink reads the status.  Redirects are followed up to five times, with
 * method and body kept, without credentials towards another host, port or scheme, and never from https to http.
 *
 * Bodies are always sent with their length, never chunked, and without waiting for "100 Continue": servers have been
 * seen to store cut ones, to lose the whole body, or to let everybody wait for a second.
 *
 * Authentication: a token is sent as Bearer; user and password as Basic from the first request on over https, and
 * over http as the server asks for them, Digest before Basic.  What the server asked for first is kept.  A 401 that
 * remains is an answer like any other.
 *
 * Sentences name the URL; URLs given here must not hold credentials.
 */

#ifndef CLOUDSHARE_HTTP_H
#define CLOUDSHARE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud.h"

struct http;

/* All strings are copied. */
struct http_config {
  const char *user, *password;   /* or NULL */
  const char *token;             /* or NULL */
  const char *cainfo;            /* or NULL for the system's authorities */
  bool sslverify;
  unsigned connections;          /* at once, at least 1 */
  unsigned timeout_s;            /* seconds without one byte; 0: 30 */
  bool no_proxy;                 /* whatever the environment says */
};

struct http_request {
  const char *method;            /* a string constant: not copied */
  const char *url;
  const char *const *headers;    /* "Name: value", ends with NULL; or NULL */
  const void *body;              /* or NULL */
  size_t body_len;

  /* Or, instead of body: gives n bytes of the body at offset, always within read_len.  Called with the sink's opaque
   * on the transfer thread, also a second time from the start where the server wants it so (Digest).  -1: end it
   * here; done follows with CLOUD_LOCAL. */
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
  uint64_t read_len;

  unsigned patience_s;           /* so many seconds longer than the time-out may the server be silent */
  bool once;                     /* it changes something: not sent again by ourselves after it may have been carried
                                    out; only libcurl does, where a kept connection dies without a byte of an answer */
  bool urgent;                   /* starts before all that are not, and has connections kept for it */
  bool follow;                   /* redirects; false: a redirect is an answer */
  bool as_is;                    /* "/../" in the URL is part of a name */
};

/* Lives as long as the call that is given it. */
struct http_answer {
  int status;
  const char *url;               /* what answered, after redirects */
  void *handle;
};

/* The value of a header, or NULL; valid until the call that was given the answer returns. */
extern const char *http_answer_header (const struct http_answer *answer, const char *name);

enum http_verdict {
  HTTP_TAKE,    /* give the body to data */
  HTTP_SKIP,    /* nobody wants the body; the request ends well whatever it holds */
  HTTP_ABORT,   /* end it here; done follows with CLOUD_LOCAL */
};

struct http_sink {
  /* Once per request that gets an answer, before data. */
  enum http_verdict (*answer) (void *opaque, const struct http_answer *answer);
  /* The next bytes of the body.  -1: end it here; done follows with CLOUD_LOCAL. */
  int (*data) (void *opaque, const void *buf, size_t n);
  /* CLOUD_OK: answer was called, and the body came whole.  sentence is NULL then. */
  void (*done) (void *opaque, enum cloud_result result, const char *sentence);
};

/* NULL after one message. */
extern struct http *http_open (const struct http_config *config);

/* -1 after one message. */
extern int http_start (struct http *http);

/* The request is copied, the sink is not. */
extern void http_submit (struct http *http, const struct http_request *request, const struct http_sink *sink,
                         void *opaque);
extern void http_stop (struct http *http);

/* Limits of what bodies of all requests together may move, bytes a second; 0: none.  At any time, from any thread.  Requests
 * that are urgent share them, but go first.  Headers are not counted. */
extern void http_set_rates (struct http *http, uint64_t upload, uint64_t download);
extern void http_close (struct http *http);

#endif /* CLOUDSHARE_HTTP_H */
