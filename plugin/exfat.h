/* SPDX-License-Identifier: BSD-3-Clause */
/* exFAT on disk, after Microsoft's "exFAT file system specification", revision 1.00; numbers are its sections. */

#ifndef CLOUDSHARE_EXFAT_H
#define CLOUDSHARE_EXFAT_H

#include <stdint.h>

#include "le.h"

#define EXFAT_END_OF_CHAIN 0xffffffffu   /* 4.1.3 */
#define EXFAT_ENTRY_0      0xfffffff8u   /* 4.1.1 */
#define EXFAT_ENTRY_1      0xffffffffu   /* 4.1.2 */

#define EXFAT_MAX_CLUSTERS 0xfffffff5u   /* 3.1.9: 2^32 - 11 */
#define EXFAT_MAX_CLUSTER_BYTES (32u << 20)   /* 3.1.15 */
#define EXFAT_BOOT_REGION_SECTORS 12     /* 2: main and backup boot region, each */

/* 3.1, main boot sector. */
struct exfat_boot {
  uint8_t jump[3];                 /*   0: EB 76 90 */
  uint8_t name[8];                 /*   3: "EXFAT   " */
  uint8_t must_be_zero[53];        /*  11 */
  le64 partition_offset;           /*  64: sectors */
  le64 volume_sectors;             /*  72 */
  le32 fat_offset;                 /*  80: sectors */
  le32 fat_sectors;                /*  84 */
  le32 heap_offset;                /*  88: sectors */
  le32 clusters;                   /*  92 */
  le32 root_cluster;               /*  96 */
  le32 serial;                     /* 100 */
  le16 revision;                   /* 104: 0x0100 */
  le16 flags;                      /* 106: bit 1 = dirty; never set by us */
  uint8_t sector_shift;            /* 108 */
  uint8_t cluster_shift;           /* 109: sectors per cluster */
  uint8_t fats;                    /* 110 */
  uint8_t drive;                   /* 111 */
  uint8_t percent_in_use;          /* 112 */
  uint8_t reserved[7];             /* 113 */
  uint8_t code[390];               /* 120 */
  le16 signature;                  /* 510: 0xAA55 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_boot) == 512, "exfat_boot");

/* 6.2.1: entry types, with the in-use bit. */
#define EXFAT_TYPE_BITMAP 0x81
#define EXFAT_TYPE_UPCASE 0x82
#define EXFAT_TYPE_LABEL  0x83
#define EXFAT_TYPE_FILE   0x85
#define EXFAT_TYPE_STREAM 0xc0
#define EXFAT_TYPE_NAME   0xc1

/* 7.1, allocation bitmap. */
struct exfat_bitmap_entry {
  uint8_t type;                    /*  0 */
  uint8_t flags;                   /*  1: 0 = the first bitmap */
  uint8_t reserved[18];            /*  2 */
  le32 first;                      /* 20 */
  le64 bytes;                      /* 24 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_bitmap_entry) == 32, "exfat_bitmap_entry");

/* 7.2, up-case table. */
struct exfat_upcase_entry {
  uint8_t type;                    /*  0 */
  uint8_t reserved1[3];            /*  1 */
  le32 checksum;                   /*  4 */
  uint8_t reserved2[12];           /*  8 */
  le32 first;                      /* 20 */
  le64 bytes;                      /* 24 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_upcase_entry) == 32, "exfat_upcase_entry");

#define EXFAT_LABEL_UNITS 11

/* 7.3, volume label. */
struct exfat_label_entry {
  uint8_t type;                    /*  0 */
  uint8_t units;                   /*  1 */
  le16 label[EXFAT_LABEL_UNITS];   /*  2 */
  uint8_t reserved[8];             /* 24 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_label_entry) == 32, "exfat_label_entry");

#define EXFAT_ATTR_DIRECTORY 0x10
#define EXFAT_ATTR_ARCHIVE   0x20

/* 7.4, file. */
struct exfat_file_entry {
  uint8_t type;                    /*  0 */
  uint8_t secondary_count;         /*  1: entries of the set after this one */
  le16 checksum;                   /*  2: of the whole set, without this field */
  le16 attributes;                 /*  4 */
  le16 reserved1;                  /*  6 */
  le32 create_time;                /*  8 */
  le32 write_time;                 /* 12 */
  le32 access_time;                /* 16 */
  uint8_t create_10ms;             /* 20: 0 to 199 */
  uint8_t write_10ms;              /* 21 */
  uint8_t create_offset;           /* 22: from UTC in quarters of an hour; bit 7 = valid */
  uint8_t write_offset;            /* 23 */
  uint8_t access_offset;           /* 24 */
  uint8_t reserved2[7];            /* 25 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_file_entry) == 32, "exfat_file_entry");

#define EXFAT_ALLOCATION_POSSIBLE 0x01   /* 6.3.4.1 */
#define EXFAT_NO_FAT_CHAIN        0x02   /* 6.3.4.2: contiguous; the FAT says nothing of these clusters */

/* 7.6, stream extension. */
struct exfat_stream_entry {
  uint8_t type;                    /*  0 */
  uint8_t flags;                   /*  1 */
  uint8_t reserved1;               /*  2 */
  uint8_t name_units;              /*  3 */
  le16 name_hash;                  /*  4: of the up-cased name */
  le16 reserved2;                  /*  6 */
  le64 valid_bytes;                /*  8 */
  le32 reserved3;                  /* 16 */
  le32 first;                      /* 20 */
  le64 bytes;                      /* 24 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_stream_entry) == 32, "exfat_stream_entry");

#define EXFAT_NAME_UNITS 15

/* 7.7, file name. */
struct exfat_name_entry {
  uint8_t type;                    /*  0 */
  uint8_t flags;                   /*  1 */
  le16 name[EXFAT_NAME_UNITS];     /*  2 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct exfat_name_entry) == 32, "exfat_name_entry");

#endif /* CLOUDSHARE_EXFAT_H */
