#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What NBD clients are told and can do: exports, their names and descriptions, several connections, extents, prefetching, odd
# reads, and no writes.

. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/disk-functions.sh"
requires nbdinfo nbdcopy

make_tree "$tmp/remote" --files 120 --folders 10 --sums "$tmp/want.sums"
start_nbdkit "$PLUGIN" remote="$tmp/remote" cache="$tmp/cache" disk=photos size=150M fs=exfat

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
