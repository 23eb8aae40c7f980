/* SPDX-License-Identifier: BSD-3-Clause */
/* Names: characters both ways, length, clashes, 8.3 aliases, and what is left out. */

#include <config.h>

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dir.h"
#include "format.h"
#include "names.h"
#include "shortname.h"
#include "slots.h"
#include "upcase.h"

static uint64_t seed = 20240229;

static uint64_t
draw (uint64_t below)
{
  seed = seed * 6364136223846793005 + 1442695040888963407;
  return (seed >> 33) % below;
}

/* For loops of a million: check's own assertions each write to a file. */
#define ASSERT(condition)                          \
  do {                                             \
    if (!(condition))                              \
      ck_abort_msg ("%s", #condition);             \
  } while (0)

/* --- characters --- */

#define UNITS(...) { __VA_ARGS__ }, sizeof ((uint16_t[]) { __VA_ARGS__ }) / sizeof (uint16_t)

static const struct {
  const char *cloud;
  uint16_t shown[24];
  size_t units;
  bool mapped;
} characters[] = {
  { "a.txt", UNITS ('a', '.', 't', 'x', 't'), false },
  { "a:b", UNITS ('a', 0xf03a, 'b'), true },
  { "\"*<>?\\|", UNITS (0xf022, 0xf02a, 0xf03c, 0xf03e, 0xf03f, 0xf05c, 0xf07c), true },
  { "\x01\x1f\x20\x7f", UNITS (0xf001, 0xf01f, 0x20, 0x7f), true },
  { "dot.", UNITS ('d', 'o', 't', 0xf02e), true },
  { "dots..", UNITS ('d', 'o', 't', 's', '.', 0xf02e), true },
  { "blank ", UNITS ('b', 'l', 'a', 'n', 'k', 0xf020), true },
  { " .x", UNITS (' ', '.', 'x'), false },
  { ".", UNITS (0xf02e), true },
  { "..", UNITS ('.', 0xf02e), true },
  { "\xc3\xa9", UNITS (0xe9), false },
  { "e\xcc\x81", UNITS ('e', 0x301), false },
  { "\xf0\x9f\x98\x80", UNITS (0xd83d, 0xde00), false },
  { "\xf4\x8f\xbf\xbd", UNITS (0xdbff, 0xdffd), false },
  { "x\xff", UNITS ('x', 0xefff), true },
  { "\x80\xc3", UNITS (0xef80, 0xefc3), true },
  { "\xc0\xaf", UNITS (0xefc0, 0xefaf), true },                               /* over-long "/" */
  { "\xed\xa0\x80", UNITS (0xefed, 0xefa0, 0xef80), true },                   /* a surrogate */
  { "\xf4\x90\x80\x80", UNITS (0xeff4, 0xef90, 0xef80, 0xef80), true },       /* past U+10FFFF */
  { "\xe2\x82", UNITS (0xefe2, 0xef82), true },                               /* cut short */
  { "\xef\x80\xba", UNITS (0xefef, 0xef80, 0xefba), true },                   /* U+F03A: would be ":" */
  { "\xef\x80\xaf", UNITS (0xefef, 0xef80, 0xefaf), true },                   /* U+F02F: would be "/" */
  { "\xee\xbe\x80", UNITS (0xefee, 0xefbe, 0xef80), true },                   /* U+EF80: would be a byte */
  { "\xef\x80\xae", UNITS (0xefef, 0xef80, 0xefae), true },                   /* U+F02E at the end: would be "." */
  { "\xef\x80\xae" "a", UNITS (0xf02e, 'a'), false },                         /* but not elsewhere */
  { "\xef\x81\x81", UNITS (0xf041), false },                                  /* private, but not ours */
  { "\xef\xbf\xbf", UNITS (0xefef, 0xefbf, 0xefbf), true },                   /* U+FFFF: fills up long names */
};

START_TEST (test_characters)
{
  uint16_t shown[64];
  char cloud[NAME_UNITS * 3 + 1];
  bool mapped;
  const size_t n = name_to_shown (characters[_i].cloud, strlen (characters[_i].cloud), shown, &mapped);

  ck_assert_uint_eq (n, characters[_i].units);
  ck_assert_mem_eq (shown, characters[_i].shown, n * sizeof shown[0]);
  ck_assert_int_eq (mapped, characters[_i].mapped);

  if (strcmp (characters[_i].cloud, ".") == 0 || strcmp (characters[_i].cloud, "..") == 0)
    ck_assert_int_eq (name_to_cloud (shown, n, cloud), -1);
  else {
    ck_assert_int_eq (name_to_cloud (shown, n, cloud), strlen (characters[_i].cloud));
    ck_assert_str_eq (cloud, characters[_i].cloud);
  }
}
END_TEST

/* What a guest may write that no cloud name would be shown like. */
static const struct {
  uint16_t shown[8];
  size_t units;
} refused[] = {
  { UNITS ('a', '.') },                    /* would be shown with U+F02E */
  { UNITS ('a', ' ') },
  { UNITS ('a', ':') },
  { UNITS ('a', '/', 'b') },
  { UNITS ('a', 0xf02f, 'b') },
  { UNITS ('a', 0) },
  { UNITS (0xd83d) },
  { UNITS (0xde00, 0xd83d) },
  { UNITS ('.') },
  { UNITS (0xf02e) },
  { UNITS ('.', 0xf02e) },
  { UNITS (0xefc3, 0xefa9) },              /* these bytes are valid UTF-8 after all */
  { UNITS (0xffff) },
  { UNITS (0xfffe) },
};

START_TEST (test_refused)
{
  char cloud[NAME_UNITS * 3 + 1];

  ck_assert_int_eq (name_to_cloud (refused[_i].shown, refused[_i].units, cloud), -1);
}
END_TEST

START_TEST (test_refused_lengths)
{
  uint16_t shown[NAME_UNITS + 1];
  char cloud[NAME_UNITS * 3 + 1];

  for (size_t i = 0; i <= NAME_UNITS; i++)
    shown[i] = 0x65e5;
  ck_assert_int_eq (name_to_cloud (shown, 0, cloud), -1);
  ck_assert_int_eq (name_to_cloud (shown, NAME_UNITS + 1, cloud), -1);
  ck_assert_int_eq (name_to_cloud (shown, NAME_UNITS, cloud), NAME_UNITS * 3);
}
END_TEST

/* Bytes of all kinds, but more often those that matter. */
static size_t
draw_bytes (char *to)
{
  static const char *const parts[] = {
    "a", ".", " ", ":", "\xef\x80\xba", "\xee\xbe\x80", "\xef\x80\xae", "\xef\x80\xa0", "\xf0\x9f\x98\x80", "\xc3",
    "\xa9", "\xff", "\xef", "\xbf", "\x80", "\x01", "?", "\xe6\x97\xa5",
  };
  char *const begin = to;

  for (size_t n = 1 + draw (12); n > 0; n--)
    if (draw (3) == 0)
      *to++ = 1 + draw (255);
    else
      to = stpcpy (to, parts[draw (sizeof parts / sizeof parts[0])]);
  *to = '\0';
  return to - begin;
}

START_TEST (test_round_trip_of_bytes)
{
  for (int i = 0; i < 200000; i++) {
    char cloud[64], back[NAME_UNITS * 3 + 1];
    uint16_t shown[64];
    bool mapped;
    const size_t n = draw_bytes (cloud);

    if (strchr (cloud, '/') || strcmp (cloud, ".") == 0 || strcmp (cloud, "..") == 0)
      continue;

    const size_t units = name_to_shown (cloud, n, shown, &mapped);

    ASSERT (units <= n);
    for (size_t j = 0; j < units; j++)
      ASSERT (shown[j] >= 0x20 && (shown[j] >= 0x80 || strchr ("\"*/:<>?\\|", shown[j]) == NULL));
    ASSERT (shown[units - 1] != '.' && shown[units - 1] != ' ');
    ASSERT (name_to_cloud (shown, units, back) == (ssize_t) n);
    ASSERT (strcmp (back, cloud) == 0);
  }
}
END_TEST

START_TEST (test_round_trip_of_units)
{
  int accepted = 0;

  for (int i = 0; i < 200000; i++) {
    static const uint16_t some[] = { 'a', '.', ' ', 0xf02e, 0xf03a, 0xefc3, 0xefff, 0xd83d, 0xde00, 0xe9, ':', 0xffff };
    uint16_t shown[8], again[64];
    char cloud[NAME_UNITS * 3 + 1];
    bool mapped;
    const size_t units = 1 + draw (8);

    for (size_t j = 0; j < units; j++)
      shown[j] = draw (2) ? draw (65536) : some[draw (sizeof some / sizeof some[0])];

    const ssize_t n = name_to_cloud (shown, units, cloud);

    if (n == -1)
      continue;
    accepted++;
    ASSERT (strlen (cloud) == (size_t) n);
    ASSERT (strchr (cloud, '/') == NULL);
    ASSERT (name_to_shown (cloud, n, again, &mapped) == (size_t) units);
    ASSERT (memcmp (again, shown, units * sizeof shown[0]) == 0);
  }
  ck_assert_int_gt (accepted, 10000);
}
END_TEST

/* --- length --- */

static const struct {
  const char *part;          /* repeated */
  size_t times;
  const char *end;
  size_t units;              /* after shortening */
  const char *kept;          /* ASCII that it must end with */
} lengths[] = {
  { "a", 255, "", 255, "aaaa" },
  { "a", 251, ".txt", 255, "a.txt" },
  { "a", 252, ".txt", 255, ".txt" },
  { "a", 1000, ".1234567890123456", 255, ".1234567890123456" },
  { "a", 1000, ".12345678901234567", 255, NULL },
  { "a.", 500, "", 255, NULL },
  { "\xf0\x9f\x98\x80", 128, "", 255, NULL },
  { "a\xf0\x9f\x98\x80", 100, ".txt", 254, ".txt" },      /* the cut would fall into a pair */
  { "\xf0\x9f\x98\x80", 127, "x", 255, "x" },
  { "\xff", 300, ".jpg", 255, ".jpg" },
};

START_TEST (test_lengths)
{
  char cloud[2048] = "";
  uint16_t shown[2048];
  bool mapped;

  for (size_t i = 0; i < lengths[_i].times; i++)
    strcat (cloud, lengths[_i].part);
  strcat (cloud, lengths[_i].end);

  const size_t n = strlen (cloud);
  const size_t units = name_shorten (shown, name_to_shown (cloud, n, shown, &mapped), cloud, n);

  ck_assert_uint_eq (units, lengths[_i].units);
  for (size_t i = 0; i < units; i++)
    if (shown[i] >> 10 == 0xd800 >> 10)
      ck_assert (i + 1 < units && shown[i + 1] >> 10 == 0xdc00 >> 10);
  if (lengths[_i].kept) {
    const size_t kept = strlen (lengths[_i].kept);

    for (size_t i = 0; i < kept; i++)
      ck_assert_uint_eq (shown[units - kept + i], (uint8_t) lengths[_i].kept[i]);
  }
}
END_TEST

/* --- sameness --- */

static uint64_t
key_of (const char *name)
{
  uint16_t shown[512];
  bool mapped;

  return name_key (shown, name_to_shown (name, strlen (name), shown, &mapped));
}

static const struct {
  const char *a, *b;
  bool same;
} keys[] = {
  { "readme", "README", true },
  { "readme", "readme2", false },
  { "\xc3\xa9", "\xc3\x89", true },
  { "\xc3\xa9", "e\xcc\x81", true },
  { "E\xcc\x81", "\xc3\xa9", true },
  { "\xc3\xa9", "e", false },
  { "stra\xc3\x9f\x65", "STRASSE", true },
  { "\xce\xa3", "\xcf\x82", true },                    /* Sigma, final sigma */
  { "\xe2\x84\xaa", "k", true },                       /* Kelvin sign */
  { "a:", "a", false },
  { "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8", true },    /* Deseret, beyond 16 bits */
  { "\xff", "\xfe", false },
};

START_TEST (test_keys)
{
  ck_assert_int_eq (key_of (keys[_i].a) == key_of (keys[_i].b), keys[_i].same);
}
END_TEST

/* The key must never tell apart what exFAT holds for the same. */
START_TEST (test_keys_follow_upcase)
{
  const uint16_t *const upcase = upcase_table ();

  for (unsigned i = 1; i < 65536; i++) {
    const uint16_t a[] = { 'x', i, 'y' }, b[] = { 'X', upcase[i], 'Y' };

    ASSERT (name_key (a, 3) == name_key (b, 3));
  }
}
END_TEST

/* --- directories --- */

static const struct timespec no_time;

static struct dir *
make_dir (const struct format *format, const char *const *names, size_t n, bool backwards)
{
  struct dir *dir = dir_new (format, true);

  ck_assert_ptr_nonnull (dir);
  for (size_t i = 0; i < n; i++)
    ck_assert_int_eq (dir_add (dir, names[backwards ? n - 1 - i : i], false, 1, &no_time, 0), 0);
  ck_assert_int_eq (dir_map_names (dir), 0);
  return dir;
}

static void
ascii_of (const struct dir_entry *e, char *to)
{
  for (unsigned i = 0; i < e->shown_units; i++)
    *to++ = e->shown[i] < 0x80 ? e->shown[i] : '_';
  *to = '\0';
}

static const struct {
  const char *names[6];      /* in byte order */
  const char *shown[6];      /* "_" for what is not ASCII */
} clashes[] = {
  { { "A.TXT", "a.txt" }, { "A.TXT", "a (2).txt" } },
  { { "A.TXT", "A.Txt", "a.txt" }, { "A.TXT", "A (2).Txt", "a (3).txt" } },
  { { "A.TXT", "a (2).txt", "a.txt" }, { "A.TXT", "a (2).txt", "a (3).txt" } },
  { { "A.TXT", "A (2).TXT", "a (2).txt", "a.txt" }, { NULL } },
  { { "NAME", "name" }, { "NAME", "name (2)" } },
  { { ".Profile", ".profile" }, { ".Profile", ".profile (2)" } },
  { { "X.A.B", "x.a.b" }, { "X.A.B", "x.a (2).b" } },
  { { "X.a long extension indeed", "x.a long extension indeed" },
    { "X.a long extension indeed", "x.a long extension indeed (2)" } },
  { { "e\xcc\x81", "\xc3\xa9" }, { "e_", "_ (2)" } },
  { { "a:", "a" }, { "a", "a_" } },
};

START_TEST (test_clashes)
{
  const struct format *const formats[] = { &format_fat32, &format_exfat };
  size_t n = 0;

  while (n < 6 && clashes[_i].names[n])
    n++;
  for (int backwards = 0; backwards <= 1; backwards++)
    for (int f = 0; f < 2; f++) {
      struct dir *dir = make_dir (formats[f], clashes[_i].names, n, backwards);

      ck_assert_uint_eq (dir_count (dir), n);
      for (size_t i = 0; i < n; i++) {
        char shown[NAME_UNITS + 1];

        ascii_of (dir_get (dir, i), shown);
        ck_assert_ptr_null (dir_get (dir, i)->left_out);
        if (clashes[_i].shown[0])
          ck_assert_str_eq (shown, clashes[_i].shown[i]);
        for (size_t j = 0; j < i; j++)
          ck_assert (name_key (dir_get (dir, i)->shown, dir_get (dir, i)->shown_units) !=
                     name_key (dir_get (dir, j)->shown, dir_get (dir, j)->shown_units));
      }
      dir_free (dir);
    }
}
END_TEST

START_TEST (test_folders_have_no_extension)
{
  struct dir *dir = dir_new (&format_exfat, false);
  char shown[NAME_UNITS + 1];

  dir_add (dir, "V1.2", true, 0, &no_time, 1);
  dir_add (dir, "v1.2", true, 0, &no_time, 2);
  ck_assert_int_eq (dir_map_names (dir), 0);
  ascii_of (dir_get (dir, 1), shown);
  ck_assert_str_eq (shown, "v1.2 (2)");
  ck_assert (dir_get (dir, 1)->mapped && !dir_get (dir, 0)->mapped);
  dir_free (dir);
}
END_TEST

static const struct {
  const char *name;
  const char *alias;
  bool needs_lfn;
} aliases[] = {
  { "README.TXT", "README  TXT", false },
  { "MAKEFILE", "MAKEFILE   ", false },
  { "A", "A          ", false },
  { "#!$&'()-.@^_", "#!$&'()-@^_", false },
  { "readme.txt", "README  TXT", true },
  { "LONGNAME1.TXT", "LONGNA~1TXT", true },
  { "A B.TXT", "AB~1    TXT", true },
  { "A.TEXT", "A~1     TEX", true },
  { "a.b.c", "AB~1    C  ", true },
  { ".bashrc", "BASHRC~1   ", true },
  { "x+y.c", "X_Y~1   C  ", true },
  { "gr\xc3\xbcn.txt", "GR_N~1  TXT", true },
  { "\xe5\xe5", "__~1       ", true },
  { "\xf0\x9f\x98\x80.png", "_~1     PNG", true },
  { "dot.", "DOT_~1     ", true },
  { " . ", "_~1     _  ", true },
  { "a:b", "A_B~1      ", true },
};

START_TEST (test_aliases)
{
  struct dir *dir = make_dir (&format_fat32, &aliases[_i].name, 1, false);
  const struct dir_entry *e = dir_get (dir, 0);
  char alias[12] = "";

  memcpy (alias, e->alias, 11);
  ck_assert_str_eq (alias, aliases[_i].alias);
  ck_assert_int_eq (e->needs_lfn, aliases[_i].needs_lfn);
  dir_free (dir);
}
END_TEST

static int
compare_keys (const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return (x > y) - (x < y);
}

/* No guest may find two items under one name, whether long or short. */
static void
assert_all_names_differ (const struct dir *dir)
{
  const size_t n = dir_count (dir);
  uint64_t *all = calloc (2 * n + 1, sizeof *all);
  size_t m = 0;

  for (size_t i = 0; i < n; i++) {
    const struct dir_entry *e = dir_get (dir, i);
    uint16_t text[SHORTNAME_TEXT_UNITS];

    if (e->left_out)
      continue;
    ASSERT (e->shown_units >= 1 && e->shown_units <= NAME_UNITS);
    all[m++] = name_key (e->shown, e->shown_units);
    for (size_t j = 0; j < 11; j++)
      ASSERT (e->alias[j] >= 0x20 && e->alias[j] < 0x7f && !(e->alias[j] >= 'a' && e->alias[j] <= 'z'));
    ASSERT (e->alias[0] != ' ');

    const uint64_t alias = name_key (text, shortname_text (e->alias, text));

    /* An alias may be the item's own name in upper case. */
    if (alias != all[m - 1])
      all[m++] = alias;
  }

  qsort (all, m, sizeof *all, compare_keys);
  for (size_t i = 1; i < m; i++)
    ASSERT (all[i - 1] != all[i]);
  free (all);
}

START_TEST (test_aliases_avoid_names)
{
  static const char *const names[] = {
    "LONGNA~1.TXT", "LongName one.txt", "LongName two.txt", "longna~3.txt", "longname 4.txt", "longname 5.txt",
    "longname 6.txt", "readme.txt", "README~1.TXT", "ReadMe!.text",
  };

  for (int backwards = 0; backwards <= 1; backwards++) {
    struct dir *dir = make_dir (&format_fat32, names, sizeof names / sizeof names[0], backwards);

    assert_all_names_differ (dir);
    dir_free (dir);
  }
}
END_TEST

START_TEST (test_random_directories)
{
  for (int round = 0; round < 300; round++) {
    struct dir *a = dir_new (&format_fat32, false), *b = dir_new (&format_fat32, false);
    char names[60][64];
    const size_t n = 1 + draw (60);

    for (size_t i = 0; i < n; i++) {
      bool again;

      do {
        static const char *const letters[] = {
          "a", "A", "b", "~1", ".", " ", "\xc3\xa9", "e\xcc\x81", "\xc3\x89", " (2)",
        };

        if (draw (4) == 0)
          draw_bytes (names[i]);
        else {
          names[i][0] = '\0';
          for (size_t k = 1 + draw (6); k > 0; k--)
            strcat (names[i], letters[draw (10)]);
        }
        again = strchr (names[i], '/') != NULL;
        for (size_t j = 0; j < i && !again; j++)
          again = strcmp (names[i], names[j]) == 0;
      } while (again);
    }
    for (size_t i = 0; i < n; i++) {
      dir_add (a, names[i], false, 1, &no_time, 0);
      dir_add (b, names[n - 1 - i], false, 1, &no_time, 0);
    }
    ck_assert_int_eq (dir_map_names (a), 0);
    ck_assert_int_eq (dir_map_names (b), 0);

    assert_all_names_differ (a);
    for (size_t i = 0; i < n; i++) {
      const struct dir_entry *x = dir_get (a, i), *y = dir_get (b, i);

      ck_assert_str_eq (x->name, y->name);
      ck_assert_uint_eq (x->shown_units, y->shown_units);
      ck_assert_mem_eq (x->shown, y->shown, x->shown_units * sizeof x->shown[0]);
      ck_assert_mem_eq (x->alias, y->alias, 11);
    }
    dir_free (a);
    dir_free (b);
  }
}
END_TEST

/* --- what is left out --- */

START_TEST (test_left_out)
{
  struct dir *dir = dir_new (&format_fat32, true);

  dir_add (dir, "fits", false, UINT32_MAX, &no_time, 0);
  dir_add (dir, "too large", false, (uint64_t) UINT32_MAX + 1, &no_time, 0);
  dir_add (dir, "", false, 1, &no_time, 0);
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert_ptr_nonnull (dir_get (dir, 0)->left_out);
  ck_assert_ptr_null (dir_get (dir, 1)->left_out);
  ck_assert_ptr_nonnull (dir_get (dir, 2)->left_out);
  /* The label, one file with two entries. */
  ck_assert_uint_eq (format_fat32.dir_bytes (dir), 3 * 32);
  dir_free (dir);

  dir = dir_new (&format_exfat, false);
  dir_add (dir, "too large", false, UINT64_MAX, &no_time, 0);
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert_ptr_nonnull (dir_get (dir, 0)->left_out);
  ck_assert_uint_eq (format_exfat.dir_bytes (dir), 32);
  dir_free (dir);

  dir = dir_new (&format_exfat, false);
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert_uint_eq (dir_count (dir), 0);
  dir_free (dir);
}
END_TEST

START_TEST (test_room)
{
  struct dir *dir = dir_new (&format_fat32, true);

  /* Each needs one entry: the label and four of them fit. */
  dir_add (dir, "A", false, 1, &no_time, 0);
  dir_add (dir, "B", true, 0, &no_time, 0);
  dir_add (dir, "C", false, 1, &no_time, 0);
  dir_add (dir, "D", true, 0, &no_time, 0);
  dir_add (dir, "E", false, 1, &no_time, 0);
  dir_add (dir, "F", true, 0, &no_time, 0);
  dir_set_room (dir, 5 * 32);
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert_uint_eq (format_fat32.dir_bytes (dir), 5 * 32);
  for (size_t i = 0; i < 6; i++)
    ck_assert_int_eq (dir_get (dir, i)->left_out != NULL, i == 2 || i == 4);
  dir_free (dir);
}
END_TEST

/* --- slots --- */

static double
cpu_seconds (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &ts);
  return ts.tv_sec + ts.tv_nsec / 1e9;
}

struct seen {
  int64_t item;
  uint32_t offset, bytes;
};

/* Where everything stands, checked: shown entries and holes, one after the other from the head to the end. */
static size_t
look_at_slots (const struct slots *slots, const struct dir *dir, struct seen *ret)
{
  uint64_t end = slots->head;
  size_t shown = 0, n = 0;

  for (size_t i = 0; i < slots->n; i++) {
    ck_assert_uint_eq (slots->list[i].offset, end);
    ck_assert_uint_gt (slots->list[i].bytes, 0);
    end += slots->list[i].bytes;
    n += slots->list[i].item > 0;
  }
  ck_assert_uint_eq (slots->end, end);
  for (size_t i = 0; i < dir_count (dir); i++) {
    const struct dir_entry *e = dir_get (dir, i);
    size_t at = 0;

    if (e->left_out)
      continue;
    while (at < slots->n && slots->list[at].item != e->cookie)
      at++;
    ck_assert_uint_lt (at, slots->n);
    ck_assert_uint_eq (slots->list[at].offset, e->offset);
    ck_assert_uint_eq (slots->list[at].bytes, dir_entry_bytes (dir, i));
    ret[shown++] = (struct seen) { e->cookie, e->offset, slots->list[at].bytes };
  }
  ck_assert_uint_eq (shown, n);
  return shown;
}

#define SLOT_ITEMS 60
#define SLOT_ROUNDS 60

/* Items come, go and are renamed; no view that holds an older generation finds another item where one stood. */
START_TEST (test_slots)
{
  const struct format *format = _i % 2 ? &format_exfat : &format_fat32;
  static struct seen seen[SLOT_ROUNDS + 1][SLOT_ITEMS];
  size_t n_seen[SLOT_ROUNDS + 1] = { 0 };
  char names[SLOT_ITEMS][64] = { "" };
  int64_t ids[SLOT_ITEMS] = { 0 }, next_id = 1, oldest = 0;
  uint8_t buf[SLOT_ITEMS * SLOT_ROUNDS * 32];
  struct slots *slots = NULL;
  struct geometry g = { .root_first = 2, .label = "CLOUD" };

  for (int64_t generation = 1; generation <= SLOT_ROUNDS; generation++) {
    struct dir *dir = dir_new (format, _i / 2);
    struct slots *old = slots;

    for (int k = 0; k < 8; k++) {
      const size_t i = draw (SLOT_ITEMS);

      if (ids[i] == 0 || draw (3) == 0) {
        ids[i] = ids[i] && draw (2) ? 0 : next_id++;
        sprintf (names[i], "%.*s %zu", (int) draw (45) + 1, "a name with as many characters as are wanted here", i);
      }
      else if (draw (2))
        sprintf (names[i], "%.*s %zu", (int) draw (45) + 1, "renamed to a name that is shorter or longer than it", i);
    }
    for (size_t i = 0; i < SLOT_ITEMS; i++)
      if (ids[i])
        ck_assert_int_eq (dir_add (dir, names[i], false, 1, &no_time, ids[i]), 0);
    ck_assert_int_eq (dir_map_names (dir), 0);

    /* Views come and go. */
    oldest = draw (4) == 0 ? (int64_t) (oldest + draw (generation - oldest)) : oldest;
    if (old == NULL)
      slots = slots_of (dir);
    else {
      size_t n;
      void *list = slots_save (old, &n);

      slots_free (old);
      old = slots_load (list, n, dir_head_bytes (dir));
      free (list);
      slots = slots_keep (old, dir, generation, oldest, false);
      slots_free (old);
      if (draw (4) == 0 && dir_count (dir) > 0)
        dir_leave_out (dir, draw (dir_count (dir)), "no room");
      ck_assert_int_eq (slots_put (slots, dir, generation), 0);
    }
    n_seen[generation] = look_at_slots (slots, dir, seen[generation]);
    for (int64_t held = oldest > 0 ? oldest : 1; held < generation; held++)
      for (size_t a = 0; a < n_seen[held]; a++)
        for (size_t b = 0; b < n_seen[generation]; b++)
          ASSERT (seen[held][a].item == seen[generation][b].item ||
                  seen[held][a].offset + seen[held][a].bytes <= seen[generation][b].offset ||
                  seen[generation][b].offset + seen[generation][b].bytes <= seen[held][a].offset);
    /* Who keeps its size keeps its place. */
    for (size_t a = 0; a < n_seen[generation - 1]; a++)
      for (size_t b = 0; b < n_seen[generation]; b++)
        ASSERT (seen[generation - 1][a].item != seen[generation][b].item ||
                seen[generation - 1][a].bytes != seen[generation][b].bytes ||
                seen[generation - 1][a].offset == seen[generation][b].offset);

    /* No zero before the end. */
    ck_assert_uint_le (format->dir_bytes (dir), sizeof buf);
    memset (buf, 0x5a, sizeof buf);
    format->dir_render (&g, dir, 100, 2, buf);
    for (uint64_t at = 0; at < dir_end (dir); at += 32)
      ASSERT (buf[at] != 0 && buf[at] != 0x5a);
    for (size_t i = 0; i < slots->n; i++)
      for (uint32_t at = 0; at < slots->list[i].bytes; at += 32)
        if (slots->list[i].item <= 0)
          ASSERT (buf[slots->list[i].offset + at] == (format == &format_fat32 ? 0xe5 : 0x05));
    dir_free (dir);
  }
  /* Nobody looks any more: what is left over is filled again, and does not grow for ever. */
  ck_assert_uint_lt (slots->end, sizeof buf);
  slots_free (slots);
}
END_TEST

START_TEST (test_slots_that_are_none)
{
  static const uint8_t odd[12] = { 1, 0, 0, 0, 0, 0, 0, 0, 33, 0, 0, 0 }, empty[12] = { 1 };

  ck_assert_ptr_null (slots_load (odd, 12, 0));
  ck_assert_ptr_null (slots_load (odd, 11, 0));
  ck_assert_ptr_null (slots_load (empty, 12, 0));
}
END_TEST

/* A folder of very many items, of which every second one goes and as many come. */
START_TEST (test_slots_of_a_crowd)
{
  struct dir *dir = dir_new (&format_exfat, false), *after = dir_new (&format_exfat, false);
  struct slots *slots, *next;
  double before;

  for (unsigned i = 0; i < 100000; i++) {
    char name[64];

    sprintf (name, "photo of the day %u.jpg", i);
    ASSERT (dir_add (dir, name, false, 1, &no_time, i + 1) == 0);
    if (i % 2)
      sprintf (name, "a photo that is %.*s new %u.jpg", (int) (i % 17), "very very very very very", i);
    ASSERT (dir_add (after, name, false, 1, &no_time, i % 2 ? i + 200000 : i + 1) == 0);
  }
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert_int_eq (dir_map_names (after), 0);
  before = cpu_seconds ();
  slots = slots_of (dir);
  next = slots_keep (slots, after, 2, 2, false);
  ck_assert_int_eq (slots_put (next, after, 2), 0);
  ck_assert (cpu_seconds () - before < 20);
  slots_free (slots);
  slots_free (next);
  dir_free (dir);
  dir_free (after);
}
END_TEST

/* Names that are alike in every way that costs: keys, aliases, numbers. */
static const struct {
  const char *what, *pattern;
  unsigned n;
  uint64_t most_seconds;
} crowds[] = {
  { "exfat", "photo of the day %u.jpg", 100000, 1 },
  { "exfat", "\xc3\xa9t\xc3\xa9 %u \xf0\x9f\x98\x80.jpg", 100000, 2 },
  { "fat32", "photo of the day %u.jpg", 100000, 1 },
  { "fat32", "P%u", 70000, 1 },
};

START_TEST (test_crowds)
{
  const struct format *format = format_by_name (crowds[_i].what);
  struct dir *dir = dir_new (format, false);
  size_t left_out = 0;

  for (unsigned i = 0; i < crowds[_i].n; i++) {
    char name[128];

    sprintf (name, crowds[_i].pattern, i);
    ASSERT (dir_add (dir, name, false, 1, &no_time, i) == 0);
  }

  const double before = cpu_seconds ();

  ck_assert_int_eq (dir_map_names (dir), 0);

  const double took = cpu_seconds () - before;

  printf ("%s, %u names like \"%s\": %.0f ms\n", crowds[_i].what, crowds[_i].n, crowds[_i].pattern, took * 1000);
  /* Many times what it takes, so that valgrind passes; what is quadratic here takes minutes. */
  ck_assert (took < crowds[_i].most_seconds * 20);
  ck_assert_uint_le (format->dir_bytes (dir), format->max_dir);
  for (size_t i = 0; i < dir_count (dir); i++)
    left_out += dir_get (dir, i)->left_out != NULL;
  ck_assert_int_eq (left_out > 0, format == &format_fat32);
  if (format == &format_fat32)
    assert_all_names_differ (dir);
  dir_free (dir);
}
END_TEST

/* 65,536 ways to write one name. */
START_TEST (test_one_name_in_all_cases)
{
  struct dir *dir = dir_new (&format_exfat, false);
  const double before = cpu_seconds ();

  for (unsigned i = 0; i < 65536; i++) {
    char name[] = "abcdefghijklmnop.txt";

    for (int bit = 0; bit < 16; bit++)
      if (i >> bit & 1)
        name[bit] -= 0x20;
    dir_add (dir, name, false, 1, &no_time, i);
  }
  ck_assert_int_eq (dir_map_names (dir), 0);
  ck_assert (cpu_seconds () - before < 20);

  char shown[NAME_UNITS + 1];

  ascii_of (dir_get (dir, 65535), shown);
  ck_assert_str_eq (shown, "abcdefghijklmnop (65536).txt");
  dir_free (dir);
}
END_TEST

START_TEST (test_upcase_table)
{
  uint8_t table[UPCASE_BYTES + 100], piece[UPCASE_BYTES];
  uint32_t sum = 0;

  upcase_read (table, sizeof table, 0);
  for (size_t i = 0; i < UPCASE_BYTES; i++)
    sum = (sum >> 1 | sum << 31) + table[i];
  ck_assert_uint_eq (sum, UPCASE_CHECKSUM);
  for (size_t i = UPCASE_BYTES; i < sizeof table; i++)
    ck_assert_uint_eq (table[i], 0);

  for (int i = 0; i < 1000; i++) {
    const size_t offset = draw (UPCASE_BYTES), n = draw (100);

    upcase_read (piece, n, offset);
    ck_assert (memcmp (piece, table + offset, n) == 0);
  }

  ck_assert_uint_eq (upcase_table ()['a'], 'A');
  ck_assert_uint_eq (upcase_table ()[0xe9], 0xc9);
  ck_assert_uint_eq (upcase_table ()[0xdf], 0xdf);
  ck_assert_uint_eq (upcase_table ()[0xd83d], 0xd83d);
  ck_assert_uint_eq (upcase_table ()[0xffff], 0xffff);
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("names");
  TCase *tc = tcase_create ("names");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tc, 120);
  LOOP (tc, test_characters, characters);
  LOOP (tc, test_refused, refused);
  tcase_add_test (tc, test_refused_lengths);
  tcase_add_test (tc, test_round_trip_of_bytes);
  tcase_add_test (tc, test_round_trip_of_units);
  LOOP (tc, test_lengths, lengths);
  LOOP (tc, test_keys, keys);
  tcase_add_test (tc, test_keys_follow_upcase);
  LOOP (tc, test_clashes, clashes);
  tcase_add_test (tc, test_folders_have_no_extension);
  LOOP (tc, test_aliases, aliases);
  tcase_add_test (tc, test_aliases_avoid_names);
  tcase_add_test (tc, test_random_directories);
  tcase_add_test (tc, test_left_out);
  tcase_add_test (tc, test_room);
  LOOP (tc, test_crowds, crowds);
  tcase_add_loop_test (tc, test_slots, 0, 4);
  tcase_add_test (tc, test_slots_that_are_none);
  tcase_add_test (tc, test_slots_of_a_crowd);
  tcase_add_test (tc, test_one_name_in_all_cases);
  tcase_add_test (tc, test_upcase_table);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
