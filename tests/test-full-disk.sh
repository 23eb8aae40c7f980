#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A host disk without room: readers get EIO and the log one sentence, never wrong bytes; it goes on when there is room.  And
# cache-size= keeps the cache small, whatever is read through it.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires rclone curl
[ "$(id -u)" = 0 ] || skip "only root can mount a small file system"
mkdir "$tmp/small" "$tmp/remote"
requires_run mount -t tmpfs -o size=48m,mode=700 cloudshare-test "$tmp/small"
cleanup_fn umount "$tmp/small"

for i in $(seq 10 29); do
    head -c 8000000 /dev/urandom >"$tmp/remote/$i"
done
head -c 30000 /dev/urandom >"$tmp/remote/little"
touch -d '1 hour ago' "$tmp/remote"/*
tree_sums "$tmp/remote" >"$tmp/want.sums"
start_server rclone "$tmp/remote"

# ---- no room at all ----

start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/small/cache" size=1G
[ "$(on_disk ls | wc -l)" = 21 ]
dd if=/dev/zero of="$tmp/small/ballast" bs=64K status=none 2>/dev/null || true
read_fails 10
logged 'no room left'
[ "$(grep -c 'no room left' "$NBDKIT_LOG")" -le 3 ] || fail "said too often: $(cat "$NBDKIT_LOG")"
rm "$tmp/small/ballast"
on_disk cat 10 | cmp - "$tmp/remote/10"

# ---- room for a quarter of it: older bytes make room for newer ones ----

for pass in 1 2; do
    for file in "$tmp/remote"/*; do
        if on_disk cat "$(basename "$file")" >"$tmp/got" 2>"$tmp/got.err"; then
            cmp "$tmp/got" "$file"
        else
            grep -q 'Input/output error' "$tmp/got.err" || fail "no EIO: $(cat "$tmp/got.err")"
            logged 'no room left'
        fi
    done
done
# The last one that was read has to be there, or can be had.
on_disk cat little | cmp - "$tmp/remote/little"

# ---- another machine comes, and this one again, while there is no room ----

on_disk cat little | cmp - "$tmp/remote/little"
dd if=/dev/zero of="$tmp/small/ballast" bs=64K status=none 2>/dev/null || true
NBD_URI=$(nbd_uri vm2/cloud)
on_disk cat little | cmp - "$tmp/remote/little"
NBD_URI=$(nbd_uri '')
on_disk cat little | cmp - "$tmp/remote/little"
rm "$tmp/small/ballast"

# ---- a crash with a full disk, and a start ----

dd if=/dev/zero of="$tmp/small/ballast" bs=64K status=none 2>/dev/null || true
kill_nbdkit
rm "$tmp/small/ballast"
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/small/cache" size=1G
# What was fetched but not on record when it crashed has given its room back.
on_disk cat 12 | cmp - "$tmp/remote/12"
stop_nbdkit

# A start that finds no room says so.
rm -rf "$tmp/small/cache"
dd if=/dev/zero of="$tmp/small/ballast" bs=64K status=none 2>/dev/null || true
refused 'full' remote="$URL" cache="$tmp/small/new-cache"
rm "$tmp/small/ballast"

# ---- cache-size= ----

# It counts contents, without the database and the reserve.
contents_kib () { du -skc "$tmp/cache"/blob-* | tail -n 1 | cut -f1; }
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" cache-size=64M size=1G
for pass in 1 2; do
    for file in "$tmp/remote"/*; do
        on_disk cat "$(basename "$file")" | cmp - "$file"
        used=$(contents_kib)
        # Evicting takes a moment, and requests in flight bring more.
        [ "$used" -le $((64 * 1024 + 48 * 1024)) ] || fail "the cache takes $used KiB with cache-size=64M"
    done
done
settled () { [ "$(contents_kib)" -le $((65 * 1024)) ]; }
wait_until 10 settled || fail "the cache stays at $(contents_kib) KiB with cache-size=64M"
stop_nbdkit
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" cache-size=64M size=1G
same_content "$tmp/remote" "$tmp/want.sums"
