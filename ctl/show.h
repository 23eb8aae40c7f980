/* SPDX-License-Identifier: BSD-3-Clause */
/* Shows answers to people.  Names and sentences come from guests and servers: a terminal must not be made to act on
 * them. */

#ifndef CLOUDSHARE_SHOW_H
#define CLOUDSHARE_SHOW_H

#include <stdint.h>
#include <stdio.h>

struct json_object;

/* Members of an object: 0 or "" where there is none. */
extern int64_t show_int (struct json_object *object, const char *key);
extern const char *show_string (struct json_object *object, const char *key);

/* Control characters as \xNN. */
extern void show_text (FILE *to, const char *text);

/* "1.5 GiB"; buf has 16 bytes.  Returns buf. */
extern const char *show_bytes (uint64_t bytes, char buf[16]);

extern void show_status (struct json_object *status);

/* One line of progress, over the last one.  most_* are the largest numbers seen. */
extern void show_progress (struct json_object *reply, int64_t most_items, int64_t most_bytes);

#endif /* CLOUDSHARE_SHOW_H */
