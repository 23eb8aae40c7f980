/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of the plugin: from the command line and from config=FILE to checked values.
 *
 *   params_init ()
 *   params_set (key, value)          each parameter, in the order given
 *   params_complete ()               what can only be told when all are known
 *   params                           read by everybody
 *   params_reload (...)              the rules anew, while serving
 *   params_free ()
 *
 * Errors: -1 after one message, which for a line of a file names file and line.
 */

#ifndef CLOUDSHARE_PARAMS_H
#define CLOUDSHARE_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "cloud.h"
#include "rules.h"

struct junk;

struct params {
  char *remote, *user, *password, *token, *cainfo, *cache_dir, *timezone, *config_file;
  char *push, *push_token;
  char *rclone_config, *rclone_url;
  char *endpoint, *region, *access_key, *secret_key;   /* S3's */
  enum cloud_path_style path_style;
  bool sslverify, fetch_all, live, unmount;
  unsigned connections, timeout_s, poll_s, retry_s, linger_s, settle_ms, write_back_s;
  unsigned max_delete;         /* percent */
  uint64_t cache_size, max_dirty;   /* bytes; 0: not given */
  uint64_t upload_rate, download_rate;   /* bytes a second; 0: no limit */
  uint64_t chunk_size;                   /* bytes; 0: the default */
  struct junk *junk;
  struct rules *rules;         /* after params_complete; the ones that the server began with */
};

extern struct params params;

extern int params_init (void);
extern void params_free (void);

extern int params_set (const char *key, const char *value);
extern int params_complete (void);

/* Reads the file of parameters again: the rules of the command line and its own.  New rules, the caller's, or NULL after one
 * message.  *ret_restart: a malloc'ed list of other parameters in it that have changed, which only a restart takes up; NULL: none. */
extern struct rules *params_reload (char **ret_restart);

/* For nbdkit's --help. */
extern const char params_help[];

#endif /* CLOUDSHARE_PARAMS_H */
