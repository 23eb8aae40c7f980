/* SPDX-License-Identifier: BSD-3-Clause */
/* Folders of a remote that were just seen, for providers whose remote has no real ones, or asks a request for each look: most
 * changes come many at a time into one folder.
 *
 * Paths are cloud.h's.  All functions are thread-safe; the lock is held for a few instructions, and none is taken under it. */

#ifndef CLOUDSHARE_KNOWN_FOLDERS_H
#define CLOUDSHARE_KNOWN_FOLDERS_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct known_folder {
  char *path;
  time_t seen;                 /* on the monotonic clock */
  bool has_marker;
};

struct known_folders {
  pthread_mutex_t lock;        /* protects what follows */
  struct known_folder list[64];
  unsigned next;
};

extern void known_folders_init (struct known_folders *known);
extern void known_folders_destroy (struct known_folders *known);

/* A folder is there.  has_marker: with an object or file that keeps it where it has nothing else in it. */
extern void known_folders_saw (struct known_folders *known, const char *path, bool has_marker);

/* A folder, with all below it, may be gone; "": all of them. */
extern void known_folders_forget (struct known_folders *known, const char *path);

/* Whether it was there within the last seconds, and whether it had a marker within the last minute. */
extern bool known_folders_has (struct known_folders *known, const char *path, bool *ret_has_marker);

#endif /* CLOUDSHARE_KNOWN_FOLDERS_H */
