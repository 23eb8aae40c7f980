#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Rules, by a real nbdkit: what is on a disk (disk=), who may have it (vm=), config=FILE, and what becomes of all that when the
# cloud changes, when guests write, at a reload and at a restart.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 nbdinfo setpriv mdel mren mmd mdeltree curl

# serve [KEY=VALUE...]: nbdkit on $remote (or $tmp/remote), with little patience.
serve ()
{
    start_nbdkit "$PLUGIN" remote="${remote:-$tmp/remote}" cache="$tmp/cache" fs=fat32 size=64M partition=mbr timezone=utc \
        poll=1 settle=0.3 write-back=0 max-delete=100 linger="${LINGER:-0}" "$@"
}

# on NAME: which export is looked at and written to from here on.
on ()
{
    NBD_URI=$(nbd_uri "$1")
    echo "$NBD_URI" >"$tmp/uri"
}

# shows NAME LINE...: the disk shows these files and folders and no others, now or soon.
shows ()
{
    local name=$1
    shift
    on "$name"
    printf '%s\n' "$@" | LC_ALL=C sort >"$tmp/want.names"
    wait_until "${PATIENCE:-20}" _shows || { diff "$tmp/want.names" "$tmp/got.names" || true; fail "$name shows something else"; }
}

_shows ()
{
    on_disk ls >"$tmp/got.ls" && cut -d' ' -f2- "$tmp/got.ls" | LC_ALL=C sort >"$tmp/got.names" &&
        cmp -s "$tmp/want.names" "$tmp/got.names"
}

# exports [COMMAND...]: their names, as nbdinfo lists them.
exports ()
{
    "$@" nbdinfo --list --json "$(nbd_uri '')" 2>"$tmp/nbdinfo.err" | python3 -c 'import json, sys
print (*[export["export-name"] for export in json.load (sys.stdin)["exports"]])'
}

opens () { nbdinfo --size "$(nbd_uri "$1")" >/dev/null 2>"$tmp/nbdinfo.err"; }
may_not_open () { ! opens "$1" || fail "$1 can be opened"; }

# in_cloud PATH TEXT: the file gets this content in the cloud.
in_cloud () { wait_until "${3:-30}" _in_cloud "$1" "$2" || fail "$1 is not \"$2\": $(cd "$tmp/remote" && find . | sort | tr '\n' ' ')"; }
_in_cloud () { [ "$(cat "$tmp/remote/$1" 2>/dev/null)" = "$2" ]; }
not_in_cloud () { wait_until 30 test ! -e "$tmp/remote/$1" || fail "$1 is still in the cloud"; }

# put PATH TEXT: the guest writes a file.
put () { echo "$2" >"$tmp/new"; mt mcopy -D o "$tmp/new" "::/$1"; }

# write NAME COMMANDS: a guest is switched on, does this, and is switched off.
write ()
{
    on "$1"
    attach
    eval "$2"
    detach
}

make ()
{
    local path
    for path; do
        mkdir -p "$(dirname "$tmp/remote/$path")"
        echo "this is $path" >"$tmp/remote/$path"
    done
    chmod -R a+rwX "$tmp/remote"
}

ctl_says ()
{
    local status=0 want=$1 text=$2
    shift 2
    "$abs_top_builddir/cloudsharectl" "$@" >"$tmp/ctl.out" 2>&1 || status=$?
    [ $status = "$want" ] || fail "cloudsharectl $*: status $status, $(cat "$tmp/ctl.out")"
    grep -qF -- "$text" "$tmp/ctl.out" || fail "cloudsharectl $*: nothing of \"$text\": $(cat "$tmp/ctl.out")"
}

# ---- what is on a disk ----

by_folder ()
{
    make 'Photos/a.jpg' 'Photos/2020/b.jpg' 'Work/Photos/c.jpg' 'Work/Letters, old/d.txt' 'e.txt' 'Deep/x/y/z.txt'
    refused 'no folder "Nowhere"' remote="$tmp/remote" cache="$tmp/cache0" disk=a,folder=/Photos disk=b,folder=Nowhere
    # Also where the disk has been something else before: it is not served as that.
    refused 'no folder "e.txt"' remote="$tmp/remote" cache="$tmp/cache0" disk=a,folder=e.txt
    refused 'no folder "Gone"' remote="$tmp/remote" cache="$tmp/cache0" disk=two,folder=Photos,folder=Gone
    serve disk=one,folder=/Photos/ disk=two,folder=Photos,folder=Work/Photos 'disk=comma,folder=Work/Letters\, old' disk=all \
        disk=deep,folder=//Deep/x/y
    shows one a.jpg 2020/ 2020/b.jpg
    shows vm1/two Photos/ Photos/a.jpg Photos/2020/ Photos/2020/b.jpg 'Photos (2)/' 'Photos (2)/c.jpg'
    shows comma d.txt
    shows deep z.txt
    shows all Photos/ Photos/a.jpg Photos/2020/ Photos/2020/b.jpg Work/ Work/Photos/ Work/Photos/c.jpg 'Work/Letters, old/' \
        'Work/Letters, old/d.txt' e.txt Deep/ Deep/x/ Deep/x/y/ Deep/x/y/z.txt

    # Renamed in the cloud: the disk follows.
    mv "$tmp/remote/Photos" "$tmp/remote/Pictures"
    sleep 2
    shows one a.jpg 2020/ 2020/b.jpg
    make Pictures/f.jpg
    shows one a.jpg f.jpg 2020/ 2020/b.jpg
    mv "$tmp/remote/Pictures" "$tmp/remote/Photos"
    sleep 2
    make Photos/g.jpg
    shows one a.jpg f.jpg g.jpg 2020/ 2020/b.jpg

    # Deleted, and made again: another folder by the same name.
    rm -r "$tmp/remote/Photos"
    logged 'disk one: the remote has no folder "Photos"'
    shows comma d.txt
    make Work/Photos/h.jpg
    make Photos/new.jpg
    shows one new.jpg
    shows two Photos/ Photos/new.jpg 'Photos (2)/' 'Photos (2)/c.jpg' 'Photos (2)/h.jpg'

    # The first of several folders takes what is put beside them; they themselves stay.
    write vm1/two 'put beside.txt beside; put "Photos (2)/in.txt" in; mt mmd ::/folder; put folder/x.txt x'
    in_cloud Photos/beside.txt beside
    in_cloud Work/Photos/in.txt in
    in_cloud Photos/folder/x.txt x
    write vm1/two 'mt mren "::/Photos (2)" ::/Others'
    drained_all
    [ -d "$tmp/remote/Work/Photos" ] || fail "a folder of folder= was renamed"
    write vm2/two 'mt mdeltree "::/Photos (2)"'
    drained_all
    [ -d "$tmp/remote/Work/Photos" ] || fail "a folder of folder= was removed"
    not_in_cloud Work/Photos/c.jpg
    stop_nbdkit
}

drained_all ()
{
    sleep 1
    drained 60
}

by_type ()
{
    make pics/a.jpg pics/fake.jpg pics/noext pics/b.odd pics/t.txt docs/letter.pdf docs/sub/deep/hidden.txt mixed/m.JPEG mixed/m.txt \
        music/song.mp3 .git/objects/p.png .git/c.txt
    start_server apache "$tmp/remote"
    cat >>"$SERVER_STATE/httpd.conf" <<END
AddType image/x-odd .odd
<Files "noext">
  ForceType image/png
</Files>
<Files "fake.jpg">
  ForceType text/plain
</Files>
END
    kill -HUP "$SERVER_PID"
    sleep 1
    wait_until 10 curl -sf "$URL/pics/a.jpg"
    remote=$URL
    serve disk=pics,type=image disk=pdf,type=application/pdf disk=either,type=audio,type=document 'disk=main,type=image/*,exclude=.git' \
        'disk=glob,glob=*.jp*g' 'disk=nogit,exclude=.git,exclude=*.txt' 'disk=both,folder=pics,folder=mixed,type=image,glob=[am]*,exclude=*.jpeg'
    shows pics pics/ pics/a.jpg pics/noext pics/b.odd mixed/ mixed/m.JPEG .git/ .git/objects/ .git/objects/p.png
    shows pdf docs/ docs/letter.pdf
    shows either docs/ docs/letter.pdf music/ music/song.mp3
    shows main pics/ pics/a.jpg pics/noext pics/b.odd mixed/ mixed/m.JPEG
    shows glob pics/ pics/a.jpg pics/fake.jpg mixed/ mixed/m.JPEG
    shows nogit pics/ pics/a.jpg pics/fake.jpg pics/noext pics/b.odd docs/ docs/letter.pdf mixed/ mixed/m.JPEG \
        music/ music/song.mp3
    shows both pics/ pics/a.jpg mixed/

    # A folder is shown when something comes into it, however deep; and only then.
    make docs/sub/deep/new.jpg
    shows pics pics/ pics/a.jpg pics/noext pics/b.odd mixed/ mixed/m.JPEG .git/ .git/objects/ .git/objects/p.png docs/ docs/sub/ \
        docs/sub/deep/ docs/sub/deep/new.jpg
    rm "$tmp/remote/docs/sub/deep/new.jpg"
    shows pics pics/ pics/a.jpg pics/noext pics/b.odd mixed/ mixed/m.JPEG .git/ .git/objects/ .git/objects/p.png
    mv "$tmp/remote/pics" "$tmp/remote/docs/sub/"
    shows main docs/ docs/sub/ docs/sub/pics/ docs/sub/pics/a.jpg docs/sub/pics/noext docs/sub/pics/b.odd mixed/ mixed/m.JPEG
    mv "$tmp/remote/docs/sub/pics" "$tmp/remote/.git/"
    shows main mixed/ mixed/m.JPEG
    stop_nbdkit
}

# ---- what guests write there ----

own ()
{
    make pics/a.jpg pics/hidden.txt pics/other.jpg both/b.jpg both/keep.txt both/sub/keep2.txt secret/s.jpg secret/in/t.jpg
    serve 'disk=pics,type=image,exclude=secret' disk=all
    shows vm1/pics pics/ pics/a.jpg pics/other.jpg both/ both/b.jpg
    # What does not match stays where it was made.
    write vm1/pics 'put pics/notes.doc notes; put pics/new.jpg new; mt mmd ::/empty; mt mren ::/pics/a.jpg "a renamed.bak"; mt mmd ::/empty/two; put empty/two/x.txt x'
    in_cloud pics/notes.doc notes
    in_cloud 'pics/a renamed.bak' 'this is pics/a.jpg'
    not_in_cloud pics/a.jpg
    in_cloud empty/two/x.txt x
    mine=(pics/ 'pics/a renamed.bak' pics/notes.doc pics/new.jpg pics/other.jpg both/ both/b.jpg empty/ empty/two/ empty/two/x.txt)
    shows vm1/pics "${mine[@]}"
    shows vm2/pics "${mine[@]}"
    stop_nbdkit
    serve 'disk=pics,type=image,exclude=secret' disk=all
    shows vm1/pics "${mine[@]}"
    # ... and goes on as any other: edited here, edited elsewhere.
    write vm1/pics 'put pics/notes.doc more'
    in_cloud pics/notes.doc more
    write vm1/all 'put pics/notes.doc again'
    in_cloud pics/notes.doc again
    sleep 2
    on vm2/pics
    wait_until 10 on_disk_says pics/notes.doc again

    # A name that exists, and is hidden: both stay.
    write vm1/pics 'put pics/hidden.txt "of the guest"'
    wait_until 30 eval 'grep -qx "of the guest" "$tmp/remote/pics/hidden (conflicted copy"*.txt'
    in_cloud pics/hidden.txt 'this is pics/hidden.txt'
    sleep 2
    on vm1/pics
    on_disk ls >"$tmp/ls"
    grep -q 'pics/hidden (conflicted copy .*\.txt$' "$tmp/ls" || fail "the guest's file is not on its disk: $(cat "$tmp/ls")"
    ! grep -q 'pics/hidden.txt$' "$tmp/ls" || fail "the hidden file came to be shown"
    rm "$tmp/remote/pics/hidden (conf"*

    # A folder that is kept out does not come in by being made once more.
    write vm1/pics 'mt mmd ::/secret; put secret/mine.jpg mine; mt mmd ::/secret/in; put secret/in/mine.txt mine'
    wait_until 30 eval 'grep -rqx mine "$tmp/remote/"secret*/mine.jpg && grep -rqx mine "$tmp/remote"/secret*/in/mine.txt'
    sleep 2
    on vm1/pics
    on_disk ls >"$tmp/ls"
    ! grep -E '/(s|t)\.jpg$' "$tmp/ls" || fail "files of an excluded folder came to be shown"
    [ "$(grep -c 'secret.*mine' "$tmp/ls")" = 2 ] || fail "the guest's files are not on its disk: $(cat "$tmp/ls")"
    on_disk sums >/dev/null

    # A folder that has more in it than the guest knows is not removed with it.
    write vm1/pics 'mt mdeltree ::/both'
    not_in_cloud both/b.jpg
    drained_all
    in_cloud both/keep.txt 'this is both/keep.txt'
    in_cloud both/sub/keep2.txt 'this is both/sub/keep2.txt'
    make both/back.jpg
    on vm2/pics
    wait_until 20 disk_has both/back.jpg
    # A move takes the hidden ones along.
    write vm2/pics 'mt mren ::/both "moved here"'
    in_cloud "moved here/back.jpg" 'this is both/back.jpg'
    in_cloud "moved here/keep.txt" 'this is both/keep.txt'
    stop_nbdkit
}

on_disk_says () { [ "$(on_disk cat "$1")" = "$2" ]; }

# The folder of a disk goes away while a guest writes to it: what it wrote is not lost.
gone_below ()
{
    make Photos/a.jpg Photos/sub/b.jpg Other/c.jpg Work/d.jpg
    serve disk=one,folder=Photos disk=two,folder=Other,folder=Work
    shows vm1/one a.jpg sub/ sub/b.jpg
    on vm1/one
    attach
    put before.txt before
    in_cloud Photos/before.txt before
    rm -r "$tmp/remote/Photos"
    logged 'disk one: the remote has no folder "Photos"'
    put after.txt after
    put sub/after.txt 'after too'
    wait_until 30 eval 'grep -rqx after "$tmp/remote" && grep -rqx "after too" "$tmp/remote"' || fail "lost: $(find "$tmp/remote"); $(ctl status)"
    detach
    drained_all
    find "$tmp/remote" | sort
    # One of several goes: the others go on.
    rm -r "$tmp/remote/Other"
    logged 'disk two: the remote has no folder "Other"'
    make Work/e.jpg
    wait_until 20 two_has Work/e.jpg
    shows vm9/two Work/ Work/d.jpg Work/e.jpg
    write vm8/two 'put beside.txt beside'
    in_cloud Other/beside.txt beside
    shows vm9/two Other/ Other/beside.txt Work/ Work/d.jpg Work/e.jpg
    stop_nbdkit
}

two_has () { on vm9/two; disk_has "$1"; }

# ---- who may have it ----

who ()
{
    local nobody=nobody
    make a.txt Docs/b.txt Photos/c.jpg
    setpriv --reuid=$nobody --clear-groups true 2>/dev/null || skip "setpriv cannot become another user"
    serve disk=all disk=docs,folder=Docs disk=photos,folder=Photos,ro vm=vm1,disk=docs,disk=all:ro "vm=vm2,disk=docs,uid=$nobody" \
        vm=vm3,disk=photos,uid=0
    chmod 755 "$tmp"
    chmod 666 "$NBD_SOCKET"
    [ "$(exports)" = "vm1/docs vm1/all vm3/photos" ] || fail "root sees: $(exports)"
    [ "$(exports setpriv --reuid=$nobody --clear-groups)" = "vm1/docs vm1/all vm2/docs" ] ||
        fail "nobody sees: $(exports setpriv --reuid=$nobody --clear-groups)"
    for name in '' docs all vm2/docs vm4/docs vm1/photos vm1 /docs vm1/ vm1/docs/ x/vm1/docs vm1//docs VM1/docs 'vm1/docs '; do
        may_not_open "$name"
    done
    for name in vm1/docs vm1/all vm3/photos; do
        opens "$name" || fail "$name cannot be opened: $(cat "$tmp/nbdinfo.err")"
    done
    setpriv --reuid=$nobody --clear-groups nbdinfo --size "$(nbd_uri vm2/docs)" >/dev/null || fail "vm2/docs is not its user's"
    ! setpriv --reuid=$nobody --clear-groups nbdinfo --size "$(nbd_uri vm3/photos)" >/dev/null 2>&1 || fail "vm3/photos is not only its user's"
    [ "$(nbdinfo --can readonly "$(nbd_uri vm1/docs)" && echo ro || echo rw)" = rw ] || fail "vm1/docs cannot be written"
    nbdinfo --is read-only "$(nbd_uri vm1/all)" || fail "vm1/all can be written"
    nbdinfo --is read-only "$(nbd_uri vm3/photos)" || fail "vm3/photos can be written"
    # Not even by a client that does not ask.
    "$PYTHON" - "$(nbd_uri vm1/all)" <<'PY'
import nbd, sys
h = nbd.NBD ()
h.set_strict_mode (0)
h.connect_uri (sys.argv[1])
before = h.pread (512, 1 << 20)
for change in (lambda: h.pwrite (b"x" * 512, 1 << 20), lambda: h.zero (512, 1 << 20), lambda: h.trim (512, 1 << 20)):
  try:
    change ()
    sys.exit ("a read-only disk was written")
  except nbd.Error:
    pass
assert h.pread (512, 1 << 20) == before
PY
    # Said once for each name, however often it is asked for.
    may_not_open vm1/photos
    [ "$(grep -c 'vm1/photos' "$NBDKIT_LOG")" = 1 ] || fail "not said once"
    stop_nbdkit

    # The one export that there is for a side is its default.
    serve disk=docs,folder=Docs disk=photos,folder=Photos "vm=vm1,disk=docs,uid=$nobody" vm=vm2,disk=photos,uid=0
    shows '' c.jpg
    stop_nbdkit
    serve disk=docs,folder=Docs disk=photos,folder=Photos
    may_not_open ''
    may_not_open vm1/nothing
    [ "$(exports)" = "docs photos" ] || fail "there is: $(exports)"
    stop_nbdkit
    # Over TCP nobody has a user.
    start_tcp disk=docs,folder=Docs vm=vm1,disk=docs,uid=0
    ! nbdinfo --size "nbd://127.0.0.1:$port/vm1/docs" >/dev/null 2>&1 || fail "uid= counts over TCP"
    stop_nbdkit
}

start_tcp ()
{
    port=$(python3 -c 'import socket; s = socket.socket (); s.bind (("127.0.0.1", 0)); print (s.getsockname ()[1])')
    "$NBDKIT" -f -i 127.0.0.1 -p "$port" -P "$tmp/tcp.pid" "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" fs=fat32 size=64M "$@" \
        >>"$tmp/tcp.log" 2>&1 </dev/null &
    NBDKIT_PID=$!
    cleanup_fn kill_nbdkit $NBDKIT_PID
    wait_until 60 test -s "$tmp/tcp.pid"
}

# ---- the file ----

file ()
{
    make a.txt Docs/b.txt
    local conf=$tmp/a.conf n=0
    bad ()
    {
        printf '%s\n' '# comment' '' "$2" >"$conf"
        ! timeout 60 "$NBDKIT" -f -U "$tmp/refused.sock" "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache0" config="$conf" \
            >"$tmp/refused.out" 2>&1 </dev/null || fail "it started: $2"
        grep -qF -- "$conf:3: " "$tmp/refused.out" && grep -qF -- "$1" "$tmp/refused.out" ||
            fail "nothing of \"$1\", or of the line: $(cat "$tmp/refused.out")"
    }
    bad 'has no "="' 'disk photos'
    ! grep -q photos "$tmp/refused.out" || fail "a line that may be a password is shown"
    bad 'no key' '= x'
    bad 'config=' "config = $conf"
    bad 'nothing' 'nothing = x'
    bad 'disk=x' 'disk = x,folders=/a'
    bad 'disk=x' 'disk = x,fs=ntfs'
    bad 'size' 'disk = x,size=lots'
    bad 'vm=v' 'vm = v'
    bad 'nodisk' 'vm = v,disk=nodisk'
    bad 'uid' 'vm = v,disk=cloud,uid=no-such-user-here'
    bad 'linger' 'linger = soon'
    printf 'disk=a\ndisk=a\n' >"$conf"
    refused "$conf:2" remote="$tmp/remote" cache="$tmp/cache0" config="$conf"
    refused "$tmp/none.conf: " remote="$tmp/remote" cache="$tmp/cache0" config="$tmp/none.conf"
    refused "/dev/zero: is not a file" remote="$tmp/remote" cache="$tmp/cache0" config=/dev/zero

    # A reload, with somebody connected all the time.
    printf '%s\n' 'disk = docs,folder=Docs' 'disk = all' 'vm = vm1,disk=docs,disk=all' 'vm = vm2,disk=all' >"$conf"
    serve config="$conf"
    on vm2/all
    attach
    put kept.txt kept
    # A machine less, one more, a disk more, another choice for a disk.
    printf '%s\n' 'disk = docs,folder=Docs,glob=*.txt' 'disk = all,exclude=Docs' 'disk = new,folder=New' 'vm = vm1,disk=docs,disk=new' \
        'vm = vm3,disk=all' >"$conf"
    ctl_says 1 'no folder "New"' reload "$tmp/cache"
    opens vm2/all || fail "a reload that failed took something away"
    may_not_open vm3/all
    make New/n.txt Docs/c.md
    PATIENCE=20
    wait_until 20 eval 'ctl reload >/dev/null 2>&1' || fail "reload: $(ctl reload 2>&1)"
    may_not_open vm2/all
    may_not_open vm1/all
    [ "$(exports)" = "vm1/docs vm1/new vm3/all" ] || fail "there is: $(exports)"
    put still.txt 'still there'
    in_cloud still.txt 'still there'
    shows vm1/new n.txt
    shows vm1/docs b.txt
    shows vm3/all a.txt kept.txt still.txt New/ New/n.txt
    detach

    # What it cannot do, and what is wrong, is said where it was asked for.
    cp "$conf" "$tmp/good.conf"
    reload_fails () { ctl_says 1 "$1" reload "$tmp/cache"; [ "$(exports)" = "vm1/docs vm1/new vm3/all" ] || fail "a bad file changed something: $(exports)"; }
    printf '%s\n' 'vm = vm1,disk=docs' 'disk = docs,fodler=Docs' >"$conf"
    reload_fails "$conf:2: "
    printf 'disk docs\n' >"$conf"
    reload_fails "$conf:1: "
    printf '%s\n' 'disk = docs,folder=Docs' 'vm = vm1,disk=gone' >"$conf"
    reload_fails 'gone'
    rm "$conf"
    reload_fails "$conf: cannot be opened"
    sed 's/disk = docs/&,fs=exfat/' "$tmp/good.conf" >"$conf"
    ctl_says 0 'restart' reload "$tmp/cache"
    grep -q docs "$tmp/ctl.out" || fail "it does not say which disk: $(cat "$tmp/ctl.out")"
    shows vm1/docs b.txt
    { cat "$tmp/good.conf"; echo poll=5; } >"$conf"
    ctl_says 0 'poll' reload "$tmp/cache"
    grep -q restart "$tmp/ctl.out" || fail "it does not say that a restart is needed: $(cat "$tmp/ctl.out")"
    # A disk less serves who has it.
    on vm3/all
    attach
    printf '%s\n' 'disk = docs,folder=Docs' 'vm = vm1,disk=docs' >"$conf"
    ctl_says 0 '' reload "$tmp/cache"
    [ "$(exports)" = "vm1/docs" ] || fail "there is: $(exports)"
    put late.txt late
    in_cloud late.txt late
    detach
    may_not_open vm3/all
    # And it comes back.
    cp "$tmp/good.conf" "$conf"
    ctl_says 0 '' reload "$tmp/cache"
    shows vm3/all a.txt kept.txt still.txt late.txt New/ New/n.txt
    for i in {1..30}; do
        sed "s/exclude=Docs/exclude=Docs,exclude=x$i/" "$tmp/good.conf" >"$conf"
        ctl reload >/dev/null
    done
    shows vm3/all a.txt kept.txt still.txt late.txt New/ New/n.txt
    stop_nbdkit
}

# ---- refresh and restart ----

again ()
{
    make a.txt Docs/b.txt
    LINGER=300
    serve disk=all disk=docs,folder=Docs
    on vm1/all
    attach
    mt mdir ::/ >/dev/null
    put mine.txt mine
    in_cloud mine.txt mine
    make news.txt
    on vm9/all
    wait_until 20 disk_has news.txt
    on vm1/all
    ! disk_has news.txt || fail "a pinned view moved"
    ctl_says 1 'no view "nobody/all"' refresh "$tmp/cache" nobody/all
    # Its volume is marked as mounted.
    mark 0
    wait_until 20 eval '{ "$abs_top_builddir/cloudsharectl" refresh "$tmp/cache" vm1/all 2>&1 || true; } | grep mounted' ||
        fail "refresh: $("$abs_top_builddir/cloudsharectl" refresh "$tmp/cache" vm1/all 2>&1)"
    on vm1/all
    ! disk_has news.txt || fail "a mounted view moved"
    mark 1
    # What mark wrote has to be looked at first.
    wait_until 20 eval '"$abs_top_builddir/cloudsharectl" refresh "$tmp/cache" vm1/all >/dev/null 2>&1' ||
        fail "refresh: $("$abs_top_builddir/cloudsharectl" refresh "$tmp/cache" vm1/all 2>&1)"
    on vm1/all
    disk_has news.txt || fail "refreshed, and nothing new is there"
    disk_has mine.txt || fail "refreshed, and what it wrote is gone"
    detach

    # A view that holds writes keeps its disk as it is.
    on vm1/docs
    attach
    mark 0
    put unsure.txt 'nobody knows'
    detach
    stop_nbdkit
    for other in fs=exfat size=128M partition=gpt label=OTHER; do
        refuses_other "$other"
    done
    # Not asked for any more: its disk waits.
    serve disk=all
    logged 'disk docs is not asked for any more'
    stop_nbdkit
    serve disk=all disk=docs,folder=Docs
    on vm1/docs
    disk_has unsure.txt || fail "what the guest wrote is gone"
    attach
    [ "$(mt mtype ::/unsure.txt)" = 'nobody knows' ] || fail "what the guest wrote is gone"
    mark 1
    detach
    in_cloud Docs/unsure.txt 'nobody knows'
    drained_all
    ctl_says 0 '' forget-view "$tmp/cache" vm1/docs
    # A view that only looked is no reason.
    opens vm5/docs
    stop_nbdkit
    serve disk=all disk=docs,folder=Docs,size=128M
    on vm1/docs
    [ "$(nbdinfo --size "$NBD_URI")" = $((128 << 20)) ] || fail "the disk was not made anew"
    stop_nbdkit
}

refuses_other ()
{
    local status=0
    timeout 60 "$NBDKIT" -f -U "$tmp/other.sock" "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" timezone=utc fs=fat32 size=64M \
        partition=mbr disk=all "disk=docs,folder=Docs,$1" >"$tmp/other.out" 2>&1 </dev/null || status=$?
    [ $status = 1 ] || fail "$1: status $status: $(cat "$tmp/other.out")"
    grep -q 'ask for another disk than the one that "vm1/docs" still holds' "$tmp/other.out" || fail "$1: $(cat "$tmp/other.out")"
}

# mark 0|1: the guest marks its volume as mounted, or as clean (FAT[1]).
mark ()
{
    "$PYTHON" - "$tmp/nbd/disk" "$1" <<'PY'
import os, struct, sys
fd = os.open (sys.argv[1], os.O_RDWR)
start = struct.unpack ("<I", os.pread (fd, 4, 454))[0] * 512
byte = os.pread (fd, 1, start + 65)[0]
os.pwrite (fd, bytes ([byte & ~1 if sys.argv[2] == "1" else byte | 1]), start + 65)
os.fsync (fd)
PY
}

if [ $# -gt 0 ]; then
    "$@"
else
    together <<END
by_folder
by_type
own
gone_below
who
file
again
END
fi
