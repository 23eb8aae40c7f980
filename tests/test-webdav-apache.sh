#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A folder of a real Apache: with Basic and Digest passwords, over TLS with an authority of its own, with HTTP/2 and below a
# path; the disk's files are the folder's.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires apache2 openssl curl

make_tree "$tmp/remote" --files 800 --folders 40 --largest 60000 --sums "$tmp/want.sums"
chmod -R a+rX "$tmp/remote"
printf 'secret w\303\266rd' >"$tmp/password"

start_server apache "$tmp/remote"
start_nbdkit "$PLUGIN" remote="$URL" cache="$tmp/cache-none" fs=fat32
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
stop_server apache

start_server apache "$tmp/remote" auth=basic user=alice password="$(cat "$tmp/password")" path=/dav/files
start_nbdkit "$PLUGIN" remote="$URL" user=alice password=+"$tmp/password" cache="$tmp/cache-basic" fs=exfat
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
refused 'password' remote="$URL" user=alice password=wrong cache="$tmp/cache-wrong"
refused 'password' remote="$URL" cache="$tmp/cache-nobody"
stop_server apache

start_server apache "$tmp/remote" auth=digest user=alice password="$(cat "$tmp/password")" tls=yes http2=yes
start_nbdkit "$PLUGIN" remote="$URL" user=alice password=+"$tmp/password" cainfo="$CAINFO" cache="$tmp/cache-digest" fs=fat32
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
# TLS is verified unless somebody says not to.
refused 'certificate' remote="$URL" user=alice password=+"$tmp/password" cache="$tmp/cache-tls"
start_nbdkit "$PLUGIN" remote="$URL" user=alice password=+"$tmp/password" sslverify=false cache="$tmp/cache-noverify" fs=fat32
[ "$(on_disk ls | wc -l)" -gt 800 ] || fail "little is listed"
stop_nbdkit
stop_server apache

start_server apache "$tmp/remote" tls=wrong-name
refused 'certificate' remote="$URL" cainfo="$CAINFO" cache="$tmp/cache-name"
stop_server apache

# No secret is told to anybody.
! grep -rF -e 'secret w' -e "$(printf 'alice:secret w\303\266rd' | base64)" "$tmp"/*.log "$tmp"/refused.out || fail "a secret was printed"
