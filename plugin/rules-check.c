/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules: what can only be told when all are known. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "geometry.h"
#include "msg.h"
#include "rules.h"

/* What neither the rule says nor fs=raw rules out. */
static int
take_defaults (struct disk_rule *disk, const struct disk_rule *defaults)
{
  const unsigned takes = defaults->given & ~disk->given;

  if (takes & 1u << KEY_FS)
    disk->format = defaults->format;
  if (disk->format && strcmp (disk->format, "raw") == 0)
    return 0;
  if (takes & 1u << KEY_SIZE)
    disk->size = defaults->size;
  if (takes & 1u << KEY_PARTITION)
    disk->partitioning = defaults->partitioning;
  if ((takes & 1u << KEY_LABEL) && disk->label == NULL) {
    disk->label = strdup (defaults->label);
    if (disk->label == NULL) {
      msg_error ("out of memory");
      return -1;
    }
  }
  return 0;
}

static int
check_raw (const struct disk_rule *disk)
{
  static const struct {
    enum disk_key bit;
    const char *key;
  } not_raw[] = { { KEY_PARTITION, "partition" }, { KEY_LABEL, "label" }, { KEY_SPLIT, "split" }, { KEY_SIZE, "size" } };

  for (size_t i = 0; i < sizeof not_raw / sizeof not_raw[0]; ++i)
    if (disk->given & 1u << not_raw[i].bit) {
      msg_error ("%s: fs=raw shows the files' bytes as they are, so %s= has nothing to say: leave one of them out", disk->context,
                 not_raw[i].key);
      return -1;
    }
  return 0;
}

static int
check_split (const struct disk_rule *disk)
{
  const char *why = NULL;

  if (disk->folders.n < 2)
    why = "give two folders or more";
  else if (disk->partitioning == PARTITION_NONE)
    why = "it does not go with partition=none";
  else if (disk->partitioning == PARTITION_MBR && disk->folders.n > 4)
    why = "an MBR has four at most: give partition=gpt, or fewer folders";
  else if (disk->folders.n > 128)
    why = "a GPT has 128 at most: give fewer folders";
  if (why)
    msg_error ("%s: split=yes makes a partition for each folder=: %s", disk->context, why);
  return why ? -1 : 0;
}

/* Whether the folder is the other, or holds it. */
static bool
holds (const char *folder, const char *other)
{
  const size_t n = strlen (folder);

  return n == 0 || (strncmp (folder, other, n) == 0 && (other[n] == '\0' || other[n] == '/'));
}

static int
check_folders (const struct disk_rule *disk)
{
  const struct strings *folders = &disk->folders;

  for (size_t i = 0; i < folders->n; ++i)
    for (size_t k = 0; k < folders->n; ++k) {
      if (i == k || !holds (folders->items[i], folders->items[k]))
        continue;
      if (strcmp (folders->items[i], folders->items[k]) == 0)
        msg_error ("%s: folder=/%.100s is given twice: give it once", disk->context, folders->items[i]);
      else
        msg_error ("%s: folder=/%.100s is inside folder=/%.100s: give only one of them", disk->context, folders->items[k],
                   folders->items[i]);
      return -1;
    }
  return 0;
}

static int
check_vm (const struct rules *rules, const struct vm_rule *vm)
{
  for (size_t i = 0; i < vm->n_disks; ++i) {
    const char *name = vm->disks[i].disk;

    if (rules_disk (rules, name) == NULL) {
      msg_error ("%s: disk=%s: there is no such disk: add it with disk=%s,...", vm->context, name, name);
      return -1;
    }
  }
  if (rules_vm (rules, vm->name) != vm) {
    msg_error ("%s: there is another vm= of this name: name all its disks in one", vm->context);
    return -1;
  }
  return 0;
}

int
rules_check (struct rules *rules)
{
  if (rules->n_disks == 0 && rules_add_disk (rules, "cloud", NULL) == -1)
    return -1;
  for (size_t i = 0; i < rules->n_disks; ++i) {
    struct disk_rule *disk = &rules->disks[i];

    if (take_defaults (disk, &rules->defaults) == -1)
      return -1;
    if (rules_disk (rules, disk->name) != disk) {
      msg_error ("%s: there is another disk= of this name: give each a name of its own", disk->context);
      return -1;
    }
    if ((disk->format && strcmp (disk->format, "raw") == 0 && check_raw (disk) == -1) ||
        (disk->split && check_split (disk) == -1) || check_folders (disk) == -1)
      return -1;
  }
  for (size_t i = 0; i < rules->n_vms; ++i)
    if (check_vm (rules, &rules->vms[i]) == -1)
      return -1;
  return 0;
}
