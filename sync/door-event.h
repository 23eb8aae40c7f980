/* SPDX-License-Identifier: BSD-3-Clause */
/* What the body of a cloud's message says (JSON): pure. */

#ifndef CLOUDSHARE_DOOR_EVENT_H
#define CLOUDSHARE_DOOR_EVENT_H

#include <stdbool.h>
#include <stddef.h>

/* Called for what the body names, in its order. */
struct door_event_sink {
  /* An object was made, changed or removed.  Where it is not plain whether the key is URL-encoded, both readings come. */
  void (*object) (void *opaque, const char *bucket, const char *key);

  /* Something changed at a path; NULL: somewhere. */
  void (*path) (void *opaque, const char *path);

  /* AWS wants to be told that we want to hear from it, at this URL: not checked yet. */
  void (*confirm) (void *opaque, const char *url);
};

/* False: it is not understood, and nothing was called. */
extern bool door_event_read (const char *body, size_t n, const struct door_event_sink *sink, void *opaque);

/* Whether a URL is one at which AWS's SNS, and nobody else, has a subscription confirmed. */
extern bool door_event_may_confirm (const char *url);

#endif /* CLOUDSHARE_DOOR_EVENT_H */
