/* SPDX-License-Identifier: BSD-3-Clause */
/* A few threads for work that blocks (disk reads and writes), by urgency.
 *
 *   workers = workers_new ()
 *   workers_start (workers)
 *   workers_add (workers, urgency, job)     from any thread, also from a job
 *   workers_stop (workers)                  not from a job
 *   workers_free (workers)
 *
 * start and stop may come several times.  Every job that was added is run exactly once, if need be only to hear that it
 * is too late: after stop began, jobs are run with stopped = true, on the thread of stop or add.
 */

#ifndef CLOUDSHARE_WORKERS_H
#define CLOUDSHARE_WORKERS_H

#include <stdatomic.h>
#include <stdbool.h>

struct workers;

/* Embedded in what the work is about; it belongs to run once that was called. */
struct job {
  struct job *next;
  void (*run) (struct job *job, bool stopped);
};

/* Most urgent first; within one urgency in order.  For each urgency threads are kept that do nothing less urgent, so
 * that nobody who waits for a read is behind listings, no listing is behind uploads, and no upload behind a long
 * read-ahead. */
enum work_urgency { WORK_URGENT, WORK_NORMAL, WORK_CHANGE, WORK_IDLE, N_WORK_URGENCIES };

/* NULL (out of memory) without a message. */
extern struct workers *workers_new (void);
extern void workers_free (struct workers *workers);

/* -1 with errno and without a message. */
extern int workers_start (struct workers *workers);
extern void workers_stop (struct workers *workers);
extern void workers_add (struct workers *workers, enum work_urgency urgency, struct job *job);

/* True from stop to start: long jobs look at it, and end soon. */
extern const atomic_bool *workers_stopping (const struct workers *workers);

#endif /* CLOUDSHARE_WORKERS_H */
