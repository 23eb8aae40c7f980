# SPDX-License-Identifier: BSD-3-Clause

# cloudsharectl against the real verbs of the control socket, with made-up views.
check_PROGRAMS += tests/ctlserver
if INTEGRATION_TESTS
TESTS += tests/test-ctl.sh
endif
EXTRA_DIST += tests/test-ctl.sh

tests_ctlserver_SOURCES = \
	tests/ctlserver.c \
	plugin/control-verbs.h plugin/control-verbs.c \
	plugin/extents.h plugin/extents.c \
	plugin/disk-rows.c \
	plugin/status.h plugin/status.c \
	$(NULL)
tests_ctlserver_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(SQLITE_CFLAGS) $(JSON_CFLAGS)
tests_ctlserver_LDADD = libdisk.la libsync.la $(SQLITE_LIBS) $(JSON_LIBS)
