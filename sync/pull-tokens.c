/* SPDX-License-Identifier: BSD-3-Clause */
/* Pull: what the tokens of folders can tell.
 *
 * With some servers a folder's etag changes with anything below it, so that an unchanged one saves the walk below.
 * Nothing says which servers these are: it is learned from changes that were seen. */

#include <config.h>

#include <string.h>

#include "db.h"
#include "listing.h"
#include "msg.h"
#include "pull-match.h"
#include "pull-private.h"

/* How often a change deep in the tree must have been seen in the tokens of the folders above it, and never missing,
 * before unchanged folder tokens are believed to mean that nothing changed below. */
#define TREE_TOKENS_BELIEVED 3
#define TREE_TOKENS_NEVER (-1)

bool
pull_tokens_believed (const struct pull *pull)
{
  return pull->tree_tokens >= TREE_TOKENS_BELIEVED;
}

/* Learns from this walk whether a folder's token changes with what is below it: looks at changes that were found one or
 * more folders below a folder whose token is known from before and from now. */
static void
learn_tree_tokens (struct pull *pull)
{
  bool evidence = false;

  if (pull->tree_tokens == TREE_TOKENS_NEVER)
    return;
  for (size_t i = 1; i < pull->n_visits; ++i) {
    if (!pull->visits[i].changed || !pull->visits[i].known)
      continue;
    for (size_t a = pull->visits[i].above; a != 0; a = pull->visits[a].above) {
      const struct visit *above = &pull->visits[a];
      struct listing *now = NULL;

      if (above->old_token == NULL || above->new_token == NULL)
        continue;
      if (strcmp (above->old_token, above->new_token) != 0) {
        evidence = true;
        continue;
      }
      /* The token may have been read just before the change; asked again it must be another one. */
      if (listing_stat (pull->cloud, above->path, &now) != CLOUD_OK)
        continue;
      if (match_text (now->items[0].token, above->old_token)) {
        listing_free (now);
        pull->tree_tokens = TREE_TOKENS_NEVER;
        return;
      }
      evidence = true;
      listing_free (now);
    }
  }
  if (evidence && pull->tree_tokens < TREE_TOKENS_BELIEVED) {
    pull->tree_tokens++;
    if (pull->tree_tokens == TREE_TOKENS_BELIEVED)
      msg_debug ("%s: folder tokens change with what is below them: unchanged folders are skipped from now on",
                 pull->cloud->identity);
  }
}

/* Last, so that a walk that was cut short is walked again. */
int
pull_keep_tokens (struct pull *pull)
{
  const int64_t before = pull->tree_tokens;
  int r = 0;

  learn_tree_tokens (pull);
  if (db_begin (pull->db) == -1)
    return -1;
  if (before != pull->tree_tokens)
    r = db_set_int (pull->db, "tree_tokens", pull->tree_tokens);
  for (size_t i = 1; i < pull->n_visits && r == 0; ++i) {
    const struct visit *visit = &pull->visits[i];

    if (visit->new_token && !visit->unseen && !match_text (visit->old_token, visit->new_token))
      r = catalog_set_token (pull->db, visit->id, visit->new_token);
  }
  return db_end (pull->db, r);
}
