/* SPDX-License-Identifier: BSD-3-Clause */
/* Into which parts a file is cut that goes to S3 by parts.  Pure.
 *
 * S3 User Guide, "Amazon S3 multipart upload limits": at most 10,000 parts, none above 5 GiB, and none but the last
 * below 5 MiB.  A part is sent, or copied by the server from the version that is replaced; so between two changes that
 * lie less than 5 MiB apart all is sent, and what surrounds a small change is sent along with it.
 */

#ifndef CLOUDSHARE_S3_PLAN_H
#define CLOUDSHARE_S3_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud.h"

#define S3_LEAST_PART (5ULL << 20)
#define S3_LARGEST_PART (5ULL << 30)

/* S3 takes one more; uploads begun by others may have it. */
#define S3_MOST_PARTS 9999

struct s3_part {
  uint64_t offset, length;     /* bytes of the new version; where it is copied, of the other as well */
  bool copied;                 /* by the server */
};

/* Parts follow each other from 0 to the size without gaps. */
struct s3_plan {
  struct s3_part *parts;       /* malloc'ed; none of length 0 */
  size_t n, room;
  uint64_t sent;               /* bytes in parts that are not copied */
  uint64_t unchanged;          /* of these, bytes outside of the ranges */
};

enum s3_planned {
  S3_PLANNED,
  S3_NO_PLAN,                  /* no parts that the limits allow */
  S3_PLAN_NO_MEMORY,
};

/* All of it sent, or all of it copied.  Clear the plan in any case. */
extern enum s3_planned s3_plan_whole (uint64_t size, bool copied, struct s3_plan *plan);

/* Ranges as in struct cloud_put.  Clear the plan in any case. */
extern enum s3_planned s3_plan_ranges (uint64_t size, const struct cloud_range *ranges, size_t n_ranges,
                                       struct s3_plan *plan);

/* Whether a plan of ranges is cheaper than to send all.  Beside the bytes (what lacks here has to be fetched first),
 * parts cost several requests more. */
extern bool s3_plan_pays (const struct s3_plan *plan, uint64_t size, uint64_t base_size, bool has_whole);

/* Bytes of part that ranges do not have: calls each with those one after the other.  Returns false as soon as that
 * does. */
extern bool s3_plan_unchanged (const struct s3_part *part, const struct cloud_range *ranges, size_t n_ranges,
                               bool (*each) (void *opaque, uint64_t offset, uint64_t length), void *opaque);

extern void s3_plan_clear (struct s3_plan *plan);

#endif /* CLOUDSHARE_S3_PLAN_H */
