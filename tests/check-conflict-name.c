/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the names of conflicted copies. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conflict-name.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))
#define MARK " (conflicted copy 2026-03-09 070501 vm1)"

static const struct tm when = { .tm_year = 126, .tm_mon = 2, .tm_mday = 9, .tm_hour = 7, .tm_min = 5, .tm_sec = 1 };

static const struct {
  const char *name;
  bool is_folder;
  const char *view;
  unsigned n;
  const char *expected;
} names[] = {
  { "a.txt", false, "vm1", 1, "a" MARK ".txt" },
  { "a.txt", false, "vm1/disk0", 1, "a" MARK ".txt" },
  { "a", false, "vm1", 1, "a" MARK },
  { ".bashrc", false, "vm1", 1, ".bashrc" MARK },
  { ".a.b", false, "vm1", 1, ".a" MARK ".b" },
  { "a.tar.gz", false, "vm1", 1, "a.tar" MARK ".gz" },
  { "a.", false, "vm1", 1, "a." MARK },
  { "a.b", true, "vm1", 1, "a.b" MARK },
  { "a" MARK ".txt", false, "vm1", 1, "a" MARK MARK ".txt" },
  { "a.txt", false, "vm1", 2, "a (conflicted copy 2026-03-09 070501 vm1 2).txt" },
  { "a.txt", false, "", 1, "a (conflicted copy 2026-03-09 070501).txt" },
  { "a.txt", false, NULL, 1, "a (conflicted copy 2026-03-09 070501).txt" },
  { "a.txt", false, "a:b\\c*?\"<>|\001d", 1, "a (conflicted copy 2026-03-09 070501 a_b_c_______d).txt" },
  { "a.a sentence that only looks like an extension", false, "vm1", 1,
    "a.a sentence that only looks like an extension" MARK },
};

START_TEST (names_are_right)
{
  char *name = conflict_name (names[_i].name, names[_i].is_folder, names[_i].view, &when, names[_i].n);

  ck_assert_str_eq (name, names[_i].expected);
  free (name);
}
END_TEST

/* Names of all lengths, of characters of one to four bytes: never too long, never half a character, and the end is
 * kept. */
START_TEST (names_are_short_enough)
{
  static const char *const characters[] = { "x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

  for (size_t c = 0; c < 4; ++c) {
    const size_t width = strlen (characters[c]);

    for (size_t length = 1; length * width + 4 <= 255; ++length) {
      char before[300] = "";
      char *name;
      size_t stem;

      for (size_t i = 0; i < length; ++i)
        strcat (before, characters[c]);
      strcat (before, ".ext");
      name = conflict_name (before, false, "a virtual machine with a name that is far too long for this", &when,
                            4000000000u);
      ck_assert_uint_le (strlen (name), CONFLICT_NAME_MAX);
      stem = strstr (name, " (conflicted copy ") - name;
      ck_assert_uint_eq (stem % width, 0);
      ck_assert_uint_gt (stem, 0);
      ck_assert_str_eq (name + strlen (name) - 4, ".ext");
      free (name);
    }
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("conflict-name");
  TCase *tcase = tcase_create ("conflict-name");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tcase, names_are_right, 0, N (names));
  tcase_add_test (tcase, names_are_short_enough);
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
