#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A disk with a partition for each of its folders: tables that independent programs accept, each folder in its own partition,
# and what is written to one goes to its folder.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires sfdisk sgdisk mdir mcopy fsck.fat nbdcopy

mkdir -p "$tmp/remote/Photos/2024" "$tmp/remote/Docs"
echo one >"$tmp/remote/Photos/2024/one.txt"
echo two >"$tmp/remote/Docs/two.txt"
find "$tmp/remote" -exec touch -d '1 hour ago' {} +
export MTOOLS_SKIP_CHECK=1

# starts: where each partition begins, in bytes.
starts ()
{
    sfdisk -J "$1" | "$PYTHON" -c 'import json, sys
for p in json.load(sys.stdin)["partitiontable"]["partitions"]: print(p["start"] * 512)'
}

for table in mbr gpt; do
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-$table" settle=0.2 write-back=0 linger=0 \
        disk=media,folder=/Photos,folder=/Docs,split=yes,size=200M,partition=$table
    image=$tmp/$table.img
    nbdcopy "$NBD_URI" "$image"
    [ "$table" = mbr ] || sgdisk -v "$image" | grep -q 'No problems found'
    mapfile -t at < <(starts "$image")
    [ ${#at[@]} = 2 ] || fail "$table: ${#at[@]} partitions"
    [ "$(mdir -/ -b -i "$image@@${at[0]}" ::)" = $'::/2024/\n::/2024/one.txt' ] || fail "$table: the first partition"
    [ "$(mdir -/ -b -i "$image@@${at[1]}" ::)" = '::/two.txt' ] || fail "$table: the second partition"
    for i in 0 1; do
        dd if="$image" of="$tmp/part" bs=1M skip=$((at[i] / 1048576)) count=99 conv=sparse status=none
        truncate -s "$(sfdisk -J "$image" | "$PYTHON" -c "import json, sys; print(json.load(sys.stdin)['partitiontable']['partitions'][$i]['size'] * 512)")" "$tmp/part"
        fsck.fat -n "$tmp/part" >"$tmp/fsck" || { cat "$tmp/fsck"; fail "$table: fsck of partition $i"; }
    done

    # Into both at once, across the border between them as one stream of requests.
    cp "$image" "$tmp/before"
    echo "$table" | mcopy -i "$image@@${at[0]}" - ::/first-$table.txt
    echo "$table" | mcopy -i "$image@@${at[1]}" - ::/second-$table.txt
    "$PYTHON" - "$NBD_URI" "$tmp/before" "$image" <<'P'
import nbd, sys
h = nbd.NBD(); h.connect_uri(sys.argv[1])
with open(sys.argv[2], "rb") as old, open(sys.argv[3], "rb") as new:
    at = 0
    while True:
        a, b = old.read(65536), new.read(65536)
        if not b: break
        if a != b: h.pwrite(b, at)
        at += len(b)
h.flush(); h.shutdown()
P
    for _ in $(seq 100); do
        [ -e "$tmp/remote/Photos/first-$table.txt" ] && [ -e "$tmp/remote/Docs/second-$table.txt" ] && break
        sleep 0.1
    done
    [ "$(cat "$tmp/remote/Photos/first-$table.txt")" = "$table" ] || fail "$table: the first partition's file"
    [ "$(cat "$tmp/remote/Docs/second-$table.txt")" = "$table" ] || fail "$table: the second partition's file"
    stop_nbdkit
    rm "$tmp/remote/Photos/first-$table.txt" "$tmp/remote/Docs/second-$table.txt"
done
