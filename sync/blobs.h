/* SPDX-License-Identifier: BSD-3-Clause */
/* The blob store: where bytes stand on the host's disk.
 *
 * Sparse files in the cache folder.  A position is a number that names blob file and offset together; a run of bytes
 * never crosses from one blob file to the next.  Positions are handed out upwards, aligned to BLOB_ALIGN, and never
 * twice, so that bytes which were never written read as zeros: the rest of a cluster behind a small file needs no room
 * and no code, and files that stand side by side on a disk stand side by side here.
 *
 * Who holds which run, and what of it is there, is known by the tables of the callers alone (data -> record).
 * blobs_trim tells the store at start how far their records go; what lies behind is left over from a crash and is cut off.
 *
 *   blobs = blobs_open (dir_fd, path)
 *   blobs_trim (blobs, used)                once, before the first blobs_alloc
 *   position = blobs_alloc (blobs, size)
 *   blobs_write, blobs_sync, (record the position), blobs_read
 *   blobs_punch (blobs, position, size)     after the record is gone
 *   blobs_stamp (blobs)                     at the end, to know at the next start whether
 *   blobs_sweep (blobs, keep, n, &freed)    has to look for what a crash left behind
 *
 * All verbs are thread-safe, after blobs_trim.  Errors: -1 with errno, no message.
 */

#ifndef CLOUDSHARE_BLOBS_H
#define CLOUDSHARE_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The default cluster size of most disks, so that runs of small files are contiguous in both. */
#define BLOB_ALIGN 32768

/* Runs of at least so many bytes begin at a multiple of that many: file systems keep what is written in large aligned pieces
 * in large pages, which are read faster ever after. */
#define BLOB_LARGE (256 * 1024)

/* No run may be longer than this, bytes: what one file of the host's file system surely holds (ext4: 16 TiB). */
#define BLOB_MAX_RUN (UINT64_C (8) << 40)

struct blobs;

/* dir_fd is borrowed.  path is for messages.  NULL after one message. */
extern struct blobs *blobs_open (int dir_fd, const char *path);
extern void blobs_close (struct blobs *blobs);

/* used: the end of the highest run on record, 0 if there is none.  -1 after one message. */
extern int blobs_trim (struct blobs *blobs, uint64_t used);

/* UINT64_MAX with errno EFBIG for a run over BLOB_MAX_RUN. */
extern uint64_t blobs_alloc (struct blobs *blobs, uint64_t size);

extern int blobs_read (struct blobs *blobs, void *buf, size_t n, uint64_t position);
extern int blobs_write (struct blobs *blobs, const void *buf, size_t n, uint64_t position);

/* Copies bytes within the store, to where nothing was written yet; shares them where the host's file system can, and needs no room
 * for what was never written. */
extern int blobs_copy (struct blobs *blobs, uint64_t from, uint64_t to, uint64_t n);

/* Whether the store has bytes up to that position: false after its files were removed or cut behind our back. */
extern bool blobs_reach (struct blobs *blobs, uint64_t end);

/* From now on, writes that would leave less than 8 MiB (or an eighth) of the file system free fail with ENOSPC: what is only
 * a copy must not take the room that the records of its deletion need. */
extern void blobs_leave_room (struct blobs *blobs);

/* A few MiB of the file system that are kept from being used: given back while something is deleted, since deleting needs
 * room for its records, too. */
extern void blobs_keep_reserve (struct blobs *blobs);
extern void blobs_release_reserve (struct blobs *blobs);

/* Makes all that was written on disk. */
extern int blobs_sync (struct blobs *blobs);

/* Gives the host its room back; the run reads as zeros from then on. */
extern int blobs_punch (struct blobs *blobs, uint64_t position, uint64_t size);

/* A number that is another one after any write or punch, by whatever process: it comes from the files' times and lengths. */
extern uint64_t blobs_stamp (struct blobs *blobs);

struct blob_range {
  uint64_t start, end;     /* positions in one blob file; end is behind the range */
};

/* Gives the host back all room that is not in these ranges, which are sorted and do not overlap.  Takes time for what is
 * allocated, not for what is punched.  After blobs_trim, while nobody else uses the store.  *ret_freed: bytes. */
extern int blobs_sweep (struct blobs *blobs, const struct blob_range *keep, size_t n, uint64_t *ret_freed);

#endif /* CLOUDSHARE_BLOBS_H */
