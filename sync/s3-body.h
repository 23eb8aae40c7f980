/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a change as a request's body: a part of the content, and its MD5 on the way; private to the S3 provider.
 *
 *   s3_body_init (&body, flow, offset, length)
 *   s3_patch_body (&body)                    of a part beside which not all is known here
 *   s3_body_attach (&body, &request)         over plain HTTP this reads all of it, for the hash that goes ahead
 *   (the request is sent)
 *   s3_body_md5 (&body, hex)
 *   s3_body_clear (&body)
 */

#ifndef CLOUDSHARE_S3_BODY_H
#define CLOUDSHARE_S3_BODY_H

#include <openssl/evp.h>

#include "s3-flow.h"

struct s3_body {
  struct s3_flow *flow;
  uint64_t offset, length;
  char *bytes;                 /* all of them, malloc'ed; or NULL: the flow's read gives them */
  EVP_MD_CTX *md5;             /* of the bytes before at, or NULL */
  uint64_t at;
  char sha256[65];
};

extern void s3_body_init (struct s3_body *body, struct s3_flow *flow, uint64_t offset, uint64_t length);

/* Where read does not give all of it, fetches what it lacks of the version that is replaced (s3-patch.c); to be called
 * before the others. */
extern enum cloud_result s3_patch_body (struct s3_body *body);

/* CLOUD_LOCAL where the content cannot be read. */
extern enum cloud_result s3_body_attach (struct s3_body *body, struct s3_request *request);

/* Of all that was sent; false where it was not all, or there was no memory. */
extern bool s3_body_md5 (struct s3_body *body, unsigned char digest[16]);

/* The same without sending it.  CLOUD_LOCAL as above. */
extern enum cloud_result s3_body_read_md5 (struct s3_body *body, unsigned char digest[16]);
extern void s3_body_clear (struct s3_body *body);

/* 32 digits and a NUL. */
extern void s3_md5_text (const unsigned char digest[16], char hex[33]);

/* Whether the server's own tag of what it got (as its answer to this call tells it) is another than the MD5 of what was
 * sent. */
extern bool s3_got_other_bytes (struct s3 *s3, const struct s3_answer *answer, const unsigned char digest[16]);

#endif /* CLOUDSHARE_S3_BODY_H */
