/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums in the form that remotes give. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "checksum.h"

struct checksum {
  EVP_MD_CTX *context;
  char hex[2 * EVP_MAX_MD_SIZE + 1];
};

static const EVP_MD *
digest_of (const char *expected)
{
  static const struct {
    const char *prefix;
    const EVP_MD *(*digest) (void);
  } kinds[] = { { "SHA256:", EVP_sha256 }, { "SHA1:", EVP_sha1 }, { "MD5:", EVP_md5 } };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i)
    if (strncasecmp (expected, kinds[i].prefix, strlen (kinds[i].prefix)) == 0)
      return kinds[i].digest ();
  return NULL;
}

struct checksum *
checksum_new (const char *expected)
{
  const EVP_MD *digest = expected ? digest_of (expected) : NULL;
  struct checksum *checksum;

  if (digest == NULL)
    return NULL;
  checksum = calloc (1, sizeof *checksum);
  if (checksum == NULL)
    return NULL;
  snprintf (checksum->hex, sizeof checksum->hex, "%s", strchr (expected, ':') + 1);
  checksum->context = EVP_MD_CTX_new ();
  if (checksum->context == NULL || !EVP_DigestInit_ex (checksum->context, digest, NULL)) {
    checksum_free (checksum);
    return NULL;
  }
  return checksum;
}

void
checksum_add (struct checksum *checksum, const void *buf, size_t n)
{
  EVP_DigestUpdate (checksum->context, buf, n);
}

bool
checksum_matches (struct checksum *checksum)
{
  unsigned char digest[EVP_MAX_MD_SIZE];
  char hex[2 * EVP_MAX_MD_SIZE + 1];
  unsigned n = 0;

  EVP_DigestFinal_ex (checksum->context, digest, &n);
  for (unsigned i = 0; i < n; ++i)
    sprintf (hex + 2 * i, "%02x", digest[i]);
  return n > 0 && strcasecmp (hex, checksum->hex) == 0;
}

void
checksum_free (struct checksum *checksum)
{
  if (checksum) {
    EVP_MD_CTX_free (checksum->context);
    free (checksum);
  }
}
