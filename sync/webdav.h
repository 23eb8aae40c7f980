/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the WebDAV provider share; private to cloud-webdav.c (open, probe, wait), webdav-list.c (PROPFIND),
 * webdav-get.c (GET) and to those that write (davchange.h).
 */

#ifndef CLOUDSHARE_WEBDAV_H
#define CLOUDSHARE_WEBDAV_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud.h"
#include "http.h"
#include "waker.h"

/* What is known of the server. */
enum webdav_known { WEBDAV_UNKNOWN, WEBDAV_NO, WEBDAV_YES };

struct webdav {
  struct cloud cloud;
  struct http *http;
  bool has_user, has_token;
  struct waker waker;
  struct notify *notify;         /* Nextcloud's push (notify-push.h); NULL: without a password there is none */
  uint64_t push_until;           /* the next look for its sake is not before this millisecond; the waiter's own */
  atomic_bool pushed;            /* the server said that something changed */
  struct davmanners *manners;    /* what the server makes of writes (davmanners.h) */

  /* Protects the members below.  Held for a few instructions; no other lock is taken under it. */
  pthread_mutex_t lock;
  char *base;              /* where requests go, with a trailing '/'; a probe may move it */
  enum webdav_known chunks;   /* whether it takes files in chunks */
  uint64_t chunk_size;     /* files of more bytes go so, and begin with that many */
  bool started;            /* from start to stop */
  bool writing;            /* something was to be changed: who only reads leaves the litter of others alone */
  uint16_t process;        /* random, from start to stop: with the cache's mark in names of uploads */
  uint16_t next_upload;    /* the last part of these names */
  char *litter[32];        /* names of temporary files of ours that are perhaps still there, or NULL */
  unsigned next_litter;
  char *root;              /* the canonical path (davtext.h) that the server gives the root in its hrefs: not always the
                              one asked for (Nextcloud turns user names into lower case, proxies map paths) */
};

/* The URL of an item, malloc'ed.  A folder's has a trailing '/'.  NULL: out of memory. */
extern char *webdav_url (struct webdav *dav, const char *path, bool folder);

/* Whether a redirect leads to a place that may have our credentials: the same server, or the same host with TLS. */
extern bool webdav_may_move (const char *from_url, const char *to_url);

/* What a status that is not the wanted one means.  *ret_sentence is malloc'ed, or NULL where there is no memory. */
extern enum cloud_result webdav_refusal (const struct webdav *dav, const char *method, const char *url, int status,
                                         char **ret_sentence);

/* Where WebDAV usually is, to stand at the end of a sentence that says that it is not here. */
#define WEBDAV_HINT "; for Nextcloud and ownCloud the URL ends in /remote.php/dav/files/USER/"

/* What a probe learns of the root. */
struct webdav_root {
  char *location;          /* where the server redirects to, an absolute URL; or NULL */
  char *path;              /* the canonical path of its href; or NULL */
  bool is_folder;
};

/* PROPFIND with Depth 0 of a URL that is not known yet: redirects are not followed, any href is believed, and nothing
 * is given to sink but done.  root stays the caller's, who frees what it holds then. */
extern void webdav_look (struct webdav *dav, const char *url, struct webdav_root *root,
                         const struct cloud_list_sink *sink, void *opaque);

/* Like the verb list, but for those who write: also with depth 1 the item itself comes (name ""), and our own temporary
 * files are shown. */
extern void webdav_find (struct webdav *dav, const char *path, int depth, const struct cloud_list_sink *sink,
                         void *opaque);

/* Lists a folder elsewhere on the server, whose canonical path is folder. */
extern void webdav_find_at (struct webdav *dav, const char *url, const char *folder, const struct cloud_list_sink *sink,
                            void *opaque);

/* ---- temporary files: what is being uploaded until it can be moved to its place ---- */

/* "FOLDER/.cloudshare-upload-TIME-RANDOM" in the folder that path is in, or without the dot where the server wants no
 * such names; RANDOM is the cache's own mark (struct cloud, owner), a process's, and a number, or where the cache has no mark 64
 * random bits.  malloc'ed.  NULL: out of memory, or no randomness. */
extern char *webdav_temporary (struct webdav *dav, const char *path, bool dotted);

/* Whether a name is of that form, which nobody else's is. */
extern bool webdav_is_temporary (const char *name, time_t *ret_made);

enum webdav_maker {
  WEBDAV_ANOTHER,      /* cache, as far as can be told */
  WEBDAV_EARLIER,      /* process, which had this cache and has ended */
  WEBDAV_THIS,
};

/* Who made such a name. */
extern enum webdav_maker webdav_maker (struct webdav *dav, const char *name);

/* Removes a folder by that kind of name, unless there is something in it.  Nobody is told how it ends. */
extern void webdav_remove_litter (struct webdav *dav, const char *path);

/* Remembers one that may still be there although it was removed, for the next listing to remove it once more. */
extern void webdav_litter (struct webdav *dav, const char *path);
extern bool webdav_is_litter (struct webdav *dav, const char *name);

/* The verbs of cloud.h. */
extern void webdav_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink,
                         void *opaque);
extern void webdav_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink,
                        void *opaque);
extern void webdav_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink,
                        void *opaque);
extern void webdav_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque);
extern void webdav_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
                         const struct cloud_change_sink *sink, void *opaque);
extern void webdav_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
                           const struct cloud_change_sink *sink, void *opaque);
extern void webdav_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
                          const struct cloud_change_sink *sink, void *opaque);

/* A token that stands in for an entity tag which the server does not list (nginx): "~SIZE-MTIME".  Entity tags begin
 * with a quote.  malloc'ed; NULL: out of memory. */
extern char *webdav_made_token (uint64_t size, const struct timespec *mtime);

#endif /* CLOUDSHARE_WEBDAV_H */
