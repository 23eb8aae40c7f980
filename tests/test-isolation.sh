#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What a virtual machine was not given it cannot get: not by names of exports, not by listing them, not by saying that it is another,
# and not by reading every byte of its disk, or asking which parts of it are holes.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires nbdcopy nbdinfo setpriv mdel

SECRET=isolation-secret

serve ()
{
    start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" fs="$fs" size=64M partition=mbr timezone=utc \
        poll=1 settle=0.3 write-back=0 max-delete=100 linger=0 disk=all disk=docs,folder=Docs \
        'disk=pics,type=image,glob=*.jpg,exclude=private' vm=vm1,disk=docs vm=vm2,disk=all,uid=0 vm=vm3,disk=pics vm=vm4,disk=docs \
        vm=vm5,disk=docs:ro
}

# secret PATH [LINES]: a file whose content must not be seen; its name tells as well if it has "isolation-secret" in it.
secret () { mkdir -p "$(dirname "$tmp/remote/$1")"; { yes "$SECRET of $1" || true; } | head -n "${2:-3}" >"$tmp/remote/$1"; }
open_file () { mkdir -p "$(dirname "$tmp/remote/$1")"; { yes "open $1" || true; } | head -n "${2:-3}" >"$tmp/remote/$1"; }

# tells_nothing NAME: none of the bytes of the disk says anything, in ASCII, UTF-16 or as an 8.3 name; and what is free is zeros.
tells_nothing ()
{
    local uri
    uri=$(nbd_uri "$1")
    nbdcopy "$uri" "$tmp/image" || fail "$1 cannot be read"
    "$PYTHON" - "$tmp/image" "$uri" "$abs_top_srcdir/tests" <<'PY' || fail "$1 tells what it must not: see above"
import sys
sys.path[:0] = [sys.argv[3]]
import diskread, nbd
image = open (sys.argv[1], "rb").read ()
for what in (b"isolation-secret", "isolation-secret".encode ("utf-16le"), b"ISOLAT~", "tion-secret".encode ("utf-16le"), b"isolation-sec"):
  at = image.find (what)
  if at >= 0:
    sys.exit ("%r stands at %d: %r" % (what, at, image[at - 64:at + 200]))
disk = diskread.Disk (sys.argv[2])
volume = diskread.volume_of (disk)
used = bytearray (volume.clusters + 2)
files = list (volume.walk ())
tails = []
for file in files + [volume.root]:
  n = 0
  for first, count in volume.runs (file):
    used[first:first + count] = b"\1" * count
    n += count
    last = first + count - 1
  # Behind the end of a file its last cluster is zeros.
  if not file.folder and file.size % volume.cluster:
    end = disk.start + volume.data + (last - 2) * volume.cluster
    tail = image[end + file.size % volume.cluster:end + volume.cluster]
    if tail.strip (b"\0"):
      sys.exit ("%s: bytes behind its end: %r" % (file.path, tail.strip (b"\0")[:100]))
if isinstance (volume, diskread.ExFat):
  # Bitmap and up-case table.
  fixed = {}
  root = b"".join (volume.content (volume.root))
  for at in range (0, len (root), 32):
    if root[at] in (0x81, 0x82):
      first = int.from_bytes (root[at + 20:at + 24], "little")
      size = int.from_bytes (root[at + 24:at + 32], "little")
      n = -(-size // volume.cluster)
      used[first:first + n] = b"\1" * n
free = 0
for cluster in range (2, volume.clusters + 2):
  if not used[cluster]:
    at = disk.start + volume.data + (cluster - 2) * volume.cluster
    free += 1
    if image[at:at + volume.cluster].strip (b"\0"):
      sys.exit ("cluster %d is free, and not zeros: %r" % (cluster, image[at:at + volume.cluster].strip (b"\0")[:100]))
# What is not a hole is metadata or used; a hole is zeros.
h = nbd.NBD ()
h.add_meta_context ("base:allocation")
h.connect_uri (sys.argv[2])
at, wrong = 0, []
def extent (context, offset, entries, error):
  global at
  for length, flags in zip (entries[::2], entries[1::2]):
    if flags & 2 and image[at:at + length].strip (b"\0"):
      wrong.append ("hole at %d is not zeros" % at)
    if not flags & 1:
      begin = max (at, disk.start + volume.data)
      for cluster in range ((begin - disk.start - volume.data) // volume.cluster + 2, (at + length - 1 - disk.start - volume.data) // volume.cluster + 3):
        if 2 <= cluster < volume.clusters + 2 and not used[cluster]:
          lo = disk.start + volume.data + (cluster - 2) * volume.cluster
          if lo < at + length and lo + volume.cluster > at:
            wrong.append ("cluster %d is free, and the map says data" % cluster)
    at += length
  return 0
while at < len (image):
  h.block_status (len (image) - at, at, extent)
if wrong:
  sys.exit ("%s (%d more)" % (wrong[0], len (wrong) - 1))
print ("%d files, %d free clusters, all zeros" % (len (files), free))
PY
}

# on NAME; write NAME COMMANDS
on () { NBD_URI=$(nbd_uri "$1"); echo "$NBD_URI" >"$tmp/uri"; }
write () { on "$1"; attach; eval "$2"; detach; }
put () { { yes "$2" || true; } | head -n "${3:-3}" >"$tmp/new"; mt mcopy -D o "$tmp/new" "::/$1"; }
understood () { wait_until 60 eval '! ctl status | grep -qE "not yet understood"'; drained; }

names ()
{
    local name
    # Whatever a name looks like: what is not given is refused, and no two names lead to the same.
    for name in '' all docs pics vm1 vm1/ /docs //docs vm1/all vm1/pics vm3/all vm3/docs vm4/all vm9/docs vm1/../vm2/all vm1/docs/../all \
        vm2//all 'vm1/docs%2f..' VM2/all vm2/ALL vm2/all/ './vm2/all' '*' 'vm1/*' 'vm1/docs vm2/all' $'vm2/all\n' 'vm1/docs:ro'; do
        ! as_nobody nbdinfo --size "$(nbd_uri "$name")" >/dev/null 2>&1 || fail "\"$name\" can be opened"
    done
    ! as_nobody nbdinfo --size "$(nbd_uri vm2/all)" >/dev/null 2>&1 || fail "another user has vm2/all"
    as_nobody nbdinfo --list --json "$(nbd_uri '')" >"$tmp/list" 2>&1 || true
    grep -oE '"export-name": "[^"]*"|"description": "[^"]*"' "$tmp/list" >"$tmp/list.names"
    ! grep -qE 'vm2|all|secret' "$tmp/list.names" || fail "the list tells: $(cat "$tmp/list.names")"
    # NBD_OPT_INFO is no way around, nor is a client that opens with one name and then asks for another.
    as_nobody "$PYTHON" - "$NBD_SOCKET" <<'PY'
import nbd, sys
h = nbd.NBD ()
h.set_opt_mode (True)
h.connect_unix (sys.argv[1])
for name, ok in ("vm1/docs", True), ("vm2/all", False), ("vm1/all", False), ("vm4/docs", True), ("vm2/all", False):
  h.set_export_name (name)
  try:
    h.opt_info ()
    h.get_size ()
    got = True
  except nbd.Error:
    got = False
  assert got == ok, (name, got)
h.set_export_name ("vm2/all")
try:
  h.opt_go ()
  sys.exit ("vm2/all was opened")
except nbd.Error:
  pass
PY
}

as_nobody () { setpriv --reuid=nobody --clear-groups "$@"; }

# What guests write, by mtools, which know FAT32 only.
written ()
{
    # What another writes is its own until it counts; what it removed is gone.
    on vm4/docs
    attach
    put "$SECRET-of-vm4.swp" "$SECRET of vm4" 3000
    put "a.txt" "$SECRET edit" 3000
    mt mdel ::/a.txt
    put "not for long.txt" "$SECRET was in it" 2000
    mt mdel "::/not for long.txt"
    sleep 1
    # Junk and what is gone never come to others; this one sees its own, as on any disk.
    tells_nothing vm1/docs
    tells_nothing vm5/docs
    tells_nothing vm3/pics
    detach
    understood
    sleep 1
    tells_nothing vm1/docs
    # Its own disk is clean once it has moved on.
    tells_nothing vm4/docs
    # A guest that makes what is hidden gets none of it.
    write vm3/pics 'mt mmd ::/private; put private/mine.jpg open; mt mmd ::/pics/private; put pics/private/mine.jpg open; put pics/new.txt open; mt mmd ::/other; mt mmd ::/Work'
    understood
    sleep 2
    tells_nothing vm3/pics
}

# bytes FS
bytes ()
{
    fs=$1
    open_file Docs/a.txt 400
    open_file Docs/sub/b.txt
    open_file pics/one.jpg 2000
    secret Docs/$SECRET-removed.txt 3000
    secret Docs/"$SECRET"-folder/x.txt
    secret Work/$SECRET.doc
    secret pics/$SECRET.txt 400
    secret pics/$SECRET.png
    secret pics/private/$SECRET.jpg
    secret private/$SECRET.jpg
    secret other/$SECRET/deep.txt
    secret pics/shrinks.jpg 5000
    chmod -R a+rwX "$tmp/remote"
    serve
    chmod 755 "$tmp"
    chmod 666 "$NBD_SOCKET"
    # What was there once, and was fetched and shown, is not there for who comes later.
    on vm1/docs
    on_disk sums >/dev/null
    on vm3/pics
    on_disk sums >/dev/null
    on vm2/all
    on_disk sums >/dev/null
    rm -r "$tmp/remote/Docs/$SECRET-removed.txt" "$tmp/remote/Docs/$SECRET-folder"
    open_file pics/shrinks.jpg 1
    touch -d '1 minute ago' "$tmp/remote/pics/shrinks.jpg"
    wait_until 30 eval 'on vm1/docs; ! disk_has "$SECRET-removed.txt"'
    wait_until 30 eval 'on vm3/pics; on_disk cat pics/shrinks.jpg | grep -q open'
    sleep 1
    for name in vm1/docs vm3/pics vm4/docs vm5/docs; do
        tells_nothing $name
    done
    names

    [ "$fs" = exfat ] || written
    # Many generations, and clusters that are used again.
    for i in {1..6}; do
        secret "Work/$SECRET-$i.doc" $((i * 300))
        secret "Docs/$SECRET-$i.txt" $((i * 300))
        sleep 0.6
        on vm1/docs
        on_disk sums >/dev/null
        on vm2/all
        on_disk sums >/dev/null
        rm "$tmp/remote/Docs/$SECRET-$i.txt"
        open_file "Docs/open-$i.txt" $((i * 100))
    done
    wait_until 30 eval 'on vm1/docs; disk_has open-6.txt && ! on_disk ls | grep -q $SECRET'
    sleep 1
    tells_nothing vm1/docs
    stop_nbdkit
    serve
    tells_nothing vm1/docs
    tells_nothing vm3/pics
    stop_nbdkit
}

if [ $# -gt 0 ]; then
    "$@"
else
    together <<END
bytes fat32
bytes exfat
END
fi
