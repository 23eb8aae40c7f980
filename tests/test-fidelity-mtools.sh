#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Random file operations, done by mtools on a FAT32 disk: the cloud's tree becomes what they lead to, byte for byte, with no
# content sent more often than it came into being, and without conflicts; and a restart sends nothing.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2

seed=$(seed_for 621294028)
count=400
[ -z "${CLOUDSHARE_LONG:-}" ] || count=3000

# same PLAN: the remote has become what the plan says.
same () { sleep 1; look && fidelity "$1" compare "$tmp/remote"; }

# run SEED dir|apache|rclone|rgw
run ()
{
    local plan=$1,$count,mtools remote requests
    echo "seed $1, $2"
    rm -rf "$tmp/remote" "$tmp/cache"
    mkdir "$tmp/remote"
    fidelity "$plan" tree "$tmp/remote"
    serve_tree "$2"
    start_rw "${remote[@]}" fs=fat32
    fidelity "$plan" mtools "$NBD_URI"
    # Deletes count 40 seconds after the last write: mtools never say that they are done.
    wait_until 120 same "$plan" || { same "$plan" || true; ctl status || true; fail "seed $1, $2: see above"; }
    drained
    same "$plan"
    no_conflicts "$tmp/remote"
    needless "$plan"
    state_of_remote >"$tmp/state"
    stop_nbdkit
    [ ! -e "$tmp/requests" ] || requests=$(asked PUT)
    start_rw "${remote[@]}" fs=fat32
    drained
    sleep 3
    state_of_remote | diff "$tmp/state" - || fail "seed $1, $2: a restart changes the remote"
    [ ! -e "$tmp/requests" ] || [ "$(asked PUT)" = "$requests" ] || fail "seed $1: a restart sends files"
    stop_nbdkit
    stop_serving
}

if [ $# -gt 0 ]; then
    run "$seed" "$1"
    exit 0
fi
run "$seed" dir
run $((seed + 1)) apache
[ -z "${CLOUDSHARE_LONG:-}" ] || ! can_serve rclone || run $((seed + 2)) rclone
[ -z "${CLOUDSHARE_LONG:-}" ] || ! can_serve rgw || run $((seed + 3)) rgw
