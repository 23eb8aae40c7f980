#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What NBD clients are told and can do: exports, their names and descriptions, several connections, extents, prefetching, odd
# reads; no writes with "nbdkit -r", and without it writes, zeroes, trims and flushes of any kind, which survive the server and
# are seen by nobody but their own view.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires nbdinfo nbdcopy

make_tree "$tmp/remote" --files 120 --folders 10 --sums "$tmp/want.sums"
start_nbdkit -r "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" disk=photos size=150M fs=exfat

# ---- names ----

nbdinfo --list --json "$NBD_URI" >"$tmp/list.json"
nbdinfo --json "$NBD_URI" >"$tmp/info.json"
python3 - "$tmp/list.json" "$tmp/info.json" <<'PY'
import json, sys
exports = json.load (open (sys.argv[1]))["exports"]
assert [export["export-name"] for export in exports] == ["photos"], exports
exports = json.load (open (sys.argv[2]))["exports"]
assert len (exports) == 1, exports
export = exports[0]
assert export["description"].startswith ("exfat from "), export
assert export["export-size"] == 150 << 20
assert export["is_read_only"] and export["can_multi_conn"] and export["can_cache"], export
assert not export["can_trim"] and not export["can_zero"], export
assert export["block_size_minimum"] == 1, export
PY
for name in '' photos vm1/photos 'Büro 2/photos' a/b/photos; do
    NBD_URI=$(nbd_uri "$name")
    [ "$(nbdinfo --size "$NBD_URI")" = $((150 << 20)) ] || fail "no export \"$name\""
done
for name in cloud photo photos/ /etc/passwd vm1/photos/..; do
    ! nbdinfo --size "$(nbd_uri "$name")" >/dev/null 2>&1 || fail "there is an export \"$name\""
done
logged 'an export that does not exist'

# ---- bytes ----

NBD_URI=$(nbd_uri photos)
# With extents, without them, by one connection and by four: the same.
nbdcopy "$NBD_URI" "$tmp/disk.img"
nbdcopy --no-extents "$NBD_URI" "$tmp/plain.img"
cmp "$tmp/disk.img" "$tmp/plain.img"
nbdcopy --connections=1 --request-size=65536 "$NBD_URI" "$tmp/plain.img"
cmp "$tmp/disk.img" "$tmp/plain.img"
same_content "$tmp/remote" "$tmp/want.sums"

"$PYTHON" - "$NBD_URI" "$tmp/disk.img" <<'PY'
import errno, nbd, random, sys
seed = random.randrange (1 << 32)
print ("seed=%d" % seed)
random.seed (seed)
image = open (sys.argv[2], "rb").read ()
h = nbd.NBD ()
h.add_meta_context ("base:allocation")
h.connect_uri (sys.argv[1])
size = h.get_size ()
assert size == len (image)

# Any offset, any length.
for i in range (500):
  n = random.choice ([1, 2, 511, 512, 513, 4095, 4096, 70000])
  at = random.choice ([random.randrange (size), random.randrange (32 << 20), 1048576 - 1, size - n])
  at = min (at, size - n)
  assert h.pread (n, at) == image[at:at + n], (at, n)

# Extents tell the whole disk; what they call a hole is zero; free space is one.
at = holes = 0
while at < size:
  extents = []
  h.block_status (min (size - at, 1 << 30), at, lambda context, offset, entries, error: extents.extend (entries))
  assert extents
  for n, flags in zip (extents[::2], extents[1::2]):
    assert flags in (0, 3), flags
    if flags:
      assert not any (image[at:at + n]), (at, n)
      holes += n
    at += n
assert at == size
assert holes > size // 2, holes
# One at a time, as some clients ask, and from the middle of things.
for i in range (100):
  at = random.randrange (size - 1)
  extents = []
  h.block_status (size - at, at, lambda context, offset, entries, error: extents.extend (entries), nbd.CMD_FLAG_REQ_ONE)
  assert len (extents) == 2 and 0 < extents[0] <= size - at
  if extents[1]:
    assert not any (image[at:at + extents[0]])

# Cache is a wish: anything in range is fine.
h.cache (size, 0)
h.cache (1, size - 1)

# Nothing can be written, also by a client that does not care about flags.
h.set_strict_mode (0)
for what in (lambda: h.pwrite (b"x" * 512, 0), lambda: h.trim (4096, 0), lambda: h.zero (4096, 0)):
  try:
    what ()
    sys.exit ("written")
  except nbd.Error as error:
    assert error.errnum in (errno.EPERM, errno.EROFS, errno.EINVAL, errno.EOPNOTSUPP), error
try:
  h.pread (512, size)
  sys.exit ("read past the end")
except nbd.Error:
  pass
assert h.pread (512, 0) == image[:512]
PY

# ---- writing ----

stop_nbdkit
options=(remote="$tmp/remote" cache="$tmp/cache" disk=photos size=150M fs=exfat linger=20 settle=0.5)
start_nbdkit "$PLUGIN" "${options[@]}"
NBD_URI=$(nbd_uri vm1/photos)
nbdinfo --json "$NBD_URI" >"$tmp/info.json"
python3 - "$tmp/info.json" <<'PY'
import json, sys
export, = json.load (open (sys.argv[1]))["exports"]
assert not export["is_read_only"], export
for can in "flush", "fua", "trim", "zero", "fast_zero", "multi_conn", "cache":
  assert export["can_" + can], (can, export)
PY

# write.py URI IMAGE [OPERATIONS]: random requests by two connections, and a model of them in IMAGE, which it reads and writes.
# Only behind the last file: what is written there is nobody's.
cat >"$tmp/write.py" <<'PY'
import nbd, random, sys
operations = int (sys.argv[3])
seed = random.randrange (1 << 32)
print ("seed=%d" % seed)
random.seed (seed)
model = bytearray (open (sys.argv[2], "rb").read ())
hs = []
for i in range (2):
  h = nbd.NBD ()
  h.add_meta_context ("base:allocation")
  h.connect_uri (sys.argv[1])
  hs.append (h)
size = hs[0].get_size ()
low = size - (40 << 20)

def same (at, n):
  assert random.choice (hs).pread (n, at) == model[at:at + n], (at, n)

assert hs[0].pread (32 << 20, low) == model[low:low + (32 << 20)]
for i in range (operations):
  h = random.choice (hs)
  n = random.choice ([1, 2, 100, 511, 512, 513, 1024, 4095, 4096, 8192, 70000, 1 << 20, 3 << 20])
  at = random.choice ([random.randrange (low, size), low + random.randrange (64) * 512, low + 4096 * random.randrange (9000)])
  if random.random () < 0.5:
    n -= n % 512
  n = max (1, min (n, size - at))
  flags = nbd.CMD_FLAG_FUA if random.random () < 0.05 else 0
  what = random.choice (["write", "write", "write", "zero", "trim", "flush", "cache"])
  if what == "write":
    data = random.randbytes (n)
    h.pwrite (data, at, flags)
    model[at:at + n] = data
  elif what == "zero":
    h.zero (n, at, flags | random.choice ([0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FAST_ZERO]))
    model[at:at + n] = bytes (n)
  elif what == "trim":
    # Whole sectors are zeros, parts of them are as they were.
    h.trim (n, at, flags)
    begin, end = -(-at // 512) * 512, (at + n) // 512 * 512
    if begin < end:
      model[begin:end] = bytes (end - begin)
  elif what == "flush":
    h.flush ()
  else:
    h.cache (n, at)
  same (max (low, at - 600), min (n + 1200, size - max (low, at - 600)))
  if i % 20 == 0:
    extents = []
    h.block_status (size - at, at, lambda context, offset, entries, error: extents.extend (entries))
    for length, kind in zip (extents[::2], extents[1::2]):
      assert kind == 0 or not any (model[at:at + length]), (at, length, kind)
      at += length
for h in hs:
  for at in range (0, size, 1 << 20):
    assert h.pread (1 << 20, at) == model[at:at + (1 << 20)], at
try:
  h.pwrite (b"x" * 513, size - 512)
  sys.exit ("written past the end")
except nbd.Error:
  pass
open (sys.argv[2], "wb").write (model)
PY
cp "$tmp/disk.img" "$tmp/vm1.img"
"$PYTHON" "$tmp/write.py" "$NBD_URI" "$tmp/vm1.img" 600

# It is this view's alone, whoever connects to it, as long as it is held.
nbdcopy "$(nbd_uri vm2/photos)" "$tmp/plain.img"
cmp "$tmp/plain.img" "$tmp/disk.img"
nbdcopy "$NBD_URI" "$tmp/plain.img"
cmp "$tmp/plain.img" "$tmp/vm1.img"
nbdcopy --no-extents --connections=1 "$NBD_URI" "$tmp/plain.img"
cmp "$tmp/plain.img" "$tmp/vm1.img"
same_content "$tmp/remote" "$tmp/want.sums"

# It survives the server, however that ends.
stop_nbdkit
start_nbdkit "$PLUGIN" "${options[@]}"
NBD_URI=$(nbd_uri vm1/photos)
"$PYTHON" "$tmp/write.py" "$NBD_URI" "$tmp/vm1.img" 200
kill_nbdkit
start_nbdkit "$PLUGIN" "${options[@]}"
NBD_URI=$(nbd_uri vm1/photos)
"$PYTHON" "$tmp/write.py" "$NBD_URI" "$tmp/vm1.img" 50
nbdcopy "$(nbd_uri vm2/photos)" "$tmp/plain.img"
cmp "$tmp/plain.img" "$tmp/disk.img"

# With many requests under way it is killed: each one that was acknowledged has been done, the others wholly or not at all,
# sector by sector.
cat >"$tmp/burst.py" <<'PY'
import nbd, os, random, signal, sys
uri, pid, image = sys.argv[1], int (sys.argv[2]), sys.argv[3]
h = nbd.NBD ()
h.connect_uri (uri)
low, n = h.get_size () - (40 << 20), 8192
acknowledged, last, i, ends = {}, {}, 0, 0
try:
  while ends < 6000:
    while h.aio_in_flight () < 32:
      # No two are about the same bytes.
      at = low + i % 2500 * n
      data = random.randbytes (n)
      def done (error, at=at, data=data):
        global ends
        if not error:
          acknowledged[at] = data
          ends += 1
        return 1
      last[at] = data
      h.aio_pwrite (nbd.Buffer.from_bytearray (bytearray (data)), at, done)
      i += 1
    h.poll (-1)
  os.kill (pid, signal.SIGKILL)
  while h.aio_in_flight () > 0:
    h.poll (1000)
except nbd.Error:
  pass
model = bytearray (open (image, "rb").read ())
with open (image + ".asked", "wb") as file:
  for at in last:
    file.write (at.to_bytes (8, "little") + acknowledged.get (at, bytes (model[at:at + n])) + last[at])
PY
cat >"$tmp/check-burst.py" <<'PY'
import nbd, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
n = 8192
records = open (sys.argv[2], "rb").read ()
assert len (records) == 2500 * (8 + 2 * n), len (records)
for i in range (0, len (records), 8 + 2 * n):
  at = int.from_bytes (records[i:i + 8], "little")
  old, last = records[i + 8:i + 8 + n], records[i + 8 + n:i + 8 + 2 * n]
  got = h.pread (n, at)
  for s in range (0, n, 512):
    assert got[s:s + 512] in (old[s:s + 512], last[s:s + 512]), (at, s)
PY
"$PYTHON" "$tmp/burst.py" "$NBD_URI" "$NBDKIT_PID" "$tmp/vm1.img"
kill_nbdkit
start_nbdkit "$PLUGIN" "${options[@]}"
NBD_URI=$(nbd_uri vm1/photos)
"$PYTHON" "$tmp/check-burst.py" "$NBD_URI" "$tmp/vm1.img.asked"

# What is written where no file is comes to nothing in the cloud; and when nobody was there for linger=, the view begins anew.
stop_nbdkit
start_nbdkit "$PLUGIN" "${options[@]}" linger=1
is_new () { nbdcopy "$(nbd_uri vm1/photos)" "$tmp/plain.img" && cmp -s "$tmp/plain.img" "$tmp/disk.img"; }
sleep 3
wait_until 30 is_new || fail "the view keeps what is nobody's"

# A view without its partition table has nothing to do with the cloud any more, and keeps what is written to it.
NBD_URI=$(nbd_uri vm3/photos)
"$PYTHON" -c 'import nbd, sys; h = nbd.NBD (); h.connect_uri (sys.argv[1]); h.pwrite (b"x" * 2000000, 0); h.flush ()' "$NBD_URI"
logged 'view vm3/photos is detached from the cloud'
sleep 3
kill_nbdkit
start_nbdkit "$PLUGIN" "${options[@]}" linger=1
NBD_URI=$(nbd_uri vm3/photos)
"$PYTHON" -c 'import nbd, sys; h = nbd.NBD (); h.connect_uri (sys.argv[1])
assert h.pread (2000000, 0) == b"x" * 2000000' "$NBD_URI"
tree_sums "$tmp/remote" | cmp - "$tmp/want.sums" || fail "the cloud has changed"

# ---- prefetch: what cache was asked for is here, though the remote is gone ----

stop_nbdkit
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache2" size=400M
largest=$(cd "$tmp/remote" && find . -type f -printf '%s %P\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
sum=$(sha256sum <"$tmp/remote/$largest")
read -r offset length < <(on_disk where "$largest")
"$PYTHON" -c '
import nbd, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
h.cache (int (sys.argv[3]), int (sys.argv[2]))' "$NBD_URI" "$offset" "$length"
sleep 1
mv "$tmp/remote" "$tmp/gone"
[ "$(on_disk cat "$largest" | sha256sum)" = "$sum" ] || fail "it had not been fetched"
