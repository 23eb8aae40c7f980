/* SPDX-License-Identifier: BSD-3-Clause */
/* What one view's guest wrote: its changes and reads, and what the interpreter asks.  The files, the rules and the
 * locks are described in overlay-private.h. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsutil.h"
#include "overlay-private.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))

static void
cleanup_rwlock (pthread_rwlock_t **lock)
{
  pthread_rwlock_unlock (*lock);
}

/* Holds the data lock to the end of the scope: exclusive or shared. */
#define DATA_LOCK_FOR_SCOPE(o, exclusive)                                                                            \
  __attribute__ ((cleanup (cleanup_rwlock), unused)) pthread_rwlock_t *scope_data_lock = &(o)->data_lock;           \
  if (exclusive)                                                                                                     \
    pthread_rwlock_wrlock (scope_data_lock);                                                                         \
  else                                                                                                               \
    pthread_rwlock_rdlock (scope_data_lock)

/* ---- the data files ---- */

/* Of the n bytes at offset of the disk, those that stand in one file: how many, which file, where. */
static uint64_t
data_part (const struct overlay *o, uint64_t n, uint64_t offset, struct overlay_data **ret_data, off_t *ret_position)
{
  *ret_data = &o->data[offset / DATA_SPAN];
  *ret_position = LOG_BYTES + offset % DATA_SPAN;
  return MIN (n, DATA_SPAN - offset % DATA_SPAN);
}

static void
set_dirty (struct overlay_data *data)
{
  if (!atomic_load_explicit (&data->dirty, memory_order_relaxed))
    atomic_store (&data->dirty, true);
}

static int
write_zeros (struct overlay_data *data, uint64_t n, off_t position)
{
  static const uint8_t zeros[65536];

  while (n > 0) {
    const uint64_t part = MIN (n, sizeof zeros);

    if (full_pwrite (data->fd, zeros, part, position) == -1)
      return -1;
    n -= part;
    position += part;
  }
  return 0;
}

/* The host's file system zeroes what is not a whole page of its own. */
static int
punch (struct overlay *o, struct overlay_data *data, uint64_t n, off_t position)
{
  if (!atomic_load_explicit (&o->no_punch, memory_order_relaxed)) {
    int r;

    do
      r = fallocate (data->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, n);
    while (r == -1 && errno == EINTR);
    if (r == 0)
      return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
      return -1;
    atomic_store (&o->no_punch, true);
  }
  return write_zeros (data, n, position);
}

/* buf NULL: zeros. */
int
overlay_data_write (struct overlay *o, const void *buf, uint64_t n, uint64_t offset)
{
  const uint8_t *p = buf;

  while (n > 0) {
    struct overlay_data *data;
    off_t position;
    const uint64_t part = data_part (o, n, offset, &data, &position);
    const int r = p ? full_pwrite (data->fd, p, part, position) : punch (o, data, part, position);

    /* After a failure, too: a part may have been written. */
    set_dirty (data);
    if (r == -1)
      return -1;
    if (p)
      p += part;
    n -= part;
    offset += part;
  }
  return 0;
}

int
overlay_data_read (const struct overlay *o, void *buf, uint64_t n, uint64_t offset)
{
  uint8_t *p = buf;

  while (n > 0) {
    struct overlay_data *data;
    off_t position;
    const uint64_t part = data_part (o, n, offset, &data, &position);

    if (full_pread (data->fd, p, part, position) == -1)
      return -1;
    p += part;
    n -= part;
    offset += part;
  }
  return 0;
}

/* ---- what guests do ---- */

static int
check_range (const struct overlay *o, uint64_t n, uint64_t offset)
{
  if (offset <= o->disk_bytes && n <= o->disk_bytes - offset)
    return 0;
  errno = EINVAL;
  return -1;
}

/* Before the data change, so that who finds no hit has seen none of the new bytes. */
static void
note_watched (struct overlay *o, uint64_t start, uint64_t n)
{
  if (!atomic_load (&o->watching))
    return;
  /* watched is only cleared while no change is under way. */
  if (bits_all (&o->watched, start, n))
    return;
  LOCK_FOR_SCOPE (&o->map_lock);
  if (bits_set (&o->watched, start, n) == -1)
    atomic_store (&o->watch_all, true);
}

/* After the marks, so that who read the clock before it moved reads the new bytes or sees it move. */
static void
note_change (struct overlay *o)
{
  atomic_store_explicit (&o->last_write_ms, monotonic_ms (), memory_order_relaxed);
  atomic_fetch_add (&o->clock, 1);
}

static int
mark_written (struct overlay *o, uint64_t start, uint64_t n)
{
  if (bits_all (&o->present, start, n) && bits_all (&o->fresh, start, n))
    return 0;
  LOCK_FOR_SCOPE (&o->map_lock);
  return overlay_mark (o, start, n, MARK_WRITTEN);
}

/* A change failed half way: present sectors may have got new bytes, so they are to be looked at again. */
static void
mark_failed (struct overlay *o, uint64_t start, uint64_t n)
{
  const int err = errno;

  while (n > 0) {
    bool set;
    const uint64_t run = bits_run (&o->present, start, n, &set);

    if (set)
      mark_written (o, start, run);
    start += run;
    n -= run;
  }
  note_change (o);
  errno = err;
}

/* The first or the last sector of a change, if that covers only a part of it. */
struct edge {
  bool filled;                 /* bytes has what the disk has: the sector was absent */
  uint64_t sector;
  uint8_t bytes[SECTOR];
};

static int
fill_edge (struct overlay *o, struct edge *edge, uint64_t sector, overlay_fill fill, void *opaque)
{
  edge->filled = false;
  edge->sector = sector;
  if (bits_all (&o->present, sector, 1))
    return 0;
  if (fill (opaque, edge->bytes, SECTOR, sector * SECTOR) == -1)
    return -1;
  edge->filled = true;
  return 0;
}

/* Changes the part of [offset, offset + n) that is in the edge's sector: all of the sector, if it is absent. */
static int
store_edge (struct overlay *o, struct edge *edge, const uint8_t *buf, uint64_t n, uint64_t offset)
{
  const uint64_t sector_offset = edge->sector * SECTOR;
  const uint64_t from = offset > sector_offset ? offset : sector_offset;
  const uint64_t to = MIN (offset + n, sector_offset + SECTOR);
  static const uint8_t zeros[SECTOR];
  const uint8_t *const part = buf ? buf + (from - offset) : zeros;

  if (bits_all (&o->present, edge->sector, 1))
    return overlay_data_write (o, part, to - from, from);
  memcpy (edge->bytes + (from - sector_offset), part, to - from);
  return overlay_data_write (o, edge->bytes, SECTOR, sector_offset);
}

/* The span of a change: whole sectors, and up to two edges around them. */
static int
store_span (struct overlay *o, struct edge *head, struct edge *tail, const uint8_t *buf, uint64_t n, uint64_t offset)
{
  uint64_t from = offset, to = offset + n;

  if (!(head && head->filled) && !(tail && tail->filled))
    return overlay_data_write (o, buf, n, offset);
  if (head) {
    if (store_edge (o, head, buf, n, offset) == -1)
      return -1;
    from = MIN (to, (head->sector + 1) * SECTOR);
  }
  if (tail) {
    if (store_edge (o, tail, buf, n, offset) == -1)
      return -1;
    to = tail->sector * SECTOR;
  }
  return from < to ? overlay_data_write (o, buf ? buf + (from - offset) : NULL, to - from, from) : 0;
}

/* buf NULL: zeros. */
static int
store (struct overlay *o, const void *buf, uint64_t n, uint64_t offset, overlay_fill fill, void *opaque)
{
  const uint64_t first = offset / SECTOR, last = (offset + n - 1) / SECTOR;
  struct edge head, tail;
  const bool has_tail = (offset + n) % SECTOR != 0;
  const bool has_head = offset % SECTOR != 0 && !(has_tail && first == last);

  if (check_range (o, n, offset) == -1)
    return -1;
  if (n == 0)
    return 0;
  head.filled = tail.filled = false;
  /* Without a lock: it may take as long as the network.  What the disk has below does not change. */
  if ((has_head && fill_edge (o, &head, first, fill, opaque) == -1)
      || (has_tail && fill_edge (o, &tail, last, fill, opaque) == -1))
    return -1;

  /* Whole sectors, and parts of present ones, need no order among each other.  A sector that is made whole from the
   * disk's bytes would take back what another writer put there a moment ago, and so that happens alone. */
  DATA_LOCK_FOR_SCOPE (o, head.filled || tail.filled);
  note_watched (o, first, last - first + 1);
  if (store_span (o, has_head ? &head : NULL, has_tail ? &tail : NULL, buf, n, offset) == -1
      || mark_written (o, first, last - first + 1) == -1) {
    mark_failed (o, first, last - first + 1);
    return -1;
  }
  note_change (o);
  return 0;
}

int
overlay_write (struct overlay *o, const void *buf, size_t n, uint64_t offset, overlay_fill fill, void *opaque)
{
  return store (o, buf, n, offset, fill, opaque);
}

int
overlay_zero (struct overlay *o, uint64_t n, uint64_t offset, overlay_fill fill, void *opaque)
{
  return store (o, NULL, n, offset, fill, opaque);
}

int
overlay_trim (struct overlay *o, uint64_t n, uint64_t offset)
{
  const uint64_t first = (offset + SECTOR - 1) / SECTOR;
  int r;

  if (check_range (o, n, offset) == -1)
    return -1;
  n = (offset + n) / SECTOR > first ? (offset + n) / SECTOR - first : 0;
  if (n == 0)
    return 0;

  DATA_LOCK_FOR_SCOPE (o, false);
  note_watched (o, first, n);
  r = overlay_data_write (o, NULL, n * SECTOR, first * SECTOR);
  if (r == 0) {
    LOCK_FOR_SCOPE (&o->map_lock);
    r = overlay_mark (o, first, n, MARK_TRIMMED);
  }
  if (r == -1) {
    mark_failed (o, first, n);
    return -1;
  }
  note_change (o);
  return 0;
}

bool
overlay_is_empty (const struct overlay *o)
{
  return atomic_load (&o->n_present) == 0;
}

uint64_t
overlay_bytes (const struct overlay *o)
{
  const uint64_t present = atomic_load (&o->n_present) * SECTOR;
  const uint64_t log = atomic_load (&o->has_log) ? LOG_BYTES : 0;
  uint64_t blocks = 0;
  struct stat st;

  for (unsigned i = 0; i < o->n_data; ++i)
    if (fstat (o->data[i].fd, &st) == 0)
      blocks += (uint64_t) st.st_blocks * 512;
  /* What was trimmed is present and has no blocks; a short write has more of them than bytes. */
  return MIN (present, blocks > log ? blocks - log : 0);
}

uint64_t
overlay_present_bytes (const struct overlay *o)
{
  return atomic_load_explicit (&o->n_present, memory_order_relaxed) * SECTOR;
}

bool
overlay_has_room (const struct overlay *o, uint64_t n, uint64_t offset)
{
  while (n > 0) {
    struct overlay_data *data;
    off_t position;
    const uint64_t part = data_part (o, n, offset, &data, &position);
    const off_t hole = lseek (data->fd, position, SEEK_HOLE);

    if (hole == -1 || hole < position + (off_t) part)
      return false;
    n -= part;
    offset += part;
  }
  return true;
}

uint64_t
overlay_run (const struct overlay *o, uint64_t n, uint64_t offset, bool *ret_present)
{
  const uint64_t first = offset / SECTOR;
  uint64_t sectors;

  if (n == 0) {
    *ret_present = false;
    return 0;
  }
  sectors = bits_run (&o->present, first, (offset + n - 1) / SECTOR - first + 1, ret_present);
  return MIN (n, (first + sectors) * SECTOR - offset);
}

int
overlay_read (struct overlay *o, void *buf, size_t n, uint64_t offset)
{
  return check_range (o, n, offset) == -1 ? -1 : overlay_data_read (o, buf, n, offset);
}

/* ---- what the interpreter asks ---- */

uint64_t
overlay_clock (const struct overlay *o)
{
  return atomic_load (&o->clock);
}

uint64_t
overlay_last_write_ms (const struct overlay *o)
{
  return atomic_load (&o->last_write_ms);
}

static bool
next_run (const struct bits *bits, uint64_t offset, uint64_t *ret_start, uint64_t *ret_bytes)
{
  uint64_t start, n;

  if (!bits_next (bits, offset / SECTOR, &start, &n))
    return false;
  *ret_start = start * SECTOR;
  *ret_bytes = n * SECTOR;
  if (*ret_start < offset) {
    *ret_bytes -= offset - *ret_start;
    *ret_start = offset;
  }
  return true;
}

bool
overlay_next_fresh (const struct overlay *o, uint64_t offset, uint64_t *ret_start, uint64_t *ret_bytes)
{
  return next_run (&o->fresh, offset, ret_start, ret_bytes);
}

bool
overlay_next_present (const struct overlay *o, uint64_t offset, uint64_t *ret_start, uint64_t *ret_bytes)
{
  return next_run (&o->present, offset, ret_start, ret_bytes);
}

static uint64_t
sectors_of (uint64_t n, uint64_t offset)
{
  return n == 0 ? 0 : (offset + n - 1) / SECTOR - offset / SECTOR + 1;
}

bool
overlay_is_fresh (const struct overlay *o, uint64_t n, uint64_t offset)
{
  return bits_all (&o->fresh, offset / SECTOR, sectors_of (n, offset));
}

bool
overlay_is_present (const struct overlay *o, uint64_t n, uint64_t offset)
{
  return bits_all (&o->present, offset / SECTOR, sectors_of (n, offset));
}

/* With the data lock, exclusive: each write is either over, and the caller will read it, or will note itself. */
static void
set_watching (struct overlay *o, bool watching)
{
  DATA_LOCK_FOR_SCOPE (o, true);
  LOCK_FOR_SCOPE (&o->map_lock);

  atomic_store (&o->watching, watching);
  atomic_store (&o->watch_all, false);
  bits_clear_all (&o->watched);
}

int
overlay_watch_begin (struct overlay *o)
{
  set_watching (o, true);
  return 0;
}

bool
overlay_watch_hit (struct overlay *o, uint64_t n, uint64_t offset)
{
  return n > 0 && (atomic_load (&o->watch_all) || bits_some (&o->watched, offset / SECTOR, sectors_of (n, offset)));
}

void
overlay_settle (struct overlay *o, uint64_t n, uint64_t offset)
{
  uint64_t at = offset / SECTOR, rest = sectors_of (n, offset);

  LOCK_FOR_SCOPE (&o->map_lock);
  while (rest > 0 && !atomic_load (&o->watch_all)) {
    bool hit;
    const uint64_t run = bits_run (&o->watched, at, rest, &hit);

    /* Where the host has no room to write it down, the sectors stay fresh, and are interpreted once more. */
    if (!hit && overlay_mark (o, at, run, MARK_SETTLED) == -1)
      return;
    at += run;
    rest -= run;
  }
}

void
overlay_watch_end (struct overlay *o)
{
  set_watching (o, false);
}
