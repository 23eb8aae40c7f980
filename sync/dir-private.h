/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the provider for local folders share: cloud-dir.c (the provider, listings, reads), dir-change.c
 * (changes), dir-put.c and dir-ranges.c (a file's content) and dir-left.c (what a crash left).
 *
 * All but the constructor runs on the provider's workers, and blocks. */

#ifndef CLOUDSHARE_DIR_PRIVATE_H
#define CLOUDSHARE_DIR_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "cloud.h"
#include "localitem.h"
#include "workers.h"

struct dir {
  struct cloud cloud;
  struct rootdir *root;
  struct treewatch *watch;
  struct workers *workers;
  struct said *said;            /* what was left out */
  uint32_t run;                 /* tells what this process makes from what one before it left */
  int wake_fd;

  pthread_mutex_t lock;         /* protects in_wait, and setting stopping */
  pthread_cond_t wait_ended;
  bool in_wait;
  atomic_bool stopping;         /* true: not started, or being stopped */
};

/* Returns result, with a sentence about the item in *ret_sentence (NULL when out of memory).  %m is errno. */
extern enum cloud_result dir_failed (struct dir *dir, const char *path, char **ret_sentence, enum cloud_result result,
                                     const char *fmt, ...) __attribute__ ((format (printf, 5, 6)));

/* What an error of a system call on an item says about it. */
extern enum cloud_result dir_result_of_errno (int err);

/* Opens the root; *ret_fd is the caller's, also after a failure (then -1). */
extern enum cloud_result dir_open_root (struct dir *dir, int *ret_fd, char **ret_sentence);

/* Who makes temporary files. */
static inline struct localitem_maker
dir_maker (const struct dir *dir)
{
  return (struct localitem_maker) { .instance = dir->cloud.owner, .run = dir->run };
}

/* What changes leave in a folder (fd) for a moment is there for good after a crash.  Removes a file with a name of our own if it
 * is worth nothing: an upload that an earlier process of this cache did not end, or any that is older than a day; a file
 * that such a process had set aside, if it is still the version that nobody wants, and nobody writes to it.  true: it is
 * gone. */
extern bool dir_sweep (struct dir *dir, int fd, const char *name);

/* Sweeps a folder that is to be removed.  true: something was in its way, and is gone. */
extern bool dir_sweep_all (struct dir *dir, int folder_fd, const char *name);

/* An item as listings show it; the strings are in it. */
struct dir_item {
  struct cloud_item item;
  char token[LOCALITEM_TOKEN_SIZE], id[LOCALITEM_TOKEN_SIZE];
};

/* False: it is neither a file nor a folder.  name is kept as it is; item points into *ret, which must stay where it
 * is. */
extern bool dir_make_item (struct dir_item *ret, const char *name, const struct statx *st, const struct statx *root);

/* ---- changes ---- */

enum dir_verb { DIR_PUT, DIR_MKDIR, DIR_MOVE, DIR_REMOVE, DIR_TOUCH };

/* A change under way: the caller's strings as copies, and what became of it. */
struct dir_change {
  struct job job;
  struct dir *dir;
  enum dir_verb verb;
  struct cloud_change_sink sink;
  void *opaque;
  bool is_folder;
  char *path, *to, *expect;
  struct cloud_put put;         /* its strings are the caller's and not to be used */
  struct timespec mtime;

  int root_fd;
  struct statx root;
  char *sentence;
  bool has_now;
  struct dir_item now;
};

/* Where a path leads to: an open folder, and a name in it. */
struct dir_place {
  int fd;                       /* -1: none */
  const char *name;             /* in the path that it was made of */
};

/* Opens the folder that a path is in.  CLOUD_PARENT where there is none, CLOUD_REFUSED for a name that is not to be
 * used. */
extern enum cloud_result dir_open_place (struct dir_change *change, const char *path, struct dir_place *ret);

/* Looks at what a change is about, which must be a file in the version expect (NULL: a folder).  CLOUD_OK, CLOUD_GONE
 * or CLOUD_CHANGED, or what went wrong. */
extern enum cloud_result dir_look (struct dir_change *change, const struct dir_place *at, const char *expect,
                                   struct statx *ret);

/* The result of a system call that failed to change something (errno), with a sentence. */
extern enum cloud_result dir_cannot (struct dir_change *change, const char *path);

/* The same for a folder that has to be durable: where the file system has no such thing, that is all that can be had.
 * */
extern enum cloud_result dir_sync_folder (struct dir_change *change, int fd);

/* Fills change->now. */
extern void dir_set_now (struct dir_change *change, const struct statx *st);

/* Keeps others from writing to a file for a moment.
 *
 * A read lease (fcntl(2)) is granted while nobody has the file open for writing; who opens it then waits until the
 * lease is given up, that is until fd is closed.  So what was looked at stays the same until then. */
struct dir_held {
  int fd;                       /* open for reading; -1: we may not even read it */
  bool leased;                  /* false: the file system or our rights do not allow it; it has to be looked at again */
};

/* Opens and holds a file that was seen as st.  CLOUD_OK also where it cannot be held, CLOUD_BUSY while somebody has it
 * open for writing, CLOUD_CHANGED where it is another by now. */
extern enum cloud_result dir_hold (struct dir_change *change, const struct dir_place *at, const struct statx *st,
                                   struct dir_held *ret);
extern void dir_let_go (struct dir_held *held);

/* Whether somebody waits for the lease: whoever it is has opened the file and will write to it. */
extern bool dir_is_wanted (const struct dir_held *held);

/* Makes fd, an empty file, what the version seen as st is, where the change's ranges do not say otherwise, and as large as
 * what is put.  CLOUD_WHOLE: that version cannot be had here, and fd is empty; CLOUD_CHANGED: it is another by now. */
extern enum cloud_result dir_copy_base (struct dir_change *change, const struct dir_place *at, const struct statx *st,
                                        int fd);

/* The whole of put. */
extern enum cloud_result dir_run_put (struct dir_change *change);

/* cloud.h's verbs. */
extern void dir_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink,
                     void *opaque);
extern void dir_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque);
extern void dir_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
                      const struct cloud_change_sink *sink, void *opaque);
extern void dir_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
                        const struct cloud_change_sink *sink, void *opaque);
extern void dir_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
                       const struct cloud_change_sink *sink, void *opaque);

#endif /* CLOUDSHARE_DIR_PRIVATE_H */
