/* SPDX-License-Identifier: BSD-3-Clause */
/* Times as FAT and exFAT keep them.
 *
 * FAT: local time (that of the process: its TZ is set before threads start), steps of 2 s; a field of 10 ms steps
 * exists for the time of creation only (fatgen103, "Date and Time Formats").
 * exFAT: UTC, said so by a valid offset of 0 in the entry, 2 s and the 10 ms field (exFAT specification 7.4.8 to
 * 7.4.10).  Both reach from 1980 to the end of 2107; what lies outside becomes the nearest that can be said.
 *
 * Pure but for the time zone; safe from any thread.
 */

#ifndef CLOUDSHARE_FATTIME_H
#define CLOUDSHARE_FATTIME_H

#include <stdint.h>
#include <time.h>

#define EXFAT_OFFSET_UTC 0x80   /* valid, 0 quarters of an hour */

struct fattime {
  uint16_t date;      /* bits 0-4 day, 5-8 month, 9-15 years after 1980 */
  uint16_t time;      /* bits 0-4 seconds / 2, 5-10 minutes, 11-15 hours */
  uint8_t ten_ms;     /* 0 to 199, on top of time */
};

extern struct fattime fattime_local (const struct timespec *ts);
extern struct fattime fattime_utc (const struct timespec *ts);

/* The way back, for what guests wrote.  -1 without a message: the fields are no date and time (0 often stands for
 * "unknown").  An hour that the clock went through twice is taken as the C library takes it. */
extern int fattime_from_local (const struct fattime *ft, struct timespec *ret);

/* offset: the entry's UTC offset; without its valid bit the fields are local time (7.4.10.2). */
extern int fattime_from_exfat (const struct fattime *ft, uint8_t offset, struct timespec *ret);

/* exFAT's time stamp is both in one number. */
static inline uint32_t
fattime_stamp (const struct fattime *ft)
{
  return (uint32_t) ft->date << 16 | ft->time;
}

#endif /* CLOUDSHARE_FATTIME_H */
