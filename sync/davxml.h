/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a WebDAV multistatus (RFC 4918, 14.16) as it arrives, and is strict about it.
 *
 *   xml = davxml_new (item, opaque)
 *   davxml_feed (xml, buf, n)      any number; calls item for each response that is complete
 *   davxml_finish (xml)            the document was whole
 *   davxml_free (xml)
 *
 * Servers have been seen to cut a listing short, close it properly, and to append the reason (rclone).  Whatever is not
 * one well-formed multistatus, whole and with nothing behind it, is therefore an error, and items already given are
 * worth nothing then.  Documents with a DOCTYPE are refused, so entities cannot grow; depth, text and tokens are
 * bounded, so memory does not grow with the number of entries.
 */

#ifndef CLOUDSHARE_DAVXML_H
#define CLOUDSHARE_DAVXML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct davxml;

/* One response.  Properties count only where their propstat has a 2xx status; the others are NULL, 0 or false. */
struct davxml_item {
  const char *href;          /* never empty */
  int status;                /* of the response as a whole, or 0 where it has properties instead */
  bool has_props;            /* at least one propstat with a 2xx status */
  bool is_collection;
  bool has_size;
  uint64_t size;
  struct timespec mtime;     /* tv_sec 0 where absent or unreadable */
  const char *etag;          /* as sent */
  const char *mime;
  const char *id;            /* oc:id, else oc:fileid */
  const char *checksums;     /* oc:checksums, one after the other with spaces between */
};

/* What item is given ends with the call. */
extern struct davxml *davxml_new (void (*item) (void *opaque, const struct davxml_item *item), void *opaque);

/* -1: not what is wanted, see davxml_error; nothing more may be fed. */
extern int davxml_feed (struct davxml *xml, const void *buf, size_t n);
extern int davxml_finish (struct davxml *xml);

/* What was wrong, to stand behind "URL: "; lives as long as xml. */
extern const char *davxml_error (struct davxml *xml);

/* True where what was fed looks like a web page. */
extern bool davxml_is_html (struct davxml *xml);

extern void davxml_free (struct davxml *xml);

#endif /* CLOUDSHARE_DAVXML_H */
