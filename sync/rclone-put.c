/* SPDX-License-Identifier: BSD-3-Clause */
/* Storing a file's whole content.
 *
 * It goes into a file on this host first, as rclone keeps times, and verifies what has arrived, only of what it copies from
 * files (operations/uploadfile does neither, and loses the old file when it is broken off).  Where the remote can rename,
 * rclone copies it to a name of ours beside its place, as with many remotes a copy under way is seen by everybody; then it
 * is looked once more whether what is there is what is meant to be replaced, and the copy takes the name.  Remotes that
 * cannot rename are those where a file is there whole or not at all, and rclone copies to its place.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "cleanup.h"
#include "fsutil.h"
#include "rclone.h"

#define PIECE (1024 * 1024)

/* From here on an upload may take long: it is looked also before whether it is of use, and it runs as a job. */
#define LARGE (4 * 1024 * 1024)

/* ---- the file on this host ---- */

struct staged {
  const char *folder;
  char name[LOCALITEM_OWN_SIZE];     /* "": there is none */
  char *path;
  char digest[2 * EVP_MAX_MD_SIZE + 1];   /* of the kind that tokens are made with; "": not known */
};

static void
staged_clear (struct staged *staged)
{
  if (staged->name[0])
    unlink (staged->path);
  free (staged->path);
}

#define CLEANUP_STAGED __attribute__ ((cleanup (staged_clear)))

static enum cloud_result
cannot (struct rclone_flow *flow, const struct staged *staged)
{
  return rclone_flow_fail (flow, CLOUD_LOCAL, flow->path, "it cannot be prepared in %s: %s",
                           staged->folder ? staged->folder : "a folder of this host", strerror (errno));
}

static const EVP_MD *
kind_of (const char *hash)
{
  return strcmp (hash, "sha1") == 0 ? EVP_sha1 () : strcmp (hash, "md5") == 0 ? EVP_md5 () :
    strcmp (hash, "sha256") == 0 ? EVP_sha256 () : NULL;
}

static enum cloud_result
write_content (struct rclone_flow *flow, struct staged *staged, int fd, EVP_MD_CTX *context)
{
  CLEANUP_FREE char *buf = malloc (flow->size < PIECE ? flow->size + 1 : PIECE);

  if (buf == NULL)
    return rclone_flow_no_memory (flow);
  for (uint64_t offset = 0; offset < flow->size;) {
    const size_t n = flow->size - offset < PIECE ? flow->size - offset : PIECE;

    if (rclone_lane_sleep (flow->rclone->lanes[RCLONE_CHANGES], 0))
      return CLOUD_STOPPED;
    if (flow->read (flow->opaque, buf, n, offset) == -1)
      return rclone_flow_fail (flow, CLOUD_LOCAL, flow->path, "its content could not be read");
    if (full_pwrite (fd, buf, n, offset) == -1)
      return cannot (flow, staged);
    if (context)
      EVP_DigestUpdate (context, buf, n);
    offset += n;
  }
  return CLOUD_OK;
}

/* With its time; without one, the time is now. */
static enum cloud_result
stage (struct rclone_flow *flow, const char *name, struct staged *staged)
{
  const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, flow->mtime };
  const EVP_MD *kind = kind_of (flow->features.hash);
  EVP_MD_CTX *context = NULL;
  CLEANUP_CLOSE int fd = -1;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  enum cloud_result result;

  staged->folder = rclone_staging (flow->rclone);
  if (staged->folder == NULL)
    return cannot (flow, staged);
  if (asprintf (&staged->path, "%s/%s", staged->folder, name) == -1) {
    staged->path = NULL;
    return rclone_flow_no_memory (flow);
  }
  fd = open (staged->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd == -1)
    return cannot (flow, staged);
  snprintf (staged->name, sizeof staged->name, "%s", name);
  /* A disk that is too full says so before gigabytes were copied. */
  if (flow->size > 0 && fallocate (fd, 0, 0, flow->size) == -1 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return cannot (flow, staged);
  if (kind) {
    context = EVP_MD_CTX_new ();
    if (context == NULL || !EVP_DigestInit_ex (context, kind, NULL)) {
      EVP_MD_CTX_free (context);
      return rclone_flow_no_memory (flow);
    }
  }
  result = write_content (flow, staged, fd, context);
  if (result == CLOUD_OK && context && EVP_DigestFinal_ex (context, digest, &len))
    for (unsigned i = 0; i < len; i++)
      snprintf (staged->digest + 2 * i, 3, "%02x", digest[i]);
  EVP_MD_CTX_free (context);
  if (result == CLOUD_OK && flow->mtime.tv_sec != 0 && futimens (fd, times) == -1)
    result = cannot (flow, staged);
  return result;
}

/* ---- the name beside its place ---- */

static void
upload_begin (struct rclone *rclone, struct rclone_upload *upload)
{
  const struct localitem_maker maker = { .instance = rclone->cloud.owner, .run = rclone->run };

  localitem_upload_name (&maker, upload->name);
  LOCK_FOR_SCOPE (&rclone->lock);
  upload->next = rclone->uploads;
  rclone->uploads = upload;
}

static void
upload_end (struct rclone *rclone, const struct rclone_upload *upload)
{
  struct rclone_upload **at;

  LOCK_FOR_SCOPE (&rclone->lock);
  for (at = &rclone->uploads; *at != upload; at = &(*at)->next)
    ;
  *at = upload->next;
}

/* ---- on its way ---- */

/* The version that is to be replaced is there, or nothing is. */
static enum cloud_result
look_before (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result;

  if (flow->expect == NULL)
    return rclone_flow_nothing (flow, flow->path);
  result = rclone_flow_file (flow, flow->path, &seen);
  return result == CLOUD_OK ? rclone_flow_judge (flow, flow->path, &seen) : result;
}

static enum cloud_result
copy (struct rclone_flow *flow, const struct staged *staged, const char *to, bool lasts)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  enum cloud_result result;

  rclone_tell_rate (flow->rclone);
  rclone_call_init (&call, flow->rclone, "operations/copyfile", to);
  rclone_call_text (&call, "srcFs", staged->folder);
  rclone_call_text (&call, "srcRemote", staged->name);
  rclone_call_item_as (&call, "dstFs", "dstRemote", to);
  /* Otherwise a file of the same size and time counts as the same. */
  rclone_call_flag (&call, "_config", "IgnoreTimes");
  result = rclone_flow_job (flow, &call, lasts);
  if (result == CLOUD_GONE && access (staged->path, R_OK) == 0 && flow->rclone->daemon == NULL)
    result = rclone_flow_fail (flow, CLOUD_DENIED, flow->path,
                               "the rclone at %s cannot read %s: it has to run on this host, and as the same user",
                               flow->rclone->base, staged->folder);
  return result;
}

/* What is there now, unless that is somebody else's already. */
static void
look_after (struct rclone_flow *flow, const struct staged *staged)
{
  struct rclone_seen seen = { .what = RCLONE_NOTHING };
  const char *digest;
  bool ours;

  if (rclone_flow_file (flow, flow->path, &seen) != CLOUD_OK) {
    free (flow->sentence);
    flow->sentence = NULL;
    return;
  }
  digest = seen.checksum ? strchr (seen.checksum, ':') : NULL;
  ours = seen.what == RCLONE_FILE && seen.size == flow->size;
  if (ours && digest && staged->digest[0])
    ours = strcasecmp (digest + 1, staged->digest) == 0;
  if (ours && flow->mtime.tv_sec != 0 && !seen.arrival) {
    const int64_t s = seen.mtime.tv_sec - flow->mtime.tv_sec;

    /* Remotes cut times off, or round them. */
    ours = s < 100 && s > -100 &&
      llabs (s * 1000000000 + seen.mtime.tv_nsec - flow->mtime.tv_nsec) <= flow->features.precision_ns;
  }
  if (ours)
    flow->now = seen;
  else
    rclone_seen_clear (&seen);
}

static enum cloud_result
copy_and_move (struct rclone_flow *flow, const struct staged *staged)
{
  CLEANUP_FREE char *folder = rclone_parent (flow->path), *temporary = NULL, *sentence = NULL;
  const bool large = flow->size > LARGE;
  enum cloud_result result;

  if (folder == NULL || (temporary = rclone_join (folder, staged->name)) == NULL)
    return rclone_flow_no_memory (flow);
  result = copy (flow, staged, temporary, large);
  if (result == CLOUD_OK)
    result = look_before (flow);
  if (result == CLOUD_OK)
    result = rclone_flow_move_file (flow, temporary, flow->path, false);
  if (result != CLOUD_OK && result != CLOUD_STOPPED) {
    sentence = flow->sentence;
    flow->sentence = NULL;
    rclone_flow_discard (flow->rclone, temporary);
    flow->sentence = sentence;
    sentence = NULL;
  }
  return result;
}

static enum cloud_result
put (struct rclone_flow *flow)
{
  CLEANUP_STAGED struct staged staged = { .path = NULL };
  struct rclone_upload upload;
  const bool by_move = flow->features.move;
  enum cloud_result result = rclone_flow_parent (flow, flow->path);

  if (result == CLOUD_OK && (!by_move || flow->needs_whole || flow->size > LARGE))
    result = look_before (flow);
  if (result == CLOUD_OK && flow->needs_whole)
    result = rclone_flow_fail (flow, CLOUD_WHOLE, flow->path, "rclone takes whole files only");
  if (result != CLOUD_OK)
    return result;
  upload_begin (flow->rclone, &upload);
  result = stage (flow, upload.name, &staged);
  if (result == CLOUD_OK)
    result = by_move ? copy_and_move (flow, &staged) : copy (flow, &staged, flow->path, flow->size > LARGE);
  upload_end (flow->rclone, &upload);
  if (result == CLOUD_OK)
    look_after (flow, &staged);
  /* The folder that it is in was there a moment ago. */
  if (result == CLOUD_GONE && flow->expect == NULL) {
    known_folders_forget (&flow->rclone->folders, "");
    result = CLOUD_PARENT;
  }
  return result;
}

void
rclone_put (struct cloud *cloud, const struct cloud_put *what, const struct cloud_change_sink *sink, void *opaque)
{
  struct rclone_flow *flow;
  enum cloud_result result;

  flow = rclone_flow_change ((struct rclone *) cloud, what->path, NULL, what->expect, sink, opaque);
  if (flow == NULL)
    return;
  flow->size = what->size;
  flow->mtime = what->mtime;
  flow->read = what->read;
  flow->needs_whole = what->n_ranges > 0 && !what->has_whole;
  result = rclone_flow_may_name (flow, what->path);
  if (result == CLOUD_OK)
    rclone_flow_begin (flow, RCLONE_CHANGES, put);
  else
    rclone_flow_end (flow, result);
}

/* ---- small files of ours ---- */

enum cloud_result
rclone_flow_mark (struct rclone_flow *flow, const char *folder, const char *name)
{
  static const char text[] = "cloudshare keeps this folder by this file: there are no empty ones here\n";
  const struct localitem_maker maker = { .instance = 0 };
  CLEANUP_STAGED struct staged staged = { .path = NULL };
  CLEANUP_FREE char *path = rclone_join (folder, name);
  char local[LOCALITEM_OWN_SIZE];
  CLEANUP_CLOSE int fd = -1;

  localitem_upload_name (&maker, local);
  staged.folder = rclone_staging (flow->rclone);
  if (staged.folder == NULL)
    return cannot (flow, &staged);
  if (path == NULL || asprintf (&staged.path, "%s/%s", staged.folder, local) == -1) {
    staged.path = NULL;
    return rclone_flow_no_memory (flow);
  }
  fd = open (staged.path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd == -1)
    return cannot (flow, &staged);
  memcpy (staged.name, local, sizeof staged.name);
  if (full_pwrite (fd, text, sizeof text - 1, 0) == -1)
    return cannot (flow, &staged);
  return copy (flow, &staged, path, false);
}
