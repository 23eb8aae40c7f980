/* SPDX-License-Identifier: BSD-3-Clause */
/* What an S3 server makes of conditions, found out by trying; private to the S3 provider.
 *
 * AWS honours If-None-Match and If-Match with PutObject and CompleteMultipartUpload since 2024, with DeleteObject and
 * as conditions of a copy's target since 2025; Ceph 16 takes If-Match with PutObject, but only without the quotes that
 * belong to it, and ignores the others; Swift answers 501 to most; many ignore all.  So before the first change scratch objects
 * are put, copied, completed and removed under false and under true conditions, and only what refuses the false ones
 * and lets the true ones pass is used from then on; in the place of the others stands a look right before.
 * Swift also removes under a condition what is not there, and says that it has: there a look comes first.
 *
 * The first change that comes does it, on its own thread; others wait for it.
 */

#ifndef CLOUDSHARE_S3_MANNERS_H
#define CLOUDSHARE_S3_MANNERS_H

#include <stdbool.h>
#include <time.h>

#include "cloud.h"

struct s3_flow;
struct s3_manners;

/* How "the object has this entity tag" is said. */
enum s3_form {
  S3_FORM_NONE,        /* it is not: look right before */
  S3_FORM_QUOTED,      /* If-Match: "etag" */
  S3_FORM_PLAIN,       /* If-Match: etag */
};

/* All zero: nothing is known, and nothing is relied upon. */
struct s3_conduct {
  bool put_new, copy_new, complete_new;      /* If-None-Match: * is refused where there is something */
  enum s3_form put, complete, remove;
  bool remove_tells_gone;                    /* to remove what is not there under a condition is refused, too */
  bool copy_match;                           /* a copy from another version is refused (s3_copy_condition) */
};

/* NULL: out of memory. */
extern struct s3_manners *s3_manners_new (void);
extern void s3_manners_free (struct s3_manners *manners);

/* Sets flow->conduct; or says why nothing can be changed. */
extern enum cloud_result s3_manners_await (struct s3_flow *flow);

/* "cloudshare-scratch-TIME-RANDOM" with a dot before it, malloc'ed.  NULL: out of memory, or no randomness. */
extern char *s3_scratch_name (void);

/* Whether a name is of that form, which nobody else's is: it holds 64 random bits. */
extern bool s3_is_scratch_name (const char *name, time_t *ret_made);

/* For people: "put-new=yes ..." malloc'ed, or NULL. */
extern char *s3_conduct_text (const struct s3_conduct *conduct);

#endif /* CLOUDSHARE_S3_MANNERS_H */
