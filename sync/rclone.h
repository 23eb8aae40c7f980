/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the rclone provider share; private to cloud-rclone.c (open, probe, wait) and to
 *
 *   rclone-daemon.c   the rclone that the plugin starts
 *   rclone-text.c, rclone-error.c     what goes over the wire
 *   rclone-call.c     one call of remote control
 *   rclone-flow.c     the threads that all verbs run on, and the steps that they have in common
 *   rclone-list.c, rclone-get.c, rclone-put.c, rclone-change.c, rclone-move.c     the verbs
 *
 * Every verb is a *flow*: it runs on a thread of its own from beginning to end, one call after the other, as most are
 * several.  There are two sets of threads, so that long uploads do not stand in the way of those who read.
 *
 *   flow = rclone_flow_new (rclone, path, opaque)    members are set
 *   rclone_flow_begin (flow, which, run)             run (flow) on a thread; its return value ends the flow
 *
 * run returns CLOUD_OK, or how the flow ends after rclone_flow_fail has put down why.
 *
 * Where a remote has no empty folders, a file RCLONE_MARKER keeps each folder that we have made or emptied.
 */

#ifndef CLOUDSHARE_RCLONE_H
#define CLOUDSHARE_RCLONE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cloud.h"
#include "http.h"
#include "known-folders.h"
#include "localitem.h"
#include "rclone-daemon.h"
#include "rclone-text.h"
#include "waker.h"

struct json_object;

/* So long requests wait for an rclone that is being started again. */
#define RCLONE_BACK_MS 4000

enum rclone_lane { RCLONE_READS, RCLONE_CHANGES };

/* Threads, and what waits for them (rclone-flow.c). */
struct rclone_lane_state;

/* The name of an upload under way. */
struct rclone_upload {
  struct rclone_upload *next;
  char name[LOCALITEM_OWN_SIZE];
};

struct rclone {
  struct cloud cloud;
  struct rclone_remote remote;
  struct http *http;
  struct rclone_daemon *daemon;      /* NULL: one that runs already, at base */
  char *base;                        /* its URL, without '/' at the end */
  struct rclone_lane_state *lanes[2];
  struct waker waker;
  struct known_folders folders;
  atomic_bool writing;               /* something was to be changed: who only reads leaves our litter alone, too */
  unsigned timeout_s;                /* without one byte from the cloud */
  uint32_t run;                      /* marks names as this process's */

  /* Protects the members below.  Held for a few instructions; no other lock is taken under it. */
  pthread_mutex_t lock;
  bool knows_features;
  struct rclone_features features;
  struct rclone_upload *uploads;
  uint64_t upload_rate;              /* bytes a second; 0: no limit */
  unsigned rate_told;                /* to which start of rclone, plus 1; 0: to none */
  char *staging;                     /* a folder of ours on this host, once it was made */
};

/* ---- one call of remote control (rclone-call.c) ---- */

struct rclone_call {
  struct rclone *rclone;
  const char *verb;                  /* "operations/list" */
  struct json_object *in;            /* the parameters; NULL: out of memory */
  const char *path;                  /* of the item that it is about, for errors; or NULL */
  size_t longest;                    /* of the answer, bytes */
  unsigned patience_s;
  bool urgent;
  bool tells_changes;                /* it changes something: not sent twice */

  /* The answer.  result is CLOUD_OK where the verb was done. */
  enum cloud_result result;
  char *sentence;                    /* why not; NULL: out of memory */
  int status;
  struct json_object *out;

  char *body;
  size_t body_len, body_alloc;
  struct rclone_access access;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
};

/* path: of the item, stays as long as the call; or NULL. */
extern void rclone_call_init (struct rclone_call *call, struct rclone *rclone, const char *verb, const char *path);
extern void rclone_call_text (struct rclone_call *call, const char *key, const char *value);
extern void rclone_call_flag (struct rclone_call *call, const char *group, const char *key);

/* "fs" and "remote": of the item at path. */
extern void rclone_call_item (struct rclone_call *call, const char *path);

/* The same under other names, as "srcFs" and "srcRemote". */
extern void rclone_call_item_as (struct rclone_call *call, const char *fs_key, const char *remote_key, const char *path);

/* Sends, and waits.  Never on the transfer thread.  Several may be started before one waits. */
extern enum cloud_result rclone_call_run (struct rclone_call *call);
extern void rclone_call_start (struct rclone_call *call);
extern enum cloud_result rclone_call_wait (struct rclone_call *call);
extern void rclone_call_clear (struct rclone_call *call);

#define CLEANUP_RCLONE_CALL __attribute__ ((cleanup (rclone_call_clear)))

/* Where remote control is: CLOUD_OK, or CLOUD_OFFLINE with a malloc'ed sentence (or NULL). */
extern enum cloud_result rclone_reach (struct rclone *rclone, struct rclone_access *access, char **ret_sentence);

/* ---- flows (rclone-flow.c) ---- */

struct rclone_flow {
  struct rclone_flow *next;          /* in line */
  struct rclone *rclone;
  enum cloud_result (*run) (struct rclone_flow *flow);
  /* Tells the sink. */
  void (*finish) (struct rclone_flow *flow, enum cloud_result result, const char *sentence);
  const struct cloud_list_sink *list_sink;
  const struct cloud_get_sink *get_sink;
  const struct cloud_change_sink *sink;
  void *opaque;
  bool urgent;

  /* What is to be done.  All strings are copies, or NULL. */
  char *path, *to, *expect, *checksum;
  bool is_folder;
  bool needs_whole;                  /* a put of ranges alone, which no rclone takes */
  int depth;
  uint64_t size, offset, length;
  struct timespec mtime;
  int (*read) (void *opaque, void *buf, size_t n, uint64_t offset);

  struct rclone_features features;   /* the remote's; set before run */
  struct rclone_seen now;            /* what is there after CLOUD_OK; RCLONE_NOTHING: not told */
  char *sentence;
};

/* NULL: out of memory. */
extern struct rclone_lane_state *rclone_lane_new (unsigned most);
extern void rclone_lane_start (struct rclone_lane_state *lane);
/* After http_stop: what is under way ends by itself, what waits ends here, both with CLOUD_STOPPED. */
extern void rclone_lane_stop (struct rclone_lane_state *lane);
extern void rclone_lane_free (struct rclone_lane_state *lane);

/* Whether the lane was stopped meanwhile, looked at after at most ms. */
extern bool rclone_lane_sleep (struct rclone_lane_state *lane, unsigned ms);

/* NULL: out of memory. */
extern struct rclone_flow *rclone_flow_new (struct rclone *rclone, const char *path, void *opaque);
extern void rclone_flow_begin (struct rclone_flow *flow, enum rclone_lane which,
                               enum cloud_result (*run) (struct rclone_flow *flow));

/* Ends a flow that has not begun. */
extern void rclone_flow_end (struct rclone_flow *flow, enum cloud_result result);

/* A flow of a change, with copies of what is not NULL.  NULL (out of memory): the sink was told. */
extern struct rclone_flow *rclone_flow_change (struct rclone *rclone, const char *path, const char *to,
                                               const char *expect, const struct cloud_change_sink *sink, void *opaque);

/* Puts down "rclone:NAME:PATH/path: why" and returns result. */
extern enum cloud_result rclone_flow_fail (struct rclone_flow *flow, enum cloud_result result, const char *path,
                                           const char *fmt, ...) __attribute__ ((format (printf, 4, 5)));
extern enum cloud_result rclone_flow_no_memory (struct rclone_flow *flow);

/* Takes over how a call has ended that did not end well. */
extern enum cloud_result rclone_flow_refuse (struct rclone_flow *flow, struct rclone_call *call);

/* Whether the remote can have an item of that path; otherwise CLOUD_REFUSED. */
extern enum cloud_result rclone_flow_may_name (struct rclone_flow *flow, const char *path);

/* Makes the calls' options that say how items are listed. */
extern void rclone_call_listing (struct rclone_call *call, const struct rclone_features *features);

/* ---- looks: CLOUD_OK also where there is nothing ---- */

/* A file by that path, and nothing else. */
extern enum cloud_result rclone_flow_file (struct rclone_flow *flow, const char *path, struct rclone_seen *seen);

/* A folder: what is RCLONE_FOLDER or RCLONE_NOTHING.  *ret_children (may be NULL): something is in it that is an item;
 * *ret_marker: the marker is. */
extern enum cloud_result rclone_flow_folder (struct rclone_flow *flow, const char *path, struct rclone_seen *seen,
                                             bool *ret_children, bool *ret_marker);

/* Whatever is there. */
extern enum cloud_result rclone_flow_look (struct rclone_flow *flow, const char *path, struct rclone_seen *seen);

/* CLOUD_EXISTS where something is there. */
extern enum cloud_result rclone_flow_nothing (struct rclone_flow *flow, const char *path);

/* CLOUD_PARENT where the folder that path is in is not there. */
extern enum cloud_result rclone_flow_parent (struct rclone_flow *flow, const char *path);

/* Makes sure that the folder which path is in stays when path goes. */
extern enum cloud_result rclone_flow_keep_parent (struct rclone_flow *flow, const char *path);

/* Whether seen, a file, is the version that the flow expects: CLOUD_OK, CLOUD_GONE, CLOUD_CHANGED or CLOUD_EXISTS. */
extern enum cloud_result rclone_flow_judge (struct rclone_flow *flow, const char *path, const struct rclone_seen *seen);

/* ---- changes that several verbs are made of ---- */

/* Runs a call that may last: where it is about many bytes, as a job that is asked after, so that no silence counts as an
 * end. */
extern enum cloud_result rclone_flow_job (struct rclone_flow *flow, struct rclone_call *call, bool lasts);

/* One file goes to another name; what is there is replaced. */
extern enum cloud_result rclone_flow_move_file (struct rclone_flow *flow, const char *from, const char *to, bool lasts);

/* A file goes, which was looked at before. */
extern enum cloud_result rclone_flow_delete (struct rclone_flow *flow, const char *path);

/* A small file of ours: a marker or a note. */
extern enum cloud_result rclone_flow_mark (struct rclone_flow *flow, const char *folder, const char *name);

/* Removes what is ours without a word. */
extern void rclone_flow_discard (struct rclone *rclone, const char *path);

/* "FOLDER/NAME", malloc'ed. */
extern char *rclone_join (const char *folder, const char *name);

/* The folder that path is in; malloc'ed. */
extern char *rclone_parent (const char *path);

/* Whether an end of this kind leaves open what was done. */
extern bool rclone_is_open_end (enum cloud_result result);

/* Whether an upload's name of this process is in use. */
extern bool rclone_upload_is_under_way (struct rclone *rclone, const char *name);

/* What the remote can do; asked once. */
extern enum cloud_result rclone_learn (struct rclone *rclone, struct rclone_features *features, char **ret_sentence);

/* Tells rclone how fast it may send, where it has not been told. */
extern void rclone_tell_rate (struct rclone *rclone);

/* A folder of this host for files in passing, which outlives the call; NULL with errno. */
extern const char *rclone_staging (struct rclone *rclone);

/* ---- the verbs of cloud.h ---- */

extern void rclone_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink,
                         void *opaque);
extern void rclone_get (struct cloud *cloud, const struct cloud_get *get, const struct cloud_get_sink *sink,
                        void *opaque);
extern void rclone_put (struct cloud *cloud, const struct cloud_put *put, const struct cloud_change_sink *sink,
                        void *opaque);
extern void rclone_mkdir (struct cloud *cloud, const char *path, const struct cloud_change_sink *sink, void *opaque);
extern void rclone_move (struct cloud *cloud, const char *path, bool is_folder, const char *expect, const char *to,
                         const struct cloud_change_sink *sink, void *opaque);
extern void rclone_remove (struct cloud *cloud, const char *path, bool is_folder, const char *expect,
                           const struct cloud_change_sink *sink, void *opaque);
extern void rclone_touch (struct cloud *cloud, const char *path, const char *expect, const struct timespec *mtime,
                          const struct cloud_change_sink *sink, void *opaque);

/* Removes uploads that were broken off, named in a listing of folder; the names are the caller's. */
extern void rclone_sweep (struct rclone *rclone, const char *folder, char *const *names, size_t n);

#endif /* CLOUDSHARE_RCLONE_H */
