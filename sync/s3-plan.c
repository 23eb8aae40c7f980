/* SPDX-License-Identifier: BSD-3-Clause */
/* Cuts a file into parts, from its beginning to its end. */

#include <config.h>

#include <stdlib.h>

#include "s3-plan.h"

/* Of one request: enough for a connection to come up to its speed, and not much lost when it breaks. */
#define SENT_PART (16ULL << 20)

/* What a server copies at once has to be done before the connection counts as dead. */
#define COPIED_PART (1ULL << 30)

/* Below, one request is cheaper than several. */
#define SMALL_FILE (10ULL << 20)

struct limits {
  uint64_t least, sent, copied;
};

static const struct limits smallest = { S3_LEAST_PART, SENT_PART, COPIED_PART };

/* For files of which the parts before were too many.  False: they cannot be larger. */
static bool
enlarge (struct limits *limits)
{
  if (limits->least * 2 > S3_LARGEST_PART / 2)
    return false;
  limits->least *= 2;
  limits->sent *= 2;
  if (limits->sent > S3_LARGEST_PART / 2)
    limits->sent = S3_LARGEST_PART / 2;
  limits->copied *= 2;
  if (limits->copied > S3_LARGEST_PART / 2)
    limits->copied = S3_LARGEST_PART / 2;
  return true;
}

static enum s3_planned
add_part (struct s3_plan *plan, uint64_t offset, uint64_t length, bool copied)
{
  if (plan->n == S3_MOST_PARTS)
    return S3_NO_PLAN;
  if (plan->n == plan->room) {
    const size_t room = plan->room > 0 ? plan->room * 2 : 16;
    struct s3_part *longer = realloc (plan->parts, room * sizeof *longer);

    if (longer == NULL)
      return S3_PLAN_NO_MEMORY;
    plan->parts = longer;
    plan->room = room;
  }
  plan->parts[plan->n++] = (struct s3_part) { offset, length, copied };
  if (!copied)
    plan->sent += length;
  return S3_PLANNED;
}

/* Bytes from offset to end, at least limits->least of them unless they are the last of all.  So are the parts of them,
 * as what would be left over is added to the part before. */
static enum s3_planned
add_run (struct s3_plan *plan, const struct limits *limits, uint64_t offset, uint64_t end, bool is_last, bool copied)
{
  const uint64_t step = copied ? limits->copied : limits->sent, least = is_last ? 1 : limits->least;
  enum s3_planned planned = S3_PLANNED;

  while (offset < end && planned == S3_PLANNED) {
    const uint64_t left = end - offset, length = left < step + least ? left : step;

    planned = add_part (plan, offset, length, copied);
    offset += length;
  }
  return planned;
}

static enum s3_planned
cut (uint64_t size, const struct cloud_range *ranges, size_t n_ranges, const struct limits *limits,
     struct s3_plan *plan)
{
  enum s3_planned planned = S3_PLANNED;
  uint64_t at = 0, changed = 0;

  plan->n = 0;
  plan->sent = plan->unchanged = 0;
  for (size_t i = 0; i < n_ranges && planned == S3_PLANNED;) {
    uint64_t end;

    if (ranges[i].offset - at >= limits->least) {
      planned = add_run (plan, limits, at, ranges[i].offset, false, true);
      at = ranges[i].offset;
    }
    /* From here on all is sent, until there is enough that can be copied, or nothing is changed any more. */
    end = at;
    while (i < n_ranges && (end == at || ranges[i].offset < end + limits->least)) {
      end = ranges[i].offset + ranges[i].length;
      changed += ranges[i].length;
      i++;
      if (end - at < limits->least)
        end = size - at < limits->least ? size : at + limits->least;
      /* Widened over what follows. */
      while (i < n_ranges && ranges[i].offset + ranges[i].length <= end)
        changed += ranges[i++].length;
    }
    if (planned == S3_PLANNED)
      planned = add_run (plan, limits, at, end, end == size, false);
    at = end;
  }
  if (planned == S3_PLANNED && at < size)
    planned = add_run (plan, limits, at, size, true, true);
  plan->unchanged = plan->sent - changed;
  return planned;
}

enum s3_planned
s3_plan_ranges (uint64_t size, const struct cloud_range *ranges, size_t n_ranges, struct s3_plan *plan)
{
  struct limits limits = smallest;
  enum s3_planned planned;

  *plan = (struct s3_plan) { NULL };
  do
    planned = cut (size, ranges, n_ranges, &limits, plan);
  while (planned == S3_NO_PLAN && enlarge (&limits));
  return planned;
}

enum s3_planned
s3_plan_whole (uint64_t size, bool copied, struct s3_plan *plan)
{
  const struct cloud_range all = { 0, size };

  return s3_plan_ranges (size, &all, copied ? 0 : 1, plan);
}

bool
s3_plan_pays (const struct s3_plan *plan, uint64_t size, uint64_t base_size, bool has_whole)
{
  const uint64_t cost = plan->sent + (has_whole ? 0 : plan->unchanged);

  /* Ranges can be copied only of objects of more than 5 MiB (S3 API Reference, UploadPartCopy). */
  return size > SMALL_FILE && base_size > S3_LEAST_PART && cost < size - size / 4;
}

bool
s3_plan_unchanged (const struct s3_part *part, const struct cloud_range *ranges, size_t n_ranges,
                   bool (*each) (void *opaque, uint64_t offset, uint64_t length), void *opaque)
{
  const uint64_t end = part->offset + part->length;
  uint64_t at = part->offset;
  size_t first = 0, beyond = n_ranges;

  /* The first that ends behind the part's beginning. */
  while (first < beyond) {
    const size_t middle = first + (beyond - first) / 2;

    if (ranges[middle].offset + ranges[middle].length <= at)
      first = middle + 1;
    else
      beyond = middle;
  }
  for (size_t i = first; i < n_ranges && ranges[i].offset < end; i++) {
    if (ranges[i].offset > at && !each (opaque, at, ranges[i].offset - at))
      return false;
    at = ranges[i].offset + ranges[i].length;
  }
  return at >= end || each (opaque, at, end - at);
}

void
s3_plan_clear (struct s3_plan *plan)
{
  free (plan->parts);
  *plan = (struct s3_plan) { NULL };
}
