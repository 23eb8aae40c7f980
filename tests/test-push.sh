#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What the cloud tells of changes is seen at once, where polling would take a quarter of an hour: by the door (push=), by
# Nextcloud's notify_push, and by inotify.  Bad messages, and those without the token, do nothing.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires apache2 openssl curl

CTL=$abs_top_builddir/cloudsharectl

# status_of KEY: out of the status of the server that was started last.
status_of ()
{
    "$CTL" status --json "$cache" | python3 -c 'import json, sys
print (json.load (sys.stdin)[sys.argv[1]])' "$1"
}

# start KEY=VALUE...: nbdkit with the plugin, read-only, and polling as good as never.  It answers before it listens to
# cloudsharectl.
start ()
{
    start_nbdkit -r "$PLUGIN" cache="$cache" fs=fat32 poll=1000 "$@"
    wait_until 30 "$CTL" rate "$cache"
}

# make_file NAME: in the cloud, old enough to be believed at the first look.
make_file ()
{
    echo "$1" >"$tmp/remote/$1.new"
    touch -d '1 hour ago' "$tmp/remote/$1.new"
    mv "$tmp/remote/$1.new" "$tmp/remote/$1"
}

# A disk that changes while it is listed may make no sense for once: then it is listed again.
shows ()
{
    (disk_has "$1")
}

shows_no_more ()
{
    (on_disk ls >"$tmp/disk.ls" && cut -d' ' -f2- "$tmp/disk.ls" >"$tmp/disk.names" && ! grep -qxF -- "$1" "$tmp/disk.names")
}

# seen NAME: within half the time that polling would need at the least.
seen ()
{
    local start=$(($(date +%s%N) / 1000000))
    wait_until 60 shows "$1" || fail "$1 is not seen"
    echo "$1: seen after $(($(date +%s%N) / 1000000 - start)) ms"
}

mkdir "$tmp/remote" "$tmp/remote/sub" "$tmp/remote/other"
echo one >"$tmp/remote/one.txt"
touch -d '1 hour ago' "$tmp/remote/one.txt"
chmod -R a+rwX "$tmp/remote"

# ---- the door ----

start_server apache "$tmp/remote"
cache=$tmp/cache
start remote="$URL" push=0
push=$(status_of push)
token=${push##*/}
base=${push%/*}
[ "$(stat -c %a "$cache/push-token")" = 600 ] || fail "others can read the token"
"$CTL" status "$cache" | grep -qF "$push" || fail "the URL is not shown"
# The walk of the start is over when the first change is seen.
make_file first.txt
curl -sS -f -X POST "$push/poke"
seen first.txt

# answers STATUS CURL-OPTION...
answers ()
{
    local want=$1 got
    shift
    got=$(curl -sS -o /dev/null -w '%{http_code}' "$@" 2>"$tmp/curl.err" || true)
    [ "$got" = "$want" ] || fail "status $got instead of $want: $* $(cat "$tmp/curl.err")"
}

make_file sub/named.txt
answers 200 -d '{"path": "/sub/named.txt"}' "$push/poke"
seen sub/named.txt
make_file sub/by-header.txt
answers 200 -H "Authorization: Bearer $token" -d '{"path": "sub"}' "$base/poke"
seen sub/by-header.txt
make_file by-own-header.txt
answers 200 -H "X-Cloudshare-Token: $token" -d '{"path": "by-own-header.txt"}' "$base/"
seen by-own-header.txt
rm "$tmp/remote/sub/named.txt"
answers 200 -d '{"path": "sub/named.txt"}' "$push"
wait_until 60 shows_no_more sub/named.txt
mkdir -p "$tmp/remote/deep/er"
chmod -R a+rwX "$tmp/remote/deep"
make_file deep/er/file.txt
answers 200 -d '{"path": "deep/er/file.txt"}' "$push"
seen deep/er/file.txt
# Records of buckets mean nothing to a folder: all of it is looked at.
make_file record.txt
answers 200 -d '{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}' "$push"
seen record.txt

# Nobody without the token, and nothing but what is understood.
answers 404 -X POST "$base/"
answers 404 -X POST "$base/poke"
answers 404 -d '{}' "${push%?}"
answers 404 -d '{}' "${push}0"
answers 404 -d '{}' "$push/other"
answers 404 -H "Authorization: Bearer ${token}x" -d '{}' "$base/poke"
answers 404 "$base/"
answers 405 "$push"
answers 405 -X PUT -d x "$push/poke"
answers 400 -d '{"path"' "$push"
answers 400 -d '[]' "$push"
answers 200 -d 'anything' "$push/poke"
head -c 600000 /dev/zero >"$tmp/large"
answers 413 --data-binary @"$tmp/large" "$push"
# A confirmation to anybody but AWS is refused, and nobody is asked.
answers 200 -d '{"Type":"SubscriptionConfirmation","SubscribeURL":"'"$URL"'?Action=ConfirmSubscription&Token=x"}' "$push"
logged "not AWS's"
# Connections that say nothing, or never come to an end, do not keep others out.
python3 - "$base" "$token" <<'PY' || fail "slow clients keep others out"
import random, socket, sys, urllib.parse, urllib.request
url, token = urllib.parse.urlsplit (sys.argv[1]), sys.argv[2]
at = (url.hostname, url.port)
slow = [socket.create_connection (at, 10) for i in range (100)]
for i, s in enumerate (slow):
  try:
    s.sendall (b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" % token.encode () if i % 2 else b"POST /")
  except OSError:
    pass
for i in range (3):
  urllib.request.urlopen (urllib.request.Request (sys.argv[1] + "/" + token, b"{}"), timeout=20).read ()
rng = random.Random (20261123)
good = ("POST /%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"path\":\"a\"}" % token).encode ()
for i in range (150):
  data = bytearray (good)
  for k in range (rng.randrange (1, 6)):
    data[rng.randrange (len (data))] = rng.randrange (256)
  s = socket.create_connection (at, 10)
  s.settimeout (0.02)
  try:
    s.sendall (data[:rng.randrange (1, len (data) + 1)])
    s.shutdown (socket.SHUT_WR)
    while s.recv (4096):
      pass
  except OSError:
    pass
  s.close ()
PY
make_file after-all.txt
answers 200 -d '{}' "$push"
seen after-all.txt
stop_nbdkit

# The token stays, unless another is given; and the address is taken at the start.
start remote="$URL" push=127.0.0.1:0
[ "$(status_of push | sed 's|.*/||')" = "$token" ] || fail "another token after a restart"
taken=$(status_of push | sed 's|.*:\([0-9]*\)/.*|\1|')
refused "push=$taken" remote="$URL" cache="$tmp/cache-taken" push="$taken"
stop_nbdkit
printf 'a-token-of-ours-0123\n' >"$tmp/token"
start remote="$URL" push=0 push-token=+"$tmp/token"
[ "$(status_of push | sed 's|.*/||')" = a-token-of-ours-0123 ] || fail "not the token that was given"
stop_nbdkit
refused 'push-token=' remote="$URL" cache="$tmp/cache-bad" push=0 push-token=short
refused 'push=' remote="$URL" cache="$tmp/cache-bad" push-token=a-token-of-ours-0123
refused 'push=nowhere' remote="$URL" cache="$tmp/cache-bad" push=nowhere
refused 'push=127.0.0.1:99999' remote="$URL" cache="$tmp/cache-bad" push=127.0.0.1:99999
! grep -rF -e "$token" -e a-token-of-ours "$tmp"/nbdkit*.log || fail "a token was printed"
stop_server apache

# ---- notify_push, with and without TLS ----

# ask_notify COMMAND
ask_notify ()
{
    curl -sS "http://127.0.0.1:$COMMANDS/$1"
}

printf 'geheim w\303\266rd' >"$tmp/password"
for tls in no yes; do
    start_server apache "$tmp/remote" tls=$tls auth=basic user=alice password="$(cat "$tmp/password")" \
        path=/remote.php/dav/files/alice beside=yes
    pems=()
    [ $tls = no ] || pems=("$SERVER_STATE/server.pem" "$SERVER_STATE/server.key")
    : >"$tmp/notify.out"
    python3 "$abs_top_srcdir/tests/servers/notify-push.py" alice "$(cat "$tmp/password")" "${pems[@]}" \
        </dev/null >"$tmp/notify.out" 2>"$tmp/notify.log" &
    NOTIFY_PID=$!
    cleanup_fn kill_nbdkit $NOTIFY_PID
    wait_until 20 grep -q COMMANDS "$tmp/notify.out"
    . "$tmp/notify.out"
    # Apache gives it as a file.
    mkdir -p "$SERVER_STATE/empty/ocs/v2.php/cloud"
    cat >"$SERVER_STATE/empty/ocs/v2.php/cloud/capabilities" <<CAP
{"ocs":{"meta":{"status":"ok","statuscode":200},"data":{"capabilities":{"notify_push":{"type":["files"],"endpoints":
{"websocket":"ws$([ $tls = no ] || echo s)://127.0.0.1:$PORT/push/ws"}}}}}}
CAP
    chmod -R a+rX "$SERVER_STATE/empty"
    cache=$tmp/cache-notify-$tls
    start remote="$URL" user=alice password=+"$tmp/password" ${CAINFO:+cainfo="$CAINFO"}
    wait_until 30 eval '[ "$(ask_notify count)" = 1 ]' || fail "nobody has connected: $(cat "$tmp/notify.log")"
    wait_until 30 eval '[ "$(status_of pushes)" = True ]'
    wait_until 10 eval 'ask_notify seen | grep -qx "listen notify_file_id"'
    # What was changed before we listened is looked at as well: let that be over.
    make_file "pushed-$tls.txt"
    ask_notify send/notify_file >/dev/null
    seen "pushed-$tls.txt"
    make_file "pieces-$tls.txt"
    ask_notify pieces/notify_file_id%20%5B1,2%5D >/dev/null
    seen "pieces-$tls.txt"
    ask_notify seen | grep -qx 'pong there?' || fail "no pong: $(ask_notify seen)"
    # Ended in three ways, it comes back.
    for way in drop close bad; do
        before=$(ask_notify seen | grep -cx 'listen notify_file_id')
        ask_notify $way >/dev/null
        wait_until 60 eval '[ "$(ask_notify seen | grep -cx "listen notify_file_id")" -gt $before ]' || fail "not back after $way"
    done
    make_file "again-$tls.txt"
    ask_notify send/notify_file >/dev/null
    seen "again-$tls.txt"
    # Without it, polling goes on as if there was none.
    kill_nbdkit $NOTIFY_PID
    wait_until 30 eval '[ "$(status_of pushes)" = False ]'
    stop_nbdkit
    stop_server apache
done
! grep -rF 'geheim' "$tmp"/nbdkit*.log || fail "the password was printed"

# ---- inotify ----

cache=$tmp/cache-dir
start remote="$tmp/remote"
make_file watched.txt
seen watched.txt
make_file sub/watched.txt
seen sub/watched.txt
