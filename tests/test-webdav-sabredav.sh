#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A folder served by SabreDAV, plain and with ownCloud's ways: folder tags that change with everything below, ids and
# checksums.  The disk's files are the folder's; a poll does not list everything again; a rename is no new file.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires php curl
[ -e /usr/share/php/Sabre/autoload.php ] || skip "php-sabre-dav is not installed"

# Plain names: SabreDAV 1.8 under PHP 8 takes some UTF-8 for Latin-1 and does not find files that it lists.
make_tree "$tmp/remote" --names plain --files 200 --folders 20 --largest 40000 --sums "$tmp/want.sums"

start_server sabredav "$tmp/remote" user=u password=p
start_nbdkit "$PLUGIN" remote="$URL" user=u password=p cache="$tmp/cache" fs=fat32
same_content "$tmp/remote" "$tmp/want.sums"
stop_nbdkit
stop_server sabredav

start_server sabredav "$tmp/remote" propagate=1 path=/remote.php/webdav
start_nbdkit -r "$PLUGIN" remote="$URL" cache="$tmp/cache-oc" fs=exfat poll=1
same_content "$tmp/remote" "$tmp/want.sums"

deep=$(cd "$tmp/remote" && find . -mindepth 3 -type d -printf '%P\n' | grep -v '[^A-Za-z0-9_ ./-]' | LC_ALL=C sort | head -n 1)
[ -n "$deep" ] || deep=$(cd "$tmp/remote" && find . -mindepth 1 -type d -printf '%P\n' | LC_ALL=C sort | head -n 1)
echo 'from afar' >"$tmp/remote/$deep/news.txt"
has_news () { [ "$(on_disk cat "$deep/news.txt" 2>/dev/null)" = 'from afar' ]; }
wait_until 20 has_news || fail "a change deep down is not seen"

# What had been read is still here under its new name, though the server is gone.
mv "$tmp/remote/$deep/news.txt" "$tmp/remote/$deep/old news.txt"
renamed () { disk_has "$deep/old news.txt"; }
wait_until 20 renamed || fail "a rename is not seen"
stop_server sabredav
[ "$(on_disk cat "$deep/old news.txt")" = 'from afar' ] || fail "a renamed file was fetched again"
