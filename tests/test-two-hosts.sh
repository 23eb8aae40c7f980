#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Two hosts, each with a plugin, a cache and two virtual machines of its own, and one remote.  All machines write at once, in random
# order; somebody else changes the remote beside them; and each host's network goes away now and then.  In the end the remote and all
# disks hold the same, every content that anybody wrote is in some file unless somebody who saw it replaced or deleted it, nothing
# was sent more often than it was written, and then there is silence.
#
# Where it may, each host has a network namespace, which only reaches the server through a pair of interfaces.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 mdel mmove mmd mren mdeltree

seed=${CLOUDSHARE_SEED:-$((RANDOM * 32768 + RANDOM))}
rounds=4
[ -z "${CLOUDSHARE_LONG:-}" ] || rounds=30
rounds=${CLOUDSHARE_ROUNDS:-$rounds}

# ---- networks ----

# make_network NAME: a namespace of this name, whose loopback and one interface are up; the other end is ours.  Sets
# ADDRESS to ours.  Fails where we may not.
make_network ()
{
    local n addresses
    [ "$(id -u)" = 0 ] && command -v ip nsenter >/dev/null || return 1
    ip netns add "$1" 2>/dev/null || return 1
    cleanup_fn ip netns del "$1"
    # 198.18.0.0/15 is for networks that nobody is in (RFC 2544).
    addresses=$(ip -o addr show)
    for n in {0..250}; do
        ADDRESS=198.18.$n.1
        [[ $addresses != *" $ADDRESS/"* ]] || continue
        # Somebody else who does the same may be faster.
        ip link add "$1" type veth peer name eth0 netns "$1" 2>/dev/null && ip addr add "$ADDRESS/30" dev "$1" || return 1
        ip link set "$1" up
        ip -n "$1" addr add "198.18.$n.2/30" dev eth0
        ip -n "$1" link set lo up
        ip -n "$1" link set eth0 up
        return 0
    done
    return 1
}

# ---- hosts ----

# prepare_host NAME: its network, its way to the server at $SERVER, and its cache folder.
prepare_host ()
{
    # Names of interfaces have up to 15 bytes.
    local name=cs$1$$
    mkdir "$tmp/$1"
    : >"$tmp/$1/faults"
    if make_network "$name"; then
        # Not "ip netns exec", which would hold on to others' mounts.
        printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s "%s" "$@"\n' "$name" "$NBDKIT" >"$tmp/$1/nbdkit"
        printf '#!/bin/sh\nip link set %s $1\n' "$name" >"$tmp/$1/link"
    else
        ADDRESS=127.0.0.1
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$NBDKIT" >"$tmp/$1/nbdkit"
        printf '#!/bin/sh\n[ $1 = up ] && rule= || rule="drop * 1000000"\necho "$rule" >"%s/n"\nmv "%s/n" "%s/faults"\n' \
            "$tmp/$1" "$tmp/$1" "$tmp/$1" >"$tmp/$1/link"
        echo "$1 has no network of its own"
    fi
    chmod +x "$tmp/$1"/{nbdkit,link}
    links+=("$tmp/$1/link")
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/proxy.py" --listen "$ADDRESS" --to "$SERVER" --log "$tmp/$1/requests" \
        --faults "$tmp/$1/faults" </dev/null >"$tmp/$1/proxy" 2>>"$tmp/proxy.log" &
    cleanup_fn kill_nbdkit $!
    wait_until 20 test -s "$tmp/$1/proxy"
    echo "$ADDRESS:$(head -n 1 "$tmp/$1/proxy")" >"$tmp/$1/address"
}

# start_host NAME: its plugin; its machines are vm1 and vm2.
start_host ()
{
    local uri
    NBDKIT=$tmp/$1/nbdkit start_nbdkit "$PLUGIN" "${remote[@]//ADDRESS/$(cat "$tmp/$1/address")}" cache="$tmp/$1/cache" fs=fat32 \
        size=300M partition=mbr timezone=utc poll=1 retry=1 settle=0.5 write-back=0 max-delete=100 linger=1 disk=shared
    for vm in vm1 vm2; do
        uris+=("$(nbd_uri $vm/shared)")
    done
    pids+=($NBDKIT_PID)
}

host_drained ()
{
    timeout 130 "$abs_top_builddir/cloudsharectl" drain --timeout=120 "$tmp/$1/cache" >"$tmp/drain.out" 2>&1 ||
        fail "drain of $1: status $?: $(tail -n 5 "$tmp/drain.out"); $("$abs_top_builddir/cloudsharectl" status "$tmp/$1/cache" 2>&1 | tail -n 30)"
}

changes_asked () { cat "$tmp"/{a,b}/requests | grep -cE '^(PUT|MOVE|DELETE|MKCOL|PROPPATCH|POST|COPY|PATCH) ' || true; }

# nothing_changes SECONDS: neither host changes the remote, and looking at it costs no more than it must.
nothing_changes ()
{
    local before looks
    before=$(changes_asked)
    looks=$(cat "$tmp"/{a,b}/requests | wc -l)
    sleep "$1"
    [ "$(changes_asked)" = "$before" ] || fail "no end of changes: $(tail -n 4 "$tmp"/{a,b}/requests)"
    looks=$(($(cat "$tmp"/{a,b}/requests | wc -l) - looks))
    echo "$looks requests by both in $1 quiet seconds"
    # Each looks at each folder once a second.
    [ $looks -le $((2 * ($1 + 2) * ($(remote_folders) + 1))) ] || fail "too many looks: $looks"
}

# two_hosts SEED apache|rgw
two_hosts ()
{
    local uris=() pids=() links=() remote host
    echo "seed $1, $2, $rounds rounds"
    make_$2
    SERVER=${URL#*://127.0.0.1:}
    SERVER=${SERVER%%/*}
    prepare_host a
    prepare_host b
    start_host a
    start_host b
    # In some runs folders are changed, too.
    [ $(($1 % 2)) = 0 ] || export FOLDERS=1
    LINKS="${links[*]}" WRITTEN=$tmp/written "$PYTHON" "$abs_top_srcdir/tests/fidelity/manysided.py" "$REMOTE" "$1" "$rounds" "${uris[@]}" ||
        { for host in a b; do "$abs_top_builddir/cloudsharectl" status "$tmp/$host/cache" || true; done; fail "seed $1, $2: see above"; }
    host_drained a
    host_drained b
    nothing_changes 8
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/fidelity.py" - sent "$tmp/written" "$tmp"/{a,b}/requests || fail "seed $1, $2: see above"
    # A restart has nothing to tell, either.
    stop_nbdkit ${pids[0]}
    stop_nbdkit ${pids[1]}
    start_host a
    start_host b
    host_drained a
    host_drained b
    nothing_changes 4
    stop_nbdkit ${pids[2]}
    stop_nbdkit ${pids[3]}
}

begin_with ()
{
    mkdir -p "$1/shared folder/folder in it" "$1/second folder"
    for file in 'common file one.txt' 'shared folder/common file one.txt' 'shared folder/notes of today.md'; do
        echo "first content of $file" >"$1/$file"
    done
    touch -d '1 hour ago' "$1"/*.txt "$1/shared folder"/*.*
}

make_apache ()
{
    REMOTE=$tmp/remote
    begin_with "$tmp/remote"
    chmod -R a+rwX "$tmp/remote"
    start_server apache "$tmp/remote"
    remote=(remote=http://ADDRESS/)
    remote_folders () { find "$tmp/remote" -name .DAV -prune -o -type d -print | wc -l; }
}

make_rgw ()
{
    requires ceph-mon ceph-osd radosgw radosgw-admin
    requires_run python3 -c 'import boto3'
    export S3_ACCESS=cloudshare-key S3_SECRET=cloudshare-secret HOME=$tmp
    unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
    mkdir "$tmp/none"
    begin_with "$tmp/first"
    start_server rgw "$tmp/none"
    python3 "$abs_top_srcdir/tests/s3tool.py" "${URL%/}" cloudshare copyfrom "$tmp/first" files/
    REMOTE=s3:${URL%/},cloudshare,files/
    printf %s $S3_SECRET >"$tmp/secret"
    remote=(remote=s3://cloudshare/files endpoint=http://ADDRESS access-key=$S3_ACCESS secret-key=+"$tmp/secret")
    remote_folders () { echo 4; }
}

if [ $# -gt 0 ]; then
    two_hosts "$seed" "$1"
else
    two_hosts "$seed" apache
    if [ -n "${CLOUDSHARE_LONG:-}" ]; then
        bash "$0" rgw || [ $? = 77 ]
    fi
fi
