/* SPDX-License-Identifier: BSD-3-Clause */
/* 8.3 names for FAT32. */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "names.h"
#include "shortname.h"

/* What may stand in an 8.3 name, lower case aside. */
static bool
is_short_character (uint16_t unit)
{
  return (unit >= 'A' && unit <= 'Z') || (unit >= '0' && unit <= '9') ||
         (unit > ' ' && unit < 0x7f && strchr ("!#$%&'()-@^_`{}~", unit) != NULL);
}

static uint16_t
ascii_upper (uint16_t unit)
{
  return unit >= 'a' && unit <= 'z' ? unit - 'a' + 'A' : unit;
}

static size_t
find_last_dot (const uint16_t *shown, size_t units)
{
  for (size_t i = units; i-- > 0; )
    if (shown[i] == '.')
      return i;
  return units;
}

/* Whether upper case is all that the name lacks. */
static bool
fits (const uint16_t *shown, size_t units)
{
  const size_t dot = find_last_dot (shown, units);

  if (dot == 0 || dot > 8 || (dot < units && (units - dot - 1 > 3 || units - dot - 1 == 0)))
    return false;
  for (size_t i = 0; i < units; i++)
    if (i != dot && !is_short_character (ascii_upper (shown[i])))
      return false;
  return true;
}

bool
shortname_is_exact (const uint16_t *shown, size_t units, uint8_t ret[SHORTNAME_BYTES])
{
  if (!fits (shown, units))
    return false;
  for (size_t i = 0; i < units; i++)
    if (shown[i] != ascii_upper (shown[i]))
      return false;

  const struct shortname name = shortname_begin (shown, units);

  return shortname_attempt (&name, 0, ret);
}

/* Copies what an 8.3 name can hold: dots and blanks go, and what is not allowed becomes "_", a pair of surrogates once.
 * */
static size_t
put_part (const uint16_t *from, size_t n, uint8_t *to, size_t room)
{
  size_t length = 0;

  for (size_t i = 0; i < n && length < room; i++) {
    const uint16_t unit = ascii_upper (from[i]);

    if (unit == '.' || unit == ' ' || unit >> 10 == 0xdc00 >> 10)
      continue;
    to[length++] = is_short_character (unit) ? unit : '_';
  }
  return length;
}

struct shortname
shortname_begin (const uint16_t *shown, size_t units)
{
  const uint64_t hash = name_hash_units (shown, units);
  struct shortname name = { .lossy = !fits (shown, units), .hash = hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48 };
  size_t dot = find_last_dot (shown, units);

  /* A leading dot begins no extension. */
  if (dot == 0)
    dot = units;
  memset (name.base, ' ', sizeof name.base);
  memset (name.extension, ' ', sizeof name.extension);
  name.base_length = put_part (shown, dot, name.base, sizeof name.base);
  if (dot < units)
    put_part (shown + dot + 1, units - dot - 1, name.extension, sizeof name.extension);
  if (name.base_length == 0)
    name.base[name.base_length++] = '_';
  return name;
}

bool
shortname_attempt (const struct shortname *name, uint32_t attempt, uint8_t ret[SHORTNAME_BYTES])
{
  char tail[8 + 1] = "";
  size_t keep = name->base_length;

  if (attempt == 0 && name->lossy)
    return false;

  if (attempt >= 5) {
    /* Adding an odd number goes through all 65,536 values. */
    const uint16_t hash = name->hash + (attempt - 5) / 9 * 0x9e37;

    snprintf (tail, sizeof tail, "%04X~%u", (unsigned) hash, (attempt - 5) % 9 + 1);
  }
  else if (attempt > 0)
    snprintf (tail, sizeof tail, "~%u", (unsigned) attempt & 7);

  if (keep > 8 - strlen (tail))
    keep = 8 - strlen (tail);
  memset (ret, ' ', SHORTNAME_BYTES);
  memcpy (ret, name->base, keep);
  memcpy (ret + keep, tail, strlen (tail));
  memcpy (ret + 8, name->extension, sizeof name->extension);
  return true;
}

size_t
shortname_text (const uint8_t alias[SHORTNAME_BYTES], uint16_t ret[SHORTNAME_TEXT_UNITS])
{
  size_t units = 0;

  for (size_t i = 0; i < SHORTNAME_BYTES; i++) {
    if (alias[i] == ' ')
      continue;
    if (i >= 8 && (i == 8 || alias[i - 1] == ' '))
      ret[units++] = '.';
    ret[units++] = alias[i];
  }
  return units;
}

uint8_t
shortname_checksum (const uint8_t alias[SHORTNAME_BYTES])
{
  uint8_t sum = 0;

  for (size_t i = 0; i < SHORTNAME_BYTES; i++)
    sum = (uint8_t) (sum >> 1 | sum << 7) + alias[i];
  return sum;
}
