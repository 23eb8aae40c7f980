# SPDX-License-Identifier: BSD-3-Clause

# The parts without nbdkit, so that unit tests link them.
noinst_LTLIBRARIES += libdisk.la

libdisk_la_SOURCES = \
	plugin/dir.h plugin/dir.c \
	plugin/exfat.h \
	plugin/fat32.h \
	plugin/fattime.h plugin/fattime.c \
	plugin/format.h plugin/format.c \
	plugin/format-exfat.c \
	plugin/format-fat32.c \
	plugin/geometry.h \
	plugin/le.h \
	plugin/map.h plugin/map.c \
	plugin/names.h plugin/names.c \
	plugin/partition.h plugin/partition.c \
	plugin/upcase.h plugin/upcase.c \
	$(NULL)
libdisk_la_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(UTF8PROC_CFLAGS)
libdisk_la_LIBADD = $(UTF8PROC_LIBS)
