# SPDX-License-Identifier: BSD-3-Clause

pods = \
	man/nbdkit-cloudshare-plugin.pod \
	man/cloudsharectl.pod \
	man/cloudshare-state.pod \
	man/cloudshare-design.pod \
	$(NULL)
EXTRA_DIST += $(pods)

# A release carries the pages; a clone makes them, or goes without where there is no pod2man.
if HAVE_POD2MAN

dist_man_MANS = \
	man/nbdkit-cloudshare-plugin.1 \
	man/cloudsharectl.1 \
	man/cloudshare-state.5 \
	man/cloudshare-design.7 \
	$(NULL)
MAINTAINERCLEANFILES = $(dist_man_MANS)

# By way of a temporary name: a page that pod2man complains about must not be left behind as if it were done.
pod2man = $(POD2MAN) --errors=die --center=cloudshare --release='cloudshare $(PACKAGE_VERSION)'

man/nbdkit-cloudshare-plugin.1: man/nbdkit-cloudshare-plugin.pod
	$(AM_V_GEN)$(MKDIR_P) man && $(pod2man) --section=1 --name=NBDKIT-CLOUDSHARE-PLUGIN \
	    $(srcdir)/man/nbdkit-cloudshare-plugin.pod $@.tmp && mv $@.tmp $@

man/cloudsharectl.1: man/cloudsharectl.pod
	$(AM_V_GEN)$(MKDIR_P) man && $(pod2man) --section=1 --name=CLOUDSHARECTL \
	    $(srcdir)/man/cloudsharectl.pod $@.tmp && mv $@.tmp $@

man/cloudshare-state.5: man/cloudshare-state.pod
	$(AM_V_GEN)$(MKDIR_P) man && $(pod2man) --section=5 --name=CLOUDSHARE-STATE \
	    $(srcdir)/man/cloudshare-state.pod $@.tmp && mv $@.tmp $@

man/cloudshare-design.7: man/cloudshare-design.pod
	$(AM_V_GEN)$(MKDIR_P) man && $(pod2man) --section=7 --name=CLOUDSHARE-DESIGN \
	    $(srcdir)/man/cloudshare-design.pod $@.tmp && mv $@.tmp $@

endif
