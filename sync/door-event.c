/* SPDX-License-Identifier: BSD-3-Clause */
/* What the body of a cloud's message says. */

#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "door-event.h"

/* AWS sends one record, others up to a few dozen; past this everything is looked at. */
#define MAX_RECORDS 1000

/* Deeper than any of these messages. */
#define MAX_DEPTH 16

/* SNS allows messages of 256 KiB; the same text within a text. */
#define MAX_INNER (512 * 1024)

/* The text of a member; NULL where there is none, or one that C cannot hold. */
static const char *
text_of (struct json_object *object, const char *key)
{
  struct json_object *value;

  if (!json_object_object_get_ex (object, key, &value) || !json_object_is_type (value, json_type_string))
    return NULL;
  return strlen (json_object_get_string (value)) == (size_t) json_object_get_string_len (value)
    ? json_object_get_string (value) : NULL;
}

static struct json_object *
member (struct json_object *object, const char *key)
{
  struct json_object *value;

  return json_object_is_type (object, json_type_object) && json_object_object_get_ex (object, key, &value) ? value : NULL;
}

static struct json_object *
parse (const char *body, size_t n)
{
  struct json_tokener *tokener = json_tokener_new_ex (MAX_DEPTH);
  struct json_object *object = NULL;

  if (tokener == NULL)
    return NULL;
  object = json_tokener_parse_ex (tokener, body, (int) n);
  if (json_tokener_get_error (tokener) != json_tokener_success || !json_object_is_type (object, json_type_object)) {
    json_object_put (object);
    object = NULL;
  }
  json_tokener_free (tokener);
  return object;
}

/* As in forms: "+" is a space, %XX a byte.  malloc'ed; NULL where it is no such text, or not another one. */
static char *
decode (const char *text)
{
  char *copy = strdup (text), *to = copy;

  for (const char *p = text; copy && *p; ++p) {
    unsigned byte = (unsigned char) *p;

    if (*p == '+')
      byte = ' ';
    else if (*p == '%') {
      const char hex[] = { isxdigit ((unsigned char) p[1]) ? p[1] : 'z', p[1] ? p[2] : 'z', '\0' };

      if (!isxdigit ((unsigned char) hex[0]) || !isxdigit ((unsigned char) hex[1]))
        goto none;
      byte = (unsigned) strtoul (hex, NULL, 16);
      if (byte == 0)
        goto none;
      p += 2;
    }
    *to++ = (char) byte;
  }
  if (copy == NULL)
    return NULL;
  *to = '\0';
  if (strcmp (copy, text) != 0)
    return copy;
none:
  free (copy);
  return NULL;
}

/* One record of S3 (AWS: "Event message structure", which the others follow).  AWS and MinIO encode keys, Ceph does not: but
 * what version of what does so is nothing to build upon, where a look too many costs so little. */
static void
read_record (struct json_object *record, const struct door_event_sink *sink, void *opaque)
{
  struct json_object *s3 = member (record, "s3");
  const char *event = text_of (record, "eventName");
  const char *bucket = text_of (member (s3, "bucket"), "name"), *key = text_of (member (s3, "object"), "key");
  CLEANUP_FREE char *decoded = NULL;

  /* Reading changes nothing. */
  if (bucket == NULL || key == NULL || (event && strstr (event, "ObjectAccessed")))
    return;
  sink->object (opaque, bucket, key);
  decoded = decode (key);
  if (decoded)
    sink->object (opaque, bucket, decoded);
}

static bool read_object (struct json_object *object, const struct door_event_sink *sink, void *opaque, bool inner);

static bool
read_inner (const char *text, const struct door_event_sink *sink, void *opaque)
{
  const size_t n = text ? strlen (text) : 0;
  struct json_object *object = n > 0 && n <= MAX_INNER ? parse (text, n) : NULL;
  const bool understood = object && read_object (object, sink, opaque, true);

  json_object_put (object);
  return understood;
}

/* AWS's SNS has the message of S3 as a text in its own. */
static bool
read_sns (struct json_object *object, const char *type, const struct door_event_sink *sink, void *opaque)
{
  const char *url = text_of (object, "SubscribeURL");

  if (strcmp (type, "Notification") == 0)
    return read_inner (text_of (object, "Message"), sink, opaque);
  if (strcmp (type, "SubscriptionConfirmation") == 0 && url) {
    sink->confirm (opaque, url);
    return true;
  }
  return strcmp (type, "UnsubscribeConfirmation") == 0;
}

static bool
read_object (struct json_object *object, const struct door_event_sink *sink, void *opaque, bool inner)
{
  struct json_object *records = member (object, "Records");
  const char *type = text_of (object, "Type"), *path = text_of (object, "path"), *event = text_of (object, "Event");

  if (json_object_is_type (records, json_type_array)) {
    const size_t n = json_object_array_length (records);

    for (size_t i = 0; i < n && i < MAX_RECORDS; ++i)
      if (json_object_is_type (json_object_array_get_idx (records, i), json_type_object))
        read_record (json_object_array_get_idx (records, i), sink, opaque);
    if (n > MAX_RECORDS)
      sink->path (opaque, NULL);
    return true;
  }
  /* What AWS sends when it is set up. */
  if (event && strcmp (event, "s3:TestEvent") == 0)
    return true;
  if (type && !inner)
    return read_sns (object, type, sink, opaque);
  if (inner)
    return false;
  /* Somebody's own; a webhook that knows more than we do is understood as well. */
  sink->path (opaque, path);
  return true;
}

bool
door_event_read (const char *body, size_t n, const struct door_event_sink *sink, void *opaque)
{
  struct json_object *object;
  bool understood;
  size_t i = 0;

  while (i < n && isspace ((unsigned char) body[i]))
    i++;
  if (i == n) {
    sink->path (opaque, NULL);
    return true;
  }
  object = parse (body, n);
  understood = object && read_object (object, sink, opaque, false);
  json_object_put (object);
  return understood;
}

/* "https://sns.REGION.amazonaws.com/?Action=ConfirmSubscription&..." (AWS: "Confirm the subscription"); in China with ".cn"
 * at the end of the host.  No other host, port, user, path or fragment. */
bool
door_event_may_confirm (const char *url)
{
  static const char start[] = "https://sns.", action[] = "?Action=ConfirmSubscription&";
  const char *p = url;
  size_t n;

  if (strlen (url) > 2048 || strncmp (p, start, sizeof start - 1) != 0)
    return false;
  p += sizeof start - 1;
  n = strspn (p, "abcdefghijklmnopqrstuvwxyz0123456789-");
  if (n == 0 || strncmp (p + n, ".amazonaws.com", 14) != 0)
    return false;
  p += n + 14;
  if (strncmp (p, ".cn/", 4) == 0)
    p += 3;
  if (*p++ != '/' || strncmp (p, action, sizeof action - 1) != 0)
    return false;
  for (; *p; ++p)
    if (!isalnum ((unsigned char) *p) && strchr ("?&=%:._~+-", *p) == NULL)
      return false;
  return true;
}
