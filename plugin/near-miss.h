/* SPDX-License-Identifier: BSD-3-Clause */
/* Words that were meant: a word that is not known, and those that are.  Pure. */

#ifndef CLOUDSHARE_NEAR_MISS_H
#define CLOUDSHARE_NEAR_MISS_H

#define NEAR_MAX 24            /* longer words are not guessed at */
#define NEAR_MISS (NEAR_MAX + 20)

/* ", did you mean WORD", of a list "A, B, C", or "".  In ret. */
extern const char *near_miss (const char *word, const char *list, char ret[NEAR_MISS]);

#endif /* CLOUDSHARE_NEAR_MISS_H */
