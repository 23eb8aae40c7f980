/* SPDX-License-Identifier: BSD-3-Clause */
/* Verdicts: what becomes of an item that two sides may have changed.  Pure functions.
 *
 * The same rules hold at both borders: between a view (mine) and the catalog (theirs), and between the catalog (mine)
 * and the remote (theirs).  base is what both had when they last agreed.  In a conflict both contents survive: the
 * item takes theirs, and mine becomes an item of its own.
 */

#ifndef CLOUDSHARE_VERDICT_H
#define CLOUDSHARE_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

enum verdict_same { SAME_UNKNOWN, SAME_YES, SAME_NO };

struct verdict_case {
  bool base, mine, theirs;     /* who has the item */
  bool mine_changed;           /* mine and base exist, and differ in content */
  bool theirs_changed;         /* theirs and base exist, and differ in content */
  enum verdict_same same;      /* whether mine and theirs are the same bytes; folders are */
};

enum verdict {
  VERDICT_NONE,      /* all agree */
  VERDICT_KEEP,      /* mine waits to be told to the other side */
  VERDICT_TAKE,      /* mine becomes theirs */
  VERDICT_SAME,      /* both made the same change, or theirs is mine: it is the new base */
  VERDICT_CONFLICT,  /* the item takes theirs, mine moves to an item of its own */
  VERDICT_RESTORE,   /* mine was removed, theirs was changed: it comes back as theirs */
  VERDICT_ANEW,      /* theirs was removed, mine was changed: it is made anew */
  VERDICT_DROP,      /* theirs was removed, mine is as it was: it goes */
  VERDICT_COMPARE,   /* the bytes must be compared before anything can be said */
};

extern enum verdict verdict_content (const struct verdict_case *c);

/* Of where an item is: KEEP, TAKE, SAME or NONE.  When both moved it, theirs wins. */
extern enum verdict verdict_place (bool mine_changed, bool theirs_changed, bool same);

/* Whether two contents are the same bytes, as far as sizes and checksums tell.  Checksums are "KIND:hex", several
 * parted by spaces; or NULL. */
extern enum verdict_same verdict_same_bytes (uint64_t size_a, const char *checksums_a, uint64_t size_b,
                                             const char *checksums_b);

#endif /* CLOUDSHARE_VERDICT_H */
