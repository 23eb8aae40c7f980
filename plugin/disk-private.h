/* SPDX-License-Identifier: BSD-3-Clause */
/* What disk.c (generations) and disk-read.c (bytes) share.  Nobody else includes this. */

#ifndef CLOUDSHARE_DISK_PRIVATE_H
#define CLOUDSHARE_DISK_PRIVATE_H

#include <pthread.h>

#include "disk.h"
#include "extents.h"

struct disk {
  char *name;
  struct engine *engine;
  struct db *db;
  struct cache *cache;
  struct blobs *data;          /* the cache's, borrowed */
  struct blobs *store;         /* rendered directories */
  int store_fd;

  /* Protects row.generation, row.revision and map against the updating thread; of the rest of
   * row only what belongs to the updating thread changes. */
  pthread_mutex_t lock;
  struct disk_row row;
  struct map *map;             /* newest generation */
};

#endif /* CLOUDSHARE_DISK_PRIVATE_H */
