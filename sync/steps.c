/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts durable steps. */

#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "msg.h"
#include "steps.h"

/* What the process exits with when it stops at a step, so that a test tells it from a crash. */
#define STOPPED_AT_STEP 99

void
step_passed (const char *name)
{
  static atomic_long count;
  const char *stop_at = getenv ("CLOUDSHARE_STOP_AT_STEP");
  const long n = atomic_fetch_add (&count, 1) + 1;

  if (stop_at && n == atol (stop_at)) {
    msg_debug ("stopping at durable step %ld (%s)", n, name);
    _exit (STOPPED_AT_STEP);
  }
}
