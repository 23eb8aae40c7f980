/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests merging: a guest and somebody at the remote change the same tree while neither hears of the other. */

#include <config.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "pushcore.h"

#define N(array) ((int) (sizeof (array) / sizeof (array)[0]))

/* Words of a step: "put PATH BYTES", "mkdir PATH", "mv PATH PATH", "rm PATH", "touch PATH". */
#define BASE "mkdir d; put d/f one; put g two; mkdir e"

static const struct {
  const char *ours, *theirs;
  const char *tree;            /* on both sides; the mark of a conflicted copy is "(C)" */
  const char *without_ids;     /* the same, where the remote gives no ids; or NULL: the same */
  bool pull_first;             /* it is not like that if ours is sent before theirs is heard of: a removal can't tell */
} cases[] = {
  /* one side */
  { "put d/f 1", "", "d/ d/f=1 e/ g=two", NULL },
  { "", "put d/f 2", "d/ d/f=2 e/ g=two", NULL },
  { "rm d/f", "", "d/ e/ g=two", NULL },
  { "", "rm d", "e/ g=two", NULL },
  { "mv g e/h", "", "d/ d/f=one e/ e/h=two", NULL },
  { "", "mv g e/h", "d/ d/f=one e/ e/h=two", NULL },

  /* both changed a content */
  { "put d/f 1", "put d/f 2", "d/ d/f (C)=1 d/f=2 e/ g=two", NULL },
  { "put d/f same", "put d/f same", "d/ d/f=same e/ g=two", NULL },
  { "put d/f 1; put g 1", "put d/f 2; put g 2", "d/ d/f (C)=1 d/f=2 e/ g (C)=1 g=2", NULL },
  { "touch d/f", "put d/f 2", "d/ d/f=2 e/ g=two", NULL },

  /* removed against edited */
  { "rm d/f", "put d/f 2", "d/ d/f=2 e/ g=two", NULL },
  { "put d/f 1", "rm d/f", "d/ d/f=1 e/ g=two", NULL },
  { "rm d/f; rm d", "put d/f 2", "d/ d/f=2 e/ g=two", NULL },
  { "rm d/f; rm d", "put d/new 2", "d/ d/new=2 e/ g=two", NULL },
  { "put d/f 1", "rm d", "d/ d/f=1 e/ g=two", NULL },
  { "put d/new 1", "rm d", "d/ d/new=1 e/ g=two", NULL },
  { "mkdir d/x; mkdir d/x/y", "rm d", "d/ d/x/ d/x/y/ e/ g=two", NULL },
  { "rm d/f", "rm d/f", "d/ e/ g=two", NULL },
  { "rm d/f; rm d", "rm d", "e/ g=two", NULL },
  { "touch d/f", "rm d/f", "d/ e/ g=two", NULL },
  { "put g 1; rm g", "put g 2", "d/ d/f=one e/ g=2", NULL },

  /* moved against edited or removed */
  { "mv g e/h", "put g 2", "d/ d/f=one e/ e/h=2", NULL },
  { "put g 1", "mv g e/h", "d/ d/f=one e/ e/h=1", "d/ d/f=one e/ e/h=two g=1" },
  { "mv g e/h; put e/h 1", "put g 2", "d/ d/f=one e/ e/h (C)=1 e/h=2", NULL },
  { "mv g e/h", "rm g", "d/ d/f=one e/", NULL },
  { "mv g e/h; put e/h 1", "rm g", "d/ d/f=one e/ e/h=1", NULL },
  { "rm g", "mv g e/h", "d/ d/f=one e/", "d/ d/f=one e/ e/h=two", .pull_first = true },
  { "mv d e/d", "put d/new 2", "e/ e/d/ e/d/f=one e/d/new=2 g=two", NULL },
  { "mv d e/d", "rm d", "e/ g=two", NULL },
  { "mv d e/d; put e/d/f 1", "rm d", "e/ e/d/ e/d/f=1 g=two", NULL },
  { "put d/f 1", "mv d e/d", "e/ e/d/ e/d/f=1 g=two", "d/ d/f=1 e/ e/d/ e/d/f=one g=two" },
  { "put d/new 1", "mv d e/d", "e/ e/d/ e/d/f=one e/d/new=1 g=two", "d/ d/new=1 e/ e/d/ e/d/f=one g=two" },

  /* both moved it */
  { "mv g e/h", "mv g e/i", "d/ d/f=one e/ e/i=two", NULL },
  { "mv g e/h", "mv g e/h", "d/ d/f=one e/ e/h=two", NULL },
  { "mv d e/d", "mv e d/e", "e/ e/d/ e/d/f=one g=two", "e/ e/d/ e/d/e/ e/d/f=one g=two" },

  /* both made something of that name */
  { "put n 1", "put n 2", "d/ d/f=one e/ g=two n (C)=1 n=2", NULL },
  { "put n same", "put n same", "d/ d/f=one e/ g=two n=same", NULL },
  { "put n 1", "put n 21", "d/ d/f=one e/ g=two n (C)=1 n=21", NULL },
  { "mkdir n; put n/a 1", "mkdir n; put n/b 2", "d/ d/f=one e/ g=two n/ n/a=1 n/b=2", NULL },
  { "mkdir n; put n/a 1", "mkdir n; put n/a 2", "d/ d/f=one e/ g=two n/ n/a (C)=1 n/a=2", NULL },
  { "mkdir n; put n/a 1", "put n 2", "d/ d/f=one e/ g=two n (C)/ n (C)/a=1 n=2", NULL },
  { "put n 1", "mkdir n", "d/ d/f=one e/ g=two n (C)=1 n/", NULL },
  { "mv g n", "put n 2", "d/ d/f=one e/ n (C)=two n=2", NULL },
  { "mv d n", "mkdir n; put n/a 2", "e/ g=two n (C)/ n (C)/f=one n/ n/a=2", NULL },
  { "put n 1", "mv g n", "d/ d/f=one e/ n (C)=1 n=two", NULL },

  /* something else is there now */
  { "put g 1", "rm g; mkdir g; put g/x 2", "d/ d/f=one e/ g (C)=1 g/ g/x=2", NULL },
  { "put d/f 1", "rm d; put d 2", "d (C)/ d (C)/f=1 d=2 e/ g=two", NULL },
  { "rm g; put g 1", "put g 2", "d/ d/f=one e/ g (C)=1 g=2", NULL },
};

static struct pushcore p;

static void
do_ours (char *step)
{
  char *save, *verb = strtok_r (step, " ", &save), *path = strtok_r (NULL, " ", &save);
  char *arg = strtok_r (NULL, " ", &save);
  char *slash = strrchr (path, '/');
  CLEANUP_FREE char *folder = slash ? strndup (path, slash - path) : strdup ("");
  const char *name = slash ? slash + 1 : path;

  if (strcmp (verb, "put") == 0 && core_item (&p.core, path))
    pushcore_edit (&p, path, arg);
  else if (strcmp (verb, "put") == 0)
    pushcore_create (&p, folder, name, arg);
  else if (strcmp (verb, "mkdir") == 0)
    pushcore_create (&p, folder, name, NULL);
  else if (strcmp (verb, "rm") == 0)
    pushcore_remove (&p, path);
  else if (strcmp (verb, "touch") == 0)
    pushcore_touch (&p, path, 1800000000);
  else {
    char *to = strrchr (arg, '/');
    CLEANUP_FREE char *above = to ? strndup (arg, to - arg) : strdup ("");

    pushcore_move (&p, path, above, to ? to + 1 : arg);
  }
}

static void
do_theirs (char *step)
{
  char *save, *verb = strtok_r (step, " ", &save), *path = strtok_r (NULL, " ", &save);
  char *arg = strtok_r (NULL, " ", &save);

  if (strcmp (verb, "put") == 0)
    fakecloud_write (p.core.fake, path, arg, strlen (arg));
  else if (strcmp (verb, "mkdir") == 0)
    fakecloud_mkdir (p.core.fake, path);
  else if (strcmp (verb, "rm") == 0)
    fakecloud_remove (p.core.fake, path);
  else
    fakecloud_rename (p.core.fake, path, arg);
}

static void
do_steps (const char *steps, void (*step) (char *step))
{
  CLEANUP_FREE char *copy = strdup (steps);
  char *save;

  for (char *one = strtok_r (copy, ";", &save); one; one = strtok_r (NULL, ";", &save))
    step (one + strspn (one, " "));
}

/* With "(C)" for the mark, whose time is anybody's guess. */
static char *
without_marks (const char *tree)
{
  char *text = calloc (1, strlen (tree) + 1), *to = text;

  while (*tree) {
    if (strncmp (tree, "(conflicted copy ", 17) == 0) {
      to = stpcpy (to, "(C)");
      tree = strchr (tree, ')') + 1;
    }
    else
      *to++ = *tree++;
  }
  return text;
}

/* Bits of _i below the case: ids or not; the other side is heard of before ours is sent, or found when it is sent. */
START_TEST (two_sides)
{
  const int c = _i / 4;
  const bool ids = _i & 1, pull_first = _i & 2;
  const bool other = cases[c].without_ids && (!ids || (cases[c].pull_first && !pull_first));
  const char *expected = other ? cases[c].without_ids : cases[c].tree;
  CLEANUP_FREE char *remote = NULL, *local = NULL, *unmarked = NULL;

  pushcore_open (&p, 3);
  fakecloud_set_manners (p.core.fake, ids, c % 3 == 0 ? "SHA1" : NULL, false);
  do_steps (BASE, do_theirs);
  pushcore_pull (&p);
  pushcore_must_have (&p, "d/ d/f=one e/ g=two");

  pushcore_pause (&p);
  do_steps (cases[c].ours, do_ours);
  do_steps (cases[c].theirs, do_theirs);
  if (pull_first)
    pushcore_pull (&p);
  pushcore_drain (&p);
  pushcore_pull (&p);
  pushcore_drain (&p);

  remote = pushcore_remote (&p);
  local = pushcore_local (&p);
  unmarked = without_marks (remote);
  ck_assert_msg (strcmp (unmarked, expected) == 0, "ours \"%s\", theirs \"%s\": \"%s\", not \"%s\"", cases[c].ours,
                 cases[c].theirs, unmarked, expected);
  ck_assert_str_eq (local, remote);

  fakecloud_forget (p.core.fake);
  pushcore_pull (&p);
  ck_assert (!p.result.changed);
  for (enum fake_verb verb = FAKE_PUT; verb <= FAKE_TOUCH; ++verb)
    ck_assert_uint_eq (fakecloud_log (p.core.fake, verb, NULL, NULL, 0), 0);
  pushcore_close (&p);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("merge");
  TCase *tcase = tcase_create ("two sides");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 60);
  tcase_add_loop_test (tcase, two_sides, 0, 4 * N (cases));
  suite_add_tcase (suite, tcase);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
