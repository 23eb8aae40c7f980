/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of ranges, beside an array that has one element for each byte. */

#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ranges.h"

#define BYTES 200

/* What ck_assert does, for what is looked at a million times: that writes down each place that it passes. */
#define MUST(condition)                                                \
  do {                                                                 \
    if (!(condition))                                                  \
      ck_abort_msg ("not so: %s", #condition);                         \
  } while (0)

static uint64_t seed;

static unsigned
below (unsigned n)
{
  seed = seed * UINT64_C (6364136223846793005) + 1442695040888963407;
  return (seed >> 33) % n;
}

static void
must_be (const struct ranges *set, const bool *model)
{
  uint64_t bytes = 0;

  for (size_t i = 0; i < set->n; ++i) {
    MUST (set->list[i].length > 0);
    if (i > 0)
      MUST (set->list[i].offset > set->list[i - 1].offset + set->list[i - 1].length);
  }
  for (unsigned at = 0; at < BYTES; ++at) {
    bool inside;
    const uint64_t run = ranges_run (set, BYTES - at, at, &inside);

    MUST (inside == model[at]);
    for (unsigned i = 0; i < run; ++i)
      MUST (model[at + i] == model[at]);
    MUST (at + run == BYTES || model[at + run] != model[at]);
    bytes += model[at];
  }
  ck_assert_uint_eq (ranges_bytes (set), bytes);
}

START_TEST (as_the_model)
{
  struct ranges set = { 0 }, other = { 0 };
  bool model[BYTES] = { false };

  seed = _i;
  for (unsigned i = 0; i < 40; ++i) {
    const unsigned offset = below (BYTES), length = below (below (2) ? 5 : 60), cut = below (BYTES);
    const unsigned n = offset + length > BYTES ? BYTES - offset : length;
    unsigned inside = 0;

    switch (below (8)) {
    case 0:
      ranges_cut (&set, cut);
      memset (model + cut, 0, BYTES - cut);
      break;
    case 1:
      ck_assert_int_eq (ranges_add (&other, offset, n), 0);
      ck_assert_int_eq (ranges_add_all (&set, &other), 0);
      for (size_t k = 0; k < other.n; ++k)
        memset (model + other.list[k].offset, 1, other.list[k].length);
      break;
    default:
      ck_assert_int_eq (ranges_add (&set, offset, n), 0);
      memset (model + offset, 1, n);
    }
    must_be (&set, model);
    for (unsigned k = 0; k < n; ++k)
      inside += model[offset + k];
    ck_assert_uint_eq (ranges_bytes_in (&set, offset, n), inside);
  }
  ranges_free (&set);
  ranges_free (&other);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("ranges");
  TCase *tcase = tcase_create ("ranges");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tcase, as_the_model, 1, 300);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
