# SPDX-License-Identifier: BSD-3-Clause

# Tests of rules: which disks there are, what is on them, and who gets them.

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-media-type \
	tests/check-rules \
	$(NULL)
TESTS += \
	tests/check-media-type \
	tests/check-rules \
	$(NULL)
endif

tests_check_media_type_SOURCES = tests/check-media-type.c
tests_check_media_type_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_media_type_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_rules_SOURCES = tests/check-rules.c
tests_check_rules_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_rules_LDADD = libdisk.la libsync.la $(CHECK_LIBS)
