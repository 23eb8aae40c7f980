/* SPDX-License-Identifier: BSD-3-Clause */
/* Types of content: MIME types by a name's extension (the system's data), and their classes. */

#ifndef CLOUDSHARE_MEDIA_TYPE_H
#define CLOUDSHARE_MEDIA_TYPE_H

#include <stdbool.h>

/* The MIME type of a name's extension, or NULL: what the system's data says (shared-mime-info's globs2 in the data folders of
 * the XDG Base Directory specification, then /etc/mime.types), and for the common types, where the system has none, a table of our
 * own.  Loaded once, from any thread. */
extern const char *media_type_of_name (const char *name);

/* The table of our own, by extension: lower case, without the dot.  NULL if it is not there. */
extern const char *media_type_own (const char *extension);

/* Whether a type that a server gives only says that it does not know. */
extern bool media_type_says_nothing (const char *type);

/* Whether a word is a class: image video audio text document archive font model ... */
extern bool media_type_is_class (const char *word);

/* Whether a MIME type, which may have parameters, is what a rule's type= asks for: a class, or an exact type, or "image/" followed
 * by "*".  Without regard to case. */
extern bool media_type_matches (const char *type, const char *wanted);

/* All classes, for messages. */
extern const char *media_type_classes (void);

#endif /* CLOUDSHARE_MEDIA_TYPE_H */
