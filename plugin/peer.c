/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is at the other end of the current connection. */

#include <config.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "peer.h"

/* The kernel knows a peer's user for Unix sockets only. */
static bool
is_unix_socket (void)
{
  struct sockaddr_storage address = { 0 };
  socklen_t n = sizeof address;

  return nbdkit_peer_name ((struct sockaddr *) &address, &n) == 0 && address.ss_family == AF_UNIX;
}

/* nbdkit tells of certificates since 1.44 or so, and the plugin loads into older ones as well (nbdkit_peer_tls_dn(3)). */
static char *
certificate (void)
{
  char *(*ask) (void) = (char *(*) (void)) dlsym (RTLD_DEFAULT, "nbdkit_peer_tls_dn");
  char *dn = ask ? ask () : NULL;

  if (dn && dn[0] == '\0') {
    free (dn);
    dn = NULL;
  }
  return dn;
}

struct rules_peer
peer_ask (bool uid, bool cert, char **ret_cert)
{
  struct rules_peer peer = { 0 };

  *ret_cert = NULL;
  if (uid && is_unix_socket ()) {
    const int64_t id = nbdkit_peer_uid ();

    peer.has_uid = id >= 0;
    peer.uid = id >= 0 ? id : 0;
  }
  if (cert)
    peer.cert = *ret_cert = certificate ();
  return peer;
}
