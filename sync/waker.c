/* SPDX-License-Identifier: BSD-3-Clause */
/* A wait that can be cut short. */

#include <config.h>

#include <time.h>

#include "cleanup.h"
#include "waker.h"

#define NS 1000000000L

void
waker_init (struct waker *waker)
{
  pthread_condattr_t attr;

  pthread_mutex_init (&waker->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&waker->cond, &attr);
  pthread_condattr_destroy (&attr);
  waker->woken = false;
}

void
waker_destroy (struct waker *waker)
{
  pthread_cond_destroy (&waker->cond);
  pthread_mutex_destroy (&waker->lock);
}

void
waker_reset (struct waker *waker)
{
  LOCK_FOR_SCOPE (&waker->lock);
  waker->woken = false;
}

void
waker_wake (struct waker *waker)
{
  LOCK_FOR_SCOPE (&waker->lock);
  waker->woken = true;
  pthread_cond_signal (&waker->cond);
}

bool
waker_wait (struct waker *waker, int timeout_ms)
{
  struct timespec until;
  bool woken;
  int err = 0;

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += timeout_ms % 1000 * (NS / 1000);
  until.tv_sec += timeout_ms / 1000 + until.tv_nsec / NS;
  until.tv_nsec %= NS;
  LOCK_FOR_SCOPE (&waker->lock);
  while (!waker->woken && err == 0)
    err = pthread_cond_timedwait (&waker->cond, &waker->lock, &until);
  woken = waker->woken;
  waker->woken = false;
  return woken;
}
