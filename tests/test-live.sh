#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What changes in the remote: a live view shows it, on the connection that is open, and old clusters keep their old bytes;
# refresh=attach shows it at the next attach after linger= seconds, also when the server was killed meanwhile; a view that can
# be written does the same, and with refresh=unmount also moves on when its guest unmounts.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"

# put FILE: with content from standard input, as a whole; its time is in the past, so that it is believed at once.
put () { cat >"$tmp/put" && touch -d "$((RANDOM % 1000 + 100)) minutes ago" "$tmp/put" && mv "$tmp/put" "$1"; }
digest () { sha256sum | cut -d' ' -f1; }

for fs in fat32 exfat; do
    rm -rf "$tmp/remote"
    mkdir -p "$tmp/remote/folder"
    for name in changed removed renamed same folder/deep; do
        head -c 50000 /dev/urandom | put "$tmp/remote/$name"
    done
    tree_sums "$tmp/remote" >"$tmp/old.sums"
    start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-$fs" fs=$fs size=600M linger=30
    same_content "$tmp/remote" "$tmp/old.sums"

    # Holds one connection; reads what it is told by lines "sums" and "old".
    cat >"$tmp/hold.py" <<'PY'
import hashlib, sys
sys.path.insert (0, sys.argv[2])
import diskread as d
disk = d.Disk (sys.argv[1])
first = d.volume_of (disk)
ranges = {file.path: list (first.ranges (file)) for file in first.walk () if not file.folder}
digest = lambda data: hashlib.sha256 (data).hexdigest ()
print ("ready", flush=True)
for line in sys.stdin:
  if line == "sums\n":
    try:
      volume = d.volume_of (disk)
      for file in volume.walk ():
        if not file.folder:
          print (digest (b"".join (volume.content (file))), file.path)
    except d.Bad as bad:
      # A generation came between two reads.
      print ("torn", bad)
  else:
    for path in sorted (ranges):
      print (digest (b"".join (disk.read (*part) for part in ranges[path])), path)
  print ("done", flush=True)
PY
    coproc HOLD { "$PYTHON" "$tmp/hold.py" "$NBD_URI" "$abs_top_srcdir/tests"; }
    ask ()
    {
        local line
        echo "$1" >&"${HOLD[1]}"
        while read -r line <&"${HOLD[0]}" && [ "$line" != done ]; do
            echo "$line"
        done >"$tmp/answer"
        sort -k2 "$tmp/answer" >"$tmp/$1"
    }
    read -r line <&"${HOLD[0]}"
    [ "$line" = ready ] || fail "no connection"

    head -c 70000 /dev/urandom | put "$tmp/remote/changed"
    head -c 20000 /dev/urandom | put "$tmp/remote/folder/added"
    head -c 60000 /dev/urandom | put "$tmp/remote/folder/deep"
    rm "$tmp/remote/removed"
    mv "$tmp/remote/renamed" "$tmp/remote/folder/new name"
    mkdir "$tmp/remote/new folder"
    tree_sums "$tmp/remote" | sed 's/  / /' | sort -k2 >"$tmp/new"
    shows_new () { ask sums; cmp -s "$tmp/sums" "$tmp/new"; }
    wait_until 20 shows_new || fail "$fs: not seen on the open connection: $(diff "$tmp/new" "$tmp/sums")"
    ask old
    sed 's/  / /' "$tmp/old.sums" | sort -k2 | diff - "$tmp/old" >"$tmp/diff" ||
        fail "$fs: old clusters do not keep their bytes: $(cat "$tmp/diff")"
    # So it is for a new connection; and a folder can appear without a file.
    same_content "$tmp/remote"
    disk_has 'new folder/' || fail "the new folder is not there"

    # Again and again: the old bytes stay, and so do those in between.
    for i in 1 2 3; do
        head -c 3000$i /dev/urandom | put "$tmp/remote/changed"
        tree_sums "$tmp/remote" | sed 's/  / /' | sort -k2 >"$tmp/new"
        wait_until 20 shows_new || fail "$fs: change $i is not seen"
    done
    ask old
    sed 's/  / /' "$tmp/old.sums" | sort -k2 | cmp - "$tmp/old"
    exec {HOLD[1]}>&-
    wait $HOLD_PID || true
    stop_nbdkit
done

# ---- refresh=attach ----

start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-attach" refresh=attach linger=6 size=600M
uri () { NBD_URI=$(nbd_uri "$1"); }
uri vm1/cloud
on_disk sums >"$tmp/before"
detached=$SECONDS
echo 'something new' | put "$tmp/remote/folder/news"

# Another machine, which comes now, sees it as soon as it is known.
sees_news () { n=$((n + 1)); uri "vm2-$n/cloud"; disk_has folder/news; }
n=0
wait_until 20 sees_news || fail "not known"
# This one had the disk a moment ago, and gets the same again, whatever became of the server meanwhile.
uri vm1/cloud
on_disk sums | cmp - "$tmp/before"
kill_nbdkit
start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-attach" refresh=attach linger=6 size=600M
uri vm1/cloud
on_disk sums | cmp - "$tmp/before"
stop_nbdkit
start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache-attach" refresh=attach linger=6 size=600M
uri vm1/cloud
on_disk sums | cmp - "$tmp/before"

# One that stays connected past linger= keeps what it has, too.
coproc HOLD { "$PYTHON" "$tmp/hold.py" "$NBD_URI" "$abs_top_srcdir/tests"; }
read -r line <&"${HOLD[0]}"
sleep 8
ask sums
sed 's/  / /' "$tmp/before" | sort -k2 | cmp - "$tmp/sums"
exec {HOLD[1]}>&-
wait $HOLD_PID || true

# Once it was away for longer, it gets the news.
sleep 8
same_content "$tmp/remote"
disk_has folder/news || fail "after linger= it still has the old generation"

# ---- views that can be written ----

stop_nbdkit
rw=(remote="$tmp/remote" cache="$tmp/cache-rw" linger=6 size=600M fs=fat32)
start_nbdkit "$PLUGIN" "${rw[@]}"
uri vm1/cloud
tree_sums "$tmp/remote" | sed 's/  / /' | sort -k2 >"$tmp/before"
coproc HOLD { "$PYTHON" "$tmp/hold.py" "$NBD_URI" "$abs_top_srcdir/tests"; }
read -r line <&"${HOLD[0]}"
echo 'more news' | put "$tmp/remote/folder/more news"
sees_more () { n=$((n + 1)); uri "vm3-$n/cloud"; disk_has 'folder/more news'; }
wait_until 20 sees_more || fail "a new view does not see it"
sleep 8
ask sums
cmp "$tmp/before" "$tmp/sums" || fail "a view that can be written has changed while it was connected"
exec {HOLD[1]}>&-
wait $HOLD_PID || true
uri vm1/cloud
! disk_has 'folder/more news' || fail "it has moved on before linger= seconds had passed"
sleep 8
disk_has 'folder/more news' || fail "it has not moved on after linger= seconds"
stop_nbdkit

# A guest that mounts and unmounts marks the volume dirty, and clean (FAT32: bit 0 of byte 65 of the boot sector).
mark ()
{
    "$PYTHON" -c 'import nbd, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
for byte in sys.argv[2:]:
  h.pwrite (bytes ([int (byte)]), (1 << 20) + 65)' "$NBD_URI" "$@"
}
start_nbdkit "$PLUGIN" "${rw[@]}" refresh=unmount linger=1000
uri vm4/cloud
coproc HOLD { "$PYTHON" "$tmp/hold.py" "$NBD_URI" "$abs_top_srcdir/tests"; }
read -r line <&"${HOLD[0]}"
mark 1
echo 'last news' | put "$tmp/remote/folder/last news"
n=100
sees_last () { n=$((n + 1)); uri "vm3-$n/cloud"; disk_has 'folder/last news'; }
wait_until 20 sees_last || fail "a new view does not see it"
uri vm4/cloud
sleep 3
! disk_has 'folder/last news' || fail "a view has changed while its guest has it mounted"
mark 0
wait_until 10 disk_has 'folder/last news' || fail "a view has not moved on when its guest unmounted"
exec {HOLD[1]}>&-
wait $HOLD_PID || true
