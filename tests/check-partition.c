/* SPDX-License-Identifier: BSD-3-Clause */
/* Partition tables: what is planned, what is refused, and what stands on the disk, read at any alignment. */

#include <config.h>

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "msg.h"
#include "partition.h"

#define MIB ((uint64_t) 1 << 20)
#define TIB ((uint64_t) 1 << 40)

static int messages;

static void
count_message (enum msg_level level, const char *text)
{
  messages++;
}

static const struct {
  enum partitioning style;
  uint64_t disk_bytes;
  uint64_t expect_disk, expect_start, expect_end;   /* expect_disk 0: refused */
} plans[] = {
  { PARTITION_NONE, 100 * MIB, 100 * MIB, 0, 100 * MIB },
  { PARTITION_NONE, 100 * MIB + 511, 100 * MIB, 0, 100 * MIB },
  { PARTITION_NONE, 511, 0 },
  { PARTITION_MBR, 100 * MIB, 100 * MIB, MIB, 100 * MIB },
  { PARTITION_MBR, 100 * MIB + 1000, 100 * MIB + 512, MIB, 100 * MIB + 512 },
  { PARTITION_MBR, MIB, 0 },
  { PARTITION_MBR, MIB + 512, MIB + 512, MIB, MIB + 512 },
  { PARTITION_MBR, 2 * TIB, 2 * TIB, MIB, 2 * TIB },
  { PARTITION_MBR, 2 * TIB + 512, 0 },
  { PARTITION_GPT, 100 * MIB, 100 * MIB, MIB, 99 * MIB },
  { PARTITION_GPT, 100 * MIB + 33 * 512, 100 * MIB + 33 * 512, MIB, 100 * MIB },
  { PARTITION_GPT, 100 * MIB + 32 * 512, 100 * MIB + 32 * 512, MIB, 99 * MIB },
  { PARTITION_GPT, 40 * TIB, 40 * TIB, MIB, 40 * TIB - MIB },
  { PARTITION_GPT, 2 * MIB, 0 },
  { PARTITION_GPT, 1000, 0 },
  { PARTITION_GPT, UINT64_MAX, 0 },
  { PARTITION_NONE, (uint64_t) INT64_MAX + 1, 0 },
};

START_TEST (test_plan)
{
  struct geometry g = { .format = &format_exfat };
  const int r = partition_plan (&g, plans[_i].style, plans[_i].disk_bytes);

  if (plans[_i].expect_disk == 0) {
    ck_assert_int_eq (r, -1);
    ck_assert_int_eq (messages, 1);
    return;
  }
  ck_assert_int_eq (r, 0);
  ck_assert_int_eq (messages, 0);
  ck_assert_uint_eq (g.disk_bytes, plans[_i].expect_disk);
  ck_assert_uint_eq (g.volume_start, plans[_i].expect_start);
  ck_assert_uint_eq (g.volume_start + g.volume_bytes, plans[_i].expect_end);
}
END_TEST

static struct geometry
make_geometry (const struct format *format, enum partitioning style, uint64_t disk_bytes)
{
  struct geometry g = { .format = format, .mbr_signature = 0x12345678, .label = "CLOUD" };

  for (int i = 0; i < 16; i++) {
    g.gpt_disk_guid[i] = 0x10 + i;
    g.gpt_partition_guid[i] = 0xa0 + i;
  }
  ck_assert_int_eq (partition_plan (&g, style, disk_bytes), 0);
  return g;
}

static uint64_t
number (const uint8_t *p, int bytes)
{
  uint64_t n = 0;

  while (bytes-- > 0)
    n = n << 8 | p[bytes];
  return n;
}

static const struct {
  uint64_t disk_bytes;
  uint8_t last_chs[3];
} mbrs[] = {
  /* LBA 204799: 12 * 16065 + 190 * 63 + 49. */
  { 100 * MIB, { 190, 50, 12 } },
  /* The last sector that CHS reaches, cylinder 1023, and the first that it does not. */
  { (uint64_t) 1024 * 255 * 63 * 512, { 254, 63 | 0xc0, 0xff } },
  { (uint64_t) 1024 * 255 * 63 * 512 + 512, { 0xfe, 0xff, 0xff } },
  { 2 * TIB, { 0xfe, 0xff, 0xff } },
};

START_TEST (test_mbr)
{
  const struct format *const formats[] = { &format_fat32, &format_exfat };

  for (int f = 0; f < 2; f++) {
    const struct geometry g = make_geometry (formats[f], PARTITION_MBR, mbrs[_i].disk_bytes);
    uint8_t sector[512], zeros[446 - 444] = { 0 };

    partition_read (&g, sector, sizeof sector, 0);
    ck_assert_uint_eq (number (sector + 440, 4), 0x12345678);
    ck_assert_mem_eq (sector + 444, zeros, 2);
    ck_assert_uint_eq (sector[446], 0);
    ck_assert_mem_eq (sector + 447, "\x20\x21\x00", 3);   /* LBA 2048: 32 * 63 + 32 */
    ck_assert_uint_eq (sector[450], f == 0 ? 0x0c : 0x07);
    ck_assert_mem_eq (sector + 451, mbrs[_i].last_chs, 3);
    ck_assert_uint_eq (number (sector + 454, 4), 2048);
    ck_assert_uint_eq (number (sector + 458, 4), mbrs[_i].disk_bytes / 512 - 2048);
    for (int i = 462; i < 510; i++)
      ck_assert_uint_eq (sector[i], 0);
    ck_assert_mem_eq (sector + 510, "\x55\xaa", 2);
  }
}
END_TEST

/* Bit by bit, so that it shares nothing with the table in the code. */
static uint32_t
slow_crc32 (const uint8_t *p, size_t n)
{
  uint32_t crc = 0xffffffff;

  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

static void
check_header (const struct geometry *g, const uint8_t *header, const uint8_t *entries, uint64_t my, uint64_t other,
              uint64_t entries_lba)
{
  const uint64_t last = g->disk_bytes / 512 - 1;
  uint8_t copy[92];

  ck_assert_mem_eq (header, "EFI PART\0\0\1\0\x5c\0\0\0", 16);
  memcpy (copy, header, sizeof copy);
  memset (copy + 16, 0, 4);
  ck_assert_uint_eq (number (header + 16, 4), slow_crc32 (copy, sizeof copy));
  ck_assert_uint_eq (number (header + 24, 8), my);
  ck_assert_uint_eq (number (header + 32, 8), other);
  ck_assert_uint_eq (number (header + 40, 8), 34);
  ck_assert_uint_eq (number (header + 48, 8), last - 33);
  ck_assert_mem_eq (header + 56, g->gpt_disk_guid, 16);
  ck_assert_uint_eq (number (header + 72, 8), entries_lba);
  ck_assert_uint_eq (number (header + 80, 4), 128);
  ck_assert_uint_eq (number (header + 84, 4), 128);
  ck_assert_uint_eq (number (header + 88, 4), slow_crc32 (entries, 128 * 128));
}

static const uint64_t gpt_sizes[] = { 64 * MIB, 64 * MIB + 512, 3 * TIB, 100 * TIB };

START_TEST (test_gpt)
{
  const struct geometry g = make_geometry (&format_fat32, PARTITION_GPT, gpt_sizes[_i]);
  const uint64_t sectors = g.disk_bytes / 512;
  static const uint8_t type[16] = "\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7";
  uint8_t head[34 * 512], tail[33 * 512];

  partition_read (&g, head, sizeof head, 0);
  partition_read (&g, tail, sizeof tail, g.disk_bytes - sizeof tail);

  ck_assert_mem_eq (head + 446, "\x00\x00\x02\x00\xee\xff\xff\xff\x01\x00\x00\x00", 12);
  ck_assert_uint_eq (number (head + 458, 4), sectors - 1 > UINT32_MAX ? UINT32_MAX : sectors - 1);
  ck_assert_mem_eq (head + 510, "\x55\xaa", 2);

  check_header (&g, head + 512, head + 1024, 1, sectors - 1, 2);
  check_header (&g, tail + 32 * 512, tail, sectors - 1, 1, sectors - 33);
  ck_assert_mem_eq (head + 1024, tail, 32 * 512);

  ck_assert_mem_eq (head + 1024, type, 16);
  ck_assert_mem_eq (head + 1040, g.gpt_partition_guid, 16);
  ck_assert_uint_eq (number (head + 1056, 8), 2048);
  ck_assert_uint_eq (number (head + 1064, 8), (g.volume_start + g.volume_bytes) / 512 - 1);
  ck_assert_uint_eq (number (head + 1072, 8), 0);
  ck_assert_mem_eq (head + 1080, "C\0L\0O\0U\0D\0\0", 12);
  for (int i = 1092; i < 1024 + 128 * 128; i++)
    ck_assert_uint_eq (head[i], 0);
}
END_TEST

START_TEST (test_any_alignment)
{
  const struct geometry g = make_geometry (&format_exfat, (enum partitioning) _i, 3 * MIB + 77 * 512);
  const uint64_t volume_end = g.volume_start + g.volume_bytes;
  const uint64_t areas[2][2] = { { 0, g.volume_start }, { volume_end, g.disk_bytes } };
  uint64_t seed = 1;

  for (int a = 0; a < 2; a++) {
    const uint64_t begin = areas[a][0], n = areas[a][1] - begin;
    uint8_t *whole = malloc (n + 1), *piece = malloc (n + 1);

    partition_read (&g, whole, n, begin);
    for (int i = 0; i < 3000 && n > 0; i++) {
      seed = seed * 6364136223846793005 + 1442695040888963407;

      const uint64_t near = i % 3 ? seed >> 33 : n - 1 - (seed >> 33) % (n < 20000 ? n : 20000);
      const uint64_t offset = i % 3 == 1 ? near % 2048 % n : near % n;
      const size_t length = (seed >> 20) % 1500 % (n - offset + 1);

      memset (piece, 0x5a, length + 1);
      partition_read (&g, piece, length, begin + offset);
      ck_assert (memcmp (piece, whole + offset, length) == 0);
      ck_assert_uint_eq (piece[length], 0x5a);
    }
    free (whole);
    free (piece);
  }
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("partition");
  TCase *tc = tcase_create ("partition");
  SRunner *runner;
  int failed;

  msg_set_sink (count_message);
  LOOP (tc, test_plan, plans);
  LOOP (tc, test_mbr, mbrs);
  LOOP (tc, test_gpt, gpt_sizes);
  tcase_add_loop_test (tc, test_any_alignment, PARTITION_NONE, PARTITION_GPT + 1);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
