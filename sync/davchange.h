/* SPDX-License-Identifier: BSD-3-Clause */
/* One write verb on its way: the requests that it is made of, one after the other; private to the WebDAV provider.
 *
 *   change = davchange_new (dav, verb, path, sink, opaque)
 *   davmanners_await (change, first)     calls first once it is known what the server makes of conditions
 *   davchange_send, davchange_look       one request each; its outcome is in the change when next is called
 *   davchange_end                        tells the sink, and frees the change
 *
 * next runs on the transfer thread, or before davchange_send returns.  A request that was stopped ends the change by
 * itself, without next.  Nothing here has locks: a change is in one thread's hands at a time.
 */

#ifndef CLOUDSHARE_DAVCHANGE_H
#define CLOUDSHARE_DAVCHANGE_H

#include "davmanners.h"
#include "davxml.h"
#include "webdav.h"

enum davverb {
  DAVVERB_PUT,
  DAVVERB_MKDIR,
  DAVVERB_MOVE,
  DAVVERB_REMOVE,
  DAVVERB_TOUCH,
};

enum davseen_what {
  DAVSEEN_UNKNOWN,
  DAVSEEN_NOTHING,
  DAVSEEN_FILE,
  DAVSEEN_FOLDER,
};

/* What a look has shown.  Strings are malloc'ed, or NULL. */
struct davseen {
  enum davseen_what what;
  uint64_t size;
  struct timespec mtime;
  char *token, *id, *checksum, *mime;
  bool settled;
  bool has_children;           /* with depth 1 */
};

#define DAVCHANGE_HEADERS 10

extern void davseen_clear (struct davseen *seen);

/* Gives from's strings to to; from is empty then. */
extern void davseen_take (struct davseen *to, struct davseen *from);

/* What explains a refusal. */
struct davfacts {
  enum davverb verb;
  int status;
  bool is_new;                       /* a put that expects nothing */
  enum cloud_result subject;         /* what davchange_judge said of what is under the path; CLOUD_OK also where the
                                        verb has no subject */
  enum davseen_what place;           /* what is where the new thing should come to be */
  enum davseen_what parent;          /* the folder of that */
};

struct davchange {
  struct webdav *dav;
  struct davchange *waiting;         /* davmanners.c's */
  struct davconduct conduct;         /* the server's; set by davmanners_await */
  const struct cloud_change_sink *sink;
  void *opaque;

  /* What is to be done.  All strings are copies, or NULL. */
  enum davverb verb;
  char *path, *to, *expect, *checksum;
  bool is_folder;
  uint64_t size;
  struct timespec mtime;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
  const struct cloud_range *ranges;  /* put: as in struct cloud_put */
  size_t n_ranges;
  uint64_t base_size;
  bool has_whole;
  bool patches;                      /* conduct.patch has to be known */

  /* The verb's own. */
  char *temporary;                   /* put: where it is uploaded to */
  char *answered;                    /* put: the token that the answer named */
  struct davseen stored;             /* put, touch: what was seen of it */
  unsigned tries;
  bool cut;                          /* put: the upload has ended in the middle */
  struct davchunks *chunks;          /* webdav-chunks.c's; or NULL */
  size_t range;                      /* put: the one that is sent, or the sample that is read back */
  uint64_t sample_at;                /* put: offset of that sample */
  bool sample_differs;
  void (*discarded) (struct davchange *change);   /* put: what to do once the temporary file is gone; NULL: end */
  enum cloud_result final;           /* how it will end, while litter is still removed */
  char *final_sentence;

  /* The outcome of the last request.  result is CLOUD_OK where an answer came, of any status; otherwise status is 0. */
  enum cloud_result result;
  char *sentence;
  int status;
  char *etag;                        /* normal form */
  bool partly;                       /* status is that of one of several items: others may have been changed */
  struct davseen seen;               /* of davchange_look */

  /* The request under way. */
  void (*next) (struct davchange *change);
  bool to_the_end;                   /* next is called also when stopped */
  struct http_request request;
  char *url, *headers[DAVCHANGE_HEADERS + 1];
  struct davxml *xml;                /* of a 207 */
  unsigned hops;                     /* redirects followed */
  bool follow;

  /* davchange_explain's. */
  struct davfacts facts;
  enum cloud_result refusal;
  char *refusal_sentence;
  void (*explained) (struct davchange *change);
};

/* Copies path.  NULL (out of memory): the sink was told. */
extern struct davchange *davchange_new (struct webdav *dav, enum davverb verb, const char *path,
                                        const struct cloud_change_sink *sink, void *opaque);

/* now may be NULL.  The sentence is copied; with CLOUD_OK it may be NULL. */
extern void davchange_end (struct davchange *change, enum cloud_result result, const char *sentence,
                           const struct davseen *now);

/* Ends it as the last request did, whose result is not CLOUD_OK. */
extern void davchange_end_failed (struct davchange *change);

/* Ends it with "URL: why". */
extern void davchange_end_because (struct davchange *change, enum cloud_result result, const char *why);

/* Whether a new item may have the last name of path; otherwise the change has ended.  Names of more than 255 bytes
 * are not sent: SabreDAV says 201 and stores nothing, and with rclone the folder's listings are cut short from then
 * on. */
extern bool davchange_may_name (struct davchange *change, const char *path);

/* One request.  Members that are NULL or false are left out. */
struct davrequest {
  const char *method;
  const char *path;
  const char *url;                   /* instead of path */
  bool is_folder;
  const char *to;                    /* Destination, of the same kind */
  bool overwrite;                    /* of what is at the Destination, by COPY and MOVE */
  bool has_total;                    /* OC-Total-Length */
  uint64_t total;
  bool only_new;                     /* If-None-Match: * */
  enum davform form;                 /* how the condition is said: "condition_path has token" */
  const char *condition_path, *token;
  const char *checksum;
  time_t mtime;
  const char *xml;                   /* a body */
  /* Another body; called with the change. */
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
  uint64_t size;
  unsigned patience_s;
  bool skip_trash;
  enum davpatch patch;               /* the body goes to this offset of a file that is to have this many bytes */
  uint64_t patch_at, patch_total;
};

extern void davchange_send (struct davchange *change, const struct davrequest *request,
                            void (*next) (struct davchange *change));

/* PROPFIND.  That there is nothing is also CLOUD_OK. */
extern void davchange_look (struct davchange *change, const char *path, int depth,
                            void (*next) (struct davchange *change));

/* The form in which a condition about this token can be said; some tokens cannot be said in headers. */
extern enum davform davchange_form (enum davform form, const char *token);

/* Whether the last request was answered by a status that means done. */
extern bool davchange_succeeded (const struct davchange *change);

/* After any other answer: looks around for what explains it, and then calls next, with result and sentence as the
 * change has to end. */
extern void davchange_explain (struct davchange *change, void (*next) (struct davchange *change));

/* What seen (a look at the version that is to be replaced, moved or removed) says against it: CLOUD_OK, CLOUD_GONE,
 * CLOUD_EXISTS or CLOUD_CHANGED. */
extern enum cloud_result davchange_judge (const struct davchange *change, const struct davseen *seen);

/* Of webdav-chunks.c; NULL is fine. */
extern void davchunks_free (struct davchunks *chunks);

/* The pure part of it.  CLOUD_OK: the facts explain nothing. */
extern enum cloud_result davfacts_verdict (const struct davfacts *facts);

#endif /* CLOUDSHARE_DAVCHANGE_H */
