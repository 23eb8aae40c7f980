/* SPDX-License-Identifier: BSD-3-Clause */
/* A door at which clouds knock to say that something has changed (HTTP, libmicrohttpd).
 *
 *   door = door_open (&config)     the address is taken and the token known; no thread yet, so a fork may follow
 *   door_start (door)
 *   door_stop (door)               nobody is called back any more when it returns
 *   door_close (door)
 *
 * What comes in are hints and no more: whoever knows the token can make us look at the remote, and that is all.  Nothing of
 * a request is stored or believed.  Without the token every answer is 404.
 *
 *   POST /TOKEN          records of S3 (Ceph, MinIO, AWS), plain or by AWS's SNS; or any other body: then it is as
 *   POST /TOKEN/poke     {"path": "folder/file"}, or no body at all: look everywhere
 *
 * The token may stand in a header instead (Authorization: Bearer TOKEN, or X-Cloudshare-Token: TOKEN): POST / and POST /poke.
 *
 * The one request that goes out because of one that came in is the confirmation of an SNS subscription, to AWS alone.
 */

#ifndef CLOUDSHARE_DOOR_H
#define CLOUDSHARE_DOOR_H

#include <stdbool.h>

struct door;

/* All strings are copied. */
struct door_config {
  const char *address;         /* ADDRESS:PORT, or PORT alone for 127.0.0.1; port 0: any that is free */
  const char *token;           /* or NULL: one of our own, which is kept in dir */
  const char *dir;             /* the cache folder */
  const char *cainfo;          /* as in cloud.h */

  /* On the door's thread; opaque is for all of them.  Somewhere below the path of a folder, or of a file, something
   * changed; NULL: somewhere. */
  void (*hint) (void *opaque, const char *path);

  /* The path of an object, malloc'ed; NULL: it is none of ours.  The member is NULL where there are no objects. */
  char *(*object_path) (void *opaque, const char *bucket, const char *key);
  void *opaque;
};

/* NULL after one message. */
extern struct door *door_open (const struct door_config *config);
extern int door_start (struct door *door);
extern void door_stop (struct door *door);
extern void door_close (struct door *door);

/* What to give to the cloud; a secret.  As long as the door. */
extern const char *door_url (const struct door *door);

#endif /* CLOUDSHARE_DOOR_H */
