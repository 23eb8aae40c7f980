/* SPDX-License-Identifier: BSD-3-Clause */
/* A small set of hashes, by open addressing. */

#include <config.h>

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "cleanup.h"
#include "said.h"

/* A power of two, and never filled beyond half, so that a search ends soon. */
#define N_SLOTS 4096

struct said {
  pthread_mutex_t lock;       /* protects what follows */
  size_t used;
  uint64_t slots[N_SLOTS];    /* 0: free */
};

struct said *
said_new (void)
{
  struct said *said = calloc (1, sizeof *said);

  if (said != NULL)
    pthread_mutex_init (&said->lock, NULL);
  return said;
}

void
said_free (struct said *said)
{
  if (said == NULL)
    return;
  pthread_mutex_destroy (&said->lock);
  free (said);
}

/* FNV-1a, over the text and its NUL. */
static uint64_t
hash_text (uint64_t hash, const char *text)
{
  do {
    hash ^= (unsigned char) *text;
    hash *= UINT64_C (0x100000001b3);
  } while (*text++ != '\0');
  return hash;
}

bool
said_first_time (struct said *said, const char *where, const char *what)
{
  const uint64_t hash = hash_text (hash_text (UINT64_C (0xcbf29ce484222325), where), what) | 1;
  size_t slot = hash >> 32;
  LOCK_FOR_SCOPE (&said->lock);

  for (;; ++slot) {
    uint64_t *const at = &said->slots[slot & (N_SLOTS - 1)];

    if (*at == hash)
      return false;
    if (*at == 0) {
      if (said->used == N_SLOTS / 2)
        return false;
      said->used++;
      *at = hash;
      return true;
    }
  }
}
