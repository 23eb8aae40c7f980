/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection to a server's host and port, by libcurl: with TLS, certificates and proxies as for requests, for what is no
 * request.  One thread at a time. */

#ifndef CLOUDSHARE_WIRE_H
#define CLOUDSHARE_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct wire;

struct wire_config {
  const char *url;             /* http or https; only its host and port count */
  const char *cainfo;          /* or NULL for the system's authorities */
  bool sslverify;
  const atomic_bool *stopping; /* ends what is under way, within a second */
};

/* Connects.  NULL; *ret_why is then a malloc'ed sentence, or NULL. */
extern struct wire *wire_open (const struct wire_config *config, char **ret_why);
extern void wire_close (struct wire *wire);

/* Sends all.  -1: the connection is over, or stopping. */
extern int wire_send (struct wire *wire, const void *buf, size_t n);

/* What has come, at once: more than 0; 0: nothing yet; -1: the connection is over. */
extern ssize_t wire_receive (struct wire *wire, void *buf, size_t n);

/* For poll, once wire_receive gave 0. */
extern int wire_fd (struct wire *wire);

#endif /* CLOUDSHARE_WIRE_H */
