# SPDX-License-Identifier: BSD-3-Clause

noinst_LTLIBRARIES = libsync.la

libsync_la_SOURCES = \
	sync/blobs.h sync/blobs.c \
	sync/cache.h sync/cache.c \
	sync/cache-fetch.c \
	sync/cache-keeper.c \
	sync/cache-private.h \
	sync/catalog.h sync/catalog.c \
	sync/checksum.h sync/checksum.c \
	sync/cleanup.h \
	sync/cloud.h sync/cloud.c \
	sync/cloud-dir.c \
	sync/cloud-webdav.c \
	sync/davtext.h sync/davtext.c \
	sync/davxml.h sync/davxml.c \
	sync/db.h sync/db.c \
	sync/engine.h sync/engine.c \
	sync/fileurl.h sync/fileurl.c \
	sync/fill.h sync/fill.c \
	sync/fsutil.h sync/fsutil.c \
	sync/health.h sync/health.c \
	sync/http.h sync/http.c \
	sync/http-job.h sync/http-job.c \
	sync/http-url.h sync/http-url.c \
	sync/listing.h sync/listing.c \
	sync/localitem.h sync/localitem.c \
	sync/msg.h sync/msg.c \
	sync/pull.h sync/pull.c \
	sync/pull-private.h \
	sync/pull-apply.c \
	sync/pull-match.h sync/pull-match.c \
	sync/pull-missing.c \
	sync/pull-tokens.c \
	sync/rootdir.h sync/rootdir.c \
	sync/said.h sync/said.c \
	sync/steps.h sync/steps.c \
	sync/treewatch.h sync/treewatch.c \
	sync/webdav.h sync/webdav-get.c sync/webdav-list.c \
	sync/workers.h sync/workers.c \
	$(NULL)
libsync_la_CPPFLAGS = \
	-I$(srcdir)/sync \
	$(CURL_CFLAGS) $(SQLITE_CFLAGS) $(EXPAT_CFLAGS) $(CRYPTO_CFLAGS) \
	$(NULL)
libsync_la_LIBADD = $(CURL_LIBS) $(SQLITE_LIBS) $(EXPAT_LIBS) $(CRYPTO_LIBS)
