/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests checksums in the form that remotes give. */

#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"

/* RFC 1321, A.5; RFC 3174, 7.3; FIPS 180-2, appendix B; and of no bytes at all. */
static const struct {
  const char *expected;
  const char *text;
  unsigned times;              /* the text comes so often */
  bool right;
} sums[] = {
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d", "abc", 1, true },
  { "SHA1:84983e441c3bd26ebaae4aa1f95129e5e54670f1",
    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, true },
  { "SHA1:34aa973cd4c4daa4f61eeb2bdbad27316534016f", "aaaaaaaaaa", 100000, true },
  { "SHA1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "", 0, true },
  { "MD5:900150983cd24fb0d6963f7d28e17f72", "abc", 1, true },
  { "MD5:d41d8cd98f00b204e9800998ecf8427e", "", 0, true },
  { "MD5:57edf4a22be3c955ac49da2e2107b67a", "1234567890", 8, true },
  { "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc", 1, true },
  { "SHA256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", "aaaaaaaaaa", 100000, true },
  /* In any case. */
  { "sha1:A9993E364706816ABA3E25717850C26C9CD0D89D", "abc", 1, true },
  { "md5:900150983CD24FB0D6963f7d28e17f72", "abc", 1, true },

  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89e", "abc", 1, false },
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d", "abd", 1, false },
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d", "abc", 2, false },
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d", "", 0, false },
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89", "abc", 1, false },
  { "SHA1:a9993e364706816aba3e25717850c26c9cd0d89d0", "abc", 1, false },
  { "SHA1:", "abc", 1, false },
  { "SHA1:", "", 0, false },
  { "SHA1:900150983cd24fb0d6963f7d28e17f72", "abc", 1, false },
  { "MD5:a9993e364706816aba3e25717850c26c9cd0d89d", "abc", 1, false },
  { "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc", 1, false },
};

START_TEST (known_sums)
{
  struct checksum *checksum = checksum_new (sums[_i].expected);

  ck_assert_ptr_nonnull (checksum);
  for (unsigned i = 0; i < sums[_i].times; ++i)
    checksum_add (checksum, sums[_i].text, strlen (sums[_i].text));
  ck_assert_int_eq (checksum_matches (checksum), sums[_i].right);
  checksum_free (checksum);
}
END_TEST

START_TEST (pieces_do_not_matter)
{
  for (size_t cut = 0; cut <= 3; ++cut) {
    struct checksum *checksum = checksum_new ("MD5:900150983cd24fb0d6963f7d28e17f72");

    checksum_add (checksum, "abc", cut);
    checksum_add (checksum, "abc" + cut, 3 - cut);
    ck_assert (checksum_matches (checksum));
    checksum_free (checksum);
  }
}
END_TEST

static const char *const unknown[] = {
  NULL, "", "ADLER32:024d0127", "SHA1", "SHA3-256:00", "SHA512:00", ":", "900150983cd24f",
};

START_TEST (unknown_kinds)
{
  ck_assert_ptr_null (checksum_new (unknown[_i]));
}
END_TEST

START_TEST (free_takes_null)
{
  checksum_free (NULL);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("checksum");
  TCase *tcase = tcase_create ("checksum");
  SRunner *runner = srunner_create (suite);
  int n_failed;

  tcase_add_loop_test (tcase, known_sums, 0, sizeof sums / sizeof sums[0]);
  tcase_add_test (tcase, pieces_do_not_matter);
  tcase_add_loop_test (tcase, unknown_kinds, 0, sizeof unknown / sizeof unknown[0]);
  tcase_add_test (tcase, free_takes_null);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
