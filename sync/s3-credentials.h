/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose keys requests are signed with, and for which region.
 *
 * In this order, the first that has keys: access-key= and secret-key=; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
 * AWS_SESSION_TOKEN; the profile AWS_PROFILE ("default") of the file AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials).
 * Nobody's: requests are not signed, as public buckets allow.  The region: region=, AWS_REGION, AWS_DEFAULT_REGION, the
 * profile in AWS_CONFIG_FILE (~/.aws/config), us-east-1.  The endpoint: endpoint=, AWS_ENDPOINT_URL_S3,
 * AWS_ENDPOINT_URL.
 */

#ifndef CLOUDSHARE_S3_CREDENTIALS_H
#define CLOUDSHARE_S3_CREDENTIALS_H

#include <stdbool.h>

struct cloud_config;

/* Strings are malloc'ed or NULL. */
struct s3_credentials {
  char *access, *secret, *session;   /* access NULL: nobody's */
};

struct s3_settings {
  struct s3_credentials credentials;
  bool from_file;                    /* the credentials; they may be others later */
  char *region;                      /* never NULL */
  char *endpoint;                    /* or NULL */
};

/* -1 after one message; settings is then empty. */
extern int s3_settings_read (const struct cloud_config *config, struct s3_settings *settings);
extern void s3_settings_free (struct s3_settings *settings);

/* Reads the credentials file again.  False where it has no keys, or there is no memory. */
extern bool s3_credentials_reread (struct s3_credentials *credentials);
extern void s3_credentials_free (struct s3_credentials *credentials);

/* The value of a key in a section of a file of the form of ~/.aws/credentials, malloc'ed; or NULL.  Pure. */
extern char *s3_ini_value (const char *text, const char *section, const char *key);

#endif /* CLOUDSHARE_S3_CREDENTIALS_H */
