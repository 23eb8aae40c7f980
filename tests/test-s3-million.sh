#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A bucket of 1,000,000 objects: all of them are on the disk, the listing is as many requests as it has pages and folders, and a
# start with a cache asks for nothing before it serves.  It takes minutes, so it is one of the long tests (./runtests --long).

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"

python3 "$abs_top_srcdir/tests/servers/s3million.py" </dev/null >"$tmp/port" 2>"$tmp/server.log" &
cleanup_fn kill_nbdkit $!
wait_until 20 test -s "$tmp/port"
url=http://127.0.0.1:$(cat "$tmp/port")
printf secret >"$tmp/secret"

requests ()
{
    curl -sS "$url/_requests"
}

# start WHAT: nbdkit, however long its first listing takes.
start ()
{
    local begin=$SECONDS before
    before=$(requests)
    start_nbdkit -r "$PLUGIN" remote=s3://million/ endpoint="$url/" path-style=true region=us-east-1 access-key=key \
        secret-key=+"$tmp/secret" cache="$tmp/cache" disk=million fs=exfat size=256G poll=86400 2>"$tmp/late" ||
        wait_until 900 _started_or_ended "$tmp/nbdkit$_n_nbdkit.pid" && [ -s "$tmp/nbdkit$_n_nbdkit.pid" ] ||
        fail "no start: $(tail -n 5 "$NBDKIT_LOG")"
    asked=$(($(requests) - before))
    echo "$1: $((SECONDS - begin)) s, $asked requests, $(grep VmHWM "/proc/$NBDKIT_PID/status" | tr -s '\t ' ' ')"
}

start 'first start'
# 250 pages of the wide folder, 751 of the others and of the root; a request of each folder may look whether it goes on.
[ "$asked" -ge 1001 ] && [ "$asked" -le 2010 ] || fail "$asked requests for 1,001 pages"
on_disk ls >"$tmp/got"
grep -c -v '/$' "$tmp/got"
python3 - "$tmp/got" <<'PY'
import sys
seen = 0
for line in open (sys.argv[1]):
  size, path = line.rstrip ("\n").split (" ", 1)
  if path.endswith ("/"):
    continue
  folder, name = path.split ("/")
  n = int (name[6:12]) + (750000 if folder == "wide" else int (folder[7:]) * 1000)
  assert int (size) == len ("object %d\n" % n) * (n % 3), (n, size)
  assert path == ("wide/photo %06d.jpg" % (n - 750000) if n >= 750000 else "folder %03d/photo %06d.jpg" % (n // 1000, n % 1000))
  seen += 1
assert seen == 1000000, seen
PY
# A few of them, from all over the bucket.
for path in 'folder 000/photo 000001.jpg' 'folder 749/photo 000999.jpg' 'wide/photo 000001.jpg' 'wide/photo 249998.jpg'; do
    on_disk cat "$path" >"$tmp/one"
    curl -sS "$url/million/${path// /%20}" | cmp - "$tmp/one" || fail "$path"
done
stop_nbdkit

# A cache knows them all.  Looking again begins after the disk is there.
start 'second start'
disk_has 'folder 500/photo 000500.jpg' || fail 'it is not on the disk after a restart'
stop_nbdkit
