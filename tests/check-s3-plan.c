/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of S3 uploads: plans by hand, and properties of plans of random changes.  CLOUDSHARE_SEED repeats one run. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <check.h>

#include "s3-plan.h"

#define MiB (1ULL << 20)
#define GiB (1ULL << 30)
#define MOST_RANGES 300

/* "c0+5 s5+5": copied and sent parts in MiB; a byte more or less as "+1b". */
static const struct {
  uint64_t size;
  struct cloud_range ranges[4];
  size_t n;
  const char *want;
  uint64_t unchanged;
} table[] = {
  /* The 4 KiB in the middle, at the beginning and at the end. */
  { 256 * MiB, { { 100 * MiB, 4096 } }, 1, "c0+104857600 s104857600+5242880 c110100480+158334976", 5 * MiB - 4096 },
  { 256 * MiB, { { 0, 4096 } }, 1, "s0+5242880 c5242880+263192576", 5 * MiB - 4096 },
  { 256 * MiB, { { 256 * MiB - 4096, 4096 } }, 1, "c0+268431360 s268431360+4096", 0 },
  /* What is left of it at its beginning is too short to be copied. */
  { 256 * MiB, { { MiB, 4096 } }, 1, "s0+5242880 c5242880+263192576", 5 * MiB - 4096 },
  { 256 * MiB, { { 5 * MiB - 1, 1 } }, 1, "s0+5242880 c5242880+263192576", 5 * MiB - 1 },
  { 256 * MiB, { { 5 * MiB - 1, 2 } }, 1, "s0+5242881 c5242881+263192575", 5 * MiB - 1 },
  { 256 * MiB, { { 5 * MiB, 1 } }, 1, "c0+5242880 s5242880+5242880 c10485760+257949696", 5 * MiB - 1 },
  /* Short at the end: copied, or the last that is sent. */
  { 20 * MiB, { { 14 * MiB, 1 } }, 1, "c0+14680064 s14680064+5242880 c19922944+1048576", 5 * MiB - 1 },
  { 20 * MiB, { { 16 * MiB, 1 } }, 1, "c0+16777216 s16777216+4194304", 4 * MiB - 1 },
  /* Two changes: apart, too near, and within what is sent anyway. */
  { 64 * MiB, { { 10 * MiB, 1 }, { 20 * MiB, 1 } }, 2,
    "c0+10485760 s10485760+5242880 c15728640+5242880 s20971520+5242880 c26214400+40894464", 10 * MiB - 2 },
  { 64 * MiB, { { 10 * MiB, 1 }, { 20 * MiB - 1, 1 } }, 2, "c0+10485760 s10485760+10485760 c20971520+46137344",
    10 * MiB - 2 },
  { 64 * MiB, { { 10 * MiB, 1 }, { 12 * MiB, MiB } }, 2, "c0+10485760 s10485760+5242880 c15728640+51380224",
    4 * MiB - 1 },
  { 64 * MiB, { { 10 * MiB, 1 }, { 14 * MiB, 2 * MiB } }, 2, "c0+10485760 s10485760+6291456 c16777216+50331648",
    4 * MiB - 1 },
  /* It has grown, and it has been cut. */
  { 32 * MiB, { { 31 * MiB, MiB } }, 1, "c0+32505856 s32505856+1048576", 0 },
  { 32 * MiB, { { 0, 1 } }, 1, "s0+5242880 c5242880+28311552", 5 * MiB - 1 },
  /* Long runs go in steps; none of these is too short. */
  { 100 * MiB, { { 10 * MiB, 34 * MiB } }, 1, "c0+10485760 s10485760+16777216 s27262976+18874368 c46137344+58720256", 0 },
  { 4 * GiB, { { 2 * GiB + MiB, 1 } }, 1,
    "c0+1073741824 c1073741824+1074790400 s2148532224+5242880 c2153775104+1073741824 c3227516928+1067450368",
    5 * MiB - 1 },
  { 68000000, { { 0, 68000000 } }, 1, "s0+16777216 s16777216+16777216 s33554432+16777216 s50331648+16777216 s67108864+891136", 0 },
  { 3, { { 1, 1 } }, 1, "s0+3", 2 },
};

static void
text_of (const struct s3_plan *plan, char *text, size_t n)
{
  size_t at = 0;

  *text = '\0';
  for (size_t i = 0; i < plan->n && at < n; i++)
    at += snprintf (text + at, n - at, "%s%c%llu+%llu", i > 0 ? " " : "", plan->parts[i].copied ? 'c' : 's',
                    (unsigned long long) plan->parts[i].offset, (unsigned long long) plan->parts[i].length);
}

START_TEST (by_hand)
{
  struct s3_plan plan;
  char text[1000];

  ck_assert_int_eq (s3_plan_ranges (table[_i].size, table[_i].ranges, table[_i].n, &plan), S3_PLANNED);
  text_of (&plan, text, sizeof text);
  ck_assert_str_eq (text, table[_i].want);
  ck_assert_uint_eq (plan.unchanged, table[_i].unchanged);
  s3_plan_clear (&plan);
}
END_TEST

/* Adds up, and holds that what is called comes in order.  Plain conditions: an assertion costs a system call. */
struct counting {
  uint64_t at, sum;
};

#define HOLD(condition) do { if (!(condition)) ck_abort_msg ("line %d: %s", __LINE__, #condition); } while (0)

static bool
count (void *opaque, uint64_t offset, uint64_t length)
{
  struct counting *counting = opaque;

  HOLD (offset >= counting->at);
  HOLD (length > 0);
  counting->at = offset + length;
  counting->sum += length;
  return true;
}

static void
hold (uint64_t size, const struct cloud_range *ranges, size_t n, const struct s3_plan *plan)
{
  uint64_t at = 0, sent = 0, changed = 0;
  struct counting unchanged = { 0, 0 };
  size_t r = 0;

  HOLD (plan->n <= 10000);
  for (size_t i = 0; i < plan->n; i++) {
    const struct s3_part *part = &plan->parts[i];

    HOLD (part->offset == at);
    HOLD (part->length > 0);
    HOLD (part->length <= S3_LARGEST_PART);
    if (i + 1 < plan->n)
      HOLD (part->length >= S3_LEAST_PART);
    at += part->length;
    if (!part->copied) {
      sent += part->length;
      unchanged.at = part->offset;
      HOLD (s3_plan_unchanged (part, ranges, n, count, &unchanged));
      HOLD (unchanged.at <= at);
      continue;
    }
    /* Nothing that has changed is copied. */
    while (r < n && ranges[r].offset + ranges[r].length <= part->offset)
      r++;
    HOLD (r == n || ranges[r].offset >= at);
  }
  HOLD (at == size);
  HOLD (sent == plan->sent);
  for (size_t i = 0; i < n; i++)
    changed += ranges[i].length;
  HOLD (unchanged.sum == plan->unchanged);
  HOLD (sent == changed + plan->unchanged);
}

static uint64_t
number_below (uint64_t n)
{
  return n > 0 ? ((uint64_t) random () << 31 | random ()) % n : 0;
}

START_TEST (random_changes)
{
  const char *env = getenv ("CLOUDSHARE_SEED");
  const unsigned seed = env ? strtoul (env, NULL, 10) : (unsigned) time (NULL);

  srandom (seed);
  printf ("seed %u\n", seed);
  for (int round = 0; round < 3000; round++) {
    /* From a few bytes to terabytes, with changes of all sizes, next to each other and far apart. */
    const uint64_t size = 1 + number_below (1ULL << (1 + number_below (42)));
    const int most = 1 + number_below (MOST_RANGES), gap_bits = number_below (36), length_bits = number_below (36);
    struct cloud_range ranges[MOST_RANGES];
    struct s3_plan plan;
    uint64_t at = 0;
    size_t n = 0;

    for (int i = 0; i < most; i++) {
      uint64_t length = 1 + number_below (1ULL << length_bits);

      at += (i > 0) + number_below (1ULL << gap_bits);
      if (at >= size)
        break;
      if (length > size - at)
        length = size - at;
      ranges[n++] = (struct cloud_range) { at, length };
      at += length;
    }
    if (s3_plan_ranges (size, ranges, n, &plan) != S3_PLANNED)
      ck_abort_msg ("seed %u, round %d: no plan", seed, round);
    hold (size, ranges, n, &plan);
    /* With parts of the smallest size, widening has its bounds. */
    if (size < 40 * GiB)
      ck_assert_uint_le (plan.unchanged, n * 2 * S3_LEAST_PART);
    s3_plan_clear (&plan);
    ck_assert_int_eq (s3_plan_whole (size, round % 2, &plan), S3_PLANNED);
    hold (size, &(struct cloud_range) { 0, size }, round % 2 ? 0 : 1, &plan);
    ck_assert_uint_eq (plan.sent, round % 2 ? 0 : size);
    s3_plan_clear (&plan);
  }
}
END_TEST

/* A change in every 10 MiB of the largest object would be more parts than there may be. */
START_TEST (many_parts)
{
  const uint64_t size = 5ULL << 40;
  const size_t n = size / (16 * MiB);
  struct cloud_range *ranges = calloc (n, sizeof *ranges);
  struct s3_plan plan;

  ck_assert_ptr_nonnull (ranges);
  for (size_t i = 0; i < n; i++)
    ranges[i] = (struct cloud_range) { i * 16 * MiB, 4096 };
  ck_assert_int_eq (s3_plan_ranges (size, ranges, n, &plan), S3_PLANNED);
  hold (size, ranges, n, &plan);
  ck_assert (!s3_plan_pays (&plan, size, size, true));
  s3_plan_clear (&plan);
  free (ranges);
  ck_assert_int_eq (s3_plan_whole (1ULL << 60, true, &plan), S3_NO_PLAN);
  s3_plan_clear (&plan);
}
END_TEST

START_TEST (what_pays)
{
  static const struct {
    uint64_t size, base_size, sent, unchanged;
    bool has_whole, pays;
  } rows[] = {
    { 256 * MiB, 256 * MiB, 5 * MiB, 5 * MiB - 4096, true, true },
    { 256 * MiB, 256 * MiB, 5 * MiB, 5 * MiB - 4096, false, true },
    { 10 * MiB, 10 * MiB, 5 * MiB, 5 * MiB - 4096, true, false },
    { 256 * MiB, 5 * MiB, 5 * MiB, 0, true, false },
    { 11 * MiB, 11 * MiB, 5 * MiB, 5 * MiB - 4096, true, true },
    { 11 * MiB, 11 * MiB, 5 * MiB, 5 * MiB - 4096, false, false },
    { 100 * MiB, 100 * MiB, 80 * MiB, 0, true, false },
    { 100 * MiB, 100 * MiB, 70 * MiB, 0, true, true },
    { 100 * MiB, 100 * MiB, 50 * MiB, 40 * MiB, false, false },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct s3_plan plan = { .sent = rows[i].sent, .unchanged = rows[i].unchanged };

    ck_assert_msg (s3_plan_pays (&plan, rows[i].size, rows[i].base_size, rows[i].has_whole) == rows[i].pays,
                   "row %zu", i);
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("s3-plan");
  TCase *tcase = tcase_create ("plans");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 120);
  tcase_add_loop_test (tcase, by_hand, 0, sizeof table / sizeof table[0]);
  tcase_add_test (tcase, random_changes);
  tcase_add_test (tcase, many_parts);
  tcase_add_test (tcase, what_pays);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
