#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A folder served by rclone: other paths, other entity tags, one that comes from a checksum; the disk's files are the
# folder's, and what changes there is seen by polling.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires rclone curl

make_tree "$tmp/remote" --files 500 --folders 30 --largest 60000 --sums "$tmp/want.sums"

start_server rclone "$tmp/remote" user=u password=p path=/x
start_nbdkit "$PLUGIN" remote="$URL" user=u password=p cache="$tmp/cache" fs=fat32
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
stop_server rclone

start_server rclone "$tmp/remote" etag=MD5
start_nbdkit -r "$PLUGIN" remote="$URL" cache="$tmp/cache-md5" fs=exfat poll=1
same_content "$tmp/remote" "$tmp/want.sums"

has_new () { on_disk cat new | cmp -s - "$tmp/remote/new"; }
echo 'new content' >"$tmp/remote/new"
wait_until 20 has_new || fail "a new file is not seen"
echo 'newer content' >"$tmp/remote/new"
wait_until 20 has_new || fail "a changed file is not seen"
rm "$tmp/remote/new"
has_none () { ! disk_has new; }
wait_until 20 has_none || fail "a removed file is still there"
same_content "$tmp/remote" "$tmp/want.sums"
