/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: requests.  The overlay first, then the disk at the view's generation. */

#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "disk.h"
#include "exfat.h"
#include "fat32.h"
#include "format.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "view-private.h"

/* ---- reading ---- */

/* io is held, and the bytes are the volume's own: nothing is asked of the cloud. */
static int
read_held (struct view *view, void *to, size_t n, uint64_t offset)
{
  bool present;

  return overlay_run (view->overlay, n, offset, &present) == n && present
           ? overlay_read (view->overlay, to, n, offset)
           : disk_read (view->views->disk, view->map, to, n, offset);
}

/* A read may wait for the cloud: without the lock, so that others do not wait for it.  What is read then is the disk below,
 * which does not change: where a write comes in between, the read was first. */
int
view_read (struct view *view, void *buf, size_t n, uint64_t offset)
{
  struct map *map = NULL;
  uint64_t moves = 0;
  size_t done = 0;
  int r = 0;

  while (r == 0 && done < n) {
    size_t len = n - done;
    bool present = false;

    pthread_rwlock_rdlock (&view->io);
    if (map == NULL || moves != view->moves) {
      /* Never a part of what it showed before and a part of what it shows now. */
      map_unref (map);
      map = map_ref (view->map);
      moves = view->moves;
      done = 0;
      len = n;
    }
    if (view->overlay && !overlay_is_empty (view->overlay))
      len = overlay_run (view->overlay, len, offset + done, &present);
    if (present)
      r = overlay_read (view->overlay, (char *) buf + done, len, offset + done);
    pthread_rwlock_unlock (&view->io);
    if (!present)
      r = disk_read (view->views->disk, map, (char *) buf + done, len, offset + done);
    done += len;
  }
  map_unref (map);
  return r;
}

void
view_prefetch (struct view *view, size_t n, uint64_t offset)
{
  struct map *map;

  pthread_rwlock_rdlock (&view->io);
  map = map_ref (view->map);
  pthread_rwlock_unlock (&view->io);
  disk_prefetch (view->views->disk, map, n, offset);
  map_unref (map);
}

uint64_t
view_run (struct view *view, uint64_t n, uint64_t offset, bool *ret_hole)
{
  bool present = false;

  pthread_rwlock_rdlock (&view->io);
  if (view->overlay && !overlay_is_empty (view->overlay))
    n = overlay_run (view->overlay, n, offset, &present);
  if (present)
    *ret_hole = false;
  else
    n = disk_run (view->views->disk, view->map, n, offset, ret_hole);
  pthread_rwlock_unlock (&view->io);
  return n;
}

/* ---- writing ---- */

static int
make_overlay (struct view *view)
{
  struct views *views = view->views;
  struct overlay *overlay = NULL;
  char file[VIEW_OVERLAY_NAME];
  int64_t id;
  bool made;
  LOCK_FOR_SCOPE (&view->making);

  pthread_mutex_lock (&views->lock);
  made = view->overlay != NULL;
  /* A view that is not on record has no name for its file, and would be lost by a restart. */
  if (!made && view->id == 0)
    view_save (views, view);
  id = view->id;
  pthread_mutex_unlock (&views->lock);
  if (made)
    return 0;

  /* Its files are made durable: without the lock.  The view stays as it is, because it is connected and has no overlay. */
  if (id != 0) {
    view_overlay_name (id, file);
    overlay = overlay_open (views->dir_fd, views->dir, file, disk_geometry (views->disk)->disk_bytes);
  }
  if (overlay == NULL) {
    errno = ENOSPC;
    return -1;
  }
  pthread_mutex_lock (&views->lock);
  pthread_rwlock_wrlock (&view->io);
  view->overlay = overlay;
  atomic_store (&view->counted, overlay_present_bytes (overlay));
  pthread_rwlock_unlock (&view->io);
  pthread_mutex_unlock (&views->lock);
  return 0;
}

/* Takes io for reading, with an overlay there. */
static int
begin_write (struct view *view)
{
  for (;;) {
    pthread_rwlock_rdlock (&view->io);
    if (view->overlay)
      return 0;
    pthread_rwlock_unlock (&view->io);
    if (make_overlay (view) == -1)
      return -1;
  }
}

/* Early and clean: before the host's disk is full, and before anything of the request is done. */
static int
check_room (struct view *view, uint64_t n, uint64_t offset)
{
  struct views *views = view->views;

  const uint64_t wanted = atomic_load_explicit (&views->dirty, memory_order_relaxed) + n;

  if (wanted <= atomic_load_explicit (&views->most_dirty, memory_order_relaxed) &&
      (views->config.max_dirty == 0 ||
       atomic_load_explicit (views->config.all_dirty, memory_order_relaxed) + n <= views->config.max_dirty))
    return 0;
  if (overlay_is_present (view->overlay, n, offset) && overlay_has_room (view->overlay, n, offset))
    return 0;
  errno = ENOSPC;
  return -1;
}

void
view_look_at_mark (struct view *view)
{
  const struct geometry *g = disk_geometry (view->views->disk);
  uint8_t flags;
  le32 entry;
  bool dirty;

  if (g->format->raw)
    return;
  if (g->format->has_aliases) {
    if (read_held (view, &flags, 1, g->volume_start + offsetof (struct fat32_boot, dirty)) == -1 ||
        read_held (view, &entry, sizeof entry, g->fat_start + sizeof entry) == -1)
      return;
    dirty = (flags & 1) || (le32_to_cpu (entry) & FAT32_CLEAN) == 0;
  }
  else {
    if (read_held (view, &flags, 1, g->volume_start + offsetof (struct exfat_boot, flags)) == -1)
      return;
    dirty = flags & 2;
  }
  if (atomic_exchange (&view->was_dirty, dirty) && !dirty)
    atomic_store (&view->marked, true);
}

static bool
touches_sector (uint64_t n, uint64_t offset, uint64_t sector)
{
  return offset < sector + SECTOR_SIZE && offset + n > sector;
}

/* Adds to views->dirty what became present since it was asked last; room: it takes room on the host.  look_at_host sets
 * right what is not quite so. */
static void
count_present (struct view *view, bool room)
{
  const uint64_t now = overlay_present_bytes (view->overlay);
  uint64_t before = atomic_load_explicit (&view->counted, memory_order_relaxed);

  while (before < now)
    if (atomic_compare_exchange_weak (&view->counted, &before, now)) {
      if (room) {
        atomic_fetch_add_explicit (&view->views->dirty, now - before, memory_order_relaxed);
        atomic_fetch_add_explicit (view->views->config.all_dirty, now - before, memory_order_relaxed);
      }
      break;
    }
}

static void
end_write (struct view *view, uint64_t n, uint64_t offset, bool room)
{
  struct views *views = view->views;
  const struct geometry *g = disk_geometry (views->disk);

  count_present (view, room);
  if (touches_sector (n, offset, g->volume_start) ||
      (g->format->has_aliases && touches_sector (n, offset, g->fat_start)))
    view_look_at_mark (view);
  pthread_rwlock_unlock (&view->io);
  /* In that order after the overlay's clock moved: the thread sets active back, and then reads the clock. */
  if (!atomic_load (&view->active) || atomic_load_explicit (&view->marked, memory_order_relaxed)) {
    atomic_store (&view->active, true);
    pthread_mutex_lock (&views->lock);
    if (view->unread_since == 0)
      view->unread_since = time (NULL);
    writes_wake (views);
    pthread_mutex_unlock (&views->lock);
  }
}

/* The disk's bytes of the first and the last sector of a change, as far as these are needed: read before the view's lock is
 * taken, since that may wait for the cloud. */
struct edges {
  unsigned n;
  uint64_t moves;              /* of the view, when they were read */
  uint64_t offset[2];
  uint8_t bytes[2][SECTOR_SIZE];
};

static int
find_edge (const struct edges *edges, uint64_t offset)
{
  for (unsigned i = 0; i < edges->n; ++i)
    if (edges->offset[i] == offset)
      return i;
  return -1;
}

static int
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  const struct edges *edges = opaque;
  const int i = n == SECTOR_SIZE ? find_edge (edges, offset) : -1;

  if (i == -1) {
    errno = EIO;
    return -1;
  }
  memcpy (buf, edges->bytes[i], n);
  return 0;
}

/* Whether a sector of which only a part is written has to be read first.  io is held. */
static bool
lacks_edge (const struct view *view, const struct edges *edges, uint64_t at, uint64_t *ret_sector)
{
  *ret_sector = at - at % SECTOR_SIZE;
  return at % SECTOR_SIZE != 0 && !overlay_is_present (view->overlay, 1, at) && find_edge (edges, *ret_sector) == -1;
}

/* As begin_write, and the edges are there. */
static int
begin_change (struct view *view, uint64_t n, uint64_t offset, struct edges *edges)
{
  for (edges->n = 0;;) {
    struct map *map;
    uint64_t sector;
    int r;

    if (begin_write (view) == -1)
      return -1;
    if (edges->n == 0 || edges->moves != view->moves) {
      edges->n = 0;
      edges->moves = view->moves;
    }
    if (!lacks_edge (view, edges, offset, &sector) && !lacks_edge (view, edges, offset + n, &sector))
      return 0;
    map = map_ref (view->map);
    pthread_rwlock_unlock (&view->io);
    r = disk_read (view->views->disk, map, edges->bytes[edges->n], SECTOR_SIZE, sector);
    map_unref (map);
    if (r == -1)
      return -1;
    edges->offset[edges->n++] = sector;
  }
}

int
view_write (struct view *view, const void *buf, size_t n, uint64_t offset)
{
  struct edges edges;
  int r;

  if (begin_change (view, n, offset, &edges) == -1)
    return -1;
  r = check_room (view, n, offset);
  if (r == 0)
    r = overlay_write (view->overlay, buf, n, offset, fill, &edges);
  end_write (view, n, offset, true);
  return r;
}

int
view_zero (struct view *view, uint64_t n, uint64_t offset)
{
  struct edges edges;
  int r;

  if (begin_change (view, n, offset, &edges) == -1)
    return -1;
  r = overlay_zero (view->overlay, n, offset, fill, &edges);
  end_write (view, n, offset, false);
  return r;
}

int
view_trim (struct view *view, uint64_t n, uint64_t offset)
{
  int r;

  /* Nothing tells later that these bytes are free: they are zeros from now on, in the cloud as well. */
  if (disk_geometry (view->views->disk)->format->raw)
    return view_zero (view, n, offset);
  if (begin_write (view) == -1)
    return -1;
  r = overlay_trim (view->overlay, n, offset);
  end_write (view, n, offset, false);
  return r;
}

int
view_flush (struct view *view)
{
  int r = 0;

  pthread_rwlock_rdlock (&view->io);
  if (view->overlay)
    r = overlay_sync (view->overlay);
  pthread_rwlock_unlock (&view->io);
  return r;
}
