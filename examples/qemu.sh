#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Boots a virtual machine with a cloud folder as its second disk; nbdkit ends with it.
#
#   qemu.sh GUEST.qcow2 remote=URL-OR-FOLDER [PARAMETER=VALUE...]
#
#   ./qemu.sh debian.qcow2 remote=/srv/pictures
#   ./qemu.sh debian.qcow2 remote=https://cloud.example.com/remote.php/dav/files/alice/ user=alice password=+secret
#   USB=1 QEMU_OPTIONS='-m 4G -smp 2' ./qemu.sh windows.qcow2 remote=/srv/pictures
#
# USB=1 plugs the cloud in as a USB stick, for guests without virtio drivers.  PLUGIN=FILE takes a plugin that is not
# installed.

set -eu

if [ $# -lt 2 ]; then
    sed -n '4,13{s/^#//;s/^ //;p;}' "$0" >&2
    exit 2
fi

export guest="$1"
shift
if [ -n "${USB:-}" ]; then
    export device='-device qemu-xhci -device usb-storage,drive=cloud,removable=on'
else
    export device='-device virtio-blk-pci,drive=cloud'
fi

# nbdkit runs this in a shell, with $unixsocket set.  KVM is used where there is KVM.  (Where nbdkit runs beside its
# guests instead, reconnect-delay=30 lets them outlive its restart.)  What the guest wrote and was not sent when it
# ended stays in the cache folder, and is sent when this runs again.
exec nbdkit -U - --run '
    exec qemu-system-x86_64 -accel kvm -accel tcg -m 2G -drive file="$guest",if=virtio \
        -blockdev driver=nbd,node-name=cloud,server.type=unix,server.path="$unixsocket",export=vm/cloud,discard=unmap \
        $device ${QEMU_OPTIONS:-}
' "${PLUGIN:-cloudshare}" "$@"
