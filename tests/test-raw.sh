#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A disk image that is kept in the cloud in pieces: a machine boots from it by its BIOS, writes to it, and the cloud has it, in
# the pieces that changed.  Then what becomes of the disk when the server is killed, and when the pieces change in the cloud.

. "$(dirname "$0")/functions.sh"
requires python3 qemu-system-x86_64 qemu-io nbdcopy nbdinfo sfdisk mkfs.ext4 e2fsck debugfs grub-mkimage cpio dpkg-deb depmod
grub=/usr/lib/grub/i386-pc
[ -e $grub/boot.img ] || skip "grub-pc-bin is not installed"
folder=$("$abs_top_srcdir/tests/guest/build-guest") || skip "guests cannot be had"
folder=$(tail -n 1 <<<"$folder")
deb=$(ls -t "$folder"/linux-image-*.deb | head -n 1)
release=$(cat "$folder/release")
export PATH=$PATH:/sbin:/usr/sbin

# ---- the image ----

# The parts of the kernel's package that a machine needs to mount ext4 on a virtio disk.
mkdir "$tmp/kernel"
dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tmp/kernel" --wildcards './boot/vmlinuz-*' '*/modules.builtin*' '*/modules.order' \
    '*/fs/ext4/*' '*/fs/jbd2/*' '*/fs/mbcache*' '*/lib/crc*' '*/crypto/crc*' '*/virtio/*' '*/virtio_blk*'
depmod -b "$tmp/kernel" "$release"

mkdir -p "$tmp/initrd"/{bin,dev,root,modules}
cp "$(command -v busybox)" "$tmp/initrd/bin/busybox"
n=100
for module in virtio_pci virtio_blk crc32c_generic ext4; do
    modprobe -d "$tmp/kernel" -S "$release" --show-depends $module 2>/dev/null | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r file; do
    n=$((n + 1))
    cp "$file" "$tmp/initrd/modules/$n.ko"
done
cat >"$tmp/initrd/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for m in /modules/*; do $b insmod $m; done
while ! [ -e /dev/vda1 ]; do $b usleep 20000; done
$b mount -t ext4 /dev/vda1 /root && exec $b switch_root /root /bin/init
$b echo "no root file system"
$b poweroff -f
INIT

mkdir -p "$tmp/root"/{bin,boot,dev,proc,data}
cp "$(command -v busybox)" "$tmp/root/bin/busybox"
cat >"$tmp/root/bin/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
echo "booted from $(cut -d' ' -f1-3 /proc/version | tr ' ' _)" >>/data/boots
head -c 3000000 /dev/urandom >/data/random
sha256sum /data/random >/data/sum
sync
mount -o remount,ro / && echo "ALL DONE"
poweroff -f
INIT
chmod 755 "$tmp/initrd/init" "$tmp/root/bin/init"
(cd "$tmp/initrd" && find . | cpio -o -H newc --quiet | gzip -1) >"$tmp/root/boot/initrd"
cp "$tmp"/kernel/boot/vmlinuz-* "$tmp/root/boot/kernel"

truncate -s 100000K "$tmp/image"
echo 'start=2048, type=83, bootable' | sfdisk -q "$tmp/image"
truncate -s $((100000 * 1024 - 1048576)) "$tmp/part"
mkfs.ext4 -q -F -d "$tmp/root" "$tmp/part"
dd if="$tmp/part" of="$tmp/image" bs=1M seek=1 conv=notrunc,sparse status=none
cat >"$tmp/grub.cfg" <<'GRUB'
linux (hd0,msdos1)/boot/kernel console=ttyS0 panic=-1 quiet random.trust_cpu=on
initrd (hd0,msdos1)/boot/initrd
boot
GRUB
grub-mkimage -O i386-pc -d $grub -p / -c "$tmp/grub.cfg" -o "$tmp/core.img" biosdisk part_msdos ext2 linux
dd if=$grub/boot.img of="$tmp/image" bs=440 count=1 conv=notrunc status=none
dd if="$tmp/core.img" of="$tmp/image" bs=512 seek=1 conv=notrunc status=none

# ---- the cloud has it in pieces ----

mkdir -p "$tmp/remote/images/debian"
(cd "$tmp/remote/images/debian" && split -b 7000064 -d "$tmp/image" piece. && echo "not a piece" >README)
touch -d '2020-01-01' "$tmp/remote/images/debian"/*
pieces=("$tmp"/remote/images/debian/piece.*)
changed () { find "$tmp/remote/images" -name 'piece.*' -newermt 2021-01-01 | wc -l; }
copies () { find "$tmp/remote/images" -name '*conflicted*' | wc -l; }

# The last sector of a piece is filled up with zeros.
disk_of_pieces ()
{
    local piece
    for piece in "$tmp"/remote/images/debian/piece.*; do
        cat "$piece"
        head -c $(((512 - $(stat -c %s "$piece") % 512) % 512)) /dev/zero
    done
}
start ()
{
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" linger=2 settle=1 write-back=0 \
        'disk=boot,folder=/images/debian,glob=piece.*,fs=raw'
    NBD_URI=$(nbd_uri vm/boot)
}
# What the cloud has is what the view shows.
same_as_cloud ()
{
    disk_of_pieces | cmp -s - "$tmp/seen"
}
start
nbdcopy "$NBD_URI" "$tmp/seen"
cmp "$tmp/seen" "$tmp/image"

# ---- a machine boots from it ----

boot ()
{
    timeout 200 qemu-system-x86_64 -nodefaults -display none -no-reboot -machine pc -accel "${ACCEL:-kvm}" -accel tcg -m 256 \
        -serial "file:$tmp/console.log" -drive "if=virtio,format=raw,file=$NBD_URI" >"$tmp/qemu.log" 2>&1 </dev/null
    grep -q "ALL DONE" "$tmp/console.log" || fail "the machine did not get to its end"
}
if [ ! -w /dev/kvm ] || grep -qs tcg "${CLOUDSHARE_TEST_CACHE:-/var/tmp/cloudshare-test}"/accel-*; then
    ACCEL=tcg
fi
boot
nbdcopy "$NBD_URI" "$tmp/seen"
wait_until 30 same_as_cloud
n=$(changed)
echo "$n of ${#pieces[@]} pieces were changed"
[ "$n" -gt 0 ] && [ "$n" -lt $((${#pieces[@]} - 3)) ] || fail "$n pieces were changed"
cat "$tmp"/remote/images/debian/piece.* | dd of="$tmp/part" bs=1M skip=1 iflag=fullblock status=none
e2fsck -fn "$tmp/part" >"$tmp/fsck.log" 2>&1
debugfs -R 'cat /data/boots' "$tmp/part" 2>/dev/null | grep -q "booted from Linux_version_$release"
debugfs -R 'dump /data/random /dev/stdout' "$tmp/part" 2>/dev/null | sha256sum >"$tmp/sum"
[ "$(cut -c1-64 "$tmp/sum")" = "$(debugfs -R 'cat /data/sum' "$tmp/part" 2>/dev/null | cut -c1-64)" ] || fail "other bytes"

# Nothing more goes up, and a machine boots from what went up: from an empty cache.
touch -d '2020-01-01' "$tmp"/remote/images/debian/*
sleep 3
stop_nbdkit
[ "$(changed)" = 0 ] || fail "$(changed) pieces were sent again"
rm -r "$tmp/cache"
start
boot
nbdcopy "$NBD_URI" "$tmp/seen"
wait_until 30 same_as_cloud
cat "$tmp"/remote/images/debian/piece.* | dd of="$tmp/part" bs=1M skip=1 iflag=fullblock status=none
e2fsck -fn "$tmp/part" >"$tmp/fsck.log" 2>&1
[ "$(debugfs -R 'cat /data/boots' "$tmp/part" 2>/dev/null | wc -l)" = 2 ] || fail "the second boot left no trace"

# ---- the server is killed ----

for delay in 0 0.5 1.1 1.3; do
    dd if=/dev/urandom of="$tmp/random" bs=512 count=$((RANDOM % 2000 + 1)) status=none
    qemu-io -f raw -c "write -s $tmp/random $((RANDOM * 1024)) $(stat -c %s "$tmp/random")" "$NBD_URI" >/dev/null
    nbdcopy "$NBD_URI" "$tmp/seen"
    sleep $delay
    kill_nbdkit
    start
    nbdcopy "$NBD_URI" "$tmp/seen2"
    cmp "$tmp/seen" "$tmp/seen2"
    wait_until 30 same_as_cloud
done
[ "$(copies)" = 0 ] || fail "there are conflicts"
# What is trimmed is zeros, there as well.
qemu-io -d unmap -f raw -c "discard $((50 << 20)) 1M" "$NBD_URI" >/dev/null
nbdcopy "$NBD_URI" "$tmp/seen"
wait_until 30 same_as_cloud

# ---- pieces change in the cloud ----

# Another size: a disk that is open stays what it is.
before=$(nbdinfo --size "$NBD_URI")
mkfifo "$tmp/hold"
qemu-io -r -f raw "$NBD_URI" <"$tmp/hold" >/dev/null &
holder=$!
exec 7>"$tmp/hold"
echo 'read 0 512' >&7
sleep 1
head -c 1000000 /dev/urandom >"$tmp/remote/images/debian/piece.99"
touch "$tmp/remote/images/debian"
wait_until 30 grep -q "it goes on as it is" "$NBDKIT_LOG"
[ "$(nbdinfo --size "$NBD_URI")" = "$before" ] || fail "an open disk has another size"
exec 7>&-
wait $holder
wait_until 30 grep -q "is made anew, because" "$NBDKIT_LOG"
[ "$(nbdinfo --size "$NBD_URI")" = "$(disk_of_pieces | wc -c)" ] || fail "the disk has not been made anew"
nbdcopy "$NBD_URI" "$tmp/seen"
same_as_cloud
stop_nbdkit
