/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads recorded traces: what real guests wrote to a disk, and what the files on it were before and after (README).
 *
 *   file = trace_open (path)                 one *.xz of this folder, all of it in memory
 *   trace_base_read (file, ...)              the disk before any trace, as the plugin served it
 *   file->items                              the files and folders on that disk
 *   file->traces[i]                          each begins with that disk
 *   trace_data (file, event, buf)            what a write wrote
 *   trace_close (file)
 *
 * All memory belongs to the file.  What is wrong with a recording ends the program, after a message: it is ours.
 */

#ifndef CLOUDSHARE_TESTS_TRACE_H
#define CLOUDSHARE_TESTS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_SECTOR 512

struct trace_item {
  const char *path;            /* no slash at its ends */
  bool is_folder;
  uint64_t size;
  char sha1[41];               /* "" for folders */
  uint32_t first;              /* on the disk before: first cluster, 0 if none */
  int64_t mtime;               /* files, on the disk before */
};

enum trace_op { TRACE_WRITE, TRACE_ZERO, TRACE_TRIM, TRACE_FLUSH, TRACE_MARK };

struct trace_event {
  enum trace_op op;
  uint64_t ms;                 /* since the guest began to mount; never less than the event before */
  uint64_t offset, length;     /* bytes, whole sectors */
  const char *text;            /* writes: runs of sectors; marks: "mount", "begin", "done", "sync", "umount" */
};

/* At this path the guest had every beginning of trace_gen's bytes. */
struct trace_growing {
  const char *path, *tag;
};

struct trace {
  const char *name, *what;
  struct trace_item *final;    /* what the disk, and so the cloud, holds in the end; sorted by path */
  size_t n_final;
  struct trace_item *states;   /* what the guest had at a path in between */
  size_t n_states;
  struct trace_growing *growing;       /* and where it had every beginning of something */
  size_t n_growing;
  struct trace_event *events;
  size_t n_events;
};

struct trace_file {
  const char *kernel, *fs, *how;       /* "6.1.0-56-amd64"; "fat32" or "exfat"; "sync" or "idle" */
  uint64_t disk_bytes;
  uint32_t signature, serial;          /* of the partition table, of the volume */
  struct trace_item *items;            /* sorted by path */
  size_t n_items;
  struct trace *traces;
  size_t n_traces;

  /* private */
  char *bytes;
  struct trace_event *base;            /* sorted by offset */
  size_t n_base;
  const char *sectors;
  uint32_t n_sectors;
};

extern struct trace_file *trace_open (const char *path);
extern void trace_close (struct trace_file *file);

/* n bytes at offset of the disk before; what was never recorded is zeros. */
extern void trace_base_read (const struct trace_file *file, void *buf, size_t n, uint64_t offset);

/* event->length bytes. */
extern void trace_data (const struct trace_file *file, const struct trace_event *event, void *buf);

/* The bytes that the recorded guest's "gen TAG" made, from their start. */
extern void trace_gen (const char *tag, void *buf, size_t n);

/* By path, in a sorted list; NULL if it is not there. */
extern const struct trace_item *trace_find (const struct trace_item *items, size_t n, const char *path);

#endif /* CLOUDSHARE_TESTS_TRACE_H */
