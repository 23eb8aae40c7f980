# SPDX-License-Identifier: BSD-3-Clause

bin_PROGRAMS += cloudsharectl

cloudsharectl_SOURCES = \
	ctl/cloudsharectl.c \
	plugin/extents.h plugin/extents.c \
	$(NULL)
cloudsharectl_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(SQLITE_CFLAGS)
cloudsharectl_LDADD = libdisk.la libsync.la
