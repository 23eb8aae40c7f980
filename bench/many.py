# SPDX-License-Identifier: BSD-3-Clause
"""Many files: the first listing, starting again, and memory."""

import statistics
import time

from harness import Trouble, interleaved, needs
from table import spread, verdict

# What the plugin may need however few files there are, and for each file (bytes).
FIXED = 30 * 1000 * 1000
PER_FILE = 200

START_LIMIT_S = 0.4


def many(bench, table):
    needs("rclone")
    folders = max(bench.files // 100, 1)
    tree = bench.tree("many", folders, bench.files, 1, 64)
    url = bench.apache(tree)
    name = "%d files in %d folders: " % (bench.files, folders)

    def first_listing(_):
        cache = bench.new_path("cache")
        bench.settle()
        seconds, _ = bench.run(["nbdkit", "-U", "-", bench.plugin, "remote=" + url, "cache=" + cache, "--run", "true"])
        bench.remove(cache)
        return seconds

    def rclone(_):
        seconds, out = bench.run(["rclone", "lsf", "-R", ":webdav:", "--webdav-url", url, "--webdav-vendor", "other"])
        if out.count("\n") != bench.files + folders:
            raise Trouble("rclone lists %d items" % out.count("\n"))
        return seconds

    a, b = interleaved(bench.runs, first_listing, rclone)
    table.compare(name + "first listing", a, b, "rclone lsf -R", "%.2f", "s", at_most=0.5)

    cache = bench.path("cache-many")
    first = bench.ours(url, cache)
    bench.load(first, "sequential", 0, 512)
    bench.wait_idle(first)
    first_memory = [bench.peak_memory(first)]
    # What is quick because it is incomplete does not count.
    on_disk = bench.listed(first)
    if on_disk != bench.files + folders:
        raise Trouble("%d items are on the disk" % on_disk)
    bench.stop(first)
    bench.settle()
    second_memory, floppy_memory = [], []

    def start(command, memory):
        def run(i):
            sock = bench.new_path("s")
            before = time.monotonic()
            process = bench.start(["nbdkit", "-f", "-U", sock, *command])
            bench.load(sock, "sequential", 0, 512, "-w", "60")
            seconds = time.monotonic() - before
            # Later on it lists the remote again, to see what has changed meanwhile.
            bench.wait_idle(process)
            memory.append(bench.peak_memory(process))
            bench.stop(process)
            return seconds
        return run

    a, b = interleaved(bench.runs, start([bench.plugin, "remote=" + url, "cache=" + cache], second_memory),
                       start(["floppy", tree], floppy_memory))
    table.absolute(name + "second start to first byte", a, "%.3f", "s", START_LIMIT_S, "<= %.1f s" % START_LIMIT_S,
                   "nbdkit floppy: " + spread(b, "%.3f", "s"), spread([x / y for x, y in zip(a, b)], "%.2f"))
    for what, memory in (("first start", first_memory), ("second start", second_memory)):
        peak = statistics.median(memory)
        per_file = (peak - FIXED) / bench.files
        table.add(name + "memory of the " + what, "%.0f bytes a file (peak %.1f MB)" % (max(per_file, 0), peak / 1e6),
                  "nbdkit floppy: %.1f MB" % (statistics.median(floppy_memory) / 1e6),
                  "%.2f" % (peak / statistics.median(floppy_memory)), "<= %d beyond %d MB" % (PER_FILE, FIXED / 1e6),
                  verdict(per_file <= PER_FILE))
    bench.remove(cache)
