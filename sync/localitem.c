/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens, ids and names of the items of a local folder. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "localitem.h"

/* A folder that is being changed is read again; one that never rests is taken as it is. */
#define MAX_READS 4

int
localitem_look (int fd, const char *name, struct statx *ret)
{
  return statx (fd, name, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH), STATX_BASIC_STATS | STATX_BTIME, ret);
}

void
localitem_token (const struct statx *st, char token[LOCALITEM_TOKEN_SIZE])
{
  snprintf (token, LOCALITEM_TOKEN_SIZE, "%" PRIx64 "-%" PRIx64 ".%x-%" PRIx64 ".%x-%" PRIx64, (uint64_t) st->stx_size,
            (uint64_t) st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec, (uint64_t) st->stx_ctime.tv_sec,
            st->stx_ctime.tv_nsec, (uint64_t) st->stx_ino);
}

bool
localitem_is_version (const struct statx *st, const char *token)
{
  char now[LOCALITEM_TOKEN_SIZE];

  localitem_token (st, now);
  return strcmp (now, token) == 0;
}

static uint64_t
dev_of (const struct statx *st)
{
  return (uint64_t) st->stx_dev_major << 32 | st->stx_dev_minor;
}

void
localitem_id (const struct statx *st, const struct statx *root, char id[LOCALITEM_TOKEN_SIZE])
{
  const uint64_t dev = dev_of (st) == dev_of (root) ? 0 : dev_of (st);

  if (st->stx_mask & STATX_BTIME)
    snprintf (id, LOCALITEM_TOKEN_SIZE, "%" PRIx64 ":%" PRIx64 ":%" PRIx64 ".%x", dev, (uint64_t) st->stx_ino,
              (uint64_t) st->stx_btime.tv_sec, st->stx_btime.tv_nsec);
  else
    snprintf (id, LOCALITEM_TOKEN_SIZE, "%" PRIx64 ":%" PRIx64, dev, (uint64_t) st->stx_ino);
}

/* Only ctime counts: every write moves it, and nobody can set it.  Without a fraction it comes from a file system that
 * keeps whole seconds (ext3, NFS 2) or two (FAT). */
bool
localitem_is_settled (const struct statx *st)
{
  const int64_t resolution = st->stx_ctime.tv_nsec != 0 ? 0 : INT64_C (2000000000);
  struct timespec now;
  int64_t seconds;

  clock_gettime (CLOCK_REALTIME, &now);
  seconds = (int64_t) now.tv_sec - st->stx_ctime.tv_sec;
  if (seconds > 60 || seconds < -60)
    return true;
  return llabs (seconds * 1000000000 + now.tv_nsec - st->stx_ctime.tv_nsec)
    >= LOCALITEM_SETTLE_MS * INT64_C (1000000) + resolution;
}

static void
clear_names (struct localnames *list)
{
  while (list->used > 0)
    free (list->names[--list->used]);
}

void
localnames_free (struct localnames *list)
{
  clear_names (list);
  free (list->names);
}

static int
names_push (struct localnames *list, const char *name)
{
  if (list->used == list->room) {
    const size_t room = list->room ? 2 * list->room : 64;
    char **names = realloc (list->names, room * sizeof *names);

    if (names == NULL)
      return -1;
    list->names = names;
    list->room = room;
  }
  list->names[list->used] = strdup (name);
  if (list->names[list->used] == NULL)
    return -1;
  list->used++;
  return 0;
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* A folder that changes while it is read may show a name twice. */
static void
sort_names (struct localnames *list)
{
  size_t used = 0;

  if (list->used == 0)
    return;
  qsort (list->names, list->used, sizeof *list->names, compare_names);
  for (size_t i = 1; i < list->used; ++i) {
    if (strcmp (list->names[used], list->names[i]) == 0)
      free (list->names[i]);
    else
      list->names[++used] = list->names[i];
  }
  list->used = used + 1;
}

/* A file that is renamed while its folder is read may not be met under either name, which would look like a deletion;
 * so the folder has to be the same before and after. */
int
localnames_read (DIR *stream, struct localnames *list)
{
  for (int i = 1;; ++i) {
    struct statx before, after;
    struct dirent *entry;

    clear_names (list);
    rewinddir (stream);
    if (localitem_look (dirfd (stream), "", &before) == -1)
      return -1;
    while (errno = 0, (entry = readdir (stream)) != NULL) {
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (names_push (list, entry->d_name) == -1)
        return -1;
    }
    if (errno != 0 || localitem_look (dirfd (stream), "", &after) == -1)
      return -1;
    /* glibc's readdir says of a deleted folder that it is empty. */
    if (after.stx_nlink == 0) {
      errno = ENOENT;
      return -1;
    }
    if (i == MAX_READS
        || (before.stx_ctime.tv_sec == after.stx_ctime.tv_sec && before.stx_ctime.tv_nsec == after.stx_ctime.tv_nsec)) {
      sort_names (list);
      return 0;
    }
  }
}
