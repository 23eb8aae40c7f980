#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The parser reads what others wrote: our own renderer (random trees, with all their names), mtools, and exfat-fuse.
# Trees, sizes and content must be the same, and every chain sound.  SEEDS="1 2 3" chooses the random trees.

. "$(dirname "$0")/functions.sh"

render=$abs_top_builddir/tests/render-image
parse=$abs_top_builddir/tests/parse-image
[ -x "$render" ] && [ -x "$parse" ] || skip "tests/render-image and tests/parse-image were not built"

# What cksum says of a folder, in the form of parse-image.
list_folder ()
{
    (cd "$1" && find . -type f -print0 | xargs -0 -r cksum)
    (cd "$1" && find . -mindepth 1 -type d -printf '- - %p/\n')
}

# compare WHAT EXPECTED FORMAT OFFSET IMAGE
compare ()
{
    "$parse" "$3" "$4" "$5" >"$tmp/got" 2>"$tmp/complaints" || { head -n 20 "$tmp/complaints"; fail "$1: not sound"; }
    sort -o "$tmp/got" "$tmp/got"
    sort -o "$2" "$2"
    diff "$2" "$tmp/got" >"$tmp/diff" || { head -n 20 "$tmp/diff"; fail "$1: reads something else"; }
    echo "$1: $(wc -l <"$2") items"
}

for seed in ${SEEDS:-1 2 3 ${CLOUDSHARE_LONG:+$RANDOM}}; do
    for case in fat32:none:64M fat32:mbr:300M exfat:none:300M exfat:gpt:2G; do
        IFS=: read -r format table size <<<"$case"
        "$render" -w 3000 "$seed" "$format" "$table" "$size" "$tmp/image" >"$tmp/expected" 2>/dev/null
        offset=0
        [ "$table" = none ] || offset=1048576
        compare "$format in $table, seed $seed" "$tmp/expected" "$format" "$offset" "$tmp/image"
    done
done

# A tree for the others: many files, deep folders, names of all lengths, sizes around clusters.
tree=$tmp/tree
mkdir -p "$tree/a/b/c/d" "$tree/many" "$tree/empty folder"
for i in {1..300}; do
    echo "$i" >"$tree/many/a file with a number $i.txt"
done
for size in 0 1 511 512 513 4095 4096 4097 100000; do
    head -c "$size" /dev/urandom >"$tree/a/b/size $size.bin"
done
printf 'x' >"$tree/UPPER.TXT"
printf 'x' >"$tree/lower.txt"
printf 'x' >"$tree/MiXeD.TxT"
printf 'x' >"$tree/a/b/c/d/$(printf 'n%.0s' {1..200})"
printf 'x' >"$tree/thirteen.unit"
printf 'x' >"$tree/日本語.txt"
list_folder "$tree" >"$tmp/tree.list"

if command -v mkfs.fat >/dev/null && command -v mcopy >/dev/null; then
    truncate -s 0 "$tmp/image"
    truncate -s 100M "$tmp/image"
    mkfs.fat -F 32 -s 2 "$tmp/image" >/dev/null
    export MTOOLS_SKIP_CHECK=1
    # Holes first, so that chains are in pieces.
    for i in {1..40}; do
        head -c 3000 /dev/zero | mcopy -i "$tmp/image" - "::hole$i"
    done
    for i in {1..40..2}; do
        mdel -i "$tmp/image" "::hole$i"
    done
    mcopy -s -i "$tmp/image" "$tree"/* ::
    for i in {2..40..2}; do
        mdel -i "$tmp/image" "::hole$i"
    done
    compare "mkfs.fat and mtools" "$tmp/tree.list" fat32 0 "$tmp/image"
else
    echo "no mkfs.fat or mtools: left out"
fi

# By the image's name: a loop device's own name is soon another's.
release_loop ()
{
    losetup -j "$tmp/image" | cut -d: -f1 | xargs -r losetup -d
}

# exfat_guest: writes the tree into a new exFAT image, in pieces, with a file system of somebody else.
exfat_guest ()
{
    truncate -s 0 "$tmp/image"
    truncate -s 200M "$tmp/image"
    mkfs.exfat "$tmp/image" >/dev/null 2>&1 || return
    mkdir -p "$tmp/mnt"
    # It takes block devices only.
    loop=$(losetup -f --show "$tmp/image" 2>/dev/null) || return
    cleanup_fn release_loop
    mount.exfat-fuse "$loop" "$tmp/mnt" >/dev/null 2>&1 || return
    cleanup_fn umount -q "$tmp/mnt"
    # Holes first, so that one file has a chain in pieces.
    for i in {1..40}; do
        head -c 30000 /dev/zero >"$tmp/mnt/hole$i"
    done
    rm "$tmp"/mnt/hole*[02468]
    head -c 1000000 "$tmp/random" >"$tmp/mnt/in pieces.bin"
    cp -r "$tree"/. "$tmp/mnt"
    rm "$tmp"/mnt/hole*
    mv "$tmp/mnt/a" "$tmp/mnt/renamed to something longer"
    umount "$tmp/mnt"
    # The mount goes before its process does.
    for _ in {1..100}; do
        release_loop 2>/dev/null
        [ -n "$(losetup -j "$tmp/image")" ] || return 0
        sleep 0.1
    done
}

head -c 1000000 /dev/urandom >"$tmp/random"
if command -v mkfs.exfat >/dev/null && command -v mount.exfat-fuse >/dev/null && exfat_guest; then
    mv "$tree/a" "$tree/renamed to something longer"
    cp "$tmp/random" "$tree/in pieces.bin"
    list_folder "$tree" >"$tmp/tree.list"
    compare "mkfs.exfat and exfat-fuse" "$tmp/tree.list" exfat 0 "$tmp/image"
else
    echo "no mkfs.exfat or exfat-fuse, or no FUSE or loop devices: left out"
fi
