/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is at the other end of the current connection, as far as nbdkit can tell: for .list_exports and .open. */

#ifndef CLOUDSHARE_PEER_H
#define CLOUDSHARE_PEER_H

#include <stdbool.h>

#include "rules.h"

/* Asks for what rules go by, and for nothing else.  *ret_cert holds what the answer points to; malloc'ed, or NULL. */
extern struct rules_peer peer_ask (bool uid, bool cert, char **ret_cert);

#endif /* CLOUDSHARE_PEER_H */
