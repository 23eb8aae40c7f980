/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests an overlay against a model that is an array of bytes, and beside many threads, and on a full disk.  Losses of
 * power: check-overlay-power.c.
 *
 * CLOUDSHARE_SEED and CLOUDSHARE_ROUNDS choose what is tried. */

#include <config.h>

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "fsutil.h"
#include "msg.h"
#include "overlay-private.h"

#define MUST(condition)                                                                                   \
  do {                                                                                                    \
    if (!(condition))                                                                                     \
      ck_abort_msg ("seed %" PRIu64 ", op %u: not so: %s (%s)", first_seed, op, #condition, strerror (errno)); \
  } while (0)

#define MIB (UINT64_C (1) << 20)
#define GIB (UINT64_C (1) << 30)
#define TIB (UINT64_C (1) << 40)

static char dir[64], said[512];
static int dir_fd;
static struct overlay *overlay;
static uint64_t seed, first_seed;
static unsigned op;

static uint64_t
random_below (uint64_t *state, uint64_t below)
{
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return (*state * UINT64_C (2685821657736338717) >> 16) % below;
}

static unsigned
rounds (unsigned normal)
{
  const char *const chosen = getenv ("CLOUDSHARE_ROUNDS");

  return chosen ? (unsigned) atoi (chosen) : normal;
}

static void
keep_said (enum msg_level level, const char *text)
{
  snprintf (said, sizeof said, "%s", text);
}

static void
setup (void)
{
  const char *const tmp = getenv ("TMPDIR"), *const chosen = getenv ("CLOUDSHARE_SEED");

  snprintf (dir, sizeof dir, "%s/check-overlay.XXXXXX", tmp && strlen (tmp) < 32 ? tmp : "/tmp");
  ck_assert_ptr_nonnull (mkdtemp (dir));
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ck_assert_int_ge (dir_fd, 0);
  msg_set_sink (keep_said);
  first_seed = chosen ? strtoull (chosen, NULL, 0) : (uint64_t) getpid () * 1000003 + 1;
  seed = first_seed;
}

static void
teardown (void)
{
  char command[128];

  if (overlay)
    overlay_close (overlay);
  overlay = NULL;
  close (dir_fd);
  snprintf (command, sizeof command, "rm -rf %s", dir);
  ck_assert_int_eq (system (command), 0);
}

/* As if the process had been killed. */
static void
drop (void)
{
  overlay->failed = EIO;
  overlay->checkpoint_seq = overlay->log_seq;
  overlay_close (overlay);
  overlay = NULL;
}

static void
open_overlay (uint64_t disk_bytes)
{
  overlay = overlay_open (dir_fd, dir, "v", disk_bytes);
  if (overlay == NULL)
    ck_abort_msg ("%s", said);
}

/* ---- against a model ---- */

/* Two leaves and a part of one. */
#define DISK_SECTORS (2 * LEAF_SECTORS + 777)
#define DISK_BYTES (DISK_SECTORS * SECTOR)

static uint8_t *bytes_model;                 /* what the guest sees: the disk's own bytes, and its changes */
static uint8_t present[DISK_SECTORS], fresh[DISK_SECTORS], watched[DISK_SECTORS];
static bool watching;
static unsigned fills;

static uint8_t
disk_byte (uint64_t offset)
{
  return offset * 7 + offset / 512 * 13 + 1;
}

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  MUST (offset % SECTOR == 0 && n % SECTOR == 0);
  for (uint64_t s = offset / SECTOR; s < (offset + n) / SECTOR; ++s)
    MUST (!present[s]);
  for (size_t i = 0; i < n; ++i)
    ((uint8_t *) buf)[i] = disk_byte (offset + i);
  fills++;
  return 0;
}

static uint64_t
choose_offset (void)
{
  /* Near the ends of leaves, mostly. */
  static const uint64_t near[] = { 0, LEAF_SECTORS * SECTOR, 2 * LEAF_SECTORS * SECTOR, DISK_BYTES };
  const uint64_t at = near[random_below (&seed, 4)], by = random_below (&seed, 40000);

  if (random_below (&seed, 20) == 0)
    return random_below (&seed, DISK_BYTES);
  return random_below (&seed, 2) ? (at >= by ? at - by : 0) : (at + by < DISK_BYTES ? at + by : at - by);
}

static uint64_t
choose_size (uint64_t offset)
{
  const unsigned dice = random_below (&seed, 30);
  const uint64_t n = dice == 0 ? LEAF_SECTORS * SECTOR + random_below (&seed, LEAF_SECTORS * SECTOR)
                     : dice < 5 ? random_below (&seed, 200000) : random_below (&seed, 5000);

  return n < DISK_BYTES - offset ? n : DISK_BYTES - offset;
}

static void
mark_model (uint64_t n, uint64_t offset, bool makes_fresh)
{
  for (uint64_t s = offset / SECTOR; n > 0 && s <= (offset + n - 1) / SECTOR; ++s) {
    present[s] = 1;
    fresh[s] = makes_fresh;
    watched[s] |= watching;
  }
}

static void
change (void)
{
  static uint8_t buf[200000];
  const unsigned kind = random_below (&seed, 10), align = random_below (&seed, 3);
  const uint64_t unit = align == 0 ? 1 : align == 1 ? SECTOR : 4096, clock = overlay_clock (overlay);
  uint64_t offset = choose_offset () / unit * unit, n = choose_size (offset) / unit * unit;

  if (kind < 6) {
    n = n < sizeof buf ? n : sizeof buf;
    for (uint64_t i = 0; i < n; ++i)
      buf[i] = random_below (&seed, 256);
    MUST (overlay_write (overlay, buf, n, offset, fill, NULL) == 0);
    memcpy (bytes_model + offset, buf, n);
    mark_model (n, offset, true);
  }
  else if (kind < 8) {
    MUST (overlay_zero (overlay, n, offset, fill, NULL) == 0);
    memset (bytes_model + offset, 0, n);
    mark_model (n, offset, true);
  }
  else {
    const uint64_t from = (offset + SECTOR - 1) / SECTOR * SECTOR, to = (offset + n) / SECTOR * SECTOR;

    MUST (overlay_trim (overlay, n, offset) == 0);
    n = to > from ? to - from : 0;
    memset (bytes_model + from, 0, n);
    mark_model (n, from, false);
  }
  MUST (n == 0 || overlay_clock (overlay) > clock);
  MUST (n == 0 || (overlay_needs_sync (overlay) && overlay_last_write_ms (overlay) > 0));
}

static void
interpret (void)
{
  const bool all = random_below (&seed, 8) == 0;
  const uint64_t offset = all ? 0 : choose_offset (), n = all ? DISK_BYTES : choose_size (offset);
  bool all_fresh = true, hit = false;

  switch (random_below (&seed, 3)) {
  case 0:
    if (watching)
      overlay_watch_end (overlay);
    else
      MUST (overlay_watch_begin (overlay) == 0);
    watching = !watching;
    memset (watched, 0, sizeof watched);
    break;
  case 1:
    overlay_settle (overlay, n, offset);
    for (uint64_t s = offset / SECTOR; n > 0 && s <= (offset + n - 1) / SECTOR; ++s)
      fresh[s] &= watched[s];
    break;
  case 2:
    for (uint64_t s = offset / SECTOR; n > 0 && s <= (offset + n - 1) / SECTOR; ++s) {
      hit |= watched[s];
      all_fresh &= fresh[s];
    }
    MUST (overlay_watch_hit (overlay, n, offset) == hit);
    MUST (overlay_is_fresh (overlay, n, offset) == all_fresh);
  }
}

static void
compare_runs (const uint8_t *model, bool (*next) (const struct overlay *, uint64_t, uint64_t *, uint64_t *))
{
  uint64_t at = 0, start, n;

  for (uint64_t s = 0; s < DISK_SECTORS;) {
    uint64_t end = s;

    if (!model[s]) {
      s++;
      continue;
    }
    while (end < DISK_SECTORS && model[end])
      end++;
    MUST (next (overlay, at, &start, &n));
    MUST (start == s * SECTOR && n == (end - s) * SECTOR);
    at = start + n;
    s = end;
  }
  MUST (!next (overlay, at, &start, &n));
}

static void
compare_bytes (uint64_t n, uint64_t offset)
{
  uint8_t *const found = malloc (n + 1);

  for (uint64_t at = 0, run; at < n; at += run) {
    bool is_present;

    run = overlay_run (overlay, n - at, offset + at, &is_present);
    MUST (run > 0 && run <= n - at);
    MUST (overlay_is_present (overlay, run, offset + at) == is_present);
    for (uint64_t s = (offset + at) / SECTOR; s <= (offset + at + run - 1) / SECTOR; ++s)
      MUST (present[s] == is_present);
    MUST (at + run == n || present[(offset + at + run) / SECTOR] != is_present);
    if (is_present)
      MUST (overlay_read (overlay, found + at, run, offset + at) == 0);
    else
      for (uint64_t i = at; i < at + run; ++i)
        found[i] = disk_byte (offset + i);
  }
  MUST (memcmp (found, bytes_model + offset, n) == 0);
  free (found);
}

static void
compare_all (void)
{
  uint64_t n = 0;

  compare_runs (present, overlay_next_present);
  compare_runs (fresh, overlay_next_fresh);
  compare_bytes (DISK_BYTES, 0);
  for (uint64_t s = 0; s < DISK_SECTORS; ++s)
    n += present[s];
  MUST (overlay_bytes (overlay) <= n * SECTOR);
  MUST (overlay_is_empty (overlay) == (n == 0));
}

START_TEST (model)
{
  const unsigned n_ops = 100 * rounds (12);

  printf ("seed %llu\n", (unsigned long long) seed);
  bytes_model = malloc (DISK_BYTES);
  for (uint64_t i = 0; i < DISK_BYTES; ++i)
    bytes_model[i] = disk_byte (i);
  open_overlay (DISK_BYTES);
  MUST (overlay_is_empty (overlay) && !overlay_needs_sync (overlay) && overlay_last_write_ms (overlay) == 0);

  for (op = 1; op <= n_ops; ++op) {
    const unsigned dice = random_below (&seed, 200);
    const uint64_t offset = choose_offset (), n = choose_size (offset);

    if (dice < 120)
      change ();
    else if (dice < 160)
      interpret ();
    else if (dice < 195)
      compare_bytes (n < 300000 ? n : 300000, offset);
    else if (dice < 198) {
      MUST (overlay_sync (overlay) == 0);
      MUST (!overlay_needs_sync (overlay));
    }
    else {
      compare_all ();
      if (dice == 198)
        drop ();
      else
        overlay_close (overlay);
      open_overlay (DISK_BYTES);
      watching = false;
      memset (watched, 0, sizeof watched);
      compare_all ();
    }
  }
  compare_all ();
  MUST (fills > 0);

  /* All that is durable now, after a restart of the host: as it was, and all of it fresh. */
  overlay_close (overlay);
  overlay_set_boot_id ("another");
  open_overlay (DISK_BYTES);
  memcpy (fresh, present, sizeof fresh);
  compare_all ();
  free (bytes_model);
}
END_TEST

/* ---- threads ---- */

#define LANES 4
#define THREAD_SECTORS 4096u

/* Each writer has its own quarter of each sector, so every write must be there at the end, whoever else wrote the
 * sector. */
struct writer {
  pthread_t thread;
  unsigned lane;
  uint64_t seed;
  uint8_t last[THREAD_SECTORS];
};

static atomic_bool writers_done;
static pthread_barrier_t side_by_side;

static int
fill_lanes (void *opaque, void *buf, size_t n, uint64_t offset)
{
  memset (buf, 0xee, n);
  return 0;
}

static void *
write_lane (void *arg)
{
  struct writer *const w = arg;
  const unsigned width = SECTOR / LANES;
  uint8_t buf[SECTOR];

  for (unsigned i = 0; i < 2 * THREAD_SECTORS; ++i) {
    /* All through the absent sectors side by side, then anywhere. */
    const unsigned s = i < THREAD_SECTORS ? i : random_below (&w->seed, THREAD_SECTORS);
    const uint8_t value = 1 + random_below (&w->seed, 200);

    memset (buf, value, width);
    if (i < THREAD_SECTORS && i % 16 == 0)
      pthread_barrier_wait (&side_by_side);
    if (overlay_write (overlay, buf, width, s * SECTOR + w->lane * width, fill_lanes, NULL) == -1)
      abort ();
    w->last[s] = value;
  }
  return NULL;
}

static void *
sync_often (void *arg)
{
  while (!atomic_load (&writers_done))
    if (overlay_sync (overlay) == -1)
      abort ();
  return NULL;
}

static uint8_t interpreted[THREAD_SECTORS][SECTOR];

static void *
settle_often (void *arg)
{
  uint64_t state = 77;
  bool last;

  /* The last time round there are no writers any more, so something is settled, however busy the machine is. */
  do {
    last = atomic_load (&writers_done);
    overlay_watch_begin (overlay);
    for (unsigned i = 0; i < 200; ++i) {
      const unsigned s = random_below (&state, THREAD_SECTORS);
      uint8_t buf[SECTOR];

      if (!overlay_is_present (overlay, SECTOR, s * SECTOR))
        continue;
      if (overlay_read (overlay, buf, SECTOR, s * SECTOR) == -1)
        abort ();
      if (overlay_watch_hit (overlay, SECTOR, s * SECTOR))
        continue;
      memcpy (interpreted[s], buf, SECTOR);
      overlay_settle (overlay, SECTOR, s * SECTOR);
    }
    overlay_watch_end (overlay);
  } while (!last);
  return NULL;
}

START_TEST (threads)
{
  static struct writer writers[LANES];
  pthread_t syncer, settler;
  unsigned settled = 0;

  open_overlay (4 * MIB);
  pthread_barrier_init (&side_by_side, NULL, LANES);
  pthread_create (&syncer, NULL, sync_often, NULL);
  pthread_create (&settler, NULL, settle_often, NULL);
  for (unsigned i = 0; i < LANES; ++i) {
    writers[i].lane = i;
    writers[i].seed = seed * 5 + i + 1;
    memset (writers[i].last, 0xee, THREAD_SECTORS);
    pthread_create (&writers[i].thread, NULL, write_lane, &writers[i]);
  }
  for (unsigned i = 0; i < LANES; ++i)
    pthread_join (writers[i].thread, NULL);
  atomic_store (&writers_done, true);
  pthread_join (syncer, NULL);
  pthread_join (settler, NULL);
  pthread_barrier_destroy (&side_by_side);

  for (op = 0; op < THREAD_SECTORS; ++op) {
    uint8_t expected[SECTOR], found[SECTOR];

    if (!overlay_is_present (overlay, SECTOR, op * SECTOR))
      continue;
    for (unsigned i = 0; i < LANES; ++i)
      memset (expected + i * SECTOR / LANES, writers[i].last[op], SECTOR / LANES);
    MUST (overlay_read (overlay, found, SECTOR, op * SECTOR) == 0);
    MUST (memcmp (expected, found, SECTOR) == 0);
    /* What is not fresh has been interpreted as it is now. */
    if (!overlay_is_fresh (overlay, SECTOR, op * SECTOR)) {
      settled++;
      MUST (memcmp (interpreted[op], found, SECTOR) == 0);
    }
  }
  MUST (settled > 0);
}
END_TEST

/* ---- rare things ---- */

START_TEST (full_disk)
{
  const uint64_t disk = 64 * MIB;
  static uint8_t value[64 * MIB / 4096];
  uint8_t buf[4096], found[4096];
  unsigned refused = 0, kept = 0;

  if ((unshare (CLONE_NEWNS) == -1 && unshare (CLONE_NEWUSER | CLONE_NEWNS) == -1)
      || mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1
      || mount ("none", dir, "tmpfs", 0, "size=3m") == -1) {
    printf ("full_disk is left out: no mount namespaces here\n");
    return;
  }
  close (dir_fd);
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  open_overlay (disk);
  /* A tmpfs writes in place: without room, a store into a mapped page would be a SIGBUS. */
  MUST (sysconf (_SC_PAGESIZE) != 4096 || overlay->live_map);
  MUST (overlay_sync (overlay) == 0);

  for (op = 1; op <= 4000; ++op) {
    const unsigned page = random_below (&seed, disk / 4096);
    const uint8_t new = 1 + random_below (&seed, 255);

    memset (buf, new, sizeof buf);
    if (overlay_write (overlay, buf, sizeof buf, page * UINT64_C (4096), fill_lanes, NULL) == 0)
      value[page] = new;
    else {
      MUST (errno == ENOSPC);
      MUST (!overlay_is_present (overlay, 1, page * UINT64_C (4096)));
      refused++;
    }
    if (op % 100 == 0)
      MUST (overlay_sync (overlay) == 0 || errno == ENOSPC);
    if (op % 1000 == 0) {
      drop ();
      open_overlay (disk);
    }
  }
  MUST (refused > 0);
  for (unsigned page = 0; page < disk / 4096; ++page) {
    MUST (overlay_is_present (overlay, 4096, page * UINT64_C (4096)) == (value[page] != 0));
    if (value[page] == 0)
      continue;
    kept++;
    memset (buf, value[page], sizeof buf);
    MUST (overlay_read (overlay, found, 4096, page * UINT64_C (4096)) == 0 && memcmp (buf, found, 4096) == 0);
  }
  MUST (kept > 100);
  MUST (overlay_bytes (overlay) == kept * 4096);

  /* What the guest gives back makes room. */
  MUST (overlay_trim (overlay, disk / 2, 0) == 0);
  MUST (overlay_bytes (overlay) < kept * 4096);
  MUST (overlay_write (overlay, buf, sizeof buf, disk - 4096, fill_lanes, NULL) == 0);
  MUST (overlay_sync (overlay) == 0);
  MUST (!overlay_needs_sync (overlay));
  overlay_close (overlay);
  overlay = NULL;
  close (dir_fd);
  MUST (umount (dir) == 0);
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}
END_TEST

START_TEST (large_disk)
{
  const uint64_t disk = 64 * TIB, places[] = { 0, 8 * TIB - 4096, 8 * TIB, 40 * TIB + 512, 64 * TIB - 512 };
  uint8_t buf[8192], found[8192];
  uint64_t start, n, began;

  open_overlay (disk);
  for (unsigned i = 0; i < sizeof places / sizeof places[0]; ++i) {
    const uint64_t size = disk - places[i] < sizeof buf ? disk - places[i] : sizeof buf;

    memset (buf, 'a' + i, sizeof buf);
    MUST (overlay_write (overlay, buf, size, places[i], NULL, NULL) == 0);
  }
  MUST (overlay_sync (overlay) == 0);
  /* A guest that formats trims all there is. */
  for (uint64_t at = TIB; at < 2 * TIB; at += 4 * GIB)
    MUST (overlay_trim (overlay, 4 * GIB, at) == 0);
  MUST (overlay_bytes (overlay) < MIB);

  for (unsigned pass = 0; pass < 3; ++pass) {
    MUST (overlay_is_present (overlay, TIB, TIB) && !overlay_is_present (overlay, TIB + 1, TIB));
    MUST (overlay_next_present (overlay, 512 * GIB, &start, &n) && start == TIB && n == TIB);
    began = monotonic_ms ();
    MUST (overlay_next_present (overlay, 50 * TIB, &start, &n) && start == 64 * TIB - 512 && n == 512);
    if (pass < 2)
      MUST (overlay_next_fresh (overlay, 9 * TIB, &start, &n) && start == 40 * TIB + 512 && n == sizeof buf);
    MUST (monotonic_ms () - began < 100);
    MUST (overlay_read (overlay, found, 8192, 8 * TIB - 4096) == 0 && found[4095] == 'b' && found[4096] == 'c');
    if (pass == 0)
      drop ();
    else {
      overlay_close (overlay);
      overlay_set_boot_id ("another");
    }
    open_overlay (disk);
  }
}
END_TEST

START_TEST (identity)
{
  uint8_t buf[SECTOR] = { 1 };
  int fd;

  MUST (!overlay_exists (dir_fd, "v"));
  open_overlay (MIB);
  MUST (overlay_exists (dir_fd, "v"));
  MUST (overlay_write (overlay, buf, SECTOR, 0, NULL, NULL) == 0);
  errno = 0;
  MUST (overlay_write (overlay, buf, SECTOR, MIB, NULL, NULL) == -1 && errno == EINVAL);
  MUST (overlay_trim (overlay, SECTOR, UINT64_MAX - 5) == -1 && errno == EINVAL);
  overlay_close (overlay);

  /* Not for another disk, not what is damaged. */
  overlay = overlay_open (dir_fd, dir, "v", 2 * MIB);
  MUST (overlay == NULL && strstr (said, "1048576"));
  MUST (unlinkat (dir_fd, "v.data", 0) == 0);
  overlay = overlay_open (dir_fd, dir, "v", MIB);
  MUST (overlay == NULL && strstr (said, "v.data"));
  fd = openat (dir_fd, "v.saved", O_WRONLY | O_CLOEXEC);
  MUST (pwrite (fd, "x", 1, 0) == 1);
  close (fd);
  overlay = overlay_open (dir_fd, dir, "v", MIB);
  MUST (overlay == NULL && strstr (said, "v.saved"));

  MUST (overlay_remove (dir_fd, "v") == 0);
  MUST (!overlay_exists (dir_fd, "v"));
  MUST (overlay_remove (dir_fd, "v") == 0);
  open_overlay (2 * MIB);
  MUST (overlay_is_empty (overlay));
}
END_TEST

/* Processes may come and go before the guest does something about it. */
START_TEST (lost_power)
{
  uint8_t buf[SECTOR] = { 1 };

  overlay_set_boot_id ("first");
  open_overlay (MIB);
  MUST (!overlay_lost_power (overlay));
  MUST (overlay_write (overlay, buf, SECTOR, 0, NULL, NULL) == 0 && overlay_sync (overlay) == 0);
  overlay_close (overlay);
  open_overlay (MIB);
  MUST (!overlay_lost_power (overlay));
  for (unsigned i = 0; i < 2; ++i) {
    drop ();
    overlay_set_boot_id (i ? "third" : "second");
    for (unsigned k = 0; k < 3; ++k) {
      open_overlay (MIB);
      MUST (overlay_lost_power (overlay));
      /* Nothing in these says that it is whole: not a write, not a flush, not an end in order. */
      MUST (overlay_write (overlay, buf, SECTOR, (i * 3 + k + 1) * SECTOR, NULL, NULL) == 0);
      MUST (overlay_sync (overlay) == 0);
      if (k == 0)
        drop ();
      else
        overlay_close (overlay);
    }
    open_overlay (MIB);
  }
  MUST (overlay_trust (overlay) == 0 && !overlay_lost_power (overlay));
  overlay_close (overlay);
  open_overlay (MIB);
  MUST (!overlay_lost_power (overlay));
  drop ();
  overlay_set_boot_id ("fourth");
  open_overlay (MIB);
  MUST (overlay_lost_power (overlay));
}
END_TEST

static int
fill_away (void *opaque, void *buf, size_t n, uint64_t offset)
{
  errno = EHOSTDOWN;
  return -1;
}

/* The disk's own bytes cannot be had: nothing of the write is there. */
/* How many bytes are present, and which of them have their room on the host. */
START_TEST (room)
{
  static uint8_t buf[65536];

  open_overlay (MIB);
  memset (buf, 7, sizeof buf);
  MUST (overlay_present_bytes (overlay) == 0 && !overlay_has_room (overlay, 1, 0));
  MUST (overlay_write (overlay, buf, sizeof buf, 0, fill_away, NULL) == 0);
  MUST (overlay_trim (overlay, 65536, 131072) == 0);
  MUST (overlay_present_bytes (overlay) == 131072 && overlay_bytes (overlay) == 65536);
  MUST (overlay_has_room (overlay, 65536, 0) && !overlay_has_room (overlay, 65537, 0));
  MUST (overlay_is_present (overlay, 65536, 131072) && !overlay_has_room (overlay, 65536, 131072));
  MUST (overlay_write (overlay, buf, 4096, 131072, fill_away, NULL) == 0);
  MUST (overlay_present_bytes (overlay) == 131072 && overlay_has_room (overlay, 4096, 131072));
  drop ();
  open_overlay (MIB);
  MUST (overlay_present_bytes (overlay) == 131072);
  overlay_discard (overlay);
  overlay = NULL;
  MUST (overlay_remove (dir_fd, "v") == 0 && !overlay_exists (dir_fd, "v"));
}
END_TEST

/* The process ended after it had noted that a sector is fresh, and before it noted that it is present. */
START_TEST (half_a_pair)
{
  uint8_t buf[SECTOR] = { 1 };
  uint64_t start, n, *words;

  open_overlay (MIB);
  MUST (overlay_write (overlay, buf, sizeof buf, 5 * SECTOR, fill_away, NULL) == 0);
  MUST (overlay_write (overlay, buf, sizeof buf, 9 * SECTOR, fill_away, NULL) == 0);
  words = overlay->live_map;
  if (words) {
    MUST (words[0] == words[1]);
    words[0] &= ~htole64 (UINT64_C (1) << 9);
    drop ();
    open_overlay (MIB);
    MUST (overlay_next_fresh (overlay, 0, &start, &n) && start == 5 * SECTOR && n == SECTOR);
    MUST (!overlay_next_fresh (overlay, 6 * SECTOR, &start, &n) && !overlay_is_present (overlay, 1, 9 * SECTOR));
  }
}
END_TEST

START_TEST (fill_fails)
{
  uint8_t buf[2 * SECTOR] = { 1 };

  open_overlay (MIB);
  errno = 0;
  MUST (overlay_write (overlay, buf, sizeof buf, 5, fill_away, NULL) == -1 && errno == EHOSTDOWN);
  MUST (overlay_zero (overlay, 10, 5, fill_away, NULL) == -1 && errno == EHOSTDOWN);
  MUST (overlay_is_empty (overlay));
  MUST (overlay_trim (overlay, 10, 5) == 0 && overlay_is_empty (overlay));
  MUST (overlay_write (overlay, buf, SECTOR, SECTOR, fill_away, NULL) == 0);
  MUST (overlay_write (overlay, buf, 10, SECTOR + 5, fill_away, NULL) == 0);
}
END_TEST

START_TEST (crc)
{
  /* RFC 3720, B.4; and the well-known check value. */
  uint8_t buf[32] = { 0 };

  ck_assert_uint_eq (crc32c (0, "123456789", 9), 0xe3069283);
  ck_assert_uint_eq (crc32c (0, buf, 32), 0x8a9136aa);
  memset (buf, 0xff, 32);
  ck_assert_uint_eq (crc32c (0, buf, 32), 0x62a8ab43);
  ck_assert_uint_eq (crc32c (crc32c (0, "1234", 4), "56789", 5), 0xe3069283);
}
END_TEST

int
main (void)
{
  Suite *const suite = suite_create ("overlay");
  TCase *const tcase = tcase_create ("overlay"), *const threads_case = tcase_create ("threads");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 600);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, model);
  tcase_add_test (tcase, full_disk);
  tcase_add_test (tcase, large_disk);
  tcase_add_test (tcase, identity);
  tcase_add_test (tcase, lost_power);
  tcase_add_test (tcase, room);
  tcase_add_test (tcase, half_a_pair);
  tcase_add_test (tcase, fill_fails);
  tcase_add_test (tcase, crc);
  suite_add_tcase (suite, tcase);
  /* Apart, for thread sanitizers: CK_RUN_CASE=threads. */
  tcase_set_timeout (threads_case, 600);
  tcase_add_checked_fixture (threads_case, setup, teardown);
  tcase_add_test (threads_case, threads);
  suite_add_tcase (suite, threads_case);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
