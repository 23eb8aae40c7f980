# SPDX-License-Identifier: BSD-3-Clause
# Sourced after functions.sh by tests that look at what is on a disk.

# The Python that has libnbd's bindings: not always the first one in the PATH.
PYTHON=
for _p in python3 /usr/bin/python3; do
    if "$_p" -c 'import nbd' 2>/dev/null; then
        PYTHON=$_p
        break
    fi
done
[ -n "$PYTHON" ] || skip "Python has no module nbd (python3-libnbd)"

# on_disk ls|sums|cat|where|free [PATH]: through NBD, by tests/diskread.py; the URI is $NBD_URI.
on_disk ()
{
    "$PYTHON" "$abs_top_srcdir/tests/diskread.py" "$NBD_URI" "$@"
}

# disk_has PATH: is there such a file (or, with a slash at its end, folder)?
disk_has ()
{
    on_disk ls >"$tmp/disk.ls" || fail "the disk cannot be listed"
    # Not by a pipe: grep ends it when it has found the name, and then the pipe has failed.
    cut -d' ' -f2- "$tmp/disk.ls" >"$tmp/disk.names"
    grep -qxF -- "$1" "$tmp/disk.names"
}

# tree_sums DIR: what "on_disk sums" says when the disk holds what the folder does.
tree_sums ()
{
    (cd "$1" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 -r sha256sum --)
}

# same_content DIR [SUMS]: the disk's files are those of the folder, byte for byte.
same_content ()
{
    local sums=${2:-$tmp/want.sums}
    [ $# -ge 2 ] || tree_sums "$1" >"$sums"
    on_disk sums >"$tmp/got.sums"
    diff "$sums" "$tmp/got.sums" >"$tmp/sums.diff" || fail "the disk's files differ: $(head -n 6 "$tmp/sums.diff")"
}

# volume_of IMAGE FILE: copies the first partition out of a disk's image, holes as holes.
volume_of ()
{
    sfdisk -J "$1" | python3 -c '
import json, os, sys
part = json.load (sys.stdin)["partitiontable"]["partitions"][0]
start, size = part["start"] * 512, part["size"] * 512
with open (sys.argv[1], "rb") as image, open (sys.argv[2], "wb") as volume:
  volume.truncate (size)
  at = start
  while at < start + size:
    try:
      at = os.lseek (image.fileno (), at, os.SEEK_DATA)
    except OSError:
      break
    end = min (os.lseek (image.fileno (), at, os.SEEK_HOLE), start + size)
    while at < end:
      data = os.pread (image.fileno (), min (end - at, 1 << 20), at)
      os.pwrite (volume.fileno (), data, at - start)
      at += len (data)
' "$1" "$2"
}

# volume_is_clean VOLUME: fsck has nothing to say.
volume_is_clean ()
{
    if [ "$(dd if="$1" bs=1 skip=3 count=5 status=none)" = EXFAT ]; then
        fsck.exfat -n "$1" >"$tmp/fsck.log" 2>&1 && grep -q ': clean\.' "$tmp/fsck.log"
    else
        # The summary must be all that it says: some complaints do not change its status.
        fsck.fat -n "$1" >"$tmp/fsck.log" 2>&1 && [ "$(wc -l <"$tmp/fsck.log")" = 2 ]
    fi || fail "fsck: $(head -n 10 "$tmp/fsck.log")"
}

# refused FRAGMENT KEY=VALUE...: nbdkit does not start, soon, with status 1 and one sentence that holds the fragment; and it
# leaves nothing outside $tmp.  The log is in $tmp/refused.out.
refused ()
{
    local fragment=$1 status=0 preload
    shift
    preload=$(_preload)
    # Standard input could be asked for a password.
    timeout -k 5 100 env ${preload:+LD_PRELOAD="$preload"} "$NBDKIT" -f -U "$tmp/refused.sock" "$PLUGIN" "$@" \
        >"$tmp/refused.out" 2>&1 </dev/null || status=$?
    [ $status = 1 ] || fail "status $status instead of 1: $*: $(cat "$tmp/refused.out")"
    grep -qF -- "$fragment" "$tmp/refused.out" || fail "nothing of \"$fragment\": $*: $(cat "$tmp/refused.out")"
    # One sentence, not a cascade.
    [ "$(grep -c 'error:' "$tmp/refused.out")" = 1 ] || fail "not one sentence: $*: $(cat "$tmp/refused.out")"
    ! grep -qiE 'assert|abort|segfault|core dumped|Sanitizer' "$tmp/refused.out" || fail "a crash: $(cat "$tmp/refused.out")"
}

# logged FRAGMENT [SECONDS]: nbdkit's log tells it, now or soon.
logged ()
{
    wait_until "${2:-10}" grep -qF -- "$1" "$NBDKIT_LOG" || fail "not in the log: $1"
}

# start_nasty [option]...: the server that misbehaves (tests/servers/nasty.py); sets NASTY to its URL, without a mode.
start_nasty ()
{
    python3 "$abs_top_srcdir/tests/servers/nasty.py" "$@" </dev/null >"$tmp/nasty.out" 2>"$tmp/nasty.log" &
    NASTY_PID=$!
    cleanup_fn kill_nbdkit $NASTY_PID
    wait_until 20 test -s "$tmp/nasty.out"
    NASTY=http://127.0.0.1:$(head -n 1 "$tmp/nasty.out")
}

# nasty_hits MODE: the requests so far.
nasty_hits ()
{
    curl -sS "$NASTY/_hits/$1"
}

# read_fails PATH: reading the file through the disk fails with EIO.
read_fails ()
{
    local status=0
    on_disk cat "$1" >"$tmp/read.out" 2>"$tmp/read.err" || status=$?
    [ $status != 0 ] && grep -q 'Input/output error' "$tmp/read.err" ||
        fail "reading $1 did not fail with EIO: status $status, $(wc -c <"$tmp/read.out") bytes, $(cat "$tmp/read.err")"
}
