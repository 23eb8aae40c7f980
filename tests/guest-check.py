#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A real Linux guest reads a disk: used by test-guest-fat32.sh and test-guest-exfat.sh.

    guest-check.py KERNEL TYPE URI SUMS [REMOTE]

Boots KERNEL, mounts the first partition of the disk read-only as TYPE (vfat or exfat) and compares every file with SUMS
(sha256sum's).  With REMOTE, the folder that the disk shows, it then changes files there and looks at them in the guest, by
"blockdev --flushbufs" and drop_caches, without unmounting."""

import hashlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest"))
import guest as guests                                                                                  # noqa: E402

OPTIONS = {"vfat": "ro,iocharset=iso8859-1,utf8=1,tz=UTC", "exfat": "ro,iocharset=utf8"}
LOOK = "echo 3 >/proc/sys/vm/drop_caches; blockdev --flushbufs $(part d0 1); echo 3 >/proc/sys/vm/drop_caches\n"
SUMS = "cd /mnt && find . -type f -print0 | xargs -0 -r sha256sum | sed 's/  \\.\\//  /'; cd /\n"


def sums_of(text):
    """{path: digest} of what sha256sum says."""
    return {line[66:].replace("\\\\", "\\") if not line.startswith("\\") else line[67:]: line.lstrip("\\")[:64]
            for line in text.splitlines() if len(line) > 66}


def compare(want, got, what):
    wrong = sorted(path for path in set(want) | set(got) if want.get(path) != got.get(path))
    if wrong:
        sys.exit("%s: the guest sees %d files of %d differently: %s" % (
            what, len(wrong), len(want), ", ".join("%r (%s, %s)" % (path, want.get(path), got.get(path)) for path in wrong[:5])))
    print("%s: %d files are the same" % (what, len(want)))


def put(path, data):
    """As a whole, with a time in the past, so that it is believed at once."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.utime(path + ".new", (1.2e9, 1.2e9))
    os.rename(path + ".new", path)


def follow(guest, want, what):
    """What the guest sees after it was told to look again; it may take a moment to get there."""
    end = time.monotonic() + 20
    while True:
        got = sums_of(guest.check(LOOK + SUMS, 120))
        if got == want or time.monotonic() > end:
            return compare(want, got, what)
        time.sleep(1)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def live(guest, remote, want):
    def at(*path):
        return os.path.join(remote, *path)

    # Files of the root, because its folder changes in place.
    names = sorted(path for path in want if "/" not in path and os.path.getsize(at(path)) > 5000)
    want = dict(want)
    put(at(names[0]), os.urandom(123456))
    put(at("new file"), os.urandom(5000))
    os.mkdir(at("new folder"))
    put(at("new folder", "in it"), b"hello\n")
    os.unlink(at(names[1]))
    os.rename(at(names[2]), at("renamed"))
    del want[names[1]]
    want["renamed"] = want.pop(names[2])
    for path in names[0], "new file", "new folder/in it":
        want[path] = digest_of(at(path))
    follow(guest, want, "after changes in the remote")

    # The same while it holds a file open, which goes away: its bytes stay, and no other name shows them.
    held, changed = names[3], names[4]
    guest.check("cd /mnt; sleep 10000 <'%s' >/dev/null 2>&1 & echo $! >/run/holder" % held.replace("'", "'\\''"))
    old = want.pop(held)
    os.unlink(at(held))
    put(at(changed), os.urandom(70000))
    put(at("another new file"), os.urandom(60000))
    for path in changed, "another new file":
        want[path] = digest_of(at(path))
    follow(guest, want, "while a removed file is held open")
    still = guest.check("sha256sum </proc/$(cat /run/holder)/fd/0; kill $(cat /run/holder)").split()[0]
    if still != old:
        sys.exit("a file that the guest holds open has other bytes now")


def main():
    kernel, kind, uri, sums = sys.argv[1:5]
    with open(sums) as file:
        want = sums_of(file.read())
    try:
        with guests.Guest([uri + ",ro=1"], kernel, mem=384) as guest:
            print("guest: kernel %s, up after %.1f s (%s)" % (
                guest.check("uname -r").strip(), guest.boot_time, guest.accel), flush=True)
            guest.check("mount -t %s -o %s $(part d0 1) /mnt" % (kind, OPTIONS[kind]))
            compare(want, sums_of(guest.check(SUMS, 300)), "mounted")
            if len(sys.argv) > 5:
                live(guest, sys.argv[5], want)
            messages = guest.check("dmesg | grep -iE 'fat-fs|exfat|i/o error|warning|corrupt' || true")
            if messages.strip():
                sys.exit("the guest's kernel complains:\n" + messages)
    except guests.GuestMissing as error:
        print("guest-check.py: %s" % error, file=sys.stderr)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
