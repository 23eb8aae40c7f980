/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: how an administrator's program talks to the running process.
 *
 *   control = control_start (dir, verbs, n_verbs, opaque)     the socket "control" in that folder, and a thread
 *   control_stop (control)
 *
 * A Unix stream socket with mode 0600.  One JSON object a line in both directions.  A request has "verb", and what the
 * verb takes; the answer is any number of lines with "progress": true, and at last one with "ok": true, or with "ok":
 * false and a sentence for people in "error".  A client may send its next request then.
 *
 * All verbs run on the one thread, which also serves all other clients: so a verb must not wait.  One that takes long
 * says when it wants to be called again.
 *
 * This is the only file that speaks the protocol on this side; ctl/client.c does on the other. */

#ifndef CLOUDSHARE_CONTROL_H
#define CLOUDSHARE_CONTROL_H

#include <stddef.h>
#include <stdint.h>

struct control;
struct control_client;
struct json_object;

/* The socket's file name. */
#define CONTROL_SOCKET "control"

struct control_verb {
  const char *name;

  /* Fills reply (an empty object).  0: that is the answer.  -1: it did not work, and control_failed said why.  n > 0:
   * reply is progress; call me again in n milliseconds, unless the client has gone by then. */
  int (*run) (void *opaque, struct json_object *request, struct json_object *reply, struct control_client *client);
};

/* Sets the reply's sentence.  Returns -1. */
extern int control_failed (struct json_object *reply, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));

/* Since the request came. */
extern uint64_t control_elapsed_ms (const struct control_client *client);

/* verbs are borrowed.  Who calls it holds the folder's lock: a socket that nobody answers at is a dead process's, and
 * is replaced.  NULL after one message. */
extern struct control *control_start (const char *dir, const struct control_verb *verbs, size_t n_verbs, void *opaque);

/* No verb runs any more when it returns.  control may be NULL. */
extern void control_stop (struct control *control);

/* A socket's path in a folder, also where it is too long for a socket's address.  The caller closes *ret_dir_fd when
 * it has bound or connected.  -1 with errno. */
struct sockaddr_un;
extern int control_address (const char *dir, struct sockaddr_un *ret, int *ret_dir_fd);

#endif /* CLOUDSHARE_CONTROL_H */
