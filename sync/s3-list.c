/* SPDX-License-Identifier: BSD-3-Clause */
/* Listings (ListObjectsV2) by pages, and looks at one item.
 *
 * A page is gathered, judged and given on before the next one is asked for, so a folder may have any number of entries.
 * Nothing is asked for each of them: a listing tells size, entity tag and when the object came to be.  What we keep
 * beside an object (its file's time of change, a checksum) only a look at the one item tells, and a put's own answer.
 *
 * Pages are in the order of keys' bytes.  A file whose name may still turn out to be a folder's as well ("a" before
 * "a-b" before "a/") is held back until the listing is past that.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "davtext.h"
#include "msg.h"
#include "s3-manners.h"
#include "s3.h"

/* What S3 gives at most. */
#define PAGE "1000"

/* Scratch objects (s3-manners.h) that a crash left go after a day. */
#define LITTER_S (24 * 60 * 60)

/* XML cannot hold it, and Ceph's answers do all the same: what is below such a folder cannot be listed. */
#define CONTROL "its name has a control character"

struct entry {
  char *name;
  uint64_t size;
  struct timespec time;
  char *token;
};

/* Sorted by name from the end of a page on. */
struct entries {
  struct entry *list;
  size_t n, room;
};

struct listing {
  struct s3 *s3;
  char *path, *prefix;
  const struct cloud_list_sink *sink;
  void *opaque;
  char *next;                  /* of the page asked for; NULL: the first */
  struct entries files, folders;
  bool any;                    /* there is a key */
  bool has_marker;
  time_t now;                  /* the server's clock */

  /* The verdict; once it is not CLOUD_OK it stays. */
  enum cloud_result result;
  char *sentence;
};

static void
entries_clear (struct entries *entries)
{
  for (size_t i = 0; i < entries->n; i++) {
    free (entries->list[i].name);
    free (entries->list[i].token);
  }
  entries->n = 0;
}

static void
listing_free (struct listing *listing)
{
  entries_clear (&listing->files);
  entries_clear (&listing->folders);
  free (listing->files.list);
  free (listing->folders.list);
  free (listing->path);
  free (listing->prefix);
  free (listing->next);
  free (listing->sentence);
  free (listing);
}

static void __attribute__ ((format (printf, 3, 4)))
fail (struct listing *listing, enum cloud_result result, const char *fmt, ...)
{
  CLEANUP_FREE char *why = NULL;
  va_list args;

  if (listing->result != CLOUD_OK)
    return;
  listing->result = result;
  va_start (args, fmt);
  if (vasprintf (&why, fmt, args) == -1)
    why = NULL;
  va_end (args);
  if (why == NULL ||
      asprintf (&listing->sentence, "s3://%s/%s: %s", listing->s3->url.bucket, listing->prefix, why) == -1)
    listing->sentence = NULL;
}

/* ---- tokens ---- */

char *
s3_token (const char *etag)
{
  char *token;

  return asprintf (&token, "\"%s\"", etag) == -1 ? NULL : token;
}

bool
s3_token_md5 (const char *token, char hex[33])
{
  if (strlen (token) != 34 || strspn (token + 1, "0123456789abcdef") != 32)
    return false;
  memcpy (hex, token + 1, 32);
  hex[32] = '\0';
  return true;
}

/* ---- entries ---- */

/* -1: out of memory. */
static int
entries_add (struct entries *entries, const char *name, size_t len, const struct s3_entry *from)
{
  struct entry *entry;

  if (entries->n == entries->room) {
    const size_t room = entries->room ? entries->room * 2 : 64;
    struct entry *longer = realloc (entries->list, room * sizeof *longer);

    if (longer == NULL)
      return -1;
    entries->list = longer;
    entries->room = room;
  }
  entry = &entries->list[entries->n];
  *entry = (struct entry) { .name = strndup (name, len), .size = from->size, .time = from->time };
  if (from->etag)
    entry->token = s3_token (from->etag);
  entries->n++;
  return entry->name && (from->etag == NULL || entry->token) ? 0 : -1;
}

bool
s3_is_plain (const char *name)
{
  for (; *name; name++)
    if ((unsigned char) *name < 0x20 || *name == 0x7f)
      return false;
  return true;
}

/* For people: what cannot be shown, in the form of URLs. */
static void
leave_out (struct listing *listing, const char *name, const char *why)
{
  CLEANUP_FREE char *text = sigv4_encode (name, false);

  listing->sink->left_out (listing->opaque, s3_is_plain (name) || text == NULL ? name : text, why);
}

static void
swept (void *opaque, struct s3_answer *answer)
{
}

static void
sweep (struct listing *listing, const struct s3_entry *entry, time_t made)
{
  struct s3_request request = { .method = "DELETE", .key = entry->key, .once = true };

  if (!atomic_load (&listing->s3->writing) || made > listing->now - LITTER_S ||
      entry->time.tv_sec > listing->now - LITTER_S)
    return;
  msg_debug ("s3://%s/%s: left by a trial that did not end, and removed", listing->s3->url.bucket, entry->key);
  s3_ask (listing->s3, &request, swept, NULL);
}

static int
take_key (struct listing *listing, const char *name, const struct s3_entry *entry)
{
  const char *why = NULL;
  time_t made;

  listing->any = true;
  if (*name == '\0') {
    listing->has_marker = true;
    if (entry->size > 0)
      leave_out (listing, "(no name)", "an object with content has the folder's own name");
    return 0;
  }
  if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
    why = "its name means a folder";
  else if (!s3_is_plain (name))
    why = CONTROL;
  else if (strchr (name, '/'))
    why = "the server lists what is not in this folder";
  else if (!entry->has_size || entry->etag == NULL)
    why = "the server does not say its size and entity tag";
  else if (s3_is_scratch_name (name, &made)) {
    sweep (listing, entry, made);
    return 0;
  }
  if (why) {
    leave_out (listing, name, why);
    return 0;
  }
  return entries_add (&listing->files, name, strlen (name), entry);
}

static int
take_prefix (struct listing *listing, const char *name, const struct s3_entry *entry)
{
  const size_t len = strcspn (name, "/");
  const char *why = NULL;

  listing->any = true;
  if (name[len] != '/' || name[len + 1] != '\0')
    why = "the server lists what is not in this folder";
  else if (len == 0)
    why = "it has no name";
  else if ((len == 1 && name[0] == '.') || (len == 2 && strncmp (name, "..", 2) == 0))
    why = "its name means a folder";
  else if (!s3_is_plain (name))
    why = CONTROL;
  if (why) {
    leave_out (listing, len == 0 ? "(no name)/" : name, why);
    return 0;
  }
  return entries_add (&listing->folders, name, len, entry);
}

static int
on_entry (void *opaque, const struct s3_entry *entry)
{
  struct listing *listing = opaque;
  const size_t len = strlen (listing->prefix);
  int r;

  if (entry->kind != S3_ENTRY_KEY && entry->kind != S3_ENTRY_PREFIX)
    return 0;
  if (strncmp (entry->key, listing->prefix, len) != 0) {
    fail (listing, CLOUD_BAD, "the server lists keys that were not asked for");
    return -1;
  }
  r = entry->kind == S3_ENTRY_KEY ? take_key (listing, entry->key + len, entry) :
    take_prefix (listing, entry->key + len, entry);
  if (r == -1)
    fail (listing, CLOUD_LOCAL, "out of memory");
  return listing->result == CLOUD_OK ? 0 : -1;
}

/* ---- giving ---- */

static int
compare_entries (const void *a, const void *b)
{
  return strcmp (((const struct entry *) a)->name, ((const struct entry *) b)->name);
}

/* How a folder NAME stands to another name, in the order of keys: "NAME/" and that. */
static int
compare_as_folder (const char *folder, const char *name)
{
  const size_t len = strlen (folder);
  const int order = strncmp (folder, name, len);

  return order ? order : '/' - (unsigned char) name[len];
}

static void
give_folder (struct listing *listing, const struct entry *entry)
{
  const struct cloud_item item = { .name = entry->name, .is_folder = true, .settled = true };

  listing->sink->item (listing->opaque, &item);
}

static void
give_file (struct listing *listing, const struct entry *entry)
{
  const struct cloud_item item = {
    .name = entry->name, .size = entry->size, .mtime = entry->time, .token = entry->token, .settled = true,
    .arrival = true,
  };

  if (listing->folders.n > 0 &&
      bsearch (entry, listing->folders.list, listing->folders.n, sizeof *entry, compare_entries))
    leave_out (listing, entry->name, "a folder has the same name");
  else
    listing->sink->item (listing->opaque, &item);
}

/* Gives what is certain after a page; all of it after the last. */
static void
give_page (struct listing *listing, bool is_last)
{
  struct entries *files = &listing->files, *folders = &listing->folders;
  const char *last_file, *last_folder;
  size_t kept = 0;

  if (folders->n > 0)
    qsort (folders->list, folders->n, sizeof *folders->list, compare_entries);
  if (files->n > 0)
    qsort (files->list, files->n, sizeof *files->list, compare_entries);
  last_file = files->n > 0 ? files->list[files->n - 1].name : "";
  last_folder = folders->n > 0 ? folders->list[folders->n - 1].name : "";
  for (size_t i = 0; i < folders->n; i++)
    give_folder (listing, &folders->list[i]);
  for (size_t i = 0; i < files->n; i++) {
    struct entry *entry = &files->list[i];

    /* Behind "NAME/" in the order of keys there is something already. */
    if (is_last || compare_as_folder (entry->name, last_file) < 0 || compare_as_folder (entry->name, last_folder) < 0 ||
        strcmp (entry->name, last_folder) == 0) {
      give_file (listing, entry);
      free (entry->name);
      free (entry->token);
    }
    else
      files->list[kept++] = *entry;
  }
  files->n = kept;
  entries_clear (folders);
}

/* ---- pages ---- */

static void ask_page (struct listing *listing);

static void
finish (struct listing *listing)
{
  listing->sink->done (listing->opaque, listing->result,
                       listing->result == CLOUD_OK ? NULL : listing->sentence ? listing->sentence : "out of memory");
  listing_free (listing);
}

/* A folder's. */
static void
end_listing (struct listing *listing)
{
  if (listing->result == CLOUD_OK && !listing->any && *listing->prefix)
    fail (listing, CLOUD_GONE, "there is no such folder");
  if (listing->result == CLOUD_OK && listing->any)
    known_folders_saw (&listing->s3->folders, listing->path, listing->has_marker);
  finish (listing);
}

static bool
is_about (const struct s3_document *document, const char *prefix)
{
  return (document->prefix && strcmp (document->prefix, prefix) == 0) ||
    (document->prefix_decoded && strcmp (document->prefix_decoded, prefix) == 0);
}

/* Takes a page's document apart.  True: there is another page. */
static bool
read_page (struct listing *listing, const struct s3_answer *answer)
{
  static const struct s3_xml_sink sink = { .entry = on_entry };
  CLEANUP_FREE char *why = NULL;
  const char *date = s3_answer_header (answer, "date");
  struct s3_document document;
  struct timespec t;
  bool more = false;

  listing->now = date && davtext_parse_time (date, &t) == 0 ? t.tv_sec : time (NULL);
  if (s3_xml_read (answer->body, answer->body_len, "ListBucketResult", &sink, listing, &document, &why) == -1)
    fail (listing, CLOUD_BAD, "%s", why ? why : "out of memory");
  else if (s3_document_is_error (&document))
    fail (listing, CLOUD_BUSY, "the server has a problem (%.60s)", document.code ? document.code : "no code");
  else if (!document.has_truncated || !is_about (&document, listing->prefix))
    fail (listing, CLOUD_BAD, "the server's answer is not the listing that was asked for");
  else if (document.truncated &&
           (document.next == NULL || (listing->next && strcmp (document.next, listing->next) == 0)))
    fail (listing, CLOUD_BAD, "the server says that there is more, but not how to get it");
  else {
    more = document.truncated;
    give_page (listing, !more);
    free (listing->next);
    listing->next = document.next;
    document.next = NULL;
  }
  s3_document_free (&document);
  return more;
}

static void
on_page (void *opaque, struct s3_answer *answer)
{
  struct listing *listing = opaque;

  if (answer->result != CLOUD_OK || answer->status != 200)
    listing->result = s3_refusal (listing->s3, "GET", listing->prefix, answer, &listing->sentence);
  else if (read_page (listing, answer)) {
    ask_page (listing);
    return;
  }
  end_listing (listing);
}

void
s3_list_request (struct s3_request *request, const char *prefix, bool delimiter, const char *most,
                 const char *continuation)
{
  request->method = "GET";
  request->key = "";
  s3_request_query (request, "list-type", "2");
  s3_request_query (request, "encoding-type", "url");
  s3_request_query (request, "max-keys", most);
  s3_request_query (request, "prefix", prefix);
  if (delimiter)
    s3_request_query (request, "delimiter", "/");
  if (continuation)
    s3_request_query (request, "continuation-token", continuation);
}

static void
ask_page (struct listing *listing)
{
  struct s3_request request = { .urgent = true };

  s3_list_request (&request, listing->prefix, true, PAGE, listing->next);
  s3_ask (listing->s3, &request, on_page, listing);
}

/* ---- one item ---- */

void
s3_seen_clear (struct s3_seen *seen)
{
  free (seen->token);
  free (seen->checksum);
  free (seen->mime);
  free (seen->mtime_text);
  memset (seen, 0, sizeof *seen);
}

/* "1700000000.123456789", as rclone writes it, or without a fraction, as s3fs does. */
static int
parse_mtime (const char *text, struct timespec *ret)
{
  char *end;
  const long long seconds = strtoll (text, &end, 10);
  long ns = 0, unit = 100000000;

  if (end == text || seconds == 0)
    return -1;
  if (*end == '.')
    for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
      ns += (*end - '0') * unit;
  if (*end)
    return -1;
  *ret = (struct timespec) { .tv_sec = seconds, .tv_nsec = ns };
  return 0;
}

/* x-amz-meta-cloudshare: "SIZE MTIME CHECKSUM".  Others keep it when they replace the content, so it counts only for an
 * object of that size and time. */
static char *
own_checksum (const struct s3_seen *seen, const char *text)
{
  char size[32];
  const size_t size_len = snprintf (size, sizeof size, "%llu ", (unsigned long long) seen->size);
  const size_t mtime_len = seen->mtime_text ? strlen (seen->mtime_text) : 0;

  if (text == NULL || mtime_len == 0 || strncmp (text, size, size_len) != 0 ||
      strncmp (text + size_len, seen->mtime_text, mtime_len) != 0 || text[size_len + mtime_len] != ' ')
    return NULL;
  return davtext_best_checksum (text + size_len + mtime_len + 1);
}

int
s3_seen_take (struct s3 *s3, struct s3_seen *seen, const struct s3_answer *answer)
{
  const char *etag = s3_answer_header (answer, "etag"), *mtime = s3_answer_header (answer, "x-amz-meta-mtime");
  const char *mime = s3_answer_header (answer, "content-type"), *sse;
  char hex[33];

  s3_seen_clear (seen);
  seen->what = S3_FILE;
  seen->size = s3_answer_size (answer);
  seen->mtime = s3_answer_time (answer);
  seen->arrival = true;
  if (mtime && parse_mtime (mtime, &seen->mtime) == 0)
    seen->arrival = false;
  seen->token = davtext_normal_etag (etag ? etag : "\"\"", NULL);
  seen->mime = mime ? strdup (mime) : NULL;
  seen->mtime_text = mtime ? strdup (mtime) : NULL;
  if (seen->token == NULL || (mime && seen->mime == NULL) || (mtime && seen->mtime_text == NULL))
    return -1;
  seen->checksum = own_checksum (seen, s3_answer_header (answer, "x-amz-meta-cloudshare"));
  /* With keys of the user's or of a key service the tag is no MD5. */
  sse = s3_answer_header (answer, "x-amz-server-side-encryption");
  if (seen->checksum == NULL && atomic_load (&s3->tags_are_md5) && s3_token_md5 (seen->token, hex) &&
      (sse == NULL || strcmp (sse, "AES256") == 0) &&
      s3_answer_header (answer, "x-amz-server-side-encryption-customer-algorithm") == NULL &&
      asprintf (&seen->checksum, "MD5:%s", hex) == -1) {
    seen->checksum = NULL;
    return -1;
  }
  return 0;
}

struct cloud_item
s3_seen_item (const struct s3_seen *seen)
{
  return (struct cloud_item) {
    .name = "",
    .is_folder = seen->what == S3_FOLDER,
    .size = seen->size,
    .mtime = seen->mtime,
    .token = seen->token,
    .checksum = seen->checksum,
    .mime = seen->mime,
    .arrival = seen->arrival,
    .settled = true,
  };
}

static void
on_head (void *opaque, struct s3_answer *answer)
{
  struct listing *listing = opaque;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  struct cloud_item item;

  if (answer->result != CLOUD_OK || answer->status != 200)
    listing->result = s3_refusal (listing->s3, "HEAD", listing->prefix, answer, &listing->sentence);
  else if (s3_answer_header (answer, "etag") == NULL)
    fail (listing, CLOUD_BAD, "the server does not say its entity tag");
  else if (s3_seen_take (listing->s3, &seen, answer) == -1)
    fail (listing, CLOUD_LOCAL, "out of memory");
  else {
    item = s3_seen_item (&seen);
    listing->sink->item (listing->opaque, &item);
  }
  finish (listing);
}

static int
on_any_key (void *opaque, const struct s3_entry *entry)
{
  struct listing *listing = opaque;

  listing->any |= strncmp (entry->key, listing->prefix, strlen (listing->prefix)) == 0;
  return 0;
}

/* Whether there is a folder; if not, whether there is a file. */
static void
on_folder_looked (void *opaque, struct s3_answer *answer)
{
  static const struct s3_xml_sink sink = { .entry = on_any_key };
  static const struct cloud_item folder = { .name = "", .is_folder = true, .settled = true };
  struct listing *listing = opaque;
  struct s3_request request = { .method = "HEAD", .urgent = true };
  struct s3_document document;
  CLEANUP_FREE char *why = NULL;

  if (answer->result != CLOUD_OK || answer->status != 200) {
    listing->result = s3_refusal (listing->s3, "GET", listing->prefix, answer, &listing->sentence);
    end_listing (listing);
    return;
  }
  if (s3_xml_read (answer->body, answer->body_len, "ListBucketResult", &sink, listing, &document, &why) == -1)
    fail (listing, CLOUD_BAD, "%s", why ? why : "out of memory");
  s3_document_free (&document);
  if (listing->result == CLOUD_OK && (listing->any || *listing->prefix == '\0')) {
    listing->any = true;
    listing->sink->item (listing->opaque, &folder);
  }
  else if (listing->result == CLOUD_OK && *listing->path) {
    listing->prefix[strlen (listing->prefix) - 1] = '\0';
    request.key = listing->prefix;
    s3_ask (listing->s3, &request, on_head, listing);
    return;
  }
  end_listing (listing);
}

void
s3_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  struct s3 *s3 = (struct s3 *) cloud;
  struct listing *listing = calloc (1, sizeof *listing);
  struct s3_request request = { .urgent = true };

  if (listing) {
    listing->s3 = s3;
    listing->sink = sink;
    listing->opaque = opaque;
    listing->path = strdup (path);
    listing->prefix = s3_url_key (&s3->url, path, true);
  }
  if (listing == NULL || listing->path == NULL || listing->prefix == NULL) {
    if (listing)
      listing_free (listing);
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  if (depth == 1) {
    ask_page (listing);
    return;
  }
  s3_list_request (&request, listing->prefix, false, "1", NULL);
  s3_ask (s3, &request, on_folder_looked, listing);
}
