/* SPDX-License-Identifier: BSD-3-Clause */
/* What the ways of putting a file over WebDAV share: webdav-put.c (whole), webdav-ranges.c (changed ranges) and
 * webdav-chunks.c (piece by piece).
 *
 * A put that makes a detour has its temporary file in change->temporary.  It ends by davput_place, once change->stored is
 * what was seen of that file, or by davput_discard.
 */

#ifndef CLOUDSHARE_DAVPUT_H
#define CLOUDSHARE_DAVPUT_H

#include "davchange.h"

/* Bytes that a slow server copies or hashes in a second after it has got them. */
#define SERVER_RATE (20 * 1024 * 1024)

#define NOT_WHOLE "the server said that it has stored the file, but what it shows is not what was sent"
#define NEEDS_WHOLE "the server cannot replace this by its changed parts alone"

/* Whether what the last look has shown is what was put. */
extern bool davput_is_whole (const struct davchange *change);

/* Puts all of it, in the way that suits the server. */
extern void davput_send_whole (struct davchange *change);

/* The same, but never in chunks. */
extern void davput_send_at_once (struct davchange *change);

/* Whether the file is large enough for chunks, and the server may be of the kind that takes them.  Puts it so, or at once where it
 * turns out that it is not. */
extern bool davput_may_chunk (struct davchange *change);
extern void davput_send_chunks (struct davchange *change);

/* After the request that has put it, whose answer has named the new version's token: ends the change. */
extern void davput_direct_done (struct davchange *change);

/* Whether the last look has shown the same bytes, as the server's own checksum says. */
extern bool davput_is_there_already (const struct davchange *change);

/* Puts the ranges: change->conduct.patch says how. */
extern void davput_send_ranges (struct davchange *change);

/* Whether ranges alone are cheaper than all, if the server can take them.  Pure. */
extern bool davput_ranges_pay (const struct cloud_put *put);

/* Moves the temporary file to its place, and ends the change. */
extern void davput_place (struct davchange *change);

/* Ends the change without leaving the temporary file behind; or calls change->discarded, if that is set, instead of ending
 * it. */
extern void davput_discard (struct davchange *change, enum cloud_result result, const char *sentence);

/* The same with "URL: why". */
extern void davput_discard_because (struct davchange *change, enum cloud_result result, const char *why);

#endif /* CLOUDSHARE_DAVPUT_H */
