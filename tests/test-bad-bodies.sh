#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Servers that send other bytes than they promised: a reader gets EIO and the log one sentence, or the right bytes where
# they can be told; never wrong ones.  The process goes on.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires curl

# Files of up to 1 MiB are fetched whole.
start_nasty --size 3000000
curl -sS "$NASTY/ok/a.bin" -o "$tmp/a.bin"

head -c 2100000 "$tmp/a.bin" | tail -c 100000 >"$tmp/middle"

# read_it WANT OFFSET COUNT: prints right, wrong, EIO, late or what else happened.
read_it ()
{
    local status=0
    timeout -k 5 60 "$PYTHON" "$abs_top_srcdir/tests/diskread.py" "$NBD_URI" cat a.bin "${@:2}" >"$tmp/got" 2>"$tmp/got.err" ||
        status=$?
    case $status in
        0) cmp -s "$tmp/got" "$1" && echo right || echo wrong ;;
        124 | 137) echo late ;;
        *) grep -q 'Input/output error' "$tmp/got.err" && echo EIO || cat "$tmp/got.err" ;;
    esac
}

# First a piece in the middle, for which the server is asked for a range, then the whole file: "right" must be read, "EIO"
# cannot be, and where both will do ("any") it must at least not be wrong.  "-": left out, it would take long.
for table in ok:right:right no-etag:right:right weak:right:right absolute:right:right lower:right:right no-slash:right:right \
    oc:right:right iso-time:right:right redirect-path:right:right redirect-307:right:right cookie:right:right \
    short-range:right:- off-by-one:right:right ignore-range:right:right ignore-range-chunked:right:right \
    drop-reused:right:right wrong-etag:EIO:EIO wrong-total:EIO:any wrong-start:EIO:any bad-range:EIO:any \
    lying-range:EIO:any long-range:EIO:any cut-get:EIO:EIO cut-get-chunked:EIO:EIO short-get:any:any \
    long-get-chunked:any:any status-get-403:EIO:EIO status-get-404:EIO:EIO status-get-500:EIO:EIO status-get-200:EIO:EIO \
    stall-get:EIO:EIO no-range:any:any wrong-end:any:any empty-range:any:any long-get:any:any no-etag-get:any:any \
    wrong-time:any:any future:any:any no-dates:any:any; do
    IFS=: read -r mode middle whole <<<"$table"
    start_nbdkit "$PLUGIN" remote="$NASTY/$mode/" cache="$tmp/cache-$mode" size=300M timeout=1
    got_middle=$(read_it "$tmp/middle" 2000000 100000)
    got_whole=-
    [ "$whole" = - ] || got_whole=$(read_it "$tmp/a.bin")
    case $got_middle-$middle in
        right-right | EIO-EIO | right-any | EIO-any) ;;
        *) fail "$mode: a range: $got_middle instead of $middle; $(tail -n 3 "$NBDKIT_LOG")" ;;
    esac
    case $got_whole-$whole in
        --- | right-right | EIO-EIO | right-any | EIO-any) ;;
        *) fail "$mode: the file: $got_whole instead of $whole; $(tail -n 3 "$NBDKIT_LOG")" ;;
    esac
    if [ "$got_middle" = EIO ]; then
        grep -q 'a\.bin.*: ' "$NBDKIT_LOG" || fail "$mode: nothing in the log"
        # Once for a file and reason, and no hammering.
        [ "$(grep -c 'a\.bin' "$NBDKIT_LOG")" -le 3 ] || fail "$mode: said too often: $(cat "$NBDKIT_LOG")"
        [ "$(nasty_hits "$mode")" -le 60 ] || fail "$mode: $(nasty_hits "$mode") requests"
    fi
    # A file that nobody asked for is not hurt by one that is broken.
    [ "$middle" != right ] || [ "$(on_disk cat sub/d/e.txt)" = deep ] || fail "$mode: the other file"
    echo "$mode: $got_middle, $got_whole"
    stop_nbdkit
done

# Credentials stay with the host that they were given for.
start_nbdkit "$PLUGIN" remote="$NASTY/redirect-get/" user=alice password=secret cache="$tmp/cache-redirect" size=300M
on_disk cat a.bin >"$tmp/got" 2>/dev/null && cmp "$tmp/got" "$tmp/a.bin" || true
! curl -sS "$NASTY/_log" | grep ' /ok/.*|Basic' || fail "the password went to another host"
