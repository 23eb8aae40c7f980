/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs jobs on a few threads, the urgent ones first. */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "cleanup.h"
#include "workers.h"

/* How many jobs of an urgency, or less urgent ones, run at once. */
static const unsigned most_running[N_WORK_URGENCIES] = {
  [WORK_URGENT] = 8, [WORK_NORMAL] = 7, [WORK_CHANGE] = 5, [WORK_IDLE] = 3,
};

#define N_THREADS 8

struct workers {
  pthread_t threads[N_THREADS];
  atomic_bool stopping;           /* true: not started, or being stopped; written with the lock held */

  pthread_mutex_t lock;           /* protects what follows; never held while a job runs */
  pthread_cond_t work;            /* a job was added, or stop; a thread whose job ended looks by itself */
  struct job *first[N_WORK_URGENCIES], **last[N_WORK_URGENCIES];
  unsigned n_running[N_WORK_URGENCIES];   /* jobs of that urgency or a lower one */
};

struct workers *
workers_new (void)
{
  struct workers *workers = calloc (1, sizeof *workers);

  if (workers == NULL)
    return NULL;
  atomic_init (&workers->stopping, true);
  pthread_mutex_init (&workers->lock, NULL);
  pthread_cond_init (&workers->work, NULL);
  for (unsigned u = 0; u < N_WORK_URGENCIES; ++u)
    workers->last[u] = &workers->first[u];
  return workers;
}

void
workers_free (struct workers *workers)
{
  if (workers == NULL)
    return;
  workers_stop (workers);
  pthread_cond_destroy (&workers->work);
  pthread_mutex_destroy (&workers->lock);
  free (workers);
}

const atomic_bool *
workers_stopping (const struct workers *workers)
{
  return &workers->stopping;
}

static bool
has_room (const struct workers *workers, enum work_urgency urgency)
{
  for (enum work_urgency u = 0; u <= urgency; ++u)
    if (workers->n_running[u] >= most_running[u])
      return false;
  return true;
}

static void
count_running (struct workers *workers, enum work_urgency urgency, int change)
{
  for (enum work_urgency u = 0; u <= urgency; ++u)
    workers->n_running[u] += (unsigned) change;
}

/* The next job that may run now, or NULL.  The lock is held. */
static struct job *
take_job (struct workers *workers, enum work_urgency *ret_urgency)
{
  for (enum work_urgency u = 0; u < N_WORK_URGENCIES; ++u) {
    struct job *job = workers->first[u];

    if (job == NULL || !has_room (workers, u))
      continue;
    workers->first[u] = job->next;
    if (job->next == NULL)
      workers->last[u] = &workers->first[u];
    *ret_urgency = u;
    return job;
  }
  return NULL;
}

static void *
work (void *opaque)
{
  struct workers *workers = opaque;

  for (;;) {
    struct job *job = NULL;
    enum work_urgency urgency = WORK_URGENT;

    {
      LOCK_FOR_SCOPE (&workers->lock);
      while (!atomic_load (&workers->stopping) && (job = take_job (workers, &urgency)) == NULL)
        pthread_cond_wait (&workers->work, &workers->lock);
      if (job == NULL)
        return NULL;
      count_running (workers, urgency, 1);
    }
    job->run (job, false);
    {
      LOCK_FOR_SCOPE (&workers->lock);
      count_running (workers, urgency, -1);
    }
  }
}

void
workers_add (struct workers *workers, enum work_urgency urgency, struct job *job)
{
  {
    LOCK_FOR_SCOPE (&workers->lock);
    if (!atomic_load (&workers->stopping)) {
      job->next = NULL;
      *workers->last[urgency] = job;
      workers->last[urgency] = &job->next;
      pthread_cond_signal (&workers->work);
      return;
    }
  }
  job->run (job, true);
}

static void
stop_threads (struct workers *workers, unsigned n)
{
  struct job *left = NULL;

  {
    LOCK_FOR_SCOPE (&workers->lock);
    atomic_store (&workers->stopping, true);
    pthread_cond_broadcast (&workers->work);
    for (unsigned u = N_WORK_URGENCIES; u-- > 0;) {
      *workers->last[u] = left;
      left = workers->first[u];
      workers->first[u] = NULL;
      workers->last[u] = &workers->first[u];
    }
  }
  while (left != NULL) {
    struct job *job = left;

    left = job->next;
    job->run (job, true);
  }
  for (unsigned i = 0; i < n; ++i)
    pthread_join (workers->threads[i], NULL);
}

int
workers_start (struct workers *workers)
{
  sigset_t all, before;
  unsigned n = 0;
  int err = 0;

  if (!atomic_load (&workers->stopping))
    return 0;
  atomic_store (&workers->stopping, false);

  /* Signals are the program's business, on the program's threads. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  while (n < N_THREADS && (err = pthread_create (&workers->threads[n], NULL, work, workers)) == 0)
    n++;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (err == 0)
    return 0;
  stop_threads (workers, n);
  errno = err;
  return -1;
}

void
workers_stop (struct workers *workers)
{
  if (!atomic_load (&workers->stopping))
    stop_threads (workers, N_THREADS);
}
