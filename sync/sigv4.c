/* SPDX-License-Identifier: BSD-3-Clause */
/* AWS Signature Version 4: canonical request, string to sign, signature, in this order. */

#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "cleanup.h"
#include "sigv4.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

static void
to_hex (const unsigned char *bytes, size_t n, char *hex)
{
  for (size_t i = 0; i < n; i++)
    sprintf (hex + 2 * i, "%02x", bytes[i]);
}

void
sigv4_sha256 (const void *data, size_t n, char hex[65])
{
  unsigned char digest[32];

  EVP_Digest (data, n, digest, NULL, EVP_sha256 (), NULL);
  to_hex (digest, sizeof digest, hex);
}

char *
sigv4_encode (const char *text, bool slashes)
{
  char *encoded = malloc (3 * strlen (text) + 1), *to = encoded;

  if (encoded == NULL)
    return NULL;
  for (; *text; text++) {
    const unsigned char c = *text;

    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr ("-._~", c) ||
        (c == '/' && !slashes))
      *to++ = c;
    else
      to += sprintf (to, "%%%02X", c);
  }
  *to = '\0';
  return encoded;
}

/* ---- the canonical request ---- */

/* One query parameter or header in canonical form; malloc'ed. */
struct item {
  char *name, *value;
  size_t position;                   /* headers of one name keep their order */
};

static void
items_free (struct item *items, size_t n)
{
  for (size_t i = 0; items && i < n; i++) {
    free (items[i].name);
    free (items[i].value);
  }
  free (items);
}

/* By name, then by value: the order of a query's parameters. */
static int
compare_parameters (const void *a, const void *b)
{
  const struct item *x = a, *y = b;
  const int order = strcmp (x->name, y->name);

  return order ? order : strcmp (x->value, y->value);
}

static int
compare_headers (const void *a, const void *b)
{
  const struct item *x = a, *y = b;
  const int order = strcmp (x->name, y->name);

  return order ? order : x->position < y->position ? -1 : 1;
}

static char *
canonical_query (const struct sigv4_request *request)
{
  struct item *items = calloc (request->nr_query + 1, sizeof *items);
  char *query = NULL;
  size_t size;
  FILE *file;

  if (items == NULL)
    return NULL;
  for (size_t i = 0; i < request->nr_query; i++) {
    items[i].name = sigv4_encode (request->query[i].name, true);
    items[i].value = sigv4_encode (request->query[i].value ? request->query[i].value : "", true);
    if (items[i].name == NULL || items[i].value == NULL)
      goto out;
  }
  qsort (items, request->nr_query, sizeof *items, compare_parameters);
  file = open_memstream (&query, &size);
  if (file == NULL)
    goto out;
  for (size_t i = 0; i < request->nr_query; i++)
    fprintf (file, "%s%s=%s", i > 0 ? "&" : "", items[i].name, items[i].value);
  if (fclose (file) == EOF) {
    free (query);
    query = NULL;
  }
 out:
  items_free (items, request->nr_query);
  return query;
}

/* Lower case. */
static char *
canonical_name (const char *name)
{
  char *text = strdup (name);

  for (char *c = text; c && *c; c++)
    *c = tolower ((unsigned char) *c);
  return text;
}

/* Without space around, and with one blank where there were several. */
static char *
canonical_value (const char *value)
{
  char *text = malloc (strlen (value) + 1), *to = text;

  if (text == NULL)
    return NULL;
  for (; *value; value++) {
    const bool space = *value == ' ' || *value == '\t';

    if (space && (to == text || to[-1] == ' '))
      continue;
    *to++ = space ? ' ' : *value;
  }
  if (to > text && to[-1] == ' ')
    to--;
  *to = '\0';
  return text;
}

/* "name:value\n" for each name, and "name;name;..." */
static int
canonical_headers (const struct sigv4_keys *keys, const struct sigv4_request *request, const char *date,
                   char **ret_headers, char **ret_names)
{
  const struct sigv4_pair own[] = {
    { "host", request->host },
    { "x-amz-date", date },
    { "x-amz-content-sha256", request->sends_payload ? request->payload : NULL },
    { "x-amz-security-token", keys->session },
  };
  const size_t nr_own = sizeof own / sizeof own[0], most = nr_own + request->nr_headers;
  struct item *items = calloc (most, sizeof *items);
  size_t n = 0, headers_size, names_size;
  FILE *headers, *names;
  int r = -1;

  *ret_headers = *ret_names = NULL;
  if (items == NULL)
    return -1;
  for (size_t i = 0; i < most; i++) {
    const struct sigv4_pair *pair = i < nr_own ? &own[i] : &request->headers[i - nr_own];

    if (pair->value == NULL)
      continue;
    items[n].name = canonical_name (pair->name);
    items[n].value = canonical_value (pair->value);
    items[n].position = n;
    n++;
    if (items[n - 1].name == NULL || items[n - 1].value == NULL)
      goto out;
  }
  qsort (items, n, sizeof *items, compare_headers);
  headers = open_memstream (ret_headers, &headers_size);
  names = open_memstream (ret_names, &names_size);
  if (headers && names)
    for (size_t i = 0; i < n; i++) {
      const bool again = i > 0 && strcmp (items[i].name, items[i - 1].name) == 0;
      const bool last = i + 1 == n || strcmp (items[i].name, items[i + 1].name) != 0;

      if (!again) {
        fprintf (headers, "%s:", items[i].name);
        fprintf (names, "%s%s", i > 0 ? ";" : "", items[i].name);
      }
      fprintf (headers, "%s%s%s", again ? "," : "", items[i].value, last ? "\n" : "");
    }
  r = headers && names ? 0 : -1;
  if (headers && fclose (headers) == EOF)
    r = -1;
  if (names && fclose (names) == EOF)
    r = -1;
 out:
  items_free (items, n);
  return r;
}

/* ---- the signature ---- */

struct digest {
  unsigned char bytes[32];
};

static void
hmac (struct digest *ret, const void *key, size_t key_len, const char *text)
{
  HMAC (EVP_sha256 (), key, (int) key_len, (const unsigned char *) text, strlen (text), ret->bytes, NULL);
}

static int
signature (const struct sigv4_keys *keys, const struct sigv4_request *request, const char *day, const char *to_sign,
           char hex[65])
{
  CLEANUP_FREE char *first = NULL;
  struct digest digest;

  if (asprintf (&first, "AWS4%s", keys->secret) == -1) {
    first = NULL;
    return -1;
  }
  hmac (&digest, first, strlen (first), day);
  hmac (&digest, digest.bytes, sizeof digest.bytes, request->region);
  hmac (&digest, digest.bytes, sizeof digest.bytes, request->service);
  hmac (&digest, digest.bytes, sizeof digest.bytes, "aws4_request");
  hmac (&digest, digest.bytes, sizeof digest.bytes, to_sign);
  to_hex (digest.bytes, sizeof digest.bytes, hex);
  return 0;
}

int
sigv4_sign (const struct sigv4_keys *keys, const struct sigv4_request *request, struct sigv4 *ret)
{
  CLEANUP_FREE char *path = sigv4_encode (request->path, false), *headers = NULL, *names = NULL, *scope = NULL;
  char date[32], day[16], hash[65], hex[65];
  struct tm tm;

  memset (ret, 0, sizeof *ret);
  if (path == NULL || gmtime_r (&request->now, &tm) == NULL || strftime (date, sizeof date, "%Y%m%dT%H%M%SZ", &tm) == 0)
    return -1;
  snprintf (day, sizeof day, "%.8s", date);
  ret->date = strdup (date);
  ret->query = canonical_query (request);
  if (ret->date == NULL || ret->query == NULL || canonical_headers (keys, request, date, &headers, &names) == -1)
    return -1;
  if (asprintf (&ret->canonical, "%s\n%s\n%s\n%s\n%s\n%s", request->method, path, ret->query, headers, names,
                request->payload) == -1) {
    ret->canonical = NULL;
    return -1;
  }
  sigv4_sha256 (ret->canonical, strlen (ret->canonical), hash);
  if (asprintf (&scope, "%s/%s/%s/aws4_request", day, request->region, request->service) == -1) {
    scope = NULL;
    return -1;
  }
  if (asprintf (&ret->to_sign, ALGORITHM "\n%s\n%s\n%s", date, scope, hash) == -1) {
    ret->to_sign = NULL;
    return -1;
  }
  if (signature (keys, request, day, ret->to_sign, hex) == -1)
    return -1;
  if (asprintf (&ret->authorization, ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s", keys->access, scope,
                names, hex) == -1) {
    ret->authorization = NULL;
    return -1;
  }
  return 0;
}

void
sigv4_clear (struct sigv4 *sigv4)
{
  free (sigv4->query);
  free (sigv4->date);
  free (sigv4->authorization);
  free (sigv4->canonical);
  free (sigv4->to_sign);
  memset (sigv4, 0, sizeof *sigv4);
}
