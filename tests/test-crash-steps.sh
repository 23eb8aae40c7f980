#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The process is stopped at each of its durable steps while a disk is written to and what was written goes to the cloud.  The
# client goes on as QEMU does: what was acknowledged is not sent again.  After the next start everything comes to the cloud, as
# if nothing had been; and one more start changes nothing.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires nbdcopy

# ---- what is there, what is written, and what that leads to ----

mkdir -p "$tmp/before/folder" "$tmp/before/old"
head -c 50000 /dev/urandom >"$tmp/before/changed.bin"
head -c 5000 /dev/urandom >"$tmp/before/moved away.txt"
head -c 6000 /dev/urandom >"$tmp/before/removed file.txt"
head -c 7000 /dev/urandom >"$tmp/before/folder/stays here.txt"
head -c 8000 /dev/urandom >"$tmp/before/old/in a folder.txt"
find "$tmp/before" -exec touch -d '2023-11-14 22:13:20 UTC' {} +
head -c 40000 /dev/urandom >"$tmp/changed.bin"
head -c 90000 /dev/urandom >"$tmp/new file.bin"

# session URI: the same in each round.
cat >"$tmp/session" <<'SESSION'
set -eu
tmp=$1 uri=$2
mkdir -p "$tmp/fuse"
nbdfuse "$tmp/fuse/disk" "$uri" &
fuse=$!
for _ in $(seq 200); do
    [ -s "$tmp/fuse/disk" ] && break
    sleep 0.05
done
mt () { local program=$1; shift; MTOOLSRC=/dev/null "$program" -i "$tmp/fuse/disk@@1M" "$@" </dev/null; }
mt mcopy -D o "$tmp/changed.bin" "::/changed.bin"
mt mcopy "$tmp/new file.bin" "::/folder/new file.bin"
mt mmd "::/new folder"
mt mmove "::/moved away.txt" "::/new folder"
mt mdel "::/removed file.txt"
mt mren "::/old" "moved folder"
mt mcopy "$tmp/changed.bin" "::/moved folder/another file.bin"
fusermount -u "$tmp/fuse"
wait $fuse
SESSION

mkdir "$tmp/after"
cp -a "$tmp/before/." "$tmp/after"
cp "$tmp/changed.bin" "$tmp/after/changed.bin"
cp "$tmp/new file.bin" "$tmp/after/folder/"
mkdir "$tmp/after/new folder"
mv "$tmp/after/moved away.txt" "$tmp/after/new folder/"
rm "$tmp/after/removed file.txt"
mv "$tmp/after/old" "$tmp/after/moved folder"
cp "$tmp/changed.bin" "$tmp/after/moved folder/another file.bin"
want "$tmp/after"

# The places of files are the same on each disk that is made of the same tree, so that one recording fits all.
fresh ()
{
    rm -rf "$tmp/remote" "$tmp/cache"
    cp -a "$tmp/before" "$tmp/remote"
}
fresh
start_rw remote="$tmp/remote" fs=fat32
"$abs_top_srcdir/tests/fidelity/record-session" "$NBD_URI" "$tmp/recording" bash "$tmp/session" "$tmp"
rm -f "$tmp/recording/disk.img"
places () { for file in changed.bin 'old/in a folder.txt'; do on_disk where "$file"; done; }
places >"$tmp/places"
stop_nbdkit
echo "$(wc -l <"$tmp/recording/disk.log") requests are played"

# ---- every step ----

# start_at STEP|- [LINGER]: starts, if it can; at STEP it stops.
start_at ()
{
    [ "$1" = - ] || export CLOUDSHARE_STOP_AT_STEP=$1
    # The client comes back to what it wrote, however long that takes here.
    LINGER=${2:-5} start_rw remote="$tmp/remote" fs=fat32 2>/dev/null || true
    unset CLOUDSHARE_STOP_AT_STEP
}

# come_back: the process has stopped at its step, and is started again.
come_back ()
{
    local status=0
    wait $NBDKIT_PID || status=$?
    [ $status = 99 ] || fail "step $step: status $status: $(tail -n 5 "$NBDKIT_LOG")"
    stopped=1
    start_at -
}

written ()
{
    ! kill -0 $PLAYER 2>/dev/null
}

# A step stops it, or it gets to the end.
goes_on ()
{
    _has_ended $NBDKIT_PID || _is_wanted "$tmp/remote"
}

first=${FIRST_STEP:-1}
# In short runs every eighth step, another eighth each time.
every=1
[ -n "${CLOUDSHARE_LONG:-}" ] || every=8
[ $every = 1 ] || first=$((first + RANDOM % every))
echo "from step $first, every ${every}th"
for ((step = first; ; step += every)); do
    [ $step -le 1000 ] || fail "the steps do not come to an end"
    echo "step $step"
    fresh
    stopped=
    start_at $step
    _has_ended $NBDKIT_PID && come_back
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/play.py" "$tmp/uri" "$tmp/recording/disk" >"$tmp/play.out" 2>&1 &
    PLAYER=$!
    while ! written; do
        if _has_ended $NBDKIT_PID; then
            come_back
        fi
        sleep 0.05
    done
    wait $PLAYER || fail "step $step: $(cat "$tmp/play.out")"
    wait_until 100 goes_on || true
    if _has_ended $NBDKIT_PID; then
        come_back
    fi
    # Shutting down has steps, too.
    if [ -z "$stopped" ]; then
        kill -TERM $NBDKIT_PID
        wait_until 30 _has_ended $NBDKIT_PID || fail "step $step: it does not end"
        status=0
        wait $NBDKIT_PID || status=$?
        [ $status = 0 ] || [ $status = 99 ] || fail "step $step: status $status at the end"
        [ $status != 0 ] || last=1
        start_at -
    fi
    becomes 100 "$tmp/remote"
    no_conflicts "$tmp/remote"
    none_came_back
    drained
    # What the disk shows is the same.
    remote_state "$tmp/remote" >"$tmp/state"
    stop_nbdkit
    start_at - 1
    drained
    sleep 0.5
    remote_state "$tmp/remote" | diff "$tmp/state" - || fail "step $step: one more start changes the remote"
    wait_until 30 same_content "$tmp/after" 2>/dev/null || fail "step $step: the disk differs: $(head -n 5 "$tmp/sums.diff")"
    stop_nbdkit
    [ -z "${last:-}" ] || break
done
echo "stopped at steps up to $step"
[ $step -gt 20 ] || fail "there were hardly any steps"
