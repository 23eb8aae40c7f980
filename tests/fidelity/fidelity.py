#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does random file operations on a disk, and compares what has become of the cloud with what should have.

    fidelity.py PLAN tree DIR                     makes the tree that it begins with
    fidelity.py PLAN guest URI FS END [KERNEL]    a real guest does the operations
    fidelity.py PLAN repair URI FS SUMS [KERNEL]  a guest checks the disk as systems do at their start, mounts it, writes down
                                                  what it sees (sha1sum's) and unmounts it
    fidelity.py PLAN mtools URI                   mtools do, on a FAT32 disk (through nbdfuse)
    fidelity.py PLAN compare DIR                  the folder is what the operations lead to, byte for byte
    fidelity.py PLAN survived DIR                 after a guest that died: nothing is garbled, nothing untouched has changed
    fidelity.py PLAN seen DIR SUMS                the folder is what a guest has written down, but for what fsck saved
    fidelity.py PLAN uploads LOG                  proxy.py's log: what was sent, and what of it was needless
    fidelity.py - sent WRITTEN LOG...             the same of several hosts' logs; WRITTEN holds a digest a line
    fidelity.py PLAN show                         the operations

PLAN is SEED,COUNT[,all|mtools|whole][,nosyncs][,pauses] (model.py).  FS is vfat or exfat.  END is what the guest does after
its last operation: umount; shutdown (a file of the disk is still open: it is mounted read-only, as systems do at their end);
sync (it says sync, then its power is cut); poweroff (sync, then it powers off with the disk mounted); idle (nothing for two
minutes, then its power is cut); quick-idle (the same, but its kernel writes back sooner, and it is not two minutes but until
the command FIDELITY_DONE succeeds, at most 90 seconds: what waits for quiet does so but once); kill (its power is cut while it
works)."""

import hashlib
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "guest")]
sys.dont_write_bytecode = True

import model                                                                                            # noqa: E402

MTIME = 1700000000
OPTIONS = {"vfat": "utf8=1,iocharset=iso8859-1,tz=UTC", "exfat": "iocharset=utf8"}


def plan_of(text):
    seed, count, *rest = text.split(",")
    profile = next((word for word in rest if word in ("all", "mtools", "whole")), "all")
    return model.Plan(seed, int(count), profile, "nosyncs" not in rest, 3 if "pauses" in rest else 0)


def make_tree(plan, root):
    files, folders = plan.initial
    for folder in sorted(folders):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for path, data in files.items():
        with open(os.path.join(root, path), "wb") as file:
            file.write(data)
        os.utime(os.path.join(root, path), (MTIME, MTIME))


# ---- a guest ----

FUNCTIONS = r"""
D () { /bin/dd if=$POOL bs=64k iflag=skip_bytes,count_bytes "$@" 2>/dev/null; }
write () { if [ $3 = 0 ]; then : >"$1"; else D of="$1" skip=$2 count=$3; fi; }
append () { D of="$1" skip=$2 count=$3 conv=notrunc oflag=append; }
patch () { D of="$1" seek=$2 skip=$3 count=$4 conv=notrunc oflag=seek_bytes; }
save () {
    if [ $5 = True ]; then D of="$2" skip=$3 count=$4 conv=fsync; else write "$2" $3 $4; fi && mv -f "$2" "$1"
}
vim () { mv "$1" "$2" && D of="$1" skip=$3 count=$4 conv=fsync && rm "$2"; }
rename () { mv -f "$1" "$2"; }
move () { mv "$1" "$2"; }
mvdir () { mv "$1" "$2"; }
unlink () { rm "$1"; }
rmtree () { rm -r "$1"; }
cptree () { cp -r "$1" "$2"; }
truncate () { /bin/truncate -s $2 "$1"; }
read () { cat "$1" >/dev/null; }
pause () { sleep $1; }
o () {
    n=$1; shift
    "$@" || { echo "operation $n failed: $*"; cd /; exit 3; }
}
"""


def script_of(plan):
    """What the guest runs: a line for each operation.  D reads nothing for files of no bytes, but makes them."""
    lines = [FUNCTIONS]
    for number, (name, *args) in enumerate(plan.ops):
        words = [name]
        for arg in args:
            words.append(shlex.quote("./" + arg) if isinstance(arg, str) else str(arg))
        lines.append("o %d %s" % (number, " ".join(words)))
    return "\n".join(lines) + "\n"


def padded(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data + b"\n" * (-len(data) % 4096))
    return path


def run_guest(plan, uri, fs, end, kernel="6.1"):
    import guest as guests

    folder = tempfile.mkdtemp(prefix="fidelity.", dir="/tmp")
    pool = padded(folder, "pool", plan.pool)
    script = padded(folder, "script", script_of(plan).encode())
    guest = None
    try:
        guest = guests.Guest([uri, pool + ",name=pool,ro=1", script + ",name=script,ro=1"], kernel)
        print("guest: kernel %s, up after %.1f s (%s)" % (
            guest.check("uname -r").strip(), guest.boot_time, guest.accel), flush=True)
        guest.check("cat $(disk script) >/run/ops; mkdir -p /m; mount -t %s -o %s $(part d0 1) /m" % (fs, OPTIONS[fs]))
        if end == "quick-idle":
            guest.check("echo 100 >/proc/sys/vm/dirty_writeback_centisecs; echo 500 >/proc/sys/vm/dirty_expire_centisecs")
        begin = time.monotonic()
        work = "export POOL=$(disk pool); cd /m; . /run/ops; cd /"
        if end == "kill":
            guest.check("(%s) >/run/out 2>&1 </dev/null &" % work)
            time.sleep(random.Random(str(plan.ops[:3])).uniform(3, 25))
            guest.down("kill")
            return 0
        status, output = guest.sh(work, 120 + 2 * len(plan.ops))
        if status:
            raise SystemExit("the guest's script ended with status %d: %s" % (status, output[-500:]))
        print("%d operations in %.1f s" % (len(plan.ops), time.monotonic() - begin), flush=True)
        if end == "umount":
            guest.check("umount /m", 120)
            guest.down("poweroff")
        elif end == "sync":
            guest.check("sync", 120)
            guest.down("kill")
        elif end == "poweroff":
            guest.check("sync", 120)
            guest.down("poweroff")
        elif end == "shutdown":
            guest.check("f=$(find /m -type f | head -n 1); exec 5<\"$f\"; umount /m 2>/dev/null && exit 1; "
                        "mount -o remount,ro /m", 120)
            guest.down("poweroff")
        elif end in ("idle", "quick-idle"):
            time.sleep(120 if end == "idle" else 45)
            last = time.monotonic() + 45
            while end == "quick-idle" and time.monotonic() < last and os.system(os.environ["FIDELITY_DONE"]) != 0:
                time.sleep(1)
            guest.down("kill")
        else:
            raise SystemExit("unknown end: " + end)
        with open(guest.dir + "/console.log", errors="replace") as file:
            wrong = [line for line in file if "FAT-fs" in line or "exFAT-fs" in line or "I/O error" in line]
        wrong = [line for line in wrong if "utf8 is not a recommended" not in line]
        if wrong:
            raise SystemExit("the guest's kernel complains: " + "".join(wrong[:5]))
    except guests.GuestMissing as error:
        print("fidelity.py: %s" % error, file=sys.stderr)
        return 77
    finally:
        if guest:
            guest.kill()
            guest.cleanup()
        for path in pool, script:
            os.unlink(path)
        os.rmdir(folder)
    return 0


# A sector of a folder that was not written in time is a hole with an end mark.  Linux's vfat alone looks behind it; other systems
# see what is there once new entries have filled the hole.
FILL = r"""
find /m -type d -exec sh -c 'cd "$1"; i=0; while [ $i -lt 128 ]; do : >ZZ$i; i=$((i + 1)); done; rm ZZ[0-9]*' sh {} \;
"""


def repair(plan, uri, fs, sums, kernel="6.1"):
    import guest as guests

    try:
        with guests.Guest([uri], kernel) as guest:
            # Status 1: errors were corrected (the dirty bit is one).
            print(guest.check("%s $(part d0 1) || [ $? = 1 ]" % ("fsck.fat -a" if fs == "vfat" else "fsck.exfat -y"), 120).strip())
            guest.check("mkdir -p /m; mount -t %s -o %s $(part d0 1) /m" % (fs, OPTIONS[fs]), 120)
            if fs == "vfat":
                guest.check(FILL, 300)
            with open(sums, "w") as file:
                file.write(guest.check("cd /m; find . -type f -exec sha1sum {} +; cd /; umount /m", 120))
    except guests.GuestMissing as error:
        print("fidelity.py: %s" % error, file=sys.stderr)
        return 77
    return 0


# ---- mtools ----

class Mtools:
    """The disk as a file, by nbdfuse, and programs that write to it."""

    def __init__(self, uri):
        self.folder = tempfile.mkdtemp(prefix="fidelity.", dir="/tmp")
        self.image = os.path.join(self.folder, "nbd")
        with open(self.image, "w"):
            pass
        self.fuse = subprocess.Popen(["nbdfuse", self.image, uri])
        end = time.monotonic() + 20
        while os.path.getsize(self.image) == 0:
            if self.fuse.poll() is not None or time.monotonic() > end:
                raise SystemExit("nbdfuse does not work")
            time.sleep(0.05)
        with open(self.image, "rb") as file:
            self.start = int.from_bytes(file.read(512)[454:458], "little") * 512
        self.env = dict(os.environ, LC_ALL="C.UTF-8", MTOOLSRC="/dev/null")

    def run(self, *command):
        done = subprocess.run([command[0], "-i", "%s@@%d" % (self.image, self.start), *command[1:]], env=self.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or done.stdout:
            raise SystemExit("%s: status %d: %s" % (command, done.returncode, done.stdout))

    def close(self):
        subprocess.run(["fusermount", "-u", self.image], check=False) if self.fuse.poll() is None else None
        self.fuse.wait(60)
        os.unlink(self.image)
        os.rmdir(self.folder)


def run_mtools(plan, uri):
    mtools = Mtools(uri)
    temporary = os.path.join(tempfile.mkdtemp(prefix="fidelity.", dir="/tmp"), "file")
    begin = time.monotonic()
    try:
        for name, path, *args in plan.ops:
            at = "::/" + path
            if name == "write":
                with open(temporary, "wb") as file:
                    file.write(plan.bytes(*args))
                mtools.run("mcopy", "-D", "o", temporary, at)
            elif name == "unlink":
                mtools.run("mdel", at)
            elif name == "mkdir":
                mtools.run("mmd", at)
            elif name == "rmdir":
                mtools.run("mrd", at)
            elif name == "rmtree":
                mtools.run("mdeltree", at)
            elif name in ("rename", "mvdir", "move"):
                folder, _, new = args[0].rpartition("/")
                if path.rpartition("/")[0] == folder:
                    mtools.run("mren", at, new)
                else:
                    mtools.run("mmove", at, "::/" + folder)
            else:
                raise SystemExit("mtools cannot " + name)
        print("%d operations in %.1f s" % (len(plan.ops), time.monotonic() - begin), flush=True)
    finally:
        mtools.close()
        if os.path.exists(temporary):
            os.unlink(temporary)
        os.rmdir(os.path.dirname(temporary))
    return 0


# ---- what has become of it ----

def tree_of(root):
    files, folders = {}, {""}
    for at, dirs, names in os.walk(root):
        below = os.path.relpath(at, root)
        for name in dirs:
            folders.add(os.path.normpath(os.path.join(below, name)))
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                files[os.path.normpath(os.path.join(below, name))] = file.read()
    # Apache's properties.
    folders = {path for path in folders if ".DAV" not in path.split("/")}
    return {path: data for path, data in files.items() if ".DAV" not in path.split("/")}, folders


def digest(data):
    return hashlib.sha1(data).hexdigest()


def said(path, data):
    return "%r (%s)" % (path, "nothing" if data is None else "%d bytes, sha1 %s" % (len(data), digest(data)[:12]))


def compare(plan, root):
    files, folders = tree_of(root)
    wrong = ["there: %s, wanted: %s" % (said(path, files.get(path)), said(path, plan.files.get(path)))
             for path in sorted(set(files) | set(plan.files)) if files.get(path) != plan.files.get(path)]
    wrong += ["folder %r is %s" % (path, "there" if path in folders else "not there")
              for path in sorted(folders ^ plan.folders)]
    conflicts = [path for path in files if "(conflicted copy" in path]
    print("%d files, %d folders: %d differences, %d conflicts" % (len(plan.files), len(plan.folders) - 1, len(wrong), len(conflicts)))
    for line in wrong[:12]:
        print(" ", line)
    return 1 if wrong else 0


def survived(plan, root):
    files, _ = tree_of(root)
    initial, _ = plan.initial
    wrong = []
    # A folder may have come to its new place before what was in it had come to its last content: names count, not places.
    known = {}
    for path, digests in plan.history.items():
        known.setdefault(path.rpartition("/")[2], set()).update(digests)
    for path, data in files.items():
        if digest(data) not in known.get(path.rpartition("/")[2], ()) and path.rpartition("/")[2] not in plan.mixed:
            wrong.append("%s was never so" % said(path, data))
    for path, data in initial.items():
        if path not in plan.touched and files.get(path) != data:
            wrong.append("%s was not touched" % said(path, files.get(path)))
    print("%d files: %d wrong" % (len(files), len(wrong)))
    for line in wrong[:12]:
        print(" ", line)
    return 1 if wrong else 0


def seen(plan, root, sums):
    files, _ = tree_of(root)
    with open(sums) as file:
        want = {line[44:].rstrip("\n"): line[:40] for line in file if line.strip()}
    want = {path: sha1 for path, sha1 in want.items() if not re.match(r"FSCK\d+\.REC$|FOUND\.\d|LOST\+FOUND/", path)}
    got = {path: digest(data) for path, data in files.items()}
    wrong = ["%s: cloud %s, guest %s" % (path, got.get(path), want.get(path)) for path in sorted(set(got) | set(want))
             if got.get(path) != want.get(path)]
    print("%d files in the guest, %d in the cloud: %d differences" % (len(want), len(got), len(wrong)))
    for line in wrong[:12]:
        print(" ", line)
    return 1 if wrong else 0


class Sent:
    """What proxy.py's logs say was sent.  What goes up by a temporary name counts when it gets its own: before that it may be a
    trial of what the server can do."""

    def __init__(self, *logs):
        self.sent, self.size, self.failed, self.requests, self.where = {}, 0, 0, {}, {}
        temporary = {}
        for log in logs:
            with open(log) as file:
                for line in file:
                    method, status, length, sha1, path, *target = line.split()
                    path = path.partition("?")[0]
                    self.requests[method] = self.requests.get(method, 0) + 1
                    if method == "PUT" and status[0] != "2":
                        self.failed += 1
                    elif ".cloudshare-scratch-" in path or method == "PUT" and (target or path.endswith("/")):
                        # Trials, copies that a server of S3 makes, and folders there.
                        pass
                    elif method == "PUT" and ".cloudshare-upload-" in path:
                        temporary[path] = (sha1, int(length))
                    elif method == "PUT":
                        self.count(sha1, int(length), path)
                    elif method == "MOVE" and status[0] == "2" and path in temporary and ".cloudshare-upload-" not in target[0]:
                        self.count(*temporary.pop(path), target[0])

    def count(self, sha1, length, path):
        self.where.setdefault(sha1, []).append(path)
        self.sent[sha1] = self.sent.get(sha1, 0) + 1
        self.size += length

    def said(self):
        return "%d refused; %s" % (self.failed, ", ".join("%d %s" % (n, method) for method, n in sorted(self.requests.items())))


def sent(_, written, *logs):
    """A content that somebody wrote once goes up once."""
    with open(written) as file:
        known = set(file.read().split())
    done = Sent(*logs)
    needless = {sha1: n for sha1, n in done.sent.items() if n > 1}
    foreign = {sha1 for sha1 in done.sent if sha1 not in known}
    print("%d contents written, %d uploads of %d bytes, %d needless, %d of contents that never were, %s" % (
        len(known), sum(done.sent.values()), done.size, sum(needless.values()) - len(needless), len(foreign), done.said()))
    for sha1 in [*needless, *foreign]:
        print("  sent %d times: %s, as %s" % (done.sent[sha1], sha1[:8], ", ".join(done.where[sha1])))
    return 1 if needless or foreign else 0


def uploads(plan, log):
    """A content is needed as often as it came into being; the first contents were there."""
    done = Sent(log)
    sent = done.sent
    where = {sha1: paths[0] for sha1, paths in done.where.items()}
    known = {digest for digests in plan.history.values() for digest in digests}
    needless = sum(max(0, n - plan.births.get(sha1, 0)) for sha1, n in sent.items() if sha1 in known)
    strange = {sha1: n for sha1, n in sent.items() if sha1 not in known}
    # Guests that are not asked to sync write the pages of a file in passes.
    mixed = {sha1 for sha1 in strange if urllib.parse.unquote(where[sha1]).rpartition("/")[2] in plan.mixed}
    foreign = sum(n for sha1, n in strange.items() if sha1 not in mixed)
    if mixed:
        print("%d uploads of files that were changed in parts, with some of the parts" % len(mixed))
    for sha1, n in sent.items():
        if sha1 not in known or n > plan.births.get(sha1, 0):
            print("  sent %d times, came into being %d times: %s, first as %s" % (n, plan.births.get(sha1, 0), sha1[:8], where[sha1]))
    final = {digest(data) for data in plan.files.values()} - {digest(data) for data in plan.initial[0].values()}
    print("%d uploads of %d bytes (%d contents came into being, %d of them are there in the end), %d needless, "
          "%d of contents that never were, %s" % (
              sum(sent.values()), done.size, sum(plan.births.values()), len(final), needless, foreign, done.said()))
    return 1 if needless or foreign else 0


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    plan, verb, args = plan_of(sys.argv[1]) if sys.argv[1] != "-" else None, sys.argv[2], sys.argv[3:]
    if verb == "show":
        print(script_of(plan))
        return 0
    verbs = {"tree": make_tree, "guest": run_guest, "repair": repair, "mtools": run_mtools, "compare": compare, "survived": survived, "seen": seen,
             "uploads": uploads, "sent": sent}
    if verb not in verbs:
        sys.exit(__doc__)
    return verbs[verb](plan, *args) or 0


if __name__ == "__main__":
    sys.exit(main())
