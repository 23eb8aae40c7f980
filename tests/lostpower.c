/* SPDX-License-Identifier: BSD-3-Clause */
/* Losses of power, made up. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lostpower.h"

#define PAGE 4096u
#define MAX_FILES 64

/* Newest first; the last one is the durable one. */
struct version {
  struct version *older;
  uint8_t bytes[PAGE];
};

struct page {
  struct page *next;
  uint64_t number;
  struct version *versions;
};

#define BUCKETS 1024

struct file {
  ino_t inode;
  struct page *pages[BUCKETS];   /* those that differ from zeros, or did */
};

static bool active, happened, only_syncs, killed;
static char folder[128], target[128];
static struct file files[MAX_FILES];
static unsigned n_files, calls_left, calls_to_live;
static uint64_t crash_seed;
static int sync_error;

uint64_t
random_number (uint64_t *seed, uint64_t below)
{
  /* xorshift64*: Vigna 2016. */
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return (*seed * UINT64_C (2685821657736338717) >> 16) % below;
}

static void
die (const char *what)
{
  perror (what);
  abort ();
}

static void *
get_memory (size_t n)
{
  void *p = calloc (1, n);

  if (p == NULL)
    die ("calloc");
  return p;
}

static struct file *
file_of (int fd)
{
  struct stat st;

  if (fstat (fd, &st) == -1 || !S_ISREG (st.st_mode))
    return NULL;
  for (unsigned i = 0; i < n_files; ++i)
    if (files[i].inode == st.st_ino)
      return &files[i];
  if (n_files == MAX_FILES)
    die ("too many files");
  memset (&files[n_files], 0, sizeof files[0]);
  files[n_files].inode = st.st_ino;
  return &files[n_files++];
}

static struct page *
page_of (struct file *file, uint64_t number)
{
  struct page **at = &file->pages[number % BUCKETS];
  struct page *page;

  for (page = *at; page; page = page->next)
    if (page->number == number)
      return page;
  page = get_memory (sizeof *page);
  page->number = number;
  page->versions = get_memory (sizeof *page->versions);
  page->next = *at;
  *at = page;
  return page;
}

static void
read_page (int fd, uint64_t number, uint8_t *bytes)
{
  const long n = syscall (SYS_pread64, fd, bytes, (size_t) PAGE, (off_t) (number * PAGE));

  if (n < 0)
    die ("pread");
  memset (bytes + n, 0, PAGE - n);
}

/* What stands in these bytes of the file now may get to the disk any time. */
static void
note (int fd, uint64_t offset, uint64_t n)
{
  struct file *const file = file_of (fd);

  for (uint64_t i = offset / PAGE; file && n > 0 && i <= (offset + n - 1) / PAGE; ++i) {
    uint8_t bytes[PAGE];
    struct page *page;
    struct version *version;

    read_page (fd, i, bytes);
    page = page_of (file, i);
    if (memcmp (page->versions->bytes, bytes, PAGE) == 0)
      continue;
    version = get_memory (sizeof *version);
    memcpy (version->bytes, bytes, PAGE);
    version->older = page->versions;
    page->versions = version;
  }
}

static void
drop_older (struct version *version)
{
  while (version->older) {
    struct version *const older = version->older;

    version->older = older->older;
    free (older);
  }
}

static void
settle (struct file *file)
{
  for (unsigned b = 0; file && b < BUCKETS; ++b)
    for (struct page *page = file->pages[b]; page; page = page->next)
      drop_older (page->versions);
}

/* -1: the process is dead. */
static int
before_call (bool sync)
{
  if (active && calls_left > 0 && (sync || !only_syncs) && --calls_left == 0) {
    lostpower_now (target, crash_seed);
    happened = true;
  }
  if (calls_to_live > 0 && --calls_to_live == 0)
    killed = true;
  errno = EIO;
  return killed ? -1 : 0;
}

/* ---- the calls ---- */

ssize_t
pwrite (int fd, const void *buf, size_t n, off_t offset)
{
  ssize_t r;

  if (before_call (false) == -1)
    return -1;
  r = syscall (SYS_pwrite64, fd, buf, n, offset);
  if (active && r > 0)
    note (fd, offset, r);
  return r;
}

ssize_t
pwrite64 (int fd, const void *buf, size_t n, off64_t offset)
{
  return pwrite (fd, buf, n, offset);
}

int
fallocate (int fd, int mode, off_t offset, off_t n)
{
  int r;

  if (before_call (false) == -1)
    return -1;
  r = syscall (SYS_fallocate, fd, mode, offset, n);
  if (active && r == 0) {
    struct file *const file = file_of (fd);

    /* Pages that are not known hold zeros. */
    for (unsigned b = 0; file && b < BUCKETS; ++b)
      for (struct page *page = file->pages[b]; page; page = page->next)
        if (page->number * PAGE < (uint64_t) (offset + n) && (page->number + 1) * PAGE > (uint64_t) offset)
          note (fd, page->number * PAGE, PAGE);
  }
  return r;
}

int
ftruncate (int fd, off_t size)
{
  int r;

  if (before_call (false) == -1)
    return -1;
  r = syscall (SYS_ftruncate, fd, size);
  if (active && r == 0) {
    struct file *const file = file_of (fd);

    for (unsigned b = 0; file && b < BUCKETS; ++b)
      for (struct page *page = file->pages[b]; page; page = page->next)
        note (fd, page->number * PAGE, PAGE);
  }
  return r;
}

static int
sync_file (int fd)
{
  if (before_call (true) == -1)
    return -1;
  if (!active)
    return 0;
  if (sync_error) {
    errno = sync_error;
    return -1;
  }
  settle (file_of (fd));
  return 0;
}

int
fdatasync (int fd)
{
  return sync_file (fd);
}

int
fsync (int fd)
{
  return sync_file (fd);
}

/* ---- the disk ---- */

static int
open_in (const char *dir, const char *name, int flags)
{
  char path[512];
  int fd;

  snprintf (path, sizeof path, "%s/%s", dir, name);
  fd = open (path, flags | O_CLOEXEC, 0600);
  if (fd == -1)
    die (path);
  return fd;
}

static void
for_files (void (*what) (int fd, const char *name))
{
  DIR *const dir = opendir (folder);
  struct dirent *entry;

  if (dir == NULL)
    die (folder);
  while ((entry = readdir (dir)) != NULL)
    if (entry->d_name[0] != '.') {
      const int fd = open_in (folder, entry->d_name, O_RDWR);

      what (fd, entry->d_name);
      close (fd);
    }
  closedir (dir);
}

static void
adopt (int fd, const char *name)
{
  off_t data = 0, hole;

  for (; (data = lseek (fd, data, SEEK_DATA)) != -1; data = hole) {
    hole = lseek (fd, data, SEEK_HOLE);
    note (fd, data, hole - data);
  }
  settle (file_of (fd));
}

void
lostpower_begin (const char *dir)
{
  lostpower_end ();
  snprintf (folder, sizeof folder, "%s", dir);
  for_files (adopt);
  happened = false;
  calls_left = 0;
  active = true;
}

void
lostpower_end (void)
{
  active = false;
  for (unsigned i = 0; i < n_files; ++i)
    for (unsigned b = 0; b < BUCKETS; ++b)
      while (files[i].pages[b]) {
        struct page *const page = files[i].pages[b];

        files[i].pages[b] = page->next;
        drop_older (page->versions);
        free (page->versions);
        free (page);
      }
  n_files = 0;
}

void
lostpower_at (unsigned n, bool syncs, const char *to, uint64_t seed)
{
  only_syncs = syncs;
  snprintf (target, sizeof target, "%s", to);
  calls_left = n;
  crash_seed = seed;
}

bool
lostpower_happened (void)
{
  return happened;
}

void
lostpower_kill_at (unsigned n)
{
  calls_to_live = n;
  killed = false;
}

bool
lostpower_killed (void)
{
  return killed;
}

void
lostpower_fail_syncs (int err)
{
  sync_error = err;
}

static unsigned percent_new, percent_old;

static const struct version *
choose (const struct version *newest)
{
  const unsigned percent = random_number (&crash_seed, 100);
  const struct version *version = newest;
  uint64_t n = 0;

  if (percent < percent_new)
    return newest;
  for (; version->older; version = version->older)
    n++;
  if (percent < percent_new + percent_old || n == 0)
    return version;
  for (version = newest, n = random_number (&crash_seed, n + 1); n > 0; --n)
    version = version->older;
  return version;
}

static void
save (int fd, const char *name)
{
  const int to = open_in (target, name, O_RDWR | O_CREAT | O_TRUNC);
  struct file *const file = file_of (fd);
  struct stat st;

  fstat (fd, &st);
  if (syscall (SYS_ftruncate, to, st.st_size) == -1)
    die (name);
  for (unsigned b = 0; b < BUCKETS; ++b)
    for (const struct page *page = file->pages[b]; page; page = page->next) {
      const bool torn = random_number (&crash_seed, 4) == 0;
      uint8_t bytes[PAGE];

      memcpy (bytes, choose (page->versions)->bytes, PAGE);
      for (unsigned s = 0; torn && s < PAGE; s += 512)
        memcpy (bytes + s, choose (page->versions)->bytes + s, 512);
      if (page->number * PAGE < (uint64_t) st.st_size
          && syscall (SYS_pwrite64, to, bytes, (size_t) PAGE, (off_t) (page->number * PAGE)) != PAGE)
        die (name);
    }
  if (syscall (SYS_ftruncate, to, st.st_size) == -1)
    die (name);
  close (to);
}

void
lostpower_now (const char *to, uint64_t seed)
{
  if (to != target)
    snprintf (target, sizeof target, "%s", to);
  crash_seed = seed | 1;
  percent_new = random_number (&crash_seed, 101);
  percent_old = random_number (&crash_seed, 101 - percent_new);
  for_files (save);
}
