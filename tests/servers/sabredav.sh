#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# SabreDAV (Debian's php-sabre-dav) under PHP's own server, which closes every connection after one answer: see
# common.sh for how to call it, and sabredav.php for what it serves.
#
#   user= password=         empty user: no authentication
#   etag=content|mtime      a hash of the content; or inode, size and whole seconds, which misses quick rewrites
#   propagate=0|1           like ownCloud: a folder's ETag changes with everything below it; oc:fileid, oc:checksums
#   locks=0|1              with SabreDAV's plugin for locks, which is also the one that knows If:
#   partial=0|1             with SabreDAV's plugin for PATCH with X-Update-Range
#   workers=4               processes that answer at the same time
#   path=/                  the URL path that the folder has

. "$(dirname "$0")/common.sh"

opt=([user]='' [password]=password [etag]=content [propagate]=0 [locks]=0 [partial]=0 [workers]=4 [path]=/)

is_up ()
{
    grep -q ":$1) started" "$STATE/log" && listens "$1"
}

server_start ()
{
    local port here
    here=$(cd "$(dirname "$0")" && pwd)
    command -v php >/dev/null || die "php-cli is not installed"
    [ -e /usr/share/php/Sabre/autoload.php ] || die "php-sabre-dav is not installed"
    port=$(free_port)
    mkdir "$STATE/hashes"
    export CLOUDSHARE_DIR=$dir CLOUDSHARE_STATE=$STATE CLOUDSHARE_PATH=${opt[path]} CLOUDSHARE_ETAG=${opt[etag]} \
        CLOUDSHARE_PROPAGATE=${opt[propagate]} CLOUDSHARE_LOCKS=${opt[locks]} \
        CLOUDSHARE_PARTIAL=${opt[partial]} CLOUDSHARE_USER=${opt[user]} CLOUDSHARE_PASSWORD=${opt[password]} \
        PHP_CLI_SERVER_WORKERS=${opt[workers]}
    # SabreDAV 1.8 is older than PHP 8: what PHP thinks of it must not get into answers.
    server_run php -d display_errors=0 -d log_errors=0 -d output_buffering=0 -d memory_limit=256M \
        -S "127.0.0.1:$port" "$here/sabredav.php"
    wait_for is_up "$port" || return 1
    URL=http://127.0.0.1:$port${opt[path]%/}/
}

server_main "$@"
