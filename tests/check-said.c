/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the memory of what was said. */

#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "said.h"

static const struct {
  const char *where, *what;
  bool first;
} calls[] = {
  { "a", "b", true }, { "a", "b", false }, { "b", "a", true }, { "ab", "", true }, { "", "ab", true },
  { "a", "", true }, { "", "", true }, { "", "", false }, { "a", "b", false }, { "a", "B", true },
};

START_TEST (once)
{
  struct said *said = said_new ();

  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; ++i)
    ck_assert_msg (said_first_time (said, calls[i].where, calls[i].what) == calls[i].first, "call %zu", i);
  said_free (said);
  said_free (NULL);
}
END_TEST

START_TEST (bounded)
{
  struct said *said = said_new ();
  unsigned first = 0, again = 0;
  char where[32];

  for (unsigned i = 0; i < 100000; ++i) {
    snprintf (where, sizeof where, "folder %u", i);
    first += said_first_time (said, where, "reason");
    again += said_first_time (said, where, "reason");
  }
  /* Enough to be of use, and not for ever. */
  ck_assert_uint_ge (first, 1000);
  ck_assert_uint_le (first, 10000);
  ck_assert_uint_eq (again, 0);
  said_free (said);
}
END_TEST

#define N_THREADS 4
#define N_TEXTS 1000

static struct said *shared;
static atomic_uint n_first;

static void *
say_all (void *opaque)
{
  for (unsigned i = 0; i < N_TEXTS; ++i) {
    char what[32];

    snprintf (what, sizeof what, "%u", i);
    atomic_fetch_add (&n_first, said_first_time (shared, "here", what));
  }
  return NULL;
}

START_TEST (one_thread_says_it)
{
  pthread_t threads[N_THREADS];

  shared = said_new ();
  for (size_t i = 0; i < N_THREADS; ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, say_all, NULL), 0);
  for (size_t i = 0; i < N_THREADS; ++i)
    pthread_join (threads[i], NULL);
  ck_assert_uint_eq (n_first, N_TEXTS);
  said_free (shared);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("said");
  TCase *tcase = tcase_create ("said");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_add_test (tcase, once);
  tcase_add_test (tcase, bounded);
  tcase_add_test (tcase, one_thread_says_it);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
