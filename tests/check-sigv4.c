/* SPDX-License-Identifier: BSD-3-Clause */
/* AWS Signature Version 4 against published vectors: those of AWS's "Signature Version 4 test suite" that hold for S3,
 * too (paths there are not normalised), and the examples of the S3 API Reference ("Signature Calculations for the
 * Authorization Header"). */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sigv4.h"

#define SUITE_TIME 1440938160    /* 2015-08-30T12:36:00Z */
#define S3_TIME 1369353600       /* 2013-05-24T00:00:00Z */

static const struct sigv4_keys suite_keys = { "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL };
static const struct sigv4_keys s3_keys = { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL };

struct vector {
  const char *name;
  const char *method, *path;
  struct sigv4_pair query[5], headers[4];
  const char *payload;         /* NULL: of nothing */
  const char *signed_headers, *signature;
  const char *sent_query;
};

#define PLAIN "host;x-amz-date"
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const struct vector suite[] = {
  { "get-vanilla", "GET", "/", .signed_headers = PLAIN,
    .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
  { "post-vanilla", "POST", "/", .signed_headers = PLAIN,
    .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
  { "get-vanilla-query-order-key-case", "GET", "/", .query = { { "Param2", "value2" }, { "Param1", "value1" } },
    .signed_headers = PLAIN, .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    .sent_query = "Param1=value1&Param2=value2" },
  { "get-vanilla-query-order-value", "GET", "/", .query = { { "Param1", "value2" }, { "Param1", "value1" } },
    .signed_headers = PLAIN, .signature = "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    .sent_query = "Param1=value1&Param1=value2" },
  { "get-vanilla-query-order-key", "GET", "/", .query = { { "Param1", "value2" }, { "Param1", "Value1" } },
    .signed_headers = PLAIN, .signature = "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    .sent_query = "Param1=Value1&Param1=value2" },
  { "get-vanilla-empty-query-key", "GET", "/", .query = { { "Param1", "value1" } }, .signed_headers = PLAIN,
    .signature = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb", .sent_query = "Param1=value1" },
  { "get-vanilla-query-unreserved", "GET", "/", .query = { { UNRESERVED, UNRESERVED } }, .signed_headers = PLAIN,
    .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
      .sent_query = UNRESERVED "=" UNRESERVED },
  { "get-vanilla-utf8-query", "GET", "/", .query = { { "\341\210\264", "bar" } }, .signed_headers = PLAIN,
    .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", .sent_query = "%E1%88%B4=bar" },
  { "get-unreserved", "GET", "/" UNRESERVED, .signed_headers = PLAIN,
    .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
  { "get-utf8", "GET", "/\341\210\264", .signed_headers = PLAIN,
    .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
  { "get-space", "GET", "/example space/", .signed_headers = PLAIN,
    .signature = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
  { "get-header-key-duplicate", "GET", "/",
    .headers = { { "My-Header1", "value2" }, { "My-Header1", "value2" }, { "My-Header1", "value1" } },
    .signed_headers = "host;my-header1;x-amz-date",
    .signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
  { "get-header-value-order", "GET", "/",
    .headers = { { "My-Header1", "value4" }, { "My-Header1", "value1" }, { "My-Header1", "value3" },
                 { "My-Header1", "value2" } },
    .signed_headers = "host;my-header1;x-amz-date",
      .signature = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01" },
  { "get-header-value-trim", "GET", "/",
    .headers = { { "My-Header1", " value1" }, { "My-Header2", " \"a   b   c\"" } },
    .signed_headers = "host;my-header1;my-header2;x-amz-date",
    .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
  { "post-header-key-sort", "POST", "/", .headers = { { "My-Header1", "value1" } },
    .signed_headers = "host;my-header1;x-amz-date",
    .signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
  { "post-header-value-case", "POST", "/", .headers = { { "MY-HEADER1", "VALUE1" } },
    .signed_headers = "host;my-header1;x-amz-date",
      .signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
  { "post-x-www-form-urlencoded", "POST", "/",
    .headers = { { "Content-Type", "application/x-www-form-urlencoded" } },
    .payload = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
    .signed_headers = "content-type;host;x-amz-date",
      .signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
};

#define LIFECYCLE "host;x-amz-content-sha256;x-amz-date"

static const struct vector s3_examples[] = {
  { "GET Object", "GET", "/test.txt", .headers = { { "Range", "bytes=0-9" } },
    .signed_headers = "host;range;x-amz-content-sha256;x-amz-date",
    .signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
  { "PUT Object", "PUT", "/test$file.text",
    .headers = { { "Date", "Fri, 24 May 2013 00:00:00 GMT" }, { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
    .payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    .signed_headers = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
    .signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
  { "GET Bucket Lifecycle", "GET", "/", .query = { { "lifecycle", NULL } }, .signed_headers = LIFECYCLE,
    .signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", .sent_query = "lifecycle=" },
  { "GET Bucket (List Objects)", "GET", "/", .query = { { "prefix", "J" }, { "max-keys", "2" } },
    .signed_headers = LIFECYCLE,
    .signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    .sent_query = "max-keys=2&prefix=J" },
};

static void
check_vector (const struct vector *vector, const struct sigv4_keys *keys, const char *host, const char *service,
              bool sends_payload, time_t now, const char *scope)
{
  struct sigv4_request request = {
    .method = vector->method, .host = host, .path = vector->path, .query = vector->query,
    .headers = vector->headers, .payload = vector->payload ? vector->payload : SIGV4_EMPTY,
    .sends_payload = sends_payload, .region = "us-east-1", .service = service, .now = now,
  };
  char expected[1000];
  struct sigv4 got;

  while (request.nr_query < 5 && vector->query[request.nr_query].name)
    request.nr_query++;
  while (request.nr_headers < 4 && vector->headers[request.nr_headers].name)
    request.nr_headers++;
  ck_assert_int_eq (sigv4_sign (keys, &request, &got), 0);
  snprintf (expected, sizeof expected, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
    keys->access,
            scope, vector->signed_headers, vector->signature);
  ck_assert_msg (strcmp (got.authorization, expected) == 0, "%s: %s\nnot %s\n%s", vector->name, got.authorization,
                 expected, got.canonical);
  ck_assert_str_eq (got.query, vector->sent_query ? vector->sent_query : "");
  sigv4_clear (&got);
}

START_TEST (test_suite)
{
  check_vector (&suite[_i], &suite_keys, "example.amazonaws.com", "service", false, SUITE_TIME,
                "20150830/us-east-1/service/aws4_request");
}
END_TEST

START_TEST (test_s3)
{
  check_vector (&s3_examples[_i], &s3_keys, "examplebucket.s3.amazonaws.com", "s3", true, S3_TIME,
                "20130524/us-east-1/s3/aws4_request");
}
END_TEST

/* Names that go on behind one another: by name and not by line, as ':' stands behind '-'. */
START_TEST (test_order_of_names)
{
  static const struct sigv4_pair headers[] = {
    { "x-amz-copy-source-range", "bytes=0-9" }, { "x-amz-copy-source", "/b/k" }, { "x-amz-meta-a-b", "2" },
    { "x-amz-meta-a", "1" },
  };
  const struct sigv4_request request = {
    .method = "PUT", .host = "h", .path = "/b/k", .headers = headers, .nr_headers = 4, .payload = SIGV4_EMPTY,
    .sends_payload = true, .region = "us-east-1", .service = "s3", .now = S3_TIME,
  };
  const struct sigv4_keys keys = { "a", "s", "token" };
  struct sigv4 got;

  ck_assert_int_eq (sigv4_sign (&keys, &request, &got), 0);
  ck_assert_ptr_nonnull (strstr (got.authorization, "SignedHeaders=host;x-amz-content-sha256;x-amz-copy-source;"
                                 "x-amz-copy-source-range;x-amz-date;x-amz-meta-a;x-amz-meta-a-b;"
                                   "x-amz-security-token,"));
  ck_assert_ptr_nonnull (strstr (got.canonical, "\nx-amz-security-token:token\n"));
  sigv4_clear (&got);
}
END_TEST

/* Nothing of a key is normalised, and everything is encoded once, in upper case. */
START_TEST (test_keys)
{
  static const struct { const char *path, *canonical; } keys[] = {
    { "/b/a//b", "/b/a//b" }, { "/b/./a/../b", "/b/./a/../b" }, { "/b/a%20b", "/b/a%2520b" }, { "/b/a+b c",
      "/b/a%2Bb%20c" },
    { "/b/=&?#@!$'()*,;:", "/b/%3D%26%3F%23%40%21%24%27%28%29%2A%2C%3B%3A" }, { "/b/\303\244\001", "/b/%C3%A4%01" },
    { "/b/~._-", "/b/~._-" },
  };

  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    const struct sigv4_request request = {
      .method = "GET", .host = "h", .path = keys[i].path, .payload = SIGV4_EMPTY, .region = "r", .service = "s3",
    };
    struct sigv4 got;
    char expected[200];

    ck_assert_int_eq (sigv4_sign (&suite_keys, &request, &got), 0);
    snprintf (expected, sizeof expected, "GET\n%s\n\n", keys[i].canonical);
    ck_assert_msg (strncmp (got.canonical, expected, strlen (expected)) == 0, "%s", got.canonical);
    sigv4_clear (&got);
  }
}
END_TEST

START_TEST (test_hash)
{
  char hex[65];

  sigv4_sha256 ("", 0, hex);
  ck_assert_str_eq (hex, SIGV4_EMPTY);
  sigv4_sha256 ("Welcome to Amazon S3.", 21, hex);
  ck_assert_str_eq (hex, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
}
END_TEST

int
main (void)
{
  Suite *s = suite_create ("sigv4");
  TCase *c = tcase_create ("vectors");
  SRunner *runner = srunner_create (s);
  int failed;

  suite_add_tcase (s, c);
  tcase_add_loop_test (c, test_suite, 0, sizeof suite / sizeof suite[0]);
  tcase_add_loop_test (c, test_s3, 0, sizeof s3_examples / sizeof s3_examples[0]);
  tcase_add_test (c, test_order_of_names);
  tcase_add_test (c, test_keys);
  tcase_add_test (c, test_hash);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
