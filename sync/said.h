/* SPDX-License-Identifier: BSD-3-Clause */
/* Remembers what was said, so that what is met at every look is said once only.
 *
 * Of bounded size: it keeps hashes, and when it is full it takes everything as said, since so many sentences help
 * nobody.
 * Any thread may use it.
 */

#ifndef CLOUDSHARE_SAID_H
#define CLOUDSHARE_SAID_H

#include <stdbool.h>

struct said;

/* NULL (out of memory) without a message. */
extern struct said *said_new (void);
extern void said_free (struct said *said);

/* True at the first call with this pair of texts. */
extern bool said_first_time (struct said *said, const char *where, const char *what);

#endif /* CLOUDSHARE_SAID_H */
