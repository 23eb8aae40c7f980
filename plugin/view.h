/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: what one virtual machine sees of a disk, and what it wrote.
 *
 * A view belongs to the export name, never to a connection: clients reconnect, and open several connections.
 *
 *   views = views_open (engine, disk, &config)
 *   views_start (views)                      threads: new generations, views that are no longer held; what guests wrote
 *     view = view_attach (views, name, rw)   one for each connection
 *     view_read, view_write ... (view, ...)
 *     view_detach (views, view)
 *   views_finish (views)                     what was written is interpreted once more; no more requests come
 *   (engine_stop)
 *   views_stop, views_close
 *
 * A view that can be written is pinned: it shows one generation, and over it the guest's own writes (overlay.h), for as long as
 * its guest may have it mounted.  It moves to the newest generation, and its overlay goes, when everything in it is
 * journalled, the volume is marked clean, and nobody was connected for linger seconds; restarts of the server don't count
 * as such.  With refresh at unmount it also does so when a FAT32 guest has marked the volume clean.
 *
 * A view that cannot be written follows live: it shows each new generation as soon as it is there, and keeps the old bytes
 * of what it showed before where they stood, so that a guest reads an old file or a new one, never a mixture; or it shows
 * the generation that it had when it was attached.  Those of a raw disk always do that: nothing of it can be replaced under a
 * guest.
 *
 * Requests fail with -1 and errno.
 */

#ifndef CLOUDSHARE_VIEW_H
#define CLOUDSHARE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct engine;
struct junk;
struct map;
struct view;
struct views;

struct views_config {
  bool live;                   /* views that cannot be written follow live */
  bool unmount;                /* views that can be written move on when the guest unmounts */
  unsigned linger_s;
  unsigned settle_ms;
  unsigned write_back_s;
  unsigned max_delete;         /* percent */
  uint64_t max_dirty;          /* bytes of all overlays; 0: as the host's disk has room */
  _Atomic uint64_t *all_dirty; /* that sum, shared with the views of other disks; borrowed */
  const struct junk *junk;     /* borrowed */
};

/* All borrowed.  Loads the views that were held when the server stopped.  NULL after one message. */
extern struct views *views_open (struct engine *engine, struct disk *disk, const struct views_config *config);
extern int views_start (struct views *views);
extern void views_finish (struct views *views);

/* After engine_stop. */
extern void views_stop (struct views *views);
extern void views_close (struct views *views);

/* name is copied.  NULL after one message. */
extern struct view *view_attach (struct views *views, const char *name, bool writable);
extern void view_detach (struct views *views, struct view *view);

extern int view_read (struct view *view, void *buf, size_t n, uint64_t offset);
extern int view_write (struct view *view, const void *buf, size_t n, uint64_t offset);
extern int view_zero (struct view *view, uint64_t n, uint64_t offset);
extern int view_trim (struct view *view, uint64_t n, uint64_t offset);

/* What was acknowledged before is on disk when this returns. */
extern int view_flush (struct view *view);
extern void view_prefetch (struct view *view, size_t n, uint64_t offset);

/* The run that begins at offset: how many bytes, at most n, and whether they are a hole of zeros. */
extern uint64_t view_run (struct view *view, uint64_t n, uint64_t offset, bool *ret_hole);

enum view_refresh {
  VIEW_REFRESHED, VIEW_REFRESH_UNKNOWN,
  VIEW_REFRESH_DIRTY,          /* its guest has it mounted */
  VIEW_REFRESH_OPEN,           /* a raw disk, and a client is connected */
  VIEW_REFRESH_WAITING,        /* it holds what is not journalled yet */
  VIEW_REFRESH_DETACHED,
  VIEW_REFRESH_FAILED,         /* after one message */
};

/* Moves a view to the newest generation now, whoever is connected. */
extern enum view_refresh view_refresh (struct views *views, const char *name);

/* ---- for status and the administrator ---- */

struct view_status {
  const char *name;
  int64_t generation, newest;  /* what it shows, and what it could */
  unsigned connections;
  bool writable;
  uint64_t overlay_bytes;
  bool dirty;                  /* the volume is marked so: mounted, or not unmounted properly */
  uint64_t pending;            /* differences that are not understood or not ready yet */
  int64_t unread_since;        /* seconds since 1970: something is written that is not understood, or not ready; 0: no */
  bool unserved;               /* its disk is not asked for: nobody looks at it */
  const char *detached;        /* why it is no longer interpreted, or NULL */
};

extern void views_each (struct views *views, void (*view) (void *opaque, const struct view_status *status), void *opaque);

/* What was written is looked at right now, quiet or not. */
extern void views_hurry (struct views *views);

enum view_forget {
  VIEW_FORGOTTEN, VIEW_UNKNOWN, VIEW_CONNECTED,
  VIEW_WAITING,                /* it holds what the cloud does not have yet */
  VIEW_FAILED,                 /* after one message */
};

/* Forgets a view with all that was written to it.  force: also what is not journalled. */
extern enum view_forget view_forget (struct views *views, const char *name, bool force);

#endif /* CLOUDSHARE_VIEW_H */
