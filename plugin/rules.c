/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules: from text to tables. */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <utf8proc.h>

#include "cleanup.h"
#include "geometry.h"
#include "media-type.h"
#include "msg.h"
#include "near-miss.h"
#include "rules.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static int
no_memory (void)
{
  msg_error ("out of memory");
  return -1;
}

/* "CONTEXT: KEY=VALUE: " and why; -1. */
static int __attribute__ ((format (printf, 4, 5)))
refuse (const char *context, const char *key, const char *value, const char *fmt, ...)
{
  char why[1024];
  va_list args;

  va_start (args, fmt);
  vsnprintf (why, sizeof why, fmt, args);
  va_end (args);
  msg_error ("%s%s%s=%.100s: %s", context ? context : "", context ? ": " : "", key, value, why);
  return -1;
}

static int
strings_add (struct strings *strings, const char *text)
{
  char **more = realloc (strings->items, (strings->n + 2) * sizeof *more);

  if (more == NULL)
    return no_memory ();
  strings->items = more;
  more[strings->n] = strdup (text);
  if (more[strings->n] == NULL)
    return no_memory ();
  more[++strings->n] = NULL;
  return 0;
}

static void
strings_free (struct strings *strings)
{
  for (size_t i = 0; i < strings->n; ++i)
    free (strings->items[i]);
  free (strings->items);
}

static void
disk_rule_free (struct disk_rule *disk)
{
  free (disk->name);
  strings_free (&disk->folders);
  strings_free (&disk->types);
  strings_free (&disk->globs);
  strings_free (&disk->excludes);
  free (disk->label);
  free (disk->context);
}

static void
vm_rule_free (struct vm_rule *vm)
{
  free (vm->name);
  for (size_t i = 0; i < vm->n_disks; ++i)
    free (vm->disks[i].disk);
  free (vm->disks);
  free (vm->cert);
  free (vm->context);
}

struct rules *
rules_new (void)
{
  struct rules *rules = calloc (1, sizeof *rules);

  if (rules == NULL)
    msg_error ("out of memory");
  else
    rules->defaults.partitioning = -1;
  return rules;
}

void
rules_free (struct rules *rules)
{
  if (rules == NULL)
    return;
  for (size_t i = 0; i < rules->n_disks; ++i)
    disk_rule_free (&rules->disks[i]);
  for (size_t i = 0; i < rules->n_vms; ++i)
    vm_rule_free (&rules->vms[i]);
  free (rules->disks);
  free (rules->vms);
  disk_rule_free (&rules->defaults);
  free (rules);
}

/* ---- values ---- */

static int
name_check (const char *context, const char *key, const char *value)
{
  const size_t n = strlen (value);

  if (n < 1 || n > 64 || strspn (value, LETTERS DIGITS "._-") != n)
    return refuse (context, key, value, "give a name of 1 to 64 letters, digits, '.', '_' or '-'");
  return 0;
}

/* What every system can show as a volume's label (FAT specification, section 7.1, without what only old systems allow). */
char *
label_check (const char *context, const char *value)
{
  const size_t n = strlen (value);
  char *label;

  if (n < 1 || n > 11 || value[0] == ' ' || value[n - 1] == ' ' || strspn (value, LETTERS DIGITS " -_") != n) {
    refuse (context, "label", value, "give 1 to 11 letters, digits, blanks, - or _, with no blank at either end");
    return NULL;
  }
  label = strdup (value);
  if (label == NULL)
    msg_error ("out of memory");
  for (char *p = label; p && *p; ++p)
    if (*p >= 'a' && *p <= 'z')
      *p -= 'a' - 'A';
  return label;
}

static bool
is_utf8 (const char *text)
{
  const utf8proc_uint8_t *p = (const utf8proc_uint8_t *) text;
  utf8proc_ssize_t left = strlen (text), n;
  utf8proc_int32_t c;

  for (; left > 0; p += n, left -= n) {
    n = utf8proc_iterate (p, left, &c);
    if (n < 1)
      return false;
  }
  return true;
}

static int
set_folder (struct disk_rule *disk, const char *context, char *value)
{
  char *path = value + strspn (value, "/"), *end = path + strlen (path);
  CLEANUP_FREE char *given = strdup (value);

  if (given == NULL)
    return no_memory ();
  if (value[0] == '\0')
    return refuse (context, "folder", value, "give a folder of the remote, as in folder=/Photos, or / for all of it");
  if (!is_utf8 (value))
    return refuse (context, "folder", value, "this is not valid UTF-8, and so cannot be the name of a folder");
  while (end > path && end[-1] == '/')
    *--end = '\0';
  for (const char *part = path; path[0];) {
    const size_t n = strcspn (part, "/");

    if (n == 0)
      return refuse (context, "folder", given, "there is no name between two slashes: give one slash");
    if ((n == 1 || n == 2) && strncmp (part, "..", n) == 0)
      return refuse (context, "folder", given, "\"%.*s\" is no folder's name: give the path from the remote's root", (int) n,
                     part);
    if (part[n] == '\0')
      break;
    part += n + 1;
  }
  return strings_add (&disk->folders, path);
}

static bool
is_token (const char *text, size_t n)
{
  /* RFC 6838, section 4.2. */
  return n > 0 && n <= 127 && strspn (text, LETTERS DIGITS "!#$&-^_.+") >= n;
}

static int
set_type (struct disk_rule *disk, const char *context, char *value)
{
  const char *slash = strchr (value, '/');
  char near[NEAR_MISS];

  for (char *p = value; *p; ++p)
    if (*p >= 'A' && *p <= 'Z')
      *p += 'a' - 'A';
  if (slash == NULL && !media_type_is_class (value))
    return refuse (context, "type", value, "this is neither a class nor a MIME type%s: give one of %s, or a type like"
                   " application/pdf", near_miss (value, media_type_classes (), near), media_type_classes ());
  if (slash && strpbrk (value, "; "))
    return refuse (context, "type", value, "give the MIME type alone, without parameters or blanks");
  if (slash && (!is_token (value, slash - value) ||
                (strcmp (slash + 1, "*") != 0 && !is_token (slash + 1, strlen (slash + 1)))))
    return refuse (context, "type", value, "this is no MIME type: give one like application/pdf or image/*");
  return strings_add (&disk->types, value);
}

static int
add_glob (struct strings *to, const char *context, const char *key, const char *value)
{
  if (value[0] == '\0')
    return refuse (context, key, value, "give a pattern for names, as in %s=*.jpg", key);
  if (strchr (value, '/'))
    return refuse (context, key, value, "a pattern is for one name, not for a path: take the / out, and give folders with"
                   " folder=");
  return strings_add (to, value);
}

static int
set_glob (struct disk_rule *disk, const char *context, char *value)
{
  return add_glob (&disk->globs, context, "glob", value);
}

static int
set_exclude (struct disk_rule *disk, const char *context, char *value)
{
  return add_glob (&disk->excludes, context, "exclude", value);
}

/* Index of a word in a list "A, B, C"; -1 after one message. */
static int
word_of (const char *context, const char *key, const char *value, const char *list)
{
  char near[NEAR_MISS];
  int i = 0;

  for (const char *p = list; *p; p += strspn (p, ", "), ++i) {
    const size_t n = strcspn (p, ",");

    if (strlen (value) == n && strncasecmp (value, p, n) == 0)
      return i;
    p += n;
  }
  return refuse (context, key, value, "this is not known%s: it can be one of %s", near_miss (value, list, near), list);
}

static int
set_format (struct disk_rule *disk, const char *context, char *value)
{
  static const char *const formats[] = { NULL, "fat32", "exfat", "raw" };
  const int i = word_of (context, "fs", value, "auto, fat32, exfat, raw");

  if (i >= 0)
    disk->format = formats[i];
  return i < 0 ? -1 : 0;
}

static int
set_partitioning (struct disk_rule *disk, const char *context, char *value)
{
  static const int styles[] = { -1, PARTITION_NONE, PARTITION_MBR, PARTITION_GPT };
  const int i = word_of (context, "partition", value, "auto, none, mbr, gpt");

  if (i >= 0)
    disk->partitioning = styles[i];
  return i < 0 ? -1 : 0;
}

static int
set_size (struct disk_rule *disk, const char *context, char *value)
{
  /* As nbdkit_parse_size has them; sectors among them. */
  static const char suffixes[] = "bkmgtpes";
  static const unsigned char shifts[] = { 0, 10, 20, 30, 40, 50, 60, 9 };
  const size_t digits = strspn (value, DIGITS);
  const char *suffix = NULL;
  unsigned shift = 0;
  uint64_t n;

  if (value[digits]) {
    const char c = value[digits] >= 'A' && value[digits] <= 'Z' ? value[digits] + ('a' - 'A') : value[digits];

    suffix = strchr (suffixes, c);
    if (suffix == NULL || value[digits + 1])
      goto bad;
    shift = shifts[suffix - suffixes];
  }
  errno = 0;
  n = strtoull (value, NULL, 10);
  if (digits == 0 || n == 0)
    goto bad;
  if (errno || n > (uint64_t) INT64_MAX >> shift)
    return refuse (context, "size", value, "this is more than a disk can have: give less than 8E");
  disk->size = n << shift;
  return 0;

bad:
  return refuse (context, "size", value, "give a size in bytes, or with a suffix as in 64G");
}

static int
set_label (struct disk_rule *disk, const char *context, char *value)
{
  char *label = label_check (context, value);

  if (label == NULL)
    return -1;
  free (disk->label);
  disk->label = label;
  return 0;
}

static int
set_bool (bool *to, const char *context, const char *key, const char *value)
{
  const int i = word_of (context, key, value, "yes, no, true, false, on, off, 1, 0");

  if (i >= 0)
    *to = i % 2 == 0;
  return i < 0 ? -1 : 0;
}

static int
set_split (struct disk_rule *disk, const char *context, char *value)
{
  return set_bool (&disk->split, context, "split", value);
}

static int
set_read_only (struct disk_rule *disk, const char *context, char *value)
{
  return set_bool (&disk->read_only, context, "ro", value);
}

/* ---- parameters ---- */

static const struct {
  const char *key;
  int (*set) (struct disk_rule *disk, const char *context, char *value);
  bool many;                   /* may be given several times */
} disk_keys[] = {
  [KEY_FOLDER] = { "folder", set_folder, true },
  [KEY_TYPE] = { "type", set_type, true },
  [KEY_GLOB] = { "glob", set_glob, true },
  [KEY_EXCLUDE] = { "exclude", set_exclude, true },
  [KEY_FS] = { "fs", set_format, false },
  [KEY_SIZE] = { "size", set_size, false },
  [KEY_LABEL] = { "label", set_label, false },
  [KEY_PARTITION] = { "partition", set_partitioning, false },
  [KEY_SPLIT] = { "split", set_split, false },
  [KEY_RO] = { "ro", set_read_only, false },
};
#define N_DISK_KEYS (sizeof disk_keys / sizeof disk_keys[0])

/* The text up to a comma, its escapes undone in place.  *rest: behind the comma, or NULL.  NULL if it ends within an escape. */
static char *
next_part (char **rest)
{
  char *part = *rest, *from = part, *to = part;

  *rest = NULL;
  for (; *from; ++from) {
    if (*from == ',') {
      *rest = from + 1;
      break;
    }
    if (*from == '\\' && (from[1] == ',' || from[1] == '\\'))
      ++from;
    else if (*from == '\\' && from[1] == '\0')
      return NULL;
    *to++ = *from;
  }
  *to = '\0';
  return part;
}

static int
unknown_key (const char *context, const char *key, const char *list)
{
  char near[NEAR_MISS];

  msg_error ("%s: the key \"%.100s\" is not known%s: it can be one of %s; a comma inside a value is written \"\\,\"", context, key,
             near_miss (key, list, near), list);
  return -1;
}

/* Reads "NAME,key=value,key,...": set gets each pair; value NULL for a key without "=". */
static int
each_key (const char *what, const char *text, const char *where, char **ret_name, char **ret_context,
          int (*set) (void *opaque, const char *context, const char *key, char *value), void *opaque)
{
  CLEANUP_FREE char *copy = strdup (text);
  char *rest = copy, *part;

  if (copy == NULL)
    return no_memory ();
  part = next_part (&rest);
  if (part == NULL)
    return refuse (where, what, text, "it ends with a single backslash: write \"\\\\\" for one");
  if (strchr (part, '='))
    return refuse (where, what, part, "the name comes first, as in %s=NAME,%s", what, part);
  if (name_check (where, what, part) == -1)
    return -1;
  *ret_name = strdup (part);
  if (*ret_name == NULL ||
      asprintf (ret_context, "%s%s%s=%s", where ? where : "", where ? ": " : "", what, part) == -1) {
    *ret_context = NULL;
    return no_memory ();
  }
  while (rest) {
    char *equals;

    part = next_part (&rest);
    if (part == NULL) {
      msg_error ("%s: it ends with a single backslash: write \"\\\\\" for one", *ret_context);
      return -1;
    }
    if (part[0] == '\0' || part[0] == '=') {
      msg_error ("%s: there is no key %s: give key=value between single commas", *ret_context,
                 part[0] ? "before a \"=\"" : "after a comma");
      return -1;
    }
    equals = strchr (part, '=');
    if (equals)
      *equals++ = '\0';
    if (set (opaque, *ret_context, part, equals) == -1)
      return -1;
  }
  return 0;
}

static int
set_disk_key (void *opaque, const char *context, const char *key, char *value)
{
  struct disk_rule *disk = opaque;
  char yes[] = "yes";
  size_t i = 0;

  while (i < N_DISK_KEYS && strcmp (key, disk_keys[i].key) != 0)
    ++i;
  if (i == N_DISK_KEYS)
    return unknown_key (context, key, "folder, type, glob, exclude, fs, size, label, partition, split, ro");
  if (value == NULL && (i == KEY_RO || i == KEY_SPLIT))
    value = yes;
  if (value == NULL) {
    msg_error ("%s: %s has no value: give %s=VALUE", context, key, key);
    return -1;
  }
  if (!disk_keys[i].many && (disk->given & 1u << i)) {
    msg_error ("%s: %s= is given twice: give it once", context, key);
    return -1;
  }
  disk->given |= 1u << i;
  return disk_keys[i].set (disk, context, value);
}

/* The array with room for one more. */
static void *
grow (void *array, size_t n, size_t bytes)
{
  void *more = reallocarray (array, n + 1, bytes);

  if (more == NULL)
    no_memory ();
  return more;
}

int
rules_add_disk (struct rules *rules, const char *text, const char *where)
{
  struct disk_rule disk = { .partitioning = -1 }, *more;

  if (each_key ("disk", text, where, &disk.name, &disk.context, set_disk_key, &disk) == -1 ||
      (more = grow (rules->disks, rules->n_disks, sizeof *more)) == NULL) {
    disk_rule_free (&disk);
    return -1;
  }
  rules->disks = more;
  more[rules->n_disks++] = disk;
  return 0;
}

int
rules_set_default (struct rules *rules, const char *key, const char *value, const char *where)
{
  CLEANUP_FREE char *copy = strdup (value);

  if (copy == NULL)
    return no_memory ();
  for (size_t i = KEY_FS; i <= KEY_PARTITION; ++i)
    if (strcmp (key, disk_keys[i].key) == 0) {
      rules->defaults.given |= 1u << i;
      return disk_keys[i].set (&rules->defaults, where, copy);
    }
  return refuse (where, key, value, "only fs, size, label and partition can be given for all disks");
}

/* ---- virtual machines ---- */

static int
set_vm_disk (struct vm_rule *vm, const char *context, char *value)
{
  char *colon = strchr (value, ':');
  struct vm_disk *more;

  if (colon) {
    if (strcmp (colon, ":ro") != 0)
      return refuse (context, "disk", value, "only \":ro\" can follow a disk's name");
    *colon = '\0';
  }
  if (name_check (context, "disk", value) == -1)
    return -1;
  for (size_t i = 0; i < vm->n_disks; ++i)
    if (strcmp (vm->disks[i].disk, value) == 0)
      return refuse (context, "disk", value, "this disk is given twice: give it once");
  more = grow (vm->disks, vm->n_disks, sizeof *more);
  if (more == NULL)
    return -1;
  vm->disks = more;
  more[vm->n_disks] = (struct vm_disk) { strdup (value), colon != NULL };
  if (more[vm->n_disks].disk == NULL)
    return no_memory ();
  vm->n_disks++;
  return 0;
}

static int
set_uid (struct vm_rule *vm, const char *context, const char *value)
{
  char buf[16384];
  struct passwd passwd, *found;
  int err;

  if (value[0] && value[strspn (value, DIGITS)] == '\0') {
    const unsigned long long n = strlen (value) > 10 ? ULLONG_MAX : strtoull (value, NULL, 10);

    /* The highest means "none" to the kernel. */
    if (n >= (uid_t) -1)
      return refuse (context, "uid", value, "give a user id from 0 to %u, or a user's name", (uid_t) -1 - 1);
    vm->uid = n;
    vm->has_uid = true;
    return 0;
  }
  err = value[0] ? getpwnam_r (value, &passwd, buf, sizeof buf, &found) : 0;
  if (err)
    return refuse (context, "uid", value, "this user cannot be looked up (%s): give the number", strerror (err));
  if (value[0] == '\0' || found == NULL)
    return refuse (context, "uid", value, "this host has no such user: give a user's name or number");
  vm->uid = passwd.pw_uid;
  vm->has_uid = true;
  return 0;
}

static int
set_vm_key (void *opaque, const char *context, const char *key, char *value)
{
  struct vm_rule *vm = opaque;
  const bool disk = strcmp (key, "disk") == 0, uid = strcmp (key, "uid") == 0, cert = strcmp (key, "cert") == 0;

  if (!disk && !uid && !cert)
    return unknown_key (context, key, "disk, uid, cert");
  if (value == NULL) {
    msg_error ("%s: %s has no value: give %s=VALUE", context, key, key);
    return -1;
  }
  if ((uid && vm->has_uid) || (cert && vm->cert)) {
    msg_error ("%s: %s= is given twice: give it once", context, key);
    return -1;
  }
  if (disk)
    return set_vm_disk (vm, context, value);
  if (uid)
    return set_uid (vm, context, value);
  if (strchr (value, '=') == NULL)
    return refuse (context, "cert", value, "give the distinguished name of a certificate, with \"\\,\" for its commas, as in"
                   " cert=CN=vm1\\,O=Example");
  vm->cert = strdup (value);
  return vm->cert ? 0 : no_memory ();
}

int
rules_add_vm (struct rules *rules, const char *text, const char *where)
{
  struct vm_rule vm = { 0 }, *more;

  if (each_key ("vm", text, where, &vm.name, &vm.context, set_vm_key, &vm) == -1)
    goto failed;
  if (vm.n_disks == 0) {
    msg_error ("%s: it gets no disk: give one with disk=NAME", vm.context);
    goto failed;
  }
  more = grow (rules->vms, rules->n_vms, sizeof *more);
  if (more == NULL)
    goto failed;
  rules->vms = more;
  more[rules->n_vms++] = vm;
  return 0;

failed:
  vm_rule_free (&vm);
  return -1;
}
