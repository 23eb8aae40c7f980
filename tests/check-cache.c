/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the cache: what it asks a remote for, what it does when that goes wrong, and that no reader ever gets a wrong
 * byte. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blobs.h"
#include "cache.h"
#include "catalog.h"
#include "cleanup.h"
#include "cloud.h"
#include "core.h"
#include "db.h"
#include "fakecloud.h"
#include "health.h"

#define KIB UINT64_C (1024)
#define MIB (1024 * KIB)

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

static struct core core;

static void
setup (void)
{
  core_open (&core, 0);
}

static void
teardown (void)
{
  core_close (&core);
}

/* ---- reading ---- */

static int
read_at (const char *path, size_t n, uint64_t offset)
{
  return core_read (&core, core_file (&core, path), fakecloud_content (core.fake, path), n, offset);
}

/* The whole file, in steps. */
static int
read_all (const char *path, uint64_t size, size_t step)
{
  int r = 0;

  for (uint64_t at = 0; at < size && r == 0; at += step)
    r = read_at (path, size - at < step ? size - at : step, at);
  return r;
}

struct reader {
  const char *path;
  size_t n;
  uint64_t offset;
  int result;
  uint64_t took_ms;
  pthread_t thread;
};

static void *
reader_thread (void *opaque)
{
  struct reader *reader = opaque;
  const uint64_t begin = now_ms ();

  reader->result = read_at (reader->path, reader->n, reader->offset);
  reader->took_ms = now_ms () - begin;
  return NULL;
}

static void
start_reader (struct reader *reader)
{
  ck_assert_int_eq (pthread_create (&reader->thread, NULL, reader_thread, reader), 0);
}

/* ---- what was asked for ---- */

#define MAX_REQUESTS 4096

static struct fake_request requests[MAX_REQUESTS];

static size_t
requests_for (const char *path)
{
  const size_t n = fakecloud_log (core.fake, FAKE_GET, path, requests, MAX_REQUESTS);

  ck_assert_uint_le (n, MAX_REQUESTS);
  return n;
}

static uint64_t
bytes_asked (const char *path)
{
  uint64_t bytes = 0;

  for (size_t n = requests_for (path); n-- > 0;)
    bytes += requests[n].length;
  return bytes;
}

static int
compare_requests (const void *ap, const void *bp)
{
  const struct fake_request *a = ap, *b = bp;

  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* No byte was asked for twice. */
static void
check_disjoint (const char *path)
{
  const size_t n = requests_for (path);

  qsort (requests, n, sizeof *requests, compare_requests);
  for (size_t i = 1; i < n; ++i)
    ck_assert_uint_ge (requests[i].offset, requests[i - 1].offset + requests[i - 1].length);
}

/* One urgent request, for that range; all others are for what follows. */
static void
check_asked_once (const char *path, uint64_t offset, uint64_t length)
{
  size_t urgent = 0;

  for (size_t n = requests_for (path); n-- > 0;) {
    if (!requests[n].urgent)
      continue;
    ck_assert_uint_eq (requests[n].offset, offset);
    ck_assert_uint_eq (requests[n].length, length);
    urgent++;
  }
  ck_assert_uint_eq (urgent, 1);
  check_disjoint (path);
}

static void
fail_gets (const char *path, enum cloud_result result, unsigned times)
{
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .path = path, .result = result, .times = times });
}

static uint64_t
cached_bytes (void)
{
  struct cache_stats stats;

  cache_get_stats (core.cache, &stats);
  return stats.cached_bytes;
}

static uint64_t
fetched_bytes (void)
{
  struct cache_stats stats;

  cache_get_stats (core.cache, &stats);
  return stats.fetched_bytes;
}

/* What comes soon, but on a slow and busy machine not at once: a bound for what never comes. */
#define SOON_MS 60000

/* Until the condition holds, at most a while; evaluates to whether it does. */
#define WITHIN_MS(ms, condition)                                   \
  ({                                                               \
    const uint64_t until_ = now_ms () + (ms);                      \
    bool holds_;                                                   \
    while (!(holds_ = (condition)) && now_ms () < until_)          \
      sleep_ms (5);                                                \
    holds_;                                                        \
  })

/* ---- what is asked for ---- */

static const uint64_t small_sizes[] = { 1, 10, 65535, 65536, 65537, 300000, 1048576 };

START_TEST (small_files_are_fetched_whole)
{
  const uint64_t size = small_sizes[_i];

  fakecloud_set_inline (core.fake, _i % 2);
  core_add (&core, "small", size);
  ck_assert_int_eq (read_at ("small", 1, size - 1), 0);
  ck_assert_uint_eq (requests_for ("small"), 1);
  ck_assert_uint_eq (requests[0].offset, 0);
  ck_assert_uint_eq (requests[0].length, size);
  ck_assert (requests[0].urgent);
  ck_assert (cache_is_complete (core_file (&core, "small")));
  ck_assert_int_eq (read_all ("small", size, 7777), 0);
  ck_assert_uint_eq (requests_for ("small"), 1);
  ck_assert_uint_eq (cached_bytes (), size);
}
END_TEST

START_TEST (one_request_for_many_readers)
{
  struct reader readers[8];

  core_add (&core, "big", 64 * MIB);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .hold = true });
  for (int i = 0; i < N (readers); ++i) {
    readers[i] = (struct reader) { .path = "big", .n = 100000, .offset = 8 * MIB + 5 };
    start_reader (&readers[i]);
  }
  ck_assert (WITHIN_MS (SOON_MS, requests_for ("big") > 0));
  sleep_ms (100);
  check_asked_once ("big", 8 * MIB, 2 * CACHE_BLOCK);
  fakecloud_no_rules (core.fake);
  fakecloud_release (core.fake);
  for (int i = 0; i < N (readers); ++i) {
    pthread_join (readers[i].thread, NULL);
    ck_assert_int_eq (readers[i].result, 0);
  }
  check_asked_once ("big", 8 * MIB, 2 * CACHE_BLOCK);
}
END_TEST

START_TEST (overlapping_readers_share)
{
  struct reader readers[16];
  uint64_t seed = 1;

  core_add (&core, "big", 64 * MIB);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .delay_ms = 2 });
  for (int i = 0; i < N (readers); ++i) {
    readers[i] = (struct reader) { .path = "big", .n = 1 + random_below (&seed, 2 * MIB),
                                   .offset = random_below (&seed, 8 * MIB) };
    start_reader (&readers[i]);
  }
  for (int i = 0; i < N (readers); ++i) {
    pthread_join (readers[i].thread, NULL);
    ck_assert_int_eq (readers[i].result, 0);
  }
  check_disjoint ("big");
}
END_TEST

START_TEST (sequential_reads_are_read_ahead)
{
  const size_t step = 128 * KIB;
  uint64_t at;

  fakecloud_set_inline (core.fake, _i);
  core_add (&core, "big", 96 * MIB);
  ck_assert_int_eq (read_at ("big", step, 0), 0);
  ck_assert_uint_ge (bytes_asked ("big"), step);
  ck_assert_uint_le (bytes_asked ("big"), 3 * MIB);       /* a look at the head does not fetch all of it */
  for (at = step; at < 2 * MIB; at += step)
    ck_assert_int_eq (read_at ("big", step, at), 0);
  ck_assert_uint_le (bytes_asked ("big"), 16 * MIB);
  for (; at < 24 * MIB; at += step)
    ck_assert_int_eq (read_at ("big", step, at), 0);
  ck_assert_uint_ge (bytes_asked ("big"), at + 8 * MIB);
  ck_assert_uint_le (bytes_asked ("big"), at + 64 * MIB);
  ck_assert_uint_le (requests_for ("big"), 60);
  for (; at < 96 * MIB; at += step)
    ck_assert_int_eq (read_at ("big", step, at), 0);
  ck_assert_uint_eq (bytes_asked ("big"), 96 * MIB);
  check_disjoint ("big");
  ck_assert (cache_is_complete (core_file (&core, "big")));
}
END_TEST

START_TEST (random_reads_are_not)
{
  const unsigned n = 50;

  core_add (&core, "big", n * 8 * MIB);
  for (unsigned i = 1; i < n; ++i)
    ck_assert_int_eq (read_at ("big", 4096, i * 37 % n * 8 * MIB + 12345), 0);
  ck_assert_uint_eq (requests_for ("big"), n - 1);
  ck_assert_uint_eq (bytes_asked ("big"), (n - 1) * CACHE_BLOCK);
}
END_TEST

START_TEST (prefetch)
{
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .delay_ms = 20 });
  core_add (&core, "small", 100000);
  core_add (&core, "big", 20 * MIB);
  ck_assert_int_eq (cache_prefetch (core.cache, core_file (&core, "small"), 5, 1), 1);
  ck_assert_int_ge (cache_prefetch (core.cache, core_file (&core, "big"), 10 * MIB, 100 * MIB), 1);
  ck_assert_int_eq (cache_prefetch (core.cache, core_file (&core, "big"), 20 * MIB, 1), 0);
  ck_assert (cache_wait_background (core.cache, 1));
  ck_assert_uint_eq (bytes_asked ("small"), 100000);
  ck_assert_uint_eq (bytes_asked ("big"), 10 * MIB);
  for (size_t n = requests_for (NULL); n-- > 0;)
    ck_assert (!requests[n].urgent);
  fakecloud_forget (core.fake);
  ck_assert_int_eq (read_at ("small", 100000, 0), 0);
  ck_assert_int_eq (read_at ("big", 3 * MIB, 17 * MIB), 0);
  ck_assert_uint_eq (requests_for (NULL), 0);
  ck_assert_int_eq (cache_prefetch (core.cache, core_file (&core, "small"), 0, 100000), 0);

  health_report (core.health, CLOUD_OFFLINE, "away");
  ck_assert_int_eq (cache_prefetch (core.cache, core_file (&core, "big"), 0, MIB), 0);
}
END_TEST

/* ---- checksums ---- */

static const struct {
  const char *kind;
  uint64_t size;
  bool right;
  unsigned flips;              /* so many answers have a wrong byte */
  int result;
  size_t requests;
} small_sums[] = {
  { "SHA1", 100000, true, 0, 0, 1 },
  { "MD5", 3 * MIB, true, 0, 0, 1 },
  { "SHA256", 4 * MIB, true, 0, 0, 1 },
  { "SHA1", 1, false, 0, EIO, 2 },
  { "MD5", 100000, false, 0, EIO, 2 },
  { "SHA256", 4 * MIB, false, 0, EIO, 2 },
  { "SHA1", 100000, true, 1, 0, 2 },
  { "MD5", 3 * MIB, true, 1, 0, 2 },
  { "SHA1", 70000, true, 2, EIO, 2 },
};

START_TEST (small_checksums)
{
  const uint64_t size = small_sums[_i].size;
  struct reader readers[3];

  fakecloud_put (core.fake, "f", size, "1", NULL);
  fakecloud_set_checksum (core.fake, "f", small_sums[_i].kind, small_sums[_i].right);
  core_learn (&core, "f");
  if (small_sums[_i].flips)
    fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .flip = true, .times = small_sums[_i].flips });

  /* Whatever part is read: not a byte before all of it is known to be right. */
  for (int i = 0; i < N (readers); ++i) {
    readers[i] = (struct reader) { .path = "f", .n = 1, .offset = i * (size - 1) / 2 };
    start_reader (&readers[i]);
  }
  for (int i = 0; i < N (readers); ++i) {
    pthread_join (readers[i].thread, NULL);
    if (small_sums[_i].flips == 0)
      ck_assert_int_eq (readers[i].result, small_sums[_i].result);
  }
  if (small_sums[_i].flips == 0 && small_sums[_i].right)
    ck_assert_uint_eq (requests_for ("f"), 1);
  ck_assert_int_eq (health_take_suspicion (core.health), !small_sums[_i].right || small_sums[_i].flips > 0);
  if (!small_sums[_i].right) {
    ck_assert_uint_eq (cached_bytes (), 0);
    ck_assert_uint_ge (said (MSG_ERROR, "checksum"), 1);
    fakecloud_forget (core.fake);
    ck_assert_int_eq (read_at ("f", size, 0), EIO);
    ck_assert_uint_le (requests_for ("f"), 2);
    ck_assert_uint_le (said (MSG_ERROR, "checksum"), 2);
  }
  else
    ck_assert_int_eq (read_all ("f", size, 60000), 0);
}
END_TEST

START_TEST (small_checksums_alone)
{
  const uint64_t size = small_sums[_i].size;

  fakecloud_put (core.fake, "f", size, "1", NULL);
  fakecloud_set_checksum (core.fake, "f", small_sums[_i].kind, small_sums[_i].right);
  core_learn (&core, "f");
  if (small_sums[_i].flips)
    fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .flip = true, .times = small_sums[_i].flips });
  ck_assert_int_eq (read_at ("f", size, 0), small_sums[_i].result);
  ck_assert_uint_eq (requests_for ("f"), small_sums[_i].requests);
}
END_TEST

static bool
raw_read (const char *path, size_t n, uint64_t offset)
{
  CLEANUP_FREE char *buf = malloc (n);

  return cache_read (core.cache, core_file (&core, path), buf, n, offset) == 0;
}

/* Larger than what is checked before it is shown. */
static const struct {
  bool right, flip;
} large_sums[] = { { true, false }, { false, false }, { true, true } };

START_TEST (large_checksums)
{
  const uint64_t size = CACHE_CHUNK + 100001;
  const bool good = large_sums[_i].right && !large_sums[_i].flip;

  fakecloud_put (core.fake, "f", size, "1", NULL);
  fakecloud_set_checksum (core.fake, "f", "SHA1", large_sums[_i].right);
  core_learn (&core, "f");
  if (large_sums[_i].flip)
    fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .flip = true, .times = 1 });
  for (uint64_t at = 0; at < size; at += 100000)
    (void) raw_read ("f", size - at < 100000 ? size - at : 100000, at);
  if (good) {
    ck_assert (WITHIN_MS (SOON_MS, core_query (&core, "SELECT count (*) FROM verified") == 1));
    ck_assert_int_eq (read_all ("f", size, 100000), 0);
    ck_assert (!health_take_suspicion (core.health));
    return;
  }
  ck_assert (WITHIN_MS (SOON_MS, !raw_read ("f", 1, 0)));
  ck_assert (!raw_read ("f", 1, size - 1));
  ck_assert_uint_eq (cached_bytes (), 0);
  ck_assert (WITHIN_MS (SOON_MS, said (MSG_ERROR, "checksum") > 0));
  ck_assert (WITHIN_MS (SOON_MS, health_take_suspicion (core.health)));
  ck_assert (!raw_read ("f", 1, 0));

  /* After a restart it may be tried again. */
  core_reopen (&core, 0);
  if (large_sums[_i].flip)
    ck_assert_int_eq (read_all ("f", size, 100000), 0);
}
END_TEST

/* Bytes that were recorded, but not verified before the process ended. */
START_TEST (verified_after_a_restart)
{
  const uint64_t size = CACHE_CHUNK + 5;
  uint64_t position;
  char garbage[100];

  fakecloud_put (core.fake, "f", size, "1", NULL);
  fakecloud_set_checksum (core.fake, "f", "MD5", true);
  core_learn (&core, "f");
  ck_assert_int_eq (read_all ("f", size, MIB), 0);
  ck_assert (WITHIN_MS (SOON_MS, core_query (&core, "SELECT count (*) FROM verified") == 1));
  memset (garbage, 0xdb, sizeof garbage);
  position = cache_position (core_file (&core, "f"));
  ck_assert_int_eq (blobs_write (core.blobs, garbage, sizeof garbage, position + 3 * MIB), 0);
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (db_end (core.db, db_run (db_stmt (core.db, "DELETE FROM verified"))), 0);

  core_reopen (&core, 0);
  ck_assert (WITHIN_MS (SOON_MS, !raw_read ("f", 1, 0)));
}
END_TEST

/* ---- a remote that fails ---- */

static const struct {
  enum cloud_result result;
  size_t requests;             /* a wait that may be worth it costs a second one */
  bool suspicion;
  enum cloud_result state;
} failures[] = {
  { CLOUD_CHANGED, 1, true, CLOUD_OK },
  { CLOUD_GONE, 1, true, CLOUD_OK },
  { CLOUD_DENIED, 1, false, CLOUD_OK },
  { CLOUD_AUTH, 1, false, CLOUD_AUTH },
  { CLOUD_OFFLINE, 2, false, CLOUD_OFFLINE },
  { CLOUD_BAD, 2, false, CLOUD_OK },
};

/* The last ones take longer: these are not tried in both ways. */
#define N_RETRIED 2

START_TEST (failures_are_told)
{
  const int which = _i % N (failures);

  fakecloud_set_inline (core.fake, _i >= N (failures));
  core_add (&core, "f", 100000);
  fail_gets ("f", failures[which].result, 0);
  ck_assert_int_eq (read_at ("f", 10, 99), EIO);
  ck_assert_uint_eq (requests_for ("f"), failures[which].requests);
  ck_assert_int_eq (health_take_suspicion (core.health), failures[which].suspicion);
  ck_assert_int_eq (health_state (core.health), failures[which].state);
  ck_assert_uint_eq (said (MSG_ERROR, "reading it fails"), 1);

  /* Said once, however often it is read. */
  ck_assert_int_eq (read_at ("f", 10, 0), EIO);
  ck_assert_uint_eq (said (MSG_ERROR, "reading it fails"), 1);

  fakecloud_no_rules (core.fake);
  health_report (core.health, CLOUD_OK, NULL);
  ck_assert_int_eq (read_all ("f", 100000, 50000), 0);
  /* And again when it fails anew. */
  core_add (&core, "g", 100);
  fail_gets ("g", failures[which].result, 0);
  ck_assert_int_eq (read_at ("g", 10, 0), EIO);
  ck_assert_uint_eq (said (MSG_ERROR, "reading it fails"), 2);
}
END_TEST

START_TEST (another_version)
{
  core_add (&core, "f", 3 * MIB);
  ck_assert_int_eq (read_at ("f", 10, 0), 0);
  fakecloud_put (core.fake, "f", 3 * MIB, "2", NULL);
  ck_assert (!raw_read ("f", 10, 3 * MIB - 10));
  ck_assert (health_take_suspicion (core.health));
  core_learn (&core, "f");
  ck_assert_int_eq (read_all ("f", 3 * MIB, 100000), 0);
}
END_TEST

START_TEST (away_fails_fast)
{
  uint64_t begin;

  core_add (&core, "here", 100000);
  core_add (&core, "there", 100000);
  ck_assert_int_eq (read_at ("here", 10, 0), 0);
  fail_gets (NULL, CLOUD_OFFLINE, 0);
  ck_assert_int_eq (read_at ("there", 10, 0), EIO);
  ck_assert (health_is_away (core.health));
  fakecloud_forget (core.fake);

  begin = now_ms ();
  for (unsigned i = 0; i < 100; ++i)
    ck_assert_int_eq (read_at ("there", 10, i * 1000), EIO);
  ck_assert_uint_lt (now_ms () - begin, 10000);           /* with the shortest pause in each it were 30 s */
  ck_assert_uint_eq (requests_for (NULL), 0);
  ck_assert_int_eq (read_all ("here", 100000, 1000), 0);

  fakecloud_no_rules (core.fake);
  health_report (core.health, CLOUD_OK, NULL);
  ck_assert_int_eq (read_all ("there", 100000, 1000), 0);
}
END_TEST

/* A remote that is busy for a while, or a host that can make room. */
static const struct {
  const char *path;
  enum cloud_result result;
  unsigned times;              /* 0: for ever */
} waits[] = {
  { "soon", CLOUD_BUSY, 2 }, { "busy", CLOUD_BUSY, 0 }, { "room", CLOUD_LOCAL, 1 }, { "no-room", CLOUD_LOCAL, 0 },
};

START_TEST (some_things_are_waited_for)
{
  struct reader readers[N (waits)];

  for (int i = 0; i < N (waits); ++i) {
    core_add (&core, waits[i].path, 200000);
    fail_gets (waits[i].path, waits[i].result, waits[i].times);
    readers[i] = (struct reader) { .path = waits[i].path, .n = 1000, .offset = 5 };
    start_reader (&readers[i]);
  }
  for (int i = 0; i < N (waits); ++i) {
    pthread_join (readers[i].thread, NULL);
    ck_assert_int_eq (readers[i].result, waits[i].times ? 0 : EIO);
    ck_assert_uint_eq (requests_for (waits[i].path), waits[i].times ? waits[i].times + 1 : 4);
    if (waits[i].times == 0) {
      ck_assert_uint_ge (readers[i].took_ms, 2000);      /* pauses grow */
      ck_assert_uint_le (readers[i].took_ms, 25000);     /* but a guest's own patience ends at 30 s */
    }
  }
  ck_assert (!health_is_away (core.health));
  ck_assert_uint_eq (said (MSG_ERROR, "reading it fails"), 2);
  fakecloud_no_rules (core.fake);
  ck_assert_int_eq (read_all ("busy", 200000, 50000), 0);
  ck_assert_int_eq (read_all ("no-room", 200000, 50000), 0);
}
END_TEST

START_TEST (broken_requests_keep_what_came)
{
  fakecloud_set_inline (core.fake, _i);
  core_add (&core, "f", 8 * MIB);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .result = CLOUD_DENIED, .bytes_before = 700000,
                                                   .times = 1 });
  ck_assert_int_eq (read_at ("f", MIB, 0), EIO);
  fakecloud_forget (core.fake);
  ck_assert_int_eq (read_all ("f", 8 * MIB, 100000), 0);
  /* But for what was gathered to be written in one piece. */
  for (size_t n = requests_for ("f"); n-- > 0;)
    ck_assert_uint_ge (requests[n].offset, 8 * CACHE_BLOCK);
}
END_TEST

START_TEST (renamed_while_it_is_read)
{
  struct catalog_list list;

  core_add (&core, "old", 64 * MIB);
  ck_assert_int_eq (read_at ("old", 100000, 0), 0);
  fakecloud_rename (core.fake, "old", "new");
  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_item (core.db, CATALOG_ROOT + 1, &list), 1);
  ck_assert_int_eq (catalog_move (core.db, 2, &list.items[0], CATALOG_ROOT, "new"), 0);
  ck_assert_int_eq (catalog_commit_revision (core.db, 2), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  catalog_list_free (&list);

  /* The catalog knows where it is now. */
  ck_assert_int_eq (read_at ("new", 100000, 40 * MIB), 0);
}
END_TEST

START_TEST (stop_ends_waiting_readers)
{
  struct reader readers[3];

  core_add (&core, "f", 64 * MIB);
  fakecloud_rule (core.fake, &(struct fake_rule) { .verb = FAKE_GET, .hold = true });
  for (int i = 0; i < N (readers); ++i) {
    readers[i] = (struct reader) { .path = "f", .n = 10, .offset = i * 10 * MIB };
    start_reader (&readers[i]);
  }
  ck_assert (WITHIN_MS (SOON_MS, requests_for ("f") >= 3));
  cloud_stop ((struct cloud *) core.fake);
  for (int i = 0; i < N (readers); ++i) {
    pthread_join (readers[i].thread, NULL);
    ck_assert_int_eq (readers[i].result, EIO);
    ck_assert_uint_lt (readers[i].took_ms, 15000);
  }
}
END_TEST

/* ---- what lasts ---- */

START_TEST (restart_loads_what_is_on_record)
{
  uint64_t cached;

  core_add (&core, "whole", 300000);
  core_add (&core, "part", 64 * MIB);
  core_add (&core, "none", 1000);
  ck_assert_int_eq (read_at ("whole", 10, 0), 0);
  ck_assert_int_eq (read_at ("part", 5 * MIB, 30 * MIB), 0);
  ck_assert_int_eq (read_at ("part", 10, 64 * MIB - 10), 0);
  ck_assert (cache_wait_background (core.cache, 1));
  cached = cached_bytes ();
  core_reopen (&core, 0);
  ck_assert_uint_eq (cached_bytes (), cached);
  ck_assert (cache_is_complete (core_file (&core, "whole")));
  ck_assert (!cache_is_complete (core_file (&core, "part")));

  health_report (core.health, CLOUD_OFFLINE, "away");
  fakecloud_forget (core.fake);
  ck_assert_int_eq (read_all ("whole", 300000, 70000), 0);
  ck_assert_int_eq (read_at ("part", 5 * MIB, 30 * MIB), 0);
  ck_assert_int_eq (read_at ("part", 10, 64 * MIB - 10), 0);
  ck_assert_int_eq (read_at ("part", 10, 0), EIO);
  ck_assert_int_eq (read_at ("none", 10, 0), EIO);
  ck_assert_uint_eq (requests_for (NULL), 0);
  health_report (core.health, CLOUD_OK, NULL);
  ck_assert_int_eq (read_at ("part", 10, 0), 0);
}
END_TEST

static const char *const crash_files[] = { "a", "b", "c" };

#define CRASH_SIZE (5 * MIB + 12345)
#define CRASH_CACHE (8 * MIB)

/* Fetches, evicts and replaces, until it is stopped. */
static void
work_until_the_crash (void)
{
  core_load (&core, CRASH_CACHE);
  for (int i = 0; i < N (crash_files); ++i)
    core_learn (&core, crash_files[i]);
  for (int i = 0; i < N (crash_files); ++i)
    ck_assert_int_eq (read_all (crash_files[i], CRASH_SIZE, 300000), 0);
  ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= CRASH_CACHE));
  fakecloud_put (core.fake, "a", CRASH_SIZE, "2", NULL);
  cache_supersede (core.cache, core_version (&core, "a"));
  core_learn (&core, "a");
  ck_assert_int_eq (read_all ("a", CRASH_SIZE, 300000), 0);
  core_shut (&core);
}

/* What the cache says that it has is right; the rest can be fetched. */
static void
look_after_the_crash (void)
{
  core_load (&core, 0);
  fakecloud_put (core.fake, "a", CRASH_SIZE, "2", NULL);
  for (int i = 0; i < N (crash_files); ++i) {
    const int64_t item = core_item (&core, crash_files[i]);
    struct catalog_list list;

    if (item == 0)
      continue;
    db_read_begin (core.db);
    ck_assert_int_eq (catalog_item (core.db, item, &list), 1);
    db_read_end (core.db);
    if (i == 0 && strcmp (list.items[0].token, "1") == 0)
      fakecloud_put (core.fake, "a", CRASH_SIZE, "1", NULL);
    catalog_list_free (&list);
    health_report (core.health, CLOUD_OFFLINE, "away");
    for (uint64_t at = 0; at < CRASH_SIZE; at += CACHE_BLOCK)
      (void) read_at (crash_files[i], CRASH_SIZE - at < CACHE_BLOCK ? CRASH_SIZE - at : CACHE_BLOCK, at);
    health_report (core.health, CLOUD_OK, NULL);
    ck_assert_int_eq (read_all (crash_files[i], CRASH_SIZE, 300000), 0);
  }
  core_shut (&core);
}

/* In a process of its own, so that steps count from 1. */
static pid_t
start_process (void (*work) (void), int stop_at_step)
{
  const pid_t pid = fork ();

  ck_assert_int_ge (pid, 0);
  if (pid == 0) {
    char number[16];

    snprintf (number, sizeof number, "%d", stop_at_step);
    if (stop_at_step)
      setenv ("CLOUDSHARE_STOP_AT_STEP", number, 1);
    work ();
    _exit (0);
  }
  return pid;
}

static int
exit_status (pid_t pid)
{
  int status;

  ck_assert_int_eq (waitpid (pid, &status, 0), pid);
  ck_assert (WIFEXITED (status));
  return WEXITSTATUS (status);
}

/* So many processes at once, because most of the time is waiting; more of them until one has no step left to stop at.
 * How many steps there are depends on how often the keeper comes by. */
#define CRASH_STEPS 16
#define CRASH_ROUNDS 8

/* What step_passed exits with. */
#define STOPPED 99

START_TEST (crash_at_each_step)
{
  static struct core cores[CRASH_STEPS];
  pid_t pids[CRASH_STEPS];
  bool all_done = false;

  for (int first = 1; !all_done; first += CRASH_STEPS) {
    ck_assert_int_lt (first, CRASH_ROUNDS * CRASH_STEPS);
    for (int i = 0; i < CRASH_STEPS; ++i) {
      core_make (&core, -1);
      for (int k = 0; k < N (crash_files); ++k)
        fakecloud_put (core.fake, crash_files[k], CRASH_SIZE, "1", NULL);
      cores[i] = core;
      pids[i] = start_process (work_until_the_crash, first + i);
    }
    for (int i = 0; i < CRASH_STEPS; ++i) {
      const int status = exit_status (pids[i]);

      ck_assert_msg (status == STOPPED || (status == 0 && first + i > 5), "step %d: exit status %d", first + i, status);
      all_done |= status == 0;
      core = cores[i];
      pids[i] = start_process (look_after_the_crash, 0);
    }
    for (int i = 0; i < CRASH_STEPS; ++i) {
      ck_assert_msg (exit_status (pids[i]) == 0, "after a crash at step %d", first + i);
      core_remove (&cores[i]);
    }
  }
}
END_TEST

/* ---- eviction ---- */

#define STRESS_FILES 3
#define STRESS_SIZE (20 * MIB + 4321)
#define STRESS_CACHE (12 * MIB)
#define STRESS_MS 2000

static const char *const stress_files[STRESS_FILES] = { "x", "y", "z" };
static atomic_bool enough;

static void *
stress (void *opaque)
{
  uint64_t seed = (uintptr_t) opaque;

  while (!enough) {
    const char *path = stress_files[random_below (&seed, STRESS_FILES)];
    const bool in_order = random_below (&seed, 3) == 0;
    uint64_t at = random_below (&seed, STRESS_SIZE);

    for (unsigned i = 0; i < (in_order ? 12 : 1) && at < STRESS_SIZE && !enough; ++i) {
      const uint64_t wanted = in_order ? 128 * KIB : 1 + random_below (&seed, 200000);
      const size_t n = STRESS_SIZE - at < wanted ? STRESS_SIZE - at : wanted;

      ck_assert_int_eq (read_at (path, n, at), 0);
      at += n;
    }
  }
  return NULL;
}

START_TEST (eviction_under_readers)
{
  pthread_t threads[4];
  uint64_t most = 0;
  bool refetched;

  enough = false;
  core_open (&core, STRESS_CACHE);
  for (int i = 0; i < STRESS_FILES; ++i)
    core_add (&core, stress_files[i], STRESS_SIZE);
  for (int i = 0; i < N (threads); ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, stress, (void *) (uintptr_t) (1000 + i)), 0);
  for (const uint64_t until = now_ms () + STRESS_MS; now_ms () < until; sleep_ms (10))
    most = cached_bytes () > most ? cached_bytes () : most;
  refetched = WITHIN_MS (SOON_MS, fetched_bytes () > STRESS_FILES * STRESS_SIZE);
  enough = true;
  for (int i = 0; i < N (threads); ++i)
    pthread_join (threads[i], NULL);
  ck_assert (refetched);
  ck_assert_uint_gt (most, STRESS_CACHE / 2);
  ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= STRESS_CACHE));

  /* What the records say is what is there. */
  core_reopen (&core, 0);
  health_report (core.health, CLOUD_OFFLINE, "away");
  for (int i = 0; i < STRESS_FILES; ++i)
    for (uint64_t at = 0; at < STRESS_SIZE; at += CACHE_BLOCK)
      (void) read_at (stress_files[i], STRESS_SIZE - at < CACHE_BLOCK ? STRESS_SIZE - at : CACHE_BLOCK, at);
  core_close (&core);
}
END_TEST

static void *
record_once (void *opaque)
{
  ck_assert_int_eq (cache_record (core.cache), 0);
  return opaque;
}

/* Interpreters and push record, too: what was to be recorded when it was evicted must not come back as a record of bytes that are
 * gone. */
START_TEST (evicted_while_it_is_recorded)
{
  static const char *const paths[] = { "a", "b", "c", "d", "e" };

  core_open (&core, 4 * MIB);
  for (int i = 0; i < N (paths); ++i) {
    struct cache_file *file;
    pthread_t recorder;

    core_add (&core, paths[i], 8 * MIB);
    file = core_file (&core, paths[i]);
    /* The keeper and we are both held up where they write. */
    ck_assert_int_eq (db_begin (core.db), 0);
    for (uint64_t at = 0; at < 8 * MIB; at += MIB)
      ck_assert_int_eq (core_read (&core, file, fakecloud_content (core.fake, paths[i]), MIB, at), 0);
    sleep_ms (1600);
    ck_assert_int_eq (pthread_create (&recorder, NULL, record_once, NULL), 0);
    sleep_ms (100);
    ck_assert_int_eq (db_end (core.db, 0), 0);
    pthread_join (recorder, NULL);
    ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= 4 * MIB));
  }
  core_reopen (&core, 0);
  health_report (core.health, CLOUD_OFFLINE, "away");
  for (int i = 0; i < N (paths); ++i)
    for (uint64_t at = 0; at < 8 * MIB; at += CACHE_BLOCK)
      (void) read_at (paths[i], CACHE_BLOCK, at);
  core_close (&core);
}
END_TEST

#define EVICTED_SIZE (8 * MIB)
#define EVICTED_MS 1700

static void *
read_much (void *opaque)
{
  uint64_t seed = (uintptr_t) opaque;

  while (!enough) {
    const uint64_t n = MIB + random_below (&seed, 3 * MIB);

    ck_assert_int_eq (read_at ("f", n, random_below (&seed, EVICTED_SIZE - n)), 0);
  }
  return NULL;
}

/* A file that is larger than the cache and read all the time: once nobody waits for it, its chunks go in the middle of
 * reads. */
START_TEST (evicted_while_it_is_read)
{
  pthread_t threads[4];
  bool refetched;

  enough = false;
  core_open (&core, EVICTED_SIZE / 2);
  core_add (&core, "f", EVICTED_SIZE);
  for (int i = 0; i < N (threads); ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, read_much, (void *) (uintptr_t) (3000 + i)), 0);
  /* A block that is there is never asked for again, so more than the whole file means that some of it went; twice the
   * file, that it did so again and again. */
  sleep_ms (EVICTED_MS);
  refetched = WITHIN_MS (SOON_MS, fetched_bytes () > 2 * EVICTED_SIZE);
  enough = true;
  for (int i = 0; i < N (threads); ++i)
    pthread_join (threads[i], NULL);
  ck_assert (refetched);
  ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= EVICTED_SIZE / 2));
  core_close (&core);
}
END_TEST

/* Whether a file's bytes can be read while the remote is away. */
static bool
is_here (const char *path, uint64_t size)
{
  bool here;

  health_report (core.health, CLOUD_OFFLINE, "away");
  here = raw_read (path, size, 0);
  health_report (core.health, CLOUD_OK, NULL);
  return here;
}

START_TEST (superseded_versions_stay)
{
  static const char *const paths[] = { "old", "b", "c", "d", "e" };
  struct cache_file *old;
  uint64_t content;

  core_open (&core, 8 * MIB);
  core_add (&core, "old", 3 * MIB);
  content = fakecloud_content (core.fake, "old");
  old = core_file (&core, "old");
  ck_assert_int_eq (read_all ("old", 3 * MIB, MIB), 0);
  cache_supersede (core.cache, core_version (&core, "old"));
  fakecloud_put (core.fake, "old", 10, "2", NULL);
  core_learn (&core, "old");
  for (int i = 1; i < N (paths); ++i) {
    core_add (&core, paths[i], 3 * MIB);
    ck_assert_int_eq (read_all (paths[i], 3 * MIB, MIB), 0);
  }
  ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= 8 * MIB));
  fakecloud_forget (core.fake);
  ck_assert_int_eq (core_read (&core, old, content, 3 * MIB, 0), 0);
  ck_assert_uint_eq (requests_for (NULL), 0);
  ck_assert (!is_here ("b", 3 * MIB));
  core_close (&core);
}
END_TEST

START_TEST (away_evicts_nothing)
{
  for (int i = 0; i < STRESS_FILES; ++i) {
    core_add (&core, stress_files[i], 4 * MIB);
    ck_assert_int_eq (read_all (stress_files[i], 4 * MIB, MIB), 0);
  }
  core_shut (&core);
  core.starts_away = true;
  core_load (&core, 5 * MIB);
  sleep_ms (1200);             /* the keeper comes by each second */
  for (int i = 0; i < STRESS_FILES; ++i)
    ck_assert (raw_read (stress_files[i], 4 * MIB, 0));
  health_report (core.health, CLOUD_OK, NULL);
  ck_assert (WITHIN_MS (SOON_MS, cached_bytes () <= 5 * MIB));
}
END_TEST

/* ---- forgetting ---- */

static void *
keep_reading (void *opaque)
{
  uint64_t seed = (uintptr_t) opaque;

  while (!enough) {
    const char *path = stress_files[random_below (&seed, 2)];

    ck_assert_int_eq (read_at (path, 50000, random_below (&seed, 10 * MIB - 50000)), 0);
  }
  return NULL;
}

/* As a disk does that collects its generations. */
static void
forget (const char *path)
{
  const int64_t version = core_version (&core, path), item = core_item (&core, path);
  uint64_t position, size;
  int64_t revision;

  ck_assert_int_eq (db_begin (core.db), 0);
  ck_assert_int_eq (catalog_revision (core.db, &revision), 0);
  ck_assert_int_eq (catalog_remove (core.db, revision + 1, item), 0);
  ck_assert_int_eq (catalog_drop_version (core.db, version, &position, &size), 1);
  ck_assert_int_eq (cache_forget (core.db, version), 0);
  ck_assert_int_eq (db_end (core.db, 0), 0);
  cache_discard (core.cache, version, position, size);
}

START_TEST (discard_beside_readers)
{
  pthread_t threads[3];
  uint64_t seed = 42;

  enough = false;
  core_open (&core, 20 * MIB);
  core_add (&core, "x", 10 * MIB);
  core_add (&core, "y", 10 * MIB);
  for (int i = 0; i < N (threads); ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, keep_reading, (void *) (uintptr_t) (2000 + i)), 0);
  for (const uint64_t until = now_ms () + 1000; now_ms () < until;) {
    const uint64_t size = random_below (&seed, 2) ? 1 + random_below (&seed, 100000)
                                                  : 4 * MIB + random_below (&seed, 4 * MIB);

    core_add (&core, "gone", size);
    if (random_below (&seed, 4) > 0)
      ck_assert_int_eq (read_at ("gone", 1 + size / 3, size / 2), 0);
    if (random_below (&seed, 2))
      cache_prefetch (core.cache, core_file (&core, "gone"), 0, size);
    forget ("gone");
  }
  enough = true;
  for (int i = 0; i < N (threads); ++i)
    pthread_join (threads[i], NULL);
  ck_assert_int_eq (read_all ("x", 10 * MIB, 100000), 0);
  ck_assert_int_eq (read_all ("y", 10 * MIB, 100000), 0);
  ck_assert_int_eq (core_query (&core, "SELECT count (*) FROM cached_chunk"
                                       " WHERE version NOT IN (SELECT id FROM version)"), 0);
  core_close (&core);
}
END_TEST

START_TEST (discard_gives_room_back)
{
  struct stat before, after;

  core_add (&core, "f", 6 * MIB);
  ck_assert_int_eq (read_all ("f", 6 * MIB, MIB), 0);
  ck_assert_uint_eq (cached_bytes (), 6 * MIB);
  ck_assert_int_eq (fstatat (core.dir_fd, "blob-000000", &before, 0), 0);
  forget ("f");
  ck_assert_uint_eq (cached_bytes (), 0);
  ck_assert_int_eq (fstatat (core.dir_fd, "blob-000000", &after, 0), 0);
  ck_assert_int_le (after.st_blocks + (blkcnt_t) (6 * MIB / 512), before.st_blocks);
}
END_TEST

/* ---- a full disk of the host ---- */

#define TINY (16 * MIB)
#define TINY_FILE (9 * MIB)
#define TINY_FILES 2

START_TEST (host_disk_full)
{
  char at[80], options[32];
  int fd;

  core_make (&core, -1);
  snprintf (at, sizeof at, "%s/tiny", core.dir);
  snprintf (options, sizeof options, "size=%llu", (unsigned long long) TINY);
  ck_assert_int_eq (mkdir (at, 0700), 0);
  /* In name space of its own, so that nothing stays mounted. */
  if (unshare (CLONE_NEWNS) == -1 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
      mount ("tmpfs", at, "tmpfs", 0, options) == -1) {
    fprintf (stderr, "host_disk_full: skipped, a file system cannot be mounted: %s\n", strerror (errno));
    core_remove (&core);
    return;
  }
  fd = open (at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ck_assert_int_ge (fd, 0);
  core.blobs_fd = fd;
  core_load (&core, 0);

  /* More than there is room for: older bytes go, a read fails at worst, and none is wrong. */
  for (int i = 0; i < TINY_FILES; ++i)
    core_add (&core, stress_files[i], TINY_FILE);
  for (int i = 0; i < TINY_FILES; ++i) {
    unsigned failed = 0;

    sleep_ms (600);            /* what was read just now is not evicted */
    for (uint64_t offset = 0; offset < TINY_FILE; ) {
      if (read_at (stress_files[i], 64 * KIB, offset) == 0)
        offset += 64 * KIB;
      else {
        ck_assert_uint_lt (++failed, 20);
        sleep_ms (100);
      }
    }
    ck_assert (!health_is_away (core.health));
  }
  core_shut (&core);
  close (fd);
  ck_assert_int_eq (umount (at), 0);
  core_remove (&core);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cache");
  TCase *tcase = tcase_create ("cache"), *own = tcase_create ("with a cache of its own");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_set_timeout (tcase, 300);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_loop_test (tcase, small_files_are_fetched_whole, 0, N (small_sizes));
  tcase_add_test (tcase, one_request_for_many_readers);
  tcase_add_test (tcase, overlapping_readers_share);
  tcase_add_loop_test (tcase, sequential_reads_are_read_ahead, 0, 2);
  tcase_add_test (tcase, random_reads_are_not);
  tcase_add_test (tcase, prefetch);
  tcase_add_loop_test (tcase, small_checksums, 0, N (small_sums));
  tcase_add_loop_test (tcase, small_checksums_alone, 0, N (small_sums));
  tcase_add_loop_test (tcase, large_checksums, 0, N (large_sums));
  tcase_add_test (tcase, verified_after_a_restart);
  tcase_add_loop_test (tcase, failures_are_told, 0, 2 * N (failures) - N_RETRIED);
  tcase_add_test (tcase, another_version);
  tcase_add_test (tcase, away_fails_fast);
  tcase_add_test (tcase, some_things_are_waited_for);
  tcase_add_loop_test (tcase, broken_requests_keep_what_came, 0, 2);
  tcase_add_test (tcase, renamed_while_it_is_read);
  tcase_add_test (tcase, stop_ends_waiting_readers);
  tcase_add_test (tcase, restart_loads_what_is_on_record);
  tcase_add_test (tcase, away_evicts_nothing);
  tcase_add_test (tcase, discard_gives_room_back);
  suite_add_tcase (suite, tcase);

  tcase_set_timeout (own, 300);
  tcase_add_test (own, crash_at_each_step);
  tcase_add_test (own, eviction_under_readers);
  tcase_add_test (own, evicted_while_it_is_recorded);
  tcase_add_test (own, evicted_while_it_is_read);
  tcase_add_test (own, superseded_versions_stay);
  tcase_add_test (own, discard_beside_readers);
  tcase_add_test (own, host_disk_full);
  suite_add_tcase (suite, own);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
