/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdkit-cloudshare-plugin: callbacks, and nothing else. */

#include <config.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "cleanup.h"
#include "control-disks.h"
#include "control-verbs.h"
#include "disks.h"
#include "engine.h"
#include "export.h"
#include "msg.h"
#include "params.h"
#include "peer.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct engine *engine;
static struct disks *disks;
static struct control_verbs *verbs;

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
  params_init ();
}

static void
cloudshare_unload (void)
{
  disks_close (disks);
  engine_close (engine);
  params_free ();
}

static void
cloudshare_dump_plugin (void)
{
  printf ("cloudshare_version=" PACKAGE_VERSION "\n");
  printf ("cloudshare_remotes=dir webdav s3 rclone\n");
  printf ("cloudshare_formats=fat32 exfat raw\n");
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
      .remote = params.remote, .user = params.user, .password = params.password, .token = params.token,
      .rclone_config = params.rclone_config, .rclone_url = params.rclone_url,
      .endpoint = params.endpoint, .region = params.region, .access_key = params.access_key,
      .secret_key = params.secret_key, .path_style = params.path_style,
      .cainfo = params.cainfo, .sslverify = params.sslverify, .connections = params.connections,
      .chunk_size = params.chunk_size,
      .timeout_s = params.timeout_s,
    },
    .cache_dir = params.cache_dir, .cache_size = params.cache_size, .fetch_all = params.fetch_all,
    .poll_s = params.poll_s, .retry_s = params.retry_s, .gives_up = gives_up,
    .push = params.push, .push_token = params.push_token,
    .upload_rate = params.upload_rate, .download_rate = params.download_rate,
  };

  engine = engine_open (&engine_config);
  return engine ? engine_prepare (engine) : -1;
}

/* All that can go wrong at a start goes wrong here, where the user still sees it: the first listing and the layout, too. */
static int
cloudshare_get_ready (void)
{
  const struct views_config views_config = {
    .live = params.live, .unmount = params.unmount, .linger_s = params.linger_s, .settle_ms = params.settle_ms,
    .write_back_s = params.write_back_s, .max_delete = params.max_delete, .max_dirty = params.max_dirty,
    .junk = params.junk,
  };

  /* FAT keeps local time.  The C library knows one time zone per process; there are no threads yet.  Without TZ it would look at
   * that file, and take the zone over anew, with each conversion. */
  if (params.timezone)
    setenv ("TZ", params.timezone, 1);
  else
    setenv ("TZ", ":/etc/localtime", 0);
  tzset ();

  if (open_engine () == -1)
    return -1;
  disks = disks_open (engine, params.rules, &views_config);
  return disks ? engine_suspend (engine) : -1;
}

static int
cloudshare_after_fork (void)
{
  if (engine_start (engine) == -1 || disks_start (disks) == -1)
    return -1;
  verbs = control_disks_start (engine, disks);
  return 0;
}

static void
cloudshare_cleanup (void)
{
  /* Nobody is connected any more: what guests wrote last is journalled now, and sent by the next start at the latest. */
  control_verbs_stop (verbs);
  verbs = NULL;
  if (disks)
    disks_finish (disks);
  if (engine)
    engine_stop (engine);
  if (disks)
    disks_stop (disks);
}

/* ---- exports ---- */

/* Only what some rule goes by: nbdkit reports it as an error where there is nothing to tell. */
static struct rules_peer
ask_peer (char **ret_cert)
{
  bool uid, cert;

  disks_wants_of_peer (disks, &uid, &cert);
  return peer_ask (uid, cert, ret_cert);
}

static int
add_export (void *opaque, const char *name)
{
  return nbdkit_add_export (opaque, name, NULL);
}

static int
cloudshare_list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  CLEANUP_FREE char *cert = NULL;
  const struct rules_peer peer = ask_peer (&cert);

  return disks_each_export (disks, &peer, add_export, exports);
}

static const char *
cloudshare_default_export (int readonly, int is_tls)
{
  return "";
}

static void *
cloudshare_open (int readonly)
{
  CLEANUP_FREE char *cert = NULL;
  const struct rules_peer peer = ask_peer (&cert);
  const char *name = nbdkit_export_name ();

  return name ? disks_attach (disks, &peer, name, readonly) : NULL;
}

static void
cloudshare_close (void *handle)
{
  disks_detach (disks, handle);
}

static const char *
cloudshare_export_description (void *handle)
{
  return nbdkit_printf_intern ("%s from %s", export_format (handle), engine_identity (engine));
}

static int
cloudshare_can_write (void *handle)
{
  struct export *export = handle;

  return !export->read_only;
}

static int64_t
cloudshare_get_size (void *handle)
{
  return export_size (handle);
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
  return export_read (handle, buf, count, offset);
}

static int
end_change (void *handle, uint32_t flags, int r)
{
  return r == 0 && (flags & NBDKIT_FLAG_FUA) ? export_flush (handle) : r;
}

static int
cloudshare_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, export_write (handle, buf, count, offset));
}

static int
cloudshare_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, export_zero (handle, count, offset));
}

static int
cloudshare_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return end_change (handle, flags, export_trim (handle, count, offset));
}

static int
cloudshare_flush (void *handle, uint32_t flags)
{
  return export_flush (handle);
}

static int
cloudshare_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  export_prefetch (handle, count, offset);
  return 0;
}

static int
cloudshare_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents)
{
  uint64_t left = count;

  while (left > 0) {
    bool hole;
    const uint64_t n = export_run (handle, left, offset, &hole);

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
  .config = params_set,
  .config_complete = params_complete,
  .config_help = params_help,
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
  .can_write = cloudshare_can_write,
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
