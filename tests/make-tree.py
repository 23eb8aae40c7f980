#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fills a folder with a random tree, for tests: odd names, and sizes around the borders of sectors and clusters.

The same seed gives the same tree (names, sizes, contents and times).  The seed is printed; CLOUDSHARE_SEED or --seed
sets it.  --sums writes what sha256sum -c checks."""

import argparse
import hashlib
import os
import random
import sys

# Names that FAT and exFAT can hold as they are.
ODD = [
    "a", "README", "readme.txt", "LONGNAME.TXT", "Mixed.Case.Name", "no extension here", ".hidden", "..two", "...three",
    "two  spaces", " leading space", "+,;=[].txt", "a+b.c=d", "tilde~1.txt", "ABCDEF~1.TXT", "ABCDEF~2.TXT",
    "abcdefgh1.txt", "abcdefgh2.txt", "x.tar.gz", "12345678.123", "123456789.123", "12345678.1234", "Grüße.txt",
    "été43.txt", "ÅÄÖ", "ﬁ ligature", "日本語のファイル.txt", "𝒳 beyond the BMP", "😀.jpg", "e\u0301te\u0301 decomposed",
    "ß", "İstanbul", "I\u0307x", "ελληνικά", "кириллица", "עברית", "%41 percent", "#hash", "a&b", "it's", "$dollar",
    "`tick`", "!bang", "-rf", "@at", "{brace}", "(paren)", "con.fig", "aux_", "n" * 255, "ü" * 100 + ".x",
    "m" * 250 + ".long", "13 characters", "26 characters long name 26!",
]

# Names that a file system of Linux can hold, and FAT cannot, or not beside another.
WILD = [
    "a:b", "a*b", "what?", "<angle>", "pipe|", "quote\"", "back\\slash", "trailing dot.", "trailing space ", "...",
    "CON", "nul.txt", "com1", "LPT9.x", "new\nline", "tab\there", "bell\a", "del\x7f", "Case", "case", "CASE", "\u00e9",
    "e\u0301", "K", "\u212a", b"latin1 \xe9", b"\xff\xfe", b"cut \xe2\x82", "\u202edlrow", "\ufeffbom",
    "n" * 254 + "\\",
]


def sizes(rng, clusters, largest):
    borders = [0, 0, 1, 511, 512, 513]
    for cluster in clusters:
        borders += [cluster - 1, cluster, cluster + 1, 2 * cluster - 1, 2 * cluster, 2 * cluster + 1, 7 * cluster + 100]
    borders = [size for size in borders if size <= largest]
    while True:
        yield rng.choice(borders) if rng.random() < 0.7 else int(largest ** rng.random())


def names(rng, kind):
    base = [] if kind == "plain" else ODD + (WILD if kind == "wild" else [])
    pool = [name if isinstance(name, bytes) else name.encode() for name in base]
    rng.shuffle(pool)
    for number in range(10 ** 9):
        if pool and rng.random() < 0.6:
            yield pool.pop()
        else:
            stem = rng.choice([b"file", b"Some longer name ", b"IMG_"])
            yield b"%s%d%s" % (stem, number, rng.choice([b"", b".txt", b".jpeg"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir")
    parser.add_argument("--seed", type=int, default=os.environ.get("CLOUDSHARE_SEED"))
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--folders", type=int, default=12)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--names", choices=["plain", "odd", "wild"], default="odd")
    parser.add_argument("--clusters", default="4096,32768", help="cluster sizes whose borders matter")
    parser.add_argument("--largest", type=int, default=300000)
    parser.add_argument("--sums", help="file for the sha256 sums")
    args = parser.parse_args()

    seed = int(args.seed) if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    print("seed=%d" % seed, flush=True)
    rng = random.Random(seed)
    top = os.fsencode(os.path.abspath(args.dir))
    folders = [(top, 0, names(rng, args.names), set())]
    os.makedirs(top, exist_ok=True)

    def pick():
        """A folder, and a name that is new in it, also where case and case's siblings do not count."""
        path, depth, stream, used = rng.choice(folders)
        while True:
            name = next(stream)
            key = name if args.names == "wild" else name.decode().casefold().encode()
            if key not in used and len(name) <= 255 and not os.path.lexists(os.path.join(path, name)):
                used.add(key)
                return os.path.join(path, name), depth

    while len(folders) <= args.folders:
        path, depth = pick()
        if depth < args.depth and len(path) < 2000:
            os.mkdir(path)
            folders.append((path, depth + 1, names(rng, args.names), set()))

    size = sizes(rng, [int(c) for c in args.clusters.split(",")], args.largest)
    sums = []
    for _ in range(args.files):
        path, depth = pick()
        data = rng.randbytes(next(size))
        with open(path, "wb") as out:
            out.write(data)
        sums.append((hashlib.sha256(data).hexdigest(), path[len(top) + 1:]))
    # From 1980 to 2037, with odd seconds and fractions, which FAT cannot tell.
    for path, depth, _, _ in sorted(folders, key=lambda folder: -folder[1]):
        for entry in sorted(os.listdir(path)):
            when = rng.randrange(315619200 * 10 ** 9, 2145916800 * 10 ** 9)
            os.utime(os.path.join(path, entry), ns=(when, when))

    if args.sums:
        with open(args.sums, "wb") as out:
            for digest, path in sorted(sums, key=lambda item: item[1]):
                escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
                out.write(b"%s%s  %s\n" % (b"\\" if escaped != path else b"", digest.encode(), escaped))


if __name__ == "__main__":
    sys.exit(main())
