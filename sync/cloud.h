/* SPDX-License-Identifier: BSD-3-Clause */
/* The contract of a remote: one struct of verbs, one file per kind (cloud-dir.c, cloud-webdav.c,
 * cloud-s3.c, cloud-rclone.c).
 *
 * Calling sequence:
 *
 *   cloud = cloud_open (&config)           checks parameters only; no traffic, no thread
 *   cloud_start (cloud)                    may start threads: after fork, or undone by cloud_stop before it
 *   ops->probe (cloud, ...)                is it there, are we let in, what can it do
 *   ops->list, ops->get, ops->wait         in any number, from any thread
 *   cloud_stop (cloud)                     ends all requests in flight with CLOUD_STOPPED, joins threads
 *   cloud_close (cloud)
 *
 * start and stop may come several times (before the fork to validate, after it to serve).
 *
 * Paths are relative to the remote's root: names joined by '/', no leading or trailing '/'; "" is the root.  Names are
 * the remote's own bytes (decoded from the wire, not validated as UTF-8), never empty, ".", "..", and never with '/' or
 * NUL: a provider leaves out any other, says so through sink->left_out, and goes on.
 *
 * Requests are asynchronous.  Every request ends in exactly one done call, also when it fails or is stopped; it may
 * come before the starting verb returns, and on any thread.  Callbacks of one request never overlap each other.
 * Callbacks must not block for long (they may run on the one thread that moves all bytes) but may start requests.
 * What callbacks are given is the provider's and ends with the call.
 */

#ifndef CLOUDSHARE_CLOUD_H
#define CLOUDSHARE_CLOUD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct cloud;

/* How a request ended.  The caller decides what to do by this alone; the sentence beside it is for people. */
enum cloud_result {
  CLOUD_OK,
  CLOUD_GONE,      /* there is no such item (404, 410, ENOENT) */
  CLOUD_CHANGED,   /* the item is there, but not in the version asked for */
  CLOUD_OFFLINE,   /* no answer: refused, unreachable, timed out, name not found, TLS failed */
  CLOUD_AUTH,      /* user, password or token not accepted (401); not to be repeated quickly */
  CLOUD_DENIED,    /* we may not (403, EACCES) */
  CLOUD_BUSY,      /* try later (423, 425, 429, 500, 502, 503, 504) */
  CLOUD_EXISTS,    /* put, mkdir, move: something is there already where nothing was expected (412, 405, EEXIST) */
  CLOUD_PARENT,    /* put, mkdir, move: the folder that it should go into is not there (409, 404 on the target, ENOENT) */
  CLOUD_FULL,      /* the remote has no room left (507, ENOSPC, EDQUOT) */
  CLOUD_REFUSED,   /* the remote will never take this: its name, size or type (400, 413, 414, 415, ENAMETOOLONG, EFBIG) */
  CLOUD_BAD,       /* the answer makes no sense: not WebDAV, not XML, cut short, lies about its length */
  CLOUD_LOCAL,     /* this host failed: disk full, out of memory, or a sink said stop */
  CLOUD_STOPPED,   /* cloud_stop was called */
  CLOUD_WHOLE,     /* put: ranges alone can't be taken, or not to any gain; nothing was done: to be put whole */
};

extern const char *cloud_result_name (enum cloud_result result);

/* One item as a listing shows it. */
struct cloud_item {
  const char *name;        /* own name; "" in a stat (depth 0) */
  bool is_folder;
  uint64_t size;           /* bytes; 0 for folders */
  struct timespec mtime;   /* tv_sec 0 where unknown */
  const char *token;       /* version token, never NULL for a file: equal token = same content, as far as the remote can
                              tell.  For a folder: its etag or NULL */
  const char *id;          /* identity that survives renames, or NULL */
  const char *checksum;    /* of the content, as "SHA1:<hex>", "MD5:<hex>" or "SHA256:<hex>", or NULL */
  const char *mime;        /* MIME type, or NULL */
  bool arrival;            /* mtime is only when the remote got the item: of an item whose token is known, what was known of
                              its time stays */
  bool settled;            /* false: written so recently that the remote's token could stay the same over another write;
                              look again two seconds later before believing the token */
};

/* Receives a listing.  Items count only once done says CLOUD_OK: a listing that ends otherwise is worth nothing. */
struct cloud_list_sink {
  void (*item) (void *opaque, const struct cloud_item *item);
  void (*left_out) (void *opaque, const char *name_for_people, const char *reason);
  void (*done) (void *opaque, enum cloud_result result, const char *sentence);
};

/* Receives bytes of one version.  Ranges come in order without gaps, starting at the offset asked for. */
struct cloud_get_sink {
  /* -1: stop; done follows with CLOUD_LOCAL. */
  int (*data) (void *opaque, const void *buf, size_t n, uint64_t offset);
  /* CLOUD_OK: every byte of the range asked for was given to data. */
  void (*done) (void *opaque, enum cloud_result result, const char *sentence);
};

/* Which bytes of which version.  Strings are copied by get. */
struct cloud_get {
  const char *path;
  const char *token;       /* the version's token, as listed */
  uint64_t size;           /* the version's size, bytes */
  uint64_t offset, length; /* the range, bytes; never past size, never empty */
  bool urgent;             /* somebody waits for it; false: read-ahead, may stand behind urgent ones */
};

/* Bytes of a file. */
struct cloud_range {
  uint64_t offset, length;
};

/* What is stored at a path.  Strings are copied by put; ranges stay and read is called until done. */
struct cloud_put {
  const char *path;
  const char *expect;      /* token of the version that it replaces; NULL: nothing may be there */
  uint64_t size;           /* bytes */
  struct timespec mtime;   /* kept where the remote can; tv_sec 0: none */
  const char *checksum;    /* of the content, "SHA1:<hex>", sent where the remote verifies it; or NULL */

  /* What differs from the version that it replaces: in order, apart from each other, none empty, all within size, and all
   * that lies behind base_size among them.  Every other byte is what that version has at the same offset.  A remote that
   * can put such a version together by itself is sent these alone; for any other, all is sent if has_whole, else the put
   * ends with CLOUD_WHOLE.  n_ranges 0: nothing is known of that version, all is sent. */
  const struct cloud_range *ranges;
  size_t n_ranges;
  uint64_t base_size;      /* of the version that it replaces, bytes; with n_ranges > 0 */
  bool has_whole;          /* read gives every byte; false: only those within ranges */

  /* Gives n bytes of the content at offset, always within size.  On any thread; never waits for the cloud.  -1: the put
   * ends with CLOUD_LOCAL and leaves nothing behind. */
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);
};

/* Receives the end of a put, mkdir, move, remove or touch. */
struct cloud_change_sink {
  /* CLOUD_OK: it is done, and durable as far as the remote's answer can tell.  now is the item as the remote has it (name
   * ""), or NULL where the answer does not tell (and after a remove).  Any other result: the remote is as it was; but after
   * CLOUD_OFFLINE, CLOUD_BUSY, CLOUD_BAD and CLOUD_STOPPED it may have been done all the same: look before trying again. */
  void (*done) (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now);
};

enum cloud_wait {
  CLOUD_WAIT_TIMEOUT,      /* nothing known to have changed */
  CLOUD_WAIT_CHANGED,      /* something may have changed */
  CLOUD_WAIT_WOKEN,        /* cloud_wake or cloud_stop */
};

struct cloud_ops {
  const char *name;        /* "dir", "webdav", "s3", "rclone" */
  unsigned settle_ms;      /* how long after its last change an item's token can be believed, milliseconds */
  bool move_copies;        /* a move that was stopped may have left the item at both places; asked for again, it goes on */

  /* Asks whether the remote answers and is what the URL says.  Synchronous, blocks up to the provider's time-outs.
   * On failure *ret_sentence is a malloc'ed sentence that says what was wrong and what to do. */
  enum cloud_result (*probe) (struct cloud *cloud, char **ret_sentence);

  /* Lists a folder (depth 1: its children, in any order, not itself), or looks at one item (depth 0: itself, name ""). */
  void (*list) (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque);

  /* Reads a range of one version.  A remote that has another version by now ends with CLOUD_CHANGED, before any byte of
   * the other version reached data. */
  void (*get) (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink, void *opaque);

  /* Changes of the remote.  Each names the version that it replaces (token, as listed), in the form that the remote honours;
   * where it honours none, the item is looked at right before.  Another version there: CLOUD_CHANGED, and nothing is done.
   * Source not there: CLOUD_GONE. */

  /* A file's whole content: all of it or nothing is ever seen under the path. */
  void (*put) (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink, void *opaque);

  /* One folder; CLOUD_EXISTS if anything is there, also a folder. */
  void (*mkdir) (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque);

  /* A file or folder with all below it.  Never onto something: CLOUD_EXISTS.  expect is NULL for folders. */
  void (*move) (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
                const struct cloud_change_sink *sink, void *opaque);

  /* A file, or an empty folder (expect NULL): a folder that has anything in it ends with CLOUD_EXISTS and stays whole. */
  void (*remove) (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
                  const struct cloud_change_sink *sink, void *opaque);

  /* A file's time of change, without its body.  CLOUD_REFUSED where the remote has no way to: nothing is lost by it. */
  void (*touch) (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
                 const struct cloud_change_sink *sink, void *opaque);

  /* Waits until something may have changed, at most timeout_ms.  One caller at a time.  Providers without push wait for
   * cloud_wake or the time-out. */
  enum cloud_wait (*wait) (struct cloud *cloud, int timeout_ms);

  /* True where the remote pushes its changes through wait, so that polling is only for safety. */
  bool (*has_push) (struct cloud *cloud);

  /* Limits, bytes a second, 0 for none; at any time after open, from any thread.  NULL where nothing can be limited. */
  void (*set_rates) (struct cloud *cloud, uint64_t upload, uint64_t download);

  /* The path that the cloud's own events name by container and key, malloc'ed; NULL: it is not of this remote.  Any thread,
   * from start to stop.  NULL where the cloud has no such events. */
  char *(*object_path) (struct cloud *cloud, const char *bucket, const char *key);

  int (*start) (struct cloud *cloud);
  void (*stop) (struct cloud *cloud);
  void (*wake) (struct cloud *cloud);
  void (*close) (struct cloud *cloud);
};

/* Providers embed this as their first member. */
struct cloud {
  const struct cloud_ops *ops;
  char *identity;          /* what a cache is bound to: the URL without credentials, or the real path; for people too */
  const char *scratch;     /* a folder of this host for files in passing, or NULL; the caller's, set before cloud_start */
  uint32_t owner;          /* marks names of uploads under way as this cache's, so that what a crash left is known; 0: none.
                              Set before cloud_start */
};

enum cloud_path_style { CLOUD_PATH_STYLE_AUTO, CLOUD_PATH_STYLE_NO, CLOUD_PATH_STYLE_YES };

/* Parameters; all strings are the caller's and are copied. */
struct cloud_config {
  const char *remote;      /* /path, file://, http(s)://, dav(s)://, s3://, rclone: */
  const char *user, *password, *token;   /* or NULL; a user:password@ in the URL counts as these */
  const char *rclone_config, *rclone_url;   /* rclone's file, or an rclone that runs already; or NULL */
  const char *endpoint, *region, *access_key, *secret_key;   /* S3's; or NULL for what the environment says */
  enum cloud_path_style path_style;      /* S3: the bucket is in the URL's path, or in its host */
  const char *cainfo;      /* PEM file of certificate authorities, or NULL for the system's */
  bool sslverify;          /* default true */
  unsigned connections;    /* most connections at once, default 16 */
  unsigned timeout_s;      /* seconds without one byte before a request counts as lost, default 30 */
  uint64_t chunk_size;     /* larger files go to Nextcloud and ownCloud in chunks of about so many bytes; 0: 10 MiB */
};

/* Makes the provider for config->remote.  Checks what can be checked without traffic.  NULL after one message. */
extern struct cloud *cloud_open (const struct cloud_config *config);

/* The constructors behind it. */
extern struct cloud *cloud_dir_open (const struct cloud_config *config);
extern struct cloud *cloud_rclone_open (const struct cloud_config *config);
extern struct cloud *cloud_s3_open (const struct cloud_config *config);
extern struct cloud *cloud_webdav_open (const struct cloud_config *config);

/* -1 after one message. */
extern int cloud_start (struct cloud *cloud);
extern void cloud_stop (struct cloud *cloud);

/* Makes a wait return at once with CLOUD_WAIT_WOKEN (also the next one, if none is under way). */
extern void cloud_wake (struct cloud *cloud);
extern void cloud_close (struct cloud *cloud);

/* For a remote that takes whole files alone: true if a put does not have all of it, which then was ended so. */
static inline bool
cloud_put_needs_whole (const struct cloud_put *put, const struct cloud_change_sink *sink, void *opaque)
{
  if (put->n_ranges == 0 || put->has_whole)
    return false;
  sink->done (opaque, CLOUD_WHOLE, "the remote takes whole files only", NULL);
  return true;
}

#endif /* CLOUDSHARE_CLOUD_H */
