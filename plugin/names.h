/* SPDX-License-Identifier: BSD-3-Clause */
/* Names: bytes in the cloud, UTF-16 on a disk.  Pure; any thread.
 *
 * Characters.  What a disk cannot hold is shown as one unit of Unicode's private use area:
 *
 *   U+0001..U+001F " * / : < > ? \ |   U+F000 + the character, as WSL, Cygwin and SFU do
 *   "." or " " at the name's end       likewise
 *   a byte that is not valid UTF-8     U+EF00 + the byte (that is U+EF80..U+EFFF), which is ours alone
 *
 * A cloud name that itself has such a private character where we would use it, or U+FFFE or U+FFFF, is shown as if
 * those bytes were not valid UTF-8.  So no two cloud names are shown alike, and name_to_cloud finds the way back.
 *
 * Length.  Over 255 units: cut, and "~" and eight hexadecimal digits put before the extension (name_shorten).
 *
 * Sameness.  Names that a guest would take for one another have the same key: exFAT's up-case over Unicode's case
 * folding and NFC.  It is coarser than any guest's own comparison, so different keys are different names everywhere.
 * All but the first of one key get a number (name_number); that, like cutting, has no way back but the catalog.
 */

#ifndef CLOUDSHARE_NAMES_H
#define CLOUDSHARE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAME_UNITS 255

/* Maps characters; ret has room for n units.  Returns how many there are: as many as bytes at most, also over 255.
 * *ret_mapped says whether any is shown as another. */
extern size_t name_to_shown (const char *cloud, size_t n, uint16_t *ret, bool *ret_mapped);

/* The way back, NUL terminated; ret has room for NAME_UNITS * 3 + 1 bytes.  Returns the length; or -1, without a
 * message, where no cloud name would be shown like this one, or only one that is no name ("", ".", "..", with "/" or
 * NUL). */
extern ssize_t name_to_cloud (const uint16_t *shown, size_t units, char *ret);

/* Brings a name of any length down to 255 units, in place.  Returns its units. */
extern size_t name_shorten (uint16_t *shown, size_t units, const char *cloud, size_t n);

/* "NAME (number).EXT" into ret, which has room for 255 units; folders have no extension.  Where NAME must be cut for
 * it, it also gets "~" and eight hexadecimal digits, so that long names which differ at the end only don't have to be
 * told apart by ever higher numbers.  Returns its units. */
extern size_t name_number (const uint16_t *shown, size_t units, bool is_folder, uint32_t number,
                           uint16_t ret[NAME_UNITS]);

/* A hash of the key.  64 bits are taken for the key itself: two different keys of one hash would only cost a number
 * that was not needed.  At most 255 units. */
extern uint64_t name_key (const uint16_t *shown, size_t units);

/* Of bytes, the same on every machine and for ever: names on disk depend on it. */
extern uint64_t name_hash_bytes (const void *buf, size_t n);

/* The same for at most 255 units. */
extern uint64_t name_hash_units (const uint16_t *shown, size_t units);

#endif /* CLOUDSHARE_NAMES_H */
