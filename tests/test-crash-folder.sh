#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The process ends when a folder that a guest made is at the cloud and has nothing in it yet.  What is put into it after the next
# start gets there, too; so does what a folder that was moved gets.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers

mkdir -p "$tmp/remote/old folder"
head -c 3000 /dev/urandom >"$tmp/remote/old folder/file.txt"
touch -d '1 hour ago' "$tmp/remote/old folder/file.txt"
start_rw remote="$tmp/remote" fs=fat32
attach
mt mmd "::/new folder"
mt mmd "::/new folder/in it"
mt mren "::/old folder" "moved folder"
wait_until 30 test -d "$tmp/remote/new folder/in it"
wait_until 30 test -d "$tmp/remote/moved folder"
drained
# The client goes after it: until then it is connected, and the view is held.
kill_nbdkit
fusermount -uz "$tmp/nbd" || true
wait $FUSE_PID || true
FUSE_PID=
start_rw remote="$tmp/remote" fs=fat32
attach
head -c 5000 /dev/urandom >"$tmp/file"
mt mcopy "$tmp/file" "::/new folder/in it/file one.bin"
mt mcopy "$tmp/file" "::/moved folder/file two.bin"
wait_until 30 cmp "$tmp/file" "$tmp/remote/new folder/in it/file one.bin" ||
    { ctl status || true; fail "what was put into a new folder is not at the cloud"; }
wait_until 30 cmp "$tmp/file" "$tmp/remote/moved folder/file two.bin"
detach
drained
stop_nbdkit
