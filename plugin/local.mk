# SPDX-License-Identifier: BSD-3-Clause

# The parts without nbdkit, so that unit tests link them.
noinst_LTLIBRARIES += libdisk.la

libdisk_la_SOURCES = \
	plugin/dir.h plugin/dir.c \
	plugin/exfat.h \
	plugin/fat.h plugin/fat.c \
	plugin/fat32.h \
	plugin/fattime.h plugin/fattime.c \
	plugin/format.h plugin/format.c \
	plugin/format-exfat.c \
	plugin/format-fat32.c \
	plugin/format-raw.c \
	plugin/geometry.h \
	plugin/junk.h plugin/junk.c \
	plugin/le.h \
	plugin/listening.h plugin/listening.c \
	plugin/match.h plugin/match.c \
	plugin/media-class.c \
	plugin/media-type.h plugin/media-type.c \
	plugin/map.h plugin/map.c \
	plugin/names.h plugin/names.c \
	plugin/nameset.h plugin/nameset.c \
	plugin/near-miss.h plugin/near-miss.c \
	plugin/overlay.h plugin/overlay.c \
	plugin/overlay-bits.c \
	plugin/overlay-live.c \
	plugin/overlay-log.c \
	plugin/overlay-open.c \
	plugin/overlay-private.h \
	plugin/overlay-saved.c \
	plugin/crc32c.h plugin/crc32c.c \
	plugin/params-file.h plugin/params-file.c \
	plugin/parse.h plugin/parse.c \
	plugin/parse-chain.c \
	plugin/parse-dir.c \
	plugin/parse-exfat.c \
	plugin/parse-fat32.c \
	plugin/parse-private.h \
	plugin/partition.h plugin/partition.c \
	plugin/piece.h \
	plugin/shortname.h plugin/shortname.c \
	plugin/ready.h plugin/ready.c \
	plugin/rules.h plugin/rules.c \
	plugin/rules-allow.c \
	plugin/rules-check.c \
	plugin/slots.h plugin/slots.c \
	plugin/upcase.h plugin/upcase.c \
	$(NULL)
libdisk_la_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(UTF8PROC_CFLAGS)
libdisk_la_LIBADD = $(UTF8PROC_LIBS)

plugin_LTLIBRARIES = nbdkit-cloudshare-plugin.la

nbdkit_cloudshare_plugin_la_SOURCES = \
	plugin/cloudshare.c \
	plugin/control-disks.h plugin/control-disks.c \
	plugin/control-verbs.h plugin/control-verbs.c \
	plugin/disk.h plugin/disk.c \
	plugin/disk-private.h \
	plugin/disk-read.c \
	plugin/disk-store.c \
	plugin/disks.h plugin/disks.c \
	plugin/export.h plugin/export.c \
	plugin/extents.h plugin/extents.c \
	plugin/disk-rows.c \
	plugin/idmap.h \
	plugin/interpret.h plugin/interpret.c \
	plugin/interpret-apply.c \
	plugin/interpret-cloud.c \
	plugin/interpret-folders.c \
	plugin/interpret-judge.c \
	plugin/interpret-known.c \
	plugin/interpret-match.c \
	plugin/interpret-orphans.c \
	plugin/interpret-private.h \
	plugin/interpret-remember.c \
	plugin/interpret-scan.c \
	plugin/interpret-stage.c \
	plugin/interpret-timers.c \
	plugin/interpret-tree.c \
	plugin/interpret-raw.h plugin/interpret-raw.c \
	plugin/stage-over.h plugin/stage-over.c \
	plugin/interpreter.h plugin/interpreter.c \
	plugin/layout.h plugin/layout.c \
	plugin/layout-raw.h plugin/layout-raw.c \
	plugin/params.h plugin/params.c \
	plugin/peer.h plugin/peer.c \
	plugin/raw-rows.h plugin/raw-rows.c \
	plugin/seen.h plugin/seen.c \
	plugin/selection.h plugin/selection.c \
	plugin/status.h plugin/status.c \
	plugin/view.h plugin/view.c \
	plugin/view-io.c \
	plugin/view-private.h \
	plugin/view-writes.c \
	$(NULL)
nbdkit_cloudshare_plugin_la_CPPFLAGS = \
	-I$(srcdir)/sync -I$(srcdir)/plugin \
	$(NBDKIT_CFLAGS) $(SQLITE_CFLAGS) $(UTF8PROC_CFLAGS) $(JSON_CFLAGS) $(CRYPTO_CFLAGS) \
	$(NULL)
nbdkit_cloudshare_plugin_la_LIBADD = libdisk.la libsync.la $(CRYPTO_LIBS) $(JSON_LIBS)
nbdkit_cloudshare_plugin_la_LDFLAGS = \
	$(AM_LDFLAGS) -module -avoid-version -shared \
	-Wl,--version-script=$(srcdir)/plugin/plugin.syms
EXTRA_DIST += plugin/plugin.syms
