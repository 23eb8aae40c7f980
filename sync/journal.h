/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal: what views have changed, and the remote has yet to be told.
 *
 * Two trees share the catalog's items.  The local one (item.parent, name, version, mtime, gone) is what disks show.  The
 * remote's, as it was last seen, is the same for every item without a row here; for one with a row it is the row's base:
 *
 *   change    one row for each item whose local state and base differ
 *             base_parent, base_name, base_version, base_mtime   where and what the remote has; base_parent NULL: nothing
 *
 * What there is to do follows from the difference alone (push_plan), so later changes of an item merge into the row, and
 * one that was undone needs nothing.  Order on disk: bytes -> row (with the local tree, in one transaction) -> the remote is
 * told -> base advanced.
 *
 * Views write through journal_create ... journal_touch, inside the caller's transaction.  Each compares what the view knew
 * (was) with the catalog of today, since the cloud or another view may have changed the same item: three-way, see
 * verdict.h.  Nothing that somebody wrote is ever dropped: in a conflict the catalog's version keeps the name, and the view's
 * becomes an item of its own, "NAME (conflicted copy YYYY-MM-DD hhmmss VIEW).EXT".
 *
 *   struct journal journal = { .db = db, ... }
 *   db_begin (db)
 *   journal_stage, journal_remove, journal_move, journal_create, journal_edit, journal_touch
 *   r = journal_finish (&journal, r)        always, also after an error
 *   db_end (db, r)
 *   cache_adopted (cache, ...)              for each version that was staged, if it was committed
 *
 * Removals and moves before creations: a name that is still taken when an item is moved there is given to it by
 * journal_finish if it is free by then (so two names can be swapped); but a folder or file that is created where one of
 * that name is, is that one.
 *
 * All functions need the database's lock (db_begin for those that change).  Errors: -1 or NULL after one message.
 */

#ifndef CLOUDSHARE_JOURNAL_H
#define CLOUDSHARE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct blobs;
struct db;
struct kin_stage;

extern int journal_init (struct db *db);

/* One transaction of one view. */
struct journal {
  struct db *db;
  struct blobs *blobs;
  int64_t revision;            /* of the catalog: the one that this transaction makes */
  const char *view;            /* export name; for conflict names and status */
  time_t now;
  unsigned quiet_s;            /* write-back: not sent before so many seconds after the last change */
  bool held;                   /* removals wait for journal_approve (mass-delete guard) */
  bool changed;                /* set when anything was changed: then commit the revision */

  struct journal_wish *wishes; /* private: names to be given by journal_finish */
  int64_t *left;               /* private: folders that were to go, and had something in them */
  size_t n_left;
};

/* Ends the changes of one transaction; ok: 0, or -1 if it will be rolled back.  Returns ok, or -1 after one message. */
extern int journal_finish (struct journal *journal, int ok);

/* A content that a view made: bytes are in the blob store, synced, at position (blobs_alloc); sha1 and sha256 in hex, or NULL.  Makes the
 * version, with its cache rows (all of it is cached, and can't be evicted until the remote has it).  Returns its id. */
extern int64_t journal_stage (struct journal *journal, uint64_t size, uint64_t position, const char *sha1,
                              const char *sha256);

/* The same of what a view made over another version: only what stage says is in the blob store.  Such a version has no sums. */
extern int64_t journal_stage_over (struct journal *journal, uint64_t size, uint64_t position, const struct kin_stage *stage);

/* A new file (version from journal_stage) or folder (version 0).  A folder that the catalog has by that name is that folder; a
 * file of the same bytes likewise; any other item keeps the name, and ours gets a conflict name.  If the parent is gone, it
 * comes back.  Returns the item's id. */
extern int64_t journal_create (struct journal *journal, int64_t parent, const char *name, bool is_folder, int64_t version,
                               const struct timespec *mtime);

/* New content for a file whose version was `was` (0: an empty file without one).  Returns the id of the item that has it: a new
 * one, after a conflict. */
extern int64_t journal_edit (struct journal *journal, int64_t item, int64_t was, int64_t version,
                             const struct timespec *mtime);

/* Another folder or name; was_parent and was_name are what the view knew.  An item that somebody else moved meanwhile
 * stays there; a name that is taken gives a conflict name.  Returns 0. */
extern int journal_move (struct journal *journal, int64_t item, int64_t was_parent, const char *was_name, int64_t parent,
                         const char *name);

/* Gone from the view, which knew it in that version.  An edit by somebody else wins: then it stays.  Folders go only once
 * nothing is left in them: at once, or at the end of the transaction. */
extern int journal_remove (struct journal *journal, int64_t item, int64_t was);

/* Only its time. */
extern int journal_touch (struct journal *journal, int64_t item, const struct timespec *mtime);

/* ---- for status and the administrator ---- */

struct journal_totals {
  uint64_t files;              /* items with a change that waits */
  uint64_t bytes;              /* of contents to be sent */
  int64_t oldest;              /* seconds since 1970 of the oldest change; 0: none */
  uint64_t failing;            /* with an error */
  uint64_t held;               /* wait for approval */
};

extern int journal_totals (struct db *db, struct journal_totals *ret);

struct journal_row {
  int64_t item;
  char *path;                  /* where it is (or was) for people */
  const char *what;            /* "new file", "new folder", "changed", "moved", "moved and changed", "removed", "time" */
  uint64_t bytes;
  int64_t since, next_try;     /* seconds since 1970; next_try 0: as soon as it can */
  unsigned attempts;
  const char *error;           /* last error's sentence, or NULL */
  const char *view;
  bool held;
};

/* Until row returns -1. */
extern int journal_each (struct db *db, int (*row) (void *opaque, const struct journal_row *row), void *opaque);

/* What waits of one view. */
extern int journal_waiting (struct db *db, const char *view, uint64_t *ret);

/* Lets removals that were held go on; *ret: how many. */
extern int journal_approve (struct db *db, uint64_t *ret);

/* Everything is tried again now. */
extern int journal_retry (struct db *db);

#endif /* CLOUDSHARE_JOURNAL_H */
