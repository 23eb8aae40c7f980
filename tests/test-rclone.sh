#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The verbs of the rclone provider, without a disk: over rclone's local, crypt, memory and webdav remotes, by an rclone of our
# own and by one that runs already; what happens when ours ends; and that none is left behind.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/verbs.sh"
requires rclone curl python3

unset "${!RCLONE_@}"
export HOME=$tmp TMPDIR=$tmp
mkdir "$tmp/files" "$tmp/store" "$tmp/dav" "$tmp/a]b"
start_server rclone "$tmp/dav" user=alice password=secret
cat >"$tmp/rclone.conf" <<END
[loc]
type = local
[box]
type = memory
[safe]
type = crypt
remote = loc:$tmp/store
password = $(rclone obscure abc)
[dav]
type = webdav
url = $URL
vendor = other
user = alice
pass = $(rclone obscure secret)
END

# rclones: the processes of rclone that were started for this test.
rclones ()
{
    ps -eo pid=,args= | awk -v dir="$tmp/" '$0 ~ /rclone rcd --rc-serve --rc-addr 127.0.0.1:0/ { print $1 }' | while read -r pid; do
        cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | grep -qxF "RCLONE_CONFIG=$tmp/rclone.conf" && echo "$pid" || true
    done
}

none_left ()
{
    wait_until 10 eval '[ -z "$(rclones)" ]' || fail "an rclone is left: $(rclones)"
}

# start_rcd [OPTION...]: one that runs already; sets RCD, RCD_PID.
start_rcd ()
{
    : >"$tmp/rcd.log"
    RCLONE_CONFIG=$tmp/rclone.conf RCLONE_RC_USER=bob RCLONE_RC_PASS=hidden rclone rcd --rc-addr 127.0.0.1:0 "$@" \
        </dev/null 2>"$tmp/rcd.log" &
    RCD_PID=$!
    cleanup_fn kill_nbdkit $RCD_PID
    wait_until 20 grep -q 'Serving remote control' "$tmp/rcd.log"
    RCD=$(sed -n 's|.*on \(http://127[0-9.:]*\)/.*|\1|p' "$tmp/rcd.log" | head -n 1)
}

rc ()
{
    curl -sSf -u bob:hidden -H 'Content-Type: application/json' -d "$2" "$RCD/$1"
}

# see_by_rc FS: the remote is seen by the remote control of another's.
see_by_rc ()
{
    _fs=$1
    see ()
    {
        local folder
        case $1 in
            get) python3 - "$RCD" "$_fs" "$2" <<'END'
import base64, shutil, sys, urllib.parse, urllib.request
request = urllib.request.Request ("%s/%s/%s" % (sys.argv[1], urllib.parse.quote ("[" + sys.argv[2] + "]", safe=""), urllib.parse.quote (sys.argv[3])))
request.add_header ("Authorization", "Basic " + base64.b64encode (b"bob:hidden").decode ())
shutil.copyfileobj (urllib.request.urlopen (request), sys.stdout.buffer)
END
                ;;
            put) cp "$3" "$tmp/by-rc"
                touch "$tmp/by-rc"
                rc operations/copyfile "{\"srcFs\":\"$tmp\",\"srcRemote\":\"by-rc\",\"dstFs\":\"$_fs\",\"dstRemote\":\"$2\"}" >/dev/null ;;
            all) rc operations/list "{\"fs\":\"$_fs\",\"remote\":\"\",\"opt\":{\"recurse\":true}}" | python3 -c '
import json, sys
for name in sorted (i["Path"].encode () + (b"/" if i["IsDir"] else b"") for i in json.load (sys.stdin)["list"]):
  if b".cloudshare-" not in name:
    sys.stdout.buffer.write (name + b"\n")' ;;
            # One by one: operations/delete never ends in memory (1.60).
            clear) rc operations/list "{\"fs\":\"$_fs\",\"remote\":\"\",\"opt\":{\"recurse\":true,\"filesOnly\":true}}" | python3 -c '
import json, sys
for item in json.load (sys.stdin)["list"]:
  print (json.dumps ({"fs": sys.argv[1], "remote": item["Path"]}))' "$_fs" >"$tmp/to-clear"
                while IFS= read -r folder; do
                    rc operations/deletefile "$folder" >/dev/null
                done <"$tmp/to-clear"
                rc operations/rmdirs "{\"fs\":\"$_fs\",\"remote\":\"\",\"leaveRoot\":true}" >/dev/null ;;
        esac
    }
}


section ()
{
    echo "$SECONDS s: $*"
}

# ---- an rclone of ours ----

remote=(rclone:loc:"$tmp/files" rclone-config="$tmp/rclone.conf")
see_in_folder "$tmp/files"
verbs_keeps_times=yes
section 'local, an rclone of ours'
verbs
verbs_times
none_left
[ -z "$(ls -A "$tmp/files")" ] || fail "left behind: $(ls -A "$tmp/files")"

# A path in which rclone's own URLs end too early.
remote=(rclone:loc:"$tmp/a]b/" rclone-config="$tmp/rclone.conf")
is $OK mkdir 'x]y'
is $OK put 'x]y/f] ü' "$tmp/large"
is $OK get 'x]y/f] ü'
cmp "$tmp/tool.out" "$tmp/large"

# Names that cannot be told, and such that rclone tells otherwise.
printf x >"$tmp/a]b/"$'bad\xe9'
printf x >"$tmp/a]b/"$'tab\there'
printf x >"$tmp/a]b/"$'line\nhere'
mkdir "$tmp/a]b/.cloudshare-folder" 2>/dev/null
is $OK list
grep -q 'left out: bad.*UTF-8' "$tmp/tool.err" || fail "not said to be left out: $(cat "$tmp/tool.err")"
[ "$(cut -f 1 <<<"$out" | LC_ALL=C sort | tr '\n' '|')" = 'line␊here|tab␉here|x]y|' ] || fail "listed: $out"
is $OK get 'line␊here'
[ "$out" = x ] || fail "read: $out"
is $REFUSED put $'a\001b' "$tmp/one"
is $REFUSED put $'a\351b' "$tmp/one"
is $REFUSED put .cloudshare-folder "$tmp/one"
none_left

# ---- what is given wrongly, and what is missing ----

section errors

remote=(rclone:loc:"$tmp/missing" rclone-config="$tmp/rclone.conf")
is $GONE list
grep -q 'no such folder' "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"
remote=(rclone:nobody:x rclone-config="$tmp/rclone.conf")
is $GONE list
grep -q 'no remote of this name' "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"
remote=(rclone:loc:"$tmp/one" rclone-config="$tmp/rclone.conf")
is $BAD list
grep -q 'a file, not a folder' "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"
for wrong in rclone: rclone:x rclone::local:/ rclone:-x:y 'rclone:x,y=z:p' rclone:a/b:c; do
    remote=("$wrong")
    is $LOCAL list
    grep -q 'rclone listremotes' "$tmp/tool.err" || fail "$wrong: $(cat "$tmp/tool.err")"
done
remote=(rclone:loc:/ user=u password=p)
is $LOCAL list
remote=(rclone:loc:/ token=t)
is $LOCAL list
remote=(rclone:loc:/ rclone-url=http://127.0.0.1:1 rclone-config=/x)
is $LOCAL list
remote=(rclone:loc:/ rclone-url=http://127.0.0.1:1)
is $OFFLINE list
is $OFFLINE noprobe=true put f "$tmp/one"
is $OFFLINE noprobe=true stat f
# No rclone at all.
mkdir "$tmp/bin"
remote=(rclone:loc:"$tmp/files" rclone-config="$tmp/rclone.conf")
is_without ()
{
    local status=0
    PATH=$tmp/bin "$CLOUDTOOL" "${remote[@]}" list >"$tmp/tool.out" 2>"$tmp/tool.err" || status=$?
    [ $status = $OFFLINE ] && grep -q "$1" "$tmp/tool.err" || fail "$status: $(cat "$tmp/tool.err")"
}
is_without 'rclone is not installed'
# One that ends at once: what it said is told.
printf '#!/bin/sh\necho "2026/01/01 00:00:00 CRITICAL: it will not work https://u:hunter2@x.example/?key=hunter3" >&2\nexit 1\n' >"$tmp/bin/rclone"
chmod +x "$tmp/bin/rclone"
is_without 'it said: it will not work https://x.example/'
! grep -q hunter "$tmp/tool.err" || fail "a secret was said: $(cat "$tmp/tool.err")"
rm "$tmp/bin/rclone"

# Neither user nor password are in a command line, and nobody else gets in.
"$CLOUDTOOL" "${remote[@]}" wait 3000 >"$tmp/wait.out" &
tool_pid=$!
wait_until 10 eval '[ -n "$(rclones)" ]'
pid=$(rclones)
tr '\0' '\n' <"/proc/$pid/environ" >"$tmp/environ"
user=$(sed -n 's/^RCLONE_RC_USER=//p' "$tmp/environ") password=$(sed -n 's/^RCLONE_RC_PASS=//p' "$tmp/environ")
[ ${#user} = 32 ] && [ ${#password} = 32 ] || fail "user $user, password $password"
! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -e "$user" -e "$password" || fail "a secret is in the command line"
port ()
{
    PORT=$(ss -Htlnp | sed -n "s/.*127\.0\.0\.1:\([0-9]*\) .*pid=$pid,.*/\1/p" | head -n 1)
    [ -n "$PORT" ]
}
wait_until 10 port
[ "$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://127.0.0.1:$PORT/rc/noop")" = 401 ] || fail "anybody gets in"
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/%5Bloc:$tmp%5D/one")" = 401 ] || fail "anybody reads"
# However it ends: nothing is left.
kill -KILL $tool_pid
wait $tool_pid 2>/dev/null || true
none_left

# ---- an rclone that ends in the middle ----

section killed
# Slowly, so that there is a middle: 24 MB at 4 MB a second.
head -c 24000000 /dev/urandom >"$tmp/much"
"$CLOUDTOOL" "${remote[@]}" upload-rate=4000000 put much "$tmp/much" >"$tmp/wait.out" 2>"$tmp/wait.err" &
tool_pid=$!
wait_until 20 eval '[ -n "$(ls -A "$tmp/files")" ]'
kill -KILL $(rclones)
status=0
wait $tool_pid || status=$?
[ $status = $OFFLINE ] || fail "$status instead of offline: $(cat "$tmp/wait.err")"
[ ! -e "$tmp/files/much" ] || fail "half a file is there"
is $OK put much "$tmp/much"
cmp "$tmp/much" "$tmp/files/much"
is $OK remove much
# Of a process without a cache nobody clears away.
rm -f "$tmp/files"/.cloudshare-upload-*
none_left
# It is started again by itself.
"$CLOUDTOOL" "${remote[@]}" wait 6000 >"$tmp/wait.out" &
tool_pid=$!
wait_until 10 eval '[ -n "$(rclones)" ]'
old=$(rclones)
kill -KILL $old
wait_until 10 eval '[ -n "$(rclones)" ] && [ "$(rclones)" != "$old" ]' || fail "it was not started again"
wait $tool_pid || fail "it ended: $?"
none_left

# ---- one that runs already ----

section 'local, one that runs already'
start_rcd --rc-serve
given=(rclone-url="$RCD" user=bob password=hidden)
remote=(rclone:loc:"$tmp/files" rclone-url="$RCD" user=bob password=wrong)
is $AUTH list
! grep -q wrong "$tmp/tool.err" || fail "a secret was said"
remote=(rclone:loc:"$tmp/files" rclone-url="$RCD")
is $AUTH list
remote=(rclone:loc:"$tmp/files" "${given[@]}")
see_in_folder "$tmp/files"
verbs_keeps_times=no
verbs_names
verbs_ranges 20000
verbs_large 20000000
verbs_many 200
verbs_stopped

# A file of the same size and time is another all the same.
is $OK mtime=1234567890 put same "$tmp/one"
printf 'two\n' >"$tmp/other"
is $OK version="$(token same)" mtime=1234567890 put same "$tmp/other"
holds same "$tmp/other"
is $OK remove same
[ -z "$(ls -A "$tmp/files")" ] || fail "left behind: $(ls -A "$tmp/files")"

# Encrypted.
section crypt
remote=(rclone:safe: "${given[@]}")
see_by_rc safe:
# Its names are longer in the store.
verbs_longest_name=$(printf '%0140d' 7)
verbs
verbs_names
verbs_large 5000000
[ -z "$(ls -A "$tmp/store")" ] || fail "left behind: $(ls -A "$tmp/store")"

section webdav
# WebDAV: no times, no checksums; what rclone serves it by looks up sizes only.
verbs_longest_name=$(printf '%0200d' 7)
remote=(rclone:dav: "${given[@]}")
see_in_folder "$tmp/dav"
# rclone takes what is before the colon for a scheme.
verbs_names_not=(x:y)
verbs
verbs_names
verbs_names_not=()
verbs_large 5000000
[ -z "$(ls -A "$tmp/dav")" ] || fail "left behind: $(ls -A "$tmp/dav")"

section memory
# No folders of its own, and no renames: in memory.
rc operations/mkdir '{"fs":"box:bucket","remote":""}' >/dev/null
rc operations/copyfile "{\"srcFs\":\"$tmp\",\"srcRemote\":\"one\",\"dstFs\":\"box:bucket\",\"dstRemote\":\"o\"}" >/dev/null
rc operations/deletefile '{"fs":"box:bucket","remote":"o"}' >/dev/null
remote=(rclone:box:bucket "${given[@]}")
see_by_rc box:bucket
verbs
verbs_names
verbs_large 5000000
verbs_many 100
remote=(rclone:box:bucket/nothing "${given[@]}")
is $GONE list
grep -q 'nothing below this prefix' "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"

# A folder's move that was stopped goes on, but not onto what somebody else has put there.
remote=(rclone:box:bucket "${given[@]}")
is $OK mkdir d
is $OK mkdir d/e
for i in 1 2 3; do is $OK put d/$i "$tmp/one"; is $OK put d/e/$i "$tmp/two"; done
is $EXISTS move d/1 d/2
is $OK mkdir f
is $EXISTS move d f
is $OK remove f
is $OK move d g
only g/ g/1 g/2 g/3 g/e/ g/e/1 g/e/2 g/e/3
see clear

# ---- what calls itself rclone ----

section lies
python3 "$abs_top_srcdir/tests/servers/rcfake.py" </dev/null >"$tmp/fake.out" 2>"$tmp/fake.log" &
cleanup_fn kill_nbdkit $!
wait_until 10 test -s "$tmp/fake.out"
FAKE=http://127.0.0.1:$(cat "$tmp/fake.out")
mode ()
{
    remote=(rclone:x:y rclone-url="$FAKE/$1" timeout=2)
}

mode ok
is $OK list
[ "$out" = 'f	file	5	1000000000	5-1000000000.500000000	-	-	-	settled' ] || fail "listed: $out"
is $OK get f
[ "$out" = hello ] || fail "read: $out"
for m in html empty array deep cut-json endless features no-name no-kind number-name string-items null-item not-a-list; do
    mode $m
    is $BAD list
done
mode drop
is $OFFLINE list
for row in 401:$AUTH 403:$DENIED 404:$GONE 400:$BAD 500:$BUSY 503:$BUSY says-quota+exceeded:$FULL says-permission+denied:$DENIED \
    says-connection+refused:$OFFLINE says-invalid_grant:$AUTH says-odd:$BUSY error-number:$BUSY; do
    case $row in [0-9]*) mode "status-${row%:*}" ;; *) mode "${row%:*}" ;; esac
    is "${row#*:}" list
    is "${row#*:}" noprobe=true put n "$tmp/one"
    is "${row#*:}" noprobe=true mkdir n
done
# Names that mean something else, and what is there twice.
mode up
is $OK list
[ -z "$out" ] && [ "$(grep -c 'left out' "$tmp/tool.err")" = 6 ] || fail "listed: $out $(cat "$tmp/tool.err")"
mode twice
is $OK list
[ "$(cut -f 1,2 <<<"$out")" = 'f	folder' ] && [ "$(grep -c 'left out' "$tmp/tool.err")" = 2 ] || fail "listed: $out"
mode sizes
is $OK list
[ "$(cut -f 1 <<<"$out" | tr '\n' ' ')" = 'fine huge ' ] || fail "listed: $out"
mode bad-name
is $OK list
[ -z "$out" ] || fail "listed: $out"
# Bytes that are not those of the version.
for row in short:$CHANGED long:$CHANGED cut:$BAD get-404:$BUSY no-range:$OK; do
    mode "${row%:*}"
    is "${row#*:}" version=5-1000000000.500000000 size=5 get f
done
for row in short:$CHANGED long:$CHANGED wrong-range:$BAD no-range:$BAD; do
    mode "${row%:*}"
    is "${row#*:}" version=5-1000000000.500000000 size=5 get f 1 3
    [ -z "$out" ] || fail "${row%:*} gave: $out"
done
mode other-version
is $CHANGED version=5-1000000000.500000000 size=5 get f
[ -z "$out" ] || fail "bytes of another version: $out"
mode stat-text
is $BAD version=5-1000000000.500000000 size=5 get f
mode stat-none
is $BAD version=5-1000000000.500000000 size=5 get f
# What is said to be done, and is not there.
mode ok
is $OK put n "$tmp/one"
[ -z "$out" ] || fail "what is not there is told: $out"
head -c 5000000 /dev/zero >"$tmp/5000000"
is $FULL put n "$tmp/5000000"
mode job-text
is $BAD put n "$tmp/5000000"
mode job-odd
is $BAD put n "$tmp/5000000"

# ---- without files ----

kill_nbdkit $RCD_PID
start_rcd
remote=(rclone:loc:"$tmp/files" rclone-url="$RCD" user=bob password=hidden)
is $BAD list
grep -q -- --rc-serve "$tmp/tool.err" || fail "$(cat "$tmp/tool.err")"
