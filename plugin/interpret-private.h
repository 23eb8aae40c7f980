/* SPDX-License-Identifier: BSD-3-Clause */
/* What the interpreter's files share, in the order in which a run goes through them: interpret.c (the run itself),
 * interpret-scan.c (what was written), interpret-tree.c with interpret-folders.c and interpret-known.c (what folders say now,
 * and said), interpret-match.c (both beside each other), interpret-orphans.c (bytes of nobody), interpret-judge.c with
 * interpret-timers.c (what is ready), interpret-stage.c (its bytes), interpret-apply.c with interpret-cloud.c (the
 * transaction), interpret-remember.c (afterwards).  Nobody else includes this. */

#ifndef CLOUDSHARE_INTERPRET_PRIVATE_H
#define CLOUDSHARE_INTERPRET_PRIVATE_H

#include "geometry.h"
#include "idmap.h"
#include "interpret.h"
#include "kin.h"
#include "match.h"
#include "parse.h"
#include "ready.h"
#include "seen.h"

struct cache_file;
struct db;
struct journal;

/* An entry as it was last interpreted. */
struct known {
  uint16_t *name;              /* malloc'ed */
  uint16_t units;
  bool is_folder, contiguous;
  bool seen;                   /* it has a row (seen.h) */
  bool data_dirty;             /* fresh sectors within its bytes */
  bool dead;                   /* to be swept */
  uint32_t first;
  uint64_t size, valid;
  uint32_t raw_mtime;
  size_t index;                /* in the run's arrays */
  int64_t item;
  int64_t version;             /* -1: the generation's, not looked up yet */
  struct parsed_runs runs;     /* of its bytes; n 0: not known yet */
};

/* A folder that was looked at.  Bounded by what guests touch. */
struct folder {
  int64_t key;                 /* the item, or a negative number while it has none */
  bool live;                   /* some living folder names it */
  bool junk;
  bool dirty;                  /* to be parsed again */
  bool torn;                   /* what it says now is not whole: nothing may be thought gone from it */
  bool broken;                 /* nor can its clusters be told: be the volume whole or not */
  bool sealed;                 /* what it said is not on record: nothing of it is interpreted */
  bool parsed;
  bool just_parsed;            /* in this run */
  bool is_root;
  bool visited;                /* in this pass */
  bool gone;                   /* its end is journalled */
  bool in_generation;          /* the generation has it: ends of its entries must be put on record */
  bool will_be;                /* it gets its item in this run */
  int64_t created;             /* the item that the transaction under way made for it, or 0 */
  int64_t parent;              /* key; 0: the root's */
  uint32_t first;              /* where it stands now */
  uint64_t bytes;              /* exFAT: its entry's size; FAT32: UINT64_MAX */
  bool contiguous;
  struct parsed_runs runs;
  struct parsed_dir now;
  bool *is_junk;               /* of each entry of now, by its name */
  bool *asleep;                /* of each entry of now: leads to a folder of the generation that needs no look */
  uint64_t asleep_ends;        /* interp->ends when that was found out */
  struct known **known;
  size_t n_known, known_room;
  size_t n_dead;               /* of them, to be swept */
  size_t n_left;               /* of them, that have left in the transaction under way */
  struct idmap by_name;        /* hash of a known entry's name -> index */
  struct idmap by_item;
  bool names_stale, items_stale;       /* to be made anew */
};

/* How long a difference has looked the same. */
struct timer {
  uint64_t place;              /* hash of folder and name; 0: empty */
  uint64_t signature;
  uint64_t since_ms;
  bool used;                   /* in this run */
  struct parsed_runs runs;     /* whose bytes belong to it */
};

struct interp {
  struct engine *engine;
  struct db *db;
  struct disk *disk;
  struct overlay *overlay;
  struct map *map;
  const struct geometry *g;
  int64_t view;
  char *name;
  const struct junk *junk;
  uint64_t settle_ms;
  unsigned write_back_s, max_delete;

  struct parse *base, *parse;  /* the generation's bytes; what the guest sees */
  bool loaded;                 /* the first run after a start has found what was there */
  bool has_watch;
  int64_t root;                /* the item of the root directory; 0: not looked up yet */
  struct folder **folders;
  size_t n_folders, folders_room;
  size_t n_entries;            /* in now of all folders */
  struct idmap by_key;         /* key -> index */
  struct idmap by_first;       /* first cluster -> index, of those that are not gone; made anew in each pass */
  uint64_t ends;               /* how many folders were journalled as gone */
  int64_t last_temporary;      /* keys of folders without an item count down */
  uint64_t last_metadata_ms;   /* when metadata was last seen to have changed */
  bool suspect;                /* power was lost: that the volume is clean says nothing before it is marked so again */
  bool committed;              /* the volume is whole, as of its last change */

  struct owner {               /* clusters of files that a guest allocated, and of folders that were looked at; ascending */
    uint32_t first, count;
    struct known *known;       /* one of both */
    struct folder *folder;
  } *owners;
  size_t n_owners, owners_room;
  bool owners_stale;           /* to be collected anew */

  struct timer *timers;
  size_t n_timers, timers_room;

  struct range { uint64_t start, bytes; } *metadata;   /* fresh sectors of this run that are no file's bytes */
  size_t n_metadata, metadata_room;

  struct stale {               /* fresh clusters that are free, ascending, and since when they are */
    uint64_t start, bytes, since_ms;
  } *stale;
  size_t n_stale;
  uint64_t stale_ms;           /* when that was looked at */
  struct parsed_runs *left;    /* of entries that went before they were ready: whoever gets these clusters did not write them */
  size_t n_left, left_room;

  struct said *said;
  bool doubtful;               /* what is in memory is not what was committed: it is to be loaded anew */
  bool complained;             /* that bytes can't be staged was said, and none could since */
};

/* A difference that is ready. */
struct action {
  enum ready_claim claim;
  size_t now, known;           /* indexes into the run's arrays; MATCH_NONE */
  size_t from;                 /* WHAT_REPLACED */
  struct parsed_runs runs;     /* content: borrowed from the run */
  uint64_t size, valid;
  bool staged;
  bool same;                   /* the bytes are the known version's */
  bool dropped;                /* it changed under the run */
  uint64_t entry_hash;         /* of its entry's bytes, before they were staged */
  bool done;
  uint64_t position;
  struct kin_stage over;       /* origin 0: it was copied whole, and these are its sums */
  char sha1[41], sha256[65];
  int64_t item, version;       /* results */
  uint64_t former_size, former_valid;   /* CLAIM_MOVED: what is known of the content */
  uint32_t former_mtime;
};

/* That a known entry leaves its place in this run; that the transaction has done so; that it was found that it can't. */
#define LEAVES 1
#define LEFT   2
#define STAYS  3

/* One run's arrays: now[i] comes from now_folder[i]->now.entries[now_entry[i]]. */
struct run {
  struct interp *interp;
  const struct interpret_now *time;
  struct match_entry *known, *now;
  struct folder **known_folder, **now_folder;
  struct known **known_entry;
  struct parsed_entry **now_entry;
  size_t n_known, n_now;
  struct parsed_run *held;     /* interpret-orphans.c: clusters of entries and folders, ascending, disjoint */
  size_t n_held, held_room;
  bool held_known;
  int orphans;                 /* whether there are any: 0 not looked yet, 1 yes, 2 no */
  uint8_t *leaves;             /* of known entries: LEAVES, LEFT, STAYS, or 0 */
  struct parsed_runs *chains;  /* of now entries that were looked at: run_chain */
  uint8_t *found;              /* enum parsed_chain + 1 of these, else 0 */
  struct action *actions;
  size_t n_actions, actions_room;
  uint64_t pending;
  uint64_t next_ms;
  bool journalled;
  bool failed;                 /* some bytes could not be staged */
  bool give_way;               /* no move waits for another any more */
};

/* interpret.c */
extern int read_now (void *interp, void *buf, size_t n, uint64_t offset);
extern bool runs_hit (struct interp *interp, const struct parsed_runs *runs);
extern void runs_settle (struct interp *interp, const struct parsed_runs *runs, uint64_t bytes);
extern void range_of (const struct geometry *g, const struct parsed_run *run, uint64_t from, uint64_t to,
                      uint64_t *ret_offset, uint64_t *ret_bytes);

/* interpret-scan.c */
extern int scan_fresh (struct interp *interp, bool *ret_metadata);
extern int scan_present (struct interp *interp);       /* after a start: all folders with anything written */

/* interpret-known.c */
extern struct known *known_find (struct folder *folder, const uint16_t *name, uint16_t units);
extern struct known *known_by_item (struct folder *folder, int64_t item);
extern struct known *known_add (struct folder *folder, const uint16_t *name, uint16_t units);      /* its item is to be set */
extern void known_free (struct known *known);
extern void known_drop (struct folder *folder, struct known *known);   /* is found until known_sweep frees it */
extern void known_sweep (struct folder *folder);
extern int known_version (struct interp *interp, struct known *known, int64_t *ret);
extern int known_version_locked (struct interp *interp, struct known *known, int64_t *ret);
extern int known_runs (struct interp *interp, struct known *known);

/* The cache's object of its bytes, to be unpinned.  1, 0 if it has none, -1. */
extern int known_pin (struct interp *interp, struct known *known, struct cache_file **ret, uint64_t *ret_size);

/* interpret-folders.c */
extern struct folder *folder_find (struct interp *interp, int64_t key);
extern struct folder *folder_load (struct interp *interp, int64_t key);       /* an item's; NULL after one message, or if
                                                                                 the guest has no such folder (errno ENOENT) */
extern struct folder *folder_add (struct interp *interp, int64_t key);        /* one without known entries */
extern int folder_parse (struct interp *interp, struct folder *folder);
extern void folder_free (struct folder *folder);

/* A folder has another key now; once all have theirs, folders_follow tells those within them. */
extern int folder_rekey (struct interp *interp, struct folder *folder, int64_t key);
extern void folders_follow (struct interp *interp);

/* The folder that holds an item's known entry, and the entry.  1 found, 0 not. */
extern int known_locate (struct interp *interp, int64_t item, int64_t folder_hint, struct folder **ret_folder,
                         struct known **ret);

/* interpret-tree.c: finds out which folders live, and parses what is dirty or new on the way. */
extern int settle_folders (struct interp *interp);

/* interpret-match.c */
extern int collect_entries (struct run *run);
extern int load_vanished (struct run *run);    /* 1: some were loaded, collect again */
extern int run_chain (struct run *run, size_t now, enum parsed_chain *ret);    /* fills run->chains[now] */
extern void run_free (struct run *run);

/* interpret-orphans.c */
extern int cluster_is_released (struct run *run, uint32_t cluster, bool *ret);         /* free, or in use by an entry of now */
extern int has_orphans (struct run *run, bool *ret);
extern void stale_begin (struct interp *interp, uint64_t now_ms);
extern void stale_settle (struct interp *interp, uint64_t now_ms);
extern int stale_collect (struct interp *interp, uint64_t now_ms);
extern int left_settle (struct run *run);
extern int settle_free (struct interp *interp);

/* interpret-timers.c */
extern void timers_begin (struct interp *interp, uint64_t now_ms);
extern int timers_rebuild (struct interp *interp, size_t room);
extern int timer_look (struct run *run, int64_t folder, const struct match_entry *entry, uint64_t signature,
                       const struct parsed_runs *runs, uint64_t *ret_ms);

/* interpret-judge.c */
extern int judge_all (struct run *run);
extern void look_at_bytes (struct interp *interp, const struct parsed_runs *runs, uint64_t from, uint64_t to,
                           bool *ret_written, bool *ret_present);

/* interpret-stage.c */
extern int stage_all (struct run *run);
extern bool has_content (const struct action *action);

/* interpret-cloud.c */
extern int64_t folder_item (const struct folder *folder);

/* The same as the journal goes by: of a root directory that shows several folders, the first of these. */
extern int64_t folder_home (struct interp *interp, const struct folder *folder);

/* Whether an entry is one of several folders in the root directory, which stay in the cloud as they are; said once. */
extern bool is_fixed (struct interp *interp, int64_t item);

/* The guest made that here, or moved it here: the disk shows it, also where its rule would not. */
extern int keep_here (struct interp *interp, struct journal *journal, int64_t item);
extern int cloud_name (struct interp *interp, const struct match_entry *entry, char *ret);
extern void shown_as (struct interp *interp, const struct known *known, char *ret);
extern int item_exists (struct interp *interp, int64_t item);
extern int64_t ensure_folder (struct run *run, struct journal *journal, struct folder *folder);

/* interpret-apply.c */
extern int apply_actions (struct run *run);
extern size_t usurped_by (const struct run *run, const struct action *action);

/* interpret-remember.c */
extern int remember_actions (struct run *run);

#endif /* CLOUDSHARE_INTERPRET_PRIVATE_H */
