/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): tells whether a record of ours is whole. */

#ifndef CLOUDSHARE_CRC32C_H
#define CLOUDSHARE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc is that of the bytes before, 0 if there are none. */
extern uint32_t crc32c (uint32_t crc, const void *buf, size_t n);

#endif /* CLOUDSHARE_CRC32C_H */
