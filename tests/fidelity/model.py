# SPDX-License-Identifier: BSD-3-Clause
"""Random file operations, and what they make of a tree.

A Plan has a tree to begin with, a list of operations (tuples: name, arguments) and the tree that they lead to; the same seed
makes the same plan.  Contents are pieces of one pool of random bytes, so whoever has the pool can write them."""

import hashlib
import random
import unicodedata

POOL_SIZE = 8 << 20
SIZES = [0, 1, 100, 511, 512, 513, 4095, 4096, 4097, 20000, 32768, 40000, 65536, 100000]

# "names": what a profile's writer can handle.
WORDS = ["report", "Report", "IMAGE", "notes", "a", "B", "data set", "x.y", "2026-11 budget", "Makefile", "README", "readme two",
         "with  two blanks", "percent%41", "plus+and&more", "semi;colon", "quote'd", "(1)", "brace{d}", "hash#tag", "comma, name",
         "long " * 12 + "name", "another really long name " * 4 + "of a file"]
FOREIGN = ["\u00fcbung mit umlaut", "\u00c4nderung der stra\u00dfe", "\u65e5\u672c\u8a9e \u306e file", "\u0441\u043b\u043e\u0432\u043e \u0438 \u0434\u0435\u043b\u043e",
           "e\u0301 decomposed name", "\u03b1\u03b2\u03b3 greek name"]
ASTRAL = ["smile \U0001f600 name", "\U0001f4c1\U0001f4c2"]
ENDS = ["", ".txt", ".TXT", ".jpg", ".tar.gz", ".Doc", ".c"]


class Plan:
    """profile: "all" for guests; "mtools": only what its programs do; "whole": files are only ever written as a whole and
    closed, for guests that die."""

    def __init__(self, seed, count, profile="all", syncs=True, pauses=0):
        self.rng = random.Random("%s %s %s" % (seed, count, profile))
        self.profile, self.syncs, self.pauses = profile, syncs, pauses
        self.pool = random.Random("pool %s" % seed).randbytes(POOL_SIZE)
        self.files, self.folders, self.ops = {}, {""}, []
        # Which folder a path is, whatever it was called before; and the names that each ever had a file of.
        self.which, self.made, self.had = {"": 0}, 0, set()
        # How often each content came into being, by digest; and what each path ever had.
        self.births, self.history = {}, {}
        # Names of files that were changed in parts: of two such changes the second may be on the disk before the first.
        self.mixed = set()
        # The contents that a file had, by its path now; those of the file that was moved last.
        self.lines, self.line, self.moved = {}, [], None
        self.number = 0
        self.recording = False
        for _ in range(6):
            self.mkdir()
        for _ in range(25):
            self.create()
        self.initial = (dict(self.files), set(self.folders))
        self.note_all()
        self.births = {}
        self.ops = []
        self.touched = set()
        self.recording = True
        choices = []
        for name, weight in self.weights().items():
            choices += [getattr(self, name)] * weight
        while len(self.ops) < count:
            self.rng.choice(choices)()

    def weights(self):
        common = {"create": 12, "overwrite": 8, "rename": 8, "move": 6, "mkdir": 5, "rmdir": 2, "unlink": 7, "mvdir": 4, "rmtree": 1}
        if self.profile == "mtools":
            return common
        common.update({"save": 8, "vim": 3, "over": 4, "caserename": 2, "touch": 2, "read": 2, "cptree": 1, "swap": 1})
        if self.profile == "all":
            common.update({"append": 8, "patch": 8, "truncate": 6, "log": 3})
        if self.syncs:
            common["sync"] = 3
        if self.pauses:
            common["pause"] = self.pauses
        return common

    # ---- names and contents ----

    @staticmethod
    def key(path):
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())

    def taken(self, path):
        key = self.key(path)
        return any(self.key(other) == key for other in self.files) or any(self.key(other) == key for other in self.folders)

    def fresh(self, folder):
        words = WORDS + FOREIGN + (ASTRAL if self.profile != "mtools" else [])
        while True:
            name = self.rng.choice(words)
            if self.rng.random() < 0.5:
                name += " %d" % self.rng.randrange(1000)
            if self.profile == "mtools" and len(name) <= 8:
                # Names of 8.3 lose their case.
                name += " and more"
            name += self.rng.choice(ENDS)
            if self.rng.random() < 0.1 and self.profile != "mtools":
                # 8.3 names and those that are nearly.
                name = self.rng.choice(["abc%d.txt", "ABC%d.TXT", "Abc%d.txt", "ABC%d.txt", "abc%d.TXT", "LONGNA~%d.TXT", ".hid%d"]) % (
                    self.rng.randrange(10, 100))
            path = folder + "/" + name if folder else name
            if not self.taken(path):
                return path

    def piece(self, size=None):
        """(skip, size)"""
        if size is None:
            size = self.rng.choice(SIZES) if self.rng.random() < 0.8 else self.rng.randrange(200000)
            if self.rng.random() < 0.02:
                size = 1 << 20
        return self.rng.randrange(POOL_SIZE - size), size

    def bytes(self, skip, size):
        return self.pool[skip:skip + size]

    def pick(self, big=False):
        paths = sorted(path for path in self.files if not big or len(self.files[path]) > 1)
        return self.rng.choice(paths) if paths else None

    def pick_folder(self, root=True):
        paths = sorted(path for path in self.folders if root or path)
        return self.rng.choice(paths) if paths else None

    # ---- the tree ----

    def do(self, *op):
        self.ops.append(op)

    def born(self, path, data):
        digest = hashlib.sha1(data).hexdigest()
        self.files[path] = data
        self.births[digest] = self.births.get(digest, 0) + 1
        self.history.setdefault(path, set()).add(digest)
        self.had.add(self.place(path))
        self.lines.setdefault(path, []).append(digest)
        if self.recording:
            self.touched.add(path)

    def gone(self, path):
        self.touched.add(path)
        self.line = self.lines.pop(path)
        self.moved = path.rpartition("/")[2]
        return self.files.pop(path)

    def place(self, path):
        folder, _, name = path.rpartition("/")
        return self.which[folder], name

    def folder_made(self, path):
        self.made += 1
        self.which[path] = self.made

    def came(self, path, data, line=None, renamed=True):
        """Was there before, by another name.  Where there was a file of this name, it may become that file's new version: its
        bytes go up once more, as that.  And so may what it had before: guests write the new name first, and the size that
        it has by now up to a minute later.  Where the file was renamed (and not a folder above it), it is the folder that
        counts, and not what it was called when it had a file of this name: the cloud may still have that one in it.  An empty
        file has no clusters to be known by: if its old name was sent already, it is another one."""
        digest = hashlib.sha1(data).hexdigest()
        line = line or self.line
        if any(name == self.moved for name in self.mixed):
            self.in_part(path)
        self.files[path] = data
        self.touched.add(path)
        if path in self.history or (renamed and self.place(path) in self.had):
            for old in set(line[-4:]) | {digest}:
                self.births[old] = self.births.get(old, 0) + 1
        elif renamed and not data:
            self.births[digest] = self.births.get(digest, 0) + 1
        self.history.setdefault(path, set()).add(digest)
        self.had.add(self.place(path))
        self.lines[path] = list(line)

    def note_all(self):
        self.history = {path: {hashlib.sha1(data).hexdigest()} for path, data in self.files.items()}
        self.lines = {path: [hashlib.sha1(data).hexdigest()] for path, data in self.files.items()}

    def below(self, folder):
        return ([path for path in self.files if path.startswith(folder + "/")],
                [path for path in self.folders if path == folder or path.startswith(folder + "/")])

    def room(self):
        return len(self.files) < 70

    def enough(self):
        return len(self.files) > 35

    # ---- operations ----

    def create(self):
        if not self.room():
            return self.unlink()
        path = self.fresh(self.pick_folder())
        skip, size = self.piece()
        self.do("write", path, skip, size)
        self.born(path, self.bytes(skip, size))

    def overwrite(self):
        path = self.pick()
        if path:
            skip, size = self.piece()
            self.do("write", path, skip, size)
            self.born(path, self.bytes(skip, size))

    def append(self):
        path = self.pick()
        if path:
            skip, size = self.piece(self.rng.choice([1, 10, 500, 4096, 30000, 70000]))
            self.in_part(path)
            self.do("append", path, skip, size)
            self.born(path, self.files[path] + self.bytes(skip, size))

    def log(self):
        """A few lines at the end, one after the other."""
        path = self.pick()
        if path:
            for _ in range(3):
                skip, size = self.piece(80)
                self.in_part(path)
                self.do("append", path, skip, size)
                self.born(path, self.files[path] + self.bytes(skip, size))

    def patch(self):
        path = self.pick(big=True)
        if path:
            old = self.files[path]
            offset = self.rng.randrange(len(old))
            skip, size = self.piece(min(self.rng.choice([1, 100, 512, 4096, 20000]), len(old) - offset))
            self.in_part(path)
            self.do("patch", path, offset, skip, size)
            self.born(path, old[:offset] + self.bytes(skip, size) + old[offset + size:])

    def truncate(self):
        path = self.pick()
        if path:
            old = self.files[path]
            size = self.rng.choice([0, len(old) // 2, max(0, len(old) - 1), len(old) + 1, len(old) + 5000, len(old) + 100000])
            self.in_part(path)
            self.do("truncate", path, size)
            self.born(path, (old + bytes(max(0, size - len(old))))[:size])

    def save(self):
        path = self.pick()
        if path:
            folder, _, name = path.rpartition("/")
            tmp = (folder + "/" if folder else "") + self.rng.choice([".%s.tmp", "%s.new", ".goutputstream-%s"]) % (
                name[:100].rstrip(" ."))
            if self.taken(tmp):
                return
            skip, size = self.piece()
            data = self.bytes(skip, size)
            self.do("save", path, tmp, skip, size, self.rng.choice([True, False]))
            # By the temporary name, which may be seen, and then as the file's new version.
            self.born(tmp, data)
            self.born(path, data)
            del self.files[tmp]

    def vim(self):
        path = self.pick()
        if path:
            backup = path + "~"
            if self.taken(backup):
                return
            skip, size = self.piece()
            old = self.files[path]
            self.do("vim", path, backup, skip, size)
            self.born(path, self.bytes(skip, size))
            self.history.setdefault(backup, set()).add(hashlib.sha1(old).hexdigest())

    def rename(self):
        path = self.pick()
        if path:
            new = self.fresh(path.rpartition("/")[0])
            if self.mren_fails(path, new):
                return
            self.do("rename", path, new)
            self.came(new, self.gone(path))

    def mren_fails(self, path, new):
        """It dies of an assertion (4.0.33, dirCache.c:198) when a name needs another number of directory slots."""
        slots = [(len(name.rpartition("/")[2].encode("utf-16le")) // 2 + 12) // 13 for name in (path, new)]
        return self.profile == "mtools" and slots[0] != slots[1]

    def caserename(self):
        """Linux does nothing when only the case changes, so it goes by another name."""
        path = self.pick()
        if path:
            folder, slash, name = path.rpartition("/")
            new = folder + slash + name.swapcase()
            if new == path or self.key(new) != self.key(path) or len(new) != len(path):
                return
            other = self.fresh(folder)
            self.do("rename", path, other)
            self.do("rename", other, new)
            data = self.gone(path)
            self.came(other, data)
            self.came(new, self.files.pop(other))

    def move(self):
        path, folder = self.pick(), self.pick_folder()
        if path and folder != path.rpartition("/")[0]:
            name = path.rpartition("/")[2]
            new = folder + "/" + name if folder else name
            if not self.taken(new):
                self.do("move", path, new)
                self.came(new, self.gone(path))

    def over(self):
        path, target = self.pick(), self.pick()
        if not self.enough():
            return self.create()
        if path and path != target:
            self.do("rename", path, target)
            self.came(target, self.gone(path))

    def swap(self):
        path, other = self.pick(), self.pick()
        if path and path != other:
            temporary = self.fresh("")
            self.do("rename", path, temporary)
            self.do("rename", other, path)
            self.do("rename", temporary, other)
            one, two, first, second = self.files[path], self.files[other], self.lines[path], self.lines[other]
            self.came(temporary, one, first)
            del self.files[temporary]
            self.came(path, two, second)
            self.came(other, one, first)

    def unlink(self):
        path = self.pick()
        if not self.enough():
            return self.create()
        if path:
            self.do("unlink", path)
            self.gone(path)

    def mkdir(self):
        if len(self.folders) < 15:
            folder = self.pick_folder()
            if folder.count("/") < 4:
                path = self.fresh(folder)
                self.do("mkdir", path)
                self.folder_made(path)
                self.folders.add(path)

    def rmdir(self):
        empty = [path for path in sorted(self.folders) if path and not self.below(path)[0] and self.below(path)[1] == [path]]
        if empty:
            path = self.rng.choice(empty)
            self.do("rmdir", path)
            self.folders.remove(path)

    def mvdir(self):
        path, folder = self.pick_folder(False), self.pick_folder()
        if not path or folder == path or folder.startswith(path + "/") or folder.count("/") + path.count("/") > 5:
            return
        if self.profile == "mtools":
            # Its programs rename in place, or move and keep the name.
            if folder == path.rpartition("/")[0]:
                new = self.fresh(folder)
                if self.mren_fails(path, new):
                    return
            else:
                new = (folder + "/" if folder else "") + path.rpartition("/")[2]
                if self.taken(new):
                    return
        else:
            new = self.fresh(folder)
        if len(new.encode()) > 700:
            return
        self.do("mvdir", path, new)
        files, folders = self.below(path)
        for old in folders:
            self.which[new + old[len(path):]] = self.which[old]
        for old in files:
            self.came(new + old[len(path):], self.gone(old), renamed=False)
        for old in folders:
            self.folders.remove(old)
            self.folders.add(new + old[len(path):])

    def rmtree(self):
        path = self.pick_folder(False)
        if path and len(self.below(path)[0]) < 15 and self.enough():
            files, folders = self.below(path)
            self.do("rmtree", path)
            for old in files:
                self.gone(old)
            self.folders -= set(folders)

    def cptree(self):
        path = self.pick_folder(False)
        if path:
            files, folders = self.below(path)
            if len(files) + len(self.files) > 90 or len(folders) + len(self.folders) > 20:
                return
            new = self.fresh("")
            self.do("cptree", path, new)
            for old in folders:
                self.folder_made(new + old[len(path):])
            for old in files:
                self.born(new + old[len(path):], self.files[old])
            for old in folders:
                self.folders.add(new + old[len(path):])

    def in_part(self, path):
        self.mixed.add(path.rpartition("/")[2])

    def touch(self):
        path = self.pick()
        if path:
            self.do("touch", path)

    def read(self):
        path = self.pick()
        if path:
            self.do("read", path)

    def sync(self):
        self.do("sync")

    def pause(self):
        self.do("pause", self.rng.choice([1, 3, 3, 6]))
