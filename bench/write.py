# SPDX-License-Identifier: BSD-3-Clause
"""Writing: what the overlay costs above a file, what understanding it costs, and how long it takes to the cloud."""

import glob
import http.client
import os
import random as randoms
import sqlite3
import subprocess
import time
import urllib.parse

from harness import MIB, TOP, Trouble, interleaved, needs, python_with_nbd, say, uri

# A run is made of slices, and those of the two servers take turns.  They are longer than those of reads: what the
# interpreter does once a second belongs to the cost.
SLICES = 2
SECONDS = 2

# What one slice may write for the first time.
SLICE_BYTES = 1 << 30
SEQUENTIAL_BYTES = 256 * MIB
REWRITTEN_BYTES = 256 * MIB

COPY_FILES = 10000
COPY_BYTES = 4096
COPY_LIMIT_S = 2
COPY_SETTLE_S = 2

SMALL_FILES = 1000
CHANGES = 9

NEW_LIMIT_S = 0.7

GUESTWRITE = os.path.join(TOP, "bench", "guestwrite.py")


# ---- the overlay ----

class Area:
    """Where a server's disk is written to.  Parts of it are handed out one after the other, each once."""

    def __init__(self, server, start):
        self.server, self.next = server, start

    def take(self, length):
        self.next += length
        return self.next - length


def free_space(bench, server):
    """Where on the disk nothing is any more."""
    return -(-sum(bench.where(server, "last.bin")) // (4 * MIB)) * 4 * MIB


def rates(bench, runs, ours, reference):
    """Runs both in turn, a slice at a time; returns for each the rate of every run.  A slice is (work, seconds)."""
    def calm(kind):
        def run(i):
            # What the slice before left behind, be it to write to the disk or to interpret, is not for this one to pay.
            bench.settle()
            time.sleep(1.5)
            return kind(i)
        return run

    def rate(slices):
        return sum(work for work, _ in slices) / sum(seconds for _, seconds in slices)
    return [[rate(slices[i * SLICES:(i + 1) * SLICES]) for i in range(runs)]
            for slices in interleaved(runs * SLICES, calm(ours), calm(reference))]


def random(bench, area, depth, start, *options):
    def run(i):
        at, length = (start, REWRITTEN_BYTES) if start is not None else (area.take(SLICE_BYTES), SLICE_BYTES)
        once = () if start is not None else ("-o",)
        figures = bench.load(area.server, "write-random", at, length, "-q", str(depth), "-t", str(SECONDS),
                             "-s", str(i + 1), *once, *options)
        return figures["requests"], figures["seconds"]
    return run


def sequential(bench, area, start):
    def run(_):
        mebibytes, seconds = 0, 0
        for _ in range(2):
            at = start if start is not None else area.take(SEQUENTIAL_BYTES)
            figures = bench.load(area.server, "write-sequential", at, SEQUENTIAL_BYTES, "-q", "4", "-b", str(MIB))
            mebibytes += figures["bytes"] / MIB
            seconds += figures["seconds"]
        return mebibytes, seconds
    return run


def writes(bench, table):
    remote, image, cache = bench.path("write"), bench.path("write.img"), bench.path("cache-write")
    os.mkdir(remote)
    with open(os.path.join(remote, "last.bin"), "wb") as out:
        out.write(os.urandom(MIB))
    bench.age(remote)
    # Nothing of what is written is a file, so nothing is copied or sent; the interpreter looks at it all the same.
    ours_server = bench.ours(remote, cache, "fs=fat32", "size=256G", "write-back=3600")
    start = free_space(bench, ours_server)
    with open(image, "wb") as out:
        out.truncate(256 << 30)
    # The volume is in use.
    guest = Guest(bench, ours_server)
    ours, file = Area(ours_server, start), Area(bench.nbdkit("file", image), start)
    rewritten = [area.take(REWRITTEN_BYTES) for area in (ours, file)][0]
    for area in (ours, file):
        bench.load(area.server, "write-sequential", rewritten, REWRITTEN_BYTES, "-q", "4", "-b", str(MIB), "-f")

    for how, place in (("first time", None), ("rewritten", rewritten)):
        a, b = rates(bench, bench.runs, random(bench, ours, 32, place), random(bench, file, 32, place))
        table.compare("4 KiB random writes, 32 in flight, " + how, a, b, "nbdkit file", "%.0f", "/s", at_least=0.9)
        a, b = rates(bench, bench.runs, sequential(bench, ours, place), sequential(bench, file, place))
        table.compare("1 MiB sequential writes, 4 in flight, " + how, a, b, "nbdkit file", "%.0f", "MiB/s",
                      at_least=0.9)
        a, b = rates(bench, bench.runs, random(bench, ours, 1, place, "-f"), random(bench, file, 1, place, "-f"))
        table.compare("4 KiB write + flush, " + how, a, b, "nbdkit file", "%.0f", "/s", at_least=0.8)
    bench.stop(file.server)
    bench.remove(image)
    vvfat(bench, table, ours)
    guest.leave()
    bench.stop(ours.server)
    bench.remove(cache)


def vvfat(bench, table, ours):
    """QEMU's vvfat, for what it survives: nothing in flight beside, a few seconds, an empty folder."""
    name = "4 KiB random writes, 1 in flight"
    folder, sock = bench.new_path("vvfat"), bench.new_path("s")
    try:
        needs("qemu-nbd")
    except Trouble as trouble:
        table.info(name, "-", "qemu-nbd vvfat: %s" % trouble)
        return
    os.mkdir(folder)
    process = bench.start(["qemu-nbd", "-t", "-k", sock, "-f", "raw", "fat:rw:" + folder])
    rate, survived = [], "survives"
    try:
        # Behind its first files, well within its 504 MiB.
        figures = bench.load(sock, "write-random", 256 * MIB, 64 * MIB, "-t", str(SECONDS), "-o", "-w", "10")
        rate.append(figures["requests"] / figures["seconds"])
    except Trouble as trouble:
        survived = str(trouble)
    if process.poll() is not None:
        survived = "ended with status %d" % process.returncode
    at = ours.take(SLICE_BYTES)
    figures = bench.load(ours.server, "write-random", at, SLICE_BYTES, "-t", str(SECONDS), "-o")
    mine = figures["requests"] / figures["seconds"]
    table.info(name, "%.0f /s" % mine, "qemu-nbd vvfat: " + ("%.1f /s, " % rate[0] if rate else "") + survived,
               "%.0f" % (mine / rate[0]) if rate else "-")
    try:
        bench.stop(process)
    except Trouble as trouble:
        say(str(trouble))
    bench.remove(folder)


# ---- the interpreter ----

class Guest:
    """Writes to a server's disk, as a guest does (guestwrite.py)."""

    def __init__(self, bench, server):
        self.bench, self.server = bench, server
        self.process = bench.start([python_with_nbd(), GUESTWRITE, uri(server)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        self.do("mount")

    def do(self, *command):
        """When the last write was acknowledged."""
        self.process.stdin.write((" ".join(map(str, command)) + "\n").encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            if self.server.poll() is not None:
                self.bench.complain(self.server, "nbdkit ended")
            self.process.wait()
            self.bench.complain(self.process, command[0])
        return float(line)

    def leave(self):
        self.bench.stop(self.process)


class Journal:
    """How many changes wait for the cloud."""

    def __init__(self, cache):
        paths = glob.glob(os.path.join(cache, "**", "cloudshare.db"), recursive=True)
        if len(paths) != 1:
            raise Trouble("%s has %d databases" % (cache, len(paths)))
        self.db = sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote(paths[0]), uri=True, isolation_level=None)

    def waiting(self):
        return self.db.execute("SELECT count (*) FROM change").fetchone()[0]

    def wait_none(self, seconds, pause=0.01):
        """Until all is sent; returns when that was seen."""
        end = time.monotonic() + seconds
        while True:
            n, now = self.waiting(), time.monotonic()
            if n == 0:
                return now
            if now > end:
                raise Trouble("%d changes are not sent after %d seconds" % (n, seconds))
            time.sleep(pause)

    def wait(self, at_least, seconds, pause=0.002):
        """Until so many wait; returns when that was seen."""
        end = time.monotonic() + seconds
        while True:
            n, now = self.waiting(), time.monotonic()
            if n >= at_least:
                return now
            if now > end:
                raise Trouble("%d of %d changes are in the journal after %d seconds" % (n, at_least, seconds))
            time.sleep(pause)


def processor_seconds(process):
    total = 0
    for task in glob.glob("/proc/%d/task/*/schedstat" % process.pid):
        try:
            with open(task) as stat:
                total += int(stat.read().split()[0])
        except OSError:
            pass               # a thread that has just ended
    return total / 1e9


def journalling_server(bench, remote, cache, settle):
    """Its changes stay in the journal: sending them is not what is measured."""
    return bench.ours(remote, cache, "fs=fat32", "size=64G", "settle=%g" % settle, "write-back=86400")


def copies(bench, table):
    def run_one(verb):
        def run(_):
            remote, cache = bench.new_path("remote"), bench.new_path("cache")
            os.mkdir(remote)
            server = journalling_server(bench, remote, cache, COPY_SETTLE_S)
            guest, journal = Guest(bench, server), Journal(cache)
            done = guest.do(verb, COPY_FILES, COPY_BYTES, "Copy")
            seconds = journal.wait(COPY_FILES + 1, 120) - done
            guest.leave()
            bench.stop(server)
            bench.remove(cache)
            bench.remove(remote)
            return seconds
        return run

    marked, unmarked = interleaved(bench.runs, run_one("copy"), run_one("new"))
    name = "%d new files of %d bytes in the journal: " % (COPY_FILES, COPY_BYTES)
    table.absolute(name + "from the commit mark", marked, "%.2f", "s", COPY_LIMIT_S, "<= %g s" % COPY_LIMIT_S)
    limit = COPY_LIMIT_S + COPY_SETTLE_S
    table.absolute(name + "without one, settle=%g" % COPY_SETTLE_S, unmarked, "%.2f", "s", limit, "<= %g s" % limit)


def one_change(bench, table):
    settle = 0.2

    class Disk:
        def __init__(self, files):
            self.files, self.folders = files, max(files // 100, 1)
            tree = bench.tree("many%d" % files, self.folders, files, 1, 64)
            self.cache = bench.new_path("cache")
            self.server = journalling_server(bench, tree, self.cache, settle)
            self.guest, self.journal, self.used = Guest(bench, self.server), Journal(self.cache), 0
            bench.wait_idle(self.server)
            self.change(0)

        def change(self, _):
            """Milliseconds: to the journal, but for the waiting; of the processor until then; and until all rests."""
            i = self.used * self.files // (2 * CHANGES + 2)
            self.used += 1
            before, waiting = processor_seconds(self.server), self.journal.waiting()
            done = self.guest.do("change", "folder %04d/Document number %06d.txt" % (i % self.folders, i))
            seconds = self.journal.wait(waiting + 1, 60) - done
            spent = processor_seconds(self.server) - before
            # What else follows from it, as making the disk's next generation.
            bench.wait_idle(self.server)
            return (seconds - settle) * 1000, spent * 1000, (processor_seconds(self.server) - before) * 1000

    large, small = Disk(bench.files), Disk(SMALL_FILES)
    a, b = interleaved(CHANGES, large.change, small.change)
    name = "one changed file on a disk of %d files: " % bench.files
    reference = "a disk of %d" % SMALL_FILES
    # The time goes by ticks of a tenth of a second: what it costs is the processor's.
    for i, what, form in ((0, "to the journal, less settle", "%.0f"), (1, "processor until then", "%.1f"),
                          (2, "processor until rest", "%.1f")):
        table.compare(name + what, [x[i] for x in a], [x[i] for x in b], reference, form, "ms",
                      at_most=1.25 if i == 1 else None)
    for disk in (large, small):
        disk.guest.leave()
        bench.stop(disk.server)
        bench.remove(disk.cache)


def interpret(bench, table):
    copies(bench, table)
    one_change(bench, table)


# ---- to the cloud ----

class Web:
    """Looks at Apache as others do, over a connection of its own."""

    def __init__(self, url):
        self.parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(self.parts.netloc, timeout=30)

    def wait(self, name, size, seconds=60):
        """Until the file is there in full; returns when its answer began, and its bytes."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self.connection.request("GET", self.parts.path + urllib.parse.quote(name))
            answer = self.connection.getresponse()
            data = answer.read()
            if answer.status == 200 and len(data) == size:
                return now, data
            if now > end:
                raise Trouble("%s is not at the server after %d seconds" % (name, seconds))
            time.sleep(0.003)


def writable_remote(bench):
    folder = bench.new_path("remote")
    os.mkdir(folder)
    # Apache gives up root.
    os.chmod(folder, 0o777)
    return folder, bench.apache(folder)


def new_file(bench, table):
    size = MIB
    folder, url = writable_remote(bench)
    cache = bench.new_path("cache")
    server = bench.ours(url, cache, "fs=fat32", "size=8G", "write-back=0", "settle=0.2")
    guest, web = Guest(bench, server), Web(url)

    def ours(i):
        bench.settle()
        done = guest.do("new", 1, size, "ours%d" % i)
        there, got = web.wait("ours%d 000000.txt" % i, size)
        if got != randoms.Random("ours%d" % i).randbytes(size + 1)[:size]:
            raise Trouble("other bytes are at the server")
        return there - done

    kinds = [ours]
    mount = Mount(bench, bench.new_path("mount"))
    other_url = writable_remote(bench)[1]
    other_web = Web(other_url)
    try:
        mount.start(other_url)

        def rclone(i):
            bench.settle()
            data, name = os.urandom(size), "rclone%d.txt" % i
            with open(os.path.join(mount.point, name), "wb", buffering=0) as out:
                out.write(data)
                os.fsync(out.fileno())
                # Closing is when rclone sends it.
                done = time.monotonic()
            there, got = other_web.wait(name, size)
            if got != data:
                raise Trouble("rclone sent other bytes")
            return there - done
        rclone(-1)
        kinds.append(rclone)
    except (Trouble, OSError) as trouble:
        say("no rclone mount: %s" % trouble)
    ours(-1)
    a, *rest = interleaved(3 * bench.runs, *kinds)
    name = "a new file of 1 MiB, from sync to readable"
    table.absolute(name, a, "%.3f", "s", NEW_LIMIT_S, "< %g s" % NEW_LIMIT_S)
    if rest:
        table.compare(name, a, rest[0], "rclone mount --vfs-write-back 0", "%.3f", "s")
    else:
        table.info(name, "-", "no rclone mount here")
    mount.stop()
    guest.leave()
    bench.stop(server)
    bench.remove(cache)


class Mount:
    def __init__(self, bench, point):
        self.bench, self.point, self.process = bench, point, None

    def start(self, where, mode="writes"):
        """where: a URL of WebDAV, or rclone's words for another remote."""
        needs("rclone", "fusermount3")
        if isinstance(where, str):
            where = [":webdav:", "--webdav-url", where, "--webdav-vendor", "other"]
        os.mkdir(self.point)
        cache = self.bench.new_path("rclone-cache")
        self.process = self.bench.start(["rclone", "mount", where[0], self.point, *where[1:], "--vfs-cache-mode", mode,
                                         "--vfs-write-back", "0", "--cache-dir", cache])
        end = time.monotonic() + 30
        while not os.path.ismount(self.point):
            if self.process.poll() is not None:
                self.bench.complain(self.process, "rclone mount")
            if time.monotonic() > end:
                raise Trouble("rclone mount: nothing is there after 30 seconds")
            time.sleep(0.05)

    def stop(self):
        if self.process:
            self.bench.stop(self.process)
