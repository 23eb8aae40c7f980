#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Answers of servers: what the fuzzer found worth keeping, and whatever it finds from now on.

set -e
cd "${abs_top_srcdir:-.}/tests/corpus"
"${abs_top_builddir:-../..}/tests/fuzz-dav" dav
