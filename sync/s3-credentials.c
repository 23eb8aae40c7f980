/* SPDX-License-Identifier: BSD-3-Clause */
/* Whose keys requests are signed with, and for which region. */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "cloud.h"
#include "msg.h"
#include "s3-credentials.h"

/* A file of a person's, not a disk. */
#define LONGEST_FILE (1024 * 1024)

static const char *
environment (const char *name)
{
  const char *value = getenv (name);

  return value && *value ? value : NULL;
}

/* ---- files ---- */

/* Without space around; *end is behind it. */
static const char *
trim (const char *text, const char **end)
{
  while (text < *end && isspace ((unsigned char) *text))
    text++;
  while (*end > text && isspace ((unsigned char) (*end)[-1]))
    (*end)--;
  return text;
}

static bool
is_text (const char *text, const char *end, const char *wanted)
{
  return (size_t) (end - text) == strlen (wanted) && strncmp (text, wanted, end - text) == 0;
}

char *
s3_ini_value (const char *text, const char *section, const char *key)
{
  bool inside = false;

  for (const char *line = text; *line;) {
    const char *next = strchrnul (line, '\n'), *end = next, *equals, *name_end;
    const char *begin = trim (line, &end);

    if (begin < end && *begin == '[') {
      begin++;
      if (end > begin && end[-1] == ']')
        end--;
      begin = trim (begin, &end);
      inside = is_text (begin, end, section);
    }
    /* What is indented belongs to the key before it ("s3 =" with settings of its own below). */
    else if (inside && begin == line && begin < end && *begin != '#' && *begin != ';' &&
             (equals = memchr (begin, '=', end - begin)) != NULL) {
      name_end = equals;
      begin = trim (begin, &name_end);
      if (is_text (begin, name_end, key)) {
        const char *value = trim (equals + 1, &end);

        return value < end ? strndup (value, end - value) : NULL;
      }
    }
    line = *next ? next + 1 : next;
  }
  return NULL;
}

/* The text of a file named by the environment, or below the home folder.  NULL where it cannot be read. */
static char *
read_file (const char *variable, const char *below_home)
{
  const char *path = environment (variable), *home = environment ("HOME");
  CLEANUP_FREE char *made = NULL;
  char *text = NULL;
  FILE *file;
  size_t n;

  if (path == NULL) {
    if (home == NULL || asprintf (&made, "%s/%s", home, below_home) == -1) {
      made = NULL;
      return NULL;
    }
    path = made;
  }
  file = fopen (path, "re");
  if (file == NULL) {
    if (errno != ENOENT || made == NULL)
      msg_notice ("%s: %m", path);
    return NULL;
  }
  text = malloc (LONGEST_FILE + 1);
  if (text) {
    n = fread (text, 1, LONGEST_FILE, file);
    text[n] = '\0';
  }
  fclose (file);
  return text;
}

static const char *
profile (void)
{
  const char *name = environment ("AWS_PROFILE");

  return name ? name : "default";
}

bool
s3_credentials_reread (struct s3_credentials *credentials)
{
  CLEANUP_FREE char *text = read_file ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
  struct s3_credentials found = { NULL };

  if (text == NULL)
    return false;
  found.access = s3_ini_value (text, profile (), "aws_access_key_id");
  found.secret = s3_ini_value (text, profile (), "aws_secret_access_key");
  found.session = s3_ini_value (text, profile (), "aws_session_token");
  explicit_bzero (text, strlen (text));
  if (found.access == NULL || found.secret == NULL) {
    s3_credentials_free (&found);
    return false;
  }
  s3_credentials_free (credentials);
  *credentials = found;
  return true;
}

void
s3_credentials_free (struct s3_credentials *credentials)
{
  if (credentials->secret)
    explicit_bzero (credentials->secret, strlen (credentials->secret));
  free (credentials->access);
  free (credentials->secret);
  free (credentials->session);
  memset (credentials, 0, sizeof *credentials);
}

/* ---- all together ---- */

static char *
region_of_file (void)
{
  CLEANUP_FREE char *text = read_file ("AWS_CONFIG_FILE", ".aws/config"), *section = NULL;

  if (text == NULL)
    return NULL;
  if (strcmp (profile (), "default") == 0)
    return s3_ini_value (text, "default", "region");
  if (asprintf (&section, "profile %s", profile ()) == -1) {
    section = NULL;
    return NULL;
  }
  return s3_ini_value (text, section, "region");
}

static bool
is_region (const char *region)
{
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  const size_t len = strlen (region);

  return len > 0 && len < 64 && strspn (region, allowed) == len;
}

/* Copies text unless it is NULL. */
static bool
copy (char **to, const char *text)
{
  return text == NULL || (*to = strdup (text)) != NULL;
}

int
s3_settings_read (const struct cloud_config *config, struct s3_settings *settings)
{
  struct s3_credentials *credentials = &settings->credentials;
  const char *region = config->region, *endpoint = config->endpoint;
  bool ok = true;

  memset (settings, 0, sizeof *settings);
  if ((config->access_key == NULL) != (config->secret_key == NULL)) {
    msg_error ("access-key= and secret-key= belong together: give both");
    return -1;
  }
  if (config->access_key)
    ok = copy (&credentials->access, config->access_key) && copy (&credentials->secret, config->secret_key);
  else if (environment ("AWS_ACCESS_KEY_ID") && environment ("AWS_SECRET_ACCESS_KEY"))
    ok = copy (&credentials->access, environment ("AWS_ACCESS_KEY_ID")) &&
      copy (&credentials->secret, environment ("AWS_SECRET_ACCESS_KEY")) &&
      copy (&credentials->session, environment ("AWS_SESSION_TOKEN"));
  else
    settings->from_file = s3_credentials_reread (credentials);

  if (region == NULL)
    region = environment ("AWS_REGION");
  if (region == NULL)
    region = environment ("AWS_DEFAULT_REGION");
  if (region == NULL)
    settings->region = region_of_file ();
  if (settings->region == NULL)
    ok &= copy (&settings->region, region ? region : "us-east-1");
  if (endpoint == NULL)
    endpoint = environment ("AWS_ENDPOINT_URL_S3");
  if (endpoint == NULL)
    endpoint = environment ("AWS_ENDPOINT_URL");
  ok &= copy (&settings->endpoint, endpoint);
  if (!ok)
    msg_error ("out of memory");
  else if (!is_region (settings->region)) {
    msg_error ("region=%s: this is no name of a region", settings->region);
    ok = false;
  }
  if (!ok) {
    s3_settings_free (settings);
    return -1;
  }
  return 0;
}

void
s3_settings_free (struct s3_settings *settings)
{
  s3_credentials_free (&settings->credentials);
  free (settings->region);
  free (settings->endpoint);
  memset (settings, 0, sizeof *settings);
}
