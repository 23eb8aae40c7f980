# SPDX-License-Identifier: BSD-3-Clause

# Tests of raw disks: layout and what guests write; and one that boots from such a disk.

if HAVE_CHECK
check_PROGRAMS += tests/check-raw
TESTS += tests/check-raw
endif
if INTEGRATION_TESTS
TESTS += tests/test-changed-places.sh tests/test-raw.sh
endif
EXTRA_DIST += tests/test-changed-places.sh tests/test-raw.sh

tests_check_raw_SOURCES = \
	tests/check-raw.c \
	$(coreengine_fixture) \
	plugin/disk.c \
	plugin/disk-read.c \
	plugin/disk-store.c \
	plugin/disk-rows.c \
	plugin/extents.c \
	$(interpreter) \
	plugin/interpret-raw.c \
	plugin/interpreter.c \
	plugin/layout.c \
	plugin/layout-raw.c \
	plugin/raw-rows.c \
	plugin/seen.c \
	plugin/selection.c \
	$(NULL)
tests_check_raw_CPPFLAGS = $(core_cppflags) -I$(srcdir)/plugin $(UTF8PROC_CFLAGS)
tests_check_raw_LDADD = libdisk.la $(core_libs) $(UTF8PROC_LIBS)
