/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the WebDAV provider share; private to cloud-webdav.c (open, probe, wait), webdav-list.c (PROPFIND)
 * and webdav-get.c (GET).
 */

#ifndef CLOUDSHARE_WEBDAV_H
#define CLOUDSHARE_WEBDAV_H

#include <pthread.h>

#include "cloud.h"
#include "http.h"

struct webdav {
  struct cloud cloud;
  struct http *http;
  bool has_user, has_token;

  /* Protects the members below.  Held for a few instructions; no other lock is taken under it. */
  pthread_mutex_t lock;
  pthread_cond_t wakeup;
  bool woken;
  char *base;              /* where requests go, with a trailing '/'; a probe may move it */
  char *root;              /* the canonical path (davtext.h) that the server gives the root in its hrefs: not always the
                              one asked for (Nextcloud turns user names into lower case, proxies map paths) */
};

/* The URL of an item, malloc'ed.  A folder's has a trailing '/'.  NULL: out of memory. */
extern char *webdav_url (struct webdav *dav, const char *path, bool folder);

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

/* The verbs of cloud.h. */
extern void webdav_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink,
                         void *opaque);
extern void webdav_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink,
                        void *opaque);

/* A token that stands in for an entity tag which the server does not list (nginx): "~SIZE-MTIME".  Entity tags begin
 * with a quote.  malloc'ed; NULL: out of memory. */
extern char *webdav_made_token (uint64_t size, const struct timespec *mtime);

#endif /* CLOUDSHARE_WEBDAV_H */
