/* SPDX-License-Identifier: BSD-3-Clause */
/* The small grammars of the S3 provider: XML answers, URLs and keys, credentials files, entity tags. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cloud.h"
#include "s3.h"

/* ---- XML ---- */

#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"

static char seen[2000];

static int
on_entry (void *opaque, const struct s3_entry *entry)
{
  static const char *const kinds[] = { "key", "prefix", "upload", "part" };

  snprintf (seen + strlen (seen), sizeof seen - strlen (seen), "%s %s %llu %s %lld %s %u;", kinds[entry->kind],
            entry->key ? entry->key : "-", (unsigned long long) entry->size, entry->etag ? entry->etag : "-",
            (long long) entry->time.tv_sec, entry->upload ? entry->upload : "-", entry->part);
  return 0;
}

static const struct s3_xml_sink sink = { .entry = on_entry };

static int
read_text (const char *text, const char *root, struct s3_document *document, char **why)
{
  seen[0] = '\0';
  return s3_xml_read (text, strlen (text), root, &sink, NULL, document, why);
}

static const struct {
  const char *text, *root, *entries;
  bool truncated;
  const char *next, *etag, *upload, *code, *prefix, *decoded;
} good[] = {
  { HEAD "<ListBucketResult" XMLNS "><Name>b</Name><Prefix>p/</Prefix><EncodingType>url</EncodingType>"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    "<Contents><Key>p/a+b%2Bc%0A</Key><LastModified>2026-11-23T01:18:06.425Z</LastModified>"
    "<ETag>&quot;abc&quot;</ETag><Size>5</Size><Owner><ID>x</ID></Owner></Contents>"
    "<CommonPrefixes><Prefix>p/%C3%A4/</Prefix></CommonPrefixes></ListBucketResult>",
    "ListBucketResult", "key p/a b+c\n 5 abc 1795396686 - 0;prefix p/\303\244/ 0 - 0 - 0;", true, "t", NULL, NULL, NULL,
    "p/", "p/" },
  /* The encoding behind the entries; none at all, then '+' and '%' are themselves. */
  { "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%2Fb</Key><Size>1</Size><ETag>x</ETag>"
    "</Contents>"
    "<Prefix>%20</Prefix><EncodingType>url</EncodingType></ListBucketResult>",
    "ListBucketResult", "key a/b 1 x 0 - 0;", .prefix = "%20", .decoded = " " },
  { "<ListBucketResult><Prefix/><IsTruncated>false</IsTruncated><Contents><Key>a%2F+b </Key><Size>"
    "18446744073709551615</Size>"
    "</Contents></ListBucketResult>", "ListBucketResult", "key a%2F+b  0 - 0 - 0;", .prefix = "" },
  /* Elements of other namespaces, comments, CDATA. */
  { "<s:ListBucketResult xmlns:s='urn:x'><!-- c --><s:IsTruncated>false</s:IsTruncated><s:Contents><s:Key>"
    "<![CDATA[<&>]]>"
    "</s:Key></s:Contents></s:ListBucketResult>", "ListBucketResult", "key <&> 0 - 0 - 0;" },
  { "<Error><Code>NoSuchKey</Code><Message>m</Message><Key>k</Key></Error>", "ListBucketResult", "",
    .code = "NoSuchKey" },
  { "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>2~x</UploadId>"
    "</InitiateMultipartUploadResult>",
    "InitiateMultipartUploadResult", "", .upload = "2~x" },
  { "<CopyObjectResult><LastModified>2026-11-23T01:18:06Z</LastModified><ETag>\"abc-2\"</ETag></CopyObjectResult>",
    "CopyObjectResult", "", .etag = "abc-2" },
  /* Ceph 16 says nothing. */
  { "<CompleteMultipartUploadResult><ETag>\"\"</ETag></CompleteMultipartUploadResult>",
    "CompleteMultipartUploadResult", "" },
  { "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>k</Key><UploadId>u</UploadId>"
    "<Initiated>2026-11-23T01:18:06Z</Initiated><Owner><ID>o</ID></Owner></Upload></ListMultipartUploadsResult>",
    "ListMultipartUploadsResult", "upload k 0 - 1795396686 u 0;" },
  { "<ListPartsResult><UploadId>u</UploadId><NextPartNumberMarker>2</NextPartNumberMarker><IsTruncated>"
    "true</IsTruncated>"
    "<Part><PartNumber>2</PartNumber><ETag>&quot;e&quot;</ETag><Size>9</Size></Part></ListPartsResult>",
    "ListPartsResult", "part - 9 e 0 - 2;", true, "2", NULL, "u" },
};

static void
check_text (const char *got, const char *wanted)
{
  if (wanted == NULL)
    ck_assert_msg (got == NULL, "%s", got);
  else
    ck_assert_str_eq (got ? got : "(null)", wanted);
}

START_TEST (test_good)
{
  struct s3_document document;
  char *why;

  ck_assert_msg (read_text (good[_i].text, good[_i].root, &document, &why) == 0, "%s", why);
  ck_assert_str_eq (seen, good[_i].entries);
  ck_assert_int_eq (document.truncated, good[_i].truncated);
  check_text (document.next, good[_i].next);
  check_text (document.etag, good[_i].etag);
  check_text (document.upload, good[_i].upload);
  check_text (document.code, good[_i].code);
  check_text (document.prefix, good[_i].prefix);
  check_text (document.prefix_decoded, good[_i].decoded);
  ck_assert_int_eq (s3_document_is_error (&document), good[_i].code != NULL);
  s3_document_free (&document);
}
END_TEST

static const char *const bad[] = {
  "", "Internal Server Error", "<ListBucketResult>", "<ListBucketResult></ListBucketResult>junk",
  "<ListBucketResult></ListBucketResult><Error/>",
  "<html><body>login</body></html>", "<ListAllMyBucketsResult/>",
  "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult>&a;</ListBucketResult>",
  "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
  "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%00b</Key></Contents></ListBucketResult>",
  "<a><b><c><d><e><f><g><h><i><j><k><l><m><n><o><p><q></q></p></o></n></m></l></k></j></i></h></g></f></e></d>"
    "</c></b></a>",
  "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResul>",
};

START_TEST (test_bad)
{
  struct s3_document document;
  char *why;

  ck_assert_int_eq (read_text (bad[_i], "ListBucketResult", &document, &why), -1);
  ck_assert_ptr_nonnull (why);
  free (why);
  s3_document_free (&document);
}
END_TEST

/* Wherever an answer is cut, it is an error and nothing else. */
START_TEST (test_cut)
{
  for (size_t n = 0; n < strlen (good[_i].text); n++) {
    struct s3_document document;
    char *why;

    seen[0] = '\0';
    ck_assert_int_eq (s3_xml_read (good[_i].text, n, good[_i].root, &sink, NULL, &document, &why), -1);
    free (why);
    s3_document_free (&document);
  }
}
END_TEST

/* ---- URLs ---- */

static const struct {
  const char *remote, *endpoint;
  enum cloud_path_style style;
  const char *bucket, *prefix, *host, *path, *identity;   /* bucket NULL: refused */
} urls[] = {
  { "s3://bucket", NULL, 0, "bucket", "", "bucket.s3.eu-west-1.amazonaws.com", "/k", "s3://bucket/" },
  { "s3://bucket/a/b", NULL, 0, "bucket", "a/b/", "bucket.s3.eu-west-1.amazonaws.com", "/k", "s3://bucket/a/b/" },
  { "s3://buc.ket/a/", NULL, 0, "buc.ket", "a/", "s3.eu-west-1.amazonaws.com", "/buc.ket/k", "s3://buc.ket/a/" },
  { "s3://bucket", NULL, CLOUD_PATH_STYLE_YES, "bucket", "", "s3.eu-west-1.amazonaws.com", "/bucket/k",
    "s3://bucket/" },
  { "s3://bucket", "http://127.0.0.1:80/", 0, "bucket", "", "127.0.0.1", "/bucket/k",
    "s3://bucket/ at http://127.0.0.1" },
  { "s3://bucket/", "https://h:9000/x/", 0, "bucket", "", "h:9000", "/x/bucket/k", "s3://bucket/ at https://h:9000/x" },
  { "s3://bucket", "https://h", CLOUD_PATH_STYLE_NO, "bucket", "", "bucket.h", "/k", "s3://bucket/ at https://h" },
  { "s3://b", NULL }, { "s3://", NULL }, { "s3:///a", NULL }, { "s3://-abc", NULL }, { "s3://bucket/a//b", NULL },
  { "s3://bucket/../b", NULL }, { "s3://bucket/a/.", NULL }, { "s3://bucket//", NULL }, { "s3://bucket/a\nb", NULL },
  { "s3://bucket@host", NULL }, { "s3://bucket", "ftp://h" }, { "s3://bucket", "https://u:p@h" }, { "s3://bucket",
    "h:80" },
};

START_TEST (test_url)
{
  const struct cloud_config config = { .remote = urls[_i].remote, .path_style = urls[_i].style };
  struct s3_url url;
  char *path, *key;

  ck_assert (s3_url_is_ours (config.remote));
  if (urls[_i].bucket == NULL) {
    ck_assert_int_eq (s3_url_parse (&config, urls[_i].endpoint, "eu-west-1", &url), -1);
    return;
  }
  ck_assert_int_eq (s3_url_parse (&config, urls[_i].endpoint, "eu-west-1", &url), 0);
  ck_assert_str_eq (url.bucket, urls[_i].bucket);
  ck_assert_str_eq (url.prefix, urls[_i].prefix);
  ck_assert_str_eq (url.host, urls[_i].host);
  ck_assert_str_eq (url.identity, urls[_i].identity);
  path = s3_url_path (&url, "k");
  ck_assert_str_eq (path, urls[_i].path);
  free (path);
  key = s3_url_key (&url, "", true);
  ck_assert_str_eq (key, url.prefix);
  free (key);
  s3_url_free (&url);
}
END_TEST

/* ---- credentials ---- */

START_TEST (test_ini)
{
  static const char text[] =
    "# c\n[default]\naws_access_key_id = A=B \r\naws_secret_access_key=s;t\ns3 =\n  region = nested\n\n[ other ]\n"
    "region=r\n;region=x\nempty=\n[last]\nregion = end";
  static const struct { const char *section, *key, *value; } rows[] = {
    { "default", "aws_access_key_id", "A=B" }, { "default", "aws_secret_access_key", "s;t" }, { "default", "region",
      NULL },
    { "other", "region", "r" }, { "other", "empty", NULL }, { "last", "region", "end" }, { "none", "region", NULL },
    { "other", "aws_access_key_id", NULL },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *value = s3_ini_value (text, rows[i].section, rows[i].key);

    check_text (value, rows[i].value);
    free (value);
  }
}
END_TEST

static void
set_all (const char *key)
{
  static const char *const names[] = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
      "AWS_PROFILE",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
  };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    unsetenv (names[i]);
  setenv ("HOME", key, 1);
}

START_TEST (test_settings)
{
  char name[] = "/tmp/check-s3.XXXXXX";
  const int fd = mkstemp (name);
  struct cloud_config config = { .remote = "s3://bucket" };
  struct s3_settings settings;

  set_all ("/nonexistent");
  ck_assert_int_eq (s3_settings_read (&config, &settings), 0);
  ck_assert_ptr_null (settings.credentials.access);
  ck_assert_str_eq (settings.region, "us-east-1");
  s3_settings_free (&settings);

  dprintf (fd, "[p]\naws_access_key_id=fa\naws_secret_access_key=fs\naws_session_token=ft\n[profile p]\nregion=fr\n");
  setenv ("AWS_SHARED_CREDENTIALS_FILE", name, 1);
  setenv ("AWS_CONFIG_FILE", name, 1);
  setenv ("AWS_PROFILE", "p", 1);
  ck_assert_int_eq (s3_settings_read (&config, &settings), 0);
  ck_assert_str_eq (settings.credentials.access, "fa");
  ck_assert_str_eq (settings.credentials.session, "ft");
  ck_assert_str_eq (settings.region, "fr");
  ck_assert (settings.from_file);
  s3_settings_free (&settings);

  setenv ("AWS_ACCESS_KEY_ID", "ea", 1);
  setenv ("AWS_SECRET_ACCESS_KEY", "es", 1);
  setenv ("AWS_DEFAULT_REGION", "er", 1);
  setenv ("AWS_ENDPOINT_URL", "http://e", 1);
  ck_assert_int_eq (s3_settings_read (&config, &settings), 0);
  ck_assert_str_eq (settings.credentials.secret, "es");
  ck_assert_ptr_null (settings.credentials.session);
  ck_assert_str_eq (settings.region, "er");
  ck_assert_str_eq (settings.endpoint, "http://e");
  ck_assert (!settings.from_file);
  s3_settings_free (&settings);

  config.access_key = "pa";
  ck_assert_int_eq (s3_settings_read (&config, &settings), -1);
  config.secret_key = "ps";
  config.region = "pr";
  ck_assert_int_eq (s3_settings_read (&config, &settings), 0);
  ck_assert_str_eq (settings.credentials.access, "pa");
  ck_assert_str_eq (settings.region, "pr");
  s3_settings_free (&settings);
  config.region = "a/b";
  ck_assert_int_eq (s3_settings_read (&config, &settings), -1);
  close (fd);
  unlink (name);
}
END_TEST

/* ---- entity tags ---- */

START_TEST (test_md5)
{
  char hex[33];

  ck_assert (s3_token_md5 ("\"5d41402abc4b2a76b9719d911017c592\"", hex));
  ck_assert_str_eq (hex, "5d41402abc4b2a76b9719d911017c592");
  ck_assert (!s3_token_md5 ("\"d316408c159ea701ab954894bd3a92c2-2\"", hex));
  ck_assert (!s3_token_md5 ("\"5D41402ABC4B2A76B9719D911017C592\"", hex));
  ck_assert (!s3_token_md5 ("\"\"", hex));
}
END_TEST

int
main (void)
{
  Suite *s = suite_create ("s3");
  TCase *c = tcase_create ("text");
  SRunner *runner = srunner_create (s);
  int failed;

  suite_add_tcase (s, c);
  tcase_add_loop_test (c, test_good, 0, sizeof good / sizeof good[0]);
  tcase_add_loop_test (c, test_bad, 0, sizeof bad / sizeof bad[0]);
  tcase_add_loop_test (c, test_cut, 0, sizeof good / sizeof good[0]);
  tcase_add_loop_test (c, test_url, 0, sizeof urls / sizeof urls[0]);
  tcase_add_test (c, test_ini);
  tcase_add_test (c, test_settings);
  tcase_add_test (c, test_md5);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
