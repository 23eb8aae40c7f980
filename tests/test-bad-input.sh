#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What people give wrongly and what servers do wrongly when a disk is first made: one clear sentence each, no crash, and
# nothing is written outside the cache.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires curl python3

mkdir "$tmp/remote" "$tmp/home" "$tmp/cwd"
echo x >"$tmp/remote/file"
echo x >"$tmp/a-file"
ln -s nowhere "$tmp/dangling"
printf 'secret\n' >"$tmp/password"
ok=remote=$tmp/remote
# What is not cache= may not be written: not the home folder, not the folder where it was started.
export HOME=$tmp/home
unset XDG_CACHE_HOME
cd "$tmp/cwd"

# ---- parameters ----

c=cache=$tmp/cache
refused 'unknown parameter colour=' $ok $c colour=red
refused 'remote= is missing' $c
refused 'remote= is given twice' $ok $ok $c
refused 'give only one' $ok $c token=t user=u password=p
refused 'password= needs user=' $ok $c password=p
refused 'fs=ntfs' $ok $c fs=ntfs
refused 'partition=apm' $ok $c partition=apm
refused 'size=0' $ok $c size=0
refused 'size' $ok $c size=huge
refused 'size' $ok $c size=-1
refused 'cache-size= must be' $ok $c cache-size=1M
refused 'label=' $ok $c label=TWELVELETTERS
refused 'label=' $ok $c label='a/b'
refused 'disk=' $ok $c disk=a/b
refused 'timezone=' $ok $c timezone=Mars/Olympus
refused 'timezone=' $ok $c timezone=../../../etc/passwd
refused 'refresh=' $ok $c refresh=never
refused 'settle=' $ok $c settle=0
refused 'settle=' $ok $c settle=-1
refused 'settle=' $ok $c settle=61
refused 'settle=' $ok $c settle=1.2345
refused 'write-back' $ok $c write-back=-1
refused 'write-back' $ok $c write-back=soon
refused 'max-delete=' $ok $c max-delete=101
refused 'max-delete=' $ok $c max-delete=half
refused 'max-dirty=0' $ok $c max-dirty=0
refused 'size' $ok $c max-dirty=much
refused 'fetch=' $ok $c fetch=some
refused 'connections=' $ok $c connections=0
refused 'chunk-size=1M: give a size from 5M' $ok $c chunk-size=1M
refused 'poll=' $ok $c poll=0
refused 'retry=' $ok $c retry=0
refused 'timeout' $ok $c timeout=99999999999
refused 'boolean' $ok $c sslverify=perhaps
refused 'choose a larger size' $ok $c fs=fat32 size=1M
refused 'FAT32' $ok $c fs=fat32 size=64T
refused 'MBR' $ok $c fs=exfat partition=mbr size=4T

# ---- remotes ----

# All with one cache folder: a start that failed must not stand in the way of the next one, which has it right.
c=cache=$tmp/cache-remotes

refused 'no such folder' remote="$tmp/missing" $c
refused 'no such folder' remote="$tmp/dangling" $c
refused 'not a folder' remote="$tmp/a-file" $c
refused 'neither a folder' remote=gopher://example.org/ $c
refused 'neither a folder' remote=relative/path $c
refused 'file:' remote=file://host/path $c
port=$(python3 -c 'import socket; s = socket.socket (); s.bind (("127.0.0.1", 0)); print (s.getsockname ()[1])')
refused 'connect' remote="http://127.0.0.1:$port/" $c
refused 'resolve' remote=http://nothing.invalid/ $c
refused "http" remote=http:// $c
refused 'URL' remote='http://127.0.0.1:99999/' $c
refused 'cainfo=' remote="https://127.0.0.1:$port/" cainfo="$tmp/missing.pem" $c
refused 'rclone listremotes' remote=rclone:nobody $c
refused 'rclone listremotes' remote=rclone:x,pass=secret:/ $c
! grep -q secret "$tmp/refused.out" || fail "a secret was printed"
refused 'not for rclone' remote=rclone:nobody: user=u password=p $c
refused 'has its own' remote=rclone:nobody: rclone-url="http://127.0.0.1:$port/" rclone-config=/x $c
refused 'connect' remote=rclone:nobody: rclone-url="http://127.0.0.1:$port/" $c
refused 'does not begin with' remote=rclone:nobody: rclone-url=rc.example.org $c
if command -v rclone >/dev/null; then
    : >"$tmp/rclone.conf"
    refused 'no remote of this name' remote=rclone:nobody: rclone-config="$tmp/rclone.conf" $c
    printf '[loc]\ntype = local\n' >"$tmp/rclone.conf"
    refused 'no such folder' remote=rclone:loc:"$tmp/missing" rclone-config="$tmp/rclone.conf" $c
    refused 'not a folder' remote=rclone:loc:"$tmp/a-file" rclone-config="$tmp/rclone.conf" $c
fi
python3 "$abs_top_srcdir/tests/servers/rcfake.py" </dev/null >"$tmp/fake.out" 2>"$tmp/fake.log" &
cleanup_fn kill_nbdkit $!
wait_until 10 test -s "$tmp/fake.out"
for table in 'html|like rclone' 'array|like rclone' 'deep|like rclone' 'features|like rclone' 'cut-json|like rclone' \
    'no-name|without a name' 'null-item|without a name' 'not-a-list|like rclone' 'status-401|give user= and password=' \
    'says-invalid_grant|rclone config reconnect'; do
    refused "${table#*|}" remote=rclone:x:y rclone-url="http://127.0.0.1:$(cat "$tmp/fake.out")/${table%%|*}" timeout=2 $c
done
if [ "$(id -u)" != 0 ]; then
    mkdir -m 0 "$tmp/closed"
    refused 'may not read' remote="$tmp/closed" $c
fi

# ---- servers ----

start_nasty
for table in \
    'auth-basic|give user= and password=' 'bearer|token=' 'status-403|denies access' 'status-404|nothing at this URL' \
    'status-405|does not offer WebDAV' 'status-500|(PROPFIND: 500)' 'status-503|(PROPFIND: 503)' \
    'status-200|makes no sense' 'drop|Empty reply' 'cut-list|closed' 'cut-list-chunked|closed' 'short-list|well-formed' \
    'trailing|well-formed' 'two-roots|well-formed' 'bomb|DOCTYPE' 'doctype|DOCTYPE' 'external|DOCTYPE' 'deep|nested' \
    'html|web page' 'html-207|web page' 'not-xml|well-formed' 'other-root|not a WebDAV' 'empty-207|well-formed' \
    'no-self|not about the item' 'long-tag|longer than' 'long-text|longer than' 'loop|redirects in circles' \
    'redirect-file|redirects to' 'redirect-peer|redirects to http://localhost' 'silent|silent' 'stall|silent'; do
    mode=${table%%|*}
    refused "${table#*|}" remote="$NASTY/$mode/" timeout=2 $c
    # It names the URL, so that one knows which of several was meant.
    grep -qF "127.0.0.1" "$tmp/refused.out" || fail "$mode: not said where: $(cat "$tmp/refused.out")"
done
refused 'TLS' remote="${NASTY/http:/https:}/ok/" $c

# A wrong password is not tried for ever: servers lock accounts.
before=$(nasty_hits auth-basic)
refused 'password' remote="$NASTY/auth-basic/" user=alice password=wrong $c
[ $(($(nasty_hits auth-basic) - before)) -le 3 ] || fail "a wrong password was sent $(($(nasty_hits auth-basic) - before)) times"
refused 'password' remote="$NASTY/auth-digest-only/" user=alice password=wrong $c
[ "$(nasty_hits auth-digest-only)" -le 5 ] || fail "a wrong password was sent $(nasty_hits auth-digest-only) times"
refused 'token' remote="$NASTY/bearer/" token=wrong $c
# Nor is it told.
! grep -q 'wrong' "$tmp/refused.out" || fail "a secret was printed"

# An entity of a listing is not expanded, and nothing local is read by one.
! grep -q 'root:' "$tmp/refused.out"

# ---- nothing came of it but the cache ----

[ -z "$(ls -A "$tmp/home")$(ls -A "$tmp/cwd")" ] || fail "something was written outside the cache"
[ "$(ls "$tmp/remote")" = file ] || fail "the remote was written to"
# And it is of use yet.
start_nbdkit "$PLUGIN" $ok $c
[ "$(on_disk cat file)" = x ]
