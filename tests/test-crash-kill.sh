#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The process is killed again and again, at random moments, while a client writes and the changes go to a server that keeps
# running.  Nothing that was acknowledged is lost or garbled, nothing is uploaded twice, and in the end the cloud has it all.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 nbdcopy
# The client comes back to what it wrote, however long that takes here.
LINGER=20

rounds=20
case ${1:-} in
    --long) rounds=200 ;;
    '') [ -z "${CLOUDSHARE_LONG:-}" ] || rounds=200 ;;
    *) fail "what is $1?" ;;
esac
seed=$(seed_for 876962282)
plan=$seed,$((rounds * 30)),mtools
RANDOM=$((seed % 32768))
echo "seed $seed, $rounds rounds"

mkdir "$tmp/remote"
fidelity "$plan" tree "$tmp/remote"
chmod -R a+rwX "$tmp/remote"
start_server apache "$tmp/remote"
start_proxy
start_rw remote="$URL" fs=fat32
"$abs_top_srcdir/tests/fidelity/record-session" "$NBD_URI" "$tmp/recording" \
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/fidelity.py" "$plan" mtools
rm -f "$tmp/recording/disk.img"
requests=$(wc -l <"$tmp/recording/disk.log")
before=$(asked PUT)

# A second for each round, more or less.
"$PYTHON" "$abs_top_srcdir/tests/fidelity/play.py" "$tmp/uri" "$tmp/recording/disk" --rate $((requests / rounds + 1)) \
    --progress "$tmp/progress" >"$tmp/play.out" 2>&1 &
PLAYER=$!
cleanup_fn kill_nbdkit $PLAYER
for ((round = 1; round <= rounds; round++)); do
    # From hardly started to well into uploads; now and then it has time for all.
    sleep 0.$((RANDOM % 10))
    [ $((RANDOM % 3)) != 0 ] || sleep $((RANDOM % 3)).$((RANDOM % 10))
    kill_nbdkit
    start_rw remote="$URL" fs=fat32
    kill -0 $PLAYER 2>/dev/null || [ -n "${ended:-}" ] || { ended=1; echo "all is written at round $round"; }
done
status=0
wait $PLAYER || status=$?
cat "$tmp/play.out"
[ $status = 0 ] || fail "seed $seed: the client was let down"

same () { sleep 1; fidelity "$plan" compare "$tmp/remote"; }
wait_until 150 same || { same || true; ctl status || true; fail "seed $seed: see above"; }
drained
same
no_conflicts "$tmp/remote"
none_came_back
fidelity "$plan" uploads "$tmp/requests"
[ "$(asked PUT)" -gt "$before" ] || fail "nothing was uploaded"
stop_nbdkit
