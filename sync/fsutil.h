/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that finish what they begin: full reads and writes, private folders, durable directory entries.
 * Functions return -1 with errno and say nothing, since only the caller knows what the bytes were for. */

#ifndef CLOUDSHARE_FSUTIL_H
#define CLOUDSHARE_FSUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads exactly n bytes; what lies past the end of the file reads as zeros. */
extern int full_pread (int fd, void *buf, size_t n, uint64_t offset);

/* Writes exactly n bytes. */
extern int full_pwrite (int fd, const void *buf, size_t n, uint64_t offset);

/* Makes the folder and its missing parents, mode 0700 for those it makes.  A folder that exists is left as it is. */
extern int make_private_dirs (const char *path);

/* Milliseconds of a clock that never jumps. */
extern uint64_t monotonic_ms (void);

#endif /* CLOUDSHARE_FSUTIL_H */
