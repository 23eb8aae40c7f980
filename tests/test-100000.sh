#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# 100,000 files in one folder: exFAT shows all of them; FAT32 as many as fit into a folder of 65,536 entries, and says that
# it leaves out the others.  It takes minutes, so it is one of the long tests (./runtests --long).

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires fsck.fat fsck.exfat nbdcopy

mkdir "$tmp/remote"
python3 - "$tmp/remote" "$tmp/want" <<'PY'
import os, sys
folder, want = sys.argv[1:]
with open (want, "w") as sums:
  for i in range (100000):
    path = "photo number %06d.jpeg" % i
    data = b"%d\n" % i * (i % 7)
    with open (os.path.join (folder, path), "wb") as file:
      file.write (data)
    os.utime (os.path.join (folder, path), (1e9 + i, 1e9 + i))
    sums.write ("%d %s\n" % (len (data), path))
PY

start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" disk=wide fs=exfat size=16G
on_disk ls >"$tmp/got"
cmp "$tmp/want" "$tmp/got"
# A few of them, from all over the folder.
for i in 000001 033333 065535 065536 099999; do
    on_disk cat "photo number $i.jpeg" | cmp - "$tmp/remote/photo number $i.jpeg"
done
nbdcopy "$NBD_URI" "$tmp/disk.img"
volume_of "$tmp/disk.img" "$tmp/volume.img"
volume_is_clean "$tmp/volume.img"
stop_nbdkit

start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache2" disk=wide fs=fat32 size=16G
on_disk ls >"$tmp/got"
shown=$(wc -l <"$tmp/got")
# Three entries each: two of the long name, one of the short.
[ "$shown" -gt 20000 ] && [ "$shown" -lt 22000 ] || fail "$shown files are shown"
[ -z "$(comm -13 <(sort "$tmp/want") <(sort "$tmp/got"))" ] || fail "something is shown that is not there"
grep -q 'more items than a folder can have' "$NBDKIT_LOG" || fail "nothing is said of what was left out: $(head -n 5 "$NBDKIT_LOG")"
[ "$(wc -l <"$NBDKIT_LOG")" -lt 100 ] || fail "too much is said: $(wc -l <"$NBDKIT_LOG") lines"
nbdcopy "$NBD_URI" "$tmp/disk.img"
volume_of "$tmp/disk.img" "$tmp/volume.img"
volume_is_clean "$tmp/volume.img"
