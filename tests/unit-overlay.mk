# SPDX-License-Identifier: BSD-3-Clause

# Tests of what guests wrote: against a model, beside threads, on a full disk, and over losses of power.

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-overlay \
	tests/check-overlay-power \
	$(NULL)
TESTS += \
	tests/check-overlay \
	tests/check-overlay-power \
	$(NULL)
endif

tests_check_overlay_SOURCES = tests/check-overlay.c
tests_check_overlay_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_overlay_LDADD = libdisk.la libsync.la $(CHECK_LIBS)

# Its own pwrite, fdatasync and so on take the place of libc's; so all it is made of has to be linked into it.
tests_check_overlay_power_SOURCES = \
	tests/check-overlay-power.c \
	tests/lostpower.c tests/lostpower.h \
	$(NULL)
tests_check_overlay_power_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_overlay_power_LDADD = libdisk.la libsync.la $(CHECK_LIBS)
