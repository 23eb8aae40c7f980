/* SPDX-License-Identifier: BSD-3-Clause */
/* The small grammars of WebDAV answers: paths and hrefs, dates, entity tags, ranges.  Pure functions.
 *
 * A *canonical path* is what two spellings of one path are compared by: begins and ends with '/', has no empty segment,
 * and every byte that is not unreserved (RFC 3986, 2.3) is escaped as %XX in upper case.
 */

#ifndef CLOUDSHARE_DAVTEXT_H
#define CLOUDSHARE_DAVTEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Percent-encodes a decoded path, '/' excepted.  NULL: out of memory. */
extern char *davtext_encode (const char *path);

/* The canonical path of an href: an absolute path, or a URL, whose server does not matter (behind a proxy it may be
 * another than the one that was asked).  Knows hrefs that are not escaped at all.  NULL with errno EINVAL: neither;
 * ENOMEM. */
extern char *davtext_href_path (const char *href);

enum davtext_relation {
  DAVTEXT_SELF,    /* the folder itself */
  DAVTEXT_CHILD,   /* directly in it */
  DAVTEXT_OTHER,
};

/* How one canonical path relates to another.  For DAVTEXT_CHILD *ret_name points to the last segment of path, which
 * is still escaped and followed by '/'. */
extern enum davtext_relation davtext_relate (const char *folder, const char *path, const char **ret_name);

/* Decodes the segment up to the next '/' or the end.  NULL with errno EINVAL and *ret_why where that can be no item's
 * name (cloud.h); ENOMEM. */
extern char *davtext_name (const char *segment, const char **ret_why);

/* HTTP dates in their three forms (RFC 9110, 5.6.7), and RFC 3339 times as chezdav has them.  -1: neither. */
extern int davtext_parse_time (const char *text, struct timespec *ret_time);

/* An entity tag (RFC 9110, 8.8.3) without W/ and space around it.  Returns malloc'ed text, with its quotes; NULL: out
 * of memory.  ret_weak may be NULL. */
extern char *davtext_normal_etag (const char *etag, bool *ret_weak);

/* Content-Range of a 206 (RFC 9110, 14.4): "bytes FIRST-LAST/TOTAL"; "*" as TOTAL gives UINT64_MAX.  -1: malformed. */
extern int davtext_parse_content_range (const char *text, uint64_t *ret_first, uint64_t *ret_last,
                                        uint64_t *ret_total);

/* A decimal number, and nothing else, below 2^63.  -1: it is none. */
extern int davtext_parse_number (const char *text, uint64_t *ret_number);

/* The best of the checksums in oc:checksums ("SHA1:... MD5:... ADLER32:...") as cloud.h has it; malloc'ed.  NULL where
 * there is none of use, or no memory. */
extern char *davtext_best_checksum (const char *text);

#endif /* CLOUDSHARE_DAVTEXT_H */
