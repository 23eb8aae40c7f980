/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter that fits a disk: of files (interpret.h), or of pieces of a raw disk (interpret-raw.h).  Both take and give the
 * same. */

#ifndef CLOUDSHARE_INTERPRETER_H
#define CLOUDSHARE_INTERPRETER_H

#include "interpret.h"

struct interpreter;

/* NULL after one message. */
extern struct interpreter *interpreter_new (const struct interpret_config *config);
extern void interpreter_free (struct interpreter *interpreter);

/* As interpret_run. */
extern int interpreter_run (struct interpreter *interpreter, const struct interpret_now *now, struct interpret_result *ret);

#endif /* CLOUDSHARE_INTERPRETER_H */
