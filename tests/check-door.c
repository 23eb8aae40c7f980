/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests what the door makes of messages, whom it lets in, and what becomes of hints. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "door-event.h"
#include "door-token.h"
#include "hints.h"

/* ---- messages ---- */

static char told[65536];

static void
tell (const char *what, const char *a, const char *b)
{
  const size_t n = strlen (told);

  snprintf (told + n, sizeof told - n, "%s%s%s%s%s", n ? "|" : "", what, a ? a : "*", b ? "/" : "", b ? b : "");
}

static void
on_object (void *opaque, const char *bucket, const char *key)
{
  tell ("o:", bucket, key);
}

static void
on_path (void *opaque, const char *path)
{
  tell ("p:", path, NULL);
}

static void
on_confirm (void *opaque, const char *url)
{
  tell ("c:", url, NULL);
}

static const struct door_event_sink sink = { .object = on_object, .path = on_path, .confirm = on_confirm };

#define RECORD(event, bucket, key)                                                                              \
  "{\"eventVersion\":\"2.2\",\"eventName\":\"" event "\",\"s3\":{\"bucket\":{\"name\":\"" bucket "\"},"         \
  "\"object\":{\"key\":\"" key "\",\"size\":3,\"eTag\":\"acbd18db4cc2f85cedef654fccc4a4d8\"}}}"
#define QUOTED                                                                                                  \
  "{\\\"Records\\\":[{\\\"eventName\\\":\\\"ObjectRemoved:Delete\\\",\\\"s3\\\":{\\\"bucket\\\":"               \
  "{\\\"name\\\":\\\"b\\\"},\\\"object\\\":{\\\"key\\\":\\\"x%2Fy+z\\\"}}}]}"

static const struct {
  const char *body, *told;     /* told NULL: not understood */
} messages[] = {
  { "", "p:*" },
  { " \r\n\t", "p:*" },
  { "{}", "p:*" },
  { "{\"path\": \"a/b\"}", "p:a/b" },
  { "{\"path\": \"/a/b/\"}", "p:/a/b/" },
  { "{\"path\": \"\"}", "p:" },
  { "{\"path\": 7}", "p:*" },
  { "{\"path\": \"a\\u0000b\"}", "p:*" },
  { "{\"event\": {\"class\": \"OCP\\\\Files\\\\Events\\\\Node\\\\NodeWrittenEvent\"}, \"time\": 1}", "p:*" },
  /* Ceph. */
  { "{\"Records\":[" RECORD ("ObjectCreated:Put", "b", "dir/a b.txt") "]}", "o:b/dir/a b.txt" },
  { "{\"Records\":[" RECORD ("ObjectRemoved:Delete", "b", "a+b%41") "," RECORD ("ObjectCreated:Copy", "c", "d") "]}",
    "o:b/a+b%41|o:b/a bA|o:c/d" },
  { "{\"Records\":[" RECORD ("ObjectCreated:Put", "b", "100%") "]}", "o:b/100%" },
  { "{\"Records\":[" RECORD ("ObjectCreated:Put", "b", "a%00b") "]}", "o:b/a%00b" },
  { "{\"Records\":[" RECORD ("ObjectCreated:Put", "b", "%4") "]}", "o:b/%4" },
  /* MinIO. */
  { "{\"EventName\":\"s3:ObjectCreated:Put\",\"Key\":\"b/f%2Fg\",\"Records\":["
    RECORD ("s3:ObjectCreated:Put", "b", "f%2Fg+%C3%A4") "]}", "o:b/f%2Fg+%C3%A4|o:b/f/g \xc3\xa4" },
  { "{\"Records\":[" RECORD ("s3:ObjectAccessed:Get", "b", "f") "]}", "" },
  /* AWS. */
  { "{\"Service\":\"Amazon S3\",\"Event\":\"s3:TestEvent\",\"Time\":\"2014-10-13T15:57:02.089Z\",\"Bucket\":\"b\"}", "" },
  { "{\"Type\":\"Notification\",\"TopicArn\":\"arn:aws:sns:eu-west-1:1:t\",\"Message\":\"" QUOTED "\"}", "o:b/x%2Fy+z|o:b/x/y z" },
  { "{\"Type\":\"Notification\",\"Message\":\"{\\\"Event\\\":\\\"s3:TestEvent\\\"}\"}", "" },
  { "{\"Type\":\"Notification\",\"Message\":\"hello\"}", NULL },
  { "{\"Type\":\"Notification\",\"Message\":\"{}\"}", NULL },
  { "{\"Type\":\"Notification\",\"Message\":7}", NULL },
  { "{\"Type\":\"Notification\"}", NULL },
  { "{\"Type\":\"Notification\",\"Message\":\"{\\\"Type\\\":\\\"SubscriptionConfirmation\\\",\\\"SubscribeURL\\\":\\\"u\\\"}\"}", NULL },
  { "{\"Type\":\"SubscriptionConfirmation\",\"SubscribeURL\":\"https://sns.x.amazonaws.com/\"}", "c:https://sns.x.amazonaws.com/" },
  { "{\"Type\":\"SubscriptionConfirmation\"}", NULL },
  { "{\"Type\":\"UnsubscribeConfirmation\",\"SubscribeURL\":\"https://sns.x.amazonaws.com/\"}", "" },
  { "{\"Type\":\"Surprise\"}", NULL },
  /* What is no message. */
  { "{", NULL },
  { "{} {}", "p:*" },
  { "[]", NULL },
  { "[{\"path\":\"a\"}]", NULL },
  { "null", NULL },
  { "7", NULL },
  { "\"text\"", NULL },
  { "<xml/>", NULL },
  { "a=b&c=d", NULL },
  { "{\"Records\":[]}", "" },
  { "{\"Records\":[7,null,[],{},{\"s3\":7},{\"s3\":{\"bucket\":{}}}]}", "" },
  { "{\"Records\":[{\"s3\":{\"bucket\":{\"name\":\"b\"},\"object\":{\"key\":[]}}}]}", "" },
  { "{\"Records\":{}}", "p:*" },
  { "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}}}}}}}}", NULL },
};

START_TEST (message)
{
  bool understood;
  /* In memory of its own, so that reading past its end is noticed. */
  const size_t n = strlen (messages[_i].body);
  char *body = malloc (n + (n == 0));

  memcpy (body, messages[_i].body, n);
  told[0] = '\0';
  understood = door_event_read (body, n, &sink, NULL);
  ck_assert_msg (understood == (messages[_i].told != NULL), "%s: %d", messages[_i].body, understood);
  ck_assert_msg (strcmp (told, messages[_i].told ? messages[_i].told : "") == 0, "%s: %s", messages[_i].body, told);
  free (body);
}
END_TEST

START_TEST (many_records)
{
  static char body[1001 * 200 + 100];
  size_t n = (size_t) sprintf (body, "{\"Records\":[");

  for (unsigned i = 0; i < 1001; ++i)
    n += (size_t) sprintf (body + n, "%s" RECORD ("ObjectCreated:Put", "b", "k"), i ? "," : "");
  n += (size_t) sprintf (body + n, "]}");
  told[0] = '\0';
  ck_assert (door_event_read (body, n, &sink, NULL));
  ck_assert_ptr_nonnull (strstr (told, "|p:*"));
}
END_TEST

/* Nothing that comes from outside may do harm, however it is spoilt. */
START_TEST (spoilt)
{
  const char *seed_text = getenv ("CLOUDSHARE_SEED");
  unsigned seed = seed_text ? (unsigned) strtoul (seed_text, NULL, 10) : 20261123;
  const size_t count = sizeof messages / sizeof messages[0];

  for (unsigned round = 0; round < 20000; ++round) {
    const char *from = messages[(unsigned) rand_r (&seed) % count].body;
    size_t n = strlen (from);
    char *body = malloc (n + 1);

    memcpy (body, from, n + 1);
    for (int i = rand_r (&seed) % 4; i >= 0 && n > 0; --i)
      switch (rand_r (&seed) % 3) {
      case 0:
        body[(size_t) rand_r (&seed) % n] = (char) rand_r (&seed);
        break;
      case 1:
        body[(size_t) rand_r (&seed) % n] ^= (char) (1 << rand_r (&seed) % 8);
        break;
      case 2:
        n = (size_t) rand_r (&seed) % n;
        break;
      }
    body = realloc (body, n + (n == 0));
    told[0] = '\0';
    door_event_read (body, n, &sink, NULL);
    free (body);
  }
}
END_TEST

static const struct {
  const char *url;
  bool may;
} urls[] = {
  { "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:t&Token=2336412f37", true },
  { "https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription&TopicArn=a&Token=b", true },
  { "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com.evil.example/?Action=ConfirmSubscription&Token=b", false },
  { "https://evil.example/?sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com@evil.example/?Action=ConfirmSubscription&Token=b", false },
  { "https://user@sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com:8443/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com\\@evil.example/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.evil.example/.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.a.b.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns..amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://bucket.s3.amazonaws.com/?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com/path?Action=ConfirmSubscription&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&Token=b", false },
  { "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b c", false },
  { "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b\r\nX: y", false },
  { "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=b#c", false },
  { "https://sns.eu-west-1.amazonaws.com", false },
  { "https://sns.", false },
  { "", false },
};

START_TEST (confirm)
{
  ck_assert_msg (door_event_may_confirm (urls[_i].url) == urls[_i].may, "%s", urls[_i].url);
}
END_TEST

/* ---- tokens ---- */

START_TEST (tokens)
{
  static const struct {
    const char *given;
    size_t n;
    bool same;
  } rows[] = {
    { "0123456789abcdef", 16, true }, { "0123456789abcdef/poke", 16, true }, { "0123456789abcdef", 15, false },
    { "0123456789abcdefg", 17, false }, { "1123456789abcdef", 16, false }, { "0123456789abcdeF", 16, false }, { "", 0, false },
  };
  static const char *const bad[] = { "", "short", "0123456789abcde", "0123456789abcdef/", "0123456789abcde f", "0123456789abcdef\n" };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i)
    ck_assert_msg (door_token_same ("0123456789abcdef", rows[i].given, rows[i].n) == rows[i].same, "%s", rows[i].given);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i)
    ck_assert_msg (!door_token_is_good (bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST (kept)
{
  char dir[] = "/tmp/check-door.XXXXXX", path[64];
  char *first, *second;
  struct stat st;

  ck_assert_ptr_nonnull (mkdtemp (dir));
  snprintf (path, sizeof path, "%s/push-token", dir);
  first = door_token_kept (dir);
  ck_assert (first && door_token_is_good (first));
  ck_assert_int_eq (stat (path, &st), 0);
  ck_assert_int_eq (st.st_mode & 0777, 0600);
  second = door_token_kept (dir);
  ck_assert_str_eq (first, second);
  free (second);
  /* A file that is spoilt is no reason to let everybody in. */
  ck_assert_int_eq (truncate (path, 3), 0);
  second = door_token_kept (dir);
  ck_assert (door_token_is_good (second) && strcmp (first, second) != 0);
  free (first);
  free (second);
  unlink (path);
  rmdir (dir);
}
END_TEST

/* ---- hints ---- */

static const char *
taken (struct hints *hints, uint64_t now)
{
  static char text[65536];
  struct hinted hinted;

  hints_take (hints, now, &hinted);
  text[0] = '\0';
  if (hinted.all)
    strcpy (text, "*");
  for (size_t i = 0; i < hinted.n; ++i)
    sprintf (text + strlen (text), "[%s]", hinted.paths[i]);
  hinted_free (&hinted);
  return text;
}

START_TEST (hints)
{
  struct hints *h = hints_new ();

  ck_assert (hints_wait (h, 1000) == UINT64_MAX);
  ck_assert_str_eq (taken (h, 1000), "");
  hints_add (h, "/a/b/");
  hints_add (h, "a/b");
  hints_add (h, "a");
  hints_add (h, "");
  ck_assert (hints_wait (h, 1000) == 0);
  ck_assert_str_eq (taken (h, 1000), "[a/b][a][]");
  /* Looked for 10 ms: not again before 100 are over; for 100: not before 300. */
  hints_looked (h, false, 1000, 1010);
  ck_assert (hints_wait (h, 1010) == UINT64_MAX);
  hints_add (h, "a");
  ck_assert (hints_wait (h, 1010) == 100);
  ck_assert_str_eq (taken (h, 1109), "");
  ck_assert_str_eq (taken (h, 1110), "[a]");
  hints_looked (h, false, 2000, 2100);
  hints_add (h, "a");
  ck_assert (hints_wait (h, 2100) == 300);
  /* Everywhere waits for itself. */
  hints_add (h, NULL);
  ck_assert (hints_wait (h, 2100) == 0);
  hints_add (h, "b");
  ck_assert_str_eq (taken (h, 2100), "*");
  ck_assert (hints_wait (h, 2100) == UINT64_MAX);
  hints_looked (h, true, 3000, 3001);
  hints_add (h, NULL);
  ck_assert (hints_wait (h, 3001) == 1000);
  ck_assert_str_eq (taken (h, 4001), "*");
  hints_looked (h, true, 0, 3600000);
  hints_add (h, NULL);
  ck_assert (hints_wait (h, 3600000) == 60000);
  ck_assert_str_eq (taken (h, UINT64_MAX), "*");
  hints_free (h);
  hints_free (NULL);
}
END_TEST

START_TEST (hints_bounded)
{
  struct hints *h = hints_new ();
  static char text[8192];

  for (unsigned i = 0; i < 256; ++i) {
    sprintf (text, "folder %u", i);
    hints_add (h, text);
    hints_add (h, text);
  }
  ck_assert_ptr_nonnull (strstr (taken (h, 1), "[folder 255]"));
  for (unsigned i = 0; i < 257; ++i) {
    sprintf (text, "folder %u", i);
    hints_add (h, text);
  }
  ck_assert_str_eq (taken (h, 1), "*");
  /* A path that nothing can have. */
  memset (text, 'x', sizeof text - 1);
  hints_add (h, text);
  ck_assert_str_eq (taken (h, 1), "*");
  hints_add (h, "a");
  hints_free (h);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("door");
  TCase *tcase = tcase_create ("door");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_set_timeout (tcase, 30);
  tcase_add_loop_test (tcase, message, 0, sizeof messages / sizeof messages[0]);
  tcase_add_test (tcase, many_records);
  tcase_add_test (tcase, spoilt);
  tcase_add_loop_test (tcase, confirm, 0, sizeof urls / sizeof urls[0]);
  tcase_add_test (tcase, tokens);
  tcase_add_test (tcase, kept);
  tcase_add_test (tcase, hints);
  tcase_add_test (tcase, hints_bounded);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
