/* SPDX-License-Identifier: BSD-3-Clause */
/* A remote that exists in this process only. */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "cleanup.h"
#include "fakecloud.h"

#define N_THREADS 6
#define MAX_RULES 32

/* The largest piece that is given to a sink at once. */
#define PIECE_MAX 40000

/* The time of every item; what changes is told by tokens. */
#define MTIME 1700000000

struct node {
  char *path;
  char *token, *id, *checksum;
  bool is_folder, unsettled, hidden;
  uint64_t size, content;
  unsigned char *bytes;        /* what was put there; NULL: computed from content */
  struct timespec mtime;
};

struct request {
  struct fake_request what;    /* its path may be cut short */
  char *path;
  char *token;
  uint64_t size;
  struct fake_rule rule;       /* how it goes; all zeros: well */
  struct cloud_get_sink get;
  struct cloud_list_sink list;
  struct cloud_change_sink change;
  struct cloud_put put;
  char *to;
  bool is_folder;
  void *opaque;
  struct request *next;
};

struct fakecloud {
  struct cloud base;           /* first */

  pthread_mutex_t lock;        /* protects what follows; never held while a sink is called */
  pthread_cond_t cond;
  struct node *nodes;
  size_t n_nodes, nodes_room;
  struct fake_rule rules[MAX_RULES];
  size_t n_rules;
  struct fake_request *log;
  size_t n_log, log_room;
  struct request *first, **last;
  unsigned releases;           /* how often fakecloud_release was called */
  bool is_inline, running, woken;
  bool gives_ids, token_moves, takes_ranges;
  const char *checksum_kind;
  unsigned made;               /* numbers tokens and ids */
  char **stored;               /* what our puts stored */
  size_t n_stored;
  char broken[128];
  pthread_t threads[N_THREADS];
};

/* ---- bytes ---- */

static uint64_t
mix (uint64_t x)
{
  x ^= x >> 31;
  x *= UINT64_C (0x7fb5d329728ea185);
  x ^= x >> 27;
  x *= UINT64_C (0x81dadef4bc2dd44d);
  return x ^ x >> 33;
}

static uint64_t
hash_text (uint64_t hash, const char *text)
{
  for (; *text; ++text)
    hash = (hash ^ (unsigned char) *text) * UINT64_C (0x100000001b3);
  return mix (hash);
}

void
fakecloud_fill (uint64_t content, void *buf, size_t n, uint64_t offset)
{
  unsigned char *to = buf;

  while (n > 0) {
    const uint64_t word = mix (content + offset / 8);
    const size_t skip = offset % 8, take = 8 - skip < n ? 8 - skip : n;

    memcpy (to, (const char *) &word + skip, take);
    to += take;
    offset += take;
    n -= take;
  }
}

/* ---- the tree: lock held ---- */

static void
contract_broken (struct fakecloud *fake, const char *how)
{
  if (fake->broken[0] == '\0')
    snprintf (fake->broken, sizeof fake->broken, "%s", how);
}

static void
set_text (char **to, const char *text)
{
  free (*to);
  *to = text ? strdup (text) : NULL;
}

static struct node *
find_node (struct fakecloud *fake, const char *path)
{
  for (size_t i = 0; i < fake->n_nodes; ++i)
    if (strcmp (fake->nodes[i].path, path) == 0)
      return &fake->nodes[i];
  return NULL;
}

/* Tests name what they made: anything else is a mistake in the test. */
static struct node *
must_find (struct fakecloud *fake, const char *path)
{
  struct node *node = find_node (fake, path);

  if (node == NULL) {
    fprintf (stderr, "fakecloud: there is no \"%s\"\n", path);
    abort ();
  }
  return node;
}

static struct node *
make_node (struct fakecloud *fake, const char *path)
{
  struct node *node = find_node (fake, path);

  if (node == NULL) {
    if (fake->n_nodes == fake->nodes_room) {
      fake->nodes_room = fake->nodes_room * 2 + 64;
      fake->nodes = realloc (fake->nodes, fake->nodes_room * sizeof *fake->nodes);
    }
    node = &fake->nodes[fake->n_nodes++];
    memset (node, 0, sizeof *node);
    node->path = strdup (path);
  }
  return node;
}

static bool
is_below (const char *path, const char *folder)
{
  const size_t n = strlen (folder);

  return strncmp (path, folder, n) == 0 && path[n] == '/';
}

static const char *
own_name (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? slash + 1 : path;
}

static bool
is_child (const struct node *node, const char *folder)
{
  const size_t n = own_name (node->path) - node->path;

  if (node->path[0] == '\0')
    return false;
  return n == 0 ? folder[0] == '\0' : strlen (folder) == n - 1 && strncmp (node->path, folder, n - 1) == 0;
}

static void
free_node (struct node *node)
{
  free (node->path);
  free (node->token);
  free (node->id);
  free (node->checksum);
  free (node->bytes);
}

static void
read_node (const struct node *node, void *buf, size_t n, uint64_t offset)
{
  if (node->bytes)
    memcpy (buf, node->bytes + offset, n);
  else
    fakecloud_fill (node->content, buf, n, offset);
}

void
fakecloud_folder (struct fakecloud *fake, const char *path, const char *token, const char *id)
{
  LOCK_FOR_SCOPE (&fake->lock);
  struct node *node = make_node (fake, path);

  node->is_folder = true;
  set_text (&node->token, token);
  set_text (&node->id, id);
}

void
fakecloud_put (struct fakecloud *fake, const char *path, uint64_t size, const char *token, const char *id)
{
  LOCK_FOR_SCOPE (&fake->lock);
  struct node *node = make_node (fake, path);

  node->is_folder = false;
  node->size = size;
  node->content = hash_text (hash_text (0, path), token);
  set_text (&node->token, token);
  set_text (&node->id, id);
  set_text (&node->checksum, NULL);
  free (node->bytes);
  node->bytes = NULL;
}

void
fakecloud_set_token (struct fakecloud *fake, const char *path, const char *token)
{
  LOCK_FOR_SCOPE (&fake->lock);

  set_text (&must_find (fake, path)->token, token);
}

void
fakecloud_set_id (struct fakecloud *fake, const char *path, const char *id)
{
  LOCK_FOR_SCOPE (&fake->lock);

  set_text (&must_find (fake, path)->id, id);
}

void
fakecloud_set_settled (struct fakecloud *fake, const char *path, bool settled)
{
  LOCK_FOR_SCOPE (&fake->lock);

  must_find (fake, path)->unsettled = !settled;
}

void
fakecloud_set_hidden (struct fakecloud *fake, const char *path, bool hidden)
{
  LOCK_FOR_SCOPE (&fake->lock);

  must_find (fake, path)->hidden = hidden;
}

static void
give_checksum (struct node *node, const char *kind, bool right)
{
  EVP_MD_CTX *context = EVP_MD_CTX_new ();
  unsigned char digest[EVP_MAX_MD_SIZE];
  char text[16 + 2 * EVP_MAX_MD_SIZE];
  unsigned n = 0;
  size_t used;

  EVP_DigestInit_ex (context, EVP_get_digestbyname (kind), NULL);
  for (uint64_t at = 0; at < node->size; ) {
    unsigned char buf[4096];
    const size_t take = node->size - at < sizeof buf ? node->size - at : sizeof buf;

    read_node (node, buf, take, at);
    EVP_DigestUpdate (context, buf, take);
    at += take;
  }
  EVP_DigestFinal_ex (context, digest, &n);
  EVP_MD_CTX_free (context);
  if (!right)
    digest[n - 1] ^= 1;
  used = snprintf (text, sizeof text, "%s:", kind);
  for (unsigned i = 0; i < n; ++i)
    used += snprintf (text + used, sizeof text - used, "%02x", digest[i]);
  set_text (&node->checksum, text);
}

void
fakecloud_set_checksum (struct fakecloud *fake, const char *path, const char *kind, bool right)
{
  LOCK_FOR_SCOPE (&fake->lock);

  give_checksum (must_find (fake, path), kind, right);
}

/* ---- writing: lock held ---- */

static void
new_token (struct fakecloud *fake, struct node *node)
{
  char text[32];

  snprintf (text, sizeof text, "w%u", ++fake->made);
  set_text (&node->token, text);
}

static void
new_id (struct fakecloud *fake, struct node *node)
{
  char text[32];

  snprintf (text, sizeof text, "i%u", ++fake->made);
  set_text (&node->id, fake->gives_ids ? text : NULL);
}

static void
store (struct fakecloud *fake, const char *path, const void *bytes, size_t n, const struct timespec *mtime)
{
  const bool is_new = find_node (fake, path) == NULL;
  struct node *node = make_node (fake, path);

  free (node->bytes);
  node->bytes = malloc (n + 1);
  if (n > 0)
    memcpy (node->bytes, bytes, n);
  node->is_folder = false;
  node->size = n;
  node->mtime = *mtime;
  new_token (fake, node);
  set_text (&node->checksum, NULL);
  if (is_new)
    new_id (fake, node);
  if (fake->checksum_kind)
    give_checksum (node, fake->checksum_kind, true);
}

static void
store_folder (struct fakecloud *fake, const char *path)
{
  struct node *node = make_node (fake, path);

  node->is_folder = true;
  new_token (fake, node);
  new_id (fake, node);
}

void
fakecloud_set_manners (struct fakecloud *fake, bool ids, const char *checksum, bool token_moves)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->gives_ids = ids;
  fake->checksum_kind = checksum;
  fake->token_moves = token_moves;
}

void
fakecloud_set_ranges (struct fakecloud *fake, bool takes)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->takes_ranges = takes;
}

void
fakecloud_write (struct fakecloud *fake, const char *path, const void *bytes, size_t n)
{
  LOCK_FOR_SCOPE (&fake->lock);
  struct timespec mtime = { .tv_sec = MTIME + 100 + fake->made };

  store (fake, path, bytes, n, &mtime);
}

void
fakecloud_lock (struct fakecloud *fake)
{
  pthread_mutex_lock (&fake->lock);
}

void
fakecloud_unlock (struct fakecloud *fake)
{
  pthread_mutex_unlock (&fake->lock);
}

unsigned
fakecloud_stored (struct fakecloud *fake, const char *bytes)
{
  LOCK_FOR_SCOPE (&fake->lock);
  unsigned n = 0;

  for (size_t i = 0; i < fake->n_stored; ++i)
    n += strcmp (fake->stored[i], bytes) == 0;
  return n;
}

void
fakecloud_mkdir (struct fakecloud *fake, const char *path)
{
  LOCK_FOR_SCOPE (&fake->lock);

  store_folder (fake, path);
}

char *
fakecloud_read (struct fakecloud *fake, const char *path, size_t *ret_n)
{
  LOCK_FOR_SCOPE (&fake->lock);
  const struct node *node = find_node (fake, path);
  char *buf;

  if (node == NULL || node->is_folder)
    return NULL;
  buf = malloc (node->size + 1);
  read_node (node, buf, node->size, 0);
  buf[node->size] = '\0';
  *ret_n = node->size;
  return buf;
}

static int
compare_nodes (const void *a, const void *b)
{
  return strcmp (((const struct node *) a)->path, ((const struct node *) b)->path);
}

void
fakecloud_each (struct fakecloud *fake, void (*item) (void *opaque, const char *path, bool is_folder), void *opaque)
{
  LOCK_FOR_SCOPE (&fake->lock);

  qsort (fake->nodes, fake->n_nodes, sizeof *fake->nodes, compare_nodes);
  for (size_t i = 0; i < fake->n_nodes; ++i)
    if (fake->nodes[i].path[0])
      item (opaque, fake->nodes[i].path, fake->nodes[i].is_folder);
}

void
fakecloud_remove (struct fakecloud *fake, const char *path)
{
  LOCK_FOR_SCOPE (&fake->lock);
  size_t kept = 0;

  for (size_t i = 0; i < fake->n_nodes; ++i) {
    if (strcmp (fake->nodes[i].path, path) == 0 || is_below (fake->nodes[i].path, path))
      free_node (&fake->nodes[i]);
    else
      fake->nodes[kept++] = fake->nodes[i];
  }
  fake->n_nodes = kept;
}

void
fakecloud_rename (struct fakecloud *fake, const char *from, const char *to)
{
  LOCK_FOR_SCOPE (&fake->lock);

  must_find (fake, from);
  for (size_t i = 0; i < fake->n_nodes; ++i) {
    struct node *node = &fake->nodes[i];

    if (strcmp (node->path, from) == 0 || is_below (node->path, from)) {
      char path[4096];

      snprintf (path, sizeof path, "%s%s", to, node->path + strlen (from));
      set_text (&node->path, path);
    }
  }
}

uint64_t
fakecloud_content (struct fakecloud *fake, const char *path)
{
  LOCK_FOR_SCOPE (&fake->lock);

  return must_find (fake, path)->content;
}

bool
fakecloud_has (struct fakecloud *fake, const char *path)
{
  LOCK_FOR_SCOPE (&fake->lock);

  return find_node (fake, path) != NULL;
}

/* A copy that outlives the lock; its strings are malloc'ed. */
static struct cloud_item
copy_item (const struct node *node, bool with_name)
{
  return (struct cloud_item) {
    .name = strdup (with_name ? own_name (node->path) : ""), .is_folder = node->is_folder, .size = node->size,
    .mtime = { .tv_sec = node->mtime.tv_sec ? node->mtime.tv_sec : MTIME },
    .token = node->token ? strdup (node->token) : NULL,
    .id = node->id ? strdup (node->id) : NULL, .checksum = node->checksum ? strdup (node->checksum) : NULL,
    .settled = !node->unsettled,
  };
}

static void
free_item (struct cloud_item *item)
{
  free ((char *) item->name);
  free ((char *) item->token);
  free ((char *) item->id);
  free ((char *) item->checksum);
}

void
fakecloud_look (struct fakecloud *fake, const char *path, void (*item) (void *opaque, const struct cloud_item *item),
                void *opaque)
{
  struct cloud_item copy;

  pthread_mutex_lock (&fake->lock);
  copy = copy_item (must_find (fake, path), true);
  pthread_mutex_unlock (&fake->lock);
  item (opaque, &copy);
  free_item (&copy);
}

/* ---- rules and the log ---- */

void
fakecloud_rule (struct fakecloud *fake, const struct fake_rule *rule)
{
  LOCK_FOR_SCOPE (&fake->lock);

  if (fake->n_rules == MAX_RULES)
    abort ();
  fake->rules[fake->n_rules++] = *rule;
}

void
fakecloud_no_rules (struct fakecloud *fake)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->n_rules = 0;
}

void
fakecloud_release (struct fakecloud *fake)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->releases++;
  pthread_cond_broadcast (&fake->cond);
}

/* Lock held. */
static struct fake_rule
rule_for (struct fakecloud *fake, enum fake_verb verb, const char *path)
{
  for (size_t i = 0; i < fake->n_rules; ++i) {
    struct fake_rule *rule = &fake->rules[i];

    if (rule->verb != verb || (rule->path && strcmp (rule->path, path) != 0))
      continue;
    if (rule->skip > 0) {
      rule->skip--;
      continue;
    }
    if (rule->times == 1) {
      const struct fake_rule last = *rule;

      memmove (rule, rule + 1, (fake->n_rules - i - 1) * sizeof *rule);
      fake->n_rules--;
      return last;
    }
    if (rule->times > 0)
      rule->times--;
    return *rule;
  }
  return (struct fake_rule) { .verb = verb };
}

static void
log_request (struct fakecloud *fake, const struct fake_request *what)
{
  if (fake->n_log == fake->log_room) {
    fake->log_room = fake->log_room * 2 + 256;
    fake->log = realloc (fake->log, fake->log_room * sizeof *fake->log);
  }
  fake->log[fake->n_log++] = *what;
}

size_t
fakecloud_log (struct fakecloud *fake, enum fake_verb verb, const char *path, struct fake_request *ret, size_t n)
{
  LOCK_FOR_SCOPE (&fake->lock);
  size_t found = 0;

  for (size_t i = 0; i < fake->n_log; ++i) {
    const struct fake_request *what = &fake->log[i];

    if (what->verb != verb || (path && strcmp (what->path, path) != 0))
      continue;
    if (found < n)
      ret[found] = *what;
    found++;
  }
  return found;
}

void
fakecloud_forget (struct fakecloud *fake)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->n_log = 0;
}

bool
fakecloud_was_woken (struct fakecloud *fake)
{
  LOCK_FOR_SCOPE (&fake->lock);
  const bool woken = fake->woken;

  fake->woken = false;
  return woken;
}

const char *
fakecloud_broken (struct fakecloud *fake)
{
  LOCK_FOR_SCOPE (&fake->lock);

  return fake->broken[0] ? fake->broken : NULL;
}

/* ---- answering ---- */

static void
pause_ms (unsigned ms)
{
  const struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

  nanosleep (&ts, NULL);
}

/* Delays and holds; false if the remote was stopped meanwhile. */
static bool
wait_as_ruled (struct fakecloud *fake, const struct fake_rule *rule)
{
  if (rule->delay_ms)
    pause_ms (rule->delay_ms);
  LOCK_FOR_SCOPE (&fake->lock);
  if (rule->hold) {
    const unsigned before = fake->releases;

    while (fake->running && fake->releases == before)
      pthread_cond_wait (&fake->cond, &fake->lock);
  }
  return fake->running;
}

static const char *
sentence_for (enum cloud_result result)
{
  return result == CLOUD_OK ? NULL : "the fake remote was told to fail";
}

/* What a get meets: CLOUD_OK and the content. */
static enum cloud_result
find_content (struct fakecloud *fake, const struct request *request, uint64_t *ret, unsigned char **ret_bytes)
{
  LOCK_FOR_SCOPE (&fake->lock);
  const struct node *node = find_node (fake, request->path);

  if (node == NULL || node->is_folder)
    return CLOUD_GONE;
  if (strcmp (node->token, request->token) != 0)
    return CLOUD_CHANGED;
  if (request->what.length == 0 || request->size != node->size || request->what.offset >= node->size ||
      request->what.length > node->size - request->what.offset) {
    contract_broken (fake, "a range that is empty or not within the file was asked for");
    return CLOUD_BAD;
  }
  *ret = node->content;
  *ret_bytes = NULL;
  if (node->bytes) {
    *ret_bytes = malloc (node->size + 1);
    memcpy (*ret_bytes, node->bytes, node->size);
  }
  return CLOUD_OK;
}

static void
answer_get (struct fakecloud *fake, struct request *request)
{
  const struct fake_rule *rule = &request->rule;
  uint64_t content = 0, at = request->what.offset, end = at + request->what.length;
  enum cloud_result result;
  char *piece = malloc (PIECE_MAX);
  unsigned char *bytes = NULL;

  if (!wait_as_ruled (fake, rule))
    result = CLOUD_STOPPED;
  else
    result = find_content (fake, request, &content, &bytes);
  if (result == CLOUD_OK && rule->result != CLOUD_OK) {
    result = rule->result;
    if (rule->bytes_before < request->what.length)
      end = at + rule->bytes_before;
  }
  else if (result != CLOUD_OK)
    end = at;

  while (at < end) {
    /* 1 to PIECE_MAX bytes, mostly odd. */
    size_t n = 1 + mix (content ^ at) % PIECE_MAX;

    if (n > end - at)
      n = end - at;
    if (bytes)
      memcpy (piece, bytes + at, n);
    else
      fakecloud_fill (content, piece, n, at);
    if (rule->flip && at == request->what.offset)
      piece[0] ^= 0x10;
    if (request->get.data (request->opaque, piece, n, at) == -1) {
      result = CLOUD_LOCAL;
      break;
    }
    at += n;
  }
  free (piece);
  free (bytes);
  request->get.done (request->opaque, result, sentence_for (result));
}

static void
answer_list (struct fakecloud *fake, struct request *request)
{
  const struct fake_rule *rule = &request->rule;
  const bool is_stat = request->what.verb == FAKE_STAT;
  enum cloud_result result = rule->result;
  struct cloud_item *items = NULL;
  size_t n = 0;

  if (!wait_as_ruled (fake, rule))
    result = CLOUD_STOPPED;

  pthread_mutex_lock (&fake->lock);
  if (result == CLOUD_OK && find_node (fake, request->path) == NULL)
    result = CLOUD_GONE;
  if (result == CLOUD_OK && !is_stat && !find_node (fake, request->path)->is_folder)
    result = CLOUD_BAD;
  if (result == CLOUD_OK || rule->items_before > 0) {
    items = calloc (fake->n_nodes, sizeof *items);
    /* Backwards: a listing has no order. */
    for (size_t i = fake->n_nodes; i-- > 0;) {
      const struct node *node = &fake->nodes[i];

      if (is_stat ? strcmp (node->path, request->path) == 0
                  : is_child (node, request->path) && !node->hidden && !rule->empty)
        items[n++] = copy_item (node, !is_stat);
    }
  }
  pthread_mutex_unlock (&fake->lock);

  for (size_t i = 0; i < n; ++i) {
    if (result == CLOUD_OK || i < rule->items_before)
      request->list.item (request->opaque, &items[i]);
    free_item (&items[i]);
  }
  free (items);
  request->list.done (request->opaque, result, sentence_for (result));
}

/* ---- changes ---- */

static char *
parent_path (const char *path)
{
  const char *slash = strrchr (path, '/');

  return slash ? strndup (path, slash - path) : strdup ("");
}

/* Whether something can be made there.  Lock held. */
static enum cloud_result
can_make (struct fakecloud *fake, const char *path)
{
  CLEANUP_FREE char *above = parent_path (path);
  const struct node *folder = find_node (fake, above);

  if (folder == NULL || !folder->is_folder)
    return CLOUD_PARENT;
  return find_node (fake, path) ? CLOUD_EXISTS : CLOUD_OK;
}

/* Whether what is there is what the request expects.  Lock held. */
static enum cloud_result
can_change (struct fakecloud *fake, const struct request *request)
{
  const struct node *node = find_node (fake, request->path);

  if (node == NULL)
    return CLOUD_GONE;
  if (node->is_folder != request->is_folder || (!node->is_folder && request->token == NULL))
    return CLOUD_CHANGED;
  return node->is_folder || strcmp (node->token, request->token) == 0 ? CLOUD_OK : CLOUD_CHANGED;
}

static void
drop_nodes (struct fakecloud *fake, const char *path)
{
  size_t kept = 0;

  for (size_t i = 0; i < fake->n_nodes; ++i) {
    if (strcmp (fake->nodes[i].path, path) == 0)
      free_node (&fake->nodes[i]);
    else
      fake->nodes[kept++] = fake->nodes[i];
  }
  fake->n_nodes = kept;
}

static bool
has_children (struct fakecloud *fake, const char *path)
{
  for (size_t i = 0; i < fake->n_nodes; ++i)
    if (is_below (fake->nodes[i].path, path))
      return true;
  return false;
}

static void
move_nodes (struct fakecloud *fake, const char *from, const char *to)
{
  for (size_t i = 0; i < fake->n_nodes; ++i) {
    struct node *node = &fake->nodes[i];

    if (strcmp (node->path, from) == 0 || is_below (node->path, from)) {
      char path[4096];

      snprintf (path, sizeof path, "%s%s", to, node->path + strlen (from));
      set_text (&node->path, path);
    }
  }
  if (fake->token_moves)
    new_token (fake, find_node (fake, to));
}

/* Does it.  Lock held. */
static enum cloud_result
change (struct fakecloud *fake, struct request *request, const unsigned char *bytes)
{
  enum cloud_result result;

  switch (request->what.verb) {
  case FAKE_PUT:
    result = request->token ? can_change (fake, request) : can_make (fake, request->path);
    if (result == CLOUD_OK) {
      fake->stored = realloc (fake->stored, (fake->n_stored + 1) * sizeof *fake->stored);
      fake->stored[fake->n_stored++] = strndup ((const char *) bytes, request->size);
    }
    if (result == CLOUD_OK)
      store (fake, request->path, bytes, request->rule.keeps ? request->rule.keeps : request->size,
             &request->put.mtime);
    return result;
  case FAKE_MKDIR:
    result = can_make (fake, request->path);
    if (result == CLOUD_OK)
      store_folder (fake, request->path);
    return result;
  case FAKE_MOVE:
    result = can_change (fake, request);
    if (result == CLOUD_OK && is_below (request->to, request->path))
      contract_broken (fake, "a folder was moved into itself");
    if (result == CLOUD_OK)
      result = can_make (fake, request->to);
    if (result == CLOUD_OK)
      move_nodes (fake, request->path, request->to);
    return result;
  case FAKE_REMOVE:
    result = can_change (fake, request);
    if (result == CLOUD_OK && has_children (fake, request->path))
      result = CLOUD_EXISTS;
    if (result == CLOUD_OK)
      drop_nodes (fake, request->path);
    return result;
  default:
    result = can_change (fake, request);
    if (result == CLOUD_OK) {
      struct node *node = find_node (fake, request->path);

      node->mtime = request->put.mtime;
      new_token (fake, node);
    }
    return result;
  }
}

/* What is there now, for ranges to be put over it. */
static void
begin_with_base (struct fakecloud *fake, const struct request *request, unsigned char *bytes)
{
  LOCK_FOR_SCOPE (&fake->lock);
  const struct node *node = find_node (fake, request->path);
  const struct cloud_put *put = &request->put;
  uint64_t end = 0;

  for (size_t i = 0; i < put->n_ranges; ++i) {
    if (put->ranges[i].length == 0 || (i > 0 && put->ranges[i].offset <= end))
      contract_broken (fake, "ranges are not in order");
    end = put->ranges[i].offset + put->ranges[i].length;
  }
  if (end > put->size || (put->base_size < put->size && (end < put->size || put->ranges[put->n_ranges - 1].offset > put->base_size)))
    contract_broken (fake, "ranges do not fit the file");
  if (node == NULL || request->token == NULL || strcmp (node->token, request->token) != 0)
    return;
  if (node->size != put->base_size)
    contract_broken (fake, "a base of another size");
  for (uint64_t at = 0; at < request->size && at < node->size; ++at) {
    if (node->bytes)
      bytes[at] = node->bytes[at];
    else
      fakecloud_fill (node->content, bytes + at, 1, at);
  }
}

static enum cloud_result
read_bytes (const struct request *request, unsigned char *bytes, uint64_t at, uint64_t end)
{
  while (at < end) {
    const size_t n = end - at < 5000 ? end - at : 5000;

    if (request->put.read (request->opaque, bytes + at, n, at) == -1)
      return CLOUD_LOCAL;
    at += n;
  }
  return CLOUD_OK;
}

static enum cloud_result
read_put (struct fakecloud *fake, const struct request *request, unsigned char *bytes)
{
  const struct cloud_put *put = &request->put;
  enum cloud_result result = CLOUD_OK;
  bool takes_ranges;

  {
    LOCK_FOR_SCOPE (&fake->lock);
    takes_ranges = fake->takes_ranges;
  }
  if (put->n_ranges > 0 && !takes_ranges && !put->has_whole)
    return CLOUD_WHOLE;
  if (put->n_ranges == 0 || !takes_ranges)
    return read_bytes (request, bytes, 0, request->size);
  begin_with_base (fake, request, bytes);
  for (size_t i = 0; i < put->n_ranges && result == CLOUD_OK; ++i)
    result = read_bytes (request, bytes, put->ranges[i].offset, put->ranges[i].offset + put->ranges[i].length);
  return result;
}

static void
answer_change (struct fakecloud *fake, struct request *request)
{
  const struct fake_rule *rule = &request->rule;
  const bool does = rule->result == CLOUD_OK || rule->done;
  CLEANUP_FREE unsigned char *bytes = NULL;
  enum cloud_result result = CLOUD_OK;
  struct cloud_item now;
  bool has_now = false;

  if (!wait_as_ruled (fake, rule))
    result = CLOUD_STOPPED;
  if (result == CLOUD_OK && request->what.verb == FAKE_PUT) {
    bytes = calloc (1, request->size + 1);
    result = read_put (fake, request, bytes);
  }
  pthread_mutex_lock (&fake->lock);
  if (result == CLOUD_OK && rule->first) {
    const struct timespec mtime = { .tv_sec = MTIME + 7 };

    store (fake, request->what.verb == FAKE_MOVE ? request->to : request->path, rule->first, strlen (rule->first),
           &mtime);
  }
  if (result == CLOUD_OK && does)
    result = change (fake, request, bytes);
  if (result == CLOUD_OK && rule->result == CLOUD_OK && request->what.verb != FAKE_REMOVE && !rule->silent) {
    now = copy_item (find_node (fake, request->what.verb == FAKE_MOVE ? request->to : request->path), false);
    has_now = true;
  }
  if (result == CLOUD_OK)
    result = rule->result;
  pthread_mutex_unlock (&fake->lock);
  request->change.done (request->opaque, result, result == CLOUD_OK ? NULL : "the fake remote did not do it",
                        has_now ? &now : NULL);
  if (has_now)
    free_item (&now);
}

static void
answer (struct fakecloud *fake, struct request *request)
{
  if (request->what.verb == FAKE_GET)
    answer_get (fake, request);
  else if (request->what.verb == FAKE_LIST || request->what.verb == FAKE_STAT)
    answer_list (fake, request);
  else
    answer_change (fake, request);
  free (request->path);
  free (request->token);
  free (request->to);
  free (request);
}

static void *
answering_thread (void *opaque)
{
  struct fakecloud *fake = opaque;

  pthread_mutex_lock (&fake->lock);
  for (;;) {
    struct request *request = fake->first;

    if (request) {
      fake->first = request->next;
      if (fake->first == NULL)
        fake->last = &fake->first;
      pthread_mutex_unlock (&fake->lock);
      answer (fake, request);
      pthread_mutex_lock (&fake->lock);
      continue;
    }
    if (!fake->running)
      break;
    pthread_cond_wait (&fake->cond, &fake->lock);
  }
  pthread_mutex_unlock (&fake->lock);
  return NULL;
}

static void
take_request (struct fakecloud *fake, struct request *request)
{
  bool now;

  pthread_mutex_lock (&fake->lock);
  log_request (fake, &request->what);
  request->rule = rule_for (fake, request->what.verb, request->path);
  now = fake->is_inline || !fake->running;
  if (!now) {
    *fake->last = request;
    fake->last = &request->next;
    pthread_cond_broadcast (&fake->cond);
  }
  pthread_mutex_unlock (&fake->lock);
  if (now)
    answer (fake, request);
}

/* ---- the verbs ---- */

static enum cloud_result
fake_probe (struct cloud *cloud, char **ret_sentence)
{
  *ret_sentence = NULL;
  return CLOUD_OK;
}

static void
fake_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  struct request *request = calloc (1, sizeof *request);

  request->what.verb = depth == 0 ? FAKE_STAT : FAKE_LIST;
  snprintf (request->what.path, sizeof request->what.path, "%s", path);
  request->path = strdup (path);
  request->list = *sink;
  request->opaque = opaque;
  take_request ((struct fakecloud *) cloud, request);
}

static void
fake_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque)
{
  struct request *request = calloc (1, sizeof *request);

  request->what = (struct fake_request) {
    .verb = FAKE_GET, .offset = get->offset, .length = get->length, .urgent = get->urgent,
  };
  snprintf (request->what.path, sizeof request->what.path, "%s", get->path);
  request->path = strdup (get->path);
  request->token = strdup (get->token);
  request->size = get->size;
  request->get = *sink;
  request->opaque = opaque;
  take_request ((struct fakecloud *) cloud, request);
}

static struct request *
change_request (enum fake_verb verb, const char *path, bool is_folder, const char *expect,
                const struct cloud_change_sink *sink, void *opaque)
{
  struct request *request = calloc (1, sizeof *request);

  request->what.verb = verb;
  snprintf (request->what.path, sizeof request->what.path, "%s", path);
  request->path = strdup (path);
  request->token = expect ? strdup (expect) : NULL;
  request->is_folder = is_folder;
  request->change = *sink;
  request->opaque = opaque;
  return request;
}

static void
fake_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink, void *opaque)
{
  struct request *request = change_request (FAKE_PUT, put->path, false, put->expect, sink, opaque);

  request->put = *put;
  request->size = request->what.length = put->size;
  for (size_t i = 0; i < put->n_ranges; ++i)
    request->what.sent += put->ranges[i].length;
  take_request ((struct fakecloud *) cloud, request);
}

static void
fake_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque)
{
  take_request ((struct fakecloud *) cloud, change_request (FAKE_MKDIR, path, true, NULL, sink, opaque));
}

static void
fake_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
           const struct cloud_change_sink *sink, void *opaque)
{
  struct request *request = change_request (FAKE_MOVE, path, is_folder, expect, sink, opaque);

  request->to = strdup (to);
  snprintf (request->what.to, sizeof request->what.to, "%s", to);
  take_request ((struct fakecloud *) cloud, request);
}

static void
fake_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
             const struct cloud_change_sink *sink, void *opaque)
{
  take_request ((struct fakecloud *) cloud, change_request (FAKE_REMOVE, path, is_folder, expect, sink, opaque));
}

static void
fake_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
            const struct cloud_change_sink *sink, void *opaque)
{
  struct request *request = change_request (FAKE_TOUCH, path, false, expect, sink, opaque);

  request->put.mtime = *mtime;
  take_request ((struct fakecloud *) cloud, request);
}

static enum cloud_wait
fake_wait (struct cloud *cloud, int timeout_ms)
{
  pause_ms (timeout_ms < 10 ? timeout_ms : 10);
  return CLOUD_WAIT_TIMEOUT;
}

static bool
fake_has_push (struct cloud *cloud)
{
  return false;
}

static int
fake_start (struct cloud *cloud)
{
  struct fakecloud *fake = (struct fakecloud *) cloud;

  fake->running = true;
  for (size_t i = 0; i < N_THREADS; ++i)
    if (pthread_create (&fake->threads[i], NULL, answering_thread, fake) != 0)
      abort ();
  return 0;
}

static void
fake_stop (struct cloud *cloud)
{
  struct fakecloud *fake = (struct fakecloud *) cloud;

  pthread_mutex_lock (&fake->lock);
  if (!fake->running) {
    pthread_mutex_unlock (&fake->lock);
    return;
  }
  fake->running = false;
  pthread_cond_broadcast (&fake->cond);
  pthread_mutex_unlock (&fake->lock);
  for (size_t i = 0; i < N_THREADS; ++i)
    pthread_join (fake->threads[i], NULL);
}

static void
fake_wake (struct cloud *cloud)
{
  struct fakecloud *fake = (struct fakecloud *) cloud;
  LOCK_FOR_SCOPE (&fake->lock);

  fake->woken = true;
}

static void
fake_close (struct cloud *cloud)
{
  fakecloud_free ((struct fakecloud *) cloud);
}

static const struct cloud_ops fake_ops = {
  .name = "fake", .settle_ms = 50, .probe = fake_probe, .list = fake_list, .get = fake_get, .put = fake_put,
  .mkdir = fake_mkdir, .move = fake_move, .remove = fake_remove, .touch = fake_touch, .wait = fake_wait,
  .has_push = fake_has_push, .start = fake_start, .stop = fake_stop, .wake = fake_wake, .close = fake_close,
};

struct fakecloud *
fakecloud_new (void)
{
  struct fakecloud *fake = calloc (1, sizeof *fake);
  pthread_mutexattr_t attr;

  fake->base.ops = &fake_ops;
  fake->base.identity = strdup ("fake://remote");
  pthread_mutexattr_init (&attr);
  pthread_mutexattr_settype (&attr, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init (&fake->lock, &attr);
  pthread_mutexattr_destroy (&attr);
  pthread_cond_init (&fake->cond, NULL);
  fake->last = &fake->first;
  fakecloud_folder (fake, "", NULL, NULL);
  return fake;
}

void
fakecloud_set_inline (struct fakecloud *fake, bool is_inline)
{
  LOCK_FOR_SCOPE (&fake->lock);

  fake->is_inline = is_inline;
}

void
fakecloud_free (struct fakecloud *fake)
{
  if (fake == NULL)
    return;
  fake_stop (&fake->base);
  for (size_t i = 0; i < fake->n_nodes; ++i)
    free_node (&fake->nodes[i]);
  free (fake->nodes);
  for (size_t i = 0; i < fake->n_stored; ++i)
    free (fake->stored[i]);
  free (fake->stored);
  free (fake->log);
  free (fake->base.identity);
  pthread_mutex_destroy (&fake->lock);
  pthread_cond_destroy (&fake->cond);
  free (fake);
}
