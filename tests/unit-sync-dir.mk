# SPDX-License-Identifier: BSD-3-Clause

if HAVE_CHECK
check_PROGRAMS += tests/check-cloud-dir
TESTS += tests/check-cloud-dir
endif

tests_check_cloud_dir_SOURCES = tests/check-cloud-dir.c
tests_check_cloud_dir_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_cloud_dir_LDADD = libsync.la $(CHECK_LIBS)
