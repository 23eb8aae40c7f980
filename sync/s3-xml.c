/* SPDX-License-Identifier: BSD-3-Clause */
/* The XML of S3's answers, on expat: leaves are told by their name and their parent's. */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#include "cleanup.h"
#include "davtext.h"
#include "s3-xml.h"

#define MAX_DEPTH 16
#define MAX_TEXT (64 * 1024)
#define MAX_NAME 64

enum leaf {
  NO_LEAF,
  CODE, MESSAGE, REGION,
  PREFIX, ENCODING, TRUNCATED, NEXT, NEXT_UPLOAD, ETAG, UPLOAD, TIME,
  ENTRY_KEY, ENTRY_SIZE, ENTRY_ETAG, ENTRY_TIME, ENTRY_UPLOAD, ENTRY_PART, ENTRY_PREFIX,
};

/* parent NULL: the root, whatever its name. */
static const struct {
  const char *parent, *name;
  enum leaf leaf;
} leaves[] = {
  { "Error", "Code", CODE },
  { "Error", "Message", MESSAGE },
  { "Error", "Region", REGION },
  { NULL, "Prefix", PREFIX },
  { NULL, "EncodingType", ENCODING },
  { NULL, "IsTruncated", TRUNCATED },
  { NULL, "NextContinuationToken", NEXT },
  { NULL, "NextKeyMarker", NEXT },
  { NULL, "NextPartNumberMarker", NEXT },
  { NULL, "NextUploadIdMarker", NEXT_UPLOAD },
  { NULL, "ETag", ETAG },
  { NULL, "UploadId", UPLOAD },
  { NULL, "LastModified", TIME },
  { "Contents", "Key", ENTRY_KEY },
  { "Contents", "Size", ENTRY_SIZE },
  { "Contents", "ETag", ENTRY_ETAG },
  { "Contents", "LastModified", ENTRY_TIME },
  { "CommonPrefixes", "Prefix", ENTRY_PREFIX },
  { "Upload", "Key", ENTRY_KEY },
  { "Upload", "UploadId", ENTRY_UPLOAD },
  { "Upload", "Initiated", ENTRY_TIME },
  { "Part", "PartNumber", ENTRY_PART },
  { "Part", "ETag", ENTRY_ETAG },
  { "Part", "Size", ENTRY_SIZE },
  { "Part", "LastModified", ENTRY_TIME },
};

static const struct {
  const char *name;
  int kind;
} entries[] = {
  { "Contents", S3_ENTRY_KEY },
  { "CommonPrefixes", S3_ENTRY_PREFIX },
  { "Upload", S3_ENTRY_UPLOAD },
  { "Part", S3_ENTRY_PART },
};

/* Keys can be decoded only once <EncodingType> is known.  Where it stands behind the first entry (nobody says that it
 * may not), the document is read twice. */
struct reader {
  XML_Parser parser;
  const char *root;
  const struct s3_xml_sink *sink;
  void *opaque;
  struct s3_document *document;

  char names[MAX_DEPTH][MAX_NAME];
  unsigned depth;                /* open elements */
  char *text;
  size_t text_len, text_alloc;
  enum leaf leaf;

  bool url_encoded;
  struct s3_entry entry;
  char *key, *etag, *upload;     /* the entry's strings */

  bool failed;
  char *why;
};

static void __attribute__ ((format (printf, 2, 3)))
fail (struct reader *reader, const char *fmt, ...)
{
  va_list args;

  if (reader->failed)
    return;
  reader->failed = true;
  va_start (args, fmt);
  if (vasprintf (&reader->why, fmt, args) == -1)
    reader->why = NULL;
  va_end (args);
  XML_StopParser (reader->parser, XML_FALSE);
}

static int
hex_digit (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 'a' ^ 'A';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* encoding-type=url is the encoding of forms: some servers write a space as '+', and all a '+' as %2B. */
static int
decode (char *text)
{
  char *to = text;

  for (; *text; text++) {
    int high, low;

    if (*text == '%' && (high = hex_digit (text[1])) >= 0 && (low = hex_digit (text[2])) >= 0) {
      *to++ = (char) (high << 4 | low);
      if (to[-1] == '\0')
        return -1;
      text += 2;
    }
    else
      *to++ = *text == '+' ? ' ' : *text;
  }
  *to = '\0';
  return 0;
}

/* ---- what expat calls ---- */

static void
on_doctype (void *opaque, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int has_internal)
{
  fail (opaque, "the answer has a DOCTYPE, which no S3 answer has");
}

static int
entry_kind (const char *name)
{
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
    if (strcmp (entries[i].name, name) == 0)
      return entries[i].kind;
  return -1;
}

static void
entry_clear (struct reader *reader)
{
  free (reader->key);
  free (reader->etag);
  free (reader->upload);
  reader->key = reader->etag = reader->upload = NULL;
  memset (&reader->entry, 0, sizeof reader->entry);
}

static void
begin_root (struct reader *reader, const char *name)
{
  reader->document->root = strdup (name);
  if (reader->document->root == NULL)
    fail (reader, "out of memory");
  else if (strcmp (name, "Error") != 0 && reader->root && strcmp (name, reader->root) != 0)
    fail (reader, "the answer is a <%.40s>, not a <%s> as S3 servers send it", name, reader->root);
}

static void
on_start (void *opaque, const XML_Char *name, const XML_Char **attributes)
{
  struct reader *reader = opaque;
  const char *colon = strrchr (name, ':'), *parent;
  bool in_root;

  if (colon)
    name = colon + 1;
  reader->text_len = 0;
  reader->leaf = NO_LEAF;
  if (reader->failed)
    return;
  if (reader->depth == MAX_DEPTH) {
    fail (reader, "the answer is nested deeper than %d levels", MAX_DEPTH);
    return;
  }
  snprintf (reader->names[reader->depth++], MAX_NAME, "%s", name);
  if (reader->depth == 1) {
    begin_root (reader, name);
    return;
  }
  parent = reader->names[reader->depth - 2];
  in_root = reader->depth == 2;
  /* Only entries directly in the root are entries, and only their own leaves are theirs. */
  if (!in_root && reader->depth != 3)
    return;
  if (in_root && entry_kind (name) >= 0)
    entry_clear (reader);
  for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++)
    if (strcmp (leaves[i].name, name) == 0 &&
        (leaves[i].parent ? strcmp (leaves[i].parent, parent) == 0 : in_root && strcmp (parent, "Error") != 0))
      reader->leaf = leaves[i].leaf;
}

static void
on_text (void *opaque, const XML_Char *text, int n)
{
  struct reader *reader = opaque;

  if (reader->failed || reader->leaf == NO_LEAF)
    return;
  if (reader->text_len + n > MAX_TEXT) {
    fail (reader, "the answer has an element longer than %d bytes", MAX_TEXT);
    return;
  }
  if (reader->text_len + n + 1 > reader->text_alloc) {
    const size_t alloc = (reader->text_len + n + 1) * 2;
    char *longer = realloc (reader->text, alloc);

    if (longer == NULL) {
      fail (reader, "out of memory");
      return;
    }
    reader->text = longer;
    reader->text_alloc = alloc;
  }
  memcpy (reader->text + reader->text_len, text, n);
  reader->text_len += n;
}

static void
keep (struct reader *reader, char **to, const char *text)
{
  free (*to);
  *to = strdup (text);
  if (*to == NULL)
    fail (reader, "out of memory");
}

/* Keys are taken as they are: space at the ends is theirs. */
static void
keep_key (struct reader *reader, char **to, char *text)
{
  if (reader->url_encoded && decode (text) == -1)
    fail (reader, "the answer has a key with a NUL byte");
  else
    keep (reader, to, text);
}

/* Quotes are part of the tag in HTTP, but S3 and its likes send it with and without. */
static void
keep_etag (struct reader *reader, char **to, char *text)
{
  size_t len = strlen (text);

  if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
    text[len - 1] = '\0';
    text++;
  }
  if (*text)
    keep (reader, to, text);
}

static void
end_leaf (struct reader *reader)
{
  struct s3_document *document = reader->document;
  char nothing[1];
  char *text = reader->text_len > 0 ? reader->text : nothing;

  text[reader->text_len] = '\0';
  switch (reader->leaf) {
  case NO_LEAF:
    break;
  case CODE:
    keep (reader, &document->code, text);
    break;
  case MESSAGE:
    keep (reader, &document->message, text);
    break;
  case REGION:
    keep (reader, &document->region, text);
    break;
  case PREFIX:
    keep (reader, &document->prefix, text);
    break;
  case ENCODING:
    reader->url_encoded |= strcmp (text, "url") == 0;
    break;
  case TRUNCATED:
    document->has_truncated = true;
    document->truncated = strcmp (text, "true") == 0;
    break;
  case NEXT:
    if (*text)
      keep (reader, &document->next, text);
    break;
  case NEXT_UPLOAD:
    if (*text)
      keep (reader, &document->next_upload, text);
    break;
  case ETAG:
    keep_etag (reader, &document->etag, text);
    break;
  case UPLOAD:
    keep (reader, &document->upload, text);
    break;
  case TIME:
    if (davtext_parse_time (text, &document->time) == -1)
      document->time.tv_sec = 0;
    break;
  case ENTRY_KEY:
  case ENTRY_PREFIX:
    keep_key (reader, &reader->key, text);
    break;
  case ENTRY_SIZE:
    reader->entry.has_size = davtext_parse_number (text, &reader->entry.size) == 0;
    break;
  case ENTRY_ETAG:
    keep_etag (reader, &reader->etag, text);
    break;
  case ENTRY_TIME:
    if (davtext_parse_time (text, &reader->entry.time) == -1)
      reader->entry.time.tv_sec = 0;
    break;
  case ENTRY_UPLOAD:
    keep (reader, &reader->upload, text);
    break;
  case ENTRY_PART:
    reader->entry.part = strtoul (text, NULL, 10);
    break;
  }
  reader->leaf = NO_LEAF;
}

static void
end_entry (struct reader *reader, int kind)
{
  reader->entry.kind = kind;
  reader->entry.key = reader->key;
  reader->entry.etag = reader->etag;
  reader->entry.upload = reader->upload;
  if (kind != S3_ENTRY_PART && reader->key == NULL)
    fail (reader, "the answer has an entry without a key");
  else if (reader->sink && reader->sink->entry (reader->opaque, &reader->entry) == -1)
    fail (reader, "the answer makes no sense");
}

static void
on_end (void *opaque, const XML_Char *name)
{
  struct reader *reader = opaque;
  int kind;

  if (reader->failed)
    return;
  end_leaf (reader);
  reader->text_len = 0;
  reader->depth--;
  kind = reader->depth == 1 ? entry_kind (reader->names[reader->depth]) : -1;
  if (kind >= 0 && !reader->failed)
    end_entry (reader, kind);
}

/* ---- the calling side ---- */

static int
read_once (struct reader *reader, const void *buf, size_t n)
{
  reader->parser = XML_ParserCreate (NULL);
  if (reader->parser == NULL) {
    reader->failed = true;
    return -1;
  }
  reader->depth = 0;
  s3_document_free (reader->document);
  XML_SetUserData (reader->parser, reader);
  XML_SetElementHandler (reader->parser, on_start, on_end);
  XML_SetCharacterDataHandler (reader->parser, on_text);
  XML_SetStartDoctypeDeclHandler (reader->parser, on_doctype);
  if (XML_Parse (reader->parser, buf, (int) n, 1) != XML_STATUS_OK)
    fail (reader, "the answer is not whole and well-formed XML: line %lu: %s",
          (unsigned long) XML_GetCurrentLineNumber (reader->parser),
          XML_ErrorString (XML_GetErrorCode (reader->parser)));
  XML_ParserFree (reader->parser);
  entry_clear (reader);
  return reader->failed ? -1 : 0;
}

/* Whether the encoding is told before the first entry, so that one reading will do. */
static bool
encoding_is_first (const char *text, size_t n)
{
  const char *encoding = memmem (text, n, "<EncodingType>", 14);
  const char *entry = memmem (text, n, "<Contents>", 10), *prefix = memmem (text, n, "<CommonPrefixes>", 16);
  const char *upload = memmem (text, n, "<Upload>", 8);

  return encoding == NULL || ((entry == NULL || encoding < entry) && (prefix == NULL || encoding < prefix) &&
                              (upload == NULL || encoding < upload));
}

int
s3_xml_read (const void *buf, size_t n, const char *root, const struct s3_xml_sink *sink, void *opaque,
             struct s3_document *document, char **ret_why)
{
  struct reader reader = { .root = root, .opaque = opaque, .document = document };
  int r = 0;

  memset (document, 0, sizeof *document);
  *ret_why = NULL;
  /* expat counts in int; nobody gathers that much. */
  if (n > (1U << 30)) {
    *ret_why = strdup ("the answer is too long");
    return -1;
  }
  /* A first reading for nothing but the encoding. */
  if (!encoding_is_first (buf, n))
    r = read_once (&reader, buf, n);
  if (r == 0) {
    reader.sink = sink;
    r = read_once (&reader, buf, n);
  }
  if (r == 0 && document->prefix && reader.url_encoded) {
    document->prefix_decoded = strdup (document->prefix);
    r = document->prefix_decoded ? decode (document->prefix_decoded) : -1;
  }
  free (reader.text);
  *ret_why = reader.why;
  return r;
}

void
s3_document_free (struct s3_document *document)
{
  free (document->root);
  free (document->code);
  free (document->message);
  free (document->region);
  free (document->prefix);
  free (document->prefix_decoded);
  free (document->next);
  free (document->next_upload);
  free (document->etag);
  free (document->upload);
  memset (document, 0, sizeof *document);
}

bool
s3_document_is_error (const struct s3_document *document)
{
  return document->root && strcmp (document->root, "Error") == 0;
}
