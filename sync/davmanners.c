/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds out what a server makes of conditions, with two scratch names that look like uploads under way. */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "davchange.h"
#include "davtext.h"
#include "msg.h"

/* No entity tag that a server has made. */
#define WRONG "\"cloudshare-no-such-version\""

/* An upload that is cut off would have this size, and ends after so many bytes or a little later: some are sent,
 * whatever the transfer reads at once. */
#define CUT_SIZE (512 * 1024)
#define CUT_AFTER 1

/* How long after the cut a server may need to have made a mess. */
#define CUT_MS 300

/* In all this many requests one is soon met by a moment of trouble.  So often it is sent again, after so long: whatever waits
 * for the answers would otherwise wait for their next try, which comes ever later. */
#define MAX_TROUBLE 2
#define TROUBLE_MS 300

#define TOUCH_MTIME 1100000000

/* A server in trouble so often, whenever it is asked about ranges, has trouble with ranges. */
#define MAX_PATCH_TRIES 3

struct davmanners {
  struct webdav *dav;

  /* Protects all below.  Nothing else is locked under it, and no function of others is called. */
  pthread_mutex_t lock;
  pthread_cond_t cond;               /* waiting, or running, has changed */
  bool running;                      /* between start and stop */
  bool has_thread;
  bool known, patch_known;
  unsigned patch_tries;              /* how often it could not be found out */
  struct davconduct conduct;
  struct davchange *waiting, *last;
  pthread_t thread;
};

/* One change whose requests are waited for, on the thread, and what has become of the scratch files. */
struct trial {
  struct davchange *change;
  const char *here, *there, *folder; /* scratch names; the folder's may be NULL */
  bool is_here, is_there, is_folder;
  char *token;                       /* of here; NULL: not known now */
  struct davconduct conduct;         /* as far as known */

  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool answered;

  /* Says that it is of no use to go on, and why. */
  enum cloud_result result;
  char *sentence;

  char got[32];                      /* of trial_reads */
  size_t n_got;
  enum cloud_result got_result;
};

/* ---- requests that are waited for ---- */

static void
trial_answered (struct davchange *change)
{
  struct trial *trial = change->opaque;

  LOCK_FOR_SCOPE (&trial->lock);
  trial->answered = true;
  pthread_cond_signal (&trial->cond);
}

static void
trial_wait (struct trial *trial)
{
  LOCK_FOR_SCOPE (&trial->lock);
  while (!trial->answered)
    pthread_cond_wait (&trial->cond, &trial->lock);
  trial->answered = false;
}

/* Keeps the first failure, after which nothing more is tried. */
static void
trial_failed (struct trial *trial)
{
  struct davchange *change = trial->change;

  if (trial->result != CLOUD_OK)
    return;
  trial->result = change->result;
  trial->sentence = change->sentence;
  change->sentence = NULL;
}

/* Whether a status says nothing about conditions, but that the server has trouble at the moment. */
static bool
is_trouble (int status)
{
  switch (status) {
  case 423:
  case 425:
  case 429:
  case 502:
  case 503:
  case 504:
    return true;
  default:
    return false;
  }
}

/* Returns the status, or 0 where there was no answer. */
static int
trial_send (struct trial *trial, const struct davrequest *request)
{
  struct davchange *change = trial->change;

  if (trial->result != CLOUD_OK)
    return 0;
  for (int i = 0;; i++) {
    davchange_send (change, request, trial_answered);
    trial_wait (trial);
    if (!is_trouble (change->status) || i == MAX_TROUBLE)
      break;
    nanosleep (&(struct timespec) { .tv_nsec = TROUBLE_MS * 1000000L }, NULL);
  }
  /* Found out another time. */
  if (change->status == 401 || is_trouble (change->status))
    change->result = webdav_refusal (change->dav, request->method, change->url, change->status, &change->sentence);
  if (change->result != CLOUD_OK)
    trial_failed (trial);
  return trial->result == CLOUD_OK ? change->status : 0;
}

static bool
trial_look (struct trial *trial, const char *path)
{
  if (trial->result != CLOUD_OK)
    return false;
  davchange_look (trial->change, path, 0, trial_answered);
  trial_wait (trial);
  if (trial->change->result != CLOUD_OK)
    trial_failed (trial);
  return trial->result == CLOUD_OK;
}

static bool
trial_sees (struct trial *trial, const char *path, enum davseen_what what)
{
  return trial_look (trial, path) && trial->change->seen.what == what;
}

/* libcurl sends again what it sent on a kept connection that died.  Where the first had arrived, the second is refused, as
 * the names are nobody else's: then the look tells. */
static bool
was_done_before (struct trial *trial, const struct davrequest *request)
{
  const int status = trial->change->status;
  bool was_done = false;

  if (status == 404 || status == 410) {
    if (strcmp (request->method, "DELETE") == 0)
      was_done = trial_sees (trial, request->path, DAVSEEN_NOTHING);
    else if (strcmp (request->method, "MOVE") == 0)
      was_done = trial_sees (trial, request->path, DAVSEEN_NOTHING) && trial_sees (trial, request->to, DAVSEEN_FILE);
  }
  else if (status == 405 && strcmp (request->method, "MKCOL") == 0)
    was_done = trial_sees (trial, request->path, DAVSEEN_FOLDER);
  else if ((status == 412 || status == 424) && request->only_new)
    was_done = trial_sees (trial, request->path, DAVSEEN_FILE);
  if (trial->result == CLOUD_OK)
    trial->change->status = status;
  return was_done;
}

/* Of what has to be carried out, as far as we know. */
static bool
trial_does (struct trial *trial, const struct davrequest *request)
{
  if (trial_send (trial, request) == 0)
    return false;
  return davchange_succeeded (trial->change) || was_done_before (trial, request);
}

/* ---- the scratch files ---- */

#define SCRATCH_SIZE 11

static int
scratch_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  memset (buf, '.', n);
  return 0;
}

static int
cut_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  if (offset >= CUT_AFTER)
    return -1;
  memset (buf, '.', n);
  return 0;
}

static struct davrequest
put_of (const char *path)
{
  return (struct davrequest) { .method = "PUT", .path = path, .read = scratch_read, .size = SCRATCH_SIZE };
}

static struct davrequest
move_of (const struct trial *trial, bool overwrite)
{
  return (struct davrequest) { .method = "MOVE", .path = trial->here, .to = trial->there, .overwrite = overwrite };
}

static struct davrequest
remove_of (const char *path)
{
  return (struct davrequest) { .method = "DELETE", .path = path, .skip_trash = true };
}

static void
forget_token (struct trial *trial)
{
  free (trial->token);
  trial->token = NULL;
}

/* What a request that was carried out has done to the scratch files. */
static void
take_effect (struct trial *trial, const struct davrequest *request)
{
  if (request->is_folder) {
    trial->is_folder = false;
    return;
  }
  if (strcmp (request->method, "COPY") == 0) {
    trial->is_there = true;
    return;
  }
  forget_token (trial);
  if (strcmp (request->method, "PUT") == 0)
    trial->is_here = true;
  else {
    trial->is_here = false;
    trial->is_there |= request->to != NULL;
  }
}

static void
unexpected (struct trial *trial)
{
  struct davchange *change = trial->change;

  if (trial->result != CLOUD_OK)
    return;
  trial->result = webdav_refusal (change->dav, change->request.method, change->url, change->status, &trial->sentence);
}

/* Makes sure that the one is there, with a known token, and the other is not. */
static bool
ready (struct trial *trial)
{
  struct davrequest request;

  if (!trial->is_here) {
    request = put_of (trial->here);
    if (!trial_does (trial, &request))
      unexpected (trial);
    take_effect (trial, &request);
  }
  if (trial->is_there) {
    request = remove_of (trial->there);
    if (!trial_does (trial, &request))
      unexpected (trial);
    trial->is_there = false;
  }
  if (trial->token == NULL && trial_look (trial, trial->here)) {
    trial->token = trial->change->seen.token;
    trial->change->seen.token = NULL;
  }
  return trial->result == CLOUD_OK;
}

/* ---- the questions ---- */

/* Whether a request that ought to be refused is, and for no other reason. */
static bool
is_refused (struct trial *trial, const struct davrequest *request)
{
  const int status = trial_send (trial, request);

  if (status == 412 || status == 424)
    return true;
  if (status != 0 && (davchange_succeeded (trial->change) || was_done_before (trial, request)))
    take_effect (trial, request);
  return false;
}

/* The form in which a request is refused with a wrong token and carried out with the right one. */
static enum davform
find_form (struct trial *trial, const struct davrequest *plain)
{
  static const enum davform forms[] = { DAVFORM_IF, DAVFORM_IF_MATCH };
  struct davrequest request = *plain;

  request.condition_path = trial->here;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0] && ready (trial); i++) {
    request.form = davchange_form (forms[i], trial->token);
    if (request.form == DAVFORM_NONE)
      return DAVFORM_NONE;
    request.token = WRONG;
    if (!is_refused (trial, &request) || !ready (trial))
      continue;
    request.token = trial->token;
    if (trial_does (trial, &request)) {
      take_effect (trial, &request);
      return request.form;
    }
  }
  return DAVFORM_NONE;
}

static void
ask_about_put (struct trial *trial)
{
  struct davchange *change = trial->change;
  struct davrequest request = put_of (trial->here);
  CLEANUP_FREE char *answered = NULL;

  request.only_new = true;
  if (ready (trial))
    trial->conduct.put_new = is_refused (trial, &request);
  request.only_new = false;
  trial->conduct.put = find_form (trial, &request);

  if (trial->result == CLOUD_OK && trial_does (trial, &request)) {
    take_effect (trial, &request);
    answered = change->etag;
    change->etag = NULL;
    trial->conduct.put_token = ready (trial) && answered && trial->token && strcmp (answered, trial->token) == 0;
  }
}

/* Only where all else speaks for uploads in place: it takes a moment. */
static void
ask_about_cuts (struct trial *trial)
{
  const struct davconduct *conduct = &trial->conduct;
  struct davrequest request = put_of (trial->here);

  if (!conduct->put_token || (!conduct->put_new && conduct->put == DAVFORM_NONE) || !ready (trial))
    return;
  request.read = cut_read;
  request.size = CUT_SIZE;
  davchange_send (trial->change, &request, trial_answered);
  trial_wait (trial);
  if (trial->change->result != CLOUD_LOCAL)
    return;
  nanosleep (&(struct timespec) { .tv_nsec = CUT_MS * 1000000L }, NULL);
  if (trial_look (trial, trial->here))
    trial->conduct.put_whole = trial->change->seen.what == DAVSEEN_FILE && trial->change->seen.size == SCRATCH_SIZE;
  forget_token (trial);
}

static void
ask_about_move (struct trial *trial)
{
  struct davrequest request = move_of (trial, false), put = put_of (trial->there);
  CLEANUP_FREE char *before = NULL;

  trial->conduct.move = find_form (trial, &request);

  /* Without a condition, for what becomes of the token. */
  if (ready (trial)) {
    before = trial->token;
    trial->token = NULL;
    if (trial_does (trial, &request)) {
      take_effect (trial, &request);
      trial->conduct.move_token = trial_look (trial, trial->there) && before && trial->change->seen.token &&
        strcmp (before, trial->change->seen.token) == 0;
    }
  }

  if (!ready (trial) || !trial_does (trial, &put))
    return;
  trial->is_there = true;
  trial->conduct.move_new = is_refused (trial, &request);
  if (trial->is_here && trial->is_there && trial_look (trial, trial->there) &&
      davchange_form (DAVFORM_IF, trial->change->seen.token) == DAVFORM_IF) {
    CLEANUP_FREE char *there_token = trial->change->seen.token;

    trial->change->seen.token = NULL;
    request.overwrite = true;
    request.form = DAVFORM_IF;
    request.condition_path = trial->there;
    request.token = WRONG;
    if (is_refused (trial, &request)) {
      request.token = there_token;
      trial->conduct.move_onto = trial_does (trial, &request);
      if (trial->conduct.move_onto)
        take_effect (trial, &request);
    }
  }
}

static void
ask_about_folders (struct trial *trial)
{
  CLEANUP_FREE char *token = NULL;
  struct davrequest request = { .method = "MKCOL", .path = trial->folder, .is_folder = true };

  if (trial->folder == NULL)
    return;
  /* Also where no answer comes. */
  trial->is_folder = true;
  if (!trial_does (trial, &request))
    return;
  trial->conduct.mkdir_new = trial_send (trial, &request) == 405;
  if (trial_look (trial, trial->folder)) {
    token = trial->change->seen.token;
    trial->change->seen.token = NULL;
  }
  request = remove_of (trial->folder);
  request.is_folder = true;
  request.form = davchange_form (trial->conduct.remove, token);
  request.condition_path = trial->folder;
  if (request.form == DAVFORM_NONE)
    return;
  request.token = WRONG;
  if (!is_refused (trial, &request))
    return;
  request.token = token;
  trial->conduct.remove_folder = trial_does (trial, &request);
  if (trial->conduct.remove_folder)
    take_effect (trial, &request);
}

static void
ask_about_touch (struct trial *trial)
{
  static const enum davtouch ways[] = { DAVTOUCH_EPOCH, DAVTOUCH_DATE };
  const struct timespec mtime = { .tv_sec = TOUCH_MTIME };

  for (size_t i = 0; i < sizeof ways / sizeof ways[0] && ready (trial); i++) {
    CLEANUP_FREE char *xml = davconduct_touch (ways[i], &mtime);
    const struct davrequest request = { .method = "PROPPATCH", .path = trial->here, .xml = xml };

    if (xml == NULL)
      continue;
    if (!trial_does (trial, &request)) {
      /* Times are not worth keeping back what can be written. */
      if (trial->result == CLOUD_BUSY) {
        trial->result = CLOUD_OK;
        free (trial->sentence);
        trial->sentence = NULL;
      }
      continue;
    }
    forget_token (trial);
    if (trial_look (trial, trial->here) && trial->change->seen.mtime.tv_sec == mtime.tv_sec) {
      trial->conduct.touch = ways[i];
      return;
    }
  }
}

static int
got_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct trial *trial = opaque;

  if (n > sizeof trial->got - trial->n_got)
    return -1;
  memcpy (trial->got + trial->n_got, buf, n);
  trial->n_got += n;
  return 0;
}

static void
got_all (void *opaque, enum cloud_result result, const char *sentence)
{
  struct trial *trial = opaque;

  LOCK_FOR_SCOPE (&trial->lock);
  trial->got_result = result;
  trial->answered = true;
  pthread_cond_signal (&trial->cond);
}

/* Whether there holds exactly this text, as listed and as read. */
static bool
trial_reads (struct trial *trial, const char *text)
{
  static const struct cloud_get_sink sink = { .data = got_data, .done = got_all };
  const struct davseen *seen = &trial->change->seen;
  struct cloud_get get = { .path = trial->there, .size = strlen (text), .length = strlen (text), .urgent = true };

  if (!trial_sees (trial, trial->there, DAVSEEN_FILE) || seen->size != get.size || seen->token == NULL)
    return false;
  trial->n_got = 0;
  get.token = seen->token;
  webdav_get (&trial->change->dav->cloud, &get, &sink, trial);
  trial_wait (trial);
  return trial->got_result == CLOUD_OK && trial->n_got == get.size && memcmp (trial->got, text, get.size) == 0;
}

static int
patch_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  memset (buf, 'x', n);
  return 0;
}

/* Within the file, across its end, and a single byte.  201 is what who makes a file of the part alone may say, too. */
static bool
is_patched (struct trial *trial, enum davpatch way)
{
  static const struct {
    unsigned at, n, total;
    const char *text;
  } steps[] = {
    { 3, 3, SCRATCH_SIZE, "...xxx....." },
    { 9, 5, 14, "...xxx...xxxxx" },
    { 0, 1, 14, "x..xxx...xxxxx" },
  };

  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    const struct davrequest request = {
      .method = way == DAVPATCH_PUT ? "PUT" : "PATCH",
      .path = trial->there,
      .read = patch_read,
      .size = steps[i].n,
      .patch = way,
      .patch_at = steps[i].at,
      .patch_total = steps[i].total,
    };

    if (trial_send (trial, &request) == 0 || !davchange_succeeded (trial->change) || trial->change->status == 201 ||
        !trial_reads (trial, steps[i].text))
      return false;
  }
  return true;
}

static void
ask_about_patches (struct trial *trial)
{
  static const enum davpatch ways[] = { DAVPATCH_PUT, DAVPATCH_PATCH };
  struct davrequest request = { .method = "COPY", .path = trial->here, .to = trial->there, .overwrite = true };

  trial->conduct.copy = find_form (trial, &request);
  for (size_t i = 0; i < sizeof ways / sizeof ways[0] && ready (trial); i++) {
    if (!trial_does (trial, &request))
      return;
    take_effect (trial, &request);
    /* A server whose copies cannot be read could not have its patches checked either. */
    if (!trial_reads (trial, "..........."))
      return;
    if (is_patched (trial, ways[i])) {
      trial->conduct.patch = ways[i];
      return;
    }
  }
}

/* Whatever happened, nothing is left but where the server cannot be reached, or has yet to carry out what it did not answer:
 * then it is for the next listing, or the first one of the next process. */
static void
tidy (struct trial *trial)
{
  const char *const scratch[] = { trial->here, trial->there, trial->is_folder ? trial->folder : NULL };
  struct davchange *change = trial->change;
  bool reachable = trial->result != CLOUD_STOPPED;

  for (size_t i = 0; i < sizeof scratch / sizeof scratch[0]; i++) {
    struct davrequest request = remove_of (scratch[i]);
    bool is_gone = false;

    if (scratch[i] == NULL)
      continue;
    request.is_folder = scratch[i] == trial->folder;
    if (reachable) {
      davchange_send (change, &request, trial_answered);
      trial_wait (trial);
      reachable = change->result != CLOUD_STOPPED && change->result != CLOUD_OFFLINE;
      is_gone = davchange_succeeded (change) || change->status == 404 || change->status == 410;
    }
    if (!is_gone || trial->result != CLOUD_OK)
      webdav_litter (change->dav, scratch[i]);
  }
}

/* ---- all of it ---- */

static void
nobody_waits (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
}

/* Everything but patches. */
static void
ask_about_all (struct trial *trial)
{
  const struct davrequest remove = remove_of (trial->here);

  ask_about_put (trial);
  ask_about_move (trial);
  trial->conduct.remove = find_form (trial, &remove);
  ask_about_folders (trial);
  ask_about_touch (trial);
  ask_about_cuts (trial);
}

/* Asks in the folder that path is in, and adds to *conduct.  CLOUD_OK with *ret_known false: nothing can be put there, at
 * least not under such a name. */
static enum cloud_result
find_out (struct webdav *dav, const char *path, bool dotted, void (*ask) (struct trial *trial),
          struct davconduct *conduct, bool *ret_known, char **ret_sentence)
{
  static const struct cloud_change_sink sink = { .done = nobody_waits };
  struct trial trial = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
  CLEANUP_FREE char *here = webdav_temporary (dav, path, dotted), *there = webdav_temporary (dav, path, dotted);
  CLEANUP_FREE char *folder = webdav_temporary (dav, path, dotted);
  struct davrequest request = put_of (here);
  bool is_put;

  *ret_sentence = NULL;
  trial.here = here;
  trial.there = there;
  trial.folder = folder;
  trial.change = here && there ? davchange_new (dav, DAVVERB_PUT, here, &sink, &trial) : NULL;
  if (trial.change == NULL)
    return CLOUD_LOCAL;
  trial.change->to_the_end = true;
  trial.conduct = *conduct;
  trial.conduct.undotted = !dotted;

  request.only_new = true;
  is_put = trial_does (&trial, &request);
  /* A server in trouble for a moment is not one that minds the name. */
  if (!is_put && trial.change->status / 100 == 5)
    is_put = trial_does (&trial, &request);
  if (is_put) {
    take_effect (&trial, &request);
    /* What cannot be seen cannot be used. */
    if (trial_look (&trial, here) && trial.change->seen.what == DAVSEEN_FILE) {
      ask (&trial);
      *ret_known = trial.result == CLOUD_OK || trial.result == CLOUD_DENIED || trial.result == CLOUD_REFUSED;
    }
    tidy (&trial);
  }
  else if (trial.result != CLOUD_OK || trial.change->status / 100 == 5)
    tidy (&trial);

  /* Where something is not allowed at all, the rest is known; and a full server can still move and remove. */
  if (trial.result == CLOUD_DENIED || trial.result == CLOUD_REFUSED || trial.result == CLOUD_FULL)
    trial.result = CLOUD_OK;
  *conduct = trial.conduct;
  *ret_sentence = trial.sentence;
  forget_token (&trial);
  davchange_end (trial.change, CLOUD_OK, NULL, NULL);
  pthread_cond_destroy (&trial.cond);
  pthread_mutex_destroy (&trial.lock);
  return trial.result;
}

char *
davconduct_touch (enum davtouch touch, const struct timespec *mtime)
{
  static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
  static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
  const char *name = touch == DAVTOUCH_EPOCH ? "lastmodified" : "getlastmodified";
  char text[80], *xml;
  struct tm tm;

  if (touch == DAVTOUCH_EPOCH)
    snprintf (text, sizeof text, "%lld", (long long) mtime->tv_sec);
  else if (gmtime_r (&mtime->tv_sec, &tm) == NULL)
    return NULL;
  else
    snprintf (text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
              tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (asprintf (&xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propertyupdate xmlns:d=\"DAV:\"><d:set><d:prop>"
                "<d:%s>%s</d:%s></d:prop></d:set></d:propertyupdate>\n", name, text, name) == -1)
    return NULL;
  return xml;
}

char *
davconduct_text (const struct davconduct *conduct)
{
  static const char *const forms[] = { "look", "If", "If-Match" };
  static const char *const touches[] = { "no", "lastmodified", "getlastmodified" };
  char *text;

  if (asprintf (&text, "put-new=%s put=%s put-token=%s put-whole=%s move=%s move-onto=%s move-new=%s move-token=%s "
                "remove=%s remove-folder=%s mkdir-new=%s touch=%s", conduct->put_new ? "If-None-Match" : "look",
                forms[conduct->put], conduct->put_token ? "yes" : "no", conduct->put_whole ? "yes" : "no",
                forms[conduct->move], conduct->move_onto ? "If" : "look", conduct->move_new ? "Overwrite" : "look",
                conduct->move_token ? "kept" : "new", forms[conduct->remove],
                conduct->remove_folder ? "tag" : "look", conduct->mkdir_new ? "yes" : "look",
                touches[conduct->touch]) == -1)
    return NULL;
  return text;
}

/* ---- those who wait ---- */

/* First in the remote's root, then where the first one wants to write: one of both may be closed to us.  Web servers
 * are often told to have nothing to do with names that begin with a dot. */
static enum cloud_result
find_out_all (struct davmanners *manners, const char *path, struct davconduct *conduct, bool *known,
              char **ret_sentence)
{
  const char *const paths[] = { "", strchr (path, '/') ? path : NULL };
  CLEANUP_FREE char *text = NULL;
  enum cloud_result result = CLOUD_OK;

  for (size_t i = 0; i < 4 && result == CLOUD_OK && !*known; i++)
    if (paths[i / 2]) {
      free (*ret_sentence);
      memset (conduct, 0, sizeof *conduct);
      result = find_out (manners->dav, paths[i / 2], i % 2 == 0, ask_about_all, conduct, known, ret_sentence);
    }
  if (result == CLOUD_OK && !*known)
    memset (conduct, 0, sizeof *conduct);
  if (*known) {
    text = davconduct_text (conduct);
    msg_debug ("%s: %s", manners->dav->cloud.identity, text ? text : "out of memory");
  }
  return result;
}

/* Where the first wants to write: that is where it counts. */
static enum cloud_result
find_out_patches (struct davmanners *manners, const char *path, struct davconduct *conduct, bool *patch_known,
                  char **ret_sentence)
{
  static const char *const ways[] = { "no", "Content-Range", "X-Update-Range" };
  enum cloud_result result;

  result = find_out (manners->dav, path, !conduct->undotted, ask_about_patches, conduct, patch_known, ret_sentence);
  if (*patch_known)
    msg_debug ("%s: ranges=%s", manners->dav->cloud.identity, ways[conduct->patch]);
  return result;
}

/* Takes from those who wait all that can go on: who needs an answer about patches waits until that was asked for.  Call with the
 * lock held. */
static struct davchange *
take_waiting (struct davmanners *manners, bool patch_asked)
{
  struct davchange *change = manners->waiting, *first = NULL, **end = &first;

  manners->waiting = manners->last = NULL;
  while (change) {
    struct davchange *next = change->waiting;

    change->waiting = NULL;
    if (!change->patches || patch_asked || !manners->running) {
      *end = change;
      end = &change->waiting;
    }
    else {
      if (manners->waiting)
        manners->last->waiting = change;
      else
        manners->waiting = change;
      manners->last = change;
    }
    change = next;
  }
  return first;
}

static void *
manners_thread (void *opaque)
{
  struct davmanners *manners = opaque;

  for (;;) {
    struct davconduct conduct = { .put_new = false };
    struct davchange *change, *first;
    CLEANUP_FREE char *path = NULL, *sentence = NULL, *patch_path = NULL, *patch_sentence = NULL;
    enum cloud_result result = CLOUD_OK, patch_result = CLOUD_OK;
    void (*next) (struct davchange *);
    bool known = false, patch_known = false, was_known = false, patch_asked = false;

    {
      LOCK_FOR_SCOPE (&manners->lock);
      while (manners->running && manners->waiting == NULL)
        pthread_cond_wait (&manners->cond, &manners->lock);
      if (manners->waiting == NULL)
        return NULL;
      if (manners->running)
        path = strdup (manners->waiting->verb == DAVVERB_MOVE ? manners->waiting->to : manners->waiting->path);
      else
        result = CLOUD_STOPPED;
      for (change = manners->waiting; change && !manners->patch_known; change = change->waiting)
        if (change->patches) {
          patch_path = strdup (change->path);
          break;
        }
      was_known = known = manners->known;
      conduct = manners->conduct;
      patch_asked = manners->patch_known;
    }
    if (result == CLOUD_OK && !known)
      result = path ? find_out_all (manners, path, &conduct, &known, &sentence) : CLOUD_LOCAL;
    if (result == CLOUD_OK && patch_path) {
      patch_asked = true;
      /* Nor is anything known of patches where nothing can be put. */
      if (known)
        patch_result = find_out_patches (manners, patch_path, &conduct, &patch_known, &patch_sentence);
    }
    {
      LOCK_FOR_SCOPE (&manners->lock);
      if (known && !was_known)
        manners->known = true;
      if ((known && !was_known) || patch_known)
        manners->conduct = conduct;
      if (patch_result != CLOUD_OK && patch_result != CLOUD_STOPPED && !patch_known &&
          ++manners->patch_tries == MAX_PATCH_TRIES)
        patch_known = true;
      manners->patch_known |= patch_known;
      first = take_waiting (manners, patch_asked || result != CLOUD_OK);
    }
    while ((change = first) != NULL) {
      first = change->waiting;
      change->conduct = conduct;
      next = change->next;
      if (result != CLOUD_OK)
        davchange_end (change, result, sentence ? sentence : result == CLOUD_STOPPED ? "stopped" : NULL, NULL);
      else if (change->patches && patch_result != CLOUD_OK && !patch_known)
        davchange_end (change, patch_result, patch_sentence, NULL);
      else
        next (change);
    }
  }
}

/* Call with the lock held. */
static bool
start_thread (struct davmanners *manners)
{
  sigset_t all, before;

  if (manners->has_thread)
    return true;
  /* Signals are the program's. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  manners->has_thread = pthread_create (&manners->thread, NULL, manners_thread, manners) == 0;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  return manners->has_thread;
}

void
davmanners_await (struct davchange *change, void (*next) (struct davchange *change))
{
  struct davmanners *manners = change->dav->manners;
  enum cloud_result result = CLOUD_OK;
  bool known = false;

  {
    LOCK_FOR_SCOPE (&change->dav->lock);
    change->dav->writing = true;
  }
  {
    LOCK_FOR_SCOPE (&manners->lock);
    if (!manners->running)
      result = CLOUD_STOPPED;
    else if (manners->known && (manners->patch_known || !change->patches)) {
      change->conduct = manners->conduct;
      known = true;
    }
    else if (!start_thread (manners))
      result = CLOUD_LOCAL;
    else {
      change->next = next;
      change->waiting = NULL;
      if (manners->waiting)
        manners->last->waiting = change;
      else
        manners->waiting = change;
      manners->last = change;
      pthread_cond_signal (&manners->cond);
      return;
    }
  }
  if (known)
    next (change);
  else
    davchange_end (change, result, result == CLOUD_STOPPED ? "stopped" : "a thread cannot be started", NULL);
}

void
davmanners_distrust_patch (struct davmanners *manners)
{
  LOCK_FOR_SCOPE (&manners->lock);
  manners->conduct.patch = DAVPATCH_NONE;
}

/* ---- from beginning to end ---- */

struct davmanners *
davmanners_new (struct webdav *dav)
{
  struct davmanners *manners = calloc (1, sizeof *manners);

  if (manners == NULL)
    return NULL;
  manners->dav = dav;
  pthread_mutex_init (&manners->lock, NULL);
  pthread_cond_init (&manners->cond, NULL);
  return manners;
}

void
davmanners_start (struct davmanners *manners)
{
  LOCK_FOR_SCOPE (&manners->lock);
  manners->running = true;
}

void
davmanners_stop (struct davmanners *manners)
{
  {
    LOCK_FOR_SCOPE (&manners->lock);
    manners->running = false;
    pthread_cond_signal (&manners->cond);
    if (!manners->has_thread)
      return;
  }
  pthread_join (manners->thread, NULL);
  manners->has_thread = false;
}

void
davmanners_free (struct davmanners *manners)
{
  if (manners == NULL)
    return;
  pthread_cond_destroy (&manners->cond);
  pthread_mutex_destroy (&manners->lock);
  free (manners);
}
