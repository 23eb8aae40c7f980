# SPDX-License-Identifier: BSD-3-Clause

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-cloud-dir \
	tests/check-dir-change \
	$(NULL)
TESTS += \
	tests/check-cloud-dir \
	tests/check-dir-change \
	$(NULL)
endif

tests_check_cloud_dir_SOURCES = tests/check-cloud-dir.c
tests_check_cloud_dir_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_cloud_dir_LDADD = libsync.la $(CHECK_LIBS)

tests_check_dir_change_SOURCES = tests/check-dir-change.c
tests_check_dir_change_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_dir_change_LDADD = libsync.la $(CHECK_LIBS)
