#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The process is killed while it fetches, again and again, and stopped at each of its durable steps: every start after it
# serves the right bytes.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires rclone curl nbdcopy

make_tree "$tmp/remote" --files 60 --folders 6 --sums "$tmp/want.sums"
for i in 1 2 3; do
    head -c 30000000 /dev/urandom >"$tmp/remote/large$i"
done
tree_sums "$tmp/remote" >"$tmp/want.sums"
start_server rclone "$tmp/remote"

# room_is_on_record CACHE: the blob files take no more room than the contents on record need.
room_is_on_record ()
{
    python3 - "$1" <<'EOF' || fail "room is taken that is not on record"
import glob, os, sqlite3, sys
db = sqlite3.connect ("file:%s/cloudshare.db?mode=ro" % sys.argv[1], uri=True)
blocks = sum (bin (bits & (1 << 64) - 1).count ("1") for bits, in db.execute ("SELECT bits FROM cached_chunk"))
taken = sum (os.stat (path).st_blocks * 512 for path in glob.glob (sys.argv[1] + "/blob-*"))
# Beside bytes, st_blocks counts what the file system notes about them.
if taken > blocks * 65536 + 64 * 1024:
    sys.exit ("%d bytes are taken, and %d blocks of 64 KiB on record" % (taken, blocks))
EOF
}

for ((round = 1; round <= 10; round++)); do
    start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" fs=fat32 size=1G fetch=$([ $((round % 2)) = 0 ] && echo all || echo demand)
    on_disk sums >"$tmp/partly" 2>/dev/null &
    reader=$!
    # From "hardly begun" to "nearly done".
    sleep 0.$((round * 7 % 10))$((RANDOM % 10))
    kill_nbdkit
    wait $reader || true
    # What it has cached it must not mistake: every round ends with a start that reads some of it.
    start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" fs=fat32 size=1G
    room_is_on_record "$tmp/cache"
    on_disk cat large1 $((round * 2900000)) 1000000 >"$tmp/part"
    tail -c +$((round * 2900000 + 1)) "$tmp/remote/large1" | head -c 1000000 >"$tmp/want.part" || true
    cmp "$tmp/part" "$tmp/want.part"
    kill_nbdkit
done
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache" fs=fat32 size=1G
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
stop_server rclone

# ---- every durable step ----

mkdir -p "$tmp/small/folder"
head -c 5000 /dev/urandom >"$tmp/small/a"
head -c 70000 /dev/urandom >"$tmp/small/folder/b"
: >"$tmp/small/empty"
touch -d '1 hour ago' "$tmp/small"/* "$tmp/small/folder/b"
tree_sums "$tmp/small" >"$tmp/small.sums"
start_server rclone "$tmp/small"

# From nothing to everything read, recorded and ended; 99 means that it stopped at the step.
for ((step = 1; ; step++)); do
    [ $step -le 300 ] || fail "the steps do not come to an end"
    rm -rf "$tmp/cache-steps"
    export CLOUDSHARE_STOP_AT_STEP=$step
    if start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-steps" size=300M fs=fat32 2>/dev/null; then
        on_disk sums >"$tmp/steps.sums" 2>/dev/null && kill -TERM $NBDKIT_PID || true
    fi
    unset CLOUDSHARE_STOP_AT_STEP
    wait_until 30 _has_ended $NBDKIT_PID || fail "it does not end"
    status=0
    wait $NBDKIT_PID || status=$?
    if [ $status = 0 ]; then
        cmp "$tmp/small.sums" "$tmp/steps.sums"
        break
    fi
    [ $status = 99 ] || fail "status $status at step $step: $(tail -n 5 "$NBDKIT_LOG")"
    start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-steps" size=300M fs=fat32
    same_content "$tmp/small" "$tmp/small.sums"
    kill_nbdkit
done
echo "stopped at $((step - 1)) steps"
[ $step -gt 5 ] || fail "there were hardly any steps"
