/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens, ids, names and renames of the items of a local folder. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

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

bool
localitem_is_same (const struct statx *a, const struct statx *b)
{
  return a->stx_ino == b->stx_ino && dev_of (a) == dev_of (b) && S_ISREG (b->stx_mode) && a->stx_size == b->stx_size
    && a->stx_mtime.tv_sec == b->stx_mtime.tv_sec && a->stx_mtime.tv_nsec == b->stx_mtime.tv_nsec;
}

static const char *const own_prefixes[] = {
  [LOCALITEM_UPLOAD] = ".cloudshare-upload-",
  [LOCALITEM_ASIDE] = ".cloudshare-aside-",
};

#define OWN_DIGITS 32
#define OLD_DIGITS 16

enum localitem_own
localitem_is_own (const char *name)
{
  for (enum localitem_own own = LOCALITEM_UPLOAD; own <= LOCALITEM_ASIDE; ++own) {
    const size_t n = strlen (own_prefixes[own]);
    const size_t digits = strncmp (name, own_prefixes[own], n) == 0 ? strspn (name + n, "0123456789abcdef") : 0;

    if ((digits == OWN_DIGITS || digits == OLD_DIGITS) && name[n + digits] == '\0')
      return own;
  }
  return LOCALITEM_NOT_OWN;
}

/* Unique, not secret: the file is made with O_EXCL, or by a rename that replaces nothing. */
static uint64_t
random_number (void)
{
  uint64_t number;

  if (getrandom (&number, sizeof number, GRND_NONBLOCK) != (ssize_t) sizeof number) {
    struct timespec now;

    clock_gettime (CLOCK_MONOTONIC, &now);
    number = ((uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec) * UINT64_C (0x9e3779b97f4a7c15)
      ^ (uint64_t) gettid () << 32;
  }
  return number;
}

/* Of what localitem_is_same compares, but the device: its number may change when a disk is mounted again. */
static uint32_t
hash_of (const struct statx *st)
{
  const uint64_t parts[] = { st->stx_ino, st->stx_size, (uint64_t) st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec };
  uint64_t hash = UINT64_C (0xcbf29ce484222325);

  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    hash = (hash ^ parts[i]) * UINT64_C (0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
  }
  return (uint32_t) (hash ^ hash >> 32);
}

static void
own_name (enum localitem_own own, const struct localitem_maker *maker, uint32_t a, uint32_t b,
          char name[LOCALITEM_OWN_SIZE])
{
  snprintf (name, LOCALITEM_OWN_SIZE, "%s%08" PRIx32 "%08" PRIx32 "%08" PRIx32 "%08" PRIx32, own_prefixes[own],
            maker->instance, maker->run, a, b);
}

void
localitem_upload_name (const struct localitem_maker *maker, char name[LOCALITEM_OWN_SIZE])
{
  const uint64_t number = random_number ();

  own_name (LOCALITEM_UPLOAD, maker, (uint32_t) (number >> 32), (uint32_t) number, name);
}

void
localitem_aside_name (const struct localitem_maker *maker, const struct statx *goes, const struct statx *comes,
                      char name[LOCALITEM_OWN_SIZE])
{
  own_name (LOCALITEM_ASIDE, maker, hash_of (goes), comes ? hash_of (comes) : (uint32_t) random_number (), name);
}

/* The four numbers in a name of our own.  false: it has none. */
static bool
own_numbers (const char *name, uint32_t numbers[4])
{
  const enum localitem_own own = localitem_is_own (name);
  const char *digits = own == LOCALITEM_NOT_OWN ? "" : name + strlen (own_prefixes[own]);

  return strlen (digits) == OWN_DIGITS
    && sscanf (digits, "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 "%8" SCNx32, &numbers[0], &numbers[1], &numbers[2],
               &numbers[3]) == 4;
}

bool
localitem_is_left (const char *name, const struct localitem_maker *maker)
{
  uint32_t numbers[4];

  return maker->instance != 0 && own_numbers (name, numbers) && numbers[0] == maker->instance
    && numbers[1] != maker->run;
}

bool
localitem_is_spent (const char *name, const struct statx *st)
{
  const uint32_t hash = hash_of (st);
  uint32_t numbers[4];

  return S_ISREG (st->stx_mode) && own_numbers (name, numbers) && (numbers[2] == hash || numbers[3] == hash);
}

/* What file systems say that do not know a flag of renameat2: most EINVAL, FUSE and old kernels ENOSYS. */
static bool
is_unknown_flag (int err)
{
  return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP;
}

/* The folder that we make ourselves is the only one that is replaced, and only while it is empty. */
static int
rename_folder_new (int from_fd, const char *from, int to_fd, const char *to)
{
  int err;

  if (mkdirat (to_fd, to, 0700) == -1)
    return -1;
  if (renameat (from_fd, from, to_fd, to) == 0)
    return 0;
  err = errno;
  unlinkat (to_fd, to, AT_REMOVEDIR);
  errno = err == ENOTEMPTY ? EEXIST : err;
  return -1;
}

static int
rename_file_new (int from_fd, const char *from, int to_fd, const char *to)
{
  struct statx st;

  if (linkat (from_fd, from, to_fd, to, 0) == 0) {
    if (unlinkat (from_fd, from, 0) == 0)
      return 0;
    const int err = errno;

    unlinkat (to_fd, to, 0);
    errno = err;
    return -1;
  }
  if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP)
    return -1;
  if (localitem_look (to_fd, to, &st) == 0) {
    errno = EEXIST;
    return -1;
  }
  return errno == ENOENT ? renameat (from_fd, from, to_fd, to) : -1;
}

int
localitem_rename_new (int from_fd, const char *from, int to_fd, const char *to, bool is_folder)
{
  if (renameat2 (from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
    return 0;
  /* EINVAL may also mean that a folder would go into itself, or that the name cannot be: the fallbacks say it again. */
  if (!is_unknown_flag (errno))
    return -1;
  return is_folder ? rename_folder_new (from_fd, from, to_fd, to) : rename_file_new (from_fd, from, to_fd, to);
}

int
localitem_exchange (int fd, const char *a, const char *b)
{
  if (renameat2 (fd, a, fd, b, RENAME_EXCHANGE) == 0)
    return 0;
  if (is_unknown_flag (errno))
    errno = EOPNOTSUPP;
  return -1;
}

/* Only those that say something about the file, not about its bytes, and that are not the kernel's own. */
static bool
is_kept_attribute (const char *name)
{
  return strncmp (name, "user.", 5) == 0 || strcmp (name, "system.posix_acl_access") == 0;
}

static void
keep_attributes (int from, int to)
{
  char names[4096], value[4096];
  const ssize_t n = flistxattr (from, names, sizeof names);

  for (ssize_t i = 0; i < n; i += (ssize_t) strlen (names + i) + 1) {
    const ssize_t size = is_kept_attribute (names + i) ? fgetxattr (from, names + i, value, sizeof value) : -1;

    /* Best effort, as with cp -p: a file system without them is no reason not to store the content. */
    if (size >= 0 && fsetxattr (to, names + i, value, (size_t) size, 0) == -1)
      continue;
  }
}

void
localitem_keep_looks (int from, const struct statx *from_st, int to)
{
  const mode_t mode = from_st->stx_mode & 07777;
  struct statx st;

  if (localitem_look (to, "", &st) == -1)
    return;
  /* Another owner may not be ours to give; without the owner, a set-user-id bit would give our rights away. */
  if ((st.stx_uid != from_st->stx_uid || st.stx_gid != from_st->stx_gid)
      && fchown (to, from_st->stx_uid, from_st->stx_gid) == -1) {
    const bool has_group = fchown (to, (uid_t) -1, from_st->stx_gid) == 0;

    if (fchmod (to, has_group ? mode & 0777 : mode & 0707) == -1)
      return;
  }
  else if (fchmod (to, mode) == -1)
    return;
  if (from >= 0)
    keep_attributes (from, to);
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
