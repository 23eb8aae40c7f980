#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes to a view, across the end of its server, and looks whether all is there.

    wroteall.py write SOCKET EXPORT FILE SECONDS    connects again when it must; FILE gets what was acknowledged
    wroteall.py check SOCKET EXPORT FILE"""

import hashlib
import os
import random
import sys
import time

import nbd

BLOCK = 4096


def connect(socket, export):
    end = time.monotonic() + 30
    while True:
        handle = nbd.NBD()
        handle.set_export_name(export)
        try:
            handle.connect_unix(os.path.realpath(socket))
            return handle
        except nbd.Error:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def unused(handle):
    """Blocks near the disk's end, where no file is."""
    return range(handle.get_size() // BLOCK - 2000, handle.get_size() // BLOCK - 100)


def write(socket, export, path, seconds):
    rng = random.Random(path)
    handle = connect(socket, export)
    blocks = list(unused(handle))
    untouched = range(0, blocks[0] * BLOCK, 1 << 20)
    before = [hashlib.sha1(handle.pread(65536, at)).digest() for at in untouched]
    done, lost, again = {}, 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or again == 0:
        block, data = rng.choice(blocks), rng.randbytes(BLOCK)
        while True:
            try:
                handle.pwrite(data, block * BLOCK)
                break
            except nbd.Error:
                # As a guest's block layer does it: the request is sent once more.
                again += 1
                handle = connect(socket, export)
                for old, content in done.items():
                    lost += handle.pread(BLOCK, old * BLOCK) != content and old != block
                lost += before != [hashlib.sha1(handle.pread(65536, at)).digest() for at in untouched]
        done[block] = data
    with open(path, "w") as file:
        for block, data in done.items():
            file.write("%d %s\n" % (block, hashlib.sha1(data).hexdigest()))
    print("%d blocks, %d reconnects, %d lost" % (len(done), again, lost))
    return 1 if lost else 0


def check(socket, export, path):
    handle = connect(socket, export)
    with open(path) as file:
        rows = [line.split() for line in file]
    return 1 if any(hashlib.sha1(handle.pread(BLOCK, int(block) * BLOCK)).hexdigest() != digest for block, digest in rows) else 0


if __name__ == "__main__":
    verb, socket, export, path, *rest = sys.argv[1:]
    sys.exit(write(socket, export, path, float(rest[0])) if verb == "write" else check(socket, export, path))
