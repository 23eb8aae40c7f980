#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Thousands of files of a local folder on an exFAT disk: copied through NBD, judged by fsck, sfdisk and sgdisk, and read by
# exfat-fuse, GRUB and our own reader.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires nbdcopy fsck.exfat mount.exfat-fuse losetup sfdisk sgdisk grub-fstest
[ "$(id -u)" = 0 ] || skip "only root can lend exfat-fuse a loop device"
[ -e /dev/fuse ] && [ -e /dev/loop-control ] || skip "there is no /dev/fuse or no loop device"

make_tree "$tmp/remote" --files 2500 --folders 80 --depth 9 --largest 100000 --sums "$tmp/want.sums"

# Nothing but its inode: exFAT holds what is larger than 4 GiB, and the start of the disk comes before its content.
truncate -s 4294967297 "$tmp/remote/large"
printf x | dd of="$tmp/remote/large" bs=1 seek=4294967296 conv=notrunc status=none
touch -d 2001-02-03 "$tmp/remote/large"

start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-auto"
on_disk ls | grep '^4294967297 large$' >/dev/null || fail "the large file is not there: $(on_disk ls | tail -n 1)"
nbdinfo "$NBD_URI" | grep 'exfat from' >/dev/null || fail "fs=auto did not take exFAT for a file above 4 GiB"
read -r offset length < <(on_disk where large)
[ "$length" = 4294967297 ] || fail "large has $length bytes"
[ "$("$PYTHON" -c '
import nbd, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
print (h.pread (3, int (sys.argv[2]) + 4294967295))' "$NBD_URI" "$offset")" = "bytearray(b'\\x00x\\x00')" ] || fail "the end of large differs"
stop_nbdkit
rm "$tmp/remote/large"

for partition in mbr gpt; do
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-$partition" fs=exfat partition=$partition size=4G
    nbdcopy "$NBD_URI" "$tmp/disk.img"
    same_content "$tmp/remote" "$tmp/want.sums"
    stop_nbdkit

    sfdisk --verify "$tmp/disk.img" >"$tmp/sfdisk.log" 2>&1 && grep -q 'No errors' "$tmp/sfdisk.log" || fail "sfdisk"
    [ $partition = mbr ] || sgdisk -v "$tmp/disk.img" | grep 'No problems found' >/dev/null || fail "sgdisk"
    volume_of "$tmp/disk.img" "$tmp/volume.img"
    volume_is_clean "$tmp/volume.img"
done

loop=$(losetup -r -f --show "$tmp/volume.img")
cleanup_fn losetup -d "$loop"
mkdir "$tmp/mnt"
mount.exfat-fuse -o ro "$loop" "$tmp/mnt" >"$tmp/fuse.log" 2>&1 || fail "exfat-fuse cannot mount it"
cleanup_fn umount "$tmp/mnt"
tree_sums "$tmp/mnt" >"$tmp/fuse.sums"
cmp "$tmp/want.sums" "$tmp/fuse.sums"
(cd "$tmp/remote" && find . -type d | sort) >"$tmp/folders"
(cd "$tmp/mnt" && find . -type d | sort) | cmp "$tmp/folders" -

# exFAT counts ten milliseconds and knows the zone; exfat-fuse shows whole pairs of seconds.
(cd "$tmp/remote" && find . -type f -newermt 1980-01-02 -printf '%Ts %p\n' | sort -k2 | awk '{ $1 -= $1 % 2; print }') >"$tmp/times"
(cd "$tmp/mnt" && find . -type f -newermt 1980-01-02 -printf '%Ts %p\n' | sort -k2 | awk '{ $1 -= $1 % 2; print }') >"$tmp/fuse.times"
[ "$(wc -l <"$tmp/times")" -gt 2000 ] || fail "no times to compare"
diff "$tmp/times" "$tmp/fuse.times" >"$tmp/times.diff" || fail "times differ: $(head -n 4 "$tmp/times.diff")"

n=0
while read -r file; do
    grub-fstest "$tmp/disk.img" cmp "(loop0,gpt1)/$file" "$tmp/remote/$file" >"$tmp/grub.log" 2>&1 || fail "GRUB: $file"
    n=$((n + 1))
done < <(cd "$tmp/remote" && find . -type f -size +0 -printf '%P\n' | grep -v '[^A-Za-z0-9_./-]' | LC_ALL=C sort | head -n 40)
[ $n -ge 20 ] || fail "only $n files were compared"
