#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""As twosided.py, with several virtual machines on one disk, all of them and the remote at once.

    manysided.py REMOTE SEED ROUNDS URI...

Each URI is a view of its own.  In the end the remote and all views hold the same, and every content that anybody wrote is in some
file, unless somebody who saw it replaced or deleted it.  With REMOTE_QUIET in the environment only the machines write."""

import os
import random
import shutil
import sys
import threading
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
sys.dont_write_bytecode = True

import twosided                                                                                         # noqa: E402
from fidelity import tree_of                                                                            # noqa: E402


class Machine(twosided.Sides):
    """One view; what was written, and by whom, is shared with the first."""

    def __init__(self, uri, remote, seed, first=None):
        super().__init__(uri, remote, seed)
        self.name = uri.partition("///")[2].partition("?")[0]
        self.first = first or self
        if first:
            self.written, self.gone, self.lock = first.written, first.gone, first.lock

    def content(self, rng, where):
        with self.lock:
            self.first.number += 1
            data = ("content %d, %s, %s\n" % (self.first.number, self.name, where)).encode()
            data += rng.randbytes(rng.choice([0, 10, 5000, 40000]))
            self.written[twosided.digest(data)] = where + ", " + self.name
        return data

    def work(self, rng):
        time.sleep(rng.uniform(0, 2))
        self.change_disk(rng, rng.randrange(1, 7))


def check(call, errors):
    """SystemExit of a thread would pass in silence."""
    try:
        call()
    except BaseException as error:
        errors.append(error)
        raise


def settle(machines, remote, seconds):
    end = time.monotonic() + seconds
    last = None
    while True:
        files, folders = tree_of(remote)
        wrong = []
        for machine in machines:
            shown, shown_folders = machine.shown()
            wrong += ["%s %r: remote %s, disk %s" % (machine.name, path, twosided.said(files.get(path)), twosided.said(shown.get(path)))
                      for path in sorted(set(files) | set(shown)) if files.get(path) != shown.get(path)]
            wrong += ["%s: folder %r" % (machine.name, path) for path in folders ^ shown_folders]
        now = (wrong, sorted(files.items()))
        if not wrong and last == now:
            return files, []
        if time.monotonic() > end:
            return files, wrong or ["there is no end of changes"]
        last = now
        time.sleep(3)


def main():
    remote, seed, rounds, *uris = sys.argv[1:]
    machines = [Machine(uris[0], remote, int(seed))]
    machines += [Machine(uri, remote, "%s %d" % (seed, i), machines[0]) for i, uri in enumerate(uris[1:])]
    rng, errors = random.Random(int(seed)), []
    try:
        for _ in range(int(rounds)):
            threads = [threading.Thread(target=check, args=(lambda m=m, r=random.Random(rng.random()): m.work(r), errors))
                       for m in machines if rng.random() < 0.8]
            if "REMOTE_QUIET" not in os.environ:
                one = random.Random(rng.random())
                threads.append(threading.Thread(
                    target=check, args=(lambda r=one: machines[0].change_remote(r, r.randrange(1, 5)), errors)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                sys.exit("a writer failed: %s" % errors[0])
            time.sleep(rng.choice([0, 0, 1, 3, 6]))
        files, wrong = settle(machines, remote, 180)
    finally:
        for machine in machines:
            shutil.rmtree(machine.temporary, ignore_errors=True)
    there = {twosided.digest(data) for data in files.values()}
    first = machines[0]
    lost = [where for what, where in first.written.items() if what not in there and what not in first.gone]
    print("%d machines: %d contents written, %d files, %d conflicts, %d differences, %d contents lost" % (
        len(machines), len(first.written), len(files), sum("(conflicted copy" in path for path in files), len(wrong), len(lost)))
    for line in wrong[:10]:
        print("  differs:", line)
    for line in lost[:10]:
        print("  lost:", line)
    return 1 if wrong or lost else 0


if __name__ == "__main__":
    sys.exit(main())
