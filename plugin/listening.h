/* SPDX-License-Identifier: BSD-3-Clause */
/* Where this process listens for NBD clients, and how it was told to treat them.
 *
 * nbdkit tells a plugin neither, so the process looks at itself: at its own file descriptors, which also covers sockets
 * that systemd made, and at its command line.
 *
 *   listening_find (cache_dir, &socket)              1; 0: there is none that a client could be told
 *   listening_free (&socket)
 *   listening_options (&options)
 *
 * Errors: -1 after one message.  May be called from any thread.
 */

#ifndef CLOUDSHARE_LISTENING_H
#define CLOUDSHARE_LISTENING_H

#include <stdbool.h>
#include <stddef.h>

struct listening {
  char *path;                  /* of a Unix socket, absolute; NULL: TCP */
  char *host;                  /* TCP: a numeric address, or "localhost" if any is */
  unsigned port;
  bool any;                    /* TCP: it listens at all of the host's addresses */
};

/* A Unix socket goes before TCP.  The control socket of the cache folder is none of them; neither are sockets with abstract names,
 * and of other families.  On 1 the caller calls listening_free. */
extern int listening_find (const char *cache_dir, struct listening *ret);
extern void listening_free (struct listening *socket);

enum listening_tls { LISTENING_TLS_OFF, LISTENING_TLS_ON, LISTENING_TLS_REQUIRE };

struct listening_options {
  enum listening_tls tls;      /* on: clients without TLS are served as well */
  bool psk;                    /* with a shared key, not with certificates */
  bool read_only;              /* nbdkit -r: for all */
};

/* Of this process. */
extern int listening_options (struct listening_options *ret);

/* Of a command line as proc(5) has it: n bytes, each argument with a NUL at its end. */
extern void listening_parse (const char *line, size_t n, struct listening_options *ret);

#endif /* CLOUDSHARE_LISTENING_H */
