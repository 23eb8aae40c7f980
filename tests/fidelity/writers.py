#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes to a disk as systems do that no test can boot: Windows, and cameras' firmware.

    writers.py STYLE SEED tree DIR         makes the tree that it begins with
    writers.py STYLE SEED write URI        writes
    writers.py STYLE SEED compare DIR      the folder is what it must have become
    writers.py STYLE SEED uploads LOG      proxy.py's log: nothing was sent that no file ever was, and nothing too often

STYLE is windows-fat32, windows-exfat or camera.

These are simulations, sector by sector, from the specifications (Microsoft's FAT 1.03 and exFAT 1.00) and from what is
known of such writers, not recordings:

  windows   marks the volume as dirty at its first write (FAT32: boot sector and FAT[1]) and as clean some seconds after the
            last; makes "System Volume Information" at once; a file's entry comes first, empty, then its clusters and whole
            size, then its bytes; a rename writes the new name, and deletes the old one later.  exFAT: contiguous files
            without a chain in the FAT, whole size at once, ValidDataLength behind the bytes.
  camera    never touches the dirty bits nor FSInfo; 8.3 names; allocates more than it needs, and gives the rest back when it
            closes; the second FAT follows late; deletes by 0xE5, and frees the clusters later; edits bytes in place without
            changing the entry."""

import hashlib
import os
import random
import re
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from fidelity import Sent                                                                               # noqa: E402

WHEN = (46 << 9 | 11 << 5 | 23, 12 << 11 | 30 << 5)        # 2026-11-23, 12:30


class Disk:
    def __init__(self, uri):
        import nbd
        self.nbd = nbd.NBD()
        self.nbd.connect_uri(uri)
        self.start = struct.unpack_from("<I", self.nbd.pread(512, 0), 446 + 8)[0] * 512

    def read(self, offset, n):
        return bytearray(self.nbd.pread(n, self.start + offset))

    def write(self, offset, data):
        for at in range(0, len(data), 1 << 20):
            self.nbd.pwrite(bytes(data[at:at + (1 << 20)]), self.start + offset + at)

    def close(self):
        self.nbd.flush()
        self.nbd.shutdown()


class Cached:
    """A piece of the disk of which changed sectors are written when it is said."""

    def __init__(self, disk, offsets, size):
        """offsets: of each 'size' bytes."""
        self.disk, self.offsets, self.size = disk, list(offsets), size
        self.data = bytearray()
        for offset in self.offsets:
            self.data += disk.read(offset, size)
        self.dirty = set()

    def put(self, at, data):
        self.data[at:at + len(data)] = data
        self.dirty.update(range(at // 512, (at + len(data) - 1) // 512 + 1))

    def flush(self, keep=False):
        for sector in sorted(self.dirty):
            at = sector * 512
            self.disk.write(self.offsets[at // self.size] + at % self.size, self.data[at:at + 512])
        if not keep:
            self.dirty = set()


class Volume:
    def chain(self, first):
        chain = []
        while 2 <= first < self.clusters + 2:
            chain.append(first)
            first = struct.unpack_from("<I", self.fat.data, first * 4)[0] & 0x0fffffff
        return chain

    def set_fat(self, cluster, value):
        old = struct.unpack_from("<I", self.fat.data, cluster * 4)[0]
        self.fat.put(cluster * 4, struct.pack("<I", self.fat_value(old, value)))

    def offset(self, cluster):
        return self.heap + (cluster - 2) * self.cluster

    def write_data(self, clusters, data, at=0):
        """data[at:] of a file that has those clusters, from its cluster at // size on."""
        done = at
        while done < len(data):
            n = min(self.cluster - done % self.cluster, len(data) - done)
            self.disk.write(self.offset(clusters[done // self.cluster]) + done % self.cluster, sectors(data[done:done + n]))
            done += n

    def need(self, size):
        return -(-size // self.cluster)

    def folder(self, chain):
        return Cached(self.disk, [self.offset(cluster) for cluster in chain], self.cluster)


def sectors(data):
    return bytes(data) + bytes(-len(data) % 512)


# ---- FAT32 ----

class Fat32(Volume):
    def __init__(self, disk):
        self.disk = disk
        boot = self.boot = Cached(disk, [0], 512)
        spc, reserved, fats = boot.data[13], struct.unpack_from("<H", boot.data, 14)[0], boot.data[16]
        assert fats == 2
        total, size, root = (struct.unpack_from("<I", boot.data, at)[0] for at in (32, 36, 44))
        self.cluster, self.heap = spc * 512, (reserved + fats * size) * 512
        self.clusters = (total * 512 - self.heap) // self.cluster
        self.fat = Cached(disk, [reserved * 512], size * 512)
        self.mirror = [(reserved + size) * 512]
        self.late = set()
        self.info = Cached(disk, [512], 512)
        self.folders = {"": self.folder(self.chain(root))}
        self.root = root
        self.next = struct.unpack_from("<I", self.info.data, 492)[0]

    @staticmethod
    def fat_value(old, value):
        return old & 0xf0000000 | value & 0x0fffffff

    def allocate(self, n):
        """n free clusters, in a row if it can be; not in the FAT yet."""
        found, at = [], max(2, self.next if self.next < self.clusters else 2)
        for i in range(self.clusters):
            cluster = 2 + (at - 2 + i) % self.clusters
            if struct.unpack_from("<I", self.fat.data, cluster * 4)[0] & 0x0fffffff == 0:
                found.append(cluster)
                if len(found) == n:
                    self.next = cluster + 1
                    return found
        raise SystemExit("the disk is full")

    def link(self, clusters):
        for cluster, following in zip(clusters, clusters[1:] + [0x0fffffff]):
            self.set_fat(cluster, following)

    def free(self, clusters):
        for cluster in clusters:
            self.set_fat(cluster, 0)

    def flush_fat(self, both=True):
        self.late |= self.fat.dirty
        self.fat.flush()
        if both:
            self.flush_mirror()

    def flush_mirror(self):
        for sector in sorted(self.late):
            self.disk.write(self.mirror[0] + sector * 512, self.fat.data[sector * 512:sector * 512 + 512])
        self.late = set()

    def flush_info(self):
        free = sum(1 for cluster in range(2, self.clusters + 2)
                   if struct.unpack_from("<I", self.fat.data, cluster * 4)[0] & 0x0fffffff == 0)
        self.info.put(488, struct.pack("<II", free, self.next))
        self.info.flush()

    def mark(self, dirty):
        self.boot.put(65, bytes([self.boot.data[65] & 0xfe | dirty]))
        old = struct.unpack_from("<I", self.fat.data, 4)[0]
        self.fat.put(4, struct.pack("<I", old & ~0x08000000 if dirty else old | 0x08000000))
        self.flush_fat()
        self.boot.flush()

    # entries

    def slots(self, folder, n, end=False):
        """The offset of n free slots."""
        data, run = self.folders[folder].data, 0
        for at in range(0, len(data), 32):
            run = run + 1 if data[at] in (0, 0xe5) and not (end and data[at]) else 0
            if run == n:
                return at - (n - 1) * 32
        raise SystemExit("folder %r is full" % folder)

    def alias(self, folder, name):
        base, _, extension = name.rpartition(".") if "." in name else (name, "", "")
        plain = re.fullmatch(r"[A-Z0-9_]{1,8}(\.[A-Z0-9_]{1,3})?", name)
        if plain:
            return (base.ljust(8) + extension.ljust(3)).encode(), False
        short = re.sub(r"[^A-Z0-9_]", "", base.upper())[:6] or "X"
        extension = re.sub(r"[^A-Z0-9_]", "", extension.upper())[:3]
        data = self.folders[folder].data
        there = {bytes(data[at:at + 11]) for at in range(0, len(data), 32)}
        for i in range(1, 10):
            made = ("%s~%d" % (short, i)).ljust(8).encode() + extension.ljust(3).encode()
            if made not in there:
                return made, True
        raise SystemExit("no alias for " + name)

    def entry(self, folder, name, attributes, first, size):
        alias, is_long = self.alias(folder, name)
        entry = struct.pack("<11sBBBHHHHHHHI", alias, attributes, 0, 0, WHEN[1], WHEN[0], WHEN[0], first >> 16, WHEN[1], WHEN[0],
                            first & 0xffff, size)
        if not is_long:
            return entry
        sum_ = 0
        for byte in alias:
            sum_ = ((sum_ >> 1 | sum_ << 7) + byte) & 0xff
        units = name.encode("utf-16le")
        n = -(-len(units) // 26)
        if len(units) < n * 26:
            units += b"\0\0"
        units = units.ljust(n * 26, b"\xff")
        slots = b""
        for part in range(n, 0, -1):
            text = units[(part - 1) * 26:part * 26]
            slots += bytes([part | (0x40 if part == n else 0)]) + text[:10] + bytes([15, 0, sum_]) + text[10:22] + b"\0\0" + text[22:]
        return slots + entry

    def add(self, path, attributes=0x20, first=0, size=0, end=False):
        """The entry, not yet on the disk."""
        folder, _, name = path.rpartition("/")
        entry = self.entry(folder, name, attributes, first, size)
        at = self.slots(folder, len(entry) // 32, end)
        self.folders[folder].put(at, entry)
        return folder, at, len(entry)

    def set(self, where, first, size):
        folder, at, n = where
        at += n - 32
        self.folders[folder].put(at + 20, struct.pack("<H", first >> 16))
        self.folders[folder].put(at + 26, struct.pack("<HI", first & 0xffff, size))

    def end(self, where):
        """Deletes the entry, its clusters stay."""
        folder, at, n = where
        for slot in range(at, at + n, 32):
            self.folders[folder].put(slot, b"\xe5")

    def get(self, where):
        folder, at, n = where
        high, low, size = struct.unpack_from("<H4xHI", self.folders[folder].data, at + n - 32 + 20)
        return high << 16 | low, size

    def find(self, path):
        """What "add" gave for it."""
        folder, _, name = path.rpartition("/")
        self.enter(folder)
        data, units, begin = self.folders[folder].data, "", None
        for at in range(0, len(data), 32):
            if data[at] == 0:
                break
            if data[at] == 0xe5:
                units, begin = "", None
            elif data[at + 11] & 0x3f == 15:
                begin = at if begin is None else begin
                part = bytes(data[at + 1:at + 11] + data[at + 14:at + 26] + data[at + 28:at + 32]).decode("utf-16le", "replace")
                units = part.split("\0")[0] + units
            else:
                short = data[at:at + 8].decode("latin-1").rstrip()
                extension = data[at + 8:at + 11].decode("latin-1").rstrip()
                short += "." + extension if extension else ""
                if (units or short) == name and not data[at + 11] & 8:
                    begin = at if begin is None else begin
                    return folder, begin, at + 32 - begin
                units, begin = "", None
        raise SystemExit("there is no " + path)

    def enter(self, path):
        if path not in self.folders:
            first, _ = self.get(self.find(path))
            self.folders[path] = self.folder(self.chain(first))

    def mkdir(self, path, attributes=0x10):
        folder = path.rpartition("/")[0]
        self.enter(folder)
        first = self.allocate(1)
        self.link(first)
        up = 0
        if folder:
            up, _ = self.get(self.find(folder))
        dots = b""
        for name, cluster in (b".", first[0]), (b"..", up):
            dots += struct.pack("<11sBBBHHHHHHHI", name.ljust(11), 0x10, 0, 0, WHEN[1], WHEN[0], WHEN[0], cluster >> 16, WHEN[1], WHEN[0],
                                cluster & 0xffff, 0)
        self.disk.write(self.offset(first[0]), dots.ljust(self.cluster, b"\0"))
        self.flush_fat()
        self.add(path, attributes, first[0])
        self.folders[folder].flush()
        self.folders[path] = self.folder(first)


# ---- exFAT ----

class Exfat(Volume):
    def __init__(self, disk):
        self.disk = disk
        boot = self.boot = Cached(disk, [0], 512)
        fat, size, heap, self.clusters, root = struct.unpack_from("<IIIII", boot.data, 80)
        assert boot.data[108] == 9
        self.cluster, self.heap = 512 << boot.data[109], heap * 512
        self.fat = Cached(disk, [fat * 512], size * 512)
        self.folders = {"": self.folder(self.chain(root))}
        data = self.folders[""].data
        at = next(at for at in range(0, len(data), 32) if data[at] == 0x81)
        first, size = struct.unpack_from("<IQ", data, at + 20)
        chain = self.chain(first)[:self.need(size)]
        self.bitmap = Cached(disk, [self.offset(cluster) for cluster in chain], self.cluster)
        self.next = 2

    @staticmethod
    def fat_value(old, value):
        return value

    def used(self, cluster):
        return self.bitmap.data[(cluster - 2) // 8] >> (cluster - 2) % 8 & 1

    def mark_clusters(self, clusters, used):
        for cluster in clusters:
            at, bit = (cluster - 2) // 8, 1 << (cluster - 2) % 8
            self.bitmap.put(at, bytes([self.bitmap.data[at] & ~bit | (bit if used else 0)]))

    def allocate(self, n, at=None):
        """n clusters in a row; with at, those behind it, or None."""
        if at is not None:
            return list(range(at, at + n)) if at + n <= self.clusters + 2 and not any(map(self.used, range(at, at + n))) else None
        first = self.next
        while first + n <= self.clusters + 2:
            taken = next((cluster for cluster in range(first + n - 1, first - 1, -1) if self.used(cluster)), None)
            if taken is None:
                self.next = first + n
                return list(range(first, first + n))
            first = taken + 1
        raise SystemExit("the disk is full")

    def link(self, clusters):
        for cluster, following in zip(clusters, clusters[1:] + [0xffffffff]):
            self.set_fat(cluster, following)

    def mark(self, dirty):
        flags = struct.unpack_from("<H", self.boot.data, 106)[0]
        self.boot.put(106, struct.pack("<H", flags & ~2 | (2 if dirty else 0)))
        self.disk.nbd.flush()
        self.boot.flush()
        self.disk.nbd.flush()

    # entries

    def hash(self, name):
        value = 0
        for byte in name.upper().encode("utf-16le"):
            value = (((value & 1) << 15 | value >> 1) + byte) & 0xffff
        return value

    def seal(self, entry):
        value = 0
        for i, byte in enumerate(entry):
            if i not in (2, 3):
                value = (((value & 1) << 15 | value >> 1) + byte) & 0xffff
        return entry[:2] + struct.pack("<H", value) + entry[4:]

    def entry(self, name, attributes, contiguous, first, size, valid):
        parts = -(-len(name) // 15)
        stamp = WHEN[0] << 16 | WHEN[1]
        entry = struct.pack("<BBHHHIIIBBBBB7x", 0x85, 1 + parts, 0, attributes, 0, stamp, stamp, stamp, 0, 0, 0x80, 0x80, 0x80)
        entry += struct.pack("<BBBBHHQIIQ", 0xc0, 3 if contiguous else 1, 0, len(name), self.hash(name), 0, valid, 0, first, size)
        for i in range(parts):
            entry += bytes([0xc1, 0]) + name[i * 15:i * 15 + 15].encode("utf-16le").ljust(30, b"\0")
        return self.seal(entry)

    def add(self, path, attributes=0x20, first=0, size=0, valid=0, contiguous=True):
        folder, _, name = path.rpartition("/")
        self.enter(folder)
        entry = self.entry(name, attributes, contiguous, first, size, valid)
        data, run, n = self.folders[folder].data, 0, len(entry) // 32
        for at in range(0, len(data), 32):
            run = run + 1 if data[at] < 0x80 else 0
            if run == n:
                at -= (n - 1) * 32
                self.folders[folder].put(at, entry)
                return folder, at, len(entry)
        raise SystemExit("folder %r is full" % folder)

    def set(self, where, first, size, valid, contiguous=True):
        folder, at, n = where
        entry = bytearray(self.folders[folder].data[at:at + n])
        entry[33] = 3 if contiguous else 1
        struct.pack_into("<Q", entry, 32 + 8, valid)
        struct.pack_into("<IQ", entry, 32 + 20, first, size)
        self.folders[folder].put(at, self.seal(bytes(entry)))

    def end(self, where):
        folder, at, n = where
        for slot in range(at, at + n, 32):
            self.folders[folder].put(slot, bytes([self.folders[folder].data[slot] & 0x7f]))

    def get(self, where):
        """first, size, its clusters"""
        folder, at, n = where
        data = self.folders[folder].data
        first, size = struct.unpack_from("<IQ", data, at + 32 + 20)
        return first, size, list(range(first, first + self.need(size))) if data[at + 33] & 2 else self.chain(first)

    def find(self, path):
        folder, _, name = path.rpartition("/")
        self.enter(folder)
        data = self.folders[folder].data
        for at in range(0, len(data), 32):
            if data[at] == 0x85:
                n = data[at + 1] + 1
                units = b"".join(bytes(data[at + i * 32 + 2:at + i * 32 + 32]) for i in range(2, n))
                if units[:data[at + 35] * 2].decode("utf-16le") == name:
                    return folder, at, n * 32
        raise SystemExit("there is no " + path)

    def enter(self, path):
        if path not in self.folders:
            self.folders[path] = self.folder(self.get(self.find(path))[2])

    def mkdir(self, path, attributes=0x10):
        first = self.allocate(1)
        self.mark_clusters(first, True)
        self.disk.write(self.offset(first[0]), bytes(self.cluster))
        self.bitmap.flush()
        where = self.add(path, attributes, first[0], self.cluster, self.cluster)
        self.folders[where[0]].flush()
        self.folders[path] = self.folder(first)


# ---- what they do ----

class Story:
    """What happens, and what must have become of it.  Contents that a file was for long enough to be seen are "sent"."""

    def __init__(self, style, seed):
        self.style = style
        self.rng = random.Random("%s %s" % (style, seed))
        self.number = 0
        if style == "camera":
            self.folders = {"DCIM", "DCIM/100CLOUD"}
            names = ["DCIM/100CLOUD/IMG_000%d.JPG" % i for i in range(1, 6)] + ["LOG.TXT"]
        else:
            self.folders = {"Documents", "Pictures"}
            names = ["Documents/report of november.docx", "Documents/notes.txt", "Pictures/holiday picture.jpeg", "readme first.txt",
                     "Documents/sheet with numbers.xlsx"]
        self.files = {name: self.content() for name in names}
        self.sent = {}

    def content(self, size=None):
        if size is None:
            size = self.rng.choice([700, 5000, 32768, 40000, 100000, 300000])
        return self.rng.randbytes(size)

    def now(self, path, data):
        self.files[path] = data
        digest = hashlib.sha1(data).hexdigest()
        self.sent[digest] = self.sent.get(digest, 0) + 1

    def tree(self, root):
        for folder in sorted(self.folders):
            os.makedirs(os.path.join(root, folder), exist_ok=True)
        for path, data in self.files.items():
            with open(os.path.join(root, path), "wb") as file:
                file.write(data)
            os.utime(os.path.join(root, path), (1700000000, 1700000000))

    def write(self, uri):
        self.live = uri is not None
        volume = None
        if self.live:
            disk = Disk(uri)
            volume = Exfat(disk) if self.style == "windows-exfat" else Fat32(disk)
        {"camera": self.camera, "windows-fat32": self.windows_fat32, "windows-exfat": self.windows_exfat}[self.style](volume)
        if self.live:
            disk.close()

    def pause(self, seconds):
        if self.live:
            time.sleep(seconds)

    # Each story runs twice: with a volume, to write; without, to know what must become of it.

    def windows_fat32(self, v):
        def step(function):
            if v:
                function()

        def begin():
            step(lambda: v.mark(1))

        def rest(seconds=3):
            """Quiet; the volume is marked as clean."""
            self.pause(seconds)
            if v:
                v.flush_info()
                v.mark(0)
            self.pause(2)

        def create(path, data, patience=1.5):
            """Entry, then clusters and size, then bytes."""
            if not v:
                return
            folder = path.rpartition("/")[0]
            v.enter(folder)
            where = v.add(path)
            v.folders[folder].flush()
            self.pause(patience)
            clusters = v.allocate(v.need(len(data)))
            v.link(clusters)
            v.flush_fat()
            v.set(where, clusters[0], len(data))
            v.folders[folder].flush()
            self.pause(patience)
            half = len(data) // 2 // v.cluster * v.cluster
            v.write_data(clusters, data, half)
            self.pause(patience)
            v.write_data(clusters, data[:half] if half else b"")
            v.folders[folder].put(where[1] + where[2] - 10, struct.pack("<H", WHEN[1] + 1))
            v.folders[folder].flush()

        def delete(path):
            if not v:
                return
            where = v.find(path)
            chain = v.chain(v.get(where)[0])
            v.end(where)
            v.folders[where[0]].flush()
            self.pause(1)
            v.free(chain)
            v.flush_fat()

        def rename(path, new):
            if not v:
                return
            where = v.find(path)
            first, size = v.get(where)
            v.enter(new.rpartition("/")[0])
            there = v.add(new, 0x20, first, size)
            v.folders[there[0]].flush()
            self.pause(2)
            v.end(where)
            v.folders[where[0]].flush()

        def overwrite(path, data):
            """CREATE_ALWAYS: cut to nothing, then written anew."""
            if not v:
                return
            where = v.find(path)
            chain = v.chain(v.get(where)[0])
            v.set(where, 0, 0)
            v.folders[where[0]].flush()
            v.free(chain)
            v.flush_fat()
            self.pause(2)
            clusters = v.allocate(v.need(len(data)))
            v.link(clusters)
            v.set(where, clusters[0], len(data))
            v.folders[where[0]].flush()
            v.flush_fat()
            self.pause(1.5)
            v.write_data(clusters, data)

        def append(path, data):
            """data: all of the file."""
            if not v:
                return
            where = v.find(path)
            first, size = v.get(where)
            clusters = v.chain(first)
            clusters += v.allocate(max(0, v.need(len(data)) - len(clusters)))if v.need(len(data)) > len(clusters) else []
            v.link(clusters)
            v.flush_fat()
            self.pause(1.5)
            v.write_data(clusters, data, size // v.cluster * v.cluster)
            self.pause(1.5)
            v.set(where, first, len(data))
            v.folders[where[0]].flush()

        self.windows(begin, rest, create, delete, rename, overwrite, append, v)

    def windows_exfat(self, v):
        def begin():
            if v:
                v.mark(1)

        def rest(seconds=3):
            self.pause(seconds)
            if v:
                v.mark(0)
            self.pause(2)

        def fill(where, clusters, data):
            v.mark_clusters(clusters, True)
            v.bitmap.flush()
            v.set(where, clusters[0], len(data), 0)
            v.folders[where[0]].flush()
            self.pause(1.5)
            half = len(data) // 2 // v.cluster * v.cluster
            v.write_data(clusters, data[:half] if half else b"")
            v.set(where, clusters[0], len(data), half)
            v.folders[where[0]].flush()
            self.pause(1.5)
            v.write_data(clusters, data, half)
            v.set(where, clusters[0], len(data), len(data))
            v.folders[where[0]].flush()

        def create(path, data, patience=1.5):
            if not v:
                return
            where = v.add(path)
            v.folders[where[0]].flush()
            self.pause(patience)
            fill(where, v.allocate(v.need(len(data))), data)

        def delete(path):
            if not v:
                return
            where = v.find(path)
            clusters = v.get(where)[2]
            v.end(where)
            v.folders[where[0]].flush()
            self.pause(1)
            v.mark_clusters(clusters, False)
            v.bitmap.flush()

        def rename(path, new):
            if not v:
                return
            where = v.find(path)
            first, size, _ = v.get(where)
            contiguous = bool(v.folders[where[0]].data[where[1] + 33] & 2)
            there = v.add(new, 0x20, first, size, size, contiguous)
            v.folders[there[0]].flush()
            self.pause(2)
            v.end(where)
            v.folders[where[0]].flush()

        def overwrite(path, data):
            if not v:
                return
            where = v.find(path)
            v.mark_clusters(v.get(where)[2], False)
            v.set(where, 0, 0, 0)
            v.folders[where[0]].flush()
            v.bitmap.flush()
            self.pause(2)
            fill(where, v.allocate(v.need(len(data))), data)

        def append(path, data):
            """Where what follows is taken, the file gets a chain in the FAT."""
            if not v:
                return
            where = v.find(path)
            first, size, clusters = v.get(where)
            contiguous = bool(v.folders[where[0]].data[where[1] + 33] & 2)
            more = v.need(len(data)) - len(clusters)
            if more > 0:
                added = v.allocate(more, clusters[-1] + 1)
                contiguous = contiguous and added is not None
                added = added or v.allocate(more)
                v.mark_clusters(added, True)
                clusters = clusters + added
                if not contiguous:
                    v.link(clusters)
                    v.fat.flush()
                v.bitmap.flush()
            v.set(where, first, len(data), size, contiguous)
            v.folders[where[0]].flush()
            self.pause(1.5)
            v.write_data(clusters, data, size // v.cluster * v.cluster)
            v.set(where, first, len(data), len(data), contiguous)
            v.folders[where[0]].flush()

        self.windows(begin, rest, create, delete, rename, overwrite, append, v)

    def windows(self, begin, rest, create, delete, rename, overwrite, append, v):
        begin()
        if v:
            v.mkdir("System Volume Information", 0x16)
        create("System Volume Information/WPSettings.dat", b"\x0c\0\0\0" + self.content(8), 0.1)
        create("System Volume Information/IndexerVolumeGuid", self.content(76), 0.1)
        rest()

        # Copied in: one file, then several in one go, in a new folder.
        data = self.content(300000)
        begin()
        create("Pictures/copied from the camera.jpeg", data)
        self.now("Pictures/copied from the camera.jpeg", data)
        rest()
        begin()
        if v:
            v.mkdir("New folder")
        self.folders.add("New folder")
        for i in range(4):
            data = self.content()
            create("New folder/file number %d.bin" % i, data, 0.3)
            self.now("New folder/file number %d.bin" % i, data)
        rest()

        # An office program: writes a temporary file, which nobody must see, and puts it in the file's place.
        data = self.content(100000)
        begin()
        create("Documents/~WRD0001.tmp", data, 0.1)
        rename("Documents/report of november.docx", "Documents/~WRL0002.tmp")
        rename("Documents/~WRD0001.tmp", "Documents/report of november.docx")
        delete("Documents/~WRL0002.tmp")
        # Each is a file by those names for seconds.
        digest = hashlib.sha1(data).hexdigest()
        self.sent[digest] = self.sent.get(digest, 0) + 1
        self.now("Documents/report of november.docx", data)
        rest()

        # Made and deleted at once; its clusters, with its bytes in them, are the next file's before that one's bytes come.
        begin()
        garbage, data = self.content(40000), self.content(40000)
        if v:
            v.next = 2
        create("Documents/short lived.tmp", garbage, 0)
        delete("Documents/short lived.tmp")
        digest = hashlib.sha1(garbage).hexdigest()
        self.sent[digest] = self.sent.get(digest, 0) + 1
        if v:
            v.next = 2
        create("Documents/in the same place.bin", data)
        self.now("Documents/in the same place.bin", data)
        rest()

        begin()
        data = self.content(5000)
        overwrite("Documents/notes.txt", data)
        self.now("Documents/notes.txt", data)
        data = self.files["readme first.txt"] + self.content(70000)
        append("readme first.txt", data)
        self.now("readme first.txt", data)
        rest()

        begin()
        rename("Documents/sheet with numbers.xlsx", "Pictures/numbers moved.xlsx")
        self.files["Pictures/numbers moved.xlsx"] = self.files.pop("Documents/sheet with numbers.xlsx")
        delete("Pictures/holiday picture.jpeg")
        del self.files["Pictures/holiday picture.jpeg"]
        delete("New folder/file number 2.bin")
        del self.files["New folder/file number 2.bin"]
        rest()
        self.pause(2)

    def camera(self, v):
        def shoot(path, data):
            """Too many clusters, entry without size, bytes in pieces, then what is right; the second FAT late."""
            if not v:
                return
            folder = path.rpartition("/")[0]
            v.enter(folder)
            clusters = v.allocate(v.need(len(data)) + 40)
            v.link(clusters)
            v.flush_fat(both=False)
            where = v.add(path, 0x20, clusters[0], 0)
            v.folders[folder].flush()
            for at in range(0, len(data), 65536):
                piece = data[:at + 65536]
                v.write_data(clusters, piece, at)
                self.pause(0.3)
            self.pause(1)
            n = v.need(len(data))
            v.set(where, clusters[0], len(data))
            v.folders[folder].flush()
            self.pause(1)
            v.link(clusters[:n])
            v.free(clusters[n:])
            v.next = clusters[n]
            v.flush_fat(both=False)
            self.pause(1)
            v.flush_mirror()

        def delete(path):
            if not v:
                return
            where = v.find(path)
            chain = v.chain(v.get(where)[0])
            v.end(where)
            v.folders[where[0]].flush()
            self.pause(3)
            v.free(chain)
            v.flush_fat(both=False)

        for i in range(6, 9):
            data = self.content(250000)
            shoot("DCIM/100CLOUD/IMG_000%d.JPG" % i, data)
            self.now("DCIM/100CLOUD/IMG_000%d.JPG" % i, data)
        # A movie, and its size every now and then.
        data = self.content(600000)
        path = "DCIM/100CLOUD/MVI_0009.MOV"
        if v:
            clusters = v.allocate(v.need(len(data)))
            where = v.add(path)
            for n in range(1, 4):
                part = len(data) * n // 3
                v.link(clusters[:v.need(part)])
                v.flush_fat(both=False)
                v.write_data(clusters, data[:part], len(data) * (n - 1) // 3 // v.cluster * v.cluster)
                v.set(where, clusters[0], part)
                v.folders[where[0]].flush()
                if n < 3:
                    self.pause(0.2)
            v.flush_mirror()
        self.now(path, data)
        for n in (1, 2):
            # It was a whole file for a moment.
            digest = hashlib.sha1(data[:len(data) * n // 3]).hexdigest()
            self.sent[digest] = self.sent.get(digest, 0) + 1
        self.pause(3)
        # A log: lines at its end.  Each is a version for a second.
        data = self.files["LOG.TXT"]
        for i in range(3):
            data = data + b"line %d of the log\r\n" % i
            if v:
                where = v.find("LOG.TXT")
                clusters = v.chain(v.get(where)[0])
                if v.need(len(data)) > len(clusters):
                    clusters += v.allocate(1)
                    v.link(clusters)
                    v.flush_fat(both=False)
                v.write_data(clusters, data, (len(data) - 20) // v.cluster * v.cluster)
                v.set(where, clusters[0], len(data))
                v.folders[where[0]].flush()
            self.now("LOG.TXT", data)
            self.pause(1)
        # The picture is turned: two bytes of its EXIF, nothing else.
        path = "DCIM/100CLOUD/IMG_0002.JPG"
        data = bytearray(self.files[path])
        data[274:276] = b"\x08\x01"
        data = bytes(data)
        if v:
            clusters = v.chain(v.get(v.find(path))[0])
            self.disk_write(v, clusters[0], data[:512])
        self.now(path, data)
        for i in (3, 7):
            path = "DCIM/100CLOUD/IMG_000%d.JPG" % i
            delete(path)
            del self.files[path]
        # On a disk that is never marked, what is missing counts when it was quiet for long.
        self.pause(48)
        data = self.content(100000)
        shoot("DCIM/100CLOUD/IMG_0010.JPG", data)
        self.now("DCIM/100CLOUD/IMG_0010.JPG", data)
        # It is unplugged, with a second FAT that is behind.
        delete("DCIM/100CLOUD/IMG_0004.JPG")
        del self.files["DCIM/100CLOUD/IMG_0004.JPG"]

    @staticmethod
    def disk_write(v, cluster, data):
        v.disk.write(v.offset(cluster), data)


def tree_of(root):
    import fidelity
    return fidelity.tree_of(root)


def digest_of(data):
    return "nothing" if data is None else "%d bytes, %s" % (len(data), hashlib.sha1(data).hexdigest()[:12])


def compare(story, root):
    files, folders = tree_of(root)
    wrong = ["%s: there %s, wanted %s" % (path, digest_of(files.get(path)), digest_of(story.files.get(path)))
             for path in sorted(set(files) | set(story.files)) if files.get(path) != story.files.get(path)]
    wrong += ["folder %s" % path for path in (folders - {""}) ^ story.folders]
    print("%d files: %d differences" % (len(story.files), len(wrong)))
    for line in wrong:
        print(" ", line)
    return 1 if wrong else 0


def uploads(story, log):
    sent = Sent(log)
    wrong = ["%d times %s, as %s: %s" % (n, sha1[:12], ", ".join(sent.where[sha1]),
                                         "once more" if sha1 in story.sent else "no file ever was that")
             for sha1, n in sent.sent.items() if n > story.sent.get(sha1, 0)]
    print("%d uploads, %d wrong" % (sum(sent.sent.values()), len(wrong)))
    for line in wrong:
        print(" ", line)
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    style, seed, verb, what = sys.argv[1:]
    story = Story(style, seed)
    if verb == "tree":
        return story.tree(what)
    story.write(what if verb == "write" else None)
    return {"write": lambda *_: 0, "compare": compare, "uploads": uploads}[verb](story, what)


if __name__ == "__main__":
    sys.exit(main())
