/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the recorded traces and their player: recordings can be read and are what they say, and the player complains when an
 * interpreter does what it must not. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "replay.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

static const char *const names[] = {
  "6.1-fat32-sync", "6.1-fat32-busy", "6.1-fat32-idle", "6.1-exfat-sync", "6.1-exfat-busy", "6.1-exfat-idle",
  "6.12-fat32-sync", "6.12-fat32-busy", "6.12-fat32-idle", "6.12-exfat-sync", "6.12-exfat-busy", "6.12-exfat-idle",
};

static struct trace_file *
open_traces (int i)
{
  const char *dir = getenv ("abs_top_srcdir");
  char path[4096];

  snprintf (path, sizeof path, "%s/tests/traces/%s.xz", dir ? dir : ".", names[i]);
  return trace_open (path);
}

/* ---- the disk before ---- */

static uint32_t
le32 (const uint8_t *p)
{
  return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t) p[3] << 24;
}

/* Every file's bytes are where its first cluster is said to be. */
START_TEST (test_base)
{
  struct trace_file *file = open_traces (_i);
  const bool exfat = strcmp (file->fs, "exfat") == 0;
  uint8_t sector[512];
  uint64_t volume, heap, cluster;

  trace_base_read (file, sector, sizeof sector, 0);
  ck_assert_uint_eq (le32 (sector + 440), file->signature);
  volume = (uint64_t) le32 (sector + 454) * 512;
  trace_base_read (file, sector, sizeof sector, volume);
  ck_assert_uint_eq (le32 (sector + (exfat ? 100 : 67)), file->serial);
  if (exfat) {
    cluster = 512u << sector[109];
    heap = volume + (uint64_t) le32 (sector + 88) * 512;
  }
  else {
    cluster = 512u * sector[13];
    heap = volume + ((sector[14] | sector[15] << 8) + 2 * (uint64_t) le32 (sector + 36)) * 512;
  }
  ck_assert_uint_gt (file->n_items, 80);
  for (size_t i = 0; i < file->n_items; i++) {
    const struct trace_item *item = &file->items[i];
    unsigned char digest[SHA_DIGEST_LENGTH];
    char hex[41] = "", *bytes = malloc (item->size + 1);

    if (!item->is_folder) {
      trace_base_read (file, bytes, item->size, heap + (item->first - 2) * cluster);
      SHA1 ((unsigned char *) bytes, item->size, digest);
      for (int j = 0; j < SHA_DIGEST_LENGTH; j++)
        sprintf (hex + 2 * j, "%02x", digest[j]);
      ck_assert_msg (strcmp (hex, item->sha1) == 0, "%s: %s is not there", names[_i], item->path);
    }
    free (bytes);
  }
  trace_close (file);
}
END_TEST

/* ---- targets that are right or wrong in a known way ---- */

struct fake {
  const struct trace_file *file;
  const struct trace *trace;
  uint64_t ms, writes, bytes;
  bool becomes_final;          /* once the guest did its work */
  const char *missing;         /* this one is never there */
  const char *added;           /* and this one always */
  uint64_t seen;               /* of all data, in any order */
};

static void
fake_begin (void *opaque, const struct trace_file *file, const struct trace *trace)
{
  struct fake *fake = opaque;

  fake->file = file;
  fake->trace = trace;
  fake->ms = fake->writes = fake->bytes = fake->seen = 0;
}

static void
fake_end (void *opaque)
{
}

static void
fake_write (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct fake *fake = opaque;
  const uint8_t *p = buf;
  uint64_t sum = offset;

  fake->writes++;
  fake->bytes += n;
  for (size_t i = 0; i < n; i++)
    sum = sum * 31 + p[i];
  fake->seen += sum;
}

static void
fake_range (void *opaque, uint64_t n, uint64_t offset)
{
}

static void
fake_flush (void *opaque)
{
}

static void
fake_tick (void *opaque, uint64_t ms)
{
  struct fake *fake = opaque;

  ck_assert_uint_ge (ms, fake->ms);
  fake->ms = ms;
}

static void
fake_tree (void *opaque, replay_item item, void *to)
{
  struct fake *fake = opaque;
  const bool final = fake->becomes_final && fake->writes > 0;
  const struct trace_item *list = final ? fake->trace->final : fake->file->items;
  const size_t n = final ? fake->trace->n_final : fake->file->n_items;

  for (size_t i = 0; i < n; i++)
    if (fake->missing == NULL || strcmp (fake->missing, list[i].path) != 0)
      item (to, list[i].path, list[i].is_folder, list[i].size, list[i].is_folder ? NULL : list[i].sha1);
  if (fake->added)
    item (to, fake->added, false, 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

static struct fake fake;
static const struct replay_target target = {
  .opaque = &fake, .begin = fake_begin, .end = fake_end, .write = fake_write, .zero = fake_range, .trim = fake_range,
  .flush = fake_flush, .tick = fake_tick, .tree = fake_tree,
};

/* Traces that change nothing that a cloud has. */
static bool
is_nothing (const struct trace *trace)
{
  static const char *const nothing[] = { "chmod", "touch", "read", "mkrmdir", "cprm" };

  for (int i = 0; i < N (nothing); i++)
    if (strcmp (nothing[i], trace->name) == 0)
      return true;
  return false;
}

static void
expect (const struct trace_file *file, const struct trace *trace, const struct replay_options *options, const char *part)
{
  char *wrong = replay (file, trace, &target, options);

  if (part == NULL)
    ck_assert_msg (wrong == NULL, "%s", wrong);
  else
    ck_assert_msg (wrong && strstr (wrong, part), "%s: \"%s\" instead of \"%s\"", trace->name, wrong, part);
  free (wrong);
}

START_TEST (test_judge)
{
  struct trace_file *file = open_traces (_i);
  struct replay_options options = { .cut = SIZE_MAX, .after_ms = 1000, .want_final = true };

  ck_assert_uint_gt (file->n_traces, 35);
  for (size_t i = 0; i < file->n_traces; i++) {
    const struct trace *trace = &file->traces[i];

    ck_assert_uint_lt (replay_before_umount (trace), trace->n_events);
    fake = (struct fake) { .becomes_final = true };
    expect (file, trace, &options, NULL);
    fake = (struct fake) { 0 };
    expect (file, trace, &options, is_nothing (trace) ? NULL : "in the end");
    fake = (struct fake) { .becomes_final = true, .missing = "trunc.bin" };
    expect (file, trace, &options, "\"trunc.bin\"");
    fake = (struct fake) { .becomes_final = true, .added = "FSCK0000.REC" };
    expect (file, trace, &options, "\"FSCK0000.REC\"");
    if (strcmp (trace->name, "rename") == 0) {
      fake = (struct fake) { .missing = "ren1.txt" };
      expect (file, trace, &options, "what was in \"ren1.txt\" is nowhere");
    }
    if (strcmp (trace->name, "small") == 0) {
      fake = (struct fake) { .added = "small.txt" };
      expect (file, trace, &options, "\"small.txt\" has 0 bytes that it never had");
    }
  }
  trace_close (file);
}
END_TEST

/* Another order has the same requests. */
START_TEST (test_shuffle)
{
  struct trace_file *file = open_traces (_i);

  for (size_t i = 0; i < file->n_traces; i++) {
    const struct trace *trace = &file->traces[i];
    struct replay_options options = { .cut = SIZE_MAX };
    uint64_t writes, bytes, seen;

    fake = (struct fake) { 0 };
    expect (file, trace, &options, NULL);
    writes = fake.writes;
    bytes = fake.bytes;
    seen = fake.seen;
    for (options.seed = 1; options.seed <= 3; options.seed++) {
      expect (file, trace, &options, NULL);
      ck_assert_uint_eq (writes, fake.writes);
      ck_assert_uint_eq (bytes, fake.bytes);
      ck_assert_uint_eq (seen, fake.seen);
    }
    options = (struct replay_options) { .cut = trace->n_events / 2 };
    expect (file, trace, &options, NULL);
    ck_assert_uint_le (fake.writes, writes);
  }
  trace_close (file);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("replay");
  TCase *tcase = tcase_create ("all");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_set_timeout (tcase, 120);
  tcase_add_loop_test (tcase, test_base, 0, N (names));
  tcase_add_loop_test (tcase, test_judge, 0, N (names));
  tcase_add_loop_test (tcase, test_shuffle, 0, N (names));
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
