# SPDX-License-Identifier: BSD-3-Clause

noinst_LTLIBRARIES = libsync.la

libsync_la_SOURCES = \
	sync/cleanup.h \
	sync/cloud.h sync/cloud.c \
	sync/cloud-dir.c \
	sync/cloud-webdav.c \
	sync/davxml.h sync/davxml.c \
	sync/http.h sync/http.c \
	sync/msg.h sync/msg.c \
	$(NULL)
libsync_la_CPPFLAGS = \
	-I$(srcdir)/sync \
	$(CURL_CFLAGS) $(SQLITE_CFLAGS) $(EXPAT_CFLAGS) $(CRYPTO_CFLAGS) \
	$(NULL)
libsync_la_LIBADD = $(CURL_LIBS) $(SQLITE_LIBS) $(EXPAT_LIBS) $(CRYPTO_LIBS)
