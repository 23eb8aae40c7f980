# SPDX-License-Identifier: BSD-3-Clause

# Tests of the core: blob store, catalog, cache, pull, and the layout of disks.

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-blobs \
	tests/check-cache \
	tests/check-catalog \
	tests/check-checksum \
	tests/check-churn \
	tests/check-idmap \
	tests/check-layout \
	tests/check-pull \
	tests/check-said \
	$(NULL)
TESTS += \
	tests/check-blobs \
	tests/check-cache \
	tests/check-catalog \
	tests/check-checksum \
	tests/check-churn \
	tests/check-idmap \
	tests/check-layout \
	tests/check-pull \
	tests/check-said \
	$(NULL)
endif

# What some of them stand on: a cache folder of their own, and a remote in the same process.
core_fixture = tests/core.h tests/core.c tests/fakecloud.h tests/fakecloud.c

# The same as an engine, for tests of disks.
coreengine_fixture = tests/coreengine.h tests/coreengine.c $(core_fixture)
core_cppflags = -I$(srcdir)/sync -I$(srcdir)/tests $(CHECK_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
core_libs = libsync.la $(CHECK_LIBS) $(SQLITE_LIBS) $(CRYPTO_LIBS)

tests_check_blobs_SOURCES = tests/check-blobs.c
tests_check_blobs_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_blobs_LDADD = libsync.la $(CHECK_LIBS)

tests_check_cache_SOURCES = tests/check-cache.c $(core_fixture)
tests_check_cache_CPPFLAGS = $(core_cppflags)
tests_check_cache_LDADD = $(core_libs)

tests_check_catalog_SOURCES = tests/check-catalog.c $(core_fixture)
tests_check_catalog_CPPFLAGS = $(core_cppflags)
tests_check_catalog_LDADD = $(core_libs)

tests_check_checksum_SOURCES = tests/check-checksum.c
tests_check_checksum_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_checksum_LDADD = libsync.la $(CHECK_LIBS)

# Of the plugin all that is between libdisk and nbdkit; the test itself stands in for the engine.
disk_sources = \
	plugin/disk.c \
	plugin/disk-read.c \
	plugin/disk-store.c \
	plugin/disk-rows.c \
	plugin/extents.c \
	plugin/layout.c \
	plugin/layout-raw.c \
	plugin/raw-rows.c \
	plugin/seen.c \
	plugin/selection.c \
	$(NULL)

tests_check_churn_SOURCES = tests/check-churn.c $(coreengine_fixture) $(disk_sources)
tests_check_churn_CPPFLAGS = -I$(srcdir)/plugin $(core_cppflags)
tests_check_churn_LDADD = libdisk.la $(core_libs)

tests_check_idmap_SOURCES = tests/check-idmap.c
tests_check_idmap_CPPFLAGS = -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_idmap_LDADD = $(CHECK_LIBS)

tests_check_layout_SOURCES = tests/check-layout.c tests/walk.h tests/walk.c $(coreengine_fixture) $(disk_sources)
tests_check_layout_CPPFLAGS = -I$(srcdir)/plugin $(core_cppflags)
tests_check_layout_LDADD = libdisk.la $(core_libs)

tests_check_pull_SOURCES = tests/check-pull.c $(core_fixture)
tests_check_pull_CPPFLAGS = $(core_cppflags)
tests_check_pull_LDADD = $(core_libs)

tests_check_said_SOURCES = tests/check-said.c
tests_check_said_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_said_LDADD = libsync.la $(CHECK_LIBS)
