# SPDX-License-Identifier: BSD-3-Clause

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-davxml \
	tests/check-webdav \
	$(NULL)
TESTS += \
	tests/check-davxml \
	tests/check-webdav \
	$(NULL)
endif

tests_check_davxml_SOURCES = tests/check-davxml.c
tests_check_davxml_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_davxml_LDADD = libsync.la $(CHECK_LIBS)

tests_check_webdav_SOURCES = tests/check-webdav.c
tests_check_webdav_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_webdav_LDADD = libsync.la $(CHECK_LIBS)

# Looks at a remote through cloud.h; the integration tests use it.
check_PROGRAMS += tests/cloudtool

tests_cloudtool_SOURCES = tests/cloudtool.c
tests_cloudtool_CPPFLAGS = -I$(srcdir)/sync
tests_cloudtool_LDADD = libsync.la

EXTRA_DIST += tests/servers/nasty.py

# Answers from a fuzzer: its corpus once more.
check_PROGRAMS += tests/fuzz-dav
TESTS += tests/replay-dav.sh
EXTRA_DIST += tests/corpus/dav tests/replay-dav.sh

tests_fuzz_dav_SOURCES = tests/fuzz-dav.c
tests_fuzz_dav_CPPFLAGS = -I$(srcdir)/sync
tests_fuzz_dav_LDADD = libsync.la

if INTEGRATION_TESTS
TESTS += \
	tests/test-ranges.sh \
	tests/test-webdav-write.sh \
	$(NULL)
endif

dist_check_SCRIPTS += \
	tests/test-ranges.sh \
	tests/test-webdav-write.sh \
	$(NULL)

# Some hundred MiB, and so in the long tests.
EXTRA_DIST += \
	tests/test-chunks.sh \
	tests/servers/nextcloud.php \
	tests/servers/nextcloud.sh \
	$(NULL)
