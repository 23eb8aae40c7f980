/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts a large file piece by piece, as Nextcloud (chunked upload, version 2) and ownCloud (version 1) take it:
 *
 *   MKCOL  .../uploads/USER/NAME
 *   PUT    .../uploads/USER/NAME/00001 ...       put together in the order of their names
 *   MOVE   .../uploads/USER/NAME/.file           onto the file: If: with its tag, or Overwrite: F
 *
 * All three name the Destination, by which version 2 is known.  NAME is made of what is put and what it replaces, so whoever
 * tries again, also another process, finds what is there already by listing the folder, and sends the rest.  That is only done where
 * a checksum tells which content it is; without one each try has a folder of its own.  The server forgets a folder that
 * nobody has touched for a day.
 *
 * If: is about the Destination and not the source, so it is the file's own tag that counts.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <openssl/sha.h>

#include "cleanup.h"
#include "davchunks.h"
#include "davput.h"
#include "msg.h"

/* The list of what a server can do is some tens of KiB. */
#define MAX_CAPABILITIES (1024 * 1024)

struct davchunks {
  char *url;                   /* of the folder, with a trailing '/' */
  char *folder;                /* its canonical path, as in hrefs */
  bool found_by_name;          /* the next try finds it */
  bool restarted;              /* all was sent anew once */
  uint64_t wanted;             /* bytes of the next chunk, if nothing speaks against it */
  unsigned n;                  /* chunks 1 to n are there */
  uint64_t at;                 /* bytes in them */
  uint64_t length;             /* of the one under way */
  int64_t began_ms;
  bool full_of_strays;         /* something else is in the folder */
  uint64_t sizes[DAVCHUNKS_MAX + 1];

  /* Of the list of what the server can do. */
  int status;
  char *text;
  size_t n_text;

  char number[8];
};

void
davchunks_free (struct davchunks *chunks)
{
  if (chunks == NULL)
    return;
  free (chunks->url);
  free (chunks->folder);
  free (chunks->text);
  free (chunks);
}

static int64_t
now_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C (1000) + now.tv_nsec / 1000000;
}

/* ---- requests ---- */

/* A request to the upload's folder, or to something in it. */
static void
send_to (struct davchange *change, const char *name, struct davrequest *request,
         void (*next) (struct davchange *change))
{
  CLEANUP_FREE char *url = NULL;

  if (asprintf (&url, "%s%s", change->chunks->url, name) == -1) {
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
    return;
  }
  request->url = url;
  davchange_send (change, request, next);
}

/* ---- how it ends ---- */

static void
aborted (struct davchange *change)
{
  davchange_end (change, change->final, change->final_sentence, NULL);
}

/* Ends it, without leaving what has been uploaded. */
static void
abort_upload (struct davchange *change, enum cloud_result result, const char *sentence)
{
  struct davrequest request = { .method = "DELETE" };

  change->final = result;
  free (change->final_sentence);
  change->final_sentence = sentence ? strdup (sentence) : NULL;
  send_to (change, "", &request, aborted);
}

/* What is there is worth to be kept for the next try, unless nobody could find it. */
static void
end_for_now (struct davchange *change, enum cloud_result result, const char *sentence)
{
  if (change->chunks->found_by_name)
    davchange_end (change, result, sentence, NULL);
  else
    abort_upload (change, result, sentence);
}

static void
refused (struct davchange *change)
{
  if (change->result == CLOUD_BUSY || change->result == CLOUD_AUTH || change->result == CLOUD_OFFLINE)
    end_for_now (change, change->result, change->sentence);
  else
    abort_upload (change, change->result, change->sentence);
}

/* ---- all over again ---- */

static void make_folder (struct davchange *change);

static void
cleared (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else
    make_folder (change);
}

/* True: it is being done. */
static bool
restart (struct davchange *change)
{
  struct davrequest request = { .method = "DELETE" };

  if (change->chunks->restarted)
    return false;
  change->chunks->restarted = true;
  change->chunks->n = 0;
  change->chunks->at = 0;
  send_to (change, "", &request, cleared);
  return true;
}

/* ---- the MOVE ---- */

static void
placed_looked (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end (change, CLOUD_OK, NULL, NULL);
  else if (!davput_is_whole (change))
    davchange_end_because (change, CLOUD_BAD, NOT_WHOLE);
  else
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
}

static void
place_lost_looked (struct davchange *change)
{
  if (change->result == CLOUD_OK && davput_is_there_already (change))
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  else
    davchange_end (change, change->final, change->final_sentence, NULL);
}

/* Where libcurl had to send it twice, the first may have been carried out. */
static void
place_explained (struct davchange *change)
{
  if (change->seen.what == DAVSEEN_FILE && davput_is_there_already (change))
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  /* Chunks that do not make up what they ought to. */
  else if ((change->facts.status == 400 || change->facts.status == 404) && change->result != CLOUD_CHANGED &&
           change->result != CLOUD_EXISTS && change->result != CLOUD_GONE && change->result != CLOUD_PARENT &&
           restart (change))
    return;
  else
    refused (change);
}

static void
place_sent (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->final = change->result;
    change->final_sentence = change->sentence;
    change->sentence = NULL;
    davchange_look (change, change->path, 0, place_lost_looked);
  }
  else if (!davchange_succeeded (change)) {
    davseen_clear (&change->seen);
    davchange_explain (change, place_explained);
  }
  else if (change->etag == NULL)
    davchange_look (change, change->path, 0, placed_looked);
  else
    davput_direct_done (change);
}

static void
place (struct davchange *change)
{
  struct davrequest request = {
    .method = "MOVE",
    .to = change->path,
    .overwrite = change->expect != NULL,
    .checksum = change->checksum,
    .mtime = change->mtime.tv_sec,
    .has_total = true,
    .total = change->size,
    .patience_s = change->size / SERVER_RATE,
  };

  if (change->expect && change->conduct.move_onto) {
    request.form = davchange_form (DAVFORM_IF, change->expect);
    request.condition_path = change->path;
    request.token = change->expect;
  }
  send_to (change, ".file", &request, place_sent);
}

static void
place_looked (struct davchange *change)
{
  const enum cloud_result verdict =
    change->expect ? davchange_judge (change, &change->seen) :
    change->seen.what == DAVSEEN_NOTHING ? CLOUD_OK : CLOUD_EXISTS;

  if (change->result != CLOUD_OK)
    end_for_now (change, change->result, change->sentence);
  else if (verdict != CLOUD_OK)
    abort_upload (change, verdict, verdict == CLOUD_GONE ? "there is no such item any more" :
                  verdict == CLOUD_EXISTS ? "there is something by that name already" :
                  "the item has another version by now");
  else
    place (change);
}

static void
finish (struct davchange *change)
{
  const bool has_condition = change->expect ?
    change->conduct.move_onto && davchange_form (DAVFORM_IF, change->expect) != DAVFORM_NONE : change->conduct.move_new;

  if (has_condition)
    place (change);
  else
    davchange_look (change, change->path, 0, place_looked);
}

/* ---- the chunks ---- */

static void next_chunk (struct davchange *change);

static int
read_chunk (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct davchange *change = opaque;

  return change->read (change->opaque, buf, n, change->chunks->at + offset);
}

static void
chunk_sent (struct davchange *change)
{
  struct davchunks *chunks = change->chunks;

  if (change->result != CLOUD_OK) {
    /* Our own end failed: there will be no next try with this. */
    if (change->result == CLOUD_LOCAL)
      abort_upload (change, change->result, change->sentence);
    else
      davchange_end_failed (change);
  }
  else if (davchange_succeeded (change)) {
    const int64_t took_ms = now_ms () - chunks->began_ms;

    chunks->n++;
    chunks->at += chunks->length;
    if (chunks->length >= chunks->wanted)
      chunks->wanted = davchunk_adapt (chunks->wanted, chunks->length, took_ms);
    next_chunk (change);
  }
  /* Something on the way takes no bodies of that size. */
  else if (change->status == 413 && chunks->length > DAVCHUNK_SMALLEST) {
    chunks->wanted = DAVCHUNK_SMALLEST;
    next_chunk (change);
  }
  else if ((change->status == 404 || change->status == 409) && restart (change))
    return;
  else
    davchange_explain (change, refused);
}

static void
next_chunk (struct davchange *change)
{
  struct davchunks *chunks = change->chunks;
  struct davrequest request = {
    .method = "PUT",
    .to = change->path,
    .has_total = true,
    .total = change->size,
    .read = read_chunk,
  };

  if (chunks->at == change->size) {
    finish (change);
    return;
  }
  chunks->length = request.size = davchunk_length (chunks->wanted, chunks->n, chunks->at, change->size);
  if (chunks->length == 0) {
    abort_upload (change, CLOUD_REFUSED, "the file is larger than the server takes");
    return;
  }
  snprintf (chunks->number, sizeof chunks->number, "%05u", chunks->n + 1);
  request.patience_s = chunks->length / SERVER_RATE;
  chunks->began_ms = now_ms ();
  send_to (change, chunks->number, &request, chunk_sent);
}

/* ---- the folder ---- */

static void
folder_refused (struct davchange *change)
{
  /* It is said to take chunks, but does not. */
  if (change->result == CLOUD_REFUSED || change->result == CLOUD_DENIED ||
      (change->result == CLOUD_BUSY && (change->facts.status == 404 || change->facts.status == 409)))
    davput_send_at_once (change);
  else
    davchange_end_failed (change);
}

static void
folder_made (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  /* There already, by a request that was sent twice. */
  else if (davchange_succeeded (change) || change->status == 405)
    next_chunk (change);
  else
    davchange_explain (change, folder_refused);
}

static void
make_folder (struct davchange *change)
{
  struct davrequest request = { .method = "MKCOL", .to = change->path };

  send_to (change, "", &request, folder_made);
}

static void
list_item (void *opaque, const struct cloud_item *item)
{
  struct davchunks *chunks = ((struct davchange *) opaque)->chunks;
  char *end;
  const unsigned long number = strtoul (item->name, &end, 10);

  if (item->name[0] == '\0' || strcmp (item->name, ".file") == 0)
    return;
  if (item->is_folder || *end != '\0' || number == 0 || number > DAVCHUNKS_MAX || item->size == 0)
    chunks->full_of_strays = true;
  else
    chunks->sizes[number] = item->size;
}

static void
list_left_out (void *opaque, const char *name, const char *reason)
{
  ((struct davchange *) opaque)->chunks->full_of_strays = true;
}

static void
list_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct davchange *change = opaque;
  struct davchunks *chunks = change->chunks;

  if (result == CLOUD_GONE) {
    make_folder (change);
    return;
  }
  if (result != CLOUD_OK) {
    davchange_end (change, result, sentence, NULL);
    return;
  }
  chunks->n = davchunks_usable (chunks->sizes, change->size, &chunks->at);
  for (unsigned i = chunks->n + 1; i <= DAVCHUNKS_MAX; i++)
    chunks->full_of_strays |= chunks->sizes[i] != 0;
  /* Whatever is in the folder goes into the file. */
  if (chunks->full_of_strays && restart (change))
    return;
  msg_debug ("%s: %u chunks with %llu bytes are there already", chunks->url, chunks->n, (unsigned long long) chunks->at);
  next_chunk (change);
}

/* Of what is put, and what it replaces.  False: no memory, or no randomness. */
static bool
name_folder (struct davchange *change, const char *uploads_url, const char *uploads_folder)
{
  struct davchunks *chunks = change->chunks;
  CLEANUP_FREE char *text = NULL;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  char hex[33];

  chunks->found_by_name = change->checksum != NULL;
  if (!chunks->found_by_name) {
    if (getrandom (digest, sizeof digest, 0) != sizeof digest)
      return false;
  }
  else {
    const int n = asprintf (&text, "%s|%s|%llu|%lld|%s|%u", change->path, change->expect ? change->expect : "",
                            (unsigned long long) change->size, (long long) change->mtime.tv_sec, change->checksum,
                            change->dav->cloud.owner);

    if (n == -1)
      return false;
    SHA256 ((unsigned char *) text, (size_t) n, digest);
  }
  for (int i = 0; i < 16; i++)
    sprintf (hex + 2 * i, "%02x", digest[i]);
  if (asprintf (&chunks->url, "%scloudshare-%s/", uploads_url, hex) == -1)
    chunks->url = NULL;
  if (asprintf (&chunks->folder, "%scloudshare-%s/", uploads_folder, hex) == -1)
    chunks->folder = NULL;
  return chunks->url && chunks->folder;
}

static void
begin (struct davchange *change)
{
  static const struct cloud_list_sink sink = { .item = list_item, .left_out = list_left_out, .done = list_done };
  struct webdav *dav = change->dav;
  CLEANUP_FREE char *url = NULL, *folder = NULL;

  {
    LOCK_FOR_SCOPE (&dav->lock);
    url = davchunks_uploads (dav->base);
    folder = davchunks_uploads (dav->root);
    change->chunks->wanted = dav->chunk_size;
  }
  if (url == NULL || folder == NULL)
    davput_send_at_once (change);
  else if (!name_folder (change, url, folder))
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
  else if (change->chunks->found_by_name)
    webdav_find_at (dav, change->chunks->url, change->chunks->folder, &sink, change);
  else
    make_folder (change);
}

/* ---- whether the server takes them ---- */

static enum http_verdict
capabilities_answer (void *opaque, const struct http_answer *answer)
{
  struct davchunks *chunks = ((struct davchange *) opaque)->chunks;

  chunks->status = answer->status;
  return answer->status == 200 ? HTTP_TAKE : HTTP_SKIP;
}

static int
capabilities_data (void *opaque, const void *buf, size_t n)
{
  struct davchunks *chunks = ((struct davchange *) opaque)->chunks;
  char *longer = n <= MAX_CAPABILITIES - chunks->n_text ? realloc (chunks->text, chunks->n_text + n) : NULL;

  if (longer == NULL)
    return -1;
  memcpy (longer + chunks->n_text, buf, n);
  chunks->text = longer;
  chunks->n_text += n;
  return 0;
}

static void
capabilities_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct davchange *change = opaque;
  struct davchunks *chunks = change->chunks;
  const bool has_answer = result == CLOUD_OK && chunks->status / 100 != 5 && chunks->status != 429 && chunks->status != 423;
  const bool offered = has_answer && chunks->status == 200 && davchunks_offered (chunks->text, chunks->n_text);

  if (result == CLOUD_STOPPED) {
    davchange_end (change, result, sentence, NULL);
    return;
  }
  if (has_answer) {
    LOCK_FOR_SCOPE (&change->dav->lock);
    change->dav->chunks = offered ? WEBDAV_YES : WEBDAV_NO;
  }
  msg_debug ("%s: %s", change->dav->cloud.identity, offered ? "takes files in chunks" : "takes files at once");
  if (offered)
    begin (change);
  else
    davput_send_at_once (change);
}

static void
ask (struct davchange *change)
{
  static const struct http_sink sink = {
    .answer = capabilities_answer, .data = capabilities_data, .done = capabilities_done,
  };
  static const char *const headers[] = { "OCS-APIRequest: true", "Accept: application/json", NULL };
  struct http_request request = { .method = "GET", .headers = headers, .urgent = true };
  CLEANUP_FREE char *url = NULL;

  {
    LOCK_FOR_SCOPE (&change->dav->lock);
    url = davchunks_capabilities (change->dav->base);
  }
  if (url == NULL) {
    davput_send_at_once (change);
    return;
  }
  request.url = url;
  http_submit (change->dav->http, &request, &sink, change);
}

bool
davput_may_chunk (struct davchange *change)
{
  struct webdav *dav = change->dav;

  LOCK_FOR_SCOPE (&dav->lock);
  return change->size > dav->chunk_size && dav->chunks != WEBDAV_NO && strstr (dav->base, "/remote.php/dav/files/");
}

void
davput_send_chunks (struct davchange *change)
{
  bool known;

  change->chunks = calloc (1, sizeof *change->chunks);
  if (change->chunks == NULL) {
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
    return;
  }
  {
    LOCK_FOR_SCOPE (&change->dav->lock);
    known = change->dav->chunks == WEBDAV_YES;
  }
  if (known)
    begin (change);
  else
    ask (change);
}
