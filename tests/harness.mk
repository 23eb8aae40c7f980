# SPDX-License-Identifier: BSD-3-Clause

# What integration tests stand on, and the tests of that.

check_PROGRAMS += tests/servers/delayproxy

tests_servers_delayproxy_SOURCES = tests/servers/delayproxy.c

if INTEGRATION_TESTS
TESTS += \
	tests/test-guest.sh \
	tests/test-servers.sh \
	$(NULL)
endif

dist_check_SCRIPTS += \
	tests/test-guest.sh \
	tests/test-servers.sh \
	$(NULL)

EXTRA_DIST += \
	tests/functions.sh \
	tests/guest/README \
	tests/guest/build-guest \
	tests/guest/guest-init \
	tests/guest/guest.py \
	tests/make-tree.py \
	tests/servers/nasty.py \
	tests/servers/apache.sh \
	tests/servers/common.sh \
	tests/servers/rclone.sh \
	tests/servers/sabredav.php \
	tests/servers/sabredav.sh \
	$(NULL)
