/* SPDX-License-Identifier: BSD-3-Clause */
/* Match: what a guest's folders say now, against what they said when they were last interpreted.  Pure.
 *
 * Identity is the first cluster: an entry that is gone in one place and stands in another with the same first cluster was
 * renamed.  Two exceptions: a file that was put in the place of another (save-by-rename) is new content of that other; and
 * a name that keeps its place while its content stands in other clusters, and the old ones nowhere, has new content.
 *
 * Only folders that were looked at take part.  Names are compared unit by unit.
 */

#ifndef CLOUDSHARE_MATCH_H
#define CLOUDSHARE_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MATCH_NONE SIZE_MAX

/* What became of a known entry. */
enum match_fate {
  FATE_VANISHED,           /* no entry has its place or its first cluster */
  FATE_STAYS,              /* in its place: as it was, or with other content */
  FATE_MOVED,              /* elsewhere */
  FATE_CONSUMED,           /* its clusters are now the content of another known entry: save-by-rename */
  FATE_TRASHED,            /* its clusters belong to an entry that is junk: gone, as far as the cloud goes */
};

/* What an entry of now is. */
enum match_what {
  WHAT_NEW,
  WHAT_SAME,               /* known in this place, with this first cluster; size and times may differ */
  WHAT_CHANGED,            /* known in this place, with another first cluster */
  WHAT_REPLACED,           /* the same, and its clusters were the known entry `from`'s */
  WHAT_MOVED,              /* known elsewhere */
  WHAT_CROSSED,            /* its first cluster is another entry's as well: nothing can be said yet */
};

struct match_entry {
  int64_t folder;          /* any number that tells folders apart */
  const uint16_t *name;
  uint16_t units;
  bool is_folder;
  bool junk;               /* never an item: by its name, or inside junk */
  uint32_t first;          /* 0: none */
  bool stranger;           /* of now: its first cluster is no sign of who it is */
  size_t usurped;          /* of a stranger: the known entry whose clusters it has; the caller's */

  /* Results: in known entries fate and other (the entry of now), in entries of now what and other (the known one), from. */
  int fate, what;
  size_t other, from;
};

/* -1 after one message (no memory). */
extern int match_entries (struct match_entry *known, size_t n_known, struct match_entry *now, size_t n_now);

#endif /* CLOUDSHARE_MATCH_H */
