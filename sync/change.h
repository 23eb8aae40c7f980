/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of the table change (journal.h): the remote's side of items that differ from it, and what is known of
 * telling it.
 *
 * Shared by journal.c (views write), merge.c (listings) and the push files.  Nobody else includes this.
 *
 * All functions need the database's lock.  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_CHANGE_H
#define CLOUDSHARE_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog.h"
#include "push-plan.h"
#include "verdict.h"

struct change {
  int64_t item;

  /* What the remote has; base_parent 0: nothing. */
  int64_t base_parent, base_version, base_mtime;
  char *base_name;

  /* Who changed it, and when: first and last.  Seconds since 1970. */
  char *view;
  int64_t since, changed, quiet;
  bool held;

  /* What became of telling the remote. */
  int64_t attempts, tried, next_try;
  char *error;

  /* The intent: durable before its request is sent, and until its end is known.  sent: PUSH_NOTHING if none is open. */
  enum push_step sent;
  int64_t sent_version, sent_parent, sent_mtime;
  char *sent_name;
};

extern int change_init (struct db *db);

/* 1 found, 0 not; change_free after 1. */
extern int change_read (struct db *db, int64_t item, struct change *ret);
extern void change_free (struct change *change);

/* Makes sure that an item has its row before its local side changes: the base is what the item is now (nothing, if it
 * is gone). */
extern int change_open (struct db *db, const struct catalog_item *item);

/* A row for an item that the remote does not have. */
extern int change_open_new (struct db *db, int64_t item);

/* A view changed it.  It is tried as if it were new. */
extern int change_note (struct db *db, int64_t item, const char *view, int64_t now, unsigned quiet_s, bool held);

extern int change_set_base (struct db *db, int64_t item, int64_t parent, const char *name, int64_t version,
                            int64_t mtime);
extern int change_clear_base (struct db *db, int64_t item);

/* Writes down what is about to be asked of the remote. */
extern int change_intend (struct db *db, int64_t item, enum push_step step, int64_t version, int64_t parent,
                          const char *name, int64_t mtime);
extern int change_clear_intent (struct db *db, int64_t item);

/* Asks for a look at the item, now; an open intent stays as it is. */
extern int change_look (struct db *db, int64_t item);

/* A try that failed.  attempts: with this one; error: why, or NULL. */
extern int change_failed (struct db *db, int64_t item, int64_t attempts, int64_t now, int64_t next_try,
                          const char *error);

/* The next step of an item (any, from catalog_any_item) with that row. */
extern enum push_step change_step (const struct catalog_item *item, const struct change *change);
extern const char *change_what (const struct catalog_item *item, const struct change *change);

/* Drops the row if both sides agree and no intent is open.  *ret_left (or NULL): whether something is left to be
 * done. */
extern int change_settle (struct db *db, int64_t item, bool *ret_left);

/* Whether a request for the item is open; its id or 0, -1. */
extern int change_is_open (struct db *db, int64_t item);

/* An item whose open intent, or whose base, is that place, other than the one given.  Its id, 0 or -1. */
extern int64_t change_intent_at (struct db *db, int64_t parent, const char *name, int64_t except);

/* ---- small changes of the local tree ---- */

extern int local_set_place (struct db *db, int64_t revision, const struct catalog_item *item, int64_t parent,
                            const char *name);
extern int local_set_gone (struct db *db, int64_t revision, const struct catalog_item *item, int64_t when);
extern int local_set_mtime (struct db *db, int64_t revision, const struct catalog_item *item, int64_t mtime);

/* Whether disks show anything in a folder. */
extern int local_has_children (struct db *db, int64_t folder, bool *ret);

/* A new item that disks show; version may be 0.  Its id, or -1. */
extern int64_t local_add (struct db *db, int64_t revision, int64_t parent, const char *name, bool is_folder,
                          int64_t version, int64_t mtime);

/* Brings back a folder and those above it that are gone.  Returns the folder's id, or the root's where nothing is
 * known of it any more; -1. */
extern int64_t local_revive_folder (struct db *db, int64_t revision, int64_t folder);

/* A name for a conflicted copy that no item of the folder has.  malloc'ed. */
extern char *local_conflict_name (struct db *db, int64_t folder, const char *name, bool is_folder, const char *view,
                                  int64_t now);

/* Gives an item that stands where another has to a conflict name. */
extern int local_step_aside (struct db *db, int64_t revision, int64_t item, const char *view, int64_t now);

/* ---- versions ---- */

/* A version is an item's from now on. */
extern int version_give (struct db *db, int64_t version, int64_t item);

/* The remote has that version now. */
extern int version_sent (struct db *db, int64_t version, const struct cloud_item *seen);

/* Whether two versions, or a version and what the remote shows, are the same bytes. */
extern int version_compare (struct db *db, int64_t a, int64_t b, enum verdict_same *ret);
extern int version_compare_seen (struct db *db, int64_t version, const struct cloud_item *seen, enum verdict_same *ret);

/* Whether all bytes of a version are here because they were made here.  1 or 0. */
extern int version_is_ours (struct db *db, int64_t version);

/* Size, position and hashes of a version.  1 or 0; *ret_hashes (or NULL) is malloc'ed. */
extern int version_read (struct db *db, int64_t version, uint64_t *ret_size, uint64_t *ret_position, char **ret_hashes);

static inline int64_t
time_to_ns (const struct timespec *ts)
{
  if (ts == NULL || ts->tv_sec < 0 || ts->tv_sec > INT64_MAX / INT64_C (1000000000) - 1)
    return 0;
  return ts->tv_sec * INT64_C (1000000000) + ts->tv_nsec;
}

#endif /* CLOUDSHARE_CHANGE_H */
