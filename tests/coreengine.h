/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine of unit tests that link disks or interpreters: it has what a core (core.h) has, and nothing else. */

#ifndef CLOUDSHARE_TESTS_COREENGINE_H
#define CLOUDSHARE_TESTS_COREENGINE_H

#include <stdbool.h>

#include "core.h"

/* The test's; every struct engine * stands for it. */
extern struct core core;

/* engine_ring was called; tests may clear it. */
extern bool core_rung;

/* Called by engine_blobs first of all, if it is not NULL. */
extern void (*core_before_blobs) (void);

#endif /* CLOUDSHARE_TESTS_COREENGINE_H */
