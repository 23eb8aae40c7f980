/* SPDX-License-Identifier: BSD-3-Clause */
/* file: URLs. */

#ifndef CLOUDSHARE_FILEURL_H
#define CLOUDSHARE_FILEURL_H

/* The path that a file: URL names (RFC 8089), or a copy of what is no such URL: a path already.  malloc'ed; NULL after
 * one message. */
extern char *fileurl_path (const char *url);

#endif /* CLOUDSHARE_FILEURL_H */
