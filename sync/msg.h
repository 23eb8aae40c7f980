/* SPDX-License-Identifier: BSD-3-Clause */
/* Where messages go.
 *
 * libsync knows nothing of the program it is part of.  The program says once, before it starts threads, where messages
 * go (msg_set_sink); until then they go to standard error.  A message is one sentence for a person: it names the file,
 * disk or remote, says what was wrong, and what to do.  Never a secret: no password, token, cookie or Authorization header.
 *
 * Errors are said once, at the place that knows why; callers pass -1 or NULL up in silence.
 *
 * Safe from any thread.  errno is kept.
 */

#ifndef CLOUDSHARE_MSG_H
#define CLOUDSHARE_MSG_H

#include <stdarg.h>

enum msg_level {
  MSG_ERROR,   /* something that the user asked for did not work */
  MSG_NOTICE,  /* worth knowing, once: the remote is back, 3 files are left out */
  MSG_DEBUG,   /* for developers; off unless the program was started verbosely */
};

/* Receives every message, already formatted, without a newline. */
typedef void (*msg_sink) (enum msg_level level, const char *text);

extern void msg_set_sink (msg_sink sink);

/* From here on the first error of this thread is kept as well, for who asked for what fails.  msg_kept ends that: malloc'ed, or NULL if
 * there was none. */
extern void msg_keep (void);
extern char *msg_kept (void);

extern void msg_error (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
extern void msg_notice (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
extern void msg_debug (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

#endif /* CLOUDSHARE_MSG_H */
