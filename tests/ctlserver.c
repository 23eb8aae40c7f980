/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's side of cloudsharectl, with a database, and without the rest: a cache folder whose views and remote are
 * what test-ctl.sh says on standard input.
 *
 *   ctlserver DIR             makes the tables, prints "ready", and serves until the end of its input
 *
 *   view NAME GENERATION BYTES DIRTY CONNECTIONS WAITING SINCE [DETACHED...]     adds or changes one
 *   gone NAME
 *   state online|offline|refused
 *   fail-forget SENTENCE
 *
 * Prints "ok" for each line, and to standard error what it was asked to do. */

#include <config.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "control-verbs.h"
#include "db.h"
#include "engine.h"
#include "extents.h"
#include "format.h"

#define MAX_VIEWS 8

/* What the verbs use of the engine. */
struct engine {
  struct db *db;
  const char *dir;
  uint64_t upload, download;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fake_view {
  char name[64], detached[128];
  struct control_view view;
} fakes[MAX_VIEWS];
static enum cloud_result state = CLOUD_OK;
static char fail_forget[128];

struct db *
engine_db (struct engine *engine)
{
  return engine->db;
}

const char *
engine_cache_dir (struct engine *engine)
{
  return engine->dir;
}

enum cloud_result
engine_remote_state (struct engine *engine)
{
  LOCK_FOR_SCOPE (&lock);

  return state;
}

void
engine_push_ring (struct engine *engine)
{
  fprintf (stderr, "ring\n");
}

void
engine_poke (struct engine *engine)
{
  fprintf (stderr, "poke\n");
}

int
engine_set_rates (struct engine *engine, uint64_t upload, uint64_t download)
{
  engine->upload = upload;
  engine->download = download;
  return 0;
}

void
engine_rates (struct engine *engine, uint64_t *ret_upload, uint64_t *ret_download)
{
  *ret_upload = engine->upload;
  *ret_download = engine->download;
}

const char *
engine_door_url (struct engine *engine)
{
  return "http://127.0.0.1:8765/secret";
}

bool
engine_remote_pushes (struct engine *engine)
{
  return true;
}

static int
each (void *opaque, int (*row) (void *row_opaque, const struct control_view *view), void *row_opaque)
{
  LOCK_FOR_SCOPE (&lock);

  for (size_t i = 0; i < MAX_VIEWS; ++i)
    if (fakes[i].name[0] && row (row_opaque, &fakes[i].view) == -1)
      return -1;
  return 0;
}

static void
hurry (void *opaque)
{
  fprintf (stderr, "hurry\n");
}

static struct fake_view *
find (const char *name)
{
  for (size_t i = 0; i < MAX_VIEWS; ++i)
    if (strcmp (fakes[i].name, name) == 0)
      return &fakes[i];
  return NULL;
}

static int
forget (void *opaque, const char *name, bool discard, char **ret_why)
{
  LOCK_FOR_SCOPE (&lock);

  fprintf (stderr, "forget %s%s\n", name, discard ? " discard" : "");
  if (fail_forget[0]) {
    *ret_why = strdup (fail_forget);
    return -1;
  }
  memset (find (name), 0, sizeof (struct fake_view));
  return 0;
}

static void
set_view (const char *line)
{
  char name[64];
  int64_t generation, since;
  uint64_t bytes, waiting;
  unsigned dirty, connections;
  struct fake_view *fake;
  int n = 0;

  if (sscanf (line, "view %63s %" SCNd64 " %" SCNu64 " %u %u %" SCNu64 " %" SCNd64 " %n", name, &generation, &bytes,
              &dirty, &connections, &waiting, &since, &n) < 7)
    exit (2);
  fake = find (name);
  if (fake == NULL)
    fake = find ("");
  snprintf (fake->name, sizeof fake->name, "%s", name);
  snprintf (fake->detached, sizeof fake->detached, "%s", line + n);
  fake->view = (struct control_view) {
    .name = fake->name, .generation = generation, .overlay_bytes = bytes, .dirty = dirty != 0,
    .detached = line[n] ? fake->detached : NULL, .connections = connections, .waiting = waiting,
    .uninterpreted_since = since,
  };
}

static void
obey (const char *line)
{
  LOCK_FOR_SCOPE (&lock);

  if (strncmp (line, "view ", 5) == 0)
    set_view (line);
  else if (strncmp (line, "gone ", 5) == 0)
    memset (find (line + 5), 0, sizeof (struct fake_view));
  else if (strncmp (line, "fail-forget ", 12) == 0)
    snprintf (fail_forget, sizeof fail_forget, "%s", line + 12);
  else if (strcmp (line, "state online") == 0)
    state = CLOUD_OK;
  else if (strcmp (line, "state offline") == 0)
    state = CLOUD_OFFLINE;
  else if (strcmp (line, "state refused") == 0)
    state = CLOUD_AUTH;
  else
    exit (2);
}

/* A remote, a disk, and a table of the cache's that status reads. */
static int
make_tables (struct db *db)
{
  struct disk_row row = {
    .geometry = { .format = format_by_name ("exfat"), .disk_bytes = UINT64_C (64) << 30, .label = "CLOUD" },
    .generation = 87,
  };
  struct disk_row found;
  int r;

  if (catalog_init (db) == -1 || extents_init (db) == -1
      || db_schema (db, "CREATE TABLE IF NOT EXISTS cached_chunk (version INTEGER, chunk INTEGER, bits INTEGER,"
                        " PRIMARY KEY (version, chunk)) WITHOUT ROWID") == -1
      || db_begin (db) == -1)
    return -1;
  r = db_set_text (db, "remote", "https://cloud.example.com/dav/");
  if (r == 0 && disk_row_load (db, "cloud", &found) == 0)
    r = disk_row_insert (db, "cloud", &row);
  return db_end (db, r);
}

int
main (int argc, char *argv[])
{
  static const struct control_views views = { .each = each, .hurry = hurry, .forget = forget };
  struct engine engine = { .dir = argv[1] };
  CLEANUP_FREE char *path = NULL;
  CLEANUP_FREE char *line = NULL;
  struct control_verbs *verbs;
  size_t room = 0;
  ssize_t n;

  if (argc != 2 || asprintf (&path, "%s/cloudshare.db", argv[1]) == -1)
    return 2;
  setvbuf (stdout, NULL, _IOLBF, 0);
  engine.db = db_open (path);
  if (engine.db == NULL || make_tables (engine.db) == -1)
    return 1;
  verbs = control_verbs_start (&engine, &views);
  if (verbs == NULL)
    return 1;
  puts ("ready");
  while ((n = getline (&line, &room, stdin)) > 0) {
    line[n - 1] = '\0';
    obey (line);
    puts ("ok");
  }
  control_verbs_stop (verbs);
  db_close (engine.db);
  return 0;
}
