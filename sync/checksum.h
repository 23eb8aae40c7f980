/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums in the form that remotes give: "SHA1:<hex>", "MD5:<hex>", "SHA256:<hex>". */

#ifndef CLOUDSHARE_CHECKSUM_H
#define CLOUDSHARE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>

struct checksum;

/* NULL without a message if the kind is not one that we can compute (then there is nothing to verify). */
extern struct checksum *checksum_new (const char *expected);
extern void checksum_add (struct checksum *checksum, const void *buf, size_t n);

/* Whether what was added is what was expected. */
extern bool checksum_matches (struct checksum *checksum);
extern void checksum_free (struct checksum *checksum);

#endif /* CLOUDSHARE_CHECKSUM_H */
