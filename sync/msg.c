/* SPDX-License-Identifier: BSD-3-Clause */
/* Formats messages and hands them to the program's sink. */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "msg.h"

static void
to_stderr (enum msg_level level, const char *text)
{
  if (level != MSG_DEBUG)
    fprintf (stderr, "cloudshare: %s\n", text);
}

static msg_sink current_sink = to_stderr;

void
msg_set_sink (msg_sink sink)
{
  current_sink = sink;
}

/* A message longer than this is cut: names from a server can be long, a log line must not be. */
#define MSG_MAX 2048

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
    current_sink (level, text);                                 \
    errno = err;                                                \
  }

DEFINE_MSG (msg_error, MSG_ERROR)
DEFINE_MSG (msg_notice, MSG_NOTICE)
DEFINE_MSG (msg_debug, MSG_DEBUG)
