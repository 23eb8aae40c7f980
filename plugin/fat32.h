/* SPDX-License-Identifier: BSD-3-Clause */
/* FAT32 on disk, after "Microsoft Extensible Firmware Initiative FAT32 File System Specification", version 1.03
 * ("fatgen103" below), 2000.  Offsets are decimal, as there. */

#ifndef CLOUDSHARE_FAT32_H
#define CLOUDSHARE_FAT32_H

#include <stdint.h>

#include "le.h"

/* fatgen103, "FAT Type Determination": fewer clusters make it FAT16 for every driver; its advice: stay 16 off. */
#define FAT32_MIN_CLUSTERS (65525 + 16)
#define FAT32_MAX_CLUSTERS 0x0ffffff5u

#define FAT32_END_OF_CHAIN 0x0fffffffu
#define FAT32_ENTRY_0      0x0ffffff8u   /* media byte 0xF8 in the low bits */
#define FAT32_ENTRY_1      0x0fffffffu   /* clean, no hard errors: bits 27 and 26 set */
#define FAT32_CLEAN        0x08000000u   /* of entry 1; fatgen103, "FAT Data Structure" */

/* fatgen103, "Boot Sector and BPB Structure". */
struct fat32_boot {
  uint8_t jump[3];                 /*   0 */
  uint8_t oem_name[8];             /*   3 */
  le16 bytes_per_sector;           /*  11 */
  uint8_t sectors_per_cluster;     /*  13 */
  le16 reserved_sectors;           /*  14 */
  uint8_t fats;                    /*  16 */
  le16 root_entries;               /*  17: 0 */
  le16 total_sectors_16;           /*  19: 0 */
  uint8_t media;                   /*  21 */
  le16 fat_sectors_16;             /*  22: 0 */
  le16 sectors_per_track;          /*  24 */
  le16 heads;                      /*  26 */
  le32 hidden_sectors;             /*  28 */
  le32 total_sectors;              /*  32 */
  le32 fat_sectors;                /*  36 */
  le16 flags;                      /*  40: 0 = all FATs are alike */
  le16 version;                    /*  42 */
  le32 root_cluster;               /*  44 */
  le16 fsinfo_sector;              /*  48 */
  le16 backup_sector;              /*  50 */
  uint8_t reserved[12];            /*  52 */
  uint8_t drive;                   /*  64 */
  uint8_t dirty;                   /*  65: bit 0 = not unmounted; never set by us */
  uint8_t extended_signature;      /*  66: 0x29 = the next three fields are there */
  le32 serial;                     /*  67 */
  uint8_t label[11];               /*  71 */
  uint8_t type[8];                 /*  82 */
  uint8_t code[420];               /*  90 */
  le16 signature;                  /* 510: 0xAA55 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct fat32_boot) == 512, "fat32_boot");

/* fatgen103, "FAT32 FSInfo Sector Structure". */
struct fat32_fsinfo {
  le32 lead_signature;             /*   0: 0x41615252 */
  uint8_t reserved1[480];          /*   4 */
  le32 signature;                  /* 484: 0x61417272 */
  le32 free_count;                 /* 488 */
  le32 next_free;                  /* 492: where to start looking */
  uint8_t reserved2[12];           /* 496 */
  le32 trail_signature;            /* 508: 0xAA550000 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct fat32_fsinfo) == 512, "fat32_fsinfo");

#define FAT_ATTR_VOLUME_ID 0x08
#define FAT_ATTR_DIRECTORY 0x10
#define FAT_ATTR_ARCHIVE   0x20
#define FAT_ATTR_LFN       0x0f

/* fatgen103, "FAT Directory Structure". */
struct fat_entry {
  uint8_t name[11];                /*  0 */
  uint8_t attributes;              /* 11 */
  uint8_t nt_reserved;             /* 12 */
  uint8_t create_tenths;           /* 13: units of 10 ms, 0 to 199 */
  le16 create_time;                /* 14 */
  le16 create_date;                /* 16 */
  le16 access_date;                /* 18 */
  le16 first_high;                 /* 20 */
  le16 write_time;                 /* 22 */
  le16 write_date;                 /* 24 */
  le16 first_low;                  /* 26 */
  le32 size;                       /* 28 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct fat_entry) == 32, "fat_entry");

#define FAT_LFN_UNITS 13
#define FAT_LFN_LAST  0x40         /* in order: this is the set's last part, which stands first on disk */

/* fatgen103, "FAT Long Directory Entries". */
struct fat_lfn {
  uint8_t order;                   /*  0: 1 to 20 */
  le16 name1[5];                   /*  1 */
  uint8_t attributes;              /* 11: FAT_ATTR_LFN */
  uint8_t type;                    /* 12: 0 */
  uint8_t checksum;                /* 13: of the 8.3 name */
  le16 name2[6];                   /* 14 */
  le16 first;                      /* 26: 0 */
  le16 name3[2];                   /* 28 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct fat_lfn) == 32, "fat_lfn");

#endif /* CLOUDSHARE_FAT32_H */
