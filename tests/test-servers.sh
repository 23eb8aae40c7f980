#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The servers that other tests rely on: they start, serve what they should, and end.

. "$(dirname "$0")/functions.sh"
requires curl python3

mkdir "$tmp/dir" "$tmp/dir/sub"
echo content >"$tmp/dir/file"
echo more >"$tmp/dir/sub/other"
ran=0

# wants STATUS CURL-ARGUMENT...: the status of the answer must be this; "000": none.  The body goes to $tmp/body.
wants ()
{
    local expected=$1 status
    shift
    status=$(curl -sS -m 20 -o "$tmp/body" -w '%{http_code}' "$@" 2>>"$tmp/curl.log") || true
    [ "$status" = "$expected" ] || fail "status $status instead of $expected: curl $*"
}

propfind ()
{
    wants 207 -X PROPFIND -H "Depth: $1" --data '<propfind xmlns="DAV:" xmlns:oc="http://owncloud.org/ns"><prop>
        <getetag/><resourcetype/><getcontentlength/><oc:fileid/><oc:checksums/></prop></propfind>' "${@:2}"
}

serves ()
{
    propfind 1 "$@" "$URL"
    grep -q "/file</" "$tmp/body" && grep -q "/sub/</" "$tmp/body" || fail "not listed: $(cat "$tmp/body")"
    wants 200 "$@" "${URL}file"
    cmp "$tmp/body" "$tmp/dir/file"
    wants 404 "$@" "${URL}nothing"
}

ends ()
{
    stop_server "$1"
    ! kill -0 "$SERVER_PID" 2>/dev/null || fail "$1 did not end"
    wants 000 "$URL"
    ran=$((ran + 1))
}

if command -v apache2 >/dev/null; then
    start_server apache "$tmp/dir"
    serves
    ends apache

    start_server apache "$tmp/dir" auth=digest user=u password=p path=/dav
    serves --digest -u u:p
    wants 401 --digest -u u:wrong "$URL"
    ends apache

    # No digest here: a 401 that Apache sends over HTTP/2 before it has read the body can look like a broken stream
    # to curl 7.88.
    start_server apache "$tmp/dir" auth=basic user=u password=p tls=yes http2=yes
    serves -u u:p --cacert "$CAINFO"
    [ "$(curl -sS -o "$tmp/body" -w '%{http_version}' --cacert "$CAINFO" "$URL")" = 2 ] || fail "no HTTP/2"
    wants 000 "$URL"
    ends apache

    start_server apache "$tmp/dir" tls=wrong-name
    serves -k
    wants 000 --cacert "$CAINFO" "$URL"
    ends apache
fi

if command -v rclone >/dev/null; then
    start_server rclone "$tmp/dir" user=u password=p path=/x etag=MD5
    serves -u u:p
    wants 401 "$URL"
    ends rclone
fi

if command -v php >/dev/null && [ -e /usr/share/php/Sabre/autoload.php ]; then
    start_server sabredav "$tmp/dir" user=u password=p
    serves -u u:p
    wants 401 "$URL"
    ends sabredav

    start_server sabredav "$tmp/dir" propagate=1 path=/remote.php/webdav
    serves
    propfind 0 "${URL}file"
    grep -q "SHA1:$(sha1sum "$tmp/dir/file" | cut -d' ' -f1)" "$tmp/body"
    propfind 0 "$URL"
    cp "$tmp/body" "$tmp/before"
    propfind 0 "$URL"
    cmp "$tmp/body" "$tmp/before"
    echo MORE >"$tmp/dir/sub/other"
    propfind 0 "$URL"
    ! cmp -s "$tmp/body" "$tmp/before" || fail "the folder's ETag has not changed with what is below it"
    if [ -x "$abs_top_builddir/tests/servers/delayproxy" ]; then
        start_delay 50
        serves
        seconds=$(curl -sS -o "$tmp/body" -w '%{time_total}' "${URL}file")
        python3 -c "assert 0.2 <= $seconds < 5, $seconds"
    fi
    ends sabredav
fi

[ $ran -gt 0 ] || skip "no WebDAV server is installed (apache2, rclone or php-sabre-dav)"
