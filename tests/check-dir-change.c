/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the changes that the provider for local folders makes: what they do, what they refuse, and that nothing is lost
 * while other programs change the same files. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "cloud.h"
#include "dir-private.h"
#include "localitem.h"
#include "msg.h"

static char tmp[64];          /* holds the root and what is outside of it */
static char root[80];
static struct cloud *cloud;

static void
keep_quiet (enum msg_level level, const char *text)
{
}

/* ---- the tree ---- */

static void
shell (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

/* Runs a command in the folder that holds the root. */
static void
shell (const char *fmt, ...)
{
  char command[1024], line[1200];
  va_list args;

  va_start (args, fmt);
  vsnprintf (command, sizeof command, fmt, args);
  va_end (args);
  snprintf (line, sizeof line, "cd %s && { %s\n}", tmp, command);
  ck_assert_msg (system (line) == 0, "failed: %s", command);
}

static const char *
full (const char *path)
{
  static _Thread_local char buf[4096];

  snprintf (buf, sizeof buf, "%s/%s", root, path);
  return buf;
}

/* The whole of a small file; "(none)" where there is none. */
static const char *
content_of (const char *path)
{
  static char buf[4096];
  CLEANUP_CLOSE int fd = open (full (path), O_RDONLY | O_NOFOLLOW);
  ssize_t n;

  if (fd < 0)
    return "(none)";
  n = read (fd, buf, sizeof buf - 1);
  ck_assert_int_ge (n, 0);
  buf[n] = '\0';
  return buf;
}

static void
write_text (const char *path, const char *text)
{
  CLEANUP_CLOSE int fd = open (full (path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

  ck_assert_int_ge (fd, 0);
  ck_assert_int_eq (write (fd, text, strlen (text)), (ssize_t) strlen (text));
}

static void
start (void)
{
  const struct cloud_config config = { .remote = root, .sslverify = true };

  cloud = cloud_dir_open (&config);
  ck_assert_ptr_nonnull (cloud);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
}

static void
setup (void)
{
  const char *base = getenv ("TMPDIR");

  snprintf (tmp, sizeof tmp, "%s/check-dir-change.XXXXXX", base && strlen (base) < 32 ? base : "/tmp");
  ck_assert_ptr_nonnull (mkdtemp (tmp));
  snprintf (root, sizeof root, "%s/root", tmp);
  ck_assert_int_eq (mkdir (root, 0755), 0);
  shell ("mkdir outside && echo secret > outside/secret");
  msg_set_sink (keep_quiet);
  start ();
}

static void
teardown (void)
{
  if (cloud)
    cloud->ops->close (cloud);
  cloud = NULL;
  shell ("chmod -R u+rwx . ; rm -rf %s", tmp);
}

/* ---- requests, made synchronous ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_cond = PTHREAD_COND_INITIALIZER;

struct outcome {
  bool done;
  enum cloud_result result;
  char sentence[6000];
  bool has_now;
  struct cloud_item now;
  char token[128], id[128];
  unsigned n_left_out;
  char names[4000];            /* a listing: each between blanks */

  const char *content;         /* of a put; NULL: a pattern */
  int (*hook) (struct outcome *outcome, uint64_t offset);
};

static void
keep_item (struct outcome *outcome, const struct cloud_item *item)
{
  outcome->has_now = true;
  outcome->now = *item;
  snprintf (outcome->token, sizeof outcome->token, "%s", item->token ? item->token : "");
  snprintf (outcome->id, sizeof outcome->id, "%s", item->id ? item->id : "");
}

static void
on_end (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
  struct outcome *outcome = opaque;
  LOCK_FOR_SCOPE (&lock);

  ck_assert (!outcome->done);
  ck_assert (result == CLOUD_OK || (sentence != NULL && now == NULL));
  outcome->done = true;
  outcome->result = result;
  snprintf (outcome->sentence, sizeof outcome->sentence, "%s", sentence ? sentence : "");
  if (now)
    keep_item (outcome, now);
  pthread_cond_broadcast (&done_cond);
}

static void
on_listed (void *opaque, enum cloud_result result, const char *sentence)
{
  on_end (opaque, result, sentence, NULL);
}

static void
on_item (void *opaque, const struct cloud_item *item)
{
  struct outcome *outcome = opaque;
  const size_t n = strlen (outcome->names);

  keep_item (outcome, item);
  snprintf (outcome->names + n, sizeof outcome->names - n, n ? "%s " : " %s ", item->name);
}

static void
on_left_out (void *opaque, const char *name, const char *reason)
{
  ((struct outcome *) opaque)->n_left_out++;
}

static enum cloud_result
await (struct outcome *outcome)
{
  LOCK_FOR_SCOPE (&lock);

  while (!outcome->done)
    pthread_cond_wait (&done_cond, &lock);
  return outcome->result;
}

static const struct cloud_list_sink list_sink = { on_item, on_left_out, on_listed };
static const struct cloud_change_sink change_sink = { on_end };

static enum cloud_result
list (const char *path, int depth, struct outcome *outcome)
{
  memset (outcome, 0, sizeof *outcome);
  cloud->ops->list (cloud, path, depth, &list_sink, outcome);
  return await (outcome);
}

/* The token as a listing shows it; "" where there is no such file. */
static const char *
token_of (const char *path)
{
  static struct outcome outcome;

  return list (path, 0, &outcome) == CLOUD_OK ? outcome.token : "";
}

static unsigned char
byte_at (uint64_t offset)
{
  return (unsigned char) (offset * 2654435761u >> 13);
}

static int
read_content (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct outcome *outcome = opaque;

  if (outcome->hook && outcome->hook (outcome, offset) == -1)
    return -1;
  if (outcome->content)
    memcpy (buf, outcome->content + offset, n);
  else
    for (size_t i = 0; i < n; ++i)
      ((unsigned char *) buf)[i] = byte_at (offset + i);
  return 0;
}

static enum cloud_result
put_sized (const char *path, const char *expect, uint64_t size, time_t mtime, struct outcome *outcome)
{
  const struct cloud_put put = {
    .path = path, .expect = expect, .size = size, .mtime = { .tv_sec = mtime }, .read = read_content,
  };
  const char *content = outcome->content;
  int (*hook) (struct outcome *, uint64_t) = outcome->hook;

  memset (outcome, 0, sizeof *outcome);
  outcome->content = content;
  outcome->hook = hook;
  cloud->ops->put (cloud, &put, &change_sink, outcome);
  return await (outcome);
}

static enum cloud_result
put (const char *path, const char *expect, const char *content, struct outcome *outcome)
{
  outcome->content = content;
  outcome->hook = NULL;
  return put_sized (path, expect, strlen (content), 1000000000, outcome);
}

static enum cloud_result
make_folder (const char *path, struct outcome *outcome)
{
  memset (outcome, 0, sizeof *outcome);
  cloud->ops->mkdir (cloud, path, &change_sink, outcome);
  return await (outcome);
}

static enum cloud_result
move (const char *path, bool is_folder, const char *expect, const char *to, struct outcome *outcome)
{
  memset (outcome, 0, sizeof *outcome);
  cloud->ops->move (cloud, path, is_folder, expect, to, &change_sink, outcome);
  return await (outcome);
}

static enum cloud_result
remove_item (const char *path, bool is_folder, const char *expect, struct outcome *outcome)
{
  memset (outcome, 0, sizeof *outcome);
  cloud->ops->remove (cloud, path, is_folder, expect, &change_sink, outcome);
  return await (outcome);
}

static enum cloud_result
touch (const char *path, const char *expect, time_t mtime, struct outcome *outcome)
{
  const struct timespec time = { .tv_sec = mtime, .tv_nsec = 500000000 };

  memset (outcome, 0, sizeof *outcome);
  cloud->ops->touch (cloud, path, expect, &time, &change_sink, outcome);
  return await (outcome);
}

/* Whether our own files were left anywhere. */
static void
check_nothing_left (void)
{
  shell ("test -z \"$(find root outside -name '.cloudshare-*')\"");
}

/* now has to be what a listing shows, also once the dust has settled. */
static void
check_now (const struct outcome *outcome, const char *path)
{
  static struct outcome listed;

  ck_assert_msg (outcome->has_now, "%s", path);
  for (int i = 0; i < 2; ++i) {
    ck_assert_int_eq (list (path, 0, &listed), CLOUD_OK);
    ck_assert_str_eq (outcome->token, listed.token);
    ck_assert_str_eq (outcome->id, listed.id);
    ck_assert_uint_eq (outcome->now.size, listed.now.size);
    ck_assert_int_eq (outcome->now.mtime.tv_sec, listed.now.mtime.tv_sec);
    ck_assert (outcome->now.is_folder == listed.now.is_folder);
    usleep (i == 0 ? 60000 : 0);
  }
}

/* ---- file systems that lack something ---- */

/* Makes a system call fail from now on, on threads that are started after it. */
static void
without (long call, int err)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, (unsigned) call, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned) err),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };

  cloud->ops->stop (cloud);
  ck_assert_int_eq (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ck_assert_int_eq (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
}

enum { ALL_THERE, NO_RENAMEAT2, NO_LINKS, NO_OPENAT2, N_WORLDS };

static void
set_world (int world)
{
  if (world == NO_RENAMEAT2 || world == NO_LINKS)
    without (SYS_renameat2, EINVAL);
  if (world == NO_LINKS)
    without (SYS_linkat, EPERM);
  if (world == NO_OPENAT2)
    without (SYS_openat2, ENOSYS);
}

/* ---- each verb ---- */

START_TEST (put_new_and_replaced)
{
  static struct outcome outcome;
  struct stat st;

  set_world (_i);
  ck_assert_int_eq (put ("file", NULL, "one", &outcome), CLOUD_OK);
  ck_assert_str_eq (content_of ("file"), "one");
  check_now (&outcome, "file");
  ck_assert (outcome.now.settled);
  ck_assert_int_eq (stat (full ("file"), &st), 0);
  ck_assert_int_eq (st.st_mtime, 1000000000);
  ck_assert_int_eq (st.st_nlink, 1);

  ck_assert_int_eq (put ("file", NULL, "two", &outcome), CLOUD_EXISTS);
  ck_assert_str_eq (content_of ("file"), "one");
  ck_assert_int_eq (put ("file", "1-2.3-4", "two", &outcome), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("file"), "one");
  ck_assert_int_eq (put ("file", token_of ("file"), "two", &outcome), CLOUD_OK);
  ck_assert_str_eq (content_of ("file"), "two");
  check_now (&outcome, "file");

  ck_assert_int_eq (put ("empty", NULL, "", &outcome), CLOUD_OK);
  check_now (&outcome, "empty");
  ck_assert_uint_eq (outcome.now.size, 0);
  check_nothing_left ();
}
END_TEST

/* Without a time of its own the file is as new as it is. */
START_TEST (put_without_time)
{
  static struct outcome outcome;

  outcome.content = "now";
  ck_assert_int_eq (put_sized ("file", NULL, 3, 0, &outcome), CLOUD_OK);
  check_now (&outcome, "file");
  ck_assert_int_le (llabs ((long long) (time (NULL) - outcome.now.mtime.tv_sec)), 5);
  ck_assert (!outcome.now.settled);
}
END_TEST

START_TEST (put_large)
{
  static struct outcome outcome;
  const uint64_t size = 3 * 1024 * 1024 + 12345;
  FILE *f;

  outcome.content = NULL;
  ck_assert_int_eq (put_sized ("large", NULL, size, 1, &outcome), CLOUD_OK);
  check_now (&outcome, "large");
  ck_assert_uint_eq (outcome.now.size, size);
  f = fopen (full ("large"), "r");
  ck_assert_ptr_nonnull (f);
  for (uint64_t i = 0; i < size; ++i)
    ck_assert_int_eq (getc (f), byte_at (i));
  ck_assert_int_eq (getc (f), EOF);
  fclose (f);
}
END_TEST

START_TEST (put_refuses)
{
  static char longest[300];
  static const struct {
    const char *path, *expect;
    enum cloud_result result;
  } cases[] = {
    { "nothing/file", NULL, CLOUD_PARENT }, { "nothing/file", "1-2", CLOUD_PARENT },
    { "file/below", NULL, CLOUD_PARENT },
    { "missing", "1-2", CLOUD_GONE },
    { "folder", NULL, CLOUD_EXISTS }, { "folder", "1-2", CLOUD_CHANGED },
    { "link", NULL, CLOUD_EXISTS }, { "link", "1-2", CLOUD_GONE }, { "dangling", NULL, CLOUD_EXISTS },
    { "pipe", NULL, CLOUD_EXISTS }, { "pipe", "1-2", CLOUD_GONE },
    { "out/secret", NULL, CLOUD_PARENT }, { "out/new", NULL, CLOUD_PARENT }, { "../outside/new", NULL, CLOUD_PARENT },
    { "folder/../new", NULL, CLOUD_PARENT }, { "folder/..", NULL, CLOUD_REFUSED }, { "..", NULL, CLOUD_REFUSED },
    { "", NULL, CLOUD_REFUSED }, { "folder/", NULL, CLOUD_REFUSED },
    { ".cloudshare-upload-0123456789abcdef", NULL, CLOUD_REFUSED },
    { ".cloudshare-aside-0123456789abcdef", NULL, CLOUD_REFUSED },
    { longest, NULL, CLOUD_REFUSED },
  };
  static struct outcome outcome;

  memset (longest, 'x', 256);
  shell ("cd root; mkdir folder; echo x > file; ln -s ../outside/secret link; ln -s nowhere dangling;"
         " ln -s ../outside out; mkfifo pipe");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i)
    ck_assert_msg (put (cases[i].path, cases[i].expect, "new", &outcome) == cases[i].result, "%s: %s: %s",
                   cases[i].path, cloud_result_name (outcome.result), outcome.sentence);
  shell ("test \"$(cat outside/secret)\" = secret && test \"$(ls -A outside)\" = secret");
  shell ("test -L root/link && test -p root/pipe");
  check_nothing_left ();
  /* The longest name that there is. */
  longest[255] = '\0';
  ck_assert_int_eq (put (longest, NULL, "new", &outcome), CLOUD_OK);
}
END_TEST

/* ---- puts of ranges ---- */

#define RANGES_SIZE (3 * 1024 * 1024)

/* The content that is to be, what may be read of it, and a put of it. */
struct ranged {
  struct outcome outcome;
  struct cloud_put put;
  struct cloud_range ranges[8];
  unsigned char *base, *want;
  bool overtaken;              /* somebody writes to the base while it is read */
};

static int
read_ranged (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct ranged *ranged = opaque;
  bool is_inside = ranged->put.has_whole;

  for (size_t i = 0; i < ranged->put.n_ranges; ++i)
    is_inside |= offset >= ranged->ranges[i].offset
      && offset + n <= ranged->ranges[i].offset + ranged->ranges[i].length;
  ck_assert (is_inside);
  if (ranged->overtaken)
    write_text ("file", "from somebody else");
  memcpy (buf, ranged->want + offset, n);
  return 0;
}

static void
check_bytes (const char *path, const unsigned char *want, uint64_t size)
{
  CLEANUP_CLOSE int fd = open (full (path), O_RDONLY);
  CLEANUP_FREE unsigned char *got = malloc (size + 1);

  ck_assert_int_ge (fd, 0);
  ck_assert_int_eq (pread (fd, got, size + 1, 0), (ssize_t) size);
  ck_assert_int_eq (memcmp (got, want, size), 0);
}

static enum cloud_result
put_ranged (struct ranged *ranged)
{
  memset (&ranged->outcome, 0, sizeof ranged->outcome);
  ranged->put.path = "file";
  ranged->put.ranges = ranged->ranges;
  ranged->put.read = read_ranged;
  ranged->put.mtime.tv_sec = 1000000000;
  cloud->ops->put (cloud, &ranged->put, &change_sink, ranged);
  return await (&ranged->outcome);
}

/* Fills a put with anything that the contract allows, over a new base. */
static void
make_ranged (struct ranged *ranged, unsigned *seed)
{
  struct cloud_put *put = &ranged->put;
  uint64_t at = 0, common;
  CLEANUP_CLOSE int fd = -1;

  put->base_size = (uint64_t) rand_r (seed) % RANGES_SIZE;
  put->size = rand_r (seed) % 3 == 0 ? put->base_size : 1 + (uint64_t) rand_r (seed) % RANGES_SIZE;
  put->has_whole = rand_r (seed) % 2;
  put->n_ranges = 0;
  common = put->size < put->base_size ? put->size : put->base_size;
  for (uint64_t i = 0; i < put->base_size; ++i)
    ranged->base[i] = (unsigned char) rand_r (seed);
  memcpy (ranged->want, ranged->base, common);
  while (put->n_ranges < 7 && at < common && rand_r (seed) % 5) {
    struct cloud_range *range = &ranged->ranges[put->n_ranges];

    range->offset = at + (uint64_t) rand_r (seed) % (common - at);
    range->length = 1 + (uint64_t) rand_r (seed) % (common - range->offset) / (1 + (uint64_t) rand_r (seed) % 1000);
    for (uint64_t i = 0; i < range->length; ++i)
      ranged->want[range->offset + i] = (unsigned char) rand_r (seed);
    at = range->offset + range->length + 1;
    put->n_ranges++;
  }
  if (put->size > common) {
    struct cloud_range *last = &ranged->ranges[put->n_ranges > 0 ? put->n_ranges - 1 : 0];

    /* It may begin before the end of the base. */
    if (put->n_ranges == 0 || last->offset + last->length < common) {
      last = &ranged->ranges[put->n_ranges++];
      last->offset = common;
    }
    for (uint64_t i = common; i < put->size; ++i)
      ranged->want[i] = (unsigned char) rand_r (seed);
    last->length = put->size - last->offset;
  }
  fd = open (full ("file"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ck_assert_int_eq (write (fd, ranged->base, put->base_size), (ssize_t) put->base_size);
}

START_TEST (put_ranges)
{
  static struct ranged ranged;
  const char *given = getenv ("CLOUDSHARE_SEED");
  unsigned seed = given ? (unsigned) strtoul (given, NULL, 10) : (unsigned) getpid ();

  printf ("put_ranges: seed %u\n", seed);
  fflush (stdout);
  /* Where the kernel does not copy, we do. */
  if (_i == 1)
    without (SYS_copy_file_range, EXDEV);
  ranged.base = malloc (RANGES_SIZE);
  ranged.want = malloc (RANGES_SIZE);
  for (int i = 0; i < 40; ++i) {
    char token[128];

    make_ranged (&ranged, &seed);
    snprintf (token, sizeof token, "%s", token_of ("file"));
    ranged.put.expect = token;
    if (ranged.put.n_ranges == 0)
      ranged.put.has_whole = true;
    ck_assert_msg (put_ranged (&ranged) == CLOUD_OK, "%s", ranged.outcome.sentence);
    check_bytes ("file", ranged.want, ranged.put.size);
    if (i % 8 == 0)
      check_now (&ranged.outcome, "file");
  }
  check_nothing_left ();
  free (ranged.base);
  free (ranged.want);
}
END_TEST

START_TEST (put_ranges_refuses)
{
  static struct ranged ranged;
  unsigned char base[100], want[100];
  char token[128];

  memset (base, 'b', sizeof base);
  memcpy (want, base, sizeof want);
  memset (want + 10, 'w', 5);
  ranged.base = base;
  ranged.want = want;
  ranged.put = (struct cloud_put) { .size = 100, .base_size = 100, .n_ranges = 1 };
  ranged.ranges[0] = (struct cloud_range) { .offset = 10, .length = 5 };

  /* Another version, or none. */
  ranged.put.expect = "1-2.3-4";
  ck_assert_int_eq (put_ranged (&ranged), CLOUD_GONE);
  write_text ("file", "another version");
  ck_assert_int_eq (put_ranged (&ranged), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("file"), "another version");

  /* What does not fit to the base is put whole, or not at all. */
  snprintf (token, sizeof token, "%s", token_of ("file"));
  ranged.put.expect = token;
  ck_assert_int_eq (put_ranged (&ranged), CLOUD_WHOLE);
  ck_assert_str_eq (content_of ("file"), "another version");
  ck_assert_str_ne (ranged.outcome.sentence, "");
  ranged.put.has_whole = true;
  ck_assert_int_eq (put_ranged (&ranged), CLOUD_OK);
  check_bytes ("file", want, sizeof want);

  /* Somebody else writes while the ranges are read. */
  snprintf (token, sizeof token, "%s", token_of ("file"));
  ranged.put.has_whole = false;
  ranged.overtaken = true;
  ck_assert_int_eq (put_ranged (&ranged), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("file"), "from somebody else");
  check_nothing_left ();
}
END_TEST

/* Owner, permissions and attributes are people's, not the content's. */
START_TEST (put_keeps_looks)
{
  static struct outcome outcome;
  char value[10];
  struct stat st;
  bool attributes;

  write_text ("file", "old");
  ck_assert_int_eq (chmod (full ("file"), 0640), 0);
  if (getuid () == 0)
    ck_assert_int_eq (chown (full ("file"), 12345, 54321), 0);
  attributes = setxattr (full ("file"), "user.note", "kept", 4, 0) == 0;
  ck_assert_int_eq (put ("file", token_of ("file"), "new", &outcome), CLOUD_OK);
  ck_assert_int_eq (stat (full ("file"), &st), 0);
  ck_assert_uint_eq (st.st_mode & 07777, 0640);
  if (getuid () == 0) {
    ck_assert_uint_eq (st.st_uid, 12345);
    ck_assert_uint_eq (st.st_gid, 54321);
  }
  if (attributes) {
    ck_assert_int_eq (getxattr (full ("file"), "user.note", value, sizeof value), 4);
    ck_assert_int_eq (memcmp (value, "kept", 4), 0);
  }
}
END_TEST

START_TEST (folders)
{
  static struct outcome outcome;

  set_world (_i);
  ck_assert_int_eq (make_folder ("a", &outcome), CLOUD_OK);
  check_now (&outcome, "a");
  ck_assert_int_eq (make_folder ("a/b", &outcome), CLOUD_OK);
  ck_assert_int_eq (make_folder ("a", &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (make_folder ("x/y", &outcome), CLOUD_PARENT);
  write_text ("a/b/file", "text");
  ck_assert_int_eq (make_folder ("a/b/file", &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (make_folder ("a/b/file/c", &outcome), CLOUD_PARENT);

  ck_assert_int_eq (remove_item ("a", true, NULL, &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (move ("a", true, NULL, "c", &outcome), CLOUD_OK);
  check_now (&outcome, "c");
  ck_assert_str_eq (content_of ("c/b/file"), "text");
  ck_assert_int_eq (move ("c", true, NULL, "c/b/inside", &outcome), CLOUD_REFUSED);
  ck_assert_int_eq (make_folder ("d", &outcome), CLOUD_OK);
  ck_assert_int_eq (move ("c", true, NULL, "d", &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (move ("gone", true, NULL, "e", &outcome), CLOUD_GONE);
  ck_assert_int_eq (move ("gone/gone", true, NULL, "e", &outcome), CLOUD_GONE);
  ck_assert_int_eq (move ("c", true, NULL, "no/c", &outcome), CLOUD_PARENT);
  ck_assert_int_eq (move ("c/b/file", true, NULL, "e", &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (remove_item ("d", true, NULL, &outcome), CLOUD_OK);
  ck_assert_int_eq (remove_item ("d", true, NULL, &outcome), CLOUD_GONE);
  ck_assert_int_eq (remove_item ("c/b/file", true, NULL, &outcome), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("c/b/file"), "text");
  shell ("test \"$(find root | wc -l)\" = 4");
}
END_TEST

START_TEST (move_files)
{
  static struct outcome outcome;
  char token[128];

  set_world (_i);
  shell ("cd root; mkdir to; echo x > to/taken; ln -s ../outside out; ln -s ../outside/secret link");
  write_text ("file", "text");
  snprintf (token, sizeof token, "%s", token_of ("file"));
  ck_assert_int_eq (move ("file", false, token, "to/taken", &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (move ("file", false, token, "link", &outcome), CLOUD_EXISTS);
  ck_assert_int_eq (move ("file", false, token, "out/stolen", &outcome), CLOUD_PARENT);
  ck_assert_int_eq (move ("out/secret", false, token, "stolen", &outcome), CLOUD_GONE);
  ck_assert_int_eq (move ("link", false, token, "stolen", &outcome), CLOUD_GONE);
  ck_assert_int_eq (move ("file", false, "1-2", "to/file", &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (move ("to", false, token, "to2", &outcome), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("file"), "text");
  /* What failed has not changed the version, fallbacks with links may. */
  snprintf (token, sizeof token, "%s", token_of ("file"));
  ck_assert_int_eq (move ("file", false, token, "to/file", &outcome), CLOUD_OK);
  check_now (&outcome, "to/file");
  ck_assert_str_eq (content_of ("to/file"), "text");
  ck_assert_str_eq (content_of ("file"), "(none)");
  shell ("test \"$(cat root/to/taken)\" = x && test \"$(ls -A outside)\" = secret");
}
END_TEST

START_TEST (remove_files)
{
  static struct outcome outcome;

  set_world (_i);
  shell ("cd root; mkdir folder; ln -s ../outside out; ln -s ../outside/secret link");
  write_text ("file", "text");
  ck_assert_int_eq (remove_item ("file", false, "1-2", &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (remove_item ("folder", false, "1-2", &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (remove_item ("link", false, "1-2", &outcome), CLOUD_GONE);
  ck_assert_int_eq (remove_item ("out/secret", false, "1-2", &outcome), CLOUD_GONE);
  ck_assert_int_eq (remove_item ("none", false, "1-2", &outcome), CLOUD_GONE);
  ck_assert_int_eq (remove_item ("out", true, NULL, &outcome), CLOUD_GONE);
  ck_assert_str_eq (content_of ("file"), "text");
  ck_assert_int_eq (remove_item ("file", false, token_of ("file"), &outcome), CLOUD_OK);
  ck_assert (!outcome.has_now);
  ck_assert_str_eq (content_of ("file"), "(none)");
  shell ("test \"$(cat outside/secret)\" = secret");
  check_nothing_left ();
}
END_TEST

START_TEST (touch_files)
{
  static struct outcome outcome;
  struct stat st;

  shell ("ln -s ../outside/secret root/link; mkdir root/folder");
  write_text ("file", "text");
  ck_assert_int_eq (touch ("file", "1-2", 5, &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (touch ("link", "1-2", 5, &outcome), CLOUD_GONE);
  ck_assert_int_eq (touch ("folder", "1-2", 5, &outcome), CLOUD_CHANGED);
  ck_assert_int_eq (touch ("none", "1-2", 5, &outcome), CLOUD_GONE);
  ck_assert_int_eq (touch ("file", token_of ("file"), 1234567, &outcome), CLOUD_OK);
  check_now (&outcome, "file");
  ck_assert_int_eq (stat (full ("file"), &st), 0);
  ck_assert_int_eq (st.st_mtim.tv_sec, 1234567);
  ck_assert_int_eq (st.st_mtim.tv_nsec, 500000000);
  ck_assert_str_eq (content_of ("file"), "text");
}
END_TEST

/* ---- what goes wrong ---- */

static int
fail_at_2_mib (struct outcome *outcome, uint64_t offset)
{
  return offset >= 2 * 1024 * 1024 ? -1 : 0;
}

static int
change_target (struct outcome *outcome, uint64_t offset)
{
  write_text ("file", "theirs");
  return 0;
}

static int
make_target (struct outcome *outcome, uint64_t offset)
{
  write_text ("new", "theirs");
  return 0;
}

static int
remove_target (struct outcome *outcome, uint64_t offset)
{
  unlink (full ("file"));
  return 0;
}

static int
take_folder (struct outcome *outcome, uint64_t offset)
{
  shell ("mv root/sub root/elsewhere; ln -s ../outside root/sub");
  return 0;
}

START_TEST (put_is_overtaken)
{
  static struct outcome outcome;
  char token[128];

  set_world (_i);
  write_text ("file", "old");
  snprintf (token, sizeof token, "%s", token_of ("file"));
  outcome = (struct outcome) { .hook = fail_at_2_mib };
  ck_assert_int_eq (put_sized ("file", token, 3 * 1024 * 1024, 1, &outcome), CLOUD_LOCAL);
  ck_assert_str_eq (content_of ("file"), "old");
  ck_assert_str_eq (token_of ("file"), token);

  outcome = (struct outcome) { .content = "mine", .hook = change_target };
  ck_assert_int_eq (put_sized ("file", token, 4, 1, &outcome), CLOUD_CHANGED);
  ck_assert_str_eq (content_of ("file"), "theirs");

  outcome = (struct outcome) { .content = "mine", .hook = make_target };
  ck_assert_int_eq (put_sized ("new", NULL, 4, 1, &outcome), CLOUD_EXISTS);
  ck_assert_str_eq (content_of ("new"), "theirs");

  snprintf (token, sizeof token, "%s", token_of ("file"));
  outcome = (struct outcome) { .content = "mine", .hook = remove_target };
  ck_assert_int_eq (put_sized ("file", token, 4, 1, &outcome), CLOUD_GONE);
  ck_assert_str_eq (content_of ("file"), "(none)");

  /* The folder goes on being the one that was opened, wherever it is by now. */
  ck_assert_int_eq (mkdir (full ("sub"), 0755), 0);
  outcome = (struct outcome) { .content = "mine", .hook = take_folder };
  ck_assert_int_eq (put_sized ("sub/file", NULL, 4, 1, &outcome), CLOUD_OK);
  ck_assert_str_eq (content_of ("elsewhere/file"), "mine");
  shell ("test \"$(ls -A outside)\" = secret");
  check_nothing_left ();
}
END_TEST

/* A program that holds the file open for writing may write at any time: it is waited for. */
START_TEST (open_for_writing)
{
  static struct outcome outcome;
  char token[128];
  int fd;

  write_text ("file", "old");
  snprintf (token, sizeof token, "%s", token_of ("file"));
  fd = open (full ("file"), O_WRONLY);
  ck_assert_int_ge (fd, 0);
  ck_assert_int_eq (put ("file", token, "mine", &outcome), CLOUD_BUSY);
  ck_assert_int_eq (remove_item ("file", false, token, &outcome), CLOUD_BUSY);
  ck_assert_int_eq (touch ("file", token, 1, &outcome), CLOUD_BUSY);
  ck_assert_str_eq (content_of ("file"), "old");
  ck_assert_str_eq (token_of ("file"), token);
  close (fd);
  /* Reading is no hindrance. */
  fd = open (full ("file"), O_RDONLY);
  ck_assert_int_eq (put ("file", token, "mine", &outcome), CLOUD_OK);
  close (fd);
  check_nothing_left ();
}
END_TEST

static void *
run_stop (void *opaque)
{
  cloud->ops->stop (cloud);
  return opaque;
}

static pthread_t stopper;

static int
stop_cloud (struct outcome *outcome, uint64_t offset)
{
  /* stop waits for the worker that we are on, so another thread has to call it. */
  if (offset == 0)
    ck_assert_int_eq (pthread_create (&stopper, NULL, run_stop, NULL), 0);
  usleep (20000);
  return 0;
}

START_TEST (stop_ends_put)
{
  static struct outcome outcome;

  outcome = (struct outcome) { .hook = stop_cloud };
  ck_assert_int_eq (put_sized ("file", NULL, UINT64_C (1) << 30, 1, &outcome), CLOUD_STOPPED);
  pthread_join (stopper, NULL);
  ck_assert_str_eq (content_of ("file"), "(none)");
  check_nothing_left ();
  ck_assert_int_eq (make_folder ("late", &outcome), CLOUD_STOPPED);
}
END_TEST

START_TEST (denied)
{
  static struct outcome outcome;
  const uid_t uid = getuid ();
  char token[128];

  write_text ("file", "text");
  ck_assert_int_eq (mkdir (full ("sub"), 0755), 0);
  if (uid == 0) {
    /* Permissions mean nothing to root.  Threads inherit the ids that were there when they were made. */
    cloud->ops->stop (cloud);
    shell ("chown -R 65534 root; chmod 755 .");
    ck_assert_int_eq (setresuid (65534, 65534, 0), 0);
    ck_assert_int_eq (cloud->ops->start (cloud), 0);
  }
  snprintf (token, sizeof token, "%s", token_of ("file"));
  ck_assert_int_eq (chmod (full (""), 0555), 0);
  ck_assert_int_eq (put ("new", NULL, "x", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (put ("file", token, "x", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (make_folder ("new", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (move ("file", false, token, "new", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (remove_item ("file", false, token, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (remove_item ("sub", true, NULL, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (chmod (full (""), 0755), 0);
  ck_assert_str_eq (content_of ("file"), "text");
  cloud->ops->stop (cloud);
  ck_assert_int_eq (setresuid (uid, uid, uid), 0);
}
END_TEST

/* A disk of 1 MiB, and one that is mounted read-only. */
START_TEST (full_and_read_only)
{
  static struct outcome outcome;
  char token[128];

  cloud->ops->close (cloud);
  cloud = NULL;
  if (unshare (CLONE_NEWNS) == -1 || mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1
      || mount ("none", root, "tmpfs", 0, "size=1m,mode=755") == -1) {
    fprintf (stderr, "cannot mount (%s): not tested\n", strerror (errno));
    return;
  }
  start ();
  write_text ("file", "old");
  snprintf (token, sizeof token, "%s", token_of ("file"));
  outcome = (struct outcome) { 0 };
  ck_assert_int_eq (put_sized ("new", NULL, 2 << 20, 1, &outcome), CLOUD_FULL);
  outcome = (struct outcome) { 0 };
  ck_assert_int_eq (put_sized ("file", token, 2 << 20, 1, &outcome), CLOUD_FULL);
  /* Where the size cannot be asked for beforehand, it is the write that fails. */
  without (SYS_fallocate, EOPNOTSUPP);
  outcome = (struct outcome) { 0 };
  ck_assert_int_eq (put_sized ("file", token, 2 << 20, 1, &outcome), CLOUD_FULL);
  ck_assert_str_eq (content_of ("file"), "old");
  ck_assert_str_eq (token_of ("file"), token);
  check_nothing_left ();
  ck_assert_int_eq (put ("file", token, "new", &outcome), CLOUD_OK);

  snprintf (token, sizeof token, "%s", token_of ("file"));
  cloud->ops->stop (cloud);
  ck_assert_int_eq (mount ("none", root, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
  ck_assert_int_eq (put ("new", NULL, "x", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (put ("file", token, "x", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (make_folder ("new", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (move ("file", false, token, "new", &outcome), CLOUD_DENIED);
  ck_assert_int_eq (remove_item ("file", false, token, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (touch ("file", token, 1, &outcome), CLOUD_DENIED);
  ck_assert_str_eq (content_of ("file"), "new");
  cloud->ops->close (cloud);
  cloud = NULL;
  ck_assert_int_eq (umount (root), 0);
}
END_TEST

/* The root's disk is gone. */
START_TEST (no_root)
{
  static struct outcome outcome;

  shell ("mv root away");
  ck_assert_int_eq (put ("new", NULL, "x", &outcome), CLOUD_OFFLINE);
  ck_assert_int_eq (make_folder ("new", &outcome), CLOUD_OFFLINE);
  ck_assert_int_eq (remove_item ("x", false, "1-2", &outcome), CLOUD_OFFLINE);
  shell ("mv away root");
}
END_TEST

/* What a crash left behind.  Nothing that only looks like it is touched. */
START_TEST (leftovers)
{
  static const char *const kept[] = {
    ".cloudshare-upload-0123456789abcde", ".cloudshare-upload-0123456789ABCDEF", ".cloudshare-upload-0123456789abcdef0",
    "x.cloudshare-upload-0123456789abcdef",
  };
  static struct outcome outcome;

  write_text (".cloudshare-upload-0123456789abcdef", "half");
  write_text (".cloudshare-aside-0123456789abcdef", "theirs");
  ck_assert_int_eq (mkdir (full (".cloudshare-upload-fedcba9876543210"), 0755), 0);
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; ++i)
    write_text (kept[i], "kept");
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_left_out, 0);
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; ++i)
    ck_assert_ptr_nonnull (strstr (outcome.names, kept[i]));
  ck_assert_ptr_nonnull (strstr (outcome.names, ".cloudshare-upload-fedcba9876543210 "));
  ck_assert_ptr_null (strstr (outcome.names, " .cloudshare-upload-0123456789abcdef "));
  ck_assert_ptr_null (strstr (outcome.names, "aside"));
  ck_assert_str_eq (content_of (".cloudshare-upload-0123456789abcdef"), "half");
}
END_TEST

/* A process of this cache that ends in the middle of a put or a removal, as dir-put.c and dir-change.c do them. */
static const struct localitem_maker mine = { .instance = 0x1234abcd, .run = 1 };
static const struct localitem_maker other = { .instance = 0x1234abce, .run = 1 };

static struct statx
look_at (const char *path)
{
  struct statx st;

  ck_assert_int_eq (localitem_look (AT_FDCWD, full (path), &st), 0);
  return st;
}

/* A file that was set aside: goes and comes are the versions that its name tells of. */
static const char *
set_aside (const struct localitem_maker *maker, const char *path, const char *goes, const char *comes)
{
  static char name[LOCALITEM_OWN_SIZE];
  const struct statx a = look_at (goes), b = look_at (comes ? comes : goes);
  char to[sizeof root + LOCALITEM_OWN_SIZE];

  localitem_aside_name (maker, &a, comes ? &b : NULL, name);
  snprintf (to, sizeof to, "%s/%s", root, name);
  ck_assert_int_eq (rename (full (path), to), 0);
  return name;
}

static bool
is_there (const char *path)
{
  return access (full (path), F_OK) == 0;
}

/* What an earlier process of the same cache left goes when it is met; nothing else does. */
START_TEST (left_by_us)
{
  static struct outcome outcome;
  char ours[LOCALITEM_OWN_SIZE], running[LOCALITEM_OWN_SIZE], theirs[LOCALITEM_OWN_SIZE];
  struct dir *dir = (struct dir *) cloud;
  const struct localitem_maker now = { .instance = mine.instance, .run = dir->run };

  cloud->owner = mine.instance;
  localitem_upload_name (&mine, ours);
  localitem_upload_name (&now, running);
  localitem_upload_name (&other, theirs);
  ck_assert_int_eq (localitem_is_own (ours), LOCALITEM_UPLOAD);
  write_text (ours, "half");
  write_text (running, "half");
  write_text (theirs, "half");
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_str_eq (outcome.names, "");
  ck_assert (!is_there (ours));
  ck_assert (is_there (running));
  ck_assert (is_there (theirs));

  /* Without an id nothing is ours. */
  cloud->owner = 0;
  localitem_upload_name (&(struct localitem_maker) { 0 }, ours);
  write_text (ours, "half");
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert (is_there (ours));
}
END_TEST

START_TEST (left_aside)
{
  static struct outcome outcome;
  const char *name;
  int fd;

  cloud->owner = mine.instance;
  write_text ("old", "old version");
  write_text ("new", "new version!");

  /* Exchanged, and not deleted any more: what was to go. */
  name = set_aside (&mine, "old", "old", "new");
  ck_assert_int_eq (localitem_is_own (name), LOCALITEM_ASIDE);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert (!is_there (name));

  /* Not exchanged yet: what was to come. */
  write_text ("old", "old version");
  name = set_aside (&mine, "new", "old", "new");
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert (!is_there (name));
  ck_assert_str_eq (content_of ("old"), "old version");

  /* Somebody's version, which came in between: it stays, and is told of once it is old. */
  write_text ("old", "old version");
  write_text ("theirs", "written by somebody else");
  name = set_aside (&mine, "theirs", "old", NULL);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_str_eq (content_of (name), "written by somebody else");
  ck_assert_int_eq (unlink (full (name)), 0);

  /* The version that was to go, and somebody has opened it before that to write to it. */
  fd = open (full ("old"), O_WRONLY | O_CLOEXEC);
  ck_assert_int_ge (fd, 0);
  name = set_aside (&mine, "old", "old", NULL);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert (is_there (name));
  ck_assert_int_eq (write (fd, "more", 4), 4);
  close (fd);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_str_eq (content_of (name), "moreversion");
  ck_assert_int_eq (unlink (full (name)), 0);

  /* Another host's. */
  write_text ("old", "old version");
  name = set_aside (&other, "old", "old", NULL);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert (is_there (name));
}
END_TEST

/* A folder is empty when nothing is in it that listings show or that somebody may want. */
START_TEST (left_in_folder)
{
  static struct outcome outcome;
  char name[LOCALITEM_OWN_SIZE], path[LOCALITEM_OWN_SIZE + 16];

  cloud->owner = mine.instance;
  shell ("mkdir root/folder");
  localitem_upload_name (&other, name);
  snprintf (path, sizeof path, "folder/%s", name);
  write_text (path, "half");
  ck_assert_int_eq (remove_item ("folder", true, NULL, &outcome), CLOUD_EXISTS);
  ck_assert (is_there (path));
  ck_assert_int_eq (unlink (full (path)), 0);

  localitem_upload_name (&mine, name);
  snprintf (path, sizeof path, "folder/%s", name);
  write_text (path, "half");
  write_text ("folder/file", "somebody's");
  ck_assert_int_eq (remove_item ("folder", true, NULL, &outcome), CLOUD_EXISTS);
  ck_assert_str_eq (content_of ("folder/file"), "somebody's");

  write_text (path, "half");
  shell ("rm root/folder/file");
  ck_assert_int_eq (remove_item ("folder", true, NULL, &outcome), CLOUD_OK);
  ck_assert (!is_there ("folder"));
}
END_TEST

/* ---- races: other programs change the same file at the same time ---- */

enum manner { BY_RENAME, IN_PLACE, TRUNCATED, APPENDED, ANEW, N_MANNERS };

static struct {
  atomic_uint round, ready, finished;
  int64_t delay_ns;
  enum manner manner;
  char text[32];
  bool wrote;
  atomic_bool over;
} writer;

static bool
write_somehow (void)
{
  int flags = O_WRONLY | O_CLOEXEC;
  CLEANUP_CLOSE int fd = -1;

  switch (writer.manner) {
  case BY_RENAME:
  case ANEW:
    fd = open (full ("temporary"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (write (fd, writer.text, strlen (writer.text)) == -1)
      return false;
    if (writer.manner == ANEW)
      unlink (full ("file"));
    {
      char to[4096];

      snprintf (to, sizeof to, "%s", full ("file"));
      return rename (full ("temporary"), to) == 0;
    }
  case TRUNCATED:
    flags |= O_TRUNC;
    break;
  case APPENDED:
    flags |= O_APPEND;
    break;
  default:
    break;
  }
  fd = open (full ("file"), flags);
  return fd >= 0 && write (fd, writer.text, strlen (writer.text)) > 0;
}

static int64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C (1000000000) + now.tv_nsec;
}

static void *
run_writer (void *opaque)
{
  for (unsigned round = 1;; ++round) {
    atomic_store (&writer.ready, round);
    while (atomic_load (&writer.round) < round)
      if (atomic_load (&writer.over))
        return opaque;
    for (const int64_t begin = now_ns (); now_ns () - begin < writer.delay_ns;)
      continue;
    writer.wrote = write_somehow ();
    atomic_store (&writer.finished, round);
  }
}

enum race { RACE_PUT, RACE_REMOVE, RACE_MOVE, RACE_TOUCH, N_RACES };

/* In each round one write of somebody else meets one request of ours.  Whoever comes first, what was written has to be
 * in a file afterwards, and a request that says it was done has to have been about the version that it named. */
START_TEST (races)
{
  static struct outcome outcome;
  const struct timespec long_past[2] = { { .tv_sec = 5 }, { .tv_sec = 5 } };
  const enum race race = _i;
  const char *slow = getenv ("CLOUDSHARE_VALGRIND");
  unsigned n_done = 0, n_refused = 0, seed = 12345;
  int64_t request_ns = 10000;   /* how long ours takes: so long theirs may be late */
  pthread_t thread;

  ck_assert_int_eq (pthread_create (&thread, NULL, run_writer, NULL), 0);
  for (unsigned round = 1; round <= (slow ? 50u : 400u); ++round) {
    char token[128], text[32];
    const char *found;
    enum cloud_result result;
    int64_t begin;

    while (atomic_load (&writer.ready) < round)
      sched_yield ();
    unlink (full ("moved"));
    unlink (full ("file"));
    write_text ("file", "before");
    /* A version whose clock tick is over, as a settled one's is. */
    ck_assert_int_eq (utimensat (AT_FDCWD, full ("file"), long_past, 0), 0);
    snprintf (token, sizeof token, "%s", token_of ("file"));
    snprintf (writer.text, sizeof writer.text, "%06u", round);
    writer.manner = rand_r (&seed) % N_MANNERS;
    writer.delay_ns = rand_r (&seed) % (request_ns * 9 / 8);
    begin = now_ns ();
    atomic_store (&writer.round, round);
    result = race == RACE_PUT ? put ("file", token, "mine!!", &outcome)
      : race == RACE_REMOVE ? remove_item ("file", false, token, &outcome)
      : race == RACE_MOVE ? move ("file", false, token, "moved", &outcome)
      : touch ("file", token, 77, &outcome);
    request_ns = (3 * request_ns + now_ns () - begin) / 4;
    while (atomic_load (&writer.finished) < round)
      sched_yield ();

    ck_assert_msg (result == CLOUD_OK || result == CLOUD_CHANGED || result == CLOUD_BUSY || result == CLOUD_GONE,
                   "%s: %s", cloud_result_name (result), outcome.sentence);
    n_done += result == CLOUD_OK;
    n_refused += result != CLOUD_OK;
    snprintf (text, sizeof text, "%s", content_of ("file"));
    found = strstr (text, writer.text) ? text : content_of ("moved");
    ck_assert_msg (!writer.wrote || strstr (found, writer.text),
                   "round %u: %s in manner %u is lost: there is \"%s\" (%s)", round,
                   writer.text, writer.manner, text, cloud_result_name (result));
    /* Who wrote before a put that succeeded would be written over: so it was after it, or there was none. */
    if (race == RACE_PUT && result == CLOUD_OK && !writer.wrote)
      ck_assert_str_eq (text, "mine!!");
    /* A change of theirs after ours has to show: otherwise it would be taken for our echo. */
    if (result == CLOUD_OK && outcome.has_now && writer.wrote)
      ck_assert_str_ne (outcome.token, token_of (race == RACE_MOVE && found != text ? "moved" : "file"));
  }
  atomic_store (&writer.over, true);
  pthread_join (thread, NULL);
  check_nothing_left ();
  if (!slow)
    ck_assert_msg (n_done > 0 && n_refused > 0, "no race: %u done, %u refused", n_done, n_refused);
}
END_TEST

/* Many at once, in one folder: each file is whole, and requests for one name do not mix. */
START_TEST (many_at_once)
{
  enum { N = 64 };
  static struct outcome outcomes[N];
  unsigned n_ok = 0;

  for (unsigned i = 0; i < N; ++i) {
    char path[20];
    const struct cloud_put put = { .path = path, .size = 5000, .mtime = { .tv_sec = 9 }, .read = read_content };

    snprintf (path, sizeof path, "f%u", i % (N / 2));
    outcomes[i] = (struct outcome) { 0 };
    cloud->ops->put (cloud, &put, &change_sink, &outcomes[i]);
  }
  for (unsigned i = 0; i < N; ++i) {
    const enum cloud_result result = await (&outcomes[i]);

    ck_assert (result == CLOUD_OK || result == CLOUD_EXISTS);
    n_ok += result == CLOUD_OK;
  }
  ck_assert_uint_eq (n_ok, N / 2);
  shell ("test \"$(ls -A root | wc -l)\" = %d && test \"$(cat root/* | wc -c)\" = %d", N / 2, N / 2 * 5000);
}
END_TEST

static Suite *
suite (void)
{
  Suite *s = suite_create ("dir-change");
  TCase *tc = tcase_create ("all");

  tcase_set_timeout (tc, 240);
  tcase_add_checked_fixture (tc, setup, teardown);
  tcase_add_loop_test (tc, put_new_and_replaced, 0, N_WORLDS);
  tcase_add_test (tc, put_without_time);
  tcase_add_test (tc, put_large);
  tcase_add_test (tc, put_refuses);
  tcase_add_loop_test (tc, put_ranges, 0, 2);
  tcase_add_test (tc, put_ranges_refuses);
  tcase_add_test (tc, put_keeps_looks);
  tcase_add_loop_test (tc, folders, 0, N_WORLDS);
  tcase_add_loop_test (tc, move_files, 0, N_WORLDS);
  tcase_add_loop_test (tc, remove_files, 0, N_WORLDS);
  tcase_add_test (tc, touch_files);
  tcase_add_loop_test (tc, put_is_overtaken, 0, N_WORLDS);
  tcase_add_test (tc, open_for_writing);
  tcase_add_test (tc, stop_ends_put);
  tcase_add_test (tc, denied);
  tcase_add_test (tc, full_and_read_only);
  tcase_add_test (tc, no_root);
  tcase_add_test (tc, leftovers);
  tcase_add_test (tc, left_by_us);
  tcase_add_test (tc, left_aside);
  tcase_add_test (tc, left_in_folder);
  tcase_add_loop_test (tc, races, 0, N_RACES);
  tcase_add_test (tc, many_at_once);
  suite_add_tcase (s, tc);
  return s;
}

int
main (void)
{
  SRunner *runner = srunner_create (suite ());
  int failed;

  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
