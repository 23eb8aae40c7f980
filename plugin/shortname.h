/* SPDX-License-Identifier: BSD-3-Clause */
/* 8.3 names for FAT32 (fatgen103, "Short Directory Entries" and "Name Limits and Character Sets").  Pure; any thread.
 *
 * Only ASCII is used: bytes from 0x80 on mean something else in every code page, and 0xE5 means "deleted".
 */

#ifndef CLOUDSHARE_SHORTNAME_H
#define CLOUDSHARE_SHORTNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHORTNAME_BYTES 11
#define SHORTNAME_TEXT_UNITS 12   /* "FILENAME.EXT" */

/* More numbers than this there are not for one name. */
#define SHORTNAME_ATTEMPTS (5 + 65536u * 9)

/* True where the name is an upper-case 8.3 name itself and needs no other; then it is in ret. */
extern bool shortname_is_exact (const uint16_t *shown, size_t units, uint8_t ret[SHORTNAME_BYTES]);

/* What the aliases of one name are made of. */
struct shortname {
  uint8_t base[8], extension[3];
  uint8_t base_length;
  bool lossy;              /* not just the name in upper case: needs a number */
  uint16_t hash;
};

extern struct shortname shortname_begin (const uint16_t *shown, size_t units);

/* The alias to try: attempt 0 is the name in upper case (false where that is impossible), 1 to 4 BASIS~N as Windows
 * does it, then two characters, four hexadecimal digits of the name's hash, and a number: names of one basis differ
 * there. */
extern bool shortname_attempt (const struct shortname *name, uint32_t attempt, uint8_t ret[SHORTNAME_BYTES]);

/* The alias as a guest shows it, "BASE.EXT".  Returns its units. */
extern size_t shortname_text (const uint8_t alias[SHORTNAME_BYTES], uint16_t ret[SHORTNAME_TEXT_UNITS]);

/* What ties the parts of a long name to the alias behind them. */
extern uint8_t shortname_checksum (const uint8_t alias[SHORTNAME_BYTES]);

#endif /* CLOUDSHARE_SHORTNAME_H */
