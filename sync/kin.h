/* SPDX-License-Identifier: BSD-3-Clause */
/* Kin: versions that share bytes.
 *
 * What a view makes of a file that it changed in places is stored as those places over another version, its origin:
 *
 *   version.origin    outside the version's own ranges each of its bytes is what the origin has at the same offset
 *   version.base      the version that its changes are counted from, to be sent over it
 *   version_range     kind 0: own, bytes that the version's run in the blob store has, whatever blocks are there;
 *                     kind 1: changed, those of them that may differ from the base
 *
 * What is behind the end of the origin is its own.  All of this stays true for ever, so it serves both ways: while the remote
 * has the origin, the rest of the version is read from there; once the remote has the version, what is missing of the origin,
 * which views still show, is read from the version.  While the remote does not have a version its own ranges are nowhere else,
 * and its origin stays.
 *
 * All functions need the database's lock (those that change, db_begin).  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_KIN_H
#define CLOUDSHARE_KIN_H

#include <stdbool.h>
#include <stdint.h>

#include "ranges.h"

struct db;

/* A content that a view made, beside what journal_stage wants to know. */
struct kin_stage {
  int64_t origin;
  int64_t known;               /* the version that the view had of the file; changed is counted from it.  0: unknown */
  struct ranges own, changed;
  uint64_t *bits;              /* malloc'ed: the blocks that are whole in the blob store, in chunks as the cache has them */
};

extern void kin_stage_free (struct kin_stage *stage);

extern int kin_init (struct db *db);

/* Records what a new version stands on. */
extern int kin_record (struct db *db, int64_t version, const struct kin_stage *stage);

/* What a version stands on, and its own ranges.  *ret_written: its run was given the bytes of all of them; the cache says whether
 * it has them still (cache_has_own).  Not where an origin was dropped: what was that's own is only said to be this one's.  1 or 0. */
extern int kin_read (struct db *db, int64_t version, int64_t *ret_origin, struct ranges *ret_own, bool *ret_written);

/* The same of a version that the remote does not have. */
extern int kin_read_unsent (struct db *db, int64_t version, int64_t *ret_origin, struct ranges *ret_own);

/* What may differ between a version and another one, and the other's size.  Every range is among the version's own.  1, or 0
 * if that is not known. */
extern int kin_changes (struct db *db, int64_t version, int64_t from, struct ranges *ret, uint64_t *ret_size);

/* Where the missing bytes of a version are to be had. */
struct kin_source {
  int64_t version;             /* of this one, which the remote has */
  uint64_t size, position;
  bool unsent;                 /* the remote never had it: */
  struct ranges own;           /* these are in the blob store */
  struct ranges differ;        /* these are not the same in both */
};

enum kin_where {
  KIN_ITSELF,                  /* the remote has the version */
  KIN_OTHER,                   /* the remote has another one */
  KIN_NOWHERE,                 /* nobody has them; own is all there is */
};

/* An enum kin_where, or -1.  kin_source_free in any case. */
extern int kin_find (struct db *db, int64_t version, struct kin_source *ret);
extern void kin_source_free (struct kin_source *source);

/* A version is dropped: those that stand on it stand on its origin from now on. */
extern int kin_drop (struct db *db, int64_t version);

/* Own ranges of a version are lost: files of the cache folder were removed. */
extern int kin_lose (struct db *db, int64_t version);

/* Versions of other items that stand on that one and that the remote does not have, to be sent whole: a malloc'ed array.  Not those
 * that could not be several times. */
extern int kin_read_others (struct db *db, int64_t version, int64_t item, int64_t **ret, size_t *ret_n);

/* Versions that the remote does not have and that stand on others, after the given one; 0 at the end. */
extern int kin_next_unsent (struct db *db, int64_t after, int64_t *ret_version);

#endif /* CLOUDSHARE_KIN_H */
