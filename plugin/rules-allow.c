/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules, applied: who gets which disk, and what is on it. */

#include <config.h>

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media-type.h"
#include "msg.h"
#include "rules.h"

/* ---- who gets what ---- */

const struct disk_rule *
rules_disk (const struct rules *rules, const char *name)
{
  for (size_t i = 0; i < rules->n_disks; ++i)
    if (strcmp (rules->disks[i].name, name) == 0)
      return &rules->disks[i];
  return NULL;
}

const struct vm_rule *
rules_vm (const struct rules *rules, const char *name)
{
  for (size_t i = 0; i < rules->n_vms; ++i)
    if (strcmp (rules->vms[i].name, name) == 0)
      return &rules->vms[i];
  return NULL;
}

/* What a rule asks of who connects must be known and right: what is not known (no uid over TCP) never is. */
static bool
is_his (const struct vm_rule *vm, const struct rules_peer *peer)
{
  if (vm->has_uid && (!peer->has_uid || peer->uid != vm->uid))
    return false;
  return vm->cert == NULL || (peer->cert && strcmp (peer->cert, vm->cert) == 0);
}

static enum rules_answer
yes (const struct disk_rule *disk, bool read_only, char *name, const struct disk_rule **ret_disk, bool *ret_read_only,
     char **ret_name)
{
  if (name == NULL) {
    msg_error ("out of memory");
    return RULES_NO_DISK;
  }
  *ret_disk = disk;
  *ret_read_only = read_only || disk->read_only;
  *ret_name = name;
  return RULES_YES;
}

static char *
full_name (const struct vm_rule *vm, const struct vm_disk *disk)
{
  char *name;

  return asprintf (&name, "%s/%s", vm->name, disk->disk) == -1 ? NULL : name;
}

/* Without vm rules.  A virtual machine's name is free then, and may hold slashes. */
static enum rules_answer
allow_any (const struct rules *rules, const char *export_name, const struct disk_rule **ret_disk, bool *ret_read_only,
           char **ret_name)
{
  const char *slash = strrchr (export_name, '/');
  const struct disk_rule *disk;

  if (export_name[0] == '\0')
    disk = rules->n_disks == 1 ? &rules->disks[0] : NULL;
  else
    disk = rules_disk (rules, slash ? slash + 1 : export_name);
  if (disk == NULL)
    return RULES_NO_DISK;
  return yes (disk, false, strdup (export_name[0] ? export_name : disk->name), ret_disk, ret_read_only, ret_name);
}

/* The one export that there is for that side. */
static enum rules_answer
allow_only (const struct rules *rules, const struct rules_peer *peer, const struct disk_rule **ret_disk, bool *ret_read_only,
            char **ret_name)
{
  const struct vm_rule *vm = NULL;

  for (size_t i = 0; i < rules->n_vms; ++i) {
    if (!is_his (&rules->vms[i], peer))
      continue;
    if (vm || rules->vms[i].n_disks != 1)
      return RULES_NO_DISK;
    vm = &rules->vms[i];
  }
  if (vm == NULL)
    return RULES_NOT_HIS;
  return yes (rules_disk (rules, vm->disks[0].disk), vm->disks[0].read_only, full_name (vm, &vm->disks[0]), ret_disk,
              ret_read_only, ret_name);
}

enum rules_answer
rules_allow (const struct rules *rules, const struct rules_peer *peer, const char *export_name,
             const struct disk_rule **ret_disk, bool *ret_read_only, char **ret_name)
{
  const char *slash = strchr (export_name, '/');
  const struct vm_rule *vm = NULL;

  if (rules->n_vms == 0)
    return allow_any (rules, export_name, ret_disk, ret_read_only, ret_name);
  if (export_name[0] == '\0')
    return allow_only (rules, peer, ret_disk, ret_read_only, ret_name);
  for (size_t i = 0; slash && i < rules->n_vms && vm == NULL; ++i) {
    const size_t n = slash - export_name;

    if (strlen (rules->vms[i].name) == n && memcmp (rules->vms[i].name, export_name, n) == 0)
      vm = &rules->vms[i];
  }
  if (vm == NULL)
    return RULES_NO_VM;
  if (!is_his (vm, peer))
    return RULES_NOT_HIS;
  for (size_t i = 0; i < vm->n_disks; ++i)
    if (strcmp (vm->disks[i].disk, slash + 1) == 0)
      return yes (rules_disk (rules, slash + 1), vm->disks[i].read_only, strdup (export_name), ret_disk, ret_read_only,
                  ret_name);
  return RULES_NO_DISK;
}

static int
each_disk (const struct vm_rule *vm, int (*each) (void *opaque, const char *name), void *opaque)
{
  for (size_t i = 0; i < vm->n_disks; ++i) {
    char *name = full_name (vm, &vm->disks[i]);
    int r;

    if (name == NULL) {
      msg_error ("out of memory");
      return -1;
    }
    r = each (opaque, name);
    free (name);
    if (r == -1)
      return -1;
  }
  return 0;
}

int
rules_each_export (const struct rules *rules, const struct rules_peer *peer, int (*each) (void *opaque, const char *name),
                   void *opaque)
{
  for (size_t i = 0; rules->n_vms == 0 && i < rules->n_disks; ++i)
    if (each (opaque, rules->disks[i].name) == -1)
      return -1;
  for (size_t i = 0; i < rules->n_vms; ++i)
    if (is_his (&rules->vms[i], peer) && each_disk (&rules->vms[i], each, opaque) == -1)
      return -1;
  return 0;
}

/* ---- what is on a disk ---- */

bool
disk_rule_filters (const struct disk_rule *rule)
{
  return rule->types.n || rule->globs.n || rule->excludes.n;
}

static bool
matches_any (const struct strings *globs, const char *name)
{
  for (size_t i = 0; i < globs->n; ++i)
    if (fnmatch (globs->items[i], name, FNM_CASEFOLD) == 0)
      return true;
  return false;
}

bool
disk_rule_wants_file (const struct disk_rule *rule, const char *name, const char *mime)
{
  const char *type = mime;

  if ((rule->globs.n && !matches_any (&rule->globs, name)) || matches_any (&rule->excludes, name))
    return false;
  if (rule->types.n == 0)
    return true;
  if (mime == NULL || media_type_says_nothing (mime)) {
    type = media_type_of_name (name);
    if (type == NULL)
      type = mime;
  }
  for (size_t i = 0; type && i < rule->types.n; ++i)
    if (media_type_matches (type, rule->types.items[i]))
      return true;
  return false;
}

bool
disk_rule_wants_folder (const struct disk_rule *rule, const char *name)
{
  return !matches_any (&rule->excludes, name);
}

static bool
all_in (const struct strings *a, const struct strings *b)
{
  for (size_t i = 0; i < a->n; ++i) {
    size_t k = 0;

    while (k < b->n && strcmp (a->items[i], b->items[k]) != 0)
      ++k;
    if (k == b->n)
      return false;
  }
  return true;
}

static bool
same_set (const struct strings *a, const struct strings *b)
{
  return all_in (a, b) && all_in (b, a);
}

bool
disk_rule_same_selection (const struct disk_rule *a, const struct disk_rule *b)
{
  static char *root = "";
  static const struct strings whole = { &root, 1 };
  const struct strings *in_a = a->folders.n ? &a->folders : &whole, *in_b = b->folders.n ? &b->folders : &whole;

  /* The order of folders counts: new files land in the first. */
  if (in_a->n != in_b->n)
    return false;
  for (size_t i = 0; i < in_a->n; ++i)
    if (strcmp (in_a->items[i], in_b->items[i]) != 0)
      return false;
  return same_set (&a->types, &b->types) && same_set (&a->globs, &b->globs) && same_set (&a->excludes, &b->excludes);
}
