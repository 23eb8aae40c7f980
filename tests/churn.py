# SPDX-License-Identifier: BSD-3-Clause
"""One round of random changes to a folder: churn.py DIR SEED OPERATIONS.

Creates, rewrites, truncates, renames, moves and removes files and folders, replaces the one by the other, and moves files
over others, as people and programs do to a cloud folder.  Names are chosen from few, so that they come back."""

import os
import random
import shutil
import sys

root, seed, operations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)

NAMES = ['a', 'B', 'b', 'report.txt', 'Report.TXT', 'photo 1.jpg', 'übung.doc', '\N{GRINNING FACE}.png', 'x' * 120,
         'data.bin', 'con trailing ', 'dot.', 'a:b?', 'deep', 'sub folder', 'IMAGE~1.JPG', 'image of the day.jpg']
SIZES = [0, 1, 511, 4096, 32767, 32768, 32769, 65536, 200000, 1048577]


def folders():
    return [path for path, _, _ in os.walk(root)]


def files():
    return [os.path.join(path, name) for path, _, names in os.walk(root) for name in names]


def content():
    return rng.randbytes(rng.choice(SIZES))


def fresh(folder):
    name = rng.choice(NAMES) + rng.choice(['', '', '', ' copy', str(rng.randrange(40))])
    return os.path.join(folder, name)


def clear(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)


for _ in range(operations):
    op = rng.choice(['create', 'create', 'many', 'rewrite', 'mkdir', 'rename', 'over', 'remove', 'rmdir', 'swap'])
    some = files()
    dirs = folders()
    target = fresh(rng.choice(dirs))
    if op in ('create', 'swap'):
        if op == 'swap':
            clear(target)
        if not os.path.isdir(target):
            with open(target, 'wb') as f:
                f.write(content())
    elif op == 'many':
        folder = rng.choice(dirs)
        for i in range(rng.randrange(300)):
            with open(os.path.join(folder, 'a rather long file name, number %d.txt' % i), 'wb') as f:
                f.write(b'%d' % i)
    elif op == 'mkdir':
        if not os.path.exists(target):
            os.makedirs(target)
    elif op == 'rewrite' and some:
        with open(rng.choice(some), 'wb') as f:
            f.write(content())
    elif op == 'rename':
        source = rng.choice(some + dirs[1:]) if some or dirs[1:] else None
        if source and not os.path.exists(target) and not (target + '/').startswith(source + '/'):
            os.rename(source, target)
    elif op == 'over' and some:
        source = rng.choice(some)
        if os.path.isfile(target):
            os.replace(source, target)
    elif op == 'remove' and some:
        os.unlink(rng.choice(some))
    elif op == 'rmdir' and dirs[1:]:
        shutil.rmtree(rng.choice(dirs[1:]))
