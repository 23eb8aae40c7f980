/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes over the wire between the rclone provider and rclone's remote control, taken apart: names of remotes, items,
 * tokens, features, errors, what rclone prints.  Pure functions; answers are hostile input.
 *
 * A token is "SIZE-MTIME", or "SIZE-MTIME-HASH" where the remote has a checksum at no cost, or "SIZE-HASH" where it has
 * one and keeps no times.
 */

#ifndef CLOUDSHARE_RCLONE_TEXT_H
#define CLOUDSHARE_RCLONE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "cloud.h"

struct json_object;

/* ---- the remote ---- */

/* "rclone:NAME:PATH", all malloc'ed.  PATH has no '/' at its end, unless it is "/". */
struct rclone_remote {
  char *name, *path;
  char *fs;                /* "NAME:PATH": what rclone calls it */
  char *identity;          /* "rclone:NAME:PATH" */
};

extern bool rclone_remote_is_ours (const char *text);

/* -1 after one message; *remote is empty then. */
extern int rclone_remote_parse (const char *text, struct rclone_remote *remote);
extern void rclone_remote_free (struct rclone_remote *remote);

/* "fs" of the folder at path below it: "NAME:PATH/path"; malloc'ed. */
extern char *rclone_remote_fs (const struct rclone_remote *remote, const char *path);

/* The path of the URL that gives the bytes of a file: "/%5BNAME:PATH%5D/path", encoded; malloc'ed. */
extern char *rclone_remote_url_path (const struct rclone_remote *remote, const char *path);

/* ---- what a remote can do ---- */

struct rclone_features {
  bool empty_folders;      /* folders are there without anything in them */
  bool move, move_folder;  /* by the remote itself, at once */
  bool slow_hash;          /* a checksum costs reading the file */
  bool slow_mtime;         /* a listing's times cost one request each */
  bool keeps_mtime;        /* the times that it is told */
  int64_t precision_ns;    /* of its times */
  char hash[16];           /* the kind that tokens are made with; "": none */
};

/* Reads the answer to operations/fsinfo.  -1 and *ret_why: it is none. */
extern int rclone_features_read (struct json_object *answer, struct rclone_features *features, const char **ret_why);

/* ---- items ---- */

enum rclone_what { RCLONE_NOTHING, RCLONE_FILE, RCLONE_FOLDER };

/* What is by a name.  Strings are malloc'ed, or NULL. */
struct rclone_seen {
  enum rclone_what what;
  uint64_t size;
  struct timespec mtime;   /* tv_sec 0 where unknown */
  bool arrival;            /* as in cloud.h */
  bool hashed;             /* a checksum is in the token */
  char *token;             /* of a file */
  char *checksum;          /* as in cloud.h */
  char *mime;
};

extern void rclone_seen_clear (struct rclone_seen *seen);

#define CLEANUP_RCLONE_SEEN __attribute__ ((cleanup (rclone_seen_clear)))

/* Reads one entry of operations/list, or the item of operations/stat.  *ret_name is the entry's own name, and stays as
 * long as entry does; for people where it is no name of an item.  Returns 0; or 1 with *ret_why: it is to be left out;
 * or -1: out of memory, or no entry at all (*ret_why not NULL). */
extern int rclone_entry_read (struct json_object *entry, const struct rclone_features *features,
                              struct rclone_seen *seen, const char **ret_name, const char **ret_why);

/* The item as cloud.h has it; its strings are seen's and name.  now: to tell whether it is settled. */
extern struct cloud_item rclone_seen_item (const struct rclone_seen *seen, const char *name,
                                           const struct rclone_features *features, const struct timespec *now);

/* Names of files that are ours, and no items: uploads under way (localitem.h), and these. */
#define RCLONE_MARKER ".cloudshare-folder"           /* keeps a folder where the remote has no empty ones */
#define RCLONE_MOVING_PREFIX ".cloudshare-moving-"   /* 16 digits: says from where a folder is being moved here */

extern bool rclone_is_own (const char *name);

/* RCLONE_MOVING_PREFIX and the digits for a folder's path. */
extern void rclone_moving_name (const char *path, char name[64]);

/* What is not UTF-8 cannot be said in JSON. */
extern bool rclone_is_utf8 (const char *text);

/* RFC 3339, to the nanosecond.  -1: it is none. */
extern int rclone_time_read (const char *text, struct timespec *ret_time);

/* ---- what rclone says ---- */

/* What an error means: the text that rclone gave, and the HTTP status.  path is the item's, whose name must not be taken
 * for a part of the error.  *ret_why is a string constant, or NULL where only rclone's own words tell. */
extern enum cloud_result rclone_error_judge (int status, const char *error, const char *path, const char **ret_why);

/* Text for people: in one line, without user names and queries of URLs, not longer than 240 bytes; malloc'ed. */
extern char *rclone_error_clean (const char *text);

/* A line that rclone logs, without its date and level. */
extern const char *rclone_line_text (const char *line);

/* Whether it is of a level that does not tell why rclone ends. */
extern bool rclone_line_is_routine (const char *line);

/* The URL where remote control is served, if that is what the line tells; malloc'ed, without '/' at the end. */
extern char *rclone_line_address (const char *line);

#endif /* CLOUDSHARE_RCLONE_TEXT_H */
