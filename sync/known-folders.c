/* SPDX-License-Identifier: BSD-3-Clause */
/* Folders that were just seen. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "known-folders.h"

/* How long a folder that was seen counts as there, seconds. */
#define SEEN_S 5

/* How long it counts as having a marker: nobody removes those but who removes the folder. */
#define MARKED_S 60

#define MOST (sizeof ((struct known_folders *) NULL)->list / sizeof (struct known_folder))

static time_t
now_s (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

void
known_folders_init (struct known_folders *known)
{
  memset (known, 0, sizeof *known);
  pthread_mutex_init (&known->lock, NULL);
}

void
known_folders_destroy (struct known_folders *known)
{
  for (size_t i = 0; i < MOST; i++)
    free (known->list[i].path);
  pthread_mutex_destroy (&known->lock);
}

/* NULL where there is none.  Call with the lock held. */
static struct known_folder *
find (struct known_folders *known, const char *path)
{
  for (size_t i = 0; i < MOST; i++)
    if (known->list[i].path && strcmp (known->list[i].path, path) == 0)
      return &known->list[i];
  return NULL;
}

void
known_folders_saw (struct known_folders *known, const char *path, bool has_marker)
{
  LOCK_FOR_SCOPE (&known->lock);
  struct known_folder *folder = find (known, path);

  if (folder == NULL) {
    folder = &known->list[known->next++ % MOST];
    free (folder->path);
    folder->path = strdup (path);
  }
  folder->seen = now_s ();
  folder->has_marker = has_marker;
}

void
known_folders_forget (struct known_folders *known, const char *path)
{
  LOCK_FOR_SCOPE (&known->lock);
  const size_t len = strlen (path);

  for (size_t i = 0; i < MOST; i++) {
    char *text = known->list[i].path;

    if (text && (len == 0 || (strncmp (text, path, len) == 0 && (text[len] == '\0' || text[len] == '/')))) {
      free (text);
      known->list[i].path = NULL;
    }
  }
}

bool
known_folders_has (struct known_folders *known, const char *path, bool *ret_has_marker)
{
  LOCK_FOR_SCOPE (&known->lock);
  const struct known_folder *folder = find (known, path);
  const time_t age = folder ? now_s () - folder->seen : MARKED_S;

  *ret_has_marker = folder && folder->has_marker && age < MARKED_S;
  return folder && age < SEEN_S;
}
