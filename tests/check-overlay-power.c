/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests what an overlay promises about losses of power: after any of them a sector holds what it held at the last
 * overlay_sync that returned, or something that was written since; it is absent only if it was never synced.
 *
 * CLOUDSHARE_SEED and CLOUDSHARE_ROUNDS choose what is tried. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lostpower.h"
#include "msg.h"
#include "overlay-private.h"

#define MUST(condition)                                                                                   \
  do {                                                                                                    \
    if (!(condition))                                                                                     \
      ck_abort_msg ("seed %" PRIu64 ", epoch %u, op %u: not so: %s", first_seed, epoch, op, #condition);  \
  } while (0)

/* Three leaves and a part of one; what is written is in few places, so that it meets itself often. */
#define DISK_SECTORS (3 * LEAF_SECTORS + 77)
#define WINDOW 1024u
#define N_SECTORS (4 * WINDOW)

static const uint64_t windows[4] = { 0, LEAF_SECTORS - 128, 2 * LEAF_SECTORS - 512, DISK_SECTORS - WINDOW };

/* What a sector may hold after a loss of power: contents[0] is what was synced, the others came since; NULL: absent. */
struct sector {
  unsigned n, room;
  unsigned acknowledged;       /* how many there were before the change that is under way */
  uint8_t **contents;
};

static struct sector model[N_SECTORS];
static uint64_t seed, first_seed;
static unsigned epoch, op;
static char base[64], dirs[2][96];
static int dir_fd;
static struct overlay *overlay;

static void
quiet (enum msg_level level, const char *text)
{
}

static uint64_t
sector_at (unsigned i)
{
  return windows[i / WINDOW] + i % WINDOW;
}

/* What the disk has below: no sector like another. */
static void
disk_bytes_of (uint64_t sector, uint8_t *bytes)
{
  for (unsigned i = 0; i < SECTOR; ++i)
    bytes[i] = 0xd0 ^ (uint8_t) (sector * 31 + i);
}

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  for (uint64_t at = 0; at < n; at += SECTOR)
    disk_bytes_of ((offset + at) / SECTOR, (uint8_t *) buf + at);
  return 0;
}

static void
push (unsigned i, const uint8_t *bytes)
{
  struct sector *const s = &model[i];

  if (s->n == s->room) {
    s->room = s->room ? 2 * s->room : 4;
    s->contents = realloc (s->contents, s->room * sizeof *s->contents);
  }
  s->contents[s->n] = bytes ? memcpy (malloc (SECTOR), bytes, SECTOR) : NULL;
  s->n++;
}

/* Keeps one of the contents as what was synced. */
static void
settle_on (unsigned i, unsigned which)
{
  struct sector *const s = &model[i];
  uint8_t *const kept = s->contents[which];

  for (unsigned k = 0; k < s->n; ++k)
    if (k != which)
      free (s->contents[k]);
  s->contents[0] = kept;
  s->n = 1;
}

static void
settle_all (void)
{
  for (unsigned i = 0; i < N_SECTORS; ++i) {
    settle_on (i, model[i].n - 1);
    model[i].acknowledged = 1;
  }
}

static void
forget_all (void)
{
  for (unsigned i = 0; i < N_SECTORS; ++i) {
    for (unsigned k = 0; k < model[i].n; ++k)
      free (model[i].contents[k]);
    free (model[i].contents);
  }
  memset (model, 0, sizeof model);
}

/* Bytes of one window, into the model: what a change will have made of them.  bytes NULL: zeros. */
static void
model_change (uint64_t window, uint64_t from, uint64_t n, const uint8_t *bytes, bool whole_sectors_only)
{
  for (unsigned k = 0; k < WINDOW; ++k) {
    const unsigned i = window * WINDOW + k;
    const uint64_t start = k * SECTOR, end = start + SECTOR;
    const uint64_t a = from > start ? from : start, b = from + n < end ? from + n : end;
    uint8_t content[SECTOR];

    if (a >= b || (whole_sectors_only && b - a < SECTOR))
      continue;
    if (model[i].contents[model[i].n - 1])
      memcpy (content, model[i].contents[model[i].n - 1], SECTOR);
    else
      disk_bytes_of (sector_at (i), content);
    if (bytes)
      memcpy (content + (a - start), bytes + (a - from), b - a);
    else
      memset (content + (a - start), 0, b - a);
    push (i, content);
  }
}

/* -1 when the process was killed meanwhile. */
static int
change (void)
{
  static uint8_t bytes[128 * 1024];
  static uint64_t window, near;
  const unsigned kind = random_number (&seed, 10), align = random_number (&seed, 3);
  const uint64_t unit = align == 0 ? 1 : align == 1 ? SECTOR : 4096;
  uint64_t n = 1 + random_number (&seed, random_number (&seed, 16) == 0 ? 100000 : 6000), from;
  int r;

  if (random_number (&seed, 12) == 0) {
    window = random_number (&seed, 4);
    near = random_number (&seed, WINDOW * SECTOR - 20000);
  }
  from = (near + random_number (&seed, 20000)) / unit * unit;
  n = (n + unit - 1) / unit * unit;
  if (from + n > WINDOW * SECTOR)
    n = WINDOW * SECTOR - from;
  for (uint64_t i = 0; i < n; i += 8)
    memcpy (bytes + i, &(uint64_t) { random_number (&seed, UINT64_MAX) }, 8);

  for (unsigned i = 0; i < N_SECTORS; ++i)
    model[i].acknowledged = model[i].n;
  model_change (window, from, n, kind < 7 ? bytes : NULL, kind == 9);
  if (kind < 7)
    r = overlay_write (overlay, bytes, n, windows[window] * SECTOR + from, fill, NULL);
  else if (kind < 9)
    r = overlay_zero (overlay, n, windows[window] * SECTOR + from, fill, NULL);
  else
    r = overlay_trim (overlay, n, windows[window] * SECTOR + from);
  MUST (r == 0 || lostpower_killed ());
  if (!lostpower_killed ())
    for (unsigned i = 0; i < N_SECTORS; ++i)
      model[i].acknowledged = model[i].n;
  return r;
}

/* As if the process had been killed. */
static void
drop (void)
{
  if (overlay == NULL)
    return;
  overlay->failed = EIO;
  overlay->checkpoint_seq = overlay->log_seq;
  overlay_close (overlay);
  overlay = NULL;
}

static int
open_overlay (const char *dir)
{
  if (dir_fd >= 0)
    close (dir_fd);
  dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  MUST (dir_fd >= 0);
  overlay = overlay_open (dir_fd, dir, "v", DISK_SECTORS * SECTOR);
  MUST (overlay != NULL || lostpower_killed ());
  return overlay ? 0 : -1;
}

/* What the overlay has now must be one of what it may have.  After a loss of power, that is what is synced from then
 * on; after a kill, only what was under way may be there or not. */
static void
compare (bool after_power_loss)
{
  for (unsigned i = 0; i < N_SECTORS; ++i) {
    const uint64_t offset = sector_at (i) * SECTOR;
    const struct sector *const s = &model[i];
    uint8_t found[SECTOR];
    bool present;
    unsigned k;

    overlay_run (overlay, SECTOR, offset, &present);
    MUST (overlay_is_present (overlay, SECTOR, offset) == present);
    MUST (!after_power_loss || overlay_is_fresh (overlay, SECTOR, offset) == present);
    if (present)
      MUST (overlay_read (overlay, found, SECTOR, offset) == 0);
    for (k = after_power_loss ? 0 : s->acknowledged - 1; k < s->n; ++k)
      if (present ? s->contents[k] && memcmp (s->contents[k], found, SECTOR) == 0 : s->contents[k] == NULL)
        break;
    if (k == s->n)
      ck_abort_msg ("seed %" PRIu64 ", epoch %u, op %u: sector %u is %s, and none of %u contents", first_seed, epoch,
                    op, i, present ? "present" : "absent", s->n);
    if (after_power_loss)
      settle_on (i, k);
    else if (k < s->n - 1)
      push (i, s->contents[k]);
    model[i].acknowledged = s->n;
  }
}

static void
clean (const char *dir)
{
  char command[512];

  snprintf (command, sizeof command, "rm -rf %s && mkdir %s", dir, dir);
  MUST (system (command) == 0);
}

/* Ends the process at a call, starts it again; that may be killed in turn. */
static void
reopen_killed (const char *dir)
{
  for (unsigned n = random_number (&seed, 4); ; n = 0) {
    drop ();
    lostpower_kill_at (n ? random_number (&seed, 6) : 0);
    if (open_overlay (dir) == 0)
      break;
  }
  lostpower_kill_at (random_number (&seed, 60));
  if (!lostpower_happened ())
    compare (false);
}

/* From power on to power off: dirs[from] is used, dirs[1 - from] is made. */
static void
run_epoch (unsigned from)
{
  const unsigned sync_percent = random_number (&seed, 60), n_ops = 1 + random_number (&seed, 300);
  const bool syncs = random_number (&seed, 2), kills = random_number (&seed, 2);
  char boot_id[32];

  snprintf (boot_id, sizeof boot_id, "boot %u", epoch);
  overlay_set_boot_id (boot_id);
  clean (dirs[1 - from]);
  lostpower_begin (dirs[from]);
  lostpower_at (1 + random_number (&seed, syncs ? 1 + n_ops * sync_percent / 100 : 3 * n_ops), syncs, dirs[1 - from],
                random_number (&seed, UINT64_MAX));

  op = 0;
  MUST (open_overlay (dirs[from]) == 0);
  if (!lostpower_happened ())
    compare (true);
  if (kills)
    lostpower_kill_at (1 + random_number (&seed, 60));
  for (op = 1; op <= n_ops && !lostpower_happened (); ++op) {
    const unsigned dice = random_number (&seed, 100);

    if (dice < sync_percent) {
      if (overlay_sync (overlay) == 0) {
        if (!lostpower_happened ())
          settle_all ();
        MUST (!overlay_needs_sync (overlay));
      }
      else
        MUST (lostpower_killed ());
    }
    else if (dice == 97)
      overlay_settle (overlay, random_number (&seed, 100000), windows[random_number (&seed, 3)] * SECTOR);
    else
      change ();
    if (dice >= 98 || lostpower_killed ())
      reopen_killed (dirs[from]);
  }
  lostpower_kill_at (0);
  if (!lostpower_happened ())
    lostpower_now (dirs[1 - from], random_number (&seed, UINT64_MAX));
  lostpower_end ();
  drop ();
}

static void
make_base (void)
{
  const char *const tmp = getenv ("TMPDIR");

  msg_set_sink (quiet);
  snprintf (base, sizeof base, "%s/check-overlay.XXXXXX", tmp && strlen (tmp) < 32 ? tmp : "/tmp");
  ck_assert_ptr_nonnull (mkdtemp (base));
  dir_fd = -1;
}

static void
remove_base (void)
{
  char command[128];

  close (dir_fd);
  snprintf (command, sizeof command, "rm -rf %s", base);
  ck_assert_int_eq (system (command), 0);
}

/* After a sync that failed, the kernel holds for clean what it could not write: no later sync may say that all is well.
 * */
START_TEST (failed_sync)
{
  uint8_t bytes[SECTOR] = { 1 };

  make_base ();
  MUST (open_overlay (base) == 0);
  lostpower_begin (base);
  MUST (overlay_write (overlay, bytes, SECTOR, 0, fill, NULL) == 0);
  MUST (overlay_sync (overlay) == 0);
  MUST (overlay_write (overlay, bytes, SECTOR, SECTOR, fill, NULL) == 0);
  lostpower_fail_syncs (EIO);
  MUST (overlay_sync (overlay) == -1 && errno == EIO);
  lostpower_fail_syncs (0);
  MUST (overlay_sync (overlay) == -1 && errno == EIO);
  MUST (overlay_needs_sync (overlay));
  MUST (overlay_read (overlay, bytes, SECTOR, SECTOR) == 0 && bytes[0] == 1);
  lostpower_end ();
  overlay_close (overlay);
  overlay = NULL;
  remove_base ();
}
END_TEST

START_TEST (power_losses)
{
  const char *const chosen = getenv ("CLOUDSHARE_SEED"), *const rounds = getenv ("CLOUDSHARE_ROUNDS");
  const unsigned n_rounds = rounds ? (unsigned) atoi (rounds) : 30;

  make_base ();
  first_seed = chosen ? strtoull (chosen, NULL, 0) : (uint64_t) getpid () * 1000003 + 1;
  printf ("seed %llu\n", (unsigned long long) first_seed);

  for (unsigned round = 0; round < n_rounds; ++round) {
    seed = first_seed + round;
    for (unsigned k = 0; k < 2; ++k) {
      snprintf (dirs[k], sizeof dirs[k], "%s/%u", base, k);
      clean (dirs[k]);
    }
    forget_all ();
    for (unsigned i = 0; i < N_SECTORS; ++i)
      push (i, NULL);
    /* The first time without losses: an overlay that was not made yet is another matter. */
    overlay_set_boot_id ("boot");
    MUST (open_overlay (dirs[0]) == 0);
    overlay_close (overlay);
    for (epoch = 0; epoch < 6; ++epoch)
      run_epoch (epoch & 1);
  }
  forget_all ();
  remove_base ();
}
END_TEST

int
main (void)
{
  Suite *const suite = suite_create ("overlay-power");
  TCase *const tcase = tcase_create ("power");
  SRunner *runner;
  int failed;

  tcase_set_timeout (tcase, 600);
  tcase_add_test (tcase, failed_sync);
  tcase_add_test (tcase, power_losses);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
