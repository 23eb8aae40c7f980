/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine: owns the remote, the database, the catalog and the cache, and the thread that keeps them in step.
 *
 *   engine = engine_open (&config)      cache folder, lock, database; no traffic, no thread
 *   engine_prepare (engine)             where nothing is known of the remote yet: asks and lists it, in this process, with
 *                                       progress; all threads are gone again when it returns, so a fork may follow
 *   engine_start (engine)               after the fork: threads
 *   engine_wait_revision (engine, ...)  the doorbell for whoever shows the catalog
 *   engine_stop (engine)
 *   engine_close (engine)
 */

#ifndef CLOUDSHARE_ENGINE_H
#define CLOUDSHARE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "cloud.h"

struct blobs;
struct cache;
struct db;
struct engine;
struct push;

struct engine_config {
  struct cloud_config cloud;
  const char *cache_dir;       /* absolute path; NULL: below the user's or the system's cache folder, by remote */
  uint64_t cache_size;         /* bytes, 0: no limit */
  bool fetch_all;
  unsigned poll_s, retry_s;    /* seconds */
  const char *push, *push_token;   /* where clouds may knock, and with which word (door.h); or NULL */
  uint64_t upload_rate, download_rate;   /* bytes a second; 0: no limit */
  bool (*gives_up) (void);     /* see struct cache_config; or NULL */
};

/* NULL after one message.  What config points to is copied. */
extern struct engine *engine_open (const struct engine_config *config);
extern void engine_close (struct engine *engine);

/* Makes sure that there is a catalog.  -1 after one message. */
extern int engine_prepare (struct engine *engine);

/* Ready after engine_open; all belong to the engine. */
extern struct db *engine_db (struct engine *engine);
extern struct blobs *engine_blobs (struct engine *engine);
extern struct cache *engine_cache (struct engine *engine);
extern const char *engine_identity (struct engine *engine);
extern const char *engine_cache_dir (struct engine *engine);

/* What tells the remote of changes; NULL before engine_start and after engine_stop. */
extern struct push *engine_push (struct engine *engine);

/* Around a fork: the database may not cross it. */
extern int engine_suspend (struct engine *engine);
extern int engine_start (struct engine *engine);
extern void engine_stop (struct engine *engine);

/* Sleeps until the catalog's revision is past the given one, engine_ring was called, the engine stops, or timeout_ms
 * went by.  Returns false when the engine stops. */
extern bool engine_wait_revision (struct engine *engine, int64_t after, int timeout_ms);
extern void engine_ring (struct engine *engine);

/* What views made is in the catalog and the journal: who shows it, and who sends it, should look. */
extern void engine_journalled (struct engine *engine);

/* The journal should be looked at.  Nothing before engine_start and after engine_stop. */
extern void engine_push_ring (struct engine *engine);

/* CLOUD_OK, CLOUD_OFFLINE or CLOUD_AUTH: what is known of the remote right now. */
extern enum cloud_result engine_remote_state (struct engine *engine);

/* Limits of what goes to the remote and comes from it, bytes a second; 0: none.  Any thread.  -1 (without a message): this
 * kind of remote has no limits. */
extern int engine_set_rates (struct engine *engine, uint64_t upload, uint64_t download);
extern void engine_rates (struct engine *engine, uint64_t *ret_upload, uint64_t *ret_download);

/* The URL at which clouds may knock, a secret; NULL: none. */
extern const char *engine_door_url (struct engine *engine);

/* Whether the remote tells its changes by itself right now. */
extern bool engine_remote_pushes (struct engine *engine);

/* Something is said to have changed at a path (as in cloud.h; NULL: somewhere), which is looked at soon.  Any thread, from
 * engine_start to engine_stop. */
extern void engine_hint (struct engine *engine, const char *path);

/* Looks at the remote now. */
extern void engine_poke (struct engine *engine);

#endif /* CLOUDSHARE_ENGINE_H */
