/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of conflicted copies: "NAME (conflicted copy YYYY-MM-DD hhmmss VM).EXT".  Pure. */

#ifndef CLOUDSHARE_CONFLICT_NAME_H
#define CLOUDSHARE_CONFLICT_NAME_H

#include <stdbool.h>
#include <time.h>

/* Longest name that all file systems and servers of ours take, bytes (255 UTF-16 units of FAT are never less). */
#define CONFLICT_NAME_MAX 255

/* The mark stands before the last dot; at the end where there is none, of a folder, and of a name that only begins with
 * one.  view is an export name: its part before the first '/' is the VM.  n: 1, or higher where that name is taken as
 * well. malloc'ed; NULL after one message (no memory). */
extern char *conflict_name (const char *name, bool is_folder, const char *view, const struct tm *when, unsigned n);

#endif /* CLOUDSHARE_CONFLICT_NAME_H */
