/* SPDX-License-Identifier: BSD-3-Clause */
/* Times of FAT and exFAT, both ways: limits, leap days, daylight saving time. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "fattime.h"

#define DATE(y, m, d) (((y) - 1980) << 9 | (m) << 5 | (d))
#define TIME(h, m, s) ((h) << 11 | (m) << 5 | (s) / 2)

/* POSIX rules, so that no time zone database is needed. */
#define UTC "UTC0"
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEWFOUNDLAND "NST3:30NDT,M3.2.0,M11.1.0"

static void
set_zone (const char *zone)
{
  setenv ("TZ", zone, 1);
  tzset ();
}

static const struct {
  const char *what;
  const char *zone;
  struct timespec ts;
  struct fattime ft;
  bool back;               /* the way back gives ts, to 10 ms */
} times[] = {
  { "first moment", UTC, { 315532800, 0 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, true },
  { "just before", UTC, { 315532799, 999999999 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, false },
  { "unknown", UTC, { 0, 0 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, false },
  { "before 1970", UTC, { -1, 500000000 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, false },
  { "far past", UTC, { INT64_MIN, 0 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, false },
  { "last moment", UTC, { 4354819199, 990000000 }, { DATE (2107, 12, 31), TIME (23, 59, 58), 199 }, true },
  { "just after", UTC, { 4354819200, 0 }, { DATE (2107, 12, 31), TIME (23, 59, 58), 199 }, false },
  { "far future", UTC, { INT64_MAX, 0 }, { DATE (2107, 12, 31), TIME (23, 59, 58), 199 }, false },
  { "even second", UTC, { 1000000000, 0 }, { DATE (2001, 9, 9), TIME (1, 46, 40), 0 }, true },
  { "odd second", UTC, { 1000000001, 0 }, { DATE (2001, 9, 9), TIME (1, 46, 40), 100 }, true },
  { "hundredths", UTC, { 1000000001, 230000000 }, { DATE (2001, 9, 9), TIME (1, 46, 40), 123 }, true },
  { "less than a hundredth", UTC, { 1000000000, 9999999 }, { DATE (2001, 9, 9), TIME (1, 46, 40), 0 }, false },
  { "leap day", UTC, { 951782400, 0 }, { DATE (2000, 2, 29), TIME (0, 0, 0), 0 }, true },
  { "leap day 2024", UTC, { 1709251198, 0 }, { DATE (2024, 2, 29), TIME (23, 59, 58), 0 }, true },
  { "after a leap day", UTC, { 951868800, 0 }, { DATE (2000, 3, 1), TIME (0, 0, 0), 0 }, true },
  { "2100 is no leap year", UTC, { 4107542400, 0 }, { DATE (2100, 3, 1), TIME (0, 0, 0), 0 }, true },
  { "past 2038", UTC, { 2147483648, 0 }, { DATE (2038, 1, 19), TIME (3, 14, 8), 0 }, true },
  { "winter", BERLIN, { 1704106800, 0 }, { DATE (2024, 1, 1), TIME (12, 0, 0), 0 }, true },
  { "summer", BERLIN, { 1719828000, 0 }, { DATE (2024, 7, 1), TIME (12, 0, 0), 0 }, true },
  { "last second of winter time", BERLIN, { 1711846798, 0 }, { DATE (2024, 3, 31), TIME (1, 59, 58), 0 }, true },
  { "first of summer time", BERLIN, { 1711846800, 0 }, { DATE (2024, 3, 31), TIME (3, 0, 0), 0 }, true },
  { "before the hour that comes twice", BERLIN, { 1729987198, 0 }, { DATE (2024, 10, 27), TIME (1, 59, 58), 0 }, true },
  { "that hour, first time", BERLIN, { 1729989000, 0 }, { DATE (2024, 10, 27), TIME (2, 30, 0), 0 }, false },
  { "that hour, second time", BERLIN, { 1729992600, 0 }, { DATE (2024, 10, 27), TIME (2, 30, 0), 0 }, false },
  { "after it", BERLIN, { 1729994400, 0 }, { DATE (2024, 10, 27), TIME (3, 0, 0), 0 }, true },
  { "1980 there, 1979 here", BERLIN, { 315529200, 0 }, { DATE (1980, 1, 1), TIME (0, 0, 0), 0 }, true },
  { "half an hour, a day off", NEWFOUNDLAND, { 1704078000, 0 }, { DATE (2023, 12, 31), TIME (23, 30, 0), 0 }, true },
};

START_TEST (test_local)
{
  struct fattime ft;
  struct timespec ts;

  set_zone (times[_i].zone);
  ft = fattime_local (&times[_i].ts);
  ck_assert_uint_eq (ft.date, times[_i].ft.date);
  ck_assert_uint_eq (ft.time, times[_i].ft.time);
  ck_assert_uint_eq (ft.ten_ms, times[_i].ft.ten_ms);

  ck_assert_int_eq (fattime_from_local (&ft, &ts), 0);
  if (times[_i].back) {
    ck_assert_int_eq (ts.tv_sec, times[_i].ts.tv_sec);
    ck_assert_int_eq (ts.tv_nsec, times[_i].ts.tv_nsec);
  }
}
END_TEST

/* exFAT says the same wherever it is. */
START_TEST (test_utc)
{
  struct fattime ft;
  struct timespec ts;

  if (times[_i].zone[0] != 'U')
    return;
  set_zone (NEWFOUNDLAND);
  ft = fattime_utc (&times[_i].ts);
  ck_assert_uint_eq (fattime_stamp (&ft), (uint32_t) times[_i].ft.date << 16 | times[_i].ft.time);
  ck_assert_uint_eq (ft.ten_ms, times[_i].ft.ten_ms);

  ck_assert_int_eq (fattime_from_exfat (&ft, EXFAT_OFFSET_UTC, &ts), 0);
  if (times[_i].back) {
    ck_assert_int_eq (ts.tv_sec, times[_i].ts.tv_sec);
    ck_assert_int_eq (ts.tv_nsec, times[_i].ts.tv_nsec);
  }
}
END_TEST

static const struct {
  uint8_t offset;
  int64_t seconds;         /* noon of 1 January 2024 */
} offsets[] = {
  { 0x80, 1704110400 },
  { 0x84, 1704110400 - 3600 },
  { 0xb8, 1704110400 - 14 * 3600 },
  { 0xfc, 1704110400 + 3600 },
  { 0xd0, 1704110400 + 12 * 3600 },
  { 0xff, 1704110400 + 900 },
  { 0x00, 1704110400 + 12600 },   /* not valid: local time */
  { 0x04, 1704110400 + 12600 },
};

START_TEST (test_offsets)
{
  const struct fattime noon = { DATE (2024, 1, 1), TIME (12, 0, 0), 0 };
  struct timespec ts;

  set_zone (NEWFOUNDLAND);
  ck_assert_int_eq (fattime_from_exfat (&noon, offsets[_i].offset, &ts), 0);
  ck_assert_int_eq (ts.tv_sec, offsets[_i].seconds);
}
END_TEST

/* What guests write is not always a time. */
static const struct fattime invalid[] = {
  { 0, 0, 0 },
  { DATE (2024, 0, 1), 0, 0 },
  { DATE (2024, 13, 1), 0, 0 },
  { DATE (2024, 15, 1), 0, 0 },
  { DATE (2024, 1, 0), 0, 0 },
  { DATE (2023, 2, 29), 0, 0 },
  { DATE (2100, 2, 29), 0, 0 },
  { DATE (2024, 2, 30), 0, 0 },
  { DATE (2024, 4, 31), 0, 0 },
  { DATE (2024, 1, 1), TIME (24, 0, 0), 0 },
  { DATE (2024, 1, 1), TIME (23, 60, 0), 0 },
  { DATE (2024, 1, 1), TIME (23, 59, 60), 0 },
  { DATE (2024, 1, 1), 0, 200 },
  { 0xffff, 0xffff, 0xff },
};

START_TEST (test_invalid)
{
  struct timespec ts = { 42, 42 };

  ck_assert_int_eq (fattime_from_local (&invalid[_i], &ts), -1);
  ck_assert_int_eq (fattime_from_exfat (&invalid[_i], EXFAT_OFFSET_UTC, &ts), -1);
  ck_assert_int_eq (ts.tv_sec, 42);
}
END_TEST

/* Every day that FAT knows, and only those, is a day, and comes back the same. */
START_TEST (test_every_date)
{
  int days = 0;

  set_zone (UTC);
  for (unsigned date = 0; date < 65536; date++) {
    const struct fattime ft = { date, TIME (12, 34, 56), 77 };
    struct timespec ts;

    if (fattime_from_local (&ft, &ts) == -1)
      continue;
    days++;

    const struct fattime again = fattime_local (&ts);

    ck_assert_uint_eq (again.date, date);
    ck_assert_uint_eq (again.time, ft.time);
    ck_assert_uint_eq (again.ten_ms, 77);
  }
  ck_assert_int_eq (days, 128 * 365 + 31);   /* 1980, 1984 .. 2104 without 2100 */
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("fattime");
  TCase *tc = tcase_create ("fattime");
  SRunner *runner;
  int failed;

  LOOP (tc, test_local, times);
  LOOP (tc, test_utc, times);
  LOOP (tc, test_offsets, offsets);
  LOOP (tc, test_invalid, invalid);
  tcase_add_test (tc, test_every_date);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
