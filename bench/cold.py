# SPDX-License-Identifier: BSD-3-Clause
"""Bytes that are not here yet: a large file of an Apache, nearby and a round trip away.

The clock runs from the first request to the last byte; servers and mounts are up before it starts, caches are new each
time, and what a run wrote is on the disk before the next one begins."""

import os
import statistics
import time

from harness import DELAY_MS, MIB, Trouble, interleaved, say
from table import spread

READ = ("-q", "4", "-b", str(MIB))


class Cold:
    def __init__(self, bench, url, prefix):
        self.bench, self.url, self.prefix = bench, url, list(prefix)
        self.folder = bench.large_file()
        self.big = os.path.join(self.folder, "big.bin")
        self.compared = False

    def ours(self, _):
        bench, cache = self.bench, self.bench.new_path("cache")
        server = bench.ours(self.url, cache, prefix=self.prefix)
        offset, length = bench.where(server, "big.bin")
        bench.settle()
        rate = bench.load(server, "sequential", offset, length, *READ)
        if not self.compared:
            bench.load(server, "sequential", offset, length, *READ, "-c", self.big)
            self.compared = True
        bench.stop(server)
        bench.remove(cache)
        return rate["bytes"] / rate["seconds"] / MIB

    def ours_first(self, _):
        """Milliseconds until 4 KiB of the file are there."""
        bench, cache = self.bench, self.bench.new_path("cache")
        server = bench.ours(self.url, cache, prefix=self.prefix)
        offset, _ = bench.where(server, "big.bin")
        figures = bench.load(server, "sequential", offset, 4096)
        bench.stop(server)
        bench.remove(cache)
        return figures["first"] * 1000

    def curl_first(self, _):
        _, out = self.bench.run([*self.prefix, "curl", "-sSf", "-r", "0-4095", "-o", "/dev/null", "-w",
                                 "%{time_starttransfer}", self.url + "big.bin"])
        return float(out) * 1000

    def curl_then_file(self, _):
        bench, folder = self.bench, self.bench.new_path("copy")
        os.mkdir(folder)
        server = bench.nbdkit("file", "dir=" + folder)
        bench.settle()
        copy = os.path.join(folder, "big.bin")
        seconds, _ = bench.run([*self.prefix, "curl", "-sSf", "-o", copy, self.url + "big.bin"])
        figures = bench.load(server, "sequential", 0, bench.size, *READ, "-e", "big.bin")
        bench.stop(server)
        bench.remove(folder)
        return bench.size / (seconds + figures["seconds"]) / MIB

    def nbdkit_curl(self, length):
        def run(_):
            server = self.bench.nbdkit("curl", self.url + "big.bin", prefix=self.prefix)
            self.bench.settle()
            figures = self.bench.load(server, "sequential", 0, length, *READ)
            self.bench.stop(server)
            return figures["bytes"] / figures["seconds"] / MIB
        return run

    def curl(self, _):
        self.bench.settle()
        _, out = self.bench.run([*self.prefix, "curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total}",
                                 self.url + "big.bin"])
        return self.bench.size / float(out) / MIB

    def rclone_mount(self, _):
        bench = self.bench
        point, cache = bench.new_path("mount"), bench.new_path("rclone-cache")
        os.mkdir(point)
        process = bench.start([*self.prefix, "rclone", "mount", ":webdav:", point, "--webdav-url", self.url,
                               "--webdav-vendor", "other", "--read-only", "--vfs-cache-mode", "full",
                               "--cache-dir", cache])
        file = os.path.join(point, "big.bin")
        end = time.monotonic() + 30
        while not os.path.exists(file):
            if process.poll() is not None:
                bench.complain(process, "rclone mount")
            if time.monotonic() > end:
                raise Trouble("rclone mount: nothing is there after 30 seconds")
            time.sleep(0.05)
        bench.settle()
        seconds, _ = bench.run(["dd", "if=" + file, "of=/dev/null", "bs=1M", "status=none"])
        bench.stop(process)
        bench.remove(point)
        bench.remove(cache)
        return bench.size / seconds / MIB

    def can_mount(self):
        try:
            self.rclone_mount(0)
            return True
        except (Trouble, OSError) as trouble:
            say("no rclone mount: %s" % trouble)
            return False


def near(bench, table):
    cold = Cold(bench, bench.apache(bench.large_file()), ())
    kinds = [cold.ours, cold.curl_then_file, cold.nbdkit_curl(bench.size), cold.curl]
    if cold.can_mount():
        kinds.append(cold.rclone_mount)
    ours, copied, nbdkit_curl, curl, *mount = interleaved(bench.runs, *kinds)
    name = "cold sequential read, %d MiB" % (bench.size // MIB)
    table.compare(name, ours, copied, "curl -o, then nbdkit file", "%.0f", "MiB/s", more_than=1)
    table.compare(name, ours, nbdkit_curl, "nbdkit curl", "%.0f", "MiB/s", more_than=1)
    table.compare(name, ours, curl, "curl to nowhere", "%.0f", "MiB/s")
    if mount:
        table.compare(name, ours, mount[0], "rclone mount", "%.0f", "MiB/s")
    first_byte(bench, table, cold, "first byte", 2 * DELAY_MS, "curl + a round trip of %d ms" % (2 * DELAY_MS))


def first_byte(bench, table, cold, name, trip, limit_text):
    ours, curl = interleaved(bench.runs, cold.ours_first, cold.curl_first)
    table.absolute(name, ours, "%.1f", "ms", statistics.median(curl) + trip, "<= " + limit_text,
                   "curl: " + spread(curl, "%.1f", "ms"), spread([a / b for a, b in zip(ours, curl)], "%.2f"))


def far(bench, table):
    url, prefix = bench.far_apache(bench.large_file())
    cold = Cold(bench, url, prefix)
    how = "netem" if bench.netem else "proxy"
    # nbdkit curl has one request on its way at a time, so a part of the file tells as much as all of it.
    kinds = [cold.ours, cold.nbdkit_curl(max(bench.size // 16, 16 * MIB)), cold.curl]
    if cold.can_mount():
        kinds.append(cold.rclone_mount)
    ours, nbdkit_curl, curl, *mount = interleaved(bench.runs, *kinds)
    name = "cold sequential read, %d MiB, %d ms (%s)" % (bench.size // MIB, 2 * DELAY_MS, how)
    table.compare(name, ours, curl, "curl to nowhere", "%.0f", "MiB/s", at_least=0.48)
    table.compare(name, ours, nbdkit_curl, "nbdkit curl", "%.0f", "MiB/s", more_than=1)
    if mount:
        table.compare(name, ours, mount[0], "rclone mount", "%.0f", "MiB/s")
    first_byte(bench, table, cold, "first byte, %d ms (%s)" % (2 * DELAY_MS, how), 2 * DELAY_MS,
               "curl + one round trip")
