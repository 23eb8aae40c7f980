/* SPDX-License-Identifier: BSD-3-Clause */
/* fetch=all: copies everything down in the background, behind whatever guests read, and says how far it is.
 *
 *   fill = fill_start (db, cache, identity)
 *   fill_look_again (fill)      the catalog changed, or the remote is back
 *   fill_stop (fill)            after cache_stop was begun; joins the thread
 */

#ifndef CLOUDSHARE_FILL_H
#define CLOUDSHARE_FILL_H

struct cache;
struct db;
struct fill;

/* All borrowed.  NULL after one message. */
extern struct fill *fill_start (struct db *db, struct cache *cache, const char *identity);
extern void fill_look_again (struct fill *fill);
extern void fill_stop (struct fill *fill);

#endif /* CLOUDSHARE_FILL_H */
