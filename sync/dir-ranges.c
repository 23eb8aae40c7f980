/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of a new version of a local file that is in its old one already: shared with it where the file system can
 * (FICLONE), otherwise copied by the kernel, or by us. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dir-private.h"
#include "fsutil.h"

/* The kernel copies as much at once, between two looks at whether we are being stopped. */
#define KERNEL_PIECE (64 * 1024 * 1024)
#define PIECE (1024 * 1024)

static enum cloud_result
changed_meanwhile (struct dir_change *change)
{
  return dir_failed (change->dir, change->path, &change->sentence, CLOUD_CHANGED, "somebody else has changed it");
}

static enum cloud_result
copy_by_hand (struct dir_change *change, int from, int to, uint64_t offset, uint64_t end)
{
  CLEANUP_FREE char *buf = malloc (PIECE);

  if (buf == NULL)
    return dir_failed (change->dir, change->path, &change->sentence, CLOUD_LOCAL, "out of memory");
  while (offset < end) {
    const ssize_t n = pread (from, buf, end - offset < PIECE ? (size_t) (end - offset) : PIECE, (off_t) offset);

    if (atomic_load (&change->dir->stopping))
      return CLOUD_STOPPED;
    if (n == 0)
      return changed_meanwhile (change);
    if (n == -1 || full_pwrite (to, buf, (size_t) n, offset) == -1)
      return dir_cannot (change, change->path);
    offset += (uint64_t) n;
  }
  return CLOUD_OK;
}

static enum cloud_result
copy (struct dir_change *change, int from, int to, uint64_t offset, uint64_t end)
{
  while (offset < end) {
    loff_t in = (loff_t) offset, out = in;
    const ssize_t n = copy_file_range (from, &in, to, &out, end - offset < KERNEL_PIECE ? end - offset : KERNEL_PIECE, 0);

    if (atomic_load (&change->dir->stopping))
      return CLOUD_STOPPED;
    if (n == -1 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
      return dir_cannot (change, change->path);
    /* Some file systems say 0 where they mean that they cannot. */
    if (n <= 0)
      return copy_by_hand (change, from, to, offset, end);
    offset += (uint64_t) n;
  }
  return CLOUD_OK;
}

/* What is between the ranges. */
static enum cloud_result
copy_rest (struct dir_change *change, int from, int to)
{
  const struct cloud_put *put = &change->put;
  const uint64_t end = put->size < put->base_size ? put->size : put->base_size;
  enum cloud_result result = CLOUD_OK;
  uint64_t at = 0;

  if (put->size > 0 && fallocate (to, 0, 0, (off_t) put->size) == -1
      && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return dir_cannot (change, change->path);
  for (size_t i = 0; i <= put->n_ranges && at < end && result == CLOUD_OK; ++i) {
    const uint64_t until = i < put->n_ranges && put->ranges[i].offset < end ? put->ranges[i].offset : end;

    result = copy (change, from, to, at, until);
    if (i < put->n_ranges)
      at = put->ranges[i].offset + put->ranges[i].length;
  }
  return result;
}

enum cloud_result
dir_copy_base (struct dir_change *change, const struct dir_place *at, const struct statx *st, int fd)
{
  CLEANUP_CLOSE int from = openat (at->fd, at->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  enum cloud_result result = CLOUD_OK;
  struct statx now;

  if (st->stx_size != change->put.base_size)
    return CLOUD_WHOLE;
  if (from < 0)
    return errno == EACCES || errno == EPERM ? CLOUD_WHOLE : dir_cannot (change, change->path);
  /* The same before and after: what was copied is that version. */
  if (localitem_look (from, "", &now) == -1)
    return dir_cannot (change, change->path);
  if (!localitem_is_same (st, &now))
    return changed_meanwhile (change);
  if (ioctl (fd, FICLONE, from) == -1)
    result = copy_rest (change, from, fd);
  if (result != CLOUD_OK)
    return result;
  if (ftruncate (fd, (off_t) change->put.size) == -1 || localitem_look (from, "", &now) == -1)
    return dir_cannot (change, change->path);
  return localitem_is_same (st, &now) ? CLOUD_OK : changed_meanwhile (change);
}
