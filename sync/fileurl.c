/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns file: URLs into paths. */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fileurl.h"
#include "msg.h"

static int
hex_digit (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *
fileurl_path (const char *url)
{
  char *path, *out;

  if (strncasecmp (url, "file:", 5) != 0) {
    path = strdup (url);
    if (path == NULL)
      msg_error ("%s: out of memory", url);
    return path;
  }
  url += 5;
  if (strncmp (url, "//", 2) == 0) {
    url += 2;
    if (strncasecmp (url, "localhost/", 10) == 0)
      url += 9;
  }
  if (*url != '/') {
    msg_error ("remote=file:%s: only folders of this host can be named like that, as file:///path", url);
    return NULL;
  }
  path = out = strdup (url);
  if (path == NULL) {
    msg_error ("%s: out of memory", url);
    return NULL;
  }
  for (; *url != '\0'; ++out) {
    const int high = *url == '%' ? hex_digit (url[1]) : -1;
    const int low = high >= 0 ? hex_digit (url[2]) : -1;

    if (low >= 0 && (high | low) != 0) {
      *out = (char) (high << 4 | low);
      url += 3;
    }
    else
      *out = *url++;
  }
  *out = '\0';
  return path;
}
