/* SPDX-License-Identifier: BSD-3-Clause */
/* NAME.saved: which sectors were present and durable at the last checkpoint.
 *
 *   0                 struct saved_header
 *   OVERLAY_PAGE      one bit for each leaf: all present
 *   + full_bytes      for each leaf its words.  Nothing where the bit says all.
 *
 * Bits are only ever added, so writing it in place needs no order: what is there of it after a loss of power is true.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsutil.h"
#include "le.h"
#include "msg.h"
#include "overlay-private.h"
#include "steps.h"

struct saved_header {
  uint8_t magic[8];            /*  0 */
  le32 version;                /*  8 */
  le32 flags;                  /* 12 */
  le64 disk_bytes;             /* 16 */
  le64 id;                     /* 24 */
  le64 checkpoint_seq;         /* 32: records up to this one are of the past */
} __attribute__ ((packed));
_Static_assert (sizeof (struct saved_header) == 40, "struct saved_header");

static const uint8_t saved_magic[8] = "cshrOVER";

#define SAVED_VERSION 1

/* Power was lost, and no guest has marked the volume clean since. */
#define SAVED_LOST_POWER 1u
#define LEAF_BYTES (LEAF_WORDS * UINT64_C (8))

static uint64_t
leaf_offset (const struct overlay *o, uint64_t leaf)
{
  return OVERLAY_PAGE + overlay_full_bytes (o) + leaf * LEAF_BYTES;
}

int
overlay_saved_write_header (struct overlay *o, int fd, uint64_t checkpoint_seq)
{
  uint8_t page[OVERLAY_PAGE] = { 0 };
  struct saved_header header = {
    .version = cpu_to_le32 (SAVED_VERSION), .disk_bytes = cpu_to_le64 (o->disk_bytes), .id = cpu_to_le64 (o->id),
    .checkpoint_seq = cpu_to_le64 (checkpoint_seq), .flags = cpu_to_le32 (o->lost_power ? SAVED_LOST_POWER : 0),
  };

  memcpy (header.magic, saved_magic, sizeof header.magic);
  memcpy (page, &header, sizeof header);
  return full_pwrite (fd, page, sizeof page, 0);
}

int
overlay_saved_create (struct overlay *o, int dir_fd, const char *name)
{
  CLEANUP_FREE char *made = NULL, *saved = NULL;
  CLEANUP_CLOSE int fd = -1;

  if (asprintf (&made, "%s.saved.new", name) == -1 || asprintf (&saved, "%s.saved", name) == -1)
    return -1;
  fd = openat (dir_fd, made, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd == -1)
    return -1;
  /* The folder is synced twice: were NAME.saved there and NAME.data not, the next open would take it for damage. */
  if (ftruncate (fd, leaf_offset (o, o->n_leaves)) == -1 || overlay_saved_write_header (o, fd, 0) == -1
      || fsync (fd) == -1 || fsync (dir_fd) == -1 || renameat (dir_fd, made, dir_fd, saved) == -1
      || fsync (dir_fd) == -1)
    return -1;
  step_passed ("overlay-created");
  o->saved_fd = fd;
  fd = -1;
  return 0;
}

static int
load_saved_leaf (struct overlay *o, uint64_t leaf)
{
  le64 words[LEAF_WORDS];
  bits_word *own = NULL;

  if (full_pread (o->saved_fd, words, sizeof words, leaf_offset (o, leaf)) == -1)
    return -1;
  for (unsigned w = 0; w < LEAF_WORDS; ++w)
    if (words[w].raw) {
      if (own == NULL && (own = bits_own (&o->collected, leaf)) == NULL)
        return -1;
      atomic_store (&own[w], le64_to_cpu (words[w]));
    }
  return 0;
}

static int
load_saved_leaves (struct overlay *o)
{
  uint64_t next = 0;

  if (full_pread (o->saved_fd, o->full_saved, (o->n_leaves + 7) / 8, OVERLAY_PAGE) == -1)
    return -1;
  while (next < o->n_leaves) {
    const off_t data = lseek (o->saved_fd, leaf_offset (o, next), SEEK_DATA);

    if (data == -1 && errno == ENXIO)
      break;
    if (data == -1)
      return -1;
    if ((uint64_t) data >= leaf_offset (o, o->n_leaves))
      break;
    next = (data - leaf_offset (o, 0)) / LEAF_BYTES;
    if (load_saved_leaf (o, next) == -1)
      return -1;
    next++;
  }
  for (uint64_t leaf = 0; leaf < o->n_leaves; ++leaf)
    if ((o->full_saved[leaf / 8] >> (leaf & 7)) & 1)
      bits_fill_leaf (&o->collected, leaf);
  return 0;
}

int
overlay_saved_load (struct overlay *o, const char *path, const char *name)
{
  struct saved_header header;

  if (full_pread (o->saved_fd, &header, sizeof header, 0) == -1) {
    msg_error ("%s/%s.saved: cannot read which sectors the guest wrote: %m", path, name);
    return -1;
  }
  if (memcmp (header.magic, saved_magic, sizeof header.magic) != 0 || le32_to_cpu (header.version) != SAVED_VERSION) {
    msg_error ("%s/%s.saved: this is not what a guest wrote, or another version of cloudshare keeps it otherwise; "
               "nothing is touched", path, name);
    return -1;
  }
  if (le64_to_cpu (header.disk_bytes) != o->disk_bytes) {
    msg_error ("%s/%s.saved: what a guest wrote is there for a disk of %" PRIu64 " bytes, and this disk has %" PRIu64,
               path, name, le64_to_cpu (header.disk_bytes), o->disk_bytes);
    return -1;
  }
  o->id = le64_to_cpu (header.id);
  o->checkpoint_seq = le64_to_cpu (header.checkpoint_seq);
  o->lost_power = le32_to_cpu (header.flags) & SAVED_LOST_POWER;
  if (load_saved_leaves (o) == -1) {
    msg_error ("%s/%s.saved: cannot read which sectors the guest wrote: %m", path, name);
    return -1;
  }
  return 0;
}

int
overlay_saved_write_leaf (struct overlay *o, uint64_t leaf)
{
  le64 words[LEAF_WORDS];

  if (bits_leaf (&o->collected, leaf) == bits_ones) {
    const uint8_t byte = o->full_saved[leaf / 8] | 1 << (leaf & 7);

    if (full_pwrite (o->saved_fd, &byte, 1, OVERLAY_PAGE + leaf / 8) == -1)
      return -1;
    o->full_saved[leaf / 8] = byte;
    return 0;
  }
  for (unsigned w = 0; w < LEAF_WORDS; ++w)
    words[w] = cpu_to_le64 (bits_get_word (&o->collected, leaf, w));
  return full_pwrite (o->saved_fd, words, sizeof words, leaf_offset (o, leaf));
}
