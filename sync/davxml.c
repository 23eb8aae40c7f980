/* SPDX-License-Identifier: BSD-3-Clause */
/* The multistatus reader, on expat.
 *
 * Elements are recognised by their name and their parent's meaning (the table below); all others are "unknown", and so
 * is everything in them, whatever its name: RFC 4918, 17 asks for unknown elements to be ignored with their content.
 *
 * Properties of a propstat are kept in *pending* until its status is known, which usually stands behind them, and only
 * then added to the response's.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <expat.h>

#include "davtext.h"
#include "davxml.h"

#define MAX_DEPTH 32
#define MAX_TEXT (64 * 1024)

/* The longest tag, comment or the like.  expat keeps one of these in memory until it is whole. */
#define MAX_TOKEN (1024 * 1024)

/* Between namespace and name.  It cannot occur in a URI, and expat refuses namespaces that hold it. */
#define SEPARATOR '\n'
#define DAV "DAV:\n"
#define OC "http://owncloud.org/ns\n"

enum element {
  UNKNOWN,
  DOCUMENT,
  MULTISTATUS,
  RESPONSE,
  HREF,
  RESPONSE_STATUS,
  PROPSTAT,
  PROPSTAT_STATUS,
  PROP,
  RESOURCETYPE,
  COLLECTION,
  CONTENTLENGTH,
  LASTMODIFIED,
  ETAG,
  CONTENTTYPE,
  ID,
  FILEID,
  CHECKSUMS,
  CHECKSUM,
};

static const struct {
  enum element parent;
  const char *name;
  enum element element;
} elements[] = {
  { DOCUMENT, DAV "multistatus", MULTISTATUS },
  { MULTISTATUS, DAV "response", RESPONSE },
  { RESPONSE, DAV "href", HREF },
  { RESPONSE, DAV "status", RESPONSE_STATUS },
  { RESPONSE, DAV "propstat", PROPSTAT },
  { PROPSTAT, DAV "status", PROPSTAT_STATUS },
  { PROPSTAT, DAV "prop", PROP },
  { PROP, DAV "resourcetype", RESOURCETYPE },
  { RESOURCETYPE, DAV "collection", COLLECTION },
  { PROP, DAV "getcontentlength", CONTENTLENGTH },
  { PROP, DAV "getlastmodified", LASTMODIFIED },
  { PROP, DAV "getetag", ETAG },
  { PROP, DAV "getcontenttype", CONTENTTYPE },
  { PROP, OC "id", ID },
  { PROP, OC "fileid", FILEID },
  { PROP, OC "checksums", CHECKSUMS },
  { CHECKSUMS, OC "checksum", CHECKSUM },
};

/* Properties as read; strings are malloc'ed. */
struct props {
  bool is_collection, has_size;
  uint64_t size;
  struct timespec mtime;
  char *etag, *mime, *id, *fileid, *checksums;
};

struct davxml {
  XML_Parser parser;
  void (*item) (void *opaque, const struct davxml_item *item);
  void *opaque;

  enum element stack[MAX_DEPTH + 1];
  unsigned depth;            /* stack[depth] is the innermost open element */
  size_t unfinished;         /* bytes fed since expat last reported anything */
  char *text;                /* of the innermost element that has text of use */
  size_t text_len, text_alloc;

  char *href;
  int status;
  bool has_props;
  int propstat_status;
  struct props props, pending;

  bool failed, is_html;
  char error[256];
};

static void
props_clear (struct props *props)
{
  free (props->etag);
  free (props->mime);
  free (props->id);
  free (props->fileid);
  free (props->checksums);
  memset (props, 0, sizeof *props);
}

/* Moves what from has to to. */
static void
props_add (struct props *to, struct props *from)
{
  char **const tos[] = { &to->etag, &to->mime, &to->id, &to->fileid, &to->checksums };
  char **const froms[] = { &from->etag, &from->mime, &from->id, &from->fileid, &from->checksums };

  to->is_collection |= from->is_collection;
  if (from->has_size) {
    to->has_size = true;
    to->size = from->size;
  }
  if (from->mtime.tv_sec)
    to->mtime = from->mtime;
  for (size_t i = 0; i < sizeof tos / sizeof tos[0]; i++)
    if (*froms[i]) {
      free (*tos[i]);
      *tos[i] = *froms[i];
      *froms[i] = NULL;
    }
  props_clear (from);
}

/* The first error is the one that counts. */
static void __attribute__ ((format (printf, 2, 3)))
fail (struct davxml *xml, const char *fmt, ...)
{
  va_list args;

  if (xml->failed)
    return;
  xml->failed = true;
  va_start (args, fmt);
  vsnprintf (xml->error, sizeof xml->error, fmt, args);
  va_end (args);
  XML_StopParser (xml->parser, XML_FALSE);
}

/* ---- what expat calls ---- */

static void
on_doctype (void *opaque, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int has_internal)
{
  struct davxml *xml = opaque;

  xml->is_html |= strcasecmp (name, "html") == 0;
  fail (xml, "the answer has a DOCTYPE, which no WebDAV answer has");
}

/* The part behind the namespace. */
static const char *
local_name (const char *name)
{
  const char *separator = strrchr (name, SEPARATOR);

  return separator ? separator + 1 : name;
}

static void
on_start (void *opaque, const XML_Char *name, const XML_Char **attributes)
{
  struct davxml *xml = opaque;
  enum element element = UNKNOWN;

  xml->unfinished = 0;
  xml->text_len = 0;
  if (xml->failed)
    return;
  if (xml->depth == MAX_DEPTH) {
    fail (xml, "the answer is nested deeper than %d levels", MAX_DEPTH);
    return;
  }
  for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++)
    if (elements[i].parent == xml->stack[xml->depth] && strcmp (elements[i].name, name) == 0)
      element = elements[i].element;
  if (xml->depth == 0 && element != MULTISTATUS) {
    xml->is_html |= strcasecmp (local_name (name), "html") == 0;
    fail (xml, "the answer is a <%.40s>, not a WebDAV multistatus", local_name (name));
    return;
  }
  xml->stack[++xml->depth] = element;
  if (element == COLLECTION)
    xml->pending.is_collection = true;
  else if (element == PROPSTAT)
    xml->propstat_status = 0;
}

static void
on_text (void *opaque, const XML_Char *text, int n)
{
  struct davxml *xml = opaque;

  xml->unfinished = 0;
  if (xml->failed)
    return;
  if (xml->text_len + n > MAX_TEXT) {
    fail (xml, "the answer has a property longer than %d bytes", MAX_TEXT);
    return;
  }
  if (xml->text_len + n + 1 > xml->text_alloc) {
    const size_t alloc = (xml->text_len + n + 1) * 2;
    char *longer = realloc (xml->text, alloc);

    if (longer == NULL) {
      fail (xml, "out of memory");
      return;
    }
    xml->text = longer;
    xml->text_alloc = alloc;
  }
  memcpy (xml->text + xml->text_len, text, n);
  xml->text_len += n;
}

/* The text of the element that ends, without space around it. */
static const char *
element_text (struct davxml *xml)
{
  static const char space[] = " \t\r\n";
  char *text;

  if (xml->text_len == 0)
    return "";
  while (xml->text_len > 0 && strchr (space, xml->text[xml->text_len - 1]))
    xml->text_len--;
  xml->text[xml->text_len] = '\0';
  for (text = xml->text; *text && strchr (space, *text); text++)
    ;
  return text;
}

/* Text goes to where it belongs; empty text is as good as none. */
static void
set_text (struct davxml *xml, char **to)
{
  const char *text = element_text (xml);

  free (*to);
  *to = NULL;
  if (*text == '\0')
    return;
  *to = strdup (text);
  if (*to == NULL)
    fail (xml, "out of memory");
}

static void
add_checksum (struct davxml *xml)
{
  const char *text = element_text (xml), *before = xml->pending.checksums ? xml->pending.checksums : "";
  char *all;

  if (strlen (before) + strlen (text) > MAX_TEXT) {
    fail (xml, "the answer has a property longer than %d bytes", MAX_TEXT);
    return;
  }
  if (asprintf (&all, "%s %s", before, text) == -1) {
    fail (xml, "out of memory");
    return;
  }
  free (xml->pending.checksums);
  xml->pending.checksums = all;
}

/* "HTTP/1.1 200 OK" (RFC 4918, 14.28). */
static int
parse_status (struct davxml *xml)
{
  int status;

  if (sscanf (element_text (xml), "HTTP/%*d.%*d %3d", &status) == 1 ||
      sscanf (element_text (xml), "HTTP/%*d %3d", &status) == 1)
    return status;
  fail (xml, "the answer has a status that is none: '%.40s'", element_text (xml));
  return 0;
}

static void
end_propstat (struct davxml *xml)
{
  if (xml->propstat_status == 0)
    fail (xml, "the answer has properties without a status");
  else if (xml->propstat_status / 100 == 2) {
    xml->has_props = true;
    props_add (&xml->props, &xml->pending);
  }
  props_clear (&xml->pending);
}

static void
end_response (struct davxml *xml)
{
  const struct props *props = &xml->props;
  const struct davxml_item item = {
    .href = xml->href,
    .status = xml->status,
    .has_props = xml->has_props,
    .is_collection = props->is_collection,
    .has_size = props->has_size,
    .size = props->size,
    .mtime = props->mtime,
    .etag = props->etag,
    .mime = props->mime,
    .id = props->id ? props->id : props->fileid,
    .checksums = props->checksums,
  };

  if (xml->href == NULL)
    fail (xml, "the answer has an entry without a path");
  else
    xml->item (xml->opaque, &item);
  free (xml->href);
  xml->href = NULL;
  xml->status = 0;
  xml->has_props = false;
  props_clear (&xml->props);
}

static void
on_end (void *opaque, const XML_Char *name)
{
  struct davxml *xml = opaque;

  xml->unfinished = 0;
  if (xml->failed)
    return;
  switch (xml->stack[xml->depth--]) {
  case HREF:
    /* Several hrefs share one status in the form without properties (RFC 4918, 14.24); one of them will do. */
    if (xml->href == NULL)
      set_text (xml, &xml->href);
    break;
  case RESPONSE_STATUS:
    xml->status = parse_status (xml);
    break;
  case PROPSTAT_STATUS:
    xml->propstat_status = parse_status (xml);
    break;
  case CONTENTLENGTH:
    xml->pending.has_size = davtext_parse_number (element_text (xml), &xml->pending.size) == 0;
    break;
  case LASTMODIFIED:
    if (davtext_parse_time (element_text (xml), &xml->pending.mtime) == -1)
      xml->pending.mtime.tv_sec = 0;
    break;
  case ETAG:
    set_text (xml, &xml->pending.etag);
    break;
  case CONTENTTYPE:
    set_text (xml, &xml->pending.mime);
    break;
  case ID:
    set_text (xml, &xml->pending.id);
    break;
  case FILEID:
    set_text (xml, &xml->pending.fileid);
    break;
  case CHECKSUM:
    add_checksum (xml);
    break;
  case PROPSTAT:
    end_propstat (xml);
    break;
  case RESPONSE:
    end_response (xml);
    break;
  default:
    break;
  }
  xml->text_len = 0;
}

/* ---- the calling side ---- */

struct davxml *
davxml_new (void (*item) (void *opaque, const struct davxml_item *item), void *opaque)
{
  struct davxml *xml = calloc (1, sizeof *xml);

  if (xml == NULL)
    return NULL;
  xml->parser = XML_ParserCreateNS (NULL, SEPARATOR);
  if (xml->parser == NULL) {
    free (xml);
    return NULL;
  }
  xml->item = item;
  xml->opaque = opaque;
  xml->stack[0] = DOCUMENT;
  XML_SetUserData (xml->parser, xml);
  XML_SetElementHandler (xml->parser, on_start, on_end);
  XML_SetCharacterDataHandler (xml->parser, on_text);
  XML_SetStartDoctypeDeclHandler (xml->parser, on_doctype);
  return xml;
}

static int
parse (struct davxml *xml, const void *buf, size_t n, bool is_final)
{
  if (xml->failed)
    return -1;
  if (XML_Parse (xml->parser, buf, n, is_final) != XML_STATUS_OK)
    fail (xml, "the answer is not whole and well-formed XML: line %lu: %s",
          (unsigned long) XML_GetCurrentLineNumber (xml->parser), XML_ErrorString (XML_GetErrorCode (xml->parser)));
  return xml->failed ? -1 : 0;
}

int
davxml_feed (struct davxml *xml, const void *buf, size_t n)
{
  /* expat counts in int. */
  while (n > 0) {
    const size_t len = n < MAX_TEXT ? n : MAX_TEXT;

    xml->unfinished += len;
    if (parse (xml, buf, len, false) == -1)
      return -1;
    if (xml->unfinished > MAX_TOKEN) {
      fail (xml, "the answer has a tag or comment longer than %d bytes", MAX_TOKEN);
      return -1;
    }
    buf = (const char *) buf + len;
    n -= len;
  }
  return 0;
}

int
davxml_finish (struct davxml *xml)
{
  return parse (xml, "", 0, true);
}

const char *
davxml_error (struct davxml *xml)
{
  return xml->error;
}

bool
davxml_is_html (struct davxml *xml)
{
  return xml->is_html;
}

void
davxml_free (struct davxml *xml)
{
  if (xml == NULL)
    return;
  XML_ParserFree (xml->parser);
  props_clear (&xml->props);
  props_clear (&xml->pending);
  free (xml->href);
  free (xml->text);
  free (xml);
}
