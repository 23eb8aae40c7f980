/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan of an upload in chunks, and what tells that a server takes them. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "davchunks.h"

/* Long enough that requests do not count, short enough that not much is lost with a connection. */
#define TARGET_MS 20000

/* However fast the line is: what is cut off is sent again.  And one fast chunk makes the next no more than twice as large. */
#define LARGEST_WANTED ((uint64_t) 1024 * 1024 * 1024)
#define FASTEST_GROWTH 3

uint64_t
davchunk_length (uint64_t wanted, unsigned n, uint64_t at, uint64_t size)
{
  const uint64_t left = size - at;
  uint64_t length = wanted, least;

  if (n >= DAVCHUNKS_MAX)
    return 0;
  least = (left + DAVCHUNKS_MAX - n - 1) / (DAVCHUNKS_MAX - n);
  if (least > DAVCHUNK_LARGEST)
    return 0;
  if (length < least)
    length = least;
  if (length < DAVCHUNK_SMALLEST)
    length = DAVCHUNK_SMALLEST;
  if (length > DAVCHUNK_LARGEST)
    length = DAVCHUNK_LARGEST;
  return length < left ? length : left;
}

uint64_t
davchunk_adapt (uint64_t wanted, uint64_t sent, int64_t took_ms)
{
  const double fitting = (double) sent * TARGET_MS / (took_ms > 0 ? (double) took_ms : 1);
  const uint64_t most = wanted < LARGEST_WANTED / FASTEST_GROWTH ? wanted * FASTEST_GROWTH : LARGEST_WANTED;
  const uint64_t next = (wanted + (fitting < (double) most ? (uint64_t) fitting : most)) / 2;

  return next < DAVCHUNK_SMALLEST ? DAVCHUNK_SMALLEST : next;
}

unsigned
davchunks_usable (const uint64_t sizes[DAVCHUNKS_MAX + 1], uint64_t size, uint64_t *ret_at)
{
  unsigned n = 0;
  uint64_t at = 0;

  for (; n < DAVCHUNKS_MAX && at < size; n++) {
    const uint64_t here = sizes[n + 1];

    if (here == 0 || here > size - at || (here < DAVCHUNK_SMALLEST && here != size - at))
      break;
    at += here;
  }
  *ret_at = at;
  return n;
}

static const char files_part[] = "/remote.php/dav/files/";

char *
davchunks_uploads (const char *files)
{
  const char *at = strstr (files, files_part);
  const char *user = at ? at + strlen (files_part) : "";
  const size_t n = strcspn (user, "/");
  char *uploads;

  if (n == 0 || asprintf (&uploads, "%.*s/remote.php/dav/uploads/%.*s/", (int) (at - files), files, (int) n, user) == -1)
    return NULL;
  return uploads;
}

char *
davchunks_capabilities (const char *files)
{
  const char *at = strstr (files, files_part);
  char *url;

  if (at == NULL || asprintf (&url, "%.*s/ocs/v2.php/cloud/capabilities?format=json", (int) (at - files), files) == -1)
    return NULL;
  return url;
}

bool
davchunks_offered (const char *text, size_t n)
{
  static const char *const path[] = { "ocs", "data", "capabilities", "dav", "chunking" };
  struct json_tokener *tokener = n > 0 ? json_tokener_new () : NULL;
  struct json_object *root, *at;
  bool offered = false;

  if (tokener == NULL)
    return false;
  root = at = json_tokener_parse_ex (tokener, text, (int) n);
  for (size_t i = 0; i < sizeof path / sizeof path[0] && at; i++)
    if (!json_object_is_type (at, json_type_object) || !json_object_object_get_ex (at, path[i], &at))
      at = NULL;
  offered = at && json_object_get_double (at) >= 1;
  json_object_put (root);
  json_tokener_free (tokener);
  return offered;
}
