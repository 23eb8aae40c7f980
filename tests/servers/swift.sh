#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# OpenStack Swift with its S3 API, one server of each kind and one replica: see common.sh for how to call it.  What is stored is
# below STATE and ends with the server; DIR is not used.  STATE has to be on a file system with extended attributes.
#
#   bucket=cloudshare       made at the start
#   access=cloudshare:key secret=cloudshare-secret      tempauth's: the access key is ACCOUNT:USER
#
# URL is the endpoint.  Needs the package python3-swift alone, which brings no service that starts by itself, and boto3.

. "$(dirname "$0")/common.sh"

opt=([bucket]=cloudshare [access]=cloudshare:key [secret]=cloudshare-secret)

# What all have in common.
write_conf ()
{
    local kind=$1 port=$2
    cat >"$STATE/$kind.conf" <<EOT
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
workers = 0
user = $(id -un)
swift_dir = $STATE
devices = $STATE/node
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
EOT
}

write_storage_conf ()
{
    write_conf "$1" "$2"
    cat >>"$STATE/$1.conf" <<EOT
[pipeline:main]
pipeline = $1-server
[app:$1-server]
use = egg:swift#$1
EOT
}

write_proxy_conf ()
{
    write_conf proxy "$1"
    cat >>"$STATE/proxy.conf" <<EOT
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
# What has no memcached looks each time; without the filter the gateway fails.
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
error_suppression_limit = 1
error_suppression_interval = 100000
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = false
[filter:tempauth]
use = egg:swift#tempauth
user_${opt[access]%%:*}_${opt[access]#*:} = ${opt[secret]} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
EOT
}

# make_ring KIND PORT
make_ring ()
{
    local words
    for words in "create 2 1 1" "add --region 1 --zone 1 --ip 127.0.0.1 --port $2 --device d --weight 1" rebalance; do
        "$python" -c 'import sys; from swift.cli.ringbuilder import main; sys.argv[0] = "ring"; main ()' "$STATE/$1.builder" $words
    done
}

# run_swift PYTHON STATE: leads the process group.  Its children make groups of their own, and so it has to end them.
run_swift ()
{
    local kind
    cd "$2"
    trap 'kill -KILL $(jobs -p); exit' TERM INT HUP
    for kind in account container object proxy; do
        "$1" -c 'import sys; from swift.common.wsgi import run_wsgi; sys.exit (run_wsgi (sys.argv[1], sys.argv[2]))' \
            "$2/$kind.conf" $kind-server &
    done
    wait
}

bucket_is_made ()
{
    S3_ACCESS=${opt[access]} S3_SECRET=${opt[secret]} python3 "$(dirname "$0")/../s3tool.py" "${URL%/}" "${opt[bucket]}" make \
        >>"$STATE/log" 2>&1
}

server_start ()
{
    local p ports=() file python
    # Debian's modules are for Debian's python.
    for python in python3 /usr/bin/python3; do
        ! "$python" -c 'import swift' 2>/dev/null || break
    done
    "$python" -c 'import swift' || die "swift is not installed"
    for p in 0 1 2 3; do
        ports+=("$(free_port)")
    done
    mkdir -p "$STATE/node/d"
    : >"$STATE/log"
    file=$STATE/attribute
    : >"$file"
    python3 -c 'import os, sys; os.setxattr (sys.argv[1], "user.test", b"x")' "$file" 2>>"$STATE/log" ||
        die "$STATE is on a file system without extended attributes"
    printf '[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n[storage-policy:0]\nname = one\ndefault = yes\n' \
        >"$STATE/swift.conf"
    write_storage_conf account "${ports[0]}"
    write_storage_conf container "${ports[1]}"
    write_storage_conf object "${ports[2]}"
    write_proxy_conf "${ports[3]}"
    make_ring account "${ports[0]}" >>"$STATE/log" 2>&1
    make_ring container "${ports[1]}" >>"$STATE/log" 2>&1
    make_ring object "${ports[2]}" >>"$STATE/log" 2>&1
    export -f run_swift
    server_run nice -n 5 bash -c 'run_swift "$@"' swift "$python" "$STATE"
    URL=http://127.0.0.1:${ports[3]}/
    for p in 1 2 3 4 5 6; do
        ! wait_for bucket_is_made || return 0
    done
    return 1
}

server_main "$@"
