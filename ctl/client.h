/* SPDX-License-Identifier: BSD-3-Clause */
/* Talks to a running server over the control socket of its cache folder (sync/control.h has the protocol).
 *
 *   client = client_open (dir)
 *   client_ask (client, request)
 *   while ((reply = client_next (client)) ...) json_object_put (reply)
 *   client_close (client)
 */

#ifndef CLOUDSHARE_CLIENT_H
#define CLOUDSHARE_CLIENT_H

#include <stdbool.h>

struct client;
struct json_object;

/* NULL: no server answers (*ret_none true, nothing said), or after one message. */
extern struct client *client_open (const char *dir, bool *ret_none);
extern void client_close (struct client *client);

/* -1 after one message. */
extern int client_ask (struct client *client, struct json_object *request);

/* The next line of the answer, the caller's.  *ret_last: it is the answer itself, not progress.  NULL after one
 * message. */
extern struct json_object *client_next (struct client *client, bool *ret_last);

#endif /* CLOUDSHARE_CLIENT_H */
