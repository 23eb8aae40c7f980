/* SPDX-License-Identifier: BSD-3-Clause */
/* Scope-bound cleanup: memory, file descriptors and locks are given back where their scope ends, on every way out. */

#ifndef CLOUDSHARE_CLEANUP_H
#define CLOUDSHARE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
cleanup_free (void *ptr)
{
  free (*(void **) ptr);
}

static inline void
cleanup_close (int *fd)
{
  if (*fd >= 0)
    close (*fd);
}

static inline void
cleanup_unlock (pthread_mutex_t **lock)
{
  if (*lock)
    pthread_mutex_unlock (*lock);
}

/* Frees what the pointer points to (malloc'ed, or NULL) at the end of the scope. */
#define CLEANUP_FREE __attribute__ ((cleanup (cleanup_free)))

/* Closes the file descriptor at the end of the scope, unless it is negative. */
#define CLEANUP_CLOSE __attribute__ ((cleanup (cleanup_close)))

#define CLEANUP_CONCAT2(a, b) a##b
#define CLEANUP_CONCAT(a, b) CLEANUP_CONCAT2 (a, b)

/* Holds the mutex from here to the end of the scope. */
#define LOCK_FOR_SCOPE(lock)                                                              \
  __attribute__ ((cleanup (cleanup_unlock), unused)) pthread_mutex_t *                   \
    CLEANUP_CONCAT (scope_lock_, __LINE__) = (lock);                                      \
  pthread_mutex_lock (lock)

#endif /* CLOUDSHARE_CLEANUP_H */
