# SPDX-License-Identifier: BSD-3-Clause

if HAVE_CHECK
check_PROGRAMS += \
	tests/check-s3-plan \
	tests/check-s3-xml \
	tests/check-sigv4 \
	$(NULL)
TESTS += \
	tests/check-s3-plan \
	tests/check-s3-xml \
	tests/check-sigv4 \
	$(NULL)
endif

tests_check_s3_plan_SOURCES = tests/check-s3-plan.c
tests_check_s3_plan_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_s3_plan_LDADD = libsync.la $(CHECK_LIBS)

tests_check_s3_xml_SOURCES = tests/check-s3-xml.c
tests_check_s3_xml_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_s3_xml_LDADD = libsync.la $(CHECK_LIBS)

tests_check_sigv4_SOURCES = tests/check-sigv4.c
tests_check_sigv4_CPPFLAGS = -I$(srcdir)/sync $(CHECK_CFLAGS)
tests_check_sigv4_LDADD = libsync.la $(CHECK_LIBS)

# By a Ceph RADOS gateway or a Swift of their own, and so in the long tests.
s3_tests = tests/test-s3.sh tests/test-s3-disk.sh tests/test-s3-million.sh tests/test-s3-ranges.sh tests/test-s3-swift.sh

EXTRA_DIST += \
	$(s3_tests) \
	tests/s3tool.py \
	tests/servers/rgw.sh \
	tests/servers/swift.sh \
	tests/servers/s3million.py \
	tests/servers/s3proxy.py \
	$(NULL)
