/* SPDX-License-Identifier: BSD-3-Clause */
/* Words that were meant. */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "near-miss.h"

/* How many letters are to be put in, taken out, changed, or swapped with their neighbour. */
static unsigned
distance (const char *a, size_t n, const char *b, size_t m)
{
  unsigned d[NEAR_MAX + 1][NEAR_MAX + 1];

  for (size_t i = 0; i <= n; ++i)
    for (size_t k = 0; k <= m; ++k) {
      unsigned best;

      if (i == 0 || k == 0) {
        d[i][k] = i + k;
        continue;
      }
      best = d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);
      if (best > d[i - 1][k] + 1)
        best = d[i - 1][k] + 1;
      if (best > d[i][k - 1] + 1)
        best = d[i][k - 1] + 1;
      if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] && best > d[i - 2][k - 2] + 1)
        best = d[i - 2][k - 2] + 1;
      d[i][k] = best;
    }
  return d[n][m];
}

const char *
near_miss (const char *word, const char *list, char ret[NEAR_MISS])
{
  const size_t n = strlen (word);
  unsigned best = n <= 3 ? 2 : 3;    /* as good as none */

  ret[0] = '\0';
  if (n > NEAR_MAX)
    return ret;
  for (const char *p = list; *p; p += strspn (p, ", ")) {
    const size_t m = strcspn (p, ",");

    if (m <= NEAR_MAX && distance (word, n, p, m) < best) {
      best = distance (word, n, p, m);
      sprintf (ret, ", did you mean %.*s", (int) m, p);
    }
    p += m;
  }
  return ret;
}
