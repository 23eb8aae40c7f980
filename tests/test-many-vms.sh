#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Several virtual machines on one disk: each sees what it should when it should, and what each writes reaches the others and the cloud,
# whatever the others do at the same time.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 mdel mren mmd mmove mtype

seed=$(seed_for 9)
rounds=5
[ -z "${CLOUDSHARE_LONG:-}" ] || rounds=60

serve ()
{
    start_nbdkit "$PLUGIN" remote="${remote:-$tmp/remote}" cache="$tmp/cache" fs="${fs:-fat32}" size=300M partition=mbr timezone=utc \
        poll=1 settle=0.5 write-back=0 max-delete=100 linger="${LINGER:-1}" disk=shared "$@"
}

prepare ()
{
    mkdir -p "$tmp/remote/shared folder/folder in it" "$tmp/remote/second folder"
    for file in 'common file one.txt' 'shared folder/common file one.txt' 'shared folder/notes of today.md'; do
        echo "first content of $file" >"$tmp/remote/$file"
    done
    touch -d '1 hour ago' "$tmp/remote"/*.txt "$tmp/remote/shared folder"/*.*
    chmod -R a+rwX "$tmp/remote"
    if [ "${1:-dir}" = apache ]; then
        start_server apache "$tmp/remote"
        start_proxy
        remote=$URL
    fi
}

# vm NAME: switches a machine on; on NAME: makes it the one that mt and put mean; off NAME.
vm ()
{
    mkdir -p "$tmp/vm-$1"
    nbdfuse "$tmp/vm-$1/disk" "$(nbd_uri "$1/shared")" >>"$tmp/nbdfuse.log" 2>&1 &
    eval "vm_$1=$!"
    cleanup_fn off "$1"
    wait_until 20 test -s "$tmp/vm-$1/disk" || fail "nbdfuse does not work: $(cat "$tmp/nbdfuse.log")"
}
off ()
{
    local pid=vm_$1
    [ -n "${!pid:-}" ] || return 0
    wait_until 20 fusermount -u "$tmp/vm-$1" || kill -KILL "${!pid}" 2>/dev/null || true
    wait "${!pid}" 2>/dev/null || true
    eval "vm_$1="
}
# at NAME PROGRAM ARGUMENT...: mtools in that machine.
at ()
{
    local name=$1 program=$2
    shift 2
    MTOOLSRC=/dev/null "$program" -i "$tmp/vm-$name/disk@@1M" "$@" </dev/null
}
put () { echo "$3" >"$tmp/new"; at "$1" mcopy -D o "$tmp/new" "::/$2"; }
says () { [ "$(at "$1" mtype "::/$2" 2>/dev/null)" = "$3" ]; }
off_and_on () { for name; do off "$name"; done; sleep 1.5; for name; do vm "$name"; done; }
in_cloud () { wait_until 30 _in_cloud "$1" "$2" || fail "$1 is not \"$2\": $(find "$tmp/remote")"; }
_in_cloud () { [ "$(cat "$tmp/remote/$1" 2>/dev/null)" = "$2" ]; }
understood () { wait_until 60 eval '! ctl status | grep -qE "not yet understood"'; }
holds () { ls "$tmp/remote/$1"*"$2"* >/dev/null 2>&1 && grep -qrxF -- "$3" "$tmp/remote"; }

# ---- one thing after the other ----

story ()
{
    prepare "$1"
    serve
    vm a
    vm b
    vm c
    # Disjoint files: each arrives, and nobody is disturbed.
    put a 'from a.txt' 'of a'
    put b 'shared folder/from b.txt' 'of b'
    put c 'second folder/from c.txt' 'of c'
    in_cloud 'from a.txt' 'of a'
    in_cloud 'shared folder/from b.txt' 'of b'
    in_cloud 'second folder/from c.txt' 'of c'
    says a 'from a.txt' 'of a' || fail "a does not see its own"
    ! at b mtype '::/from a.txt' >/dev/null 2>&1 || fail "a pinned view has moved"
    # The same file in two: two files.  An edit against a removal, a move against an edit.
    put a 'common file one.txt' 'edited by a'
    understood
    put b 'common file one.txt' 'edited by b'
    at c mdel '::/shared folder/notes of today.md'
    put b 'shared folder/notes of today.md' 'b still needs them'
    at a mmove '::/shared folder/common file one.txt' '::/second folder'
    put c 'shared folder/common file one.txt' 'c edits what a moves'
    off a; off b; off c
    drained
    holds 'common file one' 'conflicted copy' 'edited by b' || fail "the second edit is lost: $(find "$tmp/remote")"
    in_cloud 'common file one.txt' 'edited by a'
    in_cloud 'shared folder/notes of today.md' 'b still needs them'
    in_cloud 'second folder/common file one.txt' 'c edits what a moves'
    [ ! -e "$tmp/remote/shared folder/common file one.txt" ] || fail "what was moved is there twice"
    sleep 1.5
    for name in a b c; do
        NBD_URI=$(nbd_uri $name/shared)
        same_content "$tmp/remote"
    done

    # The cloud is away: what one writes, the others have after they were switched off and on.
    vm a
    vm b
    remote_away "$1"
    sleep 2
    put a 'while away.txt' 'nobody can send this'
    at a mmd '::/away folder'
    put a 'away folder/in it.txt' 'nor this'
    at a mren '::/from a.txt' 'renamed by a.txt'
    at a mdel '::/second folder/from c.txt'
    put b 'common file one.txt' 'b, while away'
    off a
    understood
    off_and_on b c
    for name in b c; do
        says $name 'while away.txt' 'nobody can send this' || fail "$name has not got it: $(at $name mdir -/ ::/)"
        says $name 'away folder/in it.txt' 'nor this' || fail "$name has not got it: $(at $name mdir -/ ::/)"
        says $name 'renamed by a.txt' 'of a' || fail "$name has not got it: $(at $name mdir -/ ::/)"
        ! at $name mtype '::/second folder/from c.txt' >/dev/null 2>&1 || fail "$name still has what was removed"
        says $name 'common file one.txt' 'b, while away' || fail "$name has not got it: $(at $name mdir -/ ::/)"
    done
    # It goes on, and two meet while it is away.
    put b 'while away.txt' 'b, too'
    understood
    put c 'while away.txt' 'and c'
    off b; off c
    understood
    remote_back "$1"
    drained 90
    in_cloud 'while away.txt' 'b, too'
    holds 'while away' 'conflicted copy' 'and c' || fail "lost: $(find "$tmp/remote")"
    in_cloud 'away folder/in it.txt' 'nor this'
    in_cloud 'renamed by a.txt' 'of a'
    [ ! -e "$tmp/remote/second folder/from c.txt" ] || fail "what was removed is there"
    sleep 1.5
    for name in a b c; do
        NBD_URI=$(nbd_uri $name/shared)
        same_content "$tmp/remote"
    done
    stop_nbdkit
}

remote_away ()
{
    if [ "$1" = apache ]; then
        kill_nbdkit "$PROXY_PID"
    else
        mv "$tmp/remote" "$tmp/remote.away"
    fi
}
remote_back ()
{
    if [ "$1" = apache ]; then
        again_proxy
    else
        mv "$tmp/remote.away" "$tmp/remote"
    fi
}

# ---- all at once ----

# random MACHINES dir|apache SEED
random ()
{
    local uris=() i
    echo "seed $3: $1 machines, $2"
    prepare "$2"
    serve
    for ((i = 1; i <= $1; i++)); do
        uris+=("$(nbd_uri vm$i/shared)")
    done
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/manysided.py" "$tmp/remote" "$3" $rounds "${uris[@]}" ||
        { ctl status || true; fail "seed $3: see above"; }
    drained
    # A restart has nothing to tell.
    remote_state "$tmp/remote" >"$tmp/state"
    stop_nbdkit
    serve
    drained
    sleep 3
    remote_state "$tmp/remote" | diff "$tmp/state" - || fail "seed $3: a restart changes the remote"
    stop_nbdkit
}

# ---- what a view shows stays ----

# sums: of all of the disk, as $NBD_URI has it now.
sums () { nbdcopy "$NBD_URI" - | sha256sum; }

pinned ()
{
    prepare dir
    LINGER=20
    serve size=40M
    NBD_URI=$(nbd_uri a/shared)
    vm a
    put a 'mine.txt' 'of a'
    sums >"$tmp/before"
    # A cloud that does not stop changing, and another machine that writes.
    ( for i in {1..40}; do echo $i >"$tmp/remote/change $i.txt"; echo more >>"$tmp/remote/change 1.txt"; sleep 0.1; done ) &
    local changes=$!
    vm b
    put b 'of b.txt' 'of b'
    for i in {1..8}; do
        sleep 0.5
        sums | cmp "$tmp/before" - || fail "the generation has moved under a connected guest"
    done
    wait $changes
    # Clients that come back in time find the same bytes, however they went.
    off a
    sleep 1
    sums | cmp "$tmp/before" - || fail "the view has moved within linger="
    vm a
    echo half >"$tmp/half"
    # In the middle of writing: the server is killed, and there again.
    write_on &
    writer=$!
    sleep 1.5
    kill_nbdkit
    serve size=40M
    ln -sfn "$NBD_SOCKET" "$tmp/sock"
    wait $writer || fail "the writer: $?"
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/wroteall.py" check "$NBD_SOCKET" a/shared "$tmp/wrote" || fail "an acknowledged write is gone"
    stop_nbdkit
}

write_on ()
{
    ln -sfn "$NBD_SOCKET" "$tmp/sock"
    "$PYTHON" "$abs_top_srcdir/tests/fidelity/wroteall.py" write "$tmp/sock" a/shared "$tmp/wrote" 4
}

# ---- real guests ----

# guests FS: two real ones at once, with operations that touch nothing of each other, and some that do.
guests ()
{
    fs=$1
    prepare apache
    serve
    status=0
    python3 "$abs_top_srcdir/tests/fidelity/twoguests.py" "$fs" "$(nbd_uri a/shared)" "$(nbd_uri b/shared)" "$tmp/wrote" || status=$?
    [ $status != 77 ] || skip "there is no guest"
    [ $status = 0 ] || fail "the guests: status $status"
    drained 120
    tree_sums "$tmp/remote" >"$tmp/there"
    while read -r digest path; do
        grep -q "^$digest " "$tmp/there" || fail "lost: $path: $(find "$tmp/remote")"
    done <"$tmp/wrote"
    sleep 2
    for name in a b c; do
        NBD_URI=$(nbd_uri $name/shared)
        same_content "$tmp/remote"
    done
    stop_nbdkit
}

if [ $# -gt 0 ]; then
    "$@"
else
    echo "seed $seed"
    together <<END
story dir
story apache
random 3 dir $seed
random 4 apache $((seed + 1))
pinned
END
    together <<END
guests fat32
guests exfat
END
fi
