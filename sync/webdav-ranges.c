/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts the changed ranges of a file alone, where the server can put the rest together by itself:
 *
 *   COPY of the old version to a temporary name, under the condition that it is the one that is meant
 *   each range into that: PUT with Content-Range, or PATCH with X-Update-Range (davmanners.h, davpatch)
 *   a look: the size, and the checksum where the server has one; samples of the ranges are read back
 *   MOVE to the place, under a condition, as for a file that was put whole (webdav-put.c)
 *
 * What is seen under the path changes by the last step alone; whatever ends before leaves nothing but a temporary file, which is
 * swept like any other.  Parts are never put into the file itself, since one that is cut off would stay there.
 *
 * A server that refuses a step, or does not show in the end what it ought to, is not asked again: all is put, or CLOUD_WHOLE.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davput.h"

/* What ranges cost beside their bytes, in bytes: requests that wait for each other, and the server's own copy. */
#define COST_OF_ALL (64 * 1024)
#define COST_OF_EACH (16 * 1024)

/* Smaller files are not worth the detour. */
#define SMALLEST (256 * 1024)

/* One request each, one after the other. */
#define MAX_RANGES 2048

/* What is read back: the samples are at the beginnings and ends of ranges, and spread over all of them. */
#define MAX_SAMPLES 16
#define SAMPLE_SIZE 4096

bool
davput_ranges_pay (const struct cloud_put *put)
{
  /* Who has not all of it would have to fetch it first. */
  const uint64_t whole = put->has_whole ? put->size : put->size + put->base_size;
  uint64_t cost = COST_OF_ALL;

  /* Nothing makes a file shorter. */
  if (put->n_ranges == 0 || put->n_ranges > MAX_RANGES || put->size < put->base_size || whole < SMALLEST)
    return false;
  for (size_t i = 0; i < put->n_ranges; i++)
    cost += put->ranges[i].length + COST_OF_EACH;
  return cost < whole;
}

/* ---- what goes wrong ---- */

static void
send_whole_instead (struct davchange *change)
{
  free (change->temporary);
  change->temporary = NULL;
  change->tries = 0;
  change->cut = false;
  change->patches = false;
  davseen_clear (&change->stored);
  davput_send_whole (change);
}

/* Ranges are of no use here. */
static void
give_up (struct davchange *change)
{
  if (change->has_whole)
    change->discarded = send_whole_instead;
  davput_discard_because (change, CLOUD_WHOLE, NEEDS_WHOLE);
}

static void
distrust (struct davchange *change)
{
  davmanners_distrust_patch (change->dav->manners);
  give_up (change);
}

/* A refusal that has nothing to do with the version: of the method, for the name, or for no reason that could be seen. */
static void
refusal_explained (struct davchange *change)
{
  switch (change->result) {
  case CLOUD_REFUSED:
  case CLOUD_DENIED:
    distrust (change);
    break;
  case CLOUD_BUSY:
    /* The temporary file is nobody else's, so there is no reason for this. */
    if (change->facts.status / 100 == 4 && change->facts.status != 423 && change->facts.status != 425 &&
        change->facts.status != 429 && change->facts.status != 408) {
      distrust (change);
      break;
    }
    /* fallthrough */
  default:
    davput_discard (change, change->result, change->sentence);
  }
}

/* ---- reading back ---- */

static void next_sample (struct davchange *change);

static int
sample_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct davchange *change = opaque;
  char want[SAMPLE_SIZE];

  if (offset < change->sample_at || offset + n > change->sample_at + SAMPLE_SIZE ||
      change->read (change->opaque, want, n, offset) == -1)
    return -1;
  change->sample_differs |= memcmp (want, buf, n) != 0;
  return 0;
}

static void
sample_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct davchange *change = opaque;

  if (result == CLOUD_STOPPED)
    davchange_end (change, result, sentence, NULL);
  else if (result == CLOUD_GONE || result == CLOUD_CHANGED || result == CLOUD_BAD || change->sample_differs)
    distrust (change);
  else if (result != CLOUD_OK)
    davput_discard (change, result, sentence);
  else {
    change->range++;
    next_sample (change);
  }
}

/* change->range counts samples here: even ones are the beginnings of ranges, odd ones the ends. */
static void
next_sample (struct davchange *change)
{
  static const struct cloud_get_sink sink = { .data = sample_data, .done = sample_done };
  const size_t n = change->n_ranges * 2 < MAX_SAMPLES ? change->n_ranges * 2 : MAX_SAMPLES;
  struct cloud_get get = { .path = change->temporary, .token = change->stored.token, .size = change->size };
  const struct cloud_range *range;

  for (; change->range < n; change->range++) {
    /* The first and the last of all are always among them. */
    range = &change->ranges[n == 2 ? 0 : change->range / 2 * (change->n_ranges - 1) / (n / 2 - 1)];
    if (change->range % 2 == 0)
      get.offset = range->offset;
    else if (range->length > SAMPLE_SIZE)
      get.offset = range->offset + range->length - SAMPLE_SIZE;
    else
      continue;
    get.length = range->length < SAMPLE_SIZE ? range->length : SAMPLE_SIZE;
    change->sample_at = get.offset;
    change->sample_differs = false;
    webdav_get (&change->dav->cloud, &get, &sink, change);
    return;
  }
  davput_place (change);
}

static void
temporary_looked (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davput_discard (change, change->result, change->sentence);
  else if (!davput_is_whole (change) || change->seen.token == NULL)
    distrust (change);
  else {
    davseen_take (&change->stored, &change->seen);
    change->range = 0;
    next_sample (change);
  }
}

/* ---- the ranges ---- */

static void next_range (struct davchange *change);

static int
read_range (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct davchange *change = opaque;

  return change->read (change->opaque, buf, n, change->ranges[change->range].offset + offset);
}

static void
range_sent (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->cut = true;
    davput_discard (change, change->result, change->sentence);
  }
  else if (!davchange_succeeded (change))
    davchange_explain (change, refusal_explained);
  /* It has made a file: then the one that was copied is not there any more. */
  else if (change->status == 201)
    distrust (change);
  else {
    change->range++;
    next_range (change);
  }
}

static void
next_range (struct davchange *change)
{
  const bool is_put = change->conduct.patch == DAVPATCH_PUT;
  struct davrequest request = {
    .method = is_put ? "PUT" : "PATCH",
    .path = change->temporary,
    .mtime = change->mtime.tv_sec,
    .read = read_range,
    .patience_s = change->size / SERVER_RATE,
    .patch = change->conduct.patch,
    .patch_total = change->size,
  };

  if (change->range == change->n_ranges) {
    davchange_look (change, change->temporary, 0, temporary_looked);
    return;
  }
  request.size = change->ranges[change->range].length;
  request.patch_at = change->ranges[change->range].offset;
  davchange_send (change, &request, range_sent);
}

/* ---- the copy ---- */

static void
copied (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->cut = true;
    davput_discard (change, change->result, change->sentence);
  }
  else if (!davchange_succeeded (change))
    davchange_explain (change, refusal_explained);
  else
    next_range (change);
}

static void
copy (struct davchange *change)
{
  const struct davrequest request = {
    .method = "COPY",
    .path = change->path,
    .to = change->temporary,
    /* Nobody has this name, so the request may be sent twice. */
    .overwrite = true,
    .form = davchange_form (change->conduct.copy, change->expect),
    .condition_path = change->path,
    .token = change->expect,
    .patience_s = change->base_size / SERVER_RATE,
  };

  davchange_send (change, &request, copied);
}

static void
base_looked (struct davchange *change)
{
  const enum cloud_result verdict = davchange_judge (change, &change->seen);

  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (verdict != CLOUD_OK)
    davchange_end_because (change, verdict, verdict == CLOUD_GONE ? "there is no such item any more" :
                           verdict == CLOUD_EXISTS ? "there is something by that name already" :
                           "the item has another version by now");
  else
    copy (change);
}

void
davput_send_ranges (struct davchange *change)
{
  change->temporary = webdav_temporary (change->dav, change->path, !change->conduct.undotted);
  if (change->temporary == NULL)
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
  /* That it is still that version when the copy is done shows at the MOVE. */
  else if (davchange_form (change->conduct.copy, change->expect) == DAVFORM_NONE)
    davchange_look (change, change->path, 0, base_looked);
  else
    copy (change);
}
