#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Changes files on both sides, in random order: in the folder that is the remote, and on the disk, by mtools.

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
from fidelity import Mtools, tree_of                                                                    # noqa: E402

NAMES = ["common file one.txt", "common file two.txt", "notes of today.md", "picture number 7.jpg", "long data file.bin",
         "report of the year.doc"]
FOLDERS = ["", "shared folder", "second folder", "shared folder/folder in it"]


def digest(data):
    return hashlib.sha1(data).hexdigest()


class Sides:
    def __init__(self, uri, remote, seed):
        self.uri, self.remote = uri, remote
        self.rng = random.Random(seed)
        self.written = {}       # digest: what and where
        self.gone = set()       # replaced or deleted by somebody who saw it
        self.lock = threading.Lock()
        self.number = 0
        # Files are renamed between it and the remote.
        self.temporary = tempfile.mkdtemp(prefix="twosided.", dir=os.path.dirname(os.path.abspath(remote)))

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
            path = os.path.join(self.remote, folder, rng.choice(NAMES))
            if not os.path.isdir(os.path.dirname(path)):
                continue
            what = rng.random()
            if what < 0.6:
                data = self.content(rng, "remote %s" % path)
                new = os.path.join(self.temporary, "remote")
                with open(new, "wb") as file:
                    file.write(data)
                self.replace(new, path)
            elif what < 0.8 and os.path.exists(path):
                # What is deleted is what is looked at.
                held = os.path.join(self.temporary, "held")
                try:
                    os.rename(path, held)
                    with open(held, "rb") as file:
                        self.goes(file.read())
                    os.unlink(held)
                except FileNotFoundError:
                    pass
            else:
                other = os.path.join(self.remote, rng.choice(FOLDERS), rng.choice(NAMES))
                if os.path.exists(path) and not os.path.exists(other) and os.path.isdir(os.path.dirname(other)):
                    try:
                        os.link(path, other)
                        os.unlink(path)
                    except (FileExistsError, FileNotFoundError):
                        pass
            time.sleep(rng.uniform(0, 0.6))

    def replace(self, new, path):
        """Puts it there; what was there at that moment is known."""
        held = os.path.join(self.temporary, "replaced")
        while True:
            try:
                os.rename(path, held)
                with open(held, "rb") as file:
                    self.goes(file.read())
                os.unlink(held)
            except FileNotFoundError:
                pass
            try:
                os.link(new, path)
                os.unlink(new)
                return
            except FileExistsError:
                pass

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
            for _ in range(n):
                folder = rng.choice([folder for folder in FOLDERS if folder in folders])
                path = (folder + "/" if folder else "") + rng.choice(NAMES)
                what = rng.random()
                if what < 0.6:
                    data = self.content(rng, "disk %s" % path)
                    with open(new, "wb") as file:
                        file.write(data)
                    mtools.run("mcopy", "-D", "o", new, "::/" + path)
                    self.goes(files.get(path))
                    files[path] = data
                elif what < 0.8 and path in files:
                    mtools.run("mdel", "::/" + path)
                    self.goes(files.pop(path))
                elif path in files:
                    target = rng.choice([folder for folder in FOLDERS if folder in folders])
                    other = (target + "/" if target else "") + path.rpartition("/")[2]
                    if other not in files:
                        mtools.run("mmove", "::/" + path, "::/" + target)
                        files[other] = files.pop(path)
                time.sleep(rng.uniform(0, 0.6))
        finally:
            mtools.close()

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
                files, folders = tree_of(self.remote)
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
    conflicts = [path for path in files if "(conflicted copy" in path]
    there = {digest(data) for data in files.values()}
    lost = [where for what, where in sides.written.items() if what not in there and what not in sides.gone]
    print("%d contents written, %d files, %d conflicts, %d differences, %d contents lost" % (
        len(sides.written), len(files), len(conflicts), len(wrong), len(lost)))
    for line in wrong[:10]:
        print("  differs:", line)
    for line in lost[:10]:
        print("  lost:", line)
    return 1 if wrong or lost else 0


if __name__ == "__main__":
    sys.exit(main())
