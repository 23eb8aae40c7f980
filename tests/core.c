/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the core stand on. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "core.h"
#include "db.h"
#include "fakecloud.h"
#include "fsutil.h"
#include "health.h"

#define MAX_SAID 1024
#define ROOM_WANTED (1 << 30)

static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  enum msg_level level;
  char text[2048];
} said_texts[MAX_SAID];
static unsigned n_said;

static void
keep_message (enum msg_level level, const char *text)
{
  LOCK_FOR_SCOPE (&said_lock);

  if (n_said < MAX_SAID) {
    said_texts[n_said].level = level;
    snprintf (said_texts[n_said++].text, sizeof said_texts[0].text, "%s", text);
  }
  if (getenv ("CHECK_SHOWS_MESSAGES"))
    fprintf (stderr, "%s\n", text);
}

unsigned
said (enum msg_level level, const char *part)
{
  LOCK_FOR_SCOPE (&said_lock);
  unsigned n = 0;

  for (unsigned i = 0; i < n_said; ++i)
    n += said_texts[i].level == level && strstr (said_texts[i].text, part) != NULL;
  return n;
}

uint64_t
now_ms (void)
{
  return monotonic_ms ();
}

void
sleep_ms (unsigned ms)
{
  const struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

  nanosleep (&ts, NULL);
}

/* splitmix64 */
uint64_t
random_below (uint64_t *seed, uint64_t n)
{
  uint64_t x = *seed += UINT64_C (0x9e3779b97f4a7c15);

  x = (x ^ x >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C (0x94d049bb133111eb);
  return (x ^ x >> 31) % n;
}

/* ---- opening and closing ---- */

void
core_load (struct core *core, uint64_t cache_size)
{
  const struct cache_config config = { .max_bytes = cache_size };
  struct cloud *cloud = (struct cloud *) core->fake;
  uint64_t end;

  core->db = db_open (core->db_path);
  ck_assert_ptr_nonnull (core->db);
  ck_assert_int_eq (catalog_init (core->db), 0);
  db_read_begin (core->db);
  ck_assert_int_eq (catalog_blobs_end (core->db, &end), 0);
  db_read_end (core->db);
  core->blobs = blobs_open (core->blobs_fd, core->dir);
  ck_assert_ptr_nonnull (core->blobs);
  ck_assert_int_eq (blobs_trim (core->blobs, end), 0);
  core->cache = cache_open (core->db, core->blobs, &config);
  ck_assert_ptr_nonnull (core->cache);
  core->health = health_new (cloud);
  ck_assert_ptr_nonnull (core->health);
  if (core->starts_away)
    health_report (core->health, CLOUD_OFFLINE, "away");
  ck_assert_int_eq (cloud_start (cloud), 0);
  ck_assert_int_eq (cache_start (core->cache, core->db_path, cloud, core->health), 0);
}

void
core_shut (struct core *core)
{
  cloud_stop ((struct cloud *) core->fake);
  cache_stop (core->cache);
  cache_close (core->cache);
  blobs_close (core->blobs);
  db_close (core->db);
  health_free (core->health);
}

/* Where a commit costs nothing, if there is room: no test here takes the host's power away. */
static const char *
base_dir (void)
{
  const char *base = getenv ("TMPDIR");
  struct statvfs st;

  if (base && strlen (base) < 40)
    return base;
  if (access ("/dev/shm", W_OK) == 0 && statvfs ("/dev/shm", &st) == 0 && st.f_bavail * st.f_frsize >= ROOM_WANTED)
    return "/dev/shm";
  return "/tmp";
}

void
core_make (struct core *core, int blobs_fd)
{
  memset (core, 0, sizeof *core);
  n_said = 0;
  msg_set_sink (keep_message);
  snprintf (core->dir, sizeof core->dir, "%s/check-core.XXXXXX", base_dir ());
  ck_assert_ptr_nonnull (mkdtemp (core->dir));
  snprintf (core->db_path, sizeof core->db_path, "%s/cloudshare.db", core->dir);
  core->dir_fd = open (core->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ck_assert_int_ge (core->dir_fd, 0);
  core->blobs_fd = blobs_fd >= 0 ? blobs_fd : core->dir_fd;
  core->fake = fakecloud_new ();
}

void
core_open (struct core *core, uint64_t cache_size)
{
  core_make (core, -1);
  core_load (core, cache_size);
}

void
core_reopen (struct core *core, uint64_t cache_size)
{
  core_shut (core);
  core_load (core, cache_size);
}

void
core_remove (struct core *core)
{
  char command[128];

  snprintf (command, sizeof command, "rm -rf %s", core->dir);
  ck_assert_int_eq (system (command), 0);
  close (core->dir_fd);
  ck_assert_msg (fakecloud_broken (core->fake) == NULL, "%s", fakecloud_broken (core->fake));
  fakecloud_free (core->fake);
}

void
core_close (struct core *core)
{
  core_shut (core);
  core_remove (core);
}

/* ---- the catalog ---- */

/* The item below a folder with that name, and what is known of it; list is to be freed.  Lock held. */
static const struct catalog_item *
find_child (struct db *db, int64_t folder, const char *name, size_t n, struct catalog_list *list)
{
  ck_assert_int_eq (catalog_children (db, folder, list), 0);
  for (size_t i = 0; i < list->n; ++i)
    if (strlen (list->items[i].name) == n && memcmp (list->items[i].name, name, n) == 0)
      return &list->items[i];
  return NULL;
}

/* Lock held. */
static int64_t
find_item (struct db *db, const char *path)
{
  int64_t id = CATALOG_ROOT;

  while (*path && id) {
    const size_t n = strcspn (path, "/");
    struct catalog_list list;
    const struct catalog_item *item = find_child (db, id, path, n, &list);

    id = item ? item->id : 0;
    catalog_list_free (&list);
    path += n + (path[n] == '/');
  }
  return id;
}

int64_t
core_item (struct core *core, const char *path)
{
  int64_t id;

  db_read_begin (core->db);
  id = find_item (core->db, path);
  db_read_end (core->db);
  return id;
}

int64_t
core_version (struct core *core, const char *path)
{
  struct catalog_list list = { 0 };
  int64_t version;

  db_read_begin (core->db);
  ck_assert_int_eq (catalog_item (core->db, find_item (core->db, path), &list), 1);
  version = list.items[0].version;
  catalog_list_free (&list);
  db_read_end (core->db);
  return version;
}

struct learning {
  struct core *core;
  const char *path;
};

static void
learn (void *opaque, const struct cloud_item *seen)
{
  const struct learning *learning = opaque;
  struct db *db = learning->core->db;
  const char *slash = strrchr (learning->path, '/');
  CLEANUP_FREE char *above = slash ? strndup (learning->path, slash - learning->path) : strdup ("");
  const struct catalog_item *known;
  struct catalog_list list;
  int64_t folder, revision;

  ck_assert_int_eq (db_begin (db), 0);
  ck_assert_int_eq (catalog_revision (db, &revision), 0);
  folder = find_item (db, above);
  ck_assert_int_gt (folder, 0);
  known = find_child (db, folder, seen->name, strlen (seen->name), &list);
  if (known)
    ck_assert_int_eq (catalog_update (db, learning->core->blobs, revision + 1, known, seen), 0);
  else
    ck_assert_int_gt (catalog_add (db, learning->core->blobs, revision + 1, folder, seen), 0);
  catalog_list_free (&list);
  ck_assert_int_eq (catalog_commit_revision (db, revision + 1), 0);
  ck_assert_int_eq (db_end (db, 0), 0);
}

void
core_learn (struct core *core, const char *path)
{
  struct learning learning = { core, path };

  fakecloud_look (core->fake, path, learn, &learning);
}

void
core_add (struct core *core, const char *path, uint64_t size)
{
  static unsigned n;
  char token[16];

  snprintf (token, sizeof token, "t%u", ++n);
  fakecloud_put (core->fake, path, size, token, NULL);
  core_learn (core, path);
}

int64_t
core_query (struct core *core, const char *sql)
{
  sqlite3_stmt *stmt;
  int64_t value = -1;

  db_read_begin (core->db);
  stmt = db_stmt (core->db, sql);
  ck_assert_ptr_nonnull (stmt);
  ck_assert_int_eq (db_row (stmt), 1);
  value = sqlite3_column_int64 (stmt, 0);
  sqlite3_reset (stmt);
  db_read_end (core->db);
  return value;
}

/* ---- the cache ---- */

struct cache_file *
core_file (struct core *core, const char *path)
{
  struct catalog_list list = { 0 };
  struct cache_file *file;

  db_read_begin (core->db);
  ck_assert_int_eq (catalog_item (core->db, find_item (core->db, path), &list), 1);
  db_read_end (core->db);
  file = cache_file (core->cache, list.items[0].version, list.items[0].size, list.items[0].position);
  catalog_list_free (&list);
  ck_assert_ptr_nonnull (file);
  return file;
}

int
core_read (struct core *core, struct cache_file *file, uint64_t content, size_t n, uint64_t offset)
{
  CLEANUP_FREE unsigned char *buf = malloc (2 * n);
  size_t i = 0;

  ck_assert_ptr_nonnull (buf);
  memset (buf, 0x5a, n);
  errno = 0;
  if (cache_read (core->cache, file, buf, n, offset) == -1) {
    ck_assert_int_ne (errno, 0);
    return errno;
  }
  fakecloud_fill (content, buf + n, n, offset);
  while (i < n && buf[i] == buf[n + i])
    i++;
  if (i < n)
    ck_abort_msg ("byte %zu of %zu at %llu is %02x, not %02x", i, n, (unsigned long long) offset, buf[i], buf[n + i]);
  return 0;
}
