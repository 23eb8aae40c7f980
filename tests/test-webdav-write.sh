#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The WebDAV provider's write verbs, without a disk, against Apache, rclone and SabreDAV, and against a server that does
# wrong: what is said to be done is done, whole; what is refused has left everything as it was; versions that are not
# the one that was meant stay; and nothing is left behind.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires apache2 rclone php curl
[ -e /usr/share/php/Sabre/autoload.php ] || skip "php-sabre-dav is not installed"

. "$(dirname "$0")/verbs.sh"

# What runs here is always at $URL.
tool ()
{
    timeout 60 "$CLOUDTOOL" "$URL" "${auth[@]}" "$@"
}

# content PATH: prints it, as curl sees it.
content ()
{
    curl -sS --digest -u alice:secret "$URL$1"
}

auth=()

# ---- what every server must come to ----

# uploads FOLDER: those that are under way, or were cut, are nobody's business; old ones go, once we write here ourselves.
uploads ()
{
    # rclone may have a cut upload again after we looked; what goes at the next listing of the same process stays here, as
    # each verb has a process of its own.
    find "$1" -maxdepth 1 -name '.cloudshare-upload-*' -size +500k -delete
    echo under way >"$1/.cloudshare-upload-$(printf %010x "$(date +%s)")-0123456789abcdef"
    echo old >"$1/.cloudshare-upload-0061234567-0123456789abcdef"
    touch -d '3 days ago' "$1/.cloudshare-upload-0061234567-0123456789abcdef"
    is $OK list
    [ -z "$out" ] || fail "listed: $out"
    [ "$(ls -A "$1" | grep -c upload)" = 2 ] || fail "two uploads are there, not $(ls -lA "$1")"
}

# left FOLDER: nothing is, but what servers keep for themselves.
left ()
{
    find "$1" -mindepth 1 -not -name .DAV -not -path '*/.DAV/*' | sort
}

serve ()
{
    local name=$1 dir=$tmp/$2
    shift 2
    mkdir "$dir"
    chmod 777 "$dir"
    start_server "$name" "$dir" "$@"
    see_in_folder "$dir"
    verbs
    # test-ranges.sh has more of these.
    [ -z "${CLOUDSHARE_LONG:-}" ] || verbs_ranges 300000
    uploads "$dir"
    rm "$dir"/.cloudshare-upload-*
    [ -z "$(left "$dir")" ] || fail "left behind: $(left "$dir")"
    # What is tried on scratch files is tried once.
    is $OK debug=true put x "$tmp/one"
    grep 'put-new=' "$tmp/tool.err" | sed "s|^.*put-new=|$name $*: put-new=|"
    is $OK remove x
}

serve apache apache
stop_server apache
serve apache apache-path path=/dav/files keepalive=0
stop_server apache
serve rclone rclone
stop_server rclone
serve rclone rclone-md5 etag=MD5 path=/x
stop_server rclone
serve sabredav sabre
stop_server sabredav
serve sabredav sabre-locks locks=1
stop_server sabredav
serve sabredav sabre-oc propagate=1 locks=1
stop_server sabredav

# ---- passwords, TLS, HTTP/2 ----

mkdir "$tmp/auth"
chmod 777 "$tmp/auth"
for how in 'auth=basic' 'auth=digest' 'auth=digest tls=yes http2=yes' 'auth=basic tls=yes http2=yes'; do
    start_server apache "$tmp/auth" user=alice password=secret $how
    auth=(user=alice password=secret cainfo=${CAINFO:-/etc/ssl/certs/ca-certificates.crt})
    [ -n "$CAINFO" ] || auth=(user=alice password=secret)
    is $OK put f "$tmp/large"
    is $OK version="$(token f)" put f "$tmp/large"
    is $OK mkdir d
    is $OK move f d/f
    cmp "$tmp/large" "$tmp/auth/d/f"
    is $OK remove d/f
    is $OK remove d
    # With the URL's folder known, a wrong password is met by the first write.
    is $AUTH user=alice password=wrong "${auth[@]:2}" noprobe=true put f "$tmp/one"
    stop_server apache
done
auth=()
[ -z "$(left "$tmp/auth")" ] || fail "left behind: $(left "$tmp/auth")"

# A folder where we may not write.
mkdir "$tmp/closed" "$tmp/closed/open"
chmod 777 "$tmp/closed/open"
start_server apache "$tmp/closed"
if [ "$(id -u)" = 0 ]; then
    status=0
    "$CLOUDTOOL" "$URL" put f "$tmp/one" 2>"$tmp/tool.err" || status=$?
    case $status in "$DENIED" | "$BUSY") ;; *) fail "a closed folder: $status $(cat "$tmp/tool.err")" ;; esac
fi
stop_server apache

# ---- a server that does wrong ----

start_nasty
mode ()
{
    URL=$NASTY/$1/
}

# untouched: the files that it begins with are as they were, and no upload is left.
untouched ()
{
    [ "$(content b.txt)" = 'hello, world' ] || fail "$URL: b.txt was changed"
    nothing_left
}

nothing_left ()
{
    ! curl -sS -X PROPFIND -H 'Depth: 1' --digest -u alice:secret "$URL" | grep -o '[^/]*cloudshare-upload[^<]*' ||
        fail "$URL: an upload is left"
}

# Whatever conditions a server knows, a version that was not meant stays.
for m in w-ok w-ignore w-if w-weak-if w-match w-cut w-cut-if w-new-tag w-no-root w-no-dots; do
    mode $m
    [ $m != w-no-root ] || is $OK put sub/first "$tmp/one"
    at=sub/
    is $OK put ${at}n "$tmp/1000"
    is $EXISTS put ${at}n "$tmp/one"
    v=$(token ${at}n)
    is $OK version="$v" put ${at}n "$tmp/two"
    [ "$(cut -f 5 <<<"$out")" = "$(token ${at}n)" ] || fail "$m: another token: $out"
    is $CHANGED version="$v" put ${at}n "$tmp/one"
    is $CHANGED version="$v" remove ${at}n
    is $CHANGED version="$v" move ${at}n ${at}m
    is $EXISTS move ${at}n ${at}c.txt
    is $EXISTS mkdir ${at}d
    is $EXISTS remove ${at}d
    is $LOCAL version="$(token ${at}n)" cut=1000000 put ${at}n "$tmp/large"
    content ${at}n | cmp - "$tmp/two"
    is $OK move ${at}n ${at}m
    [ -z "$out" ] || [ "$(cut -f 5 <<<"$out")" = "$(token ${at}m)" ] || fail "$m: another token: $out"
    is $OK remove ${at}m
    [ $m = w-no-root ] || untouched
done

# No temporary names at all: the write is denied, and said.
mode w-no-temp
is $DENIED put n "$tmp/one"

# Answers that tell what is the matter, each with its own result, for the verbs.
for row in 401:$AUTH 403:$DENIED 423:$BUSY 425:$BUSY 429:$BUSY 500:$BUSY 502:$BUSY 503:$BUSY 507:$FULL 413:$REFUSED \
    414:$REFUSED 415:$REFUSED 400:$REFUSED 501:$REFUSED 404:$BUSY 409:$BUSY 412:$BUSY 302:$BAD 299:$BAD; do
    mode w-${row%:*}-PUT
    is ${row#*:} put n "$tmp/one"
    is ${row#*:} version="$(token b.txt)" put b.txt "$tmp/one"
    untouched
    case $row in 403* | 423* | 404* | 412* | 302*) ;; *) continue ;; esac
    mode w-${row%:*}-MOVE
    is ${row#*:} move b.txt n
    untouched
    mode w-${row%:*}-DELETE
    is ${row#*:} remove b.txt
    untouched
    mode w-${row%:*}-MKCOL
    is ${row#*:} mkdir n
done
# The same where an upload makes a detour.
for row in 423:$BUSY 507:$FULL 403:$DENIED 413:$REFUSED; do
    mode w-if-all-${row%:*}-MOVE
    is ${row#*:} version="$(token b.txt)" put b.txt "$tmp/one"
    untouched
    mode w-if-all-${row%:*}-PUT
    is ${row#*:} put n "$tmp/one"
    untouched
done

# Answers that are lost.
for m in PUT MOVE DELETE MKCOL; do
    mode w-drop-$m
    case $m in
        PUT) is $OFFLINE put n "$tmp/1000"; is $OFFLINE version="$(token b.txt)" put b.txt "$tmp/1000" ;;
        MOVE) is $OFFLINE move b.txt n ;;
        DELETE) is $OFFLINE remove b.txt ;;
        MKCOL) is $OFFLINE mkdir n ;;
    esac
    untouched
done
mode w-lost-PUT
is $OFFLINE put n "$tmp/1000"
content n | cmp - "$tmp/1000"
mode w-lost-MOVE
is $OFFLINE move b.txt n
is $GONE stat b.txt
mode w-lost-DELETE
is $OFFLINE remove b.txt
mode w-lost-MKCOL
is $OFFLINE mkdir n
is $OK stat n

# Lies.
mode w-half
is $BAD put n "$tmp/1000"
mode w-nothing
is $BAD put n "$tmp/1000"
is $GONE stat n
for m in MOVE DELETE; do
    mode w-multi-$m
    [ $m = MOVE ] && is $BUSY move b.txt n || is $BUSY remove b.txt
    untouched
done

# Somebody else is faster.
mode w-then
is $OK put n "$tmp/1000"
[ "$(cut -f 5 <<<"$out")" != "$(token n)" ] || fail "another's version was taken for ours"
[ "$(content n)" = 'from somebody else' ] || fail "who came later has lost"
mode w-between
is $CHANGED version="$(token b.txt)" put b.txt "$tmp/1000"
[ "$(content b.txt)" = 'from somebody else' ] || fail "who was first has lost by a put"
is $CHANGED move b.txt n
is $CHANGED remove b.txt
[ "$(content b.txt)" = 'from somebody else' ] || fail "who was first has lost by a removal"

# Times, checksums.
mode w-mtime
is $OK mtime=1234567890 checksum=SHA1:$(sha1sum "$tmp/1000" | cut -c 1-40) put n "$tmp/1000"
[ "$(cut -f 4 <<<"$out")" = 1234567890 ] || fail "the time was not kept: $out"
is $REFUSED checksum=SHA1:0000000000000000000000000000000000000000 put m "$tmp/1000"
is $GONE stat m
is $OK touch n 1111111111
[ "$(cut -f 4 <<<"$out")" = 1111111111 ] && [ "$(cut -f 5 <<<"$out")" = "$(token n)" ] ||
    fail "the time was not set: $out"
is $CHANGED version='"1"' touch n 1
mode w-ok
is $REFUSED touch b.txt 1

# Time: nobody waits for a "100" that does not come, or for what is stuck.
mode w-no100
is $OK put n "$tmp/large"
! curl -sS "$NASTY/_log" | grep '^EXPECT' || fail "w-no100: it was asked for"
mode w-stall
SECONDS=0
is $OFFLINE timeout=1 put n "$tmp/large"
[ $SECONDS -lt 20 ] || fail "w-stall: $SECONDS seconds"
mode w-think
is $OK put n "$tmp/1000"
is $OFFLINE timeout=1 version="$(token n)" put n "$tmp/1000"
is $OK version="$(token n)" put n "$tmp/1000"
# A refusal that is lost with the connection is heard in the end.  The body is more than the sockets on the way take: of
# one that was handed over whole nobody knows what has become.
mode w-early
head -c 20000000 /dev/zero >"$tmp/huge"
is $REFUSED put n "$tmp/huge"

# The program ends in the middle: while it finds out how the server behaves, and while a body is stuck.
for ms in 1 10 30 100 300; do
    mode w-ok
    status=0
    timeout 60 "$CLOUDTOOL" "$URL" stop=$ms parallel=8 putmany sub 1000 2>"$tmp/tool.err" || status=$?
    [ $status = $STOPPED ] || fail "stopped after $ms ms: $status $(cat "$tmp/tool.err")"
done
mode w-stall
is $STOPPED stop=1000 put n "$tmp/large"

# Many at once.
mode w-if
is $OK parallel=16 putmany sub 64
[ "$("$CLOUDTOOL" "$URL" list sub | grep -c '^sub/many-.*	1000	')" = 64 ] || fail "64 files were put"
nothing_left

# Redirects: on the same server, and nowhere else.
mode w-307
is $BAD put r "$tmp/1000"
mode w-308-peer
is $BAD put r2 "$tmp/1000"
URL=$NASTY/w-ok/
is $GONE stat r2

# Nothing that changes something is sent to another server, and no password.
n=0
for status in 301 302 303 307 308; do
    for m in PUT MOVE DELETE MKCOL; do
        mode w-to$status-$m
        n=$((n + 1))
        case $m in
            PUT) is $BAD user=alice password=secret put to$n "$tmp/1000" ;;
            MOVE) is $BAD user=alice password=secret move b.txt to$n ;;
            DELETE) is $BAD user=alice password=secret remove b.txt ;;
            MKCOL) is $BAD user=alice password=secret mkdir to$n ;;
        esac
        untouched
    done
done
curl -sS "$NASTY/_log" >"$tmp/nasty.requests"
! grep -E '^[A-Z]+ /w-ok/to[0-9]|^(PUT|MOVE|DELETE|MKCOL) /w-ok/b[.]txt' "$tmp/nasty.requests" ||
    fail "a redirect to another server was followed"
! grep -E '^[A-Z]+ /w-ok/[^|]*[|](Basic|Digest)' "$tmp/nasty.requests" || fail "a password went to another server"

# Any good status, tags or none; answers without a length.
for m in w-put200 w-put201 w-put204 w-chunked; do
    mode $m
    is $OK put n "$tmp/1000"
    is $OK version="$(token n)" put n "$tmp/two"
    content n | cmp - "$tmp/two"
    is $OK move n m
    is $OK remove m
    untouched
done
# What says nothing: not done, as far as we know.
mode w-put207
is $BAD put n "$tmp/1000"
mode w-put202
is $BAD put n "$tmp/1000"

# Compressed, which nobody has asked for: said, and nothing is taken for something else.
mode w-gzip
is $BAD noprobe=true list
is $BAD noprobe=true put n "$tmp/1000"

# The tag changes after the PUT, the bytes do not.
mode w-touched
is $OK put n "$tmp/1000"
[ "$(cut -f 5 <<<"$out")" != "$(token n)" ] || fail "the tag ought to have changed"
is $OK version="$(token n)" put n "$tmp/two"
mode w-touched-sum
is $OK checksum=SHA1:$(sha1sum "$tmp/1000" | cut -c 1-40) put n "$tmp/1000"
[ "$(cut -f 5 <<<"$out")" = "$(token n)" ] || fail "the same bytes, and another's version: $out"

# A nonce that goes stale while a body is on its way.
for m in w-stale w-stale-early; do
    mode $m
    for i in 1 2 3 4 5 6 7; do
        is $OK user=alice password=secret put n$i "$tmp/large"
        content n$i | cmp - "$tmp/large"
    done
done

mode w-stale-lost
is $OK user=alice password=secret put n "$tmp/huge"
content n | cmp - "$tmp/huge"

# Digest: a body goes over the wire once.
mode w-digest
is $OK user=alice password=secret put n "$tmp/large"
[ "$(curl -sS "$NASTY/_log" | awk -F '|' '/^PUT \/w-digest\/n\|/ && $5 > 0 { n++ } END { print n + 0 }')" = 1 ] ||
    fail "the body was sent again: $(curl -sS "$NASTY/_log" | grep 'PUT /w-digest/n')"

# What is put has always a length.
! curl -sS "$NASTY/_log" | grep '|chunked|' || fail "chunked"
