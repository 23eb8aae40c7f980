# SPDX-License-Identifier: BSD-3-Clause

# The write path as a whole: recorded traces of guests and their player; random operations compared with a model; crashes,
# faults, and changes on both sides.

if HAVE_CHECK
check_PROGRAMS += tests/check-replay
TESTS += tests/check-replay
endif

# What plays traces: for check-replay, which tests it, and for tests of what interprets guests' writes.
trace_player = \
	tests/traces/replay.c \
	tests/traces/replay.h \
	tests/traces/trace.c \
	tests/traces/trace.h \
	$(NULL)

tests_check_replay_SOURCES = tests/check-replay.c $(trace_player)
tests_check_replay_CPPFLAGS = -I$(srcdir)/tests/traces $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_replay_LDADD = $(CHECK_LIBS) $(CRYPTO_LIBS)

write_tests = \
	tests/test-crash-folder.sh \
	tests/test-crash-guest.sh \
	tests/test-crash-kill.sh \
	tests/test-crash-steps.sh \
	tests/test-faults.sh \
	tests/test-fidelity-exfat.sh \
	tests/test-fidelity-fat32.sh \
	tests/test-fidelity-mtools.sh \
	tests/test-fidelity-writers.sh \
	tests/test-guest-programs.sh \
	tests/test-two-sided.sh \
	$(NULL)

if INTEGRATION_TESTS
TESTS += $(write_tests)
endif

EXTRA_DIST += \
	$(write_tests) \
	tests/fidelity/fidelity.py \
	tests/fidelity/functions.sh \
	tests/fidelity/guest-test.sh \
	tests/fidelity/model.py \
	tests/fidelity/play.py \
	tests/fidelity/proxy.py \
	tests/fidelity/record-session \
	tests/fidelity/twosided.py \
	tests/fidelity/writers.py \
	tests/traces/6.1-exfat-busy.xz \
	tests/traces/6.1-exfat-idle.xz \
	tests/traces/6.1-exfat-sync.xz \
	tests/traces/6.1-fat32-busy.xz \
	tests/traces/6.1-fat32-idle.xz \
	tests/traces/6.1-fat32-sync.xz \
	tests/traces/6.12-exfat-busy.xz \
	tests/traces/6.12-exfat-idle.xz \
	tests/traces/6.12-exfat-sync.xz \
	tests/traces/6.12-fat32-busy.xz \
	tests/traces/6.12-fat32-idle.xz \
	tests/traces/6.12-fat32-sync.xz \
	tests/traces/README \
	tests/traces/operations.py \
	tests/traces/record \
	tests/traces/recorder.py \
	$(NULL)
