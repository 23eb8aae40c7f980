/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the S3 provider share; private to cloud-s3.c (open, probe, wait) and to
 *
 *   s3-request.c      one request: signed, sent, its answer gathered, a refusal explained
 *   s3-list.c         listings and looks at one item
 *   s3-get.c          reading
 *   s3-flow.c         the threads that changes run on, and what they have in common
 *   s3-put.c, s3-multipart.c, s3-patch.c, s3-change.c, s3-move.c     the changes
 *   s3-upload.c, s3-plan.c                               uploads by parts
 *   s3-manners.c      what the server makes of conditions
 *
 * Items and keys: a file PATH is the object PREFIX/PATH.  A folder is there where any key begins with PREFIX/PATH/; so
 * that an empty one is there, too, it has a marker, an object of 0 bytes by just that name.  Where a file and a folder
 * have one name, which S3 allows, the folder is shown and the file is left out.
 *
 * Tokens are entity tags, with their quotes.  S3's are made of the content, so that a token never stays over a change.
 */

#ifndef CLOUDSHARE_S3_H
#define CLOUDSHARE_S3_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud.h"
#include "http.h"
#include "known-folders.h"
#include "s3-credentials.h"
#include "s3-url.h"
#include "s3-xml.h"
#include "sigv4.h"
#include "waker.h"

struct s3_flows;
struct s3_manners;

struct s3 {
  struct cloud cloud;
  struct http *http;
  struct s3_flows *flows;
  struct s3_manners *manners;
  struct waker waker;
  struct known_folders folders;
  bool keys_from_files;        /* credentials are read again by each probe */
  atomic_bool tags_are_md5;    /* an entity tag has been seen to be the MD5 of the content */
  atomic_bool copies_ranges;   /* an upload has had parts of the sizes that it was to have */
  atomic_bool odd_tags;        /* a condition of the tag of an object of parts was refused although it was there (Swift) */
  atomic_bool no_ranges;       /* the server does not copy ranges, or not as it was asked to */
  atomic_bool writing;         /* something was to be changed: who only reads leaves also our litter alone */

  /* Protects the members below.  Held for a few instructions; no other lock is taken under it. */
  pthread_mutex_t lock;
  struct s3_url url;           /* of which a probe may change the host, and nothing else */
  char *region;
  struct s3_credentials credentials;
  time_t skew;                 /* seconds that the server's clock is ahead of ours */
};

/* ---- one request (s3-request.c) ---- */

#define S3_MAX_QUERY 8
#define S3_MAX_HEADERS 48

/* All is copied by s3_send but names, which are string constants, and what the pointers of read are. */
struct s3_request {
  const char *method;          /* a string constant */
  const char *key;             /* "": the bucket */
  struct sigv4_pair query[S3_MAX_QUERY], headers[S3_MAX_HEADERS];   /* headers are signed */
  size_t nr_query, nr_headers;
  const void *body;            /* a small one; or NULL */
  size_t body_len;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);   /* called with read_opaque */
  void *read_opaque;
  uint64_t read_len;
  const char *payload;         /* SHA-256 of what read gives, in hex; NULL: not known, which only TLS makes good */
  unsigned patience_s;
  bool once, urgent;           /* as in http.h */
};

extern void s3_request_query (struct s3_request *request, const char *name, const char *value);

/* A value of NULL adds nothing. */
extern void s3_request_header (struct s3_request *request, const char *name, const char *value);

/* Signs and submits.  The sink is called as http_submit would, but for read, which gets read_opaque. */
extern void s3_send (struct s3 *s3, const struct s3_request *request, const struct http_sink *sink, void *opaque);

struct s3_header {
  char *name, *value;
};

/* What came back.  All is the answer's. */
struct s3_answer {
  enum cloud_result result;    /* CLOUD_OK: an answer, of any status; otherwise sentence says what was wrong */
  char *sentence;
  int status;
  struct s3_header *headers;   /* those of use: see s3-request.c */
  size_t nr_headers;
  char *body;                  /* whole, never NULL where result is CLOUD_OK */
  size_t body_len;
  char *code, *message;        /* of an error document */
};

/* The value, or NULL. */
extern const char *s3_answer_header (const struct s3_answer *answer, const char *name);

/* Size and time as headers tell them; 0 where they do not. */
extern uint64_t s3_answer_size (const struct s3_answer *answer);
extern struct timespec s3_answer_time (const struct s3_answer *answer);

extern void s3_answer_clear (struct s3_answer *answer);

/* Gathers the headers that are of use of an answer that came otherwise than by s3_ask.  -1: out of memory. */
extern int s3_answer_take_headers (struct s3_answer *answer, const struct http_answer *from);

/* Sends, and calls done with the whole answer, which is cleared afterwards unless done has emptied it. */
extern void s3_ask (struct s3 *s3, const struct s3_request *request,
                    void (*done) (void *opaque, struct s3_answer *answer), void *opaque);

/* What an answer that is not the wanted one means; for an answer whose result is not CLOUD_OK just that.  A wrong clock
 * is learned.  key is for people.  *ret_sentence is malloc'ed, or NULL where there is no memory. */
extern enum cloud_result s3_refusal (struct s3 *s3, const char *method, const char *key, const struct s3_answer *answer,
                                     char **ret_sentence);

/* One request that a thread waits for.  Never on the transfer thread. */
struct s3_call {
  struct s3_request request;
  struct s3_answer answer;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
};

extern void s3_call_init (struct s3_call *call, const char *method, const char *key);
extern void s3_call_start (struct s3_call *call, struct s3 *s3);
extern void s3_call_wait (struct s3_call *call);

/* Both; and once more where the server's clock was learned to be another.  Returns the status, 0 where no answer came.
 * */
extern int s3_call_run (struct s3_call *call, struct s3 *s3);

/* Makes the call ready for another request. */
extern void s3_call_again (struct s3_call *call, const char *method, const char *key);
extern void s3_call_clear (struct s3_call *call);

#define CLEANUP_S3_CALL __attribute__ ((cleanup (s3_call_clear)))

/* ---- listing (s3-list.c) ---- */

/* What is by a name. */
struct s3_seen {
  enum { S3_NOTHING, S3_FILE, S3_FOLDER } what;
  bool has_marker, has_children;   /* of a folder */
  uint64_t size;
  struct timespec mtime;           /* tv_sec 0 where unknown */
  bool arrival;                    /* mtime is when the server got it */
  char *token, *checksum, *mime;   /* malloc'ed, or NULL */
  char *mtime_text;                /* x-amz-meta-mtime as it is there, or NULL */
};

extern void s3_seen_clear (struct s3_seen *seen);

#define CLEANUP_S3_SEEN __attribute__ ((cleanup (s3_seen_clear)))

/* Takes what an answer to HEAD, of status 200, tells.  -1: out of memory. */
extern int s3_seen_take (struct s3 *s3, struct s3_seen *seen, const struct s3_answer *answer);

/* The item as cloud.h has it; its strings are seen's. */
extern struct cloud_item s3_seen_item (const struct s3_seen *seen);

/* "\"TAG\"" of a tag without quotes, malloc'ed; NULL: out of memory. */
extern char *s3_token (const char *etag);

/* Whether a token is the MD5 of the content, as far as its form tells, and the 32 digits. */
extern bool s3_token_md5 (const char *token, char hex[33]);

/* Whether a name has no control characters. */
extern bool s3_is_plain (const char *name);

/* A request that lists keys; prefix is a key's beginning. */
extern void s3_list_request (struct s3_request *request, const char *prefix, bool delimiter, const char *most,
                             const char *continuation);

/* ---- the verbs of cloud.h ---- */

extern void s3_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink,
                     void *opaque);
extern void s3_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque);
extern void s3_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink,
                    void *opaque);
extern void s3_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque);
extern void s3_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
                     const struct cloud_change_sink *sink, void *opaque);
extern void s3_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
                       const struct cloud_change_sink *sink, void *opaque);
extern void s3_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
                      const struct cloud_change_sink *sink, void *opaque);

#endif /* CLOUDSHARE_S3_H */
