/* SPDX-License-Identifier: BSD-3-Clause */
/* Exports: what a connection has open: a view, or, of a disk with several partitions, one view for each.
 *
 * All views of such a disk have the disk's offsets; each has its own partition, and the first one also the rest: the partition table.
 * Requests are as those of a view (view.h).
 */

#ifndef CLOUDSHARE_EXPORT_H
#define CLOUDSHARE_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct view;
struct views;

struct export_part {
  struct disk *disk;
  struct views *views;
  struct view *view;
};

/* Made and ended by disks.c. */
struct export {
  struct export *next, **link;
  bool read_only;
  size_t n_parts;
  struct export_part parts[];
};

extern uint64_t export_size (const struct export *export);

/* For people: the file systems. */
extern const char *export_format (const struct export *export);

extern int export_read (struct export *export, void *buf, size_t n, uint64_t offset);
extern int export_write (struct export *export, const void *buf, size_t n, uint64_t offset);
extern int export_zero (struct export *export, uint64_t n, uint64_t offset);
extern int export_trim (struct export *export, uint64_t n, uint64_t offset);
extern int export_flush (struct export *export);
extern void export_prefetch (struct export *export, size_t n, uint64_t offset);
extern uint64_t export_run (struct export *export, uint64_t n, uint64_t offset, bool *ret_hole);

#endif /* CLOUDSHARE_EXPORT_H */
