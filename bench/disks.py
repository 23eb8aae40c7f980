# SPDX-License-Identifier: BSD-3-Clause
"""One process with many views: connecting, a change that reaches them all, and many who read at once."""

import array
import ctypes
import errno
import os
import shutil
import statistics
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
CHANGES = 4                     # for each run
QUIET_S = 1
CHANGE_S = 60                   # it has failed if it takes as long
AFTERWARDS_S = 0.05             # what follows from a new generation may disturb, too

VMS = 8
SLICE_S = 0.25


# ---- listening to what is listed ----

IN_CLOSE_NOWRITE, IN_ONLYDIR, IN_ISDIR, IN_Q_OVERFLOW = 0x10, 0x01000000, 0x40000000, 0x4000


class Listings:
    """When a folder, or one in it, was listed last, by whomever: who has read a folder's names closes it (inotify(7)).

    Looks once a millisecond.  What it finds counts as from when it looked before, so that times measured from there are
    too long by a millisecond, never too short."""

    def __init__(self, top):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd == -1 or libc.inotify_add_watch(self.fd, os.fsencode(top), IN_CLOSE_NOWRITE | IN_ONLYDIR) == -1:
            raise Trouble("inotify: %s" % os.strerror(ctypes.get_errno()))
        self.seen, self.lost, self.ends = [], False, False
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
            n += bool(mask & IN_ISDIR)
        return n

    def look(self):
        before = time.monotonic()
        while not self.ends:
            n, now = self.folders_closed(), time.monotonic()
            if n:
                self.seen.append((before, n))
            before = now
            time.sleep(0.001)

    def last(self, begin, end, whole):
        """Between these two: when the last folder was listed, and how many were.  After a whole listing only folders
        with files that were too fresh are listed again; if all of them were, it may be the first time that counts."""
        listed, total = [(at, n) for at, n in list(self.seen) if begin <= at <= end], 0
        if self.lost or not listed:
            raise Trouble("it was not seen when the folders were listed")
        if sum(n for _, n in listed) < 2 * whole:
            return listed[-1][0], sum(n for _, n in listed)
        for at, n in listed:
            total += n
            if total >= whole:
                return at, total

    def close(self):
        self.ends = True
        self.thread.join()
        os.close(self.fd)


# ---- views of a large disk ----

def large_disk(bench):
    """A folder with the tree of many.py and one large file, which are the same files by other names; made once."""
    tree, top = bench.tree("many", max(bench.files // 100, 1), bench.files, 1, 64), bench.path("many-and-large")
    if os.path.isdir(top):
        return top
    shutil.copytree(tree, top, copy_function=os.link)
    os.link(os.path.join(bench.large_file(), "big.bin"), os.path.join(top, "big.bin"))
    return top


def serve(bench, cache, *flags):
    server = bench.nbdkit(*flags, bench.plugin, "remote=" + large_disk(bench), "cache=" + cache, "fs=fat32", "size=64G")
    # Later on it lists the remote again.
    bench.load(server, "sequential", 0, 512)
    bench.wait_idle(server)
    return server


def connects(bench, server, file, name, table, what):
    """name: of the view that the i-th connection asks for."""
    def one(to, export):
        return lambda i: bench.load(to, "sequential", 0, 512, "-e", export(i))["first"] * 1000
    a, b = interleaved(OPENS * bench.runs, one(server, name), one(file, lambda i: ""))
    table.absolute("a disk of %d files: %s" % (bench.files, what), a, "%.2f", "ms", OPEN_LIMIT_MS,
                   "<= %d ms" % OPEN_LIMIT_MS, "nbdkit file: " + spread(b, "%.2f", "ms"),
                   spread([x / y for x, y in zip(a, b)], "%.2f"))


def connect(bench, table):
    cache, image = bench.path("cache-connect"), bench.path("connect.img")
    with open(image, "wb") as out:
        out.truncate(MIB)
    file = bench.nbdkit("file", image)
    server = serve(bench, cache)
    connects(bench, server, file, lambda i: "new%d/cloud" % i, table, "connect as a new view, first sector")
    connects(bench, server, file, lambda i: "new0/cloud", table, "connect to a view again, first sector")
    bench.stop(server)
    server = serve(bench, cache, "-r")
    connects(bench, server, file, lambda i: "read%d/cloud" % i, table, "connect as a new read-only view, first sector")
    bench.stop(server)
    bench.stop(file)
    bench.remove(cache)


# ---- a change ----

def percentile_99(times):
    """Of seconds, in microseconds."""
    if len(times) < 1000:
        raise Trouble("%d reads are too few for a percentile" % len(times))
    return sorted(times)[len(times) * 99 // 100] * 1e6


def loop_for(seconds):
    """Uses a processor, and waits as long as is looked at afterwards; returns from when to when it did the former."""
    time.sleep(0.1)
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        pass
    time.sleep(AFTERWARDS_S + 0.01)
    return begin, begin + seconds


class Change:
    """One changed file, and what readers of a live view have of it."""

    def __init__(self, bench, server, top, area):
        self.bench, self.server, self.top, self.area = bench, server, top, area
        self.folders, self.used = max(bench.files // 100, 1), 0
        self.listings = Listings(top)

    def start(self, *command):
        return self.bench.start([self.bench.nbdload, "-t", str(CHANGE_S), *command], stdout=subprocess.PIPE)

    def line(self, process):
        value = process.stdout.readline().decode().strip().partition("=")[2]
        if not value:
            process.wait()
            self.bench.complain(process, "a reader ended")
        return float(value)

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

    def once(self):
        """Milliseconds from the listing's end to the new bytes, and from the change to there; and, in seconds, what
        reads took that were under way in the quiet before, from the change on, from the listing's end on, and beside a
        loop for as long as each of the latter two."""
        bench, offset, length = self.bench, *self.area
        number = self.used * 7919 % bench.files
        self.used += 1
        place = bench.where(self.server, "folder %04d" % (number % self.folders))
        bench.settle()
        bench.wait_idle(self.server)
        log = bench.new_path("reads")
        watching = ("-e", "watch/cloud", self.server.socket, "watch", *map(str, place))
        watch = self.start(*watching)
        self.line(watch)
        reader = self.start("-e", "reader/cloud", "-s", str(self.used), "-l", log, self.server.socket, "random",
                            str(offset), str(length))
        # Its first requests are not those of a reader that has been there for a while.
        time.sleep(QUIET_S + 0.2)
        changed = self.replace(number)
        there = self.line(watch)
        bench.stop(watch)
        listed, folders = self.listings.last(changed, there, self.folders + 1)
        time.sleep(0.5)
        watch = self.start(*watching)
        self.line(watch)
        loops = [loop_for(there - changed), loop_for(there - listed)]
        bench.stop(watch)
        bench.stop(reader)
        if reader.returncode != 0:
            bench.complain(reader, "reading")
        with open(log, "rb") as data:
            times = array.array("d", data.read())
        bench.remove(log)
        say("changed, listed after %.0f ms (%d folders), there after %.0f ms" %
            ((listed - changed) * 1000, folders, (there - changed) * 1000))

        def took(begin, end):
            return [answered - sent for sent, answered in zip(times[0::2], times[1::2])
                    if answered >= begin and sent <= end]
        quiet = took(changed - QUIET_S, changed)
        return ((there - listed) * 1000, (there - changed) * 1000, quiet,
                *(took(begin, end + AFTERWARDS_S) for begin, end in [(changed, there), (listed, there), *loops]))

    def run(self, _):
        """A few changes: of the times the medians, of the reads' the percentiles of all."""
        published, whole, *reads = zip(*(self.once() for _ in range(CHANGES)))
        return (statistics.median(published), statistics.median(whole),
                *(percentile_99([t for times in kind for t in times]) for kind in reads))


def change(bench, table):
    cache, top = bench.path("cache-change"), large_disk(bench)
    server = serve(bench, cache, "-r")
    area = bench.where(server, "big.bin")
    say("filling the cache")
    bench.load(server, "sequential", *area, "-q", "4", "-b", str(MIB), "-c", os.path.join(top, "big.bin"))
    changes = Change(bench, server, top, area)
    try:
        published, whole, quiet, during, afterwards, *beside = zip(*interleaved(bench.runs, changes.run)[0])
    finally:
        changes.listings.close()
    name = "one file of %d changed in the remote: " % bench.files
    table.absolute(name + "from the end of the listing until it is on the disk", published, "%.1f", "ms",
                   PUBLISH_LIMIT_MS, "<= %d ms" % PUBLISH_LIMIT_MS, "from the change: " + spread(whole, "%.0f", "ms"))
    reads = name + "p99 of 4 KiB reads since "
    for what, ours, loop in (("the change", during, beside[0]), ("the end of the listing", afterwards, beside[1])):
        table.compare(reads + what, ours, quiet, "quiet", "%.0f", "us", at_most=READS_RATIO)
        # What any work at all costs those who read on this machine.
        table.compare(reads + what, ours, loop, "beside a loop for as long", "%.0f", "us")
    bench.stop(server)
    bench.remove(cache)


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
    sequential = ("sequential", length // 8, "-q", "4", "-b", str(MIB))
    for what, load in (("random 4 KiB", random), ("sequential 1 MiB", sequential)):
        a, b = rates(bench.runs, all_at_once(ours, offset, *load), all_at_once(file, 0, *load))
        table.compare("%d VMs read a warm disk at once: %s, 4 in flight each" % (VMS, what), a, b, "nbdkit file",
                      "%.0f", "MiB/s", at_least=0.9)
    bench.stop(ours)
    bench.stop(file)
    bench.remove(cache)
