/* SPDX-License-Identifier: BSD-3-Clause */
/* The blob store: sparse files that hold bytes of versions and rendered directories. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "blobs.h"
#include "cleanup.h"
#include "fsutil.h"
#include "msg.h"
#include "steps.h"

/* position = blob number << BLOB_SHIFT | offset */
#define BLOB_SHIFT 44
#define BLOB_OFFSET(position) ((position) & ((UINT64_C (1) << BLOB_SHIFT) - 1))
#define BLOB_NUMBER(position) ((position) >> BLOB_SHIFT)

/* A blob file is followed by the next one once it is this long (virtually), so that old ones can be removed whole. */
#define BLOB_FULL (UINT64_C (1) << 40)

#define MAX_BLOBS 4096

/* What file systems allocate at once, usually.  The rest of such a piece behind a range gives no room back. */
#define HOST_PAGE UINT64_C (4096)

#define LEAVE_BYTES (UINT64_C (8) << 20)

/* Copying: so much goes through memory at once, and so much through the kernel. */
#define COPY_PIECE (1 << 20)
#define COPY_AT_ONCE (UINT64_C (64) << 20)

#define RESERVE_NAME "reserve"
#define RESERVE_BYTES (4 << 20)

struct blobs {
  int dir_fd;
  char *path;
  bool leave_room;

  /* Protects next, and opening of blob files. */
  pthread_mutex_t lock;
  uint64_t next;                 /* the next free position, aligned */

  /* Descriptor + 1, or 0 while not open: readers take it without the lock. */
  atomic_int fds[MAX_BLOBS];
  atomic_bool dirty[MAX_BLOBS];  /* written since the last sync */
};

static void
blob_name (char name[32], uint64_t number)
{
  snprintf (name, 32, "blob-%06llu", (unsigned long long) number);
}

struct blobs *
blobs_open (int dir_fd, const char *path)
{
  struct blobs *blobs = calloc (1, sizeof *blobs);

  if (blobs == NULL || (blobs->path = strdup (path)) == NULL) {
    msg_error ("out of memory");
    free (blobs);
    return NULL;
  }
  blobs->dir_fd = dir_fd;
  pthread_mutex_init (&blobs->lock, NULL);
  return blobs;
}

void
blobs_close (struct blobs *blobs)
{
  if (blobs == NULL)
    return;
  for (size_t i = 0; i < MAX_BLOBS; ++i)
    if (blobs->fds[i] > 0)
      close (blobs->fds[i] - 1);
  pthread_mutex_destroy (&blobs->lock);
  free (blobs->path);
  free (blobs);
}

static int
blob_fd (struct blobs *blobs, uint64_t position, bool create)
{
  const uint64_t number = BLOB_NUMBER (position);
  char name[32];
  int fd;

  if (number >= MAX_BLOBS) {
    errno = ENOSPC;
    return -1;
  }
  fd = atomic_load_explicit (&blobs->fds[number], memory_order_acquire) - 1;
  if (fd >= 0)
    return fd;

  LOCK_FOR_SCOPE (&blobs->lock);
  fd = blobs->fds[number] - 1;
  if (fd >= 0)
    return fd;
  blob_name (name, number);
  fd = openat (blobs->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd == -1 && errno == ENOENT && create) {
    fd = openat (blobs->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Without this, a power loss could take the name, and with it all bytes that records claim are there. */
    if (fd >= 0)
      fsync (blobs->dir_fd);
  }
  if (fd >= 0)
    atomic_store_explicit (&blobs->fds[number], fd + 1, memory_order_release);
  return fd;
}

int
blobs_trim (struct blobs *blobs, uint64_t used)
{
  const uint64_t aligned = (used + BLOB_ALIGN - 1) & ~(uint64_t) (BLOB_ALIGN - 1);
  const int fd = blob_fd (blobs, used, true);
  char name[32];

  /* Without this cut, the bytes of a run that never came on record would shine through as the padding behind a later,
   * shorter one at the same place.  The run on record may be shorter on disk (nothing fetched yet): never made longer. */
  if (fd == -1 || (lseek (fd, 0, SEEK_END) > (off_t) BLOB_OFFSET (used) && ftruncate (fd, BLOB_OFFSET (used)) == -1)) {
    msg_error ("%s: cannot prepare the blob file: %m", blobs->path);
    return -1;
  }
  for (uint64_t number = BLOB_NUMBER (used) + 1; number < MAX_BLOBS; ++number) {
    blob_name (name, number);
    /* Files are made at their first write, so there may be gaps among them. */
    unlinkat (blobs->dir_fd, name, 0);
  }
  blobs->next = aligned;
  blobs_keep_reserve (blobs);
  return 0;
}

uint64_t
blobs_alloc (struct blobs *blobs, uint64_t size)
{
  LOCK_FOR_SCOPE (&blobs->lock);
  const uint64_t align = size >= BLOB_LARGE ? BLOB_LARGE : BLOB_ALIGN;
  uint64_t position = (blobs->next + align - 1) & ~(align - 1);

  if (size > BLOB_MAX_RUN) {
    errno = EFBIG;
    return UINT64_MAX;
  }
  if (BLOB_OFFSET (position) > 0 && BLOB_OFFSET (position) + size > BLOB_FULL)
    position = (BLOB_NUMBER (position) + 1) << BLOB_SHIFT;
  blobs->next = (position + size + BLOB_ALIGN - 1) & ~(uint64_t) (BLOB_ALIGN - 1);
  return position;
}

int
blobs_read (struct blobs *blobs, void *buf, size_t n, uint64_t position)
{
  const int fd = blob_fd (blobs, position, false);

  return fd == -1 ? -1 : full_pread (fd, buf, n, BLOB_OFFSET (position));
}

void
blobs_leave_room (struct blobs *blobs)
{
  blobs->leave_room = true;
}

static bool
has_room (const struct blobs *blobs, int fd, size_t n)
{
  struct statvfs st;
  uint64_t total, leave;

  if (!blobs->leave_room || fstatvfs (fd, &st) == -1)
    return true;
  total = (uint64_t) st.f_blocks * st.f_frsize;
  leave = total / 8 < LEAVE_BYTES ? total / 8 : LEAVE_BYTES;
  return (uint64_t) st.f_bavail * st.f_frsize >= leave + n;
}

int
blobs_write (struct blobs *blobs, const void *buf, size_t n, uint64_t position)
{
  const int fd = blob_fd (blobs, position, true);

  if (fd >= 0 && !has_room (blobs, fd, n)) {
    errno = ENOSPC;
    return -1;
  }
  if (fd == -1 || full_pwrite (fd, buf, n, BLOB_OFFSET (position)) == -1)
    return -1;
  /* After the write: a sync that began before it must not take the mark away. */
  atomic_store (&blobs->dirty[BLOB_NUMBER (position)], true);
  return 0;
}

/* Where the host's file systems can't do it by themselves. */
static int
copy_by_hand (struct blobs *blobs, uint64_t from, uint64_t to, uint64_t n)
{
  CLEANUP_FREE char *buf = malloc (COPY_PIECE);

  if (buf == NULL)
    return -1;
  while (n > 0) {
    const size_t piece = n < COPY_PIECE ? n : COPY_PIECE;

    if (blobs_read (blobs, buf, piece, from) == -1 || blobs_write (blobs, buf, piece, to) == -1)
      return -1;
    from += piece;
    to += piece;
    n -= piece;
  }
  return 0;
}

static int
copy_data (struct blobs *blobs, uint64_t from, uint64_t to, uint64_t n)
{
  const int in = blob_fd (blobs, from, false), out = blob_fd (blobs, to, true);

  while (n > 0 && in >= 0 && out >= 0) {
    off_t read_at = BLOB_OFFSET (from), write_at = BLOB_OFFSET (to);
    const size_t piece = n < COPY_AT_ONCE ? n : COPY_AT_ONCE;
    ssize_t done;

    if (!has_room (blobs, out, piece)) {
      errno = ENOSPC;
      return -1;
    }
    done = copy_file_range (in, &read_at, out, &write_at, piece, 0);
    if (done == -1 && errno == EINTR)
      continue;
    if (done <= 0)
      return done == -1 && errno == ENOSPC ? -1 : copy_by_hand (blobs, from, to, n);
    atomic_store (&blobs->dirty[BLOB_NUMBER (to)], true);
    from += done;
    to += done;
    n -= done;
  }
  return n == 0 ? 0 : -1;
}

int
blobs_copy (struct blobs *blobs, uint64_t from, uint64_t to, uint64_t n)
{
  const int fd = blob_fd (blobs, from, false);
  const uint64_t end = from + n, number = from - BLOB_OFFSET (from);

  for (uint64_t at = from; at < end;) {
    const off_t data = lseek (fd, BLOB_OFFSET (at), SEEK_DATA);
    off_t hole;

    if (data == -1)
      return errno == ENXIO ? 0 : -1;  /* lseek(2): no data behind the offset */
    if (number + data >= end)
      return 0;
    hole = lseek (fd, data, SEEK_HOLE);
    if (hole <= data)
      return -1;
    at = number + data;
    const uint64_t stop = number + hole < end ? number + hole : end;

    if (copy_data (blobs, at, to + (at - from), stop - at) == -1)
      return -1;
    at = stop;
  }
  return 0;
}

bool
blobs_reach (struct blobs *blobs, uint64_t end)
{
  const int fd = end > 0 ? blob_fd (blobs, end - 1, false) : -1;
  struct stat st;

  return end == 0 || (fd >= 0 && fstat (fd, &st) == 0 && (uint64_t) st.st_size >= BLOB_OFFSET (end - 1) + 1);
}

void
blobs_keep_reserve (struct blobs *blobs)
{
  CLEANUP_CLOSE int fd = openat (blobs->dir_fd, RESERVE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

  /* Where there is no room for all of it now, it is tried again after the next deletion. */
  for (off_t bytes = RESERVE_BYTES; fd >= 0 && bytes >= RESERVE_BYTES / 16; bytes /= 4)
    if (fallocate (fd, 0, 0, bytes) == 0)
      return;
  msg_debug ("%s: no room for a reserve: %m", blobs->path);
}

void
blobs_release_reserve (struct blobs *blobs)
{
  unlinkat (blobs->dir_fd, RESERVE_NAME, 0);
}

int
blobs_sync (struct blobs *blobs)
{
  for (size_t i = 0; i < MAX_BLOBS; ++i) {
    if (!atomic_exchange (&blobs->dirty[i], false))
      continue;
    /* Without this, records would claim bytes that a power loss turns into zeros. */
    if (fdatasync (blobs->fds[i] - 1) == -1) {
      blobs->dirty[i] = true;
      return -1;
    }
    step_passed ("blob sync");
  }
  return 0;
}

int
blobs_punch (struct blobs *blobs, uint64_t position, uint64_t size)
{
  const int fd = blob_fd (blobs, position, false);
  /* Of a page that is punched in part no room is given back.  What follows in the last one is nobody's: runs begin at
   * multiples of BLOB_ALIGN, and of a run whole blocks are kept. */
  const uint64_t end = (BLOB_OFFSET (position) + size + HOST_PAGE - 1) & ~(uint64_t) (HOST_PAGE - 1);

  if (fd == -1)
    return errno == ENOENT ? 0 : -1;
  return fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOB_OFFSET (position), end - BLOB_OFFSET (position));
}

uint64_t
blobs_stamp (struct blobs *blobs)
{
  uint64_t stamp = 0, last;

  {
    LOCK_FOR_SCOPE (&blobs->lock);
    last = BLOB_NUMBER (blobs->next);
  }
  for (uint64_t number = 0; number <= last; ++number) {
    char name[32];
    struct stat st;

    blob_name (name, number);
    if (fstatat (blobs->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
      continue;
    const uint64_t facts[] = { number, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };

    /* FNV-1a, over words */
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; ++i)
      stamp = (stamp ^ facts[i]) * UINT64_C (0x100000001b3);
  }
  return stamp;
}

/* Punches what of [at, end) is not to be kept.  *keep is the first range that may matter here, and is moved on. */
static int
sweep_extent (struct blobs *blobs, uint64_t at, uint64_t end, const struct blob_range **keep,
              const struct blob_range *keep_end, uint64_t *freed)
{
  while (at < end) {
    uint64_t gap_end = end, kept_end = end;

    while (*keep < keep_end && (*keep)->end <= at)
      ++*keep;
    if (*keep < keep_end && (*keep)->start < end) {
      /* Of the page in which it begins, all stays. */
      gap_end = (*keep)->start & ~(HOST_PAGE - 1);
      kept_end = ((*keep)->end + HOST_PAGE - 1) & ~(HOST_PAGE - 1);
    }
    if (gap_end > at) {
      if (blobs_punch (blobs, at, gap_end - at) == -1)
        return -1;
      *freed += gap_end - at;
    }
    at = kept_end;
  }
  return 0;
}

int
blobs_sweep (struct blobs *blobs, const struct blob_range *keep, size_t n, uint64_t *ret_freed)
{
  const struct blob_range *const keep_end = keep + n;

  *ret_freed = 0;
  for (uint64_t number = 0; number <= BLOB_NUMBER (blobs->next); ++number) {
    const uint64_t base = number << BLOB_SHIFT;
    const int fd = blob_fd (blobs, base, false);
    off_t data, hole = 0;

    if (fd == -1 && errno == ENOENT)
      continue;
    if (fd == -1)
      return -1;
    while ((data = lseek (fd, hole, SEEK_DATA)) >= 0) {
      hole = lseek (fd, data, SEEK_HOLE);
      if (hole <= data || sweep_extent (blobs, base + data, base + hole, &keep, keep_end, ret_freed) == -1)
        return -1;
    }
    if (errno != ENXIO)        /* lseek(2): no data behind the offset */
      return -1;
  }
  return 0;
}
