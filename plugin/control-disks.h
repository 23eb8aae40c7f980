/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket's verbs (control-verbs.h) ask of the process's disks and views. */

#ifndef CLOUDSHARE_CONTROL_DISKS_H
#define CLOUDSHARE_CONTROL_DISKS_H

struct control_verbs;
struct disks;
struct engine;

/* As control_verbs_start, for these disks, which are borrowed. */
extern struct control_verbs *control_disks_start (struct engine *engine, struct disks *disks);

#endif /* CLOUDSHARE_CONTROL_DISKS_H */
