/* SPDX-License-Identifier: BSD-3-Clause */
/* How the provider for local folders (cloud-dir.c) sees one item: what identifies it and its version, and the names in
 * a folder.  No state, no messages; functions that can fail return -1 with errno.
 *
 * A version is recognised by size, times and inode.  The change time (ctime) is the kernel's own, cannot be set back,
 * and moves with every write, so a rewrite of the same size within the same second is another version.  What the token
 * cannot show is two writes within one tick of the kernel's clock: an item that was changed a moment ago is therefore
 * not settled.
 */

#ifndef CLOUDSHARE_LOCALITEM_H
#define CLOUDSHARE_LOCALITEM_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* How long after its change an item is not settled: longer than any kernel's tick (10 ms at most). */
#define LOCALITEM_SETTLE_MS 50

/* Room for a token or an id: six numbers of at most 16 digits, and what is between them. */
#define LOCALITEM_TOKEN_SIZE 112

/* Looks at name in the folder fd without following a link, or at fd itself where name is "". */
extern int localitem_look (int fd, const char *name, struct statx *ret);

extern void localitem_token (const struct statx *st, char token[LOCALITEM_TOKEN_SIZE]);
extern bool localitem_is_version (const struct statx *st, const char *token);

/* Inode and, as inodes are used again, time of birth.  The file system's number is in it only where it is another than
 * the root's: numbers may change when a disk is mounted again. */
extern void localitem_id (const struct statx *st, const struct statx *root, char id[LOCALITEM_TOKEN_SIZE]);

/* Whether a write from now on would be sure to change the token. */
extern bool localitem_is_settled (const struct statx *st);

/* Names in a folder: sorted, each once, without "." and "..". */
struct localnames {
  char **names;
  size_t used, room;
};

extern int localnames_read (DIR *stream, struct localnames *list);
extern void localnames_free (struct localnames *list);

#endif /* CLOUDSHARE_LOCALITEM_H */
