# SPDX-License-Identifier: BSD-3-Clause
# Sourced by tests/test-fidelity-fat32.sh and -exfat.sh after functions.sh, disk-functions.sh and fidelity/functions.sh.

requires qemu-system-x86_64 busybox apache2

seed=${CLOUDSHARE_SEED:-$((RANDOM * 32768 + RANDOM))}

same () { sleep 1; fidelity "$1" compare "$tmp/remote"; }

# prepare PLAN dir|apache FS: tree, server, nbdkit.
prepare ()
{
    REMOTE=$tmp/remote
    rm -rf "$tmp/remote" "$tmp/cache" "$tmp/requests"
    mkdir "$tmp/remote"
    fidelity "$1" tree "$tmp/remote"
    chmod -R a+rwX "$tmp/remote"
    if [ "$2" = apache ]; then
        start_server apache "$tmp/remote"
        start_proxy
        REMOTE=$URL
    fi
    start_rw remote="$REMOTE" fs="$3"
}

# in_guest PLAN TYPE END [KERNEL]: does it, or skips the test.
in_guest ()
{
    local status=0
    fidelity "$1" guest "$NBD_URI" "${@:2}" >"$tmp/guest.out" 2>&1 || status=$?
    cat "$tmp/guest.out"
    [ $status != 77 ] || skip "there is no guest"
    [ $status = 0 ] || fail "plan $1, $*: status $status"
}

# guest_run PLAN dir|apache fat32|exfat END [KERNEL]
guest_run ()
{
    local plan=$1 kind=$3 begin status
    [ "$kind" = exfat ] || kind=vfat
    echo "---- $*"
    prepare "$plan" "$2" "$3"
    in_guest "$plan" $kind "$4" ${5:-}
    case $3-$4 in
        fat32-sync|fat32-poweroff)
            # vfat says only by unmounting that it is done, and this one has gone: what is gone or shorter does not count
            # until a guest has come and checked the disk.
            sleep 50
            fidelity "$plan" survived "$tmp/remote"
            status=0
            fidelity "$plan" repair "$NBD_URI" $kind ${5:-} >"$tmp/guest.out" 2>&1 || status=$?
            cat "$tmp/guest.out"
            [ $status = 0 ] || fail "$*: repair: status $status"
            ;;
    esac
    begin=$SECONDS
    # Without a commit mark what is gone counts after 40 seconds.
    wait_until 120 same "$plan" || { same "$plan" || true; ctl status || true; fail "$*: see above"; }
    drained
    same "$plan"
    echo "in the cloud $((SECONDS - begin)) s after the guest's end"
    no_conflicts "$tmp/remote"
    [ "$2" = dir ] || fidelity "$plan" uploads "$tmp/requests"
    remote_state "$tmp/remote" >"$tmp/state"
    stop_nbdkit
    start_rw remote="$REMOTE" fs="$3"
    drained
    sleep 2
    remote_state "$tmp/remote" | diff "$tmp/state" - || fail "$*: a restart changes the remote"
    stop_nbdkit
    [ "$2" = dir ] || stop_server apache
}

# guest_dies PLAN dir|apache fat32|exfat: its power is cut while it works.
guest_dies ()
{
    local kind=$3
    [ "$kind" = exfat ] || kind=vfat
    echo "---- $* kill"
    prepare "$@"
    in_guest "$1" $kind kill
    # Long enough for everything that counts after a while.
    sleep 60
    fidelity "$1" survived "$tmp/remote" || { ctl status || true; fail "$*: see above"; }
    no_conflicts "$tmp/remote"
    stop_nbdkit
    [ "$2" = dir ] || stop_server apache
}

# all_runs FS
all_runs ()
{
    if [ -z "${CLOUDSHARE_LONG:-}" ]; then
        guest_run "$seed,300,pauses" apache "$1" umount
        guest_run "$((seed + 1)),150,nosyncs" dir "$1" sync
        guest_dies "$((seed + 2)),600,whole,pauses" dir "$1"
        return
    fi
    guest_run "$seed,2000,pauses" apache "$1" umount
    guest_run "$((seed + 1)),2000,nosyncs" apache "$1" umount
    guest_run "$((seed + 2)),2000,nosyncs,pauses" apache "$1" idle
    guest_run "$((seed + 3)),1000" dir "$1" sync
    guest_run "$((seed + 4)),1000,pauses" dir "$1" poweroff 6.12
    guest_run "$((seed + 5)),1000,nosyncs" dir "$1" idle 6.12
    for ((i = 0; i < 5; i++)); do
        guest_dies "$((seed + 10 + i)),1000,whole,pauses" dir "$1"
        guest_dies "$((seed + 20 + i)),1000,whole,nosyncs,pauses" dir "$1"
    done
}
