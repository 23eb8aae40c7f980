/* SPDX-License-Identifier: BSD-3-Clause */
/* Notices changes in a folder and in everything below it (inotify).
 *
 *   watch = treewatch_new (root)
 *   treewatch_start (watch)
 *   treewatch_wait (watch, ...)     any number of times, one caller at a time
 *   treewatch_stop (watch)          after the last wait returned
 *   treewatch_free (watch)
 *
 * start and stop may come several times.  inotify watches single folders, so the tree is walked to watch each; that is
 * the first wait's work, which therefore always says "changed": what changed between start and the walk is in it.
 *
 * Where inotify cannot tell everything (the kernel's limit of watches is reached, a file system is changed by other
 * hosts too, the root is gone), treewatch_complete is false and the caller has to look by itself from time to time.
 */

#ifndef CLOUDSHARE_TREEWATCH_H
#define CLOUDSHARE_TREEWATCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cloud.h"
#include "rootdir.h"

struct treewatch;

/* root must outlive it.  NULL after one message. */
extern struct treewatch *treewatch_new (const struct rootdir *root);
extern void treewatch_start (struct treewatch *watch);
extern void treewatch_stop (struct treewatch *watch);
extern void treewatch_free (struct treewatch *watch);

/* True while every change would be noticed.  From any thread. */
extern bool treewatch_complete (struct treewatch *watch);

/* Waits until something changed and was then quiet for a moment, at most timeout_ms (negative: without limit).
 * CLOUD_WAIT_WOKEN when wake_fd (an eventfd) is readable, which it then no longer is.  A walk of the tree ends early
 * when *stopping becomes true. */
extern enum cloud_wait treewatch_wait (struct treewatch *watch, int wake_fd, int timeout_ms,
                                       const atomic_bool *stopping);

#endif /* CLOUDSHARE_TREEWATCH_H */
