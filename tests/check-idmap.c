/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the hash from ids to indexes. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "idmap.h"

START_TEST (empty)
{
  struct idmap map = { 0 };

  ck_assert_uint_eq (idmap_get (&map, 1), IDMAP_NONE);
  ck_assert_uint_eq (idmap_get (&map, INT64_MAX), IDMAP_NONE);
  idmap_free (&map);
}
END_TEST

START_TEST (replaces)
{
  struct idmap map = { 0 };

  ck_assert_int_eq (idmap_put (&map, 7, 1), 0);
  ck_assert_int_eq (idmap_put (&map, 7, 2), 0);
  ck_assert_uint_eq (idmap_get (&map, 7), 2);
  ck_assert_uint_eq (map.n, 1);
  ck_assert_uint_eq (idmap_get (&map, 8), IDMAP_NONE);
  idmap_free (&map);
}
END_TEST

/* Ids as the catalog gives them, and such that meet in few slots. */
static const struct {
  int64_t first, step;
} series[] = { { 1, 1 }, { 1, 1 << 20 }, { 1000, 64 }, { INT64_MAX, -3 }, { 1, INT64_C (1) << 44 } };

#define N_IDS 5000

START_TEST (many)
{
  struct idmap map = { 0 };

  for (int64_t i = 0; i < N_IDS; ++i) {
    const int64_t id = series[_i].first + i * series[_i].step;

    ck_assert_uint_eq (idmap_get (&map, id), IDMAP_NONE);
    ck_assert_int_eq (idmap_put (&map, id, i * 3), 0);
  }
  ck_assert_uint_eq (map.n, N_IDS);
  ck_assert_uint_gt (map.room, N_IDS);
  for (int64_t i = 0; i < N_IDS; ++i)
    ck_assert_uint_eq (idmap_get (&map, series[_i].first + i * series[_i].step), i * 3);
  idmap_free (&map);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("idmap");
  TCase *tcase = tcase_create ("idmap");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_add_test (tcase, empty);
  tcase_add_test (tcase, replaces);
  tcase_add_loop_test (tcase, many, 0, sizeof series / sizeof series[0]);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
