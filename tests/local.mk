# SPDX-License-Identifier: BSD-3-Clause

AM_TESTS_ENVIRONMENT = \
	abs_top_srcdir='$(abs_top_srcdir)'; export abs_top_srcdir; \
	abs_top_builddir='$(abs_top_builddir)'; export abs_top_builddir; \
	PLUGIN='$(abs_top_builddir)/.libs/nbdkit-cloudshare-plugin.so'; export PLUGIN; \
	MALLOC_PERTURB_=$$(($$$$ % 255 + 1)); export MALLOC_PERTURB_;

# Units: one program for each file or few, beside nothing but libraries.
include $(srcdir)/tests/unit-core.mk
include $(srcdir)/tests/unit-plugin.mk
include $(srcdir)/tests/unit-sync-dav.mk
include $(srcdir)/tests/unit-sync-dir.mk

# Integration: scripts that use a real nbdkit, real servers, real guests.
include $(srcdir)/tests/harness.mk

integration_tests = \
	tests/test-bad-bodies.sh \
	tests/test-bad-input.sh \
	tests/test-bad-names.sh \
	tests/test-churn.sh \
	tests/test-dir-exfat.sh \
	tests/test-dir-fat32.sh \
	tests/test-full-disk.sh \
	tests/test-guest-exfat.sh \
	tests/test-guest-fat32.sh \
	tests/test-killfetch.sh \
	tests/test-live.sh \
	tests/test-nbd.sh \
	tests/test-other-remote.sh \
	tests/test-restart.sh \
	tests/test-tree-tokens.sh \
	tests/test-two-processes.sh \
	tests/test-webdav-apache.sh \
	tests/test-webdav-rclone.sh \
	tests/test-webdav-sabredav.sh \
	$(NULL)

if INTEGRATION_TESTS
TESTS += $(integration_tests)
endif

EXTRA_DIST += \
	$(integration_tests) \
	tests/churn.py \
	tests/disk-functions.sh \
	tests/diskread.py \
	tests/guest-check.py \
	$(NULL)

# The units under valgrind; check must not fork, or valgrind would look at the wrong process.
check-valgrind: $(check_PROGRAMS)
	CK_FORK=no CK_TIMEOUT_MULTIPLIER=20 $(MAKE) check-TESTS TESTS='$(filter tests/check-%,$(TESTS))' \
	    LOG_COMPILER='$(VALGRIND)' \
	    LOG_FLAGS='-q --error-exitcode=119 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --trace-children=no'
print-unit-tests:
	@echo $(filter tests/check-%,$(TESTS))
.PHONY: check-valgrind print-unit-tests
