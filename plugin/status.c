/* SPDX-License-Identifier: BSD-3-Clause */
/* What the database tells about a cache folder, as JSON. */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "extents.h"
#include "format.h"
#include "journal.h"
#include "status.h"

/* How many changes are told one by one: those that somebody has to look after, and a few others. */
#define MAX_TROUBLED 100
#define MAX_OTHERS 20
#define MAX_LOOKED_AT 10000

static void
add_int (struct json_object *object, const char *key, int64_t value)
{
  json_object_object_add (object, key, json_object_new_int64 (value));
}

static void
add_bool (struct json_object *object, const char *key, bool value)
{
  json_object_object_add (object, key, json_object_new_boolean (value));
}

/* The length of the UTF-8 sequence at p (RFC 3629, section 4); 0: it is none. */
static size_t
sequence_at (const unsigned char *p)
{
  const size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

  for (size_t i = 1; i < n; ++i)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90)
      || (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return n;
}

struct json_object *
status_text (const char *text)
{
  static const char replacement[] = "\xef\xbf\xbd";
  CLEANUP_FREE char *copy = malloc (3 * strlen (text) + 1);
  char *to = copy;
  struct json_object *ret;

  if (copy == NULL)
    return NULL;
  for (const unsigned char *p = (const unsigned char *) text; *p != '\0';) {
    const size_t n = sequence_at (p);

    if (n == 0)
      to = mempcpy (to, replacement, 3);
    else
      to = mempcpy (to, p, n);
    p += n ? n : 1;
  }
  *to = '\0';
  ret = json_object_new_string (copy);
  return ret;
}

static void
add_text (struct json_object *object, const char *key, const char *text)
{
  json_object_object_add (object, key, text ? status_text (text) : NULL);
}

void
status_add_waiting (struct json_object *reply, const struct journal_totals *totals)
{
  struct json_object *waiting = json_object_new_object ();

  add_int (waiting, "items", (int64_t) totals->files);
  add_int (waiting, "bytes", (int64_t) totals->bytes);
  add_int (waiting, "oldest", totals->oldest);
  add_int (waiting, "failing", (int64_t) totals->failing);
  add_int (waiting, "held", (int64_t) totals->held);
  json_object_object_add (reply, "waiting", waiting);
}

/* ---- changes ---- */

struct changes {
  struct json_object *list;
  unsigned n_troubled, n_others, n_seen;
  bool enough;
};

static int
add_change (void *opaque, const struct journal_row *row)
{
  struct changes *changes = opaque;
  unsigned *n = row->error || row->held ? &changes->n_troubled : &changes->n_others;
  const unsigned most = row->error || row->held ? MAX_TROUBLED : MAX_OTHERS;
  struct json_object *change;

  if (++changes->n_seen == MAX_LOOKED_AT) {
    changes->enough = true;
    return -1;
  }
  if (*n == most)
    return 0;
  ++*n;
  change = json_object_new_object ();
  add_text (change, "path", row->path ? row->path : "?");
  add_text (change, "what", row->what);
  add_int (change, "bytes", (int64_t) row->bytes);
  add_int (change, "since", row->since);
  add_int (change, "next_try", row->next_try);
  add_int (change, "attempts", row->attempts);
  add_text (change, "error", row->error);
  add_text (change, "view", row->view);
  add_bool (change, "held", row->held);
  json_object_array_add (changes->list, change);
  return 0;
}

static int
add_changes (struct db *db, struct json_object *reply)
{
  struct changes changes = { .list = json_object_new_array () };
  struct journal_totals totals;

  json_object_object_add (reply, "changes", changes.list);
  if (journal_totals (db, &totals) == -1)
    return -1;
  status_add_waiting (reply, &totals);
  return journal_each (db, add_change, &changes) == -1 && !changes.enough ? -1 : 0;
}

/* ---- disks ---- */

/* One statement may not be run within itself: names first, then what belongs to each. */
static int
add_disk_name (void *opaque, const char *name)
{
  struct json_object *disk = json_object_new_object ();

  add_text (disk, "name", name);
  json_object_array_add (opaque, disk);
  return 0;
}

static int
add_view (void *opaque, const struct view_row *row)
{
  struct json_object *view = json_object_new_object ();

  add_text (view, "name", row->name);
  add_int (view, "generation", row->generation);
  add_text (view, "detached", row->detached);
  json_object_array_add (opaque, view);
  return 0;
}

/* What takes a statement of its own. */
static int
add_view_sums (struct db *db, int64_t disk, struct json_object *view)
{
  const int64_t generation = json_object_get_int64 (json_object_object_get (view, "generation"));
  uint64_t waiting, behind;

  if (journal_waiting (db, json_object_get_string (json_object_object_get (view, "name")), &waiting) == -1 ||
      extents_changed_since (db, disk, generation, &behind) == -1)
    return -1;
  add_int (view, "waiting", (int64_t) waiting);
  add_int (view, "behind", (int64_t) behind);
  return 0;
}

static int
add_disk (struct db *db, struct json_object *disk)
{
  const char *name = json_object_get_string (json_object_object_get (disk, "name"));
  struct json_object *views = json_object_new_array ();
  struct disk_row row;
  int64_t left_out;

  json_object_object_add (disk, "views", views);
  if (disk_row_load (db, name, &row) != 1 || left_out_count (db, row.id, &left_out) == -1
      || view_rows_each (db, row.id, add_view, views) == -1)
    return -1;
  add_text (disk, "format", row.geometry.format->name);
  add_int (disk, "bytes", (int64_t) row.geometry.disk_bytes);
  add_int (disk, "generation", row.generation);
  add_int (disk, "left_out", left_out);
  for (size_t i = 0; i < json_object_array_length (views); ++i)
    if (add_view_sums (db, row.id, json_object_array_get_idx (views, i)) == -1)
      return -1;
  return 0;
}

static int
add_disks (struct db *db, struct json_object *reply)
{
  struct json_object *disks = json_object_new_array ();

  json_object_object_add (reply, "disks", disks);
  if (disk_names_each (db, add_disk_name, disks) == -1)
    return -1;
  for (size_t i = 0; i < json_object_array_length (disks); ++i)
    if (add_disk (db, json_object_array_get_idx (disks, i)) == -1)
      return -1;
  return 0;
}

static int
add_totals (struct db *db, struct json_object *reply)
{
  uint64_t bytes, files, folders, largest, cached;
  CLEANUP_FREE char *remote = NULL;
  bool error;

  remote = db_get_text (db, "remote", &error);
  if (error || catalog_totals (db, &bytes, &files, &folders, &largest) == -1
      || cache_recorded_bytes (db, &cached) == -1)
    return -1;
  add_text (reply, "version", PACKAGE_VERSION);
  add_text (reply, "remote", remote);
  add_int (reply, "files", (int64_t) files);
  add_int (reply, "folders", (int64_t) folders);
  add_int (reply, "bytes", (int64_t) bytes);
  add_int (reply, "cached", (int64_t) cached);
  return 0;
}

int
status_add (struct db *db, struct json_object *reply)
{
  int r;

  db_read_begin (db);
  r = add_totals (db, reply) == -1 || add_changes (db, reply) == -1 || add_disks (db, reply) == -1 ? -1 : 0;
  db_read_end (db);
  return r;
}

struct json_object *
status_find_disk (struct json_object *reply, const char *name)
{
  struct json_object *disks = json_object_object_get (reply, "disks");

  for (size_t i = 0; i < json_object_array_length (disks); ++i) {
    struct json_object *disk = json_object_array_get_idx (disks, i);
    const char *text = json_object_get_string (json_object_object_get (disk, "name"));

    if (text != NULL && strcmp (text, name) == 0)
      return disk;
  }
  return NULL;
}

struct json_object *
status_find_view (struct json_object *reply, const char *name)
{
  struct json_object *disks = json_object_object_get (reply, "disks");

  for (size_t i = 0; i < json_object_array_length (disks); ++i) {
    struct json_object *views = json_object_object_get (json_object_array_get_idx (disks, i), "views");

    for (size_t j = 0; j < json_object_array_length (views); ++j) {
      struct json_object *view = json_object_array_get_idx (views, j);
      const char *text = json_object_get_string (json_object_object_get (view, "name"));

      if (text != NULL && strcmp (text, name) == 0)
        return view;
    }
  }
  return NULL;
}
