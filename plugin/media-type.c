/* SPDX-License-Identifier: BSD-3-Clause */
/* MIME types by name: the system's data, loaded once.
 *
 * Of the globs that match a name the one of the highest weight counts, then the longest (shared-mime-info specification 0.21,
 * sections 2.4 and 2.12); nothing here looks at contents, so where several types are left, the one that our own table has is
 * taken, then the first.  Nearly all globs are *.EXTENSION or a whole name: these are in a hash.  The few others are
 * kept apart, each with what is quickly seen of names that cannot match, because fnmatch is slow.
 */

#include <config.h>

#include <fnmatch.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "media-type.h"

/* The weight of what is not in globs2, where it is 0 to 100. */
enum { WEIGHT_MIME_TYPES = -1 };

#define NAME_MAX_BYTES 1023    /* longer names are looked at by their end */

enum kind { EXTENSION, WHOLE };

struct glob {
  char *text;                  /* EXTENSION: behind "*."; WHOLE: the name; else the pattern */
  char *type;
  size_t length;               /* of the text */
  size_t rank;                 /* length of the glob: the longest wins */
  int weight;
  unsigned folder;             /* that it came from; lower ones are more important */
  bool exact;                  /* with regard to case; if not, text is in lower case */
  enum kind kind;

  /* Of patterns. */
  char *literal;               /* every name that matches has it: at its start, at its end, or somewhere */
  size_t literal_length;
  bool at_start, at_end;
  bool *ends;                  /* of 256: bytes that such a name can end with; NULL: any */
};

static struct {
  struct glob **hash;          /* open addressing; a power of two */
  size_t slots, used;
  size_t longest;              /* extension */
  bool has_exact;
  struct glob **patterns;
  size_t n_patterns;
  char **deleted;              /* types whose globs in less important folders don't count */
  size_t n_deleted;
} data;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t
hash_of (const char *text, size_t n, enum kind kind)
{
  uint32_t h = 2166136261u ^ kind;

  for (size_t i = 0; i < n; ++i)
    h = (h ^ (unsigned char) text[i]) * 16777619u;
  return h ^ h >> 15;
}

/* The slot that has it, or would have it; NULL while there are no slots. */
static struct glob **
slot_of (const char *text, size_t n, enum kind kind, bool exact)
{
  if (data.slots == 0)
    return NULL;
  for (size_t i = hash_of (text, n, kind) & (data.slots - 1);; i = (i + 1) & (data.slots - 1)) {
    const struct glob *glob = data.hash[i];

    if (glob == NULL || (glob->length == n && glob->kind == kind && glob->exact == exact && memcmp (glob->text, text, n) == 0))
      return &data.hash[i];
  }
}

/* ---- loading ---- */

static void
glob_free (struct glob *glob)
{
  free (glob->text);
  free (glob->type);
  free (glob->literal);
  free (glob->ends);
  free (glob);
}

static void
to_lower (char *text)
{
  for (; *text; ++text)
    if (*text >= 'A' && *text <= 'Z')
      *text += 'a' - 'A';
}

static bool
make_room (void)
{
  struct glob **old = data.hash;
  const size_t old_slots = data.slots, slots = old_slots ? old_slots * 2 : 4096;

  if (old_slots && data.used < old_slots / 2)
    return true;
  data.hash = calloc (slots, sizeof *data.hash);
  if (data.hash == NULL) {
    data.hash = old;
    return false;
  }
  data.slots = slots;
  for (size_t i = 0; i < old_slots; ++i)
    if (old[i])
      *slot_of (old[i]->text, old[i]->length, old[i]->kind, old[i]->exact) = old[i];
  free (old);
  return true;
}

static bool
is_better (const struct glob *glob, const struct glob *known)
{
  const char *own;

  if (glob->weight != known->weight)
    return glob->weight > known->weight;
  if (glob->folder != known->folder || glob->kind != EXTENSION)
    return false;
  own = media_type_own (glob->text);
  return own && strcmp (own, glob->type) == 0;
}

/* Takes the glob. */
static void
keep_in_hash (struct glob *glob)
{
  struct glob **slot;

  if (!make_room ()) {
    glob_free (glob);
    return;
  }
  slot = slot_of (glob->text, glob->length, glob->kind, glob->exact);
  if (*slot == NULL)
    data.used++;
  else if (is_better (glob, *slot))
    glob_free (*slot);
  else {
    glob_free (glob);
    return;
  }
  *slot = glob;
  data.has_exact |= glob->exact;
  if (glob->kind == EXTENSION && glob->length > data.longest)
    data.longest = glob->length;
}

/* What a last "[...]" stands for. */
static void
find_ends (struct glob *glob, const char *set)
{
  glob->ends = calloc (256, sizeof *glob->ends);
  for (int c = 1; glob->ends && c < 256; ++c)
    glob->ends[c] = fnmatch (set, (const char[]) { c, '\0' }, 0) == 0;
}

/* The longest text between special characters; one at an end is preferred, because it is looked for there only. */
static void
find_literal (struct glob *glob)
{
  const char *best = "", *p = glob->text, *set;
  size_t best_n = 0;

  while (*p) {
    const size_t n = strcspn (p, "*?[\\");
    const bool at_start = p == glob->text, at_end = p[n] == '\0';

    if (n > 0 && (n > best_n || (at_end && !glob->at_start))) {
      best = p;
      best_n = n;
      glob->at_start = at_start;
      glob->at_end = at_end && !at_start;
    }
    p += n;
    if (*p == '[') {
      /* "]" as the first is one of the set. */
      set = p++;
      p += *p == '!' || *p == '^';
      p += *p == ']';
      p += strcspn (p, "]");
      if (*p && p[1] == '\0' && strpbrk (set, "\\:.=") == NULL)
        find_ends (glob, set);
    }
    else if (*p == '\\' && p[1])
      ++p;
    if (*p)
      ++p;
  }
  glob->literal = strndup (best, best_n);
  glob->literal_length = best_n;
}

/* Takes the glob. */
static void
keep_pattern (struct glob *glob)
{
  struct glob **more = reallocarray (data.patterns, data.n_patterns + 1, sizeof *more);

  if (more)
    data.patterns = more;
  find_literal (glob);
  if (more == NULL || glob->literal == NULL)
    glob_free (glob);
  else
    more[data.n_patterns++] = glob;
}

static void
add (const char *text, const char *type, int weight, bool exact, unsigned folder)
{
  const bool extension = text[0] == '*' && text[1] == '.' && text[2] && strpbrk (text + 2, "*?[\\") == NULL;
  struct glob *glob = calloc (1, sizeof *glob);

  if (glob == NULL)
    return;
  *glob = (struct glob) {
    .text = strdup (extension ? text + 2 : text), .type = strdup (type), .rank = strlen (text), .weight = weight,
    .folder = folder, .exact = exact, .kind = extension ? EXTENSION : WHOLE,
  };
  if (glob->text == NULL || glob->type == NULL) {
    glob_free (glob);
    return;
  }
  if (!exact)
    to_lower (glob->text);
  glob->length = strlen (glob->text);
  if (extension || strpbrk (text, "*?[\\") == NULL)
    keep_in_hash (glob);
  else
    keep_pattern (glob);
}

static bool
is_deleted (const char *type, size_t n_deleted)
{
  for (size_t i = 0; i < n_deleted; ++i)
    if (strcmp (data.deleted[i], type) == 0)
      return true;
  return false;
}

static void
delete_type (const char *type)
{
  char **more = reallocarray (data.deleted, data.n_deleted + 1, sizeof *more);

  if (more == NULL)
    return;
  data.deleted = more;
  more[data.n_deleted] = strdup (type);
  data.n_deleted += more[data.n_deleted] != NULL;
}

static bool
is_type (const char *text)
{
  const char *slash = strchr (text, '/');

  return slash && slash > text && slash[1] && strchr (slash + 1, '/') == NULL;
}

/* WEIGHT:TYPE:GLOB[:FLAG,FLAG...][:...].  What is not understood is left out: the file is the system's. */
static void
load_globs2 (FILE *fp, unsigned folder)
{
  CLEANUP_FREE char *line = NULL;
  const size_t n_deleted = data.n_deleted;
  size_t size = 0;

  while (getline (&line, &size, fp) != -1) {
    char *rest = line, *weight, *type, *glob, *flags, *flag, *end;
    bool exact = false;
    long n;

    line[strcspn (line, "\r\n")] = '\0';
    if (line[0] == '#')
      continue;
    weight = strsep (&rest, ":");
    type = strsep (&rest, ":");
    glob = strsep (&rest, ":");
    flags = strsep (&rest, ":");
    if (glob == NULL || glob[0] == '\0' || !is_type (type))
      continue;
    n = strtol (weight, &end, 10);
    if (end == weight || *end || n < 0 || n > 100)
      continue;
    while (flags && (flag = strsep (&flags, ",")) != NULL)
      exact |= strcmp (flag, "cs") == 0;
    if (strcmp (glob, "__NOGLOBS__") == 0)
      delete_type (type);
    else if (!is_deleted (type, n_deleted))
      add (glob, type, n, exact, folder);
  }
}

/* TYPE EXTENSION... */
static void
load_mime_types (FILE *fp, unsigned folder)
{
  CLEANUP_FREE char *line = NULL;
  size_t size = 0;

  while (getline (&line, &size, fp) != -1) {
    char *save, *type, *extension;

    line[strcspn (line, "#\r\n")] = '\0';
    type = strtok_r (line, " \t", &save);
    if (type == NULL || !is_type (type))
      continue;
    while ((extension = strtok_r (NULL, " \t", &save)) != NULL) {
      CLEANUP_FREE char *glob = NULL;

      if (asprintf (&glob, "*.%s", extension) == -1)
        glob = NULL;
      else if (strpbrk (extension, "*?[\\") == NULL)
        add (glob, type, WEIGHT_MIME_TYPES, false, folder);
    }
  }
}

static void
load_file (const char *path, void (*load) (FILE *fp, unsigned folder), unsigned folder)
{
  FILE *fp = fopen (path, "re");

  if (fp == NULL)
    return;
  load (fp, folder);
  fclose (fp);
}

static void
load_folder (const char *dir, const char *below, unsigned folder)
{
  CLEANUP_FREE char *path = NULL;

  /* XDG Base Directory specification: relative ones are to be ignored. */
  if (dir[0] != '/')
    return;
  if (asprintf (&path, "%s%s/mime/globs2", dir, below) == -1)
    path = NULL;
  else
    load_file (path, load_globs2, folder);
}

/* The most important folder first. */
static void
load (void)
{
  const char *data_home = getenv ("XDG_DATA_HOME"), *home = getenv ("HOME"), *dirs = getenv ("XDG_DATA_DIRS");
  CLEANUP_FREE char *copy = strdup (dirs && dirs[0] ? dirs : "/usr/local/share/:/usr/share/");
  char *rest = copy, *dir;
  unsigned folder = 0;

  if (data_home && data_home[0])
    load_folder (data_home, "", folder++);
  else if (home && home[0])
    load_folder (home, "/.local/share", folder++);
  while (rest && (dir = strsep (&rest, ":")) != NULL)
    load_folder (dir, "", folder++);
  load_file ("/etc/mime.types", load_mime_types, folder);
}

/* ---- looking up ---- */

static void
consider (const struct glob *glob, const struct glob **best)
{
  if (glob == NULL)
    return;
  if (*best == NULL || glob->weight > (*best)->weight ||
      (glob->weight == (*best)->weight &&
       (glob->rank > (*best)->rank || (glob->rank == (*best)->rank && glob->exact && !(*best)->exact))))
    *best = glob;
}

static void
consider_hash (const char *text, size_t n, enum kind kind, bool exact, const struct glob **best)
{
  struct glob **slot = slot_of (text, n, kind, exact);

  if (slot)
    consider (*slot, best);
}

static bool
could_match (const struct glob *glob, const char *name, size_t n)
{
  const size_t m = glob->literal_length;

  if (m > n || (glob->ends && (n == 0 || !glob->ends[(unsigned char) name[n - 1]])))
    return false;
  if (glob->at_start)
    return memcmp (name, glob->literal, m) == 0;
  if (glob->at_end)
    return memcmp (name + n - m, glob->literal, m) == 0;
  return strstr (name, glob->literal) != NULL;
}

static const char *
own_type (const char *lower, size_t n)
{
  const char *type = NULL;

  for (const char *dot = memchr (lower, '.', n); dot && type == NULL; dot = strchr (dot + 1, '.'))
    type = media_type_own (dot + 1);
  return type;
}

const char *
media_type_of_name (const char *name)
{
  const struct glob *best = NULL;
  char lower[NAME_MAX_BYTES + 1];
  size_t n = strlen (name);

  pthread_once (&once, load);
  if (n > NAME_MAX_BYTES) {
    name += n - NAME_MAX_BYTES;
    n = NAME_MAX_BYTES;
  }
  memcpy (lower, name, n + 1);
  to_lower (lower);

  consider_hash (lower, n, WHOLE, false, &best);
  if (data.has_exact)
    consider_hash (name, n, WHOLE, true, &best);
  for (size_t i = 0; i < n; ++i) {
    if (name[i] != '.' || n - i - 1 > data.longest)
      continue;
    consider_hash (lower + i + 1, n - i - 1, EXTENSION, false, &best);
    if (data.has_exact)
      consider_hash (name + i + 1, n - i - 1, EXTENSION, true, &best);
  }
  for (size_t i = 0; i < data.n_patterns; ++i) {
    const struct glob *glob = data.patterns[i];
    const char *text = glob->exact ? name : lower;

    /* It could not win. */
    if (best && (glob->weight < best->weight || (glob->weight == best->weight && glob->rank < best->rank)))
      continue;
    if (could_match (glob, text, n) && fnmatch (glob->text, text, 0) == 0)
      consider (glob, &best);
  }
  return best ? best->type : own_type (lower, n);
}
