#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A cache is bound to its remote: for another it is refused (everything would look deleted), and stays as it was.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires rclone

make_tree "$tmp/remote" --files 50 --sums "$tmp/want.sums"
mkdir "$tmp/other"
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache"
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit

refused "belongs to $tmp/remote, not to $tmp/other" remote="$tmp/other" cache="$tmp/cache"
start_server rclone "$tmp/remote"
refused "belongs to $tmp/remote, not to" remote="$URL" cache="$tmp/cache"

# The same folder by other names is the same remote.
ln -s remote "$tmp/link"
for name in "$tmp/./remote/" "$tmp/link" "file://$tmp/remote"; do
    start_nbdkit "$PLUGIN" remote="$name" cache="$tmp/cache"
    same_content "$tmp/remote" "$tmp/want.sums"
    stop_nbdkit
done
# So is a URL without its slash.
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-dav"
stop_nbdkit
start_nbdkit "$PLUGIN" remote="${URL%/}" cache="$tmp/cache-dav"
same_content "$tmp/remote" "$tmp/want.sums"

# A folder of somebody's own is no cache, and nor is one that others can look into.
stop_nbdkit
mkdir -m 755 "$tmp/open"
refused 'mode 0700' remote="$tmp/remote" cache="$tmp/open"
[ -z "$(ls -A "$tmp/open")" ] || fail "something was left in a folder that was refused"
: >"$tmp/file"
refused 'cache folder' remote="$tmp/remote" cache="$tmp/file/below"

# A folder that is somebody else's is left alone, and a cache does not become part of what it copies.
mkdir -m 0700 "$tmp/home"
echo mine >"$tmp/home/blob-000000"
refused 'holds other things' remote="$tmp/remote" cache="$tmp/home"
[ "$(cat "$tmp/home/blob-000000")" = mine ] || fail "a file of somebody else's was changed"
refused 'is inside the folder' remote="$tmp/remote" cache="$tmp/remote/cache"
