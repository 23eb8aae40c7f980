#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reads a disk's files through NBD, as a guest would: partition table, boot sector, directories, chains, clusters.

    diskread.py URI ls               sizes and paths; folders end with /
    diskread.py URI sums             what sha256sum -c takes, of every file
    diskread.py URI cat PATH [FROM COUNT]   a file's bytes
    diskread.py URI where PATH       the byte ranges of a file on the disk: "OFFSET LENGTH", one a line
    diskread.py URI free             the number of free clusters (by FAT or bitmap), and FSInfo's

Knows FAT32 (Microsoft's FAT specification 1.03) and exFAT (revision 1.00), alone or in the first partition of an MBR or
GPT.  Written for tests, from the specifications and not from this project's code: it trusts nothing that it can check, and
ends with an error where the disk does not hold together.  Needs libnbd's Python bindings.
"""

import hashlib
import os
import struct
import sys

import nbd


class Bad(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Bad(text)


class Disk:
    """Bytes of the first partition, or of the whole disk where there is none."""

    def __init__(self, uri):
        self.nbd = nbd.NBD()
        self.nbd.connect_uri(uri)
        self.size = self.nbd.get_size()
        self.start = 0
        first = self.read(0, 512)
        check(first[510:] == b"\x55\xaa", "no signature in sector 0")
        if first[:3] in (b"\xeb\x58\x90", b"\xeb\x76\x90"):
            return
        kind, lba = first[446 + 4], struct.unpack_from("<I", first, 446 + 8)[0]
        if kind == 0xee:
            header = self.read(512, 512)
            check(header[:8] == b"EFI PART", "no GPT header")
            entry = self.read(struct.unpack_from("<Q", header, 72)[0] * 512, 128)
            lba = struct.unpack_from("<Q", entry, 32)[0]
        else:
            check(kind in (0x0c, 0x07), "partition type %#x" % kind)
        self.start = lba * 512

    def read(self, offset, n):
        data = []
        while n > 0:
            part = min(n, 4 << 20)
            data.append(self.nbd.pread(part, offset + self.start))
            offset += part
            n -= part
        return b"".join(data)


class File:
    def __init__(self, path, folder, size, first, contiguous):
        self.path, self.folder, self.size, self.first, self.contiguous = path, folder, size, first, contiguous


class Volume:
    """What FAT32 and exFAT share."""

    def __init__(self, disk, boot):
        self.disk = disk
        self.fat_blocks = {}

    def fat_entry(self, cluster):
        check(2 <= cluster < self.clusters + 2, "cluster %d is out of range" % cluster)
        at = self.fat + cluster * 4
        block = at // 65536
        if block not in self.fat_blocks:
            self.fat_blocks[block] = self.disk.read(block * 65536, min(65536, self.disk.size - self.disk.start - block * 65536))
        return struct.unpack_from("<I", self.fat_blocks[block], at % 65536)[0] & self.mask

    def runs(self, file):
        """[(first cluster, clusters)] of a file; of a folder of unknown size the whole chain."""
        known = not (file.folder and file.size is None)
        want = -(-file.size // self.cluster) if known else None
        if known and want == 0:
            check(file.first == 0, "%s is empty but has clusters" % file.path)
            return []
        if file.contiguous:
            check(2 <= file.first and file.first + want <= self.clusters + 2, "%s is out of range" % file.path)
            return [(file.first, want)]
        runs, cluster, n = [], file.first, 0
        while True:
            if runs and runs[-1][0] + runs[-1][1] == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((cluster, 1))
            n += 1
            check(n <= self.clusters, "%s has a chain without an end" % file.path)
            cluster = self.fat_entry(cluster)
            if cluster >= self.mask - 7:
                break
            check(cluster != 0, "%s has a chain with a free cluster" % file.path)
        check(want is None or n == want, "%s has %s bytes and %d clusters" % (file.path, file.size, n))
        return runs

    def ranges(self, file):
        left = file.size
        for first, n in self.runs(file):
            part = n * self.cluster if left is None else min(left, n * self.cluster)
            yield self.data + (first - 2) * self.cluster, part
            if left is not None:
                left -= part

    def content(self, file, skip=0, count=1 << 63):
        for offset, n in self.ranges(file):
            skipped = min(skip, n)
            skip -= skipped
            offset += skipped
            n = min(n - skipped, count)
            count -= n
            while n > 0:
                part = min(n, 4 << 20)
                yield self.disk.read(offset, part)
                offset += part
                n -= part

    def walk(self):
        todo, seen = [self.root], set()
        while todo:
            folder = todo.pop()
            check(folder.first not in seen, "%s is in itself" % folder.path)
            seen.add(folder.first)
            names = set()
            for file in self.entries(folder, b"".join(self.content(folder))):
                key = file.path.upper()
                check(key not in names, "%s is there twice" % file.path)
                names.add(key)
                yield file
                if file.folder:
                    todo.append(file)

    def find(self, path):
        file = self.root
        for name in [part for part in path.split("/") if part]:
            for child in self.entries(file, b"".join(self.content(file))):
                if child.path.rpartition("/")[2] == name:
                    file = child
                    break
            else:
                raise Bad("%s: no such file on the disk" % path)
        return file


class Fat32(Volume):
    mask = 0x0fffffff

    def __init__(self, disk, boot):
        super().__init__(disk, boot)
        check(struct.unpack_from("<H", boot, 11)[0] == 512, "sectors are not of 512 bytes")
        reserved, fats = struct.unpack_from("<HB", boot, 14)
        sectors, fat_sectors = struct.unpack_from("<II", boot, 32)
        self.cluster = boot[13] * 512
        self.fat = reserved * 512
        self.data = self.fat + fats * fat_sectors * 512
        self.clusters = (sectors * 512 - self.data) // self.cluster
        self.info = struct.unpack_from("<H", boot, 48)[0] * 512
        self.root = File("", True, None, struct.unpack_from("<I", boot, 44)[0], False)

    def entries(self, folder, data):
        parts, expected = [], None
        for at in range(0, len(data), 32):
            entry = data[at:at + 32]
            if entry[0] == 0:
                break
            if entry[0] == 0xe5:
                parts = []
                continue
            attributes = entry[11]
            if attributes == 0x0f:
                if entry[0] & 0x40:
                    parts, expected = [], entry[13]
                check(entry[13] == expected, "%s: a long name's checksum differs" % folder.path)
                parts.insert(0, entry[1:11] + entry[14:26] + entry[28:32])
                continue
            if attributes & 8:
                parts = []
                continue
            short = entry[:11]
            if short[:2] in (b". ", b".."):
                continue
            if parts:
                total = 0
                for byte in short:
                    total = ((total >> 1 | total << 7) + byte) & 0xff
                check(total == expected, "%s: a long name belongs to another entry" % folder.path)
                name = b"".join(parts).decode("utf-16le", "surrogatepass").partition("\0")[0]
                parts = []
            else:
                base, ext = short[:8].decode("cp437").rstrip(), short[8:].decode("cp437").rstrip()
                name = (base.lower() if entry[12] & 8 else base) + ("." + (ext.lower() if entry[12] & 16 else ext) if ext else "")
            first = struct.unpack_from("<H", entry, 26)[0] | struct.unpack_from("<H", entry, 20)[0] << 16
            size = struct.unpack_from("<I", entry, 28)[0]
            is_folder = bool(attributes & 16)
            yield File(folder.path + name if not folder.path else folder.path + "/" + name, is_folder,
                       None if is_folder else size, first, False)

    def free(self):
        fat = self.disk.read(self.fat, (self.clusters + 2) * 4)
        used = sum(1 for (entry,) in struct.iter_unpack("<I", fat[8:]) if entry & self.mask)
        return self.clusters - used, struct.unpack_from("<I", self.disk.read(self.info, 512), 488)[0]


class ExFat(Volume):
    mask = 0xffffffff

    def __init__(self, disk, boot):
        super().__init__(disk, boot)
        check(boot[3:11] == b"EXFAT   ", "neither FAT32 nor exFAT")
        self.cluster = 1 << (boot[108] + boot[109])
        fat, _, heap, self.clusters, root = struct.unpack_from("<IIIII", boot, 80)
        self.fat, self.data = fat << boot[108], heap << boot[108]
        self.root = File("", True, None, root, False)
        boot_region = disk.read(0, 12 << boot[108])
        total = 0
        for at, byte in enumerate(boot_region[:11 << boot[108]]):
            if at not in (106, 107, 112):
                total = ((total >> 1 | total << 31) + byte) & 0xffffffff
        check(boot_region[11 << boot[108]:] == struct.pack("<I", total) * (1 << boot[108] - 2),
              "the boot region's checksum differs")

    def entries(self, folder, data):
        at = 0
        while at < len(data):
            kind = data[at]
            if kind == 0:
                break
            if kind == 0x81 and not folder.path:
                self.bitmap = File("(bitmap)", False, *reversed(struct.unpack_from("<IQ", data, at + 20)), True)
            if kind != 0x85:
                check(kind < 0x80 or kind in (0x81, 0x82, 0x83, 0xa0), "%s: a stray entry %#x" % (folder.path, kind))
                at += 32
                continue
            n = data[at + 1] + 1
            group = data[at:at + 32 * n]
            total = 0
            for i, byte in enumerate(group):
                if i not in (2, 3):
                    total = ((total >> 1 | total << 15) + byte) & 0xffff
            check(struct.unpack_from("<H", group, 2)[0] == total, "%s: an entry's checksum differs" % folder.path)
            stream = group[32:64]
            check(stream[0] == 0xc0, "%s: no stream extension" % folder.path)
            flags, length = stream[1], stream[3]
            valid, _, first, size = struct.unpack_from("<QIIQ", stream, 8)
            check(valid == size, "%s: valid data length differs" % folder.path)
            raw = b"".join(group[i + 2:i + 32] for i in range(64, len(group), 32))
            name = raw[:length * 2].decode("utf-16le", "surrogatepass")
            is_folder = bool(group[4] & 16)
            if size == 0 and not is_folder:
                check(first == 0, "%s: an empty file with a cluster" % name)
            yield File(folder.path + "/" + name if folder.path else name, is_folder, size, first, bool(flags & 2))
            at += 32 * n

    def free(self):
        for _ in self.entries(self.root, b"".join(self.content(self.root))):
            pass
        bitmap = b"".join(self.content(self.bitmap))
        used = bin(int.from_bytes(bitmap, "little")).count("1")
        return self.clusters - used, self.clusters - used


def volume_of(disk):
    boot = disk.read(0, 512)
    return Fat32(disk, boot) if boot[82:90] == b"FAT32   " else ExFat(disk, boot)


def sums_line(digest, path):
    raw = path.encode("utf-8", "surrogatepass")
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != raw else b"", digest.encode(), escaped)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = sys.stdout.buffer
    verb, path = sys.argv[2], "".join(sys.argv[3:4])
    disk = Disk(sys.argv[1])
    volume = volume_of(disk)
    if verb == "cat":
        for data in volume.content(volume.find(path), *map(int, sys.argv[4:6])):
            out.write(data)
    elif verb == "where":
        for offset, n in volume.ranges(volume.find(path)):
            print(offset + disk.start, n)
    elif verb == "free":
        print(*volume.free())
    elif verb == "ls":
        for file in sorted(volume.walk(), key=lambda file: file.path.encode("utf-8", "surrogatepass")):
            text = "%d %s%s\n" % (0 if file.folder else file.size, file.path, "/" if file.folder else "")
            out.write(text.encode("utf-8", "surrogatepass"))
    elif verb == "sums":
        for file in sorted((file for file in volume.walk() if not file.folder),
                           key=lambda file: file.path.encode("utf-8", "surrogatepass")):
            digest = hashlib.sha256()
            for data in volume.content(file):
                digest.update(data)
            out.write(sums_line(digest.hexdigest(), file.path))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Bad as bad:
        sys.exit("diskread: %s" % bad)
    except nbd.Error as error:
        sys.stdout.flush()
        sys.exit("diskread: NBD: %s" % error)
    except BrokenPipeError:
        os._exit(1)
