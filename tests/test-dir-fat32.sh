#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Thousands of files of a local folder on a FAT32 disk: copied through NBD, judged by fsck, sfdisk and sgdisk, and read by
# mtools, 7z, GRUB and our own reader.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires nbdcopy fsck.fat mdir mcopy 7z sfdisk sgdisk grub-fstest

make_tree "$tmp/remote" --files 2500 --folders 80 --depth 9 --largest 100000 --sums "$tmp/want.sums"

for partition in mbr gpt; do
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-$partition" fs=fat32 partition=$partition size=4G timezone=utc
    nbdcopy "$NBD_URI" "$tmp/disk.img"
    same_content "$tmp/remote" "$tmp/want.sums"
    stop_nbdkit

    sfdisk --verify "$tmp/disk.img" >"$tmp/sfdisk.log" 2>&1 && grep -q 'No errors' "$tmp/sfdisk.log" || fail "sfdisk"
    [ $partition = mbr ] || sgdisk -v "$tmp/disk.img" | grep 'No problems found' >/dev/null || fail "sgdisk"
    volume_of "$tmp/disk.img" "$tmp/volume.img"
    volume_is_clean "$tmp/volume.img"
done

# 7z reads them all.
TZ=UTC 7z x -bd -o"$tmp/7z" "$tmp/volume.img" >"$tmp/7z.log" 2>&1 || fail "7z"
tree_sums "$tmp/7z" >"$tmp/7z.sums"
cmp "$tmp/want.sums" "$tmp/7z.sums"
(cd "$tmp/remote" && find . -type d | sort) >"$tmp/folders"
(cd "$tmp/7z" && find . -type d | sort) | cmp "$tmp/folders" -

# Times: FAT counts two seconds, in a zone that nobody writes down; timezone= says which.
(cd "$tmp/remote" && find . -type f -newermt 1980-01-02 -printf '%Ts %p\n' | sort -k2 |
    awk '{ sub (/\..*/, "", $1); $1 -= $1 % 2; print }') >"$tmp/times"
(cd "$tmp/7z" && TZ=UTC find . -type f -newermt 1980-01-02 -printf '%Ts %p\n' | sort -k2 |
    awk '{ sub (/\..*/, "", $1); $1 -= $1 % 2; print }') >"$tmp/7z.times"
[ "$(wc -l <"$tmp/times")" -gt 2000 ] || fail "no times to compare"
diff "$tmp/times" "$tmp/7z.times" >"$tmp/times.diff" || fail "times differ: $(head -n 4 "$tmp/times.diff")"

# mtools and GRUB too, each from code of its own.  mtools shows "_" for what is beyond 16 bits; so by number.
[ "$(mdir -/ -a -b -i "$tmp/volume.img" :: | wc -l)" = $(($(find "$tmp/remote" | wc -l) - 1)) ] || fail "mdir counts another number"
n=0
while read -r file; do
    mcopy -n -i "$tmp/volume.img" "::/${file}" "$tmp/copied" 2>>"$tmp/mcopy.log" && cmp "$tmp/copied" "$tmp/remote/$file"
    rm -f "$tmp/copied"
    grub-fstest "$tmp/disk.img" cmp "(loop0,gpt1)/$file" "$tmp/remote/$file" >"$tmp/grub.log" 2>&1 || fail "GRUB: $file"
    n=$((n + 1))
done < <(cd "$tmp/remote" && find . -type f -size +0 -printf '%P\n' | grep -v '[^A-Za-z0-9_./-]' | LC_ALL=C sort | head -n 40)
[ $n -ge 20 ] || fail "only $n files were compared"
