#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Independent programs judge our disks: random trees are rendered to images, which fsck must find clean and other
# implementations must read as what they are.  SEEDS="1 2 3" chooses the trees.

set -e -o pipefail
export LC_ALL=C.UTF-8

render=${abs_top_builddir:-.}/tests/render-image
seeds=${SEEDS:-1 2 ${CLOUDSHARE_LONG:+$RANDOM}}
work=$(mktemp -d)
loop=
failed=0

cleanup ()
{
    mountpoint -q "$work/mnt" && umount "$work/mnt"
    [ -z "$loop" ] || losetup -d "$loop"
    rm -rf "$work"
}
trap cleanup EXIT

have ()
{
    type -P "$1" >/dev/null && return
    [ -e "$work/missing-$1" ] || echo "no $1: its judgement is left out"
    touch "$work/missing-$1"
    return 1
}

# fail WHAT [FILE-TO-SHOW]
fail ()
{
    echo "FAILED: $case: $1"
    [ -z "$2" ] || head -n 20 "$2" | cut -c 1-300
    failed=1
}

# same WHAT EXPECTED GOT
same ()
{
    sort "$2" >"$work/expected"
    sort "$3" >"$work/got"
    diff "$work/expected" "$work/got" >"$work/diff" || fail "$1 reads something else" "$work/diff"
}

# What cksum says of a folder, in the form of render-image.
list_folder ()
{
    (cd "$1" && find . -type f -print0 | xargs -0 -r cksum)
    (cd "$1" && find . -mindepth 1 -type d -printf '- - %p/\n')
}

judge_table ()
{
    local label=$table
    [ "$table" = mbr ] && label=dos

    if have sfdisk; then
        timeout 300 sfdisk --verify "$img" >"$work/log" 2>&1 && grep -q 'No errors' "$work/log" ||
            fail "sfdisk" "$work/log"
        # A table that is too broken to be seen has no errors either.
        timeout 300 sfdisk --dump "$img" >"$work/log" 2>&1 && grep -q "^label: $label" "$work/log" &&
            grep -q 'start= *2048,' "$work/log" || fail "sfdisk sees no partition" "$work/log"
    fi
    if [ "$table" = gpt ] && have sgdisk; then
        timeout 300 sgdisk -v "$img" >"$work/log" 2>&1 && grep -q 'No problems found' "$work/log" &&
            ! grep -q 'Creating new' "$work/log" || fail "sgdisk" "$work/log"
    fi
}

judge_grub ()
{
    have grub-fstest || return 0
    local file device='(loop0)'
    [ "$table" = mbr ] && device='(loop0,msdos1)'
    [ "$table" = gpt ] && device='(loop0,gpt1)'

    timeout 300 grub-fstest "$img" ls "$device/" >"$work/log" 2>&1 || fail "grub-fstest ls" "$work/log"
    # Where there is an extracted copy, GRUB must read the same bytes.
    [ -d "$work/extracted" ] || return 0
    (cd "$work/extracted" && find . -type f -size +0 | grep -v '[][(),=\\ ]' | sort | sed -n 1,12p) >"$work/some"
    while read -r file; do
        timeout 300 grub-fstest "$img" cmp "$device/${file#./}" "$work/extracted/${file#./}" >"$work/log" 2>&1 ||
            fail "grub-fstest cmp $file" "$work/log"
    done <"$work/some"
}

judge_fat32 ()
{
    if have fsck.fat; then
        timeout 300 fsck.fat -n "$volume" >"$work/log" 2>&1 || fail "fsck.fat" "$work/log"
        # It says some things without counting them as errors: the summary must be all that it says.
        [ "$(wc -l <"$work/log")" = 2 ] || fail "fsck.fat complains" "$work/log"
    fi
    if have mdir; then
        # mtools writes "_" for either half of a character beyond 16 bits.
        timeout 300 mdir -/ -a -b -i "$volume" :: 2>"$work/log" | sed 's/^::/./' >"$work/listing" ||
            fail "mdir" "$work/log"
        sed 's/^[^ ]* [^ ]* //' "$work/list" | perl -CSD -pe 's/[\x{10000}-\x{10ffff}]/__/g' >"$work/names"
        same mdir "$work/names" "$work/listing"
    fi
    if have 7z; then
        # 7z shows our private characters for bytes as those bytes.
        timeout 300 7z l -slt "$volume" >"$work/log" 2>&1 || fail "7z l" "$work/log"
        awk '/^Path = / { path = substr ($0, 8) } /^Size = / { size = substr ($0, 8) } /^Attributes = / {
             if (/= D/) print "- ./" path "/"; else print size " ./" path }' "$work/log" >"$work/listing"
        sed 's/^[^ ]* //' "$work/list" |
            perl -pe 's/\xee([\xbe\xbf])([\x80-\xbf])/chr ((ord ($1) & 1) << 6 | ord ($2))/ge' >"$work/names"
        LC_ALL=C same "7z l" "$work/names" "$work/listing"
    fi
    [ "$names" = tame ] || return 0
    if have mcopy; then
        mkdir "$work/copied"
        timeout 300 mcopy -s -n -Q -i "$volume" '::*' "$work/copied" >"$work/log" 2>&1 || fail "mcopy" "$work/log"
        list_folder "$work/copied" >"$work/listing"
        same mcopy "$work/list" "$work/listing"
    fi
    if have 7z; then
        timeout 300 7z x -o"$work/extracted" "$volume" >"$work/log" 2>&1 || fail "7z x" "$work/log"
        list_folder "$work/extracted" >"$work/listing"
        same "7z x" "$work/list" "$work/listing"
    fi
}

# exfat-fuse takes block devices only, so root lends it a loop device.
mount_exfat ()
{
    mkdir -p "$work/mnt"
    if [ ! -e /dev/fuse ]; then
        echo "no /dev/fuse: the judgement of exfat-fuse is left out"
        return 1
    fi
    loop=$(losetup -r -f --show "$volume" 2>"$work/log") || loop=
    mount.exfat-fuse -o ro "${loop:-$volume}" "$work/mnt" >"$work/log" 2>&1 && return
    if [ -z "$loop" ]; then
        echo "no loop device: the judgement of exfat-fuse is left out"
    else
        fail "mount.exfat-fuse" "$work/log"
    fi
    return 1
}

judge_exfat ()
{
    if have fsck.exfat; then
        timeout 300 fsck.exfat -n "$volume" >"$work/log" 2>&1 && grep -q ': clean\.' "$work/log" ||
            fail "fsck.exfat" "$work/log"
    fi
    # exfat-fuse looks names up one after the other: minutes for a wide folder.
    if [ -z "$wide" ] && have mount.exfat-fuse; then
        if mount_exfat; then
            list_folder "$work/mnt" >"$work/listing"
            same exfat-fuse "$work/list" "$work/listing"
            [ "$names" = tame ] && cp -r "$work/mnt" "$work/extracted"
            umount "$work/mnt"
        fi
        [ -z "$loop" ] || losetup -d "$loop"
        loop=
    fi
}

# judge SEED FORMAT TABLE SIZE NAMES [OPTION...]
judge ()
{
    local seed=$1 format=$2 table=$3 size=$4 names=$5 img=$work/disk.img volume=$work/volume.img
    shift 5
    local wide=$*
    case="seed $seed, $format, partition=$table, $size, $names names${*:+, $*}"
    echo "$case"

    rm -rf "$work/disk.img" "$work/volume.img" "$work/copied" "$work/extracted"
    [ "$names" = tame ] && set -- -t "$@"
    "$render" "$@" "$seed" "$format" "$table" "$size" "$img" >"$work/list" 2>"$work/render.log" ||
        { fail "render-image" "$work/render.log"; return; }

    if [ "$table" = none ]; then
        volume=$img
    else
        dd if="$img" of="$volume" bs=1M skip=1 conv=sparse status=none
        truncate -s "$(sed -n 's/^volume_start.* volume_bytes \([0-9]*\) .*/\1/p' "$work/render.log")" "$volume"
        judge_table
    fi
    "judge_$format"
    judge_grub
}

[ -x "$render" ] || { echo "$render: not built"; exit 77; }
have fsck.fat || have fsck.exfat || exit 77

echo "SEEDS=\"$seeds\""
for seed in $seeds; do
    judge "$seed" fat32 mbr 300M wild
    judge "$seed" fat32 mbr 120M tame
    judge "$seed" fat32 none 64M wild
    judge "$seed" fat32 gpt 70M tame
    judge "$seed" exfat mbr 300M wild
    judge "$seed" exfat gpt 600M tame
    judge "$seed" exfat none 100M wild
done
# Every size of clusters.
set -- $seeds
judge "$1" fat32 none 9G wild
judge "$1" fat32 none 17G tame
judge "$1" fat32 none 2047G wild
judge "$1" exfat none 300G wild
judge "$1" exfat none 3T tame
# A folder that holds more than FAT32 can show, and as many as exFAT must.
judge "$1" fat32 none 2G wild -w 70000
[ "$(grep -c 'more items than a folder can have' "$work/render.log")" -gt 4000 ] || fail "nothing was left out"
judge "$1" exfat none 20G wild -w 100000

exit $failed
