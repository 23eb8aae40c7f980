#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# rclone serve webdav: see common.sh for how to call it.
#
#   user= password=         empty user: no authentication
#   etag=no|MD5|SHA-1...    ETags from a hash of the content instead of time and size
#   path=/                  the URL path that the folder has

. "$(dirname "$0")/common.sh"

opt=([user]='' [password]=password [etag]=no [path]=/)

find_port ()
{
    port=$(sed -n 's|.*http://127\.0\.0\.1:\([0-9]*\).*|\1|p' "$STATE/log" | head -1)
    [ -n "$port" ] && listens "$port"
}

server_start ()
{
    local port=
    local -a args=(--addr 127.0.0.1:0 --baseurl "${opt[path]}")
    command -v rclone >/dev/null || die "rclone is not installed"
    export RCLONE_CONFIG=$STATE/rclone.conf RCLONE_CACHE_DIR=$STATE/cache
    : >"$RCLONE_CONFIG"
    # By the environment, where only the owner of the process can see it.
    if [ -n "${opt[user]}" ]; then
        export RCLONE_USER=${opt[user]} RCLONE_PASS=${opt[password]}
    fi
    [ "${opt[etag]}" = no ] || args+=(--etag-hash "${opt[etag]}")
    # Its directory cache would hide what a test changes in the folder.
    server_run rclone serve webdav "${args[@]}" --dir-cache-time 0s --poll-interval 0 "$dir"
    wait_for find_port || return 1
    URL=http://127.0.0.1:$port${opt[path]%/}/
}

server_main "$@"
