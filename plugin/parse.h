/* SPDX-License-Identifier: BSD-3-Clause */
/* Parse: a disk's bytes, as a guest left them -> what its file system says.  Pure but for the bytes it is given to read; knows
 * nothing of items, overlays or clouds, remembers nothing between calls but sectors of the FAT.
 *
 *   parse = parse_new (geometry, read, opaque)
 *   parse_volume (parse, &volume)               is it still our file system; is it marked dirty
 *   parse_chain (parse, first, ...)             which clusters
 *   parse_dir (parse, runs, ...)                which entries
 *   parse_forget (parse)                        bytes may have changed: drops the sectors that it kept
 *   parse_free (parse)
 *
 * Bytes are a guest's: anything may be in them.  Nothing here asserts, loops without end, or needs more memory than the
 * limits below allow.  What is wrong is a finding for the caller, not an error; -1 is returned after one message, where
 * bytes could not be read or there is no memory.
 */

#ifndef CLOUDSHARE_PARSE_H
#define CLOUDSHARE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "geometry.h"

/* Largest directory: FAT32's 65536 entries of 32 bytes; exFAT allows 256 MiB, of which we take 64. */
#define PARSE_MAX_DIR_FAT32 (UINT64_C (2) << 20)
#define PARSE_MAX_DIR_EXFAT (UINT64_C (64) << 20)

struct parse;

/* n bytes at offset, from the disk's start.  -1 after one message. */
typedef int (*parse_read) (void *opaque, void *buf, size_t n, uint64_t offset);

/* geometry is borrowed.  NULL after one message. */
extern struct parse *parse_new (const struct geometry *geometry, parse_read read, void *opaque);
extern void parse_free (struct parse *parse);
extern void parse_forget (struct parse *parse);

struct parsed_volume {
  bool foreign;            /* partition table or boot sector say that it is another file system, or none, or elsewhere */
  const char *why;         /* a constant sentence, if foreign */
  bool dirty;              /* FAT32: bit 0 of byte 65 (0x41), or bit 27 of the FAT's entry 1 cleared; exFAT:
                              VolumeFlags bit 1 */
};

extern int parse_volume (struct parse *parse, struct parsed_volume *ret);

/* Clusters in the order of the file. */
struct parsed_run {
  uint32_t first, count;
};

struct parsed_runs {
  struct parsed_run *list; /* malloc'ed */
  size_t n;
  uint64_t clusters;       /* in all */
};

extern void parsed_runs_free (struct parsed_runs *runs);

enum parsed_chain {
  CHAIN_SOUND,             /* as many clusters as the bytes need, and it ends there */
  CHAIN_LONG,              /* goes on behind them; ret has those that the bytes need */
  CHAIN_SHORT,             /* ends before */
  CHAIN_FREE,              /* leads to, or (exFAT) uses, a cluster that is free */
  CHAIN_BROKEN,            /* leads out of the heap, to a bad cluster, or in a circle */
};

/* The chain that begins at first.  bytes: content, for files; UINT64_MAX: as long as it goes (FAT32 directories), bounded
 * by PARSE_MAX_DIR_FAT32.  contiguous: exFAT's NoFatChain.  FAT32 reads the first FAT; where both FATs differ on a cluster
 * of the chain, *ret_differ says so.  On exFAT every cluster's bit in the allocation bitmap is looked at (CHAIN_FREE).
 * *ret has the good clusters up to where the finding is. */
extern int parse_chain (struct parse *parse, uint32_t first, uint64_t bytes, bool contiguous, enum parsed_chain *ret_found,
                        struct parsed_runs *ret, bool *ret_differ);

/* Whether a cluster is marked as in use (FAT32: its FAT entry is not 0; exFAT: its bit). */
extern int parse_is_allocated (struct parse *parse, uint32_t cluster, bool *ret);

struct parsed_entry {
  uint32_t offset, bytes;  /* where the entry's set stands in the directory's bytes, all parts of it */
  uint16_t *name;          /* UTF-16, host order, in the directory's arena: the long name, or the 8.3 name as Linux and
                              Windows show it (case bits in nt_reserved; code page 437 above 0x7f) */
  uint16_t units;          /* 1 to 255 */
  uint8_t alias[11];       /* FAT32 */
  bool bare;               /* FAT32: no long name, but the sector before may have one to come, or may have lost one that this
                              sector does not know of yet; or (torn, too) the parts before it are not of it */
  uint16_t attributes;     /* FAT_ATTR_ and EXFAT_ATTR_ are the same bits */
  bool is_folder;
  bool contiguous;         /* exFAT's NoFatChain */
  uint32_t first;          /* 0: none */
  uint64_t size;           /* bytes; folders on FAT32: 0 */
  uint64_t valid;          /* exFAT's ValidDataLength, at most size; FAT32: size */
  struct timespec mtime;   /* FAT32: local time of the process; exFAT: by its UTC offset field where valid.  tv_sec 0: none */
  uint32_t raw_mtime;      /* the fields as they stand (FAT32: date << 16 | time), to see whether they changed */
};

struct parsed_dir {
  struct parsed_entry *entries;     /* in the order in which they stand */
  size_t n;
  size_t torn;             /* sets that are half written: wrong checksum or count, long-name parts without their entry,
                              first cluster or size out of range, names that are none ("", with NUL or '/'), doubles */
  uint32_t dotdot;         /* FAT32: first cluster that '..' names (0: the root); UINT32_MAX: no such entry */
  void *arena;
};

/* The directory whose clusters are runs.  bytes: at most so many of them (exFAT: the entry's size); the end mark ends it
 * earlier.  Left out in silence: volume label, bitmap, up-case table, deleted entries, '.' and '..', benign entries of
 * exFAT that are unknown. */
extern int parse_dir (struct parse *parse, const struct parsed_runs *runs, uint64_t bytes, bool is_root,
                      struct parsed_dir *ret);
extern void parsed_dir_free (struct parsed_dir *dir);

#endif /* CLOUDSHARE_PARSE_H */
