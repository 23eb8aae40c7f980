# SPDX-License-Identifier: BSD-3-Clause

if HAVE_CHECK
check_PROGRAMS += tests/check-rclone
TESTS += tests/check-rclone
endif

tests_check_rclone_SOURCES = tests/check-rclone.c
tests_check_rclone_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_check_rclone_LDADD = libsync.la $(CHECK_LIBS) $(JSON_LIBS)

if INTEGRATION_TESTS
TESTS += tests/test-rclone-disk.sh
endif

# Five kinds of remotes, and so in the long tests.
rclone_tests = tests/test-rclone.sh

EXTRA_DIST += \
	$(rclone_tests) \
	tests/test-rclone-disk.sh \
	tests/servers/rcfake.py \
	$(NULL)
