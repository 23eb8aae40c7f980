#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The remote changes at random; after each round a freshly attached view is clean and holds just what the remote does.

. "$(dirname "$0")/functions.sh"
. "$abs_top_srcdir/tests/disk-functions.sh"
requires nbdcopy fsck.fat fsck.exfat sfdisk

rounds=${CLOUDSHARE_ROUNDS:-12}
seed=${CLOUDSHARE_SEED:-$RANDOM}
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

for fs in fat32 exfat; do
    remote=$tmp/remote-$fs
    mkdir "$remote"
    python3 "$abs_top_srcdir/tests/churn.py" "$remote" "$seed" 60
    start_nbdkit "$PLUGIN" remote="$remote" cache="$tmp/cache-$fs" fs=$fs linger=0 size=2G poll=2
    for ((round = 0; round < rounds; round++)); do
        tree_sums "$remote" | contents >"$tmp/want"
        wait_until 20 disk_is_right || fail "$fs: round $round (seed $seed): the disk does not become what the remote is"
        sleep 1.2
        nbdcopy "$NBD_URI" "$tmp/disk.img"
        volume_of "$tmp/disk.img" "$tmp/volume"
        volume_is_clean "$tmp/volume"
        rm "$tmp/disk.img" "$tmp/volume"
        if [ $((round % 4)) = 3 ]; then
            kill_nbdkit
            start_nbdkit "$PLUGIN" remote="$remote" cache="$tmp/cache-$fs" fs=$fs linger=0 size=2G poll=2
        fi
        python3 "$abs_top_srcdir/tests/churn.py" "$remote" $((seed + round + 1)) 15
    done
    stop_nbdkit
done
