/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of parameters. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "msg.h"
#include "params-file.h"

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char *
trim (char *text)
{
  char *end = text + strlen (text);

  while (is_blank (*text))
    ++text;
  while (end > text && is_blank (end[-1]))
    --end;
  *end = '\0';
  return text;
}

static int
take_line (char *line, const char *where, int (*each) (void *opaque, const char *key, const char *value, const char *where),
           void *opaque)
{
  char *key = trim (line), *equals;

  if (key[0] == '\0' || key[0] == '#')
    return 0;
  equals = strchr (key, '=');
  if (equals == NULL) {
    /* Not repeated: it may be a password. */
    msg_error ("%s: the line has no \"=\": give key=value, or begin a comment with #", where);
    return -1;
  }
  *equals = '\0';
  key = trim (key);
  if (key[0] == '\0') {
    msg_error ("%s: there is no key before \"=\": give key=value", where);
    return -1;
  }
  return each (opaque, key, trim (equals + 1), where);
}

static int
each_line (FILE *fp, const char *path, int (*each) (void *opaque, const char *key, const char *value, const char *where),
           void *opaque)
{
  CLEANUP_FREE char *line = NULL;
  size_t size = 0;
  ssize_t n;

  for (unsigned long number = 1; (n = getline (&line, &size, fp)) != -1; ++number) {
    CLEANUP_FREE char *where = NULL;
    char *text = line;

    if (asprintf (&where, "%s:%lu", path, number) == -1) {
      where = NULL;
      msg_error ("out of memory");
      return -1;
    }
    /* The rest of such a line would be lost in silence. */
    if (strlen (line) != (size_t) n) {
      msg_error ("%s: the line holds a NUL character: a file of parameters is plain text in UTF-8", where);
      return -1;
    }
    /* What Windows' editors begin a file with. */
    if (number == 1 && strncmp (text, "\xef\xbb\xbf", 3) == 0)
      text += 3;
    if (take_line (text, where, each, opaque) == -1)
      return -1;
  }
  if (!feof (fp)) {
    msg_error ("%s: cannot be read: %s", path, strerror (errno));
    return -1;
  }
  return 0;
}

int
params_file_each (const char *path, int (*each) (void *opaque, const char *key, const char *value, const char *where),
                  void *opaque)
{
  /* A pipe that nobody writes to would be waited for. */
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  FILE *fp;
  int r;

  if (fd == -1) {
    msg_error ("%s: cannot be opened: %s", path, strerror (errno));
    return -1;
  }
  if (fstat (fd, &st) == -1 || !S_ISREG (st.st_mode)) {
    close (fd);
    msg_error ("%s: is not a file: parameters are read anew by \"cloudsharectl reload\", so they must stand in one", path);
    return -1;
  }
  fp = fdopen (fd, "r");
  if (fp == NULL) {
    close (fd);
    msg_error ("%s: cannot be opened: %s", path, strerror (errno));
    return -1;
  }
  r = each_line (fp, path, each, opaque);
  fclose (fp);
  return r;
}
