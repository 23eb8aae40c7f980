/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving, which S3 does not know: a copy at the new place, then the removal of the old one, each of the one version
 * that is meant.  So at any moment all is there at least once.
 *
 * A file whose move was stopped in between is at both places.  Asked for again, the move finds a copy of the same
 * version and time, and goes on by removing.
 *
 * A folder is moved key by key, several at once.  Its new place gets its marker first, and in that a note whose move
 * this is: only with this note a move may go on into something that is there.  All is copied before anything is
 * removed.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "s3-flow.h"

/* Keys of one folder at once. */
#define PARALLEL 8

/* How often one that is changed meanwhile is copied again. */
#define MAX_TRIES 3

/* Whether an end of this kind leaves open what was done. */
static bool
is_open_end (enum cloud_result result)
{
  return result == CLOUD_OFFLINE || result == CLOUD_BUSY || result == CLOUD_BAD || result == CLOUD_STOPPED;
}

static bool
same_text (const char *a, const char *b)
{
  return a == b || (a && b && strcmp (a, b) == 0);
}

/* ---- files ---- */

/* The copy, unless it is there from before. */
static enum cloud_result
copy_file (struct s3_flow *flow, const struct s3_seen *from, char **ret_token)
{
  CLEANUP_S3_SEEN struct s3_seen there = { .what = S3_NOTHING };
  enum cloud_result result = s3_flow_no_folder (flow, flow->to_key);

  if (result == CLOUD_OK)
    result = s3_flow_head (flow, flow->to_key, &there, NULL);
  if (result != CLOUD_OK)
    return result;
  if (there.what == S3_NOTHING)
    return s3_flow_copy (flow, flow->key, from->token, from->size, flow->to_key, true, ret_token);
  if (strcmp (there.token, from->token) != 0 || there.size != from->size ||
      !same_text (there.mtime_text, from->mtime_text))
    return s3_flow_fail (flow, CLOUD_EXISTS, flow->to_key, "there is something by that name already");
  *ret_token = there.token;
  there.token = NULL;
  return CLOUD_OK;
}

static enum cloud_result
move_file (struct s3_flow *flow)
{
  CLEANUP_FREE char *token = NULL, *sentence = NULL;
  CLEANUP_S3_SEEN struct s3_seen from = { .what = S3_NOTHING };
  enum cloud_result result = s3_manners_await (flow);

  if (result == CLOUD_OK)
    result = s3_flow_head (flow, flow->key, &from, NULL);
  if (result == CLOUD_OK)
    result = s3_flow_judge (flow, flow->key, &from);
  if (result == CLOUD_OK)
    result = s3_flow_parent (flow, flow->to);
  if (result == CLOUD_OK)
    result = copy_file (flow, &from, &token);
  if (result != CLOUD_OK)
    return result;
  result = s3_flow_keep_parent (flow, flow->path);
  if (result == CLOUD_OK)
    result = s3_flow_delete (flow, flow->key, from.token);
  /* Somebody was faster to remove it. */
  if (result == CLOUD_GONE)
    result = CLOUD_OK;
  if (result == CLOUD_OK) {
    free (from.token);
    from.token = token;
    token = NULL;
    flow->now = from;
    memset (&from, 0, sizeof from);
  }
  else if (!is_open_end (result)) {
    sentence = flow->sentence;
    flow->sentence = NULL;
    s3_flow_delete (flow, flow->to_key, token);
    free (flow->sentence);
    flow->sentence = sentence;
    sentence = NULL;
  }
  return result;
}

/* ---- folders ---- */

struct moved_key {
  char *from, *to;
  char *token;                 /* of from */
  char *copied;                /* of to, once it is there */
  uint64_t size;
};

/* Many keys at once, each on a thread with a flow of its own; the first failure ends it for all. */
struct folder_move {
  struct s3_flow *flow;
  const char *from, *to;       /* of the folder, with '/' at the end */
  struct moved_key *keys;
  size_t n, room;
  bool resumed;                /* something may be at the new place */
  enum cloud_result (*step) (struct folder_move *move, struct s3_flow *flow, struct moved_key *key);

  pthread_mutex_t lock;        /* protects what follows */
  size_t next;
  enum cloud_result result;
  char *sentence;
};

static void
keys_clear (struct folder_move *move)
{
  for (size_t i = 0; i < move->n; i++) {
    free (move->keys[i].from);
    free (move->keys[i].to);
    free (move->keys[i].token);
    free (move->keys[i].copied);
  }
  move->n = 0;
}

static int
on_key (void *opaque, const struct s3_entry *entry)
{
  struct folder_move *move = opaque;
  const size_t len = strlen (move->from);
  struct moved_key *key;

  if (entry->kind != S3_ENTRY_KEY || strncmp (entry->key, move->from, len) != 0 || entry->etag == NULL)
    return -1;
  /* The old marker goes at last, and the new one is there. */
  if (entry->key[len] == '\0' && entry->size == 0)
    return 0;
  if (move->n == move->room) {
    const size_t room = move->room ? move->room * 2 : 64;
    struct moved_key *longer = realloc (move->keys, room * sizeof *longer);

    if (longer == NULL)
      return -1;
    move->keys = longer;
    move->room = room;
  }
  key = &move->keys[move->n++];
  *key = (struct moved_key) { .from = strdup (entry->key), .token = s3_token (entry->etag), .size = entry->size };
  if (asprintf (&key->to, "%s%s", move->to, entry->key + len) == -1)
    key->to = NULL;
  return key->from && key->token && key->to ? 0 : -1;
}

/* All keys of the old place. */
static enum cloud_result
list_keys (struct folder_move *move)
{
  static const struct s3_xml_sink sink = { .entry = on_key };
  CLEANUP_FREE char *next = NULL;
  enum cloud_result result;

  keys_clear (move);
  do {
    CLEANUP_S3_CALL struct s3_call call;
    struct s3_document document;

    s3_call_init (&call, "GET", "");
    s3_list_request (&call.request, move->from, false, "1000", next);
    s3_call_run (&call, move->flow->s3);
    result = s3_flow_document (move->flow, &call, "ListBucketResult", &sink, move, &document);
    if (result == CLOUD_OK && document.truncated && (document.next == NULL || same_text (next, document.next)))
      result = s3_flow_fail (move->flow, CLOUD_BAD, move->from,
                             "the server says that there is more, but not how to get it");
    free (next);
    next = document.truncated ? document.next : NULL;
    if (next)
      document.next = NULL;
    s3_document_free (&document);
  } while (result == CLOUD_OK && next);
  return result;
}

static void *
mover_thread (void *opaque)
{
  struct folder_move *move = opaque;
  struct s3_flow flow = { .s3 = move->flow->s3, .conduct = move->flow->conduct };
  enum cloud_result result = CLOUD_OK;

  for (;;) {
    struct moved_key *key;

    {
      LOCK_FOR_SCOPE (&move->lock);
      if (result != CLOUD_OK && move->result == CLOUD_OK) {
        move->result = result;
        move->sentence = flow.sentence;
        flow.sentence = NULL;
      }
      key = move->result == CLOUD_OK && move->next < move->n ? &move->keys[move->next++] : NULL;
    }
    if (key == NULL)
      break;
    result = move->step (move, &flow, key);
  }
  free (flow.sentence);
  return NULL;
}

static enum cloud_result
for_each_key (struct folder_move *move,
              enum cloud_result (*step) (struct folder_move *move, struct s3_flow *flow, struct moved_key *key))
{
  pthread_t threads[PARALLEL];
  unsigned n = 0;

  move->step = step;
  move->next = 0;
  /* Where no thread can be had, this one does it. */
  while (n < PARALLEL && n + 1 < move->n && pthread_create (&threads[n], NULL, mover_thread, move) == 0)
    n++;
  mover_thread (move);
  while (n > 0)
    pthread_join (threads[--n], NULL);
  if (move->result != CLOUD_OK) {
    free (move->flow->sentence);
    move->flow->sentence = move->sentence;
    move->sentence = NULL;
  }
  return move->result;
}

static enum cloud_result
copy_key (struct folder_move *move, struct s3_flow *flow, struct moved_key *key)
{
  CLEANUP_S3_SEEN struct s3_seen there = { .what = S3_NOTHING };
  enum cloud_result result = CLOUD_OK;

  if (move->resumed)
    result = s3_flow_head (flow, key->to, &there, NULL);
  if (result != CLOUD_OK)
    return result;
  if (there.what == S3_NOTHING)
    return s3_flow_copy (flow, key->from, key->token, key->size, key->to, true, &key->copied);
  /* Something else came there: both stay. */
  if (strcmp (there.token, key->token) != 0 || there.size != key->size)
    return s3_flow_fail (flow, CLOUD_EXISTS, key->to, "there is something by that name already");
  key->copied = there.token;
  there.token = NULL;
  return CLOUD_OK;
}

/* What was changed since it was copied is copied again, over our copy, if it still is ours. */
static enum cloud_result
remove_key (struct folder_move *move, struct s3_flow *flow, struct moved_key *key)
{
  enum cloud_result result = CLOUD_CHANGED;

  for (int i = 0; i < MAX_TRIES && result == CLOUD_CHANGED; i++) {
    CLEANUP_S3_SEEN struct s3_seen here = { .what = S3_NOTHING }, there = { .what = S3_NOTHING };

    result = s3_flow_delete (flow, key->from, key->token);
    if (result == CLOUD_GONE)
      return CLOUD_OK;
    if (result != CLOUD_CHANGED)
      return result;
    result = s3_flow_head (flow, key->from, &here, NULL);
    if (result == CLOUD_OK && here.what == S3_NOTHING)
      return CLOUD_OK;
    if (result == CLOUD_OK)
      result = s3_flow_head (flow, key->to, &there, NULL);
    if (result != CLOUD_OK)
      return result;
    if (there.what != S3_FILE || strcmp (there.token, key->copied) != 0)
      return s3_flow_fail (flow, CLOUD_BUSY, key->from, "somebody else changes this at the same time");
    free (key->token);
    free (key->copied);
    key->token = here.token;
    here.token = NULL;
    key->size = here.size;
    result = s3_flow_copy (flow, key->from, key->token, key->size, key->to, false, &key->copied);
    if (result == CLOUD_OK)
      result = CLOUD_CHANGED;
  }
  return result == CLOUD_CHANGED ?
    s3_flow_fail (flow, CLOUD_BUSY, key->from, "somebody else changes this at the same time") : result;
}

/* ---- the new place ---- */

/* Nothing is there, or a move of ours from here that did not come to its end. */
static enum cloud_result
begin_at (struct folder_move *move, const char *note)
{
  struct s3_flow *flow = move->flow;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  CLEANUP_S3_CALL struct s3_call call;
  enum cloud_result result = s3_flow_folder (flow, move->to, &seen);
  const char *theirs;

  s3_call_init (&call, "HEAD", move->to);
  if (result != CLOUD_OK)
    return result;
  if (seen.what != S3_NOTHING) {
    result = s3_flow_head (flow, move->to, &seen, &call);
    theirs = result == CLOUD_OK && seen.what == S3_FILE ?
      s3_answer_header (&call.answer, "x-amz-meta-cloudshare-move") : NULL;
    if (result == CLOUD_OK && !same_text (theirs, note))
      result = s3_flow_fail (flow, CLOUD_EXISTS, move->to, "there is a folder by that name already");
    move->resumed = true;
    return result;
  }
  result = s3_flow_head (flow, flow->to_key, &seen, NULL);
  if (result == CLOUD_OK && seen.what != S3_NOTHING)
    result = s3_flow_fail (flow, CLOUD_EXISTS, flow->to_key, "there is a file by that name already");
  return result == CLOUD_OK ? s3_flow_marker (flow, move->to, true, note) : result;
}

/* The old place has nothing but its marker any more. */
static enum cloud_result
end_at (struct folder_move *move)
{
  struct s3_flow *flow = move->flow;
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  enum cloud_result result = s3_flow_keep_parent (flow, flow->path);

  if (result == CLOUD_OK)
    result = s3_flow_folder (flow, move->from, &seen);
  if (result == CLOUD_OK && seen.has_children)
    return s3_flow_fail (flow, CLOUD_BUSY, move->from, "somebody else puts something into it at the same time");
  if (result == CLOUD_OK && seen.has_marker)
    result = s3_flow_discard (flow, move->from);
  known_folders_forget (&flow->s3->folders, flow->path);
  /* Without the note.  That it stays is not worth a failure. */
  if (result == CLOUD_OK)
    s3_flow_marker (flow, move->to, false, NULL);
  return result;
}

/* Takes back what was copied, as the move cannot be. */
static enum cloud_result
take_back_key (struct folder_move *move, struct s3_flow *flow, struct moved_key *key)
{
  if (key->copied)
    s3_flow_delete (flow, key->to, key->copied);
  return CLOUD_OK;
}

static enum cloud_result
move_all (struct folder_move *move)
{
  struct s3_flow *flow = move->flow;
  CLEANUP_FREE char *sentence = NULL;
  enum cloud_result result = list_keys (move);

  if (result == CLOUD_OK)
    result = for_each_key (move, copy_key);
  if (result == CLOUD_OK) {
    result = for_each_key (move, remove_key);
    return result == CLOUD_OK ? end_at (move) : result;
  }
  if (!is_open_end (result) && !move->resumed) {
    sentence = flow->sentence;
    flow->sentence = NULL;
    move->result = CLOUD_OK;
    for_each_key (move, take_back_key);
    s3_flow_discard (flow, move->to);
    free (flow->sentence);
    flow->sentence = sentence;
    sentence = NULL;
  }
  return result;
}

static enum cloud_result
move_folder (struct s3_flow *flow)
{
  CLEANUP_FREE char *from = s3_url_key (&flow->s3->url, flow->path, true);
  CLEANUP_FREE char *to = s3_url_key (&flow->s3->url, flow->to, true);
  CLEANUP_S3_SEEN struct s3_seen seen = { .what = S3_NOTHING };
  struct folder_move move = { .flow = flow, .from = from, .to = to, .lock = PTHREAD_MUTEX_INITIALIZER };
  enum cloud_result result;
  char note[65];

  if (from == NULL || to == NULL)
    return s3_flow_no_memory (flow);
  sigv4_sha256 (from, strlen (from), note);
  result = s3_manners_await (flow);
  if (result == CLOUD_OK)
    result = s3_flow_folder (flow, from, &seen);
  if (result == CLOUD_OK && seen.what == S3_NOTHING)
    result = s3_flow_fail (flow, CLOUD_GONE, from, "there is no such folder");
  if (result == CLOUD_OK)
    result = s3_flow_parent (flow, flow->to);
  if (result == CLOUD_OK)
    result = begin_at (&move, note);
  if (result == CLOUD_OK)
    result = move_all (&move);
  if (result == CLOUD_OK) {
    flow->now.what = S3_FOLDER;
    known_folders_saw (&flow->s3->folders, flow->to, true);
  }
  keys_clear (&move);
  free (move.keys);
  free (move.sentence);
  pthread_mutex_destroy (&move.lock);
  return result;
}

/* ---- the verb ---- */

void
s3_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
         const struct cloud_change_sink *sink, void *opaque)
{
  struct s3_flow *flow = s3_flow_new ((struct s3 *) cloud, path, sink, opaque);
  const size_t len = strlen (path);
  enum cloud_result result;

  if (flow == NULL)
    return;
  flow->is_folder = is_folder;
  flow->expect = expect ? strdup (expect) : NULL;
  flow->to = strdup (to);
  flow->to_key = s3_url_key (&flow->s3->url, to, false);
  if ((expect && flow->expect == NULL) || flow->to == NULL || flow->to_key == NULL)
    result = s3_flow_no_memory (flow);
  else if (*path == '\0' || (strncmp (to, path, len) == 0 && to[len] == '/'))
    result = s3_flow_fail (flow, CLOUD_REFUSED, flow->key, "a folder cannot be moved into itself");
  else
    result = s3_flow_may_name (flow, to);
  if (result == CLOUD_OK)
    s3_flow_begin (flow, is_folder ? move_folder : move_file);
  else
    s3_flow_end (flow, result);
}
