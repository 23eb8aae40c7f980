/* SPDX-License-Identifier: BSD-3-Clause */
/* Formats messages and hands them to the program's sink. */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

static void
to_stderr (enum msg_level level, const char *text)
{
  if (level != MSG_DEBUG)
    fprintf (stderr, "cloudshare: %s\n", text);
}

static msg_sink current_sink = to_stderr;
static _Thread_local bool keeping;
static _Thread_local char *kept;

void
msg_set_sink (msg_sink sink)
{
  current_sink = sink;
}

void
msg_keep (void)
{
  free (kept);
  kept = NULL;
  keeping = true;
}

char *
msg_kept (void)
{
  char *text = kept;

  kept = NULL;
  keeping = false;
  return text;
}

/* A message longer than this is cut: names from a server can be long, a log line must not be. */
#define MSG_MAX 2048

/* Messages hold names that servers gave: a terminal or a log must not act on them.  Control characters, those of UTF-8's
 * U+0080 to U+009F included, become question marks. */
static void
make_harmless (char *text)
{
  for (unsigned char *p = (unsigned char *) text; *p; ++p) {
    if (*p < 0x20 || *p == 0x7f)
      *p = '?';
    else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
      *p = p[1] = '?';
  }
}

#define DEFINE_MSG(name, level)                                 \
  void                                                          \
  name (const char *fmt, ...)                                   \
  {                                                             \
    const int err = errno;                                      \
    char text[MSG_MAX];                                         \
    va_list args;                                               \
                                                                \
    va_start (args, fmt);                                       \
    errno = err;                                                \
    vsnprintf (text, sizeof text, fmt, args);                   \
    va_end (args);                                              \
    make_harmless (text);                                       \
    if (keeping && level == MSG_ERROR && kept == NULL)          \
      kept = strdup (text);                                     \
    current_sink (level, text);                                 \
    errno = err;                                                \
  }

DEFINE_MSG (msg_error, MSG_ERROR)
DEFINE_MSG (msg_notice, MSG_NOTICE)
DEFINE_MSG (msg_debug, MSG_DEBUG)
