/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdkit-cloudshare-plugin: parameters and callbacks, and nothing else. */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "cleanup.h"
#include "disk.h"
#include "engine.h"
#include "format.h"
#include "geometry.h"
#include "map.h"
#include "msg.h"
#include "said.h"
#include "view.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct {
  char *remote, *user, *password, *token, *cainfo, *cache_dir;
  bool sslverify, fetch_all, live;
  unsigned connections, timeout_s, poll_s, retry_s, linger_s;
  uint64_t cache_size, size;
  const char *format;
  int partitioning;
  char *label, *disk_name, *timezone;
} config = {
  .sslverify = true, .live = true, .connections = 16, .timeout_s = 30, .poll_s = 30, .retry_s = 1, .linger_s = 30,
  .partitioning = -1,
};

static struct engine *engine;
static struct disk *disk;
static struct views *views;
static struct said *said;      /* export names that were complained about */

/* ---- messages ---- */

/* nbdkit knows errors and debugging, but nothing in between.  Once it is a daemon, standard error is the null device. */
static void
notice (const char *text)
{
  struct stat st;

  if (fstat (STDERR_FILENO, &st) == 0 && S_ISCHR (st.st_mode) && st.st_rdev == makedev (1, 3))
    syslog (LOG_NOTICE, "cloudshare: %s", text);
  else
    fprintf (stderr, "nbdkit: cloudshare: %s\n", text);
}

static void
sink (enum msg_level level, const char *text)
{
  switch (level) {
  case MSG_ERROR:
    nbdkit_error ("%s", text);
    break;
  case MSG_NOTICE:
    notice (text);
    break;
  case MSG_DEBUG:
    nbdkit_debug ("%s", text);
  }
}

static void
cloudshare_load (void)
{
  msg_set_sink (sink);
  said = said_new ();
}

static void
cloudshare_unload (void)
{
  views_close (views);
  disk_close (disk);
  engine_close (engine);
  said_free (said);
  free (config.remote);
  free (config.user);
  free (config.password);
  free (config.token);
  free (config.cainfo);
  free (config.cache_dir);
  free (config.label);
  free (config.disk_name);
  free (config.timezone);
}

/* ---- parameters ---- */

static int
set_text (char **to, const char *value)
{
  free (*to);
  *to = strdup (value);
  if (*to == NULL)
    nbdkit_error ("out of memory");
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
    nbdkit_error ("%s=%s: give a size in bytes, or with a suffix as in 64G", key, value);
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
    nbdkit_error ("%s=%s: give seconds, %u or more, and at most a year", key, value, min);
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
  nbdkit_error ("%s=%s: it can be one of %s", key, value, list);
  return -1;
}

static int
set_format (const char *value)
{
  static const char *const words[] = { "auto", "fat32", "exfat", NULL };
  int word;

  if (set_word (&word, "fs", value, words) == -1)
    return -1;
  config.format = word == 0 ? NULL : words[word];
  return 0;
}

static int
set_partitioning (const char *value)
{
  static const char *const words[] = { "none", "mbr", "gpt", "auto", NULL };
  int word;

  if (set_word (&word, "partition", value, words) == -1)
    return -1;
  config.partitioning = word == 3 ? -1 : word;
  return 0;
}

/* What every system can show as a volume's label (FAT specification, section 7.1, without what only old systems allow). */
static int
set_label (const char *value)
{
  const size_t n = strlen (value);

  if (n < 1 || n > 11 || value[0] == ' ' || value[n - 1] == ' ')
    goto bad;
  for (size_t i = 0; i < n; ++i)
    if (strchr ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -_", value[i]) == NULL)
      goto bad;
  if (set_text (&config.label, value) == -1)
    return -1;
  for (char *p = config.label; *p; ++p)
    if (*p >= 'a' && *p <= 'z')
      *p -= 'a' - 'A';
  return 0;

bad:
  nbdkit_error ("label=%s: give 1 to 11 letters, digits, blanks, - or _, with no blank at either end", value);
  return -1;
}

static int
set_disk_name (const char *value)
{
  const size_t n = strlen (value);

  if (n < 1 || n > 64 || strspn (value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != n) {
    nbdkit_error ("disk=%s: give 1 to 64 letters, digits, '.', '_' or '-'", value);
    return -1;
  }
  return set_text (&config.disk_name, value);
}

/* local, utc, +HH:MM, -HH:MM, or a name of the time zone database. */
static int
set_timezone (const char *value)
{
  unsigned hours, minutes;
  char sign, rest;
  char path[PATH_MAX];
  struct stat st;

  free (config.timezone);
  config.timezone = NULL;
  if (strcasecmp (value, "local") == 0)
    return 0;
  if (strcasecmp (value, "utc") == 0)
    return set_text (&config.timezone, "UTC0");
  if (sscanf (value, "%c%2u:%2u%c", &sign, &hours, &minutes, &rest) == 3 && (sign == '+' || sign == '-') && hours <= 14 &&
      minutes < 60) {
    /* POSIX counts west of Greenwich as positive. */
    snprintf (path, sizeof path, "<%s>%c%02u:%02u", value, sign == '+' ? '-' : '+', hours, minutes);
    return set_text (&config.timezone, path);
  }
  snprintf (path, sizeof path, "/usr/share/zoneinfo/%s", value);
  if (strstr (value, "..") || value[0] == '/' || value[0] == '\0' || stat (path, &st) == -1 ||
      !S_ISREG (st.st_mode)) {
    nbdkit_error ("timezone=%s: give local, utc, an offset like +02:00, or a name of the time zone database like"
                  " Europe/Berlin", value);
    return -1;
  }
  return set_text (&config.timezone, value);
}

static int
set_fetch (const char *value)
{
  static const char *const words[] = { "demand", "all", NULL };
  int word;

  if (set_word (&word, "fetch", value, words) == -1)
    return -1;
  config.fetch_all = word == 1;
  return 0;
}

static int
set_refresh (const char *value)
{
  static const char *const words[] = { "live", "attach", NULL };
  int word;

  if (set_word (&word, "refresh", value, words) == -1)
    return -1;
  config.live = word == 0;
  return 0;
}

static int
set_connections (const char *value)
{
  unsigned n;

  if (nbdkit_parse_unsigned ("connections", value, &n) == -1)
    return -1;
  if (n < 1 || n > 256) {
    nbdkit_error ("connections=%s: give a number from 1 to 256", value);
    return -1;
  }
  config.connections = n;
  return 0;
}

static int
cloudshare_config (const char *key, const char *value)
{
  if (strcmp (key, "remote") == 0) {
    if (config.remote) {
      nbdkit_error ("remote= is given twice: one process serves one remote");
      return -1;
    }
    return set_text (&config.remote, value);
  }
  if (strcmp (key, "user") == 0)
    return set_text (&config.user, value);
  if (strcmp (key, "password") == 0)
    return set_secret (&config.password, value);
  if (strcmp (key, "token") == 0)
    return set_secret (&config.token, value);
  if (strcmp (key, "cainfo") == 0)
    return set_path (&config.cainfo, value);
  if (strcmp (key, "sslverify") == 0)
    return set_bool (&config.sslverify, value);
  if (strcmp (key, "connections") == 0)
    return set_connections (value);
  if (strcmp (key, "timeout") == 0)
    return set_seconds (&config.timeout_s, key, value, 1);
  if (strcmp (key, "poll") == 0)
    return set_seconds (&config.poll_s, key, value, 1);
  if (strcmp (key, "retry") == 0)
    return set_seconds (&config.retry_s, key, value, 1);
  if (strcmp (key, "linger") == 0)
    return set_seconds (&config.linger_s, key, value, 0);
  if (strcmp (key, "refresh") == 0)
    return set_refresh (value);
  if (strcmp (key, "cache") == 0)
    return set_path (&config.cache_dir, value);
  if (strcmp (key, "cache-size") == 0)
    return set_size (&config.cache_size, key, value);
  if (strcmp (key, "fetch") == 0)
    return set_fetch (value);
  if (strcmp (key, "disk") == 0)
    return set_disk_name (value);
  if (strcmp (key, "fs") == 0)
    return set_format (value);
  if (strcmp (key, "partition") == 0)
    return set_partitioning (value);
  if (strcmp (key, "size") == 0)
    return set_size (&config.size, key, value);
  if (strcmp (key, "label") == 0)
    return set_label (value);
  if (strcmp (key, "timezone") == 0)
    return set_timezone (value);
  nbdkit_error ("unknown parameter %s=: see nbdkit-cloudshare-plugin(1)", key);
  return -1;
}

static int
cloudshare_config_complete (void)
{
  if (config.remote == NULL) {
    nbdkit_error ("remote= is missing: give the URL of a WebDAV folder (https://...) or the path of a local folder");
    return -1;
  }
  if (config.token && (config.user || config.password)) {
    nbdkit_error ("token= and user=/password= are two ways to log in: give only one");
    return -1;
  }
  if (config.password && config.user == NULL) {
    nbdkit_error ("password= needs user=");
    return -1;
  }
  if (config.user && config.password == NULL) {
    nbdkit_error ("user= needs password=: password=- asks for it, password=+FILE reads it from a file");
    return -1;
  }
  if (config.fetch_all && config.cache_size) {
    nbdkit_error ("fetch=all keeps a copy of everything, and cache-size= would throw parts of it away: give only one");
    return -1;
  }
  if (config.cache_size && config.cache_size < (64 << 20)) {
    nbdkit_error ("cache-size= must be 64M or more");
    return -1;
  }
  if (config.disk_name == NULL)
    return set_disk_name ("cloud");
  return 0;
}

#define cloudshare_config_help                                                            \
  "[remote=]<URL>|<DIR>   (required) WebDAV folder (http, https) or local folder.\n"      \
  "user=<NAME> password=<PASSWORD>|-|+<FILE>|-<FD>   Log in with a password.\n"           \
  "token=<TOKEN>|-|+<FILE>|-<FD>   Log in with a bearer token.\n"                         \
  "cainfo=<FILE> sslverify=<BOOL>  Which certificates to accept.\n"                       \
  "cache=<DIR> cache-size=<SIZE>   Where to keep the copy, and how large it may get.\n"   \
  "fetch=demand|all       Copy what is read, or everything.\n"                            \
  "poll=<SECONDS> retry=<SECONDS> timeout=<SECONDS> connections=<N>\n"                    \
  "disk=<NAME> fs=auto|fat32|exfat partition=auto|none|mbr|gpt\n"                         \
  "size=<SIZE> label=<LABEL> timezone=<ZONE>   What the disk is like.\n"                  \
  "refresh=live|attach linger=<SECONDS>        When guests see what changed.\n"

static void
cloudshare_dump_plugin (void)
{
  printf ("cloudshare_version=" PACKAGE_VERSION "\n");
  printf ("cloudshare_remotes=dir webdav\n");
  printf ("cloudshare_formats=fat32 exfat\n");
}

/* ---- starting and stopping ---- */

/* Asked by a request's thread while it waits for the cloud: nbdkit ends such a sleep when it wants to end, or when the
 * client has gone. */
static bool
gives_up (void)
{
  return nbdkit_nanosleep (0, 1) == -1;
}

static int
open_engine (void)
{
  const struct engine_config engine_config = {
    .cloud = {
      .remote = config.remote, .user = config.user, .password = config.password, .token = config.token,
      .cainfo = config.cainfo, .sslverify = config.sslverify, .connections = config.connections,
      .timeout_s = config.timeout_s,
    },
    .cache_dir = config.cache_dir, .cache_size = config.cache_size, .fetch_all = config.fetch_all,
    .poll_s = config.poll_s, .retry_s = config.retry_s, .gives_up = gives_up,
  };

  engine = engine_open (&engine_config);
  return engine ? engine_prepare (engine) : -1;
}

/* All that can go wrong at a start goes wrong here, where the user still sees it: the first listing and the layout, too. */
static int
cloudshare_get_ready (void)
{
  const struct disk_config disk_config = {
    .name = config.disk_name, .format = config.format, .partitioning = config.partitioning, .size = config.size,
    .label = config.label,
  };
  const struct views_config views_config = { .live = config.live, .linger_s = config.linger_s };

  /* FAT keeps local time.  The C library knows one time zone per process; there are no threads yet. */
  if (config.timezone)
    setenv ("TZ", config.timezone, 1);
  tzset ();

  if (said == NULL) {
    nbdkit_error ("out of memory");
    return -1;
  }
  if (open_engine () == -1)
    return -1;
  disk = disk_open (engine, &disk_config);
  if (disk == NULL)
    return -1;
  views = views_open (engine, disk, &views_config);
  if (views == NULL)
    return -1;
  return engine_suspend (engine);
}

static int
cloudshare_after_fork (void)
{
  if (engine_start (engine) == -1)
    return -1;
  return views_start (views);
}

static void
cloudshare_cleanup (void)
{
  if (engine)
    engine_stop (engine);
  if (views)
    views_stop (views);
}

/* ---- exports ---- */

static int
cloudshare_list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  return nbdkit_add_export (exports, disk_name (disk), NULL);
}

static const char *
cloudshare_default_export (int readonly, int is_tls)
{
  return disk_name (disk);
}

/* DISK, or VM/DISK: each name of this kind is a view of its own. */
static bool
export_is_known (const char *name)
{
  const char *slash = strrchr (name, '/');

  return strcmp (slash ? slash + 1 : name, disk_name (disk)) == 0;
}

static void *
cloudshare_open (int readonly)
{
  const char *name = nbdkit_export_name ();
  struct view *view;

  if (name == NULL)
    return NULL;
  if (name[0] == '\0')
    name = disk_name (disk);
  if (!export_is_known (name)) {
    if (said_first_time (said, name, "export"))
      msg_error ("a client asked for an export that does not exist, \"%.100s\": there is \"%s\", and \"VM/%s\" for each"
                 " virtual machine", name, disk_name (disk), disk_name (disk));
    return NULL;
  }
  view = view_attach (views, name);
  return view;
}

static void
cloudshare_close (void *handle)
{
  view_detach (views, handle);
}

static const char *
cloudshare_export_description (void *handle)
{
  return nbdkit_printf_intern ("%s from %s", disk_geometry (disk)->format->name, engine_identity (engine));
}

static int64_t
cloudshare_get_size (void *handle)
{
  return disk_geometry (disk)->disk_bytes;
}

static int
cloudshare_block_size (void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
  *minimum = 1;
  *preferred = 4096;
  *maximum = 0xffffffff;
  return 0;
}

/* All connections of one name share one view. */
static int
cloudshare_can_multi_conn (void *handle)
{
  return 1;
}

static int
cloudshare_can_cache (void *handle)
{
  return NBDKIT_CACHE_NATIVE;
}

static void
unref_map (struct map **map)
{
  map_unref (*map);
}

static int
cloudshare_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  __attribute__ ((cleanup (unref_map))) struct map *map = view_map (handle);

  return disk_read (disk, map, buf, count, offset);
}

static int
cloudshare_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  __attribute__ ((cleanup (unref_map))) struct map *map = view_map (handle);

  disk_prefetch (disk, map, count, offset);
  return 0;
}

static int
cloudshare_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents)
{
  __attribute__ ((cleanup (unref_map))) struct map *map = view_map (handle);
  uint64_t left = count;

  while (left > 0) {
    bool hole;
    const uint64_t n = disk_run (disk, map, left, offset, &hole);

    if (nbdkit_add_extent (extents, offset, n, hole ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) == -1)
      return -1;
    if (flags & NBDKIT_FLAG_REQ_ONE)
      break;
    offset += n;
    left -= n;
  }
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "cloudshare",
  .longname = "nbdkit cloudshare plugin",
  .description = "cloud files as disks for virtual machines",
  .version = PACKAGE_VERSION,
  .load = cloudshare_load,
  .unload = cloudshare_unload,
  .config = cloudshare_config,
  .config_complete = cloudshare_config_complete,
  .config_help = cloudshare_config_help,
  .magic_config_key = "remote",
  .dump_plugin = cloudshare_dump_plugin,
  .get_ready = cloudshare_get_ready,
  .after_fork = cloudshare_after_fork,
  .cleanup = cloudshare_cleanup,
  .list_exports = cloudshare_list_exports,
  .default_export = cloudshare_default_export,
  .open = cloudshare_open,
  .close = cloudshare_close,
  .export_description = cloudshare_export_description,
  .get_size = cloudshare_get_size,
  .block_size = cloudshare_block_size,
  .can_multi_conn = cloudshare_can_multi_conn,
  .can_cache = cloudshare_can_cache,
  .pread = cloudshare_pread,
  .cache = cloudshare_cache,
  .extents = cloudshare_extents,
  /* disk_read sets errno wherever it fails. */
  .errno_is_preserved = 1,
};

/* The macro defines it without having declared it. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
