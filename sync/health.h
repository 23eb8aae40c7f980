/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known about the remote right now: one small object that all stages share.
 *
 * Whoever talks to the remote reports how it went.  Readers ask before they start a request that could only time out; the
 * engine, which alone tries again, watches.  Thread-safe. */

#ifndef CLOUDSHARE_HEALTH_H
#define CLOUDSHARE_HEALTH_H

#include <stdbool.h>

#include "cloud.h"

struct health;

/* cloud is borrowed and must outlive it; it is woken when something should be looked at.  NULL after one message. */
extern struct health *health_new (struct cloud *cloud);
extern void health_free (struct health *health);

/* Reports how a request ended.  CLOUD_OFFLINE and CLOUD_AUTH change the state and are said once, with the sentence; an
 * answer of any other kind brings the state back to online, and says so. */
extern void health_report (struct health *health, enum cloud_result result, const char *sentence);

/* True while requests are pointless. */
extern bool health_is_away (struct health *health);

/* CLOUD_OK, CLOUD_OFFLINE or CLOUD_AUTH. */
extern enum cloud_result health_state (struct health *health);

/* Somebody saw that the catalog is behind the remote: the engine should list soon. */
extern void health_suspect (struct health *health);

/* Whether somebody did since the last health_take_suspicion. */
extern bool health_is_suspected (struct health *health);

/* The same, and forgets it. */
extern bool health_take_suspicion (struct health *health);

#endif /* CLOUDSHARE_HEALTH_H */
