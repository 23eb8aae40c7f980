/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the provider for local folders: what it lists and reads, that it never leaves its root, and that it notices. */

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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "cloud.h"
#include "msg.h"
#include "rootdir.h"

#define MIB (1024 * 1024)

static char tmp[64];          /* holds the root and what is outside of it */
static char root[80];
static struct cloud *cloud;
static char last_message[2048];
static unsigned n_messages;

static void
keep_message (enum msg_level level, const char *text)
{
  if (level == MSG_DEBUG)
    return;
  snprintf (last_message, sizeof last_message, "%s", text);
  n_messages++;
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
  static char buf[4096];

  snprintf (buf, sizeof buf, "%s/%s", root, path);
  return buf;
}

/* Content that tells its own position, so that a range read from elsewhere is noticed. */
static unsigned char
byte_at (uint64_t offset)
{
  return (unsigned char) (offset * 2654435761u >> 13);
}

static void
write_file (const char *path, size_t size)
{
  FILE *f = fopen (full (path), "w");

  ck_assert_ptr_nonnull (f);
  for (size_t i = 0; i < size; ++i)
    putc (byte_at (i), f);
  ck_assert_int_eq (fclose (f), 0);
}

static void
sleep_ms (unsigned ms)
{
  usleep (ms * 1000);
}

static struct cloud *
open_remote (const char *remote)
{
  const struct cloud_config config = { .remote = remote, .sslverify = true };

  return cloud_dir_open (&config);
}

static void
setup (void)
{
  const char *base = getenv ("TMPDIR");

  snprintf (tmp, sizeof tmp, "%s/check-cloud-dir.XXXXXX", base && strlen (base) < 32 ? base : "/tmp");
  ck_assert_ptr_nonnull (mkdtemp (tmp));
  ck_assert_int_eq (chmod (tmp, 0755), 0);
  snprintf (root, sizeof root, "%s/root", tmp);
  ck_assert_int_eq (mkdir (root, 0755), 0);
  shell ("mkdir outside && echo secret > outside/secret");
  msg_set_sink (keep_message);
  cloud = open_remote (root);
  ck_assert_ptr_nonnull (cloud);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
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

#define MAX_SEEN 64

struct seen {
  struct cloud_item item;
  char name[300], token[128], id[128];
};

struct outcome {
  bool done;
  enum cloud_result result;
  char sentence[6000];
  /* list */
  struct seen items[MAX_SEEN];
  unsigned n_items, n_left_out;
  char left_out[MAX_SEEN][300];
  /* get */
  uint64_t next;               /* the offset that must come next */
  uint64_t given;
  bool wrong;                  /* a byte or an offset that is not the file's */
  bool unpatterned;
  int (*hook) (struct outcome *outcome);
};

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct outcome *outcome = opaque;
  LOCK_FOR_SCOPE (&lock);

  ck_assert (!outcome->done);
  ck_assert (result == CLOUD_OK || sentence != NULL);
  outcome->done = true;
  outcome->result = result;
  snprintf (outcome->sentence, sizeof outcome->sentence, "%s", sentence ? sentence : "");
  pthread_cond_broadcast (&done_cond);
}

static void
await (struct outcome *outcome)
{
  LOCK_FOR_SCOPE (&lock);

  while (!outcome->done)
    pthread_cond_wait (&done_cond, &lock);
}

static void
on_item (void *opaque, const struct cloud_item *item)
{
  struct outcome *outcome = opaque;
  struct seen *seen = &outcome->items[outcome->n_items];

  ck_assert_uint_lt (outcome->n_items, MAX_SEEN);
  outcome->n_items++;
  seen->item = *item;
  snprintf (seen->name, sizeof seen->name, "%s", item->name);
  snprintf (seen->token, sizeof seen->token, "%s", item->token ? item->token : "");
  snprintf (seen->id, sizeof seen->id, "%s", item->id ? item->id : "");
}

static void
on_left_out (void *opaque, const char *name, const char *reason)
{
  struct outcome *outcome = opaque;

  ck_assert_uint_lt (outcome->n_left_out, MAX_SEEN);
  snprintf (outcome->left_out[outcome->n_left_out++], sizeof outcome->left_out[0], "%s: %s", name, reason);
}

static int
on_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct outcome *outcome = opaque;
  const unsigned char *bytes = buf;

  if (offset != outcome->next)
    outcome->wrong = true;
  for (size_t i = 0; i < n && !outcome->unpatterned; ++i)
    if (bytes[i] != byte_at (offset + i))
      outcome->wrong = true;
  outcome->next += n;
  outcome->given += n;
  return outcome->hook ? outcome->hook (outcome) : 0;
}

static const struct cloud_list_sink list_sink = { on_item, on_left_out, on_done };
static const struct cloud_get_sink get_sink = { on_data, on_done };

static enum cloud_result
list (const char *path, int depth, struct outcome *outcome)
{
  memset (outcome, 0, sizeof *outcome);
  cloud->ops->list (cloud, path, depth, &list_sink, outcome);
  await (outcome);
  return outcome->result;
}

static struct seen *
find (struct outcome *outcome, const char *name)
{
  for (unsigned i = 0; i < outcome->n_items; ++i)
    if (strcmp (outcome->items[i].name, name) == 0)
      return &outcome->items[i];
  return NULL;
}

static struct seen
stat_item (const char *path)
{
  static struct outcome outcome;

  ck_assert_int_eq (list (path, 0, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 1);
  ck_assert_str_eq (outcome.items[0].name, "");
  return outcome.items[0];
}

static void
begin_get (const char *path, const struct seen *version, uint64_t offset, uint64_t length, bool urgent,
           struct outcome *outcome)
{
  const struct cloud_get get = {
    .path = path, .token = version->token, .size = version->item.size, .offset = offset, .length = length,
    .urgent = urgent,
  };

  outcome->next = offset;
  cloud->ops->get (cloud, &get, &get_sink, outcome);
}

static enum cloud_result
get (const char *path, const struct seen *version, uint64_t offset, uint64_t length, struct outcome *outcome)
{
  int (*hook) (struct outcome *) = outcome->hook;

  memset (outcome, 0, sizeof *outcome);
  outcome->hook = hook;
  begin_get (path, version, offset, length, true, outcome);
  await (outcome);
  ck_assert (!outcome->wrong);
  return outcome->result;
}

/* ---- opening ---- */

START_TEST (open_refuses)
{
  static const struct {
    const char *remote;   /* below the folder that holds the root */
    const char *says;
  } cases[] = {
    { "outside/secret", "not a folder" },
    { "outside/secret/below", "not a folder" },
    { "closed", "may not read" },
  };
  char remote[200];

  shell ("mkdir -m 0 closed");
  if (getuid () == 0)
    ck_assert_int_eq (seteuid (65534), 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    snprintf (remote, sizeof remote, "%s/%s", tmp, cases[i].remote);
    n_messages = 0;
    ck_assert_ptr_null (open_remote (remote));
    ck_assert_uint_eq (n_messages, 1);
    ck_assert_msg (strstr (last_message, cases[i].says) != NULL, "%s: %s", remote, last_message);
  }
  if (getuid () == 0)
    ck_assert_int_eq (seteuid (0), 0);
  n_messages = 0;
  ck_assert_ptr_null (open_remote ("file://elsewhere/share"));
  ck_assert_uint_eq (n_messages, 1);
}
END_TEST

/* A disk that is not mounted yet: the remote is away, and there as soon as it is mounted. */
START_TEST (open_takes_missing)
{
  char remote[200], *sentence = NULL;
  struct cloud *other;

  snprintf (remote, sizeof remote, "%s/later/", tmp);
  other = open_remote (remote);
  ck_assert_ptr_nonnull (other);
  remote[strlen (remote) - 1] = '\0';
  ck_assert_str_eq (other->identity, remote);
  ck_assert_int_eq (other->ops->probe (other, &sentence), CLOUD_OFFLINE);
  ck_assert_msg (strstr (sentence, "no such folder") != NULL, "%s", sentence);
  free (sentence);
  shell ("mkdir later");
  ck_assert_int_eq (other->ops->probe (other, &sentence), CLOUD_OK);
  other->ops->close (other);
}
END_TEST

START_TEST (open_takes_urls)
{
  static const char *const prefixes[] = { "file://", "file://localhost", "FILE:", "" };
  char remote[200], real[200];

  shell ("mkdir 'root/a b%%41' && ln -s 'root/a b%%41' link");
  snprintf (real, sizeof real, "%s/a b%%41", root);
  for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; ++i) {
    struct cloud *other;

    snprintf (remote, sizeof remote, "%s%s/%s", prefixes[i], root, *prefixes[i] ? "a%20b%2541" : "./a b%41/");
    other = open_remote (remote);
    ck_assert_msg (other != NULL, "%s: %s", remote, last_message);
    ck_assert_str_eq (other->identity, real);
    other->ops->close (other);
  }
  /* The root itself may be reached through a link: the user named it. */
  snprintf (remote, sizeof remote, "%s/link", tmp);
  cloud->ops->close (cloud);
  cloud = open_remote (remote);
  ck_assert_ptr_nonnull (cloud);
  ck_assert_str_eq (cloud->identity, real);
}
END_TEST

/* ---- listing ---- */

START_TEST (list_shows_files_and_folders)
{
  static const struct {
    const char *name;
    size_t size;
  } files[] = {
    { "empty", 0 }, { "one", 1 }, { "piece", MIB }, { " space ", 2 }, { "new\nline", 3 }, { "\xe9t\xe9 latin1", 4 },
    { "\xc3\xa9t\xc3\xa9", 5 }, { "back\\slash", 6 }, { "...", 7 }, { ".hidden", 8 }, { "trailing.", 9 },
    { "\x01\x7f", 10 }, { "-rf", 11 }, { "CON", 12 }, { "%41", 13 },
  };
  static struct outcome outcome;
  char longest[256];

  memset (longest, 'x', 255);
  longest[255] = '\0';
  write_file (longest, 14);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i)
    write_file (files[i].name, files[i].size);
  ck_assert_int_eq (mkdir (full ("folder"), 0755), 0);
  write_file ("folder/inside", 20);

  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, sizeof files / sizeof files[0] + 2);
  ck_assert_uint_eq (outcome.n_left_out, 0);
  ck_assert_ptr_nonnull (find (&outcome, longest));
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    const struct seen *seen = find (&outcome, files[i].name);
    const struct seen again = stat_item (files[i].name);
    struct stat st;

    ck_assert_msg (seen != NULL, "%s", files[i].name);
    ck_assert (!seen->item.is_folder);
    ck_assert_uint_eq (seen->item.size, files[i].size);
    ck_assert_int_eq (stat (full (files[i].name), &st), 0);
    ck_assert_int_eq (seen->item.mtime.tv_sec, st.st_mtim.tv_sec);
    ck_assert_int_eq (seen->item.mtime.tv_nsec, st.st_mtim.tv_nsec);
    ck_assert_ptr_null (seen->item.mime);
    ck_assert_ptr_null (seen->item.checksum);
    ck_assert_str_ne (seen->token, "");
    ck_assert_str_ne (seen->id, "");
    ck_assert_str_eq (seen->token, again.token);
    ck_assert_str_eq (seen->id, again.id);
  }
  ck_assert (find (&outcome, "folder")->item.is_folder);
  ck_assert_uint_eq (find (&outcome, "folder")->item.size, 0);

  ck_assert_int_eq (list ("folder", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 1);
  ck_assert_str_eq (outcome.items[0].name, "inside");
  ck_assert (stat_item ("").item.is_folder);
  ck_assert (stat_item ("folder").item.is_folder);

  ck_assert_int_eq (list ("nothing", 1, &outcome), CLOUD_GONE);
  ck_assert_int_eq (list ("nothing", 0, &outcome), CLOUD_GONE);
  ck_assert_int_eq (list ("one", 1, &outcome), CLOUD_GONE);
  ck_assert_int_eq (list ("one/below", 0, &outcome), CLOUD_GONE);
}
END_TEST

START_TEST (list_leaves_out)
{
  static struct outcome outcome;

  write_file ("file", 1);
  shell ("cd root; ln -s file link1; ln -s ../outside link2; ln -s nothing link3; mkfifo 'pi\npe'; mkdir sub;"
         " ln -s ../file sub/only; ln file hard");
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 3);
  ck_assert_uint_eq (outcome.n_left_out, 2);
  ck_assert_str_eq (outcome.left_out[0], "pi?pe: neither a file nor a folder");
  ck_assert_str_eq (outcome.left_out[1], "link1: a symbolic link, like 2 more in this folder; links are not followed");
  /* Two names of one inode are two items. */
  ck_assert_str_eq (find (&outcome, "file")->id, "");
  ck_assert_str_eq (find (&outcome, "hard")->id, "");

  /* A folder is listed again and again, but that is said once. */
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 3);
  ck_assert_uint_eq (outcome.n_left_out, 0);

  ck_assert_int_eq (list ("sub", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 0);
  ck_assert_str_eq (outcome.left_out[0], "only: a symbolic link; links are not followed");
  ck_assert_int_eq (list ("pi\npe", 0, &outcome), CLOUD_GONE);
  ck_assert_msg (strstr (outcome.sentence, "pi?pe") != NULL, "%s", outcome.sentence);
}
END_TEST

START_TEST (denied)
{
  static struct outcome outcome;
  const uid_t uid = getuid ();
  struct seen version;

  if (uid == 0) {
    /* Permissions mean nothing to root. */
    shell ("chown -R 65534 root");
    ck_assert_int_eq (setresuid (65534, 65534, 0), 0);
  }
  write_file ("file", 10);
  ck_assert_int_eq (mkdir (full ("sub"), 0755), 0);
  version = stat_item ("file");
  ck_assert_int_eq (chmod (full ("sub"), 0), 0);
  ck_assert_int_eq (list ("sub", 1, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (list ("sub/x", 0, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_int_eq (chmod (full ("file"), 0), 0);
  version = stat_item ("file");
  ck_assert_int_eq (get ("file", &version, 0, 10, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (chmod (root, 0), 0);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_DENIED);
  ck_assert_int_eq (chmod (root, 0755), 0);
  ck_assert_int_eq (setresuid (uid, uid, uid), 0);
}
END_TEST

/* ---- staying below the root ---- */

/* Makes openat2 fail, as in an old kernel (ENOSYS) or a container's filter (EPERM). */
static void
without_openat2 (int err)
{
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned) err),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = { .len = sizeof filter / sizeof filter[0], .filter = filter };

  ck_assert_int_eq (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ck_assert_int_eq (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const int openat2_errors[] = { 0, ENOSYS, EPERM };

static void
set_openat2_error (int err)
{
  if (err == 0)
    return;
  cloud->ops->stop (cloud);
  without_openat2 (err);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
}

START_TEST (no_way_out)
{
  static const char *const paths[] = {
    "..", ".", "../outside/secret", "a/../b", "a/..", "a/../../outside/secret", "/etc/passwd", "/", "a/", "a//b", "./a",
    "a/.", "out", "out/secret", "in", "in/b", "up", "up/outside/secret", "absolute", "absolute/passwd",
    "self/root/etc/passwd", "loop",
  };
  static struct outcome outcome;
  struct seen version;

  shell ("cd root; mkdir a; echo b > a/b; ln -s ../outside out; ln -s a in; ln -s .. up; ln -s /etc absolute;"
         " ln -s /proc/self self; ln -s loop loop");
  set_openat2_error (openat2_errors[_i]);
  version = stat_item ("a/b");
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; ++i) {
    ck_assert_msg (list (paths[i], 0, &outcome) == CLOUD_GONE, "look at %s: %s", paths[i], outcome.sentence);
    ck_assert_msg (list (paths[i], 1, &outcome) == CLOUD_GONE, "list %s: %s", paths[i], outcome.sentence);
    ck_assert_uint_eq (outcome.n_items, 0);
    ck_assert_msg (get (paths[i], &version, 0, 1, &outcome) == CLOUD_GONE, "get %s: %s", paths[i], outcome.sentence);
    ck_assert_uint_eq (outcome.given, 0);
  }
  ck_assert_int_eq (list ("a", 1, &outcome), CLOUD_OK);
}
END_TEST

static atomic_bool swapping;

/* Exchanges a folder and a link to the outside, as fast as it can. */
static void *
swap (void *opaque)
{
  char a[100], b[100];

  snprintf (a, sizeof a, "%s/a", root);
  snprintf (b, sizeof b, "%s/b", root);
  while (atomic_load (&swapping))
    if (renameat2 (AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == -1)
      break;
  return opaque;
}

START_TEST (no_way_out_in_a_race)
{
  static struct outcome outcome;
  const bool must_meet = getenv ("CLOUDSHARE_VALGRIND") == NULL;
  unsigned n_inside = 0, n_refused = 0;
  struct rootdir *rootdir;
  struct timespec begin, now;
  int64_t elapsed_ms;
  pthread_t thread;
  int root_fd;

  shell ("cd root; mkdir -p a/deep; echo inside > a/inside; echo x > a/deep/x; ln -s ../outside b;"
         " mkdir ../outside/deep; echo secret > ../outside/deep/secret");
  set_openat2_error (openat2_errors[_i]);
  rootdir = rootdir_new (root);
  ck_assert_ptr_nonnull (rootdir);
  root_fd = rootdir_open (rootdir);
  atomic_store (&swapping, true);
  ck_assert_int_eq (pthread_create (&thread, NULL, swap, NULL), 0);
  clock_gettime (CLOCK_MONOTONIC, &begin);
  do {
    static const char *const secrets[] = { "a/secret", "a/deep/secret" };

    for (size_t i = 0; i < 50; ++i) {
      const int fd = rootdir_open_below (root_fd, secrets[i % 2], O_RDONLY);

      ck_assert_msg (fd < 0, "%s was opened", secrets[i % 2]);
    }
    if (list (n_inside % 2 ? "a" : "a/deep", 1, &outcome) == CLOUD_OK) {
      ck_assert_ptr_null (find (&outcome, "secret"));
      n_inside++;
    }
    else {
      ck_assert_int_eq (outcome.result, CLOUD_GONE);
      n_refused++;
    }
    clock_gettime (CLOCK_MONOTONIC, &now);
    elapsed_ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
    /* On a busy machine it takes longer until both have had their turn.  Under valgrind threads take turns, so that one
     * may never be in the other's way. */
  } while (elapsed_ms < 700 || (must_meet && elapsed_ms < 30000 && (n_inside == 0 || n_refused == 0)));
  atomic_store (&swapping, false);
  pthread_join (thread, NULL);
  if (must_meet)
    ck_assert_msg (n_inside > 0 && n_refused > 0, "no race: %u inside, %u refused", n_inside, n_refused);
  close (root_fd);
  rootdir_free (rootdir);
}
END_TEST

/* A path that is longer than the kernel takes in one piece. */
START_TEST (deep_tree)
{
  static struct outcome outcome;
  static char path[8192];
  struct seen version;
  char name[201];
  size_t len = 0;
  int fd = open (root, O_PATH);

  memset (name, 'd', 200);
  name[200] = '\0';
  for (unsigned i = 0; i < 30; ++i) {
    int next;

    ck_assert_int_eq (mkdirat (fd, name, 0755), 0);
    next = openat (fd, name, O_PATH);
    close (fd);
    fd = next;
    len += (size_t) snprintf (path + len, sizeof path - len, "%s/", name);
  }
  path[len - 1] = '\0';
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  ck_assert_int_eq (cloud->ops->wait (cloud, 50), CLOUD_WAIT_TIMEOUT);
  {
    CLEANUP_CLOSE int file = openat (fd, "f", O_WRONLY | O_CREAT, 0644);
    const unsigned char byte = byte_at (0);

    ck_assert_int_eq (write (file, &byte, 1), 1);
  }
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  ck_assert_int_eq (list (path, 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, 1);
  strcat (path, "/f");
  version = stat_item (path);
  ck_assert_int_eq (get (path, &version, 0, 1, &outcome), CLOUD_OK);
  close (fd);
}
END_TEST

/* ---- reading ---- */

START_TEST (get_ranges)
{
  static const struct {
    uint64_t offset, length;
  } ranges[] = {
    { 0, 1 }, { 0, 3 * MIB + 7 }, { 3 * MIB + 6, 1 }, { MIB - 1, 2 }, { MIB, MIB }, { 12345, 2 * MIB + 1 },
  };
  static struct outcome outcomes[32];
  static struct outcome outcome;
  struct seen version;

  write_file ("file", 3 * MIB + 7);
  version = stat_item ("file");
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; ++i) {
    ck_assert_int_eq (get ("file", &version, ranges[i].offset, ranges[i].length, &outcome), CLOUD_OK);
    ck_assert_uint_eq (outcome.given, ranges[i].length);
  }
  /* Many at once. */
  for (size_t i = 0; i < 32; ++i)
    begin_get ("file", &version, i * 1000, MIB + i, i % 3 == 0, &outcomes[i]);
  for (size_t i = 0; i < 32; ++i) {
    await (&outcomes[i]);
    ck_assert_int_eq (outcomes[i].result, CLOUD_OK);
    ck_assert_uint_eq (outcomes[i].given, MIB + i);
    ck_assert (!outcomes[i].wrong);
  }
}
END_TEST

static int
say_stop (struct outcome *outcome)
{
  return -1;
}

/* Changes the file after its first piece has been read. */
static int
change_it (struct outcome *outcome)
{
  if (outcome->given == MIB)
    shell ("printf X | dd of=root/file bs=1 seek=%d conv=notrunc 2>/dev/null", 2 * MIB);
  return 0;
}

static int
cut_it (struct outcome *outcome)
{
  if (outcome->given == MIB)
    ck_assert_int_eq (truncate (full ("file"), MIB + 10), 0);
  return 0;
}

static int
replace_it (struct outcome *outcome)
{
  if (outcome->given == MIB)
    ck_assert_int_eq (rename (full ("other"), full ("file")), 0);
  return 0;
}

START_TEST (get_one_version)
{
  static struct outcome outcome;
  struct seen version;

  write_file ("file", 3 * MIB);
  version = stat_item ("file");
  outcome.hook = say_stop;
  ck_assert_int_eq (get ("file", &version, 0, 3 * MIB, &outcome), CLOUD_LOCAL);
  ck_assert_uint_eq (outcome.given, MIB);

  outcome.hook = change_it;
  ck_assert_int_eq (get ("file", &version, 0, 3 * MIB, &outcome), CLOUD_CHANGED);
  ck_assert_uint_eq (outcome.given, MIB);

  version = stat_item ("file");
  outcome.hook = cut_it;
  ck_assert_int_eq (get ("file", &version, 0, 3 * MIB, &outcome), CLOUD_CHANGED);
  ck_assert_uint_eq (outcome.given, MIB);

  outcome.hook = NULL;
  ck_assert_int_eq (get ("file", &version, 0, 10, &outcome), CLOUD_CHANGED);
  ck_assert_uint_eq (outcome.given, 0);

  /* Replaced as editors do it: the old bytes are still there for whoever has them open, so either end is right. */
  write_file ("file", 3 * MIB);
  write_file ("other", 3 * MIB);
  version = stat_item ("file");
  outcome.hook = replace_it;
  if (get ("file", &version, 0, 3 * MIB, &outcome) == CLOUD_OK)
    ck_assert_uint_eq (outcome.given, 3 * MIB);
  else
    ck_assert_int_eq (outcome.result, CLOUD_CHANGED);

  outcome.hook = NULL;
  version = stat_item ("file");
  ck_assert_int_eq (unlink (full ("file")), 0);
  ck_assert_int_eq (get ("file", &version, 0, 10, &outcome), CLOUD_GONE);
  ck_assert_int_eq (mkfifo (full ("file"), 0644), 0);
  ck_assert_int_eq (get ("file", &version, 0, 10, &outcome), CLOUD_GONE);
  shell ("rm root/file; mkdir root/file");
  ck_assert_int_eq (get ("file", &version, 0, 10, &outcome), CLOUD_GONE);
}
END_TEST

START_TEST (token_and_id)
{
  struct seen first, second;
  struct timespec times[2];
  struct stat st;

  /* A look comes within the settle time, unless the machine is busy with something else. */
  for (unsigned i = 0; i < 100; ++i) {
    write_file ("file", 100);
    first = stat_item ("file");
    if (!first.item.settled)
      break;
  }
  ck_assert (!first.item.settled);
  sleep_ms (120);
  first = stat_item ("file");
  ck_assert (first.item.settled);

  /* The same size, and the time of change set back by the writer: still another version. */
  ck_assert_int_eq (stat (full ("file"), &st), 0);
  shell ("printf Y | dd of=root/file bs=1 conv=notrunc 2>/dev/null");
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  ck_assert_int_eq (utimensat (AT_FDCWD, full ("file"), times, 0), 0);
  second = stat_item ("file");
  ck_assert_int_eq (second.item.mtime.tv_nsec, first.item.mtime.tv_nsec);
  ck_assert_str_ne (first.token, second.token);
  ck_assert_str_eq (first.id, second.id);

  /* A date in the future does not keep a file unsettled for ever. */
  shell ("touch -d '2099-01-01' root/file");
  sleep_ms (120);
  ck_assert (stat_item ("file").item.settled);

  shell ("mkdir root/sub; mv root/file root/sub/new");
  ck_assert_str_eq (stat_item ("sub/new").id, first.id);
  shell ("rm root/sub/new");
  write_file ("file", 100);
  ck_assert_str_ne (stat_item ("file").id, first.id);
}
END_TEST

/* ---- the root goes away ---- */

static void
assert_offline (void)
{
  static struct outcome outcome;
  struct seen version = { .token = "x", .item.size = 1 };
  char *sentence = NULL;

  ck_assert_int_eq (cloud->ops->probe (cloud, &sentence), CLOUD_OFFLINE);
  ck_assert_ptr_nonnull (sentence);
  ck_assert_msg (strstr (sentence, root) != NULL, "%s", sentence);
  free (sentence);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OFFLINE);
  ck_assert_int_eq (list ("", 0, &outcome), CLOUD_OFFLINE);
  ck_assert_int_eq (list ("file", 0, &outcome), CLOUD_OFFLINE);
  ck_assert_int_eq (get ("file", &version, 0, 1, &outcome), CLOUD_OFFLINE);
}

static void
assert_online (unsigned n_items)
{
  static struct outcome outcome;
  char *sentence = NULL;

  ck_assert_int_eq (cloud->ops->probe (cloud, &sentence), CLOUD_OK);
  ck_assert_int_eq (list ("", 1, &outcome), CLOUD_OK);
  ck_assert_uint_eq (outcome.n_items, n_items);
}

START_TEST (root_removed)
{
  write_file ("file", 1);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_online (1);
  ck_assert (cloud->ops->has_push (cloud));

  shell ("mv root away");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_offline ();
  ck_assert (!cloud->ops->has_push (cloud));
  ck_assert_int_eq (cloud->ops->wait (cloud, 50), CLOUD_WAIT_TIMEOUT);
  shell ("mv away root");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_online (1);
  ck_assert (cloud->ops->has_push (cloud));

  shell ("rm -r root");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_offline ();
  shell ("ln -s outside root");
  assert_offline ();
  shell ("rm root; mkdir root");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_online (0);
  write_file ("file", 1);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
}
END_TEST

/* What an unmounted disk leaves is an empty folder: it must not look like a remote whose files were all deleted. */
START_TEST (root_unmounted)
{
  struct cloud_config config = { .remote = root };

  if (unshare (CLONE_NEWNS) == -1 || mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1
      || mount ("none", root, "tmpfs", 0, "size=1m") == -1)
    return;   /* needs root */
  write_file ("file", 1);
  cloud->ops->close (cloud);
  cloud = cloud_dir_open (&config);
  ck_assert_ptr_nonnull (cloud);
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_online (1);

  /* We must not keep a disk from being unmounted. */
  ck_assert_msg (umount (root) == 0, "umount: %m");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  assert_offline ();
}
END_TEST

/* ---- noticing ---- */

static void
settle_wait (void)
{
  for (unsigned i = 0; cloud->ops->wait (cloud, 60) == CLOUD_WAIT_CHANGED; ++i)
    ck_assert_msg (i < 20, "changes are said for ever");
}

START_TEST (wait_notices)
{
  /* In order: each builds on the one before. */
  static const struct {
    const char *command;
    enum cloud_wait expected;
  } steps[] = {
    { ":", CLOUD_WAIT_TIMEOUT },
    { "echo a > f", CLOUD_WAIT_CHANGED },
    { "echo b >> f", CLOUD_WAIT_CHANGED },
    { "printf X | dd of=f bs=1 conv=notrunc 2>/dev/null", CLOUD_WAIT_CHANGED },
    { "touch f", CLOUD_WAIT_CHANGED },
    { "chmod 600 f", CLOUD_WAIT_CHANGED },
    { "cat f > /dev/null; ls -lR . > /dev/null", CLOUD_WAIT_TIMEOUT },
    { "mv f g", CLOUD_WAIT_CHANGED },
    { "rm g", CLOUD_WAIT_CHANGED },
    { "mkdir -p a/b/c", CLOUD_WAIT_CHANGED },
    { "echo a > a/b/c/f", CLOUD_WAIT_CHANGED },
    { "mv a/b a/bb", CLOUD_WAIT_CHANGED },
    { "echo b >> a/bb/c/f", CLOUD_WAIT_CHANGED },
    { "mkdir a/bb/c/d", CLOUD_WAIT_CHANGED },
    { "echo > a/bb/c/d/g", CLOUD_WAIT_CHANGED },
    { "mv a/bb ..", CLOUD_WAIT_CHANGED },
    { "echo b >> ../bb/c/f", CLOUD_WAIT_TIMEOUT },
    { "mkdir ../bb/c/e", CLOUD_WAIT_TIMEOUT },
    { "mv ../bb .", CLOUD_WAIT_CHANGED },
    { "rm bb/c/f", CLOUD_WAIT_CHANGED },
    { "rmdir bb/c/e", CLOUD_WAIT_CHANGED },
    { "rm -r bb", CLOUD_WAIT_CHANGED },
    { "ln -s ../outside l", CLOUD_WAIT_CHANGED },
    { "echo >> ../outside/secret", CLOUD_WAIT_TIMEOUT },
    { "mkdir -m 0 closed; sleep 0.3; chmod 700 closed", CLOUD_WAIT_CHANGED },
    { "echo > closed/f", CLOUD_WAIT_CHANGED },
  };

  settle_wait ();
  ck_assert (cloud->ops->has_push (cloud));
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; ++i) {
    shell ("cd root; %s", steps[i].command);
    ck_assert_msg (cloud->ops->wait (cloud, steps[i].expected == CLOUD_WAIT_CHANGED ? 5000 : 100) == steps[i].expected,
                   "%s", steps[i].command);
    settle_wait ();
  }
}
END_TEST

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static atomic_bool scribbling;

static void *
scribble (void *opaque)
{
  const int fd = open (full ("log"), O_WRONLY | O_CREAT | O_APPEND, 0644);

  while (atomic_load (&scribbling)) {
    ck_assert_int_eq (write (fd, "x", 1), 1);
    usleep (500);
  }
  close (fd);
  return opaque;
}

/* A file that is written to without a pause is told every now and then, neither never nor per write. */
START_TEST (wait_in_a_burst)
{
  int64_t begin;
  unsigned n = 0;
  pthread_t thread;

  settle_wait ();
  atomic_store (&scribbling, true);
  ck_assert_int_eq (pthread_create (&thread, NULL, scribble, NULL), 0);
  begin = now_ms ();
  while (now_ms () - begin < 1000) {
    const int64_t before = now_ms ();

    ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
    ck_assert_int_lt (now_ms () - before, 4000);
    n++;
  }
  atomic_store (&scribbling, false);
  pthread_join (thread, NULL);
  ck_assert_msg (n >= 1 && n <= 25, "%u times in a second", n);
}
END_TEST

START_TEST (wait_after_overflow)
{
  ck_assert_int_eq (mkdir (full ("many"), 0755), 0);
  settle_wait ();
  /* More events than the kernel queues (fs.inotify.max_queued_events, 16384 by default), then a folder. */
  shell ("cd root/many; seq 1 9000 | xargs touch; mkdir ../late");
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
  settle_wait ();
  write_file ("late/file", 1);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
}
END_TEST

/* Where the kernel has no watches left, that is said once, and whoever asks knows that he has to look by himself. */
START_TEST (wait_without_watches)
{
  FILE *f;

  shell ("cd root; mkdir 1 2 3 4 5 6 7 8 9");
  cloud->ops->stop (cloud);
  if (unshare (CLONE_NEWUSER) == -1)
    return;
  f = fopen ("/proc/sys/user/max_inotify_watches", "w");
  if (f == NULL || fputs ("5", f) == EOF || fclose (f) == EOF)
    return;
  n_messages = 0;
  for (unsigned i = 0; i < 2; ++i) {
    ck_assert_int_eq (cloud->ops->start (cloud), 0);
    ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
    ck_assert (!cloud->ops->has_push (cloud));
    ck_assert_uint_eq (n_messages, 1);
    ck_assert_msg (strstr (last_message, "max_user_watches") != NULL, "%s", last_message);
    ck_assert_int_eq (cloud->ops->wait (cloud, 50), CLOUD_WAIT_TIMEOUT);
    cloud->ops->wake (cloud);
    ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_WOKEN);
    cloud->ops->stop (cloud);
  }
}
END_TEST

/* ---- start, wake, stop ---- */

static void *
wait_long (void *opaque)
{
  *(enum cloud_wait *) opaque = cloud->ops->wait (cloud, 60000);
  return NULL;
}

START_TEST (wake_and_stop_end_a_wait)
{
  enum cloud_wait result;
  pthread_t thread;

  settle_wait ();
  cloud->ops->wake (cloud);
  cloud->ops->wake (cloud);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_WOKEN);
  ck_assert_int_eq (cloud->ops->wait (cloud, 0), CLOUD_WAIT_TIMEOUT);

  ck_assert_int_eq (pthread_create (&thread, NULL, wait_long, &result), 0);
  sleep_ms (50);
  cloud->ops->wake (cloud);
  pthread_join (thread, NULL);
  ck_assert_int_eq (result, CLOUD_WAIT_WOKEN);

  ck_assert_int_eq (pthread_create (&thread, NULL, wait_long, &result), 0);
  sleep_ms (50);
  cloud->ops->stop (cloud);
  pthread_join (thread, NULL);
  ck_assert_int_eq (result, CLOUD_WAIT_WOKEN);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_WOKEN);

  /* A wake-up while a change is about to be said does not swallow the change. */
  ck_assert_int_eq (cloud->ops->start (cloud), 0);
  settle_wait ();
  write_file ("file", 1);
  cloud->ops->wake (cloud);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_WOKEN);
  ck_assert_int_eq (cloud->ops->wait (cloud, 5000), CLOUD_WAIT_CHANGED);
}
END_TEST

START_TEST (stop_ends_requests)
{
  static struct outcome gets[200], lists[20];
  struct seen version;
  unsigned n_stopped = 0;

  write_file ("file", 4 * MIB);
  version = stat_item ("file");
  for (unsigned round = 0; round < 3; ++round) {
    memset (gets, 0, sizeof gets);
    memset (lists, 0, sizeof lists);
    for (unsigned i = 0; i < 200; ++i)
      begin_get ("file", &version, 0, 4 * MIB, i % 2 == 0, &gets[i]);
    for (unsigned i = 0; i < 20; ++i)
      cloud->ops->list (cloud, "", 1, &list_sink, &lists[i]);
    cloud->ops->stop (cloud);
    /* No callback comes after stop, so no lock is needed to look. */
    for (unsigned i = 0; i < 200; ++i) {
      ck_assert (gets[i].done);
      ck_assert (gets[i].result == CLOUD_OK || gets[i].result == CLOUD_STOPPED);
      n_stopped += gets[i].result == CLOUD_STOPPED;
    }
    for (unsigned i = 0; i < 20; ++i)
      ck_assert (lists[i].done);
    /* Neither may one be lost that comes too late. */
    memset (&gets[0], 0, sizeof gets[0]);
    ck_assert_int_eq (get ("file", &version, 0, 1, &gets[0]), CLOUD_STOPPED);
    ck_assert_int_eq (cloud->ops->start (cloud), 0);
    ck_assert_int_eq (cloud->ops->start (cloud), 0);
    ck_assert_int_eq (get ("file", &version, 0, 1, &gets[0]), CLOUD_OK);
  }
  ck_assert_uint_gt (n_stopped, 0);
}
END_TEST

static struct outcome chained[2000];

/* Callbacks may start requests: a chain of them must not eat the stack. */
static void
chain_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct outcome *outcome = opaque;
  static const struct cloud_list_sink chain_sink = { on_item, on_left_out, chain_done };

  if (outcome + 1 < chained + sizeof chained / sizeof chained[0])
    cloud->ops->list (cloud, "", 1, &chain_sink, outcome + 1);
  on_done (outcome, result, sentence);
}

START_TEST (requests_from_callbacks)
{
  static const struct cloud_list_sink chain_sink = { on_item, on_left_out, chain_done };

  cloud->ops->list (cloud, "", 1, &chain_sink, &chained[0]);
  await (&chained[sizeof chained / sizeof chained[0] - 1]);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cloud-dir");
  TCase *tcase = tcase_create ("cloud-dir");
  SRunner *runner = srunner_create (suite);
  const int n_errors = sizeof openat2_errors / sizeof openat2_errors[0];
  int n_failed;

  tcase_set_timeout (tcase, 60);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, open_refuses);
  tcase_add_test (tcase, open_takes_missing);
  tcase_add_test (tcase, open_takes_urls);
  tcase_add_test (tcase, list_shows_files_and_folders);
  tcase_add_test (tcase, list_leaves_out);
  tcase_add_test (tcase, denied);
  tcase_add_loop_test (tcase, no_way_out, 0, n_errors);
  tcase_add_loop_test (tcase, no_way_out_in_a_race, 0, n_errors);
  tcase_add_test (tcase, deep_tree);
  tcase_add_test (tcase, get_ranges);
  tcase_add_test (tcase, get_one_version);
  tcase_add_test (tcase, token_and_id);
  tcase_add_test (tcase, root_removed);
  tcase_add_test (tcase, root_unmounted);
  tcase_add_test (tcase, wait_notices);
  tcase_add_test (tcase, wait_in_a_burst);
  tcase_add_test (tcase, wait_after_overflow);
  tcase_add_test (tcase, wait_without_watches);
  tcase_add_test (tcase, wake_and_stop_end_a_wait);
  tcase_add_test (tcase, stop_ends_requests);
  tcase_add_test (tcase, requests_from_callbacks);
  suite_add_tcase (suite, tcase);

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
