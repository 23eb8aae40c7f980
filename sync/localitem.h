/* SPDX-License-Identifier: BSD-3-Clause */
/* How the provider for local folders (cloud-dir.c) sees one item: what identifies it and its version, the names in a
 * folder, and how one is put in another's place.  No state, no messages; functions that can fail return -1 with errno.
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

/* The same file with the same content, looked at before and after it was renamed or linked, which moves only its
 * ctime. */
extern bool localitem_is_same (const struct statx *a, const struct statx *b);

/* Names of files that our own changes make: they are no items.
 *
 *   .cloudshare-upload-IIIIIIIIRRRRRRRRNNNNNNNNNNNNNNNN
 *   .cloudshare-aside-IIIIIIIIRRRRRRRRGGGGGGGGOOOOOOOO
 *
 * I and R are who made it: the cache and its process.  So the next process knows what the one before has left, and leaves
 * alone what another host is at.  N is random.  G and O are of the versions that may be found in a file that was set
 * aside and that nobody wants: the one that was to go, and the one that was to come.  Anything else in it is
 * somebody's only copy.  Names of earlier releases have 16 digits and tell nothing. */
enum localitem_own {
  LOCALITEM_NOT_OWN,
  LOCALITEM_UPLOAD,     /* content on its way into a file: worth nothing by itself */
  LOCALITEM_ASIDE,      /* somebody's file, while it is being replaced or removed */
};

#define LOCALITEM_OWN_SIZE 56

struct localitem_maker {
  uint32_t instance;    /* of the cache; 0: not known, and then nothing is ours */
  uint32_t run;         /* of the process, random */
};

extern enum localitem_own localitem_is_own (const char *name);
extern void localitem_upload_name (const struct localitem_maker *maker, char name[LOCALITEM_OWN_SIZE]);

/* comes: NULL where nothing takes its place. */
extern void localitem_aside_name (const struct localitem_maker *maker, const struct statx *goes,
                                  const struct statx *comes, char name[LOCALITEM_OWN_SIZE]);

/* Whether an earlier process of the same cache made this name. */
extern bool localitem_is_left (const char *name, const struct localitem_maker *maker);

/* Whether a file that was set aside under this name is one of the two versions that nobody wants. */
extern bool localitem_is_spent (const char *name, const struct statx *st);

/* Renames without ever replacing anything: EEXIST.  For file systems that cannot, there is a fallback: links, and
 * where there are none either, a look right before. */
extern int localitem_rename_new (int from_fd, const char *from, int to_fd, const char *to, bool is_folder);

/* Exchanges two files in one folder.  EOPNOTSUPP where the file system cannot. */
extern int localitem_exchange (int fd, const char *a, const char *b);

/* Makes file `to` look like the file `from` that it is to replace: owner, permissions, extended attributes, as far as
 * we are let.  from may be -1: no attributes. */
extern void localitem_keep_looks (int from, const struct statx *from_st, int to);

/* Names in a folder: sorted, each once, without "." and "..". */
struct localnames {
  char **names;
  size_t used, room;
};

extern int localnames_read (DIR *stream, struct localnames *list);
extern void localnames_free (struct localnames *list);

#endif /* CLOUDSHARE_LOCALITEM_H */
