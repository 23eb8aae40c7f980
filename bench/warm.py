# SPDX-License-Identifier: BSD-3-Clause
"""Bytes that are in the cache: what the disk costs above a file."""

import os

from harness import MIB, interleaved, needs, say, uri

# A run is made of slices, and those of the two servers take turns: what else the machine does changes by the second.
SLICES = 8
SECONDS = 0.25

# Each slice of sequential reads goes through the file until it has read so much.
SEQUENTIAL_MIB = 256


def rates(runs, ours, reference):
    """Runs both in turn, a slice at a time; returns for each the rate of every run.  A slice is (work, seconds)."""
    def rate(slices):
        return sum(work for work, _ in slices) / sum(seconds for _, seconds in slices)
    return [[rate(slices[i * SLICES:(i + 1) * SLICES]) for i in range(runs)]
            for slices in interleaved(runs * SLICES, ours, reference)]


def reads(bench, table):
    folder = bench.large_file()
    ours = bench.ours(bench.apache(folder), bench.path("cache-warm"))
    offset, length = bench.where(ours, "big.bin")
    file = bench.nbdkit("file", os.path.join(folder, "big.bin"))
    say("filling the cache")
    bench.load(ours, "sequential", offset, length, "-q", "4", "-b", str(MIB))
    bench.load(ours, "sequential", offset, length, "-q", "4", "-b", str(MIB), "-c", os.path.join(folder, "big.bin"))
    bench.load(file, "sequential", 0, length, "-q", "4", "-b", str(MIB))
    bench.settle()
    bench.wait_idle(ours)

    def random(server, start, depth):
        def run(i):
            figures = bench.load(server, "random", start, length, "-q", str(depth), "-t", str(SECONDS),
                                 "-s", str(i + 1))
            return figures["requests"], figures["seconds"]
        return run

    def sequential(server, start):
        def run(_):
            mebibytes, seconds = 0, 0
            while mebibytes < SEQUENTIAL_MIB:
                figures = bench.load(server, "sequential", start, length, "-q", "4", "-b", str(MIB))
                mebibytes += figures["bytes"] / MIB
                seconds += figures["seconds"]
            return mebibytes, seconds
        return run

    for depth in (1, 32):
        a, b = rates(bench.runs, random(ours, offset, depth), random(file, 0, depth))
        table.compare("warm random 4 KiB, %d in flight" % depth, a, b, "nbdkit file", "%.0f", "/s", at_least=0.95)
    a, b = rates(bench.runs, sequential(ours, offset), sequential(file, 0))
    table.compare("warm sequential 1 MiB, 4 in flight", a, b, "nbdkit file", "%.0f", "MiB/s", at_least=0.95)


def copy(bench, table):
    needs("nbdcopy")
    files = bench.files // 10
    tree = bench.tree("small", max(files // 100, 1), files, 4096, 65536)
    ours = bench.ours(bench.apache(tree), bench.path("cache-copy"))
    dump = bench.path("dump.img")
    say("filling the cache")
    bench.run(["nbdcopy", uri(ours), dump])
    bench.settle()
    bench.wait_idle(ours)
    file = bench.nbdkit("file", dump)

    def whole(server):
        return lambda _: bench.run(["nbdcopy", uri(server), "null:"])[0]

    interleaved(1, whole(ours), whole(file))
    a, b = interleaved(bench.runs, whole(ours), whole(file))
    mebibytes = os.stat(dump).st_blocks * 512 / MIB
    table.compare("nbdcopy of a disk of %d small files (%.0f MiB)" % (files, mebibytes), [mebibytes / s for s in a],
                  [mebibytes / s for s in b], "nbdkit file on a dump", "%.0f", "MiB/s", at_least=0.8)
    bench.stop(file)
    bench.remove(dump)
