/* SPDX-License-Identifier: BSD-3-Clause */
/* Selection: which items of the catalog are on a disk, by its rule (rules.h) and by what views of the disk have made.
 *
 *   selection_init (db)                            tables
 *   sel = selection_new (rule)
 *   selection_resolve (sel, db, ...)               its folders' paths -> items; again before each layout
 *   selection_begin (sel, db, disk, &anew)         the disk that it is for
 *   selection_refresh (sel, db, after, ...)        in layout's transaction: where folders came to be shown, or hidden
 *   selection_children (sel, db, folder, &list)    a folder's children, as the disk shows them
 *   selection_keep (sel, db, item)                 a view made it: the disk shows it, whatever the rule says
 *   selection_free (sel)
 *
 * One folder: its content is the disk's root directory.  Several: the root directory shows them by their names, and belongs to
 * none of them; it goes by the id CATALOG_ROOT, and what guests put into it goes to the first.
 *
 * On a disk that chooses files by more than their folder, a folder is shown if there is something in it to show, at any depth, or a
 * view has made it.  That is kept for each folder once it was asked for (table disk_folder), and reckoned anew for those
 * whose children changed.
 *
 * In a folder that the rule excludes nothing is shown but what views have made: a guest that makes such a folder gets the one that
 * the cloud has, and must not see what is in it.
 *
 * A conflicted copy is shown where the file is, or would be, whose name it has.
 *
 * All functions with a db need its lock, those that keep something a transaction.  Errors: -1 after one message.
 */

#ifndef CLOUDSHARE_SELECTION_H
#define CLOUDSHARE_SELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog_list;
struct db;
struct disk_rule;
struct selection;

extern int selection_init (struct db *db);

/* rule is borrowed; NULL: the whole remote.  NULL after one message. */
extern struct selection *selection_new (const struct disk_rule *rule);
extern void selection_free (struct selection *sel);

/* Another rule that chooses the same items (disk_rule_same_selection): what was found stays found.  False: it chooses others. */
extern bool selection_set_rule (struct selection *sel, const struct disk_rule *rule);

/* Looks its folders up.  A folder that was found before and is not there any more is followed to where it was moved.  *ret_missing: one
 * (of the rule) that is nowhere, or NULL.  1: there is something to show, of several folders those that are there; 0: there is
 * not, and nothing has changed. */
extern int selection_resolve (struct selection *sel, struct db *db, const char **ret_missing);

/* The folder whose content the root directory shows, or CATALOG_ROOT.  After selection_resolve, as all below. */
extern int64_t selection_root (const struct selection *sel);

/* Where things go that are put into the folder of that id on the disk: the first of several folders for the root. */
extern int64_t selection_home (const struct selection *sel, int64_t folder);

/* Whether an item is one of several folders in the root directory: these stay as they are. */
extern bool selection_is_fixed (const struct selection *sel, int64_t item);

/* Whether the root directory shows several folders. */
extern bool selection_has_several (const struct selection *sel);

/* Whether files are chosen by more than their folder. */
extern bool selection_filters (const struct selection *sel);

/* Reckons anew after the catalog's revision `after'.  *ret: folders in which another came to be shown or hidden by that, malloc'ed. */
extern int selection_refresh (struct selection *sel, struct db *db, int64_t after, int64_t **ret, size_t *ret_n);

/* As catalog_children, of what the disk shows.  catalog_list_free. */
extern int selection_children (struct selection *sel, struct db *db, int64_t folder, struct catalog_list *ret);

/* What the disk shows: bytes and number of files, number of folders, and the largest file. */
extern int selection_totals (struct selection *sel, struct db *db, uint64_t *ret_bytes, uint64_t *ret_files,
                             uint64_t *ret_folders, uint64_t *ret_largest);

/* A view made the item on the disk, or gave it its name: it is shown, whatever the rule says.  As of that revision of the catalog. */
extern int selection_keep (struct selection *sel, struct db *db, int64_t revision, int64_t item);

/* Whether the disk was laid out by this rule last.  Of one that was never laid out it was not. */
extern int selection_is_laid_out (struct selection *sel, struct db *db, int64_t disk, bool *ret);

/* It is for that disk, after selection_resolve.  *ret_anew: it chooses otherwise than what the disk was laid out by; what is kept for each
 * folder is forgotten. */
extern int selection_begin (struct selection *sel, struct db *db, int64_t disk, bool *ret_anew);

/* Forgets all that is kept for a disk. */
extern int selection_forget (struct db *db, int64_t disk);

/* Forgets what is kept for items that are gone. */
extern int selection_sweep (struct db *db);

#endif /* CLOUDSHARE_SELECTION_H */
