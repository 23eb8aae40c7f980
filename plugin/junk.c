/* SPDX-License-Identifier: BSD-3-Clause */
/* Junk: which names stay on the disk where they were written. */

#include <config.h>

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "junk.h"
#include "msg.h"

/* Windows, macOS, Linux desktops, fsck, vi, office programs. */
static const char *const own[] = {
  "System Volume Information", "$RECYCLE.BIN", "RECYCLER", "RECYCLED", "Thumbs.db", "ehthumbs.db", "desktop.ini", "~$*",
  ".DS_Store", "._*", ".fseventsd", ".Spotlight-V100", ".Trashes", ".TemporaryItems", ".apdisk", ".VolumeIcon.icns",
  ".Trash", ".Trash-*", ".directory", ".fuse_hidden*", ".nfs*", ".~lock.*#", "lost+found", "FSCK[0-9]*.REC", "FOUND.[0-9]*",
  ".*.sw[a-p]", "*.swp", "4913", "NvVars", ".cloudshare-*",
};

struct junk {
  char **globs;
  size_t n;
};

struct junk *
junk_new (void)
{
  struct junk *junk = calloc (1, sizeof *junk);

  if (junk == NULL)
    msg_error ("out of memory");
  return junk;
}

int
junk_add (struct junk *junk, const char *globs)
{
  CLEANUP_FREE char *copy = strdup (globs);
  char *rest = copy, *glob;

  if (copy == NULL)
    goto no_memory;
  while ((glob = strsep (&rest, ":")) != NULL) {
    char **more;

    if (glob[0] == '\0')
      continue;
    more = realloc (junk->globs, (junk->n + 1) * sizeof *more);
    if (more == NULL)
      goto no_memory;
    junk->globs = more;
    junk->globs[junk->n] = strdup (glob);
    if (junk->globs[junk->n] == NULL)
      goto no_memory;
    junk->n++;
  }
  return 0;

no_memory:
  msg_error ("out of memory");
  return -1;
}

void
junk_free (struct junk *junk)
{
  if (junk == NULL)
    return;
  for (size_t i = 0; i < junk->n; ++i)
    free (junk->globs[i]);
  free (junk->globs);
  free (junk);
}

bool
junk_matches (const struct junk *junk, const char *name)
{
  for (size_t i = 0; i < sizeof own / sizeof own[0]; ++i)
    if (fnmatch (own[i], name, FNM_CASEFOLD) == 0)
      return true;
  for (size_t i = 0; i < junk->n; ++i)
    if (fnmatch (junk->globs[i], name, FNM_CASEFOLD) == 0)
      return true;
  return false;
}
