# SPDX-License-Identifier: BSD-3-Clause

# Tests of the core: blob store, catalog, cache.

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-blobs \
	tests/check-cache \
	tests/check-catalog \
	tests/check-checksum \
	tests/check-idmap \
	tests/check-said \
	$(NULL)
TESTS += \
	tests/check-blobs \
	tests/check-cache \
	tests/check-catalog \
	tests/check-checksum \
	tests/check-idmap \
	tests/check-said \
	$(NULL)
endif

# What some of them stand on.
core_fixture = tests/core.h tests/core.c tests/fakecloud.h tests/fakecloud.c

tests_check_blobs_SOURCES = tests/check-blobs.c
tests_check_blobs_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_blobs_LDADD = libsync.la $(CHECK_LIBS)

tests_check_cache_SOURCES = tests/check-cache.c $(core_fixture)
tests_check_cache_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/tests $(CHECK_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_cache_LDADD = libsync.la $(CHECK_LIBS) $(SQLITE_LIBS) $(CRYPTO_LIBS)

tests_check_catalog_SOURCES = tests/check-catalog.c $(core_fixture)
tests_check_catalog_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/tests $(CHECK_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_catalog_LDADD = libsync.la $(CHECK_LIBS) $(SQLITE_LIBS) $(CRYPTO_LIBS)

tests_check_checksum_SOURCES = tests/check-checksum.c
tests_check_checksum_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_checksum_LDADD = libsync.la $(CHECK_LIBS)

tests_check_idmap_SOURCES = tests/check-idmap.c
tests_check_idmap_CPPFLAGS = -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_idmap_LDADD = $(CHECK_LIBS)

tests_check_said_SOURCES = tests/check-said.c
tests_check_said_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_said_LDADD = libsync.la $(CHECK_LIBS)
