# SPDX-License-Identifier: BSD-3-Clause

# Several disks and virtual machines: what is on a disk, who gets it, and what they do to each other.

if HAVE_CHECK
check_PROGRAMS += tests/check-selection
TESTS += tests/check-selection
endif

tests_check_selection_SOURCES = tests/check-selection.c plugin/selection.c $(core_fixture)
tests_check_selection_CPPFLAGS = -I$(srcdir)/plugin $(core_cppflags)
tests_check_selection_LDADD = libdisk.la $(core_libs)

many_tests = \
	tests/test-isolation.sh \
	tests/test-many-vms.sh \
	tests/test-rules.sh \
	$(NULL)

if INTEGRATION_TESTS
TESTS += $(many_tests)
endif

EXTRA_DIST += \
	$(many_tests) \
	tests/fidelity/manysided.py \
	tests/fidelity/twoguests.py \
	tests/fidelity/wroteall.py \
	tests/scale.py \
	$(NULL)
