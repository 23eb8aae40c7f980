/* SPDX-License-Identifier: BSD-3-Clause */
/* The interpreter that fits a disk. */

#include <config.h>

#include <stdlib.h>

#include "disk.h"
#include "format.h"
#include "interpret-raw.h"
#include "interpreter.h"
#include "msg.h"

/* One of both. */
struct interpreter {
  struct interp *files;
  struct interp_raw *pieces;
};

struct interpreter *
interpreter_new (const struct interpret_config *config)
{
  struct interpreter *interpreter = calloc (1, sizeof *interpreter);

  if (interpreter == NULL) {
    msg_error ("out of memory");
    return NULL;
  }
  if (disk_geometry (config->disk)->format->raw)
    interpreter->pieces = interpret_raw_new (config);
  else
    interpreter->files = interpret_new (config);
  if (interpreter->files || interpreter->pieces)
    return interpreter;
  free (interpreter);
  return NULL;
}

void
interpreter_free (struct interpreter *interpreter)
{
  if (interpreter == NULL)
    return;
  interpret_free (interpreter->files);
  interpret_raw_free (interpreter->pieces);
  free (interpreter);
}

int
interpreter_run (struct interpreter *interpreter, const struct interpret_now *now, struct interpret_result *ret)
{
  return interpreter->pieces ? interpret_raw_run (interpreter->pieces, now, ret)
                             : interpret_run (interpreter->files, now, ret);
}
