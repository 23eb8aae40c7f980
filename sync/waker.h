/* SPDX-License-Identifier: BSD-3-Clause */
/* A wait that can be cut short: what cloud.h's wait and wake are for providers without push. */

#ifndef CLOUDSHARE_WAKER_H
#define CLOUDSHARE_WAKER_H

#include <pthread.h>
#include <stdbool.h>

struct waker {
  pthread_mutex_t lock;        /* protects what follows */
  pthread_cond_t cond;
  bool woken;
};

extern void waker_init (struct waker *waker);
extern void waker_destroy (struct waker *waker);

/* Forgets that it was woken. */
extern void waker_reset (struct waker *waker);
extern void waker_wake (struct waker *waker);

/* True where it was woken, also before; and forgets it.  False: the time is over. */
extern bool waker_wait (struct waker *waker, int timeout_ms);

#endif /* CLOUDSHARE_WAKER_H */
