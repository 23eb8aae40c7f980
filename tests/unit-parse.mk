# SPDX-License-Identifier: BSD-3-Clause

# Tests of the parser: units, the fuzzer's corpus once more, and images that others made.

check_PROGRAMS += \
	tests/fuzz-parse \
	tests/parse-image \
	$(NULL)
TESTS += tests/replay-parse.sh
if INTEGRATION_TESTS
TESTS += tests/test-parse.sh
endif
EXTRA_DIST += \
	tests/corpus/parse-exfat \
	tests/corpus/parse-fat32 \
	tests/replay-parse.sh \
	tests/test-parse.sh \
	$(NULL)

if HAVE_CHECK
check_PROGRAMS += tests/check-parse tests/check-parse-dir
TESTS += tests/check-parse tests/check-parse-dir
endif

guestdisk_fixture = tests/guestdisk.h tests/guestdisk.c tests/parsed.h tests/parsed.c

tests_check_parse_SOURCES = tests/check-parse.c $(guestdisk_fixture)
tests_check_parse_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin -I$(srcdir)/tests $(CHECK_CFLAGS)
tests_check_parse_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_parse_dir_SOURCES = tests/check-parse-dir.c $(guestdisk_fixture)
tests_check_parse_dir_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin -I$(srcdir)/tests $(CHECK_CFLAGS)
tests_check_parse_dir_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_fuzz_parse_SOURCES = tests/fuzz-parse.c tests/parsed.h tests/parsed.c
tests_fuzz_parse_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin -I$(srcdir)/tests
tests_fuzz_parse_LDADD = libdisk.la libsync.la

tests_parse_image_SOURCES = tests/parse-image.c tests/parsed.h tests/parsed.c
tests_parse_image_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin -I$(srcdir)/tests $(UTF8PROC_CFLAGS)
tests_parse_image_LDADD = libdisk.la libsync.la $(UTF8PROC_LIBS)
