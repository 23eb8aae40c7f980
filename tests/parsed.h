/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold for whatever parse.h gives out, whichever bytes it was given: for unit tests and for the fuzzer. */

#ifndef CLOUDSHARE_TESTS_PARSED_H
#define CLOUDSHARE_TESTS_PARSED_H

#include "parse.h"

/* NULL, or a constant sentence that says what does not hold. */
extern const char *chain_problem (const struct geometry *g, uint32_t first, uint64_t bytes, enum parsed_chain found,
                                  const struct parsed_runs *runs);

/* bytes: those of the directory's runs. */
extern const char *dir_problem (const struct geometry *g, uint64_t bytes, const struct parsed_dir *dir);

#endif /* CLOUDSHARE_TESTS_PARSED_H */
