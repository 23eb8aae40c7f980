/* SPDX-License-Identifier: BSD-3-Clause */
/* A remote that exists in this process only: a tree of items whose bytes are computed, and rules that make it fail.
 *
 *   fake = fakecloud_new ()
 *   fakecloud_put, fakecloud_folder ...       what it has
 *   fakecloud_rule (fake, &rule)              how its requests go wrong, or how slowly right
 *   (struct cloud *) fake                     what the code under test is given
 *   fakecloud_log (fake, ...)                 what it was asked for
 *   fakecloud_broken (fake)                   how the code under test broke the contract, or NULL
 *   fakecloud_free (fake)
 *
 * A file's bytes are a function of its path when it was made, of its token, and of their offset, so that a byte of
 * another file, of another version or from another place is a wrong one.  They are given to the sink in small odd
 * pieces.
 *
 * Thread-safe.
 */

#ifndef CLOUDSHARE_FAKECLOUD_H
#define CLOUDSHARE_FAKECLOUD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud.h"

struct fakecloud;

extern struct fakecloud *fakecloud_new (void);

/* Nothing may be in flight. */
extern void fakecloud_free (struct fakecloud *fake);

/* How the contract of cloud.h was broken; NULL if it was not. */
extern const char *fakecloud_broken (struct fakecloud *fake);

/* true: requests are done before the verb returns.  false (at first): by threads, in any order. */
extern void fakecloud_set_inline (struct fakecloud *fake, bool is_inline);

/* ---- the tree ---- */

/* Adds a folder; token and id may be NULL.  The folder above it must be there. */
extern void fakecloud_folder (struct fakecloud *fake, const char *path, const char *token, const char *id);

/* Adds a file, or gives it another content and id. */
extern void fakecloud_put (struct fakecloud *fake, const char *path, uint64_t size, const char *token, const char *id);
extern void fakecloud_set_token (struct fakecloud *fake, const char *path, const char *token);
extern void fakecloud_set_id (struct fakecloud *fake, const char *path, const char *id);
extern void fakecloud_set_settled (struct fakecloud *fake, const char *path, bool settled);

/* Gives the file's checksum: "SHA1", "MD5" or "SHA256"; the one of its bytes, or a wrong one. */
extern void fakecloud_set_checksum (struct fakecloud *fake, const char *path, const char *kind, bool right);

/* Shown in listings, or not; asked for by name it is there. */
extern void fakecloud_set_hidden (struct fakecloud *fake, const char *path, bool hidden);

/* With all below it. */
extern void fakecloud_remove (struct fakecloud *fake, const char *path);
extern void fakecloud_rename (struct fakecloud *fake, const char *from, const char *to);

extern bool fakecloud_has (struct fakecloud *fake, const char *path);

/* Calls item with the item as a stat shows it. */
extern void fakecloud_look (struct fakecloud *fake, const char *path,
                            void (*item) (void *opaque, const struct cloud_item *item), void *opaque);

/* ---- bytes ---- */

/* What tells a file's content from all others. */
extern uint64_t fakecloud_content (struct fakecloud *fake, const char *path);

/* The bytes of that content. */
extern void fakecloud_fill (uint64_t content, void *buf, size_t n, uint64_t offset);

/* Nothing happens in between: for who looks and then acts. */
extern void fakecloud_lock (struct fakecloud *fake);
extern void fakecloud_unlock (struct fakecloud *fake);

/* Puts a file with these bytes, as another client would. */
extern void fakecloud_write (struct fakecloud *fake, const char *path, const void *bytes, size_t n);
extern void fakecloud_mkdir (struct fakecloud *fake, const char *path);

/* Reads it; malloc'ed, with a NUL behind it.  NULL if there is no such file. */
extern char *fakecloud_read (struct fakecloud *fake, const char *path, size_t *ret_n);

/* Calls item with each path, in the order of names. */
extern void fakecloud_each (struct fakecloud *fake, void (*item) (void *opaque, const char *path, bool is_folder),
                            void *opaque);

/* How often our puts stored these bytes. */
extern unsigned fakecloud_stored (struct fakecloud *fake, const char *bytes);

/* What is made by our verbs, and by fakecloud_write, gets an id; a checksum of that kind (or NULL); another token
 * when it is moved.  At first none of it. */
extern void fakecloud_set_manners (struct fakecloud *fake, bool ids, const char *checksum, bool token_moves);

/* Whether a put of ranges is put together here; at first it must have the whole. */
extern void fakecloud_set_ranges (struct fakecloud *fake, bool takes);

/* ---- rules ---- */

enum fake_verb { FAKE_GET, FAKE_LIST, FAKE_STAT, FAKE_PUT, FAKE_MKDIR, FAKE_MOVE, FAKE_REMOVE, FAKE_TOUCH };

/* The first rule that fits a request, and is not used up, decides how it goes. */
struct fake_rule {
  enum fake_verb verb;
  const char *path;            /* NULL: any */
  unsigned skip;               /* so many requests that fit go well before */
  unsigned times;              /* used up after so many; 0: never */

  unsigned delay_ms;           /* before the first byte */
  bool hold;                   /* it waits until fakecloud_release */
  enum cloud_result result;    /* CLOUD_OK: as usual */
  uint64_t bytes_before;       /* get: so many bytes come before the failure */
  bool flip;                   /* get: the first byte is a wrong one */
  unsigned items_before;       /* list: so many items come before the failure */
  bool empty;                  /* list: it ends at once, and looks good */

  /* Changes. */
  bool done;                   /* it is done, and then answered with result: the answer was lost */
  bool silent;                 /* an answer that does not say what the remote has now */
  uint64_t keeps;              /* put: only so many bytes are kept, if not 0; the answer is good all the same */
  const char *first;           /* another client puts a file there right before: with this token */
};

/* Copied; rule->path is borrowed. */
extern void fakecloud_rule (struct fakecloud *fake, const struct fake_rule *rule);
extern void fakecloud_no_rules (struct fakecloud *fake);

/* Lets go of the requests that are held. */
extern void fakecloud_release (struct fakecloud *fake);

/* ---- what was asked for ---- */

struct fake_request {
  enum fake_verb verb;
  char path[256];
  uint64_t offset, length;     /* get; length: put */
  char to[256];                /* move */
  bool urgent;                 /* get */
  uint64_t sent;               /* put: bytes, 0: all of them */
};

/* Copies up to n of the requests since the last fakecloud_forget, oldest first, and returns how many there were.  path:
 * of this item only, or NULL. */
extern size_t fakecloud_log (struct fakecloud *fake, enum fake_verb verb, const char *path, struct fake_request *ret,
                             size_t n);
extern void fakecloud_forget (struct fakecloud *fake);

/* Whether somebody called wake since the last call. */
extern bool fakecloud_was_woken (struct fakecloud *fake);

#endif /* CLOUDSHARE_FAKECLOUD_H */
