/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs of the control socket: what cloudsharectl asks the running server.
 *
 *   verbs = control_verbs_start (engine, &views)     after engine_start and views_start
 *   control_verbs_stop (verbs)                       before views_stop and engine_stop
 *
 * The socket's thread takes the database's lock, and calls the functions of struct control_views without it. */

#ifndef CLOUDSHARE_CONTROL_VERBS_H
#define CLOUDSHARE_CONTROL_VERBS_H

#include <stdbool.h>
#include <stdint.h>

struct control_verbs;
struct engine;

/* A view, as those see it who look after it. */
struct control_view {
  const char *name;              /* export name */
  int64_t generation;
  int64_t newest;                /* the disk's generation by now */
  uint64_t overlay_bytes;        /* of its guest's writes, kept on this host */
  bool dirty;                    /* its guest has the volume mounted, or left it without unmounting */
  bool unserved;                 /* its disk is not asked for: nobody looks at it */
  const char *detached;          /* why it has nothing to do with the cloud any more; NULL: it has */
  unsigned connections;
  uint64_t waiting;              /* its changes that the remote has not got */
  int64_t uninterpreted_since;   /* seconds since 1970: the oldest write that is not understood yet; 0: there is none */
};

/* An export that a client may open. */
struct control_export {
  char *name;                    /* malloc'ed */
  bool read_only;
  int64_t uid;                   /* only for clients of this user; -1: for any */
  bool cert;                     /* only for clients with a certificate that the rules name */
};

/* All are called on the socket's thread, and must not wait for guests or the remote. */
struct control_views {
  void *opaque;

  /* Calls row for each view that is held, connected or not, until it returns -1. */
  int (*each) (void *opaque, int (*row) (void *row_opaque, const struct control_view *view), void *row_opaque);

  /* Interprets soon what there is, without waiting for quiet. */
  void (*hurry) (void *opaque);

  /* Forgets a view, and what its guest wrote, unless by now somebody is connected, or (without discard) a write is not
   * interpreted.  -1: *ret_why is a malloc'ed sentence. */
  int (*forget) (void *opaque, const char *name, bool discard, char **ret_why);

  /* Moves a view to the newest generation, also while somebody is connected.  -1: *ret_why is a malloc'ed sentence. */
  int (*refresh) (void *opaque, const char *name, char **ret_why);

  /* Reads the rules of disks and virtual machines again.  -1: *ret_why is a malloc'ed sentence.  *ret_restart: what else has
   * changed, and needs a restart; malloc'ed, or NULL. */
  int (*reload) (void *opaque, char **ret_why, char **ret_restart);

  /* What rules say of an export name.  -1: *ret_why is a malloc'ed sentence. */
  int (*find_export) (void *opaque, const char *name, struct control_export *ret, char **ret_why);
};

/* views is copied; its opaque is borrowed.  NULL after one message: the server can do without. */
extern struct control_verbs *control_verbs_start (struct engine *engine, const struct control_views *views);

/* verbs may be NULL. */
extern void control_verbs_stop (struct control_verbs *verbs);

#endif /* CLOUDSHARE_CONTROL_VERBS_H */
