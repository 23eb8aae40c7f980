/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's side of WebSocket (RFC 6455), without the connection: pure, but for random numbers. */

#ifndef CLOUDSHARE_WEBSOCKET_H
#define CLOUDSHARE_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longer messages are refused. */
#define WEBSOCKET_MAX_MESSAGE (1 << 20)

/* Room that a frame needs beside its payload. */
#define WEBSOCKET_MAX_HEADER 14

/* ---- the handshake, section 4 ---- */

struct websocket_key {
  char key[25];                /* Sec-WebSocket-Key */
  char accept[29];             /* what the server has to answer to it */
};

extern void websocket_key_of (const uint8_t random[16], struct websocket_key *ret);

/* The request; host is "HOST[:PORT]".  malloc'ed; NULL: out of memory. */
extern char *websocket_request (const char *host, const char *path, const struct websocket_key *key);

/* Reads n bytes of the answer.  How many of them it is; 0: not whole yet; -1: it is a refusal, or none at all, with
 * *ret_status 0 then. */
extern ssize_t websocket_answer (const char *text, size_t n, const struct websocket_key *key, int *ret_status);

/* ---- frames, section 5 ---- */

enum websocket_opcode {
  WEBSOCKET_MORE = 0, WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2, WEBSOCKET_CLOSE = 8, WEBSOCKET_PING = 9, WEBSOCKET_PONG = 10,
};

/* A whole message as one frame to a server, into out (n + WEBSOCKET_MAX_HEADER bytes).  Returns its length. */
extern size_t websocket_frame (uint8_t *out, enum websocket_opcode opcode, const void *payload, size_t n,
                               const uint8_t mask[4]);

struct websocket_frame {
  enum websocket_opcode opcode;
  bool last;                   /* of its message */
  const uint8_t *payload;      /* within what was read */
  size_t n;
};

/* Reads a server's frame out of n bytes.  How many of them it is; 0: not whole yet; -1: against the protocol, or too long. */
extern ssize_t websocket_read (const uint8_t *bytes, size_t n, struct websocket_frame *ret);

#endif /* CLOUDSHARE_WEBSOCKET_H */
