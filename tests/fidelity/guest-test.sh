# SPDX-License-Identifier: BSD-3-Clause
# Sourced by tests/test-fidelity-fat32.sh and -exfat.sh after functions.sh, disk-functions.sh and fidelity/functions.sh.
#
#   test-fidelity-FS.sh                                                         all parts
#   test-fidelity-FS.sh guest_run PLAN dir|apache|rclone|rgw fat32|exfat END [KERNEL]   one of them, to find out what was wrong
#   test-fidelity-FS.sh guest_dies PLAN dir|apache|rclone|rgw fat32|exfat

requires qemu-system-x86_64 busybox apache2

seed=$(seed_for "${plain_seed:-655532934}")

same () { sleep 1; look && fidelity "$1" compare "$tmp/remote"; }

# prepare PLAN dir|apache|rclone|rgw FS: tree, server, nbdkit.
prepare ()
{
    rm -rf "$tmp/remote" "$tmp/cache"
    mkdir "$tmp/remote"
    fidelity "$1" tree "$tmp/remote"
    serve_tree "$2"
    start_rw "${remote[@]}" fs="$3"
}

# in_guest PLAN VERB ARGUMENT...: a guest does it, or the test is skipped.
in_guest ()
{
    local status=0
    FIDELITY_DONE=$(done_command "$1") fidelity "$@" >"$tmp/guest.out" 2>&1 || status=$?
    cat "$tmp/guest.out"
    [ $status != 77 ] || skip "there is no guest"
    [ $status = 0 ] || fail "plan $*: status $status"
}

# done_command PLAN: tells whether the cloud has it all, and nothing of what the guest wrote waits for more evidence.
done_command ()
{
    echo "'$PYTHON' '$abs_top_srcdir/tests/fidelity/fidelity.py' $1 compare '$tmp/remote' >/dev/null 2>&1 &&" \
        "! '$abs_top_builddir/cloudsharectl' status '$tmp/cache' | grep -q 'not yet understood'"
}

# type_of FS: what guests call it.
type_of () { [ "$1" = exfat ] && echo exfat || echo vfat; }

# guest_run PLAN dir|apache|rclone|rgw fat32|exfat END [KERNEL]
guest_run ()
{
    local plan=$1 kind begin
    kind=$(type_of "$3")
    echo "---- $*"
    prepare "$plan" "$2" "$3"
    in_guest "$plan" guest "$NBD_URI" "$kind" "$4" ${5:-}
    case $3-$4 in
        fat32-sync|fat32-poweroff)
            # vfat says only by unmounting that it is done, and this one has gone: what is gone or shorter does not count
            # until a guest has come and checked the disk.
            sleep 45
            look
            fidelity "$plan" survived "$tmp/remote"
            in_guest "$plan" repair "$NBD_URI" "$kind" "$tmp/guest.sums" ${5:-}
            ;;
    esac
    begin=$SECONDS
    # Without a commit mark what is gone counts after 40 seconds.
    wait_until 120 same "$plan" || { same "$plan" || true; ctl status || true; fail "$*: see above"; }
    drained
    same "$plan"
    echo "in the cloud $((SECONDS - begin)) s after the guest's end"
    no_conflicts "$tmp/remote"
    needless "$plan"
    quiet_after_restart "$3"
    stop_serving
}

# sees PLAN: the cloud has what the guest has written down.
sees () { look && fidelity "$1" seen "$tmp/remote" "$tmp/guest.sums"; }

# guest_dies PLAN dir|apache|rclone|rgw fat32|exfat: its power is cut while it works.  Later it comes again, has its disk checked as at
# any start, and from then on the cloud has what this guest sees.
guest_dies ()
{
    local kind
    kind=$(type_of "$3")
    echo "---- $* kill"
    prepare "$@"
    in_guest "$1" guest "$NBD_URI" "$kind" kill
    # Long enough for everything that counts after a while.
    sleep 45
    look
    fidelity "$1" survived "$tmp/remote" || { ctl status || true; fail "$*: see above"; }
    no_conflicts "$tmp/remote"
    in_guest "$1" repair "$NBD_URI" "$kind" "$tmp/guest.sums"
    wait_until 120 sees "$1" || { sees "$1" || true; ctl status || true; fail "$*: see above"; }
    drained
    sees "$1"
    no_conflicts "$tmp/remote"
    quiet_after_restart "$3"
    stop_serving
}

# quiet_after_restart FS: a restart has nothing to tell the cloud.
quiet_after_restart ()
{
    state_of_remote >"$tmp/state"
    stop_nbdkit
    start_rw "${remote[@]}" fs="$1"
    drained
    sleep 2
    state_of_remote | diff "$tmp/state" - || fail "a restart changes the remote"
    stop_nbdkit
}

# all_runs FS
all_runs ()
{
    echo "seed $seed"
    if [ -z "${CLOUDSHARE_LONG:-}" ]; then
        # Plan 303 moves a folder into one that was in it.
        together <<END
guest_run $seed,300,pauses apache $1 umount
guest_run $((seed + 1)),150,nosyncs dir $1 sync
guest_run 303,150 dir $1 shutdown
guest_run $((seed + 3)),100,nosyncs dir $1 quick-idle
guest_dies $((seed + 4)),600,whole,pauses dir $1
END
        return
    fi
    guest_run "$seed,2000,pauses" apache "$1" umount
    guest_run "$((seed + 1)),2000,nosyncs" apache "$1" shutdown
    guest_run "$((seed + 2)),2000,nosyncs,pauses" apache "$1" idle
    guest_run "$((seed + 3)),1000" dir "$1" sync
    guest_run "$((seed + 4)),1000,pauses" dir "$1" poweroff 6.12
    guest_run "$((seed + 5)),1000,nosyncs" dir "$1" idle 6.12
    for kind in rclone rgw; do
        can_serve $kind || { echo "$kind cannot be had here"; continue; }
        guest_run "$((seed + 6)),1000,pauses" $kind "$1" umount
        guest_run "$((seed + 7)),1000,nosyncs" $kind "$1" shutdown
        guest_dies "$((seed + 8)),1000,whole,pauses" $kind "$1"
    done
    for ((i = 0; i < 5; i++)); do
        guest_dies "$((seed + 10 + i)),1000,whole,pauses" dir "$1"
        guest_dies "$((seed + 20 + i)),1000,whole,nosyncs,pauses" dir "$1"
    done
}
