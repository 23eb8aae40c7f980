#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# 100,000 items, 10 disks, 20 views: what they cost.  It takes minutes, so it is one of the long tests (./runtests --long).
# SCALE_ITEMS: another number of items.  SCALE_STRICT=0: tells the numbers only (a busy machine).

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires apache2

items=${SCALE_ITEMS:-100000}
scale () { "$PYTHON" "$abs_top_srcdir/tests/scale.py" "$@"; }

# at_most WHAT NUMBER LIMIT
at_most ()
{
    echo "$1: $2 (at most $3)"
    [ "${SCALE_STRICT:-1}" = 0 ] || python3 -c 'import sys; sys.exit (float (sys.argv[1]) > float (sys.argv[2]))' "$2" "$3" ||
        fail "$1: $2 instead of at most $3"
}

# ---- one copy for all ----

mkdir "$tmp/small"
scale tree "$tmp/small" 200 10
head -c 3000000 /dev/urandom >"$tmp/small/large.bin"
chmod -R a+rwX "$tmp/small"
start_server apache "$tmp/small"
start_proxy
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-small" size=300M disk=shared poll=600
uris=()
for i in {1..20}; do
    uris+=("$(nbd_uri vm$i/shared)")
done
scale read "${uris[0]}"
one=$(asked GET) bytes=$(du -s --apparent-size "$tmp/cache-small" | cut -f1)
scale read "${uris[@]}"
[ "$(asked GET)" = "$one" ] || fail "20 views ask the cloud $(($(asked GET) - one)) more times than one"
stop_nbdkit
rm -rf "$tmp/cache-small"
: >"$tmp/requests"
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-small" size=300M disk=shared poll=600
uris=()
for i in {1..20}; do
    uris+=("$(nbd_uri vm$i/shared)")
done
scale read "${uris[@]}"
echo "GETs for one view: $one; for 20 at once: $(asked GET)"
[ "$(asked GET)" -le $((one + 5)) ] || fail "20 views at once ask the cloud $(asked GET) times, one $one times"
stop_nbdkit

# ---- many items ----

mkdir "$tmp/remote"
scale tree "$tmp/remote" "$items" 500
disks=(disk=all disk=images,type=image disk=text,type=text disk=pdf,glob=*.pdf 'disk=nosub,exclude=sub' 'disk=one,folder=folder 001'
    'disk=two,folder=folder 002,folder=folder 003' disk=audio,type=audio 'disk=rest,exclude=*.jpg,exclude=*.mp3' disk=copy)
mkfifo "$tmp/pipe"
python3 -u -c 'import sys, time
for line in sys.stdin:
  print ("%.4f" % time.time (), line, end = "")' <"$tmp/pipe" >"$tmp/timed" &
start_timed ()
{
    local begin=$SECONDS
    # -v: the log tells of generations.
    start_nbdkit -v "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" fs=exfat size=64G linger=3600 poll=3600 "${disks[@]}"
    echo "$1: $((SECONDS - begin)) s"
}
exec 9>"$tmp/pipe"
start_timed "first start"
stop_nbdkit
start_timed "second start"
tail -n +1 -F "$NBDKIT_LOG" 2>/dev/null >&9 &
cleanup_fn kill $!
prefix="nbd+unix:///%s?socket=$NBD_SOCKET"
read -r median worst <<<"$(scale open "$prefix" 20 all)"
echo "open of a view on $items files: median $median ms, worst $worst ms"
at_most "open of a view, ms" "$median" 10
at_most "memory of an idle view, kB" "$(scale idle "$NBDKIT_PID" "$prefix" 100 all images text)" 100
sleep 1
read -r first last <<<"$(scale news "$tmp/timed" "$tmp/remote/folder 007/sub/000007.jpg" all copy images)"
# From the write on: with what it takes to notice, to settle and to look.
echo "one changed file of $items: the first of three disks after $first ms, the last after $last ms"
at_most "from a change to a new generation, ms" "$last" 1500
at_most "two more disks' generations, ms" "$(python3 -c "print ('%.1f' % ($last - $first))")" 50
echo "server: $(grep VmRSS "/proc/$NBDKIT_PID/status" | tr -s '\t ' ' ')"
stop_nbdkit
