#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of test-scale.sh.

    scale.py tree DIR ITEMS FOLDERS           files in folders
    scale.py idle PID PREFIX N DISK...        kB of memory (Pss) that a view costs which was opened and is left alone
    scale.py open PREFIX N DISK               milliseconds to open a view that is new, and to read its first sector: median, worst
    scale.py read URI...                      reads all files by all views at once
    scale.py news LOG FILE DISK...            FILE is changed; milliseconds until the log (with times) tells of new generations

PREFIX is an URI with %s for the export's name."""

import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True


def tree(folder, items, folders):
    for i in range(int(folders)):
        os.makedirs("%s/folder %03d/sub" % (folder, i))
    for i in range(int(items)):
        f = i % int(folders)
        path = "%s/folder %03d/%s%06d.%s" % (folder, f, "sub/" if i % 3 else "", i, ("jpg", "txt", "pdf", "mp3")[i // int(folders) % 4])
        with open(path, "w") as file:
            file.write("%d\n" % i)
        os.utime(path, (1.7e9 + i, 1.7e9 + i))


def memory(pid):
    with open("/proc/%s/smaps_rollup" % pid) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def connect(uri):
    import nbd
    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


def idle(pid, prefix, n, *disks):
    n = int(n)
    # Threads and caches that the first ones make.
    warm = [connect(prefix % ("warm%d/%s" % (i, disk))) for i in range(3) for disk in disks]
    for handle in warm:
        handle.pread(512, 0)
        handle.shutdown()
    before = memory(pid)
    # One connection each, that goes at once: nbdkit's own threads are not ours to count.
    for i in range(n):
        handle = connect(prefix % ("idle%d/%s" % (i, disks[i % len(disks)])))
        handle.pread(512, 0)
        handle.shutdown()
    time.sleep(0.5)
    print("%.1f" % ((memory(pid) - before) / n))


def open_times(prefix, n, disk):
    times = []
    for i in range(int(n)):
        begin = time.monotonic()
        handle = connect(prefix % ("open%d/%s" % (i, disk)))
        handle.pread(512, 0)
        times.append((time.monotonic() - begin) * 1000)
        handle.shutdown()
    times.sort()
    print("%.2f %.2f" % (times[len(times) // 2], times[-1]))


def read(*uris):
    import diskread
    failed = []

    def all_of(uri):
        try:
            volume = diskread.volume_of(diskread.Disk(uri))
            for file in volume.walk():
                if not file.folder:
                    for _ in volume.content(file):
                        pass
        except Exception as error:                                      # pylint: disable=broad-except
            failed.append(error)

    threads = [threading.Thread(target=all_of, args=(uri,)) for uri in uris]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit("%s" % failed[0])


def news(log, path, *disks):
    with open(log) as file:
        file.seek(0, 2)
        begin = time.time()
        with open(path, "a") as changed:
            changed.write("more\n")
        when, listed, rest = {}, None, ""
        end = time.monotonic() + 30
        while set(disks) - set(when) and time.monotonic() < end:
            rest += file.read()
            *lines, rest = rest.split("\n")
            for line in lines:
                at, _, text = line.partition(" ")
                if ": revision " in text:
                    listed = float(at)
                for disk in disks:
                    if "disk %s: generation " % disk in text:
                        when.setdefault(disk, float(at))
            time.sleep(0.002)
    if len(when) < len(disks):
        sys.exit("no new generation")
    first = min(when.values())
    print("%.1f %.1f" % ((first - (listed or begin)) * 1000, (max(when.values()) - (listed or begin)) * 1000))


if __name__ == "__main__":
    {"tree": tree, "idle": idle, "open": open_times, "read": read, "news": news}[sys.argv[1]](*sys.argv[2:])
