#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes to a disk what was recorded (by ../traces/recorder.py), as QEMU with reconnect-delay does when servers die: what was
acknowledged is not sent again, what was not is, to the server that comes next.

    play.py FILE-WITH-URI RECORDING [--rate WRITES-PER-SECOND] [--progress FILE]

RECORDING.log and RECORDING.data are the recording; the URI is read again at each connection.  Reads back what it wrote last
now and then, and at the end everything: bytes that were acknowledged and are not there end it with status 4."""

import argparse
import os
import sys
import time

import nbd

PATIENCE = 120


class Disk:
    def __init__(self, path):
        self.path, self.nbd, self.connections = path, None, 0

    def connect(self, deadline):
        while True:
            try:
                with open(self.path) as file:
                    uri = file.read().strip()
                handle = nbd.NBD()
                handle.connect_uri(uri)
                self.nbd = handle
                self.connections += 1
                return
            except (nbd.Error, OSError) as error:
                if time.monotonic() > deadline:
                    raise SystemExit("play: no server: %s" % error)
                time.sleep(0.05)

    def do(self, request):
        """Until it is acknowledged."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.nbd is None:
                self.connect(deadline)
            try:
                return request(self.nbd)
            except nbd.Error as error:
                # An answer from a server that lives is an answer.
                if self.nbd.aio_is_ready():
                    raise SystemExit("play: the server refuses: %s" % error)
                self.nbd = None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uri")
    parser.add_argument("recording")
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--progress")
    args = parser.parse_args()
    disk = Disk(args.uri)
    now = {}                    # sector: its bytes
    begin, n = time.monotonic(), 0

    def check(offset, length):
        got = disk.do(lambda h: h.pread(length, offset))
        for at in range(0, length, 512):
            if bytes(got[at:at + 512]) != now[offset + at]:
                print("play: sector %d was acknowledged and is not there" % ((offset + at) // 512), file=sys.stderr)
                sys.exit(4)

    with open(args.recording + ".log") as log, open(args.recording + ".data", "rb") as data:
        for line in log:
            op, _, offset, length = line.split()
            offset, length = int(offset), int(length)
            if op == "W":
                content = data.read(length)
                disk.do(lambda h: h.pwrite(content, offset))
            elif op == "Z":
                content = bytes(length)
                disk.do(lambda h: h.zero(length, offset))
            elif op == "F":
                disk.do(lambda h: h.flush() if h.can_flush() else None)
            if op in "WZ":
                for at in range(0, length, 512):
                    now[offset + at] = content[at:at + 512]
            n += 1
            if op in "WZ" and n % 16 == 0:
                check(offset, length)
            if args.progress and n % 16 == 0:
                with open(args.progress + ".new", "w") as file:
                    file.write("%d\n" % n)
                os.rename(args.progress + ".new", args.progress)
            if args.rate:
                time.sleep(max(0, begin + n / args.rate - time.monotonic()))
    for offset in now:
        check(offset, 512)
    print("play: %d requests, %d connections" % (n, disk.connections))


if __name__ == "__main__":
    main()
