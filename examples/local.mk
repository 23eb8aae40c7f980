# SPDX-License-Identifier: BSD-3-Clause

EXTRA_DIST += \
	examples/libvirt-disk.xml \
	examples/libvirt-usb-disk.xml \
	examples/nbdkit-cloudshare@.service \
	examples/nbdkit-cloudshare@.socket \
	examples/nextcloud.conf \
	examples/qemu.sh \
	$(NULL)
