# SPDX-License-Identifier: BSD-3-Clause

include $(srcdir)/tests/unit-sync-dir.mk
