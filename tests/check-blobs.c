/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the blob store: where runs go, what a crash leaves behind, and that what was never written reads as zeros. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blobs.h"

#define GIB (UINT64_C (1) << 30)
#define TIB (UINT64_C (1) << 40)

static char dir[64];
static int dir_fd;
static struct blobs *blobs;

static void
open_store (uint64_t used)
{
  blobs = blobs_open (dir_fd, dir);
  ck_assert_ptr_nonnull (blobs);
  ck_assert_int_eq (blobs_trim (blobs, used), 0);
}

static void
setup (void)
{
  const char *base = getenv ("TMPDIR");

  snprintf (dir, sizeof dir, "%s/check-blobs.XXXXXX", base && strlen (base) < 40 ? base : "/tmp");
  ck_assert_ptr_nonnull (mkdtemp (dir));
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ck_assert_int_ge (dir_fd, 0);
  open_store (0);
}

static void
teardown (void)
{
  char command[128];

  blobs_close (blobs);
  close (dir_fd);
  snprintf (command, sizeof command, "rm -rf %s", dir);
  ck_assert_int_eq (system (command), 0);
}

static void
put (int byte, size_t n, uint64_t position)
{
  char *buf = malloc (n);

  memset (buf, byte, n);
  ck_assert_int_eq (blobs_write (blobs, buf, n, position), 0);
  free (buf);
}

/* Whether all of these bytes are alike. */
static bool
holds (int byte, size_t n, uint64_t position)
{
  unsigned char *buf = malloc (n);
  bool all = true;

  memset (buf, ~byte, n);
  ck_assert_int_eq (blobs_read (blobs, buf, n, position), 0);
  for (size_t i = 0; i < n; ++i)
    all &= buf[i] == byte;
  free (buf);
  return all;
}

/* Bytes that the host gave to all blob files. */
static uint64_t
room_taken (void)
{
  uint64_t taken = 0;

  for (unsigned i = 0; i < 8; ++i) {
    char name[32];
    struct stat st;

    snprintf (name, sizeof name, "blob-%06u", i);
    if (fstatat (dir_fd, name, &st, 0) == 0)
      taken += (uint64_t) st.st_blocks * 512;
  }
  return taken;
}

/* ---- runs ---- */

static const uint64_t run_sizes[] = {
  1, BLOB_ALIGN, BLOB_ALIGN + 1, 0, 5, BLOB_ALIGN - 1, 700 * GIB, 700 * GIB, 100 * GIB, 923 * GIB, 1, 8 * TIB, 3, TIB,
  7, 8 * TIB, BLOB_ALIGN,
};

#define N_RUNS (sizeof run_sizes / sizeof run_sizes[0])

START_TEST (runs_are_aligned_and_apart)
{
  uint64_t position[N_RUNS], end = 0;

  for (size_t i = 0; i < N_RUNS; ++i) {
    position[i] = blobs_alloc (blobs, run_sizes[i]);
    ck_assert_uint_eq (position[i] % BLOB_ALIGN, 0);
    ck_assert_uint_ge (position[i], end);
    end = position[i] + run_sizes[i];
  }

  /* The first and the last byte of each: a run that crossed into the next file would lose or share one. */
  for (size_t i = 0; i < N_RUNS; ++i) {
    if (run_sizes[i] > 0)
      put (1 + 2 * i, 1, position[i]);
    if (run_sizes[i] > 1)
      put (2 + 2 * i, 1, position[i] + run_sizes[i] - 1);
  }
  for (size_t i = 0; i < N_RUNS; ++i) {
    if (run_sizes[i] > 0)
      ck_assert (holds (1 + 2 * i, 1, position[i]));
    if (run_sizes[i] > 1)
      ck_assert (holds (2 + 2 * i, 1, position[i] + run_sizes[i] - 1));
    /* Read in one go, as a range that crossed could not be. */
    if (run_sizes[i] > BLOB_ALIGN)
      ck_assert (holds (0, BLOB_ALIGN - 2, position[i] + run_sizes[i] - BLOB_ALIGN + 1));
  }
  ck_assert_int_eq (blobs_sync (blobs), 0);
}
END_TEST

START_TEST (too_long_runs)
{
  uint64_t before, after;

  before = blobs_alloc (blobs, 1);
  errno = 0;
  ck_assert_uint_eq (blobs_alloc (blobs, BLOB_MAX_RUN + 1), UINT64_MAX);
  ck_assert_int_eq (errno, EFBIG);
  ck_assert_uint_eq (blobs_alloc (blobs, UINT64_MAX), UINT64_MAX);
  after = blobs_alloc (blobs, 1);
  ck_assert_uint_eq (after, before + BLOB_ALIGN);
}
END_TEST

#define N_THREADS 4
#define N_ALLOCS 2000

static uint64_t allocated[N_THREADS * N_ALLOCS];

static void *
alloc_many (void *opaque)
{
  uint64_t *ret = opaque;

  for (size_t i = 0; i < N_ALLOCS; ++i) {
    unsigned char byte = i;

    ret[i] = blobs_alloc (blobs, 1 + i % 3 * BLOB_ALIGN);
    if (i % 16 == 0 && blobs_write (blobs, &byte, 1, ret[i]) == -1)
      return "blobs_write failed";
  }
  return NULL;
}

static int
compare_positions (const void *ap, const void *bp)
{
  const uint64_t a = *(const uint64_t *) ap, b = *(const uint64_t *) bp;

  return (a > b) - (a < b);
}

START_TEST (threads_get_runs_of_their_own)
{
  pthread_t threads[N_THREADS];

  for (size_t i = 0; i < N_THREADS; ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, alloc_many, allocated + i * N_ALLOCS), 0);
  for (size_t i = 0; i < N_THREADS; ++i) {
    void *failed;

    pthread_join (threads[i], &failed);
    ck_assert_ptr_null (failed);
  }
  qsort (allocated, N_THREADS * N_ALLOCS, sizeof allocated[0], compare_positions);
  for (size_t i = 1; i < N_THREADS * N_ALLOCS; ++i)
    ck_assert_uint_lt (allocated[i - 1], allocated[i]);
}
END_TEST

/* ---- after a crash ---- */

/* On record are `used' bytes; behind them the store wrote up to 20 blocks of BLOB_ALIGN before it crashed. */
static const uint64_t used_sizes[] = {
  0, 1, 511, 4096, BLOB_ALIGN - 1, BLOB_ALIGN, BLOB_ALIGN + 1, 100000, 9 * BLOB_ALIGN,
};

START_TEST (leftovers_are_cut_off)
{
  const uint64_t used = used_sizes[_i], all = 20 * BLOB_ALIGN;
  const uint64_t aligned = (used + BLOB_ALIGN - 1) / BLOB_ALIGN * BLOB_ALIGN;
  uint64_t position;

  put (0x11, all, blobs_alloc (blobs, all));
  blobs_close (blobs);
  open_store (used);

  if (used > 0)
    ck_assert (holds (0x11, used, 0));
  ck_assert (holds (0, all - used, used));
  position = blobs_alloc (blobs, 10);
  ck_assert_uint_eq (position, aligned);
  put (0x22, 10, position);
  ck_assert (holds (0x22, 10, position));
  ck_assert (holds (0, all, position + 10));
  if (used > 0)
    ck_assert (holds (0x11, used, 0));
}
END_TEST

/* gap: no byte of the file in between was ever written. */
static const struct { bool gap; } leftover_files[] = { { false }, { true } };

START_TEST (leftover_files_go)
{
  uint64_t position[3];

  /* Three files. */
  for (size_t i = 0; i < 3; ++i) {
    position[i] = blobs_alloc (blobs, TIB);
    if (i != 1 || !leftover_files[_i].gap)
      put (0x33, 5000, position[i]);
  }
  blobs_close (blobs);
  open_store (position[0] + 1000);

  ck_assert (holds (0x33, 1000, position[0]));
  ck_assert (holds (0, 4000, position[0] + 1000));
  for (size_t i = 1; i < 3; ++i) {
    put (0x44, 1, position[i] + 5000);
    ck_assert (holds (0, 5000, position[i]));
  }
}
END_TEST

START_TEST (trim_never_grows)
{
  struct stat st;

  put (0x44, 3000, blobs_alloc (blobs, 10 * BLOB_ALIGN));
  blobs_close (blobs);
  open_store (10 * BLOB_ALIGN);
  ck_assert_int_eq (fstatat (dir_fd, "blob-000000", &st, 0), 0);
  ck_assert_int_eq (st.st_size, 3000);
  ck_assert (holds (0x44, 3000, 0));
  ck_assert_uint_eq (blobs_alloc (blobs, 1), 10 * BLOB_ALIGN);
}
END_TEST

/* ---- holes ---- */

START_TEST (holes_read_as_zeros)
{
  const uint64_t position = blobs_alloc (blobs, 40 * BLOB_ALIGN);
  unsigned char buf[64];

  ck_assert (holds (0, 40 * BLOB_ALIGN, position));    /* the file has no byte at all */
  put (0x55, 16, position + 20 * BLOB_ALIGN);
  ck_assert (holds (0, 20 * BLOB_ALIGN, position));
  ck_assert (holds (0, 20 * BLOB_ALIGN - 16, position + 20 * BLOB_ALIGN + 16));

  /* Over the end of the file. */
  memset (buf, 0xff, sizeof buf);
  ck_assert_int_eq (blobs_read (blobs, buf, sizeof buf, position + 20 * BLOB_ALIGN - 8), 0);
  for (size_t i = 0; i < sizeof buf; ++i)
    ck_assert_uint_eq (buf[i], i >= 8 && i < 24 ? 0x55 : 0);
}
END_TEST

START_TEST (punch_gives_room_back)
{
  const size_t n = 40 * BLOB_ALIGN;
  const uint64_t before = blobs_alloc (blobs, n), position = blobs_alloc (blobs, n), after = blobs_alloc (blobs, n);
  uint64_t taken;

  put (1, n, before);
  put (2, n, position);
  put (3, n, after);
  ck_assert_int_eq (blobs_sync (blobs), 0);
  taken = room_taken ();
  if (blobs_punch (blobs, position, n) == -1) {
    ck_assert_int_eq (errno, EOPNOTSUPP);
    return;
  }
  ck_assert (holds (1, n, before));
  ck_assert (holds (0, n, position));
  ck_assert (holds (3, n, after));
  ck_assert_uint_le (room_taken () + n, taken);

  /* Punched room can be written again, and does not come back as it was. */
  put (4, 1, position + 7);
  ck_assert (holds (0, 7, position));
  ck_assert (holds (4, 1, position + 7));
  ck_assert (holds (0, n - 8, position + 8));
}
END_TEST

/* ---- sweeping ---- */

START_TEST (sweep_leaves_what_is_kept)
{
  /* The last run stands in another file, and so does nothing at all in the one between. */
  const size_t n = 40 * BLOB_ALIGN;
  const uint64_t first = blobs_alloc (blobs, n), second = blobs_alloc (blobs, n), gap = blobs_alloc (blobs, TIB),
                 third = blobs_alloc (blobs, n);
  const struct blob_range keep[] = {
    { first, first + BLOB_ALIGN }, { first + 4 * BLOB_ALIGN, first + 5 * BLOB_ALIGN + 100 },
    { first + 39 * BLOB_ALIGN + 1000, second + BLOB_ALIGN }, { gap, gap + TIB }, { third + BLOB_ALIGN, third + 2 * BLOB_ALIGN },
  };
  uint64_t freed;

  put (1, n, first);
  put (2, n, second);
  put (3, n, third);
  ck_assert_int_eq (blobs_sync (blobs), 0);
  if (blobs_sweep (blobs, keep, sizeof keep / sizeof keep[0], &freed) == -1) {
    ck_assert_int_eq (errno, EOPNOTSUPP);
    return;
  }
  ck_assert (holds (1, BLOB_ALIGN, first));
  ck_assert (holds (0, 3 * BLOB_ALIGN, first + BLOB_ALIGN));
  ck_assert (holds (1, BLOB_ALIGN + 100, first + 4 * BLOB_ALIGN));
  ck_assert (holds (0, 33 * BLOB_ALIGN, first + 6 * BLOB_ALIGN));
  /* What a guest wrote begins at any sector. */
  ck_assert (holds (1, BLOB_ALIGN - 1000, first + 39 * BLOB_ALIGN + 1000));
  ck_assert (holds (2, BLOB_ALIGN, second));
  ck_assert (holds (0, 39 * BLOB_ALIGN, second + BLOB_ALIGN));
  ck_assert (holds (0, BLOB_ALIGN, third));
  ck_assert (holds (3, BLOB_ALIGN, third + BLOB_ALIGN));
  ck_assert (holds (0, 38 * BLOB_ALIGN, third + 2 * BLOB_ALIGN));
  /* Six whole ones, and what file systems round up. */
  ck_assert_uint_le (room_taken (), 7 * BLOB_ALIGN);
  ck_assert_uint_ge (freed, (3 * 40 - 7) * BLOB_ALIGN);

  ck_assert_int_eq (blobs_sweep (blobs, keep, sizeof keep / sizeof keep[0], &freed), 0);
  ck_assert_uint_eq (freed, 0);
  ck_assert_int_eq (blobs_sweep (blobs, NULL, 0, &freed), 0);
  ck_assert_uint_eq (room_taken (), 0);
}
END_TEST

START_TEST (stamp_tells_changes)
{
  const struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };
  const uint64_t position = blobs_alloc (blobs, 2 * BLOB_ALIGN);
  uint64_t before, after;

  put (1, 2 * BLOB_ALIGN, position);
  before = blobs_stamp (blobs);
  blobs_close (blobs);
  open_store (2 * BLOB_ALIGN);
  ck_assert (holds (1, 2 * BLOB_ALIGN, position));
  ck_assert_uint_eq (blobs_stamp (blobs), before);

  /* The kernel's clock for files goes in steps. */
  nanosleep (&tick, NULL);
  put (1, 1, position);
  after = blobs_stamp (blobs);
  ck_assert_uint_ne (after, before);
  nanosleep (&tick, NULL);
  if (blobs_punch (blobs, position, BLOB_ALIGN) == 0)
    ck_assert_uint_ne (blobs_stamp (blobs), after);
}
END_TEST

START_TEST (positions_that_cannot_be)
{
  char byte = 0;

  errno = 0;
  ck_assert_int_eq (blobs_write (blobs, &byte, 1, UINT64_MAX - 1), -1);
  ck_assert_int_ne (errno, 0);
  ck_assert_int_eq (blobs_read (blobs, &byte, 1, UINT64_MAX - 1), -1);
  ck_assert_int_eq (blobs_punch (blobs, UINT64_MAX - 1, 1), -1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("blobs");
  TCase *tcase = tcase_create ("blobs");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_set_timeout (tcase, 60);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, runs_are_aligned_and_apart);
  tcase_add_test (tcase, too_long_runs);
  tcase_add_test (tcase, threads_get_runs_of_their_own);
  tcase_add_loop_test (tcase, leftovers_are_cut_off, 0, sizeof used_sizes / sizeof used_sizes[0]);
  tcase_add_loop_test (tcase, leftover_files_go, 0, sizeof leftover_files / sizeof leftover_files[0]);
  tcase_add_test (tcase, trim_never_grows);
  tcase_add_test (tcase, holes_read_as_zeros);
  tcase_add_test (tcase, punch_gives_room_back);
  tcase_add_test (tcase, sweep_leaves_what_is_kept);
  tcase_add_test (tcase, stamp_tells_changes);
  tcase_add_test (tcase, positions_that_cannot_be);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
