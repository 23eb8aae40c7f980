/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the limit of bytes a second, by a clock of its own. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "rate.h"

#define S UINT64_C (1000000)

/* What happens one after the other; each row may begin a new bucket. */
static const struct {
  const char *what;
  uint64_t limit;              /* set first, where it is not SAME */
  uint64_t at;                 /* microseconds */
  enum rate_rank rank;
  uint64_t wanted, allowed, taken, wait;
} rows[] = {
#define SAME UINT64_MAX
  { "no limit", 0, 0, RATE_NORMAL, 1 << 30, 1 << 30, 1 << 30, 0 },
  { "empty at first", 8000, 5 * S, RATE_NORMAL, 100, 0, 0, 125 },
  { "the same limit changes nothing", 8000, 5 * S + 125, RATE_NORMAL, 100, 1, 0, 0 },
  { "an eighth of a second's worth", SAME, 6 * S, RATE_NORMAL, 5000, 1000, 0, 0 },
  { "and never more", SAME, 3600 * S, RATE_NORMAL, 5000, 1000, 500, 0 },
  { "what is left", SAME, 3600 * S, RATE_NORMAL, 5000, 500, 0, 0 },
  { "half is for the urgent", SAME, 3600 * S, RATE_BEHIND, 5000, 0, 0, 125 },
  { "above half is for all", SAME, 3600 * S + 250, RATE_BEHIND, 5000, 502, 0, 0 },
  { "the urgent take it all", SAME, 3600 * S + 250, RATE_URGENT, 5000, 502, 502, 125 },
  { "empty", SAME, 3600 * S + 250, RATE_URGENT, 1, 0, 0, 125 },
  { "taken all the same is owed", SAME, 3600 * S + 250, RATE_NORMAL, 1, 0, 8000, 1000125 },
  { "for as long as it is worth", SAME, 3601 * S + 250, RATE_NORMAL, 1, 0, 0, 125 },
  { "then it goes on", SAME, 3601 * S + 375, RATE_NORMAL, 10, 1, 0, 0 },
  { "a clock that goes back", SAME, 3601 * S, RATE_NORMAL, 10, 1, 0, 0 },
  { "another limit begins anew", 16000, 3601 * S, RATE_NORMAL, 10, 0, 0, 63 },
  { "less than the least", 1, 3602 * S, RATE_NORMAL, 1000, 0, 0, 977 },
  { "is the least", SAME, 3610 * S, RATE_NORMAL, 1000, 128, 0, 0 },
  { "debts end after a minute", SAME, 3610 * S, RATE_NORMAL, 1, 1, UINT64_MAX, 60 * S + 977 },
  { "and are not made worse", SAME, 3610 * S, RATE_NORMAL, 1, 0, UINT64_MAX, 60 * S + 977 },
  { "the largest", UINT64_C (1) << 36, 3700 * S, RATE_NORMAL, 1, 0, 0, 1 },
  { "is full soon", SAME, UINT64_MAX / 2, RATE_NORMAL, UINT64_MAX, UINT64_C (1) << 33, UINT64_MAX, 60 * S + 1 },
  { "larger than that is none", UINT64_C (1) << 60, 0, RATE_BEHIND, UINT64_MAX, UINT64_MAX, UINT64_MAX, 0 },
};

START_TEST (table)
{
  struct rate rate = { 0 };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
    uint64_t allowed, wait;

    if (rows[i].limit != SAME)
      rate_set (&rate, rows[i].limit, rows[i].at);
    allowed = rate_allows (&rate, rows[i].rank, rows[i].wanted, rows[i].at);
    ck_assert_msg (allowed == rows[i].allowed, "%s: %llu", rows[i].what, (unsigned long long) allowed);
    rate_take (&rate, rows[i].taken, rows[i].at);
    wait = rate_wait (&rate, rows[i].rank, rows[i].at);
    ck_assert_msg (wait == rows[i].wait, "%s: wait %llu", rows[i].what, (unsigned long long) wait);
  }
}
END_TEST

/* Whoever takes pieces and waits as told moves at the rate, whatever the pieces; and what is behind gets what is left. */
START_TEST (in_the_long_run)
{
  static const uint64_t pieces[] = { 40, 700, 16384, 131072 };

  for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; ++i) {
    struct rate rate = { 0 };
    uint64_t now = 12345, moved = 0;

    rate_set (&rate, 1000000, now);
    while (moved < 20000000) {
      const uint64_t wait = rate_wait (&rate, RATE_NORMAL, now);
      uint64_t n;

      now += wait;
      n = rate_allows (&rate, RATE_NORMAL, pieces[i], now);
      ck_assert_uint_gt (n, 0);
      /* As libcurl brings bytes: all or nothing. */
      rate_take (&rate, pieces[i], now);
      moved += pieces[i];
    }
    now -= 12345;
    ck_assert_msg (now >= 19700000 && now <= 20300000, "pieces of %llu: %llu us", (unsigned long long) pieces[i],
                   (unsigned long long) now);
  }
}
END_TEST

START_TEST (urgent_first)
{
  struct rate rate = { 0 };
  uint64_t urgent = 0, behind = 0;

  rate_set (&rate, 1000000, 0);
  /* The urgent want more than there is, for ten seconds; then a third of it. */
  for (uint64_t now = 0; now < 20 * S; now += 1000) {
    uint64_t n = rate_allows (&rate, RATE_URGENT, now < 10 * S ? 5000 : 333, now);

    rate_take (&rate, n, now);
    urgent += n;
    n = rate_allows (&rate, RATE_BEHIND, 5000, now);
    rate_take (&rate, n, now);
    behind += n;
    if (now == 10 * S - 1000)
      ck_assert_uint_eq (behind, 0);
  }
  ck_assert_uint_ge (urgent, 13000000);
  ck_assert_uint_ge (behind, 6400000);
  ck_assert_uint_le (urgent + behind, 20125000);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("rate");
  TCase *tcase = tcase_create ("rate");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_add_test (tcase, table);
  tcase_add_test (tcase, in_the_long_run);
  tcase_add_test (tcase, urgent_first);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
