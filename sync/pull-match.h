/* SPDX-License-Identifier: BSD-3-Clause */
/* What is what: compares an item as the catalog knows it with an item as a listing shows it.  Decides only, and changes
 * nothing. */

#ifndef CLOUDSHARE_PULL_MATCH_H
#define CLOUDSHARE_PULL_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cloud.h"

struct catalog_item;

enum match {
  MATCH_SAME,                  /* nothing to do */
  MATCH_TOUCHED,               /* the same content, other attributes */
  MATCH_CHANGED,               /* the same item with another content */
  MATCH_REPLACED,              /* a file where a folder was, or a folder where a file was: another item */
  MATCH_NEW,
  MATCH_MISSING,               /* the listing does not show it */
  MATCH_FRESH,                 /* it was written too recently to be believed: nothing to do but to look again */
};

/* Two items of one folder with the same name; one of them may be NULL.  believed: whether the listing's token can be
 * believed. */
extern enum match match_items (const struct catalog_item *known, const struct cloud_item *seen, bool believed);

/* Whether an item that is known by its remote id, and seen under a name that is new in that folder, may have been moved
 * there.  The remote must be asked about the place where it was. */
extern bool match_may_be_moved (const struct catalog_item *known, int64_t folder, const struct cloud_item *seen);

/* Whether what the remote answers about that place says that it was: another item is there, or none.  there: what is
 * there, if the result is CLOUD_OK. */
extern bool match_has_left (enum cloud_result result, const struct cloud_item *there, const struct cloud_item *seen);

/* Equal, or both NULL. */
extern bool match_text (const char *a, const char *b);

#endif /* CLOUDSHARE_PULL_MATCH_H */
