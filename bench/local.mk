# SPDX-License-Identifier: BSD-3-Clause

# "make bench" measures this build; it is no part of "make check".  BENCHFLAGS="--quick warm" are its options.
EXTRA_PROGRAMS = bench/nbdload

bench_nbdload_SOURCES = bench/nbdload.c

CLEANFILES += $(EXTRA_PROGRAMS)

EXTRA_DIST += \
	bench/README \
	bench/cold.py \
	bench/disks.py \
	bench/guestwrite.py \
	bench/harness.py \
	bench/machine.py \
	bench/many.py \
	bench/run-bench \
	bench/send.py \
	bench/table.py \
	bench/warm.py \
	bench/write.py \
	$(NULL)

.PHONY: bench
bench: all bench/nbdload$(EXEEXT) tests/servers/delayproxy$(EXEEXT)
	abs_top_builddir='$(abs_top_builddir)' $(srcdir)/bench/run-bench $(BENCHFLAGS)
