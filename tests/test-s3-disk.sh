#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A bucket of a real S3 server as a FAT32 disk: what is in the bucket is on the disk; what mtools write to the disk gets into the
# bucket, as others see both; a restart changes nothing; and moves that a crash or the network has stopped in the middle come to
# their end.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
. "$(dirname "$0")/fidelity/functions.sh"
requires_writers
requires ceph-mon ceph-osd radosgw radosgw-admin
requires_run python3 -c 'import boto3'

export S3_ACCESS=cloudshare-key S3_SECRET=cloudshare-secret HOME=$tmp
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3

seed=$(seed_for 634115968)
count=200
[ -z "${CLOUDSHARE_LONG:-}" ] || count=2000
echo "seed $seed"

s3 ()
{
    python3 "$abs_top_srcdir/tests/s3tool.py" "$DIRECT" cloudshare "$@"
}

# fetch: the bucket becomes the folder $tmp/seen, by another client.
fetch ()
{
    rm -rf "$tmp/seen"
    mkdir "$tmp/seen"
    s3 copyto "$tmp/seen" files/
}

same ()
{
    fetch && fidelity "$plan" compare "$tmp/seen"
}

serve ()
{
    start_rw remote=s3://cloudshare/files endpoint="$URL" access-key=$S3_ACCESS secret-key=+"$tmp/secret" fs=fat32 poll=1 \
        retry=1 "$@"
}

rule ()
{
    printf '%s\n' "$@" >"$tmp/rules"
}

printf %s $S3_SECRET >"$tmp/secret"
mkdir "$tmp/none" "$tmp/remote"
start_server rgw "$tmp/none"
DIRECT=${URL%/}
: >"$tmp/rules"
python3 "$abs_top_srcdir/tests/servers/s3proxy.py" "$DIRECT" "$tmp/rules" "$tmp/requests" >"$tmp/proxy.out" 2>"$tmp/proxy.log" </dev/null &
cleanup_fn kill_nbdkit $!
wait_until 10 test -s "$tmp/proxy.out"
. "$tmp/proxy.out"
URL=http://127.0.0.1:$PORT

# ---- random operations of mtools ----

plan=$seed,$count,mtools
fidelity "$plan" tree "$tmp/remote"
s3 put files/ /dev/null
s3 copyfrom "$tmp/remote" files/
serve
tree_sums "$tmp/remote" >"$tmp/want.sums"
same_content "$tmp/remote"
: >"$tmp/requests"
fidelity "$plan" mtools "$NBD_URI"
wait_until 120 same || { same || true; ctl status || true; fail "seed $seed: see above"; }
drained
same
no_conflicts "$tmp/seen"
none_came_back
echo "requests of $count operations: $(cut -d ' ' -f 1 "$tmp/requests" | sort | uniq -c | awk '{ printf "%s %s ", $1, $2 }')"
s3 state >"$tmp/state"
stop_nbdkit
serve
drained
sleep 3
s3 state | diff "$tmp/state" - || fail "seed $seed: a restart changes the bucket"

# Times: the guest's are kept beside the object, and stay on the disk, although a listing shows others.
attach
head -c 5000 /dev/urandom >"$tmp/dated"
touch -d '2015-05-05 05:05:04 UTC' "$tmp/dated"
TZ=UTC mt mcopy -m "$tmp/dated" ::dated.bin
drained
wait_until 20 s3 head files/dated.bin
s3 head files/dated.bin | grep -q '^mtime=1430802304' || fail "another time in the bucket: $(s3 head files/dated.bin)"
sleep 3
detach
on_disk ls | grep dated.bin
attach
TZ=UTC mt mdir ::dated.bin | grep -q '2015-05-05' || fail "another time on the disk: $(mt mdir ::dated.bin)"

# ---- moves that are stopped between copy and removal ----

# stopped NAME RULE REGEX: moves NAME to "NAME moved" while the rule holds, kills nbdkit when a request was logged that fits, and
# starts it again without the rule.
stopped ()
{
    rule "$2"
    : >"$tmp/requests"
    mt mren "::$1" "$1 moved"
    wait_until 30 grep -qE "$3" "$tmp/requests"
    detach
    kill_nbdkit
    rule
    serve
    drained
    fetch
    attach
}

mt mcopy "$tmp/dated" ::one.bin
mt mmd ::dir
for i in 1 2 3; do
    mt mcopy "$tmp/dated" ::dir/$i.bin
done
sleep 2
drained
stopped one.bin 'DELETE files/one.bin drop' 'DELETE /cloudshare/files/one.bin .*drop'
[ ! -e "$tmp/seen/one.bin" ] && cmp "$tmp/dated" "$tmp/seen/one.bin moved" || fail "a file's move: $(s3 keys)"
no_conflicts "$tmp/seen"
stopped dir 'DELETE files/dir/2.bin drop' 'DELETE /cloudshare/files/dir/2.bin .*drop'
[ ! -e "$tmp/seen/dir" ] && [ "$(ls "$tmp/seen/dir moved" | wc -l)" = 3 ] || fail "a folder's move: $(s3 keys)"
no_conflicts "$tmp/seen"
stopped "dir moved" 'PUT files/dir%20moved%20moved/2.bin drop' 'PUT /cloudshare/files/dir%20moved%20moved/2.bin .*drop'
[ ! -e "$tmp/seen/dir moved" ] && [ "$(ls "$tmp/seen/dir moved moved" | wc -l)" = 3 ] || fail "a folder's move: $(s3 keys)"
no_conflicts "$tmp/seen"
detach

# ---- both sides ----

# Somebody else's change comes to the disk.  A view moves on while nobody is connected for linger= seconds, and whoever looks
# again and again is connected.
stop_nbdkit
LINGER=0 serve
drained
s3 put files/theirs.txt "$tmp/secret"
wait_until 30 disk_has theirs.txt
s3 rm files/theirs.txt
wait_until 30 eval '! disk_has theirs.txt'

# No secret is told to anybody.
! grep -rF "$S3_SECRET" "$tmp"/nbdkit*.log || fail "a secret was printed"
