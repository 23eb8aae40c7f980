#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A folder behind rclone as a FAT32 disk: what is there is on the disk, what mtools write to the disk gets there, and what
# changes there is seen; a restart changes nothing; an rclone that is killed in the middle of an upload is started again, and
# the upload comes to its end; and with the plugin, however it ends, rclone ends, too.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires rclone

unset "${!RCLONE_@}"
export HOME=$tmp
seed=${CLOUDSHARE_SEED:-$((RANDOM * 32768 + RANDOM))}
count=60
[ -z "${CLOUDSHARE_LONG:-}" ] || count=2000
echo "seed $seed"
printf '[loc]\ntype = local\n' >"$tmp/rclone.conf"
mkdir "$tmp/remote"

serve ()
{
    start_rw remote=rclone:loc:"$tmp/remote" rclone-config="$tmp/rclone.conf" fs=fat32 poll=1 retry=1 "$@"
}

# The processes of rclone that were started for this test.
rclones ()
{
    ps -eo pid=,args= | awk '$0 ~ /rclone rcd --rc-serve --rc-addr 127.0.0.1:0/ { print $1 }' | while read -r pid; do
        cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | grep -qxF "RCLONE_CONFIG=$tmp/rclone.conf" && echo "$pid" || true
    done
}

none_left ()
{
    wait_until 20 eval '[ -z "$(rclones)" ]' || fail "an rclone is left: $(rclones)"
}

# ---- random operations of mtools ----

plan=$seed,$count,mtools
fidelity "$plan" tree "$tmp/remote"
serve
same_content "$tmp/remote"
fidelity "$plan" mtools "$NBD_URI"
is_so () { fidelity "$plan" compare "$tmp/remote"; }
wait_until 120 is_so || { is_so || true; ctl status || true; fail "seed $seed: see above"; }
drained
is_so
no_conflicts "$tmp/remote"
none_came_back
remote_state "$tmp/remote" >"$tmp/state"
stop_nbdkit
none_left
[ -z "$(ls -A "$tmp/cache/rclone" 2>/dev/null)" ] || fail "staged files are left: $(ls -A "$tmp/cache/rclone")"
serve
drained
sleep 3
remote_state "$tmp/remote" | diff "$tmp/state" - || fail "seed $seed: a restart changes the remote"

stop_nbdkit

# ---- what changes there ----

start_nbdkit -r "$PLUGIN" remote=rclone:loc:"$tmp/remote" rclone-config="$tmp/rclone.conf" cache="$tmp/cache-ro" fs=exfat poll=1
same_content "$tmp/remote"
echo 'new content' >"$tmp/remote/new.txt"
has_new () { on_disk cat new.txt | cmp -s - "$tmp/remote/new.txt"; }
wait_until 20 has_new || fail "a new file is not seen"
echo 'NEW CONTENT' >"$tmp/remote/new.txt"
wait_until 20 has_new || fail "a file that was changed is not seen"
rm "$tmp/remote/new.txt"
wait_until 20 eval '! disk_has new.txt' || fail "a file that was removed is still there"
mkdir "$tmp/remote/empty there"
wait_until 20 disk_has 'empty there/' || fail "an empty folder is not seen"
# What is not in the cache comes when rclone is back.
head -c 3000000 /dev/urandom >"$tmp/remote/read.bin"
wait_until 20 disk_has read.bin
kill -KILL $(rclones)
on_disk cat read.bin | cmp - "$tmp/remote/read.bin" || fail "a file cannot be read after rclone was killed"
stop_nbdkit
none_left

# ---- times ----

serve
head -c 5000 /dev/urandom >"$tmp/dated"
touch -d '2015-05-05 05:05:04 UTC' "$tmp/dated"
attach
TZ=UTC mt mcopy -m "$tmp/dated" ::dated.bin
wait_until 30 cmp -s "$tmp/dated" "$tmp/remote/dated.bin" || fail "a file does not arrive"
drained
[ "$(stat -c %Y "$tmp/remote/dated.bin")" = 1430802304 ] || fail "another time arrived: $(stat -c %y "$tmp/remote/dated.bin")"
detach
stop_nbdkit
none_left

# ---- rclone is killed in the middle ----

serve upload-rate=2M
head -c 12000000 /dev/urandom >"$tmp/large"
attach
mt mcopy "$tmp/large" ::large.bin
wait_until 90 eval 'ls -A "$tmp/remote" | grep -q cloudshare-upload' || fail "no upload has begun"
[ ! -e "$tmp/remote/large.bin" ] || fail "half a file is there"
old=$(rclones)
[ -n "$old" ] || fail "there is no rclone"
kill -KILL $old
wait_until 90 cmp -s "$tmp/large" "$tmp/remote/large.bin" || { ctl status; fail "the upload was not taken up again"; }
drained
[ "$(rclones)" != "$old" ] || fail "that was another one"
no_conflicts "$tmp/remote"
wait_until 20 eval '! ls -A "$tmp/remote" | grep -q cloudshare-upload' || fail "an upload is left: $(ls -A "$tmp/remote")"
same_content "$tmp/remote"
detach

# ---- however it ends ----

kill_nbdkit
none_left
serve
[ -n "$(rclones)" ] || fail "there is no rclone"
stop_nbdkit
none_left
