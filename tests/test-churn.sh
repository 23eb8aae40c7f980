#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The remote changes at random; after each round a freshly attached view is clean and holds just what the remote does.

. "$(dirname "$0")/functions.sh"
. "$abs_top_srcdir/tests/disk-functions.sh"
requires nbdcopy fsck.fat fsck.exfat sfdisk

rounds=${CLOUDSHARE_ROUNDS:-12}
seed=$(seed_for 7)
echo "seed $seed, $rounds rounds"

# The names differ on the disk, the bytes don't: as many files with each checksum.
contents ()
{
    sed 's/^\\//; s/ .*//' | LC_ALL=C sort
}

disk_is_right ()
{
    # linger=0: what the last connection held is gone soon after it, and with it the chains of old files.
    on_disk sums | contents >"$tmp/got" && cmp -s "$tmp/want" "$tmp/got"
}

# What finds no room on the disk is tried again when there is some.
old_file ()
{
    head -c "$2" /dev/urandom >"$tmp/new"
    touch -d '1 hour ago' "$tmp/new"
    mv "$tmp/new" "$1"
}

remote=$tmp/remote-small
mkdir "$remote"
old_file "$remote/first" 3M
old_file "$remote/grows" 1M
start_nbdkit "$PLUGIN" remote="$remote" cache="$tmp/cache-small" fs=exfat linger=0 size=8M partition=none
tree_sums "$remote" | contents >"$tmp/want"
wait_until 20 disk_is_right || fail "a small disk"
old_file "$remote/second" 4M
old_file "$remote/grows" 5M
sleep 5
disk_is_right || fail "what has no room is not left out, or an old version does not stay"
[ "$(grep -c 'no room' "$NBDKIT_LOG")" = 2 ] || fail "it is not said, or too often"
rm "$remote/first"
old_file "$remote/grows" 1M
tree_sums "$remote" | contents >"$tmp/want"
wait_until 20 disk_is_right || fail "room that was freed is not used"
stop_nbdkit

# Entries have other positions while somebody holds what was there before.
hold ()
{
    "$PYTHON" -c 'import nbd, sys, time; h = nbd.NBD(); h.connect_uri(sys.argv[1]); time.sleep(10000)' "$(nbd_uri vm1/cloud)" &
    HOLDER=$!
    cleanup_fn kill_nbdkit $HOLDER
}

start ()
{
    start_nbdkit "$PLUGIN" remote="$remote" cache="$tmp/cache-$case" fs=$fs linger=0 size=2G poll=2
    NBD_URI=$(nbd_uri vm2/cloud)
}

for case in fat32 exfat fat32-held exfat-held; do
    fs=${case%-held}
    remote=$tmp/remote-$case
    mkdir "$remote"
    python3 "$abs_top_srcdir/tests/churn.py" "$remote" "$seed" 60
    start
    [ $case = $fs ] || hold
    for ((round = 0; round < rounds; round++)); do
        tree_sums "$remote" | contents >"$tmp/want"
        wait_until 20 disk_is_right || fail "$case: round $round (seed $seed): the disk does not become what the remote is"
        sleep 1.2
        nbdcopy "$NBD_URI" "$tmp/disk.img"
        volume_of "$tmp/disk.img" "$tmp/volume"
        volume_is_clean "$tmp/volume"
        rm "$tmp/disk.img" "$tmp/volume"
        if [ $((round % 4)) = 3 ] && [ $case = $fs ]; then
            kill_nbdkit
            start
        fi
        python3 "$abs_top_srcdir/tests/churn.py" "$remote" $((seed + round + 1)) 15
    done
    [ $case = $fs ] || { kill $HOLDER; wait $HOLDER || true; }
    stop_nbdkit
done
