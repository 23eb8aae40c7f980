/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: what one virtual machine sees of a disk.
 *
 * A view belongs to the export name, never to a connection: clients reconnect, and open several connections.
 *
 *   views = views_open (engine, disk, &config)
 *   views_start (views)                      its thread: new generations, views that are no longer held
 *     view = view_attach (views, name)       one for each connection
 *     map = view_map (view); ...; map_unref (map)
 *     view_detach (views, view)
 *   views_stop, views_close
 *
 * A live view shows each new generation as soon as it is there, and keeps the old bytes of what it showed before where
 * they stood: a guest reads an old file or a new one, never a mixture.  A pinned view shows the generation that it had when
 * it was attached, until nobody was connected for linger seconds; restarts of the server don't count as such.
 */

#ifndef CLOUDSHARE_VIEW_H
#define CLOUDSHARE_VIEW_H

#include <stdbool.h>

struct disk;
struct engine;
struct map;
struct view;
struct views;

struct views_config {
  bool live;
  unsigned linger_s;
};

/* Both borrowed.  Loads the views that were held when the server stopped.  NULL after one message. */
extern struct views *views_open (struct engine *engine, struct disk *disk, const struct views_config *config);
extern int views_start (struct views *views);

/* After engine_stop. */
extern void views_stop (struct views *views);
extern void views_close (struct views *views);

/* name is copied.  NULL after one message. */
extern struct view *view_attach (struct views *views, const char *name);
extern void view_detach (struct views *views, struct view *view);

/* What the view shows right now.  One reference, the caller's. */
extern struct map *view_map (struct view *view);

#endif /* CLOUDSHARE_VIEW_H */
