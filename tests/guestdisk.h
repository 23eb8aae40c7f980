/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk in memory with an empty root directory, and a parser of it: what the tests of parse.h stand on.
 *
 *   make_disk (&format_fat32, PARTITION_MBR, DISK_BYTES, 32)
 *   set_fat (heap_cluster (0), heap_cluster (1)), disk[...] = ...
 *   parse_chain (parse, ...)
 *   free_disk ()
 *
 * One at a time, hence the short names.
 */

#ifndef CLOUDSHARE_TESTS_GUESTDISK_H
#define CLOUDSHARE_TESTS_GUESTDISK_H

#include <check.h>

#include "format.h"
#include "msg.h"
#include "parsed.h"
#include "partition.h"

#define MIB ((uint64_t) 1 << 20)
#define DISK_BYTES (64 * MIB)

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

/* For loops of many: check's own assertions each write to a file. */
#define ASSERT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition))                                                                      \
      ck_abort_msg ("%s (seed %llu)", #condition, (unsigned long long) seed);              \
  } while (0)

extern const struct format *const formats[2];

extern struct geometry g;
extern uint8_t *disk;
extern struct parse *parse;

/* What the parser read; and whether it can. */
extern uint64_t reads, read_bytes;
extern bool reads_fail;

/* Messages so far, from count_message. */
extern int messages;
extern void count_message (enum msg_level level, const char *text);

/* A number below that; seed makes it. */
extern uint64_t seed;
extern uint64_t draw (uint64_t below);

extern void make_disk (const struct format *format, enum partitioning style, uint64_t bytes, uint64_t root_bytes);
extern void free_disk (void);

/* The n-th cluster behind the root. */
extern uint32_t heap_cluster (uint32_t n);

/* In one FAT. */
extern void set_fat_copy (unsigned copy, uint32_t cluster, uint32_t entry);

/* In exFAT's bitmap. */
extern void set_bit (uint32_t cluster, bool allocated);

/* In all FATs, and in the bitmap. */
extern void set_fat (uint32_t cluster, uint32_t entry);

/* Runs the suite; the result is the exit status. */
extern int run_suite (Suite *suite);

#endif /* CLOUDSHARE_TESTS_GUESTDISK_H */
