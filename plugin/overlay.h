/* SPDX-License-Identifier: BSD-3-Clause */
/* What one view's guest wrote: a sparse data file, and for each sector whether it is there.
 *
 *   overlay = overlay_open (dir_fd, path, name, disk_bytes)   makes it, or finds it as it was left
 *   overlay_write, overlay_zero, overlay_trim                 any alignment
 *   overlay_read                                              what is there; the caller fills the rest from the disk
 *   overlay_sync                                              FLUSH and FUA
 *   overlay_close (overlay)                                   keeps everything
 *   overlay_discard (overlay)                                 the same without a sync: overlay_remove follows
 *   overlay_remove (dir_fd, name)                             forgets everything
 *
 * Durability.  What a write acknowledged is in files of the kernel's page cache: it survives the process, however that ends.
 * What overlay_sync acknowledged survives the loss of power.  After a loss of power (the boot id tells) a sector that was
 * written and not synced holds its old bytes or its new ones, and one that was never synced may be absent again: it reads as
 * what the disk has.  Never anything else.
 *
 * Fresh sectors.  Beside "present" each sector has a "fresh" bit: written, and not settled since by whoever interprets what
 * guests write.  It survives the process as well; after a loss of power every present sector is fresh.
 *
 * Any thread may call all but open, close and remove.  Writes to the same bytes at the same time end in either order, as on
 * any disk.
 * Errors: -1 with errno, without a message, for what a guest asked (ENOSPC: the host's disk is full, nothing is half done);
 * after one message for open.
 */

#ifndef CLOUDSHARE_OVERLAY_H
#define CLOUDSHARE_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct overlay;

/* Gives the disk's own bytes of whole sectors, for writes that do not cover theirs.  -1 with errno. */
typedef int (*overlay_fill) (void *opaque, void *buf, size_t n, uint64_t offset);

/* dir_fd is borrowed during the call; name is a file name.  path is for messages.  An overlay of another disk_bytes is refused.
 * NULL after one message. */
extern struct overlay *overlay_open (int dir_fd, const char *path, const char *name, uint64_t disk_bytes);

/* Syncs, as far as the host lets it. */
extern void overlay_close (struct overlay *overlay);
extern void overlay_discard (struct overlay *overlay);

/* Whether there is one, and its removal.  -1 after one message. */
extern bool overlay_exists (int dir_fd, const char *name);
extern int overlay_remove (int dir_fd, const char *name);

/* Nothing present: reads need not ask further.  One atomic load. */
extern bool overlay_is_empty (const struct overlay *overlay);

/* Whether power was lost since overlay_trust: writes of before may be missing, in any combination.  The process that finds it so
 * may end before the guest has put it right, so later ones are told as well.  overlay_trust: the guest has looked at its volume,
 * and marked it clean. */
extern bool overlay_lost_power (const struct overlay *overlay);
extern int overlay_trust (struct overlay *overlay);

/* Bytes of present sectors that need room on the host; for max-dirty.  Asks the host's file system. */
extern uint64_t overlay_bytes (const struct overlay *overlay);

/* Bytes of present sectors, whether they need room or not: a number in memory, which never gets smaller. */
extern uint64_t overlay_present_bytes (const struct overlay *overlay);

/* Whether the range has its room on the host already.  What was trimmed is present and has none.  Asks the host's file
 * system. */
extern bool overlay_has_room (const struct overlay *overlay, uint64_t n, uint64_t offset);

/* fill is called only for sectors that are written in part and are not present. */
extern int overlay_write (struct overlay *overlay, const void *buf, size_t n, uint64_t offset, overlay_fill fill,
                          void *opaque);

/* Reads as zeros from now on; needs no room where the host's file system can punch holes. */
extern int overlay_zero (struct overlay *overlay, uint64_t n, uint64_t offset, overlay_fill fill, void *opaque);

/* The guest needs these bytes no more: whole sectors read as zeros and are not fresh; parts of sectors are left alone. */
extern int overlay_trim (struct overlay *overlay, uint64_t n, uint64_t offset);

/* The run that begins at offset: how many bytes, at most n, are all present or all absent. */
extern uint64_t overlay_run (const struct overlay *overlay, uint64_t n, uint64_t offset, bool *ret_present);

/* Bytes that are all present. */
extern int overlay_read (struct overlay *overlay, void *buf, size_t n, uint64_t offset);

/* Makes durable what was acknowledged before the call. */
extern int overlay_sync (struct overlay *overlay);

/* Something was written since the last overlay_sync began. */
extern bool overlay_needs_sync (const struct overlay *overlay);

/* ---- for the interpreter: one thread ---- */

/* A number that grows with every write, zero and trim. */
extern uint64_t overlay_clock (const struct overlay *overlay);

/* When the last write came, monotonic_ms; 0: none since open. */
extern uint64_t overlay_last_write_ms (const struct overlay *overlay);

/* The next run of fresh (or present) sectors at or after offset: its start and bytes.  false: no more. */
extern bool overlay_next_fresh (const struct overlay *overlay, uint64_t offset, uint64_t *ret_start, uint64_t *ret_bytes);
extern bool overlay_next_present (const struct overlay *overlay, uint64_t offset, uint64_t *ret_start,
                                  uint64_t *ret_bytes);

/* Whether all sectors of the range are fresh (present). */
extern bool overlay_is_fresh (const struct overlay *overlay, uint64_t n, uint64_t offset);
extern bool overlay_is_present (const struct overlay *overlay, uint64_t n, uint64_t offset);

/* From here on writes are noted, until overlay_watch_end. */
extern int overlay_watch_begin (struct overlay *overlay);

/* Whether any byte of the range was written since overlay_watch_begin. */
extern bool overlay_watch_hit (struct overlay *overlay, uint64_t n, uint64_t offset);

/* The range is interpreted: its sectors are not fresh any more, but for those written since overlay_watch_begin. */
extern void overlay_settle (struct overlay *overlay, uint64_t n, uint64_t offset);
extern void overlay_watch_end (struct overlay *overlay);

#endif /* CLOUDSHARE_OVERLAY_H */
