#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two real guests on one disk at once.

    twoguests.py fat32|exfat URI URI FILE

Both write files of their own, and both edit the same file and a folder of the same name.  FILE gets the sums of all that must be in the
cloud in the end."""

import hashlib
import os
import sys
import threading

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest")]
sys.dont_write_bytecode = True

import guest                                                                                            # noqa: E402


def work(vm, name, kind, wrote):
    def file(path, text):
        vm.check("mkdir -p \"$(dirname '/mnt/%s')\" && echo '%s' >'/mnt/%s'" % (path, text, path))
        wrote.append((text + "\n", path))

    vm.check("mount -t %s -o noatime%s $(part d0 1) /mnt" % (kind, ",iocharset=utf8" if kind == "vfat" else ""))
    for i in range(12):
        file("of %s %d.txt" % (name, i), "number %d of %s" % (i, name))
        file("folder of both/%s %d.txt" % (name, i), "in the folder, number %d of %s" % (i, name))
        if i % 4 == 3:
            vm.check("sync; sleep 1")
    file("common file one.txt", "the edit of %s" % name)
    file("new in both.txt", "made by %s" % name)
    vm.check("mv '/mnt/of %s 3.txt' '/mnt/folder of both/moved by %s.txt' && rm '/mnt/of %s 4.txt'" % (name, name, name))
    wrote.remove(("number 4 of %s\n" % name, "of %s 4.txt" % name))
    vm.check("sync && umount /mnt")


def main():
    fs, one, two, path = sys.argv[1:]
    kind = "exfat" if fs == "exfat" else "vfat"
    wrote, failed = [], []
    try:
        machines = [(guest.Guest([uri]), name) for uri, name in ((one, "a"), (two, "b"))]
    except guest.GuestMissing as error:
        print(error)
        return 77

    def run(vm, name):
        try:
            with vm:
                work(vm, name, kind, wrote)
                vm.down("clean")
        except Exception as error:                                      # pylint: disable=broad-except
            failed.append("%s: %s" % (name, error))

    threads = [threading.Thread(target=run, args=machine) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in failed:
        print(line)
    with open(path, "w") as file:
        for text, where in wrote:
            file.write("%s %s\n" % (hashlib.sha256(text.encode()).hexdigest(), where))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
