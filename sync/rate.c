/* SPDX-License-Identifier: BSD-3-Clause */
/* A limit of bytes a second. */

#include <config.h>

#include "rate.h"

#define MILLION INT64_C (1000000)

/* The bucket's size, bytes. */
static int64_t
room (const struct rate *rate)
{
  return (int64_t) (rate->limit / 8);
}

/* Bytes that have to be in the bucket for anything to be given. */
static int64_t
least (const struct rate *rate, enum rate_rank rank)
{
  return rank == RATE_BEHIND ? room (rate) / 2 + 1 : 1;
}

static void
fill (struct rate *rate, uint64_t now_us)
{
  const int64_t full = room (rate) * MILLION;
  const uint64_t passed = now_us > rate->at ? now_us - rate->at : 0;

  rate->at = now_us;
  /* What is missing comes in so many microseconds; after more of them the product could be too large for its type. */
  if (rate->level < full && passed > (uint64_t) (full - rate->level) / rate->limit)
    rate->level = full;
  else if (rate->level < full)
    rate->level += (int64_t) (passed * rate->limit);
}

void
rate_set (struct rate *rate, uint64_t limit, uint64_t now_us)
{
  if (limit > 0 && limit < RATE_LOWEST)
    limit = RATE_LOWEST;
  /* More than any line has; the sums stay within their type. */
  if (limit > UINT64_C (1) << 36)
    limit = 0;
  if (limit == rate->limit)
    return;
  rate->limit = limit;
  rate->level = 0;
  rate->at = now_us;
}

uint64_t
rate_allows (struct rate *rate, enum rate_rank rank, uint64_t wanted, uint64_t now_us)
{
  int64_t bytes;

  if (rate->limit == 0)
    return wanted;
  fill (rate, now_us);
  bytes = rate->level / MILLION;
  if (bytes < least (rate, rank))
    return 0;
  return (uint64_t) bytes < wanted ? (uint64_t) bytes : wanted;
}

void
rate_take (struct rate *rate, uint64_t bytes, uint64_t now_us)
{
  /* What is owed is bounded as well: nobody waits for longer than a minute. */
  const int64_t most = (int64_t) rate->limit * 60;

  if (rate->limit == 0)
    return;
  fill (rate, now_us);
  if (bytes > (uint64_t) most || rate->level / MILLION - (int64_t) bytes < -most)
    rate->level = -most * MILLION;
  else
    rate->level -= (int64_t) bytes * MILLION;
}

uint64_t
rate_wait (struct rate *rate, enum rate_rank rank, uint64_t now_us)
{
  int64_t missing;

  if (rate->limit == 0)
    return 0;
  fill (rate, now_us);
  missing = least (rate, rank) * MILLION - rate->level;
  return missing <= 0 ? 0 : ((uint64_t) missing + rate->limit - 1) / rate->limit;
}
