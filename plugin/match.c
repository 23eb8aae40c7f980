/* SPDX-License-Identifier: BSD-3-Clause */
/* Match: identities of directory entries. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "idmap.h"
#include "match.h"
#include "msg.h"
#include "names.h"

/* Entries by place: folder and name. */
struct places {
  const struct match_entry *entries;
  size_t *slots;               /* index + 1 */
  size_t room;
};

static uint64_t
place_hash (const struct match_entry *entry)
{
  return (name_hash_units (entry->name, entry->units) ^ (uint64_t) entry->folder) * UINT64_C (0x9e3779b97f4a7c15);
}

static bool
same_place (const struct match_entry *a, const struct match_entry *b)
{
  return a->folder == b->folder && a->units == b->units && memcmp (a->name, b->name, a->units * sizeof *a->name) == 0;
}

static int
places_fill (struct places *places, const struct match_entry *entries, size_t n)
{
  places->entries = entries;
  for (places->room = 64; places->room < n * 2; places->room *= 2)
    ;
  places->slots = calloc (places->room, sizeof *places->slots);
  if (places->slots == NULL) {
    msg_error ("out of memory");
    return -1;
  }
  for (size_t i = 0; i < n; ++i) {
    size_t at = place_hash (&entries[i]) >> 20 & (places->room - 1);

    while (places->slots[at])
      at = (at + 1) & (places->room - 1);
    places->slots[at] = i + 1;
  }
  return 0;
}

static size_t
places_find (const struct places *places, const struct match_entry *entry)
{
  size_t at = place_hash (entry) >> 20 & (places->room - 1);

  for (; places->slots[at]; at = (at + 1) & (places->room - 1))
    if (same_place (&places->entries[places->slots[at] - 1], entry))
      return places->slots[at] - 1;
  return MATCH_NONE;
}

/* By first cluster; of several with the same one, the one that is not junk, else the first. */
static int
index_clusters (struct idmap *map, const struct match_entry *entries, size_t n)
{
  for (size_t i = 0; i < n; ++i) {
    size_t old;

    if (entries[i].first == 0)
      continue;
    old = idmap_get (map, entries[i].first);
    if (old != IDMAP_NONE && (!entries[old].junk || entries[i].junk))
      continue;
    if (idmap_put (map, entries[i].first, i) == -1) {
      msg_error ("out of memory");
      return -1;
    }
  }
  return 0;
}

struct match {
  struct match_entry *known, *now;
  size_t n_known, n_now;
  struct places known_places, now_places;
  struct idmap known_clusters, now_clusters;
};

/* Two living entries of one first cluster: a rename of which only one half is on the disk. */
static void
mark_crossed (struct match *m)
{
  for (size_t i = 0; i < m->n_now; ++i) {
    size_t other;

    if (m->now[i].first == 0 || m->now[i].junk)
      continue;
    other = idmap_get (&m->now_clusters, m->now[i].first);
    if (other == i || m->now[other].junk)
      continue;
    m->now[i].what = WHAT_CROSSED;
    m->now[other].what = WHAT_CROSSED;
  }
}

/* Entries in their place with the clusters that they had. */
static void
mark_same (struct match *m)
{
  for (size_t i = 0; i < m->n_now; ++i) {
    struct match_entry *now = &m->now[i];
    const size_t k = places_find (&m->known_places, now);
    struct match_entry *known;

    if (k == MATCH_NONE)
      continue;
    known = &m->known[k];
    if (known->is_folder != now->is_folder)
      continue;
    if (known->first == now->first) {
      /* A half-seen rename leaves the old name as it was: it stays until it is gone. */
      known->fate = now->junk ? FATE_TRASHED : FATE_STAYS;
      known->other = i;
      if (now->what != WHAT_CROSSED)
        now->what = WHAT_SAME;
      now->other = k;
    }
  }
}

/* Whether a known entry's clusters stand somewhere now, in an entry that counts. */
static bool
lives_on (const struct match *m, const struct match_entry *known)
{
  const size_t i = known->first ? idmap_get (&m->now_clusters, known->first) : IDMAP_NONE;

  return i != IDMAP_NONE && !m->now[i].junk && !m->now[i].stranger && m->now[i].is_folder == known->is_folder;
}

/* Entries with the clusters that another place had. */
static void
mark_moved (struct match *m)
{
  for (size_t i = 0; i < m->n_now; ++i) {
    struct match_entry *now = &m->now[i];
    size_t k, t;

    if (now->what != WHAT_NEW || now->first == 0 || now->stranger)
      continue;
    k = idmap_get (&m->known_clusters, now->first);
    if (k == IDMAP_NONE || m->known[k].is_folder != now->is_folder || m->known[k].fate != FATE_VANISHED)
      continue;
    if (now->junk) {
      m->known[k].fate = FATE_TRASHED;
      m->known[k].other = i;
      continue;
    }
    if (m->known[k].junk)
      continue;
    t = places_find (&m->known_places, now);
    if (t != MATCH_NONE && t != k && !now->is_folder && !m->known[t].is_folder && !m->known[t].junk &&
        !lives_on (m, &m->known[t])) {
      now->what = WHAT_REPLACED;
      now->other = t;
      now->from = k;
      m->known[t].fate = FATE_STAYS;
      m->known[t].other = i;
      m->known[k].fate = FATE_CONSUMED;
      m->known[k].other = i;
    }
    else {
      now->what = WHAT_MOVED;
      now->other = k;
      m->known[k].fate = FATE_MOVED;
      m->known[k].other = i;
    }
  }
}

/* Names that stay while their content stands elsewhere. */
static void
mark_changed (struct match *m)
{
  for (size_t i = 0; i < m->n_now; ++i) {
    struct match_entry *now = &m->now[i];
    size_t t;

    if (now->what != WHAT_NEW || now->is_folder)
      continue;
    t = places_find (&m->known_places, now);
    if (t == MATCH_NONE || m->known[t].is_folder || m->known[t].fate == FATE_MOVED || m->known[t].fate == FATE_CONSUMED)
      continue;
    now->what = WHAT_CHANGED;
    now->other = t;
    m->known[t].fate = FATE_STAYS;
    m->known[t].other = i;
  }
}

int
match_entries (struct match_entry *known, size_t n_known, struct match_entry *now, size_t n_now)
{
  struct match m = { .known = known, .now = now, .n_known = n_known, .n_now = n_now };
  int r = -1;

  for (size_t i = 0; i < n_known; ++i) {
    known[i].fate = FATE_VANISHED;
    known[i].other = MATCH_NONE;
  }
  for (size_t i = 0; i < n_now; ++i) {
    now[i].what = WHAT_NEW;
    now[i].other = now[i].from = MATCH_NONE;
  }
  if (places_fill (&m.known_places, known, n_known) == 0 && places_fill (&m.now_places, now, n_now) == 0 &&
      index_clusters (&m.known_clusters, known, n_known) == 0 && index_clusters (&m.now_clusters, now, n_now) == 0) {
    mark_crossed (&m);
    mark_same (&m);
    mark_moved (&m);
    mark_changed (&m);
    r = 0;
  }
  free (m.known_places.slots);
  free (m.now_places.slots);
  idmap_free (&m.known_clusters);
  idmap_free (&m.now_clusters);
  return r;
}
