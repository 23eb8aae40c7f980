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
#include "export.h"
#include "msg.h"
#include "said.h"

/* One partition, of as many as there are folders on a disk that is split; else the disk. */
struct part {
  struct disk_rule rule;       /* what it points to is the rules', but for these two */
  char *name;                  /* after the first: with a number behind */
  char *folder[2];
  struct disk *disk;
  struct views *views;
};

struct entry {
  const struct disk_rule *rule;   /* that it was opened with */
  struct entry *next;
  size_t n_parts;
  struct part parts[];
};

struct disks {
  struct engine *engine;
  struct views_config config;
  _Atomic uint64_t all_dirty;  /* bytes of all overlays */
  struct disk_store *store;
  struct said *said;           /* exports that were complained about */

  /* One reload at a time; entries are added under both locks, and never go away before disks_close. */
  pthread_mutex_t reload_lock;
  pthread_rwlock_t lock;       /* of all below */
  struct entry *entries;
  const struct rules *rules;
  struct rules **taken;        /* by reload: disks may look into them until the end */
  size_t n_taken;

  /* Of all connections: nbdkit may end without closing some. */
  pthread_mutex_t exports_lock;
  struct export *exports;
};

static struct entry *
find_entry (struct disks *disks, const char *name)
{
  struct entry *entry = disks->entries;

  while (entry && strcmp (entry->rule->name, name) != 0)
    entry = entry->next;
  return entry;
}

static void
entry_free (struct entry *entry)
{
  for (size_t i = 0; i < entry->n_parts; ++i) {
    views_close (entry->parts[i].views);
    disk_close (entry->parts[i].disk);
    free (entry->parts[i].name);
  }
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

static size_t
count_parts (const struct disk_rule *rule)
{
  return rule->split ? rule->folders.n : 1;
}

/* The rule for one partition of a disk that is split. */
static int
part_rule (struct part *part, const struct disk_rule *rule, size_t i)
{
  part->rule = *rule;
  if (!rule->split)
    return 0;
  part->folder[0] = rule->folders.items[i];
  part->rule.folders = (struct strings) { .items = part->folder, .n = 1 };
  /* A number sign is in no name that a user can give. */
  if (i == 0)
    return 0;
  if (asprintf (&part->name, "%s#%zu", rule->name, i + 1) == -1) {
    part->name = NULL;
    msg_error ("out of memory");
    return -1;
  }
  part->rule.name = part->name;
  return 0;
}

static int
open_part (struct disks *disks, struct entry *entry, size_t i, uint64_t size)
{
  struct part *part = &entry->parts[i];
  struct disk_config config = disk_config_of (&part->rule);

  if (entry->n_parts > 1) {
    config.part = i;
    config.parts = entry->n_parts;
    config.size = size;
  }
  part->disk = disk_open (disks->engine, disks->store, &config);
  if (part->disk == NULL)
    return -1;
  if (i > 0)
    disk_add_part (entry->parts[i - 1].disk, part->disk);
  part->views = views_open (disks->engine, part->disk, &disks->config);
  return part->views ? 0 : -1;
}

/* The size that all parts go by. */
static int
split_size (struct disks *disks, const struct entry *entry, uint64_t *ret)
{
  CLEANUP_FREE struct disk_rule *rules = calloc (entry->n_parts, sizeof *rules);

  *ret = entry->parts[0].rule.size;
  if (*ret > 0 || entry->n_parts == 1)
    return 0;
  if (rules == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < entry->n_parts; ++i)
    rules[i] = entry->parts[i].rule;
  return disk_split_size (disks->engine, rules, entry->n_parts, ret);
}

static struct entry *
entry_open (struct disks *disks, const struct disk_rule *rule)
{
  const size_t n = count_parts (rule);
  struct entry *entry = calloc (1, sizeof *entry + n * sizeof entry->parts[0]);
  uint64_t size;

  if (entry == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  entry->rule = rule;
  entry->n_parts = n;
  for (size_t i = 0; i < n; ++i)
    if (part_rule (&entry->parts[i], rule, i) == -1)
      goto failed;
  if (split_size (disks, entry, &size) == -1)
    goto failed;
  for (size_t i = 0; i < n; ++i)
    if (open_part (disks, entry, i, size) == -1)
      goto failed;
  return entry;

failed:
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
  disks->config.all_dirty = &disks->all_dirty;
  disks->rules = rules;
  pthread_mutex_init (&disks->reload_lock, NULL);
  pthread_rwlock_init (&disks->lock, NULL);
  pthread_mutex_init (&disks->exports_lock, NULL);
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

static int
start_entry (struct entry *entry)
{
  for (size_t i = 0; i < entry->n_parts; ++i)
    if (views_start (entry->parts[i].views) == -1)
      return -1;
  return 0;
}

/* Calls each for the views of all partitions of all disks. */
static void
each_views (struct disks *disks, void (*each) (struct views *views))
{
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    for (size_t i = 0; i < entry->n_parts; ++i)
      each (entry->parts[i].views);
}

int
disks_start (struct disks *disks)
{
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    if (start_entry (entry) == -1)
      return -1;
  return 0;
}

void
disks_finish (struct disks *disks)
{
  each_views (disks, views_finish);
}

void
disks_stop (struct disks *disks)
{
  each_views (disks, views_stop);
}

void
disks_close (struct disks *disks)
{
  if (disks == NULL)
    return;
  while (disks->exports) {
    struct export *export = disks->exports;

    disks->exports = export->next;
    free (export);
  }
  free_entries (disks->entries);
  for (size_t i = 0; i < disks->n_taken; ++i)
    rules_free (disks->taken[i]);
  free (disks->taken);
  disk_store_close (disks->store);
  said_free (disks->said);
  pthread_mutex_destroy (&disks->exports_lock);
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

static void
hold_export (struct disks *disks, struct export *export)
{
  LOCK_FOR_SCOPE (&disks->exports_lock);

  export->next = disks->exports;
  export->link = &disks->exports;
  if (export->next)
    export->next->link = &export->next;
  disks->exports = export;
}

static void
release_export (struct disks *disks, struct export *export)
{
  LOCK_FOR_SCOPE (&disks->exports_lock);

  *export->link = export->next;
  if (export->next)
    export->next->link = export->link;
}

static void
detach_parts (struct export *export)
{
  for (size_t i = 0; i < export->n_parts; ++i)
    if (export->parts[i].view)
      view_detach (export->parts[i].views, export->parts[i].view);
  free (export);
}

static struct export *
attach_parts (struct entry *entry, const char *name, bool read_only)
{
  struct export *export = calloc (1, sizeof *export + entry->n_parts * sizeof export->parts[0]);

  if (export == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  export->read_only = read_only;
  export->n_parts = entry->n_parts;
  for (size_t i = 0; i < entry->n_parts; ++i) {
    CLEANUP_FREE char *numbered = NULL;

    if (i > 0 && asprintf (&numbered, "%s#%zu", name, i + 1) == -1) {
      numbered = NULL;
      msg_error ("out of memory");
      detach_parts (export);
      return NULL;
    }
    export->parts[i].disk = entry->parts[i].disk;
    export->parts[i].views = entry->parts[i].views;
    export->parts[i].view = view_attach (entry->parts[i].views, i > 0 ? numbered : name, !read_only);
    if (export->parts[i].view == NULL) {
      detach_parts (export);
      return NULL;
    }
  }
  return export;
}

struct export *
disks_attach (struct disks *disks, const struct rules_peer *peer, const char *name, bool readonly)
{
  const struct disk_rule *rule = NULL;
  CLEANUP_FREE char *full = NULL;
  struct entry *entry = NULL;
  enum rules_answer answer;
  bool read_only = false;

  pthread_rwlock_rdlock (&disks->lock);
  answer = rules_allow (disks->rules, peer, name, &rule, &read_only, &full);
  if (answer == RULES_YES)
    entry = find_entry (disks, rule->name);
  pthread_rwlock_unlock (&disks->lock);
  if (entry) {
    struct export *export = attach_parts (entry, full, read_only || readonly);

    if (export)
      hold_export (disks, export);
    return export;
  }
  if (answer != RULES_YES)
    refuse (disks, answer, peer, name);
  return NULL;
}

void
disks_detach (struct disks *disks, struct export *export)
{
  release_export (disks, export);
  detach_parts (export);
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

enum rules_answer
disks_look_up (struct disks *disks, const char *name, struct disks_export *ret)
{
  CLEANUP_FREE char *vm_name = strndup (name, strcspn (name, "/"));
  struct rules_peer peer = { 0 };
  const struct disk_rule *rule;
  const struct vm_rule *vm;
  enum rules_answer answer;

  memset (ret, 0, sizeof *ret);
  pthread_rwlock_rdlock (&disks->lock);
  vm = vm_name ? rules_vm (disks->rules, vm_name) : NULL;
  if (vm)
    peer = (struct rules_peer) { .has_uid = vm->has_uid, .uid = vm->uid, .cert = vm->cert };
  ret->uid = vm && vm->has_uid ? (int64_t) vm->uid : -1;
  ret->cert = vm && vm->cert;
  answer = rules_allow (disks->rules, &peer, name, &rule, &ret->read_only, &ret->name);
  pthread_rwlock_unlock (&disks->lock);
  return answer;
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

/* Whether the disks that there are find what they are asked for now. */
static int
check_rules (struct disks *disks, const struct rules *rules)
{
  for (size_t i = 0; i < rules->n_disks; ++i) {
    const struct entry *entry = find_entry (disks, rules->disks[i].name);

    if (entry && entry->n_parts == 1 && !rules->disks[i].split &&
        disk_check_rule (entry->parts[0].disk, &rules->disks[i]) == -1)
      return -1;
  }
  return 0;
}

/* False: that needs a restart. */
static bool
set_rule (struct entry *entry, const struct disk_rule *rule)
{
  if (entry->n_parts == 1 && !rule->split)
    return disk_set_rule (entry->parts[0].disk, rule);
  /* Partitions stay what they are. */
  return entry->n_parts == count_parts (rule) && disk_rule_same_selection (entry->rule, rule);
}

int
disks_reload (struct disks *disks, struct rules *rules, char **ret_restart)
{
  LOCK_FOR_SCOPE (&disks->reload_lock);
  struct entry *new;

  *ret_restart = NULL;
  if (keep_rules (disks, rules) == -1 || check_rules (disks, rules) == -1)
    return -1;
  /* A file that was cut must not open everything to everybody. */
  if (disks->rules->n_vms > 0 && rules->n_vms == 0) {
    msg_error ("there is no vm= any more, so every client could open every disk: if that is meant, restart the server");
    return -1;
  }
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
    if (start_entry (entry) == -1)
      return -1;
  for (size_t i = 0; i < rules->n_disks; ++i) {
    struct entry *entry = find_entry (disks, rules->disks[i].name);

    if (entry && !set_rule (entry, &rules->disks[i]) && add_restart (ret_restart, rules->disks[i].name) == -1)
      return -1;
  }
  pthread_rwlock_wrlock (&disks->lock);
  disks->rules = rules;
  pthread_rwlock_unlock (&disks->lock);
  engine_ring (disks->engine);
  return 0;
}

/* ---- for the administrator ---- */

static bool
is_there (void *opaque, const char *disk)
{
  struct disks *disks = opaque;

  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    for (size_t i = 0; i < entry->n_parts; ++i)
      if (strcmp (disk_name (entry->parts[i].disk), disk) == 0)
        return true;
  return false;
}

void
disks_each_view (struct disks *disks, void (*each) (void *opaque, const struct view_status *status), void *opaque)
{
  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    for (size_t i = 0; i < entry->n_parts; ++i)
      views_each (entry->parts[i].views, each, opaque);
  disk_store_each_held (disks->store, is_there, each, opaque, disks);
  pthread_rwlock_unlock (&disks->lock);
}

void
disks_hurry (struct disks *disks)
{
  pthread_rwlock_rdlock (&disks->lock);
  each_views (disks, views_hurry);
  pthread_rwlock_unlock (&disks->lock);
}

enum view_forget
disks_forget_view (struct disks *disks, const char *name, bool force)
{
  enum view_forget result = VIEW_UNKNOWN;

  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    for (size_t i = 0; i < entry->n_parts && result == VIEW_UNKNOWN; ++i)
      result = view_forget (entry->parts[i].views, name, force);
  pthread_rwlock_unlock (&disks->lock);
  if (result == VIEW_UNKNOWN && force) {
    LOCK_FOR_SCOPE (&disks->reload_lock);
    const int r = disk_store_forget_held (disks->store, name);

    result = r == 1 ? VIEW_FORGOTTEN : r == -1 ? VIEW_FAILED : VIEW_UNKNOWN;
  }
  return result;
}

enum view_refresh
disks_refresh_view (struct disks *disks, const char *name)
{
  enum view_refresh result = VIEW_REFRESH_UNKNOWN;

  pthread_rwlock_rdlock (&disks->lock);
  for (struct entry *entry = disks->entries; entry; entry = entry->next)
    for (size_t i = 0; i < entry->n_parts && result == VIEW_REFRESH_UNKNOWN; ++i)
      result = view_refresh (entry->parts[i].views, name);
  pthread_rwlock_unlock (&disks->lock);
  return result;
}
