#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Files are changed in the cloud and on a disk at once, in random order.  In the end both hold the same, and every byte that
# either side ever wrote is in some file, unless a side that saw it replaced or deleted it.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2

seed=$(seed_for 11)
rounds=8
[ -z "${CLOUDSHARE_LONG:-}" ] || rounds=150

# run SEED dir|apache|rclone|rgw
run ()
{
    local remote
    echo "seed $1, $2"
    rm -rf "$tmp/remote" "$tmp/cache"
    mkdir -p "$tmp/remote/shared folder/folder in it" "$tmp/remote/second folder"
    for file in 'common file one.txt' 'shared folder/common file one.txt' 'shared folder/notes of today.md'; do
        head -c 3000 /dev/urandom >"$tmp/remote/$file"
    done
    touch -d '1 hour ago' "$tmp/remote"/*.txt "$tmp/remote/shared folder"/*.*
    serve_tree "$2"
    start_rw "${remote[@]}" fs=fat32
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/twosided.py" "$NBD_URI" "$REMOTE" "$1" $rounds ||
        { ctl status || true; fail "seed $1, $2: see above"; }
    drained
    state_of_remote >"$tmp/state"
    stop_nbdkit
    start_rw "${remote[@]}" fs=fat32
    drained
    sleep 3
    state_of_remote | diff "$tmp/state" - || fail "seed $1, $2: a restart changes the remote"
    stop_nbdkit
    stop_serving
}

if [ $# -gt 0 ]; then
    run "$seed" "$1"
    exit 0
fi
run "$seed" dir
run $((seed + 1)) apache
! can_serve rclone || run $((seed + 2)) rclone
[ -z "${CLOUDSHARE_LONG:-}" ] || ! can_serve rgw || run $((seed + 3)) rgw
