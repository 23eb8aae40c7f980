/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the write path stand on. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "db.h"
#include "health.h"
#include "pushcore.h"

#define DRAIN_MS 20000

/* ---- opening and closing ---- */

static void
start (struct pushcore *p)
{
  const struct push_config config = { .parallel = p->parallel };

  p->push = push_start (p->core.db, p->core.blobs, p->core.cache, (struct cloud *) p->core.fake, p->core.health,
                        &config);
  ck_assert_ptr_nonnull (p->push);
  pull_set_push (p->pull, p->push);
  p->paused = false;
}

static void
load (struct pushcore *p)
{
  p->pull = pull_new (p->core.db, p->core.blobs, (struct cloud *) p->core.fake, p->core.health, 4);
  ck_assert_ptr_nonnull (p->pull);
  pull_set_cache (p->pull, p->core.cache);
  start (p);
}

void
pushcore_open (struct pushcore *p, unsigned parallel)
{
  memset (p, 0, sizeof *p);
  p->parallel = parallel;
  p->view = "vm1/disk";
  p->tick = 1750000000;
  core_open (&p->core, 0);
  load (p);
  pushcore_pull (p);
}

/* As the engine does: requests in flight end first. */
static void
unload (struct pushcore *p)
{
  cloud_stop ((struct cloud *) p->core.fake);
  if (!p->paused)
    push_stop (p->push);
  p->push = NULL;
  pull_free (p->pull);
  p->pull = NULL;
}

void
pushcore_close (struct pushcore *p)
{
  unload (p);
  core_close (&p->core);
}

void
pushcore_restart (struct pushcore *p)
{
  unload (p);
  core_reopen (&p->core, 0);
  load (p);
}

void
pushcore_pause (struct pushcore *p)
{
  if (p->paused)
    return;
  cloud_stop ((struct cloud *) p->core.fake);
  push_stop (p->push);
  p->push = NULL;
  pull_set_push (p->pull, NULL);
  ck_assert_int_eq (cloud_start ((struct cloud *) p->core.fake), 0);
  p->paused = true;
}

static void
retry (struct pushcore *p)
{
  ck_assert_int_eq (db_begin (p->core.db), 0);
  ck_assert_int_eq (db_end (p->core.db, journal_retry (p->core.db)), 0);
  if (!p->paused)
    push_ring (p->push);
}

void
pushcore_go_on (struct pushcore *p)
{
  if (!p->paused)
    return;
  retry (p);
  start (p);
}

/* ---- what a view does ---- */

void
pushcore_begin (struct pushcore *p, struct pushcore_change *of)
{
  memset (of, 0, sizeof *of);
  ck_assert_int_eq (db_begin (p->core.db), 0);
  of->journal = (struct journal) {
    .db = p->core.db, .blobs = p->core.blobs, .view = p->view, .now = time (NULL), .held = p->held,
  };
  ck_assert_int_eq (catalog_revision (p->core.db, &of->journal.revision), 0);
  of->journal.revision++;
}

void
pushcore_end (struct pushcore *p, struct pushcore_change *of)
{
  int r = journal_finish (&of->journal, 0);

  if (r == 0 && of->journal.changed)
    r = catalog_commit_revision (p->core.db, of->journal.revision);
  ck_assert_int_eq (db_end (p->core.db, r), 0);
  if (of->staged)
    ck_assert_int_eq (cache_adopted (p->core.cache, of->staged, of->size, of->position, of->bits), 0);
  if (!p->paused)
    push_ring (p->push);
}

static void
hex_of (const EVP_MD *md, const void *bytes, size_t n, char *hex)
{
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;

  EVP_Digest (bytes, n, digest, &length, md, NULL);
  for (unsigned i = 0; i < length; ++i)
    sprintf (hex + 2 * i, "%02x", digest[i]);
}

void
pushcore_stage (struct pushcore *p, struct pushcore_change *of, const char *content)
{
  const size_t n = strlen (content);
  char sha1[2 * EVP_MAX_MD_SIZE + 1], sha256[2 * EVP_MAX_MD_SIZE + 1];

  of->size = n;
  of->position = blobs_alloc (p->core.blobs, n);
  ck_assert (of->position != UINT64_MAX);
  ck_assert_int_eq (blobs_write (p->core.blobs, content, n, of->position), 0);
  ck_assert_int_eq (blobs_sync (p->core.blobs), 0);
  hex_of (EVP_sha1 (), content, n, sha1);
  hex_of (EVP_sha256 (), content, n, sha256);
  of->staged = journal_stage (&of->journal, n, of->position, sha1, sha256);
  ck_assert_int_gt (of->staged, 0);
}

static struct timespec
next_mtime (struct pushcore *p)
{
  return (struct timespec) { .tv_sec = p->tick += 2 };
}

int64_t
pushcore_create (struct pushcore *p, const char *folder, const char *name, const char *content)
{
  const int64_t parent = core_item (&p->core, folder);
  const struct timespec mtime = next_mtime (p);
  struct pushcore_change of;
  int64_t id;

  pushcore_begin (p, &of);
  if (content)
    pushcore_stage (p, &of, content);
  id = journal_create (&of.journal, parent, name, content == NULL, of.staged, &mtime);
  ck_assert_int_gt (id, 0);
  pushcore_end (p, &of);
  return id;
}

int64_t
pushcore_edit_known (struct pushcore *p, int64_t item, int64_t was, const char *content)
{
  const struct timespec mtime = next_mtime (p);
  struct pushcore_change of;
  int64_t id;

  pushcore_begin (p, &of);
  pushcore_stage (p, &of, content);
  id = journal_edit (&of.journal, item, was, of.staged, &mtime);
  ck_assert_int_gt (id, 0);
  pushcore_end (p, &of);
  return id;
}

int64_t
pushcore_edit (struct pushcore *p, const char *path, const char *content)
{
  return pushcore_edit_known (p, core_item (&p->core, path), core_version (&p->core, path), content);
}

static int64_t
folder_above (struct pushcore *p, const char *path)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *above = slash ? strndup (path, slash - path) : strdup ("");

  return core_item (&p->core, above);
}

static const char *
own_name (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

void
pushcore_move (struct pushcore *p, const char *path, const char *folder, const char *name)
{
  const int64_t item = core_item (&p->core, path), to = core_item (&p->core, folder), from = folder_above (p, path);
  struct pushcore_change of;

  pushcore_begin (p, &of);
  ck_assert_int_eq (journal_move (&of.journal, item, from, own_name (path), to, name), 0);
  pushcore_end (p, &of);
}

void
pushcore_swap (struct pushcore *p, const char *a, const char *b)
{
  const int64_t item_a = core_item (&p->core, a), item_b = core_item (&p->core, b);
  const int64_t above_a = folder_above (p, a), above_b = folder_above (p, b);
  struct pushcore_change of;

  pushcore_begin (p, &of);
  ck_assert_int_eq (journal_move (&of.journal, item_a, above_a, own_name (a), above_b, own_name (b)), 0);
  ck_assert_int_eq (journal_move (&of.journal, item_b, above_b, own_name (b), above_a, own_name (a)), 0);
  pushcore_end (p, &of);
}

void
pushcore_remove_known (struct pushcore *p, int64_t item, int64_t was)
{
  struct pushcore_change of;

  pushcore_begin (p, &of);
  ck_assert_int_eq (journal_remove (&of.journal, item, was), 0);
  pushcore_end (p, &of);
}

void
pushcore_remove (struct pushcore *p, const char *path)
{
  pushcore_remove_known (p, core_item (&p->core, path), core_version (&p->core, path));
}

void
pushcore_touch (struct pushcore *p, const char *path, int64_t seconds)
{
  const int64_t item = core_item (&p->core, path);
  const struct timespec mtime = { .tv_sec = seconds };
  struct pushcore_change of;

  pushcore_begin (p, &of);
  ck_assert_int_eq (journal_touch (&of.journal, item, &mtime), 0);
  pushcore_end (p, &of);
}

/* ---- the other side ---- */

void
pushcore_pull (struct pushcore *p)
{
  bool changed = false;
  unsigned looks = 0;

  do {
    pull_run (p->pull, PULL_ALL, &p->result);
    changed |= p->result.changed;
    if (p->result.unsettled)
      sleep_ms (5);
  } while (p->result.unsettled && ++looks < 20);
  p->result.changed = changed;
}

unsigned
pushcore_left (struct pushcore *p)
{
  struct journal_totals totals;

  db_read_begin (p->core.db);
  ck_assert_int_eq (journal_totals (p->core.db, &totals), 0);
  db_read_end (p->core.db);
  return totals.files - totals.held;
}

static int
show_row (void *opaque, const struct journal_row *row)
{
  fprintf (stderr, "left: %s (%s) of %s: %u attempts, %s\n", row->path, row->what, row->view ? row->view : "nobody",
           row->attempts, row->error ? row->error : "no error");
  return 0;
}

void
pushcore_drain (struct pushcore *p)
{
  const uint64_t until = now_ms () + DRAIN_MS;
  unsigned looks = 0;

  pushcore_go_on (p);
  while (pushcore_left (p) > 0) {
    if (now_ms () > until) {
      CLEANUP_FREE char *remote = pushcore_remote (p), *local = pushcore_local (p);

      db_read_begin (p->core.db);
      journal_each (p->core.db, show_row, NULL);
      db_read_end (p->core.db);
      ck_abort_msg ("push does not end: remote %s, local %s", remote, local);
    }
    sleep_ms (2);
    if (++looks % 10 == 0) {
      if (health_is_away (p->core.health))
        health_report (p->core.health, CLOUD_OK, NULL);
      retry (p);
    }
    if (looks % 20 == 0)
      pushcore_pull (p);
  }
}

/* ---- trees ---- */

struct text {
  char *text;
  size_t n;
  FILE *file;
  struct pushcore *p;
};

static void
tell_remote (void *opaque, const char *path, bool is_folder)
{
  struct text *text = opaque;

  fprintf (text->file, "%s%s\n", path, is_folder ? "/" : "");
}

static int
compare_lines (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* Sorts the entries and joins them by spaces. */
static char *
in_order (char **lines, size_t n)
{
  char *text = NULL;
  size_t length;
  FILE *file = open_memstream (&text, &length);

  qsort (lines, n, sizeof *lines, compare_lines);
  for (size_t i = 0; i < n; ++i) {
    fprintf (file, "%s%s", i ? " " : "", lines[i]);
    free (lines[i]);
  }
  fclose (file);
  return text;
}

char *
pushcore_remote (struct pushcore *p)
{
  struct text text = { .p = p };
  char *lines[4096], *save, *result;
  size_t n = 0;

  text.file = open_memstream (&text.text, &text.n);
  fakecloud_each (p->core.fake, tell_remote, &text);
  fclose (text.file);
  for (char *line = strtok_r (text.text, "\n", &save); line; line = strtok_r (NULL, "\n", &save)) {
    const size_t length = strlen (line);
    size_t size;

    if (line[length - 1] == '/')
      lines[n++] = strdup (line);
    else {
      CLEANUP_FREE char *bytes = fakecloud_read (p->core.fake, line, &size);

      ck_assert_int_ge (asprintf (&lines[n++], "%s=%s", line, bytes), 0);
    }
  }
  result = in_order (lines, n);
  free (text.text);
  return result;
}

/* Lock held. */
static void
tell_local (struct pushcore *p, int64_t folder, const char *path, char **lines, size_t *n)
{
  struct catalog_list list;

  ck_assert_int_eq (catalog_children (p->core.db, folder, &list), 0);
  for (size_t i = 0; i < list.n; ++i) {
    const struct catalog_item *item = &list.items[i];
    CLEANUP_FREE char *own = NULL;

    ck_assert_int_ge (asprintf (&own, "%s%s%s", path, path[0] ? "/" : "", item->name), 0);
    if (item->is_folder) {
      ck_assert_int_ge (asprintf (&lines[(*n)++], "%s/", own), 0);
      tell_local (p, item->id, own, lines, n);
    }
    else {
      CLEANUP_FREE char *bytes = calloc (1, item->size + 1);

      if (item->size > 0) {
        struct cache_file *file = cache_file (p->core.cache, item->version, item->size, item->position);

        db_read_end (p->core.db);
        if (cache_read (p->core.cache, file, bytes, item->size, 0) == -1) {
          CLEANUP_FREE char *remote = pushcore_remote (p);

          ck_abort_msg ("%s (item %lld, version %lld, token %s, position %llu, changed %d) cannot be read; health %d;"
                        " remote %s",
                        own, (long long) item->id, (long long) item->version, item->token,
                        (unsigned long long) item->position,
                        item->changed, health_state (p->core.health), remote);
        }
        db_read_begin (p->core.db);
      }
      ck_assert_int_ge (asprintf (&lines[(*n)++], "%s=%s", own, bytes), 0);
    }
  }
  catalog_list_free (&list);
}

char *
pushcore_local (struct pushcore *p)
{
  char *lines[4096];
  size_t n = 0;

  db_read_begin (p->core.db);
  tell_local (p, CATALOG_ROOT, "", lines, &n);
  db_read_end (p->core.db);
  return in_order (lines, n);
}

void
pushcore_must_have (struct pushcore *p, const char *tree)
{
  CLEANUP_FREE char *remote = pushcore_remote (p), *local = pushcore_local (p);

  ck_assert_str_eq (remote, tree);
  ck_assert_str_eq (local, tree);
}
