/* SPDX-License-Identifier: BSD-3-Clause */
/* Ready: the rules of evidence. */

#include <config.h>

#include "ready.h"

bool
ready_judge (const struct ready_evidence *e)
{
  const bool settled = e->committed || e->stable_ms >= e->settle_ms;
  const bool trusted = e->committed || (e->quiet_ms >= READY_QUIET_MS && e->stable_ms >= READY_QUIET_MS);
  /* More clusters than bytes: either the size is still to come, or they were preallocated.  Fewer valid bytes: Windows sets
   * the size first, and says so of the bytes as they come; others mean it. */
  const bool whole = (e->chain == CHAIN_SOUND && !e->partial) || (trusted && (e->chain == CHAIN_SOUND || e->chain == CHAIN_LONG));

  /* Guests write the sectors of one name in any order: an alias that stands alone may be half of a name that comes, or goes. */
  if (e->bare && (!trusted || (e->torn && !e->committed)))
    return false;
  switch (e->claim) {
  case CLAIM_FOLDER:
    return whole && e->present && settled;
  case CLAIM_CONTENT:
    /* A volume that is whole may still name clusters that were never written: Linux 6.1 makes files longer on exFAT so. */
    return whole && ((e->written && settled) || trusted);
  case CLAIM_IN_PLACE:
    return whole && settled;
  case CLAIM_SILENT:
    /* The tail of a file is zeroed before its entry says that it became shorter. */
    return whole && trusted;
  case CLAIM_MOVED:
    return settled && (!e->torn || e->committed);
  case CLAIM_EMPTY:
    /* A guest that stood still before it named them would leave a file emptied that it was about to fill. */
    return trusted && (e->committed || !e->orphans);
  case CLAIM_SHORTER:
    return trusted && whole && (e->committed || !e->orphans);
  case CLAIM_TIME:
    return trusted;
  case CLAIM_GONE:
    /* Of a volume that is whole, what still looks torn is broken for good. */
    return trusted && e->released && (!e->torn || e->committed);
  }
  return false;
}
