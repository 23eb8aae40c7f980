/* SPDX-License-Identifier: BSD-3-Clause */
/* Losses of power, made up: takes the place of pwrite, fallocate, ftruncate, fdatasync and fsync in the program that it
 * is linked into, and keeps for each page of each file in one folder what was durable, and all that it has held since.
 *
 *   lostpower_begin (dir)               what the files there hold now is durable
 *   lostpower_at (n, syncs, to, seed)   before the nth of these calls (or of those that sync) from now on ...
 *   lostpower_now (to, seed)            ... or now: makes in the folder "to" what a disk might hold after a loss of
 *                                       power: of each page any state since its file's last fdatasync, now and then
 *                                       of each sector
 *   lostpower_end ()
 *
 * Folder entries are taken as durable at once, and what fallocate and ftruncate do to pages as any other change.  For
 * one thread.
 */

#ifndef CLOUDSHARE_TESTS_LOSTPOWER_H
#define CLOUDSHARE_TESTS_LOSTPOWER_H

#include <stdbool.h>
#include <stdint.h>

extern void lostpower_begin (const char *dir);
extern void lostpower_at (unsigned n, bool syncs, const char *to, uint64_t seed);
extern bool lostpower_happened (void);
extern void lostpower_now (const char *to, uint64_t seed);
extern void lostpower_end (void);

/* As if the process were killed at the nth call from now on: that and all that follow fail and change nothing.  0: no
 * more. Says whether it came to that. */
extern void lostpower_kill_at (unsigned n);
extern bool lostpower_killed (void);

/* fdatasync fails with that errno from now on; 0: no more. */
extern void lostpower_fail_syncs (int err);

/* Numbers that are the same in each run. */
extern uint64_t random_number (uint64_t *seed, uint64_t below);

#endif /* CLOUDSHARE_TESTS_LOSTPOWER_H */
