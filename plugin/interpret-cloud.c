/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter's view of the cloud, within the transaction: what name an entry has there, and what item its folder is. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "disk.h"
#include "interpret-private.h"
#include "journal.h"
#include "msg.h"
#include "names.h"
#include "said.h"
#include "selection.h"

/* So many items whose names a guest would take for one another are told apart when one of them is renamed. */
#define MOST_NUMBERS 100

int64_t
folder_item (const struct folder *folder)
{
  return folder->created ? folder->created : folder->key;
}

int64_t
folder_home (struct interp *interp, const struct folder *folder)
{
  return selection_home (disk_selection (interp->disk), folder_item (folder));
}

bool
is_fixed (struct interp *interp, int64_t item)
{
  if (!selection_is_fixed (disk_selection (interp->disk), item))
    return false;
  if (said_first_time (interp->said, interp->name, "fixed"))
    msg_notice ("view %s: its guest renamed or removed a folder that folder= put on the disk: in the cloud it stays as it is",
                interp->name);
  return true;
}

int
keep_here (struct interp *interp, struct journal *journal, int64_t item)
{
  journal->changed = true;
  return selection_keep (disk_selection (interp->disk), interp->db, journal->revision, item);
}

/* The name that an entry has in the cloud.  -1: none, it stays on the disk. */
int
cloud_name (struct interp *interp, const struct match_entry *entry, char *ret)
{
  if (name_to_cloud (entry->name, entry->units, ret) >= 0)
    return 0;
  if (said_first_time (interp->said, interp->name, "name"))
    msg_notice ("view %s: its guest gave a file or folder a name that no cloud can have; it stays on that disk", interp->name);
  return -1;
}

/* The name in the cloud of what a view shows by that name.  Where there is a way back, the name says it; a name that was cut or
 * numbered is taken for the item's own, if that could be shown so. */
void
shown_as (struct interp *interp, const struct known *known, char *ret)
{
  struct catalog_list list;
  uint16_t *shown;
  const char *own;
  bool mapped;
  size_t n;

  if (name_to_cloud (known->name, known->units, ret) < 0)
    ret[0] = '\0';
  if (catalog_any_item (interp->db, known->item, &list) != 1)
    return;
  own = list.items[0].name;
  shown = malloc ((strlen (own) + NAME_UNITS) * sizeof *shown);
  if (strcmp (own, ret) != 0 && shown) {
    n = name_shorten (shown, name_to_shown (own, strlen (own), shown, &mapped), own, strlen (own));
    for (uint32_t number = 1; number <= MOST_NUMBERS; ++number) {
      uint16_t numbered[NAME_UNITS];
      const uint16_t *candidate = shown;
      size_t units = n;

      if (number > 1) {
        units = name_number (shown, n, list.items[0].is_folder, number, numbered);
        candidate = numbered;
      }
      if (units == known->units && memcmp (candidate, known->name, units * sizeof *candidate) == 0) {
        snprintf (ret, NAME_UNITS * 3 + 1, "%s", own);
        break;
      }
    }
  }
  free (shown);
  catalog_list_free (&list);
}

/* Whether the catalog knows the item, be it gone: then what happens to it is for the journal to decide. */
int
item_exists (struct interp *interp, int64_t item)
{
  struct catalog_list list;
  const int r = catalog_any_item (interp->db, item, &list);

  if (r != -1)
    catalog_list_free (&list);
  return r;
}

/* A folder has another item than what is known of it says: from now on that is on record under the new one, all of it, because
 * the generation has nothing under that. */
static int
take_rows (struct run *run, const struct folder *folder, int64_t above, const struct known *self)
{
  struct interp *interp = run->interp;
  const struct seen_row row = {
    .folder = above, .name = self->name, .units = self->units, .is_folder = true, .contiguous = self->contiguous,
    .item = folder->created, .first = self->first, .size = self->size, .valid = self->valid, .raw_mtime = self->raw_mtime,
  };

  if (seen_forget_folder (interp->db, interp->view, folder->key) == -1 || seen_put (interp->db, interp->view, &row) == -1)
    return -1;
  for (size_t k = 0; k < folder->n_known; ++k) {
    struct known *known = folder->known[k];
    int64_t version = 0;

    if (run->leaves[known->index] == LEFT)
      continue;
    if (!known->is_folder && known_version_locked (interp, known, &version) == -1)
      return -1;
    const struct seen_row within = {
      .folder = folder->created, .name = known->name, .units = known->units, .is_folder = known->is_folder,
      .contiguous = known->contiguous, .item = known->item, .version = version, .first = known->first, .size = known->size,
      .valid = known->valid, .raw_mtime = known->raw_mtime,
    };
    if (seen_put (interp->db, interp->view, &within) == -1)
      return -1;
  }
  return 0;
}

/* A folder that the cloud removed while the guest still has it comes back when something in it was written.  Returns its
 * item, 0 if it has none yet. */
int64_t
ensure_folder (struct run *run, struct journal *journal, struct folder *folder)
{
  struct interp *interp = run->interp;
  const int64_t item = folder_item (folder);
  struct folder *parent;
  struct known *known;
  char name[NAME_UNITS * 3 + 1];
  int64_t above;
  int r;

  if (item <= 0)
    return 0;
  if (folder->is_root)
    return folder_home (interp, folder);
  if (folder->created)
    return item;
  r = item_exists (interp, item);
  if (r != 0)
    return r == -1 ? -1 : item;
  parent = folder_find (interp, folder->parent);
  known = parent ? known_by_item (parent, item) : NULL;
  if (known == NULL || name_to_cloud (known->name, known->units, name) < 0)
    return 0;
  above = ensure_folder (run, journal, parent);
  if (above <= 0)
    return above;
  folder->created = journal_create (journal, above, name, true, 0, &(struct timespec) { 0 });
  if (folder->created == -1) {
    folder->created = 0;
    return -1;
  }
  return take_rows (run, folder, folder_item (parent), known) == -1 ? -1 : folder->created;
}
