/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the grammars of WebDAV (davtext.h) and of URLs (http-url.h), and what is pure in writing (davchange.h). */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "cloud.h"
#include "davchange.h"
#include "davchunks.h"
#include "davput.h"
#include "davtext.h"
#include "http-url.h"
#include "msg.h"

static char last_message[2048];

static void
keep_message (enum msg_level level, const char *text)
{
  snprintf (last_message, sizeof last_message, "%s", text);
}

/* ---- paths ---- */

static const struct {
  const char *href, *path;   /* NULL: refused */
} hrefs[] = {
  { "/", "/" },
  { "/dav", "/dav/" },
  { "/dav/", "/dav/" },
  { "//dav//a", "/dav/a/" },
  { "/a%20b", "/a%20b/" },
  { "/%c3%bc", "/%C3%BC/" },
  { "/%C3%BC", "/%C3%BC/" },
  { "/\xc3\xbc", "/%C3%BC/" },
  { "/%41%7e%2D", "/A~-/" },
  { "/a+b,c!*'()", "/a%2Bb%2Cc%21%2A%27%28%29/" },
  { "/a%2Bb%2cc%21%2A%27%28%29", "/a%2Bb%2Cc%21%2A%27%28%29/" },
  { "/a%2Fb", "/a%2Fb/" },
  { "/a%00b", "/a%00b/" },
  { "/%", "/%25/" },
  { "/%4", "/%254/" },
  { "/%zz%41", "/%25zzA/" },
  /* A space says that nothing is escaped. */
  { "/a b%41", "/a%20b%2541/" },
  { "/what?#1", "/what%3F%231/" },
  { "http://host/dav/x", "/dav/x/" },
  { "HTTPS://host:8443/dav/x", "/dav/x/" },
  { "http://host", "/" },
  { "http://user@host/", "/" },
  { "relative", NULL },
  { "", NULL },
  { "mailto:x", NULL },
  { "ftp://host/x", NULL },
};

START_TEST (href_path)
{
  char *path = davtext_href_path (hrefs[_i].href);

  if (hrefs[_i].path == NULL) {
    ck_assert_ptr_null (path);
    ck_assert_int_eq (errno, EINVAL);
  }
  else
    ck_assert_pstr_eq (path, hrefs[_i].path);
  free (path);
}
END_TEST

static const struct {
  const char *folder, *path;
  enum davtext_relation relation;
  const char *name, *why;   /* of a child: what davtext_name makes of it */
} relations[] = {
  { "/dav/", "/dav/", DAVTEXT_SELF },
  { "/dav/", "/dav/a/", DAVTEXT_CHILD, "a" },
  { "/dav/", "/dav/a%20%C3%BC%25/", DAVTEXT_CHILD, "a \xc3\xbc%" },
  { "/dav/", "/dav/%E9/", DAVTEXT_CHILD, "\xe9" },
  { "/dav/", "/dav/.../", DAVTEXT_CHILD, "..." },
  { "/dav/", "/dav/../", DAVTEXT_CHILD, NULL, "means a folder" },
  { "/dav/", "/dav/./", DAVTEXT_CHILD, NULL, "means a folder" },
  { "/dav/", "/dav/a%2Fb/", DAVTEXT_CHILD, NULL, "'/'" },
  { "/dav/", "/dav/..%2F..%2Fetc/", DAVTEXT_CHILD, NULL, "'/'" },
  { "/dav/", "/dav/a%00/", DAVTEXT_CHILD, NULL, "NUL" },
  { "/dav/", "/dav/a/b/", DAVTEXT_OTHER },
  { "/dav/", "/dav/../x/", DAVTEXT_OTHER },
  { "/dav/", "/davx/", DAVTEXT_OTHER },
  { "/dav/", "/", DAVTEXT_OTHER },
  { "/dav/", "/DAV/a/", DAVTEXT_OTHER },
  { "/", "/", DAVTEXT_SELF },
  { "/", "/a/", DAVTEXT_CHILD, "a" },
};

START_TEST (relate)
{
  const char *segment = NULL, *why = "";
  char *name;

  ck_assert_int_eq (davtext_relate (relations[_i].folder, relations[_i].path, &segment), relations[_i].relation);
  if (relations[_i].relation != DAVTEXT_CHILD)
    return;
  name = davtext_name (segment, &why);
  ck_assert_pstr_eq (name, relations[_i].name);
  if (relations[_i].why)
    ck_assert_ptr_nonnull (strstr (why, relations[_i].why));
  free (name);
}
END_TEST

/* What goes out in a URL comes back from an href, whatever the bytes. */
START_TEST (names_come_back)
{
  char name[256], href[2048];

  for (int i = 1; i < 256; i++)
    name[i - 1] = i == '/' ? '_' : i;
  name[255] = '\0';

  char *encoded = davtext_encode (name);
  const char *segment = NULL, *why = NULL;
  snprintf (href, sizeof href, "/dav/%s", encoded);
  char *path = davtext_href_path (href);

  ck_assert_int_eq (davtext_relate ("/dav/", path, &segment), DAVTEXT_CHILD);
  char *back = davtext_name (segment, &why);
  ck_assert_pstr_eq (back, name);
  free (back);
  free (path);
  free (encoded);
}
END_TEST

/* ---- dates ---- */

static const struct {
  const char *text;
  long long seconds;   /* -1: refused */
} dates[] = {
  { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
  { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
  { "Sun Nov  6 08:49:37 1994", 784111777 },
  { "sun, 06 nov 1994 08:49:37 GMT", 784111777 },
  { " Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
  { "Thu, 01 Jan 1970 00:00:01 GMT", 1 },
  { "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },
  { "Fri, 01-Jan-38 00:00:00 GMT", 2145916800 },
  { "Friday, 01-Jan-38 00:00:00 GMT", 2145916800 },
  { "Wed, 01 Jan 2200 00:00:00 GMT", 7258118400 },
  { "1994-11-06T08:49:37Z", 784111777 },
  { "1994-11-06t08:49:37.123z", 784111777 },
  { "1994-11-06T09:49:37+01:00", 784111777 },
  { "1994-11-06T03:19:37-05:30", 784111777 },
  { "1994-11-06T08:49:37", -1 },
  { "1994-11-06", -1 },
  { "Sun, 06 Nox 1994 08:49:37 GMT", -1 },
  { "Sun, 32 Nov 1994 08:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 24:49:37 GMT", -1 },
  { "Sun, 06 Nov 1994 08:49:37 PST", -1 },
  { "784111777", -1 },
  { "", -1 },
};

START_TEST (parse_time)
{
  struct timespec mtime = { 0 };
  const int ret = davtext_parse_time (dates[_i].text, &mtime);

  ck_assert_msg ((ret == -1) == (dates[_i].seconds == -1), "%s", dates[_i].text);
  if (ret == 0)
    ck_assert_int_eq (mtime.tv_sec, dates[_i].seconds);
}
END_TEST

/* ---- tags, ranges, numbers, checksums ---- */

static const struct {
  const char *etag, *token;
  bool weak;
} etags[] = {
  { "\"abc\"", "\"abc\"", false },
  { "W/\"abc\"", "\"abc\"", true },
  { "w/\"abc\"", "\"abc\"", true },
  { "  W/\"abc\" \r\n", "\"abc\"", true },
  { "abc", "abc", false },
  { "\"W/abc\"", "\"W/abc\"", false },
  { "\"\"", "\"\"", false },
  { "", "", false },
};

START_TEST (normal_etag)
{
  bool weak = !etags[_i].weak;
  char *token = davtext_normal_etag (etags[_i].etag, &weak);

  ck_assert_str_eq (token, etags[_i].token);
  ck_assert_int_eq (weak, etags[_i].weak);
  free (token);
}
END_TEST

static const struct {
  const char *text;
  bool good;
  uint64_t first, last, total;
} ranges[] = {
  { "bytes 0-0/1", true, 0, 0, 1 },
  { "bytes 2-4/26", true, 2, 4, 26 },
  { "Bytes  2-4/26", true, 2, 4, 26 },
  { "bytes=2-4/26", true, 2, 4, 26 },
  { "bytes 2-4/*", true, 2, 4, UINT64_MAX },
  { "bytes 0-9223372036854775806/9223372036854775807", true, 0, INT64_MAX - 1, INT64_MAX },
  { "bytes 0-9223372036854775807/9223372036854775808", false },
  { "bytes 4-2/26", false },
  { "bytes 4-3/26", false },
  { "bytes 2-26/26", false },
  { "bytes */26", false },
  { "bytes -4/26", false },
  { "bytes 2-/26", false },
  { "bytes 2-4", false },
  { "bytes 2-4/", false },
  { "bytes 2-4/26x", false },
  { "bytes 2-4/-1", false },
  { "items 2-4/26", false },
  { "", false },
};

START_TEST (content_range)
{
  uint64_t first, last, total;
  const int ret = davtext_parse_content_range (ranges[_i].text, &first, &last, &total);

  ck_assert_msg (ret == (ranges[_i].good ? 0 : -1), "%s", ranges[_i].text);
  if (!ranges[_i].good)
    return;
  ck_assert_uint_eq (first, ranges[_i].first);
  ck_assert_uint_eq (last, ranges[_i].last);
  ck_assert_uint_eq (total, ranges[_i].total);
}
END_TEST

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX40 "0123456789abcdef0123456789abcdef01234567"
#define HEX32 "0123456789abcdef0123456789abcdef"

static const struct {
  const char *text, *best;
} checksums[] = {
  { "SHA1:" HEX40 " MD5:" HEX32 " ADLER32:00000001", "SHA1:" HEX40 },
  { " MD5:" HEX32 "\n SHA1:" HEX40, "SHA1:" HEX40 },
  { "MD5:" HEX32 " SHA256:" HEX64, "SHA256:" HEX64 },
  { "md5:0123456789ABCDEF0123456789ABCDEF", "MD5:" HEX32 },
  { "ADLER32:00000001", NULL },
  { "SHA1:0123", NULL },
  { "SHA1:" HEX40 "0", NULL },
  { "SHA1:" HEX40 "x", NULL },
  { "SHA1: " HEX40, NULL },
  { "", NULL },
};

START_TEST (best_checksum)
{
  char *best = davtext_best_checksum (checksums[_i].text);

  ck_assert_pstr_eq (best, checksums[_i].best);
  free (best);
}
END_TEST

/* ---- URLs ---- */

static const struct {
  const char *url;
  const char *text, *host, *port, *path, *user, *password;   /* text NULL: refused */
  bool secure;
} urls[] = {
  { "http://Host/dav", "http://host/dav", "host", "80", "/dav" },
  { "dav://host/dav/", "http://host/dav/", "host", "80", "/dav/" },
  { "DAVS://host", "https://host/", "host", "443", "/", .secure = true },
  { "https://host:443/x", "https://host/x", "host", "443", "/x", .secure = true },
  { "https://host:8443/x", "https://host:8443/x", "host", "8443", "/x", .secure = true },
  { "http://[::1]:80/", "http://[::1]/", "[::1]", "80", "/" },
  { "http://alice:p%40ss%2Fw@host/dav", "http://host/dav", "host", "80", "/dav", "alice", "p@ss/w" },
  { "http://alice@host/", "http://host/", "host", "80", "/", "alice" },
  { "http://host/a b/\xc3\xbc/%41%zz/", "http://host/a%20b/%C3%BC/%41%25zz/", "host", "80", "/a%20b/%C3%BC/%41%25zz/" },
  { "http://host/a@b/c:d", "http://host/a@b/c:d", "host", "80", "/a@b/c:d" },
  { "http://host/?x=1" },
  { "http://host/#x" },
  { "http://u:secret@host:99999/" },
  { "http://u:sec/ret@host/" },
  { "ftp://host/" },
  { "host/dav" },
};

START_TEST (url_parse)
{
  struct http_url url;
  const int ret = http_url_parse (urls[_i].url, &url);

  if (urls[_i].text == NULL) {
    ck_assert_int_eq (ret, -1);
    ck_assert_str_ne (last_message, "");
    ck_assert_ptr_null (strstr (last_message, "sec"));
    return;
  }
  ck_assert_int_eq (ret, 0);
  ck_assert_str_eq (url.text, urls[_i].text);
  ck_assert_str_eq (url.host, urls[_i].host);
  ck_assert_str_eq (url.port, urls[_i].port);
  ck_assert_str_eq (url.path, urls[_i].path);
  ck_assert_pstr_eq (url.user, urls[_i].user);
  ck_assert_pstr_eq (url.password, urls[_i].password);
  ck_assert_int_eq (url.secure, urls[_i].secure);
  http_url_free (&url);
}
END_TEST

/* Opening makes no traffic, so what it checks can be tested here. */
static const struct {
  const char *remote, *user, *password, *token;
  const char *identity;   /* or NULL: refused */
} opens[] = {
  { "https://alice:secret@Host/dav", .identity = "https://host/dav/" },
  { "davs://host:443/dav/", "alice", "secret", .identity = "https://host/dav/" },
  { "https://host/dav", .token = "secret", .identity = "https://host/dav/" },
  { "https://host/dav", "alice", "x", "secret" },
  { "https://alice@host/dav", .token = "secret" },
  { "https://host/dav", .password = "secret" },
  { "sftp://alice:secret@host/dav" },
  { "relative/path" },
  { "" },
};

START_TEST (open_checks)
{
  const struct cloud_config config = {
    .remote = opens[_i].remote,
    .user = opens[_i].user,
    .password = opens[_i].password,
    .token = opens[_i].token,
    .sslverify = true,
    .connections = 16,
    .timeout_s = 30,
  };
  struct cloud *cloud = cloud_open (&config);

  ck_assert_ptr_null (strstr (last_message, "secret"));
  if (opens[_i].identity == NULL) {
    ck_assert_ptr_null (cloud);
    ck_assert_str_ne (last_message, "");
    return;
  }
  ck_assert_ptr_nonnull (cloud);
  ck_assert_str_eq (cloud->identity, opens[_i].identity);
  ck_assert_str_eq (cloud->ops->name, "webdav");
  ck_assert (!cloud->ops->has_push (cloud));

  /* Waking counts for the next wait, and for one only. */
  cloud_wake (cloud);
  ck_assert_int_eq (cloud->ops->wait (cloud, 10000), CLOUD_WAIT_WOKEN);
  ck_assert_int_eq (cloud->ops->wait (cloud, 1), CLOUD_WAIT_TIMEOUT);
  cloud_close (cloud);
}
END_TEST

/* ---- writing ---- */

static const struct {
  const char *name;
  bool is;
} temporaries[] = {
  { ".cloudshare-upload-006b036400-3003d85fbc4f3979", true },
  { "cloudshare-upload-006b036400-3003d85fbc4f3979", true },
  { ".cloudshare-upload-006b036400-3003d85fbc4f397", false },
  { ".cloudshare-upload-006b036400-3003d85fbc4f39799", false },
  { ".cloudshare-upload-006b036400-3003d85fbc4f397g", false },
  { ".cloudshare-upload-006B036400-3003d85fbc4f3979", false },
  { ".cloudshare-upload-06b036400-3003d85fbc4f3979", false },
  { ".cloudshare-upload-006b036400_3003d85fbc4f3979", false },
  { ".cloudshare-upload-", false },
  { "a.cloudshare-upload-006b036400-3003d85fbc4f3979", false },
  { ".", false },
  { "", false },
};

START_TEST (is_temporary)
{
  time_t made = 0;

  ck_assert_int_eq (webdav_is_temporary (temporaries[_i].name, &made), temporaries[_i].is);
  if (temporaries[_i].is)
    ck_assert_int_eq (made, 0x6b036400);
}
END_TEST

START_TEST (temporary_names)
{
  struct webdav mine = { .cloud.owner = 0x89abcdef, .process = 65535, .lock = PTHREAD_MUTEX_INITIALIZER };
  struct webdav later = { .cloud.owner = 0x89abcdef, .process = 7 }, others = { .cloud.owner = 0x09abcdef, .process = 65535 };
  struct webdav none = { .process = 65535 };
  char *one = webdav_temporary (&mine, "a folder/b/file", true), *other = webdav_temporary (&none, "file", false);
  char *two = webdav_temporary (&mine, "a folder/b/file", true);
  time_t made;

  ck_assert_int_eq (strncmp (one, "a folder/b/.", 12), 0);
  ck_assert (webdav_is_temporary (one + 11, &made));
  ck_assert_int_le (labs ((long) (made - time (NULL))), 5);
  ck_assert (webdav_is_temporary (other, &made));
  ck_assert_str_ne (one, two);
  ck_assert_int_eq (webdav_maker (&mine, one), WEBDAV_THIS);
  ck_assert_int_eq (webdav_maker (&later, one), WEBDAV_EARLIER);
  ck_assert_int_eq (webdav_maker (&others, one), WEBDAV_ANOTHER);
  ck_assert_int_eq (webdav_maker (&none, one), WEBDAV_ANOTHER);
  ck_assert_int_eq (webdav_maker (&none, other), WEBDAV_ANOTHER);
  free (two);
  ck_assert_str_ne (one + 12 + strlen ("cloudshare-upload-"), other + strlen ("cloudshare-upload-"));
  free (one);
  free (other);
}
END_TEST

/* Tags that would mean something else in a header are not sent. */
static const struct {
  const char *token;
  bool can;
} forms[] = {
  { "\"abc\"", true },
  { "\"\"", true },
  { "\"\xc3\xbc\"", true },
  { "~12-34", false },
  { "abc", false },
  { "\"", false },
  { "", false },
  { NULL, false },
  { "\"a\"b\"", false },
  { "\"a b\"", false },
  { "\"a\r\nHost: x\"", false },
};

START_TEST (condition_forms)
{
  ck_assert_int_eq (davchange_form (DAVFORM_IF, forms[_i].token), forms[_i].can ? DAVFORM_IF : DAVFORM_NONE);
  ck_assert_int_eq (davchange_form (DAVFORM_NONE, forms[_i].token), DAVFORM_NONE);
}
END_TEST

/* What is seen around explains a refusal. */
static const struct {
  struct davfacts facts;
  enum cloud_result verdict;
} verdicts[] = {
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_FILE }, CLOUD_EXISTS },
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_FOLDER }, CLOUD_EXISTS },
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_NOTHING }, CLOUD_PARENT },
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_FILE }, CLOUD_PARENT },
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_FOLDER }, CLOUD_OK },
  { { DAVVERB_PUT, .is_new = true, .place = DAVSEEN_NOTHING }, CLOUD_OK },
  { { DAVVERB_PUT, .subject = CLOUD_CHANGED, .place = DAVSEEN_FILE }, CLOUD_CHANGED },
  { { DAVVERB_PUT, .subject = CLOUD_EXISTS, .place = DAVSEEN_FOLDER }, CLOUD_EXISTS },
  { { DAVVERB_PUT, .subject = CLOUD_GONE, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_FOLDER }, CLOUD_GONE },
  { { DAVVERB_PUT, .subject = CLOUD_GONE, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_NOTHING }, CLOUD_PARENT },
  { { DAVVERB_PUT, .place = DAVSEEN_FILE }, CLOUD_OK },
  { { DAVVERB_MKDIR, .place = DAVSEEN_FOLDER }, CLOUD_EXISTS },
  { { DAVVERB_MKDIR, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_NOTHING }, CLOUD_PARENT },
  { { DAVVERB_MKDIR, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_FOLDER }, CLOUD_OK },
  { { DAVVERB_MOVE, .subject = CLOUD_GONE }, CLOUD_GONE },
  { { DAVVERB_MOVE, .subject = CLOUD_CHANGED, .place = DAVSEEN_FILE }, CLOUD_CHANGED },
  { { DAVVERB_MOVE, .place = DAVSEEN_FILE }, CLOUD_EXISTS },
  { { DAVVERB_MOVE, .place = DAVSEEN_NOTHING, .parent = DAVSEEN_NOTHING }, CLOUD_PARENT },
  { { DAVVERB_REMOVE, .subject = CLOUD_GONE }, CLOUD_GONE },
  { { DAVVERB_REMOVE, .subject = CLOUD_CHANGED }, CLOUD_CHANGED },
  { { DAVVERB_REMOVE }, CLOUD_OK },
  { { DAVVERB_TOUCH, .subject = CLOUD_CHANGED }, CLOUD_CHANGED },
};

START_TEST (facts_verdict)
{
  ck_assert_int_eq (davfacts_verdict (&verdicts[_i].facts), verdicts[_i].verdict);
}
END_TEST

START_TEST (touch_bodies)
{
  const struct timespec mtime = { .tv_sec = 784111777 };
  char *epoch = davconduct_touch (DAVTOUCH_EPOCH, &mtime), *date = davconduct_touch (DAVTOUCH_DATE, &mtime);

  ck_assert_ptr_nonnull (strstr (epoch, "<d:lastmodified>784111777</d:lastmodified>"));
  ck_assert_ptr_nonnull (strstr (date, "<d:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</d:getlastmodified>"));
  free (epoch);
  free (date);
}
END_TEST

/* Without a start nothing is sent, and every change still ends, once. */
static unsigned nr_ended;
static enum cloud_result last_result;

static void
count_end (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
  nr_ended++;
  last_result = result;
  ck_assert_ptr_nonnull (sentence);
  ck_assert_ptr_null (now);
}

START_TEST (changes_end)
{
  static const struct cloud_change_sink sink = { .done = count_end };
  const struct cloud_config config = { .remote = "http://127.0.0.1:1/", .connections = 1 };
  const struct cloud_put put = { .path = "a", .expect = "\"x\"", .checksum = "SHA1:x" };
  const struct timespec mtime = { .tv_sec = 1 };
  struct cloud *cloud = cloud_open (&config);

  nr_ended = 0;
  cloud->ops->put (cloud, &put, &sink, NULL);
  ck_assert_int_eq (last_result, CLOUD_STOPPED);
  cloud->ops->mkdir (cloud, "a", &sink, NULL);
  cloud->ops->move (cloud, "a", false, "\"x\"", "b", &sink, NULL);
  cloud->ops->remove (cloud, "a", false, "\"x\"", &sink, NULL);
  cloud->ops->touch (cloud, "a", "\"x\"", &mtime, &sink, NULL);
  ck_assert_int_eq (last_result, CLOUD_STOPPED);
  cloud->ops->move (cloud, "a", true, NULL, "a/b", &sink, NULL);
  ck_assert_int_eq (last_result, CLOUD_REFUSED);
  cloud->ops->remove (cloud, "", true, NULL, &sink, NULL);
  ck_assert_int_eq (last_result, CLOUD_REFUSED);
  cloud->ops->mkdir (cloud, ".cloudshare-upload-006b036400-3003d85fbc4f3979", &sink, NULL);
  ck_assert_int_eq (last_result, CLOUD_REFUSED);
  ck_assert_uint_eq (nr_ended, 8);

  /* With a start, but nobody there. */
  ck_assert_int_eq (cloud_start (cloud), 0);
  cloud->ops->put (cloud, &put, &sink, NULL);
  cloud->ops->mkdir (cloud, "b/c", &sink, NULL);
  cloud_stop (cloud);
  ck_assert_uint_eq (nr_ended, 10);
  ck_assert (last_result == CLOUD_STOPPED || last_result == CLOUD_OFFLINE);
  cloud_close (cloud);
}
END_TEST

static void
before (void)
{
  last_message[0] = '\0';
  msg_set_sink (keep_message);
}

/* ---- ranges ---- */

#define MIB ((uint64_t) 1024 * 1024)

static const struct {
  uint64_t size, base_size, n, length;
  bool has_whole, pays;
} gains[] = {
  { 256 * MIB, 256 * MIB, 1, 4096, true, true },
  { 256 * MIB, 256 * MIB, 1, 4096, false, true },
  { 256 * MIB, 256 * MIB, 2048, 4096, true, true },
  /* Too many to wait for. */
  { 256 * MIB, 256 * MIB, 2049, 1, false, false },
  /* Nothing is known of the old version. */
  { 256 * MIB, 256 * MIB, 0, 0, true, false },
  /* Cut, and grown. */
  { 256 * MIB - 1, 256 * MIB, 1, 4096, true, false },
  { 256 * MIB, 256 * MIB - 1, 1, 4096, true, true },
  /* Small ones; who would have to fetch it first has twice as much to lose. */
  { 200 * 1024, 200 * 1024, 1, 1, true, false },
  { 200 * 1024, 200 * 1024, 1, 1, false, true },
  { 100 * 1024, 100 * 1024, 1, 1, false, false },
  { MIB, MIB, 1, MIB, true, false },
  { MIB, MIB, 1, MIB, false, true },
  { MIB, MIB, 30, 32768, true, false },
};

START_TEST (ranges_pay)
{
  static struct cloud_range many[2049];
  struct cloud_put put = {
    .size = gains[_i].size, .base_size = gains[_i].base_size, .has_whole = gains[_i].has_whole,
    .ranges = many, .n_ranges = gains[_i].n,
  };

  for (size_t i = 0; i < put.n_ranges; i++)
    many[i] = (struct cloud_range) { i * put.size / put.n_ranges, gains[_i].length };
  ck_assert (davput_ranges_pay (&put) == gains[_i].pays);
}
END_TEST

/* ---- chunks ---- */

static const struct {
  uint64_t wanted, n, at, size, length;
} chunk_lengths[] = {
  { 10 * MIB, 0, 0, 64 * MIB, 10 * MIB },
  { 10 * MIB, 6, 60 * MIB, 64 * MIB, 4 * MIB },
  { 10 * MIB, 0, 0, 10 * MIB, 10 * MIB },
  /* Limits of a chunk, but for the last one. */
  { 1, 0, 0, 64 * MIB, 5 * MIB },
  { 1, 1, 64 * MIB - 1, 64 * MIB, 1 },
  { UINT64_C (9000000000), 0, 0, UINT64_C (20000000000), UINT64_C (5000000000) },
  /* Not more of them than there may be. */
  { 10 * MIB, 0, 0, 200000 * MIB, 20 * MIB },
  { 10 * MIB, 9999, 100 * MIB, 200 * MIB, 100 * MIB },
  { 10 * MIB, 9999, 0, UINT64_C (5000000001), 0 },
  { 10 * MIB, 10000, 100 * MIB, 200 * MIB, 0 },
  { 10 * MIB, 0, 0, UINT64_C (50000000000001), 0 },
};

START_TEST (chunk_length)
{
  ck_assert_uint_eq (davchunk_length (chunk_lengths[_i].wanted, (unsigned) chunk_lengths[_i].n, chunk_lengths[_i].at,
                                      chunk_lengths[_i].size), chunk_lengths[_i].length);
}
END_TEST

static const struct {
  uint64_t wanted, sent;
  int64_t took_ms;
  uint64_t next;
} chunk_adapts[] = {
  { 10 * MIB, 10 * MIB, 20000, 10 * MIB },
  { 10 * MIB, 10 * MIB, 10000, 15 * MIB },
  { 20 * MIB, 20 * MIB, 40000, 15 * MIB },
  { 10 * MIB, 10 * MIB, 1, 20 * MIB },
  { 10 * MIB, 10 * MIB, 0, 20 * MIB },
  { 5 * MIB, 5 * MIB, 1000000, 5 * MIB },
  { 1024 * MIB, 1024 * MIB, 1, 1024 * MIB },
};

START_TEST (chunk_adapt)
{
  ck_assert_uint_eq (davchunk_adapt (chunk_adapts[_i].wanted, chunk_adapts[_i].sent, chunk_adapts[_i].took_ms),
                     chunk_adapts[_i].next);
}
END_TEST

/* Whatever the line does: all of the file goes, in no more chunks than there may be. */
START_TEST (chunks_add_up)
{
  static const uint64_t file_sizes[] = { 11 * MIB, 64 * MIB, 5 * 1024 * MIB, 3 * 1024 * 1024 * MIB };

  for (size_t i = 0; i < sizeof file_sizes / sizeof file_sizes[0]; i++)
    for (int64_t took_ms = 1; took_ms < 10000000; took_ms *= 100) {
      uint64_t wanted = DAVCHUNK_DEFAULT, at = 0;
      unsigned n = 0;

      while (at < file_sizes[i]) {
        const uint64_t length = davchunk_length (wanted, n, at, file_sizes[i]);

        ck_assert_uint_ne (length, 0);
        at += length;
        n++;
        wanted = davchunk_adapt (wanted, length, took_ms);
      }
      ck_assert_uint_eq (at, file_sizes[i]);
      ck_assert_uint_le (n, DAVCHUNKS_MAX);
    }
}
END_TEST

static const struct {
  uint64_t sizes[5], size;
  unsigned n;
  uint64_t at;
} chunks_there[] = {
  { { 0 }, 64 * MIB, 0, 0 },
  { { 10 * MIB, 20 * MIB }, 64 * MIB, 2, 30 * MIB },
  { { 10 * MIB, 0, 20 * MIB }, 64 * MIB, 1, 10 * MIB },
  { { 10 * MIB, 1 * MIB, 20 * MIB }, 64 * MIB, 1, 10 * MIB },
  { { 10 * MIB, 1 * MIB }, 11 * MIB, 2, 11 * MIB },
  { { 10 * MIB, 1 * MIB, 5 * MIB }, 11 * MIB, 2, 11 * MIB },
  { { 10 * MIB, 10 * MIB }, 11 * MIB, 1, 10 * MIB },
};

START_TEST (chunks_usable)
{
  static uint64_t chunk_sizes[DAVCHUNKS_MAX + 1];
  uint64_t at;

  memset (chunk_sizes, 0, sizeof chunk_sizes);
  memcpy (chunk_sizes + 1, chunks_there[_i].sizes, sizeof chunks_there[_i].sizes);
  ck_assert_uint_eq (davchunks_usable (chunk_sizes, chunks_there[_i].size, &at), chunks_there[_i].n);
  ck_assert_uint_eq (at, chunks_there[_i].at);
}
END_TEST

static const struct {
  const char *files, *uploads, *capabilities;
} nextclouds[] = {
  { "https://host/remote.php/dav/files/alice/", "https://host/remote.php/dav/uploads/alice/",
    "https://host/ocs/v2.php/cloud/capabilities?format=json" },
  { "https://host:8443/cloud/remote.php/dav/files/a%20b/deep/folder/", "https://host:8443/cloud/remote.php/dav/uploads/a%20b/",
    "https://host:8443/cloud/ocs/v2.php/cloud/capabilities?format=json" },
  { "/remote.php/dav/files/alice/", "/remote.php/dav/uploads/alice/", "/ocs/v2.php/cloud/capabilities?format=json" },
  { "https://host/remote.php/dav/files/", NULL, "https://host/ocs/v2.php/cloud/capabilities?format=json" },
  { "https://host/remote.php/webdav/", NULL, NULL },
  { "https://host/dav/", NULL, NULL },
};

START_TEST (nextcloud_urls)
{
  CLEANUP_FREE char *uploads = davchunks_uploads (nextclouds[_i].files);
  CLEANUP_FREE char *capabilities = davchunks_capabilities (nextclouds[_i].files);

  ck_assert_pstr_eq (uploads, nextclouds[_i].uploads);
  ck_assert_pstr_eq (capabilities, nextclouds[_i].capabilities);
}
END_TEST

static const struct {
  const char *text;
  bool offered;
} capability_lists[] = {
  { "{\"ocs\":{\"data\":{\"capabilities\":{\"dav\":{\"chunking\":\"1.0\"}}}}}", true },
  { "{\"ocs\":{\"data\":{\"capabilities\":{\"dav\":{\"chunking\":1.0}}}}}", true },
  { "{\"ocs\":{\"data\":{\"capabilities\":{\"dav\":{\"chunking\":\"\"}}}}}", false },
  { "{\"ocs\":{\"data\":{\"capabilities\":{\"dav\":[]}}}}", false },
  { "{\"ocs\":{\"data\":{\"capabilities\":[]}}}", false },
  { "{\"ocs\":{\"data\":[[]]}}", false },
  { "[1,2", false },
  { "<html>", false },
  { "null", false },
  { "", false },
};

START_TEST (capabilities)
{
  const char *text = capability_lists[_i].text;

  ck_assert (davchunks_offered (text, strlen (text)) == capability_lists[_i].offered);
}
END_TEST

#define ADD(test, table) tcase_add_loop_test (tcase, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("webdav");
  TCase *tcase = tcase_create ("webdav");
  SRunner *runner;
  int failed;

  tcase_add_checked_fixture (tcase, before, NULL);
  ADD (href_path, hrefs);
  ADD (relate, relations);
  tcase_add_test (tcase, names_come_back);
  ADD (parse_time, dates);
  ADD (normal_etag, etags);
  ADD (content_range, ranges);
  ADD (best_checksum, checksums);
  ADD (url_parse, urls);
  ADD (open_checks, opens);
  ADD (is_temporary, temporaries);
  tcase_add_test (tcase, temporary_names);
  ADD (condition_forms, forms);
  ADD (facts_verdict, verdicts);
  tcase_add_test (tcase, touch_bodies);
  ADD (ranges_pay, gains);
  ADD (chunk_length, chunk_lengths);
  ADD (chunk_adapt, chunk_adapts);
  tcase_add_test (tcase, chunks_add_up);
  ADD (chunks_usable, chunks_there);
  ADD (nextcloud_urls, nextclouds);
  ADD (capabilities, capability_lists);
  tcase_add_test (tcase, changes_end);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
