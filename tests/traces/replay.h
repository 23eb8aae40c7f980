/* SPDX-License-Identifier: BSD-3-Clause */
/* Plays a recorded trace into whatever interprets what guests write, and watches what becomes of the cloud's tree.
 *
 *   wrong = replay (file, trace, &target, &options)     NULL, or what went wrong (a sentence; the caller frees it)
 *
 * After each request, and at moments in between and afterwards, target->tick is called and then the tree is looked at:
 *
 *   - nothing is in it that was not there before, is not there in the end, and was not there while the guest worked;
 *   - no file has a content that was not its own at some moment: as before, as in the end, or one in between that the trace
 *     lists (so an empty file where there was none, or a beginning of a file, is wrong);
 *   - what is there before and in the end is there at every moment, and so is every content that was there before and is in
 *     the end, at some path;
 *   - in the end, where options say so, it is the final tree.
 *
 * The clock is the caller's: ms since the guest began to mount, told by tick; it never waits.
 */

#ifndef CLOUDSHARE_TESTS_REPLAY_H
#define CLOUDSHARE_TESTS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

typedef void (*replay_item) (void *to, const char *path, bool is_folder, uint64_t size, const char *sha1);

struct replay_target {
  void *opaque;

  /* A new view of the trace's disk, with a cloud that has file->items; its clock is at 0. */
  void (*begin) (void *opaque, const struct trace_file *file, const struct trace *trace);
  void (*end) (void *opaque);

  void (*write) (void *opaque, const void *buf, size_t n, uint64_t offset);
  void (*zero) (void *opaque, uint64_t n, uint64_t offset);
  void (*trim) (void *opaque, uint64_t n, uint64_t offset);
  void (*flush) (void *opaque);

  /* It is now ms; does all that is due: interpret, tell the cloud. */
  void (*tick) (void *opaque, uint64_t ms);

  /* Says what the cloud has, or will have once it was told all; path without slashes at its ends, sha1 in lower-case hex, NULL
   * for folders.  Any order. */
  void (*tree) (void *opaque, replay_item item, void *to);

  /* Another number whenever the tree may have changed since it was last looked at; NULL: it may at any time. */
  uint64_t (*changes) (void *opaque);
};

struct replay_options {
  uint64_t seed;               /* not 0: requests less than 3 s apart change places, where none flushed or was waited for
                                  between them, and those that overlap keep their order */
  size_t cut;                  /* the guest is gone after so many events; SIZE_MAX: never */
  uint64_t after_ms;           /* for so long nothing more comes; at least 60000 where the final tree is wanted */
  bool want_final;             /* then the tree is the final one */
};

extern char *replay (const struct trace_file *file, const struct trace *trace, const struct replay_target *target,
                     const struct replay_options *options);

/* For cut: the events before the guest unmounted.  In a trace of an idle guest all had been written by then, so that the final
 * tree must come without a commit mark. */
extern size_t replay_before_umount (const struct trace *trace);

#endif /* CLOUDSHARE_TESTS_REPLAY_H */
