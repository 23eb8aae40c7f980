# SPDX-License-Identifier: BSD-3-Clause
# Sourced after functions.sh and disk-functions.sh by tests that write to a disk.

fidelity ()
{
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/fidelity.py" "$@"
}

# start_rw KEY=VALUE...: nbdkit with the plugin, for writing, with a short memory and little patience; $tmp/uri and
# $tmp/vm.sock lead to the view of vm1.  start_nbdkit's variables are set.  LINGER: where a client must find its own view after
# a restart, as long as that may take on a busy machine.
start_rw ()
{
    start_nbdkit "$PLUGIN" cache="$tmp/cache" size=300M timezone=utc partition=mbr settle=0.5 write-back=0 max-delete=100 \
        linger="${LINGER:-1}" "$@" || return 1
    NBD_URI=$(nbd_uri vm1/cloud)
    echo "$NBD_URI" >"$tmp/uri.new"
    mv "$tmp/uri.new" "$tmp/uri"
    ln -sfn "$NBD_SOCKET" "$tmp/vm.sock"
}

# ctl VERB [OPTION...]: cloudsharectl, on the cache folder of start_rw.
ctl ()
{
    "$abs_top_builddir/cloudsharectl" "$@" "$tmp/cache"
}

# drained [SECONDS]: all is in the cloud in time.
drained ()
{
    timeout $((${1:-60} + 10)) "$abs_top_builddir/cloudsharectl" drain --timeout="${1:-60}" "$tmp/cache" >"$tmp/drain.out" 2>&1 ||
        fail "drain: status $?: $(tail -n 5 "$tmp/drain.out"); $(ctl status 2>&1 | tail -n 30)"
}

# remote_state DIR: what a test can see of a folder's items; changes whenever somebody writes one anew.
remote_state ()
{
    (cd "$1" && find . -name .DAV -prune -o -printf '%y %p %s %i %T@ %C@\n' | sed 's/^d \(.*\) [0-9]* \([0-9]*\) [0-9.]* [0-9.]*$/d \1 \2/' | LC_ALL=C sort)
}

# ---- remotes ----

# can_serve KIND: dir, apache, rclone or rgw can be had here.
can_serve ()
{
    case $1 in
        rclone) command -v rclone >/dev/null && "$NBDKIT" "$PLUGIN" --dump-plugin | grep -q '^cloudshare_remotes=.*rclone' ;;
        rgw)
            command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null && command -v radosgw >/dev/null &&
                python3 -c 'import boto3' 2>/dev/null
            ;;
    esac
}

# serve_tree KIND: the folder $tmp/remote, with what is in it, becomes a remote.  Sets remote, an array of what start_rw is given,
# and REMOTE, what tests/fidelity/remotes.py is.  Where requests can be counted, they go to $tmp/requests.
serve_tree ()
{
    chmod -R a+rwX "$tmp/remote"
    rm -f "$tmp/requests"
    REMOTE=$tmp/remote KIND=$1
    case $1 in
        dir) remote=(remote="$tmp/remote") ;;
        apache)
            start_server apache "$tmp/remote"
            start_proxy
            remote=(remote="$URL")
            ;;
        rclone)
            printf '[there]\ntype = local\n' >"$tmp/rclone.conf"
            remote=(remote="rclone:there:$tmp/remote" rclone-config="$tmp/rclone.conf")
            ;;
        rgw)
            export S3_ACCESS=cloudshare-key S3_SECRET=cloudshare-secret
            mkdir -p "$tmp/none"
            start_server rgw "$tmp/none"
            DIRECT=${URL%/}
            s3 put files/ /dev/null
            s3 copyfrom "$tmp/remote" files/
            start_proxy
            printf %s $S3_SECRET >"$tmp/secret"
            REMOTE=s3:$DIRECT,cloudshare,files/
            remote=(remote=s3://cloudshare/files endpoint="${URL%/}" access-key=$S3_ACCESS secret-key=+"$tmp/secret" region=us-east-1
                poll=1)
            ;;
    esac
}

stop_serving ()
{
    case $KIND in apache | rgw) stop_server $KIND ;; esac
}

# s3 VERB...: the bucket, without the proxy, as another client sees it.
s3 () { python3 "$abs_top_srcdir/tests/s3tool.py" "$DIRECT" cloudshare "$@"; }

# look: $tmp/remote is what the remote is now.
look ()
{
    [ "$KIND" = rgw ] || return 0
    rm -rf "$tmp/remote"
    mkdir "$tmp/remote"
    s3 copyto "$tmp/remote" files/
}

# state_of_remote: changes whenever somebody writes an item anew.
state_of_remote ()
{
    if [ "$KIND" = rgw ]; then s3 state files/; else remote_state "$tmp/remote"; fi
}

# needless PLAN: nothing was sent without need, as far as this can be known of this remote.
needless ()
{
    [ ! -e "$tmp/requests" ] || fidelity "$1" uploads "$tmp/requests"
}

# becomes SECONDS DIR: the folder becomes what $tmp/want.sums and $tmp/want.folders say.
becomes ()
{
    wait_until "$1" _is_wanted "$2" || { _differences "$2" >&2; ctl status >&2 || true; fail "the remote is not what was written"; }
}

_is_wanted ()
{
    tree_sums "$1" >"$tmp/now.sums" && folders_of "$1" >"$tmp/now.folders" &&
        _without_properties "$tmp/now.sums" | cmp -s "$tmp/want.sums" - && cmp -s "$tmp/want.folders" "$tmp/now.folders"
}

_differences ()
{
    _is_wanted "$1" || true
    diff "$tmp/want.sums" "$tmp/now.sums" | head -n 10 || true
    diff "$tmp/want.folders" "$tmp/now.folders" | head -n 10 || true
}

_without_properties () { grep -v '/\?\.DAV/' "$1" || true; }

folders_of () { (cd "$1" && find . -mindepth 1 -type d ! -name .DAV -printf '%P\n' | LC_ALL=C sort); }

# want DIR: what must be there is what is in this folder.
want ()
{
    tree_sums "$1" >"$tmp/want.sums"
    folders_of "$1" >"$tmp/want.folders"
}

no_conflicts ()
{
    ! find "$1" -name '*(conflicted copy*' | grep . || fail "conflicts, and there was nobody else"
}

# none_came_back: what was removed is gone at the first try: nothing of ours was in the way, since nobody else has been there.
none_came_back ()
{
    ! grep -h 'comes back' "$tmp"/nbdkit*.log || fail "it came back, and there was nobody else"
}

# ---- writing, by mtools ----

# requires_writers: nbdfuse and mtools, and that they work here.
requires_writers ()
{
    requires nbdfuse fusermount mcopy
    [ -w /dev/fuse ] || skip "there is no /dev/fuse"
}

# attach: the disk becomes the file $tmp/nbd/disk, as a machine's that is switched on; detach ends that.
attach ()
{
    mkdir -p "$tmp/nbd"
    nbdfuse "$tmp/nbd/disk" "$(cat "$tmp/uri")" >>"$tmp/nbdfuse.log" 2>&1 &
    FUSE_PID=$!
    cleanup_fn detach
    wait_until 20 test -s "$tmp/nbd/disk" || fail "nbdfuse does not work: $(cat "$tmp/nbdfuse.log")"
}

detach ()
{
    [ -n "${FUSE_PID:-}" ] || return 0
    wait_until 20 fusermount -u "$tmp/nbd" || kill -KILL $FUSE_PID 2>/dev/null || true
    wait $FUSE_PID 2>/dev/null || true
    FUSE_PID=
}

# mt PROGRAM [ARGUMENT...]: one of mtools, on the attached disk.
mt ()
{
    local program=$1
    shift
    MTOOLSRC=/dev/null "$program" -i "$tmp/nbd/disk@@1M" "$@" </dev/null
}

# ---- a proxy that counts and spoils ----

# start_proxy: between us and the server at URL; changes URL.  Sets PROXY_PID; its log is $tmp/requests, its faults are in
# $tmp/faults.
start_proxy ()
{
    local rest=${URL#*://127.0.0.1:}
    PROXY_TO=${rest%%/*} PROXY_PORT=0
    URL_PATH=/${rest#*/}
    again_proxy
    URL=http://127.0.0.1:$PROXY_PORT$URL_PATH
}

# again_proxy: once more, on the same port.
again_proxy ()
{
    rm -f "$tmp/proxy.out"
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/proxy.py" --port "$PROXY_PORT" --to "$PROXY_TO" --log "$tmp/requests" \
        --faults "$tmp/faults" </dev/null >"$tmp/proxy.out" 2>>"$tmp/proxy.log" &
    PROXY_PID=$!
    cleanup_fn kill_nbdkit $PROXY_PID
    wait_until 20 test -s "$tmp/proxy.out"
    PROXY_PORT=$(head -n 1 "$tmp/proxy.out")
}

# faults [LINE...]: what goes wrong from now on (proxy.py).
faults ()
{
    printf '%s\n' "$@" >"$tmp/faults.new"
    mv "$tmp/faults.new" "$tmp/faults"
}

# asked METHOD [STATUS]: how many requests there were.
asked ()
{
    awk -v m="$1" -v s="${2:-}" '$1 == m && (s == "" || $2 ~ s) { n++ } END { print n + 0 }' "$tmp/requests"
}

# ---- side by side ----

# together: reads lines "FUNCTION ARGUMENT..." of the test and runs all of them side by side, since each mostly
# waits; every one is the test itself, with these arguments, and has a folder of its own.
together ()
{
    local n=0 i status=0 pids=() part
    while read -ra part; do
        bash "$0" "${part[@]}" >"$tmp/part$n.out" 2>&1 </dev/null &
        pids+=($!)
        cleanup_fn end_part $!
        n=$((n + 1))
    done
    for ((i = 0; i < n; i++)); do
        wait "${pids[i]}" || { status=$?; echo "---- this one failed:"; }
        cat "$tmp/part$i.out"
        [ $status != 77 ] || skip "one part cannot run here"
    done
    [ $status = 0 ] || fail "not all parts are right (seed ${seed:-none})"
}

end_part () { kill -TERM "$1" 2>/dev/null || true; }
