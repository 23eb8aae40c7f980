/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks: all logical disks of the process with their views, and who may have which.
 *
 *   disks = disks_open (engine, rules, &config)      loads or lays out each disk
 *   disks_start (disks)                              threads
 *     export = disks_attach (disks, &peer, name, readonly)   one for each connection
 *     export_read (export, ...) ...               export.h
 *     disks_detach (disks, export)
 *     disks_reload (disks, rules)                    other rules, while serving
 *   disks_finish (disks)                             what was written is interpreted once more; no more requests come
 *   (engine_stop)
 *   disks_stop, disks_close
 *
 * Functions may be called from any thread.  Errors: -1 or NULL after one message.
 */

#ifndef CLOUDSHARE_DISKS_H
#define CLOUDSHARE_DISKS_H

#include <stdbool.h>
#include <stdint.h>

#include "rules.h"
#include "view.h"

struct disks;
struct engine;
struct export;

/* rules and what config points to are borrowed until disks_close. */
extern struct disks *disks_open (struct engine *engine, const struct rules *rules, const struct views_config *config);
extern int disks_start (struct disks *disks);
extern void disks_finish (struct disks *disks);
extern void disks_stop (struct disks *disks);
extern void disks_close (struct disks *disks);

/* What the rules go by. */
extern void disks_wants_of_peer (struct disks *disks, bool *ret_uid, bool *ret_cert);

/* NULL after one message: once for each name and side that may not have it. */
extern struct export *disks_attach (struct disks *disks, const struct rules_peer *peer, const char *name, bool readonly);
extern void disks_detach (struct disks *disks, struct export *export);

/* Calls each export that this side may see. */
extern int disks_each_export (struct disks *disks, const struct rules_peer *peer,
                              int (*each) (void *opaque, const char *name), void *opaque);

/* Takes rules over, also when it fails (then those from before go on).  Disks that are new are laid out, which takes a while; those
 * that are gone keep serving who is connected, and nobody else.  *ret_restart: a malloc'ed sentence on what only a restart
 * takes up, or NULL. */
extern int disks_reload (struct disks *disks, struct rules *rules, char **ret_restart);

/* What rules say of an export, to the administrator: as if the one asked whom it is for. */
struct disks_export {
  char *name;                  /* malloc'ed */
  bool read_only;
  int64_t uid;                 /* who must connect; -1: anybody */
  bool cert;                   /* a certificate is needed */
};

extern enum rules_answer disks_look_up (struct disks *disks, const char *name, struct disks_export *ret);

/* ---- for the administrator ---- */

extern void disks_each_view (struct disks *disks, void (*each) (void *opaque, const struct view_status *status), void *opaque);
extern void disks_hurry (struct disks *disks);
extern enum view_forget disks_forget_view (struct disks *disks, const char *name, bool force);
extern enum view_refresh disks_refresh_view (struct disks *disks, const char *name);

#endif /* CLOUDSHARE_DISKS_H */
