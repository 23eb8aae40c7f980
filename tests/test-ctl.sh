#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# cloudsharectl and the control socket: every verb with a server and without one, what it prints, its exit codes, and what
# a client that does not keep to the protocol can do.
# The server is tests/ctlserver: the real verbs and database, with views and a remote that this script makes up.

. "$(dirname "$0")/functions.sh"
requires python3 perl setpriv
CTL=$abs_top_builddir/cloudsharectl
SERVER=$abs_top_builddir/tests/ctlserver
cache=$tmp/cache
mkdir -m 700 "$cache"

server=
start_server ()
{
    mkfifo "$tmp/say" "$tmp/hear"
    "$SERVER" "$1" <"$tmp/say" >"$tmp/hear" 2>>"$tmp/server.log" &
    server=$!
    exec 7>"$tmp/say" 8<"$tmp/hear"
    rm "$tmp/say" "$tmp/hear"
    local line
    read -r -t 20 line <&8 && [ "$line" = ready ] || fail "the server does not start"
}
stop_server ()
{
    exec 7>&- 8<&-
    wait "$server" || fail "the server ended with $?"
    server=
}
cleanup_fn eval '[ -z "$server" ] || kill $server'

# tell LINE: to the server.
tell ()
{
    local line
    echo "$*" >&7
    read -r -t 20 line <&8 && [ "$line" = ok ] || fail "the server did not take: $*"
}

# sql STATEMENTS
sql ()
{
    python3 -c 'import sqlite3, sys
db = sqlite3.connect (sys.argv[1], timeout = 20)
db.executescript (sys.argv[2])' "$cache/cloudshare.db" "$1"
}

# ctl STATUS ARGUMENT...: what it prints is in $out and $err.
ctl ()
{
    local want=$1 status=0
    shift
    "$CTL" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
    out=$(cat "$tmp/out") err=$(cat "$tmp/err")
    [ $status = "$want" ] || fail "cloudsharectl $*: exit status $status instead of $want: $out $err"
}
has ()
{
    [[ $out == *"$1"* ]] || fail "\"$1\" is missing in: $out"
}
complains ()
{
    [[ $err == "cloudsharectl: "*"$1"* ]] || fail "\"$1\" is missing in: $err"
    [ "$(wc -l <"$tmp/err")" = 1 ] || fail "more than one sentence: $err"
}
log_has ()
{
    local i
    for i in {1..50}; do
        grep -qx "$1" "$tmp/server.log" && { : >"$tmp/server.log"; return; }
        sleep 0.1
    done
    fail "the server was not asked: $1"
}

# ---- called wrongly ----

for wrong in "" "status" "nothing $cache" "status $cache x" "status --timeout 1 $cache" "drain --timeout x $cache" \
             "drain --timeout -1 $cache" "drain --timeout nan $cache" "forget-view $cache" "approve --discard $cache" "--nothing status $cache" \
             "rate --upload x $cache" "rate --upload -1 $cache" "rate --download 1X $cache" "rate --download 99999999999G $cache" \
             "status --upload 1M $cache"; do
    ctl 2 $wrong
    [ -n "$err" ] || fail "nothing said about: $wrong"
done
ctl 0 --help
has forget-view
ctl 0 --version
ctl 1 status "$tmp/none"
complains "none"
ctl 1 status "$cache"
complains "not a cache folder"
ctl 1 left-out "$cache"
for verb in drain approve retry poke rate; do
    ctl 4 $verb "$cache"
    complains "no server runs with this cache folder"
done
ctl 4 forget-view "$cache" vm1/cloud

# ---- nothing to do ----

start_server "$cache"
[ "$(stat -c '%a %F' "$cache/control")" = "600 socket" ] || fail "the socket: $(stat -c '%a %F' "$cache/control")"
ctl 0 status "$cache"
has "remote https://cloud.example.com/dav/: 0 files in 1 folders, 0 B"
has "server: runs; the remote is online"
has "waiting for upload: nothing"
has "disk cloud: exfat, 64.0 GiB, generation 87, 0 items left out"
ctl 0 drain "$cache"
has "everything is in the cloud"
log_has hurry
ctl 0 status "$cache"
has "the cloud may tell of changes at http://127.0.0.1:8765/secret"
has "tells its changes by itself"
ctl 0 rate "$cache"
has $'upload: no limit\ndownload: no limit'
ctl 0 rate --upload 500K --download=3M "$cache"
has $'upload: at most 500.0 KiB a second\ndownload: at most 3.0 MiB a second'
ctl 0 rate --upload 0 --json "$cache"
python3 -c 'import json, sys; s = json.load (sys.stdin); assert s["upload"] == 0 and s["download"] == 3 << 20' <<<"$out"
ctl 1 rate --download 17 "$cache"
complains "1024 or more"
ctl 0 approve "$cache"
has "nothing waits"
ctl 0 retry "$cache"
has "nothing waits"
log_has poke
ctl 0 poke "$cache"
log_has poke
tell state offline
ctl 0 status "$cache"
has "cannot be reached"
tell state refused
ctl 0 status "$cache"
has "does not accept"
tell state online

# ---- something waits ----

now=$(date +%s)
sql "INSERT INTO item (id, parent, name, folder, version, mtime) VALUES
       (10, 1, CAST ('photos' AS BLOB), 1, NULL, 0), (11, 10, CAST ('a' || char (27) || '[2J' || char (155) || '.jpg' AS BLOB), 0, 5, 0),
       (12, 1, CAST ('b.txt' AS BLOB), 0, 6, 0);
     INSERT INTO item (id, parent, name, folder, version, mtime, gone) VALUES (13, 1, CAST ('old' AS BLOB), 0, 7, 0, $now);
     INSERT INTO item (id, parent, name, folder, version, mtime) VALUES (14, 1, x'ff2e747874', 0, 8, 0);
     INSERT INTO version (id, item, token, size, position) VALUES (5, 11, '', 3145728, 0), (6, 12, '', 1024, 0), (7, 13, 't', 9, 0),
       (8, 14, 't', 100, 0);
     INSERT INTO change (item, view, since) VALUES (11, 'vm1/cloud', $now - 300);
     INSERT INTO change (item, view, since, attempts, next_try, error) VALUES
       (12, 'vm1/cloud', $now - 7500, 3, $now + 100000, 'no room' || char (7) || ' left');
     INSERT INTO change (item, base_parent, base_name, base_version, view, since, held) VALUES
       (13, 1, CAST ('old' AS BLOB), 7, 'vm2/cloud', $now - 10, 1);
     INSERT INTO change (item, base_parent, base_name, base_version, view, since) VALUES
       (14, 1, x'fe', 8, 'vm2/cloud', $now - 10);
     INSERT INTO view (name, disk, generation, detached) VALUES ('vm1/cloud', 1, 80, NULL), ('vm9/cloud', 1, 3, 'it was formatted');"
tell view vm1/cloud 80 1610612736 1 2 2 $((now - 630))
tell view vm2/cloud 87 0 0 0 2 0
tell view vm9/cloud 3 4096 0 0 0 0 it was formatted
ctl 0 status "$cache"
has "waiting for upload: 4 changes, 3.0 MiB, the oldest since 2 h; 1 failed and will be tried again"
has "1 removal in the cloud: so many at once wait for your approval"
has 'photos/a\x1b[2J\x9b.jpg: new file, 3.0 MiB, since 5 min, by vm1/cloud' 
has "failed 3 times, next try in 27 h: no room\\x07 left"
has "old: removed"
has "waits for approval"
has "view vm1/cloud: holds generation 80 of 87, 0 items behind, 2 connections, 1.5 GiB written, mounted, 2 changes to upload, writes of the last 10 min not yet understood"
has "view vm9/cloud: holds generation 3 of 87, 0 items behind, 4.0 KiB written"
has "detached from the cloud, a private disk now: it was formatted"
has "view vm2/cloud: holds generation 87"
! grep -q $'[\x01-\x09\x0b-\x1f\x7f]' "$tmp/out" || fail "control characters came through"
ctl 0 status --json "$cache"
python3 - "$tmp/out" <<'PY'
import json, sys
s = json.load (open (sys.argv[1]))
assert s["running"] and s["state"] == "online", s
assert s["waiting"] == { "items": 4, "bytes": 3145728 + 1024, "oldest": s["waiting"]["oldest"], "failing": 1, "held": 1 }, s
by_path = { c["path"]: c for c in s["changes"] }
assert by_path["b.txt"]["error"] == "no room\a left" and by_path["b.txt"]["attempts"] == 3, s
assert by_path["photos/a\x1b[2J\x9b.jpg"]["bytes"] == 3145728, s
assert by_path["\ufffd.txt"]["what"] == "moved", s
assert by_path["old"]["held"], s
views = { v["name"]: v for v in s["disks"][0]["views"] }
assert views["vm1/cloud"]["connections"] == 2 and views["vm1/cloud"]["dirty"], s
assert views["vm9/cloud"]["detached"] == "it was formatted" and views["vm1/cloud"]["detached"] is None, s
PY

# ---- verbs that act ----

ctl 3 drain --timeout 0.5 "$cache"
complains "4 changes still wait"
log_has ring
[ "$(python3 -c 'import sqlite3, sys; print (sqlite3.connect (sys.argv[1]).execute ("SELECT max (next_try) FROM change").fetchone ()[0])' \
    "$cache/cloudshare.db")" = 0 ] || fail "drain did not have all tried again"
ctl 3 drain --json --timeout 0 "$cache"
python3 -c 'import json, sys; s = json.load (sys.stdin); assert not s["ok"] and s["timeout"] and s["waiting"]["items"] == 4' <<<"$out"
ctl 1 forget-view "$cache" vm1/cloud
complains "vm1/cloud: a virtual machine is connected"
ctl 1 forget-view "$cache" vm2/cloud
complains "use drain first"
ctl 1 forget-view "$cache" $'no\e/cloud'
complains 'no?/cloud: there is no view of that name'
sql "DELETE FROM change WHERE item <> 13"
tell view vm1/cloud 80 4096 1 2 0 0
ctl 3 drain "$cache"
complains "1 removals wait for your approval"
: >"$tmp/server.log"
ctl 0 approve "$cache"
has "1 removal approved"
log_has ring
ctl 0 approve "$cache"
has "nothing waits"

# drain goes on until the last change is gone and every view is understood.
tell view vm1/cloud 80 4096 1 0 0 $((now - 30))
"$CTL" drain "$cache" >"$tmp/drain" 2>&1 &
drain=$!
sleep 0.5
sql "DELETE FROM change"
sleep 0.5
kill -0 $drain || fail "drain did not wait for the view"
ctl 3 drain --timeout 0 "$cache"
complains "1 views hold writes that are not understood yet"
tell view vm1/cloud 80 4096 0 0 0 0
wait $drain || fail "drain: $(cat "$tmp/drain")"
[ "$(cat "$tmp/drain")" = "everything is in the cloud" ] || fail "drain: $(cat "$tmp/drain")"

# A change that comes while a view is read is not kept waiting for its quiet time.
tell view vm1/cloud 80 4096 1 0 0 $((now - 30))
"$CTL" drain "$cache" >"$tmp/drain" 2>&1 &
drain=$!
sleep 0.5
: >"$tmp/server.log"
sql "INSERT INTO change (item, view, since, quiet) VALUES (11, 'vm1/cloud', $now, 1)"
tell view vm1/cloud 80 4096 0 0 0 0
log_has ring
sql "DELETE FROM change"
wait $drain || fail "drain: $(cat "$tmp/drain")"

# A progress bar, on a terminal only.
sql "INSERT INTO change (item, view, since) VALUES (11, 'vm1/cloud', $now)"
python3 - "$CTL" "$cache" <<'PY'
import os, pty, sys
pid, fd = pty.fork ()
if pid == 0:
  os.execv (sys.argv[1], [sys.argv[1], "drain", "--timeout", "1", sys.argv[2]])
seen = b""
try:
  while chunk := os.read (fd, 4096):
    seen += chunk
except OSError:
  pass
assert os.waitstatus_to_exitcode (os.waitpid (pid, 0)[1]) == 3
assert b"\r[........................]   0%  1 changes, 3.0 MiB to go\x1b[K" in seen, seen
assert seen.count (b"\r[") >= 3, seen
PY
sql "DELETE FROM change"

tell view vm1/cloud 80 4096 1 0 0 $((now - 30))
ctl 1 forget-view "$cache" vm1/cloud
complains "not understood yet"
tell fail-forget somebody has just connected
ctl 1 forget-view --discard "$cache" vm1/cloud
complains "vm1/cloud: somebody has just connected"
tell "fail-forget "
: >"$tmp/server.log"
ctl 0 forget-view --discard "$cache" vm1/cloud
has "vm1/cloud is forgotten, with 4.0 KiB that its guest had written"
log_has "forget vm1/cloud discard"
ctl 1 forget-view "$cache" vm1/cloud
ctl 0 forget-view "$cache" vm9/cloud

# ---- clients that do not keep to the protocol ----

python3 - "$cache/control" <<'PY'
import json, os, socket, sys, threading
def connect ():
  s = socket.socket (socket.AF_UNIX)
  s.settimeout (20)
  s.connect (sys.argv[1])
  return s
def lines (s):
  return s.makefile ("r", encoding = "utf-8")

for wrong in b"\n", b"x\n", b"[]\n", b"null\n", b"{\n", b'{"verb":\n', b'{}\n', b'{"verb":1}\n', b'{"verb":"nothing"}\n', \
    b'{"verb":{"verb":"status"}}\n', b"[" * 60000 + b"\n", b"\0\n", b"\xff\xfe\n", b'{"verb":"forget-view"}\n', \
    b'{"verb":"forget-view","view":[]}\n', b'{"verb":"drain\0"}\n':
  s = connect ()
  s.sendall (wrong)
  answer = json.loads (lines (s).readline ())
  assert answer["ok"] is False and answer["error"], (wrong[:50], answer)
  # The same client may go on.
  s.sendall (b'{"verb":"poke"}\n')
  assert json.loads (lines (s).readline ())["ok"], wrong

# A line without an end.
s = connect ()
try:
  for i in range (100):
    s.sendall (b"x" * 1000)
except OSError:
  pass
try:
  answer = lines (s).readline ()
  assert answer == "" or json.loads (answer)["ok"] is False
except OSError:
  pass

# Byte by byte, and several requests at once: as many answers, in order.
s = connect ()
for byte in b'{"verb":"poke"}\n':
  s.sendall (bytes ([byte]))
s.sendall (b'{"verb":"status"}\n{"verb":"nothing"}\n{"verb":"poke"}\n')
f = lines (s)
assert [json.loads (f.readline ())["ok"] for i in range (4)] == [True, True, False, True]

# Half-closed: the answer comes all the same.
s = connect ()
s.sendall (b'{"verb":"status"}\n')
s.shutdown (socket.SHUT_WR)
f = lines (s)
assert json.loads (f.readline ())["ok"] and f.readline () == ""

# Clients that only sit there, or that never read, are no hindrance to one that asks; too many wait for their turn.
idle = [connect () for i in range (14)]
deaf = connect ()
deaf.setblocking (False)
try:
  while True:
    deaf.send (b'{"verb":"status"}\n' * 100)
except BlockingIOError:
  pass
s = connect ()
s.sendall (b'{"verb":"poke"}\n')
assert json.loads (lines (s).readline ())["ok"]
late = connect ()
late.sendall (b'{"verb":"poke"}\n')
for c in idle:
  c.close ()
assert json.loads (lines (late).readline ())["ok"]

# Many at once.
def ask ():
  for i in range (20):
    c = connect ()
    c.sendall (b'{"verb":"status"}\n')
    assert json.loads (lines (c).readline ())["ok"]
threads = [threading.Thread (target = ask) for i in range (8)]
for t in threads: t.start ()
for t in threads: t.join ()
PY

# Clients that leave in the middle of a drain.
sql "INSERT INTO change (item, view, since) VALUES (11, 'vm1/cloud', $now)"
for i in {1..20}; do
    "$CTL" drain "$cache" >/dev/null 2>&1 &
    sleep 0.05
    kill -9 $!
    wait $! 2>/dev/null || :
done
ctl 0 poke "$cache"

# ---- the server ends ----

"$CTL" drain "$cache" >"$tmp/drain" 2>&1 7>&- 8<&- &
drain=$!
sleep 0.3
stop_server
status=0
wait $drain || status=$?
[ $status = 1 ] || fail "drain ended with $status"
grep -q "the server ended before it answered" "$tmp/drain" || fail "drain: $(cat "$tmp/drain")"
[ ! -e "$cache/control" ] || fail "the socket is still there"
ctl 0 status "$cache"
has "server: none runs with this cache folder"
has "waiting for upload: 1 change, 3.0 MiB"
has "view vm9/cloud: holds generation 3 of 87, 0 items behind"
ctl 0 status --json "$cache"
python3 -c 'import json, sys; s = json.load (sys.stdin); assert not s["running"] and s["state"] == "stopped" and "ok" not in s' <<<"$out"
sql "INSERT INTO left_out VALUES (1, 11, 'too large for FAT32')"
ctl 0 left-out "$cache"
[ "$out" = 'photos/a\x1b[2J\x9b.jpg: too large for FAT32' ] || fail "left-out: $out"
ctl 0 left-out --json "$cache"
python3 -c 'import json, sys; s = json.load (sys.stdin); assert s[0]["disk"] == "cloud" and s[0]["reason"] == "too large for FAT32", s' <<<"$out"

# Killed: its socket is a dead one, which counts as none, and is replaced.
start_server "$cache"
kill -9 "$server"
wait "$server" 2>/dev/null || :
exec 7>&- 8<&-
[ -S "$cache/control" ] || fail "kill left no socket"
ctl 0 status "$cache"
has "server: none runs"
ctl 4 poke "$cache"
start_server "$cache"
ctl 0 poke "$cache"
# Another process with the same folder does not take it away.
! "$SERVER" "$cache" </dev/null >/dev/null 2>"$tmp/second" || fail "two servers in one folder"
grep -q "another process answers there" "$tmp/second" || fail "second server: $(cat "$tmp/second")"
ctl 0 poke "$cache"
stop_server
echo mine >"$cache/control"
! "$SERVER" "$cache" </dev/null >/dev/null 2>"$tmp/second" || fail "a file was replaced"
[ "$(cat "$cache/control")" = mine ] || fail "a file was replaced"
rm "$cache/control"

# A folder whose name is too long for a socket's address.
long=$tmp/$(printf 'x%.0s' {1..200})/cache
mkdir -p -m 700 "$long"
start_server "$long"
ctl 0 poke "$long"
ctl 0 status "$long"
[ -S "$long/control" ] || fail "no socket"
stop_server
[ ! -e "$long/control" ] || fail "the socket is still there"

# Somebody else.
if [ "$(id -u)" = 0 ]; then
    chmod 755 "$cache"
    start_server "$cache"
    status=0
    setpriv --reuid=65534 --regid=65534 --clear-groups perl -MSocket -e \
        'socket (my $s, AF_UNIX, SOCK_STREAM, 0) or die; exit (connect ($s, pack_sockaddr_un ($ARGV[0])) ? 0 : $!{EACCES} ? 9 : 1)' \
        "$cache/control" || status=$?
    [ $status = 9 ] || fail "another user got in: $status"
    stop_server
fi
