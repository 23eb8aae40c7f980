/* SPDX-License-Identifier: BSD-3-Clause */
/* Remotes, items, tokens and features of rclone's remote control. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "davtext.h"
#include "localitem.h"
#include "msg.h"
#include "rclone-text.h"

/* ---- the remote ---- */

#define SCHEME "rclone:"

bool
rclone_remote_is_ours (const char *text)
{
  return strncasecmp (text, SCHEME, strlen (SCHEME)) == 0;
}

void
rclone_remote_free (struct rclone_remote *remote)
{
  free (remote->name);
  free (remote->path);
  free (remote->fs);
  free (remote->identity);
  memset (remote, 0, sizeof *remote);
}

static bool
is_plain (const char *text)
{
  for (; *text; text++)
    if ((unsigned char) *text < 0x20 || *text == 0x7f)
      return false;
  return true;
}

/* What rclone takes as the name of a remote (rclone documentation, "Valid remote names").  Anything more (":TYPE,KEY=VALUE")
 * may hold passwords, and would be said in messages. */
static bool
is_name (const char *name, size_t len)
{
  if (len == 0 || *name == '-' || *name == ' ' || name[len - 1] == ' ')
    return false;
  for (size_t i = 0; i < len; i++) {
    const unsigned char c = name[i];

    if (c < 0x80 && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
        strchr ("_-.+@ ", c) == NULL)
      return false;
  }
  return true;
}

int
rclone_remote_parse (const char *text, struct rclone_remote *remote)
{
  const char *name = text + strlen (SCHEME), *colon = strchr (name, ':'), *path;
  size_t len;

  memset (remote, 0, sizeof *remote);
  if (colon == NULL || !is_name (name, colon - name)) {
    msg_error ("remote=rclone: is followed by the name of a remote as `rclone listremotes` shows it, a colon, and a path: "
               "rclone:NAME:PATH");
    return -1;
  }
  path = colon + 1;
  if (!is_plain (path)) {
    msg_error ("the path behind remote=rclone:%.*s: has a control character in it", (int) (colon - name), name);
    return -1;
  }
  len = strlen (path);
  while (len > 1 && path[len - 1] == '/')
    len--;
  remote->name = strndup (name, colon - name);
  remote->path = strndup (path, len);
  if (remote->name == NULL || remote->path == NULL ||
      asprintf (&remote->fs, "%s:%s", remote->name, remote->path) == -1) {
    remote->fs = NULL;
    goto no_memory;
  }
  if (asprintf (&remote->identity, SCHEME "%s", remote->fs) == -1) {
    remote->identity = NULL;
    goto no_memory;
  }
  return 0;

 no_memory:
  rclone_remote_free (remote);
  msg_error ("out of memory");
  return -1;
}

/* Between the remote's path and one below it. */
static const char *
slash (const char *base, const char *path)
{
  return *base == '\0' || *path == '\0' || base[strlen (base) - 1] == '/' ? "" : "/";
}

char *
rclone_remote_fs (const struct rclone_remote *remote, const char *path)
{
  char *fs;

  return asprintf (&fs, "%s:%s%s%s", remote->name, remote->path, slash (remote->path, path), path) == -1 ? NULL : fs;
}

/* rclone (1.60 to 1.71, fs/rc/rcserver) takes the decoded path apart at its first ']': what has one goes behind it. */
char *
rclone_remote_url_path (const struct rclone_remote *remote, const char *path)
{
  const bool split = strchr (remote->path, ']') != NULL, absolute = remote->path[0] == '/';
  CLEANUP_FREE char *plain = NULL, *encoded = NULL;
  char *url;
  int r;

  if (split)
    r = asprintf (&plain, "[%s:%s]/%s%s%s", remote->name, absolute ? "/" : "", remote->path + (absolute ? 1 : 0),
                  slash (remote->path, path), path);
  else
    r = asprintf (&plain, "[%s]/%s", remote->fs, path);
  if (r == -1) {
    plain = NULL;
    return NULL;
  }
  encoded = davtext_encode (plain);
  return encoded == NULL || asprintf (&url, "/%s", encoded) == -1 ? NULL : url;
}

/* ---- reading JSON ---- */

static struct json_object *
member (struct json_object *object, const char *key, enum json_type type)
{
  struct json_object *value;

  if (!json_object_is_type (object, json_type_object) || !json_object_object_get_ex (object, key, &value) ||
      !json_object_is_type (value, type))
    return NULL;
  return value;
}

/* A string without NUL in it, or NULL. */
static const char *
text_of (struct json_object *value)
{
  const char *text = value ? json_object_get_string (value) : NULL;

  return text && strlen (text) == (size_t) json_object_get_string_len (value) ? text : NULL;
}

static bool
flag (struct json_object *object, const char *key)
{
  struct json_object *value = member (object, key, json_type_boolean);

  return value && json_object_get_boolean (value);
}

/* ---- features ---- */

/* Above, rclone means that the remote keeps no times (fs.ModTimeNotSupported is 100 years). */
#define NO_TIMES_NS (INT64_C (31536000) * 1000000000)

static bool
has_hash (struct json_object *hashes, const char *kind)
{
  for (size_t i = 0; i < json_object_array_length (hashes); i++) {
    struct json_object *value = json_object_array_get_idx (hashes, i);
    const char *name = json_object_is_type (value, json_type_string) ? text_of (value) : NULL;

    if (name && strcmp (name, kind) == 0)
      return true;
  }
  return false;
}

/* Those that we can verify come first. */
static void
choose_hash (struct json_object *hashes, struct rclone_features *features)
{
  static const char *const kinds[] = {
    "sha1", "md5", "sha256", "quickxor", "dropbox", "hidrive", "mailru", "whirlpool", "crc32",
  };

  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (has_hash (hashes, kinds[i])) {
      snprintf (features->hash, sizeof features->hash, "%s", kinds[i]);
      return;
    }
}

int
rclone_features_read (struct json_object *answer, struct rclone_features *features, const char **ret_why)
{
  struct json_object *list = member (answer, "Features", json_type_object);
  struct json_object *hashes = member (answer, "Hashes", json_type_array);
  struct json_object *precision = member (answer, "Precision", json_type_int), *unused;

  memset (features, 0, sizeof *features);
  if (list == NULL || precision == NULL) {
    *ret_why = "it does not say what the remote can do";
    return -1;
  }
  features->empty_folders = flag (list, "CanHaveEmptyDirectories");
  features->move = flag (list, "Move");
  features->move_folder = flag (list, "DirMove");
  /* Before rclone knew the difference, only local files were known to be slow. */
  features->slow_hash = json_object_object_get_ex (list, "SlowHash", &unused) ? flag (list, "SlowHash") :
    flag (list, "IsLocal");
  features->slow_mtime = flag (list, "SlowModTime");
  features->precision_ns = json_object_get_int64 (precision);
  features->keeps_mtime = features->precision_ns >= 0 && features->precision_ns < NO_TIMES_NS;
  if (hashes && !features->slow_hash)
    choose_hash (hashes, features);
  return 0;
}

/* ---- items ---- */

void
rclone_seen_clear (struct rclone_seen *seen)
{
  free (seen->token);
  free (seen->checksum);
  free (seen->mime);
  memset (seen, 0, sizeof *seen);
}

bool
rclone_is_own (const char *name)
{
  const size_t n = strlen (RCLONE_MOVING_PREFIX);

  return localitem_is_own (name) != LOCALITEM_NOT_OWN || strcmp (name, RCLONE_MARKER) == 0 ||
    (strncmp (name, RCLONE_MOVING_PREFIX, n) == 0 && strspn (name + n, "0123456789abcdef") == 16 &&
     name[n + 16] == '\0');
}

void
rclone_moving_name (const char *path, char name[64])
{
  uint64_t hash = UINT64_C (0xcbf29ce484222325);

  /* FNV-1a: only to tell one folder's move from another's. */
  for (; *path; path++)
    hash = (hash ^ (unsigned char) *path) * UINT64_C (0x100000001b3);
  snprintf (name, 64, RCLONE_MOVING_PREFIX "%016llx", (unsigned long long) hash);
}

/* RFC 3629, 4: without overlong forms, surrogates, and what is beyond U+10FFFF. */
bool
rclone_is_utf8 (const char *text)
{
  const unsigned char *at = (const unsigned char *) text;

  while (*at) {
    const unsigned char c = *at++;
    const int more = c < 0x80 ? 0 : c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : -1;

    if (more == -1 || (c == 0xe0 && *at < 0xa0) || (c == 0xed && *at > 0x9f) || (c == 0xf0 && *at < 0x90) ||
        (c == 0xf4 && *at > 0x8f))
      return false;
    for (int i = 0; i < more; i++)
      if ((*at++ & 0xc0) != 0x80)
        return false;
  }
  return true;
}

static int
digits (const char **at, int n, int lowest, int highest, int *ret)
{
  int value = 0;

  for (int i = 0; i < n; i++) {
    const char c = **at;

    if (c < '0' || c > '9')
      return -1;
    value = value * 10 + (c - '0');
    ++*at;
  }
  *ret = value;
  return value < lowest || value > highest ? -1 : 0;
}

static int
expect (const char **at, char c)
{
  return *(*at)++ == c ? 0 : -1;
}

int
rclone_time_read (const char *text, struct timespec *ret_time)
{
  struct tm tm = { 0 };
  long nsec = 0, scale = 100000000;
  int sign = 0, hours = 0, minutes = 0;

  if (digits (&text, 4, 0, 9999, &tm.tm_year) == -1 || expect (&text, '-') == -1 ||
      digits (&text, 2, 1, 12, &tm.tm_mon) == -1 || expect (&text, '-') == -1 ||
      digits (&text, 2, 1, 31, &tm.tm_mday) == -1 || expect (&text, 'T') == -1 ||
      digits (&text, 2, 0, 23, &tm.tm_hour) == -1 || expect (&text, ':') == -1 ||
      digits (&text, 2, 0, 59, &tm.tm_min) == -1 || expect (&text, ':') == -1 ||
      digits (&text, 2, 0, 60, &tm.tm_sec) == -1)
    return -1;
  if (*text == '.')
    for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
      nsec += (*text - '0') * scale;
  if (*text == '+' || *text == '-') {
    sign = *text++ == '+' ? 1 : -1;
    if (digits (&text, 2, 0, 23, &hours) == -1 || expect (&text, ':') == -1 ||
        digits (&text, 2, 0, 59, &minutes) == -1)
      return -1;
  }
  else if (*text++ != 'Z')
    return -1;
  if (*text != '\0')
    return -1;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  ret_time->tv_sec = timegm (&tm) - sign * (hours * 3600 + minutes * 60);
  ret_time->tv_nsec = nsec;
  return 0;
}

/* The hash that tokens are made with, or NULL. */
static const char *
hash_of (struct json_object *entry, const struct rclone_features *features)
{
  struct json_object *hashes = *features->hash ? member (entry, "Hashes", json_type_object) : NULL;
  const char *hash = hashes ? text_of (member (hashes, features->hash, json_type_string)) : NULL;

  return hash && *hash && strlen (hash) <= 256 && is_plain (hash) ? hash : NULL;
}

static char *
checksum_of (const struct rclone_features *features, const char *hash)
{
  static const struct {
    const char *kind, *prefix;
    size_t len;
  } kinds[] = { { "sha1", "SHA1:", 40 }, { "md5", "MD5:", 32 }, { "sha256", "SHA256:", 64 } };
  char *checksum;

  for (size_t i = 0; hash && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strcmp (features->hash, kinds[i].kind) == 0 && strlen (hash) == kinds[i].len &&
        strspn (hash, "0123456789abcdefABCDEF") == kinds[i].len)
      return asprintf (&checksum, "%s%s", kinds[i].prefix, hash) == -1 ? NULL : checksum;
  return NULL;
}

static int
make_token (struct rclone_seen *seen, const struct rclone_features *features, const char *hash)
{
  const unsigned long long size = seen->size;
  const long long sec = seen->mtime.tv_sec;
  int r;

  if (hash && !features->keeps_mtime)
    r = asprintf (&seen->token, "%llu-%s", size, hash);
  else
    r = asprintf (&seen->token, "%llu-%lld.%09ld%s%s", size, sec, seen->mtime.tv_nsec, hash ? "-" : "",
                  hash ? hash : "");
  if (r == -1)
    seen->token = NULL;
  return r == -1 ? -1 : 0;
}

int
rclone_entry_read (struct json_object *entry, const struct rclone_features *features, struct rclone_seen *seen,
                   const char **ret_name, const char **ret_why)
{
  struct json_object *name = member (entry, "Name", json_type_string), *size = member (entry, "Size", json_type_int);
  struct json_object *is_folder = member (entry, "IsDir", json_type_boolean);
  const char *mtime = text_of (member (entry, "ModTime", json_type_string));
  const char *mime = text_of (member (entry, "MimeType", json_type_string));
  const char *text, *hash;

  memset (seen, 0, sizeof *seen);
  *ret_why = NULL;
  if (name == NULL || is_folder == NULL) {
    *ret_name = "";
    *ret_why = "an item without a name, or without saying whether it is a folder";
    return -1;
  }
  text = *ret_name = json_object_get_string (name);
  seen->what = json_object_get_boolean (is_folder) ? RCLONE_FOLDER : RCLONE_FILE;
  if (text_of (name) == NULL || strchr (text, '/') || strcmp (text, ".") == 0 || strcmp (text, "..") == 0) {
    *ret_why = "its name means something else in paths";
    return 1;
  }
  /* What is no UTF-8 cannot be told in JSON: rclone puts U+FFFD in its place, and does not find it by that. */
  if (strstr (text, "\357\277\275")) {
    *ret_why = "its name is not valid UTF-8, and rclone cannot tell it";
    return 1;
  }
  if (mtime && rclone_time_read (mtime, &seen->mtime) == -1)
    seen->mtime = (struct timespec) { 0 };
  seen->arrival = !features->keeps_mtime || features->slow_mtime;
  if (seen->what == RCLONE_FOLDER)
    return 0;
  if (size == NULL || json_object_get_int64 (size) < 0) {
    *ret_why = "the cloud does not say its size (a document that exists only online?)";
    return 1;
  }
  seen->size = json_object_get_int64 (size);
  hash = hash_of (entry, features);
  seen->hashed = hash != NULL;
  seen->checksum = checksum_of (features, hash);
  seen->mime = mime && *mime && strlen (mime) <= 256 && is_plain (mime) ? strdup (mime) : NULL;
  if (make_token (seen, features, hash) == -1) {
    rclone_seen_clear (seen);
    return -1;
  }
  return 0;
}

/* A write within this time could leave size and time as they are. */
#define FINE_NS INT64_C (50000000)
#define COARSE_NS INT64_C (2000000000)

struct cloud_item
rclone_seen_item (const struct rclone_seen *seen, const char *name, const struct rclone_features *features,
                  const struct timespec *now)
{
  const int64_t window = features->precision_ns <= 1000000 && !features->slow_mtime ? FINE_NS : COARSE_NS;
  const int64_t s = now->tv_sec - seen->mtime.tv_sec;
  const int64_t age = s > 3600 || s < -3600 ? COARSE_NS : s * 1000000000 + now->tv_nsec - seen->mtime.tv_nsec;

  return (struct cloud_item) {
    .name = name,
    .is_folder = seen->what == RCLONE_FOLDER,
    .size = seen->size,
    .mtime = seen->mtime,
    .token = seen->token,
    .checksum = seen->checksum,
    .mime = seen->mime,
    .arrival = seen->arrival,
    .settled = seen->what == RCLONE_FOLDER || seen->hashed || age >= window || age <= -window,
  };
}
