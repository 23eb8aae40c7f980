/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking URLs apart, and putting a relative one behind another.
 *
 * Only http and https; dav and davs are taken for them.  A user and a password in the URL are split off, so that every
 * other string of the struct may be shown to people.
 */

#ifndef CLOUDSHARE_HTTP_URL_H
#define CLOUDSHARE_HTTP_URL_H

#include <stdbool.h>

/* All strings are malloc'ed, none is NULL but user and password. */
struct http_url {
  bool secure;             /* https */
  char *host;              /* lower case, IPv6 in brackets */
  char *port;              /* in digits, the scheme's own where the URL names none */
  char *path;              /* percent-encoded, begins with '/' */
  char *user, *password;   /* decoded, or NULL */
  char *text;              /* the whole URL without credentials, query and fragment; the scheme's own port left out */
};

/* True where text begins with one of the schemes above, in any case. */
extern bool http_url_is_ours (const char *text);

/* On failure -1 with one message; *url is then empty.  Free with http_url_free. */
extern int http_url_parse (const char *text, struct http_url *url);
extern void http_url_free (struct http_url *url);

#define CLEANUP_HTTP_URL_FREE __attribute__ ((cleanup (http_url_free)))

/* What a Location header of base's answer means: an absolute URL (malloc'ed), or NULL where it is none. */
extern char *http_url_resolve (const char *base, const char *location);

#endif /* CLOUDSHARE_HTTP_URL_H */
