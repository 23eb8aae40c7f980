# SPDX-License-Identifier: BSD-3-Clause

# Tests of the interpreter: its pure parts by tables, and all of it by what real guests wrote.

if HAVE_CHECK
check_PROGRAMS += tests/check-interpret tests/check-match tests/check-traces
TESTS += tests/check-interpret tests/check-match tests/check-traces
endif

tests_check_match_SOURCES = tests/check-match.c
tests_check_match_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_match_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

# All of it with what it stands on, for a core fixture's engine.
interpreter = \
	plugin/interpret.c \
	plugin/interpret-apply.c \
	plugin/interpret-cloud.c \
	plugin/interpret-folders.c \
	plugin/interpret-judge.c \
	plugin/interpret-known.c \
	plugin/interpret-match.c \
	plugin/interpret-orphans.c \
	plugin/interpret-remember.c \
	plugin/interpret-scan.c \
	plugin/interpret-stage.c \
	plugin/interpret-timers.c \
	plugin/interpret-tree.c \
	plugin/stage-over.c \
	$(NULL)

tests_check_traces_SOURCES = \
	tests/check-traces.c \
	$(trace_player) \
	$(coreengine_fixture) \
	plugin/disk.c \
	plugin/disk-read.c \
	plugin/disk-store.c \
	plugin/disk-rows.c \
	plugin/extents.c \
	$(interpreter) \
	plugin/layout.c \
	plugin/layout-raw.c \
	plugin/raw-rows.c \
	plugin/seen.c \
	plugin/selection.c \
	$(NULL)
tests_check_traces_CPPFLAGS = $(core_cppflags) -I$(srcdir)/plugin -I$(srcdir)/tests/traces $(UTF8PROC_CFLAGS)
tests_check_traces_LDADD = libdisk.la $(core_libs) $(UTF8PROC_LIBS)

tests_check_interpret_SOURCES = \
	tests/check-interpret.c \
	$(coreengine_fixture) \
	plugin/disk.c \
	plugin/disk-read.c \
	plugin/disk-store.c \
	plugin/disk-rows.c \
	plugin/extents.c \
	$(interpreter) \
	plugin/layout.c \
	plugin/layout-raw.c \
	plugin/raw-rows.c \
	plugin/seen.c \
	plugin/selection.c \
	$(NULL)
tests_check_interpret_CPPFLAGS = $(core_cppflags) -I$(srcdir)/plugin $(UTF8PROC_CFLAGS)
tests_check_interpret_LDADD = libdisk.la $(core_libs) $(UTF8PROC_LIBS)
