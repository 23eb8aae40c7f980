/* SPDX-License-Identifier: BSD-3-Clause */
/* A WebDAV server's answers for the provider, from a fuzzer, or from files.
 *
 *   clang -fsanitize=fuzzer,address,undefined -DFUZZER ... tests/fuzz-dav.c   (the target)
 *   fuzz-dav FILE...                                replays files; a folder stands for the files in it
 *
 * Input: a byte that says which verb is called, two that say what is known of the server's manners, one for the size of the
 * pieces in which bodies come; then answers, each to one request, with a byte 0x1e between them:
 *
 *   STATUS LF  (Name: value LF)...  LF  body        a status below 100: no answer, but this enum cloud_result
 *
 * In a body the byte 0x01 stands for the path that was asked for, which holds random digits where it is an upload's; and 0x02
 * for the root's.  When there are no answers left, requests are stopped.
 *
 * All of the provider is what it is but for the transfer (http.h), which is here.  Whatever the answers: each verb ends once,
 * with a sentence where it failed; listings give names that can be names, ranges come whole and in order; requests go to the
 * host of the remote, to a redirect's place only where it is the same host, with headers of one line.  Otherwise it aborts.
 */

#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* How a cut ends is not waited for; and what is known of manners can be set. */
#define nanosleep(want, left) (void) 0
#include "davmanners.c"
#undef nanosleep

#include "http-url.h"
#include "webdav.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

#define REMOTE "http://h/r%20/"
#define END 0x1e
#define ASKED 0x01
#define ROOT 0x02
#define MOST_INPUT 65536
#define FILE_SIZE 200

static void
be_silent (enum msg_level level, const char *text)
{
}

#define CHECK(what)                                             \
  do                                                            \
    if (!(what)) {                                              \
      fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
      abort ();                                                 \
    }                                                           \
  while (0)

/* ---- the transfer ---- */

struct http {
  const char *input, *end;
  size_t piece;
  unsigned depth;            /* requests that are submitted from a sink */
};

/* One answer, cut out of the input. */
struct reply {
  char *text, *body;
  size_t body_len;
  int status;
};

static const char *
cut_line (char **from)
{
  char *line = *from, *end = strchr (line, '\n');

  if (end == NULL) {
    *from = line + strlen (line);
    return line;
  }
  *end = '\0';
  *from = end + 1;
  return line;
}

const char *
http_answer_header (const struct http_answer *answer, const char *name)
{
  const struct reply *reply = answer->handle;
  const size_t len = strlen (name);

  for (const char *line = reply->text; line < reply->body; line += strlen (line) + 1)
    if (strncasecmp (line, name, len) == 0 && line[len] == ':')
      return line + len + 1 + strspn (line + len + 1, " \t");
  return NULL;
}

static bool
next_reply (struct http *http, struct reply *reply)
{
  const size_t left = http->end - http->input;
  const char *stop = left ? memchr (http->input, END, left) : NULL;
  const size_t n = stop ? (size_t) (stop - http->input) : left;
  char *from;

  if (left == 0)
    return false;
  reply->text = strndup (http->input, n);
  CHECK (reply->text);
  http->input += n + (stop != NULL);
  /* A NUL ends it, as headers hold none. */
  from = reply->text;
  reply->status = atoi (cut_line (&from)) % 1000;
  while (*from && *from != '\n')
    cut_line (&from);
  reply->body = from + (*from == '\n');
  reply->body_len = strlen (reply->body);
  return true;
}

/* The body with what stands for something else replaced.  malloc'ed. */
static char *
fill_in (const struct reply *reply, const char *url, size_t *ret_len)
{
  const char *path = strstr (url, "://") + 3;
  size_t path_len, len = 0;
  char *body;

  path += strcspn (path, "/");
  path_len = strlen (path);
  body = malloc (reply->body_len * (path_len + sizeof REMOTE) + 1);
  CHECK (body);
  for (size_t i = 0; i < reply->body_len; i++)
    switch (reply->body[i]) {
    case ASKED:
      memcpy (body + len, path, path_len);
      len += path_len;
      break;
    case ROOT:
      memcpy (body + len, &REMOTE[8], sizeof REMOTE - 9);
      len += sizeof REMOTE - 9;
      break;
    default:
      body[len++] = reply->body[i];
    }
  *ret_len = len;
  return body;
}

static bool
is_printable (const char *text)
{
  for (; *text; text++)
    if ((unsigned char) *text < ' ' || *text == 0x7f)
      return false;
  return true;
}

static void
check_request (const struct http_request *request)
{
  CHECK (strncasecmp (request->url, "http://h/", 9) == 0 || strncasecmp (request->url, "http://h:80/", 12) == 0 ||
         strncasecmp (request->url, "https://h/", 10) == 0 || strncasecmp (request->url, "https://h:", 10) == 0);
  CHECK (is_printable (request->url) && strchr (request->url, ' ') == NULL);
  for (const char *const *header = request->headers; header && *header; header++)
    CHECK (is_printable (*header));
  /* What changes something is not for libcurl to repeat elsewhere. */
  CHECK (!request->follow || strcmp (request->method, "GET") == 0 || strcmp (request->method, "PROPFIND") == 0);
  CHECK (request->once == (strcmp (request->method, "GET") != 0 && strcmp (request->method, "PROPFIND") != 0));
}

/* False: read said no. */
static bool
send_body (const struct http_request *request, void *opaque)
{
  char buf[4096];

  for (uint64_t at = 0; request->read && at < request->read_len;) {
    const size_t n = request->read_len - at < sizeof buf ? request->read_len - at : sizeof buf;

    if (request->read (opaque, buf, n, at) == -1)
      return false;
    at += n;
  }
  return true;
}

/* CLOUD_OK: the answer was given and taken. */
static enum cloud_result
give (struct http *http, const struct http_request *request, struct reply *reply, const struct http_sink *sink,
      void *opaque)
{
  const struct http_answer answer = { .status = reply->status, .url = request->url, .handle = reply };
  CLEANUP_FREE char *url = strdup (request->url), *body = NULL;
  size_t len;

  CHECK (url);
  if (!send_body (request, opaque))
    return CLOUD_LOCAL;
  switch (sink->answer (opaque, &answer)) {
  case HTTP_SKIP:
    return CLOUD_OK;
  case HTTP_ABORT:
    return CLOUD_LOCAL;
  case HTTP_TAKE:
    break;
  }
  body = fill_in (reply, url, &len);
  for (size_t at = 0; at < len; at += http->piece)
    if (sink->data (opaque, body + at, len - at < http->piece ? len - at : http->piece) == -1)
      return CLOUD_LOCAL;
  return CLOUD_OK;
}

void
http_submit (struct http *http, const struct http_request *request, const struct http_sink *sink, void *opaque)
{
  struct reply reply;
  enum cloud_result result;

  check_request (request);
  /* Answers come before the call returns, so a redirect's or a short range's successors stand on the stack. */
  if (http->depth >= 300 || !next_reply (http, &reply)) {
    sink->done (opaque, CLOUD_STOPPED, "stopped");
    return;
  }
  http->depth++;
  if (reply.status >= 100)
    result = give (http, request, &reply, sink, opaque);
  else
    result = reply.status < CLOUD_STOPPED ? (enum cloud_result) reply.status : CLOUD_OFFLINE;
  if (result == CLOUD_OK && reply.status < 100)
    result = CLOUD_OFFLINE;
  free (reply.text);
  sink->done (opaque, result, result == CLOUD_OK ? NULL : "no answer");
  http->depth--;
}

static struct http the_http;

struct http *
http_open (const struct http_config *config)
{
  return &the_http;
}

int
http_start (struct http *http)
{
  return 0;
}

void
http_set_rates (struct http *http, uint64_t upload, uint64_t download)
{
}

void
http_stop (struct http *http)
{
}

void
http_close (struct http *http)
{
}

/* ---- those who call the verbs ---- */

struct caller {
  bool done;
  enum cloud_result result;
  int depth;                 /* of a listing */
  uint64_t next, end;        /* of a range */
};

static void
check_item (const struct cloud_item *item)
{
  CHECK (item->name);
  CHECK (item->is_folder ? item->size == 0 : item->token != NULL);
  CHECK (item->size <= INT64_MAX);
  CHECK (item->checksum == NULL || strchr (item->checksum, ':'));
}

static void
on_item (void *opaque, const struct cloud_item *item)
{
  const struct caller *caller = opaque;

  CHECK (!caller->done);
  check_item (item);
  if (caller->depth == 0)
    CHECK (*item->name == '\0');
  else
    CHECK (*item->name && strchr (item->name, '/') == NULL && strcmp (item->name, ".") != 0 &&
           strcmp (item->name, "..") != 0);
}

static void
on_left_out (void *opaque, const char *name, const char *reason)
{
  const struct caller *caller = opaque;

  CHECK (!caller->done && name && reason);
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct caller *caller = opaque;

  CHECK (!caller->done);
  CHECK ((result == CLOUD_OK) == (sentence == NULL));
  caller->done = true;
  caller->result = result;
}

static int
on_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct caller *caller = opaque;

  CHECK (!caller->done && n > 0 && offset == caller->next && n <= caller->end - caller->next);
  caller->next += n;
  return 0;
}

static void
on_changed (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
  on_done (opaque, result, sentence);
  if (now) {
    CHECK (result == CLOUD_OK && *now->name == '\0');
    check_item (now);
  }
}

static int
on_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  memset (buf, 'x', n);
  return 0;
}

static const struct cloud_list_sink list_sink = { .item = on_item, .left_out = on_left_out, .done = on_done };
static const struct cloud_get_sink get_sink = { .data = on_data, .done = on_done };
static const struct cloud_change_sink change_sink = { .done = on_changed };

#define TAG "\"1\""
#define SHA1 "SHA1:0123456789012345678901234567890123456789"

static void
call (struct cloud *cloud, unsigned verb, unsigned kind, struct caller *caller)
{
  const struct cloud_get get = { .path = "d/f", .token = kind & 1 ? "~200-784111777" : TAG, .size = FILE_SIZE,
                                 .offset = kind & 2 ? 0 : 50, .length = kind & 4 ? FILE_SIZE : 100 };
  const struct cloud_put put = { .path = "d/f", .expect = kind & 1 ? TAG : NULL, .size = FILE_SIZE, .read = on_read,
                                 .mtime.tv_sec = 784111777, .checksum = kind & 2 ? SHA1 : NULL };
  const char *expect = kind & 1 ? TAG : NULL;
  const bool folder = kind & 2;
  enum cloud_result result;
  char *sentence;

  switch (verb) {
  case 0:
    caller->depth = kind & 1;
    cloud->ops->list (cloud, kind & 2 ? "" : "d", caller->depth, &list_sink, caller);
    return;
  case 1:
    if ((kind & 6) == 4)
      return;
    caller->next = get.offset;
    caller->end = get.offset + get.length;
    cloud->ops->get (cloud, &get, &get_sink, caller);
    CHECK (!caller->done || caller->result != CLOUD_OK || caller->next == caller->end);
    return;
  case 2:
    cloud->ops->put (cloud, &put, &change_sink, caller);
    return;
  case 3:
    cloud->ops->mkdir (cloud, "d/n", &change_sink, caller);
    return;
  case 4:
    cloud->ops->move (cloud, "d/f", folder, folder ? NULL : expect, "e/g", &change_sink, caller);
    return;
  case 5:
    cloud->ops->remove (cloud, "d/f", folder, folder ? NULL : expect, &change_sink, caller);
    return;
  case 6:
    cloud->ops->touch (cloud, "d/f", expect, &put.mtime, &change_sink, caller);
    return;
  case 7:
    sentence = NULL;
    result = cloud->ops->probe (cloud, &sentence);
    on_done (caller, result, sentence);
    free (sentence);
    return;
  }
}

/* Bits of two bytes: all that may be known of a server. */
static void
set_conduct (struct davmanners *manners, unsigned bits)
{
  manners->known = true;
  manners->conduct = (struct davconduct) {
    .put_new = bits & 1, .move_onto = bits & 2, .move_new = bits & 4, .remove_folder = bits & 8, .mkdir_new = bits & 16,
    .put_token = bits & 32, .put_whole = bits & 64, .move_token = bits & 128, .undotted = bits & 256,
    .put = (bits >> 9 & 3) % 3, .move = (bits >> 9 & 3) % 3, .remove = (bits >> 11 & 3) % 3, .touch = (bits >> 13 & 3) % 3,
  };
}

/* Manners are asked for on a thread of their own, which davmanners_stop waits for only where nobody waits. */
static void
await_end (struct davmanners *manners)
{
  for (;;) {
    {
      LOCK_FOR_SCOPE (&manners->lock);
      if (manners->waiting == NULL)
        return;
    }
    sched_yield ();
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  static const struct cloud_config config = { .remote = REMOTE, .user = "u", .password = "p", .connections = 2 };
  struct caller caller = { .done = false };
  struct cloud *cloud;
  struct webdav *dav;

  if (n < 4 || n > MOST_INPUT)
    return 0;
  msg_set_sink (be_silent);
  the_http = (struct http) { .input = (const char *) data + 4, .end = (const char *) data + n, .piece = 1 + data[3] * 4u };
  cloud = cloud_webdav_open (&config);
  CHECK (cloud);
  dav = (struct webdav *) cloud;
  cloud->owner = 0x01234567;
  CHECK (cloud->ops->start (cloud) == 0);
  if (!(data[2] & 0x80))
    set_conduct (dav->manners, data[1] | data[2] << 8);
  call (cloud, data[0] & 7, data[0] >> 3, &caller);
  await_end (dav->manners);
  cloud->ops->stop (cloud);
  CHECK (caller.done || ((data[0] & 7) == 1 && (data[0] >> 3 & 6) == 4));
  cloud->ops->close (cloud);
  return 0;
}

#ifndef FUZZER

static unsigned
replay (const char *path)
{
  static uint8_t data[MOST_INPUT];
  unsigned n = 0;
  struct dirent *entry;
  DIR *dir = opendir (path);
  FILE *f;

  if (dir) {
    while ((entry = readdir (dir)) != NULL) {
      char *below;

      if (entry->d_name[0] == '.')
        continue;
      CHECK (asprintf (&below, "%s/%s", path, entry->d_name) != -1);
      n += replay (below);
      free (below);
    }
    closedir (dir);
    return n;
  }
  f = fopen (path, "r");
  if (f == NULL) {
    perror (path);
    exit (EXIT_FAILURE);
  }
  LLVMFuzzerTestOneInput (data, fread (data, 1, sizeof data, f));
  fclose (f);
  return 1;
}

int
main (int argc, char *argv[])
{
  unsigned n = 0;

  for (int i = 1; i < argc; i++)
    n += replay (argv[i]);
  printf ("%u inputs\n", n);
  return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif /* FUZZER */
