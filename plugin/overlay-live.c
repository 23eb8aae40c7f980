/* SPDX-License-Identifier: BSD-3-Clause */
/* Which sectors are present and fresh: the bits in memory, and NAME.live, which has them for the next process.
 *
 * Nearly each write of a guest changes a word or two.  Where the host's file system writes in place (ext4, tmpfs),
 * NAME.live is mapped, and a change is a store; the page cache outlives the process all the same.  A store into a page
 * that has no room on the host would be a SIGBUS instead of an errno when the disk is full, and so a leaf's pairs are
 * written by pwrite the first time, which reserves their blocks or fails.  On file systems that copy on write (btrfs,
 * ZFS; XFS, where files may share blocks with a copy) a store may need room even where the page had its own: there all
 * changes are written by pwrite.
 *
 *   0                 struct live_header, written last of all: without it the file says nothing
 *   OVERLAY_PAGE      one bit for each leaf: all present
 *   + full_bytes      the same for fresh
 *   + full_bytes      for each leaf 512 pairs of words: present, fresh.  Nothing where a bit above says all.
 *
 * A pair stands together so that marking what was written is one pwrite.  A leaf's pairs fill whole pages of their own.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsutil.h"
#include "le.h"
#include "msg.h"
#include "overlay-private.h"

struct live_header {
  uint8_t magic[8];            /*  0 */
  le32 version;                /*  8 */
  le32 reserved;               /* 12 */
  le64 disk_bytes;             /* 16 */
  le64 id;                     /* 24 */
  char boot_id[BOOT_ID_BYTES]; /* 32: the kernel whose page cache this file is in */
} __attribute__ ((packed));
_Static_assert (sizeof (struct live_header) == 72, "struct live_header");

struct live_pair {
  le64 present;                /*  0 */
  le64 fresh;                  /*  8 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct live_pair) == 16, "struct live_pair");

static const uint8_t live_magic[8] = "cshrLIVE";

#define LIVE_VERSION 1
#define LEAF_PAIR_BYTES (LEAF_WORDS * sizeof (struct live_pair))

static char boot_id_of_test[BOOT_ID_BYTES];

void
overlay_set_boot_id (const char *boot_id)
{
  snprintf (boot_id_of_test, sizeof boot_id_of_test, "%s", boot_id);
}

int
overlay_boot_id (char boot_id[BOOT_ID_BYTES])
{
  CLEANUP_CLOSE int fd = -1;

  memset (boot_id, 0, BOOT_ID_BYTES);
  if (boot_id_of_test[0] != '\0') {
    memcpy (boot_id, boot_id_of_test, BOOT_ID_BYTES);
    return 0;
  }
  fd = open ("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd == -1)
    return -1;
  if (read (fd, boot_id, BOOT_ID_BYTES - 1) < 36) {
    errno = EIO;
    return -1;
  }
  return 0;
}

static uint64_t
pairs_offset (const struct overlay *o, uint64_t leaf)
{
  return OVERLAY_PAGE + 2 * overlay_full_bytes (o) + leaf * LEAF_PAIR_BYTES;
}

static bool
is_full (const uint8_t *full, uint64_t leaf)
{
  return (full[leaf / 8] >> (leaf & 7)) & 1;
}

/* Says in NAME.live that the whole leaf is set, or that its words count again. */
static int
set_full (struct overlay *o, uint8_t *full, uint64_t leaf, bool on)
{
  const uint8_t byte = on ? full[leaf / 8] | 1 << (leaf & 7) : full[leaf / 8] & ~(1 << (leaf & 7));
  const uint64_t offset = OVERLAY_PAGE + (full == o->full_fresh ? overlay_full_bytes (o) : 0) + leaf / 8;

  if (byte == full[leaf / 8])
    return 0;
  if (full_pwrite (o->live_fd, &byte, 1, offset) == -1)
    return -1;
  full[leaf / 8] = byte;
  return 0;
}

/* What a mark makes of the sectors of one leaf that are in the range. */
struct change {
  uint64_t leaf, start, n;
  bool sets_present, sets_fresh, clears_fresh;
};

static void
changed_words (const struct overlay *o, const struct change *c, unsigned w, unsigned w0, unsigned w1,
               uint64_t *ret_present, uint64_t *ret_fresh)
{
  const uint64_t mask = w < w0 || w > w1 ? 0 : bits_mask_of (c->leaf, w, c->start, c->n);

  *ret_present = bits_get_word (&o->present, c->leaf, w) | (c->sets_present ? mask : 0);
  *ret_fresh = (bits_get_word (&o->fresh, c->leaf, w) | (c->sets_fresh ? mask : 0)) & ~(c->clears_fresh ? mask : 0);
}

static void
store_word (uint64_t *to, uint64_t word)
{
  /* Both sides in the file's order of bytes. */
  word = cpu_to_le64 (word).raw;
  if (__atomic_load_n (to, __ATOMIC_RELAXED) != word)
    __atomic_store_n (to, word, __ATOMIC_RELEASE);
}

/* As write_pairs, for a leaf whose pairs are mapped and have their room. */
static void
store_pairs (struct overlay *o, const struct change *c)
{
  uint64_t *const words = (uint64_t *) o->live_map + c->leaf * LEAF_WORDS * 2;
  unsigned w0, w1;

  bits_words_of (c->leaf, c->start, c->n, &w0, &w1);
  for (unsigned w = w0; w <= w1; ++w) {
    uint64_t present, fresh;

    changed_words (o, c, w, w0, w1, &present, &fresh);
    /* A process that ends between the two leaves nothing that is present and by mistake not fresh. */
    store_word (&words[2 * w + 1], fresh);
    store_word (&words[2 * w], present);
  }
}

static bool
has_room (const struct overlay *o, uint64_t leaf)
{
  return (atomic_load_explicit (&o->live_has_room[leaf / 64], memory_order_relaxed) >> (leaf & 63)) & 1;
}

/* Writes the words that the range touches as they will be; all words of the leaf where they did not count so far, or
 * their pages may have no room yet. */
static int
write_pairs (struct overlay *o, const struct change *c)
{
  struct live_pair pairs[LEAF_WORDS];
  const bool first = o->live_map && !has_room (o, c->leaf);
  const bool count_again = c->clears_fresh && is_full (o->full_fresh, c->leaf);
  const bool all = first || count_again;
  unsigned w0, w1, a, b, w;

  if (o->live_map && !all) {
    store_pairs (o, c);
    return 0;
  }
  bits_words_of (c->leaf, c->start, c->n, &w0, &w1);
  a = all ? 0 : w0;
  b = all ? LEAF_WORDS - 1 : w1;
  for (w = a; w <= b; ++w) {
    uint64_t present, fresh;

    changed_words (o, c, w, w0, w1, &present, &fresh);
    pairs[w - a] = (struct live_pair) { cpu_to_le64 (present), cpu_to_le64 (fresh) };
  }
  if (full_pwrite (o->live_fd, pairs, (b - a + 1) * sizeof pairs[0],
                   pairs_offset (o, c->leaf) + a * sizeof pairs[0]) == -1)
    return -1;
  if (first)
    atomic_fetch_or (&o->live_has_room[c->leaf / 64], UINT64_C (1) << (c->leaf & 63));
  return count_again ? set_full (o, o->full_fresh, c->leaf, false) : 0;
}

/* Memory for the bits that will change: after this, changing them cannot fail. */
static int
own_words (struct overlay *o, const struct change *c, bool whole)
{
  if (c->sets_present && !whole && bits_leaf (&o->present, c->leaf) != bits_ones
      && bits_own (&o->present, c->leaf) == NULL)
    return -1;
  if (c->sets_fresh && !whole && bits_leaf (&o->fresh, c->leaf) != bits_ones && bits_own (&o->fresh, c->leaf) == NULL)
    return -1;
  if (c->clears_fresh && bits_leaf (&o->fresh, c->leaf) != NULL && bits_own (&o->fresh, c->leaf) == NULL)
    return -1;
  return 0;
}

static void
change_memory (struct overlay *o, const struct change *c)
{
  bits_word *const present = bits_leaf (&o->present, c->leaf), *const fresh = bits_leaf (&o->fresh, c->leaf);
  uint64_t more = 0, left = 0;
  unsigned w0, w1;

  bits_words_of (c->leaf, c->start, c->n, &w0, &w1);
  for (unsigned w = w0; w <= w1; ++w) {
    const uint64_t old_present = bits_get_word (&o->present, c->leaf, w);
    const uint64_t old_fresh = bits_get_word (&o->fresh, c->leaf, w);
    uint64_t new_present, new_fresh;

    changed_words (o, c, w, w0, w1, &new_present, &new_fresh);
    /* Fresh first: a sector that is seen to be present is seen to be fresh. */
    if (new_fresh != old_fresh)
      atomic_store_explicit (&fresh[w], new_fresh, memory_order_release);
    if (new_present != old_present) {
      more += __builtin_popcountll (new_present & ~old_present);
      atomic_store_explicit (&present[w], new_present, memory_order_release);
    }
  }
  if (more > 0) {
    bits_note_any (&o->present, c->leaf);
    atomic_fetch_or (&o->grown[c->leaf / 64], UINT64_C (1) << (c->leaf & 63));
    atomic_fetch_add (&o->n_present, more);
  }
  if (c->sets_fresh)
    bits_note_any (&o->fresh, c->leaf);
  if (c->clears_fresh && fresh) {
    for (unsigned w = 0; w < LEAF_WORDS; ++w)
      left |= bits_get_word (&o->fresh, c->leaf, w);
    if (left == 0)
      atomic_fetch_and (&o->fresh.any[c->leaf / 64], ~(UINT64_C (1) << (c->leaf & 63)));
  }
}

/* As change_memory, for a leaf that is covered as a whole and needs no words for what it gets. */
static void
fill_memory (struct overlay *o, const struct change *c)
{
  uint64_t before = 0;

  if (c->sets_fresh)
    bits_fill_leaf (&o->fresh, c->leaf);
  if (!c->sets_present || bits_leaf (&o->present, c->leaf) == bits_ones)
    return;
  for (unsigned w = 0; w < LEAF_WORDS; ++w)
    before += __builtin_popcountll (bits_get_word (&o->present, c->leaf, w));
  bits_fill_leaf (&o->present, c->leaf);
  atomic_fetch_or (&o->grown[c->leaf / 64], UINT64_C (1) << (c->leaf & 63));
  atomic_fetch_add (&o->n_present, LEAF_SECTORS - before);
}

static bool
covers_leaf (const struct change *c)
{
  return c->start <= c->leaf * LEAF_SECTORS && c->start + c->n >= (c->leaf + 1) * LEAF_SECTORS;
}

static int
apply_change (struct overlay *o, struct change c)
{
  const bool whole = covers_leaf (&c);
  unsigned w, w1;

  if (c.clears_fresh && bits_leaf (&o->fresh, c.leaf) == NULL)
    c.clears_fresh = false;
  if (own_words (o, &c, whole) == -1)
    return -1;

  if (whole) {
    if (c.sets_present && set_full (o, o->full_present, c.leaf, true) == -1)
      return -1;
    if (c.sets_fresh && set_full (o, o->full_fresh, c.leaf, true) == -1)
      return -1;
    fill_memory (o, &c);
    if (c.clears_fresh) {
      if (write_pairs (o, &c) == -1)
        return -1;
      change_memory (o, &c);
    }
    return 0;
  }

  for (bits_words_of (c.leaf, c.start, c.n, &w, &w1); w <= w1; ++w) {
    uint64_t present, fresh;

    changed_words (o, &c, w, w, w1, &present, &fresh);
    if (present != bits_get_word (&o->present, c.leaf, w) || fresh != bits_get_word (&o->fresh, c.leaf, w))
      break;
  }
  if (w > w1)
    return 0;
  if (write_pairs (o, &c) == -1)
    return -1;
  change_memory (o, &c);
  return 0;
}

int
overlay_mark (struct overlay *o, uint64_t start, uint64_t n, enum overlay_mark mark)
{
  const uint64_t first = start / LEAF_SECTORS, last = (start + n - 1) / LEAF_SECTORS;
  struct change c = {
    .start = start, .n = n,
    .sets_present = mark != MARK_SETTLED, .sets_fresh = mark == MARK_WRITTEN, .clears_fresh = mark != MARK_WRITTEN,
  };

  /* Of several leaves, none is to be marked when there is no room on the host for all: the words of the outer ones get
   * their blocks before anything changes, and the ones between need none. */
  if (mark != MARK_SETTLED && first != last)
    for (uint64_t leaf = first; leaf <= last; leaf += last - first) {
      const struct change nothing = { .leaf = leaf, .start = start, .n = n };

      if (!covers_leaf (&nothing) && write_pairs (o, &nothing) == -1)
        return -1;
    }

  for (c.leaf = first; c.leaf <= last; ++c.leaf)
    if (apply_change (o, c) == -1)
      return -1;
  return 0;
}

/* ---- from one process to the next ---- */

static void
make_header (const struct overlay *o, const char *boot_id, uint8_t page[OVERLAY_PAGE])
{
  struct live_header header = {
    .version = cpu_to_le32 (LIVE_VERSION), .disk_bytes = cpu_to_le64 (o->disk_bytes), .id = cpu_to_le64 (o->id),
  };

  memcpy (header.magic, live_magic, sizeof header.magic);
  memcpy (header.boot_id, boot_id, BOOT_ID_BYTES);
  memset (page, 0, OVERLAY_PAGE);
  memcpy (page, &header, sizeof header);
}

static int
load_leaf (struct overlay *o, uint64_t leaf)
{
  struct live_pair pairs[LEAF_WORDS];
  bits_word *present = NULL, *fresh = NULL;

  if (full_pread (o->live_fd, pairs, sizeof pairs, pairs_offset (o, leaf)) == -1)
    return -1;
  for (unsigned w = 0; w < LEAF_WORDS; ++w) {
    const uint64_t p = le64_to_cpu (pairs[w].present);
    /* The process may have ended between the two words of a pair. */
    const uint64_t f = le64_to_cpu (pairs[w].fresh) & (is_full (o->full_present, leaf) ? UINT64_MAX : p);

    if (p && !is_full (o->full_present, leaf)) {
      if (present == NULL && (present = bits_own (&o->present, leaf)) == NULL)
        return -1;
      atomic_store (&present[w], p);
    }
    if (f && !is_full (o->full_fresh, leaf)) {
      if (fresh == NULL && (fresh = bits_own (&o->fresh, leaf)) == NULL)
        return -1;
      atomic_store (&fresh[w], f);
    }
  }
  return 0;
}

static int
load_leaves (struct overlay *o)
{
  const uint64_t end = pairs_offset (o, o->n_leaves);
  uint64_t next = 0;

  if (full_pread (o->live_fd, o->full_present, (o->n_leaves + 7) / 8, OVERLAY_PAGE) == -1
      || full_pread (o->live_fd, o->full_fresh, (o->n_leaves + 7) / 8, OVERLAY_PAGE + overlay_full_bytes (o)) == -1)
    return -1;
  for (uint64_t leaf = 0; leaf < o->n_leaves; ++leaf) {
    if (is_full (o->full_present, leaf))
      bits_fill_leaf (&o->present, leaf);
    if (is_full (o->full_fresh, leaf))
      bits_fill_leaf (&o->fresh, leaf);
  }

  while (next < o->n_leaves) {
    /* A file system that knows no holes gives the position itself: then all is read, which takes longer, no more. */
    const off_t data = lseek (o->live_fd, pairs_offset (o, next), SEEK_DATA);

    if (data == -1 && errno == ENXIO)
      break;
    if (data == -1)
      return -1;
    if ((uint64_t) data >= end)
      break;
    next = (data - pairs_offset (o, 0)) / LEAF_PAIR_BYTES;
    if (load_leaf (o, next) == -1)
      return -1;
    next++;
  }
  return 0;
}

/* Whether storing into a mapped page that has its blocks never needs others, and a page is not larger than what gets
 * its blocks at once. */
static bool
is_written_in_place (int fd)
{
  struct statfs fs;

  return sysconf (_SC_PAGESIZE) == (long) OVERLAY_PAGE && fstatfs (fd, &fs) == 0
         && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC);
}

void
overlay_live_map (struct overlay *o)
{
  void *map;

  if (o->n_leaves > SIZE_MAX / LEAF_PAIR_BYTES || !is_written_in_place (o->live_fd))
    return;
  map = mmap (NULL, o->n_leaves * LEAF_PAIR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, o->live_fd, pairs_offset (o, 0));
  if (map != MAP_FAILED)
    o->live_map = map;
}

void
overlay_live_unmap (struct overlay *o)
{
  if (o->live_map)
    munmap (o->live_map, o->n_leaves * LEAF_PAIR_BYTES);
  o->live_map = NULL;
}

static void
count_present (struct overlay *o)
{
  uint64_t from, start, n, total = 0;

  for (from = 0; bits_next (&o->present, from, &start, &n); from = start + n)
    total += n;
  atomic_store (&o->n_present, total);
}

int
overlay_live_load (struct overlay *o, const char *path, const char *name)
{
  uint8_t expected[OVERLAY_PAGE], found[OVERLAY_PAGE];
  char boot_id[BOOT_ID_BYTES];

  if (overlay_boot_id (boot_id) == -1) {
    msg_error ("%s/%s: cannot tell whether the host was restarted: /proc/sys/kernel/random/boot_id: %m", path, name);
    return -1;
  }
  make_header (o, boot_id, expected);
  if (full_pread (o->live_fd, found, sizeof found, 0) == -1)
    goto error;
  if (memcmp (found, expected, sizeof found) != 0)
    return 0;
  if (load_leaves (o) == -1)
    goto error;
  count_present (o);
  return 1;

 error:
  msg_error ("%s/%s.live: cannot read which sectors the guest wrote: %m", path, name);
  return -1;
}

int
overlay_live_rewrite (struct overlay *o)
{
  uint8_t header[OVERLAY_PAGE];
  char boot_id[BOOT_ID_BYTES];
  uint64_t start, n;

  if (overlay_boot_id (boot_id) == -1)
    return -1;
  if (ftruncate (o->live_fd, 0) == -1 || ftruncate (o->live_fd, pairs_offset (o, o->n_leaves)) == -1)
    return -1;
  memset (o->full_present, 0, (o->n_leaves + 7) / 8);
  memset (o->full_fresh, 0, (o->n_leaves + 7) / 8);

  for (uint64_t from = 0; bits_next (&o->present, from, &start, &n);) {
    const uint64_t leaf = start / LEAF_SECTORS;
    const struct change c = { .leaf = leaf, .start = leaf * LEAF_SECTORS, .n = LEAF_SECTORS };

    if (bits_leaf (&o->present, leaf) == bits_ones && set_full (o, o->full_present, leaf, true) == -1)
      return -1;
    if (bits_leaf (&o->fresh, leaf) == bits_ones && set_full (o, o->full_fresh, leaf, true) == -1)
      return -1;
    if (!is_full (o->full_fresh, leaf) && write_pairs (o, &c) == -1)
      return -1;
    from = (leaf + 1) * LEAF_SECTORS;
  }

  make_header (o, boot_id, header);
  if (full_pwrite (o->live_fd, header, sizeof header, 0) == -1)
    return -1;
  count_present (o);
  return 0;
}
