#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What the fuzzer found worth keeping, and whatever it finds from now on.

set -e
cd "${abs_top_srcdir:-.}/tests/corpus"
"${abs_top_builddir:-../..}/tests/fuzz-parse" parse-fat32 parse-exfat
