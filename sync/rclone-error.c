/* SPDX-License-Identifier: BSD-3-Clause */
/* What rclone says: errors, and lines of its log.  It has no codes: errors are sentences, put together of those of the
 * remote's own software. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "rclone-text.h"

/* First match counts, in any case.  What makes others look like something else comes first: a limit of requests is
 * told with 403, too. */
static const struct {
  const char *text;
  enum cloud_result result;
  const char *why;
} errors[] = {
  { "didn't find section in config file", CLOUD_GONE, "rclone's configuration has no remote of this name (`rclone "
    "listremotes` shows those that it has; rclone-config= names another file)" },
  { "didn't find backend called", CLOUD_GONE, "this rclone does not know this kind of remote" },
  { "is a file not a directory", CLOUD_BAD, "this is a file, not a folder" },
  { "couldn't decrypt configuration", CLOUD_AUTH, "rclone's configuration is encrypted: its password belongs into "
    "RCLONE_CONFIG_PASS" },
  { "unable to decrypt configuration", CLOUD_AUTH, "rclone's configuration is encrypted: its password belongs into "
    "RCLONE_CONFIG_PASS" },
  { "ratelimit", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "rate limit", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "rate_limit", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "too many requests", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "too_many_", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "error 429", CLOUD_BUSY, "the cloud asks for fewer requests" },
  { "quota", CLOUD_FULL, "the quota is used up" },
  { "insufficient_space", CLOUD_FULL, "the cloud has no room left" },
  { "insufficient storage", CLOUD_FULL, "the cloud has no room left" },
  { "no space left", CLOUD_FULL, "there is no room left" },
  { "storage_limit_exceeded", CLOUD_FULL, "the cloud has no room left" },
  { "directory not empty", CLOUD_EXISTS, "the folder is not empty" },
  { "file exists", CLOUD_EXISTS, "there is something by that name already" },
  { "is a directory not a file", CLOUD_EXISTS, "this is a folder, not a file" },
  { "corrupted on transfer", CLOUD_BAD, "the cloud has stored other bytes than were sent" },
  { "directory not found", CLOUD_GONE, "there is no such folder" },
  { "bucket not found", CLOUD_GONE, "there is no such bucket" },
  { "nosuchbucket", CLOUD_GONE, "there is no such bucket" },
  { "object not found", CLOUD_GONE, "there is no such file" },
  { "no such file or directory", CLOUD_GONE, "there is no such file or folder" },
  { "not a directory", CLOUD_GONE, "there is no such folder" },
  { "file name too long", CLOUD_REFUSED, "the cloud does not take names of this length" },
  { "name too long", CLOUD_REFUSED, "the cloud does not take names of this length" },
  { "keytoolong", CLOUD_REFUSED, "the cloud does not take names of this length" },
  { "malformed_path", CLOUD_REFUSED, "the cloud does not take this name" },
  { "disallowed_name", CLOUD_REFUSED, "the cloud does not take this name" },
  { "invalid argument", CLOUD_REFUSED, "the cloud does not take this name" },
  { "file too large", CLOUD_REFUSED, "the cloud does not take files of this size" },
  { "entity too large", CLOUD_REFUSED, "the cloud does not take files of this size" },
  { "entitytoolarge", CLOUD_REFUSED, "the cloud does not take files of this size" },
  { "couldn't connect", CLOUD_OFFLINE, "the cloud is not reached" },
  { "connection refused", CLOUD_OFFLINE, "the cloud is not reached" },
  { "connection reset", CLOUD_OFFLINE, "the connection to the cloud was lost" },
  { "no such host", CLOUD_OFFLINE, "the cloud's name is not known" },
  { "server misbehaving", CLOUD_OFFLINE, "the cloud's name is not known" },
  { "no route to host", CLOUD_OFFLINE, "the cloud is not reached" },
  { "network is unreachable", CLOUD_OFFLINE, "the cloud is not reached" },
  { "dial tcp", CLOUD_OFFLINE, "the cloud is not reached" },
  { "i/o timeout", CLOUD_OFFLINE, "the cloud does not answer" },
  { "tls handshake", CLOUD_OFFLINE, "the cloud is not reached" },
  { "x509:", CLOUD_OFFLINE, "the cloud's certificate is not accepted" },
  { "deadline exceeded", CLOUD_OFFLINE, "the cloud does not answer" },
  { "unexpected eof", CLOUD_OFFLINE, "the connection to the cloud was lost" },
  { "job not found", CLOUD_OFFLINE, "rclone was started anew" },
  { "context canceled", CLOUD_OFFLINE, "rclone was told to stop" },
  { "401 unauthorized", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "401 invalid", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "unauthenticated", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "invalid_grant", CLOUD_AUTH, "the cloud's permission has ended: `rclone config reconnect` asks for a new one" },
  { "cannot fetch token", CLOUD_AUTH, "the cloud's permission has ended: `rclone config reconnect` asks for a new one" },
  { "couldn't fetch token", CLOUD_AUTH, "the cloud's permission has ended: `rclone config reconnect` asks for a new "
    "one" },
  { "empty token found", CLOUD_AUTH, "the remote was never connected: `rclone config reconnect` does that" },
  { "invalidaccesskeyid", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "signaturedoesnotmatch", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "unable to authenticate", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "login incorrect", CLOUD_AUTH, "the cloud does not accept who we are" },
  { "403 forbidden", CLOUD_DENIED, "the cloud denies access" },
  { "accessdenied", CLOUD_DENIED, "the cloud denies access" },
  { "access denied", CLOUD_DENIED, "the cloud denies access" },
  { "permission denied", CLOUD_DENIED, "access is denied" },
  { "read-only file system", CLOUD_DENIED, "the file system is read-only" },
  { "insufficientpermissions", CLOUD_DENIED, "the cloud denies access" },
};

/* A copy in lower case in which the item's path and name are blanks. */
static char *
normal_text (const char *error, const char *path)
{
  const char *slash = path ? strrchr (path, '/') : NULL, *name = slash ? slash + 1 : path;
  const char *const hidden[] = { path, name };
  char *text = strdup (error);

  if (text == NULL)
    return NULL;
  for (size_t i = 0; i < 2; i++) {
    const size_t len = hidden[i] ? strlen (hidden[i]) : 0;

    /* One that is so short would blank what tells. */
    if (len < 4)
      continue;
    for (char *at = text; (at = strstr (at, hidden[i])) != NULL; at += len)
      memset (at, ' ', len);
  }
  for (char *at = text; *at; at++)
    if (*at >= 'A' && *at <= 'Z')
      *at += 'a' - 'A';
  return text;
}

enum cloud_result
rclone_error_judge (int status, const char *error, const char *path, const char **ret_why)
{
  CLEANUP_FREE char *text = normal_text (error ? error : "", path);

  *ret_why = NULL;
  if (text == NULL)
    return CLOUD_LOCAL;
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
    if (strstr (text, errors[i].text)) {
      *ret_why = errors[i].why;
      return errors[i].result;
    }
  switch (status) {
  case 401:
    *ret_why = "rclone's remote control asks for another user and password: give user= and password=";
    return CLOUD_AUTH;
  case 403:
    *ret_why = "rclone's remote control does not allow this";
    return CLOUD_DENIED;
  case 404:
    return CLOUD_GONE;
  case 400:
  case 405:
    return CLOUD_BAD;
  }
  return status / 100 == 5 ? CLOUD_BUSY : CLOUD_BAD;
}

/* ---- for people ---- */

#define LONGEST 240

/* Ends of what may belong to a URL. */
static bool
ends_url (char c)
{
  return c == '\0' || (unsigned char) c <= ' ' || strchr ("\"'<>`", c) != NULL;
}

char *
rclone_error_clean (const char *text)
{
  char *clean = malloc (LONGEST + 8), *to = clean;
  bool in_url = false, in_query = false;

  if (clean == NULL)
    return NULL;
  while ((unsigned char) *text <= ' ' && *text)
    text++;
  for (; *text && to < clean + LONGEST; text++) {
    const char c = (unsigned char) *text < ' ' || *text == 0x7f ? ' ' : *text;

    if (ends_url (c))
      in_url = in_query = false;
    if (in_query || (c == ' ' && to > clean && to[-1] == ' '))
      continue;
    if (in_url && (c == '?' || c == '#')) {
      in_query = true;
      continue;
    }
    *to++ = c;
    if (c == '/' && to - clean >= 3 && strncmp (to - 3, "://", 3) == 0) {
      size_t host = 0, at = 0;

      /* A user and a password end at the last '@' of the authority. */
      for (; !ends_url (text[1 + host]) && strchr ("/?#", text[1 + host]) == NULL; host++)
        if (text[1 + host] == '@')
          at = host + 1;
      text += at;
      in_url = true;
    }
  }
  if (*text) {
    /* Not within a character. */
    while (to > clean && ((unsigned char) to[-1] & 0xc0) == 0x80)
      to--;
    if (to > clean && (unsigned char) to[-1] >= 0xc0)
      to--;
    to = stpcpy (to, "...");
  }
  while (to > clean && to[-1] == ' ')
    to--;
  *to = '\0';
  return clean;
}

/* "2026/11/23 04:42:48 ERROR : text": behind the date. */
static const char *
after_date (const char *line)
{
  if (strlen (line) > 20 && strspn (line, "0123456789/") == 10 && line[10] == ' ' &&
      strspn (line + 11, "0123456789:.") >= 8) {
    line += 11 + strspn (line + 11, "0123456789:.");
    line += strspn (line, " ");
  }
  return line;
}

/* Behind "LEVEL :", or NULL where the line does not begin with it. */
static const char *
after_level (const char *line, const char *level)
{
  const size_t len = strlen (level);

  if (strncmp (line, level, len) != 0 || line[len + strspn (line + len, " ")] != ':')
    return NULL;
  line += len + strspn (line + len, " ") + 1;
  return line + strspn (line, " ");
}

static const char *const levels[] = {
  "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "EMERGENCY", "ALERT", "CRITICAL",
};

#define ROUTINE_LEVELS 5

const char *
rclone_line_text (const char *line)
{
  line = after_date (line);
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
    const char *text = after_level (line, levels[i]);

    if (text)
      return text;
  }
  return line;
}

bool
rclone_line_is_routine (const char *line)
{
  line = after_date (line);
  for (size_t i = 0; i < ROUTINE_LEVELS; i++)
    if (after_level (line, levels[i]))
      return true;
  return false;
}

char *
rclone_line_address (const char *line)
{
  static const char before[] = "Serving remote control on ", scheme[] = "http://127.0.0.1:";
  const char *at = strstr (line, before);
  size_t n;

  if (at == NULL)
    return NULL;
  at += strlen (before);
  /* Newer ones print a list. */
  if (*at == '[')
    at++;
  if (strncmp (at, scheme, strlen (scheme)) != 0)
    return NULL;
  n = strspn (at + strlen (scheme), "0123456789");
  return n < 1 || n > 5 ? NULL : strndup (at, strlen (scheme) + n);
}
