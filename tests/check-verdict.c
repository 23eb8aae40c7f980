/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the verdicts, and what push plans: all cases of the tables. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "push-plan.h"
#include "verdict.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

/* base, mine, theirs; who changed; the same bytes */
static const struct {
  struct verdict_case c;
  enum verdict verdict;
} contents[] = {
  /* nobody changed */
  { { 1, 1, 1, 0, 0, SAME_UNKNOWN }, VERDICT_NONE },
  { { 1, 1, 1, 0, 0, SAME_YES }, VERDICT_NONE },
  { { 0, 0, 0, 0, 0, SAME_UNKNOWN }, VERDICT_NONE },
  { { 1, 0, 0, 0, 0, SAME_UNKNOWN }, VERDICT_NONE },
  /* one side */
  { { 1, 1, 1, 1, 0, SAME_UNKNOWN }, VERDICT_KEEP },
  { { 1, 1, 1, 1, 0, SAME_NO }, VERDICT_KEEP },
  { { 1, 1, 1, 0, 1, SAME_UNKNOWN }, VERDICT_TAKE },
  { { 1, 1, 1, 0, 1, SAME_NO }, VERDICT_TAKE },
  /* both sides */
  { { 1, 1, 1, 1, 1, SAME_YES }, VERDICT_SAME },
  { { 1, 1, 1, 1, 1, SAME_NO }, VERDICT_CONFLICT },
  { { 1, 1, 1, 1, 1, SAME_UNKNOWN }, VERDICT_COMPARE },
  /* new */
  { { 0, 1, 0, 0, 0, SAME_UNKNOWN }, VERDICT_KEEP },
  { { 0, 0, 1, 0, 0, SAME_UNKNOWN }, VERDICT_TAKE },
  { { 0, 1, 1, 0, 0, SAME_YES }, VERDICT_SAME },
  { { 0, 1, 1, 0, 0, SAME_NO }, VERDICT_CONFLICT },
  { { 0, 1, 1, 0, 0, SAME_UNKNOWN }, VERDICT_COMPARE },
  /* removed */
  { { 1, 0, 1, 0, 0, SAME_UNKNOWN }, VERDICT_KEEP },
  { { 1, 0, 1, 0, 1, SAME_UNKNOWN }, VERDICT_RESTORE },
  { { 1, 1, 0, 0, 0, SAME_UNKNOWN }, VERDICT_DROP },
  { { 1, 1, 0, 1, 0, SAME_UNKNOWN }, VERDICT_ANEW },
};

START_TEST (content)
{
  ck_assert_int_eq (verdict_content (&contents[_i].c), contents[_i].verdict);
}
END_TEST

/* No case may lose what somebody wrote: whatever the input, mine is only given up if it was not changed. */
START_TEST (no_verdict_loses_an_edit)
{
  for (unsigned bits = 0; bits < 32; ++bits) {
    for (enum verdict_same same = SAME_UNKNOWN; same <= SAME_NO; ++same) {
      const struct verdict_case c = { bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 4 & 1, same };
      const enum verdict verdict = verdict_content (&c);
      const bool only_mine = c.mine && (!c.base || c.mine_changed) && same != SAME_YES;

      if (only_mine)
        ck_assert (verdict != VERDICT_TAKE && verdict != VERDICT_DROP && verdict != VERDICT_RESTORE);
      /* And theirs is only overwritten if it is what we knew. */
      if (verdict == VERDICT_KEEP && c.theirs)
        ck_assert (c.base && !c.theirs_changed);
    }
  }
}
END_TEST

START_TEST (place)
{
  ck_assert_int_eq (verdict_place (false, false, false), VERDICT_NONE);
  ck_assert_int_eq (verdict_place (true, false, false), VERDICT_KEEP);
  ck_assert_int_eq (verdict_place (false, true, false), VERDICT_TAKE);
  ck_assert_int_eq (verdict_place (true, true, false), VERDICT_TAKE);
  ck_assert_int_eq (verdict_place (true, true, true), VERDICT_SAME);
}
END_TEST

static const struct {
  uint64_t size_a, size_b;
  const char *a, *b;
  enum verdict_same same;
} bytes[] = {
  { 5, 6, NULL, NULL, SAME_NO },
  { 5, 6, "SHA1:aa", "SHA1:aa", SAME_NO },
  { 0, 0, NULL, NULL, SAME_YES },
  { 5, 5, NULL, NULL, SAME_UNKNOWN },
  { 5, 5, "SHA1:aa", NULL, SAME_UNKNOWN },
  { 5, 5, "SHA1:aa", "SHA1:AA", SAME_YES },
  { 5, 5, "SHA1:aa", "sha1:ab", SAME_NO },
  { 5, 5, "SHA1:aa", "SHA1:aab", SAME_NO },
  { 5, 5, "SHA1:aa", "MD5:aa", SAME_UNKNOWN },
  { 5, 5, "SHA1:aa SHA256:bb", "SHA256:bb", SAME_YES },
  { 5, 5, "SHA1:aa SHA256:bb", "SHA256:cc", SAME_NO },
  { 5, 5, "SHA256:bb", "SHA1:aa SHA256:bb", SAME_YES },
  { 5, 5, "ADLER32:aa", "ADLER32:aa", SAME_UNKNOWN },
  { 5, 5, "", "SHA1:aa", SAME_UNKNOWN },
  { 5, 5, "SHA1:", "SHA1:", SAME_UNKNOWN },
};

START_TEST (same_bytes)
{
  ck_assert_int_eq (verdict_same_bytes (bytes[_i].size_a, bytes[_i].a, bytes[_i].size_b, bytes[_i].b), bytes[_i].same);
}
END_TEST

/* ---- plans ---- */

#define S INT64_C (1000000000)

static const struct {
  bool is_folder;
  struct push_side local, base;
  enum push_step step;
  const char *what;
} plans[] = {
  { false, { 1, 1, "f", 3, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_NOTHING, "time" },
  { false, { 1, 1, "f", 3, 5 * S }, { 0 }, PUSH_PUT, "new file" },
  { true, { 1, 1, "d", 0, 5 * S }, { 0 }, PUSH_MKDIR, "new folder" },
  { false, { 0, 1, "f", 3, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_REMOVE, "removed" },
  { false, { 0, 1, "f", 4, 5 * S }, { 1, 2, "g", 3, 5 * S }, PUSH_REMOVE, "removed" },
  { false, { 0, 1, "f", 4, 5 * S }, { 0 }, PUSH_FORGET, "removed" },
  { true, { 0, 1, "d", 0, 5 * S }, { 1, 1, "d", 0, 5 * S }, PUSH_REMOVE, "removed" },
  { false, { 1, 2, "f", 3, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_MOVE, "moved" },
  { false, { 1, 1, "F", 3, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_MOVE, "moved" },
  { false, { 1, 1, "F", 4, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_MOVE, "moved and changed" },
  { false, { 1, 1, "f", 4, 5 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_PUT, "changed" },
  { false, { 1, 1, "f", 3, 9 * S }, { 1, 1, "f", 3, 5 * S }, PUSH_TOUCH, "time" },
  { false, { 1, 1, "f", 3, 5 * S + 1 }, { 1, 1, "f", 3, 5 * S }, PUSH_NOTHING, "time" },
  { false, { 1, 1, "f", 3, 0 }, { 1, 1, "f", 3, 5 * S }, PUSH_NOTHING, "time" },
  { true, { 1, 1, "d", 0, 9 * S }, { 1, 1, "d", 0, 5 * S }, PUSH_NOTHING, "time" },
  { true, { 1, 7, "d", 0, 9 * S }, { 1, 1, "d", 0, 5 * S }, PUSH_MOVE, "moved" },
};

START_TEST (plan)
{
  ck_assert_int_eq (push_plan (plans[_i].is_folder, &plans[_i].local, &plans[_i].base), plans[_i].step);
  ck_assert_str_eq (push_what (plans[_i].is_folder, &plans[_i].local, &plans[_i].base), plans[_i].what);
}
END_TEST

START_TEST (pauses_grow_and_end)
{
  for (enum cloud_result result = CLOUD_GONE; result <= CLOUD_STOPPED; ++result) {
    unsigned before = 0;

    for (unsigned attempts = 0; attempts < 1000; ++attempts) {
      const unsigned pause = push_pause (result, attempts);

      ck_assert_uint_ge (pause, before);
      ck_assert_uint_le (pause, PUSH_PAUSE_MAX);
      before = pause;
    }
    /* No failure is asked for again and again without a pause. */
    ck_assert_uint_gt (before, 0);
  }
  ck_assert_uint_le (push_pause (CLOUD_DENIED, 1000), 3600);
  ck_assert_uint_le (push_pause (CLOUD_BUSY, 1), 5);
  ck_assert_uint_eq (push_pause (CLOUD_REFUSED, 1), PUSH_PAUSE_MAX);
  ck_assert_uint_eq (push_pause (CLOUD_OFFLINE, 1), 0);
}
END_TEST

/* now, changed, quiet, tried, next try; when */
static const struct {
  int64_t now, changed, quiet, tried, next_try, when;
} dues[] = {
  { 100, 90, 5, 0, 0, 0 },
  { 100, 100, 0, 0, 0, 0 },
  { 100, 98, 5, 0, 0, 104 },
  { 104, 98, 5, 0, 0, 0 },
  { 100, 90, 5, 95, 120, 120 },
  { 120, 90, 5, 95, 120, 0 },
  { 100, 98, 5, 95, 120, 120 },
  /* the clock was set back */
  { 100, 500, 5, 0, 0, 0 },
  { 100, 90, 5, 500, 525, 0 },
  /* and to the year 2100 in between */
  { 100, 90, 5, 95, 4102444800, 0 },
};

START_TEST (due)
{
  int64_t when = -1;
  const bool is_due = push_is_due (dues[_i].now, dues[_i].changed, dues[_i].quiet, dues[_i].tried, dues[_i].next_try,
                                   &when);

  ck_assert_int_eq (when, dues[_i].when);
  ck_assert_int_eq (is_due, dues[_i].when == 0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("verdict");
  TCase *tcase = tcase_create ("verdict");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tcase, content, 0, N (contents));
  tcase_add_test (tcase, no_verdict_loses_an_edit);
  tcase_add_test (tcase, place);
  tcase_add_loop_test (tcase, same_bytes, 0, N (bytes));
  tcase_add_loop_test (tcase, plan, 0, N (plans));
  tcase_add_test (tcase, pauses_grow_and_end);
  tcase_add_loop_test (tcase, due, 0, N (dues));
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
