# SPDX-License-Identifier: BSD-3-Clause

bin_PROGRAMS += cloudsharectl

cloudsharectl_SOURCES = \
	ctl/client.h ctl/client.c \
	ctl/cloudsharectl.c \
	ctl/libvirt.h ctl/libvirt.c \
	ctl/show.h ctl/show.c \
	plugin/extents.h plugin/extents.c \
	plugin/disk-rows.c \
	plugin/status.h plugin/status.c \
	$(NULL)
cloudsharectl_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(SQLITE_CFLAGS) $(JSON_CFLAGS)
cloudsharectl_LDADD = libdisk.la libsync.la $(JSON_LIBS)
