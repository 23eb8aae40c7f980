/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs of the control socket. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "control-verbs.h"
#include "control.h"
#include "db.h"
#include "engine.h"
#include "journal.h"
#include "listening.h"
#include "msg.h"
#include "rate.h"
#include "status.h"

/* How often drain looks whether it is done. */
#define DRAIN_MS 200

struct control_verbs {
  struct engine *engine;
  struct control_views views;
  struct control *control;
};

static const char *
state_name (struct engine *engine)
{
  switch (engine_remote_state (engine)) {
  case CLOUD_OFFLINE:
    return "offline";
  case CLOUD_AUTH:
    return "refused";
  default:
    return "online";
  }
}

static void
add_state (struct control_verbs *verbs, struct json_object *reply)
{
  json_object_object_add (reply, "state", json_object_new_string (state_name (verbs->engine)));
}

static int
database_failed (struct json_object *reply)
{
  return control_failed (reply, "the database could not be used; the server's log says why");
}

/* ---- status ---- */

static int
add_live_view (void *opaque, const struct control_view *view)
{
  struct json_object *reply = opaque;
  struct json_object *object = status_find_view (reply, view->name);
  const char *slash = strrchr (view->name, '/');
  struct json_object *disk = status_find_disk (reply, slash ? slash + 1 : view->name);

  if (object == NULL) {
    /* Attached, and not on record yet. */
    if (disk == NULL)
      return 0;
    object = json_object_new_object ();
    json_object_object_add (object, "name", status_text (view->name));
    json_object_array_add (json_object_object_get (disk, "views"), object);
  }
  json_object_object_add (object, "generation", json_object_new_int64 (view->generation));
  json_object_object_add (object, "newest", json_object_new_int64 (view->newest));
  if (view->generation >= view->newest)
    json_object_object_add (object, "behind", json_object_new_int64 (0));
  json_object_object_add (object, "overlay_bytes", json_object_new_int64 ((int64_t) view->overlay_bytes));
  json_object_object_add (object, "dirty", json_object_new_boolean (view->dirty));
  json_object_object_add (object, "detached", view->detached ? status_text (view->detached) : NULL);
  json_object_object_add (object, "connections", json_object_new_int64 (view->connections));
  json_object_object_add (object, "waiting", json_object_new_int64 ((int64_t) view->waiting));
  json_object_object_add (object, "uninterpreted_since", json_object_new_int64 (view->uninterpreted_since));
  return 0;
}

/* By a connection of its own: the sums take a while where much is known, and guests must not wait for them. */
static int
add_database (struct control_verbs *verbs, struct json_object *reply)
{
  CLEANUP_FREE char *path = NULL;
  struct db *db;
  int r;

  if (asprintf (&path, "%s/cloudshare.db", engine_cache_dir (verbs->engine)) == -1)
    return -1;
  db = db_open_reader (path);
  if (db == NULL)
    return -1;
  r = status_add (db, reply);
  db_close (db);
  return r;
}

static void
add_push (struct control_verbs *verbs, struct json_object *reply)
{
  const char *url = engine_door_url (verbs->engine);

  json_object_object_add (reply, "push", url ? status_text (url) : NULL);
  json_object_object_add (reply, "pushes", json_object_new_boolean (engine_remote_pushes (verbs->engine)));
}

static int
run_status (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;

  json_object_object_add (reply, "running", json_object_new_boolean (true));
  add_state (verbs, reply);
  add_push (verbs, reply);
  if (add_database (verbs, reply) == -1)
    return database_failed (reply);
  return verbs->views.each (verbs->views.opaque, add_live_view, reply) == -1
    ? control_failed (reply, "the views could not be asked; the server's log says why") : 0;
}

/* ---- drain ---- */

static int
load_totals (struct control_verbs *verbs, struct journal_totals *ret)
{
  struct db *db = engine_db (verbs->engine);
  int r;

  db_read_begin (db);
  r = journal_totals (db, ret);
  db_read_end (db);
  return r;
}

static int
try_all_now (struct control_verbs *verbs)
{
  struct db *db = engine_db (verbs->engine);

  if (db_begin (db) == -1 || db_end (db, journal_retry (db)) == -1)
    return -1;
  engine_push_ring (verbs->engine);
  return 0;
}

/* Views with writes that the cloud will hear of, once they are understood. */
struct unread {
  unsigned n;
  unsigned unserved;           /* of disks that are not asked for */
};

static int
count_unread (void *opaque, const struct control_view *view)
{
  struct unread *unread = opaque;

  if (view->unserved)
    unread->unserved++;
  else if (view->uninterpreted_since != 0 && view->detached == NULL)
    unread->n++;
  return 0;
}

/* What a request remembers from one call to the next is kept in itself. */
static int64_t
remembered (struct json_object *request, const char *key)
{
  return json_object_get_int64 (json_object_object_get (request, key));
}

static int
drain_timed_out (struct json_object *reply, const struct journal_totals *totals, unsigned unread)
{
  json_object_object_add (reply, "timeout", json_object_new_boolean (true));
  return totals->files > 0
    ? control_failed (reply, "%" PRIu64 " changes still wait for the remote", totals->files)
    : control_failed (reply, "%u views hold writes that are not understood yet: have their guests unmount, or run sync",
                      unread);
}

static int
run_drain (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  struct json_object *timeout = json_object_object_get (request, "timeout");
  const bool first = json_object_object_get (request, "-unread") == NULL;
  struct journal_totals totals;
  struct unread counted = { 0 };
  unsigned unread;

  verbs->views.hurry (verbs->views.opaque);
  /* Views first: what they hand over meanwhile is then in the journal's sums. */
  if (verbs->views.each (verbs->views.opaque, count_unread, &counted) == -1 || load_totals (verbs, &totals) == -1)
    return database_failed (reply);
  unread = counted.n;
  status_add_waiting (reply, &totals);
  json_object_object_add (reply, "uninterpreted_views", json_object_new_int64 (unread + counted.unserved));
  add_state (verbs, reply);
  if (totals.files == 0 && unread == 0 && counted.unserved > 0)
    return control_failed (reply, "%u views of disks that are not asked for any more hold what their guests wrote: start the"
                           " server with these disks again, or forget them; status lists them", counted.unserved);
  if (totals.files == 0 && unread == 0)
    return 0;
  if (unread == 0 && totals.held == totals.files)
    return control_failed (reply, "%" PRIu64 " removals wait for your approval: see status, then use approve",
                           totals.held);
  /* Back-off and the quiet time before an upload are cut short at the start, and once each time that all was
   * understood. */
  if (totals.files > 0 && (first || (unread == 0 && remembered (request, "-unread") > 0)) && try_all_now (verbs) == -1)
    return database_failed (reply);
  if (timeout && (double) control_elapsed_ms (client) >= json_object_get_double (timeout) * 1000)
    return drain_timed_out (reply, &totals, unread);
  json_object_object_add (request, "-unread", json_object_new_int64 (unread));
  return DRAIN_MS;
}

/* ---- the small ones ---- */

static int
run_approve (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  struct db *db = engine_db (verbs->engine);
  uint64_t n = 0;

  if (db_begin (db) == -1 || db_end (db, journal_approve (db, &n)) == -1)
    return database_failed (reply);
  engine_push_ring (verbs->engine);
  if (n > 0)
    msg_notice ("%" PRIu64 " removals were approved", n);
  json_object_object_add (reply, "approved", json_object_new_int64 ((int64_t) n));
  return 0;
}

static int
run_retry (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  struct journal_totals totals;

  if (load_totals (verbs, &totals) == -1 || try_all_now (verbs) == -1)
    return database_failed (reply);
  engine_poke (verbs->engine);
  status_add_waiting (reply, &totals);
  return 0;
}

static int
run_poke (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;

  engine_poke (verbs->engine);
  add_state (verbs, reply);
  return 0;
}

/* ---- forget-view ---- */

struct wanted_view {
  const char *name;
  bool found, connected, detached, unread;
  uint64_t waiting, bytes;
};

static int
find_view (void *opaque, const struct control_view *view)
{
  struct wanted_view *wanted = opaque;

  if (strcmp (view->name, wanted->name) != 0)
    return 0;
  wanted->found = true;
  wanted->connected = view->connections > 0;
  wanted->detached = view->detached != NULL;
  wanted->unread = view->uninterpreted_since != 0;
  wanted->waiting = view->waiting;
  wanted->bytes = view->overlay_bytes;
  return 0;
}

static int
run_forget_view (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  const bool discard = json_object_get_boolean (json_object_object_get (request, "discard"));
  struct wanted_view view = { .name = json_object_get_string (json_object_object_get (request, "view")) };
  CLEANUP_FREE char *why = NULL;

  if (view.name == NULL)
    return control_failed (reply, "which view?");
  if (verbs->views.each (verbs->views.opaque, find_view, &view) == -1)
    return control_failed (reply, "the views could not be asked; the server's log says why");
  if (!view.found)
    return control_failed (reply, "there is no view of that name; status lists them");
  if (view.connected)
    return control_failed (reply, "a virtual machine is connected to it: shut it down first");
  if (view.waiting > 0)
    return control_failed (reply, "%" PRIu64 " of its changes wait for the remote: use drain first", view.waiting);
  if (view.unread && !view.detached && !discard)
    return control_failed (reply, "it holds writes that are not understood yet, and that would be lost; use drain, or"
                           " have its guest unmount the disk; --discard forgets them all the same");
  if (verbs->views.forget (verbs->views.opaque, view.name, discard || view.detached, &why) == -1)
    return control_failed (reply, "%s", why ? why : "it could not be forgotten; the server's log says why");
  json_object_object_add (reply, "bytes", json_object_new_int64 ((int64_t) view.bytes));
  return 0;
}

/* ---- refresh, reload ---- */

static int
run_refresh (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  const char *name = json_object_get_string (json_object_object_get (request, "view"));
  CLEANUP_FREE char *why = NULL;

  if (name == NULL)
    return control_failed (reply, "which view?");
  if (verbs->views.refresh (verbs->views.opaque, name, &why) == -1)
    return control_failed (reply, "%s", why ? why : "it could not be refreshed; the server's log says why");
  return 0;
}

static int
run_reload (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  CLEANUP_FREE char *why = NULL, *restart = NULL;

  if (verbs->views.reload (verbs->views.opaque, &why, &restart) == -1)
    return control_failed (reply, "%s", why ? why : "the rules stay as they were; the server's log says why");
  json_object_object_add (reply, "restart", restart ? status_text (restart) : NULL);
  return 0;
}

/* ---- rate ---- */

/* A rate of the request, bytes a second; what it was where it says nothing.  False: it is none. */
static bool
wanted_rate (struct json_object *request, const char *key, uint64_t *rate)
{
  struct json_object *value;

  if (!json_object_object_get_ex (request, key, &value))
    return true;
  if (!json_object_is_type (value, json_type_int) || json_object_get_int64 (value) < 0)
    return false;
  *rate = (uint64_t) json_object_get_int64 (value);
  return *rate == 0 || *rate >= RATE_LOWEST;
}

static int
run_rate (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  const bool set = json_object_object_get (request, "upload") || json_object_object_get (request, "download");
  uint64_t upload, download;

  engine_rates (verbs->engine, &upload, &download);
  if (!wanted_rate (request, "upload", &upload) || !wanted_rate (request, "download", &download))
    return control_failed (reply, "give bytes a second, %d or more, or 0 for no limit", RATE_LOWEST);
  if (set && engine_set_rates (verbs->engine, upload, download) == -1)
    return control_failed (reply, "the remote is a local folder, and has no limits");
  if (set)
    msg_notice ("limits are now %" PRIu64 " bytes a second up, and %" PRIu64 " down (0: none)", upload, download);
  json_object_object_add (reply, "upload", json_object_new_int64 ((int64_t) upload));
  json_object_object_add (reply, "download", json_object_new_int64 ((int64_t) download));
  return 0;
}

/* ---- libvirt-xml ---- */

/* XML has no way to write control characters, nor bytes that are not UTF-8. */
static bool
is_plain_text (const char *text)
{
  struct json_object *object = status_text (text);
  bool plain = object && strcmp (json_object_get_string (object), text) == 0;

  for (const char *p = text; *p; ++p)
    plain &= (unsigned char) *p >= 0x20 && *p != 0x7f;
  json_object_put (object);
  return plain;
}

static void
add_socket (struct json_object *reply, const struct listening *socket)
{
  json_object_object_add (reply, "transport", json_object_new_string (socket->path ? "unix" : "tcp"));
  if (socket->path) {
    json_object_object_add (reply, "socket", status_text (socket->path));
    return;
  }
  json_object_object_add (reply, "host", json_object_new_string (socket->host));
  json_object_object_add (reply, "port", json_object_new_int ((int) socket->port));
  json_object_object_add (reply, "any_address", json_object_new_boolean (socket->any));
}

static int
add_access (struct json_object *reply, const struct listening *socket, const struct listening_options *options)
{
  static const char *const tls[] = {
    [LISTENING_TLS_OFF] = "off", [LISTENING_TLS_ON] = "on", [LISTENING_TLS_REQUIRE] = "require",
  };

  if (socket->path && !is_plain_text (socket->path))
    return control_failed (reply, "the name of the server's socket cannot be written in XML");
  if (options->psk && options->tls == LISTENING_TLS_REQUIRE)
    return control_failed (reply, "the server takes clients with a shared key alone (--tls-psk), and libvirt has certificates"
                           " only");
  add_socket (reply, socket);
  json_object_object_add (reply, "tls", json_object_new_string (tls[options->psk ? LISTENING_TLS_OFF : options->tls]));
  return 0;
}

static int
run_libvirt_xml (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client)
{
  struct control_verbs *verbs = opaque;
  const char *name = json_object_get_string (json_object_object_get (request, "view"));
  struct control_export export = { 0 };
  CLEANUP_FREE char *why = NULL;
  CLEANUP_FREE char *full = NULL;
  struct listening_options options;
  struct listening socket;
  int r;

  if (name == NULL)
    return control_failed (reply, "which export?");
  if (!is_plain_text (name))
    return control_failed (reply, "that name cannot be written in XML");
  if (verbs->views.find_export (verbs->views.opaque, name, &export, &why) == -1)
    return control_failed (reply, "%s", why ? why : "the rules could not be asked; the server's log says why");
  full = export.name;
  r = listening_options (&options);
  if (r == 0)
    r = listening_find (engine_cache_dir (verbs->engine), &socket);
  if (r == -1)
    return control_failed (reply, "the server could not tell where it listens; its log says why");
  if (r == 0)
    return control_failed (reply, "the server listens at no socket that libvirt could open: start nbdkit with -U or -p");
  json_object_object_add (reply, "name", status_text (full));
  json_object_object_add (reply, "read_only", json_object_new_boolean (export.read_only || options.read_only));
  json_object_object_add (reply, "uid", export.uid >= 0 ? json_object_new_int64 (export.uid) : NULL);
  json_object_object_add (reply, "certificate", json_object_new_boolean (export.cert));
  r = add_access (reply, &socket, &options);
  listening_free (&socket);
  return r;
}

static const struct control_verb table[] = {
  { "status", run_status },
  { "drain", run_drain },
  { "approve", run_approve },
  { "retry", run_retry },
  { "poke", run_poke },
  { "forget-view", run_forget_view },
  { "refresh", run_refresh },
  { "reload", run_reload },
  { "rate", run_rate },
  { "libvirt-xml", run_libvirt_xml },
};

struct control_verbs *
control_verbs_start (struct engine *engine, const struct control_views *views)
{
  struct control_verbs *verbs = calloc (1, sizeof *verbs);

  if (verbs == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  verbs->engine = engine;
  verbs->views = *views;
  verbs->control = control_start (engine_cache_dir (engine), table, sizeof table / sizeof table[0], verbs);
  if (verbs->control == NULL) {
    free (verbs);
    return NULL;
  }
  return verbs;
}

void
control_verbs_stop (struct control_verbs *verbs)
{
  if (verbs == NULL)
    return;
  control_stop (verbs->control);
  free (verbs);
}
