/* SPDX-License-Identifier: BSD-3-Clause */
/* What is pure in uploading a file in chunks, as Nextcloud and ownCloud take it (webdav-chunks.c). */

#ifndef CLOUDSHARE_DAVCHUNKS_H
#define CLOUDSHARE_DAVCHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nextcloud's limits: a chunk's number, and bytes of all chunks but the last. */
#define DAVCHUNKS_MAX 10000
#define DAVCHUNK_SMALLEST ((uint64_t) 5 * 1024 * 1024)
#define DAVCHUNK_LARGEST ((uint64_t) 5 * 1000 * 1000 * 1000)

#define DAVCHUNK_DEFAULT ((uint64_t) 10 * 1024 * 1024)

/* The bytes of the next chunk, where n chunks with at bytes in all are there: about wanted, but never so few that more chunks
 * would be needed than there may be.  0: it cannot be done. */
extern uint64_t davchunk_length (uint64_t wanted, unsigned n, uint64_t at, uint64_t size);

/* What to want next, after so many bytes took so long: halfway to what takes the time that a chunk ought to take, but no
 * more than twice as many. */
extern uint64_t davchunk_adapt (uint64_t wanted, uint64_t sent, int64_t took_ms);

/* Of the chunks that are there (sizes[1] to sizes[DAVCHUNKS_MAX]; 0: not there) those that are of use: from the first on without a
 * gap, none too small but the last of the file.  Returns their number; *ret_at is how many bytes are in them. */
extern unsigned davchunks_usable (const uint64_t sizes[DAVCHUNKS_MAX + 1], uint64_t size, uint64_t *ret_at);

/* The URL, or the canonical path, of the folder where uploads go, for that of a user's files: ".../remote.php/dav/files/USER/..." to
 * ".../remote.php/dav/uploads/USER/".  malloc'ed.  NULL: it is of another kind, or there is no memory. */
extern char *davchunks_uploads (const char *files);

/* The same for the server's list of what it can do. */
extern char *davchunks_capabilities (const char *files);

/* Whether that list (JSON) has chunked uploads in it. */
extern bool davchunks_offered (const char *text, size_t n);

#endif /* CLOUDSHARE_DAVCHUNKS_H */
