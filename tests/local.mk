# SPDX-License-Identifier: BSD-3-Clause

AM_TESTS_ENVIRONMENT = \
	abs_top_srcdir='$(abs_top_srcdir)'; export abs_top_srcdir; \
	abs_top_builddir='$(abs_top_builddir)'; export abs_top_builddir; \
	PLUGIN='$(abs_top_builddir)/.libs/nbdkit-cloudshare-plugin.so'; export PLUGIN; \
	MALLOC_PERTURB_=$$(($$$$ % 255 + 1)); export MALLOC_PERTURB_; \
	CK_DEFAULT_TIMEOUT=60; export CK_DEFAULT_TIMEOUT;

# Units: one program for each file or few, beside nothing but libraries.
include $(srcdir)/tests/unit-core.mk
include $(srcdir)/tests/unit-push.mk
include $(srcdir)/tests/unit-plugin.mk
include $(srcdir)/tests/unit-sync-dav.mk
include $(srcdir)/tests/unit-sync-dir.mk
include $(srcdir)/tests/unit-overlay.mk
include $(srcdir)/tests/unit-rules.mk
include $(srcdir)/tests/unit-parse.mk
include $(srcdir)/tests/unit-write.mk
include $(srcdir)/tests/unit-interpret.mk
include $(srcdir)/tests/unit-raw.mk
include $(srcdir)/tests/unit-ctl.mk
include $(srcdir)/tests/unit-many.mk
include $(srcdir)/tests/unit-s3.mk
include $(srcdir)/tests/unit-rclone.mk
include $(srcdir)/tests/unit-verbs.mk
include $(srcdir)/tests/unit-libvirt.mk
include $(srcdir)/tests/unit-door.mk

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
	tests/test-split.sh \
	tests/test-tree-tokens.sh \
	tests/test-two-processes.sh \
	tests/test-webdav-apache.sh \
	tests/test-webdav-rclone.sh \
	tests/test-webdav-sabredav.sh \
	$(NULL)

# Tests that take minutes, for a machine that has them to spare: make check LONG_TESTS='$(long_tests)'.
long_tests = tests/test-100000.sh tests/test-scale.sh $(s3_tests) $(rclone_tests)
LONG_TESTS =
TEST_EXTENSIONS = .sh

if INTEGRATION_TESTS
TESTS += $(integration_tests) $(LONG_TESTS)
endif

EXTRA_DIST += \
	$(integration_tests) \
	$(long_tests) \
	tests/README.tests \
	tests/churn.py \
	tests/disk-functions.sh \
	tests/diskread.py \
	tests/guest-check.py \
	tests/valgrind/nbdkit \
	tests/valgrind/suppressions \
	$(NULL)

# The units under valgrind, which follows check's forks; but not those that watch clocks while threads work, because
# valgrind lets one thread run at a time, and not those that would take minutes there: the address sanitizer looks at them.
# Then nbdkit with the plugin: valgrind_tests stop it in a way that lets valgrind have its say.
not_under_valgrind = \
	tests/check-churn \
	tests/check-dir-change \
	tests/check-media-type \
	tests/check-merge \
	tests/check-raw \
	tests/check-rules \
	tests/check-cache \
	tests/check-interpret \
	tests/check-overlay \
	tests/check-overlay-power \
	tests/check-pull \
	tests/check-push \
	tests/check-replay \
	tests/check-traces \
	tests/check-twosided \
	$(NULL)
valgrind_tests = tests/test-live.sh tests/test-nbd.sh
check-valgrind: all $(check_PROGRAMS)
	status=0; \
	CLOUDSHARE_VALGRIND=1 CK_TIMEOUT_MULTIPLIER=20 $(MAKE) check-TESTS TESTS='$(filter-out $(not_under_valgrind),$(filter tests/check-%,$(TESTS)))' \
	    LOG_COMPILER='$(VALGRIND)' \
	    LOG_FLAGS='-q --suppressions=$(abs_srcdir)/tests/valgrind/suppressions --error-exitcode=119 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --trace-children=no' || status=1; \
	NBDKIT='$(abs_srcdir)/tests/valgrind/nbdkit' $(MAKE) check-TESTS TESTS='$(valgrind_tests)' || status=1; \
	exit $$status
print-unit-tests:
	@echo $(filter tests/check-%,$(TESTS))
.PHONY: check-valgrind print-unit-tests
