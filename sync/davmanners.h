/* SPDX-License-Identifier: BSD-3-Clause */
/* What a WebDAV server makes of conditions, found out by trying; private to the WebDAV provider.
 *
 * Servers honour conditions in one form and not in another, ignore them, or refuse even what is true (Apache's entity
 * tags are weak for a second, so that If-Match fails, while If: with the same tag works; rclone refuses every If:).
 * So before the first write a scratch file is put, overwritten, moved and removed under false and under true
 * conditions, and only the forms that refuse the false ones and let the true ones pass are used from then on.
 *
 *   manners = davmanners_new (dav)
 *   davmanners_start (manners)               changes may wait
 *   davmanners_await (change, next)
 *   davmanners_stop (manners)                after http_stop: those that still wait end with CLOUD_STOPPED
 *   davmanners_free (manners)
 *
 * Trying needs several requests, one after the other: a thread does that, which is started by the first that wait.
 */

#ifndef CLOUDSHARE_DAVMANNERS_H
#define CLOUDSHARE_DAVMANNERS_H

#include <stdbool.h>
#include <time.h>

struct davchange;
struct davmanners;
struct webdav;

/* How "this URL has this entity tag" is said. */
enum davform {
  DAVFORM_NONE,        /* it is not: look right before */
  DAVFORM_IF,          /* If: <URL> (["etag"])        RFC 4918, 10.4 */
  DAVFORM_IF_MATCH,    /* If-Match: "etag"            RFC 9110, 13.1.1; about the request's own URL only */
};

enum davtouch {
  DAVTOUCH_NONE,
  DAVTOUCH_EPOCH,      /* {DAV:}lastmodified in seconds since 1970 (ownCloud, Nextcloud) */
  DAVTOUCH_DATE,       /* {DAV:}getlastmodified */
};

/* How bytes within a file are replaced, and put at its end. */
enum davpatch {
  DAVPATCH_NONE,
  DAVPATCH_PUT,        /* PUT with Content-Range                 Apache, lighttpd (RFC 9110, 14.5) */
  DAVPATCH_PATCH,      /* PATCH with X-Update-Range              SabreDAV's PartialUpdate */
};

/* All zero: nothing is known, and nothing is relied upon. */
struct davconduct {
  bool put_new;          /* PUT with If-None-Match: * is refused where there is something */
  enum davform put, move, remove;
  bool move_onto;        /* MOVE is refused where If: names another version of what it would replace */
  bool move_new;         /* MOVE with Overwrite: F likewise, where there is anything */
  bool remove_folder;    /* the condition of remove works with folders' own tags, too */
  bool mkdir_new;        /* MKCOL is refused where there is a folder */
  bool put_token;        /* PUT answers with the token that listings show */
  bool put_whole;        /* a PUT that is cut off leaves what was there */
  bool move_token;       /* MOVE keeps the token */
  bool undotted;         /* names that begin with a dot are refused */
  enum davtouch touch;

  /* Found out only for those who want it (davchange.h, patches).  Some servers take the ranges for the whole file and say that all
   * went well: so it was read back. */
  enum davpatch patch;
  enum davform copy;     /* the condition of COPY, about its source */
};

/* NULL: out of memory. */
extern struct davmanners *davmanners_new (struct webdav *dav);
extern void davmanners_start (struct davmanners *manners);

/* Sets change->conduct and calls next, before it returns or on another thread; or ends the change, where the server
 * cannot be reached or does not let us in. */
extern void davmanners_await (struct davchange *change, void (*next) (struct davchange *change));

/* The server did not do what it did on trial: patch is DAVPATCH_NONE from now on. */
extern void davmanners_distrust_patch (struct davmanners *manners);

extern void davmanners_stop (struct davmanners *manners);
extern void davmanners_free (struct davmanners *manners);

/* The body of a PROPPATCH that sets the time of change; malloc'ed.  NULL: out of memory. */
extern char *davconduct_touch (enum davtouch touch, const struct timespec *mtime);

/* For people: "PUT If-None-Match, ..." malloc'ed, or NULL. */
extern char *davconduct_text (const struct davconduct *conduct);

#endif /* CLOUDSHARE_DAVMANNERS_H */
