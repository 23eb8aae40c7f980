# SPDX-License-Identifier: BSD-3-Clause

# Where the server listens, what cloudsharectl tells libvirt of it, and guests of a real libvirtd.
if HAVE_CHECK
check_PROGRAMS += tests/check-listening
TESTS += tests/check-listening
endif
if INTEGRATION_TESTS
TESTS += tests/test-libvirt-xml.sh tests/test-libvirt.sh
endif
EXTRA_DIST += \
	tests/test-libvirt-xml.sh \
	tests/test-libvirt.sh \
	tests/libvirt/README \
	tests/libvirt/private-libvirtd \
	tests/libvirt/domain.py \
	tests/libvirt/four-guests.py \
	$(NULL)

tests_check_listening_SOURCES = tests/check-listening.c
tests_check_listening_CPPFLAGS = -I$(srcdir)/sync -I$(srcdir)/plugin $(CHECK_CFLAGS)
tests_check_listening_LDADD = libdisk.la libsync.la $(CHECK_LIBS)
