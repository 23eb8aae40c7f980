/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a bucket is, and what the keys of items are. */

#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "cloud.h"
#include "http-url.h"
#include "msg.h"
#include "s3-url.h"

static const char scheme[] = "s3://";

/* Key lengths are limited to 1,024 bytes (S3 User Guide, "Naming Amazon S3 objects"), and an item needs some. */
#define LONGEST_PREFIX 900

bool
s3_url_is_ours (const char *text)
{
  return strncasecmp (text, scheme, sizeof scheme - 1) == 0;
}

/* What servers agree on: letters, digits, '.', '-' and, in old buckets, '_' (S3 User Guide, "Bucket naming rules").  It
 * becomes a part of a host name or path. */
static bool
is_bucket_name (const char *name)
{
  const size_t len = strlen (name);

  if (len < 3 || len > 63 || !isalnum ((unsigned char) name[0]))
    return false;
  for (; *name; name++)
    if (!isalnum ((unsigned char) *name) && strchr (".-_", *name) == NULL)
      return false;
  return true;
}

/* "a/b/", or NULL without a message where that is no folder's path, or there is no memory. */
static char *
folder_prefix (const char *text)
{
  const size_t len = strlen (text);
  char *prefix;

  if (*text == '\0')
    return strdup ("");
  if (len > LONGEST_PREFIX || asprintf (&prefix, "%s%s", text, text[len - 1] == '/' ? "" : "/") == -1)
    return NULL;
  for (const char *name = prefix; *name;) {
    const size_t n = strcspn (name, "/");

    if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && strncmp (name, "..", 2) == 0)) {
      free (prefix);
      return NULL;
    }
    for (size_t i = 0; i < n; i++)
      if ((unsigned char) name[i] < 0x20 || name[i] == 0x7f) {
        free (prefix);
        return NULL;
      }
    name += n + 1;
  }
  return prefix;
}

static int
set_host (struct s3_url *url)
{
  const char *host = strstr (url->scheme_host, "://") + 3;
  char *text;

  if (asprintf (&text, "%s%s%s", url->path_style ? "" : url->bucket, url->path_style ? "" : ".", host) == -1)
    return -1;
  free (url->host);
  url->host = text;
  return 0;
}

int
s3_url_set_region (struct s3_url *url, const char *region)
{
  const bool china = strncmp (region, "cn-", 3) == 0;
  char *text, *before = url->scheme_host;

  if (!url->is_aws)
    return 0;
  if (asprintf (&text, "https://s3.%s.amazonaws.com%s", region, china ? ".cn" : "") == -1)
    return -1;
  url->scheme_host = text;
  if (set_host (url) == -1) {
    url->scheme_host = before;
    free (text);
    return -1;
  }
  free (before);
  return 0;
}

static int
parse_endpoint (struct s3_url *url, const char *endpoint)
{
  CLEANUP_HTTP_URL_FREE struct http_url http = { 0 };
  const char *default_port;

  if (!http_url_is_ours (endpoint)) {
    msg_error ("endpoint=%s: give the URL of an S3 server: https://HOST or http://HOST:PORT", endpoint);
    return -1;
  }
  if (http_url_parse (endpoint, &http) == -1)
    return -1;
  if (http.user || http.password) {
    msg_error ("endpoint=: keys do not belong into the URL; give access-key= and secret-key=");
    return -1;
  }
  default_port = http.secure ? "443" : "80";
  url->secure = http.secure;
  for (size_t len = strlen (http.path); len > 0 && http.path[len - 1] == '/'; len--)
    http.path[len - 1] = '\0';
  url->base = strdup (http.path);
  if (url->base == NULL ||
      asprintf (&url->scheme_host, "%s%s%s%s", http.secure ? "https://" : "http://", http.host,
                strcmp (http.port, default_port) == 0 ? "" : ":",
                strcmp (http.port, default_port) == 0 ? "" : http.port) == -1) {
    url->scheme_host = NULL;
    msg_error ("out of memory");
    return -1;
  }
  return 0;
}

int
s3_url_parse (const struct cloud_config *config, const char *endpoint, const char *region, struct s3_url *url)
{
  const char *text = config->remote + sizeof scheme - 1, *slash = strchr (text, '/');

  memset (url, 0, sizeof *url);
  url->bucket = slash ? strndup (text, slash - text) : strdup (text);
  if (url->bucket == NULL)
    goto no_memory;
  if (!is_bucket_name (url->bucket)) {
    msg_error ("remote=%s: give s3://BUCKET or s3://BUCKET/PREFIX", config->remote);
    goto failed;
  }
  url->prefix = folder_prefix (slash ? slash + 1 : "");
  if (url->prefix == NULL) {
    msg_error ("remote=%s: the prefix has to be names with one '/' between them, at most %d bytes", config->remote,
               LONGEST_PREFIX);
    goto failed;
  }

  url->is_aws = endpoint == NULL;
  url->path_style = config->path_style == CLOUD_PATH_STYLE_AUTO ? endpoint || strchr (url->bucket, '.') :
    config->path_style == CLOUD_PATH_STYLE_YES;
  if (endpoint) {
    if (parse_endpoint (url, endpoint) == -1 || set_host (url) == -1)
      goto failed;
  }
  else {
    url->secure = true;
    url->base = strdup ("");
    if (url->base == NULL || s3_url_set_region (url, region) == -1)
      goto no_memory;
  }
  /* Names of AWS's buckets are the same everywhere in the world. */
  if (asprintf (&url->identity, "s3://%s/%s%s%s%s", url->bucket, url->prefix, url->is_aws ? "" : " at ",
                url->is_aws ? "" : url->scheme_host, url->is_aws ? "" : url->base) == -1) {
    url->identity = NULL;
    goto no_memory;
  }
  return 0;

 no_memory:
  msg_error ("out of memory");
 failed:
  s3_url_free (url);
  return -1;
}

void
s3_url_free (struct s3_url *url)
{
  free (url->bucket);
  free (url->prefix);
  free (url->scheme_host);
  free (url->host);
  free (url->base);
  free (url->identity);
  memset (url, 0, sizeof *url);
}

char *
s3_url_path (const struct s3_url *url, const char *key)
{
  char *path;

  if (asprintf (&path, "%s%s%s/%s", url->base, url->path_style ? "/" : "", url->path_style ? url->bucket : "",
                key) == -1)
    return NULL;
  /* A bucket's own path has no '/' at the end, but for a host of its own. */
  if (url->path_style && *key == '\0')
    path[strlen (path) - 1] = '\0';
  return path;
}

char *
s3_url_key (const struct s3_url *url, const char *path, bool folder)
{
  char *key;

  return asprintf (&key, "%s%s%s", url->prefix, path, folder && *path ? "/" : "") == -1 ? NULL : key;
}
