/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known about the remote right now. */

#include <config.h>

#include <stdatomic.h>

#include "cleanup.h"
#include "health.h"
#include "msg.h"

struct health {
  struct cloud *cloud;
  atomic_int state;        /* enum cloud_result */
  atomic_bool suspicion;
};

struct health *
health_new (struct cloud *cloud)
{
  struct health *health = calloc (1, sizeof *health);

  if (health == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  health->cloud = cloud;
  atomic_init (&health->state, CLOUD_OK);
  return health;
}

void
health_free (struct health *health)
{
  free (health);
}

void
health_report (struct health *health, enum cloud_result result, const char *sentence)
{
  int now, before;

  switch (result) {
  case CLOUD_OFFLINE:
  case CLOUD_AUTH:
    now = result;
    break;
  case CLOUD_STOPPED:
  case CLOUD_LOCAL:
    return;                    /* says nothing about the remote */
  default:
    now = CLOUD_OK;
  }

  before = atomic_exchange (&health->state, now);
  if (before == now)
    return;
  if (now == CLOUD_OK)
    msg_notice ("%s is back", health->cloud->identity);
  else {
    msg_error ("%s", sentence ? sentence : cloud_result_name (result));
    msg_notice ("%s is away: what is known of it and copied here is served, and nothing new comes",
                health->cloud->identity);
    cloud_wake (health->cloud);
  }
}

bool
health_is_away (struct health *health)
{
  return atomic_load_explicit (&health->state, memory_order_relaxed) != CLOUD_OK;
}

enum cloud_result
health_state (struct health *health)
{
  return atomic_load (&health->state);
}

void
health_suspect (struct health *health)
{
  atomic_store (&health->suspicion, true);
  cloud_wake (health->cloud);
}

bool
health_is_suspected (struct health *health)
{
  return atomic_load (&health->suspicion);
}

bool
health_take_suspicion (struct health *health)
{
  return atomic_exchange (&health->suspicion, false);
}
