/* SPDX-License-Identifier: BSD-3-Clause */
/* URLs by libcurl's own parser, so that what we understand and what libcurl asks for are the same. */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "cleanup.h"
#include "http-url.h"
#include "msg.h"

static const struct {
  const char *prefix, *scheme;
  bool secure;
} schemes[] = {
  { "http://", "http://", false },
  { "https://", "https://", true },
  { "dav://", "http://", false },
  { "davs://", "https://", true },
};

static void
cleanup_curlu (CURLU **handle)
{
  curl_url_cleanup (*handle);
}

#define CLEANUP_CURLU __attribute__ ((cleanup (cleanup_curlu)))

static void
cleanup_curl_free (char **text)
{
  curl_free (*text);
}

#define CLEANUP_CURL_FREE __attribute__ ((cleanup (cleanup_curl_free)))

bool
http_url_is_ours (const char *text)
{
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (strncasecmp (text, schemes[i].prefix, strlen (schemes[i].prefix)) == 0)
      return true;
  return false;
}

/* A copy that free takes, unlike libcurl's.  NULL where there is no such part, or no memory (errno then ENOMEM). */
static char *
part_of (CURLU *handle, CURLUPart part, unsigned flags)
{
  char *text CLEANUP_CURL_FREE = NULL;

  errno = 0;
  if (curl_url_get (handle, part, &text, flags) != CURLUE_OK)
    return NULL;
  return strdup (text);
}

/* Percent-encodes what a URL's path may not hold as it stands (RFC 3986, 3.3) and leaves the rest, escapes too. */
static char *
tidy_path (const char *path)
{
  char *tidy = malloc (strlen (path) * 3 + 1), *to = tidy;

  if (tidy == NULL)
    return NULL;
  for (; *path; path++) {
    const unsigned char c = *path;

    if (isalnum (c) || strchr ("-._~!$&'()*+,;=:@/", c) || (c == '%' && isxdigit (path[1]) && isxdigit (path[2])))
      *to++ = c;
    else
      to += sprintf (to, "%%%02X", c);
  }
  *to = '\0';
  return tidy;
}

/* Without the part of the user, which may be a password's. */
static void
refuse (const char *text, const char *why)
{
  const char *host = strstr (text, "://") + 3;
  const char *at = strrchr (host, '@');

  msg_error ("%.*s%s: %s", (int) (host - text), text, at ? at + 1 : host, why);
}

int
http_url_parse (const char *text, struct http_url *url)
{
  CLEANUP_CURLU CURLU *handle = curl_url ();
  CLEANUP_FREE char *plain = NULL, *query = NULL, *fragment = NULL, *path = NULL;
  size_t i;

  memset (url, 0, sizeof *url);
  for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (strncasecmp (text, schemes[i].prefix, strlen (schemes[i].prefix)) == 0)
      break;
  if (i == sizeof schemes / sizeof schemes[0]) {
    msg_error ("the URL does not begin with http://, https://, dav:// or davs://");
    return -1;
  }
  if (handle == NULL || asprintf (&plain, "%s%s", schemes[i].scheme, text + strlen (schemes[i].prefix)) == -1) {
    plain = NULL;
    goto no_memory;
  }
  if (curl_url_set (handle, CURLUPART_URL, plain, CURLU_ALLOW_SPACE) != CURLUE_OK) {
    refuse (text, "this is not a URL; encode special characters of the user and the password as %XX");
    return -1;
  }
  query = part_of (handle, CURLUPART_QUERY, 0);
  fragment = part_of (handle, CURLUPART_FRAGMENT, 0);
  if (query || fragment) {
    refuse (text, "a folder's URL has no '?' and no '#'; write them as %3F and %23 where they belong to a name");
    return -1;
  }

  url->secure = schemes[i].secure;
  url->host = part_of (handle, CURLUPART_HOST, 0);
  url->port = part_of (handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  path = part_of (handle, CURLUPART_PATH, 0);
  if (path)
    url->path = tidy_path (path);
  if (url->host == NULL || url->port == NULL || url->path == NULL)
    goto no_memory;
  for (char *c = url->host; *c; c++)
    *c = tolower ((unsigned char) *c);
  url->user = part_of (handle, CURLUPART_USER, CURLU_URLDECODE);
  url->password = part_of (handle, CURLUPART_PASSWORD, CURLU_URLDECODE);
  if (asprintf (&url->text, "%s%s%s%s%s", schemes[i].scheme, url->host,
                strcmp (url->port, url->secure ? "443" : "80") ? ":" : "",
                strcmp (url->port, url->secure ? "443" : "80") ? url->port : "", url->path) == -1) {
    url->text = NULL;
    goto no_memory;
  }
  return 0;

 no_memory:
  refuse (text, "out of memory");
  http_url_free (url);
  return -1;
}

void
http_url_free (struct http_url *url)
{
  free (url->host);
  free (url->port);
  free (url->path);
  free (url->user);
  free (url->password);
  free (url->text);
  memset (url, 0, sizeof *url);
}

char *
http_url_resolve (const char *base, const char *location)
{
  CLEANUP_CURLU CURLU *handle = curl_url ();

  if (handle == NULL || curl_url_set (handle, CURLUPART_URL, base, 0) != CURLUE_OK ||
      curl_url_set (handle, CURLUPART_URL, location, CURLU_ALLOW_SPACE | CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME) !=
      CURLUE_OK)
    return NULL;
  return part_of (handle, CURLUPART_URL, 0);
}
