# SPDX-License-Identifier: BSD-3-Clause

# Tests of the write path's durable heart: journal, push, merging.

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-conflict-name \
	tests/check-journal \
	tests/check-kin \
	tests/check-merge \
	tests/check-push \
	tests/check-ranges \
	tests/check-twosided \
	tests/check-verdict \
	$(NULL)
TESTS += \
	tests/check-conflict-name \
	tests/check-journal \
	tests/check-kin \
	tests/check-merge \
	tests/check-push \
	tests/check-ranges \
	tests/check-twosided \
	tests/check-verdict \
	$(NULL)
endif

tests_check_conflict_name_SOURCES = tests/check-conflict-name.c
tests_check_conflict_name_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_conflict_name_LDADD = libsync.la $(CHECK_LIBS)

tests_check_verdict_SOURCES = tests/check-verdict.c
tests_check_verdict_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_verdict_LDADD = libsync.la $(CHECK_LIBS)

# What the others stand on: the core's fixture, with push, pull and a view that the test plays.
push_fixture = tests/pushcore.h tests/pushcore.c $(core_fixture)

tests_check_journal_SOURCES = tests/check-journal.c $(push_fixture)
tests_check_journal_CPPFLAGS = $(core_cppflags)
tests_check_journal_LDADD = $(core_libs)

tests_check_merge_SOURCES = tests/check-merge.c $(push_fixture)
tests_check_merge_CPPFLAGS = $(core_cppflags)
tests_check_merge_LDADD = $(core_libs)

tests_check_push_SOURCES = tests/check-push.c $(push_fixture)
tests_check_push_CPPFLAGS = $(core_cppflags)
tests_check_push_LDADD = $(core_libs)

tests_check_twosided_SOURCES = tests/check-twosided.c $(push_fixture)
tests_check_twosided_CPPFLAGS = $(core_cppflags)
tests_check_twosided_LDADD = $(core_libs)

tests_check_kin_SOURCES = tests/check-kin.c $(push_fixture)
tests_check_kin_CPPFLAGS = $(core_cppflags)
tests_check_kin_LDADD = $(core_libs)

tests_check_ranges_SOURCES = tests/check-ranges.c
tests_check_ranges_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_ranges_LDADD = libsync.la $(CHECK_LIBS)
