/* SPDX-License-Identifier: BSD-3-Clause */
/* Times as FAT and exFAT keep them. */

#include <config.h>

#include <stdbool.h>

#include "fattime.h"

static struct fattime
fattime_pack (const struct tm *tm, long nsec)
{
  /* tm_year counts from 1900. */
  if (tm->tm_year < 80)
    return (struct fattime) { .date = 1 << 5 | 1 };
  if (tm->tm_year > 207)
    return (struct fattime) { .date = 127 << 9 | 12 << 5 | 31, .time = 23 << 11 | 59 << 5 | 29, .ten_ms = 199 };

  const int second = tm->tm_sec > 59 ? 59 : tm->tm_sec;   /* a leap second has no name here */

  return (struct fattime) {
    .date = (tm->tm_year - 80) << 9 | (tm->tm_mon + 1) << 5 | tm->tm_mday,
    .time = tm->tm_hour << 11 | tm->tm_min << 5 | second / 2,
    .ten_ms = second % 2 * 100 + nsec / 10000000,
  };
}

/* A year that does not even fit struct tm is far on one side of what FAT knows. */
static struct fattime
fattime_clamp (const struct tm *tm, const struct timespec *ts)
{
  const struct tm far = { .tm_year = ts->tv_sec < 0 ? 0 : 300 };

  return fattime_pack (tm ? tm : &far, ts->tv_nsec);
}

struct fattime
fattime_local (const struct timespec *ts)
{
  struct tm tm;

  return fattime_clamp (localtime_r (&ts->tv_sec, &tm), ts);
}

struct fattime
fattime_utc (const struct timespec *ts)
{
  struct tm tm;

  return fattime_clamp (gmtime_r (&ts->tv_sec, &tm), ts);
}

static int
days_of_month (int month, int year)
{
  static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

  return days[month] + (month == 1 && leap);
}

static int
fattime_unpack (const struct fattime *ft, struct tm *ret)
{
  struct tm tm = {
    .tm_year = 80 + (ft->date >> 9),
    .tm_mon = (ft->date >> 5 & 15) - 1,
    .tm_mday = ft->date & 31,
    .tm_hour = ft->time >> 11,
    .tm_min = ft->time >> 5 & 63,
    .tm_sec = (ft->time & 31) * 2 + ft->ten_ms / 100,
    .tm_isdst = -1,
  };

  if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
      tm.tm_mday > days_of_month (tm.tm_mon, 1900 + tm.tm_year) || tm.tm_hour > 23 || tm.tm_min > 59 ||
      (ft->time & 31) > 29 || ft->ten_ms > 199)
    return -1;
  *ret = tm;
  return 0;
}

int
fattime_from_local (const struct fattime *ft, struct timespec *ret)
{
  struct tm tm;

  if (fattime_unpack (ft, &tm) == -1)
    return -1;
  *ret = (struct timespec) { .tv_sec = mktime (&tm), .tv_nsec = ft->ten_ms % 100 * 10000000l };
  return 0;
}

int
fattime_from_exfat (const struct fattime *ft, uint8_t offset, struct timespec *ret)
{
  struct tm tm;

  if (!(offset & 0x80))
    return fattime_from_local (ft, ret);
  if (fattime_unpack (ft, &tm) == -1)
    return -1;

  /* 7.4.10.1: seven bits, two's complement, quarters of an hour that local time is ahead of UTC. */
  const int quarters = (offset & 0x7f) - (offset & 0x40 ? 0x80 : 0);

  *ret = (struct timespec) { .tv_sec = timegm (&tm) - quarters * 15 * 60, .tv_nsec = ft->ten_ms % 100 * 10000000l };
  return 0;
}
