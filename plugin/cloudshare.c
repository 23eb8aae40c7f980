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
#include "control-verbs.h"
#include "db.h"
#include "disk.h"
#include "engine.h"
#include "format.h"
#include "geometry.h"
#include "journal.h"
#include "junk.h"
#include "msg.h"
#include "said.h"
#include "view.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct {
  char *remote, *user, *password, *token, *cainfo, *cache_dir;
  bool sslverify, fetch_all, live, unmount;
  unsigned connections, timeout_s, poll_s, retry_s, linger_s, settle_ms, write_back_s, max_delete;
  uint64_t cache_size, size, max_dirty;
  const char *format;
  int partitioning;
  char *label, *disk_name, *timezone;
} config = {
  .sslverify = true, .live = true, .connections = 16, .timeout_s = 30, .poll_s = 30, .retry_s = 1, .linger_s = 30,
  .settle_ms = 2000, .write_back_s = 5, .max_delete = 50, .partitioning = -1,
};

static struct engine *engine;
static struct disk *disk;
static struct views *views;
static struct control_verbs *verbs;
static struct junk *junk;
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
  junk = junk_new ();
}

static void
cloudshare_unload (void)
{
  views_close (views);
  disk_close (disk);
  engine_close (engine);
  said_free (said);
  junk_free (junk);
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
  static const char *const words[] = { "live", "attach", "unmount", NULL };
  int word;

  if (set_word (&word, "refresh", value, words) == -1)
    return -1;
  config.live = word != 1;
  config.unmount = word == 2;
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
  config.settle_ms = seconds * 1000 + ms;
  return 0;

bad:
  nbdkit_error ("settle=%s: give seconds from 0.1 to 60, as in 2 or 0.5", value);
  return -1;
}

static int
set_max_delete (const char *value)
{
  char *end;
  const long n = strtol (value, &end, 10);

  if (end == value || (*end != '\0' && strcmp (end, "%") != 0) || n < 0 || n > 100) {
    nbdkit_error ("max-delete=%s: give a share of all files from 0%% to 100%%", value);
    return -1;
  }
  config.max_delete = n;
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
  if (strcmp (key, "settle") == 0)
    return set_settle (value);
  if (strcmp (key, "write-back") == 0)
    return set_seconds (&config.write_back_s, key, value, 0);
  if (strcmp (key, "max-delete") == 0)
    return set_max_delete (value);
  if (strcmp (key, "max-dirty") == 0)
    return set_size (&config.max_dirty, key, value);
  if (strcmp (key, "ignore") == 0)
    return junk ? junk_add (junk, value) : -1;
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
  "refresh=live|attach|unmount linger=<SECONDS>   When guests see what changed.\n"          \
  "settle=<SECONDS> write-back=<SECONDS>   When what guests wrote goes to the cloud.\n"  \
  "max-dirty=<SIZE> max-delete=<PERCENT>   How much of it is held, or held back.\n"      \
  "ignore=<GLOB>[:<GLOB>...]   Names that stay on the disk.\n"

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
  const struct views_config views_config = {
    .live = config.live, .unmount = config.unmount, .linger_s = config.linger_s, .settle_ms = config.settle_ms,
    .write_back_s = config.write_back_s, .max_delete = config.max_delete, .max_dirty = config.max_dirty, .junk = junk,
  };

  /* FAT keeps local time.  The C library knows one time zone per process; there are no threads yet. */
  if (config.timezone)
    setenv ("TZ", config.timezone, 1);
  tzset ();

  if (said == NULL || junk == NULL) {
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

/* ---- what the control socket asks of views ---- */

struct each_view {
  int (*row) (void *opaque, const struct control_view *view);
  void *opaque;
  int r;
};

static void
tell_view (void *opaque, const struct view_status *status)
{
  struct each_view *each = opaque;
  struct db *db = engine_db (engine);
  uint64_t waiting = 0;
  struct control_view view = {
    .name = status->name, .generation = status->generation, .overlay_bytes = status->overlay_bytes, .dirty = status->dirty,
    .detached = status->detached, .connections = status->connections, .uninterpreted_since = status->unread_since,
  };

  db_read_begin (db);
  if (journal_waiting (db, status->name, &waiting) == 0)
    view.waiting = waiting;
  db_read_end (db);
  if (each->r == 0)
    each->r = each->row (each->opaque, &view);
}

static int
control_each (void *opaque, int (*row) (void *row_opaque, const struct control_view *view), void *row_opaque)
{
  struct each_view each = { .row = row, .opaque = row_opaque };

  views_each (opaque, tell_view, &each);
  return each.r;
}

static void
control_hurry (void *opaque)
{
  views_hurry (opaque);
}

static int
control_forget (void *opaque, const char *name, bool discard, char **ret_why)
{
  static const char *const why[] = {
    [VIEW_UNKNOWN] = "there is no view \"%s\": cloudsharectl status lists them",
    [VIEW_CONNECTED] = "somebody is connected to \"%s\": end the virtual machine, or its client, first",
    [VIEW_WAITING] = "\"%s\" holds writes that are not understood yet, and not in the cloud: they would be lost",
    [VIEW_FAILED] = "\"%s\" cannot be forgotten now: the server's log says why",
  };
  const enum view_forget result = view_forget (opaque, name, discard);

  if (result == VIEW_FORGOTTEN)
    return 0;
  if (asprintf (ret_why, why[result], name) == -1)
    *ret_why = NULL;
  return -1;
}

static int
cloudshare_after_fork (void)
{
  const struct control_views control_views = {
    .opaque = views, .each = control_each, .hurry = control_hurry, .forget = control_forget,
  };

  if (engine_start (engine) == -1 || views_start (views) == -1)
    return -1;
  verbs = control_verbs_start (engine, &control_views);
  return 0;
}

static void
cloudshare_cleanup (void)
{
  /* Nobody is connected any more: what guests wrote last is journalled now, and sent by the next start at the latest. */
  control_verbs_stop (verbs);
  verbs = NULL;
  if (views)
    views_finish (views);
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
  view = view_attach (views, name, !readonly);
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

/* What was acknowledged is in the kernel's page cache at least; a flush by one connection covers all of them. */
static int
cloudshare_can_fua (void *handle)
{
  return NBDKIT_FUA_NATIVE;
}

static int
cloudshare_can_fast_zero (void *handle)
{
  return 1;
}

static int
cloudshare_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  return view_read (handle, buf, count, offset);
}

static int
end_change (void *handle, uint32_t flags, int r)
{
  return r == 0 && (flags & NBDKIT_FLAG_FUA) ? view_flush (handle) : r;
}

static int
cloudshare_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, view_write (handle, buf, count, offset));
}

static int
cloudshare_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, view_zero (handle, count, offset));
}

static int
cloudshare_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, view_trim (handle, count, offset));
}

static int
cloudshare_flush (void *handle, uint32_t flags)
{
  return view_flush (handle);
}

static int
cloudshare_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  view_prefetch (handle, count, offset);
  return 0;
}

static int
cloudshare_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents)
{
  uint64_t left = count;

  while (left > 0) {
    bool hole;
    const uint64_t n = view_run (handle, left, offset, &hole);

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
  .can_fua = cloudshare_can_fua,
  .can_fast_zero = cloudshare_can_fast_zero,
  .pread = cloudshare_pread,
  .pwrite = cloudshare_pwrite,
  .zero = cloudshare_zero,
  .trim = cloudshare_trim,
  .flush = cloudshare_flush,
  .cache = cloudshare_cache,
  .extents = cloudshare_extents,
  /* Requests of views set errno wherever they fail. */
  .errno_is_preserved = 1,
};

/* The macro defines it without having declared it. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
