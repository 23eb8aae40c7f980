/* SPDX-License-Identifier: BSD-3-Clause */
/* cloudsharectl: tells what a cache folder holds, and what its disks do not show.
 *
 * It only reads the database, so it can be used beside a running server, or without one. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "db.h"
#include "extents.h"
#include "format.h"
#include "msg.h"

static const char usage[] =
  "Usage: cloudsharectl status CACHE-DIR      the remote, what is copied here, disks, views\n"
  "       cloudsharectl left-out CACHE-DIR    items that the disks do not show, and why\n"
  "       cloudsharectl --help | --version\n";

static void
say (enum msg_level level, const char *text)
{
  if (level != MSG_DEBUG)
    fprintf (stderr, "cloudsharectl: %s\n", text);
}

/* Names come from a server: a terminal must not be made to act on them. */
static void
print_name (const char *name)
{
  for (const unsigned char *p = (const unsigned char *) name; *p; ++p)
    if (*p < 0x20 || *p == 0x7f)
      printf ("\\x%02x", *p);
    else
      putchar (*p);
}

static void
print_bytes (uint64_t bytes)
{
  static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB" };
  double value = bytes;
  size_t unit = 0;

  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit++;
  }
  printf (unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static int
print_view (void *opaque, const char *name, int64_t generation)
{
  printf ("    view ");
  print_name (name);
  printf (": holds generation %" PRId64 "\n", generation);
  return 0;
}

/* Names first: one statement may not be run within itself. */
struct names {
  char **list;
  size_t n;
};

static int
add_name (void *opaque, const char *name)
{
  struct names *names = opaque;
  char **list = realloc (names->list, (names->n + 1) * sizeof *list);

  if (list == NULL)
    return -1;
  names->list = list;
  list[names->n] = strdup (name);
  return list[names->n++] ? 0 : -1;
}

static int
print_disk (struct db *db, const char *name)
{
  struct disk_row row;
  int64_t left_out;

  if (disk_row_load (db, name, &row) != 1 || left_out_count (db, row.id, &left_out) == -1)
    return -1;
  printf ("disk %s: %s, ", name, row.geometry.format->name);
  print_bytes (row.geometry.disk_bytes);
  printf (", generation %" PRId64 ", %" PRId64 " items left out\n", row.generation, left_out);
  return view_rows_each (db, row.id, print_view, NULL);
}

static int
print_left_out (void *opaque, int64_t item, const char *reason)
{
  struct db *db = opaque;
  CLEANUP_FREE char *path = catalog_path (db, item);

  /* Gone meanwhile: then it is left out no more. */
  if (path) {
    print_name (path);
    printf (": %s\n", reason);
  }
  return 0;
}

static int
print_left_out_of (struct db *db, const char *name)
{
  struct disk_row row;

  if (disk_row_load (db, name, &row) != 1)
    return -1;
  return left_out_each (db, row.id, print_left_out, db);
}

static int
print_status (struct db *db)
{
  uint64_t bytes, files, folders, largest, cached;
  CLEANUP_FREE char *remote = NULL;
  bool error;

  remote = db_get_text (db, "remote", &error);
  if (error || catalog_totals (db, &bytes, &files, &folders, &largest) == -1 || cache_recorded_bytes (db, &cached) == -1)
    return -1;
  printf ("remote %s: %" PRIu64 " files in %" PRIu64 " folders, ", remote ? remote : "(none yet)", files, folders);
  print_bytes (bytes);
  printf ("\ncopied here: ");
  print_bytes (cached);
  printf ("\n");
  return 0;
}

static int
run (struct db *db, const char *verb)
{
  const bool status = strcmp (verb, "status") == 0;
  struct names names = { 0 };
  int r = 0;

  db_read_begin (db);
  if (status)
    r = print_status (db);
  if (r == 0)
    r = disk_names_each (db, add_name, &names);
  for (size_t i = 0; i < names.n; ++i) {
    if (r == 0)
      r = status ? print_disk (db, names.list[i]) : print_left_out_of (db, names.list[i]);
    free (names.list[i]);
  }
  free (names.list);
  db_read_end (db);
  return r;
}

int
main (int argc, char *argv[])
{
  CLEANUP_FREE char *path = NULL;
  struct db *db;
  int r;

  msg_set_sink (say);
  if (argc == 2 && strcmp (argv[1], "--help") == 0) {
    fputs (usage, stdout);
    return EXIT_SUCCESS;
  }
  if (argc == 2 && strcmp (argv[1], "--version") == 0) {
    puts ("cloudsharectl " PACKAGE_VERSION);
    return EXIT_SUCCESS;
  }
  if (argc != 3 || (strcmp (argv[1], "status") != 0 && strcmp (argv[1], "left-out") != 0)) {
    fputs (usage, stderr);
    return 2;
  }
  if (asprintf (&path, "%s/cloudshare.db", argv[2]) == -1)
    return EXIT_FAILURE;
  if (access (path, R_OK) == -1) {
    msg_error ("%s is not a cache folder that can be read: %s: %s", argv[2], path, strerror (errno));
    return EXIT_FAILURE;
  }
  db = db_open_reader (path);
  if (db == NULL)
    return EXIT_FAILURE;
  r = run (db, argv[1]);
  db_close (db);
  return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
