/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of parameters: one key=value a line, # begins a comment where a line begins, blanks around are dropped.
 *
 * Errors: -1 after one message, which names file and line.
 */

#ifndef CLOUDSHARE_PARAMS_FILE_H
#define CLOUDSHARE_PARAMS_FILE_H

/* Calls each for every line; where is "FILE:LINE".  Ends with -1 when each does. */
extern int params_file_each (const char *path, int (*each) (void *opaque, const char *key, const char *value, const char *where),
                             void *opaque);

#endif /* CLOUDSHARE_PARAMS_FILE_H */
