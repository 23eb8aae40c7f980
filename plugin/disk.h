/* SPDX-License-Identifier: BSD-3-Clause */
/* One logical disk: its identity, its extent maps, and its bytes.
 *
 *   disk = disk_open (engine, &config)     loads it, or lays it out for the first time
 *   disk_update (disk)                     catalog -> new generation
 *   map = disk_map (disk)                  the newest generation; or disk_map_at for an older one that is still held
 *   disk_read (disk, map, ...)             any byte of the disk as of that map
 *   map_unref (map)
 *   disk_collect (disk, oldest, pinned)    forgets generations before oldest, but for those that are pinned
 *   disk_close (disk)
 *
 * disk_update and disk_collect belong to one thread.  All others may be called from any thread.
 */

#ifndef CLOUDSHARE_DISK_H
#define CLOUDSHARE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

struct cache;
struct disk;
struct disk_rule;
struct disk_store;
struct engine;
struct generations;
struct map;
struct rules;
struct selection;

struct disk_config {
  const char *name;
  const char *format;          /* "fat32", "exfat", NULL: as the content needs */
  int partitioning;            /* enum partitioning, or -1: as the size needs */
  uint64_t size;               /* bytes; 0: room for twice the content, at least 64 GiB */
  const char *label;           /* upper-case ASCII, at most 11 characters, or NULL */
  const struct disk_rule *rule;   /* what is on it; borrowed; NULL: the whole remote */

  /* A disk with several partitions is so many disks, each with one of them; the first has the table. */
  unsigned part, parts;        /* which one, from 0, of how many; 0 of 0: not so */
};

/* Where all disks of a process keep their rendered directories.  NULL after one message. */
extern struct disk_store *disk_store_open (struct engine *engine);
extern void disk_store_close (struct disk_store *store);

/* Forgets disks that were there once, and have no rule now; those with views that hold writes stay.  Before threads. */
extern int disk_store_sweep (struct disk_store *store, const struct rules *rules);

/* Calls each for these views, but for those whose disk is there by now. */
struct view_status;
extern void disk_store_each_held (struct disk_store *store, bool (*is_there) (void *opaque, const char *disk),
                                  void (*each) (void *opaque, const struct view_status *status), void *each_opaque,
                                  void *opaque);

/* Forgets one of them, with all that its guest wrote.  1: done, 0: there is no such, -1 after one message. */
extern int disk_store_forget_held (struct disk_store *store, const char *name);

/* config is copied; the store is borrowed.  NULL after one message. */
extern struct disk *disk_open (struct engine *engine, struct disk_store *store, const struct disk_config *config);
extern void disk_close (struct disk *disk);

/* What a rule says of a disk. */
extern struct disk_config disk_config_of (const struct disk_rule *rule);

/* Puts another disk's partition behind this one's in the table.  Before threads use it. */
extern void disk_add_part (struct disk *disk, const struct disk *next);

/* The size of a disk whose parts have these rules, bytes: as it is, or else as their content needs.  -1 after one message. */
extern int disk_split_size (struct engine *engine, const struct disk_rule *parts, unsigned n, uint64_t *ret);

/* Before disk_set_rule: -1 after one message, if the rule names a folder that is not there. */
extern int disk_check_rule (struct disk *disk, const struct disk_rule *rule);

/* Another rule for the same disk, borrowed; its items are shown from the next generation on.  False: it asks for another disk, which
 * this process cannot make; it goes on as it is. */
extern bool disk_set_rule (struct disk *disk, const struct disk_rule *rule);

extern const char *disk_name (const struct disk *disk);
extern const struct geometry *disk_geometry (const struct disk *disk);
extern int64_t disk_id (const struct disk *disk);

/* What is on the disk, as of its newest generation.  With the database's lock. */
extern struct selection *disk_selection (struct disk *disk);

/* Brings the disk to the catalog's revision.  1: there is a new generation, 0: nothing changed on it, -1 after one message
 * (then the disk stays as it was, and the next call tries again). */
extern int disk_update (struct disk *disk);

/* Of a raw disk: its places would have to move, so it goes on as it is, but for what its own views have written.  disk_move makes
 * it anew; no view may have any generation of it.  Both belong to the thread of disk_update. */
extern bool disk_is_stuck (const struct disk *disk);
extern int disk_move (struct disk *disk);

/* The catalog's revision that the disk shows. */
extern int64_t disk_revision (struct disk *disk);
extern int64_t disk_generation (struct disk *disk);

/* The newest generation.  One reference, the caller's. */
extern struct map *disk_map (struct disk *disk);

/* What a view sees that follows live and may still hold things of the given generation: the newest generation, and what died
 * since then where its clusters are free.  NULL after one message. */
extern struct map *disk_map_since (struct disk *disk, int64_t oldest);

/* A generation that is still held.  NULL after one message. */
extern struct map *disk_map_at (struct disk *disk, int64_t generation);

/* Forgets what died in or before the generation, but for what lives in one of those that are pinned.  No map older than it
 * may be in use, other than those of the pinned ones. */
extern int disk_collect (struct disk *disk, int64_t oldest, const struct generations *pinned);

/* Reads n bytes of the disk.  -1 with errno, after a message.  May wait for the cloud. */
extern int disk_read (struct disk *disk, const struct map *map, void *buf, size_t n, uint64_t offset);

/* Starts fetching what a range of the disk needs. */
extern void disk_prefetch (struct disk *disk, const struct map *map, size_t n, uint64_t offset);

/* The run that begins at offset: how many bytes (at most n) have the same answer, and whether they are a hole of zeros. */
extern uint64_t disk_run (struct disk *disk, const struct map *map, uint64_t n, uint64_t offset, bool *ret_hole);

#endif /* CLOUDSHARE_DISK_H */
