#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Nextcloud's chunked uploads as documented, on SabreDAV (Debian's php-sabre-dav): see common.sh for how to call it, and
# nextcloud.php for what it serves.  It is not Nextcloud.
#
#   user=alice password=    always asked for, by Basic
#   chunking=1.0            what it says that it can; empty: nothing
#   quota=0                 bytes of an upload, refused with 507; 0: none
#   limit=0                 bytes of a chunk, refused with 413; 0: none
#   workers=4               processes that answer at the same time

. "$(dirname "$0")/common.sh"

opt=([user]=alice [password]=secret [chunking]=1.0 [quota]=0 [limit]=0 [workers]=4)

server_start ()
{
    local port here
    here=$(cd "$(dirname "$0")" && pwd)
    command -v php >/dev/null || die "php-cli is not installed"
    [ -e /usr/share/php/Sabre/autoload.php ] || die "php-sabre-dav is not installed"
    port=$(free_port)
    mkdir "$STATE/hashes"
    export CLOUDSHARE_DIR=$dir CLOUDSHARE_STATE=$STATE CLOUDSHARE_ETAG=content CLOUDSHARE_USER=${opt[user]} \
        CLOUDSHARE_PASSWORD=${opt[password]} CLOUDSHARE_CHUNKING=${opt[chunking]} CLOUDSHARE_QUOTA=${opt[quota]} \
        CLOUDSHARE_LIMIT=${opt[limit]} PHP_CLI_SERVER_WORKERS=${opt[workers]}
    server_run php -d display_errors=0 -d log_errors=0 -d output_buffering=0 -d memory_limit=256M \
        -d include_path=".:/usr/share/php:$here" -S "127.0.0.1:$port" "$here/nextcloud.php"
    wait_for listens "$port" || return 1
    URL=http://127.0.0.1:$port/remote.php/dav/files/${opt[user]}/
}

server_main "$@"
