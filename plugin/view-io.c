/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: requests.  The overlay first, then the disk at the view's generation. */

#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "disk.h"
#include "exfat.h"
#include "fat32.h"
#include "format.h"
#include "map.h"
#include "msg.h"
#include "overlay.h"
#include "view-private.h"

/* ---- reading ---- */

static int
read_over (struct view *view, void *to, size_t n, uint64_t offset)
{
  char *buf = to;

  while (n > 0) {
    bool present;
    const size_t len = overlay_run (view->overlay, n, offset, &present);

    if ((present ? overlay_read (view->overlay, buf, len, offset)
                 : disk_read (view->views->disk, view->map, buf, len, offset)) == -1)
      return -1;
    buf += len;
    offset += len;
    n -= len;
  }
  return 0;
}

int
view_read (struct view *view, void *buf, size_t n, uint64_t offset)
{
  struct map *map;
  int r;

  pthread_rwlock_rdlock (&view->io);
  if (view->overlay && !overlay_is_empty (view->overlay)) {
    r = read_over (view, buf, n, offset);
    pthread_rwlock_unlock (&view->io);
    return r;
  }
  /* A read may wait for the cloud: without the lock, so that others do not wait for it. */
  map = map_ref (view->map);
  pthread_rwlock_unlock (&view->io);
  r = disk_read (view->views->disk, map, buf, n, offset);
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
fill (void *opaque, void *buf, size_t n, uint64_t offset)
{
  struct view *view = opaque;

  return disk_read (view->views->disk, view->map, buf, n, offset);
}

static int
make_overlay (struct view *view)
{
  struct views *views = view->views;
  char file[VIEW_OVERLAY_NAME];

  pthread_mutex_lock (&views->lock);
  if (view->overlay == NULL) {
    struct overlay *overlay = NULL;

    /* A view that is not on record has no name for its file, and would be lost by a restart. */
    if (view->id != 0 || view_save (views, view) == 0) {
      view_overlay_name (view->id, file);
      overlay = overlay_open (views->dir_fd, views->dir, file, disk_geometry (views->disk)->disk_bytes);
    }
    pthread_rwlock_wrlock (&view->io);
    view->overlay = overlay;
    pthread_rwlock_unlock (&view->io);
  }
  pthread_mutex_unlock (&views->lock);
  if (view->overlay == NULL) {
    errno = ENOSPC;
    return -1;
  }
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
      (views->config.max_dirty == 0 || wanted <= views->config.max_dirty))
    return 0;
  if (overlay_is_present (view->overlay, n, offset))
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

  if (g->format->has_aliases) {
    if (read_over (view, &flags, 1, g->volume_start + offsetof (struct fat32_boot, dirty)) == -1 ||
        read_over (view, &entry, sizeof entry, g->fat_start + sizeof entry) == -1)
      return;
    dirty = (flags & 1) || (le32_to_cpu (entry) & FAT32_CLEAN) == 0;
  }
  else {
    if (read_over (view, &flags, 1, g->volume_start + offsetof (struct exfat_boot, flags)) == -1)
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

static void
end_write (struct view *view, uint64_t before, uint64_t n, uint64_t offset)
{
  struct views *views = view->views;
  const uint64_t after = overlay_bytes (view->overlay);
  const struct geometry *g = disk_geometry (views->disk);
  const bool mark = touches_sector (n, offset, g->volume_start) ||
                    (g->format->has_aliases && touches_sector (n, offset, g->fat_start));

  if (after > before)
    atomic_fetch_add_explicit (&views->dirty, after - before, memory_order_relaxed);
  if (mark)
    view_look_at_mark (view);
  pthread_rwlock_unlock (&view->io);
  if (!atomic_load_explicit (&view->active, memory_order_relaxed) || atomic_load_explicit (&view->marked, memory_order_relaxed)) {
    atomic_store (&view->active, true);
    pthread_mutex_lock (&views->lock);
    if (view->unread_since == 0)
      view->unread_since = time (NULL);
    pthread_cond_broadcast (&views->cond);
    pthread_mutex_unlock (&views->lock);
  }
}

int
view_write (struct view *view, const void *buf, size_t n, uint64_t offset)
{
  uint64_t before;
  int r;

  if (begin_write (view) == -1)
    return -1;
  before = overlay_bytes (view->overlay);
  r = check_room (view, n, offset);
  if (r == 0)
    r = overlay_write (view->overlay, buf, n, offset, fill, view);
  end_write (view, before, n, offset);
  return r;
}

int
view_zero (struct view *view, uint64_t n, uint64_t offset)
{
  uint64_t before;
  int r;

  if (begin_write (view) == -1)
    return -1;
  before = overlay_bytes (view->overlay);
  r = overlay_zero (view->overlay, n, offset, fill, view);
  end_write (view, before, n, offset);
  return r;
}

int
view_trim (struct view *view, uint64_t n, uint64_t offset)
{
  uint64_t before;
  int r;

  if (begin_write (view) == -1)
    return -1;
  before = overlay_bytes (view->overlay);
  r = overlay_trim (view->overlay, n, offset);
  end_write (view, before, n, offset);
  return r;
}

int
view_flush (struct view *view)
{
  int r = 0;

  pthread_rwlock_rdlock (&view->io);
  if (view->overlay) {
    r = overlay_sync (view->overlay);
  }
  pthread_rwlock_unlock (&view->io);
  return r;
}
