/* SPDX-License-Identifier: BSD-3-Clause */
/* Staging a file that a guest changed in places: only these are copied, over the version that its disk shows there.
 *
 * What the guest never wrote, and what stands at the file's offset in the same version at the same place of the disk, is that
 * version's: it is neither read nor fetched.  Parts of it that the cache has are copied within the blob store, so that the new
 * version can be read, and sent whole, as far as the old one could.
 *
 * For the interpreters: one thread.
 */

#ifndef CLOUDSHARE_STAGE_OVER_H
#define CLOUDSHARE_STAGE_OVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kin.h"

struct engine;
struct map;
struct overlay;

/* Where the file's bytes stand on the disk, in the order of the file. */
struct stage_run {
  uint64_t start, bytes;
};

struct stage_file {
  struct engine *engine;
  struct overlay *overlay;
  const struct map *map;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);    /* of the disk, as the guest sees it; not 0: that is the end */
  void *opaque;

  const struct stage_run *runs;
  size_t n_runs;
  uint64_t size, valid;        /* bytes; from valid on the file is zeros */
  int64_t known;               /* the version that the view knows, or 0 */
  uint64_t position;           /* run in the blob store, of size bytes, to which nothing was written */
};

enum stage_over {
  STAGE_FAILED = -1,           /* read said so, or after errno: the blob store can't be written */
  STAGE_WHOLE,                 /* to be copied whole; nothing was done */
  STAGE_OVER,                  /* *ret tells what was */
  STAGE_SAME,                  /* its bytes are the known version's */
};

/* *ret_read: what read said, if that was the end.  kin_stage_free in any case. */
extern enum stage_over stage_over (const struct stage_file *file, struct kin_stage *ret, int *ret_read);

#endif /* CLOUDSHARE_STAGE_OVER_H */
