/* SPDX-License-Identifier: BSD-3-Clause */
/* How an overlay begins, goes on in the next process, and ends. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsutil.h"
#include "msg.h"
#include "overlay-private.h"

/* The name of one of an overlay's files.  NULL: no memory. */
static char *
file_name (const char *name, const char *suffix, unsigned i)
{
  char *s;

  return (i > 0 ? asprintf (&s, "%s%s%u", name, suffix, i) : asprintf (&s, "%s%s", name, suffix)) == -1 ? NULL : s;
}

static int
open_file (int dir_fd, const char *name, const char *suffix, unsigned i, int flags)
{
  CLEANUP_FREE char *file = file_name (name, suffix, i);

  return file ? openat (dir_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600) : -1;
}

/* 1: there was none.  -1 with errno. */
static int
unlink_file (int dir_fd, const char *name, const char *suffix, unsigned i)
{
  CLEANUP_FREE char *file = file_name (name, suffix, i);

  if (file == NULL)
    return -1;
  if (unlinkat (dir_fd, file, 0) == 0)
    return 0;
  return errno == ENOENT ? 1 : -1;
}

/* All but NAME.saved. */
static int
remove_rest (int dir_fd, const char *name)
{
  int r = 0;

  for (unsigned i = 1; r == 0; ++i)
    r = unlink_file (dir_fd, name, ".data", i);
  if (r == -1 || unlink_file (dir_fd, name, ".data", 0) == -1 || unlink_file (dir_fd, name, ".live", 0) == -1
      || unlink_file (dir_fd, name, ".saved.new", 0) == -1)
    return -1;
  return 0;
}

bool
overlay_exists (int dir_fd, const char *name)
{
  CLEANUP_FREE char *file = file_name (name, ".saved", 0);

  return file && faccessat (dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int
overlay_remove (int dir_fd, const char *name)
{
  /* NAME.saved goes first, and durably: an overlay that has it and lacks its data would be taken for a damaged one. */
  if (unlink_file (dir_fd, name, ".saved", 0) == -1 || fsync (dir_fd) == -1 || remove_rest (dir_fd, name) == -1) {
    msg_error ("%s: cannot remove what a guest wrote: %m", name);
    return -1;
  }
  return 0;
}

static uint64_t
data_file_bytes (const struct overlay *o, unsigned i)
{
  const uint64_t rest = o->disk_bytes - i * DATA_SPAN;

  return LOG_BYTES + (rest < DATA_SPAN ? rest : DATA_SPAN);
}

static int
create_files (struct overlay *o, int dir_fd, const char *name)
{
  if (remove_rest (dir_fd, name) == -1 || getrandom (&o->id, sizeof o->id, 0) != sizeof o->id)
    return -1;
  for (unsigned i = 0; i < o->n_data; ++i) {
    o->data[i].fd = open_file (dir_fd, name, ".data", i, O_CREAT | O_EXCL);
    if (o->data[i].fd == -1 || ftruncate (o->data[i].fd, data_file_bytes (o, i)) == -1 || fsync (o->data[i].fd) == -1)
      return -1;
  }
  if (overlay_saved_create (o, dir_fd, name) == -1)
    return -1;
  o->live_fd = open_file (dir_fd, name, ".live", 0, O_CREAT | O_TRUNC);
  o->log_ready = true;
  return o->live_fd == -1 ? -1 : overlay_live_rewrite (o);
}

static int
open_data (struct overlay *o, int dir_fd, const char *path, const char *name)
{
  for (unsigned i = 0; i < o->n_data; ++i) {
    struct stat st;

    o->data[i].fd = open_file (dir_fd, name, ".data", i, 0);
    if (o->data[i].fd == -1 || fstat (o->data[i].fd, &st) == -1) {
      msg_error ("%s: what a guest wrote is damaged: %s.data, part %u: %m", path, name, i);
      return -1;
    }
    if ((uint64_t) st.st_size != data_file_bytes (o, i)) {
      msg_error ("%s: what a guest wrote is damaged: %s.data, part %u, has %" PRIu64 " bytes instead of %" PRIu64, path,
                 name, i, (uint64_t) st.st_size, data_file_bytes (o, i));
      return -1;
    }
  }
  /* Where the log is a hole as yet, overlay_bytes must not count it. */
  atomic_store (&o->has_log, lseek (o->data[0].fd, 0, SEEK_DATA) < (off_t) LOG_BYTES
                             && lseek (o->data[0].fd, 0, SEEK_HOLE) >= (off_t) LOG_BYTES);
  return 0;
}

static int
copy_bits (struct bits *to, const struct bits *from)
{
  uint64_t at, start, n;

  for (at = 0; bits_next (from, at, &start, &n); at = start + n)
    if (bits_set (to, start, n) == -1)
      return -1;
  return 0;
}

/* This kernel has run since the last write: NAME.live has all, and a part of it may not be durable. */
static void
go_on (struct overlay *o)
{
  uint64_t at, start, n;

  for (at = 0; bits_next (&o->present, at, &start, &n);) {
    const uint64_t leaf = start / LEAF_SECTORS;

    for (unsigned w = 0; w < LEAF_WORDS; ++w)
      if (bits_get_word (&o->present, leaf, w) & ~bits_get_word (&o->collected, leaf, w)) {
        atomic_fetch_or (&o->grown[leaf / 64], UINT64_C (1) << (leaf & 63));
        break;
      }
    at = (leaf + 1) * LEAF_SECTORS;
  }
  for (unsigned i = 0; i < o->n_data; ++i)
    atomic_store (&o->data[i].dirty, true);
  if (atomic_load (&o->n_present) > 0)
    atomic_store (&o->clock, 1);
}

static int
load_files (struct overlay *o, int dir_fd, const char *path, const char *name)
{
  int same_boot;

  if (overlay_saved_load (o, path, name) == -1 || open_data (o, dir_fd, path, name) == -1)
    return -1;
  o->live_fd = open_file (dir_fd, name, ".live", 0, O_CREAT);
  if (o->live_fd == -1) {
    msg_error ("%s/%s.live: %m", path, name);
    return -1;
  }
  same_boot = overlay_live_load (o, path, name);
  if (same_boot == 0)
    o->lost_power = true;
  if (same_boot == -1 || overlay_log_load (o, path, name, !same_boot) == -1)
    return -1;
  if (same_boot) {
    go_on (o);
    return 0;
  }
  /* Before NAME.live says that this kernel has seen it: the next process must know, too.  Nothing is synced for that: what
   * another loss of power takes away, it brings back. */
  if (overlay_saved_write_header (o, o->saved_fd, o->checkpoint_seq) == -1) {
    msg_error ("%s/%s.saved: cannot write down that power was lost: %m", path, name);
    return -1;
  }
  if (copy_bits (&o->present, &o->collected) == -1 || copy_bits (&o->fresh, &o->collected) == -1
      || overlay_live_rewrite (o) == -1) {
    msg_error ("%s/%s.live: cannot write down which sectors the guest wrote: %m", path, name);
    return -1;
  }
  return 0;
}

bool
overlay_lost_power (const struct overlay *o)
{
  return o->lost_power && atomic_load (&o->n_present) > 0;
}

int
overlay_trust (struct overlay *o)
{
  LOCK_FOR_SCOPE (&o->sync_lock);

  o->lost_power = false;
  return overlay_saved_write_header (o, o->saved_fd, o->checkpoint_seq);
}

static int
init_locks (struct overlay *o)
{
  pthread_rwlockattr_t attr;
  int err;

  /* A sync must not wait for ever because writers always overlap. */
  pthread_rwlockattr_init (&attr);
  pthread_rwlockattr_setkind_np (&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  err = pthread_rwlock_init (&o->data_lock, &attr);
  pthread_rwlockattr_destroy (&attr);
  if (err == 0 && (err = pthread_mutex_init (&o->map_lock, NULL)) != 0)
    pthread_rwlock_destroy (&o->data_lock);
  if (err == 0 && (err = pthread_mutex_init (&o->sync_lock, NULL)) != 0) {
    pthread_rwlock_destroy (&o->data_lock);
    pthread_mutex_destroy (&o->map_lock);
  }
  errno = err;
  return err ? -1 : 0;
}

static void
free_overlay (struct overlay *o)
{
  for (unsigned i = 0; o->data && i < o->n_data; ++i)
    if (o->data[i].fd != -1)
      close (o->data[i].fd);
  overlay_live_unmap (o);
  if (o->live_fd != -1)
    close (o->live_fd);
  if (o->saved_fd != -1)
    close (o->saved_fd);
  bits_free (&o->present);
  bits_free (&o->fresh);
  bits_free (&o->watched);
  bits_free (&o->collected);
  free (o->grown);
  free (o->unsaved);
  free (o->live_has_room);
  free (o->full_present);
  free (o->full_fresh);
  free (o->full_saved);
  free (o->record);
  free (o->data);
  pthread_rwlock_destroy (&o->data_lock);
  pthread_mutex_destroy (&o->map_lock);
  pthread_mutex_destroy (&o->sync_lock);
  free (o);
}

/* Memory, with nothing in it.  NULL with errno. */
static struct overlay *
new_overlay (uint64_t disk_bytes)
{
  struct overlay *o = calloc (1, sizeof *o);
  size_t n_words;

  if (o == NULL)
    return NULL;
  if (init_locks (o) == -1) {
    free (o);
    return NULL;
  }
  o->disk_bytes = disk_bytes;
  o->n_sectors = disk_bytes / SECTOR;
  o->n_leaves = (o->n_sectors + LEAF_SECTORS - 1) / LEAF_SECTORS;
  o->live_fd = o->saved_fd = -1;
  o->n_data = (disk_bytes + DATA_SPAN - 1) / DATA_SPAN;
  o->data = calloc (o->n_data, sizeof *o->data);
  for (unsigned i = 0; o->data && i < o->n_data; ++i)
    o->data[i].fd = -1;
  n_words = (o->n_leaves + 63) / 64;
  o->grown = calloc (n_words, sizeof *o->grown);
  o->unsaved = calloc (n_words, sizeof *o->unsaved);
  o->live_has_room = calloc (n_words, sizeof *o->live_has_room);
  o->full_present = calloc (n_words, 8);
  o->full_fresh = calloc (n_words, 8);
  o->full_saved = calloc (n_words, 8);
  if (bits_init (&o->present, o->n_sectors) == -1 || bits_init (&o->fresh, o->n_sectors) == -1
      || bits_init (&o->watched, o->n_sectors) == -1 || bits_init (&o->collected, o->n_sectors) == -1 || !o->data
      || !o->grown || !o->unsaved || !o->live_has_room || !o->full_present || !o->full_fresh || !o->full_saved) {
    free_overlay (o);
    errno = ENOMEM;
    return NULL;
  }
  return o;
}

struct overlay *
overlay_open (int dir_fd, const char *path, const char *name, uint64_t disk_bytes)
{
  struct overlay *o;
  int r;

  if (disk_bytes == 0 || disk_bytes % SECTOR != 0 || disk_bytes > (uint64_t) INT64_MAX - LOG_BYTES) {
    msg_error ("%s/%s: a disk of %" PRIu64 " bytes cannot be written to", path, name, disk_bytes);
    return NULL;
  }
  o = new_overlay (disk_bytes);
  if (o == NULL) {
    msg_error ("%s/%s: cannot keep what a guest writes: %m", path, name);
    return NULL;
  }

  o->saved_fd = open_file (dir_fd, name, ".saved", 0, 0);
  if (o->saved_fd != -1)
    r = load_files (o, dir_fd, path, name);
  else {
    r = errno == ENOENT ? create_files (o, dir_fd, name) : -1;
    if (r == -1)
      msg_error ("%s/%s: cannot keep what a guest writes: %m", path, name);
  }
  if (r == -1) {
    free_overlay (o);
    return NULL;
  }
  overlay_live_map (o);
  return o;
}

void
overlay_discard (struct overlay *o)
{
  free_overlay (o);
}

void
overlay_close (struct overlay *o)
{
  if (overlay_sync (o) == -1)
    msg_error ("what a guest wrote is kept, but may not survive a loss of power: %m");
  else if (o->log_seq != o->checkpoint_seq) {
    /* Not needed: the log has it all.  It makes the next open shorter. */
    LOCK_FOR_SCOPE (&o->sync_lock);
    overlay_checkpoint (o);
  }
  free_overlay (o);
}
