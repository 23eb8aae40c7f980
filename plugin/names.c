/* SPDX-License-Identifier: BSD-3-Clause */
/* Names: bytes in the cloud, UTF-16 on a disk. */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

#include "le.h"
#include "names.h"
#include "upcase.h"

#define MAPPED_CHARACTER 0xf000
#define MAPPED_BYTE      0xef00

/* The longest extension that keeps its place, in units without its dot. */
#define EXTENSION_UNITS 16

static inline bool
is_high_surrogate (uint16_t unit)
{
  return unit >> 10 == 0xd800 >> 10;
}

static inline bool
is_low_surrogate (uint16_t unit)
{
  return unit >> 10 == 0xdc00 >> 10;
}

static bool
is_illegal (uint32_t c)
{
  return c < 0x20 ? c > 0 : c < 0x80 && strchr ("\"*/:<>?\\|", c) != NULL;
}

static bool
is_illegal_at_end (uint32_t c)
{
  return c == '.' || c == ' ';
}

/* Whether the code point, as such, could not be told from one of our own making. */
static bool
is_reserved (uint32_t c, bool at_end)
{
  if (c >= MAPPED_CHARACTER && c < MAPPED_CHARACTER + 0x80)
    return is_illegal (c - MAPPED_CHARACTER) || (at_end && is_illegal_at_end (c - MAPPED_CHARACTER));
  return (c >= MAPPED_BYTE + 0x80 && c <= MAPPED_BYTE + 0xff) || c == 0xfffe || c == 0xffff;
}

static size_t
put_utf16 (uint32_t c, uint16_t *to)
{
  if (c < 0x10000) {
    to[0] = c;
    return 1;
  }
  to[0] = 0xd800 + ((c - 0x10000) >> 10);
  to[1] = 0xdc00 + ((c - 0x10000) & 0x3ff);
  return 2;
}

/* The code point at the name's start and how many units it takes; half of a pair is itself. */
static size_t
get_utf16 (const uint16_t *from, size_t units, uint32_t *ret)
{
  if (units > 1 && is_high_surrogate (from[0]) && is_low_surrogate (from[1])) {
    *ret = 0x10000 + ((uint32_t) (from[0] - 0xd800) << 10) + (from[1] - 0xdc00);
    return 2;
  }
  *ret = from[0];
  return 1;
}

size_t
name_to_shown (const char *cloud, size_t n, uint16_t *ret, bool *ret_mapped)
{
  const uint8_t *p = (const uint8_t *) cloud, *const end = p + n;
  uint16_t *to = ret;
  bool mapped = false;

  while (p < end) {
    utf8proc_int32_t c = *p;
    utf8proc_ssize_t bytes = c < 0x80 ? 1 : utf8proc_iterate (p, end - p, &c);

    if (bytes < 1 || is_reserved (c, p + bytes == end)) {
      if (bytes < 1)
        bytes = 1;
      for (; bytes > 0; bytes--)
        *to++ = MAPPED_BYTE + *p++;
      mapped = true;
      continue;
    }

    p += bytes;
    if (is_illegal (c) || (p == end && is_illegal_at_end (c))) {
      c += MAPPED_CHARACTER;
      mapped = true;
    }
    to += put_utf16 (c, to);
  }
  *ret_mapped = mapped;
  return to - ret;
}

/* The reverse of each step of name_to_shown; whether it was a reverse of anything is for the caller to see. */
static char *
unmap_character (uint32_t c, bool at_end, char *to)
{
  if (c >= MAPPED_BYTE + 0x80 && c <= MAPPED_BYTE + 0xff) {
    *to = c - MAPPED_BYTE;
    return to + 1;
  }
  if (c < 0xfffe && is_reserved (c, at_end))
    c -= MAPPED_CHARACTER;
  return to + utf8proc_encode_char (c, (uint8_t *) to);
}

ssize_t
name_to_cloud (const uint16_t *shown, size_t units, char *ret)
{
  uint16_t again[NAME_UNITS * 3];
  char *to = ret;
  bool mapped;
  size_t n;

  if (units < 1 || units > NAME_UNITS)
    return -1;

  for (size_t i = 0; i < units; ) {
    uint32_t c;

    i += get_utf16 (shown + i, units - i, &c);
    if (c >> 11 == 0xd800 >> 11)
      return -1;   /* half a pair is no character */
    to = unmap_character (c, i == units, to);
  }
  n = to - ret;
  *to = '\0';

  if (memchr (ret, '/', n) || memchr (ret, '\0', n) || strcmp (ret, ".") == 0 || strcmp (ret, "..") == 0)
    return -1;
  if (name_to_shown (ret, n, again, &mapped) != units || memcmp (again, shown, units * sizeof again[0]) != 0)
    return -1;
  return n;
}

uint64_t
name_hash_bytes (const void *buf, size_t n)
{
  /* FNV-1a, 64 bits. */
  const uint8_t *p = buf;
  uint64_t hash = 0xcbf29ce484222325;

  for (size_t i = 0; i < n; i++)
    hash = (hash ^ p[i]) * 0x100000001b3;
  return hash;
}

uint64_t
name_hash_units (const uint16_t *shown, size_t units)
{
  le16 bytes[NAME_UNITS];

  for (size_t i = 0; i < units; i++)
    bytes[i] = cpu_to_le16 (shown[i]);
  return name_hash_bytes (bytes, units * sizeof bytes[0]);
}

/* Where the extension begins, with its dot; units if there is none that is worth keeping. */
static size_t
find_extension (const uint16_t *shown, size_t units)
{
  for (size_t i = units; i-- > 1 && units - i - 1 <= EXTENSION_UNITS; )
    if (shown[i] == '.')
      return i;
  return units;
}

static uint32_t
fold_hash (uint64_t hash)
{
  return hash ^ hash >> 32;
}

/* Puts a suffix of ASCII between stem and extension, cutting the stem where that would be too long.  to may be from. */
static size_t
insert_suffix (const uint16_t *from, size_t units, size_t extension, const char *suffix, uint16_t *to)
{
  uint16_t tail[EXTENSION_UNITS + 1];
  const size_t tail_units = units - extension, suffix_units = strlen (suffix);
  size_t n = extension;

  if (n + suffix_units + tail_units > NAME_UNITS) {
    n = NAME_UNITS - suffix_units - tail_units;
    if (is_high_surrogate (from[n - 1]))
      n--;
  }

  memcpy (tail, from + extension, tail_units * sizeof tail[0]);
  memmove (to, from, n * sizeof to[0]);
  for (size_t i = 0; i < suffix_units; i++)
    to[n++] = (uint8_t) suffix[i];
  memcpy (to + n, tail, tail_units * sizeof tail[0]);
  return n + tail_units;
}

size_t
name_shorten (uint16_t *shown, size_t units, const char *cloud, size_t n)
{
  char suffix[16];

  if (units <= NAME_UNITS)
    return units;
  snprintf (suffix, sizeof suffix, "~%08x", (unsigned) fold_hash (name_hash_bytes (cloud, n)));
  return insert_suffix (shown, units, find_extension (shown, units), suffix, shown);
}

size_t
name_number (const uint16_t *shown, size_t units, bool is_folder, uint32_t number, uint16_t ret[NAME_UNITS])
{
  char suffix[32];
  int n = snprintf (suffix, sizeof suffix, " (%u)", (unsigned) number);

  if (units + n > NAME_UNITS)
    snprintf (suffix, sizeof suffix, "~%08x (%u)", (unsigned) fold_hash (name_hash_units (shown, units)),
              (unsigned) number);
  return insert_suffix (shown, units, is_folder ? units : find_extension (shown, units), suffix, ret);
}

static inline uint64_t
mix_unit (uint64_t hash, uint16_t unit)
{
  hash = (hash ^ unit) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 29;
}

/* Every character on its own: what is left if Unicode's rules cannot be applied. */
static uint64_t
plain_key (const uint16_t *shown, size_t units)
{
  const uint16_t *const upcase = upcase_table ();
  uint64_t hash = 0;

  for (size_t i = 0; i < units; i++)
    hash = mix_unit (hash, upcase[shown[i]]);
  return hash;
}

uint64_t
name_key (const uint16_t *shown, size_t units)
{
  const int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD;
  const uint16_t *const upcase = upcase_table ();
  uint8_t utf8[NAME_UNITS * 3];
  utf8proc_int32_t folded[NAME_UNITS * 12];
  utf8proc_ssize_t bytes = 0, n;
  uint16_t any = 0, pair[2];
  uint64_t hash = 0;

  for (size_t i = 0; i < units; i++)
    any |= shown[i];
  if (any < 0x80)
    return plain_key (shown, units);

  for (size_t i = 0; i < units; ) {
    uint32_t c;

    i += get_utf16 (shown + i, units - i, &c);
    if (c >> 11 == 0xd800 >> 11)
      return plain_key (shown, units);
    bytes += utf8proc_encode_char (c, utf8 + bytes);
  }

  n = utf8proc_decompose (utf8, bytes, folded, sizeof folded / sizeof folded[0], options);
  if (n > 0 && (size_t) n <= sizeof folded / sizeof folded[0])
    n = utf8proc_normalize_utf32 (folded, n, options);
  if (n <= 0 || (size_t) n > sizeof folded / sizeof folded[0])
    return plain_key (shown, units);

  for (utf8proc_ssize_t i = 0; i < n; i++) {
    const size_t m = put_utf16 (folded[i], pair);

    for (size_t j = 0; j < m; j++)
      hash = mix_unit (hash, upcase[pair[j]]);
  }
  return hash;
}
