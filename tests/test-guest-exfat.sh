#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A real Linux guest mounts the exFAT disk and reads every file; and sees what changes in the remote while it is mounted.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires qemu-system-x86_64 busybox

make_tree "$tmp/remote" --files 600 --folders 40 --depth 6 --largest 60000 --sums "$tmp/want.sums"
for i in 1 2 3 4 5; do
    head -c 2$((i))0000 /dev/urandom >"$tmp/remote/0 file $i"
    touch -d '1 hour ago' "$tmp/remote/0 file $i"
done
tree_sums "$tmp/remote" >"$tmp/want.sums"

# guest KERNEL [REMOTE]: on a machine that cannot have guests the test is skipped.
guest ()
{
    local status=0
    python3 "$abs_top_srcdir/tests/guest-check.py" "$1" exfat "$(nbd_uri "vm-$1/cloud")" "$tmp/want.sums" "${@:2}" \
        >"$tmp/guest.out" 2>&1 || status=$?
    cat "$tmp/guest.out"
    [ $status != 77 ] || return 77
    [ $status = 0 ] || fail "kernel $1: status $status"
}

start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" fs=exfat
guest 6.1 || skip "there is no guest of kernel 6.1"
# Debian has this one in backports only.
guest 6.12 "$tmp/remote" || guest 6.1 "$tmp/remote" || skip "there is no guest"
same_content "$tmp/remote"
