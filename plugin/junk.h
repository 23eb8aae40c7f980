/* SPDX-License-Identifier: BSD-3-Clause */
/* Junk: names that operating systems and editors leave on disks, and nobody wants in a cloud.  Pure. */

#ifndef CLOUDSHARE_JUNK_H
#define CLOUDSHARE_JUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct junk;

/* Patterns of our own.  NULL after one message. */
extern struct junk *junk_new (void);

/* Adds globs (fnmatch, without regard to ASCII case), separated by ':'.  -1 after one message. */
extern int junk_add (struct junk *junk, const char *globs);
extern void junk_free (struct junk *junk);

/* name: one folder's or file's, NUL terminated. */
extern bool junk_matches (const struct junk *junk, const char *name);

#endif /* CLOUDSHARE_JUNK_H */
