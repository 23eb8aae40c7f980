#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes to a FAT32 disk over NBD what Linux writes there, in its order: the mark that the volume is in use, then data,
FATs and folders by their place on the disk, as its write-back does.

    guestwrite.py URI

stays connected as a guest does, and takes commands, one a line:

    mount                    the volume is in use
    new COUNT SIZE NAME      files of SIZE bytes, NAME with a number; one file: in the root, else in a new folder NAME;
                             then FLUSH, as for syncfs
    copy COUNT SIZE NAME     the same, and the mark right behind it
    file SOURCE NAME         one file like "new", with SOURCE's bytes, and the mark
    patch OFFSET SIZE SEED PATH    other bytes there in a file (random, of the seed), and another time, and the mark
    change PATH              other bytes in a file's place, and another time
    umount                   the volume is clean: the commit mark

Answers each with the time at which its last write was acknowledged, seconds of CLOCK_MONOTONIC.
Needs libnbd's Python bindings."""

import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))
sys.dont_write_bytecode = True

from diskread import Disk, Fat32, volume_of  # noqa: E402

MIB = 1 << 20
END = 0x0fffffff
ARCHIVE, DIRECTORY, LONG = 0x20, 0x10, 0x0f

# "FAT32 File System Specification" 1.03: the boot sector's byte 65, bit 0, as Linux uses it.
DIRTY_AT = 65


def fat_time():
    t = time.localtime()
    return t.tm_hour << 11 | t.tm_min << 5 | t.tm_sec // 2, (t.tm_year - 1980) << 9 | t.tm_mon << 5 | t.tm_mday


def short_entry(short, attributes, first, size):
    clock, day = fat_time()
    return struct.pack("<11sBBBHHHHHHHI", short, attributes, 0, 0, clock, day, day, first >> 16, clock, day,
                       first & 0xffff, size)


def content_of(name, size):
    """The bytes of the first file; those of the others are the same ones, each time from one further on."""
    return random.Random(name).randbytes(size)


def entries(name, number, attributes, first, size):
    """The entries of one name ("Long Directory Entries"), whose alias is made of the number."""
    short = (b"%08X" % number) + (b"TXT" if "." in name else b"   ")
    total = 0
    for byte in short:
        total = ((total >> 1 | total << 7) + byte) & 0xff
    units = name.encode("utf-16le")
    n = -(-len(units) // 26)
    if len(units) < n * 26:
        units = (units + b"\0\0").ljust(n * 26, b"\xff")
    parts = []
    for i in range(n, 0, -1):
        part = units[(i - 1) * 26:i * 26]
        parts.append(struct.pack("<B10sBBB12sH4s", i | (0x40 if i == n else 0), part[:10], LONG, 0, total,
                                 part[10:22], 0, part[22:]))
    return b"".join(parts) + short_entry(short, attributes, first, size)


class Writer:
    def __init__(self, uri):
        self.disk = Disk(uri)
        self.volume = volume_of(self.disk)
        self.fat = None
        if not isinstance(self.volume, Fat32):
            raise SystemExit("guestwrite: the disk is not FAT32")
        self.writes = {}

    def put(self, offset, data):
        self.writes[offset] = data

    def out(self):
        """All that was put, by place; what stands side by side goes out in one piece."""
        start, parts, length = None, [], 0
        for offset in sorted(self.writes):
            if start is not None and (start + length != offset or length >= MIB):
                self.disk.nbd.pwrite(b"".join(parts), start + self.disk.start)
                start = None
            if start is None:
                start, parts, length = offset, [], 0
            parts.append(self.writes[offset])
            length += len(self.writes[offset])
        if start is not None:
            self.disk.nbd.pwrite(b"".join(parts), start + self.disk.start)
        self.writes.clear()

    def set_dirty(self, dirty):
        boot = bytearray(self.disk.read(0, 512))
        boot[DIRTY_AT] = boot[DIRTY_AT] & ~1 | dirty
        self.disk.nbd.pwrite(bytes(boot), self.disk.start)

    def load_fat(self):
        volume = self.volume
        self.touched = set()
        if self.fat:
            return
        self.fat = bytearray(self.disk.read(volume.fat, (volume.clusters + 2) * 4))
        self.fat_copy = (volume.data - volume.fat) // 2
        # Behind all that is there, as when the disk is filled for the first time.
        last = max(i for i, entry in enumerate(memoryview(self.fat).cast("I")) if entry)
        self.next = last + 1

    def chain(self, size):
        """Clusters for so many bytes; returns the first."""
        n = -(-size // self.volume.cluster)
        first = self.next
        if first + n > self.volume.clusters + 2:
            raise SystemExit("guestwrite: the disk is full")
        self.next += n
        for cluster in range(first, first + n):
            struct.pack_into("<I", self.fat, cluster * 4, cluster + 1 if cluster < first + n - 1 else END)
            self.touched.add(cluster * 4 // 4096)
        return first

    def put_fats(self):
        for page in self.touched:
            data = bytes(self.fat[page * 4096:page * 4096 + 4096])
            data += bytes(-len(data) % 512)
            for start in (self.volume.fat, self.volume.fat + self.fat_copy):
                self.put(start + page * 4096, data)

    def place(self, cluster):
        return self.volume.data + (cluster - 2) * self.volume.cluster

    def put_data(self, first, data):
        self.put(self.place(first), data + bytes(-len(data) % 4096))

    def add_to_root(self, new):
        """Behind the root's last entry: its chain may have room for many more."""
        cluster, size = self.volume.root.first, self.volume.cluster
        while True:
            data = self.disk.read(self.place(cluster), size)
            at = next((i for i in range(0, size, 32) if data[i] == 0), size)
            if at + len(new) <= size:
                break
            # What is between is marked as free entries, as nothing may follow an entry that was never used.
            if at < size:
                begin = at // 512 * 512
                self.put(self.place(cluster) + begin, data[begin:at] + (b"\xe5" + bytes(31)) * ((size - at) // 32))
            cluster = struct.unpack_from("<I", self.fat, cluster * 4)[0] & END
            if cluster >= 0x0ffffff8:
                raise SystemExit("guestwrite: the root is full")
        begin, end = at // 512 * 512, -(-(at + len(new)) // 512) * 512
        self.put(self.place(cluster) + begin, data[begin:at] + new + data[at + len(new):end])

    def new(self, count, size, name):
        self.load_fat()
        stamp = int(time.time() * 1000)
        content = content_of(name, size + count)
        folder = self.chain(32) if count > 1 else None
        listing = []
        if folder:
            listing = [short_entry(b".          ", DIRECTORY, folder, 0), short_entry(b"..         ", DIRECTORY, 0, 0)]
        for i in range(count):
            first = self.chain(size)
            self.put_data(first, content[i:i + size])
            listing.append(entries("%s %06d.txt" % (name, i), stamp + i & 0xffffffff, ARCHIVE, first, size))
        if folder:
            listing = b"".join(listing)
            self.put_folder(folder, listing)
            self.add_to_root(entries(name, stamp & 0xffffffff, DIRECTORY, folder, 0))
        else:
            self.add_to_root(b"".join(listing))
        self.put_fats()
        self.out()
        self.disk.nbd.flush()

    def put_folder(self, first, listing):
        """A folder that has one cluster so far gets as many as it needs."""
        size = self.volume.cluster
        listing += bytes(-len(listing) % size)
        for at in range(0, len(listing), size):
            self.put(self.place(first), listing[at:at + size])
            if at + size < len(listing):
                after = self.chain(size)
                struct.pack_into("<I", self.fat, first * 4, after)
                first = after

    def file(self, source, name):
        self.load_fat()
        size = os.path.getsize(source)
        first = self.chain(size)
        with open(source, "rb") as content:
            at = self.place(first) + self.disk.start
            while data := content.read(MIB):
                self.disk.nbd.pwrite(data + bytes(-len(data) % 4096), at)
                at += len(data)
        self.add_to_root(entries(name + " 000000.txt", int(time.time() * 1000) & 0xffffffff, ARCHIVE, first, size))
        self.put_fats()
        self.out()
        self.disk.nbd.flush()

    def patch(self, path, offset, size, seed):
        data, at = random.Random(seed).randbytes(size), 0
        for start, n in self.volume.ranges(self.volume.find(path)):
            if at <= offset and offset + size <= at + n:
                self.disk.nbd.pwrite(data, start + offset - at + self.disk.start)
            at += n
        self.change(path, False)

    def change(self, path, content=True):
        parts = path.rpartition("/")
        folder, file = self.volume.find(parts[0]), self.volume.find(path)
        if content:
            offset, n = next(iter(self.volume.ranges(file)))
            self.put(offset, os.urandom(n) + bytes(-n % 512))
        for offset, n in self.volume.ranges(folder):
            data = self.disk.read(offset, n)
            for at in range(0, n, 32):
                first = struct.unpack_from("<H", data, at + 26)[0] | struct.unpack_from("<H", data, at + 20)[0] << 16
                if data[at + 11] & 0x3f == ARCHIVE and data[at] not in (0, 0xe5) and first == file.first:
                    sector = bytearray(data[at // 512 * 512:at // 512 * 512 + 512])
                    struct.pack_into("<HH", sector, at % 512 + 22, *fat_time())
                    self.put(offset + at // 512 * 512, bytes(sector))
        if len(self.writes) != 1 + content:
            raise SystemExit("guestwrite: %s: no entry" % path)
        self.out()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    writer = Writer(sys.argv[1])
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "mount":
            writer.set_dirty(1)
        elif verb in ("new", "copy"):
            count, size, name = rest.split(" ", 2)
            writer.new(int(count), int(size), name)
        elif verb == "file":
            writer.file(*rest.rsplit(" ", 1))
        elif verb == "patch":
            offset, size, seed, path = rest.split(" ", 3)
            writer.set_dirty(1)
            writer.patch(path, int(offset), int(size), int(seed))
        elif verb == "change":
            writer.change(rest)
        elif verb != "umount":
            sys.exit("guestwrite: what is %s?" % verb)
        if verb in ("copy", "file", "patch", "umount"):
            writer.set_dirty(0)
        print("%.6f" % time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
