/* SPDX-License-Identifier: BSD-3-Clause */
/* An rclone of our own: `rclone rcd --rc-serve` on a port of the loopback that the kernel chooses, with a user and a
 * password that are new with each start and that only its environment holds; started again, after a pause, when it ends;
 * and gone when this process is, however that ends.
 *
 *   daemon = rclone_daemon_new (config_file, timeout_s)     no traffic, no thread
 *   rclone_daemon_start (daemon)                            a thread, and the first rclone; waits until it is ready, or
 *                                                           until it is clear that it will not be soon
 *   rclone_daemon_ask (daemon, &access)                     any number, from any thread
 *   rclone_daemon_stop (daemon)                             ends it, and joins the thread
 *   rclone_daemon_free (daemon)
 *
 * start and stop may come several times.  rclone gets this process's environment, but for what would change its remote
 * control or its log.
 */

#ifndef CLOUDSHARE_RCLONE_DAEMON_H
#define CLOUDSHARE_RCLONE_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

struct rclone_daemon;

/* How to reach it: strings are malloc'ed. */
struct rclone_access {
  char *url;                   /* "http://127.0.0.1:PORT" */
  char *header;                /* "Authorization: ..." */
};

extern void rclone_access_clear (struct rclone_access *access);

#define CLEANUP_RCLONE_ACCESS __attribute__ ((cleanup (rclone_access_clear)))

/* config_file: an absolute path, or NULL for what rclone finds by itself.  timeout_s: after so many seconds without a byte
 * rclone gives up a connection to the cloud.  NULL: out of memory. */
extern struct rclone_daemon *rclone_daemon_new (const char *config_file, unsigned timeout_s);

/* -1 after one message: there is no thread.  That rclone does not start is said by rclone_daemon_ask. */
extern int rclone_daemon_start (struct rclone_daemon *daemon);
extern void rclone_daemon_stop (struct rclone_daemon *daemon);
extern void rclone_daemon_free (struct rclone_daemon *daemon);

/* 0: it runs.  -1: it does not, and *ret_sentence (malloc'ed, or NULL where there is no memory) says why; there is no
 * message. */
extern int rclone_daemon_ask (struct rclone_daemon *daemon, struct rclone_access *access, char **ret_sentence);

/* Waits until it is ready, up to ms; not where it never was.  True: it is. */
extern bool rclone_daemon_wait (struct rclone_daemon *daemon, unsigned ms);

/* Ends these waits; a stop follows. */
extern void rclone_daemon_stop_waiting (struct rclone_daemon *daemon);

/* How often it was started so far: who sees another number than before has to tell it anew what it does not keep. */
extern unsigned rclone_daemon_starts (struct rclone_daemon *daemon);

#endif /* CLOUDSHARE_RCLONE_DAEMON_H */
