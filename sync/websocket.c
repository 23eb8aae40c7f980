/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's side of WebSocket. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "cleanup.h"
#include "websocket.h"

/* Longer answers to the handshake are refused. */
#define MAX_ANSWER 16384

void
websocket_key_of (const uint8_t random[16], struct websocket_key *ret)
{
  /* Section 1.3. */
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  char text[sizeof ret->key + sizeof guid];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;

  EVP_EncodeBlock ((unsigned char *) ret->key, random, 16);
  snprintf (text, sizeof text, "%s%s", ret->key, guid);
  EVP_Digest (text, strlen (text), digest, &n, EVP_sha1 (), NULL);
  EVP_EncodeBlock ((unsigned char *) ret->accept, digest, 20);
}

char *
websocket_request (const char *host, const char *path, const struct websocket_key *key)
{
  char *text;

  if (asprintf (&text,
                "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                "Sec-WebSocket-Version: 13\r\nUser-Agent: cloudshare/" PACKAGE_VERSION "\r\n\r\n", path, host, key->key) == -1)
    return NULL;
  return text;
}

/* Whether one of the lines of the head is that header with that value. */
static bool
has_header (const char *head, const char *name, const char *value, bool exact)
{
  const size_t len = strlen (name);

  for (const char *line = strstr (head, "\r\n"); line; line = strstr (line, "\r\n")) {
    size_t n;

    line += 2;
    if (strncasecmp (line, name, len) != 0 || line[len] != ':')
      continue;
    line += len + 1;
    line += strspn (line, " \t");
    n = strcspn (line, "\r");
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
      n--;
    if (n == strlen (value) && (exact ? strncmp : strncasecmp) (line, value, n) == 0)
      return true;
  }
  return false;
}

ssize_t
websocket_answer (const char *text, size_t n, const struct websocket_key *key, int *ret_status)
{
  const char *end = memmem (text, n, "\r\n\r\n", 4);
  CLEANUP_FREE char *head = NULL;
  char rest;

  *ret_status = 0;
  if (end == NULL)
    return n > MAX_ANSWER ? -1 : 0;
  head = strndup (text, (size_t) (end - text) + 2);
  if (head == NULL || strlen (head) != (size_t) (end - text) + 2 ||
      sscanf (head, "HTTP/1.1 %3d%c", ret_status, &rest) != 2)
    return -1;
  if (*ret_status != 101 || !has_header (head, "Upgrade", "websocket", false) ||
      !has_header (head, "Sec-WebSocket-Accept", key->accept, true))
    return -1;
  return end + 4 - text;
}

size_t
websocket_frame (uint8_t *out, enum websocket_opcode opcode, const void *payload, size_t n, const uint8_t mask[4])
{
  size_t at = 2;

  out[0] = 0x80 | opcode;
  if (n < 126)
    out[1] = 0x80 | (uint8_t) n;
  else {
    const unsigned bytes = n < 65536 ? 2 : 8;

    out[1] = 0x80 | (bytes == 2 ? 126 : 127);
    for (unsigned i = bytes; i > 0; --i)
      out[at++] = (uint8_t) ((uint64_t) n >> 8 * (i - 1));
  }
  memcpy (out + at, mask, 4);
  at += 4;
  for (size_t i = 0; i < n; ++i)
    out[at + i] = ((const uint8_t *) payload)[i] ^ mask[i % 4];
  return at + n;
}

ssize_t
websocket_read (const uint8_t *bytes, size_t n, struct websocket_frame *ret)
{
  const bool control = n > 0 && (bytes[0] & 0x08);
  uint64_t length;
  size_t at = 2;

  /* No extension was agreed upon, so the reserved bits are 0; opcodes from 3 to 7 and from 11 on are nobody's; and a server
   * masks nothing (5.1, 5.2). */
  if (n > 0 && ((bytes[0] & 0x70) || (bytes[0] & 0x07) > 2 || (control && !(bytes[0] & 0x80))))
    return -1;
  if (n > 1 && (bytes[1] & 0x80))
    return -1;
  if (n < 2)
    return 0;
  length = bytes[1];
  if (length >= 126) {
    const unsigned wide = length == 126 ? 2 : 8;

    if (control)
      return -1;               /* 5.5 */
    if (n < 2 + wide)
      return 0;
    length = 0;
    for (unsigned i = 0; i < wide; ++i)
      length = length << 8 | bytes[at++];
  }
  if (length > WEBSOCKET_MAX_MESSAGE)
    return -1;
  if (n - at < length)
    return 0;
  *ret = (struct websocket_frame) {
    .opcode = bytes[0] & 0x0f, .last = bytes[0] & 0x80, .payload = bytes + at, .n = (size_t) length,
  };
  return (ssize_t) (at + length);
}
