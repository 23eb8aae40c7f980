/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of an overlay, for overlay*.c and their test.
 *
 * Files, all sparse, in the folder that overlay_open was given:
 *
 *   NAME.data    the log (LOG_BYTES), then the disk's bytes, each sector at LOG_BYTES + its offset; past DATA_SPAN the
 *                disk goes on in NAME.data1, NAME.data2 ..., because ext4 ends files at 16 TiB
 *   NAME.live    which sectors are present and fresh now; written (or, mapped, stored) as that changes and never synced,
 *                so it is right as long as the kernel runs that wrote it, which its header names
 *   NAME.saved   which sectors were present and durable at the last checkpoint; an overlay exists when this file does
 *
 * What holds at all times:
 *
 *  (1) Data before its bit: a sector's whole content is in NAME.data before NAME.live, and then memory, say that it is
 *      present.
 *  (2) Present is never taken back, and so NAME.saved may be written in place, in any order: each bit in it is true by
 *      itself.
 *  (3) A bit gets to NAME.saved after the fdatasync that made its sector durable.
 *  (4) A record gets to the log after the fdatasync of the one before returned.
 *  (5) No overlay_sync succeeds while the last record of the log holds data older than what it made durable.
 *
 * The log (overlay-log.c) makes one fdatasync do for a flush after which a few sectors are present for the first time:
 * a record names these sectors and holds a copy of their bytes, in the same file as the bytes themselves.  After a loss
 * of power, records are read as long as they are whole and follow each other.  All but the last are known to be in
 * place by (4); the last one's bytes are put in place again, which by (5) never takes away what was synced.
 *
 * Locks, in this order:
 *   sync_lock   one sync at a time; the log, NAME.saved, unsaved
 *   data_lock   shared: a change of data with its marks.  Exclusive: nothing of the kind is under way.
 *   map_lock    changes of bits, and NAME.live
 * Bits are read without a lock.
 */

#ifndef CLOUDSHARE_OVERLAY_PRIVATE_H
#define CLOUDSHARE_OVERLAY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "overlay.h"

#define SECTOR UINT64_C (512)
#define OVERLAY_PAGE UINT64_C (4096)
#define LOG_BYTES (UINT64_C (1) << 20)
#define DATA_SPAN (UINT64_C (8) << 40)

/* ---- overlay-bits.c: one bit for each sector of a disk, in memory ---- */

#define LEAF_SECTORS UINT64_C (32768)
#define LEAF_WORDS 512u

typedef _Atomic uint64_t bits_word;

/* A leaf is NULL (all clear), bits_ones (all set), or words of its own, which stay until bits_free: who reads needs no
 * lock. */
struct bits {
  uint64_t n_sectors, n_leaves;
  _Atomic (bits_word *) *leaves;
  bits_word *any;              /* one bit for each leaf: maybe not all clear */
};

extern bits_word bits_ones[LEAF_WORDS];

/* -1 with errno; bits_free is right after that, too. */
extern int bits_init (struct bits *bits, uint64_t n_sectors);
extern void bits_free (struct bits *bits);

static inline bits_word *
bits_leaf (const struct bits *bits, uint64_t leaf)
{
  return atomic_load_explicit (&bits->leaves[leaf], memory_order_acquire);
}

static inline uint64_t
bits_get_word (const struct bits *bits, uint64_t leaf, unsigned w)
{
  bits_word *const words = bits_leaf (bits, leaf);

  return words ? atomic_load_explicit (&words[w], memory_order_acquire) : 0;
}

/* For one thread at a time, beside readers.  own: words that may be changed; NULL with errno. */
extern bits_word *bits_own (struct bits *bits, uint64_t leaf);
extern void bits_fill_leaf (struct bits *bits, uint64_t leaf);
extern int bits_set (struct bits *bits, uint64_t start, uint64_t n);
extern void bits_note_any (struct bits *bits, uint64_t leaf);
extern void bits_clear_all (struct bits *bits);

/* Which words of a leaf a range of sectors touches, and which bits of one of them. */
extern void bits_words_of (uint64_t leaf, uint64_t start, uint64_t n, unsigned *ret_w0, unsigned *ret_w1);
extern uint64_t bits_mask_of (uint64_t leaf, unsigned w, uint64_t start, uint64_t n);

/* How many sectors from start on, at most n, are alike. */
extern uint64_t bits_run (const struct bits *bits, uint64_t start, uint64_t n, bool *ret_set);
extern bool bits_all (const struct bits *bits, uint64_t start, uint64_t n);
extern bool bits_some (const struct bits *bits, uint64_t start, uint64_t n);
extern bool bits_next (const struct bits *bits, uint64_t from, uint64_t *ret_start, uint64_t *ret_n);

/* ---- overlay ---- */

struct overlay_data {
  int fd;
  atomic_bool dirty;           /* changed since its last fdatasync began */
};

struct overlay {
  uint64_t disk_bytes, n_sectors, n_leaves;
  uint64_t id;                 /* tells this overlay's log from what another one left in the same blocks */

  unsigned n_data;
  struct overlay_data *data;
  pthread_rwlock_t data_lock;
  atomic_bool has_log;         /* the log has its blocks */
  bool lost_power;             /* as in NAME.saved's header; under sync_lock */
  atomic_bool no_punch;        /* the host's file system cannot punch holes */

  pthread_mutex_t map_lock;
  struct bits present, fresh, watched;
  bits_word *grown;            /* one bit for each leaf: present has bits that collected does not */
  int live_fd;
  void *live_map;              /* its pairs of words, or NULL: they are written by pwrite */
  bits_word *live_has_room;    /* one bit for each leaf: storing into its pairs cannot fail */
  uint8_t *full_present, *full_fresh;   /* as NAME.live has them: the whole leaf is set, whatever its words say */
  _Atomic uint64_t n_present;

  atomic_bool watching;        /* changes under data_lock, exclusive */
  atomic_bool watch_all;       /* no memory to say which */

  _Atomic uint64_t clock, last_write_ms;

  pthread_mutex_t sync_lock;
  _Atomic uint64_t synced;     /* the clock up to which all is durable */
  int failed;                  /* errno of an fdatasync that failed: the kernel has dropped what it could not write */
  int saved_fd;
  struct bits collected;       /* sectors whose presence is durable, or being made so */
  bits_word *unsaved;          /* one bit for each leaf: collected has bits that NAME.saved does not */
  bool log_ready;              /* records may be added: what is collected is in the log or in NAME.saved */
  bool last_has_data;          /* the log's last record: see (5) */
  uint64_t log_pos, log_seq;   /* where the next record goes; the number of the last one */
  uint64_t checkpoint_seq;     /* as in NAME.saved's header */
  uint8_t *full_saved;         /* as full_present, in NAME.saved */
  uint8_t *record;
};

/* Room for one bit for each leaf, in whole pages. */
static inline uint64_t
overlay_full_bytes (const struct overlay *overlay)
{
  return ((overlay->n_leaves + 7) / 8 + OVERLAY_PAGE - 1) / OVERLAY_PAGE * OVERLAY_PAGE;
}

/* overlay.c */

/* Any bytes of the disk; buf NULL: zeros.  -1 with errno. */
extern int overlay_data_write (struct overlay *overlay, const void *buf, uint64_t n, uint64_t offset);
extern int overlay_data_read (const struct overlay *overlay, void *buf, uint64_t n, uint64_t offset);

/* overlay-live.c: the bits, and NAME.live. */

/* The running kernel's id, or the one that a test chose. */
#define BOOT_ID_BYTES 40
extern int overlay_boot_id (char boot_id[BOOT_ID_BYTES]);
extern void overlay_set_boot_id (const char *boot_id);

enum overlay_mark {
  MARK_WRITTEN,   /* present and fresh */
  MARK_TRIMMED,   /* present and not fresh */
  MARK_SETTLED,   /* not fresh; its caller leaves out what is watched */
};

/* Records the change in NAME.live, then in memory.  map_lock is held.  -1 with errno. */
extern int overlay_mark (struct overlay *overlay, uint64_t start, uint64_t n, enum overlay_mark mark);

/* 1: this kernel wrote it, and present and fresh are loaded.  0: it says nothing.  -1 after one message. */
extern int overlay_live_load (struct overlay *overlay, const char *path, const char *name);

/* Writes it anew from present and fresh.  -1 with errno. */
extern int overlay_live_rewrite (struct overlay *overlay);

/* Maps it where that is safe and possible, from here on. */
extern void overlay_live_map (struct overlay *overlay);
extern void overlay_live_unmap (struct overlay *overlay);

/* overlay-saved.c */

/* Makes NAME.saved durable under that name.  -1 with errno. */
extern int overlay_saved_create (struct overlay *overlay, int dir_fd, const char *name);

/* Reads NAME.saved.  -1 after one message. */
extern int overlay_saved_load (struct overlay *overlay, const char *path, const char *name);

/* Write a part of it; the caller syncs.  -1 with errno. */
extern int overlay_saved_write_header (struct overlay *overlay, int fd, uint64_t checkpoint_seq);
extern int overlay_saved_write_leaf (struct overlay *overlay, uint64_t leaf);

/* overlay-log.c */

/* Reads the log's records on top of that.  after_power_loss: puts the last one's data in place, and makes all durable.
 * -1 after one message. */
extern int overlay_log_load (struct overlay *overlay, const char *path, const char *name, bool after_power_loss);

/* Makes all durable in such a way that the next open need not read the log.  sync_lock is held.  -1 with errno. */
extern int overlay_checkpoint (struct overlay *overlay);

#endif /* CLOUDSHARE_OVERLAY_PRIVATE_H */
