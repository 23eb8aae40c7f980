#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Large files to Nextcloud, in chunks: against a server that does what its documentation says (tests/servers/nextcloud.php; the
# real one is not tested).  What was sent is not sent again after a kill, versions that are not meant stay, and nothing is
# left behind.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires php curl
[ -e /usr/share/php/Sabre/autoload.php ] || skip "php-sabre-dav is not installed"

. "$(dirname "$0")/verbs.sh"
verbs_timeout=200
tool ()
{
    timeout "$verbs_timeout" "$CLOUDTOOL" "$URL" user=alice password=secret "$@"
}

mkdir "$tmp/served"
size=$((64 * 1024 * 1024))
head -c $size /dev/urandom >"$tmp/one"
head -c $size /dev/urandom >"$tmp/two"
sum ()
{
    echo "SHA1:$(sha1sum "$1" | cut -c 1-40)"
}
sum_one=$(sum "$tmp/one") sum_two=$(sum "$tmp/two")

# start [option]...: the server, with the proxy that logs between.
start ()
{
    start_server nextcloud "$tmp/served" "$@"
    start_proxy
    : >"$tmp/requests"
}

stop ()
{
    kill_nbdkit $PROXY_PID
    stop_server nextcloud
}

# chunks [PATTERN]: how many were sent, of those that the server took.
chunks ()
{
    local pattern=${1:-.....}
    grep -cE "^PUT 20[14] [0-9]+ [0-9a-f]+ /remote.php/dav/uploads/alice/cloudshare-[0-9a-f]{32}/$pattern " "$tmp/requests" || true
}

# nothing_left: neither uploads under way nor temporary files.
nothing_left ()
{
    [ -z "$(ls -A "$SERVER_STATE/uploads" 2>/dev/null)" ] || fail "an upload is left: $(ls -AR "$SERVER_STATE/uploads")"
    [ -z "$(find "$tmp/served" -name '*cloudshare*')" ] || fail "left: $(ls -A "$tmp/served")"
}

start
part () { echo "---- $*"; : >"$tmp/requests"; faults; }

part 'a new one, and one over it'
is $OK checksum="$sum_one" mtime=1234567890 chunk-size=8388608 put large "$tmp/one"
cmp "$tmp/one" "$tmp/served/large"
[ "$(chunks)" -ge 2 ] && [ "$(chunks)" -le 8 ] || fail "$(chunks) chunks"
[ "$(grep -c '^PUT [0-9]* [0-9]* [0-9a-f-]* /remote.php/dav/files/alice/large' "$tmp/requests")" = 0 ] || fail "it went at once, too"
[ "$(stat -c %Y "$tmp/served/large")" = 1234567890 ] || fail "its time was not kept"
v=$(cut -f 5 <<<"$out")
[ "$v" = "$(token large)" ] || fail "another token than listed: $out"
nothing_left
part 'over a version'
is $OK version="$v" checksum="$sum_two" put large "$tmp/two"
cmp "$tmp/two" "$tmp/served/large"
[ "$(chunks)" -ge 2 ] || fail "$(chunks) chunks"
nothing_left

part 'conflicts'
is $CHANGED version="$v" checksum="$sum_one" put large "$tmp/one"
is $EXISTS checksum="$sum_one" put large "$tmp/one"
cmp "$tmp/two" "$tmp/served/large" || fail "a version that was not meant was changed"
is $GONE version="$v" checksum="$sum_one" put never "$tmp/one"
[ ! -e "$tmp/served/never" ] || fail "a file that was gone came back"
is $PARENT checksum="$sum_one" put no/large "$tmp/one"
nothing_left

part 'somebody else is faster'
faults 'stall PUT 1 00002'
"$CLOUDTOOL" "$URL" user=alice password=secret version="$(token large)" checksum="$sum_one" put large "$tmp/one" >/dev/null 2>&1 &
pid=$!
wait_until 60 grep -q 'PUT 20. .*/00002 ' "$tmp/requests"
kill -KILL $pid
{ wait $pid || true; } 2>/dev/null
echo 'from somebody else' >"$tmp/served/large"
faults
# The old version is not there any more, as the next try finds out.
is $CHANGED version='"0123"' checksum="$sum_one" put large "$tmp/one"
[ "$(cat "$tmp/served/large")" = 'from somebody else' ] || fail "who was first has lost"
rm -rf "$SERVER_STATE"/uploads/*

part 'killed in the middle, and resumed'
cp "$tmp/two" "$tmp/served/large"
v=$(token large)
faults 'stall PUT 1 00003'
"$CLOUDTOOL" "$URL" user=alice password=secret version="$v" checksum="$sum_one" chunk-size=6000000 put large "$tmp/one" \
    >/dev/null 2>&1 &
pid=$!
wait_until 60 grep -q 'PUT 20. .*/00003 ' "$tmp/requests"
kill -KILL $pid
{ wait $pid || true; } 2>/dev/null
cmp "$tmp/two" "$tmp/served/large" || fail "half an upload is seen"
before=$(chunks)
faults
is $OK version="$v" checksum="$sum_one" chunk-size=6000000 put large "$tmp/one"
cmp "$tmp/one" "$tmp/served/large"
[ "$before" -ge 3 ] && [ "$(chunks)" -gt "$before" ] || fail "$before chunks, then $(chunks)"
for i in 00001 00002 00003; do
    [ "$(chunks $i)" = 1 ] || fail "chunk $i was sent $(chunks $i) times"
done
nothing_left

part 'what is in the folder and does not belong there'
v=$(token large)
faults 'stall PUT 1 00003'
"$CLOUDTOOL" "$URL" user=alice password=secret version="$v" checksum="$sum_two" put large "$tmp/two" >/dev/null 2>&1 &
pid=$!
wait_until 60 grep -q 'PUT 20. .*/00003 ' "$tmp/requests"
kill -KILL $pid
{ wait $pid || true; } 2>/dev/null
faults
echo stray >"$(echo "$SERVER_STATE"/uploads/cloudshare-*)/00777"
is $OK version="$v" checksum="$sum_two" put large "$tmp/two"
cmp "$tmp/two" "$tmp/served/large"
nothing_left

part 'the same number of other bytes'
v=$(token large)
faults 'stall PUT 1 00003'
"$CLOUDTOOL" "$URL" user=alice password=secret version="$v" checksum="$sum_one" put large "$tmp/one" >/dev/null 2>&1 &
pid=$!
wait_until 60 grep -q 'PUT 20. .*/00003 ' "$tmp/requests"
kill -KILL $pid
{ wait $pid || true; } 2>/dev/null
faults
chunk=$(echo "$SERVER_STATE"/uploads/cloudshare-*)/00001
head -c "$(stat -c %s "$chunk")" /dev/urandom >"$chunk.new"
mv "$chunk.new" "$chunk"
# The checksum tells, and all is sent anew.
is $OK version="$v" checksum="$sum_one" put large "$tmp/one"
cmp "$tmp/one" "$tmp/served/large"
nothing_left

part 'without a checksum nothing is resumed'
is $OK version="$(token large)" put large "$tmp/two"
cmp "$tmp/two" "$tmp/served/large"
is $LOCAL version="$(token large)" cut=30000000 put large "$tmp/one"
cmp "$tmp/two" "$tmp/served/large"
nothing_left

for fault in 'lost MOVE 1 /.file' 'drop MOVE 1 /.file' 'lost PUT 1 0000' 'cut PUT 1 00002' 'lost MKCOL 1 uploads' '503 PUT 1 00002' '500 MOVE 1 /.file' \
    '404 PUT 1 00002' '423 MOVE 1 /.file'; do
    part "$fault"
    v=$(token large)
    case $(sha1sum <"$tmp/served/large") in
        "${sum_one#SHA1:}"*) n=two s=$sum_two ;;
        *) n=one s=$sum_one ;;
    esac
    faults "$fault"
    is "$OK|$OFFLINE|$BUSY" version="$v" checksum="$s" put large "$tmp/$n"
    echo "     $(cut -c 1-40 <<<"$out")"
    faults
    if ! cmp -s "$tmp/$n" "$tmp/served/large"; then
        is $OK version="$(token large)" checksum="$s" put large "$tmp/$n"
    fi
    cmp "$tmp/$n" "$tmp/served/large" || fail "$fault: not what was put"
    [ "$(chunks 00001)" -le 2 ] || fail "the first chunk was sent $(chunks 00001) times"
done
rm -rf "$SERVER_STATE"/uploads
stop

part 'no room'
start quota=60000000
is $FULL version="$(token large)" checksum="$(sum "$tmp/two")" put large "$tmp/two"
[ "$(chunks)" = 0 ] || fail "chunks were taken"
nothing_left
stop

part 'chunks that are too large for something on the way'
start limit=7000000
rm "$tmp/served/large"
is $OK checksum="$sum_one" put large "$tmp/one"
cmp "$tmp/one" "$tmp/served/large"
stop

part 'a server that does not offer it'
start chunking=
rm "$tmp/served/large"
is $OK checksum="$sum_one" put large "$tmp/one"
cmp "$tmp/one" "$tmp/served/large"
! grep uploads "$tmp/requests" || fail "it was told to take chunks"
stop
