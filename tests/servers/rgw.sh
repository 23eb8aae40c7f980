#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Ceph's RADOS gateway on a cluster in memory: see common.sh for how to call it.  One monitor and one OSD without any
# replica; what was stored ends with the server.  DIR is not used.  Takes about ten seconds.
#
#   bucket=cloudshare       made at the start
#   access=cloudshare-key secret=cloudshare-secret
#   tls=no|yes              sets CAINFO, the certificate is for 127.0.0.1
#   memory=4                GiB that the objects may take
#
# URL is the endpoint.  Needs the packages ceph-mon, ceph-osd and radosgw; radosgw-admin and ceph come with them.

. "$(dirname "$0")/common.sh"

opt=([bucket]=cloudshare [access]=cloudshare-key [secret]=cloudshare-secret [tls]=no [memory]=4)

# The OSD looks for free ports from here on, and the gateway's is another.
write_conf ()
{
    local frontend=endpoint=127.0.0.1:$port
    [ "${opt[tls]}" = no ] ||
        frontend="ssl_endpoint=127.0.0.1:$port ssl_certificate=$STATE/server.pem ssl_private_key=$STATE/server.key"
    cat >"$STATE/ceph.conf" <<EOT
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$mon_port]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = $((mon_port + 10))
ms bind port max = $((mon_port + 200))
run dir = $STATE
admin socket =
log file = $STATE/\$name.log
log to stderr = false
err to stderr = true
auth cluster required = none
auth service required = none
auth client required = none
# Without keys the gateway's default, which is encryption, does not work.
ms mon client mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon osd full ratio = 1.0
mon osd nearfull ratio = 1.0
[mon.a]
mon data = $STATE/mon
mon data avail crit = 1
mon data avail warn = 1
[osd.0]
osd data = $STATE/osd
osd objectstore = memstore
memstore device bytes = $((opt[memory] << 30))
osd op num shards = 2
osd op num threads per shard = 1
[client.rgw]
rgw frontends = beast $frontend
rgw thread pool size = 64
rgw enable usage log = false
rgw enable ops log = false
rgw gc max objs = 1
rgw lc max objs = 1
rgw num rados handles = 1
rgw bucket default quota max objects = -1
EOT
}

# Leads the process group; its children end with it.
run_cluster ()
{
    local conf=$1/ceph.conf
    ulimit -n "$(ulimit -Hn)" || true
    ceph-mon -c "$conf" -i a -f &
    until ceph -c "$conf" --connect-timeout 20 osd new "$2" 0 </dev/null; do sleep 0.2; done
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$2"
    ceph-osd -c "$conf" -i 0 -f &
    radosgw -c "$conf" -n client.rgw -f &
    wait
}

answers ()
{
    local code
    code=$(curl -sk -o /dev/null -w '%{http_code}' "$URL" || true)
    [ "$code" = 200 ]
}

server_start ()
{
    local port fsid osd_uuid mon_port p
    for p in ceph-mon ceph-osd radosgw radosgw-admin curl python3; do
        command -v $p >/dev/null || die "$p is not installed"
    done
    port=$(free_port) mon_port=$(free_port)
    [ "$mon_port" -lt 60000 ] || mon_port=$((mon_port - 5000))
    fsid=$(cat /proc/sys/kernel/random/uuid) osd_uuid=$(cat /proc/sys/kernel/random/uuid)
    mkdir "$STATE/mon" "$STATE/osd"
    : >"$STATE/log"
    [ "${opt[tls]}" = no ] || make_certificate IP:127.0.0.1
    write_conf
    monmaptool --create --addv a "[v2:127.0.0.1:$mon_port]" --fsid "$fsid" "$STATE/monmap" >>"$STATE/log" 2>&1
    ceph-mon -c "$STATE/ceph.conf" -i a --mkfs --monmap "$STATE/monmap" >>"$STATE/log" 2>&1
    export -f run_cluster
    server_run nice -n 5 bash -c 'run_cluster "$@"' rgw "$STATE" "$osd_uuid"
    URL=http://127.0.0.1:$port/
    [ "${opt[tls]}" = no ] || URL=https://127.0.0.1:$port/
    for p in 1 2 3 4 5 6; do
        ! wait_for answers || break
    done
    answers || return 1
    radosgw-admin -c "$STATE/ceph.conf" -n client.rgw user create --uid=tester --display-name=tester \
        --access-key="${opt[access]}" --secret-key="${opt[secret]}" >>"$STATE/log" 2>&1 || return 1
    curl -sk -f -o "$STATE/bucket.out" -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user "${opt[access]}:${opt[secret]}" \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$URL${opt[bucket]}" >>"$STATE/log" 2>&1 || return 1
}

server_main "$@"
