/* SPDX-License-Identifier: BSD-3-Clause */
/* exFAT's recommended up-case table (exFAT specification 7.2.5): what makes two names the same on an exFAT volume.
 *
 * It is stored as it stands on disk, compressed, and expanded once, by whoever asks first.  Safe from any thread.
 */

#ifndef CLOUDSHARE_UPCASE_H
#define CLOUDSHARE_UPCASE_H

#include <stddef.h>
#include <stdint.h>

#define UPCASE_BYTES    5836u         /* on disk, compressed */
#define UPCASE_CHECKSUM 0xe619d30du   /* 7.2.2 */

/* For all 65,536 UTF-16 units the unit in upper case; one that has none, or is half of a surrogate pair, is itself. */
extern const uint16_t *upcase_table (void);

/* Fills buf with the n bytes at offset of the compressed table; past its end there are zeros. */
extern void upcase_read (void *buf, size_t n, uint64_t offset);

#endif /* CLOUDSHARE_UPCASE_H */
