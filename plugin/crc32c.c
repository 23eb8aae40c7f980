/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC-32C, eight bytes at a step: table[k][b] is what byte b does to the sum when k more bytes follow it in the step.
 * */

#include <config.h>

#include <pthread.h>

#include "crc32c.h"
#include "le.h"

#define POLYNOMIAL 0x82f63b78   /* 0x1edc6f41 with its bits reversed */

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make_table (void)
{
  for (unsigned b = 0; b < 256; ++b) {
    uint32_t crc = b;

    for (unsigned bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    table[0][b] = crc;
  }
  for (unsigned k = 1; k < 8; ++k)
    for (unsigned b = 0; b < 256; ++b)
      table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t
crc32c (uint32_t crc, const void *buf, size_t n)
{
  const uint8_t *p = buf;

  pthread_once (&once, make_table);
  crc = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t v = le64_to_cpu (*(const le64 *) p) ^ crc;

    crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^ table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff]
        ^ table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^ table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
  }
  for (; n > 0; --n, ++p)
    crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
  return ~crc;
}
