/* SPDX-License-Identifier: BSD-3-Clause */
/* PUT of a file's whole content, in one of two ways:
 *
 *   directly     PUT under a condition, then a look: the size, and that it is still ours.  Needs a server that honours
 *                the condition, that leaves the old file where an upload is cut off, and whose answer names the new
 *                version's token, since the look may show somebody else's already.  Keeps ids, shares and versions
 *                (ownCloud, Nextcloud).
 *   by a detour  PUT under a temporary name in the same folder, a look at that, then MOVE to the place under a
 *                condition: for all others.  What is seen under the path is always whole, and the token is known before
 *                anybody else can have written there.  A new file needs nothing of the server but Overwrite: F, which
 *                all honour; an old one is looked at right before the MOVE where If: on the target does not work.
 *
 * Where only ranges are new, the temporary file may be made from the old one (webdav-ranges.c); large files go to Nextcloud and
 * ownCloud in chunks (webdav-chunks.c).
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "davchange.h"
#include "davput.h"

/* ownCloud puts an ending of its own behind a name while it is uploaded, and takes 228 bytes; with MOVE it takes
 * 250. */
#define LONGEST_DIRECT 220

/* ---- temporary names ---- */

static const char dotted_prefix[] = ".cloudshare-upload-", plain_prefix[] = "cloudshare-upload-";
#define TIME_DIGITS 10
#define RANDOM_DIGITS 16

char *
webdav_temporary (struct webdav *dav, const char *path, bool dotted)
{
  const char *slash = strrchr (path, '/');
  const int folder_len = slash ? slash - path + 1 : 0;
  unsigned long long number;
  char *temporary;

  if (getrandom (&number, sizeof number, 0) != sizeof number)
    return NULL;
  if (dav->cloud.owner) {
    LOCK_FOR_SCOPE (&dav->lock);
    number = (unsigned long long) dav->cloud.owner << 32 | (uint32_t) dav->process << 16 | dav->next_upload++;
  }
  if (asprintf (&temporary, "%.*s%s%0*llx-%0*llx", folder_len, path, dotted ? dotted_prefix : plain_prefix, TIME_DIGITS,
                (unsigned long long) time (NULL), RANDOM_DIGITS, number) == -1)
    return NULL;
  return temporary;
}

bool
webdav_is_temporary (const char *name, time_t *ret_made)
{
  static const char digits[] = "0123456789abcdef";
  const char *prefix = *name == '.' ? dotted_prefix : plain_prefix, *text = name + strlen (prefix);

  if (strncmp (name, prefix, strlen (prefix)) != 0 || strspn (text, digits) != TIME_DIGITS ||
      text[TIME_DIGITS] != '-' || strspn (text + TIME_DIGITS + 1, digits) != RANDOM_DIGITS ||
      text[TIME_DIGITS + 1 + RANDOM_DIGITS] != '\0')
    return false;
  *ret_made = strtoll (text, NULL, 16);
  return true;
}

enum webdav_maker
webdav_maker (struct webdav *dav, const char *name)
{
  const unsigned long long number = strtoull (strrchr (name, '-') + 1, NULL, 16);

  if (dav->cloud.owner == 0 || number >> 32 != dav->cloud.owner)
    return WEBDAV_ANOTHER;
  return (number >> 16 & UINT16_MAX) == dav->process ? WEBDAV_THIS : WEBDAV_EARLIER;
}

/* Litter is not worth much memory. */
#define MAX_LITTER (sizeof ((struct webdav *) 0)->litter / sizeof (char *))

void
webdav_litter (struct webdav *dav, const char *path)
{
  const char *slash = strrchr (path, '/');

  LOCK_FOR_SCOPE (&dav->lock);
  free (dav->litter[dav->next_litter]);
  dav->litter[dav->next_litter] = strdup (slash ? slash + 1 : path);
  dav->next_litter = (dav->next_litter + 1) % MAX_LITTER;
}

bool
webdav_is_litter (struct webdav *dav, const char *name)
{
  LOCK_FOR_SCOPE (&dav->lock);
  for (size_t i = 0; i < MAX_LITTER; i++)
    if (dav->litter[i] && strcmp (dav->litter[i], name) == 0)
      return true;
  return false;
}

/* ---- both ways ---- */

static int
read_body (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct davchange *change = opaque;

  return change->read (change->opaque, buf, n, offset);
}

static void
send_body (struct davchange *change, const char *path, struct davrequest *request,
           void (*next) (struct davchange *change))
{
  request->method = "PUT";
  request->path = path;
  request->mtime = change->mtime.tv_sec;
  request->checksum = change->checksum;
  request->read = read_body;
  request->size = change->size;
  request->patience_s = change->size / SERVER_RATE;
  davchange_send (change, request, next);
}

bool
davput_is_whole (const struct davchange *change)
{
  const struct davseen *seen = &change->seen;

  return seen->what == DAVSEEN_FILE && seen->size == change->size &&
    (change->checksum == NULL || seen->checksum == NULL || strncmp (seen->checksum, "SHA1:", 5) != 0 ||
     strcmp (seen->checksum, change->checksum) == 0);
}

bool
davput_is_there_already (const struct davchange *change)
{
  return change->checksum && change->seen.checksum && strcmp (change->seen.checksum, change->checksum) == 0 &&
    change->seen.what == DAVSEEN_FILE && change->seen.size == change->size;
}

/* ---- directly ---- */

static void
direct_looked (struct davchange *change)
{
  struct davseen ours = { .what = DAVSEEN_FILE, .size = change->size };

  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (change->seen.token && strcmp (change->seen.token, change->answered) == 0 &&
           davput_is_whole (change))
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  else if (change->seen.what != DAVSEEN_FILE || change->seen.token == NULL ||
           strcmp (change->seen.token, change->answered) == 0)
    davchange_end_because (change, CLOUD_BAD, NOT_WHOLE);
  /* Some programs on servers touch what was just put (Nextcloud's do), which makes another tag for the same bytes. */
  else if (davput_is_there_already (change))
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  /* Somebody else was here since.  That is the next thing to be seen; this one was done. */
  else {
    ours.token = change->answered;
    davchange_end (change, CLOUD_OK, NULL, &ours);
  }
}

/* libcurl sends again what it sent on a connection that died.  Where the first had arrived, the second is refused. */
static void
direct_explained (struct davchange *change)
{
  if ((change->result == CLOUD_EXISTS || change->result == CLOUD_CHANGED) && davput_is_there_already (change))
    davchange_end (change, CLOUD_OK, NULL, &change->seen);
  else
    davchange_end_failed (change);
}

static void
direct_sent (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (!davchange_succeeded (change))
    davchange_explain (change, direct_explained);
  else if (change->etag == NULL)
    davchange_end_because (change, CLOUD_BAD, "the server's answer lacks the entity tag that it used to have");
  else
    davput_direct_done (change);
}

void
davput_direct_done (struct davchange *change)
{
  free (change->answered);
  change->answered = change->etag;
  change->etag = NULL;
  davchange_look (change, change->path, 0, direct_looked);
}

static void
send_directly (struct davchange *change)
{
  struct davrequest request = { .only_new = change->expect == NULL };

  if (change->expect) {
    request.form = davchange_form (change->conduct.put, change->expect);
    request.condition_path = change->path;
    request.token = change->expect;
  }
  send_body (change, change->path, &request, direct_sent);
}

/* ---- by a detour ---- */

/* rclone, not having noticed yet that an upload was cut off, takes the DELETE and has the file again later. */
#define MAX_DISCARDS 4

static void discard_again (struct davchange *change);

static void
discard_end (struct davchange *change)
{
  void (*then) (struct davchange *) = change->discarded;

  change->discarded = NULL;
  if (then)
    then (change);
  else
    davchange_end (change, change->final, change->final_sentence, NULL);
}

static void
discard_looked (struct davchange *change)
{
  const bool is_there = change->result == CLOUD_OK && change->seen.what == DAVSEEN_FILE;

  if (is_there && ++change->tries < MAX_DISCARDS) {
    discard_again (change);
    return;
  }
  /* Also where it is gone: a server that is busy may have it again after the last look. */
  webdav_litter (change->dav, change->temporary);
  discard_end (change);
}

static void
discarded (struct davchange *change)
{
  if (change->result == CLOUD_OK && change->cut) {
    davchange_look (change, change->temporary, 0, discard_looked);
    return;
  }
  if (change->result != CLOUD_OK)
    webdav_litter (change->dav, change->temporary);
  discard_end (change);
}

static void
discard_again (struct davchange *change)
{
  const struct davrequest request = { .method = "DELETE", .path = change->temporary, .skip_trash = true };

  davchange_send (change, &request, discarded);
}

void
davput_discard (struct davchange *change, enum cloud_result result, const char *sentence)
{
  change->final = result;
  free (change->final_sentence);
  change->final_sentence = sentence ? strdup (sentence) : NULL;
  discard_again (change);
}

void
davput_discard_because (struct davchange *change, enum cloud_result result, const char *why)
{
  CLEANUP_FREE char *url = webdav_url (change->dav, change->path, false), *sentence = NULL;

  if (url == NULL || asprintf (&sentence, "%s: %s", url, why) == -1)
    sentence = NULL;
  davput_discard (change, result, sentence);
}

static void
end_with_stored (struct davchange *change)
{
  davchange_end (change, CLOUD_OK, NULL, &change->stored);
}

static bool
seen_is_stored (const struct davchange *change)
{
  return change->result == CLOUD_OK && change->seen.what == DAVSEEN_FILE && change->seen.size == change->size &&
    change->seen.token && change->stored.token && strcmp (change->seen.token, change->stored.token) == 0;
}

/* The MOVE's answer was lost.  The temporary file is not touched, as the server may still be at it. */
static void
move_lost_looked (struct davchange *change)
{
  if (change->conduct.move_token && seen_is_stored (change))
    end_with_stored (change);
  else
    davchange_end (change, change->final, change->final_sentence, NULL);
}

static void
moved_looked (struct davchange *change)
{
  davchange_end (change, CLOUD_OK, NULL, change->result == CLOUD_OK && davput_is_whole (change) ? &change->seen : NULL);
}

static void
move_explained (struct davchange *change)
{
  davput_discard (change, change->result, change->sentence);
}

/* Moved by a request that was sent twice, as the connection died: then the temporary file is gone, and at the place
 * is what it was. */
static void
move_refused_looked (struct davchange *change)
{
  if (seen_is_stored (change)) {
    end_with_stored (change);
    return;
  }
  davchange_end (change, change->final, change->final_sentence, NULL);
}

static void
move_gone_explained (struct davchange *change)
{
  change->final = change->result;
  change->final_sentence = change->sentence;
  change->sentence = NULL;
  davchange_look (change, change->path, 0, move_refused_looked);
}

static void
moved (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->final = change->result;
    change->final_sentence = change->sentence;
    change->sentence = NULL;
    davchange_look (change, change->path, 0, move_lost_looked);
  }
  else if (!davchange_succeeded (change))
    davchange_explain (change, change->status == 404 && change->conduct.move_token ? move_gone_explained :
                       move_explained);
  else if (change->conduct.move_token)
    end_with_stored (change);
  else
    davchange_look (change, change->path, 0, moved_looked);
}

static void
move_into_place (struct davchange *change)
{
  struct davrequest request = {
    .method = "MOVE",
    .path = change->temporary,
    .to = change->path,
    .overwrite = change->expect != NULL,
    .patience_s = change->size / SERVER_RATE,
  };

  if (change->expect && change->conduct.move_onto) {
    request.form = davchange_form (DAVFORM_IF, change->expect);
    request.condition_path = change->path;
    request.token = change->expect;
  }
  davchange_send (change, &request, moved);
}

static void
place_looked (struct davchange *change)
{
  const enum cloud_result verdict =
    change->expect ? davchange_judge (change, &change->seen) :
    change->seen.what == DAVSEEN_NOTHING ? CLOUD_OK : CLOUD_EXISTS;

  if (change->result != CLOUD_OK)
    davput_discard (change, change->result, change->sentence);
  else if (verdict != CLOUD_OK)
    davput_discard_because (change, verdict,
                            verdict == CLOUD_GONE ? "there is no such item any more" :
                            verdict == CLOUD_EXISTS ? "there is something by that name already" :
                            "the item has another version by now");
  else
    move_into_place (change);
}

void
davput_place (struct davchange *change)
{
  const bool has_condition = change->expect ?
    change->conduct.move_onto && davchange_form (DAVFORM_IF, change->expect) != DAVFORM_NONE : change->conduct.move_new;

  if (has_condition)
    move_into_place (change);
  else
    davchange_look (change, change->path, 0, place_looked);
}

static void
temporary_looked (struct davchange *change)
{
  if (change->result != CLOUD_OK)
    davput_discard (change, change->result, change->sentence);
  else if (!davput_is_whole (change))
    davput_discard_because (change, CLOUD_BAD, NOT_WHOLE);
  else {
    davseen_take (&change->stored, &change->seen);
    davput_place (change);
  }
}

static void
temporary_explained (struct davchange *change)
{
  /* What is said of the path may be about the temporary name. */
  if (change->result == CLOUD_EXISTS || change->result == CLOUD_CHANGED || change->result == CLOUD_GONE ||
      change->result == CLOUD_PARENT)
    davchange_end_failed (change);
  else
    davput_discard (change, change->result, change->sentence);
}

static void
temporary_sent (struct davchange *change)
{
  if (change->result != CLOUD_OK) {
    change->cut = true;
    davput_discard (change, change->result, change->sentence);
  }
  else if (!davchange_succeeded (change))
    davchange_explain (change, temporary_explained);
  else
    davchange_look (change, change->temporary, 0, temporary_looked);
}

static void
send_by_detour (struct davchange *change)
{
  /* Under no condition, as nobody has this name: so it may be sent twice. */
  struct davrequest request = { .only_new = false };

  change->temporary = webdav_temporary (change->dav, change->path, !change->conduct.undotted);
  if (change->temporary == NULL)
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
  else
    send_body (change, change->temporary, &request, temporary_sent);
}

/* ---- the verb ---- */

void
davput_send_at_once (struct davchange *change)
{
  const struct davconduct *conduct = &change->conduct;
  const char *slash = strrchr (change->path, '/');
  const bool has_condition =
    change->expect ? davchange_form (conduct->put, change->expect) != DAVFORM_NONE : conduct->put_new;

  if (has_condition && conduct->put_whole && conduct->put_token &&
      strlen (slash ? slash + 1 : change->path) <= LONGEST_DIRECT)
    send_directly (change);
  else
    send_by_detour (change);
}

void
davput_send_whole (struct davchange *change)
{
  if (davput_may_chunk (change))
    davput_send_chunks (change);
  else
    davput_send_at_once (change);
}

/* Who has to fetch the rest for it ought to know that it is worth it. */
static void
needs_whole_looked (struct davchange *change)
{
  const enum cloud_result verdict = davchange_judge (change, &change->seen);

  if (change->result != CLOUD_OK)
    davchange_end_failed (change);
  else if (change->expect && verdict != CLOUD_OK)
    davchange_end_because (change, verdict, verdict == CLOUD_GONE ? "there is no such item any more" :
                           verdict == CLOUD_EXISTS ? "there is something by that name already" :
                           "the item has another version by now");
  else
    davchange_end_because (change, CLOUD_WHOLE, NEEDS_WHOLE);
}

static void
put_first (struct davchange *change)
{
  if (change->patches && change->conduct.patch != DAVPATCH_NONE)
    davput_send_ranges (change);
  else if (change->n_ranges == 0 || change->has_whole)
    davput_send_whole (change);
  else
    davchange_look (change, change->path, 0, needs_whole_looked);
}

void
webdav_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink, void *opaque)
{
  struct davchange *change = davchange_new ((struct webdav *) cloud, DAVVERB_PUT, put->path, sink, opaque);

  if (change == NULL)
    return;
  change->expect = put->expect ? strdup (put->expect) : NULL;
  change->checksum = put->checksum ? strdup (put->checksum) : NULL;
  change->size = put->size;
  change->mtime = put->mtime;
  change->read = put->read;
  change->ranges = put->ranges;
  change->n_ranges = put->n_ranges;
  change->base_size = put->base_size;
  change->has_whole = put->has_whole;
  change->patches = put->expect && davput_ranges_pay (put);
  if ((put->expect && change->expect == NULL) || (put->checksum && change->checksum == NULL))
    davchange_end (change, CLOUD_LOCAL, "out of memory", NULL);
  else if (davchange_may_name (change, put->path))
    davmanners_await (change, put_first);
}
