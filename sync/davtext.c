/* SPDX-License-Identifier: BSD-3-Clause */
/* The small grammars of WebDAV answers.  Nothing here depends on the locale. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "davtext.h"

/* ---- paths ---- */

/* RFC 3986, 2.3. */
static bool
is_unreserved (unsigned char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
    c == '-' || c == '.' || c == '_' || c == '~';
}

static int
hex_digit (char c)
{
  return c >= '0' && c <= '9' ? c - '0' :
    c >= 'a' && c <= 'f' ? c - 'a' + 10 :
    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *
put_encoded (char *to, unsigned char c)
{
  static const char digits[] = "0123456789ABCDEF";

  if (is_unreserved (c))
    *to++ = c;
  else {
    *to++ = '%';
    *to++ = digits[c >> 4];
    *to++ = digits[c & 15];
  }
  return to;
}

/* Reads one byte that may be escaped.  A '%' that begins no escape stands for itself. */
static const char *
get_decoded (const char *from, unsigned char *ret)
{
  if (from[0] == '%' && hex_digit (from[1]) >= 0 && hex_digit (from[2]) >= 0) {
    *ret = hex_digit (from[1]) << 4 | hex_digit (from[2]);
    return from + 3;
  }
  *ret = *from;
  return from + 1;
}

char *
davtext_encode (const char *path)
{
  char *text = malloc (strlen (path) * 3 + 1), *to = text;

  if (text == NULL)
    return NULL;
  for (; *path; path++)
    if (*path == '/')
      *to++ = '/';
    else
      to = put_encoded (to, *path);
  *to = '\0';
  return text;
}

char *
davtext_href_path (const char *href)
{
  const char *from = href;
  char *text, *to;
  /* No escaped href holds a space, so one that does is not escaped, and its '%' are ordinary bytes (chezdav). */
  const bool literal = strchr (href, ' ') != NULL;

  if (*from != '/') {
    const char *authority = strstr (from, "://");

    if (authority == NULL || strncasecmp (from, "http", 4) != 0) {
      errno = EINVAL;
      return NULL;
    }
    from = authority + 3;
    from += strcspn (from, "/");
  }

  text = malloc (strlen (from) * 3 + 3);
  if (text == NULL)
    return NULL;
  to = text;
  *to++ = '/';
  while (*from) {
    unsigned char c = *from;

    if (c == '/') {
      if (to[-1] != '/')
        *to++ = '/';
      from++;
      continue;
    }
    /* Queries and fragments do not occur: "?" and "#" come from servers that do not escape. */
    from = literal ? from + 1 : get_decoded (from, &c);
    to = put_encoded (to, c);
  }
  if (to[-1] != '/')
    *to++ = '/';
  *to = '\0';
  return text;
}

enum davtext_relation
davtext_relate (const char *folder, const char *path, const char **ret_name)
{
  const size_t len = strlen (folder);
  const char *name = path + len, *end;

  if (strncmp (folder, path, len) != 0)
    return DAVTEXT_OTHER;
  if (*name == '\0')
    return DAVTEXT_SELF;
  end = strchr (name, '/');
  if (end == NULL || end[1] != '\0')
    return DAVTEXT_OTHER;
  *ret_name = name;
  return DAVTEXT_CHILD;
}

char *
davtext_name (const char *segment, const char **ret_why)
{
  char *name = malloc (strlen (segment) + 1), *to = name;
  const char *why = NULL;

  if (name == NULL)
    return NULL;
  while (*segment && *segment != '/') {
    unsigned char c;

    segment = get_decoded (segment, &c);
    if (c == '/')
      why = "its name holds a '/'";
    else if (c == '\0')
      why = "its name holds a NUL byte";
    *to++ = c;
  }
  *to = '\0';
  if (why == NULL && *name == '\0')
    why = "it has no name";
  else if (why == NULL && (strcmp (name, ".") == 0 || strcmp (name, "..") == 0))
    why = "its name means a folder";
  if (why == NULL)
    return name;
  free (name);
  *ret_why = why;
  errno = EINVAL;
  return NULL;
}

/* ---- dates ---- */

static int
month_number (const char *name)
{
  static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";

  for (int i = 0; i < 12; i++)
    if (strncasecmp (months + i * 3, name, 3) == 0)
      return i;
  return -1;
}

static int
to_timespec (struct tm *tm, struct timespec *ret_time)
{
  if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 || tm->tm_mday > 31 || tm->tm_hour > 23 ||
      tm->tm_min > 59 || tm->tm_sec > 60 || tm->tm_hour < 0 || tm->tm_min < 0 || tm->tm_sec < 0)
    return -1;
  ret_time->tv_sec = timegm (tm);
  ret_time->tv_nsec = 0;
  return 0;
}

/* RFC 3339, 5.6; the fraction is dropped, as it is in HTTP dates. */
static int
parse_iso_time (const char *text, struct timespec *ret_time)
{
  struct tm tm = { 0 };
  int used = 0, hours = 0, minutes = 0;
  char sign[2];

  if (sscanf (text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
              &tm.tm_sec, &used) != 6 || used == 0)
    return -1;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  text += used;
  if (*text == '.')
    text += 1 + strspn (text + 1, "0123456789");
  if (to_timespec (&tm, ret_time) == -1)
    return -1;
  if (strcasecmp (text, "Z") == 0)
    return 0;
  if (sscanf (text, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &used) != 3 || text[used] != '\0')
    return -1;
  ret_time->tv_sec -= (sign[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
  return 0;
}

int
davtext_parse_time (const char *text, struct timespec *ret_time)
{
  struct tm tm = { 0 };
  char month[4];
  int used = 0;

  while (*text == ' ')
    text++;
  /* Sun, 06 Nov 1994 08:49:37 GMT */
  if (sscanf (text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour,
              &tm.tm_min, &tm.tm_sec, &used) == 6 && used > 0) {
    tm.tm_year -= 1900;
    tm.tm_mon = month_number (month);
    return to_timespec (&tm, ret_time);
  }
  /* Sunday, 06-Nov-94 08:49:37 GMT; a year that looks more than 50 years away is in the past, which for a server's
   * files is all that matters. */
  if (sscanf (text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour,
              &tm.tm_min, &tm.tm_sec, &used) == 6 && used > 0) {
    if (tm.tm_year < 70)
      tm.tm_year += 100;
    tm.tm_mon = month_number (month);
    return to_timespec (&tm, ret_time);
  }
  /* Sun Nov  6 08:49:37 1994 */
  if (sscanf (text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
              &tm.tm_sec, &tm.tm_year, &used) == 6 && used > 0) {
    tm.tm_year -= 1900;
    tm.tm_mon = month_number (month);
    return to_timespec (&tm, ret_time);
  }
  return parse_iso_time (text, ret_time);
}

/* ---- tags, ranges, numbers, checksums ---- */

char *
davtext_normal_etag (const char *etag, bool *ret_weak)
{
  size_t len;

  etag += strspn (etag, " \t\r\n");
  /* The grammar knows only W/, but servers that write w/ mean the same. */
  const bool weak = strncasecmp (etag, "W/", 2) == 0;
  if (weak)
    etag += 2;
  for (len = strlen (etag); len > 0 && strchr (" \t\r\n", etag[len - 1]); len--)
    ;
  if (ret_weak)
    *ret_weak = weak;
  return strndup (etag, len);
}

/* Reads digits up to the first other byte, at which *text is left. */
static int
read_number (const char **text, uint64_t *ret_number)
{
  uint64_t number = 0;
  const char *from = *text;

  if (*from < '0' || *from > '9')
    return -1;
  for (; *from >= '0' && *from <= '9'; from++) {
    if (number > (uint64_t) (INT64_MAX - (*from - '0')) / 10)
      return -1;
    number = number * 10 + (*from - '0');
  }
  *text = from;
  *ret_number = number;
  return 0;
}

int
davtext_parse_number (const char *text, uint64_t *ret_number)
{
  text += strspn (text, " \t\r\n");
  if (read_number (&text, ret_number) == -1)
    return -1;
  text += strspn (text, " \t\r\n");
  return *text ? -1 : 0;
}

int
davtext_parse_content_range (const char *text, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total)
{
  if (strncasecmp (text, "bytes", 5) != 0)
    return -1;
  text += 5;
  /* "bytes=" is wrong, and seen. */
  if (*text != ' ' && *text != '=')
    return -1;
  text++;
  text += strspn (text, " ");
  if (read_number (&text, ret_first) == -1 || *text++ != '-' || read_number (&text, ret_last) == -1 || *text++ != '/')
    return -1;
  if (strcmp (text, "*") == 0)
    *ret_total = UINT64_MAX;
  else if (davtext_parse_number (text, ret_total) == -1)
    return -1;
  return *ret_first > *ret_last || *ret_last >= *ret_total ? -1 : 0;
}

char *
davtext_best_checksum (const char *text)
{
  static const struct {
    const char *name;
    size_t digits;
  } kinds[] = { { "SHA256", 64 }, { "SHA1", 40 }, { "MD5", 32 } };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    const size_t name_len = strlen (kinds[i].name);

    for (const char *word = text; *word; word += strcspn (word, " \t\r\n")) {
      char *checksum;

      word += strspn (word, " \t\r\n");
      if (strncasecmp (word, kinds[i].name, name_len) != 0 || word[name_len] != ':' ||
          strspn (word + name_len + 1, "0123456789abcdefABCDEF") != kinds[i].digits ||
          strcspn (word, " \t\r\n") != name_len + 1 + kinds[i].digits)
        continue;
      if (asprintf (&checksum, "%s:%.*s", kinds[i].name, (int) kinds[i].digits, word + name_len + 1) == -1)
        return NULL;
      for (char *c = checksum + name_len + 1; *c; c++)
        if (*c >= 'A' && *c <= 'F')
          *c += 'a' - 'A';
      return checksum;
    }
  }
  return NULL;
}
