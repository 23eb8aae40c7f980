/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules: what each parameter means, what is refused and how that is said, who gets what, and what is on a disk. */

#include <config.h>

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "geometry.h"
#include "msg.h"
#include "params-file.h"
#include "rules.h"

static char said[4096];
static unsigned n_said;

static void
hear (enum msg_level level, const char *text)
{
  n_said++;
  snprintf (said, sizeof said, "%s", text);
}

static void
quiet (void)
{
  said[0] = '\0';
  n_said = 0;
}

static struct rules *rules;

static void
setup (void)
{
  msg_set_sink (hear);
  quiet ();
  rules = rules_new ();
  ck_assert_ptr_nonnull (rules);
}

static void
teardown (void)
{
  rules_free (rules);
}

/* ---- disks ---- */

/* A list as "a|b". */
static const char *
joined (const struct strings *strings, char buf[512])
{
  buf[0] = '\0';
  for (size_t i = 0; i < strings->n; ++i) {
    if (i)
      strcat (buf, "|");
    strcat (buf, strings->items[i]);
  }
  if (strings->n)
    ck_assert_ptr_null (strings->items[strings->n]);
  return buf;
}

/* As one text: NAME folders=.. and so on, of what is not as it is by itself. */
static const char *
shown (const struct disk_rule *disk)
{
  static char text[4096];
  char list[512];
  size_t n = snprintf (text, sizeof text, "%s", disk->name);

#define ADD(...) n += snprintf (text + n, sizeof text - n, __VA_ARGS__)
  if (disk->folders.n)
    ADD (" folders=<%s>", joined (&disk->folders, list));
  if (disk->types.n)
    ADD (" types=<%s>", joined (&disk->types, list));
  if (disk->globs.n)
    ADD (" globs=<%s>", joined (&disk->globs, list));
  if (disk->excludes.n)
    ADD (" excludes=<%s>", joined (&disk->excludes, list));
  if (disk->format)
    ADD (" fs=%s", disk->format);
  if (disk->partitioning != -1)
    ADD (" partition=%d", disk->partitioning);
  if (disk->size)
    ADD (" size=%" PRIu64, disk->size);
  if (disk->label)
    ADD (" label=<%s>", disk->label);
  if (disk->split)
    ADD (" split");
  if (disk->read_only)
    ADD (" ro");
  return text;
}

static const struct {
  const char *text, *shown;
} disks[] = {
  { "photos", "photos" },
  { "A.b_c-9", "A.b_c-9" },
  { "p,folder=/Photos", "p folders=<Photos>" },
  { "p,folder=Photos", "p folders=<Photos>" },
  { "p,folder=//Photos/2024//", "p folders=<Photos/2024>" },
  { "p,folder=/", "p folders=<>" },
  { "p,folder=///", "p folders=<>" },
  { "p,folder=/A b,folder=/\xc3\x9c", "p folders=<A b|\xc3\x9c>" },
  { "p,folder=/..a,folder=/...,folder=/.b", "p folders=<..a|...|.b>" },
  { "p,folder=/a\\,b", "p folders=<a,b>" },
  { "p,folder=/a\\\\b", "p folders=<a\\b>" },
  { "p,folder=/a\\b", "p folders=<a\\b>" },
  { "p,folder=/a=b", "p folders=<a=b>" },
  { "p,type=image,type=Video", "p types=<image|video>" },
  { "p,type=Application/PDF", "p types=<application/pdf>" },
  { "p,type=image/*,type=application/vnd.ms-excel,type=image/svg+xml", "p types=<image/*|application/vnd.ms-excel|image/svg+xml>" },
  { "p,type=document,type=archive,type=spreadsheet,type=presentation,type=font,type=model,type=text,type=audio",
    "p types=<document|archive|spreadsheet|presentation|font|model|text|audio>" },
  { "p,glob=*.jpg,glob=[a-c]?.PNG", "p globs=<*.jpg|[a-c]?.PNG>" },
  { "p,glob=a\\,b*", "p globs=<a,b*>" },
  { "p,glob=\\*", "p globs=<\\*>" },
  { "p,exclude=.git,exclude=*.tmp", "p excludes=<.git|*.tmp>" },
  { "p,fs=auto", "p" },
  { "p,fs=fat32", "p fs=fat32" },
  { "p,fs=ExFAT", "p fs=exfat" },
  { "p,fs=raw", "p fs=raw" },
  { "p,partition=auto", "p" },
  { "p,partition=none", "p partition=0" },
  { "p,partition=mbr", "p partition=1" },
  { "p,partition=gpt", "p partition=2" },
  { "p,size=1", "p size=1" },
  { "p,size=512b", "p size=512" },
  { "p,size=3s", "p size=1536" },
  { "p,size=10K", "p size=10240" },
  { "p,size=64M", "p size=67108864" },
  { "p,size=64g", "p size=68719476736" },
  { "p,size=2T", "p size=2199023255552" },
  { "p,size=1p", "p size=1125899906842624" },
  { "p,size=7E", "p size=8070450532247928832" },
  { "p,size=9223372036854775807", "p size=9223372036854775807" },
  { "p,label=My disk-1_", "p label=<MY DISK-1_>" },
  { "p,label=abcdefghijk", "p label=<ABCDEFGHIJK>" },
  { "p,folder=a,folder=b,split=yes", "p folders=<a|b> split" },
  { "p,folder=a,folder=b,split", "p folders=<a|b> split" },
  { "p,split=no", "p" },
  { "p,ro", "p ro" },
  { "p,ro=yes", "p ro" },
  { "p,ro=TRUE", "p ro" },
  { "p,ro=1", "p ro" },
  { "p,ro=on", "p ro" },
  { "p,ro=no", "p" },
  { "p,ro=off", "p" },
  { "p,ro=false", "p" },
  { "p,ro=0", "p" },
  { "p,folder=a,folder=ab,folder=a b", "p folders=<a|ab|a b>" },
  { "p,folder=1,folder=2,folder=3,folder=4,split,partition=mbr", "p folders=<1|2|3|4> partition=1 split" },
  { "p,folder=1,folder=2,folder=3,folder=4,folder=5,split", "p folders=<1|2|3|4|5> split" },
};

START_TEST (test_disks)
{
  ck_assert_int_eq (rules_add_disk (rules, disks[_i].text, NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  ck_assert_uint_eq (rules->n_disks, 1);
  ck_assert_str_eq (shown (&rules->disks[0]), disks[_i].shown);
  ck_assert_uint_eq (n_said, 0);
}
END_TEST

/* The message, or how it ends if it begins with "...". */
static void
assert_said (const char *expected)
{
  ck_assert_msg (n_said == 1, "%u messages, the last: %s", n_said, said);
  if (strncmp (expected, "...", 3) == 0)
    ck_assert_msg (strstr (said, expected + 3) != NULL, "\"%s\" is not in: %s", expected + 3, said);
  else
    ck_assert_str_eq (said, expected);
}

/* What adding, or if that works checking, says. */
static const struct {
  const char *text, *where, *message;
} bad_disks[] = {
  { "", NULL, "disk=: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "", "F:1", "F:1: disk=: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "a b", NULL, "disk=a b: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "a/b", NULL, "disk=a/b: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "\xc3\xa9", NULL, "...give a name of 1 to 64" },
  { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, "...give a name of 1 to 64" },
  { "folder=/Photos", NULL, "disk=folder=/Photos: the name comes first, as in disk=NAME,folder=/Photos" },
  { "p\\", NULL, "disk=p\\: it ends with a single backslash: write \"\\\\\" for one" },
  { "p,glob=a\\", "F:2", "F:2: disk=p: it ends with a single backslash: write \"\\\\\" for one" },
  { "p,", NULL, "disk=p: there is no key after a comma: give key=value between single commas" },
  { "p,,ro", NULL, "disk=p: there is no key after a comma: give key=value between single commas" },
  { "p,=x", NULL, "disk=p: there is no key before a \"=\": give key=value between single commas" },
  { "p,fold=x", "F:3", "F:3: disk=p: the key \"fold\" is not known, did you mean folder: it can be one of folder, type, glob,"
    " exclude, fs, size, label, partition, split, ro; a comma inside a value is written \"\\,\"" },
  { "p,tpye=image", NULL, "...\"tpye\" is not known, did you mean type: it" },
  { "p,Folder=x", NULL, "...did you mean folder" },
  { "p,mode=x", NULL, "...\"mode\" is not known: it can be one of folder," },
  { "p,folder", NULL, "disk=p: folder has no value: give folder=VALUE" },
  { "p,type", NULL, "disk=p: type has no value: give type=VALUE" },
  { "p,folder=", NULL, "disk=p: folder=: give a folder of the remote, as in folder=/Photos, or / for all of it" },
  { "p,folder=/a/../b", NULL, "disk=p: folder=/a/../b: \"..\" is no folder's name: give the path from the remote's root" },
  { "p,folder=..", NULL, "...\"..\" is no folder's name" },
  { "p,folder=/a/./b", NULL, "disk=p: folder=/a/./b: \".\" is no folder's name: give the path from the remote's root" },
  { "p,folder=./a", NULL, "...\".\" is no folder's name" },
  { "p,folder=/a/.", NULL, "...\".\" is no folder's name" },
  { "p,folder=/a//b", NULL, "disk=p: folder=/a//b: there is no name between two slashes: give one slash" },
  { "p,folder=/a\xff", NULL, "...this is not valid UTF-8" },
  { "p,folder=/\xc0\xaf", NULL, "...this is not valid UTF-8" },
  { "p,folder=/\xed\xa0\x80", NULL, "...this is not valid UTF-8" },
  { "p,folder=/\xe2\x82", NULL, "...this is not valid UTF-8" },
  { "p,folder=a,folder=/a/", NULL, "disk=p: folder=/a is given twice: give it once" },
  { "p,folder=a,folder=a/b", "F:9", "F:9: disk=p: folder=/a/b is inside folder=/a: give only one of them" },
  { "p,folder=x,folder=a/b/c,folder=a/b", NULL, "disk=p: folder=/a/b/c is inside folder=/a/b: give only one of them" },
  { "p,folder=a,folder=/", NULL, "disk=p: folder=/a is inside folder=/: give only one of them" },
  { "p,type=imag", NULL, "disk=p: type=imag: this is neither a class nor a MIME type, did you mean image: give one of image, video,"
    " audio, text, document, spreadsheet, presentation, archive, font, model, or a type like application/pdf" },
  { "p,type=Photos", NULL, "...neither a class nor a MIME type: give one of image," },
  { "p,type=", NULL, "...neither a class nor a MIME type: give one of image," },
  { "p,type=image|video", NULL, "...neither a class nor a MIME type: give one of image," },
  { "p,type=text/plain;charset=utf-8", NULL, "...give the MIME type alone, without parameters" },
  { "p,type=/x", NULL, "...this is no MIME type" },
  { "p,type=x/", NULL, "...this is no MIME type" },
  { "p,type=a/b/c", NULL, "...this is no MIME type" },
  { "p,type=*/*", NULL, "...this is no MIME type: give one like application/pdf or image/*" },
  { "p,type=image/p*", NULL, "...this is no MIME type" },
  { "p,glob=", NULL, "disk=p: glob=: give a pattern for names, as in glob=*.jpg" },
  { "p,glob=/Photos/*.jpg", NULL, "disk=p: glob=/Photos/*.jpg: a pattern is for one name, not for a path: take the / out, and give"
    " folders with folder=" },
  { "p,exclude=a/b", NULL, "...exclude=a/b: a pattern is for one name" },
  { "p,exclude=", NULL, "...exclude=: give a pattern" },
  { "p,fs=ntfs", NULL, "...fs=ntfs: this is not known: it can be one of auto, fat32, exfat, raw" },
  { "p,fs=fat", NULL, "...it can be one of auto, fat32, exfat, raw" },
  { "p,fs=", NULL, "...it can be one of auto, fat32, exfat, raw" },
  { "p,fs=fat23", NULL, "...did you mean fat32:" },
  { "p,fs=fat32,fs=exfat", NULL, "disk=p: fs= is given twice: give it once" },
  { "p,ro,ro", NULL, "disk=p: ro= is given twice: give it once" },
  { "p,size=", NULL, "disk=p: size=: give a size in bytes, or with a suffix as in 64G" },
  { "p,size=0", NULL, "...give a size in bytes" },
  { "p,size=-1", NULL, "...give a size in bytes" },
  { "p,size= 1", NULL, "...give a size in bytes" },
  { "p,size=0x10", NULL, "...give a size in bytes" },
  { "p,size=1.5G", NULL, "...give a size in bytes" },
  { "p,size=G", NULL, "...give a size in bytes" },
  { "p,size=64GB", NULL, "...give a size in bytes" },
  { "p,size=64X", NULL, "...give a size in bytes" },
  { "p,size=8E", NULL, "...more than a disk can have" },
  { "p,size=9223372036854775808", NULL, "...more than a disk can have" },
  { "p,size=99999999999999999999999", NULL, "...more than a disk can have" },
  { "p,label=", NULL, "disk=p: label=: give 1 to 11 letters, digits, blanks, - or _, with no blank at either end" },
  { "p,label=abcdefghijkl", NULL, "...give 1 to 11 letters" },
  { "p,label= a", NULL, "...give 1 to 11 letters" },
  { "p,label=a ", NULL, "...give 1 to 11 letters" },
  { "p,label=a.b", NULL, "...give 1 to 11 letters" },
  { "p,label=\xc3\xa9", NULL, "...give 1 to 11 letters" },
  { "p,partition=yes", NULL, "...it can be one of auto, none, mbr, gpt" },
  { "p,ro=maybe", NULL, "...ro=maybe: this is not known: it can be one of yes, no, true" },
  { "p,split=yes", NULL, "disk=p: split=yes makes a partition for each folder=: give two folders or more" },
  { "p,split=yes,folder=a", NULL, "...give two folders or more" },
  { "p,split,folder=a,folder=b,partition=none", NULL, "...it does not go with partition=none" },
  { "p,split,folder=1,folder=2,folder=3,folder=4,folder=5,partition=mbr", NULL, "...an MBR has four at most" },
  { "p,fs=raw,label=x", NULL, "disk=p: fs=raw shows the files' bytes as they are, so label= has nothing to say: leave one of them"
    " out" },
  { "p,fs=raw,partition=none", NULL, "...so partition= has nothing to say" },
  { "p,split=no,fs=raw", NULL, "...so split= has nothing to say" },
  { "p,fs=raw,size=1G", "F:7", "F:7: disk=p: fs=raw shows the files' bytes as they are, so size= has nothing to say: leave one of"
    " them out" },
};

START_TEST (test_bad_disks)
{
  int r = rules_add_disk (rules, bad_disks[_i].text, bad_disks[_i].where);

  if (r == -1)
    ck_assert_uint_eq (rules->n_disks, 0);
  else
    r = rules_check (rules);
  ck_assert_int_eq (r, -1);
  assert_said (bad_disks[_i].message);
}
END_TEST

START_TEST (test_many_partitions)
{
  char text[8192] = "p,split", *end = text + strlen (text);

  for (int i = 0; i < 129; ++i)
    end += sprintf (end, ",folder=%d", i);
  ck_assert_int_eq (rules_add_disk (rules, text, NULL), 0);
  ck_assert_int_eq (rules_check (rules), -1);
  assert_said ("...a GPT has 128 at most");
}
END_TEST

START_TEST (test_no_disk)
{
  ck_assert_int_eq (rules_check (rules), 0);
  ck_assert_uint_eq (rules->n_disks, 1);
  ck_assert_str_eq (shown (&rules->disks[0]), "cloud");
  ck_assert (!disk_rule_filters (&rules->disks[0]));
}
END_TEST

static const struct {
  const char *key, *value, *disk, *shown;
} defaults[] = {
  { "fs", "exfat", "p", "p fs=exfat" },
  { "fs", "exfat", "p,fs=auto", "p" },
  { "fs", "raw", "p", "p fs=raw" },
  { "size", "1G", "p", "p size=1073741824" },
  { "size", "1G", "p,size=1M", "p size=1048576" },
  { "size", "1G", "p,fs=raw", "p fs=raw" },
  { "label", "all", "p", "p label=<ALL>" },
  { "label", "all", "p,label=own", "p label=<OWN>" },
  { "label", "all", "p,fs=raw", "p fs=raw" },
  { "partition", "gpt", "p", "p partition=2" },
  { "partition", "gpt", "p,partition=auto", "p" },
  { "partition", "gpt", "p,fs=raw", "p fs=raw" },
};

START_TEST (test_defaults)
{
  ck_assert_int_eq (rules_set_default (rules, defaults[_i].key, defaults[_i].value, NULL), 0);
  ck_assert_int_eq (rules_add_disk (rules, defaults[_i].disk, NULL), 0);
  /* Twice: the same. */
  ck_assert_int_eq (rules_check (rules), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  ck_assert_str_eq (shown (&rules->disks[0]), defaults[_i].shown);
}
END_TEST

START_TEST (test_bad_defaults)
{
  ck_assert_int_eq (rules_set_default (rules, "fs", "ext4", NULL), -1);
  assert_said ("fs=ext4: this is not known: it can be one of auto, fat32, exfat, raw");
  quiet ();
  ck_assert_int_eq (rules_set_default (rules, "label", "", "F:1"), -1);
  assert_said ("F:1: label=: give 1 to 11 letters, digits, blanks, - or _, with no blank at either end");
  quiet ();
  ck_assert_int_eq (rules_set_default (rules, "folder", "a", NULL), -1);
  assert_said ("folder=a: only fs, size, label and partition can be given for all disks");
  quiet ();
  ck_assert_int_eq (rules_set_default (rules, "fs", "raw", NULL), 0);
  ck_assert_int_eq (rules_add_disk (rules, "p,label=x", NULL), 0);
  ck_assert_int_eq (rules_check (rules), -1);
  assert_said ("...so label= has nothing to say");
}
END_TEST

START_TEST (test_label)
{
  char *label = label_check (NULL, "abc");

  ck_assert_str_eq (label, "ABC");
  free (label);
  ck_assert_ptr_null (label_check ("F:1", "a/b"));
  assert_said ("F:1: label=a/b: give 1 to 11 letters, digits, blanks, - or _, with no blank at either end");
}
END_TEST

/* ---- virtual machines ---- */

static const struct {
  const char *text, *name;
  size_t n;
  const char *last;            /* disk */
  bool read_only;              /* the last */
  long long uid;               /* -1: none */
  const char *cert;
} vms[] = {
  { "vm1,disk=a", "vm1", 1, "a", false, -1, NULL },
  { "vm1,disk=a,disk=b:ro", "vm1", 2, "b", true, -1, NULL },
  { "vm1,disk=a:ro,disk=b", "vm1", 2, "b", false, -1, NULL },
  { "vm1,uid=0,disk=a", "vm1", 1, "a", false, 0, NULL },
  { "vm1,disk=a,uid=4294967294", "vm1", 1, "a", false, 4294967294, NULL },
  { "vm1,disk=a,uid=root", "vm1", 1, "a", false, 0, NULL },
  { "vm1,disk=a,cert=CN=vm1\\,O=Ex\\,C=DE,uid=7", "vm1", 1, "a", false, 7, "CN=vm1,O=Ex,C=DE" },
  { "vm1,disk=a,cert=CN=a\\\\\\,b", "vm1", 1, "a", false, -1, "CN=a\\,b" },
  { "vm1,disk=a,cert=CN=a\\2cb", "vm1", 1, "a", false, -1, "CN=a\\2cb" },
};

static void
add_disks (const char *const names[])
{
  for (size_t i = 0; names[i]; ++i)
    ck_assert_int_eq (rules_add_disk (rules, names[i], NULL), 0);
}

static const char *const ab[] = { "a", "b", NULL };

START_TEST (test_vms)
{
  const struct vm_rule *vm;

  add_disks (ab);
  ck_assert_int_eq (rules_add_vm (rules, vms[_i].text, NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  vm = rules_vm (rules, vms[_i].name);
  ck_assert_ptr_nonnull (vm);
  ck_assert_uint_eq (vm->n_disks, vms[_i].n);
  ck_assert_str_eq (vm->disks[vm->n_disks - 1].disk, vms[_i].last);
  ck_assert_int_eq (vm->disks[vm->n_disks - 1].read_only, vms[_i].read_only);
  ck_assert_int_eq (vm->has_uid, vms[_i].uid != -1);
  if (vm->has_uid)
    ck_assert_int_eq (vm->uid, vms[_i].uid);
  ck_assert_pstr_eq (vm->cert, vms[_i].cert);
  ck_assert_ptr_null (rules_vm (rules, "vm2"));
}
END_TEST

static const struct {
  const char *text, *where, *message;
} bad_vms[] = {
  { "", NULL, "vm=: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "disk=a", NULL, "vm=disk=a: the name comes first, as in vm=NAME,disk=a" },
  { "vm1", "F:4", "F:4: vm=vm1: it gets no disk: give one with disk=NAME" },
  { "vm1,uid=0", NULL, "vm=vm1: it gets no disk: give one with disk=NAME" },
  { "vm1,disk=c", "F:5", "F:5: vm=vm1: disk=c: there is no such disk: add it with disk=c,..." },
  { "vm1,disk=A", NULL, "...there is no such disk" },
  { "vm1,disk=a,disk=a:ro", NULL, "vm=vm1: disk=a: this disk is given twice: give it once" },
  { "vm1,disk=a:rw", NULL, "vm=vm1: disk=a:rw: only \":ro\" can follow a disk's name" },
  { "vm1,disk=:ro", NULL, "vm=vm1: disk=: give a name of 1 to 64 letters, digits, '.', '_' or '-'" },
  { "vm1,disk", NULL, "vm=vm1: disk has no value: give disk=VALUE" },
  { "vm1,disk=a,uuid=3", NULL, "vm=vm1: the key \"uuid\" is not known, did you mean uid: it can be one of disk, uid, cert; a comma"
    " inside a value is written \"\\,\"" },
  { "vm1,disk=a,cert=CN=x,O=y", NULL, "...\"O\" is not known: it can be one of disk, uid, cert; a comma inside a value" },
  { "vm1,disk=a,cert=vm1", NULL, "...give the distinguished name of a certificate" },
  { "vm1,disk=a,cert=", NULL, "...give the distinguished name of a certificate" },
  { "vm1,disk=a,cert=CN=x,cert=CN=y", NULL, "vm=vm1: cert= is given twice: give it once" },
  { "vm1,disk=a,uid=1,uid=2", NULL, "vm=vm1: uid= is given twice: give it once" },
  { "vm1,disk=a,uid=", NULL, "vm=vm1: uid=: this host has no such user: give a user's name or number" },
  { "vm1,disk=a,uid=no.such.user.here", NULL, "...this host has no such user" },
  { "vm1,disk=a,uid=-1", NULL, "...this host has no such user" },
  { "vm1,disk=a,uid=4294967295", NULL, "vm=vm1: uid=4294967295: give a user id from 0 to 4294967294, or a user's name" },
  { "vm1,disk=a,uid=99999999999999999999999999", NULL, "...give a user id from 0" },
};

START_TEST (test_bad_vms)
{
  int r = rules_add_vm (rules, bad_vms[_i].text, bad_vms[_i].where);

  add_disks (ab);
  if (r == -1)
    ck_assert_uint_eq (rules->n_vms, 0);
  else
    r = rules_check (rules);
  ck_assert_int_eq (r, -1);
  assert_said (bad_vms[_i].message);
}
END_TEST

START_TEST (test_names_twice)
{
  add_disks (ab);
  ck_assert_int_eq (rules_add_disk (rules, "a,ro", "F:3"), 0);
  ck_assert_int_eq (rules_check (rules), -1);
  assert_said ("F:3: disk=a: there is another disk= of this name: give each a name of its own");
  teardown ();
  setup ();
  add_disks (ab);
  ck_assert_int_eq (rules_add_vm (rules, "v,disk=a", "F:1"), 0);
  ck_assert_int_eq (rules_add_vm (rules, "v,disk=b", "F:2"), 0);
  ck_assert_int_eq (rules_check (rules), -1);
  assert_said ("F:2: vm=v: there is another vm= of this name: name all its disks in one");
}
END_TEST

/* ---- who gets what ---- */

static const char *const set_one[] = { "photos", NULL };
static const char *const set_two[] = { "photos", "docs,ro", NULL };
static const char *const vms_none[] = { NULL };
static const char *const vms_free[] = { "vm1,disk=photos", "vm2,disk=photos:ro,disk=docs", NULL };
static const char *const vms_uid[] = { "vm1,disk=photos,uid=101", "vm2,disk=docs,uid=102", "vm3,disk=photos,disk=docs,uid=103",
                                       "vm4,disk=photos:ro,cert=CN=x", "vm5,disk=docs,uid=105,cert=CN=y", NULL };

#define UID(n) { true, n, NULL }
#define NOBODY { false, 0, NULL }

static const struct {
  const char *const *disks, *const *vms;
  struct rules_peer peer;
  const char *export_name;
  enum rules_answer answer;
  const char *name;
  bool read_only;
  const char *exports;         /* all that it sees; NULL: as in the row above */
} asked[] = {
  { set_one, vms_none, NOBODY, "", RULES_YES, "photos", false, "photos " },
  { set_one, vms_none, NOBODY, "photos", RULES_YES, "photos", false, NULL },
  { set_one, vms_none, NOBODY, "vm1/photos", RULES_YES, "vm1/photos", false, NULL },
  { set_one, vms_none, UID (5), "a/b/photos", RULES_YES, "a/b/photos", false, NULL },
  { set_one, vms_none, NOBODY, "docs", RULES_NO_DISK, NULL, false, NULL },
  { set_one, vms_none, NOBODY, "photos/", RULES_NO_DISK, NULL, false, NULL },
  { set_one, vms_none, NOBODY, "photos/x", RULES_NO_DISK, NULL, false, NULL },
  { set_one, vms_none, NOBODY, "PHOTOS", RULES_NO_DISK, NULL, false, NULL },
  { set_two, vms_none, NOBODY, "", RULES_NO_DISK, NULL, false, "photos docs " },
  { set_two, vms_none, NOBODY, "vm1/docs", RULES_YES, "vm1/docs", true, NULL },
  { set_two, vms_none, NOBODY, "photos", RULES_YES, "photos", false, NULL },
  /* Names only. */
  { set_two, vms_free, NOBODY, "", RULES_NO_DISK, NULL, false, "vm1/photos vm2/photos vm2/docs " },
  { set_two, vms_free, NOBODY, "vm1/photos", RULES_YES, "vm1/photos", false, NULL },
  { set_two, vms_free, NOBODY, "vm2/photos", RULES_YES, "vm2/photos", true, NULL },
  { set_two, vms_free, NOBODY, "vm2/docs", RULES_YES, "vm2/docs", true, NULL },
  { set_two, vms_free, NOBODY, "vm1/docs", RULES_NO_DISK, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm3/photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm/photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm11/photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "/photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "x/vm1/photos", RULES_NO_VM, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm1/x/photos", RULES_NO_DISK, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm1/", RULES_NO_DISK, NULL, false, NULL },
  { set_two, vms_free, NOBODY, "vm1", RULES_NO_VM, NULL, false, NULL },
  /* Bound to who connects. */
  { set_two, vms_uid, UID (101), "", RULES_YES, "vm1/photos", false, "vm1/photos " },
  { set_two, vms_uid, UID (101), "vm1/photos", RULES_YES, "vm1/photos", false, NULL },
  { set_two, vms_uid, UID (101), "vm2/docs", RULES_NOT_HIS, NULL, false, NULL },
  { set_two, vms_uid, UID (101), "vm1/docs", RULES_NO_DISK, NULL, false, NULL },
  { set_two, vms_uid, UID (103), "", RULES_NO_DISK, NULL, false, "vm3/photos vm3/docs " },
  { set_two, vms_uid, UID (0), "vm1/photos", RULES_NOT_HIS, NULL, false, "" },
  { set_two, vms_uid, UID (0), "", RULES_NOT_HIS, NULL, false, NULL },
  { set_two, vms_uid, NOBODY, "vm1/photos", RULES_NOT_HIS, NULL, false, "" },
  /* A uid that only looks like one is none. */
  { set_two, vms_uid, { false, 101, NULL }, "vm1/photos", RULES_NOT_HIS, NULL, false, "" },
  { set_two, vms_uid, { false, 0, "CN=x" }, "vm4/photos", RULES_YES, "vm4/photos", true, "vm4/photos " },
  { set_two, vms_uid, { false, 0, "CN=x" }, "", RULES_YES, "vm4/photos", true, NULL },
  { set_two, vms_uid, { false, 0, "CN=xx" }, "vm4/photos", RULES_NOT_HIS, NULL, false, "" },
  { set_two, vms_uid, { false, 0, "cn=x" }, "vm4/photos", RULES_NOT_HIS, NULL, false, "" },
  /* Both, or neither. */
  { set_two, vms_uid, { true, 105, "CN=y" }, "vm5/docs", RULES_YES, "vm5/docs", true, "vm5/docs " },
  { set_two, vms_uid, { true, 105, NULL }, "vm5/docs", RULES_NOT_HIS, NULL, false, "" },
  { set_two, vms_uid, { false, 0, "CN=y" }, "vm5/docs", RULES_NOT_HIS, NULL, false, "" },
};

static int
collect (void *opaque, const char *name)
{
  strcat (opaque, name);
  strcat (opaque, " ");
  return 0;
}

static int
stop (void *opaque, const char *name)
{
  ++*(int *) opaque;
  return -1;
}

START_TEST (test_asked)
{
  const struct disk_rule *disk = NULL;
  bool read_only = false;
  char *name = NULL, list[512] = "";
  enum rules_answer answer;

  add_disks (asked[_i].disks);
  for (size_t i = 0; asked[_i].vms[i]; ++i)
    ck_assert_int_eq (rules_add_vm (rules, asked[_i].vms[i], NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  answer = rules_allow (rules, &asked[_i].peer, asked[_i].export_name, &disk, &read_only, &name);
  ck_assert_int_eq (answer, asked[_i].answer);
  ck_assert_pstr_eq (name, asked[_i].name);
  if (answer == RULES_YES) {
    ck_assert_str_eq (strrchr (name, '/') ? strrchr (name, '/') + 1 : name, disk->name);
    ck_assert_int_eq (read_only, asked[_i].read_only);
  }
  free (name);
  if (asked[_i].exports) {
    int calls = 0;

    ck_assert_int_eq (rules_each_export (rules, &asked[_i].peer, collect, list), 0);
    ck_assert_str_eq (list, asked[_i].exports);
    ck_assert_int_eq (rules_each_export (rules, &asked[_i].peer, stop, &calls), list[0] ? -1 : 0);
    ck_assert_int_eq (calls, list[0] != '\0');
  }
}
END_TEST

/* What is listed may be opened, and the other way round; over all peers. */
START_TEST (test_listed_is_allowed)
{
  static const struct rules_peer peers[] = { NOBODY, UID (0), UID (101), UID (103), UID (105), { true, 105, "CN=y" },
                                             { false, 0, "CN=x" } };
  static const char *const names[] = { "vm1/photos", "vm1/docs", "vm2/photos", "vm2/docs", "vm3/photos", "vm3/docs",
                                       "vm4/photos", "vm4/docs", "vm5/photos", "vm5/docs" };

  add_disks (set_two);
  for (size_t i = 0; vms_uid[i]; ++i)
    ck_assert_int_eq (rules_add_vm (rules, vms_uid[i], NULL), 0);
  ck_assert_int_eq (rules_check (rules), 0);
  for (size_t p = 0; p < sizeof peers / sizeof peers[0]; ++p) {
    char list[512] = " ";

    ck_assert_int_eq (rules_each_export (rules, &peers[p], collect, list), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
      const struct disk_rule *disk;
      char *name, word[64];
      bool read_only, listed;

      snprintf (word, sizeof word, " %s ", names[i]);
      listed = strstr (list, word) != NULL;
      ck_assert_int_eq (rules_allow (rules, &peers[p], names[i], &disk, &read_only, &name) == RULES_YES, listed);
      if (listed)
        free (name);
    }
  }
}
END_TEST

/* ---- what is on a disk ---- */

static const struct {
  const char *rule, *name, *mime;
  bool wanted;
} files[] = {
  { "p", "anything", NULL, true },
  { "p,glob=*.jpg", "a.jpg", NULL, true },
  { "p,glob=*.jpg", "A.JPG", NULL, true },
  { "p,glob=*.JPG", "a.jpg", NULL, true },
  { "p,glob=*.jpg", "a.png", NULL, false },
  { "p,glob=*.jpg,glob=*.png", "a.png", NULL, true },
  { "p,glob=*", ".hidden", NULL, true },
  { "p,glob=a?c[0-9]", "abc7", NULL, true },
  { "p,glob=\\*", "*", NULL, true },
  { "p,glob=\\*", "x", NULL, false },
  { "p,exclude=*.tmp", "a.TMP", NULL, false },
  { "p,exclude=*.tmp", "a.txt", NULL, true },
  { "p,glob=*.jpg,exclude=b*", "b.jpg", NULL, false },
  { "p,type=image", "a.jpg", NULL, true },
  { "p,type=image", "A.JPEG", NULL, true },
  { "p,type=image", "a.txt", NULL, false },
  { "p,type=image", "noext", NULL, false },
  { "p,type=image,type=video", "a.mp4", NULL, true },
  { "p,type=image,glob=a*", "a.jpg", NULL, true },
  { "p,type=image,glob=a*", "b.jpg", NULL, false },
  { "p,type=image,glob=a*", "a.txt", NULL, false },
  /* The server's word counts before the name. */
  { "p,type=image", "noext", "image/png", true },
  { "p,type=image", "a.txt", "image/png", true },
  { "p,type=image", "a.jpg", "text/plain", false },
  { "p,type=text", "a", "Text/Plain; charset=utf-8", true },
  { "p,type=text/plain", "a", "text/plain;charset=utf-8", true },
  { "p,type=application/pdf", "a", "APPLICATION/PDF", true },
  { "p,type=application/pdf", "a.pdf", NULL, true },
  { "p,type=application/pdf", "a.ps", NULL, false },
  /* A server that does not know. */
  { "p,type=image", "a.jpg", "application/octet-stream", true },
  { "p,type=image", "a.jpg", "application/octet-stream; charset=binary", true },
  { "p,type=image", "a.jpg", "httpd/unix-directory", true },
  { "p,type=image", "a.jpg", "", true },
  { "p,type=image", "a.jpg", "rubbish", true },
  { "p,type=image", "a.txt", "application/octet-stream", false },
  { "p,type=application/octet-stream", "noext", "application/octet-stream", true },
  { "p,type=image/*", "a.png", NULL, true },
  { "p,type=document", "a.odt", NULL, true },
  { "p,type=archive", "a.tar.gz", NULL, true },
};

START_TEST (test_files)
{
  ck_assert_int_eq (rules_add_disk (rules, files[_i].rule, NULL), 0);
  ck_assert_int_eq (disk_rule_wants_file (&rules->disks[0], files[_i].name, files[_i].mime), files[_i].wanted);
  ck_assert_int_eq (disk_rule_filters (&rules->disks[0]), strchr (files[_i].rule, ',') != NULL);
}
END_TEST

START_TEST (test_folders)
{
  add_disks ((const char *const[]) { "p,type=image,glob=*.jpg,exclude=.git,exclude=old*", "q,folder=/a,ro", NULL });
  ck_assert (disk_rule_wants_folder (&rules->disks[0], "2024"));
  ck_assert (!disk_rule_wants_folder (&rules->disks[0], ".GIT"));
  ck_assert (!disk_rule_wants_folder (&rules->disks[0], "Older"));
  ck_assert (disk_rule_wants_folder (&rules->disks[1], ".git"));
  ck_assert (!disk_rule_filters (&rules->disks[1]));
}
END_TEST

static const struct {
  const char *a, *b;
  bool same;
} selections[] = {
  { "p", "q,ro,label=x,size=1G,fs=exfat", true },
  { "p", "p,folder=/", true },
  { "p,folder=/a", "p,folder=a/", true },
  { "p,folder=a", "p,folder=b", false },
  { "p", "p,folder=b", false },
  { "p,folder=a,folder=b", "p,folder=b,folder=a", false },
  { "p,type=image,type=video", "p,type=video,type=IMAGE,type=image", true },
  { "p,type=image", "p", false },
  { "p,type=image", "p,type=image,type=video", false },
  { "p,glob=a,glob=b", "p,glob=b,glob=a", true },
  { "p,glob=a", "p,exclude=a", false },
  { "p,exclude=a", "p,exclude=b", false },
};

START_TEST (test_selections)
{
  add_disks ((const char *const[]) { selections[_i].a, selections[_i].b, NULL });
  ck_assert_int_eq (disk_rule_same_selection (&rules->disks[0], &rules->disks[1]), selections[_i].same);
  ck_assert_int_eq (disk_rule_same_selection (&rules->disks[1], &rules->disks[0]), selections[_i].same);
}
END_TEST

/* ---- files of parameters ---- */

static int
note (void *opaque, const char *key, const char *value, const char *where)
{
  char *to = opaque;

  to += strlen (to);
  sprintf (to, "<%s><%s>%s;", key, value, strrchr (where, ':'));
  if (strcmp (key, "stop") != 0)
    return 0;
  msg_error ("%s: stopped", where);
  return -1;
}

#define TEXT(text) text, sizeof text - 1

static const struct {
  const char *text;
  size_t n;
  const char *pairs, *message; /* message: what follows the path; NULL if all is well */
} param_files[] = {
  { TEXT (""), "", NULL },
  { TEXT ("# c\n\n   \t\n  # c\n"), "", NULL },
  { TEXT ("a=b\nc=d"), "<a><b>:1;<c><d>:2;", NULL },
  { TEXT ("  a =\tb c  \r\n#\r\nd=\r\n"), "<a><b c>:1;<d><>:3;", NULL },
  { TEXT ("a=b#c\na==b\n"), "<a><b#c>:1;<a><=b>:2;", NULL },
  { TEXT ("\xef\xbb\xbf" "a=b\n"), "<a><b>:1;", NULL },
  { TEXT ("disk=photos,folder=/A b,glob=a\\,b\n"), "<disk><photos,folder=/A b,glob=a\\,b>:1;", NULL },
  { TEXT ("a=b\nc\n"), "<a><b>:1;", ":2: the line has no \"=\": give key=value, or begin a comment with #" },
  { TEXT ("\n = b\n"), "", ":2: there is no key before \"=\": give key=value" },
  { TEXT ("a=b\nc=d\0e\n"), "<a><b>:1;", ":2: the line holds a NUL character: a file of parameters is plain text in UTF-8" },
  { TEXT ("a=b\nstop=1\nc=d\n"), "<a><b>:1;<stop><1>:2;", ":2: stopped" },
};

START_TEST (test_param_files)
{
  char path[] = "check-rules-XXXXXX", pairs[512] = "";
  const int fd = mkstemp (path);
  int r;

  ck_assert_int_ge (fd, 0);
  ck_assert_int_eq (write (fd, param_files[_i].text, param_files[_i].n), param_files[_i].n);
  close (fd);
  r = params_file_each (path, note, pairs);
  unlink (path);
  ck_assert_str_eq (pairs, param_files[_i].pairs);
  ck_assert_int_eq (r, param_files[_i].message ? -1 : 0);
  ck_assert_uint_eq (n_said, param_files[_i].message != NULL);
  if (param_files[_i].message) {
    ck_assert_int_eq (strncmp (said, path, strlen (path)), 0);
    ck_assert_str_eq (said + strlen (path), param_files[_i].message);
  }
}
END_TEST

START_TEST (test_no_param_file)
{
  ck_assert_int_eq (params_file_each ("/no/such/file", note, NULL), -1);
  assert_said ("/no/such/file: cannot be opened: No such file or directory");
  quiet ();
  ck_assert_int_eq (params_file_each ("/", note, NULL), -1);
  assert_said ("/: is not a file: parameters are read anew by \"cloudsharectl reload\", so they must stand in one");
}
END_TEST

/* ---- anything ---- */

static uint64_t seed = 20261123;

static unsigned
draw (unsigned below)
{
  seed = seed * 6364136223846793005 + 1442695040888963407;
  return (seed >> 33) % below;
}

/* Random texts of the grammar's pieces: each is taken without a word, or refused with just one message and without a trace. */
START_TEST (test_anything)
{
  static const char *const pieces[] = {
    "p", "a", "vm1", ",", ",", ",", "=", "=", "\\", "/", "..", ".", ":", ":ro", "folder=", "type=", "glob=", "exclude=", "fs=",
    "size=", "label=", "partition=", "split", "ro", "disk=", "uid=", "cert=CN=", "image", "raw", "mbr", "9", "18446744073709551616",
    "G", "yes", "*", "[", "[!", "]", "?", "\xff", "\xc3\xa9", "\xed\xa0", " ", "\n", "%s%n", "application/pdf", "image/*", ";",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  };
  unsigned taken = 0;

  for (int round = 0; round < 60000; ++round) {
    char text[4096] = "";
    const bool vm = draw (4) == 0;
    const unsigned n = draw (14);
    size_t before;
    int r;

    if (draw (3))
      strcat (text, vm ? "vm1,disk=" : "p,");
    for (unsigned i = 0; i < n; ++i) {
      const unsigned which = draw (sizeof pieces / sizeof pieces[0] + 2);
      char byte[2] = { (char) (1 + draw (255)), '\0' };

      strcat (text, which < sizeof pieces / sizeof pieces[0] ? pieces[which] : byte);
    }
    quiet ();
    before = vm ? rules->n_vms : rules->n_disks;
    r = vm ? rules_add_vm (rules, text, NULL) : rules_add_disk (rules, text, "F:1");
    if ((vm ? rules->n_vms : rules->n_disks) != before + (r == 0) || n_said != (r == -1))
      ck_abort_msg ("%d, %u messages: %s", r, n_said, text);
    taken += r == 0;
    if (r == 0 && !vm) {
      const struct disk_rule *disk = &rules->disks[rules->n_disks - 1];

      disk_rule_wants_file (disk, text, NULL);
      disk_rule_wants_file (disk, "a.jpg", text);
      disk_rule_same_selection (disk, &rules->disks[0]);
    }
    if (draw (8) == 0) {
      const struct rules_peer peer = UID (9);
      const struct disk_rule *disk;
      char *name = NULL;
      bool read_only;

      quiet ();
      r = rules_check (rules);
      if (n_said != (r == -1))
        ck_abort_msg ("%d, %u messages", r, n_said);
      if (r == 0 && rules_allow (rules, &peer, text, &disk, &read_only, &name) == RULES_YES)
        free (name);
      teardown ();
      setup ();
    }
  }
  /* Else the texts are no test of what is taken. */
  ck_assert_uint_gt (taken, 500);
}
END_TEST

#define LOOP(tc, test, table) tcase_add_loop_test (tc, test, 0, sizeof table / sizeof table[0])

int
main (void)
{
  Suite *suite = suite_create ("rules");
  TCase *tc = tcase_create ("rules");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tc, 60);
  tcase_add_checked_fixture (tc, setup, teardown);
  LOOP (tc, test_disks, disks);
  LOOP (tc, test_bad_disks, bad_disks);
  tcase_add_test (tc, test_many_partitions);
  tcase_add_test (tc, test_no_disk);
  LOOP (tc, test_defaults, defaults);
  tcase_add_test (tc, test_bad_defaults);
  tcase_add_test (tc, test_label);
  LOOP (tc, test_vms, vms);
  LOOP (tc, test_bad_vms, bad_vms);
  tcase_add_test (tc, test_names_twice);
  LOOP (tc, test_asked, asked);
  tcase_add_test (tc, test_listed_is_allowed);
  LOOP (tc, test_files, files);
  tcase_add_test (tc, test_folders);
  LOOP (tc, test_selections, selections);
  LOOP (tc, test_param_files, param_files);
  tcase_add_test (tc, test_no_param_file);
  tcase_add_test (tc, test_anything);
  suite_add_tcase (suite, tc);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
