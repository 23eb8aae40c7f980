#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Only what a guest changed goes up, and nothing comes down for it: a file of 64 MiB and a disk image of 2 GiB, mostly holes, of
# which nothing is here, are changed in places.  The server is killed before they are sent, and somebody else changes the file
# before ours is sent.

. "$(dirname "$0")/functions.sh"
requires qemu-io nbdcopy python3
CTL=$abs_top_builddir/cloudsharectl

mkdir -p "$tmp/remote/big" "$tmp/remote/raw"
head -c 64M /dev/urandom >"$tmp/remote/big/file.bin"
truncate -s 2G "$tmp/remote/raw/image"
dd if=/dev/urandom of="$tmp/remote/raw/image" bs=1M count=3 seek=700 conv=notrunc status=none
touch -d '2020-01-01' "$tmp"/remote/*/*
cp --sparse=always "$tmp/remote/big/file.bin" "$tmp/file"
cp --sparse=always "$tmp/remote/raw/image" "$tmp/image"

start ()
{
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" linger=2 settle=1 write-back="$1" \
        'disk=big,folder=/big,fs=raw' 'disk=raw,folder=/raw,fs=raw'
    big=$(nbd_uri vm/big) raw=$(nbd_uri vm/raw)
}
# KiB that the cache takes on the host.
usage () { du -sk "$tmp"/cache/blob-* | awk '{ n += $1 } END { print n + 0 }'; }
# Writes N bytes at an offset of a disk, and of its model.
change ()
{
    head -c "$3" /dev/urandom >"$tmp/bytes"
    qemu-io -f raw -c "write -s $tmp/bytes $2 $3" "$1" >/dev/null
    dd if="$tmp/bytes" of="$4" bs=512 seek=$(($2 / 512)) conv=notrunc status=none
}
# Bytes in which the newest version differs from the one before it, by the cache folder's records.
changed ()
{
    python3 -c 'import sqlite3, sys
db = sqlite3.connect ("file:%s/cloudshare.db?mode=ro" % sys.argv[1], uri = True, timeout = 20)
print (db.execute ("SELECT sum (length) FROM version_range WHERE kind = 1 GROUP BY version ORDER BY version DESC").fetchone ()[0])' \
        "$tmp/cache"
}
pending () { "$CTL" status "$tmp/cache" | grep -q "$1"; }
same () { cmp -s "$1" "$2"; }

# ---- in places ----

start 0
before=$(usage)
change "$big" $((10 << 20)) 4096 "$tmp/file"
wait_until 60 same "$tmp/file" "$tmp/remote/big/file.bin"
change "$raw" $((100 << 20)) 8192 "$tmp/image"
change "$raw" $((1900 << 20)) 4096 "$tmp/image"
wait_until 120 same "$tmp/image" "$tmp/remote/raw/image"
after=$(usage)
echo "the cache took $((after - before)) KiB for 16 KiB that were written"
[ $((after - before)) -lt 1024 ] || fail "$((after - before)) KiB were stored for 16"
# Beside what was written, and all of it.
nbdcopy "$big" "$tmp/seen"
cmp "$tmp/seen" "$tmp/file"
change "$big" $((20 << 20)) 4096 "$tmp/file"
wait_until 60 same "$tmp/file" "$tmp/remote/big/file.bin"
nbdcopy "$big" "$tmp/seen"
cmp "$tmp/seen" "$tmp/file"
stop_nbdkit

# ---- again and again, while the guest stays connected ----

rm -r "$tmp/cache"
start 0
mkfifo "$tmp/commands"
qemu-io -f raw "$big" <"$tmp/commands" >/dev/null &
guest=$!
exec 7>"$tmp/commands"
for place in 11 33 12 33; do
    head -c 4096 /dev/urandom >"$tmp/bytes"
    dd if="$tmp/bytes" of="$tmp/file" bs=4096 seek=$((place << 8)) conv=notrunc status=none
    printf 'write -s %s %d 4096\nflush\n' "$tmp/bytes" $((place << 20)) >&7
    wait_until 60 same "$tmp/file" "$tmp/remote/big/file.bin"
    [ "$(changed)" = 4096 ] || fail "after a change of 4096 bytes that was made after others were sent, $(changed) bytes are sent"
done
exec 7>&-
wait "$guest"
stop_nbdkit

# ---- killed between staging and sending ----

rm -r "$tmp/cache"
start 3600
change "$big" $((30 << 20)) 12288 "$tmp/file"
change "$big" $((40 << 20)) 4096 "$tmp/file"
# Guests begin at any sector, and what a start sweeps goes by pages.
change "$big" $(((45 << 20) + 1001 * 512)) 4096 "$tmp/file"
wait_until 60 pending "file.bin\|1 "
sleep 3
kill_nbdkit
start 3600
nbdcopy "$big" "$tmp/seen"
cmp "$tmp/seen" "$tmp/file"
kill_nbdkit
start 0
"$CTL" retry "$tmp/cache" >/dev/null
change "$big" $((41 << 20)) 4096 "$tmp/file"
wait_until 60 same "$tmp/file" "$tmp/remote/big/file.bin"
stop_nbdkit

# ---- asked right after a start whether all is in the cloud ----

start 0
for place in 3 4 5 6; do
    change "$big" $(((place << 20) + 512)) 4096 "$tmp/file"
    kill_nbdkit
    rm -f "$tmp/cache/control"
    start 0
    wait_until 30 test -S "$tmp/cache/control"
    "$CTL" drain --timeout=60 "$tmp/cache" >/dev/null || fail "drain: status $?"
    same "$tmp/file" "$tmp/remote/big/file.bin" || fail "drain says that all is in the cloud, but it is not"
done
stop_nbdkit

# ---- somebody else was first ----

rm -r "$tmp/cache"
start 3600
change "$big" $((50 << 20)) 4096 "$tmp/file"
sleep 4
kill_nbdkit
echo "theirs" >"$tmp/remote/big/file.bin"
start 0
"$CTL" retry "$tmp/cache" >/dev/null
wait_until 60 grep -q "unchanged part is gone" "$NBDKIT_LOG"
[ "$(cat "$tmp/remote/big/file.bin")" = theirs ]
[ "$(ls "$tmp/remote/big")" = file.bin ] || fail "something was sent that nobody wrote: $(ls "$tmp/remote/big")"
change "$raw" $((300 << 20)) 4096 "$tmp/image"
wait_until 60 same "$tmp/image" "$tmp/remote/raw/image"
stop_nbdkit
