#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Changes files on both sides, in random order: in the remote (remotes.py), and on the disk, by mtools.

    twosided.py URI REMOTE SEED ROUNDS

Each round attaches the disk, changes files on it while others are changed in the remote, and detaches it.  Every content is
there once only.  A content may go when a side that sees it replaces or deletes it; every other one that was ever written
must be in some file in the end.  Waits until both sides hold the same; what is missing, or differs, ends it with status 1."""

import hashlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True

import diskread                                                                                         # noqa: E402
import nbd                                                                                              # noqa: E402
from fidelity import Mtools                                                                             # noqa: E402
from remotes import open_remote                                                                         # noqa: E402

NAMES = ["common file one.txt", "common file two.txt", "notes of today.md", "picture number 7.jpg", "long data file.bin",
         "report of the year.doc"]
FOLDERS = ["", "shared folder", "second folder", "shared folder/folder in it"]


def digest(data):
    return hashlib.sha1(data).hexdigest()


class Sides:
    def __init__(self, uri, remote, seed):
        self.uri, self.remote = uri, open_remote(remote)
        self.name = "the disk"
        # Makes, moves, renames and removes folders as well, and renames files.
        self.changes_folders = False
        self.rng = random.Random(seed)
        self.written = {}       # digest: what and where
        self.gone = set()       # replaced or deleted by somebody who saw it
        self.lock = threading.Lock()
        self.number = 0
        self.temporary = tempfile.mkdtemp(prefix="twosided.")

    def tell(self, *words):
        """With TWOSIDED_LOG in the environment: what is done, when, is written there."""
        if "TWOSIDED_LOG" in os.environ:
            with self.lock, open(os.environ["TWOSIDED_LOG"], "a") as file:
                print("%.3f" % time.time(), *words, file=file)

    def content(self, rng, where):
        with self.lock:
            self.number += 1
            data = ("content %d, %s\n" % (self.number, where)).encode() + rng.randbytes(rng.choice([0, 10, 5000, 40000]))
            self.written[digest(data)] = where
        return data

    def goes(self, data):
        if data is None:
            return
        with self.lock:
            self.gone.add(digest(data))

    # ---- the remote ----

    def change_remote(self, rng, n):
        for _ in range(n):
            folder = rng.choice(FOLDERS)
            path = os.path.join(folder, rng.choice(NAMES))
            if not self.remote.has_folder(folder):
                continue
            what = rng.random()
            if what < 0.6:
                self.replace(path, self.content(rng, "remote %s" % path))
            elif what < 0.8:
                # What is deleted is what is looked at.
                data = self.remote.take(path)
                self.tell("remote", "deletes", path, said(data))
                self.goes(data)
            else:
                target = rng.choice(FOLDERS)
                other = os.path.join(target, rng.choice(NAMES))
                if self.remote.has(path) and not self.remote.has(other) and self.remote.has_folder(target):
                    self.tell("remote", "moves", path, "->", other)
                    self.remote.move(path, other)
            time.sleep(rng.uniform(0, 0.6))

    def replace(self, path, data):
        """Puts it there; what was there at that moment is known."""
        while True:
            old = self.remote.take(path)
            self.tell("remote", "replaces", path, said(old), "by", said(data))
            self.goes(old)
            if self.remote.create(path, data):
                return

    # ---- the disk ----

    def shown(self):
        volume = diskread.volume_of(diskread.Disk(self.uri))
        files, folders = {}, {""}
        for file in volume.walk():
            if file.folder:
                folders.add(file.path)
            else:
                try:
                    files[file.path] = b"".join(volume.content(file))
                except nbd.Error:
                    # Gone from the remote before it was copied here.
                    files[file.path] = None
        return files, folders

    def change_disk(self, rng, n):
        mtools = Mtools(self.uri)
        new = os.path.join(self.temporary, "disk")
        try:
            # Attached, it shows the same until it is detached.
            files, folders = self.shown()
            self.tell(self.name, "sees", {path: said(data) for path, data in files.items()})
            for _ in range(n):
                if self.changes_folders and rng.random() < 0.3:
                    self.change_folder(rng, mtools, files, folders)
                    continue
                folder = rng.choice([folder for folder in (sorted(folders) if self.changes_folders else FOLDERS) if folder in folders])
                path = (folder + "/" if folder else "") + rng.choice(NAMES)
                what = rng.random()
                if path in files and files[path] is None:
                    # Who cannot see what it is leaves it alone.
                    continue
                if what < 0.6:
                    data = self.content(rng, "disk %s" % path)
                    with open(new, "wb") as file:
                        file.write(data)
                    mtools.run("mcopy", "-D", "o", new, "::/" + path)
                    self.tell(self.name, "replaces", path, said(files.get(path)), "by", said(data))
                    self.goes(files.get(path))
                    files[path] = data
                elif what < 0.8 and path in files:
                    mtools.run("mdel", "::/" + path)
                    self.tell(self.name, "deletes", path, said(files[path]))
                    self.goes(files.pop(path))
                elif path in files:
                    target = rng.choice([folder for folder in sorted(folders) if self.changes_folders or folder in FOLDERS])
                    other = (target + "/" if target else "") + path.rpartition("/")[2]
                    if other not in files:
                        mtools.run("mmove", "::/" + path, "::/" + target)
                        self.tell(self.name, "moves", path, "->", other)
                        files[other] = files.pop(path)
                time.sleep(rng.uniform(0, 0.6))
        finally:
            mtools.close()
            self.tell(self.name, "is off")

    def change_folder(self, rng, mtools, files, folders):
        path = rng.choice(sorted(folders))
        name = "folder of number %d" % rng.randrange(5)
        new = (path + "/" if path else "") + name
        below = [other for other in files if other.startswith(path + "/")]
        what = rng.random()
        if what < 0.3:
            if new not in folders and new not in files and path.count("/") < 4:
                mtools.run("mmd", "::/" + new)
                folders.add(new)
                self.tell(self.name, "makes", new)
            return
        if what < 0.5:
            # A file gets another name.
            file = rng.choice(sorted(files) or [None])
            if file is None or files[file] is None:
                return
            above, slash, old = file.rpartition("/")
            new = above + slash + "%s %d" % (old[:-2], rng.randrange(100, 1000))
            if new not in files and new not in folders and len(old) // 13 == len(new.rpartition("/")[2]) // 13:
                mtools.run("mren", "::/" + file, new.rpartition("/")[2])
                files[new] = files.pop(file)
                self.tell(self.name, "renames", file, "->", new)
            return
        if not path or any(files[other] is None for other in below):
            return
        if what < 0.6:
            mtools.run("mdeltree", "::/" + path)
            self.tell(self.name, "removes all of", path, {other: said(files[other]) for other in below})
            for other in below:
                self.goes(files.pop(other))
            folders.difference_update([other for other in folders if other == path or other.startswith(path + "/")])
            return
        target = rng.choice(sorted(folders))
        to = (target + "/" if target else "") + path.rpartition("/")[2]
        if what < 0.8 and path.rpartition("/")[0] != target and not (target + "/").startswith(path + "/") and target.count("/") < 3:
            if to in folders or to in files:
                return
            mtools.run("mmove", "::/" + path, "::/" + target)
        else:
            above, slash, old = path.rpartition("/")
            to = above + slash + name
            if to in folders or to in files or len(old) // 13 != len(name) // 13:
                return
            mtools.run("mren", "::/" + path, name)
        self.tell(self.name, "moves all of", path, "->", to)
        for other in below:
            files[to + other[len(path):]] = files.pop(other)
        for other in [other for other in folders if other == path or other.startswith(path + "/")]:
            folders.remove(other)
            folders.add(to + other[len(path):])

    # ---- all of it ----

    def run(self, rounds):
        for number in range(rounds):
            one = random.Random(self.rng.random())
            two = random.Random(self.rng.random())
            thread = threading.Thread(target=self.change_remote, args=(one, one.randrange(1, 7)))
            thread.start()
            self.change_disk(two, two.randrange(1, 7))
            thread.join()
            # Now and then there is time for the changes to pass; now and then there is none.
            time.sleep(self.rng.choice([0, 0, 1, 3, 8]))

    def settle(self, seconds):
        """Both sides are the same; what differs otherwise."""
        end = time.monotonic() + seconds
        last = None
        while True:
            wrong = []
            try:
                files, folders = self.remote.tree()
                shown, shown_folders = self.shown()
                wrong = ["%r: remote %s, disk %s" % (path, said(files.get(path)), said(shown.get(path)))
                         for path in sorted(set(files) | set(shown)) if files.get(path) != shown.get(path)]
                wrong += ["folder %r" % path for path in folders ^ shown_folders]
            except (diskread.Bad, nbd.Error) as error:
                wrong = [str(error)]
            now = (wrong, sorted(files.items()))
            if not wrong and last == now:
                return files, []
            if time.monotonic() > end:
                return files, wrong or ["there is no end of changes"]
            last = now
            # Longer than linger=: a view whose machine is off takes the news.
            time.sleep(3)


def said(data):
    return "nothing" if data is None else "%d bytes (%s)" % (len(data), digest(data)[:8])


def main():
    uri, remote, seed, rounds = sys.argv[1:5]
    sides = Sides(uri, remote, seed)
    try:
        sides.run(int(rounds))
        files, wrong = sides.settle(180)
    finally:
        shutil.rmtree(sides.temporary)
        sides.remote.close()
    conflicts = [path for path in files if "(conflicted copy" in path]
    there = {digest(data) for data in files.values()}
    lost = ["%s (%s)" % (where, what[:8]) for what, where in sides.written.items() if what not in there and what not in sides.gone]
    print("%d contents written, %d files, %d conflicts, %d differences, %d contents lost" % (
        len(sides.written), len(files), len(conflicts), len(wrong), len(lost)))
    for line in wrong[:10]:
        print("  differs:", line)
    for line in lost[:10]:
        print("  lost:", line)
    return 1 if wrong or lost else 0


if __name__ == "__main__":
    sys.exit(main())
