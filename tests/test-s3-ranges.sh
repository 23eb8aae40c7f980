#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Versions of which little has changed, put to a real S3 server: what has changed is sent, with at most 5 MiB around it, and the
# server copies the rest; what lacks here is fetched.  The object is what it ought to be in any case; where the server cannot, or
# lies, it goes up whole; what changes meanwhile is not overwritten; and what was stopped goes on.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/verbs.sh"
requires ceph-mon ceph-osd radosgw radosgw-admin python3
requires_run python3 -c 'import boto3'

export S3_ACCESS=cloudshare-key S3_SECRET=cloudshare-secret HOME=$tmp
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3

seed=${CLOUDSHARE_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "seed $seed"

s3 ()
{
    python3 "$abs_top_srcdir/tests/s3tool.py" "$DIRECT" cloudshare "$@"
}

see ()
{
    case $1 in
        get | put) s3 "$@" ;;
        all) s3 keys | LC_ALL=C sort ;;
        clear) s3 clear ;;
    esac
}

rule ()
{
    printf '%s\n' "$@" >"$tmp/rules"
    : >"$tmp/requests"
}

# sent: bytes of bodies since the last rule.
sent ()
{
    awk '{ n += $5 } END { print n + 0 }' "$tmp/requests"
}

mkdir "$tmp/none"
start_server rgw "$tmp/none"
DIRECT=${URL%/}
: >"$tmp/rules"
python3 "$abs_top_srcdir/tests/servers/s3proxy.py" "$DIRECT" "$tmp/rules" "$tmp/requests" >"$tmp/proxy.out" 2>"$tmp/proxy.log" </dev/null &
cleanup_fn kill_nbdkit $!
wait_until 10 test -s "$tmp/proxy.out"
. "$tmp/proxy.out"
remote=(s3://cloudshare endpoint="http://127.0.0.1:$PORT" access-key=$S3_ACCESS secret-key=$S3_SECRET)

# ---- how much is sent ----

size=$((256 << 20))
head -c $size /dev/urandom >"$tmp/old"
is $OK mtime=1234567890 put big "$tmp/old"
for whole in false true; do
    cp "$tmp/old" "$tmp/new"
    head -c 4096 /dev/urandom | dd of="$tmp/new" bs=4096 seek=30001 conv=notrunc status=none
    rule
    is $OK version="$(token big)" mtime=1300000000 base=$size ranges=$((30001 * 4096))+4096 whole=$whole put big "$tmp/new"
    [ "$(cut -f 4,5 <<<"$out")" = "1300000000	$(token big)" ] || fail "another time or token: $out"
    echo "4 KiB of 256 MiB, whole=$whole: $(sent) bytes sent, $(wc -l <"$tmp/requests") requests with the trial"
    [ "$(sent)" -le $(((5 << 20) + 65536)) ] || fail "$(sent) bytes were sent: $(cat "$tmp/requests")"
    holds big "$tmp/new"
    mv "$tmp/new" "$tmp/old"
done
# A checksum of the version before does not stay.
s3 put big "$tmp/old" mtime=1500000000.5 cloudshare="$size 1500000000.5 SHA1:$(sha1sum "$tmp/old" | cut -c 1-40)"
is $OK stat big
grep -q SHA1 <<<"$out" || fail "no checksum before: $out"
cp "$tmp/old" "$tmp/new"
printf x | dd of="$tmp/new" bs=1 seek=$((100 << 20)) conv=notrunc status=none
printf y | dd of="$tmp/old" bs=1 seek=$((100 << 20)) conv=notrunc status=none
s3 put big "$tmp/old" mtime=1500000000.5 cloudshare="$size 1500000000.5 SHA1:$(sha1sum "$tmp/old" | cut -c 1-40)"
is $OK version="$(token big)" base=$size ranges=$((100 << 20))+1 whole=false put big "$tmp/new"
! grep SHA1 <<<"$out" || fail "a checksum of another content: $out"
is $OK stat big
! grep SHA1 <<<"$out" || fail "a checksum of another content stays: $out"
rm "$tmp/old" "$tmp/new"
see clear

# ---- random changes ----

size=60000000
head -c $size /dev/urandom >"$tmp/old"
is $OK put f "$tmp/old"
for round in 1 2 3 4 5 6 7 8; do
    # Changes of all sizes, next to each other and far apart; now and then it grows, or is cut.
    python3 - $((seed + round)) "$tmp/old" "$tmp/new" >"$tmp/ranges" <<'EOT'
import random, os, sys
r = random.Random (int (sys.argv[1]))
data = bytearray (open (sys.argv[2], "rb").read ())
base = len (data)
size = r.choice ([base, base, base + r.randrange (1, 8 << 20), base - r.randrange (1, 20 << 20)])
ranges, at = [], 0
for i in range (r.randrange (1, 12)):
    at += r.randrange (1 << r.randrange (1, 26))
    n = r.randrange (1, 1 << r.randrange (1, 23))
    if at + n >= min (base, size):
        break
    ranges.append ((at, n))
    at += n + 1
if size > base:
    ranges.append ((base, size - base))
if not ranges:
    ranges.append ((size // 2, 10))
data = data[:size] + bytearray (max (0, size - base))
for at, n in ranges:
    data[at:at + n] = r.randbytes (n)
open (sys.argv[3], "wb").write (data)
print (",".join ("%d+%d" % x for x in ranges))
EOT
    v=$(token f)
    rule
    base=$(stat -c %s "$tmp/old")
    is "$OK|$WHOLE" version="$v" base="$base" ranges="$(cat "$tmp/ranges")" whole=false put f "$tmp/new"
    if [ -n "$out" ]; then
        echo "round $round: $(cat "$tmp/ranges"): $(sent) bytes sent of $(stat -c %s "$tmp/new")"
        [ "$(cut -f 5 <<<"$out")" = "$(token f)" ] || fail "another token: $out"
    else
        echo "round $round: $(cat "$tmp/ranges"): all of it"
        is $OK version="$v" base="$base" ranges="$(cat "$tmp/ranges")" put f "$tmp/new"
    fi
    holds f "$tmp/new"
    mv "$tmp/new" "$tmp/old"
done
[ -z "$(s3 uploads)" ] || fail "an upload is left: $(s3 uploads)"
see clear

# ---- a server that cannot ----

size=20000000
head -c $size /dev/urandom >"$tmp/old"
cp "$tmp/old" "$tmp/new"
head -c 100 /dev/urandom | dd of="$tmp/new" bs=100 seek=100000 conv=notrunc status=none
changes=(base=$size ranges=10000000+100)
for action in 501:NotImplemented 405:MethodNotAllowed 400:InvalidRequest wholecopy; do
    s3 put f "$tmp/old"
    v=$(token f)
    rule "PUT copy-source-range $action"
    is $WHOLE version="$v" "${changes[@]}" whole=false put f "$tmp/new"
    holds f "$tmp/old"
    is $OK version="$v" "${changes[@]}" put f "$tmp/new"
    rule
    holds f "$tmp/new"
    [ -z "$(s3 uploads)" ] || fail "$action: an upload is left: $(s3 uploads)"
done

# ---- others, and the network ----

s3 put f "$tmp/old"
v=$(token f)
# Somebody else puts another version while parts are copied.
for whole in true false; do
    rule "PUT copy-source-range stop:$tmp/held"
    tool version="$v" "${changes[@]}" whole=$whole put f "$tmp/new" >"$tmp/other.out" 2>"$tmp/other.err" &
    other=$!
    wait_until 60 test -e "$tmp/held"
    s3 put f "$tmp/one"
    rule
    rm "$tmp/held"
    # The second part that is copied may be held, too.
    until ! kill -0 $other 2>/dev/null; do
        rm -f "$tmp/held"
        sleep 0.1
    done
    status=0
    wait $other || status=$?
    [ $status = $CHANGED ] || fail "another version was overwritten: $status: $(cat "$tmp/other.err")"
    holds f "$tmp/one"
    [ -z "$(s3 uploads)" ] || fail "an upload is left: $(s3 uploads)"
    s3 put f "$tmp/old"
done
for row in 403:AccessDenied:$DENIED 503:SlowDown:$BUSY 507:x:$FULL; do
    rule "PUT copy-source-range ${row%:*}"
    is ${row##*:} version="$v" "${changes[@]}" whole=false put f "$tmp/new"
    holds f "$tmp/old"
done
rule 'GET cloudshare/f.*Range 503:SlowDown'
is $BUSY version="$v" "${changes[@]}" whole=false put f "$tmp/new"
rule
is $LOCAL version="$v" "${changes[@]}" cut=10000000 whole=false put f "$tmp/new"
holds f "$tmp/old"
rule 'PUT copy-source-range drop'
is $OFFLINE version="$v" "${changes[@]}" whole=false put f "$tmp/new"
[ "$(s3 uploads)" = f ] || fail "no upload is left to go on with: $(s3 uploads)"
# It goes on: what was sent is not sent again.
rule
is $OK version="$v" "${changes[@]}" whole=false put f "$tmp/new"
[ "$(sent)" -lt 100000 ] || fail "$(sent) bytes were sent again"
holds f "$tmp/new"
# An upload that another version had begun gives nothing of that to this one.
s3 put f "$tmp/old"
rule 'POST cloudshare/f.uploadId drop'
is $OFFLINE version="$v" "${changes[@]}" whole=false put f "$tmp/new"
rule
{ head -c 5000000 /dev/urandom; tail -c +5000001 "$tmp/old"; } >"$tmp/old2"
{ head -c 5000000 "$tmp/old2"; tail -c +5000001 "$tmp/new"; } >"$tmp/new2"
s3 put f "$tmp/old2"
is $OK version="$(token f)" "${changes[@]}" whole=false put f "$tmp/new2"
holds f "$tmp/new2"
s3 put f "$tmp/old"
# The answer to the last request gets lost.
rule 'POST cloudshare/f.uploadId lost'
is $OK version="$v" "${changes[@]}" whole=false put f "$tmp/new"
rule
holds f "$tmp/new"
for ms in 1 20 60 200; do
    s3 put f "$tmp/old"
    is "$STOPPED|$OK" stop=$ms version="$v" "${changes[@]}" whole=false put f "$tmp/new"
done
see clear

remote=(s3://cloudshare endpoint="$DIRECT" access-key=$S3_ACCESS secret-key=$S3_SECRET)
verbs_ranges 12000000
