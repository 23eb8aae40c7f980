/* SPDX-License-Identifier: BSD-3-Clause */
/* cloudsharectl: tells what a cache folder holds and what waits for the cloud, and asks the running server to act.
 *
 * It only reads the database, so it can be used beside a running server, or without one; whatever changes something is
 * the server's to do. */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "catalog.h"
#include "cleanup.h"
#include "client.h"
#include "db.h"
#include "extents.h"
#include "libvirt.h"
#include "msg.h"
#include "show.h"
#include "status.h"

/* Exit codes, beside 0, 1 and 2; see cloudsharectl(1). */
#define EXIT_USAGE 2
#define EXIT_NOT_YET 3
#define EXIT_NO_SERVER 4

static const char usage[] =
  "Usage: cloudsharectl status [--json] CACHE-DIR              the remote, what waits for it, disks, views\n"
  "       cloudsharectl left-out [--json] CACHE-DIR            items that the disks do not show, and why\n"
  "       cloudsharectl drain [--timeout SECONDS] CACHE-DIR    wait until everything is in the cloud\n"
  "       cloudsharectl approve CACHE-DIR                      let removals go on that were held\n"
  "       cloudsharectl retry CACHE-DIR                        try now what failed\n"
  "       cloudsharectl poke CACHE-DIR                         look at the remote now\n"
  "       cloudsharectl refresh CACHE-DIR VM/DISK              show a virtual machine the newest state\n"
  "       cloudsharectl reload CACHE-DIR                       read the rules in config=FILE again\n"
  "       cloudsharectl rate [--upload RATE] [--download RATE] [--json] CACHE-DIR\n"
  "                                                            show or change the limits, bytes a second\n"
  "       cloudsharectl forget-view [--discard] CACHE-DIR VM/DISK\n"
  "       cloudsharectl libvirt-xml [--usb] [--json] CACHE-DIR VM/DISK\n"
  "                                                            the disk, as libvirt wants it\n"
  "       cloudsharectl --help | --version\n"
  "CACHE-DIR is what the server was given with cache=, or says at its start.\n";

static struct {
  bool json, discard, usb;
  double timeout;              /* seconds; negative: none */
  int64_t upload, download;    /* bytes a second; negative: not given */
  const char *dir, *view;
} args = { .timeout = -1, .upload = -1, .download = -1 };

static void
say (enum msg_level level, const char *text)
{
  if (level == MSG_DEBUG)
    return;
  fputs ("cloudsharectl: ", stderr);
  show_text (stderr, text);
  putc ('\n', stderr);
}

static void
print_json (struct json_object *object)
{
  puts (json_object_to_json_string_ext (object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                                        | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static struct db *
open_database (void)
{
  CLEANUP_FREE char *path = NULL;

  if (asprintf (&path, "%s/cloudshare.db", args.dir) == -1)
    return NULL;
  if (access (path, R_OK) == -1) {
    msg_error ("%s is not a cache folder that can be read: %s: %s", args.dir, path, strerror (errno));
    return NULL;
  }
  return db_open_reader (path);
}

/* ---- the server ---- */

/* Asks, shows progress on a terminal, and returns the answer.  NULL with an exit code. */
static struct json_object *
ask_server (struct client *client, struct json_object *request, int *ret_exit)
{
  const bool bar = !args.json && isatty (STDERR_FILENO);
  int64_t most_items = 0, most_bytes = 0;
  struct json_object *reply;
  bool last = false, shown = false;

  *ret_exit = EXIT_FAILURE;
  if (client_ask (client, request) == -1)
    return NULL;
  while ((reply = client_next (client, &last)) != NULL && !last) {
    struct json_object *waiting = json_object_object_get (reply, "waiting");

    most_items = show_int (waiting, "items") > most_items ? show_int (waiting, "items") : most_items;
    most_bytes = show_int (waiting, "bytes") > most_bytes ? show_int (waiting, "bytes") : most_bytes;
    if (bar) {
      show_progress (reply, most_items, most_bytes);
      shown = true;
    }
    json_object_put (reply);
  }
  if (shown)
    fputs ("\r\033[K", stderr);
  return reply;
}

/* A verb that only the server can carry out.  done says what it did. */
static int
run_by_server (const char *verb, void (*done) (struct json_object *reply))
{
  struct json_object *request = json_object_new_object (), *reply = NULL;
  struct client *client;
  int ret = EXIT_FAILURE;
  bool none;

  json_object_object_add (request, "verb", json_object_new_string (verb));
  if (args.timeout >= 0)
    json_object_object_add (request, "timeout", json_object_new_double (args.timeout));
  if (args.view)
    json_object_object_add (request, "view", json_object_new_string (args.view));
  if (args.upload >= 0)
    json_object_object_add (request, "upload", json_object_new_int64 (args.upload));
  if (args.download >= 0)
    json_object_object_add (request, "download", json_object_new_int64 (args.download));
  if (args.discard)
    json_object_object_add (request, "discard", json_object_new_boolean (true));

  client = client_open (args.dir, &none);
  if (client)
    reply = ask_server (client, request, &ret);
  else if (none) {
    if (access (args.dir, X_OK) == -1)
      msg_error ("%s: %s", args.dir, strerror (errno));
    else
      msg_error ("%s: no server runs with this cache folder, and %s needs one: start nbdkit, and try again", args.dir,
                 verb);
    ret = EXIT_NO_SERVER;
  }
  json_object_put (request);
  client_close (client);
  if (reply == NULL)
    return ret;

  ret = EXIT_SUCCESS;
  if (strcmp (verb, "libvirt-xml") == 0)
    libvirt_complete (reply, args.usb);
  if (args.json)
    print_json (reply);
  if (!json_object_get_boolean (json_object_object_get (reply, "ok"))) {
    msg_error ("%s%s%s", args.view ? args.view : "", args.view ? ": " : "", show_string (reply, "error"));
    ret = strcmp (verb, "drain") == 0 && json_object_object_get (reply, "waiting") ? EXIT_NOT_YET : EXIT_FAILURE;
  }
  else if (!args.json)
    done (reply);
  json_object_put (reply);
  return ret;
}

static void
drained (struct json_object *reply)
{
  puts ("everything is in the cloud");
}

static void
approved (struct json_object *reply)
{
  const int64_t n = show_int (reply, "approved");

  if (n == 0)
    puts ("nothing waits for approval");
  else
    printf ("%lld removal%s approved\n", (long long) n, n == 1 ? "" : "s");
}

static void
retried (struct json_object *reply)
{
  const int64_t n = show_int (json_object_object_get (reply, "waiting"), "items");

  if (n == 0)
    puts ("nothing waits for the remote");
  else
    printf ("%lld change%s tried again now\n", (long long) n, n == 1 ? " is" : "s are");
}

static void
poked (struct json_object *reply)
{
  puts ("the remote is looked at now");
}

static void
forgotten (struct json_object *reply)
{
  char bytes[16];

  show_text (stdout, args.view);
  printf (" is forgotten, with %s that its guest had written\n",
          show_bytes ((uint64_t) show_int (reply, "bytes"), bytes));
}

static void
refreshed (struct json_object *reply)
{
  show_text (stdout, args.view);
  puts (" shows the newest state now");
}

static void
reloaded (struct json_object *reply)
{
  puts ("the rules are read again");
  if (*show_string (reply, "restart")) {
    printf ("what else changed needs a restart of the server: ");
    show_text (stdout, show_string (reply, "restart"));
    putchar ('\n');
  }
}

static void
show_rate (struct json_object *reply, const char *key)
{
  const int64_t rate = show_int (reply, key);
  char bytes[16];

  if (rate == 0)
    printf ("%s: no limit\n", key);
  else
    printf ("%s: at most %s a second\n", key, show_bytes ((uint64_t) rate, bytes));
}

static void
rated (struct json_object *reply)
{
  show_rate (reply, "upload");
  show_rate (reply, "download");
}

static int
run_drain (void)
{
  return run_by_server ("drain", drained);
}

static int
run_approve (void)
{
  return run_by_server ("approve", approved);
}

static int
run_retry (void)
{
  return run_by_server ("retry", retried);
}

static int
run_poke (void)
{
  return run_by_server ("poke", poked);
}

static int
run_forget_view (void)
{
  return run_by_server ("forget-view", forgotten);
}

static int
run_refresh (void)
{
  return run_by_server ("refresh", refreshed);
}

static int
run_reload (void)
{
  return run_by_server ("reload", reloaded);
}

static int
run_rate (void)
{
  return run_by_server ("rate", rated);
}

static int
run_libvirt_xml (void)
{
  return run_by_server ("libvirt-xml", libvirt_print);
}

/* ---- what can be told without a server ---- */

static struct json_object *
status_of_database (void)
{
  struct json_object *status = json_object_new_object ();
  struct db *db = open_database ();
  int r = -1;

  json_object_object_add (status, "running", json_object_new_boolean (false));
  json_object_object_add (status, "state", json_object_new_string ("stopped"));
  if (db)
    r = status_add (db, status);
  db_close (db);
  if (r == 0)
    return status;
  json_object_put (status);
  return NULL;
}

static struct json_object *
status_of_server (struct client *client)
{
  struct json_object *request = json_object_new_object (), *reply;
  int code;

  json_object_object_add (request, "verb", json_object_new_string ("status"));
  reply = ask_server (client, request, &code);
  json_object_put (request);
  if (reply == NULL || json_object_get_boolean (json_object_object_get (reply, "ok")))
    return reply;
  msg_error ("%s: %s", args.dir, show_string (reply, "error"));
  json_object_put (reply);
  return NULL;
}

static int
run_status (void)
{
  struct json_object *status = NULL;
  struct client *client;
  bool none;

  client = client_open (args.dir, &none);
  if (client)
    status = status_of_server (client);
  else if (none)
    status = status_of_database ();
  client_close (client);
  if (status == NULL)
    return EXIT_FAILURE;
  json_object_object_del (status, "ok");
  if (args.json)
    print_json (status);
  else
    show_status (status);
  json_object_put (status);
  return EXIT_SUCCESS;
}

struct left_out {
  struct db *db;
  struct json_object *list;
  struct json_object *disk;    /* its name */
};

static int
add_left_out (void *opaque, int64_t item, const char *reason)
{
  struct left_out *left_out = opaque;
  CLEANUP_FREE char *path = catalog_path (left_out->db, item);
  struct json_object *object;

  /* Gone meanwhile: then it is left out no more. */
  if (path == NULL)
    return 0;
  if (!args.json) {
    show_text (stdout, path);
    printf (": %s\n", reason);
    return 0;
  }
  object = json_object_new_object ();
  json_object_object_add (object, "disk", json_object_get (left_out->disk));
  json_object_object_add (object, "path", status_text (path));
  json_object_object_add (object, "reason", status_text (reason));
  json_object_array_add (left_out->list, object);
  return 0;
}

/* Names first: one statement may not be run within itself. */
static int
add_name (void *opaque, const char *name)
{
  json_object_array_add (opaque, json_object_new_string (name));
  return 0;
}

static int
run_left_out (void)
{
  struct left_out left_out = { .db = open_database (), .list = json_object_new_array () };
  struct json_object *names = json_object_new_array ();
  int r;

  if (left_out.db == NULL)
    r = -1;
  else {
    db_read_begin (left_out.db);
    r = disk_names_each (left_out.db, add_name, names);
    for (size_t i = 0; r == 0 && i < json_object_array_length (names); ++i) {
      struct disk_row row;

      left_out.disk = json_object_array_get_idx (names, i);
      r = disk_row_load (left_out.db, json_object_get_string (left_out.disk), &row) == 1
        ? left_out_each (left_out.db, row.id, add_left_out, &left_out) : -1;
    }
    db_read_end (left_out.db);
  }
  if (r == 0 && args.json)
    print_json (left_out.list);
  json_object_put (names);
  json_object_put (left_out.list);
  db_close (left_out.db);
  return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- what was asked for ---- */

static const struct verb {
  const char *name;
  int (*run) (void);
  bool takes_view, takes_timeout, takes_discard, takes_usb, takes_rates;
} verbs[] = {
  { "status", run_status },
  { "left-out", run_left_out },
  { "drain", run_drain, .takes_timeout = true },
  { "approve", run_approve },
  { "retry", run_retry },
  { "poke", run_poke },
  { "forget-view", run_forget_view, .takes_view = true, .takes_discard = true },
  { "refresh", run_refresh, .takes_view = true },
  { "reload", run_reload },
  { "rate", run_rate, .takes_rates = true },
  { "libvirt-xml", run_libvirt_xml, .takes_view = true, .takes_usb = true },
};

static bool
parse_timeout (const char *text)
{
  char *end;

  args.timeout = strtod (text, &end);
  if (end != text && *end == '\0' && isfinite (args.timeout) && args.timeout >= 0)
    return true;
  msg_error ("--timeout=%s: give a number of seconds", text);
  return false;
}

/* Bytes a second, with a suffix as nbdkit takes it. */
static bool
parse_rate (const char *option, const char *text, int64_t *ret)
{
  static const char suffixes[] = "bkmgt";
  char *end;
  const long long n = strtoll (text, &end, 10);
  const char *suffix = *end ? strchr (suffixes, *end | 0x20) : suffixes;
  const int shift = suffix ? 10 * (int) (suffix - suffixes) : 0;

  if (end != text && suffix && (*end == '\0' || end[1] == '\0') && n >= 0 && n <= INT64_MAX >> shift) {
    *ret = (int64_t) n << shift;
    return true;
  }
  msg_error ("--%s=%s: give bytes a second, as in 500K or 10M, or 0 for no limit", option, text);
  return false;
}

static const struct verb *
parse_words (int argc, char *const *argv)
{
  for (size_t i = 0; argc > 0 && i < sizeof verbs / sizeof verbs[0]; ++i) {
    const struct verb *verb = &verbs[i];

    if (strcmp (verb->name, argv[0]) != 0)
      continue;
    if (argc != (verb->takes_view ? 3 : 2) || (args.timeout >= 0 && !verb->takes_timeout)
        || (args.discard && !verb->takes_discard) || (args.usb && !verb->takes_usb)
        || ((args.upload >= 0 || args.download >= 0) && !verb->takes_rates))
      return NULL;
    args.dir = argv[1];
    args.view = verb->takes_view ? argv[2] : NULL;
    return verb;
  }
  return NULL;
}

int
main (int argc, char *argv[])
{
  static const struct option options[] = {
    { "json", no_argument, NULL, 'j' },
    { "timeout", required_argument, NULL, 't' },
    { "discard", no_argument, NULL, 'd' },
    { "usb", no_argument, NULL, 'u' },
    { "upload", required_argument, NULL, 'U' },
    { "download", required_argument, NULL, 'D' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { 0 },
  };
  const struct verb *verb;
  int option;

  msg_set_sink (say);
  while ((option = getopt_long (argc, argv, "", options, NULL)) != -1)
    switch (option) {
    case 'j':
      args.json = true;
      break;
    case 't':
      if (!parse_timeout (optarg))
        return EXIT_USAGE;
      break;
    case 'd':
      args.discard = true;
      break;
    case 'u':
      args.usb = true;
      break;
    case 'U':
      if (!parse_rate ("upload", optarg, &args.upload))
        return EXIT_USAGE;
      break;
    case 'D':
      if (!parse_rate ("download", optarg, &args.download))
        return EXIT_USAGE;
      break;
    case 'h':
      fputs (usage, stdout);
      return EXIT_SUCCESS;
    case 'V':
      puts ("cloudsharectl " PACKAGE_VERSION);
      return EXIT_SUCCESS;
    default:
      return EXIT_USAGE;
    }
  verb = parse_words (argc - optind, argv + optind);
  if (verb == NULL) {
    fputs (usage, stderr);
    return EXIT_USAGE;
  }
  return verb->run ();
}
