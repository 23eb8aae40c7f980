/* SPDX-License-Identifier: BSD-3-Clause */
/* What disks and interpreters want of an engine, by a core. */

#include <config.h>

#include "coreengine.h"
#include "engine.h"

struct core core;
bool core_rung;
void (*core_before_blobs) (void);

struct db *
engine_db (struct engine *engine)
{
  return core.db;
}

struct blobs *
engine_blobs (struct engine *engine)
{
  if (core_before_blobs)
    core_before_blobs ();
  return core.blobs;
}

struct cache *
engine_cache (struct engine *engine)
{
  return core.cache;
}

const char *
engine_cache_dir (struct engine *engine)
{
  return core.dir;
}

void
engine_ring (struct engine *engine)
{
  core_rung = true;
}
