#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Real guests of a real libvirtd share the disks that rules give them: each sees its own and nothing else, each writes, the
# cloud has it, and then the others; the server is killed under one of them, as examples/libvirt/README says.

. "$(dirname "$0")/functions.sh"
requires python3 qemu-system-x86_64 libvirtd virsh unshare nbdinfo
[ "$(id -u)" = 0 ] || skip "only root can start a libvirtd of its own"
requires_run unshare --mount true
CTL=$abs_top_builddir/cloudsharectl

# What is in each folder is marked: that lets a guest look for bytes that it should not have.
mkdir -m 700 "$tmp/cache"
mkdir -p "$tmp/remote/Photos/2026" "$tmp/remote/Docs/work" "$tmp/remote/Secret"
for folder in Photos Docs Secret; do
    for i in {1..2000}; do
        echo "marker-of-$folder $i"
    done >"$tmp/remote/$folder/marked"
    for i in {1..10}; do
        head -c 20000 /dev/urandom >"$tmp/remote/$folder/$i.bin"
    done
done
echo flower >"$tmp/remote/Photos/2026/flower.jpg"
echo letter >"$tmp/remote/Docs/work/a long name of a letter.txt"

cat >"$tmp/rules" <<'RULES'
disk = photos,folder=/Photos,size=80M,label=PHOTOS
disk = docs,folder=/Docs,size=64M,label=DOCS
vm = vm1,disk=photos
vm = vm2,disk=photos
vm = vm3,disk=photos,disk=docs
vm = vm4,disk=docs
RULES

# libvirtd's sockets, and ours, have short names.
short=$(mktemp -d /tmp/cloudshare-virt.XXXXXX)
cleanup_fn rm -rf "$short"
preload=$(_preload)
server=(${preload:+env LD_PRELOAD="$preload"} "$NBDKIT" -f -U "$short/nbd" "$PLUGIN" config="$tmp/rules" remote="$tmp/remote"
    cache="$tmp/cache" linger=3 write-back=1)

private=$abs_top_srcdir/tests/libvirt/private-libvirtd
cleanup_fn "$private" stop "$short/libvirt"
uri=$("$private" start "$short/libvirt") || fail "libvirtd does not start"

status=0
python3 "$abs_top_srcdir/tests/libvirt/four-guests.py" "$uri" "$CTL" "$tmp/cache" "$tmp/remote" "$short/nbd" "$tmp/nbdkit.log" \
    "${server[@]}" || status=$?
[ $status != 77 ] || skip "guests cannot be had"
[ $status = 0 ] || { cp "$short/libvirt/libvirtd.log" "$tmp/libvirtd.log"; fail "see above"; }
