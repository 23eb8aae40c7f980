# SPDX-License-Identifier: BSD-3-Clause

# Limits of bytes a second, and news that clouds push.
if HAVE_CHECK
check_PROGRAMS += \
	tests/check-door \
	tests/check-rate \
	tests/check-websocket \
	$(NULL)
TESTS += \
	tests/check-door \
	tests/check-rate \
	tests/check-websocket \
	$(NULL)
endif

tests_check_door_SOURCES = tests/check-door.c
tests_check_door_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_door_LDADD = libsync.la $(CHECK_LIBS)

tests_check_rate_SOURCES = tests/check-rate.c
tests_check_rate_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_rate_LDADD = libsync.la $(CHECK_LIBS)

tests_check_websocket_SOURCES = tests/check-websocket.c
tests_check_websocket_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_websocket_LDADD = libsync.la $(CHECK_LIBS)

if INTEGRATION_TESTS
TESTS += tests/test-push.sh tests/test-rates.sh
endif
EXTRA_DIST += \
	tests/servers/notify-push.py \
	tests/test-push.sh \
	tests/test-rates.sh \
	$(NULL)
