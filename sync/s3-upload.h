/* SPDX-License-Identifier: BSD-3-Clause */
/* One upload by parts, as it is planned, found again, sent and completed; private to s3-multipart.c and s3-patch.c.
 *
 *   s3_upload_init (&upload, flow, key, size)
 *   s3_plan_... (..., &upload.plan)
 *   s3_upload_find (&upload)                 takes up one that was begun before
 *   s3_upload_create (&upload, &call)        where it found none; upload.id is NULL then
 *   s3_upload_send (&upload)                 all parts, several at once
 *   s3_upload_complete (&upload, ...)
 *   s3_upload_end (&upload, result)          aborts what is of no use any more
 */

#ifndef CLOUDSHARE_S3_UPLOAD_H
#define CLOUDSHARE_S3_UPLOAD_H

#include "s3-flow.h"
#include "s3-plan.h"

/* Seconds that a server may be silent while it puts together or copies. */
#define S3_PATIENCE_S 300

struct s3_part_state {
  char etag[64];               /* without quotes; "" until it is there */
  unsigned char md5[16];       /* where it was sent, or compared, by us */
  uint64_t there;              /* size of what was found */
  char found[64];              /* its tag */
};

struct s3_upload {
  struct s3_flow *flow;
  const char *key;
  uint64_t size;
  char *id;
  struct s3_plan plan;
  struct s3_part_state *parts; /* number 1 is parts[0]; as many as the plan's */
  bool has_more;               /* it has parts that do not belong to this plan */
  bool has_md5s;               /* every part's MD5 is known */

  /* Where parts are copied from: set before they are sent. */
  const char *source;          /* as s3_copy_source gives it */
  const char *source_token;    /* NULL: under no condition */
  bool cannot_copy;            /* that was refused as nothing that the server can do */
};

extern void s3_upload_init (struct s3_upload *upload, struct s3_flow *flow, const char *key, uint64_t size);

/* Takes up an upload of this key, if there is one of use.  A server that cannot list them has none. */
extern enum cloud_result s3_upload_find (struct s3_upload *upload);

/* call has the headers that the object is to have. */
extern enum cloud_result s3_upload_create (struct s3_upload *upload, struct s3_call *call);

extern enum cloud_result s3_upload_send (struct s3_upload *upload);

/* Whether the server has parts of the sizes that they ought to have, where it can tell; CLOUD_REFUSED where not. */
extern enum cloud_result s3_upload_verify (struct s3_upload *upload);

/* Completes under a condition: of nothing there (expect NULL and only_new), of a version, or none.  On success *seen is
 * what is there then. */
extern enum cloud_result s3_upload_complete (struct s3_upload *upload, bool only_new, const char *expect,
                                             struct s3_seen *seen);

/* Aborts it unless it is complete, or may go on another time.  Frees all. */
extern void s3_upload_end (struct s3_upload *upload, enum cloud_result result);

extern enum cloud_result s3_upload_abort (struct s3_flow *flow, const char *key, const char *id);

/* All pages. */
extern enum cloud_result s3_upload_list_parts (struct s3_flow *flow, const char *key, const char *id,
                                               const struct s3_xml_sink *sink, void *opaque);

#endif /* CLOUDSHARE_S3_UPLOAD_H */
