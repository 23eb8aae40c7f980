#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The S3 provider's verbs against OpenStack Swift, whose S3 API takes conditions otherwise than Ceph's: what test-s3.sh says
# of the one holds for the other.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/verbs.sh"
requires python3
requires_run eval "python3 -c 'import swift' || /usr/bin/python3 -c 'import swift'"
requires_run python3 -c 'import boto3'

export S3_ACCESS=cloudshare:key S3_SECRET=cloudshare-secret HOME=$tmp
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3

s3 ()
{
    python3 "$abs_top_srcdir/tests/s3tool.py" "$URL" cloudshare "$@"
}

see ()
{
    case $1 in
        get | put) s3 "$@" ;;
        all) s3 keys | LC_ALL=C sort ;;
        clear) s3 clear ;;
    esac
}

mkdir "$tmp/none"
start_server swift "$tmp/none" access=$S3_ACCESS secret=$S3_SECRET
URL=${URL%/}
verbs_keeps_times=yes
verbs_longest_name=$(printf '%0900d' 7)
verbs_too_long_name=$(printf '%01030d' 7)
remote=(s3://cloudshare endpoint="$URL" access-key=$S3_ACCESS secret-key=$S3_SECRET)
is $OK debug=true put x "$tmp/one"
grep 'put-new=' "$tmp/tool.err" | sed 's|^.*put-new=|Swift: put-new=|'
is $OK remove x
verbs
verbs_names
verbs_times
verbs_large 20000000
verbs_stopped

# By parts.
head -c 68000000 /dev/urandom >"$tmp/huge"
is $OK mtime=1234567890 put huge "$tmp/huge"
[ "$(cut -f 4,5 <<<"$out")" = "1234567890	$(token huge)" ] || fail "by parts: $out"
holds huge "$tmp/huge"
is $OK move huge huge2
holds huge2 "$tmp/huge"
is $CHANGED version='"0"' put huge2 "$tmp/huge"
# Swift refuses conditions of such an object's tag: the first such change of a process goes up whole.
cp "$tmp/huge" "$tmp/huge3"
printf x | dd of="$tmp/huge3" bs=1 seek=30000000 conv=notrunc status=none
is "$OK|$WHOLE" version="$(token huge2)" base=68000000 ranges=30000000+1 whole=false put huge2 "$tmp/huge3"
is $OK version="$(token huge2)" base=68000000 ranges=30000000+1 whole=true put huge2 "$tmp/huge3"
holds huge2 "$tmp/huge3"
is $OK remove huge2
[ -z "$(s3 uploads)" ] || fail "an upload is left"
only
verbs_many 300
verbs_ranges 12000000
