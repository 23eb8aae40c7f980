/* SPDX-License-Identifier: BSD-3-Clause */
/* Verdicts: what becomes of an item that two sides may have changed. */

#include <config.h>

#include <string.h>
#include <strings.h>

#include "verdict.h"

static enum verdict
by_bytes (enum verdict_same same)
{
  switch (same) {
  case SAME_YES:
    return VERDICT_SAME;
  case SAME_NO:
    return VERDICT_CONFLICT;
  default:
    return VERDICT_COMPARE;
  }
}

enum verdict
verdict_content (const struct verdict_case *c)
{
  if (!c->theirs) {
    if (!c->mine)
      return VERDICT_NONE;
    if (!c->base)
      return VERDICT_KEEP;
    return c->mine_changed ? VERDICT_ANEW : VERDICT_DROP;
  }
  if (!c->mine) {
    if (!c->base)
      return VERDICT_TAKE;
    return c->theirs_changed ? VERDICT_RESTORE : VERDICT_KEEP;
  }
  if (!c->base)
    return by_bytes (c->same);
  if (!c->theirs_changed)
    return c->mine_changed ? VERDICT_KEEP : VERDICT_NONE;
  if (!c->mine_changed)
    return VERDICT_TAKE;
  return by_bytes (c->same);
}

enum verdict
verdict_place (bool mine_changed, bool theirs_changed, bool same)
{
  if (!theirs_changed)
    return mine_changed ? VERDICT_KEEP : VERDICT_NONE;
  return mine_changed && same ? VERDICT_SAME : VERDICT_TAKE;
}

/* Checksums that prove something: with ADLER32 or CRC two contents could look alike. */
static bool
is_strong (const char *checksum)
{
  static const char *const kinds[] = { "SHA256:", "SHA1:", "MD5:" };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
    if (strncasecmp (checksum, kinds[i], strlen (kinds[i])) == 0)
      return true;
  return false;
}

/* What the second list says of one checksum of the first. */
static enum verdict_same
find_checksum (const char *checksum, size_t n, const char *list)
{
  const size_t kind = strcspn (checksum, ":") + 1;

  while (*list) {
    const size_t m = strcspn (list, " ");

    if (m > kind && strncasecmp (list, checksum, kind) == 0)
      return m == n && strncasecmp (list, checksum, n) == 0 ? SAME_YES : SAME_NO;
    list += m + strspn (list + m, " ");
  }
  return SAME_UNKNOWN;
}

enum verdict_same
verdict_same_bytes (uint64_t size_a, const char *checksums_a, uint64_t size_b, const char *checksums_b)
{
  if (size_a != size_b)
    return SAME_NO;
  if (size_a == 0)
    return SAME_YES;
  if (checksums_a == NULL || checksums_b == NULL)
    return SAME_UNKNOWN;
  while (*checksums_a) {
    const size_t n = strcspn (checksums_a, " ");
    const enum verdict_same same = is_strong (checksums_a) ? find_checksum (checksums_a, n, checksums_b) : SAME_UNKNOWN;

    if (same != SAME_UNKNOWN)
      return same;
    checksums_a += n + strspn (checksums_a + n, " ");
  }
  return SAME_UNKNOWN;
}
