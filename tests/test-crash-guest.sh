#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The process is killed while a real guest works on its disk, and started again; QEMU reconnects.  The guest does not notice, no
# byte that was acknowledged is lost, and in the end the cloud has what the guest wrote.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
. "$(dirname "$0")/fidelity/guest-test.sh"

LINGER=60
rounds=3 count=150
[ -z "${CLOUDSHARE_LONG:-}" ] || rounds=60 count=4000

# run FS
run ()
{
    local plan=$seed,$count,pauses kind=vfat guest killed=0 status=0
    [ "$1" = fat32 ] || kind=exfat
    echo "---- seed $seed, $1"
    prepare "$plan" apache "$1"
    fidelity "$plan" guest "nbd+unix:///vm1/cloud?socket=$tmp/vm.sock,reconnect=120" $kind umount >"$tmp/guest.out" 2>&1 &
    guest=$!
    cleanup_fn kill_nbdkit $guest
    wait_until 120 eval 'grep -q "guest: kernel" "$tmp/guest.out" || ! kill -0 '$guest
    while kill -0 $guest 2>/dev/null && [ $killed -lt $rounds ]; do
        sleep $((1 + RANDOM % 5)).$((RANDOM % 10))
        kill_nbdkit
        killed=$((killed + 1))
        sleep 0.$((RANDOM % 10))
        start_rw "${remote[@]}" fs="$1"
    done
    wait $guest || status=$?
    cat "$tmp/guest.out"
    [ $status != 77 ] || skip "there is no guest"
    [ $status = 0 ] || fail "$1: the guest noticed: status $status"
    echo "killed $killed times"
    wait_until 120 same "$plan" || { same "$plan" || true; ctl status || true; fail "$1, seed $seed: see above"; }
    drained
    same "$plan"
    no_conflicts "$tmp/remote"
    none_came_back
    fidelity "$plan" uploads "$tmp/requests"
    stop_nbdkit
    stop_serving
}

run fat32
seed=$((seed + 1))
run exfat
