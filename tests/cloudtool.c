/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at a remote through cloud.h, for tests and for people who want to know what a provider makes of a server.
 *
 *   cloudtool REMOTE [KEY=VALUE...] probe
 *   cloudtool REMOTE [KEY=VALUE...] list [PATH]
 *   cloudtool REMOTE [KEY=VALUE...] stat PATH
 *   cloudtool REMOTE [KEY=VALUE...] get PATH [OFFSET LENGTH]
 *   cloudtool REMOTE [KEY=VALUE...] tree
 *   cloudtool REMOTE [KEY=VALUE...] wait MILLISECONDS
 *   cloudtool REMOTE [KEY=VALUE...] put PATH FILE
 *   cloudtool REMOTE [KEY=VALUE...] mkdir PATH
 *   cloudtool REMOTE [KEY=VALUE...] move PATH TO
 *   cloudtool REMOTE [KEY=VALUE...] remove PATH
 *   cloudtool REMOTE [KEY=VALUE...] touch PATH SECONDS
 *   cloudtool REMOTE [KEY=VALUE...] putmany PATH N       N small files, parallel= at once
 *
 * Keys: user, password, token, rclone-config, rclone-url, endpoint, region, access-key, secret-key, path-style, cainfo, sslverify, connections, timeout; and for get: version=TOKEN and size=N
 * (default: as a stat says), parallel=N pieces at once, discard=true to count the bytes instead of writing them.  For
 * what changes the remote version=TOKEN is the one that is replaced (put: by default none; the others: as a stat
 * says), with folder=true where it is a folder's; mtime=SECONDS and checksum=SHA1:HEX belong to put, and cut=N makes
 * it fail after so many bytes; ranges=OFFSET+LENGTH,OFFSET+LENGTH... with base=SIZE is what differs from the version
 * that it replaces, whose size that is, and whole=false says that nothing else can be read.  All verbs but wait begin with a probe, as a program would, unless noprobe=true says
 * otherwise.  debug=true shows what providers say to developers; stop=N stops the provider after so many
 * milliseconds.  upload-rate=N and download-rate=N are limits, bytes a second; chunk-size=N belongs to put.
 *
 * Items are printed as lines of tab-separated fields: path, "folder" or "file", size, seconds since 1970, token, id,
 * checksum, MIME type, "settled" or "fresh"; "-" where there is none, and bytes below 0x20 as \xNN; after a change
 * the item as it is then, where the remote tells.  What a provider leaves out goes to standard error.  Exit status:
 * the enum cloud_result, or 64 for a wrong command line.
 */

#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "cloud.h"
#include "msg.h"

/* Ends one or several requests that run at once. */
struct waiting {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  unsigned pending;
  enum cloud_result result;   /* the first that is not CLOUD_OK */
};

#define WAITING_INITIALIZER { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 1, CLOUD_OK }

static void
waiting_done (struct waiting *waiting, enum cloud_result result, const char *sentence)
{
  LOCK_FOR_SCOPE (&waiting->lock);
  if (result != CLOUD_OK && waiting->result == CLOUD_OK) {
    waiting->result = result;
    fprintf (stderr, "cloudtool: %s: %s\n", cloud_result_name (result), sentence ? sentence : "(no sentence)");
  }
  if (--waiting->pending == 0)
    pthread_cond_signal (&waiting->cond);
}

static enum cloud_result
waiting_wait (struct waiting *waiting)
{
  LOCK_FOR_SCOPE (&waiting->lock);
  while (waiting->pending > 0)
    pthread_cond_wait (&waiting->cond, &waiting->lock);
  return waiting->result;
}

static void
print_field (const char *text)
{
  if (text == NULL || *text == '\0')
    text = "-";
  for (; *text; text++)
    if ((unsigned char) *text < 0x20)
      printf ("\\x%02x", *text);
    else
      putchar (*text);
}

static void
print_item (const char *folder, const struct cloud_item *item)
{
  if (*folder) {
    print_field (folder);
    if (*item->name)
      putchar ('/');
  }
  if (*item->name || *folder == '\0')
    print_field (item->name);
  printf ("\t%s\t%llu\t%lld\t", item->is_folder ? "folder" : "file", (unsigned long long) item->size,
          (long long) item->mtime.tv_sec);
  print_field (item->token);
  putchar ('\t');
  print_field (item->id);
  putchar ('\t');
  print_field (item->checksum);
  putchar ('\t');
  print_field (item->mime);
  printf ("\t%s\n", item->settled ? "settled" : "fresh");
}

/* ---- list, stat, tree ---- */

struct listing {
  struct waiting waiting;
  const char *path;
  char **folders;             /* found in it, for tree */
  size_t nr_folders;
  char *token;                /* of the last item, for get */
  uint64_t size;
  bool is_folder;
  bool quiet;
};

static void
list_item (void *opaque, const struct cloud_item *item)
{
  struct listing *listing = opaque;

  free (listing->token);
  listing->token = item->token ? strdup (item->token) : NULL;
  listing->size = item->size;
  listing->is_folder = item->is_folder;
  if (!listing->quiet)
    print_item (listing->path, item);
  if (item->is_folder && *item->name) {
    listing->folders = realloc (listing->folders, (listing->nr_folders + 1) * sizeof *listing->folders);
    if (listing->folders == NULL || asprintf (&listing->folders[listing->nr_folders++], "%s%s%s", listing->path,
                                              *listing->path ? "/" : "", item->name) == -1)
      abort ();
  }
}

static void
list_left_out (void *opaque, const char *name, const char *reason)
{
  const struct listing *listing = opaque;

  fprintf (stderr, "cloudtool: left out: %s%s%s: %s\n", listing->path, *listing->path ? "/" : "", name, reason);
}

static void
list_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct listing *listing = opaque;

  waiting_done (&listing->waiting, result, sentence);
}

static const struct cloud_list_sink list_sink = {
  .item = list_item,
  .left_out = list_left_out,
  .done = list_done,
};

/* The folders found are added to *folders. */
static enum cloud_result
list (struct cloud *cloud, const char *path, int depth, struct listing *listing)
{
  *listing = (struct listing) { .waiting = WAITING_INITIALIZER, .path = path, .quiet = listing->quiet };
  cloud->ops->list (cloud, path, depth, &list_sink, listing);
  return waiting_wait (&listing->waiting);
}

static void
listing_clear (struct listing *listing)
{
  for (size_t i = 0; i < listing->nr_folders; i++)
    free (listing->folders[i]);
  free (listing->folders);
  free (listing->token);
}

static enum cloud_result
tree (struct cloud *cloud, const char *path)
{
  struct listing listing = { .quiet = false };
  enum cloud_result result = list (cloud, path, 1, &listing);

  for (size_t i = 0; i < listing.nr_folders && result == CLOUD_OK; i++)
    result = tree (cloud, listing.folders[i]);
  listing_clear (&listing);
  return result;
}

/* ---- get ---- */

/* One piece, in memory until all are there, so that they are written in order. */
struct piece {
  struct waiting *waiting;
  uint64_t offset, length, got;
  char *bytes;                /* or NULL: discard */
};

static int
get_data (void *opaque, const void *buf, size_t n, uint64_t offset)
{
  struct piece *piece = opaque;

  if (offset != piece->offset + piece->got || n > piece->length - piece->got) {
    fprintf (stderr, "cloudtool: the provider gave bytes out of order\n");
    return -1;
  }
  if (piece->bytes)
    memcpy (piece->bytes + piece->got, buf, n);
  piece->got += n;
  return 0;
}

static void
get_done (void *opaque, enum cloud_result result, const char *sentence)
{
  struct piece *piece = opaque;

  if (result == CLOUD_OK && piece->got != piece->length) {
    result = CLOUD_LOCAL;
    sentence = "the provider gave fewer bytes than it said";
  }
  waiting_done (piece->waiting, result, sentence);
}

static const struct cloud_get_sink get_sink = {
  .data = get_data,
  .done = get_done,
};

static enum cloud_result
get (struct cloud *cloud, struct cloud_get get_all, unsigned parallel, bool discard)
{
  struct waiting waiting = WAITING_INITIALIZER;
  struct piece *pieces = calloc (parallel, sizeof *pieces);
  const uint64_t step = (get_all.length + parallel - 1) / parallel;
  enum cloud_result result;

  if (pieces == NULL)
    abort ();
  for (unsigned i = 0; i < parallel && i * step < get_all.length; i++) {
    struct cloud_get piece_get = get_all;

    pieces[i].waiting = &waiting;
    pieces[i].offset = piece_get.offset = get_all.offset + i * step;
    pieces[i].length = piece_get.length = get_all.length - i * step < step ? get_all.length - i * step : step;
    pieces[i].bytes = discard ? NULL : malloc (pieces[i].length);
    if (pieces[i].bytes == NULL && !discard)
      abort ();
    {
      LOCK_FOR_SCOPE (&waiting.lock);
      waiting.pending++;
    }
    cloud->ops->get (cloud, &piece_get, &get_sink, &pieces[i]);
  }
  /* The count began at one, for us. */
  waiting_done (&waiting, CLOUD_OK, NULL);
  result = waiting_wait (&waiting);

  for (unsigned i = 0; i < parallel; i++) {
    if (!discard)
      fwrite (pieces[i].bytes, 1, pieces[i].got, stdout);
    free (pieces[i].bytes);
  }
  free (pieces);
  return result;
}

/* ---- changes ---- */

struct changing {
  struct waiting *waiting;
  const char *path;            /* NULL: print nothing */
  FILE *file;
  uint64_t cut;                /* reading fails there */
  const struct cloud_put *only;        /* reading fails outside of its ranges; NULL: nowhere */
};

static bool
is_within_ranges (const struct cloud_put *put, uint64_t offset, size_t n)
{
  for (size_t i = 0; i < put->n_ranges; i++)
    if (offset >= put->ranges[i].offset && offset + n <= put->ranges[i].offset + put->ranges[i].length)
      return true;
  return false;
}

static int
put_read (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct changing *changing = opaque;

  if (offset + n > changing->cut || (changing->only && !is_within_ranges (changing->only, offset, n)))
    return -1;
  if (changing->file == NULL) {
    memset (buf, 'x', n);
    return 0;
  }
  return fseeko (changing->file, offset, SEEK_SET) == 0 && fread (buf, 1, n, changing->file) == n ? 0 : -1;
}

static void
change_done (void *opaque, enum cloud_result result, const char *sentence, const struct cloud_item *now)
{
  struct changing *changing = opaque;

  if (result == CLOUD_OK && now && changing->path)
    print_item (changing->path, now);
  waiting_done (changing->waiting, result, sentence);
}

static const struct cloud_change_sink change_sink = { .done = change_done };

static enum cloud_result
put_file (struct cloud *cloud, const char *path, const char *from, const struct cloud_put *like, uint64_t cut)
{
  struct waiting waiting = WAITING_INITIALIZER;
  struct changing changing = { .waiting = &waiting, .path = path, .file = fopen (from, "rb"), .cut = cut };
  struct cloud_put put = *like;
  enum cloud_result result;

  if (changing.file == NULL) {
    perror (from);
    return CLOUD_LOCAL;
  }
  fseeko (changing.file, 0, SEEK_END);
  put.path = path;
  put.size = ftello (changing.file);
  put.read = put_read;
  if (put.n_ranges > 0 && !put.has_whole)
    changing.only = &put;
  cloud->ops->put (cloud, &put, &change_sink, &changing);
  result = waiting_wait (&waiting);
  fclose (changing.file);
  return result;
}

static enum cloud_result
put_many (struct cloud *cloud, const char *folder, unsigned n, unsigned parallel)
{
  enum cloud_result result = CLOUD_OK;

  for (unsigned i = 0; i < n && result == CLOUD_OK;) {
    struct waiting waiting = WAITING_INITIALIZER;
    struct changing changing = { .waiting = &waiting, .cut = UINT64_MAX };

    waiting.pending = parallel < n - i ? parallel : n - i;
    for (unsigned end = i + waiting.pending; i < end; i++) {
      CLEANUP_FREE char *path = NULL;
      struct cloud_put put = { .size = 1000, .read = put_read };

      if (asprintf (&path, "%s/many-%06u", folder, i) == -1)
        abort ();
      put.path = path;
      cloud->ops->put (cloud, &put, &change_sink, &changing);
    }
    result = waiting_wait (&waiting);
  }
  return result;
}

/* ---- the command line ---- */

#define USAGE 64

/* Stops the provider while a change is under way. */
static struct {
  struct cloud *cloud;
  unsigned ms;
  pthread_t thread;
  bool started;
} stopping;

static void *
stop_later (void *opaque)
{
  usleep (stopping.ms * 1000);
  cloud_stop (stopping.cloud);
  return NULL;
}

static void
print_message (enum msg_level level, const char *text)
{
  fprintf (stderr, "cloudtool: %s\n", text);
}

struct options {
  struct cloud_config config;
  const char *version, *size, *mtime, *checksum, *cut, *ranges, *base;
  unsigned parallel, stop, upload_rate, download_rate, chunk_size;
  bool discard, noprobe, folder, debug, path_style, whole;
};

/* OFFSET+LENGTH,OFFSET+LENGTH...  The result is the caller's. */
static struct cloud_range *
take_ranges (const char *text, size_t *ret_n)
{
  struct cloud_range *ranges = NULL;
  size_t n = 0;

  while (text && *text) {
    char *end;

    ranges = realloc (ranges, (n + 1) * sizeof *ranges);
    if (ranges == NULL)
      abort ();
    ranges[n].offset = strtoull (text, &end, 10);
    ranges[n++].length = *end == '+' ? strtoull (end + 1, &end, 10) : 0;
    text = *end == ',' ? end + 1 : "";
  }
  *ret_n = n;
  return ranges;
}

static int
take_option (struct options *options, const char *arg)
{
  const struct {
    const char *key, **text;
    unsigned *number;
    bool *flag;
  } keys[] = {
    { "user", &options->config.user },
    { "password", &options->config.password },
    { "token", &options->config.token },
    { "cainfo", &options->config.cainfo },
    { "rclone-config", &options->config.rclone_config },
    { "rclone-url", &options->config.rclone_url },
    { "endpoint", &options->config.endpoint },
    { "region", &options->config.region },
    { "access-key", &options->config.access_key },
    { "secret-key", &options->config.secret_key },
    { "version", &options->version },
    { "size", &options->size },
    { "mtime", &options->mtime },
    { "checksum", &options->checksum },
    { "cut", &options->cut },
    { "ranges", &options->ranges },
    { "base", &options->base },
    { "connections", NULL, &options->config.connections },
    { "timeout", NULL, &options->config.timeout_s },
    { "parallel", NULL, &options->parallel },
    { "stop", NULL, &options->stop },
    { "upload-rate", NULL, &options->upload_rate },
    { "chunk-size", NULL, &options->chunk_size },
    { "download-rate", NULL, &options->download_rate },
    { "sslverify", NULL, NULL, &options->config.sslverify },
    { "discard", NULL, NULL, &options->discard },
    { "noprobe", NULL, NULL, &options->noprobe },
    { "folder", NULL, NULL, &options->folder },
    { "debug", NULL, NULL, &options->debug },
    { "path-style", NULL, NULL, &options->path_style },
    { "whole", NULL, NULL, &options->whole },
  };

  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    const size_t len = strlen (keys[i].key);

    if (strncmp (arg, keys[i].key, len) != 0 || arg[len] != '=')
      continue;
    if (keys[i].text)
      *keys[i].text = arg + len + 1;
    else if (keys[i].number)
      *keys[i].number = strtoul (arg + len + 1, NULL, 10);
    else
      *keys[i].flag = strcmp (arg + len + 1, "true") == 0;
    return 0;
  }
  return -1;
}

/* move, remove and touch: of the version given, or of the one that is there. */
static enum cloud_result
change (struct cloud *cloud, const struct options *options, const char *verb, const char *path, const char *argument)
{
  struct waiting waiting = WAITING_INITIALIZER;
  struct changing changing = { .waiting = &waiting, .path = *verb == 'm' ? argument : path };
  struct listing listing = { .quiet = true };
  const char *expect = options->version;
  bool is_folder = options->folder;
  enum cloud_result result;

  if (expect == NULL && !is_folder) {
    result = list (cloud, path, 0, &listing);
    if (result != CLOUD_OK) {
      listing_clear (&listing);
      return result;
    }
    is_folder = listing.is_folder;
    expect = listing.is_folder ? NULL : listing.token;
  }
  if (strcmp (verb, "move") == 0)
    cloud->ops->move (cloud, path, is_folder, expect, argument, &change_sink, &changing);
  else if (strcmp (verb, "remove") == 0)
    cloud->ops->remove (cloud, path, is_folder, expect, &change_sink, &changing);
  else {
    const struct timespec mtime = { .tv_sec = atoll (argument) };

    cloud->ops->touch (cloud, path, expect, &mtime, &change_sink, &changing);
  }
  result = waiting_wait (&waiting);
  listing_clear (&listing);
  return result;
}

static int
run (struct cloud *cloud, const struct options *options, int argc, char **argv)
{
  const char *path = argc > 1 ? argv[1] : "";
  struct listing listing = { .quiet = false };
  enum cloud_result result;

  if (!options->noprobe && strcmp (argv[0], "wait") != 0) {
    CLEANUP_FREE char *sentence = NULL;

    result = cloud->ops->probe (cloud, &sentence);
    if (result != CLOUD_OK) {
      fprintf (stderr, "cloudtool: %s: %s\n", cloud_result_name (result), sentence);
      return result;
    }
  }
  if (strcmp (argv[0], "probe") == 0) {
    printf ("%s\t%s\n", cloud->ops->name, cloud->identity);
    return CLOUD_OK;
  }
  if (strcmp (argv[0], "list") == 0 || (strcmp (argv[0], "stat") == 0 && argc > 1)) {
    result = list (cloud, path, argv[0][0] == 'l' ? 1 : 0, &listing);
    listing_clear (&listing);
    return result;
  }
  if (strcmp (argv[0], "tree") == 0)
    return tree (cloud, path);
  if (strcmp (argv[0], "wait") == 0 && argc > 1) {
    const enum cloud_wait wait = cloud->ops->wait (cloud, atoi (path));

    puts (wait == CLOUD_WAIT_TIMEOUT ? "timeout" : wait == CLOUD_WAIT_CHANGED ? "changed" : "woken");
    return CLOUD_OK;
  }
  if (stopping.ms > 0)
    stopping.started = pthread_create (&stopping.thread, NULL, stop_later, NULL) == 0;
  if (strcmp (argv[0], "put") == 0 && argc > 2) {
    struct cloud_put put = {
      .expect = options->version,
      .mtime.tv_sec = options->mtime ? atoll (options->mtime) : 0,
      .checksum = options->checksum,
      .base_size = options->base ? strtoull (options->base, NULL, 10) : 0,
      .has_whole = options->whole,
    };
    CLEANUP_FREE struct cloud_range *ranges = take_ranges (options->ranges, &put.n_ranges);

    put.ranges = ranges;

    return put_file (cloud, path, argv[2], &put, options->cut ? strtoull (options->cut, NULL, 10) : UINT64_MAX);
  }
  if (strcmp (argv[0], "putmany") == 0 && argc > 2)
    return put_many (cloud, path, atoi (argv[2]), options->parallel);
  if (strcmp (argv[0], "mkdir") == 0 && argc > 1) {
    struct waiting waiting = WAITING_INITIALIZER;
    struct changing changing = { .waiting = &waiting, .path = path };

    cloud->ops->mkdir (cloud, path, &change_sink, &changing);
    return waiting_wait (&waiting);
  }
  if ((strcmp (argv[0], "move") == 0 || strcmp (argv[0], "touch") == 0) && argc > 2)
    return change (cloud, options, argv[0], path, argv[2]);
  if (strcmp (argv[0], "remove") == 0 && argc > 1)
    return change (cloud, options, argv[0], path, NULL);
  if (strcmp (argv[0], "get") == 0 && argc > 1) {
    struct cloud_get what = { .path = path, .token = options->version, .urgent = true };

    if (options->version == NULL || options->size == NULL) {
      listing.quiet = true;
      result = list (cloud, path, 0, &listing);
      if (result == CLOUD_OK && listing.token == NULL) {
        fprintf (stderr, "cloudtool: %s is a folder\n", path);
        result = CLOUD_LOCAL;
      }
      if (result != CLOUD_OK) {
        listing_clear (&listing);
        return result;
      }
    }
    if (what.token == NULL)
      what.token = listing.token;
    what.size = options->size ? strtoull (options->size, NULL, 10) : listing.size;
    what.offset = argc > 2 ? strtoull (argv[2], NULL, 10) : 0;
    what.length = argc > 3 ? strtoull (argv[3], NULL, 10) : what.size - what.offset;
    result = what.length > 0 ? get (cloud, what, options->parallel, options->discard) : CLOUD_OK;
    listing_clear (&listing);
    return result;
  }
  fprintf (stderr, "cloudtool: the first comment in cloudtool.c says how to use this\n");
  return USAGE;
}

int
main (int argc, char **argv)
{
  struct options options = {
    .config = { .sslverify = true, .connections = 16, .timeout_s = 30 },
    .parallel = 1,
    .whole = true,
  };
  struct cloud *cloud;
  int i, result;

  for (i = 2; i < argc && take_option (&options, argv[i]) == 0; i++)
    ;
  if (i >= argc || options.parallel == 0) {
    fprintf (stderr, "cloudtool: the first comment in cloudtool.c says how to use this\n");
    return USAGE;
  }
  if (options.debug)
    msg_set_sink (print_message);
  options.config.remote = argv[1];
  if (options.path_style)
    options.config.path_style = CLOUD_PATH_STYLE_YES;
  options.config.chunk_size = options.chunk_size;
  cloud = cloud_open (&options.config);
  if (cloud == NULL)
    return CLOUD_LOCAL;
  if (options.upload_rate || options.download_rate)
    cloud->ops->set_rates (cloud, options.upload_rate, options.download_rate);
  stopping.cloud = cloud;
  stopping.ms = options.stop;
  result = cloud_start (cloud) == -1 ? CLOUD_LOCAL : run (cloud, &options, argc - i, argv + i);
  if (stopping.started)
    pthread_join (stopping.thread, NULL);
  else
    cloud_stop (cloud);
  cloud_close (cloud);
  if (fflush (stdout) == EOF)
    return CLOUD_LOCAL;
  return result;
}
