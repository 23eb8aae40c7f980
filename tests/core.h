/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the core stand on: a cache folder of their own with its database, blob store and cache, over a fake
 * remote.
 *
 *   core_open (&core, cache_size)
 *   core_add (&core, ...)              a file, in the remote and in the catalog
 *   core_reopen (&core, cache_size)    as if the process had ended and started again
 *   core_close (&core)                 fails the test if the contract of cloud.h was broken
 *
 * Anything that goes wrong here fails the test.
 */

#ifndef CLOUDSHARE_TESTS_CORE_H
#define CLOUDSHARE_TESTS_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msg.h"

/* What ck_assert does, for what is looked at a million times: that writes down each place that it passes. */
#define MUST(condition)                                                \
  do {                                                                 \
    if (!(condition))                                                  \
      ck_abort_msg ("not so: %s", #condition);                         \
  } while (0)

struct blobs;
struct cache;
struct cache_file;
struct db;
struct fakecloud;
struct health;

struct core {
  char dir[64], db_path[96];
  int dir_fd;
  int blobs_fd;                /* where the blob store is: dir_fd, or a test's own */
  bool starts_away;            /* a test's to set: the remote is known to be away before the cache starts */
  struct db *db;
  struct blobs *blobs;
  struct cache *cache;
  struct fakecloud *fake;
  struct health *health;
};

extern void core_open (struct core *core, uint64_t cache_size);

extern void core_reopen (struct core *core, uint64_t cache_size);
extern void core_close (struct core *core);

/* Their parts: the folder and the remote; what a process has open.  blobs_fd: where the blob store is to be, or -1. */
extern void core_make (struct core *core, int blobs_fd);
extern void core_load (struct core *core, uint64_t cache_size);
extern void core_shut (struct core *core);
extern void core_remove (struct core *core);

/* The catalog's id of what is at that path, 0 if there is nothing. */
extern int64_t core_item (struct core *core, const char *path);

/* The version that the catalog has of the file at that path. */
extern int64_t core_version (struct core *core, const char *path);

/* Brings the catalog's record of one item, whose folder is known, to what the remote has. */
extern void core_learn (struct core *core, const char *path);

/* Puts a file into the remote, and learns it.  Its token is a new one. */
extern void core_add (struct core *core, const char *path, uint64_t size);

/* The cache's object for the file at that path. */
extern struct cache_file *core_file (struct core *core, const char *path);

/* Reads through the cache and compares with what the content has there.  0, or the errno of a read that failed; a wrong
 * byte fails the test. */
extern int core_read (struct core *core, struct cache_file *file, uint64_t content, size_t n, uint64_t offset);

/* The first number that a query gives. */
extern int64_t core_query (struct core *core, const char *sql);

extern uint64_t now_ms (void);
extern void sleep_ms (unsigned ms);

/* How many messages of that level with that part there were since core_open. */
extern unsigned said (enum msg_level level, const char *part);

/* Numbers that are the same in each run. */
extern uint64_t random_below (uint64_t *seed, uint64_t n);

#endif /* CLOUDSHARE_TESTS_CORE_H */
