/* SPDX-License-Identifier: BSD-3-Clause */
/* Chooses the provider for a remote, and passes on the verbs that are the same for all. */

#include <config.h>

#include <string.h>
#include <strings.h>

#include "cloud.h"
#include "http-url.h"
#include "msg.h"
#include "rclone-text.h"
#include "s3-url.h"

const char *
cloud_result_name (enum cloud_result result)
{
  switch (result) {
  case CLOUD_OK: return "ok";
  case CLOUD_GONE: return "gone";
  case CLOUD_CHANGED: return "changed";
  case CLOUD_OFFLINE: return "offline";
  case CLOUD_AUTH: return "auth";
  case CLOUD_DENIED: return "denied";
  case CLOUD_BUSY: return "busy";
  case CLOUD_EXISTS: return "exists";
  case CLOUD_PARENT: return "parent";
  case CLOUD_FULL: return "full";
  case CLOUD_REFUSED: return "refused";
  case CLOUD_BAD: return "bad";
  case CLOUD_LOCAL: return "local";
  case CLOUD_STOPPED: return "stopped";
  case CLOUD_WHOLE: return "whole";
  }
  return "unknown";
}

struct cloud *
cloud_open (const struct cloud_config *config)
{
  const char *remote = config->remote;

  if (remote[0] == '/' || strncasecmp (remote, "file://", 7) == 0)
    return cloud_dir_open (config);
  if (s3_url_is_ours (remote))
    return cloud_s3_open (config);
  if (rclone_remote_is_ours (remote))
    return cloud_rclone_open (config);
  if (http_url_is_ours (remote))
    return cloud_webdav_open (config);
  /* Not repeated: it may be a password, or a URL with one whose scheme is mistyped. */
  msg_error ("the remote is neither a folder (/PATH or file:///PATH), nor a WebDAV URL (https://, http://, davs:// or "
             "dav://), nor s3://BUCKET/PREFIX, nor rclone:NAME:PATH");
  return NULL;
}

int
cloud_start (struct cloud *cloud)
{
  return cloud->ops->start (cloud);
}

void
cloud_stop (struct cloud *cloud)
{
  cloud->ops->stop (cloud);
}

void
cloud_wake (struct cloud *cloud)
{
  cloud->ops->wake (cloud);
}

void
cloud_close (struct cloud *cloud)
{
  if (cloud)
    cloud->ops->close (cloud);
}
