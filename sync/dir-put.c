/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts a file's content into a local folder.
 *
 * The content goes into a file of our own in the same folder (localitem_is_own), is made durable, and takes the name
 * by a rename, so that nobody ever sees half of it.  A file that is replaced is exchanged with it, looked at, and
 * deleted only if it is the version that was meant; otherwise the two are exchanged back.
 *
 * Where only ranges of the content are new, our file begins as a copy of the one that it replaces (dir-ranges.c). */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dir-private.h"
#include "fsutil.h"
#include "msg.h"
#include "rootdir.h"
#include "steps.h"

/* How much is written at once. */
#define PIECE (1024 * 1024)

/* How often two files are exchanged back while somebody else goes on exchanging them too. */
#define MAX_PUT_BACKS 8

/* A put under way. */
struct upload {
  struct dir_change *change;
  struct dir_place at;
  char name[LOCALITEM_OWN_SIZE];    /* of our file, until it has its own; "": there is none */
  int fd;                           /* our file; -1: none */
  struct statx written;             /* our file, complete */
};

static void
end_upload (struct upload *upload)
{
  if (upload->name[0] != '\0')
    unlinkat (upload->at.fd, upload->name, 0);
  cleanup_close (&upload->fd);
  cleanup_close (&upload->at.fd);
}

static enum cloud_result
reserve_room (struct upload *upload)
{
  struct dir_change *change = upload->change;

  /* A disk that is too full says so before gigabytes were copied.  That a file system cannot tell is no error. */
  if (change->put.size > 0 && fallocate (upload->fd, 0, 0, (off_t) change->put.size) == -1
      && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return dir_cannot (change, change->path);
  return CLOUD_OK;
}

static enum cloud_result
make_file (struct upload *upload, bool is_private)
{
  struct dir_change *change = upload->change;
  const struct localitem_maker maker = dir_maker (change->dir);

  do {
    localitem_upload_name (&maker, upload->name);
    upload->fd = openat (upload->at.fd, upload->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         is_private ? 0600 : 0666);
  } while (upload->fd < 0 && errno == EEXIST);
  if (upload->fd < 0) {
    upload->name[0] = '\0';
    return dir_cannot (change, change->path);
  }
  return CLOUD_OK;
}

static enum cloud_result
write_range (struct upload *upload, const struct cloud_range *range)
{
  struct dir_change *change = upload->change;
  CLEANUP_FREE char *buf = malloc (range->length < PIECE ? range->length + 1 : PIECE);

  if (buf == NULL)
    return dir_failed (change->dir, change->path, &change->sentence, CLOUD_LOCAL, "out of memory");
  for (uint64_t offset = range->offset, end = offset + range->length; offset < end;) {
    const size_t n = end - offset < PIECE ? (size_t) (end - offset) : PIECE;

    if (atomic_load (&change->dir->stopping))
      return CLOUD_STOPPED;
    if (change->put.read (change->opaque, buf, n, offset) == -1)
      return dir_failed (change->dir, change->path, &change->sentence, CLOUD_LOCAL, "its content could not be read");
    if (full_pwrite (upload->fd, buf, n, offset) == -1)
      return dir_cannot (change, change->path);
    offset += n;
  }
  return CLOUD_OK;
}

/* before: the version that is replaced, as it was seen.  CLOUD_WHOLE: it cannot be had, and not all is there to do without. */
static enum cloud_result
write_content (struct upload *upload, const struct statx *before)
{
  struct dir_change *change = upload->change;
  const struct cloud_put *put = &change->put;
  enum cloud_result result = CLOUD_WHOLE;

  if (put->n_ranges > 0 && change->expect)
    result = dir_copy_base (change, &upload->at, before, upload->fd);
  if (result == CLOUD_WHOLE && (put->n_ranges == 0 || put->has_whole)) {
    result = reserve_room (upload);
    return result == CLOUD_OK ? write_range (upload, &(struct cloud_range) { .length = put->size }) : result;
  }
  if (result == CLOUD_WHOLE)
    return dir_failed (change->dir, change->path, &change->sentence, result,
                       "the version that it replaces cannot be read here, so all of it is needed");
  for (size_t i = 0; i < put->n_ranges && result == CLOUD_OK; ++i)
    result = write_range (upload, &put->ranges[i]);
  return result;
}

static enum cloud_result
finish_file (struct upload *upload)
{
  struct dir_change *change = upload->change;
  const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, change->mtime };

  if (change->mtime.tv_sec != 0 && futimens (upload->fd, times) == -1)
    return dir_cannot (change, change->path);
  /* Without it a power loss after the rename could leave the name with an empty file, and the old content gone. */
  if (fsync (upload->fd) == -1 || localitem_look (upload->fd, "", &upload->written) == -1)
    return dir_cannot (change, change->path);
  step_passed ("dir-upload");
  return CLOUD_OK;
}

/* Says what the remote has now: our file, under its name. */
static enum cloud_result
finish_put (struct upload *upload)
{
  struct dir_change *change = upload->change;
  struct statx st;

  upload->name[0] = '\0';
  if (localitem_look (upload->fd, "", &st) == 0) {
    /* If somebody wrote to it already, what we put there has to have another token than what is there now. */
    st.stx_size = upload->written.stx_size;
    st.stx_mtime = upload->written.stx_mtime;
    dir_set_now (change, &st);
  }
  return dir_sync_folder (change, upload->at.fd);
}

static enum cloud_result
put_new (struct upload *upload)
{
  struct dir_change *change = upload->change;

  if (localitem_rename_new (upload->at.fd, upload->name, upload->at.fd, upload->at.name, false) == 0)
    return finish_put (upload);
  /* Our file cannot be gone unless its folder is. */
  if (errno == ENOENT)
    return dir_failed (change->dir, change->path, &change->sentence, CLOUD_PARENT,
                       "the folder that it belongs in is not there");
  return dir_cannot (change, change->path);
}

static enum cloud_result
changed_by_others (struct upload *upload)
{
  return dir_failed (upload->change->dir, upload->change->path, &upload->change->sentence, CLOUD_CHANGED,
                     "somebody else has changed it");
}

/* Exchanges our file and the one that was set aside again, until ours is the one aside.  When somebody replaced ours
 * meanwhile, theirs is the newest and gets the name back. */
static void
put_back (struct upload *upload)
{
  const int fd = upload->at.fd;

  for (int i = 0; i < MAX_PUT_BACKS; ++i) {
    struct statx st;

    if (localitem_exchange (fd, upload->name, upload->at.name) == -1
        /* Ours was removed by somebody: what was set aside has to have its name all the same. */
        && (errno != ENOENT || localitem_rename_new (fd, upload->name, fd, upload->at.name, false) == 0))
      break;
    if (localitem_look (fd, upload->name, &st) == 0 && st.stx_ino == upload->written.stx_ino)
      return;
  }
  /* Whatever is there now is not ours to delete: listings tell of it. */
  if (faccessat (fd, upload->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    msg_notice ("%s/%s is being replaced by other programs all the time; one of its versions is kept as %s beside it",
                rootdir_path (upload->change->dir->root), upload->change->path, upload->name);
  upload->name[0] = '\0';
}

/* Where the file system cannot exchange files: what is changed between the last look and the rename is not noticed. */
static enum cloud_result
replace_by_rename (struct upload *upload, const struct statx *before)
{
  struct dir_change *change = upload->change;
  struct statx st;

  if (localitem_look (upload->at.fd, upload->at.name, &st) == -1)
    return dir_cannot (change, change->path);
  if (!localitem_is_same (before, &st))
    return changed_by_others (upload);
  if (renameat (upload->at.fd, upload->name, upload->at.fd, upload->at.name) == -1)
    return dir_cannot (change, change->path);
  return finish_put (upload);
}

static enum cloud_result
replace (struct upload *upload)
{
  struct dir_change *change = upload->change;
  const int fd = upload->at.fd;
  const struct localitem_maker maker = dir_maker (change->dir);
  __attribute__ ((cleanup (dir_let_go))) struct dir_held held = { .fd = -1 };
  char aside[LOCALITEM_OWN_SIZE];
  struct statx before, after;
  enum cloud_result result = dir_look (change, &upload->at, change->expect, &before);

  if (result == CLOUD_OK)
    result = dir_hold (change, &upload->at, &before, &held);
  if (result != CLOUD_OK)
    return result;

  /* From here on the name may be that of somebody's only copy: after a crash what it names is looked at before it goes. */
  localitem_aside_name (&maker, &before, &upload->written, aside);
  if (localitem_rename_new (fd, upload->name, fd, aside, false) == -1)
    return dir_cannot (change, change->path);
  memcpy (upload->name, aside, sizeof aside);
  step_passed ("dir-aside");

  if (localitem_exchange (fd, upload->name, upload->at.name) == -1)
    return errno == EOPNOTSUPP ? replace_by_rename (upload, &before) : dir_cannot (change, change->path);
  step_passed ("dir-exchanged");
  if (localitem_look (fd, upload->name, &after) == -1 || !localitem_is_same (&before, &after)
      || dir_is_wanted (&held)) {
    put_back (upload);
    return changed_by_others (upload);
  }
  if (unlinkat (fd, upload->name, 0) == -1)
    msg_notice ("%s/%s: the version that was replaced could not be deleted; it is kept as %s beside it: %m",
                rootdir_path (change->dir->root), change->path, upload->name);
  return finish_put (upload);
}

/* Takes over what people have set on the file that is replaced. */
static void
keep_looks (struct upload *upload, const struct statx *st)
{
  CLEANUP_CLOSE int from = openat (upload->at.fd, upload->at.name,
                                   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

  localitem_keep_looks (from, st, upload->fd);
}

enum cloud_result
dir_run_put (struct dir_change *change)
{
  __attribute__ ((cleanup (end_upload))) struct upload upload = { .change = change, .fd = -1, .at.fd = -1 };
  struct statx st;
  enum cloud_result result = dir_open_place (change, change->path, &upload.at);

  if (result != CLOUD_OK)
    return result;

  /* What can be known before the bytes are copied. */
  if (change->expect) {
    result = dir_look (change, &upload.at, change->expect, &st);
    if (result != CLOUD_OK)
      return result;
  }
  else if (localitem_look (upload.at.fd, upload.at.name, &st) == 0) {
    errno = EEXIST;
    return dir_cannot (change, change->path);
  }

  result = make_file (&upload, change->expect != NULL);
  if (result == CLOUD_OK)
    result = write_content (&upload, &st);
  if (result == CLOUD_OK && change->expect)
    keep_looks (&upload, &st);
  if (result == CLOUD_OK)
    result = finish_file (&upload);
  if (result != CLOUD_OK)
    return result;
  return change->expect ? replace (&upload) : put_new (&upload);
}
