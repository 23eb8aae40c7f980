/* SPDX-License-Identifier: BSD-3-Clause */
/* What disk.c (generations) and disk-read.c (bytes) share.  Nobody else includes this. */

#ifndef CLOUDSHARE_DISK_PRIVATE_H
#define CLOUDSHARE_DISK_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "disk.h"
#include "extents.h"

/* A view of a disk that is not asked for any more, with what its guest wrote. */
struct held_view {
  struct held_view *next;
  char *name, *disk;
  int64_t id, generation;
};

struct disk_store {
  struct engine *engine;
  struct db *db;
  struct held_view *held;
  struct blobs *blobs;
  int fd;
};

/* Inside a transaction: forgets a disk with all that is kept for it. */
extern int disk_forget (struct db *db, int64_t id);

struct disk {
  char *name;
  struct engine *engine;
  struct db *db;
  struct cache *cache;
  struct blobs *data;          /* the cache's, borrowed */
  struct blobs *store;         /* rendered directories; the store's */

  /* What is on it: the updating thread's, with the database's lock.  Another one that was set waits in new_rule. */
  struct selection *selection;
  bool anew;                   /* it chooses otherwise than when it was laid out last */
  bool was_there;              /* it was laid out with all of its folders before */
  bool missing;                /* a folder of it was not there, and that was said */
  const char *stuck;           /* of a raw disk: why it shows older things than the catalog has, or NULL; the same thread's */

  /* Protects row.generation, row.revision and map against the updating thread; of the rest of
   * row only what belongs to the updating thread changes. */
  pthread_mutex_t lock;
  struct disk_row row;
  struct map *map;             /* newest generation */
  int64_t collected;           /* what died up to that generation was looked at... */
  struct generations pinned;   /* ...with these pinned; both are the updating thread's */
  const struct disk_rule *new_rule;
  time_t purged;               /* when items that are gone were last forgotten; the updating thread's */
};

#endif /* CLOUDSHARE_DISK_PRIVATE_H */
