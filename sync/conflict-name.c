/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of conflicted copies. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conflict-name.h"
#include "msg.h"

/* What is behind the last dot is an extension only up to this length, bytes. */
#define EXTENSION_MAX 32

#define VM_MAX 40

/* At most n bytes of the text, and no part of a UTF-8 character. */
static size_t
cut (const char *text, size_t length, size_t n)
{
  if (length <= n)
    return length;
  while (n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80)
    n--;
  return n;
}

/* Of an export name only what every file system takes. */
static void
name_vm (const char *view, char *buf)
{
  const size_t n = cut (view, strcspn (view, "/"), VM_MAX);

  for (size_t i = 0; i < n; ++i)
    buf[i] = (unsigned char) view[i] < ' ' || view[i] == 0x7f || strchr ("\\:*?\"<>|", view[i]) ? '_' : view[i];
  buf[n] = '\0';
}

char *
conflict_name (const char *name, bool is_folder, const char *view, const struct tm *when, unsigned n)
{
  const char *dot = is_folder ? NULL : strrchr (name, '.');
  const size_t length = strlen (name);
  char vm[VM_MAX + 1], mark[VM_MAX + 80], again[16] = "";
  size_t stem, extension;
  char *ret;

  if (dot == name || (dot && strlen (dot) > EXTENSION_MAX) || (dot && dot[1] == '\0'))
    dot = NULL;
  extension = dot ? strlen (dot) : 0;
  name_vm (view ? view : "", vm);
  if (n > 1)
    snprintf (again, sizeof again, " %u", n);
  snprintf (mark, sizeof mark, " (conflicted copy %04d-%02d-%02d %02d%02d%02d%s%s%s)", when->tm_year + 1900,
            when->tm_mon + 1, when->tm_mday, when->tm_hour, when->tm_min, when->tm_sec, vm[0] ? " " : "", vm, again);

  stem = cut (name, length - extension, CONFLICT_NAME_MAX - extension - strlen (mark));
  if (asprintf (&ret, "%.*s%s%s", (int) stem, name, mark, dot ? dot : "") == -1) {
    msg_error ("out of memory");
    return NULL;
  }
  return ret;
}
