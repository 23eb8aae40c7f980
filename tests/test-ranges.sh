#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Puts of changed ranges alone, without a disk, into a folder, Apache, SabreDAV with and without PATCH, rclone (which takes a
# part for the whole), and a server that does wrong: what comes out is what was meant, byte for byte, or nothing has happened;
# where the server can, little travels; and whatever is cut, lost or refused on the way leaves the file whole, old or new.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires apache2 rclone php curl
[ -e /usr/share/php/Sabre/autoload.php ] || skip "php-sabre-dav is not installed"

: "${CLOUDTOOL:=$abs_top_builddir/tests/cloudtool}"
[ -x "$CLOUDTOOL" ] || skip "$CLOUDTOOL has not been built"
seed=${CLOUDSHARE_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "seed $seed"
RANDOM=$((seed % 32768))

ROUNDS=4
[ -z "${CLOUDSHARE_LONG:-}" ] || ROUNDS=16

# enum cloud_result
OK=0 GONE=1 CHANGED=2 OFFLINE=3 BUSY=6 BAD=11 LOCAL=12 WHOLE=14

# is RESULTS ARGUMENT...: runs cloudtool on $URL; what it prints is in $out, how it ended in $status.
is ()
{
    local want=$1
    status=0
    shift
    out=$(timeout 100 "$CLOUDTOOL" "$URL" debug=true "$@" 2>"$tmp/tool.err") || status=$?
    grep -qE 'Sanitizer|runtime error' "$tmp/tool.err" && cat "$tmp/tool.err" >&2
    case " $want " in
        *" $status "*) ;;
        *) fail "$URL $*: $status instead of $want: $out $(cat "$tmp/tool.err")" ;;
    esac
}

token ()
{
    "$CLOUDTOOL" "$URL" stat "$1" | cut -f 5
}

# make_case [KIND]: a new base in $tmp/base and content in $tmp/new, whose difference is $ranges; $size is the base's.
make_case ()
{
    python3 - "$RANDOM" "$tmp" "${1:-any}" >"$tmp/case" <<'PYTHON'
import random, sys
rng = random.Random (int (sys.argv[1]))
size = rng.choice ([300000, 500000, 1000000, 3000000]) + rng.randrange (5000)
base = rng.randbytes (size)
new = bytearray (base)
ranges, at = [], 0
if sys.argv[3] == 'many':
  steps = [200] * 5
else:
  steps = [rng.choice ([1, 2, 512, 4096, 10000, 70000]) for _ in range (rng.randrange (1, 6))]
for n in steps:
  start = at + rng.randrange (1, size // 8)
  if start + n >= size:
    break
  new[start:start + n] = rng.randbytes (n)
  ranges.append ((start, n))
  at = start + n
kind = rng.randrange (4) if sys.argv[3] == 'any' else 0
if kind == 1:           # grows, from its end or from before that
  start = size - rng.choice ([0, 0, 100])
  if at < start or at == start == size:
    more = rng.randbytes (rng.choice ([1, 5000, 100000]))
    ranges.append ((start, len (base) - start + len (more)))
    new[start:] = rng.randbytes (size - start) + more
elif kind == 2:         # is cut
  keep = rng.randrange (ranges[0][0] + 1, size)
  ranges = [(a, min (n, keep - a)) for a, n in ranges if a < keep]
  del new[keep:]
open (sys.argv[2] + '/base', 'wb').write (base)
open (sys.argv[2] + '/new', 'wb').write (new)
print (size, ','.join ('%d+%d' % r for r in ranges), 'cut' if len (new) < size else 'grown' if len (new) > size else 'same')
PYTHON
    read -r size ranges shape <"$tmp/case"
    whole=true
    [ $((RANDOM % 2)) = 0 ] || whole=false
}

# base_to FILE: gives the remote's file the base.  (Not in place: rclone and others look at times.)
base_to ()
{
    rm -f "$1"
    cp "$tmp/base" "$1"
    chmod 666 "$1"
    touch -d '1 hour ago' "$1"
}

# uploads FOLDER: what is left of them.
uploads ()
{
    find "$1" -name '*cloudshare*'
}

# ---- what every server must come to ----

# serve HOW DIR [ROUNDS]: HOW is what the remote has to do with ranges: "take", or "refuse" all.
serve ()
{
    local how=$1 dir=$2 i v rounds=${3:-$ROUNDS}
    for ((i = 0; i < rounds; i++)); do
        make_case
        base_to "$dir/f"
        v=$(token f)
        # Without the rest: either so, or not at all.
        if [ "$how" = refuse ] || { [ "$how" = take ] && [ "$shape" = cut ]; }; then
            is $WHOLE version="$v" ranges="$ranges" base="$size" whole=false put f "$tmp/new"
            cmp "$tmp/base" "$dir/f" || fail "what was not done has been done"
        else
            is $OK version="$v" ranges="$ranges" base="$size" whole=false mtime=1234567890 put f "$tmp/new"
            cmp "$tmp/new" "$dir/f" || fail "$how: $shape: not what was put"
            [ -z "$out" ] || [ "$(cut -f 5 <<<"$out")" = "$(token f)" ] || fail "another token: $out, $(token f)"
            [ -z "$out" ] || [ "$(cut -f 3 <<<"$out")" = "$(stat -c %s "$tmp/new")" ] || fail "another size: $out"
            base_to "$dir/f"
            v=$(token f)
        fi
        is $OK version="$v" ranges="$ranges" base="$size" put f "$tmp/new"
        cmp "$tmp/new" "$dir/f" || fail "$how: $shape: not what was put, with the rest at hand"
        is $CHANGED version="$v" ranges="$ranges" base="$size" put f "$tmp/base"
    done
    cmp "$tmp/new" "$dir/f" || fail "a version that was not meant was changed"
    rm "$dir/f"
    is $GONE version="$v" ranges="$ranges" base="$size" put f "$tmp/new"
    [ ! -e "$dir/f" ] || fail "a file that was gone came back"
    [ -z "$(uploads "$dir")" ] || fail "left behind: $(uploads "$dir")"
}

serve_dav ()
{
    local how=$1 name=$2 want=$3 dir=$tmp/$2.$RANDOM
    shift 3
    mkdir "$dir"
    chmod 777 "$dir"
    start_server "$name" "$dir" "$@"
    serve "$how" "$dir"
    make_case same
    base_to "$dir/f"
    is "$OK $WHOLE" version="$(token f)" ranges="$ranges" base="$size" whole=false put f "$tmp/new"
    grep -q "ranges=$want" "$tmp/tool.err" || fail "not ranges=$want: $(cat "$tmp/tool.err")"
    stop_server "$name"
}

mkdir "$tmp/folder"
URL=$tmp/folder
serve any "$tmp/folder" $((ROUNDS * 2))

serve_dav take apache Content-Range
serve_dav take sabredav X-Update-Range partial=1
serve_dav take sabredav X-Update-Range partial=1 locks=1
serve_dav refuse sabredav no locks=1
serve_dav refuse rclone no
serve_dav refuse rclone no etag=MD5

# ---- servers that do wrong ----

start_nasty
make_case same
for m in w-copy w-ok w-ranges w-ranges-lose w-ranges-shift w-ranges-hole w-ranges-gone w-ranges-405 w-ranges-400 w-ranges-403 \
    w-ranges-409 w-ranges-412 w-ranges-501; do
    URL=$NASTY/$m/
    is $OK put ranged "$tmp/base"
    v=$(token ranged)
    want=$WHOLE
    [ $m != w-ranges ] || want=$OK
    is $want version="$v" ranges="$ranges" base="$size" whole=false put ranged "$tmp/new"
    if [ $want = $OK ]; then
        curl -sS "${URL}ranged" | cmp - "$tmp/new" || fail "$m: not what was put"
    else
        curl -sS "${URL}ranged" | cmp - "$tmp/base" || fail "$m: it was changed"
        is $OK version="$v" ranges="$ranges" base="$size" put ranged "$tmp/new"
        curl -sS "${URL}ranged" | cmp - "$tmp/new" || fail "$m: not what was put, with the rest at hand"
    fi
    [ $m = w-ranges-gone ] || ! curl -sS -X PROPFIND -H 'Depth: 1' "$URL" | grep -o '[^/]*cloudshare-upload[^<]*' ||
        fail "$m: an upload is left"
done
# Trouble is no refusal: another time.
for status in 423 429 500 503; do
    URL=$NASTY/w-ranges-$status/
    is $OK put ranged "$tmp/base"
    is $BUSY version="$(token ranged)" ranges="$ranges" base="$size" put ranged "$tmp/new"
    curl -sS "${URL}ranged" | cmp - "$tmp/base" || fail "$status: it was changed"
done
# Somebody else is faster.
URL=$NASTY/w-ranges-between/
is $OK put ranged "$tmp/base"
is $CHANGED version="$(token ranged)" ranges="$ranges" base="$size" put ranged "$tmp/new"
[ "$(curl -sS "${URL}ranged")" = 'from somebody else' ] || fail "who was first has lost"

# ---- small files and small gains go whole ----

mkdir "$tmp/served"
chmod 777 "$tmp/served"
start_server apache "$tmp/served"
start_proxy
head -c 100000 /dev/urandom >"$tmp/base"
base_to "$tmp/served/small"
is $OK version="$(token small)" ranges=5+7 base=100000 put small "$tmp/base"
is $WHOLE version="$(token small)" ranges=5+7 base=100000 whole=false put small "$tmp/base"
rm "$tmp/served/small"
! grep '^COPY' "$tmp/requests" || fail "a small file was copied"

# ---- little travels ----

proxied=$URL
head -c 268435456 /dev/urandom >"$tmp/base"
cp "$tmp/base" "$tmp/new"
head -c 4096 /dev/urandom | dd of="$tmp/new" bs=4096 seek=12345 conv=notrunc status=none
base_to "$tmp/served/f"
"$abs_top_builddir/tests/servers/delayproxy" 0 "$PROXY_TO" >"$tmp/delay.out" 2>"$tmp/delay.err" &
DELAY_PID=$!
cleanup_fn kill_nbdkit $DELAY_PID
wait_until 20 grep -q PORT= "$tmp/delay.out"
. "$tmp/delay.out"
v=$(token f)
URL=http://127.0.0.1:$PORT/
is $OK version="$v" ranges=$((12345 * 4096))+4096 base=268435456 whole=false put f "$tmp/new"
cmp "$tmp/new" "$tmp/served/f" || fail "256 MiB: not what was put"
kill -USR1 $DELAY_PID
wait_until 10 test -s "$tmp/delay.err"
echo "4 KiB in 256 MiB: $(cat "$tmp/delay.err")"
up=$(sed -n 's/.* up=\([0-9]*\).*/\1/p' "$tmp/delay.err") down=$(sed -n 's/.* down=\([0-9]*\).*/\1/p' "$tmp/delay.err")
[ "$up" -gt 4096 ] && [ "$up" -le 65536 ] || fail "$up bytes were sent"
[ "$down" -le 65536 ] || fail "$down bytes came back"
rm "$tmp/served/f"
URL=$proxied

# ---- whatever goes wrong in between ----

good=0 bad=0
for fault in lost drop cut 500 503 500-done 507; do
    for what in 'COPY 1 /f' 'PUT 1 >100' "PUT 1+1 >100" 'PROPFIND 1+'$((RANDOM % 30)) 'GET 1+'$((RANDOM % 8)) \
        'MOVE 1 cloudshare' 'DELETE 1+'$((RANDOM % 8)); do
        # Some of them, unless there is time.
        [ -n "${CLOUDSHARE_LONG:-}" ] || [ $((RANDOM % 4)) = 0 ] || continue
        make_case many
        base_to "$tmp/served/f"
        v=$(token f)
        # The MOVE that counts is the last one, whatever those on trial are.
        case $what in MOVE*) what="MOVE 1+$((RANDOM % 12))" ;; esac
        : >"$tmp/requests"
        faults "$fault $what"
        status=0
        timeout 100 "$CLOUDTOOL" "$URL" timeout=5 version="$v" ranges="$ranges" base="$size" whole=$whole \
            put f "$tmp/new" >"$tmp/tool.out" 2>"$tmp/tool.err" || status=$?
        faults
        if [ $status = $OK ]; then
            cmp "$tmp/new" "$tmp/served/f" || fail "$fault $what: said to be done"
            good=$((good + 1))
        else
            case $status in
                "$OFFLINE" | "$BUSY" | 9 | "$BAD" | "$WHOLE") ;;
                *) fail "$fault $what: $status $(cat "$tmp/tool.err")" ;;
            esac
            cmp -s "$tmp/base" "$tmp/served/f" || cmp "$tmp/new" "$tmp/served/f" || fail "$fault $what: it is neither old nor new"
            bad=$((bad + 1))
        fi
        # Tried again, it is done.
        v=$(token f)
        is $OK version="$v" ranges="$ranges" base="$size" put f "$tmp/new"
        cmp "$tmp/new" "$tmp/served/f" || fail "$fault $what: not what was put in the end"
        find "$tmp/served" -name '*cloudshare*' -delete
    done
done
echo "faults: $good met and overcome, $bad ended the put"
[ -z "${CLOUDSHARE_LONG:-}" ] || { [ $bad -gt 0 ] && [ $good -gt 0 ]; } || fail "the faults were not met"

# ---- killed in the middle: a listing of the next process sweeps ----

make_case many
base_to "$tmp/served/f"
v=$(token f)
faults 'stall PUT 1 >100'
: >"$tmp/requests"
"$CLOUDTOOL" "$URL" version="$v" ranges="$ranges" base="$size" put f "$tmp/new" >/dev/null 2>&1 &
pid=$!
wait_until 30 grep -qE '^(PUT|RANGE) 20[0-9] (200|[0-9]{4,}) ' "$tmp/requests"
kill -KILL $pid
wait $pid 2>/dev/null || true
faults
cmp "$tmp/base" "$tmp/served/f" || fail "killed, and changed"
[ "$(uploads "$tmp/served" | wc -l)" -ge 1 ] || fail "nothing was left behind"
