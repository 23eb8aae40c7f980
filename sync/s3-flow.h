/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of an S3 remote: each runs on a thread of its own from beginning to end, one request after the other, as most
 * are several ("is a folder there? is the parent? then put"); private to the S3 provider.
 *
 *   flow = s3_flow_new (s3, path, sink, opaque)      members are set
 *   s3_flow_begin (flow, run)                        run (flow) on a thread; its return value ends the flow
 *
 * There are at most as many threads as connections, made as they are needed; flows beyond wait in line.
 *
 * run returns CLOUD_OK, or how the flow ends after s3_flow_fail or s3_flow_refuse has put down why.  After
 * CLOUD_STOPPED nothing more can be sent, and run returns at once.
 */

#ifndef CLOUDSHARE_S3_FLOW_H
#define CLOUDSHARE_S3_FLOW_H

#include "s3-manners.h"
#include "s3.h"

struct s3_flow {
  struct s3_flow *next;              /* in line */
  struct s3 *s3;
  enum cloud_result (*run) (struct s3_flow *flow);
  const struct cloud_change_sink *sink;
  void *opaque;

  /* What is to be done.  All strings are copies, or NULL. */
  char *path, *to, *expect, *checksum;
  char *key, *to_key;                /* of path and to, without '/' at the end */
  bool is_folder;
  uint64_t size;
  struct timespec mtime;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);

  /* As in struct cloud_put; the caller's. */
  const struct cloud_range *ranges;
  size_t n_ranges;
  uint64_t base_size;
  bool has_whole;

  struct s3_conduct conduct;         /* the server's */
  struct s3_seen now;                /* what is there after CLOUD_OK; S3_NOTHING: not told */
  char *sentence;
};

/* NULL: out of memory. */
extern struct s3_flows *s3_flows_new (struct s3 *s3, unsigned most);
extern void s3_flows_start (struct s3_flows *flows);
/* After http_stop: what is under way ends by itself, what waits ends here, both with CLOUD_STOPPED. */
extern void s3_flows_stop (struct s3_flows *flows);
extern void s3_flows_free (struct s3_flows *flows);

/* Copies path.  NULL (out of memory): the sink was told. */
extern struct s3_flow *s3_flow_new (struct s3 *s3, const char *path, const struct cloud_change_sink *sink,
                                    void *opaque);
extern void s3_flow_begin (struct s3_flow *flow, enum cloud_result (*run) (struct s3_flow *flow));

/* Ends a flow that has not begun. */
extern void s3_flow_end (struct s3_flow *flow, enum cloud_result result);

/* Whether the server can have an item of that path; otherwise CLOUD_REFUSED. */
extern enum cloud_result s3_flow_may_name (struct s3_flow *flow, const char *path);

/* Puts down "s3://BUCKET/KEY: why" and returns result. */
extern enum cloud_result s3_flow_fail (struct s3_flow *flow, enum cloud_result result, const char *key,
                                       const char *fmt, ...) __attribute__ ((format (printf, 4, 5)));
extern enum cloud_result s3_flow_no_memory (struct s3_flow *flow);

/* What a call's answer means that is not the wanted one. */
extern enum cloud_result s3_flow_refuse (struct s3_flow *flow, const struct s3_call *call);

/* ---- looks: CLOUD_OK also where there is nothing ---- */

/* An object.  The call keeps the answer where it is not NULL (initialised). */
extern enum cloud_result s3_flow_head (struct s3_flow *flow, const char *key, struct s3_seen *seen,
                                       struct s3_call *keep);

/* A folder: what is S3_FOLDER or S3_NOTHING, has_marker and has_children.  Its key ends with '/', or is "": the
 * bucket. */
extern enum cloud_result s3_flow_folder (struct s3_flow *flow, const char *folder_key, struct s3_seen *seen);

/* CLOUD_PARENT where the folder that path is in is not there. */
extern enum cloud_result s3_flow_parent (struct s3_flow *flow, const char *path);

/* Makes sure that the folder which path is in stays when path goes: gives it a marker unless it has one. */
extern enum cloud_result s3_flow_keep_parent (struct s3_flow *flow, const char *path);

/* No folder has the name of this key, which ends without '/': CLOUD_EXISTS otherwise. */
extern enum cloud_result s3_flow_no_folder (struct s3_flow *flow, const char *key);

/* Whether seen is the version that the flow expects: CLOUD_OK, CLOUD_GONE or CLOUD_CHANGED. */
extern enum cloud_result s3_flow_judge (struct s3_flow *flow, const char *key, const struct s3_seen *seen);

/* Before a put: the version that is to be replaced is there, or nothing is. */
extern enum cloud_result s3_flow_look_before (struct s3_flow *flow);

/* ---- changes that several verbs are made of ---- */

/* An object of 0 bytes; with note as its x-amz-meta-cloudshare-move unless that is NULL.  CLOUD_EXISTS where only_new
 * and the server can tell. */
extern enum cloud_result s3_flow_marker (struct s3_flow *flow, const char *folder_key, bool only_new, const char *note);

/* Removes an object if it has this token: under a condition, or after a look. */
extern enum cloud_result s3_flow_delete (struct s3_flow *flow, const char *key, const char *token);

/* Removes one without looking, as it is ours. */
extern enum cloud_result s3_flow_discard (struct s3_flow *flow, const char *key);

/* Copies an object of this token and size, with all that hangs on it.  only_new: CLOUD_EXISTS where something is there
 * and the server can tell.  *ret_token is malloc'ed, the copy's. */
extern enum cloud_result s3_flow_copy (struct s3_flow *flow, const char *key, const char *token, uint64_t size,
                                       const char *to_key, bool only_new, char **ret_token);

/* Adds what says that a copy's source has to have this token. */
extern void s3_copy_condition (struct s3_request *request, const char *token);

/* "/BUCKET/KEY", encoded, for x-amz-copy-source; malloc'ed. */
extern char *s3_copy_source (struct s3 *s3, const char *key);

/* The value of If-Match in the form that the server wants, malloc'ed. */
extern char *s3_condition (enum s3_form form, const char *token);

/* Beyond, objects are put and copied by parts; S3's limit of one request is 5 GiB. */
#define S3_SINGLE_COPY (5ULL << 30)
#define S3_SINGLE_PUT (64ULL << 20)

/* ---- by parts (s3-multipart.c) ---- */

/* Puts flow's content to flow->key. */
extern enum cloud_result s3_multipart_put (struct s3_flow *flow);

/* Puts what flow's ranges have changed to flow->key, the rest copied by the server (s3-patch.c).  CLOUD_WHOLE: nothing
 * is gained by that, or the server cannot. */
extern enum cloud_result s3_patch_put (struct s3_flow *flow);

/* Copies an object by parts. */
extern enum cloud_result s3_multipart_copy (struct s3_flow *flow, const char *key, const char *token, uint64_t size,
                                            const char *to_key, bool only_new, char **ret_token);

/* Aborts uploads below the remote's prefix that nobody has sent anything of for a day.  What fails is left for another
 * time. */
extern void s3_multipart_sweep (struct s3_flow *flow);

/* The headers that are kept beside a file; text has to stay as long as the request. */
struct s3_meta {
  char mtime[64];
  char *own;                         /* malloc'ed, or NULL */
};

extern int s3_meta_make (const struct s3_flow *flow, bool with_checksum, struct s3_meta *meta);
extern void s3_meta_add (const struct s3_meta *meta, struct s3_request *request);

/* Adds all of an object's headers that another object can have; our own (s3_meta_add) only where own is set.  -1: they
 * are too many. */
extern int s3_meta_copy (const struct s3_answer *from, bool own, struct s3_request *request);

/* Reads the answer to a request that may fail after it said 200.  CLOUD_OK: document is of that root.  Free it in any
 * case. */
extern enum cloud_result s3_flow_document (struct s3_flow *flow, const struct s3_call *call, const char *root,
                                           const struct s3_xml_sink *sink, void *opaque, struct s3_document *document);

#endif /* CLOUDSHARE_S3_FLOW_H */
