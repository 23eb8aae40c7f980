/* SPDX-License-Identifier: BSD-3-Clause */
/* What of an overlay is durable: overlay_sync, the log, and what is made of it after a loss of power.  The rules stand
 * in overlay-private.h.
 *
 * A sync has one of three ways:
 *
 *   nothing is present for the first time   one fdatasync of the data; after a record with data, an empty record goes
 *                                           with it, which says that those data are of the past (5)
 *   a few sectors are                       a record with them and their bytes, and the same one fdatasync
 *   more, or the log is full, or cannot     the data are synced, then the bits go to NAME.saved, then the header there
 *   be trusted (after open or an error)     says that the log's records are of the past: the checkpoint
 *
 * The record's bytes are what makes one fdatasync enough: whether the sectors' own places got their new bytes before
 * the power went, nobody knows, but the record tells by its checksum whether it is whole, and then they are put there
 * again.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "crc32c.h"
#include "fsutil.h"
#include "le.h"
#include "msg.h"
#include "overlay-private.h"
#include "steps.h"

struct log_head {
  le32 magic;                  /*  0 */
  le32 crc;                    /*  4: CRC-32C of all that follows, to the end of the record's last page */
  le64 id;                     /*  8 */
  le64 seq;                    /* 16: one more than that of the record before */
  le32 n_runs;                 /* 24 */
  le32 n_sectors;              /* 28: whose bytes stand from the next page on, in the order of the runs */
} __attribute__ ((packed));
_Static_assert (sizeof (struct log_head) == 32, "struct log_head");

struct log_run {
  le64 start;                  /*  0: in sectors */
  le64 n;                      /*  8 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct log_run) == 16, "struct log_run");

#define LOG_MAGIC 0x676f4c63
#define MAX_RUNS ((OVERLAY_PAGE - sizeof (struct log_head)) / sizeof (struct log_run))
#define MAX_DATA_SECTORS (UINT64_C (128) * 1024 / SECTOR)
#define MAX_RECORD (OVERLAY_PAGE + MAX_DATA_SECTORS * SECTOR)

struct run {
  uint64_t start, n;
};

/* Sectors that became present since the last sync, as long as they are few. */
struct runs {
  bool too_many;
  unsigned n;
  uint64_t n_sectors;
  struct run run[MAX_RUNS];
};

static void
set_bit (bits_word *words, uint64_t i)
{
  atomic_fetch_or (&words[i / 64], UINT64_C (1) << (i & 63));
}

/* The first set bit at or after i, n if there is none. */
static uint64_t
next_bit (const bits_word *words, uint64_t i, uint64_t n)
{
  while (i < n) {
    const uint64_t rest = atomic_load (&words[i / 64]) >> (i & 63);

    if (rest)
      return i + __builtin_ctzll (rest);
    i = (i | 63) + 1;
  }
  return n;
}

static int
give_up (struct overlay *o)
{
  o->failed = errno;
  return -1;
}

/* After this, all bytes that were in the data files when it began survive a loss of power. */
static int
sync_data (struct overlay *o)
{
  for (unsigned i = 0; i < o->n_data; ++i) {
    if (!atomic_exchange (&o->data[i].dirty, false))
      continue;
    if (fdatasync (o->data[i].fd) == -1)
      return give_up (o);
    step_passed ("overlay-data");
  }
  return 0;
}

static int
sync_saved (struct overlay *o)
{
  if (fdatasync (o->saved_fd) == -1)
    return give_up (o);
  step_passed ("overlay-saved");
  return 0;
}

/* ---- the log ---- */

/* Takes what became present since the last call over into collected.  -1 with errno: not all of it. */
static int
collect (struct overlay *o, struct runs *runs)
{
  LOCK_FOR_SCOPE (&o->map_lock);

  runs->too_many = false;
  runs->n = runs->n_sectors = 0;
  for (uint64_t leaf = 0; (leaf = next_bit (o->grown, leaf, o->n_leaves)) < o->n_leaves; ++leaf) {
    bits_word *own;

    set_bit (o->unsaved, leaf);
    if (bits_leaf (&o->present, leaf) == bits_ones) {
      runs->too_many = true;
      bits_fill_leaf (&o->collected, leaf);
    }
    else {
      own = bits_own (&o->collected, leaf);
      if (own == NULL)
        return -1;
      for (unsigned w = 0; w < LEAF_WORDS; ++w) {
        const uint64_t old = atomic_load (&own[w]);
        uint64_t more = bits_get_word (&o->present, leaf, w) & ~old;

        if (more == 0)
          continue;
        atomic_store (&own[w], old | more);
        while (more && !runs->too_many) {
          const unsigned skip = __builtin_ctzll (more);
          const uint64_t ones = ~(more >> skip);
          const unsigned n = ones ? __builtin_ctzll (ones) : 64;
          const uint64_t start = leaf * LEAF_SECTORS + w * 64 + skip;
          struct run *last = runs->n > 0 ? &runs->run[runs->n - 1] : NULL;

          if (last && last->start + last->n == start)
            last->n += n;
          else if (runs->n == MAX_RUNS)
            runs->too_many = true;
          else
            runs->run[runs->n++] = (struct run) { start, n };
          runs->n_sectors += n;
          runs->too_many |= runs->n_sectors > MAX_DATA_SECTORS;
          more &= n == 64 ? 0 : ~(((UINT64_C (1) << n) - 1) << skip);
        }
      }
    }
    atomic_fetch_and (&o->grown[leaf / 64], ~(UINT64_C (1) << (leaf & 63)));
  }
  return 0;
}

/* The log's blocks are there, and not only promised: a record that is appended changes no metadata of the host's file
 * system then, and cannot fail for want of room where files are written in place. */
static int
allocate_log (struct overlay *o)
{
  CLEANUP_FREE uint8_t *zeros = NULL;
  const off_t hole = lseek (o->data[0].fd, 0, SEEK_HOLE);

  if (hole == -1 || (uint64_t) hole >= LOG_BYTES)
    return 0;
  atomic_store (&o->has_log, true);
  zeros = calloc (1, LOG_BYTES);
  return zeros ? full_pwrite (o->data[0].fd, zeros, LOG_BYTES, 0) : -1;
}

static int
get_record_buffer (struct overlay *o)
{
  if (o->record == NULL)
    o->record = malloc (MAX_RECORD);
  return o->record ? 0 : -1;
}

static uint64_t
record_bytes (uint64_t n_sectors)
{
  return OVERLAY_PAGE + (n_sectors * SECTOR + OVERLAY_PAGE - 1) / OVERLAY_PAGE * OVERLAY_PAGE;
}

/* Adds a record, with the bytes that the runs have now, and makes it and all data durable.  -1 with errno: nothing was
 * added, unless the overlay has failed. */
static int
append (struct overlay *o, const struct runs *runs)
{
  const uint64_t bytes = record_bytes (runs->n_sectors);
  struct log_head head = {
    .magic = cpu_to_le32 (LOG_MAGIC), .id = cpu_to_le64 (o->id), .seq = cpu_to_le64 (o->log_seq + 1),
    .n_runs = cpu_to_le32 (runs->n), .n_sectors = cpu_to_le32 (runs->n_sectors),
  };
  uint8_t *p;

  if (get_record_buffer (o) == -1)
    return -1;
  if (o->log_pos == 0 && allocate_log (o) == -1)
    return -1;
  memset (o->record, 0, OVERLAY_PAGE);
  memset (o->record + bytes - OVERLAY_PAGE, 0, OVERLAY_PAGE);
  p = o->record + OVERLAY_PAGE;
  /* Without this lock a write under way could be copied in part, and a replay would put a torn sector in its place. */
  pthread_rwlock_wrlock (&o->data_lock);
  for (unsigned i = 0; i < runs->n; ++i) {
    const struct log_run run = { cpu_to_le64 (runs->run[i].start), cpu_to_le64 (runs->run[i].n) };

    memcpy (o->record + sizeof head + i * sizeof run, &run, sizeof run);
    if (overlay_data_read (o, p, runs->run[i].n * SECTOR, runs->run[i].start * SECTOR) == -1) {
      pthread_rwlock_unlock (&o->data_lock);
      return -1;
    }
    p += runs->run[i].n * SECTOR;
  }
  pthread_rwlock_unlock (&o->data_lock);
  memcpy (o->record, &head, sizeof head);
  head.crc = cpu_to_le32 (crc32c (0, o->record + 8, bytes - 8));
  memcpy (o->record, &head, sizeof head);

  if (full_pwrite (o->data[0].fd, o->record, bytes, o->log_pos) == -1)
    return -1;
  atomic_store (&o->data[0].dirty, true);
  if (sync_data (o) == -1)
    return -1;
  o->log_pos += bytes;
  o->log_seq++;
  o->last_has_data = runs->n > 0;
  return 0;
}

int
overlay_checkpoint (struct overlay *o)
{
  struct runs runs;
  uint64_t leaf;

  o->log_ready = false;
  if (collect (o, &runs) == -1 || sync_data (o) == -1)
    return -1;

  leaf = next_bit (o->unsaved, 0, o->n_leaves);
  if (leaf < o->n_leaves) {
    for (; leaf < o->n_leaves; leaf = next_bit (o->unsaved, leaf + 1, o->n_leaves))
      if (overlay_saved_write_leaf (o, leaf) == -1)
        return -1;
    if (sync_saved (o) == -1)
      return -1;
    for (uint64_t i = 0; i < (o->n_leaves + 63) / 64; ++i)
      if (atomic_load_explicit (&o->unsaved[i], memory_order_relaxed))
        atomic_store (&o->unsaved[i], 0);
  }

  /* Only after the bits are durable, and before the log is written over: a record half overwritten must not leave the
   * one before it as the last. */
  if (o->checkpoint_seq != o->log_seq) {
    if (overlay_saved_write_header (o, o->saved_fd, o->log_seq) == -1 || sync_saved (o) == -1)
      return -1;
    o->checkpoint_seq = o->log_seq;
  }
  o->log_pos = 0;
  o->last_has_data = false;
  o->log_ready = true;
  return 0;
}

static int
sync_locked (struct overlay *o)
{
  struct runs runs;

  if (!o->log_ready || LOG_BYTES - o->log_pos < MAX_RECORD)
    return overlay_checkpoint (o);

  o->log_ready = false;
  if (collect (o, &runs) == -1)
    return -1;
  if (runs.too_many)
    return overlay_checkpoint (o);
  if (runs.n == 0 && !o->last_has_data) {
    if (sync_data (o) == -1)
      return -1;
  }
  else if (append (o, &runs) == -1)
    return o->failed ? -1 : overlay_checkpoint (o);
  o->log_ready = true;
  return 0;
}

int
overlay_sync (struct overlay *o)
{
  const uint64_t wanted = atomic_load (&o->clock);
  uint64_t clock;

  if (atomic_load (&o->synced) >= wanted)
    return 0;

  LOCK_FOR_SCOPE (&o->sync_lock);
  /* Who waited for another's sync is often done with it. */
  if (atomic_load (&o->synced) >= wanted)
    return 0;
  if (o->failed) {
    errno = o->failed;
    return -1;
  }
  clock = atomic_load (&o->clock);
  if (sync_locked (o) == -1)
    return -1;
  atomic_store (&o->synced, clock);
  return 0;
}

bool
overlay_needs_sync (const struct overlay *o)
{
  return atomic_load (&o->synced) != atomic_load (&o->clock);
}

/* ---- after a start ---- */

/* Reads the record at pos into o->record.  1: it is whole and has that number.  0: it is not.  -1 with errno. */
static int
read_record (struct overlay *o, uint64_t pos, uint64_t seq, uint64_t *ret_bytes)
{
  struct log_head head;
  uint64_t n_runs, n_sectors, sum = 0;

  if (pos + OVERLAY_PAGE > LOG_BYTES)
    return 0;
  if (full_pread (o->data[0].fd, o->record, OVERLAY_PAGE, pos) == -1)
    return -1;
  memcpy (&head, o->record, sizeof head);
  n_runs = le32_to_cpu (head.n_runs);
  n_sectors = le32_to_cpu (head.n_sectors);
  if (le32_to_cpu (head.magic) != LOG_MAGIC || le64_to_cpu (head.id) != o->id || le64_to_cpu (head.seq) != seq
      || n_runs > MAX_RUNS || n_sectors > MAX_DATA_SECTORS || pos + record_bytes (n_sectors) > LOG_BYTES)
    return 0;
  *ret_bytes = record_bytes (n_sectors);
  if (full_pread (o->data[0].fd, o->record + OVERLAY_PAGE, *ret_bytes - OVERLAY_PAGE, pos + OVERLAY_PAGE) == -1)
    return -1;
  if (crc32c (0, o->record + 8, *ret_bytes - 8) != le32_to_cpu (head.crc))
    return 0;
  for (uint64_t i = 0; i < n_runs; ++i) {
    struct log_run run;

    memcpy (&run, o->record + sizeof head + i * sizeof run, sizeof run);
    if (le64_to_cpu (run.start) >= o->n_sectors || le64_to_cpu (run.n) > o->n_sectors - le64_to_cpu (run.start)
        || le64_to_cpu (run.n) > n_sectors - sum)
      return 0;
    sum += le64_to_cpu (run.n);
  }
  return sum == n_sectors;
}

/* Goes over the runs of the record in o->record: their sectors become present, or get the record's bytes. */
static int
apply_record (struct overlay *o, bool bytes)
{
  const uint8_t *p = o->record + OVERLAY_PAGE;
  struct log_head head;

  memcpy (&head, o->record, sizeof head);
  for (uint32_t i = 0; i < le32_to_cpu (head.n_runs); ++i) {
    struct log_run run;
    uint64_t start, n;

    memcpy (&run, o->record + sizeof head + i * sizeof run, sizeof run);
    start = le64_to_cpu (run.start);
    n = le64_to_cpu (run.n);
    if (bytes && overlay_data_write (o, p, n * SECTOR, start * SECTOR) == -1)
      return -1;
    if (!bytes) {
      if (bits_set (&o->collected, start, n) == -1)
        return -1;
      for (uint64_t leaf = start / LEAF_SECTORS; leaf <= (start + n - 1) / LEAF_SECTORS; ++leaf)
        set_bit (o->unsaved, leaf);
    }
    p += n * SECTOR;
  }
  return 0;
}

static int
load_log (struct overlay *o, bool after_power_loss)
{
  uint64_t pos = 0, last_pos = 0, bytes = 0;
  int r;

  o->log_seq = o->checkpoint_seq;
  if (get_record_buffer (o) == -1)
    return -1;
  while ((r = read_record (o, pos, o->log_seq + 1, &bytes)) == 1) {
    if (after_power_loss && apply_record (o, false) == -1)
      return -1;
    o->log_seq++;
    last_pos = pos;
    pos += bytes;
  }
  if (r == -1)
    return -1;

  if (!after_power_loss) {
    /* The process before may have been stopped in the middle of a record: its number is not used again. */
    o->log_seq++;
    return 0;
  }
  if (pos == 0) {
    o->log_ready = true;
    return 0;
  }
  if (read_record (o, last_pos, o->log_seq, &bytes) != 1) {
    errno = EIO;
    return -1;
  }
  if (apply_record (o, true) == -1)
    return -1;
  atomic_store (&o->data[0].dirty, true);
  return overlay_checkpoint (o);
}

int
overlay_log_load (struct overlay *o, const char *path, const char *name, bool after_power_loss)
{
  if (load_log (o, after_power_loss) == -1) {
    msg_error ("%s/%s.data: cannot bring back what was written last: %m", path, name);
    return -1;
  }
  return 0;
}
