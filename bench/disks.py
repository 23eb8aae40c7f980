# SPDX-License-Identifier: BSD-3-Clause
"""One process with many views: connecting, a change that reaches them all, and many who read at once."""

import array
import ctypes
import errno
import os
import shutil
import struct
import subprocess
import threading
import time

from harness import MIB, Trouble, interleaved, say
from table import spread
from warm import rates

OPEN_LIMIT_MS = 10
OPENS = 20                      # for each run

PUBLISH_LIMIT_MS = 50
READS_RATIO = 1.2
CHANGES = 3                     # for each run
QUIET_S = 1
CHANGE_S = 60                   # it has failed if it takes as long
AFTERWARDS_S = 0.05             # what follows from a new generation may disturb, too

VMS = 8
SLICE_S = 0.25


# ---- listening to what is listed ----

IN_CLOSE_NOWRITE, IN_ONLYDIR, IN_ISDIR, IN_Q_OVERFLOW = 0x10, 0x01000000, 0x40000000, 0x4000


class Listings:
    """When folders below one were listed last, whoever did so: who has read a folder's names closes it (inotify(7)).

    Looks once a millisecond.  What it finds counts as from when it looked before, so that times measured from there are
    too long by a millisecond, never too short."""

    def __init__(self, top):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd == -1:
            raise Trouble("inotify: %s" % os.strerror(ctypes.get_errno()))
        self.seen, self.lost, self.ends = [], False, False
        for path, _, _ in os.walk(top):
            if self.libc.inotify_add_watch(self.fd, os.fsencode(path), IN_CLOSE_NOWRITE | IN_ONLYDIR) == -1:
                raise Trouble("inotify: %s: %s" % (path, os.strerror(ctypes.get_errno())))
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def folders_closed(self):
        try:
            data = os.read(self.fd, 1 << 20)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return 0
        at, n = 0, 0
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            at += 16 + length
            self.lost |= bool(mask & IN_Q_OVERFLOW)
            # The folder itself tells; its parent's watch tells of it again, by its name.
            n += bool(mask & IN_ISDIR and length == 0)
        return n

    def look(self):
        before = time.monotonic()
        while not self.ends:
            n, now = self.folders_closed(), time.monotonic()
            if n:
                self.seen.append((before, n))
            before = now
            time.sleep(0.001)

    def last(self, begin, end):
        """Between these two: when the last folder was listed, and how many were."""
        listed = [(at, n) for at, n in list(self.seen) if begin <= at <= end]
        if self.lost or not listed:
            raise Trouble("it was not seen when the folders were listed")
        return listed[-1][0], sum(n for _, n in listed)

    def close(self):
        self.ends = True
        self.thread.join()
        os.close(self.fd)


# ---- views of a large disk ----

def large_disk(bench):
    """A folder with the tree of many.py and one large file; the files are the same ones, by other names."""
    tree, top = bench.tree("many", max(bench.files // 100, 1), bench.files, 1, 64), bench.path("many-and-large")
    shutil.copytree(tree, top, copy_function=os.link)
    os.link(os.path.join(bench.large_file(), "big.bin"), os.path.join(top, "big.bin"))
    return top


def serve(bench, top, cache, *flags):
    return bench.nbdkit(*flags, bench.plugin, "remote=" + top, "cache=" + cache, "fs=fat32", "size=64G")


def connects(bench, server, file, name, table, what):
    """name: of the view that the i-th connection asks for."""
    def connect(to, export):
        return lambda i: bench.load(to, "sequential", 0, 512, "-e", export(i))["first"] * 1000
    a, b = interleaved(OPENS * bench.runs, connect(server, name), connect(file, lambda i: ""))
    table.absolute("a disk of %d files: %s" % (bench.files, what), a, "%.2f", "ms", OPEN_LIMIT_MS,
                   "<= %d ms" % OPEN_LIMIT_MS, "nbdkit file: " + spread(b, "%.2f", "ms"),
                   spread([x / y for x, y in zip(a, b)], "%.2f"))


def percentile_99(requests, begin, end):
    """Microseconds, of the requests that were under way between the two."""
    took = sorted(answered - sent for sent, answered in requests if answered >= begin and sent <= end)
    if len(took) < 100:
        raise Trouble("%d reads are too few for a percentile" % len(took))
    return took[len(took) * 99 // 100] * 1e6


class Change:
    """One changed file, and what readers of a live view have of it."""

    def __init__(self, bench, server, top, area):
        self.bench, self.server, self.top, self.area = bench, server, top, area
        self.folders, self.used = max(bench.files // 100, 1), 0
        self.listings = Listings(top)

    def start(self, *command):
        return self.bench.start([self.bench.nbdload, "-t", str(CHANGE_S), *command], stdout=subprocess.PIPE)

    def line(self, process):
        key, _, value = process.stdout.readline().decode().strip().partition("=")
        if not value:
            process.wait()
            self.bench.complain(process, "a reader ended")
        return key, float(value)

    def replace(self, number):
        """Other bytes, as a whole and with another time; returns when."""
        path = os.path.join(self.top, "folder %04d" % (number % self.folders), "Document number %06d.txt" % number)
        new = self.bench.path("new-file")
        with open(new, "wb") as out:
            out.write(os.urandom(100 + self.used))
        long_ago = time.time() - 7200 - 60 * self.used
        os.utime(new, (long_ago, long_ago))
        os.rename(new, path)
        return time.monotonic()

    def run(self, _):
        """Milliseconds from the listing's end to the new bytes, and from the change to there; microseconds that reads took
        (p99): quiet, from the change on, from the listing's end on."""
        bench, offset, length = self.bench, *self.area
        number = self.used * 7919 % bench.files
        self.used += 1
        place = bench.where(self.server, "folder %04d" % (number % self.folders))
        bench.settle()
        bench.wait_idle(self.server)
        log = bench.new_path("reads")
        watch = self.start("-e", "watch/cloud", self.server.socket, "watch", *map(str, place))
        self.line(watch)
        reader = self.start("-e", "reader/cloud", "-s", str(self.used), "-l", log, self.server.socket, "random", str(offset),
                            str(length))
        # Its first requests are not those of a reader that has been there for a while.
        time.sleep(QUIET_S + 0.2)
        changed = self.replace(number)
        key, there = self.line(watch)
        time.sleep(AFTERWARDS_S + 0.05)
        bench.stop(watch)
        bench.stop(reader)
        if reader.returncode != 0:
            bench.complain(reader, "reading")
        listed, folders = self.listings.last(changed, there)
        with open(log, "rb") as data:
            times = array.array("d", data.read())
        bench.remove(log)
        requests = list(zip(times[0::2], times[1::2]))
        say("changed, listed after %.0f ms (%d folders), there after %.0f ms" %
            ((listed - changed) * 1000, folders, (there - changed) * 1000))
        end = there + AFTERWARDS_S
        return ((there - listed) * 1000, (there - changed) * 1000, percentile_99(requests, changed - QUIET_S, changed),
                percentile_99(requests, changed, end), percentile_99(requests, listed, end))


def change(bench, table, server, top):
    area = bench.where(server, "big.bin")
    say("filling the cache")
    bench.load(server, "sequential", *area, "-q", "4", "-b", str(MIB), "-c", os.path.join(top, "big.bin"))
    changes = Change(bench, server, top, area)
    try:
        published, whole, quiet, during, afterwards = zip(*(changes.run(i) for i in range(CHANGES * bench.runs)))
    finally:
        changes.listings.close()
    name = "one file of %d changed in the remote: " % bench.files
    table.absolute(name + "from the end of the listing until it is on the disk", published, "%.1f", "ms",
                   PUBLISH_LIMIT_MS, "<= %d ms" % PUBLISH_LIMIT_MS, "from the change: " + spread(whole, "%.0f", "ms"))
    for what, reads in (("since the change", during), ("since the end of the listing", afterwards)):
        table.compare(name + "p99 of 4 KiB reads " + what, reads, quiet, "quiet", "%.0f", "us", at_most=READS_RATIO)


def views(bench, table):
    top, cache = large_disk(bench), bench.path("cache-views")
    image = bench.path("views.img")
    with open(image, "wb") as out:
        out.truncate(MIB)
    file = bench.nbdkit("file", image)
    server = serve(bench, top, cache)
    bench.load(server, "sequential", 0, 512)
    bench.wait_idle(server)
    connects(bench, server, file, lambda i: "new%d/cloud" % i, table, "connect as a new view, first sector")
    connects(bench, server, file, lambda i: "new0/cloud", table, "connect to a view again, first sector")
    bench.stop(server)
    server = serve(bench, top, cache, "-r")
    bench.load(server, "sequential", 0, 512)
    bench.wait_idle(server)
    connects(bench, server, file, lambda i: "reading%d/cloud" % i, table, "connect as a new read-only view, first sector")
    bench.stop(file)
    change(bench, table, server, top)
    bench.stop(server)
    bench.remove(cache)
    bench.remove(top)


# ---- many who read ----

def crowd(bench, table):
    folder, cache = bench.large_file(), bench.path("cache-crowd")
    names = ["vm%d/warm" % i for i in range(VMS)]
    ours = bench.ours(folder, cache, "disk=warm", *("vm=vm%d,disk=warm" % i for i in range(VMS)))
    file = bench.nbdkit("file", os.path.join(folder, "big.bin"))
    offset, length = bench.where(ours, "big.bin", names[0])
    say("filling the cache")
    for server, export, start in ((ours, names[0], offset), (file, "", 0)):
        bench.load(server, "sequential", start, length, "-e", export, "-q", "4", "-b", str(MIB), "-c",
                   os.path.join(folder, "big.bin"))
    bench.settle()
    bench.wait_idle(ours)

    def all_at_once(server, start, kind, length, *options):
        def run(i):
            """Bytes, and the seconds from the first request of all to the last answer of all."""
            clients = [bench.start([bench.nbdload, "-e", name if server is ours else "", "-s", str(i * VMS + n + 1),
                                    *options, server.socket, kind, str(start), str(length)], stdout=subprocess.PIPE)
                       for n, name in enumerate(names)]
            figures = []
            for client in clients:
                lines = client.stdout.read().decode().splitlines()
                if client.wait() != 0:
                    bench.complain(client, "reading")
                bench.stop(client)
                bench.remove(client.log)
                figures.append({key: float(value) for key, _, value in (line.partition("=") for line in lines)})
            seconds = max(f["ended"] for f in figures) - min(f["started"] for f in figures)
            return sum(f["bytes"] for f in figures) / MIB, seconds
        return run

    random = ("random", length, "-q", "4", "-t", str(SLICE_S))
    sequential = ("sequential", length // 4, "-q", "4", "-b", str(MIB))
    for what, load in (("random 4 KiB", random), ("sequential 1 MiB", sequential)):
        a, b = rates(bench.runs, all_at_once(ours, offset, *load), all_at_once(file, 0, *load))
        table.compare("%d VMs read a warm disk at once: %s, 4 in flight each" % (VMS, what), a, b, "nbdkit file", "%.0f",
                      "MiB/s", at_least=0.9)
    bench.stop(ours)
    bench.stop(file)
    bench.remove(cache)


def disks(bench, table):
    views(bench, table)
    crowd(bench, table)
