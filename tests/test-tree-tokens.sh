#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A server whose folder etags change with anything below them (as ownCloud's and Nextcloud's do): this is learned from
# what is seen, and from then on a poll looks only where something changed.

. "$(dirname "$0")/functions.sh"
. "$abs_top_srcdir/tests/disk-functions.sh"
requires php

remote=$tmp/remote
for d in 1 2 3 4 5 6 7 8; do
    mkdir -p "$remote/a$d/b/c"
    echo "$d" >"$remote/a$d/b/c/file"
done
find "$remote" -exec touch -d '1 hour ago' {} +

# How many connections the server took so far: it closes each after one answer.
requests ()
{
    grep -c 'Accepted' "$SERVER_STATE"/*log || true
}

shows ()
{
    on_disk cat "$1" | cmp -s - "$2"
}

start_server sabredav "$remote" propagate=1
start_nbdkit -r -v "$PLUGIN" remote="$URL" cache="$tmp/cache" poll=1
for i in 1 2 3 4; do
    # In place, three folders deep; old enough to be believed at once.
    echo "changed $i" >"$remote/a$i/b/c/file"
    touch -d "$((50 - i)) minutes ago" "$remote/a$i/b/c/file"
    wait_until 20 shows "a$i/b/c/file" "$remote/a$i/b/c/file"
done
logged 'folder tokens change with what is below them'

sleep 2
before=$(requests)
sleep 5
after=$(requests)
echo "$((after - before)) requests in five seconds"
# A whole walk would be 26 each second.
[ $((after - before)) -le 30 ] || fail "polls still look everywhere: $((after - before)) requests"

echo 'the last one' >"$remote/a8/b/c/file"
touch -d "20 minutes ago" "$remote/a8/b/c/file"
wait_until 20 shows "a8/b/c/file" "$remote/a8/b/c/file"
