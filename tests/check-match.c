/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of plugin/match.c and plugin/ready.c: what became of entries, and what is to be believed when. */

#include <config.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "match.h"
#include "ready.h"

/* An entry as a string: FOLDER NAME CLUSTER, "/" after the name of a folder, "!" before junk, "?" before a stranger; NAME is one letter. */
static struct match_entry
entry (const char *text)
{
  static uint16_t letters[128];
  struct match_entry e = { 0 };

  e.junk = *text == '!';
  e.stranger = *text == '?';
  text += e.junk || e.stranger;
  e.folder = text[0] - '0';
  letters[(unsigned char) text[1]] = text[1];
  e.name = &letters[(unsigned char) text[1]];
  e.units = 1;
  e.is_folder = text[2] == '/';
  e.first = atoi (text + 2 + e.is_folder);
  return e;
}

static size_t
entries (const char *text, struct match_entry *ret)
{
  char copy[256], *rest = copy, *word;
  size_t n = 0;

  strcpy (copy, text);
  while ((word = strsep (&rest, " ")) != NULL)
    if (*word)
      ret[n++] = entry (word);
  return n;
}

static const struct {
  const char *name, *known, *now;
  const char *whats;       /* a letter for each of now: New Same Changed Replaced Moved X crossed */
  const char *fates;       /* a letter for each known: Vanished Stays Moved Consumed Trashed */
} matches[] = {
  { "nothing changed", "1a10 1b11", "1b11 1a10", "SS", "SS" },
  { "a new file", "1a10", "1a10 1b20", "SN", "S" },
  { "an empty new file", "1a10", "1a10 1b0", "SN", "S" },
  { "renamed", "1a10", "1b10", "M", "M" },
  { "moved to another folder", "1a10 2b11", "2a10 2b11", "MS", "MS" },
  { "gone", "1a10 1b11", "1b11", "S", "VS" },
  { "both names for a moment", "1a10", "1a10 1b10", "XX", "S" },
  { "neither name for a moment", "1a10", "", "", "V" },
  { "old name gone, new name still empty", "1a10", "1b0", "N", "V" },
  { "content in other clusters", "1a10", "1a20", "C", "S" },
  { "emptied", "1a10", "1a0", "C", "S" },
  { "filled", "1a0", "1a10", "C", "S" },
  { "save by rename", "1d10 1t20", "1d20", "R", "SC" },
  { "save by rename onto an empty file", "1d0 1t20", "1d20", "R", "SC" },
  { "a file that was never seen is saved over another", "1d10", "1d20", "C", "S" },
  { "backup kept: old content moved, a new file in its place", "1d10", "1b10 1d20", "MN", "M" },
  { "backup kept as junk", "1d10", "!1b10 1d20", "NC", "S" },
  { "two names swapped", "1a10 1b20", "1a20 1b10", "MM", "MM" },
  { "three names in a circle", "1a10 1b20 1c30", "1a30 1b10 1c20", "MMM", "MMM" },
  { "moved to the waste-basket", "1a10", "!2a10", "N", "T" },
  { "in a folder that was moved there", "1a10", "!1a10", "S", "T" },
  { "taken back from the waste-basket", "", "1a10", "N", "" },
  { "a folder moved", "1d/10 2x20", "3d/10 2x20", "MS", "MS" },
  { "a folder in the place of a file", "1a10", "1a/20", "N", "V" },
  { "a file in the place of a folder", "1a/10", "1a20", "N", "V" },
  { "a file in the clusters of a folder that is gone", "1a/10", "1b10", "N", "V" },
  { "a folder moved onto an empty one", "1d/10 1e/20", "1e/10", "M", "MV" },
  { "moved, and another took its name", "1a10 1b20", "2a10 1a20", "MM", "MM" },
  { "a stranger in another's first cluster", "1a10", "?1b10", "N", "V" },
  { "a stranger in another's first cluster and the place of a third", "1a10 1b20", "?1b10", "C", "VS" },
  { "its content changed, its first cluster is a stranger's", "1a10", "1a20 ?1b10", "CN", "S" },
  { "same name in two folders", "1a10 2a20", "1a20 2a10", "MM", "MM" },
};

START_TEST (what_became_of_entries)
{
  struct match_entry known[16], now[16];
  const size_t n_known = entries (matches[_i].known, known), n_now = entries (matches[_i].now, now);

  ck_assert_uint_eq (n_known, strlen (matches[_i].fates));
  ck_assert_uint_eq (n_now, strlen (matches[_i].whats));
  ck_assert_int_eq (match_entries (known, n_known, now, n_now), 0);
  for (size_t i = 0; i < n_now; ++i)
    ck_assert_msg (matches[_i].whats[i] == "NSCRMX"[now[i].what], "%s: entry %zu is %c", matches[_i].name, i,
                   "NSCRMX"[now[i].what]);
  for (size_t i = 0; i < n_known; ++i)
    ck_assert_msg (matches[_i].fates[i] == "VSMCT"[known[i].fate], "%s: known entry %zu is %c", matches[_i].name, i,
                   "VSMCT"[known[i].fate]);
  for (size_t i = 0; i < n_now; ++i) {
    if (now[i].what == WHAT_SAME || now[i].what == WHAT_MOVED)
      ck_assert_uint_eq (known[now[i].other].first, now[i].first);
    if (now[i].what == WHAT_REPLACED)
      ck_assert_uint_eq (known[now[i].from].first, now[i].first);
  }
}
END_TEST

#define SETTLE 2000

static const struct {
  const char *name;
  struct ready_evidence evidence;
  bool ready;
  bool unwritten, absent;      /* in place of evidence's written and present */
} judgements[] = {
#define E(c, ...) { .claim = (c), .settle_ms = SETTLE, ##__VA_ARGS__ }
  { "a new file, just seen", E (CLAIM_CONTENT), false },
  { "a new file, quiet", E (CLAIM_CONTENT, .stable_ms = SETTLE), true },
  { "a new file, committed", E (CLAIM_CONTENT, .committed = true), true },
  { "a chain that is still short", E (CLAIM_CONTENT, .chain = CHAIN_SHORT, .stable_ms = SETTLE), false },
  { "a chain into free clusters", E (CLAIM_CONTENT, .chain = CHAIN_FREE, .committed = true), false },
  { "a broken chain", E (CLAIM_CONTENT, .chain = CHAIN_BROKEN, .committed = true), false },
  { "the size is still to come", E (CLAIM_CONTENT, .chain = CHAIN_LONG, .stable_ms = 35000, .quiet_ms = 35000), false },
  { "the size is to stay so", E (CLAIM_CONTENT, .chain = CHAIN_LONG, .committed = true), true },
  { "its bytes are still to come", E (CLAIM_CONTENT, .stable_ms = SETTLE), false, true, true },
  { "its bytes may be another's", E (CLAIM_CONTENT, .stable_ms = SETTLE), false, true },
  { "its bytes may be another's, for long", E (CLAIM_CONTENT, .stable_ms = 40000, .quiet_ms = 40000), true, true },
  { "never written, for long", E (CLAIM_CONTENT, .stable_ms = 40000, .quiet_ms = 40000), true, true, true },
  { "never written, for long, its guest is gone", E (CLAIM_CONTENT, .stable_ms = 400000), false, true, true },
  { "never written, committed", E (CLAIM_CONTENT, .committed = true), true, true, true },
  { "not all of it is valid yet", E (CLAIM_CONTENT, .partial = true, .stable_ms = SETTLE), false },
  { "not all of it is valid, for long", E (CLAIM_CONTENT, .partial = true, .stable_ms = 40000, .quiet_ms = 40000), true },
  { "not all of it is to be valid", E (CLAIM_CONTENT, .partial = true, .committed = true), true },
  { "an empty file", E (CLAIM_EMPTY, .stable_ms = 39000, .quiet_ms = 39000), false },
  { "an empty file, for long", E (CLAIM_EMPTY, .stable_ms = 40000, .quiet_ms = 40000), true },
  { "an empty file, for long, its guest is gone", E (CLAIM_EMPTY, .stable_ms = 90000), false },
  { "an empty file, committed", E (CLAIM_EMPTY, .committed = true), true },
  { "shorter", E (CLAIM_SHORTER, .stable_ms = SETTLE), false },
  { "shorter, committed", E (CLAIM_SHORTER, .committed = true), true },
  { "shorter, but its chain is not", E (CLAIM_SHORTER, .chain = CHAIN_SHORT, .committed = true), false },
  { "emptied, for long, but bytes without a name came", E (CLAIM_SHORTER, .orphans = true, .stable_ms = 40000, .quiet_ms = 40000), false },
  { "the same, committed", E (CLAIM_SHORTER, .orphans = true, .committed = true), true },
  { "an empty file, for long, but bytes without a name came", E (CLAIM_EMPTY, .orphans = true, .stable_ms = 40000, .quiet_ms = 40000), false },
  { "written in place, and its time says so", E (CLAIM_IN_PLACE, .stable_ms = SETTLE), true },
  { "written in place, and its time does not say so", E (CLAIM_SILENT, .stable_ms = 39000), false },
  { "the same, for long", E (CLAIM_SILENT, .stable_ms = 40000, .quiet_ms = 40000), true },
  { "the same, and its guest is gone", E (CLAIM_SILENT, .stable_ms = 400000), false },
  { "moved, just seen", E (CLAIM_MOVED), false },
  { "moved", E (CLAIM_MOVED, .stable_ms = SETTLE), true },
  { "moved into a folder that is half written", E (CLAIM_MOVED, .torn = true, .stable_ms = SETTLE), false },
  { "a new name that may be half of one", E (CLAIM_CONTENT, .bare = true, .stable_ms = SETTLE), false },
  { "a new name that may be half of one, for long", E (CLAIM_CONTENT, .bare = true, .stable_ms = 40000, .quiet_ms = 40000), true },
  { "a new name that is half of one", E (CLAIM_CONTENT, .bare = true, .torn = true, .stable_ms = 40000, .quiet_ms = 40000), false },
  { "a new name that stays half of one", E (CLAIM_CONTENT, .bare = true, .torn = true, .committed = true), true },
  { "moved to what may be half of a name", E (CLAIM_MOVED, .bare = true, .stable_ms = SETTLE), false },
  { "moved to what is all of a name", E (CLAIM_MOVED, .bare = true, .committed = true), true },
  { "another time", E (CLAIM_TIME, .stable_ms = SETTLE), false },
  { "another time, committed", E (CLAIM_TIME, .committed = true), true },
  { "gone", E (CLAIM_GONE, .released = true, .stable_ms = 30000, .quiet_ms = 30000), false },
  { "gone for long", E (CLAIM_GONE, .released = true, .stable_ms = 40000, .quiet_ms = 40000), true },
  { "gone, but others write", E (CLAIM_GONE, .released = true, .stable_ms = 40000, .quiet_ms = 5000), false },
  { "gone, and so is the guest", E (CLAIM_GONE, .released = true, .stable_ms = 400000), false },
  { "gone, committed", E (CLAIM_GONE, .released = true, .committed = true), true },
  { "gone, but its clusters are taken still", E (CLAIM_GONE, .committed = true), false },
  { "gone from a folder that is half written", E (CLAIM_GONE, .released = true, .torn = true, .stable_ms = 40000, .quiet_ms = 40000), false },
  { "gone from a folder that is broken", E (CLAIM_GONE, .released = true, .torn = true, .committed = true), true },
  { "a folder", E (CLAIM_FOLDER, .stable_ms = SETTLE), true },
  { "a folder whose own bytes are to come", E (CLAIM_FOLDER, .stable_ms = SETTLE), false, true, true },
#undef E
};

START_TEST (what_is_believed)
{
  struct ready_evidence evidence = judgements[_i].evidence;

  evidence.written = !judgements[_i].unwritten;
  evidence.present = !judgements[_i].absent;
  ck_assert_msg (ready_judge (&evidence) == judgements[_i].ready, "%s", judgements[_i].name);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("match");
  TCase *tcase = tcase_create ("tables");
  SRunner *runner;
  int failed;

  tcase_add_loop_test (tcase, what_became_of_entries, 0, sizeof matches / sizeof matches[0]);
  tcase_add_loop_test (tcase, what_is_believed, 0, sizeof judgements / sizeof judgements[0]);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
