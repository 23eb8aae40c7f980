/* SPDX-License-Identifier: BSD-3-Clause */
/* AWS Signature Version 4 for requests with an Authorization header ("Signature Version 4 signing process", AWS General
 * Reference; the rules for S3: "Authenticating Requests: Using the Authorization Header", S3 API Reference).  Pure.
 *
 * Paths and queries are given decoded, and encoded here in the one form that both sides compute the signature from;
 * what is sent has to be sigv4_encode's output, too.  As S3 wants it, paths are encoded once and never normalised: "//"
 * and ".." are parts of keys.
 *
 * What is signed: the method, path, query, the host, x-amz-date, x-amz-security-token where there is one,
 * x-amz-content-sha256 where the caller asks for it, and all headers that the caller lists.  Headers that a proxy or
 * libcurl may add or change (Expect, User-Agent, Accept, Content-Length) must not be listed.
 */

#ifndef CLOUDSHARE_SIGV4_H
#define CLOUDSHARE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* The payload hash of a request whose body is not signed.  S3 takes it only over TLS, and so do we. */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

/* SHA-256 of nothing. */
#define SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_pair {
  const char *name, *value;
};

struct sigv4_keys {
  const char *access, *secret;
  const char *session;               /* token of temporary credentials, or NULL */
};

struct sigv4_request {
  const char *method;
  const char *host;                  /* as the Host header has it */
  const char *path;                  /* decoded, begins with '/' */
  const struct sigv4_pair *query;    /* decoded, in any order; a NULL value is an empty one */
  size_t nr_query;
  const struct sigv4_pair *headers;  /* names in any case and order */
  size_t nr_headers;
  const char *payload;               /* SHA-256 of the body in hex, or SIGV4_UNSIGNED */
  bool sends_payload;                /* x-amz-content-sha256 is among the headers sent (S3) */
  const char *region, *service;
  time_t now;
};

/* What has to be sent beside the listed headers.  All malloc'ed. */
struct sigv4 {
  char *query;                       /* encoded, without '?'; "" where there is none */
  char *date;                        /* value of x-amz-date */
  char *authorization;               /* value of Authorization */
  char *canonical, *to_sign;         /* what was computed on the way, for people who look for a difference */
};

/* -1: out of memory.  Free with sigv4_clear in any case. */
extern int sigv4_sign (const struct sigv4_keys *keys, const struct sigv4_request *request, struct sigv4 *ret);
extern void sigv4_clear (struct sigv4 *sigv4);

/* Percent-encodes all but unreserved characters (RFC 3986, 2.3), and '/' where slashes is false.  malloc'ed; NULL: out
 * of memory. */
extern char *sigv4_encode (const char *text, bool slashes);

/* SHA-256 in hex, with room for the final NUL. */
extern void sigv4_sha256 (const void *data, size_t n, char hex[65]);

#endif /* CLOUDSHARE_SIGV4_H */
