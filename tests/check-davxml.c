/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests the multistatus reader: what servers send, and what they should not.  Every document is fed whole, and byte by
 * byte, and must mean the same. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "davxml.h"

#define PROLOG "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
#define START PROLOG "<D:multistatus xmlns:D=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\">"
#define END "</D:multistatus>"
#define OK "<D:status>HTTP/1.1 200 OK</D:status>"
#define MISSING "<D:status>HTTP/1.1 404 Not Found</D:status>"
#define FILE_PROPS "<D:resourcetype/><D:getcontentlength>12</D:getcontentlength>"
#define ENTRY(href, propstats) "<D:response><D:href>" href "</D:href>" propstats "</D:response>"
#define PROPSTAT(props, status) "<D:propstat><D:prop>" props "</D:prop>" status "</D:propstat>"

/* Items as text, to be compared. */
static char seen[4096];

static void
on_item (void *opaque, const struct davxml_item *item)
{
  const size_t len = strlen (seen);

  snprintf (seen + len, sizeof seen - len, "%s|%d|%s%s|%lld|%lld|%s|%s|%s|%s\n", item->href, item->status,
            item->has_props ? "props" : "-", item->is_collection ? " folder" : "",
            item->has_size ? (long long) item->size : -1, (long long) item->mtime.tv_sec,
            item->etag ? item->etag : "-", item->mime ? item->mime : "-", item->id ? item->id : "-",
            item->checksums ? item->checksums : "-");
}

/* Reads a document in pieces of step bytes.  -1: refused; xml stays for more questions. */
static int
read_document (struct davxml *xml, const char *document, size_t len, size_t step)
{
  seen[0] = '\0';
  for (size_t at = 0; at < len; at += step)
    if (davxml_feed (xml, document + at, len - at < step ? len - at : step) == -1)
      return -1;
  return davxml_finish (xml);
}

static const struct {
  const char *document, *items;
} good[] = {
  { START END, "" },
  { PROLOG "<multistatus xmlns='DAV:'/>", "" },
  /* Comments, processing instructions and space behind the root are no content. */
  { START END "\n<!-- the end -->\n<?done?>\n", "" },
  { START ENTRY ("/a", PROPSTAT (FILE_PROPS, OK)) END, "/a|0|props|12|0|-|-|-|-\n" },
  { START ENTRY ("\n  /d/ \n", PROPSTAT ("<D:resourcetype><D:collection/></D:resourcetype>", OK)) END,
    "/d/|0|props folder|-1|0|-|-|-|-\n" },
  /* Only what has a 2xx status counts, wherever the status stands. */
  { START ENTRY ("/a", PROPSTAT (FILE_PROPS, OK) PROPSTAT ("<D:getetag>\"x\"</D:getetag>", MISSING)) END,
    "/a|0|props|12|0|-|-|-|-\n" },
  { START ENTRY ("/a", PROPSTAT ("<D:getetag/>", MISSING) PROPSTAT (FILE_PROPS, OK)) END, "/a|0|props|12|0|-|-|-|-\n" },
  { START ENTRY ("/a", "<D:propstat>" OK "<D:prop>" FILE_PROPS "</D:prop></D:propstat>") END,
    "/a|0|props|12|0|-|-|-|-\n" },
  { START ENTRY ("/a", PROPSTAT ("<D:getcontentlength>1</D:getcontentlength>", OK)
                 PROPSTAT ("<D:getetag>\"e\"</D:getetag>", "<D:status>HTTP/1.1 207 Multi</D:status>")) END,
    "/a|0|props|1|0|\"e\"|-|-|-\n" },
  { START ENTRY ("/a", MISSING) ENTRY ("/b", PROPSTAT (FILE_PROPS, "<D:status>HTTP/2 403 No</D:status>")) END,
    "/a|404|-|-1|0|-|-|-|-\n/b|0|-|-1|0|-|-|-|-\n" },
  { START "<D:response><D:href>/a</D:href><D:href>/b</D:href>" MISSING "</D:response>" END,
    "/a|404|-|-1|0|-|-|-|-\n" },
  /* Both kinds of dates, all other properties, CDATA and character references. */
  { START ENTRY ("/a%20b", PROPSTAT ("<D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified>"
                 "<D:getetag>W/&quot;&#x65;&#38;&quot;</D:getetag>"
                 "<D:getcontenttype><![CDATA[text/plain]]></D:getcontenttype>"
                 "<oc:fileid>7</oc:fileid><oc:id>00000007oc</oc:id>"
                 "<oc:checksums><oc:checksum>SHA1:aa MD5:bb</oc:checksum>"
                 "<oc:checksum>ADLER32:cc</oc:checksum></oc:checksums>", OK)) END,
    "/a%20b|0|props|-1|784111777|W/\"e&\"|text/plain|00000007oc| SHA1:aa MD5:bb ADLER32:cc\n" },
  { START ENTRY ("/a", PROPSTAT ("<D:getlastmodified>1994-11-06T08:49:37Z</D:getlastmodified><oc:fileid>7</oc:fileid>",
                                 OK)) END,
    "/a|0|props|-1|784111777|-|-|7|-\n" },
  /* Numbers and dates that are none are absent. */
  { START ENTRY ("/a", PROPSTAT ("<D:getcontentlength>-1</D:getcontentlength>"
                                 "<D:getlastmodified>soon</D:getlastmodified><D:getetag> </D:getetag>", OK)) END,
    "/a|0|props|-1|0|-|-|-|-\n" },
  { START ENTRY ("/a", PROPSTAT ("<D:getcontentlength>99999999999999999999</D:getcontentlength>", OK)) END,
    "/a|0|props|-1|0|-|-|-|-\n" },
  /* Unknown elements count for nothing, with all that is in them; names of other namespaces are unknown. */
  { START ENTRY ("/a", "<x xmlns='y'><D:href>/evil</D:href></x>"
                 PROPSTAT (FILE_PROPS "<D:x><D:getetag>\"x\"</D:getetag></D:x><y:getetag xmlns:y='z'>\"y\"</y:getetag>"
                           "<D:resourcetype><y:collection xmlns:y='z'/></D:resourcetype>", OK)) END,
    "/a|0|props|12|0|-|-|-|-\n" },
  /* Prefixes are the server's choice. */
  { PROLOG "<a:multistatus xmlns:a='DAV:'><b:response xmlns:b='DAV:'><b:href>/a</b:href>"
    "<c:propstat xmlns:c='DAV:'><c:prop><c:getcontentlength>5</c:getcontentlength></c:prop>"
    "<c:status>HTTP/1.1 200 OK</c:status></c:propstat></b:response>"
    "</a:multistatus>", "/a|0|props|5|0|-|-|-|-\n" },
  /* One entry's properties are not the next one's. */
  { START ENTRY ("/a", PROPSTAT (FILE_PROPS "<D:getetag>\"a\"</D:getetag>", OK))
    ENTRY ("/b", PROPSTAT ("<D:resourcetype/>", OK)) END,
    "/a|0|props|12|0|\"a\"|-|-|-\n/b|0|props|-1|0|-|-|-|-\n" },
};

START_TEST (reads_what_servers_send)
{
  const size_t len = strlen (good[_i].document);
  const size_t steps[] = { len, 1, 7 };

  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    struct davxml *xml = davxml_new (on_item, NULL);

    ck_assert_ptr_nonnull (xml);
    ck_assert_msg (read_document (xml, good[_i].document, len, steps[i]) == 0, "%s", davxml_error (xml));
    ck_assert_str_eq (seen, good[_i].items);
    davxml_free (xml);
  }
}
END_TEST

static const struct {
  const char *document, *error;
  bool is_html;
} bad[] = {
  { "", "not whole" },
  { "Everything is fine.", "not whole" },
  { START, "not whole" },
  { START ENTRY ("/a", PROPSTAT (FILE_PROPS, OK)), "not whole" },
  { START "<D:response><D:href>/a", "not whole" },
  { START END "Internal Server Error", "junk" },
  { START END START END, "not whole" },
  { START "</D:response>" END, "not whole" },
  { START ENTRY ("/\001", PROPSTAT (FILE_PROPS, OK)) END, "not whole" },
  { START ENTRY ("&undefined;", PROPSTAT (FILE_PROPS, OK)) END, "not whole" },
  { PROLOG "<!DOCTYPE x>" "<D:multistatus xmlns:D='DAV:'/>", "DOCTYPE" },
  { PROLOG "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><D:multistatus xmlns:D='DAV:'>&b;" END,
    "DOCTYPE" },
  { PROLOG "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" "<D:multistatus xmlns:D='DAV:'/>", "DOCTYPE" },
  { "<!DOCTYPE html><html><body><p>Log in</body></html>", "DOCTYPE", true },
  { "<!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN' 'x'><html></html>", "not whole" },
  { "<html xmlns='http://www.w3.org/1999/xhtml'><body/></html>", "<html>", true },
  { "<HTML><BODY>", "<HTML>", true },
  { "<multistatus/>", "<multistatus>" },
  { "<D:multistatus xmlns:D='DAV'/>", "<multistatus>" },
  { "<D:propfind xmlns:D='DAV:'/>", "<propfind>" },
  { START "<D:response><D:status>HTTP/1.1 200 OK</D:status></D:response>" END, "without a path" },
  { START ENTRY (" ", PROPSTAT (FILE_PROPS, OK)) END, "without a path" },
  { START ENTRY ("/a", "<D:propstat><D:prop>" FILE_PROPS "</D:prop></D:propstat>") END, "without a status" },
  { START ENTRY ("/a", PROPSTAT (FILE_PROPS, "<D:status>fine</D:status>")) END, "status" },
};

START_TEST (refuses_what_is_wrong)
{
  const size_t len = strlen (bad[_i].document);
  const size_t steps[] = { len + 1, 1, 7 };

  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    struct davxml *xml = davxml_new (on_item, NULL);

    ck_assert_int_eq (read_document (xml, bad[_i].document, len, steps[i]), -1);
    ck_assert_msg (strstr (davxml_error (xml), bad[_i].error) != NULL, "'%s' lacks '%s'", davxml_error (xml),
                   bad[_i].error);
    ck_assert_int_eq (davxml_is_html (xml), bad[_i].is_html);
    /* It stays refused. */
    ck_assert_int_eq (davxml_feed (xml, " ", 1), -1);
    ck_assert_int_eq (davxml_finish (xml), -1);
    davxml_free (xml);
  }
}
END_TEST

/* Documents around a limit: before repeated n times, then after. */
static const struct {
  const char *start, *repeated, *middle, *repeated_end, *end;
  size_t n;
  bool good;
} limits[] = {
  /* response and the like take four levels: multistatus, response, propstat, prop. */
  { START "<D:response><D:href>/a</D:href><D:propstat><D:prop>", "<x>", "", "</x>",
    "</D:prop>" OK "</D:propstat></D:response>" END, 28, true },
  { START "<D:response><D:href>/a</D:href><D:propstat><D:prop>", "<x>", "", "</x>",
    "</D:prop>" OK "</D:propstat></D:response>" END, 29, false },
  { START "<D:response><D:href>/", "a", "", "", "</D:href>" MISSING "</D:response>" END, 65535, true },
  { START "<D:response><D:href>/", "a", "", "", "</D:href>" MISSING "</D:response>" END, 65536, false },
  { START "<x>", "a", "", "", "</x>" END, 65537, false },
  { START "<x a='", "a", "", "", "'/>" END, 500000, true },
  { START "<x a='", "a", "", "", "'/>" END, 1200000, false },
  { START "<!-- ", "a", "", "", " -->" END, 1200000, false },
  { START "<D:response><D:href>/a</D:href><D:propstat><D:prop><oc:checksums>",
    "<oc:checksum>SHA1:0123456789</oc:checksum>", "", "",
    "</oc:checksums></D:prop>" OK "</D:propstat></D:response>" END, 10000, false },
};

START_TEST (keeps_its_limits)
{
  const size_t once = strlen (limits[_i].repeated), end_once = strlen (limits[_i].repeated_end);
  char *document = malloc (limits[_i].n * (once + end_once) + 4096), *to = document;
  struct davxml *xml = davxml_new (on_item, NULL);

  ck_assert_ptr_nonnull (document);
  to = stpcpy (to, limits[_i].start);
  for (size_t i = 0; i < limits[_i].n; i++)
    to = stpcpy (to, limits[_i].repeated);
  to = stpcpy (to, limits[_i].middle);
  for (size_t i = 0; i < limits[_i].n; i++)
    to = stpcpy (to, limits[_i].repeated_end);
  to = stpcpy (to, limits[_i].end);
  ck_assert_int_eq (read_document (xml, document, to - document, 16384), limits[_i].good ? 0 : -1);
  davxml_free (xml);
  free (document);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("davxml");
  TCase *tcase = tcase_create ("davxml");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tcase, reads_what_servers_send, 0, sizeof good / sizeof good[0]);
  tcase_add_loop_test (tcase, refuses_what_is_wrong, 0, sizeof bad / sizeof bad[0]);
  tcase_add_loop_test (tcase, keeps_its_limits, 0, sizeof limits / sizeof limits[0]);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
