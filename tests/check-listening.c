/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process finds out about itself: the sockets that it listens at, and the options of its command line. */

#include <config.h>

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listening.h"

/* ---- options ---- */

#define OFF LISTENING_TLS_OFF
#define ON LISTENING_TLS_ON
#define REQUIRE LISTENING_TLS_REQUIRE

/* Blanks stand for the NULs. */
static const struct {
  const char *line;
  struct listening_options want;
} lines[] = {
  { "nbdkit -f -U /s cloudshare remote=/r", { OFF } },
  { "nbdkit -r cloudshare", { OFF, .read_only = true } },
  { "nbdkit -fr cloudshare", { OFF, .read_only = true } },
  { "nbdkit cloudshare remote=/r -r", { OFF, .read_only = true } },
  { "nbdkit --readonly cloudshare", { OFF, .read_only = true } },
  { "nbdkit --read-only cloudshare", { OFF, .read_only = true } },
  { "nbdkit --read-o cloudshare", { OFF, .read_only = true } },
  { "nbdkit --run true cloudshare", { OFF } },
  /* Values that look like options. */
  { "nbdkit -U-r cloudshare", { OFF } },
  { "nbdkit -e -r cloudshare", { OFF } },
  { "nbdkit -fe -r cloudshare", { OFF } },
  { "nbdkit -e r -r cloudshare", { OFF, .read_only = true } },
  { "nbdkit cloudshare remote=--tls=on -- -r --tls=on", { OFF } },
  { "nbdkit -U", { OFF } },
  { "nbdkit --tls", { OFF } },
  { "", { OFF } },
  { "nbdkit --tls=on cloudshare", { ON } },
  { "nbdkit --tls on cloudshare", { ON } },
  { "nbdkit --tls=YES cloudshare", { ON } },
  { "nbdkit --tls=require cloudshare", { REQUIRE } },
  { "nbdkit --tls required cloudshare", { REQUIRE } },
  { "nbdkit --tls=off --tls-certificates=/c cloudshare", { OFF } },
  { "nbdkit --tls-certificates=/c --tls-verify-peer cloudshare", { ON } },
  { "nbdkit --tls-psk=/k cloudshare", { ON, .psk = true } },
  { "nbdkit --tls-psk /k --tls=require cloudshare", { REQUIRE, .psk = true } },
  { "nbdkit --tls-verify-peer cloudshare", { OFF } },
};

START_TEST (options)
{
  struct listening_options got;
  char line[200];
  size_t n = strlen (lines[_i].line);

  memcpy (line, lines[_i].line, n + 1);
  for (size_t i = 0; i < n; ++i)
    if (line[i] == ' ')
      line[i] = '\0';
  listening_parse (line, n ? n + 1 : 0, &got);
  ck_assert_msg (got.tls == lines[_i].want.tls && got.psk == lines[_i].want.psk
                 && got.read_only == lines[_i].want.read_only, "%s: tls %d, psk %d, read-only %d", lines[_i].line,
                 (int) got.tls, got.psk, got.read_only);
}
END_TEST

/* An end in the middle of a word. */
START_TEST (options_cut)
{
  static const char line[] = "nbdkit\0-r\0--tls=on";
  struct listening_options got;

  for (size_t n = 0; n <= sizeof line; ++n) {
    char *copy = malloc (n ? n : 1);

    memcpy (copy, line, n);
    listening_parse (copy, n, &got);
    ck_assert_int_eq (got.read_only, n >= 10);
    ck_assert_int_eq (got.tls, n >= sizeof line ? ON : OFF);
    free (copy);
  }
}
END_TEST

START_TEST (options_own)
{
  struct listening_options got;

  ck_assert_int_eq (listening_options (&got), 0);
  ck_assert (!got.read_only && got.tls == OFF);
}
END_TEST

/* ---- sockets ---- */

static char dir[] = "/tmp/check-listening.XXXXXX";

static void
make_dir (void)
{
  strcpy (dir + sizeof dir - 7, "XXXXXX");
  ck_assert_ptr_nonnull (mkdtemp (dir));
}

static void
remove_dir (void)
{
  static const char *const names[] = { "s", "control" };
  char path[PATH_MAX];

  for (size_t i = 0; i < 2; ++i) {
    snprintf (path, sizeof path, "%s/%s", dir, names[i]);
    unlink (path);
  }
  rmdir (dir);
}

static int
listen_unix (const char *path, size_t n)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const int fd = socket (AF_UNIX, SOCK_STREAM, 0);

  memcpy (address.sun_path, path, n);
  ck_assert_int_eq (bind (fd, (struct sockaddr *) &address, offsetof (struct sockaddr_un, sun_path) + n), 0);
  ck_assert_int_eq (listen (fd, 1), 0);
  return fd;
}

static int
listen_tcp (const char *host, unsigned *ret_port)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr (host) };
  const int fd = socket (AF_INET, SOCK_STREAM, 0);
  socklen_t n = sizeof address;

  ck_assert_int_eq (bind (fd, (struct sockaddr *) &address, n), 0);
  ck_assert_int_eq (listen (fd, 1), 0);
  ck_assert_int_eq (getsockname (fd, (struct sockaddr *) &address, &n), 0);
  *ret_port = ntohs (address.sin_port);
  return fd;
}

START_TEST (nothing)
{
  struct listening got;
  char path[PATH_MAX];
  int control, abstract, connected[2], unbound, udp;

  snprintf (path, sizeof path, "%s/control", dir);
  control = listen_unix (path, strlen (path) + 1);
  abstract = listen_unix ("\0check-listening", 16);
  ck_assert_int_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, connected), 0);
  unbound = socket (AF_UNIX, SOCK_STREAM, 0);
  udp = socket (AF_INET, SOCK_DGRAM, 0);
  ck_assert_int_eq (listening_find (dir, &got), 0);
  /* Another folder's is a socket as any other. */
  ck_assert_int_eq (listening_find ("/nowhere", &got), 1);
  ck_assert_str_eq (got.path, path);
  listening_free (&got);
  close (control);
  close (abstract);
  close (connected[0]);
  close (connected[1]);
  close (unbound);
  close (udp);
}
END_TEST

/* The control socket of a folder with a long name. */
START_TEST (control_by_number)
{
  char path[PATH_MAX], cwd[PATH_MAX];
  struct listening got;
  int fd;

  ck_assert_ptr_nonnull (getcwd (cwd, sizeof cwd));
  ck_assert_int_eq (chdir (dir), 0);
  fd = open (".", O_PATH | O_DIRECTORY);
  snprintf (path, sizeof path, "/proc/self/fd/%d/control", fd);
  const int control = listen_unix (path, strlen (path) + 1);
  close (fd);
  ck_assert_int_eq (listening_find (dir, &got), 0);
  close (control);
  ck_assert_int_eq (chdir (cwd), 0);
}
END_TEST

START_TEST (unix_first)
{
  char path[PATH_MAX], cwd[PATH_MAX];
  struct listening got;
  unsigned port, other;
  int tcp, un, any;

  tcp = listen_tcp ("127.0.0.1", &port);
  ck_assert_int_eq (listening_find (dir, &got), 1);
  ck_assert (got.path == NULL && !got.any && got.port == port);
  ck_assert_str_eq (got.host, "127.0.0.1");
  listening_free (&got);

  /* Bound by a relative name, and without a NUL at its end, as a client may do: absolute all the same. */
  ck_assert_ptr_nonnull (getcwd (cwd, sizeof cwd));
  ck_assert_int_eq (chdir (dir), 0);
  un = listen_unix ("s", 1);
  ck_assert_int_eq (listening_find (dir, &got), 1);
  snprintf (path, sizeof path, "%s/s", dir);
  ck_assert_str_eq (got.path, path);
  ck_assert_ptr_null (got.host);
  listening_free (&got);
  close (un);
  close (tcp);
  ck_assert_int_eq (chdir (cwd), 0);

  any = listen_tcp ("0.0.0.0", &other);
  ck_assert_int_eq (listening_find (dir, &got), 1);
  ck_assert (got.any && got.port == other);
  ck_assert_str_eq (got.host, "localhost");
  listening_free (&got);
  close (any);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("listening");
  TCase *tests = tcase_create ("options");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tests, options, 0, sizeof lines / sizeof lines[0]);
  tcase_add_test (tests, options_cut);
  tcase_add_test (tests, options_own);
  suite_add_tcase (suite, tests);
  tests = tcase_create ("sockets");
  tcase_add_checked_fixture (tests, make_dir, remove_dir);
  tcase_add_test (tests, nothing);
  tcase_add_test (tests, control_by_number);
  tcase_add_test (tests, unix_first);
  suite_add_tcase (suite, tests);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
