/* SPDX-License-Identifier: BSD-3-Clause */
/* Folders of the remote in which something is said to have changed, until the engine has looked.
 *
 * Who says so may be wrong, late, or lying, and may say it ten thousand times: hints are kept once each and never more than a
 * fixed number of them, and looking at them takes a part of the time only.  The first is looked at without delay.
 *
 * Thread-safe.  Time is the caller's, milliseconds.
 */

#ifndef CLOUDSHARE_HINTS_H
#define CLOUDSHARE_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hints;

/* NULL (out of memory) without a message. */
extern struct hints *hints_new (void);
extern void hints_free (struct hints *hints);

/* A path as in cloud.h, copied; slashes around it do no harm.  NULL: somewhere. */
extern void hints_add (struct hints *hints, const char *path);

/* Milliseconds until something is to be looked at; 0: now; UINT64_MAX: there is nothing. */
extern uint64_t hints_wait (struct hints *hints, uint64_t now);

/* What is to be looked at now is the caller's from here on. */
struct hinted {
  char **paths;                /* malloc'ed, the root is "" */
  size_t n;
  bool all;                    /* everywhere; there are no paths then */
};

extern void hints_take (struct hints *hints, uint64_t now, struct hinted *ret);
extern void hinted_free (struct hinted *hinted);

/* It was looked at, from began to now: the next look has to wait in proportion.  Everything counts apart. */
extern void hints_looked (struct hints *hints, bool all, uint64_t began, uint64_t now);

#endif /* CLOUDSHARE_HINTS_H */
