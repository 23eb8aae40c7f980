/* SPDX-License-Identifier: BSD-3-Clause */
/* What is what: an item of the catalog and an item of a listing. */

#include <config.h>

#include <string.h>

#include "catalog.h"
#include "pull-match.h"

bool
match_text (const char *a, const char *b)
{
  return a == b || (a && b && strcmp (a, b) == 0);
}

enum match
match_items (const struct catalog_item *known, const struct cloud_item *seen, bool believed)
{
  if (seen == NULL)
    return MATCH_MISSING;
  if (known == NULL)
    return believed ? MATCH_NEW : MATCH_FRESH;
  if (known->is_folder != seen->is_folder)
    return believed ? MATCH_REPLACED : MATCH_FRESH;
  if (!catalog_same_version (known, seen))
    return believed ? MATCH_CHANGED : MATCH_FRESH;
  if (known->mtime.tv_sec != seen->mtime.tv_sec || known->mtime.tv_nsec != seen->mtime.tv_nsec ||
      !match_text (known->remote_id, seen->id))
    return MATCH_TOUCHED;
  return MATCH_SAME;
}

bool
match_may_be_moved (const struct catalog_item *known, int64_t folder, const struct cloud_item *seen)
{
  if (known->is_folder != seen->is_folder || seen->id == NULL || !match_text (known->remote_id, seen->id))
    return false;
  return known->parent != folder || strcmp (known->name, seen->name) != 0;
}

bool
match_has_left (enum cloud_result result, const struct cloud_item *there, const struct cloud_item *seen)
{
  return result == CLOUD_GONE || (result == CLOUD_OK && !match_text (there->id, seen->id));
}
