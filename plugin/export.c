/* SPDX-License-Identifier: BSD-3-Clause */
/* Exports: requests find the view that they belong to. */

#include <config.h>

#include "disk.h"
#include "export.h"
#include "format.h"
#include "geometry.h"
#include "view.h"

uint64_t
export_size (const struct export *export)
{
  return disk_geometry (export->parts[0].disk)->disk_bytes;
}

const char *
export_format (const struct export *export)
{
  return disk_geometry (export->parts[0].disk)->format->name;
}

/* The view that has the byte at offset; *ret_n: of n bytes from there, those that are its own. */
static struct view *
view_at (const struct export *export, uint64_t offset, uint64_t n, uint64_t *ret_n)
{
  *ret_n = n;
  for (size_t i = 0; i < export->n_parts && export->n_parts > 1; ++i) {
    const struct geometry *g = disk_geometry (export->parts[i].disk);
    const uint64_t end = g->volume_start + g->volume_bytes;

    if (offset >= g->volume_start && offset < end) {
      *ret_n = n < end - offset ? n : end - offset;
      return export->parts[i].view;
    }
    if (offset < g->volume_start && g->volume_start - offset < *ret_n)
      *ret_n = g->volume_start - offset;
  }
  return export->parts[0].view;
}

int
export_read (struct export *export, void *buf, size_t n, uint64_t offset)
{
  char *to = buf;

  while (n > 0) {
    uint64_t len;
    struct view *view = view_at (export, offset, n, &len);

    if (view_read (view, to, len, offset) == -1)
      return -1;
    to += len;
    offset += len;
    n -= len;
  }
  return 0;
}

int
export_write (struct export *export, const void *buf, size_t n, uint64_t offset)
{
  const char *from = buf;

  while (n > 0) {
    uint64_t len;
    struct view *view = view_at (export, offset, n, &len);

    if (view_write (view, from, len, offset) == -1)
      return -1;
    from += len;
    offset += len;
    n -= len;
  }
  return 0;
}

static int
change_all (struct export *export, uint64_t n, uint64_t offset, int (*change) (struct view *view, uint64_t n, uint64_t offset))
{
  while (n > 0) {
    uint64_t len;
    struct view *view = view_at (export, offset, n, &len);

    if (change (view, len, offset) == -1)
      return -1;
    offset += len;
    n -= len;
  }
  return 0;
}

int
export_zero (struct export *export, uint64_t n, uint64_t offset)
{
  return change_all (export, n, offset, view_zero);
}

int
export_trim (struct export *export, uint64_t n, uint64_t offset)
{
  return change_all (export, n, offset, view_trim);
}

int
export_flush (struct export *export)
{
  for (size_t i = 0; i < export->n_parts; ++i)
    if (view_flush (export->parts[i].view) == -1)
      return -1;
  return 0;
}

void
export_prefetch (struct export *export, size_t n, uint64_t offset)
{
  while (n > 0) {
    uint64_t len;
    struct view *view = view_at (export, offset, n, &len);

    view_prefetch (view, len, offset);
    offset += len;
    n -= len;
  }
}

uint64_t
export_run (struct export *export, uint64_t n, uint64_t offset, bool *ret_hole)
{
  uint64_t len;
  struct view *view = view_at (export, offset, n, &len);

  return view_run (view, len, offset, ret_hole);
}
