/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of the plugin. */

#include <config.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "cleanup.h"
#include "junk.h"
#include "msg.h"
#include "params-file.h"
#include "params.h"
#include "rate.h"

struct params params = {
  .sslverify = true, .live = true, .connections = 16, .timeout_s = 30, .poll_s = 30, .retry_s = 1, .linger_s = 30,
  .settle_ms = 2000, .write_back_s = 5, .max_delete = 50,
};

/* As they were given, for params_reload: parameters of disks and virtual machines of the command line, and all of the file. */
struct given {
  char *key, *value;
};

static struct given *rules_given, *file_given;
static size_t n_rules_given, n_file_given;

/* While a file is read: where. */
static const char *reading;

/* ---- values ---- */

static int
set_text (char **to, const char *value)
{
  free (*to);
  *to = strdup (value);
  if (*to == NULL)
    msg_error ("out of memory");
  return *to ? 0 : -1;
}

static int
set_path (char **to, const char *value)
{
  free (*to);
  *to = nbdkit_absolute_path (value);
  return *to ? 0 : -1;
}

static int
set_secret (char **to, const char *value)
{
  free (*to);
  *to = NULL;
  return nbdkit_read_password (value, to);
}

static int
set_bool (bool *to, const char *value)
{
  const int r = nbdkit_parse_bool (value);

  if (r >= 0)
    *to = r;
  return r == -1 ? -1 : 0;
}

static int
set_size (uint64_t *to, const char *key, const char *value)
{
  const int64_t r = nbdkit_parse_size (value);

  if (r == -1)
    return -1;
  if (r == 0) {
    msg_error ("%s=%s: give a size in bytes, or with a suffix as in 64G", key, value);
    return -1;
  }
  *to = r;
  return 0;
}

/* Nextcloud's limits of a chunk. */
static int
set_chunk_size (const char *value)
{
  const int64_t r = nbdkit_parse_size (value);

  if (r == -1)
    return -1;
  if (r < 5 * 1024 * 1024 || r > INT64_C (5000000000)) {
    msg_error ("chunk-size=%s: give a size from 5M to 5000000000", value);
    return -1;
  }
  params.chunk_size = r;
  return 0;
}

/* Bytes a second. */
static int
set_rate (uint64_t *to, const char *key, const char *value)
{
  const int64_t r = nbdkit_parse_size (value);

  if (r == -1)
    return -1;
  if (r > 0 && r < RATE_LOWEST) {
    msg_error ("%s=%s: give bytes a second, 1K or more, as in 500K or 10M; or 0 for no limit", key, value);
    return -1;
  }
  *to = r;
  return 0;
}

static int
set_seconds (unsigned *to, const char *key, const char *value, unsigned min)
{
  unsigned seconds;

  if (nbdkit_parse_unsigned (key, value, &seconds) == -1)
    return -1;
  if (seconds < min || seconds > 86400 * 366) {
    msg_error ("%s=%s: give seconds, %u or more, and at most a year", key, value, min);
    return -1;
  }
  *to = seconds;
  return 0;
}

/* A word out of a list that ends with NULL; *to is its index. */
static int
set_word (int *to, const char *key, const char *value, const char *const words[])
{
  char list[128] = "";

  for (int i = 0; words[i]; ++i) {
    if (strcasecmp (value, words[i]) == 0) {
      *to = i;
      return 0;
    }
    strcat (list, i ? ", " : "");
    strcat (list, words[i]);
  }
  msg_error ("%s=%s: it can be one of %s", key, value, list);
  return -1;
}

/* local, utc, +HH:MM, -HH:MM, or a name of the time zone database. */
static int
set_timezone (const char *value)
{
  unsigned hours, minutes;
  char sign, rest;
  char path[PATH_MAX];
  struct stat st;

  free (params.timezone);
  params.timezone = NULL;
  if (strcasecmp (value, "local") == 0)
    return 0;
  if (strcasecmp (value, "utc") == 0)
    return set_text (&params.timezone, "UTC0");
  if (sscanf (value, "%c%2u:%2u%c", &sign, &hours, &minutes, &rest) == 3 && (sign == '+' || sign == '-') && hours <= 14 &&
      minutes < 60) {
    /* POSIX counts west of Greenwich as positive. */
    snprintf (path, sizeof path, "<%s>%c%02u:%02u", value, sign == '+' ? '-' : '+', hours, minutes);
    return set_text (&params.timezone, path);
  }
  snprintf (path, sizeof path, "/usr/share/zoneinfo/%s", value);
  if (strstr (value, "..") || value[0] == '/' || value[0] == '\0' || stat (path, &st) == -1 ||
      !S_ISREG (st.st_mode)) {
    msg_error ("timezone=%s: give local, utc, an offset like +02:00, or a name of the time zone database like"
                  " Europe/Berlin", value);
    return -1;
  }
  return set_text (&params.timezone, value);
}

static int
set_fetch (const char *value)
{
  static const char *const words[] = { "demand", "all", NULL };
  int word;

  if (set_word (&word, "fetch", value, words) == -1)
    return -1;
  params.fetch_all = word == 1;
  return 0;
}

static int
set_refresh (const char *value)
{
  static const char *const words[] = { "live", "attach", "unmount", NULL };
  int word;

  if (set_word (&word, "refresh", value, words) == -1)
    return -1;
  params.live = word != 1;
  params.unmount = word == 2;
  return 0;
}

/* Seconds with up to three decimals. */
static int
set_settle (const char *value)
{
  unsigned seconds, ms = 0;
  int n = 0, digits;

  if (sscanf (value, "%5u%n", &seconds, &n) != 1 || value[0] == '-' || value[0] == '+')
    goto bad;
  if (value[n] == '.') {
    digits = strspn (value + n + 1, "0123456789");
    if (digits < 1 || digits > 3 || value[n + 1 + digits] != '\0')
      goto bad;
    ms = atoi (value + n + 1);
    for (; digits < 3; ++digits)
      ms *= 10;
  }
  else if (value[n] != '\0')
    goto bad;
  if (seconds > 60 || (seconds == 0 && ms < 100))
    goto bad;
  params.settle_ms = seconds * 1000 + ms;
  return 0;

bad:
  msg_error ("settle=%s: give seconds from 0.1 to 60, as in 2 or 0.5", value);
  return -1;
}

static int
set_path_style (const char *value)
{
  bool yes = false;

  if (set_bool (&yes, value) == -1)
    return -1;
  params.path_style = yes ? CLOUD_PATH_STYLE_YES : CLOUD_PATH_STYLE_NO;
  return 0;
}

static int
set_max_delete (const char *value)
{
  char *end;
  const long n = strtol (value, &end, 10);

  if (end == value || (*end != '\0' && strcmp (end, "%") != 0) || n < 0 || n > 100) {
    msg_error ("max-delete=%s: give a share of all files from 0%% to 100%%", value);
    return -1;
  }
  params.max_delete = n;
  return 0;
}

static int
set_connections (const char *value)
{
  unsigned n;

  if (nbdkit_parse_unsigned ("connections", value, &n) == -1)
    return -1;
  if (n < 1 || n > 256) {
    msg_error ("connections=%s: give a number from 1 to 256", value);
    return -1;
  }
  params.connections = n;
  return 0;
}

/* ---- keys ---- */

/* A parameter that says something of disks or virtual machines, and so can be given anew while serving.  1: it was one. */
static int
set_rule (struct rules *rules, const char *key, const char *value, const char *where)
{
  static const char *const defaults[] = { "fs", "partition", "size", "label", NULL };
  int r = 1;

  if (strcmp (key, "disk") == 0)
    r = rules_add_disk (rules, value, where);
  else if (strcmp (key, "vm") == 0)
    r = rules_add_vm (rules, value, where);
  else {
    size_t i = 0;

    while (defaults[i] && strcmp (key, defaults[i]) != 0)
      ++i;
    if (defaults[i] == NULL)
      return 0;
    r = rules_set_default (rules, key, value, where);
  }
  return r == -1 ? -1 : 1;
}

static int
remember (struct given **list, size_t *n, const char *key, const char *value)
{
  struct given *more = realloc (*list, (*n + 1) * sizeof *more);

  if (more == NULL)
    goto no_memory;
  *list = more;
  more[*n].key = strdup (key);
  more[*n].value = strdup (value);
  if (more[*n].key == NULL || more[*n].value == NULL) {
    free (more[*n].key);
    free (more[*n].value);
    goto no_memory;
  }
  ++*n;
  return 0;

no_memory:
  msg_error ("out of memory");
  return -1;
}

static void
forget_given (struct given *list, size_t n)
{
  for (size_t i = 0; i < n; ++i) {
    free (list[i].key);
    free (list[i].value);
  }
  free (list);
}

/* A parameter that stays as it is while the server runs. */
static int
set_constant (const char *key, const char *value)
{
  if (strcmp (key, "remote") == 0) {
    if (params.remote) {
      msg_error ("remote= is given twice: one process serves one remote");
      return -1;
    }
    return set_text (&params.remote, value);
  }
  if (strcmp (key, "user") == 0)
    return set_text (&params.user, value);
  if (strcmp (key, "password") == 0)
    return set_secret (&params.password, value);
  if (strcmp (key, "token") == 0)
    return set_secret (&params.token, value);
  if (strcmp (key, "rclone-config") == 0)
    return set_path (&params.rclone_config, value);
  if (strcmp (key, "rclone-url") == 0)
    return set_text (&params.rclone_url, value);
  if (strcmp (key, "endpoint") == 0)
    return set_text (&params.endpoint, value);
  if (strcmp (key, "region") == 0)
    return set_text (&params.region, value);
  if (strcmp (key, "path-style") == 0)
    return set_path_style (value);
  if (strcmp (key, "access-key") == 0)
    return set_secret (&params.access_key, value);
  if (strcmp (key, "secret-key") == 0)
    return set_secret (&params.secret_key, value);
  if (strcmp (key, "cainfo") == 0)
    return set_path (&params.cainfo, value);
  if (strcmp (key, "sslverify") == 0)
    return set_bool (&params.sslverify, value);
  if (strcmp (key, "connections") == 0)
    return set_connections (value);
  if (strcmp (key, "timeout") == 0)
    return set_seconds (&params.timeout_s, key, value, 1);
  if (strcmp (key, "poll") == 0)
    return set_seconds (&params.poll_s, key, value, 1);
  if (strcmp (key, "retry") == 0)
    return set_seconds (&params.retry_s, key, value, 1);
  if (strcmp (key, "linger") == 0)
    return set_seconds (&params.linger_s, key, value, 0);
  if (strcmp (key, "refresh") == 0)
    return set_refresh (value);
  if (strcmp (key, "settle") == 0)
    return set_settle (value);
  if (strcmp (key, "write-back") == 0)
    return set_seconds (&params.write_back_s, key, value, 0);
  if (strcmp (key, "max-delete") == 0)
    return set_max_delete (value);
  if (strcmp (key, "max-dirty") == 0)
    return set_size (&params.max_dirty, key, value);
  if (strcmp (key, "ignore") == 0)
    return params.junk ? junk_add (params.junk, value) : -1;
  if (strcmp (key, "cache") == 0)
    return set_path (&params.cache_dir, value);
  if (strcmp (key, "cache-size") == 0)
    return set_size (&params.cache_size, key, value);
  if (strcmp (key, "fetch") == 0)
    return set_fetch (value);
  if (strcmp (key, "push") == 0)
    return set_text (&params.push, value);
  if (strcmp (key, "push-token") == 0)
    return set_secret (&params.push_token, value);
  if (strcmp (key, "chunk-size") == 0)
    return set_chunk_size (value);
  if (strcmp (key, "upload-rate") == 0)
    return set_rate (&params.upload_rate, key, value);
  if (strcmp (key, "download-rate") == 0)
    return set_rate (&params.download_rate, key, value);
  if (strcmp (key, "timezone") == 0)
    return set_timezone (value);
  msg_error ("unknown parameter %s=: see nbdkit-cloudshare-plugin(1)", key);
  return -1;
}

/* ---- the file ---- */

/* Where the message itself does not: rules say where they stand. */
static int
say_where (int r)
{
  if (r == -1 && reading)
    msg_error ("%s: that line was not understood", reading);
  return r;
}

static int
set_line (void *opaque, const char *key, const char *value, const char *where)
{
  int r;

  if (remember (&file_given, &n_file_given, key, value) == -1)
    return -1;
  if (strcmp (key, "config") == 0) {
    msg_error ("%s: config= cannot stand in such a file itself", where);
    return -1;
  }
  r = set_rule (params.rules, key, value, where);
  if (r != 0)
    return r == 1 ? 0 : -1;
  reading = where;
  r = say_where (set_constant (key, value));
  reading = NULL;
  return r;
}

static int
set_config (const char *value)
{
  if (params.config_file) {
    msg_error ("config= is given twice: give one file");
    return -1;
  }
  return set_path (&params.config_file, value) == -1 ? -1 : params_file_each (params.config_file, set_line, NULL);
}

/* ---- all of it ---- */

int
params_init (void)
{
  params.junk = junk_new ();
  params.rules = rules_new ();
  return params.junk && params.rules ? 0 : -1;
}

void
params_free (void)
{
  forget_given (rules_given, n_rules_given);
  forget_given (file_given, n_file_given);
  rules_free (params.rules);
  junk_free (params.junk);
  free (params.remote);
  free (params.user);
  free (params.password);
  free (params.token);
  free (params.cainfo);
  free (params.rclone_config);
  free (params.rclone_url);
  free (params.endpoint);
  free (params.region);
  free (params.access_key);
  free (params.secret_key);
  free (params.push);
  free (params.push_token);
  free (params.cache_dir);
  free (params.timezone);
  free (params.config_file);
}

int
params_set (const char *key, const char *value)
{
  int r;

  if (params.rules == NULL)
    return -1;
  if (strcmp (key, "config") == 0)
    return set_config (value);
  r = set_rule (params.rules, key, value, NULL);
  if (r == 1)
    return remember (&rules_given, &n_rules_given, key, value);
  return r == 0 ? set_constant (key, value) : -1;
}

int
params_complete (void)
{
  if (params.remote == NULL) {
    msg_error ("remote= is missing: give the URL of a WebDAV folder (https://...), s3://BUCKET/PREFIX, rclone:NAME:PATH, or the "
               "path of a local folder");
    return -1;
  }
  if (params.token && (params.user || params.password)) {
    msg_error ("token= and user=/password= are two ways to log in: give only one");
    return -1;
  }
  if (params.password && params.user == NULL) {
    msg_error ("password= needs user=");
    return -1;
  }
  if (params.user && params.password == NULL) {
    msg_error ("user= needs password=: password=- asks for it, password=+FILE reads it from a file");
    return -1;
  }
  if (params.fetch_all && params.cache_size) {
    msg_error ("fetch=all keeps a copy of everything, and cache-size= would throw parts of it away: give only one");
    return -1;
  }
  if (params.push_token && params.push == NULL) {
    msg_error ("push-token= needs push=");
    return -1;
  }
  if (params.cache_size && params.cache_size < (64 << 20)) {
    msg_error ("cache-size= must be 64M or more");
    return -1;
  }
  return rules_check (params.rules);
}

/* ---- reloading ---- */

struct reload {
  struct rules *rules;
  bool *seen;                  /* of file_given: still there */
  char *changed;               /* keys, or NULL */
};

static int
note_changed (struct reload *reload, const char *key)
{
  CLEANUP_FREE char *old = reload->changed;

  if (asprintf (&reload->changed, "%s%s%s=", old ? old : "", old ? ", " : "", key) == -1) {
    reload->changed = NULL;
    msg_error ("out of memory");
    return -1;
  }
  return 0;
}

static int
reload_line (void *opaque, const char *key, const char *value, const char *where)
{
  struct reload *reload = opaque;
  const int r = set_rule (reload->rules, key, value, where);

  if (r != 0)
    return r == 1 ? 0 : -1;
  for (size_t i = 0; i < n_file_given; ++i)
    if (!reload->seen[i] && strcmp (file_given[i].key, key) == 0 && strcmp (file_given[i].value, value) == 0) {
      reload->seen[i] = true;
      return 0;
    }
  return note_changed (reload, key);
}

/* Parameters that the file does not have any more. */
static int
note_missing (struct reload *reload)
{
  for (size_t i = 0; i < n_file_given; ++i) {
    static const char *const of_rules[] = { "disk", "vm", "fs", "partition", "size", "label", NULL };
    size_t k = 0;

    while (of_rules[k] && strcmp (of_rules[k], file_given[i].key) != 0)
      ++k;
    if (of_rules[k] || reload->seen[i])
      continue;
    if ((reload->changed == NULL || strstr (reload->changed, file_given[i].key) == NULL) &&
        note_changed (reload, file_given[i].key) == -1)
      return -1;
  }
  return 0;
}

struct rules *
params_reload (char **ret_restart)
{
  struct reload reload = { .rules = rules_new (), .seen = calloc (n_file_given + 1, sizeof *reload.seen) };
  int r = -1;

  *ret_restart = NULL;
  if (params.config_file == NULL)
    msg_error ("there is nothing to read again: the server was started without config=FILE");
  else if (reload.rules && reload.seen)
    r = 0;
  for (size_t i = 0; i < n_rules_given && r == 0; ++i)
    r = set_rule (reload.rules, rules_given[i].key, rules_given[i].value, NULL) == 1 ? 0 : -1;
  if (r == 0)
    r = params_file_each (params.config_file, reload_line, &reload);
  if (r == 0)
    r = note_missing (&reload);
  if (r == 0)
    r = rules_check (reload.rules);
  free (reload.seen);
  if (r == -1) {
    rules_free (reload.rules);
    free (reload.changed);
    return NULL;
  }
  *ret_restart = reload.changed;
  return reload.rules;
}

const char params_help[] =
  "[remote=]<URL>|<DIR>   (required) WebDAV folder (http, https), s3://BUCKET/PREFIX, rclone:NAME:PATH, or local folder.\n"
  "user=<NAME> password=<PASSWORD>|-|+<FILE>|-<FD>   Log in with a password.\n"
  "token=<TOKEN>|-|+<FILE>|-<FD>   Log in with a bearer token.\n"
  "endpoint=<URL> region=<REGION> path-style=<BOOL>   Where an S3 bucket is.\n"
  "access-key=<KEY> secret-key=<KEY>|-|+<FILE>|-<FD>   Log in to it.\n"
  "rclone-config=<FILE> rclone-url=<URL>   The configuration of rclone, or an rclone that runs already.\n"
  "cainfo=<FILE> sslverify=<BOOL>  Which certificates to accept.\n"
  "cache=<DIR> cache-size=<SIZE>   Where to keep the copy, and how large it may get.\n"
  "fetch=demand|all       Copy what is read, or everything.\n"
  "poll=<SECONDS> retry=<SECONDS> timeout=<SECONDS> connections=<N>\n"
  "push=[<ADDRESS>:]<PORT> push-token=<TOKEN>|+<FILE>   Where the cloud may tell of changes.\n"
  "upload-rate=<RATE> download-rate=<RATE>   Bytes a second, at most.\n"
  "chunk-size=<SIZE>      Larger files go to Nextcloud and ownCloud in pieces.\n"
  "disk=<NAME>[,folder=<FOLDER>][,type=<TYPE>][,glob=<GLOB>][,exclude=<GLOB>][,ro]   What is on a disk.\n"
  "vm=<NAME>,disk=<NAME>[:ro][,uid=<USER>]   Who gets it.  Both may be repeated.\n"
  "fs=auto|fat32|exfat|raw partition=auto|none|mbr|gpt size=<SIZE> label=<LABEL>   What disks are like.\n"
  "timezone=<ZONE>        Of the times in FAT32.\n"
  "config=<FILE>          Reads these parameters from a file, one a line.\n"
  "refresh=live|attach|unmount linger=<SECONDS>   When guests see what changed.\n"
  "settle=<SECONDS> write-back=<SECONDS>   When what guests wrote goes to the cloud.\n"
  "max-dirty=<SIZE> max-delete=<PERCENT>   How much of it is held, or held back.\n"
  "ignore=<GLOB>[:<GLOB>...]   Names that stay on the disk.\n";
