/* SPDX-License-Identifier: BSD-3-Clause */
/* The partition table around the volume. */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "format.h"
#include "le.h"
#include "msg.h"
#include "partition.h"
#include "piece.h"

#define MIB (1024 * 1024u)
#define ALIGNMENT MIB

/* What CHS counts with; CHS reaches 1024 cylinders of this. */
#define HEADS 255u
#define SECTORS_PER_TRACK 63u

struct mbr_entry {
  uint8_t status;                  /*  0: bit 7 = active */
  uint8_t first_chs[3];            /*  1 */
  uint8_t type;                    /*  4 */
  uint8_t last_chs[3];             /*  5 */
  le32 first_lba;                  /*  8 */
  le32 sectors;                    /* 12 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct mbr_entry) == 16, "mbr_entry");

/* UEFI 2.10, table 5.1. */
struct mbr {
  uint8_t code[440];               /*   0 */
  le32 signature;                  /* 440 */
  uint8_t unknown[2];              /* 444 */
  struct mbr_entry entries[4];     /* 446 */
  uint8_t magic[2];                /* 510: 55 AA */
} __attribute__ ((packed));
_Static_assert (sizeof (struct mbr) == 512, "mbr");

#define MBR_ENTRIES 4u
#define MBR_TYPE_GPT_PROTECTIVE 0xee

/* UEFI 2.10, table 5.5. */
struct gpt_header {
  uint8_t signature[8];            /*  0: "EFI PART" */
  le32 revision;                   /*  8: 1.0 */
  le32 header_bytes;               /* 12: 92 */
  le32 header_crc;                 /* 16: computed with this field 0 */
  uint8_t reserved[4];             /* 20 */
  le64 my_lba;                     /* 24 */
  le64 alternate_lba;              /* 32 */
  le64 first_usable_lba;           /* 40 */
  le64 last_usable_lba;            /* 48 */
  uint8_t disk_guid[16];           /* 56 */
  le64 entries_lba;                /* 72 */
  le32 entries;                    /* 80 */
  le32 entry_bytes;                /* 84 */
  le32 entries_crc;                /* 88 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct gpt_header) == 92, "gpt_header");

/* UEFI 2.10, table 5.6. */
struct gpt_entry {
  uint8_t type_guid[16];           /*  0 */
  uint8_t guid[16];                /* 16 */
  le64 first_lba;                  /* 32 */
  le64 last_lba;                   /* 40 */
  le64 attributes;                 /* 48 */
  le16 name[36];                   /* 56 */
} __attribute__ ((packed));
_Static_assert (sizeof (struct gpt_entry) == 128, "gpt_entry");

#define GPT_ENTRIES 128u
#define GPT_ENTRIES_BYTES (GPT_ENTRIES * sizeof (struct gpt_entry))
#define GPT_ENTRIES_SECTORS (GPT_ENTRIES_BYTES / SECTOR_SIZE)

/* EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, Microsoft basic data, in the mixed byte order of UEFI 2.10, appendix A. */
static const uint8_t basic_data_guid[16] = {
  0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7,
};

int
partition_plan (struct geometry *g, enum partitioning style, uint64_t disk_bytes)
{
  const uint64_t start = style == PARTITION_NONE ? 0 : ALIGNMENT;
  uint64_t end;

  disk_bytes -= disk_bytes % SECTOR_SIZE;
  end = disk_bytes;
  if (style == PARTITION_GPT && disk_bytes > ALIGNMENT) {
    end -= GPT_ENTRIES_BYTES + SECTOR_SIZE;
    end -= end % ALIGNMENT;
  }

  if (end <= start) {
    msg_error ("a disk of %" PRIu64 " bytes has no room for a partition table and a volume: choose a larger size",
               disk_bytes);
    return -1;
  }
  if (disk_bytes > INT64_MAX) {
    msg_error ("a disk of %" PRIu64 " bytes is larger than any disk can be: choose a smaller size", disk_bytes);
    return -1;
  }
  if (style == PARTITION_MBR && disk_bytes > (uint64_t) 1 << 41) {
    msg_error ("an MBR partition table reaches 2 TiB, the disk has %" PRIu64 " bytes: choose a smaller size, or GPT",
               disk_bytes);
    return -1;
  }

  g->partitioning = style;
  g->disk_bytes = disk_bytes;
  g->volume_start = start;
  g->volume_bytes = end - start;
  return 0;
}

int
partition_share (struct geometry *g, unsigned i, unsigned n)
{
  const uint64_t each = g->volume_bytes / n / ALIGNMENT * ALIGNMENT;

  if (g->partitioning == PARTITION_NONE || n > (g->partitioning == PARTITION_MBR ? MBR_ENTRIES : GPT_ENTRIES)) {
    msg_error ("%u partitions need another kind of partition table: choose partition=gpt", n);
    return -1;
  }
  if (each == 0) {
    msg_error ("the disk has no room for %u partitions: choose a larger size", n);
    return -1;
  }
  g->volume_start += i * each;
  g->volume_bytes = each;
  return 0;
}

/* CRC-32 of IEEE 802.3, as UEFI 2.10 (5.3.2) asks.  Half a byte at a time is plenty for 16 KiB. */
static uint32_t
crc32_update (uint32_t crc, const void *buf, size_t n)
{
  static const uint32_t table[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  const uint8_t *p = buf;

  crc = ~crc;
  for (size_t i = 0; i < n; i++) {
    crc = table[(crc ^ p[i]) & 15] ^ crc >> 4;
    crc = table[(crc ^ p[i] >> 4) & 15] ^ crc >> 4;
  }
  return ~crc;
}

static void
chs_from_lba (uint64_t lba, uint8_t chs[3])
{
  const uint64_t cylinder = lba / (HEADS * SECTORS_PER_TRACK);

  if (cylinder > 1023) {
    memcpy (chs, "\xfe\xff\xff", 3);
    return;
  }
  chs[0] = lba / SECTORS_PER_TRACK % HEADS;
  chs[1] = (lba % SECTORS_PER_TRACK + 1) | (cylinder >> 8) << 6;
  chs[2] = cylinder;
}

static void
mbr_render (const struct geometry *g, struct mbr *mbr)
{
  /* int 18h, then a loop: a BIOS that starts us goes on with the next boot device. */
  static const uint8_t code[] = { 0xcd, 0x18, 0xeb, 0xfe };
  struct mbr_entry *entry = &mbr->entries[0];

  memset (mbr, 0, sizeof *mbr);
  memcpy (mbr->code, code, sizeof code);
  memcpy (mbr->magic, "\x55\xaa", 2);

  if (g->partitioning == PARTITION_GPT) {
    /* UEFI 2.10, table 5.4: from the second sector to the disk's end, as far as 32 bits reach. */
    const uint64_t sectors = g->disk_bytes / SECTOR_SIZE - 1;

    entry->type = MBR_TYPE_GPT_PROTECTIVE;
    memcpy (entry->first_chs, "\x00\x02\x00", 3);
    memcpy (entry->last_chs, "\xff\xff\xff", 3);
    entry->first_lba = cpu_to_le32 (1);
    entry->sectors = cpu_to_le32 (sectors > UINT32_MAX ? UINT32_MAX : sectors);
    return;
  }

  mbr->signature = cpu_to_le32 (g->mbr_signature);
  for (; g && entry < mbr->entries + MBR_ENTRIES; g = g->next, ++entry) {
    const uint64_t first = g->volume_start / SECTOR_SIZE, sectors = g->volume_bytes / SECTOR_SIZE;

    entry->type = g->format->mbr_type;
    chs_from_lba (first, entry->first_chs);
    chs_from_lba (first + sectors - 1, entry->last_chs);
    entry->first_lba = cpu_to_le32 (first);
    entry->sectors = cpu_to_le32 (sectors);
  }
}

static void
gpt_render_entry (const struct geometry *g, struct gpt_entry *entry)
{
  memset (entry, 0, sizeof *entry);
  memcpy (entry->type_guid, basic_data_guid, 16);
  memcpy (entry->guid, g->gpt_partition_guid, 16);
  entry->first_lba = cpu_to_le64 (g->volume_start / SECTOR_SIZE);
  entry->last_lba = cpu_to_le64 ((g->volume_start + g->volume_bytes) / SECTOR_SIZE - 1);
  for (size_t i = 0; i < sizeof g->label && g->label[i]; i++)
    entry->name[i] = cpu_to_le16 ((uint8_t) g->label[i]);
}

static void
gpt_render_entries (const struct geometry *g, struct gpt_entry entries[GPT_ENTRIES])
{
  memset (entries, 0, GPT_ENTRIES_BYTES);
  for (size_t i = 0; g && i < GPT_ENTRIES; ++i, g = g->next)
    gpt_render_entry (g, &entries[i]);
}

static void
gpt_render_header (const struct geometry *g, const struct gpt_entry *entries, bool backup, struct gpt_header *header)
{
  const uint64_t last = g->disk_bytes / SECTOR_SIZE - 1;
  const uint64_t backup_entries = last - GPT_ENTRIES_SECTORS;

  *header = (struct gpt_header) {
    .signature = { 'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T' },
    .revision = cpu_to_le32 (0x00010000),
    .header_bytes = cpu_to_le32 (sizeof *header),
    .my_lba = cpu_to_le64 (backup ? last : 1),
    .alternate_lba = cpu_to_le64 (backup ? 1 : last),
    .first_usable_lba = cpu_to_le64 (2 + GPT_ENTRIES_SECTORS),
    .last_usable_lba = cpu_to_le64 (backup_entries - 1),
    .entries_lba = cpu_to_le64 (backup ? backup_entries : 2),
    .entries = cpu_to_le32 (GPT_ENTRIES),
    .entry_bytes = cpu_to_le32 (sizeof *entries),
    .entries_crc = cpu_to_le32 (crc32_update (0, entries, GPT_ENTRIES_BYTES)),
  };
  memcpy (header->disk_guid, g->gpt_disk_guid, 16);
  header->header_crc = cpu_to_le32 (crc32_update (0, header, sizeof *header));
}

static void
gpt_read (const struct geometry *g, void *buf, size_t n, uint64_t offset)
{
  const uint64_t backup = g->disk_bytes - SECTOR_SIZE, backup_entries = backup - GPT_ENTRIES_BYTES;
  struct gpt_entry entries[GPT_ENTRIES];
  struct gpt_header header;

  if (!piece_touches (n, offset, SECTOR_SIZE, SECTOR_SIZE + GPT_ENTRIES_BYTES) &&
      !piece_touches (n, offset, backup_entries, GPT_ENTRIES_BYTES + SECTOR_SIZE))
    return;
  gpt_render_entries (g, entries);
  piece_copy (buf, n, offset, 2 * SECTOR_SIZE, entries, sizeof entries);
  piece_copy (buf, n, offset, backup_entries, entries, sizeof entries);

  if (piece_touches (n, offset, SECTOR_SIZE, sizeof header)) {
    gpt_render_header (g, entries, false, &header);
    piece_copy (buf, n, offset, SECTOR_SIZE, &header, sizeof header);
  }
  if (piece_touches (n, offset, backup, sizeof header)) {
    gpt_render_header (g, entries, true, &header);
    piece_copy (buf, n, offset, backup, &header, sizeof header);
  }
}

void
partition_read (const struct geometry *g, void *buf, size_t n, uint64_t offset)
{
  struct mbr mbr;

  memset (buf, 0, n);
  if (g->partitioning == PARTITION_NONE)
    return;

  if (piece_touches (n, offset, 0, sizeof mbr)) {
    mbr_render (g, &mbr);
    piece_copy (buf, n, offset, 0, &mbr, sizeof mbr);
  }
  if (g->partitioning == PARTITION_GPT)
    gpt_read (g, buf, n, offset);
}

/* Whether the copy of the GPT whose header is at lba has a partition that begins where the volume begins.  A copy that a
 * guest is in the middle of writing has wrong checksums, and names nothing. */
static int
gpt_names_volume (const struct geometry *g, uint64_t lba, int (*read) (void *opaque, void *buf, size_t n,
                  uint64_t offset), void *opaque, bool *ret)
{
  uint8_t sector[SECTOR_SIZE], entries[4096];
  struct gpt_header header;
  bool found = false;
  uint32_t crc;

  *ret = false;
  if (read (opaque, sector, sizeof sector, lba * SECTOR_SIZE) == -1)
    return -1;
  memcpy (&header, sector, sizeof header);

  const uint32_t header_bytes = le32_to_cpu (header.header_bytes), entry_bytes = le32_to_cpu (header.entry_bytes);
  const uint32_t count = le32_to_cpu (header.entries);
  const uint64_t start = le64_to_cpu (header.entries_lba);

  /* UEFI 2.10, table 5.5: an entry has 128 bytes times a power of two.  Larger sizes and counts nobody has. */
  if (memcmp (header.signature, "EFI PART", 8) != 0 || header_bytes < sizeof header || header_bytes > sizeof sector ||
      le64_to_cpu (header.my_lba) != lba || entry_bytes < sizeof (struct gpt_entry) || entry_bytes > sizeof entries ||
      (entry_bytes & (entry_bytes - 1)) != 0 || count > 1024)
    return 0;

  const uint64_t bytes = (uint64_t) count * entry_bytes, disk_sectors = g->disk_bytes / SECTOR_SIZE;

  memset (sector + offsetof (struct gpt_header, header_crc), 0, sizeof header.header_crc);
  if (crc32_update (0, sector, header_bytes) != le32_to_cpu (header.header_crc) || start >= disk_sectors ||
      bytes > (disk_sectors - start) * SECTOR_SIZE)
    return 0;

  crc = 0;
  for (uint64_t at = 0; at < bytes; at += sizeof entries) {
    const size_t n = bytes - at < sizeof entries ? bytes - at : sizeof entries;

    if (read (opaque, entries, n, start * SECTOR_SIZE + at) == -1)
      return -1;
    crc = crc32_update (crc, entries, n);
    for (size_t i = 0; i < n; i += entry_bytes) {
      static const uint8_t unused[16];
      struct gpt_entry entry;

      memcpy (&entry, entries + i, sizeof entry);
      found |= memcmp (entry.type_guid, unused, sizeof unused) != 0 &&
               le64_to_cpu (entry.first_lba) == g->volume_start / SECTOR_SIZE;
    }
  }
  *ret = found && crc == le32_to_cpu (header.entries_crc);
  return 0;
}

int
partition_names_volume (const struct geometry *g, int (*read) (void *opaque, void *buf, size_t n, uint64_t offset),
                        void *opaque, bool *ret)
{
  struct mbr mbr;
  bool protective = false, others = false;

  *ret = true;
  if (g->partitioning == PARTITION_NONE)
    return 0;
  if (read (opaque, &mbr, sizeof mbr, 0) == -1)
    return -1;

  if (memcmp (mbr.magic, "\x55\xaa", 2) == 0)
    for (unsigned i = 0; i < 4; i++) {
      const struct mbr_entry *entry = &mbr.entries[i];

      if (entry->type == MBR_TYPE_GPT_PROTECTIVE)
        protective = true;
      else if (entry->type != 0 && le32_to_cpu (entry->first_lba) == g->volume_start / SECTOR_SIZE)
        return 0;
      else
        others |= entry->type != 0;
    }

  /* A GPT of ours counts without its protective MBR, too, unless another table was put in its place. */
  if (protective || (g->partitioning == PARTITION_GPT && !others)) {
    if (gpt_names_volume (g, 1, read, opaque, ret) == -1)
      return -1;
    return *ret ? 0 : gpt_names_volume (g, g->disk_bytes / SECTOR_SIZE - 1, read, opaque, ret);
  }
  *ret = false;
  return 0;
}
