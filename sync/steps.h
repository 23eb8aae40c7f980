/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts durable steps, so that tests can stop the process at each of them.
 *
 * step_passed is called right after something became durable (a commit, an fsync, an unlink).  With
 * CLOUDSHARE_STOP_AT_STEP=N in the environment the process ends at the Nth call, without any cleaning up, as if the
 * power had gone: a test runs the same work for N = 1, 2, ... until the process survives. */

#ifndef CLOUDSHARE_STEPS_H
#define CLOUDSHARE_STEPS_H

extern void step_passed (const char *name);

#endif /* CLOUDSHARE_STEPS_H */
