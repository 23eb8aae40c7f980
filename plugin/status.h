/* SPDX-License-Identifier: BSD-3-Clause */
/* What the database tells about a cache folder, as JSON: for cloudsharectl, which reads it by itself where no server
 * runs, and for the server, which adds what only it knows.
 *
 * cloudsharectl(1) lists the members.  Text is UTF-8: bytes that are not are replaced. */

#ifndef CLOUDSHARE_STATUS_H
#define CLOUDSHARE_STATUS_H

#include <stdbool.h>

struct db;
struct journal_totals;
struct json_object;

/* Adds "version", "remote", "files", "folders", "bytes", "cached", "waiting", "changes" and "disks" (each with
 * "views"). The database's lock must not be held.  -1 after one message. */
extern int status_add (struct db *db, struct json_object *reply);

/* Adds "waiting" alone. */
extern void status_add_waiting (struct json_object *reply, const struct journal_totals *totals);

/* A string for JSON, from a name or sentence of anybody. */
extern struct json_object *status_text (const char *text);

/* The view of that name among the disks of a status, or NULL.  Borrowed. */
extern struct json_object *status_find_view (struct json_object *reply, const char *name);

/* A disk of a status; NULL if it is not there.  Borrowed. */
extern struct json_object *status_find_disk (struct json_object *reply, const char *name);

#endif /* CLOUDSHARE_STATUS_H */
