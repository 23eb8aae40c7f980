/* SPDX-License-Identifier: BSD-3-Clause */
/* Nextcloud's notify_push. */

#include <config.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "fsutil.h"
#include "http.h"
#include "http-url.h"
#include "msg.h"
#include "notify-push.h"
#include "websocket.h"
#include "wire.h"

/* Capabilities are a few KiB. */
#define MAX_CAPABILITIES (1 << 20)

/* Milliseconds without anything after which the server is asked for a sign of life, and after which it is given up. */
#define PING_MS 30000
#define SILENCE_MS 75000

/* Seconds until the next try: first, at most; and where the server has no such thing, or does not want us. */
#define PAUSE_FIRST 1
#define PAUSE_MOST 300
#define PAUSE_NONE 3600

struct notify {
  struct http *http;
  char *user, *password, *cainfo, *remote;
  bool sslverify;
  void (*changed) (void *opaque);
  void *opaque;

  int wake_fd;
  bool started;                /* who starts and joins is one thread at a time */
  pthread_t thread;
  atomic_bool stopping, ready;
  bool refusal_said, failure_said;   /* the thread's own */
};

/* ---- pure ---- */

char *
notify_capabilities_url (const char *remote)
{
  /* .../remote.php/dav/files/USER/ and the older .../remote.php/webdav/ */
  const char *at = strstr (remote, "/remote.php/");
  char *url;

  if (at == NULL || asprintf (&url, "%.*s/ocs/v2.php/cloud/capabilities?format=json", (int) (at - remote), remote) == -1)
    return NULL;
  return url;
}

static struct json_object *
find (struct json_object *object, const char *const *keys)
{
  for (; *keys; ++keys)
    if (!json_object_is_type (object, json_type_object) || !json_object_object_get_ex (object, *keys, &object))
      return NULL;
  return object;
}

/* ws and wss become http and https; as it may be anything, without a message where it is neither. */
static char *
as_http (const char *url)
{
  const bool secure = strncasecmp (url, "wss://", 6) == 0;
  char *copy;

  if (!secure && strncasecmp (url, "ws://", 5) != 0)
    return NULL;
  for (const char *p = url; *p; ++p)
    if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f)
      return NULL;
  return asprintf (&copy, "http%s", url + 2) == -1 ? NULL : copy;
}

static bool
may_know_password (const char *remote, const char *endpoint)
{
  CLEANUP_HTTP_URL_FREE struct http_url ours = { 0 }, theirs = { 0 };

  return http_url_parse (remote, &ours) == 0 && http_url_parse (endpoint, &theirs) == 0 && theirs.user == NULL &&
    strcmp (ours.host, theirs.host) == 0 && (theirs.secure || !ours.secure);
}

char *
notify_endpoint (const char *remote, const char *json, size_t n, bool *ret_refused)
{
  static const char *const path[] = { "ocs", "data", "capabilities", "notify_push", "endpoints", "websocket", NULL };
  struct json_tokener *tokener = json_tokener_new ();
  struct json_object *object, *text;
  char *url = NULL;

  *ret_refused = false;
  if (tokener == NULL)
    return NULL;
  object = json_tokener_parse_ex (tokener, json, (int) n);
  text = json_tokener_get_error (tokener) == json_tokener_success ? find (object, path) : NULL;
  if (json_object_is_type (text, json_type_string))
    url = as_http (json_object_get_string (text));
  if (url && !may_know_password (remote, url)) {
    *ret_refused = true;
    free (url);
    url = NULL;
  }
  json_object_put (object);
  json_tokener_free (tokener);
  return url;
}

/* ---- capabilities ---- */

struct question {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
  enum cloud_result result;
  int status;
  char *text;
  size_t n;
};

static enum http_verdict
on_answer (void *opaque, const struct http_answer *answer)
{
  struct question *question = opaque;

  question->status = answer->status;
  return answer->status == 200 ? HTTP_TAKE : HTTP_SKIP;
}

static int
on_data (void *opaque, const void *buf, size_t n)
{
  struct question *question = opaque;
  char *more;

  if (n > MAX_CAPABILITIES - question->n || (more = realloc (question->text, question->n + n)) == NULL)
    return -1;
  memcpy (more + question->n, buf, n);
  question->text = more;
  question->n += n;
  return 0;
}

static void
on_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct question *question = opaque;
  LOCK_FOR_SCOPE (&question->lock);

  question->result = result;
  question->done = true;
  pthread_cond_signal (&question->cond);
}

/* The endpoint; NULL with seconds until it is worth to ask again. */
static char *
ask (struct notify *notify, unsigned *ret_pause)
{
  static const struct http_sink sink = { .answer = on_answer, .data = on_data, .done = on_done };
  static const char *const headers[] = { "OCS-APIRequest: true", "Accept: application/json", NULL };
  struct question question = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
  CLEANUP_FREE char *url = notify_capabilities_url (notify->remote);
  const struct http_request request = { .method = "GET", .url = url, .headers = headers };
  char *endpoint = NULL;
  bool refused = false;

  *ret_pause = PAUSE_MOST;
  if (url == NULL)
    return NULL;
  http_submit (notify->http, &request, &sink, &question);
  pthread_mutex_lock (&question.lock);
  while (!question.done)
    pthread_cond_wait (&question.cond, &question.lock);
  pthread_mutex_unlock (&question.lock);
  if (question.result == CLOUD_OK && question.status == 200 && question.n > 0) {
    endpoint = notify_endpoint (notify->remote, question.text, question.n, &refused);
    *ret_pause = PAUSE_NONE;
  }
  else if (question.result == CLOUD_OK && question.status == 404)
    *ret_pause = PAUSE_NONE;
  if (refused && !notify->refusal_said)
    msg_notice ("%s: the server's notify_push is at another host, or without TLS, and is not told the password: changes are"
                " looked for by polling", notify->remote);
  notify->refusal_said |= refused;
  free (question.text);
  pthread_cond_destroy (&question.cond);
  pthread_mutex_destroy (&question.lock);
  return endpoint;
}

/* ---- the connection ---- */

struct talk {
  struct notify *notify;
  struct wire *wire;
  uint8_t *in;                 /* room for the longest frame */
  size_t n;
  char message[64];            /* the beginning of the one that comes, in pieces perhaps */
  size_t message_n;            /* of all of it */
  bool in_message;
  uint64_t heard_at, pinged_at;
};

#define IN_ROOM (WEBSOCKET_MAX_MESSAGE + WEBSOCKET_MAX_HEADER)

static int
say (struct talk *talk, enum websocket_opcode opcode, const void *payload, size_t n)
{
  CLEANUP_FREE uint8_t *frame = malloc (n + WEBSOCKET_MAX_HEADER);
  uint8_t mask[4];
  size_t length;
  int r;

  if (frame == NULL || getrandom (mask, sizeof mask, 0) != sizeof mask)
    return -1;
  length = websocket_frame (frame, opcode, payload, n, mask);
  r = wire_send (talk->wire, frame, length);
  explicit_bzero (frame, n + WEBSOCKET_MAX_HEADER);
  return r;
}

static int
say_text (struct talk *talk, const char *text)
{
  return say (talk, WEBSOCKET_TEXT, text, strlen (text));
}

/* Waits for more bytes, at most until the moment.  1: they are there; 0: it is that moment; -1: over. */
static int
receive (struct talk *talk, uint64_t until)
{
  for (;;) {
    struct pollfd fds[2] = { { .fd = wire_fd (talk->wire), .events = POLLIN }, { .fd = talk->notify->wake_fd, .events = POLLIN } };
    const uint64_t now = monotonic_ms ();
    ssize_t n;

    if (atomic_load (&talk->notify->stopping) || talk->n == IN_ROOM)
      return -1;
    n = wire_receive (talk->wire, talk->in + talk->n, IN_ROOM - talk->n);
    if (n == -1)
      return -1;
    if (n > 0) {
      talk->n += (size_t) n;
      talk->heard_at = now;
      return 1;
    }
    if (now >= until)
      return 0;
    if (poll (fds, 2, (int) (until - now)) == -1)
      return -1;
  }
}

static void
used (struct talk *talk, size_t n)
{
  memmove (talk->in, talk->in + n, talk->n - n);
  talk->n -= n;
}

static int
shake_hands (struct talk *talk, const char *endpoint, int *ret_status)
{
  CLEANUP_HTTP_URL_FREE struct http_url url = { 0 };
  CLEANUP_FREE char *host = NULL;
  CLEANUP_FREE char *request = NULL;
  const uint64_t until = monotonic_ms () + PING_MS;
  struct websocket_key key;
  uint8_t random[16];
  ssize_t n;

  *ret_status = 0;
  if (http_url_parse (endpoint, &url) == -1 || asprintf (&host, "%s:%s", url.host, url.port) == -1 ||
      getrandom (random, sizeof random, 0) != sizeof random)
    return -1;
  websocket_key_of (random, &key);
  request = websocket_request (host, url.path, &key);
  if (request == NULL || wire_send (talk->wire, request, strlen (request)) == -1)
    return -1;
  while ((n = websocket_answer ((const char *) talk->in, talk->n, &key, ret_status)) == 0)
    if (receive (talk, until) != 1)
      return -1;
  if (n == -1)
    return -1;
  used (talk, (size_t) n);
  return 0;
}

/* A whole message.  -1: the server does not want us. */
static int
on_message (struct talk *talk)
{
  struct notify *notify = talk->notify;
  const size_t n = talk->message_n < sizeof talk->message - 1 ? talk->message_n : sizeof talk->message - 1;

  talk->message[n] = '\0';
  if (strcmp (talk->message, "authenticated") == 0) {
    msg_debug ("%s: notify_push is there", notify->remote);
    atomic_store (&notify->ready, true);
    /* With the numbers of files in them there are fewer messages; a server that does not know this goes on as before. */
    if (say_text (talk, "listen notify_file_id") == -1)
      return -1;
    /* What changed before the server began to tell. */
    notify->changed (notify->opaque);
  }
  else if (strncmp (talk->message, "notify_file", 11) == 0)
    notify->changed (notify->opaque);
  else if (strncmp (talk->message, "err:", 4) == 0) {
    if (!notify->failure_said)
      msg_notice ("%s: notify_push does not take our user and password: changes are looked for by polling", notify->remote);
    notify->failure_said = true;
    return -1;
  }
  return 0;
}

static int
on_frame (struct talk *talk, const struct websocket_frame *frame)
{
  const size_t room = sizeof talk->message - 1;

  switch (frame->opcode) {
  case WEBSOCKET_PING:
    return say (talk, WEBSOCKET_PONG, frame->payload, frame->n);
  case WEBSOCKET_PONG:
    return 0;
  case WEBSOCKET_CLOSE:
    say (talk, WEBSOCKET_CLOSE, frame->payload, frame->n < 2 ? 0 : 2);
    return -1;
  case WEBSOCKET_TEXT:
  case WEBSOCKET_BINARY:
    if (talk->in_message)
      return -1;
    talk->in_message = true;
    talk->message_n = 0;
    break;
  case WEBSOCKET_MORE:
    if (!talk->in_message)
      return -1;
  }
  /* Only the beginning is of interest, and pieces may be many. */
  if (talk->message_n < room)
    memcpy (talk->message + talk->message_n, frame->payload,
            frame->n < room - talk->message_n ? frame->n : room - talk->message_n);
  talk->message_n += frame->n;
  if (!frame->last)
    return 0;
  talk->in_message = false;
  return on_message (talk);
}

/* Until the connection is over. */
static void
listen_to (struct talk *talk)
{
  for (;;) {
    struct websocket_frame frame;
    ssize_t n;

    while ((n = websocket_read (talk->in, talk->n, &frame)) > 0) {
      if (on_frame (talk, &frame) == -1)
        return;
      used (talk, (size_t) n);
    }
    if (n == -1)
      return;
    switch (receive (talk, (talk->heard_at > talk->pinged_at ? talk->heard_at : talk->pinged_at) + PING_MS)) {
    case -1:
      return;
    case 0:
      if (monotonic_ms () - talk->heard_at >= SILENCE_MS || say (talk, WEBSOCKET_PING, NULL, 0) == -1)
        return;
      talk->pinged_at = monotonic_ms ();
    }
  }
}

/* True where the server took us. */
static bool
talk_to (struct notify *notify, const char *endpoint)
{
  const struct wire_config config = {
    .url = endpoint, .cainfo = notify->cainfo, .sslverify = notify->sslverify, .stopping = &notify->stopping,
  };
  CLEANUP_FREE char *why = NULL;
  CLEANUP_FREE uint8_t *in = malloc (IN_ROOM);
  struct talk talk = { .notify = notify, .in = in, .heard_at = monotonic_ms () };
  bool was_ready;
  int status = 0;

  talk.wire = in ? wire_open (&config, &why) : NULL;
  if (talk.wire == NULL) {
    msg_debug ("%s: notify_push at %s: %s", notify->remote, endpoint, why ? why : "out of memory");
    return false;
  }
  if (shake_hands (&talk, endpoint, &status) == -1)
    msg_debug ("%s: notify_push at %s: no WebSocket there (status %d)", notify->remote, endpoint, status);
  else if (say_text (&talk, notify->user) == 0 && say_text (&talk, notify->password) == 0)
    listen_to (&talk);
  wire_close (talk.wire);
  was_ready = atomic_exchange (&notify->ready, false);
  /* From here on it is polled for again. */
  if (was_ready)
    notify->changed (notify->opaque);
  return was_ready;
}

static void
rest (struct notify *notify, unsigned seconds)
{
  struct pollfd fd = { .fd = notify->wake_fd, .events = POLLIN };

  if (!atomic_load (&notify->stopping))
    poll (&fd, 1, (int) seconds * 1000);
}

static void *
notify_thread (void *opaque)
{
  struct notify *notify = opaque;
  unsigned pause = PAUSE_FIRST;

  while (!atomic_load (&notify->stopping)) {
    unsigned longer = 0;
    CLEANUP_FREE char *endpoint = ask (notify, &longer);

    if (endpoint == NULL) {
      rest (notify, longer);
      continue;
    }
    if (talk_to (notify, endpoint))
      pause = PAUSE_FIRST;
    rest (notify, pause);
    pause = pause * 2 < PAUSE_MOST ? pause * 2 : PAUSE_MOST;
  }
  return NULL;
}

/* ---- from new to free ---- */

struct notify *
notify_new (const struct notify_config *config)
{
  struct notify *notify = calloc (1, sizeof *notify);

  if (notify) {
    notify->http = config->http;
    notify->sslverify = config->sslverify;
    notify->changed = config->changed;
    notify->opaque = config->opaque;
    notify->user = strdup (config->user);
    notify->password = strdup (config->password);
    notify->cainfo = config->cainfo ? strdup (config->cainfo) : NULL;
    notify->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  if (notify == NULL || notify->user == NULL || notify->password == NULL || (config->cainfo && notify->cainfo == NULL) ||
      notify->wake_fd < 0) {
    msg_error ("out of memory");
    notify_free (notify);
    return NULL;
  }
  return notify;
}

int
notify_start (struct notify *notify, const char *remote)
{
  sigset_t all, before;
  uint64_t count;
  int err;

  if (notify->started || strstr (remote, "/remote.php/") == NULL)
    return 0;
  free (notify->remote);
  notify->remote = strdup (remote);
  if (notify->remote == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  atomic_store (&notify->stopping, false);
  /* The last end's wake-up. */
  if (read (notify->wake_fd, &count, sizeof count) == -1)
    count = 0;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  err = pthread_create (&notify->thread, NULL, notify_thread, notify);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (err) {
    msg_error ("cannot start a thread: %s", strerror (err));
    return -1;
  }
  notify->started = true;
  return 0;
}

void
notify_end (struct notify *notify)
{
  const uint64_t one = 1;

  atomic_store (&notify->stopping, true);
  if (write (notify->wake_fd, &one, sizeof one) == -1)
    msg_debug ("notify_push: cannot wake: %m");
}

void
notify_join (struct notify *notify)
{
  if (notify->started)
    pthread_join (notify->thread, NULL);
  notify->started = false;
}

void
notify_free (struct notify *notify)
{
  if (notify == NULL)
    return;
  if (notify->wake_fd >= 0)
    close (notify->wake_fd);
  free (notify->user);
  if (notify->password)
    explicit_bzero (notify->password, strlen (notify->password));
  free (notify->password);
  free (notify->cainfo);
  free (notify->remote);
  free (notify);
}

bool
notify_is_ready (struct notify *notify)
{
  return atomic_load (&notify->ready);
}
