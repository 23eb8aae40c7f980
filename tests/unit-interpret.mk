# SPDX-License-Identifier: BSD-3-Clause

# Tests of the interpreter: its pure parts by tables, and all of it by what real guests wrote.

if HAVE_CHECK
check_PROGRAMS += tests/check-match tests/check-traces
TESTS += tests/check-match tests/check-traces
endif

tests_check_match_SOURCES = tests/check-match.c
tests_check_match_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_match_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_traces_SOURCES = \
	tests/check-traces.c \
	$(trace_player) \
	$(core_fixture) \
	plugin/disk.c \
	plugin/disk-read.c \
	plugin/extents.c \
	plugin/interpret.c \
	plugin/interpret-apply.c \
	plugin/interpret-folders.c \
	plugin/interpret-scan.c \
	plugin/layout.c \
	plugin/seen.c \
	$(NULL)
tests_check_traces_CPPFLAGS = $(core_cppflags) -I$(srcdir)/plugin -I$(srcdir)/tests/traces $(UTF8PROC_CFLAGS)
tests_check_traces_LDADD = libdisk.la $(core_libs) $(UTF8PROC_LIBS)
