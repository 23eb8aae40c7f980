/* SPDX-License-Identifier: BSD-3-Clause */
/* Recorded traces: see trace.h, and README for the format. */

#include <config.h>

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace.h"

/* Adds an element to a list and returns it, cleared. */
#define APPEND(list, n)                                                                    \
  ({                                                                                       \
    if (((n) & ((n) - 1)) == 0 && ((list) = realloc ((list), ((n) ? 2 * (n) : 1) * sizeof *(list))) == NULL) \
      err (EXIT_FAILURE, "realloc");                                                       \
    memset (&(list)[n], 0, sizeof *(list));                                                \
    &(list)[(n)++];                                                                        \
  })

/* ---- the file ---- */

static char *
unpack (const char *path, size_t *ret)
{
  int fds[2], status;
  size_t n = 0, room = 1 << 20;
  char *bytes = malloc (room);
  pid_t pid;

  if (bytes == NULL || access (path, R_OK) == -1 || pipe (fds) == -1 || (pid = fork ()) == -1)
    err (EXIT_FAILURE, "%s", path);
  if (pid == 0) {
    dup2 (fds[1], STDOUT_FILENO);
    close (fds[0]);
    close (fds[1]);
    execlp ("xz", "xz", "-dc", "--", path, (char *) NULL);
    err (127, "xz");
  }
  close (fds[1]);
  for (;;) {
    const ssize_t r = read (fds[0], bytes + n, room - n);

    if (r == 0)
      break;
    if (r == -1 && errno == EINTR)
      continue;
    if (r == -1)
      err (EXIT_FAILURE, "%s", path);
    n += r;
    if (n == room && (bytes = realloc (bytes, room *= 2)) == NULL)
      err (EXIT_FAILURE, "%s", path);
  }
  close (fds[0]);
  while (waitpid (pid, &status, 0) == -1 && errno == EINTR)
    ;
  if (status != 0)
    errx (EXIT_FAILURE, "%s: xz ended with status %d", path, status);
  *ret = n;
  return bytes;
}

/* Cuts the next word off a line. */
static char *
word (char **line)
{
  char *begin = *line, *end = strchrnul (begin, ' ');

  *line = *end ? end + 1 : end;
  *end = '\0';
  return begin;
}

static uint64_t
number (char **line)
{
  const char *text = word (line);
  char *end;
  const uint64_t n = strtoull (text, &end, 10);

  if (*text == '\0' || *end != '\0')
    errx (EXIT_FAILURE, "a trace has \"%s\" where a number should be", text);
  return n;
}

static void
read_digest (struct trace_item *item, char **line)
{
  const char *sha1 = word (line);

  if (strlen (sha1) != 40)
    errx (EXIT_FAILURE, "a trace has a digest of the wrong length: %s", sha1);
  strcpy (item->sha1, sha1);
}

/* One run, "NUMBER", "NUMBER+COUNT" (those that follow each other) or "NUMBER*COUNT" (the same one); false at the end. */
static bool
next_run (const char **text, uint32_t *ret_first, uint32_t *ret_count, bool *ret_same)
{
  char *end;

  if (**text == '\0')
    return false;
  *ret_first = strtoul (*text, &end, 10);
  *ret_count = 1;
  *ret_same = *end == '*';
  if (*end == '*' || *end == '+')
    *ret_count = strtoul (end + 1, &end, 10);
  if ((*end != ' ' && *end != '\0') || *ret_count == 0)
    errx (EXIT_FAILURE, "a trace has runs that cannot be read: %s", *text);
  *text = *end ? end + 1 : end;
  return true;
}

static uint64_t
runs_bytes (const char *text)
{
  uint32_t first, count;
  uint64_t sectors = 0;
  bool same;

  while (next_run (&text, &first, &count, &same))
    sectors += count;
  return sectors * TRACE_SECTOR;
}

static void
parse_event (struct trace *trace, char op, char *line)
{
  struct trace_event *event = APPEND (trace->events, trace->n_events);

  event->ms = number (&line);
  if (trace->n_events > 1 && event->ms < event[-1].ms)
    errx (EXIT_FAILURE, "trace %s goes back in time", trace->name);
  switch (op) {
  case 'W':
    event->op = TRACE_WRITE;
    event->offset = number (&line) * TRACE_SECTOR;
    event->text = line;
    event->length = runs_bytes (line);
    break;
  case 'Z':
  case 'T':
    event->op = op == 'Z' ? TRACE_ZERO : TRACE_TRIM;
    event->offset = number (&line) * TRACE_SECTOR;
    event->length = number (&line) * TRACE_SECTOR;
    break;
  case 'F':
    event->op = TRACE_FLUSH;
    break;
  default:
    event->op = TRACE_MARK;
    event->text = line;
  }
}

static void
parse_trace_line (struct trace *trace, const char *key, char *line)
{
  struct trace_item *item;

  if (strlen (key) == 1)
    parse_event (trace, key[0], line);
  else if (strcmp (key, "what") == 0)
    trace->what = line;
  else if (strcmp (key, "growing") == 0) {
    struct trace_growing *growing = APPEND (trace->growing, trace->n_growing);
    char *tag = word (&line);

    growing->tag = tag;
    growing->path = line;
    while ((tag = strchr (tag, '_')) != NULL)
      *tag = ' ';
  }
  else if (strcmp (key, "final") == 0 || strcmp (key, "final-folder") == 0) {
    item = APPEND (trace->final, trace->n_final);
    item->is_folder = key[5] == '-';
    if (!item->is_folder) {
      item->size = number (&line);
      read_digest (item, &line);
    }
    item->path = line;
  }
  else if (strcmp (key, "state") == 0 || strcmp (key, "state-folder") == 0) {
    item = APPEND (trace->states, trace->n_states);
    item->is_folder = key[5] == '-';
    if (!item->is_folder) {
      item->size = number (&line);
      read_digest (item, &line);
    }
    item->path = line;
  }
  else
    errx (EXIT_FAILURE, "a trace has a line that begins with \"%s\"", key);
}

static void
parse_head_line (struct trace_file *file, const char *key, char *line)
{
  if (strcmp (key, "kernel") == 0)
    file->kernel = line;
  else if (strcmp (key, "fs") == 0)
    file->fs = line;
  else if (strcmp (key, "how") == 0)
    file->how = line;
  else if (strcmp (key, "disk") == 0)
    file->disk_bytes = number (&line);
  else if (strcmp (key, "signature") == 0)
    file->signature = number (&line);
  else if (strcmp (key, "serial") == 0)
    file->serial = number (&line);
  else if (strcmp (key, "B") == 0) {
    struct trace_event *piece = APPEND (file->base, file->n_base);

    piece->offset = number (&line) * TRACE_SECTOR;
    piece->text = line;
    piece->length = runs_bytes (line);
    if (file->n_base > 1 && piece->offset < piece[-1].offset + piece[-1].length)
      errx (EXIT_FAILURE, "the disk of a trace is not in order");
  }
  else if (strcmp (key, "folder") == 0 || strcmp (key, "file") == 0) {
    struct trace_item *item = APPEND (file->items, file->n_items);

    item->is_folder = strcmp (key, "folder") == 0;
    item->first = number (&line);
    if (!item->is_folder) {
      item->mtime = number (&line);
      item->size = number (&line);
      read_digest (item, &line);
    }
    item->path = line;
  }
  else
    errx (EXIT_FAILURE, "a trace's head has a line that begins with \"%s\"", key);
}

static int
compare_items (const void *a, const void *b)
{
  return strcmp (((const struct trace_item *) a)->path, ((const struct trace_item *) b)->path);
}

struct trace_file *
trace_open (const char *path)
{
  struct trace_file *file = calloc (1, sizeof *file);
  struct trace *trace = NULL;
  size_t n;
  char *line, *end;

  if (file == NULL)
    err (EXIT_FAILURE, "calloc");
  file->bytes = unpack (path, &n);
  if (n < 20 || memcmp (file->bytes, "cloudshare-traces 1\n", 20) != 0)
    errx (EXIT_FAILURE, "%s is not a file of traces", path);
  end = file->bytes + n;
  for (line = file->bytes + 20; file->sectors == NULL;) {
    char *stop = memchr (line, '\n', end - line), *rest = line;
    const char *key;

    if (stop == NULL)
      errx (EXIT_FAILURE, "%s ends too early", path);
    *stop = '\0';
    key = word (&rest);
    if (strcmp (key, "sectors") == 0) {
      file->n_sectors = number (&rest);
      file->sectors = stop + 1;
    }
    else if (strcmp (key, "trace") == 0) {
      trace = APPEND (file->traces, file->n_traces);
      trace->name = rest;
    }
    else if (trace == NULL)
      parse_head_line (file, key, rest);
    else if (strcmp (key, "end") != 0)
      parse_trace_line (trace, key, rest);
    line = stop + 1;
  }
  if ((uint64_t) (end - file->sectors) != (uint64_t) file->n_sectors * TRACE_SECTOR)
    errx (EXIT_FAILURE, "%s has other sectors than it says", path);
  qsort (file->items, file->n_items, sizeof *file->items, compare_items);
  for (size_t i = 0; i < file->n_traces; i++)
    qsort (file->traces[i].final, file->traces[i].n_final, sizeof *file->traces[i].final, compare_items);
  return file;
}

void
trace_close (struct trace_file *file)
{
  if (file == NULL)
    return;
  for (size_t i = 0; i < file->n_traces; i++) {
    free (file->traces[i].final);
    free (file->traces[i].states);
    free (file->traces[i].growing);
    free (file->traces[i].events);
  }
  free (file->traces);
  free (file->items);
  free (file->base);
  free (file->bytes);
  free (file);
}

/* ---- bytes ---- */

void
trace_data (const struct trace_file *file, const struct trace_event *event, void *buf)
{
  const char *text = event->text;
  char *to = buf;
  uint32_t first, count;
  bool same;

  while (next_run (&text, &first, &count, &same))
    for (uint32_t i = 0; i < count; i++) {
      const uint64_t sector = same ? first : (uint64_t) first + i;

      if (sector >= file->n_sectors)
        errx (EXIT_FAILURE, "a trace names a sector that it does not have");
      memcpy (to, file->sectors + sector * TRACE_SECTOR, TRACE_SECTOR);
      to += TRACE_SECTOR;
    }
}

void
trace_base_read (const struct trace_file *file, void *buf, size_t n, uint64_t offset)
{
  size_t low = 0, high = file->n_base;

  memset (buf, 0, n);
  /* The first piece that does not end before offset. */
  while (low < high) {
    const size_t middle = (low + high) / 2;

    if (file->base[middle].offset + file->base[middle].length <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < file->n_base && file->base[low].offset < offset + n; low++) {
    const struct trace_event *piece = &file->base[low];
    const uint64_t begin = piece->offset > offset ? piece->offset : offset;
    const uint64_t end = piece->offset + piece->length < offset + n ? piece->offset + piece->length : offset + n;
    char *bytes = malloc (piece->length);

    if (bytes == NULL)
      err (EXIT_FAILURE, "malloc");
    trace_data (file, piece, bytes);
    memcpy ((char *) buf + (begin - offset), bytes + (begin - piece->offset), end - begin);
    free (bytes);
  }
}

void
trace_gen (const char *tag, void *buf, size_t n)
{
  char line[64];

  for (size_t at = 0; at < n; at += 32) {
    snprintf (line, sizeof line, "%-20.20s %010zu\n", tag, at / 32);
    memcpy ((char *) buf + at, line, n - at < 32 ? n - at : 32);
  }
}

const struct trace_item *
trace_find (const struct trace_item *items, size_t n, const char *path)
{
  const struct trace_item key = { .path = path };

  return n ? bsearch (&key, items, n, sizeof *items, compare_items) : NULL;
}
