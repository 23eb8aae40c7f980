/* SPDX-License-Identifier: BSD-3-Clause */
/* Types: which name has which, by data of our own making and by the system's; and which class has which. */

#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "media-type.h"

/* ---- data folders of the test's: each test is a process of its own, and so loads anew ---- */

static char root[] = "/tmp/check-media-type-XXXXXX";

static void
write_globs (const char *folder, const char *text)
{
  char path[128];
  FILE *fp;

  snprintf (path, sizeof path, "%s/%s", root, folder);
  ck_assert_int_eq (mkdir (path, 0700), 0);
  strcat (path, "/mime");
  ck_assert_int_eq (mkdir (path, 0700), 0);
  strcat (path, "/globs2");
  fp = fopen (path, "w");
  ck_assert_ptr_nonnull (fp);
  ck_assert_int_ge (fputs (text, fp), 0);
  ck_assert_int_eq (fclose (fp), 0);
}

static void
forget_globs (const char *folder)
{
  char path[128];

  snprintf (path, sizeof path, "%s/%s/mime/globs2", root, folder);
  unlink (path);
  for (int i = 0; i < 2; ++i) {
    *strrchr (path, '/') = '\0';
    rmdir (path);
  }
}

static void
use_folders (void)
{
  char dirs[256];

  ck_assert_ptr_nonnull (mkdtemp (root));
  snprintf (dirs, sizeof dirs, "relative:%s/high:%s/none:%s/low", root, root, root);
  setenv ("XDG_DATA_DIRS", dirs, 1);
  setenv ("XDG_DATA_HOME", root, 1);
}

static void
remove_folders (void)
{
  forget_globs ("high");
  forget_globs ("low");
  rmdir (root);
}

static const char high[] =
  "# a comment\n"
  "50:x/lower:*.case\n"
  "50:x/UPPER:*.CASE:cs\n"
  "50:x/second:*.two\n"
  "60:x/heavy:*.two\n"
  "80:x/short:*.w\n"
  "50:x/long:*.long.w\n"
  "50:x/gz:*.zzz\n"
  "50:x/targz:*.tttt.zzz\n"
  "50:x/literal:makethis\n"
  "50:x/exact:Exact:cs\n"
  "50:x/prefix:readthis*\n"
  "50:x/suffix:*~~~\n"
  "60:x/inside:*.shared.[0-9]*\n"
  "50:x/page:*.q[1-9]\n"
  "50:x/bracket:[]x][!a]yyy.end\n"
  "50:x/deleted:__NOGLOBS__\n"
  "50:x/deleted:*.kept\n"
  "50:x/first:*.tie\n"
  "50:x/later:*.tie\n"
  "50:text/vnd.trolltech.linguist:*.ts\n"
  "50:video/mp2t:*.ts\n"
  "50:x/more:*.flags:cs,other:future\n"
  "50:x/high:*.both\n"
  "50:x/short:*.hidden\n"
  "\n50\n50:\n50:x/y\n50:x/y:\n:x/y:*.bad1\nx:x/y:*.bad2\n-1:x/y:*.bad3\n101:x/y:*.bad4\n50:xy:*.bad5\n50:x/:*.bad6\n50:x/y/z:*.bad7\n"
  "50:x/open:[abc\n50:x/open:*[!\n50:x/open:*\\\n"
  "50:x/last:*.last";

static const char low[] =
  "50:x/deleted:*.gone\n"
  "50:x/low:*.both\n"
  "50:x/low:*.onlylow\n"
  "70:x/low:*.hidden\n";

static const struct {
  const char *name, *type;
} names[] = {
  { "a.case", "x/lower" },
  { "a.Case", "x/lower" },
  { "a.CASE", "x/UPPER" },
  { "a.two", "x/heavy" },
  { "a.long.w", "x/short" },                   /* weight before length */
  { "a.zzz", "x/gz" },
  { "a.tttt.zzz", "x/targz" },
  { "A.TTTT.ZZZ", "x/targz" },
  { "a.b.c.zzz", "x/gz" },
  { ".zzz", "x/gz" },
  { "azzz", NULL },
  { "zzz", NULL },
  { "makethis", "x/literal" },
  { "MakeThis", "x/literal" },
  { "makethis2", NULL },
  { "Exact", "x/exact" },
  { "exact", NULL },
  { "readthis", "x/prefix" },
  { "ReadThis.zzz", "x/prefix" },              /* longer than *.zzz */
  { "a~~~", "x/suffix" },
  { "lib.shared.1.2", "x/inside" },
  { "lib.shared.x", NULL },
  { "lib.shared.3.zzz", "x/inside" },
  { "a.q1", "x/page" },
  { "a.q0", NULL },
  { "]byyy.end", "x/bracket" },
  { "]ayyy.end", NULL },
  { "a.gone", NULL },
  { "a.kept", "x/deleted" },
  { "a.tie", "x/first" },
  { "a.ts", "video/mp2t" },                    /* as our own table has it */
  { "a.flags", "x/more" },
  { "a.FLAGS", NULL },
  { "a.both", "x/high" },
  { "a.onlylow", "x/low" },
  { "a.hidden", "x/low" },
  { "a.last", "x/last" },
  { "a.bad1", NULL }, { "a.bad2", NULL }, { "a.bad3", NULL }, { "a.bad4", NULL }, { "a.bad5", NULL }, { "a.bad6", NULL },
  { "a.bad7", NULL },
  { "", NULL }, { ".", NULL }, { "..", NULL }, { "a.", NULL }, { "noextension", NULL }, { "\xff.zzz", "x/gz" },
  /* What the folders don't have: the system's other file or our own table. */
  { "a.jpg", "image/jpeg" },
  { "A.JPEG", "image/jpeg" },
  { "a.pdf", "application/pdf" },
  { "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
};

START_TEST (test_names)
{
  use_folders ();
  write_globs ("high", high);
  write_globs ("low", low);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    const char *type = media_type_of_name (names[i].name);

    if (i == 0)
      remove_folders ();
    ck_assert_msg (type == names[i].type || (type && names[i].type && strcmp (type, names[i].type) == 0), "%s: %s, not %s",
                   names[i].name, type ? type : "none", names[i].type ? names[i].type : "none");
  }
}
END_TEST

/* A server without any data still knows the common ones. */
START_TEST (test_no_data)
{
  static const char *const common[] = {
    "a.jpg", "a.PNG", "a.heic", "a.mp4", "a.mkv", "a.mp3", "a.flac", "a.txt", "a.md", "a.pdf", "a.docx", "a.ods", "a.pptx", "a.zip",
    "a.tar.gz", "a.7z", "a.iso", "a.deb", "a.ttf", "a.stl", "a.epub",
  };

  use_folders ();
  for (size_t i = 0; i < sizeof common / sizeof common[0]; ++i)
    ck_assert_msg (media_type_of_name (common[i]) != NULL, "%s", common[i]);
  ck_assert_str_eq (media_type_own ("tar.gz"), "application/x-compressed-tar");
  ck_assert_ptr_null (media_type_own ("nosuch"));
  ck_assert_ptr_null (media_type_own (""));
  remove_folders ();
}
END_TEST

/* With the system's data, whatever it is: class of common names. */
static const struct {
  const char *name, *class;
} common[] = {
  { "a.jpg", "image" }, { "a.svg", "image" }, { "a.heic", "image" }, { "a.nef", "image" }, { "a.psd", "image" },
  { "a.mp4", "video" }, { "a.MOV", "video" }, { "a.mkv", "video" }, { "a.ts", "video" }, { "a.wmv", "video" }, { "a.webm", "video" },
  { "a.mp3", "audio" }, { "a.flac", "audio" }, { "a.ogg", "audio" }, { "a.m4a", "audio" }, { "a.opus", "audio" }, { "a.wav", "audio" },
  { "a.txt", "text" }, { "a.md", "text" }, { "a.csv", "text" }, { "a.c", "text" }, { "a.py", "text" }, { "a.json", "text" },
  { "a.pdf", "document" }, { "a.md", "document" }, { "a.doc", "document" }, { "a.docx", "document" }, { "a.odt", "document" },
  { "a.xlsx", "document" }, { "a.pptx", "document" }, { "a.rtf", "document" }, { "a.tex", "document" }, { "a.epub", "document" },
  { "a.mobi", "document" }, { "a.djvu", "document" }, { "a.ods", "document" }, { "a.key", "document" }, { "a.odg", "document" },
  { "a.xls", "spreadsheet" }, { "a.xlsx", "spreadsheet" }, { "a.ods", "spreadsheet" }, { "a.csv", "spreadsheet" },
  { "a.ppt", "presentation" }, { "a.pptx", "presentation" }, { "a.odp", "presentation" }, { "a.ppsx", "presentation" },
  { "a.zip", "archive" }, { "a.tar", "archive" }, { "a.tar.gz", "archive" }, { "a.tgz", "archive" }, { "a.tar.xz", "archive" },
  { "a.tar.zst", "archive" }, { "a.gz", "archive" }, { "a.bz2", "archive" }, { "a.xz", "archive" }, { "a.7z", "archive" },
  { "a.rar", "archive" }, { "a.iso", "archive" }, { "a.deb", "archive" }, { "a.rpm", "archive" }, { "a.jar", "archive" },
  { "a.cab", "archive" }, { "a.zst", "archive" }, { "a.dmg", "archive" },
  { "a.ttf", "font" }, { "a.otf", "font" }, { "a.woff2", "font" }, { "a.stl", "model" }, { "a.obj", "model" }, { "a.glb", "model" },
};

START_TEST (test_common)
{
  const char *type = media_type_of_name (common[_i].name);

  ck_assert_ptr_nonnull (type);
  ck_assert_msg (media_type_matches (type, common[_i].class), "%s is %s, not of class %s", common[_i].name, type, common[_i].class);
}
END_TEST

static const struct {
  const char *type, *wanted;
  bool matches;
} matches[] = {
  { "image/png", "image", true },
  { "IMAGE/PNG", "image", true },
  { "image/png", "Image", true },
  { "image/png; q=1", "image/png", true },
  { "image/png;q=1", "image/png", true },
  { " image/png ", "image/png", true },
  { "image/png", "image/*", true },
  { "imagex/png", "image/*", false },
  { "imagex/png", "image", false },
  { "image", "image", false },
  { "image/png", "image/p", false },
  { "image/png", "image/pngx", false },
  { "image/png", "video", false },
  { "image/png", "nosuchclass", false },
  { "", "image", false },
  { "", "", false },
  { "image/png", "", false },
  { "application/pdf", "document", true },
  { "application/pdf", "text", false },
  { "application/pdf", "archive", false },
  { "text/markdown", "document", true },
  { "text/plain", "document", false },
  { "application/zip", "archive", true },
  { "application/zip", "document", false },
  { "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "document", true },
  { "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "spreadsheet", false },
  { "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "spreadsheet", true },
  { "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "document", true },
  { "application/vnd.oasis.opendocument.spreadsheet-template", "spreadsheet", true },
  { "application/vnd.oasis.opendocument.presentation", "spreadsheet", false },
  { "application/vnd.ms-excel.sheet.macroEnabled.12", "spreadsheet", true },
  { "application/x-bzip-compressed-tar", "archive", true },
  { "application/epub+zip", "document", true },
  { "application/epub+zip", "archive", false },
};

START_TEST (test_matches)
{
  ck_assert_int_eq (media_type_matches (matches[_i].type, matches[_i].wanted), matches[_i].matches);
}
END_TEST

START_TEST (test_long_type)
{
  char type[1000];

  memset (type, 'a', sizeof type);
  type[5] = '/';
  type[sizeof type - 1] = '\0';
  ck_assert (!media_type_matches (type, "image"));
  ck_assert (!media_type_matches (type, type));
  ck_assert (media_type_says_nothing (type));
}
END_TEST

START_TEST (test_classes)
{
  char *save;
  char list[256];
  int n = 0;

  snprintf (list, sizeof list, "%s", media_type_classes ());
  for (char *word = strtok_r (list, ", ", &save); word; word = strtok_r (NULL, ", ", &save), ++n)
    ck_assert (media_type_is_class (word));
  ck_assert_int_eq (n, 10);
  ck_assert (!media_type_is_class (""));
  ck_assert (!media_type_is_class ("images"));
  ck_assert (!media_type_is_class ("application"));
}
END_TEST

static const struct {
  const char *type;
  bool nothing;
} said[] = {
  { "", true }, { "application/octet-stream", true }, { "Application/Octet-Stream; x=y", true }, { "httpd/unix-directory", true },
  { "binary/octet-stream", true }, { "rubbish", true }, { ";", true }, { "text/plain", false }, { "application/x-foo", false },
};

START_TEST (test_says_nothing)
{
  ck_assert_int_eq (media_type_says_nothing (said[_i].type), said[_i].nothing);
}
END_TEST

/* The tables are looked up by halves: where they are out of order, entries are not found. */
START_TEST (test_tables_are_sorted)
{
  /* The ends and some between. */
  static const char *const in_table[] = { "3g2", "3ds", "7z", "aac", "jpg", "tar", "tar.bz2", "tar.gz", "tar.xz", "yml", "zip", "zst" };
  static const char *const members[][2] = {
    { "application/acad", "model" }, { "application/zlib", "archive" },
    { "application/x-zoo", "archive" }, { "text/x-texinfo", "document" }, { "application/csv", "spreadsheet" },
  };

  for (size_t i = 0; i < sizeof in_table / sizeof in_table[0]; ++i)
    ck_assert_msg (media_type_own (in_table[i]) != NULL, "%s", in_table[i]);
  for (size_t i = 0; i < sizeof members / sizeof members[0]; ++i)
    ck_assert_msg (media_type_matches (members[i][0], members[i][1]), "%s", members[i][0]);
}
END_TEST

static uint64_t seed = 20261123;

static unsigned
draw (unsigned below)
{
  seed = seed * 6364136223846793005 + 1442695040888963407;
  return (seed >> 33) % below;
}

/* 100,000 names of all kinds, in well below 100 ms of CPU; 1 s is for slow machines and sanitizers. */
START_TEST (test_speed)
{
  static const char *const endings[] = { ".jpg", ".JPG", ".tar.gz", ".txt", "", ".unknown", ".mp4", ".so.1", " (1).docx", ".c", "~" };
  enum { N = 100000 };
  char (*all)[64] = malloc (N * sizeof *all);
  struct timespec from, to;
  double best = 1e9;
  unsigned found = 0;

  ck_assert_ptr_nonnull (all);
  for (int i = 0; i < N; ++i)
    snprintf (all[i], sizeof all[i], "IMG_%u.of %u%s", draw (1000000), draw (1000), endings[i % (sizeof endings / sizeof endings[0])]);
  media_type_of_name ("load.it");
  for (int round = 0; round < 3; ++round) {
    double ms;

    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < N; ++i)
      found += media_type_of_name (all[i]) != NULL;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &to);
    ms = (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6;
    if (ms < best)
      best = ms;
  }
  printf ("# %d names in %.1f ms\n", N, best);
  ck_assert_uint_gt (found, N);
  ck_assert_double_lt (best, 1000);
  free (all);
}
END_TEST

/* Names of any bytes and any length. */
START_TEST (test_anything)
{
  for (int round = 0; round < 20000; ++round) {
    char name[2000];
    const unsigned n = draw (50) ? draw (40) : draw (sizeof name);
    const char *type;

    for (unsigned i = 0; i < n; ++i)
      name[i] = draw (4) ? "..ajpgtrzcJPG~[]*?\\123"[draw (22)] : (char) (1 + draw (255));
    name[n] = '\0';
    type = media_type_of_name (name);
    if (type && strchr (type, '/') == NULL)
      ck_abort_msg ("%s", type);
    media_type_says_nothing (name);
    media_type_matches (name, "document");
    media_type_matches ("text/plain", name);
    media_type_own (name);
  }
}
END_TEST

/* Data of any bytes. */
START_TEST (test_any_data)
{
  char text[65536];

  use_folders ();
  for (size_t i = 0; i < sizeof text - 1; ++i)
    text[i] = draw (3) ? "50:x/y:*.a[]\\?!:cs\n50:q/r:*["[draw (28)] : (char) (1 + draw (255));
  text[sizeof text - 1] = '\0';
  write_globs ("high", text);
  /* Lines that are right up to the glob. */
  for (size_t i = 0; i < sizeof text - 1;) {
    i += snprintf (text + i, sizeof text - i, "50:x/y:");
    for (unsigned n = 1 + draw (8); n > 0 && i < sizeof text - 2; --n)
      text[i++] = "*?[]!^\\a.b-"[draw (11)];
    if (i < sizeof text - 1)
      text[i++] = '\n';
    if (i > sizeof text - 32)
      break;
    text[i] = '\0';
  }
  write_globs ("low", text);
  media_type_of_name ("load.it");
  remove_folders ();
  for (int round = 0; round < 300; ++round) {
    char name[16];
    const unsigned n = draw (sizeof name);

    for (unsigned i = 0; i < n; ++i)
      name[i] = "ab.-]["[draw (6)];
    name[n] = '\0';
    media_type_of_name (name);
  }
}
END_TEST

static void *
look (void *opaque)
{
  return (void *) media_type_of_name ("a.jpg");
}

START_TEST (test_threads)
{
  pthread_t threads[8];
  void *first = NULL, *type;

  for (int i = 0; i < 8; ++i)
    ck_assert_int_eq (pthread_create (&threads[i], NULL, look, NULL), 0);
  for (int i = 0; i < 8; ++i) {
    ck_assert_int_eq (pthread_join (threads[i], &type), 0);
    ck_assert_ptr_nonnull (type);
    if (first == NULL)
      first = type;
    ck_assert_ptr_eq (type, first);
  }
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("media-type");
  TCase *tc = tcase_create ("media-type");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tc, 60);
  tcase_add_test (tc, test_names);
  tcase_add_test (tc, test_no_data);
  LOOP (tc, test_common, common);
  LOOP (tc, test_matches, matches);
  tcase_add_test (tc, test_long_type);
  tcase_add_test (tc, test_classes);
  LOOP (tc, test_says_nothing, said);
  tcase_add_test (tc, test_tables_are_sorted);
  tcase_add_test (tc, test_speed);
  tcase_add_test (tc, test_anything);
  tcase_add_test (tc, test_any_data);
  tcase_add_test (tc, test_threads);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
