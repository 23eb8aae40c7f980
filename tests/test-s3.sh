#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The S3 provider's verbs, without a disk, against Ceph's gateway: as it is, through a proxy that honours conditions as AWS
# does, and through one that honours none; and with a network that loses things.  What is said to be done is done, whole;
# what is refused has left everything as it was; versions that are not the one that was meant stay; nothing is left behind.

. "$(dirname "$0")/functions.sh"
requires ceph-mon ceph-osd radosgw radosgw-admin python3
requires_run python3 -c 'import boto3'

. "$(dirname "$0")/verbs.sh"
export S3_ACCESS=cloudshare-key S3_SECRET=cloudshare-secret
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
export HOME=$tmp

# What runs here is always on $REMOTE at $URL.
tool ()
{
    timeout 120 "$CLOUDTOOL" "$REMOTE" endpoint="$URL" "${keys[@]}" "$@"
}

# s3 VERB...: as somebody else sees it, and without the proxy.
s3 ()
{
    python3 "$abs_top_srcdir/tests/s3tool.py" "$DIRECT" cloudshare "$@"
}

see ()
{
    local p=${REMOTE#s3://cloudshare} key
    p=${p#/}
    p=${p:+$p/}
    case $1 in
        get) s3 get "$p$2" ;;
        put) s3 put "$p$2" "$3" ;;
        # The root's own marker is nobody's file.
        all) s3 keys "$p" | while IFS= read -r key; do [ "$key" = "$p" ] || printf '%s\n' "${key#"$p"}"; done | LC_ALL=C sort ;;
        clear) s3 clear "$p"; [ -z "$p" ] || s3 put "$p" "$tmp/empty" ;;
    esac
}

start_proxy ()
{
    : >"$tmp/rules"
    : >"$tmp/requests"
    python3 "$abs_top_srcdir/tests/servers/s3proxy.py" "$DIRECT" "$tmp/rules" "$tmp/requests" >"$tmp/proxy.out" 2>"$tmp/proxy.log" </dev/null &
    cleanup_fn kill_nbdkit $!
    wait_until 10 test -s "$tmp/proxy.out"
    . "$tmp/proxy.out"
    URL=http://127.0.0.1:$PORT
}

rule ()
{
    printf '%s\n' "$@" >"$tmp/rules"
}

head -c 68000000 /dev/urandom >"$tmp/huge"
verbs_keeps_times=yes
# All of a key's bytes count, and names may be long.
verbs_longest_name=$(printf '%0900d' 7)
verbs_too_long_name=$(printf '%01020d' 7)/$(printf '%01020d' 7)
keys=(access-key=$S3_ACCESS secret-key=$S3_SECRET)

mkdir "$tmp/none"
start_server rgw "$tmp/none"
DIRECT=${URL%/}
REMOTE=s3://cloudshare

# ---- what every server must come to ----

# What this provider keeps as metadata, and other names.
more ()
{
    local w name='a name # of 100% + ä€😀 =&?"'"'"

    is $OK put f "$tmp/one"
    w=$(token f)
    is $CHANGED version='"1"' touch f 1
    is $OK mkdir d
    is $OK move f "d/$name"
    [ "$(cut -f 5 <<<"$out")" = "$w" ] || fail "the token changed: $out"
    holds "d/$name" "$tmp/one"
    is $OK list d
    grep -qF "d/$name	file" <<<"$out" || fail "listed as $out"
    is $OK move d e
    only e/ "e/$name"
    is $OK remove "e/$name"
    is $OK remove e

    is $OK mtime=1234567890 checksum=SHA1:$(sha1sum "$tmp/1000" | cut -c 1-40) put t "$tmp/1000"
    [ "$(cut -f 4 <<<"$out")" = 1234567890 ] || fail "the time was not kept: $out"
    is $OK stat t
    [ "$(cut -f 4,7 <<<"$out")" = "1234567890	SHA1:$(sha1sum "$tmp/1000" | cut -c 1-40)" ] || fail "a look shows: $out"
    is $OK touch t 1111111111
    is $OK stat t
    [ "$(cut -f 7 <<<"$out")" = "SHA1:$(sha1sum "$tmp/1000" | cut -c 1-40)" ] || fail "the checksum was lost: $out"
    is $OK remove t
    only
}

# The same with what goes by parts.
parts ()
{
    is $OK mtime=1234567890 put huge "$tmp/huge"
    holds huge "$tmp/huge" || fail "68 MB came out differently"
    [ "$(cut -f 4,5 <<<"$out")" = "1234567890	$(token huge)" ] || fail "by parts: $out"
    is $EXISTS put huge "$tmp/huge"
    is $CHANGED version='"0"' put huge "$tmp/huge"
    is $LOCAL cut=60000000 put huger "$tmp/huge"
    is $LOCAL version="$(token huge)" cut=60000000 put huge "$tmp/huge"
    [ -z "$(s3 uploads)" ] || fail "an upload is left: $(s3 uploads)"
    is $OK move huge huge2
    "$CLOUDTOOL" "$REMOTE" endpoint="$URL" "${keys[@]}" parallel=3 get huge2 | cmp - "$tmp/huge"
    is $OK version="$(token huge2)" put huge2 "$tmp/one"
    is $OK remove huge2
    [ -z "$(s3 keys)" ] || fail "left behind: $(s3 keys)"
}

conduct ()
{
    is $OK debug=true put x "$tmp/one"
    grep 'put-new=' "$tmp/tool.err" | sed "s|^.*put-new=|$1: put-new=|"
    is $OK remove x
}

conduct Ceph
verbs
verbs_names
verbs_times
verbs_large 40000000
more
parts
s3 put 'a b/ü+%/' "$tmp/empty"
is $OK list 'a b'
[ "$(cut -f 1,2 <<<"$out")" = 'a b/ü+%	folder' ] || fail "a folder's name: $out"
REMOTE='s3://cloudshare/a b/ü+%'
verbs
more
s3 clear
is $GONE list
REMOTE=s3://cloudshare
verbs_stopped
verbs_many 10000

start_proxy
rule '* . aws'
conduct 'as AWS'
verbs
more
parts
rule '* . deaf'
conduct deaf
verbs
more
parts
s3 clear
rule

# ---- requests of each operation ----

requests ()
{
    local name=$1
    shift
    : >"$tmp/requests"
    "$CLOUDTOOL" "$REMOTE" endpoint="$URL" "${keys[@]}" noprobe=true "$@" >"$tmp/out" || fail "$name"
    printf '%-24s%s\n' "$name" "$(cut -d ' ' -f 1 "$tmp/requests" | sort | uniq -c | awk '{ printf "%s %s, ", $1, $2; n += $1 } END { print n " in all" }')"
}
requests 'put, with the trial' put f "$tmp/one"
requests 'list' list
requests 'stat' stat f
is $OK stat f
requests 'get of a known version' version="$(cut -f 5 <<<"$out")" size=4 get f
requests 'putmany 100' parallel=16 putmany '' 100 2>/dev/null || true
s3 clear

# ---- keys that are no items ----

s3 put 'o//a' "$tmp/one"
s3 put 'o/./b' "$tmp/one"
s3 put 'o/../c' "$tmp/one"
s3 put '/lead' "$tmp/one"
s3 put 'o/both' "$tmp/one"
s3 put 'o/both-' "$tmp/one"
s3 put 'o/both/in' "$tmp/one"
s3 put 'o/full/' "$tmp/one"
s3 put $'o/tab\tnew\nline\001' "$tmp/one"
s3 put 'o/plus+ %41&<>' "$tmp/one"
is $OK list o
cut -f 1,2 <<<"$out" >"$tmp/listed"
printf 'o/both\tfolder\no/both-\tfile\no/full\tfolder\no/plus+ %%41&<>\tfile\n' >"$tmp/want"
sort "$tmp/listed" | diff - "$tmp/want" || fail "odd keys"
for what in 'both: a folder' '(no name)/: it has no name' '\./: its name means' '\.\./: its name means' 'tab%09new%0Aline%01: its name has a control'; do
    grep -q "left out: o/$what" "$tmp/tool.err" || fail "not said to be left out: $what: $(cat "$tmp/tool.err")"
done
is $OK list
grep -q 'left out: (no name)/' "$tmp/tool.err" || fail "a leading / is not said"
is $OK list o/full
grep -q 'left out' "$tmp/tool.err" || fail "content in a marker is not said"
is $EXISTS remove o/full
is $EXISTS folder=true remove o
is $OK stat o/both
grep -q folder <<<"$out" || fail "the file is shown: $out"
is $REFUSED put $'a\001b' "$tmp/one"
# All of it moves with its folder.
is $OK move o p
[ -z "$(s3 keys o/)" ] && holds p//a "$tmp/one" && holds p/../c "$tmp/one" || fail "moved: $(s3 keys)"
s3 clear

# A folder that is there by its files only stays when they go.
s3 put im/plied "$tmp/one"
is $OK remove im/plied
is $OK stat im
is $OK remove im
s3 put im/plied "$tmp/one"
is $OK move im/plied m
is $OK stat im
s3 clear

# What others have set stays.
s3 put theirs "$tmp/one" colour=blue empty= mtime=1500000000.5
is $OK stat theirs
[ "$(cut -f 4 <<<"$out")" = 1500000000 ] || fail "another's time: $out"
is $OK touch theirs 1111111111
[ "$(s3 head theirs | tr '\n' ' ')" = '4 "5bbf5a52328e7439ae6e719dfe712200" text/x-test colour=blue empty= mtime=1111111111.000000000 ' ] ||
    fail "after touch: $(s3 head theirs)"
# A checksum of ours that somebody has carried to another content does not count.
s3 put theirs "$tmp/two" mtime=1500000000.5 cloudshare="4 1500000000.5 SHA1:$(sha1sum "$tmp/one" | cut -c 1-40)"
is $OK stat theirs
! grep SHA1 <<<"$out" || fail "a checksum of another content counts: $out"
s3 clear

# ---- many ----

s3 many m/ 3000
s3 put m "$tmp/one"
is $OK list m
[ "$(wc -l <<<"$out")" = 3000 ] && [ "$(cut -f 1 <<<"$out" | sort -u | wc -l)" = 3000 ] || fail "$(wc -l <<<"$out") of 3000"
# A page that gets lost, or is cut, is no listing.
rule 'GET continuation-token drop'
is $OFFLINE list m
rule 'GET continuation-token cut'
is $BAD list m
rule 'GET continuation-token 503:SlowDown'
is $BUSY list m
rule
SECONDS=0
is $OK move m n
echo "moving a folder of 3000: $SECONDS s"
[ "$(s3 keys n/ | wc -l)" = 3001 ] && [ -z "$(s3 keys m/)" ] && holds m "$tmp/one" || fail "3000 were not moved"
s3 clear

# ---- who may, and what servers say ----

keys=(access-key=nobody secret-key=$S3_SECRET)
is $AUTH list
is $AUTH noprobe=true stat f
is $AUTH noprobe=true put f "$tmp/one"
keys=(access-key=$S3_ACCESS secret-key=wrong)
is $AUTH list
! grep -F "$S3_SECRET" "$tmp/tool.err" || fail "a secret was said"
keys=()
is $AUTH list
printf '[other]\naws_access_key_id=%s\naws_secret_access_key = %s\n' $S3_ACCESS $S3_SECRET >"$tmp/aws"
AWS_SHARED_CREDENTIALS_FILE=$tmp/aws AWS_PROFILE=other is $OK list
AWS_ACCESS_KEY_ID=$S3_ACCESS AWS_SECRET_ACCESS_KEY=$S3_SECRET is $OK list
keys=(access-key=$S3_ACCESS secret-key=$S3_SECRET)
REMOTE=s3://nobucket is $GONE list
grep -q 'no such bucket' "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"
REMOTE=s3://nobucket is $GONE noprobe=true put f "$tmp/one"
REMOTE=s3://cloudshare/nothing is $GONE list
URL=http://127.0.0.1:1 is $OFFLINE list
URL=http://127.0.0.1:1 is $OFFLINE noprobe=true put f "$tmp/one"
URL=http://127.0.0.1:1 is $OFFLINE noprobe=true stat f

is $OK put before "$tmp/one"

# Answers that tell what is the matter, each with its own result.
for row in 401:x:$AUTH 403:AccessDenied:$DENIED 403:QuotaExceeded:$FULL 507:x:$FULL 429:x:$BUSY 500:InternalError:$BUSY \
    503:SlowDown:$BUSY 409:OperationAborted:$BUSY 400:RequestTimeout:$BUSY 413:EntityTooLarge:$REFUSED 501:NotImplemented:$REFUSED \
    400:InvalidArgument:$REFUSED 400:ExpiredToken:$AUTH 301:PermanentRedirect:$BAD 299:x:$BAD; do
    IFS=: read -r status code result <<<"$row"
    rule "PUT cloudshare/n.?x-amz-meta-mtime $status:$code" "PUT cloudshare/n[^a-z] $status:$code"
    is $result put n "$tmp/one"
    is $result mkdir n
    is $result move before n
    [ "$(s3 keys)" = before ] || fail "$row: $(s3 keys)"
done
for row in 401:$AUTH 403:$DENIED 503:$BUSY; do
    rule "HEAD . ${row%:*}:x"
    is ${row#*:} stat before
    rule "DELETE cloudshare/before ${row%:*}:x"
    is ${row#*:} remove before
    # A move that ends between copy and removal: what is known to be undone is taken back.
    case $row in 503*) is $BUSY move before n; rule; is $OK move before n; is $OK move n before ;;
        *) is ${row#*:} move before n; rule; is $GONE stat n ;; esac
done
rule 'GET list-type 405:x'
is $BAD list
rule 'GET list-type 200:x'
is $BAD list

# ---- a network that loses things ----

rule 'PUT cloudshare/n drop'
is $OFFLINE put n "$tmp/one"
is $GONE stat n
rule 'PUT cloudshare/n lost'
is $OFFLINE put n "$tmp/one"
rule
holds n "$tmp/one"
rule 'DELETE cloudshare/n lost'
is $OFFLINE remove n
is $GONE stat n
# Between copy and removal: both are there, and the move goes on when it is asked for again.
rule 'DELETE cloudshare/before drop'
is $OFFLINE move before after
holds before "$tmp/one" && holds after "$tmp/one"
rule
is $OK move before after
[ "$(s3 keys)" = after ] || fail "moved again: $(s3 keys)"
# But not onto what somebody else has put there.
is $OK put before "$tmp/two"
is $EXISTS move before after

# Folders, stopped at each stage.
is $OK mkdir d
for i in 1 2 3 4 5; do
    is $OK put d/$i "$tmp/one"
done
rule 'PUT cloudshare/e/3 drop'
is $OFFLINE move d e
[ "$(s3 keys d/ | wc -l)" = 6 ] || fail "something is missing: $(s3 keys)"
rule 'DELETE cloudshare/d/4 drop'
is $OFFLINE move d e
[ "$(s3 keys e/ | wc -l)" = 6 ] || fail "not all is there: $(s3 keys)"
rule
is $OK move d e
[ -z "$(s3 keys d/)" ] && [ "$(s3 keys e/ | wc -l)" = 6 ] || fail "not moved: $(s3 keys)"
is $OK mkdir d
is $EXISTS move d e
is $OK remove d
# Refused in the middle: taken back.
rule 'PUT cloudshare/g/3 403:AccessDenied'
is $DENIED move e g
rule
[ -z "$(s3 keys g/)" ] && [ "$(s3 keys e/ | wc -l)" = 6 ] || fail "not taken back: $(s3 keys)"
s3 clear

# An upload by parts that stops goes on, and sends only what is missing.
rule 'PUT partNumber=[345] drop'
is $OFFLINE put huge "$tmp/huge"
[ "$(s3 uploads)" = huge ] || fail "no upload is left to go on with"
rule
: >"$tmp/requests"
is $OK put huge "$tmp/huge"
holds huge "$tmp/huge"
sent=$(grep -c '^PUT /cloudshare/huge partNumber' "$tmp/requests")
[ "$sent" = 3 ] && [ -z "$(s3 uploads)" ] || fail "$sent parts were sent; left: $(s3 uploads)"
# Also one that another content had begun, and one that is of no use.
s3 begin other "$tmp/huge" 16777216 2
{ head -c 20000000 "$tmp/huge"; head -c 48000000 /dev/zero; } >"$tmp/huge2"
is $OK put other "$tmp/huge2"
holds other "$tmp/huge2"
s3 begin third "$tmp/huge" 5242880 9
is $OK put third "$tmp/huge2"
holds third "$tmp/huge2"
[ -z "$(s3 uploads)" ] || fail "left: $(s3 uploads)"
rule 'POST fourth.uploadId lost'
is $OK put fourth "$tmp/huge"
holds fourth "$tmp/huge"
# Somebody else is faster.
v=$(token huge)
s3 put huge "$tmp/two"
is $CHANGED version="$v" put huge "$tmp/huge2"
holds huge "$tmp/two"
is $STOPPED stop=300 put stopped "$tmp/huge"
s3 clear

# A wrong clock is learned.
rule '* . late:-3600'
is $GONE list
grep -q 'no such bucket' "$tmp/tool.err" || fail "the clock: $(cat "$tmp/tool.err")"
rule

# Bytes that are cut on the way down, and others than were meant.
is $OK put large "$tmp/large"
rule 'GET cloudshare/large cut'
is $BAD get large
rule

# The program ends while much is under way.
is $OK mkdir sub
for ms in 1 10 30 100 300; do
    is $STOPPED stop=$ms parallel=8 putmany sub 3000
done
s3 clear

# Over TLS bodies are not hashed twice, and certificates are verified.
stop_server rgw
start_server rgw "$tmp/none" tls=yes
keys+=(cainfo="$CAINFO")
URL=${URL%/}
DIRECT=$URL S3_CAINFO=$CAINFO
export S3_CAINFO
is $OK put f "$tmp/large"
holds f "$tmp/large"
is $OK version="$(token f)" put f "$tmp/huge"
holds f "$tmp/huge"
keys=(access-key=$S3_ACCESS secret-key=$S3_SECRET)
is $OFFLINE list
