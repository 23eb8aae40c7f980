/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks: all logical disks of the process with their views, and who may have which. */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "disk.h"
#include "disks.h"
#include "engine.h"
#include "msg.h"
#include "said.h"

struct entry {
  struct disk *disk;
  struct views *views;
  struct entry *next;
};

struct disks {
  struct engine *engine;
  struct views_config config;
  struct disk_store *store;
  struct said *said;           /* exports that were complained about */

  /* One reload at a time; entries are added under both locks, and never go away before disks_close. */
  pthread_mutex_t reload_lock;
  pthread_rwlock_t lock;       /* of all below */
  struct entry *entries;
  const struct rules *rules;
  struct rules **taken;        /* by reload: disks may look into them until the end */
  size_t n_taken;
};

static struct entry *
find_entry (struct disks *disks, const char *name)
{
  struct entry *entry = disks->entries;

  while (entry && strcmp (disk_name (entry->disk), name) != 0)
    entry = entry->next;
  return entry;
}

static void
entry_free (struct entry *entry)
{
  views_close (entry->views);
  disk_close (entry->disk);
  free (entry);
}

static void
free_entries (struct entry *list)
{
  while (list) {
    struct entry *entry = list;

    list = entry->next;
    entry_free (entry);
  }
}

static struct entry *
entry_open (struct disks *disks, const struct disk_rule *rule)
{
  const struct disk_config config = disk_config_of (rule);
  struct entry *entry = calloc (1, sizeof *entry);

  if (entry == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  entry->disk = disk_open (disks->engine, disks->store, &config);
  if (entry->disk)
    entry->views = views_open (disks->engine, entry->disk, &disks->config);
  if (entry->views)
    return entry;
  entry_free (entry);
  return NULL;
}

static void
add_entry (struct disks *disks, struct entry *entry)
{
  struct entry **end = &disks->entries;

  while (*end)
    end = &(*end)->next;
  *end = entry;
}

struct disks *
disks_open (struct engine *engine, const struct rules *rules, const struct views_config *config)
{
  struct disks *disks = calloc (1, sizeof *disks);

  if (disks == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  disks->engine = engine;
  disks->config = *config;
  disks->rules = rules;
  pthread_mutex_init (&disks->reload_lock, NULL);
  pthread_rwlock_init (&disks->lock, NULL);
  disks->said = said_new ();
  disks->store = disks->said ? disk_store_open (engine) : NULL;
  if (disks->store == NULL)
    goto failed;
  for (size_t i = 0; i < rules->n_disks; ++i) {
    struct entry *entry = entry_open (disks, &rules->disks[i]);

    if (entry == NULL)
      goto failed;
    add_entry (disks, entry);
  }
  if (disk_store_sweep (disks->store, rules) == 0)
    return disks;

failed:
  disks_close (disks);
  return NULL;
}

int
disks_start (struct disks *disks)
{
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    if (views_start (entry->views) == -1)
      return -1;
  return 0;
}

void
disks_finish (struct disks *disks)
{
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    views_finish (entry->views);
}

void
disks_stop (struct disks *disks)
{
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    views_stop (entry->views);
}

void
disks_close (struct disks *disks)
{
  if (disks == NULL)
    return;
  free_entries (disks->entries);
  for (size_t i = 0; i < disks->n_taken; ++i)
    rules_free (disks->taken[i]);
  free (disks->taken);
  disk_store_close (disks->store);
  said_free (disks->said);
  pthread_rwlock_destroy (&disks->lock);
  pthread_mutex_destroy (&disks->reload_lock);
  free (disks);
}

/* ---- who gets what ---- */

/* Says once for each name why it may not be had: a client may ask for ever. */
static void
refuse (struct disks *disks, enum rules_answer answer, const struct rules_peer *peer, const char *name)
{
  char topic[32];

  snprintf (topic, sizeof topic, "export %d %lld", (int) answer, peer->has_uid ? (long long) peer->uid : -1LL);
  if (!said_first_time (disks->said, name, topic))
    return;
  switch (answer) {
  case RULES_NO_VM:
    msg_error ("a client asked for the export \"%.100s\", and there is no such virtual machine: vm= adds it", name);
    break;
  case RULES_NOT_HIS:
    if (peer->has_uid)
      msg_error ("a client of user id %lld asked for the export \"%.100s\", which is not given to it: see vm=",
                 (long long) peer->uid, name);
    else
      msg_error ("a client asked for the export \"%.100s\", which is not given to it: see vm=", name);
    break;
  default:
    msg_error ("a client asked for an export that does not exist, \"%.100s\": nbdinfo --list shows those that do", name);
  }
}

void
disks_wants_of_peer (struct disks *disks, bool *ret_uid, bool *ret_cert)
{
  *ret_uid = *ret_cert = false;
  pthread_rwlock_rdlock (&disks->lock);
  for (size_t i = 0; i < disks->rules->n_vms; ++i) {
    *ret_uid |= disks->rules->vms[i].has_uid;
    *ret_cert |= disks->rules->vms[i].cert != NULL;
  }
  pthread_rwlock_unlock (&disks->lock);
}

struct export *
disks_attach (struct disks *disks, const struct rules_peer *peer, const char *name, bool readonly)
{
  struct export *export = calloc (1, sizeof *export);
  const struct disk_rule *rule = NULL;
  CLEANUP_FREE char *full = NULL;
  struct entry *entry = NULL;
  enum rules_answer answer;
  bool read_only = false;

  if (export == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  pthread_rwlock_rdlock (&disks->lock);
  answer = rules_allow (disks->rules, peer, name, &rule, &read_only, &full);
  if (answer == RULES_YES)
    entry = find_entry (disks, rule->name);
  pthread_rwlock_unlock (&disks->lock);
  if (entry == NULL) {
    if (answer != RULES_YES)
      refuse (disks, answer, peer, name);
    free (export);
    return NULL;
  }
  export->disk = entry->disk;
  export->views = entry->views;
  export->read_only = read_only || readonly;
  export->view = view_attach (entry->views, full, !export->read_only);
  if (export->view)
    return export;
  free (export);
  return NULL;
}

void
disks_detach (struct disks *disks, struct export *export)
{
  view_detach (export->views, export->view);
  free (export);
}

int
disks_each_export (struct disks *disks, const struct rules_peer *peer, int (*each) (void *opaque, const char *name),
                   void *opaque)
{
  int r;

  pthread_rwlock_rdlock (&disks->lock);
  r = rules_each_export (disks->rules, peer, each, opaque);
  pthread_rwlock_unlock (&disks->lock);
  return r;
}

/* ---- reloading ---- */

static int
keep_rules (struct disks *disks, struct rules *rules)
{
  struct rules **taken = realloc (disks->taken, (disks->n_taken + 1) * sizeof *taken);

  if (taken == NULL) {
    msg_error ("out of memory");
    rules_free (rules);
    return -1;
  }
  disks->taken = taken;
  disks->taken[disks->n_taken++] = rules;
  return 0;
}

/* Adds to a sentence of what only a restart takes up. */
static int
add_restart (char **text, const char *name)
{
  char *more;

  if (asprintf (&more, "%s%s%s", *text ? *text : "", *text ? ", " : "", name) == -1) {
    msg_error ("out of memory");
    return -1;
  }
  free (*text);
  *text = more;
  return 0;
}

/* Opens the disks that are new, as a list of their own: without the lock, because a layout takes a while. */
static int
open_new (struct disks *disks, const struct rules *rules, struct entry **ret)
{
  struct entry **end = ret;

  *ret = NULL;
  for (size_t i = 0; i < rules->n_disks; ++i) {
    struct entry *entry;

    if (find_entry (disks, rules->disks[i].name))
      continue;
    entry = entry_open (disks, &rules->disks[i]);
    if (entry == NULL)
      return -1;
    *end = entry;
    end = &entry->next;
  }
  return 0;
}

int
disks_reload (struct disks *disks, struct rules *rules, char **ret_restart)
{
  LOCK_FOR_SCOPE (&disks->reload_lock);
  struct entry *new;

  *ret_restart = NULL;
  if (keep_rules (disks, rules) == -1)
    return -1;
  if (open_new (disks, rules, &new) == -1) {
    free_entries (new);
    return -1;
  }
  /* A thread that was started ends with the engine only: from here on they stay, wanted or not. */
  pthread_rwlock_wrlock (&disks->lock);
  if (new)
    add_entry (disks, new);
  pthread_rwlock_unlock (&disks->lock);
  for (struct entry *entry = new; entry; entry = entry->next)
    if (views_start (entry->views) == -1)
      return -1;
  for (size_t i = 0; i < rules->n_disks; ++i) {
    struct entry *entry = find_entry (disks, rules->disks[i].name);

    if (entry && !disk_set_rule (entry->disk, &rules->disks[i]) && add_restart (ret_restart, rules->disks[i].name) == -1)
      return -1;
  }
  pthread_rwlock_wrlock (&disks->lock);
  disks->rules = rules;
  pthread_rwlock_unlock (&disks->lock);
  engine_ring (disks->engine);
  return 0;
}

/* ---- for the administrator ---- */

void
disks_each_view (struct disks *disks, void (*each) (void *opaque, const struct view_status *status), void *opaque)
{
  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    views_each (entry->views, each, opaque);
  pthread_rwlock_unlock (&disks->lock);
}

void
disks_hurry (struct disks *disks)
{
  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    views_hurry (entry->views);
  pthread_rwlock_unlock (&disks->lock);
}

enum view_forget
disks_forget_view (struct disks *disks, const char *name, bool force)
{
  enum view_forget result = VIEW_UNKNOWN;

  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry && result == VIEW_UNKNOWN; entry = entry->next)
    result = view_forget (entry->views, name, force);
  pthread_rwlock_unlock (&disks->lock);
  return result;
}

enum view_refresh
disks_refresh_view (struct disks *disks, const char *name)
{
  enum view_refresh result = VIEW_REFRESH_UNKNOWN;

  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry && result == VIEW_REFRESH_UNKNOWN; entry = entry->next)
    result = view_refresh (entry->views, name);
  pthread_rwlock_unlock (&disks->lock);
  return result;
}
