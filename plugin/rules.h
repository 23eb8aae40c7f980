/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules: which disks there are, what is on each, and which virtual machine gets which.  Pure: text in, tables out.
 *
 *   rules = rules_new ()
 *   rules_add_disk (rules, "photos,folder=/Photos,type=image", where)      disk=...
 *   rules_add_vm (rules, "vm1,disk=photos,disk=docs:ro", where)            vm=...
 *   rules_check (rules)                              what can only be told when all are known
 *   rules_free (rules)
 *
 * In a value, a comma ends it; "\," is a comma, "\\" a backslash; before anything else a backslash is itself, as globs want it.
 * Several values of one key mean OR; different keys mean AND.
 *
 * where says where the rule stands, for messages: "disk=" of the command line is NULL, of a file "FILE:12".
 * Errors: -1 after one message, which begins with where.
 */

#ifndef CLOUDSHARE_RULES_H
#define CLOUDSHARE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A growing list of strings; items[n] is NULL. */
struct strings {
  char **items;
  size_t n;
};

enum disk_key {
  KEY_FOLDER, KEY_TYPE, KEY_GLOB, KEY_EXCLUDE, KEY_FS, KEY_SIZE, KEY_LABEL, KEY_PARTITION, KEY_SPLIT, KEY_RO,
};

struct disk_rule {
  char *name;                  /* 1 to 64 of A-Z a-z 0-9 . _ - */
  struct strings folders;      /* as catalog paths: no slash at either end, "" is the root; none given: the root */
  struct strings types;        /* lower case: a class ("image"), or a MIME type ("application/pdf") */
  struct strings globs;        /* of names, without case; none given: every name */
  struct strings excludes;     /* of names of files and folders, without case */
  bool split;                  /* a partition for each folder */
  bool read_only;              /* for every virtual machine */
  const char *format;          /* "fat32", "exfat", "raw", or NULL: as the content needs */
  int partitioning;            /* enum partitioning, or -1: as the size needs */
  uint64_t size;               /* bytes; 0: as the content needs */
  char *label;                 /* checked and in upper case, or NULL */
  unsigned given;              /* 1 << enum disk_key for each key that the rule itself has */
  char *context;               /* what messages about it begin with: "FILE:12: disk=NAME" */
};

struct vm_disk {
  char *disk;
  bool read_only;
};

struct vm_rule {
  char *name;                  /* as a disk's */
  struct vm_disk *disks;
  size_t n_disks;
  bool has_uid;
  uid_t uid;                   /* of the process at the other end of the Unix socket */
  char *cert;                  /* the distinguished name of the client's TLS certificate, or NULL */
  char *context;               /* as a disk's */
};

struct rules {
  struct disk_rule *disks;
  size_t n_disks;
  struct vm_rule *vms;
  size_t n_vms;
  struct disk_rule defaults;   /* of fs, partition, size and label; rules_check gives them to the disks that have none */
};

extern struct rules *rules_new (void);
extern void rules_free (struct rules *rules);

extern int rules_add_disk (struct rules *rules, const char *text, const char *where);
extern int rules_add_vm (struct rules *rules, const char *text, const char *where);

/* What all disks have that do not say otherwise: fs, partition, size or label. */
extern int rules_set_default (struct rules *rules, const char *key, const char *value, const char *where);

/* Names used twice, disks that do not exist, folders that contain each other on one disk, keys that exclude each other.
 * Without any disk rule adds the disk "cloud": the whole remote. */
extern int rules_check (struct rules *rules);

/* A volume's label, checked and in upper case, malloc'ed.  NULL after one message, which begins with context, if there is one. */
extern char *label_check (const char *context, const char *value);

/* NULL if there is none. */
extern const struct disk_rule *rules_disk (const struct rules *rules, const char *name);
extern const struct vm_rule *rules_vm (const struct rules *rules, const char *name);

/* ---- who gets what ---- */

/* What is known of who asks. */
struct rules_peer {
  bool has_uid;
  uid_t uid;
  const char *cert;            /* or NULL */
};

enum rules_answer { RULES_YES, RULES_NO_DISK, RULES_NO_VM, RULES_NOT_HIS };

/* Whether that side may open that export: "VM/DISK", or, without any vm rule, "DISK" or "ANYTHING/DISK".  "" stands for the one
 * export that there is for it, if it is just one.  RULES_YES fills in *ret_disk, *ret_read_only, and *ret_name, malloc'ed: the export's
 * full name. */
extern enum rules_answer rules_allow (const struct rules *rules, const struct rules_peer *peer, const char *export_name,
                                      const struct disk_rule **ret_disk, bool *ret_read_only, char **ret_name);

/* Calls each export that this side may see, in the order of the rules. */
extern int rules_each_export (const struct rules *rules, const struct rules_peer *peer,
                              int (*each) (void *opaque, const char *name), void *opaque);

/* ---- what is on a disk ---- */

/* Whether files are chosen by anything but their folder. */
extern bool disk_rule_filters (const struct disk_rule *rule);

/* Whether a file of that name belongs on the disk, by type, glob and exclude.  mime: as the remote says, or NULL: then by the name's
 * extension (media-type.h). */
extern bool disk_rule_wants_file (const struct disk_rule *rule, const char *name, const char *mime);

/* Whether a folder of that name is looked into. */
extern bool disk_rule_wants_folder (const struct disk_rule *rule, const char *name);

/* The same items are chosen: only then a disk keeps its selection over a reload. */
extern bool disk_rule_same_selection (const struct disk_rule *a, const struct disk_rule *b);

#endif /* CLOUDSHARE_RULES_H */
