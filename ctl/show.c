/* SPDX-License-Identifier: BSD-3-Clause */
/* Shows answers to people. */

#include <config.h>

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "show.h"

#define BAR_WIDTH 24

int64_t
show_int (struct json_object *object, const char *key)
{
  return json_object_get_int64 (json_object_object_get (object, key));
}

const char *
show_string (struct json_object *object, const char *key)
{
  const char *text = json_object_get_string (json_object_object_get (object, key));

  return text ? text : "";
}

static bool
is_true (struct json_object *object, const char *key)
{
  return json_object_get_boolean (json_object_object_get (object, key));
}

void
show_text (FILE *to, const char *text)
{
  for (const unsigned char *p = (const unsigned char *) text; *p; ++p)
    if (*p < 0x20 || *p == 0x7f)
      fprintf (to, "\\x%02x", *p);
    else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
      /* U+0080 to U+009F: some terminals take these for escape sequences, too. */
      fprintf (to, "\\x%02x", p[1]);
      ++p;
    }
    else
      putc (*p, to);
}

const char *
show_bytes (uint64_t bytes, char buf[16])
{
  static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB" };
  double value = (double) bytes;
  size_t unit = 0;

  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit++;
  }
  snprintf (buf, 16, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return buf;
}

static const char *
duration (int64_t seconds, char buf[24])
{
  if (seconds < 0)
    seconds = 0;
  if (seconds < 120)
    snprintf (buf, 24, "%" PRId64 " s", seconds);
  else if (seconds < 120 * 60)
    snprintf (buf, 24, "%" PRId64 " min", seconds / 60);
  else if (seconds < 48 * 60 * 60)
    snprintf (buf, 24, "%" PRId64 " h", seconds / 3600);
  else
    snprintf (buf, 24, "%" PRId64 " days", seconds / 86400);
  return buf;
}

/* "1 change", "2 changes" */
static void
print_count (int64_t n, const char *what)
{
  printf ("%" PRId64 " %s%s", n, what, n == 1 ? "" : "s");
}

static void
show_change (struct json_object *change, int64_t now)
{
  const char *error = show_string (change, "error");
  const int64_t next_try = show_int (change, "next_try");
  char bytes[16], time[24];

  printf ("    ");
  show_text (stdout, show_string (change, "path"));
  printf (": ");
  show_text (stdout, show_string (change, "what"));
  if (show_int (change, "bytes") > 0)
    printf (", %s", show_bytes ((uint64_t) show_int (change, "bytes"), bytes));
  printf (", since %s", duration (now - show_int (change, "since"), time));
  if (*show_string (change, "view")) {
    printf (", by ");
    show_text (stdout, show_string (change, "view"));
  }
  if (is_true (change, "held"))
    printf (", waits for approval");
  if (*error) {
    printf ("\n        failed ");
    print_count (show_int (change, "attempts"), "time");
    printf (", next try %s%s: ", next_try > now ? "in " : "now", next_try > now ? duration (next_try - now, time) : "");
    show_text (stdout, error);
  }
  printf ("\n");
}

static void
show_waiting (struct json_object *status, int64_t now)
{
  struct json_object *waiting = json_object_object_get (status, "waiting");
  struct json_object *changes = json_object_object_get (status, "changes");
  const int64_t n = show_int (waiting, "items"), shown = (int64_t) json_object_array_length (changes);
  char bytes[16], time[24];

  if (n == 0) {
    printf ("waiting for upload: nothing\n");
    return;
  }
  printf ("waiting for upload: ");
  print_count (n, "change");
  printf (", %s", show_bytes ((uint64_t) show_int (waiting, "bytes"), bytes));
  if (show_int (waiting, "oldest") > 0)
    printf (", the oldest since %s", duration (now - show_int (waiting, "oldest"), time));
  if (show_int (waiting, "failing") > 0)
    printf ("; %" PRId64 " failed and will be tried again", show_int (waiting, "failing"));
  printf ("\n");
  if (show_int (waiting, "held") > 0) {
    printf ("    ");
    print_count (show_int (waiting, "held"), "removal");
    printf (" in the cloud: so many at once wait for your approval (cloudsharectl approve)\n");
  }
  for (int64_t i = 0; i < shown; ++i)
    show_change (json_object_array_get_idx (changes, (size_t) i), now);
  if (n > shown)
    printf ("    and %" PRId64 " more\n", n - shown);
}

static void
show_view (struct json_object *view, int64_t newest, int64_t now)
{
  const int64_t generation = show_int (view, "generation"), since = show_int (view, "uninterpreted_since");
  const int64_t connections = show_int (view, "connections"), waiting = show_int (view, "waiting");
  const char *detached = show_string (view, "detached");
  char bytes[16], time[24];

  printf ("    view ");
  show_text (stdout, show_string (view, "name"));
  printf (": holds generation %" PRId64, generation);
  if (newest > generation) {
    printf (" of %" PRId64 ", ", newest);
    print_count (show_int (view, "behind"), "item");
    printf (" behind");
  }
  if (connections > 0) {
    printf (", ");
    print_count (connections, "connection");
  }
  if (show_int (view, "overlay_bytes") > 0)
    printf (", %s written", show_bytes ((uint64_t) show_int (view, "overlay_bytes"), bytes));
  if (is_true (view, "dirty"))
    printf (connections > 0 ? ", mounted" : ", not unmounted");
  if (waiting > 0) {
    printf (", ");
    print_count (waiting, "change");
    printf (" to upload");
  }
  if (since > 0 && *detached == '\0')
    printf (", writes of the last %s not yet understood", duration (now - since, time));
  if (*detached) {
    printf ("\n        detached from the cloud, a private disk now: ");
    show_text (stdout, detached);
  }
  printf ("\n");
}

static void
show_disk (struct json_object *disk, int64_t now)
{
  struct json_object *views = json_object_object_get (disk, "views");
  char bytes[16];

  printf ("disk ");
  show_text (stdout, show_string (disk, "name"));
  printf (": %s, %s, generation %" PRId64 ", %" PRId64 " items left out\n", show_string (disk, "format"),
          show_bytes ((uint64_t) show_int (disk, "bytes"), bytes), show_int (disk, "generation"),
          show_int (disk, "left_out"));
  for (size_t i = 0; i < json_object_array_length (views); ++i)
    show_view (json_object_array_get_idx (views, i), show_int (disk, "generation"), now);
}

void
show_status (struct json_object *status)
{
  struct json_object *disks = json_object_object_get (status, "disks");
  const char *remote = show_string (status, "remote"), *state = show_string (status, "state");
  const int64_t now = time (NULL);
  char bytes[16];

  printf ("remote ");
  show_text (stdout, *remote ? remote : "(none yet)");
  printf (": %" PRId64 " files in %" PRId64 " folders, %s\n", show_int (status, "files"), show_int (status, "folders"),
          show_bytes ((uint64_t) show_int (status, "bytes"), bytes));
  if (!is_true (status, "running"))
    printf ("server: none runs with this cache folder\n");
  else
    printf ("server: runs; the remote %s\n",
            strcmp (state, "offline") == 0 ? "cannot be reached, and is tried again and again"
            : strcmp (state, "refused") == 0 ? "does not accept the user name, password or token" : "is online");
  if (*show_string (status, "push")) {
    printf ("push: the cloud may tell of changes at ");
    show_text (stdout, show_string (status, "push"));
    printf (" (a secret)\n");
  }
  if (is_true (status, "pushes"))
    printf ("push: the remote tells its changes by itself\n");
  printf ("copied here: %s\n", show_bytes ((uint64_t) show_int (status, "cached"), bytes));
  show_waiting (status, now);
  for (size_t i = 0; i < json_object_array_length (disks); ++i)
    show_disk (json_object_array_get_idx (disks, i), now);
}

void
show_progress (struct json_object *reply, int64_t most_items, int64_t most_bytes)
{
  struct json_object *waiting = json_object_object_get (reply, "waiting");
  const int64_t items = show_int (waiting, "items"), bytes = show_int (waiting, "bytes");
  const int64_t unread = show_int (reply, "uninterpreted_views"), failing = show_int (waiting, "failing");
  const double done = most_bytes > 0 ? 1 - (double) bytes / (double) most_bytes
    : most_items > 0 ? 1 - (double) items / (double) most_items : 0;
  char bar[BAR_WIDTH + 1], left[16];

  memset (bar, '.', BAR_WIDTH);
  memset (bar, '#', (size_t) (done * BAR_WIDTH));
  bar[BAR_WIDTH] = '\0';
  fprintf (stderr, "\r[%s] %3.0f%%  %" PRId64 " changes, %s to go", bar, done * 100, items,
           show_bytes ((uint64_t) bytes, left));
  if (unread > 0)
    fprintf (stderr, ", %" PRId64 " views not yet understood", unread);
  if (failing > 0)
    fprintf (stderr, ", %" PRId64 " failing", failing);
  if (strcmp (show_string (reply, "state"), "online") != 0)
    fprintf (stderr, ", remote %s", show_string (reply, "state"));
  /* The line before may have been longer. */
  fprintf (stderr, "\033[K");
  fflush (stderr);
}
