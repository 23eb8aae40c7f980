/* SPDX-License-Identifier: BSD-3-Clause */
/* Nextcloud's notify_push: a WebSocket on which the server says that files have changed.
 *
 *   notify = notify_new (&config)
 *   notify_start (notify)          a thread that asks the server whether it has that, connects, and connects again
 *   notify_end (notify)            tells it to end, without waiting; requests that it waits for are ended by http_stop
 *   notify_join (notify)
 *   notify_free (notify)
 *
 * The endpoint is learned from the server's capabilities (ocs/v2.php/cloud/capabilities).  It gets the user and the password, and so
 * must be at the same host, and with TLS where the remote has it.
 */

#ifndef CLOUDSHARE_NOTIFY_PUSH_H
#define CLOUDSHARE_NOTIFY_PUSH_H

#include <stdbool.h>
#include <stddef.h>

struct http;
struct notify;

/* Strings are copied, http is borrowed. */
struct notify_config {
  struct http *http;
  const char *user, *password;
  const char *cainfo;
  bool sslverify;

  /* On the thread: files may have changed, or the connection is there, or is lost. */
  void (*changed) (void *opaque);
  void *opaque;
};

/* NULL after one message. */
extern struct notify *notify_new (const struct notify_config *config);

/* remote: the URL of the folder.  Nothing happens where it is none of Nextcloud's, or when it runs already.  -1 after one
 * message. */
extern int notify_start (struct notify *notify, const char *remote);
extern void notify_end (struct notify *notify);
extern void notify_join (struct notify *notify);
extern void notify_free (struct notify *notify);

/* Whether the server says so right now.  Any thread. */
extern bool notify_is_ready (struct notify *notify);

/* Pure parts, for tests. */

/* The URL of the capabilities, malloc'ed; NULL: the remote is none of Nextcloud's. */
extern char *notify_capabilities_url (const char *remote);

/* The endpoint that capabilities (JSON) name, as an http or https URL, malloc'ed; NULL: there is none, or none that may
 * know the password: *ret_refused. */
extern char *notify_endpoint (const char *remote, const char *json, size_t n, bool *ret_refused);

#endif /* CLOUDSHARE_NOTIFY_PUSH_H */
