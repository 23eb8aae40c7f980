#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What goes wrong between the plugin and a server while files go up: answers that are lost, bodies that are cut, servers that
# stall, refuse, fail or are gone.  Whatever it is, in the end the cloud has what was written, nothing is sent again that the
# server has already, nothing becomes a conflict, and one change that cannot be sent holds up no other.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires apache2 curl
seed=$(seed_for 3)
echo "seed $seed"
RANDOM=$((seed % 32768))

mkdir -p "$tmp/remote/folder" "$tmp/want"
for i in 1 2 3 4 5 6; do
    head -c $((i * 7000)) /dev/urandom >"$tmp/remote/folder/file number $i.bin"
done
find "$tmp/remote" -exec touch -d '2 hours ago' {} +
cp -a "$tmp/remote/." "$tmp/want"
chmod -R a+rwX "$tmp/remote"
start_server apache "$tmp/remote"
start_proxy
start ()
{
    start_rw remote="$URL" fs=fat32 retry=1 timeout=8 poll=2
    attach
}
start

# Each changes the disk and what is wanted.
n=0
put ()          # PATH BYTES
{
    head -c "$2" /dev/urandom >"$tmp/want/$1"
    mt mcopy -D o "$tmp/want/$1" "::/$1"
}
folder () { mkdir "$tmp/want/$1"; mt mmd "::/$1"; }
remove () { rm "$tmp/want/$1"; mt mdel "::/$1"; }
rename () { mv "$tmp/want/$1" "$tmp/want/$2"; mt mren "::/$1" "${2##*/}"; }

# settled [SECONDS]: all of it is in the cloud.  While the disk is attached what is gone counts only after 40 seconds.
settled ()
{
    detach
    want "$tmp/want"
    becomes "${1:-120}" "$tmp/remote"
    no_conflicts "$tmp/remote"
    attach
}

# impatient: the same, without waiting for the times at which what failed is tried again.
impatient ()
{
    local i
    detach
    want "$tmp/want"
    for ((i = 0; i < 60; i++)); do
        ! _is_wanted "$tmp/remote" 2>/dev/null || break
        sleep 1
        ctl retry >/dev/null
    done
    attach
    settled 30
}

# once: no content got its name twice.  (Temporary names are for trials, too; and what was cut there is sent again.)
once ()
{
    awk 'function came (sha1) { if (sha1 !~ /^da39a3ee/ && seen[sha1]++) { print "twice:", $0; bad = 1 } }
         $1 == "PUT" && $2 ~ /^2/ && $5 ~ /cloudshare-upload/ { temporary[$5] = $4; next }
         $1 == "PUT" && $2 ~ /^2/ { came($4) }
         $1 == "MOVE" && $2 ~ /^2/ && $5 in temporary && $6 !~ /cloudshare-upload/ { came(temporary[$5]); delete temporary[$5] }
         END { exit bad }' "$tmp/requests" || fail "a content was sent again"
}

part () { echo "---- $*"; : >"$tmp/requests"; }

# What the server can do is tried before the first change is sent.
part 'nothing goes wrong'
put 'first of all.bin' 3000
settled 30
once

part 'answers are lost'
faults 'lost PUT 2' 'lost MKCOL 1' 'lost MOVE 1' 'lost DELETE 1'
put 'lost answer one.bin' 30000
put 'folder/file number 1.bin' 12000
folder 'new folder'
put 'new folder/in the new folder.txt' 100
rename 'folder/file number 2.bin' 'folder/renamed number 2.bin'
remove 'folder/file number 3.bin'
settled
once
[ "$(asked MOVE 2)" -ge 1 ] && [ "$(asked DELETE 2)" -ge 1 ] || fail "the server was not told to move and to delete"

part 'requests are not taken'
faults 'drop PUT 3' 'drop MOVE 1' 'cut PUT 2'
put 'dropped one.bin' 50000
put 'dropped two.bin' 60000
rename 'folder/renamed number 2.bin' 'folder/renamed again 2.bin'
settled
once

part 'a server that has trouble'
faults '500 PUT 1' '503 PUT 2' '502 MOVE 1' '423 PUT 1' '500-done PUT 1'
put 'trouble one.bin' 20000
put 'trouble two.bin' 21000
put 'trouble three.bin' 22000
rename 'folder/renamed again 2.bin' 'folder/renamed thrice 2.bin'
wait_until 60 grep -q '^PUT' "$tmp/requests"
impatient
once

part 'one file has no room, all others go on'
faults '507 PUT 1000 >39999'
put 'too large for the server.bin' 40000
put 'small enough.bin' 400
put 'folder/also small enough.bin' 500
has_the_others () { cmp -s "$tmp/want/small enough.bin" "$tmp/remote/small enough.bin" &&
    cmp -s "$tmp/want/folder/also small enough.bin" "$tmp/remote/folder/also small enough.bin"; }
wait_until 60 has_the_others || fail "one change holds up the others"
[ ! -e "$tmp/remote/too large for the server.bin" ] || fail "it is there"
ctl status >"$tmp/status.out"
grep -q 'too large for the server' "$tmp/status.out" || fail "status does not name it: $(cat "$tmp/status.out")"
! "$abs_top_builddir/cloudsharectl" drain --timeout=2 "$tmp/cache" >/dev/null 2>&1 || fail "drain says that all is there"
asked_507=$(asked PUT 0)
sleep 3
[ $(($(asked PUT 0) - asked_507)) -le 3 ] || fail "a full server is asked again and again"
faults
ctl retry
settled 60

part 'the server stalls'
faults 'stall PUT 1'
put 'stalled file.bin' 15000
settled 300
once

part 'the server is killed in the middle of uploads, and comes back'
faults 'slow PUT 100'
put 'slow one.bin' 300000
put 'slow two.bin' 310000
put 'slow three.bin' 320000
for i in 1 2 3; do
    sleep 1.$((RANDOM % 10))
    kill_nbdkit $PROXY_PID
    sleep 0.$((RANDOM % 10))
    again_proxy
done
faults
settled 120
once

part 'nobody is there for a while, and the plugin is started anew meanwhile'
kill_nbdkit $PROXY_PID
put 'written while away.bin' 5000
put 'folder/file number 4.bin' 6000
folder 'folder made while away'
put 'folder made while away/in it.bin' 7000
sleep 3
ctl status >"$tmp/status.out"
detach
stop_nbdkit
start
put 'written after the start.bin' 8000
rename 'folder/file number 5.bin' 'folder/renamed while away.bin'
sleep 3
detach
kill_nbdkit
again_proxy
start
settled
once
order=$(grep -nE 'folder%20made%20while%20away' "$tmp/requests" | head -n 1)
case $order in
    *MKCOL*|*PROPFIND*) ;;
    *) fail "the file before its folder: $order" ;;
esac

part 'somebody else locks a file'
lock='<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'
token=$(curl -sS -X LOCK -H 'Content-Type: text/xml' -H 'Timeout: Second-3600' --data "$lock" -D - -o /dev/null \
    "http://127.0.0.1:$PROXY_TO/folder/file%20number%206.bin" | tr -d '\r' | sed -n 's/^Lock-Token: //p')
[ -n "$token" ] || fail "Apache does not lock"
put 'folder/file number 6.bin' 9000
put 'not locked.bin' 900
detach
not_locked () { cmp -s "$tmp/want/not locked.bin" "$tmp/remote/not locked.bin"; }
wait_until 60 not_locked || fail "a lock holds up others"
# By whichever request it is that replaces the file.
wait_until 30 grep -qE '^(PUT|MOVE) 423 ' "$tmp/requests" || fail "the lock was not met"
! cmp -s "$tmp/want/folder/file number 6.bin" "$tmp/remote/folder/file number 6.bin" || fail "the lock was ignored"
curl -sS -X UNLOCK -H "Lock-Token: $token" "http://127.0.0.1:$PROXY_TO/folder/file%20number%206.bin"
ctl retry
settled 60

part 'what the server can do is tried while things go wrong'
detach
stop_nbdkit
rm -rf "$tmp/cache"
start
faults 'lost PUT 1' 'drop PUT 1' 'lost DELETE 1' 'lost MOVE 1' '500 PUT 1' 'lost MKCOL 1' 'drop DELETE 1'
put 'tried with trouble.bin' 4000
remove 'small enough.bin'
settled

for round in 1 2; do
    part "the same, anywhere ($round)"
    detach
    stop_nbdkit
    rm -rf "$tmp/cache"
    start
    all=(lost drop 500 500-done 503 502)
    methods=(PUT PUT MOVE MOVE DELETE MKCOL PROPFIND PROPPATCH)
    spoilt=()
    for i in 1 2 3; do
        spoilt+=("${all[RANDOM % ${#all[@]}]} ${methods[RANDOM % ${#methods[@]}]} $((RANDOM % 3 + 1))+$((RANDOM % 8))")
    done
    printf '%s\n' "${spoilt[@]}"
    faults "${spoilt[@]}"
    put "with trouble $round.bin" 4000
    [ $round = 1 ] || remove "with trouble $((round - 1)).bin"
    impatient
    faults
done

# killed FAULT: kill -9 while a request waits for its answer, whose file is there meanwhile; the next process removes it.
killed ()
{
    local method=$2
    part "the plugin is killed at: $*"
    detach
    stop_nbdkit
    # What the server can do has to be tried again; the cache stays.
    start
    faults "$*"
    put "killed at $n.bin" 20000
    n=$((n + 1))
    wait_until 30 grep -q "^$method .*cloudshare-upload" "$tmp/requests" || fail "there was no $method"
    wait_until 10 has_uploads || fail "nothing was left behind"
    kill_nbdkit
    detach
    has_uploads || fail "nothing was left behind"
    faults
    start
    settled
}
has_uploads () { find "$tmp/remote" -name '*cloudshare-upload*' | grep -q .; }
killed stall PUT 1
killed stall MKCOL 1 cloudshare-upload
killed stall PUT 1 '>19999'

part 'others upload, too'
others=$tmp/remote/.cloudshare-upload-$(printf %010x "$(date +%s)")-0123456789abcdef
echo under way >"$others"
put 'not alone.bin' 6000
not_alone () { cmp -s "$tmp/want/not alone.bin" "$tmp/remote/not alone.bin"; }
wait_until 30 not_alone
sleep 3
[ -e "$others" ] || fail "an upload of others was removed"
rm "$others"
settled

detach
drained
remote_state "$tmp/remote" >"$tmp/state"
stop_nbdkit
part 'and nothing is left to do'
start_rw remote="$URL" fs=fat32
drained
sleep 2
remote_state "$tmp/remote" | diff "$tmp/state" - || fail "a restart changes the remote"
[ "$(asked PUT)" = 0 ] || fail "a restart sends files"
stop_nbdkit
