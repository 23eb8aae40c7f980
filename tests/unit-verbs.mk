# SPDX-License-Identifier: BSD-3-Clause

# What every provider must come to, by one file of verbs; and two hosts at one remote.
verbs_tests = \
	tests/test-dir-write.sh \
	tests/test-two-hosts.sh \
	tests/test-webdav-verbs.sh \
	$(NULL)

if INTEGRATION_TESTS
TESTS += $(verbs_tests)
endif

dist_check_SCRIPTS += $(verbs_tests)
EXTRA_DIST += \
	tests/fidelity/remotes.py \
	tests/verbs.sh \
	$(NULL)
