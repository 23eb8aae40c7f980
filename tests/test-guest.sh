#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The guest harness itself, with disks that are not ours: nbdkit's floppy and an exFAT image.

. "$(dirname "$0")/functions.sh"
requires python3 qemu-system-x86_64 mkfs.exfat fsck.exfat
requires_run nbdkit floppy --version

mkdir "$tmp/tree"
make_tree "$tmp/tree" --files 30 --folders 4 --depth 2 --names plain --sums "$tmp/sums"
start_nbdkit -r floppy "$tmp/tree"
floppy=$NBD_URI

truncate -s 64M "$tmp/exfat.img"
mkfs.exfat -c 4096 "$tmp/exfat.img" >/dev/null
start_nbdkit file "$tmp/exfat.img"
exfat=$NBD_URI

cat >"$tmp/test.py" <<'PYTHON'
import os, shlex, sys
sys.path.insert (0, os.environ["abs_top_srcdir"] + "/tests/guest")
import guest

floppy, exfat, sums = sys.argv[1:]
try:
    vm = guest.Guest ([floppy + ",ro=1", exfat, floppy + ",if=scsi,ro=1", floppy + ",if=usb,ro=1"])
except guest.GuestMissing as error:
    print (error)
    sys.exit (77)
with vm:
    print ("up in %.1f s (%s)" % (vm.boot_time, vm.accel))
    vm.check ("cat >/tmp/sums <<'SUMS'\n%s\nSUMS" % open (sums).read ().rstrip ())
    for name in "d0", "d2", "d3":
        vm.check ("mount -t vfat -o ro,iocharset=utf8 $(part %s 1) /mnt && cd /mnt && sha256sum -c /tmp/sums "
                  "&& cd / && umount /mnt" % name)
    print (vm.check ("mount -t exfat $(disk d1) /mnt && echo content >/mnt/file && mkdir /mnt/dir && sync && ls /mnt"))
    status, output = vm.sh ("echo out; echo err >&2; exit 3")
    assert (status, output) == (3, "out\nerr\n"), (status, output)
    status, output = vm.sh ("sleep 100", 1)
    assert status == 143, status
    assert any (node["inserted"]["node-name"] == "d1" for node in vm.qmp ("query-block"))
    try:
        vm.qmp ("nonsense")
        assert False
    except guest.GuestError:
        pass
    vm.down ("clean")
    assert not vm.alive ()

# A power cut loses what was not written.
with guest.Guest ([exfat]) as vm:
    assert vm.check ("mount -t exfat $(disk d0) /mnt && cat /mnt/file") == "content\n"
    vm.check ("echo lost >/mnt/lost")
    vm.down ("kill")
PYTHON
status=0
python3 "$tmp/test.py" "$floppy" "$exfat" "$tmp/sums" || status=$?
[ $status != 77 ] || skip "guests cannot be had"
[ $status = 0 ] || fail "see above"

stop_nbdkit
fsck.exfat -n "$tmp/exfat.img" >"$tmp/fsck.log" || true
grep -q 'directories 2, files 1' "$tmp/fsck.log" || fail "$(cat "$tmp/fsck.log")"
