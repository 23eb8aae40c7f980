/* SPDX-License-Identifier: BSD-3-Clause */
/* Ready: whether what a folder says of one entry is to be believed yet.  Pure.
 *
 * Guests write entries, allocation and data in any order, up to 66 seconds apart, and Linux's vfat gives no sign of being
 * done but at unmount.  So evidence is weighed: that something is there counts as soon as all of it is there and has been
 * quiet for a while; that something is gone, empty or shorter counts only when the volume says that it is whole (a commit
 * mark), or was quiet for longer than any guest takes.
 */

#ifndef CLOUDSHARE_READY_H
#define CLOUDSHARE_READY_H

#include <stdbool.h>
#include <stdint.h>

#include "parse.h"

/* Longer than the pause between two passes of a guest's write-back (25 to 31 seconds were measured), milliseconds. */
#define READY_QUIET_MS 40000

/* What an entry would become. */
enum ready_claim {
  CLAIM_FOLDER,            /* a new folder */
  CLAIM_CONTENT,           /* new bytes: of a new file, or of a known one, at least as many as before */
  CLAIM_EMPTY,             /* a new file without bytes */
  CLAIM_SHORTER,           /* a known file with fewer bytes, or none */
  CLAIM_IN_PLACE,          /* bytes were written within a known file, its entry says so (its time changed) */
  CLAIM_SILENT,            /* the same, and the entry says nothing yet */
  CLAIM_MOVED,             /* another place */
  CLAIM_TIME,              /* nothing but another time */
  CLAIM_GONE,
};

struct ready_evidence {
  enum ready_claim claim;
  enum parsed_chain chain; /* of the clusters that the entry names now; CHAIN_SOUND where it needs none */
  bool written;            /* everything new has been written since it was allocated */
  bool present;            /* CLAIM_FOLDER: its own bytes were written some time */
  bool released;           /* CLAIM_GONE: its clusters are free, or somebody else's */
  bool torn;               /* the folder holds entries that are half written */
  bool bare;               /* the name is new, and may be a part of one (parsed_entry.bare) */
  bool partial;            /* exFAT: less of it is valid than it is long */
  bool orphans;            /* CLAIM_EMPTY, CLAIM_SHORTER: bytes were written that no entry names yet */
  bool committed;          /* the volume is clean, and was marked so after its last change */
  uint64_t stable_ms;      /* for how long nothing of this changed */
  uint64_t quiet_ms;       /* for how long no metadata of the volume changed, while a guest was there; 0: none is */
  uint64_t settle_ms;      /* the user's parameter */
};

extern bool ready_judge (const struct ready_evidence *evidence);

#endif /* CLOUDSHARE_READY_H */
