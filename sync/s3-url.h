/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a bucket is, and what the keys of items are.  Pure, but for the one message of a failure.
 *
 * remote=s3://BUCKET/PREFIX names the bucket and what all keys begin with; endpoint= the server, which is AWS's of the
 * region where it is not given.
 *
 *   path style       https://HOST/BUCKET/KEY      what servers other than AWS are set up for, unless told otherwise
 *   virtual host     https://BUCKET.HOST/KEY      what AWS wants, but for names with a dot, which its certificate does
 *                                                 not cover
 */

#ifndef CLOUDSHARE_S3_URL_H
#define CLOUDSHARE_S3_URL_H

#include <stdbool.h>

struct cloud_config;

/* All strings are malloc'ed. */
struct s3_url {
  char *bucket;
  char *prefix;          /* "", or ends with '/' */
  bool is_aws;           /* no endpoint was given: a region's own host is known */
  bool path_style;
  bool secure;           /* https */
  char *scheme_host;     /* "https://HOST[:PORT]", of the endpoint */
  char *host;            /* "HOST[:PORT]", of the bucket: what the Host header says */
  char *base;            /* path of the endpoint, "" or "/..." without '/' at the end */
  char *identity;        /* the whole for people, and what a cache is bound to */
};

/* True where text begins with s3://. */
extern bool s3_url_is_ours (const char *text);

/* region is where AWS's host is taken from.  On failure -1 with one message; *url is then empty. */
extern int s3_url_parse (const struct cloud_config *config, const char *endpoint, const char *region,
                         struct s3_url *url);
extern void s3_url_free (struct s3_url *url);

/* AWS's host in another region.  -1: out of memory, and nothing has changed. */
extern int s3_url_set_region (struct s3_url *url, const char *region);

/* The decoded path of a key's URL ("" is the bucket's), as it is signed.  malloc'ed; NULL: out of memory. */
extern char *s3_url_path (const struct s3_url *url, const char *key);

/* The key of an item (cloud.h's path), with '/' at the end for a folder; the root's is the prefix.  malloc'ed; NULL:
 * out of memory. */
extern char *s3_url_key (const struct s3_url *url, const char *path, bool folder);

#endif /* CLOUDSHARE_S3_URL_H */
