/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes over the wire between the rclone provider and rclone: remotes, items, features, errors, lines of its log. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "msg.h"
#include "rclone-text.h"

/* ---- remotes ---- */

static const struct {
  const char *text, *name, *path, *url;   /* name NULL: refused; url: of the file "a b/c" */
} remotes[] = {
  { "rclone:loc:/srv/x", "loc", "/srv/x", "/%5Bloc%3A/srv/x%5D/a%20b/c" },
  { "RCLONE:loc:/srv/x//", "loc", "/srv/x", "/%5Bloc%3A/srv/x%5D/a%20b/c" },
  { "rclone:my drive:", "my drive", "", "/%5Bmy%20drive%3A%5D/a%20b/c" },
  { "rclone:loc:/", "loc", "/", "/%5Bloc%3A/%5D/a%20b/c" },
  { "rclone:b2:bucket/a:b", "b2", "bucket/a:b", "/%5Bb2%3Abucket/a%3Ab%5D/a%20b/c" },
  /* The first ']' ends it for rclone. */
  { "rclone:loc:/x]y", "loc", "/x]y", "/%5Bloc%3A/%5D/x%5Dy/a%20b/c" },
  { "rclone:loc:x]y", "loc", "x]y", "/%5Bloc%3A%5D/x%5Dy/a%20b/c" },
  { "rclone:\303\244:", "\303\244", "", "/%5B%C3%A4%3A%5D/a%20b/c" },
  { "rclone:", NULL, NULL, NULL },
  { "rclone:x", NULL, NULL, NULL },
  { "rclone::local:/x", NULL, NULL, NULL },
  { "rclone:-x:/x", NULL, NULL, NULL },
  { "rclone: x:/x", NULL, NULL, NULL },
  { "rclone:x :/x", NULL, NULL, NULL },
  { "rclone:x,pass=secret:/x", NULL, NULL, NULL },
  { "rclone:a/b:c", NULL, NULL, NULL },
  { "rclone:a]b:c", NULL, NULL, NULL },
  { "rclone:x:/a\nb", NULL, NULL, NULL },
};

static char said[1000];

static void
keep (enum msg_level level, const char *text)
{
  snprintf (said, sizeof said, "%s", text);
}

START_TEST (test_remote)
{
  struct rclone_remote remote;
  int r;

  said[0] = '\0';
  msg_set_sink (keep);
  ck_assert (rclone_remote_is_ours (remotes[_i].text));
  r = rclone_remote_parse (remotes[_i].text, &remote);
  if (remotes[_i].name == NULL) {
    ck_assert_int_eq (r, -1);
    ck_assert (said[0] != '\0');
    ck_assert (strstr (said, "secret") == NULL);
    return;
  }
  ck_assert_int_eq (r, 0);
  ck_assert_str_eq (remote.name, remotes[_i].name);
  ck_assert_str_eq (remote.path, remotes[_i].path);
  CLEANUP_FREE char *url = rclone_remote_url_path (&remote, "a b/c");
  ck_assert_str_eq (url, remotes[_i].url);
  CLEANUP_FREE char *same = rclone_remote_fs (&remote, "");
  ck_assert_str_eq (same, remote.fs);
  ck_assert_str_eq (remote.identity + 7, remote.fs);
  rclone_remote_free (&remote);
}
END_TEST

START_TEST (test_below)
{
  static const char *const rows[][2] = {
    { "rclone:l:/a", "l:/a/d e" }, { "rclone:l:/", "l:/d e" }, { "rclone:l:", "l:d e" }, { "rclone:l:a", "l:a/d e" },
  };
  struct rclone_remote remote;

  ck_assert_int_eq (rclone_remote_parse (rows[_i][0], &remote), 0);
  CLEANUP_FREE char *fs = rclone_remote_fs (&remote, "d e");
  ck_assert_str_eq (fs, rows[_i][1]);
  rclone_remote_free (&remote);
}
END_TEST

/* ---- features ---- */

static const struct {
  const char *json, *hash;
  int result;
  bool folders, move, keeps;
} features[] = {
  { "{\"Features\":{\"CanHaveEmptyDirectories\":true,\"Move\":true,\"SlowHash\":true},\"Hashes\":[\"md5\"],\"Precision\":1}",
    "", 0, true, true, true },
  { "{\"Features\":{\"Move\":false,\"SlowHash\":false},\"Hashes\":[\"md5\"],\"Precision\":1000000000}", "md5", 0, false, false,
    true },
  { "{\"Features\":{},\"Hashes\":[\"crc32\",\"md5\",\"sha1\"],\"Precision\":3153600000000000000}", "sha1", 0, false, false,
    false },
  /* Before rclone said which are slow. */
  { "{\"Features\":{\"IsLocal\":true},\"Hashes\":[\"md5\"],\"Precision\":1}", "", 0, false, false, true },
  { "{\"Features\":{},\"Hashes\":[7,{},null,\"quickxor\"],\"Precision\":1}", "quickxor", 0, false, false, true },
  { "{\"Features\":{},\"Hashes\":\"md5\",\"Precision\":-1}", "", 0, false, false, false },
  { "{\"Features\":{\"Move\":1},\"Precision\":1}", "", 0, false, false, true },
  { "{\"Features\":[],\"Precision\":1}", "", -1, false, false, false },
  { "{\"Features\":{},\"Precision\":\"1\"}", "", -1, false, false, false },
  { "{}", "", -1, false, false, false },
  { "[]", "", -1, false, false, false },
};

START_TEST (test_features)
{
  struct json_object *json = json_tokener_parse (features[_i].json);
  struct rclone_features got;
  const char *why = NULL;

  ck_assert_int_eq (rclone_features_read (json, &got, &why), features[_i].result);
  if (features[_i].result == 0) {
    ck_assert_str_eq (got.hash, features[_i].hash);
    ck_assert_int_eq (got.empty_folders, features[_i].folders);
    ck_assert_int_eq (got.move, features[_i].move);
    ck_assert_int_eq (got.keeps_mtime, features[_i].keeps);
  }
  else
    ck_assert_ptr_nonnull (why);
  json_object_put (json);
}
END_TEST

/* ---- items ---- */

#define FILE_OF(size, more) "{\"Name\":\"f\",\"IsDir\":false,\"Size\":" size ",\"ModTime\":\"2001-09-09T01:46:40.5Z\"" more "}"

static const struct {
  const char *json;
  int result;                  /* of rclone_entry_read */
  const char *token;           /* with md5 as the kind, and times */
  const char *timeless;        /* without times */
  const char *checksum;
} entries[] = {
  { FILE_OF ("7", ""), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("0", ",\"Hashes\":{\"md5\":\"d41d8cd98f00b204e9800998ecf8427e\"}"), 0,
    "0-1000000000.500000000-d41d8cd98f00b204e9800998ecf8427e", "0-d41d8cd98f00b204e9800998ecf8427e",
    "MD5:d41d8cd98f00b204e9800998ecf8427e" },
  /* Hashes that are none, or of another kind. */
  { FILE_OF ("7", ",\"Hashes\":{\"md5\":\"\"}"), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("7", ",\"Hashes\":{\"md5\":5}"), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("7", ",\"Hashes\":[]"), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("7", ",\"Hashes\":{\"sha1\":\"aa\"}"), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("7", ",\"Hashes\":{\"md5\":\"xyz\"}"), 0, "7-1000000000.500000000-xyz", "7-xyz", NULL },
  { FILE_OF ("7", ",\"Hashes\":{\"md5\":\"a\\nb\"}"), 0, "7-1000000000.500000000", "7-1000000000.500000000", NULL },
  { FILE_OF ("9223372036854775807", ""), 0, "9223372036854775807-1000000000.500000000", NULL, NULL },
  { "{\"Name\":\"f\",\"IsDir\":false,\"Size\":7,\"ModTime\":\"yesterday\"}", 0, "7-0.000000000", NULL, NULL },
  { "{\"Name\":\"f\",\"IsDir\":false,\"Size\":7}", 0, "7-0.000000000", NULL, NULL },
  { "{\"Name\":\"f\",\"IsDir\":true,\"Size\":-1}", 0, NULL, NULL, NULL },
  { FILE_OF ("-1", ""), 1, NULL, NULL, NULL },
  { FILE_OF ("\"7\"", ""), 1, NULL, NULL, NULL },
  { FILE_OF ("7.5", ""), 1, NULL, NULL, NULL },
  { "{\"Name\":\"a/b\",\"IsDir\":false,\"Size\":7}", 1, NULL, NULL, NULL },
  { "{\"Name\":\"..\",\"IsDir\":true,\"Size\":-1}", 1, NULL, NULL, NULL },
  { "{\"Name\":\".\",\"IsDir\":false,\"Size\":7}", 1, NULL, NULL, NULL },
  { "{\"Name\":\"a\\u0000b\",\"IsDir\":false,\"Size\":7}", 1, NULL, NULL, NULL },
  { "{\"Name\":\"bad\\ufffd\",\"IsDir\":false,\"Size\":7}", 1, NULL, NULL, NULL },
  { "{\"Name\":7,\"IsDir\":false,\"Size\":7}", -1, NULL, NULL, NULL },
  { "{\"Name\":\"f\",\"Size\":7}", -1, NULL, NULL, NULL },
  { "{\"Name\":\"f\",\"IsDir\":\"no\",\"Size\":7}", -1, NULL, NULL, NULL },
  { "{\"IsDir\":false,\"Size\":7}", -1, NULL, NULL, NULL },
  { "{}", -1, NULL, NULL, NULL },
  { "[]", -1, NULL, NULL, NULL },
  { "\"f\"", -1, NULL, NULL, NULL },
  { "7", -1, NULL, NULL, NULL },
};

START_TEST (test_entry)
{
  struct json_object *json = json_tokener_parse (entries[_i].json);
  const char *want = entries[_i].token;

  for (int times = 1; times >= 0; times--) {
    const struct rclone_features f = { .hash = "md5", .keeps_mtime = times, .precision_ns = 1 };
    struct rclone_seen seen;
    const char *name, *why;

    ck_assert_int_eq (rclone_entry_read (json, &f, &seen, &name, &why), entries[_i].result);
    if (entries[_i].result != 0)
      ck_assert_ptr_nonnull (why);
    else {
      ck_assert_str_eq (name, "f");
      if (want == NULL)
        ck_assert_ptr_null (seen.token);
      else
        ck_assert_str_eq (seen.token, want);
      if (entries[_i].checksum == NULL)
        ck_assert_ptr_null (seen.checksum);
      else
        ck_assert_str_eq (seen.checksum, entries[_i].checksum);
      ck_assert_int_eq (seen.arrival, !times);
    }
    rclone_seen_clear (&seen);
    if (entries[_i].timeless)
      want = entries[_i].timeless;
  }
  json_object_put (json);
}
END_TEST

static const struct {
  int64_t precision, age_ms;
  bool hashed, settled;
} settling[] = {
  { 1, 0, false, false }, { 1, 30, false, false }, { 1, 60, false, true }, { 1, -60, false, true }, { 1, 0, true, true },
  { 1000000000, 0, false, false }, { 1000000000, 1900, false, false }, { 1000000000, 2100, false, true },
  { 1000000000, -2100, false, true }, { 3153600000000000000, 100, false, false },
  { 3153600000000000000, 20000000000000, false, true },
};

START_TEST (test_settled)
{
  const struct rclone_features f = { .precision_ns = settling[_i].precision };
  const struct timespec now = { .tv_sec = 2000000000, .tv_nsec = 500 };
  const int64_t at = (int64_t) now.tv_sec * 1000 - settling[_i].age_ms;
  const struct rclone_seen seen = {
    .what = RCLONE_FILE, .hashed = settling[_i].hashed,
    .mtime = { .tv_sec = at / 1000, .tv_nsec = (at % 1000) * 1000000 + 500 },
  };

  ck_assert_int_eq (rclone_seen_item (&seen, "", &f, &now).settled, settling[_i].settled);
}
END_TEST

static const struct {
  const char *text;
  long long sec;               /* -1: none */
  long nsec;
} times[] = {
  { "1970-01-01T00:00:00Z", 0, 0 },
  { "2001-09-09T01:46:40.123456789Z", 1000000000, 123456789 },
  { "2001-09-09T03:46:40.1+02:00", 1000000000, 100000000 },
  { "2001-09-08T20:16:40-05:30", 1000000000, 0 },
  { "2001-09-09T01:46:40.1234567899Z", 1000000000, 123456789 },
  { "0001-01-01T00:00:00Z", -62135596800, 0 },
  { "2001-13-09T01:46:40Z", -1, 0 }, { "2001-09-32T01:46:40Z", -1, 0 }, { "2001-09-09 01:46:40Z", -1, 0 },
  { "2001-09-09T01:46:40", -1, 0 }, { "2001-09-09T01:46:40ZZ", -1, 0 }, { "2001-09-09T01:46:4", -1, 0 }, { "", -1, 0 },
  { "2001-09-09T01:46:40+2:00", -1, 0 },
};

START_TEST (test_time)
{
  struct timespec t;
  const int r = rclone_time_read (times[_i].text, &t);

  if (times[_i].sec == -1)
    ck_assert_int_eq (r, -1);
  else {
    ck_assert_int_eq (r, 0);
    ck_assert_int_eq (t.tv_sec, times[_i].sec);
    ck_assert_int_eq (t.tv_nsec, times[_i].nsec);
  }
}
END_TEST

static const struct {
  const char *name;
  bool own, utf8;
} names[] = {
  { ".cloudshare-folder", true, true }, { ".cloudshare-moving-0123456789abcdef", true, true },
  { ".cloudshare-upload-0123456789abcdef0123456789abcdef", true, true }, { ".cloudshare-moving-0123456789abcdeg", false, true },
  { ".cloudshare-moving-0123456789abcdef0", false, true }, { ".cloudshare-folder2", false, true }, { "a", false, true },
  { "\303\244\342\202\254\360\237\230\200", false, true }, { "a\351", false, false }, { "\300\200", false, false },
  { "\355\240\200", false, false }, { "\364\220\200\200", false, false }, { "\303", false, false }, { "\340\200\200", false, false },
  { "\200", false, false }, { "\377", false, false },
};

START_TEST (test_names)
{
  char a[64], b[64];

  ck_assert_int_eq (rclone_is_own (names[_i].name), names[_i].own);
  ck_assert_int_eq (rclone_is_utf8 (names[_i].name), names[_i].utf8);
  rclone_moving_name (names[_i].name, a);
  rclone_moving_name ("another", b);
  ck_assert (rclone_is_own (a));
  ck_assert_str_ne (a, b);
}
END_TEST

/* ---- errors ---- */

static const struct {
  int status;
  const char *error, *path;
  enum cloud_result result;
} errors[] = {
  { 500, "didn't find section in config file", NULL, CLOUD_GONE },
  { 404, "error in ListJSON: directory not found", "a", CLOUD_GONE },
  { 404, "object not found", "a", CLOUD_GONE },
  { 404, NULL, "a", CLOUD_GONE },
  { 500, "remove /srv/d: directory not empty", "d", CLOUD_EXISTS },
  { 500, "is a directory not a file", "d", CLOUD_EXISTS },
  { 500, "is a file not a directory", NULL, CLOUD_BAD },
  { 500, "failed to read directory entry: readdirent /srv/a: not a directory", "a", CLOUD_GONE },
  { 500, "open /srv/a: permission denied", "a", CLOUD_DENIED },
  { 500, "write /srv/a: no space left on device", "a", CLOUD_FULL },
  { 500, "googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded", "a", CLOUD_FULL },
  { 500, "googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded", "a", CLOUD_BUSY },
  { 500, "too_many_write_operations/", "a", CLOUD_BUSY },
  { 500, "insufficient_space/...", "a", CLOUD_FULL },
  { 500, "open /srv/xxx: file name too long", "xxx", CLOUD_REFUSED },
  { 500, "Get \"https://x/\": dial tcp: lookup x: no such host", NULL, CLOUD_OFFLINE },
  { 500, "Propfind \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused", NULL, CLOUD_OFFLINE },
  { 500, "couldn't fetch token - maybe it has expired?", NULL, CLOUD_AUTH },
  { 500, "Unauthorized: 401 Unauthorized", NULL, CLOUD_AUTH },
  { 500, "AccessDenied: Access Denied\n\tstatus code: 403", "a", CLOUD_DENIED },
  { 500, "corrupted on transfer: sizes differ 1 vs 2", "a", CLOUD_BAD },
  { 500, "job not found", "a", CLOUD_OFFLINE },
  { 500, "something nobody has heard of", "a", CLOUD_BUSY },
  { 401, NULL, NULL, CLOUD_AUTH },
  { 403, NULL, NULL, CLOUD_DENIED },
  { 400, "Didn't find key \"fs\" in input", NULL, CLOUD_BAD },
  { 200, "it failed", NULL, CLOUD_BAD },
  /* A name is not the reason. */
  { 500, "something about /srv/d/permission denied: object not found", "d/permission denied", CLOUD_GONE },
  { 500, "oops: quota.txt", "a/quota.txt", CLOUD_BUSY },
  { 500, "", "", CLOUD_BUSY },
};

START_TEST (test_error)
{
  const char *why;

  ck_assert_int_eq (rclone_error_judge (errors[_i].status, errors[_i].error, errors[_i].path, &why), errors[_i].result);
}
END_TEST

static const struct {
  const char *text, *clean;
} cleaned[] = {
  { "plain", "plain" },
  { "  a\n\tb  c ", "a b c" },
  { "Get \"https://me:secret@x.example:8/a?sig=secret#secret\": EOF", "Get \"https://x.example:8/a\": EOF" },
  { "http://a@b@c/d", "http://c/d" },
  { "https://x/?token=1 and https://y/?token=2", "https://x/ and https://y/" },
  { "a@b is no URL?", "a@b is no URL?" },
  { "http://", "http://" },
  { "", "" },
};

START_TEST (test_clean)
{
  CLEANUP_FREE char *got = rclone_error_clean (cleaned[_i].text);

  ck_assert_str_eq (got, cleaned[_i].clean);
}
END_TEST

START_TEST (test_long)
{
  char text[4000];

  for (size_t i = 0; i + 2 < sizeof text; i += 2)
    memcpy (text + i, "\303\244", 2);
  text[sizeof text - 2] = '\0';
  for (int shift = 0; shift < 3; shift++) {
    CLEANUP_FREE char *longer = NULL, *got = NULL;

    ck_assert_int_ne (asprintf (&longer, "%.*s%s", shift, "xx", text), -1);
    got = rclone_error_clean (longer);
    ck_assert_uint_lt (strlen (got), 260);
    ck_assert (rclone_is_utf8 (got));
  }
}
END_TEST

/* ---- its log ---- */

static const struct {
  const char *line, *text, *address;
  bool serious;
} lines[] = {
  { "2026/11/23 04:41:20 NOTICE: Serving remote control on http://127.0.0.1:41179/", "Serving remote control on http://127.0.0.1:41179/",
    "http://127.0.0.1:41179" },
  { "2026/11/23 04:41:20 NOTICE: Serving remote control on [http://127.0.0.1:5572/ http://[::1]:5572/]",
    "Serving remote control on [http://127.0.0.1:5572/ http://[::1]:5572/]", "http://127.0.0.1:5572" },
  { "2026/11/23 04:41:20 ERROR : f: Failed to copy: EOF", "f: Failed to copy: EOF", NULL },
  { "2026/11/23 04:41:20.123456 CRITICAL: no", "no", NULL, true },
  { "2026/11/23 04:41:20 Failed to load config file", "Failed to load config file", NULL, true },
  { "ERROR without a colon", "ERROR without a colon", NULL, true },
  { "NOTICE: Serving remote control on http://10.0.0.1:5/", "Serving remote control on http://10.0.0.1:5/", NULL },
  { "NOTICE: Serving remote control on http://127.0.0.1:/", "Serving remote control on http://127.0.0.1:/", NULL },
  { "NOTICE: Serving remote control on http://127.0.0.1:123456/", "Serving remote control on http://127.0.0.1:123456/", NULL },
  { "NOTICE: Serving remote control on unix:///x", "Serving remote control on unix:///x", NULL },
  { "", "", NULL, true },
};

START_TEST (test_line)
{
  CLEANUP_FREE char *address = rclone_line_address (lines[_i].line);

  ck_assert_str_eq (rclone_line_text (lines[_i].line), lines[_i].text);
  ck_assert_int_eq (rclone_line_is_routine (lines[_i].line), !lines[_i].serious);
  if (lines[_i].address)
    ck_assert_str_eq (address, lines[_i].address);
  else
    ck_assert_ptr_null (address);
}
END_TEST

#define ADD(test, rows) tcase_add_loop_test (c, test, 0, sizeof (rows) / sizeof (rows)[0])

int
main (void)
{
  Suite *s = suite_create ("rclone");
  TCase *c = tcase_create ("text");
  SRunner *runner = srunner_create (s);
  int failed;

  suite_add_tcase (s, c);
  ADD (test_remote, remotes);
  tcase_add_loop_test (c, test_below, 0, 4);
  ADD (test_features, features);
  ADD (test_entry, entries);
  ADD (test_settled, settling);
  ADD (test_time, times);
  ADD (test_names, names);
  ADD (test_error, errors);
  ADD (test_clean, cleaned);
  tcase_add_test (c, test_long);
  ADD (test_line, lines);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
