# SPDX-License-Identifier: BSD-3-Clause
"""A plugin for nbdkit's Python plugin: serves raw images and writes down every request that changes them.

    nbdkit -U SOCK python recorder.py dir=FOLDER

The export NAME is FOLDER/NAME.img; what is written goes to FOLDER/NAME.log (one request a line: OP SECONDS OFFSET LENGTH,
OP is W, Z, T or F) and the bytes of writes to FOLDER/NAME.data, one after the other.  Requests are done one at a time, in
the order in which they came."""

import os
import time

import nbdkit

API_VERSION = 2
folder = None
exports = {}
_open = open


class Export:
    def __init__(self, name):
        path = os.path.join(folder, os.path.basename(name))
        self.fd = os.open(path + ".img", os.O_RDWR)
        self.size = os.fstat(self.fd).st_size
        self.log = _open(path + ".log", "a", buffering=1)
        self.data = _open(path + ".data", "ab", buffering=0)

    def note(self, op, offset=0, length=0):
        self.log.write("%s %.3f %d %d\n" % (op, time.time(), offset, length))


def config(key, value):
    global folder
    if key != "dir":
        raise RuntimeError("unknown parameter " + key)
    folder = value


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def open(readonly):
    name = nbdkit.export_name()
    if name not in exports:
        exports[name] = Export(name)
    return exports[name]


def get_size(export):
    return export.size


def can_write(export):
    return True


def can_flush(export):
    return True


def can_trim(export):
    return True


def can_zero(export):
    return True


def can_fua(export):
    return nbdkit.FUA_EMULATE


def pread(export, buf, offset, flags):
    os.preadv(export.fd, [buf], offset)


def pwrite(export, buf, offset, flags):
    os.pwrite(export.fd, buf, offset)
    export.data.write(buf)
    export.note("W", offset, len(buf))


def flush(export, flags):
    export.note("F")


def trim(export, length, offset, flags):
    # The bytes stay: a guest must not count on anything else.
    export.note("T", offset, length)


def zero(export, length, offset, flags):
    while length:
        n = min(length, 1 << 20)
        os.pwrite(export.fd, bytes(n), offset)
        export.note("Z", offset, n)
        offset, length = offset + n, length - n
