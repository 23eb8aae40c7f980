# SPDX-License-Identifier: BSD-3-Clause

# Tests of libdisk: units, and independent judges of the disks that it makes.

check_PROGRAMS += tests/render-image
if INTEGRATION_TESTS
TESTS += tests/test-judges.sh
endif
EXTRA_DIST += tests/test-judges.sh

tests_render_image_SOURCES = tests/render-image.c
tests_render_image_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(UTF8PROC_CFLAGS)
tests_render_image_LDADD = libdisk.la libsync.la $(UTF8PROC_LIBS)

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-fattime \
	tests/check-format \
	tests/check-names \
	tests/check-partition \
	$(NULL)
TESTS += \
	tests/check-fattime \
	tests/check-format \
	tests/check-names \
	tests/check-partition \
	$(NULL)
endif

tests_check_fattime_SOURCES = tests/check-fattime.c
tests_check_fattime_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_fattime_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_format_SOURCES = tests/check-format.c
tests_check_format_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_format_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_names_SOURCES = tests/check-names.c
tests_check_names_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_names_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

tests_check_partition_SOURCES = tests/check-partition.c
tests_check_partition_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_partition_LDADD = libdisk.la libsync.la $(CHECK_LIBS)
