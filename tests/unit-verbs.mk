# SPDX-License-Identifier: BSD-3-Clause

# What every provider must come to, by one file of verbs.
if INTEGRATION_TESTS
TESTS += tests/test-dir-write.sh
endif

dist_check_SCRIPTS += tests/test-dir-write.sh
EXTRA_DIST += tests/verbs.sh
