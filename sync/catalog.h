/* SPDX-License-Identifier: BSD-3-Clause */
/* The catalog: what the remote had when it was last seen, and what views made of it since, as durable tables.
 *
 *   item      one file or folder; keeps its id through renames where the remote tells
 *   version   one content of a file, immutable, with the run of the blob store that is reserved for its bytes
 *
 * Two trees over the same items: the local one is what disks show; the remote's differs from it for the items that have
 * a row in the table change (journal.h).  An item that is gone keeps its row for a while, since a view may still know it:
 * with a row in change, the remote has yet to be told; without one, neither side has it.
 *
 * The root folder is item CATALOG_ROOT.  Every change belongs to a revision: a number that grows with each transaction
 * that changed anything.  A folder carries the revision in which its set of children, or an attribute of one, last
 * changed: so a disk asks only for folders changed since the revision that it shows.
 *
 * All functions need the database's lock (db_begin for those that change, db_read_begin for the others).
 * Errors: -1 or NULL after one message.
 */

#ifndef CLOUDSHARE_CATALOG_H
#define CLOUDSHARE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct db;
struct blobs;
struct cloud_item;

#define CATALOG_ROOT 1

/* How deep and long a path may be: past it items are left out.  Keeps hostile servers (endless trees) bounded. */
#define CATALOG_MAX_DEPTH 128
#define CATALOG_MAX_PATH 4096

struct catalog_item {
  int64_t id, parent;
  const char *name;
  bool is_folder;
  uint64_t size;             /* bytes; folders 0 */
  struct timespec mtime;
  int64_t version;           /* files; 0 for folders */
  const char *token;         /* the version's, or a folder's own etag; may be NULL for folders */
  const char *remote_id;     /* or NULL */
  const char *checksum;      /* the version's, as the remote gave it, or NULL */
  const char *mime;          /* the version's MIME type, as the remote gave it, or NULL */
  uint64_t position;         /* files: run in the blob store */
  const char *hashes;        /* of a content that was made here: "SHA1:hex SHA256:hex", or NULL */
  bool gone;                 /* disks do not show it */
  bool changed;              /* the remote has it otherwise, or not: it has a row in change */
};

/* A folder's children, sorted by name (bytes). */
struct catalog_list {
  struct catalog_item *items;
  size_t n;
  void *arena;               /* what items point to */
};

/* Where to fetch a version from, and how to know it. */
struct catalog_source {
  char *path;                /* malloc'ed */
  char *token;               /* malloc'ed */
  char *checksum;            /* malloc'ed or NULL */
  uint64_t size;
  bool current;              /* it is still the item's newest version */
  bool adrift;               /* a request of ours is open that changes path or token: it may have been done already */
};

extern int catalog_init (struct db *db);

/* 0 at first; grows. */
extern int catalog_revision (struct db *db, int64_t *ret);

/* Whether a whole listing was ever finished. */
extern int catalog_is_complete (struct db *db, bool *ret);
extern int catalog_set_complete (struct db *db);

/* Forgets everything that a first listing which never finished has left. */
extern int catalog_reset (struct db *db);

/* Reads the children of a folder. */
extern int catalog_children (struct db *db, int64_t folder, struct catalog_list *ret);
extern void catalog_list_free (struct catalog_list *list);

/* One item.  1 if found, 0 if not.  *list holds just it.  The second one finds also what is gone. */
extern int catalog_item (struct db *db, int64_t id, struct catalog_list *ret);
extern int catalog_any_item (struct db *db, int64_t id, struct catalog_list *ret);

/* The item of that name in a folder.  Its id, 0 if there is none, -1. */
extern int64_t catalog_child (struct db *db, int64_t folder, const char *name);

/* The same of the remote's tree: parent, name, version and mtime are the remote's.  Also what is gone, as long as the remote
 * has it. */
extern int catalog_remote_children (struct db *db, int64_t folder, struct catalog_list *ret);
extern int catalog_remote_item (struct db *db, int64_t id, struct catalog_list *ret);
extern int64_t catalog_remote_child (struct db *db, int64_t folder, const char *name);

/* The item with that identity at the remote.  Its id, 0 if there is none, -1. */
extern int64_t catalog_by_remote_id (struct db *db, const char *remote_id);

/* Path from the root, malloc'ed; NULL without a message if the item or a parent is gone (errno ENOENT). */
extern char *catalog_path (struct db *db, int64_t item);

/* The same at the remote; ENOENT also if the remote does not have it, or a folder above it. */
extern char *catalog_remote_path (struct db *db, int64_t item);

/* 1 found, 0 not there any more, or never was: made here, and not sent yet. */
extern int catalog_source (struct db *db, int64_t version, struct catalog_source *ret);
extern void catalog_source_free (struct catalog_source *source);

/* Adds an item below a folder; a file gets its first version and a run in the blob store.  Returns its id. */
extern int64_t catalog_add (struct db *db, struct blobs *blobs, int64_t revision, int64_t parent,
                            const struct cloud_item *seen);

/* Whether a listing shows the content that is known.  Folders have none: true. */
extern bool catalog_same_version (const struct catalog_item *known, const struct cloud_item *seen);

/* Another content, or other attributes, for a known item.  The version it had becomes superseded. */
extern int catalog_update (struct db *db, struct blobs *blobs, int64_t revision, const struct catalog_item *known,
                           const struct cloud_item *seen);

/* Moves an item (with all below it) to another folder or name. */
extern int catalog_move (struct db *db, int64_t revision, const struct catalog_item *known, int64_t parent,
                         const char *name);

/* A version's size and run of the blob store.  1 found, 0 not. */
extern int catalog_version_run (struct db *db, int64_t version, uint64_t *ret_size, uint64_t *ret_position);

/* Calls version for the newest version of an item and of all below it. */
extern int catalog_versions_below (struct db *db, int64_t id, int (*version) (void *opaque, int64_t version),
                                   void *opaque);

/* Whether an item is that folder, or somewhere below it. */
extern int catalog_is_below (struct db *db, int64_t item, int64_t folder, bool *ret);

/* Forgets an item and all that disks show below it: neither side has them. */
extern int catalog_remove (struct db *db, int64_t revision, int64_t id);

/* Parts of the above, for who merges.  The new version's id, -1. */
extern int64_t catalog_add_version (struct db *db, struct blobs *blobs, int64_t item, const struct cloud_item *seen);
extern int catalog_set_version (struct db *db, int64_t item, int64_t version);
extern int catalog_supersede (struct db *db, int64_t version);
extern int catalog_touch_folder (struct db *db, int64_t revision, int64_t folder);

/* Keeps a folder's own etag, once all below it was listed. */
extern int catalog_set_token (struct db *db, int64_t folder, const char *token);

/* Writes the new revision down; the last step of a transaction that changed something. */
extern int catalog_commit_revision (struct db *db, int64_t revision);

/* Folders whose children changed after that revision, in the order of their ids.  malloc'ed. */
extern int catalog_changed_folders (struct db *db, int64_t after, int64_t **ret, size_t *ret_n);

/* Sum over current files, bytes, their number, and the largest; for sizing a disk. */
extern int catalog_totals (struct db *db, uint64_t *ret_bytes, uint64_t *ret_files, uint64_t *ret_folders,
                           uint64_t *ret_largest);

/* Current files in the order of their versions, for fetching everything: the next version after that one, 0 at the end. */
extern int catalog_next_version (struct db *db, int64_t after, int64_t *ret_version, uint64_t *ret_size,
                                 uint64_t *ret_position);

/* True if the version is no item's newest. */
extern int catalog_is_superseded (struct db *db, int64_t version, bool *ret);

/* Forgets items that are gone since before that time (seconds since 1970), once no version and no change names them;
 * but not those that needed (or NULL) says to be. */
extern int catalog_purge (struct db *db, int64_t before,
                          int (*needed) (struct db *db, int64_t item, bool *ret));

/* Forgets a version that is superseded and that nobody needs any more, the journal included.  1 if it did, with its run. */
extern int catalog_drop_version (struct db *db, int64_t version, uint64_t *ret_position, uint64_t *ret_size);

/* Versions that are superseded, after the given one; 0 at the end. */
extern int catalog_next_superseded (struct db *db, int64_t after, int64_t *ret_version);

/* End of the highest run of the blob store on record here. */
extern int catalog_blobs_end (struct db *db, uint64_t *ret);

#endif /* CLOUDSHARE_CATALOG_H */
