/* SPDX-License-Identifier: BSD-3-Clause */
/* The XML of S3's answers, read strictly.
 *
 * An answer that is not one whole well-formed document, with the root element that was asked for, is an error: a
 * listing cut short must not look like a short listing.  But a document <Error> is accepted in the place of any other,
 * as CopyObject and CompleteMultipartUpload say 200 before they know how it will end.  Documents with a DOCTYPE are
 * refused, so entities cannot grow; depth is bounded, and size by who gathers the document.  Namespaces are ignored:
 * servers disagree about them.
 */

#ifndef CLOUDSHARE_S3_XML_H
#define CLOUDSHARE_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* One entry of a list.  Of a key or prefix the decoded bytes; strings end with the call, and are NULL where absent. */
struct s3_entry {
  enum { S3_ENTRY_KEY, S3_ENTRY_PREFIX, S3_ENTRY_UPLOAD, S3_ENTRY_PART } kind;
  const char *key;
  uint64_t size;
  bool has_size;
  const char *etag;              /* without quotes */
  struct timespec time;          /* LastModified or Initiated; tv_sec 0 where absent */
  const char *upload;            /* UploadId */
  unsigned part;
};

/* All that is not an entry.  Strings are malloc'ed or NULL. */
struct s3_document {
  char *root;                    /* name of the root element */
  char *code, *message, *region; /* Error */
  char *prefix;                  /* as it is there: Ceph does not encode it where it encodes keys, and AWS does */
  char *prefix_decoded;          /* NULL where nothing is encoded */
  char *next;                    /* NextContinuationToken, NextKeyMarker, NextPartNumberMarker: for the next page */
  char *next_upload;             /* NextUploadIdMarker */
  bool truncated, has_truncated;
  char *etag;                    /* of CopyObjectResult and the like, without quotes */
  char *upload;                  /* UploadId of InitiateMultipartUploadResult */
  struct timespec time;          /* LastModified of CopyObjectResult */
};

struct s3_xml_sink {
  /* -1: stop; s3_xml_read then fails. */
  int (*entry) (void *opaque, const struct s3_entry *entry);
};

/* Reads a document whose root is to be root, or Error; NULL: any.  sink may be NULL.  On failure -1, and *ret_why is
 * malloc'ed text that says why, or NULL where there is no memory.  Free document in any case. */
extern int s3_xml_read (const void *buf, size_t n, const char *root, const struct s3_xml_sink *sink, void *opaque,
                        struct s3_document *document, char **ret_why);
extern void s3_document_free (struct s3_document *document);

/* Whether the document is <Error>. */
extern bool s3_document_is_error (const struct s3_document *document);

#endif /* CLOUDSHARE_S3_XML_H */
