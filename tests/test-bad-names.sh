#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Names that no file may have: a server's "..", "a/b", NUL and invalid UTF-8, a folder's links, devices and pipes.  What can be
# shown is shown, the rest is left out and said, and nothing is written outside the cache.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires curl nbdcopy fsck.fat fsck.exfat

start_nasty
for fs in fat32 exfat; do
    start_nbdkit "$PLUGIN" remote="$NASTY/bad-names/" cache="$tmp/cache-$fs" fs=$fs size=300M
    on_disk cat a.bin | cmp - <(curl -sS "$NASTY/ok/a.bin")
    on_disk ls >"$tmp/ls"
    # The good entries are all there, and what the bad ones say is nowhere.
    for path in a.bin b.txt empty sub/ sub/c.txt sub/d/ sub/d/e.txt; do
        disk_has "$path" || fail "$path is missing"
    done
    ! grep -qE '( |/)\.\.?(/|$)|passwd|bad-namesX|relative' "$tmp/ls" || fail "a bad name came through: $(cat "$tmp/ls")"
    logged 'left out'
    stop_nbdkit
done
start_nbdkit "$PLUGIN" remote="$NASTY/dupes/" cache="$tmp/cache-dupes" size=300M
[ "$(on_disk ls | wc -l)" = 9 ] || fail "entries that are there twice: $(on_disk ls)"
stop_nbdkit

mkdir -p "$tmp/remote/folder" "$tmp/outside"
make_tree "$tmp/remote" --names wild --files 150 --folders 10
echo secret >"$tmp/outside/secret"
ln -s "$tmp/outside" "$tmp/remote/folder/out"
ln -s "$tmp/outside/secret" "$tmp/remote/secret-link"
ln -s . "$tmp/remote/folder/self"
mkfifo "$tmp/remote/folder/pipe"
[ "$(id -u)" != 0 ] || mknod "$tmp/remote/null" c 1 3
for fs in fat32 exfat; do
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-wild-$fs" fs=$fs size=300M
    # Names are mapped; contents are the same, and each once.
    on_disk sums >"$tmp/got.sums"
    tree_sums "$tmp/remote" >"$tmp/want.sums"
    cmp <(grep -o '^\\\?[0-9a-f]\{64\}' "$tmp/want.sums" | tr -d '\\' | sort) <(cut -c1-64 "$tmp/got.sums" | sort)
    ! grep -qF -e "$(echo secret | sha256sum | cut -d' ' -f1)" "$tmp/got.sums" || fail "a link was followed out of the folder"
    nbdcopy "$NBD_URI" "$tmp/disk.img"
    volume_of "$tmp/disk.img" "$tmp/volume.img"
    volume_is_clean "$tmp/volume.img"
    stop_nbdkit
done
