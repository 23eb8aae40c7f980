/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket's verbs ask of the process's disks and views. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "control-disks.h"
#include "control-verbs.h"
#include "db.h"
#include "disks.h"
#include "engine.h"
#include "journal.h"
#include "msg.h"
#include "params.h"

/* The one of the process, for tell_view. */
static struct engine *served;

struct each_view {
  int (*row) (void *opaque, const struct control_view *view);
  void *opaque;
  int r;
};

static void
tell_view (void *opaque, const struct view_status *status)
{
  struct each_view *each = opaque;
  struct db *db = engine_db (served);
  uint64_t waiting = 0;
  struct control_view view = {
    .name = status->name, .generation = status->generation, .newest = status->newest,
    .overlay_bytes = status->overlay_bytes, .dirty = status->dirty, .detached = status->detached, .unserved = status->unserved,
    .connections = status->connections, .uninterpreted_since = status->unread_since,
  };

  db_read_begin (db);
  if (journal_waiting (db, status->name, &waiting) == 0)
    view.waiting = waiting;
  db_read_end (db);
  if (each->r == 0)
    each->r = each->row (each->opaque, &view);
}

static int
each_view (void *opaque, int (*row) (void *row_opaque, const struct control_view *view), void *row_opaque)
{
  struct each_view each = { .row = row, .opaque = row_opaque };

  disks_each_view (opaque, tell_view, &each);
  return each.r;
}

static void
hurry (void *opaque)
{
  disks_hurry (opaque);
}

static int
say_why (char **ret_why, const char *format, const char *name)
{
  if (asprintf (ret_why, format, name) == -1)
    *ret_why = NULL;
  return -1;
}

static int
forget (void *opaque, const char *name, bool discard, char **ret_why)
{
  static const char *const why[] = {
    [VIEW_UNKNOWN] = "there is no view \"%s\": cloudsharectl status lists them",
    [VIEW_CONNECTED] = "somebody is connected to \"%s\": end the virtual machine, or its client, first",
    [VIEW_WAITING] = "\"%s\" holds writes that are not understood yet, and not in the cloud: they would be lost",
    [VIEW_FAILED] = "\"%s\" cannot be forgotten now: the server's log says why",
  };
  const enum view_forget result = disks_forget_view (opaque, name, discard);

  return result == VIEW_FORGOTTEN ? 0 : say_why (ret_why, why[result], name);
}

static int
refresh (void *opaque, const char *name, char **ret_why)
{
  static const char *const why[] = {
    [VIEW_REFRESH_UNKNOWN] = "there is no view \"%s\": cloudsharectl status lists them",
    [VIEW_REFRESH_DIRTY] = "\"%s\" is mounted, or was not unmounted properly: unmount it in the virtual machine first",
    [VIEW_REFRESH_OPEN] = "\"%s\" is open, and nothing tells whether its guest uses it: shut the virtual machine down first",
    [VIEW_REFRESH_WAITING] = "\"%s\" holds writes that are not understood yet: try again in a moment, or have its guest unmount it",
    [VIEW_REFRESH_DETACHED] = "\"%s\" is detached from the cloud: forget-view gives it a new start",
    [VIEW_REFRESH_FAILED] = "\"%s\" cannot be refreshed now: the server's log says why",
  };
  const enum view_refresh result = disks_refresh_view (opaque, name);

  return result == VIEW_REFRESHED ? 0 : say_why (ret_why, why[result], name);
}

static int
reload (void *opaque, char **ret_why, char **ret_restart)
{
  CLEANUP_FREE char *wrong = NULL;
  char *disks_restart = NULL, *more = NULL;
  struct rules *rules;
  int r = -1;

  msg_keep ();
  rules = params_reload (ret_restart);
  if (rules)
    r = disks_reload (opaque, rules, &disks_restart);
  wrong = msg_kept ();
  if (r == -1) {
    free (disks_restart);
    return say_why (ret_why, "%s; the rules stay as they were", wrong ? wrong : "the server's log says what is wrong");
  }
  if (disks_restart && asprintf (&more, "%s%sdisk=%s", *ret_restart ? *ret_restart : "", *ret_restart ? ", " : "",
                                 disks_restart) >= 0) {
    free (*ret_restart);
    *ret_restart = more;
  }
  free (disks_restart);
  return 0;
}

static int
find_export (void *opaque, const char *name, struct control_export *ret, char **ret_why)
{
  static const char *const why[] = {
    [RULES_NO_DISK] = "there is no export \"%s\": nbdinfo --list shows those that there are",
    [RULES_NO_VM] = "there is no virtual machine for \"%s\" in the rules: vm= adds it",
    [RULES_NOT_HIS] = "the rules give \"%s\" to nobody",
  };
  struct disks_export found;
  const enum rules_answer answer = disks_look_up (opaque, name, &found);

  if (answer != RULES_YES)
    return say_why (ret_why, why[answer], name);
  *ret = (struct control_export) {
    .name = found.name, .read_only = found.read_only, .uid = found.uid, .cert = found.cert,
  };
  return 0;
}

struct control_verbs *
control_disks_start (struct engine *engine, struct disks *disks)
{
  const struct control_views views = {
    .opaque = disks, .each = each_view, .hurry = hurry, .forget = forget, .refresh = refresh, .reload = reload,
    .find_export = find_export,
  };

  served = engine;
  return control_verbs_start (engine, &views);
}
