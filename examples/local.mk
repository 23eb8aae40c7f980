# SPDX-License-Identifier: BSD-3-Clause

EXTRA_DIST += \
	examples/libvirt/README \
	examples/libvirt/disk.xml \
	examples/libvirt/disk-readonly.xml \
	examples/libvirt/disk-tls.xml \
	examples/libvirt/disk-usb.xml \
	examples/libvirt/domain.xml \
	examples/libvirt/domain-tls.xml \
	examples/nbdkit-cloudshare@.service \
	examples/nbdkit-cloudshare@.socket \
	examples/nextcloud.conf \
	examples/qemu.sh \
	$(NULL)
