/* SPDX-License-Identifier: BSD-3-Clause */
/* The word that opens the door. */

#ifndef CLOUDSHARE_DOOR_TOKEN_H
#define CLOUDSHARE_DOOR_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/* The one that is kept in the folder; made where there is none yet.  malloc'ed; NULL after one message. */
extern char *door_token_kept (const char *dir);

/* Whether a word can be one: of characters that stand for themselves in a URL, and not too short to be guessed. */
extern bool door_token_is_good (const char *token);

/* Whether n bytes are the token; takes the same time wherever they differ. */
extern bool door_token_same (const char *token, const char *given, size_t n);

#endif /* CLOUDSHARE_DOOR_TOKEN_H */
