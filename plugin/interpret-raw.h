/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter of raw disks: what a guest wrote to a piece becomes a new version of that piece.
 *
 *   interp = interpret_raw_new (&config)         as interpret.h
 *   interpret_raw_run (interp, &now, &result)
 *   interpret_raw_free (interp)
 *
 * Nothing is known of what the bytes mean, so all that can be kept is what a disk keeps whose power is cut: the pieces that were
 * written are staged together, of one moment, and journalled in one transaction.  If the guest writes meanwhile, all of it is
 * dropped and tried again after a pause, which grows: a guest that never rests is copied seldom, and at last when it has left.
 *
 * A run stages when the guest was quiet for settle_ms, or has left; at last a minute after it began.  What was written behind
 * a piece's end, in the rest of its last sector, stays on the view.
 *
 * Seen state: fresh sectors (overlay.h) are what was written since it was journalled; raw-rows.h says as what.
 */

#ifndef CLOUDSHARE_INTERPRET_RAW_H
#define CLOUDSHARE_INTERPRET_RAW_H

#include "interpret.h"

struct interp_raw;

/* NULL after one message. */
extern struct interp_raw *interpret_raw_new (const struct interpret_config *config);
extern void interpret_raw_free (struct interp_raw *interp);

/* result: dirty is never set, and detached is NULL.  -1 after one message. */
extern int interpret_raw_run (struct interp_raw *interp, const struct interpret_now *now, struct interpret_result *ret);

#endif /* CLOUDSHARE_INTERPRET_RAW_H */
